# Operations on rows.

cimport numpy as cnp

from fastact._engine.formats cimport Format, format_of, formats
from fastact._engine.strips cimport Step
from fastact._loops.elementwise cimport transposition
from fastact._loops.masking cimport bias_addition, biased_selection, selection

cdef enum:
    STEPS = 20                      # of an operation, at most

# What a row operation is called with: plain arrays of one dtype, [outer, n, inner], the rows along the middle axis;
# results, scales and labels are [outer, inner].
cdef struct RowCall:
    const Format* format
    char* x
    char* y                         # NULL: the operation reads none, and writes none to it
    char* out                       # NULL: it writes none
    double* results                 # one number a row, or NULL
    const double* scales            # factors of the results of each row, or NULL for `scale` everywhere
    double scale
    double factor                   # of x, and its low part
    double factor_low
    double smoothing                # of labels
    double z_loss
    double alpha                    # of entmax
    const cnp.npy_intp* labels      # or NULL
    const double* inputs            # numbers of each row, `inputs_each` beside each other, or NULL
    int inputs_each
    Py_ssize_t outer
    Py_ssize_t n
    Py_ssize_t inner

cdef inline char* data_of(cnp.ndarray array) noexcept:
    return NULL if array is None else <char*> cnp.PyArray_DATA(array)


# A call with the defaults for everything else; at `x` are so many numbers.
cdef inline RowCall row_call_at(const Format* format, char* x, Py_ssize_t outer, Py_ssize_t n,
                                Py_ssize_t inner) noexcept nogil:
    cdef RowCall call
    call.format = format
    call.x, call.y, call.out = x, NULL, NULL
    call.results, call.scales, call.labels = NULL, NULL, NULL
    call.inputs, call.inputs_each = NULL, 0
    call.scale, call.factor, call.factor_low = 1, 1, 0
    call.smoothing = call.z_loss = 0
    call.alpha = 1
    call.outer, call.n, call.inner = outer, n, inner
    return call


# The same for a plain array
cdef inline RowCall row_call(cnp.ndarray x, Py_ssize_t outer, Py_ssize_t n, Py_ssize_t inner) noexcept:
    return row_call_at(&formats[format_of(x)], data_of(x), outer, n, inner)


cdef class RowOperation:
    cdef Step steps[2][STEPS]       # of float and of double
    cdef selection select[2]
    cdef biased_selection select_biased[2]
    cdef bias_addition add_bias[2]
    cdef transposition to_columns[2]
    cdef transposition to_rows[2]
    cdef int count
    cdef double cost
    cdef bint in_place              # no step reads x after results were stored
    cdef bint searches              # it has a step that takes one row at a time
    cdef bint writes_y              # y is a second result
    cdef double nanoseconds(self, const Format* format, double entries, Py_ssize_t n, double more) noexcept nogil
    cdef int run(self, const RowCall* call) except -1
    cdef int run_at_once(self, const RowCall* call, Py_ssize_t size) except -1
    cdef int compute(self, const RowCall* call, Py_ssize_t size) noexcept nogil
    cdef int run_in_parts(self, const RowCall* call) except -1
