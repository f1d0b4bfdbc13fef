"""Activations of whole rows: softmax and its relatives, logsumexp.

A call on plain arrays along the last axis goes directly to the engine.  Every other call is checked, and its arrays are
brought into the form [outer, n, inner].
"""

cimport numpy as cnp
from cpython.object cimport PyObject
from libc.math cimport INFINITY

from numbers import Real
from types import MappingProxyType

import numpy as np

from fastact._activation cimport (
    Activation, PyVectorcall_NARGS, are_keywords, as_float, as_numbers, call_generally, check_out, common_dtype,
    fastact_enable_vectorcall, has_16_bits, replace_method, rounded, store, unknown_argument)
from fastact._engine.rows cimport RowOperation
from fastact._layout cimport Layout, masked, reorder, row_axes, sum_over
from fastact._math.primitives cimport remainder
from fastact._row_calls cimport Factor, reduce_plain, run_entries, run_plain

from fastact._activation import ACCEPTED, make_signature
from fastact._isa import KERNELS

cnp.import_array()

cdef object ONE = 1.0               # the default of scale and temperature
cdef object LAST = -1               # the default axis
cdef Factor UNIT = Factor(1, 0)

FACTORS = """scale : float, optional
    The logits are multiplied by it, without losing a digit. Default: 1.
temperature : float, optional
    The logits are divided by it; scale / temperature is from 1e-30 to 1e30. Default: 1.
"""


