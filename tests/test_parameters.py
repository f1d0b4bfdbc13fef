"""Every parameter over all its binades: what the registry promises, and what it refuses.

The reference is float64 for float32 results and mpmath for float64 ones.
"""

import math
import re

import ml_dtypes
import mpmath
import numpy as np
import pytest
from common import DTYPES, ELEMENTWISE, HALF, WIDE, each, in_turn, same
from facts import FACTS

import fastact
from fastact import _isa, reference

FUNCTIONS = [f for f in ELEMENTWISE if f.parameters]
WHOLE_LINE = (-math.inf, math.inf)
LIMITED = [(f, name) for f in FUNCTIONS for name, domain in f.parameter_domain.items() if domain != WHOLE_LINE]
LARGEST = float(np.finfo(np.float64).max)
UNSIGNED = {np.float32: np.uint32, np.float64: np.uint64}

LEARNT = [(f, name) for f in FUNCTIONS for name in f.learnt]

every_function = each("f", FUNCTIONS)
every_learnt = pytest.mark.parametrize(("f", "name"), LEARNT, ids=lambda one: getattr(one, "name", one))
every_limited = pytest.mark.parametrize(("f", "name"), LIMITED, ids=lambda one: getattr(one, "name", one))


def binades(dtype, random):
    """One number of each binade, subnormal ones included, a third of them powers of two; 0 and the largest number."""
    mantissa = np.finfo(dtype).nmant
    normal = np.arange(1, 2 ** (np.finfo(dtype).bits - 1 - mantissa) - 1, dtype=np.uint64) << np.uint64(mantissa)
    subnormal = np.uint64(1) << np.arange(mantissa, dtype=np.uint64)
    starts = np.concatenate([subnormal, normal])
    lengths = np.concatenate([subnormal, np.full_like(normal, 2**mantissa)])
    inside = random.integers(0, lengths) * (random.random(starts.size) < 2 / 3)
    numbers = (starts + inside.astype(np.uint64)).astype(UNSIGNED[dtype]).view(dtype)
    return np.concatenate([numbers, np.array([0, np.finfo(dtype).max], dtype)])


def within(domain, numbers):
    wide = numbers.astype(np.float64)
    keep = (wide >= domain[0]) & (wide <= domain[1])
    for excluded in domain[2:]:
        keep &= numbers != excluded
    return numbers[keep]


def points(f, dtype, count, seed):
    """x of all binades, or of an ordinary multiple of a parameter, its inverse or its root; and the parameters."""
    random = np.random.default_rng(seed)
    both = np.concatenate([binades(dtype, random), [dtype(np.inf)]])
    both = np.concatenate([both, -both])
    parameters = []
    for k, (name, default) in enumerate(f.parameters.items()):
        anywhere = random.choice(within(f.parameter_domain[name], both), count)
        usual = random.choice(within(f.parameter_domain[name], np.array([default, 0.5, -3, 1, 0, 0.3], dtype)), count)
        turn = random.integers(2 * len(f.parameters), size=count)
        parameters.append(np.where((turn == k) | (turn >= len(f.parameters)), anywhere, usual))
    with np.errstate(all="ignore"):
        one = np.choose(random.integers(len(parameters), size=count), parameters).astype(np.float64)
        size = np.exp(random.uniform(-8, 5 if dtype == np.float32 else 7, count))
        kinds = [random.choice(both, count), size / one, size * one, size * np.sqrt(abs(one)), size]
        x = np.choose(random.integers(len(kinds), size=count), kinds).astype(dtype)
    x *= random.choice(np.array([-1, 1], dtype), count)
    if f.name == "gelu_clipped":                # on which side of a subnormal limit it is, is told with a rounding
        x[abs(x) < np.finfo(dtype).smallest_normal] = 1
    x[:50] = np.nan
    return x, parameters


