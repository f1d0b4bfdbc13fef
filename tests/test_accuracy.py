"""Errors in ulp of every elementwise function, mode and dtype, under each instruction set of this processor.

`fastact accuracy --exhaustive` tries all 2^32 float32 inputs; here are one in some thousand of them, the float64 points
at which an activation may go wrong, and all inputs there are of the 16-bit types.
"""

import hashlib
import itertools
import os
import re
import subprocess
import sys

import instruction_sets
import numpy as np
import pytest
from common import DTYPES, ELEMENTWISE, HALF, INF, NAN, POINTS, WIDE, each, exact_at_points, in_turn
from facts import FACTS_OF_ROWS
from row_helpers import exact as exact_in_wider

import fastact
from fastact import _isa, reference
from fastact.comparison import tables, ulp
from fastact.comparison.figures import Figures, digest_of
from fastact.comparison.ulp import ULP_OF_16_BITS

MODES = ("value", "derivative")
STRIDE = 4099  # a prime: 2^20 of the 2^32 bit patterns
ONCE_WRONG = [-5.935708, -44.59754, 0.17811905057208338, 0.17730037788786654]  # gelu_quick, derivative of tanh_shrink

every_function = each("f", ELEMENTWISE)
every_mode = in_turn("mode", MODES)


def call(f, mode):
    return f if mode == "value" else getattr(f, mode)


def each_set(f, mode, x, *parameters):
    """Every instruction set of this processor, with its results and the error that it may have."""
    for isa, _, computed in instruction_sets.each_set(call(f, mode), (x, *parameters)):
        yield isa, computed, f.ulp[mode] * (2 if isa == "v2" else 1)  # that is promised with fused multiply-add


def absolute(f, mode, x):
    """Where the promise is an absolute one."""
    low, high = (f.value_zero if mode == "value" else f.derivative_zero) or (0, 0)
    return (low < x) & (x < high)


def test_promises_stay_small():
    """At most 2.5 ulp for a value, 3 or 4 for some; 3 for a derivative; an interval only where it is 0."""
    for f in ELEMENTWISE:
        allowed = {"gelu": 4, "gelu_clipped": 4, "mish": 3, "laplace": 3}.get(f.name, 2.5)
        assert f.ulp["value"] <= allowed, f"fastact/catalogue.py promises too little of {f.name}: ulp"
        assert f.ulp["derivative"] <= 3, f"fastact/catalogue.py promises too little of {f.name}: ulp"
        for mode, interval in (("value", f.value_zero), ("derivative", f.derivative_zero)):
            if interval:
                low, high = call(f, mode)(np.array(interval))
                assert low * high < 0


def exact(f, mode, x, m=np):
    """The parameters have their defaults, as numbers of the dtype."""
    parameters = [x.dtype.type(default) for default in f.parameters.values()]
    return reference.evaluate(f.name, mode, x, *parameters, m=m)


def float32_points():
    patterns = np.arange(0, 2**32, STRIDE, dtype=np.uint64).astype(np.uint32)
    limits = np.finfo(np.float32)
    ends = np.array([0, limits.smallest_subnormal, limits.tiny, limits.max, np.inf, np.nan], np.float32)
    return np.concatenate([patterns.view(np.float32), ends, -ends, np.array(ONCE_WRONG, np.float32)])


def worst(error, x):
    i = int(np.argmax(error))
    return f"{error[i]:.3f} ulp at {x[i]!r} ({float(x[i]).hex()})"


@every_mode
@every_function
def test_float32(f, mode):
    x = float32_points()
    right = exact(f, mode, x)
    for isa, computed, bound in each_set(f, mode, x):
        error = reference.ulp_error(computed, right, absolute(f, mode, x))
        assert error.max() <= bound, f"{isa}: {worst(error, x)}"


