"""The C interface: functions on contiguous memory, which need no GIL and no arrays.  capi.pxd describes them.

An operation holds what a call would otherwise look up: of an elementwise function its kernel, of a function of rows the
operations of the engine.

`_C_API` is a capsule with the addresses of the C functions.
"""

cimport numpy as cnp
from cpython.object cimport PyObject
from cpython.pycapsule cimport PyCapsule_New
from libc.math cimport INFINITY, NAN
from libc.stdlib cimport free

from fastact._engine.elementwise cimport OPERANDS, Kernel, KernelSet, ufunc_loop
from fastact._engine.formats cimport FORMATS, Format, formats, ufunc_owners
from fastact._engine.rows cimport RowCall, RowOperation, row_call_at
from fastact._engine.runtime cimport allocate, fastact_nearest_float
from fastact._row_calls cimport Factor, set_quotient

from math import inf, nextafter

from fastact._engine.formats import DTYPES
from fastact.catalogue import activations
from fastact.elementwise import Elementwise
from fastact.gated import Gated
from fastact.reduction import RowReduction
from fastact.rowwise import ALPHA_MAX

cnp.import_array()

cdef enum:
    ALPHAS = 8                      # for which entmax has operations of its own, and any other one

# A parameter and its domain
cdef struct Parameter:
    double default
    double low
    double high
    double excluded                 # NaN: no number

# The engine's operations for one alpha of entmax; NaN: for any, and for functions without it
cdef struct Rows:
    double alpha
    PyObject* plain                 # RowOperation
    PyObject* scaled                # with a factor of the logits
    double sign                     # of that factor

# What an address that fastact_operation returns points to
cdef struct Operation:
    const Format* format
    int count                       # of parameters
    Parameter parameters[OPERANDS]
    Kernel* kernel                  # of an elementwise function; NULL: rows
    Rows rows[ALPHAS]
    bint has_alpha
    bint has_factor
    bint reduces                    # one number for each row
    bint backward


cdef dict kernels_of = {one.ufunc: one for one in ufunc_owners}


cdef class Holder:
    """Keeps an operation and the objects that it points to."""

    cdef Operation operation
    cdef object owners

    def __cinit__(self, str name, str mode, int dtype):
        if not 0 <= dtype < FORMATS:
            raise ValueError(f"fastact.capi: dtype is {dtype}; accepted are " + ", ".join(
                [f"{k} ({one})" for k, one in enumerate(DTYPES)]))
        if name not in activations:
            raise ValueError(f"fastact.capi: name is {name!r}; accepted are {', '.join(activations)}")
        if mode not in modes(name):
            raise ValueError(f"fastact.capi: mode is {mode!r}; accepted for {name} are {', '.join(modes(name))}")
        f = activations[name]
        self.operation.format = &formats[dtype]
        self.operation.backward = mode != "value"
        if isinstance(f, (Elementwise, Gated)):
            self.hold_elementwise(f, mode, dtype)
        else:
            self.hold_rows(f, mode)

    cdef hold_elementwise(self, f, str mode, int dtype):
        cdef KernelSet kernels = kernels_of[f.ufuncs[mode]]
        self.owners, self.operation.kernel = kernels, &kernels.kernels[dtype]
        domains = {**f.parameter_domain, **(f.output_domain if mode == "backward_from_output" else {})}
        self.hold_parameters(f, domains)

    cdef hold_rows(self, f, str mode):
        cdef int k
        self.owners = f._operations()
        self.operation.reduces = isinstance(f, RowReduction)
        self.operation.has_alpha, self.operation.has_factor = "alpha" in f.parameters, "scale" in f.parameters
        assert len(self.owners) <= ALPHAS, f"{f.name}: write a larger ALPHAS into fastact/capi.pyx"
        for k, (alpha, modes) in enumerate(self.owners.items()):
            plain, scaled, sign = modes[mode]
            self.operation.rows[k] = Rows(NAN if alpha is None else alpha, <PyObject*> plain, <PyObject*> scaled, sign)
        positive = nextafter(0, 1), nextafter(inf, 0)
        self.hold_parameters(f, {"alpha": (1, ALPHA_MAX), "scale": positive, "temperature": positive})

    cdef hold_parameters(self, f, dict domains):
        self.operation.count = len(f.parameters)
        for k, (one, default) in enumerate(f.parameters.items()):
            low, high, *excluded = domains[one]
            self.operation.parameters[k] = Parameter(default, low, high, excluded[0] if excluded else NAN)