def largest_term(f, mode, x, parameters):
    """Of the formulas whose terms cancel each other."""
    x, parameters = x.astype(np.float64), [one.astype(np.float64) for one in parameters]
    if (f.name, mode) == ("silu", "derivative"):
        z = parameters[0] * x
        s = 1 / (1 + np.exp(-z))
        return np.maximum(s, abs(z) * s * (1 - s))
    if (f.name, mode) == ("xielu", "derivative_in_alpha_n"):
        eps = parameters[3]
        return np.where((x <= 0) & (x > eps), np.maximum(abs(x), abs(np.expm1(np.minimum(x, eps)))), 0)
    if mode.startswith("derivative_in_"):
        return np.zeros(x.shape)
    if f.name == "xielu":
        _, alpha, beta, _ = parameters
        if mode == "value":
            return np.where(x > 0, 0, abs(x) * np.maximum(abs(alpha), abs(beta)))
        return np.where(x >= 0, 0, np.maximum(abs(alpha), abs(beta)))
    if (f.name, mode) == ("gelu_clipped", "derivative"):
        density = np.exp(-x * x / 2) / math.sqrt(2 * math.pi)
        return np.where(fastact.gelu_clipped.derivative(x, *parameters) == 0, 0, abs(x) * density)
    return np.zeros(x.shape)


def in_parameter(f, name, x, *parameters):
    return f.ufuncs[f"backward_{name}"](x.dtype.type(1), x, *parameters)


def errors(f, mode, x, parameters, m):
    name = mode.removeprefix("derivative_in_")
    call = {"value": f, "derivative": f.derivative}.get(mode, lambda *arguments: in_parameter(f, name, *arguments))
    computed = call(x, *parameters)
    beyond = np.zeros(x.shape, bool)
    if f.name == "logit":                       # both ends of what is clipped are numbers of the dtype
        eps, = parameters
        clips, top = eps <= 0.5, (1 - eps).astype(x.dtype)
        beyond = clips & ((x < eps) | (x >= top)) & (mode == "derivative")
        x, parameters = np.where(clips, np.clip(x, eps, np.maximum(top, eps)), x), [np.ones_like(eps)]
        x = np.where(beyond, x.dtype.type(0.25), x)
    exact = reference.evaluate(f.name, mode, x, *parameters, m=m)
    exact[beyond] *= 0
    error = reference.ulp_error(computed, exact)
    with np.errstate(all="ignore"):
        size = abs(exact.astype(np.float64))
        term = np.fmax(size, largest_term(f, mode, x, parameters))
        ratio = reference.ulp(size, x.dtype) / reference.ulp(np.fmin(term, LARGEST), x.dtype)
        return np.where(term > size, error * ratio, error)


def judge(f, mode, dtype, exactly):
    """Assert the promise at numbers of all binades."""
    digits = 700 if f.name == "hard_sigmoid" else 60  # where a straight piece ends is told by exact numbers alone
    x, parameters = points(f, dtype, 2500 if exactly else 60_000, 11)
    error = errors(f, mode, x, parameters, reference.mpmath_namespace(digits) if exactly else np)
    i = int(np.argmax(error))
    shown = f"{error[i]:.3f} ulp at {x[i]!r}, {[one[i] for one in parameters]}"
    assert error[i] <= f.ulp[mode] * (2 if _isa.CHOSEN == "v2" else 1), shown


@in_turn("mode", ["value", "derivative"])
@in_turn("dtype", WIDE)
@every_function
def test_promise_holds_for_every_parameter(f, dtype, mode):
    judge(f, mode, dtype, dtype == np.float64 or f.name == "hard_sigmoid")


@in_turn("dtype", WIDE)
@every_learnt
def test_promise_holds_for_the_derivative_in_every_learnt_parameter(f, name, dtype):
    judge(f, f"derivative_in_{name}", dtype, dtype == np.float64)


