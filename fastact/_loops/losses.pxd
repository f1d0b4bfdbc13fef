# The loop over the elements of a loss (_math/sigmoid_losses.pxd): two inputs, four parameters, one result or two.  It
# keeps the rules of the loops of elementwise.pxd.

from fastact._loops.elementwise cimport ARRAYS, LANES, STRETCH
from fastact._math.primitives cimport floating

ctypedef void (*float_loss)(float, float, float, float, float, float, float*, float*) noexcept nogil
ctypedef void (*double_loss)(double, double, double, double, double, double, double*, double*) noexcept nogil


cdef inline void loss_of_element(void* formula, floating x, floating y, floating a, floating b, floating c, floating d,
                                 floating* first, floating* second) noexcept nogil:
    if floating is float:
        (<float_loss> formula)(x, y, a, b, c, d, first, second)
    else:
        (<double_loss> formula)(x, y, a, b, c, d, first, second)


# With numbers as parameters; those that the compiler knows cost nothing.
cdef inline void compute_with_numbers(void* formula, bint both, floating** operands, Py_ssize_t n, floating a,
                                      floating b, floating c, floating d) noexcept nogil:
    cdef floating* x = operands[0]
    cdef floating* y = operands[1]
    cdef floating* out = operands[6]
    cdef floating* second = operands[7] if both else operands[6]
    cdef floating first_result, second_result
    cdef Py_ssize_t i
    for i in range(n):
        loss_of_element(formula, x[i], y[i], a, b, c, d, &first_result, &second_result)
        out[i] = first_result
        if both:
            second[i] = second_result


# The kernel of the formula.  `both`: the second result is written too; both are known to the compiler.
cdef inline void compute_losses(void* formula, bint both, floating** operands, Py_ssize_t n, int form) noexcept nogil:
    cdef floating* x = operands[0]
    cdef floating* y = operands[1]
    cdef floating* a = operands[2]
    cdef floating* b = operands[3]
    cdef floating* c = operands[4]
    cdef floating* d = operands[5]
    cdef floating* out = operands[6]
    cdef floating* second = operands[7] if both else operands[6]
    cdef floating first_result, second_result
    cdef floating block[STRETCH]    # with a second array there would be too many to test for overlaps
    cdef Py_ssize_t i, j, part, start = 0
    n = n // LANES * LANES
    if form == ARRAYS:
        while start < n:
            part = n - start if n - start < STRETCH else STRETCH
            for i in range(start, start + part):
                loss_of_element(formula, x[i], y[i], a[i], b[i], c[i], d[i], &first_result, &second_result)
                out[i] = first_result
                block[i - start] = second_result
            for i in range(part // LANES if both else 0):
                for j in range(LANES):
                    second[start + i * LANES + j] = block[i * LANES + j]
            start += part
    elif a[0] == 1 and b[0] == 0 and c[0] == 1:
        compute_with_numbers[floating](formula, both, operands, n, 1, 0, 1, d[0])
    else:
        compute_with_numbers[floating](formula, both, operands, n, a[0], b[0], c[0], d[0])
