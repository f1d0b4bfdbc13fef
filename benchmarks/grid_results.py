"""The results of benchmarks/grid.py: one per cell, and the file that keeps them."""

import json
import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from fastact.commands import read_json, write_whole
from fastact.comparison.race import Rounds, Timing
from fastact.comparison.work import ROW_SHAPES, Work

GRID_MODES = ("value", "backward", "backward_from_output")
GRID_SIZES = (16, 256, 4096, 16384, 262144, 1048576, 16777216)
GRID_SHAPES = (*ROW_SHAPES, ((128, 8192), -1), ((8, 64, 56, 56), 1))
GRID_DTYPES = ("float32", "float64", "bfloat16")
GRID_THREADS = (1, 2)
GRID_SETS = ("v4", "v3")

ROUNDS = Rounds(most=40, least=3, seconds=0.4)
SAVED_EVERY = 20.0  # seconds
BEHIND = 1.05  # times the fastest peer: a cell in which fastact is slower than that is reported


class Result(NamedTuple):
    """The time of one form of one piece of work, in nanoseconds per element."""

    isa: str
    threads: int
    work: Work
    form: str
    nanoseconds: dict[str, float]

    @property
    def fastest_peer(self) -> str | None:
        return Timing(self.work, self.form, self.nanoseconds).fastest_peer

    @property
    def ratio(self) -> float | None:
        return Timing(self.work, self.form, self.nanoseconds).ratio

    def as_json(self) -> dict[str, Any]:
        return {name: value for name, value in self._asdict().items() if name != "work"} | self.work._asdict()

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> "Result":
        work = Work(**{name: record[name] for name in Work._fields} | {"shape": tuple(record["shape"])})
        return cls(record["isa"], record["threads"], work, record["form"], record["nanoseconds"])


class File:
    """The results so far, on disk."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.about: dict[str, Any] = {}
        self.results: list[Result] = []
        if found := read_json(path, "python benchmarks/grid.py", self._check):
            self.about, self.results = found
        self.saved = time.monotonic()

    @staticmethod
    def _check(content: Any) -> tuple[dict[str, Any], list[Result]]:
        about, results = dict(content["about"]), [Result.from_json(record) for record in content["results"]]
        for result in results:
            if not {"fastact": 0.0, **result.nanoseconds}["fastact"] > 0 or not isinstance(result.threads, int):
                raise ValueError(result)
        return about, results

    def measured(self, isa: str, threads: int) -> set[Work]:
        return {result.work for result in self.results if (result.isa, result.threads) == (isa, threads)}

    def save(self, *, now: bool = False) -> None:
        if not now and time.monotonic() - self.saved < SAVED_EVERY:
            return
        records = ",\n".join(json.dumps(result.as_json()) for result in self.results)
        write_whole(self.path, f'{{"about": {json.dumps(self.about)},\n"results": [\n{records}\n]}}\n')
        self.saved = time.monotonic()


def mean_ratio(results: Sequence[Result]) -> float:
    """The geometric mean of fastact's time over that of the fastest peer."""
    ratios = [result.ratio for result in results if result.ratio]
    return math.exp(math.fsum(map(math.log, ratios)) / len(ratios)) if ratios else math.nan


def cell(result: Result) -> str:
    """The cell of a result in words."""
    return f"`{result.work.call}` of {place(result)}"


def place(result: Result) -> str:
    """The shape, the dtype and the way of a result in words."""
    shape = " × ".join(f"{n:,}" for n in result.work.shape)
    return (
        f"{shape} {result.work.dtype}, {result.form}, "
        f"{result.threads} thread{'s' * (result.threads > 1)}, {result.isa}"
    )


def libraries(file: File) -> str:
    """The libraries of a file and their versions, in words."""
    return ", ".join(f"{name} {version}" for name, version in file.about["libraries"].items())


def behind(results: Sequence[Result]) -> list[Result]:
    """The cells in which fastact is slower than the fastest peer by more than can be noise, the worst first."""
    return sorted((r for r in results if (r.ratio or 0) > BEHIND), key=lambda r: -(r.ratio or 0))


def summary(file: File) -> str:
    """Where fastact is behind, and how it compares on average."""
    compared = [r for r in file.results if r.ratio is not None]
    if not compared:
        return "no cell with a peer was measured"
    slower = behind(compared)
    machine = f"{file.about['processors']} cores of {file.about['CPU']}"
    lines = [f"{libraries(file)}; Python {file.about['Python']}, {machine}"]
    if slower:
        lines += ["", "time of fastact over that of the fastest peer, where fastact is behind:"]
        lines += [f"{r.ratio:6.2f}  {r.fastest_peer:<12}  {cell(r)}" for r in slower]
    lines += ["", f"behind by more than {100 * (BEHIND - 1):.0f} % in {len(slower):,} of {len(compared):,} cells;"
              f" geometric mean of all {mean_ratio(compared):.3f}"]  # fmt: skip
    return "\n".join(lines)
