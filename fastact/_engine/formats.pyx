"""The formats of arrays: float16, float32, float64 and, from the import of ml_dtypes on, bfloat16."""

cimport numpy as cnp

import sys
from threading import Lock

import numpy as np

cnp.import_array()

# Of arrays, in the order of the ufuncs' loops, which is NumPy's -> what they are computed in.  bfloat16 is a dtype of
# ml_dtypes.
DTYPES = {"float16": "float", "float32": "float", "float64": "double", "bfloat16": "float"}

formats[0] = Format(cnp.NPY_FLOAT16, 2, 4, NULL, NULL)
formats[1] = Format(cnp.NPY_FLOAT, 4, 4, NULL, NULL)
formats[2] = Format(cnp.NPY_DOUBLE, 8, 8, NULL, NULL)
formats[BFLOAT16] = Format(-1, 2, 4, NULL, NULL)

ufunc_owners = []
cdef object registration_lock = Lock()


def set_packing(dict packing):
    """Set the loops that convert 16-bit numbers: the table PACKING of the instruction set in use."""
    cdef size_t unpack, pack
    cdef int k
    for k, name in enumerate(DTYPES):
        if name in packing:
            unpack, pack = packing[name]
            formats[k].unpack, formats[k].pack = <convert_block> unpack, <convert_block> pack


# Adds the bfloat16 loop to every ufunc, once, if ml_dtypes was imported meanwhile.
cdef int register_bfloat16() except -1:
    if formats[BFLOAT16].type_number >= 0 or "ml_dtypes" not in sys.modules:
        return 0
    scalar = getattr(sys.modules["ml_dtypes"], "bfloat16", None)    # None: its import has not finished
    if scalar is None:
        return 0
    with registration_lock:
        if formats[BFLOAT16].type_number < 0:
            type_number = np.dtype(scalar).num
            for owner in ufunc_owners:
                owner.add_bfloat16(type_number)
            formats[BFLOAT16].type_number = type_number     # last: a valid number means that the loops are registered
    return 0


cdef bint is_bfloat16(object dtype) except -1:
    register_bfloat16()
    return dtype.num == formats[BFLOAT16].type_number
