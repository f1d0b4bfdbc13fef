"""NumPy: the expression that one would write, in place where that saves a temporary."""

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

import fastact
from fastact import reference
from fastact.comparison.peers.formulas import FORMULAS, function_of, names_in
from fastact.comparison.peers.packing import packed
from fastact.comparison.work import MASKS, WITHOUT_TARGETS, Array, Library, Spelling, build
from fastact.losses import LOSSES
from fastact.sigmoid_losses import LOSSES as SIGMOID_LOSSES


def softplus(x: Array, out: Array | None = None) -> Any:
    t = np.abs(x, out=out)
    np.negative(t, out=t)
    np.exp(t, out=t)
    np.log1p(t, out=t)
    return np.add(t, np.maximum(x, 0), out=t)


def sigmoid(x: Array, out: Array | None = None) -> Any:
    t = np.negative(x, out=out)
    np.exp(t, out=t)
    np.add(t, 1, out=t)
    return np.divide(1, t, out=t)


def relu_derivative(x: Array, out: Array | None = None) -> Any:
    return (x >= 0).astype(x.dtype) if out is None else np.greater_equal(x, 0, out=out)


def relu_backward(dy: Array, x: Array, out: Array | None = None) -> Any:
    return np.multiply(dy, x > 0, out=out)


def softplus_backward_from_output(dy: Any, y: Array, out: Array | None = None) -> Any:
    t = np.negative(y, out=out)
    np.expm1(t, out=t)
    np.negative(t, out=t)
    return np.multiply(t, dy, out=t)


def sigmoid_backward_from_output(dy: Any, y: Array, out: Array | None = None) -> Any:
    t = np.subtract(1, y, out=out)
    np.multiply(t, y, out=t)
    return np.multiply(t, dy, out=t)


def tanh_backward_from_output(dy: Any, y: Array, out: Array | None = None) -> Any:
    t = np.multiply(y, y, out=out)
    np.subtract(1, t, out=t)
    return np.multiply(t, dy, out=t)


def sigmoid_derivative(x: Array, out: Array | None = None) -> Any:
    y = sigmoid(x, out=out)
    return np.multiply(y, 1 - y, out=y)


def tanh_derivative(x: Array, out: Array | None = None) -> Any:
    y = np.tanh(x, out=out)
    np.multiply(y, y, out=y)
    return np.subtract(1, y, out=y)


def softmax(x: Array, axis: int, out: Array | None = None) -> Any:
    t = np.subtract(x, x.max(axis=axis, keepdims=True), out=out)
    np.exp(t, out=t)
    return np.divide(t, t.sum(axis=axis, keepdims=True), out=t)


def softmax_backward(dy: Array, y: Array, axis: int, out: Array | None = None) -> Any:
    t = np.multiply(dy, y, out=out)
    np.subtract(dy, t.sum(axis=axis, keepdims=True), out=t)
    return np.multiply(t, y, out=t)


def log_softmax(x: Array, axis: int, out: Array | None = None) -> Any:
    t = np.subtract(x, x.max(axis=axis, keepdims=True), out=out)
    return np.subtract(t, np.log(np.exp(t).sum(axis=axis, keepdims=True)), out=t)


def log_softmax_backward(dy: Array, y: Array, axis: int, out: Array | None = None) -> Any:
    t = np.exp(y, out=out)
    np.multiply(t, dy.sum(axis=axis, keepdims=True), out=t)
    return np.subtract(dy, t, out=t)


def logsumexp(x: Array, axis: int, out: Array | None = None) -> Any:
    largest = x.max(axis=axis, keepdims=True)
    t = np.subtract(x, largest)
    np.exp(t, out=t)
    return np.add(np.log(t.sum(axis=axis)), largest.squeeze(axis), out=out)


def logsumexp_backward(dy: Array, x: Array, axis: int, out: Array | None = None) -> Any:
    t = softmax(x, axis, out=out)
    return np.multiply(t, np.expand_dims(dy, axis), out=t)


