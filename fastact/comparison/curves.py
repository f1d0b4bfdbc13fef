"""Curves: an activation along a line of its inputs, what is exact there, and what other libraries compute there."""

import functools
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

import fastact
from fastact import Elementwise, Gated, RowReduction, Rowwise, _isa, reference
from fastact._activation import Activation
from fastact.comparison import peers, ulp
from fastact.comparison.work import Array, Inputs, Work, as_array, named_dtype

PEERS = ("NumPy", "SciPy", "PyTorch", "JAX", "ONNX Runtime")
"""Without numexpr and Numba, which compute the formulas of NumPy."""

JUDGED = (*reference.ELEMENTWISE, *reference.GATED, *(name for name in ulp.ROWWISE if name not in ulp.OF_LARGEST))
"""The activations whose values have an error in ulp of themselves. The bounds of the others are those of the largest
entry of the row, or of the larger part of a sum."""

REACH = 16  # kinks are looked for between -REACH and REACH
BENT = 6  # curves that bend without end are shown up to here
LEAST = 3  # and all others at least up to here


class Line:
    """An activation along a line of its inputs.

    Rows are (x, 0), and the first entry of the result counts; the other input of a gated activation is 1.

    Parameters
    ----------
    activation : Activation
    x : ndarray
        Of float16, bfloat16, float32 or float64.
    parameters : mapping, optional
        Those that differ from their defaults.

    Attributes
    ----------
    inputs : tuple of ndarray
        What the activation is called with.
    """

    def __init__(self, activation: Activation, x: Array, parameters: Mapping[str, float] | None = None) -> None:
        self.activation, self.x = activation, x
        self.parameters = {**activation.parameters, **(parameters or {})}
        self.has_defaults = self.parameters == dict(fastact.activations[activation.name].parameters)
        self.inputs: tuple[Array, ...] = (x,)
        if isinstance(activation, Gated):
            self.inputs = x, np.ones_like(x)
        elif not isinstance(activation, Elementwise):
            self.inputs = (np.stack([x, np.zeros_like(x)], axis=-1),)

    def computed(self, mode: str) -> Array:
        """The value or the derivative, by the kernels."""
        f: Any = self.activation
        result: Any
        if mode == "value":
            result = f(*self.inputs, **self.parameters)
            return np.asarray(result[..., 0] if isinstance(f, Rowwise) else result)
        if isinstance(f, Elementwise):
            return np.asarray(f.derivative(self.x, **self.parameters))
        if isinstance(f, Rowwise):
            return np.asarray(f.jacobian(*self.inputs, **self.parameters)[..., 0, 0])
        result = f.backward(np.ones_like(self.x), *self.inputs, **self.parameters)
        return np.asarray(result[..., 0] if isinstance(f, RowReduction) else result[0])

    def is_judged(self, mode: str) -> bool:
        """Whether an error in ulp says how good the result is."""
        return self.activation.name in JUDGED and (mode == "value" or isinstance(self.activation, Elementwise))

    def errors(self, mode: str, computed: Array) -> Array:
        """The errors of results, of the kernels or of another library, in ulp.

        Raises
        ------
        ModuleNotFoundError
            If float64 results need mpmath, and it is not installed.
        """
        within = None
        if self.has_defaults and isinstance(self.activation, Elementwise):
            within = ulp.interval_of_zero(self.activation.name, mode)
        absolute = within is not None and (self.x > within[0]) & (self.x < within[1])
        return reference.ulp_error(computed, self._exact(mode), absolute)

    def _exact(self, mode: str) -> Any:
        return self._exact_values if mode == "value" else self._evaluated(mode)

    @functools.cached_property
    def _exact_values(self) -> Any:
        return self._evaluated("value")

    def _evaluated(self, mode: str) -> Any:
        """By the reference: in float64, of float64 by mpmath, or by longdouble where that has digits enough."""
        dtype, m, inputs = self.x.dtype, np, self.inputs
        if dtype == np.float64:
            if ulp.needs_mpmath(self.activation.name) or not self.has_defaults:
                m = reference.mpmath_namespace(30)
            else:
                inputs = tuple(one.astype(np.longdouble) for one in inputs)
        number = dtype.type if dtype.itemsize > 2 else np.float32
        if not isinstance(self.activation, Elementwise | Gated):
            number = np.float64  # factors of rows are numbers of double
        exact = reference.evaluate(
            self.activation.name, mode, *inputs, *map(number, self.parameters.values()), m=m)
        return exact if exact.shape == self.x.shape else exact[..., 0]

    def promised(self, mode: str) -> float | None:
        """The largest error that is promised, in ulp; None if none is, or for the defaults alone."""
        if not (self.has_defaults and self.is_judged(mode)):
            return None
        if self.x.dtype.itemsize == 2:
            return ulp.ULP_OF_16_BITS
        f = self.activation
        assert isinstance(f, Elementwise | Gated | Rowwise)
        return f.ulp[mode] * (2 if _isa.CHOSEN == "v2" else 1)  # without fused multiply-add

    def of_peer(self, library: str, mode: str) -> Array | None:
        """What another library computes; None if it has no such function, or not in this dtype."""
        found = peers.library(library)
        if found is None or not self.has_defaults:
            return None
        spelling = found.spellings.get((self.activation.name, mode))
        if spelling is None:
            return None
        try:
            with np.errstate(all="ignore"):
                result = found.build(spelling, _Given(self, mode), None)()
        except Exception:  # another release may lack the operator, or the dtype
            return None
        array = np.asarray(as_array(result[0] if isinstance(result, list) else result)).astype(self.x.dtype)
        return array if array.shape == self.x.shape else array[..., 0]


