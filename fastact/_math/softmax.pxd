# The softmax family: functions of a whole row, where every output depends on every input.  (entmax.pxd has another
# family.)
#
# An operation is a list of steps, written as a comment before the formulas that it is the first to use.
# tools/kernels.py reads the comments and the declarations:
#
#   maximum, minimum    m = max x, or of -x
#   prepare_*           constants of the row, from m
#   accumulate_*        one sum over the entries, or two; "stored": what it returns is written to out.  One that only
#                       returns an expression without a call is `light`: it is added up in registers
#   flag_*, finish_*    constants of the row, from the sums
#   recover_*           the digits that a sum lost beside its largest term
#   search_*            a number that takes several passes over entries of the row
#   patch_*             single entries
#   emit_*              the entries of the result
#
# "of x and y" are the arrays that a formula receives as x and y; out is the result so far.  "if long" leaves a step out
# for rows of up to SHORT_ROW entries, and "if short" for longer ones; "if dominant" leaves it out for longer rows whose
# maximum does not outweigh the others, and "if long and dominant" for all other rows.  "to y" writes the entries of a
# second result, for which y is the array.
#
# accumulate_* and emit_* are formulas of one entry and of constants of its row (row_state.pxd).  The loops apply them
# along a contiguous row (_loops/rows.pxd) or down columns side by side (_loops/columns.pxd), and add up in one fixed
# tree, so that the result has the same bits in either layout and with any number of threads.
#
# The exponential without the difference.  x - m rounds, and e^(x - m) would lose |x - m| ulp.  Instead x itself is
# reduced, x = n ln 2 + r, and with the integer N that is nearest to m / ln 2 the entry is  e^x / 2^N = 2^(n - N) e^r:
# nothing overflows, nothing is lost.  Beyond |m| = 212 (float) or 1496 (double) the reduction itself would run out of
# digits on processors without fused multiply-add; such a row is moved: m is subtracted first, which is exact for every
# entry that does not vanish.  `accumulate_x_moved` is the version of `accumulate_x` for moved rows.
#
# Stored exponentials are multiplied by 2^guard until they are emitted: a sum or a multiple of subnormal numbers would
# have the error of each of them.

from libc.math cimport INFINITY, NAN, fabs, isinf

from fastact._math.primitives cimport exp_anywhere as exponential    # table.pxi has another exp_anywhere
from fastact._math.primitives cimport (
    at_least, exp_integer, exp_limit, exp_negative_scaled, exp_polynomial, exp_shift, exp_split_by, floating, fma,
    largest, log_of_one_more, remainder, scale_bits, sum_in_two, two_to)
from fastact._math.row_state cimport (
    FACTOR, FACTOR_LOW, FLOOR, HALF, INVERSE, LOG_REST, MAXIMUM, OFFSET, PEAK, REST, SCALE, SHIFT, SUM, SUM_LOW, TOTAL,
    WEIGHT, WEIGHT_LOW, StripState)


# -------------------------------------------------------------------------------------------------- the exponential

# The guard leaves room below the smallest subnormal number for the sum of a thousand million entries: down to e^-limit
# entries are exact to rounding, and those that are computed as e^-limit are too small to change the sum.
cdef inline int row_guard_bits(floating unused) noexcept nogil:
    if floating is float:
        return 60
    else:
        return 100


cdef inline floating row_guard_scale(floating unused) noexcept nogil:
    if floating is float:
        return <floating> 8.6736173798840355e-19            # 2^-60
    else:
        return <floating> 7.8886090522101181e-31            # 2^-100


cdef inline floating row_limit(floating unused) noexcept nogil:
    if floating is float:
        return 128
    else:
        return 777


