"""How many threads a call uses: decided here.

In this order: ``with fastact.threads(n)`` around the call; `set_num_threads`; the environment variable
``FASTACT_NUM_THREADS``; ``OMP_NUM_THREADS``, if OpenMP takes it; else as many as OpenMP would use, the processor
affinity allows and the control group's quota pays for.  OpenMP is asked at every call in the calling thread, so the
limits that threadpoolctl, joblib and dask set there are obeyed.  A call is either serial or uses this one number: GNU
OpenMP rebuilds its team when the number changes.  Where the system refuses a thread GNU OpenMP ends the process, so
that no call uses more than `MOST`.
"""

import importlib
import inspect
import os
import re
import sys
from contextlib import ContextDecorator
from pathlib import Path
from types import FrameType

from fastact import _machine
from fastact._machine import control_group_quota

SPIN_COUNT = 1000
"""Turns that a thread waits for the next parallel region before it sleeps, some microseconds.

GNU OpenMP's own default, 300,000, holds a processor for milliseconds after every call.  Where NumPy's matrix products
have threads of their own, which wait for that processor, a network took seven times as long; with 1,000 a region that
follows at once still costs the same.
"""

MOST = max(256, 4 * (os.cpu_count() or 1))
"""Threads of a call: more than pay anywhere, and fewer than systems refuse as they are usually set up."""


def _is_main_interpreter() -> bool:
    try:
        import ctypes
    except ImportError as error:        # no part of this Python, unless it is the subinterpreter that may not have it
        return "subinterpreter" not in str(error)
    prototype = ctypes.PYFUNCTYPE(ctypes.c_void_p)
    this, main = (prototype((f"PyInterpreterState_{name}", ctypes.pythonapi))() for name in ("Get", "Main"))
    return bool(this == main)


def _check_interpreter() -> None:
    # Before NumPy and the engine are loaded: both remember the interpreter that was the first to import them.
    if not _is_main_interpreter():
        raise ImportError("fastact: this is a subinterpreter; accepted is the main interpreter of a process")


def _check_build() -> None:
    missing = [name for name in ("_engine", "activation", "_kernels_baseline") if not _machine.is_built(name)]
    if missing:
        raise ImportError(f"fastact: {Path(__file__).parent} holds no compiled {', '.join(missing)} for Python "
                          f"{sys.version_info[0]}.{sys.version_info[1]}; to build a checkout, run: "
                          f"python -m pip install -e {Path(__file__).parent.parent}")


def _load_engine() -> None:
    # GNU OpenMP reads its environment once, when it is loaded, which the engine's import does.  The user's word, and
    # whoever loaded it before, have precedence; the variable does not stay.
    ours = not {"GOMP_SPINCOUNT", "OMP_WAIT_POLICY"} & os.environ.keys()
    if ours:
        os.environ["GOMP_SPINCOUNT"] = str(SPIN_COUNT)
    try:
        importlib.import_module("fastact._engine")
    finally:
        if ours:
            del os.environ["GOMP_SPINCOUNT"]


_check_interpreter()
_check_build()
_affinity = _machine.affinity()     # before GNU OpenMP binds this thread to its place, as OMP_PROC_BIND has it do
_load_engine()

from fastact import _engine  # noqa: E402


def _positive(value: object, name: str) -> int:
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise TypeError(f"fastact.{name}: n must be an integer, got {type(value).__name__}")
    number = int(value.__index__())
    if not 1 <= number <= MOST:
        raise ValueError(f"fastact.{name}: n must be from 1 to {MOST}, got {_machine.shown(number)}")
    return number


def available_processors() -> int:
    """Processors that this process may use: affinity, or OpenMP's places, then the control group's quota, rounded up.

    If somebody had loaded OpenMP before, it may have bound this thread already, and remembers how many there were.
    """
    places = set(_engine.openmp_places())
    return _machine.available_processors(len(places) if places else max(_affinity, _engine.openmp_processors()))


