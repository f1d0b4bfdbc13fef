"""fastact.thinc: each method against NumpyOps, kinks, in place, refused shapes, layers, thinc's way to find it."""

import doctest
import importlib.metadata
import inspect
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
from common import SOURCES, WIDE, each

pytest.importorskip("thinc")

from thinc import api
from thinc.api import Model, NumpyOps, Ops, get_current_ops, use_ops

import fastact
import fastact.thinc
from fastact.lookup import spelt
from fastact.thinc import FastactOps

PACKAGES = Path(fastact.__file__).parents[1]
METHODS = [name for name in spelt("thinc") if hasattr(Ops, name)]
IN_PLACE = [name for name in METHODS if "inplace" in inspect.signature(getattr(Ops, name)).parameters]
WITH_BACKPROP = [name for name in METHODS if hasattr(Ops, f"backprop_{name}")]
BY_CLIPPED_LINEAR = {"relu_k", "hard_sigmoid", "hard_tanh"}
OURS, THEIRS = FastactOps(), NumpyOps()
# The erf of thinc has an error of 1.5e-7, its gelu_approx constants of five digits; its sigmoid clips at 20.
ACCURACY = {"erf": 2e-7, "gelu": 1e-6, "gelu_approx": 1e-4, "sigmoid": 3e-9, "swish": 1e-7}


def backprop(ops, name, dY, X, **keywords):
    """The backward pass of a method, whatever it takes besides dY."""
    method = getattr(ops, f"backprop_{name}")
    arrays = {"dY": dY, "X": X, "Y": getattr(ops, name)(X)}
    return method(**{one: arrays[one] for one in inspect.signature(method).parameters if one in arrays}, **keywords)


def layouts(x):
    wide = np.zeros((*x.shape[:-1], 2 * x.shape[-1]), x.dtype)
    wide[..., ::2] = x
    return [x.copy(), x.copy(order="F"), wide[..., ::2]]


def numbers(shape, dtype, seed=0):
    return np.random.default_rng(seed).normal(0, 3, shape).astype(dtype)


# ------------------------------------------------------------------------------------------------------- the methods


def test_every_activation_of_thinc_is_replaced():
    methods = [*METHODS, *(f"backprop_{name}" for name in WITH_BACKPROP)]
    for method in methods:
        name = method.removeprefix("backprop_")
        inherited = getattr(FastactOps, method) in (getattr(NumpyOps, method), getattr(Ops, method))
        assert inherited == (name in BY_CLIPPED_LINEAR), f"write {method} into fastact/thinc.py"
    assert "clipped_linear" in METHODS


@each("method", [name for name in vars(FastactOps) if not name.startswith("_") and name != "name"])
def test_signatures_are_those_of_thinc(method):
    ours, theirs = (inspect.signature(getattr(ops, method)).parameters for ops in (FastactOps, Ops))
    assert [(one.name, one.default, one.kind, one.annotation) for one in ours.values()] == [
        (one.name, one.default, one.kind, one.annotation) for one in theirs.values()]


@each("shape", [(0, 3), (1, 1), (5, 9), (40, 130), (3, 4, 5)])
@each("dtype", WIDE)
@each("name", METHODS)
def test_a_value_is_that_of_thinc(name, dtype, shape):
    if name == "softmax" and 0 in shape:
        pytest.skip("NumpyOps refuses a softmax of nothing")
    X = numbers(shape, dtype)
    exact = getattr(Ops(np), name)(X.astype(np.float64))
    tolerance = ACCURACY.get(name, 0) + 8 * np.finfo(dtype).eps
    for given in layouts(X):
        Y = getattr(OURS, name)(given)
        assert Y.dtype == dtype
        assert Y is not given
        np.testing.assert_allclose(Y, exact, rtol=tolerance, atol=tolerance)
        np.testing.assert_array_equal(given, X)
        if name in IN_PLACE:
            assert getattr(OURS, name)(given, inplace=True) is given
            np.testing.assert_array_equal(given, Y)


