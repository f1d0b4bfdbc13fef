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


# gcc moves a load into the branch of a select that alone uses it, and the vectorizer makes a masked load of it. gcc 12
# gives the loads of the second half of an unrolled loop the mask of the first half: wrong results. Where the source has
# a load in the branch of a select, the flag does not help: write the load before it.
UNMASKED = "-fno-tree-sink"

# The oldest first. The first set of each tuple runs on every processor that the package is built for; for the others
# `_engine.runtime.processor_supports(name)` asks the processor.
X86_64 = (
    InstructionSet("v2", "baseline", ("-march=x86-64-v2",), "xmm"),
    InstructionSet("v3", "v3", ("-march=x86-64-v3", UNMASKED), "ymm"),
    InstructionSet(
        "v4", "v4", ("-march=x86-64-v4", UNMASKED, "-mprefer-vector-width=512", "-mtune=skylake-avx512"), "zmm"
    ),
)
OTHERS = (InstructionSet("generic", "baseline", (), ""),)
