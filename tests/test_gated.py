"""Gated activations: the product of an activation and another input, from two arrays or from one packed array."""

import ml_dtypes
import mpmath
import numpy as np
import pytest
from common import DTYPES, GATED, HALF, INF, NAN, WIDE, each, in_turn, normal, same
from facts import FACTS_OF_GATED
from hypothesis import given, settings
from hypothesis import strategies as st

import fastact
from fastact import _isa, reference
from fastact._engine import runtime

LAYOUTS = ("halves", "interleaved")
GATES = ("first", "second")
LIMITED = [f for f in GATED if "limit" in f.parameters]
SPECIAL = np.array([NAN, 0.0, -0.0, *(sign * one for one in (INF, 1, 3, 7, 88, 1e30, 1e-30) for sign in (1.0, -1.0))])


@pytest.fixture(scope="module", autouse=True)
def _more_threads():
    """Several threads begin with less work than they are worth, so that arrays need not be large."""
    before = runtime.set_parallel_nanoseconds(2000)
    yield
    runtime.set_parallel_nanoseconds(before)


def wide(dtype):
    """The dtype in which numbers of this one are computed."""
    return np.float32 if dtype in HALF else dtype


def composed(f, gate, other, beta=None, limit=INF, offset=0.0):
    """The value by the elementwise activation and NumPy, rounded once for 16 bits."""
    number = wide(gate.dtype.type)
    g, u = gate.astype(number), other.astype(number)
    parameters = () if beta is None else (number(beta),)
    if limit < INF:
        g, u = np.minimum(g, number(limit)), np.clip(u, number(-limit), number(limit))
    u = u if offset == 0 else u + number(offset)
    with np.errstate(all="ignore"):
        return (f.activation(g, *parameters) * u).astype(gate.dtype)


def composed_backward(f, dy, gate, other, beta=None, limit=INF, offset=0.0):
    """Both gradients, as products in the documented order."""
    number = wide(gate.dtype.type)
    upstream, g, u = (array.astype(number) for array in (dy, gate, other))
    parameters = () if beta is None else (number(beta),)
    beyond_gate = beyond_other = np.False_
    if limit < INF:
        beyond_gate, beyond_other = g >= number(limit), (u >= number(limit)) | (u < number(-limit))
        g, u = np.minimum(g, number(limit)), np.clip(u, number(-limit), number(limit))
    u = u if offset == 0 else u + number(offset)
    with np.errstate(all="ignore"):
        in_gate = np.where(beyond_gate, number(0), upstream * f.activation.derivative(g, *parameters) * u)
        in_other = np.where(beyond_other, number(0), upstream * f.activation(g, *parameters))
        return in_gate.astype(gate.dtype), in_other.astype(gate.dtype)


def inputs(dtype, shape=(7, 300), seed=0):
    """dy, gate and other input: ordinary numbers, and every pair of special ones."""
    arrays = [normal(shape, np.float64, seed + k, 4.0) for k in range(3)]
    pairs = np.meshgrid(SPECIAL, SPECIAL)
    arrays[1].reshape(-1)[: pairs[0].size], arrays[2].reshape(-1)[: pairs[1].size] = pairs[0].ravel(), pairs[1].ravel()
    with np.errstate(over="ignore"):
        return [array.astype(dtype) for array in arrays]


def packed(gate, other, layout, which, axis=-1):
    """One array of both."""
    first, second = (gate, other) if which == "first" else (other, gate)
    if layout == "halves":
        return np.concatenate([first, second], axis)
    axis %= first.ndim
    return np.stack([first, second], axis + 1).reshape(
        *first.shape[:axis], 2 * first.shape[axis], *first.shape[axis + 1 :])


# ------------------------------------------------------------------------------------------------------------- values

