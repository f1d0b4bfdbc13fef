"""The polynomials and constants of _primitives.pxd, read from that page and measured in long arithmetic."""

import re
import shutil
import subprocess
from collections.abc import Callable
from functools import cache, reduce
from itertools import zip_longest
from pathlib import Path

import mpmath
import pytest

import fastact

PACKAGE = Path(fastact.__file__).parent
TOOL = Path(__file__).parents[1] / "tools" / "polynomials.sollya"
if not (PACKAGE / "_primitives.pxd").exists():
    pytest.skip("the installed package carries no sources", allow_module_level=True)
PAGE = (PACKAGE / "_primitives.pxd").read_text()
ROWS = (PACKAGE / "_rows.pxd").read_text()

PRECISION = {"float": 24, "double": 53}
CASES = [(name, dtype) for name in ("exp", "atanh", "tanh") for dtype in PRECISION]

exact = mpmath.MPContext()
exact.dps = 50
LN2 = exact.ln2
BEYOND = exact.mpf("1.0001")  # the interval of exp is ln(2) / 2 times this

DOMAINS = {
    "exp": (-BEYOND * LN2 / 2, BEYOND * LN2 / 2),
    "atanh": (exact.mpf(0), exact.mpf(1) / 9),
    "tanh": (exact.mpf(0), (BEYOND * LN2 / 4) ** 2),
}


def exp_quotient(r: mpmath.mpf) -> mpmath.mpf:
    return exact.expm1(r) / r if r else exact.one


def atanh_quotient(v: mpmath.mpf) -> mpmath.mpf:
    u = exact.sqrt(v)
    return exact.atanh(u) / u if u else exact.one


def tanh_quotient(s: mpmath.mpf) -> mpmath.mpf:
    r = exact.sqrt(s)
    return exact.tanh(r) / r if r else exact.one


QUOTIENTS = {"exp": exp_quotient, "atanh": atanh_quotient, "tanh": tanh_quotient}


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


def constants(dtype: str) -> dict[str, float]:
    numbers = re.findall(r"(log2_e|ln2_high|ln2_low) = (?:<floating> )?(\S+)", branch("exp_reduce", dtype))
    return {name: float(number) for name, number in numbers}


def constants_1702(dtype: str) -> dict[str, float]:
    numbers = re.findall(
        r"(factor|factor_log2_e|step_high|step_low) = (?:<floating> )?(\S+)", branch("exp_reduce_1702", dtype)
    )
    return {name: float(number) for name, number in numbers}


def claimed_bits(name: str, dtype: str) -> float:
    figures = r"Error relative to [ru]: 2\^-(?P<float>[\d.]+) \(float\), 2\^-(?P<double>[\d.]+) \(double\)"
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
    """-log2 of the error of r (1 + P(r)) relative to r, and of u (1 + P(u^2)) relative to u."""
    polynomial = [1, *coefficients(name, dtype)]

    def error(x: mpmath.mpf) -> mpmath.mpf:
        return abs(reduce(lambda value, number: value * x + number, reversed(polynomial)) - QUOTIENTS[name](x))

    return float(-exact.log(supremum(error, *DOMAINS[name]), 2))


@pytest.mark.parametrize("name, dtype", CASES)
def test_error_of_polynomial_is_the_one_claimed(name, dtype):
    assert claimed_bits(name, dtype) <= measured_bits(name, dtype) < claimed_bits(name, dtype) + 0.1


@pytest.mark.parametrize("dtype", PRECISION)
def test_constants_are_numbers_of_their_type(dtype):
    """The compiler reads a float constant as a double first; being exact, it is rounded by neither step."""
    for number in [*(c for name in DOMAINS for c in coefficients(name, dtype)), *constants(dtype).values()]:
        assert significant_bits(number) <= PRECISION[dtype], number


# x = n ln 2 + r


@pytest.mark.parametrize("dtype", PRECISION)
def test_multiples_of_ln2_high_are_exact(dtype):
    """Without a multiply-add instruction n ln2_high is rounded before it is subtracted."""
    bits = significant_bits(constants(dtype)["ln2_high"])
    assert f"# {bits} bits" in branch("exp_reduce", dtype)
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
    """Multiples of the first part are exact, and the second is the nearest number to what the first leaves."""
    factor, step = exact.mpf("1.702"), LN2 / exact.mpf("1.702")
    high, low = (exact.mpf(constants_1702(dtype)[name]) for name in ("step_high", "step_low"))
    limit = int(find(r"return (\d+)", branch("exp_limit", dtype))[1])
    beyond = int(find(r"return exp_limit\(unused\) \+ <floating> (\d+)", PAGE)[1])
    multiples = int((limit + beyond) / LN2) + 1
    assert significant_bits(constants_1702(dtype)["step_high"]) + multiples.bit_length() <= PRECISION[dtype]
    _, exponent = exact.frexp(low)
    assert abs(step - high - low) <= exact.ldexp(1, exponent - PRECISION[dtype] - 1)
    for name, true in (("factor", factor), ("factor_log2_e", factor / LN2)):
        assert abs(constants_1702(dtype)[name] - true) <= exact.ldexp(true, -PRECISION[dtype])


# the derivation


@pytest.fixture(scope="module")
def derived() -> dict[str, str]:
    """What the tool prints, by the names of its sections."""
    if not TOOL.exists():
        pytest.skip("no tools/ beside tests/")
    if shutil.which("sollya") is None:
        pytest.skip("sollya is not installed")
    output = subprocess.run(
        ["sollya", str(TOOL)], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True, timeout=120
    ).stdout
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
