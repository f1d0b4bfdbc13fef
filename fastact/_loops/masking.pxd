# Loops that prepare a contiguous row of which a part is computed: the entries that take no part become a number that
# adds nothing.  The target may be x itself.

from libc.math cimport INFINITY

from fastact._loops.elementwise cimport LANES
from fastact._math.primitives cimport absolute, floating, fma, largest

ctypedef void (*selection)(const void* x, const char* where, void* target, Py_ssize_t n, double absent) noexcept nogil
ctypedef void (*biased_selection)(
    const void* x, const void* bias, void* target, Py_ssize_t n, double absent) noexcept nogil
ctypedef void (*bias_addition)(
    const void* x, const void* bias, void* target, Py_ssize_t n, double factor, double factor_low) noexcept nogil


# A vector at a time, of which all is read before any is written: else the compiler tests whether the target is x.
cdef inline void select_lanes(const floating* x, const char* where, floating* target, Py_ssize_t n,
                              floating absent) noexcept nogil:
    cdef floating selected[LANES]
    cdef floating entry
    cdef Py_ssize_t j
    for j in range(n):
        entry = x[j]
        selected[j] = entry if where[j] != 0 else absent
    for j in range(n):
        target[j] = selected[j]


# x where `where` is not 0, else `absent`
cdef inline void select_entries(const floating* x, const char* where, floating* target, Py_ssize_t n,
                                floating absent) noexcept nogil:
    cdef Py_ssize_t whole = n // LANES * LANES, i = 0
    while i < whole:
        select_lanes(x + i, where + i, target + i, LANES, absent)
        i += LANES
    if whole < n:
        select_lanes(x + whole, where + whole, target + whole, n - whole, absent)


cdef inline void select_biased_lanes(const floating* x, const floating* bias, floating* target, Py_ssize_t n,
                                     floating absent) noexcept nogil:
    cdef floating selected[LANES]
    cdef floating entry
    cdef Py_ssize_t j
    for j in range(n):
        entry = x[j]
        selected[j] = absent if bias[j] == <floating> -INFINITY else entry
    for j in range(n):
        target[j] = selected[j]


# x where the bias is not -inf, else `absent`
cdef inline void select_biased(const floating* x, const floating* bias, floating* target, Py_ssize_t n,
                               floating absent) noexcept nogil:
    cdef Py_ssize_t whole = n // LANES * LANES, i = 0
    while i < whole:
        select_biased_lanes(x + i, bias + i, target + i, LANES, absent)
        i += LANES
    if whole < n:
        select_biased_lanes(x + whole, bias + whole, target + whole, n - whole, absent)


cdef inline void add_bias_to_lanes(const floating* x, const floating* bias, floating* target, Py_ssize_t n,
                                   bint is_scaled, floating factor, floating factor_low) noexcept nogil:
    cdef floating logits[LANES]
    cdef floating entry, high, logit
    cdef Py_ssize_t j
    for j in range(n):
        entry = x[j]
        if is_scaled:
            high = fma(entry, factor, bias[j])
            logit = fma(entry, factor_low, high)
            logit = logit if absolute(entry) <= largest(entry) else high        # inf times 0 is NaN
        else:
            logit = entry + bias[j]
        logits[j] = bias[j] if bias[j] == <floating> -INFINITY else logit
    for j in range(n):
        target[j] = logits[j]


cdef inline void add_bias_to_entries(const floating* x, const floating* bias, floating* target, Py_ssize_t n,
                                     bint is_scaled, floating factor, floating factor_low) noexcept nogil:
    cdef Py_ssize_t whole = n // LANES * LANES, i = 0
    while i < whole:
        add_bias_to_lanes(x + i, bias + i, target + i, LANES, is_scaled, factor, factor_low)
        i += LANES
    if whole < n:
        add_bias_to_lanes(x + whole, bias + whole, target + whole, n - whole, is_scaled, factor, factor_low)


# factor x + bias, and -inf where the bias is -inf, whatever x is
cdef inline void add_bias(const floating* x, const floating* bias, floating* target, Py_ssize_t n, double factor,
                          double factor_low) noexcept nogil:
    cdef floating high = <floating> factor
    cdef floating low = <floating> ((factor - high) + factor_low)
    if high == 1 and low == 0:
        add_bias_to_entries(x, bias, target, n, False, high, low)
    else:
        add_bias_to_entries(x, bias, target, n, True, high, low)
