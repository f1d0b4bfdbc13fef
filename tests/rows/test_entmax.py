"""The entmax family: worked examples, the support, rows of few and of many candidates."""

import math

import numpy as np
import pytest
from common import INF, NAN, in_turn, normal, same_bits
from row_helpers import by_mpmath, every_dtype

import fastact

ENTMAX = [fastact.sparsemax, fastact.entmax15]
every_entmax = in_turn("f", ENTMAX)

EXAMPLES = {  # of the logits [1, 2, 3], [1, 1.2, 0.9] and [0, 0]
    "sparsemax": ([0, 0, 1], [0.3, 0.5, 0.2], [0.5, 0.5]),
    "entmax15": ([0, 0.169281086, 0.830718914], [0.310589805, 0.432050974, 0.257359221], [0.5, 0.5]),
}
POWER = {"sparsemax": 1, "entmax15": 2}  # 1 / (alpha - 1)


@every_dtype
@every_entmax
def test_worked_examples(f, dtype):
    tolerance = 2e-7 if dtype == np.float32 else 1e-9
    for logits, right in zip(([1, 2, 3], [1, 1.2, 0.9], [0, 0]), EXAMPLES[f.name], strict=True):
        np.testing.assert_allclose(f(np.array(logits, dtype)), right, rtol=0, atol=tolerance)


ROWS = {
    "normal": lambda random, shape: random.standard_normal(shape),
    "dense": lambda random, shape: 0.01 * random.standard_normal(shape),
    "equal": lambda random, shape: np.full(shape, -7.0),
    "ties": lambda random, shape: random.integers(-8, 1, shape) / 8,
    "ties at 1000": lambda random, shape: 1000 + random.integers(-8, 1, shape) / 8,
    "tiny": lambda random, shape: 1e-8 * random.standard_normal(shape),
}


@in_turn("length", [2, 3, 15, 16, 17, 100, 1000])
@in_turn("kind", ROWS)
@every_entmax
def test_the_support_is_exact(f, kind, length):
    """Of float32 logits, as mpmath finds it; also where logits are equal to the threshold, and so outside."""
    x = ROWS[kind](np.random.default_rng(length), (4 if length < 100 else 1, length)).astype(np.float32)
    right = by_mpmath(f.name, "value", x)
    computed = f(x)
    np.testing.assert_array_equal(computed > 0, (right > 0).astype(bool))
    errors = abs(computed - right) / np.spacing(np.maximum(right.astype(np.float32), np.float32(1e-9)))
    assert errors.max() <= 0.6


def test_a_logit_at_the_threshold_is_outside():
    for dtype in (np.float32, np.float64):
        for row in ([0, -1], [5, 5, 4.5], [1, 0.75, 0.75, 0.5], [-3, -3, -3, -3, -3.25]):
            x = np.array(row, dtype)
            outside = x == x.min()
            assert (fastact.sparsemax(x)[outside] == 0).all(), row
            x[outside] = np.nextafter(x[outside], dtype(INF))
            assert (fastact.sparsemax(x)[outside] > 0).all(), row
        x = np.array([-0.5, 0, -0.625, 0, -0.625], dtype)      # the threshold is found from below, in steps that round
        assert fastact.sparsemax(x).tolist() == [0, 0.5, 0, 0.5, 0]


@every_dtype
@in_turn("kind", ["normal", "dense", "equal", "ties"])
@in_turn("length", [2047, 2048, 2049, 10_000, 60_000])
@every_entmax
def test_rows_of_more_candidates_than_are_kept(f, length, kind, dtype):
    """They add up to 1, are in the order of the logits, and their roots are the logits less a threshold."""
    power = POWER[f.name]
    x = ROWS[kind](np.random.default_rng(length), (2, length)).astype(dtype)
    for threads in (1, 2):
        with fastact.threads(threads):
            p = f(x)
            assert same_bits(f(np.ascontiguousarray(x.T), 0), p.T)
            assert same_bits(f(x[1]), p[1])
        for row, logits in zip(p, x, strict=True):
            assert math.fsum(row.tolist()) == pytest.approx(1, rel=0, abs=4 * float(np.finfo(dtype).eps))
            order = np.argsort(logits, kind="stable")
            assert (np.diff(row[order]) >= 0).all()
            support = row > 0
            z, roots = logits.astype(np.longdouble) / power, row.astype(np.longdouble) ** (1 / power)
            thresholds = z[support] - roots[support]
            assert np.ptp(thresholds) <= 2 * float(np.finfo(dtype).eps) * roots.max()
            assert z[~support].max(initial=-INF) <= thresholds.min() + float(np.finfo(dtype).eps)


