"""The engine: every pass over an array, and the only parallel loops of the package.

    runtime      threads, forks, the floating-point environment, memory of large results
    formats      float16, bfloat16, float32, float64: what an array holds, and which arrays are plain
    elementwise  a kernel over its operands; the NumPy ufuncs made of kernels
    strips       the steps of a row operation, over a strip of rows or columns
    rows         row operations on whole arrays; strips of 16 bits and of distant columns, copied first
    sums         exact sums over axes

The engine knows threads, strides and formats, and no mathematics: it receives addresses of kernels (`fastact._kernels`)
from the Python half of the package, and imports none of it.  Each module imports from those above it alone.

Every pass is serial, or parallel with the one number of threads that `runtime` decides: GNU OpenMP rebuilds its team
when the number changes, which costs more than most calls.
"""
