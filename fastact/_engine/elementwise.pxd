# A kernel of one elementwise activation in every format, with the ufunc made of it.

cimport numpy as cnp
from cpython.object cimport PyObject

from fastact._engine.formats cimport FORMATS, Format
from fastact._loops.elementwise cimport block_kernel

cdef enum:
    OPERANDS = 8                    # inputs, parameters and outputs of one kernel at most

# One mode (value, derivative, backward ...) of one elementwise activation, in one format
cdef struct Kernel:
    block_kernel run
    int inputs                      # arrays
    int parameters
    int operands                    # inputs, parameters and outputs
    double neutral[OPERANDS]        # parameters that the kernel removes if it is given the form NEUTRAL
    const Format* format            # of inputs and outputs; parameters are floats or doubles
    double cost                     # nanoseconds per element on one thread
    bint copies                     # the result is the input


# Parameters as numbers of either dtype
cdef struct Numbers:
    float as_float[OPERANDS]
    double as_double[OPERANDS]


# A loop of a ufunc: one call of the `Kernel` that is its data
cdef void ufunc_loop(char** data, const cnp.npy_intp* dimensions, const cnp.npy_intp* strides,
                     void* kernel) noexcept nogil


cdef class KernelSet:
    cdef Kernel kernels[FORMATS]
    cdef cnp.PyUFuncGenericFunction functions[FORMATS]
    cdef void* kernels_of_ufunc[FORMATS]
    cdef char types[FORMATS * OPERANDS]
    cdef bytes name, documentation
    cdef readonly object ufunc
    cdef object call_plain(self, PyObject* const* inputs, object out, const Numbers* parameters)
    cdef void call_packed(self, object dy, cnp.ndarray x, Py_ssize_t rows, Py_ssize_t length, bint gate_last,
                          cnp.ndarray out, const Numbers* parameters) except *
