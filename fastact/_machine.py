"""Processors and memory that this process may use, the modules of this build, and integers in environment variables.

A control group (version 2 or 1) limits its processes and those of the groups below it.  So the smallest limit of all
groups around this process applies.
"""

import contextlib
import importlib.machinery
import math
import os
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")
PROCESS = Path("/proc/self/cgroup")


def control_groups(controller: str, root: Path, process: Path) -> Iterator[tuple[int, Path]]:
    """The folders of the groups around this process that have `controller`, each with its version, 2 or 1."""
    try:
        lines = process.read_text().splitlines()
    except OSError:
        lines = []
    groups = {one: path for line in lines if line.count(":") >= 2
              for _, controllers, path in [line.split(":", 2)] for one in controllers.split(",")}
    for one, folder, version in (("", root, 2), (controller, root / controller, 1)):
        group = folder / groups.get(one, "/").lstrip("/")
        for place in (group, *group.parents):
            if not place.is_relative_to(folder):
                break
            yield version, place


def control_group_quota(root: Path = ROOT, process: Path = PROCESS) -> float | None:
    """Processors that the control group may use; None without a limit."""
    quotas = []
    for version, place in control_groups("cpu", root, process):
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


def control_group_memory(root: Path = ROOT, process: Path = PROCESS) -> int | None:
    """Bytes of memory that the control group may use; None without a limit."""
    limits = []
    for version, place in control_groups("memory", root, process):
        for name in ("memory.max", "memory.high") if version == 2 else ("memory.limit_in_bytes",):
            try:
                limit = (place / name).read_text().strip()
                if limit != "max" and int(limit) > 0:
                    limits.append(int(limit))
            except (OSError, ValueError):
                continue
    return min(limits, default=None)


def affinity() -> int:
    """Processors on which the calling thread may run."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def available_processors(count: int) -> int:
    """How many of `count` processors the control group's quota allows, rounded up."""
    quota = control_group_quota()
    return count if quota is None else max(1, min(count, math.ceil(quota)))


def available_memory() -> int | None:
    """Bytes of memory that this process may use; None if unknown."""
    limits = [control_group_memory()]
    with contextlib.suppress(AttributeError, OSError, ValueError):
        limits.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    return min((limit for limit in limits if limit is not None and limit > 0), default=None)


def is_built(module: str) -> bool:
    """Whether this package has the compiled `module`.

    The search is limited to the package's own folder: an import could find the module of an editable installation.
    """
    *packages, _ = module.split(".")
    places = [str(Path(place, *packages)) for place in sys.modules["fastact"].__path__]
    spec = importlib.machinery.PathFinder.find_spec(f"fastact.{module}", places)
    return spec is not None and spec.has_location and not str(spec.origin).endswith(".py")


def shown(value: object) -> str:
    """A value as error messages show it: shortened, and without long integers, which Python refuses to print."""
    if isinstance(value, int) and value.bit_length() > 200:
        return f"an integer of {value.bit_length()} bits"
    text = str(value)
    return text if len(text) <= 60 else f"{text[:40]}... ({len(text)} characters)"


def integer_from_environment(name: str, least: int, most: int, accepted: str) -> int | None:
    """The integer in the environment variable `name`; None if it is not set or empty."""
    text = os.environ.get(name)
    if not text:
        return None
    digits = text.lstrip("0") or "0"
    if not (text.isascii() and text.isdigit() and len(digits) <= 20 and least <= int(digits) <= most):
        raise ValueError(f"{name}={shown(text)}: accepted is {accepted}")
    return int(digits)
