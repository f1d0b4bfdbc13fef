"""Every function, mode, dtype and size, with the peers that are installed beside fastact on the same work.

    pytest benchmarks --benchmark-only                      everything: about an hour
    pytest benchmarks --benchmark-only -k "sigmoid-value-float32-16384" --benchmark-columns=min,median,rounds
    pytest benchmarks --benchmark-only --threads 2 --benchmark-max-time 0.1 --benchmark-json figures.json

Plain ``pytest`` collects none of this: it looks in tests/ alone. A group of the report is one piece of work; a line
is one library, with a fresh output at each call or with ``out=``. What is compared stands in
fastact/comparison/peers/; ``fastact bench`` measures the same in turns, which is the fairer comparison and the one to
quote.
"""

import functools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from fastact.comparison import peers
from fastact.comparison.work import Inputs, Work


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--threads", type=int, default=1, help="threads of fastact and of every peer (default: 1)")


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Module | None:
    # A file named on the command line is collected without this.
    if file_path.match("bench_*.py") and not parent.session.isinitpath(file_path):
        return pytest.Module.from_parent(parent, path=file_path)
    return None


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One benchmark for each library and form of each piece of work in the WORKS of the module, if it has any."""
    works: Sequence[Work] = getattr(metafunc.module, "WORKS", ())
    if not works:
        return
    entries = [
        pytest.param(
            work, library, form, id="-".join((work.function, work.mode, work.dtype, _shape(work), library, form))
        )
        for work in works
        for library, form in peers.candidates(work)
    ]
    metafunc.parametrize(("work", "library", "form"), entries)


@pytest.fixture(scope="session", autouse=True)
def _threads(request: pytest.FixtureRequest) -> Iterator[None]:
    with peers.threads(request.config.getoption("--threads")):
        yield


@pytest.fixture
def timed(benchmark: Any, request: pytest.FixtureRequest, work: Work, library: str, form: str) -> Any:
    """Time a library on a piece of work, if its result is the right one."""

    def run() -> None:
        candidate = peers.candidate(library, form, _inputs(work, request.config.getoption("--threads")))
        if not candidate.agrees():
            (pytest.fail if library == "fastact" else pytest.skip)(f"{library} differs in {work.call}")
        benchmark.group = f"{work.call} {work.dtype} {_shape(work)}"
        benchmark.name = f"{library} ({form})"
        benchmark.extra_info.update(work._asdict(), library=library, form=form, elements=work.size)
        benchmark(candidate.call)

    return run


@functools.lru_cache(maxsize=1)  # the candidates of one work follow each other, and the largest inputs fill gigabytes
def _inputs(work: Work, threads: int) -> Inputs:
    return Inputs(work, threads)


def _shape(work: Work) -> str:
    return "x".join(map(str, work.shape)) + ("" if work.axis == -1 else f"-axis{work.axis}")
