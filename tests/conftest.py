"""Assertions of the shared modules show their operands when they fail, as those of the tests do.

Matrix products take one thread, here and in the processes that tests start: those of the tests are small, and the other
threads of OpenBLAS would spin for longer than they compute.
"""

import os

import pytest

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

pytest.register_assert_rewrite("common", "instruction_sets", "row_helpers", "processes")
