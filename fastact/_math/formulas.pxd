# Every elementwise activation: its name, its source, its value and its derivative.
#
# To add `name`, write here
#
#     name(x, parameters...)                      the value
#     name_derivative(x, parameters...)           its derivative in x; at a kink the right-hand one
#     name_derivative_from_output(y, ...)         optional: the derivative as a function of the value
#     name_derivative_in_PARAMETER(x, ...)        optional: the derivative in a parameter that may be learnt
#
# The last argument may be a compile-time flag `bounded` (|x| <= 40; in double 350) or `bounded_square` (|x| <= 9; in
# double 20): see bound_of in _loops/elementwise.pxd.  A parameter is then 1.  The variant may drop range guards only;
# results must stay bit-identical.  A value and its derivative use the same flag, if both have one.
#
# Formulas know nothing of arrays, threads or instruction sets: tools/kernels.py finds them by these names, and the
# loops of _loops/elementwise.pxd make of them the kernels `value`, `derivative`, `backward`, `backward_from_output`,
# `backward_PARAMETER` and `value_and_derivative`, for float and double.  They are straight-line code: see the head of
# primitives.pxd.  An activation also needs an entry in catalogue.py and one in reference.py; the tests say what is
# missing.

# Gated activations, each the activation of one input times another input:
#
#   glu          sigmoid
#   swiglu       silu, limited
#   geglu        gelu
#   geglu_tanh   gelu_tanh
#   reglu        relu
#
# They have the parameters of the activation; `limited` adds a limit of both inputs and an offset of the other input.

from libc.math cimport INFINITY, NAN

from fastact._math.primitives cimport (
    absolute, at_least, at_most, atanh_polynomial, clipped_to_middle, erf_polynomial, exp_anywhere,
    exp_negative_scaled, exp_of_bounded, exp_polynomial, exp_reduce, exp_reduce_1702, exp_reduce_gelu_tanh,
    exp_reduce_product, exp_rest_polynomial, exp_split, expm1_bounded, expm1_in_two, expm1_rounded, exponent_beside,
    far_half, far_product_limit, floating, fma, four_times, half_square_and_rest, inverse_of_power,
    inverse_power_of_two, largest, line, line_in_two, log1p_exp_negative, logistic, logistic_product,
    logistic_product_derivative, logistic_slope, magnitude_at_most, near_product_limit, normal_limit, normal_tail,
    normal_tail_in_two, operand_of, power_in, power_of_two, product_in_two, product_limit, product_low,
    quotient_in_two, ratio_to_two_more, rectified, remainder, root_of_square_and, root_of_times_exponential,
    scale_bits, scaled_back, scaled_back_clamped, scaled_back_signed, scaled_limit, sixth, smallest,
    split_into_square, square_root, standardized, sum_in_two, tanh_positive, tanh_shrink_polynomial,
    times_exponential, times_falling_sigmoid, times_ln2, two_to, with_sign_of)


# identity
#   y  = x
#   y' = 1                                              NaN for NaN
cdef inline floating identity(floating x) noexcept nogil:
    return x


cdef inline floating identity_derivative(floating x) noexcept nogil:
    return <floating> 1 if x == x else x


cdef inline floating identity_derivative_from_output(floating y) noexcept nogil:
    return <floating> 1 if y == y else y


# relu: the rectifier (Fukushima 1969)
#   y  = max(0, x)
#   y' = 1 for x >= 0, 0 for x < 0                      from y: 1 for y > 0; it cannot tell x = 0 from x < 0
cdef inline floating relu(floating x) noexcept nogil:
    return <floating> 0 if x < 0 else x


cdef inline floating relu_derivative(floating x) noexcept nogil:
    cdef floating step = <floating> 0 if x < 0 else <floating> 1
    return step if x == x else x


cdef inline floating relu_derivative_from_output(floating y) noexcept nogil:
    cdef floating step = <floating> 1 if y > 0 else <floating> 0
    return step if y == y else y


# sigmoid: the logistic function (Verhulst 1845)
#   y  = 1 / (1 + e^-x)
#   y' = y (1 - y) = t (1 - t) with t = 1 / (1 + e^|x|)     even in x, accurate in both tails
cdef inline floating sigmoid(floating x, bint bounded) noexcept nogil:
    return logistic[floating](x, 0, bounded)


cdef inline floating sigmoid_derivative(floating x, bint bounded) noexcept nogil:
    return logistic_slope[floating](absolute(x), 1, bounded)


cdef inline floating sigmoid_derivative_from_output(floating y) noexcept nogil:
    return y * (<floating> 1 - y)


# tanh: the hyperbolic tangent
#   y  = (e^x - e^-x) / (e^x + e^-x) = 2 sigmoid(2x) - 1
#   y' = 1 - y^2 = 4 t (1 - t) with t = 1 / (1 + e^(2|x|))
#
# With AVX-512, float takes a table of polynomials instead (tables.h).
cdef inline floating tanh(floating x) noexcept nogil:
    cdef floating limit, a = absolute(x), y = tanh_positive(a)
    if floating is float:
        limit = <floating> 9.1              # y rounds to 1
    else:
        limit = <floating> 19.1
    return with_sign_of(<floating> 1 if a > limit else y, x)    # select last: off the critical path


cdef inline floating tanh_derivative(floating x, bint bounded) noexcept nogil:
    return logistic_slope[floating](absolute(x + x), 4, bounded)


cdef inline floating tanh_derivative_from_output(floating y) noexcept nogil:
    return (<floating> 1 - y) * (<floating> 1 + y)


# softplus: the softened relu (Dugas et al. 2001)
#   y  = log(1 + e^(beta x)) / beta                     = max(x, 0) + log(1 + e^-|beta x|) / beta
#   y' = sigmoid(beta x) = 1 - e^(-beta y)
#   in beta: -H(beta x) / beta^2 with H(z) = log(1 + e^-|z|) + |z| / (1 + e^|z|), the entropy of a coin
#                                                       = -e^-|z| / beta^2 (log(1 + e) / e + |z| / (1 + e)), e = e^-|z|
#
# beta x has two parts, product and magnitude_low: its relative rounding error enters the value times |beta x|.  For
# beta = 1 the loops pass the literal 1, and the compiler removes all of that.
#
# `size` scales a tiny beta up to one with a finite inverse.  The remainder corrects the quotient.
cdef inline floating softplus(floating x, floating beta, bint bounded) noexcept nogil:
    cdef floating product = beta * x
    cdef floating magnitude = absolute(product), lost = product_low(x, beta, product)
    cdef floating magnitude_low = <floating> 0 if beta == 1 else lost
    cdef floating low, tail, ramp, larger, smaller, total, y, size, divisor, inverse, quotient, half
    cdef floating high = log1p_exp_negative(magnitude, magnitude_low, bounded, beta != 1, &low)
    cdef bint scaled = not bounded and magnitude > scaled_limit(x)
    if floating is float:
        size = two_to(64, x) if absolute(beta) < two_to(-64, x) else <floating> 1
    else:
        size = two_to(512, x) if absolute(beta) < two_to(-540, x) else <floating> 1
    divisor = beta * size
    inverse = <floating> 1 / divisor
    quotient = high * inverse
    quotient = quotient + (remainder(quotient, divisor, high) + low) * inverse
    half = far_half(x) if magnitude > near_product_limit(x) else <floating> 1
    half = <floating> 0 if magnitude > far_product_limit(x) else half
    quotient = quotient * (half * size) * half
    tail = high + low
    tail = scaled_back(tail, 2 * scale_bits(x, bounded)) if scaled else tail
    ramp = <floating> 0 if product < 0 else x
    larger = ramp if ramp > high else high
    smaller = high if ramp > high else ramp
    total = larger + smaller
    y = total + (((larger - total) + smaller) + low)
    tail = tail if x < 0 else x
    y = tail if scaled else y
    quotient = (<floating> -0.0 if product < 0 else x) + quotient
    return y if beta == 1 else quotient


cdef inline floating softplus_derivative(floating x, floating beta, bint bounded) noexcept nogil:
    cdef floating product = beta * x
    cdef floating low = product_low(x, beta, product)
    low = -low if product < 0 else low
    return logistic(product, <floating> 0 if beta == 1 else low, bounded)


