"""``fastact accuracy``: how far the results are from the exact ones, in units in the last place (ulp).

float32 is judged on every one of the 2^32 inputs or every N-th of them, float16 and bfloat16 on all inputs, float64 on
structured points, and the softmax family on random rows; `fastact.comparison.ulp` says how.

To judge a result takes many times as long as to compute it, and most results are the same as in the last run:
instruction sets with fused multiply-add give the same bits, and so does the next version of the library. With --json
the figures are kept, each with a digest of all results that it is about. Results whose digest that file holds are not
judged again: they have the figures that it holds.
"""

import argparse
import dataclasses
import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

import fastact
from fastact import _isa, reference
from fastact.commands import (
    Failed,
    Refused,
    cpu,
    different,
    output_file,
    read_json,
    run_process,
    whole_number,
    write_whole,
)
from fastact.comparison import pool, tables
from fastact.comparison.figures import Figures
from fastact.comparison.ulp import FUNCTIONS, MODES
from fastact.comparison.work import ALL_DTYPES, named_dtype

Found = TypeVar("Found")

DEFAULT_DTYPES = ("float32", "float64")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    parser.add_argument("--function", nargs="+", choices=FUNCTIONS, default=FUNCTIONS, metavar="NAME",
                        help=f"of {', '.join(FUNCTIONS)} (default: all)")  # fmt: skip
    parser.add_argument("--mode", nargs="+", choices=MODES, default=MODES, help="default: both")
    parser.add_argument("--dtype", nargs="+", choices=ALL_DTYPES, default=DEFAULT_DTYPES,
                        help="default: float32 float64; those of 16 bits are judged on every input")  # fmt: skip
    parser.add_argument("--isa", nargs="+", choices=_isa.BUILT, default=[_isa.CHOSEN],
                        help=f"instruction sets to measure (default: the one in use, {_isa.CHOSEN})")  # fmt: skip
    density = parser.add_mutually_exclusive_group()
    density.add_argument("--stride", type=whole_number(1, 2**32), default=257, metavar="N",
                         help="judge every N-th float32 (default: %(default)s, some seconds)")  # fmt: skip
    density.add_argument("--exhaustive", action="store_true",
                         help="judge every float32, some minutes each, and a million float64")  # fmt: skip
    parser.add_argument("--json", metavar="FILE", type=output_file,
                        help="keep the figures in FILE; those that are there already are not measured again where the"
                        " results are the same")  # fmt: skip
    parser.add_argument("--markdown", metavar="FILE", type=output_file,
                        help="write all figures, those kept too, as a page")  # fmt: skip


def run(arguments: argparse.Namespace) -> int:
    """Measure, print the tables, and return the exit status."""
    for isa in arguments.isa:
        if isa not in _isa.SUPPORTED:
            raise Refused(f"argument --isa: this CPU cannot run {isa}; accepted are {', '.join(_isa.SUPPORTED)}")
    different(json=arguments.json, markdown=arguments.markdown)
    if arguments.json:
        _load(arguments.json)  # refuses a file of another program
    with tempfile.TemporaryDirectory() as folder:
        path = arguments.json or Path(folder, "figures.json")
        for isa in arguments.isa:
            status = _measure(arguments, path) if isa == _isa.CHOSEN else _measure_elsewhere(arguments, isa, path)
            if status:
                return status
        if arguments.markdown:
            figures = _load(path)
            write_whole(arguments.markdown, tables.page(_introduction(arguments, figures), figures))
    return 0


def _measure_elsewhere(arguments: argparse.Namespace, isa: str, path: Path) -> int:
    """Measure an instruction set other than the one that this process chose at import."""
    words = [sys.executable, "-m", "fastact", "accuracy", "--isa", isa, "--json", str(path)]
    for name in ("function", "mode", "dtype"):
        words += [f"--{name}", *getattr(arguments, name)]
    words += ["--exhaustive"] if arguments.exhaustive else ["--stride", str(arguments.stride)]
    return run_process(words, {**os.environ, "FASTACT_ISA": isa})


