"""Row operations: softmax and its relatives on whole arrays, as steps over strips.

Strips of 16-bit numbers are converted to floats in memory of the thread, computed there as strips of floats are, and
converted back once.  Columns are copied there too, several strips at a time, if they are not too long and their lines
lie a multiple of 4096 bytes apart: these compete for the same cache sets, and the processor takes a load from one for a
load of what it has just stored to another.  Columns with other distances are faster in place.  Short rows are
transposed there and computed as columns: a row that does not fill a vector would cost as much as one that does.  Those
of an operation that searches stay rows, since a search takes one row at a time.
"""

cimport numpy as cnp
from cpython.exc cimport PyErr_CheckSignals
from cython.parallel cimport prange
from libc.stdint cimport uint16_t
from libc.stdlib cimport free
from libc.string cimport memcpy

from fastact._engine.formats cimport Format, nanoseconds_in, pack_numbers, unpack_numbers
from fastact._engine.runtime cimport (
    GIL_HELD_MAX, SIGNAL_INTERVAL, allocate, end_pass, fastact_enter, fastact_environment, fastact_leave,
    prefetches, start_part, team, this_processor, threads_for)
from fastact._engine.strips cimport (
    ACCUMULATE, ALWAYS, CONSTANTS, EMIT, EXTREME, IF_DOMINANT, IF_LONG, IF_LONG_AND_DOMINANT, IF_SHORT, PATCH, RECOVER,
    SEARCH, Place, StripCall, place_of, run_all_strips, run_strip)
from fastact._loops.elementwise cimport CACHE_LINE, LANES, fetch, transposition
from fastact._loops.masking cimport bias_addition, biased_selection, selection
from fastact._math.row_state cimport PIECE, SEGMENT, STRIP

cnp.import_array()

cdef enum:
    UNCOPIED_MAX = 1 << 15          # bytes of an array whose columns are computed in place in any case
    COPIED_MAX = 1 << 17            # bytes of columns that a thread copies at a time
    COLLIDING = 1 << 12             # bytes from a line to one that shares its place in the first level of the cache
    TRANSPOSED_MAX = 32             # entries of rows that are transposed and computed as columns
    TRANSPOSED_ROWS = 4             # how many of them at least
    COLUMNS_MAX = 128               # columns copied together
    ON_STACK = 1 << 12              # bytes of copied rows for which the stack has room
    CONVERTED = 1024                # numbers converted at a time where lines are short
    ENTRIES_OF_ROW = 16             # what is done once for a row takes as long as so many of its entries
    ENTRIES_OF_SEARCH = 160         # the same with a search

# A call whose strips are copied: what is copied together is a group of strips.
cdef struct CopyCall:
    const StripCall* call
    const Format* format
    bint reads_y
    bint writes_y
    bint writes
    bint in_place                   # results overwrite the copy of x, so that a row stays in a closer cache
    transposition to_columns        # of rows that are computed as columns, and back; NULL: rows stay rows
    transposition to_rows
    Py_ssize_t room                 # bytes of a group in each array
    Py_ssize_t width                # rows of a group
    Py_ssize_t groups               # of columns, for each index of the outer axes


cdef inline int arrays_of(const CopyCall* copy) noexcept nogil:
    return 1 + (1 if copy.reads_y or copy.writes_y else 0) + (1 if copy.writes and not copy.in_place else 0)


# Whether lines of columns at this distance, or nearly, have the same place in the cache
cdef inline bint collide(Py_ssize_t distance) noexcept nogil:
    return (distance + CACHE_LINE) % COLLIDING <= 2 * CACHE_LINE


