"""The softmax family: accuracy, bit-identity of rows in any layout, axes, masks, outputs, errors.

The functions are those of the registry; their exact values come from fastact.reference, which shares no code with them.
"""

import copy
import inspect
import itertools
import math
import os
import pickle
import subprocess
import sys

import numpy as np
import pytest
from rows import above_equals, confident, decided, normal, same_bits

import fastact
from fastact import RowReduction, Rowwise, _isa, reference

ROWWISE = [f for f in fastact.activations.values() if isinstance(f, Rowwise)]
REDUCTIONS = [f for f in fastact.activations.values() if isinstance(f, RowReduction)]
FUNCTIONS = ROWWISE + REDUCTIONS
SCALED = [f for f in ROWWISE if f.parameters]
# What an entry is that takes no part, and what the only entry of a row is
MASKED = {"softmax": 0.0, "softmin": 0.0, "hardmax": 0.0, "log_softmax": -math.inf}
ALONE = {"softmax": 1.0, "softmin": 1.0, "hardmax": 1.0, "log_softmax": 0.0}
SIGN = {"softmin": -1.0}  # of the logits, where it is not 1
FACTORS = [(3.0, 1.0), (0.125, 0.7), (1.0, 3.0), (40.0, 1.0), (1.0, 1e-5), (1.0, 1e4), (1e300, 1e295), (1e-30, 1.0),
           (1e30, 1.0)]  # scale, temperature

DTYPES = (np.float32, np.float64)
SHORT = [*range(1, 41), 255, 256, 257, 1000]
LONG = [4095, 4096, 4097, 8191, 8192, 8193, 100_000]
WIDER = np.longdouble if np.finfo(np.longdouble).nmant >= 63 else None  # else mpmath judges float64
INF, NAN = math.inf, math.nan


def named(function):
    return function.name if hasattr(function, "name") else function.__name__


def each(argument, values):
    return pytest.mark.parametrize(argument, values, ids=named)


every_function = each("f", FUNCTIONS)
every_rowwise = each("f", ROWWISE)
every_scaled = each("f", SCALED)
every_dtype = each("dtype", DTYPES)


def exact(name, mode, *arrays):
    """The reference, in a type with at least eleven bits more than the arrays."""
    arrays = [np.asarray(array) for array in arrays]
    if all(array.dtype == np.float32 for array in arrays):
        return reference.evaluate(name, mode, *arrays)
    if WIDER is None:
        return reference.evaluate(name, mode, *arrays, m=reference.mpmath_namespace(40))
    return reference.evaluate(name, mode, *(array.astype(WIDER) for array in arrays))


def by_mpmath(name, mode, *arrays):
    return reference.evaluate(name, mode, *arrays, m=reference.mpmath_namespace(50))


def with_holes(random, shape):
    rows = np.where(random.random(shape) < 0.3, -INF, random.uniform(-100, 100, shape))
    rows[..., random.integers(shape[-1])] = random.uniform(-100, 100)
    return rows


def every_binade(random, shape):
    return random.choice([-1.0, 1.0], shape) * 2.0 ** random.uniform(-140, 6.5, shape)


KINDS = {
    "uniform": lambda random, shape: random.uniform(-100, 100, shape),
    "normal": lambda random, shape: random.standard_normal(shape),
    "confident": confident,
    "decided": decided,
    "above_equals": above_equals,
    "every_binade": every_binade,
    "offset_1e4": lambda random, shape: 1e4 + random.standard_normal(shape),
    "offset_-1e4": lambda random, shape: -1e4 + 30 * random.standard_normal(shape),
    "offset_1e30": lambda random, shape: 1e30 * (1 + random.standard_normal(shape) * random.choice([0, 1e-6], shape)),
    "largest": lambda random, shape: random.choice([-1.0, 1.0, 1.0], shape) * float(np.finfo(np.float32).max),
    "constant": lambda random, shape: np.full(shape, random.uniform(-100, 100)),
    "holes": with_holes,
}


def logits_of(kind, dtype, length, rows=None):
    random = np.random.default_rng(length)
    count = rows or (20 if length <= 1000 else 4 if length < 10_000 else 1)
    return KINDS[kind](random, (count, length)).astype(dtype)


def logsumexp_unit(result, logits):
    """ulp of the largest of the two numbers whose sum the result is: the maximum, and the logarithm of the rest."""
    largest = abs(logits.max(axis=-1)).astype(np.float64)
    parts = np.maximum(largest, math.log(logits.shape[-1]))
    return reference.ulp(np.maximum(abs(result.astype(np.float64)), parts), logits.dtype)


# --------------------------------------------------------------------------------------------------------------- values


def test_every_function_has_a_reference():
    assert {f.name for f in FUNCTIONS} == reference.ROWWISE.keys()
    assert {f.name for f in ROWWISE} == MASKED.keys() == ALONE.keys()


@every_dtype
@pytest.mark.parametrize("kind", KINDS)
@every_rowwise
def test_values_within_4_ulp(f, kind, dtype):
    for length in SHORT + LONG:
        x = logits_of(kind, dtype, length)
        computed = f(x)
        assert computed.dtype == dtype
        assert reference.ulp_error(computed, exact(f.name, "value", x)).max() <= f.ulp["value"], length


def test_values_of_many_confident_rows():
    """What the sum loses beside its largest term all entries have: in units of 2^-24, a rounding or two of it."""
    random = np.random.default_rng(0)
    x = random.standard_normal((30_000, 128))
    x[:, 17] += random.uniform(5, 20, len(x))
    x = x.astype(np.float32)
    error = abs(fastact.softmax(x) / exact("softmax", "value", x) - 1) * 2**24
    assert np.median(error, axis=1).max() < 2.7


@every_dtype
@pytest.mark.parametrize("kind", KINDS)
@each("f", REDUCTIONS)
def test_reductions_within_2_ulp(f, kind, dtype):
    """Of the result; where the maximum and the logarithm cancel, of the larger of these."""
    for length in SHORT + LONG:
        x = logits_of(kind, dtype, length)
        computed, right = f(x), exact(f.name, "value", x)
        assert computed.dtype == dtype
        assert computed.shape == x.shape[:-1]
        assert (abs(computed - right) / logsumexp_unit(right, x)).max() <= 2, length
        without_cancellation = x.max(axis=-1) >= 0
        if without_cancellation.any():
            errors = reference.ulp_error(computed, right)[without_cancellation]
            assert errors.max() <= 2, length


@every_dtype
@pytest.mark.parametrize("kind", KINDS)
@every_function
def test_values_against_mpmath(f, kind, dtype):
    for length in (1, 2, 3, 5, 16, 17, 40, 257):
        x = logits_of(kind, dtype, length, rows=2)
        computed, right = f(x), by_mpmath(f.name, "value", x)
        errors = abs(computed - right) / logsumexp_unit(right, x) if f in REDUCTIONS else (
            reference.ulp_error(computed, right))
        assert errors.max() <= (2 if f in REDUCTIONS else f.ulp["value"]), length


@pytest.mark.parametrize("dtype, tolerance", [(np.float32, 1e-6), (np.float64, 2e-15)])
@pytest.mark.parametrize("kind", KINDS)
def test_rows_of_softmax_add_up_to_1(kind, dtype, tolerance):
    for length in SHORT + LONG:
        total = math.fsum(fastact.softmax(logits_of(kind, dtype, length, rows=1))[0].tolist())
        assert total == pytest.approx(1, rel=0, abs=tolerance), length


@every_dtype
@pytest.mark.parametrize("length", [2, 3, 16, 17, 300, 5000])
def test_log_softmax_of_a_confident_row_keeps_the_rest(length, dtype):
    x = normal(length, dtype, spread=1)
    for sure in (20, 40, 60):
        x[0] = sure
        entry = fastact.log_softmax(x)[0]
        rest = -math.log1p(math.fsum(math.exp(float(a) - sure) for a in x[1:]))
        assert entry == pytest.approx(rest, rel=4 * float(np.finfo(dtype).eps))
        assert entry < 0


@every_dtype
@every_function
def test_values_of_a_single_entry(f, dtype):
    x = np.array([[0.0], [-5.5], [1e30], [-1e30]], dtype)
    expected = x[:, 0] if f in REDUCTIONS else np.full_like(x, ALONE[f.name])
    np.testing.assert_allclose(f(x), expected, rtol=float(np.finfo(dtype).eps), atol=0)


