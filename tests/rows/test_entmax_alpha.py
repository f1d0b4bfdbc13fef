"""entmax and its loss for any alpha: against mpmath, and at the alpha that other functions have."""

import math
from functools import partial

import numpy as np
import pytest
from common import DTYPES, INF, NAN, WIDE, in_turn, normal, same_bits
from hypothesis import given, settings
from hypothesis import strategies as st
from instruction_sets import each_set
from logits import logits_of
from row_helpers import by_mpmath, every_dtype, raises
from test_entmax import ROWS

import fastact
from fastact import entmax, entmax_loss, reference
from fastact.comparison import ulp

SPECIAL = {1: fastact.softmax, 1.5: fastact.entmax15, 2: fastact.sparsemax}
LOSSES = {1: fastact.softmax_cross_entropy, 1.5: fastact.entmax15_loss, 2: fastact.sparsemax_loss}
BELOW_2 = [math.nextafter(1, 2), 1.001, 1.25, 1.75, 1.99]
ABOVE_2 = [2.01, 2.5, 5.0]
every_alpha = in_turn("alpha", BELOW_2 + ABOVE_2)
EXAMPLE = [1, 1.2, 0.9]


def precise(alpha, digits):
    """With digits for the threshold, which needs alpha - 1 times those of the probabilities."""
    return reference.mpmath_namespace(int(digits * max(1, alpha - 1)))


def exact_value(x, alpha, *factors, digits=28):
    m = precise(alpha, digits)
    return reference.evaluate("entmax", "value", x, alpha, *factors, m=m)


def value(x, alpha, *factors):
    return entmax(x, alpha=alpha, **dict(zip(("scale", "temperature"), factors, strict=False)))


# -------------------------------------------------------------------------------------------------------------- values


def test_worked_examples():
    np.testing.assert_allclose(entmax(EXAMPLE, alpha=1.25), [.315672238, .408709132, .27561863], rtol=0, atol=5e-10)
    for x, alpha, right in (
        ([0, -0.25], 3, [0.75, 0.25]),                  # the squares are 2 (x - t)
        ([0, 0.5, 0.5, 0.5], 1e30, [0, 1 / 3, 1 / 3, 1 / 3]),
        ([7], 1.3, [1]),
        ([4, 4, 4, 4], 7.5, [0.25, 0.25, 0.25, 0.25]),
    ):
        np.testing.assert_allclose(entmax(np.array(x, float), alpha=alpha), right, rtol=1e-15)


@in_turn("kind", ROWS)
@every_alpha
def test_float32_is_correct_to_rounding_with_an_exact_support(alpha, kind):
    lengths = (2, 3, 17)
    rows = [ROWS[kind](np.random.default_rng(length), (2, length)).astype(np.float32) for length in lengths]
    right = [exact_value(x, alpha) for x in rows]
    for isa, k, computed in each_set(value, *((x, alpha) for x in rows)):
        np.testing.assert_array_equal(computed > 0, (right[k] > 1e-20).astype(bool), f"{isa} {lengths[k]}")
        errors = abs(computed - right[k]) / np.spacing(np.maximum(right[k].astype(np.float32), np.float32(1e-9)))
        assert errors.max() <= 0.6, (isa, lengths[k])


@in_turn("kind", ROWS)
@every_alpha
def test_float64_within_3_ulp_of_the_largest(alpha, kind):
    lengths = (2, 3, 17)
    rows = [ROWS[kind](np.random.default_rng(length), (2, length)) for length in lengths]
    right = [exact_value(x, alpha) for x in rows]
    for isa, k, computed in each_set(value, *((x, alpha) for x in rows)):
        units = reference.ulp(right[k].max(axis=-1, keepdims=True), np.float64)
        assert (abs(computed - right[k]) / units).max() <= entmax.ulp["value"], (isa, lengths[k])


@in_turn("scale, temperature", [(3.0, 1.0), (0.125, 0.7), (1.0, 3.0), (1.0, 1e-5), (1e-30, 1.0), (1e30, 1.0)])
@in_turn("alpha", [1.25, 1.9, 2.5])
def test_factors_within_3_ulp_of_the_largest(alpha, scale, temperature):
    for dtype in WIDE:
        x = logits_of("normal", dtype, 17, rows=2)
        right = exact_value(x, alpha, scale, temperature)
        units = reference.ulp(right.max(axis=-1, keepdims=True), dtype)
        assert (abs(value(x, alpha, scale, temperature) - right) / units).max() <= entmax.ulp["value"], dtype


