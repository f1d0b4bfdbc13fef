"""Types of arguments and results that the stubs share."""

from typing import Any, Protocol, TypedDict, TypeVar, overload

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Axis = int | tuple[int, ...] | None
Window = int | tuple[int | None, int | None] | None
F = TypeVar("F", np.float16, np.float32, np.float64)
Out = TypeVar("Out", bound=Array)


class Value(Protocol):
    """An elementwise function of x: the value, or the derivative.

    A 0-dimensional array gives a scalar, as in NumPy, although the type of the result is that of an array.
    """

    @overload
    def __call__(
        self,
        x: npt.NDArray[F],
        *arguments: float | npt.NDArray[F],
        out: None = None,
        **parameters: float | npt.NDArray[F],
    ) -> npt.NDArray[F]: ...
    @overload
    def __call__(self, x: npt.ArrayLike, *arguments: npt.ArrayLike, out: Out, **keywords: Any) -> Out: ...
    @overload
    def __call__(self, x: float, *arguments: float, out: None = None, **parameters: float) -> np.float64: ...
    @overload
    def __call__(self, x: npt.ArrayLike, *arguments: npt.ArrayLike, out: Any = None, **keywords: Any) -> Any: ...


class Factor(TypedDict, total=False):
    """By what logits are multiplied."""

    scale: float
    temperature: float


class Part(Factor, total=False):
    """Which entries of rows take part, as every activation of rows accepts it."""

    where: npt.ArrayLike | None
    lengths: npt.ArrayLike | None
    causal: bool
    offset: npt.ArrayLike | None
    window: Window


class Masks(Part, total=False):
    """Which entries take part, with a bias."""

    bias: npt.ArrayLike | None
