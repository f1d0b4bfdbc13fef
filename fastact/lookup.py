"""`fastact.get`: activations by name, including the names of other libraries."""

import difflib
import itertools
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, overload

from fastact._activation import Activation
from fastact.catalogue import activations
from fastact.elementwise import Elementwise
from fastact.gated import Gated
from fastact.names import CONVENTIONS, KINKS, NOT_OFFERED, SPELLINGS, Options
from fastact.reduction import RowReduction
from fastact.rowwise import Entmax, Rowwise

if TYPE_CHECKING:
    from fastact._spellings import ElementwiseName, EntmaxName, GatedName, RowReductionName, RowwiseName


@overload
def get(name: "ElementwiseName", convention: str | None = None) -> Elementwise: ...
@overload
def get(name: "GatedName", convention: str | None = None) -> Gated: ...
@overload
def get(name: "EntmaxName", convention: str | None = None) -> Entmax: ...
@overload
def get(name: "RowwiseName", convention: str | None = None) -> Rowwise: ...
@overload
def get(name: "RowReductionName", convention: str | None = None) -> RowReduction: ...
@overload
def get(name: str, convention: str | None = None) -> Activation: ...
def get(name: str, convention: str | None = None) -> Activation:
    """Look up an activation by its name in fastact or in another library.

    Parameters
    ----------
    name : str
        A key of `fastact.activations`, or a name that a library of `fastact.names` has for an activation.
    convention : str, optional
        The library whose function is wanted, with its defaults and its derivative at kinks: "torch", "jax", "keras",
        "tensorflow", "onnx", "transformers", "mlx", "vllm", "ggml", "scipy", "sklearn" or "thinc". Without it, a key of
        `fastact.activations` has precedence, and any other name means what it means in the libraries that have it, with
        the right-hand derivative at kinks.

    Returns
    -------
    Activation
        The object itself: ``fastact.get("relu") is fastact.relu``. If the library has other defaults, or another
        derivative at kinks, the activation with these.

    Raises
    ------
    TypeError
        If an argument is not a string.
    ValueError
        If the name or the convention is unknown, if the name has different meanings in different libraries, or if it
        names a function that fastact does not have.

    Examples
    --------
    >>> import fastact
    >>> fastact.get("gelu_new") is fastact.gelu_tanh
    True
    >>> fastact.get("leaky_relu", convention="keras").parameters["negative_slope"]
    0.2
    >>> fastact.get("relu").derivative(0.0), fastact.get("relu", convention="torch").derivative(0.0)
    (np.float64(1.0), np.float64(0.0))
    """
    if not isinstance(name, str):
        raise TypeError(f"fastact.get: name must be a string, got {type(name).__name__}")
    if convention is None:
        if name in activations:
            return activations[name]
        known = {library: _spellings(library) for library in CONVENTIONS}
        accepted = f"{', '.join(activations)}, and the spellings of {', '.join(CONVENTIONS)}"
    elif not isinstance(convention, str):
        raise TypeError(f"fastact.get: convention must be a string, got {type(convention).__name__}")
    elif convention not in CONVENTIONS:
        raise _unknown("convention", convention, CONVENTIONS, ", ".join(CONVENTIONS))
    else:
        known = {convention: _spellings(convention, at_kinks(convention))}
        accepted = f"for {convention} {', '.join(known[convention])}"

    left_out = {library: reasons[name] for library in known if name in (reasons := not_offered(library))}
    meanings = {library: spellings[name] for library, spellings in known.items() if name in spellings}
    if not meanings and left_out:
        library, reason = next(iter(left_out.items()))
        raise ValueError(f"fastact.get: {name} of {library} {reason}")
    if not meanings:
        here = activations if convention is None else {}
        raise _unknown("activation", name, [*here, *itertools.chain(*known.values())], accepted)
    if len(set(meanings.values())) > 1:
        each = ", ".join(f"{_written(meaning)} for {library}" for library, meaning in meanings.items())
        raise ValueError(f"fastact.get: {name!r} has several meanings; accepted with convention= are {each}")
    return next(iter(meanings.values()))


def spelt(library: str) -> dict[str, tuple[str, Options]]:
    """Each spelling of a library: the name of the activation, and the options."""
    found: dict[str, tuple[str, Options]] = {}
    for name, row in SPELLINGS.items():
        words = row.get(library, "")
        for spellings, options in {words: {}}.items() if isinstance(words, str) else words.items():
            found.update(dict.fromkeys(spellings.split(), (name, options)))
    return found


def not_offered(library: str) -> dict[str, str]:
    """Each name of a library that no spelling expresses, and the reason."""
    return {name: reason for reason, row in NOT_OFFERED.items() for name in row.get(library, "").split()}


def at_kinks(library: str) -> dict[str, list[str]]:
    """The side of each kink of an activation, where it is not always the right one."""
    return {name: sides.split() for sides, names in KINKS.get(library, {}).items() for name in names.split()}


def _spellings(library: str, kinks: Mapping[str, Sequence[str]] = MappingProxyType({})) -> dict[str, Activation]:
    """The activation of each spelling of a library, and of fastact's own name of each activation that it has."""
    meanings: dict[str, Activation] = {}
    for spelling, (name, options) in spelt(library).items():
        activation = activations[name]
        if isinstance(activation, Elementwise):
            activation = activation.with_defaults(**options, kinks=kinks.get(name))
        elif isinstance(activation, Gated):
            activation = activation.with_defaults(**options)
        meanings[spelling] = activation
    left_out = not_offered(library)
    for activation in list(meanings.values()):
        if activation.name not in left_out:
            meanings.setdefault(activation.name, activation)
    return meanings


def _unknown(what: str, word: str, known: Iterable[str], accepted: str) -> ValueError:
    similar = difflib.get_close_matches(word[:60], dict.fromkeys(known))
    hint = f"did you mean {' or '.join(similar)}? " if similar else ""
    shown = repr(word) if len(word) <= 60 else f"{word[:60]!r}... ({len(word):,} characters)"
    return ValueError(f"fastact.get: unknown {what} {shown}; {hint}accepted are {accepted}")


def _written(activation: Activation) -> str:
    return f"{activation.name}({', '.join(f'{name}={default:g}' for name, default in activation.parameters.items())})"