SPECIAL_ROWS = [  # row, softmax, log_softmax, logsumexp
    ([NAN, 1.0], [NAN, NAN], [NAN, NAN], NAN),
    ([1.0, INF], [NAN, NAN], [NAN, NAN], INF),
    ([INF, INF], [NAN, NAN], [NAN, NAN], INF),
    ([-INF, INF], [NAN, NAN], [NAN, NAN], INF),
    ([INF, NAN], [NAN, NAN], [NAN, NAN], NAN),
    ([NAN, -INF], [NAN, NAN], [NAN, NAN], NAN),
    ([-INF, -INF], [NAN, NAN], [NAN, NAN], -INF),
    ([-INF, 3.0], [0.0, 1.0], [-INF, 0.0], 3.0),
]


@every_dtype
@pytest.mark.parametrize("row, softmax, log_softmax, logsumexp", SPECIAL_ROWS)
def test_special_rows(row, softmax, log_softmax, logsumexp, dtype):
    for x in (row, row[::-1]):
        for f in ROWWISE:
            right = log_softmax if f.name == "log_softmax" else softmax
            if f.name == "hardmax" and not np.isnan(x).any():
                right = (np.arange(2) == np.argmax(x)).astype(float)
                right = right if x is row else right[::-1]
            logits = SIGN.get(f.name, 1) * np.array(x, dtype)
            for parameters in ({}, {"temperature": 3}) if f in SCALED else ({},):
                np.testing.assert_array_equal(f(logits, **parameters), right if x is row else right[::-1])
        np.testing.assert_array_equal(fastact.logsumexp(np.array(x, dtype)), logsumexp)


@every_dtype
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("length", [15, 16, 17, 300, 4097, 60_000])
@every_function
def test_special_entries_far_apart(f, length, threads, dtype):
    """A NaN or an infinity is seen wherever in the row it stands, by rows and by columns; its neighbours stay right."""
    first, last, middle = 0, length - 1, length // 2
    x = normal((8, length), dtype)
    clean = f(x)
    spoilt = {0: {first: NAN}, 1: {last: NAN}, 3: {middle: INF}, 4: {first: INF, last: NAN}, 5: {first: NAN, last: INF},
              6: dict.fromkeys(range(length), -INF)}
    for row, entries in spoilt.items():
        for place, value in entries.items():
            x[row, place] = SIGN.get(f.name, 1) * value
    reduced = {0: NAN, 1: NAN, 3: INF, 4: NAN, 5: NAN, 6: -INF}
    with fastact.threads(threads):
        by_rows, by_columns = f(x), f(np.ascontiguousarray(x.T), axis=0)
        alone = [f(row[np.newaxis])[0] for row in x]
    for result in (by_rows, by_columns.T, alone):
        for row in range(len(x)):
            right = clean[row] if row not in spoilt else reduced[row] if f in REDUCTIONS else np.full(length, NAN)
            if f.name == "hardmax" and row in (3, 6):
                right = np.arange(length) == (middle if row == 3 else first)
            np.testing.assert_array_equal(result[row], right)


@pytest.mark.parametrize("isa", [isa for isa in _isa.SUPPORTED if isa != _isa.CHOSEN])
def test_other_instruction_sets(isa):
    """The mathematics of this page, once more with each of the other sets that this processor runs."""
    mathematics = "values_within or reductions_within or backward_from or diagonal"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--tb=line", __file__, "-k", mathematics]
    finished = subprocess.run(command, env={**os.environ, "FASTACT_ISA": isa}, capture_output=True, text=True)
    assert finished.returncode == 0, finished.stdout


# ------------------------------------------------------------------------------------------------------------- backward


def absolute_sum(x):
    return abs(x).sum(axis=-1, keepdims=True)


# What the terms of the exact result add up to in absolute value: no rounding of them can be smaller than its eps.
TERMS = {
    "softmax": lambda dy, p: p * (abs(dy) + absolute_sum(dy * p)),
    "softmin": lambda dy, p: p * (abs(dy) + absolute_sum(dy * p)),
    "hardmax": lambda dy, p: 0 * p,
    "log_softmax": lambda dy, y: abs(dy) + np.exp(y) * absolute_sum(dy),
}


@every_dtype
@pytest.mark.parametrize("kind", ["uniform", "normal", "confident", "above_equals", "holes", "offset_1e4"])
@every_rowwise
def test_backward_from_the_output(f, kind, dtype):
    for length in SHORT + LONG:
        output = f(SIGN.get(f.name, 1) * logits_of(kind, dtype, length))
        dy = normal(output.shape, dtype, length)
        if f.name == "log_softmax":
            dy[np.isneginf(output)] = 0
        computed = f.backward(dy, output=output)
        assert computed.dtype == dtype
        allowed = 4 * float(np.finfo(dtype).eps) * TERMS[f.name](dy.astype(np.float64), output.astype(np.float64))
        errors = abs(computed - exact(f.name, "backward", dy, output))
        assert (errors <= allowed + float(np.finfo(dtype).smallest_subnormal)).all(), length


@every_dtype
@every_rowwise
def test_backward_from_the_logits_against_mpmath(f, dtype):
    for kind, length in itertools.product(("uniform", "confident", "above_equals"), (1, 2, 3, 17, 40, 257)):
        x = logits_of(kind, dtype, length, rows=2)
        dy = normal(x.shape, dtype, length)
        output = by_mpmath(f.name, "value", x)
        right = by_mpmath(f.name, "backward", dy, output)
        allowed = 8 * float(np.finfo(dtype).eps) * TERMS[f.name](dy.astype(np.float64), output.astype(np.float64))
        # The output has an error of its own, which where it is subnormal is a part of that unit.
        allowed += 2 * float(np.finfo(dtype).smallest_subnormal) * (1 + absolute_sum(dy))
        assert (abs(f.backward(dy, x) - right) <= allowed).all(), (kind, length)
        assert same_bits(f.backward(dy, x), f.backward(dy, output=f(x)))


@every_dtype
@pytest.mark.parametrize("kind", KINDS)
@each("f", REDUCTIONS)
def test_backward_values_of_reductions(f, kind, dtype):
    for length in SHORT + LONG:
        x = logits_of(kind, dtype, length)
        dy = normal(len(x), dtype, length)
        computed = f.backward(dy, x)
        assert computed.dtype == dtype
        assert reference.ulp_error(computed, exact(f.name, "backward", dy, x)).max() <= 5, length


@every_dtype
@pytest.mark.parametrize("length", [1, 2, 3, 10, 40])
def test_backward_is_the_sum_of_the_founding_notes(length, dtype):
    """Of dL/dp_i times dp_i/dz_j, which is p_i (1 - p_i) for j = i and -p_i p_j otherwise: the transposed Jacobian."""
    z, dp = normal((5, length), dtype, seed=1), normal((5, length), dtype, seed=2)
    p = fastact.softmax(z)
    computed = fastact.softmax.backward(dp, output=p)
    by_jacobian = np.einsum("rij,ri->rj", fastact.softmax.jacobian(z), dp)
    for row, (probabilities, upstream) in enumerate(zip(p.tolist(), dp.tolist(), strict=True)):
        for j, p_j in enumerate(probabilities):
            terms = [(upstream[i] * p_i * (1 - p_i)) if i == j else upstream[i] * -p_i * p_j
                     for i, p_i in enumerate(probabilities)]
            tolerance = 8 * float(np.finfo(dtype).eps) * max(map(abs, upstream)) * p_j
            assert computed[row, j] == pytest.approx(math.fsum(terms), rel=0, abs=2 * tolerance)
            assert by_jacobian[row, j] == pytest.approx(math.fsum(terms), rel=0, abs=2 * tolerance)


@every_dtype
@pytest.mark.parametrize("length", [1, 2, 17, 257, 4097, 100_000])
def test_backward_of_softmax_adds_up_to_0(length, dtype):
    dp, p = normal((1, length), dtype), fastact.softmax(normal((1, length), dtype, seed=1))
    gradient = fastact.softmax.backward(dp, output=p)
    allowed = 4 * np.finfo(dtype).eps * TERMS["softmax"](dp.astype(np.float64), p.astype(np.float64)).sum()
    assert abs(math.fsum(gradient[0].tolist())) <= allowed


