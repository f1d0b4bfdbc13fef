"""The one table of peers: the work of every function and mode, as fastact and as each other library spells it.

Each library has a dictionary ``(function, mode) -> spelling`` and builds, from a spelling, the inputs and an output, a
function without arguments that does the work; the output is None for "a fresh one each call". A library that cannot be
imported is absent from :func:`libraries`.

``fastact bench``, the benchmarks and the tests all run over :func:`works` and :func:`entrants`. A new activation
needs no entry: it stands against the NumPy expression of its reference until somebody writes down the peers' spelling.
A formula written in FORMULAS is three peers at once: NumPy, numexpr and Numba compute it as it stands. Spellings are
of the activations with their default parameters, and a library is asked only for what it has under some name.
"""

import ast
import contextlib
import functools
import importlib
import math
import os
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

import fastact
from fastact import reference
from fastact.commands import named_dtype

Array = npt.NDArray[Any]
Call = Callable[[], Any]

LOSSES = ("softmax_mse", "softmax_cross_entropy")
PERIOD = 2**20  # elements
MODES = {
    "value": "{}(x)",
    "derivative": "{}.derivative(x)",
    "value_and_derivative": "{}.value_and_derivative(x)",
    "backward": "{}.backward(dy, x)",
    "backward_from_output": "{}.backward(dy, output=y)",
    "loss": "{}(x, targets)",
}
ROW_SHAPES = (
    ((4096, 16), -1),
    ((1024, 128), -1),
    ((1024, 1024), -1),
    ((32, 50257), -1),
    ((1, 131072), -1),
    ((1024, 1024), 0),
)


class Work(NamedTuple):
    """One piece of work: what is computed, and from which arrays."""

    function: str
    mode: str
    dtype: str
    shape: tuple[int, ...]
    axis: int = -1

    @property
    def call(self) -> str:
        """The work as one writes it."""
        written = MODES[self.mode].format(self.function)
        return written if self.axis == -1 else f"{written[:-1]}, axis={self.axis})"

    @property
    def is_rowwise(self) -> bool:
        return is_rowwise(self.function)

    @property
    def size(self) -> int:
        return int(np.prod(self.shape))


class Spelling(NamedTuple):
    """A function and its arguments: names of inputs, literals, or keywords as in ``"dy output=y"``."""

    function: Callable[..., Any]
    arguments: str
    has_out: bool = True


class Library(NamedTuple):
    """How a library spells the works, builds a call from a spelling, and is held at a number of threads."""

    version: str
    spellings: dict[tuple[str, str], Any]
    build: Callable[[Any, "Inputs", Any], Call]
    threads: Callable[[int], contextlib.AbstractContextManager[Any]] = contextlib.nullcontext

    def forms(self, function: str, mode: str) -> tuple[str, ...]:
        if (spelling := self.spellings.get((function, mode))) is None:
            return ()
        return ("fresh", "out") if getattr(spelling, "has_out", True) else ("fresh",)


JUDGED = 1 << 18  # entries of a long result; to judge all of them takes longer than the race


class Contestant(NamedTuple):
    """A call ready to be timed. ``form`` is ``"fresh"`` (a new output at each call) or ``"out"`` (into a given one)."""

    library: str
    form: str
    call: Call
    inputs: "Inputs"

    def agrees(self) -> bool:
        """Whether it does this very work.

        Leniently: some peers are 2e-4 off in the softmax of a million logits, or 5e-6 in the tails of a derivative, or
        round to 16 bits after each step.
        """
        result = self.call()
        if self.form == "out":
            result = self.inputs.out
        results = result if isinstance(result, list | tuple) else (result,)
        several = 8 * float(reference.ulp(1.0, named_dtype(self.inputs.work.dtype)))
        for ours, exact in zip(results, self.inputs.expected, strict=True):
            array = np.asarray(as_array(ours))
            if array.shape != exact.shape:
                return False
            step = array.size // JUDGED | 1  # odd, so that it meets every place in a vector
            some, right = array.reshape(-1)[::step], exact.reshape(-1)[::step]
            if not np.allclose(some, right, rtol=max(1e-3, several),
                               atol=max(1e-5, several) * np.nanmax(np.abs(right)), equal_nan=True):  # logit has NaN
                return False
        return True


class Inputs:
    """The arrays of one piece of work: the same memory for every contestant.

    Long ones repeat themselves, since the reference takes a thousand times as long as anybody whom it judges.
    """

    def __init__(self, work: Work, threads: int = 1) -> None:
        dtype = named_dtype(work.dtype)
        if work.size > PERIOD and work.shape == (work.size,):
            self._repeat(Inputs(work._replace(shape=(PERIOD,)), threads), work)
            return
        generator = np.random.default_rng(20)
        self.work, self.threads = work, threads
        self.axis, self.dtype = work.axis, work.dtype
        self.x = aligned((3 * generator.standard_normal(work.shape)).astype(dtype))
        if work.function == "logit":
            self.x = aligned(generator.uniform(0.001, 0.999, work.shape).astype(dtype))
        self.x[self.x % 0.5 == 0] = 0.3  # the libraries differ in the derivatives at kinks, -3, 0, 0.5, 1 and so on
        if work.mode == "loss":
            self.labels = generator.integers(work.shape[-1], size=work.shape[:-1])
            self.targets = np.zeros_like(self.x)
            np.put_along_axis(self.targets, self.labels[..., None], 1, axis=-1)
        else:
            self.y = aligned(self._reference("value", self.x).astype(dtype))
            self.dy = aligned(generator.standard_normal(self.y.shape).astype(dtype))

    def _repeat(self, period: "Inputs", work: Work) -> None:
        self.work, self.threads, self.axis, self.dtype = work, period.threads, period.axis, period.dtype
        self.x, self.y, self.dy = (aligned(np.resize(array, work.shape)) for array in (period.x, period.y, period.dy))
        self.expected = tuple(np.resize(array, work.shape) for array in period.expected)

    @functools.cached_property
    def ones(self) -> Array:
        return aligned(np.ones_like(self.x))

    @functools.cached_property
    def buffer(self) -> Array:
        """What PyTorch keeps of the forward pass of log_sigmoid for the backward one."""
        return aligned(np.exp(-np.abs(self.x)))

    @functools.cached_property
    def out(self) -> Any:
        outs = tuple(aligned(np.zeros(exact.shape, self.x.dtype)) for exact in self.expected)
        return outs if len(outs) > 1 else outs[0]

    @functools.cached_property
    def expected(self) -> tuple[Array, ...]:
        """What every contestant must return, in float64 and from the definitions."""
        match self.work.mode:
            case "value" | "derivative" as mode:
                return (self._reference(mode, self.x),)
            case "value_and_derivative":
                return self._reference("value", self.x), self._reference("derivative", self.x)
            case "loss":
                spelling = NUMPY[self.work.function, "loss"]
                targets = getattr(self, spelling.arguments.split()[1])
                return tuple(map(np.asarray, spelling.function(self.x.astype(np.float64), targets)))
            case mode if self.work.is_rowwise:
                return (self._reference("backward", self.dy, self.x if mode == "backward" else self.y),)
            case _:
                return (self.dy * self._reference("derivative", self.x),)

    def _reference(self, mode: str, *arrays: Array) -> Array:
        # The reference has its rows along the last axis; an array that lost the class axis has none to move.
        rows = [np.moveaxis(array, self.axis, -1) if array.ndim == len(self.work.shape) else array for array in arrays]
        result = np.asarray(reference.evaluate(self.work.function, mode, *rows))
        return np.moveaxis(result, -1, self.axis) if result.ndim == len(self.work.shape) else result

    def named(self, name: str) -> Any:
        """The input of that name, or the literal."""
        return getattr(self, name) if hasattr(self, name) else ast.literal_eval(name)

    def named_in(self, formula: str) -> dict[str, Array]:
        return {name: self.named(name) for name in names_in(formula)}


