# The C interface of fastact: its functions on contiguous memory.  This file is public; later versions add to it, and
# change nothing.
#
#   from fastact.capi cimport FASTACT_FLOAT32, fastact_operation, fastact_run
#
#   cdef const void* gelu = fastact_operation(b"gelu", b"value", FASTACT_FLOAT32)   # once, with the GIL
#   cdef void* operands[2]
#   operands[0], operands[1] = x, y
#   with nogil:
#       status = fastact_run(gelu, operands, n, NULL)
#
# An operation is a mode of a function of `fastact.activations`, for one dtype.  Its address is valid for the life of
# the process.  The functions that take it need no GIL, and any thread may call them.  A thread that Python knows shares
# a large call among as many threads as `fastact.get_num_threads()` says; the worker of another pool, which Python does
# not know, or a thread of an OpenMP region computes alone.  Results have the bits of the calls on arrays.
#
# The operands of an operation are addresses: the inputs, then the outputs.  Each is aligned as its dtype is.  An output
# is the memory of an input, or does not overlap it.  `fastact_run` takes the elementwise and gated functions; their
# operands are n numbers each:
#
#   value                   x, y                and of gated functions: gate, other, y
#   derivative              x, dy/dx
#   value_and_derivative    x, y, dy/dx
#   backward                dy, x, dx           and of gated functions: dy, gate, other, d(gate), d(other)
#   backward_from_output    dy, y, dx           of functions whose derivative is a function of the value
#   backward_<parameter>    dy, x, d(parameter) of learnt parameters, without the sum
#
# `fastact_rows` takes the functions of rows.  The rows lie along the middle axis of arrays [outer, n, inner]:
# contiguous rows have inner = 1.  Numbers marked with * are doubles, one for each row, whatever the dtype is:
#
#   value                   x, y                and of logsumexp: x, y*
#   backward                dy, y, dx           and of logsumexp: dy*, x, dx
#
# `parameters` are numbers, as many as the function has, in the order of its attribute `parameters`; NULL: the defaults.
# Both functions return a status.  Unless it is FASTACT_DONE, nothing was written.
#
# C code without Cython finds the same functions by a capsule:
#
#   typedef struct {
#       int version;            /* 1.  Later versions have more members at the end. */
#       const void *(*operation)(const char *name, const char *mode, int dtype);    /* NULL: an exception is set */
#       int (*run)(const void *operation, void **operands, ptrdiff_t n, const double *parameters);
#       int (*rows)(const void *operation, void **operands, ptrdiff_t outer, ptrdiff_t n, ptrdiff_t inner,
#                   const double *parameters);
#   } fastact_api;
#
#   PyObject *module = PyImport_ImportModule("fastact.capi");
#   const fastact_api *api = module ? PyCapsule_Import("fastact.capi._C_API", 0) : NULL;

from libc.stddef cimport ptrdiff_t

cdef enum:
    FASTACT_VERSION = 1

# The dtypes.  bfloat16 needs no ml_dtypes here.
cdef enum:
    FASTACT_FLOAT16
    FASTACT_FLOAT32
    FASTACT_FLOAT64
    FASTACT_BFLOAT16

# What a call returns
cdef enum:
    FASTACT_DONE
    FASTACT_WRONG_OPERATION         # NULL, or an operation of the other function
    FASTACT_WRONG_SIZE              # negative
    FASTACT_WRONG_PARAMETER         # a number that the function does not accept
    FASTACT_NO_MEMORY               # for rows of 16-bit numbers as floats, or for factors of rows

# The address of an operation.  With the GIL; raises ValueError if there is none.
cdef const void* fastact_operation(const char* name, const char* mode, int dtype) except NULL

cdef int fastact_run(const void* operation, void** operands, ptrdiff_t n, const double* parameters) noexcept nogil
cdef int fastact_rows(const void* operation, void** operands, ptrdiff_t outer, ptrdiff_t n, ptrdiff_t inner,
                      const double* parameters) noexcept nogil

cdef struct fastact_api:
    int version
    const void* (*operation)(const char* name, const char* mode, int dtype) except NULL
    int (*run)(const void* operation, void** operands, ptrdiff_t n, const double* parameters) noexcept nogil
    int (*rows)(const void* operation, void** operands, ptrdiff_t outer, ptrdiff_t n, ptrdiff_t inner,
                const double* parameters) noexcept nogil

# Functions of one number, float or double: gelu(x), gelu_derivative(x), softplus(x, beta) and so on, for each
# elementwise activation, with all of its parameters.  They return NaN for a parameter that is not accepted.  In
# `__pyx_capi__` of the module, __pyx_fuse_0gelu is that of float and __pyx_fuse_1gelu that of double.
from cython cimport floating

include "capi_declarations.pxi"
