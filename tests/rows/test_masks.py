"""Rows of which intervals, masks and biases take a part; the sink, the lse, and what merge_softmax makes of parts."""

import math

import ml_dtypes
import numpy as np
import pytest
from common import DTYPES, INF, NAN, WIDE, in_turn, normal, same_bits
from hypothesis import given, settings
from hypothesis import strategies as st
from row_helpers import every_rowwise, raises

import fastact
from fastact import hardmax, log_softmax, logsumexp, merge_softmax, reference, softmax, softmin

TOLERANCES = {np.float64: 1e-13, np.float32: 3e-6, np.float16: 4e-3, ml_dtypes.bfloat16: 3e-2}

INTERVALS = [  # shape, arguments, [begin, end) of each row
    ((2, 4), {"causal": True}, [(0, 3), (0, 4)]),
    ((2, 4), {"causal": True, "offset": 0}, [(0, 1), (0, 2)]),
    ((4, 2), {"causal": True}, [(0, 0), (0, 0), (0, 1), (0, 2)]),
    ((4, 4), {"window": (1, 0), "offset": 0}, [(0, 1), (0, 2), (1, 3), (2, 4)]),
    ((4, 4), {"window": 1}, [(0, 2), (0, 3), (1, 4), (2, 4)]),
    ((3, 4), {"window": (None, 0), "offset": 0}, [(0, 1), (0, 2), (0, 3)]),
    ((3, 4), {"window": (0, None), "offset": 1}, [(1, 4), (2, 4), (3, 4)]),
    ((3, 4), {"causal": True, "window": 2, "offset": 5}, [(3, 4), (0, 0), (0, 0)]),
    ((3, 4), {"causal": True, "offset": -2}, [(0, 0), (0, 0), (0, 1)]),
    ((3, 8), {"lengths": [4, 8, 0]}, [(0, 4), (0, 8), (0, 0)]),
    ((3, 4, 8), {"lengths": [4, 8, 2], "causal": True},
     [(0, 1), (0, 2), (0, 3), (0, 4), (0, 5), (0, 6), (0, 7), (0, 8), (0, 0), (0, 0), (0, 1), (0, 2)]),
    ((2, 1, 3), {"causal": True, "offset": [0, 2]}, [(0, 1), (0, 3)]),
]


def nothing(f):
    """The value of an entry that takes no part."""
    return -INF if f is log_softmax else 0


@in_turn("shape, masks, intervals", INTERVALS)
def test_intervals(shape, masks, intervals):
    part = (softmax(np.ones(shape), **masks) > 0).reshape(-1, shape[-1])
    expected = [[begin <= key < end for key in range(shape[-1])] for begin, end in intervals]
    np.testing.assert_array_equal(part, expected)
    np.testing.assert_array_equal(reference.part_of_rows(shape, **masks).reshape(part.shape), part)


@in_turn("dtype", DTYPES)
@in_turn("shape, masks, intervals", [
    *INTERVALS,
    ((40, 300), {"causal": True}, [(0, 261 + i) for i in range(40)]),
    ((3, 5000), {"lengths": [4500, 5000, 1]}, [(0, 4500), (0, 5000), (0, 1)]),
    ((90, 90), {"window": (20, 10)}, [(max(i - 20, 0), min(i + 11, 90)) for i in range(90)]),
])
@every_rowwise
def test_bits_of_an_interval_are_those_of_the_part_alone(f, shape, masks, intervals, dtype):
    x, dy = normal(shape, dtype), normal(shape, dtype, seed=1)
    values, gradients = np.full((2, *shape), nothing(f), dtype).reshape(2, -1, shape[-1])
    gradients[...] = 0
    hostile = np.full((2, *shape), NAN, dtype).reshape(2, -1, shape[-1])
    for row, (begin, end) in enumerate(intervals):
        one, upstream = (a.reshape(-1, shape[-1])[row, begin:end] for a in (x, dy))
        values[row, begin:end] = f(one)
        gradients[row, begin:end] = f.backward(upstream, output=values[row, begin:end].copy())
        hostile[0, row, begin:end], hostile[1, row, begin:end] = one, upstream
    y = f(hostile[0].reshape(shape), **masks)
    assert same_bits(y, values.reshape(shape))
    kept = np.where(hostile[0] != hostile[0], dtype(NAN), values).reshape(shape)
    assert same_bits(f.backward(hostile[1].reshape(shape), output=kept, **masks), gradients.reshape(shape))
    if f.parameters:
        scaled = np.full_like(values, nothing(f))
        for row, (begin, end) in enumerate(intervals):
            scaled[row, begin:end] = f(x.reshape(-1, shape[-1])[row, begin:end], scale=0.3)
        assert same_bits(f(x, scale=0.3, **masks), scaled.reshape(shape))


