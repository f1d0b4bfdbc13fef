"""Replacing the activations of a model by those of fastact, and back."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch

from fastact.torch.nn import HUGGING_FACE, MODULES, WITHOUT, gelu_tanh

DEFAULT = {"Mish", "Tanh", "Softplus", "ELU", "CELU", "Tanhshrink", "Softsign", "LogSigmoid", "SELU",
           "BCEWithLogitsLoss", "MishActivation",
           *(name for name, kind in HUGGING_FACE.items() if kind is gelu_tanh)}
"""What is faster than PyTorch for a million float32, forward and backward; GELU is with approximate="tanh"."""

BEFORE = "_fastact_class"  # the attribute of a patched module that keeps its class


class Report(NamedTuple):
    """What was replaced, as pairs of a module's name and its class, and what was not, with the reason.

    Those that were not are the modules without modules in them.
    """

    replaced: tuple[tuple[str, str], ...]
    left: tuple[tuple[str, str, str], ...]


def patch(model: torch.nn.Module, only: Iterable[str] | None = None) -> Report:
    """Let the activation modules of a model compute with fastact.

    A module stays the same object, with its hooks, parameters and state_dict; its class becomes that of
    `fastact.torch.nn`. Activations of `transformers` are known by their names. Functions that the model calls itself,
    as `torch.nn.functional.gelu`, are not reached.

    Parameters
    ----------
    model : torch.nn.Module
    only : iterable of str, optional
        Names of classes of torch.nn or transformers.activations. Default: those that are faster here.

    Returns
    -------
    Report

    Raises
    ------
    ValueError
        If a class has no counterpart.
    """
    return _patch(model, only)[0]


def _patch(model: torch.nn.Module, only: Iterable[str] | None) -> tuple[Report, list[torch.nn.Module]]:
    """Return the modules too that were replaced."""
    known = [*(one.__name__ for one in MODULES), *HUGGING_FACE]
    wanted = None if only is None else set(only)
    if wanted is not None and not wanted <= set(known):
        raise ValueError(f"fastact.torch.patch: only names {', '.join(sorted(wanted.difference(known)))}; accepted are "
                         f"{', '.join(known)}")
    modules: list[torch.nn.Module] = []
    replaced, left = [], []
    for path, module in model.named_modules():
        kind = type(module)
        counterpart = _counterpart_of(kind)
        reason = _why_not(module, wanted) if counterpart else _why_none(kind)
        if reason is None:
            module.__dict__[BEFORE] = kind
            module.__class__ = counterpart
            modules.append(module)
            replaced.append((path, kind.__name__))
        elif next(module.children(), None) is None:
            is_ours = kind.__module__ == "fastact.torch.nn"
            left.append((path, kind.__name__, "it computes with fastact already" if is_ours else reason))
    return Report(tuple(replaced), tuple(left)), modules


def _counterpart_of(kind: type) -> Any:
    return HUGGING_FACE.get(kind.__name__) if kind.__module__ == "transformers.activations" else MODULES.get(kind)


def _why_none(kind: type) -> str:
    """Return the reason why there is no counterpart of a class."""
    if kind.__module__.startswith("torch.nn.modules."):
        for reason, names in WITHOUT.items():
            if kind.__name__ in names.split():
                return f"no counterpart: {reason}"
    return "no counterpart"


def _why_not(module: torch.nn.Module, wanted: set[str] | None) -> str | None:
    """Return the reason why a module that has a counterpart keeps its class."""
    name = type(module).__name__
    if wanted is not None:
        return None if name in wanted else "not named in only="
    if name in DEFAULT or getattr(module, "approximate", "none") == "tanh":
        return None
    return "it was not measured to be faster; name it in only= to replace it"


def unpatch(model: torch.nn.Module) -> None:
    """Give the modules of a model that `patch` replaced their classes back; no other module changes."""
    _restore(model.modules())


def _restore(modules: Iterable[torch.nn.Module]) -> None:
    for module in modules:
        if BEFORE in module.__dict__:
            module.__class__ = module.__dict__.pop(BEFORE)


@contextmanager
def patched(model: torch.nn.Module, only: Iterable[str] | None = None) -> Iterator[Report]:
    """Patch a model inside the ``with`` block; what was of fastact before remains so.

    Parameters
    ----------
    model : torch.nn.Module
    only : iterable of str, optional
        As `patch` has them.

    Raises
    ------
    ValueError
        If a class has no counterpart.
    """
    report, modules = _patch(model, only)
    try:
        yield report
    finally:
        _restore(modules)