def softmin(x: Array, axis: int, out: Array | None = None) -> Any:
    t = np.subtract(x.min(axis=axis, keepdims=True), x, out=out)
    np.exp(t, out=t)
    return np.divide(t, t.sum(axis=axis, keepdims=True), out=t)


def softmin_backward(dy: Array, y: Array, axis: int, out: Array | None = None) -> Any:
    t = np.multiply(dy, y, out=out)
    np.subtract(t.sum(axis=axis, keepdims=True), dy, out=t)
    return np.multiply(t, y, out=t)


def hardmax(x: Array, axis: int, out: Array | None = None) -> Any:
    t = np.zeros_like(x) if out is None else out
    t[...] = 0
    np.put_along_axis(t, np.expand_dims(x.argmax(axis=axis), axis), 1, axis=axis)
    return t


def sparsemax(x: Array, axis: int, out: Array | None = None) -> Any:
    z = np.moveaxis(x - x.max(axis=axis, keepdims=True), axis, -1)
    largest = -np.sort(-z, axis=-1)
    thresholds = (largest.cumsum(axis=-1) - 1) / np.arange(1, z.shape[-1] + 1)
    return _beyond(z, largest, thresholds, axis, out)


def entmax15(x: Array, axis: int, out: Array | None = None) -> Any:
    z = np.moveaxis((x - x.max(axis=axis, keepdims=True)) / 2, axis, -1)
    largest = -np.sort(-z, axis=-1)
    k = np.arange(1, z.shape[-1] + 1)
    mean = largest.cumsum(axis=-1) / k
    rest = (1 - ((largest * largest).cumsum(axis=-1) - k * mean * mean)) / k
    t = _beyond(z, largest, mean - np.sqrt(np.maximum(rest, 0)), axis, out)
    return np.multiply(t, t, out=t)


def sparsemax_backward(dy: Array, y: Array, axis: int) -> Any:
    support = y > 0
    mean = np.sum(dy, axis=axis, keepdims=True, where=support) / support.sum(axis=axis, keepdims=True)
    return np.where(support, dy - mean.astype(y.dtype), 0)


def entmax15_backward(dy: Array, y: Array, axis: int) -> Any:
    roots = np.sqrt(y)
    mean = (roots * dy).sum(axis=axis, keepdims=True) / roots.sum(axis=axis, keepdims=True)
    return np.multiply(roots, dy - mean, out=roots)


def _beyond(z: Array, largest: Array, thresholds: Array, axis: int, out: Array | None) -> Any:
    """What the logits exceed the threshold by; of the thresholds of the k largest, it is the last below the k-th."""
    count = (largest > thresholds).sum(axis=-1, keepdims=True)
    t = np.moveaxis(z - np.take_along_axis(thresholds, count - 1, axis=-1).astype(z.dtype), -1, axis)
    return np.maximum(t, 0, out=t if out is None else out)


def fenchel_young(x: Array, labels: Array, p: Array, entropy: Array) -> tuple[Any, Array]:
    rows = np.arange(len(x))
    loss = ((p * x).sum() - x[rows, labels].sum() + entropy.sum()) / len(x)
    p[rows, labels] -= 1
    return loss, np.divide(p, len(x), out=p)


def sparsemax_loss(x: Array, labels: Array) -> tuple[Any, Array]:
    p = sparsemax(x, -1)
    return fenchel_young(x, labels, p, p * (1 - p) / 2)


def entmax15_loss(x: Array, labels: Array) -> tuple[Any, Array]:
    p = entmax15(x, -1)
    return fenchel_young(x, labels, p, (p - p * np.sqrt(p)) / 0.75)


def softmax_mse(x: Array, targets: Array) -> tuple[Any, Array]:
    p = softmax(x, -1)
    difference = p - targets
    loss = 0.5 * np.vdot(difference, difference) / len(x)
    return loss, softmax_backward(np.divide(difference, len(x), out=difference), p, -1)