cdef class Rowwise(Activation):
    """An activation of whole rows: every output depends on every input of its row.

    The rows lie along ``axis``: an integer, a tuple of integers, or None for all axes together.

    Attributes
    ----------
    ulp : mapping
        The largest error promised of "value", in units in the last place: of every entry, float32 and float64.
    """

    cdef object (*vectorcall)(object, PyObject* const*, size_t, PyObject*)
    cdef RowOperation value_operation, scaled_operation, backward_operation
    cdef readonly object ulp
    cdef double masked_row          # the entries of a row of which `where` leaves nothing
    cdef double sign                # of the logits: -1 for softmin

    def __cinit__(self, str name, *, double cost, double masked_row, str negates=None, double ulp=4, **description):
        self.ulp = MappingProxyType({"value": ulp})
        self.value_operation = RowOperation(name, KERNELS, cost)
        self.backward_operation = RowOperation(f"{negates or name}_backward", KERNELS, cost)
        self.scaled_operation = self.value_operation
        if self.parameters and not negates:
            self.scaled_operation = RowOperation(f"{name}_scaled", KERNELS, cost)
        self.masked_row = masked_row
        self.keeps = "output"
        self.sign = -1 if negates else 1
        self.vectorcall = call_rows
        fastact_enable_vectorcall(self, &self.vectorcall)

    # sign scale / temperature
    cdef Factor _factor(self, str call, object scale, object temperature) except *:
        cdef double numerator, denominator
        cdef Factor factor
        numerator = self.sign * self._positive(call, "scale", scale)
        denominator = self._positive(call, "temperature", temperature)
        factor.high = numerator / denominator
        # 1 / 1e30 is a little less than 1e-30
        if not 1e-30 * (1 - 1e-15) <= abs(factor.high) <= 1e30 * (1 + 1e-15):
            raise ValueError(f"fastact.{call}: scale / temperature is {abs(factor.high):g}; accepted is 1e-30 to 1e30")
        factor.low = remainder[double](factor.high, denominator, numerator) / denominator
        return factor

    cdef double _positive(self, str call, str name, object number) except -1:
        cdef double positive
        if name not in self.parameters and number is not ONE:
            raise TypeError(f"fastact.{call}: unknown parameter {name}; there is none")
        if type(number) not in (float, int) and not isinstance(number, (Real, np.bool_)):
            raise TypeError(f"fastact.{call}: {name} must be a number, got {type(number).__name__}")
        try:
            positive = number
        except OverflowError:               # an integer that no float can hold
            positive = INFINITY
        if not 0 < positive < INFINITY:
            raise ValueError(f"fastact.{call}: {name} is {positive:g}; accepted is a positive number")
        return positive

    def _signature(self):
        return make_signature(["x", ("axis", -1)], [*self.parameters.items(), ("where", None), ("out", None)])

    @property
    def __doc__(self):
        return f"""{self.name}{self._signature()}

{self.summary}

.. math:: {self.formula}

.. math:: {self.derivative_formula}

Parameters
----------
x : array_like
    Logits of any shape: {ACCEPTED}.
axis : int, tuple of int or None, optional
    Along which the rows lie; None: all entries are one row. Default: the last.
{FACTORS if self.parameters else ""}where : array_like of bool, optional
    The entries that take part. The others are {self.masked_row:g}, and so is a whole row without any.
out : ndarray, optional
    Where to write the result; `x` itself is allowed.

Returns
-------
ndarray or scalar
    Of the shape and dtype of `x`. {"A row that holds NaN or +inf, or nothing but -inf, is NaN." if self.parameters
    else "A row that holds NaN is NaN."}

Raises
------
TypeError
    If a dtype is not supported or `axis` is no integer.
AxisError
    If `axis` is out of bounds.
ValueError
    If `where` or `out` has another shape, or `out` is read-only{"" if not self.parameters else
    ", or `scale` / `temperature` is out of range"}.

See Also
--------
{self.name}.backward(dy, output=y) : the vector-Jacobian product
{self.name}.jacobian(x) : the matrix of all derivatives of each row

Notes
-----
Source: {self.source}.
"""

    def __call__(self, x, axis=-1, *, scale=ONE, temperature=ONE, where=None, out=None, **unknown):
        cdef Factor factor = Factor(self.sign, 0)
        cdef RowOperation operation
        if unknown:
            raise unknown_argument(self.name, next(iter(unknown)), list(self._signature().parameters))
        if not (scale is ONE and temperature is ONE):
            factor = self._factor(self.name, scale, temperature)
        operation = self.value_operation if factor.high == 1 else self.scaled_operation
        if where is None:
            result = run_plain(operation, x, None, out, axis, factor)
            if result is not None:
                return result
        array = as_numbers(self.name, "x", x)
        axes = row_axes(self.name, axis, array.ndim)
        if where is None:
            return run_entries(self.name, operation, array, None, axes, out, None, factor)
        array, mask = masked(self.name, array, where, self.sign * -np.inf)
        if out is not None:
            check_out(self.name, out, np.shape(array), array.dtype)
        computed = run_entries(self.name, operation, array, None, axes, None, None, factor)
        computed = np.where(mask, computed, computed.dtype.type(self.masked_row))
        if not self.parameters and computed.size:   # hardmax: of -inf alone the first that takes part, not of all
            lost = ~computed.any(axis=axes if computed.ndim else None, keepdims=True)
            computed = np.where(lost & mask, self(mask.astype(computed.dtype), axes), computed)
        computed = computed[()]
        if out is None:
            return computed
        store(out, computed)
        return out

    def backward(self, dy, x=None, axis=-1, *, output=None, scale=ONE, temperature=ONE, where=None, out=None,
                 **unknown):
        """backward($self, dy, x=None, axis=-1, *, output=None, scale=1.0, temperature=1.0, where=None, out=None)
--

        The gradient with respect to the logits: the vector-Jacobian product, without the Jacobian.

        Parameters
        ----------
        dy : array_like
            Gradient with respect to the value, of its shape.
        x : array_like, optional
            The logits, from which the value is computed again.
        axis : int, tuple of int or None, optional
            As for the value.
        output : array_like, optional
            The value, in place of `x`: what there is to keep from the forward pass.
        scale, temperature : float, optional
            As for the value.
        where : array_like of bool, optional
            The entries that take part, as for the value. What the others hold in `dy`, `x` and `output` does not
            matter; their gradient is 0, and so is that of a whole row without any.
        out : ndarray, optional
            Where to write the result; `dy` and `output` are allowed.

        Returns
        -------
        ndarray or scalar
            Of the shape of the value.

        Raises
        ------
        TypeError
            If a dtype is not supported, or not exactly one of `x` and `output` is given.
        AxisError
            If `axis` is out of bounds.
        ValueError
            If the shapes differ, `out` is read-only, or `scale` / `temperature` is out of range.
        """
        cdef Factor factor = Factor(self.sign, 0)
        cdef cnp.ndarray upstream, y
        cdef str call
        if unknown:
            raise unknown_argument(f"{self.name}.backward", next(iter(unknown)), BACKWARD_ARGUMENTS)
        if output is not None and x is None and scale is ONE and temperature is ONE and where is None:
            result = run_plain(self.backward_operation, dy, output, out, axis, factor)
            if result is not None:
                return result
        call = f"{self.name}.backward"
        if not (scale is ONE and temperature is ONE):
            factor = self._factor(call, scale, temperature)
        if (output is None) == (x is None):
            raise TypeError(f"fastact.{call}: accepted is either x or output; got "
                            f"{'both' if x is not None else 'neither'}")
        given, argument = (output, "output") if x is None else (x, "x")
        if type(dy) in (int, float):        # a Python number takes the dtype of the array
            dy = rounded(as_float(call, "dy", dy), as_numbers(call, argument, given).dtype)
        if where is not None:
            return self._backward_of_part(call, dy, given, argument, axis, scale, temperature, where, out)
        if x is not None:
            if has_16_bits(np.asarray(x).dtype):        # the value between is not rounded to them
                return self._backward_through_float32(call, as_numbers(call, "dy", dy), as_numbers(call, "x", x), axis,
                                                      {"scale": scale, "temperature": temperature}, out)
            output = self(x, axis, scale=scale, temperature=temperature)
        result = run_plain(self.backward_operation, dy, output, out, axis, factor)
        if result is not None:
            return result
        upstream, y = as_numbers(call, "dy", dy), as_numbers(call, "output", output)
        dtype = common_dtype(upstream.dtype, y.dtype)
        self._check_shape(call, upstream, y)
        return run_entries(call, self.backward_operation, upstream.astype(dtype, copy=False),
                           y.astype(dtype, copy=False), row_axes(call, axis, y.ndim), out, None, factor)

    cdef int _check_shape(self, str call, cnp.ndarray upstream, cnp.ndarray y) except -1:
        if np.shape(upstream) != np.shape(y):
            raise ValueError(f"fastact.{call}: dy has the shape {np.shape(upstream)}; accepted is that of the value, "
                             f"{np.shape(y)}")
        return 0

    # The backward of the entries that take part.  The others are logits of -inf whose dy is 0, and add nothing.
    def _backward_of_part(self, call, dy, given, argument, axis, scale, temperature, where, out):
        cdef cnp.ndarray upstream = as_numbers(call, "dy", dy), array = as_numbers(call, argument, given)
        self._check_shape(call, upstream, array)
        absent = self.sign * -np.inf if argument == "x" else self.masked_row
        array, mask = masked(call, array, where, absent)
        upstream, mask = masked(call, upstream, mask, 0)
        if out is not None:
            check_out(call, out, np.shape(array), common_dtype(upstream.dtype, array.dtype))
        gradient = self.backward(upstream, axis=axis, scale=scale, temperature=temperature, **{argument: array})
        gradient = np.where(mask, gradient, gradient.dtype.type(0))[()]     # a row without any was NaN
        if out is None:
            return gradient
        store(out, gradient)
        return out

    def _backward_through_float32(self, call, dy, x, axis, parameters, out):
        dtype = common_dtype(dy.dtype, x.dtype)
        if out is not None:
            check_out(call, out, np.shape(x), dtype)
        wide = dy.astype(common_dtype(dy.dtype, np.dtype(np.float32)), copy=False)
        output = self(x.astype(np.float32), axis, **parameters)
        gradient = rounded(self.backward(wide, output=output, axis=axis, **parameters), dtype)
        if out is None:
            return gradient[()]
        store(out, gradient)
        return out

    def jacobian(self, x, *, scale=ONE, temperature=ONE, where=None, **unknown):
        """jacobian($self, x, *, scale=1.0, temperature=1.0, where=None)
--

        All derivatives of each row along the last axis.

        Parameters
        ----------
        x : array_like
            Logits of the shape (..., n).
        scale, temperature : float, optional
            As for the value.
        where : array_like of bool, optional
            The entries that take part, as for the value; the derivatives of and in the others are 0.

        Returns
        -------
        ndarray
            Of the shape (..., n, n): entry [..., i, j] is the derivative of output i with respect to logit j.

        Raises
        ------
        TypeError
            If the dtype is not supported.
        AxisError
            If `x` is a scalar.
        ValueError
            If `scale` / `temperature` is out of range.
        """
        call = f"{self.name}.jacobian"
        if unknown:
            raise unknown_argument(call, next(iter(unknown)), ["x", "scale", "temperature", "where"])
        logits = as_numbers(call, "x", x)
        parameters = {"scale": scale, "temperature": temperature}
        if logits.ndim == 0:
            raise np.exceptions.AxisError(f"fastact.{self.name}.jacobian: x has no dimension; accepted are (..., n)")
        if has_16_bits(logits.dtype):
            return rounded(self.jacobian(logits.astype(np.float32), where=where, **parameters), logits.dtype)
        n = logits.shape[logits.ndim - 1]
        y = np.broadcast_to(self(logits, where=where, **parameters)[..., np.newaxis, :], (*np.shape(logits), n))
        if where is not None:
            where = np.broadcast_to(np.broadcast_to(where, np.shape(logits))[..., np.newaxis, :], y.shape)
        jacobian = self.backward(np.broadcast_to(np.eye(n, dtype=logits.dtype), y.shape), output=y, where=where,
                                 **parameters)
        # A constant added to all logits changes nothing, so each line of the matrix adds up to 0.  On the diagonal
        # that is better than p (1 - p), which loses all digits where p is nearly 1.
        diagonal = np.einsum("...ii->...i", jacobian)
        diagonal[...] = 0
        diagonal[...] = 0 - rounded(sum_over(jacobian, (logits.ndim,)), logits.dtype)
        return jacobian


