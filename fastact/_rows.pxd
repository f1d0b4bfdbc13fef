# The softmax family: functions of a whole row, where every output depends on every input.
#
# A row is worked in steps; the table ROW_OPERATIONS in _engine.pyx says which operation takes which.
#
#   maximum       m = max x
#   prepare_*     constants of the row from m
#   accumulate_*  two sums over the row, and perhaps a number stored for each entry
#   finish_*      constants of the row from the sums
#   settle_*      one entry of its own
#   emit_*        the entries of the result
#
# `accumulate_*` and `emit_*` are formulas of one entry (x, y) and four constants of its row; the loops at the end of
# this page run them along a contiguous row, or down the columns of a matrix side by side.  Both add up in the same
# fixed tree - 16 lanes, blocks of 256, segments of 4096, which the engine adds - so that the result has the same bits
# for either layout and for any number of threads.  Within a block sums are floating, above it double.
#
# The exponential without the difference.  x - m rounds, and e^(x - m) would lose |x - m| ulp.  Instead both are reduced
# as they stand, x = n ln 2 + r and m = N ln 2 + R, and the entry is  e^x / 2^N = 2^(n - N) e^r : nothing overflows,
# nothing is lost.  Beyond |m| = 212 (float) or 1496 (double) the reduction itself would run out of digits where
# there is no fused multiply-add; there m is subtracted first, which is exact for every entry that does not vanish.

from libc.math cimport INFINITY, NAN, fabs, isinf, log1p
from libc.string cimport memcpy

from fastact._loops cimport LANES
from fastact._primitives cimport (
    at_least, exp_limit, exp_negative, exp_polynomial, exp_reduce, floating, fma, guard_bits, guard_scale,
    power_of_two_relative)

cdef enum:
    BLOCK = 256             # entries that are added in one floating-point type
    SEGMENT = 4096          # entries of a long row that one thread takes at a time
    COLUMNS = 32            # columns worked side by side

cdef struct Row:
    double maximum
    double scale            # of the result: the gradient of a mean, the upstream gradient of a sum
    double peak             # the exponential of the maximum: in [1, sqrt 2)
    double first            # sums of the last accumulation
    double second
    double log_rest         # log of the sum of e^(x - m)
    double inverse          # 1 / sum of the exponentials
    double result           # of operations that give one number a row
    double constants[4]

ctypedef double (*row_maximum)(const void* x, Py_ssize_t n) noexcept nogil
ctypedef void (*row_finish)(Row* row) noexcept nogil
ctypedef void (*row_settle)(const void* x, void* entry, Row* row) noexcept nogil
ctypedef void (*row_accumulate)(const void* x, const void* y, void* out, Py_ssize_t n, Row* row) noexcept nogil
ctypedef void (*row_emit)(const void* x, const void* y, void* out, Py_ssize_t n, const Row* row) noexcept nogil
# The same down `width` <= COLUMNS columns of a matrix with `n` rows that are `stride` entries apart
ctypedef void (*column_maximum)(
    const void* x, Py_ssize_t n, Py_ssize_t stride, Py_ssize_t width, Row* rows) noexcept nogil
ctypedef void (*column_accumulate)(
    const void* x, const void* y, void* out, Py_ssize_t n, Py_ssize_t stride, Py_ssize_t width, Row* rows
    ) noexcept nogil
ctypedef void (*column_emit)(
    const void* x, const void* y, void* out, Py_ssize_t n, Py_ssize_t stride, Py_ssize_t width, const Row* rows
    ) noexcept nogil


# ------------------------------------------------------------------------------------------------- constants of the row

# e^x / 2^N, with the row's constants: offset (0, or the maximum where it is large), floor (below it the entry is 0),
# reference (the maximum reduced).  0.9 ulp.
cdef inline floating exp_entry(floating x, floating offset, floating floor, floating reference) noexcept nogil:
    cdef floating r, r2, q, scale
    cdef floating shifted = exp_reduce[floating](at_least(x - offset, floor), 0, &r)
    r2 = r * r
    q = fma(r2, exp_polynomial(r, r2), r)
    scale = power_of_two_relative(shifted, reference, guard_bits(x)) * guard_scale(x)
    return fma(scale, q, scale)


