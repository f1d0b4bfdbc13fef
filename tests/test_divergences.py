"""Entropy and divergence of softmax: against the reference with 60 digits, in any layout, and their arguments."""

import inspect
import itertools
import math
import tracemalloc

import numpy as np
import pytest
from common import DTYPES, INF, NAN, WIDE, each, in_turn, normal, same_bits

import fastact
from fastact import reference, softmax_entropy, softmax_kl

FUNCTIONS = [softmax_entropy, softmax_kl]
every_function = each("f", FUNCTIONS)
every_dtype = in_turn("dtype", WIDE)


def given(f, x, seed=5):
    return (x,) if f is softmax_entropy else (x, normal(x.shape, np.float64, seed).astype(x.dtype))


def exact(f, mode, *arrays):
    arrays = [np.asarray(array, np.float64) for array in arrays]
    return reference.evaluate(f.__name__, mode, *arrays, m=reference.mpmath_namespace(60))


@every_function
def test_the_gradient_of_the_reference_is_its_derivative(f):
    exactly = reference.mpmath_namespace(60)
    x, *others = given(f, normal(6))
    gradient = exact(f, "gradient", x, *others)
    step = exactly.asarray(10.0) ** -18
    for k in range(6):
        direction = exactly.asarray(np.eye(6)[k]) * step
        moved = [exactly.asarray(x) + sign * direction for sign in (1, -1)]
        ahead, behind = (reference.evaluate(f.__name__, "value", one, *others, m=exactly) for one in moved)
        assert abs(gradient[k] - (ahead - behind) / (2 * step)) < 1e-30


@every_function
@every_dtype
@in_turn("row", [
    [0.3, -1.2, 2.0], [40, 0, 0], [0, 0, 0], [5.0], [80, 1, -3, 2], [0, 1e4, 2], [-1e4, -1e4 + 1, -1e4],
    [30, 29.9, -50], [0, 1e-6, -1e-6], [20, -20, 0, 1, 2, 3, 4, 5]])
def test_rows_against_many_digits(row, dtype, f):
    x = np.array(row, dtype)
    pairs = [(x,)] if f is softmax_entropy else [(x, x + np.array(change, dtype) * np.arange(x.size, dtype=dtype))
                                                 for change in (1e-3, 1.0, -30.0)]
    for arrays in pairs:
        value, gradient = f(*arrays)
        right, right_gradient = float(exact(f, "value", *arrays)), exact(f, "gradient", *arrays).astype(float)
        tolerance = 1e-6 if dtype == np.float32 else 1e-12 if f is softmax_kl else 1e-14
        assert abs(float(value) - right) <= tolerance * right + 1e-30, row
        assert (abs(gradient - right_gradient) <= tolerance * (abs(right_gradient) + terms_of(f, right, *arrays))
                + 1e-30).all(), row


def terms_of(f, value, *logits):
    """The gradient is a difference of two terms: a bound of the smaller one.

    That of the entropy is p times the value; that of the divergence t times the mean of |log t - log p|, or t times 1.
    """
    terms = reference.evaluate("softmax", "value", np.asarray(logits[-1], np.float64))
    return terms * (value if f is softmax_entropy else min(value + math.sqrt(2 * value), 1))


def close_pairs():
    """Logits and targets that are apart by a constant and by differences of any size."""
    rng = np.random.default_rng(8)
    for spread, offset, scale in itertools.product((1e-7, 1e-3, 1.0, 200.0), (0, 5, -1e4), (0.1, 30)):
        x = rng.standard_normal(5) * scale
        target = x + offset + rng.standard_normal(5) * spread
        yield (x, target) if offset == 5 else (target, x)


@every_dtype
@in_turn("temperature", [1, 0.3])
def test_divergences_of_any_size(temperature, dtype):
    exactly = reference.mpmath_namespace(60)
    for x, target in close_pairs():
        pair = [array.astype(dtype) for array in (x, target)]
        scaled = [exactly.asarray(array.astype(np.float64)) / exactly.asarray(temperature) for array in pair]
        right = float(reference.evaluate("softmax_kl", "value", *scaled, m=exactly))
        right_gradient = reference.evaluate("softmax_kl", "gradient", *scaled, m=exactly).astype(float) / temperature
        value, gradient = softmax_kl(*pair, temperature=temperature)
        tolerance = 1e-6 if dtype == np.float32 else 1e-12
        terms = terms_of(softmax_kl, right, pair[1] / temperature) / temperature
        assert abs(float(value) - right) <= tolerance * right + 1e-37
        assert (abs(gradient - right_gradient) <= tolerance * (abs(right_gradient) + terms) + 1e-37).all()
        assert softmax_kl(*pair, temperature=temperature, gradient=False) == value


