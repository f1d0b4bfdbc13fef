"""Assertions of the shared modules show their operands when they fail, as those of the tests do."""

import pytest

pytest.register_assert_rewrite("common", "instruction_sets", "row_helpers", "processes")
