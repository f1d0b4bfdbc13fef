"""Every mode of every activation that is a NumPy ufunc, under the ufunc's own name: pickle finds them here."""

from contextlib import suppress
from typing import Any

from fastact.catalogue import activations


def _named() -> dict[str, Any]:
    ufuncs = [ufunc for one in activations.values() for ufunc in getattr(one, "ufuncs", {}).values()]
    with suppress(AttributeError):  # of NumPy before 2.3
        for ufunc in ufuncs:
            ufunc.__module__ = __name__  # else pickle takes the first module that has the name, as a script may
    return {ufunc.__name__: ufunc for ufunc in ufuncs}


globals().update(_named())
