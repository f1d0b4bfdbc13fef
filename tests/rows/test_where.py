"""Rows of which a mask takes a part: value, backward and Jacobian matrix."""

import math

import numpy as np
from common import INF, NAN, REDUCTIONS, in_turn, normal, same_bits
from facts import FACTS_OF_ROWS
from row_helpers import every_dtype, every_function, every_rowwise

import fastact


@every_dtype
def test_what_is_masked_never_wins_in_hardmax(dtype):
    x = np.array([[-math.inf] * 4, [-math.inf] * 4, [1, 2, math.inf, 3], [math.nan, 2, 1, 0]]).astype(dtype)
    mask = np.array([[0, 0, 1, 1], [0, 0, 0, 0], [0, 1, 0, 1], [0, 1, 1, 1]], bool)
    right = np.array([[0, 0, 1, 0], [0, 0, 0, 0], [0, 0, 0, 1], [0, 1, 0, 0]]).astype(dtype)
    assert same_bits(fastact.hardmax(x, where=mask), right)
    assert same_bits(fastact.hardmax(x.T, 0, where=mask.T), right.T)
    assert same_bits(fastact.hardmax(x.reshape(2, 2, 4), (0, 1, 2), where=mask.reshape(2, 2, 4)).reshape(4, 4),
                     np.array([[0] * 4, [0] * 4, [0, 0, 0, 1], [0] * 4]).astype(dtype))
    assert fastact.hardmax(dtype(-math.inf), where=True) == 1
    assert fastact.hardmax(dtype(-math.inf), where=False) == 0


def by_compressing(f, x, mask):
    """Row by row, with the entries that take part alone."""
    if f in REDUCTIONS:
        return np.array([f(row[chosen]) for row, chosen in zip(x, mask, strict=True)], x.dtype)
    result = np.full_like(x, FACTS_OF_ROWS[f.name].masked)
    for row, chosen, line in zip(x, mask, result, strict=True):
        line[chosen] = f(row[chosen])
    return result


@every_dtype
@in_turn("length", [1, 2, 17, 40, 300, 5000])
@every_function
def test_where_takes_a_part_of_each_row(f, length, dtype):
    random = np.random.default_rng(length)
    x = random.uniform(-20, 20, (7, length)).astype(dtype)
    mask = random.random(x.shape) < 0.6
    mask[2], mask[3] = False, True
    expected = by_compressing(f, x, mask)
    tolerance = 8 * float(np.finfo(dtype).eps)
    for spoil in (None, NAN, INF, -INF, np.finfo(dtype).max):
        spoilt = x if spoil is None else np.where(mask, x, dtype(spoil))
        np.testing.assert_allclose(f(spoilt, where=mask), expected, rtol=tolerance, atol=tolerance * 1e-9)
        np.testing.assert_allclose(
            f(spoilt.T, axis=0, where=mask.T), expected.T, rtol=tolerance, atol=tolerance * 1e-9)
    assert same_bits(f(x, where=np.ones_like(mask)), f(x))
    if f in REDUCTIONS:
        assert f(x, where=mask)[2] == -INF
    else:
        assert (f(x, where=mask)[~mask] == FACTS_OF_ROWS[f.name].masked).all()
        assert (f(x, where=mask)[2] == FACTS_OF_ROWS[f.name].masked).all()


@every_function
def test_where_broadcasts(f):
    x = normal((4, 5))
    column, line = np.array([[True], [False], [True], [True]]), np.array([True, False, True, True, False])
    for mask in (column, line, line[np.newaxis], np.True_, np.False_, True, False, line.tolist()):
        full = np.broadcast_to(mask, x.shape)
        for axis in (0, 1, None, ()):
            assert same_bits(f(x, axis, where=mask), f(x, axis, where=full.copy()))
        np.testing.assert_allclose(f(x, where=mask), by_compressing(f, x, full), rtol=1e-15)


@every_function
def test_where_beside_axes_of_length_1(f):
    """The last axis of the array is not that of the rows, though the rows are contiguous."""
    x, full = normal((4, 5), np.float32), np.random.default_rng(1).random((4, 5)) < 0.6
    for mask in (full, full[:1], full[:, :1]):
        expected = f(x, where=mask)
        for end in (1, 2):
            given = [a.reshape(*a.shape, *[1] * end) for a in (x, mask)]
            assert same_bits(f(given[0], axis=1, where=given[1]).reshape(expected.shape), expected)
            assert same_bits(f(given[0][None], axis=2, where=given[1]).reshape(expected.shape), expected)


@every_function
def test_where_of_a_scalar(f):
    nothing = -INF if f in REDUCTIONS else FACTS_OF_ROWS[f.name].masked
    for x in (2.0, np.float32(2), np.array(2.0)):
        assert f(x, where=True) == f(x)
        assert f(x, where=False) == nothing
        assert f(x, where=False).dtype == f(x).dtype


@every_function
def test_where_of_what_is_not_finite(f):
    """What takes part decides, as without a mask."""
    mask = np.array([True, True, False])
    for row in ([1.0, NAN, 3.0], [1.0, INF, 3.0], [-INF, -INF, 3.0], [-INF, 2.0, NAN]):
        expected = np.asarray(f(np.array(row)[:2]))
        result = f(np.array(row), where=mask)
        np.testing.assert_array_equal(result if f in REDUCTIONS else result[:2], expected)


