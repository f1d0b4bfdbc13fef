"""The choice of the instruction set, made once, at import.

`BUILT` are the sets of this build, `SUPPORTED` those of them that this processor runs.  `CHOSEN` is in use: the set
that the environment variable ``FASTACT_ISA`` names, else the last of `SUPPORTED`.  `KERNELS` is its module; the engine
is given its conversions and sums.

Where nothing is forced and the loads of v4 are slow (AMD's Zen 4), the kernels that _widths.py names are those of v3:
`NARROW` has them.
"""

import importlib
import os
import platform
from types import ModuleType

from fastact import _widths
from fastact._engine.formats import DTYPES, set_packing
from fastact._engine.runtime import processor_supports, wide_loads_wait
from fastact._engine.sums import set_sums
from fastact._machine import is_built, shown
from fastact._sets import OTHERS, X86_64

SETS = {one.name: one for one in (X86_64 if platform.machine().lower() in ("x86_64", "amd64") else OTHERS)}

BUILT = tuple(name for name, one in SETS.items() if is_built(f"_kernels.{one.module}"))
SUPPORTED = tuple(name for name in BUILT if SETS[name].module == "baseline" or processor_supports(name))
FORCED = os.environ.get("FASTACT_ISA") or None


def choose(forced: str | None) -> str:
    """The set to use, where `forced` is the value of ``FASTACT_ISA`` or None.

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
    """Import the kernels of a set."""
    return importlib.import_module(f"fastact._kernels.{SETS[name].module}")


def elementwise_kernels(mode: str) -> dict[str, int]:
    """The address of the kernel for each dtype; the mode is "sigmoid.value", "relu.backward" ...

    Kernels in `NARROW` are bound by the loads and stores of arrays of floats; those of 16-bit numbers lie on the stack.
    """
    return {dtype: (NARROW if dtype in ("float32", "float64") else {}).get(key) or KERNELS.KERNELS[key]
            for dtype, number in DTYPES.items() for key in [f"{mode}.{number}"]}


CHOSEN = choose(FORCED)
KERNELS = load(CHOSEN)
NARROW: dict[str, int] = {}
if CHOSEN == "v4" and not FORCED and wide_loads_wait() and "v3" in BUILT:
    NARROW = {key: address for key, address in load("v3").KERNELS.items() if key.rpartition(".")[0] in _widths.NARROW}
set_packing(KERNELS.PACKING)
set_sums(KERNELS.SUMS)