def aligned(values: Array) -> Array:
    """A copy that starts at a multiple of 64 bytes, so that no contestant has better luck than another."""
    memory = np.empty(values.nbytes + 64, np.uint8)
    start = -memory.ctypes.data % 64
    result = memory[start : start + values.nbytes].view(values.dtype).reshape(values.shape)
    result[...] = values
    return result


def as_array(result: Any) -> Any:
    """PyTorch does not give its bfloat16 to NumPy."""
    return result.float() if hasattr(result, "detach") else result


def bind(function: Callable[..., Any], *arguments: Any, out: Any = None, **keywords: Any) -> Call:
    """``function(*arguments)``, with ``out=`` only if there is one: a keyword may cost the fast way in."""
    if out is not None:
        keywords["out"] = out
    return functools.partial(function, *arguments, **keywords)


def arguments_of(spelling: Spelling, inputs: Inputs) -> tuple[list[Any], dict[str, Any]]:
    """The positional arguments and the keywords that a spelling asks for."""
    words = [word.rpartition("=") for word in spelling.arguments.split()]
    positional = [inputs.named(word) for key, _, word in words if not key]
    return positional, {key: inputs.named(word) for key, _, word in words if key}


def build(spelling: Spelling, inputs: Inputs, out: Any) -> Call:
    arguments, keywords = arguments_of(spelling, inputs)
    if inputs.axis == -1:
        keywords.pop("axis", None)  # everybody's default
    return bind(spelling.function, *arguments, out=out, **keywords)


# fastact: whatever the objects offer, found by trying -----------------------------------------------------------------


@functools.cache
def _fastact() -> Library:
    spellings = {
        ("softmax_mse", "loss"): Spelling(fastact.softmax_mse, "x targets", has_out=False),
        ("softmax_cross_entropy", "loss"): Spelling(fastact.softmax_cross_entropy, "x labels", has_out=False),
    }
    for name, function in fastact.activations.items():
        axis = " axis=axis" if is_rowwise(name) else ""
        inputs = Inputs(Work(name, "value", "float32", (2, 3)))
        for mode, method, arguments in (
            ("value", "__call__", "x" + axis),
            ("derivative", "derivative", "x"),
            ("value_and_derivative", "value_and_derivative", "x"),
            ("backward", "backward", "dy x" + axis),
            ("backward_from_output", "backward", "dy output=y" + axis),
        ):
            with contextlib.suppress(AttributeError, TypeError, ValueError):
                spelling = Spelling(function if mode == "value" else getattr(function, method), arguments)
                build(spelling, inputs, None)()
                spellings[name, mode] = spelling
        if is_rowwise(name) and (name, "backward_from_output") in spellings:
            del spellings[name, "backward"]  # from the logits: the value again, then the same
    return Library(fastact.__version__, spellings, build, fastact.threads)


# Plain formulas, as one writes them: numexpr, Numba, and NumPy where it has nothing better ----------------------------

_GELU_TANH = "tanh(0.7978845608028654 * (x + 0.044715 * x * x * x))"
_SILU = "(1 / (1 + exp(-{0} * x)))"

