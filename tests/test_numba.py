"""Inside functions that Numba compiles: the bits of the calls on arrays, in parallel loops too, and typing errors.

To compile a call takes a tenth of a second, and a parallel loop several. One function of each form is compiled, for one
dtype; with FASTACT_TEST_SLOW every function, for both dtypes, with more layouts, and the threading layers.
"""

import importlib.metadata
import os
import re
import sys
import tomllib
from pathlib import Path

import numpy as np
import processes
import pytest

pytest.importorskip("numba", reason="Numba is not installed: pip install numba")

import numba
from common import ELEMENTWISE, FUNCTIONS, GATED, REDUCTIONS, ROWWISE, SOURCES, WIDE, each, in_turn, normal, same
from llvmlite import binding

import fastact
import fastact.numba
from fastact import capi

fastact.numba.init()

SIZES = 0, 1, 15, 16, 17, 1000, 300001
SLOW = "FASTACT_TEST_SLOW" in os.environ


def dtypes_of(f):
    return WIDE if SLOW else (WIDE[FUNCTIONS.index(f) % 2],)


def forms(functions):
    """One function of each form: they differ by their name alone, and by what test_symbols looks at."""
    return functions if SLOW else list({len(f.parameters): f for f in functions}.values())


def test_symbols():
    """What compiled code calls under a name is the operation of that name."""
    for f in FUNCTIONS:
        for mode in capi.modes(f.name):
            for number in 1, 2:
                address = binding.address_of_symbol(fastact.numba.symbol_of(f.name, mode, number))
                assert address == capi.operation(f.name, mode, number), (f.name, mode)


def inputs_of(f, n, dtype, count):
    arrays = [normal(n, dtype, seed=seed) for seed in range(count)]
    if f.name == "logit":
        arrays[-1] = np.random.default_rng(3).uniform(0.01, 0.99, n).astype(dtype)
    return arrays


def all_same(results, wanted, case=""):
    assert len(results) == len(wanted)
    for one, other in zip(results, wanted, strict=True):
        if isinstance(other, tuple):
            all_same(one, other, case)
        else:
            same(one, other, case)


@each("f", forms(ELEMENTWISE))
def test_elementwise(f):
    parameters = {name: default * 0.75 for name, default in f.parameters.items()}
    words = ", ".join(f"{name}={number!r}" for name, number in parameters.items())
    namespace = {"f": f}
    exec(f"def both(dy, x):\n"
         f"    return f(x), f(x, {words}), f.derivative(x), f.value_and_derivative(x), f.backward(dy, x, {words})\n",
         namespace)
    inside = numba.njit(namespace["both"])

    def outside(dy, x):
        return (f(x), f(x, **parameters), f.derivative(x), f.value_and_derivative(x), f.backward(dy, x, **parameters))

    for dtype in dtypes_of(f):
        for n in SIZES:
            dy, x = inputs_of(f, n, dtype, 2)
            all_same(inside(dy, x), outside(dy, x), f"{f.name}, {n} of {dtype}")


@each("f", forms(ELEMENTWISE))
def test_numbers(f):
    inside = numba.njit(lambda dy, x: (f(x), f.backward(dy, x)))
    for dtype in dtypes_of(f):
        dy, x = inputs_of(f, 5, dtype, 2)
        for k in range(5):
            numbers = [dtype(number) for number in inside(dy[k], x[k])]
            all_same(numbers, (f(x[k]), f.backward(dy[k], x[k])), f"{f.name} of a number")


@each("f", forms([f for f in ELEMENTWISE if "backward_from_output" in f.ufuncs and f.keeps == "output"]))
def test_backward_from_output(f):
    inside = numba.njit(lambda dy, y: f.backward(dy, output=y))
    for dtype in dtypes_of(f):
        dy, y = normal(17, dtype), np.random.default_rng(3).uniform(0.01, 0.99, 17).astype(dtype)
        same(inside(dy, y), f.backward(dy, output=y), f.name)


@each("f", forms(GATED))
def test_gated(f):
    inside = numba.njit(lambda dy, a, b: (f(a, b), f.backward(dy, a, b)))
    for dtype in dtypes_of(f):
        for n in SIZES:
            arguments = inputs_of(f, n, dtype, 3)
            all_same(inside(*arguments), (f(*arguments[1:]), f.backward(*arguments)), f"{f.name}, {n} of {dtype}")


@each("f", forms(ROWWISE))
def test_rows(f):
    inside = numba.njit(lambda dy, x, y, axis: (f(x), f(x, axis), f.backward(dy, output=y), f.backward(dy, x, axis)))
    for dtype in dtypes_of(f):
        for shape in (2, 0), (0, 3), (4, 17), (3, 1000), (2, 100_000):
            dy, x = normal(shape, dtype, seed=1), normal(shape, dtype)
            y = f(x)
            wanted = f(x), f(x, 0), f.backward(dy, output=y), f.backward(dy, x, 0)
            all_same(inside(dy, x, y, 0), wanted, f"{f.name} of {shape}, {dtype}")
            all_same(inside(dy, x, y, -2), wanted, f"{f.name} of {shape}, {dtype}")