def backward_of_part(f, dy, x, mask, axis, **parameters):
    """By float64, each row without what takes no part; 0 for the others."""
    dy, x, mask = (np.moveaxis(np.asarray(a), axis, -1) for a in (dy, x, mask))
    gradient = np.zeros(x.shape)
    for row in np.ndindex(x.shape[:-1]):
        part = mask[row]
        if part.any():
            gradient[row][part] = f.backward(dy[row][part].astype(float), x[row][part].astype(float), **parameters)
    return np.moveaxis(gradient, -1, axis)


@in_turn("axis", [-1, 0, 1])
@in_turn("dtype", [np.float16, np.float32, np.float64])
@every_rowwise
def test_backward_where(f, dtype, axis):
    x, dy = normal((6, 9, 7), dtype), normal((6, 9, 7), dtype, seed=1)
    mask = np.random.default_rng(2).random(x.shape) < 0.6
    mask[2], mask[:, 3], mask[..., 4] = False, False, False     # rows without any, whichever axis
    parameters = [{}, {"scale": 0.5, "temperature": 3.0}] if f.parameters else [{}]
    for given in parameters:
        expected = backward_of_part(f, dy, x, mask, axis, **given)
        y = f(x, axis, where=mask, **given)
        hostile = [np.where(mask, a, dtype(b)) for a, b in ((dy, NAN), (x, INF), (y, NAN))]
        tolerance = {"rtol": 0.02, "atol": 0.01} if dtype == np.float16 else {"rtol": 2e-5, "atol": 2e-6}
        for one, other in ((dy, x), hostile[:2]):
            gradient = f.backward(one, other, axis, where=mask, **given)
            assert gradient.dtype == dtype
            np.testing.assert_allclose(gradient.astype(float), expected, **tolerance)
            assert not gradient[~mask].any()
        out = np.empty_like(x)
        for one, other in ((dy, y), (hostile[0], hostile[2])):
            assert f.backward(one, output=other, axis=axis, where=mask, out=out, **given) is out
            np.testing.assert_allclose(out.astype(float), expected, **tolerance)
            assert not out[~mask].any()
    assert same_bits(f.backward(dy, x, axis, where=True), f.backward(dy, output=f(x.astype(
        np.float32 if dtype == np.float16 else dtype), axis), axis=axis).astype(dtype))


def test_backward_where_of_worked_examples():
    x, mask = np.array([1.0, 2.0, 3.0]), np.array([True, False, True])
    expected = [math.tanh(1), 0, -math.tanh(1)]
    y = fastact.log_softmax(x, where=mask)
    np.testing.assert_allclose(fastact.log_softmax.backward(np.ones(3), output=y, where=mask), expected, rtol=1e-15)
    np.testing.assert_allclose(fastact.log_softmax.backward(np.ones(3), x, where=mask), expected, rtol=1e-15)
    np.testing.assert_allclose(
        fastact.log_softmax.backward([1.0, 2.0, 5.0], x, where=[True, True, False]), [0.19317574, -0.19317574, 0],
        atol=1e-8)
    # What takes part and is -inf keeps its dy
    y = fastact.log_softmax(np.array([-INF, 0.0]))
    np.testing.assert_array_equal(fastact.log_softmax.backward(np.ones(2), output=y), [1, -1])


@in_turn("axis", [-1, 0, 1, None, (0, 2)])
@every_dtype
def test_logsumexp_backward_where(dtype, axis):
    x = normal((6, 9, 7), dtype)
    mask = np.random.default_rng(2).random(x.shape) < 0.6
    mask[2], mask[:, 3], mask[..., 4] = False, False, False
    hostile = np.where(mask, x, dtype(NAN))
    for keepdims in (False, True):
        value = fastact.logsumexp(x, axis, where=mask, keepdims=keepdims)
        dy = normal(np.shape(value), dtype, seed=1)
        axes = tuple(range(3)) if axis is None else axis
        exponentials = np.where(mask, np.exp(x.astype(float)), 0)
        sums = exponentials.sum(axis=axes, keepdims=True)
        expected = np.asarray(dy).reshape(sums.shape) * exponentials / np.where(sums > 0, sums, 1)
        for logits in (x, hostile):
            gradient = fastact.logsumexp.backward(dy, logits, axis, keepdims=keepdims, where=mask)
            assert gradient.dtype == dtype
            np.testing.assert_allclose(gradient, expected, rtol=1e-5)
            assert not gradient[~mask].any()
            out = np.empty_like(x)
            assert fastact.logsumexp.backward(dy, logits, axis, keepdims=keepdims, where=mask, out=out) is out
            assert same_bits(out, gradient)


@every_rowwise
def test_jacobian_where(f):
    x, mask = normal((4, 5)), np.random.default_rng(0).random((4, 5)) < 0.6
    jacobian = f.jacobian(x, where=mask)
    for row in range(4):
        part = mask[row]
        if part.any():
            np.testing.assert_allclose(jacobian[row][np.ix_(part, part)], f.jacobian(x[row][part]), atol=1e-14)
        assert not jacobian[row][~part].any()
        assert not jacobian[row][:, ~part].any()