# The call for one group in `memory`, which is yet to be filled
cdef StripCall call_on_copy(const CopyCall* copy, const Place* place, char* memory) noexcept nogil:
    cdef StripCall floats = copy.call[0]
    floats.arrays[0] = memory
    floats.arrays[1] = memory + copy.room if copy.reads_y or copy.writes_y else memory
    floats.arrays[2] = memory if copy.in_place else memory + (arrays_of(copy) - 1) * copy.room
    floats.itemsize = copy.format.number_size
    floats.rows = place.width
    floats.inner = 1 if floats.inner == 1 and copy.to_columns == NULL else place.width
    floats.strips = (floats.inner + floats.width - 1) // floats.width
    floats.fetching = False         # they are in the cache
    if floats.results != NULL:
        floats.results += place.first
    if floats.scales != NULL:
        floats.scales += place.first
    if floats.labels != NULL:
        floats.labels += place.first
    if floats.inputs != NULL:
        floats.inputs += place.first * floats.inputs_each
    return floats


cdef inline void copy_line(char* target, const char* source, Py_ssize_t bytes) noexcept nogil:
    if bytes == STRIP * 2:          # of a known length, it is a few instructions
        memcpy(target, source, STRIP * 2)
    elif bytes == STRIP * 4:
        memcpy(target, source, STRIP * 4)
    else:
        memcpy(target, source, bytes)


# Copies lines `start` to `stop` of one array of columns, and prefetches the next columns' part of them.
cdef void copy_columns(const CopyCall* copy, const Place* place, int array, bint writing, char* numbers,
                       Py_ssize_t start, Py_ssize_t stop) noexcept nogil:
    cdef Py_ssize_t width = place.width * copy.format.itemsize, distance = copy.call.inner * copy.format.itemsize
    cdef char* memory = copy.call.arrays[array] + place.offset
    cdef Py_ssize_t k
    for k in range(start, stop):
        if writing:
            copy_line(memory + k * distance, numbers + k * width, width)
        else:
            copy_line(numbers + k * width, memory + k * distance, width)
        if copy.call.fetching:
            fetch(memory + k * distance + width, width)


# Lays the rows of one array side by side, or writes them back.
cdef void transpose_rows(const CopyCall* copy, const Place* place, int array, bint writing,
                         char* numbers) noexcept nogil:
    cdef char* memory = copy.call.arrays[array] + place.offset
    cdef Py_ssize_t n = copy.call.n, count = place.width * n
    cdef float block[STRIP * TRANSPOSED_MAX]
    if copy.format.unpack == NULL and writing:
        copy.to_rows(numbers, memory, place.width, n)
    elif copy.format.unpack == NULL:
        copy.to_columns(memory, numbers, place.width, n)
    elif writing:
        copy.to_rows(numbers, block, place.width, n)
        pack_numbers(copy.format, block, <uint16_t*> memory, count)
    else:
        unpack_numbers(copy.format, <uint16_t*> memory, block, count)
        copy.to_columns(block, numbers, place.width, n)


# Converts one array: of contiguous rows the numbers `start` to `stop`, of columns the lines `start` to `stop`
cdef void convert(const CopyCall* copy, const Place* place, int array, bint writing, float* numbers,
                  Py_ssize_t start, Py_ssize_t stop) noexcept nogil:
    cdef Py_ssize_t distance = copy.call.inner, width = 1 if distance == 1 else place.width, count, line, lines
    cdef uint16_t block[CONVERTED]
    cdef uint16_t* memory = <uint16_t*> (copy.call.arrays[array] + place.offset) + start * distance
    if copy.to_columns != NULL:
        transpose_rows(copy, place, array, writing, <char*> numbers)
        return
    if copy.format.unpack == NULL:
        copy_columns(copy, place, array, writing, <char*> numbers, start, stop)
        return
    numbers += start * width
    while start < stop:
        lines = stop - start
        if distance != width and lines > CONVERTED // width:
            lines = CONVERTED // width
        count = lines * width
        if distance == width and writing:
            pack_numbers(copy.format, numbers, memory, count)
        elif distance == width:
            unpack_numbers(copy.format, memory, numbers, count)
        elif writing:
            pack_numbers(copy.format, numbers, block, count)
            for line in range(lines):
                copy_line(<char*> (memory + line * distance), <char*> (block + line * width), width * sizeof(uint16_t))
        else:
            for line in range(lines):
                copy_line(<char*> (block + line * width), <char*> (memory + line * distance), width * sizeof(uint16_t))
            unpack_numbers(copy.format, block, numbers, count)
        numbers += count
        memory += lines * distance
        start += lines