FORMULAS = {
    ("relu", "value"): "where(x > 0, x, 0)",
    ("relu", "derivative"): "where(x >= 0, 1, 0)",
    ("relu", "backward"): "where(x >= 0, dy, 0)",
    ("relu", "backward_from_output"): "where(y > 0, dy, 0)",
    ("softplus", "value"): "where(x > 0, x, 0) + log1p(exp(-abs(x)))",
    ("softplus", "derivative"): "1 / (1 + exp(-x))",
    ("softplus", "backward"): "dy / (1 + exp(-x))",
    ("softplus", "backward_from_output"): "-dy * expm1(-y)",
    ("sigmoid", "value"): "1 / (1 + exp(-x))",
    ("sigmoid", "derivative"): "exp(-abs(x)) / ((1 + exp(-abs(x))) * (1 + exp(-abs(x))))",
    ("sigmoid", "backward_from_output"): "dy * y * (1 - y)",
    ("tanh", "value"): "tanh(x)",
    ("tanh", "derivative"): "1 - tanh(x) * tanh(x)",
    ("tanh", "backward_from_output"): "dy * (1 - y * y)",
    ("relu6", "value"): "where(x < 0, 0, where(x > 6, 6, x))",
    ("relu6", "derivative"): "where((x >= 0) & (x < 6), 1, 0)",
    ("relu2", "value"): "where(x > 0, x * x, 0)",
    ("relu2", "derivative"): "where(x > 0, 2 * x, 0)",
    ("leaky_relu", "value"): "where(x > 0, x, 0.01 * x)",
    ("leaky_relu", "derivative"): "where(x >= 0, 1, 0.01)",
    ("leaky_relu", "backward_from_output"): "where(y >= 0, dy, 0.01 * dy)",
    ("prelu", "value"): "where(x > 0, x, 0.25 * x)",
    ("prelu", "derivative"): "where(x >= 0, 1, 0.25)",
    ("threshold", "value"): "where(x > 1, x, 0)",
    ("threshold", "derivative"): "where(x >= 1, 1, 0)",
    ("elu", "value"): "where(x > 0, x, expm1(x))",
    ("elu", "derivative"): "where(x > 0, 1, exp(x))",
    ("elu", "backward_from_output"): "where(y > 0, dy, dy * (y + 1))",
    ("celu", "value"): "where(x > 0, x, expm1(x))",
    ("celu", "derivative"): "where(x > 0, 1, exp(x))",
    ("celu", "backward_from_output"): "where(y > 0, dy, dy * (y + 1))",
    ("selu", "value"): "where(x > 0, 1.0507009873554805 * x, 1.7580993408473766 * expm1(x))",
    ("selu", "derivative"): "where(x > 0, 1.0507009873554805, 1.7580993408473766 * exp(x))",
    ("selu", "backward_from_output"): "where(y > 0, 1.0507009873554805 * dy, dy * (y + 1.7580993408473766))",
    ("gelu", "value"): "0.5 * x * (1 + erf(0.7071067811865476 * x))",
    ("gelu", "derivative"): ("0.5 * (1 + erf(0.7071067811865476 * x)) + 0.3989422804014327 * x * exp(-0.5 * x * x)"),
    ("gelu_tanh", "value"): f"0.5 * x * (1 + {_GELU_TANH})",
    ("gelu_tanh", "derivative"): (
        f"0.5 * (1 + {_GELU_TANH})"
        f" + 0.3989422804014327 * x * (1 - {_GELU_TANH} * {_GELU_TANH}) * (1 + 0.134145 * x * x)"
    ),
    ("gelu_quick", "value"): "x / (1 + exp(-1.702 * x))",
    ("gelu_quick", "derivative"): f"{_SILU} * (1 + 1.702 * x * (1 - {_SILU}))".format(1.702),
    ("silu", "value"): "x / (1 + exp(-x))",
    ("silu", "derivative"): f"{_SILU} * (1 + x * (1 - {_SILU}))".format(1),
    ("mish", "value"): "x * tanh(log1p(exp(x)))",
    ("mish", "derivative"): (
        "tanh(log1p(exp(x))) + x * (1 - tanh(log1p(exp(x))) * tanh(log1p(exp(x)))) / (1 + exp(-x))"
    ),
    ("squareplus", "value"): "0.5 * (x + sqrt(x * x + 4))",
    ("squareplus", "derivative"): "0.5 * (1 + x / sqrt(x * x + 4))",
    ("log_sigmoid", "value"): "where(x < 0, x, 0) - log1p(exp(-abs(x)))",
    ("log_sigmoid", "derivative"): "1 / (1 + exp(x))",
    ("log_sigmoid", "backward_from_output"): "-dy * expm1(y)",
    ("logit", "value"): "log(x / (1 - x))",
    ("logit", "derivative"): "1 / (x * (1 - x))",
    ("hard_sigmoid", "value"): "where(x < -3, 0, where(x > 3, 1, x / 6 + 0.5))",
    ("hard_sigmoid", "derivative"): "where((x >= -3) & (x < 3), 1 / 6, 0)",
    ("hard_swish", "value"): "where(x < -3, 0, where(x > 3, x, x * (x + 3) / 6))",
    ("hard_swish", "derivative"): "where(x < -3, 0, where(x < 3, (2 * x + 3) / 6, 1))",
    ("hard_tanh", "value"): "where(x < -1, -1, where(x > 1, 1, x))",
    ("hard_tanh", "derivative"): "where((x >= -1) & (x < 1), 1, 0)",
    ("softsign", "value"): "x / (1 + abs(x))",
    ("softsign", "derivative"): "1 / ((1 + abs(x)) * (1 + abs(x)))",
    ("hard_shrink", "value"): "where(abs(x) > 0.5, x, 0)",
    ("hard_shrink", "derivative"): "where((x >= -0.5) & (x < 0.5), 0, 1)",
    ("soft_shrink", "value"): "where(x > 0.5, x - 0.5, where(x < -0.5, x + 0.5, 0))",
    ("soft_shrink", "derivative"): "where((x >= -0.5) & (x < 0.5), 0, 1)",
    ("tanh_shrink", "value"): "x - tanh(x)",
    ("tanh_shrink", "derivative"): "tanh(x) * tanh(x)",
    ("sparse_plus", "value"): "where(x < -1, 0, where(x < 1, 0.25 * (x + 1) * (x + 1), x))",
    ("sparse_plus", "derivative"): "where(x < -1, 0, where(x < 1, 0.5 * (x + 1), 1))",
    ("sparse_sigmoid", "value"): "where(x < -1, 0, where(x < 1, 0.5 * (x + 1), 1))",
    ("sparse_sigmoid", "derivative"): "where((x >= -1) & (x < 1), 0.5, 0)",
    ("dish", "value"): "0.5 * x * (1 + x / sqrt(1 + x * x))",
    ("dish", "derivative"): "0.5 + 0.5 * x * (2 + x * x) / ((1 + x * x) * sqrt(1 + x * x))",
    ("xielu", "value"): "where(x > 0, 0.8 * x * x + 0.5 * x, 0.8 * (expm1(x) - x) + 0.5 * x)",
    ("xielu", "derivative"): "where(x > 0, 1.6 * x + 0.5, 0.8 * expm1(x) + 0.5)",
    ("erf", "value"): "erf(x)",
    ("erf", "derivative"): "1.1283791670955126 * exp(-x * x)",
    ("exp", "value"): "exp(x)",
    ("exp", "derivative"): "exp(x)",
    ("exp", "backward_from_output"): "dy * y",
}
"""As text over the names of NumPy, and erf, which not everybody has."""

FORMULAS |= {
    (name, "backward"): f"dy * ({formula})"
    for (name, mode), formula in FORMULAS.items()
    if mode == "derivative" and (name, "backward") not in FORMULAS
}


def formula_in(formula: str, dtype: str) -> tuple[str, dict[str, Any]]:
    """The formula with names in place of its numbers, and these in the dtype: as they stand they would be doubles."""
    numbers = dict.fromkeys(re.findall(r"\b\d+(?:\.\d+)?\b", formula))
    names = {number: f"k{index}" for index, number in enumerate(numbers)}
    named = re.sub(r"\b\d+(?:\.\d+)?\b", lambda match: names[match[0]], formula)
    return named, {name: np.dtype(dtype).type(number) for number, name in names.items()}


def function_of(formula: str, namespace: dict[str, Any]) -> Callable[..., Any]:
    """The function of dy, x and y (those of the formula, in this order) whose body is the formula."""
    return eval(f"lambda {', '.join(names_in(formula))}: {formula}", namespace)  # type: ignore[no-any-return]


def names_in(formula: str) -> list[str]:
    """The arrays that a formula given as text speaks of."""
    return [name for name in ("dy", "x", "y") if re.search(rf"\b{name}\b", formula)]


# NumPy: the expression one would write, in place where that saves a temporary -----------------------------------------


def _softplus(x: Array, out: Array | None = None) -> Any:
    t = np.abs(x, out=out)
    np.negative(t, out=t)
    np.exp(t, out=t)
    np.log1p(t, out=t)
    return np.add(t, np.maximum(x, 0), out=t)


def _sigmoid(x: Array, out: Array | None = None) -> Any:
    t = np.negative(x, out=out)
    np.exp(t, out=t)
    np.add(t, 1, out=t)
    return np.divide(1, t, out=t)


def _relu_derivative(x: Array, out: Array | None = None) -> Any:
    return (x >= 0).astype(x.dtype) if out is None else np.greater_equal(x, 0, out=out)


def _relu_backward(dy: Array, x: Array, out: Array | None = None) -> Any:
    return np.multiply(dy, x > 0, out=out)


def _softplus_backward_from_output(dy: Any, y: Array, out: Array | None = None) -> Any:
    t = np.negative(y, out=out)
    np.expm1(t, out=t)
    np.negative(t, out=t)
    return np.multiply(t, dy, out=t)


