from collections.abc import Callable, Mapping, Sequence
from typing import Any, overload

import numpy as np
import numpy.typing as npt

from fastact._activation import Activation
from fastact._types import Array, F, Out, Value

class Elementwise(Activation):
    def __init__(
        self,
        name: str,
        *,
        cost: float,
        ulp: Mapping[str, float] = ...,
        value_zero: tuple[float, float] | None = ...,
        derivative_zero: tuple[float, float] | None = ...,
        parameter_domain: Mapping[str, tuple[float, ...]] = ...,
        output_domain: Mapping[str, tuple[float, ...]] = ...,
        kinks: Callable[..., tuple[tuple[Any, Any, Any], ...]] = ...,
        summary: str,
        formula: str,
        derivative_formula: str,
        source: str,
        parameters: Mapping[str, float] = ...,
    ) -> None: ...
    def with_defaults(self, *, kinks: str | Sequence[str] | None = None, **parameters: float) -> Elementwise: ...
    @property
    def learnt(self) -> tuple[str, ...]: ...
    @property
    def sides(self) -> tuple[str, ...]: ...
    @property
    def kinks(self) -> tuple[tuple[float, float], ...]: ...
    @property
    def ulp(self) -> Mapping[str, float]: ...
    @property
    def value_zero(self) -> tuple[float, float] | None: ...
    @property
    def derivative_zero(self) -> tuple[float, float] | None: ...
    @property
    def parameter_domain(self) -> Mapping[str, tuple[float, ...]]: ...
    @property
    def output_domain(self) -> Mapping[str, tuple[float, ...]]: ...
    @property
    def ufunc(self) -> np.ufunc: ...
    @property
    def ufuncs(self) -> Mapping[str, np.ufunc]: ...
    __call__: Value
    derivative: Value
    @overload
    def value_and_derivative(
        self,
        x: npt.NDArray[F],
        *arguments: float | npt.NDArray[F],
        out: tuple[None, None] = ...,
        **parameters: float | npt.NDArray[F],
    ) -> tuple[npt.NDArray[F], npt.NDArray[F]]: ...
    @overload
    def value_and_derivative(
        self, x: float, *arguments: float, out: tuple[None, None] = ..., **parameters: float
    ) -> tuple[np.float64, np.float64]: ...
    @overload
    def value_and_derivative(
        self,
        x: npt.ArrayLike,
        *arguments: npt.ArrayLike,
        out: tuple[Array | None, Array | None] = ...,
        **keywords: Any,
    ) -> tuple[Any, Any]: ...
    @overload
    def backward(
        self,
        dy: float | npt.NDArray[F],
        x: npt.NDArray[F],
        *arguments: float | npt.NDArray[F],
        output: None = None,
        out: None = None,
        **parameters: float | npt.NDArray[F],
    ) -> npt.NDArray[F]: ...
    @overload
    def backward(
        self,
        dy: float | npt.NDArray[F],
        *,
        output: npt.NDArray[F],
        out: None = None,
        **parameters: float | npt.NDArray[F],
    ) -> npt.NDArray[F]: ...
    @overload
    def backward(
        self,
        dy: npt.ArrayLike,
        x: npt.ArrayLike | None = None,
        *arguments: npt.ArrayLike,
        output: npt.ArrayLike | None = None,
        out: Out,
        **keywords: Any,
    ) -> Out: ...
    @overload
    def backward(
        self, dy: float, x: float, *arguments: float, out: None = None, **parameters: float
    ) -> np.float64: ...
    @overload
    def backward(
        self,
        dy: npt.ArrayLike,
        x: npt.ArrayLike | None = None,
        *arguments: npt.ArrayLike,
        output: npt.ArrayLike | None = None,
        out: Any = None,
        **keywords: Any,
    ) -> Any: ...
    def backward_parameter(
        self,
        dy: npt.ArrayLike,
        x: npt.ArrayLike,
        *parameters: npt.ArrayLike | None,
        name: str | None = None,
        **keywords: npt.ArrayLike | None,
    ) -> Any: ...

class Kinked(Elementwise): ...