def test_the_reference_is_the_definition():
    points = [(g, u) for g in (-90.0, -7.5, -1.0, -0.3, 0.0, 1e-9, 0.7, 2.0, 9.0) for u in (-3.0, -0.1, 0.0, 1.0, 1e5)]
    m = reference.mpmath_namespace(50)
    for f in GATED:
        facts = FACTS_OF_GATED[f.name]
        for parameters in facts.parameters:
            for g, u in points:
                with mpmath.workdps(60):
                    exact = facts.definition(mpmath.mpf(g), mpmath.mpf(u), *map(mpmath.mpf, parameters))
                    found = np.asarray(reference.evaluate(f.name, "value", g, u, *parameters, m=m)).item()
                    assert mpmath.almosteq(found, exact, 1e-40, 1e-40), (f.name, parameters, g, u)


def test_the_gradients_of_the_reference_are_its_slopes():
    m, step = reference.mpmath_namespace(60), mpmath.mpf(2) ** -60
    g, u = (m.asarray(normal(60, seed=seed)) for seed in (1, 2))
    for f in GATED:
        for parameters in FACTS_OF_GATED[f.name].parameters:
            for mode, dg, du in (("in_gate", step, 0), ("in_other", 0, step)):
                above, below = (reference.evaluate(f.name, "value", g + sign * dg, u + sign * du, *parameters, m=m)
                                for sign in (1, -1))
                slope = (above - below) / (2 * step)
                exact = reference.evaluate(f.name, mode, g, u, *parameters, m=m)
                assert max(abs(slope - exact) / (1 + abs(exact))) < 1e-25, (f.name, mode, parameters)


@in_turn("f", GATED)
def test_examples(f):
    for arguments, keywords, expected in FACTS_OF_GATED[f.name].examples:
        np.testing.assert_allclose(f(*map(np.array, arguments), **keywords), expected, rtol=1e-9)


def rounding_errors(f, dtype):
    """Of value and gradients on many inputs: in ulp, those of the gradient in the gate beside a root in ulp of 1/4.

    The other input makes the products a little less than a power of two, where an ulp is the smallest part of them.
    """
    number = wide(dtype)
    dy, gate = (normal(200_000, seed=seed, spread=spread).astype(dtype) for seed, spread in ((5, 1), (6, 5)))
    mantissas = np.frexp(reference.evaluate(f.name, "value", gate, 1.0))[0]
    other = (np.where(mantissas == 0, 1, 1.9999 / np.where(mantissas == 0, 1, mantissas))).astype(dtype)
    dy[dy == 0] = 1
    exact = {mode: reference.evaluate(f.name, mode, gate.astype(number), other.astype(number))
             for mode in ("value", "in_gate", "in_other")}
    value, (in_gate, in_other) = f(gate, other), f.backward(dy, gate, other)
    dy, other = dy.astype(np.float64), other.astype(np.float64)
    root = abs(dy * other) * reference.ulp(np.float64(0.25), number)    # the unit beside a root of the derivative
    error, unit = abs(in_gate.astype(np.float64) - dy * exact["in_gate"]), reference.ulp(dy * exact["in_gate"], dtype)
    in_ulp = error / np.maximum(unit, root) if number is dtype else (error - 2 * root) / unit
    yield "value", reference.ulp_error(value, exact["value"])
    yield "in_gate", in_ulp
    yield "in_other", reference.ulp_error(in_other, dy * exact["in_other"])


@each("f", GATED)
def test_errors_are_within_the_promise(f):
    """One more rounding than that of the activation, and two for the gradient in the gate."""
    activation = f.activation.ulp
    promised = {"value": f.ulp["value"], "in_other": f.ulp["value"], "in_gate": 2 * activation["derivative"] + 1}
    factor = 2 if _isa.CHOSEN == "v2" else 1
    assert f.ulp["value"] <= 2 * activation["value"] + 0.5
    for dtype in (np.float32, *HALF):
        for mode, errors in rounding_errors(f, dtype):
            bound = factor * promised[mode] if dtype is np.float32 else 0.502
            assert np.nanmax(errors) <= bound, (dtype, mode, np.nanmax(errors))


