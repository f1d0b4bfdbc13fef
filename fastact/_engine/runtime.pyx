"""Threads, forks, processors and the memory of large results: the state that the engine keeps of its process.

It stands in this module and in the C files that are linked into it (process.c, buffers.c), and nowhere else.
"""

cimport numpy as cnp

from contextvars import ContextVar

import numpy as np

cnp.import_array()

cdef extern from "_engine/process.h" nogil:
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
    int fastact_is_serial_child() noexcept
    int fastact_pays(double nanoseconds, double needed) noexcept
    int fastact_processor() noexcept
    void fastact_start_part(int callers) noexcept
    void fastact_end_pass() noexcept
    int fastact_survive_fork() noexcept
    int fastact_supports(const char* set) noexcept
    int fastact_prefetching_pays() noexcept
    int fastact_wide_loads_wait() noexcept

cdef extern from "_engine/buffers.h":
    int fastact_start_buffers() noexcept
    bint fastact_reduce_buffers(size_t bytes, size_t limit) noexcept
    size_t fastact_buffer_limit() noexcept
    size_t fastact_buffer_bytes() noexcept
    bint fastact_give_up_buffers() noexcept
    void* fastact_allocate(size_t size) noexcept nogil
    cnp.ndarray fastact_empty(cnp.ndarray array, const cnp.npy_intp* shape)

cdef extern from "Python.h":
    ctypedef struct PyFrameObject:
        pass
    PyFrameObject* PyEval_GetFrame()     # borrowed
    void* PyGILState_GetThisThreadState() noexcept nogil

if fastact_survive_fork() != 0:
    raise OSError("fastact: pthread_atfork failed, so a forked child could hang")
if fastact_start_buffers() != 0:
    raise MemoryError("fastact: no memory for a lock")

OPENMP = bool(FASTACT_OPENMP)

# Less work than this is done by one thread.  A second thread pays from 200 microseconds on if it sleeps, as between two
# layers of a network (benchmarks/costs.py); and a parallel region costs a millisecond while another library's threads
# hold the processor.  Calls of at least an eighth of this that follow one another count as one: while they last the
# second thread spins, but to wake it for the second of two short calls costs as much as ten of them.
cdef double parallel_nanoseconds = 50_000

cdef enum:
    BEYOND_CACHE = 1 << 20          # bytes of all arrays from which prefetching pays

cdef bint prefetching = fastact_prefetching_pays()

cdef bint prefetches(double bytes) noexcept nogil:
    return prefetching and bytes > BEYOND_CACHE


def set_prefetching(bint pays):
    """Set whether passes over much memory prefetch it; returns what was set before.  For benchmarks and tests."""
    global prefetching
    before = prefetching
    prefetching = pays
    return before


# ------------------------------------------------------------------------------------------------------------- threads

def processor_supports(str name):
    """Whether this processor runs an instruction set of fastact/_sets.py."""
    return bool(fastact_supports(name.encode()))


def wide_loads_wait():
    """Whether light kernels are slower with 512-bit loads than with 256-bit ones on this processor."""
    return bool(fastact_wide_loads_wait())


cdef int fixed_threads = 0          # by set_num_threads or FASTACT_NUM_THREADS; 0: none
cdef int processors = 0             # available to this process; 0: OpenMP alone decides
cdef int most_threads = 1           # upper limit for any pass
cdef str fixed_by = ""              # what set fixed_threads

cdef object innermost = ContextVar("fastact.threads", default=None)


cdef class Block:
    """An entered block ``with fastact.threads(n)``; a context variable holds the innermost one.

    Tasks and generators are resumed in any order, so that blocks may be left in another order than they were entered,
    and in another context.  Leaving a block marks it closed wherever it is referenced, and changes no other block.
    """

    cdef int threads
    cdef bint is_open
    cdef Block outer
    cdef tuple frames               # of a generator and its callers, up to the first that is no generator; else empty


# Whether the calling code is inside the block.  Code that runs while the generator that entered the block is suspended
# is not: its stack lacks the generator's frame, and has the frame of the caller that iterates over it.  If the stack
# lacks both, that caller has returned with the block open, as fixtures do, and the block counts.
cdef bint reaches(Block block) except -1:
    cdef object frame
    cdef tuple frames = block.frames
    cdef Py_ssize_t k
    if not frames or PyEval_GetFrame() == NULL:
        return True
    frame = <object> <void*> PyEval_GetFrame()
    while frame is not None:
        for k in range(len(frames)):
            if frame is frames[k]:
                return k == 0
        frame = frame.f_back
    return True


