"""The independent reference: every activation from its definition, sharing no code with the kernels.

Each formula is written once, over a namespace ``m``: NumPy (float64 or longdouble arrays) or :func:`mpmath_namespace`
(object arrays of any precision). It has the form that loses no digits. In float64 it is then accurate to a few float64
ulps at every float32 input, tails included, and decides the error of every float32 result. The errors of float64
results are computed with mpmath, which only the callers of :func:`mpmath_namespace` need.

A new activation is one entry of ``ELEMENTWISE`` or ``GATED``, a new loss one of ``LOSSES``, ``SIGMOID_LOSSES`` or
``DIVERGENCES``.
"""

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt


class Elementwise(NamedTuple):
    """Value and derivative as functions of ``(m, x, *parameters)``, and the derivatives in parameters, by name."""

    value: Callable[..., Any]
    derivative: Callable[..., Any]
    in_parameters: Mapping[str, Callable[..., Any]] = MappingProxyType({})


class Gated(NamedTuple):
    """Value and both gradients for dy = 1 as functions of ``(m, gate, other, *parameters)``."""

    value: Callable[..., Any]
    in_gate: Callable[..., Any]
    in_other: Callable[..., Any]


class Rowwise(NamedTuple):
    """Value as a function of ``(m, logits)`` over the last axis, and backward with the arguments of fastact.

    The derivatives in parameters, by name, are those of dy times the value, summed over the row, from dy and the value.
    """

    value: Callable[..., Any]
    backward: Callable[..., Any]
    in_parameters: Mapping[str, Callable[..., Any]] = MappingProxyType({})


class Loss(NamedTuple):
    """Loss of ``(m, logits, targets)`` over the last axis, and its gradient with respect to the logits.

    The targets are as many as the logits, or, where the name ends with ``_labels``, one index of a class for each row.
    """

    value: Callable[..., Any]
    gradient: Callable[..., Any]


class SigmoidLoss(NamedTuple):
    """Loss of ``(m, logits, targets, *parameters)``, elementwise, with its derivatives in the logits.

    The Hessian is None where the library has none.
    """

    value: Callable[..., Any]
    gradient: Callable[..., Any]
    hessian: Callable[..., Any] | None = None


def _sigmoid(m: Any, x: Any) -> Any:
    e = m.exp(-abs(x))
    return m.where(x < 0, e, 1) / (1 + e)


def _select(m: Any, x: Any, condition: Any, a: Any, b: Any) -> Any:
    """Return a where the condition holds, else b, as numbers of m; NaN where x is NaN."""
    return m.where(x == x, m.asarray(m.where(condition, a, b)), x)


def _constant(m: Any, x: Any, digits: str) -> Any:
    """Return a decimal number in the precision of x."""
    return x.dtype.type(digits) if m is np else m.asarray(digits)


def _elu(m: Any, x: Any, alpha: Any, scale: Any = 1) -> Any:
    return m.where(x < 0, alpha * m.expm1(m.minimum(x, 0)), scale * x)


def _elu_derivative(m: Any, x: Any, alpha: Any, scale: Any = 1) -> Any:
    return _select(m, x, x < 0, alpha * m.exp(m.minimum(x, 0)), scale)


# Below, h = e^(-|z| / 2): x h h keeps its digits where e^-|z| is subnormal or 0.


def _silu(m: Any, x: Any, beta: Any) -> Any:
    z = beta * x
    h = m.exp(-abs(z) / 2)
    inside = m.where(z < 0, x * h * h, x) / (1 + h * h)
    return _select(m, x, beta == 0, x / 2, m.where(z == -np.inf, 0, inside))


def _silu_derivative(m: Any, x: Any, beta: Any) -> Any:
    z = beta * x
    h = m.exp(-abs(z) / 2)
    inner = m.where(z < 0, (1 + z + h * h) * h * h, 1 + h * h + z * h * h)
    inner = m.where(abs(z) == np.inf, m.heaviside(z, 0), inner / (1 + h * h) ** 2)
    return _select(m, x, beta == 0, 0.5, inner)


def _mish(m: Any, x: Any) -> Any:
    h = m.exp(-abs(x) / 2)
    e = h * h
    below = x * (e + 2) / (e * (e + 2) + 2) * h * h
    above = x * (1 + 2 * e) / (1 + 2 * e + 2 * e * e)
    return _select(m, x, x == -np.inf, 0, m.where(x < 0, below, above))


def _mish_derivative(m: Any, x: Any) -> Any:
    h = m.exp(-abs(x) / 2)
    e = h * h
    n = e * (e + 2) + 2
    d = 1 + 2 * e + 2 * e * e
    below = ((e + 2) * n + 4 * x * (1 + e)) / n**2 * h * h
    above = (1 + 2 * e) / d + 4 * x * e * e * (1 + e) / d**2
    return _select(m, x, abs(x) == np.inf, m.heaviside(x, 0), m.where(x < 0, below, above))


def _series(a: Any, terms: int, ratio: Callable[[int], Any], weight: Callable[[int], float] = lambda k: 1) -> Any:
    """Sum the positive terms weight(k) a r(1) ... r(k), until they change none of the sums."""
    term, total = a, weight(0) * a
    for k in range(1, terms):
        term = term * ratio(k)
        before, total = total, total + weight(k) * term
        if a.dtype != object and k > 1 and np.array_equal(before, total):
            break
    return total


def _erf_near_0(m: Any, a: Any) -> Any:
    """Compute erf(a) for a < 1, where 1 - erfc loses digits. The last term, 2^25 / (1 * 3 * ... * 51), is 1e-26."""
    series = _series(a, 26, lambda k: 2 * a * a / (2 * k + 1))
    return m.exp(-a * a) * series * _constant(m, a, _TWO_OVER_SQRT_PI)


def _erfc(m: Any, x: Any) -> Any:
    """Compute erfc, which NumPy lacks: by Python in float64, by mpmath with 30 digits in two float64 for longdouble."""
    if m is not np:
        return m.erfc(m.minimum(m.maximum(x, -1000), 1000))
    if x.dtype.itemsize <= 8:
        y = np.asarray(np.where(x < 0, 2, np.where(x > 0, 0, x)), dtype=x.dtype)  # NaN stays
        near = abs(x) < 2.0**-6
        y[near] = 1 - np.sign(x[near]) * _erf_near_0(m, abs(x[near]))
        between = ~near & (x > -6) & (x < 30)  # a twelfth of all float32; the others round to 2 or 0
        y[between] = np.frompyfunc(math.erfc, 1, 1)(x[between])
        return y
    exact, x_high = mpmath_namespace(30), x.astype(np.float64)
    x_low = np.where(np.isfinite(x), x - x_high, 0).astype(np.float64)
    wide = exact.erfc(exact.minimum(exact.maximum(exact.asarray(x_high) + exact.asarray(x_low), -1000), 1000))
    high = (wide := wide * 2**300).astype(np.float64)  # avoids the subnormal numbers of float64
    return (high.astype(x.dtype) + (wide - exact.asarray(high)).astype(np.float64)) * x.dtype.type(2) ** -300


def _normal(m: Any, x: Any) -> Any:
    return _erfc(m, -x * _constant(m, x, _SQRT_HALF)) / 2


def _gelu(m: Any, x: Any) -> Any:
    return _select(m, x, x == -np.inf, 0, x * _normal(m, x))


def _gelu_derivative(m: Any, x: Any) -> Any:
    density = m.exp(-x * x / 2) * _constant(m, x, _SQRT_HALF) ** 2 * _constant(m, x, _TWO_OVER_SQRT_PI)
    density = density * _constant(m, x, _SQRT_HALF)
    return _select(m, x, abs(x) == np.inf, m.heaviside(x, 0), _normal(m, x) + x * density)


def _gelu_tanh_argument(m: Any, x: Any, cubes: int) -> Any:
    """Return 2u of y = x sigmoid(2u) for cubes = 1; x times the derivative of 2u for cubes = 3."""
    return x * (1 + cubes * _constant(m, x, "0.044715") * x * x) * 2 * _constant(m, x, _SQRT_TWO_OVER_PI)


def _gelu_tanh(m: Any, x: Any) -> Any:
    h = m.exp(-abs(_gelu_tanh_argument(m, x, 1)) / 2)
    return _select(m, x, x == -np.inf, 0, m.where(x < 0, x * h * h, x) / (1 + h * h))


