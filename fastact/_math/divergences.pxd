# The entropy of softmax and the divergence of two of them: their steps and formulas, as the head of softmax.pxd
# explains them.  The gradient may overwrite the logits, as in softmax_losses.pxd.

from libc.math cimport INFINITY, NAN, fabs, isinf

from fastact._math.primitives cimport (
    absolute, at_least, at_most, exp_of_bounded, exp_rest_polynomial, floating, fma, log_of_one_more, sum_in_two)
from fastact._math.row_state cimport (
    CENTRE, CENTRE_LOW, DIVERGENCE_WEIGHT, DIVERGENCE_WEIGHT_LOW, EXCESS, FACTOR, FACTOR_LOW, FLOOR, HALF, HIGHEST,
    INVERSE_OF_TARGETS, LOGITS_FLOOR, LOGITS_OFFSET, LOGITS_SHIFT, OFFSET, RATIO, SCALE, SHIFT, StripState)
from fastact._math.softmax cimport (
    exp_guarded, exp_of_row, exp_of_scaled, half_of, row_guard_scale, row_limit)


# --------------------------------------------------------------------------------------------------------- entropy

# -(sum of p log p) with its gradient -p (log p + entropy).  With the mean distance d = sum of p (m - x), the entropy is
# d + log(sum of e^(x - m)), and the gradient p ((m - x) - d): nothing cancels at a maximum that outweighs the others.
#
# Steps of softmax_entropy:
#   maximum of x
#   prepare_exponentials
#   prepare_peak
#   accumulate_exponentials of x, if long
#   flag_dominant, if long
#   recover_pairs of x, if long
#   accumulate_others of x, if dominant
#   finish_log
#   prepare_exponentials
#   prepare_entropy
#   accumulate_entropy of x
#   finish_entropy
#   emit_entropy of x
#
# Steps of softmax_entropy_alone:
#   maximum of x
#   prepare_exponentials
#   prepare_peak
#   accumulate_exponentials of x, if long
#   flag_dominant, if long
#   recover_pairs of x, if long
#   accumulate_others of x, if dominant
#   finish_log
#   prepare_exponentials
#   prepare_entropy
#   accumulate_entropy of x
#   finish_entropy

cdef inline void prepare_entropy(StripState* state, Py_ssize_t i, floating unused) noexcept nogil:
    state.constants[HIGHEST + i] = state.maximum[i]


# m - x, up to where p is 0
cdef inline floating distance_below(floating x, floating highest) noexcept nogil:
    return at_most(highest - x, row_limit(x))


# sum: e^x / 2^N times 2^guard, times m - x
cdef inline floating accumulate_entropy(floating x, floating y, const floating* c) noexcept nogil:
    return exp_of_row(x, c) * distance_below(x, c[HIGHEST])


cdef inline void finish_entropy(StripState* state, Py_ssize_t i, floating unused) noexcept nogil:
    cdef double weight = state.inverse[i] * row_guard_scale(unused), distance = state.first[i] * weight
    cdef floating high = <floating> distance
    state.result[i] = distance + state.log_rest[i]
    state.constants[CENTRE + i] = high
    state.constants[CENTRE_LOW + i] = distance - high
    state.constants[SCALE + i] = state.scale[i] * weight


cdef inline floating emit_entropy(floating x, floating y, const floating* c) noexcept nogil:
    return exp_of_row(x, c) * c[SCALE] * ((distance_below(x, c[HIGHEST]) - c[CENTRE]) - c[CENTRE_LOW])


# ------------------------------------------------------------------------------------------------------ divergence

# sum of t (log t - log p) with its gradient p - t; x and y are the logits of p and of t.
#
# With u = y - x and any number c, v = u - c and E = sum of t (e^-v - 1), the divergence is
#
#   sum of t (v + e^-v - 1) - (E - log(1 + E)),    and    p - t = t ((e^-v - 1) - E) / (1 + E)
#
# The terms of the first sum are not negative, and what is subtracted is smaller.  Where the divergence is small, c is
# the mean of u, sum of t u, so that almost equal logits keep their digits.  Elsewhere it is log(sum of e^y) - log(sum
# of e^x), so that v is log t - log p, and E is 0 but for rounding errors.  The mean is computed relative to the
# difference of the maxima.
#
# Steps of softmax_kl:
#   maximum of x
#   prepare_exponentials
#   accumulate_exponentials of x
#   finish_logits
#   maximum of y
#   prepare_exponentials
#   prepare_centre
#   accumulate_centre of x and y
#   finish_centre
#   accumulate_divergence of x and y, stored
#   finish_divergence
#   emit_divergence of out and y
#
# Steps of softmax_kl_alone:
#   maximum of x
#   prepare_exponentials
#   accumulate_exponentials of x
#   finish_logits
#   maximum of y
#   prepare_exponentials
#   prepare_centre
#   accumulate_centre of x and y
#   finish_centre
#   accumulate_divergence of x and y
#   finish_divergence
#
# Steps of softmax_kl_scaled:
#   maximum of x
#   prepare_scaled
#   accumulate_scaled_exponentials of x
#   finish_logits
#   maximum of y
#   prepare_scaled
#   prepare_scaled_centre
#   accumulate_scaled_centre of x and y
#   finish_scaled_centre
#   accumulate_scaled_divergence of x and y, stored
#   finish_divergence
#   emit_scaled_divergence of out and y
#
# Steps of softmax_kl_scaled_alone:
#   maximum of x
#   prepare_scaled
#   accumulate_scaled_exponentials of x
#   finish_logits
#   maximum of y
#   prepare_scaled
#   prepare_scaled_centre
#   accumulate_scaled_centre of x and y
#   finish_scaled_centre
#   accumulate_scaled_divergence of x and y
#   finish_divergence

