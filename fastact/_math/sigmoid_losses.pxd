# Losses of single numbers: logits x with targets y, each a sum of two cases, y = 1 and y = 0.
#
# A function here gives two results for one element, from x, y and four numbers:
#
#   scale            of a gradient, for a mean
#   weight           of the element; where it is 0 the results are 0, whatever x holds
#
# tools/kernels.py makes of each a kernel with both results and one with the first alone (`NAME.both`, `NAME.first`).
#
# Of the two cases, the right one is that of the sign of x, the wrong one the other.  With a = |x| and e = e^-a their
# losses are log(1 + e) and a + log(1 + e), and their probabilities 1 / (1 + e) and e / (1 + e): one exponential and one
# quotient serve all of them, and nothing cancels.  What is as small as e is computed times 2^scale_bits.

from libc.stdint cimport uint32_t, uint64_t

from fastact._math.primitives cimport (
    absolute, at_most, atanh_polynomial, exp_limit, exp_negative_scaled, fastact_bits_of_double, fastact_bits_of_float,
    fastact_double_of_bits, fastact_float_of_bits, floating, fma, remainder, scale_bits, scaled_back_clamped,
    sum_in_two, two_to)


# One of two numbers by the sign of x.  Selects by comparisons, of which there would be several, let the compiler split
# the computation into all cases.
cdef inline floating by_sign(floating x, floating of_positive, floating of_negative) noexcept nogil:
    cdef uint32_t float_mask
    cdef uint64_t double_mask
    if floating is float:
        float_mask = <uint32_t> 0 - (fastact_bits_of_float(x) >> 31)
        return fastact_float_of_bits(fastact_bits_of_float(of_positive) & ~float_mask
                                     | fastact_bits_of_float(of_negative) & float_mask)
    else:
        double_mask = <uint64_t> 0 - (fastact_bits_of_double(x) >> 63)
        return fastact_double_of_bits(fastact_bits_of_double(of_positive) & ~double_mask
                                      | fastact_bits_of_double(of_negative) & double_mask)


# y with the sign of x times its own
cdef inline floating times_sign(floating y, floating x) noexcept nogil:
    if floating is float:
        return fastact_float_of_bits(fastact_bits_of_float(y) ^ (fastact_bits_of_float(x) & <uint32_t> 0x80000000))
    else:
        return fastact_double_of_bits(fastact_bits_of_double(y)
                                      ^ (fastact_bits_of_double(x) & <uint64_t> 0x8000000000000000))


# log(1 + e) and e / (1 + e), both times 2^scale_bits, and 1 / (1 + e)
cdef inline floating log_of_right(floating a, floating* of_wrong, floating* of_right) noexcept nogil:
    cdef floating one = 1, two = 2
    cdef floating scaled = exp_negative_scaled[floating](-a, 0, False)
    cdef floating e = scaled_back_clamped(scaled, scale_bits(a, False))
    cdef floating once = one + e, twice = two + e
    cdef floating inverse = one / (once * twice)
    cdef floating u = e * (once * inverse)              # log(1 + e) = 2 atanh(u), u = e / (2 + e)
    cdef floating v = u * u
    cdef floating two_u = two * scaled * (once * inverse)
    of_right[0] = twice * inverse
    of_wrong[0] = scaled * of_right[0]
    return fma(two_u * v, atanh_polynomial(v), two_u)


# sigmoid_cross_entropy, with the targets t = y (1 - smoothing) + smoothing / 2
#   loss      positive t log(1 + e^-x) + (1 - t) log(1 + e^x)
#   gradient  (1 - t) sigmoid(x) - positive t sigmoid(-x)
#   Hessian   sigmoid(x) sigmoid(-x) (1 - t + positive t)
cdef inline void weights_of(floating x, floating y, floating positive, floating smoothing, floating* right,
                            floating* wrong) noexcept nogil:
    cdef floating one = 1, half = <floating> 0.5
    cdef floating t = fma(smoothing, half - y, y)
    cdef floating of_one = positive * t, of_zero = one - t
    right[0], wrong[0] = by_sign(x, of_one, of_zero), by_sign(x, of_zero, of_one)