@in_turn("f, dtype", [(f, dtype) for f in GATED for dtype in DTYPES])
def test_results_are_the_products_of_elementwise_results(f, dtype):
    dy, gate, other = inputs(dtype)
    same(f(gate, other), composed(f, gate, other))
    for found, expected in zip(f.backward(dy, gate, other), composed_backward(f, dy, gate, other), strict=True):
        same(found, expected)


PARAMETERS = ({"beta": 1.702}, {"limit": 7.0}, {"offset": 1.0}, {"beta": 1.702, "limit": 7.0, "offset": 1.0},
              {"limit": 1.0}, {"beta": -0.5, "limit": 3.0}, {"beta": 0.0, "offset": -2.5},
              {"limit": 1e-3, "offset": 1e-3})


@in_turn("f, dtype, parameters", [(f, dtype, one) for f in LIMITED for dtype in DTYPES for one in PARAMETERS])
def test_limits_and_offset(f, dtype, parameters):
    dy, gate, other = inputs(dtype)
    value, gradients = f(gate, other, **parameters), f.backward(dy, gate, other, **parameters)
    same(value, composed(f, gate, other, **{"beta": 1.0, **parameters}))
    for found, expected in zip(gradients, composed_backward(f, dy, gate, other, **{"beta": 1.0, **parameters}),
                               strict=True):
        same(found, expected)
    # As arrays they give the same; float32 arrays beside 16 bits make the result float32.
    arrays = {name: np.full(gate.shape[-1], number, wide(dtype)) for name, number in parameters.items()}
    with np.errstate(over="ignore"):
        same(f(gate, other, **arrays).astype(dtype), value)
        for found, expected in zip(f.backward(dy, gate, other, **arrays), gradients, strict=True):
            same(found.astype(dtype), expected)


@in_turn("f", LIMITED)
def test_at_a_limit_the_derivative_is_the_right_hand_one(f):
    gate, other = np.array([7.0, 7.5, 6.5, 1, 1, 1, NAN, 1]), np.array([1.0, 1, 1, 7, -7, -7.5, 1, NAN])
    in_gate, in_other = f.backward(np.full(8, INF), gate, other, limit=7.0)
    assert in_gate[:2].tolist() == [0, 0]
    assert in_gate[2] == INF
    assert in_other[3:6].tolist() == [0, INF, 0]
    assert np.isnan([in_gate[6], in_other[6], in_gate[7]]).all()
    value = f(np.array([INF, 9.0, -INF]), np.array([INF, -INF, 2.0]), limit=7.0)
    assert value.tolist() == [f(7.0, 7.0), f(7.0, -7.0), 0]


def test_products_do_not_overflow_on_the_way():
    dy, gate, other = np.float32([1e30]), np.float32([-50]), np.float32([1e15])
    (in_gate,), _ = fastact.swiglu.backward(dy, gate, other)
    slope = reference.evaluate("silu", "derivative", -50.0, 1.0)
    assert np.isclose(in_gate, 1e45 * slope, rtol=1e-6)


# ------------------------------------------------------------------------------------------------------------ layouts

SHAPES = ((1, 1), (3, 5), (2, 16), (40, 10), (5, 256), (3, 1000), (1, 4099), (300, 70))


