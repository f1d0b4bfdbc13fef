"""Assertions of the shared modules show their operands when they fail, as those of the tests do.

Matrix products take one thread, here and in the processes that tests start: those of the tests are small, and the other
threads of OpenBLAS would spin for longer than they compute.

The garbage collector leaves out what was imported, and looks at the rest every 50,000 new objects.  The default, 700,
are a few dozen steps of mpmath, whose numbers the tests keep by the hundred thousand.
"""

import gc
import os

import pytest

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

pytest.register_assert_rewrite("common", "instruction_sets", "row_helpers", "processes")


@pytest.fixture
def prefetching():
    """A function that sets whether passes over much memory prefetch it; the processor's own setting comes back."""
    from fastact._engine import runtime

    before = runtime.set_prefetching(False)
    yield runtime.set_prefetching
    runtime.set_prefetching(before)


def pytest_collection_finish():
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)
