"""A backend of thinc for the CPU whose activations are those of fastact.

thinc finds it by its entry point, without an import of fastact:

    from thinc.api import Mish, Softmax, chain, use_ops

    with use_ops("fastact"):
        model = chain(Mish(nO=64), Softmax())

A layer keeps the backend that is current when it is made. ``set_current_ops(get_ops("fastact"))`` makes it the current
one for good, and ``get_ops("cpu")`` stays thinc's own.
"""

from collections.abc import Callable
from functools import wraps
from typing import Any

from thinc import registry
from thinc.backends.numpy_ops import NumpyOps
from thinc.backends.ops import FloatsT, Ops
from thinc.types import Floats2d, FloatsXdT

from fastact.catalogue import erf, hard_tanh, mish, relu, sigmoid, silu, softmax
from fastact.lookup import get

__all__ = ["FastactOps"]

THRESHOLD = 20  # of mish: from here on it is its argument, also in float64


def _value(name: str) -> Callable[..., Any]:
    f = get(name, convention="thinc")

    @wraps(getattr(Ops, name))
    def value(self: Ops, X: Any, inplace: bool = False) -> Any:
        return f(X, out=X if inplace else None)

    return value


def _backprop(name: str) -> Callable[..., Any]:
    f = get(name, convention="thinc")

    @wraps(getattr(Ops, f"backprop_{name}"))
    def backprop(self: Ops, dY: Any, X: Any, inplace: bool = False) -> Any:
        return f.backward(dY, X, out=dY if inplace else None)

    return backprop


def _refuse_other_shapes(method: str, **arrays: Any) -> None:
    if len({array.shape for array in arrays.values()}) > 1:
        shapes = ", ".join(f"{name} has the shape {array.shape}" for name, array in arrays.items())
        raise ValueError(f"FastactOps.{method}: {shapes}; accepted are arrays of one shape")


@registry.ops("FastactOps")
class FastactOps(NumpyOps):  # type: ignore[misc]  # of a class that may be missing
    """thinc's `NumpyOps`, with the activations of fastact.

    Replaced are `relu`, `relu_k`, `clipped_linear`, `hard_sigmoid`, `hard_tanh`, `sigmoid`, `swish`, `hard_swish`,
    `hard_swish_mobilenet`, `dish`, `gelu`, `gelu_approx`, `mish` and `softmax`, what their layers call in the backward
    pass, and `erf`. All else is inherited. The arguments are those of `NumpyOps`, and so are the derivatives at kinks.
    Arrays are of float16, float32 or float64.

    Parameters
    ----------
    device_type, device_id, use_blis
        As `NumpyOps` has them.

    Examples
    --------
    >>> from thinc.api import get_ops
    >>> ops = get_ops("fastact")
    >>> ops.mish(ops.asarray1f([-1.0, 0.0, 2.0]))
    array([-0.30340147,  0.        ,  1.943959  ], dtype=float32)
    """

    name = "fastact"

    relu = _value("relu")
    sigmoid = _value("sigmoid")
    swish = _value("swish")
    hard_swish_mobilenet = _value("hard_swish_mobilenet")
    dish = _value("dish")
    gelu = _value("gelu")
    gelu_approx = _value("gelu_approx")

    backprop_hard_swish_mobilenet = _backprop("hard_swish_mobilenet")
    backprop_dish = _backprop("dish")
    backprop_gelu = _backprop("gelu")
    backprop_gelu_approx = _backprop("gelu_approx")

    def backprop_relu(self, dY: Floats2d, Y: Floats2d, inplace: bool = False) -> Floats2d:
        _refuse_other_shapes("backprop_relu", dY=dY, Y=Y)
        return relu.backward(dY, output=Y, out=dY if inplace else None)

    def backprop_sigmoid(self, dY: FloatsXdT, Y: FloatsXdT, *, inplace: bool = False) -> FloatsXdT:
        return sigmoid.backward(dY, output=Y, out=Y if inplace else None)

    def backprop_swish(self, dY: FloatsXdT, X: FloatsXdT, Y: FloatsXdT, inplace: bool = False) -> FloatsXdT:
        _refuse_other_shapes("backprop_swish", dY=dY, X=X, Y=Y)
        return silu.backward(dY, X, out=dY if inplace else None)

    def mish(self, X: FloatsXdT, threshold: float = 20.0, inplace: bool = False) -> FloatsXdT:
        if threshold < THRESHOLD:
            return super().mish(X, threshold, inplace)
        return mish(X, out=X if inplace else None)

    def backprop_mish(self, dY: FloatsXdT, X: Floats2d, threshold: float = 20.0, inplace: bool = False) -> FloatsXdT:
        if threshold < THRESHOLD:
            return super().backprop_mish(dY, X, threshold, inplace)
        _refuse_other_shapes("backprop_mish", dY=dY, X=X)
        return mish.backward(dY, X, out=dY if inplace else None)

    # relu_k, hard_sigmoid and hard_tanh of Ops call clipped_linear; all of these layers do.
    def clipped_linear(
        self,
        X: FloatsXdT,
        slope: float = 1.0,
        offset: float = 0.0,
        min_val: float = 0.0,
        max_val: float = 1.0,
        inplace: bool = False,
    ) -> FloatsXdT:
        out = X if inplace else None
        if slope != 1 or offset != 0:
            X = out = self.xp.multiply(X, slope, out=out)
            X += offset
        return hard_tanh(X, min_val, max_val, out=out)

    def backprop_clipped_linear(
        self,
        dY: FloatsXdT,
        X: FloatsXdT,
        slope: float = 1.0,
        offset: float = 0.0,
        min_val: float = 0.0,
        max_val: float = 1.0,
        inplace: bool = False,
    ) -> FloatsXdT:
        # From the output the derivative is 0 at both kinks, as in thinc.
        low, high = (min_val - offset) / slope, (max_val - offset) / slope
        dX = hard_tanh.backward(dY, output=X, min_value=low, max_value=high, out=dY if inplace else None)
        if slope != 1:
            dX *= slope
        return dX

    def erf(self, X: FloatsXdT) -> FloatsXdT:
        return erf(X)

    def softmax(self, x: FloatsT, *, inplace: bool = False, axis: int = -1, temperature: float = 1.0) -> FloatsT:
        return softmax(x, axis, temperature=temperature, out=x if inplace else None)

    def backprop_softmax(self, Y: FloatsT, dY: FloatsT, *, axis: int = -1, temperature: float = 1.0) -> FloatsT:
        return softmax.backward(dY, output=Y, axis=axis, temperature=temperature)
