"""Calls of activations that are NumPy ufuncs: their parameters, and the checks that NumPy does not make."""

cimport numpy as cnp

from collections.abc import Mapping
from numbers import Real
from types import MappingProxyType

import numpy as np

from fastact._activation cimport as_float, rounded, unknown_argument, working_dtype
from fastact._domains cimport check_domain, with_float32_ends
from fastact._engine.elementwise cimport KernelSet, Numbers
from fastact._engine.formats cimport is_bfloat16
from fastact._engine.runtime cimport fastact_nearest_float

from fastact._activation import ACCEPTED

cnp.import_array()

# NumPy 1 promoted float32 scalars to float64 beside any Python number.
LOOKS_AT_VALUES = np.__version__.startswith("1.")
UFUNC_KEYWORDS = MappingProxyType({          # with NumPy's defaults
    "out": None, "where": True, "casting": "same_kind", "order": "K", "dtype": None, "subok": True, "signature": None})
WHOLE_LINE = (-np.inf, np.inf)
cdef object LARGEST = 2**1023           # of the integers that become floats without a check
cdef str FROM_OUTPUT = " for a gradient from the output; for others pass x"


# Whether values of `dtype` are computed as float32
cdef bint is_narrow(object dtype):
    return isinstance(dtype, np.dtype) and (dtype.kind == "f" and dtype.itemsize in (2, 4) or is_bfloat16(dtype))


# The dtype of an argument, if it has one.  That of a DataFrame or a Dataset, which has several, is float32 if all of
# them are computed so: pandas and xarray call the ufunc for each.
cdef object dtype_of(object value):
    dtype = getattr(value, "dtype", None)
    if dtype is None and hasattr(value, "dtypes"):
        dtypes = set(value.dtypes.values() if isinstance(value.dtypes, Mapping) else value.dtypes)
        if dtypes and all([is_narrow(one) for one in dtypes]):
            return dtypes.pop() if len(dtypes) == 1 else np.dtype(np.float32)
    return dtype


cdef class Parameters:
    """The parameters of an activation: their defaults, as objects and as numbers of either dtype, and their domains."""

    def __cinit__(self, str owner, object defaults, object domains):
        cdef int k
        domains = dict(domains)
        if not domains.keys() <= defaults.keys():
            raise ValueError(f"{owner}: parameter_domain names {', '.join(domains)}; accepted are "
                             f"{', '.join(defaults) or 'none'}")
        self.defaults = defaults
        self.domains = MappingProxyType({
            one: with_float32_ends(domains.get(one, WHOLE_LINE)) for one in defaults})
        for k, default in enumerate(defaults.values()):     # here: calls may come in any rounding mode
            self.numbers.as_double[k] = default
            self.numbers.as_float[k] = <float> self.numbers.as_double[k]

    # Whether these parameters, by name, are numbers in their domains.  Then `numbers` holds them and the defaults.
    cdef bint are_numbers(self, dict given, Numbers* numbers) except *:
        cdef int k
        numbers[0] = self.numbers
        for k, name in enumerate(self.defaults):
            if name not in given:
                continue
            number = given[name]
            if type(number) is not float and (type(number) is not int or abs(number) > LARGEST):
                return False
            numbers.as_double[k] = number
            numbers.as_float[k] = fastact_nearest_float(numbers.as_double[k])
            for rounded_number in (numbers.as_double[k], numbers.as_float[k]):
                if not is_inside(self.domains[name], rounded_number):
                    return False
        return True

    # The defaults with others for some, which are checked.  `others`: what the caller accepts besides.
    cdef dict replaced(self, str call, dict given, tuple others=()):
        for name, default in given.items():
            if name not in self.defaults:
                raise unknown_argument(call, name, [*self.defaults, *others] or ["none"])
            if not isinstance(default, Real):
                raise TypeError(f"fastact.{call}: {name} must be a number, got {type(default).__name__}")
            check_domain(call, name, self.domains[name], as_float(call, name, default))
        return {name: float(given.get(name, default)) for name, default in self.defaults.items()}


# Defaults to compare: 0 and -0 are two, NaN is itself.
cdef list bits_of(object parameters):
    return [default.hex() for default in parameters.values()]


cdef bint is_inside(tuple domain, double number):
    return domain[0] <= number <= domain[1] and number not in domain[2:]


