# The elementary functions that the formulas are made of.
#
# Written once for float and double, as straight-line code on one number: no branch, one division at most, every choice
# a select between two values that exist already.  That is what lets the compiler widen each formula to whole vectors,
# and what makes the time independent of the data.
#
# Two habits to keep when adding to this page:
#   * a sum `high + low` of two numbers carries twice the digits; `low` is what rounding `high` lost;
#   * write constants as typed arguments (`fma[floating](p, x, 0.25)`) or as integers: a bare 0.25 beside a float
#     is double arithmetic in C, eight conversions for nothing.
#
# The polynomials come from tools/polynomials.sollya; tests/test_primitives.py fits none, but measures each of them
# again.  Errors are given as powers of two, relative to the quantity named.

from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t

ctypedef fused floating:
    float
    double


cdef extern from "_bits.h" nogil:
    float fastact_fma_float(float a, float b, float c) noexcept
    double fastact_fma_double(double a, double b, double c) noexcept
    float fastact_remainder_float(float a, float b, float c) noexcept
    double fastact_remainder_double(double a, double b, double c) noexcept
    uint32_t fastact_bits_of_float(float value) noexcept
    uint64_t fastact_bits_of_double(double value) noexcept
    float fastact_float_of_bits(uint32_t bits) noexcept
    double fastact_double_of_bits(uint64_t bits) noexcept
    void fastact_fetch(const void* address) noexcept
    double fastact_total_of_lanes(const float* lanes) noexcept


# ----------------------------------------------------------------------------------------------------------- arithmetic

# a b + c, rounded once
cdef inline floating fma(floating a, floating b, floating c) noexcept nogil:
    if floating is float:
        return fastact_fma_float(a, b, c)
    else:
        return fastact_fma_double(a, b, c)


# c - a b, all digits of it, where a b is c but for roundings; with or without fused multiply-add
cdef inline floating remainder(floating a, floating b, floating c) noexcept nogil:
    if floating is float:
        return fastact_remainder_float(a, b, c)
    else:
        return fastact_remainder_double(a, b, c)


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


# The smaller and the larger of two numbers; a NaN in x is kept.
cdef inline floating at_most(floating x, floating limit) noexcept nogil:
    return limit if x > limit else x


cdef inline floating at_least(floating x, floating limit) noexcept nogil:
    return limit if x < limit else x


# The smaller of two numbers that are not negative, as integers: one instruction where at_most takes two.  What becomes
# of a NaN is the limit: for formulas into which x goes once more.
cdef inline floating magnitude_at_most(floating a, floating limit) noexcept nogil:
    cdef int32_t float_bits, float_limit
    cdef int64_t double_bits, double_limit
    if floating is float:
        float_bits, float_limit = fastact_bits_of_float(a), fastact_bits_of_float(limit)
        return fastact_float_of_bits(float_bits if float_bits < float_limit else float_limit)
    else:
        double_bits, double_limit = fastact_bits_of_double(a), fastact_bits_of_double(limit)
        return fastact_double_of_bits(double_bits if double_bits < double_limit else double_limit)


# x for x >= 0, -0 for x < 0: what a function like relu is but for a tail, which is subtracted.  A NaN is kept.
cdef inline floating rectified(floating x) noexcept nogil:
    return <floating> -0.0 if x < 0 else x


# A number a little below the largest finite one: at_most(x, largest) keeps infinities out of products with 0
cdef inline floating largest(floating unused) noexcept nogil:
    if floating is float:
        return <floating> 3.4e38
    else:
        return 1.79e308


# What rounding product = a b lost, with the sign turned so that |a b| = |product| - product_low.  Zero where nothing
# depends on it any more, which keeps inf - inf out.
cdef inline floating product_low(floating a, floating b, floating product) noexcept nogil:
    cdef floating low = remainder(a, b, product)
    low = -low if product < 0 else low
    return low if absolute(product) < exp_limit(product) else <floating> 0


# x / 6 without a division.  0.51 ulp.
cdef inline floating sixth(floating x) noexcept nogil:
    if floating is float:
        return fma[floating](x, 0.1666666567325592, x * <floating> 9.934107758624577e-09)
    else:
        return fma[floating](x, 0.16666666666666666, x * <floating> 9.25185853854297e-18)