@each("f", REDUCTIONS)
def test_reductions(f):
    inside = numba.njit(lambda dy, x: (f(x), f(x, scale=0.5), f.backward(dy, x), f.backward(dy, x, scale=0.5)))
    for dtype in dtypes_of(f):
        for shape in (2, 0), (0, 3), (4, 17), (3, 1000), (2, 100_000), *[(2, 3, 4)] * SLOW:
            dy, x = normal(shape[:-1], dtype, seed=1), normal(shape, dtype)
            wanted = f(x), f(x, scale=0.5), f.backward(dy, x), f.backward(dy, x, scale=0.5)
            all_same(inside(dy, x), wanted, f"{f.name} of {shape}, {dtype}")
        x = normal(17, dtype)
        value, _, gradient, _ = inside(1.5, x)
        all_same((dtype(value), gradient), (f(x), f.backward(1.5, x)), f"{f.name} of one row")


def test_parameters_of_rows():
    inside = numba.njit(lambda x: (fastact.softmax(x, scale=0.5), fastact.softmax(x, temperature=3),
                                   fastact.entmax(x, alpha=1.25), fastact.entmax(x, alpha=2.0, scale=2.0)))
    x = normal((3, 50))
    all_same(inside(x), (fastact.softmax(x, scale=0.5), fastact.softmax(x, temperature=3),
                         fastact.entmax(x, alpha=1.25), fastact.entmax(x, alpha=2.0, scale=2.0)))


def test_layouts_and_dtypes():
    inside = numba.njit(lambda x: fastact.softmax(x))
    base = normal((6, 10))
    unaligned = np.frombuffer(b"1" + base.tobytes(), np.uint8)[1:].view(np.float64).reshape(6, 10)
    cases = base.T, unaligned, base[::2], base[:, ::-1], normal((2, 3, 4)), base.astype(np.int8), base > 0
    for x in cases if SLOW else cases[:2]:
        same(inside(x), fastact.softmax(x), f"{x.dtype}, {x.strides}")
    read_only = base.copy()
    read_only.flags.writeable = False
    same(inside(read_only), fastact.softmax(base))
    mixed = numba.njit(lambda dy, x: fastact.tanh.backward(dy, x))
    dy = normal((6, 10), np.float32)
    same(mixed(dy, base), fastact.tanh.backward(dy, base))


def test_out():
    @numba.njit
    def inside(x, y):
        fastact.gelu(x, out=y)
        fastact.softmax(y, out=y)
        return y

    x = normal((4, 50), np.float32)
    y = np.empty_like(x)
    assert inside(x, y) is y
    same(y, fastact.softmax(fastact.gelu(x)))
    inside(x, x)
    same(x, y)
    with pytest.raises(ValueError, match=r"fastact\.gelu: out has another shape"):
        inside(x, np.empty((4, 49), np.float32))
    line = np.zeros(101)
    with pytest.raises(ValueError, match=r"fastact\.gelu: out overlaps an argument"):
        numba.njit(lambda x, y: fastact.gelu(x, out=y))(line[:100], line[1:])


def test_activations_as_arguments_and_with_other_defaults():
    inside = numba.njit(lambda f, x: (f(x), f.derivative(x)))
    x = normal(100)
    for f in fastact.gelu, fastact.leaky_relu, fastact.leaky_relu.with_defaults(negative_slope=0.2):
        all_same(inside(f, x), (f(x), f.derivative(x)), repr(f))
    steep = fastact.get("leaky_relu", convention="keras")
    same(numba.njit(lambda x: steep(x))(x), steep(x))


ERRORS = {
    "array(complex128": lambda x: fastact.gelu(x + 1j),
    "softplus: beta is array": lambda x: fastact.softplus(x, x),
    "gelu.backward: accepted is either x or output; got neither": lambda x: fastact.gelu.backward(x),
    "gelu.backward: output is not accepted": lambda x: fastact.gelu.backward(x, output=x),
    "softmax: x are numbers": lambda x: fastact.softmax(x[0]),
    "softmax: axis is none": lambda x: fastact.softmax(x, None),
    "logsumexp: x is a number": lambda x: fastact.logsumexp(1.0),
    "arrays of one shape, or numbers": lambda x: fastact.gelu.backward(1.0, x),
    "gelu: out is array": lambda x: fastact.gelu(x, out=x.astype(np.float32)),
    "betta": lambda x: fastact.softplus(x, betta=1.0),
}


@in_turn("words", ERRORS)
def test_typing_errors(words):
    with pytest.raises(numba.TypingError) as raised:
        numba.njit(ERRORS[words])(np.zeros(3))
    assert words in str(raised.value).replace("\n", " ")