@every_mode
@every_function
def test_float64(f, mode):
    more = np.array(ONCE_WRONG)
    x = np.concatenate([POINTS, more])
    right = np.concatenate([exact_at_points(f.name, mode), exact(f, mode, more, reference.mpmath_namespace(50))])
    for isa, computed, bound in each_set(f, mode, x):
        error = reference.ulp_error(computed, right, absolute(f, mode, x))
        assert error.max() <= bound, f"{isa}: {worst(error, x)}"
    if np.finfo(np.longdouble).nmant >= 63 and f.name not in ulp.ROUNDED_ARGUMENTS:
        by_longdouble = ulp.errors(f.name, mode, x.astype(np.longdouble), computed)
        np.testing.assert_allclose(by_longdouble, error, rtol=0, atol=ulp.DOUBT / 2)


@pytest.mark.skipif(np.finfo(np.longdouble).nmant < 63, reason="longdouble is float64 here")
@every_mode
@each("f", [f for f in ELEMENTWISE if f.name not in ulp.ROUNDED_ARGUMENTS])
def test_float64_in_every_binade_of_ordinary_size(f, mode):
    """Many more points than mpmath has time for: tanh was above its promise of 1.5 ulp in one of 50,000."""
    random = np.random.default_rng(3)
    x = np.exp(random.uniform(np.log(2**-7), np.log(45), 100_000)) * random.choice([-1, 1], 100_000)
    x = np.concatenate([x, random.uniform(0, 1, 20_000), [0.17959924923533643]])
    for isa, computed, bound in each_set(f, mode, x):
        error = ulp.errors(f.name, mode, x.astype(np.longdouble), computed)
        assert error.max() <= bound, f"{isa}: {worst(error, x)}"


@in_turn("name, mode", [("softplus", "value"), ("dish", "derivative"), ("relu", "value"),
                        ("gelu", "value"), ("logit", "derivative")])
def test_figures_of_float64_are_those_of_mpmath(name, mode):
    x = reference.structured_points(1500)
    f = fastact.get(name)
    computed = call(f, mode)(x)
    computed[::50] = np.nextafter(np.nextafter(computed[::50], -np.inf), -np.inf)
    error = reference.ulp_error(computed, exact(f, mode, x, reference.mpmath_namespace(50)), absolute(f, mode, x))
    found = ulp.errors_of_float64(name, mode, x, computed)
    assert found.max() == error.max() >= 1.5
    assert found.argmax() == error.argmax()
    np.testing.assert_array_equal(found <= 0.5, error <= 0.5)


@in_turn("dtype", HALF)
@every_mode
@every_function
def test_every_number_of_16_bits(f, mode, dtype):
    x = np.arange(2**16, dtype=np.uint16).view(dtype)
    parameters = map(np.float32, f.parameters.values())  # in which they are computed
    right = reference.evaluate(f.name, mode, x, *parameters)
    for isa, computed, _ in each_set(f, mode, x):
        assert computed.dtype == dtype
        with np.errstate(invalid="ignore"):  # some NaN are signalling ones
            error = reference.ulp_error(computed, right, absolute(f, mode, x))
        assert error.max() <= ULP_OF_16_BITS, f"{isa}: {worst(error, x)}"


@in_turn("beta", [0.01, 0.5, 1.0, 2.0, 3.7, -1.3, 1e3])
@every_mode
@in_turn("dtype", WIDE)
def test_softplus_beta(dtype, mode, beta):
    beta = dtype(beta)
    x = np.random.default_rng(3).uniform(-90, 90, 1500).astype(dtype) / abs(beta)
    right = exact_in_wider("softplus", mode, x, np.full_like(x, beta))
    for isa, computed, bound in each_set(fastact.softplus, mode, x, beta):
        error = reference.ulp_error(computed, right)
        assert error.max() <= bound, f"{isa}: {worst(error, x)}"


@in_turn("name", ["sigmoid", "tanh"])
@in_turn("dtype", WIDE)
def test_derivative_from_output_is_as_good_as_the_output_allows(dtype, name):
    y = np.random.default_rng(4).uniform(0 if name == "sigmoid" else -1, 1, 5000).astype(dtype)
    wide = y.astype(np.longdouble)
    exact = wide * (1 - wide) if name == "sigmoid" else 1 - wide * wide
    computed = fastact.get(name).backward(np.ones_like(y), output=y)
    assert reference.ulp_error(computed, exact).max() <= 2