cdef inline floating softplus_derivative_from_output(floating y, floating beta) noexcept nogil:
    cdef floating low
    cdef floating high = expm1_bounded[floating](at_most[floating](beta * y, 40), 0, &low)
    return (high + low) / (<floating> 1 + high)


cdef inline floating softplus_derivative_in_beta(floating x, floating beta) noexcept nogil:
    cdef floating product = beta * x, magnitude = absolute(beta)
    cdef floating z_low = product_low(x, beta, product), z = at_most(absolute(product), 2 * far_product_limit(x))
    cdef floating size, divisor, a, a_low, e, root, root_low, d, d_low, inverse, part, part_low, two_more, half_inverse
    cdef floating start, start_low, u, v, total, total_low, w, w_low, one = 1, two = 2
    if floating is float:
        size = two_to(24, x) if magnitude < two_to(-100, x) else one
    else:
        size = two_to(54, x) if magnitude < two_to(-900, x) else one
    divisor = magnitude * size
    a = one / divisor
    a_low = remainder(a, divisor, one) * a
    root = root_of_times_exponential(a, a_low, size, z, z_low, &e, &root_low)
    d = one + e
    d_low = e - (d - one)
    inverse = one / d
    part = z * inverse
    part_low = (remainder(part, d, z) - fma(part, d_low, z_low)) * inverse
    two_more = two + e
    half_inverse = one / two_more
    start = half_inverse + half_inverse
    start_low = (remainder(start, two_more, two) - start * (e - (two_more - two))) * half_inverse
    u = e * half_inverse
    v = u * u
    start_low = fma(start * v, atanh_polynomial(v), start_low)
    total = sum_in_two(part, start, &total_low)
    total_low = total_low + (part_low + start_low)
    w = root * total
    w_low = fma(root_low, total, fma(root, total_low, -remainder(root, total, w)))
    return -fma(w, root, fma(w_low, root, w * root_low))


# relu6: relu, saturated at 6 (Krizhevsky 2010)
#   y  = min(max(0, x), 6)
#   y' = 1 for 0 <= x < 6, else 0                       from y: 1 for 0 < y < 6
cdef inline floating relu6(floating x) noexcept nogil:
    return at_most[floating](relu(x), 6)


cdef inline floating relu6_derivative(floating x) noexcept nogil:
    cdef floating step = <floating> 0 if x < 0 else <floating> 1
    step = step if x < 6 else <floating> 0
    return step if x == x else x


cdef inline floating relu6_derivative_from_output(floating y) noexcept nogil:
    cdef floating step = <floating> 1 if y > 0 else <floating> 0
    step = step if y < 6 else <floating> 0
    return step if y == y else y


# relu2: the square of relu (So et al. 2021)
#   y  = max(0, x)^2
#   y' = 2 max(0, x)
cdef inline floating relu2(floating x) noexcept nogil:
    cdef floating ramp = relu(x)
    return ramp * ramp


cdef inline floating relu2_derivative(floating x) noexcept nogil:
    cdef floating ramp = relu(x)
    return ramp + ramp


# leaky_relu: relu with a small slope for negative numbers (Maas et al. 2013)
#   y  = x for x >= 0, negative_slope x for x < 0       by the sign of x, not a maximum: for slopes > 1 and < 0 too
#   y' = 1 for x >= 0, negative_slope for x < 0         from y: the same of y for negative_slope > 0; as relu for 0
#   in negative_slope: min(x, 0)
cdef inline floating leaky_relu(floating x, floating negative_slope) noexcept nogil:
    cdef floating leak = negative_slope * x
    return x if x >= 0 else leak


cdef inline floating leaky_relu_derivative(floating x, floating negative_slope) noexcept nogil:
    cdef floating slope = negative_slope if x < 0 else <floating> 1
    return slope if x == x else x


cdef inline floating leaky_relu_derivative_from_output(floating y, floating negative_slope) noexcept nogil:
    cdef floating known, first = <floating> 0 if negative_slope > 0 else smallest(y)
    known = negative_slope if negative_slope >= 0 else <floating> NAN
    first = first if negative_slope >= 0 else <floating> NAN
    known = <floating> 1 if y >= first else known
    return known if y == y else y


cdef inline floating leaky_relu_derivative_in_negative_slope(floating x, floating negative_slope) noexcept nogil:
    return <floating> 0 if x >= 0 else x


# prelu: leaky_relu with a learnt slope (He et al. 2015)
#   y  = x for x >= 0, negative_slope x for x < 0
#   y' = 1 for x >= 0, negative_slope for x < 0
cdef inline floating prelu(floating x, floating negative_slope) noexcept nogil:
    return leaky_relu(x, negative_slope)


cdef inline floating prelu_derivative(floating x, floating negative_slope) noexcept nogil:
    return leaky_relu_derivative(x, negative_slope)


cdef inline floating prelu_derivative_from_output(floating y, floating negative_slope) noexcept nogil:
    return leaky_relu_derivative_from_output(y, negative_slope)


cdef inline floating prelu_derivative_in_negative_slope(floating x, floating negative_slope) noexcept nogil:
    return leaky_relu_derivative_in_negative_slope(x, negative_slope)


# threshold: numbers up to it are replaced (Konda et al. 2014: the thresholded relu, threshold = 1, value = 0)
#   y  = x for x > threshold, else value
#   y' = 1 for x >= threshold, else 0                   at the threshold the derivative of the right piece
cdef inline floating threshold(floating x, floating threshold, floating value) noexcept nogil:
    return value if x <= threshold else x


cdef inline floating threshold_derivative(floating x, floating threshold, floating value) noexcept nogil:
    cdef floating step = <floating> 0 if x < threshold else <floating> 1
    return step if x == x else x


# hard_tanh: the identity, clipped (Collobert 2004)
#   y  = min(max(x, min_value), max_value)
#   y' = 1 for min_value <= x < max_value, else 0       from y: 1 for min_value < y < max_value
cdef inline floating hard_tanh(floating x, floating min_value, floating max_value) noexcept nogil:
    return at_most(at_least(x, min_value), max_value)


cdef inline floating hard_tanh_derivative(floating x, floating min_value, floating max_value) noexcept nogil:
    cdef floating step = <floating> 0 if x < min_value else <floating> 1
    step = step if x < max_value else <floating> 0
    return step if x == x else x


cdef inline floating hard_tanh_derivative_from_output(floating y, floating min_value,
                                                      floating max_value) noexcept nogil:
    cdef floating step = <floating> 1 if y > min_value else <floating> 0
    step = step if y < max_value else <floating> 0
    return step if y == y else y


# hard_shrink: small numbers become 0 (Donoho and Johnstone 1994)
#   y  = 0 for |x| <= threshold, else x
#   y' = 0 for -threshold <= x < threshold, else 1
cdef inline floating hard_shrink(floating x, floating threshold) noexcept nogil:
    return <floating> 0 if absolute(x) <= threshold else x


cdef inline floating hard_shrink_derivative(floating x, floating threshold) noexcept nogil:
    cdef floating step = <floating> 1 if x < -threshold else <floating> 0
    step = step if x < threshold else <floating> 1
    return step if x == x else x


# soft_shrink: every number moves towards 0 by the threshold; small ones become 0 (Donoho and Johnstone 1994)
#   y  = sign(x) max(|x| - threshold, 0)                for threshold >= 0
#   y' = 0 for -threshold <= x < threshold, else 1
cdef inline floating soft_shrink(floating x, floating threshold) noexcept nogil:
    cdef floating magnitude = absolute(x), limit = threshold if threshold >= 0 else <floating> NAN
    cdef floating shrunk = with_sign_of(absolute(magnitude - limit), x)
    return <floating> 0 if magnitude <= limit else shrunk


cdef inline floating soft_shrink_derivative(floating x, floating threshold) noexcept nogil:
    return hard_shrink_derivative(x, threshold)


