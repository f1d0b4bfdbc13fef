# The block loops: the only loops over elements.  Each takes a formula and contiguous arrays of one block.
#
# A formula arrives as a constant function pointer and is inlined (CYTHON_INLINE forces it, see setup.py), so each
# kernel that setup.py writes is one loop of packed arithmetic.  tests/test_codegen.py reads the disassembly.
#
#   * The number of elements is a multiple of LANES: no scalar epilogue, and element i has the same bits wherever it
#     stands.  The engine pads the last few elements.
#   * Outputs may be inputs (in place), but not overlap them otherwise.
#   * Parameters come in one of three forms: arrays like x; one number each for the whole block; or a single parameter
#     that is the literal 1, of which then nothing is left: softplus(x) with beta = 1 costs nothing for its parameter.

from fastact._primitives cimport floating

cdef enum:
    LANES = 16              # elements per vector of the widest instruction set: float, AVX-512

# how the parameters come
cdef enum:
    ARRAYS
    NUMBERS
    ONES                    # numbers, and all of them 1

# operands: inputs (x or y last), then parameters, then outputs
ctypedef void (*block_kernel)(void** operands, Py_ssize_t n, int form) noexcept nogil

ctypedef float (*float_formula)(float) noexcept nogil
ctypedef float (*float_formula_1)(float, float) noexcept nogil
ctypedef float (*float_formula_2)(float, float, float) noexcept nogil
ctypedef float (*float_formula_3)(float, float, float, float) noexcept nogil
ctypedef double (*double_formula)(double) noexcept nogil
ctypedef double (*double_formula_1)(double, double) noexcept nogil
ctypedef double (*double_formula_2)(double, double, double) noexcept nogil
ctypedef double (*double_formula_3)(double, double, double, double) noexcept nogil


# f(x), f(x, a), f(x, a, b) or f(x, a, b, c)
cdef inline floating call(void* f, int parameters, floating x, floating a, floating b, floating c) noexcept nogil:
    if floating is float:
        if parameters == 0:
            return (<float_formula> f)(x)
        elif parameters == 1:
            return (<float_formula_1> f)(x, a)
        elif parameters == 2:
            return (<float_formula_2> f)(x, a, b)
        else:
            return (<float_formula_3> f)(x, a, b, c)
    else:
        if parameters == 0:
            return (<double_formula> f)(x)
        elif parameters == 1:
            return (<double_formula_1> f)(x, a)
        elif parameters == 2:
            return (<double_formula_2> f)(x, a, b)
        else:
            return (<double_formula_3> f)(x, a, b, c)


# Parameter k as the number it is for the whole block; beyond the last one nobody looks.
cdef inline floating number(floating** operands, int parameters, int k) noexcept nogil:
    return operands[k][0] if k < parameters else <floating> 1


# out = f(x): values and derivatives
cdef inline void map_block(void* f, int parameters, floating** operands, Py_ssize_t n, int form) noexcept nogil:
    cdef floating* x = operands[0]
    cdef floating* a = operands[1]
    cdef floating* b = operands[2]
    cdef floating* c = operands[3]
    cdef floating* out = operands[1 + parameters]
    cdef floating a_number, b_number, c_number
    cdef Py_ssize_t i
    n = n // LANES * LANES
    if parameters == 0 or parameters == 1 and form == ONES:
        for i in range(n):
            out[i] = call[floating](f, parameters, x[i], 1, 1, 1)
    elif form == ARRAYS:
        for i in range(n):
            out[i] = call[floating](f, parameters, x[i], a[i], b[i], c[i])
    else:
        a_number = number[floating](operands + 1, parameters, 0)
        b_number = number[floating](operands + 1, parameters, 1)
        c_number = number[floating](operands + 1, parameters, 2)
        for i in range(n):
            out[i] = call[floating](f, parameters, x[i], a_number, b_number, c_number)


# out = dy f(x): backward from the input or, f being a function of the output, from the output
cdef inline void backward_block(void* f, int parameters, floating** operands, Py_ssize_t n, int form) noexcept nogil:
    cdef floating* dy = operands[0]
    cdef floating* x = operands[1]
    cdef floating* a = operands[2]
    cdef floating* b = operands[3]
    cdef floating* c = operands[4]
    cdef floating* out = operands[2 + parameters]
    cdef floating a_number, b_number, c_number
    cdef Py_ssize_t i
    n = n // LANES * LANES
    if parameters == 0 or parameters == 1 and form == ONES:
        for i in range(n):
            out[i] = dy[i] * call[floating](f, parameters, x[i], 1, 1, 1)
    elif form == ARRAYS:
        for i in range(n):
            out[i] = dy[i] * call[floating](f, parameters, x[i], a[i], b[i], c[i])
    else:
        a_number = number[floating](operands + 2, parameters, 0)
        b_number = number[floating](operands + 2, parameters, 1)
        c_number = number[floating](operands + 2, parameters, 2)
        for i in range(n):
            out[i] = dy[i] * call[floating](f, parameters, x[i], a_number, b_number, c_number)


# out, second = f(x), g(x): what the two have in common is computed once
cdef inline void both_block(void* f, void* g, int parameters, floating** operands, Py_ssize_t n,
                            int form) noexcept nogil:
    cdef floating* x = operands[0]
    cdef floating* a = operands[1]
    cdef floating* b = operands[2]
    cdef floating* c = operands[3]
    cdef floating* out = operands[1 + parameters]
    cdef floating* second = operands[2 + parameters]
    cdef floating element, a_number, b_number, c_number
    cdef Py_ssize_t i
    n = n // LANES * LANES
    if parameters == 0 or parameters == 1 and form == ONES:
        for i in range(n):
            element = x[i]
            out[i] = call[floating](f, parameters, element, 1, 1, 1)
            second[i] = call[floating](g, parameters, element, 1, 1, 1)
    elif form == ARRAYS:
        for i in range(n):
            element = x[i]
            a_number, b_number, c_number = a[i], b[i], c[i]
            out[i] = call[floating](f, parameters, element, a_number, b_number, c_number)
            second[i] = call[floating](g, parameters, element, a_number, b_number, c_number)
    else:
        a_number = number[floating](operands + 1, parameters, 0)
        b_number = number[floating](operands + 1, parameters, 1)
        c_number = number[floating](operands + 1, parameters, 2)
        for i in range(n):
            element = x[i]
            out[i] = call[floating](f, parameters, element, a_number, b_number, c_number)
            second[i] = call[floating](g, parameters, element, a_number, b_number, c_number)
