"""The oracle itself: the definition of an ulp, and the two precisions of the reference against each other."""

import math

import mpmath
import numpy as np
import pytest
from common import POINTS, each, exact_at_points, in_turn
from facts import FACTS, FACTS_OF_LOSSES, Facts

import fastact
from fastact import reference
from fastact.comparison import ulp

every_name = each("name", [name for name in FACTS if name in reference.ELEMENTWISE])
every_mode = in_turn("mode", ["value", "derivative"])

FINITE = POINTS[np.isfinite(POINTS)]
with np.errstate(over="ignore"):
    FLOAT32_POINTS = POINTS.astype(np.float32)


@pytest.fixture(scope="module")
def exact():
    return reference.mpmath_namespace(50)


def as_float64(values):
    with np.errstate(invalid="ignore"):  # NumPy 1 finds mpmath's NaN invalid
        return values.astype(np.float64)


def rows(length):
    random = np.random.default_rng(length)
    wide = random.uniform(-100, 100, (20, length))
    confident = random.standard_normal((20, length))
    confident[:, 0] += np.linspace(1, 90, 20)
    return np.concatenate([wide, confident])


# ulp


@in_turn("dtype, emin, emax, precision", [(np.float32, -126, 127, 24), (np.float64, -1022, 1023, 53)])
def test_ulp_is_the_definition(dtype, emin, emax, precision, exact):
    """2^floor(log2|r|), kept within the exponents of the type, over the unit is 2^(p - 1)."""
    numbers = exact.asarray(FINITE)
    two = exact.asarray(2.0)
    for r in np.concatenate([numbers, numbers * (1 + two**-80), numbers * (1 - two**-80)]):
        power = reference.ulp(r, dtype).item() * 2 ** (precision - 1)
        if abs(r) < two**emin:
            assert power == two**emin
        elif abs(r) >= two ** (emax + 1):
            assert power == two**emax
        else:
            assert mpmath.frexp(power)[0] == 0.5
            assert power <= abs(r) < 2 * power


def test_ulp_of_float64_is_that_of_mpmath(exact):
    units = reference.ulp(FINITE, np.float32)
    assert units.dtype == np.float64
    assert (units == reference.ulp(exact.asarray(FINITE), np.float32)).all()


def test_ulp_is_the_spacing_of_the_type():
    x = FLOAT32_POINTS[np.isfinite(FLOAT32_POINTS)]
    assert (reference.ulp(x.astype(np.float64), np.float32) == np.spacing(abs(x))).all()
    x = abs(FINITE[abs(FINITE) < np.finfo(np.float64).max])
    assert (reference.ulp(x, np.float64) == np.spacing(x)).all()


@in_turn(
    "exact_value, unit",
    [
        (0.0, 2.0**-149),
        (-(2.0**-149), 2.0**-149),
        (2.0**-126, 2.0**-149),
        (2.0**-125, 2.0**-148),
        (math.nextafter(1, 0), 2.0**-24),
        (1.0, 2.0**-23),
        (-1.5, 2.0**-23),
        (2.0**128, 2.0**104),
        (math.inf, 2.0**104),
    ],
)
def test_ulp_of_float32(exact_value, unit, exact):
    assert reference.ulp(exact_value, np.float32) == unit
    assert reference.ulp(exact.asarray(exact_value), np.float32) == unit


LARGEST = float(np.finfo(np.float32).max)
STEP = 2.0**104


@in_turn(
    "computed, exact_value, error",
    [
        (1.0, 1.0, 0),
        (1.0, 1 + 2**-24, 0.5),
        (1.0, 1 - 2**-25, 0.5),
        (1.0, -1.0, 2**24),
        (0.0, 2**-150, 0.5),
        (2**-149, -(2**-149), 2),
        (0.0, 2**-126, 2**23),
        (-0.0, 0.0, 0),
        (1.0, 1e-300, 2.0**149),
        # Not a number, and infinities
        (math.nan, math.nan, 0),
        (math.nan, 1.0, math.inf),
        (1.0, math.nan, math.inf),
        (math.inf, math.inf, 0),
        (-math.inf, math.inf, math.inf),
        (math.inf, math.nan, math.inf),
        (math.nan, math.inf, math.inf),
        (LARGEST, math.inf, math.inf),
        (math.inf, 1.0, math.inf),
        # Overflow: an infinity stands for the number after the largest
        (math.inf, LARGEST + STEP / 2, 0),
        (math.inf, LARGEST + 100 * STEP, 0),
        (-math.inf, LARGEST + 100 * STEP, math.inf),
        (math.inf, LARGEST + STEP / 4, 0.75),
        (math.inf, LARGEST, 1),
        (-math.inf, -LARGEST + 2 * STEP, 3),
        (math.inf, 2.0**127, 2**23),
        (math.inf, math.nextafter(2.0**127, 0), math.inf),
        (LARGEST, LARGEST + STEP / 4, 0.25),
        (LARGEST, LARGEST + STEP, 1),
    ],
)
def test_ulp_error(computed, exact_value, error, exact):
    computed = np.float32(computed)
    assert reference.ulp_error(computed, exact_value) == error
    assert reference.ulp_error(computed, np.longdouble(exact_value)) == error
    assert reference.ulp_error(computed, exact.asarray(exact_value)) == error
    assert reference.ulp_error(np.full((2, 3), computed), np.full((2, 3), exact_value)).tolist() == [[error] * 3] * 2


