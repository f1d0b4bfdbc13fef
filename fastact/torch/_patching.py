"""Replacing the activations of a model by those of fastact, and back."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch

from fastact.torch.nn import MODULES

DEFAULT = ("Mish", "Tanh", "Softplus", "ELU", "CELU")
"""What is faster than PyTorch for a million float32, forward and backward; GELU is with approximate="tanh"."""


class Report(NamedTuple):
    """What was replaced, as pairs of a module's name and its class, and what was not, with the reason."""

    replaced: tuple[tuple[str, str], ...]
    left: tuple[tuple[str, str, str], ...]


def patch(model: torch.nn.Module, only: Iterable[str] | None = None) -> Report:
    """Let the activation modules of a model compute with fastact.

    A module stays the same object, with its hooks, parameters and state_dict; its class becomes that of
    `fastact.torch.nn`. Functions that the model calls itself, as `torch.nn.functional.gelu`, are not reached.

    Parameters
    ----------
    model : torch.nn.Module
    only : iterable of str, optional
        Names of classes of torch.nn. Default: those that are faster here.

    Returns
    -------
    Report

    Raises
    ------
    ValueError
        If a class has no counterpart.
    """
    known = {one.__name__: one for one in MODULES}
    wanted = None if only is None else set(only)
    if wanted is not None and not wanted <= known.keys():
        raise ValueError(f"fastact.torch.patch: only names {', '.join(sorted(wanted - known.keys()))}; accepted are "
                         f"{', '.join(known)}")
    replaced, left = [], []
    for path, module in model.named_modules():
        kind = type(module)
        if kind not in MODULES:
            continue
        if wanted is None and kind.__name__ not in DEFAULT and getattr(module, "approximate", "none") == "none":
            left.append((path, kind.__name__, "PyTorch is as fast; name it in only= to replace it"))
        elif wanted is not None and kind.__name__ not in wanted:
            left.append((path, kind.__name__, "not named in only="))
        else:
            module.__class__ = MODULES[kind]
            replaced.append((path, kind.__name__))
    return Report(tuple(replaced), tuple(left))


def unpatch(model: torch.nn.Module) -> None:
    """Give the modules of `fastact.torch.nn` in a model their classes of PyTorch back."""
    back: dict[Any, Any] = {mine: theirs for theirs, mine in MODULES.items()}
    for module in model.modules():
        if type(module) in back:
            module.__class__ = back[type(module)]


@contextmanager
def patched(model: torch.nn.Module, only: Iterable[str] | None = None) -> Iterator[Report]:
    """Patch a model inside the ``with`` block; what was of fastact before becomes that of PyTorch too."""
    report = patch(model, only)
    try:
        yield report
    finally:
        unpatch(model)
