"""Where the rows of an array lie: axes, and the array as [outer, n, inner]."""

cimport numpy as cnp

import numpy as np

from fastact._engine.sums cimport exact_sums

cnp.import_array()


# The axes of the rows, sorted and not negative.  A scalar is a row of one entry.
cpdef tuple row_axes(str call, object axis, int ndim):
    if axis is None:
        return tuple(range(max(ndim, 1)))
    cdef object length = max(ndim, 1)
    if type(axis) is int and -length <= axis < length:
        return (axis % length,)
    axes = []
    for one in axis if isinstance(axis, tuple) else (axis,):
        if isinstance(one, (bool, np.bool_)) or not hasattr(one, "__index__"):
            raise TypeError(f"fastact.{call}: axis must be an integer, a tuple of integers or None, got {axis!r}")
        index = one.__index__()
        if not -length <= index < length:
            raise np.exceptions.AxisError(f"fastact.{call}: axis {index} is out of bounds for an array of {ndim} "
                                          f"dimensions")
        axes.append(index % length)
    if len(set(axes)) < len(axes):
        raise ValueError(f"fastact.{call}: axis names a dimension twice: {axis!r}")
    return tuple(sorted(axes))


cdef class Layout:
    """An order of the axes in which rows are contiguous, or columns side by side: a matrix [outer, n, inner]."""

    def __init__(self, cnp.ndarray array, tuple axes):
        cdef int ndim = max(cnp.PyArray_NDIM(array), 1)
        self.order, self.shape = tuple(range(ndim)), (<object> array).shape or (1,)
        self.first, self.count = (axes[0] if axes else ndim), len(axes)
        self.straight = True
        if axes and axes[self.count - 1] - self.first >= self.count:        # not adjacent: moved to the end
            self.order = tuple([k for k in range(ndim) if k not in axes]) + axes
            self.first, self.straight = ndim - self.count, False
        elif self.count == 1 and cnp.PyArray_IS_F_CONTIGUOUS(array) and not cnp.PyArray_IS_C_CONTIGUOUS(array):
            self.order = self.order[::-1]
            self.first, self.straight = ndim - 1 - self.first, False
        if not self.straight:
            self.shape = tuple([self.shape[k] for k in self.order])
        self.outer = product(self.shape[:self.first])
        self.n = product(self.shape[self.first:self.first + self.count])
        self.inner = product(self.shape[self.first + self.count:])

    # The array in this order, contiguous and aligned: a view where that is possible
    cpdef cnp.ndarray matrix(self, cnp.ndarray array):
        cdef cnp.ndarray ordered
        if (self.straight and cnp.PyArray_CheckExact(array) and cnp.PyArray_ISCARRAY_RO(array)
                and cnp.PyArray_NDIM(array)):
            return array
        if cnp.PyArray_NDIM(array) == 0:
            array = array.reshape(1)
        ordered = np.ascontiguousarray(array if self.straight else array.transpose(self.order))
        return ordered if cnp.PyArray_ISALIGNED(ordered) else ordered.copy()

    # A matrix in this order as an array in the order of the user
    cpdef object restore(self, cnp.ndarray matrix, int ndim):
        if not ndim:
            return matrix[0]
        return matrix if self.straight else reorder(matrix, self.order)


# The inverse of array.transpose(order)
cpdef object reorder(cnp.ndarray array, tuple order):
    return array if order == tuple(range(len(order))) else array.transpose([order.index(k) for k in range(len(order))])


cpdef Py_ssize_t product(tuple factors):
    cdef Py_ssize_t total = 1
    for factor in factors:
        total *= factor
    return total


# Exact sums over some axes of an array of float32 or float64, divided by `divisor`, each rounded once
cpdef object sum_over(cnp.ndarray numbers, tuple axes, Py_ssize_t divisor=1):
    cdef tuple shape = np.shape(numbers), kept = tuple([k for k in range(len(shape)) if k not in axes])
    cdef tuple lengths = tuple([shape[k] for k in kept])
    cdef Py_ssize_t first = kept[0] if kept else 0, outer = 1
    if kept == tuple(range(first, first + len(kept))):      # adjacent, as the engine needs them
        outer = product(shape[:first])
    else:
        numbers = numbers.transpose(axes + kept)
        outer = product(tuple([shape[k] for k in axes]))
    inner = product(shape) // (outer * product(lengths)) if product(shape) else 0
    return exact_sums(np.ascontiguousarray(numbers), outer, product(lengths), inner, divisor).reshape(lengths)


# Whether writing one array would change what is yet to be read of the other.  Two views of the same entries do not.
cdef bint overlaps(cnp.ndarray out, cnp.ndarray array):
    return cnp.PyArray_DATA(out) != cnp.PyArray_DATA(array) and np.may_share_memory(out, array)


# x with `absent` wherever `where` is false, and `where` as an array of its shape
cpdef tuple masked(str call, cnp.ndarray x, object where, double absent):
    mask = np.asarray(where)
    if mask.dtype != bool:
        raise TypeError(f"fastact.{call}: where has the dtype {mask.dtype}; accepted is bool")
    try:
        mask = np.broadcast_to(mask, np.shape(x))
    except ValueError:
        raise ValueError(f"fastact.{call}: where has the shape {mask.shape}; accepted is what broadcasts to "
                         f"{np.shape(x)}") from None
    return np.where(mask, x, x.dtype.type(absent)), mask
