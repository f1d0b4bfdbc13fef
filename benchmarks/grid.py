"""Time every function in every size, dtype, number of threads and instruction set, and write the page of it.

    python benchmarks/grid.py --json grid.json --report docs/performance.md

A *line* is one function and mode in one dtype: all sizes, or all shapes of rows. Lines are measured in an order that is
random, but the same each time, so that an interrupted run leaves a fair sample; what the file holds is not measured
again. Each instruction set and number of threads has a process of its own, because the peers read both from the
environment, once. A library that was several times as slow as the fastest at two sizes in a row, large enough that the
cost of a call does not count, is not timed at the larger ones.

The page is made from the file alone.
"""

import argparse
import io
import itertools
import json
import math
import os
import platform
import random
import sys
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import fastact
from fastact import _isa
from fastact.cli import STATUSES, Parser, exit_status
from fastact.commands import (
    Failed,
    Refused,
    cpu,
    different,
    duration,
    output_file,
    read_json,
    run_process,
    thread_count,
    whole_number,
    write_whole,
)
from fastact.comparison import peers
from fastact.comparison.race import Rounds, Timing, WrongResult, measure
from fastact.comparison.work import ALL_DTYPES, ROW_SHAPES, Work, is_rowwise, named_dtype

GRID_MODES = ("value", "backward", "backward_from_output")
GRID_SIZES = (16, 256, 4096, 16384, 262144, 1048576, 16777216)
GRID_SHAPES = (*ROW_SHAPES, ((128, 8192), -1), ((8, 64, 56, 56), 1))
GRID_DTYPES = ("float32", "float64", "bfloat16")
GRID_THREADS = (1, 2)
GRID_SETS = ("v4", "v3")

ROUNDS = Rounds(most=40, least=3, seconds=0.4)
TOO_SLOW = 3.0  # times the fastest, at two sizes one after the other: not timed at the larger ones
CALL_IS_CHEAP = 4096  # elements from which on the cost of a call does not decide which library is fastest
SAVED_EVERY = 20.0  # seconds