def test_ulp_error_resolves_a_fraction_of_an_ulp_of_float64(exact):
    third = exact.asarray(1) / 3
    error = reference.ulp_error(np.float64(1 / 3), third)
    assert error == pytest.approx(1 / 3, rel=1e-15)  # 1/3 = 0.0101...01|01..., rounded down by a third of a unit
    smallest = np.float64(5e-324)
    assert reference.ulp_error(smallest, exact.asarray(smallest) * 1.25) == 0.25


def test_correctly_rounded_is_less_than_half_an_ulp():
    """True of the nearest float32, unless two are equally near, and of no other."""
    x = FINITE[abs(FINITE) < LARGEST]
    nearest = x.astype(np.float32)
    error = reference.ulp_error(nearest, x)
    for towards in (-np.inf, np.inf):
        neighbour = np.nextafter(nearest, np.float32(towards))
        equally_near = abs(neighbour.astype(np.float64) - x) == abs(nearest - x)
        assert error[~equally_near].max() < 0.5
        assert reference.ulp_error(neighbour, x).min() >= 0.5


# Elementwise


def crosses_zero(name, mode, x):
    """Where an error is measured in ulp of 1/4."""
    f = fastact.get(name)
    low, high = (f.value_zero if mode == "value" else f.derivative_zero) or (0, 0)
    return (low < x) & (x < high)


@every_mode
@every_name
def test_float64_is_exact_to_a_few_ulp(name, mode, exact):
    x = FLOAT32_POINTS.astype(np.float64)
    for parameters in FACTS[name].parameters:
        computed = reference.evaluate(name, mode, x, *parameters)
        assert computed.dtype == np.float64
        if parameters:
            # A product with x that is rounded before e^(beta x) costs up to 745 ulp / 2 more, far in the tail.
            allowed, right = 400, reference.evaluate(name, mode, x, *parameters, m=exact)
            errors = reference.ulp_error(computed, right, crosses_zero(name, mode, x))
        else:
            allowed, errors = FACTS[name].float64_ulp, ulp.errors_of_float64(name, mode, x, computed)
        assert errors.max() <= allowed, parameters


def test_the_functions_with_rounded_arguments_are_named_in_one_place():
    rounded = {name for name, facts in FACTS.items() if facts.longdouble_ulp > Facts.longdouble_ulp}
    assert rounded == ulp.ROUNDED_ARGUMENTS, (
        "tests/facts.py gives longdouble_ulp to others than ROUNDED_ARGUMENTS in fastact/comparison/ulp.py names")


@pytest.mark.skipif(np.finfo(np.longdouble).nmant < 63, reason="longdouble is float64 here")
@every_mode
@every_name
def test_longdouble_rounds_to_the_nearest_float64(name, mode):
    computed = reference.evaluate(name, mode, POINTS.astype(np.longdouble))
    assert computed.dtype == np.longdouble
    with np.errstate(over="ignore"):
        rounded = computed.astype(np.float64)
    errors = reference.ulp_error(rounded, exact_at_points(name, mode), crosses_zero(name, mode, POINTS))
    assert errors.max() <= FACTS[name].longdouble_ulp


def inside(name, x):
    low, high = FACTS[name].domain
    return x[(low < x) & (x < high)]


@every_name
def test_formulas_are_the_definitions(name, exact):
    """The stable forms against the textbook's, and the derivative against a difference quotient, at 1500 bits."""
    x = inside(name, POINTS[(abs(POINTS) < 30) & (abs(POINTS) > 1e-9)][:150])
    definition = FACTS[name].definition
    for parameters in FACTS[name].parameters:
        values, derivatives = (reference.evaluate(name, mode, x, *parameters, m=exact)
                               for mode in ("value", "derivative"))
        with mpmath.workprec(1500):
            step = mpmath.mpf(2) ** -500  # forwards: at a kink the derivative is the right-hand one
            near = mpmath.mpf(10) ** -45
            for at, value, derivative in zip(map(float, x), values, derivatives, strict=True):
                right = definition(mpmath.mpf(at), *parameters)
                slope = (definition(mpmath.mpf(at) + step, *parameters) - right) / step
                assert mpmath.almosteq(mpmath.mpf(value), right, rel_eps=near), (parameters, at)
                assert mpmath.almosteq(mpmath.mpf(derivative), slope, rel_eps=near), (parameters, at)


