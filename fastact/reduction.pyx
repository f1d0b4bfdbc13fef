"""Functions of whole rows that give one number for each row: logsumexp."""

cimport numpy as cnp
from cpython.object cimport PyObject
from libc.math cimport INFINITY

import numpy as np

from fastact._activation cimport (
    Activation, PyVectorcall_NARGS, as_float, as_numbers, call_generally, check_out, common_dtype,
    fastact_enable_vectorcall, has_16_bits, replace_method, rounded, store)
from fastact._engine.rows cimport RowOperation
from fastact._layout cimport Layout, row_axes
from fastact._masks cimport (
    RowMask, are_accepted, effective, mask_of, rows_as_given, rows_in_order, shape_of_rows, unaccepted)
from fastact._row_calls cimport Factor, computed_in, factor_of, is_wider, reduce_plain, run_entries, run_reduction

from fastact._activation import ACCEPTED, KINDS, make_signature
from fastact._isa import KERNELS
from fastact._masks import DESCRIPTION, MASKS
from fastact._row_calls import FACTORS

cnp.import_array()

cdef object ONE = 1.0               # the default of scale and temperature
cdef object LAST = -1               # the default axis


cdef class RowReduction(Activation):
    """A function of whole rows that gives one number for each: logsumexp, whose derivative is softmax.

    The rows lie along ``axis``: an integer, a tuple of integers, or None for all axes together.
    """

    cdef object (*vectorcall)(object, PyObject* const*, size_t, PyObject*)
    cdef RowOperation value_operation, scaled_operation, backward_operation, scaled_backward_operation
    cdef RowOperation of_lse_operation, scaled_of_lse_operation     # the backward with a given lse

    def __cinit__(self, str name, *, double cost, str derivative, **description):
        self.keeps = "x"
        self.vectorcall = call_reduction
        fastact_enable_vectorcall(self, &self.vectorcall)
        self.value_operation = RowOperation(name, KERNELS, cost)
        self.scaled_operation = RowOperation(f"{name}_scaled", KERNELS, cost)
        self.backward_operation = RowOperation(derivative, KERNELS, cost)
        self.scaled_backward_operation = RowOperation(f"{derivative}_scaled", KERNELS, cost)
        self.of_lse_operation = RowOperation(f"{derivative}_lse", KERNELS, cost)
        self.scaled_of_lse_operation = RowOperation(f"{derivative}_scaled_lse", KERNELS, cost)

    def _operations(self):
        """As those of Rowwise."""
        return {None: {"value": (self.value_operation, self.scaled_operation, 1.0),
                       "backward": (self.backward_operation, self.scaled_backward_operation, 1.0)}}

    def _signature(self):
        masks = [(name, False if name == "causal" else None) for name in MASKS]
        return make_signature(["x", ("axis", -1)], [*self.parameters.items(), *masks, ("keepdims", False),
                                                    ("dtype", None), ("out", None)])

    @property
    def __doc__(self):
        return f"""{self.name}{self._signature()}

{self.summary}

.. math:: {self.formula}

.. math:: {self.derivative_formula}

{KINDS}

Parameters
----------
x : array_like
    Logits of any shape: {ACCEPTED}.
axis : int, tuple of int or None, optional
    Along which the rows lie; None: all entries are one row. Default: the last.
{FACTORS}{"".join([DESCRIPTION[name] for name in MASKS])}keepdims : bool, optional
    Keep the axes of the rows, with length 1. Default: drop them.
dtype : dtype, optional
    Of the result. Default: that of `x`; float32 where `x` has 16 bits and `out` has more.
out : ndarray, optional
    Where to write the result.

Returns
-------
ndarray or scalar
    One number for each row; -inf where nothing takes part, NaN where a NaN does.

Raises
------
TypeError
    If a dtype is not supported or `axis` is no integer.
AxisError
    If `axis` is out of bounds.
IndexError
    If an entry of `lengths` is negative or above the length of a row.
ValueError
    If a mask or `out` has another shape, `out` is read-only, `scale` / `temperature` is out of range, or `causal` or
    `window` is given for rows that do not lie along the last of several axes.

See Also
--------
{self.name}.backward(dy, x) : the gradient with respect to the logits

Notes
-----
Source: {self.source}.
"""

    def __call__(self, x, axis=-1, *, scale=ONE, temperature=ONE, keepdims=False, dtype=None, out=None, **masks):
        cdef Factor factor = Factor(1, 0, 1)
        cdef RowMask mask = None
        cdef cnp.ndarray results
        cdef tuple axes
        if masks and not are_accepted(masks, MASKS):
            raise unaccepted(self.name, masks, MASKS, self._signature().parameters)
        if not (scale is ONE and temperature is ONE):
            factor = factor_of(self.name, 1, scale, temperature)
        operation = self.value_operation if factor.high == 1 else self.scaled_operation
        if not masks and out is None and not keepdims and dtype is None:
            result = reduce_plain(operation, x, axis, factor)
            if result is not None:
                return result
        array, dtype = computed_in(self.name, as_numbers(self.name, "x", x), dtype, out)
        axes = row_axes(self.name, axis, array.ndim)
        masks = effective(self.name, masks)
        if masks:
            mask = mask_of(self.name, array, axes, masks, True)
        if "bias" in masks:
            operation = self.value_operation                # of the sum: the factor is in it
        shape = shape_of_rows(array, axes, keepdims)
        if out is not None:
            check_out(self.name, out, shape, dtype)
        layout = Layout(array, axes)
        results = run_reduction(operation, array, layout, factor, mask)
        values = rounded(rows_as_given(layout, axes, results, shape), dtype)
        if out is None:
            return values[()]
        store(out, values)
        return out

    def backward(self, dy, x, axis=-1, *, scale=ONE, temperature=ONE, keepdims=False, out=None, **masks):
        """backward($self, dy, x, axis=-1, *, scale=1.0, temperature=1.0, bias=None, where=None, lengths=None,
        causal=False, offset=None, window=None, lse=None, keepdims=False, out=None)
--

        The gradient with respect to the logits: dy times softmax, and times `scale`.

        Parameters
        ----------
        dy : array_like
            Gradient with respect to the value, of its shape.
        x : array_like
            The logits.
        axis, scale, temperature, keepdims
            As for the value.
        bias, where, lengths, causal, offset, window : optional
            As for the value. The gradient of entries that take no part is 0. The gradient with respect to a bias is
            that of the logits without `scale` and `temperature`, summed to its shape.
        lse : array_like, optional
            The value, of the shape of the rows; the logits may be a part of the row that it belongs to.
        out : ndarray, optional
            Where to write the result; `x` itself is allowed.

        Returns
        -------
        ndarray or scalar
            Of the shape and dtype of `x`.

        Raises
        ------
        TypeError
            If a dtype is not supported.
        AxisError
            If `axis` is out of bounds.
        IndexError
            If an entry of `lengths` is negative or above the length of a row.
        ValueError
            If the shapes differ, `out` is read-only, or `scale` / `temperature` is out of range.
        """
        cdef str call = f"{self.name}.backward"
        cdef Factor factor = Factor(1, 0, 1)
        cdef RowMask mask = None
        cdef RowOperation operation
        cdef bint is_unscaled
        if masks and not are_accepted(masks, (*MASKS, "lse")):
            raise unaccepted(call, masks, (*MASKS, "lse"),
                             ["dy", "x", "axis", "scale", "temperature", *MASKS, "lse", "keepdims", "out"])
        if not (scale is ONE and temperature is ONE):
            factor = factor_of(call, 1, scale, temperature)
        cdef cnp.ndarray array = as_numbers(call, "x", x), upstream
        if type(dy) in (int, float):        # a Python number takes the dtype of x
            dy = rounded(as_float(call, "dy", dy), array.dtype)
        upstream = as_numbers(call, "dy", dy)
        cdef tuple axes = row_axes(call, axis, array.ndim), rows = shape_of_rows(array, axes)
        shape = shape_of_rows(array, axes, keepdims)
        if np.shape(upstream) != shape:
            raise ValueError(f"fastact.{call}: dy has the shape {np.shape(upstream)}; accepted is that of the value, "
                             f"{shape}")
        result = common_dtype(array.dtype, upstream.dtype)
        if has_16_bits(result) and is_wider(out):
            result = np.dtype(np.float32)
        array = array.astype(result, copy=False)
        masks = effective(call, masks)
        is_unscaled = factor.high == 1 or "bias" in masks
        operation = self.backward_operation if is_unscaled else self.scaled_backward_operation
        if masks:
            mask = mask_of(call, array, axes, masks, True)
            mask.set_effects(-INFINITY, 0, 0, False)
        if "lse" in masks:
            operation = self.of_lse_operation if is_unscaled else self.scaled_of_lse_operation
            mask.set_sinks(call, None, masks["lse"])
        scales = rows_in_order(Layout(array, axes), np.asarray(upstream.astype(np.float64) * factor.high).reshape(rows))
        return run_entries(call, operation, array, None, axes, out, scales, factor, mask)


cdef object reduction_by_def = RowReduction.__call__
cdef object reduction_backward_by_def = RowReduction.backward


# f(x) of a plain array
cdef object call_reduction(object self, PyObject* const* arguments, size_t count, PyObject* names):
    cdef Py_ssize_t positional = PyVectorcall_NARGS(count)
    result = None
    if positional == 1 and names == NULL:
        result = reduce_plain((<RowReduction> self).value_operation, <object> arguments[0], LAST, Factor(1, 0, 1))
    return call_generally(reduction_by_def, self, arguments, positional, names) if result is None else result


cdef object call_reduction_backward(object self, PyObject* const* arguments, Py_ssize_t count, PyObject* names):
    return call_generally(reduction_backward_by_def, self, arguments, count, names)


replace_method(RowReduction, "backward", <void*> call_reduction_backward)
