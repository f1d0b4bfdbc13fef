# Operations on rows of which a part takes part: an interval, and within it what `where` and `bias` leave.

cimport numpy as cnp

from fastact._engine.rows cimport RowCall, RowOperation

cdef enum:
    AXES_MAX = 64                   # of NumPy's arrays

# An array that is broadcast to the rows: the axes of the rows, in the order of their indices, then the entries
cdef struct Broadcast:
    const char* data                # NULL: there is none
    int axes
    Py_ssize_t lengths[AXES_MAX]
    Py_ssize_t strides[AXES_MAX]    # bytes
    Py_ssize_t along                # bytes from one entry of a row to the next

cdef struct MaskCall:
    const cnp.npy_intp* begin       # first entry of the interval of each row; NULL: 0, and all are one interval
    const cnp.npy_intp* end         # the one after its last
    Broadcast where                 # bool
    Broadcast bias                  # numbers as the kernels take them
    double cost                     # nanoseconds that where and bias add to each float32 entry on one thread
    bint adds_bias                  # to the logits; else it only tells which entries take part
    double absent[2]                # what entries of x and of y count as that take no part
    double fill                     # their results
    bint always_fills               # else the steps give them that result, in rows that are not NaN
    bint one_wins                   # hardmax: of entries that are all -inf the first one that takes part
    const double* sinks             # one logit or lse a row, or NULL
    bint sink_is_lse

# How an array is broadcast to a shape that has the entries along its last axis; returns whether it can be.
cdef bint broadcast_to(Broadcast* target, cnp.ndarray array, int ndim, const cnp.npy_intp* shape) noexcept
cdef int run_masked(RowOperation operation, const RowCall* call, const MaskCall* mask) except -1
