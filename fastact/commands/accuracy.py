"""``fastact accuracy``: how far the results lie from the exact ones, in units in the last place (ulp).

float32 is judged by the float64 reference, on every one of the 2^32 inputs or every N-th of them, float16 and bfloat16
on all inputs there are; float64 by mpmath, on structured points. The softmax family is judged entry by entry, on random
rows.
"""

import argparse
import contextlib
import dataclasses
import itertools
import json
import math
import multiprocessing
import os
import platform
import re
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from itertools import repeat
from typing import Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt

import fastact
from fastact import _isa, reference
from fastact.activation import Elementwise
from fastact.commands import named_dtype

Array = npt.NDArray[Any]

ROWWISE = ("softmax", "log_softmax")  # not logsumexp, which may cancel to 0: the ulp says nothing of it there
ELEMENTWISE = {name: f for name, f in fastact.activations.items() if isinstance(f, Elementwise)}
FUNCTIONS = (*reference.ELEMENTWISE, *ROWWISE)
MODES = ("value", "derivative")
DTYPES = ("float32", "float64", "float16", "bfloat16")

BLOCK = 2**13  # inputs whose float64 temporaries stay in the cache, and cost no page faults
# What a process takes at a time: inputs of every bit pattern, float64 inputs (mpmath), entries of rows.
UNIT = 2**20
MPMATH_UNIT = 2000
ROWS_UNIT = {"float32": 2**17, "float64": 2**12, "float16": 2**17, "bfloat16": 2**17}
ROW_LENGTHS = (1, 2, 3, 10, 128, 1000, 100_000)
LOGITS = ("uniform in ±100", "normal", "confident")


class Effort(NamedTuple):
    """How many float64 inputs are judged, and how many entries of rows of each length and kind of logits."""

    points: int
    entries: dict[str, int]


DEFAULT = Effort(20_000, {"float32": 2**18, "float64": 2**12, "float16": 2**18, "bfloat16": 2**18})
EXHAUSTIVE = Effort(2**20, {"float32": 2**22, "float64": 2**17, "float16": 2**22, "bfloat16": 2**22})


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    parser.add_argument("--function", nargs="+", choices=FUNCTIONS, default=FUNCTIONS, metavar="NAME",
                        help=f"of {', '.join(FUNCTIONS)} (default: all)")  # fmt: skip
    parser.add_argument("--mode", nargs="+", choices=MODES, default=MODES, help="default: both")
    parser.add_argument("--dtype", nargs="+", choices=DTYPES, default=DTYPES[:2],
                        help="default: float32 float64; those of 16 bits are judged on every input")  # fmt: skip
    parser.add_argument("--isa", choices=_isa.BUILT, default=_isa.CHOSEN,
                        help="instruction set to measure (default: the one in use, %(default)s)")  # fmt: skip
    density = parser.add_mutually_exclusive_group()
    density.add_argument("--stride", type=_positive, default=257, metavar="N",
                         help="judge every N-th float32 (default: %(default)s, some seconds)")  # fmt: skip
    density.add_argument("--exhaustive", action="store_true",
                         help="judge every float32, some minutes each, and a million float64")  # fmt: skip
    parser.add_argument("--json", metavar="FILE", help="also write the figures to FILE")


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is not a positive integer")
    return number


def run(arguments: argparse.Namespace) -> int:
    """Measure, print the tables, and return the exit status."""
    if arguments.isa != _isa.CHOSEN:
        return _run_in_another_process(arguments)

    from rich.console import Console

    for dtype in arguments.dtype:
        named_dtype(dtype)
    if "float64" in arguments.dtype:
        reference.mpmath_namespace()  # if mpmath is missing, say so before the float32 are measured
    console = Console()
    if not console.is_terminal:
        console.width = 120
    about = {
        "fastact": fastact.__version__,
        "instruction set": _isa.CHOSEN,
        "CPU": _cpu(),
        "NumPy": np.__version__,
    }
    console.print(", ".join(f"{what} {which}" for what, which in about.items()), highlight=False)

    finished: list[Figures] = []
    interrupted = False
    try:
        finished.extend(_measure(arguments))
    except KeyboardInterrupt:
        interrupted = True

    for dtype in arguments.dtype:
        _print_elementwise(console, dtype, [f for f in finished if f.dtype == dtype and not f.logits])
        _print_rowwise(console, dtype, [f for f in finished if f.dtype == dtype and f.logits])
    if arguments.json:
        with open(arguments.json, "w", encoding="utf-8") as file:
            json.dump({**about, "figures": [f.as_json() for f in finished]}, file, indent=1)
            file.write("\n")
    if interrupted:
        console.print("Interrupted: what was finished stands above.")
        return 130
    return 0