@in_turn("dtype", DTYPES)
def test_errors_of_the_entmax_family_count_in_ulp_of_the_largest_entry(dtype):
    """Which of [1/4, 1/4, 1/2] and of [1, 0, 0] is far above that of the smallest."""
    spacing = float(np.spacing(dtype(0.5)))
    logits = np.array([[0, 0, 0.25], [5, 0, 0]], dtype)
    exact = np.array([[0.25, 0.25, 0.5], [1, 0, 0]])
    computed = exact.astype(dtype)
    np.testing.assert_array_equal(ulp.errors("sparsemax", "value", logits, computed), 0)
    computed[:, 1] += dtype(spacing)
    for found in (ulp.errors("sparsemax", "value", logits, computed), ulp.errors_of_largest(computed, exact)):
        np.testing.assert_array_equal(found, [[0, 1, 0], [0, 0.5, 0]])
    computed[1] = NAN
    assert ulp.errors("sparsemax", "value", logits, computed)[1].tolist() == [INF] * 3
    logits[1, 2] = NAN
    assert ulp.errors("sparsemax", "value", logits, computed)[1].tolist() == [0] * 3


def test_pages_say_whose_errors_are_in_ulp_of_the_largest_entry():
    assert set(ulp.OF_LARGEST) == {name for name, facts in FACTS_OF_ROWS.items() if facts.of_largest}
    about = {"dtype": "float32", "logits": "normal", "results": 6, "max_ulp": 0.75, "sum_ulp": 3.0, "worst": 0.25}
    found = [Figures(name, "value", **about) for name in ("softmax", "sparsemax", "entmax")]
    page = tables.page("", [*found, Figures("entmax", "value", variant="alpha = 1.25", **about)])
    assert f"| sparsemax, normal | {_isa.CHOSEN} | 0.750 | 1 | 0.25 |" in page
    assert f"| entmax, alpha = 1.25, normal | {_isa.CHOSEN} | 0.750 |  | 0.25 |" in page
    noted = re.findall(r"^\* (.+): in ulp of the largest entry", page, re.MULTILINE)
    assert noted == ["sparsemax", "entmax, alpha = 1.5 if none is named"]


@in_turn("name, variant", [(name, variant) for name in ulp.OF_LARGEST for variant in ulp.variants(name)])
def test_float64_of_the_entmax_family_is_judged_as_by_mpmath(name, variant):
    logits, parameters = np.random.default_rng(5).standard_normal((4, 12)), ulp.numbers(variant)
    computed = fastact.get(name)(logits, **parameters)
    computed[0] = np.nextafter(np.nextafter(computed[0], 2), 2)
    found = ulp.errors_of_float64(name, "value", logits, computed, parameters)
    by_mpmath = ulp.errors(name, "value", logits, computed, reference.mpmath_namespace(), parameters)
    np.testing.assert_allclose(found, by_mpmath, rtol=0, atol=ulp.DOUBT)
    assert found[0].max() > 1.5
    others = ulp.errors_of_float64(name, "value", logits, computed)
    assert (variant == "") == np.array_equal(others, found)


def test_the_page_says_what_measured_its_figures():
    def figures(name, dtype="float32", **others):
        return Figures(name, "value", dtype, **{"isa": "v4", "results": 1, "by": "one"} | others)

    found = [figures("relu"), figures("gelu"), figures("gelu", "float64", by="another"), figures("tanh"),
             figures("mish", by="another"), figures("silu", by="another"), figures("silu", isa="v3", by="third")]
    head = tables.introduction("a command", "one of the 2^32", found)
    assert "Measured with one, by\n\n    a command\n" in head
    assert re.findall(r"^Measured with (\w+) instead: (.+)\.$", head, re.MULTILINE) == [
        ("another", "silu (float32 v4); gelu (float64 v4); mish"), ("third", "silu (float32 v3)")]
    assert "instead" not in tables.introduction("a command", "one", found[:2])


