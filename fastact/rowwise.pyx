"""Activations of whole rows: softmax and its relatives; entmax, which has a parameter more.

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
from fastact._layout cimport Layout, row_axes, sum_over
from fastact._masks cimport (
    RowMask, are_accepted, effective, gradient_of_sink, mask_of, rows_as_given, unaccepted)
from fastact._row_calls cimport Factor, computed_in, factor_of, is_wider, run_entries, run_plain, run_reduction

from fastact._activation import ACCEPTED, KINDS, make_signature
from fastact._isa import KERNELS
from fastact._masks import DESCRIPTION, MASKS, PARTS
from fastact._row_calls import FACTORS

cnp.import_array()

LSE_RETURNED = """
    With `return_lse`, a tuple with the lse, of the shape of the rows and of float32 at least, whose error is a few ulp
    of it or of 1. Where nothing takes part it is the sink, or -inf."""

cdef object ONE = 1.0               # the default of scale and temperature
cdef object LAST = -1               # the default axis


cdef class Rowwise(Activation):
    """An activation of whole rows: every output depends on every input of its row.

    The rows lie along ``axis``: an integer, a tuple of integers, or None for all axes together.

    Attributes
    ----------
    ulp : mapping
        The largest error promised of "value", float32 and float64, in units in the last place of every entry, or for
        the entmax family in those of the largest entry of the row.
    """

    cdef object (*vectorcall)(object, PyObject* const*, size_t, PyObject*)
    cdef RowOperation value_operation, scaled_operation, backward_operation
    cdef Rowwise plain              # what a call without parameters computes: itself, but for entmax
    cdef RowOperation lse_operation, scaled_lse_operation       # None: it takes no bias, no sink, and gives no lse
    cdef readonly object ulp
    cdef tuple masks, masks_of_backward     # names of the arguments that say what takes part
    cdef double masked_row          # the entries of a row of which `where` leaves nothing
    cdef double sign                # of the logits: -1 for softmin

    def __cinit__(self, str name, *, double cost, double masked_row, str negates=None, double ulp=4, **description):
        self.ulp = MappingProxyType({"value": ulp})
        self.plain = self
        self.value_operation = RowOperation(name, KERNELS, cost)
        self.backward_operation = RowOperation(f"{negates or name}_backward", KERNELS, cost)
        self.scaled_operation = self.value_operation        # which takes a factor
        if f"{name}_scaled" in KERNELS.OPERATIONS:
            self.scaled_operation = RowOperation(f"{name}_scaled", KERNELS, cost)
            self.lse_operation = RowOperation(f"{name}_lse", KERNELS, cost)
            self.scaled_lse_operation = RowOperation(f"{name}_scaled_lse", KERNELS, cost)
        self.masks = self.masks_of_backward = PARTS
        if self.lse_operation is not None:
            self.masks, self.masks_of_backward = (*MASKS, "sink", "return_lse"), (*MASKS, "sink", "lse")
        self.masked_row = masked_row
        self.keeps = "output"
        self.sign = -1 if negates else 1
        self.vectorcall = call_rows
        fastact_enable_vectorcall(self, &self.vectorcall)

    def _operations(self):
        """The operations of each mode without a factor and with one, and the sign; by alpha, None for any (capi.pyx)"""
        return {None: {"value": (self.value_operation, self.scaled_operation, self.sign),
                       "backward": (self.backward_operation, self.backward_operation, self.sign)}}

    cdef Factor _factor(self, str call, object scale, object temperature) except *:
        if not self.parameters:
            name = "scale" if scale is not ONE else "temperature"
            raise TypeError(f"fastact.{call}: unknown parameter {name}; there is none")
        return factor_of(call, self.sign, scale, temperature)

    def _signature(self):
        defaults = {"causal": False, "return_lse": False}
        masks = [(name, defaults.get(name)) for name in self.masks]
        return make_signature(["x", ("axis", -1)], [*self.parameters.items(), *masks, ("dtype", None), ("out", None)])

    @property
    def __doc__(self):
        return self._documentation()

    def _documentation(self):
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
{self._parameters()}{self._description()}dtype : dtype, optional
    Of the result. Default: that of `x`; float32 where `x` has 16 bits and `out` has more.
out : ndarray, optional
    Where to write the result; `x` itself is allowed.

Returns
-------
ndarray or scalar
    Of the shape of `x`. Entries that take no part are {self.masked_row:g}.
    {"A row that holds NaN or +inf, or nothing but -inf, is NaN." if self.parameters
    else "A row that holds NaN is NaN."}{LSE_RETURNED if self.lse_operation is not None else ""}

Raises
------
TypeError
    If a dtype is not supported or `axis` is no integer.
AxisError
    If `axis` is out of bounds.
IndexError
    If an entry of `lengths` is negative or above the length of a row.
ValueError
    If a mask or `out` has another shape, `out` is read-only, or `causal` or `window` is given for rows that do not lie
    along the last of several axes{"" if not self.parameters else
    ", or a parameter is out of range"}.

See Also
--------
{self.name}.backward(dy, output=y) : the vector-Jacobian product
{self.name}.jacobian(x) : the matrix of all derivatives of each row{ALSO if "alpha" in self.parameters else ""}

Notes
-----
Source: {self.source}.
"""

    def _parameters(self):
        return FACTORS if self.parameters else ""

    def _description(self):
        return "".join([DESCRIPTION[name] for name in self.masks])

    def __call__(self, x, axis=-1, *, scale=ONE, temperature=ONE, dtype=None, out=None, **masks):
        return self._call(self, 1, x, axis, scale, temperature, dtype, out, masks)

    # With the operations of `f`, which is another activation for some alpha of entmax
    cdef object _call(self, Rowwise f, double alpha, object x, object axis, object scale, object temperature,
                      object dtype, object out, dict masks):
        cdef Factor factor = Factor(self.sign, 0, 1)
        if masks and not are_accepted(masks, self.masks):
            raise unaccepted(self.name, masks, self.masks, self._signature().parameters)
        if not (scale is ONE and temperature is ONE):
            factor = self._factor(self.name, scale, temperature)
        factor.alpha = alpha
        if not masks and dtype is None:
            result = run_plain(f.value_operation if factor.high == 1 else f.scaled_operation, x, None, out, axis,
                               factor)
            if result is not None:
                return result
        return f._value(self.name, x, axis, factor, masks, dtype, out)

    # `given` may also have "lse", which replaces that of the row.
    cdef object _value(self, str call, object x, object axis, Factor factor, dict given, object dtype, object out):
        cdef RowMask mask = None
        cdef RowOperation operation
        cdef bint is_unscaled = factor.high == 1 or given.get("bias") is not None     # of the sum: the factor is in it
        array, result = computed_in(call, as_numbers(call, "x", x), dtype, out)
        axes = row_axes(call, axis, array.ndim)
        if out is not None:
            check_out(call, out, np.shape(array), result)
        given = effective(call, given)
        return_lse, sink, lse = given.get("return_lse"), given.get("sink"), given.get("lse")
        operation = self.value_operation if is_unscaled or not self.parameters else self.scaled_operation
        if given:
            mask = mask_of(call, array, axes, given, True)
            mask.set_effects(self.sign * -INFINITY, 0, self.masked_row, False)
            mask.call.one_wins = not self.parameters
        if return_lse or sink is not None or lse is not None:
            operation = self.lse_operation if is_unscaled else self.scaled_lse_operation
            mask.set_sinks(call, sink, lse)
        if array.dtype == result:
            computed = run_entries(call, operation, array, None, axes, out, None, factor, mask)
        else:
            computed = rounded(run_entries(call, operation, array, None, axes, None, None, factor, mask), result)[()]
            if out is not None:
                store(out, computed)
                computed = out
        if return_lse is None:
            return computed
        dtype = np.float32 if has_16_bits(result) else result
        return computed, rounded(rows_as_given(mask.layout, axes, mask.results, mask.rows), dtype)[()]

    def backward(self, dy, x=None, axis=-1, *, output=None, scale=ONE, temperature=ONE, out=None, **masks):
        """backward($self, dy, x=None, axis=-1, *, output=None, scale=1.0, temperature=1.0, bias=None, where=None,
        lengths=None, causal=False, offset=None, window=None, sink=None, lse=None, out=None)
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
        bias, where, lengths, causal, offset, window, sink : optional
            As for the value. What entries that take no part hold in `dy`, `x` and `output` does not matter; their
            gradient is 0. The gradient with respect to a bias is that of the logits without `scale` and `temperature`,
            summed to its shape.
        lse : array_like, optional
            That of the value, of the shape of the rows. With `x`, the probabilities are e to the logits less it, also
            if the logits are a part of the row. A sink with `output` needs it.
        out : ndarray, optional
            Where to write the result; `dy` and `output` are allowed.

        Returns
        -------
        ndarray or scalar
            Of the shape of the value. With `sink`, a tuple with the gradient with respect to it, of its shape, which is
            summed in float64.

        Raises
        ------
        TypeError
            If a dtype is not supported, or not exactly one of `x` and `output` is given.
        AxisError
            If `axis` is out of bounds.
        IndexError
            If an entry of `lengths` is negative or above the length of a row.
        ValueError
            If the shapes differ, `out` is read-only, or `scale` / `temperature` is out of range.
        """
        return self._call_backward(self, 1, dy, x, axis, output, scale, temperature, out, masks)

    cdef object _call_backward(self, Rowwise f, double alpha, object dy, object x, object axis, object output,
                               object scale, object temperature, object out, dict masks):
        cdef Factor factor = Factor(self.sign, 0, alpha)
        cdef str call
        if output is not None and x is None and scale is ONE and temperature is ONE and not masks:
            result = run_plain(f.backward_operation, dy, output, out, axis, factor)
            if result is not None:
                return result
        call = f"{self.name}.backward"
        if masks and not are_accepted(masks, self.masks_of_backward):
            raise unaccepted(call, masks, self.masks_of_backward,
                             BACKWARD_OF_ENTMAX if "alpha" in self.parameters else BACKWARD_ARGUMENTS)
        if not (scale is ONE and temperature is ONE):
            factor = self._factor(call, scale, temperature)
            factor.alpha = alpha
        if (output is None) == (x is None):
            raise TypeError(f"fastact.{call}: accepted is either x or output; got "
                            f"{'both' if x is not None else 'neither'}")
        if x is not None and not masks and not has_16_bits(np.asarray(x).dtype):
            output, x = self._call(f, alpha, x, axis, scale, temperature, None, None, {}), None
        if x is None and not masks:
            result = run_plain(f.backward_operation, dy, output, out, axis, factor)
            if result is not None:
                return result
        if output is not None and (masks.get("lse") is None) != (masks.get("sink") is None):
            raise TypeError(f"fastact.{call}: accepted with output are both sink and lse, or neither")
        return f._backward(call, dy, output if x is None else x, x is not None, axis, factor, masks, out)

    cdef object _backward(self, str call, object dy, object given, bint of_x, object axis, Factor factor, dict masks,
                          object out):
        cdef RowMask mask = None
        cdef cnp.ndarray upstream, y = as_numbers(call, "x" if of_x else "output", given)
        # Copies: they are read once more after `out` was written.
        sink, lse = [None if masks.get(name) is None else np.array(as_numbers(call, name, masks[name]))
                     for name in ("sink", "lse")]
        if type(dy) in (int, float):        # a Python number takes the dtype of the array
            dy = rounded(as_float(call, "dy", dy), y.dtype)
        upstream = as_numbers(call, "dy", dy)
        if np.shape(upstream) != np.shape(y):
            raise ValueError(f"fastact.{call}: dy has the shape {np.shape(upstream)}; accepted is that of the value, "
                             f"{np.shape(y)}")
        result = common_dtype(upstream.dtype, y.dtype)
        computed = result
        if of_x and has_16_bits(y.dtype):   # the value between is not rounded to them
            computed = common_dtype(result, np.dtype(np.float32))
        elif has_16_bits(result) and is_wider(out):
            computed = np.dtype(np.float32)
        result = computed if is_wider(out) else result
        axes = row_axes(call, axis, y.ndim)
        if out is not None:
            check_out(call, out, np.shape(y), result)
        masks = effective(call, masks)
        if of_x:
            returned = {"return_lse": sink is not None and lse is None}
            value = self._value(call, y.astype(np.float32) if has_16_bits(y.dtype) else y, axis, factor,
                                {**masks, **returned}, None, None)
            value, lse = value if returned["return_lse"] else (value, lse)
            y = np.asarray(value)
        upstream, y = upstream.astype(computed, copy=False), y.astype(computed, copy=False)
        if masks:
            mask = mask_of(call, upstream, axes, masks, False)
            mask.set_effects(0, self.masked_row, 0, True)
            mask.results = None if sink is None else np.zeros(mask.shape_in_order())
        direct = out if computed == result else None
        gradient = run_entries(call, self.backward_operation, upstream, y, axes, direct, None, factor, mask)
        if computed != result:
            gradient = rounded(gradient, result)[()]
            if out is not None:
                store(out, gradient)
                gradient = out
        if sink is None:
            return gradient
        return gradient, gradient_of_sink(call, mask, axes, sink, lse)

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
        if unknown:
            raise unknown_argument(f"{self.name}.jacobian", next(iter(unknown)), ["x", "scale", "temperature", "where"])
        return self._jacobian(x, where, {"scale": scale, "temperature": temperature})

    cdef object _jacobian(self, object x, object where, dict parameters):
        logits = as_numbers(f"{self.name}.jacobian", "x", x)
        if logits.ndim == 0:
            raise np.exceptions.AxisError(f"fastact.{self.name}.jacobian: x has no dimension; accepted are (..., n)")
        if has_16_bits(logits.dtype):
            return rounded(self._jacobian(logits.astype(np.float32), where, parameters), logits.dtype)
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


