"""Threads: the same bits for any number of them, who decides how many, fork, and many callers at once."""

import asyncio
import contextlib
import gc
import multiprocessing
import os
import signal
import sys
import textwrap
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import processes
import pytest
import threadpoolctl
from common import DTYPES, ELEMENTWISE, FUNCTIONS, LOSSES, WIDE, each, in_turn, same

import fastact
from fastact import Elementwise, Gated, _isa, _machine, _threads
from fastact._engine import runtime

needs_openmp = pytest.mark.skipif(not runtime.OPENMP, reason="built without OpenMP")
needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
VARIABLES = ("FASTACT_NUM_THREADS", "OMP_NUM_THREADS", "GOMP_SPINCOUNT", "OMP_WAIT_POLICY", "OMP_PROC_BIND",
             "OMP_PLACES", "OMP_THREAD_LIMIT", "GOMP_CPU_AFFINITY")


@pytest.fixture(autouse=True)
def as_it_was():
    """Threads for work that they would not pay for elsewhere."""
    nanoseconds = runtime.set_parallel_nanoseconds(2000)
    yield
    runtime.set_parallel_nanoseconds(nanoseconds)


def run(code, timeout=60, **variables):
    options = "-W", "error", "-W", "ignore::DeprecationWarning"
    return processes.run(code, *options, timeout=timeout, without=VARIABLES, **variables)


def run_each(cases):
    """The codes of these cases, pairs of variables and code, by their position."""
    options = "-W", "error", "-W", "ignore::DeprecationWarning"
    return processes.run_each(cases, *options, timeout=120, without=VARIABLES)


def results(f, dtype):
    """Every mode of `f` on arrays that are worth several threads."""
    x = (np.random.default_rng(0).standard_normal(100_003) * 5).astype(dtype)
    if isinstance(f, Elementwise):
        return [f(x), f.derivative(x), f.backward(x, x), *f.value_and_derivative(x), f(x[::2])]
    if isinstance(f, Gated):
        packed = x[: x.size - x.size % 6].reshape(3, -1)
        pairs = {"layout": "interleaved"}
        return [f(x, x[::-1]), *f.backward(x, x[::-1], x), f(packed), f.backward(f(packed), packed),
                f(packed, **pairs), f.backward(f(packed), packed, **pairs)]
    found = []
    for shape, axis in (((1, -1), -1), ((-1, 7), -1), ((7, -1), 0), ((13, -1, 1), 1)):
        rows = x[: x.size - x.size % 91].reshape(shape)
        y = f(rows, axis=axis)
        found += [y, f.backward(y, rows, axis=axis)]
    return found


@in_turn("dtype", DTYPES)
@each("f", ELEMENTWISE)
def test_outputs_that_overlap_inputs(f, dtype):
    """NumPy hands over an output that begins before its input: the elements have to be computed in their order."""
    for shift in (-4000, -65, -1, 1, 65):
        memory = (np.random.default_rng(0).standard_normal(100_003) * 5).astype(dtype)
        before, behind = memory[: -abs(shift)], memory[abs(shift) :]
        x, out = (before, behind) if shift > 0 else (behind, before)
        expected = f(x.copy())
        f(x, out=out)
        same(out, expected, f"out {shift} elements behind x")


@in_turn("dtype", WIDE)
@each("f", FUNCTIONS)
def test_any_number_of_threads_gives_the_same_bits(f, dtype):
    with fastact.threads(1):
        expected = results(f, dtype)
    for n in (2, 3, 5):
        with fastact.threads(n):
            for a, b in zip(results(f, dtype), expected, strict=True):
                assert a.tobytes() == b.tobytes()


@each("loss", LOSSES)
def test_losses_have_the_same_bits(loss):
    logits, targets = np.random.default_rng(0).random((2, 2000, 50))
    with fastact.threads(1):
        expected = loss(logits, targets)
    for n in (2, 3):
        with fastact.threads(n):
            value, gradient = loss(logits, targets)
        assert value == expected[0]
        assert gradient.tobytes() == expected[1].tobytes()


