"""The engine: every pass over an array, and the only parallel loops of the library.

It knows threads, strides and the floating-point environment, and no mathematics.

An elementwise pass is a kernel and its operands.  Contiguous operands go to the kernel as they are, except for the last
few elements, which are padded to a whole vector; anything else is gathered into blocks on the stack first, where 16-bit
numbers become floats.  So element i is always computed by the same instructions, whatever the layout, the length and
the number of threads, and there is no temporary array.

A row operation is a list of steps (_rows.pxd), taken by a strip of rows or columns at a time, which for long rows is
one row, or, where strips are too few for the threads, by one strip in parallel segments.

Every pass is serial, or parallel with the one number of threads that `team` gives: GNU OpenMP rebuilds its team when
the number changes, which costs more than most calls.
"""

cimport numpy as cnp
from cpython.exc cimport PyErr_CheckSignals
from cython.parallel cimport prange
from libc.math cimport INFINITY, isinf
from libc.stdint cimport uint16_t, uint32_t, uint64_t
from libc.stdlib cimport free
from libc.string cimport memcpy

from fastact._loops cimport (
    ARRAYS, CACHE_LINE, FETCHING, LANES, NUMBERS, ONES, STRETCH, block_kernel, convert_block, fetch)
from fastact._rows cimport (
    PIECE, SEGMENT, SHORT, STRIP, Rows, row_settle, strip_accumulate, strip_constants, strip_emit, strip_maximum)
from fastact._sums cimport fastact_sum, fastact_sum_add, fastact_sum_rounded, fastact_sum_start, sum_block

import sys
from contextvars import ContextVar
from threading import Lock

import numpy as np

cnp.import_array()
cnp.import_ufunc()

cdef extern from "_runtime.h" nogil:
    ctypedef struct fastact_environment:
        pass
    fastact_environment fastact_enter() noexcept
    void fastact_leave(fastact_environment callers) noexcept
    float fastact_nearest_float(double number) noexcept
    int FASTACT_OPENMP
    int fastact_max_threads() noexcept
    int fastact_in_parallel() noexcept
    int fastact_thread_limit() noexcept
    int fastact_processors() noexcept
    int fastact_places() noexcept
    int fastact_processors_of_place(int place) noexcept
    void fastact_processor_ids(int place, int* ids) noexcept
    int fastact_open_blocks() noexcept
    void fastact_count_blocks(int change) noexcept
    int fastact_serial_child
    int fastact_survive_fork() noexcept
    int fastact_supports_v2() noexcept
    int fastact_supports_v3() noexcept
    int fastact_supports_v4() noexcept

cdef extern from "Python.h":
    ctypedef struct PyObject:
        pass
    PyObject* PyEval_GetFrame()     # borrowed

cdef extern from "_buffers.h":
    int fastact_start_buffers() noexcept
    bint fastact_reduce_buffers(size_t bytes, size_t limit) noexcept
    size_t fastact_buffer_limit() noexcept
    size_t fastact_buffer_bytes() noexcept
    bint fastact_give_up_buffers() noexcept
    void* fastact_allocate(size_t size) noexcept nogil
    cnp.ndarray fastact_empty_like(cnp.ndarray array)

cdef extern from *:
    """
    /* NumPy asks a ufunc's resolver when it meets dtypes of which there is no loop, and keeps the answer for ever.
     * This is the last moment to add the loops of bfloat16, whose package may have been imported at any time.  It is
     * also the place to choose double for integers and bool: NumPy's own resolver takes the first loop whose dtype
     * holds every integer of the given one, which for int8 is that of float16. */
    static PyUFunc_TypeResolutionFunc *fastact_resolver_of_numpy = NULL;
    static int (*fastact_meet)(void) = NULL;

    /* Whether an operand takes the dtype of the others.  NumPy 2 marks Python integers so, for itself; NumPy 1 treated
     * all integers without a dimension that way. */
    static int fastact_takes_others_dtype(PyArrayObject *operand) {
        if (PyArray_RUNTIME_VERSION < NPY_2_0_API_VERSION)
            return PyArray_NDIM(operand) == 0;
        return (PyArray_FLAGS(operand) & (1 << 30)) != 0;
    }

    static int fastact_resolve(PyUFuncObject *ufunc, NPY_CASTING casting, PyArrayObject **operands, PyObject *types,
                               PyArray_Descr **dtypes) {
        int k, integers = 0, weak = 0, floats = 0, result;
        if (fastact_meet() < 0)
            return -1;
        for (k = 0; k < ufunc->nin; k++) {
            int type = PyArray_TYPE(operands[k]);
            if (!PyTypeNum_ISBOOL(type) && !PyTypeNum_ISINTEGER(type))
                floats++;
            else if (fastact_takes_others_dtype(operands[k]))
                weak++;
            else
                integers++;
        }
        if ((types && types != Py_None) || !(integers || (weak && !floats)))
            return fastact_resolver_of_numpy(ufunc, casting, operands, types, dtypes);
        if (!(types = PyTuple_New(ufunc->nargs)))
            return -1;
        for (k = 0; k < ufunc->nargs; k++)
            PyTuple_SET_ITEM(types, k, (PyObject *) PyArray_DescrFromType(NPY_DOUBLE));
        result = fastact_resolver_of_numpy(ufunc, casting, operands, types, dtypes);
        Py_DECREF(types);
        return result;
    }
    static void fastact_at_unknown_dtypes(PyObject *ufunc, int (*meet)(void)) {
        fastact_meet = meet;
        fastact_resolver_of_numpy = ((PyUFuncObject *) ufunc)->type_resolver;
        ((PyUFuncObject *) ufunc)->type_resolver = fastact_resolve;
    }
    """
    void fastact_at_unknown_dtypes(object ufunc, int (*meet)() except -1)

if fastact_survive_fork() != 0:
    raise OSError("fastact: pthread_atfork failed, so a forked child could hang")
if fastact_start_buffers() != 0:
    raise MemoryError("fastact: no memory for a lock")

OPENMP = bool(FASTACT_OPENMP)
# Of arrays, in the order of the ufuncs' loops, which is NumPy's -> what they are computed in.  bfloat16 is a dtype of
# ml_dtypes.
DTYPES = {"float16": "float", "float32": "float", "float64": "double", "bfloat16": "float"}

cdef enum:
    BFLOAT16 = 3                    # its place among them

cdef Format formats[FORMATS]
formats[0] = Format(cnp.NPY_FLOAT16, 2, 4, NULL, NULL)
formats[1] = Format(cnp.NPY_FLOAT, 4, 4, NULL, NULL)
formats[2] = Format(cnp.NPY_DOUBLE, 8, 8, NULL, NULL)
formats[BFLOAT16] = Format(-1, 2, 4, NULL, NULL)


def set_packing(dict packing):
    """Take the loops from and to 16-bit numbers: the table PACKING of the instruction set in use."""
    cdef size_t unpack, pack
    cdef int k
    for k, name in enumerate(DTYPES):
        if name in packing:
            unpack, pack = packing[name]
            formats[k].unpack, formats[k].pack = <convert_block> unpack, <convert_block> pack


cdef sum_block sums[2]               # of float and double


def set_sums(dict addresses):
    """Take the loops that add numbers: the table SUMS of the instruction set in use."""
    cdef size_t address
    cdef int k
    for k, name in enumerate(("float", "double")):
        address = addresses[name]
        sums[k] = <sum_block> address


cdef enum:
    BLOCK = 1024                    # elements gathered on the stack at a time, at most
    GATHERED = 1 << 14              # bytes of all operands of such a block; threads may have stacks of 64 KiB
    ON_STACK = 1 << 12              # bytes of rows in memory of their own for which the stack has room
    CHUNK = 64                      # the elements of a thread are a multiple of it: a whole cache line of any dtype
    HELD = 8192                     # elements up to which giving up the interpreter lock costs more than it frees
    UNASKED = 1 << 25               # elements after which Python is asked for signals: some hundredths of a second
    BEYOND_CACHE = 1 << 20          # bytes of all operands from which fetching them ahead pays

# Less work than this is done by one thread.  Two pay from 5 microseconds on where the second waits for the next call,
# and from 200 where it sleeps, as between two layers of a network (benchmarks/costs.py); and a region costs a
# millisecond where another library's threads hold the processor.
cdef double PARALLEL_NANOSECONDS = 50_000

# Cheaper work per element waits for memory in any case.
cdef double FETCHING_NANOSECONDS = 0.2