# Calls the ufunc of a mode.  `arrays` names its inputs; they and the parameters come by position or by name.
# `output_domains`: the numbers that a gradient from the output accepts, which are fewer.
cdef object call_ufunc(str call, KernelSet mode, tuple arrays, Parameters parameters, tuple arguments, dict keywords,
                       object output_domains=None):
    cdef tuple names = arrays + tuple(parameters.defaults)
    cdef list values = list(arguments), scalars = [], defaults = []
    cdef bint integers = False
    if len(arguments) > len(names):
        raise TypeError(f"fastact.{call}: got {len(arguments)} positional arguments, accepted are at most "
                        f"{len(names)}: {', '.join(names)}")
    for name in names[len(arguments):]:
        if name in keywords:
            values.append(keywords.pop(name))
        elif name in parameters.defaults:
            defaults.append(len(values))
            values.append(parameters.defaults[name])
        else:
            raise TypeError(f"fastact.{call}: the argument {name} is missing; accepted are {', '.join(names)}")
    for name in "dtype", "signature":       # for NumPy None is a value, and both of them are a conflict
        if name in keywords and keywords[name] is None:
            del keywords[name]
    for name in keywords:
        if name in names:
            raise TypeError(f"fastact.{call}: got two values for the argument {name}")
        if name not in UFUNC_KEYWORDS:
            raise unknown_argument(call, name, [*names, *UFUNC_KEYWORDS])
    values[:len(arrays)] = alike(call, arrays, values[:len(arrays)])
    for k, name in enumerate(names):
        if values[k] is None and k >= len(arrays):
            values[k] = parameters.defaults[name]
        if not hasattr(values[k], "dtype") and not hasattr(values[k], "__array_ufunc__"):
            if k >= len(arrays) and type(values[k]) in (int, float):
                values[k] = as_float(call, name, values[k])
                scalars.append(k)           # takes the dtype of the arrays
                if k not in defaults:
                    check_domain(call, name, parameters.domains[name], values[k])
                continue
            values[k] = np.asarray(values[k])
        dtype = getattr(values[k], "dtype", None)
        if isinstance(dtype, np.dtype):     # not pandas' own: its objects call back with ndarrays
            integers |= working_dtype(call, name, dtype).kind != dtype.kind
        if k >= len(arrays):
            check_domain(call, name, parameters.domains[name], values[k])
    for name, domain in (output_domains or {}).items():
        check_domain(call, name, domain, values[names.index(name)], None, FROM_OUTPUT)
    dtypes = [dtype_of(value) for k, value in enumerate(values) if k not in scalars]
    if (parameters.defaults and "dtype" not in keywords and "signature" not in keywords
            and all([is_narrow(dtype) for dtype in dtypes])):
        for k in scalars:
            shown, values[k] = values[k], np.float32(fastact_nearest_float(values[k]))
            if k not in defaults:
                check_domain(call, names[k], parameters.domains[names[k]], values[k], shown)
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
        values = [copied_if_overlapping(value, outs) for value in values]
        keywords["where"] = copied_if_overlapping(keywords["where"], outs)
    try:
        return mode.ufunc(*values, **keywords)
    except (TypeError, ValueError):
        for name, value in zip(names, values):
            refuse_kind(call, name, value)
        raise


# The inputs; a Python number takes the dtype of the first that is none.
cdef list alike(str call, tuple names, list values):
    cdef int k, j = 0
    while j < len(values) and type(values[j]) in (int, float):
        j += 1
    if j == len(values):
        return values
    other = values[j]
    for k in range(len(values)):
        if type(values[k]) in (int, float):
            dtype = getattr(other if hasattr(other, "dtype") else np.asarray(other), "dtype", None)
            if isinstance(dtype, np.dtype):
                values[k] = rounded(as_float(call, names[k], values[k]), working_dtype(call, names[j], dtype))
    return values


# Raises TypeError if an object of another library, which the ufunc has refused, holds no numbers; else returns.
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


# A copy of an array that shares memory with an output.  With a mask and a cast NumPy (2.4) makes such copies too late:
# it reads a mask that it has overwritten, and changes elements of `out` that the mask excludes.
cdef object copied_if_overlapping(object value, list outs):
    if isinstance(value, np.ndarray) and any([np.may_share_memory(value, out) for out in outs]):
        return value.copy()
    return value