@needs_openmp
@pytest.mark.skipif(not os.path.isdir("/proc/self/task"), reason="no list of a process's threads on this system")
def test_short_calls_wake_the_other_threads_only_in_long_successions():
    """To wake a thread takes as long as ten such calls, so the second of two would pay for calls that never come."""
    threads = run("""
        import os, time
        import numpy, fastact
        x = numpy.ones(16384, "float32")
        fastact.set_num_threads(2)
        before = len(os.listdir("/proc/self/task"))
        for _ in range(50):
            time.sleep(0.001)
            fastact.silu(x), fastact.silu(x)
        print(len(os.listdir("/proc/self/task")) - before)
        stop = time.monotonic() + 30
        while len(os.listdir("/proc/self/task")) == before and time.monotonic() < stop:
            for _ in range(100):
                fastact.silu(x)
        print(len(os.listdir("/proc/self/task")) - before)
    """)
    assert threads.split() == ["0", "1"]


# -------------------------------------------------------------------------------------------------------- how many

@needs_openmp
def test_threads_is_for_its_block_and_its_thread_only():
    outside = fastact.get_num_threads()
    seen = []
    with fastact.threads(outside + 2):
        assert fastact.get_num_threads() == outside + 2
        with fastact.threads(1):
            assert fastact.get_num_threads() == 1
        other = threading.Thread(target=lambda: seen.append(fastact.get_num_threads()))
        other.start()
        other.join()
        with ThreadPoolExecutor(1) as pool:
            seen.append(pool.submit(fastact.get_num_threads).result())
        assert fastact.get_num_threads() == outside + 2
    assert fastact.get_num_threads() == outside
    if not getattr(sys.flags, "thread_inherit_context", False):     # of Python 3.14
        assert seen == [outside, outside]
    with pytest.raises(KeyError), fastact.threads(outside + 1):
        raise KeyError
    assert fastact.get_num_threads() == outside


def in_turns(k):
    with fastact.threads(k):
        for _ in range(3):
            yield fastact.get_num_threads()


@needs_openmp
def test_a_suspended_generator_keeps_its_threads_to_itself():
    outside = fastact.get_num_threads()
    first, second = in_turns(outside + 2), in_turns(outside + 3)
    for _ in range(2):
        assert (next(first), next(second)) == (outside + 2, outside + 3)
        assert fastact.get_num_threads() == outside
    first.close()                       # before the one that was entered later
    assert fastact.get_num_threads() == outside
    assert list(second) == [outside + 3]
    for n in in_turns(outside + 2):
        with fastact.threads(outside + 4):
            assert (n, fastact.get_num_threads()) == (outside + 2, outside + 4)
        assert fastact.get_num_threads() == outside
    assert [(n, fastact.get_num_threads()) for n in in_turns(outside + 5)] == [(outside + 5, outside)] * 3
    abandoned = in_turns(outside + 2)
    next(abandoned)
    del abandoned
    gc.collect()
    assert fastact.get_num_threads() == outside


@contextlib.contextmanager
def manager(n):
    with fastact.threads(n):
        yield


@contextlib.asynccontextmanager
async def asynchronous_manager(n):
    with fastact.threads(n):
        yield


@needs_openmp
def test_what_enters_a_block_for_others():
    """Context managers that are generators, stacks of them, fixtures, decorators."""
    outside = fastact.get_num_threads()

    def managed(n):
        with manager(n), contextlib.ExitStack() as stack:
            yield fastact.get_num_threads()
            stack.enter_context(fastact.threads(n + 1))
            yield fastact.get_num_threads()

    def started(generator):
        next(generator)
        return generator

    @fastact.threads(outside + 2)
    def decorated(depth):
        return decorated(depth - 1) if depth else fastact.get_num_threads()

    with manager(outside + 2):
        assert fastact.get_num_threads() == outside + 2
    with contextlib.ExitStack() as stack:
        stack.enter_context(fastact.threads(outside + 2))
        assert fastact.get_num_threads() == outside + 2
    assert [(n, fastact.get_num_threads()) for n in managed(outside + 2)] == [
        (outside + 2, outside), (outside + 3, outside)]
    assert decorated(3) == outside + 2
    fixture = started(in_turns(outside + 2))
    assert fastact.get_num_threads() == outside + 2
    fixture.close()
    assert fastact.get_num_threads() == outside


