"""Why a peer leads: the reasons that the page of benchmarks/grid.py gives, each for the cells that it explains.

A reason is a sentence and a condition. A cell has the first reason whose condition holds. That a reason is true is
checked where it is written down: by the other columns of the same cell, by docs/accuracy.md, by the source of the peer.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from grid_results import EXPLAINED, Result

from fastact.comparison.work import named_dtype

ITEMS_OF_CACHE = 2**20  # bytes of one array beside which those of the second level of the cache are small


class Reason(NamedTuple):
    """A sentence, and which of the cells that are behind it explains."""

    text: str
    explains: Callable[[Result], bool]


def _leads_alone(peer: str) -> Callable[[Result], bool]:
    """Whether fastact is level with every library but this one."""

    def explains(result: Result) -> bool:
        others = [time for name, time in result.nanoseconds.items() if name not in ("fastact", peer)]
        level = not others or result.nanoseconds["fastact"] <= EXPLAINED * min(others)
        return result.fastest_peer == peer and level

    return explains


def _bytes(result: Result) -> int:
    return result.work.size * np.dtype(named_dtype(result.work.dtype)).itemsize


def _calls(*calls: str) -> Callable[[Result], bool]:
    return lambda result: result.work.call in calls


def _formula_of_numba(result: Result) -> bool:
    return str(result.fastest_peer).startswith("Numba")


REASONS: tuple[Reason, ...] = ()


def reason_of(result: Result) -> str | None:
    """The reason why a peer is ahead in a cell; None if none is known."""
    return next((reason.text for reason in REASONS if reason.explains(result)), None)


def by_reason(results: Sequence[Result]) -> dict[str | None, list[Result]]:
    """The cells that ask for a reason, by their reasons, those of the most cells first; None is the last."""
    found: dict[str | None, list[Result]] = {}
    for result in results:
        if (result.ratio or 0) > EXPLAINED:
            found.setdefault(reason_of(result), []).append(result)
    return dict(sorted(found.items(), key=lambda item: (item[0] is None, -len(item[1]))))
