"""Derivatives at kinks: those of a convention, in every mode, layout and dtype, and against the libraries."""

import copy
import pickle

import numpy as np
import pytest
from common import DTYPES, ELEMENTWISE, HALF, INF, NAN, WIDE, each, in_turn
from facts import FACTS

import fastact
from fastact.lookup import at_kinks, spelt
from fastact.names import CONVENTIONS, KINKS

SELU_BELOW = 1.7580993408473768
EXPECTED = {
    "torch": {
        "relu": {0: 0}, "relu6": {0: 0, 6: 0}, "leaky_relu": {0: 0.01}, "prelu": {0: 0.25}, "threshold": {1: 0},
        "hard_tanh": {-1: 0, 1: 0}, "hard_shrink": {-0.5: 0, 0.5: 0}, "soft_shrink": {-0.5: 0, 0.5: 0},
        "hard_sigmoid": {-3: 0, 3: 0}, "hard_swish": {-3: 0, 3: 1}, "elu": {0: 1}, "selu": {0: SELU_BELOW}, "logit": {},
    },
    "jax": {
        "relu": {0: 0}, "relu6": {0: 0, 6: 0}, "hard_tanh": {-1: 1, 1: 1}, "hard_sigmoid": {-3: 0, 3: 0},
        "hard_swish": {-3: 0, 3: 1}, "elu": {0: 1}, "selu": {0: SELU_BELOW}, "sparse_sigmoid": {-1: 0.25, 1: 0.25},
    },
    "keras": {
        "relu": {0: 0}, "relu6": {0: 0, 6: 0}, "threshold": {1: 0}, "hard_shrink": {-0.5: 0, 0.5: 0},
        "soft_shrink": {-0.5: 0, 0.5: 0}, "hard_sigmoid": {-3: 0, 3: 0}, "hard_swish": {-3: 0, 3: 1}, "elu": {0: 1},
    },
    "tensorflow": {"relu": {0: 0}, "relu6": {0: 0, 6: 0}, "leaky_relu": {0: 0.2}},
    "transformers": {
        "relu": {0: 0}, "relu6": {0: 0, 6: 0}, "leaky_relu": {0: 0.01}, "prelu": {0: 0.25}, "hard_swish": {-3: 0, 3: 1},
        "xielu": {-1e-6: 0.5 - 0.8 + 0.4 * np.exp(-1e-6), 0: 0.5 - 0.8},
    },
    "mlx": {
        "relu": {0: 0}, "relu6": {0: 0, 6: 0}, "elu": {0: 1}, "selu": {0: SELU_BELOW}, "hard_tanh": {-1: 0, 1: 0},
        "hard_swish": {-3: 0, 3: 1}, "hard_shrink": {-0.5: 0, 0.5: 0}, "soft_shrink": {-0.5: 0, 0.5: 0},
    },
    "sklearn": {"relu": {0: 0}},
    "thinc": {
        "relu": {0: 0}, "relu6": {0: 0, 6: 0}, "hard_tanh": {-1: 0, 1: 0}, "hard_sigmoid": {-2.5: 0, 2.5: 0},
        "hard_swish": {-3: -0.5, 3: 1.5},
    },
}
"""For each library the derivative at each kink of each activation of KINKS, with the library's defaults."""

CASES = [(convention, name) for convention, row in EXPECTED.items() for name in row]


def spelling(convention, name):
    return next(word for word, (meaning, _) in spelt(convention).items() if meaning == name)


def activation(convention, name):
    return fastact.get(spelling(convention, name), convention=convention)


def numbers_around(kinks, dtype):
    """The kinks among their neighbours and others, twice: a vector and a rest."""
    at = np.array(list(kinks), dtype)
    others = np.array([-0.0, 0.3, -0.7, 4.2, -8.0, INF, -INF, NAN], dtype)
    return np.tile(np.concatenate([np.nextafter(at, dtype(-9)), at, np.nextafter(at, dtype(9)), others]), 3)


