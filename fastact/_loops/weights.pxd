# What sampling reads of a row: chunks of entries, their weights, the maxima and the sums of its blocks.
#
# A row is divided into blocks, BLOCKS at most.  One pass keeps the maximum of each block, and a later one the sum of
# its weights (_math/sampling.pxd), so that a filter passes over blocks that hold nothing for it, and the index is
# looked for in one block alone.  The blocks depend on the length of the row, and all sums are of doubles in one order.
#
# Strided entries are copied, a chunk at a time; the last chunk of a row is filled up with -inf.  A chunk has 1, 2, 4 or
# LINES lines of a vector's lanes, so that loops over its lines are unrolled.

from libc.math cimport INFINITY

from fastact._loops.elementwise cimport LANES
from fastact._loops.rows cimport LINES, lines_of
from fastact._math.primitives cimport floating
from fastact._math.row_state cimport CONSTANTS_OF_ROWS, FACTOR, FACTOR_LOW, FLOOR, HALF, OFFSET, SHIFT
from fastact._math.sampling cimport weight, weight_with_factor

cdef enum:
    CHUNK = 128             # entries whose weights are computed together
    BLOCKS = 256            # of a row, at most
    SMALLEST_BLOCK = 64
    BINS = 256              # of a histogram
    CANDIDATES_MAX = 512    # entries that are selected from

cdef struct SampledRow:
    const void* x
    Py_ssize_t n
    Py_ssize_t distance     # of two entries
    Py_ssize_t size         # of a block, a multiple of LANES
    Py_ssize_t blocks
    double maximum
    double temperature
    double lowest           # of the entries that stay: a number of the dtype
    bint factor             # (x - m) / T is computed as a product
    const double* constants     # of the weights
    double maxima[BLOCKS]
    double sums[BLOCKS]         # of the weights of each block
    double histogram[2 * BINS]
    void* candidates            # room for CANDIDATES_MAX + CHUNK, twice: entries, and their weights
    void* chunk                 # room for CHUNK, twice: copied entries, and their weights


cdef inline floating* copied_of(const SampledRow* row, floating unused) noexcept nogil:
    return <floating*> row.chunk


cdef inline floating* weights_of(const SampledRow* row, floating unused) noexcept nogil:
    return <floating*> row.chunk + CHUNK


# Up to CHUNK entries, contiguous and filled up to whole lines
cdef inline const floating* entries_of(const SampledRow* row, Py_ssize_t start, Py_ssize_t count,
                                       floating unused) noexcept nogil:
    cdef const floating* x = <const floating*> row.x + start * row.distance
    cdef floating* copied = copied_of(row, unused)
    cdef Py_ssize_t i
    if row.distance == 1 and count == lines_of(count) * LANES:
        return x
    for i in range(count):
        copied[i] = x[i * row.distance]
    for i in range(count, lines_of(count) * LANES):
        copied[i] = <floating> -INFINITY
    return copied


cdef inline Py_ssize_t end_of_block(const SampledRow* row, Py_ssize_t block) noexcept nogil:
    cdef Py_ssize_t end = (block + 1) * row.size
    return end if end < row.n else row.n


cdef inline Py_ssize_t count_of_chunk(Py_ssize_t start, Py_ssize_t end) noexcept nogil:
    return end - start if end - start < CHUNK else CHUNK


# The weights of so many lines of entries
cdef inline void compute_weights(const SampledRow* row, const floating* x, Py_ssize_t lines,
                                 floating* weights) noexcept nogil:
    cdef floating c[CONSTANTS_OF_ROWS]
    cdef floating lowest = <floating> row.lowest
    cdef Py_ssize_t i
    if row.factor:
        c[OFFSET], c[HALF] = <floating> row.constants[OFFSET], <floating> row.constants[HALF]
        c[FACTOR], c[FACTOR_LOW] = <floating> row.constants[FACTOR], <floating> row.constants[FACTOR_LOW]
        for i in range(lines * LANES):
            weights[i] = weight_with_factor(x[i], lowest, c)
    else:
        c[FLOOR], c[SHIFT] = <floating> row.constants[FLOOR], <floating> row.constants[SHIFT]
        for i in range(lines * LANES):
            weights[i] = weight(x[i], lowest, c)


