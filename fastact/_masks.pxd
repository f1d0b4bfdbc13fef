cimport numpy as cnp

from fastact._engine.masks cimport MaskCall
from fastact._layout cimport Layout


# Which entries of the rows of an array take part, as the engine needs it; `call` points into the arrays.
cdef class RowMask:
    cdef MaskCall call
    cdef Layout layout
    cdef tuple rows                         # their shape
    cdef cnp.ndarray begin, end, where, bias, sinks
    cdef cnp.ndarray results                # float64, one a row, in the order of the engine, or None
    cdef tuple shape_in_order(self)
    cdef int set_sinks(self, str call, object sinks, object lse) except -1
    cdef int set_effects(self, double x_absent, double y_absent, double fill, bint always_fills) except -1
    cdef bint overlaps(self, cnp.ndarray out) except -1


cdef dict effective(str call, dict given)
cdef bint are_accepted(dict given, tuple accepted) except -1
cdef object unaccepted(str call, dict given, tuple accepted, object arguments)
cdef RowMask mask_of(str call, cnp.ndarray x, tuple axes, dict given, bint adds_bias)
cdef cnp.ndarray rows_in_order(Layout layout, cnp.ndarray array)
cdef object rows_as_given(Layout layout, tuple axes, cnp.ndarray results, tuple shape)
cdef tuple shape_of_rows(cnp.ndarray x, tuple axes, bint keepdims=?)
cdef object gradient_of_sink(str call, RowMask mask, tuple axes, object sink, object lse)