# e^(x - x_low) / 2^N times 2^guard, with the row's constants: floor (the maximum less the limit), shift
# (exp_shift(guard) - N).  0.9 ulp.
cdef inline floating exp_guarded(floating x, floating x_low, floating floor, floating shift) noexcept nogil:
    cdef floating r, r2, q
    cdef floating scale = exp_split_by[floating](at_least(x, floor), x_low, shift, &r)
    r2 = r * r
    q = fma(r2, exp_polynomial(r, r2), r)
    return fma(scale, q, scale)


# The same of a row that may be moved
cdef inline floating exp_of_row(floating x, const floating* c) noexcept nogil:
    return exp_guarded(x - c[OFFSET], <floating> 0, c[FLOOR], c[SHIFT])


# factor / 2^guard as a product of two numbers, of which the first does not underflow
cdef inline void set_weight(StripState* state, Py_ssize_t i, double factor, floating unused) noexcept nogil:
    cdef double guard = row_guard_scale(unused)
    cdef bint is_large = fabs(factor) > guard
    state.constants[WEIGHT + i] = factor * guard if is_large else factor
    state.constants[WEIGHT_LOW + i] = 1 if is_large else guard


# ------------------------------------------------------------------------------------------------------- softmax

# p = e^(x - m) / sum of e^(x - m)
#
# Steps of softmax:
#   maximum of x
#   prepare_exponentials
#   accumulate_exponentials of x, stored
#   finish_softmax
#   emit_weighted of out

# A row whose maximum is infinite has no softmax: NaN.
cdef inline void prepare_exponentials(StripState* state, Py_ssize_t i, floating unused) noexcept nogil:
    cdef floating maximum = <floating> (NAN if isinf(state.maximum[i]) else state.maximum[i])
    cdef floating offset = maximum if fabs(maximum) > 2 * exp_limit(maximum) else 0
    cdef floating floor = (maximum - offset) - row_limit(maximum)
    cdef floating shift = exp_shift(row_guard_bits(maximum), maximum) - exp_integer(maximum - offset)
    state.constants[OFFSET + i] = offset
    state.constants[FLOOR + i] = floor
    state.constants[SHIFT + i] = shift


# stored: e^x / 2^N times 2^guard                       sum: of what is stored
cdef inline floating accumulate_exponentials(floating x, floating y, const floating* c) noexcept nogil:
    return exp_guarded(x, <floating> 0, c[FLOOR], c[SHIFT])


cdef inline floating accumulate_exponentials_moved(floating x, floating y, const floating* c) noexcept nogil:
    return exp_of_row(x, c)


# The weight of the probabilities: 1 / sum
cdef inline void finish_probabilities(StripState* state, Py_ssize_t i, floating unused) noexcept nogil:
    cdef double guard = row_guard_scale(unused)
    state.inverse[i] = 1 / (state.first[i] * guard)
    state.constants[INVERSE + i] = state.inverse[i] * guard


# The same times the scale
cdef inline void finish_softmax(StripState* state, Py_ssize_t i, floating unused) noexcept nogil:
    finish_probabilities(state, i, unused)
    set_weight(state, i, state.scale[i] * state.inverse[i], unused)


cdef inline floating emit_weighted(floating x, floating y, const floating* c) noexcept nogil:
    return x * c[WEIGHT] * c[WEIGHT_LOW]


# The vector-Jacobian product.  x = dp, y = p: p (dp - sum of p dp)
#
# Steps of softmax_backward:
#   accumulate_product of x and y
#   finish_sum
#   emit_softmax_backward of x and y

# sum: x y
cdef inline floating accumulate_product(floating x, floating y, const floating* c) noexcept nogil:
    return x * y


# The sum in two parts
cdef inline void finish_sum(StripState* state, Py_ssize_t i, floating unused) noexcept nogil:
    cdef floating high = <floating> state.first[i]
    state.constants[SUM + i] = high
    state.constants[SUM_LOW + i] = state.first[i] - high
    state.constants[SCALE + i] = state.factor
    state.result[i] = state.first[i]


cdef inline floating emit_softmax_backward(floating x, floating y, const floating* c) noexcept nogil:
    return y * ((x - c[SUM]) - c[SUM_LOW]) * c[SCALE]