@every_dtype
@pytest.mark.parametrize("kind", ["uniform", "normal", "confident", "above_equals", "constant", "holes"])
def test_jacobian_against_mpmath(kind, dtype):
    for length in (1, 2, 3, 8, 17, 40):
        x = logits_of(kind, dtype, length, rows=2)
        computed = fastact.softmax.jacobian(x)
        assert computed.dtype == dtype
        assert computed.shape == (2, length, length)
        p = by_mpmath("softmax", "value", x)
        right = -p[:, :, np.newaxis] * p[:, np.newaxis, :]
        for i in range(length):
            right[:, i, i] = p[:, i] * (np.delete(p, i, axis=1).sum(axis=1) if length > 1 else 0)
        assert reference.ulp_error(computed, right).max() <= 12, length
        lines = abs(computed.astype(np.float64).sum(axis=-1))
        assert (lines <= 4 * np.finfo(dtype).eps * abs(computed).sum(axis=-1)).all(), length


@pytest.mark.parametrize("dtype, sure", [(np.float32, 20), (np.float32, 60), (np.float64, 40), (np.float64, 300)])
def test_jacobian_of_a_confident_row_keeps_its_diagonal(dtype, sure):
    jacobian = fastact.softmax.jacobian(np.array([sure, 0, 0], dtype))
    p = by_mpmath("softmax", "value", np.array([sure, 0, 0], float))
    assert fastact.softmax(np.array([sure, 0, 0], dtype))[0] == 1  # p (1 - p) would be 0
    assert reference.ulp_error(jacobian[0, 0], p[0] * (p[1] + p[2])) <= 8


def test_jacobian_takes_any_shape():
    x = normal((2, 3, 4, 5))
    jacobian = fastact.softmax.jacobian(x)
    assert jacobian.shape == (2, 3, 4, 5, 5)
    assert same_bits(jacobian[1, 2, 3], fastact.softmax.jacobian(x[1, 2, 3]))
    assert same_bits(fastact.softmax.jacobian([1, 2]), fastact.softmax.jacobian(np.array([1.0, 2.0])))
    assert fastact.softmax.jacobian(np.empty((2, 0), np.float32)).shape == (2, 0, 0)
    assert fastact.softmax.jacobian(np.empty((0, 2), np.float32)).shape == (0, 2, 2)
    assert (fastact.softmax.jacobian(7.0 * np.ones(1)) == 0).all()
    with pytest.raises(np.exceptions.AxisError, match=r"fastact\.softmax\.jacobian: x "):
        fastact.softmax.jacobian(1.0)


@every_dtype
def test_jacobian_of_log_softmax(dtype):
    x = logits_of("confident", dtype, 6, rows=3)
    p = by_mpmath("softmax", "value", x).astype(np.float64)
    right = np.eye(6) - p[:, np.newaxis, :]
    np.testing.assert_allclose(fastact.log_softmax.jacobian(x), right, rtol=0, atol=4 * np.finfo(dtype).eps)


def test_backward_takes_x_or_output():
    x = normal((2, 3))
    for f in ROWWISE:
        for keywords in ({}, {"x": x, "output": x}):
            with pytest.raises(TypeError, match=rf"fastact\.{f.name}\.backward: accepted is either x or output"):
                f.backward(x, **keywords)


@every_function
def test_backward_of_types_that_differ(f):
    """float32 beside float64 is computed in float64; a Python number takes the dtype of the logits, as in NumPy."""
    x = normal((3, 4), np.float32)
    y = f(x)
    dy = normal(y.shape, np.float64, seed=1)
    assert same_bits(f.backward(dy, x), f.backward(dy, x.astype(np.float64)) if f in REDUCTIONS
                     else f.backward(dy, output=y.astype(np.float64)))
    if f in REDUCTIONS:
        assert same_bits(f.backward(2.0, x, axis=None), f.backward(np.float32(2), x, axis=None))


# ------------------------------------------------------------------------------------------------ scale and temperature


@every_dtype
@pytest.mark.parametrize("scale, temperature", FACTORS)
@every_scaled
def test_values_with_a_factor_within_4_ulp(f, scale, temperature, dtype):
    """Also where a float32 logit times the factor is none any more."""
    for kind, length in itertools.product(KINDS, (1, 2, 17, 40, 257)):
        x = logits_of(kind, dtype, length, rows=2)
        right = by_mpmath(f.name, "value", x, np.float64(scale), np.float64(temperature))
        errors = reference.ulp_error(f(x, scale=scale, temperature=temperature), right)
        assert errors.max() <= f.ulp["value"], (kind, length)


@every_dtype
@pytest.mark.parametrize("scale, temperature", [(3.0, 1.0), (0.125, 0.7), (1.0, 3.0), (40.0, 1.0)])
@every_scaled
def test_backward_with_a_factor_against_mpmath(f, scale, temperature, dtype):
    factors = {"scale": scale, "temperature": temperature}
    for kind, length in itertools.product(("uniform", "normal", "confident"), (1, 2, 3, 17, 40, 257)):
        x = logits_of(kind, dtype, length, rows=2)
        dy = normal(x.shape, dtype, length)
        exact_factors = [np.float64(scale), np.float64(temperature)]
        output = by_mpmath(f.name, "value", x, *exact_factors)
        right = by_mpmath(f.name, "backward", dy, output, *exact_factors)
        allowed = 10 * float(np.finfo(dtype).eps) * TERMS[f.name](dy.astype(np.float64), output.astype(np.float64))
        allowed += 2 * float(np.finfo(dtype).smallest_subnormal) * (1 + absolute_sum(dy))
        assert (abs(f.backward(dy, x, **factors) - right) <= allowed * scale / temperature).all(), (kind, length)
        y = f(x, **factors)
        assert same_bits(f.backward(dy, x, **factors), f.backward(dy, output=y, **factors))


@every_scaled
def test_factors_are_what_they_say(f):
    x = normal((5, 40))
    assert same_bits(f(x, scale=5, temperature=5), f(x))
    assert same_bits(f(x, scale=np.float32(2), temperature=True), f(x, scale=2))
    assert same_bits(f(x, temperature=4), f(x, scale=0.25))
    np.testing.assert_allclose(f(x, scale=2), f(2 * x), rtol=1e-14, atol=1e-14)
    mask, out = normal((5, 40), seed=1) > 0, np.empty((5, 40))
    np.testing.assert_allclose(f(x, scale=2, where=mask), f(2 * x, where=mask), rtol=1e-14, atol=1e-14)
    assert f(x, 0, scale=2, out=out) is out
    assert same_bits(out, f(x, 0, scale=2))
    np.testing.assert_allclose(f.jacobian(x[0], scale=2), 2 * f.jacobian(2 * x[0]), rtol=1e-12, atol=1e-14)
    cold = f(x, temperature=1e-9)
    assert same_bits(np.exp(cold) if f.name == "log_softmax" else cold, fastact.hardmax(SIGN.get(f.name, 1) * x))


@pytest.mark.parametrize("name", ["scale", "temperature"])
@every_rowwise
def test_bad_factors(f, name):
    x, out = normal((3, 4)), np.full((3, 4), 7.0)
    wrong = [(0, ValueError), (-1.0, ValueError), (NAN, ValueError), (INF, ValueError), (10**400, ValueError),
             ("1", TypeError), (None, TypeError), (np.ones(2), TypeError), (1j, TypeError)]
    for number, error in wrong:
        text = f"{name} " if f in SCALED else f"unknown parameter {name}"
        error = error if f in SCALED else TypeError
        raises(error, f.name, text, lambda number=number: f(x, out=out, **{name: number}))
        raises(error, f"{f.name}.backward", text, lambda number=number: f.backward(x, x, out=out, **{name: number}))
        with pytest.raises(error, match=rf"fastact\.{f.name}: {text}"):
            f.jacobian(x, **{name: number})
    if f in SCALED:
        for scale, temperature in ((1e20, 1e-20), (1, 1e31), (1e200, 1e-200)):
            raises(ValueError, f.name, "scale / temperature is",
                   lambda scale=scale, temperature=temperature: f(x, scale=scale, temperature=temperature, out=out))
    assert (out == 7).all()


# -------------------------------------------------------------------------------------------------------------- hardmax


