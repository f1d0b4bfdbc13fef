"""Numba: the formulas, compiled as ufuncs."""

import contextlib
import functools
import math
from collections.abc import Iterator
from typing import Any

import numba

from fastact.comparison.peers.formulas import FORMULAS, arrays_in, function_of, in_dtype, names_in
from fastact.comparison.work import Call, Inputs, Library, bind

FUNCTIONS = ("exp", "expm1", "log", "log1p", "tanh", "sqrt", "erf")


def load() -> Library:
    # This starts its threads, which resets OpenMP's number of threads, PyTorch's too: it must come before that is set.
    numba.get_num_threads()
    return Library(numba.__version__, dict(FORMULAS), build, threads)


def build(formula: str, inputs: Inputs, out: Any, *, fastmath: bool = False) -> Call:
    function = compiled(formula, inputs.dtype, inputs.threads > 1, fastmath)
    return bind(function, *arrays_in(formula, inputs).values(), out=out)


@functools.cache
def compiled(formula: str, dtype: str, parallel: bool, fastmath: bool) -> Any:
    named, numbers = in_dtype(formula, dtype)
    signature = f"{dtype}({', '.join([dtype] * len(names_in(formula)))})"
    target = "parallel" if parallel else "cpu"
    function = function_of(named, namespace() | numbers)
    return numba.vectorize([signature], target=target, fastmath=fastmath)(function)


@functools.cache
def namespace() -> dict[str, Any]:
    """What the formulas name, as Numba compiles it."""
    where = numba.njit(lambda condition, a, b: a if condition else b, inline="always")
    return {name: getattr(math, name) for name in FUNCTIONS} | {"abs": abs, "where": where}


@contextlib.contextmanager
def threads(count: int) -> Iterator[None]:
    before = numba.get_num_threads()
    numba.set_num_threads(min(count, numba.config.NUMBA_NUM_THREADS))
    try:
        yield
    finally:
        numba.set_num_threads(before)