def _gelu_tanh_derivative(m: Any, x: Any) -> Any:
    h = m.exp(-abs(_gelu_tanh_argument(m, x, 1)) / 2)
    slope = _gelu_tanh_argument(m, x, 3)
    inner = m.where(x < 0, (1 + slope + h * h) * h * h, 1 + h * h + slope * h * h)
    inner = m.where(h == 0, m.heaviside(x, 0), inner / (1 + h * h) ** 2)
    return _select(m, x, abs(x) == np.inf, m.heaviside(x, 0), inner)


def _root(m: Any, x: Any, b: Any) -> Any:
    """Compute sqrt(x^2 + b) without overflow."""
    large = m.maximum(abs(x), 1)
    return m.where(abs(x) == np.inf, abs(x), large * m.sqrt((x / large) ** 2 + b / large / large))


def _squareplus(m: Any, x: Any, b: Any) -> Any:
    some = m.asarray(m.where(b == 0, 1, b))
    h = _root(m, x, some)
    positive = m.where(x < 0, some / 4 / (h / 2 - m.minimum(x, 0) / 2), x / 2 + h / 2)
    return m.where(b == 0, m.maximum(x, 0), positive)


def _squareplus_derivative(m: Any, x: Any, b: Any) -> Any:
    some = m.asarray(m.where(b == 0, 1, b))
    h = _root(m, x, some)
    below = some / 4 / (h / 2 - m.minimum(x, 0) / 2) / h
    inside = m.where(x < 0, below, (1 + m.maximum(x, 0) / h) / 2)
    return _select(m, x, (abs(x) == np.inf) | (b == 0), m.heaviside(x, 1), inside)


def _celu(m: Any, x: Any, alpha: Any, derivative: bool) -> Any:
    flat = abs(alpha) == np.inf
    quotient = m.minimum(m.minimum(x, 0) / m.asarray(m.where(flat, 1, alpha)), 4000)
    inside = m.exp(quotient) if derivative else alpha * m.expm1(quotient)
    return _select(m, x, (x >= 0) | flat, 1 if derivative else x, inside)


def _dish(m: Any, x: Any) -> Any:
    h = _root(m, x, 1)
    below = x / h / 4 / (h / 2 - m.minimum(x, 0) / 2)
    inside = m.where(x < 0, below, x / 2 * (1 + x / h))
    return _select(m, x, abs(x) == np.inf, m.maximum(x, 0), inside)


def _dish_derivative(m: Any, x: Any) -> Any:
    h = _root(m, x, 1)
    r, ratio = 1 / h / h, abs(x) / h
    below = r * (r * r + r - 1) / (1 + ratio * (1 + r)) / 2
    return _select(m, x, abs(x) == np.inf, m.heaviside(x, 0), m.where(x < 0, below, 1 - below))


def _tanh_shrink(m: Any, x: Any) -> Any:
    """Near 0, x - tanh(x) is (x cosh(x) - sinh(x)) / cosh(x), and the numerator is a sum of positive terms."""
    is_near = abs(x) < 1
    a = abs(x[is_near])
    # 1 / 31! is 1e-34, 1 / 79! is 1e-117
    total = _series(a, 16 if m is np else 40, lambda k: a * a / (2 * k * (2 * k + 1)), lambda k: 2 * k)
    t = m.expm1(-2 * abs(x))
    y = m.asarray(abs(x) + t / (2 + t))
    y[is_near] = total * 2 / (m.exp(a) + m.exp(-a))
    return m.sign(x) * y


def _logit(m: Any, x: Any) -> Any:
    x = m.asarray(m.where((x >= 0) & (x <= 1), x, np.nan))
    near = abs(x - 0.5) < 0.25
    close, far = m.asarray(m.where(near, x, 0.5)), m.asarray(m.where(near, 0.5, x))
    return m.where(near, m.log1p((2 * close - 1) / (1 - close)), m.log(far) - m.log1p(-far))


def _logit_derivative(m: Any, x: Any) -> Any:
    inside, ends = (x >= 0) & (x <= 1), (x == 0) | (x == 1)
    within = m.asarray(m.where(inside & ~ends, x, 0.5))
    return m.asarray(m.where(inside, m.where(ends, np.inf, 1 / within / (1 - within)), np.nan))


def _erf(m: Any, x: Any) -> Any:
    if m is not np:
        return m.erf(m.minimum(m.maximum(x, -1000), 1000))
    is_near = abs(x) < 1
    y = m.asarray(x * 0 + 1) if is_near.all() else m.asarray(1 - _erfc(m, abs(x)))
    y[is_near] = _erf_near_0(m, abs(x[is_near]))
    return m.sign(x) * y


def _logit_clipped(m: Any, x: Any, eps: Any) -> Any:
    clipped = m.minimum(m.maximum(x, eps), 1 - eps)
    return _logit(m, m.asarray(m.where((eps >= 0) & (eps <= 0.5), clipped, x)))


def _logit_clipped_derivative(m: Any, x: Any, eps: Any) -> Any:
    slope = _logit_derivative(m, x)
    beyond = (eps >= 0) & (eps <= 0.5) & ((x < eps) | (x >= 1 - eps))
    return _select(m, x, beyond, 0, slope)


def _gelu_clipped_derivative(m: Any, x: Any, low: Any, high: Any) -> Any:
    """Compute the derivative; at a limit it is that of the piece to the right.

    gelu is max(x, 0) + gelu(-|x|). The rounded sum may equal a limit that the exact sum does not reach. So the two
    parts are compared with the limit.
    """
    slope, part, ramp = _gelu_derivative(m, x), _gelu(m, -abs(x)), m.maximum(x, 0)
    above_low, above_high = (ramp - low) + part, (ramp - high) + part
    beyond = (above_low < 0) | ((above_low == 0) & (slope < 0)) | (above_high > 0) | ((above_high == 0) & (slope > 0))
    return _select(m, x, beyond, 0, slope)


def _standardized(m: Any, x: Any, mu: Any, sigma: Any) -> Any:
    """Return (x - mu) / sigma, clipped to ±200, where the tails have vanished in every type."""
    return m.minimum(m.maximum((x - mu) / sigma, -200), 200)


def _laplace_derivative(m: Any, x: Any, mu: Any, sigma: Any) -> Any:
    t = _standardized(m, x, mu, sigma)
    return m.exp(-t * t / 2) / sigma * (_constant(m, x, _SQRT_HALF) * _constant(m, x, _TWO_OVER_SQRT_PI) / 2)


def _sqrt_softplus(m: Any, x: Any) -> Any:
    """For x < 0, with h = e^(x / 2), compute h sqrt(log1p(h^2) / h^2): the quotient is 1 while h^2 is small."""
    h = m.exp(m.minimum(x, 0) / 2)
    e = m.asarray(m.maximum(h * h, _constant(m, x, "1e-60")))
    return m.where(x < 0, h * m.sqrt(m.log1p(e) / e), m.sqrt(m.maximum(x, 0) + m.log1p(m.exp(-abs(x)))))


def _sqrt_softplus_derivative(m: Any, x: Any) -> Any:
    h = m.exp(m.minimum(x, 0) / 2)
    e = m.asarray(m.maximum(h * h, _constant(m, x, "1e-60")))
    below = h / (1 + h * h) / m.sqrt(m.log1p(e) / e) / 2
    return m.where(x < 0, below, _sigmoid(m, m.maximum(x, 0)) / _sqrt_softplus(m, m.maximum(x, 0)) / 2)


def _xielu(m: Any, x: Any, alpha_p: Any, alpha_n: Any, beta: Any, eps: Any) -> Any:
    below = alpha_n * m.expm1(m.minimum(x, eps)) + (beta - alpha_n) * x
    return _select(m, x, x > 0, x * (alpha_p * x + beta), below)


def _xielu_derivative(m: Any, x: Any, alpha_p: Any, alpha_n: Any, beta: Any, eps: Any) -> Any:
    below = alpha_n * m.where(x < eps, m.exp(m.minimum(x, 0)), 0) + (beta - alpha_n)
    return _select(m, x, x >= 0, 2 * alpha_p * x + beta, below)


# Derivatives in parameters


def _exp_rest(m: Any, x: Any) -> Any:
    """Compute e^x - 1 - x, near 0 as a series: its last term is less than 1e-15 or 1e-30 times the first."""
    near = m.asarray(m.where(abs(x) < 0.5, x, 0))
    series = _series(near * near / 2, 14 if m is np else 25, lambda k: near / (k + 2))
    return m.where(abs(x) < 0.5, series, m.expm1(x) - x)


