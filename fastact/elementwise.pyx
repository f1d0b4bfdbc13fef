"""Elementwise activations: an activation of each number by itself.

A call on plain arrays (_engine/formats.pxd) without keywords goes directly to the kernels, which costs a fraction of a
NumPy call.  Every other call is checked, its parameters are bound, and it goes through a NumPy ufunc made of the same
kernels.

At a kink the kernels have the right-hand derivative.  `Kinked`, an activation of which another one is wanted, puts it
there afterwards (_kink_slopes.pyx).
"""

cimport numpy as cnp
from cpython.object cimport PyObject

from operator import methodcaller
from types import MappingProxyType

import numpy as np

from fastact._activation cimport (
    Activation, PyVectorcall_NARGS, are_keywords, as_float, call_generally, common_dtype, fastact_enable_vectorcall,
    has_16_bits, refuse_masked, replace_method, rounded, unknown_argument, working_dtype)
from fastact._domains cimport in_words
from fastact._engine.elementwise cimport KernelSet, Numbers
from fastact._kink_slopes cimport Kinks, corrected, sides_of
from fastact._layout cimport sum_over
from fastact._ufunc_calls cimport Parameters, bits_of, call_ufunc

from fastact._activation import ACCEPTED, make_signature
from fastact._isa import KERNELS, elementwise_kernels
from fastact._kink_slopes import RIGHT
from fastact._ufunc_calls import UFUNC_KEYWORDS

cnp.import_array()


def no_kinks(**parameters):
    return ()


