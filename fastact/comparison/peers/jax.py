"""JAX: functions compiled by XLA, derivatives by its own autograd."""

import contextlib
import functools
import os
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
from jax import nn
from jax.extend import backend
from jax.scipy import special

import fastact
from fastact.comparison.peers.packing import packed
from fastact.comparison.work import Call, Inputs, Library, Spelling

ELEMENTWISE = {
    "relu": nn.relu,
    "relu6": nn.relu6,
    "leaky_relu": nn.leaky_relu,
    "elu": nn.elu,
    "celu": nn.celu,
    "selu": nn.selu,
    "gelu": lambda x: nn.gelu(x, approximate=False),
    "gelu_tanh": nn.gelu,
    "silu": nn.silu,
    "mish": nn.mish,
    "squareplus": nn.squareplus,
    "softplus": nn.softplus,
    "log_sigmoid": nn.log_sigmoid,
    "logit": special.logit,
    "hard_sigmoid": nn.hard_sigmoid,
    "hard_swish": nn.hard_swish,
    "hard_tanh": nn.hard_tanh,
    "softsign": nn.soft_sign,
    "sparse_plus": nn.sparse_plus,
    "sparse_sigmoid": nn.sparse_sigmoid,
    "erf": special.erf,
    "exp": jnp.exp,
    "identity": jnp.copy,
    "sigmoid": nn.sigmoid,
    "tanh": nn.tanh,
}


def softmax(x: Any, axis: int) -> Any:
    return nn.softmax(x, axis=axis)


def softmax_backward(dy: Any, y: Any, axis: int) -> Any:
    return y * (dy - (dy * y).sum(axis, keepdims=True))


def log_softmax(x: Any, axis: int) -> Any:
    return nn.log_softmax(x, axis=axis)


def log_softmax_backward(dy: Any, y: Any, axis: int) -> Any:
    return dy - jnp.exp(y) * dy.sum(axis, keepdims=True)


def logsumexp(x: Any, axis: int) -> Any:
    return nn.logsumexp(x, axis=axis)


def logsumexp_backward(dy: Any, x: Any, axis: int) -> Any:
    return jax.vjp(lambda x: nn.logsumexp(x, axis=axis), x)[1](dy)[0]


def softmax_mse(x: Any, targets: Any) -> Any:
    return jax.value_and_grad(lambda x: jnp.square(nn.softmax(x) - targets).sum() / (2 * len(x)))(x)


def softmax_cross_entropy(x: Any, labels: Any) -> Any:
    rows = jnp.arange(len(x))
    return jax.value_and_grad(lambda x: -nn.log_softmax(x)[rows, labels].mean())(x)


def sigmoid_cross_entropy(x: Any, targets: Any) -> Any:
    return jax.value_and_grad(
        lambda x: -(targets * nn.log_sigmoid(x) + (1 - targets) * nn.log_sigmoid(-x)).mean())(x)


def sigmoid_focal(x: Any, targets: Any) -> Any:
    def loss(x: Any) -> Any:
        z = (2 * targets - 1) * x
        weights = 0.25 * targets + 0.75 * (1 - targets)
        return -(weights * jnp.square(nn.sigmoid(-z)) * nn.log_sigmoid(z)).mean()

    return jax.value_and_grad(loss)(x)


def sigmoid_hessian(x: Any, targets: Any) -> Any:
    p = nn.sigmoid(x)
    return p - targets, p * (1 - p)


def softmax_hessian(x: Any, labels: Any) -> Any:
    p = nn.softmax(x)
    return p - nn.one_hot(labels, x.shape[-1], dtype=x.dtype), p * (1 - p)


def softmax_entropy(x: Any) -> Any:
    def entropy(x: Any) -> Any:
        logarithms = nn.log_softmax(x)
        return -(jnp.exp(logarithms) * logarithms).sum() / len(x)

    return jax.value_and_grad(entropy)(x)


def softmax_kl(x: Any, targets: Any) -> Any:
    def divergence(x: Any) -> Any:
        of_targets = nn.log_softmax(targets)
        return (jnp.exp(of_targets) * (of_targets - nn.log_softmax(x))).sum() / len(x)

    return jax.value_and_grad(divergence)(x)


def softmax_where(x: Any, where: Any) -> Any:
    return nn.softmax(x, where=where)


def softmax_bias(x: Any, bias: Any) -> Any:
    return nn.softmax(x + bias)


def softmax_lengths(x: Any, lengths: Any) -> Any:
    return nn.softmax(x, where=jnp.arange(x.shape[-1]) < lengths[..., None])


