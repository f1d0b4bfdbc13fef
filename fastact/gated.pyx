"""Gated activations: the activation of one input, the gate, times another input.

The two inputs are two arrays, or the halves of one packed array.  A call on plain arrays (_engine/formats.pxd) goes
directly to the kernels.  Every other call goes through a NumPy ufunc made of the same kernels; the halves are views
then.
"""

cimport numpy as cnp
from cpython.object cimport PyObject

import inspect
from operator import methodcaller
from types import MappingProxyType

import numpy as np

from fastact._activation cimport (
    Activation, PyVectorcall_NARGS, are_keywords, as_numbers, call_generally, check_out, common_dtype,
    fastact_enable_vectorcall, refuse_masked, replace_method, unknown_argument)
from fastact._domains cimport in_words
from fastact._engine.elementwise cimport KernelSet, Numbers
from fastact._engine.formats cimport is_plain, is_plain_out
from fastact._engine.runtime cimport empty_like, empty_of_shape
from fastact._layout cimport row_axes
from fastact._ufunc_calls cimport Parameters, bits_of, call_ufunc

from fastact._activation import ACCEPTED, KINDS
from fastact._isa import KERNELS, elementwise_kernels

cnp.import_array()

cdef enum:
    DIMENSIONS = 64                     # NumPy's limit

LAST = -1                               # the default axis
LAYOUTS = ("halves", "interleaved")
GATES = ("first", "second")
LARGEST = np.finfo(np.float64).max
LIMITS = MappingProxyType({"limit": np.inf, "offset": 0.0})     # of a limited activation, with their defaults
DOMAINS_OF_LIMITS = MappingProxyType({"limit": (0.0, np.inf, 0.0), "offset": (-LARGEST, LARGEST)})


# Where the halves of a packed array lie
cdef class Halves:
    cdef int axis, ndim
    cdef bint interleaved
    cdef cnp.npy_intp lengths[DIMENSIONS]       # of one half
    cdef Py_ssize_t rows, length                # of a contiguous array: `rows` times `length` elements of each half

    def __cinit__(self, str call, cnp.ndarray x, object axis, bint interleaved):
        cdef int k
        cdef Py_ssize_t inner = 1
        self.ndim, self.interleaved = cnp.PyArray_NDIM(x), interleaved
        self.axis = self.ndim - 1
        if axis is not LAST and axis is not None:
            self.axis, = row_axes(call, axis, self.ndim) if not isinstance(axis, tuple) else (-1,)
        if self.axis < 0 or axis is None:
            raise ValueError(f"fastact.{call}: got {self.ndim} dimensions and axis={axis}; accepted is one axis, along "
                             f"which the halves of a packed array lie")
        for k in range(self.ndim):
            self.lengths[k] = cnp.PyArray_DIM(x, k)
        if self.lengths[self.axis] % 2:
            raise ValueError(f"fastact.{call}: axis {axis} has the length {self.lengths[self.axis]}; accepted is an "
                             f"even one, of two halves, or two arrays")
        self.lengths[self.axis] //= 2
        self.rows, self.length = 1, self.lengths[self.axis]
        for k in range(self.axis):
            self.rows *= self.lengths[k]
        for k in range(self.axis + 1, self.ndim):
            inner *= self.lengths[k]
        if interleaved:
            self.rows, self.length = self.rows * self.length, inner
        else:
            self.length *= inner

    # The shape of one half
    cdef tuple shape(self):
        cdef int k
        return tuple([self.lengths[k] for k in range(self.ndim)])

    # Both halves as views, the gate first
    cdef tuple views(self, cnp.ndarray x, bint gate_last):
        cdef Py_ssize_t half = self.lengths[self.axis]
        first, second = (slice(0, None, 2), slice(1, None, 2)) if self.interleaved else (slice(half), slice(half, None))
        before = (slice(None),) * self.axis
        views = x[(*before, first)], x[(*before, second)]
        return views[::-1] if gate_last else views

    # Whether an array of the shape of one half is plain, as the packed array is
    cdef bint is_plain_half(self, object half, cnp.ndarray x) noexcept:
        cdef int k
        if not is_plain(half) or cnp.PyArray_NDIM(<cnp.ndarray> half) != self.ndim:
            return False
        for k in range(self.ndim):
            if cnp.PyArray_DIM(<cnp.ndarray> half, k) != self.lengths[k]:
                return False
        return cnp.PyArray_TYPE(<cnp.ndarray> half) == cnp.PyArray_TYPE(x)

    # Whether a plain half and a plain packed array share no element but those with the same index
    cdef bint may_be_computed(self, cnp.ndarray half, cnp.ndarray x) noexcept:
        cdef const char* a = <const char*> cnp.PyArray_DATA(half)
        cdef const char* b = <const char*> cnp.PyArray_DATA(x)
        cdef Py_ssize_t size = cnp.PyArray_NBYTES(half)
        return a + size <= b or b + 2 * size <= a or self.rows == 1 and (a == b or a == b + size)


