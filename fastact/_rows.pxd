# The softmax family: functions of a whole row, where every output depends on every input.
#
# A row is worked in steps; the table ROW_OPERATIONS in _engine.pyx says which operation takes which.
#
#   maximum       m = max x; minimum: of -x
#   prepare_*     constants of the row from m
#   accumulate_*  one sum over the row or two, and perhaps a number stored for each entry
#   judge_*, finish_*   constants of the row from the sums
#   mend_*        a sum that an entry has spoilt
#   settle_*      entries of their own
#   emit_*        the entries of the result
#
# `accumulate_*` and `emit_*` are formulas of one entry (x, y) and five constants of its row; the loops at the end of
# this page run them along a contiguous row, or down the columns of a matrix side by side.  Both add up in the same
# fixed tree - 16 lanes, blocks of 128, segments of 4096, which the engine adds - so that the result has the same bits
# for either layout and for any number of threads.  Floats are added as floats in pairs alone, and as doubles from
# there: what a sum loses beside its largest term, all entries feel.  Doubles are added in two parts throughout: in a
# long row, or beside one large entry, the same rounding comes again and again.
#
# The exponential without the difference.  x - m rounds, and e^(x - m) would lose |x - m| ulp.  Instead x is reduced as
# it stands, x = n ln 2 + r, and with the integer N that is nearest to m / ln 2 the entry is  e^x / 2^N = 2^(n - N) e^r:
# nothing overflows, nothing is lost.  Beyond |m| = 212 (float) or 1496 (double) the reduction itself would run out of
# digits where there is no fused multiply-add; there the row is moved: m is subtracted first, which is exact for every
# entry that does not vanish.  `accumulate_x_moved` is what `accumulate_x` becomes then.
#
# With a factor (scale, temperature, or the -1 of softmin) x - m is in two parts, and so is the factor: their product
# keeps its digits, and is reduced as above with N = 0.  Where m is so large that x - m could overflow, both are halved.
#
# Exponentials are kept times 2^guard, until they are emitted: a sum or a multiple of subnormal numbers would have the
# error of each of them.

from libc.math cimport INFINITY, NAN, fabs, isinf
from libc.stdint cimport INT32_MIN, INT64_MIN, int32_t, int64_t, uint32_t, uint64_t

from fastact._loops cimport LANES, STRETCH, fetch_stretch
from fastact._primitives cimport (
    at_least, exp_integer, exp_limit, exp_negative_guarded, exp_polynomial, exp_shift, exp_split_by,
    fastact_bits_of_double, fastact_bits_of_float, fastact_double_of_bits, fastact_float_of_bits,
    fastact_four_of_lanes, fastact_totals_of_fours, floating, fma, guard_bits, largest, log_of_one_more, remainder,
    sum_in_two, two_to)

cdef enum:
    LINES = 8               # entries of a lane that are added together
    BLOCK = 128             # the same for the 16 lanes together
    SHORT = 128             # entries of a row that is not worth a second look
    PIECE = 1024            # entries whose terms are held on the stack
    SEGMENT = 4096          # entries of a long row that one thread takes at a time
    STRIP = 32              # rows or columns worked together: one waits while another computes

# Of the rows of a strip: arrays, so that the constants of all rows are computed at once
cdef struct Rows:
    double maximum[STRIP]
    double scale[STRIP]         # of the result: the gradient of a mean, the upstream gradient of a sum
    double peak[STRIP]          # the exponential of the maximum, times 2^guard
    double first[STRIP]         # sums of the last accumulation; of exponentials, times 2^guard
    double second[STRIP]
    double log_rest[STRIP]      # log of the sum of e^(x - m)
    double inverse[STRIP]       # 1 / sum of the exponentials, without that factor
    double rest[STRIP]          # 1 - p for the maximum's p
    double result[STRIP]        # of operations that give one number a row
    double constants[5][STRIP]
    int confident[STRIP]        # the maximum is more than half of the sum
    double factor               # of x, and what it lacks
    double factor_low
    bint fetching               # memory is fetched ahead

# The kernels take `width` <= STRIP rows of `n` entries.  Either the rows are contiguous, `stride` entries apart, or
# they are columns side by side, and `stride` is the distance of two entries of a column.
ctypedef void (*strip_maximum)(
    const void* x, Py_ssize_t n, Py_ssize_t stride, Py_ssize_t width, Rows* rows) noexcept nogil
ctypedef void (*strip_accumulate)(
    const void* x, const void* y, void* out, Py_ssize_t n, Py_ssize_t stride, Py_ssize_t width, Rows* rows
    ) noexcept nogil
ctypedef void (*strip_emit)(
    const void* x, const void* y, void* out, Py_ssize_t n, Py_ssize_t stride, Py_ssize_t width, const Rows* rows
    ) noexcept nogil
ctypedef void (*strip_constants)(Rows* rows, Py_ssize_t width) noexcept nogil
ctypedef void (*row_settle)(
    const void* x, void* entry, Py_ssize_t n, Py_ssize_t distance, Rows* rows, Py_ssize_t index) noexcept nogil


# ------------------------------------------------------------------------------------------------- constants of the row

# The guard leaves room below the smallest subnormal number for the sum of a thousand million entries: down to e^-limit
# entries are what they should be, and those that are taken for e^-limit do not count.
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


# A row whose maximum is infinite has no softmax: NaN.
cdef inline void prepare_exponentials(Rows* rows, Py_ssize_t i, floating unused) noexcept nogil:
    cdef floating maximum = <floating> (NAN if isinf(rows.maximum[i]) else rows.maximum[i])
    cdef floating offset = maximum if fabs(maximum) > 2 * exp_limit(maximum) else 0
    cdef floating floor = (maximum - offset) - row_limit(maximum)
    cdef floating shift = exp_shift(row_guard_bits(maximum), maximum) - exp_integer(maximum - offset)
    rows.constants[0][i] = offset
    rows.constants[1][i] = floor
    rows.constants[2][i] = shift


