# The elementary functions that the formulas are made of.
#
# Each is written once for float and double, as straight-line code on one number: no branch, at most one division, every
# choice a select between two computed values.  So the compiler can vectorize each formula, and the time does not depend
# on the data.
#
# Two rules for this file:
#   * A sum `high + low` carries twice the digits; `low` is the rounding error of `high`.
#   * Write constants as typed arguments (`fma[floating](p, x, 0.25)`) or as integers: a bare 0.25 beside a float
#     is double arithmetic in C, eight needless conversions per vector.
#
# tools/polynomials.sollya derives the polynomials; tests/test_primitives.py measures their errors.  Errors are powers
# of two, relative to the quantity named.

from libc.math cimport INFINITY, NAN
from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t

ctypedef fused floating:
    float
    double


cdef extern from "_math/bits.h" nogil:
    float fastact_fma_float(float a, float b, float c) noexcept
    double fastact_fma_double(double a, double b, double c) noexcept
    float fastact_sqrt_float(float x) noexcept
    double fastact_sqrt_double(double x) noexcept
    float fastact_remainder_float(float a, float b, float c) noexcept
    double fastact_remainder_double(double a, double b, double c) noexcept
    float fastact_line_float(float a, float b, float c) noexcept
    double fastact_line_double(double a, double b, double c) noexcept
    float fastact_at_most_float(float x, float limit) noexcept
    double fastact_at_most_double(double x, double limit) noexcept
    float fastact_at_least_float(float x, float limit) noexcept
    double fastact_at_least_double(double x, double limit) noexcept
    float fastact_rectified_float(float x) noexcept
    double fastact_rectified_double(double x) noexcept
    uint32_t fastact_bits_of_float(float value) noexcept
    uint64_t fastact_bits_of_double(double value) noexcept
    float fastact_float_of_bits(uint32_t bits) noexcept
    double fastact_double_of_bits(uint64_t bits) noexcept


# ----------------------------------------------------------------------------------------------------------- arithmetic

# a b + c, rounded once
cdef inline floating fma(floating a, floating b, floating c) noexcept nogil:
    if floating is float:
        return fastact_fma_float(a, b, c)
    else:
        return fastact_fma_double(a, b, c)


# c - a b, exact where c is a b but for rounding errors; with or without fused multiply-add
cdef inline floating remainder(floating a, floating b, floating c) noexcept nogil:
    if floating is float:
        return fastact_remainder_float(a, b, c)
    else:
        return fastact_remainder_double(a, b, c)


# a b + c, accurate under cancellation; with or without fused multiply-add
cdef inline floating line(floating a, floating b, floating c) noexcept nogil:
    if floating is float:
        return fastact_line_float(a, b, c)
    else:
        return fastact_line_double(a, b, c)


cdef inline floating absolute(floating x) noexcept nogil:
    if floating is float:
        return fastact_float_of_bits(fastact_bits_of_float(x) & <uint32_t> 0x7fffffff)
    else:
        return fastact_double_of_bits(fastact_bits_of_double(x) & <uint64_t> 0x7fffffffffffffff)


# `magnitude` (not negative) with the sign of x
cdef inline floating with_sign_of(floating magnitude, floating x) noexcept nogil:
    if floating is float:
        return fastact_float_of_bits(
            fastact_bits_of_float(magnitude) | (fastact_bits_of_float(x) & <uint32_t> 0x80000000))
    else:
        return fastact_double_of_bits(
            fastact_bits_of_double(magnitude) | (fastact_bits_of_double(x) & <uint64_t> 0x8000000000000000))


# The smaller and the larger of two numbers.  A NaN in x is returned.
cdef inline floating at_most(floating x, floating limit) noexcept nogil:
    if floating is float:
        return fastact_at_most_float(x, limit)
    else:
        return fastact_at_most_double(x, limit)


cdef inline floating at_least(floating x, floating limit) noexcept nogil:
    if floating is float:
        return fastact_at_least_float(x, limit)
    else:
        return fastact_at_least_double(x, limit)


# The smaller of two numbers >= 0, compared as integers: a cycle of latency, at_most takes four.  A NaN becomes the
# limit, so this is for formulas that use x a second time.
cdef inline floating magnitude_at_most(floating a, floating limit) noexcept nogil:
    cdef int32_t float_bits, float_limit
    cdef int64_t double_bits, double_limit
    if floating is float:
        float_bits, float_limit = fastact_bits_of_float(a), fastact_bits_of_float(limit)
        return fastact_float_of_bits(float_bits if float_bits < float_limit else float_limit)
    else:
        double_bits, double_limit = fastact_bits_of_double(a), fastact_bits_of_double(limit)
        return fastact_double_of_bits(double_bits if double_bits < double_limit else double_limit)


# The larger of two numbers >= 0.  A NaN without a sign is returned.
cdef inline floating magnitude_at_least(floating a, floating limit) noexcept nogil:
    cdef int32_t float_bits, float_limit
    cdef int64_t double_bits, double_limit
    if floating is float:
        float_bits, float_limit = fastact_bits_of_float(a), fastact_bits_of_float(limit)
        return fastact_float_of_bits(float_bits if float_bits > float_limit else float_limit)
    else:
        double_bits, double_limit = fastact_bits_of_double(a), fastact_bits_of_double(limit)
        return fastact_double_of_bits(double_bits if double_bits > double_limit else double_limit)


# x for x >= 0, -0 for x < 0: formulas that are relu minus a tail start from it.  A NaN is returned.
cdef inline floating rectified(floating x) noexcept nogil:
    if floating is float:
        return fastact_rectified_float(x)
    else:
        return fastact_rectified_double(x)


# a if the condition holds, else b, as an operand of a division or a root.  By masks: with two selects by one condition
# compilers compute the division for either outcome.
cdef inline floating operand_of(bint condition, floating a, floating b) noexcept nogil:
    cdef uint32_t mask
    cdef uint64_t wide_mask
    if floating is float:
        mask = <uint32_t> 0 - <uint32_t> condition
        return fastact_float_of_bits(fastact_bits_of_float(a) & mask | fastact_bits_of_float(b) & ~mask)
    else:
        wide_mask = <uint64_t> 0 - <uint64_t> condition
        return fastact_double_of_bits(fastact_bits_of_double(a) & wide_mask | fastact_bits_of_double(b) & ~wide_mask)


# The largest finite number: at_most(x, largest) keeps infinities out of products with 0
cdef inline floating largest(floating unused) noexcept nogil:
    if floating is float:
        return <floating> 3.4028234663852886e38
    else:
        return 1.7976931348623157e308


# The smallest number above 0
cdef inline floating smallest(floating unused) noexcept nogil:
    if floating is float:
        return <floating> 1.401298464324817e-45
    else:
        return 5e-324


# The rounding error of product = a b, signed so that |a b| = |product| - product_low.  Zero for large products, where
# it has no effect; this avoids inf - inf.
cdef inline floating product_low(floating a, floating b, floating product) noexcept nogil:
    cdef floating low = remainder(a, b, product)
    low = -low if product < 0 else low
    return low if absolute(product) < <floating> 3 * exp_limit(product) else <floating> 0


# x / 6 without a division.  0.51 ulp.
cdef inline floating sixth(floating x) noexcept nogil:
    if floating is float:
        return fma[floating](x, 0.1666666567325592, x * <floating> 9.934107758624577e-09)
    else:
        return fma[floating](x, 0.16666666666666666, x * <floating> 9.25185853854297e-18)


# ------------------------------------------------------------------------------------------------ sums of two parts