def softmax_causal(x: Any) -> Any:
    queries, keys = x.shape[-2:]
    return nn.softmax(x, where=jnp.tri(queries, keys, keys - queries, dtype=bool))


def sample(x: Any, key: Any) -> Any:
    """The indices, and the key of the next call."""
    now, later = jax.random.split(key)
    return jax.random.categorical(now, x), later


def derivative(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda x: jax.vjp(function, x)[1](jnp.ones_like(x))[0]


def value_and_derivative(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda x: (function(x), jax.vjp(function, x)[1](jnp.ones_like(x))[0])


def backward(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda dy, x: jax.vjp(function, x)[1](dy)[0]


def product(function: Callable[..., Any], x: Any, u: Any) -> Any:
    return function(x) * u


def gradients(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda dy, x, u: jax.vjp(function, x, u)[1](dy)


def load() -> Library:
    jax.config.update("jax_enable_x64", True)  # float64 is computed in float64; float32 stays float32
    spellings = {
        ("softmax", "value"): Spelling(softmax, "x axis"),
        ("softmax", "backward_from_output"): Spelling(softmax_backward, "dy y axis"),
        ("log_softmax", "value"): Spelling(log_softmax, "x axis"),
        ("log_softmax", "backward_from_output"): Spelling(log_softmax_backward, "dy y axis"),
        ("logsumexp", "value"): Spelling(logsumexp, "x axis"),
        ("logsumexp", "backward"): Spelling(logsumexp_backward, "dy x axis"),
        ("softmax_mse", "loss"): Spelling(softmax_mse, "x targets"),
        ("softmax_cross_entropy", "loss"): Spelling(softmax_cross_entropy, "x labels"),
        ("sigmoid_cross_entropy", "loss"): Spelling(sigmoid_cross_entropy, "x targets"),
        ("sigmoid_focal", "loss"): Spelling(sigmoid_focal, "x targets"),
        ("sigmoid_cross_entropy", "hessian"): Spelling(sigmoid_hessian, "x targets"),
        ("softmax_cross_entropy", "hessian"): Spelling(softmax_hessian, "x labels"),
        ("softmax_entropy", "loss"): Spelling(softmax_entropy, "x"),
        ("softmax_kl", "loss"): Spelling(softmax_kl, "x targets"),
        ("softmax", "where"): Spelling(softmax_where, "x where"),
        ("softmax", "bias"): Spelling(softmax_bias, "x bias"),
        ("softmax", "lengths"): Spelling(softmax_lengths, "x lengths"),
        ("softmax", "causal"): Spelling(softmax_causal, "x"),
        ("sample", "sample"): Spelling(sample, "x rng"),
    }
    for name, function in ELEMENTWISE.items():
        spellings[name, "value"] = Spelling(function, "x")
        spellings[name, "derivative"] = Spelling(derivative(function), "x")
        spellings[name, "value_and_derivative"] = Spelling(value_and_derivative(function), "x")
        spellings[name, "backward"] = Spelling(backward(function), "dy x")
    for name, gated in fastact.activations.items():
        if isinstance(gated, fastact.Gated) and (function := ELEMENTWISE.get(gated.activation.name)):
            value = functools.partial(product, function)
            spellings[name, "value"] = Spelling(value, "x u")
            spellings[name, "backward"] = Spelling(gradients(value), "dy x u")
    spellings |= packed(jnp, spellings)
    fresh = {key: spelling._replace(has_out=False) for key, spelling in spellings.items()}
    return Library(jax.__version__, fresh, build, threads)


def build(spelling: Spelling, inputs: Inputs, out: Any) -> Call:
    words = spelling.arguments.split()
    function = functools.partial(spelling.function, axis=inputs.axis) if "axis" in words else spelling.function
    arguments = [jax.device_put(inputs.named(word)) for word in words if word not in ("axis", "rng")]
    compiled = jax.jit(function)
    if "rng" in words:
        return _with_keys(compiled, arguments)
    return lambda: jax.block_until_ready(compiled(*arguments))


def _with_keys(compiled: Callable[..., Any], arguments: list[Any]) -> Call:
    """A call that passes on the key which it got from the one before."""
    key = jax.random.key(20)

    def call() -> Any:
        nonlocal key
        result, key = compiled(*arguments, key)
        return jax.block_until_ready(result)

    return call


@contextlib.contextmanager
def threads(count: int) -> Iterator[None]:
    # XLA reads the number of its threads from this variable when a backend is created.
    before = os.environ.get("NPROC")
    os.environ["NPROC"] = str(count)
    backend.clear_backends()
    try:
        yield
    finally:
        del os.environ["NPROC"]
        if before is not None:
            os.environ["NPROC"] = before
        backend.clear_backends()
