# The loops of rows.pxd down columns side by side, with the same tree of additions.
#
# A full strip has a constant width, so that the compiler writes it as a few vectors without a loop around them.

from libc.math cimport INFINITY, NAN, isinf

from fastact._loops.elementwise cimport LANES
from fastact._loops.rows cimport (
    LINES, ROW_BLOCK, Terms, add_exactly, add_to_lane, constants_of_rows, entry_of, holds_nan, lines_of, recover_pair,
    term, terms_of_moved)
from fastact._math.primitives cimport absolute, floating, largest
from fastact._math.row_state cimport CONSTANTS_OF_ROWS, OFFSET, STRIP, StripState


# add_to_lane for one lane of every column
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


cdef inline void extreme_of_some_columns(bint negated, const floating* x, Py_ssize_t n, Py_ssize_t stride,
                                         Py_ssize_t width, StripState* state) noexcept nogil:
    cdef floating found[STRIP]
    cdef floating entry
    cdef const floating* line
    cdef Py_ssize_t i, j
    cdef int infinite = 0
    for j in range(STRIP):
        found[j] = <floating> -INFINITY
    for i in range(n):
        line = x + i * stride
        for j in range(width):
            entry = -line[j] if negated else line[j]
            found[j] = entry if entry > found[j] else found[j]
    for j in range(width):
        state.maximum[j] = found[j]
        infinite |= absolute(found[j]) > largest(found[0])
    for j in range(width if infinite else 0):
        state.maximum[j] = NAN if isinf(found[j]) and holds_nan(x + j, n, stride) else found[j]


# The sum of one number is 0 + x, which is not -0.
cdef inline void set_lane(const floating* x, Py_ssize_t width, double* high, double* low) noexcept nogil:
    cdef Py_ssize_t j
    for j in range(width):
        high[j] = 0. + <double> x[j]
    if floating is double:
        for j in range(width):
            low[j] = 0


# lanes_total of every column, into `totals`; lanes from `lanes` on are 0.
cdef inline void columns_total(double* high, double* low, Py_ssize_t lanes, Py_ssize_t width, double* totals,
                               floating unused) noexcept nogil:
    cdef double* left
    cdef Py_ssize_t half = LANES // 2, lane, j
    while half:
        for lane in range(min(half, lanes - half)):
            left = high + lane * STRIP
            if floating is float:
                for j in range(width):
                    left[j] += left[half * STRIP + j]
            else:
                for j in range(width):
                    low[lane * STRIP + j] += low[(lane + half) * STRIP + j]
                    add_exactly(left + j, low + lane * STRIP + j, left[half * STRIP + j])
        lanes = min(lanes, half)
        half //= 2
    for j in range(width):
        totals[j] = high[j]
        if floating is double:
            totals[j] = high[j] if isinf(high[j]) else high[j] + low[j]


# The sums of columns of up to LANES entries: each entry is a lane of its own
cdef inline void accumulate_short_columns(Terms terms, const floating* x, const floating* y, floating* out,
                                          Py_ssize_t n, Py_ssize_t stride, Py_ssize_t width,
                                          StripState* state) noexcept nogil:
    cdef floating c[CONSTANTS_OF_ROWS]
    cdef floating first[STRIP]
    cdef floating second[STRIP]
    cdef floating stored[STRIP]
    cdef double high[2 * LANES * STRIP]
    cdef double low[2 * LANES * STRIP]
    cdef Py_ssize_t i, j
    cdef int is_moved = 0
    constants_of_rows(state, terms.constants, width, c)
    if terms.moved != NULL:
        for j in range(width):
            is_moved |= c[OFFSET + j] != 0
    for i in range(n):
        if is_moved:
            for j in range(width):
                stored[j] = term(terms_of_moved(terms), x[i * stride + j], y[i * stride + j], c + j, first + j,
                                 second + j)
        else:
            for j in range(width):
                stored[j] = term(terms, x[i * stride + j], y[i * stride + j], c + j, first + j, second + j)
        if terms.stored:
            for j in range(width):
                out[i * stride + j] = stored[j]
        set_lane(first, width, high + i * STRIP, low + i * STRIP)
        if terms.sums == 2:
            set_lane(second, width, high + (LANES + i) * STRIP, low + (LANES + i) * STRIP)
    columns_total(high, low, n, width, state.first, c[0])
    if terms.sums == 2:
        columns_total(high + LANES * STRIP, low + LANES * STRIP, n, width, state.second, c[0])
    else:
        for j in range(width):
            state.second[j] = 0