# A row whose maximum is infinite has no softmax: NaN.
cdef inline void prepare_exponentials(Row* row, floating unused) noexcept nogil:
    cdef floating maximum = <floating> (NAN if isinf(row.maximum) else row.maximum)
    cdef floating offset = maximum if fabs(maximum) > 2 * exp_limit(maximum) else 0
    cdef floating floor = (maximum - offset) - exp_limit(maximum)
    cdef floating remainder
    cdef floating reference = exp_reduce[floating](maximum - offset, 0, &remainder)
    row.peak = exp_entry(maximum, offset, floor, reference)
    row.constants[0] = offset
    row.constants[1] = floor
    row.constants[2] = reference
    row.constants[3] = row.peak


# After accumulate_exponentials: each entry times scale / sum
cdef inline void finish_softmax(Row* row, floating unused) noexcept nogil:
    row.inverse = 1 / row.first
    row.constants[0] = row.scale * row.inverse


# The same without the scale: the probabilities themselves
cdef inline void finish_probabilities(Row* row, floating unused) noexcept nogil:
    row.inverse = 1 / row.first
    row.constants[0] = row.inverse


# After accumulate_others: log(sum e^(x - m)) = log1p(what is not the maximum), which a confident row needs:
# 1 + 1e-20 is 1.
cdef inline void finish_log(Row* row, floating unused) noexcept nogil:
    cdef double others = row.first / row.peak + (row.second - 1)
    cdef floating high
    row.log_rest = log1p(others)
    row.inverse = 1 / (row.first + row.second * row.peak)
    row.result = row.maximum if isinf(row.maximum) else row.maximum + row.log_rest
    high = <floating> row.log_rest
    row.constants[0] = row.maximum
    row.constants[1] = high
    row.constants[2] = row.log_rest - high


# Cross-entropy with one label: constants for emit_scaled
cdef inline void finish_label(Row* row, floating unused) noexcept nogil:
    finish_log[floating](row, unused)
    row.constants[0] = row.scale * row.inverse


# Before the entries are scaled: that of the label becomes minus the sum of the others, since p - 1 would round to 0
# where the network is sure and right.  The loss is -log p.
cdef inline void settle_label(const floating* x, floating* entry, Row* row) noexcept nogil:
    cdef double e = entry[0]
    cdef double above = row.second * row.peak
    entry[0] = <floating> -(row.first + (above - row.peak) if e >= row.peak else (row.first - e) + above)
    row.result = (row.maximum - x[0]) + row.log_rest


cdef inline void finish_weighted(Row* row, floating unused) noexcept nogil:
    row.result = row.first
    row.constants[0] = row.scale * row.inverse * row.second
    row.constants[1] = row.scale


# A sum as high + low
cdef inline void finish_sum(Row* row, floating unused) noexcept nogil:
    cdef floating high = <floating> row.first
    row.constants[0] = high
    row.constants[1] = row.first - high


cdef inline void finish_squared_error(Row* row, floating unused) noexcept nogil:
    cdef floating high = <floating> row.second
    row.result = row.first / 2
    row.constants[0] = high
    row.constants[1] = row.second - high
    row.constants[2] = row.scale


# ------------------------------------------------------------------------------------------------ sums over the entries

# stored: e^x / 2^N                                     sums: of them, -
cdef inline floating accumulate_exponentials(floating x, floating y, floating offset, floating floor,
                                             floating reference, floating peak,
                                             floating* first, floating* second) noexcept nogil:
    first[0] = exp_entry(x, offset, floor, reference)
    second[0] = 0
    return first[0]


# stored: e^x / 2^N                                     sums: of those below the maximum's, number of the others
cdef inline floating accumulate_others(floating x, floating y, floating offset, floating floor, floating reference,
                                       floating peak, floating* first, floating* second) noexcept nogil:
    cdef floating e = exp_entry(x, offset, floor, reference)
    first[0] = <floating> 0 if e >= peak else e
    second[0] = <floating> 1 if e >= peak else <floating> 0
    return e


# stored: -                                             sums: x y, -
cdef inline floating accumulate_product(floating x, floating y, floating a, floating b, floating c, floating d,
                                        floating* first, floating* second) noexcept nogil:
    first[0] = x * y
    second[0] = 0
    return 0


# stored: -                                             sums: x, -
cdef inline floating accumulate_sum(floating x, floating y, floating a, floating b, floating c, floating d,
                                    floating* first, floating* second) noexcept nogil:
    first[0] = x
    second[0] = 0
    return 0


# x is e^x, y the target.  stored: p                    sums: (p - y)^2, (p - y) p
cdef inline floating accumulate_squared_error(floating x, floating y, floating inverse, floating b, floating c,
                                              floating d, floating* first, floating* second) noexcept nogil:
    cdef floating p = x * inverse
    cdef floating residual = p - y
    first[0] = residual * residual
    second[0] = residual * p
    return p


