# An index drawn from the softmax of each row.
#
# The filters do not sort.  top_k and top_p are one task: the largest number from which the weights add up to a target,
# where the weights are 1 or the exponentials.  The number is an entry between two bounds, which come closer by division
# at a number between them: the sum of the weights from there up decides which bound moves.  Where the entries between
# the bounds are few they are copied; of many, a histogram of the exponentials brings the bounds closer first.
#
# The index depends on nothing but the row and the numbers that it is sampled with.

from libc.math cimport INFINITY

from fastact._loops.elementwise cimport LANES
from fastact._loops.rows cimport LINES, lines_of
from fastact._loops.weights cimport (
    BINS, BLOCKS, CANDIDATES_MAX, CHUNK, SMALLEST_BLOCK, SampledRow, add_lines, compute_weights, count_of_chunk,
    end_of_block, entries_of, find_maxima, sum_weights, total_of, weights_of)
from fastact._math.primitives cimport floating
from fastact._math.row_state cimport StripState
from fastact._math.sampling cimport (
    HOLDS_INFINITY, HOLDS_NAN, LOG_MIN_P, NOTHING_LEFT, REQUEST, TEMPERATURE, TOP_K, TOP_P, UNIFORM, between,
    has_factor, log_of_nothing, log_of_share, not_below, prepare_weights, temperature_of)
from fastact._math.softmax cimport row_guard_scale


# ------------------------------------------------------------------------------------------------------------- filters

# Copies the entries from `low` to `high`; if they are more than CANDIDATES_MAX, some of them.  Returns how many.
cdef inline Py_ssize_t copy_between(const SampledRow* row, floating low, floating high) noexcept nogil:
    cdef floating* candidates = <floating*> row.candidates
    cdef const floating* x
    cdef Py_ssize_t block, start, end, count, i, found = 0
    cdef int j, hits
    for block in range(row.blocks):
        if row.maxima[block] < low:
            continue
        start, end = block * row.size, end_of_block(row, block)
        while start < end:
            count = count_of_chunk(start, end)
            x = entries_of(row, start, count, low)
            for i in range(lines_of(count)):
                hits = 0
                for j in range(LANES):
                    hits |= (x[i * LANES + j] >= low) & (x[i * LANES + j] <= high)
                if not hits:
                    continue
                for j in range(LANES):
                    candidates[found] = x[i * LANES + j]
                    found += (x[i * LANES + j] >= low) & (x[i * LANES + j] <= high)
                if found > CANDIDATES_MAX:
                    return found
            start += CHUNK
    return found


# A search for the largest number from which the weights of the entries add up to a target
cdef struct Search:
    double target
    double above            # the sum of the weights above the upper bound
    double within           # the same from the lower bound up
    bint counted            # all weights are 1

# The entries divided at a number, in lanes of floating numbers: the least of those from it up, the most of those below
# it.  The sums of the weights of those from it up are in lanes of doubles.
cdef enum:
    LEAST = 0
    MOST = LANES


cdef inline void divide_lines(const floating* x, int lines, floating number, floating* lanes) noexcept nogil:
    cdef floating entry, upper, lower, least, most
    cdef int j, k
    for j in range(LANES):
        least = lanes[LEAST + j]
        most = lanes[MOST + j]
        for k in range(lines):
            entry = x[k * LANES + j]
            upper = entry if entry >= number else <floating> INFINITY
            lower = entry if entry < number else <floating> -INFINITY
            least = upper if upper < least else least
            most = lower if lower > most else most
        lanes[LEAST + j] = least
        lanes[MOST + j] = most


# Divides a chunk.  `taken` has room for one: the weights of the entries from the number up.
cdef inline void divide(const floating* x, const floating* weights, int lines, floating number, floating* taken,
                        double* sums, floating* lanes) noexcept nogil:
    cdef floating one
    cdef Py_ssize_t i
    if weights == NULL:
        for i in range(lines * LANES):
            taken[i] = <floating> 1 if x[i] >= number else <floating> 0
    else:
        for i in range(lines * LANES):
            one = <floating> 1 if x[i] >= number else <floating> 0
            taken[i] = weights[i] * one
    if lines == 1:
        add_lines(taken, 1, sums)
        divide_lines(x, 1, number, lanes)
    elif lines == 2:
        add_lines(taken, 2, sums)
        divide_lines(x, 2, number, lanes)
    elif lines == 4:
        add_lines(taken, 4, sums)
        divide_lines(x, 4, number, lanes)
    else:
        add_lines(taken, LINES, sums)
        divide_lines(x, LINES, number, lanes)