def _sigmoid_backward_from_output(dy: Any, y: Array, out: Array | None = None) -> Any:
    t = np.subtract(1, y, out=out)
    np.multiply(t, y, out=t)
    return np.multiply(t, dy, out=t)


def _tanh_backward_from_output(dy: Any, y: Array, out: Array | None = None) -> Any:
    t = np.multiply(y, y, out=out)
    np.subtract(1, t, out=t)
    return np.multiply(t, dy, out=t)


def _sigmoid_derivative(x: Array, out: Array | None = None) -> Any:
    y = _sigmoid(x, out=out)
    return np.multiply(y, 1 - y, out=y)


def _tanh_derivative(x: Array, out: Array | None = None) -> Any:
    y = np.tanh(x, out=out)
    np.multiply(y, y, out=y)
    return np.subtract(1, y, out=y)


def _softmax(x: Array, axis: int, out: Array | None = None) -> Any:
    t = np.subtract(x, x.max(axis=axis, keepdims=True), out=out)
    np.exp(t, out=t)
    return np.divide(t, t.sum(axis=axis, keepdims=True), out=t)


def _softmax_backward(dy: Array, y: Array, axis: int, out: Array | None = None) -> Any:
    t = np.multiply(dy, y, out=out)
    np.subtract(dy, t.sum(axis=axis, keepdims=True), out=t)
    return np.multiply(t, y, out=t)


def _log_softmax(x: Array, axis: int, out: Array | None = None) -> Any:
    t = np.subtract(x, x.max(axis=axis, keepdims=True), out=out)
    return np.subtract(t, np.log(np.exp(t).sum(axis=axis, keepdims=True)), out=t)


def _log_softmax_backward(dy: Array, y: Array, axis: int, out: Array | None = None) -> Any:
    t = np.exp(y, out=out)
    np.multiply(t, dy.sum(axis=axis, keepdims=True), out=t)
    return np.subtract(dy, t, out=t)


def _logsumexp(x: Array, axis: int, out: Array | None = None) -> Any:
    largest = x.max(axis=axis, keepdims=True)
    t = np.subtract(x, largest)
    np.exp(t, out=t)
    return np.add(np.log(t.sum(axis=axis)), largest.squeeze(axis), out=out)


def _logsumexp_backward(dy: Array, x: Array, axis: int, out: Array | None = None) -> Any:
    t = _softmax(x, axis, out=out)
    return np.multiply(t, np.expand_dims(dy, axis), out=t)


def _softmin(x: Array, axis: int, out: Array | None = None) -> Any:
    t = np.subtract(x.min(axis=axis, keepdims=True), x, out=out)
    np.exp(t, out=t)
    return np.divide(t, t.sum(axis=axis, keepdims=True), out=t)


def _softmin_backward(dy: Array, y: Array, axis: int, out: Array | None = None) -> Any:
    t = np.multiply(dy, y, out=out)
    np.subtract(t.sum(axis=axis, keepdims=True), dy, out=t)
    return np.multiply(t, y, out=t)


def _hardmax(x: Array, axis: int, out: Array | None = None) -> Any:
    t = np.zeros_like(x) if out is None else out
    t[...] = 0
    np.put_along_axis(t, np.expand_dims(x.argmax(axis=axis), axis), 1, axis=axis)
    return t


def _softmax_mse(x: Array, targets: Array) -> tuple[Any, Array]:
    p = _softmax(x, -1)
    difference = p - targets
    loss = 0.5 * np.vdot(difference, difference) / len(x)
    return loss, _softmax_backward(np.divide(difference, len(x), out=difference), p, -1)


def _softmax_cross_entropy(x: Array, labels: Array) -> tuple[Any, Array]:
    rows = np.arange(len(x))
    logarithms = _log_softmax(x, -1)
    loss = -logarithms[rows, labels].mean()
    gradient = np.exp(logarithms, out=logarithms)
    gradient[rows, labels] -= 1
    return loss, np.divide(gradient, len(x), out=gradient)


def _times(derivative: Callable[..., Array]) -> Callable[..., Array]:
    def backward(dy: Array, x: Array, out: Any = None) -> Array:
        t = derivative(x, out=out)
        return np.multiply(t, dy, out=t)

    return backward


def _both(value: Callable[..., Array], derivative: Callable[[Array, Array, Any], Array]) -> Callable[..., Any]:
    """The value y, and the derivative by ``derivative(x, y, out)``."""

    def both(x: Array, out: Any = (None, None)) -> tuple[Array, Array]:
        y = value(x, out=out[0])
        return y, derivative(x, y, out[1])

    return both


NUMPY = {
    ("relu", "value"): Spelling(np.maximum, "x 0"),
    ("relu", "derivative"): Spelling(_relu_derivative, "x"),
    ("relu", "value_and_derivative"): Spelling(
        _both(functools.partial(np.maximum, 0), lambda x, y, out: _relu_derivative(x, out)), "x"
    ),
    ("relu", "backward"): Spelling(_relu_backward, "dy x"),
    ("relu", "backward_from_output"): Spelling(_relu_backward, "dy y"),
    ("softplus", "value"): Spelling(_softplus, "x"),
    ("softplus", "derivative"): Spelling(_sigmoid, "x"),
    ("softplus", "value_and_derivative"): Spelling(_both(_softplus, lambda x, y, out: _sigmoid(x, out)), "x"),
    ("softplus", "backward"): Spelling(_times(_sigmoid), "dy x"),
    ("softplus", "backward_from_output"): Spelling(_softplus_backward_from_output, "dy y"),
    ("sigmoid", "value"): Spelling(_sigmoid, "x"),
    ("sigmoid", "derivative"): Spelling(_sigmoid_derivative, "x"),
    ("sigmoid", "value_and_derivative"): Spelling(
        _both(_sigmoid, lambda x, y, out: np.multiply(y, 1 - y, out=out)), "x"
    ),
    ("sigmoid", "backward"): Spelling(_times(_sigmoid_derivative), "dy x"),
    ("sigmoid", "backward_from_output"): Spelling(_sigmoid_backward_from_output, "dy y"),
    ("tanh", "value"): Spelling(np.tanh, "x"),
    ("tanh", "derivative"): Spelling(_tanh_derivative, "x"),
    ("tanh", "value_and_derivative"): Spelling(_both(np.tanh, lambda x, y, out: np.subtract(1, y * y, out=out)), "x"),
    ("tanh", "backward"): Spelling(_times(_tanh_derivative), "dy x"),
    ("tanh", "backward_from_output"): Spelling(_tanh_backward_from_output, "dy y"),
    ("relu6", "value"): Spelling(np.clip, "x 0 6"),
    ("hard_tanh", "value"): Spelling(np.clip, "x -1 1"),
    ("exp", "value"): Spelling(np.exp, "x"),
    ("exp", "backward_from_output"): Spelling(np.multiply, "dy y"),
    ("identity", "value"): Spelling(np.positive, "x"),
    ("softmax", "value"): Spelling(_softmax, "x axis"),
    ("softmax", "backward_from_output"): Spelling(_softmax_backward, "dy y axis"),
    ("softmin", "value"): Spelling(_softmin, "x axis"),
    ("softmin", "backward_from_output"): Spelling(_softmin_backward, "dy y axis"),
    ("hardmax", "value"): Spelling(_hardmax, "x axis"),
    ("log_softmax", "value"): Spelling(_log_softmax, "x axis"),
    ("log_softmax", "backward_from_output"): Spelling(_log_softmax_backward, "dy y axis"),
    ("logsumexp", "value"): Spelling(_logsumexp, "x axis"),
    ("logsumexp", "backward"): Spelling(_logsumexp_backward, "dy x axis"),
    ("softmax_mse", "loss"): Spelling(_softmax_mse, "x targets", has_out=False),
    ("softmax_cross_entropy", "loss"): Spelling(_softmax_cross_entropy, "x labels", has_out=False),
}