@st.composite
def masked_calls(draw):
    """A shape, the arguments that say what takes part, and a seed."""
    outer = draw(st.sampled_from([(), (2,), (2, 3)]))
    queries, n = draw(st.integers(1, 6)), draw(st.sampled_from([1, 2, 7, 16, 33, 130, 300]))
    shape, seed = (*outer, queries, n), draw(st.integers(0, 1000))
    random = np.random.default_rng(seed)
    masks = {}
    if draw(st.booleans()):
        masks["where"] = random.random(draw(st.sampled_from([shape, shape[1:], (queries, 1), (n,)]))) < 0.7
    if draw(st.booleans()):
        bias = random.normal(size=draw(st.sampled_from([shape, (n,), (queries, n), (1, n), (queries, 1)])))
        masks["bias"] = np.where(random.random(bias.shape) < 0.2, -INF, bias)
    diagonal = draw(st.booleans())
    if diagonal:
        masks["causal"] = draw(st.booleans())
        masks["window"] = draw(st.sampled_from([None, 0, 3, (2, None), (None, 1), (5, 2)]))
        if masks["causal"] or masks["window"] is not None:
            masks["offset"] = draw(st.sampled_from([None, 0, 2, -1]))
    if draw(st.booleans()):
        rows = outer if masks.get("causal") or masks.get("window") is not None else shape[:-1]
        masks["lengths"] = random.integers(0, n + 1, rows)
    return shape, masks, draw(st.sampled_from([1.0, 0.37])), draw(st.booleans()), seed


@settings(max_examples=80, deadline=None)
@given(masked_calls(), st.sampled_from(DTYPES), st.booleans())
def test_values_are_those_of_the_definition(call, dtype, strided):
    shape, masks, scale, with_sink, seed = call
    x = normal(shape, dtype, seed)
    if "bias" in masks:
        masks["bias"] = masks["bias"].astype(np.float32 if dtype != np.float64 else dtype)
    sink = normal(shape[:-1], np.float32, 7) if with_sink else None
    part = reference.part_of_rows(shape, **masks)
    p, log_p, lse = reference.masked_rows(x, part, scale=scale, bias=masks.get("bias", 0.0),
                                          sink=-INF if sink is None else sink)
    x = np.where(part, x, dtype(NAN))
    if strided:
        x = np.asfortranarray(x)
    tolerance = TOLERANCES[dtype]
    close = {"rtol": tolerance, "atol": tolerance}
    for f, expected in ((softmax, p), (log_softmax, log_p)):
        y, computed = f(x, scale=scale, sink=sink, return_lse=True, **masks)
        assert y.dtype == dtype
        assert computed.dtype == (np.float64 if dtype == np.float64 else np.float32)
        np.testing.assert_allclose(y.astype(float), expected, **close)
        np.testing.assert_allclose(computed, lse, rtol=min(tolerance, 3e-6), atol=min(tolerance, 3e-6))
        assert (y[~part] == nothing(f)).all()
        assert same_bits(f(x, scale=scale, sink=sink, **masks), y)
        out = x.copy()
        assert f(out, scale=scale, sink=sink, out=out, **masks) is out
        assert same_bits(out, y)
    if sink is None:
        np.testing.assert_allclose(logsumexp(x, scale=scale, **masks).astype(float), lse, **close)