@every_dtype
@every_entmax
def test_rows_that_are_not_finite(f, dtype):
    """NaN anywhere, +inf anywhere, or -inf alone: the row is NaN.  One -inf among others is 0."""
    for length in (3, 16, 40, 5000):
        for place in (0, length // 2, length - 1):
            for spoilt in (NAN, -NAN, INF):
                x = normal((2, length), dtype)
                x[1, place] = spoilt
                p = f(x)
                assert same_bits(p[0], f(x[0]))
                assert np.isnan(p[1]).all()
                assert same_bits(np.isnan(f(x.T.copy(), 0)), np.isnan(p).T)
            x = normal((2, length), dtype)
            x[0, place] = -INF
            assert f(x)[0, place] == 0
            assert not np.isnan(f(x)).any()
        assert np.isnan(f(np.full(length, -INF, dtype))).all()


@every_dtype
@every_entmax
def test_backward_is_0_outside_the_support(f, dtype):
    """Whatever dy holds there."""
    x = normal((5, 300), dtype)
    y, dy = f(x), normal((5, 300), dtype, seed=1)
    expected = f.backward(dy, output=y)
    assert (expected[y == 0] == 0).all()
    assert not np.signbit(expected[y == 0]).any()
    for spoilt in (NAN, INF, -INF):
        assert same_bits(f.backward(np.where(y == 0, dtype(spoilt), dy), output=y), expected)


# --------------------------------------------------------------------------------------------------------------- losses

LOSSES = {"sparsemax": fastact.sparsemax_loss, "entmax15": fastact.entmax15_loss}


@every_entmax
def test_losses_of_worked_examples(f):
    """The logits less their mean with the probabilities, and the entropy."""
    for logits in ([1, 2, 3], [1, 1.2, 0.9], [0, 0, 5]):
        p = f(np.array(logits, float))
        entropy = {"sparsemax": p * (1 - p) / 2, "entmax15": (p - p**1.5) / 0.75}[f.name].sum()
        for label in range(3):
            loss, gradient = LOSSES[f.name](logits, label)
            assert loss == pytest.approx((p * logits).sum() - logits[label] + entropy, abs=1e-14)
            np.testing.assert_allclose(gradient, p - (np.arange(3) == label), rtol=1e-14)


@every_dtype
@every_entmax
def test_a_loss_is_0_where_the_right_class_leads(f, dtype):
    lead = float(POWER[f.name])
    for length in (2, 3, 17, 300, 5000):
        x = np.zeros(length, dtype)
        for ahead in (lead, lead + 1, 1e30):
            x[-1] = ahead
            for targets in (length - 1, (np.arange(length) == length - 1).astype(dtype)):
                loss, gradient = LOSSES[f.name](x, targets)
                assert loss == 0
                assert not gradient.any()
                assert not np.signbit(gradient).any()


@every_dtype
@every_entmax
def test_a_loss_that_is_almost_0_keeps_its_digits(f, dtype):
    """With labels, and with probabilities that are almost those of the logits' own."""
    eps = float(np.finfo(dtype).eps)
    for length in (2, 3, 17, 300):
        for lacking in (0.5, 1e-2, 1e-4, 1e-6):
            x = np.zeros((1, length), dtype)
            x[0, 1] = POWER[f.name] - lacking
            label = np.array([1])
            one_hot = (np.arange(length) == 1).astype(dtype)[np.newaxis]
            right = by_mpmath(f"{f.name}_loss_labels", "value", x, label)
            slopes = by_mpmath(f"{f.name}_loss_labels", "gradient", x, label)
            for targets in (label, one_hot):
                loss, gradient = LOSSES[f.name](x, targets, reduction="none")
                assert abs(loss[0] - right[0]) <= 8 * eps * right[0]
                least = 2.0**-48 if dtype == np.float32 else 0     # the sum of doubles of which the threshold is made
                assert (abs(gradient - slopes) <= 8 * eps * abs(slopes) + least).all()


@every_entmax
def test_losses_of_what_is_not_finite(f):
    loss = LOSSES[f.name]
    value, gradient = loss([0.0, -INF, 0.0], 1)
    assert value == INF
    np.testing.assert_allclose(gradient, [0.5, -1, 0.5])
    value, gradient = loss([0.0, -INF, 0.0], [0.5, 0.0, 0.5])
    assert 0 <= value < 1e-30
    assert abs(gradient).max() < 1e-16
    for row in ([NAN, 1.0], [INF, 0.0], [-INF, -INF]):
        for targets in (0, 1, [0.5, 0.5]):
            value, gradient = loss(row, targets)
            assert math.isnan(value)
            assert np.isnan(gradient).all()


@every_entmax
def test_ignored_rows_of_losses(f):
    x = normal((5, 4))
    x[1] = NAN
    labels = np.array([0, -100, 2, 3, -100])
    counted = labels >= 0
    for reduction in ("mean", "sum", "none"):
        loss, gradient = LOSSES[f.name](x, labels, reduction=reduction, ignore_index=-100)
        right, right_gradient = LOSSES[f.name](x[counted], labels[counted], reduction=reduction)
        assert same_bits(loss[counted] if reduction == "none" else loss, right)
        assert same_bits(gradient[counted], right_gradient)
        assert not gradient[~counted].any()
    with pytest.raises(ValueError, match=rf"fastact\.{f.name}_loss: ignore_index is -100; accepted is None for prob"):
        LOSSES[f.name](x, np.zeros((5, 4)), ignore_index=-100)