def softmax_cross_entropy(x: Array, labels: Array) -> tuple[Any, Array]:
    rows = np.arange(len(x))
    logarithms = log_softmax(x, -1)
    loss = -logarithms[rows, labels].mean()
    gradient = np.exp(logarithms, out=logarithms)
    gradient[rows, labels] -= 1
    return loss, np.divide(gradient, len(x), out=gradient)


def softmax_hessian(x: Array, labels: Array) -> tuple[Array, Array]:
    p = softmax(x, -1)
    hessian = p * (1 - p)
    p[np.arange(len(x)), labels] -= 1
    return p, hessian


def sigmoid_hessian(x: Array, targets: Array) -> tuple[Array, Array]:
    p = sigmoid(x)
    hessian = p * (1 - p)
    return np.subtract(p, targets, out=p), hessian


def sigmoid_cross_entropy(x: Array, targets: Array) -> tuple[Any, Array]:
    loss = (softplus(x) - x * targets).mean()
    p = sigmoid(x)
    np.subtract(p, targets, out=p)
    return loss, np.divide(p, x.size, out=p)


def sigmoid_focal(x: Array, targets: Array) -> tuple[Any, Array]:
    signs = 2 * targets - 1
    z = signs * x
    q, minus_logarithms = sigmoid(-z), softplus(-z)
    weights = (0.25 * targets + 0.75 * (1 - targets)) * q * q
    gradient = 2 * (1 - q) * minus_logarithms + q
    np.multiply(gradient, weights, out=gradient)
    np.multiply(gradient, signs, out=gradient)
    return (weights * minus_logarithms).mean(), np.divide(gradient, -x.size, out=gradient)


def softmax_entropy(x: Array) -> tuple[Any, Array]:
    logarithms = log_softmax(x, -1)
    p = np.exp(logarithms)
    entropies = -(p * logarithms).sum(axis=-1)
    np.add(logarithms, entropies[:, None], out=logarithms)
    np.multiply(logarithms, p, out=logarithms)
    return entropies.mean(), np.divide(logarithms, -len(x), out=logarithms)


def softmax_kl(x: Array, targets: Array) -> tuple[Any, Array]:
    logarithms, of_targets = log_softmax(x, -1), log_softmax(targets, -1)
    t = np.exp(of_targets)
    loss = (t * (of_targets - logarithms)).sum() / len(x)
    p = np.exp(logarithms, out=logarithms)
    return loss, np.divide(np.subtract(p, t, out=p), len(x), out=p)


def masked_softmax(x: Array, additive: Array, out: Array | None = None) -> Any:
    t = np.add(x, additive, out=out)
    return softmax(t, -1, out=t)


def sample(x: Array, rng: np.random.Generator) -> Any:
    cumulative = softmax(x, -1).cumsum(axis=-1)
    return (cumulative <= rng.random((len(x), 1)) * cumulative[:, -1:]).sum(axis=-1)


def backward_by(derivative: Callable[..., Array]) -> Callable[..., Array]:
    """The backward from the input: the derivative times dy."""

    def backward(dy: Array, x: Array, out: Any = None) -> Array:
        t = derivative(x, out=out)
        return np.multiply(t, dy, out=t)

    return backward


def with_derivative(value: Callable[..., Array], derivative: Callable[..., Array]) -> Callable[..., Any]:
    """The value y, and the derivative by ``derivative(x, y, out)``."""

    def value_and_derivative(x: Array, out: Any = (None, None)) -> tuple[Array, Array]:
        y = value(x, out=out[0])
        return y, derivative(x, y, out[1])

    return value_and_derivative


def gradients_of(gated: reference.Gated, dy: Array, x: Array, u: Array) -> tuple[Array, Array]:
    """Both gradients of a gated activation."""
    return dy * gated.in_gate(np, x, u), dy * gated.in_other(np, x, u)


