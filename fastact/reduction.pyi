from collections.abc import Mapping
from typing import Any, Literal, Unpack, overload

import numpy.typing as npt

from fastact._activation import Activation
from fastact._types import Axis, F, Masks, Out

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
    @overload
    def __call__(
        self,
        x: npt.NDArray[F],
        axis: Axis = -1,
        *,
        keepdims: Literal[True],
        dtype: None = None,
        out: None = None,
        **masks: Unpack[Masks],
    ) -> npt.NDArray[F]: ...
    @overload
    def __call__(
        self,
        x: npt.NDArray[F],
        axis: None,
        *,
        keepdims: Literal[False] = False,
        dtype: None = None,
        out: None = None,
        **masks: Unpack[Masks],
    ) -> F: ...
    @overload
    def __call__(
        self,
        x: npt.ArrayLike,
        axis: Axis = -1,
        *,
        keepdims: bool = False,
        dtype: npt.DTypeLike | None = None,
        out: Out,
        **masks: Unpack[Masks],
    ) -> Out: ...
    @overload
    def __call__(
        self,
        x: npt.ArrayLike,
        axis: Axis = -1,
        *,
        keepdims: bool = False,
        dtype: npt.DTypeLike | None = None,
        out: None = None,
        **masks: Unpack[Masks],
    ) -> Any: ...
    @overload
    def backward(
        self,
        dy: F | float | npt.NDArray[F],
        x: npt.NDArray[F],
        axis: Axis = -1,
        *,
        lse: npt.ArrayLike | None = None,
        keepdims: bool = False,
        out: None = None,
        **masks: Unpack[Masks],
    ) -> npt.NDArray[F]: ...
    @overload
    def backward(
        self,
        dy: npt.ArrayLike,
        x: npt.ArrayLike,
        axis: Axis = -1,
        *,
        lse: npt.ArrayLike | None = None,
        keepdims: bool = False,
        out: Out,
        **masks: Unpack[Masks],
    ) -> Out: ...
    @overload
    def backward(
        self,
        dy: npt.ArrayLike,
        x: npt.ArrayLike,
        axis: Axis = -1,
        *,
        lse: npt.ArrayLike | None = None,
        keepdims: bool = False,
        out: None = None,
        **masks: Unpack[Masks],
    ) -> Any: ...
