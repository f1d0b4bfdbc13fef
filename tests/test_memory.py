"""Nothing is lost, however often a function is called or refuses a call, and no call takes more memory than its result.

With FASTACT_TEST_SLOW each entry is called a million times, and some with more elements than an int counts.
"""

import gc
import itertools
import os
import re
import subprocess
import sys
import textwrap
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from common import LOSSES, LOSSES_OF_LABELS

import fastact
from fastact import Elementwise, Gated, RowReduction

CALLS = 1_000_000 if "FASTACT_TEST_SLOW" in os.environ else 500
FEW = CALLS // 10  # blocks that the interpreter may take for itself meanwhile; a leak is one a call
ATTEMPTS = 3  # a leak is there each time; what another thread or the interpreter allocates and keeps is there once


def refused(call: Callable[[], object]) -> Callable[[], None]:
    def attempt() -> None:
        try:
            call()
        except (TypeError, ValueError, IndexError):
            return
        raise AssertionError("nothing was refused")

    return attempt


def of_shape(f: fastact.Activation, array: np.ndarray) -> np.ndarray:
    """As much of an array as the value of f of it."""
    return array[:, 0] if isinstance(f, RowReduction) else array[:, :3] if isinstance(f, Gated) else array


def entries() -> Iterator[tuple[str, Callable[[], object]]]:
    x = np.linspace(-2, 2, 24, dtype=np.float32).reshape(4, 6)
    narrow, swapped, out, ints = x.astype(np.float16), x.astype(">f8"), np.empty_like(x), np.arange(6)
    frozen = np.empty_like(x)
    frozen.flags.writeable = False
    for f in fastact.activations.values():
        yield f"{f.name}(x)", lambda f=f: f(x)
        yield f"{f.name}(x, out=)", lambda f=f: f(x, out=of_shape(f, out))
        yield f"{f.name} of float16", lambda f=f: f(narrow)
        yield f"{f.name} of another byte order", lambda f=f: f(swapped)
        yield f"{f.name} of a list", lambda f=f: f([1.0, 2.0])
        yield f"{f.name}.backward", lambda f=f: f.backward(of_shape(f, x), x)
        yield f"{f.name}, refused: a string", refused(lambda f=f: f("x"))
        yield f"{f.name}, refused: a keyword", refused(lambda f=f: f(x, unknown=1))
        yield f"{f.name}, refused: out", refused(lambda f=f: f(x, out=frozen))
        yield f"{f.name}.backward, refused", refused(lambda f=f: f.backward(x, "x"))
        if isinstance(f, Elementwise):
            yield f"{f.name}.derivative", lambda f=f: f.derivative(x)
            yield f"{f.name}.value_and_derivative", lambda f=f: f.value_and_derivative(x)
            yield f"{f.name} where", lambda f=f: f(x, where=x > 0, out=out)
            if "backward_from_output" in f.ufuncs:
                yield f"{f.name}.backward from the output", lambda f=f: f.backward(x, output=x)
            if f.parameters:
                yield f"{f.name} with an array", lambda f=f: f(x, np.full(6, 0.5, np.float32))
                yield f"{f.name}.with_defaults", lambda f=f: f.with_defaults(**{next(iter(f.parameters)): 0.5})(x)
        elif isinstance(f, Gated):
            yield f"{f.name}(x, u)", lambda f=f: f(x, x)
            yield f"{f.name} of strided arrays", lambda f=f: f(x[:, ::2], x[:, ::2])
            yield f"{f.name} of float16 and a list", lambda f=f: f(narrow, x.tolist())
            yield f"{f.name}.backward of two", lambda f=f: f.backward(x, x, x)
            yield f"{f.name}.backward into", lambda f=f: f.backward(x, x, x, out=(out, out.copy()))
            yield f"{f.name} of pairs", lambda f=f: f(x, layout="interleaved")
            yield f"{f.name} of columns", lambda f=f: f.backward(x[:2], x, axis=0)
            yield f"{f.name}, refused: shapes", refused(lambda f=f: f(x, x[0]))
            if f.parameters:
                yield f"{f.name} with numbers", lambda f=f: f(x, x, limit=7, offset=1)
                yield f"{f.name} with an array", lambda f=f: f(x, x, beta=np.full(6, 0.5, np.float32))
        else:
            yield f"{f.name}, axis 0", lambda f=f: f(x, axis=0)
            yield f"{f.name}, where", lambda f=f: f(x, where=x > 0)
            yield f"{f.name}, refused: axis", refused(lambda f=f: f(x, axis=5))
    for loss in LOSSES:
        yield loss.__name__, lambda loss=loss: loss(x, np.full_like(x, 1 / 6))
        yield f"{loss.__name__}, refused", refused(lambda loss=loss: loss(x, "targets"))
        if loss in LOSSES_OF_LABELS:
            yield f"{loss.__name__} of labels", lambda loss=loss: loss(x, ints[:4])
            yield f"{loss.__name__}, refused: a label", refused(lambda loss=loss: loss(x, ints[:4] + 5))
    yield "softmax.jacobian", lambda: fastact.softmax.jacobian(x)
    yield "prelu.backward_parameter", lambda: fastact.prelu.backward_parameter(x, x)
    yield "get", lambda: fastact.get("swish")
    yield "get, refused", refused(lambda: fastact.get("nothing"))
    yield "set_num_threads, refused", refused(lambda: fastact.set_num_threads(0))
    yield "set_buffer_limit, refused", refused(lambda: fastact.set_buffer_limit(-1))
    yield "clear_buffers", fastact.clear_buffers


