"""Outputs of rows: any layout, another dtype, in place, overlapping."""


import numpy as np
import pytest
from common import NAN, in_turn, normal, same_bits
from facts import FACTS_OF_ROWS
from row_helpers import every_call, every_dtype, every_function, every_rowwise

import fastact


@every_dtype
@in_turn("length", [3, 40, 5000])
@every_function
def test_out_of_any_layout(f, length, dtype):
    x = normal((4, length), dtype)
    for label, call in every_call(f, x):
        expected = call(x)
        shape = expected.shape
        double = tuple(2 * n for n in shape)
        every_second = (slice(None, None, 2),) * len(shape)
        plain = np.full(shape, NAN, dtype)
        for out in (plain, plain[::-1], np.full(shape, NAN, dtype, order="F"), np.full(shape[::-1], NAN, dtype).T,
                    np.full(double, NAN, dtype)[every_second], np.full(shape, NAN, np.dtype(dtype).newbyteorder())):
            assert call(x, out=out) is out, label
            assert same_bits(out.astype(dtype), expected), label
        between = np.full(double, NAN, dtype)
        call(x, out=between[every_second])
        between[every_second] = NAN
        assert np.isnan(between).all(), label


@every_dtype
@every_function
def test_out_of_another_dtype(f, dtype):
    x = normal((3, 4), dtype)
    for label, call in every_call(f, x):
        expected = call(x)
        for accepted in (np.float16, np.float32, np.float64, np.longdouble, np.complex64):
            out = np.full(expected.shape, NAN, accepted)
            assert call(x, out=out) is out, label
            np.testing.assert_array_equal(out, expected.astype(accepted), err_msg=label)
        out = np.full(expected.shape, 7)
        with pytest.raises(TypeError, match=rf"fastact\.{f.name}.*: out has the dtype int64"):
            call(x, out=out)
        assert (out == 7).all()


@every_dtype
@in_turn("length", [1, 6, 40, 300])
@every_function
def test_in_place_and_overlapping(f, length, dtype):
    """The result is as if the input had been copied first."""
    random = np.random.default_rng(length)
    for label, call in every_call(f, np.empty((6, length))):
        memory = random.standard_normal(8 * length + 64).astype(dtype)

        def block(start, memory=memory):
            return memory[start : start + 6 * length].reshape(6, length)

        for place, other in ((0, 0), (0, 1), (1, 0), (0, length), (length, 0), (5, 0), (0, 5)):
            for step in (1, -1):
                memory[:] = random.standard_normal(memory.size)
                x, out = block(place), block(other)[::step]
                expected = call(x.copy())
                if expected.ndim == 1:  # one line of the block, lengthwise or across
                    out = out[0] if label.endswith("axis 0") else out[:, 0]
                out = out[tuple(map(slice, expected.shape))]
                assert call(x, out=out) is out
                assert same_bits(out, expected), (label, place, other, step)


@every_rowwise
def test_transposed_self_as_out(f):
    x = normal((20, 20))
    expected = f(x)
    f(x, out=x.T)
    assert same_bits(x.T, expected)
    x, y = normal((20, 20)), normal((20, 20), seed=1)
    expected = f.backward(x, output=y)
    f.backward(x, output=y, out=y.T)
    assert same_bits(y.T, expected)


@every_rowwise
def test_scalar_out(f):
    out = np.array(7.0)
    assert f(3.0, out=out) is out
    assert out == f(3.0)
    assert f(3.0, where=False, out=out) is out
    assert out == FACTS_OF_ROWS[f.name].masked


@in_turn("dtype", [np.float16, np.float32, np.float64])
@in_turn("shift", [-3, 0, 3])
def test_logsumexp_backward_into_the_memory_of_dy(dtype, shift):
    """dy has another shape than the output: where it lies there, it is read before it is written over."""
    for wide in (np.float64, dtype):
        for axis, shape in ((-1, (50, 10)), (0, (10, 50))):
            memory = np.empty(8192, np.uint8)
            x = normal(shape, dtype)
            out = memory[512:][: x.nbytes].view(dtype).reshape(shape)
            start = 512 + shift * np.dtype(wide).itemsize
            dy = memory[start:][: 50 * np.dtype(wide).itemsize].view(wide)
            dy[:] = normal(50, wide, seed=1)
            expected = fastact.logsumexp.backward(dy.copy(), x, axis)
            if expected.dtype == dtype:
                assert fastact.logsumexp.backward(dy, x, axis, out=out) is out
                assert same_bits(out, expected)
