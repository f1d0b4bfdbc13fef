# The loops over the elements of a block.  A formula arrives as a constant and is inlined (CYTHON_INLINE forces it, see
# setup.py), so that each kernel that tools/kernels.py writes is one loop of packed arithmetic; tests/test_codegen.py
# reads the disassembly.
#
#   * The number of elements is a multiple of LANES: no scalar epilogue, and element i has the same bits at any index.
#     The engine pads the last few elements.
#   * An output may be an input (in place), but may not overlap one otherwise.
#   * Parameters have one of three forms: arrays like x; one number each for the whole block; or neutral numbers, which
#     are literals that the compiler removes: softplus(x) with beta = 1 does not pay for its parameter.
#   * A gated activation is the activation of one input, the gate x, times another input u.  Its formulas are those of
#     the activation.
#   * A formula may have a version for bounded arguments (`bounded` or `bounded_square` in _math/formulas.pxd), which
#     gives the same bits in fewer operations.  The largest magnitude of each stretch of STRETCH elements selects the
#     version: finding it costs less than two of the operations that the version saves.
#   * A value may have a version for LANES floats at once (_math/tables.h).
#   * With FETCHING the memory of the next stretch is prefetched: during a long computation the processor does not look
#     far enough ahead to load it in time.

from libc.math cimport INFINITY, NAN
from libc.stdint cimport uint32_t, uint64_t

from fastact._math.primitives cimport (
    at_least, at_most, fastact_bits_of_double, fastact_bits_of_float, floating)

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
    NEUTRAL                 # numbers: 1, of `limit` infinity, of `offset` 0
    FETCHING = 4            # added to NEUTRAL: prefetch memory

# The numbers of which one element is computed
cdef enum:
    DY
    X
    U
    PARAMETER               # and up to three more
    LIMIT                   # of a limited activation
    OFFSET
    NUMBERS_OF_ELEMENT = PARAMETER + 4

# operands: inputs (dy first, if there is one; then x; then u, if the activation is gated), parameters, outputs
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
    bint gated              # the value is multiplied by another input, u, which follows x
    bint limited            # gated, and the last two parameters are `limit` and `offset`
    int parameters
    int outputs


# f with `count` parameters
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


# A gated activation f of x times the factor u, or both gradients.  A limit clips x from above and u on both sides, and
# is no limit if it is infinite; an offset is added to u.  In this order of the products the gradient in x does not
# overflow on the way.  At the limits a derivative is the right-hand one.
cdef inline void compute_gated(Formulas formulas, void* f, void* g, bint limited, const floating* numbers,
                               floating* first, floating* second) noexcept nogil:
    cdef int count = formulas.parameters - (2 if formulas.limited else 0)
    cdef floating dy = numbers[DY], x = numbers[X], u = numbers[U], a = numbers[PARAMETER]
    cdef floating limit = numbers[LIMIT], offset = numbers[OFFSET], gate = x, factor = u, activated, edge
    cdef floating in_gate, in_other
    if limited:
        gate = at_most(x, limit)
        factor = at_least(at_most(u, limit), -limit)
        factor = factor if offset == 0 else factor + offset             # -0 stays
    activated = call[floating](f, count, gate, a, 1, 1, 1)
    if not formulas.multiplied:
        first[0] = activated * factor
        return
    in_gate = dy * call[floating](g, count, gate, a, 1, 1, 1) * factor
    in_other = dy * activated
    if limited:
        edge = limit if limit < <floating> INFINITY else <floating> NAN
        in_gate = <floating> 0 if x >= edge else in_gate
        in_other = <floating> 0 if u >= edge or u < -edge else in_other
    first[0], second[0] = in_gate, in_other


# One element of the kernel.  `numbers` are copies of the inputs, since an output may be an input.
cdef inline void compute_element(Formulas formulas, void* f, void* g, bint limited, const floating* numbers,
                                 floating* first, floating* second) noexcept nogil:
    cdef int count = formulas.parameters
    cdef floating x = numbers[X], a = numbers[PARAMETER], b = numbers[PARAMETER + 1], c = numbers[PARAMETER + 2]
    cdef floating d = numbers[PARAMETER + 3], value
    if formulas.gated:
        compute_gated(formulas, f, g, limited, numbers, first, second)
        return
    value = call(f, count, x, a, b, c, d)
    first[0] = numbers[DY] * value if formulas.multiplied else value
    if formulas.outputs == 2:
        second[0] = call(g, count, x, a, b, c, d)


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