def float64_call(call):
    shape, masks, scale, with_sink, seed = call
    x, dy = normal(shape, seed=seed), normal(shape, seed=seed + 1)
    return x, dy, masks, scale, normal(shape[:-1], seed=7) if with_sink else None


@settings(max_examples=80, deadline=None)
@given(masked_calls())
def test_backward_is_the_jacobian_formula(call):
    x, dy, masks, scale, sink = float64_call(call)
    part = reference.part_of_rows(x.shape, **masks)
    p, log_p, lse = reference.masked_rows(x, part, scale=scale, bias=masks.get("bias", 0.0),
                                          sink=-INF if sink is None else sink)
    used = np.where(part, dy, 0)
    hostile_x, hostile_dy = np.where(part, x, NAN), np.where(part, dy, NAN)
    inner = (p * used).sum(axis=-1, keepdims=True)
    expected = {softmax: scale * p * (used - inner), log_softmax: scale * (used - p * used.sum(axis=-1, keepdims=True))}
    sums = {softmax: inner[..., 0], log_softmax: used.sum(axis=-1)}
    close = {"rtol": 1e-11, "atol": 1e-12}
    for f, value in ((softmax, p), (log_softmax, log_p)):
        hostile = np.where(part, value, NAN)
        results = [f.backward(hostile_dy, hostile_x, scale=scale, sink=sink, **masks),
                   f.backward(hostile_dy, hostile_x, scale=scale, sink=sink, lse=lse, **masks)]
        lse_of_sink = {} if sink is None else {"sink": sink, "lse": lse}
        results.append(f.backward(hostile_dy, output=hostile, scale=scale, **masks, **lse_of_sink))
        for result in results:
            gradient = result if sink is None else result[0]
            np.testing.assert_allclose(gradient, expected[f], **close)
            assert not gradient[~part].any()
            if sink is not None:
                np.testing.assert_allclose(result[1], -np.exp(sink - lse) * sums[f], **close)
    if sink is None:
        rows = normal(x.shape[:-1], seed=3)
        for given_lse in (None, lse):
            gradient = logsumexp.backward(rows, hostile_x, scale=scale, lse=given_lse, **masks)
            np.testing.assert_allclose(gradient, scale * rows[..., None] * p, **close)


@in_turn("f", [softmax, log_softmax])
def test_gradients_are_finite_differences(f):
    x, dy, bias = normal((2, 3, 9)), normal((2, 3, 9), seed=1), normal((3, 1), seed=2)
    sink, masks = normal((2, 1), seed=3), {"causal": True, "window": (4, None), "lengths": [9, 7]}
    part = reference.part_of_rows(x.shape, **masks)

    def loss(x, bias, sink):
        return (f(x, scale=0.7, bias=bias, sink=sink, **masks)[part] * dy[part]).sum()

    def difference(array, index, step=1e-6):
        moved = [array.copy(), array.copy()]
        moved[0][index] += step
        moved[1][index] -= step
        return moved, 2 * step

    gradient, of_sink = f.backward(dy, x, scale=0.7, bias=bias, sink=sink, **masks)
    of_bias = f.backward(dy, f_input(x, bias), sink=sink, **masks)[0].sum(axis=(0, 2)).reshape(3, 1)
    for index in [(0, 1, 2), (0, 2, 8), (1, 0, 4), (1, 2, 6), (0, 0, 8)]:
        (up, down), width = difference(x, index)
        numeric = (loss(up, bias, sink) - loss(down, bias, sink)) / width
        np.testing.assert_allclose(gradient[index], numeric, rtol=1e-6, atol=1e-7)
    for index in np.ndindex(*sink.shape):
        (up, down), width = difference(sink, index)
        np.testing.assert_allclose(of_sink[index], (loss(x, bias, up) - loss(x, bias, down)) / width, rtol=1e-6,
                                   atol=1e-7)
    for index in np.ndindex(*bias.shape):
        (up, down), width = difference(bias, index)
        numeric = (loss(x, up, sink) - loss(x, down, sink)) / width
        np.testing.assert_allclose(of_bias[index], numeric, rtol=1e-6, atol=1e-7)


