"""What this process may use of the machine, what this package has, and how the environment's wishes are read.

A control group (version 2 or 1) limits what is in it and in the groups below it, so that of all around this process the
smallest limit counts.
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
    """The folders of the groups around this process that know `controller`, each with its version, 2 or 1."""
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
    """Processors that the control group may use, or None without a limit."""
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
    """Bytes of memory that the control group may use, or None without a limit."""
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
    """How many of `count` processors the control group's quota pays for, rounded up."""
    quota = control_group_quota()
    return count if quota is None else max(1, min(count, math.ceil(quota)))


def available_memory() -> int | None:
    """Bytes of memory that this process may use, or None where the system cannot say."""
    limits = [control_group_memory()]
    with contextlib.suppress(AttributeError, OSError, ValueError):
        limits.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    return min((limit for limit in limits if limit is not None and limit > 0), default=None)


def is_built(module: str) -> bool:
    """Whether this package has the compiled `module`; an editable installation elsewhere would lend its own."""
    place = sys.modules["fastact"].__path__
    return importlib.machinery.PathFinder.find_spec(f"fastact.{module}", place) is not None


def shown(value: object) -> str:
    """A value as an error shows it: Python refuses to print integers of more than 4,300 digits."""
    if isinstance(value, int) and value.bit_length() > 200:
        return f"an integer of {value.bit_length()} bits"
    text = str(value)
    return text if len(text) <= 60 else f"{text[:40]}... ({len(text)} characters)"


def wish(name: str, least: int, most: int, accepted: str) -> int | None:
    """The integer of the environment variable `name`, None where it is not set or empty."""
    text = os.environ.get(name)
    if not text:
        return None
    digits = text.lstrip("0") or "0"
    if not (text.isascii() and text.isdigit() and len(digits) <= 20 and least <= int(digits) <= most):
        raise ValueError(f"{name}={shown(text)}: accepted is {accepted}")
    return int(digits)
