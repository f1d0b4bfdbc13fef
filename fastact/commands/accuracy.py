"""``fastact accuracy``: how far the results lie from the exact ones, in units in the last place (ulp).

float32 is judged by the float64 reference, on every one of the 2^32 inputs or every N-th of them, float16 and bfloat16
on all inputs there are; float64 by mpmath, or by longdouble where that leaves no doubt, on structured points. The
softmax family is judged entry by entry, on random rows.

To judge a result takes many times as long as to compute it, and most are old acquaintances: instruction sets with fused
multiply-add give the same bits, and so does the next version of the library. With --json the figures are kept, each
with a digest of all results that it is about; results that have the digest of figures in that file are not judged
again, they take those figures over.
"""

import argparse
import dataclasses
import hashlib
import itertools
import json
import math
import multiprocessing
import os
import re
import signal
import sys
import tempfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt

import fastact
from fastact import Elementwise, Rowwise, _isa, reference
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
from fastact.comparison.work import named_dtype

Array = npt.NDArray[Any]

# Not logsumexp, which may cancel to 0: the ulp says nothing of it there.
ROWWISE = ("softmax", "softmin", "hardmax", "log_softmax")
ELEMENTWISE = {name: f for name, f in fastact.activations.items() if isinstance(f, Elementwise)}
FUNCTIONS = (*reference.ELEMENTWISE, *ROWWISE)
MODES = ("value", "derivative")
DTYPES = ("float32", "float64", "float16", "bfloat16")

ULP_OF_16_BITS = 0.501  # promised: the right neighbour, but for ties too close to call in float32

# The formulas of these round a number before they take its exponential: half an ulp of float64 in longdouble.
ROUNDED_ARGUMENTS = {"gelu", "gelu_tanh", "gelu_quick", "gelu_clipped", "laplace", "erf"}
DOUBT = 1 / 32  # ulp of float64, between an error by longdouble and the one by mpmath: more than it ever is

BLOCK = 2**14  # inputs whose float64 temporaries stay in the cache, and cost no page faults
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
        _load(arguments.json)  # refuses what is no such file
    with tempfile.TemporaryDirectory() as folder:
        path = arguments.json or Path(folder, "figures.json")
        for isa in arguments.isa:
            status = _measure(arguments, path) if isa == _isa.CHOSEN else _measure_elsewhere(arguments, isa, path)
            if status:
                return status
        if arguments.markdown:
            write_whole(arguments.markdown, _page(arguments, _load(path)))
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

    for table in _tables(finished):
        _print(console, table)
    if interrupted:
        console.print("Interrupted: what was finished stands above.")
        return 130
    return 0


def _about() -> dict[str, str]:
    return {"fastact": fastact.__version__, "instruction set": _isa.CHOSEN, "CPU": cpu(), "NumPy": np.__version__}


@dataclasses.dataclass
class Figures:
    """The errors of one function, mode and dtype (of rows, of one kind of logits too), over the results so far."""

    function: str
    mode: str
    dtype: str
    logits: str = ""
    isa: str = _isa.CHOSEN
    results: int = 0
    digest: str = ""  # of the bits of all of them
    correctly_rounded: int = 0
    sum_ulp: float = 0.0
    max_ulp: float = -1.0
    worst: float = math.nan  # the worst input; of rows, the worst result
    worst_length: int = 1  # of its row

    def __iadd__(self, other: "Figures") -> Self:
        self.results += other.results
        self.digest = _digest(bytes.fromhex(self.digest + other.digest))
        self.correctly_rounded += other.correctly_rounded
        self.sum_ulp += other.sum_ulp
        if other.max_ulp > self.max_ulp:
            self.max_ulp, self.worst, self.worst_length = other.max_ulp, other.worst, other.worst_length
        return self

    @property
    def task(self) -> tuple[str, str, str, str]:
        return self.function, self.mode, self.dtype, self.logits

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

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> "Figures":
        fields = {field.name: record[field.name] for field in dataclasses.fields(cls)}
        figures = cls(**fields | {"max_ulp": float(record["max_ulp"]), "worst": float(record["worst"])})
        for field in dataclasses.fields(cls):
            expected = type(field.default) if field.default is not dataclasses.MISSING else str
            if not isinstance(getattr(figures, field.name), (int, float) if expected is float else expected):
                raise TypeError(field.name)
        _order(figures.task)  # raises if this version does not know the function
        if figures.dtype not in DTYPES or not figures.results > 0:
            raise ValueError(figures)
        return figures


