# The loops of rows.pxd down columns side by side, with the same tree of additions.
#
# LANES columns are computed together, so that the compiler writes a few vectors without a loop around them.  The last
# columns of a strip that are fewer are copied first, with zeros beside them; their constants are 0 too.  What is added
# up beside the columns is not used.

from libc.math cimport INFINITY, NAN, isinf

from fastact._loops.elementwise cimport LANES
from fastact._loops.rows cimport (
    LINES, ROW_BLOCK, Terms, add_exactly, add_light_lines, add_to_lane, constants_of_rows, entry_of, holds_nan,
    light_term, lines_of, read_end, recover_pair, term, terms_of_moved, write_end)
from fastact._math.primitives cimport absolute, floating, largest
from fastact._math.row_state cimport CONSTANTS_OF_ROWS, OFFSET, STRIP, StripState

cdef enum:
    PAIRS = 8               # LANES / 2


# add_to_lane for one lane of every column
cdef inline void add_to_columns(const floating* x, int lines, Py_ssize_t groups, double* high,
                                double* low) noexcept nogil:
    if lines == 1:
        add_lines_to_columns(x, 1, groups, high, low)
    elif lines == 2:
        add_lines_to_columns(x, 2, groups, high, low)
    elif lines == 4:
        add_lines_to_columns(x, 4, groups, high, low)
    else:
        add_lines_to_columns(x, LINES, groups, high, low)


cdef inline void add_lines_to_columns(const floating* x, int lines, Py_ssize_t groups, double* high,
                                      double* low) noexcept nogil:
    cdef Py_ssize_t k
    cdef int j
    for k in range(groups):
        for j in range(LANES):
            add_to_lane(x + k * LANES + j, STRIP, lines, high + k * LANES + j, low + k * LANES + j)


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


# Of LANES columns, the terms of one line.  None is written to out before all are computed: otherwise the compiler would
# test whether arrays overlap.
cdef inline void terms_of_lanes(Terms terms, const floating* x, const floating* y, floating* out, const floating* c,
                                floating* first, floating* second) noexcept nogil:
    cdef floating stored[LANES]
    cdef int j
    for j in range(LANES):
        stored[j] = term(terms, x[j], y[j], c + j, first + j, second + j)
    if terms.stored:
        for j in range(LANES):
            out[j] = stored[j]


