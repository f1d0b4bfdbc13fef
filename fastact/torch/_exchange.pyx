"""Tensors as NumPy arrays on the same memory, and calls of the kernels on that memory.

The fields of a tensor come from `torch.Tensor.__dlpack_c_exchange_api__`, a table of C functions (DLPack 1.3, whose
structs are declared here), at a fifth of the cost of `Tensor.numpy()`, and of bfloat16 too. `Direct` gives them to the
C interface of fastact, without an array; PyTorch allocates the result. Where the attribute is missing, `Tensor.numpy()`
takes its place.
"""

cimport numpy as cnp
from cpython.object cimport PyObject
from cpython.pycapsule cimport PyCapsule_GetPointer, PyCapsule_IsValid
from cpython.ref cimport Py_INCREF
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from fastact._activation cimport PyVectorcall_NARGS, are_keywords, fastact_enable_vectorcall
from fastact._engine.elementwise cimport OPERANDS
from fastact._engine.formats cimport FORMATS
from fastact.capi cimport (
    FASTACT_BFLOAT16, FASTACT_DONE, FASTACT_FLOAT16, FASTACT_FLOAT32, FASTACT_FLOAT64, fastact_operation, fastact_rows,
    fastact_run)

from functools import update_wrapper

import numpy as np
import torch
from torch.autograd import forward_ad

from fastact._engine.runtime import close_block, get_threads, open_block
from fastact._threads import MAX_THREADS
from fastact.rowwise import Rowwise

cnp.import_array()

cdef extern from *:
    """
    #include <stdint.h>

    typedef struct {
        void *data;
        int32_t device_type, device_id, ndim;
        uint8_t code, bits;
        uint16_t lanes;
        int64_t *shape, *strides;
        uint64_t byte_offset;
    } fastact_tensor;

    typedef struct {
        uint32_t major, minor;
        void *previous;
        int (*allocate)(void);              /* the types of what is not called are left out */
        int (*managed_of_object)(void);
        int (*object_of_managed)(void);
        int (*tensor_of_object)(void *, fastact_tensor *);
        int (*stream)(void);
    } fastact_exchange;
    """
    ctypedef struct fastact_tensor:
        void* data
        int32_t device_type, device_id, ndim
        uint8_t code, bits
        uint16_t lanes
        int64_t* shape
        int64_t* strides
        uint64_t byte_offset
    ctypedef struct fastact_exchange:
        uint32_t major
        int (*tensor_of_object)(void*, fastact_tensor*) noexcept

cdef extern from "Python.h":
    object PyObject_CallNoArgs(object)
    object PyObject_CallOneArg(object, object)
    object PyObject_Vectorcall(object, PyObject* const*, size_t, PyObject*)
    PyObject** PySequence_Fast_ITEMS(object)
    bint PyFloat_CheckExact(PyObject*)
    double PyFloat_AS_DOUBLE(PyObject*)
    void PyErr_Clear()

cdef enum:
    CPU = 1                             # of DLPack
    FLOAT = 2
    BFLOAT = 4
    LARGE = 8192                        # elements, from which on a call may take several threads
    DIMENSIONS = 64                     # NumPy's limit

# Those of a call of the C interface
cdef struct Arguments:
    void* operands[3]
    int64_t size
    int64_t row                         # entries of a row
    const double* parameters            # NULL: the defaults
    double numbers[OPERANDS]

cdef fastact_exchange* exchange = NULL
cdef int type_numbers[FORMATS]          # NumPy's; -1: ml_dtypes is not installed
type_numbers[FASTACT_FLOAT16], type_numbers[FASTACT_FLOAT32] = cnp.NPY_FLOAT16, cnp.NPY_FLOAT
type_numbers[FASTACT_FLOAT64], type_numbers[FASTACT_BFLOAT16] = cnp.NPY_DOUBLE, -1
cdef object Tensor = torch.Tensor, Parameter = torch.nn.Parameter, is_neg = Tensor.is_neg
cdef dict forward_state = vars(forward_ad)
cdef object transforms_active = torch._C._are_functorch_transforms_active
cdef object has_torch_function = torch.overrides.has_torch_function_unary
cdef object count_modes = torch._C._len_torch_dispatch_stack, is_tracing = torch._C._is_tracing
cdef object is_grad_enabled = torch.is_grad_enabled, torch_threads = torch.get_num_threads
cdef object empty_like = torch.empty_like, last_axis = -1