BACKWARD_ARGUMENTS = ["dy", "x", "axis", "output", "scale", "temperature", "where", "out"]

# f(x) and f(x, out=y) of plain arrays; all other calls take the general path.
cdef object rows_by_def = Rowwise.__call__
cdef object rows_backward_by_def = Rowwise.backward
cdef object jacobian_by_def = Rowwise.jacobian


cdef object call_rows(object activation, PyObject* const* arguments, size_t count, PyObject* names):
    cdef Rowwise self = <Rowwise> activation
    cdef Py_ssize_t positional = PyVectorcall_NARGS(count)
    result = None
    if positional == 1 and names == NULL:
        result = run_plain(self.value_operation, <object> arguments[0], None, None, LAST, Factor(self.sign, 0))
    elif positional == 1 and are_keywords(names, "out"):
        result = run_plain(self.value_operation, <object> arguments[0], None, <object> arguments[1], LAST,
                           Factor(self.sign, 0))
    return call_generally(rows_by_def, self, arguments, positional, names) if result is None else result


# backward(dy, output=y), and with out=
cdef object call_rows_backward(object activation, PyObject* const* arguments, Py_ssize_t count, PyObject* names):
    cdef Rowwise self = <Rowwise> activation
    result = None
    if count == 1 and are_keywords(names, "output"):
        result = run_plain(self.backward_operation, <object> arguments[0], <object> arguments[1], None, LAST,
                           Factor(self.sign, 0))
    elif count == 1 and are_keywords(names, "output", "out"):
        result = run_plain(self.backward_operation, <object> arguments[0], <object> arguments[1],
                           <object> arguments[2], LAST, Factor(self.sign, 0))
    return call_generally(rows_backward_by_def, self, arguments, count, names) if result is None else result


