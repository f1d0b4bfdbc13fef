"""The activations as objects: thin callables that decide which door a call takes.

A call on a plain array (is_plain in _engine.pyx) without keywords goes straight to the kernels, which costs a fraction
of a NumPy call.  Every other call is checked, its parameters are bound, and it goes through a NumPy ufunc made of the
same kernels (elementwise), or is brought into the form [outer, n, inner] (rows).
"""

cimport numpy as cnp
from libc.math cimport INFINITY, isfinite

import difflib
import inspect
from numbers import Real
from operator import methodcaller
from types import MappingProxyType

import numpy as np

from fastact._engine cimport (
    Mode, Numbers, RowOperation, empty_like_plain, exact_sums, is_bfloat16, is_plain, is_plain_out, is_plain_pair,
    nearest_float, nearest_floats)
from fastact._primitives cimport remainder

from fastact import _engine, _isa

cnp.import_array()

cdef extern from *:
    """
    /* Cython calls its classes through tp_call, for which every call makes a tuple and a dict. */
    static void fastact_enable_vectorcall(PyObject *object, const void *place) {
        PyTypeObject *type = Py_TYPE(object);
        type->tp_vectorcall_offset = (const char *) place - (const char *) object;
        type->tp_flags |= Py_TPFLAGS_HAVE_VECTORCALL;
    }

    /* The same for a method: the function takes the place of the one that Cython made. */
    static int fastact_replace_method(PyTypeObject *type, const char *name, const char *doc, void *function) {
        PyMethodDef *method = PyMem_Calloc(1, sizeof *method);     /* as long as its type: for ever */
        PyObject *descriptor;
        int failed;
        if (!method)
            return -1;
        method->ml_name = name;
        method->ml_doc = doc;
        method->ml_meth = (PyCFunction) function;
        method->ml_flags = METH_FASTCALL | METH_KEYWORDS;
        if (!(descriptor = PyDescr_NewMethod(type, method)))
            return -1;
        failed = PyDict_SetItemString(type->tp_dict, name, descriptor);
        Py_DECREF(descriptor);
        PyType_Modified(type);
        return failed;
    }
    """
    ctypedef struct PyTypeObject:
        pass
    void fastact_enable_vectorcall(object self, const void* place)
    int fastact_replace_method(PyTypeObject* type, const char* name, const char* doc, void* function) except -1

cdef extern from "Python.h":
    ctypedef struct PyObject:
        pass
    Py_ssize_t PyVectorcall_NARGS(size_t count)
    Py_ssize_t PyTuple_GET_SIZE(PyObject* tuple)
    PyObject* PyTuple_GET_ITEM(PyObject* tuple, Py_ssize_t index)

_kernels = _isa.load(_isa.CHOSEN)
_engine.set_packing(_kernels.PACKING)
_engine.set_sums(_kernels.SUMS)

# NumPy 1 promoted float32 scalars to float64 beside any Python number.
LOOKS_AT_VALUES = np.__version__.startswith("1.")
UFUNC_KEYWORDS = MappingProxyType({          # with NumPy's defaults
    "out": None, "where": True, "casting": "same_kind", "order": "K", "dtype": None, "subok": True, "signature": None})
# What other libraries call an argument
SYNONYMS = {"dim": "axis", "axes": "axis", "keepdim": "keepdims", "mask": "where", "tau": "temperature",
            "input": "x", "grad": "dy", "grad_output": "dy"}
ACCEPTED = "float16, bfloat16, float32 and float64 (bool and integers are computed in float64)"

cdef enum:
    FEW = 32                            # numbers that are rounded one by one, which is sooner than to tell NumPy


# The dtype of the result for values of `dtype`
cdef object working_dtype(str call, str argument, object dtype):
    if dtype.kind in "biu":
        return np.dtype(np.float64)
    if dtype.kind == "f" and dtype.itemsize in (2, 4, 8):
        return dtype.newbyteorder("=")
    if dtype.kind == "V" and is_bfloat16(dtype):
        return dtype
    raise TypeError(f"fastact.{call}: {argument} has the dtype {dtype}; accepted are {ACCEPTED}")


cdef bint has_16_bits(object dtype):
    return dtype.itemsize == 2 and dtype.kind not in "biu"


# The dtype for values of two; NumPy has none for float16 and bfloat16.
cdef object common_dtype(object a, object b):
    return np.dtype(np.float32) if a != b and has_16_bits(a) and has_16_bits(b) else np.result_type(a, b)


cdef object unknown_argument(str call, object name, object accepted):
    name = str(name)
    similar = [SYNONYMS[name]] if SYNONYMS.get(name) in accepted else difflib.get_close_matches(name, accepted, 1)
    hint = f"; did you mean {similar[0]}?" if similar else ";"
    return TypeError(f"fastact.{call}: unknown argument {name}{hint} accepted are {', '.join(accepted)}")


# A signature: names that may be given by position too, then those that may not; a name alone has no default.
def make_signature(either, keywords):
    kinds = inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY
    return inspect.Signature([
        inspect.Parameter(*((entry, kind) if isinstance(entry, str) else (entry[0], kind)),
                          default=inspect.Parameter.empty if isinstance(entry, str) else entry[1])
        for kind, entries in zip(kinds, (either, keywords)) for entry in entries])


# What `inspect.signature` reads of an instance.  A property would be found on the class too, which has another.
class SignatureOfInstance:
    def __get__(self, instance, owner):
        if instance is None:
            raise AttributeError("__signature__")
        return instance._signature()


# A Python or NumPy number as the float that it is
cdef double as_float(str call, str name, object number) except? -1:
    try:
        return number
    except OverflowError:
        raise ValueError(f"fastact.{call}: {name} is an integer of {number.bit_length()} bits; accepted is what "
                         f"float64 can hold") from None


# Defaults to compare: 0 and -0 are two, NaN is itself.
cdef list bits_of(object parameters):
    return [default.hex() for default in parameters.values()]


# Whether values of `dtype` are computed as float32
cdef bint is_narrow(object dtype):
    return isinstance(dtype, np.dtype) and (dtype.kind == "f" and dtype.itemsize in (2, 4) or is_bfloat16(dtype))


WHOLE_LINE = (-INFINITY, INFINITY)
cdef str FROM_OUTPUT = " for a gradient from the output; for others pass x"