# ------------------------------------------------------------------------------------- log_softmax and logsumexp

# log p = (x - m) - log(sum of e^(x - m)) = (x - m) - log1p(sum of all e^(x - m) but the one maximum's)
#
# Where the maximum outweighs the others, the sum does not tell what these are: 1 + 1e-20 is 1.  Short rows always add
# the others alone.  In longer rows the maximum's exponential is subtracted from the sum, if that leaves digits enough.
#
# Steps of log_softmax:
#   maximum of x
#   prepare_exponentials
#   prepare_peak
#   accumulate_exponentials of x, if long
#   flag_dominant, if long
#   recover_pairs of x, if long
#   accumulate_others of x, if dominant
#   finish_log
#   emit_log_softmax of x
#
# Steps of logsumexp:
#   maximum of x
#   prepare_exponentials
#   prepare_peak
#   accumulate_exponentials of x, if long
#   flag_dominant, if long
#   recover_pairs of x, if long
#   accumulate_others of x, if dominant
#   finish_log

# The exponential of the maximum, computed before the others so that these do not depend on it
cdef inline void prepare_peak(StripState* state, Py_ssize_t i, floating unused) noexcept nogil:
    cdef floating maximum = <floating> state.maximum[i] - <floating> state.constants[OFFSET + i]
    cdef floating floor = <floating> state.constants[FLOOR + i], shift = <floating> state.constants[SHIFT + i]
    state.peak[i] = exp_guarded(maximum, <floating> 0, floor, shift)
    state.constants[PEAK + i] = state.peak[i]


# After accumulate_exponentials
cdef inline void flag_dominant(StripState* state, Py_ssize_t i, floating unused) noexcept nogil:
    state.dominant[i] = not state.first[i] >= 2 * state.peak[i]           # NaN too
    state.first[i] -= state.peak[i]
    state.second[i] = 1


# float32 entries are summed in pairs before they are widened to double, so that the maximum's partner in its pair loses
# its low bits.  The rounding error of that pair is added back; all other additions are of doubles.  A sum that is so
# far below the maximum that doubles lost digits as well stays flagged, and is computed again without the maximum.
cdef inline void recover_pair_error(StripState* state, Py_ssize_t i, floating partner) noexcept nogil:
    cdef floating peak = <floating> state.peak[i], pair = peak + partner
    state.first[i] += (state.peak[i] - pair) + partner
    state.dominant[i] = not state.first[i] >= state.peak[i] * 9.5e-7        # 2^-20: of the doubles' 53 bits 33 are left


# stored: e^x / 2^N times 2^guard                       sums: of those below the maximum's, number of the others
cdef inline floating accumulate_others(floating x, floating y, const floating* c, floating* first,
                                       floating* second) noexcept nogil:
    cdef floating e = exp_guarded(x, <floating> 0, c[FLOOR], c[SHIFT])
    first[0] = <floating> 0 if e >= c[PEAK] else e
    second[0] = <floating> 1 if e >= c[PEAK] else <floating> 0
    return e


cdef inline floating accumulate_others_moved(floating x, floating y, const floating* c, floating* first,
                                             floating* second) noexcept nogil:
    return accumulate_others(x - c[OFFSET], y, c, first, second)


# From the sum of what is below the maximum, and the number of entries that equal it
cdef inline void finish_log(StripState* state, Py_ssize_t i, floating unused) noexcept nogil:
    cdef double maximum = state.maximum[i], peak = state.peak[i]
    cdef double others = state.first[i] / peak + (state.second[i] - 1)
    cdef double log_rest = log_of_one_more(others)
    state.inverse[i] = 1 / ((state.first[i] + state.second[i] * peak) * <double> row_guard_scale(unused))
    state.rest[i] = others / (1 + others)
    state.log_rest[i] = log_rest
    state.result[i] = maximum if isinf(maximum) else maximum + log_rest
    state.constants[MAXIMUM + i] = maximum
    state.constants[LOG_REST + i] = log_rest


