"""In other people's processes: servers that fork, pools of processes and threads, other OpenMP runtimes.

Each case runs in a process of its own, with a time limit: what is looked for is a hang as much as a wrong result.
"""

import importlib.metadata
import importlib.util
import os
import shutil
import subprocess
import sys
import sysconfig
import textwrap
from pathlib import Path

import processes
import pytest

from fastact._engine import runtime

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
needs_openmp = pytest.mark.skipif(not runtime.OPENMP, reason="built without OpenMP")
# The last one is set by scikit-learn at import, in the process of the tests too.
VARIABLES = "FASTACT_NUM_THREADS", "OMP_NUM_THREADS", "KMP_INIT_AT_FORK"

PREPARE = """
import os, time
import numpy as np
import fastact

x = np.linspace(-5, 5, 1_000_000, dtype=np.float32)
with fastact.threads(1):
    expected = [fastact.gelu(x).tobytes(), fastact.softmax(x.reshape(-1, 1000)).tobytes()]

def right(_=None):
    return [fastact.gelu(x).tobytes(), fastact.softmax(x.reshape(-1, 1000)).tobytes()] == expected
"""


def run(code, before="", **variables):
    code = before + PREPARE + textwrap.dedent(code)
    return processes.run(code, timeout=120, without=VARIABLES, **variables).split()


def needs(package):
    return pytest.mark.skipif(importlib.util.find_spec(package) is None, reason=f"{package} is not installed")


# -------------------------------------------------------------------------------------------------- servers and pools

@needs_fork
def test_a_server_that_forks_after_it_has_loaded_its_model():
    """Four workers of one parent, which goes on computing, answer 20 requests each, and one that dies is replaced."""
    assert run("""
        import signal, socket
        assert right()
        listening = socket.create_server(("127.0.0.1", 0))

        def work():
            while True:
                connection, _ = listening.accept()
                with connection:
                    number = np.float32(connection.recv(100).decode())
                    y = fastact.sigmoid(np.full(300_000, number))
                    assert (y == y[0]).all()
                    connection.sendall(str(float(y[-1])).encode())

        def worker():
            child = os.fork()
            if child == 0:
                work()
            return child

        def ask(number):
            with socket.create_connection(listening.getsockname(), timeout=20) as connection:
                connection.sendall(str(number).encode())
                return float(connection.recv(100).decode())

        workers = [worker() for _ in range(4)]
        for request in range(80):
            assert right()
            if request == 40:
                os.kill(workers[0], signal.SIGKILL)
                os.waitpid(workers[0], 0)
                workers[0] = worker()
            assert ask(request / 10) == float(fastact.sigmoid(np.float32(request / 10)))
        for child in workers:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
        print(right())
    """) == ["True"]


@needs_fork
@needs("gunicorn")
def test_gunicorn_with_preload(tmp_path):
    (tmp_path / "application.py").write_text(PREPARE + textwrap.dedent("""
        assert right()

        def application(environment, start_response):
            start_response("200 OK", [("Content-Type", "text/plain")])
            return [f"{right()} {os.getpid()}".encode()]
    """))
    assert run(f"""
        import socket, subprocess, sys, urllib.error, urllib.request
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        server = subprocess.Popen(
            [sys.executable, "-m", "gunicorn", "--preload", "--workers", "3", "--bind", f"127.0.0.1:{{port}}",
             "--no-control-socket", "application:application"], cwd={str(tmp_path)!r}, stderr=subprocess.DEVNULL)
        try:
            answers = []
            for _ in range(600):
                try:
                    with urllib.request.urlopen(f"http://127.0.0.1:{{port}}/", timeout=20) as answer:
                        answers.append(answer.read().decode())
                except urllib.error.URLError:
                    time.sleep(0.05)
                if len(answers) == 60:
                    break
        finally:
            server.terminate()
            server.wait(20)
        assert all(answer.startswith("True ") for answer in answers), answers
        print(len(answers), len(set(answers)) > 1)
    """) == ["60", "True"]


@needs("joblib")
@pytest.mark.parametrize("backend", ["loky", "threading", "multiprocessing"])
def test_joblib(backend):
    assert run(f"""
        import joblib
        assert right()

        def task(f, shift):
            return fastact.get_num_threads(), f(x + shift)

        for _ in range(2):
            tasks = [(f, shift) for f in (fastact.silu, fastact.softplus) for shift in range(8)]
            found = joblib.Parallel(n_jobs=4, backend={backend!r})(joblib.delayed(task)(f, k) for f, k in tasks)
            for (threads, y), (f, k) in zip(found, tasks):
                assert y.tobytes() == f(x + k).tobytes()
                if {backend!r} == "loky":
                    assert threads <= max(1, joblib.cpu_count() // 4), threads
        print(right())
    """) == ["True"]


@needs("dask")
@pytest.mark.parametrize("scheduler", ["threads", "processes"])
def test_dask(scheduler):
    assert run(f"""
        import dask, dask.array

        if __name__ == "__main__":
            with dask.config.set({{"multiprocessing.context": "fork"}}):
                lazy = fastact.gelu(dask.array.from_array(x, chunks=100_000))
                assert isinstance(lazy, dask.array.Array)
                y = lazy.compute(scheduler={scheduler!r}, num_workers=4)
                rows = dask.array.from_array(x.reshape(-1, 1000), chunks=(100, 1000))
                p = rows.map_blocks(fastact.softmax).compute(scheduler={scheduler!r}, num_workers=4)
            assert [y.tobytes(), p.tobytes()] == expected
            print(right())
    """) == ["True"]


