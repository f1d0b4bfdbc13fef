"""The C interface: by ctypes, without the GIL, and by a Cython package that cimports capi.pxd and nothing else."""

import ctypes
import math
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import kernels
import ml_dtypes
import numpy as np
import processes
import pytest
from common import ELEMENTWISE, FUNCTIONS, GATED, REDUCTIONS, ROWWISE, SOURCES, WIDE, each, in_turn, normal, same

import fastact
from fastact import capi

CODES = {np.dtype(np.float16): 0, np.dtype(np.float32): 1, np.dtype(np.float64): 2, np.dtype(ml_dtypes.bfloat16): 3}
DONE, WRONG_OPERATION, WRONG_SIZE, WRONG_PARAMETER = range(4)
SIZES = 0, 1, 15, 16, 17, 1000
ADDRESS, SIZE = ctypes.c_void_p, ctypes.c_ssize_t


class Api(ctypes.Structure):
    """fastact_api of capi.pxd. CFUNCTYPE releases the GIL for a call."""

    _fields_ = [("version", ctypes.c_int),
                ("operation", ctypes.PYFUNCTYPE(ADDRESS, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_int)),
                ("run", ctypes.CFUNCTYPE(ctypes.c_int, ADDRESS, ADDRESS, SIZE, ADDRESS)),
                ("rows", ctypes.CFUNCTYPE(ctypes.c_int, ADDRESS, ADDRESS, SIZE, SIZE, SIZE, ADDRESS))]


def pointer_in(capsule, name):
    get = ctypes.pythonapi.PyCapsule_GetPointer
    get.restype, get.argtypes = ADDRESS, (ctypes.py_object, ctypes.c_char_p)
    return get(capsule, name)


API = Api.from_address(pointer_in(capi._C_API, b"fastact.capi._C_API"))


def operation(name, mode, dtype):
    return API.operation(name.encode(), mode.encode(), CODES[np.dtype(dtype)])


def addresses(arrays):
    return (ADDRESS * len(arrays))(*(array.ctypes.data for array in arrays))


def numbers(parameters):
    return None if parameters is None else (ctypes.c_double * len(parameters))(*parameters)


def run(name, mode, arrays, parameters=None):
    return API.run(operation(name, mode, arrays[0].dtype), addresses(arrays), arrays[0].size, numbers(parameters))


def rows(name, mode, arrays, shape, dtype, parameters=None):
    return API.rows(operation(name, mode, dtype), addresses(arrays), *shape, numbers(parameters))


def others(f):
    """Accepted parameters that are not the defaults."""
    domains = getattr(f, "parameter_domain", {})
    return [default + (0.25 if default + 0.25 <= domains.get(name, (0, np.inf))[1] else -0.25)
            for name, default in f.parameters.items()]


def inputs_of(f, mode, n, dtype):
    """As many arrays as the mode has inputs. As an output of the function, numbers from 0 to 1 suit all."""
    count = f.ufuncs[mode].nin - len(f.parameters)
    arrays = [normal(n, dtype, seed=seed) for seed in range(count)]
    if mode == "backward_from_output" or f.name == "logit":
        arrays[-1] = np.random.default_rng(3).uniform(0.01, 0.99, n).astype(dtype)
    return arrays


def expected(f, mode, arrays, parameters):
    parameters = f.parameters.values() if parameters is None else parameters
    narrow = arrays[0].dtype != np.float64
    given = [np.float32(number) if narrow else number for number in parameters]
    result = f.ufuncs[mode](*arrays, *given)
    return result if isinstance(result, tuple) else (result,)


def check_elementwise(f, mode, n, dtype, parameters=None):
    arrays = inputs_of(f, mode, n, dtype)
    wanted = expected(f, mode, arrays, parameters)
    outputs = [np.empty_like(one) for one in wanted]
    assert all(one.dtype == dtype for one in wanted)
    assert run(f.name, mode, [*arrays, *outputs], parameters) == DONE
    for output, one in zip(outputs, wanted, strict=True):
        same(output, one, f"{f.name}.{mode}, {n} of {dtype}")


@each("f", ELEMENTWISE + GATED)
@in_turn("dtype", CODES)
def test_elementwise(f, dtype):
    for mode in capi.modes(f.name):
        for n in SIZES:
            check_elementwise(f, mode, n, dtype)
        if f.parameters:
            check_elementwise(f, mode, 17, dtype, others(f))


@in_turn("f, threads", [(f, threads) for f in (fastact.softplus, fastact.swiglu) for threads in (1, 2)])
def test_large_arrays(f, threads):
    with fastact.threads(threads):
        check_elementwise(f, "value", 300001, np.float32)
        check_elementwise(f, "backward", 300001, np.float32)


