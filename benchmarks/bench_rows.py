"""The softmax family and the losses: rows of 1,024 by size, and the shapes that are met in practice."""

from collections.abc import Callable

import fastact
from fastact.commands import peers

WORKS = peers.works(
    [name for name in (*fastact.activations, *peers.LOSSES) if peers.is_rowwise(name)],
    peers.MODES,
    dtypes=("float32", "float64"),
    sizes=(16, 1_024, 16_384, 1_048_576, 16_777_216),
    row_shapes=True,
)


def test_rows(compete: Callable[[], None]) -> None:
    compete()