def _softplus_in_beta(m: Any, x: Any, beta: Any) -> Any:
    z = m.minimum(abs(beta * x), 4000)
    e = m.exp(-z)
    return -(m.log1p(e) + z * e / (1 + e)) / beta / beta


def _silu_in_beta(m: Any, x: Any, beta: Any) -> Any:
    z = abs(beta * x)
    h = m.exp(-z / 2)
    inside = (m.asarray(m.where(z == np.inf, 0, x * h)) / (1 + h * h)) ** 2
    return m.where(beta == 0, x / 4 * x, inside)


def _celu_in_alpha(m: Any, x: Any, alpha: Any) -> Any:
    flat = abs(alpha) == np.inf
    t = m.maximum(m.minimum(m.minimum(x, 0) / m.asarray(m.where(flat, 1, alpha)), 4000), -4000)
    near = m.asarray(m.where(abs(t) < 0.5, t, 0))
    inside = m.where(abs(t) < 0.5, -m.exp(near) * _exp_rest(m, -near), (1 - t) * m.exp(t) - 1)
    return _select(m, x, (x >= 0) | flat, 0, inside)


def _xielu_in_alpha_n(m: Any, x: Any, eps: Any) -> Any:
    inner = m.minimum(x, eps)
    near = _exp_rest(m, inner) + m.where(x < eps, 0, eps - x)
    return _select(m, x, x > 0, 0, m.where(abs(inner) < 0.5, near, m.expm1(inner) - x))


def _squareplus_in_b(m: Any, x: Any, b: Any) -> Any:
    root = _root(m, x, b)
    return m.asarray(m.where(root == 0, np.inf, 1 / m.asarray(m.where(root == 0, 1, root)) / 4))


def _is_sixth(slope: Any, offset: Any) -> Any:
    """Whether the parameters are the defaults, in float32 or float64: the slope is then exactly 1/6."""
    return ((slope == 1 / 6) | (slope == float(np.float32(1 / 6)))) & (offset == 0.5)


def _hard_sigmoid(m: Any, x: Any, slope: Any, offset: Any) -> Any:
    line = m.where(_is_sixth(slope, offset), (x + 3) / 6, m.where(slope == 0, offset, slope * x + offset))
    return _select(m, x, True, m.minimum(m.maximum(m.asarray(line), 0), 1), 0)


def _hard_sigmoid_derivative(m: Any, x: Any, slope: Any, offset: Any) -> Any:
    line = slope * x + offset
    inside = m.where(slope >= 0, (line >= 0) & (line < 1), (line > 0) & (line <= 1))
    sixth = _is_sixth(slope, offset)
    inside = m.where(sixth, (x >= -3) & (x < 3), inside).astype(bool)
    return _select(m, x, inside, m.where(sixth, _constant(m, x, "1") / 6, slope), 0)


def _sparse_sigmoid(m: Any, x: Any) -> Any:
    return m.minimum(m.maximum(x + 1, 0), 2) / 2


_SQRT_HALF = "0.70710678118654752440084436210484903928483593768847"
_TWO_OVER_SQRT_PI = "1.1283791670955125738961589031215451716881012586580"
_SQRT_TWO_OVER_PI = "0.79788456080286535587989211986876373695171726232986"
# scale alpha with alpha = 1.6732632423543772848 and scale = 1.0507009873554804935; scale
_SELU = "1.75809934084737686005728423668589404880", "1.0507009873554804935"

ELEMENTWISE = {
    "identity": Elementwise(
        value=lambda m, x: x,
        derivative=lambda m, x: _select(m, x, True, 1, 1),
    ),
    "relu": Elementwise(
        value=lambda m, x: m.maximum(x, 0),
        derivative=lambda m, x: m.heaviside(x, 1),
    ),
    "softplus": Elementwise(
        value=lambda m, x, beta=1.0: (m.maximum(t := beta * x, 0) + m.log1p(m.exp(-abs(t)))) / beta,
        derivative=lambda m, x, beta=1.0: _sigmoid(m, beta * x),
        in_parameters={"beta": _softplus_in_beta},
    ),
    "sigmoid": Elementwise(
        value=_sigmoid,
        derivative=lambda m, x: (e := m.exp(-abs(x))) / (1 + e) ** 2,
    ),
    "tanh": Elementwise(
        value=lambda m, x: -m.sign(x) * (t := m.expm1(-2 * abs(x))) / (2 + t),
        derivative=lambda m, x: 4 * (e := m.exp(-2 * abs(x))) / (1 + e) ** 2,
    ),
    "relu6": Elementwise(
        value=lambda m, x: m.minimum(m.maximum(x, 0), 6),
        derivative=lambda m, x: _select(m, x, (x >= 0) & (x < 6), 1, 0),
    ),
    "relu2": Elementwise(
        value=lambda m, x: m.maximum(x, 0) ** 2,
        derivative=lambda m, x: 2 * m.maximum(x, 0),
    ),
    "leaky_relu": Elementwise(
        value=lambda m, x, negative_slope=0.01: m.where(x < 0, negative_slope * x, x),
        derivative=lambda m, x, negative_slope=0.01: _select(m, x, x < 0, negative_slope, 1),
        in_parameters={"negative_slope": lambda m, x, negative_slope: m.minimum(x, 0)},
    ),
    "prelu": Elementwise(
        value=lambda m, x, negative_slope=0.25: m.where(x < 0, negative_slope * x, x),
        derivative=lambda m, x, negative_slope=0.25: _select(m, x, x < 0, negative_slope, 1),
        in_parameters={"negative_slope": lambda m, x, negative_slope: m.minimum(x, 0)},
    ),
    "threshold": Elementwise(
        value=lambda m, x, threshold=1.0, value=0.0: _select(m, x, x > threshold, x, value),
        derivative=lambda m, x, threshold=1.0, value=0.0: _select(m, x, x >= threshold, 1, 0),
    ),
    "hard_tanh": Elementwise(
        value=lambda m, x, min_value=-1.0, max_value=1.0: m.minimum(m.maximum(x, min_value), max_value),
        derivative=lambda m, x, min_value=-1.0, max_value=1.0: _select(m, x, (x >= min_value) & (x < max_value), 1, 0),
    ),
    "hard_shrink": Elementwise(
        value=lambda m, x, threshold=0.5: _select(m, x, abs(x) > threshold, x, 0),
        derivative=lambda m, x, threshold=0.5: _select(m, x, (x >= -threshold) & (x < threshold), 0, 1),
    ),
    "soft_shrink": Elementwise(
        value=lambda m, x, threshold=0.5: _select(m, x, abs(x) <= threshold, 0, m.sign(x) * (abs(x) - threshold)),
        derivative=lambda m, x, threshold=0.5: _select(m, x, (x >= -threshold) & (x < threshold), 0, 1),
    ),
    "softsign": Elementwise(
        value=lambda m, x: m.where(abs(x) == np.inf, m.sign(x), x / (1 + abs(x))),
        derivative=lambda m, x: 1 / (1 + abs(x)) ** 2,
    ),
    "hard_sigmoid": Elementwise(
        value=lambda m, x, slope=1 / 6, offset=0.5: _hard_sigmoid(m, x, slope, offset),
        derivative=lambda m, x, slope=1 / 6, offset=0.5: _hard_sigmoid_derivative(m, x, slope, offset),
    ),
    "hard_swish": Elementwise(
        value=lambda m, x: _select(m, x, x < -3, 0, m.where(x < 3, x * (x + 3) / 6, x)),
        derivative=lambda m, x: _select(m, x, x < -3, 0, m.where(x < 3, (2 * x + 3) / 6, 1)),
    ),
    "elu": Elementwise(
        value=lambda m, x, alpha=1.0: _elu(m, x, alpha),
        derivative=lambda m, x, alpha=1.0: _elu_derivative(m, x, alpha),
        in_parameters={"alpha": lambda m, x, alpha: m.expm1(m.minimum(x, 0))},
    ),
    "selu": Elementwise(
        value=lambda m, x: _elu(m, x, *(_constant(m, x, digits) for digits in _SELU)),
        derivative=lambda m, x: _elu_derivative(m, x, *(_constant(m, x, digits) for digits in _SELU)),
    ),
    "log_sigmoid": Elementwise(
        value=lambda m, x: m.minimum(x, 0) - m.log1p(m.exp(-abs(x))),
        derivative=lambda m, x: _sigmoid(m, -x),
    ),
    "exp": Elementwise(
        value=lambda m, x: m.exp(x),
        derivative=lambda m, x: m.exp(x),
    ),
    "celu": Elementwise(
        value=lambda m, x, alpha=1.0: _celu(m, x, alpha, derivative=False),
        derivative=lambda m, x, alpha=1.0: _celu(m, x, alpha, derivative=True),
        in_parameters={"alpha": _celu_in_alpha},
    ),
    "silu": Elementwise(
        value=lambda m, x, beta=1.0: _silu(m, x, beta),
        derivative=lambda m, x, beta=1.0: _silu_derivative(m, x, beta),
        in_parameters={"beta": _silu_in_beta},
    ),
    "gelu_quick": Elementwise(
        value=lambda m, x: _silu(m, x, _constant(m, x, "1.702")),
        derivative=lambda m, x: _silu_derivative(m, x, _constant(m, x, "1.702")),
    ),
    "gelu": Elementwise(value=_gelu, derivative=_gelu_derivative),
    "gelu_tanh": Elementwise(value=_gelu_tanh, derivative=_gelu_tanh_derivative),
    "mish": Elementwise(value=_mish, derivative=_mish_derivative),
    "sparse_sigmoid": Elementwise(
        value=_sparse_sigmoid,
        derivative=lambda m, x: _select(m, x, (x >= -1) & (x < 1), 0.5, 0),
    ),
    "sparse_plus": Elementwise(
        value=lambda m, x: m.where(abs(x) < 1, (x + 1) ** 2 / 4, m.maximum(x, 0)),
        derivative=_sparse_sigmoid,
    ),
    "squareplus": Elementwise(
        value=lambda m, x, b=4.0: _squareplus(m, x, b),
        derivative=lambda m, x, b=4.0: _squareplus_derivative(m, x, b),
        in_parameters={"b": _squareplus_in_b},
    ),
    "tanh_shrink": Elementwise(
        value=_tanh_shrink,
        derivative=lambda m, x: (m.expm1(-2 * abs(x)) / (2 + m.expm1(-2 * abs(x)))) ** 2,
    ),
    "dish": Elementwise(value=_dish, derivative=_dish_derivative),
    "logit": Elementwise(
        value=lambda m, x, eps=1.0: _logit_clipped(m, x, eps),
        derivative=lambda m, x, eps=1.0: _logit_clipped_derivative(m, x, eps),
    ),
    "erf": Elementwise(
        value=_erf,
        derivative=lambda m, x: m.exp(-x * x) * _constant(m, x, _TWO_OVER_SQRT_PI),
    ),
    "xielu": Elementwise(
        value=lambda m, x, alpha_p=0.8, alpha_n=0.8, beta=0.5, eps=-1e-6: _xielu(m, x, alpha_p, alpha_n, beta, eps),
        derivative=lambda m, x, alpha_p=0.8, alpha_n=0.8, beta=0.5, eps=-1e-6: _xielu_derivative(
            m, x, alpha_p, alpha_n, beta, eps
        ),
        in_parameters={
            "alpha_p": lambda m, x, alpha_p, alpha_n, beta, eps: _select(m, x, x > 0, x * x, 0),
            "alpha_n": lambda m, x, alpha_p, alpha_n, beta, eps: _xielu_in_alpha_n(m, x, eps),
            "beta": lambda m, x, alpha_p, alpha_n, beta, eps: x,
        },
    ),
    "gelu_clipped": Elementwise(
        value=lambda m, x, min_value=-10.0, max_value=10.0: m.minimum(m.maximum(_gelu(m, x), min_value), max_value),
        derivative=lambda m, x, min_value=-10.0, max_value=10.0: _gelu_clipped_derivative(m, x, min_value, max_value),
    ),
    "laplace": Elementwise(
        value=lambda m, x, mu=0.707107, sigma=0.282095: _normal(m, _standardized(m, x, mu, sigma)),
        derivative=lambda m, x, mu=0.707107, sigma=0.282095: _laplace_derivative(m, x, mu, sigma),
    ),
    "sqrt_softplus": Elementwise(value=_sqrt_softplus, derivative=_sqrt_softplus_derivative),
}