def is_at(x, kink):
    """Where x is a kink: as a number of float32, also of 16 bits."""
    wide = np.float64 if x.dtype == np.float64 else np.float32
    return x.astype(wide) == wide(kink)


def expected_of(f, kinks, x):
    """The right-hand derivative, but for the kinks."""
    slopes = f.with_defaults(kinks="right").derivative(x)
    for at, slope in kinks.items():
        slopes[is_at(x, at)] = slope
    return slopes


def test_the_table_has_every_kink_of_what_the_libraries_have():
    assert {(convention, name) for convention in KINKS for name in at_kinks(convention)} == set(CASES)
    assert set(KINKS) <= set(CONVENTIONS)
    for convention, name in CASES:
        assert len(at_kinks(convention)[name]) in (1, len(fastact.activations[name].sides))


@in_turn("f", ELEMENTWISE)
def test_in_the_catalogue_every_kink_has_the_right_hand_derivative(f):
    assert type(f) is fastact.Elementwise
    assert dict(f.kinks) == pytest.approx(FACTS[f.name].kinks)
    assert set(f.sides) <= {"right"}
    assert fastact.get(f.name) is f
    assert f.with_defaults(kinks="right") is f
    for side, step in (("left", -INF), ("right", INF)):
        for at, slope in f.with_defaults(kinks=side).kinks:
            assert f.derivative(np.nextafter(at, step)) == pytest.approx(slope)


def same(computed, expected):
    """Compare numbers of one dtype, bfloat16 included; a product may be rounded once more."""
    computed, expected = np.asarray(computed), np.asarray(expected)
    assert computed.dtype == expected.dtype
    tolerance = 0.0 if computed.dtype.itemsize == 8 else 0.01 if computed.dtype.itemsize == 2 else 2e-7
    np.testing.assert_allclose(computed.astype(float), expected.astype(float), rtol=tolerance)


@each("dtype", DTYPES)
@in_turn("convention, name", CASES)
def test_derivatives_at_kinks_in_every_mode(convention, name, dtype):
    f, kinks = activation(convention, name), EXPECTED[convention][name]
    assert dict(f.kinks) == pytest.approx(kinks)
    g = f.with_defaults(kinks="right")
    assert f.ufuncs is g.ufuncs
    x = numbers_around(kinks, dtype)
    dy = np.linspace(-2, 3, x.size).astype(dtype)
    slopes, products = expected_of(f, kinks, x), g.backward(dy, x)
    for at, slope in kinks.items():
        products[is_at(x, at)] = (dy[is_at(x, at)].astype(float) * slope).astype(dtype)
    same(f(x), g(x))
    same(f.derivative(x), slopes)
    same(f.derivative(np.repeat(x, 3)[::3]), slopes)
    same(f.derivative(over := x.copy(), out=over), slopes)
    same(over, slopes)
    for one, right in zip(f.value_and_derivative(x), (g(x), slopes), strict=True):
        same(one, right)
    for dx in (f.backward(dy, x), f.backward(dy, x, out=np.empty_like(x)), f.backward(dy=dy, x=x),
               f.backward(over := dy.copy(), x, out=over), f.backward(dy, over := x.copy(), out=over),
               f.backward(np.repeat(dy, 2)[::2], np.repeat(x, 2)[::2])):
        same(dx, products)
    for at, slope in kinks.items():
        found = f.derivative(dtype(at))
        assert type(found) is type(g.derivative(dtype(at)))
        same(found, dtype(slope) if is_at(np.asarray(dtype(at)), at) else g.derivative(dtype(at)))


