"""The instruction sets that the kernels are compiled for.

setup.py compiles one module of kernels for each, `_isa` chooses one at import, and the tests look for its registers.
This module imports nothing of the package, so that setup.py can run it.
"""

from typing import NamedTuple


class InstructionSet(NamedTuple):
    """One row of the table."""

    name: str  # in FASTACT_ISA, `fastact info` and reports
    module: str  # the kernels are fastact._kernels.<module>
    flags: tuple[str, ...]  # compiler flags
    register: str  # prefix of its vector registers in a disassembly


# The oldest first. The first set of each tuple runs on every processor that the package is built for; for the others
# `_engine.runtime.processor_supports(name)` asks the processor.
X86_64 = (
    InstructionSet("v2", "baseline", ("-march=x86-64-v2",), "xmm"),
    InstructionSet("v3", "v3", ("-march=x86-64-v3",), "ymm"),
    InstructionSet(
        "v4", "v4", ("-march=x86-64-v4", "-mprefer-vector-width=512", "-mtune=skylake-avx512"), "zmm"
    ),
)
OTHERS = (InstructionSet("generic", "baseline", (), ""),)