@needs_openmp
def test_tasks_of_asyncio():
    outside = fastact.get_num_threads()

    async def task(n):
        for _ in range(3):
            with fastact.threads(n):
                await asyncio.sleep(0.001 * (n % 3))
                assert fastact.get_num_threads() == n
            await asyncio.sleep(0)
            assert fastact.get_num_threads() == outside

    async def generator(n):
        with fastact.threads(n):
            while True:
                await asyncio.sleep(0)
                yield fastact.get_num_threads()

    async def later():
        await asyncio.sleep(0.01)
        return fastact.get_num_threads()

    async def main():
        await asyncio.gather(*[task(outside + 1 + k) for k in range(6)])
        assert fastact.get_num_threads() == outside
        async with asynchronous_manager(outside + 2):
            await asyncio.sleep(0)
            assert fastact.get_num_threads() == outside + 2
        with fastact.threads(outside + 2):
            inside = asyncio.create_task(later())
            assert await asyncio.to_thread(fastact.get_num_threads) == outside + 2
            assert await inside == outside + 2
            outlives = asyncio.create_task(later())
        assert await outlives == outside        # the block is left
        iterator = generator(outside + 2)
        for _ in range(2):
            assert await anext(iterator) == outside + 2
            assert fastact.get_num_threads() == outside
        return iterator                         # which asyncio ends in a context of its own

    iterator = asyncio.run(main())
    assert fastact.get_num_threads() == outside
    assert iterator.ag_frame is None


@needs_openmp
def test_a_block_may_be_used_again():
    outside = fastact.get_num_threads()
    block = fastact.threads(outside + 2)
    for _ in range(2):
        with block, block:
            assert fastact.get_num_threads() == outside + 2
            with ThreadPoolExecutor(4) as pool:     # at the same time
                assert list(pool.map(lambda _: entered(block), range(20))) == [outside + 2] * 20
            assert fastact.get_num_threads() == outside + 2
        assert fastact.get_num_threads() == outside
    with pytest.raises(RuntimeError, match=r"fastact.threads\(\d+\): the block is left, but was not entered"):
        block.__exit__(None, None, None)


def entered(block):
    with block:
        return fastact.get_num_threads()


@needs_openmp
def test_a_block_is_seen_through_the_ufunc():
    """Its loop runs without the interpreter lock.  OpenMP's threads are counted: there are none before."""
    code = """
    import os, threading
    import numpy as np
    import fastact
    def count():
        return len(os.listdir("/proc/self/task"))
    x, before = np.ones(2**20, np.float32), count()
    with fastact.threads(1):
        fastact.gelu.ufunc(x)
        assert count() == before
    with fastact.threads(4):
        with fastact.threads(3):
            thread = threading.Thread(target=lambda: fastact.set_num_threads(1))
            thread.start()
            thread.join()
            fastact.gelu.ufunc(x)
    assert count() == before + 2, (count(), before)
    print("seen")
    """
    if not os.path.isdir("/proc/self/task"):
        pytest.skip("the threads of a process are not to be counted on this system")
    assert run(code, OPENBLAS_NUM_THREADS="1") == "seen"


@pytest.mark.parametrize("function", [fastact.set_num_threads, lambda n: fastact.threads(n).__enter__()])
@pytest.mark.parametrize(("n", "error"), [(0, ValueError), (-1, ValueError), (2**15 - 1, ValueError),
                                          pytest.param(10**5000, ValueError, id="5001 digits"), (1.0, TypeError),
                                          ("2", TypeError), (None, TypeError), (True, TypeError)])
