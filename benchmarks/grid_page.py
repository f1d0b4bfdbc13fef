"""The page that benchmarks/grid.py writes: tables by size and shape, the worst cells, and pictures."""

import argparse
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from grid_reasons import EXPLAINED, by_reason
from grid_results import (
    BEHIND,
    GRID_MODES,
    GRID_SETS,
    GRID_SHAPES,
    ROUNDS,
    File,
    Result,
    behind,
    cell,
    libraries,
    mean_ratio,
    place,
)

from fastact.commands import Failed, Refused, output_file, write_whole
from fastact.comparison.pictures import encoded, heat_map
from fastact.comparison.race import Timing

SHOWN = (((16384,), -1), ((1024, 1024), -1))
"""Shapes that stand for all others on the pages of the functions, each with its axis."""


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


def extract(path: Path, target: Path) -> None:
    """Write the file of what the pages of the functions show: float32, one thread, a fresh output, two shapes."""
    file = File(path)
    isa = next((isa for isa in GRID_SETS if any(result.isa == isa for result in file.results)), None)
    file.path, file.results = target, [
        result._replace(nanoseconds={name: round(time, 4) for name, time in result.nanoseconds.items()})
        for result in file.results
        if (result.isa, result.threads, result.form, result.work.dtype) == (isa, 1, "fresh", "float32")
        and (result.work.shape, result.work.axis) in SHOWN
    ]
    if not file.results:
        raise Failed(f"{path} holds no figures of float32 on one thread, of {' or '.join(str(s) for s, _ in SHOWN)}")
    file.results.sort(key=lambda result: (result.work.function, GRID_MODES.index(result.work.mode)))
    file.save(now=True)


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
    text += ["## Why a peer leads", _reasons(compared)]
    text += ["## Where a peer leads", _behind(compared)]
    text += ["## Rows", _rows([r for r in compared if r.work.is_rowwise])]
    text += ["## By function and size", "Elementwise, the time over that of the fastest peer."]
    for way, found in sorted(_by(compared, lambda r: (r.isa, r.threads, r.work.dtype)), reverse=True):
        text.append(_shown(_heat_map(pictures, way, found), f"{_way(*way)}: a line for each function"))
    text += ["## Time per element against size", "float32, one thread, a new output at each call."]
    for name, found in sorted(_by(compared, lambda r: r.work.function)):
        if curves := _curves(pictures, name, found):
            text.append(_shown(curves, f"{name}: time of each library"))
    write_whole(page, "\n\n".join(text) + "\n")


def _shown(picture: Path, description: str) -> str:
    return f"![{description}]({picture.parent.name}/{picture.name})"


def _by(results: Iterable[Result], key: Any) -> list[tuple[Any, list[Result]]]:
    groups: dict[Any, list[Result]] = defaultdict(list)
    for result in results:
        groups[key(result)].append(result)
    return list(groups.items())


def _introduction(file: File, compared: Sequence[Result]) -> str:
    worst = max(compared, key=lambda r: r.ratio or 0)
    ahead = sum((r.ratio or 0) <= 1 for r in compared)
    return f"""# Performance

Written by `python benchmarks/grid.py --json grid.json --report docs/performance.md`: {libraries(file)};
Python {file.about["Python"]}, on {file.about["processors"]} cores of {file.about["CPU"]}.

Time of fastact over that of the fastest peer in the same cell: function, shape, dtype, threads, instruction set, and
*fresh* (a new output at each call) or *out* (into a given array). All are measured in turns in one process, the best
of {ROUNDS.least} to {ROUNDS.most} rounds. With v3 the peers are held to AVX2 too, but for ONNX Runtime, SciPy and
PyTorch's tanh, which cannot be. {len(compared):,} cells: fastact is **{1 / mean_ratio(compared):.2f} times as fast as
the fastest peer** of each (geometric mean), as fast or faster in {100 * ahead / len(compared):.1f} %, and slowest,
{worst.ratio:.2f} times {worst.fastest_peer}, in {cell(worst)}."""


def _summary(compared: Sequence[Result]) -> str:
    lines = [
        "| set | threads | dtype | cells | as fast or faster | within 5 % | times as fast (mean) | worst |",
        "|---|---|---|---:|---:|---:|---:|---|",
    ]
    for (isa, threads, dtype), found in sorted(_by(compared, lambda r: (r.isa, r.threads, r.work.dtype)), reverse=True):
        ratios = sorted(r.ratio for r in found if r.ratio is not None)
        worst = max(found, key=lambda r: r.ratio or 0)
        shares = (f"{100 * sum(ratio <= limit for ratio in ratios) / len(ratios):.1f} %" for limit in (1, BEHIND))
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


def _reasons(compared: Sequence[Result]) -> str:
    """The reasons of the cells that are behind, and the cells without one."""
    groups = by_reason(compared)
    unexplained = sorted(groups.pop("", []), key=lambda r: -(r.ratio or 0))
    count = sum(map(len, groups.values())) + len(unexplained)
    lines = [
        f"In {count:,} cells, {100 * count / len(compared):.1f} %, fastact takes more than {EXPLAINED} times the time "
        f"of the fastest peer. `benchmarks/grid_reasons.py` has the conditions of the reasons; the errors that they "
        f"name are those of float32, which `python benchmarks/peer_errors.py` measures.",
        "",
        "| cells | median | worst | reason |",
        "|---:|---:|---:|---|",
    ]
    for reason, found in groups.items():
        ratios, text = [r.ratio or 0 for r in found], reason.replace("|", r"\|")
        lines.append(f"| {len(found)} | {median(ratios):.2f} | {max(ratios):.2f} | {text} |")
    if unexplained:
        lines += ["", "No reason is known for these:", ""]
        lines += [f"* {r.ratio:.2f} times {r.fastest_peer}: {cell(r)}" for r in unexplained]
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
        if slower := behind(found):
            worst = slower[0]
            lines.append(
                f"| `{worst.work.call}` | {len(slower)}, {len(found)} | {worst.ratio:.2f} | {place(worst)} "
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


def _way(isa: str, threads: int, dtype: str) -> str:
    return f"{isa}, {dtype}, {threads} thread{'s' * (threads > 1)}"


def _heat_map(folder: Path, way: tuple[str, int, str], results: Sequence[Result]) -> Path:
    """The ratio to the fastest peer: a line for each function and mode, a column for each size."""
    isa, threads, dtype = way
    elementwise = [Timing(r.work, r.form, r.nanoseconds) for r in results if not r.work.is_rowwise]
    elementwise.sort(key=lambda one: (one.work.function, one.work.mode, one.work.size, one.form))
    title = f"time over the fastest peer's: {_way(*way)}"
    picture = folder / f"heat-{isa}-{dtype}-{threads}.png"
    write_whole(picture, encoded(heat_map({title: elementwise}), picture.suffix))
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
    write_whole(picture, encoded(figure, picture.suffix, dpi=80))
    return picture