@in_turn("temperature", [1, 2.0])
def test_logits_as_large_as_they_can_be(temperature):
    """A difference of two logits overflows, that of two rows does not."""
    most = np.finfo(np.float32).max
    x = np.array([[most] * 3, [-most, 1, 2], [-most] * 3, [most, -most, 0], [0, -most, -most]], np.float32)
    target = np.array([[-most] * 3, [-most, 1, 2], [most] * 3, [most, -most, 0], [0, -most, 0]], np.float32)
    value, gradient = softmax_kl(x, target, reduction="none", temperature=temperature)
    np.testing.assert_allclose(value, [0, 0, 0, 0, most / 2 / temperature], rtol=1e-6)
    np.testing.assert_allclose(gradient, [[0] * 3] * 4 + [[0.5 / temperature, 0, -0.5 / temperature]], rtol=1e-6)


def test_wider_targets_are_not_rounded():
    x = np.zeros((2, 3), np.float32)
    target = np.array([[1e-9, 0, 0], [1 + 1e-9, 1, 1]])
    value, gradient = softmax_kl(x, target, reduction="none")
    assert value.dtype == gradient.dtype == np.float32
    np.testing.assert_allclose(value, [1e-18 / 9] * 2, rtol=1e-6)
    _, written = softmax_kl(x, target, reduction="none", out=x)
    assert written is x
    assert same_bits(x, gradient)


@every_function
def test_no_array_of_the_size_of_the_logits(f):
    arrays = given(f, normal((64, 4096)).astype(np.float32))
    out = np.empty_like(arrays[0])
    f(*arrays, out=out)
    tracemalloc.start()
    try:
        f(*arrays, out=out)
        f(*arrays, gradient=False)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < out.nbytes / 8


def test_the_gradient_may_overwrite_the_target():
    x, target = given(softmax_kl, normal((5, 7)))
    value, gradient = softmax_kl(x, target)
    found, written = softmax_kl(x, target, out=target)
    assert written is target
    assert found == value
    assert same_bits(target, gradient)


def test_logits_that_are_almost_equal():
    """Of 1e-6: PyTorch's float32 gives 2.98e-8."""
    x = np.zeros((1, 2), np.float32)
    target = np.array([[1e-6, 0]], np.float32)
    value, _ = softmax_kl(x, target)
    assert value == pytest.approx(float(np.float32(1e-6)) ** 2 / 8, rel=1e-6)
    value, gradient = softmax_entropy(np.array([40.0, 0, 0], np.float32))
    assert value == pytest.approx(2 * 41 * math.exp(-40), rel=1e-6)
    np.testing.assert_allclose(gradient, np.array([-80, 40, 40]) * math.exp(-40), rtol=1e-6)


@every_dtype
def test_probabilities_of_0(dtype):
    x = np.array([-INF, 0.0, 0.0], dtype)
    value, gradient = softmax_entropy(x)
    assert value == pytest.approx(math.log(2), rel=1e-6)
    assert gradient.tolist() == [0, 0, 0]
    value, gradient = softmax_kl(np.array([1.0, 0, 0], dtype), x)
    p = 1 / (math.exp(1) + 2)
    assert value == pytest.approx(math.log(0.5 / p), rel=1e-6)
    np.testing.assert_allclose(gradient, [math.exp(1) * p, p - 0.5, p - 0.5], rtol=1e-6)
    value, gradient = softmax_kl(x, np.zeros(3, dtype))
    assert value == INF
    np.testing.assert_allclose(gradient, [-1 / 3, 1 / 6, 1 / 6], rtol=1e-6)
    assert softmax_kl(x, x)[0] == 0
    assert softmax_kl(x, x)[1].tolist() == [0, 0, 0]


@every_function
@every_dtype
def test_rows_without_a_softmax_are_nan_alone(dtype, f):
    x = np.array([[1, 2, 3], [NAN, 1, 2], [1, INF, 0], [-INF] * 3, [3, 2, 1]], dtype)
    value, gradient = f(*given(f, x), reduction="none")
    np.testing.assert_array_equal(np.isnan(value), [False, True, True, True, False])
    np.testing.assert_array_equal(np.isnan(gradient).all(axis=1), [False, True, True, True, False])
    weighted = f(*given(f, x), reduction="none", sample_weight=[1, 0, 0, 0, 1])
    assert not weighted[0][1:4].any()
    assert not weighted[1][1:4].any()


