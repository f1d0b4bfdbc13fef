"""Time the calls of all libraries in turns, so that frequency and load drift affect all of them alike."""

import functools
import math
import threading
import time
import timeit
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import NamedTuple

from fastact.comparison import peers
from fastact.comparison.work import Call, Candidate, Inputs, Work

BATCH_SECONDS = 1e-3  # of one measurement: thousands of ticks of the timer
SPINNING = 0.05  # seconds for which the waiting threads of a library spin after a call, at most; ONNX Runtime's: 0.03
SLOW = 3  # a call this many times as slow as the fastest of its form is timed in every fourth round only


class WrongResult(Exception):
    """fastact does not return what it must: there is nothing to time."""


class Timing(NamedTuple):
    """The time that one form of one piece of work takes each library, in nanoseconds per element."""

    work: Work
    form: str
    nanoseconds: dict[str, float]

    @property
    def fastest_peer(self) -> str | None:
        others = {name: figure for name, figure in self.nanoseconds.items() if name != "fastact"}
        return min(others, key=others.__getitem__, default=None)

    @property
    def ratio(self) -> float | None:
        """fastact's time over that of the fastest peer: below 1 fastact is faster."""
        return None if self.fastest_peer is None else self.nanoseconds["fastact"] / self.nanoseconds[self.fastest_peer]


class Rounds(NamedTuple):
    """How often each call is timed: `most` times, or fewer, but at least `least`, once `seconds` have passed."""

    most: int
    least: int = 0
    seconds: float = math.inf


def measure(
    work: Work, threads: int, rounds: Rounds, skipped: Collection[str] = ()
) -> tuple[list[Timing], list[str]]:
    """Time one piece of work.

    Parameters
    ----------
    work : Work
        What is timed, in all forms of all libraries.
    threads : int
        How many each library uses; :func:`peers.threads` must have limited them.
    rounds : Rounds
        How often.
    skipped : collection of str, optional
        Libraries that are not timed.

    Returns
    -------
    timings : list of Timing
        One for each form.
    left_out : list of str
        A line for each peer that fails or whose result differs.

    Raises
    ------
    WrongResult
        If that is fastact.
    """
    candidates, left_out = _prepare(work, threads, skipped)
    timers = {(c.form, c.library): timer_of(c.call) for c in candidates}
    seconds = best_times(timers, rounds, alone=threads > 1)
    timings = []
    for form in dict.fromkeys(form for form, _ in timers):
        figures = {library: 1e9 * best / work.size for (other, library), best in seconds.items() if other == form}
        timings.append(Timing(work, form, figures))
    return timings, left_out


def _prepare(work: Work, threads: int, skipped: Collection[str]) -> tuple[list[Candidate], list[str]]:
    """The candidates with the right result, and a line for each of the others."""
    inputs = Inputs(work, threads)
    right, left_out = [], []
    for library, form in peers.candidates(work):
        if library in skipped:
            continue
        try:
            candidate = peers.candidate(library, form, inputs)
            obstacle = "" if candidate.agrees() else "its result differs"
        except Exception as error:  # another release of a peer may lack the operator, or the dtype
            obstacle = f"{type(error).__name__}: {error}"
        if not obstacle:
            right.append(candidate)
        elif library == "fastact":
            raise WrongResult(f"{work}, {form}: {obstacle}")
        else:
            left_out.append(f"{library} ({form}) is left out of {work}: {obstacle}")
    return right, left_out


def best_times(
    timers: Mapping[tuple[str, str], timeit.Timer], rounds: Rounds, *, alone: bool = False
) -> dict[tuple[str, str], float]:
    """The best time of each in seconds per call.

    The first part of a key is the class within which calls are compared. A call with several threads is timed `alone`:
    once the threads of the library before it have stopped spinning, and after a call that wakes its own.
    """
    stop = time.perf_counter() + rounds.seconds
    repeats = {key: _repeats(timer, alone) for key, timer in timers.items()}
    best = dict.fromkeys(timers, math.inf)
    keys = list(timers)
    for number in range(rounds.most):
        if number >= rounds.least and time.perf_counter() > stop:
            break
        first = {form: min(seconds for (other, _), seconds in best.items() if other == form) for form, _ in keys}
        keys = keys[1:] + keys[:1]
        for key in keys:
            if number % 4 and best[key] > SLOW * first[key[0]]:
                continue
            if alone:
                _wake(timers[key])
            best[key] = min(best[key], timers[key].timeit(repeats[key]) / repeats[key])
    return best


def _wake(timer: timeit.Timer) -> None:
    """Wait until no thread of another library spins, and call once."""
    _wait_for_other_threads()
    timer.timeit(1)


def _wait_for_other_threads() -> None:
    """Wait until all other threads of the process sleep."""
    tasks, own = Path("/proc/self/task"), str(threading.get_native_id())
    if not tasks.exists():
        time.sleep(SPINNING)
        return
    stop = time.perf_counter() + 2 * SPINNING
    while time.perf_counter() < stop:
        time.sleep(0.002)
        if not any(_runs(task) for task in tasks.iterdir() if task.name != own):
            return


def _runs(task: Path) -> bool:
    """Whether a thread runs: the third word of its line says so, after its name in brackets."""
    try:
        return (task / "stat").read_text().rpartition(")")[2].split()[0] == "R"
    except OSError:  # it has ended
        return False


def timer_of(call: Call) -> timeit.Timer:
    """A timer of the call as a user writes it: of a small array, calling a partial takes a good part of the time."""
    if not isinstance(call, functools.partial):
        return timeit.Timer(call)
    names = {f"argument{k}": argument for k, argument in enumerate(call.args)}
    words = [*names, *(f"{name}=keyword_{name}" for name in call.keywords)]
    names |= {f"keyword_{name}": argument for name, argument in call.keywords.items()} | {"function": call.func}
    return timeit.Timer(f"function({', '.join(words)})", globals=names)


def _repeats(timer: timeit.Timer, alone: bool) -> int:
    repeats = 1
    if alone:
        _wake(timer)
    while timer.timeit(repeats) < BATCH_SECONDS:
        repeats *= 2
    return repeats