# A domain whose ends also count as what they are in float32: 1e-6 is less there
cdef tuple with_float32_ends(tuple domain):
    cdef float low = domain[0], high = domain[1]
    return min(domain[0], low if isfinite(low) else domain[0]), max(domain[1], high if isfinite(high) else domain[1]), \
        *domain[2:]


# A domain of a parameter in words: its ends, and the numbers between that are none of it
cdef str in_words(tuple domain):
    numbers = [f"{number:.2g}".replace("e+", "e") for number in domain]
    words = f"{numbers[0]} to {numbers[1]}" if domain[:2] != WHOLE_LINE else "any number"
    return ", but not ".join([words, *numbers[2:]])


# Refuses a number, or an array that holds one, outside of a domain; NaN is none.  Other objects may be lazy: they are
# not looked at.  `shown` is what a number was before it was rounded.
cdef object check_domain(str call, str name, tuple domain, object value, object shown=None, str advice=""):
    if domain == WHOLE_LINE:
        return
    if isinstance(value, np.ma.MaskedArray):
        value = value.compressed()
    if isinstance(value, (np.ndarray, np.generic)):
        numbers = np.asarray(value).astype(np.float64, copy=False)
        wrong = (numbers < domain[0]) | (numbers > domain[1])
        for excluded in domain[2:]:
            wrong |= numbers == excluded
        if not wrong.any():
            return
        value = float(numbers[wrong].flat[0])
    elif not isinstance(value, Real) or not (value < domain[0] or value > domain[1] or value in domain[2:]):
        return
    try:
        value = float(value)
    except OverflowError:               # an integer that no float can hold
        value = INFINITY if value > 0 else -INFINITY
    rounded_to = "" if shown is None or shown == value else f"{shown:g}, in float32 "
    raise ValueError(f"fastact.{call}: {name} is {rounded_to}{value:g}; accepted is {in_words(domain)}{advice}")


cdef class Activation:
    """What every activation has.

    Attributes
    ----------
    name : str
        Under which `fastact.get` finds it.
    formula, derivative_formula : str
        In LaTeX, without dollar signs.
    parameters : mapping
        Name and default of each parameter.
    source : str
        Where it comes from.
    """

    cdef readonly str name, formula, derivative_formula, source, summary
    cdef readonly object parameters

    __signature__ = SignatureOfInstance()

    # Not __init__: nobody shall hold an object whose kernels are missing.
    def __cinit__(self, str name, *, str summary, str formula, str derivative_formula, str source, parameters=(),
                  **others):
        self.name = name
        self.summary = summary
        self.formula = formula
        self.derivative_formula = derivative_formula
        self.source = source
        self.parameters = MappingProxyType(dict(parameters))

    @property
    def __name__(self):
        return self.name

    @property
    def __qualname__(self):
        return self.name

    @property
    def __module__(self):
        return "fastact"

    def __repr__(self):
        parameters = "".join(f", {name}={default:g}" for name, default in self.parameters.items())
        return f"<fastact.{self.name}(x{parameters}): {self.summary}>"

    def _repr_latex_(self):
        return rf"$\displaystyle {self.formula}, \qquad {self.derivative_formula}$"

    # By name: pickle, copy and deepcopy all give the one object of this process.
    def __reduce__(self):
        return self.name


# ---------------------------------------------------------------------------------------------------------- elementwise

