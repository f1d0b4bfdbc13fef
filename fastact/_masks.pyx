"""The arguments that say which entries of a row take part: bias, where, lengths, causal, offset, window; the sink."""

cimport numpy as cnp
from libc.math cimport INFINITY

import numpy as np

from fastact._activation cimport as_numbers, refuse_masked, rounded, unknown_argument
from fastact._engine.masks cimport Broadcast, broadcast_to
from fastact._layout cimport Layout, reorder

from fastact._costs import cost_of

cnp.import_array()

cdef double COST = cost_of("mask")       # of where and bias

cdef Py_ssize_t INDEX_MAX = 1 << 60     # of an offset or a window, in either direction
cdef Py_ssize_t BEYOND = 1 << 61        # as a window: all keys

INTERVALS = "lengths", "causal", "offset", "window"
PARTS = "where", *INTERVALS                     # what every function of rows takes
MASKS = "bias", *PARTS

DESCRIPTION = {
    "bias": """bias : array_like, optional
    Added to the logits after `scale`, as float32 or, where `x` is float64, float64; the logits are the rounded sums. It
    broadcasts to `x`. An entry whose bias is -inf takes no part.
""",
    "where": """where : array_like of bool, optional
    The entries that take part; what the others hold does not matter. It broadcasts to `x`.
""",
    "lengths": """lengths : array_like of int, optional
    How many entries of each row take part: the first ones. It broadcasts to the shape of the rows; with `causal` or
    `window` to that without the queries.
""",
    "causal": """causal : bool, optional
    Of query i, the last axis but one, the keys j <= i + offset take part.
""",
    "offset": """offset : int or array_like of int, optional
    The key of query 0. Default: the length of the row less the number of queries, so that the last query has the last
    key; 0 aligns the first ones.
""",
    "window": """window : int or (int, int), optional
    How many keys on the left and on the right of i + offset take part; None as one of both: all of them.
""",
    "sink": """sink : array_like, optional
    One more logit of the denominator alone, not scaled. It broadcasts to the shape of the rows.
""",
    "return_lse": """return_lse : bool, optional
    Return the logarithm of the denominator too.
""",
}


cdef class RowMask:
    cdef tuple shape_in_order(self):
        return self.layout.shape[:self.layout.first] + self.layout.shape[self.layout.first + self.layout.count:]

    # The lse of each row, if it is given, or else its sink, which may be None; the results are those of rows without
    # any entry that takes part.
    cdef int set_sinks(self, str call, object sinks, object lse) except -1:
        if lse is not None:
            self.sinks = rows_in_order(self.layout, numbers_of_rows(call, "lse", lse, self.rows))
        elif sinks is not None:
            self.sinks = rows_in_order(self.layout, numbers_of_rows(call, "sink", sinks, self.rows))
        else:
            self.sinks = np.full(self.shape_in_order(), -np.inf)
        self.results = self.sinks.copy()
        self.call.sinks, self.call.sink_is_lse = <const double*> cnp.PyArray_DATA(self.sinks), lse is not None
        return 0

    cdef int set_effects(self, double x_absent, double y_absent, double fill, bint always_fills) except -1:
        self.call.absent[0], self.call.absent[1], self.call.fill = x_absent, y_absent, fill
        self.call.always_fills = always_fills
        return 0

    # Whether writing `out` would change what is yet to be read of the mask
    cdef bint overlaps(self, cnp.ndarray out) except -1:
        return any([array is not None and np.may_share_memory(out, array) for array in (self.where, self.bias)])


# The arguments that are given, without flags that are False
cdef dict effective(str call, dict given):
    cdef dict left = {}
    for name, value in given.items():
        if name == "causal" or name == "return_lse":
            if value is not True and value is not False and not isinstance(value, np.bool_):
                raise TypeError(f"fastact.{call}: {name} must be True or False, got {value!r}")
            if not value:
                continue
        if value is not None:
            left[name] = value
    return left


# Whether all names are accepted
cdef bint are_accepted(dict given, tuple accepted) except -1:
    for name in given:
        if name not in accepted:
            return False
    return True


# For the first name that is not accepted; `arguments` has those of other functions of the class too.
cdef object unaccepted(str call, dict given, tuple accepted, object arguments):
    name = next(name for name in given if name not in accepted)
    own = [one for one in arguments if one in accepted or one not in (*MASKS, "sink", "lse")]
    return unknown_argument(call, name, own if name in arguments else list(arguments))