# softsign: a sigmoid with slow tails (Turian et al. 2009)
#   y  = x / (1 + |x|)                                  = 1 - 1 / (1 + |x|) for x >= 1
#   y' = 1 / (1 + |x|)^2                                from y: (1 - |y|)^2
cdef inline floating softsign(floating x) noexcept nogil:
    cdef floating one = 1, a = at_most[floating](absolute(x), 1.152921504606847e18)     # 2^60: rounds to 1
    cdef floating top = a if a < 1 else -one, base = <floating> 0 if a < 1 else one     # y never steps back
    return with_sign_of(base + top / (one + a), x)


cdef inline floating softsign_derivative(floating x) noexcept nogil:
    cdef floating limit, a, a_part, d, d_low, inverse, one = 1
    if floating is float:
        limit = <floating> 1.329227995784916e36         # 2^120: y' rounds to 0
    else:
        limit = 1.0715086071862673e301                  # 2^1000
    a = at_most(absolute(x), limit)
    d = one + a
    a_part = d - one
    d_low = (a - a_part) + (one - (d - a_part))
    inverse = one / d
    inverse = fma(inverse, remainder[floating](d, inverse, 1) - d_low * inverse, inverse)
    return inverse * inverse


cdef inline floating softsign_derivative_from_output(floating y) noexcept nogil:
    cdef floating rest = <floating> 1 - absolute(y)
    return rest * rest


# hard_sigmoid: a piecewise linear sigmoid (Courbariaux et al. 2015)
#   y  = min(max(slope x + offset, 0), 1)               by default (x + 3) / 6 with the exact 1/6
#   y' = slope where 0 <= slope x + offset < 1, else 0; for slope < 0 where 0 < slope x + offset <= 1
#                                                       from y: slope for 0 < y < 1
cdef inline floating hard_sigmoid(floating x, floating slope, floating offset) noexcept nogil:
    cdef floating inner = at_least[floating](at_most[floating](x, 3), -3)
    cdef floating usual = sixth(inner + <floating> 3)
    cdef floating any_line = offset if slope == 0 and x == x else line(slope, x, offset)      # not 0 times infinity
    cdef floating given = at_most[floating](at_least[floating](any_line, 0), 1)
    cdef floating deviation = absolute(slope - <floating> 0.16666666666666666) + absolute(offset - <floating> 0.5)
    return usual if deviation == 0 else given


cdef inline floating hard_sigmoid_derivative(floating x, floating slope, floating offset) noexcept nogil:
    cdef floating deviation = absolute(slope - <floating> 0.16666666666666666) + absolute(offset - <floating> 0.5)
    cdef floating from_3 = x + <floating> 3, to_3 = x - <floating> 3, first, last, bottom, top, less, less_low
    cdef floating steep, factor
    if floating is float:
        steep, factor = two_to(24, x), two_to(100, x)
    else:
        steep, factor = two_to(53, x), two_to(900, x)
    factor = <floating> 1 if absolute(slope) >= steep else factor           # keeps `bottom` from underflow to 0
    factor = <floating> 1 if absolute(offset) >= two_to(-20, x) else factor
    bottom = line(with_sign_of[floating](1, slope) if offset == 0 else slope * factor, x, offset * factor)
    less = sum_in_two[floating](offset, -1, &less_low)
    top = line(with_sign_of[floating](1, slope) if less == 0 else slope, x, less) + less_low
    bottom = from_3 if deviation == 0 else bottom
    top = to_3 if deviation == 0 else top
    first = -top if slope < 0 else bottom
    last = -bottom if slope < 0 else top
    cdef floating step = <floating> 0 if first < 0 else slope
    step = step if last < 0 else <floating> 0
    return step if x == x else x


cdef inline floating hard_sigmoid_derivative_from_output(floating y, floating slope, floating offset) noexcept nogil:
    cdef floating step = slope if y > 0 else <floating> 0
    step = step if y < 1 else <floating> 0
    return step if y == y else y


# hard_swish: a piecewise quadratic silu (Howard et al. 2019)
#   y  = x min(max(x + 3, 0), 6) / 6                    = x for x >= 3, -0 for x <= -3: both exactly
#   y' = 0 for x < -3, (2x + 3) / 6 for -3 <= x < 3, 1 for x >= 3
cdef inline floating hard_swish(floating x) noexcept nogil:
    cdef floating inner = at_least[floating](x, -3)
    return inner * sixth(at_most[floating](inner + <floating> 3, 6))


cdef inline floating hard_swish_derivative(floating x) noexcept nogil:
    cdef floating slope = sixth(x + x + <floating> 3)
    slope = <floating> 0 if x < -3 else slope
    return <floating> 1 if x >= 3 else slope


# elu: the exponential linear unit (Clevert et al. 2015)
#   y  = x for x >= 0, alpha (e^x - 1) for x < 0
#   y' = 1 for x >= 0, alpha e^x for x < 0              from y: y + alpha for y < 0 and alpha > 0; as relu for alpha = 0
#   in alpha: e^x - 1 for x < 0, 0 for x >= 0
cdef inline floating elu(floating x, floating alpha) noexcept nogil:
    cdef floating low
    cdef floating high = expm1_bounded[floating](at_least[floating](at_most[floating](x, 0), -40), 0, &low)
    cdef floating negative = high + low if alpha == 1 else fma(alpha, high, alpha * low)
    return x if x >= 0 else negative


cdef inline floating elu_derivative(floating x, floating alpha, bint bounded) noexcept nogil:
    cdef floating below = at_most[floating](x, 0)
    cdef floating usual = exp_negative_scaled[floating](below, 0, bounded)
    cdef floating given = times_exponential[floating](alpha, below, 0, 1, False)
    usual = usual if bounded else scaled_back(usual, scale_bits(x, bounded))
    return <floating> 1 if x >= 0 else (usual if alpha == 1 else given)


cdef inline floating elu_derivative_from_output(floating y, floating alpha) noexcept nogil:
    cdef floating known, first = <floating> 0 if alpha > 0 else smallest(y)
    known = y + (alpha if alpha >= 0 else <floating> NAN)
    first = first if alpha >= 0 else <floating> NAN
    return <floating> 1 if y >= first else known


cdef inline floating elu_derivative_in_alpha(floating x, floating alpha) noexcept nogil:
    cdef floating low
    cdef floating high = expm1_bounded[floating](at_least[floating](at_most[floating](x, 0), -40), 0, &low)
    return high + low                           # 0 for x >= 0


# selu: the self-normalising elu (Klambauer et al. 2017), alpha = 1.6732632423543772848, scale = 1.0507009873554804935
#   y  = scale x for x >= 0, scale alpha (e^x - 1) for x < 0
#   y' = scale for x >= 0, scale alpha e^x for x < 0    from y: y + scale alpha for y < 0
#
# Both constants have two parts, so that only the last rounding remains.  The two parts of scale have the same sign,
# which keeps the sign of -0.
cdef inline floating selu(floating x) noexcept nogil:
    cdef floating scale, scale_low, alpha, alpha_low, low, positive, negative
    cdef floating high = expm1_bounded[floating](at_least[floating](at_most[floating](x, 0), -40), 0, &low)
    if floating is float:
        scale, scale_low = <floating> 1.0507009029388428, <floating> 8.441664078873146e-08
        alpha, alpha_low = <floating> 1.7580993175506592, <floating> 2.3296717444054593e-08
    else:
        scale, scale_low = 1.0507009873554805, 3.9955512681859544e-17
        alpha, alpha_low = 1.7580993408473768, 1.4270586095958072e-17
    positive = fma(x, scale, at_most(x, largest(x)) * scale_low)      # avoids inf - inf
    negative = fma(high, alpha, fma(high, alpha_low, low * alpha))
    return positive if x >= 0 else negative


cdef inline floating selu_derivative(floating x, bint bounded) noexcept nogil:
    cdef floating scale, alpha
    cdef floating negative = exp_negative_scaled[floating](at_most[floating](x, 0), 0, bounded)
    if floating is float:
        scale, alpha = <floating> 1.0507010221481323, <floating> 1.7580993175506592
    else:
        scale, alpha = 1.0507009873554805, 1.7580993408473768
    negative = alpha * negative
    negative = negative if bounded else scaled_back(negative, scale_bits(x, bounded))
    return scale if x >= 0 else negative