cdef class Gated(Activation):
    """The activation of one input, the gate, times another input: value and both gradients.

    ``f(a, b)`` takes two arrays of one shape, of which `a` is the gate. ``f(x)`` takes a packed array.

    Attributes
    ----------
    activation : Elementwise
        What the gate goes through.
    gate : {"first", "second"}
        Which half of a packed array is the gate, unless a call says so.
    layout : {"halves", "interleaved"}
        How a packed array is laid out, unless a call says so.
    ufuncs : mapping
        Mode to NumPy ufunc: "value" of gate and other input, "backward" of dy, gate and other input.
    ulp : mapping
        The largest error promised of "value", in units in the last place, for float32 and float64 and every input whose
        activation is not subnormal.
    parameter_domain : mapping
        As of an `Elementwise`.
    """

    cdef readonly object activation, ufuncs, ulp, parameter_domain
    cdef readonly str gate, layout
    cdef Gated origin                   # of the catalogue, if this one has other defaults
    cdef double cost
    cdef object (*vectorcall)(object, PyObject* const*, size_t, PyObject*)
    cdef KernelSet value_mode, backward_mode
    cdef Parameters known
    cdef bint gate_last                 # the default for packed arrays

    def __cinit__(self, str name, *, activation, double cost, str gate="first", str layout="halves", ulp,
                  Gated origin=None, parameters=(), **description):
        written = KERNELS.GATED.get(name)
        if written is None or written[0] != activation.name:
            raise ValueError(
                f"fastact.Gated: name is {name!r}, activation {activation.name}; accepted are the compiled ones: write "
                f"a line into the list of gated activations in fastact/_math/formulas.pxd, and build again "
                f"(python setup.py build_ext --inplace)")
        limits, domains = (LIMITS, DOMAINS_OF_LIMITS) if written[1] else ({}, {})
        self.parameters = MappingProxyType({**activation.parameters, **limits, **dict(parameters)})
        self.known = Parameters("fastact.Gated", self.parameters, {**activation.parameter_domain, **domains})
        self.parameter_domain = self.known.domains
        self.activation, self.gate, self.gate_last, self.layout = activation, gate, GATES.index(gate), layout
        self.ulp = MappingProxyType(dict(ulp))
        self.keeps = "x"
        self.cost, self.origin = cost, origin
        self.value_mode = self._mode("value", 2, 1, cost) if origin is None else origin.value_mode
        self.backward_mode = self._mode("backward", 3, 2, cost) if origin is None else origin.backward_mode
        self.ufuncs = MappingProxyType({"value": self.value_mode.ufunc, "backward": self.backward_mode.ufunc})
        self.vectorcall = call_gated
        fastact_enable_vectorcall(self, &self.vectorcall)

    def _mode(self, str mode, int inputs, int outputs, double cost):
        name = self.name if mode == "value" else f"{self.name}_{mode}"
        neutral = tuple([LIMITS.get(one, 1.0) for one in self.parameters])
        return KernelSet(elementwise_kernels(f"{self.name}.{mode}"), name,
                         f"The ufunc of fastact.{self.name}, {mode}: {self.summary}", inputs, len(neutral), outputs,
                         cost, neutral)

    def with_defaults(self, **options):
        """with_defaults(*, parameter=number, gate=None, layout=None): the same activation, with other defaults.

        Parameters
        ----------
        **options : float or str
            The new defaults: of the parameters, of `gate` and of `layout`; what is not named keeps its own.

        Returns
        -------
        Gated
            On the same kernels and ufuncs; the object itself, or that of the catalogue, if it has these defaults. Two
            are equal if their names and their defaults are.

        Raises
        ------
        TypeError
            If a parameter is unknown, or its default no number.
        ValueError
            If a default is outside of `parameter_domain`, or `gate` or `layout` is none of the accepted words.
        """
        cdef str call = f"{self.name}.with_defaults"
        gate, layout = options.pop("gate", None), options.pop("layout", None)
        check_words(call, gate, layout)
        merged = self.known.replaced(call, options, ("gate", "layout"))
        made = Gated(
            self.name, summary=self.summary, formula=self.formula, derivative_formula=self.derivative_formula,
            source=self.source, activation=self.activation, cost=self.cost, gate=gate or self.gate,
            layout=layout or self.layout, ulp=self.ulp, parameters=merged, origin=self.origin or self)
        return next((there for there in (self, self.origin) if there == made), made)

    def __eq__(self, other):
        return (isinstance(other, Gated)
                and (self.name, self.gate, self.layout) == (other.name, other.gate, other.layout)
                and bits_of(self.parameters) == bits_of(other.parameters))

    def __hash__(self):
        return hash(self.name)

    def __reduce__(self):
        if self.origin is None:
            return self.name
        return methodcaller("with_defaults", **self.parameters, gate=self.gate, layout=self.layout), (self.origin,)

    @property
    def ufunc(self):
        """The NumPy ufunc of the value: of gate and other input."""
        return self.value_mode.ufunc

    def _signature(self):
        return self._signature_of(["a"])

    def _signature_of(self, required):
        kinds = inspect.Parameter
        either = kinds.POSITIONAL_OR_KEYWORD
        keywords = {**self.parameters, "axis": LAST, "layout": self.layout, "gate": None, "out": None}
        return inspect.Signature([
            *[kinds(one, either) for one in required], kinds("b", either, default=None),
            *[kinds(one, kinds.KEYWORD_ONLY, default=default) for one, default in keywords.items()]])

    def __repr__(self):
        parameters = "".join(f", {name}={default:g}" for name, default in self.parameters.items())
        if self.origin is not None:
            parameters += f", gate={self.gate!r}, layout={self.layout!r}"
        return f"<fastact.{self.name}(a, b{parameters}): {self.summary}>"

    @property
    def __doc__(self):
        described = "".join(f"{name} : array_like, optional\n    {in_words(self.parameter_domain[name]).capitalize()}. "
                            f"Default: {default:g}.\n" for name, default in self.parameters.items())
        return f"""{self.name}{self._signature()}

{self.summary}

.. math:: {self.formula}

.. math:: {self.derivative_formula}

{KINDS}

Parameters
----------
a : array_like
    The gate g; or, without `b`, a packed array of both inputs. {ACCEPTED}.
b : array_like, optional
    The other input u, of the shape of `a`.
{described}axis : int, optional
    Along which the halves of a packed array lie. Default: the last.
layout : {{"halves", "interleaved"}}, optional
    Of a packed array: one half after the other, or their entries in turn. Default: "{self.layout}".
gate : {{"first", "second"}}, optional
    Which of two arrays, or which half, is the gate. Default: of two arrays the first, of halves the {self.gate}.
out : ndarray, optional
    Where to write the result; an input or a half of it is allowed.

Returns
-------
ndarray or scalar
    Of the shape of one input, of the dtype that NumPy's promotion gives both.

Raises
------
TypeError
    If the dtype of an argument is none of these, or an argument is unknown.
ValueError
    If the shapes differ, a packed array has no halves, or a parameter is not among the accepted numbers.

See Also
--------
{self.name}.backward(dy, a, b) : both gradients, in one pass

Notes
-----
Source: {self.source}.
"""

    def __call__(self, a, b=None, *, axis=LAST, layout=None, gate=None, out=None, **parameters):
        cdef Numbers numbers
        cdef PyObject* given[2]
        cdef bint gate_last = self._is_gate_last(self.name, axis, layout, gate, b is None, parameters)
        cdef bint are_numbers = self.known.are_numbers(parameters, &numbers)
        if b is None:
            return self._packed_value(a, axis, layout or self.layout, gate_last, out, parameters,
                                      &numbers if are_numbers else NULL)
        arrays = {"a": a, "b": b}
        names = ("b", "a") if gate_last else ("a", "b")
        if are_numbers:
            given[0], given[1] = <PyObject*> arrays[names[0]], <PyObject*> arrays[names[1]]
            result = self.value_mode.call_plain(given, out, &numbers)
            if result is not None:
                return result
        shape = common_shape(self.name, arrays)
        if out is not None:
            check_shape(self.name, "out", out, shape)
            parameters["out"] = out
        return call_ufunc(self.name, self.value_mode, names, self.known, tuple([arrays[name] for name in names]),
                          parameters)

    def backward(self, dy, a, b=None, *, axis=LAST, layout=None, gate=None, out=None, **parameters):
        """backward($self, dy, a, b=None, *, axis=-1, layout=None, gate=None, out=None, **parameters)
--

        Both gradients, in one pass.

        Parameters
        ----------
        dy : array_like
            Gradient with respect to the value, of its shape.
        a, b : array_like
            What the value was computed of: two arrays, or one packed array.
        axis, layout, gate
            As for the value.
        out : ndarray or tuple of two ndarrays, optional
            Where to write the result: an array for a packed array, else a tuple. `dy`, `a` and `b` are allowed.
        **parameters : array_like, optional
            Those of the activation.

        Returns
        -------
        ndarray or tuple of two ndarrays or scalars
            The gradient with respect to the packed array, or those with respect to `a` and to `b`. At a kink and at a
            limit the derivative is the right-hand one; beyond a limit it is 0.

        Raises
        ------
        TypeError
            If a dtype is not supported, or an argument is unknown.
        ValueError
            If the shapes differ.
        """
        cdef Numbers numbers
        cdef PyObject* given[3]
        cdef str call = self.name + ".backward"
        cdef bint gate_last = self._is_gate_last(call, axis, layout, gate, b is None, parameters)
        cdef bint are_numbers = self.known.are_numbers(parameters, &numbers)
        if b is None:
            return self._packed_backward(dy, a, axis, layout or self.layout, gate_last, out, parameters,
                                         &numbers if are_numbers else NULL)
        if out is not None and (not isinstance(out, tuple) or len(out) != 2):
            raise TypeError(f"fastact.{call}: out is a {type(out).__name__}; accepted is a tuple of two arrays, for "
                            f"the gradients with respect to a and to b")
        arrays = {"dy": dy, "a": a, "b": b}
        names = ("dy", "b", "a") if gate_last else ("dy", "a", "b")
        outs = out[::-1] if gate_last and out is not None else out
        gradients = None
        if are_numbers:
            given[0], given[1], given[2] = <PyObject*> dy, <PyObject*> arrays[names[1]], <PyObject*> arrays[names[2]]
            gradients = self.backward_mode.call_plain(given, outs, &numbers)
        if gradients is None:
            shape = common_shape(call, arrays)
            if outs is not None:
                for one in outs:
                    if one is not None:
                        check_shape(call, "out", one, shape)
                parameters["out"] = outs
            gradients = call_ufunc(call, self.backward_mode, names, self.known,
                                   tuple([arrays[name] for name in names]), parameters)
        return gradients[::-1] if gate_last else gradients

    # Whether the gate is the second half or array; checks the arguments that say where the inputs lie.
    cdef bint _is_gate_last(self, str call, object axis, object layout, object gate, bint packed,
                            dict parameters) except *:
        check_words(call, gate, layout)
        if not packed and (axis is not LAST and axis != LAST or layout not in (None, LAYOUTS[0])):
            raise TypeError(f"fastact.{call}: axis and layout say where the halves of one packed array lie; got two "
                            f"arrays")
        for name in parameters:
            if name not in self.parameters:
                raise unknown_argument(call, name, ["a", "b", *self.parameters, "axis", "layout", "gate", "out"])
        return (self.gate_last if packed else False) if gate is None else gate == GATES[1]

    cdef object _packed_value(self, object a, object axis, str layout, bint gate_last, object out, dict parameters,
                              const Numbers* numbers):
        cdef cnp.ndarray x = as_numbers(self.name, "a", a)
        cdef Halves halves = Halves(self.name, x, axis, layout != "halves")
        if numbers != NULL and is_plain(x):
            if out is None or (halves.is_plain_half(out, x) and cnp.PyArray_ISWRITEABLE(<cnp.ndarray> out)
                               and halves.may_be_computed(out, x)):
                target = empty_of_shape(x, halves.lengths) if out is None else out
                self.value_mode.call_packed(None, x, halves.rows, halves.length, gate_last, target, numbers)
                return target
        if out is not None:
            check_out(self.name, out, halves.shape(), x.dtype)
            parameters["out"] = out
        return call_ufunc(self.name, self.value_mode, ("a", "b"), self.known, halves.views(x, gate_last), parameters)

    cdef object _packed_backward(self, object dy, object a, object axis, str layout, bint gate_last, object out,
                                 dict parameters, const Numbers* numbers):
        cdef str call = self.name + ".backward"
        cdef cnp.ndarray x = as_numbers(call, "a", a), upstream = as_numbers(call, "dy", dy)
        cdef Halves halves = Halves(call, x, axis, layout != "halves")
        if np.shape(upstream) != halves.shape():
            raise ValueError(f"fastact.{call}: dy has the shape {np.shape(upstream)}; accepted is that of the value, "
                             f"{halves.shape()}")
        dtype = common_dtype(x.dtype, upstream.dtype)
        if out is not None:
            check_out(call, out, np.shape(x), dtype)
        if numbers != NULL and is_plain(x) and halves.is_plain_half(upstream, x):
            if out is None or is_plain_out(out, x) and halves.may_be_computed(upstream, out):
                target = empty_like(x) if out is None else out
                self.backward_mode.call_packed(upstream, x, halves.rows, halves.length, gate_last, target, numbers)
                return target
        target = np.empty(np.shape(x), dtype) if out is None else out
        parameters["out"] = halves.views(target, gate_last)
        call_ufunc(call, self.backward_mode, ("dy", "a", "b"), self.known, (upstream, *halves.views(x, gate_last)),
                   parameters)
        return target