# A checked mask; with `adds_bias` the bias is added to x, else it only tells which entries take part.
cdef RowMask mask_of(str call, cnp.ndarray x, tuple axes, dict given, bint adds_bias):
    cdef RowMask mask = RowMask.__new__(RowMask)
    mask.layout, mask.rows = Layout(x, axes), shape_of_rows(x, axes)
    mask.call.begin = mask.call.end = NULL
    mask.call.where.data = mask.call.bias.data = NULL
    mask.call.sinks, mask.call.sink_is_lse, mask.call.one_wins = NULL, False, False
    mask.set_effects(-INFINITY, -INFINITY, 0, False)
    where, bias = given.get("where"), given.get("bias")
    if where is not None:
        refuse_masked(call, "where", where)
        where = np.asarray(where)
        if where.dtype != bool:
            raise TypeError(f"fastact.{call}: where has the dtype {where.dtype}; accepted is bool")
        mask.where = entries_of_rows(call, "where", where, x, mask.layout, &mask.call.where)
    if bias is not None:
        dtype = np.float64 if x.dtype == np.float64 else np.float32
        bias = as_numbers(call, "bias", bias)
        bias = bias if bias.dtype == dtype and bias.flags.aligned else rounded(bias, dtype)
        mask.bias = entries_of_rows(call, "bias", bias, x, mask.layout, &mask.call.bias)
    if any([name in given for name in INTERVALS]):
        intervals = checked_intervals(call, np.shape(x), axes, given)
        mask.begin, mask.end = [rows_in_order(mask.layout, numbers) for numbers in intervals]
        mask.call.begin = <const cnp.npy_intp*> cnp.PyArray_DATA(mask.begin)
        mask.call.end = <const cnp.npy_intp*> cnp.PyArray_DATA(mask.end)
    mask.call.adds_bias = adds_bias
    mask.call.cost = 0 if mask.where is None and mask.bias is None else COST
    return mask


# As float64, in the shape of the rows
cdef object numbers_of_rows(str call, str name, object numbers, tuple shape):
    return broadcast(call, name, as_numbers(call, name, numbers).astype(np.float64), shape)


cdef object broadcast(str call, str name, object array, tuple shape):
    try:
        return np.broadcast_to(array, shape)
    except ValueError:
        raise does_not_broadcast(call, name, array, shape) from None


cdef object does_not_broadcast(str call, str name, object array, tuple shape):
    return ValueError(f"fastact.{call}: {name} has the shape {array.shape}; accepted is what broadcasts to {shape}")


# How an array that is broadcast to x lies in its rows, in the order of the engine; returns what `target` points into.
# That is a copy if the rows have several axes along which one distance between entries does not exist.
cdef cnp.ndarray entries_of_rows(str call, str name, cnp.ndarray array, cnp.ndarray x, Layout layout,
                                 Broadcast* target):
    cdef cnp.ndarray view
    if layout.straight and layout.count == 1 and layout.first == cnp.PyArray_NDIM(x) - 1:
        if not broadcast_to(target, array, cnp.PyArray_NDIM(x), cnp.PyArray_DIMS(x)):
            raise does_not_broadcast(call, name, array, (<object> x).shape)
        return array
    spread = broadcast(call, name, array, np.shape(x))
    spread = spread.reshape(spread.shape or (1,)).transpose(layout.order)
    if layout.count != 1:
        spread = spread.reshape(layout.shape[:layout.first] + (layout.n,) + layout.shape[layout.first + layout.count:])
    view = np.moveaxis(spread, layout.first, -1)
    broadcast_to(target, view, cnp.PyArray_NDIM(view), cnp.PyArray_DIMS(view))
    return view


# One number a row, in the order of the engine, contiguous
cdef cnp.ndarray rows_in_order(Layout layout, cnp.ndarray array):
    if layout.straight:
        return np.ascontiguousarray(array) if cnp.PyArray_NDIM(array) else array.reshape(1)
    rows = layout.order[:layout.first] + layout.order[layout.first + layout.count:]
    return np.ascontiguousarray(array.transpose([sorted(rows).index(k) for k in rows]) if rows else array.reshape(1))


# The inverse, in a shape with or without the axes of the rows
cdef object rows_as_given(Layout layout, tuple axes, cnp.ndarray results, tuple shape):
    remaining = [k for k in layout.order if k not in axes]
    return reorder(results, tuple([sorted(remaining).index(k) for k in remaining])).reshape(shape)


cdef tuple shape_of_rows(cnp.ndarray x, tuple axes, bint keepdims=False):
    shape = (<object> x).shape
    if keepdims:
        return tuple([1 if k in axes else length for k, length in enumerate(shape)])
    return tuple([length for k, length in enumerate(shape) if k not in axes])


# ---------------------------------------------------------------------------------------------------------- intervals

