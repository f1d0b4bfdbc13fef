"""For an installed wheel, with NumPy alone (see noxfile.py): values, threads, forks, imports, what is vendored."""

import importlib.metadata
import importlib.util
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np

import fastact
from fastact import Elementwise, Gated, _isa, reference
from fastact._engine import runtime

LARGE = np.linspace(-5, 5, 1_000_000, dtype=np.float32)
IMPORT = """
import sys, time, numpy
before, start = set(sys.modules), time.perf_counter()
import fastact
seconds = time.perf_counter() - start
print(seconds, *sorted({name.partition(".")[0] for name in set(sys.modules) - before} - sys.stdlib_module_names))
"""


def printed(*arguments, status=0, **variables):
    """What this interpreter prints with these arguments."""
    result = subprocess.run([sys.executable, *arguments], env=os.environ | variables, text=True, timeout=300,
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert result.returncode == status, result.stdout
    return result.stdout.strip()


def installed():
    assert "site-packages" in Path(fastact.__file__).parts, fastact.__file__
    assert importlib.metadata.version("fastact") == fastact.__version__
    return f"fastact {fastact.__version__} with NumPy {np.__version__}, instruction sets {', '.join(_isa.BUILT)}"


def values():
    """Every activation, and its derivative, or gradients of rows, against the definition in float64."""
    for dtype in (np.float32, np.float64):
        x = np.linspace(-9, 9, 1200).astype(dtype)
        for name, f in fastact.activations.items():
            parameters = f.parameters.values()
            if isinstance(f, Elementwise):
                pairs = [(f(x), "value", (x,)), (f.derivative(x), "derivative", (x,))]
            elif isinstance(f, Gated):
                pairs = [(f(x, x[::-1]), "value", (x, x[::-1]))]
            else:
                parameters, rows = (), x.reshape(-1, 60)
                pairs = [(f(rows), "value", (rows,))]
            for found, mode, arguments in pairs:
                exact = reference.evaluate(name, mode, *arguments, *parameters)
                bound = 8 * np.finfo(dtype).eps
                np.testing.assert_allclose(found, exact, rtol=bound, atol=bound, err_msg=f"{name}, {mode}")
    return f"{len(fastact.activations)} activations are right with {_isa.CHOSEN}"


def sets():
    """The same with every instruction set that this processor runs."""
    return "; ".join(printed(__file__, "values", FASTACT_ISA=isa) for isa in _isa.SUPPORTED)


def right():
    return fastact.gelu(LARGE).tobytes()


def threads():
    """The same bits for any number of threads, and in children that are forked while other threads compute."""
    with fastact.threads(1):
        expected = right()
    for count in (2, 3):
        with fastact.threads(count):
            assert right() == expected
    fastact.set_num_threads(2)
    done, wrong = threading.Event(), []

    def compute():
        while not done.is_set():
            if right() != expected:
                wrong.append(1)

    busy = [threading.Thread(target=compute) for _ in range(2)]
    for thread in busy:
        thread.start()
    children = 10 if hasattr(os, "fork") else 0
    for _ in range(children):
        child = os.fork()
        if child == 0:
            os._exit(0 if right() == expected else 1)
        deadline = time.monotonic() + 60
        while not (ended := os.waitpid(child, os.WNOHANG))[0]:
            assert time.monotonic() < deadline, "a child hangs"
            time.sleep(0.001)
        assert ended[1] == 0
    done.set()
    for thread in busy:
        thread.join()
    assert not wrong
    return f"the same bits with 1, 2 and 3 threads (OpenMP: {runtime.OPENMP}), and in {children} forked children"


def imports():
    """NumPy is all that the import needs."""
    seconds, *modules = zip(*(printed("-W", "error", "-c", IMPORT).split() for _ in range(7)), strict=True)
    others = {name for (name, *_) in modules if not name.startswith(("_cython_", "cython_runtime"))}
    assert others - {"numpy"} == {"fastact"}, others
    return f"import fastact takes {1e3 * min(map(float, seconds)):.0f} ms after NumPy"


def vendored():
    """The one OpenMP of the process is that of the wheel, whose license and origin are beside it."""
    if sys.platform != "linux" or not runtime.OPENMP:
        return "nothing is vendored"
    loaded = {line.split()[-1] for line in Path("/proc/self/maps").read_text().splitlines() if "libgomp" in line}
    (library,) = map(Path, loaded)
    assert library.parent.name == "fastact.libs", library
    files = {path.name: path for path in importlib.metadata.files("fastact")}
    assert "GCC RUNTIME LIBRARY EXCEPTION" in files["libgomp.txt"].read_text()
    assert "libgomp" in files["auditwheel.cdx.json"].read_text()
    return f"{library.name} is vendored, with its license and an SBOM"


def commands():
    assert f"fastact {fastact.__version__}" in " ".join(printed("-m", "fastact", "info").split())
    if importlib.util.find_spec("rich") is None:
        assert "pip install 'fastact[demo]'" in printed("-m", "fastact", "bench", status=1)
    return "fastact info runs"


if __name__ == "__main__":
    here = [installed, values] if sys.platform == "emscripten" else [
        installed, sets, threads, imports, vendored, commands]
    for check in [globals()[name] for name in sys.argv[1:]] or here:
        print(check(), flush=True)