# y is the target's probability.  stored: -             sums: -y log p, y
cdef inline floating accumulate_cross_entropy(floating x, floating y, floating maximum, floating log_high,
                                              floating log_low, floating d,
                                              floating* first, floating* second) noexcept nogil:
    cdef floating surprise = -y * emit_log_softmax[floating](x, y, maximum, log_high, log_low, 0)
    first[0] = <floating> 0 if y == 0 else surprise
    second[0] = y
    return 0


# ------------------------------------------------------------------------------------------------------ entries to emit

cdef inline floating emit_scaled(floating x, floating y, floating factor, floating b, floating c,
                                 floating d) noexcept nogil:
    return x * factor


# log_softmax: (x - m) - log(sum), each of the two differences in two parts
cdef inline floating emit_log_softmax(floating x, floating y, floating maximum, floating log_high, floating log_low,
                                      floating d) noexcept nogil:
    cdef floating difference = x - maximum
    cdef floating back = difference - x
    cdef floating difference_low = (x - (difference - back)) - (maximum + back)
    cdef floating total = difference - log_high
    cdef floating larger = difference if difference < -log_high else -log_high
    cdef floating smaller = -log_high if difference < -log_high else difference
    cdef floating low = (((larger - total) + smaller) + difference_low) - log_low
    return total if total == -INFINITY else total + low


# softmax_backward, x = dp and y = p: p (dp - sum dp p)
cdef inline floating emit_softmax_backward(floating x, floating y, floating dot, floating dot_low, floating c,
                                           floating d) noexcept nogil:
    return y * ((x - dot) - dot_low)


# log_softmax_backward, x = dy and y = log p: dy - p sum dy
cdef inline floating emit_log_softmax_backward(floating x, floating y, floating total, floating total_low, floating c,
                                               floating d) noexcept nogil:
    cdef floating p = exp_negative[floating](y, 0)
    return fma(-p, total, x)


# softmax_mse, x = p and y = target: p ((p - y) - sum (p - y) p)
cdef inline floating emit_squared_error(floating x, floating y, floating dot, floating dot_low, floating scale,
                                        floating d) noexcept nogil:
    return x * (((x - y) - dot) - dot_low) * scale


# softmax_cross_entropy, x = e^x and y = the target's probability: p sum(y) - y
cdef inline floating emit_cross_entropy(floating x, floating y, floating factor, floating scale, floating c,
                                        floating d) noexcept nogil:
    return fma(x, factor, -y * scale)


# ---------------------------------------------------------------------------------------------------------------- loops

ctypedef float (*float_accumulation)(
    float, float, float, float, float, float, float*, float*) noexcept nogil
ctypedef double (*double_accumulation)(
    double, double, double, double, double, double, double*, double*) noexcept nogil
ctypedef float (*float_emission)(float, float, float, float, float, float) noexcept nogil
ctypedef double (*double_emission)(double, double, double, double, double, double) noexcept nogil


cdef inline floating accumulate(void* f, floating x, floating y, floating a, floating b, floating c, floating d,
                                floating* first, floating* second) noexcept nogil:
    if floating is float:
        return (<float_accumulation> f)(x, y, a, b, c, d, first, second)
    else:
        return (<double_accumulation> f)(x, y, a, b, c, d, first, second)


cdef inline floating emit(void* f, floating x, floating y, floating a, floating b, floating c,
                          floating d) noexcept nogil:
    if floating is float:
        return (<float_emission> f)(x, y, a, b, c, d)
    else:
        return (<double_emission> f)(x, y, a, b, c, d)


# The lanes of a block, added as a tree
cdef inline floating lanes_total(floating* lanes) noexcept nogil:
    cdef int j
    for j in range(8):
        lanes[j] = lanes[j] + lanes[j + 8]
    for j in range(4):
        lanes[j] = lanes[j] + lanes[j + 4]
    return (lanes[0] + lanes[2]) + (lanes[1] + lanes[3])


cdef inline bint holds_nan(const floating* x, Py_ssize_t n, Py_ssize_t stride) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(n):
        if x[i * stride] != x[i * stride]:
            return True
    return False