# The entry of the maximum, before the others, which do not wait for it
cdef inline void prepare_peak(Rows* rows, Py_ssize_t i, floating unused) noexcept nogil:
    cdef floating maximum = <floating> rows.maximum[i] - <floating> rows.constants[0][i]
    cdef floating floor = <floating> rows.constants[1][i], shift = <floating> rows.constants[2][i]
    rows.peak[i] = exp_guarded(maximum, <floating> 0, floor, shift)
    rows.constants[3][i] = rows.peak[i]


# The same for logits with a factor of ordinary size, in two parts
cdef inline void prepare_scaled(Rows* rows, Py_ssize_t i, floating unused) noexcept nogil:
    cdef double maximum = rows.maximum[i] if rows.factor > 0 else -rows.maximum[i]
    cdef double half = 0.5 if fabs(maximum) > <double> largest(unused) * 8.7e-19 else 1         # 2^-60
    cdef double factor_high = rows.factor / half
    cdef floating factor = <floating> factor_high
    rows.constants[0][i] = NAN if isinf(maximum) else maximum * half
    rows.constants[1][i] = (factor_high - factor) + rows.factor_low / half
    rows.constants[2][i] = half
    rows.peak[i] = 1 / <double> row_guard_scale(unused)
    rows.constants[3][i] = rows.peak[i]
    rows.constants[4][i] = factor


# After accumulate_exponentials: a row is confident where its maximum outweighs all others.  There the sum does not tell
# what these are - 1 + 1e-20 is 1 - and they are added up by themselves.
cdef inline void judge_confidence(Rows* rows, Py_ssize_t i, floating unused) noexcept nogil:
    rows.confident[i] = not rows.first[i] >= 2 * rows.peak[i]           # NaN too
    rows.first[i] -= rows.peak[i]
    rows.second[i] = 1


# Where that costs a sum its digits: floats are added in pairs, and the one beside the maximum drowns in it, all other
# additions are of doubles.  So the entry beside it is computed once more, and what the pair lost is added.  Only where
# the others are so little that doubles lose them, too, they are to be added up again.
cdef inline void mend_pair(const floating* x, Py_ssize_t n, Py_ssize_t distance, Py_ssize_t place, Rows* rows,
                           Py_ssize_t i) noexcept nogil:
    cdef Py_ssize_t beside = place - place % (2 * LANES) + (place + LANES) % (2 * LANES)
    cdef floating peak = <floating> rows.peak[i], neighbour = 0, pair
    if beside < n:
        neighbour = exp_guarded(x[beside * distance] - <floating> rows.constants[0][i], <floating> 0,
                                <floating> rows.constants[1][i], <floating> rows.constants[2][i])
    pair = peak + neighbour
    rows.first[i] += (rows.peak[i] - pair) + neighbour
    rows.confident[i] = not rows.first[i] >= rows.peak[i] * 9.5e-7          # 2^-20: of the doubles' 53 bits 33 are left


# factor / 2^guard as a product of two numbers, of which the first does not underflow
cdef inline void set_factor(Rows* rows, Py_ssize_t i, double factor, floating unused) noexcept nogil:
    cdef double guard = row_guard_scale(unused)
    cdef bint large = fabs(factor) > guard
    rows.constants[0][i] = factor * guard if large else factor
    rows.constants[1][i] = 1 if large else guard


# After accumulate_exponentials: each entry times scale / sum
cdef inline void finish_softmax(Rows* rows, Py_ssize_t i, floating unused) noexcept nogil:
    finish_probabilities(rows, i, unused)
    set_factor(rows, i, rows.scale[i] * rows.inverse[i], unused)


# The same without the scale: the probabilities themselves
cdef inline void finish_probabilities(Rows* rows, Py_ssize_t i, floating unused) noexcept nogil:
    cdef double guard = row_guard_scale(unused)
    rows.inverse[i] = 1 / (rows.first[i] * guard)
    rows.constants[0][i] = rows.inverse[i] * guard


# After judge_confidence, with a factor: constants for emit_scaled_log_softmax
cdef inline void finish_scaled_log(Rows* rows, Py_ssize_t i, floating unused) noexcept nogil:
    cdef double offset = rows.constants[0][i]
    finish_log[floating](rows, i, unused)
    rows.constants[0][i] = offset


# With the sum of what is below the maximum, and the number of the others: log(sum e^(x - m)) = log1p(all that is not
# the one maximum).
cdef inline void finish_log(Rows* rows, Py_ssize_t i, floating unused) noexcept nogil:
    cdef double maximum = rows.maximum[i], peak = rows.peak[i]
    cdef double others = rows.first[i] / peak + (rows.second[i] - 1)
    cdef double log_rest = log_of_one_more(others)
    rows.inverse[i] = 1 / ((rows.first[i] + rows.second[i] * peak) * <double> row_guard_scale(unused))
    rows.rest[i] = others / (1 + others)
    rows.log_rest[i] = log_rest
    rows.result[i] = maximum if isinf(maximum) else maximum + log_rest
    rows.constants[0][i] = maximum
    rows.constants[1][i] = log_rest


# Cross-entropy with one label: constants for emit_scaled
cdef inline void finish_label(Rows* rows, Py_ssize_t i, floating unused) noexcept nogil:
    finish_log[floating](rows, i, unused)
    set_factor(rows, i, rows.scale[i] * rows.inverse[i], unused)


# Before the entries are scaled: that of the label becomes minus the sum of the others, since p - 1 would round to 0
# where the network is sure and right.  The loss is -log p.
cdef inline void settle_label(const floating* x, floating* entry, Py_ssize_t n, Py_ssize_t distance,
                              Rows* rows, Py_ssize_t i) noexcept nogil:
    cdef double e = entry[0], first = rows.first[i], peak = rows.peak[i]
    cdef double above = rows.second[i] * peak
    entry[0] = <floating> -(first + (above - peak) if e >= peak else (first - e) + above)
    rows.result[i] = (rows.maximum[i] - x[0]) + rows.log_rest[i]