@each("f", GATED)
@in_turn("dtype, shape", [(dtype, shape) for dtype in DTYPES for shape in SHAPES])
def test_packed_arrays_give_what_two_arrays_give(f, dtype, shape):
    dy, gate, other = (normal(shape, np.float64, seed).astype(dtype) for seed in (1, 2, 3))
    value, (in_gate, in_other) = f(gate, other), f.backward(dy, gate, other)
    for layout in LAYOUTS:
        for which in GATES:
            where = {"layout": layout, "gate": which}
            x, gradient = packed(gate, other, layout, which), packed(in_gate, in_other, layout, which)
            same(f(x, **where), value, where)
            same(f.backward(dy, x, **where), gradient, where)
            if f.gate == which and layout == "halves":
                same(f(x), value)
                same(f.backward(dy, x), gradient)
            columns = packed(gate.T, other.T, layout, which, axis=0)
            same(f(columns, axis=0, **where), value.T, where)
            same(f.backward(np.asfortranarray(dy).T, columns, axis=0, **where),
                 packed(in_gate.T, in_other.T, layout, which, axis=0), where)
            same(f(np.asfortranarray(x), **where), value, where)
            spread = np.full((shape[0], 6 * shape[1]), NAN, dtype)
            spread[:, ::3] = x
            same(f(spread[:, ::3], **where), value, where)
            same(f.backward(dy, spread[:, ::3], **where), gradient, where)
            same(f(x.astype(x.dtype.newbyteorder()), **where) if dtype in WIDE else f(x, **where), value, where)
    same(f(other, gate, gate="second"), value)
    swapped = f.backward(dy, other, gate, gate="second")
    same(swapped[0], in_other)
    same(swapped[1], in_gate)


@st.composite
def packed_calls(draw):
    dims = draw(st.lists(st.integers(0, 6), min_size=1, max_size=4))
    axis = draw(st.integers(-len(dims), len(dims) - 1))
    dims[axis] *= draw(st.sampled_from((1, 1, 50)))
    return (draw(st.sampled_from(GATED)), draw(st.sampled_from(DTYPES)), tuple(dims), axis,
            draw(st.sampled_from(LAYOUTS)), draw(st.sampled_from(GATES)), draw(st.permutations(range(len(dims)))),
            draw(st.booleans()))


@given(packed_calls())
@settings(max_examples=300, deadline=None)
def test_any_axis_of_any_shape(call):
    f, dtype, shape, axis, layout, which, order, into = call
    dy, gate, other = (normal(shape, np.float64, seed).astype(dtype) for seed in (1, 2, 3))
    where = {"axis": axis, "layout": layout, "gate": which}
    x = packed(gate, other, layout, which, axis)
    gradient = packed(*f.backward(dy, gate, other), layout, which, axis)
    laid = np.ascontiguousarray(x.transpose(order)).transpose(np.argsort(order))
    same(f(laid, **where), f(gate, other), call)
    same(f.backward(dy, laid, **where), gradient, call)
    if into:
        out = np.full(shape, 7, dtype)
        assert f(laid, out=out, **where) is out
        same(out, f(gate, other), call)
        assert f.backward(dy, laid, out=laid, **where) is laid
        same(laid, gradient, call)


@in_turn("f, count", [(f, count) for f in GATED for count in (1, 2, 3)])
def test_threads_do_not_change_a_bit(f, count):
    dy, gate, other = (normal((70, 515), np.float32, seed) for seed in (1, 2, 3))
    x = np.concatenate([gate, other], 1)
    mixed = packed(gate, other, "interleaved", "first")
    with fastact.threads(1):
        value, gradients = f(gate, other), f.backward(dy, gate, other)
    with fastact.threads(count):
        same(f(x, gate="first"), value)
        same(f(mixed, layout="interleaved", gate="first"), value)
        same(f.backward(dy, x, gate="first"), np.concatenate(gradients, 1))
        f.backward(dy, mixed, layout="interleaved", gate="first", out=mixed)
    same(mixed, packed(*gradients, "interleaved", "first"))


# ------------------------------------------------------------------------------------------------------------- outputs

