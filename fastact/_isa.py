"""Which instruction set the kernels run with: decided here, once, at import.

`BUILT` are the sets in this build, `SUPPORTED` those of them that this processor runs, `CHOSEN` the one in use: the
last of `SUPPORTED`, or the one that the environment variable ``FASTACT_ISA`` names.
"""

import importlib
import os
import platform
from types import ModuleType

from fastact._engine import processor_supports
from fastact._machine import is_built, shown
from fastact._sets import OTHERS, X86_64

SETS = {one.name: one for one in (X86_64 if platform.machine().lower() in ("x86_64", "amd64") else OTHERS)}

BUILT = tuple(name for name, one in SETS.items() if is_built(f"_kernels_{one.module}"))
SUPPORTED = tuple(name for name in BUILT if SETS[name].module == "baseline" or processor_supports(name))
FORCED = os.environ.get("FASTACT_ISA") or None


def choose(forced: str | None) -> str:
    """The set to use, `forced` being the wish of the environment.

    Raises
    ------
    ValueError
        If `forced` is not in this build, or the processor cannot run it.
    """
    if forced is None:
        return SUPPORTED[-1]
    if forced not in SUPPORTED:
        reason = "this processor does not run it" if forced in BUILT else "it is not in this build"
        raise ValueError(f"FASTACT_ISA={shown(forced)}: {reason}; accepted here: {', '.join(SUPPORTED)}")
    return forced


def load(name: str) -> ModuleType:
    """The module of kernels of one set."""
    return importlib.import_module(f"fastact._kernels_{SETS[name].module}")


CHOSEN = choose(FORCED)
