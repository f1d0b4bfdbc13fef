from collections.abc import Mapping
from typing import Any, overload

import numpy as np
import numpy.typing as npt

from fastact._activation import Activation
from fastact._types import Array, F, Out
from fastact.elementwise import Elementwise

class Gated(Activation):
    def __init__(
        self,
        name: str,
        *,
        activation: Elementwise,
        cost: float,
        gate: str = "first",
        layout: str = "halves",
        ulp: Mapping[str, float],
        summary: str,
        formula: str,
        derivative_formula: str,
        source: str,
        parameters: Mapping[str, float] = ...,
    ) -> None: ...
    def with_defaults(self, **options: float | str) -> Gated: ...
    @property
    def activation(self) -> Elementwise: ...
    @property
    def gate(self) -> str: ...
    @property
    def layout(self) -> str: ...
    @property
    def ulp(self) -> Mapping[str, float]: ...
    @property
    def parameter_domain(self) -> Mapping[str, tuple[float, ...]]: ...
    @property
    def ufunc(self) -> np.ufunc: ...
    @property
    def ufuncs(self) -> Mapping[str, np.ufunc]: ...
    @overload
    def __call__(
        self,
        a: npt.NDArray[F],
        b: float | npt.NDArray[F] | None = None,
        *,
        axis: int = -1,
        layout: str | None = None,
        gate: str | None = None,
        out: None = None,
        **parameters: float | npt.NDArray[F],
    ) -> npt.NDArray[F]: ...
    @overload
    def __call__(
        self,
        a: npt.ArrayLike,
        b: npt.ArrayLike | None = None,
        *,
        axis: int = -1,
        layout: str | None = None,
        gate: str | None = None,
        out: Out,
        **parameters: npt.ArrayLike,
    ) -> Out: ...
    @overload
    def __call__(
        self, a: float, b: float, *, gate: str | None = None, out: None = None, **parameters: float
    ) -> np.float64: ...
    @overload
    def __call__(
        self,
        a: npt.ArrayLike,
        b: npt.ArrayLike | None = None,
        *,
        axis: int = -1,
        layout: str | None = None,
        gate: str | None = None,
        out: Array | None = None,
        **parameters: npt.ArrayLike,
    ) -> Any: ...
    @overload
    def backward(
        self,
        dy: npt.NDArray[F],
        a: npt.NDArray[F],
        b: None = None,
        *,
        axis: int = -1,
        layout: str | None = None,
        gate: str | None = None,
        out: None = None,
        **parameters: float,
    ) -> npt.NDArray[F]: ...
    @overload
    def backward(
        self,
        dy: float | npt.NDArray[F],
        a: npt.NDArray[F],
        b: npt.NDArray[F],
        *,
        gate: str | None = None,
        out: None = None,
        **parameters: float | npt.NDArray[F],
    ) -> tuple[npt.NDArray[F], npt.NDArray[F]]: ...
    @overload
    def backward(
        self,
        dy: npt.ArrayLike,
        a: npt.ArrayLike,
        b: npt.ArrayLike | None = None,
        *,
        axis: int = -1,
        layout: str | None = None,
        gate: str | None = None,
        out: Array | tuple[Array | None, Array | None] | None = None,
        **parameters: npt.ArrayLike,
    ) -> Any: ...
