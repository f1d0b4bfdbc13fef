"""How near the machine's limits the library is: what no race with another library tells.

    python benchmarks/limits.py

On a quiet machine, with the instruction set in use: copying (np.copyto) as the measure of memory, np.tanh as that of a
call; float32.  Each line says what was measured, the figure, and the bar it is held against.
"""

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
from costs import seconds

import fastact
from fastact import Elementwise
from fastact._engine import runtime

ELEMENTWISE = [f for f in fastact.activations.values() if isinstance(f, Elementwise)]
EXP_CLASS = [fastact.get(name) for name in ("sigmoid", "tanh", "softplus", "silu", "elu", "selu", "mish", "gelu",
                                            "gelu_tanh", "log_sigmoid", "erf")]
NEAR, FAR, MILLION = 2**14, 2**24, 2**20
SIZES = (16, 256, 4096, 16384, 65536, 131072, 262144, 524288, 1048576, 4194304, 16777216)
Line = tuple[str, float, str]


def numbers(shape: int | tuple[int, ...], seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def into(f: Callable[..., object], x: np.ndarray) -> Callable[[], object]:
    return partial(f, x, out=np.empty_like(x))


def copying(x: np.ndarray) -> Callable[[], object]:
    return partial(np.copyto, np.empty_like(x), x)


def worst(ratios: dict[str, float]) -> tuple[str, float]:
    return max(ratios.items(), key=lambda item: item[1])


def in_cache() -> Iterator[Line]:
    x = numbers(NEAR)
    for names, bar in ((("relu",), 1.15), (("sigmoid", "tanh", "silu"), 4), (("softplus", "mish", "gelu"), 6)):
        for name in names:
            ours, copy = seconds(into(fastact.get(name), x), copying(x))
            yield f"{name}, {NEAR:,} elements, of copying", ours / copy, f"<= {bar}"


def from_memory() -> Iterator[Line]:
    x = numbers(FAR)
    copy, relu = seconds(copying(x), into(fastact.relu, x))
    yield f"relu, {FAR:,} elements, one thread, of copying", relu / copy, "<= 1.2"
    with fastact.threads(2):
        name, ratio = worst({f.name: seconds(into(f, x))[0] / copy for f in ELEMENTWISE})
    yield f"the slowest value, two threads, of copying: {name}", ratio, "<= 1.15"
    fresh, given = seconds(partial(fastact.relu, x), into(fastact.relu, x))
    yield "relu, a fresh result, of a given one", fresh / given, "-"
    limit = fastact.get_buffer_limit()
    fastact.set_buffer_limit(0)
    without, = seconds(partial(fastact.relu, x))
    fastact.set_buffer_limit(limit)
    yield "the same without memory that is kept", without / given, "-"


def prefetching() -> Iterator[Line]:
    """Time with prefetching of that without: above 1 the processor is better left alone."""
    x = numbers((FAR // 1024, 1024))
    y, sigmoid = fastact.softmax(x), fastact.sigmoid
    of_rows = partial(fastact.softmax.backward, x, output=y, out=np.empty_like(x))
    own = runtime.set_prefetching(False)
    for title, call in (("sigmoid.backward", partial(sigmoid.backward, x, x, out=np.empty_like(x))),
                        ("softmax", into(fastact.softmax, x)), ("softmax.backward", of_rows)):
        with_it, without = seconds(*(partial(_prefetching, pays, call) for pays in (True, False)))
        yield f"{title}, {FAR:,} elements, prefetching, of not", with_it / without, "<= 1" if own else ">= 1"
    runtime.set_prefetching(own)


def _prefetching(pays: bool, call: Callable[[], object]) -> None:
    runtime.set_prefetching(pays)
    call()


def calls() -> Iterator[Line]:
    x = numbers(16)
    names = {"x": x, "dy": x[::-1].copy(), "y": fastact.tanh(x), "p": fastact.softmax(x), "np": np}
    names |= {name: fastact.get(name) for name in ("tanh", "softmax", "logsumexp")}
    for call, bar in (("tanh(x)", 0.35), ("tanh.backward(dy, x)", 0.5), ("tanh.backward(dy, output=y)", 0.5),
                      ("softmax(x)", 0.5), ("softmax.backward(dy, output=p)", 0.5), ("logsumexp(x)", 0.5)):
        ours, numpys = seconds(call, "np.tanh(x)", names=names)
        yield f"{call}, 16 elements, of np.tanh", ours / numpys, f"<= {bar}"


def axes() -> Iterator[Line]:
    for shape, axis, last in (((1024, 1024), 0, (1024, 1024)), ((8, 64, 56, 56), 1, (8 * 56 * 56, 64))):
        for name in ("softmax", "log_softmax"):
            f, x, rows = fastact.get(name), numbers(shape), numbers(last)
            y, z = f(x, axis=axis), f(rows)
            inner, outer, inner_back, outer_back = seconds(
                partial(f, x, axis=axis, out=np.empty_like(x)), into(f, rows),
                partial(f.backward, x, output=y, axis=axis, out=np.empty_like(x)),
                partial(f.backward, rows, output=z, out=np.empty_like(rows)))
            yield f"{name}, axis {axis} of {shape}, of the last axis", inner / outer, "<= 1.5"
            yield f"{name}.backward, the same", inner_back / outer_back, "<= 1.5"


def with_threads() -> Iterator[Line]:
    ratios = {}
    for size in SIZES:
        x = numbers(size)
        for f in (fastact.relu, fastact.sigmoid, fastact.gelu):
            call, times = into(f, x), []
            for n in (1, 2):
                with fastact.threads(n):
                    times.append(seconds(call)[0])
            ratios[f"{f.name}, {size:,}"] = times[1] / times[0]
    name, ratio = worst(ratios)
    yield f"two threads, of one, at worst: {name}", ratio, "<= 1"
    x, gains = numbers(MILLION), {}
    for f in EXP_CLASS:
        call, times = into(f, x), []
        for n in (1, 2):
            with fastact.threads(n):
                times.append(seconds(call)[0])
        gains[f.name] = times[0] / times[1]
    name, gain = min(gains.items(), key=lambda item: item[1])
    yield f"gain of two threads, {MILLION:,} elements, at worst: {name}", gain, ">= 1.7"


def growth() -> Iterator[Line]:
    ratios = {}
    for f in ELEMENTWISE:
        near = seconds(into(f, numbers(NEAR)))[0] / NEAR
        for size in (2**18, MILLION, FAR):
            x = numbers(size)
            ours, copy = seconds(into(f, x), copying(x))
            ratios[f"{f.name}, {size:,}"] = ours / max(near * size, copy)
    name, ratio = worst(ratios)
    yield f"time, of the larger of computing in cache and copying, at worst: {name}", ratio, "<= 1.5"


def values() -> Iterator[Line]:
    tiny = np.finfo(np.float32).smallest_subnormal
    inputs = {
        "normal": numbers(NEAR), "subnormal": tiny * np.arange(1, NEAR + 1, dtype=np.float32),
        "far": np.linspace(-1e30, 1e30, NEAR, dtype=np.float32),
        "tails": np.linspace(-104, -80, NEAR, dtype=np.float32),
        "NaN": np.full(NEAR, np.nan, np.float32), "infinite": np.full(NEAR, -np.inf, np.float32),
        "zero": np.zeros(NEAR, np.float32),
    }
    ratios = {}
    for f in ELEMENTWISE:
        usual, *others = seconds(*(into(f, x) for x in inputs.values()))
        for name, time in zip(list(inputs)[1:], others, strict=True):
            ratios[f"{f.name} of {name}"] = time / usual
    name, ratio = worst(ratios)
    yield f"time by values, of that of usual ones, at worst: {name}", ratio, "<= 2"


def main() -> None:
    """Print the table, line by line."""
    fastact.set_num_threads(1)
    for part in (in_cache, from_memory, prefetching, calls, axes, with_threads, growth, values):
        for title, figure, bar in part():
            print(f"{title:82} {figure:6.2f}   {bar}", flush=True)


if __name__ == "__main__":
    main()
