"""What the engine knows of time: nanoseconds per element of each function, and from how many on a second thread pays.

    python benchmarks/costs.py             measure, and stand it beside what is written
    python benchmarks/costs.py --update    write the costs into fastact/_costs.py

On a quiet machine, with the instruction set in use.  The cost of a function is the time of one thread per float32
element, 65,536 of them into a given array, the mean of value and backward; of rows, 64 of 1,024.  The threshold is
measured with functions from the lightest to the heaviest: the smallest work, in time of one thread, that two threads
finish in nine tenths of it.  That is with calls one after the other, between which the second thread waits; and with
other work between them, over which it falls asleep.  The threshold in fastact/_engine/runtime.pyx lies between the two.
"""

import argparse
import time
import timeit
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

import fastact
from fastact import Elementwise, Gated, RowReduction, _costs
from fastact._engine import runtime

COSTS = Path(_costs.__file__)
ELEMENTS = 65_536
ROUNDS, LEAST_ROUNDS = 100, 8
ENOUGH = 1.0  # seconds of them
STEP = 0.05  # of a cost, in nanoseconds
GAIN = 0.9  # time of two threads, of that of one, from which on they pay
SIZES = [int(2**k) for k in np.arange(11, 20.1, 0.25)]


def seconds(*calls: Callable[[], object] | str, names: dict[str, object] | None = None) -> list[float]:
    """The best time of each, all of them measured in turns."""
    timers = [timeit.Timer(call, globals=names) for call in calls]
    repeats = [max(1, int(2e-4 / max(timer.timeit(3) / 3, 1e-9))) for timer in timers]
    best, rounds, start = [np.inf] * len(calls), 0, time.perf_counter()
    while rounds < ROUNDS and (rounds < LEAST_ROUNDS or time.perf_counter() - start < ENOUGH):
        for k, timer in enumerate(timers):
            best[k] = min(best[k], timer.timeit(repeats[k]) / repeats[k])
        rounds += 1
    return best


def seconds_between_other_work(call: Callable[[], object]) -> float:
    """The median time of one call after a tenth of a millisecond of something else."""
    numbers, times = np.zeros(200_000), []
    timer = timeit.Timer(call)
    for _ in range(2 * ROUNDS):
        np.add(numbers, 1, out=numbers)
        times.append(timer.timeit(1))
    return float(np.median(times))


def cost(f: Callable[..., np.ndarray]) -> float:
    """Nanoseconds per float32 element on one thread."""
    x = np.random.default_rng(0).standard_normal(ELEMENTS).astype(np.float32)
    out = np.empty_like(x)
    calls = [partial(f, x, out=out)]
    if isinstance(f, Elementwise):
        calls.append(partial(f.backward, x[::-1].copy(), x, out=out))
    elif isinstance(f, Gated):
        calls = [partial(f, x, x[::-1].copy(), out=out),
                 partial(f.backward, x[::-1].copy(), x, x[::-1].copy(), out=(out, out.copy()))]
    else:
        x, out = x.reshape(64, 1024), out.reshape(64, 1024)
        calls = [partial(f, x)] if isinstance(f, RowReduction) else [
            partial(f, x, out=out), partial(f.backward, x, output=f(x), out=out)]
    with fastact.threads(1):
        return float(np.mean(seconds(*calls))) / ELEMENTS * 1e9


def threshold(f: Callable[..., np.ndarray], clock: Callable[[Callable[[], object]], float]) -> float:
    """Nanoseconds of the smallest work that, like all that is larger, two threads finish sooner."""
    before, smallest = runtime.set_parallel_nanoseconds(0), np.inf
    try:
        for size in reversed(SIZES):
            x = np.random.default_rng(0).standard_normal(size).astype(np.float32)
            call = partial(f, x, out=np.empty_like(x))
            with fastact.threads(1):
                one = clock(call)
            with fastact.threads(2):
                two = clock(call)
            if two > GAIN * one:
                break
            smallest = one * 1e9
        return smallest
    finally:
        runtime.set_parallel_nanoseconds(before)


def page(costs: dict[str, float]) -> str:
    """The text of fastact/_costs.py."""
    rows = "".join(f'    "{name}": {number:g},\n' for name, number in costs.items())
    return f'"""{_costs.__doc__}"""\n\nCOSTS = {{\n{rows}}}\n'


def main() -> None:
    """Measure, print, and write if that is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--update", action="store_true")
    arguments = parser.parse_args()
    costs = {}
    for name, f in fastact.activations.items():
        costs[name] = max(STEP, round(cost(f) / STEP) * STEP)
        before = f"written {_costs.COSTS[name]:g}" if name in _costs.COSTS else (
            f"not in {COSTS.name} yet: --update writes it, until then the default of fastact/catalogue.py holds")
        print(f"{name:16} {costs[name]:5.2f} ns, {before}", flush=True)
    for name in ("relu", "exp", "sigmoid", "gelu"):
        f = fastact.activations[name]
        awake, asleep = threshold(f, lambda call: seconds(call)[0]), threshold(f, seconds_between_other_work)
        print(f"{name}: two threads pay from {awake / 1e3:.1f} microseconds on, {asleep / 1e3:.1f} after other work",
              flush=True)
    if arguments.update:
        COSTS.write_text(page(costs))


if __name__ == "__main__":
    main()