# Neither part is positive, so that none of the three roundings is worth more than half an ulp of the result.
cdef inline floating emit_log_softmax(floating x, floating y, const floating* c) noexcept nogil:
    return (x - c[MAXIMUM]) - c[LOG_REST]


# x = dy, y = log p: dy - p (sum of dy)
#
# Steps of log_softmax_backward:
#   accumulate_sum of x
#   finish_sum
#   emit_log_softmax_backward of x and y

# sum: x
cdef inline floating accumulate_sum(floating x, floating y, const floating* c) noexcept nogil:
    return x


cdef inline floating emit_log_softmax_backward(floating x, floating y, const floating* c) noexcept nogil:
    cdef floating p = exp_negative_scaled[floating](y, 0, False) * two_to(-scale_bits(y, False), y)
    return fma(-p, c[SUM], x) * c[SCALE]


# ------------------------------------------------------------------------------------------------- rows in parts

# Of a row that is given in parts, the state of each part is its maximum m and its rest, the sum of e^(x - m) of all
# entries but the one maximum.  States are merged elsewhere (fastact/row_state.py).
#
# Steps of row_rest:
#   maximum of x
#   prepare_exponentials
#   prepare_peak
#   accumulate_exponentials of x, if long
#   flag_dominant, if long
#   recover_pairs of x, if long
#   accumulate_others of x, if dominant
#   finish_log
#   finish_rest
#
# A part of softmax or log_softmax, of the state of the whole row: the inputs of each row are its maximum and its rest.
#
# Steps of softmax_part:
#   prepare_state
#   prepare_exponentials
#   accumulate_exponentials of x, stored
#   finish_softmax_part
#   emit_weighted of out
#
# Steps of log_softmax_part:
#   prepare_state
#   finish_log_part
#   emit_log_softmax of x

cdef inline void finish_rest(StripState* state, Py_ssize_t i, floating unused) noexcept nogil:
    state.result[i] = state.first[i] / state.peak[i] + (state.second[i] - 1)


cdef inline void prepare_state(StripState* state, Py_ssize_t i, floating unused) noexcept nogil:
    state.maximum[i] = state.inputs[2 * i]
    state.rest[i] = state.inputs[2 * i + 1]


# The exponential of the maximum is computed in double, since it is not one of the terms that are added up here.
cdef inline void finish_softmax_part(StripState* state, Py_ssize_t i, floating unused) noexcept nogil:
    cdef double moved = state.maximum[i] - state.constants[OFFSET + i]
    cdef double shift = exp_shift(row_guard_bits(moved), moved) - exp_integer(<floating> moved)
    cdef double peak = exp_guarded(moved, 0., moved - row_limit(moved), shift) * row_guard_scale(moved)
    set_weight(state, i, state.scale[i] / (peak * (1 + state.rest[i])), unused)


cdef inline void finish_log_part(StripState* state, Py_ssize_t i, floating unused) noexcept nogil:
    state.constants[MAXIMUM + i] = state.maximum[i]
    state.constants[LOG_REST + i] = log_of_one_more(state.rest[i])


# ------------------------------------------------------------------------ with a factor: scale, temperature, softmin

# e^((x - m) f): x - m is in two parts, and so is the factor; their product keeps its digits, and is reduced as above
# with N = 0.  Where m is so large that x - m could overflow, both are halved.
#
# Steps of softmax_scaled:
#   maximum of x
#   prepare_scaled
#   accumulate_scaled_exponentials of x, stored
#   finish_softmax
#   emit_weighted of out
#
# Steps of softmin:
#   minimum of x
#   prepare_scaled
#   accumulate_scaled_exponentials of x, stored
#   finish_softmax
#   emit_weighted of out
#
# Steps of log_softmax_scaled:
#   maximum of x
#   prepare_scaled
#   accumulate_scaled_exponentials of x, if long
#   flag_dominant, if long
#   accumulate_scaled_others of x, if dominant
#   finish_scaled_log
#   emit_scaled_log_softmax of x
#
# Steps of logsumexp_scaled:
#   maximum of x
#   prepare_scaled
#   accumulate_scaled_exponentials of x, if long
#   flag_dominant, if long
#   accumulate_scaled_others of x, if dominant
#   finish_scaled_log