cdef class Entmax(Rowwise):
    """The activation of rows that has a parameter, alpha, between softmax (1) and hardmax (infinity).

    Attributes
    ----------
    learnt : tuple of str
        The parameter of which there is a gradient, `backward_parameter`.
    """

    cdef RowOperation parameter_operation
    cdef dict by_alpha                  # the activations that it is for some alpha, which have operations of their own

    def __cinit__(self, str name, *, double cost, dict by_alpha, **description):
        self.by_alpha, self.plain = by_alpha, by_alpha[self.parameters["alpha"]]
        self.parameter_operation = RowOperation(f"{name}_parameter", KERNELS, cost)

    @property
    def learnt(self):
        return ("alpha",)

    @property
    def __doc__(self):
        return self._documentation()

    def _parameters(self):
        return ALPHA + FACTORS

    def _operations(self):
        return {**{alpha: f._operations()[None] for alpha, f in self.by_alpha.items()}, **Rowwise._operations(self)}

    # The activation whose operations compute this one for a checked alpha
    cdef Rowwise _at(self, double alpha):
        return self.by_alpha.get(alpha, self)

    def __call__(self, x, axis=-1, *, alpha=1.5, scale=ONE, temperature=ONE, dtype=None, out=None, **masks):
        cdef double checked = alpha_of(self.name, alpha)
        return self._call(self._at(checked), checked, x, axis, scale, temperature, dtype, out, masks)

    def backward(self, dy, x=None, axis=-1, *, output=None, alpha=1.5, scale=ONE, temperature=ONE, out=None, **masks):
        """backward($self, dy, x=None, axis=-1, *, output=None, alpha=1.5, scale=1.0, temperature=1.0, where=None,
        lengths=None, causal=False, offset=None, window=None, out=None)
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
        alpha, scale, temperature : float, optional
            As for the value.
        where, lengths, causal, offset, window : optional
            As for the value. What entries that take no part hold in `dy`, `x` and `output` does not matter; their
            gradient is 0.
        out : ndarray, optional
            Where to write the result; `dy` and `output` are allowed.

        Returns
        -------
        ndarray or scalar
            Of the shape of the value. It is 0 where the value is 0, whatever `dy` holds there.

        Raises
        ------
        TypeError
            If a dtype is not supported, `alpha` is no number, or not exactly one of `x` and `output` is given.
        AxisError
            If `axis` is out of bounds.
        IndexError
            If an entry of `lengths` is negative or above the length of a row.
        ValueError
            If the shapes differ, `out` is read-only, or a parameter is out of range.
        """
        cdef double checked = alpha_of(f"{self.name}.backward", alpha)
        return self._call_backward(self._at(checked), checked, dy, x, axis, output, scale, temperature, out, masks)

    def backward_parameter(self, dy, x=None, axis=-1, *, output=None, name=None, alpha=1.5, scale=ONE,
                           temperature=ONE):
        r"""backward_parameter($self, dy, x=None, axis=-1, *, output=None, name=None, alpha=1.5, scale=1.0,
        temperature=1.0)
--

        The gradient with respect to alpha.

        .. math:: \sum_i \mathrm{d}y_i \left(\frac{y_i - G_i}{(\alpha - 1)^2}
            - \frac{h_i - G_i \sum_j h_j}{\alpha - 1}\right), \quad
            G_i = y_i^{2 - \alpha} / \textstyle\sum_j y_j^{2 - \alpha}, \quad h_i = y_i \log y_i

        It is computed in a form without the quotients, so that it keeps its digits where alpha is almost 1; at 1 it is
        the limit, the sum of dy y (sum of y log^2 y - log^2 y) / 2.

        Parameters
        ----------
        dy : array_like
            Gradient with respect to the value, of its shape.
        x : array_like, optional
            The logits, from which the value is computed again.
        axis : int, tuple of int or None, optional
            As for the value.
        output : array_like, optional
            The value, in place of `x`: what there is to keep from the forward pass. Entries that `where` left out are 0
            in it, and add nothing.
        name : str, optional
            "alpha", which is the only parameter that is learnt.
        alpha, scale, temperature : float, optional
            As for the value. `scale` and `temperature` matter with `x` alone.

        Returns
        -------
        scalar
            The sum over all rows, which is rounded once, whatever their order and layout.

        Raises
        ------
        TypeError
            If a dtype is not supported, `alpha` is no number, or not exactly one of `x` and `output` is given.
        AxisError
            If `axis` is out of bounds.
        ValueError
            If the shapes differ, a parameter is out of range, or `name` is another one.
        """
        cdef str call = f"{self.name}.backward_parameter"
        cdef Factor factor = Factor(1, 0, alpha_of(call, alpha))
        cdef cnp.ndarray upstream, y
        cdef Layout layout
        if name not in (None, "alpha"):
            raise ValueError(f"fastact.{call}: name is {name!r}; accepted are alpha")
        if (output is None) == (x is None):
            raise TypeError(f"fastact.{call}: accepted is either x or output; got "
                            f"{'both' if x is not None else 'neither'}")
        y = as_numbers(call, "output" if x is None else "x", output if x is None else x)
        if type(dy) in (int, float):        # a Python number takes the dtype of the array
            dy = rounded(as_float(call, "dy", dy), y.dtype)
        upstream = as_numbers(call, "dy", dy)
        if np.shape(upstream) != np.shape(y):
            raise ValueError(f"fastact.{call}: dy has the shape {np.shape(upstream)}; accepted is that of the value, "
                             f"{np.shape(y)}")
        axes = row_axes(call, axis, y.ndim)
        result = common_dtype(upstream.dtype, y.dtype)
        computed = common_dtype(result, np.dtype(np.float32))       # the sum alone is rounded to 16 bits
        y = y.astype(computed, copy=False)
        if x is not None:
            y = np.asarray(self(y, axis, alpha=alpha, scale=scale, temperature=temperature))
        layout = Layout(y, axes)
        slopes = run_reduction(self.parameter_operation, upstream.astype(computed, copy=False), layout, factor, None,
                               y) if layout.n else np.zeros(0)
        return rounded(sum_over(slopes, tuple(range(slopes.ndim))), result)[()]

    def jacobian(self, x, *, alpha=1.5, scale=ONE, temperature=ONE, where=None, **unknown):
        """jacobian($self, x, *, alpha=1.5, scale=1.0, temperature=1.0, where=None)
--

        All derivatives of each row along the last axis.

        Parameters
        ----------
        x : array_like
            Logits of the shape (..., n).
        alpha, scale, temperature : float, optional
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
            If the dtype is not supported or `alpha` is no number.
        AxisError
            If `x` is a scalar.
        ValueError
            If a parameter is out of range.
        """
        if unknown:
            raise unknown_argument(f"{self.name}.jacobian", next(iter(unknown)),
                                   ["x", "alpha", "scale", "temperature", "where"])
        alpha = alpha_of(f"{self.name}.jacobian", alpha)
        return self._jacobian(x, where, {"alpha": alpha, "scale": scale, "temperature": temperature})