INF = math.inf
RIGHT = [  # of float32 where nothing else is said
    ("squareplus", "value", 0.0, 1e-80, np.float64, 5e-41),
    ("squareplus", "value", -3.16e12, 1e25, np.float32, 6.5526284e11),
    ("squareplus", "derivative", 0.0, 1e-40, np.float32, 0.5),
    ("squareplus", "value", 0.0, 1e20, np.float64, 5e9),
    ("squareplus", "value", -2.0, 0.0, np.float64, 0.0),
    ("squareplus", "derivative", 0.0, 0.0, np.float64, 1.0),
    ("softplus", "value", -58823528.0, 1.7e-6, np.float32, 2.1882873e-38),
    ("softplus", "value", -INF, -1.0, np.float64, -INF),
    ("softplus", "value", INF, -1.0, np.float64, 0.0),
    ("elu", "derivative", -1e-3, 4e29, np.float32, 3.996002e29),
    ("elu", "derivative", -300.0, 1e10, np.float32, 0.0),
    ("celu", "value", -100.0, -1.0, np.float32, -INF),
    ("celu", "value", -100.0, -1.0, np.float64, 1 - math.exp(100)),
    ("celu", "value", -750.0, -1.0, np.float64, -INF),
    ("celu", "derivative", -750.0, -1.0, np.float64, INF),
    ("celu", "value", -3.0, INF, np.float64, -3.0),
    ("celu", "derivative", -3.0, INF, np.float64, 1.0),
    ("celu", "value", -INF, INF, np.float64, -INF),
    ("celu", "derivative", -INF, INF, np.float64, 1.0),
    ("silu", "value", -INF, 0.0, np.float64, -INF),
    ("hard_sigmoid", "value", -INF, 0.0, np.float64, 0.5),
]


@pytest.mark.parametrize(("name", "mode", "x", "parameter", "dtype", "right"), RIGHT)
def test_parameters_that_were_once_wrong(name, mode, x, parameter, dtype, right):
    f = fastact.get(name)
    call = f if mode == "value" else f.derivative
    for shape in ((), (20,)):
        for given in (parameter, np.full(shape, parameter, dtype)):
            np.testing.assert_allclose(call(np.full(shape, x, dtype), given), right, rtol=2e-5)


def outside(domain):
    """Numbers that are just outside of a domain."""
    ends = [math.nextafter(domain[0], -INF), math.nextafter(domain[1], INF), *domain[2:]]
    return [end for end in ends if not (domain[0] <= end <= domain[1]) or end in domain[2:]]


@every_limited
def test_what_is_outside_the_domain_is_refused_by_name(f, name):
    x, out = np.linspace(-3, 3, 40), np.full(40, 7.0)
    assert outside(f.parameter_domain[name])
    for wrong in outside(f.parameter_domain[name]):
        words = rf"fastact\.{f.name}[a-z_.]*: {name} is {re.escape(f'{wrong:g}')}; accepted is "
        array = np.full(40, f.parameters[name])
        array[17] = wrong
        for given in (wrong, np.float64(wrong), array, np.ma.masked_array(array, mask=False)):
            for call in (f, f.derivative, lambda x, **keywords: f.backward(x, x, **keywords)):
                with pytest.raises(ValueError, match=words):
                    call(x, out=out, **{name: given})
            with pytest.raises(ValueError, match=words):
                f.value_and_derivative(x, **{name: given})
        if "backward_from_output" in f.ufuncs:
            with pytest.raises(ValueError, match=words):
                f.backward(x, output=f(x), **{name: wrong})
        with pytest.raises(ValueError, match=rf"fastact\.{f.name}\.with_defaults: {name} is "):
            f.with_defaults(**{name: wrong})
        f(x, **{name: np.ma.masked_array(array, mask=array == wrong)})
    assert (out == 7).all()


@every_limited
def test_nan_is_no_number_outside_the_domain(f, name):
    f.with_defaults(**{name: math.nan})
    y = f(np.array([0.25, 0.5]), **{name: np.array([f.parameters[name], math.nan])})
    assert not np.isnan(y[0])