def digest():
    total = hashlib.sha256()
    for dtype in (np.float32, np.float64):
        x = float32_points() if dtype == np.float32 else np.ldexp(*_significands_and_exponents())
        for f, mode in itertools.product(ELEMENTWISE, MODES):
            if (f, mode, dtype) != (fastact.tanh, "value", np.float32):  # by tables, with v4
                y = call(f, mode)(x)
                y[np.isnan(y)] = np.nan
                total.update(y.tobytes())
    return total.hexdigest()


def _significands_and_exponents():
    random = np.random.default_rng(7)
    return random.uniform(-1, 1, 2**17), random.integers(-1060, 12, 2**17)


@pytest.mark.skipif(not {"v3", "v4"} <= set(_isa.SUPPORTED), reason="this processor does not run both v3 and v4")
def test_v3_and_v4_have_the_same_bits():
    folder = os.path.dirname(__file__)
    code = f"import sys; sys.path.insert(0, {folder!r}); import test_accuracy; print(test_accuracy.digest())"
    started = [
        subprocess.Popen([sys.executable, "-c", code], env={**os.environ, "FASTACT_ISA": isa}, stdout=subprocess.PIPE,
                         stderr=subprocess.PIPE, text=True)
        for isa in ("v3", "v4")]  # fmt: skip
    (v3, error_of_v3), (v4, error_of_v4) = (process.communicate(timeout=300) for process in started)
    assert [process.returncode for process in started] == [0, 0], (error_of_v3, error_of_v4)
    assert v3 == v4 != ""


@in_turn("dtype", DTYPES)
def test_a_digest_knows_every_bit_but_those_of_nan(dtype):
    """The sign and the payload of a NaN are the processor's."""
    unsigned = np.dtype(f"u{np.dtype(dtype).itemsize}")
    quiet = np.array([0, np.nan, 1], dtype)
    (bits,) = np.array([np.nan], dtype).view(unsigned)
    for other in (bits ^ unsigned.type(1), bits ^ unsigned.type(1 << (8 * unsigned.itemsize - 1))):
        same = quiet.copy()
        same.view(unsigned)[1] = other
        assert same.tobytes() != quiet.tobytes()
        assert digest_of(same) == digest_of(quiet)
        assert same.view(unsigned)[1] == other, "the results themselves were changed"
    for k, value in ((0, -0.0), (1, np.inf), (2, 1.5)):
        changed = quiet.copy()
        changed[k] = value
        assert digest_of(changed) != digest_of(quiet)


def inputs():
    """The digest of all inputs that `fastact accuracy` makes."""
    total = hashlib.sha256(reference.structured_points(20_000).tobytes())
    for logits in ulp.LOGITS:
        for rows in ulp.random_rows(logits, 2**16, "float64"):
            total.update(rows.tobytes())
    return total.hexdigest()


def test_inputs_do_not_depend_on_the_processor():
    """As NumPy without any of the instructions beyond its baseline makes them; a power has other bits then."""
    core = getattr(np, "_core", None) or np.core
    found = core._multiarray_umath
    optional = [name for name in found.__cpu_dispatch__ if found.__cpu_features__.get(name)]
    folder = os.path.dirname(__file__)
    code = f"import sys; sys.path.insert(0, {folder!r}); import test_accuracy; print(test_accuracy.inputs())"
    environment = {**os.environ, "NPY_DISABLE_CPU_FEATURES": " ".join(optional)}
    result = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == inputs()


def test_random_rows_are_what_they_are_called():
    wide, normal, confident = (
        np.concatenate([z.ravel() for z in ulp.random_rows(logits, 2**16, "float64") if z.shape[1] == 1000])
        for logits in ulp.LOGITS)
    assert -100 <= wide.min() < -99 < 99 < wide.max() < 100
    assert abs(wide.std() - 200 / np.sqrt(12)) < 1
    assert abs(normal.mean()) < 0.02
    assert abs(normal.std() - 1) < 0.02
    assert 20 < confident.max() < 96