# ---------------------------------------------------------------------------------------------- other OpenMP runtimes

HELPER = r"""
#include <omp.h>
int inside(int (*callback)(void), int threads)
{
    int sum = 0;
#pragma omp parallel num_threads(threads) reduction(+ : sum)
    sum += callback();
    return sum;
}
"""
NESTED = """
import ctypes
helper = ctypes.CDLL({library!r})
assert right()
callback = ctypes.CFUNCTYPE(ctypes.c_int)(lambda: int(right()))
for _ in range(10):
    assert helper.inside(callback, 4) == 4
    assert right()
if hasattr(os, "fork"):
    child = os.fork()
    if child == 0:
        os._exit(0 if right() else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
"""
RUNTIMES = """
with open("/proc/self/maps") as maps:
    print(*sorted({line.split("/")[-1].strip().split(".so")[0] for line in maps if "omp" in line.split("/")[-1]}))
"""


def llvm_runtime():
    """The OpenMP runtime of LLVM or Intel: of the package intel-openmp, or of the system."""
    try:
        files = importlib.metadata.files("intel-openmp") or []
    except importlib.metadata.PackageNotFoundError:
        files = []
    found = [Path(str(file.locate())).resolve() for file in files if file.name == "libiomp5.so"]
    found += [path for path in sorted(Path("/usr/lib").glob("*/libomp*.so.5")) if path.exists()]
    return found[0] if found else None


def helper(folder, *runtime):
    compiler = os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc"
    if shutil.which(compiler.split()[0]) is None:
        pytest.skip("no C compiler")
    source, objects, library = folder / "helper.c", folder / "helper.o", folder / "helper.so"
    source.write_text(HELPER)
    subprocess.run([*compiler.split(), "-fopenmp", "-fPIC", "-c", source, "-o", objects], check=True)
    subprocess.run([*compiler.split(), "-shared", objects, "-o", library, *(runtime or ["-fopenmp"])], check=True)
    return str(library)


needs_linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks into /proc")


@needs_linux
@needs_openmp
def test_inside_a_parallel_region_of_another_library(tmp_path):
    """Its four threads call fastact, which is then one of several regions that are active."""
    assert "libgomp" in run(NESTED.format(library=helper(tmp_path)) + RUNTIMES)


@needs_linux
@needs_openmp
def test_beside_the_runtime_of_llvm(tmp_path):
    runtime = llvm_runtime()
    if runtime is None:
        pytest.skip("no OpenMP runtime of LLVM: neither the package intel-openmp nor a libomp")
    library = helper(tmp_path, str(runtime), f"-Wl,-rpath,{runtime.parent}")
    found = run(NESTED.format(library=library) + RUNTIMES)
    assert {*run("assert right()" + RUNTIMES), runtime.name.split(".so")[0]} <= set(found), found


@needs_linux
@needs_openmp
@pytest.mark.parametrize("care", ["TRUE", "FALSE"])
def test_on_the_runtime_of_llvm(care):
    """In the place of libgomp, whose interface it has too; where it may not look after forks, children are serial."""
    runtime = llvm_runtime()
    if runtime is None:
        pytest.skip("no OpenMP runtime of LLVM: neither the package intel-openmp nor a libomp")
    code = """
        from fastact import _threads
        for n in (1, 2, 3, 2):
            with fastact.threads(n):
                assert right()
        for _ in range(5):
            child = os.fork()
            if child == 0:
                serial = fastact.get_num_threads() == 1 and "KMP_INIT_AT_FORK" in _threads.explain()[1]
                os._exit(0 if right() and serial == (os.environ["KMP_INIT_AT_FORK"] == "FALSE") else 1)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        print(right())
    """
    assert run(code, LD_PRELOAD=str(runtime), KMP_INIT_AT_FORK=care) == ["True"]


@needs("sklearn")
@needs_fork
def test_beside_the_openmp_of_scikit_learn():
    """Its wheel has a libgomp of its own: two pools of threads in one process, and forks."""
    assert run("""
        from sklearn.ensemble import HistGradientBoostingRegressor
        data = np.random.default_rng(0).standard_normal((3000, 4))
        def fit():
            return HistGradientBoostingRegressor(max_iter=3).fit(data, data[:, 0]).predict(data[:5]).tobytes()
        first = fit()
        for _ in range(3):
            assert right()
            assert fit() == first
            child = os.fork()
            if child == 0:
                os._exit(0 if right() else 1)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        print(right())
    """) == ["True"]


@needs("torch")
@needs_fork
@pytest.mark.parametrize("first", ["import torch", "import fastact"])
def test_beside_torch(first):
    code = """
        import torch
        def both():
            y = torch.nn.functional.silu(torch.from_numpy(x)).numpy()
            return right() and np.allclose(y, fastact.silu(x), rtol=1e-5, atol=1e-30)
        for _ in range(10):
            assert both()
        for _ in range(3):
            child = os.fork()
            if child == 0:
                os._exit(0 if right() else 1)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        torch.set_num_threads(1)
        threads = fastact.get_num_threads()
        assert both()
        fastact.set_num_threads(3)
        assert torch.get_num_threads() == 1
        print(both())
    """
    assert run(code, before=f"{first}\n") == ["True"]
