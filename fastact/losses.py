"""Losses of softmax: the loss and its gradient with respect to the logits, in one fused pass over each row."""

from collections.abc import Callable
from functools import wraps
from typing import Any, NamedTuple, ParamSpec, TypeVar

import numpy as np
import numpy.typing as npt

from fastact._activation import as_numbers, has_16_bits, rounded
from fastact._engine.rows import RowOperation
from fastact._engine.runtime import give_up_buffers
from fastact._isa import KERNELS
from fastact._layout import Layout, product, reorder, row_axes, sum_over

Array = npt.NDArray[Any]
Loss = Any  # a scalar, or with reduction="none" an array
P = ParamSpec("P")
T = TypeVar("T")

REDUCTIONS = ("mean", "sum", "none")
COST = 1.2  # nanoseconds per float32 entry on one thread


class RowLoss(NamedTuple):
    """A loss over rows of logits: the name of its targets, and the operations that compute it."""

    name: str
    argument: str  # name of the targets
    probabilities: RowOperation  # for targets of the shape of the logits
    labels: RowOperation | None  # for labels; None if it accepts none


def _operation(name: str) -> RowOperation:
    return RowOperation(name, KERNELS, COST)


LOSSES = {
    loss.name: loss for loss in (
        RowLoss("softmax_mse", "targets", _operation("softmax_mse"), None),
        RowLoss("softmax_cross_entropy", "labels_or_probabilities", _operation("softmax_cross_entropy"),
                _operation("softmax_cross_entropy_labels")),
    )
}


def softmax_mse(
    logits: npt.ArrayLike, targets: npt.ArrayLike, axis: int = -1, reduction: str = "mean"
) -> tuple[Loss, Array]:
    r"""Compute the squared error of softmax and its gradient.

    .. math:: L = \frac{1}{2} \sum_i (p_i - y_i)^2, \quad p = \mathrm{softmax}(x), \qquad
        \frac{\partial L}{\partial x_j} = p_j \left((p_j - y_j) - \sum_i p_i (p_i - y_i)\right)

    Parameters
    ----------
    logits : array_like
        Logits of float16, bfloat16, float32 or float64 (bool and integers are computed in float64). The classes lie
        along `axis`.
    targets : array_like
        An array of the same shape, for instance of one-hot rows.
    axis : int, optional
        Axis of the classes. Default: the last.
    reduction : {"mean", "sum", "none"}, optional
        Reduction of the loss over the rows; the gradient is that of the reduced loss. With "none" each row has its
        own loss and gradient.

    Returns
    -------
    loss : scalar or ndarray
        One number; with "none" one number per row.
    gradient : ndarray
        Gradient with respect to the logits, of their shape.

    Raises
    ------
    TypeError
        If a dtype is not supported or `axis` is not an integer.
    AxisError
        If `axis` is out of bounds.
    ValueError
        If the shapes differ or the reduction is unknown.

    Notes
    -----
    Source: the worked example of the project's founding notes, softmax at the output with the squared error.
    """
    return _loss_and_gradient(LOSSES["softmax_mse"], logits, targets, axis, reduction)


def softmax_cross_entropy(
    logits: npt.ArrayLike, labels_or_probabilities: npt.ArrayLike, axis: int = -1, reduction: str = "mean"
) -> tuple[Loss, Array]:
    r"""Compute the cross-entropy of softmax and its gradient.

    .. math:: L = -\sum_i y_i \log p_i, \quad p = \mathrm{softmax}(x), \qquad
        \frac{\partial L}{\partial x_j} = p_j \sum_i y_i - y_j

    With labels, the gradient at the right class is minus the sum of the other probabilities. That keeps its digits
    where p - 1 cancels to 0.

    Parameters
    ----------
    logits : array_like
        Logits of float16, bfloat16, float32 or float64 (bool and integers are computed in float64). The classes lie
        along `axis`.
    labels_or_probabilities : array_like
        Either labels, integers of the shape of `logits` without `axis`, each the index of the right class; or
        probabilities, of the shape of `logits`.
    axis : int, optional
        Axis of the classes. Default: the last.
    reduction : {"mean", "sum", "none"}, optional
        Reduction of the loss over the rows; the gradient is that of the reduced loss. With "none" each row has its
        own loss and gradient.

    Returns
    -------
    loss : scalar or ndarray
        One number; with "none" one number per row.
    gradient : ndarray
        Gradient with respect to the logits, of their shape.

    Raises
    ------
    TypeError
        If a dtype is not supported or `axis` is not an integer.
    AxisError
        If `axis` is out of bounds.
    IndexError
        If a label is not the index of a class.
    ValueError
        If the shapes differ or the reduction is unknown.

    Notes
    -----
    Source: J. S. Bridle, Probabilistic interpretation of feedforward classification network outputs (1990).
    """
    return _loss_and_gradient(LOSSES["softmax_cross_entropy"], logits, labels_or_probabilities, axis, reduction)


