from collections.abc import Mapping
from typing import Any

import numpy.typing as npt

from fastact._activation import Activation
from fastact.rowwise import Axis, Window

Array = npt.NDArray[Any]

class RowReduction(Activation):
    def __init__(
        self,
        name: str,
        *,
        cost: float,
        derivative: str,
        summary: str,
        formula: str,
        derivative_formula: str,
        source: str,
        parameters: Mapping[str, float] = ...,
    ) -> None: ...
    def __call__(
        self,
        x: npt.ArrayLike,
        axis: Axis = -1,
        *,
        scale: float = 1.0,
        temperature: float = 1.0,
        bias: npt.ArrayLike | None = None,
        where: npt.ArrayLike | None = None,
        lengths: npt.ArrayLike | None = None,
        causal: bool = False,
        offset: npt.ArrayLike | None = None,
        window: Window = None,
        keepdims: bool = False,
        dtype: npt.DTypeLike | None = None,
        out: Array | None = None,
    ) -> Any: ...
    def backward(
        self,
        dy: npt.ArrayLike,
        x: npt.ArrayLike,
        axis: Axis = -1,
        *,
        scale: float = 1.0,
        temperature: float = 1.0,
        bias: npt.ArrayLike | None = None,
        where: npt.ArrayLike | None = None,
        lengths: npt.ArrayLike | None = None,
        causal: bool = False,
        offset: npt.ArrayLike | None = None,
        window: Window = None,
        lse: npt.ArrayLike | None = None,
        keepdims: bool = False,
        out: Array | None = None,
    ) -> Any: ...
