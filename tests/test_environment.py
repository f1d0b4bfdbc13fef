"""What a process keeps when it imports and uses fastact: its floating-point environment, its packages, its warnings."""

import ctypes
import ctypes.util
import functools
import importlib.util
import os
import pathlib
import platform
import shutil
import subprocess
import sys

import ml_dtypes
import numpy as np
import pytest
from common import ELEMENTWISE, LOSSES, SOURCES, each

import fastact
from fastact import Elementwise, Gated, RowReduction, _isa, _threads
from fastact._engine import runtime

CONTROL = 0xFFC0  # flush to zero, rounding, masks, denormals are zero; below it are the flags
FLUSH_TO_ZERO, DENORMALS_ARE_ZERO = 0x8000, 0x0040
ROUNDINGS = {"nearest": 0, "down": 0x2000, "up": 0x4000, "to zero": 0x6000}

needs_mxcsr = pytest.mark.skipif(
    platform.machine() != "x86_64" or sys.platform != "linux",
    reason="the control register is read through the fenv_t of x86-64 Linux",
)


class Environment:
    """MXCSR of this thread, which glibc keeps in the last four of the 32 bytes of fenv_t."""

    def __init__(self):
        self.library = ctypes.CDLL(ctypes.util.find_library("m"))
        self.buffer = (ctypes.c_uint32 * 8)()

    def get(self):
        assert self.library.fegetenv(self.buffer) == 0
        return self.buffer[7]

    def set(self, value):
        self.get()
        self.buffer[7] = value
        assert self.library.fesetenv(self.buffer) == 0


@pytest.fixture
def environment():
    environment = Environment()
    before = environment.get()
    yield environment
    environment.set(before)


def calls():
    """Every mode of every function by name, in each layout, on arrays for one thread and for several."""
    found = {}
    for length in (60, 40_000):
        x = np.random.default_rng(length).standard_normal(length).astype(np.float32) * 30
        x[::7] *= np.float32(1e-40)
        for f in fastact.activations.values():
            found[f.name, length, "value"] = lambda f=f, x=x: f(x)
            found[f.name, length, "strided"] = lambda f=f, x=x: f(x[::2])
            if not isinstance(f, RowReduction):
                for packed in (x.astype(np.float16), x.astype(ml_dtypes.bfloat16)):
                    found[f.name, length, packed.dtype.name] = lambda f=f, x=packed: f(x)
            if isinstance(f, Gated):
                found[f.name, length, "two arrays"] = lambda f=f, x=x: f(x, x[::-1])
            if isinstance(f, Elementwise):
                found[f.name, length, "derivative"] = lambda f=f, x=x: f.derivative(x)
                found[f.name, length, "backward"] = lambda f=f, x=x: f.backward(x, x)
            else:
                found[f.name, length, "backward"] = lambda f=f, x=x: f.backward(f(x), x)
        rows = x.reshape(-1, 10)
        for loss in LOSSES:
            found[loss.__name__, length, ""] = lambda loss=loss, rows=rows: loss(rows, abs(rows))[1]
    return found


@pytest.fixture(scope="module", autouse=True)
def _threads_at_once():
    """Any array beyond the plain call's 8,192 elements is worth several threads."""
    before = runtime.set_parallel_nanoseconds(0)
    yield
    runtime.set_parallel_nanoseconds(before)


@pytest.fixture(scope="module")
def expected():
    return {key: np.asarray(call()).tobytes() for key, call in calls().items()}


@needs_mxcsr
@pytest.mark.parametrize("setting", [*ROUNDINGS, "flush to zero"])
def test_results_do_not_depend_on_the_environment_and_leave_it(environment, expected, setting):
    bits = ROUNDINGS.get(setting, FLUSH_TO_ZERO | DENORMALS_ARE_ZERO)
    for key, call in calls().items():
        environment.set(environment.get() & ~CONTROL & ~0x3F | 0x1F80 | bits)
        wanted = environment.get() & CONTROL
        result = call()
        after = environment.get()
        environment.set(0x1F80)
        assert after & CONTROL == wanted, key
        if key[0] in fastact.activations and "backward" not in key:  # there the test's own f(x) and NumPy take part
            if isinstance(fastact.get(key[0]), RowReduction):  # NumPy rounds its sums of float64 to float32
                np.testing.assert_array_max_ulp(result, np.frombuffer(expected[key], np.float32)[0], 1)
            else:
                assert np.asarray(result).tobytes() == expected[key], key


