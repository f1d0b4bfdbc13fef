"""The polynomials, constants and tables of the mathematics, read from their pages and measured in long arithmetic."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import cache, reduce
from itertools import zip_longest
from pathlib import Path

import mpmath
import numpy as np
import pytest
from common import SOURCES

TOOL = Path(__file__).parents[1] / "tools" / "polynomials.sollya"
PAGE = (SOURCES / "_math" / "primitives.pxd").read_text()
ROWS = (SOURCES / "_math" / "softmax.pxd").read_text()
FORMULAS = (SOURCES / "_math" / "formulas.pxd").read_text()
HEADER = (SOURCES / "_math" / "tables.h").read_text()

PRECISION = {"float": 24, "double": 53}
CASES = [(name, dtype) for name in ("exp", "exp_rest", "atanh", "tanh") for dtype in PRECISION]

LED = ("tanh_shrink", "normal_tail", "erf")  # polynomials that are led by a constant in two parts

exact = mpmath.MPContext()
exact.dps = 50
LN2 = exact.ln2
BEYOND = exact.mpf("1.0001")  # the interval of exp is ln(2) / 2 times this

DOMAINS = {
    "exp": (-BEYOND * LN2 / 2, BEYOND * LN2 / 2),
    "exp_rest": (exact.mpf(-0.5), exact.mpf(0.5)),
    "atanh": (exact.mpf(0), exact.mpf(1) / 9),
    "tanh": (exact.mpf(0), (BEYOND * LN2 / 4) ** 2),
}


def exp_quotient(r: mpmath.mpf) -> mpmath.mpf:
    return exact.expm1(r) / r if r else exact.one


def exp_rest_quotient(x: mpmath.mpf) -> mpmath.mpf:
    return (exact.expm1(x) - x) * 2 / x**2 if x else exact.one


def atanh_quotient(v: mpmath.mpf) -> mpmath.mpf:
    u = exact.sqrt(v)
    return exact.atanh(u) / u if u else exact.one


def tanh_quotient(s: mpmath.mpf) -> mpmath.mpf:
    r = exact.sqrt(s)
    return exact.tanh(r) / r if r else exact.one


QUOTIENTS = {"exp": exp_quotient, "exp_rest": exp_rest_quotient, "atanh": atanh_quotient, "tanh": tanh_quotient}


# what the page says


def find(pattern: str, text: str) -> re.Match[str]:
    match = re.search(pattern, text, re.MULTILINE)
    assert match, f"nothing reads {pattern}"
    return match


def branch(function: str, dtype: str) -> str:
    """The text of one function of the page for one type."""
    body = find(rf"^cdef inline \w+ {function}\(.*\n((?: .*\n|\n)*)", PAGE)[1]
    _, *texts = re.split(r"if floating is float:|else:", body)
    return dict(zip(PRECISION, texts, strict=True))[dtype]


def coefficients(name: str, dtype: str) -> list[float]:
    """From the lowest power.  On the page they are one Horner chain, or two of the even and the odd powers."""
    chains: dict[str, list[float]] = {"even": [], "odd": [], "chain": []}
    steps = re.findall(r"(even|odd|chain) = fma\[floating\]\(\w+, (.*)\)", branch(f"{name}_polynomial", dtype))
    for chain, arguments in steps:
        chains[chain] += [float(argument) for argument in arguments.split(", ") if argument != chain]
    pairs = zip_longest(reversed(chains["even"]), reversed(chains["odd"]))
    return chains["chain"][::-1] or [number for pair in pairs for number in pair if number is not None]


def led_coefficients(name: str, dtype: str) -> list[float]:
    """From the constant, both parts of it, to the highest power."""
    text = branch(f"{name}_polynomial", dtype)
    constant = find(r"constant\[0\], constant_low\[0\] = (?:<floating> )?(\S+), (?:<floating> )?(\S+)", text)
    first = find(r"total = fma\[floating\]\(\w, (\S+), (\S+)\)", text)
    rest = re.findall(r"total = fma\[floating\]\(total, \w, (\S+)\)", text)
    return [*map(float, constant.groups()), *map(float, [*reversed(rest), first[2], first[1]])]


def normal_limit(dtype: str) -> float:
    return float(find(r"return ([\d.]+)", branch("normal_limit", dtype))[1])


def led_domain(name: str, dtype: str) -> tuple[mpmath.mpf, mpmath.mpf]:
    if name == "normal_tail":
        limit = exact.mpf(normal_limit(dtype))
        return exact.mpf(-1), (limit - 4) / (limit + 4)
    return exact.mpf("1e-20"), exact.mpf({"tanh_shrink": 1, "erf": {"float": 4, "double": 6}[dtype]}[name])


def led_error(name: str, x: mpmath.mpf, polynomial: mpmath.mpf) -> mpmath.mpf:
    """Relative to the function; that of erf as it comes out in erf itself."""
    if name == "tanh_shrink":
        a = exact.sqrt(x)
        with exact.workdps(90):
            return polynomial * a**3 / (a - exact.tanh(a)) - 1
    if name == "normal_tail":
        a = 4 * (1 + x) / (1 - x)
        return polynomial / (exact.exp(a * a / 2) * exact.ncdf(-a) * (a + 4)) - 1
    return x * exact.erfc(x) / exact.erf(x) * (polynomial + exact.log(exact.erfc(x)) / x)


@cache
def led_bits(name: str, dtype: str) -> float:
    constant, constant_low, *powers = led_coefficients(name, dtype)
    polynomial = [exact.mpf(constant) + constant_low, *powers]

    def error(x: mpmath.mpf) -> mpmath.mpf:
        return abs(led_error(name, x, reduce(lambda value, number: value * x + number, reversed(polynomial))))

    return float(-exact.log(supremum(error, *led_domain(name, dtype), 100, 1), 2))


def constants(dtype: str) -> dict[str, float]:
    numbers = re.findall(r"(log2_e|ln2_high|ln2_low) = (?:<floating> )?(\S+)", branch("exp_reduce_in_two", dtype))
    return {name: float(number) for name, number in numbers}


def constants_1702(dtype: str) -> dict[str, float]:
    text = branch("exp_reduce_1702", dtype)
    numbers = re.findall(r"(factor_log2_e|step|ln2_rest) = (?:<floating> )?(\S+)", text)
    factor = find(r"factor, factor_low = (?:<floating> )?(\S+), (?:<floating> )?(\S+)", text)
    found = dict(zip(("factor", "factor_low"), factor.groups(), strict=True)) | dict(numbers)
    return {name: float(number) for name, number in found.items()}


def constants_gelu_tanh(dtype: str) -> dict[str, float]:
    found = {}
    for line in branch("exp_reduce_gelu_tanh", dtype).partition("\n    total")[0].splitlines():
        if " = " in line:
            names, values = line.partition("#")[0].replace("<floating> ", "").split(" = ")
            found |= dict(zip(names.strip().split(", "), map(float, values.split(", ")), strict=True))
    return found


def claimed_bits(name: str, dtype: str) -> float:
    figures = r"Error relative to (?:[ru]|x\^2): 2\^-(?P<float>[\d.]+) \(float\), 2\^-(?P<double>[\d.]+) \(double\)"
    return float(find(rf"{figures}.*\n(?:#.*\n)*cdef inline floating {name}_polynomial\(", PAGE)[dtype])


def largest_argument(dtype: str) -> int:
    """The largest |x| that exp_reduce gets: an entry of a row, exp_limit below a maximum that is not subtracted."""
    limit = int(find(r"return (\d+)", branch("exp_limit", dtype))[1])
    threshold = find(r"offset = maximum if fabs\(maximum\) > (\d+)( \* exp_limit\(maximum\))? else 0", ROWS)
    return int(threshold[1]) * (limit if threshold[2] else 1) + limit


def largest_multiple(dtype: str) -> int:
    """The largest |n| in x = n ln 2 + r."""
    return int(exact.ceil(largest_argument(dtype) / LN2))


def significant_bits(number: float) -> int:
    numerator, _ = abs(number).as_integer_ratio()
    return (numerator // (numerator & -numerator)).bit_length()


# measurement


def supremum(
    f: Callable[[mpmath.mpf], mpmath.mpf], low: mpmath.mpf, high: mpmath.mpf, cells: int = 400, finer: int = 2
) -> mpmath.mpf:
    """The largest value of f on a grid, then on finer grids around each of its local maxima."""
    grid = exact.linspace(low, high, cells + 1)
    values = [f(x) for x in grid]
    if not finer:
        return max(values)
    peaks = [i for i in range(cells + 1) if values[i] == max(values[max(i - 1, 0) : i + 2])]
    return max(supremum(f, grid[max(i - 1, 0)], grid[min(i + 1, cells)], 10, finer - 1) for i in peaks)


@cache
def measured_bits(name: str, dtype: str) -> float:
    """-log2 of the error of r (1 + P(r)) relative to r, of x^2 (1 + P(x)) to x^2, and of u (1 + P(u^2)) to u."""
    polynomial = [1, *coefficients(name, dtype)]

    def error(x: mpmath.mpf) -> mpmath.mpf:
        return abs(reduce(lambda value, number: value * x + number, reversed(polynomial)) - QUOTIENTS[name](x))

    return float(-exact.log(supremum(error, *DOMAINS[name]), 2))


@pytest.mark.parametrize("name, dtype", CASES)
def test_error_of_polynomial_is_the_one_claimed(name, dtype):
    assert claimed_bits(name, dtype) <= measured_bits(name, dtype) < claimed_bits(name, dtype) + 0.1


@pytest.mark.parametrize("dtype", PRECISION)
@pytest.mark.parametrize("name", LED)
def test_error_of_led_polynomial_is_the_one_claimed(name, dtype):
    figures = r"2\^-(?P<float>[\d.]+) \(float\), 2\^-(?P<double>[\d.]+) \(double\)"
    claimed = float(find(rf"{figures}.*\n(?:#.*\n)*cdef inline floating {name}_polynomial\(", PAGE)[dtype])
    assert claimed <= led_bits(name, dtype) < claimed + 0.1


@pytest.mark.parametrize("dtype", PRECISION)
def test_nothing_is_left_beyond_the_limit_of_the_normal_distribution(dtype):
    """Not of x times the distribution, nor of x times the density, the last of them."""
    limit = exact.mpf(normal_limit(dtype))
    assert limit * exact.npdf(limit) < exact.ldexp(1, {"float": -150, "double": -1075}[dtype])


@pytest.mark.parametrize("dtype", PRECISION)
def test_constants_are_numbers_of_their_type(dtype):
    """The compiler reads a float constant as a double first; being exact, it is rounded by neither step."""
    for number in [*(c for name in DOMAINS for c in coefficients(name, dtype)), *constants(dtype).values(),
                   *(number for name in LED for number in led_coefficients(name, dtype)),
                   *constants_1702(dtype).values(), *constants_gelu_tanh(dtype).values()]:
        assert significant_bits(number) <= PRECISION[dtype], number


# x = n ln 2 + r


@pytest.mark.parametrize("dtype", PRECISION)
def test_multiples_of_ln2_high_are_exact(dtype):
    """Without a multiply-add instruction n ln2_high is rounded before it is subtracted."""
    bits = significant_bits(constants(dtype)["ln2_high"])
    assert f"# {bits} bits" in branch("exp_reduce_in_two", dtype)
    assert bits + largest_multiple(dtype).bit_length() <= PRECISION[dtype]


@pytest.mark.parametrize("dtype", PRECISION)
def test_reduced_argument_stays_in_the_interval_of_the_polynomial(dtype):
    """n is x log2_e rounded to an integer, where the constant is rounded, and so perhaps is the product."""
    half_ulp = exact.ldexp(1, -PRECISION[dtype])
    log2_e = constants(dtype)["log2_e"]
    assert abs(log2_e - 1 / LN2) <= half_ulp
    n_error = largest_argument(dtype) * (abs(log2_e - 1 / LN2) + log2_e * half_ulp)
    assert (1 + 2 * n_error) * LN2 / 2 <= DOMAINS["exp"][1]


@pytest.mark.parametrize("dtype", PRECISION)
def test_parts_of_ln2_cost_nothing_beside_the_rounding_of_r(dtype):
    precision = PRECISION[dtype]
    high, low = (exact.mpf(constants(dtype)[name]) for name in ("ln2_high", "ln2_low"))
    n = largest_multiple(dtype)

    # x - n high is exact: from |x| = 1/4 on x is a multiple of 2^-(p + 1), as high is; p bits hold those up to 1/2.
    assert BEYOND * LN2 / 2 + n * (LN2 - high) < 0.5

    # low is the nearest number to what high leaves
    _, exponent = exact.frexp(low)
    assert abs(LN2 - high - low) <= exact.ldexp(1, exponent - precision - 1)

    # Lost are n times the error of high + low, and the rounding of n low: less than a sixteenth of what rounding r may
    # lose, half an ulp of a number below 1/2.
    lost = n * abs(LN2 - high - low) + n * low * exact.ldexp(1, -precision)
    assert lost < exact.ldexp(1, -precision - 2) / 16


@pytest.mark.parametrize("dtype", PRECISION)
def test_reduction_of_gelu_quick(dtype):
    """Multiples of the step are exact, and the other constants are the nearest numbers."""
    factor, step = exact.mpf("1.702"), exact.mpf(constants_1702(dtype)["step"])
    limit = int(find(r"return (\d+)", branch("exp_limit", dtype))[1])
    beyond = int(find(r"return exp_limit\(unused\) \+ <floating> (\d+)", PAGE)[1])
    multiples = int((limit + beyond) / LN2) + 1
    assert significant_bits(constants_1702(dtype)["step"]) + multiples.bit_length() <= PRECISION[dtype]
    for name, true in (
        ("factor", factor), ("factor_low", factor - constants_1702(dtype)["factor"]), ("factor_log2_e", factor / LN2),
        ("ln2_rest", LN2 - step * factor),
    ):
        assert abs(constants_1702(dtype)[name] - true) <= exact.ldexp(abs(true), -PRECISION[dtype])


@pytest.mark.parametrize("dtype", PRECISION)
def test_reduction_of_gelu_tanh(dtype):
    """The square is exact less its first constant, multiples of the step are; the rest are the nearest numbers."""
    c = {name: exact.mpf(number) for name, number in constants_gelu_tanh(dtype).items()}
    slope = 2 * exact.sqrt(2 / exact.pi) * exact.mpf("0.044715")
    truths = {"square": 1 / exact.mpf("0.044715"), "slope": slope, "step_high": LN2 / slope}
    for name, rest in (("square", "square_low"), ("slope", "slope_low"), ("step_high", "step_low")):
        _, exponent = exact.frexp(c[rest])
        assert abs(truths[name] - c[name] - c[rest]) <= exact.ldexp(1, exponent - PRECISION[dtype] - 1)
    assert abs(c["slope_log2_e"] - slope / LN2) <= exact.ldexp(slope / LN2, -PRECISION[dtype])
    limits = re.findall(r"limit = (?:<floating> )?([\d.]+)", find(
        r"cdef inline floating gelu_tanh_derivative\((?:.*\n)+?\n", FORMULAS)[0])
    limit = exact.mpf(limits[list(PRECISION).index(dtype)])
    largest_square = limit**2 + c["square"]
    ulp_of_largest = exact.ldexp(1, exact.mag(largest_square) - PRECISION[dtype])
    assert c["square"] % ulp_of_largest == 0
    assert limit**2 < exact.ldexp(ulp_of_largest, PRECISION[dtype])
    multiples = int(limit * largest_square / c["step_high"]) + 1
    assert significant_bits(float(c["step_high"])) + multiples.bit_length() <= PRECISION[dtype]


@pytest.mark.parametrize("dtype", PRECISION)
def test_ln2_is_the_same_wherever_it_stands(dtype):
    numbers = [float(number) for number in re.findall(r"n \* <floating> (\S+)", branch("times_ln2", dtype))]
    assert numbers == [constants(dtype)["ln2_low"], constants(dtype)["ln2_high"]]


# tables


def table(name: str) -> tuple[float, list[list[np.float32]]]:
    """The error that the header claims, in ulp, and the numbers under it."""
    text = find(rf"/\* {name} on .*: error (\S+) ulp \*/\n.*\{{\n((?:.*\n)*?)\}};", HEADER)
    rows = re.split(r"/\* \w+ \*/", text[2])[1:]
    return float(text[1]), [[np.float32(number) for number in re.findall(r"([\d.e+-]+)f,", row)] for row in rows]


def test_error_of_table_is_the_one_claimed():
    claimed, (middle, *coefficients) = table("tanh")
    assert [len(row) for row in (middle, *coefficients)] == [32] * 7
    worst = exact.zero
    for x in np.linspace(0, 10, 20_000, endpoint=False, dtype=np.float32)[1:]:
        interval = int((np.float32(1.5) * x + np.float32(1)).view(np.uint32)) >> 20 & 31
        r = exact.mpf(float(x)) - float(middle[interval])
        true = exact.tanh(exact.mpf(float(x)))
        approximation = reduce(lambda total, row: total * r + float(row[interval]), reversed(coefficients), exact.zero)
        worst = max(worst, abs(approximation - true) / exact.ldexp(1, exact.frexp(true)[1] - 24))
    assert claimed - 0.001 <= worst <= claimed + 0.0005


def test_table_is_the_one_derived():
    tool = TOOL.with_name("tables.py")
    if not tool.exists():
        pytest.skip("no tools/ beside tests/")
    output = subprocess.run([sys.executable, tool], capture_output=True, text=True, check=True, timeout=120).stdout
    first, rest = output.split("\n", 1)
    assert first in HEADER
    assert rest in HEADER


# the derivation


@pytest.mark.parametrize("dtype", PRECISION)
@pytest.mark.parametrize("name", LED)
def test_led_polynomial_is_the_one_derived(name, dtype, derived):
    constant, constant_low, *powers = led_coefficients(name, dtype)
    found = {"power 0": constant, "power 0 low": constant_low, **{f"power {i}": c for i, c in enumerate(powers, 1)}}
    assert numbers(derived[f"{name} {dtype}"]) == found


@pytest.fixture(scope="module")
def derived() -> dict[str, str]:
    """What the tool prints, by the names of its sections."""
    if not TOOL.exists():
        pytest.skip("no tools/ beside tests/")
    if "FASTACT_TEST_SLOW" not in os.environ:
        pytest.skip("takes three minutes: FASTACT_TEST_SLOW=1")
    if shutil.which("sollya") is None:
        pytest.skip("sollya is not installed")
    output = subprocess.run(["sollya", TOOL], capture_output=True, text=True, check=True, timeout=900).stdout
    return dict(re.findall(r"^(\S.*)\n((?: .*\n)+)", output, re.MULTILINE))


def numbers(section: str) -> dict[str, float]:
    found = {}
    for name, decimal, hexadecimal in re.findall(r"^ +(.+) (\S+) (-?0x\S+)$", section, re.MULTILINE):
        found[name] = float.fromhex(hexadecimal)
        assert float(decimal) == found[name]
    return found


@pytest.mark.parametrize("name, dtype", CASES)
def test_polynomial_is_the_one_derived(name, dtype, derived):
    section = derived[f"{name} {dtype}"]
    assert numbers(section) == {f"power {i}": number for i, number in enumerate(coefficients(name, dtype), 1)}
    assert float(find(r"error 2\^-(\S+)", section)[1]) == pytest.approx(measured_bits(name, dtype), abs=0.01)


@pytest.mark.parametrize("dtype", PRECISION)
def test_constants_of_the_reduction_are_those_derived(dtype, derived):
    assert numbers(derived[f"reduction {dtype}"]) == constants(dtype)
    assert numbers(derived[f"reduction_1702 {dtype}"]) == constants_1702(dtype)
    assert numbers(derived[f"reduction_gelu_tanh {dtype}"]) == constants_gelu_tanh(dtype)
