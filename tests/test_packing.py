"""float16 and bfloat16: unpacked to float32, computed there, and rounded once, whatever way the call takes.

How accurate they are stands in test_accuracy.py, their layouts, outputs and overlaps in test_elementwise.py.
"""

import subprocess
import sys

import ml_dtypes
import numpy as np
import pytest
from common import ELEMENTWISE, HALF, LOSSES, LOSSES_OF_LABELS, ROWWISE, each, in_turn, normal, same
from processes import run_each

import fastact
from fastact import reference

DTYPES = tuple(map(np.dtype, HALF))
EVERY = np.arange(2**16, dtype=np.uint16)

every_function = each("f", ELEMENTWISE)
every_dtype = in_turn("dtype", DTYPES)


def rounded(values, dtype):
    """What NumPy and ml_dtypes make of floats: to the nearest, ties to even."""
    with np.errstate(all="ignore"):
        return values.astype(dtype)


# ------------------------------------------------------------------------------------------------------------- rounding

@every_dtype
@every_function
def test_results_are_those_of_float32_rounded_once(f, dtype):
    """Every number as x, beside every number in another order as dy."""
    x, dy = EVERY.view(dtype), np.random.default_rng(0).permutation(EVERY).view(dtype)
    wide, wide_dy = rounded(x, np.float32), rounded(dy, np.float32)
    same(f(x), rounded(f(wide), dtype))
    same(f.derivative(x), rounded(f.derivative(wide), dtype))
    same(f.backward(dy, x), rounded(f.backward(wide_dy, wide), dtype))
    for packed, number in zip(f.value_and_derivative(x), f.value_and_derivative(wide), strict=True):
        same(packed, rounded(number, dtype))
    if "backward_from_output" in f.ufuncs:
        same(f.backward(dy, output=x), rounded(f.backward(wide_dy, output=wide), dtype))


@every_dtype
def test_every_number_is_unpacked_as_it_is(dtype):
    x = EVERY.view(dtype)
    same(fastact.leaky_relu(x, 1), x)
    same(fastact.leaky_relu.ufunc(x, np.ones(x.shape, np.float32)), x)


@every_dtype
def test_every_float_is_packed_as_numpy_does_it(dtype):
    """The value of `threshold` is a float parameter, and comes out as it went in."""
    spread = np.arange(0, 2**32, 1021, dtype=np.uint64).astype(np.uint32)
    every = rounded(EVERY.view(dtype), np.float64)
    every = every[np.isfinite(every)]
    ends = every.max() + reference.ulp(every.max(), dtype) * [-0.5, 0.5, 1.5]
    halves = rounded(np.concatenate([(every[:-1] + every[1:]) / 2, ends, -ends]), np.float32)  # the ties, exactly
    values = np.concatenate([spread.view(np.float32), halves, np.nextafter(halves, -np.inf, dtype=np.float32),
                             np.nextafter(halves, np.inf, dtype=np.float32)])
    packed = fastact.threshold.ufunc(np.zeros(values.shape, dtype), np.float32(1), values)
    same(packed, rounded(values, dtype))


@every_dtype
def test_parameters_keep_their_digits(dtype):
    x = np.linspace(-8, 8, 3001).astype(dtype)
    for slope in (0.01, 1 / 3):
        wide = x.astype(np.float64)
        exact = np.where(wide < 0, np.float64(np.float32(slope)) * wide, wide)
        assert reference.ulp_error(fastact.leaky_relu(x, slope), exact).max() <= 0.5001
        same(fastact.leaky_relu(x, negative_slope=slope), fastact.leaky_relu(x[::-1], slope)[::-1])


@every_dtype
def test_results_do_not_depend_on_threads(dtype):
    x = (8 * np.random.default_rng(1).standard_normal(1_000_003)).astype(dtype)
    results = []
    for threads in (1, 2, 3):
        with fastact.threads(threads):
            results.append((fastact.softplus(x), fastact.softplus(x[::3]), fastact.tanh.backward(x, x)))
    for result in results[1:]:
        for a, b in zip(results[0], result, strict=True):
            same(a, b)
    same(results[0][1], results[0][0][::3])


# -------------------------------------------------------------------------------------------------------------- dtypes

@every_dtype
@every_function
def test_dtype_and_type_of_the_result(f, dtype):
    for call in (f, f.derivative, lambda x: f.backward(x, x), lambda x: f.value_and_derivative(x)[1]):
        for x in (np.ones(3, dtype), np.ones((2, 0), dtype), np.ones((4, 6), dtype)[::2, ::-3]):
            y = call(x)
            assert (type(y), y.dtype, y.shape) == (np.ndarray, dtype, x.shape)
        for x in (dtype.type(1.5), np.array(1.5, dtype)):
            y = call(x)
            assert type(y) is dtype.type
            assert np.array_equal(y, call(np.full(1, 1.5, dtype))[0], equal_nan=True)  # logit has none there