def test_a_number_is_judged_as_what_the_array_makes_of_it():
    x = np.ones(3, np.float32)
    with pytest.raises(ValueError, match=r"fastact\.squareplus: b is 1e\+300, in float32 inf; accepted is 0 to"):
        fastact.squareplus(x, 1e300)
    with pytest.raises(ValueError, match=r"fastact\.softplus: beta is 1e-300, in float32 0; accepted is .*but not 0"):
        fastact.softplus(x, 1e-300)
    with pytest.raises(ValueError, match=r"fastact\.squareplus: b is -1; accepted is 0 to 1\.8e308"):
        fastact.squareplus(x, np.array([4, -1, 4], ml_dtypes.bfloat16))


def test_the_ends_of_a_domain_are_numbers_of_either_dtype():
    for dtype in (np.float32, np.float64):
        for sigma in (1e-6, 1e6, np.float32(1e-6), np.full(3, 1e-6, dtype)):
            np.testing.assert_allclose(fastact.laplace(np.ones(3, dtype), mu=1.0, sigma=sigma), 0.5)
        np.testing.assert_allclose(fastact.xielu(np.ones(3, dtype), 1e30, 1e30, -1e30, -1e-6), 0.0)


@every_function
def test_domains_are_said(f):
    assert list(f.parameter_domain) == list(f.parameters)
    for name, default in f.parameters.items():
        low, high, *excluded = f.parameter_domain[name]
        assert low <= default <= high
        assert default not in excluded
        assert f"{name} : array_like" in f.__doc__
    assert f.with_defaults(**dict.fromkeys(f.parameters, 0.75)).parameter_domain == f.parameter_domain


@in_turn("dtype", DTYPES)
@in_turn("name", ["leaky_relu", "prelu", "elu"])
def test_derivative_from_the_output_where_it_is_no_function_of_it(name, dtype):
    """As relu where the negative numbers become 0; NaN, never a number, where outputs come back for two inputs."""
    f = fastact.get(name)
    backward = f.ufuncs["backward_from_output"]
    parameter, = f.parameters
    assert f.output_domain[parameter][0] == 0
    x = np.array([-3, -1, -0.0, 0, 0.5, 2, np.inf, np.nan] * 5).astype(dtype)
    dy = np.ones_like(x)
    number = np.float32 if dtype not in (np.float32, np.float64) else dtype
    for form in (number(0), np.zeros_like(x, number)):
        expected = fastact.relu.backward(dy, output=fastact.relu(x))
        np.testing.assert_array_equal(backward(dy, f(x, 0.0), form).astype(float), expected.astype(float))
    for form in (number(-0.5), np.full_like(x, -0.5, number)):
        assert np.isnan(backward(dy, f(x, -0.5), form).astype(float)).all()
    mixed = np.array([0.25, 0, -0.5, 0.25], number)
    y = np.array([-0.125, 0, 0.5, 2]).astype(dtype)
    right = [0.125 if name == "elu" else 0.25, 0, np.nan, 1]
    np.testing.assert_array_equal(backward(np.ones_like(y), y, mixed).astype(float), right)


@pytest.mark.parametrize(("name", "wrong"), [("leaky_relu", -0.1), ("prelu", -0.1), ("elu", -1.0)])
def test_a_gradient_from_the_output_that_is_no_function_of_it_is_refused(name, wrong):
    f = fastact.get(name)
    parameter, = f.parameters
    x = np.array([-2.0, -1.0, 0.0, 1.0, 3.0])
    y, out = f(x, wrong), np.full(5, 7.0)
    words = rf"fastact\.{name}\.backward: {parameter} is {wrong:g}; accepted is 0 to .* for others pass x$"
    for given in (wrong, np.float32(wrong), np.full(5, wrong), np.array([0.25, 0.25, 0, 1, wrong])):
        with pytest.raises(ValueError, match=rf"fastact\.{name}\.backward: {parameter} is .*; for others pass x$"):
            f.backward(np.ones(5), output=y, out=out, **{parameter: given})
    g = f.with_defaults(**{parameter: wrong})
    for dtype in (np.float32, np.float64, np.float16):
        for arguments in ({"out": out.astype(dtype)}, {}):
            with pytest.raises(ValueError, match=words):
                g.backward(np.ones(5, dtype), output=y.astype(dtype), **arguments)
    assert (out == 7).all()
    np.testing.assert_array_equal(g.backward(np.ones(5), x), f.backward(np.ones(5), x, wrong))
    # As relu where the parameter is 0
    expected = fastact.relu.backward(np.ones(5), output=fastact.relu(x))
    np.testing.assert_array_equal(f.backward(np.ones(5), output=f(x, 0.0), **{parameter: 0.0}), expected)
    np.testing.assert_array_equal(
        f.with_defaults(**{parameter: 0.0}).backward(np.ones(5), output=f(x, 0.0)), expected)


