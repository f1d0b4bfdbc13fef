# The block kernels.  This file is compiled once per instruction set: each _kernels_<set>.pyx includes it, and setup.py
# gives each its compiler flags (_sets.py).  The functions are in _kernel_table.pxi, which tools/kernels.py writes from
# the names of the formulas; nothing but tables of addresses is exported, and _engine.pyx is the only reader.

from libc.stdint cimport uint16_t

from fastact._loops cimport LANES, backward_block, both_block, map_block
from fastact._sums cimport add_numbers, fastact_sum

cdef extern from "_packing.h" nogil:
    void fastact_unpack_float16(const uint16_t* packed, float* numbers, Py_ssize_t n) noexcept
    void fastact_pack_float16(const float* numbers, uint16_t* packed, Py_ssize_t n) noexcept
    void fastact_unpack_bfloat16(const uint16_t* packed, float* numbers, Py_ssize_t n) noexcept
    void fastact_pack_bfloat16(const float* numbers, uint16_t* packed, Py_ssize_t n) noexcept

KERNELS = {}            # "sigmoid.backward.float" -> address of the kernel
PARAMETERS = {}         # "softplus" -> number of parameters
PACKING = {}            # "float16" -> addresses of the loops from and to it
SUMS = {}               # "float" -> address of the loop that adds numbers to an exact sum

include "_kernel_table.pxi"


cdef void unpack_float16(const void* packed, void* numbers, Py_ssize_t n) noexcept nogil:
    fastact_unpack_float16(<const uint16_t*> packed, <float*> numbers, n // LANES * LANES)


cdef void pack_float16(const void* numbers, void* packed, Py_ssize_t n) noexcept nogil:
    fastact_pack_float16(<const float*> numbers, <uint16_t*> packed, n // LANES * LANES)


cdef void unpack_bfloat16(const void* packed, void* numbers, Py_ssize_t n) noexcept nogil:
    fastact_unpack_bfloat16(<const uint16_t*> packed, <float*> numbers, n // LANES * LANES)


cdef void pack_bfloat16(const void* numbers, void* packed, Py_ssize_t n) noexcept nogil:
    fastact_pack_bfloat16(<const float*> numbers, <uint16_t*> packed, n // LANES * LANES)


PACKING["float16"] = <size_t> &unpack_float16, <size_t> &pack_float16
PACKING["bfloat16"] = <size_t> &unpack_bfloat16, <size_t> &pack_bfloat16


cdef void sum_float(void* total, const void* x, Py_ssize_t n) noexcept nogil:
    add_numbers[float](<fastact_sum*> total, <const float*> x, n)


cdef void sum_double(void* total, const void* x, Py_ssize_t n) noexcept nogil:
    add_numbers[double](<fastact_sum*> total, <const double*> x, n)


SUMS["float"] = <size_t> &sum_float
SUMS["double"] = <size_t> &sum_double
