"""Losses of sigmoid: loss, gradient and Hessian against the reference, other libraries' values, any layout."""

import inspect
import itertools
import math

import mpmath
import numpy as np
import pytest
from common import DTYPES, HALF, INF, NAN, WIDE, each, in_turn, normal, same_bits
from facts import FACTS_OF_SIGMOID_LOSSES

import fastact
from fastact import reference, sigmoid_cross_entropy, sigmoid_focal, sigmoid_losses

LOSSES = [getattr(fastact, name) for name in sigmoid_losses.LOSSES]
every_loss = each("loss", LOSSES)
every_dtype = in_turn("dtype", WIDE)
ULP = 6  # the error of one case; of two cases, relative to the sum of both


def values(dtype, count=4000):
    """Logits of every size, both signs."""
    random = np.random.default_rng(3)
    top = 100 if dtype == np.float32 else 740
    return np.concatenate([random.standard_normal(count) * 4, random.uniform(-top, top, count),
                           10.0 ** random.uniform(-30, 2, count), [0.0, -0.0, 1e-40, 60, -60]]).astype(dtype)


def right_of(name, mode, x, y, *parameters):
    """In float64 for float32, and with mpmath for some of float64."""
    if x.dtype == np.float32:
        return reference.evaluate(name, mode, x, y, *parameters)
    return reference.evaluate(name, mode, x, y, *parameters, m=reference.mpmath_namespace(40))


@every_dtype
@every_loss
def test_results_are_the_reference(loss, dtype):
    x = values(dtype, 4000 if dtype == np.float32 else 30)
    name = loss.__name__
    for parameters in FACTS_OF_SIGMOID_LOSSES[name].parameters:
        for y in (0.0, 1.0):
            targets = np.full_like(x, y)
            losses, gradient = loss(x, targets, "none", **parameters)
            assert losses.dtype == gradient.dtype == dtype
            exact = [right_of(name, mode, x, targets, *map(np.asarray, parameters.values()))
                     for mode in ("value", "gradient")]
            assert reference.ulp_error(losses, exact[0]).max() <= FACTS_OF_SIGMOID_LOSSES[name].ulp
            assert reference.ulp_error(gradient, exact[1]).max() <= FACTS_OF_SIGMOID_LOSSES[name].ulp
            assert same_bits(loss(x, targets, "none", gradient=False, **parameters), losses)


@every_loss
def test_reference_is_the_definition(loss):
    facts = FACTS_OF_SIGMOID_LOSSES[loss.__name__]
    exact = reference.mpmath_namespace(60)
    with mpmath.workdps(60):
        for parameters, x, y in itertools.product(facts.parameters, (-7.5, -0.3, 0.0, 2.0, 11.0), (0.0, 1.0, 0.3)):
            numbers = [mpmath.mpf(number) for number in parameters.values()]
            arguments = [np.array(x), np.array(y), *map(np.asarray, parameters.values())]
            value, slope = (np.asarray(reference.evaluate(loss.__name__, mode, *arguments, m=exact)).item()
                            for mode in ("value", "gradient"))
            definition = lambda z, y=y, numbers=numbers: facts.definition(z, mpmath.mpf(y), *numbers)  # noqa: E731
            assert mpmath.almosteq(mpmath.mpf(value), definition(mpmath.mpf(x)), rel_eps=mpmath.mpf(10) ** -40)
            step = mpmath.mpf(10) ** -18
            quotient = (definition(x + step) - definition(x - step)) / (2 * step)
            assert abs(mpmath.mpf(slope) - quotient) < mpmath.mpf(10) ** -30
            if reference.SIGMOID_LOSSES[loss.__name__].hessian:
                curvature = np.asarray(reference.evaluate(loss.__name__, "hessian", *arguments, m=exact)).item()
                second = (definition(x + step) - 2 * definition(mpmath.mpf(x)) + definition(x - step)) / step**2
                assert abs(mpmath.mpf(curvature) - second) < mpmath.mpf(10) ** -20


@in_turn("x, y, loss, slope", [      # float32; PyTorch has 0 for the first two losses or slopes, and 3.92e-44
    (20, 1, 2.0611536e-9, -2.0611536e-9), (-20, 0, 2.0611536e-9, 2.0611536e-9), (100, 1, 3.72e-44, -3.72e-44),
    (20, 0, 20, 1), (-100, 1, 100, -1), (0, 1, math.log(2), -0.5)])
def test_values_where_other_libraries_lose_digits(x, y, loss, slope):
    found, gradient = sigmoid_cross_entropy(np.float32(x), y)
    assert found == pytest.approx(loss, rel=1e-6, abs=1e-45)
    assert gradient == pytest.approx(slope, rel=1e-6, abs=1e-45)


def test_the_focal_loss_of_a_sure_right_answer():
    loss, gradient = sigmoid_focal(np.float32([20, -20]), [1, 0], "none", alpha=0.5)
    np.testing.assert_allclose(loss, [0.5 * math.exp(-60)] * 2, rtol=1e-5)
    np.testing.assert_allclose(gradient, np.array([-1.5, 1.5]) * math.exp(-60), rtol=1e-5)