def _run_in_another_process(arguments: argparse.Namespace) -> int:
    """Measure an instruction set other than the one that this process chose at import."""
    if arguments.isa not in _isa.SUPPORTED:
        able = ", ".join(_isa.SUPPORTED)
        print(f"fastact accuracy: this CPU cannot run {arguments.isa}, only {able}", file=sys.stderr)
        return 2
    words = ["accuracy", "--isa", arguments.isa]
    for name in ("function", "mode", "dtype"):
        words += [f"--{name}", *getattr(arguments, name)]
    words += ["--exhaustive"] if arguments.exhaustive else ["--stride", str(arguments.stride)]
    words += ["--json", arguments.json] if arguments.json else []
    environment = {**os.environ, "FASTACT_ISA": arguments.isa}
    return subprocess.run([sys.executable, "-m", "fastact", *words], env=environment, check=False).returncode


def _cpu() -> str:
    with contextlib.suppress(OSError):
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            name = re.search(r"^model name\s*:\s*(.+)$", file.read(), re.MULTILINE)
        if name:
            return name[1]
    return platform.processor() or platform.machine()


@dataclasses.dataclass
class Figures:
    """The errors of one function, mode and dtype (of rows, of one kind of logits too), over the results so far."""

    function: str
    mode: str
    dtype: str
    logits: str = ""
    results: int = 0
    correctly_rounded: int = 0
    sum_ulp: float = 0.0
    max_ulp: float = -1.0
    worst: float = math.nan  # the worst input; of rows, the worst result
    worst_length: int = 1  # of its row

    def __iadd__(self, other: "Figures") -> Self:
        self.results += other.results
        self.correctly_rounded += other.correctly_rounded
        self.sum_ulp += other.sum_ulp
        if other.max_ulp > self.max_ulp:
            self.max_ulp, self.worst, self.worst_length = other.max_ulp, other.worst, other.worst_length
        return self

    @property
    def mean_ulp(self) -> float:
        return self.sum_ulp / self.results

    @property
    def share(self) -> str:
        """Of the correctly rounded results, cut and not rounded: 100 means all."""
        return f"{10**5 * self.correctly_rounded // self.results / 1000:.3f} %"

    def as_json(self) -> dict[str, Any]:
        """The record in what JSON can say: no infinity, no NaN."""
        record = {**dataclasses.asdict(self), "mean_ulp": self.mean_ulp, "worst_hex": self.worst.hex()}
        return {k: str(v) if isinstance(v, float) and not math.isfinite(v) else v for k, v in record.items()}


def _measure(arguments: argparse.Namespace) -> Iterator[Figures]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    workers = fastact.get_num_threads()
    # Ctrl-C reaches every process of the terminal: this one answers it for all.
    processes = ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), signal.signal,
                                    (signal.SIGINT, signal.SIG_IGN))  # fmt: skip
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        try:
            for figures, total, parts in _tasks(arguments, processes):
                words = (figures.function, figures.mode, figures.dtype, figures.logits)
                bar = progress.add_task(" ".join(filter(None, words)), total=total)
                for part in parts:
                    figures += part
                    progress.advance(bar, part.results)
                progress.remove_task(bar)
                yield figures
        finally:
            processes.shutdown(cancel_futures=True)


