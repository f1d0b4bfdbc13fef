"""Every elementwise activation, by the fast path and by its ufunc: any array, layout and output, and what is refused.

How accurate they are stands in test_accuracy.py; here bits are compared.
"""

import copy
import math
import pickle
import sys

import ml_dtypes
import numpy as np
import pytest
from common import DTYPES, ELEMENTWISE, INF, NAN, WIDE, each, in_turn, normal, same
from facts import FACTS
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from row_helpers import exact

import fastact
from fastact import reference

FROM_OUTPUT = [f for f in ELEMENTWISE if "backward_from_output" in f.ufuncs]
LENGTHS = [0, 1, 2, 3, 7, 8, 15, 16, 17, 31, 32, 33, 127, 128, 129, 1000, 4095, 4096, 4097, 40_000]

every_function_of_facts = each("f", [f for f in ELEMENTWISE if f.name in FACTS])
every_function = each("f", ELEMENTWISE)
every_dtype = in_turn("dtype", DTYPES)


def numbers(shape, dtype=np.float64, seed=0, spread=8.0):
    return normal(shape, dtype, seed, spread)


def sums(terms, axes):
    """Over these axes, each rounded once."""
    axes = tuple(axes)
    rows = np.moveaxis(terms, axes, range(len(axes))).astype(float)
    kept = rows.shape[len(axes):]
    rows = rows.reshape(-1, math.prod(kept))
    return np.array([math.fsum(column) for column in rows.T.tolist()]).reshape(kept)


def calls(f):
    """Every mode as a function of one array."""
    modes = {
        "value": f,
        "derivative": f.derivative,
        "backward": lambda x, **keywords: f.backward(x[..., ::-1] if x.ndim else x, x, **keywords),
        "value of both": lambda x: f.value_and_derivative(x)[0],
        "derivative of both": lambda x: f.value_and_derivative(x)[1],
    }
    if f in FROM_OUTPUT:
        modes["backward from output"] = lambda x, **keywords: f.backward(x, output=x, **keywords)
    return modes


# ------------------------------------------------------------------------------------------------- value and derivative

@every_dtype
@every_function
def test_modes_agree(f, dtype):
    x, dy = numbers(5000, dtype), numbers(5000, dtype, seed=1)
    if dtype in WIDE:  # others are rounded once, at the end: tests/test_packing.py
        same(f.backward(dy, x), dy * f.derivative(x))
    value, derivative = f.value_and_derivative(x)
    same(value, f(x))
    same(derivative, f.derivative(x))


@each("f", FROM_OUTPUT)
def test_backward_from_output(f):
    x, dy = numbers(5000, spread=2.0), numbers(5000, seed=1)
    np.testing.assert_allclose(f.backward(dy, output=f(x)), f.backward(dy, x), rtol=1e-12, atol=1e-12)
    same(f.backward(dy, output=f(x)), f.backward(dy=dy, output=f(x)))


@every_function_of_facts
def test_derivative_is_the_slope(f):
    """Central differences of the reference: the formula of the derivative itself, without the one in the reference."""
    x = numbers(300, spread=3.0)
    x = x[abs(x) > 1e-3]
    if np.isfinite(FACTS[f.name].domain).all():
        low, high = FACTS[f.name].domain
        x = np.random.default_rng(0).uniform(low + 0.1 * (high - low), high - 0.1 * (high - low), 300)
    step = np.longdouble(1e-6)
    wide = x.astype(np.longdouble)
    slope = (reference.evaluate(f.name, "value", wide + step) - reference.evaluate(f.name, "value", wide - step))
    np.testing.assert_allclose(f.derivative(x), (slope / (2 * step)).astype(float), rtol=1e-9, atol=1e-11)


@every_dtype
def test_at_a_kink_the_derivative_is_the_right_hand_one(dtype):
    for name, facts in FACTS.items():
        for at, slope in facts.kinks.items():
            x = dtype(at)
            if np.float32(x) < np.float32(at):  # 16 bits hold no such number: the next one to the right
                x = np.nextafter(x, dtype(INF))
            assert fastact.get(name).derivative(x) == dtype(slope), f"derivative of {name} at {at}"


@every_dtype
@every_function_of_facts
def test_special_values(f, dtype):
    facts = FACTS[f.name]
    x = np.array([-INF, -0.0, 0.0, INF, NAN] * 4, dtype)  # a vector and a rest
    for call, values in ((f, facts.values), (f.derivative, facts.slopes)):
        computed, expected = call(x), np.array([*values, NAN] * 4, dtype)
        if not facts.zero_is_special:
            zeros = x == 0
            np.testing.assert_allclose(computed[zeros].astype(float), expected[zeros].astype(float),
                                       rtol=4 * float(ml_dtypes.finfo(dtype).eps))
            expected[zeros] = computed[zeros]
        same(computed, expected)
        for one, value in zip(x, expected, strict=True):
            same(call(one), value)