# a b and its rounding error
cdef inline floating product_in_two(floating a, floating b, floating* low) noexcept nogil:
    cdef floating product = a * b
    low[0] = -remainder(a, b, product)
    return product


# a + b and its rounding error (two-sum, Knuth 1969)
cdef inline floating sum_in_two(floating a, floating b, floating* low) noexcept nogil:
    cdef floating total = a + b
    cdef floating part = total - a
    low[0] = (a - (total - part)) + (b - part)
    return total


# constant + constant_low + slope x, the last step of a polynomial, in two parts.  Needs |slope x| <= |constant|.
cdef inline floating line_in_two(floating slope, floating x, floating constant, floating constant_low,
                                 floating* low) noexcept nogil:
    cdef floating total = fma(slope, x, constant)
    low[0] = fma(slope, x, constant - total) + constant_low
    return total


cdef inline floating square_root(floating x) noexcept nogil:
    if floating is float:
        return fastact_sqrt_float(x)
    else:
        return fastact_sqrt_double(x)


# b = 4 quarter / factor^2 with 1 <= quarter < 4 and a power of two as factor, exact for any b > 0.  The quarter is 0
# for b = 0 and NaN for b < 0.  Slightly below b = 4 the factor is 1: a product of a large x and the factor may overflow
# only where b / x underflows.
cdef inline floating split_into_square(floating b, floating* quarter) noexcept nogil:
    cdef floating least, some, factor, normal = b * two_to(64, b)
    cdef uint32_t float_bits, float_base
    cdef uint64_t double_bits, double_base
    normal = normal if b < two_to(-60, b) else b                    # not subnormal
    if floating is float:
        least = two_to(-48, b)
        float_bits = (fastact_bits_of_float(normal) >> 23 & <uint32_t> 0xff) + <uint32_t> 127
        float_base = <uint32_t> 287 if b < two_to(-60, b) else <uint32_t> 255
        some = fastact_float_of_bits((float_base - (float_bits >> 1)) << 23)
    else:
        least = two_to(-106, b)
        double_bits = (fastact_bits_of_double(normal) >> 52 & <uint64_t> 0x7ff) + <uint64_t> 1023
        double_base = <uint64_t> 2079 if b < two_to(-60, b) else <uint64_t> 2047
        some = fastact_double_of_bits((double_base - (double_bits >> 1)) << 52)
    factor = some if b < least else <floating> 1
    factor = factor if b < 4 else some
    quarter[0] = b * factor * factor * <floating> 0.25
    quarter[0] = quarter[0] if b >= 0 else <floating> NAN
    return factor


# The largest power of two <= a, for a normal a > 0
cdef inline floating power_in(floating a) noexcept nogil:
    if floating is float:
        return fastact_float_of_bits(fastact_bits_of_float(a) & <uint32_t> 0x7f800000)
    else:
        return fastact_double_of_bits(fastact_bits_of_double(a) & <uint64_t> 0x7ff0000000000000)


# 4 quarter for such a quarter, but never 0.  An addition and not a select, which compilers turn into two square roots.
cdef inline floating four_times(floating quarter) noexcept nogil:
    if floating is float:
        return <floating> 4 * quarter + two_to(-120, quarter)
    else:
        return <floating> 4 * quarter + two_to(-200, quarter)


# 1 / power for a power of two with a normal inverse; 0 for the largest one
cdef inline floating inverse_of_power(floating power) noexcept nogil:
    if floating is float:
        return fastact_float_of_bits((<uint32_t> 254 << 23) - fastact_bits_of_float(power))
    else:
        return fastact_double_of_bits((<uint64_t> 2046 << 52) - fastact_bits_of_double(power))


# sqrt(x^2 + b) for x >= 0 and 2^-106 <= b <= 16, and the residual x^2 + b - root^2.  From 2^40 on the root is x.
cdef inline floating root_of_square_and(floating b, floating x, floating* lacking) noexcept nogil:
    cdef floating square_low, total_low, root, bounded = at_most[floating](x, 1099511627776)
    cdef floating square = product_in_two(bounded, bounded, &square_low)
    cdef floating total = sum_in_two(square, b, &total_low)
    root = square_root(total)
    lacking[0] = remainder(root, root, total) + (total_low + square_low)
    return at_least(root, x)


# ---------------------------------------------------------------------------------------------------------- exponential
#
# x = n ln 2 + r with an integer n and |r| <= ln(2) / 2, then e^x = 2^n (1 + q) with q = e^r - 1.
#
# `shifted` carries n in its lowest bits: adding 1.5 x 2^23 (2^52) rounds to an integer, which an integer shift can move
# to the exponent field.  Valid for |x| <= 3 exp_limit: there n times the first part of ln 2 is exact.

# Beyond this 4 e^-x is below half of the smallest subnormal number.
cdef inline floating exp_limit(floating unused) noexcept nogil:
    if floating is float:
        return 106
    else:
        return 748


# Adding it to a number rounds that to an integer n, which is then in the lowest bits.
cdef inline floating integer_shift(floating unused) noexcept nogil:
    if floating is float:
        return <floating> 12582912.0                       # 1.5 x 2^23
    else:
        return <floating> 6755399441055744.0               # 1.5 x 2^52


# e^(x - x_low) = 2^n e^r: returns `shifted` = n + shift and stores r and its rounding error.  `shift` is integer_shift
# or more.  ln 2 has two parts; the first is short enough that n times it is exact.
cdef inline floating exp_reduce_in_two(floating x, floating x_low, floating shift, floating* r,
                                       floating* r_low) noexcept nogil:
    cdef floating log2_e, ln2_high, ln2_low, shifted, n, part
    if floating is float:
        log2_e = <floating> 1.44269502162933349609375
        ln2_high = <floating> 0.693145751953125        # 15 bits
        ln2_low = <floating> 1.42860676533018704503775e-6
    else:
        log2_e = 1.4426950408889634
        ln2_high = 0.69314718036912382                 # 32 bits
        ln2_low = 1.9082149292705877e-10
    shifted = fma(x, log2_e, shift)
    n = shifted - shift
    part = fma(n, -ln2_high, x)
    r[0] = fma(n, -ln2_low, part) - x_low
    r_low[0] = fma(n, -ln2_low, (part - r[0]) - x_low)
    return shifted


cdef inline floating exp_reduce_by(floating x, floating x_low, floating shift, floating* r) noexcept nogil:
    cdef floating r_low
    return exp_reduce_in_two(x, x_low, shift, r, &r_low)


cdef inline floating exp_reduce(floating x, floating x_low, floating* r) noexcept nogil:
    return exp_reduce_by(x, x_low, integer_shift(x), r)


# The shift that includes offset and the bias of the exponent: moved to the exponent field, `shifted` is 2^(n + offset).
cdef inline floating exp_shift(int offset, floating unused) noexcept nogil:
    if floating is float:
        return integer_shift(unused) + <floating> (127 + offset)
    else:
        return integer_shift(unused) + <floating> (1023 + offset)


cdef inline floating shifted_to_exponent(floating shifted) noexcept nogil:
    if floating is float:
        return fastact_float_of_bits(fastact_bits_of_float(shifted) << 23)
    else:
        return fastact_double_of_bits(fastact_bits_of_double(shifted) << 52)


# e^(x - x_low) = 2^n e^r: stores r and returns 2^(n + offset) for shift = exp_shift(offset).  2^(n + offset) must be
# normal.
cdef inline floating exp_split_by(floating x, floating x_low, floating shift, floating* r) noexcept nogil:
    return shifted_to_exponent(exp_reduce_by(x, x_low, shift, r))


