"""``fastact bench``: every function against the peers that are installed, in one process and turn by turn."""

import argparse
import functools
import json
import math
import time
import timeit
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

import fastact
from fastact import _isa
from fastact.commands import (
    Refused,
    different,
    duration,
    named_dtype,
    output_file,
    peers,
    read_json,
    thread_count,
    whole_number,
    write_whole,
)

MODES = {
    "value": ("value",),
    "derivative": ("derivative",),
    "value_and_derivative": ("value_and_derivative",),
    "backward": ("backward", "backward_from_output"),
    "loss": ("loss",),
}
BATCH = 1e-3  # seconds; thousands of ticks of the timer
DTYPES = ("float32", "float64", "float16", "bfloat16")
CALL_COST_SIZE = 16
BEHIND = 3  # who is that many times slower than the first of its form takes a turn only in every fourth round


class Row(NamedTuple):
    """What one form of one piece of work takes each library, in nanoseconds per element."""

    work: peers.Work
    form: str
    nanoseconds: dict[str, float]

    @property
    def fastest_peer(self) -> str | None:
        others = {name: figure for name, figure in self.nanoseconds.items() if name != "fastact"}
        return min(others, key=others.__getitem__, default=None)

    @property
    def ratio(self) -> float | None:
        """fastact's time over that of the fastest peer: below 1 is ahead."""
        return None if self.fastest_peer is None else self.nanoseconds["fastact"] / self.nanoseconds[self.fastest_peer]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    functions = (*fastact.activations, *peers.LOSSES)
    parser.add_argument(
        "--function", nargs="+", metavar="NAME", choices=functions, default=functions, help="default: all"
    )
    parser.add_argument(
        "--mode",
        nargs="+",
        metavar="MODE",
        choices=tuple(MODES),
        default=("value", "derivative", "backward"),
        help="default: value derivative backward",
    )
    parser.add_argument("--dtype", nargs="+", choices=DTYPES, help="default: float32")
    parser.add_argument(
        "--size",
        nargs="+",
        type=whole_number(1, 2**40),
        metavar="N",
        help="elements (default: 16384, 1048576 and the shapes of softmax that are met in practice)",
    )
    parser.add_argument("--threads", type=thread_count, metavar="N", help="for every library (default: 1)")
    parser.add_argument(
        "--rounds", type=whole_number(), default=40, metavar="N", help="the best of so many (default: 40)"
    )
    parser.add_argument("--json", type=output_file, metavar="FILE", help="write the figures to a file as well")
    grid = parser.add_argument_group("the whole grid", "All sizes, dtypes, threads and instruction sets: hours.")
    grid.add_argument("--grid", action="store_true", help="measure what the file named by --json does not hold yet")
    grid.add_argument("--isa", nargs="+", choices=_isa.SUPPORTED, help="instruction sets (default: v4 and v3)")
    grid.add_argument("--minutes", type=duration, metavar="M", help="leave the rest to the next run after so long")
    grid.add_argument(
        "--report",
        type=output_file,
        metavar="FILE",
        help="write a page of what the file named by --json holds, and a folder of pictures beside it",
    )


def run(arguments: argparse.Namespace) -> int:
    """Measure, print the tables, and return the exit status."""
    if arguments.grid or arguments.report:
        from fastact.commands import grid

        if not arguments.json:
            raise Refused("--grid and --report need --json FILE, where the figures are kept")
        different(json=arguments.json, report=arguments.report)
        file = grid.File(arguments.json)  # refuses what is no such file
        if arguments.report:
            grid.check_report(arguments.report)
            if not arguments.grid and not file.results:
                raise Refused(f"{arguments.json} holds no figures to report")
        status = grid.run(arguments) if arguments.grid else 0
        if arguments.report and not status:
            grid.report(arguments.json, arguments.report)
        return status
    if arguments.isa or arguments.minutes:
        raise Refused("--isa and --minutes are of --grid")
    if arguments.json:
        read_json(arguments.json, "bench", _check_document)
    return _run(arguments, arguments.dtype or ("float32",), arguments.threads or 1)