def f_input(x, bias):
    return 0.7 * x + bias


def test_worked_examples_of_the_sink():
    p, lse = softmax([1.0, 2.0, 3.0], sink=0, return_lse=True)
    np.testing.assert_allclose(p, [0.08714432, 0.23688282, 0.64391426], atol=1e-8)
    np.testing.assert_allclose(lse, 3.4401897, atol=1e-7)
    gradient, of_sink = softmax.backward([1.0, 0.0, 0.0], output=p, sink=0.0, lse=lse)
    np.testing.assert_allclose(gradient, [0.07955019, -0.02064299, -0.05611347], atol=1e-8)
    np.testing.assert_allclose(of_sink, -0.00279373, atol=1e-8)


@in_turn("dtype", DTYPES)
def test_extreme_sinks(dtype):
    x = np.array([[1, 2, 3]] * 5 + [[-INF] * 3] * 2).astype(dtype)
    sink = np.array([-INF, 800, -800, INF, NAN, 2, -INF])
    p, lse = softmax(x, sink=sink, return_lse=True)
    log_p, lse_of_log = log_softmax(x, sink=sink, return_lse=True)
    assert same_bits(p[[0, 2]], softmax(x[:2]))
    assert same_bits(log_p[[0, 2]], log_softmax(x[:2]))
    assert not p[[1, 3]].any()
    np.testing.assert_allclose(log_p[1].astype(float), x[1].astype(float) - 800, rtol=1e-2)
    for array in (p[4], log_p[4], lse[4:5], p[6], log_p[6]):
        assert np.isnan(array).all()
    assert not p[5].any()
    assert (log_p[5] == -INF).all()
    for logs in (lse, lse_of_log):
        np.testing.assert_allclose(logs[[0, 2]], 3.4076059644, rtol=1e-6)
        np.testing.assert_array_equal(logs[[1, 3, 5, 6]], [800, INF, 2, -INF])


@in_turn("dtype", DTYPES)
def test_rows_of_which_nothing_takes_part(dtype):
    x, dy = normal((3, 4), dtype), np.full((3, 4), NAN, dtype)
    for masks in ({"where": False}, {"lengths": 0}, {"bias": -INF}, {"causal": True, "offset": -9}):
        lengths = {"lengths": np.zeros(3, int)} if "lengths" in masks else masks
        for f in (softmax, log_softmax):
            y, lse = f(x, return_lse=True, **lengths)
            assert (y == nothing(f)).all()
            assert (lse == -INF).all()
            y, lse = f(x, return_lse=True, sink=[1, 2, 3], **lengths)
            assert (y == nothing(f)).all()
            np.testing.assert_array_equal(lse, [1, 2, 3])
            assert not f.backward(dy, x, **lengths).any()
            gradient, of_sink = f.backward(dy, output=y, sink=[1, 2, 3], lse=lse, **lengths)
            assert not gradient.any()
            assert not of_sink.any()
        assert (logsumexp(x, **lengths) == -INF).all()
        assert not logsumexp.backward(np.ones(3, dtype), x, **lengths).any()
    for f in (softmin, hardmax):
        assert not f(x, causal=True, offset=-9).any()