cdef inline floating exp_split(floating x, floating x_low, int offset, floating* r) noexcept nogil:
    return exp_split_by(x, x_low, exp_shift(offset, x), r)


# The integer n of this split
cdef inline floating exp_integer(floating x) noexcept nogil:
    cdef floating r
    return exp_reduce(x, <floating> 0, &r) - integer_shift(x)


# e^(1.702 x) = 2^n e^r, for gelu_quick.  The reduction is of x and not of the product 1.702 x: it subtracts multiples
# of a number close to ln(2) / 1.702, short enough that n times it is exact.  So r is rounded once.
cdef inline floating exp_reduce_1702(floating x, floating* r) noexcept nogil:
    cdef floating factor, factor_low, factor_log2_e, step, ln2_rest, shifted, n, part, shift = integer_shift(x)
    if floating is float:
        factor, factor_low = <floating> 1.70200002193450927734375, <floating> -2.1934509319976314e-08
        factor_log2_e = <floating> 2.4554669857025146484375
        step = <floating> 0.4072418212890625            # 15 bits
        ln2_rest = <floating> 2.160072654078249e-05      # ln(2) - factor step
    else:
        factor, factor_low = 1.702, 4.263256414560601e-17
        factor_log2_e = 2.4554669595930156
        step = 0.40725451265461743                      # 32 bits
        ln2_rest = 2.178644563434943e-11
    shifted = fma(x, factor_log2_e, shift)
    n = shifted - shift
    part = fma(n, -step, x)
    r[0] = fma(part, factor, fma(part, factor_low, -n * ln2_rest))
    return shifted


# e^z = 2^n e^r for z = slope x (x^2 + square), the argument of gelu_tanh, x >= 0.  The reduction is of x (x^2 +
# square), by multiples of ln(2) / slope.  x^2 + square and slope have two parts.
cdef inline floating exp_reduce_gelu_tanh(floating x, floating* r) noexcept nogil:
    cdef floating square, square_low, slope, slope_low, slope_log2_e, step_high, step_low
    cdef floating total, total_low, shifted, n, part, shift = integer_shift(x)
    if floating is float:
        square, square_low = <floating> 22.363845825195312, <floating> 1.417704152117949e-05
        slope, slope_low = <floating> 0.07135481387376785, <floating> 2.3988324659995897e-09
        slope_log2_e = <floating> 0.10294324159622192
        step_high = <floating> 9.7138671875             # 15 bits
        step_low = <floating> 0.0002238405286334455
    else:
        square, square_low = 22.36386000223638, 7.068084733670861e-15
        slope, slope_low = 0.07135481627260025, -6.175149918155315e-19
        slope_log2_e = 0.1029432395800235
        step_high = 9.714091025292873                 # 32 bits
        step_low = 2.7308227130388707e-09
    total = fma(x, x, square)
    total_low = square_low - remainder(x, x, total - square)
    shifted = fma(x * total, slope_log2_e, shift)
    n = shifted - shift
    part = -remainder(x, total, n * step_high)
    r[0] = fma(part, slope, fma(fma(x, total_low, -n * step_low), slope, part * slope_low))
    return shifted


# e^(a b) = 2^n e^r; the rounding error of the product is included in r
cdef inline floating exp_reduce_product(floating a, floating b, floating* r) noexcept nogil:
    cdef floating low
    cdef floating product = product_in_two(a, b, &low)
    return exp_reduce(product, -low, r)


# (e^r - 1 - r) / r^2 on |r| <= ln(2) / 2, r2 = r^2.  Error relative to r: 2^-26.1 (float), 2^-55.6 (double).
# Separate even and odd powers halve the dependent chain.
cdef inline floating exp_polynomial(floating r, floating r2) noexcept nogil:
    cdef floating even, odd
    if floating is float:
        even = fma[floating](r2, 1.393653801642358303070068359375e-3, 4.1666448116302490234375e-2)
        even = fma[floating](r2, even, 0.5)
        odd = fma[floating](r2, 8.366537280380725860595703125e-3, 0.16666543483734130859375)
    else:
        even = fma[floating](r2, 2.7626327715068233e-7, 2.4801504442646605e-5)
        even = fma[floating](r2, even, 1.3888888932381909e-3)
        even = fma[floating](r2, even, 4.1666666666573614e-2)
        even = fma[floating](r2, even, 0.50000000000000056)
        odd = fma[floating](r2, 2.5114117608984412e-8, 2.7557229064578480e-6)
        odd = fma[floating](r2, odd, 1.9841269901807177e-4)
        odd = fma[floating](r2, odd, 8.3333333333151429e-3)
        odd = fma[floating](r2, odd, 0.16666666666666685)
    return fma(odd, r, even)


# (e^x - 1 - x) 2 / x^2 - 1 on |x| <= 1/2.  Error relative to x^2: 2^-30.3 (float), 2^-57.8 (double).
cdef inline floating exp_rest_polynomial(floating x) noexcept nogil:
    cdef floating chain
    if floating is float:
        chain = fma[floating](x, 4.9900383601197973e-5, 3.99259617552161217e-4)
        chain = fma[floating](x, chain, 2.7777280192822218e-3)
        chain = fma[floating](x, chain, 1.66663583368062973e-2)
        chain = fma[floating](x, chain, 8.3333335816860199e-2)
        chain = fma[floating](x, chain, 0.333333343267440796)
    else:
        chain = fma[floating](x, 3.232070812727344e-10, 4.19228310262224906e-9)
        chain = fma[floating](x, chain, 5.0103257326160169e-8)
        chain = fma[floating](x, chain, 5.5114174274422794e-7)
        chain = fma[floating](x, chain, 5.51146405765103126e-6)
        chain = fma[floating](x, chain, 4.9603175180428695e-5)
        chain = fma[floating](x, chain, 3.96825396802206174e-4)
        chain = fma[floating](x, chain, 2.77777777774647263e-3)
        chain = fma[floating](x, chain, 1.66666666666678079e-2)
        chain = fma[floating](x, chain, 8.3333333333333884e-2)
        chain = fma[floating](x, chain, 0.333333333333333315)
    return chain * x


# 2^(n + offset); the result must be normal
cdef inline floating power_of_two(floating shifted, int offset) noexcept nogil:
    if floating is float:
        return fastact_float_of_bits((fastact_bits_of_float(shifted) << 23) + (<uint32_t> (127 + offset) << 23))
    else:
        return fastact_double_of_bits((fastact_bits_of_double(shifted) << 52) + (<uint64_t> (1023 + offset) << 52))


# factor 2^n for a power of two as factor; the result must be normal
cdef inline floating times_power_of_two(floating factor, floating shifted) noexcept nogil:
    if floating is float:
        return fastact_float_of_bits((fastact_bits_of_float(shifted) << 23) + fastact_bits_of_float(factor))
    else:
        return fastact_double_of_bits((fastact_bits_of_double(shifted) << 52) + fastact_bits_of_double(factor))


# 2^(offset - n); the result must be normal
cdef inline floating inverse_power_of_two(floating shifted, int offset) noexcept nogil:
    if floating is float:
        return fastact_float_of_bits((<uint32_t> (127 + offset) << 23) - (fastact_bits_of_float(shifted) << 23))
    else:
        return fastact_double_of_bits((<uint64_t> (1023 + offset) << 52) - (fastact_bits_of_double(shifted) << 52))


# 2^exponent; the result must be normal
cdef inline floating two_to(int exponent, floating unused) noexcept nogil:
    if floating is float:
        return fastact_float_of_bits(<uint32_t> (127 + exponent) << 23)
    else:
        return fastact_double_of_bits(<uint64_t> (1023 + exponent) << 52)