def test_a_bad_number_is_refused(function, n, error):
    before = fastact.get_num_threads()
    with pytest.raises(error, match=r"fastact\.(set_num_)?threads: n must be .{,80}$"):
        function(n)
    assert fastact.get_num_threads() == before


SAY = "import fastact; print(fastact.get_num_threads())"


@needs_openmp
def test_who_decides():
    set_too = "import fastact; fastact.set_num_threads(2); print(fastact.get_num_threads())"
    with_too = "import fastact; fastact.set_num_threads(2)\nwith fastact.threads(4): print(fastact.get_num_threads())"
    every = str(_threads.available_processors())
    cases = [({}, SAY, every), ({"OMP_NUM_THREADS": "3"}, SAY, "3"),
             ({"OMP_NUM_THREADS": "3", "FASTACT_NUM_THREADS": "5"}, SAY, "5"),
             ({"FASTACT_NUM_THREADS": ""}, SAY, every),
             ({"OMP_NUM_THREADS": "3", "FASTACT_NUM_THREADS": "5"}, set_too, "2"),
             ({"FASTACT_NUM_THREADS": "5"}, with_too, "4")]
    found = run_each([(variables, code) for variables, code, _ in cases])
    assert [(*case[:2], count) for case, count in zip(cases, found, strict=True)] == cases


def test_a_bad_variable_is_an_error_at_import():
    values = ["0", "-1", "many", "1.5", "٣", "100000", "2 ", "9" * 5000, "+2"]
    codes = [f"""
    try:
        import fastact
    except ValueError as error:
        assert {value[:40]!r} in str(error) and "FASTACT_NUM_THREADS" in str(error), error
        assert len(str(error)) < 200
        print("refused")
    """ for value in values]
    cases = [({"FASTACT_NUM_THREADS": value}, code) for value, code in zip(values, codes, strict=True)]
    assert dict(zip(values, run_each(cases), strict=True)) == dict.fromkeys(values, "refused")


EXPLAIN = "from fastact import _threads; print(*_threads.explain())"
BINDING = [{"OMP_PROC_BIND": "true"}, {"OMP_PROC_BIND": "close"}, {"OMP_PROC_BIND": "spread"},
           {"OMP_PLACES": "cores"}, {"OMP_PLACES": "threads"}, {"OMP_PLACES": "threads", "OMP_PROC_BIND": "true"}]


@needs_openmp
def test_threads_that_are_bound_to_processors():
    """The first one is bound while OpenMP is loaded, perhaps by somebody else, and has one processor from then on."""
    first = "import ctypes; ctypes.CDLL('libgomp.so.1', ctypes.RTLD_GLOBAL)\n"
    every = str(_threads.available_processors())
    codes = {SAY: every}
    if sys.platform == "linux":
        codes[first + SAY] = every
    if hasattr(os, "sched_setaffinity"):
        codes["import os; os.sched_setaffinity(0, [min(os.sched_getaffinity(0))]); " + SAY] = "1"
    cases = [(variables, code) for variables in BINDING for code in codes]
    for (variables, code), found in zip(cases, run_each(cases), strict=True):
        assert found == codes[code], (variables, code)


@needs_openmp
def test_places_are_the_processors():
    if not hasattr(os, "sched_getaffinity"):
        pytest.skip("no processor affinity on this system")
    a, *rest = sorted(os.sched_getaffinity(0))
    assert run(SAY, OMP_PLACES=f"{{{a}}}") == "1"
    for b in rest[:1]:
        assert run(SAY, OMP_PLACES=f"{{{a}}},{{{b}}},{{{a},{b}}}") == str(min(2, _threads.available_processors()))