cdef inline void clear(double* sums, floating* lanes) noexcept nogil:
    cdef int j
    for j in range(LANES):
        sums[j] = 0
        lanes[LEAST + j] = <floating> INFINITY
        lanes[MOST + j] = <floating> -INFINITY


# One step of a search: a bound moves to the entry beside the number where the entries are divided.  False if none is
# left.  `above` is the sum of the weights that are not in the lanes.
cdef inline bint move_bound(Search* search, double* sums, const floating* lanes, double above, floating* low,
                            floating* high) noexcept nogil:
    cdef floating least = <floating> INFINITY, most = <floating> -INFINITY
    cdef double sum = above + total_of(sums)
    cdef int j
    for j in range(LANES):
        least = lanes[LEAST + j] if lanes[LEAST + j] < least else least
        most = lanes[MOST + j] if lanes[MOST + j] > most else most
    if sum >= search.target:
        low[0] = least
        search.within = sum
        return True
    high[0] = most
    search.above = sum
    return most >= low[0]


# One step of a search in the whole row
cdef inline bint divide_row(SampledRow* row, Search* search, bint by_order, floating* low,
                            floating* high) noexcept nogil:
    cdef double sums[LANES]
    cdef floating lanes[2 * LANES]
    cdef floating* weights = weights_of(row, low[0])
    cdef floating number = between(low[0], high[0], by_order)
    cdef const floating* x
    cdef Py_ssize_t block, start, end, count
    clear(sums, lanes)
    for block in range(row.blocks):
        if row.maxima[block] < low[0]:
            continue
        start, end = block * row.size, end_of_block(row, block)
        while start < end:
            count = count_of_chunk(start, end)
            x = entries_of(row, start, count, number)
            if search.counted:
                divide(x, NULL, <int> lines_of(count), number, weights, sums, lanes)
            else:
                compute_weights(row, x, lines_of(count), weights)
                divide(x, weights, <int> lines_of(count), number, weights, sums, lanes)
            start += CHUNK
    return move_bound(search, sums, lanes, 0, low, high)


