"""Masked rows: the steps of a row operation on the entries of each row that take part.

An interval is a shorter row that begins later: the steps run on it where it lies, so that its results have the bits of
the row of these entries alone, and the others are not read.  Rows that need more than that - a mask, a bias, 16-bit
numbers, columns - are copied into memory of the thread first, a strip at a time: there an entry that takes no part is a
number that adds nothing.
"""

cimport numpy as cnp
from cpython.exc cimport PyErr_CheckSignals
from cython.parallel cimport prange
from libc.math cimport INFINITY
from libc.stdint cimport uint16_t, uint32_t, uint64_t
from libc.stdlib cimport free
from libc.string cimport memcpy, memset

from fastact._engine.formats cimport Format, pack_numbers, unpack_numbers
from fastact._engine.rows cimport RowCall, RowOperation
from fastact._engine.runtime cimport (
    GIL_HELD_MAX, SIGNAL_INTERVAL, allocate, end_pass, fastact_enter, fastact_environment, fastact_leave,
    prefetches, start_part, this_processor, threads_for)
from fastact._engine.strips cimport StripCall, run_all_strips, run_strip
from fastact._loops.elementwise cimport CACHE_LINE, LANES, fetch
from fastact._loops.masking cimport bias_addition, biased_selection, selection
from fastact._math.row_state cimport PIECE, SEGMENT, STRIP

cnp.import_array()

cdef enum:
    GATHERED = 1024                 # 16-bit numbers of a column that are gathered at a time
    BLOCK_ROWS = 64                 # rows that a thread takes at a time, at most

# What all threads share
cdef struct Masked:
    const RowCall* call
    const MaskCall* mask
    const Format* format
    StripCall strips                # of one strip, but for what depends on the rows
    selection select
    biased_selection select_biased
    bias_addition add_bias
    bint copied                     # x, and y if it is read
    bint in_place                   # results are stored where the copy of x is ...
    bint direct                     # ... or where they belong
    bint together                   # all threads work on one row
    bint dense                      # rows, mask and bias lie one after the other, so that a strip is copied as one row
    bint fetching                   # rows are contiguous, and the arrays are larger than the cache
    double nanoseconds              # of the whole call on one thread
    uint64_t fill                   # the bits of mask.fill in the format
    Py_ssize_t start, stop, block   # the rows, and how many a thread takes at a time
    Py_ssize_t width                # rows of a strip of copies, at most
    Py_ssize_t room                 # bytes of one array of such a strip

# Memory of a thread
cdef struct Copies:
    char* arrays[3]                 # x, y, out
    char* where                     # a row of each
    char* bias


cdef bint broadcast_to(Broadcast* target, cnp.ndarray array, int ndim, const cnp.npy_intp* shape) noexcept:
    cdef int added = ndim - cnp.PyArray_NDIM(array), last, k
    cdef Py_ssize_t stride
    target.data, target.axes, target.along = <const char*> cnp.PyArray_DATA(array), 0, 0
    if added < 0:
        return False
    for k in range(ndim):
        stride = 0
        if k >= added and cnp.PyArray_DIM(array, k - added) != 1:
            if cnp.PyArray_DIM(array, k - added) != shape[k]:
                return False
            stride = cnp.PyArray_STRIDE(array, k - added)
        last = target.axes - 1
        if k == ndim - 1:
            target.along = stride
        elif shape[k] != 1 and last >= 0 and target.strides[last] == shape[k] * stride:    # one axis with the last
            target.lengths[last] *= shape[k]
            target.strides[last] = stride
        elif shape[k] != 1:
            target.lengths[last + 1], target.strides[last + 1] = shape[k], stride
            target.axes += 1
    return True


cdef inline const char* row_of(const Broadcast* array, Py_ssize_t row, Py_ssize_t begin) noexcept nogil:
    cdef const char* data = array.data + begin * array.along
    cdef int k = array.axes - 1
    while k > 0:
        data += row % array.lengths[k] * array.strides[k]
        row //= array.lengths[k]
        k -= 1
    return data + row * array.strides[0] if array.axes else data


# Whether the rows of n entries lie one after the other
cdef inline bint is_dense(const Broadcast* array, Py_ssize_t n, Py_ssize_t itemsize) noexcept nogil:
    return (array.data == NULL
            or array.along == itemsize and array.axes == 1 and array.strides[0] == n * itemsize)