# The largest entry; NaN is passed over (the sums will find it) unless the maximum is infinite.
cdef inline double maximum_of_row(const floating* x, Py_ssize_t n) noexcept nogil:
    cdef floating lanes[LANES]
    cdef Py_ssize_t group, i, whole = n // LANES * LANES
    cdef int j
    for j in range(LANES):
        lanes[j] = <floating> -INFINITY
    for group in range(whole // LANES):
        i = group * LANES
        for j in range(LANES):
            lanes[j] = x[i + j] if x[i + j] > lanes[j] else lanes[j]
    for i in range(whole, n):
        lanes[i - whole] = x[i] if x[i] > lanes[i - whole] else lanes[i - whole]
    for j in range(8):
        lanes[j] = lanes[j + 8] if lanes[j + 8] > lanes[j] else lanes[j]
    for j in range(4):
        lanes[j] = lanes[j + 4] if lanes[j + 4] > lanes[j] else lanes[j]
    for j in range(2):
        lanes[j] = lanes[j + 2] if lanes[j + 2] > lanes[j] else lanes[j]
    lanes[0] = lanes[1] if lanes[1] > lanes[0] else lanes[0]
    return NAN if isinf(lanes[0]) and holds_nan(x, n, 1) else lanes[0]


cdef inline void accumulate_lanes(void* f, const floating* x, const floating* y, floating* out, bint store,
                                  floating a, floating b, floating c, floating d,
                                  floating* first, floating* second) noexcept nogil:
    # By way of `stored`: out may be x, and asking whether it is would keep the sums out of the registers.
    cdef int j
    cdef floating one, two
    cdef floating stored[LANES]
    for j in range(LANES):
        stored[j] = accumulate(f, x[j], y[j], a, b, c, d, &one, &two)
        first[j] += one
        second[j] += two
    if store:
        memcpy(out, stored, LANES * sizeof(floating))


# Adds to row.first and row.second.
cdef inline void accumulate_row(void* f, const floating* x, const floating* y, floating* out, bint store,
                                Py_ssize_t n, Row* row) noexcept nogil:
    cdef floating a = <floating> row.constants[0]
    cdef floating b = <floating> row.constants[1]
    cdef floating c = <floating> row.constants[2]
    cdef floating d = <floating> row.constants[3]
    cdef floating first[LANES]
    cdef floating second[LANES]
    cdef Py_ssize_t k, group, block, i, stop, whole = n // LANES * LANES
    cdef int j
    for k in range((n + BLOCK - 1) // BLOCK):
        block = k * BLOCK
        stop = block + BLOCK if block + BLOCK < whole else whole
        for j in range(LANES):
            first[j] = 0
            second[j] = 0
        for group in range((stop - block) // LANES):
            i = block + group * LANES
            accumulate_lanes(f, x + i, y + i, out + i, store, a, b, c, d, first, second)
        if whole < n and n - block <= BLOCK:
            accumulate_rest(f, x + whole, y + whole, out + whole, store, <int> (n - whole), a, b, c, d, first, second)
        row.first += lanes_total(first)
        row.second += lanes_total(second)


# The last few entries, in lanes filled up with one of them
cdef inline void accumulate_rest(void* f, const floating* x, const floating* y, floating* out, bint store, int rest,
                                 floating a, floating b, floating c, floating d,
                                 floating* first, floating* second) noexcept nogil:
    cdef floating x_lanes[LANES]
    cdef floating y_lanes[LANES]
    cdef floating out_lanes[LANES]
    cdef floating first_lanes[LANES]
    cdef floating second_lanes[LANES]
    cdef int j
    for j in range(LANES):
        x_lanes[j] = x[0]
        y_lanes[j] = y[0]
        first_lanes[j] = 0
        second_lanes[j] = 0
    for j in range(rest):
        x_lanes[j] = x[j]
        y_lanes[j] = y[j]
    accumulate_lanes(f, x_lanes, y_lanes, out_lanes, True, a, b, c, d, first_lanes, second_lanes)
    for j in range(rest):
        first[j] += first_lanes[j]
        second[j] += second_lanes[j]
        if store:
            out[j] = out_lanes[j]


cdef inline void emit_row(void* f, const floating* x, const floating* y, floating* out, Py_ssize_t n,
                          const Row* row) noexcept nogil:
    cdef floating a = <floating> row.constants[0]
    cdef floating b = <floating> row.constants[1]
    cdef floating c = <floating> row.constants[2]
    cdef floating d = <floating> row.constants[3]
    cdef floating x_end[LANES]
    cdef floating y_end[LANES]
    cdef Py_ssize_t i, whole = n // LANES * LANES
    cdef int j
    for i in range(whole):
        out[i] = emit(f, x[i], y[i], a, b, c, d)
    if whole < n:
        for j in range(LANES):
            x_end[j] = 0
            y_end[j] = 0
        for j in range(n - whole):
            x_end[j] = x[whole + j]
            y_end[j] = y[whole + j]
        for j in range(LANES):
            x_end[j] = emit(f, x_end[j], y_end[j], a, b, c, d)
        for j in range(n - whole):
            out[whole + j] = x_end[j]


# ------------------------------------------------------------------------------------------------ the same down columns

cdef inline void maximum_of_columns(const floating* x, Py_ssize_t n, Py_ssize_t stride, Py_ssize_t width,
                                    Row* rows) noexcept nogil:
    cdef floating largest[COLUMNS]
    cdef const floating* line
    cdef Py_ssize_t i, j
    for j in range(COLUMNS):
        largest[j] = <floating> -INFINITY
    for i in range(n):
        line = x + i * stride
        for j in range(width):
            largest[j] = line[j] if line[j] > largest[j] else largest[j]
    for j in range(width):
        rows[j].maximum = NAN if isinf(largest[j]) and holds_nan(x + j, n, stride) else largest[j]


cdef inline void constants_of_columns(const Row* rows, Py_ssize_t width, floating* a, floating* b, floating* c,
                                      floating* d) noexcept nogil:
    cdef Py_ssize_t j
    for j in range(width):
        a[j] = <floating> rows[j].constants[0]
        b[j] = <floating> rows[j].constants[1]
        c[j] = <floating> rows[j].constants[2]
        d[j] = <floating> rows[j].constants[3]


cdef inline void add_lanes_to_columns(floating* lanes, Py_ssize_t width, floating* total) noexcept nogil:
    cdef floating column[LANES]
    cdef Py_ssize_t j
    cdef int lane
    for j in range(width):
        for lane in range(LANES):
            column[lane] = lanes[lane * COLUMNS + j]
        total[j] = lanes_total(column)


cdef inline void accumulate_columns(void* f, const floating* x, const floating* y, floating* out, bint store,
                                    Py_ssize_t n, Py_ssize_t stride, Py_ssize_t width, Row* rows) noexcept nogil:
    cdef floating a[COLUMNS]
    cdef floating b[COLUMNS]
    cdef floating c[COLUMNS]
    cdef floating d[COLUMNS]
    cdef floating first[LANES * COLUMNS]
    cdef floating second[LANES * COLUMNS]
    cdef floating stored[COLUMNS]
    cdef floating* first_lane
    cdef floating* second_lane
    cdef floating one, two
    cdef const floating* x_line
    cdef const floating* y_line
    cdef Py_ssize_t k, block, i, j, stop
    constants_of_columns(rows, width, a, b, c, d)
    for k in range((n + BLOCK - 1) // BLOCK):
        block = k * BLOCK
        stop = block + BLOCK if block + BLOCK < n else n
        for j in range(LANES * COLUMNS):
            first[j] = 0
            second[j] = 0
        for i in range(block, stop):
            x_line = x + i * stride
            y_line = y + i * stride
            first_lane = first + (i % LANES) * COLUMNS
            second_lane = second + (i % LANES) * COLUMNS
            for j in range(width):
                stored[j] = accumulate(f, x_line[j], y_line[j], a[j], b[j], c[j], d[j], &one, &two)
                first_lane[j] += one
                second_lane[j] += two
            if store:
                for j in range(width):
                    out[i * stride + j] = stored[j]
        add_lanes_to_columns(first, width, stored)
        for j in range(width):
            rows[j].first += stored[j]
        add_lanes_to_columns(second, width, stored)
        for j in range(width):
            rows[j].second += stored[j]


cdef inline void emit_columns(void* f, const floating* x, const floating* y, floating* out, Py_ssize_t n,
                              Py_ssize_t stride, Py_ssize_t width, const Row* rows) noexcept nogil:
    cdef floating a[COLUMNS]
    cdef floating b[COLUMNS]
    cdef floating c[COLUMNS]
    cdef floating d[COLUMNS]
    cdef floating emitted[COLUMNS]
    cdef Py_ssize_t i, j
    constants_of_columns(rows, width, a, b, c, d)
    for i in range(n):
        for j in range(width):
            emitted[j] = emit(f, x[i * stride + j], y[i * stride + j], a[j], b[j], c[j], d[j])
        for j in range(width):
            out[i * stride + j] = emitted[j]
