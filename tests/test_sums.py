"""Sums of the engine: exact, rounded once, of any numbers in any order.

They are reached by the gradient of a parameter, whose terms are here the numbers themselves: dy min(x, 0) with x = -1.
"""

import math

import numpy as np
import pytest

import fastact

DTYPES = np.float32, np.float64


def total(numbers, parameter=0.25):
    return fastact.prelu.backward_parameter(-numbers, np.full(numbers.shape, -1, numbers.dtype), parameter)


def exact(numbers):
    """As a multiple of 2^-1074 in integer arithmetic, rounded to double and then to the dtype of the numbers."""
    ratios = map(float.as_integer_ratio, numbers.ravel().tolist())     # over powers of two
    multiple = sum(numerator << 1075 - denominator.bit_length() for numerator, denominator in ratios)
    try:
        rounded = multiple / 2**1074
    except OverflowError:
        rounded = math.inf if multiple > 0 else -math.inf
    with np.errstate(all="ignore"):
        return numbers.dtype.type(rounded)


def spread(random, count, dtype, bits):
    """Numbers over `bits` binades, the smallest and the largest of the dtype among them."""
    limits = np.finfo(dtype)
    exponents = random.integers(-bits, bits + 1, count)
    with np.errstate(all="ignore"):
        numbers = np.ldexp(random.standard_normal(count), exponents).astype(dtype)
    return np.clip(numbers, limits.min, limits.max)


@pytest.mark.parametrize("dtype", DTYPES)
def test_sums_are_rounded_once(dtype):
    random = np.random.default_rng(0)
    widest = 1100 if dtype == np.float64 else 160
    for count in (0, 1, 2, 15, 16, 63, 64, 65, 100, 1023, 1024, 1025, 3000, 10_001):
        for bits in (0, 3, 20, 45, 100, widest):
            numbers = spread(random, count, dtype, bits)
            cancelling = np.concatenate([numbers, spread(random, 1, dtype, bits), -random.permutation(numbers)])
            for case in (numbers, cancelling, np.abs(numbers)):
                assert total(case) == exact(case), (count, bits)


@pytest.mark.parametrize("dtype", DTYPES)
def test_sums_of_hard_cases(dtype):
    limits = np.finfo(dtype)
    tiny, large, one = limits.smallest_subnormal, limits.max, dtype(1)
    for numbers in ([large, tiny, -large], [large, large, -large], [tiny] * 3, [one, limits.eps / 2, tiny],
                    [one, limits.eps / 2, -tiny], [one, tiny] * 500, [large] * 7 + [-large] * 7 + [tiny],
                    [large, large], [-large] * 2000, [limits.smallest_normal, -tiny], [0.0, -0.0]):
        array = np.array(numbers, dtype)
        expected = exact(array)
        for order in (array, array[::-1], np.random.default_rng(1).permutation(array)):
            assert total(order) == expected
    for numbers, expected in (([math.inf, 1], math.inf), ([-math.inf, large], -math.inf), ([math.inf] * 100, math.inf)):
        assert total(np.array(numbers, dtype)) == expected
    for numbers in ([math.inf, -math.inf], [math.nan, 1], [math.nan] + [1.0] * 2000, [math.inf, math.nan]):
        assert math.isnan(total(np.array(numbers, dtype)))


@pytest.mark.parametrize("dtype", DTYPES)
def test_sums_along_axes(dtype):
    """One parameter for every index of some axes: in a row, side by side, apart."""
    numbers = spread(np.random.default_rng(3), 40 * 33 * 9, dtype, 30).reshape(40, 33, 9)
    for shape in ((9,), (33, 1), (33, 9), (40, 1, 1), (40, 1, 9), (40, 33, 1), (1, 33, 1), (40, 33, 9)):
        result = total(numbers, np.full(shape, 0.25, dtype))
        index = np.broadcast_to(np.arange(math.prod(shape)).reshape(shape), numbers.shape)
        expected = [exact(numbers[index == k]) for k in range(math.prod(shape))]
        assert np.array_equal(result, np.reshape(expected, shape)), shape


def test_sums_do_not_look_at_the_callers_rounding_or_threads():
    numbers = spread(np.random.default_rng(4), 300_000, np.float64, 40)
    expected = math.fsum(numbers)
    for count in (1, 2, 5):
        with fastact.threads(count):
            assert total(numbers) == expected
            assert total(numbers.reshape(300, 1000), np.full((1, 1), 0.25))[0, 0] == expected