cdef class Elementwise(Activation):
    """An activation of each number by itself: value, derivative and backward.

    Each mode is a NumPy ufunc too (`ufuncs`), so that everything that NumPy's functions take is taken here:
    broadcasting, ``out=``, ``where=``, any strides and byte order, scalars and lists, and objects with
    ``__array_ufunc__``.

    Attributes
    ----------
    ufuncs : mapping
        Mode to NumPy ufunc.
    learnt : tuple of str
        The parameters of which there is a gradient, `backward_parameter`.
    ulp : mapping
        The largest error promised of "value" and "derivative", in units in the last place, for either dtype and every
        input, the parameters having their defaults as numbers of the dtype; without fused multiply-add (x86-64-v2),
        twice as much. "derivative_in_beta" is the same of the derivative in the parameter beta.
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
    sides : tuple of str
        Of each kink, where the derivative jumps: whether it is the "right"-hand one there, as in the catalogue, the
        "left"-hand one or their "mean".
    """

    cdef readonly object ufuncs, ulp, value_zero, derivative_zero, parameter_domain, output_domain
    cdef readonly tuple learnt, sides
    cdef object jumps               # of the parameters: of each kink, x and the derivatives on its left and right
    cdef object (*vectorcall)(object, PyObject* const*, size_t, PyObject*)
    cdef KernelSet value_mode, derivative_mode, backward_mode, from_output_mode, both_mode
    cdef dict parameter_modes       # of each parameter in `learnt`
    cdef Parameters known
    cdef Elementwise origin         # of the catalogue, if this one has other defaults
    cdef double cost
    cdef bint output_suffices       # for a derivative with the defaults

    def __cinit__(self, str name, *, double cost, ulp=(),
                  value_zero=None, derivative_zero=None, parameter_domain=(), output_domain=(),
                  kinks=no_kinks, tuple sides=None, Elementwise origin=None, **description):
        self.known = Parameters("fastact.Elementwise", self.parameters, parameter_domain)
        self.parameter_domain = self.known.domains
        self.output_domain = MappingProxyType(dict(output_domain))
        self.output_suffices = all([
            domain[0] <= self.parameters[one] <= domain[1] for one, domain in self.output_domain.items()])
        self.value_zero = value_zero
        self.derivative_zero = derivative_zero
        self.jumps = kinks
        self.sides = (RIGHT,) * len(kinks(**self.parameters)) if sides is None else sides
        self.cost = cost
        self.origin = origin
        self.vectorcall = call_value
        fastact_enable_vectorcall(self, &self.vectorcall)
        if origin is None:
            self._make_modes(name, cost)
        else:
            self.ufuncs = origin.ufuncs
            self.value_mode, self.derivative_mode, self.both_mode = (
                origin.value_mode, origin.derivative_mode, origin.both_mode)
            self.backward_mode, self.from_output_mode, self.parameter_modes = (
                origin.backward_mode, origin.from_output_mode, origin.parameter_modes)
        self.learnt = tuple(self.parameter_modes)
        self.ulp = MappingProxyType({"value": 1.5, "derivative": 2.0,
                                     **{f"derivative_in_{one}": 1.5 for one in self.learnt}, **dict(ulp)})
        self.keeps = "output" if self.from_output_mode is not None and self.output_suffices else "x"

    cdef _make_modes(self, str name, double cost):
        if len(self.parameters) != KERNELS.PARAMETERS.get(name, -1):
            raise ValueError(
                f"fastact.Elementwise: name is {name!r} with {len(self.parameters)} parameters; accepted are the "
                f"compiled formulas, with theirs: write {name} and {name}_derivative into "
                f"fastact/_math/formulas.pxd, and build again (python setup.py build_ext --inplace)")
        self.value_mode = self._mode("value", 1, 1, cost)
        self.derivative_mode = self._mode("derivative", 1, 1, cost)
        self.backward_mode = self._mode("backward", 2, 1, cost)
        self.both_mode = self._mode("value_and_derivative", 1, 2, cost)
        modes = {"value": self.value_mode, "derivative": self.derivative_mode, "backward": self.backward_mode,
                 "value_and_derivative": self.both_mode}
        if f"{name}.backward_from_output.float" in KERNELS.KERNELS:
            modes["backward_from_output"] = self.from_output_mode = self._mode("backward_from_output", 2, 1, cost)
        self.parameter_modes = {
            one: self._mode(f"backward_{one}", 2, 1, cost) for one in self.parameters
            if f"{name}.backward_{one}.float" in KERNELS.KERNELS}
        modes.update({f"backward_{one}": mode for one, mode in self.parameter_modes.items()})
        self.ufuncs = MappingProxyType({mode: (<KernelSet> modes[mode]).ufunc for mode in modes})

    def _mode(self, str mode, int inputs, int outputs, double cost):
        name = self.name if mode == "value" else f"{self.name}_{mode}"
        return KernelSet(elementwise_kernels(f"{self.name}.{mode}"), name,
                         f"The ufunc of fastact.{self.name}, {mode}: {self.summary}", inputs, len(self.parameters),
                         outputs, cost, (1,) * len(self.parameters), copies=name == "identity")

    def with_defaults(self, *, kinks=None, **parameters):
        """with_defaults(*, parameter=number, kinks=None): the same activation, with other defaults for its parameters.

        Parameters
        ----------
        kinks : str or sequence of str, optional
            The derivative at the kinks, one of "left", "right" and "mean" for all of them or for each. The methods have
            it, while `ufuncs` keep the right-hand one. From the output it is that of the flat side, 0, where there is
            one: such a value has several arguments.
        **parameters : float
            The new defaults; a parameter that is not named keeps its own.

        Returns
        -------
        Elementwise
            On the same kernels and ufuncs; the object itself, or that of the catalogue, if it has these defaults. Two
            are equal if their names, their defaults and their `sides` are.

        Raises
        ------
        TypeError
            If a parameter is unknown, or its default no number.
        ValueError
            If a default is outside of `parameter_domain`, or `kinks` is none of these words.
        """
        cdef str call = f"{self.name}.with_defaults"
        merged = self.known.replaced(call, parameters, ("kinks",))
        sides = self.sides if kinks is None else sides_of(call, kinks, len(self.sides))
        for there in self, self.origin:
            if there is not None and bits_of(merged) == bits_of(there.parameters) and sides == there.sides:
                return there
        return (Elementwise if set(sides) <= {RIGHT} else Kinked)(
            self.name, summary=self.summary, formula=self.formula, derivative_formula=self.derivative_formula,
            source=self.source, parameters=merged, cost=self.cost, ulp=self.ulp, value_zero=self.value_zero,
            derivative_zero=self.derivative_zero, parameter_domain=self.parameter_domain,
            output_domain=self.output_domain, kinks=self.jumps, sides=sides, origin=self.origin or self)

    def __eq__(self, other):
        return (isinstance(other, Elementwise) and (self.name, self.sides) == (other.name, other.sides)
                and bits_of(self.parameters) == bits_of(other.parameters))

    def __hash__(self):
        return hash(self.name)

    def __reduce__(self):
        if self.origin is None:
            return self.name
        return methodcaller("with_defaults", kinks=self.sides, **self.parameters), (self.origin,)

    @property
    def kinks(self):
        """The pairs of x and the derivative there where the derivative jumps, for the defaults."""
        return self._kinks().pairs()

    cdef Kinks _kinks(self):
        value = None if self.from_output_mode is None else self.value_mode.ufunc
        return Kinks(self.parameters, self.sides, self.jumps, value)

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
        learnt = "".join(f"\n{self.name}.backward_parameter(dy, x{names}, name={name!r}) : the gradient in {name}"
                         for name in self.learnt)
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
{self.name}.value_and_derivative(x{names}) : both in one pass{learnt}