# y / 2^bits for y >= 0 that is 0 or normal; bits is scale_bits or twice that.  A subnormal result is rounded once.
#
# A multiplication with a subnormal result or operand takes a microcode assist, 100 cycles and more; an addition does
# not.  So y in units of the smallest subnormal number is added to 2^23 (2^52), which rounds it to an integer: these are
# the bits of the result.
#
# Of `normal` and `subnormal` below, the one that does not apply is the smallest normal number.  `scale` multiplies
# normal results: 2^-bits or another power of two.  A NaN, of either sign, gives a NaN.
cdef inline floating scaled_back_by(floating y, int bits, floating scale) noexcept nogil:
    cdef floating unit, least, subnormal, normal, a = absolute(y)
    if floating is float:
        unit, least = two_to(23, y), two_to(-126, y)
        subnormal = fma(magnitude_at_most(a, two_to(bits - 126, y)), two_to(149 - bits, y), unit)
        normal = magnitude_at_least(a, two_to(bits - 126, y)) * scale
        return fastact_float_of_bits(fastact_bits_of_float(normal) + fastact_bits_of_float(subnormal)
                                     - (fastact_bits_of_float(unit) + fastact_bits_of_float(least)))
    else:
        unit, least = two_to(52, y), two_to(-1022, y)
        subnormal = fma(magnitude_at_most(a, two_to(bits - 1022, y)), two_to(1074 - bits, y), unit)
        normal = magnitude_at_least(a, two_to(bits - 1022, y)) * scale
        return fastact_double_of_bits(fastact_bits_of_double(normal) + fastact_bits_of_double(subnormal)
                                      - (fastact_bits_of_double(unit) + fastact_bits_of_double(least)))


cdef inline floating scaled_back(floating y, int bits) noexcept nogil:
    return scaled_back_by(y, bits, two_to(-bits, y))


cdef inline floating scaled_back_signed(floating y, int bits) noexcept nogil:
    return with_sign_of(scaled_back(absolute(y), bits), y)


# y / 2^bits, but at least 2^-100 (2^-900): for a summand of 1, where the difference has no effect
cdef inline floating scaled_back_clamped(floating y, int bits) noexcept nogil:
    if floating is float:
        return magnitude_at_least(y, two_to(bits - 100, y)) * two_to(-bits, y)
    else:
        return magnitude_at_least(y, two_to(bits - 900, y)) * two_to(-bits, y)


# Powers of two that may be subnormal are computed times 2^scale_bits, and the result is scaled back at the end.  x e^-z
# takes 2 scale_bits: it is not yet 0 where e^-z is.  For a `bounded` x no power is subnormal: no scaling, same bits.
cdef inline int scale_bits(floating unused, bint bounded) noexcept nogil:
    if bounded:
        return 0
    elif floating is float:
        return 30
    else:
        return 60


# 2^scale_bits e^(x - x_low) for x <= 0, for the caller to scale back.  0.9 ulp.
cdef inline floating exp_negative_scaled(floating x, floating x_low, bint bounded) noexcept nogil:
    cdef floating r, q, r2, scale
    cdef floating within = x if bounded else at_least(x, -exp_limit(x))
    scale = exp_split(within, x_low, scale_bits(x, bounded), &r)
    r2 = r * r
    q = fma(r2, exp_polynomial(r, r2), r)
    return fma(scale, q, scale)


# e^(x - x_low) for any x, overflow and subnormal results included.  1.0 ulp.
#
# `factor` keeps 2^n normal at both ends of the range.
cdef inline floating exp_of_two(floating x, floating x_low) noexcept nogil:
    cdef floating r, q, r2, scale, factor, inverse, upper
    cdef floating shifted
    if floating is float:
        upper = 89
    else:
        upper = 710
    shifted = exp_reduce[floating](at_most(at_least[floating](x, -exp_limit(x)), upper), x_low, &r)
    r2 = r * r
    q = fma(r2, exp_polynomial(r, r2), r)
    factor = two_to(scale_bits(x, False), x) if x < 0 else <floating> 0.25
    inverse = two_to(-scale_bits(x, False), x) if x < 0 else <floating> 4
    scale = times_power_of_two(factor, shifted)
    return scaled_back_by(fma(scale, q, scale), scale_bits(x, False), inverse)


cdef inline floating exp_anywhere(floating x) noexcept nogil:
    return exp_of_two(x, <floating> 0)


# e^x for a bounded x, without scaling: the bits of exp_anywhere
cdef inline floating exp_of_bounded(floating x) noexcept nogil:
    cdef floating r, q, r2
    cdef floating scale = exp_split[floating](x, 0, 0, &r)
    r2 = r * r
    q = fma(r2, exp_polynomial(r, r2), r)
    return fma(scale, q, scale)


# e^(x - x_low) - 1 for |x| <= 40 as high + low; `with_r_low` includes the rounding error of r
cdef inline floating expm1_in_two(floating x, floating x_low, bint with_r_low, floating* low) noexcept nogil:
    cdef floating r, r_low, r2, polynomial, q, q_low, less_one, high
    cdef floating scale = shifted_to_exponent(exp_reduce_in_two(x, x_low, exp_shift(0, x), &r, &r_low))
    r2 = r * r
    polynomial = exp_polynomial(r, r2)
    q = fma(r2, polynomial, r)
    q_low = fma(r2, polynomial, r - q)
    if with_r_low:
        q_low += fma(q, r_low, r_low)
    less_one = scale - <floating> 1
    high = fma(scale, q, less_one)
    low[0] = fma(scale, q_low, fma(scale, q, less_one - high))
    return high


cdef inline floating expm1_bounded(floating x, floating x_low, floating* low) noexcept nogil:
    return expm1_in_two(x, x_low, False, low)


# The same as one number.  1.2 ulp.
cdef inline floating expm1_rounded(floating x) noexcept nogil:
    cdef floating r, q, r2
    cdef floating scale = exp_split[floating](x, 0, 0, &r)
    r2 = r * r
    q = fma(r2, exp_polynomial(r, r2), r)
    return fma(scale, q, scale - <floating> 1)


# ----------------------------------------------------------------------------------------------- ratios of exponentials

# 1 / (1 + v + q) for a power of two v.  The remainder corrects the quotient; v and q are exact in it.  0.8 ulp.
cdef inline floating inverse_of_one_more(floating v, floating q) noexcept nogil:
    cdef floating one = 1
    cdef floating inverse = one / ((one + v) + q)
    return fma(fma(-inverse, q, fma(-inverse, v, one) - inverse), inverse, inverse)


# e^-r - 1 for the r of exp_split
cdef inline floating expm1_of_minus(floating r) noexcept nogil:
    cdef floating r2 = r * r
    return fma(r2, exp_polynomial(-r, r2), -r)


# 1 / (1 + e^(x_low - x)).  1.1 ulp.
#
# With e^-x = (1 + q) / v and v = 2^n it is v / (v + 1 + q): no overflow, and full relative accuracy in the tail.
cdef inline floating logistic(floating x, floating x_low, bint bounded) noexcept nogil:
    cdef floating r, v, scaled, inverse
    cdef floating below = at_most[floating](x, 60)                      # beyond 60 it rounds to 1
    cdef floating within = x if bounded else at_least(below, -exp_limit(x))
    scaled = exp_split(within, x_low, scale_bits(x, bounded), &r)
    v = scaled if bounded else scaled_back_clamped(scaled, scale_bits(x, bounded))
    inverse = inverse_of_one_more(v, expm1_of_minus(r))
    return v * inverse if bounded else scaled_back(scaled * inverse, scale_bits(x, bounded))