@every_dtype
def test_broadcasting(dtype):
    dy, x = np.arange(6).astype(dtype).reshape(3, 1, 2), np.linspace(-2, 2, 5).astype(dtype)[:, None]
    whole = [np.ascontiguousarray(one) for one in np.broadcast_arrays(dy, x)]
    same(fastact.tanh.backward(dy, x), fastact.tanh.backward(*whole))
    same(fastact.tanh.backward(dtype.type(2), x), fastact.tanh.backward(np.full(x.shape, 2, dtype), x))


def test_mixed_dtypes():
    """As NumPy promotes them; the narrowest that holds float16 and bfloat16 is float32."""
    half, brain, single, double = (np.linspace(-3, 3, 40).astype(dtype) for dtype in (*DTYPES, "f4", "f8"))
    for a, b, dtype in ((half, single, "f4"), (single, half, "f4"), (brain, single, "f4"), (single, brain, "f4"),
                        (half, brain, "f4"), (brain, half, "f4"), (half, double, "f8"), (double, brain, "f8")):
        same(fastact.sigmoid.backward(a, b), fastact.sigmoid.backward(a.astype(dtype), b.astype(dtype)))
        same(fastact.softplus(a, abs(b)), fastact.softplus(a.astype(dtype), abs(b).astype(dtype)))
    for a in (half, brain):
        assert fastact.softplus(a, abs(a)).dtype == a.dtype
        assert fastact.softplus(a, np.float32(2)).dtype == np.float32
        assert fastact.softplus(a, 2).dtype == fastact.softplus(a, beta=2.5).dtype == a.dtype
        assert fastact.sigmoid.backward(a, np.arange(40)).dtype == np.float64
        assert fastact.relu(a, dtype=np.float32).dtype == np.float32


@every_dtype
def test_output_of_another_dtype(dtype):
    x = np.linspace(-3, 3, 40).astype(dtype)
    same(fastact.sigmoid(x, out=np.empty(40, np.float32)), fastact.sigmoid(x).astype(np.float32))
    wide = x.astype(np.float32)
    same(fastact.sigmoid(wide, out=np.empty(40, dtype)), fastact.sigmoid(wide).astype(dtype))


@every_dtype
@every_function
def test_ufuncs(f, dtype):
    x = np.linspace(-3, 3, 40).astype(dtype)
    parameters = f.parameters.values()
    same(f.ufunc(x, *parameters), f(x))
    same(f.ufuncs["derivative"](x, *parameters), f.derivative(x))
    same(f.ufuncs["backward"](x, x, *parameters), f.backward(x, x))


def test_other_types_of_ml_dtypes_are_refused():
    for dtype in (ml_dtypes.float8_e4m3, ml_dtypes.float8_e5m2, ml_dtypes.int4):
        with pytest.raises(TypeError, match=f"x has the dtype {np.dtype(dtype)}; accepted are float16, bfloat16, "):
            fastact.relu(np.ones(3, dtype))


# ----------------------------------------------------------------------------------------------------------------- rows

SHAPES = [(1,), (5,), (3, 16), (100, 7), (5, 511), (4, 512), (3, 513), (2, 1000), (6, 1024), (3, 1025), (2, 9001),
          (7, 5, 3), (3, 40, 31), (2, 30, 100), (9, 1, 4), (2, 1100, 3)]


def nearly(packed, number):
    """Numbers of rows are rounded from float64, which may be another neighbour than from float32."""
    assert packed.shape == number.shape
    np.testing.assert_allclose(packed.astype(np.float64), number.astype(np.float64),
                               rtol=1.01 * float(ml_dtypes.finfo(packed.dtype).eps) / 2, atol=1e-7)


