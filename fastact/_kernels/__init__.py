"""The kernels: the loops applied to the mathematics, once for each instruction set.

    kernels.pxi                     the one source
    baseline.pyx, v3.pyx, v4.pyx    include it; setup.py compiles each with the flags of fastact/_sets.py
    table.pxi                       every formula and every step with its loop, written by tools/kernels.py

A module exports tables of addresses by name. `fastact._isa` chooses one, and hands them to the engine.
"""
