"""What the tests of rows share: exact values, lengths, special rows, the calls of a function."""

import numpy as np
import pytest
from common import INF, NAN, REDUCTIONS, ROWS, ROWWISE, WIDE, each, in_turn, normal
from facts import FACTS_OF_ROWS

from fastact import reference

SCALED = [f for f in ROWWISE if f.parameters]
every_function = each("f", ROWS)
every_rowwise = each("f", ROWWISE)
every_reduction = each("f", REDUCTIONS)
every_scaled = each("f", SCALED)
every_dtype = in_turn("dtype", WIDE)

SHORT = [*range(1, 41), 255, 256, 257, 1000]
LONG = [4095, 4096, 4097, 8191, 8192, 8193, 100_000]
WIDER = np.longdouble if np.finfo(np.longdouble).nmant >= 63 else None  # else mpmath judges float64


def exact(name, mode, *arrays):
    """The reference, in a type with at least eleven bits more than the arrays."""
    arrays = [np.asarray(array) for array in arrays]
    if all(array.dtype == np.float32 for array in arrays):
        return reference.evaluate(name, mode, *arrays)
    if WIDER is None:
        return reference.evaluate(name, mode, *arrays, m=reference.mpmath_namespace(40))
    return reference.evaluate(name, mode, *(array.astype(WIDER) for array in arrays))


def sign_of(f):
    """Of the logits: -1 for softmin."""
    return FACTS_OF_ROWS[f.name].sign if f in ROWWISE else 1.0


def absolute_sum(x):
    return abs(x).sum(axis=-1, keepdims=True)


def terms_of(f, dy, y):
    """What the terms of the exact gradient add up to in absolute value, in float64."""
    return FACTS_OF_ROWS[f.name].terms(dy.astype(np.float64), y.astype(np.float64), absolute_sum)


def value_errors(f, computed, right):
    """Errors of the values of rows in ulp, which for some functions is that of the largest entry."""
    if not FACTS_OF_ROWS[f.name].of_largest:
        return reference.ulp_error(computed, right)
    largest = right.max(axis=-1, keepdims=True)
    units = np.where(largest == largest, reference.ulp(largest, computed.dtype), 1)
    errors = abs(computed - right) / units
    return np.where((computed != computed) & (right != right), 0, errors).astype(np.float64)


# How far `exact` may be off with a factor, in ulp of float64.  The difference from the maximum, the factor and their
# product are each rounded by 2^-64; down to e^-745, below which the results are 0, that is 3 745 2^-64 of the result.
DOUBT = 1.25


def ulp_errors(f, computed, x, scale, temperature):
    """Errors of a value in ulp: by `exact` where that leaves no doubt that they are allowed, else by mpmath."""
    given = {**f.parameters, "scale": scale, "temperature": temperature}
    factors = [np.float64(given[name]) for name in f.parameters]
    errors = value_errors(f, computed, exact(f.name, "value", x, *factors))
    doubt = 0.1 if FACTS_OF_ROWS[f.name].of_largest else DOUBT     # sums of up to 257 terms, no exponential
    if (errors <= f.ulp["value"] - doubt).all():
        return errors
    return value_errors(f, computed, by_mpmath(f.name, "value", x, *factors))


def by_mpmath(name, mode, *arrays):
    return reference.evaluate(name, mode, *arrays, m=reference.mpmath_namespace(50))


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


def raises(error, function, text, call):
    with pytest.raises(error) as caught:
        call()
    assert type(caught.value) is error
    assert str(caught.value).startswith(f"fastact.{function}: {text}")
