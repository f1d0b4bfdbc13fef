"""The commands of the `fastact` command line, one module each: `add_arguments(parser)` and `run(arguments) -> int`."""

from typing import Any

import numpy as np


def named_dtype(name: str) -> np.dtype[Any]:
    """The dtype of this name. NumPy knows bfloat16 from the import of ml_dtypes on."""
    if name == "bfloat16":
        import ml_dtypes  # noqa: F401
    return np.dtype(name)