def _run(arguments: argparse.Namespace, dtypes: Sequence[str], threads: int) -> int:
    from rich.console import Console
    from rich.progress import track

    console = Console()
    if not console.is_terminal:
        console = Console(width=160)
    for dtype in dtypes:
        named_dtype(dtype)
    works = peers.works(
        arguments.function,
        [mode for chosen in arguments.mode for mode in MODES[chosen]],
        dtypes,
        arguments.size or (16384, 1048576),
        row_shapes=arguments.size is None,
    )
    rows: list[Row] = []
    left_out: list[str] = []
    # In 16 bits the expressions of NumPy overflow on the way.
    with peers.threads(threads), np.errstate(over="ignore"):
        for work in track(works, "measuring", console=console, transient=True):
            measured, absent = measure(work, threads, arguments.rounds)
            rows += measured
            left_out += absent
        calls = call_cost(arguments.function, arguments.rounds)

    versions = {name: library.version for name, library in peers.libraries().items()}
    console.print(
        f"{', '.join(f'{name} {version}' for name, version in versions.items())}; instruction set {_isa.CHOSEN}, "
        f"threads: {threads}, best of {arguments.rounds} rounds"
    )
    console.print(_table(rows))
    if calls:
        console.print(_call_cost_table(calls))
    for line in left_out:
        console.print(line)
    summary = summarise(rows)
    console.print(summary["text"])
    if arguments.json:
        document = _document(arguments.rounds, threads, versions, rows, calls, left_out, summary)
        write_whole(arguments.json, json.dumps(document, indent=1) + "\n")
    return 0


def measure(work: peers.Work, threads: int, rounds: int) -> tuple[list[Row], list[str]]:
    """A row for each form of the work, and a line for each peer that is left out."""
    inputs = peers.Inputs(work, threads)
    contestants, left_out = [], []
    for library, form in peers.entrants(work):
        try:
            contestant = peers.contestant(library, form, inputs)
            obstacle = "" if contestant.agrees() else "its result differs"
        except Exception as error:  # another release of a peer may lack the operator, or the dtype
            obstacle = f"{type(error).__name__}: {error}"
        if not obstacle:
            contestants.append(contestant)
        elif library == "fastact":
            raise SystemExit(f"fastact bench: {_label(work)}, {form}: {obstacle}")
        else:
            left_out.append(f"{library} ({form}) is left out of {_label(work)}: {obstacle}")
    rows = []
    timers = {(c.form, c.library): timer_of(c.call) for c in contestants}
    seconds = race(timers, rounds, pause=0.005 if threads > 1 else 0)
    for form in dict.fromkeys(c.form for c in contestants):
        figures = {library: 1e9 * best / work.size for (other, library), best in seconds.items() if other == form}
        rows.append(Row(work, form, figures))
    return rows, left_out


def race(
    timers: Mapping[tuple[str, str], timeit.Timer],
    rounds: int,
    pause: float = 0,
    least: int = 0,
    seconds: float = math.inf,
) -> dict[tuple[str, str], float]:
    """The best time of each in seconds per call, measured in turns so that they share the machine's moods.

    The first part of a key is the class in which a contestant runs. ``pause`` seconds let the spinning threads of the
    one before fall asleep. After that many ``seconds`` the rounds end early, when there were ``least``.
    """
    stop = time.perf_counter() + seconds
    repeats = {key: _repeats(timer) for key, timer in timers.items()}
    best = dict.fromkeys(timers, math.inf)
    keys = list(timers)
    for number in range(rounds):
        if number >= least and time.perf_counter() > stop:
            break
        first = {form: min(seconds for (other, _), seconds in best.items() if other == form) for form, _ in keys}
        keys = keys[1:] + keys[:1]
        for key in keys:
            if number % 4 and best[key] > BEHIND * first[key[0]]:
                continue
            if pause:
                time.sleep(pause)
                timers[key].timeit(1)
            best[key] = min(best[key], timers[key].timeit(repeats[key]) / repeats[key])
    return best


def timer_of(call: peers.Call) -> timeit.Timer:
    """A timer of the call as a user writes it: a partial would be a good part of what is measured of a small one."""
    if not isinstance(call, functools.partial):
        return timeit.Timer(call)
    names = {f"argument{k}": argument for k, argument in enumerate(call.args)}
    words = [*names, *(f"{name}=keyword_{name}" for name in call.keywords)]
    names |= {f"keyword_{name}": argument for name, argument in call.keywords.items()} | {"function": call.func}
    return timeit.Timer(f"function({', '.join(words)})", globals=names)