Notes
-----
Source: {self.source}.
"""

    def __call__(self, *arguments, **keywords):
        return self._call("", self.value_mode, ("x",), arguments, keywords)

    def derivative(self, *arguments, **keywords):
        """derivative($self, x, *parameters, out=None, where=True, **keywords)
--

        The derivative at `x`; at a kink that of `kinks`, in the catalogue the right-hand one.

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
        cdef KernelSet mode = self.backward_mode
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

    def backward_parameter(self, dy, x, *parameters, name=None, **keywords):
        """backward_parameter($self, dy, x, *parameters, name=None, **keywords)
--

        The gradient with respect to a parameter that is learnt, one of `learnt`.

        Parameters
        ----------
        dy : array_like
            Gradient with respect to the value.
        x : array_like
            What the value was computed of.
        *parameters : array_like, optional
            Those of the activation, by position or by name; an only one also as ``parameter=``.
        name : str, optional
            The parameter whose gradient is wanted. It may be left out if only one is learnt.

        Returns
        -------
        ndarray or scalar
            Of the shape of the parameter: ``dy`` times the derivative in it, summed over all that one of its entries
            was broadcast to. The sum is rounded once, whatever the order and the layout of the arrays.

        Raises
        ------
        TypeError
            If a dtype is not supported, an array is masked, an argument is unknown, or no parameter is learnt.
        ValueError
            If the parameter is not learnt, several are and none is named, the shapes do not broadcast, or a parameter
            is not among the accepted numbers.
        """
        cdef str call = self.name + ".backward_parameter"
        if not self.learnt:
            raise TypeError(f"fastact.{call}: {self.name} has no parameter that is learnt; accepted are activations "
                            f"with `learnt`, as prelu")
        if name is None and len(self.learnt) == 1:
            name, = self.learnt
        if name not in self.learnt:
            raise ValueError(f"fastact.{call}: name is {name!r}; accepted are {', '.join(self.learnt)}")
        if len(self.parameters) == 1 and "parameter" in keywords:
            keywords[name] = keywords.pop("parameter")
        if len(parameters) > len(self.parameters):
            raise TypeError(f"fastact.{call}: got {len(parameters)} parameters by position, accepted are at most "
                            f"{len(self.parameters)}: {', '.join(self.parameters)}")
        given = dict(zip(self.parameters, parameters))
        for one in keywords:
            if one not in self.parameters:
                raise unknown_argument(call, one, ["dy", "x", *self.parameters, "name"])
            if one in given:
                raise TypeError(f"fastact.{call}: got two values for the argument {one}")
        given.update(keywords)
        given = {one: default if given.get(one) is None else given[one] for one, default in self.parameters.items()}
        for one, value in {"dy": dy, "x": x, **given}.items():
            refuse_masked(call, one, value)
        if type(dy) in (int, float):        # a Python number takes the dtype of x
            x = np.asarray(x)
            dy = rounded(as_float(call, "dy", dy), working_dtype(call, "x", x.dtype))
        dy, x = np.asarray(dy), np.asarray(x)
        ufunc_keywords, dtype = {"order": "C"}, None
        if has_16_bits(dy.dtype) and has_16_bits(x.dtype):      # the sum alone is rounded to 16 bits
            ufunc_keywords["dtype"], dtype = np.float32, common_dtype(dy.dtype, x.dtype)
        terms = np.asarray(self._call_ufunc(call, self.parameter_modes[name], ("dy", "x"), (dy, x, *given.values()),
                                            ufunc_keywords))
        shape = np.shape(given[name])
        lengths = (1,) * (terms.ndim - len(shape)) + shape
        summed = tuple([k for k in range(terms.ndim) if lengths[k] == 1])
        return rounded(sum_over(terms, summed), dtype or terms.dtype).reshape(shape)[()]

    # The fast path if the arguments are plain, else the general one
    cdef object _call(self, str method, KernelSet mode, tuple arrays, tuple arguments, dict keywords):
        cdef PyObject* given[2]
        cdef Numbers numbers
        cdef dict parameters = dict(zip(self.parameters, arguments[len(arrays):]))
        parameters.update({name: keywords[name] for name in keywords if name in self.parameters})
        if (len(arrays) <= len(arguments) <= len(arrays) + len(self.parameters)
                and len(arguments) + len(keywords) - ("out" in keywords) == len(arrays) + len(parameters)
                and (mode is not self.from_output_mode or self.output_suffices and not parameters)
                and self.known.are_numbers(parameters, &numbers)):
            given[0], given[1] = <PyObject*> arguments[0], <PyObject*> arguments[len(arrays) - 1]
            result = mode.call_plain(given, keywords.get("out"), &numbers)
            if result is not None:
                return result
        return self._call_ufunc(self.name + method, mode, arrays, arguments, keywords)

    cdef object _call_ufunc(self, str call, KernelSet mode, tuple arrays, tuple arguments, dict keywords):
        return call_ufunc(call, mode, arrays, self.known, arguments, keywords,
                          self.output_domain if mode is self.from_output_mode else None)