@every_dtype
@in_turn("shape", SHAPES)
def test_rows_are_those_of_float32_rounded_once(shape, dtype):
    x, dy = normal(shape, dtype), normal(shape, dtype, seed=1)
    wide, wide_dy = x.astype(np.float32), dy.astype(np.float32)
    for axis in range(len(shape)):
        for f in ROWWISE:
            y = f(x, axis)
            same(y, f(wide, axis).astype(dtype))
            same(f.backward(dy, output=y, axis=axis),
                 f.backward(wide_dy, output=y.astype(np.float32), axis=axis).astype(dtype))
            same(f.backward(dy, x, axis), f.backward(wide_dy, wide, axis).astype(dtype))
            for factors in ({"temperature": 0.7}, {"scale": 3}) if f.parameters else ():
                same(f(x, axis, **factors), f(wide, axis, **factors).astype(dtype))
                same(f.backward(dy, x, axis, **factors), f.backward(wide_dy, wide, axis, **factors).astype(dtype))
            for array, out in ((x, x.copy()), (x[..., ::-1][..., ::-1], np.empty_like(x))):
                assert f(array if out is not x else out, axis, out=out) is out
                same(out, y)
            for output in (y.copy(), np.empty_like(y)):
                same(f.backward(dy, output=y, axis=axis, out=output), f.backward(dy, output=y, axis=axis))
        sums = fastact.logsumexp(x, axis)
        assert sums.dtype == dtype
        nearly(sums, fastact.logsumexp(wide, axis))
        same(fastact.logsumexp.backward(sums, x, axis),
             fastact.logsumexp.backward(sums.astype(np.float32), wide, axis).astype(dtype))
    same(fastact.softmax(x, None), fastact.softmax(wide, None).astype(dtype))


@every_dtype
def test_rows_with_a_mask_and_strange_layouts(dtype):
    x = normal((6, 50, 20), dtype)
    wide, mask = x.astype(np.float32), np.random.default_rng(2).random((6, 50, 20)) < 0.7
    for f in ROWWISE:
        same(f(x, where=mask), f(wide, where=mask).astype(dtype))
        for view in (x[::2, ::-1, ::3], x.transpose(2, 0, 1), x[1:, 3:, 5:], np.asfortranarray(x)):
            for axis in (0, 1, 2, (0, 2), None):
                same(f(view, axis), f(view.astype(np.float32), axis).astype(dtype))
    nearly(fastact.logsumexp(x, (0, 2), where=mask), fastact.logsumexp(wide, (0, 2), where=mask))
    for f in ROWWISE:
        assert f(x[:0]).shape == (0, 50, 20) and f(x[..., :0]).dtype == dtype
        assert type(f(dtype.type(3))) is dtype.type


@every_dtype
@in_turn("length", [1000, 50_257])
def test_probabilities_add_up_to_1(length, dtype):
    p = fastact.softmax(normal((4, length), dtype)).astype(np.float64)
    # Each entry is off by half a unit at most, one way or the other.
    half_units = reference.ulp(p, dtype) / 2
    assert (abs(p.sum(axis=-1) - 1) <= half_units.sum(axis=-1)).all()
    assert (abs(p.sum(axis=-1) - 1) <= 5 * np.sqrt((half_units**2).sum(axis=-1))).all()


@every_dtype
@in_turn("shape", [(1, 300_000), (3, 100_000), (4000, 60), (100_000, 3), (2, 50_000, 2)])
def test_rows_do_not_depend_on_threads(shape, dtype):
    x, dy = normal(shape, dtype), normal(shape, dtype, seed=1)
    labels = np.random.default_rng(3).integers(shape[-1], size=shape[:-1])
    results = []
    for threads in (1, 2, 3):
        with fastact.threads(threads):
            y = fastact.softmax(x)
            results.append((y, fastact.softmax.backward(dy, output=y), fastact.log_softmax(x, -2),
                            fastact.logsumexp(x), *fastact.softmax_cross_entropy(x, labels, reduction="none")))
    for result in results[1:]:
        for a, b in zip(results[0], result, strict=True):
            same(a, b)


@every_dtype
def test_rows_of_special_numbers(dtype):
    rows = np.array([[1, np.nan, 2], [np.inf, 0, 1], [-np.inf] * 3, [-np.inf, 0, 0], [3e4, 3e4, -3e4]]).astype(dtype)
    for f in (*ROWWISE, fastact.logsumexp):
        with np.errstate(all="raise"):
            same(f(rows), f(rows.astype(np.float32)).astype(dtype))


@every_dtype
def test_jacobian(dtype):
    x = normal((3, 6), dtype)
    for f in ROWWISE:
        same(f.jacobian(x), f.jacobian(x.astype(np.float32)).astype(dtype))


