# Loops over contiguous rows.  A formula of _math/softmax.pxd arrives as a constant and is inlined.
#
# The tree of additions is fixed: 16 lanes, blocks of 128 entries, segments of 4096 that the engine adds.  float32 terms
# are added in pairs as floats and as doubles from there on: what a sum loses beside its largest term is lost in all
# entries.  float64 terms are added in pairs, and the pairs in two parts: in a long row, or beside one large entry, the
# same rounding error repeats and accumulates.

from libc.math cimport NAN, isinf
from libc.stdint cimport INT32_MIN, INT64_MIN, int32_t, int64_t, uint32_t, uint64_t

from fastact._loops.elementwise cimport LANES, STRETCH, fetch_stretch
from fastact._math.primitives cimport (
    fastact_bits_of_double, fastact_bits_of_float, fastact_double_of_bits, fastact_float_of_bits, floating)
from fastact._math.row_state cimport CONSTANTS_OF_ROWS, FLOOR, OFFSET, PIECE, SHIFT, STRIP, StripState
from fastact._math.softmax cimport exp_guarded, recover_pair_error

cdef extern from "_loops/lanes.h" nogil:
    void fastact_read_floats(const float* x, Py_ssize_t n, float* sixteen) noexcept
    void fastact_read_doubles(const double* x, Py_ssize_t n, double* sixteen) noexcept
    void fastact_write_floats(const float* sixteen, Py_ssize_t n, float* out) noexcept
    void fastact_write_doubles(const double* sixteen, Py_ssize_t n, double* out) noexcept
    void fastact_four_of_lanes(const float* lanes, int lines, double* four) noexcept
    void fastact_totals_of_fours(const double* fours, Py_ssize_t rows, double* totals) noexcept

cdef enum:
    LINES = 8               # entries of a lane that are added together
    ROW_BLOCK = 128         # the same for the 16 lanes together

ctypedef float (*float_formula)(float, float, const float*) noexcept nogil
ctypedef double (*double_formula)(double, double, const double*) noexcept nogil
ctypedef float (*float_sums)(float, float, const float*, float*, float*) noexcept nogil
ctypedef double (*double_sums)(double, double, const double*, double*, double*) noexcept nogil

# An accumulation.  All of it is known to the compiler.
cdef struct Terms:
    void* formula
    void* moved             # the version for rows whose maximum is subtracted first; NULL: there is none
    int sums                # 1: of what the formula returns; 2: of what it writes to first and second
    bint stored             # what it returns is written to out
    bint light              # it takes so few operations that it pays to compute and add up in registers
    int constants           # bit k: it reads the constants at k * STRIP


# The formula for one entry, with the constants c of its row
cdef inline floating term(Terms terms, floating x, floating y, const floating* c, floating* first,
                          floating* second) noexcept nogil:
    if floating is float:
        if terms.sums == 1:
            first[0] = (<float_formula> terms.formula)(x, y, c)
            return first[0]
        else:
            return (<float_sums> terms.formula)(x, y, c, first, second)
    else:
        if terms.sums == 1:
            first[0] = (<double_formula> terms.formula)(x, y, c)
            return first[0]
        else:
            return (<double_sums> terms.formula)(x, y, c, first, second)


cdef inline Terms terms_of_moved(Terms terms) noexcept nogil:
    cdef Terms moved
    moved.formula, moved.moved, moved.sums, moved.stored = terms.moved, NULL, terms.sums, terms.stored
    moved.light, moved.constants = terms.light, terms.constants
    return moved


cdef inline floating entry_of(void* formula, floating x, floating y, const floating* c) noexcept nogil:
    if floating is float:
        return (<float_formula> formula)(x, y, c)
    else:
        return (<double_formula> formula)(x, y, c)