cdef object value_by_def = Elementwise.__call__
cdef object derivative_by_def = Elementwise.derivative
cdef object both_by_def = Elementwise.value_and_derivative
cdef object backward_by_def = Elementwise.backward
cdef object parameter_by_def = Elementwise.backward_parameter


# f(x) and f(x, out=y) of plain arrays; all other calls take the general path.  The keywords' values follow those by
# position, so that backward(dy, output=y) has its two arrays side by side, as backward(dy, x) has.
cdef inline object call_mode(Elementwise self, KernelSet mode, object method, PyObject* const* arguments,
                             Py_ssize_t count, PyObject* names):
    result = None
    if count == 1 and names == NULL:
        result = mode.call_plain(arguments, None, &self.known.numbers)
    elif count == 1 and are_keywords(names, "out"):
        result = mode.call_plain(arguments, <object> arguments[1], &self.known.numbers)
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
        result = self.backward_mode.call_plain(arguments, None, &self.known.numbers)
    elif count == 2 and are_keywords(names, "out"):
        result = self.backward_mode.call_plain(arguments, <object> arguments[2], &self.known.numbers)
    elif from_output and are_keywords(names, "output"):
        result = self.from_output_mode.call_plain(arguments, None, &self.known.numbers)
    elif from_output and are_keywords(names, "output", "out"):
        result = self.from_output_mode.call_plain(arguments, <object> arguments[2], &self.known.numbers)
    return call_generally(backward_by_def, self, arguments, count, names) if result is None else result


