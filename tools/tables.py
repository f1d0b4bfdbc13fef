"""Derive the table of fastact/_math/tables.h: 32 polynomials, of which each lane of AVX-512 selects one.

    python tools/tables.py

prints the table of tanh as C, with its function, intervals, degree, weight and error. tests/test_primitives.py derives
it again and compares.

The leading four significant bits of 1 + 3/2 |x| determine the interval: eight intervals between two powers of two, so
that they widen where the function flattens. In each interval

    tanh(x) = value + r (c1 + r (c2 + r (c3 + r (c4 + r c5)))),     r = |x| - middle

`middle` is a float whose tanh is almost a float, `value` (Gal 1986), so that the largest term has almost no error. Then
the coefficients are rounded one after the other. After each rounding the remaining ones are fitted again to the rest of
the function, by least squares of the relative error at the Chebyshev points of the interval.
"""

from functools import reduce
from itertools import count

import mpmath
import numpy as np

SLOPE, OCTAVES, PER_OCTAVE, DEGREE = 1.5, 4, 8, 5
LIMIT = np.nextafter(np.float32(10), np.float32(0))  # 1 + 3/2 x is below 16, and tanh rounds to 1
BELOW_ONE = np.nextafter(np.float32(1), np.float32(0))
NEAR_ENOUGH = 1 / 64  # ulp
POINTS = 24

exact = mpmath.MPContext()
exact.dps = 40


def number(x: np.float32) -> mpmath.mpf:
    return exact.mpf(float(x))


def ulp(x: mpmath.mpf) -> mpmath.mpf:
    return exact.ldexp(1, exact.frexp(x)[1] - 24)


def ends(j: int) -> tuple[mpmath.mpf, mpmath.mpf]:
    """Compute the ends of interval j of |x|."""
    octave, part = divmod(j, PER_OCTAVE)
    low, high = (((2**octave * exact.mpf(PER_OCTAVE + p)) / PER_OCTAVE - 1) / SLOPE for p in (part, part + 1))
    return low, min(high, number(LIMIT))


def index(j: int) -> int:
    """Compute the place of interval j: the last two bits of the exponent of 1 + 3/2 |x|, and three of its fraction."""
    octave, part = divmod(j, PER_OCTAVE)
    return (127 + octave) % OCTAVES * PER_OCTAVE + part


def middle_and_value(low: mpmath.mpf, high: mpmath.mpf) -> tuple[np.float32, np.float32]:
    if low == 0:
        return np.float32(0), np.float32(0)
    start = min(np.float32(float(exact.tanh((low + high) / 2))), BELOW_ONE)
    values = (start + sign * k * np.spacing(start) for k in count() for sign in (-1, 1))
    pairs = ((np.float32(float(exact.atanh(number(value)))), value) for value in values)
    return next((middle, value) for middle, value in pairs
                if abs(exact.tanh(number(middle)) - number(value)) <= NEAR_ENOUGH * ulp(number(value)))


def lowest(power: int, points: list[mpmath.mpf], rest: list[mpmath.mpf], weight: list[mpmath.mpf]) -> mpmath.mpf:
    """Fit the polynomial of r^power ... r^DEGREE to `rest`, and return its coefficient of r^power."""
    rows = [[w * r**p for p in range(power, DEGREE + 1)] for r, w in zip(points, weight, strict=True)]
    return exact.lu_solve(exact.matrix(rows), exact.matrix([w * y for w, y in zip(weight, rest, strict=True)]))[0]


def polynomial(low: mpmath.mpf, high: mpmath.mpf) -> list[np.float32]:
    """Return middle, value, c1 ... c5."""
    middle, value = middle_and_value(low, high)
    points = [(low + high + (high - low) * exact.cospi((k + exact.mpf(0.5)) / POINTS)) / 2 for k in range(POINTS)]
    true = [exact.tanh(x) for x in points]
    points, weight = [x - number(middle) for x in points], [1 / y for y in true]
    rest = [y - number(value) for y in true]
    found = []
    for power in range(1, DEGREE + 1):
        found.append(np.float32(float(lowest(power, points, rest, weight))))
        rest = [y - number(found[-1]) * r**power for r, y in zip(points, rest, strict=True)]
    return [middle, value, *found]


def error(low: mpmath.mpf, high: mpmath.mpf, numbers: list[np.float32]) -> mpmath.mpf:
    """Compute the largest error on a fine grid, in ulp of the exact value."""
    middle, *coefficients = map(number, numbers)
    largest = exact.zero
    for x in exact.linspace(low, high, 200)[1:]:
        true = exact.tanh(x)
        approximation = reduce(lambda total, c: total * (x - middle) + c, reversed(coefficients))
        largest = max(largest, abs(approximation - true) / ulp(true))
    return largest


def derive() -> tuple[np.ndarray, mpmath.mpf]:
    """Derive the table, one row for each number of `polynomial`, and its largest error in ulp."""
    table = np.empty((DEGREE + 2, OCTAVES * PER_OCTAVE), np.float32)
    worst = exact.zero
    for j in range(OCTAVES * PER_OCTAVE):
        table[:, index(j)] = numbers = polynomial(*ends(j))
        worst = max(worst, error(*ends(j), numbers))
    return table, worst


def main() -> None:
    table, worst = derive()
    fit = f"in 32 intervals, degree {DEGREE}, weight 1 / tanh"
    print(f"/* tanh on [0, {LIMIT!s}] {fit}: error {float(worst):.3f} ulp */")
    for name, row in zip(["middle", "value", *(f"c{p}" for p in range(1, DEGREE + 1))], table, strict=True):
        print(f"/* {name} */")
        for start in range(0, len(row), 4):
            print("    " + " ".join(f"{v!s}f," for v in row[start : start + 4]))


if __name__ == "__main__":
    main()