def load(owner):
    """Take the table of C functions of a type of tensors.

    Returns
    -------
    bool
        Whether it has one. Without it `Tensor.numpy()` is called.
    """
    global exchange
    capsule = getattr(owner, "__dlpack_c_exchange_api__", None)
    exchange = NULL
    if capsule is not None and PyCapsule_IsValid(capsule, "dlpack_exchange_api"):
        exchange = <fastact_exchange*> PyCapsule_GetPointer(capsule, "dlpack_exchange_api")
        if exchange.major != 1:
            exchange = NULL
    return exchange != NULL


def set_bfloat16(dtype):
    """Set the NumPy dtype of tensors of bfloat16."""
    type_numbers[FASTACT_BFLOAT16] = np.dtype(dtype).num


cpdef bint is_transformed() except -1:
    """Tell whether a transform of `torch.func` or a level of forward-mode derivatives is active."""
    return PyObject_CallNoArgs(transforms_active) is True or forward_state["_current_level"] >= 0


def is_plain(tensor):
    """Tell whether a tensor is one in memory, without a subclass, a mode or a tracer that would have to see the call.
    """
    return has_plain_type(tensor) and not is_watched(tensor)


cdef inline bint has_plain_type(object tensor):
    return type(tensor) is Tensor or type(tensor) is Parameter


# Whether fastact may read the memory of a tensor as it is, without a gradient
cdef inline bint is_usable(object tensor) except -1:
    return (has_plain_type(tensor) and PyObject_CallOneArg(is_neg, tensor) is False
            and (tensor.requires_grad is False or PyObject_CallNoArgs(is_grad_enabled) is False))


# Whether a mode of torch functions or of the dispatcher, a tracer or a subclass has to see a call
cdef bint is_watched(object tensor) except -1:
    return (PyObject_CallOneArg(has_torch_function, tensor) is True or PyObject_CallNoArgs(count_modes) != 0
            or PyObject_CallNoArgs(is_tracing) is True)


# The number of a tensor's dtype in the C interface; -1 for those that fastact does not have
cdef int format_of(const fastact_tensor* tensor) noexcept nogil:
    if tensor.lanes == 1 and tensor.code == FLOAT:
        if tensor.bits == 32:
            return FASTACT_FLOAT32
        if tensor.bits == 64:
            return FASTACT_FLOAT64
        return FASTACT_FLOAT16 if tensor.bits == 16 else -1
    return FASTACT_BFLOAT16 if tensor.lanes == 1 and tensor.code == BFLOAT and tensor.bits == 16 else -1


cdef inline void* data_of(const fastact_tensor* tensor) noexcept nogil:
    return <char*> tensor.data + tensor.byte_offset


cdef inline int64_t size_of(const fastact_tensor* tensor) noexcept nogil:
    cdef int64_t size = 1
    cdef int k
    for k in range(tensor.ndim):
        size *= tensor.shape[k]
    return size


