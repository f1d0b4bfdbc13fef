"""``fastact info``: versions, the instruction set in use and the number of threads of this installation."""

import argparse
import platform
import shutil
import sys
import textwrap

import numpy as np

import fastact
from fastact import _isa, _threads
from fastact._engine import runtime
from fastact._engine.formats import DTYPES


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command: none."""


def facts() -> dict[str, str]:
    """Return the lines of the table: heading and fact."""
    chosen = _isa.CHOSEN + (" (forced by FASTACT_ISA)" if _isa.FORCED else "")
    if _isa.NARROW:
        chosen += f", for {len(_isa.NARROW)} light kernels v3, since this CPU's 512-bit loads wait for stores"
    count, reason = _threads.explain()
    return {
        "fastact": fastact.__version__,
        "Python": f"{platform.python_version()} ({sys.executable})",
        "NumPy": np.__version__,
        "machine": f"{platform.system()} {platform.machine()}",
        "instruction sets built": ", ".join(_isa.BUILT),
        "of these, run by this CPU": ", ".join(_isa.SUPPORTED),
        "in use": f"{chosen}; FASTACT_ISA=NAME chooses another",
        "threads": f"{count}: {reason}",
        "OpenMP": "yes" if runtime.OPENMP else "no: built without it, everything is serial",
        "memory of large results": f"up to {fastact.get_buffer_limit() / 2**20:.0f} MiB are kept for the next ones; "
                                   f"FASTACT_BUFFER_LIMIT=BYTES, 0 for none",
        "dtypes": ", ".join(DTYPES) + " (of ml_dtypes); bool and integers as float64",
        "activations": ", ".join(fastact.activations),
    }


def run(arguments: argparse.Namespace) -> int:
    """Print the table and return the exit status."""
    table = facts()
    width = max(map(len, table)) + 2
    room = max(shutil.get_terminal_size().columns - width, 20)
    for heading, fact in table.items():
        print(f"{heading:{width}}" + f"\n{'':{width}}".join(textwrap.wrap(fact, room, break_on_hyphens=False)))
    return 0
