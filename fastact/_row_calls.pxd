cimport numpy as cnp

from fastact._engine.rows cimport RowOperation

# What logits are multiplied by, in two parts
cdef struct Factor:
    double high
    double low

cdef object run_entries(str call, RowOperation operation, cnp.ndarray x, cnp.ndarray y, tuple axes, object out,
                        cnp.ndarray scales, Factor factor)
cdef object run_plain(RowOperation operation, object x, object y, object out, object axis, Factor factor)
cdef object reduce_plain(RowOperation operation, object x, object axis)
cpdef tuple mean_of_labels(RowOperation operation, object x, object labels)
