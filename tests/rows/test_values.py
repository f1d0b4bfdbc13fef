"""The values of the softmax family: accuracy, special rows, scale and temperature, hardmax, no warnings."""

import itertools
import math

import numpy as np
import pytest
from common import INF, NAN, REDUCTIONS, ROWWISE, WIDE, in_turn, normal, same_bits
from facts import FACTS_OF_ROWS
from instruction_sets import each_set
from logits import KINDS, logits_of
from row_helpers import (
    LONG,
    SCALED,
    SHORT,
    SPECIAL_ROWS,
    by_mpmath,
    every_dtype,
    every_function,
    every_reduction,
    every_rowwise,
    every_scaled,
    exact,
    sign_of,
    ulp_errors,
    value_errors,
)

import fastact
from fastact import reference

FACTORS = [(3.0, 1.0), (0.125, 0.7), (1.0, 3.0), (40.0, 1.0), (1.0, 1e-5), (1.0, 1e4), (1e300, 1e295), (1e-30, 1.0),
           (1e30, 1.0)]  # scale, temperature


def logsumexp_unit(result, logits):
    """ulp of the largest of the two numbers whose sum the result is: the maximum, and the logarithm of the rest."""
    largest = abs(logits.max(axis=-1)).astype(np.float64)
    parts = np.maximum(largest, math.log(logits.shape[-1]))
    return reference.ulp(np.maximum(abs(result.astype(np.float64)), parts), logits.dtype)


@every_dtype
@in_turn("kind", KINDS)
@every_rowwise
def test_values_within_4_ulp(f, kind, dtype):
    rows = [logits_of(kind, dtype, length) for length in SHORT + LONG]
    right = [exact(f.name, "value", x) for x in rows]
    for isa, k, computed in each_set(f, *([x] for x in rows)):
        assert computed.dtype == dtype
        assert value_errors(f, computed, right[k]).max() <= f.ulp["value"], (isa, rows[k].shape)


def test_values_of_many_confident_rows():
    """What the sum loses beside its largest term all entries have: in units of 2^-24, a rounding or two of it."""
    random = np.random.default_rng(0)
    x = random.standard_normal((30_000, 128))
    x[:, 17] += random.uniform(5, 20, len(x))
    x = x.astype(np.float32)
    error = abs(fastact.softmax(x) / exact("softmax", "value", x) - 1) * 2**24
    assert np.median(error, axis=1).max() < 2.7


@every_dtype
@in_turn("kind", KINDS)
@every_reduction
def test_reductions_within_2_ulp(f, kind, dtype):
    """Of the result; where the maximum and the logarithm cancel, of the larger of these."""
    rows = [logits_of(kind, dtype, length) for length in SHORT + LONG]
    exact_values = [exact(f.name, "value", x) for x in rows]
    for isa, k, computed in each_set(f, *([x] for x in rows)):
        x, right = rows[k], exact_values[k]
        assert computed.dtype == dtype
        assert computed.shape == x.shape[:-1]
        assert (abs(computed - right) / logsumexp_unit(right, x)).max() <= 2, (isa, x.shape)
        without_cancellation = x.max(axis=-1) >= 0
        if without_cancellation.any():
            errors = reference.ulp_error(computed, right)[without_cancellation]
            assert errors.max() <= 2, (isa, x.shape)


@every_dtype
@in_turn("kind", KINDS)
@every_function
def test_values_against_mpmath(f, kind, dtype):
    for length in (1, 2, 3, 5, 16, 17, 40, 257):
        x = logits_of(kind, dtype, length, rows=2)
        computed, right = f(x), by_mpmath(f.name, "value", x)
        errors = abs(computed - right) / logsumexp_unit(right, x) if f in REDUCTIONS else (
            value_errors(f, computed, right))
        assert errors.max() <= (2 if f in REDUCTIONS else f.ulp["value"]), length


@in_turn("dtype, tolerance", [(np.float32, 1e-6), (np.float64, 2e-15)])
@in_turn("kind", KINDS)
def test_rows_of_softmax_add_up_to_1(kind, dtype, tolerance):
    for length in SHORT + LONG:
        total = math.fsum(fastact.softmax(logits_of(kind, dtype, length, rows=1))[0].tolist())
        assert total == pytest.approx(1, rel=0, abs=tolerance), length


