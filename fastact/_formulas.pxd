# Every elementwise activation: what it is called, where it comes from, its value and its derivative.
#
# This page is the library.  To add `name`, write here
#
#     name(x, parameters...)                      the value
#     name_derivative(x, parameters...)           its derivative in x; at a kink the right-hand one
#     name_derivative_from_output(y, ...)         optional: the derivative as a function of the value
#
# and nothing about arrays, threads or instruction sets: setup.py finds the functions by these names, and the loops of
# _loops.pxd make from them the kernels `value`, `derivative`, `backward`, `backward_from_output` and
# `value_and_derivative`, for float and double.  How to write them: straight-line code, see the head of _primitives.pxd.
# Then one row in catalogue.py and one line in reference.py; the tests say what is missing.

from fastact._primitives cimport (
    absolute, at_most, exp_limit, expm1_positive, floating, fma, log1p_exp_negative, logistic_tail, product_low,
    ratio_to_two_more, with_sign_of)


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
#   y  = 1 / (1 + e^-x)                                 = t for x < 0, 1 - t for x >= 0, with t = 1 / (1 + e^|x|)
#   y' = y (1 - y) = t (1 - t)                          even in x, right in both tails
cdef inline floating sigmoid(floating x) noexcept nogil:
    cdef floating t = logistic_tail[floating](absolute(x), 0, 1)
    cdef floating rest = <floating> 1 - t
    return t if x < 0 else rest


cdef inline floating sigmoid_derivative(floating x) noexcept nogil:
    cdef floating t = logistic_tail[floating](absolute(x), 0, 1)
    return fma(-t, t, t)


cdef inline floating sigmoid_derivative_from_output(floating y) noexcept nogil:
    return y * (<floating> 1 - y)


# tanh: the hyperbolic tangent
#   y  = (e^x - e^-x) / (e^x + e^-x) = 2 sigmoid(2x) - 1        = a / (2 + a) with a = e^(2|x|) - 1, and the sign of x
#   y' = 1 - y^2 = 4 t (1 - t) with t = 1 / (1 + e^(2|x|))
cdef inline floating tanh(floating x) noexcept nogil:
    cdef floating a, a_low, u, u_low, limit
    if floating is float:
        limit = <floating> 9.1              # tanh rounds to 1
    else:
        limit = <floating> 19.1
    a = at_most(absolute(x), limit)
    a = expm1_positive[floating](a + a, 0, &a_low)
    u = ratio_to_two_more[floating](a, a_low, 1, &u_low)
    return with_sign_of(u + u_low, x)


cdef inline floating tanh_derivative(floating x) noexcept nogil:
    cdef floating a = absolute(x)
    cdef floating four_t = logistic_tail[floating](a + a, 0, 4)
    cdef floating t = four_t * <floating> 0.25
    return fma(-four_t, t, four_t)


cdef inline floating tanh_derivative_from_output(floating y) noexcept nogil:
    return (<floating> 1 - y) * (<floating> 1 + y)


# softplus: the softened relu (Dugas et al. 2001)
#   y  = log(1 + e^(beta x)) / beta                     = max(x, 0) + log(1 + e^-|beta x|) / beta
#   y' = sigmoid(beta x) = 1 - e^(-beta y)
#
# beta x is carried in two parts, product + product_low: its rounding would cost |beta x| times as much in the value.
# For beta = 1 the loops hand over the literal, and all of that folds away.
cdef inline floating softplus(floating x, floating beta) noexcept nogil:
    cdef floating product = beta * x
    cdef floating magnitude = absolute(product)
    cdef floating magnitude_low = <floating> 0 if beta == 1 else product_low(x, beta, product)
    cdef floating low, ramp, larger, smaller, total, correction
    cdef floating high = log1p_exp_negative(magnitude, magnitude_low, &low)
    high = high if beta == 1 else (high + low) / beta
    low = low if beta == 1 else <floating> 0
    ramp = <floating> 0 if product < 0 else x
    larger = ramp if ramp > high else high
    smaller = high if ramp > high else ramp
    total = larger + smaller
    correction = ((larger - total) + smaller) + low
    return total if total > exp_limit(x) else total + correction


cdef inline floating softplus_derivative(floating x, floating beta) noexcept nogil:
    cdef floating product = beta * x
    cdef floating magnitude_low = <floating> 0 if beta == 1 else product_low(x, beta, product)
    cdef floating t = logistic_tail[floating](absolute(product), magnitude_low, 1)
    cdef floating rest = <floating> 1 - t
    return t if product < 0 else rest


cdef inline floating softplus_derivative_from_output(floating y, floating beta) noexcept nogil:
    cdef floating low
    cdef floating high = expm1_positive[floating](at_most[floating](beta * y, 40), 0, &low)
    return (high + low) / (<floating> 1 + high)