@every_dtype
@pytest.mark.parametrize("length", [1, 5, 16, 37, 300, 4100, 20_001])
def test_hardmax_takes_the_first_maximum(length, dtype):
    """Compared with NumPy's argmax, in rows of few different numbers."""
    x = np.random.default_rng(length).integers(-3, 3, (7, length)).astype(dtype)
    right = np.zeros_like(x)
    np.put_along_axis(right, x.argmax(axis=1)[:, np.newaxis], 1, axis=1)
    for threads in (1, 2):
        with fastact.threads(threads):
            assert same_bits(fastact.hardmax(x), right)
            assert same_bits(fastact.hardmax(np.ascontiguousarray(x.T), 0), right.T)


@every_dtype
@pytest.mark.parametrize("length", [3, 17, 300, 4100, 20_001])
def test_hardmax_of_infinities(length, dtype):
    """+inf is a largest entry like any other, the first of several wins; -inf alone too; NaN alone gives NaN."""
    random = np.random.default_rng(length)
    x = random.standard_normal((6, length)).astype(dtype)
    first, second = sorted(random.choice(length, 2, replace=False))
    x[0, first] = math.inf
    x[1, [first, second]] = math.inf
    x[2] = -math.inf
    x[3] = -math.inf
    x[3, second] = 1
    x[4, [first, second]] = math.nan, math.inf
    x[5] = math.inf
    right = np.zeros_like(x)
    right[[0, 1, 2, 3, 5], [first, first, 0, second, 0]] = 1
    right[4] = math.nan
    for threads in (1, 2):
        with fastact.threads(threads):
            assert same_bits(fastact.hardmax(x), right)
            assert same_bits(fastact.hardmax(np.ascontiguousarray(x.T), 0), right.T)


@every_dtype
def test_what_is_masked_never_wins_in_hardmax(dtype):
    x = np.array([[-math.inf] * 4, [-math.inf] * 4, [1, 2, math.inf, 3], [math.nan, 2, 1, 0]]).astype(dtype)
    mask = np.array([[0, 0, 1, 1], [0, 0, 0, 0], [0, 1, 0, 1], [0, 1, 1, 1]], bool)
    right = np.array([[0, 0, 1, 0], [0, 0, 0, 0], [0, 0, 0, 1], [0, 1, 0, 0]]).astype(dtype)
    assert same_bits(fastact.hardmax(x, where=mask), right)
    assert same_bits(fastact.hardmax(x.T, 0, where=mask.T), right.T)
    assert same_bits(fastact.hardmax(x.reshape(2, 2, 4), (0, 1, 2), where=mask.reshape(2, 2, 4)).reshape(4, 4),
                     np.array([[0] * 4, [0] * 4, [0, 0, 0, 1], [0] * 4]).astype(dtype))
    assert fastact.hardmax(dtype(-math.inf), where=True) == 1
    assert fastact.hardmax(dtype(-math.inf), where=False) == 0


# ----------------------------------------------------------------------------------------------------- layouts and axes


class Calls:
    """Value and backward of a function along an axis, as functions of one array of rows."""

    def __init__(self, f, **parameters):
        self.f, self.parameters = f, parameters
        self.names = [f"{f.name}-{'-'.join([*parameters, mode])}" for mode in ("value", "backward")]

    def __call__(self, x, axis=-1):
        return self.f(x, axis, **self.parameters)

    def backward(self, x, axis=-1):
        if self.f in REDUCTIONS:
            return self.f.backward(self.f(x, axis), x, axis)
        return self.f.backward(x, x, axis, **self.parameters)


CALLS = [*(Calls(f) for f in FUNCTIONS), *(Calls(f, temperature=0.7) for f in SCALED)]
every_mode = pytest.mark.parametrize("call", [mode for calls in CALLS for mode in (calls.__call__, calls.backward)],
                                     ids=[name for calls in CALLS for name in calls.names])


def layouts(rows):
    """The same rows lying in other ways: an array, the axis of its rows, and what takes the result back."""
    count, length = rows.shape

    def unchanged(result):
        return result

    def of_columns(result):
        return result.T

    wide = np.full((count, 3 * length), NAN, rows.dtype)
    wide[:, ::3] = rows
    padded = np.full((count + 2, length + 3), NAN, rows.dtype)
    padded[1:-1, 2:-1] = rows
    bytes_apart = np.zeros(rows.nbytes + 1, np.uint8)
    unaligned = bytes_apart[1:].view(rows.dtype).reshape(rows.shape)
    unaligned[...] = rows
    read_only = rows.copy()
    read_only.flags.writeable = False
    yield "rows, counted from the front", rows, 1, unchanged
    yield "columns", np.ascontiguousarray(rows.T), 0, of_columns
    yield "transposed", rows.T, 0, of_columns
    yield "Fortran order", np.asfortranarray(rows), -1, unchanged
    yield "every third", wide[:, ::3], -1, unchanged
    yield "every third, columns", wide[:, ::3].T, -2, of_columns
    yield "inside", padded[1:-1, 2:-1], -1, unchanged
    yield "inside, columns", padded[1:-1, 2:-1].T, 0, of_columns
    yield "rows backwards", rows[::-1].copy()[::-1], -1, unchanged
    yield "entries backwards", rows[:, ::-1].copy()[:, ::-1], -1, unchanged
    yield "byte-swapped", rows.astype(rows.dtype.newbyteorder()), -1, unchanged
    yield "byte-swapped columns", rows.T.astype(rows.dtype.newbyteorder()), 0, of_columns
    yield "unaligned", unaligned, -1, unchanged
    yield "read-only", read_only, -1, unchanged
    yield "middle", np.ascontiguousarray(np.moveaxis(rows.reshape(2, -1, length), -1, 1)), 1, (
        lambda result: np.moveaxis(result, 1, -1).reshape(rows.shape) if result.ndim == 3 else result.reshape(-1))
    yield "first of three", np.ascontiguousarray(np.moveaxis(rows.reshape(2, -1, length), -1, 0)), -3, (
        lambda result: np.moveaxis(result, 0, -1).reshape(rows.shape) if result.ndim == 3 else result.reshape(-1))
    yield "Fortran order of three", np.asfortranarray(rows.reshape(2, -1, length)), 2, (
        lambda result: result.reshape(rows.shape) if result.ndim == 3 else result.reshape(-1))
    yield "broadcast", np.broadcast_to(rows, (2, *rows.shape)), -1, lambda result: result[1]


@every_dtype
@pytest.mark.parametrize("kind", ["uniform", "decided"])
@pytest.mark.parametrize("length", [1, 5, 16, 37, 300, 4100])
@every_mode
def test_rows_have_the_same_bits_in_any_layout(call, length, kind, dtype):
    rows = logits_of(kind, dtype, length, rows=6)
    expected = call(rows)
    for layout, array, axis, back in layouts(rows):
        before = array.copy()
        assert same_bits(back(call(array, axis)), expected), layout
        assert same_bits(array, before), layout


@every_dtype
@every_mode
def test_rows_have_the_same_bits_beside_any_others(call, dtype):
    rows = logits_of("uniform", dtype, 37, rows=70)
    alone = np.concatenate([call(rows[k : k + 1]) for k in range(len(rows))])
    for count in range(1, len(rows) + 1):
        assert same_bits(call(rows[:count]), alone[:count]), count
        columns = call(np.ascontiguousarray(rows[:count].T), 0)
        assert same_bits(columns.T, alone[:count]), count


@every_dtype
@pytest.mark.parametrize("kind", ["normal", "decided"])
@every_mode
def test_long_rows_have_the_same_bits_alone_and_among_others(call, kind, dtype):
    rows = logits_of(kind, dtype, 1_000_000, rows=3)
    expected = call(rows)
    columns = np.ascontiguousarray(rows.T)
    for threads in (1, 2, 3):
        with fastact.threads(threads):
            for k, row in enumerate(rows):
                assert same_bits(call(row), expected[k]), (threads, k)
            assert same_bits(call(columns, 0).T, expected), threads


@every_dtype
@pytest.mark.parametrize(
    "shape, axis", [((5, 20_001), -1), ((3000, 67), -1), ((67, 3000), 0), ((2, 9000, 33), 1), ((1, 50_001, 40), 1)])
