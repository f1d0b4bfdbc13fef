"""The base class of the activations, and what their modules share: dtypes, checks of arguments, the calling convention.
"""

cimport numpy as cnp

import difflib
import inspect
from functools import update_wrapper
from types import MappingProxyType

import numpy as np

from fastact._engine.formats cimport format_of, is_bfloat16

from fastact._engine.runtime import give_up_buffers

cnp.import_array()

cdef extern from "Python.h":
    PyObject* Py_TYPE(PyObject* instance)
    int PyObject_HasAttrString(PyObject* instance, const char* name) noexcept
    object PyObject_Vectorcall(object function, PyObject* const* arguments, size_t count, PyObject* names)
    object PyVectorcall_Call(object function, object arguments, object keywords)

cdef extern from "_vectorcall.h":
    ctypedef struct PyTypeObject:
        pass
    int fastact_replace_method(PyTypeObject* type, const char* name, const char* doc, void* function) except -1

# What other libraries call an argument
SYNONYMS = {"dim": "axis", "axes": "axis", "keepdim": "keepdims", "mask": "where", "tau": "temperature",
            "input": "x", "grad": "dy", "grad_output": "dy"}
ACCEPTED = "float16, bfloat16, float32 and float64 (bool and integers are computed in float64)"
KINDS = """\
Results are of the kind of the arguments: those of pandas and xarray keep their labels, and those of dask are lazy. If
there is an `axis`, it may be the name of theirs: "columns", or a dimension of xarray, as `axis` or as `dim`. Tensors of
PyTorch are passed to the function of this name in `fastact.torch`, if it has one."""


# The dtype of the result for values of `dtype`
cpdef object working_dtype(str call, str argument, object dtype):
    if dtype.kind in "biu":
        return np.dtype(np.float64)
    if dtype.kind == "f" and dtype.itemsize in (2, 4, 8):
        return dtype.newbyteorder("=")
    if dtype.kind == "V" and is_bfloat16(dtype):
        return dtype
    raise TypeError(f"fastact.{call}: {argument} has the dtype {dtype}; accepted are {ACCEPTED}")


cpdef bint has_16_bits(object dtype):
    return dtype.itemsize == 2 and dtype.kind not in "biu"


# The common dtype of two; NumPy has none for float16 and bfloat16.
cdef object common_dtype(object a, object b):
    if a is b and a.isnative:
        return a
    return np.dtype(np.float32) if a != b and has_16_bits(a) and has_16_bits(b) else np.result_type(a, b)


cdef object unknown_argument(str call, object name, object accepted):
    name = str(name)
    similar = [SYNONYMS[name]] if SYNONYMS.get(name) in accepted else difflib.get_close_matches(name, accepted, 1)
    hint = f"; did you mean {similar[0]}?" if similar else ";"
    return TypeError(f"fastact.{call}: unknown argument {name}{hint} accepted are {', '.join(accepted)}")


# A Python or NumPy number as the float that it is
cdef double as_float(str call, str name, object number) except? -1:
    try:
        return number
    except OverflowError:
        raise ValueError(f"fastact.{call}: {name} is an integer of {number.bit_length()} bits; accepted is what "
                         f"float64 can hold") from None


# The masked entries of a masked array would be computed like all others.
cdef int refuse_masked(str call, str argument, object value) except -1:
    if not cnp.PyArray_CheckExact(value) and isinstance(value, np.ma.MaskedArray):
        raise TypeError(f"fastact.{call}: {argument} is a masked array; accepted is an array, and "
                        "where=~mask in what takes where=")
    return 0


# Any argument as a native array of a working dtype
cpdef cnp.ndarray as_numbers(str call, str argument, object value):
    if (cnp.PyArray_CheckExact(value) and format_of(<cnp.ndarray> value) >= 0
            and cnp.PyArray_ISNOTSWAPPED(<cnp.ndarray> value)):
        return value
    refuse_masked(call, argument, value)
    array = np.asarray(value)
    return array.astype(working_dtype(call, argument, array.dtype), copy=False)


# Checks that a result of this shape and dtype can be written to `out`.
cpdef int check_out(str call, object out, tuple shape, object dtype) except -1:
    if (cnp.PyArray_CheckExact(out) and out.dtype is dtype and cnp.PyArray_ISWRITEABLE(<cnp.ndarray> out)
            and out.shape == shape):
        return 0
    if not isinstance(out, np.ndarray):
        raise TypeError(f"fastact.{call}: out must be an ndarray, got {type(out).__name__}")
    if out.shape != shape:
        raise ValueError(f"fastact.{call}: out has the shape {out.shape}; accepted is {shape}")
    if not out.flags.writeable:
        raise ValueError(f"fastact.{call}: out is read-only")
    if not np.can_cast(dtype, out.dtype, "same_kind"):
        raise TypeError(f"fastact.{call}: out has the dtype {out.dtype}; accepted is what {dtype} can be cast to")