def test_what_takes_part_and_is_not_finite():
    x = np.array([[NAN, 1, 2], [INF, 1, 2], [-INF, -INF, 5], [-INF, 1, 5]])
    for masks in ({"lengths": [2] * 4}, {"where": [True, True, False]}, {"bias": [0, 0, -INF]}):
        np.testing.assert_array_equal(softmax(x, **masks), [[NAN, NAN, 0]] * 3 + [[0, 1, 0]])
        np.testing.assert_array_equal(log_softmax(x, **masks), [[NAN, NAN, -INF]] * 3 + [[-INF, 0, -INF]])
        np.testing.assert_array_equal(logsumexp(x, **masks), [NAN, INF, -INF, 1])
    np.testing.assert_array_equal(softmax(np.zeros((2, 2)), bias=[[INF, 0], [NAN, 0]]), np.full((2, 2), NAN))
    assert math.isnan(softmax([-INF, -INF], return_lse=True)[0][0])


@in_turn("dtype", WIDE)
def test_a_bias_is_added_as_a_rounded_sum(dtype):
    x, bias = normal((6, 40), dtype), normal((40,), dtype, seed=1)
    assert same_bits(softmax(x, bias=bias), softmax(x + bias))
    for bad in (dtype(-1e9), np.finfo(dtype).min):      # numbers, not masks
        both = softmax(np.zeros((1, 4), dtype), bias=np.array([0, bad, bad, 0], dtype))
        np.testing.assert_array_equal(both, [[0.5, 0, 0, 0.5]])
        np.testing.assert_array_equal(softmax(np.zeros(4, dtype), bias=np.full(4, bad)), [0.25] * 4)


@in_turn("f", [softmax, log_softmax])
@in_turn("dtype", DTYPES)
def test_any_axis_has_the_bits_of_the_last(f, dtype):
    x, bias = normal((5, 60, 7), dtype), normal((60, 1), np.float32, seed=1)
    where, lengths = np.random.default_rng(0).random(x.shape) < 0.7, np.random.default_rng(1).integers(0, 61, (5, 7))
    last = f(np.moveaxis(x, 1, -1).copy(), bias=bias[:, 0], where=np.moveaxis(where, 1, -1), lengths=lengths,
             sink=0.5, return_lse=True)
    y, lse = f(x, 1, bias=bias, where=where, lengths=lengths, sink=0.5, return_lse=True)
    assert same_bits(np.moveaxis(y, 1, -1), last[0])
    assert same_bits(lse, last[1])
    gradient = f.backward(x, output=y, axis=1, where=where, lengths=lengths)
    moved = f.backward(np.moveaxis(x, 1, -1), output=last[0], where=np.moveaxis(where, 1, -1), lengths=lengths)
    assert same_bits(np.moveaxis(gradient, 1, -1), moved)
    flat = f(x.transpose(1, 0, 2).reshape(60, 35), where=where.transpose(1, 0, 2).reshape(60, 35))
    assert same_bits(f(x, (0, 2), where=where).transpose(1, 0, 2).reshape(60, 35), flat)


def test_threads_give_the_same_bits():
    x, bias = normal((64, 3000), np.float32), normal((3000,), np.float32, seed=1)
    long = normal((2, 70_000), np.float32)
    calls = [lambda: softmax(x, causal=True), lambda: softmax(x, bias=bias, window=(1000, 5)),
             lambda: log_softmax(x, where=bias > 0, return_lse=True)[1],
             lambda: softmax.backward(x, x, lengths=np.arange(64) * 40),
             lambda: softmax(long, lengths=[70_000, 50_001]), lambda: log_softmax(long, where=long > 0)]
    for call in calls:
        with fastact.threads(1):
            alone = call()
        with fastact.threads(2):
            assert same_bits(call(), alone)


@in_turn("f", [softmax, log_softmax, logsumexp])
@in_turn("dtype", [np.float16, ml_dtypes.bfloat16])
def test_16_bits_to_float32_without_rounding_between(f, dtype):
    x = normal((5, 40), dtype)
    expected = f(x.astype(np.float32))
    assert same_bits(f(x, dtype=np.float32), expected)
    out = np.empty(expected.shape, np.float32)
    assert f(x, out=out) is out
    assert same_bits(out, expected)
    assert f(x.astype(np.float32), dtype=dtype).dtype == dtype
    assert same_bits(f(x, dtype=np.float32, where=x > 0), f(x.astype(np.float32), where=x > 0))
    if f is not logsumexp:
        wide = f.backward(x, output=f(x), out=np.empty(x.shape, np.float32))
        assert same_bits(wide, f.backward(x.astype(np.float32), output=f(x).astype(np.float32)))


