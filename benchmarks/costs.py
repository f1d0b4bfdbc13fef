"""What the engine knows of time: nanoseconds per element of each function, and from how many on a second thread pays.

    python benchmarks/costs.py             measure, and stand it beside what is written
    python benchmarks/costs.py --update    write the costs into fastact/_costs.py

On a quiet machine, with the instruction set in use.  The cost of a function is the time of one thread per float32
element, 65,536 of them into a given array, the mean of value and backward; of rows, 64 of 1,024.  That of a loss is the
time of the loss of each row or logit with its gradient; of softmax_hessian, that of the gradient with the Hessian.
"mask" is what where= and bias= add to an entry of softmax.

The threshold is measured with functions from the lightest to the heaviest: the smallest work, in time of one thread,
that two threads finish in nine tenths of it.  That is with calls one after the other, between which the second thread
waits; and with other work between them, over which it falls asleep.  The threshold in fastact/_engine/runtime.pyx lies
between the two.
"""

import argparse
import time
import timeit
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

import fastact
from fastact import Elementwise, Entmax, Gated, RowReduction, _costs
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
        given = {"alpha": 1.25} if isinstance(f, Entmax) else {}  # for its default it is another function
        calls = [partial(f, x)] if isinstance(f, RowReduction) else [
            partial(f, x, out=out, **given), partial(f.backward, x, output=f(x, **given), out=out, **given)]
    with fastact.threads(1):
        return float(np.mean(seconds(*calls))) / ELEMENTS * 1e9


X = np.random.default_rng(0).standard_normal((64, 1024)).astype(np.float32)
OTHER, OUT, LABELS = X[::-1].copy(), np.empty_like(X), np.arange(64)


def row_loss(name: str, *targets: np.ndarray) -> list[Callable[[], object]]:
    return [partial(getattr(fastact, name), X, *targets, reduction="none")]


OTHERS: dict[str, list[Callable[[], object]]] = {
    "softmax_mse": row_loss("softmax_mse", fastact.softmax(OTHER)),
    "softmax_cross_entropy": row_loss("softmax_cross_entropy", LABELS),
    "softmax_hessian": [
        partial(fastact.softmax_cross_entropy.gradient_and_hessian, X, LABELS, out=(OUT, np.empty_like(X)))],
    "sparsemax_loss": row_loss("sparsemax_loss", LABELS),
    "entmax15_loss": row_loss("entmax15_loss", LABELS),
    "entmax_loss": [partial(fastact.entmax_loss, X, LABELS, alpha=1.25, reduction="none")],
    "softmax_entropy": row_loss("softmax_entropy"),
    "softmax_kl": row_loss("softmax_kl", OTHER),
    "sigmoid_cross_entropy": [partial(fastact.sigmoid_cross_entropy, X, X > 0, "none", out=OUT)],
    "sigmoid_focal": [partial(fastact.sigmoid_focal, X, X > 0, "none", out=OUT)],
    "sigmoid_cross_entropy_hessian": [
        partial(fastact.sigmoid_cross_entropy.gradient_and_hessian, X, OTHER, out=(OUT, np.empty_like(X)))],
    "sample": [partial(fastact.sample, X, np.linspace(0, 0.99, 64))],
}
"""The calls of what is no activation."""

MASKED = [partial(fastact.softmax, X, out=OUT), partial(fastact.softmax, X, where=OTHER < 0.5, out=OUT),
          partial(fastact.softmax, X, bias=OTHER, out=OUT)]


def cost_of_calls(calls: list[Callable[[], object]]) -> float:
    """Nanoseconds per float32 element on one thread."""
    with fastact.threads(1):
        return float(np.mean(seconds(*calls))) / X.size * 1e9


def cost_of_mask() -> float:
    """Nanoseconds that where= and bias= add to an entry, on one thread."""
    with fastact.threads(1):
        plain, *masked = seconds(*MASKED)
    return (float(np.mean(masked)) - plain) / X.size * 1e9


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
    """The text of fastact/_costs.py with these costs."""
    rows = "".join(f'    "{name}": {number:g},\n' for name, number in costs.items())
    before, _, rest = COSTS.read_text().partition("COSTS = {\n")
    return f"{before}COSTS = {{\n{rows}}}\n" + rest.partition("}\n")[2]


def main() -> None:
    """Measure, print, and write if that is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--update", action="store_true")
    arguments = parser.parse_args()
    measures = {name: partial(cost, f) for name, f in fastact.activations.items()}
    measures |= {name: partial(cost_of_calls, calls) for name, calls in OTHERS.items()} | {"mask": cost_of_mask}
    costs = {}
    for name, measure in measures.items():
        costs[name] = max(STEP, round(measure() / STEP) * STEP)
        before = f"written {_costs.COSTS[name]:g}" if name in _costs.COSTS else (
            f"not in {COSTS.name} yet: --update writes it, until then a default holds")
        print(f"{name:29} {costs[name]:5.2f} ns, {before}", flush=True)
    for name in ("relu", "exp", "sigmoid", "gelu"):
        f = fastact.activations[name]
        awake, asleep = threshold(f, lambda call: seconds(call)[0]), threshold(f, seconds_between_other_work)
        print(f"{name}: two threads pay from {awake / 1e3:.1f} microseconds on, {asleep / 1e3:.1f} after other work",
              flush=True)
    if arguments.update:
        COSTS.write_text(page(costs))


if __name__ == "__main__":
    main()
