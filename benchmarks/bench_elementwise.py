"""The functions of single numbers, from sixteen elements to far outside every cache; packed arrays in two shapes."""

from collections.abc import Callable

from fastact.comparison import peers
from fastact.comparison.work import CALLS, FUNCTIONS, is_rowwise

WORKS = peers.works(
    [name for name in FUNCTIONS if not is_rowwise(name)],
    CALLS,
    dtypes=("float32", "float64"),
    sizes=(16, 1_024, 16_384, 1_048_576, 16_777_216),
    row_shapes=True,
)


def test_elementwise(timed: Callable[[], None]) -> None:
    timed()