# The fields of a tensor in memory, aligned, that has a dtype of fastact; False for any other
cdef bint describe(object tensor, fastact_tensor* fields) noexcept:
    cdef int dtype
    if exchange.tensor_of_object(<void*> tensor, fields):
        PyErr_Clear()                   # it has no memory, as a tensor of the device meta
        return False
    dtype = format_of(fields)
    return (fields.device_type == CPU and fields.ndim <= DIMENSIONS and dtype >= 0 and type_numbers[dtype] >= 0
            and (fields.strides != NULL or fields.ndim == 0)
            and (data_of(fields) != NULL or size_of(fields) == 0)       # a tensor of zeros has none
            and <size_t> data_of(fields) % (fields.bits // 8) == 0)


# Whether two tensors have one shape, dtype and layout
cdef bint are_alike(const fastact_tensor* a, const fastact_tensor* b) noexcept:
    cdef int k
    if a.ndim != b.ndim or a.code != b.code or a.bits != b.bits:
        return False
    for k in range(a.ndim):
        if a.shape[k] != b.shape[k] or a.shape[k] != 1 and a.strides[k] != b.strides[k]:
            return False
    return True


cdef bint is_contiguous(const fastact_tensor* tensor) noexcept:
    cdef int64_t expected = 1
    cdef int k
    for k in range(tensor.ndim - 1, -1, -1):
        if tensor.shape[k] != 1:
            if tensor.strides[k] != expected:
                return False
            expected *= tensor.shape[k]
    return True


# An array on the memory of a tensor, which it keeps
cdef object array_of(object tensor, const fastact_tensor* fields):
    cdef cnp.npy_intp shape[DIMENSIONS]
    cdef cnp.npy_intp strides[DIMENSIONS]
    cdef int itemsize = fields.bits // 8, k
    for k in range(fields.ndim):
        shape[k], strides[k] = fields.shape[k], fields.strides[k] * itemsize
    array = cnp.PyArray_New(np.ndarray, fields.ndim, shape, type_numbers[format_of(fields)], strides, data_of(fields),
                            itemsize, cnp.NPY_ARRAY_WRITEABLE, None)
    Py_INCREF(tensor)
    cnp.PyArray_SetBaseObject(array, tensor)
    return array


def view(tensor):
    """Make an array on the memory of a tensor, of any strides.

    Parameters
    ----------
    tensor : torch.Tensor
        In memory, dense, of any dtype that NumPy has or of bfloat16.

    Returns
    -------
    ndarray

    Raises
    ------
    TypeError
        If the tensor is one of bfloat16, and ml_dtypes is not installed.
    """
    cdef fastact_tensor fields
    if exchange != NULL and describe(tensor, &fields):
        return array_of(tensor, &fields)
    tensor = tensor.detach()
    if tensor.dtype == torch.bfloat16:
        if type_numbers[FASTACT_BFLOAT16] < 0:
            raise TypeError("fastact.torch: tensors of torch.bfloat16 need the package ml_dtypes, which is not "
                            "installed; accepted is: pip install ml_dtypes")
        return tensor.view(torch.int16).numpy().view(cnp.PyArray_DescrFromType(type_numbers[FASTACT_BFLOAT16]))
    return tensor.numpy()


# The thread count of PyTorch, as an open block; none if it is that of fastact
cdef list torch_block():
    threads = min(PyObject_CallNoArgs(torch_threads), MAX_THREADS)
    return [open_block(threads, ())] if threads != get_threads() else []


def compute(function, *arguments, **keywords):
    """Call a function of fastact with as many threads as PyTorch uses."""
    blocks = torch_block()
    try:
        return function(*arguments, **keywords)
    finally:
        if blocks:
            close_block(blocks)


cdef class Direct:
    """One mode of an activation, on tensors of one shape, dtype and layout, whose result is one more of them.

    Parameters
    ----------
    f : Activation
        Elementwise, gated, or one of rows, which lie along the last axis.
    mode : str
        "value", "backward" or "backward_from_output".
    """

    cdef readonly object f
    cdef readonly str mode
    cdef const void* operations[FORMATS]
    cdef double defaults[OPERANDS]
    cdef int parameters                 # their number
    cdef bint of_rows

    def __cinit__(self, f, str mode):
        cdef int k
        self.f, self.mode = f, mode
        self.parameters, self.of_rows = len(f.parameters), isinstance(f, Rowwise)
        for k in range(FORMATS):
            self.operations[k] = fastact_operation(f.name.encode(), mode.encode(), k)
        for k, default in enumerate(f.parameters.values()):
            self.defaults[k] = default

    def run(self, x, other=None, tuple numbers=()):
        """Compute the result.

        Parameters
        ----------
        x, other : torch.Tensor
            As many as the mode has.
        numbers : tuple of float
            The first parameters; the others have their defaults.

        Returns
        -------
        torch.Tensor or None
            None if fastact cannot read a tensor as it is or does not accept a number, if there is a gradient, or if
            something else has to see the call.
        """
        return self.result(x, other, PySequence_Fast_ITEMS(numbers), len(numbers))

    cdef object result(self, object x, object other, PyObject* const* numbers, Py_ssize_t given):
        cdef fastact_tensor fields, fields_of_other, fields_of_result
        cdef Arguments arguments
        cdef const void* operation
        cdef int status, inputs = 1
        if exchange == NULL or is_watched(x) or is_transformed() or not is_usable(x) or not describe(x, &fields):
            return None
        arguments.operands[0] = data_of(&fields)
        if other is not None:
            if (not is_usable(other) or not describe(other, &fields_of_other)
                    or not are_alike(&fields, &fields_of_other)):
                return None
            arguments.operands[1] = data_of(&fields_of_other)
            inputs = 2
        if not self.set_parameters(numbers, given, &arguments) or self.of_rows and not is_contiguous(&fields):
            return None
        result = PyObject_CallOneArg(empty_like, x)
        if not describe(result, &fields_of_result) or not are_alike(&fields, &fields_of_result):
            return None                 # there are gaps between the entries of x
        arguments.operands[inputs] = data_of(&fields_of_result)
        arguments.size, arguments.row = size_of(&fields), fields.shape[fields.ndim - 1] if fields.ndim else 1
        operation = self.operations[format_of(&fields)]
        if arguments.size <= LARGE:
            status = self.compute(operation, &arguments)
        else:
            blocks = torch_block()
            try:
                with nogil:
                    status = self.compute(operation, &arguments)
            finally:
                if blocks:
                    close_block(blocks)
        return result if status == FASTACT_DONE else None

    cdef bint set_parameters(self, PyObject* const* numbers, Py_ssize_t given, Arguments* arguments) noexcept:
        cdef int k
        arguments.parameters = arguments.numbers if given else NULL
        if given > self.parameters:
            return False
        for k in range(self.parameters if given else 0):
            if k >= given:
                arguments.numbers[k] = self.defaults[k]
            elif PyFloat_CheckExact(numbers[k]):
                arguments.numbers[k] = PyFloat_AS_DOUBLE(numbers[k])
            else:
                return False
        return True

    cdef int compute(self, const void* operation, Arguments* arguments) noexcept nogil:
        cdef int64_t rows = arguments.size // arguments.row if arguments.row else 0
        if self.of_rows:
            return fastact_rows(operation, arguments.operands, rows, arguments.row, 1, arguments.parameters)
        return fastact_run(operation, arguments.operands, arguments.size, arguments.parameters)


cdef class DirectFunction:
    """A public function, which computes directly what `Direct` takes, and leaves the rest to a function of Python.

    A frame of Python would cost a tenth of a call. Its subclass has the method `__call__` that Dynamo follows.

    Parameters
    ----------
    function : callable
        Of a tensor and parameters; of rows, of a tensor and `dim`, which is -1 by default.
    value : Direct
    """

    cdef object function
    cdef Direct value
    cdef dict __dict__
    cdef object (*vectorcall)(object, PyObject* const*, size_t, PyObject*)

    def __cinit__(self, function, Direct value):
        self.function, self.value, self.vectorcall = function, value, call_function
        fastact_enable_vectorcall(self, &self.vectorcall)
        update_wrapper(self, function)

    def __repr__(self):
        return f"<{self.__module__}.{self.__qualname__}>"

    def __reduce__(self):
        return self.__qualname__


cdef object call_function(object called, PyObject* const* arguments, size_t count, PyObject* names):
    cdef DirectFunction self = <DirectFunction> called
    cdef Py_ssize_t given = PyVectorcall_NARGS(count) - 1
    result = None
    if given >= 0 and self.value.of_rows:
        if given == 0 and names == NULL or (given == 1 and names == NULL or given == 0 and are_keywords(
                names, "dim")) and arguments[1] == <PyObject*> last_axis:
            result = self.value.result(<object> arguments[0], None, NULL, 0)
    elif given >= 0 and names == NULL:
        result = self.value.result(<object> arguments[0], None, arguments + 1, given)
    return PyObject_Vectorcall(self.function, arguments, count, names) if result is None else result
