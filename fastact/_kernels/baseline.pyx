# The kernels for the oldest machine that is supported: x86-64-v2, or whatever else this is.
include "kernels.pxi"