cdef class Elementwise(Activation):
    """An activation of each number by itself: value, derivative and backward.

    Each mode is a NumPy ufunc too (`ufuncs`), so that everything that NumPy's functions take is taken here:
    broadcasting, ``out=``, ``where=``, any strides and byte order, scalars and lists, and objects with
    ``__array_ufunc__``.

    Attributes
    ----------
    ufuncs : mapping
        Mode to NumPy ufunc.
    ulp : mapping
        The largest error promised of "value" and "derivative", in units in the last place, for either dtype and every
        input, the parameters having their defaults as numbers of the dtype; without fused multiply-add (x86-64-v2),
        twice as much.
    value_zero, derivative_zero : tuple of float, or None
        Between these two numbers, where the value or the derivative crosses zero and x is not 0, its error is promised
        in units in the last place of 1/4 instead. With other parameters the zero lies elsewhere: there, and wherever
        the terms of the formula cancel each other, the unit is that of the largest of these terms.
    parameter_domain : mapping
        Parameter to the least and the greatest number for which `ulp` holds, and any number between them for which it
        does not. Others are refused with ValueError; a number counts as what the dtype makes of it: 1e300 is infinite
        in float32. NaN is accepted, and nothing is promised of it.
    output_domain : mapping
        The same for ``backward(dy, output=y)``, of those parameters for which it is another: the derivative is a
        function of the value for these numbers alone.
    """

    cdef readonly object ufuncs, ulp, value_zero, derivative_zero, parameter_domain, output_domain
    cdef object (*vectorcall)(object, PyObject* const*, size_t, PyObject*)
    cdef Mode value_mode, derivative_mode, backward_mode, from_output_mode, parameter_mode, both_mode
    cdef Numbers defaults           # rounded once and here: calls may come in any rounding mode
    cdef Elementwise origin         # of the catalogue, if this one has other defaults
    cdef double cost
    cdef bint output_suffices       # for a derivative with the defaults

    def __cinit__(self, str name, *, double cost, ulp=MappingProxyType({"value": 1.5, "derivative": 2.0}),
                  value_zero=None, derivative_zero=None, parameter_domain=(), output_domain=(),
                  Elementwise origin=None, **description):
        domains = dict(parameter_domain)
        if not domains.keys() <= self.parameters.keys():
            raise ValueError(f"fastact.Elementwise: parameter_domain names {', '.join(domains)}; accepted are "
                             f"{', '.join(self.parameters) or 'none'}")
        self.parameter_domain = MappingProxyType({
            one: with_float32_ends(domains.get(one, WHOLE_LINE)) for one in self.parameters})
        self.output_domain = MappingProxyType(dict(output_domain))
        self.output_suffices = all([
            domain[0] <= self.parameters[one] <= domain[1] for one, domain in self.output_domain.items()])
        self.ulp = MappingProxyType(dict(ulp))
        self.value_zero = value_zero
        self.derivative_zero = derivative_zero
        self.cost = cost
        self.origin = origin
        self.vectorcall = call_value
        fastact_enable_vectorcall(self, &self.vectorcall)
        for k, default in enumerate(self.parameters.values()):
            self.defaults.as_double[k] = default
            self.defaults.as_float[k] = <float> self.defaults.as_double[k]
        if origin is None:
            self._make_modes(name, cost)
        else:
            self.ufuncs = origin.ufuncs
            self.value_mode, self.derivative_mode, self.both_mode = (
                origin.value_mode, origin.derivative_mode, origin.both_mode)
            self.backward_mode, self.from_output_mode, self.parameter_mode = (
                origin.backward_mode, origin.from_output_mode, origin.parameter_mode)

    cdef _make_modes(self, str name, double cost):
        if len(self.parameters) != _kernels.PARAMETERS.get(name, -1):
            raise ValueError(f"fastact.Elementwise: name is {name!r} with {len(self.parameters)} parameters; accepted "
                             f"are the formulas that were compiled, with theirs")
        self.value_mode = self._mode("value", 1, 1, cost)
        self.derivative_mode = self._mode("derivative", 1, 1, cost)
        self.backward_mode = self._mode("backward", 2, 1, cost)
        self.both_mode = self._mode("value_and_derivative", 1, 2, cost)
        modes = {"value": self.value_mode, "derivative": self.derivative_mode, "backward": self.backward_mode,
                 "value_and_derivative": self.both_mode}
        if f"{name}.backward_from_output.float" in _kernels.KERNELS:
            modes["backward_from_output"] = self.from_output_mode = self._mode("backward_from_output", 2, 1, cost)
        if f"{name}.backward_parameter.float" in _kernels.KERNELS:
            modes["backward_parameter"] = self.parameter_mode = self._mode("backward_parameter", 2, 1, cost)
        self.ufuncs = MappingProxyType({mode: (<Mode> modes[mode]).ufunc for mode in modes})

    def _mode(self, str mode, int inputs, int outputs, double cost):
        kernels = {dtype: _kernels.KERNELS[f"{self.name}.{mode}.{dtype}"] for dtype in ("float", "double")}
        name = self.name if mode == "value" else f"{self.name}_{mode}"
        return Mode(kernels, name, f"The ufunc of fastact.{self.name}, {mode}: {self.summary}", inputs,
                    len(self.parameters), outputs, cost)

    def with_defaults(self, **parameters):
        """with_defaults(*, parameter=number): the same activation, with other defaults for its parameters.

        Parameters
        ----------
        **parameters : float
            The new defaults; a parameter that is not named keeps its own.

        Returns
        -------
        Elementwise
            On the same kernels and ufuncs; the object itself, or that of the catalogue, if it has these defaults. Two
            are equal if their names and their defaults are.

        Raises
        ------
        TypeError
            If a parameter is unknown, or its default no number.
        ValueError
            If a default is outside of `parameter_domain`.
        """
        cdef str call = f"{self.name}.with_defaults"
        for name, default in parameters.items():
            if name not in self.parameters:
                raise unknown_argument(call, name, list(self.parameters) or ["none"])
            if not isinstance(default, Real):
                raise TypeError(f"fastact.{call}: {name} must be a number, got {type(default).__name__}")
            check_domain(call, name, self.parameter_domain[name], as_float(call, name, default))
        merged = {name: float(parameters.get(name, default)) for name, default in self.parameters.items()}
        for there in self, self.origin:
            if there is not None and bits_of(merged) == bits_of(there.parameters):
                return there
        return Elementwise(
            self.name, summary=self.summary, formula=self.formula, derivative_formula=self.derivative_formula,
            source=self.source, parameters=merged, cost=self.cost, ulp=self.ulp, value_zero=self.value_zero,
            derivative_zero=self.derivative_zero, parameter_domain=self.parameter_domain,
            output_domain=self.output_domain, origin=self.origin or self)

    def __eq__(self, other):
        return (isinstance(other, Elementwise) and self.name == other.name
                and bits_of(self.parameters) == bits_of(other.parameters))

    def __hash__(self):
        return hash(self.name)

    def __reduce__(self):
        if self.origin is None:
            return self.name
        return methodcaller("with_defaults", **self.parameters), (self.origin,)

    @property
    def ufunc(self):
        """The NumPy ufunc of the value."""
        return self.value_mode.ufunc

    def _signature(self):
        return make_signature(["x", *self.parameters.items()], UFUNC_KEYWORDS.items())

    @property
    def __doc__(self):
        names = "".join(f", {name}={default:g}" for name, default in self.parameters.items())
        described = "".join(f"\n{name} : array_like, optional\n    Broadcast against `x`, "
                            f"{in_words(self.parameter_domain[name])}. Default {default:g}."
                            for name, default in self.parameters.items())
        return f"""{self.name}{self._signature()}

{self.summary}

.. math:: {self.formula}

.. math:: {self.derivative_formula}

Parameters
----------
x : array_like
    Real numbers of any shape: {ACCEPTED}.{described}
out : ndarray, optional
    Where to write the result; `x` itself is allowed.
where : array_like of bool, optional
    Where to compute; elsewhere `out` keeps what it holds.
casting, order, dtype, subok, signature
    As for NumPy's ufuncs.

Returns
-------
ndarray or scalar
    Of the shape and dtype of `x`.

Raises
------
TypeError
    If the dtype of an argument is none of these, or an argument is unknown.
ValueError
    If the shapes do not broadcast, or a parameter is not among the accepted numbers.

See Also
--------
{self.name}.derivative(x{names}) : the derivative
{self.name}.backward(dy, x{names}) : dy times the derivative, in one pass
{self.name}.value_and_derivative(x{names}) : both in one pass

Notes
-----
Source: {self.source}.
"""

    def __call__(self, *arguments, **keywords):
        return self._call("", self.value_mode, ("x",), arguments, keywords)

    def derivative(self, *arguments, **keywords):
        """derivative($self, x, *parameters, out=None, where=True, **keywords)
--

        The derivative at `x`; at a kink, the right-hand one.

        Parameters
        ----------
        x : array_like
            Real numbers; as for the value.
        *parameters : array_like, optional
            Those of the activation, by position or by name.
        out, where, ...
            The keywords of NumPy's ufuncs.

        Returns
        -------
        ndarray or scalar
            Of the shape and dtype of `x`.

        Raises
        ------
        TypeError
            If a dtype is not supported, or an argument is unknown.
        """
        return self._call(".derivative", self.derivative_mode, ("x",), arguments, keywords)

    def value_and_derivative(self, *arguments, **keywords):
        """value_and_derivative($self, x, *parameters, out=(None, None), where=True, **keywords)
--

        Both in one pass.

        Parameters
        ----------
        x : array_like
            Real numbers; as for the value.
        *parameters : array_like, optional
            Those of the activation, by position or by name.
        out, where, ...
            The keywords of NumPy's ufuncs.

        Returns
        -------
        value, derivative : ndarray or scalar
            Of the shape and dtype of `x`, the same bits as from the two calls, but for the sign and payload of a NaN.

        Raises
        ------
        TypeError
            If a dtype is not supported, or an argument is unknown.
        """
        return self._call(".value_and_derivative", self.both_mode, ("x",), arguments, keywords)

    def backward(self, *arguments, **keywords):
        """backward($self, dy, x=None, *parameters, output=None, out=None, where=True, **keywords)
--

        The gradient with respect to `x`.

        ``backward(dy, output=y)`` computes it from the value instead, which saves keeping `x`; from `x` it is accurate
        in the tails.

        Parameters
        ----------
        dy : array_like
            Gradient with respect to the value.
        x : array_like
            What the value was computed of.
        *parameters : array_like, optional
            Those of the activation, by position or by name.
        output : array_like, optional
            The value, in place of `x`.
        out, where, ...
            The keywords of NumPy's ufuncs. `dy` and `x` are allowed as `out`.

        Returns
        -------
        ndarray or scalar
            ``dy`` times the derivative.

        Raises
        ------
        TypeError
            If a dtype is not supported, an argument is unknown, or the derivative is no function of the value.
        """
        cdef Mode mode = self.backward_mode
        cdef tuple arrays = ("dy", "x")
        if keywords.get("output") is not None:
            if self.from_output_mode is None:
                raise TypeError(f"fastact.{self.name}.backward: output= is not accepted, since the derivative is not a "
                                f"function of the value; pass x")
            if len(arguments) > 1:
                raise TypeError(f"fastact.{self.name}.backward: output= takes the place of x, and parameters are given "
                                f"by name; got {len(arguments)} positional arguments, accepted is dy")
            mode, arrays = self.from_output_mode, ("dy", "output")
            if arguments:
                arguments = (arguments[0], keywords.pop("output"))
        else:
            keywords.pop("output", None)
        return self._call(".backward", mode, arrays, arguments, keywords)

    def backward_parameter(self, dy, x, parameter=None):
        """backward_parameter($self, dy, x, parameter=None)
--

        The gradient with respect to the parameter, which is learnt: that of `prelu`.

        Parameters
        ----------
        dy : array_like
            Gradient with respect to the value.
        x : array_like
            What the value was computed of.
        parameter : array_like, optional
            The parameter, as for the value.

        Returns
        -------
        ndarray or scalar
            Of the shape of `parameter`: ``dy`` times the derivative in it, summed over all that one of its entries was
            broadcast to. The sum is rounded once, whatever the order and the layout of the arrays.

        Raises
        ------
        TypeError
            If a dtype is not supported, an array is masked, or this activation has no such derivative.
        """
        cdef str call = self.name + ".backward_parameter"
        if self.parameter_mode is None:
            raise TypeError(f"fastact.{call}: accepted for prelu alone")
        if parameter is None:
            parameter, = self.parameters.values()
        for name, value in ("dy", dy), ("x", x), ("parameter", parameter):
            refuse_masked(call, name, value)
        if type(dy) in (int, float):        # a Python number takes the dtype of x
            x = np.asarray(x)
            dy = rounded(as_float(call, "dy", dy), working_dtype(call, "x", x.dtype))
        dy, x = np.asarray(dy), np.asarray(x)
        keywords, dtype = {"order": "C"}, None
        if has_16_bits(dy.dtype) and has_16_bits(x.dtype):      # the sum alone is rounded to 16 bits
            keywords["dtype"], dtype = np.float32, common_dtype(dy.dtype, x.dtype)
        terms = np.asarray(self._call_ufunc(call, self.parameter_mode, ("dy", "x"), (dy, x, parameter), keywords))
        lengths = np.shape(parameter)
        lengths = (1,) * (terms.ndim - len(lengths)) + lengths
        summed = tuple([k for k in range(terms.ndim) if lengths[k] == 1])
        return rounded(sum_over(terms, summed), dtype or terms.dtype).reshape(np.shape(parameter))[()]

    # The fast door, if that takes the call, else the general one
    cdef object _call(self, str method, Mode mode, tuple arrays, tuple arguments, dict keywords):
        if (len(arguments) == len(arrays) and (not keywords or len(keywords) == 1 and "out" in keywords)
                and (self.output_suffices or mode is not self.from_output_mode)):
            result = mode.call_plain(arguments[0], arguments[1] if len(arrays) == 2 else None,
                                     keywords["out"] if keywords else None, &self.defaults)
            if result is not None:
                return result
        return self._call_ufunc(self.name + method, mode, arrays, arguments, keywords)

    # The general door: arrays and parameters by position or by name, then the ufunc
    cdef object _call_ufunc(self, str call, Mode mode, tuple arrays, tuple arguments, dict keywords):
        cdef tuple names = arrays + tuple(self.parameters)
        cdef list values = list(arguments), scalars = [], defaults = []
        cdef bint integers = False
        if len(arguments) > len(names):
            raise TypeError(f"fastact.{call}: got {len(arguments)} positional arguments, accepted are at most "
                            f"{len(names)}: {', '.join(names)}")
        for name in names[len(arguments):]:
            if name in keywords:
                values.append(keywords.pop(name))
            elif name in self.parameters:
                defaults.append(len(values))
                values.append(self.parameters[name])
            else:
                raise TypeError(f"fastact.{call}: the argument {name} is missing; accepted are {', '.join(names)}")
        for name in "dtype", "signature":       # NumPy takes None for a wish, and both of them for two
            if name in keywords and keywords[name] is None:
                del keywords[name]
        for name in keywords:
            if name in names:
                raise TypeError(f"fastact.{call}: got two values for the argument {name}")
            if name not in UFUNC_KEYWORDS:
                raise unknown_argument(call, name, [*names, *UFUNC_KEYWORDS])
        if len(arrays) == 2:
            values[:2] = alike(call, arrays, values[:2])
        for k, name in enumerate(names):
            if values[k] is None and k >= len(arrays):
                values[k] = self.parameters[name]
            if not hasattr(values[k], "dtype") and not hasattr(values[k], "__array_ufunc__"):
                if k >= len(arrays) and type(values[k]) in (int, float):
                    values[k] = as_float(call, name, values[k])
                    scalars.append(k)           # takes the dtype of the arrays
                    if k not in defaults:
                        check_domain(call, name, self.parameter_domain[name], values[k])
                    continue
                values[k] = np.asarray(values[k])
            dtype = getattr(values[k], "dtype", None)
            if isinstance(dtype, np.dtype):     # not pandas' own: its objects call back with ndarrays
                integers |= working_dtype(call, name, dtype).kind != dtype.kind
            if k >= len(arrays):
                check_domain(call, name, self.parameter_domain[name], values[k])
        if mode is self.from_output_mode:
            for name, domain in self.output_domain.items():
                check_domain(call, name, domain, values[names.index(name)], None, FROM_OUTPUT)
        dtypes = [getattr(value, "dtype", None) for k, value in enumerate(values) if k not in scalars]
        if (self.parameters and "dtype" not in keywords and "signature" not in keywords
                and all([is_narrow(dtype) for dtype in dtypes])):
            for k in scalars:
                shown, values[k] = values[k], np.float32(nearest_float(values[k]))
                if k not in defaults:
                    check_domain(call, names[k], self.parameter_domain[names[k]], values[k], shown)
            if len({dtype.newbyteorder("=") for dtype in dtypes}) > 1:
                keywords["dtype"] = np.float32  # the loops would take the dtype of the arrays, whatever the parameters'
        elif LOOKS_AT_VALUES and scalars:
            dtype = keywords.get("dtype")
            if dtype is None:
                least = np.float64 if integers else np.float32
                dtype = np.result_type(least, *[dtype for dtype in dtypes if isinstance(dtype, np.dtype)])
            for k in scalars:
                values[k] = np.asarray(values[k], dtype)
        if integers and "dtype" not in keywords and "signature" not in keywords:
            keywords["dtype"] = np.float64      # NumPy would take float32 for small integers
        if "where" in keywords and keywords.get("out") is not None:
            outs = keywords["out"]
            outs = [out for out in (outs if isinstance(outs, tuple) else (outs,)) if isinstance(out, np.ndarray)]
            values = [apart(value, outs) for value in values]
            keywords["where"] = apart(keywords["where"], outs)
        try:
            return mode.ufunc(*values, **keywords)
        except (TypeError, ValueError):
            for name, value in zip(names, values):
                refuse_kind(call, name, value)
            raise


