# Losses over rows of logits: their steps and formulas, as the head of softmax.pxd explains them.
#
# No step reads the logits after the first result was stored, but where a second array is named: so the gradient may
# overwrite the logits.

from fastact._math.primitives cimport floating, fma
from fastact._math.row_state cimport (
    BIAS, INVERSE, MAXIMUM, PEAK, REST, SCALE, SUM, SUM_LOW, TOTAL, TOTAL_LOW, WEIGHT, WEIGHT_LOW, StripState)
from fastact._math.softmax cimport finish_log, row_guard_scale, set_weight


# --------------------------------------------------------------------------------------------------- squared error

# sum of (p - t)^2 / 2 with its gradient p ((p - t) - sum of (p - t) p); y = t, the target
#
# Steps of softmax_mse:
#   maximum of x
#   prepare_exponentials
#   accumulate_exponentials of x, stored
#   finish_probabilities
#   accumulate_squared_error of out and y, stored
#   finish_squared_error
#   emit_squared_error of out and y

# x is e^x times 2^guard.  stored: p                    sums: (p - t)^2, (p - t) p
cdef inline floating accumulate_squared_error(floating x, floating y, const floating* c, floating* first,
                                              floating* second) noexcept nogil:
    cdef floating p = x * c[INVERSE]
    cdef floating residual = p - y
    first[0] = residual * residual
    second[0] = residual * p
    return p


cdef inline void finish_squared_error(StripState* state, Py_ssize_t i, floating unused) noexcept nogil:
    cdef floating high = <floating> state.second[i]
    state.result[i] = state.first[i] / 2
    state.constants[SUM + i] = high
    state.constants[SUM_LOW + i] = state.second[i] - high
    state.constants[SCALE + i] = state.scale[i]


# x = p
cdef inline floating emit_squared_error(floating x, floating y, const floating* c) noexcept nogil:
    return x * (((x - y) - c[SUM]) - c[SUM_LOW]) * c[SCALE]


# ------------------------------------------------------------------------------- cross-entropy with probabilities

# sum of t (log s - x) + z (log s)^2, where log s is the logarithm of the sum of e^x, and its gradient
# p (sum of t + 2 z log s) - t; y = t, the target's probability
#
# With the maximum m, log s - x is (m - x) + log(sum of e^(x - m)): neither part is negative.
#
# Steps of softmax_cross_entropy:
#   maximum of x
#   prepare_maximum
#   accumulate_targets of x and y
#   finish_targets
#   prepare_exponentials
#   prepare_peak
#   accumulate_exponentials of x, stored, if long
#   flag_dominant, if long
#   recover_stored of out, if long
#   accumulate_below of out, if long and dominant
#   accumulate_others of x, stored, if short
#   finish_log
#   finish_cross_entropy
#   emit_cross_entropy of out and y
#
# Steps of softmax_cross_entropy_alone:
#   maximum of x
#   prepare_maximum
#   accumulate_targets of x and y
#   finish_targets
#   prepare_exponentials
#   prepare_peak
#   accumulate_exponentials of x, if long
#   flag_dominant, if long
#   recover_pairs of x, if long
#   accumulate_others of x, if dominant
#   finish_log
#   finish_cross_entropy
#
# Steps of softmax_cross_entropy_scaled:
#   maximum of x
#   prepare_maximum
#   accumulate_targets of x and y
#   finish_targets
#   prepare_scaled
#   accumulate_scaled_exponentials of x, stored, if long
#   flag_dominant, if long
#   accumulate_below of out, if long and dominant
#   accumulate_scaled_others of x, stored, if short
#   finish_log
#   finish_cross_entropy
#   emit_cross_entropy of out and y
#
# Steps of softmax_cross_entropy_scaled_alone:
#   maximum of x
#   prepare_maximum
#   accumulate_targets of x and y
#   finish_targets
#   prepare_scaled
#   accumulate_scaled_exponentials of x, if long
#   flag_dominant, if long
#   accumulate_scaled_others of x, if dominant
#   finish_log
#   finish_cross_entropy

# sums: t (m - x), t.  A class whose target is 0 adds nothing, not even where its logit is -inf.
cdef inline floating accumulate_targets(floating x, floating y, const floating* c, floating* first,
                                        floating* second) noexcept nogil:
    cdef floating term = y * (c[MAXIMUM] - x)
    first[0] = <floating> 0 if y == 0 else term
    second[0] = y
    return 0


cdef inline void finish_targets(StripState* state, Py_ssize_t i, floating unused) noexcept nogil:
    state.distance[i] = state.first[i]
    state.total[i] = state.second[i]


# x is e^x times 2^guard.  sums: of those below the maximum's, number of the others
cdef inline floating accumulate_below(floating x, floating y, const floating* c, floating* first,
                                      floating* second) noexcept nogil:
    first[0] = <floating> 0 if x >= c[PEAK] else x
    second[0] = <floating> 1 if x >= c[PEAK] else <floating> 0
    return x


