"""Time every function in every size, dtype, number of threads and instruction set, and write the page of it.

    python benchmarks/grid.py --json grid.json --report docs/performance.md --extract docs/speed.json   hours, resumable
    python benchmarks/grid.py --quick                                          a quarter of an hour

A *line* is one function and mode in one dtype: all sizes, or all shapes of rows. Lines are measured in an order that is
random, but the same each time, so that an interrupted run leaves a fair sample; what the file holds is not measured
again. Each instruction set and number of threads has a process of its own, because the peers read both from the
environment, once. A library that was several times as slow as the fastest at two sizes in a row, large enough that the
cost of a call does not count, is not timed at the larger ones.

grid_results.py keeps the results, and grid_page.py makes the page of them alone.
"""

import argparse
import itertools
import math
import os
import platform
import random
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from grid_page import check_report, extract, report
from grid_results import (
    BEHIND,
    GRID_DTYPES,
    GRID_MODES,
    GRID_SETS,
    GRID_SHAPES,
    GRID_SIZES,
    GRID_THREADS,
    ROUNDS,
    File,
    Result,
    summary,
)

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
    run_process,
    thread_count,
    whole_number,
)
from fastact.comparison import peers
from fastact.comparison.race import Timing, WrongResult, measure
from fastact.comparison.work import ALL_DTYPES, Work, is_rowwise, named_dtype

TOO_SLOW = 3.0  # times the fastest, at two sizes one after the other: not timed at the larger ones
CALL_IS_CHEAP = 4096  # elements from which on the cost of a call does not decide which library is fastest
QUICK_MINUTES = 15.0


class Extent(NamedTuple):
    """How much is measured: the sizes of elementwise work, the shapes of rows with their axes, and the dtypes."""

    sizes: Sequence[int]
    shapes: Sequence[tuple[tuple[int, ...], int]]
    dtypes: Sequence[str]


FULL = Extent(GRID_SIZES, GRID_SHAPES, GRID_DTYPES)
QUICK = Extent(
    (16, 4096, 262144, 1048576),  # the cost of a call, the first and the second level of cache, beyond them
    (((4096, 16), -1), ((1024, 1024), -1), ((1, 131072), -1), ((1024, 1024), 0)),
    ("float32",),
)

HELD_TO_AVX2 = {
    "ATEN_CPU_CAPABILITY": "avx2",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "XLA_FLAGS": "--xla_cpu_max_isa=AVX2",
    "NUMBA_CPU_NAME": "haswell",
    "NUMBA_CPU_FEATURES": "+avx2,+fma",
}
"""What holds the peers to the instruction set v3; ONNX Runtime and SciPy have no such switch. Nor has the library of
PyTorch's tanh: its switch makes it five times as slow as its AVX2 code is."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line (default: the process's own arguments) and return the exit status."""
    return exit_status("grid.py", lambda: run(_parser().parse_args(argv)))


def _parser() -> Parser:
    parser = Parser(
        prog="grid.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, epilog=STATUSES
    )
    names = tuple(fastact.activations)
    parser.add_argument("--json", type=output_file, metavar="FILE",
                        help="keep the figures in FILE; those that it holds are not measured again")  # fmt: skip
    parser.add_argument("--report", type=output_file, metavar="FILE",
                        help="write a page of what that file holds, and a folder of pictures beside it")  # fmt: skip
    parser.add_argument("--extract", type=output_file, metavar="FILE",
                        help="write of that file what the pages of the functions show")  # fmt: skip
    parser.add_argument("--quick", action="store_true",
                        help="measure float32 (or --dtype) with the instruction set in use, in four sizes and shapes,"
                        f" for {QUICK_MINUTES:g} minutes at most, and print the cells in which fastact is more than"
                        f" {100 * (BEHIND - 1):.0f} %% slower than a peer; needs no --json")  # fmt: skip
    parser.add_argument("--skip-measuring", action="store_true", help="only write the page or the extract")
    parser.add_argument("--function", nargs="+", metavar="NAME", choices=names, default=names, help="default: all")
    parser.add_argument("--dtype", nargs="+", choices=ALL_DTYPES, help=f"default: {' '.join(FULL.dtypes)}")
    parser.add_argument("--size", nargs="+", type=whole_number(1, 2**40), metavar="N",
                        help=f"elements of elementwise work (default: {' '.join(map(str, FULL.sizes))})")  # fmt: skip
    parser.add_argument("--threads", type=thread_count, metavar="N",
                        help=f"for every library (default: {' and '.join(map(str, GRID_THREADS))})")  # fmt: skip
    parser.add_argument("--isa", nargs="+", choices=_isa.SUPPORTED,
                        help=f"instruction sets (default: {' and '.join(GRID_SETS)})")  # fmt: skip
    parser.add_argument("--minutes", type=duration, metavar="M",
                        help="stop after M minutes; the next run measures the rest")  # fmt: skip
    parser.add_argument("--without-summary", action="store_true", help=argparse.SUPPRESS)  # for processes of one run
    return parser