@needs_openmp
def test_what_openmp_refuses_is_no_reason():
    numbers = {"3": 3, " 3": 3, "3,1": 3, "0": None, "-1": None, "1.0": None, "": None, "3,x": None, "many": None,
               "9" * 5000: None}
    found = run_each([({"OMP_NUM_THREADS": value}, EXPLAIN) for value in numbers])
    for (value, number), printed in zip(numbers.items(), found, strict=True):
        count, reason = printed.split(" ", 1)
        assert count == str(number or _threads.available_processors()), value[:40]
        assert ("OMP_NUM_THREADS" in reason) == bool(number), (value[:40], reason)


@needs_openmp
def test_no_more_threads_than_can_be_started():
    """GNU OpenMP ends the process where the system refuses a thread."""
    compute = "import numpy; fastact.gelu(numpy.ones(2**22)); print(fastact.get_num_threads())"
    assert run("import fastact; " + compute, OMP_NUM_THREADS="30000") == str(_threads.MAX_THREADS)
    assert run("import fastact; " + compute, OMP_NUM_THREADS="5", OMP_THREAD_LIMIT="3") == "3"
    assert run("import fastact; fastact.set_num_threads(4); " + compute, OMP_THREAD_LIMIT="3") == "3"
    limits = "import fastact, threadpoolctl; threadpoolctl.threadpool_limits(30000, 'openmp'); "
    assert run(limits + "fastact._engine.runtime.set_processors(0); " + compute) == str(_threads.MAX_THREADS)
    most = _threads.MAX_THREADS
    assert run(f"import fastact; fastact.set_num_threads({most}); " + compute) == str(most)


@needs_openmp
def test_affinity_is_obeyed():
    if not hasattr(os, "sched_setaffinity"):
        pytest.skip("no processor affinity on this system")
    assert run("import os; os.sched_setaffinity(0, [min(os.sched_getaffinity(0))]); " + SAY) == "1"


@needs_openmp
@pytest.mark.skipif(sys.platform != "linux" or len(os.sched_getaffinity(0)) < 2, reason="Linux, two processors")
def test_a_thread_on_the_processor_of_the_calling_one_leaves_it():
    """Where the system wakes it there.  Afterwards it may run on the same processors as before."""
    code = """
    import os, time
    from pathlib import Path
    import numpy as np
    import fastact
    first, second, *_ = sorted(os.sched_getaffinity(0))
    tasks, x = Path("/proc/self/task"), np.zeros(1_000_000)
    before = {task.name for task in tasks.iterdir()}
    fastact.tanh(x)
    worker, = {int(task.name) for task in tasks.iterdir() if task.name not in before}
    os.sched_setaffinity(0, {first})
    left = 0
    for _ in range(10):
        os.sched_setaffinity(worker, {first})
        fastact.tanh(x)
        os.sched_setaffinity(worker, {first, second})
        time.sleep(0.01)
        fastact.tanh(x)
        left += int((tasks / str(worker) / "stat").read_text().rpartition(")")[2].split()[36]) == second
        assert os.sched_getaffinity(worker) == {first, second}
    print(left)
    """
    assert run(code, FASTACT_NUM_THREADS="2") == "10"


@needs_openmp
def test_threadpoolctl_is_obeyed():
    fastact.sigmoid(np.zeros(200_000))
    with threadpoolctl.threadpool_limits(1):
        assert fastact.get_num_threads() == 1
    code = """
    import fastact, threadpoolctl
    with threadpoolctl.threadpool_limits(3, user_api="openmp"):
        inside = fastact.get_num_threads()
    print(inside)
    """
    assert run(code) == str(min(3, _threads.available_processors()))


def test_the_environment_stays_as_it_was():
    code = "import os; before = dict(os.environ); import fastact; assert dict(os.environ) == before; print('same')"
    assert run_each([({}, code), ({"GOMP_SPINCOUNT": "10"}, code), ({"OMP_WAIT_POLICY": "passive"}, code)]) == [
        "same"] * 3