def test_the_gradient_from_the_output_of_keras_prelu_is_that_of_relu():
    f = fastact.get("PReLU", convention="keras")
    x = np.array([-2.0, -1.0, 0.0, 1.0, 3.0])
    np.testing.assert_array_equal(f.backward(np.ones(5), output=f(x)), [0, 0, 0, 1, 1])


# ------------------------------------------------------------------------------------------------- learnt parameters


def terms(f, name, dy, x, *parameters):
    """dy times the derivative in a parameter, in float64, by the reference."""
    arrays = [np.asarray(one, np.float64) for one in np.broadcast_arrays(dy, x, *parameters)]
    return arrays[0] * reference.evaluate(f.name, f"derivative_in_{name}", *arrays[1:])


def test_what_is_learnt():
    assert [(f.name, name) for f, name in LEARNT] == [
        ("softplus", "beta"), ("leaky_relu", "negative_slope"), ("prelu", "negative_slope"), ("elu", "alpha"),
        ("celu", "alpha"), ("silu", "beta"), ("squareplus", "b"), ("xielu", "alpha_p"), ("xielu", "alpha_n"),
        ("xielu", "beta")]
    for f in ELEMENTWISE:
        assert set(f.learnt) <= set(f.parameters)
        assert set(f.ulp) == {"value", "derivative", *(f"derivative_in_{name}" for name in f.learnt)}
        assert set(reference.ELEMENTWISE[f.name].in_parameters) == set(f.learnt), (
            f"write the derivatives of {f.name} in {f.learnt} into in_parameters of fastact/reference.py")


@every_learnt
def test_reference_is_the_derivative_of_the_textbook_definition(f, name):
    k = list(f.parameters).index(name)
    with mpmath.workdps(60):
        for usual in (f.parameters[name], 0.3, 3.0, -0.7):
            if not f.parameter_domain[name][0] <= usual <= f.parameter_domain[name][1]:
                continue
            for x in (-9.5, -1.25, -0.4, -1e-3, 1e-3, 0.75, 8.0):
                parameters = [usual if i == k else float(one) for i, one in enumerate(f.parameters.values())]
                number = mpmath.mpf(x)
                right = mpmath.diff(lambda one, number=number, parameters=parameters: FACTS[f.name].definition(
                    number, *[one if i == k else mpmath.mpf(p) for i, p in enumerate(parameters)]), usual)
                exact = reference.evaluate(f.name, f"derivative_in_{name}", x, *parameters)
                np.testing.assert_allclose(float(exact), float(right), rtol=1e-13, atol=1e-40)