def _times(name: str) -> Gated:
    """The activation of the gate times the other input."""
    activation = ELEMENTWISE[name]
    return Gated(
        value=lambda m, gate, other, *parameters: activation.value(m, gate, *parameters) * other,
        in_gate=lambda m, gate, other, *parameters: activation.derivative(m, gate, *parameters) * other,
        in_other=lambda m, gate, other, *parameters: activation.value(m, gate, *parameters),
    )


def _limited(name: str) -> Gated:
    """The same with a limit and an offset: without a limit nothing is beyond it, not even infinity."""
    plain = _times(name)

    def inputs(m: Any, gate: Any, other: Any, limit: Any, offset: Any) -> Any:
        clipped = m.minimum(m.maximum(other, -limit), limit)
        return m.minimum(gate, limit), m.where(offset == 0, clipped, clipped + offset)

    def value(m: Any, gate: Any, other: Any, beta: Any = 1.0, limit: Any = math.inf, offset: Any = 0.0) -> Any:
        return plain.value(m, *inputs(m, gate, other, limit, offset), beta)

    def in_gate(m: Any, gate: Any, other: Any, beta: Any = 1.0, limit: Any = math.inf, offset: Any = 0.0) -> Any:
        beyond = (gate >= limit) & (limit < math.inf)
        return m.where(beyond, 0, plain.in_gate(m, *inputs(m, gate, other, limit, offset), beta))

    def in_other(m: Any, gate: Any, other: Any, beta: Any = 1.0, limit: Any = math.inf, offset: Any = 0.0) -> Any:
        beyond = ((other >= limit) | (other < -limit)) & (limit < math.inf)
        return m.where(beyond, 0, plain.in_other(m, *inputs(m, gate, other, limit, offset), beta))

    return Gated(value, in_gate, in_other)


GATED = {
    "glu": _times("sigmoid"),
    "swiglu": _limited("silu"),
    "geglu": _times("gelu"),
    "geglu_tanh": _times("gelu_tanh"),
    "reglu": _times("relu"),
}


def _row_maximum(m: Any, logits: Any) -> Any:
    return m.maximum.reduce(logits, axis=-1, keepdims=True)


def _shifted(m: Any, logits: Any, scale: Any, temperature: Any) -> Any:
    return (logits - _row_maximum(m, logits)) * (scale / temperature)


def _softmax(m: Any, logits: Any, scale: Any = 1.0, temperature: Any = 1.0) -> Any:
    e = m.exp(_shifted(m, logits, scale, temperature))
    return e / e.sum(axis=-1, keepdims=True)


def _hardmax(m: Any, logits: Any) -> Any:
    largest = _row_maximum(m, logits)
    first = np.arange(logits.shape[-1]) == (logits == largest).argmax(axis=-1)[..., None]
    return m.asarray(m.where(largest == largest, first, largest))


def _log_of_sum(m: Any, shifted: Any) -> Any:
    """Compute log sum exp(shifted) of rows with the maximum 0 as log1p(sum of the others): accurate if confident."""
    largest = shifted.argmax(axis=-1)[..., None]
    # A product and not a selection: the NaN of inf - inf has to reach the sum.
    rest = m.exp(shifted) * (np.arange(shifted.shape[-1]) != largest).astype(int)
    return m.log1p(rest.sum(axis=-1, keepdims=True))


def _log_softmax(m: Any, logits: Any, scale: Any = 1.0, temperature: Any = 1.0) -> Any:
    shifted = _shifted(m, logits, scale, temperature)
    return shifted - _log_of_sum(m, shifted)


def _logsumexp(m: Any, logits: Any, scale: Any = 1.0, temperature: Any = 1.0) -> Any:
    largest = _row_maximum(m, logits)
    finite = largest * (scale / temperature) + _log_of_sum(m, (logits - largest) * (scale / temperature))
    return m.where(abs(largest) == np.inf, largest, finite)[..., 0]


def _softmax_backward(m: Any, dy: Any, output: Any, scale: Any = 1.0, temperature: Any = 1.0) -> Any:
    return output * (dy - (dy * output).sum(axis=-1, keepdims=True)) * (scale / temperature)