cdef inline floating selu_derivative_from_output(floating y) noexcept nogil:
    cdef floating scale, alpha, negative
    if floating is float:
        scale, alpha = <floating> 1.0507010221481323, <floating> 1.7580993175506592
    else:
        scale, alpha = 1.0507009873554805, 1.7580993408473768
    negative = y + alpha
    return scale if y >= 0 else negative


# log_sigmoid: the logarithm of sigmoid, accurate also where sigmoid rounds to 0 or 1
#   y  = -log(1 + e^-x) = -softplus(-x)
#   y' = sigmoid(-x) = 1 - e^y
cdef inline floating log_sigmoid(floating x, bint bounded) noexcept nogil:
    return -softplus[floating](-x, 1, bounded)


cdef inline floating log_sigmoid_derivative(floating x, bint bounded) noexcept nogil:
    return sigmoid(-x, bounded)


cdef inline floating log_sigmoid_derivative_from_output(floating y) noexcept nogil:
    return softplus_derivative_from_output[floating](-y, 1)


# exp
#   y  = e^x
#   y' = e^x                                            from y: y
cdef inline floating exp(floating x, bint bounded) noexcept nogil:
    return exp_of_bounded(x) if bounded else exp_anywhere(x)


cdef inline floating exp_derivative(floating x, bint bounded) noexcept nogil:
    return exp(x, bounded)


cdef inline floating exp_derivative_from_output(floating y) noexcept nogil:
    return y


# celu: an elu without a kink (Barron 2017); for alpha < 0 its slope grows without bound towards -infinity
#   y  = x for x >= 0, alpha (e^(x / alpha) - 1) for x < 0
#   y' = 1 for x >= 0, e^(x / alpha) for x < 0
#   in alpha: e^t (1 - t) - 1 for x < 0 with t = x / alpha      = -e^t (e^-t - 1 + t) for a small t; 0 for x >= 0
#
# The quotient has two parts: its relative rounding error enters the exponential times |x / alpha|.
cdef inline floating celu(floating x, floating alpha) noexcept nogil:
    cdef floating low, quotient, quotient_low, given, first
    cdef floating below = at_most[floating](x, 0)
    cdef floating high = expm1_bounded[floating](at_least[floating](below, -40), 0, &low)
    quotient = quotient_in_two(below, alpha, &quotient_low)
    given = times_exponential(alpha, quotient, quotient_low, alpha, True)
    given = x if absolute(quotient) < two_to(-60, x) else given                 # a subnormal quotient loses digits
    first = <floating> -INFINITY if absolute(alpha) > largest(x) else <floating> 0         # y = x from here on
    return x if x >= first else (high + low if alpha == 1 else given)


cdef inline floating celu_derivative(floating x, floating alpha, bint bounded) noexcept nogil:
    cdef floating quotient, quotient_low, given, first
    cdef floating below = at_most[floating](x, 0)
    cdef floating usual = exp_negative_scaled[floating](below, 0, bounded)
    usual = usual if bounded else scaled_back(usual, scale_bits(x, bounded))
    quotient = quotient_in_two(below, alpha, &quotient_low)
    given = times_exponential[floating](1, quotient, quotient_low, alpha, False)
    first = <floating> -INFINITY if absolute(alpha) > largest(x) else <floating> 0
    return <floating> 1 if x >= first else (usual if alpha == 1 else given)


# A small t takes a polynomial, one beyond -8 or 40 no second parts.
cdef inline floating celu_derivative_in_alpha(floating x, floating alpha) noexcept nogil:
    cdef floating t_low, high, low, near, first, inner, product, product_rest, less, less_low, between, rest, far
    cdef floating one = 1
    cdef floating quotient = quotient_in_two(at_most[floating](x, 0), alpha, &t_low)
    cdef floating t = at_most[floating](at_least[floating](quotient, -100), 1000)
    cdef floating bounded = at_most[floating](at_least[floating](t, -8), 40)
    cdef floating polynomial = exp_rest_polynomial(-bounded)
    high = expm1_bounded(bounded, t_low, &low)
    inner = high + low
    near = -half_square_and_rest(bounded, t_low, fma(polynomial, inner, polynomial + inner))
    product = product_in_two(bounded, high, &product_rest)
    less = sum_in_two(high, -bounded, &less_low)
    between = sum_in_two(less, -product, &rest)
    rest = rest + (less_low - product_rest)
    between = between + (rest + fma(t_low, one + high, fma(-bounded, low, low)))
    far = fma(fma(t - one, t_low, one - t), exp_anywhere(t), -one)
    between = near if absolute(bounded) <= <floating> 0.5 else between
    between = between if t == bounded else far
    first = <floating> -INFINITY if absolute(alpha) > largest(x) else <floating> 0
    return <floating> 0 if x >= first else between


# silu: also called swish (Hendrycks and Gimpel 2016, Ramachandran et al. 2017)
#   y  = x sigmoid(beta x)                              = max(x, 0) - |x| / (1 + e^|beta x|) for beta > 0
#   y' = s (1 + beta x (1 - s)) with s = sigmoid(beta x)
#      = d for x < 0, 1 - d for x >= 0, with e = e^-|beta x|, d = e (1 - |beta x| + e) / (1 + e)^2
#   in beta: x^2 sigmoid(beta x) sigmoid(-beta x)       = x^2 e / (1 + e)^2
cdef inline floating silu(floating x, floating beta, bint bounded) noexcept nogil:
    cdef floating product = beta * x
    cdef floating low = <floating> 0 if beta == 1 else product_low(x, beta, product)
    cdef floating tail = times_falling_sigmoid(x, product, low, bounded)
    cdef floating usual = rectified(x) - tail
    tail = with_sign_of(tail, x)
    cdef floating any_beta = tail if product <= 0 else x - tail                 # also for -0
    any_beta = x * <floating> 0.5 if beta == 0 else any_beta                    # not 0 times infinity
    return usual if beta == 1 else any_beta


cdef inline floating silu_derivative(floating x, floating beta, bint bounded) noexcept nogil:
    cdef floating r, falling, rising
    cdef floating product = beta * x
    cdef floating low = <floating> 0 if beta == 1 else product_low(x, beta, product)
    cdef floating a = absolute(product) if bounded else at_most(absolute(product), product_limit(x))
    cdef floating shifted = exp_reduce(a, low, &r)
    falling = logistic_product_derivative(<floating> 1 - a, low, shifted, r, bounded)
    rising = <floating> 1 - falling
    rising = <floating> 0.5 if beta == 0 and x == x else rising
    return falling if product < 0 else rising


cdef inline floating silu_derivative_in_beta(floating x, floating beta) noexcept nogil:
    cdef floating product = beta * x
    cdef floating e, root_low, d, inverse, quotient, quotient_low, y, one = 1
    cdef floating root = root_of_times_exponential[floating](absolute(x), 0, 1, absolute(product),
                                                             product_low(x, beta, product), &e, &root_low)
    d = one + e
    inverse = one / d
    quotient = root * inverse
    quotient_low = (remainder(quotient, d, root) + fma(-quotient, e - (d - one), root_low)) * inverse
    y = fma(quotient, quotient, (quotient + quotient) * quotient_low)
    return x * <floating> 0.25 * x if beta == 0 else y                          # not 0 times infinity


# gelu_quick: silu with beta = 1.702, an approximation of gelu (Hendrycks and Gimpel 2016)
#   y  = x sigmoid(1.702 x)                             = max(x, 0) - |x| / (1 + e^(1.702 |x|))
#   y' = s (1 + 1.702 x (1 - s)) with s = sigmoid(1.702 x)          computed as in silu
cdef inline floating gelu_quick(floating x, bint bounded) noexcept nogil:
    cdef floating r
    cdef floating a = absolute(x) if bounded else magnitude_at_most(absolute(x), product_limit(x) * <floating> 0.5875)
    cdef floating shifted = exp_reduce_1702(a, &r)
    return rectified(x) - logistic_product(a, shifted, r, bounded)