cdef inline double total_of(double* lanes) noexcept nogil:
    cdef int j
    for j in range(8):
        lanes[j] += lanes[j + 8]
    for j in range(4):
        lanes[j] += lanes[j + 4]
    return (lanes[0] + lanes[2]) + (lanes[1] + lanes[3])


cdef inline void add_lines(const floating* weights, int lines, double* lanes) noexcept nogil:
    cdef double sum
    cdef int j, k
    for j in range(LANES):
        sum = weights[j]
        for k in range(1, lines):
            sum += <double> weights[k * LANES + j]
        lanes[j] += sum


# The sums of the weights of all blocks, and of these
cdef inline double sum_weights(SampledRow* row, floating unused) noexcept nogil:
    cdef floating* weights = weights_of(row, unused)
    cdef double lanes[LANES]
    cdef double total = 0
    cdef Py_ssize_t block, start, end, count
    cdef int j, lines
    for block in range(row.blocks):
        row.sums[block] = 0
        if row.maxima[block] < row.lowest:
            continue
        for j in range(LANES):
            lanes[j] = 0
        start, end = block * row.size, end_of_block(row, block)
        while start < end:
            count = count_of_chunk(start, end)
            lines = <int> lines_of(count)
            compute_weights(row, entries_of(row, start, count, unused), lines, weights)
            if lines == 1:
                add_lines(weights, 1, lanes)
            elif lines == 2:
                add_lines(weights, 2, lanes)
            elif lines == 4:
                add_lines(weights, 4, lanes)
            else:
                add_lines(weights, LINES, lanes)
            start += CHUNK
        row.sums[block] = total_of(lanes)
        total += row.sums[block]
    return total


cdef inline void maximum_of_lines(const floating* x, int lines, floating* lanes, floating* strange) noexcept nogil:
    cdef floating most, entry, odd
    cdef int j, k
    for j in range(LANES):
        most = lanes[j]
        odd = strange[j]
        for k in range(lines):
            entry = x[k * LANES + j]
            most = entry if entry > most else most
            odd = odd if entry == entry else <floating> 1
        lanes[j] = most
        strange[j] = odd


# The maxima of all blocks and of the row; false if it holds a NaN
cdef inline bint find_maxima(SampledRow* row, floating unused) noexcept nogil:
    cdef const floating* x
    cdef floating lanes[LANES]
    cdef floating strange[LANES]
    cdef floating maximum, odd = 0
    cdef Py_ssize_t block, start, end, count
    cdef int j, lines
    row.maximum = -INFINITY
    for j in range(LANES):
        strange[j] = 0
    for block in range(row.blocks):
        for j in range(LANES):
            lanes[j] = <floating> -INFINITY
        start, end = block * row.size, end_of_block(row, block)
        while start < end:
            count = count_of_chunk(start, end)
            lines = <int> lines_of(count)
            x = entries_of(row, start, count, unused)
            if lines == 1:
                maximum_of_lines(x, 1, lanes, strange)
            elif lines == 2:
                maximum_of_lines(x, 2, lanes, strange)
            elif lines == 4:
                maximum_of_lines(x, 4, lanes, strange)
            else:
                maximum_of_lines(x, LINES, lanes, strange)
            start += CHUNK
        for j in range(8):
            lanes[j] = lanes[j] if lanes[j] > lanes[j + 8] else lanes[j + 8]
        for j in range(4):
            lanes[j] = lanes[j] if lanes[j] > lanes[j + 4] else lanes[j + 4]
        maximum = lanes[0] if lanes[0] > lanes[1] else lanes[1]
        maximum = lanes[2] if lanes[2] > maximum else maximum
        maximum = lanes[3] if lanes[3] > maximum else maximum
        row.maxima[block] = maximum
        row.maximum = maximum if maximum > row.maximum else row.maximum
    for j in range(LANES):
        odd += strange[j]
    return odd == 0