def rows_wanted(f, mode, arrays, keywords):
    if mode == "value":
        return f(arrays[0], axis=1, **keywords)
    if f in REDUCTIONS:
        return f.backward(arrays[0].astype(arrays[1].dtype), arrays[1], axis=1, **keywords)
    return f.backward(arrays[0], output=arrays[1], axis=1, **keywords)


SHAPES = [(3, n, 1) for n in SIZES] + [(0, 5, 1), (2, 17, 5), (33, 3, 1), (1, 5, 300), (2, 10000, 1)]


@each("f", ROWWISE + REDUCTIONS)
@in_turn("dtype", CODES)
def test_rows(f, dtype):
    reduces = f in REDUCTIONS
    for shape in SHAPES:
        x = normal(shape, dtype)
        for mode in capi.modes(f.name):
            for keywords in [{}] + [dict(zip(f.parameters, others(f), strict=True))] * bool(f.parameters):
                arrays = [x]
                if mode == "backward" and reduces:     # of each row, in double
                    arrays = [normal((shape[0], shape[2]), dtype, seed=1).astype(np.float64), x]
                elif mode == "backward":
                    arrays = [normal(shape, dtype, seed=1), np.asarray(f(x, axis=1, **keywords))]
                wanted = rows_wanted(f, mode, arrays, keywords)
                out = np.empty((shape[0], shape[2])) if reduces and mode == "value" else np.empty(shape, dtype)
                parameters = list(keywords.values()) or None
                assert rows(f.name, mode, [*arrays, out], shape, dtype, parameters) == DONE
                with np.errstate(all="ignore"):
                    same(out.astype(dtype), wanted, f"{f.name}.{mode} of {shape}, {dtype}, {keywords}")


@in_turn("alpha", (1.0, 1.25, 1.5, 2.0, 3.0))
def test_alpha_chooses_the_operation(alpha):
    x, out = normal((4, 50)), np.empty((4, 50))
    assert rows("entmax", "value", [x, out], (4, 50, 1), x.dtype, [alpha, 1.0, 1.0]) == DONE
    same(out, fastact.entmax(x, alpha=alpha))


@in_turn("threads", (1, 2))
def test_large_rows(threads):
    with fastact.threads(threads):
        for shape in (300, 1001, 1), (1, 300001, 1):
            x, out = normal(shape, np.float32), np.empty(shape, np.float32)
            assert rows("softmax", "value", [x, out], shape, np.float32) == DONE
            same(out, fastact.softmax(x, axis=1))


def test_in_place():
    x = normal(1000, np.float32)
    wanted = fastact.gelu(x)
    assert run("gelu", "value", [x, x]) == DONE
    same(x, wanted)
    x = x.reshape(10, 100)
    wanted = fastact.softmax(x)
    assert rows("softmax", "value", [x, x], (10, 100, 1), np.float32) == DONE
    same(x, wanted)


def test_two_threads_at_once():
    x = normal(100_000, np.float32)

    def work(_):
        y = np.empty_like(x)
        for _ in range(20):
            assert run("gelu", "value", [x, y]) == DONE
        return y

    with ThreadPoolExecutor(2) as pool:
        for y in pool.map(work, range(4)):
            same(y, fastact.gelu(x))


def test_a_refused_call_has_written_nothing():
    x, out = np.ones(20), np.full(20, 7.0)
    of_rows, of_numbers = operation("softmax", "value", x.dtype), operation("elu", "value", x.dtype)
    operands = addresses([x, out])
    assert API.run(None, operands, 20, None) == API.run(of_rows, operands, 20, None) == WRONG_OPERATION
    assert API.rows(None, operands, 1, 20, 1, None) == API.rows(of_numbers, operands, 1, 20, 1, None) == WRONG_OPERATION
    assert API.run(of_numbers, operands, -1, None) == API.rows(of_rows, operands, 1, -20, 1, None) == WRONG_SIZE
    for given in (0.0, 1.0), (1.0, -1.0), (1.0, np.nan), (np.inf, 1.0), (1e30, 1e-30):
        assert API.rows(of_rows, operands, 1, 20, 1, numbers(given)) == WRONG_PARAMETER, given
    for given in (0.5, 1.0, 1.0), (np.nan, 1.0, 1.0), (1e31, 1.0, 1.0):
        assert rows("entmax", "value", [x, out], (1, 20, 1), x.dtype, given) == WRONG_PARAMETER, given
    assert (out == 7).all()