cdef inline floating gelu_quick_derivative(floating x, bint bounded) noexcept nogil:
    cdef floating r, falling, rising
    cdef floating a = absolute(x) if bounded else at_most(absolute(x), product_limit(x) * <floating> 0.5875)
    cdef floating shifted = exp_reduce_1702(a, &r)
    falling = logistic_product_derivative[floating](fma[floating](a, -1.702, 1), 0, shifted, r, bounded)
    rising = <floating> 1 - falling
    return falling if x < 0 else rising


# gelu: x times the normal distribution function (Hendrycks and Gimpel 2016)
#   y  = x N(x)                                         = max(x, 0) - |x| N(-|x|)
#   y' = N(x) + x n(x)                                  = d for x < 0, 1 - d for x >= 0, d = N(-|x|) - |x| n(x)
#
# N(-a) = e^(-a^2 / 2) g(a), where g is in two parts for the derivative alone; n(x) = e^(-x^2 / 2) / sqrt(2 pi).
cdef inline floating gelu(floating x, bint bounded_square) noexcept nogil:
    cdef floating r, r2, q, scale, square_low, lacking, tail
    cdef int bits = 2 * scale_bits(x, bounded_square)
    cdef floating a = absolute(x) if bounded_square else magnitude_at_most(absolute(x), normal_limit(x))
    cdef floating factor = normal_tail(a, &lacking)
    cdef floating square = product_in_two(a, a * <floating> -0.5, &square_low)
    cdef floating shifted = exp_reduce(square, -(square_low + lacking), &r)
    r2 = r * r
    q = fma(r2, exp_polynomial(r, r2), r)
    scale = power_of_two(shifted, bits)
    tail = a * fma(factor, q, factor) * scale
    return rectified(x) - (tail if bounded_square else scaled_back(tail, bits))


cdef inline floating gelu_derivative(floating x, bint bounded_square) noexcept nogil:
    cdef floating r, r2, q, scale, low, density, density_low, difference, falling, rising
    cdef int bits = 2 * scale_bits(x, bounded_square)
    cdef floating a = absolute(x) if bounded_square else at_most(absolute(x), normal_limit(x))
    cdef floating shifted = exp_reduce_product(a, a * <floating> -0.5, &r)
    cdef floating high = normal_tail_in_two(a, &low)
    r2 = r * r
    q = fma(r2, exp_polynomial(r, r2), r)
    scale = power_of_two(shifted, bits)
    if floating is float:
        density, density_low = <floating> 0.398942291736602783203125, <floating> -1.133517e-08     # 1 / sqrt(2 pi)
    else:
        density, density_low = 0.3989422804014327, -2.49232720227773e-17
    difference = fma(-density, a, high)
    low = fma(-density_low, a, low)
    falling = (difference + fma(difference, q, fma(low, q, low))) * scale
    falling = falling if bounded_square else scaled_back_signed(falling, bits)
    rising = <floating> 1 - falling
    return falling if x < 0 else rising


# gelu_tanh: an approximation of gelu (Hendrycks and Gimpel 2016)
#   y  = x (1 + tanh(z / 2)) / 2, z = 2 sqrt(2 / pi) (x + 0.044715 x^3)
#      = x / (1 + e^-z)                                 = max(x, 0) - |x| / (1 + e^|z|)
#   y' = s (1 + x z' (1 - s)) with s = sigmoid(z)       computed as in silu, with |x| z' instead of |x|
cdef inline floating gelu_tanh(floating x, bint bounded_square) noexcept nogil:
    cdef floating r, limit
    if floating is float:
        limit = <floating> 10.95            # x / (1 + e^z) rounds to 0
    else:
        limit = <floating> 21.6
    cdef floating a = absolute(x) if bounded_square else magnitude_at_most(absolute(x), limit)
    cdef floating shifted = exp_reduce_gelu_tanh(a, &r)
    return rectified(x) - logistic_product(a, shifted, r, bounded_square)


cdef inline floating gelu_tanh_derivative(floating x, bint bounded_square) noexcept nogil:
    cdef floating r, limit, first, first_low, third, cubes, cubes_low, slope, slope_low, less, less_low, falling, rising
    if floating is float:
        limit = <floating> 11.1
        first, first_low = <floating> 1.5957691669464111328125, <floating> -4.5340686e-08
        third = <floating> 0.2140644490718841552734375
    else:
        limit = <floating> 21.7
        first, first_low = 1.5957691216057308, -9.96930880911092e-17
        third = 0.21406444881780073
    cdef floating a = absolute(x) if bounded_square else at_most(absolute(x), limit)
    cdef floating shifted = exp_reduce_gelu_tanh(a, &r)
    cubes = product_in_two(third, a, &cubes_low)
    slope = line_in_two(cubes, a, first, first_low, &slope_low)
    slope_low = fma(cubes_low, a, slope_low)
    less = fma[floating](-a, slope, 1)
    less_low = fma(-a, slope_low, fma(-a, slope, <floating> 1 - less))
    falling = logistic_product_derivative(less, less_low, shifted, r, bounded_square)
    rising = <floating> 1 - falling
    return falling if x < 0 else rising


# mish (Misra 2019)
#   y  = x tanh(softplus(x))                            with e = e^x, d = 1 + e + e^2 / 2:
#      = x e (1 - (e + e^2) / 2d) for x < 0,  x (1 - 1/d) for x >= 0
#   y' = e ((1 + x) (1 + e) + e / 2 + e^2 + e^3 / 4) / d^2 for x < 0,  1 + (x e (1 + e) - d) / d^2 for x >= 0
cdef inline floating mish(floating x, bint bounded) noexcept nogil:
    cdef floating r, r2, q, scale, w, e, half, d, top, base, falling, rising, limit, one = 1
    if floating is float:
        limit = <floating> 9.1              # y rounds to x
    else:
        limit = <floating> 19.1
    cdef int bits = 2 * scale_bits(x, bounded)
    cdef floating below = at_most(x, limit)
    cdef floating inner = below if bounded else at_least(below, -product_limit(x))
    scale = exp_split[floating](inner, 0, bits, &r)
    r2 = r * r
    q = fma(r2, exp_polynomial(r, r2), r)
    w = scale if bounded else scaled_back_clamped(scale, bits)
    e = fma(w, q, w)
    half = e * <floating> 0.5
    d = fma(e, one + half, one)
    top = operand_of(x < 0, fma(e, half, half), one)
    base = fma(inner, q, inner) if x < 0 else x
    rising = fma(-base, top / d, base)
    falling = rising * scale
    falling = falling if bounded else scaled_back(absolute(falling), bits)
    rising = x if x > limit else rising
    return with_sign_of(falling if x < 0 else rising, x)        # for x = -0, where -0 + 0 is 0


# The rounding errors of numerator and denominator, both polynomials in e = w (1 + q), correct the quotient.
cdef inline floating mish_derivative(floating x, bint bounded) noexcept nogil:
    cdef floating r, r2, q, scale, w, e, d, square, square_low, inverse, ratio, ratio_low, falling, limit, one = 1
    cdef floating one_more, one_x, one_x_low, base, a, b, top, top_low, steep
    if floating is float:
        limit = <floating> 12               # y' rounds to 1
    else:
        limit = <floating> 24
    cdef int bits = 2 * scale_bits(x, bounded)
    cdef floating below = at_most(x, limit)
    cdef floating inner = below if bounded else at_least(below, -product_limit(x))
    scale = exp_split[floating](inner, 0, bits, &r)
    r2 = r * r
    q = fma(r2, exp_polynomial(r, r2), r)
    w = scale if bounded else scaled_back_clamped(scale, bits)
    e = fma(w, q, w)
    one_more = one + e
    steep = fma[floating](e, fma[floating](e, fma[floating](e, 0.25, 1), 2), 2)
    square = fma(e, steep, one)
    square_low = fma(e, steep, one - square)
    one_x = one + inner
    one_x_low = inner - (one_x - one)
    d = fma(e, fma[floating](e, 0.5, 1), one)
    base = fma(e, fma[floating](e, fma[floating](e, 0.25, 1), 0.5), one_x)
    base = base if x < 0 else -d
    a = one_x if x < 0 else inner
    b = e if x < 0 else e * one_more
    top = fma(a, b, base)
    top_low = fma(one_x_low, one_more, fma(a, b, base - top))
    inverse = one / square
    ratio = top * inverse
    ratio_low = fma(-ratio, square_low, remainder(ratio, square, top) + top_low) * inverse
    falling = (ratio + fma(ratio, q, fma(ratio_low, q, ratio_low))) * scale
    falling = falling if bounded else scaled_back_signed(falling, bits)
    return falling if x < 0 else one + ratio