# -------------------------------------------------------------------------------------------------- machine and threads

def processor_supports(str name):
    """Whether this processor runs the instruction set `name`: v2, v3 or v4 of x86-64."""
    return bool({"v2": fastact_supports_v2(), "v3": fastact_supports_v3(), "v4": fastact_supports_v4()}.get(name))


cdef int fixed_threads = 0          # by set_num_threads or FASTACT_NUM_THREADS; 0: none
cdef int processors = 0             # available to this process; 0: OpenMP alone decides
cdef int most_threads = 1           # of any pass
_fixed_by = ""

cdef object innermost = ContextVar("fastact.threads", default=None)


cdef class Block:
    """A block ``with fastact.threads(n)`` that was entered; a context variable holds the innermost one.

    Blocks need not be left in the order in which they were entered, nor in the same context: tasks and generators take
    turns.  So one that is left is closed, wherever it is still to be found, and no other one changes.
    """

    cdef int threads
    cdef bint is_open
    cdef Block outer
    cdef tuple frames               # of a generator and its callers, up to one that is no generator; else empty


# Whether the calling code is in the block.  Who runs while the generator that entered it is suspended is not: from the
# frames of the calls to here, the generator's would be missing, and that of who iterates over it be there.  If both
# are missing, that one has returned, and left the block to others, as fixtures do.
cdef bint reaches(Block block) except -1:
    cdef object frame
    cdef tuple frames = block.frames
    cdef Py_ssize_t k
    if not frames or PyEval_GetFrame() == NULL:
        return True
    frame = <object> PyEval_GetFrame()
    while frame is not None:
        for k in range(len(frames)):
            if frame is frames[k]:
                return k == 0
        frame = frame.f_back
    return True


# The number of threads that the innermost block asks for; 0: there is none
cdef int requested_threads() noexcept with gil:
    cdef Block block = innermost.get()
    while block is not None:
        if block.is_open and reaches(block):
            return block.threads
        block = block.outer
    return 0


# The number of threads of a parallel pass that the calling thread starts now
cdef int team() noexcept nogil:
    cdef int threads = 0
    if not FASTACT_OPENMP or fastact_serial_child or fastact_in_parallel():
        return 1
    if fastact_open_blocks():       # else nobody needs to look, which takes the interpreter lock
        threads = requested_threads()
    if threads == 0:
        threads = fixed_threads
    if threads == 0:
        threads = fastact_max_threads()
        threads = processors if 0 < processors < threads else threads
    return threads if threads < most_threads else most_threads


def set_threads(int n, str source="fastact.set_num_threads"):
    """Fix the number of threads of every calling thread; `source` says who asked."""
    global fixed_threads, _fixed_by
    fixed_threads = n
    _fixed_by = f"{source}: {n}"


def set_processors(int n):
    """Never start more than `n` threads unless somebody asks for them."""
    global processors
    processors = n


def limit_threads(int n):
    """Never start more than `n` threads, nor than OpenMP would."""
    global most_threads
    most_threads = min(n, fastact_thread_limit())


def thread_limit():
    """How many threads a pass has at most."""
    return most_threads


def openmp_processors():
    """How many processors OpenMP may use; 0 without OpenMP."""
    return fastact_processors()


def openmp_places():
    """The numbers of the processors to which OpenMP binds threads; empty if it binds none."""
    cdef int[::1] ids
    found = set()
    for place in range(fastact_places()):
        if fastact_processors_of_place(place):
            ids = np.empty(fastact_processors_of_place(place), np.intc)
            fastact_processor_ids(place, &ids[0])
            found.update(np.asarray(ids).tolist())
    return found


cdef Block still_open(Block block):
    while block is not None and not block.is_open:
        block = block.outer
    return block


def open_block(int threads, tuple frames):
    """Enter a block of `threads` threads in the current context; `frames` are as in `Block`."""
    cdef Block block = Block.__new__(Block)
    block.threads, block.frames, block.outer, block.is_open = threads, frames, still_open(innermost.get()), True
    fastact_count_blocks(1)
    innermost.set(block)
    return block


def close_block(list blocks):
    """Leave that of `blocks` which is the innermost in the current context, or the last one if none is in it.

    asyncio, for one, ends abandoned generators in another context than theirs.
    """
    cdef Block block = innermost.get(), left
    while block is not None and not (block.is_open and block in blocks):
        block = block.outer
    left = blocks[len(blocks) - 1] if block is None else block
    blocks.remove(left)
    left.is_open, left.frames = False, ()
    fastact_count_blocks(-1)
    innermost.set(still_open(innermost.get()))


def get_threads():
    """The number of threads of a parallel pass started here and now."""
    return team()


def set_parallel_nanoseconds(double nanoseconds):
    """Share work among threads from so many nanoseconds on; returns the number before.  For benchmarks and tests."""
    global PARALLEL_NANOSECONDS
    before = PARALLEL_NANOSECONDS
    PARALLEL_NANOSECONDS = nanoseconds
    return before


def thread_source():
    """Who fixed the number of threads ("" if nobody did), and how many OpenMP would use."""
    if fastact_serial_child:
        return "forked while KMP_INIT_AT_FORK forbids OpenMP to look after forks", 1
    requested = requested_threads()
    if requested:
        return f"fastact.threads: {requested}", fastact_max_threads()
    return _fixed_by, fastact_max_threads()


# -------------------------------------------------------------------------------------------- memory of large results

def limit_buffers(size_t limit):
    """Keep at most so many bytes of large results that were given back; 0: leave all memory to NumPy."""
    if not fastact_reduce_buffers(limit, limit):
        raise RuntimeError("fastact.set_buffer_limit: the buffers are locked by a thread that a fork left behind")


def buffers():
    """Bytes that may be kept, and that are."""
    return fastact_buffer_limit(), fastact_buffer_bytes()


def give_up_buffers():
    """Give back what is kept because somebody finds no memory; returns whether there was any, so that it is worth
    another try."""
    return fastact_give_up_buffers()


def clear_buffers():
    """Give back to the system the memory that is kept for large results.

    Raises
    ------
    RuntimeError
        If it is locked for ever, by a thread that was giving a result back while the process was forked.
    """
    if not fastact_reduce_buffers(0, fastact_buffer_limit()):
        raise RuntimeError("fastact.clear_buffers: the buffers are locked by a thread that a fork left behind")


# --------------------------------------------------------------------------------------------------- elementwise passes

cdef struct Pass:
    const Loop* loop
    int form                        # of the parameters: ARRAYS, NUMBERS or ONES
    char* data[OPERANDS]
    Py_ssize_t strides[OPERANDS]    # 0: one number for all elements


cdef inline void copy_elements(char* target, Py_ssize_t target_stride, const char* source, Py_ssize_t source_stride,
                               Py_ssize_t n, Py_ssize_t itemsize) noexcept nogil:
    cdef Py_ssize_t i
    if target_stride == itemsize and source_stride == itemsize:
        memcpy(target, source, n * itemsize)
    elif itemsize == 2:
        for i in range(n):
            (<uint16_t*> (target + i * target_stride))[0] = (<const uint16_t*> (source + i * source_stride))[0]
    elif itemsize == 4:
        for i in range(n):
            (<uint32_t*> (target + i * target_stride))[0] = (<const uint32_t*> (source + i * source_stride))[0]
    else:
        for i in range(n):
            (<uint64_t*> (target + i * target_stride))[0] = (<const uint64_t*> (source + i * source_stride))[0]


# The form of the parameters of a call whose operands are known, and whether operand k is a parameter given as a number
cdef int form_of(const Pass* call) noexcept nogil:
    cdef int k, first = call.loop.inputs, form = ONES
    for k in range(first, first + call.loop.parameters):
        if call.strides[k] != 0:
            return ARRAYS
        if ((<const float*> call.data[k])[0] if call.loop.format.number_size == 4
                else (<const double*> call.data[k])[0]) != 1:
            form = NUMBERS
    return form


cdef inline bint is_parameter(const Pass* call, int k) noexcept nogil:
    return call.loop.inputs <= k < call.loop.inputs + call.loop.parameters


cdef inline bint is_number(const Pass* call, int k) noexcept nogil:
    return call.form != ARRAYS and is_parameter(call, k)


# Whether an operand holds 16-bit numbers.  Parameters never do: they keep the digits that they are given.
cdef inline bint is_packed(const Pass* call, int k) noexcept nogil:
    return call.loop.format.unpack != NULL and not is_parameter(call, k)