def run(arguments: argparse.Namespace) -> int:
    """Measure, write the page or print the summary, and return the exit status."""
    if arguments.skip_measuring and not (arguments.report or arguments.extract):
        raise Refused("--skip-measuring needs --report FILE or --extract FILE: there is nothing else to do")
    if not arguments.json and not arguments.quick:
        raise Refused("the following arguments are required: --json, or --quick")
    different(json=arguments.json, report=arguments.report, extract=arguments.extract)
    if not arguments.json:
        with tempfile.TemporaryDirectory() as folder:
            arguments.json = Path(folder, "grid.json")
            return run(arguments)
    file = File(arguments.json)  # refuses a file of another program
    if arguments.report:
        check_report(arguments.report)
        if arguments.skip_measuring and not file.results:
            raise Refused(f"{arguments.json} holds no figures to report")
    status = 0 if arguments.skip_measuring else _measure_in_processes(arguments)
    if arguments.report and not status:
        report(arguments.json, arguments.report)
    if arguments.extract and not status:
        extract(arguments.json, arguments.extract)
    if arguments.quick and not status and not arguments.without_summary:
        print(summary(File(arguments.json)))
    return status


def _measure_in_processes(arguments: argparse.Namespace) -> int:
    """Measure what is missing, in as many processes as there are instruction sets and numbers of threads."""
    extent = QUICK if arguments.quick else FULL
    extent = extent._replace(sizes=arguments.size or extent.sizes, dtypes=arguments.dtype or extent.dtypes)
    sets = () if arguments.quick else GRID_SETS
    isas = arguments.isa or [isa for isa in sets if isa in _isa.SUPPORTED] or [_isa.CHOSEN]
    threads = [arguments.threads] if arguments.threads else list(GRID_THREADS)
    minutes = arguments.minutes or (QUICK_MINUTES if arguments.quick else math.inf)
    ways = list(itertools.product(isas, threads))
    if len(ways) == 1 and all(os.environ.get(name) == value for name, value in _environment(*ways[0]).items()):
        isa, count = ways[0]
        return _measure_here(arguments, extent, isa, count, minutes)
    for isa, count in ways:
        words = [sys.executable, __file__, "--isa", isa, "--threads", str(count), "--json", str(arguments.json)]
        for name, values in (("function", arguments.function), ("dtype", extent.dtypes), ("size", extent.sizes)):
            words += [f"--{name}", *map(str, values)]
        words += ["--without-summary", *["--quick"] * arguments.quick]
        if minutes < math.inf:
            words += ["--minutes", str(minutes / len(ways))]
        status = run_process(words, os.environ | _environment(isa, count))
        if status:
            return status
    return 0


def _environment(isa: str, threads: int) -> dict[str, str]:
    found = {"FASTACT_ISA": "" if isa == _isa.SUPPORTED[-1] else isa, "NPROC": str(threads)}
    if isa == "v3":
        found |= HELD_TO_AVX2
        dispatched = getattr(np, "_core", np.core)._multiarray_umath.__cpu_dispatch__
        found["NPY_DISABLE_CPU_FEATURES"] = " ".join(
            feature for feature in dispatched if feature.startswith("AVX512") or feature == "X86_V4"
        )
    return found