IN_PARAMETER = [  # x, parameters and the derivative: at infinity, at 0, where terms meet
    ("softplus", "beta", INF, (1.0,), 0.0), ("softplus", "beta", -INF, (-2.0,), 0.0),
    ("softplus", "beta", 0.0, (2.0,), -math.log(2) / 4), ("softplus", "beta", 0.0, (-1.0,), -math.log(2)),
    ("leaky_relu", "negative_slope", 0.0, (0.01,), 0.0), ("leaky_relu", "negative_slope", -INF, (0.01,), -INF),
    ("prelu", "negative_slope", -0.0, (0.25,), 0.0), ("prelu", "negative_slope", INF, (0.25,), 0.0),
    ("elu", "alpha", -INF, (3.0,), -1.0), ("elu", "alpha", 0.0, (3.0,), 0.0), ("elu", "alpha", INF, (3.0,), 0.0),
    ("celu", "alpha", -INF, (2.0,), -1.0), ("celu", "alpha", -INF, (-2.0,), -INF), ("celu", "alpha", 0.0, (2.0,), 0.0),
    ("celu", "alpha", -3.0, (INF,), 0.0), ("celu", "alpha", -INF, (INF,), 0.0), ("celu", "alpha", INF, (2.0,), 0.0),
    ("silu", "beta", -INF, (1.0,), 0.0), ("silu", "beta", INF, (-1.0,), 0.0), ("silu", "beta", 2.0, (0.0,), 1.0),
    ("silu", "beta", -INF, (0.0,), INF), ("silu", "beta", 0.0, (1.0,), 0.0),
    ("squareplus", "b", 0.0, (0.0,), INF), ("squareplus", "b", -2.0, (0.0,), 0.125),
    ("squareplus", "b", 0.0, (4.0,), 0.125), ("squareplus", "b", -INF, (4.0,), 0.0),
    ("xielu", "alpha_p", 0.0, (0.8, 0.8, 0.5, -1e-6), 0.0), ("xielu", "alpha_p", INF, (0.8, 0.8, 0.5, -1e-6), INF),
    ("xielu", "alpha_p", -INF, (0.8, 0.8, 0.5, -1e-6), 0.0), ("xielu", "alpha_n", INF, (0.8, 0.8, 0.5, -1e-6), 0.0),
    ("xielu", "alpha_n", -INF, (0.8, 0.8, 0.5, -1e-6), INF),
    ("xielu", "alpha_n", 0.0, (0.8, 0.8, 0.5, -2.0), math.expm1(-2)),
    ("xielu", "beta", -INF, (0.8, 0.8, 0.5, -1e-6), -INF), ("xielu", "beta", 2.0, (0.8, 0.8, 0.5, -1e-6), 2.0),
]


@in_turn("dtype", DTYPES)
@in_turn("name, parameter, x, parameters, right", IN_PARAMETER)
def test_derivatives_in_parameters_at_infinity_and_at_kinks(name, parameter, x, parameters, right, dtype):
    f, wide = fastact.get(name), np.float64 if dtype == np.float64 else np.float32
    for shape in ((), (37,)):
        array = np.full(shape, x, dtype)
        for given in (parameters, [np.full(shape, one, wide) for one in parameters]):
            with np.errstate(all="raise"):
                gradient = f.backward_parameter(np.ones(shape, dtype), array, *given, name=parameter)
            count = array.size // np.size(gradient)
            np.testing.assert_allclose(np.asarray(gradient, float), right * count, rtol=1e-2 if dtype in HALF else 1e-6)
        nan = f.backward_parameter(np.ones(shape, dtype), np.full(shape, np.nan, dtype), *parameters, name=parameter)
        assert np.isnan(nan)


@in_turn("dtype", DTYPES)
@every_learnt
def test_gradient_is_the_sum_over_what_the_parameter_was_broadcast_to(f, name, dtype):
    random = np.random.default_rng(5)
    dy, x = (random.uniform(-4, 4, (3, 5, 8)).astype(dtype) for _ in range(2))
    wide = np.float64 if dtype == np.float64 else np.float32
    k = list(f.parameters).index(name)
    for shape in ((), (8,), (5, 1), (3, 1, 8), (3, 5, 8), (1, 1, 1), (2, 3, 5, 8), (2, 1, 1, 1)):
        parameters = list(f.parameters.values())
        parameters[k] = random.uniform(0.3, 2, shape).astype(wide)
        gradient = f.backward_parameter(dy, x, *parameters, name=name)
        assert gradient.shape == shape
        assert gradient.dtype == dtype
        each_term = terms(f, name, dy, x, *parameters)
        lengths = (1,) * (each_term.ndim - len(shape)) + shape
        summed = tuple(i for i in range(each_term.ndim) if lengths[i] == 1)
        right, size = (np.asarray(one).sum(axis=summed).reshape(shape) for one in (each_term, abs(each_term)))
        eps = float(np.finfo(wide).eps)
        rounding = abs(right) * 2.0**-8 if dtype not in WIDE else 0
        np.testing.assert_array_less(abs(np.asarray(gradient, float) - right), 6 * eps * size + rounding + 1e-30)