cdef object call_backward_parameter(object self, PyObject* const* arguments, Py_ssize_t count, PyObject* names):
    return call_generally(parameter_by_def, self, arguments, count, names)


replace_method(Elementwise, "derivative", <void*> call_derivative)
replace_method(Elementwise, "value_and_derivative", <void*> call_both)
replace_method(Elementwise, "backward", <void*> call_backward)
replace_method(Elementwise, "backward_parameter", <void*> call_backward_parameter)


cdef class Kinked(Elementwise):
    """An activation with another derivative than the right-hand one at some of its kinks.

    The kinks are found before the kernel writes, since it may write over its arguments.
    """

    cdef Kinks at_kinks

    def __cinit__(self, *arguments, **description):
        self.at_kinks = self._kinks()

    def __repr__(self):
        return f"{super().__repr__().removesuffix('>')} {self._in_words()}>"

    @property
    def __doc__(self):
        return Elementwise.__dict__["__doc__"].__get__(self).replace(
            "\n\nParameters\n", f"\n\n{self._in_words()}\n\nParameters\n", 1)

    cdef str _in_words(self):
        return f"The derivative is {' and '.join([f'{slope:g} at {x:g}' for x, slope in self.kinks])}."

    def derivative(self, *arguments, **keywords):
        """derivative($self, x, *parameters, out=None, where=True, **keywords)
--

        As of any `Elementwise`; at a kink that of `kinks`.
        """
        return self._corrected(derivative_by_def, ("x",), arguments, keywords)

    def value_and_derivative(self, *arguments, **keywords):
        """value_and_derivative($self, x, *parameters, out=(None, None), where=True, **keywords)
--

        As of any `Elementwise`; at a kink the derivative is that of `kinks`.
        """
        return self._corrected(both_by_def, ("x",), arguments, keywords)

    def backward(self, *arguments, **keywords):
        """backward($self, dy, x=None, *parameters, output=None, out=None, where=True, **keywords)
--

        As of any `Elementwise`; at a kink ``dy`` times the derivative of `kinks`.
        """
        arrays = ("dy", "x") if keywords.get("output") is None else ("dy", "output")
        return self._corrected(backward_by_def, arrays, arguments, keywords)

    cdef object _corrected(self, object method, tuple arrays, tuple arguments, dict keywords):
        try:
            found = self.at_kinks.find(arrays, arguments, keywords)
        except (TypeError, ValueError, OverflowError):
            method(self, *arguments, **keywords)        # refuses the arguments in its own words
            raise
        return corrected(method(self, *arguments, **keywords), found)


cdef object kinked_derivative_by_def = Kinked.derivative
cdef object kinked_both_by_def = Kinked.value_and_derivative
cdef object kinked_backward_by_def = Kinked.backward


cdef object call_kinked_derivative(object self, PyObject* const* arguments, Py_ssize_t count, PyObject* names):
    return call_generally(kinked_derivative_by_def, self, arguments, count, names)


cdef object call_kinked_both(object self, PyObject* const* arguments, Py_ssize_t count, PyObject* names):
    return call_generally(kinked_both_by_def, self, arguments, count, names)


cdef object call_kinked_backward(object self, PyObject* const* arguments, Py_ssize_t count, PyObject* names):
    if (not (<Kinked> self).at_kinks.from_output and count == 1
            and (are_keywords(names, "output") or are_keywords(names, "output", "out"))):
        return call_backward(self, arguments, count, names)
    return call_generally(kinked_backward_by_def, self, arguments, count, names)


replace_method(Kinked, "derivative", <void*> call_kinked_derivative)
replace_method(Kinked, "value_and_derivative", <void*> call_kinked_both)
replace_method(Kinked, "backward", <void*> call_kinked_backward)