@in_turn("kind", ["uniform", "confident", "above_equals", "every_binade", "offset_1e4", "offset_1e30", "largest",
                  "holes"])
@in_turn("alpha", [1.001, 1.3, 1.9, 2.2, 4.0])
@every_dtype
def test_hard_rows_within_3_ulp_of_the_largest(dtype, alpha, kind):
    for length in (2, 17):
        x = logits_of(kind, dtype, length, rows=1)
        right = exact_value(x, alpha)
        units = reference.ulp(right.max(axis=-1, keepdims=True), dtype)
        assert (abs(entmax(x, alpha=alpha) - right) / units).max() <= entmax.ulp["value"], length


@pytest.mark.skipif(np.finfo(np.longdouble).nmant < 63, reason="longdouble is float64 here")
@in_turn("kind", ["normal", "one above"])
@in_turn("alpha", [1.001, 1.1, 1.25, 1.75])
def test_float64_of_any_length_within_the_bound_of_the_page(alpha, kind):
    """Of docs/numerics.md, in ulp of the largest entry.  The worst have one logit as probable as all others."""
    for length in (3, 10, 128, 1000):
        x = normal((4000 // length, length), spread=1.0 if kind == "normal" else 1e-2)
        if kind == "one above":
            x[:, 0] = -math.expm1((1 - alpha) * math.log(length)) / (alpha - 1) * np.linspace(0.7, 1.3, len(x))
        error = ulp.errors_of_float64("entmax", "value", x, entmax(x, alpha=alpha), {"alpha": alpha})
        assert error.max() <= (4 if length <= 10 else 6), length


def test_a_logit_at_the_threshold_is_outside():
    """Where that is a number of the format: at a distance 1 / (alpha - 1) from a single largest one, and for alpha = 3
    at 9/32 from two of which one is 1/4 below the other.
    """
    for dtype in WIDE:
        for row, alpha in (([0, -4], 1.25), ([0, -2], 1.5), ([0, -1], 2), ([0, -0.5], 3), ([3, 2.75], 5),
                           ([0, -0.25, -0.28125], 3)):
            x = np.array(row, dtype)
            outside = x == x.min()
            p = entmax(x, alpha=alpha)
            assert (p[outside] == 0).all(), (row, alpha)
            x[outside] = np.nextafter(x[outside], dtype(INF))
            p, right = entmax(x, alpha=alpha), exact_value(x[np.newaxis], alpha)[0]
            assert abs(p - right).max() <= entmax.ulp["value"] * np.finfo(dtype).eps, (row, alpha)
            assert (p[outside] > 0).all() or alpha < 1.5 or right[outside].max() < 2.0**-53, (row, alpha)


@in_turn("distance", [2.0**-126, 1e-30, 1e-20, 1e-10])
@in_turn("alpha", [2.5, 1e6, 1e13, 9e14, 1e20, 1e30])
def test_almost_equal_logits_of_a_large_alpha_add_up_to_1(alpha, distance):
    for dtype in WIDE:
        p = entmax(np.array([0, distance], dtype), alpha=alpha)
        eps = float(np.finfo(dtype).eps)
        assert 0 <= p[0] <= p[1] * (1 + eps)
        assert p.sum() == pytest.approx(1, rel=0, abs=2 * eps)


@in_turn("length", [1000, 2047, 2049, 10_000, 60_000])
@in_turn("kind", ["normal", "dense", "ties"])
@in_turn("alpha", [1.1, 1.75, 2.5])
@every_dtype
def test_long_rows(dtype, alpha, kind, length):
    """They add up to 1, are in the order of the logits, and their powers are the logits less a threshold."""
    x = ROWS[kind](np.random.default_rng(length), (2, length)).astype(dtype)
    eps = float(np.finfo(dtype).eps)
    expected = entmax(x, alpha=alpha)
    for threads in (1, 2, 3):
        with fastact.threads(threads):
            assert same_bits(entmax(x, alpha=alpha), expected)
            assert same_bits(entmax(np.ascontiguousarray(x.T), 0, alpha=alpha), expected.T)
            assert same_bits(entmax(x[1], alpha=alpha), expected[1])
    for row, logits in zip(expected, x, strict=True):
        assert math.fsum(row.tolist()) == pytest.approx(1, rel=0, abs=4 * eps)
        assert (np.diff(row[np.argsort(logits, kind="stable")]) >= 0).all()
        support = row > 0
        z, roots = logits.astype(np.longdouble) * (alpha - 1), row.astype(np.longdouble) ** (alpha - 1)
        thresholds = z[support] - roots[support]
        # A power for alpha > 2 is less exact than the probability where that is small
        assert np.ptp(thresholds) <= 4 * eps * max(alpha - 1, 1) * roots.max()
        underflow = float(np.finfo(dtype).smallest_subnormal) ** (alpha - 1)
        assert z[~support].max(initial=-INF) <= thresholds.min() + eps + underflow


@in_turn("alpha", [1.25, 1.8, 3.0])
@every_dtype
def test_layouts_axes_and_outputs(dtype, alpha):
    x = normal((4, 5, 6), dtype)
    right = entmax(x, alpha=alpha)
    assert same_bits(np.moveaxis(entmax(np.moveaxis(x, -1, 0), 0, alpha=alpha), 0, -1), right)
    assert same_bits(entmax(x[::-1, ::-1], alpha=alpha), right[::-1, ::-1])
    assert same_bits(entmax(x, (1, 2), alpha=alpha), entmax(x.reshape(4, 30), alpha=alpha).reshape(x.shape))
    assert same_bits(entmax(x, None, alpha=alpha).ravel(), entmax(x.ravel(), alpha=alpha))
    out = np.empty_like(x)
    assert entmax(x, alpha=alpha, out=out) is out
    assert same_bits(out, right)
    wide = np.empty(x.shape)
    entmax(x, alpha=alpha, out=wide)
    np.testing.assert_array_equal(wide, right)
    in_place = x.copy()
    entmax(in_place, alpha=alpha, out=in_place)
    assert same_bits(in_place, right)
    assert same_bits(entmax(3.0, alpha=alpha), np.float64(1))
    assert entmax(np.empty((3, 0), dtype), alpha=alpha).shape == (3, 0)
    assert entmax(np.empty((0, 3), dtype), alpha=alpha).shape == (0, 3)


@in_turn("alpha", [1, 1.25, 1.5, 2, 3.0])
def test_16_bits_are_computed_in_float32(alpha):
    for dtype in DTYPES[2:]:
        x = normal((5, 40), dtype)
        wide = entmax(x.astype(np.float32), alpha=alpha)
        assert same_bits(entmax(x, alpha=alpha), wide.astype(dtype))
        assert same_bits(entmax(x, alpha=alpha, dtype=np.float32), wide)
        dy = normal((5, 40), dtype, seed=1)
        right = entmax.backward(dy.astype(np.float32), x.astype(np.float32), alpha=alpha)
        assert same_bits(entmax.backward(dy, x, alpha=alpha), right.astype(dtype))


@in_turn("alpha", [1.25, 1.8, 3.0])
@every_dtype
def test_masked_rows_are_the_rows_of_what_takes_part(dtype, alpha):
    x = normal((6, 40), dtype)
    mask = normal((6, 40), seed=1) > 0
    mask[2] = False
    p = entmax(x, alpha=alpha, where=mask)
    dy = normal((6, 40), dtype, seed=2)
    gradient = entmax.backward(dy, x, alpha=alpha, where=mask)
    assert same_bits(entmax.backward(dy, output=p, alpha=alpha, where=mask), gradient)
    for row, chosen in enumerate(mask):
        assert (p[row, ~chosen] == 0).all()
        assert (gradient[row, ~chosen] == 0).all()
        if chosen.any():
            assert same_bits(p[row, chosen], entmax(x[row, chosen], alpha=alpha))
            alone = entmax.backward(dy[row, chosen], x[row, chosen], alpha=alpha)
            np.testing.assert_allclose(gradient[row, chosen], alone, rtol=0, atol=64 * float(np.finfo(dtype).eps))
    assert same_bits(entmax(x, alpha=alpha, lengths=7)[:, :7], entmax(x[:, :7].copy(), alpha=alpha))
    assert same_bits(entmax(x, alpha=alpha, causal=True, offset=3)[2, :6], entmax(x[2, :6].copy(), alpha=alpha))


@in_turn("alpha", [math.nextafter(1, 2), 1.25, 1.8, 2.5, 1e9])
@every_dtype
def test_rows_that_are_not_finite(dtype, alpha):
    """NaN anywhere, +inf anywhere, or -inf alone: the row is NaN.  One -inf among others is 0."""
    for length in (3, 16, 40, 5000):
        for place in (0, length // 2, length - 1):
            for spoilt in (NAN, -NAN, INF):
                x = normal((2, length), dtype)
                x[1, place] = spoilt
                p = entmax(x, alpha=alpha)
                assert same_bits(p[0], entmax(x[0], alpha=alpha))
                assert np.isnan(p[1]).all()
                assert same_bits(np.isnan(entmax(x.T.copy(), 0, alpha=alpha)), np.isnan(p).T)
                assert np.isnan(entmax.backward(x, output=p, alpha=alpha)[1]).all()
            x = normal((2, length), dtype)
            x[0, place] = -INF
            assert entmax(x, alpha=alpha)[0, place] == 0
            assert not np.isnan(entmax(x, alpha=alpha)).any()
        assert np.isnan(entmax(np.full(length, -INF, dtype), alpha=alpha)).all()


@every_alpha
def test_no_floating_point_warning(alpha):
    for dtype in WIDE:
        for kind in ("uniform", "every_binade", "largest", "holes"):
            x = logits_of(kind, dtype, 300, rows=3)
            with np.errstate(all="raise"):
                y = entmax(x, alpha=alpha)
                entmax.backward(x, output=y, alpha=alpha)
                entmax.backward_parameter(x, output=y, alpha=alpha)
                entmax_loss(x, np.zeros(3, int), alpha=alpha)
                entmax_loss(x, abs(y), alpha=alpha)


@settings(deadline=None, max_examples=150)
@given(alpha=st.one_of(st.floats(1, 3), st.floats(1, 1e30)), scale=st.floats(1e-3, 1e3),
       row=st.lists(st.one_of(st.floats(-10, 10, width=32), st.floats(width=32)), min_size=1, max_size=60),
       dtype=st.sampled_from(WIDE), repeated=st.integers(1, 40))
def test_what_is_true_of_any_row(alpha, scale, row, dtype, repeated):
    """Any numbers: the result adds up to 1, is in the order of the logits, and the same for all arrays."""
    x = np.array(row * repeated, dtype)
    p = entmax(x, alpha=alpha, scale=scale)
    assert same_bits(entmax(np.stack([x, x]).T.copy(), 0, alpha=alpha, scale=scale)[:, 1], p)
    if np.isnan(x).any() or x.max() == INF or x.max() == -INF:
        assert np.isnan(p).all()
        return
    assert (p >= 0).all()
    assert math.fsum(p.tolist()) == pytest.approx(1, rel=0, abs=8 * float(np.finfo(dtype).eps))
    order = np.argsort(x, kind="stable")
    assert (np.diff(p[order]) >= 0).all()
    equal = x[order][1:] == x[order][:-1]
    assert (np.diff(p[order])[equal] == 0).all()
    gradient = entmax.backward(np.ones_like(x), output=p, alpha=alpha)
    assert np.isfinite(entmax(x, alpha=alpha)).all()
    assert not np.isnan(gradient).any()


# -------------------------------------------------------------------------------------------------------- special alpha


@in_turn("alpha", SPECIAL)
@in_turn("dtype", DTYPES)
def test_special_alpha_have_the_bits_of_other_functions(dtype, alpha):
    f, x, dy = SPECIAL[alpha], normal((5, 40), dtype), normal((5, 40), dtype, seed=1)
    mask = normal((5, 40), seed=2) > 0
    mask[1] = False
    for number in (alpha, float(alpha), np.float32(alpha), np.float64(alpha)):
        assert same_bits(entmax(x, alpha=number), f(x))
    for keywords in ({"scale": 3}, {"temperature": 0.7}, {"where": mask}, {"lengths": 7, "scale": 2}):
        assert same_bits(entmax(x, alpha=alpha, **keywords), f(x, **keywords))
        assert same_bits(entmax.backward(dy, x, alpha=alpha, **keywords), f.backward(dy, x, **keywords))
    assert same_bits(entmax(x, 0, alpha=alpha), f(x, 0))
    assert same_bits(entmax.backward(dy, output=f(x), alpha=alpha), f.backward(dy, output=f(x)))
    assert same_bits(entmax.jacobian(x, alpha=alpha), f.jacobian(x))
    assert same_bits(entmax.jacobian(x, alpha=alpha, where=mask), f.jacobian(x, where=mask))
    labels = np.arange(5)
    for given_targets in (labels, np.eye(40)[labels].astype(dtype)):
        if alpha == 1 and given_targets is not labels:
            continue
        for reduction in ("mean", "sum", "none"):
            ours = entmax_loss(x, given_targets, reduction=reduction, alpha=alpha)
            for a, b in zip(ours, LOSSES[alpha](x, given_targets, reduction=reduction), strict=True):
                assert same_bits(a, b)


def test_the_default_is_entmax15():
    x, dy = normal((5, 40)), normal((5, 40), seed=1)
    out = np.empty_like(x)
    assert same_bits(entmax(x), fastact.entmax15(x))
    assert entmax(x, out=out) is out
    assert same_bits(out, entmax(x))
    assert same_bits(entmax.backward(dy, x), fastact.entmax15.backward(dy, x))
    assert same_bits(entmax.backward(dy, output=entmax(x)), fastact.entmax15.backward(dy, x))
    assert same_bits(entmax.jacobian(x), fastact.entmax15.jacobian(x))
    assert same_bits(entmax_loss(x, np.arange(5))[1], fastact.entmax15_loss(x, np.arange(5))[1])


@in_turn("alpha", SPECIAL)
@every_dtype
def test_it_is_continuous_at_special_alpha(dtype, alpha):
    """The kernel of any alpha beside another one, not beside itself."""
    x, eps = normal((4, 300), dtype), float(np.finfo(dtype).eps)
    for near in (math.nextafter(alpha, 9), math.nextafter(alpha, 0) if alpha > 1 else math.nextafter(1, 2)):
        np.testing.assert_allclose(entmax(x, alpha=near), SPECIAL[alpha](x), rtol=0, atol=4 * eps)
        for targets in (np.arange(4), fastact.softmax(x)):
            loss, gradient = entmax_loss(x, targets, alpha=near, reduction="none")
            right, right_gradient = entmax_loss(x, targets, alpha=alpha, reduction="none")
            np.testing.assert_allclose(loss, right, rtol=64 * eps, atol=64 * eps)
            np.testing.assert_allclose(gradient, right_gradient, rtol=0, atol=8 * eps)


# ------------------------------------------------------------------------------------------------------------ gradients


@in_turn("alpha", [1.001, 1.25, 1.8, 2.5, 4.0])
@every_dtype
def test_backward_against_mpmath(dtype, alpha):
    eps = float(np.finfo(dtype).eps)
    for length in (1, 2, 3, 17, 257):
        x, dy = logits_of("normal", dtype, length, rows=2), normal((2, length), dtype, length)
        y = entmax(x, alpha=alpha)
        from_output = entmax.backward(dy, output=y, alpha=alpha)
        assert same_bits(entmax.backward(dy, x, alpha=alpha), from_output)
        right = by_mpmath("entmax", "backward", dy, y, alpha)
        weights = np.where(y > 0, np.where(y > 0, y, 1).astype(float) ** (2 - alpha), 0)
        total = weights.sum(axis=-1, keepdims=True)
        terms = weights * (abs(dy) + (abs(dy) * weights).sum(axis=-1, keepdims=True) / total)
        assert (abs(from_output - right) <= 4 * eps * terms + 1e-300).all(), length


@in_turn("alpha", [1.25, 1.8, 2.5])
def test_backward_and_jacobian_are_the_difference_quotient(alpha):
    x, step = np.array([0.3, 0.1, -0.2, 0.25, -5]), 1e-6
    jacobian = entmax.jacobian(x, alpha=alpha)
    for k, direction in enumerate(np.eye(5)):
        quotient = (entmax(x + step * direction, alpha=alpha) - entmax(x - step * direction, alpha=alpha)) / (2 * step)
        np.testing.assert_allclose(jacobian[:, k], quotient, rtol=0, atol=1e-8)
        np.testing.assert_allclose(entmax.backward(direction, x, alpha=alpha), jacobian[k], rtol=1e-13, atol=1e-15)
    doubled = entmax.jacobian(x, alpha=alpha, scale=2)
    np.testing.assert_allclose(doubled, 2 * entmax.jacobian(2 * x, alpha=alpha), rtol=1e-12, atol=1e-14)


@in_turn("alpha", [1, 1.25, 1.5, 1.8, 2, 2.5])
@every_dtype
def test_backward_is_0_outside_the_support(dtype, alpha):
    """Whatever dy holds there."""
    x = normal((5, 300), dtype, spread=200)
    y, dy = entmax(x, alpha=alpha), normal((5, 300), dtype, seed=1)
    assert (y == 0).any()
    expected = entmax.backward(dy, output=y, alpha=alpha)
    assert (expected[y == 0] == 0).all()
    if alpha > 1:
        for spoilt in (NAN, INF, -INF):
            assert same_bits(entmax.backward(np.where(y == 0, dtype(spoilt), dy), output=y, alpha=alpha), expected)


@in_turn("alpha", [math.nextafter(1, 2), 1.001, 1.25, 1.5, 2.0, 2.5])
@every_dtype
def test_gradient_in_alpha_against_mpmath(dtype, alpha):
    eps = float(np.finfo(dtype).eps)
    m = reference.mpmath_namespace(60)
    for length in (1, 2, 3, 17, 257):
        x, dy = logits_of("normal", dtype, length, rows=2), normal((2, length), dtype, length)
        y = entmax(x, alpha=alpha)
        # The sum of these is 1, which the formula needs where alpha is almost 1.
        unit = exact_value(x, alpha, digits=60 if alpha < 1.01 else 28) if length < 50 else y
        right = reference.evaluate("entmax", "derivative_in_alpha", dy, unit, alpha, m=m).sum()
        log = np.log(np.where(y > 0, y, 1).astype(float))
        weights = np.where(y > 0, np.exp((2 - alpha) * log), 0) / np.exp((2 - alpha) * log)[y > 0].min()
        size = (abs(dy) * (weights + y) * (1 + log**2)).sum() * (1 + (y * log**2).sum())
        tolerance = 8 * eps * size if length < 100 else 8 * eps * size / (alpha - 1) ** 2
        computed = entmax.backward_parameter(dy, output=y, alpha=alpha)
        assert computed.dtype == dtype
        assert abs(computed - right) <= tolerance, length
        assert same_bits(entmax.backward_parameter(dy, x, alpha=alpha, name="alpha"), computed)


@in_turn("alpha", [1, 1.5, 2, 1.3, 2.6])
def test_gradient_in_alpha_is_the_difference_quotient(alpha):
    x, dy = np.array([[0.3, 0.1, -0.2, 0.25, -5], [0, 0, 0, 0.6, -1]]), normal((2, 5), seed=1)
    step = 1e-5
    if alpha == 1:      # from above, of the second order
        values = [(entmax(x, alpha=1 + k * step) * dy).sum() for k in range(3)]
        quotient = (4 * values[1] - values[2] - 3 * values[0]) / (2 * step)
    else:
        quotient = ((entmax(x, alpha=alpha + step) - entmax(x, alpha=alpha - step)) * dy).sum() / (2 * step)
    assert entmax.backward_parameter(dy, x, alpha=alpha) == pytest.approx(quotient, abs=1e-8)
    doubled = entmax.backward_parameter(dy, x, alpha=alpha, scale=2)
    assert doubled == pytest.approx(entmax.backward_parameter(dy, 2 * x, alpha=alpha), rel=1e-12)


def test_gradient_in_alpha_of_any_layout():
    x, dy = normal((4, 5, 300)), normal((4, 5, 300), seed=1)
    right = entmax.backward_parameter(dy, x, alpha=1.3)
    assert right.shape == ()
    for threads in (1, 3):
        with fastact.threads(threads):
            columns = np.moveaxis(dy, 2, 0), np.moveaxis(x, 2, 0)
            assert same_bits(entmax.backward_parameter(*columns, 0, alpha=1.3), right)
            assert same_bits(entmax.backward_parameter(dy[::-1], x[::-1], alpha=1.3), right)
    wide = entmax.backward_parameter(dy.astype(np.float16), x.astype(np.float16), alpha=1.3)
    assert wide.dtype == np.float16
    assert float(wide) == pytest.approx(float(right), rel=0.05, abs=0.05)
    mask = normal(x.shape, seed=2) > 0
    y = entmax(x, alpha=1.3, where=mask)
    assert same_bits(entmax.backward_parameter(np.where(mask, dy, NAN), output=y, alpha=1.3),
                     entmax.backward_parameter(dy, output=y, alpha=1.3))
    assert entmax.backward_parameter(np.empty((3, 0)), np.empty((3, 0))) == 0
    assert math.isnan(entmax.backward_parameter([[1.0, 2.0]], [[NAN, 1.0]]))


# --------------------------------------------------------------------------------------------------------------- losses


def exact_loss(mode, x, targets, alpha, digits=None):
    key = "entmax_loss_labels" if np.ndim(targets) < np.ndim(x) else "entmax_loss"
    return reference.evaluate(key, mode, x, targets, alpha, m=precise(alpha, digits or (60 if alpha < 1.1 else 28)))


@in_turn("alpha", [math.nextafter(1, 2), 1.25, 1.8, 2.5])
@in_turn("kind", ["normal", "ties"])
@every_dtype
def test_losses_against_mpmath(dtype, kind, alpha):
    eps = float(np.finfo(dtype).eps)
    for length in (1, 2, 9):
        x = (ROWS[kind](np.random.default_rng(length), (2, length)) if kind in ROWS else
             logits_of(kind, dtype, length, rows=2)).astype(dtype)
        for targets in (x.argmax(axis=-1), x.argmin(axis=-1), fastact.softmax(x), entmax(x, alpha=1.3)):
            loss, gradient = entmax_loss(x, targets, alpha=alpha, reduction="none")
            assert loss.dtype == gradient.dtype == dtype
            assert (loss >= -8 * eps * abs(x).max(axis=-1)).all()
            right, slopes = (exact_loss(mode, x, targets, alpha) for mode in ("value", "gradient"))
            size = np.ptp(x, axis=-1) + 2 + abs(x).max(axis=-1) * (targets.ndim == 2)
            assert (abs(loss - right) <= 8 * eps * size).all(), length
            assert (abs(gradient - slopes) <= 4 * eps).all(), length


@in_turn("alpha", [1.05, 1.25, 1.8, 1.99])
@every_dtype
def test_a_loss_that_is_almost_0_keeps_its_digits(dtype, alpha):
    eps = float(np.finfo(dtype).eps)
    for length in (2, 3):
        for lacking in (0.5, 1e-2, 1e-4):
            x = np.zeros((1, length), dtype)
            x[0, 1] = 1 / (alpha - 1) - lacking
            label = np.array([1])
            right, slopes = (exact_loss(mode, x, label, alpha, 90) for mode in ("value", "gradient"))
            loss, gradient = entmax_loss(x, label, alpha=alpha, reduction="none")
            conditioning = 1 / (alpha - 1) / lacking     # of the distance from 1 / (alpha - 1)
            least = max(float(np.finfo(dtype).smallest_subnormal), 1e-85)   # the reference has 90 digits
            assert abs(loss[0] - right[0]) <= 8 * eps * right[0] * (conditioning if dtype == np.float64 else 1) + least
            assert (abs(gradient - slopes) <= 8 * eps * abs(slopes) * (conditioning if dtype == np.float64 else 1)
                    + 2.0**-48).all()


@in_turn("alpha", [1.25, 1.8, 3.0])
@every_dtype
def test_a_loss_is_0_where_the_right_class_leads(dtype, alpha):
    for length in (2, 17, 5000):
        x = np.zeros(length, dtype)
        for ahead in (1 / (alpha - 1) + 1e-6, 1e30):
            x[-1] = ahead
            for targets in (length - 1, (np.arange(length) == length - 1).astype(dtype)):
                loss, gradient = entmax_loss(x, targets, alpha=alpha)
                assert loss == 0
                assert not gradient.any()


@in_turn("alpha", [1.25, 1.8, 3.0])
def test_losses_of_what_is_not_finite_and_of_what_is_ignored(alpha):
    value, gradient = entmax_loss([0.0, -INF, 0.0], 1, alpha=alpha)
    assert value == INF
    np.testing.assert_allclose(gradient, [0.5, -1, 0.5], rtol=1e-15)
    value, gradient = entmax_loss([0.0, -INF, 0.0], [0.5, 0.0, 0.5], alpha=alpha)
    assert 0 <= value < 1e-30
    assert abs(gradient).max() < 1e-15
    for row in ([NAN, 1.0], [INF, 0.0], [-INF, -INF]):
        for targets in (0, 1, [0.5, 0.5]):
            value, gradient = entmax_loss(row, targets, alpha=alpha)
            assert math.isnan(value)
            assert np.isnan(gradient).all()
    assert math.isnan(entmax_loss([0.0, 1.0], [-0.5, 1.5], alpha=alpha)[0])
    x = normal((5, 4))
    x[1] = NAN
    labels = np.array([0, -100, 2, 3, -100])
    counted = labels >= 0
    for reduction in ("mean", "sum", "none"):
        loss, gradient = entmax_loss(x, labels, reduction=reduction, ignore_index=-100, alpha=alpha)
        right, right_gradient = entmax_loss(x[counted], labels[counted], reduction=reduction, alpha=alpha)
        assert same_bits(loss[counted] if reduction == "none" else loss, right)
        assert same_bits(gradient[counted], right_gradient)
        assert not gradient[~counted].any()


@in_turn("alpha", [1, 1.25, 1.8, 3.0])
def test_gradient_of_the_loss_is_the_difference_quotient(alpha):
    x, step = normal((3, 4), spread=0.3), 1e-5
    for targets in (np.array([2, 0, 1]), fastact.softmax(normal((3, 4), seed=1))):
        for reduction in ("mean", "sum"):
            _, gradient = entmax_loss(x, targets, reduction=reduction, alpha=alpha)
            for index in np.ndindex(x.shape):
                change = np.zeros_like(x)
                change[index] = step
                ahead, behind = (entmax_loss(x + s * change, targets, reduction=reduction, alpha=alpha)[0]
                                 for s in (1, -1))
                assert gradient[index] == pytest.approx((ahead - behind) / (2 * step), abs=1e-8)


def test_a_loss_of_alpha_1_is_the_cross_entropy_less_the_entropy():
    x, y = normal((4, 9)), fastact.softmax(normal((4, 9), seed=1))
    loss, gradient = entmax_loss(x, y, alpha=1, reduction="none")
    right, right_gradient = fastact.softmax_cross_entropy(x, y, reduction="none")
    np.testing.assert_allclose(loss, right + (y * np.log(y)).sum(axis=-1), rtol=1e-13)
    np.testing.assert_allclose(gradient, right_gradient, rtol=0, atol=1e-15)


# --------------------------------------------------------------------------------------------------------------- errors


def test_alpha_is_a_number_from_1_to_1e30():
    x = normal((3, 4))
    for function, call in (
        ("entmax", lambda alpha: entmax(x, alpha=alpha)),
        ("entmax.backward", lambda alpha: entmax.backward(x, x, alpha=alpha)),
        ("entmax.backward_parameter", lambda alpha: entmax.backward_parameter(x, x, alpha=alpha)),
        ("entmax.jacobian", lambda alpha: entmax.jacobian(x, alpha=alpha)),
        ("entmax_loss", lambda alpha: entmax_loss(x, np.zeros(3, int), alpha=alpha)),
    ):
        for alpha in (0.999, 0, -1, NAN, INF, 1.1e30, 10**400):
            text = f"alpha is {alpha}; accepted is a number from 1 to 1e+30"
            raises(ValueError, function, text, partial(call, alpha))
        for alpha in ("2", None, [1.5], np.ones(3), True, 1j):
            raises(TypeError, function, f"alpha must be a number, got {type(alpha).__name__}", partial(call, alpha))
        call(np.float32(1.25))
    out = np.full((3, 4), 7.0)
    raises(ValueError, "entmax", "alpha is 0.5", lambda: entmax(x, alpha=0.5, out=out))
    raises(ValueError, "entmax", "out has the shape", lambda: entmax(x[0], alpha=1.2, out=out))
    assert (out == 7).all()


def test_other_errors_of_entmax():
    x = normal((3, 4))
    raises(TypeError, "entmax", "unknown argument beta", lambda: entmax(x, beta=2))
    for name, call in (("backward", lambda **given: entmax.backward(x, x, **given)),
                       ("jacobian", lambda **given: entmax.jacobian(x, **given))):
        raises(TypeError, f"entmax.{name}", "unknown argument alfa; did you mean alpha?", partial(call, alfa=2))
    raises(TypeError, "softmax", "unknown argument alpha", lambda: fastact.softmax(x, alpha=2))
    raises(TypeError, "entmax.backward", "accepted is either x or output; got neither", lambda: entmax.backward(x))
    raises(TypeError, "entmax.backward_parameter", "accepted is either x or output; got both",
           lambda: entmax.backward_parameter(x, x, output=x))
    raises(ValueError, "entmax.backward_parameter", "dy has the shape (4,); accepted is that of the value, (3, 4)",
           lambda: entmax.backward_parameter(x[0], x))
    raises(ValueError, "entmax.backward_parameter", "name is 'beta'; accepted are alpha",
           lambda: entmax.backward_parameter(x, x, name="beta"))
    raises(ValueError, "entmax_loss", "ignore_index is -100; accepted is None for prob",
           lambda: entmax_loss(x, x, ignore_index=-100, alpha=1.2))
    raises(IndexError, "entmax_loss", "labels_or_probabilities holds 4", lambda: entmax_loss(x, [0, 1, 4], alpha=1))