def _numpy() -> Library:
    return Library(np.__version__, _from_reference() | _from_formulas() | NUMPY, build)


def _from_formulas() -> dict[tuple[str, str], Spelling]:
    return {
        key: Spelling(function_of(formula, vars(np)), " ".join(names_in(formula)), has_out=False)
        for key, formula in FORMULAS.items()
        if "erf(" not in formula
    }


def _from_reference() -> dict[tuple[str, str], Spelling]:
    """The NumPy expressions that the reference holds, for the activations that nobody has spelt by hand."""
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
    return spellings


# SciPy ----------------------------------------------------------------------------------------------------------------


def _scipy() -> Library:
    special = importlib.import_module("scipy.special")

    def times(function: Callable[..., Any]) -> Callable[..., Any]:
        """x f(x)"""

        def product(x: Array, out: Array | None = None) -> Any:
            t = function(x, out=out)
            return np.multiply(t, x, out=t)

        return product

    spellings = {
        ("sigmoid", "value"): Spelling(special.expit, "x"),
        ("log_sigmoid", "value"): Spelling(special.log_expit, "x"),
        ("softplus", "derivative"): Spelling(special.expit, "x"),
        ("logit", "value"): Spelling(special.logit, "x"),
        ("erf", "value"): Spelling(special.erf, "x"),
        ("silu", "value"): Spelling(times(special.expit), "x"),
        ("gelu", "value"): Spelling(times(special.ndtr), "x"),
        ("softmax", "value"): Spelling(special.softmax, "x axis", has_out=False),
        ("log_softmax", "value"): Spelling(special.log_softmax, "x axis", has_out=False),
        ("logsumexp", "value"): Spelling(special.logsumexp, "x axis", has_out=False),
    }
    if hasattr(special, "softplus"):  # since 1.17
        spellings["softplus", "value"] = Spelling(special.softplus, "x")
    return Library(importlib.import_module("scipy").__version__, spellings, build)


# PyTorch: the operators that its autograd calls, without autograd -----------------------------------------------------

SELU = "1.6732632423543772 1.0507009873554805"  # alpha and scale