def _digest(data: bytes | memoryview) -> str:
    return hashlib.sha256(data).hexdigest()[:16]


def _digest_of(results: Array) -> str:
    """Of the bits of all results; the sign and the payload of a NaN, which are the processor's, do not count.

    A checksum of 32 bits, which takes a third of the time that a hash of these results would: of 2^32 results there are
    2^18, and these are hashed.
    """
    unordered = np.isnan(results)
    if unordered.any():
        results = results.copy()
        results[unordered] = np.nan
    return f"{zlib.crc32(results.view(np.uint8).data):08x}"


def _load(path: Path) -> list[Figures]:
    def check(content: Any) -> list[Figures]:
        return [Figures.from_json(record) for record in content["figures"]]

    return read_json(path, "fastact accuracy", check) or []


def _save(path: Path, figures: list[Figures]) -> None:
    text = json.dumps({**_about(), "figures": [f.as_json() for f in figures]}, indent=1)
    write_whole(path, f"{text}\n")


class Task(NamedTuple):
    """Figures to be found, the number of results that they are about, and how to begin the work on its parts."""

    figures: Figures
    total: int
    begin: Callable[[bool], Iterable[Figures]]  # with False, results are computed but not judged


def _figures(arguments: argparse.Namespace, kept: list[Figures]) -> Iterator[Figures]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    workers = fastact.get_num_threads()
    # Ctrl-C reaches every process of the terminal: this one answers it for all.
    processes = ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), signal.signal,
                                    (signal.SIGINT, signal.SIG_IGN))  # fmt: skip
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:

        def total(task: Task, judging: bool) -> Figures:
            figures = dataclasses.replace(task.figures)
            words = filter(None, (*figures.task, "" if judging else "(known?)"))
            bar = progress.add_task(" ".join(words), total=task.total)
            for part in task.begin(judging):
                figures += part
                progress.advance(bar, part.results)
            progress.remove_task(bar)
            return figures

        try:
            for task in _tasks(arguments, processes):
                known = {f.digest: f for f in kept if f.task == task.figures.task and f.results == task.total}
                same = known.get(total(task, judging=False).digest) if known else None
                yield dataclasses.replace(same, isa=_isa.CHOSEN) if same else total(task, judging=True)
        finally:
            processes.shutdown(cancel_futures=True)


