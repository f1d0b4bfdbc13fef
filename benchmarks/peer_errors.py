"""The errors of the other libraries, in float32 and in units in the last place (ulp), that grid_reasons.py names.

    python benchmarks/peer_errors.py             measure, and stand each figure beside the one in peer_errors.json
    python benchmarks/peer_errors.py --update    write the figures into peer_errors.json

Elementwise functions are judged at 800,002 numbers of either sign whose magnitudes, from 1e-4 to 80, are equally far
apart in their logarithms; the restriction to |x| <= 4 is a figure of its own. Rows are 1,000 of 1,024 logits with the
standard deviation 3. The exact results are those of fastact.reference in float64, which shares no code with the
kernels; as in the promises of fastact, an error beside a root of a derivative counts in ulp of 1/4. fastact itself is
judged beside them. The figures of a library that is not installed stay as they are.
"""

import argparse
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

import fastact
from fastact import reference
from fastact.commands import cpu, write_whole
from fastact.comparison import peers
from fastact.comparison.curves import Line
from fastact.comparison.work import Array, Inputs, Work

FIGURES = Path(__file__).with_suffix(".json")
LEAST, MOST, NEAR = 1e-4, 80, 4  # magnitudes
POINTS = 400_001  # of either sign
ROWS = (1000, 1024)

NAMED = (
    *((name, "value") for name in (
        "sigmoid", "silu", "gelu", "gelu_tanh", "gelu_quick", "squareplus", "dish", "erf", "tanh_shrink")),
    *((name, "derivative") for name in ("silu", "gelu", "gelu_tanh", "mish", "squareplus", "dish", "softsign")),
    *((name, "value") for name in ("softmax", "log_softmax", "softmin")),
)
"""The functions and modes that reasons are about."""


class Figure(NamedTuple):
    """The largest error of a library at all points or, under "near", at those with |x| <= 4; rows have no such."""

    library: str
    function: str
    mode: str
    points: str
    ulp: float
    worst: float

    @property
    def key(self) -> tuple[str, ...]:
        return self[:4]


def points(count: int = POINTS) -> Array:
    """The float32 at which elementwise functions are judged."""
    magnitudes = np.geomspace(LEAST, MOST, count).astype(np.float32)
    return np.concatenate([-magnitudes[::-1], magnitudes])


def judged(library: str, function: str, mode: str, x: Array) -> tuple[Array, Array] | None:
    """The inputs and the errors of their results; None if the library has no such function."""
    activation = fastact.activations[function]
    if isinstance(activation, fastact.Elementwise):
        line = Line(activation, x)
        computed = line.computed(mode) if library == "fastact" else line.of_peer(library, mode)
        return None if computed is None else (x, line.errors(mode, computed))
    inputs = Inputs(Work(function, mode, "float32", ROWS))
    if (library, "fresh") not in peers.candidates(inputs.work):
        return None
    result = peers.candidate(library, "fresh", inputs).call()
    computed = np.asarray(result[0] if isinstance(result, list) else result)
    return inputs.x, reference.ulp_error(computed, inputs.expected[0])


def measured(library: str, x: Array) -> Iterator[Figure]:
    """The figures of a library that is installed."""
    for function, mode in NAMED:
        if found := judged(library, function, mode, x):
            x_here, errors = found
            parts = {"all": np.ones(x_here.shape, bool)}
            if isinstance(fastact.activations[function], fastact.Elementwise):
                parts["near"] = abs(x_here) <= NEAR
            for part, taken in parts.items():
                worst = np.argmax(errors[taken])
                yield Figure(library, function, mode, part, float(errors[taken][worst]), float(x_here[taken][worst]))


def kept() -> dict[tuple[str, ...], Figure]:
    """What the file holds."""
    records = json.loads(FIGURES.read_text())["figures"] if FIGURES.exists() else []
    figures = [Figure(**{**record, "ulp": float(record["ulp"])}) for record in records]
    return {one.key: one for one in figures}


def line_of(figure: Figure) -> str:
    """A figure as the file has it; an infinite error, for which JSON has no number, is a word."""
    ulp = figure.ulp if math.isfinite(figure.ulp) else str(figure.ulp)
    return json.dumps({**figure._asdict(), "ulp": ulp}, allow_nan=False)


def named(library: str, function: str, mode: str = "value", points: str = "all") -> str:
    """A figure of the file as a sentence names it, with two digits."""
    return written(kept()[library, function, mode, points].ulp)


def written(ulp: float) -> str:
    """A figure with two digits, as in 4.9, 42, 4,000 and 17 million."""
    rounded = float(f"{ulp:.1e}")
    if rounded >= 1e6:
        return f"{rounded / 1e6:,.{1 if rounded < 1e7 else 0}f} million"
    return f"{rounded:,.{max(0, 1 - math.floor(math.log10(rounded)))}f}"


def main() -> None:
    """Measure, print, and write if that is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--update", action="store_true", help=f"write the figures into {FIGURES.name}")
    update = parser.parse_args().update
    about = json.loads(FIGURES.read_text()) if FIGURES.exists() else {"libraries": {}}
    before, found, x = kept(), kept(), points()
    print(f"{'library':15} {'function':12} {'mode':11} {'points':7} {'max ulp':>12} {'at':>14} {'written':>12}")
    with peers.threads(1):
        for name in peers.MODULES:
            if (library := peers.library(name)) is None:
                print(f"{name}: left out, it is not installed")
                continue
            about["libraries"][name] = library.version
            for one in measured(name, x):
                old = f"{before[one.key].ulp:12.5g}" if one.key in before else ""
                print(f"{one.library:15} {one.function:12} {one.mode:11} {one.points:7} {one.ulp:12.5g} "
                      f"{one.worst:14.8g} {old}", flush=True)  # fmt: skip
                found[one.key] = one
    if update:
        figures = sorted(found.values(), key=lambda one: (NAMED.index(one[1:3]), one.points))
        lines = ",\n  ".join(map(line_of, figures))
        head = json.dumps({"CPU": cpu(), "libraries": about["libraries"]}, indent=1)[:-2]
        write_whole(FIGURES, f'{head},\n "figures": [\n  {lines}\n ]\n}}\n')


if __name__ == "__main__":
    main()