@in_turn("f, dtype, shape", [(f, dtype, shape) for f in GATED for dtype in DTYPES for shape in ((40_000,), (33, 700))])
def test_outputs_may_be_inputs(f, dtype, shape):
    dy, gate, other = (normal(shape, np.float64, seed).astype(dtype) for seed in (1, 2, 3))
    value, (in_gate, in_other) = f(gate, other), f.backward(dy, gate, other)
    for k in range(2):
        arrays = [gate.copy(), other.copy()]
        assert f(*arrays, out=arrays[k]) is arrays[k]
        same(arrays[k], value)
    for first in range(3):
        for second in {0, 1, 2} - {first}:
            arrays = [dy.copy(), gate.copy(), other.copy()]
            f.backward(*arrays, out=(arrays[first], arrays[second]))
            same(arrays[first], in_gate)
            same(arrays[second], in_other)
    half = shape[-1]
    for view in (np.s_[..., :half], np.s_[..., half:]):
        x = np.concatenate([gate, other], -1)
        f(x, gate="first", out=x[view])
        same(x[view], value)
        x = np.concatenate([gate, other], -1)
        x[view] = dy
        expected = f.backward(dy, x.copy(), gate="first")
        same(f.backward(x[view], x, gate="first", out=x), expected)
    outs = np.full((2, *shape[:-1], 2 * half), 7, np.float64)
    f.backward(dy, gate, other, out=(outs[0][..., ::2], outs[1][..., ::2]))
    same(outs[0][..., ::2].astype(dtype), in_gate)
    assert (outs[..., 1::2] == 7).all()
    fresh = f.backward(dy, gate, other, out=(None, in_other))
    assert fresh[1] is in_other


@in_turn("shift", [-17, -1, 1, 17])
def test_outputs_that_overlap_are_right(shift):
    for dtype in DTYPES:
        memory = normal(90_040, np.float64, 3).astype(dtype)
        gate, other = memory[20:30_020], memory[40_000:70_000]
        value = fastact.swiglu(gate.copy(), other.copy())
        out = memory[20 + shift : 30_020 + shift]
        fastact.swiglu(gate, other, out=out)
        same(out, value)
        x = normal(60_000, np.float64, 3).astype(dtype)
        value = fastact.swiglu(x.copy())
        out = x[15_000 + shift : 45_000 + shift]
        fastact.swiglu(x, out=out)
        same(out, value)
        gradient = fastact.swiglu.backward(value, memory[:60_000].copy())
        fastact.swiglu.backward(value, memory[:60_000], out=memory[20 + shift : 60_020 + shift])
        same(memory[20 + shift : 60_020 + shift], gradient)


# ----------------------------------------------------------------------------------------------------------- arguments

def test_an_array_may_have_as_many_dimensions_as_numpy_allows():
    x = np.array([2.0, 3.0]).reshape((1,) * (63 if np.__version__ >= "2" else 31) + (2,))
    for f in GATED:
        assert f(x).shape == (*x.shape[:-1], 1)
        assert f(x, axis=-1, layout="interleaved") == f(x)
        assert f.backward(f(x), x).shape == x.shape


def test_scalars_lists_integers_and_empty_arrays():
    for f in GATED:
        assert np.isscalar(f(1.0, 2.0))
        assert f(1.0, 2.0) == f(np.array([1.0]), np.array([2.0]))[0] == f([1, 2], gate="first")[()].item()
        assert f(np.float32(1), 2.0).dtype == np.float32
        assert f(np.ones(3, np.int8), np.ones(3, np.float32)).dtype == np.float64
        assert f(np.ones(3, np.float16), np.ones(3, ml_dtypes.bfloat16)).dtype == np.float32
        assert f(np.ones(3, np.float16), np.ones(3, np.float32)).dtype == np.float32
        assert f(np.empty((3, 0))).shape == (3, 0)
        assert f(np.empty((0, 4))).shape == (0, 2)
        assert f.backward(np.empty((3, 0)), np.empty((3, 0))).shape == (3, 0)
        gradients = f.backward(1.0, 1.0, 2.0)
        assert gradients == (2 * f.activation.derivative(1.0), f.activation(1.0))
        dx = f.backward(np.ones(2, np.float16), np.ones(4, ml_dtypes.bfloat16))
        assert dx.dtype == np.float32
        assert f.backward(np.ones(2, np.float32), np.ones(4)).dtype == np.float64


