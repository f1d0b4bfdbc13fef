# Copies of strided elements.  A stride of two elements, that of one half of interleaved pairs, is a constant of its own
# loop, which the compiler vectorises.

from libc.stdint cimport uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy


# A few bytes in pieces of 16, of which the last may overlap the one before: short rows would pay for calls of memcpy.
cdef inline void copy_bytes(char* target, const char* source, Py_ssize_t size) noexcept nogil:
    cdef Py_ssize_t i = 0
    if not 16 <= size <= 128:
        memcpy(target, source, size)
        return
    while i + 16 < size:
        memcpy(target + i, source + i, 16)
        i += 16
    memcpy(target + size - 16, source + size - 16, 16)


cdef inline void copy_elements(char* target, Py_ssize_t target_stride, const char* source, Py_ssize_t source_stride,
                               Py_ssize_t n, Py_ssize_t itemsize) noexcept nogil:
    cdef Py_ssize_t i
    if target_stride == itemsize and source_stride == itemsize:
        copy_bytes(target, source, n * itemsize)
    elif itemsize == 2:
        if target_stride == 2 and source_stride == 4:
            for i in range(n):
                (<uint16_t*> target)[i] = (<const uint16_t*> source)[2 * i]
        else:
            for i in range(n):
                (<uint16_t*> (target + i * target_stride))[0] = (<const uint16_t*> (source + i * source_stride))[0]
    elif itemsize == 4:
        if target_stride == 4 and source_stride == 8:
            for i in range(n):
                (<uint32_t*> target)[i] = (<const uint32_t*> source)[2 * i]
        else:
            for i in range(n):
                (<uint32_t*> (target + i * target_stride))[0] = (<const uint32_t*> (source + i * source_stride))[0]
    else:
        if target_stride == 8 and source_stride == 16:
            for i in range(n):
                (<uint64_t*> target)[i] = (<const uint64_t*> source)[2 * i]
        else:
            for i in range(n):
                (<uint64_t*> (target + i * target_stride))[0] = (<const uint64_t*> (source + i * source_stride))[0]