@in_turn("digits", [None, 20, 50])
@every_mode
@every_name
def test_limits(name, mode, digits):
    m = np if digits is None else reference.mpmath_namespace(digits)
    values = as_float64(reference.evaluate(name, mode, [-np.inf, 0.0, np.inf, np.nan], m=m))
    facts = FACTS[name]
    low, _, middle, high = facts.values if mode == "value" else facts.slopes
    ulps = 1 if facts.zero_is_special else 8  # of laplace, to which the rounding of its argument t counts t^2 times
    np.testing.assert_allclose(values, [low, middle, high, np.nan], rtol=ulps * np.finfo(float).eps, atol=0)


@every_mode
@every_name
def test_digits_are_the_precision(name, mode):
    x = inside(name, POINTS[(abs(POINTS) < 700) & (POINTS != 0)][:200])
    coarse = reference.evaluate(name, mode, x, m=reference.mpmath_namespace(40))
    fine = reference.evaluate(name, mode, x, m=reference.mpmath_namespace(100))
    for a, b in zip(coarse, fine, strict=True):
        with mpmath.workdps(100):
            assert mpmath.almosteq(mpmath.mpf(a), mpmath.mpf(b), rel_eps=mpmath.mpf(10) ** -38)


# Rows


@in_turn("length", [1, 2, 3, 10, 300])
@each("name", reference.ROWWISE)
def test_rows_in_float64_are_exact_to_the_rounding_of_the_shift(name, length, exact):
    logits = rows(length)
    computed = reference.evaluate(name, "value", logits)
    errors = reference.ulp_error(computed, reference.evaluate(name, "value", logits, m=exact))
    # x - max, at most 200, is rounded by half of its ulp, 2^-46: that is up to 128 ulp of e^(x - max).
    assert errors.max() <= (8 if name == "logsumexp" else 140)


def test_rows_are_the_definitions(exact):
    for z in rows(5):
        with mpmath.workdps(300):
            powers = [mpmath.exp(float(a)) for a in z]
            logarithm = mpmath.log(sum(powers))
            definitions = {
                "softmax": [a / sum(powers) for a in powers],
                "log_softmax": [mpmath.log(a) - logarithm for a in powers],
                "logsumexp": [logarithm],
            }
            for name, textbook in definitions.items():
                ours = np.atleast_1d(reference.evaluate(name, "value", z, m=exact))
                for a, b in zip(ours, textbook, strict=True):
                    assert mpmath.almosteq(mpmath.mpf(a), b, rel_eps=mpmath.mpf(10) ** -45)


@each("name", reference.ROWWISE)
def test_row_backward_is_the_derivative_of_the_value(name, exact):
    """The vector-Jacobian product against difference quotients in 50 digits."""
    random = np.random.default_rng(0)
    logits = exact.asarray(random.uniform(-5, 5, 6))
    value = np.atleast_1d(reference.evaluate(name, "value", logits, m=exact))
    dy = exact.asarray(random.standard_normal(value.size))
    step = exact.asarray(10.0) ** -16
    quotients = []
    for direction in np.eye(6, dtype=int):
        ahead, behind = (reference.evaluate(name, "value", logits + s * direction * step, m=exact) for s in (1, -1))
        quotients.append((np.atleast_1d((ahead - behind) / (2 * step)) * dy).sum())
    if name == "logsumexp":
        backward = reference.evaluate(name, "backward", dy[0], logits, m=exact)
    else:
        backward = reference.evaluate(name, "backward", dy, value, m=exact)
    assert max(abs(backward - np.array(quotients))) < 1e-28


def targets_of(name):
    return 2.0 if name.endswith("_labels") else np.random.default_rng(1).uniform(0, 1, 6)


def probabilities_by_definition(logits, alpha):
    """Of softmax, or of the entmax family by bisection, with the precision of mpmath's context."""
    if alpha == 1:
        powers = [mpmath.exp(z) for z in logits.tolist()]
        return [power / mpmath.fsum(powers) for power in powers]
    z = [(alpha - 1) * mpmath.mpf(a) for a in logits.tolist()]
    low, high = max(z) - 1, max(z)
    for _ in range(400):
        threshold = (low + high) / 2
        p = [max(a - threshold, 0) ** (mpmath.mpf(1) / (alpha - 1)) for a in z]
        low, high = (threshold, high) if mpmath.fsum(p) > 1 else (low, threshold)
    return p