# Two arrays of which one is a Python number: that takes the dtype of the other.
cdef list alike(str call, tuple names, list values):
    cdef int k
    for k in range(2):
        other = values[1 - k]
        if type(values[k]) in (int, float) and type(other) not in (int, float):
            dtype = getattr(other if hasattr(other, "dtype") else np.asarray(other), "dtype", None)
            if isinstance(dtype, np.dtype):
                values[k] = rounded(as_float(call, names[k], values[k]), working_dtype(call, names[1 - k], dtype))
    return values


# Says of an object from another library, which a ufunc has refused, what is wrong with it; returns where nothing is.
cdef int refuse_kind(str call, str name, object value) except -1:
    if isinstance(value, (np.ndarray, np.generic, int, float)) or hasattr(value, "__dask_graph__"):
        return 0
    try:
        array = np.asarray(value)
    except Exception:
        return 0
    if array.dtype.kind not in "biufV":
        raise TypeError(f"fastact.{call}: {name} is a {type(value).__name__}, as an array of the dtype {array.dtype}; "
                        f"accepted are {ACCEPTED}") from None
    return 0


# A copy of an array that shares memory with an output.  Under a mask and with a cast NumPy (2.4) makes such copies too
# late: it reads a mask that it has written over, and elements of `out` that were to stay are lost.
cdef object apart(object value, list outs):
    if isinstance(value, np.ndarray) and any([np.may_share_memory(value, out) for out in outs]):
        return value.copy()
    return value