# hardmax: entries that equal the maximum
cdef inline void prepare_maximum(Rows* rows, Py_ssize_t i, floating unused) noexcept nogil:
    rows.constants[0][i] = rows.maximum[i]


# After accumulate_equal, whose sum is the number of those: 1 stays at the first one alone.  Without any, or with a NaN
# among the entries, all are NaN.
cdef inline void settle_first(const floating* x, floating* entry, Py_ssize_t n, Py_ssize_t distance,
                              Rows* rows, Py_ssize_t i) noexcept nogil:
    cdef Py_ssize_t k
    cdef bint found = False
    if rows.first[i] == 1:
        return
    for k in range(n):
        if not rows.first[i] > 1:
            entry[k * distance] = <floating> NAN
        elif found:
            entry[k * distance] = 0
        found = found or entry[k * distance] == 1


cdef inline void finish_weighted(Rows* rows, Py_ssize_t i, floating unused) noexcept nogil:
    rows.result[i] = rows.first[i]
    rows.constants[0][i] = rows.scale[i] * rows.inverse[i] * row_guard_scale(unused)
    rows.constants[1][i] = rows.second[i]
    rows.constants[2][i] = rows.scale[i] * rows.rest[i]
    rows.constants[3][i] = rows.peak[i]
    rows.constants[4][i] = rows.scale[i]


# A sum as high + low
cdef inline void finish_sum(Rows* rows, Py_ssize_t i, floating unused) noexcept nogil:
    cdef floating high = <floating> rows.first[i]
    rows.constants[0][i] = high
    rows.constants[1][i] = rows.first[i] - high
    rows.constants[2][i] = rows.factor


cdef inline void finish_squared_error(Rows* rows, Py_ssize_t i, floating unused) noexcept nogil:
    cdef floating high = <floating> rows.second[i]
    rows.result[i] = rows.first[i] / 2
    rows.constants[0][i] = high
    rows.constants[1][i] = rows.second[i] - high
    rows.constants[2][i] = rows.scale[i]


# ------------------------------------------------------------------------------------------------ sums over the entries

# stored: e^x / 2^N times 2^guard                       sum: of what is stored
cdef inline floating accumulate_exponentials(floating x, floating y, floating offset, floating floor, floating shift,
                                             floating peak, floating unused) noexcept nogil:
    return exp_guarded(x, <floating> 0, floor, shift)


cdef inline floating accumulate_exponentials_moved(floating x, floating y, floating offset, floating floor,
                                                   floating shift, floating peak, floating unused) noexcept nogil:
    return accumulate_exponentials(x - offset, y, offset, floor, shift, peak, unused)


# stored: e^x / 2^N times 2^guard                       sums: of those below the maximum's, number of the others
cdef inline floating accumulate_others(floating x, floating y, floating offset, floating floor, floating shift,
                                       floating peak, floating unused,
                                       floating* first, floating* second) noexcept nogil:
    cdef floating e = exp_guarded(x, <floating> 0, floor, shift)
    first[0] = <floating> 0 if e >= peak else e
    second[0] = <floating> 1 if e >= peak else <floating> 0
    return e


cdef inline floating accumulate_others_moved(floating x, floating y, floating offset, floating floor, floating shift,
                                             floating peak, floating unused,
                                             floating* first, floating* second) noexcept nogil:
    return accumulate_others(x - offset, y, offset, floor, shift, peak, unused, first, second)


# The same of logits with a factor: e^((x - m) factor)
cdef inline floating accumulate_scaled_exponentials(floating x, floating y, floating offset, floating factor_low,
                                                    floating half, floating peak, floating factor) noexcept nogil:
    cdef floating difference_low
    cdef floating floor = -row_limit(x)
    cdef floating difference = sum_in_two(x * half, -offset, &difference_low)
    cdef floating product = difference * factor
    cdef floating low = remainder(difference, factor, product) - fma(difference, factor_low, difference_low * factor)
    return exp_guarded(product, low if product > floor else <floating> 0, floor, exp_shift(row_guard_bits(x), x))


cdef inline floating accumulate_scaled_others(floating x, floating y, floating offset, floating factor_low,
                                              floating half, floating peak, floating factor,
                                              floating* first, floating* second) noexcept nogil:
    cdef floating e = accumulate_scaled_exponentials(x, y, offset, factor_low, half, peak, factor)
    first[0] = <floating> 0 if e >= peak else e
    second[0] = <floating> 1 if e >= peak else <floating> 0
    return e


# stored, and its sum: 1 where x is the maximum, else 0; a NaN stays
cdef inline floating accumulate_equal(floating x, floating y, floating maximum, floating b, floating c, floating d,
                                      floating e) noexcept nogil:
    cdef floating other = <floating> 0 if x == x else x
    return <floating> 1 if x == maximum else other


# sum: x y
cdef inline floating accumulate_product(floating x, floating y, floating a, floating b, floating c, floating d,
                                        floating e) noexcept nogil:
    return x * y


# sum: x
cdef inline floating accumulate_sum(floating x, floating y, floating a, floating b, floating c, floating d,
                                    floating e) noexcept nogil:
    return x


# x is e^x times 2^guard, y the target.  stored: p                    sums: (p - y)^2, (p - y) p
cdef inline floating accumulate_squared_error(floating x, floating y, floating inverse, floating b, floating c,
                                              floating d, floating e,
                                              floating* first, floating* second) noexcept nogil:
    cdef floating p = x * inverse
    cdef floating residual = p - y
    first[0] = residual * residual
    second[0] = residual * p
    return p