@every_mode
def test_threads_give_the_same_bits(call, shape, axis, dtype):
    x = normal(shape, dtype)
    with fastact.threads(1):
        expected = call(x, axis)
    for threads in (2, 3):
        with fastact.threads(threads):
            assert same_bits(call(x, axis), expected)


def along_last(f, x, axes):
    """The definition of a tuple of axes: move them to the end, make them one."""
    kept = [k for k in range(x.ndim) if k not in axes]
    moved = x.transpose(*kept, *axes)
    result = f(np.ascontiguousarray(moved).reshape(*[x.shape[k] for k in kept], -1))
    if f in REDUCTIONS:
        return result
    return result.reshape(moved.shape).transpose(np.argsort((*kept, *axes)))


SHAPE = (3, 4, 5, 2)
AXES = [axes for count in range(1, 5) for axes in itertools.combinations(range(4), count)]


@pytest.mark.parametrize("order", ["C", "F"])
@every_function
def test_every_axis_and_tuple_of_axes(f, order):
    x = np.asarray(normal(SHAPE), order=order)
    for axes in AXES:
        expected = along_last(f, x, axes)
        negative = tuple(k - 4 for k in axes)
        for axis in (axes, negative, *((axes[0], negative[0], np.int64(axes[0])) if len(axes) == 1 else ())):
            assert same_bits(f(x, axis), expected), axis
        if len(axes) > 1:
            np.testing.assert_allclose(f(x, axes[::-1]), expected, rtol=1e-14)
    assert same_bits(f(x, None), f(x, (0, 1, 2, 3)))
    assert same_bits(f(x, axis=None), f(x, None))
    single = x if f in REDUCTIONS else np.full_like(x, ALONE[f.name])
    np.testing.assert_allclose(f(x, ()), single, rtol=2.0**-52, atol=0)


@pytest.mark.parametrize("order", ["C", "F"])
@every_rowwise
def test_backward_along_every_tuple_of_axes(f, order):
    x, dy = np.asarray(normal(SHAPE), order=order), normal(SHAPE, seed=1)
    for axes in AXES:
        y = f(x, axes)
        right = {
            "softmax": y * (dy - (dy * y).sum(axes, keepdims=True)),
            "softmin": -y * (dy - (dy * y).sum(axes, keepdims=True)),
            "hardmax": np.zeros_like(y),
            "log_softmax": dy - np.exp(y) * dy.sum(axes, keepdims=True),
        }[f.name]
        np.testing.assert_allclose(f.backward(dy, output=y, axis=axes), right, rtol=0, atol=1e-14)
        assert same_bits(f.backward(dy, x, axis=axes), f.backward(dy, output=y, axis=axes))
    assert same_bits(f.backward(dy, x, None), f.backward(dy, x, (0, 1, 2, 3)))


@pytest.mark.parametrize("order", ["C", "F"])
@each("f", REDUCTIONS)
def test_reductions_keep_dimensions(f, order):
    x = np.asarray(normal(SHAPE), order=order)
    for axes in AXES:
        kept = tuple(1 if k in axes else length for k, length in enumerate(SHAPE))
        assert same_bits(f(x, axes, keepdims=True), f(x, axes).reshape(kept))
        dy = normal(kept, seed=3)
        gradient = f.backward(dy, x, axes, keepdims=True)
        np.testing.assert_allclose(gradient, dy * fastact.softmax(x, axes), rtol=1e-15)
        dropped = np.squeeze(dy, axes)
        assert same_bits(f.backward(dropped, x, axes), gradient)
    assert f(x, None).shape == ()
    assert f(x, None, keepdims=True).shape == (1, 1, 1, 1)


@every_function
def test_scalars_lists_and_integers(f):
    one = ALONE.get(f.name, 3.0)
    single, byte = np.array(3, np.float32), np.array(3, np.int8)
    for x, dtype in ((3.0, float), (3, float), (single[()], np.float32), (single, np.float32), (byte, float)):
        for axis in (-1, 0, None, ()):
            result = f(x, axis)
            assert result == one
            assert result.dtype == dtype
            assert isinstance(result, np.generic)
    row = np.array([1.0, 0.0, 1.0])
    for same in ([1.0, 0.0, 1.0], (1, 0, 1), [True, False, True], row.astype(bool), *(
            row.astype(code) for code in np.typecodes["AllInteger"])):
        assert same_bits(f(same), f(row))
    assert same_bits(f(row.astype(">i2")), f(row))


@every_dtype
@every_function
def test_empty_arrays(f, dtype):
    matrices = [((0,), -1), ((3, 0), -1), ((0, 3), -1), ((0, 3), 0), ((0, 0), None)]
    for shape, axis in [*matrices, *(((2, 0, 3), axis) for axis in (0, 1, 2, (0, 1), (0, 2), ()))]:
        x = np.empty(shape, dtype)
        result = f(x, axis)
        axes = range(len(shape)) if axis is None else [k % len(shape) for k in np.atleast_1d(axis).astype(int)]
        expected = tuple(n for k, n in enumerate(shape) if k not in axes) if f in REDUCTIONS else shape
        assert result.shape == expected
        assert result.dtype == dtype
        assert (np.asarray(result) == -INF).all()
        gradient = f.backward(np.zeros(expected, dtype), x, axis)
        assert gradient.shape == shape
        assert gradient.dtype == dtype


# -------------------------------------------------------------------------------------------------------------- where


def by_compressing(f, x, mask):
    """Row by row, with the entries that take part alone."""
    if f in REDUCTIONS:
        return np.array([f(row[chosen]) for row, chosen in zip(x, mask, strict=True)], x.dtype)
    result = np.full_like(x, MASKED[f.name])
    for row, chosen, line in zip(x, mask, result, strict=True):
        line[chosen] = f(row[chosen])
    return result


@every_dtype
@pytest.mark.parametrize("length", [1, 2, 17, 40, 300, 5000])
@every_function
def test_where_takes_a_part_of_each_row(f, length, dtype):
    random = np.random.default_rng(length)
    x = random.uniform(-20, 20, (7, length)).astype(dtype)
    mask = random.random(x.shape) < 0.6
    mask[2], mask[3] = False, True
    expected = by_compressing(f, x, mask)
    tolerance = 8 * float(np.finfo(dtype).eps)
    for spoil in (None, NAN, INF, -INF, np.finfo(dtype).max):
        spoilt = x if spoil is None else np.where(mask, x, dtype(spoil))
        np.testing.assert_allclose(f(spoilt, where=mask), expected, rtol=tolerance, atol=tolerance * 1e-9)
        np.testing.assert_allclose(
            f(spoilt.T, axis=0, where=mask.T), expected.T, rtol=tolerance, atol=tolerance * 1e-9)
    assert same_bits(f(x, where=np.ones_like(mask)), f(x))
    if f in REDUCTIONS:
        assert f(x, where=mask)[2] == -INF
    else:
        assert (f(x, where=mask)[~mask] == MASKED[f.name]).all()
        assert (f(x, where=mask)[2] == MASKED[f.name]).all()


@every_function
def test_where_broadcasts(f):
    x = normal((4, 5))
    column, line = np.array([[True], [False], [True], [True]]), np.array([True, False, True, True, False])
    for mask in (column, line, line[np.newaxis], np.True_, np.False_, True, False, line.tolist()):
        full = np.broadcast_to(mask, x.shape)
        for axis in (0, 1, None, ()):
            assert same_bits(f(x, axis, where=mask), f(x, axis, where=full.copy()))
        np.testing.assert_allclose(f(x, where=mask), by_compressing(f, x, full), rtol=1e-15)


@every_function
def test_where_of_a_scalar(f):
    nothing = MASKED.get(f.name, -INF)
    for x in (2.0, np.float32(2), np.array(2.0)):
        assert f(x, where=True) == f(x)
        assert f(x, where=False) == nothing
        assert f(x, where=False).dtype == f(x).dtype


@every_function
def test_where_of_what_is_not_finite(f):
    """What takes part decides, as without a mask."""
    mask = np.array([True, True, False])
    for row in ([1.0, NAN, 3.0], [1.0, INF, 3.0], [-INF, -INF, 3.0], [-INF, 2.0, NAN]):
        expected = np.asarray(f(np.array(row)[:2]))
        result = f(np.array(row), where=mask)
        np.testing.assert_array_equal(result if f in REDUCTIONS else result[:2], expected)