@every_dtype
@in_turn("beta", [-1.3, 0.5, 1.3])
def test_zero_keeps_its_sign_in_silu_of_any_beta(beta, dtype):
    x = np.array([-0.0, 0.0] * 10, dtype)
    same(fastact.silu(x, beta), x)


@every_dtype
@every_function_of_facts
def test_shape_of_the_function(f, dtype):
    """Odd functions stay odd, bounded ones bounded, and no monotone one steps back by more than an ulp."""
    x = np.sort(np.concatenate([numbers(100_000, dtype, k, spread) for k, spread in enumerate((8, 1e-3, 60))]))
    y = f(x)
    facts = FACTS[f.name]
    low, high = facts.range
    known = y[~np.isnan(y)]             # logit has none outside of (0, 1)
    assert known.min() >= min(low, dtype(low))
    assert known.max() <= max(high, dtype(high))
    if facts.odd:
        same(f(-x), -y)
    if facts.monotone:
        y = y[np.isfinite(y)]
        before, after = y[:-1][y[:-1] > y[1:]], y[1:][y[:-1] > y[1:]]
        assert (before - after <= np.spacing(abs(after))).all()


CLIPS = [-1.5, -0.17, -0.1, 0.0, 0.5, 3.0]


@in_turn("dtype", WIDE)
@in_turn("low", CLIPS)
def test_gelu_clipped_of_any_limits(low, dtype):
    """Also where a limit is met twice, on the falling and on the rising side of the minimum."""
    for high in [*(clip for clip in CLIPS if clip > low), INF]:
        x = np.concatenate([numbers(3000, dtype), np.array([-0.75, 0.0, -INF, INF, NAN], dtype)])
        low, high = dtype(low), dtype(high)
        y, slope = fastact.gelu_clipped.value_and_derivative(x, low, high)
        same(y, np.clip(fastact.gelu(x), low, high))
        inside = (y > low) & (y < high)
        same(slope[inside], fastact.gelu.derivative(x)[inside])
        beyond = (fastact.gelu(x) < low) | (fastact.gelu(x) > high)
        assert (slope[beyond] == 0).all()
    assert fastact.gelu_clipped.derivative(dtype(10)) == 1        # gelu(10) is a little less
    assert fastact.gelu_clipped.derivative(np.nextafter(dtype(10), dtype(11))) == 0


@in_turn("dtype", WIDE)
@in_turn("mu, sigma", [(0, 1), (-3, 0.1), (1e3, 20), (0.707107, 0.282095), (1e-3, 1e-6)])
def test_laplace_of_any_mean_and_deviation(mu, sigma, dtype):
    mu, sigma = dtype(mu), dtype(sigma)
    random = np.random.default_rng(5)
    x = (mu + sigma * np.concatenate([random.normal(0, 3, 1000), random.uniform(-40, 40, 500)])).astype(dtype)
    for mode, call in (("value", fastact.laplace), ("derivative", fastact.laplace.derivative)):
        exact = reference.evaluate("laplace", mode, x, mu, sigma, m=reference.mpmath_namespace(40))
        assert reference.ulp_error(call(x, mu, sigma), exact).max() <= 2 * fastact.laplace.ulp[mode]
    same(fastact.laplace(np.array([-INF, INF, NAN], dtype), mu, sigma), np.array([0, 1, NAN], dtype))


@every_dtype
def test_sqrt_softplus_is_not_0_where_softplus_is(dtype):
    x = dtype(-1.5 * abs(np.log(float(np.finfo(np.float64).tiny if dtype == np.float64 else 2.0**-126))))
    if dtype != np.float16:             # whose smallest number is 6e-8
        assert fastact.softplus(x) == 0 < fastact.sqrt_softplus(x)