@in_turn("dtype", WIDE)
@every_learnt
def test_gradient_has_the_same_bits_for_any_layout_and_threads_and_its_sum_is_exact(f, name, dtype):
    random = np.random.default_rng(6)
    dy, x = (random.uniform(-4, 4, (40, 50)).astype(dtype) for _ in range(2))
    parameters = list(f.parameters.values())
    expected = f.backward_parameter(dy, x, name=name)
    numbers = f.ufuncs[f"backward_{name}"](dy, x, *map(dtype, parameters))
    assert expected == dtype(math.fsum(numbers.ravel().tolist()))
    order = random.permutation(dy.size)
    spread = np.zeros((80, 150), dtype)[::2, ::3]
    spread[...] = x
    locked = x.copy()
    locked.flags.writeable = False
    for one, other in ((dy.T, x.T), (dy.ravel()[order], x.ravel()[order]), (np.asfortranarray(dy), spread),
                       (dy[::-1, ::-1], x[::-1, ::-1]), (dy, locked)):
        for count in (1, 3):
            with fastact.threads(count):
                same(f.backward_parameter(one, other, name=name)[()].astype(dtype), expected)
    zero = f.backward_parameter(np.empty((0, 3), dtype), np.empty((0, 3), dtype), name=name)
    assert zero == 0
    assert zero.dtype == dtype
    g = f.with_defaults(**dict.fromkeys([name], 0.75))
    same(g.backward_parameter(dy, x, name=name), f.backward_parameter(dy, x, name=name, **{name: 0.75}))


@pytest.mark.parametrize(("name", "arguments", "keywords", "error", "words"), [
    ("xielu", (), {}, ValueError, "name is None; accepted are alpha_p, alpha_n, beta"),
    ("xielu", (), {"name": "eps"}, ValueError, "name is 'eps'; accepted are alpha_p, alpha_n, beta"),
    ("xielu", (), {"parameter": 0.8, "name": "beta"}, TypeError, "unknown argument parameter; accepted are dy, x, a"),
    ("elu", (1.0,), {"alpha": 2.0}, TypeError, "got two values for the argument alpha"),
    ("elu", (1.0, 2.0), {}, TypeError, "got 2 parameters by position, accepted are at most 1: alpha"),
    ("gelu", (), {}, TypeError, "gelu has no parameter that is learnt; accepted are activations with `learnt`"),
    ("softplus", (0.0,), {}, ValueError, "beta is 0; accepted is "),
])
def test_gradients_of_parameters_that_are_refused(name, arguments, keywords, error, words):
    x = np.linspace(-2, 2, 9)
    with pytest.raises(error, match=rf"^fastact\.{name}\.backward_parameter: {words}"):
        fastact.get(name).backward_parameter(x, x, *arguments, **keywords)


def test_gradients_of_parameters_take_parameters_by_position_and_by_name():
    x = np.linspace(-2, 2, 9)
    one = fastact.xielu.backward_parameter(x, x, alpha_n=0.3, name="beta")
    assert one == fastact.xielu.backward_parameter(x, x, None, 0.3, name="beta") == (x * x).sum()
    assert fastact.xielu.backward_parameter([1, 2], [3, 4], name="alpha_p") == 41
    with pytest.raises(TypeError, match=r"^fastact.softplus.backward_parameter: x has the dtype complex128; accepted"):
        fastact.softplus.backward_parameter(x, x + 1j)
    with pytest.raises(ValueError, match="broadcast"):
        fastact.softplus.backward_parameter(x, x, np.ones(4))
