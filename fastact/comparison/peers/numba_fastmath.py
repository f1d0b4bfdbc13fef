"""Numba with `fastmath`: another contract, which promises nothing of NaN, infinities and the signs of zeros."""

import functools

from fastact.comparison.peers import numba
from fastact.comparison.work import Library


def load() -> Library:
    return numba.load()._replace(build=functools.partial(numba.build, fastmath=True))