# --------------------------------------------------------------------------------------------------------------- out


def every_call(f, x):
    """Value and backward as functions of `out`, with the array that `out` may be as well, and the right result."""
    mask = np.random.default_rng(5).random(x.shape) < 0.7
    yield "value", lambda x, out=None: f(x, out=out)
    yield "value, axis 0", lambda x, out=None: f(x, 0, out=out)
    yield "value, where", lambda x, out=None: f(x, where=mask, out=out)
    if f in REDUCTIONS:
        yield "value, keepdims", lambda x, out=None: f(x, keepdims=True, out=out)
        yield "backward", lambda x, out=None: f.backward(x[:, 0].copy(), x, out=out)
        yield "backward, axis 0", lambda x, out=None: f.backward(x[0].copy(), x, 0, out=out)
    else:
        yield "backward", lambda x, out=None: f.backward(normal(x.shape, x.dtype, 9), output=x, out=out)
        yield "backward of x", lambda x, out=None: f.backward(normal(x.shape, x.dtype, 9), x, out=out)
        yield "backward, dy as out", lambda x, out=None: f.backward(x, output=normal(x.shape, x.dtype, 9), out=out)
        yield "backward, axis 0", lambda x, out=None: f.backward(x, output=normal(x.shape, x.dtype, 9), axis=0, out=out)


@every_dtype
@pytest.mark.parametrize("length", [3, 40, 5000])
@every_function
def test_out_of_any_layout(f, length, dtype):
    x = normal((4, length), dtype)
    for label, call in every_call(f, x):
        expected = call(x)
        shape = expected.shape
        double = tuple(2 * n for n in shape)
        every_second = (slice(None, None, 2),) * len(shape)
        plain = np.full(shape, NAN, dtype)
        for out in (plain, plain[::-1], np.full(shape, NAN, dtype, order="F"), np.full(shape[::-1], NAN, dtype).T,
                    np.full(double, NAN, dtype)[every_second], np.full(shape, NAN, np.dtype(dtype).newbyteorder())):
            assert call(x, out=out) is out, label
            assert same_bits(out.astype(dtype), expected), label
        between = np.full(double, NAN, dtype)
        call(x, out=between[every_second])
        between[every_second] = NAN
        assert np.isnan(between).all(), label


@every_dtype
@every_function
def test_out_of_another_dtype(f, dtype):
    x = normal((3, 4), dtype)
    for label, call in every_call(f, x):
        expected = call(x)
        for accepted in (np.float16, np.float32, np.float64, np.longdouble, np.complex64):
            out = np.full(expected.shape, NAN, accepted)
            assert call(x, out=out) is out, label
            np.testing.assert_array_equal(out, expected.astype(accepted), err_msg=label)
        out = np.full(expected.shape, 7)
        with pytest.raises(TypeError, match=rf"fastact\.{f.name}.*: out has the dtype int64"):
            call(x, out=out)
        assert (out == 7).all()


@every_dtype
@pytest.mark.parametrize("length", [1, 6, 40, 300])
@every_function
def test_in_place_and_overlapping(f, length, dtype):
    """The result is as if the input had been copied first."""
    random = np.random.default_rng(length)
    for label, call in every_call(f, np.empty((6, length))):
        memory = random.standard_normal(8 * length + 64).astype(dtype)

        def block(start, memory=memory):
            return memory[start : start + 6 * length].reshape(6, length)

        for place, other in ((0, 0), (0, 1), (1, 0), (0, length), (length, 0), (5, 0), (0, 5)):
            for step in (1, -1):
                memory[:] = random.standard_normal(memory.size)
                x, out = block(place), block(other)[::step]
                expected = call(x.copy())
                if expected.ndim == 1:  # one line of the block, lengthwise or across
                    out = out[0] if label.endswith("axis 0") else out[:, 0]
                out = out[tuple(map(slice, expected.shape))]
                assert call(x, out=out) is out
                assert same_bits(out, expected), (label, place, other, step)


@every_rowwise
def test_transposed_self_as_out(f):
    x = normal((20, 20))
    expected = f(x)
    f(x, out=x.T)
    assert same_bits(x.T, expected)
    x, y = normal((20, 20)), normal((20, 20), seed=1)
    expected = f.backward(x, output=y)
    f.backward(x, output=y, out=y.T)
    assert same_bits(y.T, expected)


@every_rowwise
def test_scalar_out(f):
    out = np.array(7.0)
    assert f(3.0, out=out) is out
    assert out == f(3.0)
    assert f(3.0, where=False, out=out) is out
    assert out == MASKED[f.name]


# -------------------------------------------------------------------------------------------------------------- errors


BAD_KEYWORDS = [
    ({"axis": 3}, np.exceptions.AxisError, "axis 3 is out of bounds for an array of 2 dimensions"),
    ({"axis": -3}, np.exceptions.AxisError, "axis -3 is out of bounds for an array of 2 dimensions"),
    ({"axis": (0, 2)}, np.exceptions.AxisError, "axis 2 is out of bounds for an array of 2 dimensions"),
    ({"axis": (0, 0)}, ValueError, "axis names a dimension twice: (0, 0)"),
    ({"axis": (1, -1)}, ValueError, "axis names a dimension twice: (1, -1)"),
    ({"axis": True}, TypeError, "axis must be an integer, a tuple of integers or None, got True"),
    ({"axis": (0, False)}, TypeError, "axis must be an integer, a tuple of integers or None, got (0, False)"),
    ({"axis": np.True_}, TypeError, "axis must be an integer, a tuple of integers or None"),
    ({"axis": 1.0}, TypeError, "axis must be an integer, a tuple of integers or None, got 1.0"),
    ({"axis": "1"}, TypeError, "axis must be an integer, a tuple of integers or None, got '1'"),
    ({"axis": [0]}, TypeError, "axis must be an integer, a tuple of integers or None, got [0]"),
]
BAD_MASKS = [
    (np.ones((3, 4), int), TypeError, "where has the dtype int64; accepted is bool"),
    (np.ones((3, 4)), TypeError, "where has the dtype float64; accepted is bool"),
    (np.ones(5, bool), ValueError, "where has the shape (5,); accepted is what broadcasts to (3, 4)"),
    (np.ones((2, 3, 4), bool), ValueError, "where has the shape (2, 3, 4); accepted is what broadcasts to (3, 4)"),
]


def raises(error, function, text, call):
    with pytest.raises(error) as caught:
        call()
    assert type(caught.value) is error
    assert str(caught.value).startswith(f"fastact.{function}: {text}")


@pytest.mark.parametrize("keywords, error, text", BAD_KEYWORDS, ids=str)
@every_function
def test_bad_axes(f, keywords, error, text):
    x = normal((3, 4))
    out = np.full((3,) if f in REDUCTIONS else (3, 4), 7.0)
    raises(error, f.name, text, lambda: f(x, out=out, **keywords))
    raises(error, f.name, text, lambda: f(x, where=np.ones((3, 4), bool), out=out, **keywords))
    gradient = np.full((3, 4), 7.0)
    if f in REDUCTIONS:
        raises(error, f"{f.name}.backward", text, lambda: f.backward(x[:, 0], x, out=gradient, **keywords))
    else:
        raises(error, f"{f.name}.backward", text, lambda: f.backward(x, output=x, out=gradient, **keywords))
    assert (out == 7).all()
    assert (gradient == 7).all()


@pytest.mark.parametrize("mask, error, text", BAD_MASKS, ids=["int", "float", "length", "dimensions"])
@every_function
def test_bad_masks(f, mask, error, text):
    out = np.full((3,) if f in REDUCTIONS else (3, 4), 7.0)
    raises(error, f.name, text, lambda: f(normal((3, 4)), where=mask, out=out))
    assert (out == 7).all()


@every_function
def test_bad_out(f):
    x = normal((3, 4))
    for label, call in every_call(f, x):
        shape = call(x).shape
        for wrong in ((2, *shape), (*shape, 1), tuple(n + 1 for n in shape), ()):
            out = np.full(wrong, 7.0)
            with pytest.raises(ValueError, match=rf"fastact\.{f.name}.*: out has the shape "):
                call(x, out=out)
            assert (out == 7).all(), label
        out = np.full(shape, 7.0)
        out.flags.writeable = False
        with pytest.raises(ValueError, match=rf"fastact\.{f.name}.*: out is read-only"):
            call(x, out=out)
        assert (out == 7).all(), label
        with pytest.raises(TypeError, match=rf"fastact\.{f.name}.*: out must be an ndarray, got list"):
            call(x, out=out.tolist())


