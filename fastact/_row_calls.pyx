"""Calls of row operations: on plain arrays directly, on others by way of `Layout`."""

cimport numpy as cnp

import numpy as np

from fastact._activation cimport check_out, rounded, store
from fastact._engine.formats cimport is_plain, is_plain_out, is_plain_pair
from fastact._engine.rows cimport RowCall, RowOperation, data_of, row_call
from fastact._engine.runtime cimport empty_like, fastact_nearest_float
from fastact._engine.sums cimport exact_sums
from fastact._layout cimport Layout, overlaps

cnp.import_array()

cdef enum:
    ROUNDED_INLINE_MAX = 32             # numbers that are rounded one by one; for more a NumPy call is faster


# Runs an operation whose result has the shape of its inputs.
cdef object run_entries(str call, RowOperation operation, cnp.ndarray x, cnp.ndarray y, tuple axes, object out,
                        cnp.ndarray scales, Factor factor):
    cdef RowCall call_of_rows
    cdef Layout layout = Layout(x, axes)
    cdef cnp.ndarray first = layout.matrix(x), target
    cdef cnp.ndarray second = None if y is None else layout.matrix(y)
    if out is not None:
        check_out(call, out, np.shape(x), x.dtype)
        ordered = out.reshape(out.shape or (1,)).transpose(layout.order) if out.ndim else None
        direct = (ordered is not None and type(out) is np.ndarray and out.dtype == x.dtype and is_plain(ordered)
                  and not overlaps(ordered, first) and (second is None or not overlaps(ordered, second))
                  and (scales is None or not np.may_share_memory(ordered, scales)))
        target = ordered if direct else empty_like(first)
    else:
        direct = False
        target = empty_like(first)
    call_of_rows = row_call(first, layout.outer, layout.n, layout.inner)
    call_of_rows.y, call_of_rows.out, call_of_rows.scales = data_of(second), data_of(target), <double*> data_of(scales)
    call_of_rows.factor, call_of_rows.factor_low = factor.high, factor.low
    operation.run(&call_of_rows)
    if out is None:
        return layout.restore(target, x.ndim)
    if not direct:
        store(out, layout.restore(target, x.ndim))
    return out


cdef inline bint is_last(object axis):
    return isinstance(axis, int) and axis == -1


# The fast path: rows along the last axis of plain arrays.  Returns the result; None if an argument is anything else.
cdef object run_plain(RowOperation operation, object x, object y, object out, object axis, Factor factor):
    cdef RowCall call
    cdef cnp.ndarray first, target
    cdef Py_ssize_t n
    if not (is_plain(x) if y is None else is_plain_pair(x, y)) or not is_last(axis):
        return None
    first = x
    if out is None:
        target = empty_like(first)
    elif is_plain_out(out, x) and (y is None or is_plain_out(out, y)):
        target = out
    else:
        return None
    n = cnp.PyArray_DIM(first, cnp.PyArray_NDIM(first) - 1)
    call = row_call(first, cnp.PyArray_SIZE(first) // n if n else 0, n, 1)
    call.y, call.out, call.factor, call.factor_low = data_of(y), data_of(target), factor.high, factor.low
    operation.run(&call)
    return target


# The same for one number of each row
cdef object reduce_plain(RowOperation operation, object x, object axis):
    cdef RowCall call
    cdef cnp.ndarray array, results, rows
    cdef Py_ssize_t n, count, k
    if not is_plain(x) or not is_last(axis) or cnp.PyArray_SIZE(<cnp.ndarray> x) == 0:
        return None
    array = x
    n = cnp.PyArray_DIM(array, cnp.PyArray_NDIM(array) - 1)
    count = cnp.PyArray_SIZE(array) // n
    results = cnp.PyArray_EMPTY(cnp.PyArray_NDIM(array) - 1, cnp.PyArray_DIMS(array), cnp.NPY_DOUBLE, 0)
    call = row_call(array, count, n, 1)
    call.results = <double*> cnp.PyArray_DATA(results)
    operation.run(&call)
    if cnp.PyArray_TYPE(array) == cnp.NPY_DOUBLE:
        return results[()]
    if count > ROUNDED_INLINE_MAX or cnp.PyArray_TYPE(array) != cnp.NPY_FLOAT:
        return rounded(results, array.dtype)[()]
    rows = cnp.PyArray_EMPTY(cnp.PyArray_NDIM(results), cnp.PyArray_DIMS(results), cnp.NPY_FLOAT, 0)
    for k in range(count):
        (<float*> cnp.PyArray_DATA(rows))[k] = fastact_nearest_float(call.results[k])
    return rows[()]


# The mean loss of labels and its gradient, for plain logits of float32 or float64 with the classes along the last axis
# and labels of int64; None if an argument is anything else, or a label is no class.
cpdef tuple mean_of_labels(RowOperation operation, object x, object labels):
    cdef RowCall call
    cdef cnp.ndarray logits, given, copied, results, target
    cdef Py_ssize_t n, count, k
    cdef cnp.npy_intp label
    cdef int ndim
    if not is_plain(x) or type(labels) is not np.ndarray:
        return None
    logits, given = x, labels
    ndim = cnp.PyArray_NDIM(logits)
    if (cnp.PyArray_TYPE(logits) not in (cnp.NPY_FLOAT, cnp.NPY_DOUBLE) or cnp.PyArray_TYPE(given) != cnp.NPY_INTP
            or not cnp.PyArray_ISCARRAY_RO(given) or cnp.PyArray_SIZE(logits) == 0 or ndim == 0
            or cnp.PyArray_NDIM(given) != ndim - 1):
        return None
    for k in range(ndim - 1):
        if cnp.PyArray_DIM(given, k) != cnp.PyArray_DIM(logits, k):
            return None
    n, count = cnp.PyArray_DIM(logits, ndim - 1), cnp.PyArray_SIZE(given)
    copied = cnp.PyArray_EMPTY(ndim - 1, cnp.PyArray_DIMS(logits), cnp.NPY_INTP, 0)
    for k in range(count):          # read once: another thread could change them
        label = (<const cnp.npy_intp*> cnp.PyArray_DATA(given))[k]
        if not 0 <= label < n:
            return None
        (<cnp.npy_intp*> cnp.PyArray_DATA(copied))[k] = label
    target = empty_like(logits)
    results = cnp.PyArray_EMPTY(ndim - 1, cnp.PyArray_DIMS(logits), cnp.NPY_DOUBLE, 0)
    call = row_call(logits, count, n, 1)
    call.out, call.results, call.scale = data_of(target), <double*> cnp.PyArray_DATA(results), 1.0 / count
    call.labels = <const cnp.npy_intp*> cnp.PyArray_DATA(copied)
    operation.run(&call)
    mean = exact_sums(results, 1, 1, count, count)
    if cnp.PyArray_TYPE(logits) == cnp.NPY_FLOAT:
        mean = rounded(mean, logits.dtype)
    return mean[0], target
