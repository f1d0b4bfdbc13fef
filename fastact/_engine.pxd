# What activation.pyx sees of the engine.

cimport numpy as cnp
from libc.stdint cimport uint64_t

from fastact._loops cimport block_kernel, convert_block

cdef enum:
    OPERANDS = 8                    # inputs, parameters and outputs of one kernel at most
    STEPS = 12                      # of a row operation at most
    FORMATS = 4

# float16, float32, float64, bfloat16: what an array holds
cdef struct Format:
    int type_number                 # NumPy's; -1: ml_dtypes, which has bfloat16, was not imported so far
    Py_ssize_t itemsize
    Py_ssize_t number_size          # of the float or double that the kernels take
    convert_block unpack            # to that and back; NULL: it is one
    convert_block pack


# One mode (value, derivative, backward ...) of one elementwise activation, in one dtype
cdef struct Loop:
    block_kernel kernel
    int inputs                      # arrays
    int parameters
    int operands                    # inputs, parameters and outputs
    const Format* format            # of the arrays; parameters are floats or doubles
    double cost                     # nanoseconds per element on one thread


# Parameters as numbers of either dtype
cdef struct Numbers:
    float as_float[OPERANDS]
    double as_double[OPERANDS]


# The same in every dtype, with the ufunc made of it
cdef class Mode:
    cdef Loop loops[FORMATS]
    cdef cnp.PyUFuncGenericFunction functions[FORMATS]
    cdef void* loops_of_ufunc[FORMATS]
    cdef char types[FORMATS * OPERANDS]
    cdef bytes name, documentation
    cdef add_bfloat16(self, int type_number)
    cdef readonly object ufunc
    cdef object call_plain(self, object first, object second, object out, const Numbers* parameters)


cdef struct Step:
    int kind
    void* rows                      # the kernel for contiguous rows, and that for columns
    void* columns
    int x                           # which array its formula calls x, and which y
    int y
    bint for_long                   # rows only
    bint for_confident              # or short rows only


# One operation on rows, in every dtype
cdef class RowOperation:
    cdef Step steps[2][STEPS]       # float, double
    cdef int count
    cdef double cost
    cdef bint in_place              # whether no step reads x after results were stored
    cdef object run(self, cnp.ndarray x, cnp.ndarray y, cnp.ndarray out, cnp.ndarray results, cnp.ndarray scales,
                    double scale, cnp.ndarray labels, Py_ssize_t outer, Py_ssize_t n, Py_ssize_t inner,
                    double factor=?, double factor_low=?)
    cdef object run_in_parts(self, x, y, out, results, scales, double scale, labels, Py_ssize_t outer, Py_ssize_t n,
                             Py_ssize_t inner, double factor, double factor_low)


cdef cnp.ndarray exact_sums(cnp.ndarray numbers, Py_ssize_t outer, Py_ssize_t kept, Py_ssize_t inner,
                            uint64_t divisor=?)
cdef float nearest_float(double number) noexcept
cdef void nearest_floats(const double* numbers, float* floats, Py_ssize_t count) noexcept
cdef bint is_bfloat16(object dtype) except -1
cdef bint is_plain(object array) noexcept
cdef bint is_plain_pair(object array, object other) noexcept
cdef bint is_plain_out(object out, object array) noexcept
cdef cnp.ndarray empty_like_plain(cnp.ndarray array)