@pytest.mark.parametrize("dtype", WIDE)
def test_arguments_of_a_ufunc(dtype):
    f = fastact.get("leaky_relu", convention="torch")
    x = np.array([[-1, -0.0, 0, 2]] * 3, dtype)
    dy = np.array([[2], [-3], [4]], dtype)
    slope = dtype(0.01)
    np.testing.assert_array_equal(f.backward(dy, x), dy * np.array([slope, slope, slope, 1], dtype))
    np.testing.assert_array_equal(f.backward(dy, x[0]), f.backward(dy, x))
    np.testing.assert_array_equal(f.backward(dtype(3), x), f.backward(np.full_like(x, 3), x))
    np.testing.assert_array_equal(f.backward(3, x), f.backward(np.full_like(x, 3), x))
    where = np.array([True, False, True, True])
    out = np.full_like(x, 7)
    assert f.derivative(x, where=where, out=out) is out
    np.testing.assert_array_equal(out, [[slope, 7, slope, 1]] * 3)
    swapped = x.astype(x.dtype.newbyteorder())
    np.testing.assert_array_equal(f.derivative(swapped), f.derivative(x))
    np.testing.assert_array_equal(f.derivative(x.T), f.derivative(x).T)
    np.testing.assert_array_equal(f.derivative(x.tolist()), f.derivative(x.astype(np.float64)))
    np.testing.assert_array_equal(f.derivative([0, 1, -1]), [0.01, 1, 0.01])
    assert f.derivative(0) == f.derivative(0.0) == f.derivative(False) == 0.01
    assert f.derivative(x, dtype=np.float64).dtype == np.float64
    wide = f.derivative(x, out=np.empty(x.shape))
    np.testing.assert_array_equal(wide, f.derivative(x))
    value, slopes = np.empty_like(x), x.copy()
    assert f.value_and_derivative(slopes, out=(value, slopes))[1] is slopes
    np.testing.assert_array_equal(slopes, f.derivative(x))
    shown = np.ma.masked_array(x, x > 1)
    np.testing.assert_array_equal(f.derivative(shown).compressed(), np.full(9, slope))


def test_parameters_of_a_call_move_the_kink():
    get = fastact.get
    f = get("hard_tanh", convention="torch")
    np.testing.assert_array_equal(f.derivative([-1.0, -2.0, 0.0, 2.0], -2.0, 2.0), [1, 0, 1, 0])
    np.testing.assert_array_equal(f.derivative(np.array([0.5, 0.5]), np.array([0.5, 0.0])), [0, 1])
    f = get("threshold", convention="torch")
    for dtype in (*WIDE, *HALF):
        x = np.array([0.3, 1.0, 2.5], dtype)
        np.testing.assert_array_equal(f.derivative(x, threshold=2.5), [0, 0, 0])
        # The threshold of 16-bit numbers is that of float32, which lies between two of them.
        on = np.float32(0.3) == x[0].astype(np.float32) if dtype is not np.float64 else True
        assert f.derivative(x, threshold=0.3)[0] == (0 if on else x[0].astype(np.float32) > np.float32(0.3))
    f = get("elu", convention="torch")
    np.testing.assert_array_equal(f.backward([3.0, 3.0], [0.0, 1.0], 2.0), [6, 3])
    np.testing.assert_array_equal(f.backward([3.0, 3.0], [0.0, 0.0], np.array([2.0, 0.5])), [6, 1.5])
    np.testing.assert_array_equal(f.with_defaults(alpha=2).derivative([0.0, 1.0]), [2, 1])
    f = get("logit", convention="torch")
    np.testing.assert_array_equal(f.derivative([0.25, 0.75], 0.25), [1 / 0.1875] * 2)
    np.testing.assert_array_equal(f.derivative([0.25, 0.75]), [1 / 0.1875] * 2)
    f = get("hard_shrink", convention="torch")
    np.testing.assert_array_equal(f.derivative([-1.0, 1.0], -1.0), [1, 1])
    f = get("hard_sigmoid", convention="torch")
    np.testing.assert_array_equal(f.derivative([-2.0, 0.0, 2.0], slope=-0.25), [0, -0.25, 0])


