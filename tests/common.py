"""What several test files share: the functions of the registry, the dtypes, random numbers, comparisons of bits."""

import functools
import inspect
import math
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

import fastact
from fastact import Elementwise, Gated, RowReduction, Rowwise, losses, reference

FUNCTIONS = list(fastact.activations.values())
ELEMENTWISE = [f for f in FUNCTIONS if isinstance(f, Elementwise)]
GATED = [f for f in FUNCTIONS if isinstance(f, Gated)]
ROWWISE = [f for f in FUNCTIONS if isinstance(f, Rowwise)]
REDUCTIONS = [f for f in FUNCTIONS if isinstance(f, RowReduction)]
ROWS = ROWWISE + REDUCTIONS
LOSSES = [getattr(losses, name) for name in losses.LOSSES if hasattr(losses, name)]  # or test_surface.py fails
LOSSES_OF_LABELS = [loss for loss in LOSSES if losses.LOSSES[loss.__name__].labels is not None]

WIDE = (np.float32, np.float64)
HALF = (np.float16, ml_dtypes.bfloat16)
DTYPES = WIDE + HALF
SOURCES = Path(__file__).parents[1] / "fastact"  # most of them are not in an installed package
INF, NAN = math.inf, math.nan
POINTS = reference.structured_points(4000)


def named(thing):
    """The id of a function or a dtype among the cases of a test."""
    return next((getattr(thing, name) for name in ("name", "__name__") if hasattr(thing, name)), str(thing))


def each(argument, values):
    """Make a case of the test for each of the values."""
    return pytest.mark.parametrize(argument, values, ids=named)


def in_turn(arguments, values):
    """Run the test for each of the values, all in one case; a failure names the value.

    Parameters
    ----------
    arguments : str
        Name of an argument, or several separated by commas: then each of the values is a tuple.
    values : iterable
    """
    names = [name.strip() for name in arguments.split(",")]
    cases = [dict(zip(names, value if len(names) > 1 else (value,), strict=True)) for value in values]
    assert cases, f"no values of {arguments}"

    def decorate(test):
        signature = inspect.signature(test)

        @functools.wraps(test)
        def run(**others):
            __tracebackhide__ = True
            for case in cases:
                try:
                    test(**others, **case)
                except pytest.skip.Exception as skipped:
                    raise AssertionError("a skip would leave out the values that follow: use each") from skipped
                except Exception as error:
                    error.add_note("in turn: " + ", ".join(f"{name} = {named(value)}" for name, value in case.items()))
                    raise

        run.__signature__ = signature.replace(
            parameters=[one for name, one in signature.parameters.items() if name not in names])
        return run

    return decorate


@functools.cache
def exact_at_points(name, mode):
    """The function at POINTS with 50 digits, which takes so long that test files share it."""
    parameters = fastact.get(name).parameters.values()
    return reference.evaluate(name, mode, POINTS, *parameters, m=reference.mpmath_namespace(50))


def normal(shape, dtype=np.float64, seed=0, spread=3.0):
    return (np.random.default_rng(seed).standard_normal(shape) * spread).astype(dtype)


def same_bits(a, b):
    a, b = np.ascontiguousarray(a), np.ascontiguousarray(b)
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


def same(a, b, case=""):
    """Assert equal bits, where every NaN equals every other."""
    a, b = np.asarray(a), np.asarray(b)
    assert a.dtype == b.dtype, case
    assert a.shape == b.shape, case
    if a.tobytes() == b.tobytes():
        return
    if a.dtype == ml_dtypes.bfloat16:  # NumPy's testing functions do not know that it has NaN
        with np.errstate(invalid="ignore"):  # signalling NaN
            a, b = a.astype(np.float32), b.astype(np.float32)
    np.testing.assert_array_equal(a, b, case)
    np.testing.assert_array_equal(np.signbit(a[a == 0]), np.signbit(b[b == 0]), case)
