# Copies of strided elements.

from libc.stdint cimport uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy


cdef inline void copy_elements(char* target, Py_ssize_t target_stride, const char* source, Py_ssize_t source_stride,
                               Py_ssize_t n, Py_ssize_t itemsize) noexcept nogil:
    cdef Py_ssize_t i
    if target_stride == itemsize and source_stride == itemsize:
        memcpy(target, source, n * itemsize)
    elif itemsize == 2:
        for i in range(n):
            (<uint16_t*> (target + i * target_stride))[0] = (<const uint16_t*> (source + i * source_stride))[0]
    elif itemsize == 4:
        for i in range(n):
            (<uint32_t*> (target + i * target_stride))[0] = (<const uint32_t*> (source + i * source_stride))[0]
    else:
        for i in range(n):
            (<uint64_t*> (target + i * target_stride))[0] = (<const uint64_t*> (source + i * source_stride))[0]