# Copies a result into a checked `out`.  Rounding to a narrower dtype may overflow or underflow; that is expected, so no
# warning.
cpdef int store(object out, object computed) except -1:
    with np.errstate(all="ignore"):
        np.copyto(out, computed, casting="same_kind")


# Numbers in another dtype.  Rounding may overflow or underflow; that is expected, so no warning.
cpdef object rounded(object numbers, object dtype):
    with np.errstate(all="ignore"):
        return np.asarray(numbers).astype(dtype, order="C")


# A signature: names by position or keyword, then by keyword alone.  A name alone has no default.
def make_signature(either, keywords):
    kinds = inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY
    return inspect.Signature([
        inspect.Parameter(*((entry, kind) if isinstance(entry, str) else (entry[0], kind)),
                          default=inspect.Parameter.empty if isinstance(entry, str) else entry[1])
        for kind, entries in zip(kinds, (either, keywords)) for entry in entries])


# The attribute that `inspect.signature` reads from an instance.  A property would also be found on the class, which has
# another signature.
class SignatureOfInstance:
    def __get__(self, instance, owner):
        if instance is None:
            raise AttributeError("__signature__")
        return instance._signature()


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
    keeps : {"x", "output"}
        What `backward` needs besides `dy`, and a forward pass therefore keeps: its argument or its result.
    """

    __signature__ = SignatureOfInstance()

    # Not __init__, so that no object exists without its kernels.
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


# ------------------------------------------------------------------------------------------------ calling convention

# The general path: the method of the class definition, with a tuple and a dict
cdef object call_generally(object method, object self, PyObject* const* arguments, Py_ssize_t count, PyObject* names):
    result = in_kind(self, method, arguments, count, names)
    if result is not NotImplemented:
        return result
    positional, keywords = as_given(arguments, count, names)
    try:
        return method(self, *positional, **keywords)
    except MemoryError:         # a retry without the kept memory, unless something may have been written
        if keywords.get("out") is not None or not give_up_buffers():
            raise
    return method(self, *positional, **keywords)


cdef tuple as_given(PyObject* const* arguments, Py_ssize_t count, PyObject* names):
    cdef Py_ssize_t k
    return tuple([<object> arguments[k] for k in range(count)]), {} if names == NULL else {
        name: <object> arguments[count + k] for k, name in enumerate(<tuple> <object> names)}


cdef object call_in_kind = None         # of _kinds.py, which knows the libraries


def use_kinds(function):
    """Set the function that makes calls with arrays of other libraries."""
    global call_in_kind
    call_in_kind = function


# Whether an argument may be an array of another library
cdef inline bint is_foreign(PyObject* argument) noexcept:
    return not (argument == <PyObject*> None or cnp.PyArray_Check(<object> argument)
                or cnp.PyArray_IsAnyScalar(<object> argument)) and PyObject_HasAttrString(
                    <PyObject*> Py_TYPE(argument), "__array__")


# A call with arrays of other libraries; NotImplemented, if there are none or NumPy converts them.  `method` is that of
# the class definition; None if `owner` is a function.
cdef object in_kind(object owner, object method, PyObject* const* arguments, Py_ssize_t count, PyObject* names):
    cdef Py_ssize_t k
    for k in range(count + (0 if names == NULL else PyTuple_GET_SIZE(names))):
        if is_foreign(arguments[k]):
            return call_in_kind(owner, "__call__" if method is None else method.__name__,
                                *as_given(arguments, count, names))
    return NotImplemented


cdef class Function:
    """A public function that is no activation: it is called, described and pickled as the Python function is."""

    cdef object function
    cdef dict __dict__
    cdef object (*vectorcall)(object, PyObject* const*, size_t, PyObject*)

    def __cinit__(self, function, *others):
        self.function = function
        self.vectorcall = call_function
        fastact_enable_vectorcall(self, &self.vectorcall)
        update_wrapper(self, function)
        if function.__doc__:
            self.__doc__ = inspect.cleandoc(function.__doc__).replace("\nParameters\n", f"\n{KINDS}\n\nParameters\n", 1)

    def __call__(self, *arguments, **keywords):
        return PyVectorcall_Call(self, arguments, keywords)

    def __repr__(self):
        return f"<fastact.{self.__qualname__}>"

    def __reduce__(self):
        return self.__qualname__


def keeps_kind(function):
    """Decorate a function that gives back the kind of array that it is given."""
    return Function(function)


cdef object call_function(object function, PyObject* const* arguments, size_t count, PyObject* names):
    result = in_kind(function, None, arguments, PyVectorcall_NARGS(count), names)
    if result is not NotImplemented:
        return result
    return PyObject_Vectorcall((<Function> function).function, arguments, count, names)


cdef list documentation = []             # the bytes that replaced methods point to


# Replaces a method of a class by a function; the documentation stays.
cdef int replace_method(object owner, str name, void* function) except -1:
    cdef bytes name_bytes = name.encode(), text = getattr(owner, name).__doc__.encode()
    documentation.extend((name_bytes, text))
    fastact_replace_method(<PyTypeObject*> owner, name_bytes, text, function)
    return 0