@every_dtype
@in_turn("length", [2, 3, 16, 17, 300, 5000])
def test_log_softmax_of_a_confident_row_keeps_the_rest(length, dtype):
    x = normal(length, dtype, spread=1)
    for sure in (20, 40, 60):
        x[0] = sure
        entry = fastact.log_softmax(x)[0]
        rest = -math.log1p(math.fsum(math.exp(float(a) - sure) for a in x[1:]))
        assert entry == pytest.approx(rest, rel=4 * float(np.finfo(dtype).eps))
        assert entry < 0


@every_dtype
@every_function
def test_values_of_a_single_entry(f, dtype):
    x = np.array([[0.0], [-5.5], [1e30], [-1e30]], dtype)
    expected = x[:, 0] if f in REDUCTIONS else np.full_like(x, FACTS_OF_ROWS[f.name].alone)
    np.testing.assert_allclose(f(x), expected, rtol=float(np.finfo(dtype).eps), atol=0)


@every_dtype
@in_turn("row, softmax, log_softmax, logsumexp", SPECIAL_ROWS)
def test_special_rows(row, softmax, log_softmax, logsumexp, dtype):
    for x in (row, row[::-1]):
        for f in ROWWISE:
            right = log_softmax if f.name == "log_softmax" else softmax
            if f.name == "hardmax" and not np.isnan(x).any():
                right = (np.arange(2) == np.argmax(x)).astype(float)
                right = right if x is row else right[::-1]
            logits = sign_of(f) * np.array(x, dtype)
            for parameters in ({}, {"temperature": 3}) if f in SCALED else ({},):
                np.testing.assert_array_equal(f(logits, **parameters), right if x is row else right[::-1])
        np.testing.assert_array_equal(fastact.logsumexp(np.array(x, dtype)), logsumexp)


@every_dtype
@in_turn("threads", [1, 2])
@in_turn("length", [15, 16, 17, 300, 4097, 60_000])
@every_function
def test_special_entries_far_apart(f, length, threads, dtype):
    """A NaN or an infinity is seen wherever in the row it stands, by rows and by columns; its neighbours stay right."""
    first, last, middle = 0, length - 1, length // 2
    x = normal((8, length), dtype)
    clean = f(x)
    spoilt = {0: {first: NAN}, 1: {last: NAN}, 3: {middle: INF}, 4: {first: INF, last: NAN}, 5: {first: NAN, last: INF},
              6: dict.fromkeys(range(length), -INF)}
    for row, entries in spoilt.items():
        for place, value in entries.items():
            x[row, place] = sign_of(f) * value
    reduced = {0: NAN, 1: NAN, 3: INF, 4: NAN, 5: NAN, 6: -INF}
    with fastact.threads(threads):
        by_rows, by_columns = f(x), f(np.ascontiguousarray(x.T), axis=0)
        alone = [f(row[np.newaxis])[0] for row in x]
    for result in (by_rows, by_columns.T, alone):
        for row in range(len(x)):
            right = clean[row] if row not in spoilt else reduced[row] if f in REDUCTIONS else np.full(length, NAN)
            if f.name == "hardmax" and row in (3, 6):
                right = np.arange(length) == (middle if row == 3 else first)
            np.testing.assert_array_equal(result[row], right)


def scaled(f, x, scale, temperature):
    return f(x, scale=scale, temperature=temperature)


@every_dtype
@in_turn("scale, temperature", FACTORS)
@every_scaled
def test_values_with_a_factor_within_4_ulp(f, scale, temperature, dtype):
    """Also where a float32 logit times the factor is none any more."""
    cases = list(itertools.product(KINDS, (1, 2, 17, 40, 257)))
    rows = [logits_of(kind, dtype, length, rows=2) for kind, length in cases]
    for isa, k, computed in each_set(scaled, *((f, x, scale, temperature) for x in rows)):
        errors = ulp_errors(f, computed, rows[k], scale, temperature)
        assert errors.max() <= f.ulp["value"], (isa, cases[k])


