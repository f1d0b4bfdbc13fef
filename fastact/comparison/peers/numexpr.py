"""numexpr: the formulas without erf, which it does not have."""

import contextlib
from collections.abc import Iterator
from typing import Any

import numexpr

from fastact.comparison.peers.formulas import FORMULAS, arrays_in, in_dtype
from fastact.comparison.work import Call, Inputs, Library, bind


def load() -> Library:
    spellings = {key: formula for key, formula in FORMULAS.items() if "erf(" not in formula}
    return Library(numexpr.__version__, spellings, build, threads)


def build(formula: str, inputs: Inputs, out: Any) -> Call:
    named, numbers = in_dtype(formula, inputs.dtype)
    return bind(numexpr.evaluate, named, arrays_in(formula, inputs) | numbers, out=out)


@contextlib.contextmanager
def threads(count: int) -> Iterator[None]:
    before = numexpr.set_num_threads(count)
    try:
        yield
    finally:
        numexpr.set_num_threads(before)