# The first entry of each row, and the one after its last
cdef tuple checked_intervals(str call, tuple shape, tuple axes, dict given):
    cdef cnp.ndarray ends, middles, begin, end
    cdef Py_ssize_t outside
    lengths, offset, window = given.get("lengths"), given.get("offset"), given.get("window")
    causal = "causal" in given
    left, right = checked_window(call, window)
    diagonal = causal or window is not None
    if offset is not None and not diagonal:
        raise ValueError(f"fastact.{call}: offset is given without causal or window, of which it is the diagonal")
    if len(axes) != 1 or not shape:
        raise ValueError(f"fastact.{call}: lengths, causal and window take rows along one axis; axis names {len(axes)} "
                         f"of an array of {len(shape)} dimensions")
    n = shape[axes[0]]
    if diagonal and (len(shape) < 2 or axes[0] != len(shape) - 1):
        raise ValueError(f"fastact.{call}: causal and window take rows along the last axis of an array (..., queries, "
                         f"keys); got axis {axes[0]} of {len(shape)} dimensions")
    rows = shape[:axes[0]] + shape[axes[0] + 1:]
    outer, queries = (shape[:len(shape) - 2], shape[len(shape) - 2]) if diagonal else (rows, 1)
    ends = integers(call, "lengths", n if lengths is None else lengths, outer)
    middles = ends if offset is None else integers(call, "offset", offset, outer)
    if causal:
        right = 0
    begin, end = np.empty(rows, np.intp), np.empty(rows, np.intp)
    outside = set_intervals(
        <const cnp.npy_intp*> cnp.PyArray_DATA(ends), <const cnp.npy_intp*> cnp.PyArray_DATA(middles),
        cnp.PyArray_SIZE(ends), queries, n, 0 if offset is not None else queries,
        BEYOND if right is None else right, BEYOND if left is None else left,
        <cnp.npy_intp*> cnp.PyArray_DATA(begin), <cnp.npy_intp*> cnp.PyArray_DATA(end))
    if outside >= 0:
        raise IndexError(f"fastact.{call}: lengths holds {ends.flat[outside]}; accepted is 0 to {n}")
    return begin, end


# The interval of each query: the keys from its middle less `left` to its middle and `right`, before the end.  That of
# query 0 is the one of `middles` less `before`.  Returns the index of an end that is not from 0 to n, or -1.
cdef Py_ssize_t set_intervals(const cnp.npy_intp* ends, const cnp.npy_intp* middles, Py_ssize_t count,
                              Py_ssize_t queries, Py_ssize_t n, Py_ssize_t before, Py_ssize_t right, Py_ssize_t left,
                              cnp.npy_intp* begin, cnp.npy_intp* end) noexcept nogil:
    cdef Py_ssize_t k, query, middle, first, last
    for k in range(count):
        if not 0 <= ends[k] <= n:
            return k
        for query in range(queries):
            middle = middles[k] - before + query
            first, last = max(middle - left, 0), min(ends[k], middle + right + 1)
            begin[k * queries + query] = first if first < last else 0
            end[k * queries + query] = last if first < last else 0
    return -1


cdef tuple checked_window(str call, object window):
    if window is None:
        return None, None
    both = window if isinstance(window, (tuple, list)) else (window, window)
    if len(both) != 2:
        raise ValueError(f"fastact.{call}: window has {len(both)} numbers; accepted is (left, right) or one number")
    for width in both:
        if width is None:
            continue
        if isinstance(width, (bool, np.bool_)) or not hasattr(width, "__index__"):
            raise TypeError(f"fastact.{call}: window must be an integer, or (left, right) of integers or None, got "
                            f"{window!r}")
        if not 0 <= width.__index__() <= INDEX_MAX:
            raise ValueError(f"fastact.{call}: window is {window!r}; accepted are numbers from 0 to 2^60")
    return tuple([width if width is None else width.__index__() for width in both])


# As intp, contiguous and in that shape
cdef cnp.ndarray integers(str call, str name, object numbers, tuple shape):
    cdef cnp.ndarray full
    cdef Py_ssize_t k
    cdef bint is_within
    refuse_masked(call, name, numbers)
    array = np.asarray(numbers)
    if array.dtype.kind not in "iu" and array.size:
        raise TypeError(f"fastact.{call}: {name} has the dtype {array.dtype}; accepted are integers")
    is_within = array.dtype.kind != "u" or array.size == 0 or array.max() <= INDEX_MAX
    full = np.empty(shape, np.intp)
    try:
        full[...] = array
    except ValueError:
        raise does_not_broadcast(call, name, array, shape) from None
    if array.ndim > len(shape):         # an assignment drops axes of length 1
        raise does_not_broadcast(call, name, array, shape)
    for k in range(cnp.PyArray_SIZE(full)):
        is_within &= -INDEX_MAX <= (<const cnp.npy_intp*> cnp.PyArray_DATA(full))[k] <= INDEX_MAX
    if not is_within:
        raise ValueError(f"fastact.{call}: {name} is out of range; accepted is up to 2^60")
    return full


# --------------------------------------------------------------------------------------------------- sums of gradients

# The gradient with respect to the sink, of its shape: -e^(sink - lse) times the sum that each row left in the results
cdef object gradient_of_sink(str call, RowMask mask, tuple axes, object sink, object lse):
    sinks = as_numbers(call, "sink", sink)
    of_rows, logs = (numbers_of_rows(call, "sink", sinks, mask.rows), numbers_of_rows(call, "lse", lse, mask.rows))
    with np.errstate(all="ignore"):
        shares = np.where(of_rows == -np.inf, 0, np.exp(of_rows - logs))
        gradients = -shares * rows_as_given(mask.layout, axes, mask.results, mask.rows)
    added, shape = gradients.ndim - sinks.ndim, np.shape(sinks)
    summed = tuple([k for k in range(gradients.ndim) if k < added or shape[k - added] == 1])
    return rounded(gradients.sum(axis=summed).reshape(shape), sinks.dtype)[()]
