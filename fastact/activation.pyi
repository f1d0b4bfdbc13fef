from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Axis = int | tuple[int, ...] | None

class Activation:
    __call__: Callable[..., Any]
    backward: Callable[..., Any]
    __name__: str
    __qualname__: str
    @property
    def name(self) -> str: ...
    @property
    def summary(self) -> str: ...
    @property
    def formula(self) -> str: ...
    @property
    def derivative_formula(self) -> str: ...
    @property
    def source(self) -> str: ...
    @property
    def parameters(self) -> Mapping[str, float]: ...

# The results are Any, as those of NumPy's functions: an array, or for scalars and 0-dimensional arrays a scalar.
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
        summary: str,
        formula: str,
        derivative_formula: str,
        source: str,
        parameters: Mapping[str, float] = ...,
    ) -> None: ...
    def with_defaults(self, **parameters: float) -> Elementwise: ...
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
    def __call__(
        self, x: npt.ArrayLike, *parameters: npt.ArrayLike, out: Array | None = None, **keywords: Any
    ) -> Any: ...
    def derivative(
        self, x: npt.ArrayLike, *parameters: npt.ArrayLike, out: Array | None = None, **keywords: Any
    ) -> Any: ...
    def value_and_derivative(
        self,
        x: npt.ArrayLike,
        *parameters: npt.ArrayLike,
        out: tuple[Array | None, Array | None] = ...,
        **keywords: Any,
    ) -> tuple[Any, Any]: ...
    def backward(
        self,
        dy: npt.ArrayLike,
        x: npt.ArrayLike | None = None,
        *parameters: npt.ArrayLike,
        output: npt.ArrayLike | None = None,
        out: Array | None = None,
        **keywords: Any,
    ) -> Any: ...
    def backward_parameter(
        self, dy: npt.ArrayLike, x: npt.ArrayLike, parameter: npt.ArrayLike | None = None
    ) -> Any: ...

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
        where: npt.ArrayLike | None = None,
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
        where: npt.ArrayLike | None = None,
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
        keepdims: bool = False,
        where: npt.ArrayLike | None = None,
        out: Array | None = None,
    ) -> Any: ...
    def backward(
        self,
        dy: npt.ArrayLike,
        x: npt.ArrayLike,
        axis: Axis = -1,
        *,
        keepdims: bool = False,
        where: npt.ArrayLike | None = None,
        out: Array | None = None,
    ) -> Any: ...

def loss_rows(
    operation: str,
    logits: npt.ArrayLike,
    argument: str,
    targets: npt.ArrayLike,
    axis: int,
    reduction: str,
) -> tuple[Any, Array]: ...