cdef int check_words(str call, object gate, object layout) except -1:
    if layout is not None and layout not in LAYOUTS:
        raise ValueError(f"fastact.{call}: layout is {layout!r}; accepted are {', '.join(LAYOUTS)}")
    if gate is not None and gate not in GATES:
        raise ValueError(f"fastact.{call}: gate is {gate!r}; accepted are {', '.join(GATES)}")
    return 0


# The shape of arguments that must have the same one
cdef tuple common_shape(str call, dict arrays):
    for name, array in arrays.items():
        refuse_masked(call, name, array)
    shapes = {name: np.shape(array) for name, array in arrays.items()}
    if len(set(shapes.values())) > 1:
        described = ", ".join([f"{name} {shape}" for name, shape in shapes.items()])
        raise ValueError(f"fastact.{call}: the shapes differ: {described}; accepted is one shape, there is no "
                         f"broadcasting")
    return shapes["a"]


cdef int check_shape(str call, str name, object array, tuple shape) except -1:
    if not isinstance(array, np.ndarray):
        raise TypeError(f"fastact.{call}: {name} must be an ndarray, got {type(array).__name__}")
    if np.shape(array) != shape:
        raise ValueError(f"fastact.{call}: {name} has the shape {np.shape(array)}; accepted is {shape}")
    return 0


