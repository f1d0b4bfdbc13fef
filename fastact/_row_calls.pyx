"""Calls of row operations: on plain arrays directly, on others by way of `Layout`."""

cimport numpy as cnp
from libc.math cimport INFINITY

from numbers import Real

import numpy as np

from fastact._activation cimport check_out, common_dtype, has_16_bits, rounded, store, working_dtype
from fastact._engine.formats cimport is_plain, is_plain_out, is_plain_pair
from fastact._engine.masks cimport run_masked
from fastact._engine.rows cimport RowCall, RowOperation, data_of, row_call
from fastact._engine.runtime cimport empty_like, fastact_nearest_float
from fastact._engine.sums cimport exact_sums
from fastact._layout cimport Layout, overlaps
from fastact._masks cimport RowMask
from fastact._math.primitives cimport remainder

cnp.import_array()

cdef enum:
    ROUNDED_INLINE_MAX = 32             # numbers that are rounded one by one; for more a NumPy call is faster


FACTORS = """scale : float, optional
    The logits are multiplied by it, without losing a digit. Default: 1.
temperature : float, optional
    The logits are divided by it; scale / temperature is from 1e-30 to 1e30. Default: 1.
"""


# sign scale / temperature
cdef Factor factor_of(str call, double sign, object scale, object temperature) except *:
    return quotient(call, sign * positive(call, "scale", scale), positive(call, "temperature", temperature))


def factor_of_numbers(str call, double scale, double temperature):
    """Divide scale by temperature, in two parts: the nearest number, and what it lacks."""
    cdef Factor factor = quotient(call, scale, temperature)
    return factor.high, factor.low


# Whether the quotient is accepted
cdef bint set_quotient(Factor* factor, double numerator, double denominator) noexcept nogil:
    factor.high = numerator / denominator
    factor.low = remainder[double](factor.high, denominator, numerator) / denominator
    return 1e-30 * (1 - 1e-15) <= abs(factor.high) <= 1e30 * (1 + 1e-15)    # 1 / 1e30 is a little less than 1e-30


cdef Factor quotient(str call, double numerator, double denominator) except *:
    cdef Factor factor = Factor(1, 0, 1)
    if not set_quotient(&factor, numerator, denominator):
        raise ValueError(f"fastact.{call}: scale / temperature is {abs(factor.high):g}; accepted is 1e-30 to 1e30")
    return factor


cdef double positive(str call, str name, object number) except -1:
    cdef double as_double
    if type(number) not in (float, int) and not isinstance(number, (Real, np.bool_)):
        raise TypeError(f"fastact.{call}: {name} must be a number, got {type(number).__name__}")
    try:
        as_double = number
    except OverflowError:               # an integer that no float can hold
        as_double = INFINITY
    if not 0 < as_double < INFINITY:
        raise ValueError(f"fastact.{call}: {name} is {as_double:g}; accepted is a positive number")
    return as_double


# x in the dtype in which it is computed, and the dtype of the result: that of x, unless `dtype` or a wider `out` asks
# for another one.  What is between the two is not rounded.
cdef tuple computed_in(str call, cnp.ndarray x, object dtype, object out):
    result = x.dtype
    if dtype is None and out is None:
        return x, result
    if dtype is not None:
        result = np.dtype(dtype)
        if result.kind in "biu":
            raise TypeError(f"fastact.{call}: dtype is {result}; accepted are float16, bfloat16, float32 and float64")
        result = working_dtype(call, "dtype", result)
    elif has_16_bits(result) and is_wider(out):
        result = np.dtype(np.float32)
    return x.astype(common_dtype(x.dtype, result), copy=False), result


# Whether results of 16 bits would be rounded before they are written to `out`
cdef bint is_wider(object out) except -1:
    return isinstance(out, np.ndarray) and out.dtype.kind == "f" and out.dtype.itemsize > 2


# Runs an operation whose result has the shape of its inputs.
cdef object run_entries(str call, RowOperation operation, cnp.ndarray x, cnp.ndarray y, tuple axes, object out,
                        cnp.ndarray scales, Factor factor, RowMask mask):
    cdef RowCall call_of_rows
    cdef Layout layout = Layout(x, axes) if mask is None else mask.layout
    cdef cnp.ndarray first = layout.matrix(x), target
    cdef cnp.ndarray second = None if y is None else layout.matrix(y)
    if out is not None:
        check_out(call, out, (<object> x).shape, x.dtype)
        ordered = None
        if out.ndim:
            ordered = out if layout.straight else out.transpose(layout.order)
        direct = (ordered is not None and type(out) is np.ndarray and out.dtype == x.dtype and is_plain(ordered)
                  and not overlaps(ordered, first) and (second is None or not overlaps(ordered, second))
                  and (scales is None or not np.may_share_memory(ordered, scales))
                  and (mask is None or not mask.overlaps(ordered)))
        target = ordered if direct else empty_like(first)
    else:
        direct = False
        target = empty_like(first)
    call_of_rows = row_call(first, layout.outer, layout.n, layout.inner)
    call_of_rows.y, call_of_rows.out, call_of_rows.scales = data_of(second), data_of(target), <double*> data_of(scales)
    call_of_rows.factor, call_of_rows.factor_low, call_of_rows.alpha = factor.high, factor.low, factor.alpha
    if mask is None:
        operation.run(&call_of_rows)
    else:
        call_of_rows.results = <double*> data_of(mask.results)
        run_masked(operation, &call_of_rows, &mask.call)
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
    call.y, call.out = data_of(y), data_of(target)
    call.factor, call.factor_low, call.alpha = factor.high, factor.low, factor.alpha
    operation.run(&call)
    return target


# Runs an operation that gives one number for each row, in the order of the engine; of rows without entries -inf.
cdef cnp.ndarray run_reduction(RowOperation operation, cnp.ndarray x, Layout layout, Factor factor, RowMask mask,
                               cnp.ndarray y=None):
    cdef RowCall call
    cdef cnp.ndarray matrix, second = None, results
    results = np.full(layout.shape[:layout.first] + layout.shape[layout.first + layout.count:], -np.inf)
    if layout.n == 0:
        return results
    matrix = layout.matrix(x)
    call = row_call(matrix, layout.outer, layout.n, layout.inner)
    if y is not None:
        second = layout.matrix(y)
    call.y, call.results = data_of(second), <double*> data_of(results)
    call.factor, call.factor_low, call.alpha = factor.high, factor.low, factor.alpha
    if mask is None:
        operation.run(&call)
    else:
        run_masked(operation, &call, &mask.call)
    return results


# The same for plain arrays, as the result
cdef object reduce_plain(RowOperation operation, object x, object axis, Factor factor):
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
    call.results, call.factor, call.factor_low = <double*> cnp.PyArray_DATA(results), factor.high, factor.low
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