# The constants of the rows as numbers of the dtype: one after the other, they would cost more than a short row.
cdef inline void constants_of_rows(const StripState* state, int constants, Py_ssize_t width,
                                   floating* c) noexcept nogil:
    cdef Py_ssize_t k, j
    for k in range(CONSTANTS_OF_ROWS // STRIP):
        if constants >> k & 1 and width == 1:       # without the prologue of a vectorized loop
            c[k * STRIP] = <floating> state.constants[k * STRIP]
        elif constants >> k & 1:
            for j in range(width):
                c[k * STRIP + j] = <floating> state.constants[k * STRIP + j]


# ------------------------------------------------------------------------------------------------------ additions

# How many lines are added in an incomplete block
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
    elif lines == 1:
        add_exactly(high, low, x[0])
    else:
        for line in range(0, lines, 2):
            add_exactly(high, low, x[line * distance] + x[(line + 1) * distance])


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


# The largest entry, or the largest of the negated entries.  A NaN among finite entries is ignored here, and reaches the
# result by the sums.
#
# As signed integers the bits of numbers with a positive sign are in the order of the numbers and above all others;
# those with a negative sign are in the opposite order.  A maximum of integers does not depend on the order of
# comparisons, which lets the compiler use one instruction per vector.
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


# ----------------------------------------------------------------------------------------------------------- rows

# The last entries of a row, n < LANES, and zeros
cdef inline void read_end(const floating* x, Py_ssize_t n, floating* end) noexcept nogil:
    if floating is float:
        fastact_read_floats(x, n, end)
    else:
        fastact_read_doubles(x, n, end)


cdef inline void write_end(const floating* end, Py_ssize_t n, floating* out) noexcept nogil:
    if floating is float:
        fastact_write_floats(end, n, out)
    else:
        fastact_write_doubles(end, n, out)


# Whole lines of LANES numbers, one after the other, so that the compiler writes vectors and no call of memset or memcpy
cdef inline void clear_lines_of_row(floating* x, Py_ssize_t start, Py_ssize_t stop) noexcept nogil:
    cdef Py_ssize_t i
    cdef int j
    for i in range(start // LANES, stop // LANES):
        for j in range(LANES):
            x[i * LANES + j] = 0


cdef inline void copy_lines_of_row(const floating* source, floating* target, Py_ssize_t start,
                                   Py_ssize_t stop) noexcept nogil:
    cdef Py_ssize_t i
    cdef int j
    for i in range(start // LANES, stop // LANES):
        for j in range(LANES):
            target[i * LANES + j] = source[i * LANES + j]


# The terms of each of n entries, n a multiple of LANES: first and second, unless the one sum is of what is stored.
cdef inline void terms_of_stretch(Terms terms, const floating* x, const floating* y, floating* out, Py_ssize_t n,
                                  const floating* c, floating* first, floating* second) noexcept nogil:
    cdef floating stored
    cdef Py_ssize_t i
    if terms.stored and terms.sums == 1:
        for i in range(n // LANES * LANES):
            out[i] = term(terms, x[i], y[i], c, &stored, NULL)
    elif terms.stored:
        for i in range(n // LANES * LANES):
            out[i] = term(terms, x[i], y[i], c, first + i, second + i)
    else:
        for i in range(n // LANES * LANES):
            stored = term(terms, x[i], y[i], c, first + i, second + i)


# The same for a piece; with `fetching` as many entries behind it, the next piece or row, are prefetched.
cdef inline void terms_of_piece(Terms terms, const floating* x, const floating* y, floating* out, bint fetching,
                                Py_ssize_t n, const floating* c, floating* first, floating* second) noexcept nogil:
    cdef Py_ssize_t i = 0, part
    while i < n:
        part = n - i
        if fetching:
            part = part if part < STRETCH else STRETCH
            fetch_stretch(x + n + i)
        terms_of_stretch(terms, x + i, y + i, out + i, part, c, first + i, second + i)
        i += part


# The terms of the last entries, which do not fill a vector, and zeros up to the end of the last line
cdef inline void terms_of_end(Terms terms, const floating* x, const floating* y, floating* out, Py_ssize_t n,
                              Py_ssize_t padded, const floating* c, floating* first, floating* second) noexcept nogil:
    cdef floating x_end[LANES]
    cdef floating y_end[LANES]
    cdef Py_ssize_t i
    if n:
        read_end(x, n, x_end)
        read_end(y, n, y_end)
        for i in range(LANES):
            x_end[i] = term(terms, x_end[i], y_end[i], c, first + i, second + i)
        for i in range(LANES):
            first[i] = first[i] if i < n else <floating> 0
        if terms.sums == 2:
            for i in range(LANES):
                second[i] = second[i] if i < n else <floating> 0
        if terms.stored:
            write_end(x_end, n, out)
    clear_lines_of_row(first, n + LANES - 1, padded)
    if terms.sums == 2:
        clear_lines_of_row(second, n + LANES - 1, padded)


# The term of entry j of a line
cdef inline floating light_term(Terms terms, const floating* x, const floating* y, int j,
                                const floating* c) noexcept nogil:
    cdef floating value
    return term(terms, x[j], y[j], c, &value, NULL)


# The terms of `lines` lines, `distance` apart, added to LANES lanes as add_to_lanes does.  Each lane has the constants
# of the row, or of its column.
cdef inline void add_light_lines(Terms terms, const floating* x, const floating* y, Py_ssize_t distance, int lines,
                                 const floating* c, bint columns, double* high, double* low) noexcept nogil:
    cdef floating summands[LINES]
    cdef int j, line
    for j in range(LANES):
        for line in range(lines):
            summands[line] = light_term(terms, x + line * distance, y + line * distance, j, c + (j if columns else 0))
        add_to_lane(summands, 1, lines, high + j, low + j)


# The terms of whole blocks
cdef inline void add_light_terms(Terms terms, const floating* x, const floating* y, bint fetching, Py_ssize_t n,
                                 const floating* c, double* lanes, double* low) noexcept nogil:
    cdef Py_ssize_t block, i
    for block in range(n // ROW_BLOCK):
        i = block * ROW_BLOCK
        if fetching and i % STRETCH == 0:
            fetch_stretch(x + n + i)
        add_light_lines(terms, x + i, y + i, LANES, LINES, c, False, lanes, low)


# Up to PIECE entries: their terms, for which `summands` has room twice, then the sums, block by block, into the lanes:
# those of both sums, and their low parts.
cdef inline void accumulate_piece(Terms terms, const floating* x, const floating* y, floating* out, bint fetching,
                                  Py_ssize_t n, const floating* c, floating* summands, double* lanes) noexcept nogil:
    cdef floating* first = summands
    cdef floating* second = summands + PIECE
    cdef double* low = lanes + 2 * LANES
    cdef const floating* added = out if terms.stored and terms.sums == 1 else first
    cdef Py_ssize_t whole = n // LANES * LANES, start = n // ROW_BLOCK * ROW_BLOCK, lines = lines_of(n - start), i
    if terms.light and not terms.stored:
        add_light_terms(terms, x, y, fetching, n, c, lanes, low)
        terms_of_stretch(terms, x + start, y + start, out + start, whole - start, c, first + start, second + start)
    else:
        terms_of_piece(terms, x, y, out, fetching, whole, c, first, second)
        for i in range(n // ROW_BLOCK):
            add_to_lanes(added + i * ROW_BLOCK, terms.sums, second + i * ROW_BLOCK, LINES, lanes, low)
    if start == n:
        return
    if terms.stored and terms.sums == 1:
        copy_lines_of_row(out, first, start, whole)
    terms_of_end(terms, x + whole, y + whole, out + whole, n - whole, start + lines * LANES - whole, c, first + whole,
                 second + whole)
    if lines == 1:
        add_to_lanes(first + start, terms.sums, second + start, 1, lanes, low)
    elif lines == 2:
        add_to_lanes(first + start, terms.sums, second + start, 2, lanes, low)
    elif lines == 4:
        add_to_lanes(first + start, terms.sums, second + start, 4, lanes, low)
    else:
        add_to_lanes(first + start, terms.sums, second + start, LINES, lanes, low)


# The last four lanes of one block of floats: the bits of add_to_lanes and lanes_total, without the way through memory.
cdef inline void four_of_block(const float* x, Py_ssize_t lines, double* four) noexcept nogil:
    cdef float pairs[ROW_BLOCK]
    cdef int j, k
    if lines == 1:
        fastact_four_of_lanes(x, 1, four)
        return
    for k in range(lines // 2):
        for j in range(LANES):
            pairs[k * LANES + j] = x[2 * k * LANES + j] + x[(2 * k + 1) * LANES + j]
    four_of_pairs(pairs, lines, four)


cdef inline void four_of_pairs(const float* pairs, Py_ssize_t lines, double* four) noexcept nogil:
    if lines == 2:
        fastact_four_of_lanes(pairs, 1, four)
    elif lines == 4:
        fastact_four_of_lanes(pairs, 2, four)
    else:
        fastact_four_of_lanes(pairs, 4, four)


# The same of light terms that fill the lines, 2 or more
cdef inline void four_of_light_terms(Terms terms, const float* x, const float* y, Py_ssize_t lines, const float* c,
                                     double* four) noexcept nogil:
    cdef float pairs[ROW_BLOCK]
    cdef int j, k
    for k in range(lines // 2):
        for j in range(LANES):
            pairs[k * LANES + j] = (light_term(terms, x + 2 * k * LANES, y + 2 * k * LANES, j, c)
                                    + light_term(terms, x + 2 * k * LANES, y + 2 * k * LANES, j + LANES, c))
    four_of_pairs(pairs, lines, four)


# A row of floats that is one block at most: the last four lanes of its sums
cdef inline void accumulate_short_row(Terms terms, const float* x, const float* y, float* out, Py_ssize_t n,
                                      const float* c, double* first_four, double* second_four) noexcept nogil:
    cdef float first[ROW_BLOCK]
    cdef float second[ROW_BLOCK]
    cdef const float* summands = first
    cdef Py_ssize_t whole = n // LANES * LANES, lines = lines_of(n)
    if terms.light and not terms.stored and n == lines * LANES and lines > 1:
        four_of_light_terms(terms, x, y, lines, c, first_four)
        return
    terms_of_stretch(terms, x, y, out, whole, c, first, second)
    if terms.stored and terms.sums == 1 and n == lines * LANES:
        summands = out
    else:
        if terms.stored and terms.sums == 1:
            copy_lines_of_row(out, first, 0, whole)
        terms_of_end(terms, x + whole, y + whole, out + whole, n - whole, lines * LANES - whole, c, first + whole,
                     second + whole)
    four_of_block(summands, lines, first_four)
    if terms.sums == 2:
        four_of_block(second, lines, second_four)


# The sums of one row, into first[index] and second[index] of the state
cdef inline void accumulate_row(Terms terms, const floating* x, const floating* y, floating* out, Py_ssize_t n,
                                const floating* c, StripState* state, Py_ssize_t index) noexcept nogil:
    cdef floating summands[2 * PIECE]       # here: each inlined copy of accumulate_piece would have its own
    cdef double lanes[4 * LANES]
    cdef Py_ssize_t start = 0, part
    cdef int j
    for j in range(terms.sums * LANES):
        lanes[j] = 0
        lanes[2 * LANES + j] = 0
    while start < n:
        part = n - start if n - start < PIECE else PIECE
        if terms.moved != NULL and c[OFFSET] != 0:
            accumulate_piece(terms_of_moved(terms), x + start, y + start, out + start, state.fetching, part, c,
                             summands, lanes)
        else:
            accumulate_piece(terms, x + start, y + start, out + start, state.fetching, part, c, summands, lanes)
        start += PIECE
    state.first[index] = lanes_total(lanes, lanes + 2 * LANES, c[0])
    state.second[index] = lanes_total(lanes + LANES, lanes + 3 * LANES, c[0]) if terms.sums == 2 else 0


# LANES entries.  None is written before all are computed: otherwise the compiler would test whether arrays overlap.
cdef inline void emit_lanes(void* formula, const floating* x, const floating* y, floating* out,
                            const floating* c) noexcept nogil:
    cdef floating emitted[LANES]
    cdef int j
    for j in range(LANES):
        emitted[j] = entry_of(formula, x[j], y[j], c)
    for j in range(LANES):
        out[j] = emitted[j]


cdef inline void emit_row(void* formula, const floating* x, const floating* y, floating* out, Py_ssize_t n,
                          const floating* c) noexcept nogil:
    cdef floating x_end[LANES]
    cdef floating y_end[LANES]
    cdef Py_ssize_t i, whole = n // LANES * LANES
    for i in range(n // LANES):
        emit_lanes(formula, x + i * LANES, y + i * LANES, out + i * LANES, c)
    if whole < n:
        read_end(x + whole, n - whole, x_end)
        read_end(y + whole, n - whole, y_end)
        emit_lanes(formula, x_end, y_end, x_end, c)
        write_end(x_end, n - whole, out + whole)


# The index of the first entry that equals `value`; n if none does
cdef inline Py_ssize_t index_in_row(const floating* x, Py_ssize_t n, floating value) noexcept nogil:
    cdef Py_ssize_t start = 0, i
    cdef bint found = False
    while n - start >= ROW_BLOCK:           # a whole block is compared as vectors
        for i in range(ROW_BLOCK):
            found |= x[start + i] == value
        if found:
            break
        start += ROW_BLOCK
    for i in range(start, n):
        if x[i] == value:
            return i
    return n


# With the index of the maximum: the entry that the tree of additions pairs with it, `distance` apart each.  x holds
# the exponentials, if they are `stored`.
cdef inline void recover_pair(bint stored, const floating* x, Py_ssize_t n, Py_ssize_t distance, Py_ssize_t index,
                              StripState* state, Py_ssize_t i) noexcept nogil:
    cdef Py_ssize_t partner = index - index % (2 * LANES) + (index + LANES) % (2 * LANES)
    cdef floating e = 0
    if partner < n and stored:
        e = x[partner * distance]
    elif partner < n:
        e = exp_guarded(x[partner * distance] - <floating> state.constants[OFFSET + i], <floating> 0,
                        <floating> state.constants[FLOOR + i], <floating> state.constants[SHIFT + i])
    recover_pair_error(state, i, e)


# --------------------------------------------------------------------------------------------------------- strips

cdef inline void extreme_of_rows(bint negated, const floating* x, Py_ssize_t n, Py_ssize_t stride, Py_ssize_t width,
                                 StripState* state) noexcept nogil:
    cdef Py_ssize_t j
    for j in range(width):
        state.maximum[j] = extreme_of_row(negated, x + j * stride, n)


cdef inline void recover_rows(bint stored, const floating* x, Py_ssize_t n, Py_ssize_t stride, Py_ssize_t width,
                              StripState* state) noexcept nogil:
    cdef Py_ssize_t j, index
    if floating is float:                   # sums of doubles are in two parts until they are rounded once
        for j in range(width):
            if state.dominant[j]:
                index = index_in_row(x + j * stride, n, <floating> (state.peak[j] if stored else state.maximum[j]))
                if index < n:
                    recover_pair(stored, x + j * stride, n, 1, index, state, j)


cdef inline void accumulate_rows(Terms terms, const floating* x, const floating* y, floating* out, Py_ssize_t n,
                                 Py_ssize_t stride, Py_ssize_t width, StripState* state) noexcept nogil:
    cdef floating c[CONSTANTS_OF_ROWS]
    cdef double first_fours[4 * STRIP]
    cdef double second_fours[4 * STRIP]
    cdef bint short = floating is float and n <= ROW_BLOCK
    cdef Py_ssize_t j
    constants_of_rows(state, terms.constants, width, c)
    if floating is float and n == LANES:    # a loop of its own, with a constant length
        for j in range(width):
            if terms.moved == NULL or c[OFFSET + j] == 0:
                accumulate_short_row(terms, x + j * stride, y + j * stride, out + j * stride, LANES, c + j,
                                     first_fours + 4 * j, second_fours + 4 * j)
            else:
                accumulate_short_row(terms_of_moved(terms), x + j * stride, y + j * stride, out + j * stride, LANES,
                                     c + j, first_fours + 4 * j, second_fours + 4 * j)
    for j in range(0 if floating is float and n == LANES else width):
        if floating is float:
            if short and (terms.moved == NULL or c[OFFSET + j] == 0):
                accumulate_short_row(terms, x + j * stride, y + j * stride, out + j * stride, n, c + j,
                                     first_fours + 4 * j, second_fours + 4 * j)
                continue
        accumulate_row(terms, x + j * stride, y + j * stride, out + j * stride, n, c + j, state, j)
        first_fours[4 * j], second_fours[4 * j] = state.first[j], state.second[j]
        first_fours[4 * j + 1] = first_fours[4 * j + 2] = first_fours[4 * j + 3] = 0
        second_fours[4 * j + 1] = second_fours[4 * j + 2] = second_fours[4 * j + 3] = 0
    if short:
        fastact_totals_of_fours(first_fours, width, state.first)
        if terms.sums == 2:
            fastact_totals_of_fours(second_fours, width, state.second)
        for j in range(width if terms.sums == 1 else 0):
            state.second[j] = 0


cdef inline void emit_rows(void* formula, int constants, const floating* x, const floating* y, floating* out,
                           Py_ssize_t n, Py_ssize_t stride, Py_ssize_t width, const StripState* state) noexcept nogil:
    cdef floating c[CONSTANTS_OF_ROWS]
    cdef Py_ssize_t j
    constants_of_rows(state, constants, width, c)
    for j in range(width):
        if n == LANES:                      # a loop of its own, with a constant length
            emit_lanes(formula, x + j * stride, y + j * stride, out + j * stride, c + j)
        else:
            emit_row(formula, x + j * stride, y + j * stride, out + j * stride, n, c + j)
