from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from fastact._activation import Activation

Array = npt.NDArray[Any]

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
    def learnt(self) -> tuple[str, ...]: ...
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
        self,
        dy: npt.ArrayLike,
        x: npt.ArrayLike,
        *parameters: npt.ArrayLike | None,
        name: str | None = None,
        **keywords: npt.ArrayLike | None,
    ) -> Any: ...