# The plainest calls, without the tuple and the dict that Python makes for others.  Each takes the place of a method of
# `def`, and hands all other calls to that.

# Whether the keywords of a call are these, in this order.  The names in a program are interned; where one is not, the
# call goes the general way.
cdef inline bint are_keywords(PyObject* names, str first, str second=None) noexcept:
    cdef Py_ssize_t count = 1 if second is None else 2
    return (names != NULL and PyTuple_GET_SIZE(names) == count and PyTuple_GET_ITEM(names, 0) == <PyObject*> first
            and (count == 1 or PyTuple_GET_ITEM(names, 1) == <PyObject*> second))


cdef object call_generally(object method, object self, PyObject* const* arguments, Py_ssize_t count, PyObject* names):
    cdef Py_ssize_t k
    positional = [<object> arguments[k] for k in range(count)]
    keywords = {} if names == NULL else {
        name: <object> arguments[count + k] for k, name in enumerate(<tuple> <object> names)}
    try:
        return method(self, *positional, **keywords)
    except MemoryError:         # once more without what is kept, unless something may have been written
        if keywords.get("out") is not None or not _engine.give_up_buffers():
            raise
    return method(self, *positional, **keywords)


cdef object value_by_def = Elementwise.__call__
cdef object derivative_by_def = Elementwise.derivative
cdef object both_by_def = Elementwise.value_and_derivative
cdef object backward_by_def = Elementwise.backward
cdef object parameter_by_def = Elementwise.backward_parameter


# f(x) and f(x, out=y)
cdef inline object call_mode(Elementwise self, Mode mode, object method, PyObject* const* arguments, Py_ssize_t count,
                             PyObject* names):
    result = None
    if count == 1 and names == NULL:
        result = mode.call_plain(<object> arguments[0], None, None, &self.defaults)
    elif count == 1 and are_keywords(names, "out"):
        result = mode.call_plain(<object> arguments[0], None, <object> arguments[1], &self.defaults)
    return call_generally(method, self, arguments, count, names) if result is None else result


cdef object call_value(object self, PyObject* const* arguments, size_t count, PyObject* names):
    return call_mode(self, (<Elementwise> self).value_mode, value_by_def, arguments, PyVectorcall_NARGS(count), names)


cdef object call_derivative(object self, PyObject* const* arguments, Py_ssize_t count, PyObject* names):
    return call_mode(self, (<Elementwise> self).derivative_mode, derivative_by_def, arguments, count, names)


cdef object call_both(object self, PyObject* const* arguments, Py_ssize_t count, PyObject* names):
    return call_mode(self, (<Elementwise> self).both_mode, both_by_def, arguments, count, names)