cdef inline void sigmoid_cross_entropy(floating x, floating y, floating positive, floating smoothing, floating weight,
                                       floating scale, floating* loss, floating* gradient) noexcept nogil:
    cdef floating right, wrong, t, u, far, slope, a = absolute(x)
    cdef floating back = two_to(-scale_bits(x, False), x)
    cdef floating log_e = log_of_right(a, &t, &u)
    weights_of(x, y, positive, smoothing, &right, &wrong)
    right, wrong = right * weight, wrong * weight
    far = wrong * a
    far = <floating> 0 if wrong == 0 else far
    far = fma((right + wrong) * log_e, back, far)
    right, wrong = right * scale, wrong * scale
    slope = fma(wrong, u, -(right * t * back))
    loss[0] = <floating> 0 if weight == 0 else far
    gradient[0] = <floating> 0 if weight == 0 else times_sign(slope, x)


cdef inline void sigmoid_cross_entropy_hessian(floating x, floating y, floating positive, floating smoothing,
                                               floating weight, floating scale, floating* gradient,
                                               floating* hessian) noexcept nogil:
    cdef floating right, wrong, t, u, slope, curvature, a = absolute(x)
    cdef floating back = two_to(-scale_bits(x, False), x)
    log_of_right(a, &t, &u)
    weights_of(x, y, positive, smoothing, &right, &wrong)
    right, wrong = right * weight * scale, wrong * weight * scale
    slope = fma(wrong, u, -(right * t * back))
    curvature = (right + wrong) * u * t * back
    gradient[0] = <floating> 0 if weight == 0 else times_sign(slope, x)
    hessian[0] = <floating> 0 if weight == 0 else curvature


# sigmoid_focal, with z = x for y = 1 and z = -x for y = 0, and the weights alpha and 1 - alpha
#   loss      (1 - sigmoid(z))^gamma log(1 + e^-z)
#   gradient  -(1 - sigmoid(z))^gamma (gamma sigmoid(z) log(1 + e^-z) + sigmoid(-z)), times dz / dx
#
# The power is e^(-gamma log(1 + e^z)), and its exponent is in two parts.
cdef inline floating power_of_right(floating gamma, floating a, floating log_e) noexcept nogil:
    cdef floating low
    cdef floating high = sum_in_two(a, log_e, &low)
    cdef floating product = gamma * high
    low = fma(gamma, low, -remainder(gamma, high, product))
    return exp_negative_scaled(-product, low if product < exp_limit(a) else <floating> 0, False)


cdef inline void sigmoid_focal(floating x, floating y, floating alpha, floating gamma, floating weight, floating scale,
                               floating* loss, floating* gradient) noexcept nogil:
    cdef floating one = 1, right, wrong, t, u, right_power, wrong_power, slope, near, far, total
    cdef floating of_one = y * alpha * weight, of_zero = (one - y) * (one - alpha) * weight
    cdef floating a = at_most[floating](absolute(x), 1e30), back = two_to(-scale_bits(x, False), x)
    cdef floating scaled = log_of_right(a, &t, &u)
    cdef floating log_e = scaled_back_clamped(scaled, scale_bits(x, False))
    right, wrong = by_sign(x, of_one, of_zero), by_sign(x, of_zero, of_one)
    right_power = power_of_right(gamma, a, log_e)
    wrong_power = exp_negative_scaled[floating](-(gamma * log_e), 0, False) * back
    far = wrong * wrong_power * (absolute(x) + log_e)
    far = <floating> 0 if wrong == 0 else far
    near = right * (scaled * back) * right_power * back
    total = near + far
    near = right * scale * (fma(gamma * u, scaled, t) * back) * right_power * back
    far = wrong * scale * wrong_power * fma(gamma * (t * back), a + log_e, u)
    slope = far - near
    loss[0] = <floating> 0 if weight == 0 else total
    gradient[0] = <floating> 0 if weight == 0 else times_sign(slope, x)