def _with_retry(function: Callable[P, T]) -> Callable[P, T]:
    """Wrap a function that writes to no argument: on a MemoryError, free the kept memory and call it again."""
    @wraps(function)
    def called(*arguments: P.args, **keywords: P.kwargs) -> T:
        try:
            return function(*arguments, **keywords)
        except MemoryError:
            if not give_up_buffers():
                raise
        return function(*arguments, **keywords)
    return called


@_with_retry
def _loss_and_gradient(
    loss: RowLoss, logits: npt.ArrayLike, targets: npt.ArrayLike, axis: int, reduction: str
) -> tuple[Loss, Array]:
    call = loss.name
    x = as_numbers(call, "logits", logits)
    if reduction not in REDUCTIONS:
        raise ValueError(f"fastact.{call}: unknown reduction {reduction!r}; accepted are {', '.join(REDUCTIONS)}")
    if x.ndim == 0:
        raise np.exceptions.AxisError(f"fastact.{call}: logits has no dimension; accepted are (..., classes)")
    if isinstance(axis, tuple) or axis is None:
        raise TypeError(f"fastact.{call}: axis must be an integer, got {axis!r}")
    axes = row_axes(call, axis, x.ndim)
    of_rows = x.shape[:axes[0]] + x.shape[axes[0] + 1:]
    layout = Layout(x, axes)
    order = tuple(k - (k > axes[0]) for k in layout.order if k != axes[0])
    dtype, operation, y, labels = x.dtype, loss.probabilities, None, None
    if loss.labels is not None and np.ndim(targets) == x.ndim - 1:
        operation = loss.labels
        labels = _checked_labels(loss, targets, of_rows, x.shape[axes[0]])
        labels = np.ascontiguousarray(labels.transpose(order))
    else:
        y = as_numbers(call, loss.argument, targets)
        if y.shape != x.shape:
            accepted = f"{x.shape}" + (f", or {of_rows} for labels" if loss.labels is not None else "")
            raise ValueError(f"fastact.{call}: {loss.argument} has the shape {y.shape}; accepted is {accepted}")
        dtype = np.dtype(np.float32) if has_16_bits(x.dtype) and y.dtype != x.dtype else x.dtype
        y = layout.matrix(rounded(y, dtype))
    rows = product(of_rows)
    gradient = np.empty(layout.shape, dtype)
    kept = layout.shape[:layout.first] + layout.shape[layout.first + 1:]
    losses = np.zeros(kept if layout.n or reduction == "none" else 0)  # empty rows may be too many to allocate
    if layout.n:
        operation.apply(layout.matrix(x.astype(dtype, copy=False)), (layout.outer, layout.n, layout.inner), y=y,
                        out=gradient, results=losses, labels=labels,
                        scale=1 / rows if reduction == "mean" and rows else 1)
    gradient = rounded(gradient, x.dtype) if dtype != x.dtype else gradient
    if reduction == "none":
        return rounded(reorder(losses, order), x.dtype)[()], layout.restore(gradient, x.ndim)
    if reduction == "mean" and not rows:
        total = np.asarray(np.nan)  # NumPy's mean gives NaN too, with a warning
    else:
        total = sum_over(losses, tuple(range(losses.ndim)), rows if reduction == "mean" else 1)
    return rounded(total, x.dtype)[()], layout.restore(gradient, x.ndim)


def _checked_labels(loss: RowLoss, labels: npt.ArrayLike, shape: tuple[int, ...], classes: int) -> Array:
    """Return a checked copy of the labels: another thread could change the original after the check."""
    call, argument = loss.name, loss.argument
    if isinstance(labels, np.ma.MaskedArray):
        raise TypeError(f"fastact.{call}: {argument} is a masked array; accepted is an array")
    array = np.asarray(labels)
    if array.shape != shape:
        raise ValueError(f"fastact.{call}: {argument} has the shape {array.shape}; accepted is {shape} for labels")
    if array.size == 0:
        return np.zeros(shape, np.intp)  # the array of an empty list is float64
    if array.dtype.kind not in "iu":
        raise TypeError(f"fastact.{call}: {argument} has the shape of labels and the dtype {array.dtype}; accepted are "
                        f"integers")
    if classes == 0:
        raise IndexError(f"fastact.{call}: {argument} holds labels, but logits has no classes; accepted are no rows, "
                         f"or logits with classes")
    wide = array.dtype.kind == "u" and array.dtype.itemsize > 4  # int64 cannot hold all of these
    copied = array.astype(np.uint64 if wide else np.int64)
    for wrong in copied.min(), copied.max():
        if not 0 <= wrong < classes:
            raise IndexError(f"fastact.{call}: {argument} holds {wrong}; accepted are 0 to {classes - 1}")
    return copied.astype(np.intp, copy=False)
