"""What is computed: the pieces of work, their inputs, what they must return, and how a library spells them."""

import ast
import contextlib
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

import fastact
from fastact import reference
from fastact.losses import LOSSES
from fastact.sigmoid_losses import LOSSES as SIGMOID_LOSSES

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
    "hessian": "{}.gradient_and_hessian(x, targets)",
    "where": "{}(x, where=where)",
    "bias": "{}(x, bias=bias)",
    "lengths": "{}(x, lengths=lengths)",
    "causal": "{}(x, causal=True)",
    "halves": "{}(packed)",
    "halves_backward": "{}.backward(dy, packed)",
    "interleaved": "{}(packed, layout='interleaved')",
    "interleaved_backward": "{}.backward(dy, packed, layout='interleaved')",
    "sample": "{}(x, rng)",
}
"""Every mode, and its call as one writes it."""

FUNCTIONS = (*fastact.activations, *LOSSES, *SIGMOID_LOSSES, *reference.DIVERGENCES, "sample")
"""All that is compared: each has a mode at least."""

MASKS = ("where", "bias", "lengths", "causal")
PACKED = ("halves", "halves_backward", "interleaved", "interleaved_backward")
ANY_AXIS = ("value", "backward", "backward_from_output")
"""Modes whose rows may lie along any axis. The losses have their classes along the last one, as the fused losses of all
libraries do."""

WITHOUT_TARGETS = ("softmax_entropy",)

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

SHAPES = {
    **dict.fromkeys(("where", "bias", "causal"), ((1024, 1024), (16, 512, 512))),
    "lengths": ((256, 512), (32, 2048)),
    **dict.fromkeys(PACKED, ((32, 11008), (4096, 1024))),
    "hessian": ((4096, 10), (1024, 1000)),
    "sample": ((4096, 10), (256, 8192), (32, 50257)),
}
"""Shapes that stand for all others, where these modes have rows."""

DRAWS = 4000  # of indices that are compared with their distribution, if there are not more rows
DEVIATIONS = 6  # by which a sum of them may be off: of one in 500 million that is right, it is more
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
    """Whether the function acts on rows: a member of the softmax family, a loss of rows, or sampling."""
    return function in (*reference.ROWWISE, *LOSSES, *reference.DIVERGENCES, "sample")


def has_rows(function: str, mode: str) -> bool:
    """Whether the arrays are matrices: of functions that act on rows, and of those that are packed along rows."""
    return is_rowwise(function) or mode in PACKED


def join(m: Any, layout: str, first: Any, second: Any) -> Any:
    """Pack two arrays of the library `m` along the last axis."""
    if layout == "halves":
        return m.concatenate((first, second), -1)
    return m.stack((first, second), -1).reshape(*first.shape[:-1], -1)