def _measure(arguments: argparse.Namespace, path: Path) -> int:
    from rich.console import Console

    for dtype in arguments.dtype:
        named_dtype(dtype)
    if "float64" in arguments.dtype:
        reference.mpmath_namespace()  # if mpmath is missing, say so before the float32 are measured
    console = Console()
    if not console.is_terminal:
        console.width = 140
    console.print(", ".join(f"{what} {which}" for what, which in _about().items()), highlight=False)

    kept = _load(path)
    finished: list[Figures] = []
    interrupted = False
    try:
        for figures in _figures(arguments, kept):
            finished.append(figures)
            kept = [f for f in kept if (f.task, f.isa) != (figures.task, figures.isa)] + [figures]
            _save(path, kept)
    except KeyboardInterrupt:
        interrupted = True
    except BrokenProcessPool:
        raise Failed("a process that measures was ended from outside; what was finished is kept with --json") from None

    for table in tables.tables(finished):
        _print(console, table)
    if interrupted:
        console.print("Interrupted: the tables above are those of what was finished.")
        return 130
    return 0


def _about() -> dict[str, str]:
    return {"fastact": fastact.__version__, "instruction set": _isa.CHOSEN, "CPU": cpu(), "NumPy": np.__version__}


def _load(path: Path) -> list[Figures]:
    def check(content: Any) -> list[Figures]:
        return [Figures.from_json(record) for record in content["figures"]]

    return read_json(path, "fastact accuracy", check) or []


def _save(path: Path, figures: list[Figures]) -> None:
    text = json.dumps({**_about(), "figures": [f.as_json() for f in figures]}, indent=1)
    write_whole(path, f"{text}\n")


def _figures(arguments: argparse.Namespace, kept: list[Figures]) -> Iterator[Figures]:
    """The figures of one task after the other, taken from those kept where the results are the same."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    subject = pool.Subject(arguments.function, arguments.mode, arguments.dtype)
    effort = pool.effort(None if arguments.exhaustive else arguments.stride)
    by = "fastact {fastact} and NumPy {NumPy} on {CPU}".format(**_about())
    with (
        Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress,
        pool.processes() as processes,
    ):

        def watched(task: pool.Task, remark: str, find: Callable[[Callable[[int], None]], Found]) -> Found:
            """What `find` returns; meanwhile a bar shows the progress that it reports."""
            bar = progress.add_task(" ".join(filter(None, (*task.figures.task, remark))), total=task.total)
            try:
                return find(lambda results: progress.advance(bar, results))
            finally:
                progress.remove_task(bar)

        for task in pool.tasks(subject, effort, processes):
            same = watched(task, "(known?)", partial(pool.known, task, kept))
            yield dataclasses.replace(same or watched(task, "", partial(task.run, True)), by=by)


def _print(console: Any, table: tables.Table) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table as RichTable

    shown = RichTable(title=table.title, title_justify="left", title_style="bold", box=SIMPLE_HEAD)
    for k, heading in enumerate(table.headings):
        shown.add_column(heading, justify="right" if k else "left", no_wrap=not k)
    for row in table.rows:
        shown.add_row(*row)
    console.print(shown)
    for note in table.notes:
        console.print(note, highlight=False)


def _introduction(arguments: argparse.Namespace, figures: Sequence[Figures]) -> str:
    """The head of the page, with the command that measures all of its figures."""
    command = ["fastact accuracy", "--exhaustive" if arguments.exhaustive else f"--stride {arguments.stride}"]
    measured = {
        "function": ([f.function for f in figures], FUNCTIONS, FUNCTIONS),
        "mode": ([f.mode for f in figures], MODES, MODES),
        "dtype": ([f.dtype for f in figures], ALL_DTYPES, DEFAULT_DTYPES),
        "isa": ([f.isa for f in figures], _isa.BUILT[::-1], ()),
    }
    for name, (found, order, default) in measured.items():
        words = [one for one in order if one in found]
        if words != list(default):
            command.append(f"--{name} {' '.join(words)}")
    command.append(f"--markdown {arguments.markdown}")
    one = "one of the 2^32" if arguments.exhaustive else f"{arguments.stride}th"
    return tables.introduction(" ".join(command), one, figures)
