"""What is computed: the pieces of work, their inputs, what they must return, and how a library spells them."""

import ast
import contextlib
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fastact import reference
from fastact.losses import LOSSES

Array = npt.NDArray[Any]
Call = Callable[[], Any]

ALL_DTYPES = ("float32", "float64", "float16", "bfloat16")
CALLS = {
    "value": "{}(x)",
    "derivative": "{}.derivative(x)",
    "value_and_derivative": "{}.value_and_derivative(x)",
    "backward": "{}.backward(dy, x)",
    "backward_from_output": "{}.backward(dy, output=y)",
    "loss": "{}(x, targets)",
}
"""Every mode, and its call as one writes it."""

ROW_SHAPES = (
    ((4096, 2), -1),
    ((4096, 10), -1),
    ((4096, 16), -1),
    ((1024, 128), -1),
    ((1024, 1024), -1),
    ((32, 50257), -1),
    ((1, 131072), -1),
    ((1024, 1024), 0),
)
"""Shapes of softmax that occur in practice, each with its axis."""

PERIOD = 2**20  # elements after which long inputs repeat: the reference takes 1,000 times as long as the libraries
CHECKED = 2**18  # entries of a long result that are compared: to compare all of them takes longer than to time them


def named_dtype(name: str) -> np.dtype[Any]:
    """The dtype of this name. NumPy knows bfloat16 only after ml_dtypes was imported."""
    if name == "bfloat16":
        import ml_dtypes  # noqa: F401
    return np.dtype(name)


def is_gated(function: str) -> bool:
    """Whether the function takes two inputs: the gate x, and u."""
    return function in reference.GATED


def is_rowwise(function: str) -> bool:
    """Whether the function acts on rows: a member of the softmax family, or a loss."""
    return function in reference.ROWWISE or function in LOSSES


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
        written = CALLS[self.mode].format(self.function)
        if is_gated(self.function):
            written = written.replace("x)", "x, u)")
        return written if self.axis == -1 else f"{written[:-1]}, axis={self.axis})"

    @property
    def shape_and_dtype(self) -> str:
        """For example ``4096 x 16 float32``."""
        return f"{' x '.join(map(str, self.shape))} {self.dtype}"

    @property
    def is_rowwise(self) -> bool:
        return is_rowwise(self.function)

    @property
    def size(self) -> int:
        return int(np.prod(self.shape))

    def __str__(self) -> str:
        return f"{self.call}, {self.shape_and_dtype}"


class Inputs:
    """The arrays of one piece of work: the same memory for every library."""

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
        self.x[self.x % 0.5 == 0] = 0.3  # the libraries differ in the derivatives at kinks: -3, 0, 0.5, 1 and so on
        if work.mode == "loss":
            self.labels = np.asarray(generator.integers(work.shape[-1], size=work.shape[:-1]))
            self.targets = np.zeros_like(self.x)
            if work.is_rowwise:
                np.put_along_axis(self.targets, self.labels[..., None], 1, axis=-1)
            else:
                self.targets[generator.random(work.shape) < 0.5] = 1
        else:
            self.u = aligned(generator.standard_normal(work.shape).astype(dtype))
            self.y = aligned(self._reference("value", self.x).astype(dtype))
            self.dy = aligned(generator.standard_normal(self.y.shape).astype(dtype))

    def _repeat(self, period: "Inputs", work: Work) -> None:
        self.work, self.threads, self.axis, self.dtype = work, period.threads, period.axis, period.dtype
        for name in ("x", "targets") if work.mode == "loss" else ("x", "u", "y", "dy"):
            setattr(self, name, aligned(np.resize(getattr(period, name), work.shape)))
        self.expected = tuple(np.resize(array, work.shape) if array.ndim else array for array in period.expected)
        if work.mode == "loss":
            self.expected = (self.expected[0], self.expected[1] * (period.work.size / work.size))

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
        """What every library must return, in float64 and from the definitions."""
        match self.work.mode:
            case "value" | "derivative" as mode:
                return (self._reference(mode, self.x),)
            case "value_and_derivative":
                return self._reference("value", self.x), self._reference("derivative", self.x)
            case "loss":
                return self._expected_loss()
            case _ if is_gated(self.work.function):
                return self.dy * self._reference("in_gate", self.x), self.dy * self._reference("in_other", self.x)
            case mode if self.work.is_rowwise:
                return (self._reference("backward", self.dy, self.x if mode == "backward" else self.y),)
            case _:
                return (self.dy * self._reference("derivative", self.x),)

    def _reference(self, mode: str, *arrays: Array) -> Array:
        if is_gated(self.work.function):
            arrays += (self.u,)
        # The reference has its rows along the last axis; an array that lost the class axis has none to move.
        rows = [np.moveaxis(array, self.axis, -1) if array.ndim == len(self.work.shape) else array for array in arrays]
        result = np.asarray(reference.evaluate(self.work.function, mode, *rows))
        return np.moveaxis(result, -1, self.axis) if result.ndim == len(self.work.shape) else result

    def _expected_loss(self) -> tuple[Array, Array]:
        """The mean over the rows, or over all logits, and its gradient."""
        losses, gradients = (reference.evaluate(self.work.function, mode, self.x, self.targets)
                             for mode in ("value", "gradient"))
        return np.asarray(losses.mean()), gradients / losses.size

    def named(self, name: str) -> Any:
        """The input of that name, or the literal."""
        return getattr(self, name) if hasattr(self, name) else ast.literal_eval(name)