def _log_softmax_backward(m: Any, dy: Any, output: Any, scale: Any = 1.0, temperature: Any = 1.0) -> Any:
    return (dy - m.exp(output) * dy.sum(axis=-1, keepdims=True)) * (scale / temperature)


def _sparsemax(m: Any, logits: Any, scale: Any = 1.0, temperature: Any = 1.0) -> Any:
    """By sorting: k of the largest logits are positive if the k-th of them is above the threshold that k give."""
    z = _shifted(m, logits, scale, temperature)
    largest = -np.sort(-z, axis=-1)
    thresholds = (largest.cumsum(axis=-1) - 1) / np.arange(1, z.shape[-1] + 1)
    count = (largest > thresholds).sum(axis=-1, keepdims=True)
    p = m.maximum(z - np.take_along_axis(thresholds, count - 1, axis=-1), 0)
    spoilt = np.asarray(z != z, dtype=bool).any(axis=-1, keepdims=True)
    return m.where(spoilt, np.nan, p)


def _entmax15(m: Any, logits: Any, scale: Any = 1.0, temperature: Any = 1.0) -> Any:
    """By sorting too: of the k largest z = s (x - max) / 2, the sum of (z - tau)^2 is 1."""
    z = _shifted(m, logits, scale, temperature) / 2
    largest = -np.sort(-z, axis=-1)
    largest = m.asarray(m.where(largest > -1, largest, -1))  # others are not positive, and -inf has no mean
    k = np.arange(1, z.shape[-1] + 1)
    mean = largest.cumsum(axis=-1) / k
    variance = m.maximum((largest * largest).cumsum(axis=-1) - k * mean * mean, 0)
    thresholds = mean - m.sqrt(m.maximum((1 - variance) / k, 0))
    count = ((largest > thresholds) & (largest > -1)).sum(axis=-1, keepdims=True)
    p = m.maximum(z - np.take_along_axis(thresholds, count - 1, axis=-1), 0) ** 2
    spoilt = np.asarray(z != z, dtype=bool).any(axis=-1, keepdims=True)
    return m.where(spoilt, np.nan, p)


def _beside_mean(m: Any, dy: Any, output: Any, weights: Any, factor: Any) -> Any:
    """The weights times the difference of dy from its mean with these weights, on the support; 0 outside."""
    supported = np.asarray(output > 0, dtype=bool)
    weights = m.asarray(m.where(supported, weights, 0))
    total = (weights * m.asarray(m.where(supported, dy, 0))).sum(axis=-1, keepdims=True)
    gradient = weights * (dy - total / weights.sum(axis=-1, keepdims=True)) * factor
    return m.asarray(m.where(supported, gradient, output - output))


def _sparsemax_backward(m: Any, dy: Any, output: Any, scale: Any = 1.0, temperature: Any = 1.0) -> Any:
    return _beside_mean(m, dy, output, 1, scale / temperature)


def _entmax15_backward(m: Any, dy: Any, output: Any, scale: Any = 1.0, temperature: Any = 1.0) -> Any:
    return _beside_mean(m, dy, output, m.sqrt(output), scale / temperature)


NEAR_THRESHOLD = 2.0**-40  # of entmax, from NumPy's to mpmath's


def _entmax(
    m: Any, logits: Any, alpha: Any = 1.5, scale: Any = 1.0, temperature: Any = 1.0
) -> Any:
    """With the threshold t, p = (1 + (alpha - 1) (z - t))^(1 / (alpha - 1)) of z = s (x - max).

    The three other functions are its definition for their alpha.
    """
    for special, function in (1, _softmax), (1.5, _entmax15), (2, _sparsemax):
        if alpha == special:
            return function(m, logits, scale, temperature)
    z, less = _shifted(m, logits, scale, temperature), alpha - 1
    largest = m.asarray(m.where(z == z, 0, z)).sum(axis=-1, keepdims=True)  # 0, or NaN
    low, high = 0 * largest, largest - m.expm1(-less * m.log(m.asarray(float(z.shape[-1])))) / less
    if m is not np:  # whose steps are slow: around a threshold of NumPy's, in rows that have theirs there
        wide = [np.asarray(one, np.longdouble) for one in (z, less, low, high)]
        near = m.asarray(_entmax_threshold(np, *wide).astype(np.float64))
        for one in near - NEAR_THRESHOLD, near + NEAR_THRESHOLD:
            at = _entmax_powers(m, z, less, one).sum(axis=-1, keepdims=True) - 1
            low = m.asarray(m.where(np.asarray((at > 0) & (one > low), dtype=bool), one, low))
            high = m.asarray(m.where(np.asarray((at < 0) & (one < high), dtype=bool), one, high))
    p = _entmax_powers(m, z, less, _entmax_threshold(m, z, less, low, high))
    return m.asarray(m.where(largest == largest, p, np.nan))


def _entmax_powers(m: Any, z: Any, less: Any, threshold: Any) -> Any:
    root = m.asarray(m.where(z == z, m.maximum(less * (z - threshold), -1), -1))
    return m.asarray(m.where(root > -1, m.exp(m.log1p(root) / less), 0))


def _entmax_threshold(m: Any, z: Any, less: Any, low: Any, high: Any) -> Any:
    """By false position. Every fourth step halves the interval, which always holds the threshold."""
    def excess(threshold: Any) -> Any:
        return _entmax_powers(m, z, less, threshold).sum(axis=-1, keepdims=True) - 1

    bits = 60 if m is np else int(3.4 * m.precision)
    lost = min(float(less) * np.log2(z.shape[-1]), bits / 2)  # in 1 + root, which may be n^(1 - alpha)
    least = 0 if m is np else 2.0 ** (16 + lost - bits)  # of the excess, which is rounded too
    at_low, at_high = excess(low), excess(high)
    best, at_best = m.asarray(m.where(at_high == 0, high, low)), m.asarray(m.where(at_high == 0, 0, at_low))
    was_below = np.zeros(low.shape, bool)
    for step in range(4 * bits):
        share = at_low / m.asarray(m.where(at_low > at_high, at_low - at_high, 1))
        middle = low + (high - low) * (m.asarray(m.where(share < 1, share, 0.5)) if step % 4 else 0.5)
        at_middle = excess(middle)
        is_below, is_better = (np.asarray(one, bool) for one in (at_middle > 0, abs(at_middle) < abs(at_best)))
        best = m.asarray(m.where(is_better, middle, best))
        at_best = m.asarray(m.where(is_better, at_middle, at_best))
        # An end that stays a second time counts half, so that the next step comes to its side (the Illinois method).
        at_low = m.asarray(m.where(is_below, at_middle, at_low * np.where(is_below | was_below, 1, 0.5)))
        at_high = m.asarray(m.where(is_below, at_high * np.where(is_below & was_below, 0.5, 1), at_middle))
        low = m.asarray(m.where(is_below, middle, low))
        high = m.asarray(m.where(is_below, high, middle))
        was_below = is_below
        if not np.asarray((high - low > 2.0**-bits) & (abs(at_best) > least), dtype=bool).any():
            break
    return best


def _power(m: Any, p: Any, exponent: Any) -> Any:
    """p^exponent on the support, else 0"""
    supported = np.asarray(p > 0, dtype=bool)
    return m.asarray(m.where(supported, m.exp(exponent * m.log(m.asarray(m.where(supported, p, 1)))), 0))


def _entmax_backward(
    m: Any, dy: Any, output: Any, alpha: Any = 1.5, scale: Any = 1.0, temperature: Any = 1.0
) -> Any:
    return _beside_mean(m, dy, output, _power(m, output, 2 - alpha), scale / temperature)


def _entmax_in_alpha(m: Any, dy: Any, output: Any, alpha: Any = 1.5) -> Any:
    """Of each row.  The quotients cancel where alpha is almost 1: there it takes digits enough."""
    supported = np.asarray(output > 0, dtype=bool)
    h = output * m.log(m.asarray(m.where(supported, output, 1)))
    weights = _power(m, output, 2 - alpha)
    weights = weights / weights.sum(axis=-1, keepdims=True)
    slopes = (output - weights) / (alpha - 1) ** 2 - (h - weights * h.sum(axis=-1, keepdims=True)) / (alpha - 1)
    return m.asarray(m.where(supported, dy * slopes, output - output)).sum(axis=-1)