# y is the target's probability.  stored: -             sums: -y log p, y
cdef inline floating accumulate_cross_entropy(floating x, floating y, floating maximum, floating log_rest,
                                              floating c, floating d, floating e,
                                              floating* first, floating* second) noexcept nogil:
    cdef floating surprise = -y * emit_log_softmax[floating](x, y, maximum, log_rest, 0, 0, 0)
    first[0] = <floating> 0 if y == 0 else surprise
    second[0] = y
    return 0


# ------------------------------------------------------------------------------------------------------ entries to emit

cdef inline floating emit_scaled(floating x, floating y, floating factor, floating then, floating c,
                                 floating d, floating e) noexcept nogil:
    return x * factor * then


# log_softmax: (x - m) - log(sum e^(x - m)).  Neither part is positive, so that none of the three roundings is worth
# more than half an ulp of the result.
cdef inline floating emit_log_softmax(floating x, floating y, floating maximum, floating log_rest, floating c,
                                      floating d, floating e) noexcept nogil:
    return (x - maximum) - log_rest


# The same with a factor
cdef inline floating emit_scaled_log_softmax(floating x, floating y, floating offset, floating log_rest, floating half,
                                             floating d, floating factor) noexcept nogil:
    return fma(x, half, -offset) * factor - log_rest


# softmax_backward, x = dp and y = p: p (dp - sum dp p)
cdef inline floating emit_softmax_backward(floating x, floating y, floating dot, floating dot_low, floating scale,
                                           floating d, floating e) noexcept nogil:
    return y * ((x - dot) - dot_low) * scale


# log_softmax_backward, x = dy and y = log p: dy - p sum dy
cdef inline floating emit_log_softmax_backward(floating x, floating y, floating total, floating total_low,
                                               floating scale, floating d, floating e) noexcept nogil:
    cdef floating p = exp_negative_guarded[floating](y, 0, False) * two_to(-guard_bits(y, False), y)
    return fma(-p, total, x) * scale


# hardmax_backward: it has no slope
cdef inline floating emit_zero(floating x, floating y, floating a, floating b, floating c, floating d,
                               floating e) noexcept nogil:
    return 0


# softmax_mse, x = p and y = target: p ((p - y) - sum (p - y) p)
cdef inline floating emit_squared_error(floating x, floating y, floating dot, floating dot_low, floating scale,
                                        floating d, floating e) noexcept nogil:
    return x * (((x - y) - dot) - dot_low) * scale


# softmax_cross_entropy, x = e^x times 2^guard and y = the target's probability: p sum(y) - y is
# p (sum(y) - y) - y (1 - p), where 1 - p is known better than by subtraction for the maximum, which may be nearly 1
cdef inline floating emit_cross_entropy(floating x, floating y, floating factor, floating total, floating rest,
                                        floating peak, floating scale) noexcept nogil:
    cdef floating p = x * factor
    cdef floating of_others = scale - p
    of_others = rest if x >= peak else of_others
    return fma(-y, of_others, p * (total - y))


# ---------------------------------------------------------------------------------------------------------------- loops

ctypedef float (*float_sum)(float, float, float, float, float, float, float) noexcept nogil
ctypedef double (*double_sum)(double, double, double, double, double, double, double) noexcept nogil
ctypedef float (*float_sums)(float, float, float, float, float, float, float, float*, float*) noexcept nogil
ctypedef double (*double_sums)(
    double, double, double, double, double, double, double, double*, double*) noexcept nogil
ctypedef float (*float_emission)(float, float, float, float, float, float, float) noexcept nogil
ctypedef double (*double_emission)(double, double, double, double, double, double, double) noexcept nogil


# A formula has two sums, or one, which is of what it returns.
cdef inline floating accumulate(void* f, int sums, floating x, floating y, floating a, floating b, floating c,
                                floating d, floating e, floating* first, floating* second) noexcept nogil:
    if floating is float:
        if sums == 1:
            first[0] = (<float_sum> f)(x, y, a, b, c, d, e)
            return first[0]
        else:
            return (<float_sums> f)(x, y, a, b, c, d, e, first, second)
    else:
        if sums == 1:
            first[0] = (<double_sum> f)(x, y, a, b, c, d, e)
            return first[0]
        else:
            return (<double_sums> f)(x, y, a, b, c, d, e, first, second)


cdef inline floating emit(void* f, floating x, floating y, floating a, floating b, floating c, floating d,
                          floating e) noexcept nogil:
    if floating is float:
        return (<float_emission> f)(x, y, a, b, c, d, e)
    else:
        return (<double_emission> f)(x, y, a, b, c, d, e)


# How many lines are added where a block has not all of them
cdef inline Py_ssize_t lines_of(Py_ssize_t n) noexcept nogil:
    return 1 if n <= LANES else 2 if n <= 2 * LANES else 4 if n <= 4 * LANES else LINES


# total + total_low + part, in two parts
cdef inline void add_exactly(double* total, double* total_low, double part) noexcept nogil:
    cdef double before = total[0], back
    total[0] = before + part
    back = total[0] - before
    total_low[0] += (before - (total[0] - back)) + (part - back)


# Adds `lines` numbers (1, 2, 4 or LINES), `distance` apart, to a lane: the bits of LINES numbers of which the others
# are 0.
cdef inline void add_to_lane(const floating* x, int distance, int lines, double* high, double* low) noexcept nogil:
    cdef int line
    if floating is float:
        if lines == 1:
            high[0] += x[0]
        elif lines == 2:
            high[0] += x[0] + x[distance]
        elif lines == 4:
            high[0] += <double> (x[0] + x[distance]) + (x[2 * distance] + x[3 * distance])
        else:
            high[0] += ((<double> (x[0] + x[distance]) + (x[2 * distance] + x[3 * distance]))
                        + (<double> (x[4 * distance] + x[5 * distance]) + (x[6 * distance] + x[7 * distance])))
    else:
        for line in range(lines):
            add_exactly(high, low, x[line * distance])


