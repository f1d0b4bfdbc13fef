# Formats of arrays, and the checks of the fast path, which are inlined where they are used.

cimport numpy as cnp
from libc.stdint cimport uint16_t

from fastact._loops.elementwise cimport LANES, convert_block

cdef enum:
    FORMATS = 4
    BFLOAT16 = 3                    # its index

# float16, float32, float64, bfloat16: what an array holds
cdef struct Format:
    int type_number                 # NumPy's; -1: that of ml_dtypes' bfloat16, while it is not imported
    Py_ssize_t itemsize
    Py_ssize_t number_size          # of the float or double that the kernels take
    convert_block unpack            # to that and back; NULL where the two are the same
    convert_block pack

cdef Format formats[FORMATS]
cdef list ufunc_owners              # objects with a method `add_bfloat16`, called once when the dtype is known

cdef int register_bfloat16() except -1
cdef bint is_bfloat16(object dtype) except -1


# Nanoseconds of one element in this format, from those of a float32.  Conversion from and to 16 bits adds a tenth.
cdef inline double nanoseconds_in(const Format* format, double cost) noexcept nogil:
    return cost * format.number_size / 4 + (0.1 if format.itemsize < format.number_size else 0)


# The index of the array's format; -1 if it has another dtype
cdef inline int format_of(cnp.ndarray array) noexcept:
    cdef int type_number = cnp.PyArray_TYPE(array), k
    for k in range(FORMATS):
        if type_number == formats[k].type_number:
            return k
    return -1


# A plain array: no subclass, C-contiguous, aligned, native, of one of the formats, with at least one dimension
cdef inline bint is_plain(object array) noexcept:
    return (cnp.PyArray_CheckExact(array) and format_of(<cnp.ndarray> array) >= 0 and cnp.PyArray_NDIM(array) > 0
            and cnp.PyArray_ISCARRAY_RO(array))


# Two plain arrays of one shape and dtype
cdef inline bint is_plain_pair(object array, object other) noexcept:
    return (is_plain(array) and is_plain(other)
            and cnp.PyArray_TYPE(<cnp.ndarray> array) == cnp.PyArray_TYPE(<cnp.ndarray> other)
            and cnp.PyArray_SAMESHAPE(<cnp.ndarray> array, <cnp.ndarray> other))


# Whether the result for a plain array may be written to `out` directly: `out` is plain too, and it is either the very
# same memory or memory that does not overlap.
cdef inline bint is_plain_out(object out, object array) noexcept:
    cdef const char* a
    cdef const char* b
    cdef Py_ssize_t size
    if not is_plain_pair(out, array) or not cnp.PyArray_ISWRITEABLE(<cnp.ndarray> out):
        return False
    a, b = <const char*> cnp.PyArray_DATA(<cnp.ndarray> out), <const char*> cnp.PyArray_DATA(<cnp.ndarray> array)
    size = cnp.PyArray_NBYTES(<cnp.ndarray> out)
    return a == b or a + size <= b or b + size <= a


# Converts `n` numbers to floats; `target` has room for a multiple of LANES.
cdef inline void unpack_numbers(const Format* format, const uint16_t* source, float* target,
                                Py_ssize_t n) noexcept nogil:
    cdef uint16_t end[LANES]
    cdef Py_ssize_t whole = n // LANES * LANES, i
    format.unpack(source, target, whole)
    if whole < n:
        for i in range(LANES):
            end[i] = source[whole + i] if whole + i < n else 0
        format.unpack(end, target + whole, LANES)


cdef inline void pack_numbers(const Format* format, const float* source, uint16_t* target,
                              Py_ssize_t n) noexcept nogil:
    cdef float end[LANES]
    cdef uint16_t packed_end[LANES]
    cdef Py_ssize_t whole = n // LANES * LANES, i
    format.pack(source, target, whole)
    if whole < n:
        for i in range(LANES):
            end[i] = source[whole + i] if whole + i < n else 0
        format.pack(end, packed_end, LANES)
        for i in range(n - whole):
            target[whole + i] = packed_end[i]
