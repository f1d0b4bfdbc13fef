"""How many threads a call uses: decided here.

In this order: ``with fastact.threads(n)`` in the calling thread; `set_num_threads`; the environment variable
``FASTACT_NUM_THREADS``; ``OMP_NUM_THREADS``; else as many as OpenMP would use, the processor affinity allows and the
control group's quota pays for.  OpenMP is asked at every call in the calling thread, so the limits that threadpoolctl,
joblib and dask set there are obeyed.  A call is either serial or uses this one number: GNU OpenMP rebuilds its team
when the number changes.
"""

import importlib
import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SPIN_COUNT = 1000
"""Turns that a thread waits for the next parallel region before it sleeps, some microseconds.

GNU OpenMP's own default, 300,000, holds a processor for milliseconds after every call.  Where NumPy's matrix products
have threads of their own, which wait for that processor, a network took seven times as long; with 1,000 a region that
follows at once still costs the same.
"""


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


_load_engine()

from fastact import _engine  # noqa: E402


def _positive(value: object, name: str) -> int:
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise TypeError(f"fastact.{name}: n must be an integer, got {type(value).__name__}")
    number = int(value.__index__())
    if not 1 <= number < 2**15:
        raise ValueError(f"fastact.{name}: n must be at least 1 and below 32768, got {number}")
    return number


def control_group_quota(root: Path = Path("/sys/fs/cgroup"), process: Path = Path("/proc/self/cgroup")) -> float | None:
    """Processors that the control group (version 2 or 1) may use, or None without a limit."""
    try:
        lines = process.read_text().splitlines()
    except OSError:
        lines = []
    groups = {controller: path for line in lines if line.count(":") >= 2
              for _, controllers, path in [line.split(":", 2)] for controller in controllers.split(",")}
    quotas = []
    for controller, folder, version in (("", root, 2), ("cpu", root / "cpu", 1)):
        group = folder / groups.get(controller, "/").lstrip("/")
        for place in (group, *group.parents):
            if not place.is_relative_to(folder):
                break
            try:
                if version == 2:
                    quota, period = (place / "cpu.max").read_text().split()
                else:
                    quota = (place / "cpu.cfs_quota_us").read_text()
                    period = (place / "cpu.cfs_period_us").read_text()
                if quota != "max" and int(quota) > 0:
                    quotas.append(int(quota) / int(period))
            except (OSError, ValueError, ZeroDivisionError):
                continue
    return min(quotas, default=None)


def available_processors() -> int:
    """Processors that this process may use: affinity, then the control group's quota, rounded up."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = control_group_quota()
    return count if quota is None else max(1, min(count, math.ceil(quota)))


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
    wish = os.environ.get("FASTACT_NUM_THREADS")
    if wish:
        if not wish.isascii() or not wish.isdigit() or not 1 <= int(wish) < 2**15:
            raise ValueError(f"FASTACT_NUM_THREADS={wish}: accepted is an integer of at least 1 and below 32768")
        _engine.set_threads(int(wish), "FASTACT_NUM_THREADS")
    elif "OMP_NUM_THREADS" not in os.environ:
        _engine.set_processors(available_processors())


_from_environment()
