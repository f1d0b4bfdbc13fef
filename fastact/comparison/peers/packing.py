"""Gated activations of packed arrays, from a library's spellings for two arrays."""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import fastact
from fastact.comparison.work import PACKED, Spelling, join, split


def packed(m: Any, spellings: Mapping[tuple[str, str], Spelling]) -> dict[tuple[str, str], Spelling]:
    """The spellings of packed arrays, with the functions of the library `m` that join arrays."""
    found = {}
    for name, gated in fastact.activations.items():
        if not isinstance(gated, fastact.Gated):
            continue
        for mode in PACKED:
            layout, _, backward = mode.partition("_")
            if (spelling := spellings.get((name, backward or "value"))) is not None:
                of_packed = _backward if backward else _value
                function = functools.partial(of_packed, m, spelling.function, layout, gated.gate)
                found[name, mode] = Spelling(function, "dy packed" if backward else "packed", has_out=False)
    return found


def _value(m: Any, function: Callable[..., Any], layout: str, gate: str, packed: Any) -> Any:
    return function(*_in_order(gate, *split(layout, packed)))


def _backward(m: Any, function: Callable[..., Any], layout: str, gate: str, dy: Any, packed: Any) -> Any:
    gradients = function(dy, *_in_order(gate, *split(layout, packed)))
    return join(m, layout, *_in_order(gate, *gradients))


def _in_order(gate: str, first: Any, second: Any) -> tuple[Any, Any]:
    """The gate and the other input, from the order in memory; or the order in memory from these."""
    return (first, second) if gate == "first" else (second, first)