def _tasks(
    arguments: argparse.Namespace, processes: ProcessPoolExecutor
) -> Iterator[tuple[Figures, int, Iterable[Figures]]]:
    """The figures to be found, the number of results that they are about, and the work, begun, as parts to be added."""
    stride = 1 if arguments.exhaustive else arguments.stride
    effort = EXHAUSTIVE if arguments.exhaustive else DEFAULT
    for dtype, function in itertools.product(arguments.dtype, arguments.function):
        if function in ROWWISE:
            for logits in LOGITS if "value" in arguments.mode else ():
                rows = list(_random_rows(logits, effort.entries[dtype], dtype))
                work = processes.map(_judge, repeat(function), repeat("value"), rows)
                yield Figures(function, "value", dtype, logits), sum(z.size for z in rows), work
            continue
        for mode in arguments.mode:
            if dtype != "float64":
                total = len(_patterns(dtype, stride))
                units = range(0, total, UNIT)
                work = processes.map(_judge_patterns, repeat(function), repeat(mode), repeat(dtype), repeat(stride),
                                     units)  # fmt: skip
            else:
                total = effort.points
                points = np.array_split(reference.structured_points(total), -(-total // MPMATH_UNIT))
                work = processes.map(_judge, repeat(function), repeat(mode), points)
            yield Figures(function, mode, dtype), total, work


def _patterns(dtype: str, stride: int) -> range:
    """The bits of the inputs: with 32 those that are multiples of the stride, with 16 all."""
    bits = 8 * named_dtype(dtype).itemsize
    return range(0, 2**bits, stride if bits == 32 else 1)


def _judge_patterns(function: str, mode: str, dtype: str, stride: int, first: int) -> Figures:
    """Judge one unit of the inputs of a dtype, by their bit patterns."""
    figures = Figures(function, mode, dtype)
    patterns = _patterns(dtype, stride)[first : first + UNIT]
    unsigned = np.uint32 if dtype == "float32" else np.uint16
    for start in range(0, len(patterns), BLOCK):
        block = patterns[start : start + BLOCK]
        bits = np.arange(block.start, block.stop, block.step).astype(unsigned)
        figures += _judge(function, mode, bits.view(named_dtype(dtype)))
    return figures


def _judge(function: str, mode: str, x: Array) -> Figures:
    """Compare the library with the reference, on inputs or on rows of logits."""
    activation = fastact.get(function)
    with fastact.threads(1):
        computed = (activation if mode == "value" else getattr(activation, mode))(x)
    m = reference.mpmath_namespace() if x.dtype == np.float64 else np
    # The parameters have their defaults, as numbers of the dtype; of 16-bit arrays, in float32.
    number = x.dtype.type if x.dtype.itemsize > 2 else np.float32
    parameters = [number(default) for default in activation.parameters.values()]
    exact = reference.evaluate(function, mode, x, *parameters, m=m)
    errors = reference.ulp_error(computed, exact, _absolute(function, mode, x))
    worst = np.unravel_index(errors.argmax(), errors.shape)
    return Figures(
        function,
        mode,
        x.dtype.name,
        results=errors.size,
        correctly_rounded=int(np.count_nonzero(errors <= 0.5)),  # 0.5: a tie, which 16 bits meet often
        sum_ulp=float(errors.sum()),
        max_ulp=float(errors[worst]),
        worst=float(computed[worst] if function in ROWWISE else x[worst]),
        worst_length=x.shape[-1] if function in ROWWISE else 1,
    )


def _absolute(function: str, mode: str, x: Array) -> Any:
    """Where the promise is an absolute one: beside a zero."""
    interval = _zero(function, mode) if function in ELEMENTWISE else None
    return interval is not None and (x > interval[0]) & (x < interval[1])


def _zero(function: str, mode: str) -> tuple[float, float] | None:
    f = ELEMENTWISE[function]
    return f.value_zero if mode == "value" else f.derivative_zero


def _random_rows(logits: str, entries: int, dtype: str) -> Iterator[Array]:
    """Rows of every length up to the number of entries, about so many of each, in pieces for the processes."""
    random = np.random.default_rng(0)
    for length in (n for n in ROW_LENGTHS if n <= entries):
        shape = (entries // length, length)
        z = random.uniform(-100, 100, shape) if logits == LOGITS[0] else random.standard_normal(shape)
        if logits == "confident":
            z[:, random.integers(length)] += random.uniform(5, 90, len(z))
        yield from np.array_split(z.astype(named_dtype(dtype)), min(len(z), -(-z.size // ROWS_UNIT[dtype])))


def _print_elementwise(console: Any, dtype: str, figures: list[Figures]) -> None:
    if not figures:
        return
    table = _table(f"{dtype}, {figures[0].results:,} inputs", "promised", "worst input", "")
    for f in figures:
        name = f.function if f.mode == "value" else f"{f.function}.{f.mode}"
        worst = (_decimal(f), re.sub(r"\.?0+p", "p", f.worst.hex())) if f.max_ulp else ("", "")
        promised = f"{ELEMENTWISE[f.function].ulp[f.mode]:g}"
        table.add_row(name, _ulp(f.max_ulp), promised, *worst, _ulp(f.mean_ulp), f.share)
    console.print(table)
    for f in figures:
        if interval := _zero(f.function, f.mode):
            low, high = interval
            words = f"{f.function}, {f.mode}, crosses zero: between {low:g} and {high:g} in ulp of 1/4."
            console.print(words, highlight=False)


def _print_rowwise(console: Any, dtype: str, figures: list[Figures]) -> None:
    if not figures:
        return
    table = _table(f"{dtype}, random rows, {figures[0].results:,} entries of each kind", "worst entry", "in a row of")
    for f in figures:
        worst = (_decimal(f), f"{f.worst_length:,}") if f.max_ulp else ("", "")
        table.add_row(f"{f.function}, {f.logits}", _ulp(f.max_ulp), *worst, _ulp(f.mean_ulp), f.share)
    console.print(table)


def _table(title: str, *worst: str) -> Any:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(title=title, title_justify="left", title_style="bold", box=SIMPLE_HEAD)
    table.add_column("function", no_wrap=True)
    for heading in ("max ulp", *worst, "mean ulp", "correctly rounded"):
        table.add_column(heading, justify="right")
    return table


def _decimal(figures: Figures) -> str:
    return str(named_dtype(figures.dtype).type(figures.worst))


def _ulp(error: float) -> str:
    return f"{error:.3f}" if error < 10**4 else f"{error:.2g}"