REFUSED = (
    (lambda f, x: f(x, x[:2]), ValueError, r"the shapes differ: a \(6,\), b \(2,\); accepted is one shape"),
    (lambda f, x: f(x, 1.0), ValueError, r"the shapes differ"),
    (lambda f, x: f.backward(x[:1], x, x), ValueError, r"the shapes differ: dy \(1,\)"),
    (lambda f, x: f(x[:5]), ValueError, r"axis -1 has the length 5; accepted is an even one"),
    (lambda f, x: f(1.0), ValueError, r"got 0 dimensions"),
    (lambda f, x: f(x, axis=(0,)), ValueError, r"accepted is one axis"),
    (lambda f, x: f(x, axis=None), ValueError, r"accepted is one axis"),
    (lambda f, x: f(x, axis=1), np.exceptions.AxisError, r"axis 1 is out of bounds"),
    (lambda f, x: f(x, axis="x"), TypeError, r"axis must be an integer"),
    (lambda f, x: f(x, layout="packed"), ValueError, r"layout is 'packed'; accepted are halves, interleaved"),
    (lambda f, x: f(x, gate="left"), ValueError, r"gate is 'left'; accepted are first, second"),
    (lambda f, x: f(x, x, layout="interleaved"), TypeError, r"got two arrays"),
    (lambda f, x: f(x, x, axis=0), TypeError, r"got two arrays"),
    (lambda f, x: f(x, x, dim=0), TypeError, r"unknown argument dim; did you mean axis"),
    (lambda f, x: f(x, x, slope=2), TypeError, r"unknown argument slope"),
    (lambda f, x: f("x"), TypeError, r"a has the dtype"),
    (lambda f, x: f(x, x.astype(complex)), TypeError, r"b has the dtype complex128"),
    (lambda f, x: f(np.ma.array(x), x), TypeError, r"a is a masked array"),
    (lambda f, x: f(np.ma.array(x)), TypeError, r"a is a masked array"),
    (lambda f, x: f(x, x, out=x[:3]), ValueError, r"out has the shape \(3,\); accepted is \(6,\)"),
    (lambda f, x: f(x, x, out=[0.0] * 6), TypeError, r"out must be an ndarray"),
    (lambda f, x: f(x, out=x), ValueError, r"out has the shape \(6,\); accepted is \(3,\)"),
    (lambda f, x: f.backward(x, x), ValueError, r"dy has the shape \(6,\); accepted is that of the value, \(3,\)"),
    (lambda f, x: f.backward(x, x, x, out=x), TypeError, r"out is a ndarray; accepted is a tuple of two arrays"),
    (lambda f, x: f.backward(x, x, x, out=(x, x[:1])), ValueError, r"out has the shape \(1,\)"),
    (lambda f, x: f.backward(x[:3], x, out=x[:3]), ValueError, r"out has the shape \(3,\); accepted is \(6,\)"),
    (lambda f, x: f.backward(x[:3], x, out=x.astype(np.int64)), TypeError, r"out has the dtype int64"),
)


@in_turn("f", GATED)
def test_what_is_refused_names_the_argument_and_writes_nothing(f):
    for call, error, message in REFUSED:
        x = np.arange(6.0)
        with pytest.raises(error, match=message) as raised:
            call(f, x)
        assert f"fastact.{f.name}" in str(raised.value), message
        assert (x == np.arange(6.0)).all(), message


@in_turn("f", LIMITED)
def test_limits_that_are_refused(f):
    x = np.ones(4, np.float32)
    for number in (0.0, -1.0, -INF, 0, 1e-60, [1.0, 0.0]):
        with pytest.raises(ValueError, match=r"limit is .*; accepted is 0 to inf, but not 0"):
            f(x, limit=number)
    for number in (INF, 10**400, 1e39):
        with pytest.raises(ValueError, match="offset is"):
            f(x, offset=number)
    assert f(x, limit=np.float64(2.0), beta=None).dtype == np.float64
    assert np.isnan(f(x, limit=NAN)).shape == (2,)
