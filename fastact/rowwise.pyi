from collections.abc import Mapping
from typing import Any, Literal, Unpack, overload

import numpy.typing as npt

from fastact._activation import Activation
from fastact._types import Array, Axis, F, Factor, Masks, Out, Part

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
    @overload
    def __call__(
        self,
        x: npt.NDArray[F],
        axis: Axis = -1,
        *,
        sink: npt.ArrayLike | None = None,
        return_lse: Literal[False] = False,
        dtype: None = None,
        out: None = None,
        **masks: Unpack[Masks],
    ) -> npt.NDArray[F]: ...
    @overload
    def __call__(
        self,
        x: npt.NDArray[F],
        axis: Axis = -1,
        *,
        sink: npt.ArrayLike | None = None,
        return_lse: Literal[True],
        dtype: None = None,
        out: None = None,
        **masks: Unpack[Masks],
    ) -> tuple[npt.NDArray[F], Any]: ...
    @overload
    def __call__(
        self,
        x: npt.ArrayLike,
        axis: Axis = -1,
        *,
        sink: npt.ArrayLike | None = None,
        return_lse: Literal[False] = False,
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
        sink: npt.ArrayLike | None = None,
        return_lse: bool = False,
        dtype: npt.DTypeLike | None = None,
        out: Array | None = None,
        **masks: Unpack[Masks],
    ) -> Any: ...
    @overload
    def backward(
        self,
        dy: float | npt.NDArray[F],
        x: npt.NDArray[F],
        axis: Axis = -1,
        *,
        output: None = None,
        sink: None = None,
        lse: npt.ArrayLike | None = None,
        out: None = None,
        **masks: Unpack[Masks],
    ) -> npt.NDArray[F]: ...
    @overload
    def backward(
        self,
        dy: float | npt.NDArray[F],
        x: None = None,
        axis: Axis = -1,
        *,
        output: npt.NDArray[F],
        sink: None = None,
        lse: npt.ArrayLike | None = None,
        out: None = None,
        **masks: Unpack[Masks],
    ) -> npt.NDArray[F]: ...
    @overload
    def backward(
        self,
        dy: npt.ArrayLike,
        x: npt.ArrayLike | None = None,
        axis: Axis = -1,
        *,
        output: npt.ArrayLike | None = None,
        sink: None = None,
        lse: npt.ArrayLike | None = None,
        out: Out,
        **masks: Unpack[Masks],
    ) -> Out: ...
    @overload
    def backward(
        self,
        dy: npt.ArrayLike,
        x: npt.ArrayLike | None = None,
        axis: Axis = -1,
        *,
        output: npt.ArrayLike | None = None,
        sink: npt.ArrayLike | None = None,
        lse: npt.ArrayLike | None = None,
        out: Array | None = None,
        **masks: Unpack[Masks],
    ) -> Any: ...
    @overload
    def jacobian(
        self, x: npt.NDArray[F], *, where: npt.ArrayLike | None = None, **factor: Unpack[Factor]
    ) -> npt.NDArray[F]: ...
    @overload
    def jacobian(
        self, x: npt.ArrayLike, *, where: npt.ArrayLike | None = None, **factor: Unpack[Factor]
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
    @overload  # type: ignore[override]
    def __call__(
        self,
        x: npt.NDArray[F],
        axis: Axis = -1,
        *,
        alpha: float = 1.5,
        dtype: None = None,
        out: None = None,
        **masks: Unpack[Part],
    ) -> npt.NDArray[F]: ...
    @overload
    def __call__(
        self,
        x: npt.ArrayLike,
        axis: Axis = -1,
        *,
        alpha: float = 1.5,
        dtype: npt.DTypeLike | None = None,
        out: Out,
        **masks: Unpack[Part],
    ) -> Out: ...
    @overload
    def __call__(
        self,
        x: npt.ArrayLike,
        axis: Axis = -1,
        *,
        alpha: float = 1.5,
        dtype: npt.DTypeLike | None = None,
        out: None = None,
        **masks: Unpack[Part],
    ) -> Any: ...
    @overload  # type: ignore[override]
    def backward(
        self,
        dy: float | npt.NDArray[F],
        x: npt.NDArray[F],
        axis: Axis = -1,
        *,
        output: None = None,
        alpha: float = 1.5,
        out: None = None,
        **masks: Unpack[Part],
    ) -> npt.NDArray[F]: ...
    @overload
    def backward(
        self,
        dy: float | npt.NDArray[F],
        x: None = None,
        axis: Axis = -1,
        *,
        output: npt.NDArray[F],
        alpha: float = 1.5,
        out: None = None,
        **masks: Unpack[Part],
    ) -> npt.NDArray[F]: ...
    @overload
    def backward(
        self,
        dy: npt.ArrayLike,
        x: npt.ArrayLike | None = None,
        axis: Axis = -1,
        *,
        output: npt.ArrayLike | None = None,
        alpha: float = 1.5,
        out: Out,
        **masks: Unpack[Part],
    ) -> Out: ...
    @overload
    def backward(
        self,
        dy: npt.ArrayLike,
        x: npt.ArrayLike | None = None,
        axis: Axis = -1,
        *,
        output: npt.ArrayLike | None = None,
        alpha: float = 1.5,
        out: None = None,
        **masks: Unpack[Part],
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
        **factor: Unpack[Factor],
    ) -> Any: ...
    @overload
    def jacobian(
        self, x: npt.NDArray[F], *, alpha: float = 1.5, where: npt.ArrayLike | None = None, **factor: Unpack[Factor]
    ) -> npt.NDArray[F]: ...
    @overload
    def jacobian(
        self, x: npt.ArrayLike, *, alpha: float = 1.5, where: npt.ArrayLike | None = None, **factor: Unpack[Factor]
    ) -> Array: ...

ALPHA_MAX: float

def alpha_of(call: str, alpha: float) -> float: ...
