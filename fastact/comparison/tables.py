"""Figures as tables, for a console or a page in Markdown."""

import dataclasses
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import fastact
from fastact.comparison import ulp
from fastact.comparison.figures import Figures
from fastact.comparison.work import ALL_DTYPES, named_dtype

INTRODUCTION = """# Accuracy

Measured with {by}, by

    {command}

Errors in units in the last place (ulp) of the exact result, of which correct rounding has 0.5; subnormal results count
in units of the smallest one. float16 and bfloat16 are judged on every input there is, float32 on every {one}, in
float64; float64 by mpmath with 50 digits, or by longdouble where that leaves no doubt, on structured points: every
binade, the boundaries of the reductions and of the formulas, and random numbers. Rows of sparsemax, entmax15 and entmax
in float64 are judged by longdouble, to some hundredths. The reference shares no code with the kernels. Instruction sets
that stand in one line gave the same bits for all inputs.

Without a row are logsumexp, whose result may cancel to 0; the gated activations, the product of an activation and the
other input, rounded once more; the losses, whose bounds are relative ones; and `sample`, which gives indices. Their
bounds are held by the tests.
"""


def introduction(command: str, one: str, figures: Sequence[Figures]) -> str:
    """The head of the page, with the command that measures all of its figures and what measured them."""
    by, *others = [by for by, _ in Counter(f.by for f in figures).most_common()]
    text = INTRODUCTION.format(by=by, command=command, one=one)
    for other in others:
        text += f"\nMeasured with {other} instead: {'; '.join(_subjects(figures, other))}.\n"
    return text


def _subjects(figures: Sequence[Figures], by: str) -> list[str]:
    """The functions whose figures these are, with dtypes and instruction sets unless they are all that it has."""
    found: dict[tuple[str, ...], list[str]] = {}  # the dtypes and sets, of functions that have the same ones
    for name in dict.fromkeys(f.function for f in sorted(figures, key=lambda f: f.order)):
        ways = [(f.dtype, f.isa, f.by == by) for f in figures if f.function == name]
        mine = list(dict.fromkeys(" ".join(way[:2]) for way in ways if way[2]))
        if mine:
            found.setdefault(() if all(way[2] for way in ways) else tuple(mine), []).append(name)
    return [", ".join(names) + (f" ({', '.join(ways)})" if ways else "") for ways, names in found.items()]


class Table(NamedTuple):
    """The figures of one dtype, as text."""

    title: str
    headings: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    notes: Sequence[str] = ()


def tables(figures: Sequence[Figures]) -> Iterator[Table]:
    """For each dtype a table of elementwise functions and one of rows; equal figures of several sets share a line."""
    for dtype in ALL_DTYPES:
        for rowwise in False, True:
            chosen = [f for f in figures if f.dtype == dtype and bool(f.logits) == rowwise]
            sets: dict[str, list[str]] = {}  # figures without their instruction set -> the sets
            lines: dict[str, Figures] = {}
            for f in sorted(chosen, key=lambda f: f.order):
                key = repr(dataclasses.replace(f, isa="", by=""))
                sets.setdefault(key, []).append(f.isa)
                lines[key] = f
            if lines:
                yield (_rowwise if rowwise else _elementwise)(dtype, [(f, sets[key]) for key, f in lines.items()])


def _elementwise(dtype: str, lines: list[tuple[Figures, list[str]]]) -> Table:
    rows, notes = [], []
    for f, sets in lines:
        worst = (_decimal(f), re.sub(r"\.?0+p", "p", f.worst.hex())) if f.max_ulp else ("", "")
        name = f.function if f.mode == "value" else f"{f.function}.{f.mode}"
        rows.append((name, " ".join(sets), _ulp(f.max_ulp), _promised(f), *worst, _ulp(f.mean_ulp), f.share))
        if interval := ulp.interval_of_zero(f.function, f.mode):
            low, high = interval
            notes.append(f"{f.function}, {f.mode}, crosses zero: between {low:g} and {high:g} in ulp of 1/4.")
    headings = ("function", "set", "max ulp", "promised", "worst input", "as bits", "mean ulp", "correctly rounded")
    return Table(f"{dtype}, {lines[0][0].results:,} inputs", headings, rows, list(dict.fromkeys(notes)))


def _rowwise(dtype: str, lines: list[tuple[Figures, list[str]]]) -> Table:
    rows, notes = [], []
    for f, sets in lines:
        worst = (_decimal(f), f"{f.worst_length:,}") if f.max_ulp else ("", "")
        name = ", ".join(filter(None, (f.function, f.variant, f.logits)))
        rows.append((name, " ".join(sets), _ulp(f.max_ulp), _promised(f), *worst, _ulp(f.mean_ulp), f.share))
        if f.function in ulp.OF_LARGEST:
            alpha = "".join(f", alpha = {a:g} if none is named" for k, a in fastact.get(f.function).parameters.items()
                            if k == "alpha")
            notes.append(f"{f.function}{alpha}: in ulp of the largest entry of the row; the last column is the share of"
                         " entries within half of it.")
        if f.results != lines[0][0].results:
            notes.append(f"{f.function}, {f.variant}: {f.results:,} entries of each kind.")
    headings = ("function", "set", "max ulp", "promised", "worst entry", "in a row of", "mean ulp", "correctly rounded")
    title = f"{dtype}, random rows, {lines[0][0].results:,} entries of each kind"
    return Table(title, headings, rows, list(dict.fromkeys(notes)))


def _promised(f: Figures) -> str:
    if f.variant and named_dtype(f.dtype).itemsize > 2:
        return ""  # promises are of the defaults
    return f"{ulp.promised(f.function, f.mode, f.dtype):g}"


def _decimal(f: Figures) -> str:
    return str(named_dtype(f.dtype).type(f.worst))


def _ulp(error: float) -> str:
    return f"{error:.3f}" if error < 10**4 else f"{error:.2g}"


def in_markdown(headings: Sequence[str], rows: Iterable[Sequence[str]], words: int = 2) -> list[str]:
    """The lines of a table; the columns after the first `words` are numbers."""
    rules = ["---"] * words + ["---:"] * (len(headings) - words)
    return [f"| {' | '.join(row)} |" for row in (headings, rules, *rows)]


def page(introduction: str, figures: Sequence[Figures]) -> str:
    """The introduction and all tables, in Markdown."""
    text = introduction
    for table in tables(figures):
        text += "\n".join(["", f"## {table.title}", "", *in_markdown(table.headings, table.rows), ""])
        text += "\n".join(["", *(f"* {note}" for note in table.notes), ""]) if table.notes else ""
    return text