@every_dtype
def test_logit_clips_to_the_middle(dtype):
    """The same as of numbers that NumPy has clipped; the derivative is 0 outside, at both ends that of the right."""
    f = fastact.logit
    wide = np.float64 if dtype == np.float64 else np.float32         # in which 16-bit numbers are computed
    x = np.array([-INF, -2, -0.0, 0, 1e-7, 1e-3, 0.125, 0.25, 0.3, 0.5, 0.7, 0.75, 0.875, 1 - 1e-3, 1, 2, INF, NAN] * 2,
                 dtype)
    dy = numbers(len(x), dtype)
    for eps in (1e-6, 0.125, 0.25, 0.5, 0.0):
        low, high = wide(eps), wide(1) - wide(eps)
        clipped = np.clip(x.astype(wide), low, high)
        expected = f(clipped).astype(dtype)
        inside = ~((x.astype(wide) < low) | (x.astype(wide) >= high))
        slope = np.where(inside, f.derivative(x.astype(wide)), 0).astype(wide)
        with np.errstate(over="ignore"):  # in float16
            gradient, slope = (dy.astype(wide) * slope).astype(dtype), slope.astype(dtype)
        for one in (eps, np.full(x.shape, eps, wide)):
            if isinstance(one, float) or dtype in WIDE:
                same(f(x, one), expected)
                same(f(x, eps=one), expected)
                same(f.derivative(x, eps=one), slope)
                value, derivative = f.value_and_derivative(x, one)
                same(value, expected)
                same(derivative, slope)
                same(f.backward(dy, x, eps=one), gradient)
        assert f.with_defaults(eps=eps)(dtype(0.3)) == f(dtype(0.3), eps)
        if dtype in WIDE and eps < 0.5:
            y = np.linspace(f(low), f(high), 9)[1:-1] if eps else numbers(7)
            y = np.concatenate([y, [f(low), f(high), NAN]]).astype(dtype)
            slopes = f.backward(np.ones_like(y), output=y, eps=eps)
            same(slopes[:-3], f.backward(np.ones_like(y), output=y)[:-3])
            same(slopes[-3:], np.array([0, 0, NAN], dtype))


@every_dtype
def test_none_is_the_default_of_a_parameter(dtype):
    x, dy = np.linspace(-0.5, 1.5, 41).astype(dtype), numbers(41, dtype)
    for eps in (None, 1.0, 0.75):  # which clip nothing
        same(fastact.logit(x, eps), fastact.logit(x))
        same(fastact.logit.derivative(x, eps=eps), fastact.logit.derivative(x))
        same(fastact.logit.backward(dy, x, eps), fastact.logit.backward(dy, x))
    same(fastact.hard_tanh(x, None, max_value=0.25), fastact.hard_tanh(x, -1, 0.25))
    g = fastact.logit.with_defaults(eps=0.25)
    same(g(x, None), g(x))
    with pytest.raises(TypeError, match="x has the dtype object"):
        fastact.logit(None)


@every_function
def test_subnormal_results_are_not_flushed(f):
    x = np.array([-100.0, -95.0, 1e-40, -1e-40], np.float32)
    exact = reference.evaluate(f.name, "value", x, *map(np.float32, f.parameters.values()))
    assert reference.ulp_error(f(x), exact).max() <= 1.5


@every_function
def test_finite_input_raises_no_flag(f):
    ends = [0, 1e-45, 1e-38, 0.5, 3, 88, 104, 1e4, 3.4e38, INF, NAN]
    for dtype in DTYPES:
        with np.errstate(over="ignore"):
            x = np.array(ends + [-one for one in ends]).astype(dtype)
        for call in (f, f.derivative, f.value_and_derivative, lambda x: f.backward(np.ones_like(x), x)):
            with np.errstate(all="raise"):
                call(x)
                call(x[::2])


@every_dtype
def test_hard_sigmoid_of_any_slope(dtype):
    x = numbers(1000, dtype)
    number = dtype if x.itemsize > 2 else np.float32        # of 16-bit arrays too the parameters are float32
    near = max(1e-5, float(ml_dtypes.finfo(dtype).eps))
    for slope, offset in ((0.2, 0.5), (-0.25, 0.25), (1 / 6, 0.25), (0, 0.5)):
        line = number(slope) * x.astype(np.longdouble) + number(offset)
        np.testing.assert_allclose(fastact.hard_sigmoid(x, slope, offset).astype(float),
                                   np.clip(line, 0, 1).astype(float), rtol=near, atol=1e-6)
    for slope, offset, kinks in ((0.25, 0.5, {-2: 0.25, 2: 0}), (-0.25, 0.5, {-2: -0.25, 2: 0})):
        for at, expected in kinks.items():
            assert fastact.hard_sigmoid.derivative(dtype(at), slope, offset) == expected


@in_turn("dtype", WIDE)
@in_turn("beta", [1e-3, 0.3, 1.5, 40.0, -0.7, 1e-36, 1e30])
def test_silu_of_any_beta(dtype, beta):
    """Where |x| is large and beta small, x e^(beta x) goes from the largest number down to the smallest."""
    beta = dtype(beta)
    with np.errstate(over="ignore"):
        x = (np.linspace(-1500, 1500, 2000) / np.float64(beta)).astype(dtype)
    assert reference.ulp_error(fastact.silu(x, beta), exact("silu", "value", x, np.full_like(x, beta))).max() <= 4
    ends = fastact.silu(np.array([-INF, INF], dtype), beta)
    same(ends, np.array([-0.0, INF] if beta > 0 else [-INF, 0], dtype))


