"""How many threads a call uses: decided here.

In this order: ``with fastact.threads(n)`` in the calling thread; `set_num_threads`; the environment variable
``FASTACT_NUM_THREADS``; ``OMP_NUM_THREADS``; else as many as OpenMP would use, the processor affinity allows and the
control group's quota pays for.  OpenMP is asked at every call in the calling thread, so the limits that threadpoolctl,
joblib and dask set there are obeyed.  A call is either serial or uses this one number: GNU OpenMP rebuilds its team
when the number changes.
"""

import importlib
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fastact import _machine
from fastact._machine import control_group_quota

SPIN_COUNT = 1000
"""Turns that a thread waits for the next parallel region before it sleeps, some microseconds.

GNU OpenMP's own default, 300,000, holds a processor for milliseconds after every call.  Where NumPy's matrix products
have threads of their own, which wait for that processor, a network took seven times as long; with 1,000 a region that
follows at once still costs the same.
"""


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
_load_engine()

from fastact import _engine  # noqa: E402


def _positive(value: object, name: str) -> int:
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise TypeError(f"fastact.{name}: n must be an integer, got {type(value).__name__}")
    number = int(value.__index__())
    if not 1 <= number < 2**15:
        raise ValueError(f"fastact.{name}: n must be at least 1 and below 32768, got "
                         f"{_machine.shown(number)}")
    return number


def available_processors() -> int:
    """Processors that this process may use: affinity, then the control group's quota, rounded up."""
    return _machine.available_processors(_machine.affinity())


def set_num_threads(n: int) -> None:
    """Use `n` threads for large arrays, in every thread of this process.

    Parameters
    ----------
    n : int
        Number of threads, at least 1.

    Raises
    ------
    TypeError, ValueError
        If `n` is not an integer, or is below 1.
    """
    _engine.set_threads(_positive(n, "set_num_threads"))


def get_num_threads() -> int:
    """The number of threads that a large call made here and now would use."""
    return _engine.get_threads()


@contextmanager
def threads(n: int) -> Iterator[None]:
    """Use `n` threads inside the ``with`` block, in the calling thread only.

    Parameters
    ----------
    n : int
        Number of threads, at least 1.

    Examples
    --------
    >>> import fastact, numpy
    >>> with fastact.threads(1):
    ...     y = fastact.sigmoid(numpy.zeros(10))
    """
    before = _engine.request_threads(_positive(n, "threads"))
    try:
        yield
    finally:
        _engine.request_threads(before)


def explain() -> tuple[int, str]:
    """How many threads a large call would use now, and why that many."""
    count = get_num_threads()
    if not _engine.OPENMP:
        return count, "built without OpenMP"
    source, asked = _engine.thread_source()
    if source:
        return count, source
    if "OMP_NUM_THREADS" in os.environ:
        return count, f"OMP_NUM_THREADS={os.environ['OMP_NUM_THREADS']}"
    quota = control_group_quota()
    reason = f"OpenMP offers {asked}, {available_processors()} processors are available"
    return count, reason + (f" (control group quota {quota:g})" if quota is not None else "")


def _from_environment() -> None:
    number = _machine.wish("FASTACT_NUM_THREADS", 1, 2**15 - 1, "an integer of at least 1 and below 32768")
    if number is not None:
        _engine.set_threads(number, "FASTACT_NUM_THREADS")
    elif "OMP_NUM_THREADS" not in os.environ:
        _engine.set_processors(available_processors())


_from_environment()
