"""``fastact bench``: every function and every other library that is installed, timed in one process and in turns."""

import argparse
import json
import math
import os
import platform
import timeit
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import fastact
from fastact import _isa
from fastact.commands import (
    Failed,
    cpu,
    different,
    output_file,
    read_json,
    shown,
    thread_count,
    whole_number,
    write_whole,
)
from fastact.comparison import peers
from fastact.comparison.pictures import encoded, heat_map
from fastact.comparison.race import Rounds, Timing, WrongResult, best_times, measure
from fastact.comparison.tables import in_markdown
from fastact.comparison.work import (
    ALL_DTYPES,
    CALLS,
    FUNCTIONS,
    MASKS,
    PACKED,
    Inputs,
    Work,
    has_rows,
    is_rowwise,
    named_dtype,
)

MODES_OF_OPTION = {
    "value": ("value",),
    "derivative": ("derivative",),
    "value_and_derivative": ("value_and_derivative",),
    "backward": ("backward", "backward_from_output"),
    "loss": ("loss",),
    "hessian": ("hessian",),
    "masked": MASKS,
    "packed": PACKED,
    "sample": ("sample",),
}
USUAL_MODES = ("value", "derivative", "backward")
CALL_COST_SIZE = 16
CALL_COST_TITLE = f"ns per call, {CALL_COST_SIZE} elements of float32"
CALL_COST_HEADINGS = ("call", "ns", "/ np.tanh")

PAGE = """# Speed of fastact on {cpu}

{versions}; Python {python}, {system}, {processors} processors; instruction set {isa}, threads: {threads}, best of
{rounds} rounds. All libraries were timed in turns in one process.

Summary: {summary}.{picture}

In nanoseconds per element. *fresh*: a new output at each call; *out*: into a given array. The fastest of the other
libraries is bold; the ratio is fastact's time over its time, and below 1 fastact is ahead.
"""


class Found(NamedTuple):
    """What was measured, and how."""

    threads: int
    rounds: int
    timings: list[Timing]
    calls: dict[str, float]
    left_out: list[str]

    @property
    def versions(self) -> dict[str, str]:
        return {name: library.version for name, library in peers.libraries().items()}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    parser.add_argument(
        "--function", nargs="+", metavar="NAME", choices=FUNCTIONS, default=FUNCTIONS, help="default: all"
    )
    parser.add_argument(
        "--mode",
        nargs="+",
        metavar="MODE",
        choices=tuple(MODES_OF_OPTION),
        help=f"default: {' '.join(USUAL_MODES)}, or all modes if no function has one of these",
    )
    parser.add_argument("--dtype", nargs="+", choices=ALL_DTYPES, default=("float32",), help="default: float32")
    parser.add_argument(
        "--size",
        nargs="+",
        type=whole_number(1, 2**40),
        metavar="N",
        help="elements (default: 16384, 1048576 and shapes of softmax that occur in practice)",
    )
    parser.add_argument("--threads", type=thread_count, default=1, metavar="N", help="for every library (default: 1)")
    parser.add_argument(
        "--rounds", type=whole_number(), default=40, metavar="N", help="the best of so many (default: 40)"
    )
    parser.add_argument("--json", type=output_file, metavar="FILE", help="write the figures to a file as well")
    parser.add_argument(
        "--markdown",
        type=page_file,
        metavar="FILE",
        help="write a page as well, with the processor and the versions, and a picture beside it: FILE is NAME.md",
    )


def page_file(text: str) -> Path:
    """A type of argument: a page in Markdown, beside which a picture can be written."""
    path = output_file(text)
    if path.suffix != ".md":
        raise argparse.ArgumentTypeError(f"{shown(text)} is not accepted; accepted is a name like bench.md, beside "
                                         "which the picture bench.png is written")  # fmt: skip
    output_file(str(_picture_beside(path)))
    return path


def _picture_beside(page: Path) -> Path:
    return page.with_suffix(".png")