# The same for one lane of every column
cdef inline void add_to_columns(const floating* x, int lines, Py_ssize_t width, double* high,
                                double* low) noexcept nogil:
    cdef Py_ssize_t j
    if lines == 1:
        for j in range(width):
            add_to_lane(x + j, STRIP, 1, high + j, low + j)
    elif lines == 2:
        for j in range(width):
            add_to_lane(x + j, STRIP, 2, high + j, low + j)
    elif lines == 4:
        for j in range(width):
            add_to_lane(x + j, STRIP, 4, high + j, low + j)
    else:
        for j in range(width):
            add_to_lane(x + j, STRIP, LINES, high + j, low + j)


cdef inline void add_to_lanes(const floating* x, int sums, const floating* y, int lines, double* high,
                              double* low) noexcept nogil:
    cdef int j
    for j in range(LANES):
        add_to_lane(x + j, LANES, lines, high + j, low + j)
    if sums == 2:
        for j in range(LANES):
            add_to_lane(y + j, LANES, lines, high + LANES + j, low + LANES + j)


# The lanes, added as a tree
cdef inline double lanes_total(double* high, double* low, floating unused) noexcept nogil:
    cdef int j
    if floating is float:
        for j in range(8):
            high[j] += high[j + 8]
        for j in range(4):
            high[j] += high[j + 4]
        return (high[0] + high[2]) + (high[1] + high[3])
    else:
        for j in range(8):
            low[j] += low[j + 8]
            add_exactly(high + j, low + j, high[j + 8])
        for j in range(4):
            low[j] += low[j + 4]
            add_exactly(high + j, low + j, high[j + 4])
        for j in range(2):
            low[j] += low[j + 2]
            add_exactly(high + j, low + j, high[j + 2])
        low[0] += low[1]
        add_exactly(high, low, high[1])
        return high[0] if isinf(high[0]) else high[0] + low[0]


cdef inline bint holds_nan(const floating* x, Py_ssize_t n, Py_ssize_t stride) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(n):
        if x[i * stride] != x[i * stride]:
            return True
    return False


# The largest entry, or what is largest of the negated ones; NaN is passed over (the sums will find it) unless that is
# infinite, or is the result.
#
# As signed integers the bits of numbers with a positive sign are in the order of the numbers and above all others;
# those with a negative sign are in the opposite order.  A maximum of integers may be taken in any order, which lets the
# compiler make one instruction a vector of it.
cdef inline double extreme_of_row(bint negated, const floating* x, Py_ssize_t n) noexcept nogil:
    cdef uint32_t sign = <uint32_t> 0x80000000 if negated else 0
    cdef uint64_t wide_sign = <uint64_t> 0x8000000000000000 if negated else 0
    cdef int32_t bits, highest = INT32_MIN
    cdef int64_t wide, widest = INT64_MIN
    cdef floating found
    cdef Py_ssize_t i
    if floating is float:
        for i in range(n):
            bits = <int32_t> (fastact_bits_of_float(x[i]) ^ sign)
            highest = bits if bits > highest else highest
        if highest < 0:
            highest = -1
            for i in range(n):
                bits = <int32_t> (fastact_bits_of_float(x[i]) ^ sign)
                highest = bits if bits < highest else highest
        found = fastact_float_of_bits(<uint32_t> highest)
    else:
        for i in range(n):
            wide = <int64_t> (fastact_bits_of_double(x[i]) ^ wide_sign)
            widest = wide if wide > widest else widest
        if widest < 0:
            widest = -1
            for i in range(n):
                wide = <int64_t> (fastact_bits_of_double(x[i]) ^ wide_sign)
                widest = wide if wide < widest else widest
        found = fastact_double_of_bits(<uint64_t> widest)
    return NAN if isinf(found) and holds_nan(x, n, 1) else found