cdef inline void accumulate_some_columns(Terms terms, const floating* x, const floating* y, floating* out, Py_ssize_t n,
                                         Py_ssize_t stride, Py_ssize_t width, StripState* state) noexcept nogil:
    cdef floating c[CONSTANTS_OF_ROWS]
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
    cdef int is_moved = 0
    constants_of_rows(state, terms.constants, width, c)
    if terms.moved != NULL:
        for j in range(width):
            is_moved |= c[OFFSET + j] != 0
    for j in range(terms.sums * LANES * STRIP):
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
                        stored[j] = term(terms_of_moved(terms), x_line[j], y_line[j], c + j, one + j, two + j)
                else:
                    for j in range(width):
                        stored[j] = term(terms, x_line[j], y_line[j], c + j, one + j, two + j)
                if terms.stored:
                    for j in range(width):
                        out[i * stride + j] = stored[j]
            lane_high = high + lane * STRIP
            lane_low = low + lane * STRIP
            add_to_columns(first, lines, width, lane_high, lane_low)
            if terms.sums == 2:
                add_to_columns(second, lines, width, lane_high + LANES * STRIP, lane_low + LANES * STRIP)
        start += ROW_BLOCK
    columns_total(high, low, LANES, width, state.first, c[0])
    if terms.sums == 2:
        columns_total(high + LANES * STRIP, low + LANES * STRIP, LANES, width, state.second, c[0])
    else:
        for j in range(width):
            state.second[j] = 0


cdef inline void emit_some_columns(void* formula, int constants, const floating* x, const floating* y, floating* out,
                                   Py_ssize_t n, Py_ssize_t stride, Py_ssize_t width,
                                   const StripState* state) noexcept nogil:
    cdef floating c[CONSTANTS_OF_ROWS]
    cdef floating emitted[STRIP]
    cdef Py_ssize_t i, j
    constants_of_rows(state, constants, width, c)
    for i in range(n):
        for j in range(width):
            emitted[j] = entry_of(formula, x[i * stride + j], y[i * stride + j], c + j)
        for j in range(width):
            out[i * stride + j] = emitted[j]


cdef inline void recover_columns(bint stored, const floating* x, Py_ssize_t n, Py_ssize_t stride, Py_ssize_t width,
                                 StripState* state) noexcept nogil:
    cdef floating maximum[STRIP]
    cdef double index[STRIP]
    cdef Py_ssize_t i, j
    if floating is float:
        for j in range(width):
            maximum[j] = <floating> (state.peak[j] if stored else state.maximum[j])
            index[j] = n
        for i in range(n):
            for j in range(width):
                index[j] = i if x[i * stride + j] == maximum[j] else index[j]
        for j in range(width):
            if state.dominant[j] and index[j] < n:
                recover_pair(stored, x + j, n, stride, <Py_ssize_t> index[j], state, j)


cdef inline void extreme_of_columns(bint negated, const floating* x, Py_ssize_t n, Py_ssize_t stride, Py_ssize_t width,
                                    StripState* state) noexcept nogil:
    if width == STRIP:
        extreme_of_some_columns(negated, x, n, stride, STRIP, state)
    else:
        extreme_of_some_columns(negated, x, n, stride, width, state)


cdef inline void accumulate_columns(Terms terms, const floating* x, const floating* y, floating* out, Py_ssize_t n,
                                    Py_ssize_t stride, Py_ssize_t width, StripState* state) noexcept nogil:
    if n <= LANES and width == STRIP:
        accumulate_short_columns(terms, x, y, out, n, stride, STRIP, state)
    elif n <= LANES:
        accumulate_short_columns(terms, x, y, out, n, stride, width, state)
    elif width == STRIP:
        accumulate_some_columns(terms, x, y, out, n, stride, STRIP, state)
    else:
        accumulate_some_columns(terms, x, y, out, n, stride, width, state)


cdef inline void emit_columns(void* formula, int constants, const floating* x, const floating* y, floating* out,
                              Py_ssize_t n, Py_ssize_t stride, Py_ssize_t width,
                              const StripState* state) noexcept nogil:
    if width == STRIP:
        emit_some_columns(formula, constants, x, y, out, n, stride, STRIP, state)
    else:
        emit_some_columns(formula, constants, x, y, out, n, stride, width, state)
