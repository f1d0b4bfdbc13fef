"""The elementwise activations, from sixteen elements to far outside every cache."""

from collections.abc import Callable

import fastact
from fastact.comparison import peers
from fastact.comparison.work import CALLS, is_rowwise

WORKS = peers.works(
    [name for name in fastact.activations if not is_rowwise(name)],
    CALLS,
    dtypes=("float32", "float64"),
    sizes=(16, 1_024, 16_384, 1_048_576, 16_777_216),
    row_shapes=False,
)


def test_elementwise(timed: Callable[[], None]) -> None:
    timed()