@every_dtype
def test_backward_parameter_is_the_same_for_any_layout_and_number_of_threads(dtype):
    dy, x = numbers((37, 50, 64), dtype, 1, 300.0), numbers((37, 50, 64), dtype)
    layouts = [dy, x], [np.asfortranarray(dy), np.asfortranarray(x)], [dy[::-1, ::-1][::-1, ::-1], x.copy()]
    for shape in ((), (64,), (50, 1), (37, 1, 64), (37, 1, 1)):
        slope = np.full(shape, 0.1, dtype)
        expected = fastact.prelu.backward_parameter(dy, x, slope)
        for one, other in layouts:
            for count in (1, 2, 3):
                with fastact.threads(count):
                    same(fastact.prelu.backward_parameter(one, other, slope), expected)
        order = np.random.default_rng(0).permutation(37 * 50 * 64)
        if shape == ():
            same(fastact.prelu.backward_parameter(dy.ravel()[order], x.ravel()[order], slope), expected)


def test_backward_parameter_beyond_the_range():
    """A sum that has no number is inf without a warning; one that comes back into the range is right."""
    large = np.full(4, -1.5e308)
    assert fastact.prelu.backward_parameter(large, -np.ones(4)) == INF
    dy = np.array([1.5e308, 1.5e308, -1.5e308])
    assert fastact.prelu.backward_parameter(dy, -np.ones(3)) == -1.5e308


@in_turn("argument", [0, 1, 2])
def test_backward_parameter_refuses_masked_arrays(argument):
    arguments = [np.ones(3), -np.ones(3), np.full(3, 0.1)]
    arguments[argument] = np.ma.masked_array(arguments[argument], [True, False, False])
    name = ("dy", "x", "negative_slope")[argument]
    with pytest.raises(TypeError, match=rf"^fastact.prelu.backward_parameter: {name} is a masked array"):
        fastact.prelu.backward_parameter(*arguments)


@every_dtype
def test_backward_parameter(dtype):
    dy, x = numbers((4, 5, 6), dtype, 1), numbers((4, 5, 6), dtype)
    for shape in ((), (6,), (5, 1), (1, 5, 1), (4, 5, 6), (1, 1, 1)):
        slope = np.full(shape, 0.1, dtype)
        expected = dy.astype(float) * np.minimum(x, 0)
        if dy.itemsize > 2:             # of 16-bit arrays the sum alone is rounded
            expected = expected.astype(dtype)
        first = 3 - len(shape)
        summed = tuple(k for k in range(3) if k < first or shape[k - first] == 1)
        gradient = fastact.prelu.backward_parameter(dy, x, slope)
        assert gradient.shape == shape
        same(gradient, sums(expected, summed).astype(dtype).reshape(shape)[()])
    for keywords in ({}, {"parameter": None}, {"parameter": 0.25}, {"negative_slope": 0.25, "name": "negative_slope"}):
        same(fastact.prelu.backward_parameter(dy, x, **keywords), fastact.prelu.backward_parameter(dy, x, 0.25))
    nan = fastact.prelu.backward_parameter(dtype(1), dtype(NAN))
    assert np.isnan(nan)
    with pytest.raises(TypeError, match=r"fastact\.relu\.backward_parameter.*prelu"):
        fastact.relu.backward_parameter(dy, x)
    with pytest.raises(ValueError, match="broadcast"):
        fastact.prelu.backward_parameter(dy, x, np.ones(4))


# -------------------------------------------------------------------------------------------------------------- layouts

@every_dtype
@every_function
def test_the_fast_path_and_the_ufunc_have_the_same_bits(f, dtype):
    """A plain array takes the fast path; `where=True`, a stride or an offset takes the ufunc."""
    for length in LENGTHS:
        x = numbers(length, dtype)
        spread = np.zeros(3 * length + 1, dtype)[1::3]
        spread[...] = x
        unaligned = np.zeros(length * x.itemsize + 1, np.uint8)[1:].view(dtype)
        unaligned[...] = x
        assert length == 0 or not unaligned.flags.aligned
        for name, call in calls(f).items():
            case = f"{name} of {length} numbers"
            y = call(x)
            same(call(spread), y, case)
            if dtype in DTYPES[:3]:
                same(call(x.byteswap().view(x.dtype.newbyteorder())), y, case)
            same(call(unaligned), y, case)
            if "both" not in name:
                same(call(x, where=True), y, case)
                same(call(x, out=np.empty_like(x)), y, case)
                same(call(x, out=np.empty(2 * length, dtype)[::2]), y, case)
        same(f(x), f.ufunc(x, *f.parameters.values()), f"{length} numbers")