ALPHA_MAX = 1e30
ALPHA = """alpha : float, optional
    From 1 to 1e30: how sparse the probabilities are. With 1 they are those of softmax, with 1.5 of entmax15, with 2 of
    sparsemax, to the bit; a large alpha leaves little but the largest logits, which share equally. Default: 1.5.
"""
ALSO = """
entmax.backward_parameter(dy, output=y) : the gradient in alpha"""


# alpha as a number within its range
def alpha_of(str call, object alpha):
    if type(alpha) is float and 1 <= alpha <= ALPHA_MAX:
        return alpha
    if isinstance(alpha, (bool, np.bool_)) or not isinstance(alpha, Real):
        raise TypeError(f"fastact.{call}: alpha must be a number, got {type(alpha).__name__}")
    if not 1 <= alpha <= ALPHA_MAX:
        raise ValueError(f"fastact.{call}: alpha is {alpha}; accepted is a number from 1 to {ALPHA_MAX:g}")
    return float(alpha)


BACKWARD_ARGUMENTS = ["dy", "x", "axis", "output", "scale", "temperature", *MASKS, "sink", "lse", "out"]
BACKWARD_OF_ENTMAX = ["dy", "x", "axis", "output", "alpha", "scale", "temperature", *PARTS, "out"]

# f(x) and f(x, out=y) of plain arrays; all other calls take the general path.
cdef object rows_by_def = Rowwise.__call__
cdef object rows_backward_by_def = Rowwise.backward
cdef object jacobian_by_def = Rowwise.jacobian
cdef object entmax_by_def = Entmax.__call__
cdef object entmax_backward_by_def = Entmax.backward
cdef object entmax_parameter_by_def = Entmax.backward_parameter
cdef object entmax_jacobian_by_def = Entmax.jacobian


