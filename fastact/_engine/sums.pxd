cimport numpy as cnp
from libc.stdint cimport uint64_t

cdef cnp.ndarray exact_sums(cnp.ndarray numbers, Py_ssize_t outer, Py_ssize_t kept, Py_ssize_t inner,
                            uint64_t divisor=?)
