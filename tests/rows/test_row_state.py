"""RowState: softmax, log_softmax and logsumexp of rows in parts, against the reference of the whole rows."""

import functools
import itertools
import pickle

import numpy as np
import pytest
from common import DTYPES, HALF, INF, NAN, WIDE, each, in_turn, normal, same, same_bits
from logits import KINDS, logits_of
from row_helpers import SPECIAL_ROWS, exact, raises, value_errors

import fastact
from fastact import RowState

DIVISIONS = ([0, 40], [0, 1, 40], [0, 7, 8, 23, 40], [0, 16, 32, 40], [*range(41)], [0, 0, 39, 39, 40])
every_function = each("function", (fastact.softmax, fastact.log_softmax))


def divided(x, borders, axis=-1):
    axis %= x.ndim
    return [x[(slice(None),) * axis + (slice(start, stop),)] for start, stop in itertools.pairwise(borders)]


def merged(parts, axis=-1):
    return functools.reduce(RowState.merge, [RowState.of(part, axis) for part in parts])


def in_parts(function, x, borders, axis=-1):
    parts, state = divided(x, borders, axis), merged(divided(x, borders, axis), axis)
    return np.concatenate([getattr(state, function.name)(part) for part in parts], axis)


@in_turn("kind", KINDS)
@in_turn("dtype", WIDE)
@every_function
def test_parts_have_the_accuracy_of_whole_rows(function, dtype, kind):
    x = logits_of(kind, dtype, 40)
    right = exact(function.name, "value", x)
    for borders in DIVISIONS:
        errors = value_errors(function, in_parts(function, x, borders), right)
        assert errors.max() <= function.ulp["value"], borders


@in_turn("kind", KINDS)
@in_turn("dtype", WIDE)
def test_logsumexp(dtype, kind):
    x = logits_of(kind, dtype, 40)
    right = exact("logsumexp", "value", x)
    for borders in DIVISIONS:
        logarithm = merged(divided(x, borders)).logsumexp()
        assert logarithm.dtype == np.float64
        np.testing.assert_allclose(logarithm, right.astype(np.float64), rtol=1e-15, atol=1e-15)


@in_turn("kind", KINDS)
@in_turn("dtype", [dtype for dtype in DTYPES if dtype is not np.float64])
@every_function
def test_divisions_give_the_same_bits(function, dtype, kind):
    with np.errstate(over="ignore"):
        x = logits_of(kind, dtype, 40)
    whole = in_parts(function, x, [0, 40])
    for borders in DIVISIONS:
        same(in_parts(function, x, borders), whole, borders)


@in_turn("dtype", HALF)
@every_function
def test_16_bits_are_rounded_once(function, dtype):
    x = normal((30, 40), dtype)
    wide = in_parts(function, x.astype(np.float32), DIVISIONS[2])
    assert same_bits(in_parts(function, x, DIVISIONS[2]), wide.astype(dtype))


@in_turn("dtype", DTYPES)
@in_turn("row, softmax, log_softmax, logsumexp", SPECIAL_ROWS)
def test_special_rows(row, softmax, log_softmax, logsumexp, dtype):
    x = np.array([row, row[::-1]], dtype)
    for borders in ([0, 2], [0, 1, 2], [0, 0, 2, 2]):
        same(in_parts(fastact.softmax, x, borders), np.array([softmax, softmax[::-1]], dtype))
        same(in_parts(fastact.log_softmax, x, borders), np.array([log_softmax, log_softmax[::-1]], dtype))
        same(merged(divided(x, borders)).logsumexp(), np.array([logsumexp, logsumexp]))


@in_turn("dtype", WIDE)
def test_a_confident_row_keeps_its_digits(dtype):
    """1 - p of the largest is 3e-13: -log p has it, although 1 - p is lost in float32."""
    x = np.array([[30.0, 1.0, 0.5, -2.0]], dtype)
    state = RowState.of(x[:, :1]).merge(RowState.of(x[:, 1:]))
    right = exact("log_softmax", "value", x)[0, 0]
    assert state.log_softmax(x[:, :1])[0, 0] == pytest.approx(float(right), rel=1e-6)
    assert state.logsumexp()[0] == pytest.approx(30, rel=1e-12)