@pytest.mark.parametrize(("files", "process", "expected"), [
    ({}, "", None),
    ({"cpu.max": "max 100000"}, "0::/", None),
    ({"cpu.max": "150000 100000"}, "0::/", 1.5),
    ({"a/b/cpu.max": "max 100000", "a/cpu.max": "50000 100000"}, "0::/a/b", 0.5),
    ({"a/b/cpu.max": "400000 100000", "a/cpu.max": "200000 100000"}, "0::/a/b", 2.0),
    ({"cpu.max": "300000 100000"}, "0::/seen/from/elsewhere", 3.0),
    ({"cpu/a/cpu.cfs_quota_us": "250000", "cpu/a/cpu.cfs_period_us": "100000"}, "4:cpu,cpuacct:/a\n0::/", 2.5),
    ({"cpu/a/cpu.cfs_quota_us": "-1", "cpu/a/cpu.cfs_period_us": "100000"}, "4:cpu,cpuacct:/a", None),
    ({"cpu.max": "not a number"}, "0::/", None),
    ({"cpu.max": "100000 0"}, "0::/", None),
    ({"cpu.max": ""}, "nonsense\n::::", None),
])
def test_control_group_quota(tmp_path, files, process, expected):
    for name, text in files.items():
        place = tmp_path / "fs" / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text + "\n")
    (tmp_path / "process").write_text(process)
    assert _machine.control_group_quota(tmp_path / "fs", tmp_path / "process") == expected


def test_control_group_files_that_are_not_there(tmp_path):
    assert _machine.control_group_quota(tmp_path / "nothing", tmp_path / "none") is None


# ------------------------------------------------------------------------------------------------------------ fork

PREPARE = """
import multiprocessing, os, threading, time
import numpy as np
import fastact

x = np.linspace(-5, 5, 2_000_000, dtype=np.float32)
fastact.set_num_threads(2)
expected = fastact.sigmoid(x)
seconds = []

def compute(_=None):
    began = time.monotonic()
    assert fastact.sigmoid(x).tobytes() == expected.tobytes() and fastact.softmax(x)[-1] > 0
    return time.monotonic() - began

def fork_and_wait():
    began = time.monotonic()
    child = os.fork()
    if child == 0:
        try:
            compute()
            os._exit(0)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    seconds.append(time.monotonic() - began)
"""
FORKS = {
    "os.fork": """
        for _ in range(20):
            fork_and_wait()
            compute()
        """,
    "Pool": """
        with multiprocessing.get_context("fork").Pool(2) as pool:
            seconds = pool.map(compute, range(8))
        """,
    "from a second thread": """
        for _ in range(5):
            thread = threading.Thread(target=fork_and_wait)
            thread.start()
            thread.join()
        """,
    "while another thread computes": """
        done = threading.Event()
        def go_on():
            while not done.is_set():
                compute()
        thread = threading.Thread(target=go_on)
        thread.start()
        for _ in range(20):
            fork_and_wait()
        done.set()
        thread.join()
        """,
    "from a child": """
        for _ in range(5):
            began = time.monotonic()
            child = os.fork()
            if child == 0:
                compute()
                fork_and_wait()
                os._exit(0)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
            seconds.append((time.monotonic() - began) / 2)
        """,
}