# The same of all columns of a strip
cdef inline void terms_of_line(Terms terms, const floating* x, const floating* y, floating* out, Py_ssize_t width,
                               const floating* c, floating* first, floating* second) noexcept nogil:
    cdef floating x_end[LANES]
    cdef floating y_end[LANES]
    cdef Py_ssize_t whole = width // LANES * LANES, j
    for j in range(width // LANES):
        terms_of_lanes(terms, x + j * LANES, y + j * LANES, out + j * LANES, c + j * LANES, first + j * LANES,
                       second + j * LANES)
    if whole < width:
        read_end(x + whole, width - whole, x_end)
        read_end(y + whole, width - whole, y_end)
        terms_of_lanes(terms, x_end, y_end, x_end, c + whole, first + whole, second + whole)
        if terms.stored:
            write_end(x_end, width - whole, out + whole)


# The terms of `count` lines, `distance` apart, which lie in first and second one after the other
cdef inline void terms_of_lines(Terms terms, const floating* x, const floating* y, floating* out, Py_ssize_t count,
                                Py_ssize_t distance, Py_ssize_t width, const floating* c, bint is_moved,
                                floating* first, floating* second) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(count):
        if is_moved:
            terms_of_line(terms_of_moved(terms), x + i * distance, y + i * distance, out + i * distance, width, c,
                          first + i * STRIP, second + i * STRIP)
        else:
            terms_of_line(terms, x + i * distance, y + i * distance, out + i * distance, width, c,
                          first + i * STRIP, second + i * STRIP)


cdef inline void clear_lines(floating* x, Py_ssize_t start, Py_ssize_t stop) noexcept nogil:
    cdef Py_ssize_t i
    cdef int j
    for i in range(start, stop):
        for j in range(STRIP):
            x[i * STRIP + j] = 0


# Whether any column has an offset, which the formulas that are `moved` subtract
cdef inline bint any_moved(Terms terms, const floating* c, Py_ssize_t width) noexcept nogil:
    cdef int is_moved = 0
    cdef Py_ssize_t j
    if terms.moved != NULL:
        for j in range(width):
            is_moved |= c[OFFSET + j] != 0
    return is_moved


# The sum of the lanes k, k + 8, k + 4 and so on in the order of lanes_total; lanes from `lanes` on are 0.
cdef inline double sum_of_two(const floating* x, int k, int lanes) noexcept nogil:
    return <double> x[k * STRIP] + <double> x[(k + 8) * STRIP] if k + 8 < lanes else <double> x[k * STRIP]


cdef inline double sum_of_four(const floating* x, int k, int lanes) noexcept nogil:
    if k + 4 < lanes:
        return sum_of_two(x, k, lanes) + sum_of_two(x, k + 4, lanes)
    else:
        return sum_of_two(x, k, lanes)


# The sum of one number is 0 + x, which is not -0.  `others` become 0, unless they are NULL.  The loop has an unknown
# length, because gcc unrolls one of LANES and then computes it number by number.
cdef inline void sums_of_lanes(const floating* x, int lanes, Py_ssize_t groups, double* totals,
                               double* others) noexcept nogil:
    cdef Py_ssize_t j
    for j in range(groups * LANES):
        if lanes == 2:
            totals[j] = 0. + (<double> x[j] + <double> x[STRIP + j])
        else:
            totals[j] = 0. + ((sum_of_four(x + j, 0, lanes) + sum_of_four(x + j, 2, lanes))
                              + (sum_of_four(x + j, 1, lanes) + sum_of_four(x + j, 3, lanes)))
        if others != NULL:
            others[j] = 0


# The sums of so many lanes of every column in two parts, in the order of lanes_total
cdef inline void exact_sums_of_lanes(double* high, double* low, Py_ssize_t lanes, Py_ssize_t groups,
                                     double* totals) noexcept nogil:
    cdef Py_ssize_t half = lanes // 2, place, lane, k
    cdef double total
    cdef int j
    while half:
        for lane in range(half):
            for k in range(groups):
                place = lane * STRIP + k * LANES
                for j in range(LANES):
                    low[place + j] += low[place + half * STRIP + j]
                    add_exactly(high + place + j, low + place + j, high[place + half * STRIP + j])
        half //= 2
    for k in range(groups):
        for j in range(LANES):
            place = k * LANES + j
            total = high[place] + low[place]            # both are loaded in any case, see UNMASKED in _sets.py
            totals[place] = high[place] if isinf(high[place]) else total


# The sums of columns of n <= LANES numbers, each a lane of its own; the numbers are overwritten
cdef inline void sums_of_columns(floating* x, Py_ssize_t n, Py_ssize_t groups, double* totals,
                                 double* others) noexcept nogil:
    cdef double low[PAIRS * STRIP]
    cdef Py_ssize_t place, i, k
    cdef int j
    if floating is float:
        clear_lines(x, n, n if n == 2 else (n + 3) // 4 * 4)
        if n == 2:
            sums_of_lanes(x, 2, groups, totals, others)
        elif n <= 4:
            sums_of_lanes(x, 4, groups, totals, others)
        elif n <= 8:
            sums_of_lanes(x, 8, groups, totals, others)
        elif n <= 12:
            sums_of_lanes(x, 12, groups, totals, others)
        else:
            sums_of_lanes(x, 16, groups, totals, others)
    else:
        clear_lines(x, n, LANES)
        for i in range(PAIRS):
            for k in range(groups):
                place = i * STRIP + k * LANES
                for j in range(LANES):
                    x[place + j] = 0. + x[place + j]
                    low[place + j] = 0
                    add_exactly(<double*> x + place + j, low + place + j, 0. + x[PAIRS * STRIP + place + j])
        exact_sums_of_lanes(<double*> x, low, PAIRS, groups, totals)
        for k in range(groups * LANES if others != NULL else 0):
            others[k] = 0


# The sums of columns of up to LANES entries
cdef inline void accumulate_short_columns(Terms terms, const floating* x, const floating* y, floating* out,
                                          Py_ssize_t n, Py_ssize_t stride, Py_ssize_t width, const floating* c,
                                          StripState* state) noexcept nogil:
    cdef floating first[LANES * STRIP]
    cdef floating second[LANES * STRIP]
    cdef Py_ssize_t groups = (width + LANES - 1) // LANES
    terms_of_lines(terms, x, y, out, n, stride, width, c, any_moved(terms, c, width), first, second)
    sums_of_columns(first, n, groups, state.first, state.second if terms.sums == 1 else NULL)
    if terms.sums == 2:
        sums_of_columns(second, n, groups, state.second, NULL)


# The sums of longer columns, block by block, into the lanes: line i is added to lane i % LANES.
cdef inline void accumulate_long_columns(Terms terms, const floating* x, const floating* y, floating* out, Py_ssize_t n,
                                         Py_ssize_t stride, Py_ssize_t width, const floating* c,
                                         StripState* state) noexcept nogil:
    cdef double high[2 * LANES * STRIP]
    cdef double low[2 * LANES * STRIP]
    cdef floating first[LINES * STRIP]
    cdef floating second[LINES * STRIP]
    cdef Py_ssize_t start = 0, groups = (width + LANES - 1) // LANES, place, count, j
    cdef int lane, lines
    cdef bint is_moved = any_moved(terms, c, width)
    for j in range(terms.sums * LANES * STRIP):
        high[j] = 0
        if floating is double:
            low[j] = 0
    while start < n:
        lines = <int> lines_of(n - start)
        for lane in range(LANES):
            count = (n - start - lane + LANES - 1) // LANES
            count = lines if count > lines else count
            place = (start + lane) * stride
            terms_of_lines(terms, x + place, y + place, out + place, count, LANES * stride, width, c, is_moved, first,
                           second)
            clear_lines(first, count, lines)
            add_to_columns(first, lines, groups, high + lane * STRIP, low + lane * STRIP)
            if terms.sums == 2:
                clear_lines(second, count, lines)
                add_to_columns(second, lines, groups, high + (LANES + lane) * STRIP, low + (LANES + lane) * STRIP)
        start += ROW_BLOCK
    total_of_columns(high, low, groups, state.first, c[0])
    for j in range(groups * LANES if terms.sums == 1 else 0):
        state.second[j] = 0
    if terms.sums == 2:
        total_of_columns(high + LANES * STRIP, low + LANES * STRIP, groups, state.second, c[0])


# The terms of a lane of LANES columns, of which `count` lines are left, at most `lines`
cdef inline void add_light_lane(Terms terms, const floating* x, const floating* y, Py_ssize_t distance, int lines,
                                Py_ssize_t count, const floating* c, double* high, double* low) noexcept nogil:
    cdef floating summands[LINES * LANES]
    cdef Py_ssize_t i
    cdef int j
    if count >= LINES and lines == LINES:
        add_light_lines(terms, x, y, distance, LINES, c, True, high, low)
    elif count == 4 and lines == 4:
        add_light_lines(terms, x, y, distance, 4, c, True, high, low)
    elif count == 2 and lines == 2:
        add_light_lines(terms, x, y, distance, 2, c, True, high, low)
    else:
        for i in range(count):
            for j in range(LANES):
                summands[i * LANES + j] = light_term(terms, x + i * distance, y + i * distance, j, c + j)
        for i in range(count, LINES):
            for j in range(LANES):
                summands[i * LANES + j] = 0
        for j in range(LANES):
            add_to_lane(summands + j, LANES, LINES, high + j, low + j)


# Sums of light terms of LANES columns, lane by lane: in registers
cdef inline void accumulate_light_columns(Terms terms, const floating* x, const floating* y, Py_ssize_t n,
                                          Py_ssize_t stride, const floating* c, double* totals) noexcept nogil:
    cdef double high[LANES * LANES]
    cdef double low[LANES * LANES]
    cdef double total
    cdef Py_ssize_t start = 0, place, half = LANES // 2, j
    cdef int lane, lines
    for j in range(LANES * LANES):
        high[j] = 0
        if floating is double:
            low[j] = 0
    while start < n:
        lines = <int> lines_of(n - start)
        for lane in range(LANES):
            place = (start + lane) * stride
            add_light_lane(terms, x + place, y + place, LANES * stride, lines,
                           (n - start - lane + LANES - 1) // LANES, c, high + lane * LANES, low + lane * LANES)
        start += ROW_BLOCK
    while half:
        for j in range(half * LANES):
            if floating is double:
                low[j] += low[half * LANES + j]
                add_exactly(high + j, low + j, high[half * LANES + j])
            else:
                high[j] += high[half * LANES + j]
        half //= 2
    for j in range(LANES):
        total = high[j]
        if floating is double:
            total = high[j] + low[j]        # both are loaded in any case, see UNMASKED in _sets.py
        totals[j] = high[j] if isinf(high[j]) else total


# lanes_total of every column
cdef inline void total_of_columns(double* high, double* low, Py_ssize_t groups, double* totals,
                                  floating unused) noexcept nogil:
    cdef Py_ssize_t half = LANES // 2, j
    if floating is double:
        exact_sums_of_lanes(high, low, LANES, groups, totals)
    else:
        while half:
            for j in range(half * STRIP):
                high[j] += high[half * STRIP + j]
            half //= 2
        for j in range(STRIP):
            totals[j] = high[j]


# As emit_lanes, with the constants of each column
cdef inline void emit_lanes_of_columns(void* formula, const floating* x, const floating* y, floating* out,
                                       const floating* c) noexcept nogil:
    cdef floating emitted[LANES]
    cdef int j
    for j in range(LANES):
        emitted[j] = entry_of(formula, x[j], y[j], c + j)
    for j in range(LANES):
        out[j] = emitted[j]


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
    cdef floating numbers[CONSTANTS_OF_ROWS]
    cdef const floating* c = numbers
    cdef Py_ssize_t k
    if floating is double:
        c = state.constants
    elif width == STRIP:
        constants_of_rows(state, terms.constants, STRIP, numbers)
    else:
        constants_of_rows(state, terms.constants, (width + LANES - 1) // LANES * LANES, numbers)
    if n <= LANES:
        accumulate_short_columns(terms, x, y, out, n, stride, width, c, state)
    elif terms.light and not terms.stored and width == STRIP and not any_moved(terms, c, width):
        for k in range(STRIP // LANES):
            accumulate_light_columns(terms, x + k * LANES, y + k * LANES, n, stride, c + k * LANES,
                                     state.first + k * LANES)
        for k in range(STRIP):
            state.second[k] = 0
    else:
        accumulate_long_columns(terms, x, y, out, n, stride, width, c, state)


cdef inline void emit_some_columns(void* formula, int constants, const floating* x, const floating* y, floating* out,
                                   Py_ssize_t n, Py_ssize_t stride, Py_ssize_t width,
                                   const StripState* state) noexcept nogil:
    cdef floating c[CONSTANTS_OF_ROWS]
    cdef floating x_end[LANES]
    cdef floating y_end[LANES]
    cdef Py_ssize_t whole = width // LANES * LANES, place, i, j
    constants_of_rows(state, constants, (width + LANES - 1) // LANES * LANES, c)
    for i in range(n):
        for j in range(width // LANES):
            place = i * stride + j * LANES
            emit_lanes_of_columns(formula, x + place, y + place, out + place, c + j * LANES)
        if whole < width:
            place = i * stride + whole
            read_end(x + place, width - whole, x_end)
            read_end(y + place, width - whole, y_end)
            emit_lanes_of_columns(formula, x_end, y_end, x_end, c + whole)
            write_end(x_end, width - whole, out + place)


cdef inline void emit_columns(void* formula, int constants, const floating* x, const floating* y, floating* out,
                              Py_ssize_t n, Py_ssize_t stride, Py_ssize_t width,
                              const StripState* state) noexcept nogil:
    if width == STRIP:                      # as a constant
        emit_some_columns(formula, constants, x, y, out, n, stride, STRIP, state)
    else:
        emit_some_columns(formula, constants, x, y, out, n, stride, width, state)