cdef dict holders = {}              # by name, mode and dtype, for ever


def modes(str name):
    """Return the modes in which there is an operation of a function.

    Parameters
    ----------
    name : str
        A key of `fastact.activations`.

    Returns
    -------
    tuple of str
    """
    f = activations[name]
    return tuple(f.ufuncs if isinstance(f, (Elementwise, Gated)) else f._operations()[None])


def operation(str name, str mode, int dtype):
    """Return the address of an operation, for callers of the C functions that have no C: ctypes, Numba.

    Parameters
    ----------
    name : str
        A key of `fastact.activations`.
    mode : str
        One of `modes`.
    dtype : int
        0 for float16, 1 for float32, 2 for float64, 3 for bfloat16.

    Returns
    -------
    int

    Raises
    ------
    ValueError
        If there is no such function, mode or dtype.
    """
    cdef Holder holder
    key = name, mode, dtype
    holder = holders.get(key)
    if holder is None:
        holder = holders.setdefault(key, Holder(name, mode, dtype))
    return <size_t> &holder.operation


cdef const void* fastact_operation(const char* name, const char* mode, int dtype) except NULL:
    cdef size_t address = operation(name.decode(errors="replace"), mode.decode(errors="replace"), dtype)
    return <const void*> address


# Whether a number is in the domain of a parameter; NaN is in every one, as for arrays.
cdef inline bint is_accepted(const Parameter* parameter, double number) noexcept nogil:
    return not (number < parameter.low or number > parameter.high or number == parameter.excluded)


cdef int fastact_run(const void* operation, void** operands, ptrdiff_t n, const double* parameters) noexcept nogil:
    cdef const Operation* self = <const Operation*> operation
    cdef const Format* format
    cdef int k, inputs, others
    cdef char* data[OPERANDS]
    cdef cnp.npy_intp strides[OPERANDS]
    cdef double numbers[OPERANDS]
    cdef float floats[OPERANDS]
    cdef cnp.npy_intp length = n
    if self == NULL or self.kernel == NULL:
        return FASTACT_WRONG_OPERATION
    if n < 0:
        return FASTACT_WRONG_SIZE
    format, inputs, others = self.format, self.kernel.inputs, self.kernel.operands - self.count
    for k in range(self.count):
        numbers[k] = self.parameters[k].default if parameters == NULL else parameters[k]
        floats[k] = fastact_nearest_float(numbers[k])
        if parameters != NULL and not (is_accepted(&self.parameters[k], numbers[k]) and (
                format.number_size == 8 or is_accepted(&self.parameters[k], floats[k]))):
            return FASTACT_WRONG_PARAMETER
        data[inputs + k] = <char*> &floats[k] if format.number_size == 4 else <char*> &numbers[k]
        strides[inputs + k] = 0
    for k in range(others):
        data[k if k < inputs else k + self.count] = <char*> operands[k]
        strides[k if k < inputs else k + self.count] = format.itemsize
    ufunc_loop(data, &length, strides, self.kernel)
    return FASTACT_DONE


# The operations for the alpha of a call
cdef inline const Rows* rows_for(const Operation* self, double alpha) noexcept nogil:
    cdef const Rows* rows = self.rows
    while rows.alpha == rows.alpha and rows.alpha != alpha:     # the last one, NaN, is for any
        rows += 1
    return rows