cdef object call_rows(object activation, PyObject* const* arguments, size_t count, PyObject* names):
    cdef Rowwise self = <Rowwise> activation
    cdef Py_ssize_t positional = PyVectorcall_NARGS(count)
    result = None
    if positional == 1 and names == NULL:
        result = run_plain(self.plain.value_operation, <object> arguments[0], None, None, LAST,
                           Factor(self.sign, 0, 1))
    elif positional == 1 and are_keywords(names, "out"):
        result = run_plain(self.plain.value_operation, <object> arguments[0], None, <object> arguments[1], LAST,
                           Factor(self.sign, 0, 1))
    if result is not None:
        return result
    return call_generally(entmax_by_def if isinstance(self, Entmax) else rows_by_def, self, arguments, positional,
                          names)


# backward(dy, output=y), and with out=
cdef object call_rows_backward(object activation, PyObject* const* arguments, Py_ssize_t count, PyObject* names):
    cdef Rowwise self = <Rowwise> activation
    result = None
    if count == 1 and are_keywords(names, "output"):
        result = run_plain(self.backward_operation, <object> arguments[0], <object> arguments[1], None, LAST,
                           Factor(self.sign, 0, 1))
    elif count == 1 and are_keywords(names, "output", "out"):
        result = run_plain(self.backward_operation, <object> arguments[0], <object> arguments[1],
                           <object> arguments[2], LAST, Factor(self.sign, 0, 1))
    return call_generally(rows_backward_by_def, self, arguments, count, names) if result is None else result


cdef object call_jacobian(object self, PyObject* const* arguments, Py_ssize_t count, PyObject* names):
    return call_generally(jacobian_by_def, self, arguments, count, names)


cdef object call_entmax_backward(object self, PyObject* const* arguments, Py_ssize_t count, PyObject* names):
    return call_generally(entmax_backward_by_def, self, arguments, count, names)


cdef object call_entmax_parameter(object self, PyObject* const* arguments, Py_ssize_t count, PyObject* names):
    return call_generally(entmax_parameter_by_def, self, arguments, count, names)


cdef object call_entmax_jacobian(object self, PyObject* const* arguments, Py_ssize_t count, PyObject* names):
    return call_generally(entmax_jacobian_by_def, self, arguments, count, names)


replace_method(Rowwise, "backward", <void*> call_rows_backward)
replace_method(Rowwise, "jacobian", <void*> call_jacobian)
replace_method(Entmax, "backward", <void*> call_entmax_backward)
replace_method(Entmax, "backward_parameter", <void*> call_entmax_parameter)
replace_method(Entmax, "jacobian", <void*> call_entmax_jacobian)