@every_function
@in_turn("dtype", DTYPES)
@in_turn("shape", [(40, 3), (70, 19), (9, 300), (2, 9001)])
def test_the_same_bits_in_any_layout(shape, dtype, f):
    arrays = given(f, normal(shape, np.float64).astype(dtype))
    values, gradient = f(*arrays, reduction="none")
    wide = np.float64 if dtype == np.float64 else np.float32
    assert values.dtype == wide
    assert gradient.dtype == dtype
    assert same_bits(f(*arrays, reduction="none", gradient=False), values)
    with fastact.threads(3):
        turned, turned_gradient = f(*(np.ascontiguousarray(array.T) for array in arrays), 0, "none")
    assert same_bits(turned, values)
    assert same_bits(turned_gradient.T, gradient)
    one, one_gradient = f(*(array[1] for array in arrays), reduction="none")
    assert same_bits(one, values[1])
    assert same_bits(one_gradient, gradient[1])
    over = arrays[0].copy()
    for out in (np.empty(shape, dtype), np.asfortranarray(arrays[0]), over):
        _, written = f(over if out is over else arrays[0], *arrays[1:], reduction="none", out=out)
        assert written is out
        assert same_bits(out, gradient)
    mean, mean_gradient = f(*arrays)
    total, _ = f(*arrays, reduction="sum")
    assert mean == pytest.approx(math.fsum(values.tolist()) / shape[0], rel=4 * float(np.finfo(wide).eps))
    assert total == pytest.approx(math.fsum(values.tolist()), rel=4 * float(np.finfo(wide).eps))
    if dtype in WIDE:
        np.testing.assert_allclose(mean_gradient, gradient / shape[0], rtol=1e-5, atol=1e-7)
    else:
        found, wide_gradient = f(*arrays, reduction="none", dtype=np.float32)
        assert same_bits(found.astype(np.float32), values)
        assert same_bits(wide_gradient.astype(dtype), gradient)


@in_turn("temperature", [0.5, 3.0])
def test_the_temperature_of_the_divergence(temperature):
    x, target = given(softmax_kl, normal((4, 7)))
    value, gradient = softmax_kl(x, target, temperature=temperature)
    right, right_gradient = softmax_kl(x / temperature, target / temperature)
    assert value == pytest.approx(right, rel=1e-12)
    np.testing.assert_allclose(gradient, right_gradient / temperature, rtol=1e-10, atol=1e-16)


@every_function
def test_no_rows_and_no_classes(f):
    for shape, axis in (((0, 3), 1), ((3, 0), 0)):
        value, gradient = f(*given(f, np.empty(shape)), axis)
        assert np.isnan(value)
        assert gradient.shape == shape
    value, gradient = f(*given(f, np.empty((2, 0))), reduction="none")
    assert value.tolist() == [0, 0]
    assert gradient.shape == (2, 0)


@every_function
def test_no_warning(f):
    x = np.array([[1e38, -1e38, 0], [-1e38, -1e38, 3e38], [100, -100, 0], [-INF, 0, 0]], np.float32)
    with np.errstate(all="raise"):
        f(*((x,) if f is softmax_entropy else (x, x[::-1])), reduction="none")
        f(*((x,) if f is softmax_entropy else (x, x[::-1])))


@in_turn("keywords, error, text", [
    ({"reduction": "all"}, ValueError, "unknown reduction 'all'"),
    ({"axis": 2}, np.exceptions.AxisError, "axis 2 is out of bounds"),
    ({"axis": None}, TypeError, "axis must be an integer, got None"),
    ({"gradient": False}, ValueError, "out takes the gradient"),
    ({"out": np.zeros((3, 2))}, ValueError, r"out has the shape \(3, 2\)"),
    ({"sample_weight": np.ones(3)}, ValueError, r"sample_weight has the shape \(3,\)"),
    ({"dtype": int}, TypeError, "dtype is int64"),
    ({"logits": 1.0}, np.exceptions.AxisError, "logits has no dimension"),
])
@every_function
def test_bad_arguments(f, keywords, error, text):
    out = np.zeros((2, 3))
    arguments = {"logits": np.ones((2, 3)), "out": out} | ({} if f is softmax_entropy else {
        "target_logits": np.ones((2, 3))}) | keywords
    with pytest.raises(error, match=f"^fastact.{f.__name__}: {text}"):
        f(**arguments)
    assert not out.any()


@in_turn("keywords, text", [
    ({"target_logits": np.ones((3, 2))}, r"target_logits has the shape \(3, 2\); accepted is \(2, 3\)"),
    ({"target_logits": np.ones((2, 3)), "temperature": 0}, "temperature is 0; accepted is 1e-30 to 1e30"),
])
def test_bad_arguments_of_the_divergence(keywords, text):
    with pytest.raises(ValueError, match=f"^fastact.softmax_kl: {text}"):
        softmax_kl(np.ones((2, 3)), **keywords)


@every_function
def test_docstrings_name_every_argument(f):
    for argument in inspect.signature(f).parameters:
        assert f"\n{argument} : " in inspect.getdoc(f), argument
