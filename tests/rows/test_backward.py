"""The gradients of the softmax family: backward and Jacobian matrix against exact values."""

import itertools
import math

import numpy as np
import pytest
from common import REDUCTIONS, ROWWISE, in_turn, normal, same_bits
from instruction_sets import each_set
from logits import KINDS, logits_of
from row_helpers import (
    LONG,
    SHORT,
    absolute_sum,
    by_mpmath,
    every_dtype,
    every_function,
    every_reduction,
    every_rowwise,
    every_scaled,
    exact,
    sign_of,
    terms_of,
)

import fastact
from fastact import reference


def backward_from_output(f, dy, output):
    return f.backward(dy, output=output)


def backward_in_two_ways(f, dy, x):
    return f.backward(dy, x), f.backward(dy, output=f(x))


@every_dtype
@in_turn("kind", ["uniform", "normal", "confident", "above_equals", "holes", "offset_1e4"])
@every_rowwise
def test_backward_from_the_output(f, kind, dtype):
    calls = []
    for length in SHORT + LONG:
        output = f(sign_of(f) * logits_of(kind, dtype, length))
        dy = normal(output.shape, dtype, length)
        if f.name == "log_softmax":
            dy[np.isneginf(output)] = 0
        calls.append((f, dy, output))
    right = [exact(f.name, "backward", dy, output) for _, dy, output in calls]
    for isa, k, computed in each_set(backward_from_output, *calls):
        assert computed.dtype == dtype
        allowed = 4 * float(np.finfo(dtype).eps) * terms_of(*calls[k])
        errors = abs(computed - right[k])
        assert (errors <= allowed + float(np.finfo(dtype).smallest_subnormal)).all(), (isa, computed.shape)


@every_dtype
@every_rowwise
def test_backward_from_the_logits_against_mpmath(f, dtype):
    cases = list(itertools.product(("uniform", "confident", "above_equals"), (1, 2, 3, 17, 40, 257)))
    calls, limits = [], []
    for kind, length in cases:
        x = logits_of(kind, dtype, length, rows=2)
        dy = normal(x.shape, dtype, length)
        output = by_mpmath(f.name, "value", x)
        allowed = 8 * float(np.finfo(dtype).eps) * terms_of(f, dy, output)
        # The output has an error of its own, which where it is subnormal is a part of that unit.
        allowed += 2 * float(np.finfo(dtype).smallest_subnormal) * (1 + absolute_sum(dy))
        calls.append((f, dy, x))
        limits.append((by_mpmath(f.name, "backward", dy, output), allowed))
    for isa, k, (computed, from_output) in each_set(backward_in_two_ways, *calls):
        right, allowed = limits[k]
        assert (abs(computed - right) <= allowed).all(), (isa, cases[k])
        assert same_bits(computed, from_output), (isa, cases[k])


@every_dtype
@in_turn("kind", KINDS)
@every_reduction
def test_backward_values_of_reductions(f, kind, dtype):
    for length in SHORT + LONG:
        x = logits_of(kind, dtype, length)
        dy = normal(len(x), dtype, length)
        computed = f.backward(dy, x)
        assert computed.dtype == dtype
        assert reference.ulp_error(computed, exact(f.name, "backward", dy, x)).max() <= 5, length


@every_dtype
@in_turn("length", [1, 2, 3, 10, 40])
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
@in_turn("length", [1, 2, 17, 257, 4097, 100_000])
def test_backward_of_softmax_adds_up_to_0(length, dtype):
    dp, p = normal((1, length), dtype), fastact.softmax(normal((1, length), dtype, seed=1))
    gradient = fastact.softmax.backward(dp, output=p)
    allowed = 4 * np.finfo(dtype).eps * terms_of(fastact.softmax, dp, p).sum()
    assert abs(math.fsum(gradient[0].tolist())) <= allowed


@every_dtype
@in_turn("kind", ["uniform", "normal", "confident", "above_equals", "constant", "holes"])
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


@in_turn("dtype, sure", [(np.float32, 20), (np.float32, 60), (np.float64, 40), (np.float64, 300)])
def test_jacobian_of_a_confident_row_keeps_its_diagonal(dtype, sure):
    p = by_mpmath("softmax", "value", np.array([sure, 0, 0], float))
    assert fastact.softmax(np.array([sure, 0, 0], dtype))[0] == 1  # p (1 - p) would be 0
    for isa, _, jacobian in each_set(fastact.softmax.jacobian, [np.array([sure, 0, 0], dtype)]):
        assert reference.ulp_error(jacobian[0, 0], p[0] * (p[1] + p[2])) <= 8, isa


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


@every_dtype
@in_turn("scale, temperature", [(3.0, 1.0), (0.125, 0.7), (1.0, 3.0), (40.0, 1.0)])
@every_scaled
def test_backward_with_a_factor_against_mpmath(f, scale, temperature, dtype):
    factors = {"scale": scale, "temperature": temperature}
    for kind, length in itertools.product(("uniform", "normal", "confident"), (1, 2, 3, 17, 40, 257)):
        x = logits_of(kind, dtype, length, rows=2)
        dy = normal(x.shape, dtype, length)
        exact_factors = [np.float64(number) for number in {**f.parameters, **factors}.values()]
        output = by_mpmath(f.name, "value", x, *exact_factors)
        right = by_mpmath(f.name, "backward", dy, output, *exact_factors)
        allowed = 10 * float(np.finfo(dtype).eps) * terms_of(f, dy, output)
        allowed += 2 * float(np.finfo(dtype).smallest_subnormal) * (1 + absolute_sum(dy))
        assert (abs(f.backward(dy, x, **factors) - right) <= allowed * scale / temperature).all(), (kind, length)
        y = f(x, **factors)
        assert same_bits(f.backward(dy, x, **factors), f.backward(dy, output=y, **factors))


@in_turn("dtype", [np.float16, np.float32])
@every_rowwise
def test_a_python_number_as_dy_takes_the_dtype_of_the_array(f, dtype):
    x = dtype(0.5)
    assert f.backward(1.0, x).dtype == dtype
    assert f.backward(1, output=f(x)).dtype == dtype
    assert fastact.logsumexp.backward(1, x).dtype == dtype