@needs_fork
@pytest.mark.parametrize("way", FORKS)
def test_fork(way):
    """Every child computes, and most of them, on a machine that others may use too, within a second."""
    seconds = [float(word) for word in run(PREPARE + textwrap.dedent(FORKS[way]) + "\nprint(*seconds)").split()]
    assert sorted(seconds)[len(seconds) // 2] < 1
    assert max(seconds) < 10


def _sigmoid_of_zero(_):
    return float(fastact.sigmoid(np.zeros(100_000, np.float32))[-1])


@pytest.mark.parametrize("method", sorted(set(multiprocessing.get_all_start_methods()) - {"fork"}))
def test_other_start_methods(method):
    with multiprocessing.get_context(method).Pool(2) as pool:
        assert pool.map_async(_sigmoid_of_zero, range(4)).get(timeout=60) == [0.5] * 4


# ------------------------------------------------------------------------------------------------------ small stacks

EVERY_CALL = """
import threading
import ml_dtypes
import numpy as np
import fastact
from fastact import Elementwise, Gated, RowReduction
from fastact.losses import LOSSES

fastact.set_num_threads(2)
fastact._engine.runtime.set_parallel_nanoseconds(0)

def elementwise(f, x):
    slopes = [np.full(x.shape[-1], default, np.float32) for default in f.parameters.values()]
    for a in x, x[:, ::2], x[::-1], x.T, x[:, :-1]:
        f(a), f.derivative(a), f.value_and_derivative(a), f.backward(a, a), f.ufunc(a, *f.parameters.values())
        if "backward_from_output" in f.ufuncs:
            f.backward(a, output=f(a))
        own = [slope[: a.shape[-1]] for slope in slopes]
        f(a, *own), f.derivative(a, *own), f.value_and_derivative(a, *own), f.backward(a, a, *own)
        for name in f.learnt:
            f.backward_parameter(a, a, name=name), f.backward_parameter(a, a, *own, name=name)

def gated(f, x):
    parameters = {name: np.full(x.shape[-1] // 2, 2, np.float32) for name in f.parameters}
    for a in x, x[:, ::2], x[::-1], x.T:
        for layout in "halves", "interleaved":
            f.backward(f(a, layout=layout), a, layout=layout)
            f.backward(f(a, axis=0, layout=layout), a, axis=0, layout=layout)
        f.backward(a, a, a[::-1]), f(a, a[::-1])
    f.backward(f(x, **parameters), x, **parameters)

def rows(f, x):
    for a in x, x.reshape(-1, 20), x.reshape(1, -1), x.reshape(20, -1), x.T, x[:, ::2]:
        for axis in 0, 1, None:
            y = f(a, axis=axis)
            f(a, axis=axis, where=a > 0), f(a, axis=axis, scale=2.0) if f.parameters else None
            f.backward(y, a, axis=axis)
            if not isinstance(f, RowReduction):
                f.backward(a, output=y, axis=axis)
    if not isinstance(f, RowReduction):
        f.jacobian(x[:, :30])

def losses(x):
    for a in x, x.reshape(-1, 20), x.reshape(2, -1):
        for loss in LOSSES.values():
            function = getattr(fastact, loss.name)
            function(a, a), function(a, np.zeros(len(a), int)) if loss.labels is not None else None
        labels = np.zeros(len(a), int)
        for options in {"label_smoothing": 0.1}, {"scale": 2.0, "z_loss": 0.1}, {"gradient": False}:
            fastact.softmax_cross_entropy(a, labels, **options), fastact.softmax_cross_entropy(a, a, **options)
        fastact.softmax_cross_entropy.gradient_and_hessian(a, labels)
        fastact.softmax_entropy(a), fastact.softmax_kl(a, a[::-1])
        fastact.sigmoid_cross_entropy(a, a), fastact.sigmoid_cross_entropy(a, a, sample_weight=a)
        fastact.sigmoid_cross_entropy.gradient_and_hessian(a, a), fastact.sigmoid_focal(a, a, sample_weight=a)

def work():
    for dtype in np.float32, np.float64, np.float16, ml_dtypes.bfloat16, np.int8:
        # a row with one large entry too: confident ones take a path of their own
        x = (np.random.default_rng(0).standard_normal((60, 300)) * 3).astype(dtype)
        x[::3, 7] = 100
        for f in fastact.activations.values():
            with np.errstate(all="ignore"):
                (elementwise if isinstance(f, Elementwise) else gated if isinstance(f, Gated) else rows)(f, x)
        losses(x)
        for axis in (0, 1):
            fastact.sample(np.tile(x, (6, 6)), np.random.default_rng(0), axis, temperature=2, top_k=1000, top_p=0.99)
    done.append(True)

done = []
threading.stack_size(65536)
thread = threading.Thread(target=work)
thread.start()
thread.join()
print(done)
"""


@pytest.fixture(scope="module")
def results_on_small_stacks():
    """Of processes with each instruction set, which compute beside each other."""
    with ThreadPoolExecutor() as pool:
        yield {isa: pool.submit(run, EVERY_CALL, OMP_STACKSIZE="64k", FASTACT_ISA=isa, timeout=300)
               for isa in _isa.SUPPORTED}


@pytest.mark.parametrize("isa", _isa.SUPPORTED)
def test_stacks_of_64_kibibytes(isa, results_on_small_stacks):
    """Of the calling thread and of OpenMP's own, in every kind of call."""
    assert results_on_small_stacks[isa].result() == "[True]"


# ---------------------------------------------------------------------------------------------------- many callers

def test_many_callers():
    """Sixteen threads on the same input, while the number of threads changes under them."""
    x = np.random.default_rng(0).standard_normal(60_000).astype(np.float32)
    expected = {f: f(x).tobytes() for f in FUNCTIONS}
    before = fastact.get_num_threads()

    def caller(seed):
        order = np.random.default_rng(seed).permutation(len(FUNCTIONS))
        for k in range(15):
            fastact.set_num_threads(1 + (seed + k) % 3)
            for i in order:
                assert FUNCTIONS[i](x).tobytes() == expected[FUNCTIONS[i]]
        return True

    try:
        with ThreadPoolExecutor(16) as pool:
            assert all(pool.map(caller, range(16)))
    finally:
        fastact.set_num_threads(before)


@needs_openmp
def test_a_long_call_lets_other_threads_run():
    """The kernels run without the interpreter lock."""
    x, ticks, done = np.zeros(30_000_000), [], threading.Event()

    def tick():
        while not done.wait(0.001):
            ticks.append(1)

    other = threading.Thread(target=tick)
    other.start()
    with fastact.threads(1):
        fastact.softplus(x, out=x)
    during = len(ticks)
    done.set()
    other.join()
    assert during > 2


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no timers on this system")
@pytest.mark.parametrize("call", [
    lambda x: fastact.gelu(x, out=x),
    lambda x: fastact.softmax(x.reshape(-1, 1024), out=x.reshape(-1, 1024)),
    lambda x: fastact.softmax(x.reshape(256, 1024, -1), axis=1, out=x.reshape(256, 1024, -1)),
])
def test_a_signal_ends_a_long_call(call):
    """Between pieces of 2^25 elements; what comes after them is not written."""
    def ring(number, frame):
        raise TimeoutError("the bell")

    def interrupted():
        signal.setitimer(signal.ITIMER_REAL, 0.002)
        call(x)

    call(np.ones(2**18, np.float32))        # NumPy imports modules of its own when they are first asked for
    x = np.ones(2**26, np.float32)
    before = signal.signal(signal.SIGALRM, ring)
    try:
        for _ in range(5):
            with fastact.threads(1), pytest.raises(TimeoutError, match="the bell"):
                interrupted()
            if x[0] != 1:           # else it rang before the call had begun
                break
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert x[0] != 1
    assert x[-1] == 1


def test_long_calls_have_the_results_of_short_ones():
    x = np.tile(np.linspace(-5, 5, 2**19, dtype=np.float16), 2**7 + 1)[: 2**26 + 1000 * 1024]
    y = fastact.tanh(x)
    assert (y.reshape(-1, 1024) == np.stack([fastact.tanh(row) for row in x.reshape(-1, 1024)])).all()
    rows = x.reshape(-1, 1024)
    y, sums = fastact.softmax(rows), fastact.logsumexp(rows)
    loss, gradient = fastact.softmax_cross_entropy(rows, np.arange(len(rows)) % 1024, reduction="none")
    for start in range(0, len(rows), 30_000):
        part = slice(start, start + 30_000)
        assert (y[part] == fastact.softmax(rows[part])).all()
        assert (sums[part] == fastact.logsumexp(rows[part])).all()
        one = fastact.softmax_cross_entropy(rows[part], np.arange(len(rows))[part] % 1024, reduction="none")
        assert (loss[part] == one[0]).all()
        assert (gradient[part] == one[1]).all()