def gradients_by(
    value: Callable[..., Array], derivative: Callable[..., Array], dy: Array, x: Array, u: Array
) -> tuple[Array, Array]:
    """The same from the expressions of the activation."""
    in_gate, in_other = dy * u, value(x)
    return np.multiply(in_gate, derivative(x), out=in_gate), np.multiply(in_other, dy, out=in_other)


def mean_of(name: str) -> Callable[..., tuple[Any, Array]]:
    """The mean of a loss over the rows, or over all logits, and its gradient."""

    def mean(*inputs: Array) -> tuple[Any, Array]:
        loss: Any = {**reference.LOSSES, **reference.SIGMOID_LOSSES, **reference.DIVERGENCES}[name]
        losses = loss.value(np, *inputs)
        return losses.mean(), loss.gradient(np, *inputs) / losses.size

    return mean


SPELLINGS = {
    ("relu", "value"): Spelling(np.maximum, "x 0"),
    ("relu", "derivative"): Spelling(relu_derivative, "x"),
    ("relu", "value_and_derivative"): Spelling(
        with_derivative(functools.partial(np.maximum, 0), lambda x, y, out: relu_derivative(x, out)), "x"
    ),
    ("relu", "backward"): Spelling(relu_backward, "dy x"),
    ("relu", "backward_from_output"): Spelling(relu_backward, "dy y"),
    ("softplus", "value"): Spelling(softplus, "x"),
    ("softplus", "derivative"): Spelling(sigmoid, "x"),
    ("softplus", "value_and_derivative"): Spelling(
        with_derivative(softplus, lambda x, y, out: sigmoid(x, out)), "x"
    ),
    ("softplus", "backward"): Spelling(backward_by(sigmoid), "dy x"),
    ("softplus", "backward_from_output"): Spelling(softplus_backward_from_output, "dy y"),
    ("sigmoid", "value"): Spelling(sigmoid, "x"),
    ("sigmoid", "derivative"): Spelling(sigmoid_derivative, "x"),
    ("sigmoid", "value_and_derivative"): Spelling(
        with_derivative(sigmoid, lambda x, y, out: np.multiply(y, 1 - y, out=out)), "x"
    ),
    ("sigmoid", "backward"): Spelling(backward_by(sigmoid_derivative), "dy x"),
    ("sigmoid", "backward_from_output"): Spelling(sigmoid_backward_from_output, "dy y"),
    ("tanh", "value"): Spelling(np.tanh, "x"),
    ("tanh", "derivative"): Spelling(tanh_derivative, "x"),
    ("tanh", "value_and_derivative"): Spelling(
        with_derivative(np.tanh, lambda x, y, out: np.subtract(1, y * y, out=out)), "x"
    ),
    ("tanh", "backward"): Spelling(backward_by(tanh_derivative), "dy x"),
    ("tanh", "backward_from_output"): Spelling(tanh_backward_from_output, "dy y"),
    ("relu6", "value"): Spelling(np.clip, "x 0 6"),
    ("hard_tanh", "value"): Spelling(np.clip, "x -1 1"),
    ("exp", "value"): Spelling(np.exp, "x"),
    ("exp", "backward_from_output"): Spelling(np.multiply, "dy y"),
    ("identity", "value"): Spelling(np.positive, "x"),
    ("softmax", "value"): Spelling(softmax, "x axis"),
    ("softmax", "backward_from_output"): Spelling(softmax_backward, "dy y axis"),
    ("softmin", "value"): Spelling(softmin, "x axis"),
    ("softmin", "backward_from_output"): Spelling(softmin_backward, "dy y axis"),
    ("hardmax", "value"): Spelling(hardmax, "x axis"),
    **{("softmax", mask): Spelling(masked_softmax, "x additive") for mask in MASKS},
    ("sparsemax", "value"): Spelling(sparsemax, "x axis"),
    ("sparsemax", "backward_from_output"): Spelling(sparsemax_backward, "dy y axis", has_out=False),
    ("entmax15", "value"): Spelling(entmax15, "x axis"),
    ("entmax", "value"): Spelling(entmax15, "x axis"),  # with the default alpha
    ("entmax15", "backward_from_output"): Spelling(entmax15_backward, "dy y axis", has_out=False),
    ("sparsemax_loss", "loss"): Spelling(sparsemax_loss, "x labels", has_out=False),
    ("entmax15_loss", "loss"): Spelling(entmax15_loss, "x labels", has_out=False),
    ("log_softmax", "value"): Spelling(log_softmax, "x axis"),
    ("log_softmax", "backward_from_output"): Spelling(log_softmax_backward, "dy y axis"),
    ("logsumexp", "value"): Spelling(logsumexp, "x axis"),
    ("logsumexp", "backward"): Spelling(logsumexp_backward, "dy x axis"),
    ("softmax_mse", "loss"): Spelling(softmax_mse, "x targets", has_out=False),
    ("softmax_cross_entropy", "loss"): Spelling(softmax_cross_entropy, "x labels", has_out=False),
    ("softmax_cross_entropy", "hessian"): Spelling(softmax_hessian, "x labels", has_out=False),
    ("sigmoid_cross_entropy", "hessian"): Spelling(sigmoid_hessian, "x targets", has_out=False),
    ("sigmoid_cross_entropy", "loss"): Spelling(sigmoid_cross_entropy, "x targets", has_out=False),
    ("sigmoid_focal", "loss"): Spelling(sigmoid_focal, "x targets", has_out=False),
    ("softmax_entropy", "loss"): Spelling(softmax_entropy, "x", has_out=False),
    ("softmax_kl", "loss"): Spelling(softmax_kl, "x targets", has_out=False),
    ("sample", "sample"): Spelling(sample, "x rng", has_out=False),
}