# 1, or 0.5 where the difference of the maximum and another number could overflow
cdef inline double half_of(double maximum, floating unused) noexcept nogil:
    return 0.5 if fabs(maximum) > <double> largest(unused) * 8.7e-19 else 1         # 2^-60


cdef inline void prepare_scaled(StripState* state, Py_ssize_t i, floating unused) noexcept nogil:
    cdef double maximum = state.maximum[i] if state.factor > 0 else -state.maximum[i]
    cdef double half = half_of(maximum, unused)
    cdef double factor_high = state.factor / half
    cdef floating factor = <floating> factor_high
    state.constants[OFFSET + i] = NAN if isinf(maximum) else maximum * half
    state.constants[FACTOR_LOW + i] = (factor_high - factor) + state.factor_low / half
    state.constants[HALF + i] = half
    state.peak[i] = 1 / <double> row_guard_scale(unused)
    state.constants[PEAK + i] = state.peak[i]
    state.constants[FACTOR + i] = factor


# e^((x - m) f) times 2^guard; the offset is m, or its half
cdef inline floating exp_of_scaled(floating x, floating offset, const floating* c) noexcept nogil:
    cdef floating difference_low, floor = -row_limit(x)
    cdef floating difference = sum_in_two(x * c[HALF], -offset, &difference_low)
    cdef floating product = difference * c[FACTOR]
    cdef floating low = (remainder(difference, c[FACTOR], product)
                         - fma(difference, c[FACTOR_LOW], difference_low * c[FACTOR]))
    return exp_guarded(product, low if product > floor else <floating> 0, floor, exp_shift(row_guard_bits(x), x))


# stored: e^((x - m) f) times 2^guard                   sum: of what is stored
cdef inline floating accumulate_scaled_exponentials(floating x, floating y, const floating* c) noexcept nogil:
    return exp_of_scaled(x, c[OFFSET], c)


cdef inline floating accumulate_scaled_others(floating x, floating y, const floating* c, floating* first,
                                              floating* second) noexcept nogil:
    cdef floating e = accumulate_scaled_exponentials(x, y, c)
    first[0] = <floating> 0 if e >= c[PEAK] else e
    second[0] = <floating> 1 if e >= c[PEAK] else <floating> 0
    return e


# f m + log_rest
cdef inline double log_of_row(StripState* state, Py_ssize_t i, double log_rest) noexcept nogil:
    cdef double maximum = state.maximum[i]
    cdef double log = maximum * state.factor + (maximum * state.factor_low + log_rest)
    return maximum if isinf(maximum) else log


cdef inline void finish_scaled_log(StripState* state, Py_ssize_t i, floating unused) noexcept nogil:
    cdef double offset = state.constants[OFFSET + i]
    finish_log[floating](state, i, unused)
    state.constants[OFFSET + i] = offset
    state.result[i] = log_of_row(state, i, state.log_rest[i])


cdef inline floating emit_scaled_log_softmax(floating x, floating y, const floating* c) noexcept nogil:
    return fma(x, c[HALF], -c[OFFSET]) * c[FACTOR] - c[LOG_REST]


# --------------------------------------------------------------------------- with the logarithm of the denominator