@each("f", ELEMENTWISE)
def test_prefetching_changes_no_bits(f, prefetching):
    for dtype in (np.float32, ml_dtypes.bfloat16):
        x = np.resize(numbers(4099, dtype), 2**20 // np.dtype(dtype).itemsize + 5)  # as much as pays
        for name, call in calls(f).items():
            prefetching(False)
            y = call(x)
            prefetching(True)
            same(call(x), y, name)


@every_dtype
@every_function
def test_each_element_stands_alone(f, dtype):
    """The result does not depend on where in the array a number is."""
    x = numbers(300, dtype, spread=30.0)
    for name, call in calls(f).items():
        if name == "backward":
            continue  # its dy is the reversed x
        y = call(x)
        for start in range(40):
            same(call(x[start:]), y[start:])
        same([call(x[i]) for i in range(60)], y[:60])


@every_function
@in_turn("order", ["C", "F"])
def test_shapes_and_orders(f, order):
    for shape in (), (1,), (0, 3), (7, 11), (2, 3, 4), (5, 1, 6):
        x = np.asarray(numbers(shape, np.float32), order=order)
        for name, call in calls(f).items():
            y = call(x)
            assert np.shape(y) == shape, name
            if shape:
                assert isinstance(y, np.ndarray), name
                assert y.flags.owndata, name
                assert y.flags.f_contiguous == x.flags.f_contiguous, name
            else:
                assert isinstance(y, np.float32), name
        if x.size:
            same(f(x), np.array([f(one) for one in x.ravel()], np.float32).reshape(shape), f"{shape}")


@every_function
def test_scalars_lists_and_integers(f):
    for x in (1.5, [1.5, -2.0], (0.5,), np.float32(0.5), True, 3, [1, 2], np.int8(4), np.arange(3, dtype=np.uint16)):
        dtype = np.float32 if isinstance(x, np.float32) else np.float64
        for call in (f, f.derivative):
            same(call(x), call(np.asarray(x, dtype)))
    same(f(x=[1.0, 2.0]), f(np.array([1.0, 2.0])))


@every_function
def test_broadcasting(f):
    dy, x = numbers((5, 1, 3)), numbers((4, 1), seed=1)
    same(f.backward(dy, x), np.broadcast_to(dy, (5, 4, 3)) * f.derivative(x))
    same(f.backward(2.0, x), 2 * f.derivative(x))
    same(f.backward(np.float32(2), x.astype("f")), 2 * f.derivative(x.astype("f")))
    same(f.backward(numbers(9, np.float32), numbers(9, seed=1)),
         numbers(9, np.float32).astype(float) * f.derivative(numbers(9, seed=1)))
    with pytest.raises(ValueError, match="broadcast"):
        f.backward(np.ones(3), np.ones(4))


def test_parameters_broadcast():
    x, beta = numbers((6, 5)), np.array([0.5, 1, 2, 3, -1.5])
    for call in (fastact.softplus, fastact.softplus.derivative):
        y = call(x, beta)
        same(call(x, beta=beta), y)
        same(y, np.stack([call(x[:, k].copy(), float(beta[k])) for k in range(5)], axis=1))
    same(fastact.softplus(x, 1), fastact.softplus(x))
    same(fastact.softplus(x.astype("f"), 2.0), fastact.softplus(x.astype("f"), np.float32(2)))
    same(fastact.softplus.backward(x, x, beta=2), x * fastact.softplus.derivative(x, 2))


@every_dtype
@each("f", [f for f in ELEMENTWISE if f.parameters])
def test_parameters_have_three_forms(f, dtype):
    """Numbers, arrays, or some of each: the same bits, along a plain array and a strided one."""
    x = numbers(2000, dtype)
    for chosen in ([1.0] * len(f.parameters), [0.75 - 0.5 * k for k in range(len(f.parameters))]):
        arrays = [np.full(2000, one, dtype) for one in chosen]
        mixed = [arrays[0], *chosen[1:]]
        modes = [f, f.derivative, lambda x, *p: f.value_and_derivative(x, *p)[1], lambda x, *p: f.backward(x, x, *p)]
        if f in FROM_OUTPUT:
            modes.append(lambda x, *p: f.backward(x, output=x, **dict(zip(f.parameters, p, strict=True))))
        for call in modes:
            y = call(x, *chosen)
            same(call(x, *arrays), y)
            same(call(x, *mixed), y)
            same(call(x[::2], *chosen), y[::2])
            same(call(x[::2], *(array[::2] for array in arrays)), y[::2])
        out, named = np.empty_like(x), dict(zip(f.parameters, chosen, strict=True))
        assert f(x, *chosen[:1], **dict(list(named.items())[1:]), out=out) is out
        same(out, f(x, *chosen))
        assert f.backward(x, x, **named, out=out) is out
        same(out, f.backward(x, x, *chosen))


# -------------------------------------------------------------------------------------------------------------- outputs

@every_dtype
@every_function
def test_in_place(f, dtype):
    for length in 1, 16, 33, 1000, 70_000:
        x = numbers(length, dtype)
        for name, call in calls(f).items():
            if "both" in name:
                continue
            y, z = call(x), x.copy()
            assert call(z, out=z) is z
            same(z, y, f"{name} of {length} numbers")
        dy, expected = numbers(length, dtype, 1), f.backward(numbers(length, dtype, 1), x)
        f.backward(dy, x, out=dy)
        same(dy, expected, f"{length} numbers")
        value, derivative, z = np.empty_like(x), np.empty_like(x), x.copy()
        result = f.value_and_derivative(z, out=(z, derivative))
        assert result[0] is z
        assert result[1] is derivative
        f.value_and_derivative(x, out=(value, None))
        same(value, z, f"{length} numbers")


@every_dtype
@every_function
def test_overlapping_output(f, dtype):
    """As NumPy does: the result is that of the input as it was."""
    for shift in -65, -8, -3, -1, 1, 2, 5, 8, 16, 63, 4000:
        for name, call in calls(f).items():
            if "both" in name:
                continue
            memory = numbers(12_000, dtype)
            x, out = memory[:8000], memory[abs(shift) : 8000 + abs(shift)]
            if shift < 0:
                x, out = out, x
            expected = call(x.copy())
            call(x, out=out)
            same(out, expected, f"{name}, out {shift} elements behind x")
    memory = numbers(5000, dtype)
    expected = f(memory[::-1].copy())
    f(memory[::-1], out=memory)
    same(memory, expected)


@every_function
def test_where(f):
    x, mask = numbers(100), numbers(100, seed=1) > 0
    for call in (f, f.derivative):
        out = np.full(100, 77.0)
        call(x, out=out, where=mask)
        same(out, np.where(mask, call(x), 77.0))


@every_function
def test_output_of_another_dtype(f):
    x = numbers(100, np.float32)
    same(f(x, out=np.empty(100)), f(x).astype(float))
    wide = x.astype(float)
    same(f(wide, out=np.empty(100, np.float32)), f(wide).astype(np.float32))
    with pytest.raises(TypeError, match="cast"):
        f(wide, out=np.empty(100, np.float32), casting="safe")


@every_function
def test_what_is_refused_has_written_nothing(f):
    x = numbers(100, np.float32)
    for call in (f, f.derivative, lambda x, **keywords: f.backward(x, x, **keywords)):
        frozen, short, whole = np.full(100, 7, np.float32), np.full(99, 7, np.float32), np.full(100, 7, np.int64)
        frozen.flags.writeable = False
        for out, error, words in ((frozen, ValueError, "read-only"), (short, ValueError, "broadcast|shape"),
                                  (whole, TypeError, "cast"), ([0.0] * 100, TypeError, "array")):
            with pytest.raises(error, match=words):
                call(x, out=out)
            assert (np.asarray(out) == (0 if isinstance(out, list) else 7)).all()
        out = np.full(100, 7, np.float32)
        for bad in (x.astype(complex), x.astype("S"), x.astype(object), x.astype(np.longdouble),
                    x.astype(ml_dtypes.float8_e4m3), np.zeros(100, "M8[s]"), np.array(["a"] * 100), "text", None):
            with pytest.raises(TypeError, match=rf"fastact\.{f.name}.*(x|dy).*float32"):
                call(bad, out=out)
        with pytest.raises(TypeError, match="gamma"):
            call(x, out=out, gamma=2.0)
        assert (out == 7).all()


@every_function
def test_arguments_are_checked(f):
    x = numbers(3)
    count = len(f.parameters)
    for wrong in (lambda: f(), lambda: f.backward(x), lambda: f(x, *[1.0] * (count + 1)), lambda: f(x, x=x),
                  lambda: f.derivative(), lambda: f.backward(x, x, output=x), lambda: f.backward(output=x),
                  lambda: f(None), lambda: f.backward(x, None), lambda: f.backward(x, output=None)):
        with pytest.raises(TypeError, match=rf"fastact\.{f.name}"):
            wrong()


# -------------------------------------------------------------------------------------------------------- other objects

@every_function
def test_pickle_copy_hash_and_names(f):
    assert pickle.loads(pickle.dumps(f)) is f
    assert copy.copy(f) is f
    assert copy.deepcopy(f) is f
    assert {f: 1}[fastact.get(f.name)] == 1
    assert f.__name__ == f.ufunc.__name__ == f.name
    assert f.name in repr(f)
    assert f._repr_latex_().startswith("$")


class Tagged(np.ndarray):
    pass


class Overrides:
    def __array_ufunc__(self, ufunc, method, *inputs, **keywords):
        return ufunc.__name__, method, len(inputs)


@every_function
def test_subclasses_and_other_arrays(f):
    x = numbers((4, 5)).view(Tagged)
    assert isinstance(f(x), Tagged)
    same(np.asarray(f(x)), f(np.asarray(x)))
    masked = np.ma.masked_array(numbers(5), mask=[0, 1, 0, 0, 1])
    assert isinstance(f(masked), np.ma.MaskedArray)
    assert f(Overrides()) == (f.name, "__call__", 1 + len(f.parameters))
    assert f.derivative(Overrides())[0] == f"{f.name}_derivative"


def test_memory_map(tmp_path):
    x = np.memmap(tmp_path / "x", np.float32, "w+", shape=(1000,))
    x[...] = numbers(1000, np.float32)
    same(np.asarray(fastact.tanh(x)), fastact.tanh(np.array(x)))


floats = st.sampled_from(["<f4", "<f8", ">f4", ">f8", "<f2", ">f2"])


@settings(deadline=None, max_examples=200)
@given(data=st.data(), f=st.sampled_from(ELEMENTWISE), dtype=floats)
def test_any_array(data, f, dtype):
    """Any shape, strides and bits: what each number by itself gives."""
    x = data.draw(hnp.arrays(dtype, hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=6)))
    if x.ndim:
        x = x[data.draw(hnp.basic_indices(x.shape, allow_newaxis=True))]
    x = np.asarray(x)
    native = np.ascontiguousarray(x, x.dtype.newbyteorder("=")).reshape(x.shape)
    for call in (f, f.derivative):
        expected = [call(native.dtype.type(one)) for one in native.ravel()]
        same(call(x), np.array(expected, native.dtype).reshape(x.shape))