@in_turn("name, alpha", [
    ("sparsemax", 2), ("entmax15", 1.5), *(("entmax", alpha) for alpha in (1, 1.25, 1.5, 1.9, 2, 3))])
def test_the_entmax_family_is_its_definition(name, alpha, exact):
    random = np.random.default_rng(0)
    for row in (*random.uniform(-2, 2, (3, 6)), random.standard_normal(40) / 10, [0.0, 0.0], [1.0, 2.0, 3.0]):
        logits = np.asarray(row)
        with mpmath.workdps(100):
            textbook = probabilities_by_definition(logits, alpha)
            parameters = [float(alpha)] if name == "entmax" else []
            m = exact if alpha <= 2 else reference.mpmath_namespace(110)
            ours = reference.evaluate(name, "value", logits, *parameters, m=m)
            assert max(abs(mpmath.mpf(a) - b) for a, b in zip(ours, textbook, strict=True)) < 1e-45
        computed = reference.evaluate(name, "value", logits, *parameters)
        np.testing.assert_allclose(computed, as_float64(ours), rtol=0, atol=1e-15 if alpha <= 2 else 1e-12)


@each("name", reference.LOSSES)
def test_losses_are_the_definitions(name, exact):
    logits = np.random.default_rng(0).uniform(-5, 5, 6)
    ours = reference.evaluate(name, "value", logits, targets_of(name), m=exact)
    facts = FACTS_OF_LOSSES[name.removesuffix("_labels")]
    with mpmath.workdps(100):
        p = probabilities_by_definition(logits, facts.alpha)
        t = [float(k == 2) for k in range(6)] if name.endswith("_labels") else targets_of(name).tolist()
        others = [] if facts.alpha == 1 else [logits.tolist()]
        textbook = mpmath.fsum(map(facts.definition, p, t, *others))
        assert mpmath.almosteq(mpmath.mpf(np.asarray(ours).item()), textbook, rel_eps=mpmath.mpf(10) ** -45)


@each("name", reference.LOSSES)
def test_gradient_of_a_loss_is_its_derivative(name, exact):
    """Against difference quotients in 50 digits."""
    logits, step = exact.asarray(np.random.default_rng(0).uniform(-5, 5, 6)), exact.asarray(10.0) ** -16
    gradient = reference.evaluate(name, "gradient", logits, targets_of(name), m=exact)
    for k, direction in enumerate(np.eye(6, dtype=int)):
        ahead, behind = (reference.evaluate(name, "value", logits + s * direction * step, targets_of(name), m=exact)
                         for s in (1, -1))
        assert abs(gradient[k] - (ahead - behind) / (2 * step)) < 1e-28, k


def test_log_softmax_of_a_confident_row_keeps_the_rest(exact):
    logits = [40.0, 0.0, 0.0]
    assert reference.evaluate("log_softmax", "value", logits)[0] == pytest.approx(-2 * math.exp(-40), rel=1e-15)


@in_turn("digits", [None, 50])
def test_rows_that_are_not_finite(digits):
    m = np if digits is None else reference.mpmath_namespace(digits)
    inf, nan = math.inf, math.nan
    logits = np.array([[nan, 1, 2], [1, nan, inf], [inf, 0, 0], [inf, -inf, 0], [-inf, -inf, -inf], [-inf, 0, 0]])
    expected = np.array([[nan] * 3] * 5 + [[0, 0.5, 0.5]])

    def values(name):
        return as_float64(reference.evaluate(name, "value", logits, m=m))

    np.testing.assert_array_equal(values("softmax"), expected)
    with np.errstate(divide="ignore"):
        np.testing.assert_allclose(values("log_softmax"), np.log(expected), rtol=1e-15)
    np.testing.assert_allclose(values("logsumexp"), [nan, nan, inf, inf, -inf, math.log(2)], rtol=1e-15)


# Points


def test_structured_points_cover_what_they_promise():
    points = reference.structured_points(200_000)
    assert points.size == 200_000
    assert np.array_equal(points, reference.structured_points(200_000), equal_nan=True)
    assert np.isnan(points).any()
    for always in (0, 5e-324, 2.0**-1022, np.finfo(np.float64).max, np.inf):
        assert always in points and -always in points
    for sign in (1, -1):
        finite = points[np.isfinite(points) & (points * sign > 0)]
        assert len(np.unique(np.frexp(finite)[1])) >= 2046
    for multiple in (math.log(2) / 2, math.log(2), 37 * math.log(2) / 2, 1.0, 20.0):
        near = abs(points - multiple) <= 4 * np.spacing(multiple)
        assert near.any()
