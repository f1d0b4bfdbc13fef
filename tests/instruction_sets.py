"""What every instruction set of this processor computes: those that are not in use do it in processes of their own."""

import functools
import multiprocessing
import os
import threading
from concurrent.futures import ProcessPoolExecutor
from unittest import mock

from fastact import _isa

_starting = threading.Lock()


def _chosen():
    return _isa.CHOSEN


@functools.cache
def _start(isa):
    with mock.patch.dict(os.environ, {"FASTACT_ISA": isa}):
        processes = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"))
        assert processes.submit(_chosen).result() == isa
    return processes


def _process_with(isa):
    """One process, which runs that instruction set, and is kept for all tests."""
    with _starting:
        return _start(isa)


def _compute(function, calls):
    return [function(*arguments) for arguments in calls]


def _bits(result):
    return b"".join(map(_bits, result)) if isinstance(result, tuple) else result.tobytes()


def each_set(function, *calls):
    """Call a function with every instruction set; the newest, whose promises are the strictest, come first.

    Parameters
    ----------
    function : callable
        A function of a module, a method of an activation, or an activation: the other processes look it up by its name.
    *calls : tuple
        The arguments of each call.

    Yields
    ------
    isa : str
    call : int
        The position in `calls`.
    result : ndarray or tuple of ndarray
        Without those that have the bits of a result of the same call that was yielded before.
    """
    here = None if _isa.NARROW else _isa.CHOSEN    # this process may have kernels of two sets
    others = {isa: _process_with(isa).submit(_compute, function, calls) for isa in _isa.SUPPORTED if isa != here}
    seen = [set() for _ in calls]
    for isa in reversed(_isa.SUPPORTED):
        results = _compute(function, calls) if isa == here else others[isa].result()
        for call, result in enumerate(results):
            if (bits := _bits(result)) not in seen[call]:
                seen[call].add(bits)
                yield isa, call, result