INTEGERS = np.typecodes["AllInteger"] + "?"


@every_function
def test_integers_and_bool_are_computed_in_float64_behind_the_ufuncs(f):
    """dask, pandas, xarray and others call the ufuncs themselves back, with the arrays that they hold."""
    for mode, ufunc in f.ufuncs.items():
        for code in INTEGERS:
            x = np.array([0, 1, 5, 12], code)
            parameters = [np.float64(value) for value in f.parameters.values()]
            inputs = ufunc.nin - len(parameters)
            for shaped in (x, x[1], x[:, None], x[::2]):
                results = ufunc(*[shaped] * inputs, *parameters)
                expected = ufunc(*[shaped.astype(float)] * inputs, *parameters)
                for one, other in zip(np.atleast_1d(results), np.atleast_1d(expected), strict=True):
                    same(one, other)
                    assert one.dtype == np.float64, (mode, code)
            if inputs == 2:
                for dtype in DTYPES:
                    result = ufunc(np.ones(4, dtype), x, *parameters)
                    assert result.dtype == np.float64, (mode, code, dtype)


def test_python_numbers_take_the_dtype_of_the_arrays_behind_the_ufuncs():
    for dtype in (np.float16, np.float32, np.float64):
        x = np.array([-1, 2], dtype)
        for number in (2, 2.0):
            if np.__version__ >= "2":
                assert fastact.ufuncs.relu_backward(number, x).dtype == dtype
            assert fastact.elu(x, number).dtype == dtype
    assert fastact.ufuncs.exp(5).dtype == np.float64