cdef object call_jacobian(object self, PyObject* const* arguments, Py_ssize_t count, PyObject* names):
    return call_generally(jacobian_by_def, self, arguments, count, names)


replace_method(Rowwise, "backward", <void*> call_rows_backward)
replace_method(Rowwise, "jacobian", <void*> call_jacobian)


cdef class RowReduction(Activation):
    """A function of whole rows that gives one number for each: logsumexp, whose derivative is softmax.

    The rows lie along ``axis``: an integer, a tuple of integers, or None for all axes together.
    """

    cdef object (*vectorcall)(object, PyObject* const*, size_t, PyObject*)
    cdef RowOperation value_operation, backward_operation

    def __cinit__(self, str name, *, double cost, str derivative, **description):
        self.keeps = "x"
        self.vectorcall = call_reduction
        fastact_enable_vectorcall(self, &self.vectorcall)
        self.value_operation = RowOperation(name, KERNELS, cost)
        self.backward_operation = RowOperation(derivative, KERNELS, cost)

    def _signature(self):
        return make_signature(["x", ("axis", -1)], [("keepdims", False), ("where", None), ("out", None)])

    @property
    def __doc__(self):
        return f"""{self.name}{self._signature()}

{self.summary}

.. math:: {self.formula}

.. math:: {self.derivative_formula}

Parameters
----------
x : array_like
    Logits of any shape: {ACCEPTED}.
axis : int, tuple of int or None, optional
    Along which the rows lie; None: all entries are one row. Default: the last.
keepdims : bool, optional
    Keep the axes of the rows, with length 1. Default: drop them.
where : array_like of bool, optional
    The entries that take part.
out : ndarray, optional
    Where to write the result.

Returns
-------
ndarray or scalar
    One number for each row, of the dtype of `x`; -inf where nothing takes part, NaN where a NaN does.

Raises
------
TypeError
    If a dtype is not supported or `axis` is no integer.
AxisError
    If `axis` is out of bounds.
ValueError
    If `where` or `out` has another shape, or `out` is read-only.

See Also
--------
{self.name}.backward(dy, x) : the gradient with respect to the logits

Notes
-----
Source: {self.source}.
"""

    def __call__(self, x, axis=-1, *, keepdims=False, where=None, out=None, **unknown):
        cdef cnp.ndarray array
        cdef tuple axes
        cdef Layout layout
        if unknown:
            raise unknown_argument(self.name, next(iter(unknown)), list(self._signature().parameters))
        if where is None and out is None and not keepdims:
            result = reduce_plain(self.value_operation, x, axis)
            if result is not None:
                return result
        array = as_numbers(self.name, "x", x)
        axes = row_axes(self.name, axis, array.ndim)
        if where is not None:
            array, _ = masked(self.name, array, where, -np.inf)
        shape = tuple([1 if k in axes else length for k, length in enumerate(np.shape(array))])
        if not keepdims:
            shape = tuple([length for k, length in enumerate(np.shape(array)) if k not in axes])
        if out is not None:
            check_out(self.name, out, shape, array.dtype)
        layout = Layout(array, axes)
        kept = layout.shape[:layout.first] + layout.shape[layout.first + layout.count:]
        results = np.full(kept, -np.inf)
        if layout.n:
            self.value_operation.apply(layout.matrix(array), (layout.outer, layout.n, layout.inner), results=results)
        remaining = [k for k in layout.order if k not in axes]
        order = tuple([sorted(remaining).index(k) for k in remaining])
        values = rounded(reorder(results, order), array.dtype).reshape(shape)
        if out is None:
            return values[()]
        store(out, values)
        return out

    def backward(self, dy, x, axis=-1, *, keepdims=False, where=None, out=None, **unknown):
        """backward($self, dy, x, axis=-1, *, keepdims=False, where=None, out=None)
--

        The gradient with respect to the logits: dy times softmax.

        Parameters
        ----------
        dy : array_like
            Gradient with respect to the value, of its shape.
        x : array_like
            The logits.
        axis, keepdims
            As for the value.
        where : array_like of bool, optional
            The entries that take part, as for the value; the gradient of the others is 0, and so is that of a whole row
            without any.
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
        ValueError
            If the shapes differ, or `out` is read-only.
        """
        cdef str call = f"{self.name}.backward"
        if unknown:
            raise unknown_argument(call, next(iter(unknown)), ["dy", "x", "axis", "keepdims", "where", "out"])
        cdef cnp.ndarray array = as_numbers(call, "x", x), upstream
        if type(dy) in (int, float):        # a Python number takes the dtype of x
            dy = rounded(as_float(call, "dy", dy), array.dtype)
        upstream = as_numbers(call, "dy", dy)
        cdef tuple axes = row_axes(call, axis, array.ndim)
        cdef Layout layout
        kept = tuple([1 if k in axes else length for k, length in enumerate(np.shape(array))])
        shape = kept if keepdims else tuple([length for k, length in enumerate(np.shape(array)) if k not in axes])
        if np.shape(upstream) != shape:
            raise ValueError(f"fastact.{call}: dy has the shape {np.shape(upstream)}; accepted is that of the value, "
                             f"{shape}")
        array = array.astype(common_dtype(array.dtype, upstream.dtype), copy=False)
        if where is not None:
            array, mask = masked(call, array, where, -np.inf)
            if out is not None:
                check_out(call, out, np.shape(array), array.dtype)
        layout = Layout(array, axes)
        scales = np.ascontiguousarray(upstream.reshape(kept or (1,)).transpose(layout.order), dtype=np.float64)
        if where is None:
            return run_entries(call, self.backward_operation, array, None, axes, out, scales, UNIT)
        gradient = run_entries(call, self.backward_operation, array, None, axes, None, scales, UNIT)
        gradient = np.where(mask, gradient, gradient.dtype.type(0))[()]
        if out is None:
            return gradient
        store(out, gradient)
        return out


cdef object reduction_by_def = RowReduction.__call__
cdef object reduction_backward_by_def = RowReduction.backward


# f(x) of a plain array
cdef object call_reduction(object self, PyObject* const* arguments, size_t count, PyObject* names):
    cdef Py_ssize_t positional = PyVectorcall_NARGS(count)
    result = None
    if positional == 1 and names == NULL:
        result = reduce_plain((<RowReduction> self).value_operation, <object> arguments[0], LAST)
    return call_generally(reduction_by_def, self, arguments, positional, names) if result is None else result


cdef object call_reduction_backward(object self, PyObject* const* arguments, Py_ssize_t count, PyObject* names):
    return call_generally(reduction_backward_by_def, self, arguments, count, names)


replace_method(RowReduction, "backward", <void*> call_reduction_backward)
