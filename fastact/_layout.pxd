cimport numpy as cnp


cdef class Layout:
    cdef readonly tuple order       # of the axes
    cdef readonly bint straight     # it is the array's own
    cdef readonly Py_ssize_t outer, n, inner
    cdef readonly tuple shape       # of the array in that order
    cdef readonly int first, count  # the axes of the rows in it
    cpdef cnp.ndarray matrix(self, cnp.ndarray array)
    cpdef object restore(self, cnp.ndarray matrix, int ndim)


cpdef tuple row_axes(str call, object axis, int ndim)
cpdef object reorder(cnp.ndarray array, tuple order)
cpdef Py_ssize_t product(tuple factors)
cpdef object sum_over(cnp.ndarray numbers, tuple axes, Py_ssize_t divisor=?)
cdef bint overlaps(cnp.ndarray out, cnp.ndarray array)
cpdef tuple masked(str call, cnp.ndarray x, object where, double absent)
