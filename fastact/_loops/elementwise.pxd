# The loops over the elements of a block.  A formula arrives as a constant and is inlined (CYTHON_INLINE forces it, see
# setup.py), so that each kernel that tools/kernels.py writes is one loop of packed arithmetic; tests/test_codegen.py
# reads the disassembly.
#
#   * The number of elements is a multiple of LANES: no scalar epilogue, and element i has the same bits at any index.
#     The engine pads the last few elements.
#   * An output may be an input (in place), but may not overlap one otherwise.
#   * Parameters have one of three forms: arrays like x; one number each for the whole block; or a single parameter that
#     is the literal 1, which the compiler then removes: softplus(x) with beta = 1 does not pay for its parameter.
#   * A formula may have a version for bounded arguments (`bounded` or `bounded_square` in _math/formulas.pxd), which
#     gives the same bits in fewer operations.  The largest magnitude of each stretch of STRETCH elements selects the
#     version: finding it costs less than two of the operations that the version saves.
#   * A value may have a version for LANES floats at once (_math/tables.h).
#   * With FETCHING the memory of the next stretch is prefetched: during a long computation the processor does not look
#     far enough ahead to load it in time.

from libc.stdint cimport uint32_t, uint64_t

from fastact._math.primitives cimport fastact_bits_of_double, fastact_bits_of_float, floating

cdef extern from "_loops/lanes.h" nogil:
    void fastact_fetch(const void* address) noexcept

cdef enum:
    LANES = 16              # elements per vector of the widest instruction set: float, AVX-512
    STRETCH = 256
    CACHE_LINE = 64         # bytes

# The forms of parameters
cdef enum:
    ARRAYS
    NUMBERS
    ONES                    # numbers, and all of them 1
    FETCHING = 4            # added to ONES: prefetch memory

# operands: inputs (dy first, if there is one), then parameters, then outputs
ctypedef void (*block_kernel)(void** operands, Py_ssize_t n, int form) noexcept nogil

# From 16-bit numbers to floats or back; n is a multiple of LANES.
ctypedef void (*convert_block)(const void* source, void* target, Py_ssize_t n) noexcept nogil

# From `count` contiguous rows of n numbers to columns side by side, or back
ctypedef void (*transposition)(const void* source, void* target, Py_ssize_t count, Py_ssize_t n) noexcept nogil

ctypedef float (*float_formula)(float) noexcept nogil
ctypedef float (*float_formula_1)(float, float) noexcept nogil
ctypedef float (*float_formula_2)(float, float, float) noexcept nogil
ctypedef float (*float_formula_3)(float, float, float, float) noexcept nogil
ctypedef float (*float_formula_4)(float, float, float, float, float) noexcept nogil
ctypedef void (*lanes_formula)(const float* x, float* y) noexcept nogil
ctypedef double (*double_formula)(double) noexcept nogil
ctypedef double (*double_formula_1)(double, double) noexcept nogil
ctypedef double (*double_formula_2)(double, double, double) noexcept nogil
ctypedef double (*double_formula_3)(double, double, double, double) noexcept nogil
ctypedef double (*double_formula_4)(double, double, double, double, double) noexcept nogil


# What a kernel computes.  All of it is known to the compiler.
cdef struct Formulas:
    void* first             # the formula of the first output, and of the second one, or NULL
    void* second
    void* first_bounded     # their versions for bounded arguments, or NULL
    void* second_bounded
    void* first_lanes       # the version for LANES floats at once, or NULL
    bint square             # the bound is that of `bounded_square`
    bint multiplied         # outputs are multiplied by another input, dy, which is the first operand
    int inputs              # of the formulas: x, or x and gate
    int parameters
    int outputs


# f with `count` arguments after x
cdef inline floating call(void* f, int count, floating x, floating a, floating b, floating c,
                          floating d) noexcept nogil:
    if floating is float:
        if count == 0:
            return (<float_formula> f)(x)
        elif count == 1:
            return (<float_formula_1> f)(x, a)
        elif count == 2:
            return (<float_formula_2> f)(x, a, b)
        elif count == 3:
            return (<float_formula_3> f)(x, a, b, c)
        else:
            return (<float_formula_4> f)(x, a, b, c, d)
    else:
        if count == 0:
            return (<double_formula> f)(x)
        elif count == 1:
            return (<double_formula_1> f)(x, a)
        elif count == 2:
            return (<double_formula_2> f)(x, a, b)
        elif count == 3:
            return (<double_formula_3> f)(x, a, b, c)
        else:
            return (<double_formula_4> f)(x, a, b, c, d)


