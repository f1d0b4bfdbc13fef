"""Exact sums over axes of an array, each rounded once: the result depends on no order, layout or number of threads."""

cimport numpy as cnp
from cython.parallel cimport prange
from libc.stdint cimport uint64_t
from libc.stdlib cimport free

from fastact._engine.runtime cimport (
    allocate, end_pass, fastact_enter, fastact_environment, fastact_leave, start_part, this_processor, threads_for)
from fastact._engine.strided cimport copy_elements
from fastact._loops.sums cimport fastact_sum, fastact_sum_add, fastact_sum_rounded, fastact_sum_start, sum_block

cnp.import_array()

cdef sum_block loops[2]             # of float and double


def set_sums(dict addresses):
    """Set the loops that add numbers: the table SUMS of the instruction set in use."""
    cdef size_t address
    cdef int k
    for k, name in enumerate(("float", "double")):
        address = addresses[name]
        loops[k] = <sum_block> address


cdef enum:
    COLUMNS = 16                    # summed together: a cache line of floats
    LINES = 128                     # copied at a time

# One call: sums over the first and the last axis
cdef struct SumCall:
    sum_block add
    const char* numbers             # [outer, kept, inner]
    Py_ssize_t itemsize
    Py_ssize_t outer
    Py_ssize_t kept
    Py_ssize_t inner
    Py_ssize_t width                # sums that are computed together
    double* results                 # one for each kept index
    uint64_t divisor


# Sums of columns: some lines at a time are copied so that each column is contiguous.
cdef void sum_columns(const SumCall* call, Py_ssize_t start, Py_ssize_t stop, Py_ssize_t first, Py_ssize_t width,
                      fastact_sum* totals) noexcept nogil:
    cdef double columns[COLUMNS * LINES]
    cdef const char* numbers
    cdef Py_ssize_t itemsize = call.itemsize, distance = call.kept * call.itemsize, j, lines
    while start < stop:
        lines = stop - start if stop - start < LINES else LINES
        numbers = call.numbers + (start * call.kept + first) * itemsize
        for j in range(width):
            copy_elements(<char*> columns + j * LINES * itemsize, itemsize, numbers + j * itemsize, distance, lines,
                          itemsize)
            call.add(&totals[j], <char*> columns + j * LINES * itemsize, lines)
        start += lines


# Adds the outer indices `start` to `stop` of `width` sums, from `first` on.
cdef void sum_part(const SumCall* call, Py_ssize_t start, Py_ssize_t stop, Py_ssize_t first, Py_ssize_t width,
                   fastact_sum* totals) noexcept nogil:
    cdef fastact_environment callers = fastact_enter()
    cdef const char* numbers
    cdef Py_ssize_t j, k
    for j in range(width):
        fastact_sum_start(&totals[j])
    if call.kept == 1 and start < stop:
        call.add(totals, call.numbers + start * call.inner * call.itemsize, (stop - start) * call.inner)
    elif call.inner == 1:
        sum_columns(call, start, stop, first, width, totals)
    else:
        for k in range(start, stop):
            numbers = call.numbers + (k * call.kept + first) * call.inner * call.itemsize
            for j in range(width):
                call.add(&totals[j], numbers + j * call.inner * call.itemsize, call.inner)
    fastact_leave(callers)


cdef void round_sums(const SumCall* call, Py_ssize_t first, Py_ssize_t width, const fastact_sum* totals) noexcept nogil:
    cdef fastact_environment callers = fastact_enter()
    cdef Py_ssize_t j
    for j in range(width):
        call.results[first + j] = fastact_sum_rounded(&totals[j], call.divisor)
    fastact_leave(callers)


# Many sums: each thread computes some of them.  Few: all threads compute parts of the same one.
cdef void run_sums(const SumCall* call, int threads, Py_ssize_t parts, fastact_sum* totals) noexcept nogil:
    cdef Py_ssize_t groups = (call.kept + call.width - 1) // call.width, length = (call.outer + parts - 1) // parts
    cdef Py_ssize_t share = (groups + threads - 1) // threads, group, first, width, part, j
    cdef int k, processor = this_processor()
    if parts == 1:
        for k in prange(threads, num_threads=threads, schedule="static"):
            start_part(processor)
            for group in range(k * share, (k + 1) * share if (k + 1) * share < groups else groups):
                first = group * call.width
                width = call.kept - first if call.kept - first < call.width else call.width
                sum_part(call, 0, call.outer, first, width, totals + k * call.width)
                round_sums(call, first, width, totals + k * call.width)
        return
    for group in range(groups):
        first = group * call.width
        width = call.kept - first if call.kept - first < call.width else call.width
        for k in prange(<int> parts, num_threads=threads, schedule="static"):
            start_part(processor)
            sum_part(call, k * length, (k + 1) * length if (k + 1) * length < call.outer else call.outer, first, width,
                     totals + k * call.width)
        for j in range(width):
            for part in range(1, parts):
                fastact_sum_add(&totals[j], &totals[part * call.width + j])
        round_sums(call, first, width, totals)


# The sums over the first and the last axis of a contiguous array [outer, kept, inner] of float32 or float64, divided by
# `divisor`, each rounded once
cdef cnp.ndarray exact_sums(cnp.ndarray numbers, Py_ssize_t outer, Py_ssize_t kept, Py_ssize_t inner,
                            uint64_t divisor=1):
    cdef SumCall call
    cdef cnp.npy_intp length = kept
    cdef cnp.ndarray results = cnp.PyArray_ZEROS(1, &length, cnp.NPY_DOUBLE, 0)
    cdef fastact_sum* totals
    cdef int threads = threads_for(outer * kept * inner)        # a nanosecond each
    cdef Py_ssize_t parts
    if outer * kept * inner == 0:
        return results
    if kept == 1:
        outer, inner = outer * inner, 1
    call.add = loops[0 if cnp.PyArray_ITEMSIZE(numbers) == 4 else 1]
    call.numbers, call.itemsize = <const char*> cnp.PyArray_DATA(numbers), cnp.PyArray_ITEMSIZE(numbers)
    call.outer, call.kept, call.inner, call.divisor = outer, kept, inner, divisor
    call.width = min(kept, COLUMNS) if inner == 1 else 1
    call.results = <double*> cnp.PyArray_DATA(results)
    parts = threads if threads > 1 and (kept + call.width - 1) // call.width < 2 * threads <= outer else 1
    totals = <fastact_sum*> allocate(threads * call.width * sizeof(fastact_sum))
    if totals == NULL:
        raise MemoryError("fastact: no memory for sums")
    with nogil:
        run_sums(&call, threads, parts, totals)
        if threads > 1:
            end_pass()
    free(totals)
    return results