# f(a, b), f(x), and both with out=, with the defaults; all other calls take the general path.
cdef object call_gated(object activation, PyObject* const* arguments, size_t count, PyObject* names):
    cdef Gated self = <Gated> activation
    cdef Py_ssize_t positional = PyVectorcall_NARGS(count)
    result = None
    if positional == 2 and names == NULL:
        result = self.value_mode.call_plain(arguments, None, &self.known.numbers)
    elif positional == 2 and are_keywords(names, "out"):
        result = self.value_mode.call_plain(arguments, <object> arguments[2], &self.known.numbers)
    elif positional == 1 and (names == NULL or are_keywords(names, "out")) and is_plain(<object> arguments[0]):
        return self._packed_value(<object> arguments[0], LAST, self.layout, self.gate_last,
                                  None if names == NULL else <object> arguments[1], {}, &self.known.numbers)
    return call_generally(value_by_def, self, arguments, positional, names) if result is None else result


# backward(dy, a, b) and backward(dy, x), and both with out=
cdef object call_backward(object activation, PyObject* const* arguments, Py_ssize_t count, PyObject* names):
    cdef Gated self = <Gated> activation
    result = None
    if count == 3 and names == NULL:
        result = self.backward_mode.call_plain(arguments, None, &self.known.numbers)
    elif count == 3 and are_keywords(names, "out"):
        result = self.backward_mode.call_plain(arguments, <object> arguments[3], &self.known.numbers)
    return call_generally(backward_by_def, self, arguments, count, names) if result is None else result


cdef object value_by_def = Gated.__call__
cdef object backward_by_def = Gated.backward
replace_method(Gated, "backward", <void*> call_backward)