def test_from_the_output_a_kink_counts_where_the_value_has_one_argument():
    dy = np.array([3.0, 3.0, 3.0])
    f = fastact.get("leaky_relu", convention="torch")
    np.testing.assert_array_equal(f.backward(dy, output=[-1.0, 0.0, 1.0]), [0.03, 0.03, 3])
    np.testing.assert_array_equal(f.backward(dy, output=[-1.0, 0.0, 1.0], negative_slope=0.5), [1.5, 1.5, 3])
    np.testing.assert_array_equal(f.backward(over := dy.copy(), output=np.zeros(3), out=over), [0.03] * 3)
    f = fastact.get("selu", convention="torch")
    assert f.backward(3.0, output=0.0) == 3 * SELU_BELOW
    for side in ("left", "mean", "right"):  # 0 is the value of all x <= 0
        f = fastact.relu6.with_defaults(kinks=side)
        np.testing.assert_array_equal(f.backward(dy, output=np.array([0.0, 3.0, 6.0])), [0, 3, 0])


@in_turn("convention, name", CASES)
def test_an_activation_with_other_kinks_shows_compares_and_pickles_as_that(convention, name):
    f = activation(convention, name)
    assert isinstance(f, fastact.Elementwise)
    assert f == activation(convention, name)
    assert f != f.with_defaults(kinks="right")
    assert len({f, activation(convention, name), f.with_defaults(kinks="right")}) == 2
    assert f.with_defaults() is f
    assert f.with_defaults(kinks=f.sides) is f
    shown = " and ".join(f"{slope:g} at {at:g}" for at, slope in f.kinks)
    assert f.kinks == () or f"The derivative is {shown}." in repr(f)
    assert f.kinks == () or f"\n\nThe derivative is {shown}.\n\nParameters" in f.__doc__
    for same in (pickle.loads(pickle.dumps(f)), copy.copy(f), copy.deepcopy(f)):
        assert same == f
        assert type(same) is type(f)
        assert same.kinks == f.kinks
    changed = {one: default * 0.5 for one, default in f.parameters.items()}
    assert f.with_defaults(**changed).sides == f.sides


def test_without_a_convention_kinks_are_no_second_meaning():
    assert fastact.get("relu") is fastact.get("ReLU") is fastact.get("Relu") is fastact.relu
    assert fastact.get("hard_silu") is fastact.hard_swish
    assert fastact.get("relu", convention="onnx") is fastact.relu
    assert fastact.get("relu", convention="torch") == fastact.get("relu", convention="jax") != fastact.relu
    assert fastact.relu.derivative(0.0) == 1


def test_errors_leave_the_arrays_as_they_were():
    f = fastact.get("relu", convention="torch")
    with pytest.raises(ValueError, match=r"^fastact.relu.with_defaults: kinks has 'middle'; accepted are right, left"):
        fastact.relu.with_defaults(kinks="middle")
    with pytest.raises(ValueError, match=r"^fastact.relu6.with_defaults: kinks has 3 words; accepted is one word, or"):
        fastact.relu6.with_defaults(kinks=["left"] * 3)
    for kinks in (3, [["left"]]):
        with pytest.raises(TypeError, match=r"^fastact.relu.with_defaults: kinks is .*; accepted are right, left"):
            fastact.relu.with_defaults(kinks=kinks)
    x, out = np.zeros(3), np.full(2, 7.0)
    for call, error, words in (
        (lambda: f.derivative(x, out=out), ValueError, "broadcast"),
        (lambda: f.derivative(x, 1.0), TypeError, "fastact.relu.derivative: got 2 positional arguments"),
        (lambda: f.derivative(), TypeError, "fastact.relu.derivative: the argument x is missing"),
        (lambda: f.backward(x), TypeError, "fastact.relu.backward: the argument x is missing"),
        (lambda: f.backward(out, x, out=out), ValueError, "broadcast"),
        (lambda: f.derivative("x"), TypeError, "fastact.relu.derivative: x has the dtype"),
        (lambda: f.derivative(x + 1j), TypeError, "fastact.relu.derivative: x has the dtype complex128"),
        (lambda: f.derivative(x, axis=1), TypeError, "fastact.relu.derivative: unknown argument axis"),
        (lambda: f.backward(x, x, output=x), TypeError, "fastact.relu.backward: output= takes the place of x"),
    ):
        with pytest.raises(error, match=words):
            call()
        np.testing.assert_array_equal(out, 7)