# The number of threads of the innermost block around the calling code; 0: there is none
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
    if not FASTACT_OPENMP or fastact_is_serial_child() or fastact_in_parallel():
        return 1
    # A thread that Python does not know is a worker of another pool.  The pool has as many threads as there are
    # processors, and the thread that waits for them may hold the GIL.
    if PyGILState_GetThisThreadState() == NULL:
        return 1
    if fastact_open_blocks():       # looking for the innermost one takes the GIL
        threads = requested_threads()
    if threads == 0:
        threads = fixed_threads
    if threads == 0:
        threads = fastact_max_threads()
        threads = processors if 0 < processors < threads else threads
    return threads if threads < most_threads else most_threads


cdef int threads_for(double nanoseconds) noexcept nogil:
    cdef int threads = 1
    if nanoseconds > parallel_nanoseconds / 8:
        threads = team()
        if threads > 1 and not fastact_pays(nanoseconds, parallel_nanoseconds):
            threads = 1
    return threads


cdef int this_processor() noexcept nogil:
    return fastact_processor()


cdef void start_part(int callers) noexcept nogil:
    fastact_start_part(callers)


cdef void end_pass() noexcept nogil:
    fastact_end_pass()


def set_threads(int n, str source="fastact.set_num_threads"):
    """Fix the number of threads of every calling thread; `source` is the setting to name in messages."""
    global fixed_threads, fixed_by
    fixed_threads = n
    fixed_by = f"{source}: {n}"


def set_processors(int n):
    """Start at most `n` threads where no number is set."""
    global processors
    processors = n


def limit_threads(int n):
    """Start at most `n` threads in any pass, and at most as many as OpenMP may."""
    global most_threads
    most_threads = min(n, fastact_thread_limit())


def thread_limit():
    """The upper limit for the threads of a pass."""
    return most_threads


def openmp_processors():
    """How many processors OpenMP may use; 0 without OpenMP."""
    return fastact_processors()


def openmp_places():
    """The numbers of the processors to which OpenMP binds threads; empty if it binds none."""
    cdef cnp.ndarray ids
    found = set()
    for place in range(fastact_places()):
        if fastact_processors_of_place(place):
            ids = np.empty(fastact_processors_of_place(place), np.intc)
            fastact_processor_ids(place, <int*> cnp.PyArray_DATA(ids))
            found.update(ids.tolist())
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

    asyncio finalizes abandoned generators in another context than their own.
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
    """Set the work from which a pass is parallel; returns the number before.  For benchmarks and tests."""
    global parallel_nanoseconds
    before = parallel_nanoseconds
    parallel_nanoseconds = nanoseconds
    return before


def thread_source():
    """What fixed the number of threads ("" if nothing did), and how many OpenMP would use."""
    if fastact_is_serial_child():
        return "forked while KMP_INIT_AT_FORK forbids OpenMP to look after forks", 1
    requested = requested_threads()
    if requested:
        return f"fastact.threads: {requested}", fastact_max_threads()
    return fixed_by, fastact_max_threads()


# -------------------------------------------------------------------------------------------- memory of large results

cdef void* allocate(size_t size) noexcept nogil:
    return fastact_allocate(size)


cpdef cnp.ndarray empty_like(cnp.ndarray array):
    return fastact_empty(array, cnp.PyArray_DIMS(array))


cdef cnp.ndarray empty_of_shape(cnp.ndarray array, const cnp.npy_intp* shape):
    return fastact_empty(array, shape)


def limit_buffers(size_t limit):
    """Keep at most so many bytes of released results; 0: NumPy allocates all results."""
    if not fastact_reduce_buffers(limit, limit):
        raise RuntimeError("fastact.set_buffer_limit: the buffers are locked by a thread that a fork left behind")


def buffers():
    """The limit of the kept memory and its size now, in bytes."""
    return fastact_buffer_limit(), fastact_buffer_bytes()


def give_up_buffers():
    """Release the kept memory after an allocation failed; returns whether there was any, and a retry makes sense."""
    return fastact_give_up_buffers()


def clear_buffers():
    """Release the memory that is kept for large results.

    Raises
    ------
    RuntimeError
        If it is locked for ever, by a thread that was releasing a result while the process was forked.
    """
    if not fastact_reduce_buffers(0, fastact_buffer_limit()):
        raise RuntimeError("fastact.clear_buffers: the buffers are locked by a thread that a fork left behind")