HELD_TO_AVX2 = {
    "ATEN_CPU_CAPABILITY": "avx2",
    "XLA_FLAGS": "--xla_cpu_max_isa=AVX2",
    "NUMBA_CPU_NAME": "haswell",
    "NUMBA_CPU_FEATURES": "+avx2,+fma",
}
"""What holds the peers to the instruction set v3; ONNX Runtime and SciPy have no such switch."""


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


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line (default: the process's own arguments) and return the exit status."""
    return exit_status("grid.py", lambda: run(_parser().parse_args(argv)))


def _parser() -> Parser:
    parser = Parser(
        prog="grid.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, epilog=STATUSES
    )
    names = tuple(fastact.activations)
    parser.add_argument("--json", type=output_file, required=True, metavar="FILE",
                        help="keep the figures in FILE; those that it holds are not measured again")  # fmt: skip
    parser.add_argument("--report", type=output_file, metavar="FILE",
                        help="write a page of what that file holds, and a folder of pictures beside it")  # fmt: skip
    parser.add_argument("--skip-measuring", action="store_true", help="only write the page")
    parser.add_argument("--function", nargs="+", metavar="NAME", choices=names, default=names, help="default: all")
    parser.add_argument("--dtype", nargs="+", choices=ALL_DTYPES, default=GRID_DTYPES,
                        help=f"default: {' '.join(GRID_DTYPES)}")  # fmt: skip
    parser.add_argument("--size", nargs="+", type=whole_number(1, 2**40), metavar="N", default=GRID_SIZES,
                        help=f"elements of elementwise work (default: {' '.join(map(str, GRID_SIZES))})")  # fmt: skip
    parser.add_argument("--threads", type=thread_count, metavar="N",
                        help=f"for every library (default: {' and '.join(map(str, GRID_THREADS))})")  # fmt: skip
    parser.add_argument("--isa", nargs="+", choices=_isa.SUPPORTED,
                        help=f"instruction sets (default: {' and '.join(GRID_SETS)})")  # fmt: skip
    parser.add_argument("--minutes", type=duration, metavar="M",
                        help="stop after M minutes; the next run measures the rest")  # fmt: skip
    return parser


def run(arguments: argparse.Namespace) -> int:
    """Measure, write the page, and return the exit status."""
    if arguments.skip_measuring and not arguments.report:
        raise Refused("--skip-measuring needs --report FILE: there is nothing else to do")
    different(json=arguments.json, report=arguments.report)
    file = File(arguments.json)  # refuses a file of another program
    if arguments.report:
        check_report(arguments.report)
        if arguments.skip_measuring and not file.results:
            raise Refused(f"{arguments.json} holds no figures to report")
    status = 0 if arguments.skip_measuring else _measure_in_processes(arguments)
    if arguments.report and not status:
        report(arguments.json, arguments.report)
    return status


def _measure_in_processes(arguments: argparse.Namespace) -> int:
    """Measure what is missing, in as many processes as there are instruction sets and numbers of threads."""
    isas = arguments.isa or [isa for isa in GRID_SETS if isa in _isa.SUPPORTED] or [_isa.CHOSEN]
    threads = [arguments.threads] if arguments.threads else list(GRID_THREADS)
    ways = list(itertools.product(isas, threads))
    if len(ways) == 1 and all(os.environ.get(name) == value for name, value in _environment(*ways[0]).items()):
        return _measure_here(arguments, *ways[0])
    for isa, count in ways:
        words = [sys.executable, __file__, "--isa", isa, "--threads", str(count), "--json", str(arguments.json)]
        for name in ("function", "dtype", "size"):
            words += [f"--{name}", *map(str, getattr(arguments, name))]
        if arguments.minutes:
            words += ["--minutes", str(arguments.minutes / len(ways))]
        status = run_process(words, os.environ | _environment(isa, count))
        if status:
            return status
    return 0


def _environment(isa: str, threads: int) -> dict[str, str]:
    found = {"FASTACT_ISA": isa, "NPROC": str(threads)}
    if isa == "v3":
        found |= HELD_TO_AVX2
        dispatched = getattr(np, "_core", np.core)._multiarray_umath.__cpu_dispatch__
        found["NPY_DISABLE_CPU_FEATURES"] = " ".join(
            feature for feature in dispatched if feature.startswith("AVX512") or feature == "X86_V4"
        )
    return found


def _measure_here(arguments: argparse.Namespace, isa: str, threads: int) -> int:
    """Measure what is missing for one instruction set and number of threads, those of this process."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    for dtype in arguments.dtype:
        named_dtype(dtype)
    file = File(arguments.json)
    libraries = {name: library.version for name, library in peers.libraries().items()}
    file.about |= {**_machine(), "libraries": file.about.get("libraries", {}) | libraries}
    missing = list(_lines(arguments, file.measured(isa, threads)))
    stop = time.monotonic() + 60 * arguments.minutes if arguments.minutes else math.inf
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with (
        Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress,
        peers.threads(threads),
        np.errstate(over="ignore"),
    ):
        bar = progress.add_task("", total=sum(map(len, missing)))
        try:
            for line in missing:
                times_too_slow: dict[str, int] = defaultdict(int)
                for work in line:
                    if time.monotonic() > stop:
                        return 0
                    progress.update(bar, description=f"{isa}, {threads}: {work.call}, {work.size:,} {work.dtype}")
                    file.results += _measure_work(work, isa, threads, times_too_slow)
                    file.save()
                    progress.advance(bar)
        finally:
            file.save(now=True)
    return 0


def _machine() -> dict[str, Any]:
    """What figures depend on, besides the libraries."""
    return {"CPU": cpu(), "processors": os.cpu_count(), "Python": platform.python_version()}


def _lines(arguments: argparse.Namespace, measured: set[Work]) -> Iterator[list[Work]]:
    """What is still to be measured: elementwise works of growing size, and rows in every shape."""
    lines: dict[tuple[str, ...], list[Work]] = defaultdict(list)
    elementwise = [name for name in arguments.function if not is_rowwise(name)]
    rowwise = [name for name in arguments.function if is_rowwise(name)]
    works = peers.works(elementwise, GRID_MODES, arguments.dtype, sorted(arguments.size), row_shapes=False)
    for work in peers.works(rowwise, GRID_MODES, arguments.dtype, (1024,), row_shapes=False):
        works += [work._replace(shape=shape, axis=axis) for shape, axis in GRID_SHAPES]
    for work in works:
        if work not in measured:
            lines[work.function, work.mode, work.dtype].append(work)
    order = list(lines.values())
    random.Random(0).shuffle(order)
    yield from order


def _measure_work(work: Work, isa: str, threads: int, times_too_slow: dict[str, int]) -> list[Result]:
    skipped = [] if work.is_rowwise else [name for name, times in times_too_slow.items() if times >= 2]
    try:
        timings, _ = measure(work, threads, ROUNDS, pause=0.002, skipped=skipped)
    except WrongResult as error:
        raise Failed(str(error)) from None
    if work.size >= CALL_IS_CHEAP:
        _count_too_slow(timings, times_too_slow)
    return [Result(isa, threads, *timing) for timing in timings]


def _count_too_slow(timings: Iterable[Timing], times_too_slow: dict[str, int]) -> None:
    """Count, for each library, at how many sizes in a row it was too slow in every form."""
    best: dict[str, float] = {}  # time over that of the fastest, in the form in which that is least
    for timing in timings:
        fastest = min(timing.nanoseconds.values())
        for name, nanoseconds in timing.nanoseconds.items():
            best[name] = min(best.get(name, math.inf), nanoseconds / fastest)
    for name, ratio in best.items():
        times_too_slow[name] = times_too_slow[name] + 1 if ratio > TOO_SLOW and name != "fastact" else 0


# The page -------------------------------------------------------------------------------------------------------------


def mean_ratio(results: Sequence[Result]) -> float:
    """The geometric mean of fastact's time over that of the fastest peer."""
    ratios = [result.ratio for result in results if result.ratio]
    return math.exp(math.fsum(map(math.log, ratios)) / len(ratios)) if ratios else math.nan


def check_report(page: Path) -> None:
    """Refuse a page beside which there can be no folder of its name with the pictures."""
    import matplotlib as mpl  # noqa: F401  # if it is missing, say so before anything is measured

    pictures = page.with_suffix("")
    if pictures == page:
        raise Refused(f"argument --report: {page} has no suffix; accepted is a name like {page}.md, beside which the"
                      f" pictures are written into the folder {page}")  # fmt: skip
    if pictures.exists() and not pictures.is_dir():
        raise Refused(f"argument --report: {pictures}, into which the pictures are to be written, is not a folder")
    if pictures.is_dir():
        try:
            output_file(str(pictures / "picture.png"))
        except argparse.ArgumentTypeError as error:
            raise Refused(f"argument --report: {error}") from None


def report(path: Path, page: Path) -> None:
    """Write the page, and the pictures into a folder of its name beside it."""
    file = File(path)
    compared = [result for result in file.results if result.ratio is not None]
    if not compared:
        raise Failed(f"{path} holds nothing to compare")
    pictures = page.with_suffix("")
    pictures.mkdir(parents=True, exist_ok=True)
    text = [_introduction(file, compared)]
    text += ["## By dtype, threads and instruction set", _summary(compared)]
    text += ["## By size", _sizes([r for r in compared if not r.work.is_rowwise])]
    maps = [_heat_map(pictures, *way) for way in _by(compared, lambda r: (r.isa, r.work.dtype, r.threads))]
    text += ["\n".join(f"![{picture.stem}]({pictures.name}/{picture.name})" for picture in maps)]
    text += ["## Where a peer leads", _behind(compared)]
    text += ["## Rows", _rows([r for r in compared if r.work.is_rowwise])]
    curves = [_curves(pictures, name, found) for name, found in _by(compared, lambda r: r.work.function)]
    text += [
        "## Time per element against size",
        "\n".join(f"![{picture.stem}]({pictures.name}/{picture.name})" for picture in curves if picture),
    ]
    write_whole(page, "\n\n".join(text) + "\n")


def _save_picture(figure: Any, path: Path, dpi: int) -> None:
    content = io.BytesIO()
    figure.savefig(content, format=path.suffix[1:], dpi=dpi)
    write_whole(path, content.getvalue())


def _by(results: Iterable[Result], key: Any) -> list[tuple[Any, list[Result]]]:
    groups: dict[Any, list[Result]] = defaultdict(list)
    for result in results:
        groups[key(result)].append(result)
    return list(groups.items())


def _cell(result: Result) -> str:
    shape = " × ".join(f"{n:,}" for n in result.work.shape)
    return (
        f"`{result.work.call}` of {shape} {result.work.dtype}, {result.form}, "
        f"{result.threads} thread{'s' * (result.threads > 1)}, {result.isa}"
    )


def _introduction(file: File, compared: Sequence[Result]) -> str:
    libraries = ", ".join(f"{name} {version}" for name, version in file.about["libraries"].items())
    worst = max(compared, key=lambda r: r.ratio or 0)
    ahead = sum((r.ratio or 0) <= 1 for r in compared)
    return f"""# Performance

Written by `python benchmarks/grid.py --json grid.json --report docs/performance.md`: {libraries};
Python {file.about["Python"]}, on {file.about["processors"]} cores of {file.about["CPU"]}.

Time of fastact over that of the fastest peer in the same cell: function, shape, dtype, threads, instruction set, and
*fresh* (a new output at each call) or *out* (into a given array). All are measured in turns in one process, the best of
{ROUNDS.least} to {ROUNDS.most} rounds. With v3 the peers are held to AVX2 too, but for ONNX Runtime and SciPy, which
cannot be. {len(compared):,} cells: fastact is **{1 / mean_ratio(compared):.2f} times as fast as the fastest peer** of
each (geometric mean), as fast or faster in {100 * ahead / len(compared):.1f} %, and slowest, {worst.ratio:.2f} times
{worst.fastest_peer}, in {_cell(worst)}."""


def _summary(compared: Sequence[Result]) -> str:
    lines = [
        "| set | threads | dtype | cells | as fast or faster | within 5 % | times as fast (mean) | worst |",
        "|---|---|---|---:|---:|---:|---:|---|",
    ]
    for (isa, threads, dtype), found in sorted(_by(compared, lambda r: (r.isa, r.threads, r.work.dtype)), reverse=True):
        ratios = sorted(r.ratio for r in found if r.ratio is not None)
        worst = max(found, key=lambda r: r.ratio or 0)
        shares = (f"{100 * sum(ratio <= limit for ratio in ratios) / len(ratios):.1f} %" for limit in (1, 1.05))
        where = f"{worst.ratio:.2f} × {worst.fastest_peer}: `{worst.work.call}`, {worst.work.size:,}, {worst.form}"
        lines.append(
            f"| {isa} | {threads} | {dtype} | {len(found)} | {' | '.join(shares)} "
            f"| {1 / mean_ratio(found):.2f} | {where} |"
        )
    return "\n".join(lines)


def _sizes(compared: Sequence[Result]) -> str:
    sizes = sorted({r.work.size for r in compared})
    lines = [
        "Elementwise, how many times as fast as the fastest peer (geometric mean).",
        "",
        f"| set | threads | dtype | {' | '.join(f'{size:,}' for size in sizes)} |",
        f"|---|---|---|{'---:|' * len(sizes)}",
    ]
    for way, found in sorted(_by(compared, lambda r: (r.isa, r.threads, r.work.dtype)), reverse=True):
        here = {size: [r for r in found if r.work.size == size] for size in sizes}
        cells = (f"{1 / mean_ratio(results):.2f}" if results else "" for results in here.values())
        lines.append(f"| {' | '.join(map(str, way))} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _behind(compared: Sequence[Result]) -> str:
    """Functions, by how far a peer leads: each in the size and the way in which it is worst."""
    lines = [
        "Each function, dtype and instruction set of which a cell is more than 5 % behind, with its worst cell.",
        "",
        "| function | cells behind, of | worst | in | peer |",
        "|---|---:|---:|---|---|",
    ]
    groups = _by(compared, lambda r: (r.work.function, r.work.mode, r.work.dtype, r.isa))
    worst_first = sorted(groups, key=lambda group: -max(r.ratio or 0 for r in group[1]))
    for _, found in worst_first:
        behind = [r for r in found if (r.ratio or 0) > 1.05]
        if behind:
            worst = max(behind, key=lambda r: r.ratio or 0)
            lines.append(
                f"| `{worst.work.call}` | {len(behind)}, {len(found)} | {worst.ratio:.2f} | {_cell(worst)} "
                f"| {worst.fastest_peer} |"
            )
    return "\n".join(lines)


def _rows(compared: Sequence[Result]) -> str:
    found_shapes = {(r.work.shape, r.work.axis) for r in compared}
    shapes = [one for one in GRID_SHAPES if one in found_shapes]
    titles = [f"{' × '.join(map(str, shape))}{'' if axis == -1 else f', axis {axis}'}" for shape, axis in shapes]
    lines = [
        "ns per entry, and over the fastest peer; float32, into a given array where there is one.",
        "",
        f"| function | set | threads | {' | '.join(titles)} |",
        f"|---|---|---|{'---:|' * len(titles)}",
    ]
    chosen = [r for r in compared if r.work.dtype == "float32"]
    for (function, mode, isa, threads), found in sorted(
        _by(chosen, lambda r: (r.work.function, r.work.mode, r.isa, r.threads)), reverse=True
    ):
        cells = []
        for shape in shapes:
            here = {r.form: r for r in found if (r.work.shape, r.work.axis) == shape}
            result = here.get("out") or here.get("fresh")
            cells.append(f"{result.nanoseconds['fastact']:.3f} ({result.ratio:.2f})" if result else "")
        name = function if mode == "value" else f"{function}.backward"
        lines.append(f"| {name} | {isa} | {threads} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _heat_map(folder: Path, way: tuple[str, str, int], results: Sequence[Result]) -> Path:
    """The ratio to the fastest peer: a line for each function and mode, a column for each size."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    isa, dtype, threads = way
    elementwise = [r for r in results if not r.work.is_rowwise]
    names = sorted({(r.work.function, r.work.mode) for r in elementwise})
    columns = [(size, form) for size in sorted({r.work.size for r in elementwise}) for form in ("fresh", "out")]
    ratios = np.full((len(names), len(columns)), np.nan)
    for r in elementwise:
        ratios[names.index((r.work.function, r.work.mode)), columns.index((r.work.size, r.form))] = r.ratio
    figure = Figure(figsize=(9, 1.2 + 0.19 * len(names)), layout="constrained")
    axes = figure.subplots()
    image = axes.imshow(np.log2(ratios), cmap=mpl.colormaps["RdBu_r"], vmin=-2, vmax=2, aspect="auto")
    for (line, column), ratio in np.ndenumerate(ratios):
        if not np.isnan(ratio):
            axes.text(column, line, f"{ratio:.2f}", ha="center", va="center", fontsize=6)
    suffix = {"value": "", "backward": ".backward(dy, x)", "backward_from_output": ".backward(dy, output)"}
    axes.set_yticks(range(len(names)), [name + suffix[mode] for name, mode in names], fontsize=6)
    axes.set_xticks(range(len(columns)), [f"{size:,}\n{form}" for size, form in columns], fontsize=6)
    axes.set_title(f"time over the fastest peer's: {isa}, {dtype}, {threads} thread{'s' * (threads > 1)}", fontsize=9)
    bar = figure.colorbar(image, ax=axes, shrink=0.3, ticks=range(-2, 3))
    bar.ax.set_yticklabels(["¼", "½", "1", "2", "4"])
    picture = folder / f"heat-{isa}-{dtype}-{threads}.png"
    _save_picture(figure, picture, dpi=100)
    return picture


def _curves(folder: Path, name: str, results: Sequence[Result]) -> Path | None:
    """Time per element against size, of fastact and its peers: float32, one thread, the best instruction set."""
    from matplotlib.figure import Figure

    chosen = [r for r in results if r.work.dtype == "float32" and r.threads == 1 and not r.work.is_rowwise]
    isas = [isa for isa in GRID_SETS if any(r.isa == isa for r in chosen)]
    chosen = [r for r in chosen if r.isa == isas[0] and r.form == "fresh"] if isas else []
    modes = [mode for mode in GRID_MODES if any(r.work.mode == mode for r in chosen)]
    if not modes:
        return None
    figure = Figure(figsize=(3.6 * len(modes), 3.2), layout="constrained")
    for axes, mode in zip(figure.subplots(1, len(modes), squeeze=False)[0], modes, strict=True):
        libraries = dict.fromkeys(library for r in chosen if r.work.mode == mode for library in r.nanoseconds)
        for k, library in enumerate(libraries):
            points = sorted(
                (r.work.size, r.nanoseconds[library])
                for r in chosen
                if r.work.mode == mode and library in r.nanoseconds
            )
            ours = {"color": "black", "linewidth": 2, "zorder": 3} if library == "fastact" else {"color": f"C{k}"}
            axes.loglog(*zip(*points, strict=True), marker=".", label=library, **ours)
        axes.set_title(f"{name}, {mode.replace('_', ' ')}", fontsize=9)
        axes.set_xlabel("elements", fontsize=8)
        axes.set_ylabel("ns per element", fontsize=8)
        axes.tick_params(labelsize=7)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False, fontsize=6)
    picture = folder / f"{name}.png"
    _save_picture(figure, picture, dpi=80)
    return picture


if __name__ == "__main__":
    sys.exit(main())