# log of the sum of e^(factor x), by which z is multiplied twice
cdef inline double log_of_sum(const StripState* state, Py_ssize_t i) noexcept nogil:
    return (state.maximum[i] * state.factor + state.maximum[i] * state.factor_low) + state.log_rest[i]


# factor times a distance from the maximum, which may be infinite
cdef inline double times_factor(const StripState* state, double distance) noexcept nogil:
    cdef double product = state.factor * distance
    return product if state.factor_low == 0 else product + state.factor_low * distance


cdef inline void finish_cross_entropy(StripState* state, Py_ssize_t i, floating unused) noexcept nogil:
    cdef double log_s = log_of_sum(state, i), z = state.z_loss, total = state.total[i]
    state.result[i] = times_factor(state, state.distance[i]) + total * state.log_rest[i]
    if z != 0:
        state.result[i] += z * log_s * log_s
        total += 2 * z * log_s
    state.constants[WEIGHT + i] = state.scale[i] * state.inverse[i] * row_guard_scale(unused)
    state.constants[TOTAL + i] = <floating> total
    state.constants[TOTAL_LOW + i] = total - <floating> total
    state.constants[REST + i] = state.scale[i] * state.rest[i]
    state.constants[PEAK + i] = state.peak[i]
    state.constants[SCALE + i] = state.scale[i]


# x is e^x times 2^guard: p (total - t) - t (1 - p).  For the maximum, whose p may be nearly 1, 1 - p is known to more
# digits than the subtraction gives; total is in two parts, since total - t may be small.
cdef inline floating emit_cross_entropy(floating x, floating y, const floating* c) noexcept nogil:
    cdef floating p = x * c[WEIGHT], of_maximum = c[REST]       # loaded in any case: a load in a branch is no select
    cdef floating of_others = c[SCALE] - p
    of_others = of_maximum if x >= c[PEAK] else of_others
    return fma(-y, of_others, p * ((c[TOTAL] - y) + c[TOTAL_LOW]))


# -------------------------------------------------------------------------------------- cross-entropy with labels

# log s - x at the label, with its gradient p, and p - 1 at the label
#
# Steps of softmax_cross_entropy_labels:
#   maximum of x
#   patch_logit of x
#   prepare_exponentials
#   prepare_peak
#   accumulate_exponentials of x, stored, if long
#   flag_dominant, if long
#   recover_stored of out, if long
#   accumulate_below of out, if long and dominant
#   accumulate_others of x, stored, if short
#   finish_label
#   patch_label of out
#   emit_weighted of out
#
# Steps of softmax_cross_entropy_labels_alone:
#   maximum of x
#   patch_logit of x
#   prepare_exponentials
#   prepare_peak
#   accumulate_exponentials of x, if long
#   flag_dominant, if long
#   recover_pairs of x, if long
#   accumulate_others of x, if dominant
#   finish_label

cdef inline void patch_logit(const floating* x, floating* entry, Py_ssize_t n, Py_ssize_t distance,
                             StripState* state, Py_ssize_t i) noexcept nogil:
    state.at_label[i] = x[0]


cdef inline void finish_label(StripState* state, Py_ssize_t i, floating unused) noexcept nogil:
    finish_log[floating](state, i, unused)
    set_weight(state, i, state.scale[i] * state.inverse[i], unused)
    state.result[i] = (state.maximum[i] - state.at_label[i]) + state.log_rest[i]


# The sum of all exponentials but the one at the label, which is e
cdef inline double sum_of_others(const StripState* state, Py_ssize_t i, double e) noexcept nogil:
    cdef double first = state.first[i], peak = state.peak[i]
    cdef double above = state.second[i] * peak
    return first + (above - peak) if e >= peak else (first - e) + above


# Gradient at the label: -(sum of the other probabilities).  p - 1 cancels to 0 when p rounds to 1.
cdef inline void patch_label(const floating* x, floating* entry, Py_ssize_t n, Py_ssize_t distance,
                             StripState* state, Py_ssize_t i) noexcept nogil:
    entry[0] = <floating> -sum_of_others(state, i, entry[0])