UNSUPPORTED = ("V2", "longdouble", "complex64", "complex128", "O", "U3", "S3", "M8[s]", "m8[s]")


@pytest.mark.parametrize("code", UNSUPPORTED)
@every_function
def test_unsupported_dtypes(f, code):
    good, x = normal((2, 3)), np.zeros((2, 3), code)
    text = f"has the dtype {x.dtype}; accepted are float16, bfloat16, float32 and float64"
    out = np.full((2,) if f in REDUCTIONS else (2, 3), 7.0)
    raises(TypeError, f.name, f"x {text}", lambda: f(x, out=out))
    raises(TypeError, f.name, f"x {text}", lambda: f(x, where=True, out=out))
    assert (out == 7).all()
    if f in REDUCTIONS:
        raises(TypeError, f"{f.name}.backward", f"x {text}", lambda: f.backward(good[:, 0], x))
        raises(TypeError, f"{f.name}.backward", f"dy {text}", lambda: f.backward(x[:, 0], good))
    else:
        raises(TypeError, f"{f.name}.backward", f"output {text}", lambda: f.backward(good, output=x))
        raises(TypeError, f"{f.name}.backward", f"dy {text}", lambda: f.backward(x, output=good))
        raises(TypeError, f"{f.name}.jacobian", f"x {text}", lambda: f.jacobian(x))


@every_function
def test_masked_arrays(f):
    x = np.ma.array(normal((2, 3)), mask=[[0, 1, 0], [0, 0, 0]])
    raises(TypeError, f.name, "x is a masked array", lambda: f(x))
    good, one = normal((2, 3)), "x" if f in REDUCTIONS else "output"
    upstream = good[:, 0] if f in REDUCTIONS else good
    raises(TypeError, f"{f.name}.backward", f"{one} is a masked array", lambda: f.backward(upstream, **{one: x}))
    masked = x[:, 0] if f in REDUCTIONS else x
    raises(TypeError, f"{f.name}.backward", "dy is a masked array", lambda: f.backward(masked, **{one: good}))


@every_function
def test_backward_of_shapes_that_differ(f):
    x = normal((3, 4))
    out = np.full((3, 4), 7.0)
    keywords = {"x" if f in REDUCTIONS else "output": x, "out": out}
    accepted = (3,) if f in REDUCTIONS else (3, 4)
    for shape in ((4,), (4, 3), (1, 4), (3, 1), (2, 3, 4), ()):
        text = f"dy has the shape {shape}; accepted is that of the value, {accepted}"
        raises(ValueError, f"{f.name}.backward", text, lambda shape=shape: f.backward(np.zeros(shape), **keywords))
    assert (out == 7).all()


@every_function
def test_unknown_arguments(f):
    calls = [lambda: f(), lambda: f(1.0, beta=1), lambda: f(1.0, -1, 2), lambda: f.backward(),
             lambda: f.backward(1.0, 1.0, beta=1)]
    if f in ROWWISE:
        calls.append(lambda: f(1.0, keepdims=True))
    for call in calls:
        with pytest.raises(TypeError):
            call()


# ----------------------------------------------------------------------------------------------------------- as objects


@every_function
def test_pickle_copy_and_hash(f):
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        assert pickle.loads(pickle.dumps(f, protocol)) is f
    assert copy.copy(f) is f
    assert copy.deepcopy([f])[0] is f
    assert {f: 1}[fastact.get(f.name)] == 1
    assert getattr(fastact, f.name) is f
    assert len({*FUNCTIONS}) == len(FUNCTIONS)


@every_function
def test_repr_and_attributes(f):
    parameters = {"scale": 1.0, "temperature": 1.0} if f in SCALED else {}
    assert repr(f) == f"<fastact.{f.name}(x{', scale=1, temperature=1' if parameters else ''}): {f.summary}>"
    assert f.__name__ == f.__qualname__ == f.name
    assert f.__module__ == "fastact"
    assert f.formula in f._repr_latex_()
    assert f.derivative_formula in f._repr_latex_()
    assert dict(f.parameters) == parameters
    with pytest.raises(AttributeError):
        f.name = "another"


@pytest.mark.parametrize("method, sections, arguments", [
    ("", ("Parameters", "Returns", "Raises", "See Also", "Notes"), ("x", "axis", "where", "out")),
    ("backward", ("Parameters", "Returns", "Raises"), ("dy", "x", "out")),
    ("jacobian", ("Parameters", "Returns", "Raises"), ("x",)),
])
@every_function
def test_docstrings_have_the_sections_of_numpydoc(f, method, sections, arguments):
    if method == "jacobian" and f in REDUCTIONS:
        pytest.skip("a reduction has no Jacobian matrix")
    lines = (getattr(f, method) if method else f).__doc__.splitlines()
    stripped = [line.strip() for line in lines]
    places = []
    for section in sections:
        places.append(stripped.index(section))
        assert stripped[places[-1] + 1] == "-" * len(section)
    assert places == sorted(places)
    described = stripped[places[0] : places[1]]
    for argument in (*arguments, *(("keepdims",) if f in REDUCTIONS and not method else ())):
        assert any(line.startswith((f"{argument} : ", f"{argument}, ")) for line in described), argument
    if not method:
        assert lines[0].startswith(f"{f.name}(x, axis=-1, *, ")
        assert f.summary in stripped


# ---------------------------------------------------------------------------------------------------------- environment


@every_dtype
@pytest.mark.parametrize("kind", KINDS)
@every_function
def test_no_floating_point_warning(f, kind, dtype):
    """Not even where every one of them is an error: finite or not, no intermediate is the caller's business."""
    for length in (1, 2, 17, 300, 5000):
        x = logits_of(kind, dtype, length, rows=3)
        dy = normal(x.shape, dtype, seed=1)
        mask = dy > 0
        with np.errstate(all="raise"):
            y = f(x)
            f(x.T, axis=0)
            f(x, where=mask)
            f(np.ascontiguousarray(x.T), axis=0, out=np.empty(length and 3 if f in REDUCTIONS else (length, 3), dtype))
            if f in REDUCTIONS:
                f.backward(dy[:, 0], x)
            else:
                f.backward(dy, output=y)
                f.backward(dy, x)
                f.jacobian(x[:, :40])


@every_function
def test_no_floating_point_warning_for_special_rows(f):
    for dtype in DTYPES:
        x = np.array([row for row, *_ in SPECIAL_ROWS], dtype)
        with np.errstate(all="raise"):
            y = f(x)
            f(x.T, axis=0)
            f.backward(x[:, 0], x) if f in REDUCTIONS else f.backward(x, output=y)


# --------------------------------------------------------------------------------------------------- backward of a part

def backward_of_part(f, dy, x, mask, axis, **parameters):
    """By float64, each row without what takes no part; 0 for the others."""
    dy, x, mask = (np.moveaxis(np.asarray(a), axis, -1) for a in (dy, x, mask))
    gradient = np.zeros(x.shape)
    for row in np.ndindex(x.shape[:-1]):
        part = mask[row]
        if part.any():
            gradient[row][part] = f.backward(dy[row][part].astype(float), x[row][part].astype(float), **parameters)
    return np.moveaxis(gradient, -1, axis)