# backward(dy, x) and backward(dy, output=y), and with out=
cdef object call_backward(object activation, PyObject* const* arguments, Py_ssize_t count, PyObject* names):
    cdef Elementwise self = <Elementwise> activation
    cdef bint from_output = count == 1 and self.from_output_mode is not None and self.output_suffices
    result = None
    if count == 2 and names == NULL:
        result = self.backward_mode.call_plain(<object> arguments[0], <object> arguments[1], None, &self.defaults)
    elif count == 2 and are_keywords(names, "out"):
        result = self.backward_mode.call_plain(<object> arguments[0], <object> arguments[1], <object> arguments[2],
                                               &self.defaults)
    elif from_output and are_keywords(names, "output"):
        result = self.from_output_mode.call_plain(<object> arguments[0], <object> arguments[1], None, &self.defaults)
    elif from_output and are_keywords(names, "output", "out"):
        result = self.from_output_mode.call_plain(<object> arguments[0], <object> arguments[1], <object> arguments[2],
                                                  &self.defaults)
    return call_generally(backward_by_def, self, arguments, count, names) if result is None else result


cdef list documentation = []             # where the types point to


# Puts a function in the place of a method, with its documentation.
cdef int replace_method(object owner, str name, void* function) except -1:
    cdef bytes text = getattr(owner, name).__doc__.encode()
    documentation.append(text)
    fastact_replace_method(<PyTypeObject*> owner, METHODS[name], text, function)
    return 0


cdef dict METHODS = {name: name.encode() for name in (
    "derivative", "value_and_derivative", "backward", "backward_parameter", "jacobian")}


cdef object call_backward_parameter(object self, PyObject* const* arguments, Py_ssize_t count, PyObject* names):
    return call_generally(parameter_by_def, self, arguments, count, names)


replace_method(Elementwise, "derivative", <void*> call_derivative)
replace_method(Elementwise, "value_and_derivative", <void*> call_both)
replace_method(Elementwise, "backward", <void*> call_backward)
replace_method(Elementwise, "backward_parameter", <void*> call_backward_parameter)


# ----------------------------------------------------------------------------------------------------------------- rows

# What is masked would be taken for numbers.
cdef int refuse_masked(str call, str argument, object value) except -1:
    if isinstance(value, np.ma.MaskedArray):
        raise TypeError(f"fastact.{call}: {argument} is a masked array; accepted is an array, and "
                        "where=~mask in what takes where=")
    return 0


# An array of numbers from whatever came, native and of a working dtype
cdef cnp.ndarray as_numbers(str call, str argument, object value, object dtype=None):
    refuse_masked(call, argument, value)
    array = np.asarray(value)
    working = working_dtype(call, argument, array.dtype)
    return array.astype(working if dtype is None else dtype, copy=False)


# The axes along which a row lies, sorted, all of them not negative.  A scalar is a row of one entry.
cdef tuple row_axes(str call, object axis, int ndim):
    if axis is None:
        return tuple(range(max(ndim, 1)))
    axes = []
    for one in axis if isinstance(axis, tuple) else (axis,):
        if isinstance(one, (bool, np.bool_)) or not hasattr(one, "__index__"):
            raise TypeError(f"fastact.{call}: axis must be an integer, a tuple of integers or None, got {axis!r}")
        index = one.__index__()
        if not -max(ndim, 1) <= index < max(ndim, 1):
            raise np.exceptions.AxisError(f"fastact.{call}: axis {index} is out of bounds for an array of {ndim} "
                                          f"dimensions")
        axes.append(index % max(ndim, 1))
    if len(set(axes)) < len(axes):
        raise ValueError(f"fastact.{call}: axis names a dimension twice: {axis!r}")
    return tuple(sorted(axes))


# What logits are multiplied by, in two parts
cdef struct Factor:
    double high
    double low


cdef Factor UNIT = Factor(1, 0)
cdef object ONE = 1.0               # the default of scale and temperature
cdef object LAST = -1               # the default axis


cdef class Layout:
    """How the rows of an array lie best: its axes in the order `order`, as a matrix [outer, n, inner]."""

    cdef tuple order
    cdef bint straight              # the order of the axes is the array's own
    cdef Py_ssize_t outer, n, inner
    cdef tuple shape                # of the array in that order
    cdef int first, count           # where the axes of the rows stand in it

    def __init__(self, cnp.ndarray array, tuple axes):
        ndim = max(array.ndim, 1)
        self.order = tuple(range(ndim))
        self.first, self.count = (axes[0] if axes else ndim), len(axes)
        if axes != tuple(range(self.first, self.first + self.count)):       # apart: to the end
            self.order = tuple(k for k in range(ndim) if k not in axes) + axes
            self.first = ndim - self.count
        elif self.count == 1 and array.flags.f_contiguous and not array.flags.c_contiguous:
            self.order = self.order[::-1]
            self.first = ndim - 1 - self.first
        shape = np.shape(array) or (1,)
        self.straight = self.order == tuple(range(ndim))
        self.shape = tuple([shape[k] for k in self.order])
        self.outer = product(self.shape[:self.first])
        self.n = product(self.shape[self.first:self.first + self.count])
        self.inner = product(self.shape[self.first + self.count:])

    # The array in this order, contiguous and aligned: a view where that is possible
    cdef cnp.ndarray matrix(self, cnp.ndarray array):
        cdef cnp.ndarray ordered
        if cnp.PyArray_NDIM(array) == 0:
            array = array.reshape(1)
        ordered = np.ascontiguousarray(array if self.straight else array.transpose(self.order))
        return ordered if cnp.PyArray_ISALIGNED(ordered) else ordered.copy()

    # A matrix in this order as an array in the order of the user
    cdef object restore(self, cnp.ndarray matrix, int ndim):
        return reorder(matrix, self.order) if ndim else matrix[0]


# Undoes array.transpose(order).
cdef object reorder(cnp.ndarray array, tuple order):
    return array if order == tuple(range(len(order))) else array.transpose([order.index(k) for k in range(len(order))])


cdef Py_ssize_t product(tuple factors):
    cdef Py_ssize_t total = 1
    for factor in factors:
        total *= factor
    return total


cdef check_out(str call, object out, tuple shape, object dtype):
    if not isinstance(out, np.ndarray):
        raise TypeError(f"fastact.{call}: out must be an ndarray, got {type(out).__name__}")
    if out.shape != shape:
        raise ValueError(f"fastact.{call}: out has the shape {out.shape}; accepted is {shape}")
    if not out.flags.writeable:
        raise ValueError(f"fastact.{call}: out is read-only")
    if not np.can_cast(dtype, out.dtype, "same_kind"):
        raise TypeError(f"fastact.{call}: out has the dtype {out.dtype}; accepted is what {dtype} can be cast to")