def set_num_threads(n: int) -> None:
    """Use `n` threads for large arrays, in every thread of this process.

    Parameters
    ----------
    n : int
        Number of threads, from 1 to 256 or four times the processors of the machine, whichever is more.

    Raises
    ------
    TypeError, ValueError
        If `n` is not an integer, or is out of range.
    """
    _engine.set_threads(_positive(n, "set_num_threads"))


def get_num_threads() -> int:
    """The number of threads that a large call made here and now would use."""
    return _engine.get_threads()


SUSPENDED = inspect.CO_GENERATOR | inspect.CO_ASYNC_GENERATOR


def _frames_of_generator(frame: FrameType | None) -> tuple[FrameType, ...]:
    """The frame of the ``with`` statement and those of its callers, if it is a generator's, up to one that is not.

    What contextlib does on behalf of a frame, the generators of its context managers included, is that frame's.
    """
    def is_contextlib(frame: FrameType | None) -> bool:
        return frame is not None and frame.f_globals.get("__name__") == "contextlib"

    while frame is not None and (
            is_contextlib(frame) or (frame.f_code.co_flags & SUSPENDED and is_contextlib(frame.f_back))):
        frame = frame.f_back
    frames = []
    while frame is not None and frame.f_code.co_flags & SUSPENDED:
        frames.append(frame)
        frame = frame.f_back
    return (*frames, frame) if frames and frame is not None else ()


class threads(ContextDecorator):
    """Use `n` threads inside the ``with`` block: in its context (`contextvars`), as ``numpy.errstate``.

    Another thread does not see it, nor does another task of asyncio, unless it was made in the block; nor does who
    iterates over a generator that is suspended in the block.  When the block is left nobody sees it.  The object may
    be used again, also inside its own block, and as a decorator.

    Parameters
    ----------
    n : int
        Number of threads, from 1 to 256 or four times the processors of the machine, whichever is more.

    Raises
    ------
    TypeError, ValueError
        If `n` is not an integer, or is out of range.

    Examples
    --------
    >>> import fastact, numpy
    >>> with fastact.threads(1):
    ...     y = fastact.sigmoid(numpy.zeros(10))
    """

    def __init__(self, n: int) -> None:
        self._n = _positive(n, "threads")
        self._entered: list[_engine.Block] = []

    def __repr__(self) -> str:
        return f"fastact.threads({self._n})"

    def __enter__(self) -> None:
        self._entered.append(_engine.open_block(self._n, _frames_of_generator(sys._getframe(1))))

    def __exit__(self, *exception: object) -> None:
        if not self._entered:
            raise RuntimeError(f"{self!r}: the block is left, but was not entered")
        _engine.close_block(self._entered)


def explain() -> tuple[int, str]:
    """How many threads a large call would use now, and why that many."""
    count = get_num_threads()
    if not _engine.OPENMP:
        return count, "built without OpenMP"
    source, asked = _engine.thread_source()
    if not source and asked == _taken_by_openmp:
        source = f"OMP_NUM_THREADS={_machine.shown(os.environ.get('OMP_NUM_THREADS', asked))}"
    if not source:
        quota = control_group_quota()
        source = f"OpenMP offers {asked}, {available_processors()} processors are available"
        source += f" (control group quota {quota:g})" if quota is not None else ""
    limit = _engine.thread_limit()
    return count, f"{source}; at most {limit} threads are started" if count == limit < asked else source


def _number_for_openmp() -> int | None:
    """The number in ``OMP_NUM_THREADS``, if OpenMP took it: not if it cannot be read, or came too late."""
    parts = [re.fullmatch(r"\s*\+?0*([1-9]\d{0,8})\s*", part, re.ASCII)
             for part in os.environ.get("OMP_NUM_THREADS", "").split(",")]
    number = int(parts[0][1]) if all(parts) and parts[0] else None
    return number if number == _engine.thread_source()[1] else None


def _from_environment() -> None:
    number = _machine.wish("FASTACT_NUM_THREADS", 1, MOST, f"an integer from 1 to {MOST}")
    _engine.limit_threads(MOST)
    if number is not None:
        _engine.set_threads(number, "FASTACT_NUM_THREADS")
    elif _taken_by_openmp is None:
        _engine.set_processors(available_processors())


_taken_by_openmp = _number_for_openmp()
_from_environment()