@in_turn("axis", [0, 1, 2, -1, (0, 2), (1, 2), None])
@in_turn("dtype", DTYPES)
@every_function
def test_axes_and_layouts(function, dtype, axis):
    x = normal((4, 5, 6), dtype)
    moved = np.ascontiguousarray(x.transpose(2, 0, 1)).transpose(1, 2, 0)
    for array in (x, np.asfortranarray(x), x[::-1, :, ::-1], moved):
        state = RowState.of(array, axis)
        assert state.maximum.shape == tuple(
            1 if axis is None or k in np.atleast_1d(np.array(axis) % 3) else n for k, n in enumerate(x.shape))
        compared = function(array.astype(np.float64), axis=axis)
        result = getattr(state, function.name)(array)
        assert result.dtype == x.dtype
        assert result.shape == x.shape
        assert value_errors(function, result, compared).max() <= function.ulp["value"]
        np.testing.assert_allclose(state.logsumexp(), fastact.logsumexp(array.astype(np.float64), axis=axis),
                                   rtol=1e-15, atol=1e-15)


@every_function
def test_out(function):
    x = normal((3, 40), np.float32)
    state = RowState.of(x)
    right = getattr(state, function.name)(x)
    for out in (np.empty_like(x), np.empty((3, 80), np.float32)[:, ::2], np.empty_like(x, np.float64)):
        assert getattr(state, function.name)(x, out=out) is out
        np.testing.assert_array_equal(out, right)
    in_place = x.copy()
    getattr(state, function.name)(in_place, out=in_place)
    assert same_bits(in_place, right)


def test_merging_is_commutative_and_pickles():
    x = np.concatenate([normal((20, 40)), normal((20, 40), spread=300)])
    a, b = RowState.of(x[:, :13]), RowState.of(x[:, 13:])
    for field in ("maximum", "rest", "rest_low"):
        assert same_bits(getattr(a.merge(b), field), getattr(b.merge(a), field))
        assert same_bits(getattr(pickle.loads(pickle.dumps(a)), field), getattr(a, field))
    assert pickle.loads(pickle.dumps(a)).axes == (1,)


@in_turn("dtype, more", [(np.float32, 0), (np.float64, 4)])
def test_many_parts(dtype, more):
    """A thousand merges, of which in the first case each has a new maximum."""
    x = np.sort(normal((3, 1000), dtype), axis=-1)
    for rows, allowed in ((x, more), (x[:, ::-1], 0)):
        errors = value_errors(fastact.softmax, in_parts(fastact.softmax, rows, [*range(1001)]),
                              exact("softmax", "value", rows))
        assert errors.max() <= fastact.softmax.ulp["value"] + allowed


def test_integers_and_lists():
    assert RowState.of([1, 2, 3]).softmax([1, 2, 3]).dtype == np.float64
    assert RowState.of(np.array([True, False])).logsumexp() == pytest.approx(fastact.logsumexp([1.0, 0.0]), rel=1e-15)


def test_threads_give_the_same_bits():
    x = normal((300, 3000), np.float32)
    with fastact.threads(1):
        one = in_parts(fastact.softmax, x, [0, 1000, 3000])
    with fastact.threads(2):
        assert same_bits(in_parts(fastact.softmax, x, [0, 1000, 3000]), one)


def test_no_entries():
    state = RowState.of(np.empty((3, 0)))
    assert (state.logsumexp() == -INF).all()
    assert state.softmax(np.empty((3, 0))).shape == (3, 0)
    x = normal((3, 4))
    assert same_bits(state.merge(RowState.of(x)).softmax(x), RowState.of(x).softmax(x))
    assert RowState.of(np.empty((0, 4))).softmax(np.empty((0, 4))).shape == (0, 4)


def test_refusals():
    state = RowState.of(np.ones((2, 3)))
    raises(TypeError, "RowState.of", "x has the dtype complex", lambda: RowState.of([1j]))
    raises(ValueError, "RowState.of", "x has no dimension", lambda: RowState.of(1.0))
    raises(TypeError, "RowState.of", "axis must be an integer", lambda: RowState.of([1.0], 0.5))
    raises(np.exceptions.AxisError, "RowState.of", "axis 1 is out of bounds", lambda: RowState.of([1.0], 1))
    raises(ValueError, "RowState.merge", "other has the axes (0,)", lambda: state.merge(RowState.of([[1.0]], 0)))
    raises(ValueError, "RowState.softmax", "x has the shape (3, 3)", lambda: state.softmax(np.ones((3, 3))))
    raises(ValueError, "RowState.log_softmax", "x has the shape (3,)", lambda: state.log_softmax([1.0, 2.0, NAN]))
    raises(ValueError, "RowState.softmax", "out has the shape", lambda: state.softmax(np.ones((2, 3)), np.ones(3)))
