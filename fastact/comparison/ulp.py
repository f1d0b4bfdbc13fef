"""The inputs on which results are judged, and the errors of results in units in the last place (ulp).

float32, float16 and bfloat16 are judged by the float64 reference, on bit patterns. float64 is judged on structured
points, by mpmath, or by longdouble where its error is small enough to decide. The softmax family is judged entry by
entry, on random rows; the error of the entmax family is counted in ulp of the largest entry of the row, in float64 by
longdouble.
"""

from collections.abc import Iterator, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any

import numpy as np

import fastact
from fastact import Elementwise, Rowwise, reference
from fastact.comparison.work import Array, named_dtype

# Without logsumexp: its result may cancel to 0, near which an error in ulp says nothing.
ROWWISE = tuple(name for name, f in fastact.activations.items() if isinstance(f, Rowwise))
OF_LARGEST = ("sparsemax", "entmax15", "entmax")  # promised in ulp of the largest entry of the row
VARIANTS = {"entmax": ("alpha = 1.25", "alpha = 1.75")}  # parameters for which a function is judged besides
ELEMENTWISE = {name: f for name, f in fastact.activations.items() if isinstance(f, Elementwise)}
FUNCTIONS = (*reference.ELEMENTWISE, *ROWWISE)
MODES = ("value", "derivative")
LOGITS = ("uniform in ±100", "normal", "confident")

NO_PARAMETERS: Mapping[str, float] = MappingProxyType({})

ULP_OF_16_BITS = 0.501  # promised: correct rounding, except near ties, which float32 cannot decide

# Their formulas round a number before its exponential is taken: half an ulp of float64 in longdouble.
ROUNDED_ARGUMENTS = {"gelu", "gelu_tanh", "gelu_quick", "gelu_clipped", "laplace", "erf"}
DOUBT = 1 / 32  # ulp of float64; bounds the difference between an error by longdouble and the one by mpmath

ROW_LENGTHS = (1, 2, 3, 10, 128, 1000, 100_000)
ENTRIES_PER_PART = {"float32": 2**17, "float64": 2**12, "float16": 2**17, "bfloat16": 2**17}  # of rows, for one process


def patterns(dtype: str, stride: int) -> range:
    """The bits of the inputs: of 32 bits the multiples of the stride, of 16 bits all."""
    bits = 8 * named_dtype(dtype).itemsize
    return range(0, 2**bits, stride if bits == 32 else 1)


def random_rows(logits: str, entries: int, dtype: str) -> Iterator[Array]:
    """Rows of each length up to `entries`, about `entries` numbers of each length, in parts for the processes.

    The rows are made of integers by exact operations, as the structured points are, and so are the same on every
    processor. A sum of twelve uniform numbers has a normal distribution except in the far tails.
    """
    random = np.random.default_rng(0)
    for length in (n for n in ROW_LENGTHS if n <= entries):
        shape = (entries // length, length)
        if logits == LOGITS[0]:
            z = np.ldexp(random.integers(-100 << 45, 100 << 45, shape), -45)
        else:
            z = np.ldexp(sum(random.integers(-(2**31), 2**31, shape) for _ in range(12)), -32)
        if logits == "confident":
            z[:, random.integers(length)] += np.ldexp(random.integers(5 << 45, 90 << 45, len(z)), -45)
        yield from np.array_split(z.astype(named_dtype(dtype)), min(len(z), -(-z.size // ENTRIES_PER_PART[dtype])))


def variants(function: str) -> tuple[str, ...]:
    """The parameters for which a function is judged; "" are the defaults."""
    return "", *VARIANTS.get(function, ())


def numbers(variant: str) -> dict[str, float]:
    """The parameters of a variant."""
    words = variant.split()
    return {words[0]: float(words[-1])} if variant else {}


def errors(
    function: str, mode: str, x: Array, computed: Array, m: Any = np, parameters: Mapping[str, float] = NO_PARAMETERS
) -> Array:
    """The error of each result in ulp, by the reference in the arithmetic of `m`.

    The parameters that are not given have their defaults; all are numbers of the dtype of the results, of 16-bit
    results float32.
    """
    number = computed.dtype.type if computed.dtype.itemsize > 2 else np.float32
    given = {**fastact.get(function).parameters, **parameters}
    exact = reference.evaluate(function, mode, x, *map(number, given.values()), m=m)
    if function in OF_LARGEST:
        return errors_of_largest(computed, exact)
    return reference.ulp_error(computed, exact, _absolute(function, mode, x))


def errors_of_largest(computed: Array, exact: Array) -> Array:
    """The error of each probability, in ulp of the largest exact one of its row; 0 for NaN if both are NaN."""
    units = reference.ulp(exact.max(axis=-1, keepdims=True), computed.dtype)
    found = np.asarray(abs(computed - exact) / units, dtype=np.float64)
    unordered = np.isnan(computed), np.asarray(exact != exact, dtype=bool)
    found[np.logical_and(*unordered)] = 0
    found[np.logical_xor(*unordered)] = np.inf
    return found


def errors_of_float64(
    function: str, mode: str, x: Array, computed: Array, parameters: Mapping[str, float] = NO_PARAMETERS
) -> Array:
    """The error of each float64 result in ulp, as :func:`errors` finds it by mpmath.

    mpmath takes 100 times as long as longdouble. It is used for the errors that may be the largest or lie on either
    side of 0.5, and where longdouble has no more digits than float64 or the formula needs more than it has. For a row
    of the entmax family it would take minutes, so that its errors are known to some hundredths.
    """
    by_mpmath = partial(errors, function, mode, m=reference.mpmath_namespace(), parameters=parameters)
    if needs_mpmath(function):
        return by_mpmath(x, computed)
    found = errors(function, mode, x.astype(np.longdouble), computed, parameters=parameters)
    if function in OF_LARGEST:
        return found
    doubtful = (found > 0) & ((abs(found - 0.5) < DOUBT) | (found > found.max() - DOUBT))
    if doubtful.any():
        found[doubtful] = by_mpmath(x[doubtful], computed[doubtful])
    return found


def needs_mpmath(function: str) -> bool:
    """Whether longdouble has not the digits to judge float64 results of the function with its defaults."""
    has_digits = function in OF_LARGEST or (function in ELEMENTWISE and function not in ROUNDED_ARGUMENTS)
    return np.finfo(np.longdouble).nmant < 63 or not has_digits


def interval_of_zero(function: str, mode: str) -> tuple[float, float] | None:
    """The interval around a root of an elementwise function within which the promise is an absolute one."""
    f = ELEMENTWISE[function]
    return f.value_zero if mode == "value" else f.derivative_zero


def _absolute(function: str, mode: str, x: Array) -> Any:
    interval = interval_of_zero(function, mode) if function in ELEMENTWISE else None
    return interval is not None and (x > interval[0]) & (x < interval[1])


def promised(function: str, mode: str, dtype: str) -> float:
    """The largest error that the documentation allows, in ulp."""
    if dtype in ("float16", "bfloat16"):
        return ULP_OF_16_BITS
    activation = fastact.get(function)
    assert isinstance(activation, Elementwise | Rowwise)
    return activation.ulp[mode]