cdef inline void read_group(const CopyCall* copy, const Place* place, const StripCall* floats, Py_ssize_t start,
                            Py_ssize_t stop) noexcept nogil:
    convert(copy, place, 0, False, <float*> floats.arrays[0], start, stop)
    if copy.reads_y:
        convert(copy, place, 1, False, <float*> floats.arrays[1], start, stop)


cdef inline void write_group(const CopyCall* copy, const Place* place, const StripCall* floats, Py_ssize_t start,
                             Py_ssize_t stop) noexcept nogil:
    if copy.writes:
        convert(copy, place, 2, True, <float*> floats.arrays[2], start, stop)
    if copy.writes_y:
        convert(copy, place, 1, True, <float*> floats.arrays[1], start, stop)


# Groups `start` to `stop` on the calling thread; `memory` is NULL where the stack has room enough.
cdef void run_groups(const CopyCall* copy, Py_ssize_t start, Py_ssize_t stop, char* memory) noexcept nogil:
    cdef char stack[ON_STACK + CACHE_LINE]
    cdef fastact_environment callers = fastact_enter()
    cdef StripCall floats
    cdef Place place
    cdef Py_ssize_t index, places, k
    if memory == NULL:
        memory = <char*> ((<size_t> stack + CACHE_LINE - 1) // CACHE_LINE * CACHE_LINE)
    for index in range(start, stop):
        place = place_of(copy.call, index, copy.width, copy.groups)
        floats = call_on_copy(copy, &place, memory)
        places = place.width * floats.n if floats.inner == 1 else floats.n
        read_group(copy, &place, &floats, 0, places)
        if copy.call.fetching and floats.inner == 1 and places <= SEGMENT:    # the next strip
            fetch(copy.call.arrays[0] + place.offset + places * sizeof(uint16_t), places * sizeof(uint16_t))
            fetch(copy.call.arrays[2] + place.offset + places * sizeof(uint16_t), places * sizeof(uint16_t))
        for k in range(floats.strips):
            run_strip(&floats, k)
        write_group(copy, &place, &floats, 0, places)
    fastact_leave(callers)


# Reads or writes a part of a group on the calling thread.
cdef void convert_part(const CopyCall* copy, const Place* place, const StripCall* floats, bint writing,
                       Py_ssize_t start, Py_ssize_t stop) noexcept nogil:
    cdef fastact_environment callers = fastact_enter()
    if writing:
        write_group(copy, place, floats, start, stop)
    else:
        read_group(copy, place, floats, start, stop)
    fastact_leave(callers)


# One group - a row, or columns - with all threads
cdef void run_group_in_parallel(const CopyCall* copy, Py_ssize_t index, char* memory, int threads,
                                double nanoseconds) noexcept nogil:
    cdef StripCall floats
    cdef Place place
    cdef Py_ssize_t n = copy.call.n, chunk = ((n + threads - 1) // threads + LANES - 1) // LANES * LANES
    cdef int k, processor = this_processor()
    place = place_of(copy.call, index, copy.width, copy.groups)
    floats = call_on_copy(copy, &place, memory)
    for k in prange(threads, num_threads=threads, schedule="static"):
        start_part(processor)
        convert_part(copy, &place, &floats, False, k * chunk, (k + 1) * chunk if (k + 1) * chunk < n else n)
    run_all_strips(&floats, floats.strips, nanoseconds)
    for k in prange(threads, num_threads=threads, schedule="static"):
        start_part(processor)
        convert_part(copy, &place, &floats, True, k * chunk, (k + 1) * chunk if (k + 1) * chunk < n else n)
    end_pass()


# As run_all_strips, on copies; returns -1, with nothing done, where there is no memory.
cdef int run_on_copies(CopyCall* copy, Py_ssize_t outer, double nanoseconds) noexcept nogil:
    cdef const StripCall* call = copy.call
    cdef int threads = threads_for(nanoseconds), k, processor
    cdef Py_ssize_t index, chunk, rows = call.rows if call.inner == 1 else call.inner
    cdef Py_ssize_t count = (rows + copy.width - 1) // copy.width * (1 if call.inner == 1 else outer)
    cdef bint together = threads > 1 and count < 2 * threads and call.n >= 2 * SEGMENT
    cdef void* allocated = NULL
    cdef char* memory = NULL
    cdef Py_ssize_t all_arrays
    copy.groups = (call.inner + copy.width - 1) // copy.width
    copy.room = ((rows if rows < copy.width else copy.width) * call.n + LANES - 1) // LANES * LANES
    copy.room *= copy.format.number_size
    all_arrays = arrays_of(copy) * copy.room
    if all_arrays > ON_STACK:
        allocated = allocate((1 if together else threads) * all_arrays + CACHE_LINE)
        if allocated == NULL:
            return -1
        memory = <char*> ((<size_t> allocated + CACHE_LINE - 1) // CACHE_LINE * CACHE_LINE)
    if together:
        for index in range(count):
            run_group_in_parallel(copy, index, memory, threads, nanoseconds)
    elif threads > 1 and count > 1:
        chunk = (count + threads - 1) // threads
        processor = this_processor()
        for k in prange(threads, num_threads=threads, schedule="static"):
            start_part(processor)
            run_groups(copy, k * chunk, (k + 1) * chunk if (k + 1) * chunk < count else count,
                       NULL if memory == NULL else memory + k * all_arrays)
        end_pass()
    else:
        run_groups(copy, 0, count, memory)
    free(allocated)
    return 0


cdef dict KINDS = {"extreme": EXTREME, "constants": CONSTANTS, "accumulate": ACCUMULATE, "recover": RECOVER,
                   "search": SEARCH, "patch": PATCH, "emit": EMIT}
cdef dict CONDITIONS = {"": ALWAYS, "if long": IF_LONG, "if short": IF_SHORT, "if dominant": IF_DOMINANT,
                        "if long and dominant": IF_LONG_AND_DOMINANT}


cdef class RowOperation:
    """An operation on rows, in every format: its steps with their kernels.

    Parameters
    ----------
    name : str
        Key of `kernels.OPERATIONS`.
    kernels : module
        Of the instruction set in use.
    cost : float
        Nanoseconds per float32 entry on one thread, which decide when a second thread pays.
    """

    def __cinit__(self, str name, kernels, double cost):
        cdef int k, d
        cdef size_t address, back, biased, added
        cdef bint stored = False
        if name not in kernels.OPERATIONS:
            raise ValueError(f"fastact: {name} has no compiled steps; write a comment `Steps of {name}` into "
                             f"fastact/_math/softmax.pxd or softmax_losses.pxd, and build again (python setup.py "
                             f"build_ext --inplace)")
        operation = kernels.OPERATIONS[name]
        self.cost = cost
        self.count = len(operation)
        assert self.count <= STEPS, f"{name} has {self.count} steps: write a larger STEPS into fastact/_engine/rows.pxd"
        self.in_place = True
        self.searches = any([kind == "search" for kind, *_ in operation])
        self.writes_y = any([target == "y" for *_, target in operation])
        for k, (kind, function, read, condition, target) in enumerate(operation):
            self.in_place = self.in_place and not (stored and "x" in read)
            stored = stored or function.endswith(".store") or kind == "emit"
            arrays = [("x", "y", "out").index(array) for array in read] + [0, 0]
            for d, dtype in enumerate(("float", "double")):
                self.steps[d][k].kind, self.steps[d][k].condition = KINDS[kind], CONDITIONS[condition]
                address = kernels.KERNELS[f"rows.{function}.{dtype}"]
                self.steps[d][k].rows = <void*> address
                address = kernels.KERNELS.get(f"columns.{function}.{dtype}", 0)
                self.steps[d][k].columns = <void*> address
                self.steps[d][k].x, self.steps[d][k].y = arrays[:2]
                self.steps[d][k].target = ("x", "y", "out").index(target)
        for d, dtype in enumerate(("float", "double")):
            address, biased, added = kernels.MASKING[dtype]
            self.select[d], self.select_biased[d] = <selection> address, <biased_selection> biased
            self.add_bias[d] = <bias_addition> added
            address, back = kernels.TRANSPOSITIONS[dtype]
            self.to_columns[d], self.to_rows[d] = <transposition> address, <transposition> back

    cdef int run(self, const RowCall* call) except -1:
        cdef Py_ssize_t size = call.outer * call.n * call.inner
        if size == 0:                           # there may be more rows than a loop could ever count
            return 0
        if size > SIGNAL_INTERVAL and call.outer > 1:
            return self.run_in_parts(call)
        return self.run_at_once(call, size)

    cdef int run_at_once(self, const RowCall* call, Py_ssize_t size) except -1:
        cdef int failed
        if size <= GIL_HELD_MAX:
            failed = self.compute(call, size)
        else:
            with nogil:
                failed = self.compute(call, size)
        if failed:
            raise MemoryError(f"fastact: no memory for rows of {call.n} numbers as float32")
        return 0

    # Nanoseconds of so many entries in rows of n, each of which costs so much more, on one thread
    cdef double nanoseconds(self, const Format* format, double entries, Py_ssize_t n, double more) noexcept nogil:
        cdef double of_row = ENTRIES_OF_SEARCH if self.searches else ENTRIES_OF_ROW
        return entries * nanoseconds_in(format, self.cost + more) * (1 + of_row / n)

    # A call of `size` entries, which are not none.  Returns -1, with nothing written, where there is no memory.
    cdef int compute(self, const RowCall* call, Py_ssize_t size) noexcept nogil:
        cdef StripCall strips
        cdef CopyCall copy
        cdef const Format* format = call.format
        cdef Py_ssize_t count, n = call.n, outer = call.outer, inner = call.inner
        cdef int kind = 0 if format.number_size == 4 else 1
        cdef double nanoseconds = self.nanoseconds(format, size, n, 0)
        cdef int failed = 0
        cdef Py_ssize_t copied_max, groups_min
        cdef bint copied
        if n == 1 and inner == 1:               # rows of one entry are columns as they are
            outer, inner = 1, outer
        strips.steps = self.steps[kind]
        strips.count = self.count
        strips.itemsize = format.itemsize
        # Steps receive three addresses.  One that they do not use is any that is valid for as many entries.
        strips.arrays[0] = call.x
        strips.arrays[1] = call.x if call.y == NULL else call.y
        strips.arrays[2] = call.x if call.out == NULL else call.out
        strips.n, strips.inner, strips.rows, strips.distance = n, inner, outer * inner, n
        strips.width = STRIP if inner != 1 else min(SEGMENT // n, STRIP) if n < PIECE else 1
        strips.strips = (inner + strips.width - 1) // strips.width
        strips.fetching = prefetches(size * 2 * format.itemsize)
        strips.results, strips.scales, strips.labels = call.results, call.scales, call.labels
        strips.inputs, strips.inputs_each = call.inputs, call.inputs_each
        strips.scale, strips.factor, strips.factor_low = call.scale, call.factor, call.factor_low
        strips.smoothing, strips.z_loss, strips.alpha = call.smoothing, call.z_loss, call.alpha
        strips.sinks = NULL                     # the masked rows alone have sinks
        count = outer * strips.strips if inner != 1 else (outer + strips.width - 1) // strips.width
        copy.call, copy.format = &strips, format
        copy.reads_y, copy.writes, copy.in_place = call.y != NULL and not self.writes_y, call.out != NULL, self.in_place
        copy.writes_y = self.writes_y
        copy.to_columns = copy.to_rows = NULL
        if (inner == 1 and n <= TRANSPOSED_MAX and outer >= TRANSPOSED_ROWS and (kind == 1 or n % LANES != 0)
                and not self.searches):
            copy.to_columns, copy.to_rows = self.to_columns[kind], self.to_rows[kind]
        copy.width = COLUMNS_MAX if inner != 1 or copy.to_columns != NULL else strips.width
        copied_max = COPIED_MAX if inner != 1 else ON_STACK
        groups_min = 2 * team()
        while copy.width > strips.width and (
                arrays_of(&copy) * n * copy.width * format.number_size > copied_max
                or outer * inner // copy.width < groups_min):
            copy.width //= 2
        copied = format.unpack != NULL or copy.to_columns != NULL or (
            inner != 1 and size * format.itemsize > UNCOPIED_MAX and collide(inner * format.itemsize)
            and arrays_of(&copy) * n * min(inner, copy.width) * format.number_size <= COPIED_MAX)
        if copied:
            failed = run_on_copies(&copy, outer, nanoseconds)
        if failed and format.unpack == NULL:    # no memory for a copy: in place, then
            copied = failed = False
        if not copied:
            run_all_strips(&strips, count, nanoseconds)
        return failed

    # So many rows at a time that Ctrl-C ends the call soon; it leaves the rest unwritten.
    cdef int run_in_parts(self, const RowCall* call) except -1:
        cdef RowCall part = call[0]
        cdef Py_ssize_t rows = max(SIGNAL_INTERVAL // (call.n * call.inner), 1), left = call.outer
        cdef Py_ssize_t entries = rows * call.n * call.inner * call.format.itemsize
        while left:
            part.outer = min(rows, left)
            self.run_at_once(&part, part.outer * part.n * part.inner)
            left -= part.outer
            part.x += entries
            part.y += entries if part.y != NULL else 0
            part.out += entries if part.out != NULL else 0
            part.results += rows * call.inner if part.results != NULL else 0
            part.scales += rows * call.inner if part.scales != NULL else 0
            part.labels += rows * call.inner if part.labels != NULL else 0
            part.inputs += rows * call.inner * call.inputs_each if part.inputs != NULL else 0
            PyErr_CheckSignals()
        return 0

    def apply(self, cnp.ndarray x not None, tuple shape, *, cnp.ndarray y=None, cnp.ndarray out=None,
              cnp.ndarray results=None, cnp.ndarray labels=None, double scale=1, cnp.ndarray scales=None,
              tuple numbers=(1, 0, 0, 0, 1), cnp.ndarray inputs=None):
        """Run the operation on plain arrays of the shape [outer, n, inner] and of one dtype.

        `results`, `scales` (float64) and `labels` (intp) have the shape [outer, inner]; `scales` replace `scale`. The
        `numbers` are the factor of x, its low part, the label smoothing, the weight of the z-loss and the alpha of
        entmax. `inputs` (float64) have one axis more, of the numbers that each row is given.
        """
        cdef RowCall call = row_call(x, shape[0], shape[1], shape[2])
        call.y, call.out, call.results, call.scale = data_of(y), data_of(out), <double*> data_of(results), scale
        call.labels, call.scales = <const cnp.npy_intp*> data_of(labels), <const double*> data_of(scales)
        call.factor, call.factor_low, call.smoothing, call.z_loss, call.alpha = numbers
        if inputs is not None:
            call.inputs, call.inputs_each = <const double*> data_of(inputs), cnp.PyArray_DIM(inputs, inputs.ndim - 1)
        self.run(&call)