def _tasks(arguments: argparse.Namespace, processes: ProcessPoolExecutor) -> Iterator[Task]:
    stride = 1 if arguments.exhaustive else arguments.stride
    effort = EXHAUSTIVE if arguments.exhaustive else DEFAULT

    def task(figures: Figures, total: int, judge: Callable[..., Figures], parts: Iterable[Any]) -> Task:
        def begin(judging: bool) -> Iterable[Figures]:
            return processes.map(partial(judge, figures.function, figures.mode, judging), parts)

        return Task(figures, total, begin)

    for dtype, function in itertools.product(arguments.dtype, arguments.function):
        if function in ROWWISE:
            for logits in LOGITS if "value" in arguments.mode else ():
                rows = list(_random_rows(logits, effort.entries[dtype], dtype))
                yield task(Figures(function, "value", dtype, logits), sum(z.size for z in rows), _judge, rows)
            continue
        for mode in arguments.mode:
            figures = Figures(function, mode, dtype)
            if dtype == "float64":
                points = reference.structured_points(effort.points)
                yield task(figures, points.size, _judge, np.array_split(points, -(-points.size // MPMATH_UNIT)))
            else:
                total = len(_patterns(dtype, stride))
                yield task(figures, total, partial(_judge_patterns, dtype, stride), range(0, total, UNIT))


def _patterns(dtype: str, stride: int) -> range:
    """The bits of the inputs: with 32 those that are multiples of the stride, with 16 all."""
    bits = 8 * named_dtype(dtype).itemsize
    return range(0, 2**bits, stride if bits == 32 else 1)


def _judge_patterns(dtype: str, stride: int, function: str, mode: str, judging: bool, first: int) -> Figures:
    """Judge one unit of the inputs of a dtype, by their bit patterns."""
    figures = Figures(function, mode, dtype)
    patterns = _patterns(dtype, stride)[first : first + UNIT]
    unsigned = np.uint32 if dtype == "float32" else np.uint16
    for start in range(0, len(patterns), BLOCK):
        block = patterns[start : start + BLOCK]
        bits = np.arange(block.start, block.stop, block.step).astype(unsigned)
        figures += _judge(function, mode, judging, bits.view(named_dtype(dtype)))
    return figures


def _judge(function: str, mode: str, judging: bool, x: Array) -> Figures:
    """Compare the library with the reference, on inputs or on rows of logits."""
    activation = fastact.get(function)
    with fastact.threads(1):
        computed = (activation if mode == "value" else getattr(activation, mode))(x)
    figures = Figures(function, mode, x.dtype.name, results=x.size, digest=_digest_of(computed))
    if not judging:
        return figures
    errors = (_errors_of_float64 if x.dtype == np.float64 else _errors)(function, mode, x, computed)
    worst = np.unravel_index(errors.argmax(), errors.shape)
    return dataclasses.replace(
        figures,
        correctly_rounded=int(np.count_nonzero(errors <= 0.5)),  # 0.5: a tie, which 16 bits meet often
        sum_ulp=float(errors.sum()),
        max_ulp=float(errors[worst]),
        worst=float(computed[worst] if function in ROWWISE else x[worst]),
        worst_length=x.shape[-1] if function in ROWWISE else 1,
    )


def _errors(function: str, mode: str, x: Array, computed: Array, m: Any = np) -> Array:
    """In ulp; the parameters have their defaults, as numbers of the dtype, of 16-bit arrays in float32."""
    number = computed.dtype.type if computed.dtype.itemsize > 2 else np.float32
    parameters = [number(default) for default in fastact.get(function).parameters.values()]
    exact = reference.evaluate(function, mode, x, *parameters, m=m)
    return reference.ulp_error(computed, exact, _absolute(function, mode, x))


def _errors_of_float64(function: str, mode: str, x: Array, computed: Array) -> Array:
    """By mpmath those that may be the largest or lie on either side of 0.5, and where longdouble knows no more digits.

    An mpmath number takes a hundred times as long as one of longdouble.
    """
    exactly = partial(_errors, function, mode, m=reference.mpmath_namespace())
    if np.finfo(np.longdouble).nmant < 63 or function in ROUNDED_ARGUMENTS or function in ROWWISE:
        return exactly(x, computed)
    errors = _errors(function, mode, x.astype(np.longdouble), computed)
    doubtful = (errors > 0) & ((abs(errors - 0.5) < DOUBT) | (errors > errors.max() - DOUBT))
    if doubtful.any():
        errors[doubtful] = exactly(x[doubtful], computed[doubtful])
    return errors


def _absolute(function: str, mode: str, x: Array) -> Any:
    """Where the promise is an absolute one: beside a zero."""
    interval = _zero(function, mode) if function in ELEMENTWISE else None
    return interval is not None and (x > interval[0]) & (x < interval[1])


def _zero(function: str, mode: str) -> tuple[float, float] | None:
    f = ELEMENTWISE[function]
    return f.value_zero if mode == "value" else f.derivative_zero


def _random_rows(logits: str, entries: int, dtype: str) -> Iterator[Array]:
    """Rows of every length up to the number of entries, about so many of each, in pieces for the processes.

    They are made of integers by exact operations, as the points of the reference: the same on every processor. The sum
    of twelve uniform numbers is normal but for its far tails.
    """
    random = np.random.default_rng(0)
    for length in (n for n in ROW_LENGTHS if n <= entries):
        shape = (entries // length, length)
        if logits == LOGITS[0]:
            z = np.ldexp(random.integers(-100 << 45, 100 << 45, shape), -45)
        else:
            z = np.ldexp(sum(random.integers(-(2**31), 2**31, shape) for _ in range(12)), -32)
        if logits == "confident":
            z[:, random.integers(length)] += np.ldexp(random.integers(5 << 45, 90 << 45, len(z)), -45)
        yield from np.array_split(z.astype(named_dtype(dtype)), min(len(z), -(-z.size // ROWS_UNIT[dtype])))


class Table(NamedTuple):
    """What a console or a page shows of the figures of one dtype."""

    title: str
    headings: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    notes: Sequence[str] = ()


def _tables(figures: Sequence[Figures]) -> Iterator[Table]:
    """Figures of instruction sets that have the same share a line."""
    for dtype in DTYPES:
        for rowwise in False, True:
            chosen = [f for f in figures if f.dtype == dtype and bool(f.logits) == rowwise]
            sets: dict[str, list[str]] = {}  # figures without their set -> the sets
            lines: dict[str, Figures] = {}
            for f in sorted(chosen, key=lambda f: _order(f.task)):
                key = repr(dataclasses.replace(f, isa=""))
                sets.setdefault(key, []).append(f.isa)
                lines[key] = f
            if lines:
                yield (_rowwise if rowwise else _elementwise)(dtype, [(f, sets[key]) for key, f in lines.items()])


def _order(task: tuple[str, str, str, str]) -> tuple[int, int]:
    function, mode, _, logits = task
    return FUNCTIONS.index(function), LOGITS.index(logits) if logits else MODES.index(mode)


def _elementwise(dtype: str, lines: list[tuple[Figures, list[str]]]) -> Table:
    rows, notes = [], []
    for f, sets in lines:
        worst = (_decimal(f), re.sub(r"\.?0+p", "p", f.worst.hex())) if f.max_ulp else ("", "")
        name = f.function if f.mode == "value" else f"{f.function}.{f.mode}"
        rows.append((name, " ".join(sets), _ulp(f.max_ulp), _promised(f), *worst, _ulp(f.mean_ulp), f.share))
        if interval := _zero(f.function, f.mode):
            low, high = interval
            notes.append(f"{f.function}, {f.mode}, crosses zero: between {low:g} and {high:g} in ulp of 1/4.")
    headings = ("function", "set", "max ulp", "promised", "worst input", "as bits", "mean ulp", "correctly rounded")
    return Table(f"{dtype}, {lines[0][0].results:,} inputs", headings, rows, list(dict.fromkeys(notes)))


def _rowwise(dtype: str, lines: list[tuple[Figures, list[str]]]) -> Table:
    rows = []
    for f, sets in lines:
        worst = (_decimal(f), f"{f.worst_length:,}") if f.max_ulp else ("", "")
        name = f"{f.function}, {f.logits}"
        rows.append((name, " ".join(sets), _ulp(f.max_ulp), _promised(f), *worst, _ulp(f.mean_ulp), f.share))
    headings = ("function", "set", "max ulp", "promised", "worst entry", "in a row of", "mean ulp", "correctly rounded")
    return Table(f"{dtype}, random rows, {lines[0][0].results:,} entries of each kind", headings, rows)


def _promised(f: Figures) -> str:
    if f.dtype in ("float16", "bfloat16"):
        return str(ULP_OF_16_BITS)
    activation = fastact.get(f.function)
    assert isinstance(activation, Elementwise | Rowwise)
    return f"{activation.ulp[f.mode]:g}"


def _print(console: Any, table: Table) -> None:
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


PAGE = """# Accuracy

Written with fastact {version}, NumPy {numpy}, on {cpu}, by

    {command}

Errors in units in the last place (ulp) of the exact result, of which correct rounding has 0.5; subnormal results count
in units of the smallest one. float16 and bfloat16 are judged on every input there is, float32 on every {one}, in
float64; float64 by mpmath with 50 digits, or by longdouble where that leaves no doubt, on structured points: every
binade, the boundaries of the reductions and of the formulas, and random numbers. The reference shares no code with the
kernels. Instruction sets that stand in one line gave the same bits for all inputs.
"""


def _page(arguments: argparse.Namespace, figures: Sequence[Figures]) -> str:
    command = ["fastact accuracy", "--exhaustive" if arguments.exhaustive else f"--stride {arguments.stride}"]
    measured = {
        "function": ([f.function for f in figures], FUNCTIONS, FUNCTIONS),
        "mode": ([f.mode for f in figures], MODES, MODES),
        "dtype": ([f.dtype for f in figures], DTYPES, DTYPES[:2]),
        "isa": ([f.isa for f in figures], _isa.BUILT[::-1], ()),
    }
    for name, (found, order, default) in measured.items():
        words = [one for one in order if one in found]
        if words != list(default):
            command.append(f"--{name} {' '.join(words)}")
    page = PAGE.format(
        version=fastact.__version__,
        numpy=np.__version__,
        cpu=cpu(),
        command=" ".join([*command, f"--markdown {arguments.markdown}"]),
        one="one of the 2^32" if arguments.exhaustive else f"{arguments.stride}th",
    )
    for table in _tables(figures):
        rules = ["---", "---", *["---:" for _ in table.headings[2:]]]
        lines = [f"| {' | '.join(row)} |" for row in (table.headings, rules, *table.rows)]
        page += "\n".join(["", f"## {table.title}", "", *lines, ""])
        page += "\n".join(["", *(f"* {note}" for note in table.notes), ""]) if table.notes else ""
    return page


def _decimal(figures: Figures) -> str:
    return str(named_dtype(figures.dtype).type(figures.worst))


def _ulp(error: float) -> str:
    return f"{error:.3f}" if error < 10**4 else f"{error:.2g}"
