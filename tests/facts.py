"""What the tests know of each activation: one row of facts each, none of them computed by fastact."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import mpmath
import numpy as np

INF, NAN = math.inf, math.nan
LN2, ROOT_OF_LN2, SELU_SCALE = math.log(2), math.sqrt(math.log(2)), 1.0507009873554805


@dataclass(frozen=True, kw_only=True)
class Facts:
    """Facts of one elementwise activation whose parameters have their defaults.

    Attributes
    ----------
    definition : callable
        The value of one mpmath number, as a textbook writes it: not the stable form of fastact/reference.py.
    values, slopes : tuple of float
        Value and derivative at -inf, -0.0, 0 and inf. Both are NaN at NaN.
    range : tuple of float
        Infimum and supremum of the values; a little wider where they are not numbers of float64.
    domain : tuple of float
        The interval outside of which the value is NaN.
    kinks : mapping
        Points at which the derivative jumps, with the derivative there: that of the piece to the right.
    odd : bool
        f(-x) is -f(x).
    monotone : bool
        No value is smaller than that of a smaller x.
    zero_is_special : bool
        The value and the derivative at 0 are exact but for one rounding.
    parameters : tuple of tuple
        Parameters beside the defaults with which the reference is checked too, the defaults as an empty tuple.
    float64_ulp, longdouble_ulp : float
        The error that the reference may have in float64, in ulp, and its error in longdouble once that is rounded to
        float64. A rounded argument of an exponential costs more than the defaults.
    named_elsewhere : bool
        Some library that fastact/names.py knows has the activation.
    """

    definition: Callable[..., object]
    values: tuple[float, float, float, float]
    slopes: tuple[float, float, float, float]
    range: tuple[float, float]
    domain: tuple[float, float] = (-INF, INF)
    kinks: Mapping[float, float] = field(default_factory=dict)
    odd: bool = False
    monotone: bool = True
    zero_is_special: bool = True
    parameters: tuple[tuple[float, ...], ...] = ((),)
    float64_ulp: float = 4
    longdouble_ulp: float = 0.51
    named_elsewhere: bool = True


@dataclass(frozen=True, kw_only=True)
class GatedFacts:
    """Facts of one gated activation.

    Attributes
    ----------
    definition : callable
        The value of two mpmath numbers, the gate and the other input, as a textbook writes it.
    examples : tuple of tuple
        Arguments, keywords and value, from another library or a paper.
    parameters : tuple of tuple
        Parameters with which the reference is checked, the defaults as an empty tuple.
    named_elsewhere : bool
        Some library that fastact/names.py knows has the activation.
    """

    definition: Callable[..., object]
    examples: tuple[tuple[tuple[list[float], ...], Mapping[str, object], list[float]], ...]
    parameters: tuple[tuple[float, ...], ...] = ((),)
    named_elsewhere: bool = True


@dataclass(frozen=True, kw_only=True)
class RowFacts:
    """Facts of one activation of rows.

    Attributes
    ----------
    backward : callable
        The gradient from dy, the output y and a function that adds along the axis and keeps it.
    terms : callable
        What the terms of the exact gradient add up to in absolute value: no error can be smaller than eps times this.
    alone : float
        The value of the only entry of a row.
    masked : float
        The value of an entry that `where` leaves out.
    sign : float
        -1 where the function is another one of the negated logits.
    of_largest : bool
        Errors are counted in ulp of the largest entry of the row.
    named_elsewhere : bool
        Some library that fastact/names.py knows has the activation.
    """

    backward: Callable[..., np.ndarray]
    terms: Callable[..., np.ndarray]
    alone: float
    masked: float
    sign: float = 1.0
    of_largest: bool = False
    named_elsewhere: bool = True


@dataclass(frozen=True, kw_only=True)
class LossFacts:
    """What one loss is, and how far it may be off if its probabilities are right to 4 ulp and the rest is rounded.

    Both errors are functions of the probabilities, their logarithms and the targets, with rows along the last axis, of
    the relative error of a number, and of the smallest number.  In place of the logarithms, Fenchel-Young losses get
    the logits.

    Attributes
    ----------
    definition : callable
        What one class adds to the loss: of its probability, an mpmath number, and its target; of a Fenchel-Young
        loss, also of its logit.
    value_error : callable
        The error of the loss of each row: of all terms in absolute value.
    gradient_error : callable
        The error of each entry of the gradient.
    activation : str
        What makes the probabilities.
    alpha : float
        That of the entmax family, for Fenchel-Young losses; 1 for softmax.
    """

    definition: Callable[..., object]
    value_error: Callable[..., np.ndarray]
    gradient_error: Callable[..., np.ndarray]
    activation: str = "softmax"
    alpha: float = 1


@dataclass(frozen=True, kw_only=True)
class SigmoidLossFacts:
    """What one loss of sigmoid is.

    Attributes
    ----------
    definition : callable
        The loss of a logit and a target, mpmath numbers, as a textbook writes it.
    ulp : float
        The error that the loss and the gradient may have for targets of 0 and 1.
    parameters : tuple of dict
        Parameters with which it is checked, the defaults as an empty dict.
    """

    definition: Callable[..., object]
    ulp: float
    parameters: tuple[Mapping[str, float], ...] = ({},)


def sum_of_row(terms):
    return terms.sum(axis=-1, keepdims=True)


class Rows(dict):
    """Rows of facts by name; the error for a name without one says what to write."""

    def __missing__(self, name):
        kind = type(next(iter(self.values()))).__name__
        raise LookupError(f"{name} has no row in tests/facts.py: write {name}: {kind}(...) beside the others there")


ROW_TO_WRITE = """\
    "{name}": Facts(
        definition=lambda x: ...,                       # of one mpmath number, as a textbook writes it
        values=(..., ..., ..., ...), slopes=(..., ..., ..., ...),       # at -inf, -0.0, 0, inf
        range=(..., ...)),                              # smallest and largest value
    and, where they apply, kinks={{x: slope}}, odd=True, monotone=False and what else the class Facts lists."""

FACTS = {
    "identity": Facts(
        definition=lambda x: x,
        values=(-INF, -0.0, 0, INF), slopes=(1, 1, 1, 1),
        range=(-INF, INF), odd=True),
    "relu": Facts(
        definition=lambda x: max(x, 0),
        values=(0, -0.0, 0, INF), slopes=(0, 1, 1, 1),
        range=(0, INF), kinks={0: 1}),
    "softplus": Facts(
        definition=lambda x, beta=1: mpmath.log(1 + mpmath.exp(beta * x)) / beta,
        values=(0, LN2, LN2, INF), slopes=(0, 0.5, 0.5, 1),
        range=(0, INF), parameters=((), (0.3,), (20.0,), (-1.5,))),
    "sigmoid": Facts(
        definition=lambda x: 1 / (1 + mpmath.exp(-x)),
        values=(0, 0.5, 0.5, 1), slopes=(0, 0.25, 0.25, 0),
        range=(0, 1)),
    "tanh": Facts(
        definition=lambda x: (mpmath.exp(x) - mpmath.exp(-x)) / (mpmath.exp(x) + mpmath.exp(-x)),
        values=(-1, -0.0, 0, 1), slopes=(0, 1, 1, 0),
        range=(-1, 1), odd=True),
    "relu6": Facts(
        definition=lambda x: min(max(x, 0), 6),
        values=(0, -0.0, 0, 6), slopes=(0, 1, 1, 0),
        range=(0, 6), kinks={0: 1, 6: 0}),
    "relu2": Facts(
        definition=lambda x: max(x, 0) ** 2,
        values=(0, 0, 0, INF), slopes=(0, -0.0, 0, INF),
        range=(0, INF)),
    "leaky_relu": Facts(
        definition=lambda x, slope=0.01: x if x >= 0 else slope * x,
        values=(-INF, -0.0, 0, INF), slopes=(0.01, 1, 1, 1),
        range=(-INF, INF), kinks={0: 1}),
    "prelu": Facts(
        definition=lambda x, slope=0.25: x if x >= 0 else slope * x,
        values=(-INF, -0.0, 0, INF), slopes=(0.25, 1, 1, 1),
        range=(-INF, INF), kinks={0: 1}),
    "threshold": Facts(
        definition=lambda x, threshold=1, value=0: x if x > threshold else mpmath.mpf(value),
        values=(0, 0, 0, INF), slopes=(0, 0, 0, 1),
        range=(0, INF), kinks={1: 1}),
    "hard_tanh": Facts(
        definition=lambda x, low=-1, high=1: min(max(x, low), high),
        values=(-1, -0.0, 0, 1), slopes=(0, 1, 1, 0),
        range=(-1, 1), kinks={-1: 1, 1: 0}),
    "hard_shrink": Facts(
        definition=lambda x, threshold=0.5: x if abs(x) > threshold else mpmath.mpf(0),
        values=(-INF, 0, 0, INF), slopes=(1, 0, 0, 1),
        range=(-INF, INF), kinks={-0.5: 0, 0.5: 1}),
    "soft_shrink": Facts(
        definition=lambda x, t=0.5: x - t if x > t else x + t if x < -t else mpmath.mpf(0),
        values=(-INF, 0, 0, INF), slopes=(1, 0, 0, 1),
        range=(-INF, INF), kinks={-0.5: 0, 0.5: 1}),
    "softsign": Facts(
        definition=lambda x: x / (1 + abs(x)),
        values=(-1, -0.0, 0, 1), slopes=(0, 1, 1, 0),
        range=(-1, 1), odd=True),
    "hard_sigmoid": Facts(
        definition=lambda x: min(max(x / 6 + mpmath.mpf(0.5), 0), 1),
        values=(0, 0.5, 0.5, 1), slopes=(0, 1 / 6, 1 / 6, 0),
        range=(0, 1), kinks={-3: 1 / 6, 3: 0}),
    "hard_swish": Facts(
        definition=lambda x: x * min(max(x + 3, 0), 6) / 6,
        values=(-0.0, -0.0, 0, INF), slopes=(0, 0.5, 0.5, 1),
        range=(-0.375, INF), kinks={-3: -0.5, 3: 1}, monotone=False),
    "elu": Facts(
        definition=lambda x, alpha=1: x if x >= 0 else alpha * (mpmath.exp(x) - 1),
        values=(-1, -0.0, 0, INF), slopes=(0, 1, 1, 1),
        range=(-1, INF), kinks={0: 1}),
    "selu": Facts(
        definition=lambda x: mpmath.mpf("1.0507009873554804935") * (
            x if x >= 0 else mpmath.mpf("1.6732632423543772848") * (mpmath.exp(x) - 1)),
        values=(-1.7580993408473768, -0.0, 0, INF), slopes=(0, SELU_SCALE, SELU_SCALE, SELU_SCALE),
        range=(-1.7580994, INF), kinks={0: SELU_SCALE}),
    "log_sigmoid": Facts(
        definition=lambda x: mpmath.log(1 / (1 + mpmath.exp(-x))),
        values=(-INF, -LN2, -LN2, -0.0), slopes=(1, 0.5, 0.5, 0),
        range=(-INF, 0)),
    "exp": Facts(
        definition=lambda x: mpmath.e**x,
        values=(0, 1, 1, INF), slopes=(0, 1, 1, INF),
        range=(0, INF)),
    "celu": Facts(
        definition=lambda x, alpha=1: x if x >= 0 else alpha * (mpmath.exp(x / alpha) - 1),
        values=(-1, -0.0, 0, INF), slopes=(0, 1, 1, 1),
        range=(-1, INF)),
    "silu": Facts(
        definition=lambda x, beta=1: x / (1 + mpmath.exp(-beta * x)),
        values=(-0.0, -0.0, 0, INF), slopes=(-0.0, 0.5, 0.5, 1),
        range=(-0.2784646, INF), monotone=False, float64_ulp=5 if np.__version__.startswith("1.") else 4),
    "gelu_quick": Facts(
        definition=lambda x: x / (1 + mpmath.exp(-mpmath.mpf("1.702") * x)),
        values=(-0.0, -0.0, 0, INF), slopes=(-0.0, 0.5, 0.5, 1),
        range=(-0.1636102, INF), monotone=False, float64_ulp=800, longdouble_ulp=0.8),
    "gelu": Facts(
        definition=lambda x: x * mpmath.ncdf(x),
        values=(-0.0, -0.0, 0, INF), slopes=(-0.0, 0.5, 0.5, 1),
        range=(-0.16997122, INF), monotone=False, float64_ulp=3000, longdouble_ulp=1.5),
    "gelu_tanh": Facts(
        definition=lambda x: x / 2 * (
            1 + mpmath.tanh(mpmath.sqrt(2 / mpmath.pi) * (x + mpmath.mpf("0.044715") * x**3))),
        values=(-0.0, -0.0, 0, INF), slopes=(-0.0, 0.5, 0.5, 1),
        range=(-0.17004077, INF), monotone=False, float64_ulp=3000, longdouble_ulp=2),
    "mish": Facts(
        definition=lambda x: x * mpmath.tanh(mpmath.log(1 + mpmath.exp(x))),
        values=(-0.0, -0.0, 0, INF), slopes=(-0.0, 0.6, 0.6, 1),
        range=(-0.3088435, INF), monotone=False, float64_ulp=6),
    "sparse_sigmoid": Facts(
        definition=lambda x: min(max(x + 1, 0), 2) / mpmath.mpf(2),
        values=(0, 0.5, 0.5, 1), slopes=(0, 0.5, 0.5, 0),
        range=(0, 1), kinks={-1: 0.5, 1: 0}),
    "sparse_plus": Facts(
        definition=lambda x: x if x >= 1 else (x + 1) ** 2 / 4 if x > -1 else mpmath.mpf(0),
        values=(0, 0.25, 0.25, INF), slopes=(0, 0.5, 0.5, 1),
        range=(0, INF)),
    "squareplus": Facts(
        definition=lambda x, b=4: (x + mpmath.sqrt(x**2 + b)) / 2,
        values=(0, 1, 1, INF), slopes=(0, 0.5, 0.5, 1),
        range=(0, INF), float64_ulp=5),
    "tanh_shrink": Facts(
        definition=lambda x: x - mpmath.tanh(x),
        values=(-INF, -0.0, 0, INF), slopes=(1, 0, 0, 1),
        range=(-INF, INF), odd=True, float64_ulp=6),
    "dish": Facts(
        definition=lambda x: x / 2 * (1 + x / mpmath.sqrt(1 + x**2)),
        values=(-0.0, -0.0, 0, INF), slopes=(-0.0, 0.5, 0.5, 1),
        range=(-0.15014165, INF), monotone=False, float64_ulp=12),
    "logit": Facts(
        definition=lambda x: mpmath.log(x / (1 - x)) if 0 <= x <= 1 else mpmath.nan,
        values=(NAN, -INF, -INF, NAN), slopes=(NAN, INF, INF, NAN),
        range=(-INF, INF), domain=(0, 1)),
    "erf": Facts(
        definition=mpmath.erf,
        values=(-1, -0.0, 0, 1), slopes=(0, 2 / math.sqrt(math.pi), 2 / math.sqrt(math.pi), 0),
        range=(-1, 1), odd=True, longdouble_ulp=0.8),
    "xielu": Facts(
        definition=lambda x, p=0.8, n=0.8, b=0.5, eps=-1e-6: (
            p * x**2 + b * x if x > 0 else n * (mpmath.expm1(min(x, eps)) - x) + b * x),
        values=(INF, -7.999996000001333e-07, -7.999996000001333e-07, INF), slopes=(0.5 - 0.8, 0.5, 0.5, INF),
        range=(-0.2058, INF), kinks={-1e-6: 0.5 - 0.8, 0: 0.5}, monotone=False),
    "gelu_clipped": Facts(
        definition=lambda x, low=-10, high=10: min(max(x * mpmath.ncdf(x), low), high),
        values=(-0.0, -0.0, 0, 10), slopes=(-0.0, 0.5, 0.5, 0),
        range=(-0.16997122, 10), monotone=False, float64_ulp=3000, longdouble_ulp=1.5),
    "laplace": Facts(
        definition=lambda x, mu=0.707107, sigma=0.282095: mpmath.ncdf((x - mu) / sigma),
        values=(0, 0.0060944596179356, 0.0060944596179356, 1),
        slopes=(0, 0.06111382879472585, 0.06111382879472585, 0), zero_is_special=False,
        range=(0, 1), float64_ulp=3000, longdouble_ulp=2),
    "sqrt_softplus": Facts(
        definition=lambda x: mpmath.sqrt(mpmath.log(1 + mpmath.exp(x))),
        values=(0, ROOT_OF_LN2, ROOT_OF_LN2, INF), slopes=(0, 0.25 / ROOT_OF_LN2, 0.25 / ROOT_OF_LN2, 0),
        range=(0, INF)),
}

FACTS_OF_GATED = Rows({
    "glu": GatedFacts(
        definition=lambda g, u: u / (1 + mpmath.exp(-g)),
        examples=((([1.0, 2.0, -1.0, 0.5],), {}, [0.2689414213699951, 1.2449186624037092]),)),      # torch: F.glu
    "swiglu": GatedFacts(
        definition=lambda g, u, beta=1, limit=INF, offset=0: (
            (h := min(g, limit)) * (max(-limit, min(u, limit)) + offset) / (1 + mpmath.exp(-beta * h))),
        examples=(
            (([-2.0, -0.5, 0.0, 1.0, 3.0], [2.0] * 5), {},
             [-0.4768116881, -0.3775406688, 0, 1.4621171573, 5.7154447609]),
            (([-8.0, 0.0, 1.0, 8.0], [3.0, -9.0, 9.0, 0.5]), {"beta": 1.702, "limit": 7.0, "offset": 1.0},
             [-3.9065715463e-05, 0, 6.7663661275, 10.4999296925]),      # transformers: GptOssExperts
        ),
        parameters=((), (1.702, 7.0, 1.0), (0.5,), (1.0, 2.0))),
    "geglu": GatedFacts(
        definition=lambda g, u: g * mpmath.ncdf(g) * u,
        examples=((([-1.0, 0.5, 2.0], [3.0, -1.0, 0.25]), {},
                   [-0.47596576179437106, -0.34573123063700656, 0.4886249340259104]),)),
    "geglu_tanh": GatedFacts(
        definition=lambda g, u: u * g / 2 * (1 + mpmath.tanh(
            mpmath.sqrt(2 / mpmath.pi) * (g + mpmath.mpf("0.044715") * g**3))),
        examples=((([-1.0, 0.5, 2.0], [3.0, -1.0, 0.25]), {},
                   [-0.4764240281751697, -0.34571400982514394, 0.48864942352194374]),)),
    "reglu": GatedFacts(
        definition=lambda g, u: max(g, 0) * u,
        examples=((([-1.0, 0.5, 2.0], [3.0, -1.0, 0.25]), {}, [0, -0.5, 0.5]),)),
})

def beside_mean(dy, weights, total):
    """The gradient of an activation of the entmax family, without its factor: weights are y^(2 - alpha)."""
    return weights * (dy - total(dy * weights) / total(weights))


def beside_mean_terms(dy, weights, total):
    return weights * (abs(dy) + total(abs(dy) * weights) / total(weights))


FACTS_OF_ROWS = Rows({
    "softmax": RowFacts(
        backward=lambda dy, y, total: y * (dy - total(dy * y)),
        terms=lambda dy, y, total: y * (abs(dy) + total(abs(dy * y))),
        alone=1.0, masked=0.0),
    "softmin": RowFacts(
        backward=lambda dy, y, total: -y * (dy - total(dy * y)),
        terms=lambda dy, y, total: y * (abs(dy) + total(abs(dy * y))),
        alone=1.0, masked=0.0, sign=-1.0),
    "hardmax": RowFacts(
        backward=lambda dy, y, total: 0 * y,
        terms=lambda dy, y, total: 0 * y,
        alone=1.0, masked=0.0),
    "sparsemax": RowFacts(
        backward=lambda dy, y, total: beside_mean(dy, (y > 0).astype(float), total),
        terms=lambda dy, y, total: beside_mean_terms(dy, (y > 0).astype(float), total),
        alone=1.0, masked=0.0, of_largest=True, named_elsewhere=False),
    "entmax15": RowFacts(
        backward=lambda dy, y, total: beside_mean(dy, np.sqrt(y), total),
        terms=lambda dy, y, total: beside_mean_terms(dy, np.sqrt(y), total),
        alone=1.0, masked=0.0, of_largest=True, named_elsewhere=False),
    "entmax": RowFacts(
        backward=lambda dy, y, total: beside_mean(dy, np.sqrt(y), total),
        terms=lambda dy, y, total: beside_mean_terms(dy, np.sqrt(y), total),
        alone=1.0, masked=0.0, of_largest=True, named_elsewhere=False),
    "log_softmax": RowFacts(
        backward=lambda dy, y, total: dy - np.exp(y) * total(dy),
        terms=lambda dy, y, total: abs(dy) + np.exp(y) * total(abs(dy)),
        alone=0.0, masked=-INF),
})

def fenchel_young(activation, alpha):
    """(p - t) x + H(p) - H(t) with the entropy H of Tsallis."""

    def entropy(p):
        return (p - mpmath.mpf(p) ** alpha) / (alpha * (alpha - 1))

    return LossFacts(
        definition=lambda p, t, x: (p - t) * x + entropy(p) - entropy(t),
        value_error=lambda p, x, t, eps, least: (
            eps * (p + abs(t)) * (np.where(p + abs(t) > 0, abs(x), 0) + abs(x.max(axis=-1, keepdims=True)) + 2) + least
        ).sum(axis=-1),
        gradient_error=lambda p, x, t, eps, least: (
            eps * (p + abs(t) + p.max(axis=-1, keepdims=True)) + least),
        activation=activation, alpha=alpha)


FACTS_OF_LOSSES = Rows({
    "sparsemax_loss": fenchel_young("sparsemax", 2),
    "entmax15_loss": fenchel_young("entmax15", 1.5),
    "entmax_loss": fenchel_young("entmax", 1.5),
    "softmax_mse": LossFacts(
        definition=lambda p, t: (p - t) ** 2 / 2,
        value_error=lambda p, log_p, t, eps, least: (
            eps * (p + abs(t)) * (abs(p - t) + eps * (p + abs(t))) + least).sum(axis=-1),
        gradient_error=lambda p, log_p, t, eps, least: (
            (eps * p + 8 * least) * ((p + abs(t)) + sum_of_row((p + abs(t)) * p) + 1))),
    "softmax_cross_entropy": LossFacts(
        definition=lambda p, t: -t * mpmath.log(p),
        value_error=lambda p, log_p, t, eps, least: (
            eps * abs(t * np.where(t == 0, 0, log_p)) + 8 * least).sum(axis=-1),
        gradient_error=lambda p, log_p, t, eps, least: (
            (eps * p + 8 * least) * (sum_of_row(abs(t)) + 1) + eps * abs(t))),
})

FACTS_OF_SIGMOID_LOSSES = Rows({
    "sigmoid_cross_entropy": SigmoidLossFacts(
        definition=lambda x, y, q=1: (
            -q * y * mpmath.log(1 / (1 + mpmath.exp(-x))) - (1 - y) * mpmath.log(1 - 1 / (1 + mpmath.exp(-x)))),
        ulp=4, parameters=({}, {"pos_weight": 2.5})),
    "sigmoid_focal": SigmoidLossFacts(
        definition=lambda x, y, alpha=0.25, gamma=2: (
            -alpha * y * (1 - 1 / (1 + mpmath.exp(-x))) ** gamma * mpmath.log(1 / (1 + mpmath.exp(-x)))
            - (1 - alpha) * (1 - y) * (1 / (1 + mpmath.exp(-x))) ** gamma * mpmath.log(1 - 1 / (1 + mpmath.exp(-x)))),
        ulp=9, parameters=({}, {"alpha": 0.5, "gamma": 0.0}, {"alpha": 0.75, "gamma": 1.5})),
})