# sparse_sigmoid: a piecewise linear sigmoid
#   y  = min(max(x + 1, 0), 2) / 2
#   y' = 1 / 2 for -1 <= x < 1, else 0
cdef inline floating sparse_sigmoid(floating x) noexcept nogil:
    return (at_least[floating](at_most[floating](x, 1), -1) + <floating> 1) * <floating> 0.5


cdef inline floating sparse_sigmoid_derivative(floating x) noexcept nogil:
    cdef floating step = <floating> 0 if x < -1 else <floating> 0.5
    step = step if x < 1 else <floating> 0
    return step if x == x else x


# sparse_plus: a softplus made of a parabola and two lines, exactly 0 for x <= -1
#   y  = 0 for x <= -1, (x + 1)^2 / 4 for -1 < x < 1, x for x >= 1
#   y' = sparse_sigmoid(x)
cdef inline floating sparse_plus(floating x) noexcept nogil:
    cdef floating inner = at_least[floating](at_most[floating](x, 1), -1)
    cdef floating base = inner + <floating> 1
    cdef floating y = base * base * <floating> 0.25
    return x if x >= 1 else y


cdef inline floating sparse_plus_derivative(floating x) noexcept nogil:
    return sparse_sigmoid(x)


# squareplus: a softplus computed with one square root (Barron 2021)
#   y  = (x + sqrt(x^2 + b)) / 2                        = max(x, 0) + t with t = b / (2 (|x| + sqrt(x^2 + b)))
#   y' = (1 + x / sqrt(x^2 + b)) / 2                    = d for x < 0, 1 - d for x >= 0, d = t / sqrt(x^2 + b)
#                                                       from y: y^2 / (y^2 + b / 4)
#   in b: 1 / (4 sqrt(x^2 + b))
#
# The root takes as long as twenty other operations; the rounding errors of the denominators are computed in parallel.
#
# Powers of two scale x and b so that 2^-48 <= b < 16 (2^-106 in double).  For a scalar b the compiler hoists them out
# of the loop.
cdef inline floating squareplus(floating x, floating b) noexcept nogil:
    cdef floating quarter, half = 0.5, limit = 1099511627776.0                      # 2^40: from there on the root is a
    cdef floating factor = split_into_square(b, &quarter)
    cdef floating a = absolute(x) * factor
    cdef floating bounded = at_most(a, limit)
    cdef floating half_a = half * a
    cdef floating half_root = at_least(half * square_root(fma(bounded, bounded, four_times(quarter))), half_a)
    cdef floating d = half_root + half_a
    cdef floating d_low = (half_root - d) + half_a if a < limit else <floating> 0
    cdef floating t = quarter / d
    t = fma(-t * t * (<floating> 4 / four_times(quarter)), d_low, t)                # t / quarter is 1 / d
    return fma(t, inverse_of_power(factor), <floating> 0 if x < 0 else x)


cdef inline floating squareplus_derivative(floating x, floating b) noexcept nogil:
    cdef floating reach, shrink, limit, quarter, square, root, d, d_low, inverse, t, rising, two = 2
    cdef floating factor = split_into_square(b, &quarter)
    if floating is float:
        reach, shrink = <floating> 1073741824, two_to(-40, x)                       # 2^30: b is negligible beside x^2
        limit = two_to(80, x)
    else:
        reach, shrink = <floating> 1.2676506002282294e30, two_to(-440, x)           # 2^100
        limit = two_to(540, x)
    cdef floating scaled = at_most(absolute(x) * factor, limit)
    cdef bint is_far = scaled > reach
    cdef floating a = operand_of(is_far, scaled * shrink, scaled)
    square = fma(a, a, operand_of[floating](is_far, 0, four_times(quarter)))
    root = square_root(square)
    d = fma(a, root, square)
    d_low = fma(a, root, square - d)
    inverse = <floating> 1 / d
    t = two * quarter * inverse
    t = fma(fma(-t, d_low, remainder(t, d, two * quarter)), inverse, t)
    t = t * (shrink * shrink) if is_far else t
    rising = <floating> 1 - t
    return t if x < 0 else rising


cdef inline floating squareplus_derivative_from_output(floating y, floating b) noexcept nogil:
    cdef floating quarter, factor = split_into_square(b, &quarter)
    cdef floating bounded = at_most[floating](y * factor, 1152921504606846976)    # 2^60
    cdef floating square = bounded * bounded
    return square / (square + quarter) if square > 0 else square


# With q = 1 / (4 root) the rounding errors of root and quotient are 8 q^3 lacking and 4 q times a remainder.
cdef inline floating squareplus_derivative_in_b(floating x, floating b) noexcept nogil:
    cdef floating lacking, quarter, near, far, q, one_quarter = 0.25
    cdef floating factor = split_into_square(b, &quarter)
    cdef floating a = absolute(x), scaled = a * factor
    cdef floating root = root_of_square_and(four_times(quarter), scaled, &lacking)
    q = one_quarter / root
    q = fma(<floating> 4 * q, remainder(q, root, one_quarter) - (q + q) * q * lacking, q)
    near = q * factor
    far = one_quarter / a
    near = far if scaled > 1073741824 else near                         # 2^30: b is negligible
    return far if b == 0 else near


# tanh_shrink: the identity minus tanh
#   y  = x - tanh(x)                                    = x^3 P(x^2) for |x| < 1; |x| - 1 + 2 / (1 + e^2|x|) beyond
#   y' = tanh(x)^2
cdef inline floating tanh_shrink(floating x) noexcept nogil:
    cdef floating r, r2, q, w, d, inverse, tail, constant, constant_low, slope, polynomial, polynomial_low
    cdef floating square, square_low, product, product_rest, near, far, limit, one = 1
    if floating is float:
        limit = <floating> 10               # y rounds to x - 1
    else:
        limit = <floating> 20
    cdef floating a = absolute(x)
    cdef floating inner = magnitude_at_most(a, limit)
    cdef floating shifted = exp_reduce[floating](inner + inner, 0, &r)
    r2 = r * r
    q = fma(r2, exp_polynomial(r, r2), r)
    w = inverse_power_of_two(shifted, 0)
    d = one + (w + q)
    inverse = one / d
    tail = (w + w) * inverse
    far = (a - one) + fma(tail, remainder(d, inverse, one), tail)
    square = product_in_two(inner, inner, &square_low)
    slope = tanh_shrink_polynomial(square, &constant, &constant_low)
    polynomial = line_in_two(slope, square, constant, constant_low, &polynomial_low)
    product = product_in_two(square, polynomial, &product_rest)
    product_rest = fma(square, polynomial_low, fma(square_low, polynomial, product_rest))
    near = fma(a, product, a * product_rest)
    return with_sign_of(near if a < 1 else far, x)


cdef inline floating tanh_shrink_derivative(floating x) noexcept nogil:
    cdef floating low, rest, high, tangent, limit
    if floating is float:
        limit = <floating> 9.1              # y' rounds to 1
    else:
        limit = <floating> 19.1
    cdef floating a = at_most(absolute(x), limit)
    a = expm1_in_two[floating](a + a, 0, floating is double, &low)       # float meets its bound without r_low
    high = ratio_to_two_more[floating](a, low, 1, &rest)
    tangent = high + rest
    rest = (high - tangent) + rest
    return fma(tangent, tangent, (tangent + tangent) * rest)