class Wrapped(np.lib.mixins.NDArrayOperatorsMixin):
    """An array of another library: NumPy gives it the ufunc and its arguments."""

    def __init__(self, array):
        self.array = array

    def __array_ufunc__(self, ufunc, method, *inputs, **keywords):
        keywords.pop("dtype", None)
        return getattr(ufunc, method)(*[one.array if isinstance(one, Wrapped) else one for one in inputs])


@in_turn("code", INTEGERS)
def test_integers_of_other_libraries_are_computed_in_float64(code):
    x = np.array([1, 5, 12], code)
    same(fastact.exp(Wrapped(x)), fastact.exp(x.astype(float)))
    same(fastact.relu2(Wrapped(x)), fastact.relu2(x.astype(float)))
    same(fastact.softplus(Wrapped(x), beta=2.0), fastact.softplus(x.astype(float), beta=2.0))


def test_pandas_computes_integers_in_float64():
    pandas = pytest.importorskip("pandas")
    for dtype in ("uint8", "Int8", "UInt16", "bool", "boolean"):
        column = pandas.Series([1, 0, 1], dtype=dtype)
        for frame in (column, pandas.DataFrame({"a": column})):
            values = np.asarray(fastact.exp(frame), float).ravel()
            np.testing.assert_allclose(values, [math.e, 1, math.e], rtol=4e-16)


@pytest.mark.skipif(not hasattr(fastact.ufuncs.exp, "__dict__"), reason="this NumPy lets nothing be said of a ufunc")
@every_function
def test_no_reductions(f):
    """A function of two kinds of numbers, or of a number and a parameter, folds nothing."""
    for ufunc in f.ufuncs.values():
        if ufunc.nin != 2 or ufunc.nout != 1:
            continue
        for method, arguments in ("reduce", ()), ("accumulate", ()), ("reduceat", ([0, 2],)):
            with pytest.raises(TypeError, match=rf"^fastact.ufuncs.{ufunc.__name__}.{method}: "):
                getattr(ufunc, method)(np.ones(4), *arguments)


