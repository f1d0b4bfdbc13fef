# Exact sums of arrays.  Vector arithmetic adds the numbers of a block; the totals go to the limbs of sums.h.
#
# Each number of a block is split at a fixed bit below the largest one (S. M. Rump, T. Ogita, S. Oishi, Accurate
# floating-point summation, 2008).  The upper parts have at most 42 bits: the sum of 1,024 of them is exact, in lanes.
# The rest is split once more: that of a double, and that of a float as small as the losses of confident rows.  Numbers
# far below the largest may leave a remainder, which is added to the limbs one by one.

from libc.math cimport fabs
from libc.stdint cimport uint32_t, uint64_t

from fastact._loops.elementwise cimport LANES
from fastact._math.primitives cimport fastact_bits_of_double, fastact_bits_of_float, fastact_double_of_bits, floating


cdef extern from "_loops/sums.h" nogil:
    enum:
        FASTACT_UNCARRIED
    ctypedef struct fastact_sum:
        int uncarried
    void fastact_sum_start(fastact_sum* sum) noexcept
    void fastact_sum_carry(fastact_sum* sum) noexcept
    void fastact_sum_number(fastact_sum* sum, double x) noexcept
    void fastact_sum_add(fastact_sum* sum, const fastact_sum* other) noexcept
    double fastact_sum_rounded(const fastact_sum* sum, uint64_t divisor) noexcept

# Adds n numbers.
ctypedef void (*sum_block)(void* sum, const void* x, Py_ssize_t n) noexcept nogil

cdef enum:
    SUM_BLOCK = 1024
    SUM_BLOCK_MIN = 32          # fewer numbers go to the limbs one by one, which is faster
    UPPER_BITS = 42


# The exponent field of the largest magnitude
cdef inline int largest_exponent(const floating* x, Py_ssize_t n) noexcept nogil:
    cdef uint32_t bits, largest = 0
    cdef uint64_t wide, widest = 0
    cdef Py_ssize_t i
    if floating is float:
        for i in range(n):
            bits = fastact_bits_of_float(x[i]) & <uint32_t> 0x7fffffff
            largest = bits if bits > largest else largest
        return largest >> 23
    else:
        for i in range(n):
            wide = fastact_bits_of_double(x[i]) & <uint64_t> 0x7fffffffffffffff
            widest = wide if wide > widest else widest
        return <int> (widest >> 52)


# 1.5 x 2^exponent: (x + splitter) - splitter drops the lower bits of x.  2^exponent must be normal.
cdef inline double splitter(int exponent) noexcept nogil:
    return fastact_double_of_bits((<uint64_t> (exponent + 1023) << 52) | <uint64_t> 1 << 51)


# The remainder of a number after two splits
cdef inline double remainder_of_splits(floating x, double first, double second) noexcept nogil:
    cdef double number = x
    cdef double rest = number - ((number + first) - first)
    return rest - ((rest + second) - second)


# Adds n numbers, a multiple of LANES and at most SUM_BLOCK, the largest of which is below 2^(exponent + 1).
cdef inline void add_block(fastact_sum* sum, const floating* x, Py_ssize_t n, int exponent) noexcept nogil:
    cdef double upper[LANES]
    cdef double lower[LANES]
    cdef double left[LANES]
    cdef double first = splitter(exponent + 53 - UPPER_BITS), second = splitter(exponent + 53 - 2 * UPPER_BITS)
    cdef double number, high, low, rest
    cdef Py_ssize_t i, j
    for j in range(LANES):
        upper[j] = lower[j] = left[j] = 0
    for i in range(n // LANES):
        for j in range(LANES):
            number = x[LANES * i + j]
            high = (number + first) - first
            rest = number - high
            low = (rest + second) - second
            upper[j] += high
            lower[j] += low
            left[j] += fabs(rest - low)
    for j in range(1, LANES):                                   # the totals of upper and lower parts are still exact
        upper[0] += upper[j]
        lower[0] += lower[j]
        left[0] += left[j]
    fastact_sum_number(sum, upper[0])
    fastact_sum_number(sum, lower[0])
    if left[0] != 0:
        for i in range(n):
            rest = remainder_of_splits(x[i], first, second)
            if rest != 0:
                fastact_sum_number(sum, rest)


cdef inline void add_numbers(fastact_sum* sum, const floating* x, Py_ssize_t n) noexcept nogil:
    cdef Py_ssize_t part, i
    cdef int exponent, bias, lowest, highest
    if floating is float:
        bias, lowest, highest = 127, 0, 254                     # every finite float
    else:
        bias, lowest, highest = 1023, 2 * UPPER_BITS, 1023 + 1023 - (53 - UPPER_BITS) - 1     # finite, normal splitters
    while n:
        if sum.uncarried > FASTACT_UNCARRIED - SUM_BLOCK - 2:
            fastact_sum_carry(sum)
        part = n if n < SUM_BLOCK else SUM_BLOCK
        exponent = -1
        if part >= SUM_BLOCK_MIN:
            part = part // LANES * LANES
            exponent = largest_exponent(x, part)
        if lowest <= exponent <= highest:
            add_block(sum, x, part, exponent - bias)
        else:
            for i in range(part):
                fastact_sum_number(sum, x[i])
        x += part
        n -= part