# The same with state.result, lse = log(sum of e^(f x) + e^sink), or, where the lse is given in place of a sink, with
# that one: p = e^(f x - lse).  Their own lse is that of the row alone; the excess of the other one over it is what the
# sink adds.  Without a sink, -inf, nothing changes.
#
# Steps of softmax_lse:
#   maximum of x
#   prepare_exponentials
#   prepare_peak
#   accumulate_exponentials of x, stored
#   finish_softmax_lse
#   emit_weighted of out
#
# Steps of softmax_scaled_lse:
#   maximum of x
#   prepare_scaled
#   accumulate_scaled_exponentials of x, stored
#   finish_softmax_lse
#   emit_weighted of out
#
# Steps of log_softmax_lse:
#   maximum of x
#   prepare_exponentials
#   prepare_peak
#   accumulate_exponentials of x, if long
#   flag_dominant, if long
#   recover_pairs of x, if long
#   accumulate_others of x, if dominant
#   finish_log
#   finish_sink
#   emit_log_softmax of x
#
# Steps of log_softmax_scaled_lse:
#   maximum of x
#   prepare_scaled
#   accumulate_scaled_exponentials of x, if long
#   flag_dominant, if long
#   accumulate_scaled_others of x, if dominant
#   finish_scaled_log
#   finish_sink
#   emit_scaled_log_softmax of x

# What the sink adds to the row's own lse, after which state.result is the lse of both; a row of -inf has that of the
# sink alone.
cdef inline double excess_of_sink(StripState* state, Py_ssize_t i, double own, floating unused) noexcept nogil:
    cdef double difference = state.sink[i] - own
    cdef double rest = log_of_one_more(exponential[double](-fabs(difference)))
    cdef double excess = (difference if difference > 0 else 0) + rest
    excess = difference if state.sink_is_lse else excess
    state.result[i] = state.sink[i] if state.maximum[i] == -INFINITY else own + excess
    return excess


cdef inline void finish_softmax_lse(StripState* state, Py_ssize_t i, floating unused) noexcept nogil:
    cdef double own = log_of_row(state, i, log_of_one_more(at_least[double](state.first[i] / state.peak[i] - 1, 0)))
    cdef double excess = excess_of_sink(state, i, own, unused)
    finish_probabilities(state, i, unused)
    set_weight(state, i, state.scale[i] * state.inverse[i] * exponential[double](-excess), unused)


# After finish_log or finish_scaled_log
cdef inline void finish_sink(StripState* state, Py_ssize_t i, floating unused) noexcept nogil:
    state.constants[LOG_REST + i] += excess_of_sink(state, i, state.result[i], unused)


# ------------------------------------------------------------------------------------------------------- hardmax

# 1 at the first maximum, 0 elsewhere
#
# Steps of hardmax:
#   maximum of x
#   prepare_maximum
#   accumulate_equal of x, stored
#   patch_ties of out

cdef inline void prepare_maximum(StripState* state, Py_ssize_t i, floating unused) noexcept nogil:
    state.constants[MAXIMUM + i] = state.maximum[i]


# stored, and its sum: 1 where x is the maximum, else 0; a NaN stays
cdef inline floating accumulate_equal(floating x, floating y, const floating* c) noexcept nogil:
    cdef floating other = <floating> 0 if x == x else x
    return <floating> 1 if x == c[MAXIMUM] else other


# The sum is the number of maxima: 1 stays at the first one alone.  Without any, or with a NaN among the entries, all
# are NaN.
cdef inline void patch_ties(const floating* x, floating* entry, Py_ssize_t n, Py_ssize_t distance,
                            StripState* state, Py_ssize_t i) noexcept nogil:
    cdef Py_ssize_t k
    cdef bint found = False
    if state.first[i] == 1:
        return
    for k in range(n):
        if not state.first[i] > 1:
            entry[k * distance] = <floating> NAN
        elif found:
            entry[k * distance] = 0
        found = found or entry[k * distance] == 1


# The derivative is 0 almost everywhere.
#
# Steps of hardmax_backward:
#   emit_zero of x

cdef inline floating emit_zero(floating x, floating y, const floating* c) noexcept nogil:
    return 0