def run(arguments: argparse.Namespace) -> int:
    """Measure, print the tables, and return the exit status."""
    from rich.console import Console

    different(json=arguments.json, markdown=arguments.markdown)
    if arguments.markdown:
        import matplotlib as mpl  # noqa: F401  # if it is missing, say so before anything is measured

        different(json=arguments.json, markdown=_picture_beside(arguments.markdown))
    if arguments.json:
        read_json(arguments.json, "fastact bench", _check_document)
    console = Console()
    if not console.is_terminal:
        console = Console(width=160)
    found = _measure_all(arguments, console)
    console.print(
        f"{_versions(found)}; instruction set {_isa.CHOSEN}, threads: {found.threads}, best of {found.rounds} rounds"
    )
    console.print(_table(found.timings))
    if found.calls:
        console.print(_call_cost_table(found.calls))
    for line in found.left_out:
        console.print(line)
    summary = summarise(found.timings)
    console.print(summary["text"])
    if arguments.json:
        write_whole(arguments.json, json.dumps(_document(found, summary), indent=1) + "\n")
    if arguments.markdown:
        reference = ""
        if "rows" in summary:
            picture = _picture_beside(arguments.markdown)
            write_whole(picture, encoded(heat_map(_panels(found)), picture.suffix))
            reference = f"\n\n![fastact's time over that of the fastest peer]({picture.name})"
        write_whole(arguments.markdown, _page(found, summary["text"], reference))
    return 0


def _versions(found: Found) -> str:
    return ", ".join(f"{name} {version}" for name, version in found.versions.items())


def _measure_all(arguments: argparse.Namespace, console: Any) -> Found:
    from rich.progress import track

    for dtype in arguments.dtype:
        named_dtype(dtype)
    extent = arguments.dtype, arguments.size or (16384, 1048576), arguments.size is None
    modes = [mode for chosen in arguments.mode or USUAL_MODES for mode in MODES_OF_OPTION[chosen]]
    works = peers.works(arguments.function, modes, *extent)
    if not works and arguments.mode is None:
        works = peers.works(arguments.function, CALLS, *extent)
    timings: list[Timing] = []
    left_out: list[str] = []
    # In 16 bits intermediate results of NumPy's expressions overflow.
    with peers.threads(arguments.threads), np.errstate(over="ignore"):
        for work in track(works, "measuring", console=console, transient=True):
            try:
                measured, absent = measure(work, arguments.threads, Rounds(arguments.rounds))
            except WrongResult as error:
                raise Failed(str(error)) from None
            timings += measured
            left_out += absent
        calls = call_cost(arguments.function, arguments.rounds)
    return Found(arguments.threads, arguments.rounds, timings, calls, left_out)


def call_cost(functions: Sequence[str], rounds: int) -> dict[str, float]:
    """Nanoseconds per call on a tiny array, of np.tanh and of each activation asked for that is not of rows."""
    names = [name for name in functions if name in fastact.activations and not is_rowwise(name)]
    x = Inputs(Work("tanh", "value", "float32", (CALL_COST_SIZE,))).x
    calls = {"np.tanh": np.tanh} | {f"fastact.{name}": fastact.get(name) for name in names}
    # As text: calling a partial or a lambda takes a good part of the time of so small an array.
    timers = {("value", name): timeit.Timer("f(x)", globals={"f": f, "x": x}) for name, f in calls.items()}
    best = best_times(timers, Rounds(rounds)) if names else {}
    return {name: 1e9 * seconds for (_, name), seconds in best.items()}


def summarise(timings: Sequence[Timing]) -> dict[str, Any]:
    """The number of rows of the table with a peer, and how fastact compares in them."""
    compared = [(timing.ratio, timing) for timing in timings if timing.ratio is not None]
    if not compared:
        return {"text": "no peer to compare with"}
    ratios = [ratio for ratio, _ in compared]
    worst_ratio, worst = max(compared, key=lambda pair: pair[0])
    ahead = sum(ratio < 1 for ratio in ratios)
    mean = math.exp(math.fsum(map(math.log, ratios)) / len(ratios))
    return {
        "rows": len(ratios),
        "ahead": ahead,
        "worst": worst_ratio,
        "geometric_mean": mean,
        "text": f"ahead in {ahead} of {len(ratios)} rows; worst {worst_ratio:.2f} of {worst.fastest_peer} in "
        f"{worst.work}, {worst.form}; geometric mean {mean:.2f}",
    }


def _table(timings: Sequence[Timing]) -> Any:
    from rich.table import Table

    libraries = _libraries(timings)
    table = Table(
        title="ns per element; fresh: a new output at each call, out: into a given array\n"
        "ratio: fastact / fastest peer of the same form, below 1 is ahead"
    )
    for heading in ("call", "shape", "form"):
        table.add_column(heading, overflow="fold")
    for heading in (*libraries, "ratio"):
        table.add_column(heading, justify="right")
    previous = None
    for timing in timings:
        work = timing.work
        if previous and (previous.dtype, previous.size, previous.axis) != (work.dtype, work.size, work.axis):
            table.add_section()
        label = ("", "") if work == previous else (work.call, work.shape_and_dtype)
        figures = (_figure(timing, name, "[bold]{}[/bold]") for name in libraries)
        table.add_row(*label, timing.form, *figures, _ratio(timing.ratio))
        previous = work
    return table