@each("f", [f for f in ELEMENTWISE + GATED if f.parameters])
def test_domains_are_those_of_the_calls(f):
    """Each end, what is beyond it, and what is excluded: a status where the call on an array raises ValueError."""
    defaults = dict(f.parameters)
    for k, (name, (low, high, *excluded)) in enumerate(f.parameter_domain.items()):
        beyond = math.nextafter(low, -math.inf), math.nextafter(high, math.inf)
        for number in [low, high, *beyond, *excluded, 1e300, math.nan]:
            for dtype in WIDE:
                arrays = [np.full(3, 0.5, dtype) for _ in range(f.ufunc.nin - len(defaults))]
                out = np.full(3, 7, dtype)
                parameters = list(defaults.values())
                parameters[k] = float(number)
                try:
                    with np.errstate(all="ignore"):
                        wanted, status = f(*arrays, **{name: float(number)}), DONE
                except ValueError:
                    wanted, status = out.copy(), WRONG_PARAMETER
                assert run(f.name, "value", [*arrays, out], parameters) == status, (name, number, dtype)
                same(out, wanted, f"{name}={number}")


def test_errors_of_a_name():
    with pytest.raises(ValueError, match=r"fastact\.capi: name is 'geluu'; accepted are identity, "):
        API.operation(b"geluu", b"value", 1)
    with pytest.raises(ValueError, match=r"mode is 'values'; accepted for gelu are value, derivative, "):
        API.operation(b"gelu", b"values", 1)
    with pytest.raises(ValueError, match=r"dtype is 4; accepted are 0 \(float16\), 1 \(float32\)"):
        API.operation(b"gelu", b"value", 4)
    assert API.version == 1
    assert API.operation(b"gelu", b"value", 1) == API.operation(b"gelu", b"value", 1) == capi.operation(
        "gelu", "value", 1)


def test_every_function_has_operations():
    for f in FUNCTIONS:
        assert {"value", "backward"} <= set(capi.modes(f.name)), f.name


FORMULAS = kernels.read_formulas((SOURCES / "_math" / "formulas.pxd").read_text())
SCALARS = {(one.activation, one.mode): one for one in kernels.scalars(FORMULAS)}


@each("f", ELEMENTWISE)
def test_functions_of_one_number(f):
    for mode in "value", "derivative":
        one = SCALARS[f.name, mode]
        for index, (dtype, number) in enumerate([(np.float32, ctypes.c_float), (np.float64, ctypes.c_double)]):
            capsule = capi.__pyx_capi__[f"__pyx_fuse_{index}{one.name}"]
            get_name = ctypes.pythonapi.PyCapsule_GetName
            get_name.restype, get_name.argtypes = ctypes.c_char_p, (ctypes.py_object,)
            address = pointer_in(capsule, get_name(capsule))
            function = ctypes.CFUNCTYPE(number, *[number] * (1 + len(f.parameters)))(address)
            for x in normal(5, dtype) if f.name != "logit" else np.array([0.1, 0.7], dtype):
                computed = function(float(x), *f.parameters.values())
                wanted = f.ufuncs[mode](np.array([x]), *[dtype(value) for value in f.parameters.values()])
                same(np.array([computed], dtype), wanted, f"{one.name} of {x}, {dtype}")