# ---------------------------------------------------------------------------------------------------------- exponential
#
# x = n ln 2 + r with an integer n and |r| <= ln(2) / 2, then e^x = 2^n (1 + q) with q = e^r - 1.
#
# `shifted` carries n in its lowest bits: adding 1.5 x 2^23 (2^52) rounds to an integer and leaves it where an integer
# shift can take it to the exponent field.  Good for |x| <= 3 exp_limit: n times the first part of ln 2 is exact.

# Beyond this 4 e^-x is below half of the smallest subnormal number.
cdef inline floating exp_limit(floating unused) noexcept nogil:
    if floating is float:
        return 106
    else:
        return 748


# The constant that rounds to an integer n when it is added, and leaves n + offset and the bias of the exponent in the
# lowest bits: a shift takes them to the exponent field, and 2^(n + offset) is there.
cdef inline floating exp_shift(int offset, floating unused) noexcept nogil:
    if floating is float:
        return <floating> 12582912.0 + <floating> (127 + offset)            # 1.5 x 2^23
    else:
        return <floating> 6755399441055744.0 + <floating> (1023 + offset)   # 1.5 x 2^52


# e^(x - x_low) = 2^n e^r: returns 2^(n + offset) for what exp_shift(offset) gave, stores r.  That power must be in the
# normal range.  ln 2 is in two parts, the first short enough for n times it to be exact; r is rounded once.
cdef inline floating exp_split_by(floating x, floating x_low, floating shift, floating* r) noexcept nogil:
    cdef floating log2_e, ln2_high, ln2_low, shifted, n
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
    r[0] = fma(n, -ln2_low, fma(n, -ln2_high, x)) - x_low
    return shifted_to_exponent(shifted)


cdef inline floating exp_split(floating x, floating x_low, int offset, floating* r) noexcept nogil:
    return exp_split_by(x, x_low, exp_shift(offset, x), r)


# The integer n of that split by itself
cdef inline floating exp_integer(floating x) noexcept nogil:
    cdef floating shift = exp_shift(0, x)
    if floating is float:
        return fma[floating](x, 1.44269502162933349609375, shift) - shift
    else:
        return fma[floating](x, 1.4426950408889634, shift) - shift


cdef inline floating shifted_to_exponent(floating shifted) noexcept nogil:
    if floating is float:
        return fastact_float_of_bits(fastact_bits_of_float(shifted) << 23)
    else:
        return fastact_double_of_bits(fastact_bits_of_double(shifted) << 52)


# e^(x - x_low) = 2^n e^r: returns `shifted`, stores r.  ln 2 in two parts, the first short enough for n times it to be
# exact; r is rounded once.
cdef inline floating exp_reduce(floating x, floating x_low, floating* r) noexcept nogil:
    cdef floating shift, log2_e, ln2_high, ln2_low, shifted, n
    if floating is float:
        shift = <floating> 12582912.0                  # 1.5 x 2^23
        log2_e = <floating> 1.44269502162933349609375
        ln2_high = <floating> 0.693145751953125        # 15 bits
        ln2_low = <floating> 1.42860676533018704503775e-6
    else:
        shift = 6755399441055744.0                     # 1.5 x 2^52
        log2_e = 1.4426950408889634
        ln2_high = 0.69314718036912382                 # 32 bits
        ln2_low = 1.9082149292705877e-10
    shifted = fma(x, log2_e, shift)
    n = shifted - shift
    r[0] = fma(n, -ln2_low, fma(n, -ln2_high, x)) - x_low
    return shifted


# e^(1.702 x) = 2^n e^r, for gelu_quick: x itself is reduced, by multiples of ln(2) / 1.702, so that nothing is lost of
# the product.
cdef inline floating exp_reduce_1702(floating x, floating* r) noexcept nogil:
    cdef floating shift, factor, factor_log2_e, step_high, step_low, shifted, n
    if floating is float:
        shift = <floating> 12582912.0                  # 1.5 x 2^23
        factor = <floating> 1.70200002193450927734375
        factor_log2_e = <floating> 2.4554669857025146484375
        step_high = <floating> 0.4072418212890625      # 15 bits
        step_low = <floating> 1.2691378287854604423046112060546875e-5
    else:
        shift = 6755399441055744.0                     # 1.5 x 2^52
        factor = 1.702
        factor_log2_e = 2.4554669595930156
        step_high = 0.40725451265461743                # 32 bits
        step_low = 1.28004968474438484e-11
    shifted = fma(x, factor_log2_e, shift)
    n = shifted - shift
    r[0] = fma(n, -step_low, fma(n, -step_high, x)) * factor
    return shifted