def aligned(values: Array) -> Array:
    """A copy that starts at a multiple of 64 bytes: alignment must not favour one library."""
    memory = np.empty(values.nbytes + 64, np.uint8)
    start = -memory.ctypes.data % 64
    result = memory[start : start + values.nbytes].view(values.dtype).reshape(values.shape)
    result[...] = values
    return result


class Spelling(NamedTuple):
    """A function and its arguments: names of inputs, literals, or keywords as in ``"dy output=y"``."""

    function: Callable[..., Any]
    arguments: str
    has_out: bool = True


class Library(NamedTuple):
    """How a library spells the works, builds a call from a spelling, and is limited to a number of threads."""

    version: str
    spellings: dict[tuple[str, str], Any]
    build: Callable[[Any, Inputs, Any], Call]
    threads: Callable[[int], contextlib.AbstractContextManager[Any]] = contextlib.nullcontext

    def forms(self, function: str, mode: str) -> tuple[str, ...]:
        """``"fresh"``, a new output at each call, and where the library has it ``"out"``, into a given array."""
        if (spelling := self.spellings.get((function, mode))) is None:
            return ()
        return ("fresh", "out") if getattr(spelling, "has_out", True) else ("fresh",)


def bind(function: Callable[..., Any], *arguments: Any, out: Any = None, **keywords: Any) -> Call:
    """``function(*arguments)``, with ``out=`` only if there is one: a keyword may rule out a library's fast path."""
    if out is not None:
        keywords["out"] = out
    return functools.partial(function, *arguments, **keywords)


def arguments_of(spelling: Spelling, inputs: Inputs) -> tuple[list[Any], dict[str, Any]]:
    """The positional arguments and the keywords that a spelling asks for."""
    words = [word.rpartition("=") for word in spelling.arguments.split()]
    positional = [inputs.named(word) for key, _, word in words if not key]
    return positional, {key: inputs.named(word) for key, _, word in words if key}


def build(spelling: Spelling, inputs: Inputs, out: Any) -> Call:
    """The call of a library that takes NumPy's arrays; the output is None for a fresh one."""
    arguments, keywords = arguments_of(spelling, inputs)
    if inputs.axis == -1:
        keywords.pop("axis", None)  # the default of every library
    return bind(spelling.function, *arguments, out=out, **keywords)


class Candidate(NamedTuple):
    """A call of a library in one of its forms, ready to be timed."""

    library: str
    form: str
    call: Call
    inputs: Inputs

    def agrees(self) -> bool:
        """Whether its result is the expected one.

        The tolerance is wide: some libraries are off by 2e-4 in the softmax of a million logits, or by 5e-6 in the
        tails of a derivative, or round to 16 bits after each step.
        """
        result = self.call()
        if self.form == "out":
            result = self.inputs.out
        results = result if isinstance(result, list | tuple) else (result,)
        several = 8 * float(reference.ulp(1.0, named_dtype(self.inputs.work.dtype)))
        for computed, exact in zip(results, self.inputs.expected, strict=True):
            array = np.asarray(_as_array(computed))
            if array.shape != exact.shape:
                return False
            step = array.size // CHECKED | 1  # odd, so that it meets every lane of a vector
            some, right = array.reshape(-1)[::step], exact.reshape(-1)[::step]
            if not np.allclose(some, right, rtol=max(1e-3, several),
                               atol=max(1e-5, several) * np.nanmax(np.abs(right)), equal_nan=True):  # logit has NaN
                return False
        return True


def _as_array(result: Any) -> Any:
    """PyTorch does not convert its bfloat16 to NumPy's."""
    return result.float() if hasattr(result, "detach") else result