# dish: a mish without exponentials (explosion/thinc)
#   y  = x (1 + x / h) / 2, h = sqrt(1 + x^2)           = max(x, 0) - |x| / (2 h (h + |x|))
#   y' = (1 + x / h + x / h^3) / 2                      = d for x < 0, 1 - d for x >= 0, with v = x^2, s = 1 + v:
#                                                         d = (1 - v s) / (2 s (s^2 + |x| h (s + 1)))
#
# As in squareplus, what a denominator lost to rounding is computed in parallel with the root and the division, and then
# corrects the quotient.  For large |x| the tails are 1 / (4 |x|) and -1 / (4 x^2) (1 - 9 / (4 x^2)).
cdef inline floating dish(floating x) noexcept nogil:
    cdef floating s, root, d, d_low, top, inverse, t, t_low, reach = 1073741824, half = 0.5, one = 1     # 2^30
    cdef floating a = absolute(x)
    s = fma(a, a, one)
    root = square_root(s)
    d = fma(a, root, s)                                                             # h (h + |x|)
    d_low = fma(a, root, s - d)
    top = <floating> 0.25 if a > reach else half * a
    inverse = one / operand_of(a > reach, a, d)
    t = top * inverse
    t_low = fma(-t, d_low, remainder(t, d, top)) * inverse
    t_low = <floating> 0 if a > reach else t_low
    return rectified(x) - (t + t_low)


cdef inline floating dish_derivative(floating x) noexcept nogil:
    cdef floating reach, s, v, root, w, k, m, m_low, d, d_low, top, inverse, ratio, rest, t, far, rising
    cdef floating half = 0.5, one = 1
    if floating is float:
        reach = 1024
    else:
        reach = 1048576
    cdef floating a = absolute(x)
    s = fma(a, a, one)
    root = square_root(s)
    w = fma(a, root, at_most(half * a, half) * remainder(root, root, s))    # |x| h; min(|x|, 1) in place of |x| / h
    k = fma(s, w, w)
    m = fma(s, s, k)
    m_low = fma(s, s, k - m)
    d = m * s
    d_low = fma(s, m_low, -remainder(m, s, d))
    v = s - one
    top = fma(-v, s, one)
    inverse = one / operand_of(a > reach, a, d)
    ratio = top * inverse
    rest = fma(-ratio, d_low, remainder(ratio, d, top))
    rest = fma(remainder(a, a, v), fma(<floating> 3 * ratio, m, s + v), rest)       # what s and v lost to rounding
    ratio = fma(rest, inverse, ratio)
    t = half * inverse
    far = -t * fma(<floating> -9 * t * t, t, t)                             # -0 at -infinity
    t = far if a > reach else half * ratio
    rising = one - t
    return t if x < 0 else rising


# logit: the inverse of sigmoid (Berkson 1944), NaN outside 0 <= x <= 1
#   y  = log(x / (1 - x))                               = n ln 2 + 2 atanh((p - q) / (p + q)), x = 2^n p, q = 1 - x
#   y' = 1 / (x (1 - x))                                from y: 2 + e^y + e^-y
#
# With 0 <= eps <= 1/2, x is first clipped to [eps, 1 - eps], two numbers of the dtype, and y' is 0 for x < eps and
# x >= 1 - eps.  From y it is 0 at the values of both ends too.  Any other eps leaves x unchanged.  For 1, the default,
# the loops pass the literal 1, and the compiler removes the clipping.
cdef inline floating logit(floating x, floating eps) noexcept nogil:
    cdef floating n, p, q, q_low, u, v, high, ln2_low, y, end, one = 1
    x = clipped_to_middle(x, eps)
    q = one - x
    q_low = (one - q) - x
    n = exponent_beside[floating](x * two_to(60, x), q, &p) - 60                    # not subnormal
    u = ((p - q) - q_low) / (p + q)
    v = u * u
    u = u + u
    high = times_ln2(n, &ln2_low)
    y = high + fma(u * v, atanh_polynomial(v), u + ln2_low)
    end = <floating> -INFINITY if x == 0 else <floating> NAN
    end = <floating> INFINITY if x == 1 else end
    return y if (x > 0) & (x < 1) else end


cdef inline floating logit_derivative(floating x, floating eps) noexcept nogil:
    cdef floating q = <floating> 1 - x
    cdef floating q_low = (<floating> 1 - q) - x
    cdef floating y = absolute(<floating> 1 / fma(x, q, x * q_low))               # +infinity also for x = -0
    cdef floating clipped
    y = y if x >= 0 else <floating> NAN
    y = y if x <= 1 else <floating> NAN
    clipped = <floating> 0 if x < eps else y
    clipped = <floating> 0 if x >= <floating> 1 - eps else clipped
    clipped = clipped if eps >= 0 else y
    return clipped if eps <= <floating> 0.5 else y


cdef inline floating logit_derivative_from_output(floating y, floating eps) noexcept nogil:
    cdef floating e = exp_anywhere(absolute(y))
    cdef floating slope = e + (<floating> 2 + <floating> 1 / e)
    cdef floating bottom = logit[floating](eps, 1), top = logit[floating](<floating> 1 - eps, 1)
    cdef floating clipped = <floating> 0 if y <= bottom else slope
    clipped = <floating> 0 if y >= top else clipped
    clipped = clipped if eps >= 0 else slope
    return clipped if eps <= <floating> 0.5 else slope


# erf: the error function
#   y  = 2 / sqrt(pi) times the integral of e^-t^2 from 0 to x      = 1 - e^(-|x| P(|x|)), with the sign of x
#   y' = 2 / sqrt(pi) e^-x^2
cdef inline floating erf(floating x) noexcept nogil:
    cdef floating limit, constant, constant_low, slope, product
    if floating is float:
        limit = <floating> 4                # y rounds to 1
    else:
        limit = <floating> 6
    cdef floating a = at_most(absolute(x), limit)
    slope = erf_polynomial(a, &constant, &constant_low)
    product = fma(a, constant, a * fma(slope, a, constant_low))
    return with_sign_of(absolute(expm1_rounded(-product)), x)


cdef inline floating erf_derivative(floating x, bint bounded_square) noexcept nogil:
    cdef floating r, r2, q, scale, limit, factor, factor_low, density
    if floating is float:
        limit = <floating> 10.25            # y' rounds to 0
        factor, factor_low = <floating> 1.128379225730896, <floating> -5.8635382771399236e-08
    else:
        limit = <floating> 27.35
        factor, factor_low = 1.1283791670955126, 1.533545961316588e-17
    cdef floating a = absolute(x) if bounded_square else at_most(absolute(x), limit)
    cdef floating shifted = exp_reduce_product(a, -a, &r)
    r2 = r * r
    q = fma(r2, exp_polynomial(r, r2), r)
    scale = power_of_two(shifted, scale_bits(x, bounded_square))
    density = (factor + fma(factor, q, fma(factor_low, q, factor_low))) * scale
    return density if bounded_square else scaled_back(density, scale_bits(x, bounded_square))


# xielu (Huang and Schlag 2025), with alpha_p and alpha_n given directly, not through softplus
#   y  = alpha_p x^2 + beta x for x > 0, alpha_n (e^min(x, eps) - 1 - x) + beta x for x <= 0
#   y' = 2 alpha_p x + beta for x >= 0, alpha_n (e^x - 1) + beta for x < eps, beta - alpha_n between
#   in alpha_p: x^2 for x > 0, else 0    in alpha_n: e^min(x, eps) - 1 - x for x <= 0, else 0    in beta: x
#
# `factor` scales tiny alpha_p and beta up: their line must not be subnormal before the multiplication by a large x.
cdef inline floating xielu(floating x, floating alpha_p, floating alpha_n, floating beta,
                           floating eps) noexcept nogil:
    cdef floating high, low, curve, curve_low, slope, slope_low, part, part_low, falling, rest, factor, far
    if floating is float:
        factor = two_to(60, x) if at_least(absolute(alpha_p), absolute(beta)) < two_to(-64, x) else <floating> 1
    else:
        factor = two_to(480, x) if at_least(absolute(alpha_p), absolute(beta)) < two_to(-512, x) else <floating> 1
    cdef floating rising = x * inverse_of_power(factor) * line(alpha_p * factor, x, beta * factor)
    high = expm1_bounded[floating](at_least[floating](at_most(x, at_most[floating](eps, 40)), -40), 0, &low)
    curve = product_in_two(alpha_n, high, &curve_low)
    slope = sum_in_two(beta, -alpha_n, &slope_low)
    far = largest(x) * <floating> -0.125 * inverse_of_power(power_in(at_least[floating](absolute(slope), 1)))
    part = product_in_two(slope, x, &part_low)
    falling = sum_in_two(part, curve, &rest)
    rest = rest + (part_low + fma(slope_low, x, fma(alpha_n, low, curve_low)))
    falling = falling + (rest if x > far else <floating> 0)                     # avoids inf - inf
    return rising if x > 0 else falling