def _repeats(timer: timeit.Timer) -> int:
    repeats = 1
    while timer.timeit(repeats) < BATCH:
        repeats *= 2
    return repeats


def call_cost(functions: Sequence[str], rounds: int) -> dict[str, float]:
    """Nanoseconds per call on a tiny array, of np.tanh and of each elementwise function asked for."""
    names = [name for name in functions if not peers.is_rowwise(name)]
    x = peers.Inputs(peers.Work("tanh", "value", "float32", (CALL_COST_SIZE,))).x
    calls = {"np.tanh": np.tanh} | {f"fastact.{name}": fastact.get(name) for name in names}
    # As text, because a partial or a lambda would be a good part of what is measured here.
    timers = {("value", name): timeit.Timer("f(x)", globals={"f": f, "x": x}) for name, f in calls.items()}
    return {name: 1e9 * seconds for (_, name), seconds in race(timers, rounds).items()} if names else {}


def summarise(rows: Sequence[Row]) -> dict[str, Any]:
    compared = [(row.ratio, row) for row in rows if row.ratio is not None]
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
        f"{_label(worst.work)}, {worst.form}; geometric mean {mean:.2f}",
    }


def _label(work: peers.Work) -> str:
    return f"{work.call}, {_shape(work)} {work.dtype}"


def _shape(work: peers.Work) -> str:
    return " x ".join(map(str, work.shape))


def _table(rows: Sequence[Row]) -> Any:
    from rich.table import Table

    libraries = [name for name in peers.libraries() if any(name in row.nanoseconds for row in rows)]
    table = Table(
        title="ns per element; fresh: a new output at each call, out: into a given array\n"
        "ratio: fastact / fastest peer of the same form, below 1 is ahead"
    )
    for heading in ("call", "shape", "form"):
        table.add_column(heading, overflow="fold")
    for heading in (*libraries, "ratio"):
        table.add_column(heading, justify="right")
    previous = None
    for row in rows:
        work = row.work
        if previous and (previous.dtype, previous.size, previous.axis) != (work.dtype, work.size, work.axis):
            table.add_section()
        label = ("", "") if work == previous else (work.call, f"{_shape(work)} {work.dtype}")
        table.add_row(*label, row.form, *(_figure(row, name) for name in libraries), _ratio(row.ratio))
        previous = work
    return table


def _figure(row: Row, library: str) -> str:
    if library not in row.nanoseconds:
        return ""
    nanoseconds = row.nanoseconds[library]
    figure = f"{nanoseconds:.{2 if nanoseconds < 10 else 0}f}" if nanoseconds >= 1 else f"{nanoseconds:.3f}"
    return f"[bold]{figure}[/bold]" if library == row.fastest_peer else figure


def _ratio(ratio: float | None) -> str:
    return "" if ratio is None else f"[{'green' if ratio < 1 else 'red'}]{ratio:.2f}"


def _call_cost_table(calls: Mapping[str, float]) -> Any:
    from rich.table import Table

    table = Table("call", title=f"ns per call, {CALL_COST_SIZE} elements of float32")
    table.add_column("ns", justify="right")
    table.add_column("/ np.tanh", justify="right")
    for name, nanoseconds in calls.items():
        table.add_row(f"{name}(x)", f"{nanoseconds:.0f}", f"{nanoseconds / calls['np.tanh']:.2f}")
    return table


def _document(
    rounds: int,
    threads: int,
    versions: Mapping[str, str],
    rows: Sequence[Row],
    calls: Mapping[str, float],
    left_out: Sequence[str],
    summary: Mapping[str, Any],
) -> dict[str, Any]:
    return {
        "versions": dict(versions),
        "instruction_set": _isa.CHOSEN,
        "threads": threads,
        "rounds": rounds,
        "rows": [
            {
                **row.work._asdict(),
                "call": row.work.call,
                "form": row.form,
                "nanoseconds_per_element": row.nanoseconds,
                "fastest_peer": row.fastest_peer,
                "ratio": row.ratio,
            }
            for row in rows
        ],
        "nanoseconds_per_call": dict(calls),
        "left_out": list(left_out),
        "summary": dict(summary),
    }


def _check_document(content: Any) -> None:
    """Raise if this is not what `_document` makes."""
    if not {"instruction_set", "nanoseconds_per_call", "rows", "summary"} <= content.keys():
        raise ValueError("of another program")
