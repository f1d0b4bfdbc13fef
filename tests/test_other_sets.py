"""Every instruction set of this processor keeps the promises of the one in use.

Elementwise functions are tested with all sets in test_accuracy.py.
"""

import os
import subprocess
import sys
from pathlib import Path

from fastact import _isa

# How accurate rows are; all of 16 bits but the order of imports, which no instruction set knows of
AGAIN = "values_within or reductions_within or backward_from or diagonal or (test_packing and not import)"


def test_rows_and_16_bits_with_the_other_instruction_sets():
    """The tests that pass with this set pass with the others, each in a process of its own."""
    folder = Path(__file__).parent
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--tb=line",
               str(folder / "rows"), str(folder / "test_packing.py"), "-k", AGAIN]
    started = {isa: subprocess.Popen(command, env={**os.environ, "FASTACT_ISA": isa}, text=True, stdout=subprocess.PIPE)
               for isa in _isa.SUPPORTED if isa != _isa.CHOSEN}
    printed = {isa: process.communicate()[0] for isa, process in started.items()}
    for isa, process in started.items():
        assert process.returncode == 0, f"with FASTACT_ISA={isa}:\n{printed[isa]}"