VALUES = {
    "softplus: a parameter is out of range; accepted are beta from ": lambda x: fastact.softplus(x, beta=0.0),
    "softmax: a parameter is out of range; accepted are a positive scale": lambda x: fastact.softmax(x, scale=-1.0),
    "entmax: a parameter is out of range; accepted are alpha from 1 to 1e+30; a positive scale": lambda x: (
        fastact.entmax(x, alpha=0.5)),
    "axis is out of bounds for an array of 1 dimensions": lambda x: fastact.softmax(x, axis=1),
    "logsumexp: accepted in a compiled function is the last axis": lambda x: fastact.logsumexp(x, axis=-2),
    "tanh.backward: dy and x have different shapes": lambda x: fastact.tanh.backward(x, x[1:]),
    "softmax.backward: dy and output have different shapes": lambda x: fastact.softmax.backward(x, output=x[1:]),
}


@in_turn("words", VALUES)
def test_value_errors(words):
    with pytest.raises(ValueError, match=re.escape(words)):
        numba.njit(VALUES[words])(np.zeros(3))


PROGRAM = """
import os
import numba, numpy as np
import fastact, fastact.numba
fastact.numba.init()

@numba.njit(parallel=True)
def start(x):
    for k in numba.prange(len(x)):
        x[k] += 1

@numba.njit(parallel=True)
def inside(x):
    y, p = np.empty_like(x), np.empty_like(x)
    for k in numba.prange(len(x)):
        y[k] = fastact.gelu(x[k])
        fastact.softmax(x[k], out=p[k])
    return y, p

@numba.njit
def alone(x):
    return fastact.gelu(x), fastact.softmax(x)

def right(function):
    y, p = function(x)
    return y.tobytes() == wanted[0].tobytes() and p.tobytes() == wanted[1].tobytes()

def count():
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("Threads:"))

x = np.random.default_rng(0).standard_normal((8, 200_001))
wanted = fastact.gelu(x), fastact.softmax(x)
inside(x[:, :16]), alone(x[:, :16])
start(np.zeros(8))
with fastact.threads(2):
    fastact.gelu(x)
before = count()
for threads in 2, 1:    # a worker that asks for the open block would wait for the GIL
    with fastact.threads(threads):
        assert all(right(inside) for _ in range(5))
assert count() <= before, (before, count())
for _ in range(3):
    child = os.fork()
    if child == 0:      # of one that has used GNU OpenMP, Numba ends the child that enters a parallel loop
        os._exit(0 if right(alone) and (numba.threading_layer() == "omp" or right(inside)) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert right(inside) and right(alone)
print(numba.threading_layer())
"""


@each("layer", ["omp", "workqueue", "tbb"])
@pytest.mark.skipif(not SLOW, reason="takes 15 seconds: FASTACT_TEST_SLOW=1")
@pytest.mark.skipif(sys.platform != "linux", reason="the threads of the process are counted in /proc")
def test_parallel_loops(layer):
    """The same bits, no deadlock, no thread is started from a worker, and a fork of either side computes."""
    try:
        assert processes.run(PROGRAM, NUMBA_THREADING_LAYER=layer, NUMBA_NUM_THREADS="2", FASTACT_NUM_THREADS="2",
                             timeout=120) == layer
    except AssertionError as error:
        if "No threading layer could be loaded" in str(error):
            pytest.skip(f"Numba has no layer {layer} here")
        raise


CACHED = """
import numba, numpy as np
import fastact, fastact.numba
fastact.numba.init()

@numba.njit(cache=True)
def inside(x):
    return fastact.gelu(x), fastact.softmax(x)

x = np.linspace(-3, 3, 1000)
y, p = inside(x)
assert y.tobytes() == fastact.gelu(x).tobytes() and p.tobytes() == fastact.softmax(x).tobytes()
print(sum(inside.stats.cache_hits.values()))
"""


@pytest.mark.skipif(not SLOW, reason="takes eight seconds: FASTACT_TEST_SLOW=1")
def test_compiled_functions_are_cached(tmp_path):
    program = tmp_path / "program.py"
    program.write_text(CACHED)
    code = f"import runpy; runpy.run_path({str(program)!r}, run_name='__main__')"
    assert [processes.run(code, "-W", "error", NUMBA_CACHE_DIR=str(tmp_path)) for _ in range(2)] == ["0", "1"]


def test_the_entry_point_of_the_project():
    project = tomllib.loads((SOURCES.parent / "pyproject.toml").read_text())["project"]
    entry = project["entry-points"]["numba_extensions"]
    assert list(entry) == ["init"]
    assert importlib.metadata.EntryPoint("init", entry["init"], "numba_extensions").load() is fastact.numba.init


def test_numba_finds_it_without_an_import(tmp_path):
    installed = tmp_path / "fastact-0.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: fastact\nVersion: 0\n")
    (installed / "entry_points.txt").write_text("[numba_extensions]\ninit = fastact.numba:init\n")
    code = f"""
        import sys
        sys.path[:0] = [{str(tmp_path)!r}, {str(Path(fastact.__file__).parents[1])!r}]
        import numba
        assert not [name for name in sys.modules if name.startswith("fastact")]
        numba.njit(lambda x: x)(1)
        print("fastact.numba" in sys.modules)
    """
    assert processes.run(code) == "True"
