"""The libraries that are compared, one module each, and the works that they can do.

A module has `load() -> Library`, with a dictionary ``(function, mode) -> spelling`` and a function that builds, from a
spelling, the inputs and an output, a call without arguments that does the work. A library that cannot be imported is
absent from :func:`libraries`.

`fastact bench`, the benchmarks and the tests all run over :func:`works` and :func:`candidates`. A new activation
or loss needs no entry: it is compared with the NumPy expression of its reference until another spelling is written. One
entry of `formulas.FORMULAS` is a spelling of NumPy, numexpr and Numba. Spellings are of the activations with their
default parameters, and a library is asked only for functions that it has.
"""

import contextlib
import functools
import importlib
from collections.abc import Iterable, Iterator

from fastact.comparison.work import ANY_AXIS, ROW_SHAPES, SHAPES, Candidate, Inputs, Library, Work, has_rows, is_rowwise

MODULES = {
    "fastact": "fastact",
    "NumPy": "numpy",
    "SciPy": "scipy",
    "PyTorch": "torch",
    "JAX": "jax",
    "ONNX Runtime": "onnxruntime",
    "numexpr": "numexpr",
    "Numba": "numba",
    "Numba fastmath": "numba_fastmath",
}


@functools.cache
def library(name: str) -> Library | None:
    """One of `MODULES`; None if it cannot be imported here."""
    try:
        found: Library = importlib.import_module(f"{__name__}.{MODULES[name]}").load()
    except ImportError as error:
        if (error.name or "").partition(".")[0] == "fastact":
            raise
        return None
    return found


@functools.cache
def libraries() -> dict[str, Library]:
    """fastact, and the other libraries that can be imported here."""
    return {name: found for name in MODULES if (found := library(name)) is not None}


@contextlib.contextmanager
def threads(count: int) -> Iterator[None]:
    """Limit every library to that number of threads. (ONNX Runtime takes it from the inputs, for each session.)"""
    with contextlib.ExitStack() as stack:
        for library in libraries().values():
            stack.enter_context(library.threads(count))
        yield


def works(
    functions: Iterable[str], modes: Iterable[str], dtypes: Iterable[str], sizes: Iterable[int], row_shapes: bool
) -> list[Work]:
    """Every piece of work asked for. By size, rows have 1,024 columns where that many elements fill one.

    With `row_shapes`, rows have the shapes that occur in practice too; in the modes of `SHAPES` these alone.
    """
    wanted = [key for key in libraries()["fastact"].spellings if key[0] in set(functions) and key[1] in set(modes)]
    of_shapes = [key for key in wanted if row_shapes and has_rows(*key) and key[1] in SHAPES]
    of_sizes = [key for key in wanted if key not in of_shapes]
    found = []
    for dtype in dtypes:
        for size in sizes:
            rows = (max(1, size // 1024), min(size, 1024))
            found += [Work(*key, dtype, rows if has_rows(*key) else (size,)) for key in of_sizes]
        if row_shapes:
            rowwise = [key for key in of_sizes if is_rowwise(key[0])]
            found += [
                Work(*key, dtype, shape, axis)
                for shape, axis in ROW_SHAPES
                for key in rowwise
                if axis == -1 or key[1] in ANY_AXIS
            ]
        found += [Work(*key, dtype, shape) for key in of_shapes for shape in SHAPES[key[1]]]
    return list(dict.fromkeys(found))


def candidates(work: Work) -> list[tuple[str, str]]:
    """Every library that can do the work, with every form it has: ``(library, form)``."""
    return [(name, form) for name, library in libraries().items() for form in library.forms(work.function, work.mode)]


def candidate(library: str, form: str, inputs: Inputs) -> Candidate:
    """The call of that library."""
    chosen = libraries()[library]
    spelling = chosen.spellings[inputs.work.function, inputs.work.mode]
    return Candidate(library, form, chosen.build(spelling, inputs, inputs.out if form == "out" else None), inputs)
