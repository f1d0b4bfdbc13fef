# What the other modules of the engine use of the runtime.

cimport numpy as cnp

cdef enum:
    GIL_HELD_MAX = 8192             # elements up to which the GIL is kept: releasing it costs more than it frees
    SIGNAL_INTERVAL = 1 << 25       # elements between two checks for signals, 20 to 50 ms

cdef extern from "_engine/process.h" nogil:
    ctypedef struct fastact_environment:
        pass
    fastact_environment fastact_enter() noexcept
    void fastact_leave(fastact_environment callers) noexcept
    float fastact_nearest_float(double number) noexcept

# How many threads the calling thread starts for so much work: 1, or the number of a parallel pass
cdef int threads_for(double nanoseconds) noexcept nogil
cdef int team() noexcept nogil

# Of a parallel pass: the processor of the thread that starts it, which each part is given as it starts, and the end
cdef int this_processor() noexcept nogil
cdef void start_part(int callers) noexcept nogil
cdef void end_pass() noexcept nogil

# Whether a pass over so many bytes prefetches them
cdef bint prefetches(double bytes) noexcept nogil

# malloc, which releases the kept memory of results before it fails
cdef void* allocate(size_t size) noexcept nogil

# np.empty_like of a plain array
cpdef cnp.ndarray empty_like(cnp.ndarray array)

# The same in another shape of as many dimensions
cdef cnp.ndarray empty_of_shape(cnp.ndarray array, const cnp.npy_intp* shape)