# Runs an operation whose result has the shape of its inputs.
cdef object run_entries(str call, RowOperation operation, cnp.ndarray x, cnp.ndarray y, tuple axes, object out,
                        cnp.ndarray scales=None, Factor factor=UNIT):
    cdef Layout layout = Layout(x, axes)
    cdef cnp.ndarray first = layout.matrix(x), target
    cdef cnp.ndarray second = None if y is None else layout.matrix(y)
    if out is not None:
        check_out(call, out, np.shape(x), x.dtype)
        ordered = out.reshape(out.shape or (1,)).transpose(layout.order) if out.ndim else None
        direct = (ordered is not None and type(out) is np.ndarray and out.dtype == x.dtype and is_plain(ordered)
                  and not overlaps(ordered, first) and (second is None or not overlaps(ordered, second))
                  and (scales is None or not np.may_share_memory(ordered, scales)))
        target = ordered if direct else empty_like_plain(first)
    else:
        direct = False
        target = empty_like_plain(first)
    operation.run(first, second, target, None, scales, 1, None, layout.outer, layout.n, layout.inner,
                  factor.high, factor.low)
    if out is None:
        return layout.restore(target, x.ndim)
    if not direct:
        store(out, layout.restore(target, x.ndim))
    return out


# What was computed apart into `out`, which was checked; overflow and underflow of a narrower dtype are no news.
cdef object store(object out, object computed):
    with np.errstate(all="ignore"):
        np.copyto(out, computed, casting="same_kind")


cdef inline bint is_last(object axis):
    return axis is LAST or isinstance(axis, int) and axis == -1


# The fast door: rows along the last axis of plain arrays.  Returns the result, or None if the arrays are none of that.
cdef object run_plain(RowOperation operation, object x, object y, object out, object axis, Factor factor):
    cdef cnp.ndarray first, target
    cdef Py_ssize_t n
    if not (is_plain(x) if y is None else is_plain_pair(x, y)) or not is_last(axis):
        return None
    first = x
    if out is None:
        target = empty_like_plain(first)
    elif is_plain_out(out, x) and (y is None or is_plain_out(out, y)):
        target = out
    else:
        return None
    n = cnp.PyArray_DIM(first, cnp.PyArray_NDIM(first) - 1)
    operation.run(first, y, target, None, None, 1, None, cnp.PyArray_SIZE(first) // n if n else 0, n, 1,
                  factor.high, factor.low)
    return target


# The same for one number of each row
cdef object reduce_plain(RowOperation operation, object x, object axis):
    cdef cnp.ndarray array, results, rows
    cdef Py_ssize_t n, count
    if not is_plain(x) or not is_last(axis) or cnp.PyArray_SIZE(<cnp.ndarray> x) == 0:
        return None
    array = x
    n = cnp.PyArray_DIM(array, cnp.PyArray_NDIM(array) - 1)
    count = cnp.PyArray_SIZE(array) // n
    results = cnp.PyArray_EMPTY(cnp.PyArray_NDIM(array) - 1, cnp.PyArray_DIMS(array), cnp.NPY_DOUBLE, 0)
    operation.run(array, None, None, results, None, 1, None, count, n, 1)
    if cnp.PyArray_TYPE(array) == cnp.NPY_DOUBLE:
        return results[()]
    if count > FEW or cnp.PyArray_TYPE(array) != cnp.NPY_FLOAT:
        return rounded(results, array.dtype)[()]
    rows = cnp.PyArray_EMPTY(cnp.PyArray_NDIM(results), cnp.PyArray_DIMS(results), cnp.NPY_FLOAT, 0)
    nearest_floats(<double*> cnp.PyArray_DATA(results), <float*> cnp.PyArray_DATA(rows), count)
    return rows[()]


# Exact sums over some axes of an array of float32 or float64, each rounded once, over `divisor`
cdef object sum_over(cnp.ndarray numbers, tuple axes, Py_ssize_t divisor=1):
    cdef tuple shape = np.shape(numbers), kept = tuple([k for k in range(len(shape)) if k not in axes])
    cdef tuple lengths = tuple([shape[k] for k in kept])
    cdef Py_ssize_t first = kept[0] if kept else 0, outer = 1
    if kept == tuple(range(first, first + len(kept))):      # side by side, as the engine takes them
        outer = product(shape[:first])
    else:
        numbers = numbers.transpose(axes + kept)
        outer = product(tuple([shape[k] for k in axes]))
    inner = product(shape) // (outer * product(lengths)) if product(shape) else 0
    return exact_sums(np.ascontiguousarray(numbers), outer, product(lengths), inner, divisor).reshape(lengths)


# Results of rows, which are double, in the dtype of the rows; overflow and underflow are no news.
cdef object rounded(object numbers, object dtype):
    with np.errstate(all="ignore"):
        return np.asarray(numbers).astype(dtype, order="C")


# Whether writing one array would disturb reading the other: the very same entries in the same places do not.
cdef bint overlaps(cnp.ndarray out, cnp.ndarray array):
    return cnp.PyArray_DATA(out) != cnp.PyArray_DATA(array) and np.may_share_memory(out, array)


# x with `absent`, an infinity that takes no part in a row, wherever `where` is false; and `where` as an array of the
# same shape
cdef tuple masked(str call, cnp.ndarray x, object where, double absent):
    mask = np.asarray(where)
    if mask.dtype != bool:
        raise TypeError(f"fastact.{call}: where has the dtype {mask.dtype}; accepted is bool")
    try:
        mask = np.broadcast_to(mask, np.shape(x))
    except ValueError:
        raise ValueError(f"fastact.{call}: where has the shape {mask.shape}; accepted is what broadcasts to "
                         f"{np.shape(x)}") from None
    return np.where(mask, x, x.dtype.type(absent)), mask


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
        self.value_operation = RowOperation(name, _kernels.KERNELS, cost)
        self.backward_operation = RowOperation(f"{negates or name}_backward", _kernels.KERNELS, cost)
        self.scaled_operation = self.value_operation
        if self.parameters and not negates:
            self.scaled_operation = RowOperation(f"{name}_scaled", _kernels.KERNELS, cost)
        self.masked_row = masked_row
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

    # The backward of the entries that take part: the others add nothing, as logits of -inf whose dy is 0.
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