cdef inline Py_ssize_t itemsize_of(const Pass* call, int k) noexcept nogil:
    return call.loop.format.number_size if is_parameter(call, k) else call.loop.format.itemsize


# Where `padded` numbers of input k lie as the kernel needs them, from `start` on: in the array itself, or in `block`,
# by way of `packed`
cdef inline void* gathered(const Pass* call, int k, Py_ssize_t start, Py_ssize_t n, Py_ssize_t padded, bint fetching,
                           void* block, uint16_t* packed) noexcept nogil:
    cdef Py_ssize_t itemsize = itemsize_of(call, k), stride = call.strides[k]
    cdef const char* source = call.data[k] + start * stride
    cdef char* target = <char*> packed if is_packed(call, k) else <char*> block
    if stride != itemsize or n != padded:
        copy_elements(target, itemsize, source, stride, n, itemsize)
        copy_elements(target + n * itemsize, itemsize, target, 0, padded - n, itemsize)
        source = target
    if not is_packed(call, k):
        return <void*> source
    if fetching:
        fetch(source + n * itemsize, n * itemsize)
    call.loop.format.unpack(source, block, padded)
    return block


# The way back, for output k
cdef inline void scatter(const Pass* call, int k, Py_ssize_t start, Py_ssize_t n, Py_ssize_t padded, bint fetching,
                         const void* block, uint16_t* packed) noexcept nogil:
    cdef Py_ssize_t itemsize = itemsize_of(call, k), stride = call.strides[k]
    cdef char* target = call.data[k] + start * stride
    if is_packed(call, k) and stride == itemsize and n == padded:
        if fetching:
            fetch(target + n * itemsize, n * itemsize)
        call.loop.format.pack(block, target, padded)
    elif is_packed(call, k):
        call.loop.format.pack(block, packed, padded)
        copy_elements(target, stride, <const char*> packed, itemsize, n, itemsize)
    else:
        copy_elements(target, stride, <const char*> block, itemsize, n, itemsize)


