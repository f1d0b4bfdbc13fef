"""The tasks of judging results, divided into parts, over a pool of processes."""

import contextlib
import dataclasses
import itertools
import multiprocessing
import signal
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from typing import Any, NamedTuple

import numpy as np

import fastact
from fastact import _isa, reference
from fastact.comparison import ulp
from fastact.comparison.figures import PATTERNS_PER_PART, Figures, judge, judge_patterns

POINTS_PER_PART = 2000  # float64 inputs, which mpmath may judge
ENTRIES_OF_VARIANTS = 2**18  # of rows at most: their reference iterates


class Effort(NamedTuple):
    """How many inputs are judged.

    `stride`: every so many of the float32 bit patterns. `points`: of float64. `entries`: of rows, of each length and
    kind of logits, by dtype.
    """

    stride: int
    points: int
    entries: dict[str, int]


def effort(stride: int | None) -> Effort:
    """Every `stride`-th float32 and some thousand float64; None for every float32 and a million float64."""
    if stride is None:
        return Effort(1, 2**20, {"float32": 2**22, "float64": 2**17, "float16": 2**22, "bfloat16": 2**22})
    return Effort(stride, 20_000, {"float32": 2**18, "float64": 2**12, "float16": 2**18, "bfloat16": 2**18})


class Task(NamedTuple):
    """Figures to be found, the number of results that they are about, and their parts.

    `begin(judging)` starts the work; if not `judging`, results are computed and digested only.
    """

    figures: Figures
    total: int
    begin: Callable[[bool], Iterable[Figures]]

    def run(self, judging: bool, watch: Callable[[int], None]) -> Figures:
        """The figures of all parts; `watch` is called with the number of results of each part."""
        figures = dataclasses.replace(self.figures)
        for part in self.begin(judging):
            figures += part
            watch(part.results)
        return figures


class Subject(NamedTuple):
    """What is to be measured: every function in every mode and dtype that it has."""

    functions: Sequence[str]
    modes: Sequence[str]
    dtypes: Sequence[str]


@contextlib.contextmanager
def processes() -> Iterator[ProcessPoolExecutor]:
    """As many processes as the library uses threads; at the end, work that has not begun is dropped."""
    # The terminal sends Ctrl-C to every process; only the one that waits for the others answers it.
    pool = ProcessPoolExecutor(fastact.get_num_threads(), multiprocessing.get_context("spawn"), signal.signal,
                               (signal.SIGINT, signal.SIG_IGN))  # fmt: skip
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


def tasks(subject: Subject, effort: Effort, pool: ProcessPoolExecutor) -> Iterator[Task]:
    """Every task of the subject, in the order of dtypes and functions."""

    def task(figures: Figures, total: int, judge: Callable[..., Figures], parts: Iterable[Any]) -> Task:
        def begin(judging: bool) -> Iterable[Figures]:
            return pool.map(partial(judge, figures.function, figures.mode, judging), parts)

        return Task(figures, total, begin)

    for dtype, function in itertools.product(subject.dtypes, subject.functions):
        if function in ulp.ROWWISE:
            for variant, logits in itertools.product(ulp.variants(function), ulp.LOGITS):
                if "value" in subject.modes:
                    entries = effort.entries[dtype] if not variant else min(effort.entries[dtype], ENTRIES_OF_VARIANTS)
                    rows = list(ulp.random_rows(logits, entries, dtype))
                    figures = Figures(function, "value", dtype, logits, variant)
                    yield task(figures, sum(z.size for z in rows), partial(judge, variant=variant), rows)
            continue
        for mode in subject.modes:
            figures = Figures(function, mode, dtype)
            if dtype == "float64":
                points = reference.structured_points(effort.points)
                yield task(figures, points.size, judge, np.array_split(points, -(-points.size // POINTS_PER_PART)))
            else:
                total = len(ulp.patterns(dtype, effort.stride))
                part = partial(judge_patterns, dtype, effort.stride)
                yield task(figures, total, part, range(0, total, PATTERNS_PER_PART))


def known(task: Task, kept: Iterable[Figures], watch: Callable[[int], None]) -> Figures | None:
    """The figures among those kept that are about the same results as the task; None if there are none."""
    candidates = {f.digest: f for f in kept if f.task == task.figures.task and f.results == task.total}
    same = candidates.get(task.run(False, watch).digest) if candidates else None
    return dataclasses.replace(same, isa=_isa.CHOSEN) if same else None
