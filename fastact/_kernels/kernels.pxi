# The kernels.  This file is compiled once per instruction set: each <set>.pyx includes it, with the compiler flags of
# fastact/_sets.py.  The functions are in table.pxi, which tools/kernels.py writes from the names of the formulas.  Only
# tables are exported; the engine receives them from _isa.py.

from libc.stdint cimport uint16_t

from fastact._loops.columns cimport accumulate_columns, emit_columns, extreme_of_columns, recover_columns
from fastact._loops.elementwise cimport LANES, Formulas, compute_block
from fastact._loops.losses cimport compute_losses
from fastact._loops.rows cimport Terms, accumulate_rows, emit_rows, extreme_of_rows, recover_rows
from fastact._loops.masking cimport add_bias, select_biased, select_entries
from fastact._loops.sums cimport add_numbers, fastact_sum
from fastact._math.row_state cimport StripState

cdef extern from "_loops/packing.h" nogil:
    void fastact_unpack_float16(const uint16_t* packed, float* numbers, Py_ssize_t n) noexcept
    void fastact_pack_float16(const float* numbers, uint16_t* packed, Py_ssize_t n) noexcept
    void fastact_unpack_bfloat16(const uint16_t* packed, float* numbers, Py_ssize_t n) noexcept
    void fastact_pack_bfloat16(const float* numbers, uint16_t* packed, Py_ssize_t n) noexcept

cdef extern from "_loops/transpose.h" nogil:
    void fastact_transpose_float(const float* source, float* target, Py_ssize_t rows, Py_ssize_t n, bint back) noexcept
    void fastact_transpose_double(const double* source, double* target, Py_ssize_t rows, Py_ssize_t n,
                                  bint back) noexcept

KERNELS = {}            # "sigmoid.backward.float" -> address of the kernel
PARAMETERS = {}         # "softplus" -> number of parameters
GATED = {}              # "swiglu" -> name of the activation, whether `limit` and `offset` follow its parameters
OPERATIONS = {}         # "softmax" -> its steps, each an OperationStep of tools/kernels.py
PACKING = {}            # "float16" -> addresses of the loops from and to it
SUMS = {}               # "float" -> address of the loop that adds numbers to an exact sum
MASKING = {}            # "float" -> addresses of the loops that prepare a masked row
TRANSPOSITIONS = {}     # "float" -> addresses of the loops from short rows to columns and back

include "table.pxi"


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


cdef void to_columns_float(const void* rows, void* columns, Py_ssize_t count, Py_ssize_t n) noexcept nogil:
    fastact_transpose_float(<const float*> rows, <float*> columns, count, n, False)


cdef void to_rows_float(const void* columns, void* rows, Py_ssize_t count, Py_ssize_t n) noexcept nogil:
    fastact_transpose_float(<const float*> columns, <float*> rows, count, n, True)


cdef void to_columns_double(const void* rows, void* columns, Py_ssize_t count, Py_ssize_t n) noexcept nogil:
    fastact_transpose_double(<const double*> rows, <double*> columns, count, n, False)


cdef void to_rows_double(const void* columns, void* rows, Py_ssize_t count, Py_ssize_t n) noexcept nogil:
    fastact_transpose_double(<const double*> columns, <double*> rows, count, n, True)


TRANSPOSITIONS["float"] = <size_t> &to_columns_float, <size_t> &to_rows_float
TRANSPOSITIONS["double"] = <size_t> &to_columns_double, <size_t> &to_rows_double


cdef void select_entries_float(const void* x, const char* where, void* target, Py_ssize_t n,
                               double absent) noexcept nogil:
    select_entries[float](<const float*> x, where, <float*> target, n, <float> absent)


cdef void select_entries_double(const void* x, const char* where, void* target, Py_ssize_t n,
                                double absent) noexcept nogil:
    select_entries[double](<const double*> x, where, <double*> target, n, absent)


cdef void select_biased_float(const void* x, const void* bias, void* target, Py_ssize_t n,
                              double absent) noexcept nogil:
    select_biased[float](<const float*> x, <const float*> bias, <float*> target, n, <float> absent)


cdef void select_biased_double(const void* x, const void* bias, void* target, Py_ssize_t n,
                               double absent) noexcept nogil:
    select_biased[double](<const double*> x, <const double*> bias, <double*> target, n, absent)


cdef void add_bias_float(const void* x, const void* bias, void* target, Py_ssize_t n, double factor,
                         double factor_low) noexcept nogil:
    add_bias[float](<const float*> x, <const float*> bias, <float*> target, n, factor, factor_low)


cdef void add_bias_double(const void* x, const void* bias, void* target, Py_ssize_t n, double factor,
                          double factor_low) noexcept nogil:
    add_bias[double](<const double*> x, <const double*> bias, <double*> target, n, factor, factor_low)


MASKING["float"] = <size_t> &select_entries_float, <size_t> &select_biased_float, <size_t> &add_bias_float
MASKING["double"] = <size_t> &select_entries_double, <size_t> &select_biased_double, <size_t> &add_bias_double