def split(layout: str, packed: Any) -> tuple[Any, Any]:
    """The two arrays, as views in the libraries that have them."""
    if layout == "halves":
        half = packed.shape[-1] // 2
        return packed[..., :half], packed[..., half:]
    return packed[..., ::2], packed[..., 1::2]


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
        if self.function in WITHOUT_TARGETS:
            written = written.replace(", targets", "")
        return written if self.axis == -1 else f"{written[:-1]}, axis={self.axis})"

    @property
    def shape_and_dtype(self) -> str:
        """For example ``4096 x 16 float32``."""
        return f"{' x '.join(map(str, self.shape))} {self.dtype}"

    @property
    def is_rowwise(self) -> bool:
        return is_rowwise(self.function)

    @property
    def layout(self) -> str:
        """Of a packed array."""
        return self.mode.removesuffix("_backward")

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
        if work.mode in ("loss", "hessian"):
            self.labels = np.asarray(generator.integers(work.shape[-1], size=work.shape[:-1]))
            self.targets = np.zeros_like(self.x)
            if work.function == "softmax_kl":
                self.targets = aligned((3 * generator.standard_normal(work.shape)).astype(dtype))
            elif work.is_rowwise:
                np.put_along_axis(self.targets, self.labels[..., None], 1, axis=-1)
            else:
                self.targets[generator.random(work.shape) < 0.5] = 1
        elif work.mode == "sample":
            self.rng = generator
        elif work.mode in MASKS:
            self._mask(generator)
        else:
            self.u = aligned(generator.standard_normal(work.shape).astype(dtype))
            self.y = aligned(self._reference("value", self.x).astype(dtype))
            self.dy = aligned(generator.standard_normal(self.y.shape).astype(dtype))

    def _repeat(self, period: "Inputs", work: Work) -> None:
        self.work, self.threads, self.axis, self.dtype = work, period.threads, period.axis, period.dtype
        for name in ("x", "targets") if work.mode in ("loss", "hessian") else ("x", "u", "y", "dy"):
            setattr(self, name, aligned(np.resize(getattr(period, name), work.shape)))
        self.expected = tuple(np.resize(array, work.shape) if array.ndim else array for array in period.expected)
        if work.mode == "loss":
            self.expected = (self.expected[0], self.expected[1] * (period.work.size / work.size))

    def _mask(self, generator: np.random.Generator) -> None:
        """The mask of the mode, which entries it leaves, and what the other libraries add to the logits for it."""
        shape = self.work.shape
        added: Any = 0
        self.part = np.ones(shape, bool)
        match self.work.mode:
            case "where":
                self.where = self.part = generator.random(shape) < 0.7
                self.where[..., 0] = True  # the libraries differ in rows of which nothing is left
            case "bias":
                self.bias = added = generator.standard_normal(shape[-2:]).astype(self.dtype)
            case "lengths":
                self.lengths = generator.integers(-(-shape[-1] // 2), shape[-1] + 1, size=shape[:-1])
                self.part = np.arange(shape[-1]) < self.lengths[..., None]
            case "causal":
                self.part = np.tri(shape[-2], shape[-1], shape[-1] - shape[-2], dtype=bool)
        self.additive = aligned(np.where(self.part, added, -np.inf).astype(self.dtype))

    @functools.cached_property
    def packed(self) -> Array:
        """Both inputs of a gated activation in one array."""
        return aligned(self._packed(self.x, self.u))

    def _packed(self, of_gate: Array, of_other: Array) -> Array:
        gated = fastact.get(self.work.function)
        assert isinstance(gated, fastact.Gated)
        in_order = (of_gate, of_other) if gated.gate == "first" else (of_other, of_gate)
        return np.asarray(join(np, self.work.layout, *in_order))

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
        """What every library must return, in float64 and from the definitions; of drawn indices there is no such."""
        match self.work.mode:
            case "value" | "derivative" as mode:
                return (self._reference(mode, self.x),)
            case "halves" | "interleaved":
                return (self._reference("value", self.x),)
            case "value_and_derivative":
                return self._reference("value", self.x), self._reference("derivative", self.x)
            case "loss":
                return self._expected_loss()
            case "hessian":
                return self._expected_hessian()
            case mode if mode in MASKS:
                logits = self.x.astype(np.float64) + self.additive.astype(np.float64)
                return (np.where(self.part.any(axis=-1, keepdims=True), self._reference("value", logits), 0),)
            case mode if is_gated(self.work.function):
                both = self.dy * self._reference("in_gate", self.x), self.dy * self._reference("in_other", self.x)
                return (self._packed(*both),) if mode in PACKED else both
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
        inputs = (self.x,) if self.work.function in WITHOUT_TARGETS else (self.x, self.targets)
        losses, gradients = (reference.evaluate(self.work.function, mode, *inputs) for mode in ("value", "gradient"))
        return np.asarray(losses.mean()), gradients / losses.size

    def _expected_hessian(self) -> tuple[Array, Array]:
        """The gradient of the loss of each row or logit, and the diagonal of its Hessian."""
        gradient = reference.evaluate(self.work.function, "gradient", self.x, self.targets)
        if not self.work.is_rowwise:
            return gradient, reference.evaluate(self.work.function, "hessian", self.x, self.targets)
        p = reference.evaluate("softmax", "value", self.x)
        return gradient, p * (1 - p)

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
        if self.inputs.work.mode == "sample":
            return self._is_drawn_rightly()
        result = self.call()
        if self.form == "out":
            result = self.inputs.out
        results = result if isinstance(result, list | tuple) else (result,)
        several = 8 * float(reference.ulp(1.0, named_dtype(self.inputs.work.dtype)))
        for computed, exact in zip(results, self.inputs.expected, strict=True):
            array = np.asarray(as_array(computed))
            if array.shape != exact.shape:
                return False
            step = array.size // CHECKED | 1  # odd, so that it meets every lane of a vector
            some, right = array.reshape(-1)[::step], exact.reshape(-1)[::step]
            if not np.allclose(some, right, rtol=max(1e-3, several),
                               atol=max(1e-5, several) * np.nanmax(np.abs(right)), equal_nan=True):  # logit has NaN
                return False
        return True

    def _is_drawn_rightly(self) -> bool:
        """Whether the indices have the distribution of softmax.

        Over many draws, the sum of the indices and that of the logarithms of their probabilities must lie near their
        expectations, of which the reference gives the means and the variances.
        """
        x = self.inputs.x
        log_p = reference.evaluate("log_softmax", "value", x)
        p = np.exp(log_p)
        calls = max(1, min(-(-DRAWS // len(x)), CHECKED // x.size))
        drawn = np.array([np.asarray(as_array(self.call())) for _ in range(calls)])
        if drawn.shape != (calls, len(x)) or drawn.dtype.kind != "i" or drawn.min() < 0 or drawn.max() >= x.shape[-1]:
            return False
        for scores in (log_p, np.broadcast_to(np.arange(x.shape[-1], dtype=np.float64), x.shape)):
            mean = (p * scores).sum(axis=-1)
            variance = (p * (scores - mean[:, None]) ** 2).sum()
            off = (scores[np.arange(len(x)), drawn] - mean).sum()
            if not abs(off) <= DEVIATIONS * np.sqrt(calls * variance):
                return False
        return True


def as_array(result: Any) -> Any:
    """PyTorch does not convert its bfloat16 to NumPy's."""
    return result.float() if hasattr(result, "detach") and result.is_floating_point() else result