ROWWISE = {
    "softmax": Rowwise(value=_softmax, backward=_softmax_backward),
    "softmin": Rowwise(
        value=lambda m, logits, *factors: _softmax(m, -logits, *factors),
        backward=lambda m, *arrays: -_softmax_backward(m, *arrays),
    ),
    "hardmax": Rowwise(value=_hardmax, backward=lambda m, dy, output: 0 * output),
    "sparsemax": Rowwise(value=_sparsemax, backward=_sparsemax_backward),
    "entmax15": Rowwise(value=_entmax15, backward=_entmax15_backward),
    "entmax": Rowwise(value=_entmax, backward=_entmax_backward, in_parameters={"alpha": _entmax_in_alpha}),
    "log_softmax": Rowwise(value=_log_softmax, backward=_log_softmax_backward),
    "logsumexp": Rowwise(
        value=_logsumexp,
        backward=lambda m, dy, logits, *factors: (
            dy[..., None] * _softmax(m, logits, *factors) * (factors[0] / factors[1] if factors else 1)),
    ),
}


def part_of_rows(
    shape: tuple[int, ...],
    *,
    where: Any = True,
    bias: Any = 0.0,
    lengths: Any = None,
    causal: bool = False,
    offset: Any = None,
    window: Any = None,
) -> npt.NDArray[np.bool_]:
    """Tell which entries of rows along the last axis take part, from the definition, entry by entry."""
    part = np.zeros(shape, bool)
    where, bias = np.broadcast_to(where, shape), np.broadcast_to(bias, shape)
    diagonal = causal or window is not None
    rows = shape[:-2] if diagonal else shape[:-1]
    left, right = window if isinstance(window, tuple) else (window, window)
    for index in np.ndindex(*shape):
        row, key = index[:-2] if diagonal else index[:-1], index[-1]
        length = shape[-1] if lengths is None else np.broadcast_to(lengths, rows)[row]
        begin, end = 0, length
        if diagonal:
            first = length - shape[-2] if offset is None else np.broadcast_to(offset, rows)[row]
            diagonal_key = index[-2] + first
            end = min(end, diagonal_key + 1) if causal else end
            end = end if right is None else min(end, diagonal_key + right + 1)
            begin = 0 if left is None else diagonal_key - left
        part[index] = where[index] and bias[index] != -np.inf and begin <= key < end
    return part


def masked_rows(
    logits: Any, part: Any, *, scale: float = 1.0, bias: Any = 0.0, sink: Any = -np.inf
) -> tuple[Any, Any, Any]:
    """Compute softmax, log_softmax and the logarithm of the denominator in float64, row by row.

    Parameters
    ----------
    logits, part : ndarray
        Rows along the last axis, and which of their entries take part.
    scale, bias, sink
        As of ``fastact.softmax``.
    """
    logits, part = np.asarray(logits, np.float64), np.broadcast_to(part, np.shape(logits))
    bias, sink = np.broadcast_to(bias, logits.shape), np.broadcast_to(sink, logits.shape[:-1]).astype(np.float64)
    p, log_p, lse = np.zeros(logits.shape), np.full(logits.shape, -np.inf), sink.copy()
    for row in np.ndindex(*logits.shape[:-1]):
        chosen = part[row]
        if chosen.any():
            terms = scale * logits[row][chosen] + bias[row][chosen]
            largest = max(terms.max(), sink[row])
            lse[row] = largest + np.log(np.exp(terms - largest).sum() + np.exp(sink[row] - largest))
            p[row][chosen], log_p[row][chosen] = np.exp(terms - lse[row]), terms - lse[row]
    return p, log_p, lse


def _squared_error(m: Any, logits: Any, targets: Any) -> Any:
    return ((_softmax(m, logits) - targets) ** 2).sum(axis=-1) / 2


def _squared_error_gradient(m: Any, logits: Any, targets: Any) -> Any:
    p = _softmax(m, logits)
    return p * ((p - targets) - ((p - targets) * p).sum(axis=-1, keepdims=True))


def _cross_entropy(m: Any, logits: Any, targets: Any) -> Any:
    """A class whose target is 0 adds nothing, not even where its logit is -inf."""
    counts = m.asarray(m.where(targets == 0, 0, _log_softmax(m, logits)))
    return -(targets * counts).sum(axis=-1)


def _cross_entropy_gradient(m: Any, logits: Any, targets: Any) -> Any:
    return _softmax(m, logits) * targets.sum(axis=-1, keepdims=True) - targets


def _is_label(logits: Any, labels: Any) -> Any:
    return np.asarray(np.arange(logits.shape[-1]) == labels[..., None], dtype=bool)


def _cross_entropy_of_labels(m: Any, logits: Any, labels: Any) -> Any:
    return -m.asarray(m.where(_is_label(logits, labels), _log_softmax(m, logits), 0)).sum(axis=-1)


def _cross_entropy_of_labels_gradient(m: Any, logits: Any, labels: Any) -> Any:
    """At the label minus the sum of the other probabilities: p - 1 would lose its digits where p is almost 1."""
    p, is_label = _softmax(m, logits), _is_label(logits, labels)
    others = m.asarray(m.where(is_label, 0, p)).sum(axis=-1, keepdims=True)
    return m.where(is_label, -others, p)


def _targets(logits: Any, targets: Any) -> Any:
    """Targets of the shape of the logits, from labels too."""
    return targets if np.ndim(targets) == np.ndim(logits) else _is_label(logits, targets).astype(int)


def _tsallis_entropy(m: Any, p: Any, alpha: Any) -> Any:
    """The entropy of Tsallis: sum of (p - p^alpha) / (alpha (alpha - 1)); that of Shannon for alpha = 1."""
    if alpha == 1:
        return -(p * m.log(m.asarray(m.where(p > 0, p, 1)))).sum(axis=-1)
    power = p * p if alpha == 2 else p * m.sqrt(p) if alpha == 1.5 else _power(m, p, alpha)
    return (p - power).sum(axis=-1) / (alpha * (alpha - 1))


def _fenchel_young(value: Callable[..., Any], alpha: Any) -> Loss:
    """(p - t) x + H(p) - H(t), with the gradient p - t."""

    def loss(m: Any, logits: Any, targets: Any) -> Any:
        p, t = value(m, logits), m.asarray(_targets(logits, targets))
        t = t.astype(p.dtype)
        products = m.asarray(m.where(p == t, 0, (p - t) * logits))
        return products.sum(axis=-1) + _tsallis_entropy(m, p, alpha) - _tsallis_entropy(m, t, alpha)

    return Loss(value=loss, gradient=lambda m, logits, targets: value(m, logits) - _targets(logits, targets))


def _entmax_loss(mode: str) -> Callable[..., Any]:
    """Loss or gradient for the alpha of the call"""
    def evaluated(m: Any, logits: Any, targets: Any, alpha: Any = 1.5) -> Any:
        loss = _fenchel_young(lambda m, logits: _entmax(m, logits, alpha=alpha), alpha)
        return getattr(loss, mode)(m, logits, targets)
    return evaluated


_ENTMAX_LOSS = Loss(value=_entmax_loss("value"), gradient=_entmax_loss("gradient"))
_SPARSEMAX_LOSS, _ENTMAX15_LOSS = _fenchel_young(_sparsemax, 2), _fenchel_young(_entmax15, 1.5)
LOSSES = {
    "sparsemax_loss": _SPARSEMAX_LOSS,
    "sparsemax_loss_labels": _SPARSEMAX_LOSS,
    "entmax15_loss": _ENTMAX15_LOSS,
    "entmax15_loss_labels": _ENTMAX15_LOSS,
    "entmax_loss": _ENTMAX_LOSS,
    "entmax_loss_labels": _ENTMAX_LOSS,
    "softmax_mse": Loss(value=_squared_error, gradient=_squared_error_gradient),
    "softmax_cross_entropy": Loss(value=_cross_entropy, gradient=_cross_entropy_gradient),
    "softmax_cross_entropy_labels": Loss(value=_cross_entropy_of_labels, gradient=_cross_entropy_of_labels_gradient),
}


def _two_cases(formula: Callable[..., Any]) -> Callable[..., Any]:
    """Add the case y = 1 and the case y = 0; a case whose weight is 0 adds nothing, whatever its logit is.

    The formula is that of one case, with z = x for y = 1 and z = -x for y = 0.
    """
    def total(m: Any, x: Any, weights: tuple[Any, Any], sign: int, *parameters: Any) -> Any:
        cases = [(weights[0], formula(m, x, *parameters)), (weights[1], sign * formula(m, -x, *parameters))]
        terms = [m.asarray(m.where(weight == 0, 0, weight * case)) for weight, case in cases]
        return m.where(x == x, m.asarray(terms[0] + terms[1]), x)
    return total