cdef inline void finish_logits(StripState* state, Py_ssize_t i, floating unused) noexcept nogil:
    state.at_label[i] = state.maximum[i]
    state.inverse[i] = 1 / (state.first[i] * row_guard_scale(unused))
    state.constants[LOGITS_OFFSET + i] = state.constants[OFFSET + i]
    state.constants[LOGITS_FLOOR + i] = state.constants[FLOOR + i]
    state.constants[LOGITS_SHIFT + i] = state.constants[SHIFT + i]


# c = m' - m, the difference of the maxima, plus `more`.  Both are multiplied by `half`, so that it does not overflow.
cdef inline void set_centre(StripState* state, Py_ssize_t i, double half, double more, floating unused) noexcept nogil:
    cdef double low, rest
    cdef double centre = sum_in_two[double](state.maximum[i] * half, -state.at_label[i] * half, &low)
    cdef double moved = sum_in_two[double](centre, more, &rest)
    cdef floating high = <floating> moved
    state.constants[CENTRE + i] = high
    state.constants[CENTRE_LOW + i] = (moved - high) + (low + rest)


cdef inline void prepare_centre(StripState* state, Py_ssize_t i, floating unused) noexcept nogil:
    set_centre[floating](state, i, 0.5, 0, unused)


cdef inline void prepare_scaled_centre(StripState* state, Py_ssize_t i, floating unused) noexcept nogil:
    cdef double of_x = state.at_label[i], of_y = state.maximum[i]
    cdef double half = at_most[double](half_of(of_x, unused), half_of(of_y, unused))
    cdef double factor_high = state.factor / half
    cdef floating factor = <floating> factor_high
    state.constants[OFFSET + i] = NAN if isinf(of_y) else of_y * half
    state.constants[LOGITS_OFFSET + i] = NAN if isinf(of_x) else of_x * half
    state.constants[HALF + i] = half
    state.constants[FACTOR_LOW + i] = (factor_high - factor) + state.factor_low / half
    state.constants[FACTOR + i] = factor
    set_centre[floating](state, i, half, 0, unused)


# half u - c
cdef inline floating less_centre(floating x, floating y, floating half, const floating* c) noexcept nogil:
    cdef floating low
    cdef floating u = sum_in_two(y * half, -(x * half), &low)
    return (u - c[CENTRE]) + (low - c[CENTRE_LOW])


# 0 for a logit of -inf
cdef inline floating unless_nothing(floating e, floating logit) noexcept nogil:
    return <floating> 0 if logit == <floating> -INFINITY else e


# sums: e^y / 2^N times 2^guard; that times (half u - c)
cdef inline floating accumulate_centre(floating x, floating y, const floating* c, floating* first,
                                       floating* second) noexcept nogil:
    cdef floating e = exp_of_row(y, c)
    first[0] = e
    second[0] = unless_nothing(e * less_centre[floating](x, y, 0.5, c), y)
    return 0


cdef inline floating accumulate_scaled_centre(floating x, floating y, const floating* c, floating* first,
                                              floating* second) noexcept nogil:
    cdef floating e = exp_of_scaled(y, c[OFFSET], c)
    first[0] = e
    second[0] = unless_nothing(e * less_centre(x, y, c[HALF], c), y)
    return 0


# log(sum of e^y) - log(sum of e^x) - (m' - m) is the difference of the logarithms of the accumulated sums, plus `moved`
cdef inline void finish_mean(StripState* state, Py_ssize_t i, double half, double moved,
                             floating unused) noexcept nogil:
    cdef double guard = row_guard_scale(unused), factor = state.factor / half
    cdef double ratio = state.first[i] * guard * state.inverse[i]
    cdef double log_ratio = log_of_one_more(ratio - 1 if ratio > 1 else 1 / ratio - 1)
    cdef double excess = moved + (log_ratio if ratio > 1 else -log_ratio)
    cdef double mean = state.second[i] / state.first[i]
    cdef double divergence = mean * factor - excess
    cdef bint is_small = divergence <= 0.25
    set_centre[floating](state, i, half, mean if is_small else excess / factor, unused)
    state.inverse[i] = NAN if ratio != ratio else 1 / (state.first[i] * guard)     # whichever row has no softmax
    state.constants[RATIO + i] = ratio * exp_of_bounded[double](divergence if is_small else 0)
    state.constants[INVERSE_OF_TARGETS + i] = state.inverse[i] * guard