# Elements `start` to `stop`, block by block, through the stack where an operand does not lie as the kernel needs it
cdef void run_blocks(const Pass* call, Py_ssize_t start, Py_ssize_t stop, bint fetching) noexcept nogil:
    cdef const Loop* loop = call.loop
    cdef Py_ssize_t n, padded, block, room
    cdef int k, arrays = loop.inputs + loop.parameters, blocks = 0
    cdef uint16_t packed[BLOCK]
    cdef char memory[GATHERED + CACHE_LINE]
    cdef char* stack = <char*> ((<size_t> memory + CACHE_LINE - 1) // CACHE_LINE * CACHE_LINE)
    cdef char* places[OPERANDS]     # of each operand's block
    cdef void* operands[OPERANDS]
    for k in range(loop.operands):
        blocks += 0 if is_number(call, k) else 1
    block = GATHERED // (blocks * loop.format.number_size) // STRETCH * STRETCH
    block = block if block < BLOCK else BLOCK
    room = block * loop.format.number_size
    for k in range(loop.operands):
        places[k] = stack
        if is_number(call, k):
            continue
        stack += room
        if k < arrays and call.strides[k] == 0:
            gathered(call, k, 0, block, block, False, places[k], packed)
    while start < stop:
        n = stop - start if stop - start < block else block
        padded = (n + LANES - 1) // LANES * LANES
        for k in range(loop.operands):
            operands[k] = places[k]
            if is_number(call, k):
                operands[k] = call.data[k]
            elif k < arrays and call.strides[k] != 0:
                operands[k] = gathered(call, k, start, n, padded, fetching, operands[k], packed)
            elif k >= arrays and call.strides[k] == itemsize_of(call, k) and n == padded and not is_packed(call, k):
                operands[k] = call.data[k] + start * call.strides[k]
        loop.kernel(operands, padded, call.form)
        for k in range(arrays, loop.operands):
            if operands[k] == <void*> places[k]:
                scatter(call, k, start, n, padded, fetching, operands[k], packed)
        start += n


# Elements `start` to `stop` on the calling thread, in the default floating-point environment
cdef void run_range(const Pass* call, Py_ssize_t start, Py_ssize_t stop) noexcept nogil:
    cdef const Loop* loop = call.loop
    cdef Py_ssize_t whole = (stop - start) // LANES * LANES
    cdef bint contiguous = True, fetching
    cdef int k
    cdef void* operands[OPERANDS]
    cdef fastact_environment callers
    if stop <= start:
        return
    callers = fastact_enter()
    for k in range(loop.operands):
        if is_number(call, k):
            operands[k] = call.data[k]
            continue
        operands[k] = call.data[k] + start * itemsize_of(call, k)
        contiguous = contiguous and call.strides[k] == itemsize_of(call, k) and not is_packed(call, k)
    fetching = whole * loop.operands * loop.format.itemsize > BEYOND_CACHE
    if contiguous and whole:
        fetching = fetching and call.form == ONES and loop.cost > FETCHING_NANOSECONDS
        loop.kernel(operands, whole, call.form + (FETCHING if fetching else 0))
        start += whole
    if start < stop:
        run_blocks(call, start, stop, fetching)
    fastact_leave(callers)


cdef void run_pass(const Pass* call, Py_ssize_t n) noexcept nogil:
    cdef int threads = team() if n * call.loop.cost > PARALLEL_NANOSECONDS else 1
    cdef Py_ssize_t chunk
    cdef int k
    if threads == 1:
        run_range(call, 0, n)
        return
    chunk = ((n + threads - 1) // threads + CHUNK - 1) // CHUNK * CHUNK
    for k in prange(threads, num_threads=threads, schedule="static"):
        run_range(call, k * chunk, (k + 1) * chunk if (k + 1) * chunk < n else n)


# A pass without the interpreter lock.  Ctrl-C ends a long one, and leaves the rest unwritten.
cdef int run_unlocked(Pass* call, Py_ssize_t n) except -1:
    cdef Py_ssize_t part
    cdef int k
    while True:
        part = n if n < UNASKED else UNASKED
        with nogil:
            run_pass(call, part)
        n -= part
        if n == 0:
            return 0
        PyErr_CheckSignals()
        for k in range(call.loop.operands):
            call.data[k] += part * call.strides[k]


cdef void ufunc_loop(char** data, const cnp.npy_intp* dimensions, const cnp.npy_intp* strides,
                     void* loop) noexcept nogil:
    cdef Pass call
    cdef int k
    call.loop = <Loop*> loop
    for k in range(call.loop.operands):
        call.data[k] = data[k]
        call.strides[k] = strides[k]
    call.form = form_of(&call)
    run_pass(&call, dimensions[0])


# To the nearest float, whatever rounding the caller has chosen
cdef float nearest_float(double number) noexcept:
    return fastact_nearest_float(number)


cdef void nearest_floats(const double* numbers, float* floats, Py_ssize_t count) noexcept:
    cdef Py_ssize_t k
    for k in range(count):
        floats[k] = fastact_nearest_float(numbers[k])


# Which of the formats an array has; -1: none
cdef int format_of(cnp.ndarray array) noexcept:
    cdef int type_number = cnp.PyArray_TYPE(array), k
    for k in range(FORMATS):
        if type_number == formats[k].type_number:
            return k
    return -1


# An ndarray as the engine takes it: no subclass, C-contiguous, native, of one of the formats, not 0-dimensional
cdef bint is_plain(object array) noexcept:
    return (cnp.PyArray_CheckExact(array) and format_of(<cnp.ndarray> array) >= 0 and cnp.PyArray_NDIM(array) > 0
            and cnp.PyArray_ISCARRAY_RO(array))


# Two such arrays of one shape and dtype
cdef bint is_plain_pair(object array, object other) noexcept:
    return (is_plain(array) and is_plain(other)
            and cnp.PyArray_TYPE(<cnp.ndarray> array) == cnp.PyArray_TYPE(<cnp.ndarray> other)
            and cnp.PyArray_SAMESHAPE(<cnp.ndarray> array, <cnp.ndarray> other))


# Whether the result for a plain array may be written to `out` straight away: it is plain too, and either the very same
# memory or memory that does not overlap.
cdef bint is_plain_out(object out, object array) noexcept:
    cdef const char* a
    cdef const char* b
    cdef Py_ssize_t size
    if not is_plain_pair(out, array) or not cnp.PyArray_ISWRITEABLE(<cnp.ndarray> out):
        return False
    a, b = <const char*> cnp.PyArray_DATA(<cnp.ndarray> out), <const char*> cnp.PyArray_DATA(<cnp.ndarray> array)
    size = cnp.PyArray_NBYTES(<cnp.ndarray> out)
    return a == b or a + size <= b or b + size <= a


cdef cnp.ndarray empty_like_plain(cnp.ndarray array):
    return fastact_empty_like(array)


cdef list modes = []                # the ufuncs point into them
cdef object meeting = Lock()


# Gives every ufunc its loop of bfloat16, if ml_dtypes was imported meanwhile and they have none.
cdef int meet_bfloat16() except -1:
    cdef int type_number
    if formats[BFLOAT16].type_number >= 0 or "ml_dtypes" not in sys.modules:
        return 0
    scalar = getattr(sys.modules["ml_dtypes"], "bfloat16", None)    # None: it is being imported
    if scalar is None:
        return 0
    with meeting:
        if formats[BFLOAT16].type_number < 0:
            type_number = np.dtype(scalar).num
            for mode in modes:
                (<Mode> mode).add_bfloat16(type_number)
            formats[BFLOAT16].type_number = type_number     # last: who sees it relies on the loops
    return 0


cdef bint is_bfloat16(object dtype) except -1:
    meet_bfloat16()
    return dtype.num == formats[BFLOAT16].type_number


# Since 2.4 NumPy lets a ufunc have attributes: the module in which pickle finds it, and other reductions than its own,
# which would combine results as if they were arguments.
cdef object complete_ufunc(object ufunc):
    def refused(str method):
        def refuse(*arguments, **keywords):
            raise TypeError(f"fastact.ufuncs.{ufunc.__name__}.{method}: the two arguments of {ufunc.__name__} are "
                            f"different things, and it has no {method}; accepted are calls, outer and at")
        return refuse

    try:
        ufunc.__module__ = "fastact.ufuncs"
    except AttributeError:
        return
    if ufunc.nin == 2 and ufunc.nout == 1:
        for method in "reduce", "accumulate", "reduceat":
            setattr(ufunc, method, refused(method))


cdef class Mode:
    """One mode of one elementwise activation: its kernels, and the NumPy ufunc made of them.

    Parameters
    ----------
    kernels : dict
        Address of the kernel for "float" and "double".
    name, documentation : str
        Of the ufunc.
    inputs, parameters, outputs : int
        Number of arrays.
    cost : float
        Nanoseconds per element on one thread, from which follows when a second thread pays.
    """

    def __cinit__(self, dict kernels, str name, str documentation, int inputs, int parameters, int outputs,
                  double cost):
        cdef int k, j, operands = inputs + parameters + outputs
        cdef size_t address
        self.name, self.documentation = name.encode(), documentation.encode()
        for k, dtype in enumerate(DTYPES):
            address = kernels[DTYPES[dtype]]
            self.loops[k] = Loop(<block_kernel> address, inputs, parameters, operands, &formats[k],
                                 cost * formats[k].number_size / 4)
            self.functions[k] = <cnp.PyUFuncGenericFunction> ufunc_loop
            self.loops_of_ufunc[k] = &self.loops[k]
            for j in range(operands):
                self.types[k * operands + j] = formats[k].type_number
                if inputs <= j < inputs + parameters and formats[k].number_size == 4:
                    self.types[k * operands + j] = cnp.NPY_FLOAT
        self.ufunc = cnp.PyUFunc_FromFuncAndData(
            self.functions, self.loops_of_ufunc, self.types, BFLOAT16, inputs + parameters, outputs,
            cnp.PyUFunc_None, self.name, self.documentation, 0)
        fastact_at_unknown_dtypes(self.ufunc, meet_bfloat16)
        complete_ufunc(self.ufunc)
        modes.append(self)
        if formats[BFLOAT16].type_number >= 0:
            self.add_bfloat16(formats[BFLOAT16].type_number)

    cdef add_bfloat16(self, int type_number):
        cdef int types[OPERANDS]
        cdef int k, inputs = self.loops[BFLOAT16].inputs, parameters = self.loops[BFLOAT16].parameters
        for k in range(self.loops[BFLOAT16].operands):
            types[k] = cnp.NPY_FLOAT if inputs <= k < inputs + parameters else type_number
        cnp.PyUFunc_RegisterLoopForType(self.ufunc, type_number, self.functions[BFLOAT16], types,
                                        self.loops_of_ufunc[BFLOAT16])

    # The fast door: plain arrays of one shape and dtype, the parameters as numbers.  Returns the result, or None if the
    # arrays are none of that.
    cdef object call_plain(self, object first, object second, object out, const Numbers* parameters):
        cdef Pass call
        cdef fastact_environment callers
        cdef cnp.ndarray target, other = None
        cdef Py_ssize_t n
        cdef int k
        if not (is_plain(first) if second is None else is_plain_pair(first, second)):
            return None
        call.loop = &self.loops[format_of(<cnp.ndarray> first)]
        if second is None and call.loop.inputs == 2:
            return None                     # None was passed
        k = call.loop.inputs + call.loop.parameters
        if out is None:
            target = empty_like_plain(first)
            if k + 1 < call.loop.operands:
                other = empty_like_plain(first)
        elif k + 1 == call.loop.operands and is_plain_out(out, first) and (second is None or is_plain_out(out, second)):
            target = out
        else:
            return None
        call.data[k] = <char*> cnp.PyArray_DATA(target)
        if other is not None:
            call.data[k + 1] = <char*> cnp.PyArray_DATA(other)
        call.data[0] = <char*> cnp.PyArray_DATA(<cnp.ndarray> first)
        if second is not None:
            call.data[1] = <char*> cnp.PyArray_DATA(<cnp.ndarray> second)
        for k in range(call.loop.operands):
            call.strides[k] = call.loop.format.itemsize
        for k in range(call.loop.parameters):
            call.data[call.loop.inputs + k] = (<char*> &parameters.as_float[k] if call.loop.format.number_size == 4
                                               else <char*> &parameters.as_double[k])
            call.strides[call.loop.inputs + k] = 0
        call.form = form_of(&call)
        n = cnp.PyArray_SIZE(target)
        if n <= HELD and n % LANES == 0 and n and call.loop.format.unpack == NULL:
            callers = fastact_enter()       # all that run_pass would find out
            call.loop.kernel(<void**> call.data, n, call.form)
            fastact_leave(callers)
        elif n <= HELD:
            run_pass(&call, n)
        else:
            run_unlocked(&call, n)
        return target if other is None else (target, other)


# ----------------------------------------------------------------------------------------------------------------- rows
#
# Each step: the function of _rows.pxd, then the arrays it reads.  x and y are the operation's inputs, out its output.
# Steps marked with - are left out for short rows, those marked with ? for long ones that are not confident: where both
# sums take little, it is not worth finding out which of them is needed.

ROW_OPERATIONS = {
    "softmax": (
        "maximum x", "prepare_exponentials", "accumulate_exponentials.store x", "finish_softmax", "emit_scaled out"),
    "log_softmax": (
        "maximum x", "prepare_exponentials", "prepare_peak", "-accumulate_exponentials x", "-judge_confidence",
        "-mend_pairs x", "?accumulate_others x", "finish_log", "emit_log_softmax x"),
    "logsumexp": (
        "maximum x", "prepare_exponentials", "prepare_peak", "-accumulate_exponentials x", "-judge_confidence",
        "-mend_pairs x", "?accumulate_others x", "finish_log"),
    "softmax_scaled": (
        "maximum x", "prepare_scaled", "accumulate_scaled_exponentials.store x", "finish_softmax", "emit_scaled out"),
    "softmin": (
        "minimum x", "prepare_scaled", "accumulate_scaled_exponentials.store x", "finish_softmax", "emit_scaled out"),
    "log_softmax_scaled": (
        "maximum x", "prepare_scaled", "-accumulate_scaled_exponentials x", "-judge_confidence",
        "?accumulate_scaled_others x", "finish_scaled_log", "emit_scaled_log_softmax x"),
    "hardmax": (
        "maximum x", "prepare_maximum", "accumulate_equal.store x", "settle_first out"),
    "hardmax_backward": (
        "emit_zero x",),
    "softmax_backward": (
        "accumulate_product x y", "finish_sum", "emit_softmax_backward x y"),
    "log_softmax_backward": (
        "accumulate_sum x", "finish_sum", "emit_log_softmax_backward x y"),
    "softmax_mse": (
        "maximum x", "prepare_exponentials", "accumulate_exponentials.store x", "finish_probabilities",
        "accumulate_squared_error.store out y", "finish_squared_error", "emit_squared_error out y"),
    "softmax_cross_entropy": (
        "maximum x", "prepare_exponentials", "prepare_peak", "-accumulate_exponentials.store x",
        "-judge_confidence", "-mend_pairs x", "?accumulate_others.store x", "finish_log",
        "accumulate_cross_entropy x y", "finish_weighted", "emit_cross_entropy out y"),
    "softmax_cross_entropy_labels": (
        "maximum x", "prepare_exponentials", "prepare_peak", "-accumulate_exponentials.store x",
        "-judge_confidence", "-mend_pairs x", "?accumulate_others.store x", "finish_label", "settle_label x",
        "emit_scaled out"),
}

cdef enum:
    MAXIMUM
    CONSTANTS
    ACCUMULATE
    MEND
    SETTLE
    EMIT

cdef dict STEP_KINDS = {"maximum": MAXIMUM, "minimum": MAXIMUM, "prepare": CONSTANTS, "accumulate": ACCUMULATE,
                        "judge": CONSTANTS, "finish": CONSTANTS, "mend": MEND, "settle": SETTLE, "emit": EMIT}

cdef struct RowPass:
    const Step* steps
    int count
    char* arrays[3]                 # x, y, out
    Py_ssize_t itemsize
    Py_ssize_t count_of_rows
    Py_ssize_t n                    # entries of a row
    Py_ssize_t inner                # distance of two entries of a row: 1, or the rows are columns side by side
    Py_ssize_t width                # rows of a strip, at most
    Py_ssize_t strips               # of columns, for each index of the outer axes
    bint fetching
    double* results                 # one number a row, or NULL
    double* scales                  # the same, or NULL for `scale` everywhere
    double scale
    double factor                   # of x, and what it lacks
    double factor_low
    cnp.npy_intp* labels            # the same, or NULL


# Where `width` rows lie that are taken together: `first` is the index of the first one, `offset` its bytes into the
# arrays.
cdef struct Place:
    Py_ssize_t first
    Py_ssize_t width
    Py_ssize_t offset


# A strip: rows that are worked together.
cdef struct Strip:
    Place place
    Rows rows


# Of `width` rows at a time, those with this index; of columns there are so many `strips` for each index of the outer
# axes.
cdef inline Place place_of(const RowPass* call, Py_ssize_t index, Py_ssize_t width, Py_ssize_t strips) noexcept nogil:
    cdef Py_ssize_t outer, column, rest
    cdef Place place
    if call.inner == 1:
        place.first = index * width
        place.offset = place.first * call.n * call.itemsize
        rest = call.count_of_rows - place.first
    else:
        outer, column = index // strips, index % strips * width
        place.first = outer * call.inner + column
        place.offset = (outer * call.n * call.inner + column) * call.itemsize
        rest = call.inner - column
    place.width = rest if rest < width else width
    return place


cdef inline void open_strip(const RowPass* call, Py_ssize_t index, Strip* strip) noexcept nogil:
    cdef Py_ssize_t j
    strip.place = place_of(call, index, call.width, call.strips)
    strip.rows.fetching = call.fetching
    strip.rows.factor, strip.rows.factor_low = call.factor, call.factor_low
    for j in range(strip.place.width):
        strip.rows.scale[j] = call.scales[strip.place.first + j] if call.scales != NULL else call.scale


cdef inline void close_strip(const RowPass* call, const Strip* strip) noexcept nogil:
    cdef Py_ssize_t j
    if call.results != NULL:
        for j in range(strip.place.width):
            call.results[strip.place.first + j] = strip.rows.result[j]


cdef inline char* entries(const RowPass* call, int array, const Strip* strip, Py_ssize_t first) noexcept nogil:
    return call.arrays[array] + strip.place.offset + first * call.inner * call.itemsize


cdef inline Py_ssize_t stride(const RowPass* call) noexcept nogil:
    return call.n if call.inner == 1 else call.inner


cdef inline void* kernel(const RowPass* call, const Step* step) noexcept nogil:
    return step.rows if call.inner == 1 else step.columns


# Steps that look at x alone: maximum and mend_pairs
cdef inline void inspect(const RowPass* call, const Step* step, const Strip* strip, Py_ssize_t first, Py_ssize_t n,
                         Rows* rows) noexcept nogil:
    (<strip_maximum> kernel(call, step))(entries(call, step.x, strip, first), n, stride(call), strip.place.width, rows)


# Adds one segment's sum to those before it, which are carried in two parts.
cdef inline void add_segment(double* high, double* low, double part) noexcept nogil:
    cdef double total = high[0] + part
    cdef double back = total - high[0]
    low[0] += 0 if isinf(total) else (high[0] - (total - back)) + (part - back)
    high[0] = total


# The sums of one segment, into rows[].first and .second
cdef inline void accumulate(const RowPass* call, const Step* step, const Strip* strip, Py_ssize_t first,
                            Py_ssize_t n, Rows* rows) noexcept nogil:
    (<strip_accumulate> kernel(call, step))(
        entries(call, step.x, strip, first), entries(call, step.y, strip, first), entries(call, 2, strip, first),
        n, stride(call), strip.place.width, rows)


cdef inline void emit(const RowPass* call, const Step* step, const Strip* strip, Py_ssize_t first, Py_ssize_t n,
                      const Rows* rows) noexcept nogil:
    (<strip_emit> kernel(call, step))(
        entries(call, step.x, strip, first), entries(call, step.y, strip, first), entries(call, 2, strip, first),
        n, stride(call), strip.place.width, rows)


# Steps that look at no entry, or at few of each row: where there are labels, at that of the label
cdef inline void take_small_step(const RowPass* call, const Step* step, Strip* strip) noexcept nogil:
    cdef Py_ssize_t j, label, place, distance = call.n if call.inner == 1 else 1
    if step.kind == CONSTANTS:
        (<strip_constants> step.rows)(&strip.rows, strip.place.width)
        return
    for j in range(strip.place.width):
        label = call.labels[strip.place.first + j] if call.labels != NULL else 0
        place = strip.place.offset + (label * call.inner + j * distance) * call.itemsize
        (<row_settle> step.rows)(
            call.arrays[step.x] + place, call.arrays[2] + place, call.n, call.inner, &strip.rows, j)


# Sums of whole rows, segment by segment
cdef inline void run_sums(const RowPass* call, const Step* step, Strip* strip) noexcept nogil:
    cdef double first[2][STRIP]   # in two parts
    cdef double second[2][STRIP]
    cdef Py_ssize_t start = 0, rest, j
    if call.n <= SEGMENT:
        accumulate(call, step, strip, 0, call.n, &strip.rows)
        return
    for j in range(strip.place.width):
        first[0][j] = first[1][j] = second[0][j] = second[1][j] = 0
    while start < call.n:
        rest = call.n - start
        accumulate(call, step, strip, start, rest if rest < SEGMENT else SEGMENT, &strip.rows)
        for j in range(strip.place.width):
            add_segment(&first[0][j], &first[1][j], strip.rows.first[j])
            add_segment(&second[0][j], &second[1][j], strip.rows.second[j])
        start += SEGMENT
    for j in range(strip.place.width):
        strip.rows.first[j] = first[0][j] + first[1][j]
        strip.rows.second[j] = second[0][j] + second[1][j]


cdef inline bint any_confident(const Strip* strip) noexcept nogil:
    cdef Py_ssize_t j
    for j in range(strip.place.width):
        if strip.rows.confident[j]:
            return True
    return False


cdef void run_strip(const RowPass* call, Py_ssize_t index) noexcept nogil:
    cdef Strip strip
    cdef double first[STRIP]        # of rows whose sums stay as they are
    cdef double second[STRIP]
    cdef const Step* step
    cdef Py_ssize_t j
    cdef int k
    open_strip(call, index, &strip)
    for k in range(call.count):
        step = &call.steps[k]
        if step.for_long and call.n <= SHORT:
            continue
        if step.kind == MAXIMUM:
            inspect(call, step, &strip, 0, call.n, &strip.rows)
        elif step.kind == MEND:
            if any_confident(&strip):
                inspect(call, step, &strip, 0, call.n, &strip.rows)
        elif step.kind == EMIT:
            emit(call, step, &strip, 0, call.n, &strip.rows)
        elif step.kind != ACCUMULATE:
            take_small_step(call, step, &strip)
        elif not step.for_confident or call.n <= SHORT:
            run_sums(call, step, &strip)
        elif any_confident(&strip):
            for j in range(strip.place.width):
                first[j], second[j] = strip.rows.first[j], strip.rows.second[j]
            run_sums(call, step, &strip)
            for j in range(strip.place.width):
                if not strip.rows.confident[j]:
                    strip.rows.first[j], strip.rows.second[j] = first[j], second[j]
    close_strip(call, &strip)


# One segment of one step, with constants in `rows`, which also takes the maximum or the sums of the segment
cdef inline void run_segment(const RowPass* call, const Step* step, const Strip* strip, Py_ssize_t start,
                             Rows* rows) noexcept nogil:
    cdef fastact_environment callers = fastact_enter()
    cdef Py_ssize_t n = call.n - start if call.n - start < SEGMENT else SEGMENT
    if step.kind == MAXIMUM:
        inspect(call, step, strip, start, n, rows)
    elif step.kind == ACCUMULATE:
        accumulate(call, step, strip, start, n, rows)
    else:
        emit(call, step, strip, start, n, rows)
    fastact_leave(callers)


# The same result as run_strip, with all threads on one strip; `rows` has room for those of every segment.
cdef void run_strip_in_segments(const RowPass* call, Py_ssize_t index, int threads, Rows* rows) noexcept nogil:
    cdef Strip strip
    cdef double first[2]            # in two parts
    cdef double second[2]
    cdef double maximum
    cdef const Step* step
    cdef Py_ssize_t segments = (call.n + SEGMENT - 1) // SEGMENT, segment, j
    cdef int k
    open_strip(call, index, &strip)
    for k in range(call.count):
        step = &call.steps[k]
        if step.kind == CONSTANTS or step.kind == SETTLE:
            take_small_step(call, step, &strip)
            continue
        if step.kind == MEND:
            if any_confident(&strip):
                inspect(call, step, &strip, 0, call.n, &strip.rows)
            continue
        if step.for_confident and not any_confident(&strip):
            continue
        for segment in range(segments):
            rows[segment] = strip.rows
        for segment in prange(segments, num_threads=threads, schedule="static"):
            run_segment(call, step, &strip, segment * SEGMENT, rows + segment)
        if step.kind == EMIT:
            continue
        for j in range(strip.place.width):
            if step.kind == MAXIMUM:
                strip.rows.maximum[j] = -INFINITY
                for segment in range(segments):
                    maximum = rows[segment].maximum[j]
                    if maximum > strip.rows.maximum[j] or maximum != maximum:   # NaN, once met, stays
                        strip.rows.maximum[j] = maximum
                continue
            if step.for_confident and not strip.rows.confident[j]:
                continue
            first[0] = first[1] = second[0] = second[1] = 0
            for segment in range(segments):
                add_segment(&first[0], &first[1], rows[segment].first[j])
                add_segment(&second[0], &second[1], rows[segment].second[j])
            strip.rows.first[j] = first[0] + first[1]
            strip.rows.second[j] = second[0] + second[1]
        if step.kind == MAXIMUM:
            for j in range(strip.place.width):
                if isinf(strip.rows.maximum[j]):    # and a NaN may stand in another segment: look at the whole row
                    inspect(call, step, &strip, 0, call.n, &strip.rows)
                    break
    close_strip(call, &strip)


cdef void run_strips(const RowPass* call, Py_ssize_t start, Py_ssize_t stop) noexcept nogil:
    cdef fastact_environment callers = fastact_enter()
    cdef Py_ssize_t index
    for index in range(start, stop):
        run_strip(call, index)
    fastact_leave(callers)


cdef void run_rows(const RowPass* call, Py_ssize_t count, double nanoseconds) noexcept nogil:
    cdef Py_ssize_t chunk, index
    cdef int threads = team() if nanoseconds > PARALLEL_NANOSECONDS else 1, k
    cdef fastact_environment callers
    cdef Rows* rows = NULL
    if threads > 1 and count < 2 * threads and call.n >= 2 * SEGMENT:
        rows = <Rows*> fastact_allocate((call.n + SEGMENT - 1) // SEGMENT * sizeof(Rows))
    if rows != NULL:
        callers = fastact_enter()
        for index in range(count):
            run_strip_in_segments(call, index, threads, rows)
        fastact_leave(callers)
        free(rows)
    elif threads > 1 and count > 1:
        chunk = (count + threads - 1) // threads
        for k in prange(threads, num_threads=threads, schedule="static"):
            run_strips(call, k * chunk, (k + 1) * chunk if (k + 1) * chunk < count else count)
    else:
        run_strips(call, 0, count)


# ------------------------------------------------------------------------------------ rows of 16 bits, rows far apart
#
# Strips of 16-bit numbers become floats in memory of the thread, are worked there as strips of floats are, and are
# packed once.  Columns are copied there too, several strips at a time, if they are not too long: their lines lie far
# apart, where each is a page of its own and all compete for the same places of the cache.

cdef enum:
    NEAR = 1 << 15                  # bytes of an array whose columns are worked where they lie
    COPIED = 1 << 17                # bytes of columns that a thread copies, at most
    WIDE = 128                      # columns taken together, at most

cdef struct PackedPass:
    const RowPass* call
    const Format* format
    bint reads_y
    bint writes
    bint in_place                   # results take the place of x, which keeps a row in a nearer cache
    Py_ssize_t room                 # bytes of what is taken together, in each array
    Py_ssize_t width                # rows that are taken together
    Py_ssize_t groups               # of columns, for each index of the outer axes


cdef inline int arrays_of(const PackedPass* packed) noexcept nogil:
    return 1 + (1 if packed.reads_y else 0) + (1 if packed.writes and not packed.in_place else 0)


# The pass over one strip in `memory`, which is still to be filled
cdef RowPass pass_in_memory(const PackedPass* packed, const Place* place, char* memory) noexcept nogil:
    cdef RowPass floats = packed.call[0]
    floats.arrays[0] = memory
    floats.arrays[1] = memory + packed.room if packed.reads_y else memory
    floats.arrays[2] = memory if packed.in_place else memory + (arrays_of(packed) - 1) * packed.room
    floats.itemsize = packed.format.number_size
    floats.count_of_rows = place.width
    floats.inner = 1 if floats.inner == 1 else place.width
    floats.strips = (floats.inner + floats.width - 1) // floats.width
    floats.fetching = False         # they are in the cache
    if floats.results != NULL:
        floats.results += place.first
    if floats.scales != NULL:
        floats.scales += place.first
    if floats.labels != NULL:
        floats.labels += place.first
    return floats


# `n` numbers to floats, for which there is room up to a multiple of LANES
cdef inline void unpack_numbers(const Format* format, const uint16_t* source, float* target,
                                Py_ssize_t n) noexcept nogil:
    cdef uint16_t end[LANES]
    cdef Py_ssize_t whole = n // LANES * LANES, i
    format.unpack(source, target, whole)
    if whole < n:
        for i in range(LANES):
            end[i] = source[whole + i] if whole + i < n else 0
        format.unpack(end, target + whole, LANES)


cdef inline void pack_numbers(const Format* format, const float* source, uint16_t* target,
                              Py_ssize_t n) noexcept nogil:
    cdef float end[LANES]
    cdef uint16_t packed_end[LANES]
    cdef Py_ssize_t whole = n // LANES * LANES, i
    format.pack(source, target, whole)
    if whole < n:
        for i in range(LANES):
            end[i] = source[whole + i] if whole + i < n else 0
        format.pack(end, packed_end, LANES)
        for i in range(n - whole):
            target[whole + i] = packed_end[i]


cdef inline void copy_line(char* target, const char* source, Py_ssize_t bytes) noexcept nogil:
    if bytes == STRIP * 2:          # of a known length, it is a few instructions
        memcpy(target, source, STRIP * 2)
    elif bytes == STRIP * 4:
        memcpy(target, source, STRIP * 4)
    else:
        memcpy(target, source, bytes)


# The lines of one array of columns, from `start` to `stop`.  What the next columns have of them is fetched.
cdef void copy_columns(const PackedPass* packed, const Place* place, int array, bint packing, char* numbers,
                       Py_ssize_t start, Py_ssize_t stop) noexcept nogil:
    cdef Py_ssize_t width = place.width * packed.format.itemsize, distance = packed.call.inner * packed.format.itemsize
    cdef char* memory = packed.call.arrays[array] + place.offset
    cdef Py_ssize_t k
    for k in range(start, stop):
        if packing:
            copy_line(memory + k * distance, numbers + k * width, width)
        else:
            copy_line(numbers + k * width, memory + k * distance, width)
        if packed.call.fetching:
            fetch(memory + k * distance + width, width)


# The numbers of one array: of contiguous rows all of them, else a line from each column, at every place from `start` to
# `stop`
cdef void convert(const PackedPass* packed, const Place* place, int array, bint packing, float* numbers,
                  Py_ssize_t start, Py_ssize_t stop) noexcept nogil:
    cdef Py_ssize_t distance = packed.call.inner, width = 1 if distance == 1 else place.width, count, line, lines
    cdef uint16_t block[BLOCK]
    cdef uint16_t* memory = <uint16_t*> (packed.call.arrays[array] + place.offset) + start * distance
    if packed.format.unpack == NULL:
        copy_columns(packed, place, array, packing, <char*> numbers, start, stop)
        return
    numbers += start * width
    while start < stop:
        lines = stop - start
        if distance != width and lines > BLOCK // width:
            lines = BLOCK // width
        count = lines * width
        if distance == width and packing:
            pack_numbers(packed.format, numbers, memory, count)
        elif distance == width:
            unpack_numbers(packed.format, memory, numbers, count)
        elif packing:
            pack_numbers(packed.format, numbers, block, count)
            for line in range(lines):
                copy_line(<char*> (memory + line * distance), <char*> (block + line * width), width * sizeof(uint16_t))
        else:
            for line in range(lines):
                copy_line(<char*> (block + line * width), <char*> (memory + line * distance), width * sizeof(uint16_t))
            unpack_numbers(packed.format, block, numbers, count)
        numbers += count
        memory += lines * distance
        start += lines


cdef inline void unpack_strip(const PackedPass* packed, const Place* place, const RowPass* floats, Py_ssize_t start,
                              Py_ssize_t stop) noexcept nogil:
    convert(packed, place, 0, False, <float*> floats.arrays[0], start, stop)
    if packed.reads_y:
        convert(packed, place, 1, False, <float*> floats.arrays[1], start, stop)


cdef inline void pack_strip(const PackedPass* packed, const Place* place, const RowPass* floats, Py_ssize_t start,
                            Py_ssize_t stop) noexcept nogil:
    if packed.writes:
        convert(packed, place, 2, True, <float*> floats.arrays[2], start, stop)


# What is taken together, `start` to `stop`, on the calling thread; `memory` is NULL where the stack has room enough.
cdef void run_packed_strips(const PackedPass* packed, Py_ssize_t start, Py_ssize_t stop, char* memory) noexcept nogil:
    cdef char stack[ON_STACK + CACHE_LINE]
    cdef fastact_environment callers = fastact_enter()
    cdef RowPass floats
    cdef Place place
    cdef Py_ssize_t index, places, k
    if memory == NULL:
        memory = <char*> ((<size_t> stack + CACHE_LINE - 1) // CACHE_LINE * CACHE_LINE)
    for index in range(start, stop):
        place = place_of(packed.call, index, packed.width, packed.groups)
        floats = pass_in_memory(packed, &place, memory)
        places = place.width * floats.n if floats.inner == 1 else floats.n
        unpack_strip(packed, &place, &floats, 0, places)
        if packed.call.fetching and floats.inner == 1 and places <= SEGMENT:    # the next strip
            fetch(packed.call.arrays[0] + place.offset + places * sizeof(uint16_t), places * sizeof(uint16_t))
            fetch(packed.call.arrays[2] + place.offset + places * sizeof(uint16_t), places * sizeof(uint16_t))
        for k in range(floats.strips):
            run_strip(&floats, k)
        pack_strip(packed, &place, &floats, 0, places)
    fastact_leave(callers)


# A part of it on the calling thread
cdef void convert_part(const PackedPass* packed, const Place* place, const RowPass* floats, bint packing,
                       Py_ssize_t start, Py_ssize_t stop) noexcept nogil:
    cdef fastact_environment callers = fastact_enter()
    if packing:
        pack_strip(packed, place, floats, start, stop)
    else:
        unpack_strip(packed, place, floats, start, stop)
    fastact_leave(callers)


# What is taken together - a row, or columns - with all threads
cdef void run_packed_strip_in_parallel(const PackedPass* packed, Py_ssize_t index, char* memory, int threads,
                                       double nanoseconds) noexcept nogil:
    cdef RowPass floats
    cdef Place place
    cdef Py_ssize_t n = packed.call.n, chunk = ((n + threads - 1) // threads + LANES - 1) // LANES * LANES
    cdef int k
    place = place_of(packed.call, index, packed.width, packed.groups)
    floats = pass_in_memory(packed, &place, memory)
    for k in prange(threads, num_threads=threads, schedule="static"):
        convert_part(packed, &place, &floats, False, k * chunk, (k + 1) * chunk if (k + 1) * chunk < n else n)
    run_rows(&floats, floats.strips, nanoseconds)
    for k in prange(threads, num_threads=threads, schedule="static"):
        convert_part(packed, &place, &floats, True, k * chunk, (k + 1) * chunk if (k + 1) * chunk < n else n)


# As run_rows, for all outer indices; returns -1, and has done nothing, where there is no memory.
cdef int run_packed_rows(PackedPass* packed, Py_ssize_t outer, double nanoseconds) noexcept nogil:
    cdef const RowPass* call = packed.call
    cdef int threads = team() if nanoseconds > PARALLEL_NANOSECONDS else 1, k
    cdef Py_ssize_t index, chunk, rows = call.count_of_rows if call.inner == 1 else call.inner
    cdef Py_ssize_t count = (rows + packed.width - 1) // packed.width * (1 if call.inner == 1 else outer)
    cdef bint together = threads > 1 and count < 2 * threads and call.n >= 2 * SEGMENT
    cdef void* allocated = NULL
    cdef char* memory = NULL
    cdef Py_ssize_t all_arrays
    packed.groups = (call.inner + packed.width - 1) // packed.width
    packed.room = ((rows if rows < packed.width else packed.width) * call.n + LANES - 1) // LANES * LANES
    packed.room *= packed.format.number_size
    all_arrays = arrays_of(packed) * packed.room
    if all_arrays > ON_STACK:
        allocated = fastact_allocate((1 if together else threads) * all_arrays + CACHE_LINE)
        if allocated == NULL:
            return -1
        memory = <char*> ((<size_t> allocated + CACHE_LINE - 1) // CACHE_LINE * CACHE_LINE)
    if together:
        for index in range(count):
            run_packed_strip_in_parallel(packed, index, memory, threads, nanoseconds)
    elif threads > 1 and count > 1:
        chunk = (count + threads - 1) // threads
        for k in prange(threads, num_threads=threads, schedule="static"):
            run_packed_strips(packed, k * chunk, (k + 1) * chunk if (k + 1) * chunk < count else count,
                              NULL if memory == NULL else memory + k * all_arrays)
    else:
        run_packed_strips(packed, 0, count, memory)
    free(allocated)
    return 0


cdef class RowOperation:
    """One entry of ROW_OPERATIONS with its kernels.

    Parameters
    ----------
    name : str
        Key of ROW_OPERATIONS.
    kernels : dict
        The table KERNELS of the instruction set in use.
    cost : float
        Nanoseconds per entry on one thread, from which follows when a second thread pays.
    """

    def __cinit__(self, str name, dict kernels, double cost):
        cdef int k, d
        cdef size_t address
        cdef bint stored = False
        self.cost = cost
        self.count = len(ROW_OPERATIONS[name])
        assert self.count <= STEPS
        self.in_place = True
        for k, text in enumerate(ROW_OPERATIONS[name]):
            function, *read = text.lstrip("-?").split()
            self.in_place = self.in_place and not (stored and "x" in read)
            stored = stored or function.endswith(".store")
            arrays = [("x", "y", "out").index(array) for array in read] + [0, 0]
            for d, dtype in enumerate(("float", "double")):
                self.steps[d][k].kind = STEP_KINDS[function.partition("_")[0]]
                address = kernels[f"rows.{function}.{dtype}"]
                self.steps[d][k].rows = <void*> address
                address = kernels.get(f"columns.{function}.{dtype}", 0)
                self.steps[d][k].columns = <void*> address
                self.steps[d][k].x, self.steps[d][k].y = arrays[:2]
                self.steps[d][k].for_long = text.startswith("-")
                self.steps[d][k].for_confident = text.startswith("?")

    # All arrays are plain, of one shape [outer, n, inner] and dtype; results, scales (float64) and labels (intp) have
    # the shape [outer, inner].  y, out, results, scales and labels may be None.
    cdef object run(self, cnp.ndarray x, cnp.ndarray y, cnp.ndarray out, cnp.ndarray results, cnp.ndarray scales,
                    double scale, cnp.ndarray labels, Py_ssize_t outer, Py_ssize_t n, Py_ssize_t inner,
                    double factor=1, double factor_low=0):
        cdef RowPass call
        cdef PackedPass packed
        cdef const Format* format = &formats[format_of(x)]
        cdef Py_ssize_t strips, size = outer * n * inner
        cdef double nanoseconds
        cdef int failed = 0
        cdef bint in_memory
        if size == 0:                           # there may be more rows than can ever be counted
            return
        if size > UNASKED and outer > 1:
            self.run_in_parts(x, y, out, results, scales, scale, labels, outer, n, inner, factor, factor_low)
            return
        call.steps = self.steps[0 if format.number_size == 4 else 1]
        call.count = self.count
        call.itemsize = cnp.PyArray_ITEMSIZE(x)
        # What a step does not read it is still handed: any address that is good for the same number of entries.
        call.arrays[0] = <char*> cnp.PyArray_DATA(x)
        call.arrays[1] = <char*> cnp.PyArray_DATA(x if y is None else y)
        call.arrays[2] = <char*> cnp.PyArray_DATA(x if out is None else out)
        call.n, call.inner = n, inner
        call.count_of_rows = outer * inner
        call.width = STRIP if inner != 1 else min(SEGMENT // n, STRIP) if n < PIECE else 1
        call.strips = (inner + call.width - 1) // call.width
        call.fetching = size * 2 * call.itemsize > BEYOND_CACHE
        call.results = NULL if results is None else <double*> cnp.PyArray_DATA(results)
        call.scales = NULL if scales is None else <double*> cnp.PyArray_DATA(scales)
        call.scale = scale
        call.factor, call.factor_low = factor, factor_low
        call.labels = NULL if labels is None else <cnp.npy_intp*> cnp.PyArray_DATA(labels)
        strips = outer * call.strips if inner != 1 else (outer + call.width - 1) // call.width
        nanoseconds = size * self.cost * format.number_size / 4
        packed.call, packed.format = &call, format
        packed.reads_y, packed.writes, packed.in_place = y is not None, out is not None, self.in_place
        packed.width = WIDE if inner != 1 else call.width
        while packed.width > call.width and (
                arrays_of(&packed) * n * packed.width * format.number_size > COPIED
                or outer * ((inner + packed.width - 1) // packed.width) < 2 * team()):
            packed.width //= 2
        in_memory = format.unpack != NULL or (
            inner != 1 and size * format.itemsize > NEAR
            and arrays_of(&packed) * n * min(inner, packed.width) * format.number_size <= COPIED)
        if in_memory and size <= HELD:
            failed = run_packed_rows(&packed, outer, nanoseconds)
        elif in_memory:
            with nogil:
                failed = run_packed_rows(&packed, outer, nanoseconds)
        if failed and format.unpack == NULL:    # no memory for a copy: where they lie, then
            in_memory = failed = False
        if not in_memory and size <= HELD:
            run_rows(&call, strips, nanoseconds)
        elif not in_memory:
            with nogil:
                run_rows(&call, strips, nanoseconds)
        if failed:
            raise MemoryError(f"fastact: no memory for rows of {n} numbers as float32")

    # So many rows at a time that Ctrl-C ends the call soon; it leaves the rest unwritten.
    cdef object run_in_parts(self, x, y, out, results, scales, double scale, labels, Py_ssize_t outer, Py_ssize_t n,
                             Py_ssize_t inner, double factor, double factor_low):
        cdef Py_ssize_t start, part = max(UNASKED // (n * inner), 1)
        arrays = [None if array is None else array.reshape(outer, -1) for array in (x, y, out, results, scales, labels)]
        for start in range(0, outer, part):
            x, y, out, results, scales, labels = [
                None if array is None else array[start:start + part] for array in arrays]
            self.run(x, y, out, results, scales, scale, labels, min(part, outer - start), n, inner, factor, factor_low)
            PyErr_CheckSignals()


# ----------------------------------------------------------------------------------------------------------------- sums

cdef enum:
    SIDE_BY_SIDE = 16               # sums of columns that are taken together: a cache line of floats
    LINES = 128                     # of columns that are copied at a time

cdef struct SumPass:
    sum_block add
    const char* numbers             # [outer, kept, inner]
    Py_ssize_t itemsize
    Py_ssize_t outer
    Py_ssize_t kept
    Py_ssize_t inner
    Py_ssize_t width                # sums that are taken together
    double* results                 # of every kept index
    uint64_t divisor


# The same for columns, which are copied some lines at a time, so that each lies in one piece
cdef void sum_columns(const SumPass* call, Py_ssize_t start, Py_ssize_t stop, Py_ssize_t first, Py_ssize_t width,
                      fastact_sum* totals) noexcept nogil:
    cdef double columns[SIDE_BY_SIDE * LINES]
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
cdef void sum_part(const SumPass* call, Py_ssize_t start, Py_ssize_t stop, Py_ssize_t first, Py_ssize_t width,
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


cdef void round_sums(const SumPass* call, Py_ssize_t first, Py_ssize_t width, const fastact_sum* totals) noexcept nogil:
    cdef fastact_environment callers = fastact_enter()
    cdef Py_ssize_t j
    for j in range(width):
        call.results[first + j] = fastact_sum_rounded(&totals[j], call.divisor)
    fastact_leave(callers)


# Where there are many sums each thread takes some, else all threads take parts of the same.
cdef void run_sum_pass(const SumPass* call, int threads, Py_ssize_t parts, fastact_sum* totals) noexcept nogil:
    cdef Py_ssize_t groups = (call.kept + call.width - 1) // call.width, length = (call.outer + parts - 1) // parts
    cdef Py_ssize_t share = (groups + threads - 1) // threads, group, first, width, part, j
    cdef int k
    if parts == 1:
        for k in prange(threads, num_threads=threads, schedule="static"):
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
            sum_part(call, k * length, (k + 1) * length if (k + 1) * length < call.outer else call.outer, first, width,
                     totals + k * call.width)
        for j in range(width):
            for part in range(1, parts):
                fastact_sum_add(&totals[j], &totals[part * call.width + j])
        round_sums(call, first, width, totals)


# The sums over the first and the last axis of a contiguous [outer, kept, inner] of float32 or float64, over `divisor`,
# each rounded once
cdef cnp.ndarray exact_sums(cnp.ndarray numbers, Py_ssize_t outer, Py_ssize_t kept, Py_ssize_t inner,
                            uint64_t divisor=1):
    cdef SumPass call
    cdef cnp.npy_intp length = kept
    cdef cnp.ndarray results = cnp.PyArray_ZEROS(1, &length, cnp.NPY_DOUBLE, 0)
    cdef fastact_sum* totals
    cdef int threads = team() if outer * kept * inner > PARALLEL_NANOSECONDS else 1     # a nanosecond each
    cdef Py_ssize_t parts
    if outer * kept * inner == 0:
        return results
    if kept == 1:
        outer, inner = outer * inner, 1
    call.add = sums[0 if cnp.PyArray_ITEMSIZE(numbers) == 4 else 1]
    call.numbers, call.itemsize = <const char*> cnp.PyArray_DATA(numbers), cnp.PyArray_ITEMSIZE(numbers)
    call.outer, call.kept, call.inner, call.divisor = outer, kept, inner, divisor
    call.width = min(kept, SIDE_BY_SIDE) if inner == 1 else 1
    call.results = <double*> cnp.PyArray_DATA(results)
    parts = threads if threads > 1 and (kept + call.width - 1) // call.width < 2 * threads <= outer else 1
    totals = <fastact_sum*> fastact_allocate(threads * call.width * sizeof(fastact_sum))
    if totals == NULL:
        raise MemoryError("fastact: no memory for sums")
    with nogil:
        run_sum_pass(&call, threads, parts, totals)
    free(totals)
    return results
