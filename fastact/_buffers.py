"""How much memory of large results is kept for the next ones: decided here.

Memory that is fresh from the system is slow to write for the first time, slower than any activation is computed.  So
the memory of a result of a mebibyte or more, once the array is no longer used, is kept for the next result of about its
size (_buffers.h).  What is kept at most, ``FASTACT_BUFFER_LIMIT`` says, or `set_buffer_limit`, or `_default`.
"""

from fastact import _engine, _machine
from fastact._engine import clear_buffers

__all__ = ["clear_buffers", "get_buffer_limit", "set_buffer_limit"]

LARGEST_DEFAULT = 256 << 20
SHARE = 32  # one of so many parts of the memory of the machine or of the control group, if that is less


def set_buffer_limit(limit: int) -> None:
    """Keep at most `limit` bytes of memory for large results; what is beyond is given back to the system at once.

    Parameters
    ----------
    limit : int
        In bytes. 0 switches it off: NumPy allocates all results.

    Raises
    ------
    TypeError, ValueError
        If `limit` is not an integer, or is negative.
    RuntimeError
        If the memory is locked for ever, by a thread that was giving a result back while the process was forked.
    """
    if isinstance(limit, bool) or not hasattr(limit, "__index__"):
        raise TypeError(f"fastact.set_buffer_limit: limit must be an integer, got {type(limit).__name__}")
    number = int(limit.__index__())
    if not 0 <= number < 2**62:
        raise ValueError(f"fastact.set_buffer_limit: limit must be at least 0 and below 2**62, got "
                         f"{_machine.shown(number)}")
    _engine.limit_buffers(number)


def get_buffer_limit() -> int:
    """The limit of the memory that is kept for large results.

    Returns
    -------
    int
        In bytes; 0 if NumPy allocates all results.
    """
    return _engine.buffers()[0]


def _default() -> int:
    memory = _machine.available_memory()
    return LARGEST_DEFAULT if memory is None else min(LARGEST_DEFAULT, memory // SHARE)


def _from_environment() -> None:
    limit = _machine.wish("FASTACT_BUFFER_LIMIT", 0, 2**62 - 1, "a number of bytes, at least 0 and below 2**62")
    _engine.limit_buffers(_default() if limit is None else limit)


_from_environment()
