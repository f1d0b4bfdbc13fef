from typing import Any

import numpy.typing as npt

from fastact._engine.rows import RowOperation

Array = npt.NDArray[Any]

def factor_of_numbers(call: str, scale: float, temperature: float) -> tuple[float, float]: ...
def mean_of_labels(operation: RowOperation, x: Any, labels: Any) -> tuple[Any, Array] | None: ...
