# The block loops: the only loops over elements.  Each takes a formula and contiguous arrays of one block.
#
# A formula arrives as a constant function pointer and is inlined (CYTHON_INLINE forces it, see setup.py), so each
# kernel that setup.py writes is one loop of packed arithmetic.  tests/test_codegen.py reads the disassembly.
#
#   * The number of elements is a multiple of LANES: no scalar epilogue, and element i has the same bits wherever it
#     stands.  The engine pads the last few elements.
#   * Outputs may be inputs (in place), but not overlap them otherwise.
#   * Parameters are arrays like x, or, when `unit` says so, all equal to the literal 1: softplus(x) with beta = 1
#     then costs nothing for its parameter.

from fastact._primitives cimport floating

cdef enum:
    LANES = 16              # elements per vector of the widest instruction set: float, AVX-512

# operands: inputs (x or y last), then parameters, then outputs
ctypedef void (*block_kernel)(void** operands, Py_ssize_t n, bint unit) noexcept nogil

ctypedef float (*float_formula)(float) noexcept nogil
ctypedef float (*float_formula_1)(float, float) noexcept nogil
ctypedef double (*double_formula)(double) noexcept nogil
ctypedef double (*double_formula_1)(double, double) noexcept nogil


# f(x) or f(x, parameter)
cdef inline floating call(void* f, int parameters, floating x, floating parameter) noexcept nogil:
    if floating is float:
        if parameters == 0:
            return (<float_formula> f)(x)
        else:
            return (<float_formula_1> f)(x, parameter)
    else:
        if parameters == 0:
            return (<double_formula> f)(x)
        else:
            return (<double_formula_1> f)(x, parameter)


# out = f(x): values and derivatives
cdef inline void map_block(void* f, int parameters, floating** operands, Py_ssize_t n, bint unit) noexcept nogil:
    cdef floating* x = operands[0]
    cdef floating* parameter = operands[1]
    cdef floating* out = operands[1 + parameters]
    cdef Py_ssize_t i
    n = n // LANES * LANES
    if parameters == 0 or unit:
        for i in range(n):
            out[i] = call[floating](f, parameters, x[i], 1)
    else:
        for i in range(n):
            out[i] = call[floating](f, parameters, x[i], parameter[i])


# out = dy f(x): backward from the input or, f being a function of the output, from the output
cdef inline void backward_block(void* f, int parameters, floating** operands, Py_ssize_t n, bint unit) noexcept nogil:
    cdef floating* dy = operands[0]
    cdef floating* x = operands[1]
    cdef floating* parameter = operands[2]
    cdef floating* out = operands[2 + parameters]
    cdef Py_ssize_t i
    n = n // LANES * LANES
    if parameters == 0 or unit:
        for i in range(n):
            out[i] = dy[i] * call[floating](f, parameters, x[i], 1)
    else:
        for i in range(n):
            out[i] = dy[i] * call[floating](f, parameters, x[i], parameter[i])


# out, second = f(x), g(x): what the two have in common is computed once
cdef inline void both_block(void* f, void* g, int parameters, floating** operands, Py_ssize_t n,
                            bint unit) noexcept nogil:
    cdef floating* x = operands[0]
    cdef floating* parameter = operands[1]
    cdef floating* out = operands[1 + parameters]
    cdef floating* second = operands[2 + parameters]
    cdef floating element
    cdef Py_ssize_t i
    n = n // LANES * LANES
    if parameters == 0 or unit:
        for i in range(n):
            element = x[i]
            out[i] = call[floating](f, parameters, element, 1)
            second[i] = call[floating](g, parameters, element, 1)
    else:
        for i in range(n):
            element = x[i]
            out[i] = call[floating](f, parameters, element, parameter[i])
            second[i] = call[floating](g, parameters, element, parameter[i])
