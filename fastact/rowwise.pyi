from collections.abc import Mapping
from typing import Any

import numpy.typing as npt

from fastact._activation import Activation

Array = npt.NDArray[Any]
Axis = int | tuple[int, ...] | None
Window = int | tuple[int | None, int | None] | None

class Rowwise(Activation):
    ulp: Mapping[str, float]
    def __init__(
        self,
        name: str,
        *,
        cost: float,
        masked_row: float,
        negates: str | None = None,
        ulp: float = 4,
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
        sink: npt.ArrayLike | None = None,
        return_lse: bool = False,
        dtype: npt.DTypeLike | None = None,
        out: Array | None = None,
    ) -> Any: ...
    def backward(
        self,
        dy: npt.ArrayLike,
        x: npt.ArrayLike | None = None,
        axis: Axis = -1,
        *,
        output: npt.ArrayLike | None = None,
        scale: float = 1.0,
        temperature: float = 1.0,
        bias: npt.ArrayLike | None = None,
        where: npt.ArrayLike | None = None,
        lengths: npt.ArrayLike | None = None,
        causal: bool = False,
        offset: npt.ArrayLike | None = None,
        window: Window = None,
        sink: npt.ArrayLike | None = None,
        lse: npt.ArrayLike | None = None,
        out: Array | None = None,
    ) -> Any: ...
    def jacobian(
        self,
        x: npt.ArrayLike,
        *,
        scale: float = 1.0,
        temperature: float = 1.0,
        where: npt.ArrayLike | None = None,
    ) -> Array: ...

class Entmax(Rowwise):
    learnt: tuple[str, ...]
    def __init__(
        self,
        name: str,
        *,
        cost: float,
        by_alpha: Mapping[float, Rowwise],
        masked_row: float,
        ulp: float = 4,
        summary: str,
        formula: str,
        derivative_formula: str,
        source: str,
        parameters: Mapping[str, float] = ...,
    ) -> None: ...
    def __call__(  # type: ignore[override]
        self,
        x: npt.ArrayLike,
        axis: Axis = -1,
        *,
        alpha: float = 1.5,
        scale: float = 1.0,
        temperature: float = 1.0,
        where: npt.ArrayLike | None = None,
        lengths: npt.ArrayLike | None = None,
        causal: bool = False,
        offset: npt.ArrayLike | None = None,
        window: Window = None,
        dtype: npt.DTypeLike | None = None,
        out: Array | None = None,
    ) -> Any: ...
    def backward(  # type: ignore[override]
        self,
        dy: npt.ArrayLike,
        x: npt.ArrayLike | None = None,
        axis: Axis = -1,
        *,
        output: npt.ArrayLike | None = None,
        alpha: float = 1.5,
        scale: float = 1.0,
        temperature: float = 1.0,
        where: npt.ArrayLike | None = None,
        lengths: npt.ArrayLike | None = None,
        causal: bool = False,
        offset: npt.ArrayLike | None = None,
        window: Window = None,
        out: Array | None = None,
    ) -> Any: ...
    def backward_parameter(
        self,
        dy: npt.ArrayLike,
        x: npt.ArrayLike | None = None,
        axis: Axis = -1,
        *,
        output: npt.ArrayLike | None = None,
        name: str | None = None,
        alpha: float = 1.5,
        scale: float = 1.0,
        temperature: float = 1.0,
    ) -> Any: ...
    def jacobian(
        self,
        x: npt.ArrayLike,
        *,
        alpha: float = 1.5,
        scale: float = 1.0,
        temperature: float = 1.0,
        where: npt.ArrayLike | None = None,
    ) -> Array: ...

ALPHA_MAX: float

def alpha_of(call: str, alpha: float) -> float: ...