def _torch() -> Library:
    torch = importlib.import_module("torch")
    aten = torch.ops.aten

    def derivative(value: Any, backward: Any) -> Callable[..., Any]:
        """f'(x) as the operators give it: the backward of ones."""

        def call(ones: Any, x: Any, out: Any = None) -> Any:
            y = value(x, out=out)
            return backward(ones, y) if out is None else backward.grad_input(ones, y, grad_input=out)

        return call

    def both(value: Any, backward: Any) -> Callable[..., Any]:
        def call(ones: Any, x: Any, out: Any = None) -> Any:
            if out is None:
                return (y := value(x)), backward(ones, y)
            value(x, out=out[0])
            return backward.grad_input(ones, out[0], grad_input=out[1])

        return call

    def softplus_both(x: Any) -> Any:
        return aten.softplus(x, 1, 20), torch.sigmoid(x)

    def logsumexp_backward(dy: Any, x: Any, axis: int) -> Any:
        return torch.softmax(x, axis).mul_(dy.unsqueeze(axis))

    def softmax_mse(x: Any, targets: Any) -> Any:
        p = torch.softmax(x, -1)
        difference = p - targets
        loss = difference.square().sum() / (2 * len(x))
        return loss, aten._softmax_backward_data(difference.div_(len(x)), p, -1, x.dtype)

    def softmax_cross_entropy(x: Any, labels: Any) -> Any:
        logarithms = torch.log_softmax(x, -1)
        loss, weight = aten.nll_loss_forward(logarithms, labels, None, 1, -100)
        gradient = aten.nll_loss_backward(torch.ones_like(loss), logarithms, labels, None, 1, -100, weight)
        return loss, aten._log_softmax_backward_data(gradient, logarithms, -1, x.dtype)

    def operator(packet: Any, arguments: str) -> Spelling:
        return Spelling(packet, arguments, has_out=not {"out", "grad_input"}.isdisjoint(packet.overloads()))

    slopes = {dtype: torch.tensor([0.25], dtype=dtype)
              for dtype in (torch.float16, torch.bfloat16, torch.float32, torch.float64)}

    def prelu(x: Any) -> Any:
        return torch.prelu(x, slopes[x.dtype])

    def prelu_backward(dy: Any, x: Any) -> Any:
        return aten._prelu_kernel_backward(dy, x, slopes[x.dtype])[0]  # and the gradient of the slopes

    spellings = {
        ("relu", "value"): Spelling(torch.clamp_min, "x 0"),
        ("relu", "derivative"): Spelling(aten.threshold_backward, "ones x 0"),
        ("relu", "backward"): Spelling(aten.threshold_backward, "dy x 0"),
        ("relu", "backward_from_output"): Spelling(aten.threshold_backward, "dy y 0"),
        ("softplus", "value"): Spelling(aten.softplus, "x 1 20"),
        ("softplus", "derivative"): Spelling(torch.sigmoid, "x"),
        ("softplus", "value_and_derivative"): Spelling(softplus_both, "x", has_out=False),
        ("softplus", "backward"): Spelling(aten.softplus_backward, "dy x 1 20"),
        ("sigmoid", "value"): Spelling(torch.sigmoid, "x"),
        ("sigmoid", "derivative"): Spelling(derivative(torch.sigmoid, aten.sigmoid_backward), "ones x"),
        ("sigmoid", "value_and_derivative"): Spelling(both(torch.sigmoid, aten.sigmoid_backward), "ones x"),
        ("sigmoid", "backward"): Spelling(derivative(torch.sigmoid, aten.sigmoid_backward), "dy x"),
        ("sigmoid", "backward_from_output"): Spelling(aten.sigmoid_backward, "dy y"),
        ("tanh", "value"): Spelling(torch.tanh, "x"),
        ("tanh", "derivative"): Spelling(derivative(torch.tanh, aten.tanh_backward), "ones x"),
        ("tanh", "value_and_derivative"): Spelling(both(torch.tanh, aten.tanh_backward), "ones x"),
        ("tanh", "backward"): Spelling(derivative(torch.tanh, aten.tanh_backward), "dy x"),
        ("tanh", "backward_from_output"): Spelling(aten.tanh_backward, "dy y"),
        ("leaky_relu", "backward_from_output"): operator(aten.leaky_relu_backward, "dy y 0.01 True"),
        ("prelu", "value"): Spelling(prelu, "x", has_out=False),
        ("prelu", "derivative"): Spelling(prelu_backward, "ones x", has_out=False),
        ("prelu", "backward"): Spelling(prelu_backward, "dy x", has_out=False),
        ("elu", "backward_from_output"): operator(aten.elu_backward, "dy 1 1 1 True y"),
        ("celu", "backward_from_output"): operator(aten.elu_backward, "dy 1 1 1 True y"),
        ("selu", "backward_from_output"): operator(aten.elu_backward, f"dy {SELU} 1 True y"),
        ("softsign", "value"): Spelling(torch.nn.functional.softsign, "x", has_out=False),
        ("tanh_shrink", "value"): Spelling(torch.nn.functional.tanhshrink, "x", has_out=False),
        ("erf", "value"): Spelling(torch.erf, "x"),
        ("exp", "value"): Spelling(torch.exp, "x"),
        ("exp", "backward_from_output"): Spelling(torch.mul, "dy y"),
        ("identity", "value"): Spelling(torch.clone, "x", has_out=False),
        ("softmin", "value"): Spelling(torch.nn.functional.softmin, "x axis", has_out=False),
        ("softmax", "value"): Spelling(aten._softmax, "x axis 0"),
        ("softmax", "backward_from_output"): Spelling(aten._softmax_backward_data, "dy y axis dtype"),
        ("log_softmax", "value"): Spelling(aten._log_softmax, "x axis 0"),
        ("log_softmax", "backward_from_output"): Spelling(aten._log_softmax_backward_data, "dy y axis dtype"),
        ("logsumexp", "value"): Spelling(torch.logsumexp, "x axis"),
        ("logsumexp", "backward"): Spelling(logsumexp_backward, "dy x axis", has_out=False),
        ("softmax_mse", "loss"): Spelling(softmax_mse, "x targets", has_out=False),
        ("softmax_cross_entropy", "loss"): Spelling(softmax_cross_entropy, "x labels", has_out=False),
    }

    for name, value, backward, value_arguments, backward_arguments in (
        ("relu6", aten.hardtanh, aten.hardtanh_backward, "x 0 6", "dy x 0 6"),
        ("leaky_relu", aten.leaky_relu, aten.leaky_relu_backward, "x 0.01", "dy x 0.01 False"),
        ("threshold", aten.threshold, aten.threshold_backward, "x 1 0", "dy x 1"),
        ("elu", aten.elu, aten.elu_backward, "x 1 1 1", "dy 1 1 1 False x"),
        ("celu", aten.elu, aten.elu_backward, "x 1 1 1", "dy 1 1 1 False x"),
        ("selu", aten.elu, aten.elu_backward, f"x {SELU} 1", f"dy {SELU} 1 False x"),
        ("gelu", aten.gelu, aten.gelu_backward, "x", "dy x"),
        ("gelu_tanh", aten.gelu, aten.gelu_backward, "x approximate='tanh'", "dy x approximate='tanh'"),
        ("silu", aten.silu, aten.silu_backward, "x", "dy x"),
        ("mish", aten.mish, aten.mish_backward, "x", "dy x"),
        ("log_sigmoid", aten.log_sigmoid, aten.log_sigmoid_backward, "x", "dy x buffer"),
        ("logit", aten.logit, aten.logit_backward, "x", "dy x"),
        ("hard_sigmoid", aten.hardsigmoid, aten.hardsigmoid_backward, "x", "dy x"),
        ("hard_swish", aten.hardswish, aten.hardswish_backward, "x", "dy x"),
        ("hard_tanh", aten.hardtanh, aten.hardtanh_backward, "x -1 1", "dy x -1 1"),
        ("hard_shrink", aten.hardshrink, aten.hardshrink_backward, "x 0.5", "dy x 0.5"),
        ("soft_shrink", aten.softshrink, aten.softshrink_backward, "x 0.5", "dy x 0.5"),
    ):
        spellings[name, "value"] = operator(value, value_arguments)
        spellings[name, "backward"] = operator(backward, backward_arguments)
        spellings[name, "derivative"] = operator(backward, backward_arguments.replace("dy", "ones"))

    def tensors(value: Any) -> Any:
        if isinstance(value, tuple):
            return tuple(map(tensors, value))
        if isinstance(value, str):
            return getattr(torch, value)
        if not isinstance(value, np.ndarray):
            return value
        if value.dtype.name == "bfloat16":  # PyTorch has its own, of the same bits
            return torch.from_numpy(value.view(np.int16)).view(torch.bfloat16)
        return torch.from_numpy(value)

    def build_torch(spelling: Spelling, inputs: Inputs, out: Any) -> Call:
        values, keywords = arguments_of(spelling, inputs)
        arguments = [tensors(value) for value in values]
        if out is None or not isinstance(spelling.function, torch._ops.OpOverloadPacket):
            return bind(spelling.function, *arguments, out=tensors(out), **keywords)
        # The out= form of an operator is an overload, and each has its own name for the argument.
        (overload,) = (name for name in spelling.function.overloads() if name in ("out", "grad_input"))
        chosen = getattr(spelling.function, overload)
        return functools.partial(chosen, *arguments, **keywords, **{chosen._schema.arguments[-1].name: tensors(out)})

    @contextlib.contextmanager
    def threads(count: int) -> Iterator[None]:
        before = torch.get_num_threads()
        torch.set_num_threads(count)
        try:
            with torch.inference_mode():
                yield
        finally:
            torch.set_num_threads(before)

    return Library(torch.__version__, spellings, build_torch, threads)


# ONNX Runtime: graphs in ONNX's own text form; the results are z, or z and w ------------------------------------------