def load() -> Library:
    """NumPy; a spelling replaces a formula, and a formula the expression of the reference."""
    spellings = from_reference() | from_formulas()
    for name, gated in fastact.activations.items():
        if isinstance(gated, fastact.Gated) and (gated.activation.name, "derivative") in FORMULAS:
            value, derivative = (spellings[gated.activation.name, mode].function for mode in ("value", "derivative"))
            gradients = functools.partial(gradients_by, value, derivative)
            spellings[name, "backward"] = Spelling(gradients, "dy x u", has_out=False)
    spellings |= SPELLINGS
    return Library(np.__version__, spellings | packed(np, spellings), build)


def from_formulas() -> dict[tuple[str, str], Spelling]:
    return {
        key: Spelling(function_of(formula, vars(np)), " ".join(names_in(formula)), has_out=False)
        for key, formula in FORMULAS.items()
        if "erf(" not in formula
    }


def from_reference() -> dict[tuple[str, str], Spelling]:
    """The expressions of the reference, which exist for every elementwise and gated activation and every loss."""
    spellings = {}
    for name, formulas in reference.ELEMENTWISE.items():
        value, derivative = (functools.partial(formula, np) for formula in (formulas.value, formulas.derivative))
        for mode, function, arguments in (
            ("value", value, "x"),
            ("derivative", derivative, "x"),
            ("value_and_derivative", lambda x, f=value, d=derivative: (f(x), d(x)), "x"),
            ("backward", lambda dy, x, d=derivative: dy * d(x), "dy x"),
        ):
            spellings[name, mode] = Spelling(function, arguments, has_out=False)
    for name, gated in reference.GATED.items():
        spellings[name, "value"] = Spelling(functools.partial(gated.value, np), "x u", has_out=False)
        spellings[name, "backward"] = Spelling(functools.partial(gradients_of, gated), "dy x u", has_out=False)
    for name in (*LOSSES, *SIGMOID_LOSSES, *reference.DIVERGENCES):
        arguments = "x" if name in WITHOUT_TARGETS else "x targets"
        spellings[name, "loss"] = Spelling(mean_of(name), arguments, has_out=False)
    return spellings