# (e^r - 1 - r) / r^2 on |r| <= ln(2) / 2, r2 = r^2.  Error relative to r: 2^-26.1 (float), 2^-55.6 (double).
# Even and odd powers apart: half the length of the dependent chain.
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


# 2^(n + offset), for a result in the normal range
cdef inline floating power_of_two(floating shifted, int offset) noexcept nogil:
    if floating is float:
        return fastact_float_of_bits((fastact_bits_of_float(shifted) << 23) + (<uint32_t> (127 + offset) << 23))
    else:
        return fastact_double_of_bits((fastact_bits_of_double(shifted) << 52) + (<uint64_t> (1023 + offset) << 52))


# 2^(offset - n), for a result in the normal range
cdef inline floating inverse_power_of_two(floating shifted, int offset) noexcept nogil:
    if floating is float:
        return fastact_float_of_bits((<uint32_t> (127 + offset) << 23) - (fastact_bits_of_float(shifted) << 23))
    else:
        return fastact_double_of_bits((<uint64_t> (1023 + offset) << 52) - (fastact_bits_of_double(shifted) << 52))


# Powers of two below the normal range are made as 2^(n + guard) and brought down by one exact multiplication.
cdef inline int guard_bits(floating unused) noexcept nogil:
    if floating is float:
        return 30
    else:
        return 60


cdef inline floating guard_scale(floating unused) noexcept nogil:
    if floating is float:
        return <floating> 9.31322574615478515625e-10        # 2^-30
    else:
        return <floating> 8.6736173798840355e-19            # 2^-60


# e^(x - x_low) for x <= 0, down to the last subnormal number.  0.9 ulp.
cdef inline floating exp_negative(floating x, floating x_low) noexcept nogil:
    cdef floating r, q, r2, scale
    scale = exp_split(at_least[floating](x, -exp_limit(x)), x_low, guard_bits(x), &r) * guard_scale(x)
    r2 = r * r
    q = fma(r2, exp_polynomial(r, r2), r)
    return fma(scale, q, scale)


# e^x, overflow and subnormal numbers included.  1.0 ulp.
#
# The scale is kept away from both ends of the range, and the result brought there by one multiplication.
cdef inline floating exp_anywhere(floating x) noexcept nogil:
    cdef floating r, q, r2, scale, rest, upper
    cdef floating shifted
    if floating is float:
        upper = 89
    else:
        upper = 710
    shifted = exp_reduce[floating](at_most(at_least[floating](x, -exp_limit(x)), upper), 0, &r)
    r2 = r * r
    q = fma(r2, exp_polynomial(r, r2), r)
    scale = power_of_two(shifted, guard_bits(x)) if x < 0 else power_of_two(shifted, -2)
    rest = guard_scale(x) if x < 0 else <floating> 4
    return fma(scale, q, scale) * rest


# e^(x - x_low) - 1 for |x| <= 40 as high + low
cdef inline floating expm1_bounded(floating x, floating x_low, floating* low) noexcept nogil:
    cdef floating r, r2, polynomial, q, q_low, less_one, high
    cdef floating scale = exp_split(x, x_low, 0, &r)
    r2 = r * r
    polynomial = exp_polynomial(r, r2)
    q = fma(r2, polynomial, r)
    q_low = fma(r2, polynomial, r - q)
    less_one = scale - <floating> 1
    high = fma(scale, q, less_one)
    low[0] = fma(scale, q_low, fma(scale, q, less_one - high))
    return high


# ----------------------------------------------------------------------------------------------- ratios of exponentials

# 1 / (1 + v + q) for a power of two v: the quotient corrected by its remainder, in which v and q are exact.  0.8 ulp.
cdef inline floating inverse_of_one_more(floating v, floating q) noexcept nogil:
    cdef floating one = 1
    cdef floating inverse = one / ((one + v) + q)
    return fma(fma(-inverse, q, fma(-inverse, v, one) - inverse), inverse, inverse)


