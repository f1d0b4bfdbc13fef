"""Activations with other defaults: what `with_defaults` returns, elementwise and gated."""

import copy
import pickle

import numpy as np
import pytest
from common import ELEMENTWISE, each

import fastact

WITH_PARAMETERS = [f for f in ELEMENTWISE if f.parameters]


def changed(f, name, step):
    """Another default, of the parameter's domain."""
    default = f.parameters[name]
    return default + step if default + step <= f.parameter_domain[name][1] else default - step


@each("f", WITH_PARAMETERS)
def test_other_defaults_are_what_is_taken_when_nothing_is_said(f):
    given = {name: changed(f, name, 0.5) for name in f.parameters}
    g = f.with_defaults(**given)
    assert type(g) is type(f)
    assert g.name == f.name
    assert dict(g.parameters) == given
    assert g.ufunc is f.ufunc
    for dtype in (np.float32, np.float64):
        x = np.linspace(-4, 4, 333).astype(dtype)
        dy = np.linspace(1, 2, 333).astype(dtype)
        strided, out = x[::3], np.empty_like(x)
        for method, arrays in (("__call__", (x,)), ("derivative", (x,)), ("value_and_derivative", (x,)),
                               ("backward", (dy, x)), ("__call__", (strided,)), ("derivative", (strided,))):
            expected = getattr(f, method)(*arrays, **given)
            np.testing.assert_array_equal(getattr(g, method)(*arrays), expected)
            np.testing.assert_array_equal(getattr(g, method)(*arrays, **dict(f.parameters)),
                                          getattr(f, method)(*arrays))
        assert g(x, out=out) is out
        np.testing.assert_array_equal(out, f(x, **given))
        if "backward_from_output" in f.ufuncs:
            y = g(x)
            np.testing.assert_array_equal(g.backward(dy, output=y), f.backward(dy, output=y, **given))
        np.testing.assert_array_equal(g(x[7]), f(x[7], **given))  # logit has none there


@each("f", WITH_PARAMETERS)
def test_an_activation_with_other_defaults_shows_compares_and_pickles_as_that(f):
    (first, _), *rest = f.parameters.items()
    other = changed(f, first, 0.25)
    g = f.with_defaults(**{first: other})
    assert dict(g.parameters) == {first: other, **dict(rest)}
    assert f"{first}={other:g}" in repr(g)
    assert f"Default {other:g}." in g.__doc__
    assert g != f
    assert g == f.with_defaults(**{first: other})
    assert len({f, g, f.with_defaults(**{first: other})}) == 2
    for same in (pickle.loads(pickle.dumps(g)), copy.copy(g), copy.deepcopy(g)):
        assert same == g
        np.testing.assert_array_equal(same(-1.25), g(-1.25))
    assert g.with_defaults() is g
    assert g.with_defaults(**f.parameters) is f.with_defaults(**f.parameters) is f
    for name in dir(f):
        if not callable(getattr(f, name)) and name not in ("parameters", "kinks", "__doc__", "__signature__"):
            assert getattr(g, name) == getattr(f, name), f"{name} got lost"
    assert f == fastact.activations[f.name], "the catalogue's own was changed"


def test_errors_of_other_defaults():
    with pytest.raises(TypeError, match=r"^fastact.leaky_relu.with_defaults: unknown argument slope; accepted are neg"):
        fastact.leaky_relu.with_defaults(slope=1)
    with pytest.raises(TypeError, match=r"^fastact.relu.with_defaults: unknown argument slope; accepted are kinks"):
        fastact.relu.with_defaults(slope=1)
    for wrong in ("0.2", np.ones(3), None, 1j):
        with pytest.raises(TypeError, match=f"negative_slope must be a number, got {type(wrong).__name__}"):
            fastact.leaky_relu.with_defaults(negative_slope=wrong)


def test_a_gated_activation_with_other_defaults_shows_compares_and_pickles_as_that():
    a, b = np.linspace(-3, 9, 24), np.linspace(9, -8, 24)
    x = np.stack((b, a), axis=-1).reshape(48)       # interleaved, the gate last
    given = {"beta": 1.702, "limit": 7.0, "offset": 1.0}
    f = fastact.swiglu.with_defaults(**given, layout="interleaved", gate="second")
    expected = fastact.swiglu(a, b, **given)
    for result in (f(x), f(x.tolist()), f(x[None]).reshape(24), f(a, b), f(x, out=np.empty(24)), f(b, a, gate="second"),
                   f(np.concatenate((a, b)), layout="halves", gate="first")):
        np.testing.assert_array_equal(result, expected)
    np.testing.assert_array_equal(f(x, offset=0.0), fastact.swiglu(a, b, **{**given, "offset": 0.0}))
    dy = np.linspace(1, 2, 24)
    da, db = fastact.swiglu.backward(dy, a, b, **given)
    for dx in (f.backward(dy, x), f.backward(dy.tolist(), x.tolist()), f.backward(dy, x, out=np.empty(48))):
        np.testing.assert_array_equal(dx, np.stack((db, da), axis=-1).reshape(48))
    assert f.ufunc is fastact.swiglu.ufunc
    assert (f.name, f.gate, f.layout, dict(f.parameters)) == ("swiglu", "second", "interleaved", given)
    assert "beta=1.702, limit=7, offset=1, gate='second', layout='interleaved'" in repr(f)
    assert 'Default: "interleaved".' in f.__doc__
    for same in (pickle.loads(pickle.dumps(f)), copy.copy(f), copy.deepcopy(f), f.with_defaults(beta=1.702)):
        assert same == f
        assert hash(same) == hash(f)
    assert f.with_defaults() is f
    assert f.with_defaults(**fastact.swiglu.parameters, gate="first", layout="halves") is fastact.swiglu
    assert f != fastact.swiglu
    assert f != f.with_defaults(gate="first")
    assert fastact.swiglu == fastact.activations["swiglu"] != "swiglu"
    assert fastact.glu.gate == "second"


@pytest.mark.parametrize(("options", "error", "words"), [
    ({"slope": 1.0}, TypeError, "unknown argument slope; accepted are beta, limit, offset, gate, layout"),
    ({"beta": "1"}, TypeError, "beta must be a number, got str"),
    ({"limit": -1.0}, ValueError, "limit is -1; accepted is "),
    ({"gate": "third"}, ValueError, "gate is 'third'; accepted are first, second"),
    ({"layout": 2}, ValueError, "layout is 2; accepted are halves, interleaved"),
])
def test_errors_of_other_defaults_of_a_gated_activation(options, error, words):
    with pytest.raises(error, match=rf"^fastact.swiglu.with_defaults: {words}"):
        fastact.swiglu.with_defaults(**options)