# The same with label smoothing, a factor and a z-loss.  With e = smoothing, of n classes, t is e / n, and at the label
# 1 - e more:  (log s - x at the label) (1 - e) + e (log s - mean of x) + z (log s)^2,  gradient p (1 + 2 z log s) - t.
# At the label it is  -(sum of the other p) + e (n - 1) / n + 2 z p log s.
#
# Steps of softmax_cross_entropy_labels_smoothed:
#   maximum of x
#   patch_logit of x
#   prepare_maximum
#   accumulate_distances of x
#   finish_targets
#   prepare_exponentials
#   prepare_peak
#   accumulate_exponentials of x, stored, if long
#   flag_dominant, if long
#   recover_stored of out, if long
#   accumulate_below of out, if long and dominant
#   accumulate_others of x, stored, if short
#   finish_log
#   finish_smoothed
#   patch_smoothed of out
#   emit_smoothed of out
#   patch_gradient of out
#
# Steps of softmax_cross_entropy_labels_smoothed_alone:
#   maximum of x
#   patch_logit of x
#   prepare_maximum
#   accumulate_distances of x
#   finish_targets
#   prepare_exponentials
#   prepare_peak
#   accumulate_exponentials of x, if long
#   flag_dominant, if long
#   recover_pairs of x, if long
#   accumulate_others of x, if dominant
#   finish_log
#   finish_smoothed
#
# Steps of softmax_cross_entropy_labels_scaled:
#   maximum of x
#   patch_logit of x
#   prepare_maximum
#   accumulate_distances of x
#   finish_targets
#   prepare_scaled
#   accumulate_scaled_exponentials of x, stored, if long
#   flag_dominant, if long
#   accumulate_below of out, if long and dominant
#   accumulate_scaled_others of x, stored, if short
#   finish_log
#   finish_smoothed
#   patch_smoothed of out
#   emit_smoothed of out
#   patch_gradient of out
#
# Steps of softmax_cross_entropy_labels_scaled_alone:
#   maximum of x
#   patch_logit of x
#   prepare_maximum
#   accumulate_distances of x
#   finish_targets
#   prepare_scaled
#   accumulate_scaled_exponentials of x, if long
#   flag_dominant, if long
#   accumulate_scaled_others of x, if dominant
#   finish_log
#   finish_smoothed

# sum: m - x
cdef inline floating accumulate_distances(floating x, floating y, const floating* c) noexcept nogil:
    return c[MAXIMUM] - x


cdef inline void finish_smoothed(StripState* state, Py_ssize_t i, floating unused) noexcept nogil:
    cdef double log_s = log_of_sum(state, i), log_rest = state.log_rest[i], total = 1
    cdef double smoothing = state.smoothing, z = state.z_loss, result
    result = (1 - smoothing) * (times_factor(state, state.maximum[i] - state.at_label[i]) + log_rest)
    result = 0 if smoothing == 1 else result
    if smoothing != 0:
        result += smoothing * (times_factor(state, state.distance[i]) / state.entries + log_rest)
    if z != 0:
        result += z * log_s * log_s
        total += 2 * z * log_s
    state.result[i] = result
    state.total[i] = total - 1                  # 2 z log s
    state.constants[BIAS + i] = state.scale[i] * smoothing / state.entries
    set_weight(state, i, state.scale[i] * state.inverse[i] * total, unused)


# The gradient at the label, which is kept while the others are computed
cdef inline void patch_smoothed(const floating* x, floating* entry, Py_ssize_t n, Py_ssize_t distance,
                                StripState* state, Py_ssize_t i) noexcept nogil:
    cdef double e = entry[0], guarded = state.inverse[i] * <double> row_guard_scale(x[0])
    cdef double log_part = 0 if state.total[i] == 0 else e * guarded * state.total[i]
    cdef double of_others = state.smoothing * (n - 1) / n - sum_of_others(state, i, e) * guarded
    state.rest[i] = state.scale[i] * (of_others + log_part)


cdef inline floating emit_smoothed(floating x, floating y, const floating* c) noexcept nogil:
    return x * c[WEIGHT] * c[WEIGHT_LOW] - c[BIAS]


cdef inline void patch_gradient(const floating* x, floating* entry, Py_ssize_t n, Py_ssize_t distance,
                                StripState* state, Py_ssize_t i) noexcept nogil:
    entry[0] = <floating> state.rest[i]


# The gradient of the cross-entropy with labels, and the diagonal of its Hessian, p (1 - p) times a factor, to y
#
# Steps of softmax_hessian:
#   maximum of x
#   prepare_exponentials
#   prepare_peak
#   accumulate_exponentials of x, stored, if long
#   flag_dominant, if long
#   recover_stored of out, if long
#   accumulate_below of out, if long and dominant
#   accumulate_others of x, stored, if short
#   finish_hessian
#   emit_hessian of out, to y
#   finish_gradient
#   patch_label of out
#   emit_weighted of out

cdef inline void finish_hessian(StripState* state, Py_ssize_t i, floating unused) noexcept nogil:
    cdef double guard = row_guard_scale(unused), peak = state.peak[i]
    cdef double others = state.first[i] / peak + (state.second[i] - 1)
    state.inverse[i] = 1 / ((state.first[i] + state.second[i] * peak) * guard)
    state.constants[WEIGHT + i] = state.inverse[i] * guard
    state.constants[REST + i] = others / (1 + others)
    state.constants[PEAK + i] = peak
    state.constants[SCALE + i] = state.scale[i] * state.factor


cdef inline floating emit_hessian(floating x, floating y, const floating* c) noexcept nogil:
    cdef floating p = x * c[WEIGHT], of_maximum = c[REST]
    cdef floating of_others = <floating> 1 - p
    of_others = of_maximum if x >= c[PEAK] else of_others
    return p * of_others * c[SCALE]


cdef inline void finish_gradient(StripState* state, Py_ssize_t i, floating unused) noexcept nogil:
    set_weight(state, i, state.scale[i] * state.inverse[i], unused)