@pytest.mark.skipif(not hasattr(fastact.ufuncs.exp, "__dict__"), reason="this NumPy lets nothing be said of a ufunc")
def test_ufuncs_pickle_by_their_module(monkeypatch):
    """Also where a script has one under the ufunc's own name, which another process has not."""
    monkeypatch.setattr(sys.modules["__main__"], "exp", fastact.ufuncs.exp, raising=False)
    for f in ELEMENTWISE:
        for ufunc in f.ufuncs.values():
            text = pickle.dumps(ufunc)
            assert b"fastact.ufuncs" in text
            assert b"__main__" not in text
            assert pickle.loads(text) is ufunc


@every_function
@every_dtype
def test_a_python_number_takes_the_dtype_of_the_array(f, dtype):
    x = numbers(20, dtype)
    one = np.asarray(1, dtype)
    for number in (1.0, 1):
        same(f.backward(number, x), f.backward(one, x))
        same(f.backward(x, number), f.backward(x, one))
        if f in FROM_OUTPUT:
            same(f.backward(number, output=x), f.backward(one, output=x))
        for name in f.learnt:
            same(f.backward_parameter(number, x, name=name), f.backward_parameter(np.full(20, one), x, name=name))
    assert f.backward(1.0, np.arange(3)).dtype == np.float64
    assert f.backward(1.0, 2.0).dtype == np.float64


def test_a_python_number_beyond_the_dtype_is_infinite_without_a_warning():
    assert fastact.relu.backward(1e10, np.ones(1, np.float16)) == INF
    with pytest.raises(ValueError, match=r"^fastact.relu.backward: dy is an integer of \d+ bits; accepted is what"):
        fastact.relu.backward(10**400, np.ones(1))
    with pytest.raises(ValueError, match=r"^fastact.elu: alpha is an integer of \d+ bits; accepted is what float64"):
        fastact.elu(np.ones(1), 10**400)
    with pytest.raises(ValueError, match=r"^fastact.elu.with_defaults: alpha is an integer of \d+ bits; accepted is"):
        fastact.elu.with_defaults(alpha=-(10**400))


def test_defaults_are_compared_by_their_bits():
    negative = fastact.threshold.with_defaults(value=-0.0)
    assert negative is not fastact.threshold
    assert negative != fastact.threshold
    assert np.signbit(negative(np.zeros(1)))[0]
    assert negative.with_defaults(value=0.0) is fastact.threshold
    assert pickle.loads(pickle.dumps(negative)) == negative
    unknown = fastact.threshold.with_defaults(value=NAN)
    assert unknown == fastact.threshold.with_defaults(value=NAN)


class Text:
    """An array of text, as a data frame of strings is."""

    def __array__(self, dtype=None, copy=None):
        return np.array(["a", "b"], object)

    dtype = "text"


def test_what_another_librarys_object_lacks_is_said_by_name():
    with pytest.raises(TypeError, match=r"^fastact.gelu: x is a Text, as an array of the dtype object; accepted are"):
        fastact.gelu(Text())
    sparse = pytest.importorskip("scipy.sparse")
    with pytest.raises(TypeError, match=r"^fastact.gelu.backward: x is a csr_array, as an array of the dtype object"):
        fastact.gelu.backward(np.ones((3, 3)), sparse.csr_array(np.eye(3)))


def test_unknown_arguments_are_named_with_what_was_meant():
    for call, name, text in [
        (fastact.elu, "alhpa", r"unknown argument alhpa; did you mean alpha\? accepted are x, alpha, out"),
        (fastact.elu, "mask", r"unknown argument mask; did you mean where\?"),
        (fastact.elu.derivative, "zzz", r"unknown argument zzz; accepted are x, alpha, out, where"),
        (fastact.elu.with_defaults, "aplha", r"unknown argument aplha; did you mean alpha\? accepted are alpha"),
    ]:
        with pytest.raises(TypeError, match=f"^fastact.elu.*: {text}"):
            call(*[np.ones(2)] * (call != fastact.elu.with_defaults), **{name: 1.0})


def test_errstate_of_the_caller_may_raise_after_a_narrower_output_was_written():
    """The one case in which an elementwise call that raises has written; README says so."""
    out = np.zeros(2, np.float32)
    with np.errstate(over="raise"), pytest.raises(FloatingPointError):
        fastact.exp(np.array([1.0, 500.0]), out=out)
    with np.errstate(over="raise"):
        fastact.softmax(np.array([1.0, 500.0]), out=out)
        assert (fastact.exp(np.array([1.0, 500.0])) > 1).all()
