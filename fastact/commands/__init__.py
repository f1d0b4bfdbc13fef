"""The commands of the `fastact` command line, one module each: `add_arguments(parser)` and `run(arguments) -> int`."""

import contextlib
import os
import platform
import re
from typing import Any

import numpy as np


def named_dtype(name: str) -> np.dtype[Any]:
    """The dtype of this name. NumPy knows bfloat16 from the import of ml_dtypes on."""
    if name == "bfloat16":
        import ml_dtypes  # noqa: F401
    return np.dtype(name)


def machine() -> dict[str, Any]:
    """What figures depend on, besides the library: processor and Python."""
    return {"CPU": cpu(), "processors": os.cpu_count(), "Python": platform.python_version()}


def cpu() -> str:
    """The name of the processor."""
    with contextlib.suppress(OSError):
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            name = re.search(r"^model name\s*:\s*(.+)$", file.read(), re.MULTILINE)
        if name:
            return name[1]
    return platform.processor() or platform.machine()
