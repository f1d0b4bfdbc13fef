"""What the losses share: checks of their arguments, their reduction, and objects with `gradient_and_hessian`."""

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, ParamSpec, TypeVar

import numpy as np
import numpy.typing as npt

from fastact._activation import Function, as_numbers, check_out, has_16_bits, keeps_kind, rounded, working_dtype
from fastact._layout import sum_over
from fastact._row_calls import factor_of_numbers

Array = npt.NDArray[Any]
Loss = Any  # a scalar, or with reduction="none" an array
Result = tuple[Loss, Array] | Loss  # without a gradient the loss alone
Factor = tuple[float, float]  # in two parts
P = ParamSpec("P")
Q = ParamSpec("Q")
T = TypeVar("T")

REDUCTIONS = ("mean", "sum", "none")


class WithHessian(Function, Generic[P, T, Q]):
    """A loss that has another function, `gradient_and_hessian`."""

    def __init__(self, function: Callable[P, T], gradient_and_hessian: Callable[Q, tuple[Array, Array]]) -> None:
        self.gradient_and_hessian = keeps_kind(gradient_and_hessian)

    if TYPE_CHECKING:
        def __call__(self, *arguments: P.args, **keywords: P.kwargs) -> T: ...


class Part(NamedTuple):
    """The reduction of some of the rows, or of the logits, of a loss: the gradient is that of all of them.

    The loss is their sum in two parts, which are those of a complex number, so that the sum over all parts is rounded
    once.
    """

    reduction: str  # "mean" or "sum"
    divisor: float  # of the mean over all of them


def with_hessian(
    gradient_and_hessian: Callable[Q, tuple[Array, Array]],
) -> Callable[[Callable[P, T]], WithHessian[P, T, Q]]:
    """Decorate a loss with the function of its second derivatives, which pickles as an attribute of it."""
    def decorate(function: Callable[P, T]) -> WithHessian[P, T, Q]:
        gradient_and_hessian.__name__ = "gradient_and_hessian"
        gradient_and_hessian.__qualname__ = f"{function.__name__}.gradient_and_hessian"
        return WithHessian(function, gradient_and_hessian)
    return decorate


def check_reduction(call: str, reduction: str | Part) -> None:
    if reduction not in REDUCTIONS and not isinstance(reduction, Part):
        raise ValueError(f"fastact.{call}: unknown reduction {reduction!r}; accepted are {', '.join(REDUCTIONS)}")


def number_within(call: str, name: str, number: Any, low: float, high: float, accepted: str) -> float:
    """Check that an argument is a number in this closed interval."""
    if type(number) is float and low <= number <= high and number < math.inf:
        return number
    if isinstance(number, bool | np.bool_ | str) or np.ndim(number) or not hasattr(number, "__float__"):
        raise TypeError(f"fastact.{call}: {name} must be a number, got {number!r}")
    try:
        checked = float(number)
    except OverflowError:
        checked = math.inf
    if not low <= checked <= high or math.isinf(checked):
        raise ValueError(f"fastact.{call}: {name} is {number!r}; accepted is {accepted}")
    return checked


def factor_of(call: str, scale: float, temperature: float) -> Factor:
    """Divide scale by temperature, in two parts."""
    if scale == temperature == 1:
        return 1.0, 0.0
    return factor_of_numbers(call, *(number_within(call, name, number, 5e-324, math.inf, "a positive number")
                                     for name, number in (("scale", scale), ("temperature", temperature))))


def numbers_in_shape(call: str, name: str, weights: npt.ArrayLike, shape: tuple[int, ...]) -> Array:
    """Return weights as float64 in that shape."""
    array = as_numbers(call, name, weights).astype(np.float64)
    try:
        return np.broadcast_to(array, shape)
    except ValueError:
        raise ValueError(f"fastact.{call}: {name} has the shape {array.shape}; accepted is what broadcasts to "
                         f"{shape}") from None


def in_dtype(call: str, x: Array, dtype: npt.DTypeLike | None) -> Array:
    """Return the logits in the dtype that is asked for."""
    if dtype is None:
        return x
    wanted = np.dtype(dtype)
    if wanted.kind not in "fV" or not np.can_cast(x.dtype, wanted, "same_kind"):
        raise TypeError(f"fastact.{call}: dtype is {wanted}; accepted is a dtype of floats that logits of {x.dtype} "
                        f"can be cast to")
    return rounded(x, working_dtype(call, "dtype", wanted)) if x.dtype != wanted else x


def check_gradient(call: str, gradient: bool, out: Array | None, x: Array) -> None:
    """Check that `gradient` is a bool, and that `out` can take one."""
    if not isinstance(gradient, bool | np.bool_):
        raise TypeError(f"fastact.{call}: gradient must be True or False, got {gradient!r}")
    if out is None:
        return
    if not gradient:
        raise ValueError(f"fastact.{call}: out takes the gradient; accepted is None with gradient=False")
    check_out(call, out, x.shape, x.dtype)


def check_outs(call: str, out: tuple[Array | None, Array | None], x: Array) -> None:
    """Check the pair of arrays for a gradient and a Hessian."""
    if not isinstance(out, tuple) or len(out) != 2:
        raise TypeError(f"fastact.{call}: out must be a tuple of two, for the gradient and the Hessian, got {out!r}")
    for one in out:
        if one is not None:
            check_out(call, one, x.shape, x.dtype)
    if out[0] is not None and out[1] is not None and np.may_share_memory(out[0], out[1]):
        raise ValueError(f"fastact.{call}: both arrays of out share memory")


def is_direct(out: Array | None, dtype: np.dtype[Any], inputs: tuple[Array, ...]) -> bool:
    """Tell whether a kernel may write to `out`, whose axes are in the kernel's order: then it is plain, and an input
    that it overlaps is the same array.
    """
    if out is None or type(out) is not np.ndarray or out.dtype != dtype or not out.dtype.isnative:
        return False
    if not out.flags.c_contiguous or not out.flags.aligned:
        return False
    return all(not np.may_share_memory(out, one)
               or (out.ctypes.data == one.ctypes.data and out.dtype == one.dtype and out.size == one.size)
               for one in inputs)


def loss_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Return the dtype of the loss for logits of `dtype`: 16 bits are too few for it."""
    return np.dtype(np.float32) if has_16_bits(dtype) else dtype


def reduced(losses: Array, reduction: str, divisor: float) -> Any:
    """Add the losses exactly; the mean is rounded once if its divisor is a number of losses."""
    axes = tuple(range(losses.ndim))
    if reduction == "sum":
        return sum_over(losses, axes)
    if not divisor:
        return np.nan  # NumPy's mean gives NaN too, with a warning
    if isinstance(divisor, float):
        return sum_over(losses, axes) / divisor
    return sum_over(losses, axes, divisor)


def sum_in_two_parts(losses: Array) -> complex:
    """Add losses exactly: the nearest number, and what it lacks."""
    flat = np.append(losses.astype(np.float64).ravel("K"), 0.0)
    high = float(sum_over(flat, (0,)))
    flat[-1] = -high
    return complex(high, sum_over(flat, (0,)) if math.isfinite(high) else 0.0)