# Numbers of a row, `distance` bytes apart, side by side
cdef inline void gather(const char* source, Py_ssize_t distance, Py_ssize_t itemsize, char* target,
                        Py_ssize_t n) noexcept nogil:
    cdef Py_ssize_t i
    if distance == itemsize:
        memcpy(target, source, n * itemsize)
    elif itemsize == 1:
        for i in range(n):
            target[i] = source[i * distance]
    elif itemsize == 2:
        for i in range(n):
            (<uint16_t*> target)[i] = (<const uint16_t*> (source + i * distance))[0]
    elif itemsize == 4:
        for i in range(n):
            (<uint32_t*> target)[i] = (<const uint32_t*> (source + i * distance))[0]
    else:
        for i in range(n):
            (<uint64_t*> target)[i] = (<const uint64_t*> (source + i * distance))[0]


cdef inline void scatter(const char* source, char* target, Py_ssize_t distance, Py_ssize_t itemsize,
                         Py_ssize_t n) noexcept nogil:
    cdef Py_ssize_t i
    if distance == itemsize:
        memcpy(target, source, n * itemsize)
    elif itemsize == 2:
        for i in range(n):
            (<uint16_t*> (target + i * distance))[0] = (<const uint16_t*> source)[i]
    elif itemsize == 4:
        for i in range(n):
            (<uint32_t*> (target + i * distance))[0] = (<const uint32_t*> source)[i]
    else:
        for i in range(n):
            (<uint64_t*> (target + i * distance))[0] = (<const uint64_t*> source)[i]


# Numbers of a row of an array as the kernels take them; `target` has room for a multiple of LANES.
cdef void read_row(const Masked* masked, const char* source, char* target, Py_ssize_t n) noexcept nogil:
    cdef uint16_t block[GATHERED]
    cdef Py_ssize_t itemsize = masked.format.itemsize, distance = masked.call.inner * itemsize, start = 0, part
    if masked.format.unpack == NULL:
        gather(source, distance, itemsize, target, n)
    elif masked.call.inner == 1:
        unpack_numbers(masked.format, <const uint16_t*> source, <float*> target, n)
    else:
        while start < n:
            part = min(n - start, GATHERED)
            gather(source + start * distance, distance, itemsize, <char*> block, part)
            unpack_numbers(masked.format, block, <float*> target + start, part)
            start += part


cdef void write_row(const Masked* masked, const char* source, char* target, Py_ssize_t n) noexcept nogil:
    cdef uint16_t block[GATHERED]
    cdef Py_ssize_t itemsize = masked.format.itemsize, distance = masked.call.inner * itemsize, start = 0, part
    if masked.format.pack == NULL:
        scatter(source, target, distance, itemsize, n)
    elif masked.call.inner == 1:
        pack_numbers(masked.format, <const float*> source, <uint16_t*> target, n)
    else:
        while start < n:
            part = min(n - start, GATHERED)
            pack_numbers(masked.format, <const float*> source + start, block, part)
            scatter(<const char*> block, target + start * distance, distance, itemsize, part)
            start += part


# The result of `n` entries that take no part
cdef void fill_row(const Masked* masked, char* target, Py_ssize_t n) noexcept nogil:
    cdef Py_ssize_t itemsize = masked.format.itemsize, inner = masked.call.inner, i
    cdef uint64_t fill = masked.fill
    if fill == 0 and inner == 1:
        memset(target, 0, n * itemsize)
    elif itemsize == 2:
        for i in range(n):
            (<uint16_t*> target)[i * inner] = <uint16_t> fill
    elif itemsize == 4:
        for i in range(n):
            (<uint32_t*> target)[i * inner] = <uint32_t> fill
    else:
        for i in range(n):
            (<uint64_t*> target)[i * inner] = fill


