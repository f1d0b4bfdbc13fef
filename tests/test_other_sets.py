"""float16 and bfloat16 keep their promises with every instruction set of this processor.

How accurate functions and rows are, test_accuracy.py and tests/rows ask of all sets themselves.
"""

import os
import subprocess
import sys
from pathlib import Path

from fastact import _isa


def test_16_bits_with_the_other_instruction_sets():
    """The tests that pass with this set pass with the others, each in a process of its own.

    Of the order of imports no instruction set knows.
    """
    folder = Path(__file__).parent
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--tb=line",
               str(folder / "test_packing.py"), "-k", "not import"]
    started = {isa: subprocess.Popen(command, env={**os.environ, "FASTACT_ISA": isa}, text=True, stdout=subprocess.PIPE)
               for isa in _isa.SUPPORTED if isa != _isa.CHOSEN or _isa.NARROW}
    printed = {isa: process.communicate()[0] for isa, process in started.items()}
    for isa, process in started.items():
        assert process.returncode == 0, f"with FASTACT_ISA={isa}:\n{printed[isa]}"
