"""Tensors as NumPy arrays on the same memory, and calls of fastact on them.

The fields of a tensor come from `torch.Tensor.__dlpack_c_exchange_api__`, a table of C functions (DLPack 1.3, whose
structs are declared here), at a fifth of the cost of `Tensor.numpy()`, and of bfloat16 too. PyTorch allocates the
result. Where the attribute is missing, `Tensor.numpy()` and `torch.empty_like` take its place.
"""

cimport numpy as cnp
from cpython.object cimport PyObject
from cpython.pycapsule cimport PyCapsule_GetPointer, PyCapsule_IsValid
from cpython.ref cimport Py_DECREF, Py_INCREF
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t

import numpy as np
import torch
from torch.autograd import forward_ad

from fastact._engine.runtime import close_block, get_threads, open_block
from fastact._threads import MAX_THREADS

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

    typedef struct fastact_managed {
        uint32_t major, minor;
        void *context;
        void (*deleter)(struct fastact_managed *);
        uint64_t flags;
        fastact_tensor tensor;
    } fastact_managed;

    typedef struct {
        uint32_t major, minor;
        void *previous;
        int (*allocate)(fastact_tensor *, fastact_managed **, void *, void (*)(void *, const char *, const char *));
        int (*managed_of_object)(void *, fastact_managed **);
        int (*object_of_managed)(fastact_managed *, void **);
        int (*tensor_of_object)(void *, fastact_tensor *);
        int (*stream)(int32_t, int32_t, void **);
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
    ctypedef struct fastact_managed:
        fastact_tensor tensor
    ctypedef struct fastact_exchange:
        uint32_t major
        int (*allocate)(fastact_tensor*, fastact_managed**, void*, void (*)(void*, const char*, const char*)) noexcept
        int (*object_of_managed)(fastact_managed*, void**) except? -1
        int (*tensor_of_object)(void*, fastact_tensor*) except? -1

cdef extern from "Python.h":
    PyObject* PyObject_Vectorcall(object, PyObject* const*, size_t, PyObject*) except NULL
    object PyObject_CallNoArgs(object)
    object PyObject_CallOneArg(object, object)
    object PyObject_CallMethodNoArgs(object, object)
    void PyErr_Clear()

cdef enum:
    CPU = 1                             # of DLPack
    FLOAT = 2
    BFLOAT = 4
    LARGE = 8192                        # elements, from which on a call may take several threads
    DIMENSIONS = 64                     # NumPy's limit

cdef fastact_exchange* exchange = NULL
cdef int bfloat16 = -1                  # NumPy's number of ml_dtypes' dtype
cdef object Tensor = torch.Tensor, Parameter = torch.nn.Parameter, is_neg = "is_neg"
cdef object transforms_active = torch._C._are_functorch_transforms_active
cdef object count_modes = torch._C._len_torch_dispatch_stack, tracing_state = torch._C._get_tracing_state
cdef object is_grad_enabled = torch.is_grad_enabled, torch_threads = torch.get_num_threads
cdef object empty_like = torch.empty_like


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
    global bfloat16
    bfloat16 = np.dtype(dtype).num


def is_transformed():
    """Tell whether a transform of `torch.func` or a level of forward-mode derivatives is active."""
    return PyObject_CallNoArgs(transforms_active) is True or forward_ad._current_level >= 0


def is_plain(tensor):
    """Tell whether a tensor is one in memory, without a subclass, a mode or a tracer that would have to see the call.
    """
    return has_plain_type(tensor) and not is_watched()


cdef inline bint has_plain_type(object tensor):
    return type(tensor) is Tensor or type(tensor) is Parameter


# Whether fastact may read the memory of a tensor as it is, without a gradient
cdef inline bint is_usable(object tensor) except -1:
    return (has_plain_type(tensor) and PyObject_CallMethodNoArgs(tensor, is_neg) is False
            and (tensor.requires_grad is False or PyObject_CallNoArgs(is_grad_enabled) is False))


cdef bint is_watched() except -1:
    return PyObject_CallNoArgs(count_modes) != 0 or PyObject_CallNoArgs(tracing_state) is not None


# NumPy's number of a dtype; -1 for those that fastact does not have
cdef int type_number(const fastact_tensor* tensor) noexcept:
    if tensor.code == FLOAT and tensor.lanes == 1:
        if tensor.bits == 32:
            return cnp.NPY_FLOAT
        if tensor.bits == 64:
            return cnp.NPY_DOUBLE
        return cnp.NPY_FLOAT16 if tensor.bits == 16 else -1
    return bfloat16 if tensor.code == BFLOAT and tensor.bits == 16 else -1


# The fields of a tensor in memory that has a dtype of fastact; False for any other
cdef bint describe(object tensor, fastact_tensor* fields):
    try:
        if exchange.tensor_of_object(<void*> tensor, fields):
            PyErr_Clear()
            return False
    except Exception:                   # it has no memory, as a tensor of zeros or of the device meta
        return False
    return (fields.device_type == CPU and fields.ndim <= DIMENSIONS and type_number(fields) >= 0
            and (fields.strides != NULL or fields.ndim == 0))


cdef bint is_contiguous(const fastact_tensor* tensor) noexcept:
    cdef int64_t expected = 1
    cdef int k
    for k in range(tensor.ndim - 1, -1, -1):
        if tensor.shape[k] != 1:
            if tensor.strides[k] != expected:
                return False
            expected *= tensor.shape[k]
    return True


cdef bint same_shape(const fastact_tensor* a, const fastact_tensor* b) noexcept:
    cdef int k
    if a.ndim != b.ndim or a.code != b.code or a.bits != b.bits:
        return False
    for k in range(a.ndim):
        if a.shape[k] != b.shape[k]:
            return False
    return True


# An array on the memory of a tensor, which it keeps; contiguous without strides
cdef object array_of(object tensor, const fastact_tensor* fields, bint contiguous):
    cdef cnp.npy_intp shape[DIMENSIONS]
    cdef cnp.npy_intp strides[DIMENSIONS]
    cdef int itemsize = fields.bits // 8, k
    for k in range(fields.ndim):
        shape[k] = fields.shape[k]
        if not contiguous:
            strides[k] = fields.strides[k] * itemsize
    array = cnp.PyArray_New(np.ndarray, fields.ndim, shape, type_number(fields), NULL if contiguous else strides,
                            <char*> fields.data + fields.byte_offset, itemsize, cnp.NPY_ARRAY_WRITEABLE, None)
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
        return array_of(tensor, &fields, False)
    tensor = tensor.detach()
    if tensor.dtype == torch.bfloat16:
        if bfloat16 < 0:
            raise TypeError("fastact.torch: tensors of torch.bfloat16 need the package ml_dtypes, which is not "
                            "installed; accepted is: pip install ml_dtypes")
        return tensor.view(torch.int16).numpy().view(cnp.PyArray_DescrFromType(bfloat16))
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


def run(function, tuple names, x, other=None):
    """Call a function of fastact on contiguous tensors of one shape and dtype, whose result is one more of them.

    Parameters
    ----------
    function : callable
        An activation, or its method `backward`.
    names : tuple of str
        The last arguments by name: of the second tensor, if it is not given by position, and "out".
    x, other : torch.Tensor
        The arguments.

    Returns
    -------
    torch.Tensor or None
        None if a tensor is none of these or needs a gradient, or if something else has to see the call.
    """
    cdef fastact_tensor fields, fields_of_other, fields_of_result
    cdef PyObject* arguments[3]
    cdef PyObject* returned
    cdef int64_t size = 1
    cdef Py_ssize_t count = 1
    cdef int k
    if exchange == NULL or is_watched() or is_transformed() or not is_usable(x):
        return None
    if not describe(x, &fields) or not is_contiguous(&fields):
        return None
    if other is not None:
        if (not is_usable(other) or not describe(other, &fields_of_other) or not is_contiguous(&fields_of_other)
                or not same_shape(&fields, &fields_of_other)):
            return None
        array_of_other = array_of(other, &fields_of_other, True)
        arguments[1] = <PyObject*> array_of_other
        count = 2
    array = array_of(x, &fields, True)
    arguments[0] = <PyObject*> array
    result = PyObject_CallOneArg(empty_like, x)
    if not describe(result, &fields_of_result):
        return None
    out = array_of(result, &fields_of_result, True)
    arguments[count] = <PyObject*> out
    for k in range(fields.ndim):
        size *= fields.shape[k]
    blocks = torch_block() if size > LARGE else None
    if not blocks:
        returned = PyObject_Vectorcall(function, arguments, count + 1 - len(names), <PyObject*> names)
        Py_DECREF(<object> returned)
        return result
    try:
        returned = PyObject_Vectorcall(function, arguments, count + 1 - len(names), <PyObject*> names)
        Py_DECREF(<object> returned)
    finally:
        close_block(blocks)
    return result