cdef inline floating xielu_derivative(floating x, floating alpha_p, floating alpha_n, floating beta,
                                      floating eps) noexcept nogil:
    cdef floating slope_low
    cdef floating slope = sum_in_two(beta, -alpha_n, &slope_low)
    cdef floating e = scaled_back(exp_negative_scaled[floating](at_most[floating](x, 0), 0, False),
                                  scale_bits(x, False))
    cdef floating rising = line(alpha_p, x, beta * <floating> 0.5)
    e = e if x < eps else <floating> 0
    return fma(alpha_n, e, slope) + slope_low if x < 0 else rising + rising


cdef inline floating xielu_derivative_in_alpha_p(floating x, floating alpha_p, floating alpha_n, floating beta,
                                                 floating eps) noexcept nogil:
    return <floating> 0 if x <= 0 else x * x


# A small min(x, eps) takes a polynomial.
cdef inline floating xielu_derivative_in_alpha_n(floating x, floating alpha_p, floating alpha_n, floating beta,
                                                 floating eps) noexcept nogil:
    cdef floating high, low, near, far, flat_low, rest_low
    cdef floating inner = at_least[floating](at_most(x, at_most[floating](eps, 0)), -60)
    cdef floating flat = sum_in_two(at_most(x, eps), -x, &flat_low)             # 0, or negative between eps and 0
    near = flat + (half_square_and_rest[floating](inner, 0, exp_rest_polynomial(inner)) + flat_low)
    high = expm1_bounded[floating](inner, 0, &low)
    far = sum_in_two(high, -x, &rest_low)
    far = far + (rest_low + low if x > -largest(x) else <floating> 0)           # avoids inf - inf
    far = near if inner >= <floating> -0.5 else far
    return <floating> 0 if x > 0 else far


cdef inline floating xielu_derivative_in_beta(floating x, floating alpha_p, floating alpha_n, floating beta,
                                              floating eps) noexcept nogil:
    return x


# gelu_clipped (Wu et al. 2020): for quantization
#   y  = min(max(gelu(x), min_value), max_value)
#   y' = gelu'(x) where min_value < y < max_value, else 0
#
# A limit is compared with the summands of gelu(x) = max(x, 0) + gelu(-|x|): their rounded sum hides that gelu(10) is
# less than 10.  At a limit the sign of the slope tells whether y is beyond the limit to the right.
cdef inline floating gelu_clipped(floating x, floating min_value, floating max_value) noexcept nogil:
    return at_most(at_least(gelu(x, False), min_value), max_value)


cdef inline floating gelu_clipped_derivative(floating x, floating min_value, floating max_value) noexcept nogil:
    cdef floating slope = gelu_derivative(x, False)
    cdef floating falling = gelu(-absolute(x), False), ramp = rectified(x)
    cdef floating above_min = (ramp - min_value) + falling
    cdef floating above_max = (ramp - max_value) + falling
    cdef floating at_min = <floating> 0 if slope < 0 else slope
    cdef floating at_max = <floating> 0 if slope > 0 else slope
    slope = at_min if above_min == 0 else slope
    slope = at_max if above_max == 0 else slope
    slope = <floating> 0 if above_min < 0 else slope
    slope = <floating> 0 if above_max > 0 else slope
    return slope if x == x else x


# laplace: a normal distribution function with the value and the slope of relu2 at mu (Ma et al. 2022)
#   y  = (1 + erf((x - mu) / (sigma sqrt(2)))) / 2      = P for t < 0, 1 - P for t >= 0: t = (x - mu) / sigma,
#                                                         P the normal distribution function at -|t|
#   y' = e^(-t^2 / 2) / (sigma sqrt(2 pi))
#
# t has two parts: its relative rounding error enters the tail times t^2.  The second part enters through the first
# derivative.
cdef inline floating laplace(floating x, floating mu, floating sigma) noexcept nogil:
    cdef floating t, t_low, a, a_low, r, r2, q, shifted, high, low, tail, rising, rounded, density
    cdef int bits = 2 * scale_bits(x, False)
    density = 0.3989422804014327                        # 1 / sqrt(2 pi)
    t = standardized(x, mu, sigma, &t_low)
    a = magnitude_at_most(absolute(t), normal_limit(x))
    a_low = -t_low if t < 0 else t_low
    shifted = exp_reduce_product(a, a * <floating> -0.5, &r)
    high = normal_tail_in_two(a, &low)
    low = fma(-density, a_low, low)
    r2 = r * r
    q = fma(r2, exp_polynomial(r, r2), r)
    tail = (high + fma(high, q, fma(low, q, low))) * power_of_two(shifted, bits)
    tail = scaled_back(tail, bits)
    rising = <floating> 1 - tail
    rounded = tail if t < 0 else rising
    return rounded if t == t else t


cdef inline floating laplace_derivative(floating x, floating mu, floating sigma) noexcept nogil:
    cdef floating t, t_low, a, a_low, r, r2, q, shifted, factor, factor_low, limit, density
    cdef int bits = 2 * scale_bits(x, False)
    if floating is float:
        limit = <floating> 15.9             # 2^bits e^(-t^2 / 2) is normal
        factor, factor_low = <floating> 0.398942291736602783203125, <floating> -1.133517e-08    # 1 / sqrt(2 pi)
    else:
        limit = <floating> 39.7
        factor, factor_low = 0.3989422804014327, -2.49232720227773e-17
    t = standardized(x, mu, sigma, &t_low)
    a = magnitude_at_most(absolute(t), limit)
    a_low = -t_low if t < 0 else t_low
    a_low = a_low if a < limit else <floating> 0
    shifted = exp_reduce_product(a, a * <floating> -0.5, &r)
    r = fma(-a, a_low, r)
    r2 = r * r
    q = fma(r2, exp_polynomial(r, r2), r)
    density = (factor + fma(factor, q, fma(factor_low, q, factor_low))) * power_of_two(shifted, bits)
    density = scaled_back_signed(density / sigma, bits)
    return density if t == t else t


# sqrt_softplus: the square root of softplus (DeepSeek-V4)
#   y  = sqrt(log(1 + e^x))                             = e^(x / 2) far below 0, also where softplus underflows to 0
#   y' = sigmoid(x) / (2 sqrt(log(1 + e^x)))            = e^(x / 2) / 2 far below 0; the rounding errors of root and
#                                                         quotient are added back
cdef inline floating sqrt_softplus(floating x, bint bounded) noexcept nogil:
    cdef floating limit
    cdef floating tail = exp_negative_scaled[floating](at_most[floating](x * <floating> 0.5, 0), 0, bounded)
    cdef floating root = square_root(softplus[floating](x, 1, bounded))
    if floating is float:
        limit = <floating> -20
    else:
        limit = <floating> -40
    tail = tail if bounded else scaled_back(tail, scale_bits(x, bounded))
    return tail if x < limit else root


cdef inline floating sqrt_softplus_derivative(floating x, bint bounded) noexcept nogil:
    cdef floating limit, rest, half = 0.5
    cdef floating tail = exp_negative_scaled[floating](at_most[floating](x * half, 0), 0, bounded) * half
    cdef floating square = softplus[floating](x, 1, bounded), top = half * sigmoid(x, bounded)
    cdef floating root = square_root(square)
    cdef floating inverse = <floating> 1 / root
    cdef floating slope = top * inverse
    rest = fma(-slope, half * inverse * remainder(root, root, square), remainder(slope, root, top))
    slope = fma(rest if x < largest(x) else <floating> 0, inverse, slope)           # avoids inf - inf
    if floating is float:
        limit = <floating> -20
    else:
        limit = <floating> -40
    tail = tail if bounded else scaled_back(tail, scale_bits(x, bounded))
    return tail if x < limit else slope
