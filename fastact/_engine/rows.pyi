from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt

class RowOperation:
    def __init__(self, name: str, kernels: ModuleType, cost: float) -> None: ...
    def apply(
        self,
        x: npt.NDArray[Any],
        shape: tuple[int, int, int],
        *,
        y: npt.NDArray[Any] | None = None,
        out: npt.NDArray[Any] | None = None,
        results: npt.NDArray[Any] | None = None,
        labels: npt.NDArray[Any] | None = None,
        scale: float = 1.0,
        scales: npt.NDArray[np.float64] | None = None,
        numbers: tuple[float, float, float, float, float] = ...,
        inputs: npt.NDArray[np.float64] | None = None,
    ) -> None: ...
