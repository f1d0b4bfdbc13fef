# The block kernels.  This file is compiled once per instruction set: each _kernels_<set>.pyx includes it, and setup.py
# gives each its compiler flags.  The functions are in _kernel_table.pxi, which setup.py writes from the names of the
# formulas; nothing but tables of addresses is exported, and _engine.pyx is the only reader.

from fastact._loops cimport backward_block, both_block, map_block

KERNELS = {}            # "sigmoid.backward.float" -> address of the kernel
PARAMETERS = {}         # "softplus" -> number of parameters

include "_kernel_table.pxi"