def test_logsumexp_with_a_factor():
    x = normal((7, 300))
    for scale, temperature in ((0.3, 1.0), (2.0, 3.0), (1e-3, 1e-4)):
        factor = scale / temperature
        largest = x.max(axis=-1)
        expected = factor * largest + np.log(np.exp(factor * (x - largest[:, None])).sum(axis=-1))
        given_factors = {"scale": scale, "temperature": temperature}
        np.testing.assert_allclose(logsumexp(x, **given_factors), expected, rtol=1e-14)
        np.testing.assert_allclose(logsumexp(x.T, 0, **given_factors), expected, rtol=1e-14)
        gradient = logsumexp.backward(np.ones(7), x, **given_factors)
        np.testing.assert_allclose(gradient, factor * softmax(x, **given_factors), rtol=1e-14)


@in_turn("dtype", DTYPES)
def test_merged_parts_are_the_whole(dtype):
    x, values = normal((3, 4, 50)), normal((50, 6), seed=1)
    whole = softmax(x, sink=0.5) @ values
    mean, lse = np.full((3, 4, 6), NAN, dtype), np.full((3, 4), -INF, np.float32)
    for start, stop in ((0, 20), (20, 20), (20, 49), (49, 50)):
        p, lse_of_part = softmax(x[..., start:stop], sink=0.5 if start == 0 else -INF, return_lse=True)
        out = mean if start else None
        merged, lse = merge_softmax(mean, lse, (p @ values[start:stop]).astype(dtype), lse_of_part.astype(np.float32),
                                    out)
        assert merged.dtype == dtype
        assert lse.dtype == np.float32
        assert start == 0 or merged is mean
        mean = merged
    np.testing.assert_allclose(mean.astype(float), whole, rtol=max(TOLERANCES[dtype], 1e-6) * 2,
                               atol=max(TOLERANCES[dtype], 1e-6))
    np.testing.assert_allclose(lse, softmax(x, sink=0.5, return_lse=True)[1], rtol=1e-6)


def test_merging_what_is_left_out():
    o, lse = merge_softmax([[NAN, 1.0], [1.0, 2.0], [NAN, NAN]], [-INF, 3.0, -INF],
                           [[3.0, 4.0], [NAN, INF], [NAN, NAN]], [1.0, -INF, -INF])
    np.testing.assert_array_equal(o, [[3, 4], [1, 2], [0, 0]])
    np.testing.assert_array_equal(lse, [1, 3, -INF])
    raises(ValueError, "merge_softmax", "o2 has the shape (2,)", lambda: merge_softmax([1.0], 0.0, [1.0, 2.0], 0.0))
    raises(ValueError, "merge_softmax", "lse1 has the shape (1,)", lambda: merge_softmax([1.0], [0.0], [1.0], 0.0))
    raises(ValueError, "merge_softmax", "o1 has no dimension", lambda: merge_softmax(1.0, 0.0, 1.0, 0.0))
    raises(TypeError, "merge_softmax", "lse2 has the dtype complex", lambda: merge_softmax([1.0], 0.0, [1.0], 1j))
    raises(ValueError, "merge_softmax", "out has the shape", lambda: merge_softmax([1.0], 0.0, [1.0], 0.0, np.ones(2)))