# multiple t (1 - t) with t = 1 / (1 + e^x), for x >= 0 and a small power of two `multiple`.  2.0 ulp.
cdef inline floating logistic_slope(floating x, floating multiple, bint bounded) noexcept nogil:
    cdef floating r, v, scaled, inverse, t, slope
    cdef floating within = x if bounded else at_most(x, exp_limit(x))
    scaled = exp_split[floating](-within, 0, scale_bits(x, bounded), &r)
    v = scaled if bounded else scaled_back_clamped(scaled, scale_bits(x, bounded))
    inverse = inverse_of_one_more(v, expm1_of_minus(r))
    t = v * inverse
    scaled = multiple * scaled * inverse
    slope = fma(-t, scaled, scaled)
    return slope if bounded else scaled_back(slope, scale_bits(x, bounded))


# The hyperbolic tangent of a >= 0 with a finite e^(2a).  1.5 ulp.
#
# With a = n ln(2) / 2 + r, w = 2^-n and t = tanh(r) it is N / D, N = (1 - w) + (1 + w) t and D = (1 + w) + (1 - w) t.
# The result is not N / D, where N is rounded, but y + (N - y D) / D with the approximation y = (1 - w)^2.  The
# correction is small and so are its errors, N - y D is computed from exact parts, and only one operation waits for the
# division.  For n = 0 all but t is exact.  One part of ln 2 suffices: the error of the reduction grows as n, its effect
# falls as 2^-n.
cdef inline floating tanh_positive(floating a) noexcept nogil:
    cdef floating shift = exp_shift(0, a)
    cdef floating two_log2_e, half_ln2, shifted, r, s, cube, polynomial, w, more, less, inverse, y, slope, rest, one = 1
    if floating is float:
        two_log2_e, half_ln2 = <floating> 2.8853900432586669921875, <floating> 0.3465735912322998046875
    else:
        two_log2_e, half_ln2 = 2.8853900817779268, 0.34657359027997264
    shifted = fma(a, -two_log2_e, shift)
    r = fma(shifted - shift, half_ln2, a)
    s = r * r
    cube = r * s
    polynomial = tanh_polynomial(s)
    w = shifted_to_exponent(shifted)
    more = one + w
    less = fma[floating](-2, w, more)           # 1 - w; where 1 + w is rounded, with the same rounding error
    inverse = one / fma(less, fma(cube, polynomial, r), more)
    y = less * less
    slope = fma(-y, less, more)
    rest = fma(r, slope, fma(cube * polynomial, slope, fma(-y, more, less)))    # a rounded t would cost accuracy
    return fma(rest, inverse, y)


# (tanh(r) / r - 1) / r^2 on |r| <= ln(2) / 4, s = r^2.  Error relative to r: 2^-32.4 (float), 2^-57.7 (double).
cdef inline floating tanh_polynomial(floating s) noexcept nogil:
    cdef floating chain, even, odd, s2 = s * s
    if floating is float:
        chain = fma[floating](s, -5.272047221660614e-2, 0.133311539888381958)
        chain = fma[floating](s, chain, -0.333333224058151245)
        return chain
    else:
        even = fma[floating](s2, -8.8573129044228101e-3, -5.3968252784018789e-2)
        even = fma[floating](s2, even, -0.333333333333324877)
        odd = fma[floating](s2, 3.4448847118016099e-3, 2.1869370849992204e-2)
        odd = fma[floating](s2, odd, 0.133333333327850384)
        return fma(odd, s, even)


# Beyond this x e^-x rounds to 0.
cdef inline floating product_limit(floating unused) noexcept nogil:
    return exp_limit(unused) + <floating> 12


# x / (1 + e^z) for 0 <= x <= z <= product_limit, given the reduction e^z = 2^n (1 + q): with w = 2^-n it is
# x w / (w + 1 + q).
#
# q + w is added before 1: a small w keeps its digits.
cdef inline floating logistic_product(floating x, floating shifted, floating r, bint bounded) noexcept nogil:
    cdef int bits = 2 * scale_bits(x, bounded)
    cdef floating scale = inverse_power_of_two(shifted, bits)
    cdef floating r2 = r * r
    cdef floating q = fma(r2, exp_polynomial(r, r2), r)
    cdef floating d = <floating> 1 + (scale + q if bounded else fma(scale, two_to(-bits, x), q))
    cdef floating product = x / d * scale
    return product if bounded else scaled_back(product, bits)


# e (less + e) / (1 + e)^2 with e = e^-z, given the reduction e^z = 2^n e^r.  For less = 1 - z it is the derivative of
# z / (1 + e^-z) at -z; the derivative at z is 1 minus that.  less_low is the rounding error of less, or 0.
#
# e = w (1 + q) is factored out of the quotient; the remainder corrects the quotient.
cdef inline floating logistic_product_derivative(floating less, floating less_low, floating shifted, floating r,
                                                 bint bounded) noexcept nogil:
    cdef int bits = 2 * scale_bits(r, bounded)
    cdef floating scale = inverse_power_of_two(shifted, bits)
    cdef floating w = scale if bounded else scaled_back_clamped(scale, bits)
    cdef floating r2 = r * r
    cdef floating q = fma(r2, exp_polynomial(-r, r2), -r)
    cdef floating e = fma(w, q, w)
    cdef floating top = less + e
    cdef floating top_low = ((less - top) + e) + less_low
    cdef floating rise = <floating> 2 + e
    cdef floating square = fma[floating](e, rise, 1)
    cdef floating square_low = fma(e, rise, <floating> 1 - square)
    cdef floating inverse = <floating> 1 / square
    cdef floating ratio = top * inverse
    cdef floating ratio_low = fma(-ratio, square_low, remainder(ratio, square, top) + top_low) * inverse
    cdef floating product = (ratio + fma(ratio, q, fma(ratio_low, q, ratio_low))) * scale
    return product if bounded else scaled_back_signed(product, bits)


# Products a e^z with independent a and z.  |a| e^-|z| with a large |a| covers the whole range down to the smallest
# number, |a| e^|z| with a small |a| the whole range up to the largest.  Up to near_product_limit e^z is computed
# without scaling.  From there to far_product_limit its exponent is far_bits larger (or smaller); two multiplications by
# far_half, one before and one after the multiplication by a, undo this.
cdef inline floating near_product_limit(floating unused) noexcept nogil:
    if floating is float:
        return 80
    else:
        return 700


cdef inline floating far_product_limit(floating unused) noexcept nogil:
    if floating is float:
        return 193
    else:
        return 1456


cdef inline int far_bits(floating unused) noexcept nogil:
    if floating is float:
        return 156
    else:
        return 1084