def _measure_here(arguments: argparse.Namespace, extent: Extent, isa: str, threads: int, minutes: float) -> int:
    """Measure what is missing for one instruction set and number of threads, those of this process."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    for dtype in extent.dtypes:
        named_dtype(dtype)
    file = File(arguments.json)
    libraries = {name: library.version for name, library in peers.libraries().items()}
    file.about |= {**_machine(), "libraries": file.about.get("libraries", {}) | libraries}
    missing = list(_lines(arguments.function, extent, file.measured(isa, threads)))
    left = sum(map(len, missing))
    stop = time.monotonic() + 60 * minutes
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with (
        Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress,
        peers.threads(threads),
        np.errstate(over="ignore"),
    ):
        bar = progress.add_task("", total=left)
        try:
            for line in missing:
                times_too_slow: dict[str, int] = defaultdict(int)
                for work in line:
                    if time.monotonic() > stop:
                        if arguments.quick:
                            console.print(f"{isa}, {threads} threads: {left:,} pieces of work are left after "
                                          f"{minutes:g} minutes")  # fmt: skip
                        return 0
                    progress.update(bar, description=f"{isa}, {threads}: {work.call}, {work.size:,} {work.dtype}")
                    timings = _measure_work(work, threads, times_too_slow)
                    file.results += [Result(isa, threads, *timing) for timing in timings]
                    file.save()
                    left -= 1
                    progress.advance(bar)
        finally:
            file.save(now=True)
    return 0


def _machine() -> dict[str, Any]:
    """What figures depend on, besides the libraries."""
    return {"CPU": cpu(), "processors": os.cpu_count(), "Python": platform.python_version()}


def _lines(functions: Sequence[str], extent: Extent, measured: set[Work]) -> Iterator[list[Work]]:
    """What is still to be measured: elementwise works of growing size, and rows in every shape."""
    lines: dict[tuple[str, ...], list[Work]] = defaultdict(list)
    elementwise = [name for name in functions if not is_rowwise(name)]
    rowwise = [name for name in functions if is_rowwise(name)]
    works = peers.works(elementwise, GRID_MODES, extent.dtypes, sorted(extent.sizes), row_shapes=False)
    for work in peers.works(rowwise, GRID_MODES, extent.dtypes, (1024,), row_shapes=False):
        works += [work._replace(shape=shape, axis=axis) for shape, axis in extent.shapes]
    for work in works:
        if work not in measured:
            lines[work.function, work.mode, work.dtype].append(work)
    order = list(lines.values())
    random.Random(0).shuffle(order)
    yield from order


def _measure_work(work: Work, threads: int, times_too_slow: dict[str, int]) -> list[Timing]:
    skipped = [] if work.is_rowwise else [name for name, times in times_too_slow.items() if times >= 2]
    try:
        timings, _ = measure(work, threads, ROUNDS, skipped=skipped)
    except WrongResult as error:
        raise Failed(str(error)) from None
    if work.size >= CALL_IS_CHEAP:
        _count_too_slow(timings, times_too_slow)
    return timings


def _count_too_slow(timings: Iterable[Timing], times_too_slow: dict[str, int]) -> None:
    """Count, for each library, at how many sizes in a row it was too slow in every form."""
    best: dict[str, float] = {}  # time over that of the fastest, in the form in which that is least
    for timing in timings:
        fastest = min(timing.nanoseconds.values())
        for name, nanoseconds in timing.nanoseconds.items():
            best[name] = min(best.get(name, math.inf), nanoseconds / fastest)
    for name, ratio in best.items():
        times_too_slow[name] = times_too_slow[name] + 1 if ratio > TOO_SLOW and name != "fastact" else 0


if __name__ == "__main__":
    sys.exit(main())