# e^-r - 1 = q for what exp_split stored
cdef inline floating expm1_of_minus(floating r) noexcept nogil:
    cdef floating r2 = r * r
    return fma(r2, exp_polynomial(-r, r2), -r)


# 1 / (1 + e^(x_low - x)).  1.1 ulp.
#
# With e^-x = (1 + q) / v and v = 2^n it is v / (v + 1 + q), in which nothing overflows and the tail loses nothing.
# `near` says that |x| is small enough for powers of two that need neither limits nor a guard: the same bits, sooner.
cdef inline floating logistic(floating x, floating x_low, bint near) noexcept nogil:
    cdef floating r, v, guarded, inverse
    cdef floating below = at_most[floating](x, 60)                      # from there it rounds to 1
    cdef floating within = x if near else at_least(below, -exp_limit(x))
    guarded = exp_split(within, x_low, 0 if near else guard_bits(x), &r)
    v = guarded if near else guarded * guard_scale(x)
    inverse = inverse_of_one_more(v, expm1_of_minus(r))
    return v * inverse if near else guarded * inverse * guard_scale(x)


# multiple / (1 + e^(x - x_low)) for x >= 0 and a small power of two `multiple`.  1.1 ulp.
cdef inline floating logistic_tail(floating x, floating x_low, floating multiple, bint near) noexcept nogil:
    cdef floating r, v, guarded, inverse
    cdef floating within = x if near else at_most(x, exp_limit(x))
    guarded = exp_split(-within, <floating> 0 - x_low, 0 if near else guard_bits(x), &r)       # 0 - 0 vanishes, -0 not
    v = guarded if near else guarded * guard_scale(x)
    inverse = inverse_of_one_more(v, expm1_of_minus(r))
    return multiple * v * inverse if near else guarded * (multiple * guard_scale(x)) * inverse


# 1 / cosh(a)^2 = 4 t (1 - t) with t = 1 / (1 + e^(2a)), for a >= 0.  2.0 ulp.
cdef inline floating sech_squared(floating a, bint near) noexcept nogil:
    cdef floating four_t = logistic_tail[floating](a + a, 0, 4, near)
    return fma(-four_t, four_t * <floating> 0.25, four_t)


# The hyperbolic tangent of a >= 0, for a so small that e^(2a) is finite.  1.5 ulp.
#
# With a = n ln(2) / 2 + r, w = 2^-n and t = tanh(r) it is N / D, N = (1 - w) + (1 + w) t and D = (1 + w) + (1 - w) t.
# Instead of dividing N, which is rounded, y = (1 - w)^2, which is near, is corrected by (N - y D) / D: what is added to
# y has few digits to lose, N - y D is computed from exact parts, and only one operation waits for the division.  For
# n = 0 all of it is exact but t = r + t_low.  The reduction needs no second part of ln 2: its error grows as n, but
# counts as 2^-n.
cdef inline floating tanh_positive(floating a) noexcept nogil:
    cdef floating shift = exp_shift(0, a)
    cdef floating two_log2_e, half_ln2, shifted, r, s, t_low, w, more, less, inverse, y, slope, rest, one = 1
    if floating is float:
        two_log2_e, half_ln2 = <floating> 2.8853900432586669921875, <floating> 0.3465735912322998046875
    else:
        two_log2_e, half_ln2 = 2.8853900817779268, 0.34657359027997264
    shifted = fma(a, -two_log2_e, shift)
    r = fma(shifted - shift, half_ln2, a)
    s = r * r
    t_low = r * s * tanh_polynomial(s)          # tanh(r) - r: the two are not added where t's rounding would show
    w = shifted_to_exponent(shifted)
    more = one + w
    less = fma[floating](-2, w, more)           # 1 - w, or what keeps `more` from having lost w
    inverse = one / fma(less, r + t_low, more)
    y = less * less
    slope = fma(-y, less, more)
    rest = fma(r, slope, fma(t_low, slope, fma(-y, more, less)))
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


# x e^-z and the like are not yet 0 where e^-z is.  There 2^-n is made 2^(2 guard_bits) too large, multiplied by x first
# and then by this.
cdef inline floating double_guard_scale(floating unused) noexcept nogil:
    return guard_scale(unused) * guard_scale(unused)