@every_loss
@every_dtype
def test_infinite_logits_and_nan(dtype, loss):
    x = np.array([INF, INF, -INF, -INF, NAN, NAN], dtype)
    losses, gradient = loss(x, [1, 0, 1, 0, 1, 0], "none", **({} if loss is sigmoid_cross_entropy else {"gamma": 0.0}))
    np.testing.assert_array_equal(losses, [0, INF, INF, 0, NAN, NAN])
    wrong = [1, -1] if loss is sigmoid_cross_entropy else [0.75, -0.25]
    np.testing.assert_array_equal(gradient, [0, wrong[0], wrong[1], 0, NAN, NAN])
    zero = loss(x, 0.5, "none", sample_weight=0.0)
    assert not zero[0].any()
    assert not zero[1].any()
    if loss is sigmoid_cross_entropy:
        _, hessian = loss.gradient_and_hessian(x, 0.5, sample_weight=[0, 1, 1, 1, 0, 1])
        np.testing.assert_array_equal(hessian, [0, 0, 0, 0, 0, NAN])


def defined(x, y, q, s, smoothing):
    y = np.broadcast_to(y, x.shape) * (1 - smoothing) + smoothing / 2
    return [np.broadcast_to(s, x.shape) * reference.evaluate("sigmoid_cross_entropy", mode, x, y, q)
            for mode in ("value", "gradient", "hessian")]


@every_dtype
@in_turn("shape", [(7,), (6, 50), (3, 1, 700)])
def test_weights_smoothing_and_reductions(shape, dtype):
    random = np.random.default_rng(0)
    x, y = normal(shape, dtype, spread=6), (random.random(shape) < 0.4).astype(dtype)
    eps = 16 * float(np.finfo(dtype).eps)
    weights = (1.0, random.standard_normal((*shape[:-1], 1)))
    for q, s, smoothing in itertools.product((1.0, 2.5, random.random(shape[-1])), weights, (0.0, 0.2)):
        options = {"pos_weight": q, "sample_weight": s, "label_smoothing": smoothing}
        right = defined(x.astype(float), y, q, s, smoothing)
        for reduction, divisor in (("none", 1), ("sum", 1), ("mean", x.size)):
            loss, gradient = sigmoid_cross_entropy(x, y, reduction, **options)
            exact = right[0] if reduction == "none" else right[0].sum() / divisor
            np.testing.assert_allclose(loss, exact, rtol=eps, atol=eps * abs(right[0]).mean())
            np.testing.assert_allclose(gradient, right[1] / divisor, rtol=eps, atol=eps * abs(right[1]).max() / divisor)
            alone = sigmoid_cross_entropy(x, y, reduction, gradient=False, **options)
            assert same_bits(alone, loss)
        if not smoothing:
            gradient, hessian = sigmoid_cross_entropy.gradient_and_hessian(x, y, pos_weight=q, sample_weight=s)
            np.testing.assert_allclose(gradient, right[1], rtol=eps, atol=eps * abs(right[1]).max())
            np.testing.assert_allclose(hessian, right[2], rtol=eps, atol=eps * abs(right[2]).max())


@in_turn("dtype", DTYPES)
@every_loss
def test_dtypes_layouts_out_and_threads(loss, dtype):
    x, y = normal((30, 41), np.float64, spread=5).astype(dtype), np.random.default_rng(1).random((30, 41)) < 0.5
    wide = np.float64 if dtype == np.float64 else np.float32
    loss_none, slope = loss(x, y, "none")
    assert loss_none.dtype == wide
    assert slope.dtype == dtype
    single, single_slope = loss(x.astype(wide), y, "none")
    assert same_bits(loss_none, single)
    assert same_bits(slope, single_slope.astype(dtype))
    mean, mean_slope = loss(x, y)
    assert mean == pytest.approx(math.fsum(loss_none.ravel().tolist()) / x.size, rel=2 * float(np.finfo(wide).eps))
    assert mean.dtype == wide
    if dtype in HALF:
        found, gradient = loss(x, y, dtype=np.float32)
        assert found == mean
        assert gradient.dtype == np.float32
    strided = np.zeros((60, 82), dtype)
    strided[::2, ::2] = x
    for given in (np.asfortranarray(x), strided[::2, ::2], x[::-1][::-1], x.astype(x.dtype.newbyteorder())
                  if dtype in WIDE else x):
        for threads in (1, 3):
            with fastact.threads(threads):
                found, gradient = loss(given, y)
            assert found == mean
            assert same_bits(gradient, mean_slope)
    for targets in (y.astype(int), y.astype(np.float64), y.tolist(), y.astype(np.float16)):
        assert all(map(same_bits, loss(x, targets), (mean, mean_slope)))
    frozen = x.copy()
    frozen.flags.writeable = False
    assert same_bits(loss(frozen, y)[1], mean_slope)
    over = np.concatenate([x.ravel(), x.ravel()])
    over[20 : 20 + x.size] = x.ravel()
    overlapping = over[: x.size].reshape(30, 41), over[20 : 20 + x.size].reshape(30, 41)
    for out, given in ((np.empty_like(x), x), (np.asfortranarray(x), x), (strided[1::2, 1::2], x),
                       (frozen.copy(), None), (x.astype(np.float64), x), overlapping):
        found, written = loss(out if given is None else given, y, out=out)
        assert written is out
        assert found == mean
        assert same_bits(out.astype(dtype), mean_slope)
    for index in np.ndindex(2, 3):
        one, one_slope = loss(x[index], y[index], "none")
        assert same_bits(one, loss_none[index])
        assert same_bits(one_slope, slope[index])


