"""Rows along any axis or tuple of axes; scalars, lists, integers; arrays without entries."""

import itertools

import numpy as np
from common import ELEMENTWISE, GATED, INF, REDUCTIONS, ROWWISE, in_turn, normal, same_bits
from facts import FACTS_OF_ROWS
from row_helpers import every_dtype, every_function, every_reduction, every_rowwise

import fastact


def along_last(f, x, axes):
    """The definition of a tuple of axes: move them to the end, make them one."""
    kept = [k for k in range(x.ndim) if k not in axes]
    moved = x.transpose(*kept, *axes)
    result = f(np.ascontiguousarray(moved).reshape(*[x.shape[k] for k in kept], -1))
    if f in REDUCTIONS:
        return result
    return result.reshape(moved.shape).transpose(np.argsort((*kept, *axes)))


SHAPE = (3, 4, 5, 2)
AXES = [axes for count in range(1, 5) for axes in itertools.combinations(range(4), count)]


@in_turn("order", ["C", "F"])
@every_function
def test_every_axis_and_tuple_of_axes(f, order):
    x = np.asarray(normal(SHAPE), order=order)
    for axes in AXES:
        expected = along_last(f, x, axes)
        negative = tuple(k - 4 for k in axes)
        for axis in (axes, negative, *((axes[0], negative[0], np.int64(axes[0])) if len(axes) == 1 else ())):
            assert same_bits(f(x, axis), expected), axis
        if len(axes) > 1:
            np.testing.assert_allclose(f(x, axes[::-1]), expected, rtol=1e-14)
    assert same_bits(f(x, None), f(x, (0, 1, 2, 3)))
    assert same_bits(f(x, axis=None), f(x, None))
    single = x if f in REDUCTIONS else np.full_like(x, FACTS_OF_ROWS[f.name].alone)
    np.testing.assert_allclose(f(x, ()), single, rtol=2.0**-52, atol=0)


@in_turn("order", ["C", "F"])
@every_rowwise
def test_backward_along_every_tuple_of_axes(f, order):
    x, dy = np.asarray(normal(SHAPE), order=order), normal(SHAPE, seed=1)
    for axes in AXES:
        y = f(x, axes)
        right = FACTS_OF_ROWS[f.name].backward(dy, y, lambda a, axes=axes: a.sum(axes, keepdims=True))
        np.testing.assert_allclose(f.backward(dy, output=y, axis=axes), right, rtol=0, atol=1e-14)
        assert same_bits(f.backward(dy, x, axis=axes), f.backward(dy, output=y, axis=axes))
    assert same_bits(f.backward(dy, x, None), f.backward(dy, x, (0, 1, 2, 3)))


@in_turn("order", ["C", "F"])
@every_reduction
def test_reductions_keep_dimensions(f, order):
    x = np.asarray(normal(SHAPE), order=order)
    for axes in AXES:
        kept = tuple(1 if k in axes else length for k, length in enumerate(SHAPE))
        assert same_bits(f(x, axes, keepdims=True), f(x, axes).reshape(kept))
        dy = normal(kept, seed=3)
        gradient = f.backward(dy, x, axes, keepdims=True)
        np.testing.assert_allclose(gradient, dy * fastact.softmax(x, axes), rtol=1e-15)
        dropped = np.squeeze(dy, axes)
        assert same_bits(f.backward(dropped, x, axes), gradient)
    assert f(x, None).shape == ()
    assert f(x, None, keepdims=True).shape == (1, 1, 1, 1)


@every_function
def test_scalars_lists_and_integers(f):
    one = 3.0 if f in REDUCTIONS else FACTS_OF_ROWS[f.name].alone
    single, byte = np.array(3, np.float32), np.array(3, np.int8)
    for x, dtype in ((3.0, float), (3, float), (single[()], np.float32), (single, np.float32), (byte, float)):
        for axis in (-1, 0, None, ()):
            result = f(x, axis)
            assert result == one
            assert result.dtype == dtype
            assert isinstance(result, np.generic)
    row = np.array([1.0, 0.0, 1.0])
    for same in ([1.0, 0.0, 1.0], (1, 0, 1), [True, False, True], row.astype(bool), *(
            row.astype(code) for code in np.typecodes["AllInteger"])):
        assert same_bits(f(same), f(row))
    assert same_bits(f(row.astype(">i2")), f(row))


@every_dtype
@every_function
def test_empty_arrays(f, dtype):
    matrices = [((0,), -1), ((3, 0), -1), ((0, 3), -1), ((0, 3), 0), ((0, 0), None)]
    for shape, axis in [*matrices, *(((2, 0, 3), axis) for axis in (0, 1, 2, (0, 1), (0, 2), ()))]:
        x = np.empty(shape, dtype)
        result = f(x, axis)
        axes = range(len(shape)) if axis is None else [k % len(shape) for k in np.atleast_1d(axis).astype(int)]
        expected = tuple(n for k, n in enumerate(shape) if k not in axes) if f in REDUCTIONS else shape
        assert result.shape == expected
        assert result.dtype == dtype
        assert (np.asarray(result) == -INF).all()
        gradient = f.backward(np.zeros(expected, dtype), x, axis)
        assert gradient.shape == shape
        assert gradient.dtype == dtype


def test_rows_without_entries_end():
    """There may be more of them than anything could count."""
    many = 2**40
    for shape, axis in (((many, 0), 1), ((many, 0), -1), ((0, many), 0), ((many, 0, 5), 1), ((0, many), 1)):
        x = np.empty(shape)
        for f in ROWWISE:
            assert f(x, axis).shape == shape
            assert f(x, axis, where=np.empty(shape, bool)).shape == shape
            assert f.backward(x, x, axis).shape == shape
            assert f.backward(x, output=x, axis=axis).shape == shape
            assert f(x, axis, out=x) is x
    for f in ROWWISE:
        assert f.jacobian(np.empty((many, 0))).shape == (many, 0, 0)
        assert f(np.empty((many, 0), np.float16)).shape == (many, 0)
    assert fastact.logsumexp(np.empty((0, many))).shape == (0,)
    for f in ELEMENTWISE:
        assert f(np.empty((many, 0))).shape == f.derivative(np.empty((0, many))).shape[::-1]
    for f in GATED:
        assert f(np.empty((many, 0))).shape == f.backward(np.empty((many, 0)), np.empty((many, 0))).shape == (many, 0)
