"""The kernels that take no more time with 256-bit registers than with 512-bit ones, on a processor that runs both.

    python benchmarks/widths.py             measure, and list what differs from what is written
    python benchmarks/widths.py --update    write the names into fastact/_widths.py

They are bound by loads and stores.  On AMD's Zen 4 a 512-bit load waits for a store that it does not depend on, if the
low twelve bits of their addresses overlap: then a light kernel takes 1.3 to 5 times as long, by where the arrays
happen to lie.  With 256-bit loads it does not.  So `_isa` takes these kernels from the set v3 there.

Arrays of 1,024 and 16,384 elements, which lie where nothing waits.  A kernel is listed if, in both dtypes, it takes at
most a tenth more there than that of v4; over all places it then takes a tenth less.
"""

import argparse
import timeit
from functools import partial
from pathlib import Path

import numpy as np

import fastact
from fastact import Elementwise, Gated, _isa, _widths
from fastact._engine.elementwise import KernelSet
from fastact._engine.formats import DTYPES

WIDTHS = Path(_widths.__file__)
SIZES = (1024, 16_384)
LIMIT = 1.1  # of the time of v3 over that of v4
PAGE = 4096  # bytes
PLACES, ROUNDS = 8, 60

Activation = Elementwise | Gated


def kernel_set(module: str, f: Activation, mode: str) -> KernelSet:
    """The kernels of a mode as a set of instructions has them."""
    ufunc, kernels = f.ufuncs[mode], _isa.load(module).KERNELS
    addresses = {dtype: kernels[f"{f.name}.{mode}.{number}"] for dtype, number in DTYPES.items()}
    neutral = tuple(f.parameters.values()) if isinstance(f, Gated) else (1,) * len(f.parameters)
    return KernelSet(addresses, f.name, "", ufunc.nin - len(neutral), len(neutral), ufunc.nout, 0.1, neutral)


def arrays(count: int, size: int, dtype: type) -> list[np.ndarray]:
    """Arrays of which none begins within a quarter of a page after another, but for whole pages."""
    room = size * np.dtype(dtype).itemsize // PAGE * PAGE + 2 * PAGE
    memory = np.empty(count * room + PAGE, np.uint8)
    first = -memory.ctypes.data % PAGE
    made = [memory[first + k * (room + PAGE // 4):][:size * np.dtype(dtype).itemsize].view(dtype)
            for k in range(count)]
    for k, one in enumerate(made):
        one[:] = np.random.default_rng(k).standard_normal(size)
    return made


def ratio(narrow: KernelSet, wide: KernelSet, f: Activation, size: int, dtype: type) -> float:
    """The time of v3 over that of v4, each the best of many rounds at several places."""
    count = wide.ufunc.nin - len(f.parameters)
    best, kept = [np.inf] * 2, []
    for _ in range(PLACES):
        operands = arrays(count + wide.ufunc.nout, size, dtype)
        kept.append(operands)  # the next ones lie elsewhere
        inputs, outputs = operands[:count], tuple(operands[count:])
        calls = [partial(one.ufunc, *inputs, *f.parameters.values(), out=outputs) for one in (narrow, wide)]
        timers = [timeit.Timer(call) for call in calls]
        repeats = max(1, int(5e-5 / max(timers[0].timeit(3) / 3, 1e-9)))
        for _ in range(ROUNDS):
            times = [timer.timeit(repeats) / repeats for timer in timers]
            best = [min(pair) for pair in zip(best, times, strict=True)]
    return best[0] / best[1]


def measure() -> list[str]:
    """Compare the kernels of v3 and v4, print the ratios, and return the names of those to take from v3."""
    found = []
    for f in fastact.activations.values():
        if not isinstance(f, Activation):
            continue
        for mode in f.ufuncs:
            sets = [kernel_set(name, f, mode) for name in ("v3", "v4")]
            with fastact.threads(1):
                ratios = [ratio(*sets, f, size, dtype) for dtype in (np.float32, np.float64) for size in SIZES]
            name = f"{f.name}.{mode}"
            found += [name] if max(ratios) <= LIMIT else []
            print(f"{name:32}", *(f"{one:5.2f}" for one in ratios), "v3" if name in found else "",
                  "" if (name in found) == (name in _widths.NARROW) else "differs from what is written", flush=True)
    return found


def main() -> None:
    """Measure, print, and write if that is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--update", action="store_true")
    arguments = parser.parse_args()
    if not {"v3", "v4"} <= set(_isa.SUPPORTED):
        raise SystemExit(f"this processor runs {', '.join(_isa.SUPPORTED)}; v3 and v4 are compared")
    found = measure()
    if arguments.update:
        rows = "".join(f'    "{name}",\n' for name in found)
        before, _, _ = WIDTHS.read_text().partition("NARROW = ")
        WIDTHS.write_text(f"{before}NARROW = frozenset((\n{rows}))\n")


if __name__ == "__main__":
    main()
