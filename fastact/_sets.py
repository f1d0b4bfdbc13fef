"""The instruction sets that the kernels are compiled for.

setup.py compiles one module of kernels for each, `_isa` chooses one at import, the tests look for its registers. This
module imports nothing of the package, so that setup.py can run it.
"""

from typing import NamedTuple


class InstructionSet(NamedTuple):
    """One row of the table."""

    name: str  # in FASTACT_ISA, `fastact info` and the figures
    module: str  # the kernels are fastact._kernels_<module>
    flags: tuple[str, ...]  # of the compiler
    register: str  # how the names of its vector registers begin in a disassembly


# The oldest first. The first set of each tuple runs on every processor that the package is built for; of the others
# `_engine.processor_supports` tells by their names.
X86_64 = (
    InstructionSet("v2", "baseline", ("-march=x86-64-v2",), "xmm"),
    InstructionSet("v3", "v3", ("-march=x86-64-v3",), "ymm"),
    InstructionSet(
        "v4", "v4", ("-march=x86-64-v4", "-mprefer-vector-width=512", "-mtune=skylake-avx512"), "zmm"
    ),
)
OTHERS = (InstructionSet("generic", "baseline", (), ""),)