cdef inline void terms_of_stretch(void* f, int sums, const floating* x, const floating* y, floating* out, bint store,
                                  Py_ssize_t n, floating a, floating b, floating c, floating d, floating e,
                                  floating* first, floating* second) noexcept nogil:
    cdef floating stored
    cdef Py_ssize_t i
    if store and sums == 1:
        for i in range(n // LANES * LANES):
            out[i] = accumulate(f, sums, x[i], y[i], a, b, c, d, e, &stored, NULL)
    elif store:
        for i in range(n // LANES * LANES):
            out[i] = accumulate(f, sums, x[i], y[i], a, b, c, d, e, first + i, second + i)
    else:
        for i in range(n // LANES * LANES):
            stored = accumulate(f, sums, x[i], y[i], a, b, c, d, e, first + i, second + i)


# What the formula gives of each of n entries: first and second, unless the one sum is of what is stored in `out`.  The
# same number of entries behind them, the next piece or row, is fetched meanwhile.
cdef inline void terms(void* f, int sums, const floating* x, const floating* y, floating* out, bint store,
                       bint fetching, Py_ssize_t n, floating a, floating b, floating c, floating d, floating e,
                       floating* first, floating* second) noexcept nogil:
    cdef Py_ssize_t i = 0, part
    while i < n:
        part = n - i
        if fetching:
            part = part if part < STRETCH else STRETCH
            fetch_stretch(x + n + i)
        terms_of_stretch(f, sums, x + i, y + i, out + i, store, part, a, b, c, d, e, first + i, second + i)
        i += part


# Terms of the last entries, which do not fill a vector, and zeros up to the end of the last line
cdef inline void terms_of_end(void* f, int sums, const floating* x, const floating* y, floating* out, bint store,
                              Py_ssize_t n, Py_ssize_t padded, floating a, floating b, floating c, floating d,
                              floating e, floating* first, floating* second) noexcept nogil:
    cdef floating x_end[LANES]
    cdef floating y_end[LANES]
    cdef Py_ssize_t i
    for i in range(LANES if n else 0):
        x_end[i] = x[i if i < n else 0]
        y_end[i] = y[i if i < n else 0]
    for i in range(LANES if n else 0):
        x_end[i] = accumulate(f, sums, x_end[i], y_end[i], a, b, c, d, e, first + i, second + i)
    for i in range(n if store else 0):
        out[i] = x_end[i]
    for i in range(n, padded):
        first[i] = 0
        second[i] = 0


# Up to PIECE entries: their terms, for which `first` and `second` have room, then the sums, block by block.
cdef inline void accumulate_piece(void* f, int sums, const floating* x, const floating* y, floating* out, bint store,
                                  bint fetching, Py_ssize_t n, floating a, floating b, floating c, floating d,
                                  floating e, floating* first, floating* second, double* high,
                                  double* low) noexcept nogil:
    cdef const floating* summands = out if store and sums == 1 else first
    cdef Py_ssize_t whole = n // LANES * LANES, start = n // BLOCK * BLOCK, lines = lines_of(n - start), i
    terms(f, sums, x, y, out, store, fetching, whole, a, b, c, d, e, first, second)
    for i in range(n // BLOCK):
        add_to_lanes(summands + i * BLOCK, sums, second + i * BLOCK, LINES, high, low)
    if start == n:
        return
    if store and sums == 1:
        for i in range(start, whole):
            first[i] = out[i]
    terms_of_end(f, sums, x + whole, y + whole, out + whole, store, n - whole, start + lines * LANES - whole,
                 a, b, c, d, e, first + whole, second + whole)
    if lines == 1:
        add_to_lanes(first + start, sums, second + start, 1, high, low)
    elif lines == 2:
        add_to_lanes(first + start, sums, second + start, 2, high, low)
    elif lines == 4:
        add_to_lanes(first + start, sums, second + start, 4, high, low)
    else:
        add_to_lanes(first + start, sums, second + start, LINES, high, low)


# The last four lanes of one block of floats: the bits of add_to_lanes and lanes_total, without the way through memory.
cdef inline void four_of_block(const float* x, Py_ssize_t lines, double* four) noexcept nogil:
    cdef float pairs[BLOCK]
    cdef int j, k
    if lines == 1:
        fastact_four_of_lanes(x, 1, four)
        return
    for k in range(lines // 2):
        for j in range(LANES):
            pairs[k * LANES + j] = x[2 * k * LANES + j] + x[(2 * k + 1) * LANES + j]
    if lines == 2:
        fastact_four_of_lanes(pairs, 1, four)
    elif lines == 4:
        fastact_four_of_lanes(pairs, 2, four)
    else:
        fastact_four_of_lanes(pairs, 4, four)


# A row of floats that is one block at most: the last four lanes of its sums
cdef inline void accumulate_short_row(void* f, int sums, const float* x, const float* y, float* out, bint store,
                                      Py_ssize_t n, float a, float b, float c, float d, float e, double* first_four,
                                      double* second_four) noexcept nogil:
    cdef float first[BLOCK]
    cdef float second[BLOCK]
    cdef const float* summands = first
    cdef Py_ssize_t whole = n // LANES * LANES, lines = lines_of(n), i
    terms_of_stretch(f, sums, x, y, out, store, whole, a, b, c, d, e, first, second)
    if store and sums == 1 and n == lines * LANES:
        summands = out
    else:
        for i in range(whole if store and sums == 1 else 0):
            first[i] = out[i]
        terms_of_end(f, sums, x + whole, y + whole, out + whole, store, n - whole, lines * LANES - whole,
                     a, b, c, d, e, first + whole, second + whole)
    four_of_block(summands, lines, first_four)
    if sums == 2:
        four_of_block(second, lines, second_four)


# Sums into rows.first[index] and rows.second[index].
cdef inline void accumulate_row(void* f, void* moved, int sums, const floating* x, const floating* y, floating* out,
                                bint store, Py_ssize_t n, floating a, floating b, floating c, floating d, floating e,
                                Rows* rows, Py_ssize_t index) noexcept nogil:
    cdef floating first[PIECE]      # here: each inlined copy of accumulate_piece would have its own on the stack
    cdef floating second[PIECE]
    cdef double high[2 * LANES]
    cdef double low[2 * LANES]
    cdef Py_ssize_t start = 0, part
    cdef int j
    for j in range(sums * LANES):
        high[j] = 0
        low[j] = 0
    while start < n:
        part = n - start if n - start < PIECE else PIECE
        if moved != NULL and a != 0:
            accumulate_piece(moved, sums, x + start, y + start, out + start, store, rows.fetching, part, a, b, c, d, e,
                             first, second, high, low)
        else:
            accumulate_piece(f, sums, x + start, y + start, out + start, store, rows.fetching, part, a, b, c, d, e,
                             first, second, high, low)
        start += PIECE
    rows.first[index] = lanes_total(high, low, a)
    rows.second[index] = lanes_total(high + LANES, low + LANES, a) if sums == 2 else 0


cdef inline void emit_row(void* f, const floating* x, const floating* y, floating* out, Py_ssize_t n,
                          floating a, floating b, floating c, floating d, floating e) noexcept nogil:
    cdef floating x_end[LANES]
    cdef floating y_end[LANES]
    cdef Py_ssize_t i, whole = n // LANES * LANES
    cdef int j
    for i in range(whole):
        out[i] = emit(f, x[i], y[i], a, b, c, d, e)
    if whole < n:
        for j in range(LANES):
            x_end[j] = 0
            y_end[j] = 0
        for j in range(n - whole):
            x_end[j] = x[whole + j]
            y_end[j] = y[whole + j]
        for j in range(LANES):
            x_end[j] = emit(f, x_end[j], y_end[j], a, b, c, d, e)
        for j in range(n - whole):
            out[whole + j] = x_end[j]


cdef inline void extreme_of_rows(bint negated, const floating* x, Py_ssize_t n, Py_ssize_t stride, Py_ssize_t width,
                                 Rows* rows) noexcept nogil:
    cdef Py_ssize_t j
    for j in range(width):
        rows.maximum[j] = extreme_of_row(negated, x + j * stride, n)


# Where the value stands in the row, first; n if it does not
cdef inline Py_ssize_t place_in_row(const floating* x, Py_ssize_t n, floating value) noexcept nogil:
    cdef Py_ssize_t start = 0, i
    cdef bint found = False
    while n - start >= BLOCK:               # a whole block is looked at as vectors
        for i in range(BLOCK):
            found |= x[start + i] == value
        if found:
            break
        start += BLOCK
    for i in range(start, n):
        if x[i] == value:
            return i
    return n


cdef inline void mend_rows(const floating* x, Py_ssize_t n, Py_ssize_t stride, Py_ssize_t width,
                           Rows* rows) noexcept nogil:
    cdef Py_ssize_t j, place
    if floating is float:                   # sums of doubles are in two parts, but are rounded to one in the end
        for j in range(width):
            if rows.confident[j]:
                place = place_in_row(x + j * stride, n, <floating> rows.maximum[j])
                if place < n:
                    mend_pair(x + j * stride, n, 1, place, rows, j)


# Of all rows, as the numbers that the formulas take: one after the other they would cost more than a short row.
cdef inline void constants_of_rows(const Rows* rows, Py_ssize_t width, floating* a, floating* b, floating* c,
                                   floating* d, floating* e) noexcept nogil:
    cdef Py_ssize_t j
    for j in range(width):
        a[j] = <floating> rows.constants[0][j]
        b[j] = <floating> rows.constants[1][j]
        c[j] = <floating> rows.constants[2][j]
        d[j] = <floating> rows.constants[3][j]
        e[j] = <floating> rows.constants[4][j]


cdef inline void accumulate_rows(void* f, void* moved, int sums, const floating* x, const floating* y, floating* out,
                                 bint store, Py_ssize_t n, Py_ssize_t stride, Py_ssize_t width,
                                 Rows* rows) noexcept nogil:
    cdef floating a[STRIP]
    cdef floating b[STRIP]
    cdef floating c[STRIP]
    cdef floating d[STRIP]
    cdef floating e[STRIP]
    cdef double first_fours[4 * STRIP]
    cdef double second_fours[4 * STRIP]
    cdef bint short = floating is float and n <= BLOCK
    cdef Py_ssize_t j
    constants_of_rows(rows, width, a, b, c, d, e)
    for j in range(width):
        if floating is float:
            if n == LANES and (moved == NULL or a[j] == 0):         # a constant: nothing left to decide
                accumulate_short_row(f, sums, x + j * stride, y + j * stride, out + j * stride, store, LANES,
                                     a[j], b[j], c[j], d[j], e[j], first_fours + 4 * j, second_fours + 4 * j)
                continue
            if short and (moved == NULL or a[j] == 0):
                accumulate_short_row(f, sums, x + j * stride, y + j * stride, out + j * stride, store, n,
                                     a[j], b[j], c[j], d[j], e[j], first_fours + 4 * j, second_fours + 4 * j)
                continue
        accumulate_row(f, moved, sums, x + j * stride, y + j * stride, out + j * stride, store, n,
                       a[j], b[j], c[j], d[j], e[j], rows, j)
        first_fours[4 * j], second_fours[4 * j] = rows.first[j], rows.second[j]
        first_fours[4 * j + 1] = first_fours[4 * j + 2] = first_fours[4 * j + 3] = 0
        second_fours[4 * j + 1] = second_fours[4 * j + 2] = second_fours[4 * j + 3] = 0
    if short:
        fastact_totals_of_fours(first_fours, width, rows.first)
        if sums == 2:
            fastact_totals_of_fours(second_fours, width, rows.second)
        for j in range(width if sums == 1 else 0):
            rows.second[j] = 0


cdef inline void emit_rows(void* f, const floating* x, const floating* y, floating* out, Py_ssize_t n,
                           Py_ssize_t stride, Py_ssize_t width, const Rows* rows) noexcept nogil:
    cdef floating a[STRIP]
    cdef floating b[STRIP]
    cdef floating c[STRIP]
    cdef floating d[STRIP]
    cdef floating e[STRIP]
    cdef Py_ssize_t j
    constants_of_rows(rows, width, a, b, c, d, e)
    for j in range(width):
        emit_row(f, x + j * stride, y + j * stride, out + j * stride, n, a[j], b[j], c[j], d[j], e[j])


# ------------------------------------------------------------------------------------------------ the same down columns
#
# A full strip is told by its constant width, of which the compiler makes a few vectors without a loop around them.

cdef inline void extreme_of_some_columns(bint negated, const floating* x, Py_ssize_t n, Py_ssize_t stride,
                                         Py_ssize_t width, Rows* rows) noexcept nogil:
    cdef floating found[STRIP]
    cdef floating entry
    cdef const floating* line
    cdef Py_ssize_t i, j
    for j in range(STRIP):
        found[j] = <floating> -INFINITY
    for i in range(n):
        line = x + i * stride
        for j in range(width):
            entry = -line[j] if negated else line[j]
            found[j] = entry if entry > found[j] else found[j]
    for j in range(width):
        rows.maximum[j] = NAN if isinf(found[j]) and holds_nan(x + j, n, stride) else found[j]


# lanes_total of every column, into `totals`
cdef inline void columns_total(double* high, double* low, Py_ssize_t width, double* totals,
                               floating unused) noexcept nogil:
    cdef double* left
    cdef Py_ssize_t j
    cdef int half = LANES // 2, lane
    while half:
        for lane in range(half):
            left = high + lane * STRIP
            if floating is float:
                for j in range(width):
                    left[j] += left[half * STRIP + j]
            else:
                for j in range(width):
                    low[lane * STRIP + j] += low[(lane + half) * STRIP + j]
                    add_exactly(left + j, low + lane * STRIP + j, left[half * STRIP + j])
        half //= 2
    for j in range(width):
        totals[j] = high[j]
        if floating is double:
            totals[j] = high[j] if isinf(high[j]) else high[j] + low[j]


cdef inline void accumulate_some_columns(void* f, void* moved, int sums, const floating* x, const floating* y,
                                         floating* out, bint store, Py_ssize_t n, Py_ssize_t stride, Py_ssize_t width,
                                         Rows* rows) noexcept nogil:
    cdef floating a[STRIP]
    cdef floating b[STRIP]
    cdef floating c[STRIP]
    cdef floating d[STRIP]
    cdef floating e[STRIP]
    cdef double high[2 * LANES * STRIP]
    cdef double low[2 * LANES * STRIP]
    cdef floating first[LINES * STRIP]
    cdef floating second[LINES * STRIP]
    cdef floating stored[STRIP]
    cdef double* lane_high
    cdef double* lane_low
    cdef const floating* x_line
    cdef const floating* y_line
    cdef floating* one
    cdef floating* two
    cdef Py_ssize_t start = 0, i, j
    cdef int lane, line, lines
    cdef bint is_moved = False
    constants_of_rows(rows, width, a, b, c, d, e)
    if moved != NULL:
        for j in range(width):
            is_moved = is_moved or a[j] != 0
    for j in range(sums * LANES * STRIP):
        high[j] = 0
        if floating is double:
            low[j] = 0
    while start < n:
        lines = <int> lines_of(n - start)
        for lane in range(LANES):
            for line in range(lines):
                i = start + line * LANES + lane
                one = first + line * STRIP
                two = second + line * STRIP
                if i >= n:
                    for j in range(width):
                        one[j] = 0
                        two[j] = 0
                    continue
                x_line = x + i * stride
                y_line = y + i * stride
                if is_moved:
                    for j in range(width):
                        stored[j] = accumulate(moved, sums, x_line[j], y_line[j], a[j], b[j], c[j], d[j], e[j],
                                               one + j, two + j)
                else:
                    for j in range(width):
                        stored[j] = accumulate(f, sums, x_line[j], y_line[j], a[j], b[j], c[j], d[j], e[j],
                                               one + j, two + j)
                if store:
                    for j in range(width):
                        out[i * stride + j] = stored[j]
            lane_high = high + lane * STRIP
            lane_low = low + lane * STRIP
            add_to_columns(first, lines, width, lane_high, lane_low)
            if sums == 2:
                add_to_columns(second, lines, width, lane_high + LANES * STRIP, lane_low + LANES * STRIP)
        start += BLOCK
    columns_total(high, low, width, rows.first, a[0])
    if sums == 2:
        columns_total(high + LANES * STRIP, low + LANES * STRIP, width, rows.second, a[0])
    else:
        for j in range(width):
            rows.second[j] = 0


cdef inline void emit_some_columns(void* f, const floating* x, const floating* y, floating* out, Py_ssize_t n,
                                   Py_ssize_t stride, Py_ssize_t width, const Rows* rows) noexcept nogil:
    cdef floating a[STRIP]
    cdef floating b[STRIP]
    cdef floating c[STRIP]
    cdef floating d[STRIP]
    cdef floating e[STRIP]
    cdef floating emitted[STRIP]
    cdef Py_ssize_t i, j
    constants_of_rows(rows, width, a, b, c, d, e)
    for i in range(n):
        for j in range(width):
            emitted[j] = emit(f, x[i * stride + j], y[i * stride + j], a[j], b[j], c[j], d[j], e[j])
        for j in range(width):
            out[i * stride + j] = emitted[j]


cdef inline void mend_columns(const floating* x, Py_ssize_t n, Py_ssize_t stride, Py_ssize_t width,
                              Rows* rows) noexcept nogil:
    cdef floating maximum[STRIP]
    cdef double place[STRIP]
    cdef Py_ssize_t i, j
    if floating is float:
        for j in range(width):
            maximum[j] = <floating> rows.maximum[j]
            place[j] = n
        for i in range(n):
            for j in range(width):
                place[j] = i if x[i * stride + j] == maximum[j] else place[j]
        for j in range(width):
            if rows.confident[j] and place[j] < n:
                mend_pair(x + j, n, stride, <Py_ssize_t> place[j], rows, j)


cdef inline void extreme_of_columns(bint negated, const floating* x, Py_ssize_t n, Py_ssize_t stride, Py_ssize_t width,
                                    Rows* rows) noexcept nogil:
    if width == STRIP:
        extreme_of_some_columns(negated, x, n, stride, STRIP, rows)
    else:
        extreme_of_some_columns(negated, x, n, stride, width, rows)


cdef inline void accumulate_columns(void* f, void* moved, int sums, const floating* x, const floating* y,
                                    floating* out, bint store, Py_ssize_t n, Py_ssize_t stride, Py_ssize_t width,
                                    Rows* rows) noexcept nogil:
    if width == STRIP:
        accumulate_some_columns(f, moved, sums, x, y, out, store, n, stride, STRIP, rows)
    else:
        accumulate_some_columns(f, moved, sums, x, y, out, store, n, stride, width, rows)


cdef inline void emit_columns(void* f, const floating* x, const floating* y, floating* out, Py_ssize_t n,
                              Py_ssize_t stride, Py_ssize_t width, const Rows* rows) noexcept nogil:
    if width == STRIP:
        emit_some_columns(f, x, y, out, n, stride, STRIP, rows)
    else:
        emit_some_columns(f, x, y, out, n, stride, width, rows)