def test_kinds_are_kept():
    pandas = pytest.importorskip("pandas")
    f = fastact.get("relu", convention="torch")
    frame = pandas.DataFrame({"a": [0.0, 1.0], "b": [-1.0, 0.0]}, index=["x", "y"])
    found = f.derivative(frame)
    pandas.testing.assert_frame_equal(found, pandas.DataFrame({"a": [0.0, 1.0], "b": [0.0, 0.0]}, index=["x", "y"]))
    pandas.testing.assert_frame_equal(f.value_and_derivative(frame)[1], found)
    pandas.testing.assert_frame_equal(f.backward(frame * 0 + 2, frame), 2 * found)
    pandas.testing.assert_series_equal(f.derivative(frame["a"]), found["a"])
    xarray = pytest.importorskip("xarray")
    grid = xarray.DataArray(frame.to_numpy(), dims=("row", "column"), name="grid")
    xarray.testing.assert_identical(f.derivative(grid), grid.copy(data=found.to_numpy()))
    array = pytest.importorskip("dask.array").from_array(frame.to_numpy(), chunks=(1, 2))
    for lazy in (f.derivative(array), f.value_and_derivative(array)[1]):
        assert type(lazy) is type(array)
        np.testing.assert_array_equal(lazy.compute(), found)
    np.testing.assert_array_equal(f.backward(array * 0 + 2, array).compute(), 2 * found)


# ------------------------------------------------------------------------------------------------------- the libraries

def of_torch(word, x):
    torch = pytest.importorskip("torch")
    f = fastact.get(word, convention="torch")
    required = {"threshold": (1.0, 0.0), "prelu": (torch.tensor([0.25], dtype=torch.from_numpy(x).dtype),),
                "logit": (0.25,)}
    place = next(place for place in (torch.nn.functional, torch) if hasattr(place, word))
    tensor = torch.from_numpy(x.copy()).requires_grad_()
    value = getattr(place, word)(tensor, *required.get(f.name, ()))
    return torch.autograd.grad(value.sum(), tensor)[0].numpy()


def of_jax(word, x):
    jax = pytest.importorskip("jax")
    with jax.enable_x64(True) if hasattr(jax, "enable_x64") else jax.experimental.enable_x64():
        return np.asarray(jax.vmap(jax.grad(getattr(jax.nn, word)))(x))


def of_sklearn(word, x):
    base = pytest.importorskip("sklearn.neural_network._base")
    value, slopes = x.copy(), np.ones_like(x)
    base.ACTIVATIONS[word](value)
    base.DERIVATIVES[word](value, slopes)
    return slopes


def of_thinc(word, x):
    ops = pytest.importorskip("thinc.backends").NumpyOps()
    return getattr(ops, f"backprop_{word}")(np.ones_like(x), x.copy())


LIBRARIES = {"torch": of_torch, "jax": of_jax, "sklearn": of_sklearn, "thinc": of_thinc}


@pytest.mark.parametrize("convention", LIBRARIES)
def test_derivatives_at_kinks_are_those_of_the_library(convention):
    words = {name: word for word, (name, _) in reversed(spelt(convention).items()) if word[0].islower()}
    checked = 0
    for name, facts in FACTS.items():
        if name not in words or not (facts.kinks or (name, convention) == ("logit", "torch")):
            continue
        f = fastact.get(words[name], convention=convention)
        f = f.with_defaults(eps=0.25) if name == "logit" else f
        for dtype in WIDE:
            x = np.array([at for at, _ in f.kinks], dtype)
            x = np.concatenate([x, x - dtype(0.001), x + dtype(0.001)])
            np.testing.assert_allclose(f.derivative(x), LIBRARIES[convention](words[name], x), rtol=4e-6, atol=4e-7,
                                       err_msg=f"{name} of {convention}")
            checked += x.size
    assert checked
