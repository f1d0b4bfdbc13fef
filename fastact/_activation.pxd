# What the modules of the activations share: the base class, dtypes, checks of arguments, the calling convention.

cimport numpy as cnp
from cpython.object cimport PyObject

cdef extern from "_vectorcall.h":
    void fastact_enable_vectorcall(object self, const void* place)

cdef extern from "Python.h":
    Py_ssize_t PyVectorcall_NARGS(size_t count)
    Py_ssize_t PyTuple_GET_SIZE(PyObject* tuple)
    PyObject* PyTuple_GET_ITEM(PyObject* tuple, Py_ssize_t index)


cdef class Activation:
    cdef readonly str name, formula, derivative_formula, source, summary, keeps
    cdef readonly object parameters


cpdef object working_dtype(str call, str argument, object dtype)
cpdef bint has_16_bits(object dtype)
cdef object common_dtype(object a, object b)
cdef object unknown_argument(str call, object name, object accepted)
cdef double as_float(str call, str name, object number) except? -1
cdef int refuse_masked(str call, str argument, object value) except -1
cpdef cnp.ndarray as_numbers(str call, str argument, object value)
cpdef int check_out(str call, object out, tuple shape, object dtype) except -1
cpdef int store(object out, object computed) except -1
cpdef object rounded(object numbers, object dtype)
cdef object call_generally(object method, object self, PyObject* const* arguments, Py_ssize_t count, PyObject* names)
cdef int replace_method(object owner, str name, void* function) except -1


# Whether the keywords of a call are these, in this order.  Names in a program are interned; a name that is not takes
# the general path.
cdef inline bint are_keywords(PyObject* names, str first, str second=None) noexcept:
    cdef Py_ssize_t count = 1 if second is None else 2
    return (names != NULL and PyTuple_GET_SIZE(names) == count and PyTuple_GET_ITEM(names, 0) == <PyObject*> first
            and (count == 1 or PyTuple_GET_ITEM(names, 1) == <PyObject*> second))