# Runs an operation on a call whose factor is set.
cdef inline int compute_rows(const Rows* rows, const RowCall* call, Py_ssize_t size) noexcept nogil:
    cdef int failed
    if call.factor == 1:
        failed = (<RowOperation> rows.plain).compute(call, size)
    else:
        failed = (<RowOperation> rows.scaled).compute(call, size)
    return FASTACT_NO_MEMORY if failed else FASTACT_DONE


cdef int fastact_rows(const void* operation, void** operands, ptrdiff_t outer, ptrdiff_t n, ptrdiff_t inner,
                      const double* parameters) noexcept nogil:
    cdef const Operation* self = <const Operation*> operation
    cdef const Rows* rows
    cdef RowCall call
    cdef Factor factor = Factor(1, 0, 1)
    cdef double* scales = NULL
    cdef Py_ssize_t count = outer * inner, k
    cdef int alphas, status
    if self == NULL or self.kernel != NULL:
        return FASTACT_WRONG_OPERATION
    if outer < 0 or n < 0 or inner < 0:
        return FASTACT_WRONG_SIZE
    alphas = 1 if self.has_alpha else 0
    for k in range(self.count):
        if parameters != NULL and not self.parameters[k].low <= parameters[k] <= self.parameters[k].high:
            return FASTACT_WRONG_PARAMETER
    if self.has_alpha:
        factor.alpha = self.parameters[0].default if parameters == NULL else parameters[0]
    rows = rows_for(self, factor.alpha)
    factor.high = rows.sign
    if self.has_factor and parameters != NULL and not set_quotient(
            &factor, rows.sign * parameters[alphas], parameters[alphas + 1]):
        return FASTACT_WRONG_PARAMETER
    if count == 0 or n == 0:
        if self.reduces and not self.backward:
            for k in range(count):
                (<double*> operands[1])[k] = -INFINITY
        return FASTACT_DONE
    call = row_call_at(self.format, <char*> operands[0], outer, n, inner)
    call.factor, call.factor_low, call.alpha = factor.high, factor.low, factor.alpha
    if not self.reduces:
        call.y = <char*> operands[1] if self.backward else NULL
        call.out = <char*> operands[2 if self.backward else 1]
    elif not self.backward:
        call.results = <double*> operands[1]
    else:
        call.x, call.out, call.scales = <char*> operands[1], <char*> operands[2], <const double*> operands[0]
        if factor.high != 1:
            scales = <double*> allocate(count * sizeof(double))
            if scales == NULL:
                return FASTACT_NO_MEMORY
            for k in range(count):
                scales[k] = call.scales[k] * factor.high
            call.scales = scales
    status = compute_rows(rows, &call, outer * n * inner)
    free(scales)
    return status


# ------------------------------------------------------------------------------------------ functions of one number

cdef enum:
    SCALARS_MAX = 256

cdef const void* operations_of_float[SCALARS_MAX]
cdef const void* operations_of_double[SCALARS_MAX]


cdef inline floating compute_number(int index, floating x, const double* parameters) noexcept nogil:
    cdef floating y = <floating> NAN
    cdef void* operands[2]
    operands[0], operands[1] = &x, &y
    if floating is float:
        fastact_run(operations_of_float[index], operands, 1, parameters)
    else:
        fastact_run(operations_of_double[index], operands, 1, parameters)
    return y


include "capi_definitions.pxi"


cdef find_operations(list scalars):
    cdef size_t of_float, of_double
    assert len(scalars) <= SCALARS_MAX, "write a larger SCALARS_MAX into fastact/capi.pyx"
    for k, (name, mode) in enumerate(scalars):
        of_float, of_double = operation(name, mode, FASTACT_FLOAT32), operation(name, mode, FASTACT_FLOAT64)
        operations_of_float[k], operations_of_double[k] = <const void*> of_float, <const void*> of_double


find_operations(SCALARS)

# ---------------------------------------------------------------------------------------------------------- capsule

cdef fastact_api api = fastact_api(FASTACT_VERSION, fastact_operation, fastact_run, fastact_rows)
_C_API = PyCapsule_New(&api, "fastact.capi._C_API", NULL)