cdef inline floating far_half(floating unused) noexcept nogil:
    return two_to(-far_bits(unused) // 2, unused)


# a e^(z - z_low), where z <= 0 if `direction` is positive, z >= 0 if it is negative; with `less_one` a (e^z - 1)
cdef inline floating times_exponential(floating a, floating z, floating z_low, floating direction,
                                       bint less_one) noexcept nogil:
    cdef floating r, r_low, r2, q, q_low, polynomial, scale, near, far, less, high, low, product, half, one = 1
    cdef floating limit = far_product_limit(z)
    cdef floating within = at_least(at_most(z, limit), <floating> -40 if less_one else -limit)
    cdef bint is_near = (within if less_one else absolute(within)) <= near_product_limit(z)
    cdef floating shifted = exp_reduce_in_two(within, z_low, integer_shift(z), &r, &r_low)
    r2 = r * r
    polynomial = exp_polynomial(r, r2)
    q = fma(r2, polynomial, r)
    near = power_of_two(shifted, 0)
    far = power_of_two(shifted, -far_bits(z) if direction < 0 else far_bits(z))
    half = two_to(far_bits(z) // 2, z) if direction < 0 else far_half(z)
    scale = near if is_near else far
    half = one if is_near else half
    if less_one:
        q_low = fma(r2, polynomial, r - q) + fma(q, r_low, r_low)
        less = scale - (one if is_near else <floating> 0)
        high = fma(scale, q, less)
        low = fma(scale, q_low, fma(scale, q, less - high))
        product = a * half * high
        high = fma(a * half, high, a * half * low)
        return (high if absolute(product) <= largest(z) else product) * half        # avoids inf - inf
    else:
        return a * half * fma(scale, q, scale) * half


# x^2 (1 + rest) / 2, rounded once.  The exact x is x - x_low.
cdef inline floating half_square_and_rest(floating x, floating x_low, floating rest) noexcept nogil:
    cdef floating half = x * <floating> 0.5
    cdef floating factor = <floating> 1 + rest
    cdef floating factor_low = rest - (factor - <floating> 1)
    cdef floating product = half * factor
    cdef floating product_low = fma(half, factor_low, -remainder(half, factor, product))
    return fma(x, product, fma(x, product_low, <floating> -2 * x_low * product))


# (a + a_low)^2 size^2 e^(z_low - z) for a, z >= 0 and a power of two as size, as the square of root + root_low, and
# e^(z_low - z), which is 0 where it is negligible beside 1.  So the square is in range where a^2 and e^-z are not.  The
# root is at most 2^66 (2^520), whose square is infinite.
cdef inline floating root_of_times_exponential(floating a, floating a_low, floating size, floating z, floating z_low,
                                               floating* e, floating* root_low) noexcept nogil:
    cdef floating r, r2, q, m, m_low, magnitude, product, product_rest, power, scale, before, after, root, limit, least
    cdef floating one = 1, half = 0.5, quarter = 0.25
    cdef floating half_z = at_most(z * half, far_product_limit(z))
    cdef bint is_near = half_z <= near_product_limit(z)
    cdef floating shifted = exp_reduce(-half_z, z_low * -half, &r)
    if floating is float:
        limit, least = two_to(66, z), <floating> 30
    else:
        limit, least = two_to(520, z), <floating> 60
    r2 = r * r
    q = fma(r2, exp_polynomial(r, r2), r)
    m = one + q
    m_low = q - (m - one)
    magnitude = at_most(a, largest(a)) * quarter                    # m is less than 2
    product = magnitude * m
    product_rest = fma(magnitude, m_low, fma(a_low * quarter, m, -remainder(magnitude, m, product)))
    power = power_of_two(shifted, 0)
    scale = power if is_near else power_of_two(shifted, far_bits(z))
    before = one if is_near else far_half(z)
    after = before * size * <floating> 4
    root = at_most(product * before * scale * after, limit)
    root_low[0] = product_rest * before * scale * after if root < limit else <floating> 0
    power = power if half_z < least else <floating> 0
    e[0] = power * power * fma(m, m, (m + m) * m_low)
    return root


# x / a = quotient - low, for the exponent of an exponential.  Where a is small, x and a are scaled up so that the
# remainder is not subnormal.  NaN for a = 0.
cdef inline floating quotient_in_two(floating x, floating a, floating* low) noexcept nogil:
    cdef floating size = two_to(64, x) if absolute(a) < 1 else <floating> 1
    cdef floating divisor = a * size if a != 0 else <floating> NAN
    cdef floating dividend = x * size
    cdef floating quotient = dividend / divisor
    low[0] = -remainder(quotient, divisor, dividend) / divisor
    low[0] = low[0] if absolute(quotient) < far_product_limit(x) else <floating> 0
    return quotient


# |x| / (1 + e^|z|) where the exact |z| is |z| - z_low: with e^|z| = 2^n (1 + q) and w = 2^-n, |x| w / (w + 1 + q).
# The sum in the divisor may be less than 1, so |x| near the largest number is scaled before the division.
cdef inline floating times_falling_sigmoid(floating x, floating z, floating z_low, bint bounded) noexcept nogil:
    cdef floating r, r2, q, w, scale, before, after, one = 1
    cdef floating a = absolute(z) if bounded else at_most(absolute(z), far_product_limit(x))
    cdef floating magnitude = absolute(x) if bounded else at_most(absolute(x), largest(x))
    cdef floating shifted = exp_reduce(a, z_low, &r)
    cdef floating near = inverse_power_of_two(shifted, 0)
    cdef bint is_near = a < near_product_limit(x), is_large = magnitude > two_to(100, x)
    r2 = r * r
    q = fma(r2, exp_polynomial(r, r2), r)
    if bounded:
        return magnitude / (one + (near + q)) * near
    w = near if is_near else <floating> 0
    scale = near if is_near else inverse_power_of_two(shifted, far_bits(x))
    before = (two_to(-2, x) if is_large else one) if is_near else far_half(x)
    after = (two_to(2, x) if is_large else one) if is_near else far_half(x)
    return magnitude * before / (one + (w + q)) * scale * after


# multiple x / (2 + x) as high + low, for x + x_low >= 0 and a small power of two `multiple`
cdef inline floating ratio_to_two_more(floating x, floating x_low, floating multiple, floating* low) noexcept nogil:
    cdef floating one = 1, two = 2
    cdef floating d = two + x
    cdef floating d_low = (x - (d - two)) + x_low
    cdef floating inverse = one / d
    cdef floating high = (multiple * x) * inverse
    low[0] = (remainder(high, d, multiple * x) + fma(-high, d_low, multiple * x_low)) * inverse
    return high


# (atanh(u) / u - 1) / u^2 on 0 <= u <= 1/3, v = u^2.  Error relative to u: 2^-27.7 (float), 2^-59.3 (double).
cdef inline floating atanh_polynomial(floating v) noexcept nogil:
    cdef floating even, odd, v2 = v * v
    if floating is float:
        even = fma[floating](v2, 0.13999314606189727783203125, 0.333332061767578125)
        odd = fma[floating](v2, 0.14013350009918212890625, 0.2001086771488189697265625)
    else:
        even = fma[floating](v2, 4.1706733962555705e-2, 6.6505077820329259e-2)
        even = fma[floating](v2, even, 9.0908720539757390e-2)
        even = fma[floating](v2, even, 0.14285714273982306)
        even = fma[floating](v2, even, 0.33333333333333154)
        odd = fma[floating](v2, 8.5082060536367457e-2, 6.0528899872313864e-2)
        odd = fma[floating](v2, odd, 7.6932782089112028e-2)
        odd = fma[floating](v2, odd, 0.11111111981918660)
        odd = fma[floating](v2, odd, 0.20000000000078086)
    return fma(odd, v, even)


# log(1 + x) for x >= 0.  With 1 + x = 2^n m it is n ln 2 + 2 atanh((m - 1) / (m + 1)), plus the rounding error of 1 + x
# divided by 1 + x.  1.9 ulp (double).
cdef inline double log_of_one_more(double x) noexcept nogil:
    cdef double m, low
    cdef double total = 1 + x
    cdef double lost = x - (total - 1) if x < 1 else 1 - (total - x)
    cdef double n = exponent_beside[double](total, 1, &m)
    cdef double rest = x if n == 0 else m - 1
    cdef double two_u = (rest + rest) / (2 + rest)
    cdef double v = two_u * two_u * 0.25
    cdef double high = times_ln2(n, &low)
    low += 0 if n == 0 else lost / total
    cdef double log = high + (two_u + (two_u * v * atanh_polynomial(v) + low))
    return log if x >= 0 else x             # NaN


# log(v + lost) in two parts, for a normal v > 0: of v = 2^n m, n ln 2 + 2 atanh((m - 1) / (m + 1)).  Near 1, `rest`
# and its low part are taken for v + lost - 1.  Error 2^-59.
cdef inline double log_in_two(double v, double lost, double rest, double rest_low, double* low) noexcept nogil:
    cdef double m, n_low, total_low
    cdef double n = exponent_beside[double](v, 1, &m)
    cdef double a = rest if n == 0 else m - 1
    cdef double over = 2 + a
    cdef double two_u = (a + a) / over
    cdef double u2 = two_u * two_u * 0.25
    cdef double high = times_ln2(n, &n_low)
    cdef double total = sum_in_two(high, two_u, &total_low)
    n_low += fma(-two_u, a - (over - 2), remainder(two_u, over, a + a)) / over + (rest_low if n == 0 else lost) / v
    total_low += fma(two_u * u2, atanh_polynomial(u2), n_low)
    high = total + total_low
    low[0] = total_low - (high - total)
    return high


# A power of two divided by 2^bits, or unchanged if `stays`.  An integer subtraction from the exponent: a multiplication
# by a selected factor compiles to two multiplications and a select.
cdef inline floating power_scaled_back(floating scale, int bits, bint stays) noexcept nogil:
    cdef uint32_t float_bits = <uint32_t> 0 if stays else <uint32_t> bits
    cdef uint64_t double_bits = <uint64_t> 0 if stays else <uint64_t> bits
    if floating is float:
        return fastact_float_of_bits(fastact_bits_of_float(scale) - (float_bits << 23))
    else:
        return fastact_double_of_bits(fastact_bits_of_double(scale) - (double_bits << 52))


# Beyond this the result of log1p_exp_negative is times 2^(2 scale_bits), for the caller to scale back; there
# log(1 + e) = e.
cdef inline floating scaled_limit(floating unused) noexcept nogil:
    if floating is float:
        return 64
    else:
        return 600


# log(1 + e^-x) for x - x_low >= 0 as high + low:  log(1 + e) = 2 atanh(e / (2 + e)).
#
# `divided`: the caller divides the result by a number of any size.  Beyond near_product_limit it is then times
# 2^far_bits, and valid up to far_product_limit.
cdef inline floating log1p_exp_negative(floating x, floating x_low, bint bounded, bint divided,
                                        floating* low) noexcept nogil:
    cdef floating r, r2, q, m, scale, e, e_low, two_u, two_u_low, large, v, least, one = 1, quarter = 0.25
    cdef int bits = far_bits(x) if divided else 2 * scale_bits(x, bounded)
    cdef floating limit = far_product_limit(x) if divided else exp_limit(x)
    cdef floating shift = exp_shift(far_bits(x), x) if divided else exp_shift(2 * scale_bits(x, bounded), x)
    cdef floating scaled_from = near_product_limit(x) if divided else scaled_limit(x)
    cdef floating far_from = near_product_limit(x) if divided else <floating> INFINITY
    cdef floating within = x if bounded else at_most(x, limit)
    scale = exp_split_by(-within, <floating> 0 - x_low, shift, &r)
    if not bounded:
        scale = power_scaled_back(scale, bits, x > scaled_from)
    r2 = r * r
    q = fma(r2, exp_polynomial(r, r2), r)
    m = one + q
    e = m * scale
    e_low = (q - (m - one)) * scale
    two_u = ratio_to_two_more[floating](e, e_low, 2, &two_u_low)
    if floating is float:
        least = two_to(-30, x)
    else:
        least = two_to(-60, x)
    large = magnitude_at_least(two_u, least) - least        # 0 where the third power is negligible
    v = large * large * quarter
    low[0] = fma(large * v, atanh_polynomial(v), two_u_low)
    low[0] = e_low if x > far_from else low[0]
    return e if x > far_from else two_u                     # two_u rounds to e there, but not with this scaling


# ---------------------------------------------------------------------------------- polynomials with a leading constant
#
# Each function is constant + constant_low + x times the number returned.

# (x - tanh(x)) / x^3 on 0 <= x <= 1, v = x^2.  Relative error: 2^-27.4 (float), 2^-55.9 (double).
cdef inline floating tanh_shrink_polynomial(floating v, floating* constant, floating* constant_low) noexcept nogil:
    cdef floating total
    if floating is float:
        constant[0], constant_low[0] = <floating> 0.3333333432674408, <floating> -1.1779388131571977e-08
        total = fma[floating](v, -0.00014264164201449603, 0.0009229285060428083)
        total = fma[floating](total, v, -0.0032059396617114544)
        total = fma[floating](total, v, 0.008697185665369034)
        total = fma[floating](total, v, -0.021829279139637947)
        total = fma[floating](total, v, 0.05396335944533348)
        total = fma[floating](total, v, -0.13333310186862946)
    else:
        constant[0], constant_low[0] = 0.3333333333333333, 1.3806548050256436e-17
        total = fma[floating](v, -2.516375676728431e-08, 2.633741958040128e-07)
        total = fma[floating](total, v, -1.3794095210558171e-06)
        total = fma[floating](total, v, 4.988226390121845e-06)
        total = fma[floating](total, v, -1.4606763150328774e-05)
        total = fma[floating](total, v, 3.839020540989413e-05)
        total = fma[floating](total, v, -9.646318256836696e-05)
        total = fma[floating](total, v, 0.00023895725103179784)
        total = fma[floating](total, v, -0.0005899793649901122)
        total = fma[floating](total, v, 0.0014558247098225804)
        total = fma[floating](total, v, -0.003592126682459428)
        total = fma[floating](total, v, 0.008863235404935721)
        total = fma[floating](total, v, -0.02186948852915452)
        total = fma[floating](total, v, 0.05396825396804736)
        total = fma[floating](total, v, -0.13333333333333092)
    return total


# (a + 4) e^(a^2 / 2) times the normal distribution at -a, for 0 <= a <= 14.6 (float), 38.7 (double), with
# t = (a - 4) / (a + 4).  Relative error: 2^-26.4 (float), 2^-58.7 (double).
cdef inline floating normal_tail_polynomial(floating t, floating* constant, floating* constant_low) noexcept nogil:
    cdef floating total
    if floating is float:
        constant[0], constant_low[0] = <floating> 0.7552851438522339, <floating> -9.313669835364635e-09
        total = fma[floating](t, -0.0001339057635050267, 0.0001749575894791633)
        total = fma[floating](total, t, 0.0015683808596804738)
        total = fma[floating](total, t, -0.0035099356900900602)
        total = fma[floating](total, t, -0.007523702457547188)
        total = fma[floating](total, t, 0.060403335839509964)
        total = fma[floating](total, t, -0.18652379512786865)
        total = fma[floating](total, t, 0.38713693618774414)
        total = fma[floating](total, t, -0.6078965663909912)
    else:
        constant[0], constant_low[0] = 0.7552851304157515, -2.3135277630865175e-17
        total = fma[floating](t, -6.783437146719875e-10, -2.4255193595078385e-09)
        total = fma[floating](total, t, 1.786877967598343e-09)
        total = fma[floating](total, t, 1.9263488327579803e-08)
        total = fma[floating](total, t, 1.340092826190824e-08)
        total = fma[floating](total, t, -8.48394993393052e-08)
        total = fma[floating](total, t, -1.549716213051013e-07)
        total = fma[floating](total, t, 2.712888093127583e-07)
        total = fma[floating](total, t, 1.021484232150561e-06)
        total = fma[floating](total, t, -6.294048174226769e-07)
        total = fma[floating](total, t, -5.92011284480266e-06)
        total = fma[floating](total, t, 7.165596671925776e-07)
        total = fma[floating](total, t, 3.514466066533137e-05)
        total = fma[floating](total, t, -1.9082332607404823e-06)
        total = fma[floating](total, t, -0.00023109492906830156)
        total = fma[floating](total, t, 0.000133344308661557)
        total = fma[floating](total, t, 0.0016308184567407128)
        total = fma[floating](total, t, -0.003479692367065511)
        total = fma[floating](total, t, -0.007540188966662737)
        total = fma[floating](total, t, 0.06039657489092166)
        total = fma[floating](total, t, -0.1865218579596595)
        total = fma[floating](total, t, 0.3871374007422148)
        total = fma[floating](total, t, -0.6078966419718921)
    return total


# -log(1 - erf(a)) / a on 0 <= a <= 4 (float), 6 (double).  Error relative to erf: 2^-27.3 (float), 2^-57.2 (double).
cdef inline floating erf_polynomial(floating a, floating* constant, floating* constant_low) noexcept nogil:
    cdef floating total
    if floating is float:
        constant[0], constant_low[0] = <floating> 1.128379225730896, <floating> -5.411961723211789e-08
        total = fma[floating](a, -9.256264092982747e-06, 0.00011764126247726381)
        total = fma[floating](total, a, -0.000632836832664907)
        total = fma[floating](total, a, 0.00166702747810632)
        total = fma[floating](total, a, -0.00016039604088291526)
        total = fma[floating](total, a, -0.019153064116835594)
        total = fma[floating](total, a, 0.10277783125638962)
        total = fma[floating](total, a, 0.6366193890571594)
    else:
        constant[0], constant_low[0] = 1.1283791670955126, 9.747406145157808e-18
        total = fma[floating](a, 7.83457660318406e-16, -3.8506857214502977e-14)
        total = fma[floating](total, a, 8.845876419193943e-13)
        total = fma[floating](total, a, -1.2611354649039919e-11)
        total = fma[floating](total, a, 1.2484392441343872e-10)
        total = fma[floating](total, a, -9.082409793688597e-10)
        total = fma[floating](total, a, 4.997793191680627e-09)
        total = fma[floating](total, a, -2.096299820713804e-08)
        total = fma[floating](total, a, 6.573457534486721e-08)
        total = fma[floating](total, a, -1.4176469569981553e-07)
        total = fma[floating](total, a, 1.3718764359280765e-07)
        total = fma[floating](total, a, 3.363558855371766e-07)
        total = fma[floating](total, a, -1.741536692251712e-06)
        total = fma[floating](total, a, 2.8351300210410876e-06)
        total = fma[floating](total, a, 3.4072728688727872e-06)
        total = fma[floating](total, a, -2.972405019938786e-05)
        total = fma[floating](total, a, 6.449186251608548e-05)
        total = fma[floating](total, a, 2.587860377424415e-05)
        total = fma[floating](total, a, -0.0005901255527858134)
        total = fma[floating](total, a, 0.0016962063857299905)
        total = fma[floating](total, a, -0.00020919469484132757)
        total = fma[floating](total, a, -0.019128447005070368)
        total = fma[floating](total, a, 0.10277260330178876)
        total = fma[floating](total, a, 0.6366197723675836)
    return total


# Beyond this the normal distribution at -x rounds to 0, also times x.
cdef inline floating normal_limit(floating unused) noexcept nogil:
    if floating is float:
        return 14.6
    else:
        return 38.7


# 1 / (a + 4) and (a - 4) / (a + 4).  `lacking` is what the first one's relative error does to P(t) / (a + 4), relative:
# that error also enters t, and changes log P(t) by about -0.95 t times itself.
cdef inline floating normal_tail_argument(floating a, floating* t, floating* lacking) noexcept nogil:
    cdef floating one = 1, four = 4
    cdef floating d = a + four
    cdef floating d_low = a - (d - four)
    cdef floating inverse = one / d
    t[0] = (a - four) * inverse
    lacking[0] = fma(-d_low, inverse, remainder(d, inverse, one)) * fma[floating](t[0], -0.95, 1)
    return inverse


# e^(a^2 / 2) times the normal distribution at -a, for 0 <= a <= normal_limit, divided by 1 + lacking.  2 ulp.
cdef inline floating normal_tail(floating a, floating* lacking) noexcept nogil:
    cdef floating t, slope, constant, constant_low
    cdef floating inverse = normal_tail_argument(a, &t, lacking)
    slope = normal_tail_polynomial(t, &constant, &constant_low)
    return fma(slope, t, constant) * inverse


# The same in two parts
cdef inline floating normal_tail_in_two(floating a, floating* low) noexcept nogil:
    cdef floating t, lacking, constant, constant_low, slope, polynomial, polynomial_low, product, product_low
    cdef floating inverse = normal_tail_argument(a, &t, &lacking)
    slope = normal_tail_polynomial(t, &constant, &constant_low)
    polynomial = line_in_two(slope, t, constant, constant_low, &polynomial_low)
    product = product_in_two(polynomial, inverse, &product_low)
    low[0] = fma(product, lacking, fma(polynomial_low, inverse, product_low))
    return product


# a = 2^n scaled with `scaled` within a factor of sqrt(2) of b: returns n.  Both are positive and normal.
cdef inline floating exponent_beside(floating a, floating b, floating* scaled) noexcept nogil:
    cdef uint32_t float_n
    cdef uint64_t double_n
    if floating is float:
        float_n = (fastact_bits_of_float(a) - fastact_bits_of_float(b) + (<uint32_t> 257 << 22)) >> 23     # n + 128
        scaled[0] = fastact_float_of_bits(fastact_bits_of_float(a) - ((float_n - 128) << 23))
        return fastact_float_of_bits(float_n + <uint32_t> 0x4b400000) - <floating> 12583040.0           # 1.5 x 2^23
    else:
        double_n = (fastact_bits_of_double(a) - fastact_bits_of_double(b) + (<uint64_t> 2049 << 51)) >> 52  # n + 1024
        scaled[0] = fastact_double_of_bits(fastact_bits_of_double(a) - ((double_n - 1024) << 52))
        return fastact_double_of_bits(double_n + <uint64_t> 0x4338000000000000) - <floating> 6755399441056768.0


# n ln 2 in two parts, the first exact
cdef inline floating times_ln2(floating n, floating* low) noexcept nogil:
    if floating is float:
        low[0] = n * <floating> 1.42860676533018704503775e-6
        return n * <floating> 0.693145751953125
    else:
        low[0] = n * <floating> 1.9082149292705877e-10
        return n * <floating> 0.69314718036912382


# (x - mu) / sigma in two parts; the second is 0 where it is not finite
cdef inline floating standardized(floating x, floating mu, floating sigma, floating* low) noexcept nogil:
    cdef floating difference_low, rest
    cdef floating inverse = <floating> 1 / sigma
    cdef floating difference = sum_in_two(x, -mu, &difference_low)
    cdef floating quotient = difference * inverse
    rest = (remainder(quotient, sigma, difference) + difference_low) * inverse
    low[0] = rest if absolute(rest) < 1 else <floating> 0
    return quotient


# x clipped to [eps, 1 - eps] if 0 <= eps <= 1/2, else x
cdef inline floating clipped_to_middle(floating x, floating eps) noexcept nogil:
    cdef floating clipped = at_most(at_least(x, eps), <floating> 1 - eps)
    clipped = clipped if eps >= 0 else x
    return clipped if eps <= <floating> 0.5 else x