ONNX = {
    ("relu", "value"): "z = Relu (x)",
    ("relu", "derivative"): "t = GreaterOrEqual (x, zero)  z = CastLike (t, x)",
    ("relu", "backward"): "t = GreaterOrEqual (x, zero)  z = Where (t, dy, zero)",
    ("relu", "backward_from_output"): "t = Greater (y, zero)  z = Where (t, dy, zero)",
    ("softplus", "value"): "z = Softplus (x)",
    ("softplus", "derivative"): "z = Sigmoid (x)",
    ("softplus", "value_and_derivative"): "z = Softplus (x)  w = Sigmoid (x)",
    ("softplus", "backward"): "s = Sigmoid (x)  z = Mul (dy, s)",
    ("sigmoid", "value"): "z = Sigmoid (x)",
    ("sigmoid", "derivative"): "s = Sigmoid (x)  t = Sub (one, s)  z = Mul (s, t)",
    ("sigmoid", "value_and_derivative"): "z = Sigmoid (x)  t = Sub (one, z)  w = Mul (z, t)",
    ("sigmoid", "backward"): "s = Sigmoid (x)  t = Sub (one, s)  u = Mul (s, t)  z = Mul (dy, u)",
    ("sigmoid", "backward_from_output"): "t = Sub (one, y)  u = Mul (y, t)  z = Mul (dy, u)",
    ("tanh", "value"): "z = Tanh (x)",
    ("tanh", "derivative"): "t = Tanh (x)  u = Mul (t, t)  z = Sub (one, u)",
    ("tanh", "value_and_derivative"): "z = Tanh (x)  u = Mul (z, z)  w = Sub (one, u)",
    ("tanh", "backward"): "t = Tanh (x)  u = Mul (t, t)  v = Sub (one, u)  z = Mul (dy, v)",
    ("tanh", "backward_from_output"): "u = Mul (y, y)  v = Sub (one, u)  z = Mul (dy, v)",
    ("relu6", "value"): "z = Clip (x, zero, six)",
    ("leaky_relu", "value"): "z = LeakyRelu <alpha = 0.01> (x)",
    ("prelu", "value"): "z = PRelu (x, quarter)",
    ("threshold", "value"): "z = ThresholdedRelu <alpha = 1.0> (x)",
    ("elu", "value"): "z = Elu <alpha = 1.0> (x)",
    ("celu", "value"): "z = Celu <alpha = 1.0> (x)",
    ("selu", "value"): "z = Selu (x)",
    ("gelu", "value"): "z = Gelu (x)",
    ("gelu_tanh", "value"): 'z = Gelu <approximate = "tanh"> (x)',
    ("gelu_quick", "value"): "z = com.microsoft.QuickGelu <alpha = 1.702> (x)",
    ("silu", "value"): "z = Swish <alpha = 1.0> (x)",
    ("mish", "value"): "z = Mish (x)",
    ("hard_sigmoid", "value"): "z = HardSigmoid <alpha = 0.16666667, beta = 0.5> (x)",
    ("hard_swish", "value"): "z = HardSwish (x)",
    ("hard_tanh", "value"): "z = Clip (x, minus_one, one)",
    ("softsign", "value"): "z = Softsign (x)",
    ("hard_shrink", "value"): "z = Shrink <bias = 0.0, lambd = 0.5> (x)",
    ("soft_shrink", "value"): "z = Shrink <bias = 0.5, lambd = 0.5> (x)",
    ("erf", "value"): "z = Erf (x)",
    ("exp", "value"): "z = Exp (x)",
    ("exp", "backward_from_output"): "z = Mul (dy, y)",
    ("identity", "value"): "z = Identity (x)",
    ("hardmax", "value"): "z = Hardmax <axis = AXIS> (x)",
    ("softmax", "value"): "z = Softmax <axis = AXIS> (x)",
    ("softmax", "backward_from_output"): "t = Mul (dy, y)  s = ReduceSum (t, axes)  u = Sub (dy, s)  z = Mul (y, u)",
    ("log_softmax", "value"): "z = LogSoftmax <axis = AXIS> (x)",
    ("log_softmax", "backward_from_output"): ("s = ReduceSum (dy, axes)  e = Exp (y)  t = Mul (e, s)  z = Sub (dy, t)"),
    ("logsumexp", "value"): "z = ReduceLogSumExp <keepdims = 0> (x, axes)",
}


def _onnxruntime() -> Library:
    runtime, parser = importlib.import_module("onnxruntime"), importlib.import_module("onnx.parser")

    def model(graph: str, inputs: Inputs) -> bytes:
        kind = {"float32": "float", "float64": "double"}.get(inputs.work.dtype, inputs.work.dtype)
        arguments = ", ".join(f"{kind}{list(array.shape)} {name}" for name, array in inputs.named_in(graph).items())
        results = ", ".join(f"{kind}[] {name}" for name in ("z", "w") if f"{name} =" in graph)
        constants = ", ".join(
            f"{constant} {name} = {{{value}}}"
            for constant, name, value in (
                (kind, "zero", 0),
                (kind, "one", 1),
                (kind, "minus_one", -1),
                (kind, "six", 6),
                (kind, "quarter", 0.25),
                ("int64[1]", "axes", inputs.axis),
            )
            if re.search(rf"\b{name}\b", graph)
        )
        body = graph.replace("AXIS", str(inputs.axis))
        # The operators' older versions, where these do: ONNX Runtime has more of them in double.
        opset = 24 if "= Gelu" in graph or "= Swish" in graph else 18
        versions = f'<ir_version: 10, opset_import: ["": {opset}, "com.microsoft": 1]>'
        text = f"{versions} work ({arguments}) => ({results}) <{constants}> {{{body}}}"
        return bytes(parser.parse_model(text).SerializeToString())

    def build_onnx(graph: str, inputs: Inputs, out: Any) -> Call:
        options = runtime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = inputs.threads, 1
        session = runtime.InferenceSession(model(graph, inputs), options, providers=["CPUExecutionProvider"])
        arguments = inputs.named_in(graph)
        if out is None:
            return bind(session.run, None, arguments)
        # Only a binding writes into a given array. (One that leaves the output to the runtime would be no fresh form:
        # it fills the same buffer at every call.)
        binding = session.io_binding()
        for name, array in arguments.items():
            binding.bind_ortvalue_input(name, runtime.OrtValue.ortvalue_from_numpy(array))
        for name, array in zip("zw", out if isinstance(out, tuple) else (out,), strict=False):
            binding.bind_ortvalue_output(name, runtime.OrtValue.ortvalue_from_numpy(array))
        return bind(session.run_with_iobinding, binding)

    return Library(runtime.__version__, ONNX, build_onnx)


# numexpr --------------------------------------------------------------------------------------------------------------


def _numexpr() -> Library:
    numexpr = importlib.import_module("numexpr")

    def build_numexpr(formula: str, inputs: Inputs, out: Any) -> Call:
        named, numbers = formula_in(formula, inputs.dtype)
        return bind(numexpr.evaluate, named, inputs.named_in(formula) | numbers, out=out)

    @contextlib.contextmanager
    def threads(count: int) -> Iterator[None]:
        before = numexpr.set_num_threads(count)
        try:
            yield
        finally:
            numexpr.set_num_threads(before)

    spellings = {key: formula for key, formula in FORMULAS.items() if "erf(" not in formula}
    return Library(numexpr.__version__, spellings, build_numexpr, threads)


# Numba: the same formulas, compiled with the liberties that it can be given -------------------------------------------