# f(x, parameters...) or f(x, gate, parameters...)
cdef inline floating formula(void* f, int inputs, int parameters, floating x, floating gate, floating a, floating b,
                             floating c, floating d) noexcept nogil:
    if inputs == 1:
        return call(f, parameters, x, a, b, c, d)
    else:
        return call(f, 1 + parameters, x, gate, a, b, c)


# The value of parameter k where it is one number for the whole block; unused ones are 1.
cdef inline floating number(floating** parameters, int count, int k) noexcept nogil:
    return parameters[k][0] if k < count else <floating> 1


# The array of operand k; for an unused one, an array that exists
cdef inline floating* operand(floating** operands, int k, bint used) noexcept nogil:
    return operands[k] if used else operands[0]


# The bound on |x|: below it 2^n is in the normal range for e^(2x) = 2^n e^r; the bound of `bounded_square` is the same
# for e^(x^2), and for the polynomial of gelu_tanh in place of x^2.
cdef inline floating bound_of(bint square, floating unused) noexcept nogil:
    if floating is float:
        return 9 if square else 40
    else:
        return 20 if square else 350


# Whether |x| <= bound for all elements.  Magnitudes are ordered as their bits are, NaN above all others.
cdef inline bint all_bounded(bint square, const floating* x, Py_ssize_t n) noexcept nogil:
    cdef uint32_t bits, largest = 0
    cdef uint64_t wide, widest = 0
    cdef Py_ssize_t i
    if floating is float:
        for i in range(n):
            bits = fastact_bits_of_float(x[i]) & <uint32_t> 0x7fffffff
            largest = bits if bits > largest else largest
        return largest <= fastact_bits_of_float(bound_of(square, x[0]))
    else:
        for i in range(n):
            wide = fastact_bits_of_double(x[i]) & <uint64_t> 0x7fffffffffffffff
            widest = wide if wide > widest else widest
        return widest <= fastact_bits_of_double(bound_of(square, x[0]))