class _Given(Inputs):
    """The inputs of a line, for the calls of other libraries."""

    def __init__(self, line: Line, mode: str) -> None:
        x = line.inputs[0]
        self.work = Work(line.activation.name, mode, x.dtype.name, x.shape)
        self.threads, self.axis, self.dtype = 1, -1, x.dtype.name
        self.x, self.u = x, line.inputs[-1]


def jumps(y: Array) -> Array:
    """The indices of points after a jump of a curve whose points have equal distances.

    A jump is a step many times as large as those beside it.
    """
    with np.errstate(invalid="ignore"):
        steps = abs(np.diff(y))
        beside = np.maximum(np.append(0, steps[:-1]), np.append(steps[1:], 0))
        return np.flatnonzero((steps > 0.01) & (steps > 8 * beside)) + 1


def limits(activation: Activation, parameters: Mapping[str, float] | None = None) -> tuple[float, float]:
    """The ends of a picture that shows where the curve bends and jumps, and the beginning of both tails."""
    x = np.linspace(-REACH, REACH, 128 * REACH + 1)
    line = Line(activation, x, parameters)
    value, slope = line.computed("value"), line.computed("derivative")
    inside = x[~np.isnan(value)]
    if len(inside) < len(x):
        margin = (inside[-1] - inside[0]) / 8
        return float(inside[0] - margin), float(inside[-1] + margin)
    shown = np.clip(slope, -LEAST, LEAST)
    bends = abs(np.diff(shown)) > 0.02 * np.ptp(shown) * (x[1] - x[0])
    bent = x[1:][bends & (abs(x[1:]) <= BENT)]
    jumping = x[np.concatenate([jumps(value), jumps(slope)])]

    def end(sign: int) -> float:
        far_bent, far_jumping = (max(0.0, (sign * some).max(initial=0)) for some in (bent, jumping))
        return sign * max(LEAST, min(BENT, _beyond(far_bent)), _beyond(far_jumping))

    return end(-1), end(1)


def _beyond(x: float) -> float:
    return math.ceil(1.25 * x + 0.5) if x else 0.0


def tail(dtype: str) -> float:
    """A number beyond which exponentials vanish in this dtype."""
    return -1.1 * math.log(float(reference.ulp(0.0, named_dtype(dtype))))


def family(activation: Activation) -> tuple[str, list[float]] | None:
    """The first parameter that changes the picture, and up to five numbers for it that make different ones.

    They are the default, and that times or divided by powers of two, in ascending order. None if no parameter changes
    the picture.
    """
    for name, default in activation.parameters.items():
        numbers = [*_steps(activation, name, default, 0.5), default, *_steps(activation, name, default, 2)]
        if len(numbers) > 1:
            return name, sorted(numbers)
    return None


def _steps(activation: Activation, name: str, default: float, factor: float) -> list[float]:
    """The first two of the numbers, each `factor` times the one before, that make other pictures."""
    x = np.linspace(*limits(activation), 201)

    def picture(number: float) -> Array:
        return np.clip(Line(activation, x, {name: number}).computed("value"), -LEAST, LEAST)

    number, found, before = default, [], picture(default)
    different = 0.08 * np.nanmax(before) - 0.08 * np.nanmin(before)
    for _ in range(8):
        number *= factor
        if not math.isfinite(number):
            break
        try:
            other = picture(number)
        except ValueError:  # it is not accepted
            break
        if np.nanmax(abs(other - before)) > different:
            found.append(number)
            before = other
        if len(found) == 2:
            break
    return found