ENTRIES = dict(entries())
FUNCTIONS = itertools.groupby(ENTRIES, key=lambda entry: re.match(r"\w+", entry)[0])


@pytest.fixture(scope="module", autouse=True)
def _frozen():
    """What other tests left behind is not searched a thousand times for garbage, nor later by those that follow."""
    gc.collect()
    gc.freeze()


def blocks_after(call: Callable[[], object], calls: int) -> int:
    for _ in itertools.repeat(None, calls):
        call()
    gc.collect()
    return sys.getallocatedblocks()


@pytest.mark.parametrize("calls", [list(calls) for _, calls in FUNCTIONS], ids=lambda calls: calls[0])
def test_calls_leave_nothing_behind(calls):
    for entry in calls:
        call = ENTRIES[entry]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            before = blocks_after(call, 200)
            for _ in range(ATTEMPTS):
                now = blocks_after(call, CALLS)
                left, before = now - before, now
                if left < FEW:
                    break
        assert left < FEW, f"{entry}, {CALLS} times, leaves {left} blocks of memory, and did {ATTEMPTS} times"


PEAK = """
    import sys
    import numpy as np
    import fastact

    def kibibytes(name):
        with open("/proc/self/status") as status:
            return next(int(line.split()[1]) for line in status if line.startswith(name + ":"))

    def excess(call):
        fastact.clear_buffers()
        with open("/proc/self/clear_refs", "w") as file:
            file.write("5")                                 # the peak begins here
        before = kibibytes("VmRSS")
        results = call()
        peak = kibibytes("VmHWM") - before
        results = results if isinstance(results, tuple) else (results,)
        return peak / 1024 - sum(y.nbytes for y in results if y is not out and y.base is not out) / 2**20

    x = np.linspace(-5, 5, 2**23, dtype=np.float32)         # 32 MiB
    out, half, rows = np.zeros_like(x), x.astype(np.float16), x.reshape(-1, 1024)
    swapped = x.astype(">f4")
    calls = {
        "value": lambda: fastact.gelu(x),
        "out": lambda: fastact.gelu(x, out=out),
        "both": lambda: fastact.gelu.value_and_derivative(x),
        "backward": lambda: fastact.gelu.backward(x, x),
        "strided": lambda: fastact.gelu(x[::2]),
        "float16": lambda: fastact.gelu(half),
        "byte order": lambda: fastact.gelu(swapped, out=out),
        "rows": lambda: fastact.softmax(rows),
        "rows of float16": lambda: fastact.softmax(half.reshape(-1, 1024)),
        "log_softmax": lambda: fastact.log_softmax(rows, out=out.reshape(rows.shape)),
        "one row": lambda: fastact.softmax(x),
        "columns": lambda: fastact.softmax(rows, axis=0),
        "inner axis": lambda: fastact.softmax(x.reshape(64, 128, -1), axis=1),
        "backward of rows": lambda: fastact.softmax.backward(rows, output=rows),
        "logsumexp": lambda: fastact.logsumexp(rows),
    }
    for call in calls.values():                             # stacks of threads and all that is loaded once
        call()
    for name, call in calls.items():
        print(name, round(excess(call), 2), sep=": ")
"""


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="the peak of memory is reset in /proc")
def test_calls_take_no_more_memory_than_their_result():
    environment = os.environ | {"FASTACT_NUM_THREADS": "2"}
    result = subprocess.run([sys.executable, "-c", textwrap.dedent(PEAK)], env=environment, capture_output=True,
                            text=True, check=True)
    excess = dict(line.rsplit(": ", 1) for line in result.stdout.splitlines())
    assert len(excess) == 15
    assert {name: float(number) for name, number in excess.items() if float(number) > 1} == {}, result.stdout


@pytest.mark.skipif("FASTACT_TEST_SLOW" not in os.environ, reason="takes 5 GiB and a minute: FASTACT_TEST_SLOW=1")
def test_more_elements_than_an_int_counts():
    n = 2**31 + 3
    x = np.zeros(n, np.float16)
    x[:: 2**20] = -3
    x[-3:] = 1, -1, 2
    assert fastact.relu(x, out=x) is x
    assert x[-3:].tolist() == [1, 0, 2]
    assert np.count_nonzero(x) == 2
    x[-3:] = 1, -1, 2
    fastact.tanh(x[::-1], out=x[::-1])  # the ufunc
    assert x[-3:].tolist() == fastact.tanh(np.array([1, -1, 2], np.float16)).tolist()
    assert np.count_nonzero(x) == 3
    x[-3:] = 0
    assert fastact.logsumexp(x) == np.float16(np.log(n))
    rows = x.reshape(-1, 1277)
    assert (fastact.softmax(rows, out=rows) == np.float16(1 / 1277)).all()
