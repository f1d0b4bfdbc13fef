"""The number of threads that a call uses.

In order of precedence: ``with fastact.threads(n)`` around the call; `set_num_threads`; the environment variable
``FASTACT_NUM_THREADS``; ``OMP_NUM_THREADS``, if OpenMP accepts it; else the least of OpenMP's own number, the processor
affinity and the control group's quota.  Every call queries OpenMP in the calling thread, so it obeys the limits that
threadpoolctl, joblib and dask set there.  A thread that Python does not know, as a worker of Numba, computes alone.  A
call is either serial or uses exactly this number, because GNU OpenMP rebuilds its team when the number changes.  GNU
OpenMP aborts the process when the system refuses a thread, so no call uses more than `MAX_THREADS`.
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
"""Iterations that a thread spins before it sleeps, waiting for the next parallel region: some microseconds.

GNU OpenMP's default, 300,000, occupies a processor for milliseconds after every call.  The threads of NumPy's matrix
products then wait for that processor: a network took seven times as long.  With 1,000 a parallel region that follows
at once costs the same as with the default.
"""

COMPILED = (
    "_engine.runtime", "_engine.formats", "_engine.elementwise", "_engine.strips", "_engine.rows", "_engine.sums",
    "_kernels.baseline", "_activation", "_domains", "_layout", "_row_calls", "elementwise", "rowwise",
)
"""The compiled modules without which nothing works."""

MAX_THREADS = max(256, 4 * (os.cpu_count() or 1))
"""Upper limit of the threads of a call: more than are ever useful, fewer than usual system limits refuse."""


def _is_main_interpreter() -> bool:
    try:
        import ctypes
    except ImportError as error:        # this Python lacks ctypes, or a subinterpreter must not load it
        return "subinterpreter" not in str(error)
    prototype = ctypes.PYFUNCTYPE(ctypes.c_void_p)
    this, main = (prototype((f"PyInterpreterState_{name}", ctypes.pythonapi))() for name in ("Get", "Main"))
    return bool(this == main)


def _check_interpreter() -> None:
    # Before NumPy and the engine are loaded: both keep state of the first interpreter that imports them.
    if not _is_main_interpreter():
        raise ImportError("fastact: this is a subinterpreter; accepted is the main interpreter of a process")


def _check_build() -> None:
    missing = [name for name in COMPILED if not _machine.is_built(name)]
    if missing:
        raise ImportError(f"fastact: {Path(__file__).parent} holds no compiled {', '.join(missing)} for Python "
                          f"{sys.version_info[0]}.{sys.version_info[1]}; to build a checkout, run: "
                          f"python -m pip install -e {Path(__file__).parent.parent}")


def _load_engine() -> None:
    # GNU OpenMP reads its environment once, when the engine's import loads it.  A setting of the user takes precedence,
    # and the variable is removed afterwards.  If another library has loaded OpenMP before, this has no effect.
    ours = not {"GOMP_SPINCOUNT", "OMP_WAIT_POLICY"} & os.environ.keys()
    if ours:
        os.environ["GOMP_SPINCOUNT"] = str(SPIN_COUNT)
    try:
        importlib.import_module("fastact._engine.runtime")
    finally:
        if ours:
            del os.environ["GOMP_SPINCOUNT"]


_check_interpreter()
_check_build()
_affinity = _machine.affinity()     # before GNU OpenMP binds this thread to one place, if OMP_PROC_BIND is set
_load_engine()

from fastact._engine import runtime  # noqa: E402


def _positive(value: object, name: str) -> int:
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise TypeError(f"fastact.{name}: n must be an integer, got {type(value).__name__}")
    number = int(value.__index__())
    if not 1 <= number <= MAX_THREADS:
        raise ValueError(f"fastact.{name}: n must be from 1 to {MAX_THREADS}, got {_machine.shown(number)}")
    return number


def available_processors() -> int:
    """Processors that this process may use: OpenMP's places or the affinity, limited by the control group's quota.

    If another library has loaded OpenMP before, it may have bound this thread to one place, but it knows the number of
    processors from before.
    """
    places = set(runtime.openmp_places())
    return _machine.available_processors(len(places) if places else max(_affinity, runtime.openmp_processors()))


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
    runtime.set_threads(_positive(n, "set_num_threads"))


def get_num_threads() -> int:
    """Return the number of threads that a large call would use in this thread and context."""
    return runtime.get_threads()


SUSPENDED = inspect.CO_GENERATOR | inspect.CO_ASYNC_GENERATOR


def _generator_frames(frame: FrameType | None) -> tuple[FrameType, ...]:
    """Frames from the ``with`` statement's up to the first caller that is no generator; none if the first is none.

    Frames of contextlib, and of generators that contextlib runs as context managers, count as their caller's.
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
    """Use `n` threads inside the ``with`` block: in its context (`contextvars`), like ``numpy.errstate``.

    The setting does not apply to other threads, nor to other asyncio tasks unless they were created in the block, nor
    to the caller of a generator that is suspended in the block.  It ends with the block.  The object may be used again,
    also inside its own block, and as a decorator.

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
        self._entered: list[runtime.Block] = []

    def __repr__(self) -> str:
        return f"fastact.threads({self._n})"

    def __enter__(self) -> None:
        self._entered.append(runtime.open_block(self._n, _generator_frames(sys._getframe(1))))

    def __exit__(self, *exception: object) -> None:
        if not self._entered:
            raise RuntimeError(f"{self!r}: the block is left, but was not entered")
        runtime.close_block(self._entered)


def explain() -> tuple[int, str]:
    """Return how many threads a large call would use now, and the reason."""
    count = get_num_threads()
    if not runtime.OPENMP:
        return count, "built without OpenMP"
    source, asked = runtime.thread_source()
    if not source and asked == _openmp_number:
        source = f"OMP_NUM_THREADS={_machine.shown(os.environ.get('OMP_NUM_THREADS', asked))}"
    if not source:
        quota = control_group_quota()
        source = f"OpenMP offers {asked}, {available_processors()} processors are available"
        source += f" (control group quota {quota:g})" if quota is not None else ""
    limit = runtime.thread_limit()
    return count, f"{source}; at most {limit} threads are started" if count == limit < asked else source


def _read_openmp_number() -> int | None:
    """The number in ``OMP_NUM_THREADS`` if OpenMP uses it, else None: it may be malformed or set too late."""
    parts = [re.fullmatch(r"\s*\+?0*([1-9]\d{0,8})\s*", part, re.ASCII)
             for part in os.environ.get("OMP_NUM_THREADS", "").split(",")]
    number = int(parts[0][1]) if all(parts) and parts[0] else None
    return number if number == runtime.thread_source()[1] else None


def _from_environment() -> None:
    accepted = f"an integer from 1 to {MAX_THREADS}"
    number = _machine.integer_from_environment("FASTACT_NUM_THREADS", 1, MAX_THREADS, accepted)
    runtime.limit_threads(MAX_THREADS)
    if number is not None:
        runtime.set_threads(number, "FASTACT_NUM_THREADS")
    elif _openmp_number is None:
        runtime.set_processors(available_processors())


_openmp_number = _read_openmp_number()
_from_environment()