def compiler():
    """The C compiler, or a skip."""
    command = (os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc").split()
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed")
    return command


OF_C = r"""
#include <dirent.h>
#include <pthread.h>
#include <stddef.h>
TYPEDEF
typedef struct {
    const fastact_api *api; const void *operation; void **operands; ptrdiff_t n; int status, threads;
} work;

static void *start(void *argument)
{
    work *own = argument;
    DIR *folder;
    own->status = own->api->run(own->operation, own->operands, own->n, NULL);
    for (folder = opendir("/proc/self/task"); readdir(folder);)
        own->threads++;
    closedir(folder);
    return NULL;
}

int in_a_thread(const fastact_api *api, void **operands, ptrdiff_t n, int *threads)
{
    pthread_t thread;
    work own = {api, api->operation("gelu", "value", 1), operands, n, -1, -2 /* . and .. */};
    if (!own.operation || pthread_create(&thread, NULL, start, &own) || pthread_join(thread, NULL))
        return -2;
    *threads = own.threads;
    return own.status;
}
"""
FROM_C = """
import ctypes, os
import numpy as np
import fastact
from fastact import capi

get = ctypes.pythonapi.PyCapsule_GetPointer
get.restype, get.argtypes = ctypes.c_void_p, (ctypes.py_object, ctypes.c_char_p)
api = ctypes.c_void_p(get(capi._C_API, b"fastact.capi._C_API"))
library = ctypes.PyDLL({library!r})     # which keeps the GIL: nobody gets it until the thread has ended
x = np.linspace(-5, 5, 3_000_001, dtype=np.float32)
y, threads = np.empty_like(x), ctypes.c_int()
operands = (ctypes.c_void_p * 2)(x.ctypes.data, y.ctypes.data)
before = len(os.listdir("/proc/self/task"))
with fastact.threads(2):
    assert library.in_a_thread(api, operands, ctypes.c_ssize_t(x.size), ctypes.byref(threads)) == 0
assert threads.value == before + 1, (threads, before)
print(y.tobytes() == fastact.gelu(x).tobytes())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the threads of the process are counted in /proc")
def test_a_thread_of_c(tmp_path):
    """With the struct that capi.pxd shows. The thread asks for no GIL, and starts no other one."""
    struct = re.search(r"^#   (typedef struct {$.*?^#   } fastact_api;)$", (SOURCES / "capi.pxd").read_text(),
                       re.MULTILINE | re.DOTALL)[1]
    source, library = tmp_path / "one.c", tmp_path / "one.so"
    source.write_text(OF_C.replace("TYPEDEF", struct.replace("\n#", "\n")))
    subprocess.run([*compiler(), "-shared", "-fPIC", "-pthread", source, "-o", library], check=True)
    assert processes.run(FROM_C.format(library=str(library))) == "True"


SOURCE = """
from fastact.capi cimport (
    FASTACT_FLOAT32, FASTACT_FLOAT64, fastact_operation, fastact_rows, fastact_run, gelu, softplus_derivative)

cdef const void* elementwise = fastact_operation(b"gelu", b"value", FASTACT_FLOAT32)
cdef const void* of_rows = fastact_operation(b"softmax", b"value", FASTACT_FLOAT64)


def run_gelu(float[::1] x, float[::1] y):
    cdef void* operands[2]
    cdef int status
    operands[0], operands[1] = &x[0], &y[0]
    with nogil:
        status = fastact_run(elementwise, operands, x.shape[0], NULL)
    return status


def run_softmax(double[:, ::1] x, double[:, ::1] y, double scale):
    cdef void* operands[2]
    cdef double parameters[2]
    cdef int status
    operands[0], operands[1] = &x[0, 0], &y[0, 0]
    parameters[0], parameters[1] = scale, 1
    with nogil:
        status = fastact_rows(of_rows, operands, x.shape[0], x.shape[1], 1, parameters)
    return status


def run_numbers(double[::1] x, double[::1] y, float one, double beta):
    cdef Py_ssize_t i
    with nogil:
        for i in range(x.shape[0]):
            y[i] = gelu(x[i])
    return gelu(one), softplus_derivative(x[0], beta)


def refuse():
    fastact_operation(b"geluu", b"value", FASTACT_FLOAT32)
"""

PROGRAM = """
import fastact, numpy as np, other

x = np.linspace(-5, 5, 300001, dtype=np.float32)
y = np.empty_like(x)
assert other.run_gelu(x, y) == 0 and y.tobytes() == fastact.gelu(x).tobytes()
z = np.linspace(-5, 5, 3000).reshape(30, 100)
p = np.empty_like(z)
assert other.run_softmax(z, p, 0.5) == 0 and p.tobytes() == fastact.softmax(z, scale=0.5).tobytes()
a, b = z.ravel(), p.ravel()
numbers = other.run_numbers(a, b, 1.5, 2.0)
assert b.tobytes() == fastact.gelu(a).tobytes()
assert numbers == (fastact.gelu(np.float32(1.5)), fastact.softplus.derivative(a[0], 2.0)), numbers
try:
    other.refuse()
except ValueError as error:
    assert "name is 'geluu'" in str(error)
else:
    raise AssertionError("geluu is no function")
print("done")
"""


@pytest.mark.skipif("FASTACT_TEST_SLOW" not in os.environ, reason="takes five seconds: FASTACT_TEST_SLOW=1")
def test_a_cython_package(tmp_path):
    """The package is compiled with the two files that a wheel holds alone."""
    pytest.importorskip("Cython", reason="Cython is not installed: pip install Cython setuptools")
    compiler()
    include = tmp_path / "include" / "fastact"
    include.mkdir(parents=True)
    (include / "__init__.py").touch()
    for name in "capi.pxd", "capi_declarations.pxi":
        shutil.copy(Path(fastact.__file__).parent / name, include)
    (tmp_path / "other.pyx").write_text(SOURCE)
    (tmp_path / "setup.py").write_text(
        "from Cython.Build import cythonize\nfrom setuptools import Extension, setup\n"
        "setup(ext_modules=cythonize([Extension('other', ['other.pyx'], extra_compile_args=['-O0'])],\n"
        "                            include_path=['include'], language_level=3))\n")
    built = subprocess.run([sys.executable, "setup.py", "-q", "build_ext", "--inplace"], cwd=tmp_path,
                           capture_output=True, text=True, timeout=200)
    assert built.returncode == 0, built.stdout + built.stderr
    assert processes.run(f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n" + PROGRAM) == "done"