@needs_mxcsr
@each("f", ELEMENTWISE)
def test_no_flag_is_raised(environment, f):
    x = np.array([0, 1e-45, -1e-45, 1, -100, 100, 3e38, np.inf, np.nan] * 4, np.float32)
    out = np.empty_like(x)
    environment.set(0x1F80)
    f(x, out=out)
    inexact = 0x20  # raised by the engine's own bookkeeping, as by any Python code
    assert environment.get() & ~inexact == 0x1F80


IMPORT = """
import sys
import numpy
for name in ("rich", "matplotlib", "sklearn", "scipy", "mpmath", "threadpoolctl", "ml_dtypes", "hypothesis", "pytest"):
    sys.modules[name] = None
before = set(sys.modules)
import fastact
assert fastact.softmax(fastact.tanh(numpy.zeros(4)))[0] == 0.25
new = {name.partition(".")[0] for name in set(sys.modules) - before} - set(sys.stdlib_module_names)
print(*sorted(name for name in new if not name.startswith("_")))
"""


def python(code, *options):
    result = subprocess.run([sys.executable, *options, "-c", code], capture_output=True, text=True, timeout=60)
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


def test_numpy_alone_is_needed():
    assert set(python(IMPORT).split()) <= {"fastact", "numpy", "cython_runtime"}


def test_import_under_every_warning():
    assert python("import fastact, numpy; fastact.relu(numpy.ones(3))", "-W", "error", "-X", "dev") == ""


@needs_mxcsr
def test_import_leaves_the_environment():
    folder = os.path.dirname(__file__)
    code = (f"import sys, numpy; sys.path.insert(0, {folder!r}); import ctypes, ctypes.util\n"
            "library = ctypes.CDLL(ctypes.util.find_library('m')); buffer = (ctypes.c_uint32 * 8)()\n"
            "library.fegetenv(buffer); before = buffer[7]; errors = numpy.geterr()\n"
            "import fastact\n"
            "library.fegetenv(buffer); assert buffer[7] & 0xffc0 == before & 0xffc0\n"
            "assert numpy.geterr() == errors; print(float(numpy.float32(1e-40)) > 0)")
    assert python(code) == "True"


def test_errstate_is_not_touched():
    every = calls().values()
    with np.errstate(all="raise"):
        before = np.geterr()
        for call in every:
            call()
        assert np.geterr() == before


SUBINTERPRETERS = """
import threading
try:
    import _interpreters as interpreters
except ImportError:
    import _xxsubinterpreters as interpreters

REFUSED = '''
try:
    import fastact
except ImportError as error:
    assert "fastact: this is a subinterpreter; accepted is the main interpreter" in str(error), error
else:
    raise AssertionError("imported")
'''

def sub():
    one = interpreters.create()
    assert not interpreters.run_string(one, REFUSED)

def main():
    import numpy as np
    import fastact
    x = np.ones(2**20, np.float32)
    def work():
        with fastact.threads(2):
            fastact.gelu.ufunc(x), fastact.gelu(x), fastact.softmax(x), fastact.softmax(x.astype(np.float16))
        done.append(1)
    done = []
    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(done) == 2
"""


@pytest.mark.parametrize("order", ["sub", "sub main", "main sub", "sub main sub main", "main sub main", "sub sub main"])
def test_subinterpreters(order):
    """Refused in words, in whatever order, and the main interpreter is none the worse for it."""
    if not any(importlib.util.find_spec(name) for name in ("_interpreters", "_xxsubinterpreters")):
        pytest.skip("this Python has no module that makes subinterpreters")
    assert python(SUBINTERPRETERS + "\n".join(f"{name}()" for name in order.split()) + "\nprint('alive')") == "alive"


