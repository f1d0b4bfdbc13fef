"""Curves of activations: what they show, their errors, those of other libraries, and the pictures of them."""

import numpy as np
import pytest
from common import ELEMENTWISE, FUNCTIONS, each, in_turn
from facts import FACTS

import fastact
from fastact.comparison import curves, ulp
from fastact.comparison.curves import Line


@in_turn("f", ELEMENTWISE)
def test_limits_show_every_kink_and_both_tails(f):
    low, high = curves.limits(f)
    assert all(low < kink < high for kink in FACTS[f.name].kinks)
    first, last = (max(side, end) for side, end in zip(FACTS[f.name].domain, (low, -high), strict=True))
    assert low <= first < 1
    assert high > max(-last, 0)


@in_turn("f", FUNCTIONS)
def test_a_line_has_the_values_of_its_inputs(f):
    x = np.linspace(-3, 3, 13, dtype=np.float32)
    line = Line(f, x)
    assert line.computed("value").shape == line.computed("derivative").shape == x.shape
    expected = np.array([f(*(one[k] for one in line.inputs)) for k in range(x.size)])
    np.testing.assert_array_equal(line.computed("value"), expected if expected.ndim == 1 else expected[:, 0])


@in_turn("f", FUNCTIONS)
def test_derivatives_are_those_of_the_values(f):
    x = np.linspace(-2.93, 3.07, 21)  # between the kinks
    line, h = Line(f, x), 1e-6
    with np.errstate(invalid="ignore"):
        quotient = (Line(f, x + h).computed("value") - Line(f, x - h).computed("value")) / (2 * h)
    np.testing.assert_allclose(line.computed("derivative"), quotient, rtol=1e-6, atol=1e-7)


@in_turn("name, mode, dtype", [
    ("silu", "derivative", np.float32), ("gelu", "value", np.float32), ("tanh", "value", np.float64),
    ("gelu", "derivative", np.float64), ("softmax", "value", np.float32)])
def test_errors_are_those_of_accuracy(name, mode, dtype):
    x = np.linspace(-20, 20, 101).astype(dtype)
    line = Line(fastact.get(name), x)
    computed = line.computed(mode)
    if name in ulp.ROWWISE:
        expected = ulp.errors(name, mode, line.inputs[0], fastact.get(name)(line.inputs[0]))[:, 0]
    else:
        judge = ulp.errors_of_float64 if dtype is np.float64 else ulp.errors
        expected = judge(name, mode, x, computed)
    np.testing.assert_allclose(line.errors(mode, computed), expected, rtol=0, atol=ulp.DOUBT)
    assert expected.max() <= line.promised(mode)


def test_bounds_are_those_of_the_defaults():
    x = np.linspace(-3, 3, 7, dtype=np.float32)
    assert Line(fastact.silu, x, {"beta": 2.0}).promised("value") is None
    assert Line(fastact.get("leaky_relu", convention="keras"), x).promised("value") is None
    assert Line(fastact.silu, x.astype(np.float16)).promised("value") == ulp.ULP_OF_16_BITS
    assert Line(fastact.sparsemax, x).promised("value") is None


def test_parameters_reach_the_reference():
    x = np.linspace(-3, 3, 61)
    for dtype in (np.float32, np.float64):
        line = Line(fastact.silu, x.astype(dtype), {"beta": 3.0})
        assert line.errors("value", line.computed("value")).max() <= 4
        assert line.errors("value", Line(fastact.silu, line.x).computed("value")).max() > 1000


def test_numpy_is_beside_every_value_that_is_judged():
    x = np.linspace(-3, 3, 61, dtype=np.float32)
    for name in curves.JUDGED:
        line = Line(fastact.get(name), x)
        np.testing.assert_allclose(line.of_peer("NumPy", "value"), line.computed("value"), rtol=1e-4, atol=1e-6)
    assert Line(fastact.silu, x, {"beta": 2.0}).of_peer("NumPy", "value") is None


def test_families_have_the_default_and_curves_that_differ():
    assert curves.family(fastact.relu) is None
    for f in FUNCTIONS:
        if f.parameters:
            name, numbers = curves.family(f)
            assert f.parameters[name] in numbers
            assert 2 <= len(numbers) <= 5
            assert numbers == sorted(set(numbers))


def test_jumps():
    x = np.linspace(-1, 1, 41)
    assert curves.jumps(np.where(x < 0, 0.0, 1.0)).tolist() == [20]
    assert curves.jumps(abs(x)).tolist() == []
    assert curves.jumps(np.sin(3 * x)).tolist() == []


@each("dtype", ["float32", "float64"])
def test_a_picture_of_errors_has_the_bound_and_the_tails(dtype):
    pytest.importorskip("matplotlib")
    from matplotlib.figure import Figure

    from fastact.commands.plot import draw_error

    axes = Figure().add_subplot()
    draw_error(axes, fastact.sigmoid, dtype)
    lines = {line.get_label().partition(":")[0]: line for line in axes.get_lines()}
    x, errors = lines["fastact"].get_data()
    assert x[0] < -curves.tail(dtype) / 1.05 < 0 < -x[0] * 0.99 < x[-1]
    assert 0.4 < errors.max() <= fastact.sigmoid.ulp["value"] * 2
    assert lines["NumPy"].get_ydata().max() > 1000 > lines["NumPy"].get_ydata()[x > -20].max()
    assert lines["promised"].get_ydata()[0] == Line(fastact.sigmoid, np.ones(1, dtype)).promised("value")