@every_loss
def test_no_logits(loss):
    for shape in ((0,), (3, 0)):
        value, gradient = loss(np.empty(shape, np.float32), np.empty(shape), "mean")
        assert np.isnan(value)
        assert gradient.shape == shape
        assert loss(np.empty(shape), np.empty(shape), "sum")[0] == 0
        assert loss(np.empty(shape), np.empty(shape), "none")[0].shape == shape


@every_loss
@every_dtype
def test_large_arrays_have_the_bits_of_small_ones(loss, dtype):
    x = normal(100_003, dtype, spread=5)
    y = (np.arange(x.size) % 3 == 0).astype(dtype)
    losses, gradient = loss(x, y, "none")
    for start in (0, 17, 99_990):
        small = loss(x[start : start + 13], y[start : start + 13], "none")
        assert same_bits(small[0], losses[start : start + 13])
        assert same_bits(small[1], gradient[start : start + 13])
    with fastact.threads(3):
        assert all(map(same_bits, loss(x, y, "none"), (losses, gradient)))


@every_loss
def test_no_warning(loss):
    x = np.array([1e38, -1e38, 80, -80, 110, -110, INF, NAN, 0], np.float32)
    with np.errstate(all="raise"):
        for y in (0.0, 1.0, 0.5, 1e-60):
            for reduction in ("none", "sum", "mean"):
                loss(x, np.full(9, y), reduction)


@in_turn("keywords, error, text", [
    ({"reduction": "average"}, ValueError, "unknown reduction 'average'; accepted are mean, sum, none"),
    ({"targets": np.ones(4)}, ValueError, r"targets has the shape \(4,\); accepted is what broadcasts to \(2, 3\)"),
    ({"targets": np.ones((5, 2, 3))}, ValueError, r"targets has the shape \(5, 2, 3\)"),
    ({"targets": [["a"] * 3] * 2}, TypeError, "targets has the dtype <U1"),
    ({"targets": np.ma.zeros((2, 3))}, TypeError, "targets is a masked array"),
    ({"logits": np.zeros((2, 3), complex)}, TypeError, "logits has the dtype complex128"),
    ({"sample_weight": np.ones(2)}, ValueError, r"sample_weight has the shape \(2,\)"),
    ({"gradient": False}, ValueError, "out takes the gradient"),
    ({"gradient": None}, TypeError, "gradient must be True or False"),
    ({"out": np.zeros((3, 2))}, ValueError, r"out has the shape \(3, 2\); accepted is \(2, 3\)"),
    ({"out": np.zeros((2, 3), int)}, TypeError, "out has the dtype int64"),
    ({"dtype": "complex64"}, TypeError, "dtype is complex64"),
])
@every_loss
def test_bad_arguments(loss, keywords, error, text):
    out = np.zeros((2, 3))
    arguments = {"logits": np.ones((2, 3)), "targets": np.ones(3), "out": out} | keywords
    with pytest.raises(error, match=f"^fastact.{loss.__name__}: {text}"):
        loss(**arguments)
    assert not out.any()


@in_turn("loss, keywords, text", [
    (sigmoid_cross_entropy, {"label_smoothing": 2}, "label_smoothing is 2; accepted is 0 to 1"),
    (sigmoid_cross_entropy, {"pos_weight": np.ones(3)}, r"pos_weight has the shape \(3,\)"),
    (sigmoid_focal, {"alpha": -0.25}, "alpha is -0.25; accepted is 0 to 1"),
    (sigmoid_focal, {"gamma": -1}, "gamma is -1; accepted is 0 to 1000"),
])
def test_bad_options(loss, keywords, text):
    with pytest.raises(ValueError, match=f"^fastact.{loss.__name__}: {text}"):
        loss(np.ones(2), np.ones(2), **keywords)


def test_out_of_the_hessian():
    x, y = normal((5, 8), np.float32), np.ones((5, 8))
    right = sigmoid_cross_entropy.gradient_and_hessian(x, y)
    for k in (0, 1):
        over = x.copy()
        found = sigmoid_cross_entropy.gradient_and_hessian(over, y, out=(over, None) if k == 0 else (None, over))
        assert found[k] is over
        assert all(map(same_bits, found, right))
    with pytest.raises(ValueError, match="both arrays of out share memory"):
        sigmoid_cross_entropy.gradient_and_hessian(x, y, out=(x, x))


@every_loss
def test_docstrings_name_every_argument(loss):
    for argument in inspect.signature(loss).parameters:
        assert f"\n{argument} : " in inspect.getdoc(loss), argument