# Prefetches memory; addresses beyond the end of an array do no harm.
cdef inline void fetch(const void* address, Py_ssize_t size) noexcept nogil:
    cdef Py_ssize_t line
    for line in range(size // CACHE_LINE):
        fastact_fetch(<const char*> address + line * CACHE_LINE)


cdef inline void fetch_stretch(const floating* address) noexcept nogil:
    fetch(address, STRETCH * sizeof(floating))


# How many of the n elements that are left are computed in one stretch, and whether all of them are bounded
cdef inline Py_ssize_t stretch(Formulas formulas, int form, const floating* x, Py_ssize_t n,
                               bint* is_bounded) noexcept nogil:
    cdef bint has_bounded = formulas.first_bounded != NULL or formulas.second_bounded != NULL
    if n > STRETCH and (has_bounded or form & FETCHING):
        n = STRETCH
    is_bounded[0] = has_bounded and all_bounded(formulas.square, x, n)
    return n


# A stretch of LANES floats at a time.  Neither output is written before both are computed: either may be x.
cdef inline void block_of_lanes(Formulas formulas, void* g, const floating* x, floating* out, floating* second,
                                Py_ssize_t n) noexcept nogil:
    cdef floating values[LANES]
    cdef floating others[LANES]
    cdef Py_ssize_t i, j
    for i in range(n // LANES):
        if formulas.outputs == 1:
            (<lanes_formula> formulas.first_lanes)(<const float*> x + LANES * i, <float*> out + LANES * i)
        else:
            (<lanes_formula> formulas.first_lanes)(<const float*> x + LANES * i, <float*> values)
            for j in range(LANES):
                others[j] = call[floating](g, formulas.parameters, x[LANES * i + j], 1, 1, 1, 1)
            for j in range(LANES):
                out[LANES * i + j] = values[j]
            for j in range(LANES):
                second[LANES * i + j] = others[j]


# A stretch whose parameters are 1.  What the two formulas have in common is computed once.
cdef inline void block_of_ones(Formulas formulas, void* f, void* g, floating** operands, Py_ssize_t start,
                               Py_ssize_t n) noexcept nogil:
    cdef int inputs = formulas.inputs, parameters = formulas.parameters
    cdef int arrays = formulas.multiplied + inputs, results = arrays + parameters
    cdef const floating* dy = operands[0] + start
    cdef const floating* x = operands[formulas.multiplied] + start
    cdef const floating* gate = operand(operands, formulas.multiplied + 1, inputs == 2) + start
    cdef floating* out = operands[results] + start
    cdef floating* second = operand(operands, results + 1, formulas.outputs == 2) + start
    cdef floating value, element, other, factor
    cdef Py_ssize_t i
    if formulas.first_lanes != NULL:
        block_of_lanes(formulas, g, x, out, second, n)
        return
    for i in range(n // LANES * LANES):
        factor, element, other = dy[i], x[i], gate[i]           # before a store: an output may be an input
        value = formula[floating](f, inputs, parameters, element, other, 1, 1, 1, 1)
        out[i] = factor * value if formulas.multiplied else value
        if formulas.outputs == 2:
            value = formula[floating](g, inputs, parameters, element, other, 1, 1, 1, 1)
            second[i] = factor * value if formulas.multiplied else value


# Prefetches the stretch of every array that begins at element `start`.
cdef inline void fetch_operands(Formulas formulas, floating** operands, Py_ssize_t start) noexcept nogil:
    cdef int arrays = formulas.multiplied + formulas.inputs, k
    for k in range(arrays):
        fetch_stretch(operands[k] + start)
    for k in range(arrays + formulas.parameters, arrays + formulas.parameters + formulas.outputs):
        fetch_stretch(operands[k] + start)


# The kernel of the formulas
cdef inline void compute_block(Formulas formulas, floating** operands, Py_ssize_t n, int form) noexcept nogil:
    cdef int inputs = formulas.inputs, parameters = formulas.parameters, arrays = formulas.multiplied + inputs
    cdef floating* dy = operands[0]
    cdef floating* x = operands[formulas.multiplied]
    cdef floating* gate = operand(operands, formulas.multiplied + 1, inputs == 2)
    cdef floating* a = operand(operands, arrays, parameters > 0)
    cdef floating* b = operand(operands, arrays + 1, parameters > 1)
    cdef floating* c = operand(operands, arrays + 2, parameters > 2)
    cdef floating* d = operand(operands, arrays + 3, parameters > 3)
    cdef floating* out = operands[arrays + parameters]
    cdef floating* second = operand(operands, arrays + parameters + 1, formulas.outputs == 2)
    cdef floating value, element, other, factor, a_number, b_number, c_number, d_number
    cdef Py_ssize_t i = 0, part
    cdef bint is_bounded
    n = n // LANES * LANES
    if parameters == 0 or parameters == 1 and form & ONES:
        while i < n:
            part = stretch(formulas, form, x + i, n - i, &is_bounded)
            if form & FETCHING and n - i >= 2 * part:
                fetch_operands(formulas, operands, i + part)
            if is_bounded:
                block_of_ones(formulas, formulas.first_bounded, formulas.second_bounded, operands, i, part)
            else:
                block_of_ones(formulas, formulas.first, formulas.second, operands, i, part)
            i += part
    elif form == ARRAYS:
        for i in range(n):
            factor, element, other = dy[i], x[i], gate[i]
            a_number, b_number, c_number, d_number = a[i], b[i], c[i], d[i]
            value = formula[floating](formulas.first, inputs, parameters, element, other, a_number, b_number, c_number,
                                      d_number)
            out[i] = factor * value if formulas.multiplied else value
            if formulas.outputs == 2:
                value = formula[floating](formulas.second, inputs, parameters, element, other, a_number, b_number,
                                          c_number, d_number)
                second[i] = factor * value if formulas.multiplied else value
    else:
        a_number = number[floating](operands + arrays, parameters, 0)
        b_number = number[floating](operands + arrays, parameters, 1)
        c_number = number[floating](operands + arrays, parameters, 2)
        d_number = number[floating](operands + arrays, parameters, 3)
        for i in range(n):
            factor, element, other = dy[i], x[i], gate[i]
            value = formula[floating](formulas.first, inputs, parameters, element, other, a_number, b_number, c_number,
                                      d_number)
            out[i] = factor * value if formulas.multiplied else value
            if formulas.outputs == 2:
                value = formula[floating](formulas.second, inputs, parameters, element, other, a_number, b_number,
                                          c_number, d_number)
                second[i] = factor * value if formulas.multiplied else value