def _libraries(timings: Sequence[Timing]) -> list[str]:
    return [name for name in peers.libraries() if any(name in timing.nanoseconds for timing in timings)]


def _figure(timing: Timing, library: str, fastest: str) -> str:
    if library not in timing.nanoseconds:
        return ""
    nanoseconds = timing.nanoseconds[library]
    figure = f"{nanoseconds:.{2 if nanoseconds < 10 else 0}f}" if nanoseconds >= 1 else f"{nanoseconds:.3f}"
    return fastest.format(figure) if library == timing.fastest_peer else figure


def _ratio(ratio: float | None) -> str:
    return "" if ratio is None else f"[{'green' if ratio < 1 else 'red'}]{ratio:.2f}"


def _call_cost_table(calls: Mapping[str, float]) -> Any:
    from rich.table import Table

    first, *headings = CALL_COST_HEADINGS
    table = Table(first, title=CALL_COST_TITLE)
    for heading in headings:
        table.add_column(heading, justify="right")
    for row in _call_cost_rows(calls):
        table.add_row(*row)
    return table


def _call_cost_rows(calls: Mapping[str, float]) -> list[tuple[str, str, str]]:
    tanh = calls["np.tanh"]
    return [(f"{name}(x)", f"{taken:.0f}", f"{taken / tanh:.2f}") for name, taken in calls.items()]


def _panels(found: Found) -> dict[str, list[Timing]]:
    """The timings by dtype, those of rows apart, as parts of a picture."""
    panels: dict[str, list[Timing]] = {}
    for timing in found.timings:
        rows = ", rows" if has_rows(timing.work.function, timing.work.mode) else ""
        title = f"time over the fastest peer's: {timing.work.dtype}{rows}, {_isa.CHOSEN}, threads: {found.threads}"
        panels.setdefault(title, []).append(timing)
    return panels


def _page(found: Found, summary: str, picture: str) -> str:
    lines = [
        PAGE.format(
            cpu=cpu(),
            versions=_versions(found),
            python=platform.python_version(),
            system=f"{platform.system()} {platform.machine()}",
            processors=os.cpu_count(),
            isa=_isa.CHOSEN,
            threads=found.threads,
            rounds=found.rounds,
            summary=summary,
            picture=picture,
        )
    ]
    groups: dict[str, list[Timing]] = {}
    for timing in found.timings:
        groups.setdefault(timing.work.shape_and_dtype, []).append(timing)
    for title, timings in groups.items():
        libraries = _libraries(timings)
        rows = [
            (
                f"`{timing.work.call}`",
                timing.form,
                *(_figure(timing, name, "**{}**") for name in libraries),
                "" if timing.ratio is None else f"{timing.ratio:.2f}",
            )
            for timing in timings
        ]
        lines += [f"## {title}", "", *in_markdown(("call", "form", *libraries, "ratio"), rows), ""]
    if found.calls:
        lines += [f"## {CALL_COST_TITLE}", "", *in_markdown(CALL_COST_HEADINGS, _call_cost_rows(found.calls), 1), ""]
    return "\n".join([*lines, *(f"* {line}" for line in found.left_out)]).rstrip() + "\n"


def _document(found: Found, summary: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "versions": found.versions,
        "instruction_set": _isa.CHOSEN,
        "threads": found.threads,
        "rounds": found.rounds,
        "rows": [
            {
                **timing.work._asdict(),
                "call": timing.work.call,
                "form": timing.form,
                "nanoseconds_per_element": timing.nanoseconds,
                "fastest_peer": timing.fastest_peer,
                "ratio": timing.ratio,
            }
            for timing in found.timings
        ],
        "nanoseconds_per_call": found.calls,
        "left_out": found.left_out,
        "summary": dict(summary),
    }


def _check_document(content: Any) -> None:
    """Raise if this is not what `_document` makes."""
    if not {"instruction_set", "nanoseconds_per_call", "rows", "summary"} <= content.keys():
        raise ValueError("of another program")