# The plainest calls, as those of `Elementwise`: f(x) and f(x, out=y)
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
        self.vectorcall = call_reduction
        fastact_enable_vectorcall(self, &self.vectorcall)
        self.value_operation = RowOperation(name, _kernels.KERNELS, cost)
        self.backward_operation = RowOperation(derivative, _kernels.KERNELS, cost)

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
            self.value_operation.run(layout.matrix(array), None, None, results, None, 1, None, layout.outer, layout.n,
                                     layout.inner)
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
            return run_entries(call, self.backward_operation, array, None, axes, out, scales)
        gradient = run_entries(call, self.backward_operation, array, None, axes, None, scales)
        gradient = np.where(mask, gradient, gradient.dtype.type(0))[()]
        if out is None:
            return gradient
        store(out, gradient)
        return out


cdef object reduction_by_def = RowReduction.__call__
cdef object reduction_backward_by_def = RowReduction.backward


# The plainest call, as those of `Elementwise`: f(x)
cdef object call_reduction(object self, PyObject* const* arguments, size_t count, PyObject* names):
    cdef Py_ssize_t positional = PyVectorcall_NARGS(count)
    result = None
    if positional == 1 and names == NULL:
        result = reduce_plain((<RowReduction> self).value_operation, <object> arguments[0], LAST)
    return call_generally(reduction_by_def, self, arguments, positional, names) if result is None else result


cdef object call_reduction_backward(object self, PyObject* const* arguments, Py_ssize_t count, PyObject* names):
    return call_generally(reduction_backward_by_def, self, arguments, count, names)


replace_method(RowReduction, "backward", <void*> call_reduction_backward)


# --------------------------------------------------------------------------------------------------------------- losses

cdef dict loss_operations = {
    name: RowOperation(name, _kernels.KERNELS, 1.2)
    for name in ("softmax_mse", "softmax_cross_entropy", "softmax_cross_entropy_labels")}

REDUCTIONS = ("mean", "sum", "none")


cdef cnp.ndarray as_labels(str call, str argument, object labels, tuple shape, Py_ssize_t classes):
    if isinstance(labels, np.ma.MaskedArray):
        raise TypeError(f"fastact.{call}: {argument} is a masked array; accepted is an array")
    array = np.asarray(labels)
    if array.shape != shape:
        raise ValueError(f"fastact.{call}: {argument} has the shape {array.shape}; accepted is {shape} for labels")
    if array.size == 0:
        return np.zeros(shape, np.intp)         # an empty list has no integers
    if array.dtype.kind not in "iu":
        raise TypeError(f"fastact.{call}: {argument} has the shape of labels and the dtype {array.dtype}; accepted are "
                        f"integers")
    if classes == 0:
        raise IndexError(f"fastact.{call}: {argument} holds labels, but logits has no classes; accepted are no rows, "
                         f"or logits with classes")
    wide = array.dtype.kind == "u" and array.dtype.itemsize > 4     # what intp cannot hold must not become a label
    copied = array.astype(np.uint64 if wide else np.int64)          # a copy that no other thread can change
    for wrong in copied.min(), copied.max():
        if not 0 <= wrong < classes:
            raise IndexError(f"fastact.{call}: {argument} holds {wrong}; accepted are 0 to {classes - 1}")
    return copied.astype(np.intp, copy=False)


# Calls a function that writes nothing of the caller's once more without the memory that is kept, if it finds none.
def in_scarce_memory(function):
    def called(*arguments):
        try:
            return function(*arguments)
        except MemoryError:
            if not _engine.give_up_buffers():
                raise
        return function(*arguments)
    return called


@in_scarce_memory
def loss_rows(str operation, logits, str argument, targets, axis, reduction):
    """Loss and gradient of each row; `targets` are labels where the operation says so, else of the logits' shape."""
    cdef bint labelled = operation.endswith("_labels")
    cdef str call = operation.removesuffix("_labels")
    cdef cnp.ndarray x = as_numbers(call, "logits", logits), y = None, labels = None, losses, gradient
    cdef Layout layout
    cdef Py_ssize_t rows
    if reduction not in REDUCTIONS:
        raise ValueError(f"fastact.{call}: unknown reduction {reduction!r}; accepted are {', '.join(REDUCTIONS)}")
    if x.ndim == 0:
        raise np.exceptions.AxisError(f"fastact.{call}: logits has no dimension; accepted are (..., classes)")
    if isinstance(axis, tuple) or axis is None:
        raise TypeError(f"fastact.{call}: axis must be an integer, got {axis!r}")
    axes = row_axes(call, axis, x.ndim)
    shape = np.shape(x)[:axes[0]] + np.shape(x)[axes[0] + 1:]
    layout = Layout(x, axes)
    kept = layout.shape[:layout.first] + layout.shape[layout.first + 1:]
    order = tuple([k - (k > axes[0]) for k in layout.order if k != axes[0]])
    dtype = x.dtype
    if labelled:
        labels = as_labels(call, argument, targets, shape, np.shape(x)[axes[0]])
        labels = np.ascontiguousarray(labels.transpose(order))
    else:
        y = as_numbers(call, argument, targets)
        if np.shape(y) != np.shape(x):
            accepted = f"{np.shape(x)}" + (f", or {shape} for labels" if "cross_entropy" in call else "")
            raise ValueError(f"fastact.{call}: {argument} has the shape {np.shape(y)}; accepted is {accepted}")
        dtype = np.dtype(np.float32) if has_16_bits(x.dtype) and y.dtype != x.dtype else x.dtype
        y = layout.matrix(rounded(y, dtype))
    rows = product(shape)
    gradient = np.empty(layout.shape, dtype)
    losses = np.zeros(kept if layout.n or reduction == "none" else 0)   # rows without entries may be too many to count
    if layout.n:
        (<RowOperation> loss_operations[operation]).run(
            layout.matrix(x.astype(dtype, copy=False)), y, gradient, losses, None,
            1 / <double> rows if reduction == "mean" and rows else 1, labels, layout.outer, layout.n, layout.inner)
    gradient = rounded(gradient, x.dtype) if dtype != x.dtype else gradient
    if reduction == "none":
        return rounded(reorder(losses, order), x.dtype)[()], layout.restore(gradient, x.ndim)
    if reduction == "mean" and not rows:
        total = np.float64(np.nan)              # as NumPy's mean, without its warning
    else:
        total = sum_over(losses, tuple(range(losses.ndim)), rows if reduction == "mean" else 1)
    return rounded(total, x.dtype)[()], layout.restore(gradient, x.ndim)