# A stretch whose parameters are neutral.  What the two formulas have in common is computed once.
cdef inline void block_of_neutral(Formulas formulas, void* f, void* g, floating** operands, Py_ssize_t start,
                                  Py_ssize_t n) noexcept nogil:
    cdef int arrays = formulas.multiplied + 1 + formulas.gated, results = arrays + formulas.parameters
    cdef const floating* dy = operands[0] + start
    cdef const floating* x = operands[formulas.multiplied] + start
    cdef const floating* u = operand(operands, formulas.multiplied + 1, formulas.gated) + start
    cdef floating* out = operands[results] + start
    cdef floating* second = operand(operands, results + 1, formulas.outputs == 2) + start
    cdef floating numbers[NUMBERS_OF_ELEMENT]
    cdef Py_ssize_t i
    if formulas.first_lanes != NULL:
        block_of_lanes(formulas, g, x, out, second, n)
        return
    numbers[PARAMETER] = numbers[PARAMETER + 1] = numbers[PARAMETER + 2] = numbers[PARAMETER + 3] = 1
    for i in range(n // LANES * LANES):
        numbers[DY], numbers[X], numbers[U] = dy[i], x[i], u[i]
        compute_element[floating](formulas, f, g, False, numbers, out + i, second + i)


# Prefetches the stretch of every array that begins at element `start`.
cdef inline void fetch_operands(Formulas formulas, floating** operands, Py_ssize_t start) noexcept nogil:
    cdef int arrays = formulas.multiplied + 1 + formulas.gated, k
    for k in range(arrays):
        fetch_stretch(operands[k] + start)
    for k in range(arrays + formulas.parameters, arrays + formulas.parameters + formulas.outputs):
        fetch_stretch(operands[k] + start)


# The kernel of the formulas
cdef inline void compute_block(Formulas formulas, floating** operands, Py_ssize_t n, int form) noexcept nogil:
    cdef int parameters = formulas.parameters, arrays = formulas.multiplied + 1 + formulas.gated
    cdef bint has_neutral = parameters <= 1 or formulas.limited
    cdef floating* dy = operands[0]
    cdef floating* x = operands[formulas.multiplied]
    cdef floating* u = operand(operands, formulas.multiplied + 1, formulas.gated)
    cdef floating* a = operand(operands, arrays, parameters > 0)
    cdef floating* b = operand(operands, arrays + 1, parameters > 1)
    cdef floating* c = operand(operands, arrays + 2, parameters > 2)
    cdef floating* d = operand(operands, arrays + 3, parameters > 3)
    cdef floating* out = operands[arrays + parameters]
    cdef floating* second = operand(operands, arrays + parameters + 1, formulas.outputs == 2)
    cdef floating numbers[NUMBERS_OF_ELEMENT]
    cdef Py_ssize_t i = 0, part
    cdef bint is_bounded
    n = n // LANES * LANES
    if parameters == 0 or has_neutral and form & NEUTRAL:
        while i < n:
            part = stretch(formulas, form, x + i, n - i, &is_bounded)
            if form & FETCHING and n - i >= 2 * part:
                fetch_operands(formulas, operands, i + part)
            if is_bounded:
                block_of_neutral(formulas, formulas.first_bounded, formulas.second_bounded, operands, i, part)
            else:
                block_of_neutral(formulas, formulas.first, formulas.second, operands, i, part)
            i += part
    elif form == ARRAYS:
        for i in range(n):
            numbers[DY], numbers[X], numbers[U] = dy[i], x[i], u[i]
            numbers[PARAMETER], numbers[PARAMETER + 1] = a[i], b[i]
            numbers[PARAMETER + 2], numbers[PARAMETER + 3] = c[i], d[i]
            compute_element[floating](formulas, formulas.first, formulas.second, formulas.limited, numbers, out + i,
                                      second + i)
    else:
        numbers[PARAMETER] = number[floating](operands + arrays, parameters, 0)
        numbers[PARAMETER + 1] = number[floating](operands + arrays, parameters, 1)
        numbers[PARAMETER + 2] = number[floating](operands + arrays, parameters, 2)
        numbers[PARAMETER + 3] = number[floating](operands + arrays, parameters, 3)
        for i in range(n):
            numbers[DY], numbers[X], numbers[U] = dy[i], x[i], u[i]
            compute_element[floating](formulas, formulas.first, formulas.second, formulas.limited, numbers, out + i,
                                      second + i)