def _numba() -> Library:
    numba = importlib.import_module("numba")
    numba.get_num_threads()  # starts its threads, which resets OpenMP's number, PyTorch's too: before that is set
    names = ("exp", "expm1", "log", "log1p", "tanh", "sqrt", "erf")
    where = numba.njit(lambda condition, a, b: a if condition else b, inline="always")
    namespace = {name: getattr(math, name) for name in names} | {"abs": abs, "where": where}

    @functools.cache
    def compiled(formula: str, dtype: str, parallel: bool) -> Any:
        named, numbers = formula_in(formula, dtype)
        signature = f"{dtype}({', '.join([dtype] * len(names_in(formula)))})"
        target = "parallel" if parallel else "cpu"
        return numba.vectorize([signature], target=target, fastmath=True)(function_of(named, namespace | numbers))

    def build_numba(formula: str, inputs: Inputs, out: Any) -> Call:
        function = compiled(formula, inputs.dtype, inputs.threads > 1)
        return bind(function, *inputs.named_in(formula).values(), out=out)

    @contextlib.contextmanager
    def threads(count: int) -> Iterator[None]:
        before = numba.get_num_threads()
        numba.set_num_threads(min(count, numba.config.NUMBA_NUM_THREADS))
        try:
            yield
        finally:
            numba.set_num_threads(before)

    return Library(numba.__version__, dict(FORMULAS), build_numba, threads)


# JAX: functions compiled by XLA, derivatives by its own autograd ------------------------------------------------------


def _jax() -> Library:
    jax = importlib.import_module("jax")
    nn, numpy, special = jax.nn, importlib.import_module("jax.numpy"), importlib.import_module("jax.scipy.special")
    backend = importlib.import_module("jax.extend.backend")
    jax.config.update("jax_enable_x64", True)  # float64 is computed in it; float32 stays what it is

    def derivative(function: Callable[..., Any]) -> Callable[..., Any]:
        return lambda x: jax.vjp(function, x)[1](numpy.ones_like(x))[0]

    def both(function: Callable[..., Any]) -> Callable[..., Any]:
        return lambda x: (function(x), jax.vjp(function, x)[1](numpy.ones_like(x))[0])

    def backward(function: Callable[..., Any]) -> Callable[..., Any]:
        return lambda dy, x: jax.vjp(function, x)[1](dy)[0]

    def softmax_cross_entropy(x: Any, labels: Any) -> Any:
        rows = numpy.arange(len(x))
        return jax.value_and_grad(lambda x: -nn.log_softmax(x)[rows, labels].mean())(x)

    def softmax_mse(x: Any, targets: Any) -> Any:
        return jax.value_and_grad(lambda x: numpy.square(nn.softmax(x) - targets).sum() / (2 * len(x)))(x)

    def along_axis(function: Callable[..., Any]) -> Callable[..., Any]:
        return lambda x, axis: function(x, axis=axis)

    spellings = {
        ("softmax", "value"): Spelling(along_axis(nn.softmax), "x axis"),
        ("softmax", "backward_from_output"): Spelling(
            lambda dy, y, axis: y * (dy - (dy * y).sum(axis, keepdims=True)), "dy y axis"
        ),
        ("log_softmax", "value"): Spelling(along_axis(nn.log_softmax), "x axis"),
        ("log_softmax", "backward_from_output"): Spelling(
            lambda dy, y, axis: dy - numpy.exp(y) * dy.sum(axis, keepdims=True), "dy y axis"
        ),
        ("logsumexp", "value"): Spelling(along_axis(nn.logsumexp), "x axis"),
        ("logsumexp", "backward"): Spelling(
            lambda dy, x, axis: jax.vjp(lambda x: nn.logsumexp(x, axis=axis), x)[1](dy)[0], "dy x axis"
        ),
        ("softmax_mse", "loss"): Spelling(softmax_mse, "x targets"),
        ("softmax_cross_entropy", "loss"): Spelling(softmax_cross_entropy, "x labels"),
    }
    for name, function in {
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
        "exp": numpy.exp,
        "identity": numpy.copy,
        "sigmoid": nn.sigmoid,
        "tanh": nn.tanh,
    }.items():
        spellings[name, "value"] = Spelling(function, "x")
        spellings[name, "derivative"] = Spelling(derivative(function), "x")
        spellings[name, "value_and_derivative"] = Spelling(both(function), "x")
        spellings[name, "backward"] = Spelling(backward(function), "dy x")
    fresh = {key: spelling._replace(has_out=False) for key, spelling in spellings.items()}

    def build_jax(spelling: Spelling, inputs: Inputs, out: Any) -> Call:
        words = spelling.arguments.split()
        function = functools.partial(spelling.function, axis=inputs.axis) if "axis" in words else spelling.function
        arguments = [jax.device_put(inputs.named(word)) for word in words if word != "axis"]
        compiled = jax.jit(function)
        return lambda: jax.block_until_ready(compiled(*arguments))

    @contextlib.contextmanager
    def threads(count: int) -> Iterator[None]:
        # XLA has the number of its threads from this variable, once, when a backend is made.
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

    return Library(jax.__version__, fresh, build_jax, threads)


# The contest ----------------------------------------------------------------------------------------------------------

LIBRARIES: dict[str, Callable[[], Library]] = {
    "fastact": _fastact,
    "NumPy": _numpy,
    "SciPy": _scipy,
    "PyTorch": _torch,
    "JAX": _jax,
    "ONNX Runtime": _onnxruntime,
    "numexpr": _numexpr,
    "Numba": _numba,
}


@functools.cache
def libraries() -> dict[str, Library]:
    """fastact, and the peers that can be imported here."""
    found = {}
    for name, load in LIBRARIES.items():
        with contextlib.suppress(ImportError):
            found[name] = load()
    return found


@contextlib.contextmanager
def threads(count: int) -> Iterator[None]:
    """Hold every library at that number of threads. (ONNX Runtime takes it from the inputs, for each session.)"""
    with contextlib.ExitStack() as stack:
        for library in libraries().values():
            stack.enter_context(library.threads(count))
        yield


def is_rowwise(function: str) -> bool:
    return function in reference.ROWWISE or function in LOSSES


def works(
    functions: Iterable[str], modes: Iterable[str], dtypes: Iterable[str], sizes: Iterable[int], row_shapes: bool
) -> list[Work]:
    """Every piece of work asked for. By size, rows have 1,024 columns where that many elements fill one."""
    wanted = [key for key in libraries()["fastact"].spellings if key[0] in set(functions) and key[1] in set(modes)]
    found = []
    for dtype in dtypes:
        for size in sizes:
            rows = (max(1, size // 1024), min(size, 1024))
            found += [Work(*key, dtype, rows if is_rowwise(key[0]) else (size,)) for key in wanted]
        if row_shapes:
            # The losses have their classes along the last axis, as everybody's fused losses do.
            rowwise = [key for key in wanted if is_rowwise(key[0])]
            found += [
                Work(*key, dtype, shape, axis)
                for shape, axis in ROW_SHAPES
                for key in rowwise
                if axis == -1 or key[1] != "loss"
            ]
    return list(dict.fromkeys(found))


def entrants(work: Work) -> list[tuple[str, str]]:
    """Every library that can do the work, with every form it has: ``(library, form)``."""
    return [(name, form) for name, library in libraries().items() for form in library.forms(work.function, work.mode)]


def contestant(library: str, form: str, inputs: Inputs) -> Contestant:
    chosen = libraries()[library]
    spelling = chosen.spellings[inputs.work.function, inputs.work.mode]
    return Contestant(library, form, chosen.build(spelling, inputs, inputs.out if form == "out" else None), inputs)
