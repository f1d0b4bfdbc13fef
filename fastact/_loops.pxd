# The block loops: the only loops over elements.  Each takes a formula and contiguous arrays of one block.
#
# A formula arrives as a constant function pointer and is inlined (CYTHON_INLINE forces it, see setup.py), so each
# kernel that tools/kernels.py writes is one loop of packed arithmetic.  tests/test_codegen.py reads the disassembly.
#
#   * The number of elements is a multiple of LANES: no scalar epilogue, and element i has the same bits wherever it
#     stands.  The engine pads the last few elements.
#   * Outputs may be inputs (in place), but not overlap them otherwise.
#   * Parameters come in one of three forms: arrays like x; one number each for the whole block; or a single parameter
#     that is the literal 1, of which then nothing is left: softplus(x) with beta = 1 costs nothing for its parameter.

#   * A formula may have a second version for near numbers (`near` or `close` in _formulas.pxd), which gives the same
#     bits with fewer operations.  Which one a stretch of STRETCH elements takes is decided by their largest magnitude:
#     looking at all of them costs less than two of the operations saved.
#   * A function may have a version for LANES floats at once (_tables.h), which where it is not NULL is taken for the
#     value.
#   * While a stretch is computed the memory of the next is on its way, where the engine says that this pays: in a long
#     computation the processor does not see far enough ahead to ask for it by itself.

from libc.stdint cimport uint32_t, uint64_t

from fastact._primitives cimport fastact_bits_of_double, fastact_bits_of_float, fastact_fetch, floating

cdef enum:
    LANES = 16              # elements per vector of the widest instruction set: float, AVX-512
    STRETCH = 256
    CACHE_LINE = 64         # bytes

# how the parameters come
cdef enum:
    ARRAYS
    NUMBERS
    ONES                    # numbers, and all of them 1
    FETCHING = 4            # added to ONES: fetch memory ahead

# operands: inputs (x or y last), then parameters, then outputs
ctypedef void (*block_kernel)(void** operands, Py_ssize_t n, int form) noexcept nogil

# From 16-bit numbers to floats or back; n is a multiple of LANES.
ctypedef void (*convert_block)(const void* source, void* target, Py_ssize_t n) noexcept nogil

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


# f(x), f(x, a), f(x, a, b), f(x, a, b, c) or f(x, a, b, c, d)
cdef inline floating call(void* f, int parameters, floating x, floating a, floating b, floating c,
                          floating d) noexcept nogil:
    if floating is float:
        if parameters == 0:
            return (<float_formula> f)(x)
        elif parameters == 1:
            return (<float_formula_1> f)(x, a)
        elif parameters == 2:
            return (<float_formula_2> f)(x, a, b)
        elif parameters == 3:
            return (<float_formula_3> f)(x, a, b, c)
        else:
            return (<float_formula_4> f)(x, a, b, c, d)
    else:
        if parameters == 0:
            return (<double_formula> f)(x)
        elif parameters == 1:
            return (<double_formula_1> f)(x, a)
        elif parameters == 2:
            return (<double_formula_2> f)(x, a, b)
        elif parameters == 3:
            return (<double_formula_3> f)(x, a, b, c)
        else:
            return (<double_formula_4> f)(x, a, b, c, d)


# Parameter k as the number it is for the whole block; beyond the last one nobody looks.
cdef inline floating number(floating** operands, int parameters, int k) noexcept nogil:
    return operands[k][0] if k < parameters else <floating> 1


# The array of a parameter; beyond the last one another array, so that nothing reads what is not there.
cdef inline floating* parameter(floating** operands, int k, int count) noexcept nogil:
    return operands[k] if k < count else operands[0]


# How far near numbers reach: 2^n is in the normal range for e^(2x) = 2^n e^r; and close ones, for e^(x^2) and, with
# the polynomial of gelu_tanh in place of x^2, for that.
cdef inline floating near_limit(bint close, floating unused) noexcept nogil:
    if floating is float:
        return 9 if close else 40
    else:
        return 20 if close else 350