# Where an entry of a row lies in an array of the call
cdef inline char* entry_of(const Masked* masked, char* array, Py_ssize_t row, Py_ssize_t entry) noexcept nogil:
    cdef Py_ssize_t inner = masked.call.inner, n = masked.call.n
    if inner == 1:
        return array + (row * n + entry) * masked.format.itemsize
    return array + (row // inner * n * inner + row % inner + entry * inner) * masked.format.itemsize


cdef inline Py_ssize_t begin_of(const Masked* masked, Py_ssize_t row) noexcept nogil:
    return 0 if masked.mask.begin == NULL else masked.mask.begin[row]


cdef inline Py_ssize_t end_of(const Masked* masked, Py_ssize_t row) noexcept nogil:
    return masked.call.n if masked.mask.end == NULL else masked.mask.end[row]


# The mask of `n` entries of a row, or its bias, side by side; NULL: there is none
cdef inline const char* contiguous_row(const Broadcast* array, Py_ssize_t row, Py_ssize_t begin, Py_ssize_t n,
                                       Py_ssize_t itemsize, char* memory) noexcept nogil:
    cdef const char* data
    if array.data == NULL:
        return NULL
    data = row_of(array, row, begin)
    if array.along == itemsize:
        return data
    gather(data, array.along, itemsize, memory, n)
    return memory


# Copies a row of x (0) or y (1).
cdef void prepare_row(const Masked* masked, const Copies* copies, int array, Py_ssize_t row, Py_ssize_t begin,
                      Py_ssize_t n, char* target) noexcept nogil:
    cdef const MaskCall* mask = masked.mask
    cdef Py_ssize_t size = masked.format.number_size
    cdef const char* source = entry_of(masked, masked.call.y if array else masked.call.x, row, begin)
    cdef const char* where = contiguous_row(&mask.where, row, begin, n, 1, copies.where)
    cdef const char* bias = contiguous_row(&mask.bias, row, begin, n, size, copies.bias)
    if masked.format.unpack != NULL or masked.call.inner != 1:
        read_row(masked, source, target, n)
        source = target
    if bias != NULL and mask.adds_bias:
        masked.add_bias(source, bias, target, n, masked.call.factor, masked.call.factor_low)
        source = target
    elif bias != NULL:
        masked.select_biased(source, bias, target, n, mask.absent[array])
        source = target
    if where != NULL:
        masked.select(source, where, target, n, mask.absent[array])


cdef inline bint is_nan(const Masked* masked, const char* number) noexcept nogil:
    if masked.format.number_size == 4:
        return (<const float*> number)[0] != (<const float*> number)[0]
    return (<const double*> number)[0] != (<const double*> number)[0]


# 1 at the first entry that takes part, if no entry is 1 or NaN
cdef void let_one_win(const Masked* masked, const char* where, char* numbers, Py_ssize_t n) noexcept nogil:
    cdef Py_ssize_t i, first = -1
    cdef bint is_float = masked.format.number_size == 4
    for i in range(n):
        if where != NULL and where[i] == 0:
            continue
        first = i if first < 0 else first
        if ((<float*> numbers)[i] != 0 if is_float else (<double*> numbers)[i] != 0):
            return
    if first >= 0 and is_float:
        (<float*> numbers)[first] = 1
    elif first >= 0:
        (<double*> numbers)[first] = 1


# Overwrites the results of entries that take no part.
cdef void settle_row(const Masked* masked, const Copies* copies, Py_ssize_t row, Py_ssize_t begin, Py_ssize_t n,
                     char* numbers) noexcept nogil:
    cdef const MaskCall* mask = masked.mask
    cdef const char* where
    cdef const char* bias
    cdef bint nan = is_nan(masked, numbers)
    cdef double result
    cdef Py_ssize_t i
    if nan and mask.sinks != NULL and masked.call.results != NULL:
        result = masked.call.results[row]
        if -INFINITY < result < INFINITY:   # nothing but -inf: all of the denominator is the sink
            for i in range(n):
                if masked.format.number_size == 4:
                    (<float*> numbers)[i] = <float> mask.fill
                else:
                    (<double*> numbers)[i] = mask.fill
            return
    if not (nan or mask.always_fills or mask.one_wins):
        return
    where = contiguous_row(&mask.where, row, begin, n, 1, copies.where)
    bias = contiguous_row(&mask.bias, row, begin, n, masked.format.number_size, copies.bias)
    if where != NULL:
        masked.select(numbers, where, numbers, n, mask.fill)
    if bias != NULL:
        masked.select_biased(numbers, bias, numbers, n, mask.fill)
    if mask.one_wins and where != NULL:
        let_one_win(masked, where, numbers, n)


# Rows of equal length, `distance` entries apart from the first one of one to that of the next
cdef void run_strip_of(const Masked* masked, const Copies* copies, Py_ssize_t row, Py_ssize_t width, Py_ssize_t n,
                       Py_ssize_t distance) noexcept nogil:
    cdef StripCall strip = masked.strips
    cdef const RowCall* call = masked.call
    cdef Py_ssize_t begin = begin_of(masked, row), size = masked.format.number_size, j, first
    cdef Py_ssize_t copied = width * n if masked.dense else n
    cdef char* numbers
    strip.n, strip.rows, strip.width, strip.distance = n, width, width, distance
    strip.arrays[0] = copies.arrays[0] if masked.copied else entry_of(masked, call.x, row, begin)
    strip.arrays[1] = strip.arrays[0]
    if call.y != NULL:
        strip.arrays[1] = copies.arrays[1] if masked.copied else entry_of(masked, call.y, row, begin)
    strip.arrays[2] = strip.arrays[0]
    if call.out != NULL and masked.direct:
        strip.arrays[2] = entry_of(masked, call.out, row, begin)
    elif call.out != NULL and not masked.in_place:
        strip.arrays[2] = copies.arrays[2]
    strip.results, strip.scales, strip.sinks = call.results, call.scales, masked.mask.sinks
    if call.results != NULL:
        strip.results += row
    if call.scales != NULL:
        strip.scales += row
    if masked.mask.sinks != NULL:
        strip.sinks += row
    if masked.copied:
        for j in range(1 if masked.dense else width):
            first = begin_of(masked, row + j)
            prepare_row(masked, copies, 0, row + j, first, copied, copies.arrays[0] + j * distance * size)
            if call.y != NULL:
                prepare_row(masked, copies, 1, row + j, first, copied, copies.arrays[1] + j * distance * size)
    if masked.together:
        run_all_strips(&strip, 1, masked.nanoseconds)
    else:
        run_strip(&strip, 0)
    if call.out == NULL:
        return
    for j in range(width):
        first = begin_of(masked, row + j)
        numbers = strip.arrays[2] + j * distance * size
        settle_row(masked, copies, row + j, first, n, numbers)
        if not masked.direct:
            write_row(masked, numbers, entry_of(masked, call.out, row + j, first), n)


# Prefetches the first row that the next strip reads and writes; what is only filled would else wait for memory.
cdef inline void fetch_row(const Masked* masked, Py_ssize_t row) noexcept nogil:
    cdef Py_ssize_t begin = begin_of(masked, row)
    cdef Py_ssize_t bytes = min(end_of(masked, row) - begin, SEGMENT) * masked.format.itemsize
    fetch(entry_of(masked, masked.call.x, row, begin), bytes)
    if masked.call.y != NULL:
        fetch(entry_of(masked, masked.call.y, row, begin), bytes)
    if masked.call.out != NULL and masked.call.out != masked.call.x:
        fetch(entry_of(masked, masked.call.out, row, 0), min(masked.call.n, SEGMENT) * masked.format.itemsize)


# Some rows on the calling thread, in strips of equal ones that are equally far apart
cdef void run_rows(const Masked* masked, const Copies* copies, Py_ssize_t row, Py_ssize_t stop) noexcept nogil:
    cdef Py_ssize_t all_entries = masked.call.n, begin, n, width, limit, step, next_step, k
    while row < stop:
        begin = begin_of(masked, row)
        n = end_of(masked, row) - begin
        width, step = 1, 0
        if n > 0:
            limit = masked.width if masked.copied else min(SEGMENT // n, STRIP) if n < PIECE else 1
            limit = min(limit, stop - row)
            while width < limit and end_of(masked, row + width) - begin_of(masked, row + width) == n:
                next_step = begin_of(masked, row + width) - begin_of(masked, row + width - 1)
                if width == 1:
                    step = next_step
                elif next_step != step:
                    break
                width += 1
            if masked.fetching and row + width < stop:
                fetch_row(masked, row + width)
            run_strip_of(masked, copies, row, width, n, all_entries + step)
        if masked.call.out != NULL and masked.mask.begin != NULL:
            for k in range(row, row + width):
                begin = begin_of(masked, k)
                fill_row(masked, entry_of(masked, masked.call.out, k, 0), begin)
                fill_row(masked, entry_of(masked, masked.call.out, k, begin + n), all_entries - begin - n)
        row += width


# The blocks of one thread: every so many-th
cdef void run_blocks(const Masked* masked, char* memory, int thread, int threads) noexcept nogil:
    cdef fastact_environment callers = fastact_enter()
    cdef Copies copies
    cdef Py_ssize_t row = masked.start + thread * masked.block
    cdef int k
    for k in range(3):
        copies.arrays[k] = memory + k * masked.room
    copies.bias = memory + 3 * masked.room
    copies.where = copies.bias + (masked.call.n + LANES) * masked.format.number_size
    while row < masked.stop:
        run_rows(masked, &copies, row, min(row + masked.block, masked.stop))
        row += threads * masked.block
    fastact_leave(callers)


cdef void run_part(const Masked* masked, char* memory, Py_ssize_t room, int threads) noexcept nogil:
    cdef int k, processor
    if threads > 1:
        processor = this_processor()
        for k in prange(threads, num_threads=threads, schedule="static"):
            start_part(processor)
            run_blocks(masked, memory + k * room, k, threads)
        end_pass()
    else:
        run_blocks(masked, memory, 0, 1)


# The bits of a number that every format has exactly
cdef uint64_t bits_of(const Format* format, double number) noexcept:
    cdef uint64_t bits = 0
    cdef float narrow = <float> number
    if format.pack != NULL:
        pack_numbers(format, &narrow, <uint16_t*> &bits, 1)
    elif format.number_size == 4:
        memcpy(&bits, &narrow, sizeof(float))
    else:
        memcpy(&bits, &number, sizeof(double))
    return bits


cdef int run_masked(RowOperation operation, const RowCall* call, const MaskCall* mask) except -1:
    cdef Masked masked
    cdef Py_ssize_t rows = call.outer * call.inner, entries = call.n, row, room, part
    cdef int kind = 0 if call.format.number_size == 4 else 1, threads
    cdef double work
    cdef void* memory
    cdef char* aligned
    if rows == 0 or entries == 0:
        return 0
    masked.call, masked.mask, masked.format = call, mask, call.format
    masked.select, masked.select_biased = operation.select[kind], operation.select_biased[kind]
    masked.add_bias = operation.add_bias[kind]
    masked.copied = (mask.where.data != NULL or mask.bias.data != NULL or call.format.unpack != NULL
                     or call.inner != 1)
    masked.dense = (call.inner == 1 and mask.begin == NULL and is_dense(&mask.where, entries, 1)
                    and is_dense(&mask.bias, entries, call.format.number_size))
    masked.direct = call.inner == 1 and call.format.unpack == NULL
    masked.in_place = operation.in_place
    masked.fill = bits_of(call.format, mask.fill)
    masked.width = max(min(SEGMENT // entries, STRIP), 1) if entries < PIECE else 1
    masked.strips.steps, masked.strips.count = operation.steps[kind], operation.count
    masked.strips.itemsize, masked.strips.inner, masked.strips.strips = call.format.number_size, 1, 1
    masked.strips.fetching, masked.strips.labels, masked.strips.scale = False, NULL, call.scale
    masked.strips.sink_is_lse = mask.sink_is_lse
    masked.strips.smoothing = masked.strips.z_loss = 0
    masked.strips.alpha = call.alpha
    masked.strips.inputs, masked.strips.inputs_each = NULL, 0
    masked.strips.factor, masked.strips.factor_low = call.factor, call.factor_low
    if mask.adds_bias and mask.bias.data != NULL:       # the factor is in the logits already
        masked.strips.factor, masked.strips.factor_low = 1, 0
    masked.room = (masked.width * entries + LANES) * call.format.number_size
    masked.room = (masked.room + CACHE_LINE - 1) // CACHE_LINE * CACHE_LINE
    room = 3 * masked.room + (entries + LANES) * (call.format.number_size + 1)
    room = ((room if masked.copied else 0) + CACHE_LINE - 1) // CACHE_LINE * CACHE_LINE
    part = max(SIGNAL_INTERVAL // entries, 1)
    work = rows * entries
    if mask.begin != NULL:
        work = 0
        for row in range(rows):
            work += mask.end[row] - mask.begin[row]
    masked.fetching = call.inner == 1 and prefetches(work * 2 * call.format.itemsize)
    masked.nanoseconds = operation.nanoseconds(call.format, work, entries, mask.cost)
    threads = threads_for(masked.nanoseconds)
    masked.together = threads > 1 and rows < 2 * threads and entries >= 2 * SEGMENT
    threads = 1 if masked.together else <int> min(threads, rows)
    masked.block = max(min(rows // (4 * threads), BLOCK_ROWS), 1)
    memory = allocate(threads * room + CACHE_LINE)
    if memory == NULL:
        raise MemoryError(f"fastact: no memory for rows of {entries} numbers")
    aligned = <char*> ((<size_t> memory + CACHE_LINE - 1) // CACHE_LINE * CACHE_LINE)
    try:
        masked.start = 0
        while masked.start < rows:
            masked.stop = min(masked.start + part, rows)
            if masked.stop - masked.start <= GIL_HELD_MAX // entries:
                run_part(&masked, aligned, room, threads)
            else:
                with nogil:
                    run_part(&masked, aligned, room, threads)
            masked.start = masked.stop
            if masked.stop < rows:
                PyErr_CheckSignals()
    finally:
        free(memory)
    return 0