@every_scaled
def test_factors_are_what_they_say(f):
    x = normal((5, 40))
    assert same_bits(f(x, scale=5, temperature=5), f(x))
    assert same_bits(f(x, scale=np.float32(2), temperature=True), f(x, scale=2))
    assert same_bits(f(x, temperature=4), f(x, scale=0.25))
    np.testing.assert_allclose(f(x, scale=2), f(2 * x), rtol=1e-14, atol=1e-14)
    mask, out = normal((5, 40), seed=1) > 0, np.empty((5, 40))
    np.testing.assert_allclose(f(x, scale=2, where=mask), f(2 * x, where=mask), rtol=1e-14, atol=1e-14)
    assert f(x, 0, scale=2, out=out) is out
    assert same_bits(out, f(x, 0, scale=2))
    np.testing.assert_allclose(f.jacobian(x[0], scale=2), 2 * f.jacobian(2 * x[0]), rtol=1e-12, atol=1e-14)
    cold = f(x, temperature=1e-9)
    assert same_bits(np.exp(cold) if f.name == "log_softmax" else cold, fastact.hardmax(sign_of(f) * x))


@every_dtype
@in_turn("length", [1, 5, 16, 37, 300, 4100, 20_001])
def test_hardmax_takes_the_first_maximum(length, dtype):
    """Compared with NumPy's argmax, in rows of few different numbers."""
    x = np.random.default_rng(length).integers(-3, 3, (7, length)).astype(dtype)
    right = np.zeros_like(x)
    np.put_along_axis(right, x.argmax(axis=1)[:, np.newaxis], 1, axis=1)
    for threads in (1, 2):
        with fastact.threads(threads):
            assert same_bits(fastact.hardmax(x), right)
            assert same_bits(fastact.hardmax(np.ascontiguousarray(x.T), 0), right.T)


@every_dtype
@in_turn("length", [3, 17, 300, 4100, 20_001])
def test_hardmax_of_infinities(length, dtype):
    """+inf is a largest entry like any other, the first of several wins; -inf alone too; NaN alone gives NaN."""
    random = np.random.default_rng(length)
    x = random.standard_normal((6, length)).astype(dtype)
    first, second = sorted(random.choice(length, 2, replace=False))
    x[0, first] = math.inf
    x[1, [first, second]] = math.inf
    x[2] = -math.inf
    x[3] = -math.inf
    x[3, second] = 1
    x[4, [first, second]] = math.nan, math.inf
    x[5] = math.inf
    right = np.zeros_like(x)
    right[[0, 1, 2, 3, 5], [first, first, 0, second, 0]] = 1
    right[4] = math.nan
    for threads in (1, 2):
        with fastact.threads(threads):
            assert same_bits(fastact.hardmax(x), right)
            assert same_bits(fastact.hardmax(np.ascontiguousarray(x.T), 0), right.T)


@every_dtype
@in_turn("kind", KINDS)
@every_function
def test_no_floating_point_warning(f, kind, dtype):
    """Not even where every one of them is an error: finite or not, no intermediate is the caller's business."""
    for length in (1, 2, 17, 300, 5000):
        x = logits_of(kind, dtype, length, rows=3)
        dy = normal(x.shape, dtype, seed=1)
        mask = dy > 0
        with np.errstate(all="raise"):
            y = f(x)
            f(x.T, axis=0)
            f(x, where=mask)
            f(np.ascontiguousarray(x.T), axis=0, out=np.empty(length and 3 if f in REDUCTIONS else (length, 3), dtype))
            if f in REDUCTIONS:
                f.backward(dy[:, 0], x)
            else:
                f.backward(dy, output=y)
                f.backward(dy, x)
                f.jacobian(x[:, :40])


@every_function
def test_no_floating_point_warning_for_special_rows(f):
    for dtype in WIDE:
        x = np.array([row for row, *_ in SPECIAL_ROWS], dtype)
        with np.errstate(all="raise"):
            y = f(x)
            f(x.T, axis=0)
            f.backward(x[:, 0], x) if f in REDUCTIONS else f.backward(x, output=y)


@every_scaled
def test_the_ends_of_the_range_of_factors_are_accepted(f):
    x = normal((2, 5)) * 1e25
    for parameters in ({"temperature": 1e30}, {"temperature": 1e-30}, {"scale": 1e30}, {"scale": 1e-30}):
        f(x, **parameters)
        f.backward(x, x, **parameters)
    with pytest.raises(ValueError, match=r"scale / temperature is 9.99e-31; accepted is 1e-30 to 1e30"):
        f(x, scale=9.99e-31)