@each("shape", [(0, 3), (1, 1), (5, 9), (40, 130), (3, 4, 5)])
@each("dtype", WIDE)
@each("name", WITH_BACKPROP)
def test_a_gradient_is_that_of_thinc(name, dtype, shape):
    if name == "softmax" and 0 in shape:
        pytest.skip("NumpyOps refuses a softmax of nothing")
    X, dY = numbers(shape, dtype), numbers(shape, dtype, 1)
    exact = backprop(Ops(np), name, dY.astype(np.float64), X.astype(np.float64))
    tolerance = 20 * (ACCURACY.get(name, 0) + 8 * np.finfo(dtype).eps)
    changed = "Y" if name == "sigmoid" else "dY"
    for x, dy in zip(layouts(X), layouts(dY), strict=True):
        dX = backprop(OURS, name, dy, x)
        assert dX.dtype == dtype
        np.testing.assert_allclose(dX, exact, rtol=tolerance, atol=tolerance)
        np.testing.assert_array_equal(dy, dY)
        np.testing.assert_array_equal(x, X)
        method = getattr(OURS, f"backprop_{name}")
        parameters = inspect.signature(method).parameters
        if "inplace" in parameters:
            arrays = {"dY": dy, "X": x, "Y": getattr(OURS, name)(x)}
            arrays = {one: arrays[one] for one in parameters if one in arrays}
            result = method(**arrays, inplace=True)
            np.testing.assert_array_equal(result, dX)
            if name not in ("hard_sigmoid", "hard_tanh"):   # of which thinc hands inplace= on to nothing
                assert result is arrays[changed]


def test_float16():
    for name in METHODS:
        X = numbers((6, 10), np.float16)
        Y = getattr(OURS, name)(X)
        assert Y.dtype == np.float16
        np.testing.assert_allclose(Y, getattr(OURS, name)(X.astype(np.float32)), rtol=1e-3, atol=1e-3)
        if name in WITH_BACKPROP:
            assert backprop(OURS, name, X, X).dtype == np.float16


@each("dtype", WIDE)
@each("name", [name for name in WITH_BACKPROP if name != "softmax"])
def test_kinks_are_those_of_thinc(name, dtype):
    X = np.array([-3, -2.5, -1, -0.0, 0, 1, 2.5, 3, 6], dtype)
    X = np.concatenate([X, np.nextafter(X, dtype(-9)), np.nextafter(X, dtype(9))])
    dY = np.full_like(X, 3)
    tolerance = 20 * (ACCURACY.get(name, 0) + 8 * np.finfo(dtype).eps)
    np.testing.assert_allclose(backprop(OURS, name, dY, X), backprop(THEIRS, name, dY, X), atol=tolerance)


@pytest.mark.parametrize("arguments", [
    {}, {"max_val": 6.0}, {"slope": 0.2, "offset": 0.5}, {"slope": -0.5, "offset": 0.25}, {"slope": 2, "min_val": -3},
    {"offset": 1, "min_val": -1, "max_val": 1}, {"slope": np.float32(0.5), "offset": np.float64(0.5)},
    {"min_val": 1.0, "max_val": 0.0}, {"min_val": -np.inf, "max_val": np.inf}, {"min_val": 0, "max_val": np.inf},
])
@each("dtype", WIDE)
def test_clipped_linear(dtype, arguments):
    X = np.linspace(-8, 8, 129, dtype=dtype)
    dY = numbers(129, dtype)
    np.testing.assert_array_equal(OURS.clipped_linear(X, **arguments), THEIRS.clipped_linear(X, **arguments))
    np.testing.assert_allclose(OURS.backprop_clipped_linear(dY, X, **arguments),
                               THEIRS.backprop_clipped_linear(dY, X, **arguments), rtol=2 * np.finfo(dtype).eps)


@pytest.mark.parametrize("n", [6.0, 1.0, 20, np.inf])
def test_relu_k(n):
    X, dY = np.linspace(-30, 30, 61), np.full(61, 2.0)
    np.testing.assert_array_equal(OURS.relu_k(X, n), np.clip(X, 0, n))
    np.testing.assert_array_equal(OURS.backprop_relu_k(dY, X, n), np.where((X > 0) & (n > X), dY, 0))


