cimport numpy as cnp

from fastact._engine.rows cimport RowOperation
from fastact._layout cimport Layout
from fastact._masks cimport RowMask

# What logits are multiplied by, in two parts, and the alpha of entmax
cdef struct Factor:
    double high
    double low
    double alpha

cdef bint set_quotient(Factor* factor, double numerator, double denominator) noexcept nogil
cdef Factor factor_of(str call, double sign, object scale, object temperature) except *
cdef tuple computed_in(str call, cnp.ndarray x, object dtype, object out)
cdef bint is_wider(object out) except -1
cdef object run_entries(str call, RowOperation operation, cnp.ndarray x, cnp.ndarray y, tuple axes, object out,
                        cnp.ndarray scales, Factor factor, RowMask mask)
cdef cnp.ndarray run_reduction(RowOperation operation, cnp.ndarray x, Layout layout, Factor factor, RowMask mask,
                               cnp.ndarray y=*)
cdef object run_plain(RowOperation operation, object x, object y, object out, object axis, Factor factor)
cdef object reduce_plain(RowOperation operation, object x, object axis, Factor factor)
cpdef tuple mean_of_labels(RowOperation operation, object x, object labels)