def _log_of_one_more_exp(m: Any, z: Any) -> Any:
    """log(1 + e^z)"""
    return m.where(z > 0, z, 0) + m.log1p(m.exp(-abs(z)))


_entropy_case = _two_cases(lambda m, z: _log_of_one_more_exp(m, -z))
_entropy_slope = _two_cases(lambda m, z: -_sigmoid(m, -z))
_entropy_curvature = _two_cases(lambda m, z: _sigmoid(m, z) * _sigmoid(m, -z))


def _focal_power(m: Any, z: Any, gamma: Any) -> Any:
    return m.exp(-gamma * _log_of_one_more_exp(m, z))


_focal_case = _two_cases(lambda m, z, gamma: _focal_power(m, z, gamma) * _log_of_one_more_exp(m, -z))
_focal_slope = _two_cases(lambda m, z, gamma: -_focal_power(m, z, gamma) * (
    gamma * _sigmoid(m, z) * _log_of_one_more_exp(m, -z) + _sigmoid(m, -z)))

SIGMOID_LOSSES = {
    "sigmoid_cross_entropy": SigmoidLoss(
        value=lambda m, x, y, q=1: _entropy_case(m, x, (q * y, 1 - y), 1),
        gradient=lambda m, x, y, q=1: _entropy_slope(m, x, (q * y, 1 - y), -1),
        hessian=lambda m, x, y, q=1: _entropy_curvature(m, x, (q * y, 1 - y), 1)),
    "sigmoid_focal": SigmoidLoss(
        value=lambda m, x, y, alpha=0.25, gamma=2: _focal_case(m, x, (alpha * y, (1 - alpha) * (1 - y)), 1, gamma),
        gradient=lambda m, x, y, alpha=0.25, gamma=2: _focal_slope(m, x, (alpha * y, (1 - alpha) * (1 - y)), -1,
                                                                   gamma)),
}


def _entropy(m: Any, logits: Any) -> Any:
    log_p = _log_softmax(m, logits)
    p = m.exp(log_p)
    return -m.asarray(m.where(p == 0, 0, p * log_p)).sum(axis=-1)


def _entropy_gradient(m: Any, logits: Any) -> Any:
    log_p = _log_softmax(m, logits)
    p = m.exp(log_p)
    terms = m.asarray(m.where(p == 0, 0, p * log_p))
    return m.asarray(m.where(p == 0, 0, -p * (log_p - terms.sum(axis=-1, keepdims=True))))


def _divergence(m: Any, logits: Any, target_logits: Any) -> Any:
    log_p, log_t = _log_softmax(m, logits), _log_softmax(m, target_logits)
    t = m.exp(log_t)
    return m.asarray(m.where(t == 0, 0, t * (log_t - log_p))).sum(axis=-1)


DIVERGENCES = {
    "softmax_entropy": Loss(value=_entropy, gradient=_entropy_gradient),
    "softmax_kl": Loss(
        value=_divergence,
        gradient=lambda m, logits, target_logits: _softmax(m, logits) - _softmax(m, target_logits)),
}


def sample(
    logits: npt.ArrayLike,
    uniforms: npt.ArrayLike,
    temperature: float = 1.0,
    top_k: float = math.inf,
    top_p: float = 1.0,
    min_p: float = 0.0,
) -> npt.NDArray[np.intp]:
    """Draw an index from the softmax of each row along the last axis, by sorting, in float64.

    Parameters
    ----------
    logits, uniforms : array_like
        The rows, without NaN and +inf, and a number from 0 to below 1 for each.
    temperature, top_k, top_p, min_p : float, optional
        As for `fastact.sample`; the defaults leave everything.

    Returns
    -------
    ndarray of intp
        The indices, in the shape of `uniforms`.
    """
    x, u = np.asarray(logits).astype(np.float64), np.asarray(uniforms)
    arguments = zip(x.reshape(u.size, -1), u.flat, strict=True)
    return np.array([_sampled(*pair, temperature, top_k, top_p, min_p) for pair in arguments], np.intp).reshape(u.shape)


def _sampled(x: Any, u: Any, temperature: Any, top_k: Any, top_p: Any, min_p: Any) -> Any:
    if temperature == 0:
        return x.argmax()
    with np.errstate(over="ignore", under="ignore"):
        shifted = (x - x.max()) / temperature
        weights = np.exp(shifted)
    descending = np.argsort(-x, kind="stable")
    if top_k < x.size:
        weights[x < x[descending[int(top_k) - 1]]] = 0
    if top_p < 1:
        summands = weights[descending]
        count = max(int((summands.cumsum() - summands < top_p * summands.sum()).sum()), 1)
        weights[x < x[descending[count - 1]]] = 0
    if min_p > 0:
        weights[shifted < math.log(min_p)] = 0
    cumulative = weights.cumsum()
    index = np.searchsorted(cumulative, u * cumulative[-1], side="right")
    return index if index < x.size else weights.nonzero()[0][-1]


def evaluate(name: str, mode: str, *arguments: npt.ArrayLike, m: Any = np) -> Any:
    """Compute what a function of the library should return, to the precision of ``m``.

    Parameters
    ----------
    name : str
        A key of ``ELEMENTWISE``, ``GATED``, ``ROWWISE``, ``LOSSES``, ``SIGMOID_LOSSES`` or ``DIVERGENCES``.
    mode : str
        ``"value"``, ``"derivative"`` and ``"derivative_in_beta"``, with the name of a parameter (elementwise),
        ``"in_gate"`` and ``"in_other"`` (gated), ``"backward"`` (rowwise) or ``"gradient"`` and ``"hessian"`` (losses).
    *arguments : array_like
        The arrays and parameters of the formula. Rows lie along the last axis.
    m : namespace, optional
        NumPy computes in float64, or in longdouble if an argument is; :func:`mpmath_namespace` in its own precision.

    Returns
    -------
    ndarray
        An array of float64, longdouble or object (mpmath).

    Raises
    ------
    LookupError
        If nothing has that name.
    """
    tables: dict[str, Any] = {**ELEMENTWISE, **GATED, **ROWWISE, **LOSSES, **SIGMOID_LOSSES, **DIVERGENCES}
    if name not in tables:
        raise LookupError(f"{name} has no reference: write it into its table in fastact/reference.py")
    parameter = mode.removeprefix("derivative_in_")
    formula = getattr(tables[name], mode) if parameter == mode else tables[name].in_parameters[parameter]
    widen = _widen if m is np else m.asarray
    with np.errstate(all="ignore"):
        return formula(m, *map(widen, arguments))


def _widen(x: npt.ArrayLike) -> npt.NDArray[Any]:
    x = np.asarray(x)
    return x.astype(np.result_type(x, np.float64), copy=False)


def mpmath_namespace(digits: int = 50) -> Any:
    """Return the NumPy names that the formulas use, for object arrays of mpmath numbers with that many digits.

    Each namespace has its own mpmath context. mpmath's functions change the precision of their context during a
    computation, so two threads with one context would leave it changed.
    """
    import mpmath

    context = mpmath.mp.clone()
    context.dps = digits
    convert = np.frompyfunc(lambda x: context.mpf(x), 1, 1)

    class Namespace:
        precision = digits
        exp = np.frompyfunc(context.exp, 1, 1)
        expm1 = np.frompyfunc(context.expm1, 1, 1)
        erf = np.frompyfunc(context.erf, 1, 1)
        erfc = np.frompyfunc(context.erfc, 1, 1)
        log = np.frompyfunc(context.log, 1, 1)
        sqrt = np.frompyfunc(context.sqrt, 1, 1)
        log1p = np.frompyfunc(lambda x: context.log1p(x) if x != -1 else -context.inf, 1, 1)
        sign = np.frompyfunc(context.sign, 1, 1)
        # NumPy's own functions lose a NaN in an object array.
        maximum = np.frompyfunc(lambda a, b: a if a >= b or context.isnan(a) else context.mpf(b), 2, 1)
        minimum = np.frompyfunc(lambda a, b: a if a <= b or context.isnan(a) else context.mpf(b), 2, 1)
        heaviside = np.frompyfunc(
            lambda x, at_0: x if context.isnan(x) else context.mpf(at_0 if x == 0 else x > 0), 2, 1
        )
        where = staticmethod(np.where)

        @staticmethod
        def asarray(x: npt.ArrayLike) -> npt.NDArray[np.object_]:
            with np.errstate(invalid="ignore"):
                return np.asarray(convert(x), dtype=object)

    return Namespace