@pytest.mark.parametrize("threshold", [0.0, 5.0, 19.9, 20, 50.0])
@each("dtype", WIDE)
def test_the_threshold_of_mish(dtype, threshold):
    X, dY = np.linspace(-30, 30, 201, dtype=dtype), np.full(201, 2, dtype)
    tolerance = 200 * np.finfo(dtype).eps
    theirs = THEIRS.mish(X.astype(float), threshold), THEIRS.backprop_mish(dY.astype(float), X.astype(float), threshold)
    for inplace in (False, True):
        ours = OURS.mish(X.copy(), threshold, inplace), OURS.backprop_mish(dY.copy(), X, threshold, inplace)
        for one, other in zip(ours, theirs, strict=True):
            assert one.dtype == dtype
            np.testing.assert_allclose(one, other, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("axis", [-1, 0, 1])
@pytest.mark.parametrize("temperature", [1.0, 0.5, 4])
def test_axis_and_temperature_of_softmax(axis, temperature):
    X, dY = numbers((6, 7), np.float64), numbers((6, 7), np.float64, 1)
    options = {"axis": axis, "temperature": temperature}
    Y = THEIRS.softmax(X, **options)
    np.testing.assert_allclose(OURS.softmax(X, **options), Y, rtol=1e-14)
    np.testing.assert_allclose(OURS.backprop_softmax(Y, dY, **options), THEIRS.backprop_softmax(Y, dY, **options),
                               rtol=1e-12, atol=1e-15)
    assert OURS.softmax(X, inplace=True, **options) is X
    np.testing.assert_allclose(X, Y, rtol=1e-14)


@pytest.mark.parametrize(("method", "count"), [("backprop_relu", 2), ("backprop_mish", 2), ("backprop_swish", 3)])
def test_arrays_of_other_shapes_are_refused(method, count):
    for k in range(count):
        for other in ((1, 4), (4,), (3, 1), (3, 5)):
            arrays = [np.ones((3, 4), np.float32) for _ in range(count)]
            arrays[k] = np.ones(other, np.float32)
            kept = [array.copy() for array in arrays]
            with pytest.raises(ValueError, match=rf"^FastactOps.{method}: dY has the shape .*; accepted are arrays"):
                getattr(OURS, method)(*arrays, inplace=True)
            for array, before in zip(arrays, kept, strict=True):
                np.testing.assert_array_equal(array, before)


# -------------------------------------------------------------------------------------------------- inside of thinc


def layers():
    return [name for name in spelt("thinc") if name[0].isupper() and name != "Logistic"]


@each("layer", layers())
def test_a_layer_learns_the_same(layer):
    X, dY = numbers((20, 8), np.float32), numbers((20, 8), np.float32, 1)
    results = []
    for name in ("numpy", "fastact"):
        api.fix_random_seed(0)
        with use_ops(name):
            model = getattr(api, layer)(nO=8, nI=8).initialize()
            assert isinstance(model, Model)
            assert model.ops.name == name
        Y, backward = model.begin_update(X)
        dX = backward(dY.copy())
        results.append([Y, dX, *(model.get_grad(one) for one in ("W", "b"))])
    for theirs, ours in zip(*results, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4)


def test_the_entry_point_of_the_project():
    entry = tomllib.loads((SOURCES.parent / "pyproject.toml").read_text())["project"]["entry-points"]["thinc_ops"]
    assert list(entry) == ["FastactOps"]
    assert importlib.metadata.EntryPoint("FastactOps", entry["FastactOps"], "thinc_ops").load() is FastactOps


def test_thinc_finds_it_without_an_import(tmp_path):
    installed = tmp_path / "fastact-0.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: fastact\nVersion: 0\n")
    (installed / "entry_points.txt").write_text("[thinc_ops]\nFastactOps = fastact.thinc:FastactOps\n")
    code = f"""
import sys
sys.path[:0] = [{str(tmp_path)!r}, {str(PACKAGES)!r}]
from thinc.api import get_current_ops, get_ops, use_ops
assert not [name for name in sys.modules if name.startswith("fastact")]
assert get_ops("cpu").name == "numpy"
with use_ops("fastact"):
    print(type(get_current_ops()).__module__, get_current_ops().name)
print(get_current_ops().name)
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert result.returncode == 0, result.stderr
    assert result.stdout.split() == ["fastact.thinc", "fastact", "numpy"]


def test_use_ops():
    with use_ops("fastact", use_blis=False):
        assert isinstance(get_current_ops(), FastactOps)
        assert not get_current_ops().use_blis
    assert not isinstance(get_current_ops(), FastactOps)


def test_examples():
    session = doctest.DocTestParser().get_doctest(FastactOps.__doc__, {}, "FastactOps", None, 0)
    assert session.examples
    assert doctest.DocTestRunner(verbose=False).run(session).failed == 0