# The number that is looked for among `count` candidates: all entries between the bounds
cdef inline floating divide_candidates(SampledRow* row, Py_ssize_t count, Search* search, floating low,
                                       floating high) noexcept nogil:
    cdef double sums[LANES]
    cdef floating lanes[2 * LANES]
    cdef floating* x = <floating*> row.candidates
    cdef floating* weights = x + CANDIDATES_MAX + CHUNK
    cdef floating* taken = weights_of(row, low)
    cdef double above = search.above
    cdef Py_ssize_t start, filled = (count + CHUNK - 1) // CHUNK * CHUNK
    cdef int lines
    cdef bint by_order = False
    cdef floating number
    for start in range(count, filled):
        x[start] = <floating> -INFINITY
    if not search.counted:
        compute_weights(row, x, filled // LANES, weights)
    while low < high:
        number = between(low, high, by_order)
        clear(sums, lanes)
        start = 0
        while start < count:
            lines = <int> lines_of(count_of_chunk(start, count))
            divide(x + start, NULL if search.counted else weights + start, lines, number, taken, sums, lanes)
            start += CHUNK
        if not move_bound(search, sums, lanes, above, &low, &high):
            return low
        by_order = not by_order
    return low


# The index of the bin of an entry below `high`
cdef inline int bin_of(floating x, floating high, floating bins) noexcept nogil:
    cdef floating distance = (high - x) * bins
    return <int> (distance if distance < BINS - 1 else <floating> (BINS - 1))


# Of a search by exponentials: the bounds move to those of the entries of one bin of a histogram that divides the range
# evenly.
cdef inline void narrow(SampledRow* row, Search* search, floating* low, floating* high) noexcept nogil:
    cdef floating* weights = weights_of(row, low[0])
    cdef const floating* x
    cdef floating top = high[0], bottom = low[0], bins = BINS / (high[0] - low[0])
    cdef int indices[CHUNK]
    cdef floating least[LANES]
    cdef floating most[LANES]
    cdef floating entry, upper, lower
    cdef Py_ssize_t block, start, end, count, i, found = 0
    cdef double sum
    cdef int j
    for i in range(2 * BINS):
        row.histogram[i] = 0
    for block in range(row.blocks):
        if row.maxima[block] < bottom:
            continue
        start, end = block * row.size, end_of_block(row, block)
        while start < end:
            count = count_of_chunk(start, end)
            x = entries_of(row, start, count, top)
            count = lines_of(count)
            compute_weights(row, x, count, weights)
            for i in range(count * LANES):
                indices[i] = bin_of(x[i], top, bins)
            for i in range(count * LANES // 2):     # two histograms: an addition does not wait for the one before it
                row.histogram[indices[2 * i]] += weights[2 * i]
                row.histogram[BINS + indices[2 * i + 1]] += weights[2 * i + 1]
            start += CHUNK
    while found < BINS - 1:
        sum = row.histogram[found] + row.histogram[BINS + found]
        if search.above + sum >= search.target:
            break
        search.above += sum
        found += 1
    for j in range(LANES):
        least[j], most[j] = top, bottom
    for block in range(row.blocks):
        if row.maxima[block] < bottom:
            continue
        start, end = block * row.size, end_of_block(row, block)
        while start < end:
            count = count_of_chunk(start, end)
            x = entries_of(row, start, count, top)
            for i in range(lines_of(count)):
                for j in range(LANES):
                    entry = x[i * LANES + j]
                    upper = entry if bin_of(entry, top, bins) <= found and entry >= bottom else top
                    lower = entry if bin_of(entry, top, bins) >= found else bottom
                    least[j] = upper if upper < least[j] else least[j]
                    most[j] = lower if lower > most[j] else most[j]
            start += CHUNK
    for j in range(LANES):
        low[0] = least[j] if j == 0 or least[j] < low[0] else low[0]
        high[0] = most[j] if j == 0 or most[j] > high[0] else high[0]


# The number that is looked for, or `low` if all weights from there up are less than the target.  It is not below `low`,
# and `high` is the maximum.
cdef inline floating number_sought(SampledRow* row, Search* search, floating low, floating high) noexcept nogil:
    cdef Py_ssize_t found = copy_between(row, low, high)
    cdef bint by_order = False
    search.above, search.within = 0, row.n
    # Of a range of these sizes the bins have one that is a number: no product with it is NaN.
    if found > CANDIDATES_MAX and not search.counted and 1e-30 < high - low < 1e30:
        narrow(row, search, &low, &high)
        found = copy_between(row, low, high)
    while found > CANDIDATES_MAX and low < high:
        if not divide_row(row, search, by_order, &low, &high):
            return low
        by_order = not by_order
        if not search.counted or search.within - search.above <= CANDIDATES_MAX:
            found = copy_between(row, low, high)
    return divide_candidates(row, found, search, low, high) if low < high else low


# The k-th largest entry.  Of k blocks each holds an entry that is at least the k-th largest maximum.
cdef inline floating kth_largest(SampledRow* row, double k, floating unused) noexcept nogil:
    cdef floating* candidates = <floating*> row.candidates
    cdef floating low = <floating> row.lowest, high = <floating> row.maximum
    cdef Search search
    cdef Py_ssize_t block
    search.target, search.above, search.counted = k, 0, True
    if k <= row.blocks and row.blocks > 1:
        for block in range(row.blocks):
            candidates[block] = <floating> row.maxima[block]
        low = divide_candidates(row, row.blocks, &search, low, high)
    return number_sought(row, &search, low, high)


# The lowest of the largest entries that have the share p of the weights.  Entries below (1 - p) / n of the sum have
# less than the rest all together; 2 is more than the logarithm of the factor that the weights of a row have.
cdef inline floating lowest_of_share(SampledRow* row, double p, double total, floating unused) noexcept nogil:
    cdef double rest = (1 - p) * total / row.n * <double> row_guard_scale(unused)
    cdef floating low = <floating> row.lowest, high = <floating> row.maximum
    cdef floating bound = not_below(row.maximum + row.temperature * (log_of_share(rest) - 2), unused)
    cdef Search search
    search.target, search.counted = p * total, False
    if not search.target > 0:
        return high
    return number_sought(row, &search, bound if bound > low else low, high)


# -------------------------------------------------------------------------------------------------------------- index

# The first entry that equals the maximum
cdef inline Py_ssize_t index_of_maximum(const SampledRow* row, floating unused) noexcept nogil:
    cdef const floating* x = <const floating*> row.x
    cdef Py_ssize_t block = 0, i
    while row.maxima[block] != row.maximum:
        block += 1
    i = block * row.size
    while x[i * row.distance] != <floating> row.maximum:
        i += 1
    return i


# The first index at which the sum of the weights exceeds `target`; the last one with a weight, if rounding leaves the
# sum short of it.
cdef inline Py_ssize_t index_of_target(const SampledRow* row, double target, floating unused) noexcept nogil:
    cdef floating* weights = weights_of(row, unused)
    cdef double before = 0, total = 0
    cdef Py_ssize_t block, found = 0, index = 0, start, end, count, i
    for block in range(row.blocks):
        if row.sums[block] > 0:
            found, before = block, total
            total += row.sums[block]
            if total > target:
                break
    start, end = found * row.size, end_of_block(row, found)
    while start < end:
        count = count_of_chunk(start, end)
        if row.n > CHUNK:                   # else they are what has been added
            compute_weights(row, entries_of(row, start, count, unused), lines_of(count), weights)
        for i in range(count):
            if weights[i] > 0:
                index = start + i
                before += weights[i]
                if before > target:
                    return index
        start += CHUNK
    return index


# An index, or why there is none
cdef inline Py_ssize_t sampled_index(SampledRow* row, const double* request, StripState* state, Py_ssize_t i,
                                     floating unused) noexcept nogil:
    cdef double total = 0
    cdef floating lowest
    if not find_maxima(row, unused):
        return HOLDS_NAN
    if row.maximum == INFINITY:
        return HOLDS_INFINITY
    if row.maximum == -INFINITY:
        return NOTHING_LEFT
    if request[TEMPERATURE] == 0:
        return index_of_maximum(row, unused)
    row.factor = has_factor(row.maximum, request[TEMPERATURE], unused)
    row.temperature = temperature_of(row.maximum, request[TEMPERATURE], unused)
    row.constants = state.constants + i
    state.maximum[i] = row.maximum
    prepare_weights(state, i, row.temperature, row.factor, unused)
    row.lowest = not_below(row.maximum + row.temperature * log_of_nothing(), unused)
    if request[TOP_K] < row.n:
        row.lowest = kth_largest(row, request[TOP_K], unused)
    if request[TOP_P] < 1:
        total = sum_weights(row, unused)
        row.lowest = lowest_of_share(row, request[TOP_P], total, unused)
    if request[LOG_MIN_P] > -INFINITY:
        lowest = not_below(row.maximum + row.temperature * request[LOG_MIN_P], unused)
        row.lowest = lowest if lowest > row.lowest else row.lowest
    return index_of_target(row, request[UNIFORM] * sum_weights(row, unused), unused)


# Steps of sample:
#   search_sample of x

# Row i of a strip, whose entries are `distance` apart; the result is the index, or why there is none.
cdef inline void search_sample(const floating* x, Py_ssize_t n, Py_ssize_t distance, StripState* state,
                               Py_ssize_t i) noexcept nogil:
    cdef SampledRow row
    cdef floating candidates[2 * (CANDIDATES_MAX + CHUNK)]
    cdef floating chunk[2 * CHUNK]
    cdef floating unused = 0
    row.x, row.n, row.distance = x, n, distance
    row.candidates, row.chunk = candidates, chunk
    row.size = (n + BLOCKS * SMALLEST_BLOCK - 1) // (BLOCKS * SMALLEST_BLOCK) * SMALLEST_BLOCK
    if n <= CHUNK:                          # one block, which is copied at most once
        row.x = entries_of(&row, 0, n, unused)
        row.n = row.size = lines_of(n) * LANES
        row.distance = 1
    row.blocks = (row.n + row.size - 1) // row.size
    state.result[i] = sampled_index(&row, state.inputs + i * REQUEST, state, i, unused)
