"""The limit of the memory that is cached for large results.

The page faults of fresh memory cost more than the arithmetic of an activation.  So the memory of a result of 1 MiB or
more is kept, once the array is freed, for the next result of about its size (_engine/buffers.c).  The limit comes from
`set_buffer_limit`, else from ``FASTACT_BUFFER_LIMIT``, else from `_default`.
"""

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

from fastact import _machine
from fastact._engine import runtime
from fastact._engine.runtime import clear_buffers

__all__ = ["clear_buffers", "get_buffer_limit", "set_buffer_limit"]

P = ParamSpec("P")
T = TypeVar("T")

LARGEST_DEFAULT = 256 << 20
SHARE = 32  # the default is at most 1 / SHARE of the memory of the machine or of the control group


def set_buffer_limit(limit: int) -> None:
    """Keep at most `limit` bytes of memory for large results; memory beyond that is freed at once.

    Parameters
    ----------
    limit : int
        In bytes. 0 switches the cache off: NumPy then allocates all results.

    Raises
    ------
    TypeError, ValueError
        If `limit` is not an integer, or is negative.
    RuntimeError
        If the cache is locked forever, by a thread that was freeing a result while the process was forked.
    """
    if isinstance(limit, bool) or not hasattr(limit, "__index__"):
        raise TypeError(f"fastact.set_buffer_limit: limit must be an integer, got {type(limit).__name__}")
    number = int(limit.__index__())
    if not 0 <= number < 2**62:
        raise ValueError(f"fastact.set_buffer_limit: limit must be at least 0 and below 2**62, got "
                         f"{_machine.shown(number)}")
    runtime.limit_buffers(number)


def get_buffer_limit() -> int:
    """Return the limit of the memory that is kept for large results.

    Returns
    -------
    int
        In bytes; 0 if NumPy allocates all results.
    """
    return runtime.buffers()[0]


def with_retry(function: Callable[P, T]) -> Callable[P, T]:
    """Wrap a function: on a MemoryError, free the kept memory and call it again, if it was given no `out`."""
    @wraps(function)
    def called(*arguments: P.args, **keywords: P.kwargs) -> T:
        try:
            return function(*arguments, **keywords)
        except MemoryError:
            if keywords.get("out") is not None or not runtime.give_up_buffers():
                raise
        return function(*arguments, **keywords)
    return called


def _default() -> int:
    memory = _machine.available_memory()
    return LARGEST_DEFAULT if memory is None else min(LARGEST_DEFAULT, memory // SHARE)


def _from_environment() -> None:
    accepted = "a number of bytes, at least 0 and below 2**62"
    limit = _machine.integer_from_environment("FASTACT_BUFFER_LIMIT", 0, 2**62 - 1, accepted)
    runtime.limit_buffers(_default() if limit is None else limit)


_from_environment()