@pytest.mark.parametrize("axis", [-1, 0, 1])
@each("dtype", [np.float16, np.float32, np.float64])
@every_rowwise
def test_backward_where(f, dtype, axis):
    x, dy = normal((6, 9, 7), dtype), normal((6, 9, 7), dtype, seed=1)
    mask = np.random.default_rng(2).random(x.shape) < 0.6
    mask[2], mask[:, 3], mask[..., 4] = False, False, False     # rows without any, whichever axis
    parameters = [{}, {"scale": 0.5, "temperature": 3.0}] if f.parameters else [{}]
    for given in parameters:
        expected = backward_of_part(f, dy, x, mask, axis, **given)
        y = f(x, axis, where=mask, **given)
        hostile = [np.where(mask, a, dtype(b)) for a, b in ((dy, NAN), (x, INF), (y, NAN))]
        tolerance = {"rtol": 0.02, "atol": 0.01} if dtype == np.float16 else {"rtol": 2e-5, "atol": 2e-6}
        for one, other in ((dy, x), hostile[:2]):
            gradient = f.backward(one, other, axis, where=mask, **given)
            assert gradient.dtype == dtype
            np.testing.assert_allclose(gradient.astype(float), expected, **tolerance)
            assert not gradient[~mask].any()
        out = np.empty_like(x)
        for one, other in ((dy, y), (hostile[0], hostile[2])):
            assert f.backward(one, output=other, axis=axis, where=mask, out=out, **given) is out
            np.testing.assert_allclose(out.astype(float), expected, **tolerance)
            assert not out[~mask].any()
    assert same_bits(f.backward(dy, x, axis, where=True), f.backward(dy, output=f(x.astype(
        np.float32 if dtype == np.float16 else dtype), axis), axis=axis).astype(dtype))


def test_backward_where_of_worked_examples():
    x, mask = np.array([1.0, 2.0, 3.0]), np.array([True, False, True])
    expected = [math.tanh(1), 0, -math.tanh(1)]
    y = fastact.log_softmax(x, where=mask)
    np.testing.assert_allclose(fastact.log_softmax.backward(np.ones(3), output=y, where=mask), expected, rtol=1e-15)
    np.testing.assert_allclose(fastact.log_softmax.backward(np.ones(3), x, where=mask), expected, rtol=1e-15)
    np.testing.assert_allclose(
        fastact.log_softmax.backward([1.0, 2.0, 5.0], x, where=[True, True, False]), [0.19317574, -0.19317574, 0],
        atol=1e-8)
    # What takes part and is -inf keeps its dy
    y = fastact.log_softmax(np.array([-INF, 0.0]))
    np.testing.assert_array_equal(fastact.log_softmax.backward(np.ones(2), output=y), [1, -1])


@pytest.mark.parametrize("axis", [-1, 0, 1, None, (0, 2)])
@every_dtype
def test_logsumexp_backward_where(dtype, axis):
    x = normal((6, 9, 7), dtype)
    mask = np.random.default_rng(2).random(x.shape) < 0.6
    mask[2], mask[:, 3], mask[..., 4] = False, False, False
    hostile = np.where(mask, x, dtype(NAN))
    for keepdims in (False, True):
        value = fastact.logsumexp(x, axis, where=mask, keepdims=keepdims)
        dy = normal(np.shape(value), dtype, seed=1)
        axes = tuple(range(3)) if axis is None else axis
        exponentials = np.where(mask, np.exp(x.astype(float)), 0)
        sums = exponentials.sum(axis=axes, keepdims=True)
        expected = np.asarray(dy).reshape(sums.shape) * exponentials / np.where(sums > 0, sums, 1)
        for logits in (x, hostile):
            gradient = fastact.logsumexp.backward(dy, logits, axis, keepdims=keepdims, where=mask)
            assert gradient.dtype == dtype
            np.testing.assert_allclose(gradient, expected, rtol=1e-5)
            assert not gradient[~mask].any()
            out = np.empty_like(x)
            assert fastact.logsumexp.backward(dy, logits, axis, keepdims=keepdims, where=mask, out=out) is out
            assert same_bits(out, gradient)


@every_rowwise
def test_jacobian_where(f):
    x, mask = normal((4, 5)), np.random.default_rng(0).random((4, 5)) < 0.6
    jacobian = f.jacobian(x, where=mask)
    for row in range(4):
        part = mask[row]
        if part.any():
            np.testing.assert_allclose(jacobian[row][np.ix_(part, part)], f.jacobian(x[row][part]), atol=1e-14)
        assert not jacobian[row][~part].any()
        assert not jacobian[row][:, ~part].any()


@pytest.mark.parametrize("method", ["backward", "jacobian", "__call__"])
@every_function
def test_wrong_masks_are_refused(f, method):
    if not hasattr(f, method):
        pytest.skip("a reduction has no Jacobian matrix")
    x = np.ones((2, 3))
    dy = [np.ones(2) if isinstance(f, RowReduction) else x] * (method == "backward")
    out = {} if method == "jacobian" else {"out": np.full((2,) if f.name == "logsumexp" and not dy else (2, 3), 7.0)}
    for where, error in ((np.ones((2, 3)), TypeError), (np.ones(2, bool), ValueError)):
        with pytest.raises(error, match=rf"^fastact.{f.name}.*: where has the"):
            getattr(f, method)(*dy, x, where=where, **out)
    for written in out.values():
        assert (written == 7).all()


# --------------------------------------------------------------------------------------------------- outputs, emptiness

@each("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("shift", [-3, 0, 3])
def test_logsumexp_backward_into_the_memory_of_dy(dtype, shift):
    """dy has another shape than the output: where it lies there, it is read before it is written over."""
    for wide in (np.float64, dtype):
        for axis, shape in ((-1, (50, 10)), (0, (10, 50))):
            memory = np.empty(8192, np.uint8)
            x = normal(shape, dtype)
            out = memory[512:][: x.nbytes].view(dtype).reshape(shape)
            start = 512 + shift * np.dtype(wide).itemsize
            dy = memory[start:][: 50 * np.dtype(wide).itemsize].view(wide)
            dy[:] = normal(50, wide, seed=1)
            expected = fastact.logsumexp.backward(dy.copy(), x, axis)
            if expected.dtype == dtype:
                assert fastact.logsumexp.backward(dy, x, axis, out=out) is out
                assert same_bits(out, expected)


def test_rows_without_entries_end():
    """There may be more of them than anything could count."""
    many = 2**40
    for shape, axis in (((many, 0), 1), ((many, 0), -1), ((0, many), 0), ((many, 0, 5), 1), ((0, many), 1)):
        x = np.empty(shape)
        for f in ROWWISE:
            assert f(x, axis).shape == shape
            assert f(x, axis, where=np.empty(shape, bool)).shape == shape
            assert f.backward(x, x, axis).shape == shape
            assert f.backward(x, output=x, axis=axis).shape == shape
            assert f(x, axis, out=x) is x
    for f in ROWWISE:
        assert f.jacobian(np.empty((many, 0))).shape == (many, 0, 0)
        assert f(np.empty((many, 0), np.float16)).shape == (many, 0)
    assert fastact.logsumexp(np.empty((0, many))).shape == (0,)
    for f in fastact.activations.values():
        if f not in FUNCTIONS:
            assert f(np.empty((many, 0))).shape == f.derivative(np.empty((0, many))).shape[::-1]


@every_function
def test_unknown_arguments_are_named(f):
    x = np.ones((2, 3))
    dy = np.ones(2) if isinstance(f, RowReduction) else x
    calls = [(f, (x,)), (f.backward, (dy, x))]
    if hasattr(f, "jacobian"):
        calls.append((f.jacobian, (x,)))
    for call, arguments in calls:
        accepted = ", ".join(inspect.signature(call).parameters)
        for name, hint in (("dim", r"; did you mean axis\?"), ("mask", r"; did you mean where\?"), ("zzz", ";")):
            if hint[-5:-2] in accepted or name != "dim":
                with pytest.raises(TypeError, match=rf"^fastact.{f.name}.*: unknown argument {name}{hint} accepted are "
                                                    rf"{accepted}$"):
                    call(*arguments, **{name: 1})


@every_scaled
def test_the_ends_of_the_range_of_factors_are_accepted(f):
    x = normal((2, 5)) * 1e25
    for parameters in ({"temperature": 1e30}, {"temperature": 1e-30}, {"scale": 1e30}, {"scale": 1e-30}):
        f(x, **parameters)
        f.backward(x, x, **parameters)
    with pytest.raises(ValueError, match=r"scale / temperature is 9.99e-31; accepted is 1e-30 to 1e30"):
        f(x, scale=9.99e-31)


@each("dtype", [np.float16, np.float32])
@every_rowwise
def test_a_python_number_as_dy_takes_the_dtype_of_the_array(f, dtype):
    x = dtype(0.5)
    assert f.backward(1.0, x).dtype == dtype
    assert f.backward(1, output=f(x)).dtype == dtype
    assert fastact.logsumexp.backward(1, x).dtype == dtype