def copy_package(target, ignore):
    """Copy the package that is imported, with the libraries that a repaired wheel has beside it."""
    package = pathlib.Path(fastact.__file__).parent
    shutil.copytree(package, target / "fastact", ignore=ignore)
    libraries = package.with_name("fastact.libs")
    if libraries.is_dir():
        shutil.copytree(libraries, target / libraries.name)


@pytest.mark.parametrize("missing", ["", " ".join([*_threads.COMPILED, "_kernels.v3", "_kernels.v4"]),
                                     *_threads.COMPILED, "_kernels.v3 _kernels.v4"])
def test_a_checkout_that_was_not_built(tmp_path, missing):
    package = pathlib.Path(fastact.__file__).parent

    def is_missing(folder, name):
        module = pathlib.Path(folder, name.partition(".")[0]).relative_to(package)
        return name.endswith((".so", ".pyd")) and ".".join(module.parts) in missing.split()

    copy_package(tmp_path, lambda folder, names: [
        name for name in names if name.endswith((".c", ".pyc")) or is_missing(folder, name)])
    code = "import fastact, fastact._isa; print(len(fastact._isa.BUILT))"
    result = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, text=True, capture_output=True,
                            env=os.environ | {"PYTHONPATH": str(tmp_path)})
    if not missing or missing.startswith("_kernels.v"):
        assert result.stdout.strip() == ("1" if missing else str(len(_isa.BUILT))), result.stderr
        return
    error = result.stderr.strip().splitlines()[-1]
    assert error.startswith(f"ImportError: fastact: {tmp_path / 'fastact'} holds no compiled ")
    assert error.endswith(f"to build a checkout, run: python -m pip install -e {tmp_path}")
    first = missing.split()[0]
    assert f"compiled {first}" in error


def test_a_damaged_build_says_what_is_wrong_itself(tmp_path):
    copy_package(tmp_path, shutil.ignore_patterns("*.c", "*.pyc"))
    engine, = (one for one in (tmp_path / "fastact" / "_engine").glob("runtime.*") if one.suffix in (".so", ".pyd"))
    engine.unlink()
    engine.write_bytes(b"no library")
    result = subprocess.run([sys.executable, "-c", "import fastact"], cwd=tmp_path, text=True, capture_output=True,
                            env=os.environ | {"PYTHONPATH": str(tmp_path)})
    assert "ImportError" in result.stderr
    assert "was not built" not in result.stderr
    assert "pip install" not in result.stderr


HOSTILE = ["-ffast-math", "-Ofast", "-ffinite-math-only", "-funsafe-math-optimizations -fno-signed-zeros",
           "-fno-signed-zeros -fno-trapping-math -fassociative-math", "-freciprocal-math", "-mfpmath=387"]


@functools.cache
def own_flags(setup, compiler):
    code = "import setup; print(*setup.exact_flags(), *setup.FLAGS)"
    return subprocess.run([sys.executable, "-c", code], cwd=setup.parent, capture_output=True, text=True, check=True,
                          env=os.environ | {"CC": compiler}).stdout.split()


@pytest.mark.parametrize("flags", HOSTILE)
def test_flags_that_change_arithmetic(tmp_path, flags):
    """The header refuses them; behind them, those of setup.py undo them, also for the linker."""
    compiler, setup = shutil.which("gcc"), pathlib.Path(__file__).parents[1] / "setup.py"
    if compiler is None or ("387" in flags and platform.machine() != "x86_64"):
        pytest.skip("gcc is not installed, or does not know the flag")
    source = tmp_path / "one.c"
    source.write_text('#include <stddef.h>\n#include "_math/bits.h"\nint one(void) { return 1; }\n')

    def compiled(*more):
        command = [compiler, f"-I{SOURCES}", "-fPIC", "-shared", *flags.split(), str(source), "-o",
                   str(tmp_path / "one.so"), *more, "-v"]
        return subprocess.run(command, capture_output=True, text=True)

    refused = compiled()
    assert refused.returncode != 0
    assert "#error \"fastact needs" in refused.stderr
    if not setup.exists() or importlib.util.find_spec("Cython") is None:
        return
    undone = compiled(*own_flags(setup, compiler))
    assert undone.returncode == 0, undone.stderr
    assert "crtfastmath" not in undone.stderr