WRONG = [
    (TypeError, "where has the dtype int64", {"where": [1, 0]}),
    (ValueError, "where has the shape (3,)", {"where": [True, True, False]}),
    (ValueError, "bias has the shape (3,)", {"bias": [0.0, 0.0, 0.0]}),
    (TypeError, "bias has the dtype complex128", {"bias": 1j}),
    (TypeError, "lengths has the dtype float64", {"lengths": [1.0, 1.0]}),
    (TypeError, "lengths has the dtype bool", {"lengths": True}),
    (ValueError, "lengths has the shape (3,)", {"lengths": [1, 1, 1]}),
    (IndexError, "lengths holds 3; accepted is 0 to 2", {"lengths": [3, 0]}),
    (IndexError, "lengths holds 3; accepted is 0 to 2", {"lengths": [3, -1]}),
    (IndexError, "lengths holds -1; accepted is 0 to 2", {"lengths": [2, -1]}),
    (ValueError, "lengths has the shape (1, 2)", {"lengths": [[1, 2]]}),
    (TypeError, "causal must be True or False, got 1", {"causal": 1}),
    (ValueError, "offset is given without causal or window", {"offset": 0}),
    (TypeError, "offset has the dtype float64", {"causal": True, "offset": 0.5}),
    (ValueError, "offset is out of range; accepted is up to 2^60", {"causal": True, "offset": np.uint64(2**64 - 1)}),
    (ValueError, "offset is out of range; accepted is up to 2^60", {"causal": True, "offset": -(2**61)}),
    (TypeError, "window must be an integer", {"window": 0.5}),
    (ValueError, "window is (-1, 0)", {"window": (-1, 0)}),
    (ValueError, "window has 3 numbers", {"window": (1, 2, 3)}),
    (ValueError, "causal and window take rows along the last axis", {"causal": True, "axis": 0}),
    (ValueError, "lengths, causal and window take rows along one axis", {"lengths": 1, "axis": (0, 1)}),
]


@in_turn("error, text, arguments", [
    *WRONG,
    (ValueError, "sink has the shape (3,)", {"sink": [0.0, 0.0, 0.0]}),
    (TypeError, "return_lse must be True or False", {"return_lse": 1}),
    (TypeError, "dtype is int64", {"dtype": int}),
    (TypeError, "dtype has the dtype complex64", {"dtype": np.complex64}),
    (TypeError, "unknown argument lse", {"lse": 0.0}),
])
def test_wrong_arguments(error, text, arguments):
    out = np.full((2, 2), 7.0)
    for f in (softmax, log_softmax):
        raises(error, f.name, text, lambda f=f: f(np.ones((2, 2)), out=out, **arguments))
    assert (out == 7).all()


@in_turn("error, text, arguments", [
    *WRONG,
    (ValueError, "lse has the shape (3,)", {"lse": [0.0, 0.0, 0.0]}),
])
def test_wrong_arguments_of_backward(error, text, arguments):
    out, x = np.full((2, 2), 7.0), np.ones((2, 2))
    for f in (softmax, log_softmax):
        raises(error, f"{f.name}.backward", text, lambda f=f: f.backward(x, x, out=out, **arguments))
        if "lse" not in arguments:
            raises(error, f"{f.name}.backward", text, lambda f=f: f.backward(x, output=x, out=out, **arguments))
    dy = np.ones(2) if arguments.get("axis") != (0, 1) else 1.0
    raises(error, "logsumexp.backward", text, lambda: logsumexp.backward(dy, x, out=out, **arguments))
    assert (out == 7).all()


def test_arguments_that_a_function_does_not_have():
    for f in (softmin, hardmax):
        for name in ("bias", "sink", "return_lse"):
            raises(TypeError, f.name, f"unknown argument {name}", lambda f=f, name=name: f([1.0], **{name: 1.0}))
    for name in ("sink", "return_lse"):
        raises(TypeError, "logsumexp", f"unknown argument {name}", lambda name=name: logsumexp([1.0], **{name: 1.0}))
    for arguments in ({"sink": 0.0}, {"lse": 0.0}):
        with pytest.raises(TypeError, match="accepted with output are both sink and lse"):
            softmax.backward([1.0], output=[1.0], **arguments)
    raises(ValueError, "softmax", "causal and window take rows along the last axis",
           lambda: softmax([1.0, 2.0], causal=True))