# Beyond this nothing is left of x e^-x.
cdef inline floating product_limit(floating unused) noexcept nogil:
    return exp_limit(unused) + <floating> 12


# x / (1 + e^z) for 0 <= x <= z <= product_limit, where e^z = 2^n (1 + q) is reduced already: x w / (w + 1 + q).
#
# q + w comes first: where w is small beside 1 nothing of it is lost.
cdef inline floating logistic_product(floating x, floating shifted, floating r) noexcept nogil:
    cdef floating scale = inverse_power_of_two(shifted, 2 * guard_bits(x))
    cdef floating r2 = r * r
    cdef floating q = fma(r2, exp_polynomial(r, r2), r)
    cdef floating d = <floating> 1 + fma(scale, double_guard_scale(x), q)
    return x / d * scale * double_guard_scale(x)


# e (less + e) / (1 + e)^2 with e = e^-z, where e^z = 2^n e^r is reduced already: for less = 1 - z the derivative of
# z / (1 + e^-z) at -z, and 1 less that at z.
#
# e = w (1 + q) comes out of the quotient, which is corrected by its remainder.
cdef inline floating logistic_product_derivative(floating less, floating shifted, floating r) noexcept nogil:
    cdef floating scale = inverse_power_of_two(shifted, 2 * guard_bits(r))
    cdef floating w = scale * double_guard_scale(r)
    cdef floating r2 = r * r
    cdef floating q = fma(r2, exp_polynomial(-r, r2), -r)
    cdef floating e = fma(w, q, w)
    cdef floating top = less + e
    cdef floating rise = <floating> 2 + e
    cdef floating square = fma[floating](e, rise, 1)
    cdef floating square_low = fma(e, rise, <floating> 1 - square)
    cdef floating inverse = <floating> 1 / square
    cdef floating ratio = top * inverse
    cdef floating ratio_low = fma(-ratio, square_low, remainder(ratio, square, top)) * inverse
    return (ratio + fma(ratio, q, ratio_low)) * scale * double_guard_scale(r)


# x / (1 + e^-z), with |z| less by z_low, for x and z that have nothing to do with each other: where |x| is large,
# |x| e^-|z| reaches from the largest number to the smallest.
cdef inline floating times_sigmoid(floating x, floating z, floating z_low) noexcept nogil:
    cdef floating a, r, r2, q, near, far, w, tail, nearby, half_scale
    cdef floating shifted
    cdef int far_bits
    if floating is float:
        a = at_most[floating](absolute(z), 193)
        nearby, far_bits, half_scale = <floating> 80, 156, <floating> 3.308722450212111e-24         # 2^-78
    else:
        a = at_most[floating](absolute(z), 1456)
        nearby, far_bits, half_scale = <floating> 700, 1084, <floating> 6.946683864062833e-164     # 2^-542
    shifted = exp_reduce(a, z_low, &r)
    r2 = r * r
    q = fma(r2, exp_polynomial(r, r2), r)
    near, far = inverse_power_of_two(shifted, 0), inverse_power_of_two(shifted, far_bits)
    w = near if a < nearby else <floating> 0
    tail = at_most(absolute(x), largest(x)) / (<floating> 1 + (w + q))
    near, far = tail * near, tail * far * half_scale * half_scale
    tail = with_sign_of(near if a < nearby else far, x)
    return tail if z < 0 else x - tail


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


# log(1 + e^-x) for x - x_low >= 0 as high + low:  log(1 + e) = 2 atanh(e / (2 + e)).
cdef inline floating log1p_exp_negative(floating x, floating x_low, floating* low) noexcept nogil:
    cdef floating r, r2, q, m, scale, e, two_u, two_u_low, v, one = 1, quarter = 0.25
    scale = exp_split(-at_most(x, exp_limit(x)), <floating> 0 - x_low, guard_bits(x), &r) * guard_scale(x)
    r2 = r * r
    q = fma(r2, exp_polynomial(r, r2), r)
    m = one + q
    e = m * scale
    two_u = ratio_to_two_more[floating](e, (q - (m - one)) * scale, 2, &two_u_low)
    v = two_u * two_u * quarter
    low[0] = fma(two_u * v, atanh_polynomial(v), two_u_low)
    return two_u