@every_dtype
@in_turn("axis", [0, 1])
@in_turn("reduction", ["mean", "sum", "none"])
def test_losses(dtype, reduction, axis):
    x = normal((30, 17), dtype)
    wide = x.astype(np.float32)
    labels = np.random.default_rng(4).integers(17 if axis else 30, size=30 if axis else 17)
    targets = fastact.softmax(normal((30, 17), np.float32, seed=5), axis)
    packed = targets.astype(dtype)
    with_targets = [(loss, given, given.astype(np.float32)) for loss in LOSSES for given in (targets, packed)]
    for loss, given, expected in (*with_targets, *((loss, labels, labels) for loss in LOSSES_OF_LABELS)):
        value, gradient = loss(x, given, axis, reduction)
        wide_value, wide_gradient = loss(wide, expected, axis, reduction)
        same(gradient, wide_gradient.astype(dtype))
        same(value, wide_value)         # in float32, not rounded to 16 bits


def test_mixed_dtypes_in_rows():
    half, brain, single = (normal((4, 9), dtype) for dtype in (*DTYPES, np.float32))
    for dy, y in ((half, single), (single, brain), (half, brain), (brain, half)):
        for f in ROWWISE:
            wide = f.backward(dy.astype(np.float32), output=y.astype(np.float32))
            same(f.backward(dy, output=y), wide)
            same(f.backward(dy, y), f.backward(dy.astype(np.float32), y.astype(np.float32)))
            out = np.empty((4, 9), np.float16)
            same(f.backward(dy, output=y, out=out), wide.astype(np.float16))
        same(fastact.logsumexp.backward(dy[:, 0], y),
             fastact.logsumexp.backward(dy[:, 0].astype(np.float32), y.astype(np.float32)))


@every_dtype
def test_what_is_refused_in_rows_has_written_nothing(dtype):
    x = normal((4, 9), dtype)
    for call in (fastact.softmax, lambda x: fastact.softmax.backward(x.data, x)):
        with pytest.raises(TypeError, match="x is a masked array"):
            call(np.ma.array(x, mask=x > 0))
    for call in (fastact.softmax, lambda x, out: fastact.softmax.backward(x, x, out=out)):
        for out in (np.full((4, 8), 7, dtype), np.full((4, 9), 7)):
            with pytest.raises((ValueError, TypeError), match=r"fastact\.softmax.*: out has the"):
                call(x, out=out)
            assert (out == 7).all()


# ------------------------------------------------------------------------------------------------------------ ml_dtypes

IMPORTS = {
    "fastact first": "import fastact, ml_dtypes",
    "ml_dtypes first": "import ml_dtypes, fastact",
    "fastact in use": "import fastact; fastact.tanh(np.ones(3)); fastact.tanh(np.ones((3, 2), 'e')[:, 0]); "
                      "u = fastact.tanh.ufunc; u(np.int8(1)); import ml_dtypes",
}
USES = {
    "call": "fastact.tanh({x})",
    "strided call": "fastact.tanh(np.repeat({x}, 2)[::2])",
    "ufunc": "fastact.tanh.ufunc({x})",
    "method": "fastact.tanh.backward({x}, output={x})",
    "ufunc of two": "fastact.ufuncs.tanh_backward({x}, {x})",
    "ufunc with a parameter": "fastact.ufuncs.softplus({x}, 1.0)",
    "in place": "fastact.tanh(y := {x}.copy(), out=y)",
    "rows": "fastact.softmax({x})",
}


def python(code):
    result = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, timeout=60)
    assert result.returncode == 0, result.stderr


def test_order_of_imports():
    codes = [f"""
import sys
import numpy as np
{imports}
x = np.linspace(-2, 2, 50).astype(ml_dtypes.bfloat16)
wide = x.astype(np.float32)
for _ in range(2):
    y = {use.format(x="x")}
    assert y.dtype == x.dtype, y.dtype
    assert (y == {use.format(x="wide")}.astype(x.dtype)).all()
""" for imports in IMPORTS.values() for use in USES.values()]
    assert run_each([({}, code) for code in codes], "-W", "error") == [""] * len(codes)


def test_without_ml_dtypes():
    python("""
import sys
sys.modules["ml_dtypes"] = None
import numpy as np
import fastact
x = np.linspace(-2, 2, 50)
for dtype in ("e", "f", "d"):
    y = fastact.tanh.backward(x.astype(dtype), x.astype(dtype))
    assert y.dtype == dtype
for bad in (np.zeros(3, "V2"), np.zeros(3, "f,f"), np.zeros(3, complex)):
    for call in (fastact.tanh, fastact.tanh.ufunc, fastact.softmax):
        try:
            call(bad)
        except TypeError as error:
            assert call is fastact.tanh.ufunc or "accepted are" in str(error), error
        else:
            raise AssertionError(bad.dtype)
""")


def test_ml_dtypes_is_not_imported():
    python("import sys, numpy, fastact; fastact.tanh(numpy.ones(3, 'e')); assert 'ml_dtypes' not in sys.modules")