def _finfo(dtype: npt.DTypeLike) -> Any:
    dtype = np.dtype(dtype)
    if dtype.kind == "f":
        return np.finfo(dtype)
    import ml_dtypes  # a dtype of another kind is its bfloat16

    return ml_dtypes.finfo(dtype)  # type: ignore[no-untyped-call]


def ulp(exact: npt.ArrayLike, dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """Compute the ulp of ``dtype`` at ``exact``: 2^(min(max(floor(log2|r|), emin), emax) - (p - 1)).

    Parameters
    ----------
    exact : array_like
        Numbers of a type wider than `dtype`: float64, longdouble, or object for mpmath numbers.
    dtype : dtype
        The type of the unit.

    Returns
    -------
    ndarray
        A power of two per entry, in the type of `exact`. Zero and subnormal numbers have the smallest unit, 2^-149 in
        float32. Infinity and numbers that overflow have the unit of the largest finite number.
    """
    exact = np.asarray(exact)
    limits = _finfo(dtype)
    emin, emax = int(limits.minexp), int(limits.maxexp) - 1

    def of_mpmath_number(r: Any) -> Any:
        exponent = min(emax, max(emin, r.context.mag(r) - 1))  # floor(log2|r|); in this order NaN gives emin
        return r.context.ldexp(1, exponent - int(limits.nmant))

    if exact.dtype == object:
        return np.asarray(np.frompyfunc(of_mpmath_number, 1, 1)(exact), dtype=object)
    magnitude = np.clip(abs(exact), 2.0**emin, 2.0**emax)
    if magnitude.dtype == np.float64:  # the exponent's bits alone: the power of two below
        power = (np.ascontiguousarray(magnitude).view(np.int64) & np.int64(0x7FF << 52)).view(np.float64)
        return np.asarray(power * 2.0**-limits.nmant).reshape(exact.shape)
    mantissa, _ = np.frexp(magnitude)  # in [1/2, 1)
    return np.asarray(magnitude / (2 * mantissa) * 2.0**-limits.nmant)


def ulp_error(
    computed: npt.ArrayLike, exact: npt.ArrayLike, absolute: npt.ArrayLike = False
) -> npt.NDArray[np.float64]:
    """Compute the error of ``computed`` in ulp of its own type: |computed - exact| / ulp(exact).

    Parameters
    ----------
    computed : array_like
        Results of the library, of any supported dtype.
    exact : array_like
        The exact results in a wider type: float64, longdouble, or object for mpmath numbers.
    absolute : array_like of bool, optional
        Entries whose error is counted in ulp of 1/4 instead of ulp of `exact`.

    Returns
    -------
    ndarray of float64
        Below 0.5 the result is correctly rounded. The error is 0 for NaN if `exact` is NaN, and for an infinity if
        `exact` is the same infinity or rounds to it. If `exact` is a little too small to round to infinity, a computed
        infinity counts as the number after the largest finite one. Every other non-finite result has the error inf.
    """
    computed, exact = np.asarray(computed), np.asarray(exact)
    with np.errstate(all="ignore"):
        if exact.dtype == object:
            error = np.asarray(_error_of_mpmath_numbers(computed.dtype)(computed, exact, absolute), dtype=np.float64)
        else:
            error = _error_of_floats(computed, exact, absolute)
        if not np.isfinite(error.max(initial=0)):  # the maximum of an array with NaN is NaN
            special = ~np.isfinite(error)
            error[special] = _special_error(*(a[special] for a in np.broadcast_arrays(computed, exact)))
    return error


def _error_of_floats(computed: Any, exact: Any, absolute: Any) -> npt.NDArray[np.float64]:
    difference = np.asarray(computed - exact)
    if not difference.any():
        return np.zeros(difference.shape)
    np.abs(difference, out=difference)
    if exact.dtype == np.float64 and computed.dtype.itemsize < 8 and not np.any(absolute):
        # As in `ulp`, from the bits of the exponents: 1 / unit, which multiplies the difference.
        limits = _finfo(computed.dtype)
        bits = np.ascontiguousarray(exact).view(np.int64) & np.int64(0x7FF << 52)
        np.clip(bits, (1023 + int(limits.minexp)) << 52, (1022 + int(limits.maxexp)) << 52, out=bits)
        np.subtract(((2046 + int(limits.nmant)) << 52) - 2**64, bits, out=bits)  # integers wrap modulo 2^64
        return np.asarray(np.multiply(difference, bits.view(np.float64).reshape(exact.shape), out=difference))
    unit = ulp(exact, computed.dtype)
    if np.any(absolute):
        unit = np.where(absolute, 0.25 * float(_finfo(computed.dtype).eps), unit)
    return np.asarray(difference / unit, dtype=np.float64)


def _error_of_mpmath_numbers(dtype: Any) -> Any:
    """Return a ufunc for the error of mpmath numbers. It takes one pass: their exponents are Python integers."""
    limits = _finfo(dtype)
    emin, emax, digits = int(limits.minexp), int(limits.maxexp) - 1, int(limits.nmant)

    def error(computed: Any, exact: Any, absolute: Any) -> float:
        context = exact.context
        exponent = -2 if absolute else min(emax, max(emin, context.mag(exact) - 1))
        return float(context.ldexp(abs(float(computed) - exact), digits - exponent))

    return np.frompyfunc(error, 3, 1)


def _special_error(computed: npt.NDArray[Any], exact: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    limits = _finfo(computed.dtype)
    equal = (computed == exact) | (np.isnan(computed) & np.isnan(exact.astype(np.float64)))
    magnitude = abs(exact)
    largest = float(limits.max)
    excess = ((magnitude - largest) / ulp(largest, computed.dtype)).astype(np.float64)
    overflow = np.isinf(computed) & ((computed > 0) == (exact > 0)) & (magnitude >= 2.0 ** (limits.maxexp - 1))
    return np.where(equal, 0, np.where(overflow & ~np.isnan(excess), np.where(excess < 0.5, 1 - excess, 0), np.inf))


def structured_points(count: int, seed: int = 0) -> npt.NDArray[np.float64]:
    """Return `count` float64 inputs at which an activation may be inaccurate, in random order.

    Four kinds, a quarter each:

    * numbers of every binade, the subnormal one included, with significands at its ends and inside;
    * multiples of ln 2 / 4, to within 4 ulp: they include the boundaries between two argument reductions of e^x, e^2x;
    * multiples of 1/8, to within 4 ulp: the boundaries between two formulas;
    * random numbers of ordinary size.

    Zeros, infinities, NaN and the extreme finite numbers are always included.

    The points are the same on every machine: they are made from integers by exact operations and single operations of
    IEEE 754, never by a function such as a power, whose last bits depend on the processor.
    """
    random = np.random.default_rng(seed)
    limits = np.finfo(np.float64)
    ends = np.array([0, limits.smallest_subnormal, limits.tiny, limits.max, np.inf])
    special = np.concatenate([ends, -ends, [np.nan]])
    quarter = -(-max(count - len(special), 0) // 4)

    significands = random.choice([0, 1, 2**52 - 1, -1], quarter)
    significands = np.where(significands < 0, random.integers(2**52, size=quarter), significands)
    binades = ((np.arange(quarter) % 2047 << 52) + significands).view(np.float64)

    reductions = random.integers(1, 4300, quarter) * (float.fromhex("0x1.62e42fefa39efp-1") / 4)
    meetings = random.integers(1, 8 * 750, quarter) / 8
    near = np.concatenate([reductions, meetings])
    near = (near.view(np.int64) + random.integers(-4, 5, near.size)).view(np.float64)

    kinds = (
        np.ldexp(random.integers(40 << 46, size=quarter), -46),
        np.ldexp(random.integers(750 << 43, size=quarter), -43),
        np.ldexp(random.integers(2**52, 2**53, quarter), random.integers(-112, -47, quarter)),
    )
    ordinary = np.choose(random.integers(len(kinds), size=quarter), kinds)

    points = np.concatenate([binades, near, ordinary]) * random.choice([-1.0, 1.0], 4 * quarter)
    return random.permutation(np.concatenate([special, random.permutation(points)[: max(count - len(special), 0)]]))