cdef inline void finish_centre(StripState* state, Py_ssize_t i, floating unused) noexcept nogil:
    cdef double steps = state.constants[LOGITS_SHIFT + i] - state.constants[SHIFT + i]
    cdef double of_x = state.constants[LOGITS_OFFSET + i] - state.at_label[i]
    cdef double of_y = state.constants[OFFSET + i] - state.maximum[i]
    finish_mean[floating](state, i, 0.5, (of_y - of_x) + steps * 0.6931471805599453, unused)


cdef inline void finish_scaled_centre(StripState* state, Py_ssize_t i, floating unused) noexcept nogil:
    finish_mean[floating](state, i, state.constants[HALF + i], 0, unused)


# v + e^-v - 1 for |v| <= 1, from that of v / 2
cdef inline floating divergence_of(floating v) noexcept nogil:
    cdef floating half = v * <floating> 0.5, square = half * half           # z^2 (1 + rest) / 2 of z = v / 2, twice
    cdef floating twice = fma(square, exp_rest_polynomial(-half), square)
    cdef floating expm1 = fma(twice, <floating> 0.5, -half)
    return fma(expm1, expm1, twice)


# stored: t (e^-v - 1), with e^y / 2^N times 2^guard as t.  sums: t (v + e^-v - 1); what is stored.  Where t = 0, t e^-v
# is p.
cdef inline floating terms_of_divergence(floating x, floating y, floating of_x, floating of_y, floating v,
                                         const floating* c, floating* first, floating* second) noexcept nogil:
    cdef floating t = unless_nothing(of_y, y), inverse = c[INVERSE_OF_TARGETS]
    cdef floating difference = unless_nothing(of_x * c[RATIO], x) - t
    cdef floating distance = <floating> INFINITY if x == <floating> -INFINITY else v
    cdef floating of_small = divergence_of(v)
    cdef floating of_large = fma(t * inverse, distance, difference * inverse)
    of_large = difference * inverse if t == 0 else of_large
    first[0] = t * inverse * of_small if absolute(v) <= 1 else of_large
    second[0] = t * (of_small - v) if absolute(v) <= 1 else difference
    return second[0]


cdef inline floating accumulate_divergence(floating x, floating y, const floating* c, floating* first,
                                           floating* second) noexcept nogil:
    cdef floating of_x = exp_guarded(x - c[LOGITS_OFFSET], <floating> 0, c[LOGITS_FLOOR], c[LOGITS_SHIFT])
    cdef floating half_of_v = less_centre[floating](x, y, 0.5, c)
    return terms_of_divergence(x, y, of_x, exp_of_row(y, c), half_of_v + half_of_v, c, first, second)


cdef inline floating accumulate_scaled_divergence(floating x, floating y, const floating* c, floating* first,
                                                  floating* second) noexcept nogil:
    cdef floating of_x = exp_of_scaled(x, c[LOGITS_OFFSET], c), of_y = exp_of_scaled(y, c[OFFSET], c)
    cdef floating distance = less_centre(x, y, c[HALF], c)
    cdef floating v = fma(distance, c[FACTOR], distance * c[FACTOR_LOW])
    return terms_of_divergence(x, y, of_x, of_y, v, c, first, second)


cdef inline void finish_divergence(StripState* state, Py_ssize_t i, floating unused) noexcept nogil:
    cdef double guard = row_guard_scale(unused)
    cdef double excess = state.second[i] * guard * state.inverse[i]
    cdef double rest = excess - log_of_one_more(excess)
    cdef double factor = state.scale[i] * state.inverse[i] / (1 + excess)
    cdef bint is_large = fabs(factor) > guard                               # as in set_weight
    rest = excess * excess * (0.5 - excess * (0.3333333333333333 - excess / 4)) if excess < 1e-4 else rest
    state.result[i] = at_least[double](state.first[i] - rest, 0)
    state.constants[EXCESS + i] = excess
    state.constants[DIVERGENCE_WEIGHT + i] = factor * guard if is_large else factor
    state.constants[DIVERGENCE_WEIGHT_LOW + i] = 1 if is_large else guard


cdef inline floating emit_divergence(floating x, floating y, const floating* c) noexcept nogil:
    cdef floating t = unless_nothing(exp_of_row(y, c), y)
    return fma(-t, c[EXCESS], x) * c[DIVERGENCE_WEIGHT] * c[DIVERGENCE_WEIGHT_LOW]


cdef inline floating emit_scaled_divergence(floating x, floating y, const floating* c) noexcept nogil:
    cdef floating t = unless_nothing(exp_of_scaled(y, c[OFFSET], c), y)
    return fma(-t, c[EXCESS], x) * c[DIVERGENCE_WEIGHT] * c[DIVERGENCE_WEIGHT_LOW]