# Whether |x| <= near_limit for all of them; the order of magnitudes is that of their bits, NaN above all.
cdef inline bint all_near(bint close, const floating* x, Py_ssize_t n) noexcept nogil:
    cdef uint32_t bits, largest = 0
    cdef uint64_t wide, widest = 0
    cdef Py_ssize_t i
    if floating is float:
        for i in range(n):
            bits = fastact_bits_of_float(x[i]) & <uint32_t> 0x7fffffff
            largest = bits if bits > largest else largest
        return largest <= fastact_bits_of_float(near_limit(close, x[0]))
    else:
        for i in range(n):
            wide = fastact_bits_of_double(x[i]) & <uint64_t> 0x7fffffffffffffff
            widest = wide if wide > widest else widest
        return widest <= fastact_bits_of_double(near_limit(close, x[0]))


# Asks for memory that will be needed soon; asking beyond the end of an array does no harm.
cdef inline void fetch(const void* address, Py_ssize_t size) noexcept nogil:
    cdef Py_ssize_t line
    for line in range(size // CACHE_LINE):
        fastact_fetch(<const char*> address + line * CACHE_LINE)


cdef inline void fetch_stretch(const floating* address) noexcept nogil:
    fetch(address, STRETCH * sizeof(floating))


# How many elements from x on are computed in one go, of n that are left, and whether all of them are near
cdef inline Py_ssize_t stretch(void* near, bint close, int form, const floating* x, Py_ssize_t n,
                               bint* is_near) noexcept nogil:
    if n > STRETCH and (near != NULL or form & FETCHING):
        n = STRETCH
    is_near[0] = near != NULL and all_near(close, x, n)
    return n


cdef inline void map_plain(void* f, void* lanes, int parameters, const floating* x, floating* out,
                           Py_ssize_t n) noexcept nogil:
    cdef Py_ssize_t i
    if lanes != NULL:
        for i in range(n // LANES):
            (<lanes_formula> lanes)(<const float*> x + LANES * i, <float*> out + LANES * i)
    else:
        for i in range(n // LANES * LANES):
            out[i] = call[floating](f, parameters, x[i], 1, 1, 1, 1)


# out = f(x): values and derivatives
cdef inline void map_block(void* f, void* near, void* lanes, bint close, int parameters, floating** operands,
                           Py_ssize_t n, int form) noexcept nogil:
    cdef floating* x = operands[0]
    cdef floating* a = parameter(operands, 1, 1 + parameters)
    cdef floating* b = parameter(operands, 2, 1 + parameters)
    cdef floating* c = parameter(operands, 3, 1 + parameters)
    cdef floating* d = parameter(operands, 4, 1 + parameters)
    cdef floating* out = operands[1 + parameters]
    cdef floating a_number, b_number, c_number, d_number
    cdef Py_ssize_t i, part
    cdef bint is_near
    n = n // LANES * LANES
    if parameters == 0 or parameters == 1 and form & ONES:
        i = 0
        while i < n:
            part = stretch(near, close, form, x + i, n - i, &is_near)
            if form & FETCHING and n - i >= 2 * part:
                fetch_stretch(x + i + part)
                fetch_stretch(out + i + part)
            if is_near:
                map_plain(near, lanes, parameters, x + i, out + i, part)
            else:
                map_plain(f, lanes, parameters, x + i, out + i, part)
            i += part
    elif form == ARRAYS:
        for i in range(n):
            out[i] = call[floating](f, parameters, x[i], a[i], b[i], c[i], d[i])
    else:
        a_number = number[floating](operands + 1, parameters, 0)
        b_number = number[floating](operands + 1, parameters, 1)
        c_number = number[floating](operands + 1, parameters, 2)
        d_number = number[floating](operands + 1, parameters, 3)
        for i in range(n):
            out[i] = call[floating](f, parameters, x[i], a_number, b_number, c_number, d_number)


cdef inline void backward_plain(void* f, int parameters, const floating* dy, const floating* x, floating* out,
                                Py_ssize_t n) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(n // LANES * LANES):
        out[i] = dy[i] * call[floating](f, parameters, x[i], 1, 1, 1, 1)


# out = dy f(x): backward from the input or, f being a function of the output, from the output
cdef inline void backward_block(void* f, void* near, bint close, int parameters, floating** operands,
                                Py_ssize_t n, int form) noexcept nogil:
    cdef floating* dy = operands[0]
    cdef floating* x = operands[1]
    cdef floating* a = parameter(operands, 2, 2 + parameters)
    cdef floating* b = parameter(operands, 3, 2 + parameters)
    cdef floating* c = parameter(operands, 4, 2 + parameters)
    cdef floating* d = parameter(operands, 5, 2 + parameters)
    cdef floating* out = operands[2 + parameters]
    cdef floating a_number, b_number, c_number, d_number
    cdef Py_ssize_t i, part
    cdef bint is_near
    n = n // LANES * LANES
    if parameters == 0 or parameters == 1 and form & ONES:
        i = 0
        while i < n:
            part = stretch(near, close, form, x + i, n - i, &is_near)
            if form & FETCHING and n - i >= 2 * part:
                fetch_stretch(dy + i + part)
                fetch_stretch(x + i + part)
                fetch_stretch(out + i + part)
            if is_near:
                backward_plain(near, parameters, dy + i, x + i, out + i, part)
            else:
                backward_plain(f, parameters, dy + i, x + i, out + i, part)
            i += part
    elif form == ARRAYS:
        for i in range(n):
            out[i] = dy[i] * call[floating](f, parameters, x[i], a[i], b[i], c[i], d[i])
    else:
        a_number = number[floating](operands + 2, parameters, 0)
        b_number = number[floating](operands + 2, parameters, 1)
        c_number = number[floating](operands + 2, parameters, 2)
        d_number = number[floating](operands + 2, parameters, 3)
        for i in range(n):
            out[i] = dy[i] * call[floating](f, parameters, x[i], a_number, b_number, c_number, d_number)


cdef inline void both_plain(void* f, void* g, void* lanes, int parameters, const floating* x, floating* out,
                            floating* second, Py_ssize_t n) noexcept nogil:
    cdef floating values[LANES]
    cdef floating others[LANES]
    cdef floating element
    cdef Py_ssize_t i, j
    if lanes != NULL:
        for i in range(n // LANES):
            (<lanes_formula> lanes)(<const float*> x + LANES * i, <float*> values)
            for j in range(LANES):              # not yet to `out` and `second`, either of which may be x
                others[j] = call[floating](g, parameters, x[LANES * i + j], 1, 1, 1, 1)
            for j in range(LANES):
                out[LANES * i + j] = values[j]
            for j in range(LANES):
                second[LANES * i + j] = others[j]
    else:
        for i in range(n // LANES * LANES):
            element = x[i]
            out[i] = call[floating](f, parameters, element, 1, 1, 1, 1)
            second[i] = call[floating](g, parameters, element, 1, 1, 1, 1)


# out, second = f(x), g(x): what the two have in common is computed once
cdef inline void both_block(void* f, void* g, void* near_f, void* near_g, void* lanes, bint close, int parameters,
                            floating** operands, Py_ssize_t n, int form) noexcept nogil:
    cdef floating* x = operands[0]
    cdef floating* a = parameter(operands, 1, 1 + parameters)
    cdef floating* b = parameter(operands, 2, 1 + parameters)
    cdef floating* c = parameter(operands, 3, 1 + parameters)
    cdef floating* d = parameter(operands, 4, 1 + parameters)
    cdef floating* out = operands[1 + parameters]
    cdef floating* second = operands[2 + parameters]
    cdef floating element, a_number, b_number, c_number, d_number
    cdef Py_ssize_t i, part
    cdef bint is_near
    n = n // LANES * LANES
    if parameters == 0 or parameters == 1 and form & ONES:
        i = 0
        while i < n:
            part = stretch(near_f, close, form, x + i, n - i, &is_near)
            if form & FETCHING and n - i >= 2 * part:
                fetch_stretch(x + i + part)
                fetch_stretch(out + i + part)
                fetch_stretch(second + i + part)
            if is_near:
                both_plain(near_f, near_g, lanes, parameters, x + i, out + i, second + i, part)
            else:
                both_plain(f, g, lanes, parameters, x + i, out + i, second + i, part)
            i += part
    elif form == ARRAYS:
        for i in range(n):
            element = x[i]
            a_number, b_number, c_number, d_number = a[i], b[i], c[i], d[i]
            out[i] = call[floating](f, parameters, element, a_number, b_number, c_number, d_number)
            second[i] = call[floating](g, parameters, element, a_number, b_number, c_number, d_number)
    else:
        a_number = number[floating](operands + 1, parameters, 0)
        b_number = number[floating](operands + 1, parameters, 1)
        c_number = number[floating](operands + 1, parameters, 2)
        d_number = number[floating](operands + 1, parameters, 3)
        for i in range(n):
            element = x[i]
            out[i] = call[floating](f, parameters, element, a_number, b_number, c_number, d_number)
            second[i] = call[floating](g, parameters, element, a_number, b_number, c_number, d_number)
