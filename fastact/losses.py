"""Losses of softmax: the loss and its gradient with respect to the logits, in one fused pass over each row."""

from collections.abc import Callable
from functools import wraps
from typing import Any, NamedTuple, ParamSpec, TypeVar

import numpy as np
import numpy.typing as npt

from fastact._activation import as_numbers, check_out, has_16_bits, rounded, store
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
        One number; with "none" one number per row. Of the dtype of `logits`, but float32 for 16 bits.
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
    return _loss_and_gradient(LOSSES["softmax_mse"], logits, targets, axis, reduction, _Weights())


def softmax_cross_entropy(
    logits: npt.ArrayLike,
    labels_or_probabilities: npt.ArrayLike,
    axis: int = -1,
    reduction: str = "mean",
    *,
    class_weight: npt.ArrayLike | None = None,
    sample_weight: npt.ArrayLike | None = None,
    ignore_index: int | None = None,
    out: Array | None = None,
) -> tuple[Loss, Array]:
    r"""Compute the cross-entropy of softmax and its gradient.

    .. math:: L = -s \sum_i w_i y_i \log p_i, \quad p = \mathrm{softmax}(x), \qquad
        \frac{\partial L}{\partial x_j} = s \left(p_j \sum_i w_i y_i - w_j y_j\right)

    With labels, the gradient at the right class is minus the sum of the other probabilities. That keeps its digits
    where p - 1 cancels to 0.

    Parameters
    ----------
    logits : array_like
        Logits of float16, bfloat16, float32 or float64 (bool and integers are computed in float64). The classes lie
        along `axis`.
    labels_or_probabilities : array_like
        Either labels, integers of the shape of `logits` without `axis` or with one entry along it, each the index of
        the right class; or probabilities, of the shape of `logits`.
    axis : int, optional
        Axis of the classes. Default: the last.
    reduction : {"mean", "sum", "none"}, optional
        Reduction of the loss over the rows; the gradient is that of the reduced loss. With "none" each row has its
        own loss and gradient. The mean of labels with `class_weight` is divided by the sum of the weights of the
        labels. Rows with the label `ignore_index` are not counted.
    class_weight : array_like, optional
        The weight w of each class. Default: 1.
    sample_weight : array_like, optional
        The weight s of each row, which broadcasts to the rows and may be negative. The mean is not divided by it.
        Default: 1.
    ignore_index : int, optional
        The label of rows that take no part, whatever their logits hold. Their loss and their gradient are 0, as those
        of rows whose weight is 0.
    out : ndarray, optional
        Where to write the gradient; `logits` itself is allowed.

    Returns
    -------
    loss : scalar or ndarray
        One number; with "none" one number per row. Of the dtype of `logits`, but float32 for 16 bits. A mean that is
        divided by 0 is NaN, and its gradient 0.
    gradient : ndarray
        Gradient with respect to the logits, of their shape and dtype.

    Raises
    ------
    TypeError
        If a dtype is not supported or `axis` is not an integer.
    AxisError
        If `axis` is out of bounds.
    IndexError
        If a label is not the index of a class.
    ValueError
        If the shapes differ, the reduction is unknown, or `ignore_index` is given with probabilities.

    Notes
    -----
    Source: J. S. Bridle, Probabilistic interpretation of feedforward classification network outputs (1990).
    """
    return _loss_and_gradient(LOSSES["softmax_cross_entropy"], logits, labels_or_probabilities, axis, reduction,
                              _Weights(class_weight, sample_weight, ignore_index), out)


class _Weights(NamedTuple):
    """What weighs the rows, as it was given."""

    of_classes: npt.ArrayLike | None = None
    of_rows: npt.ArrayLike | None = None
    ignored: int | None = None


class _Rows(NamedTuple):
    """The checked targets and weights of the rows, in the order of the axes of the logits."""

    labels: Array | None  # or the probabilities
    probabilities: Array | None
    weights: Array | None  # float64, of the loss and the gradient; None: 1
    left_out: Array | None  # the rows that take no part; None: there are none
    divisor: float  # of a mean


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


def _loss_and_gradient(
    loss: RowLoss,
    logits: npt.ArrayLike,
    targets: npt.ArrayLike,
    axis: int,
    reduction: str,
    weights: _Weights,
    out: Array | None = None,
) -> tuple[Loss, Array]:
    call = loss.name
    x = as_numbers(call, "logits", logits)
    if reduction not in REDUCTIONS:
        raise ValueError(f"fastact.{call}: unknown reduction {reduction!r}; accepted are {', '.join(REDUCTIONS)}")
    if x.ndim == 0:
        raise np.exceptions.AxisError(f"fastact.{call}: logits has no dimension; accepted are (..., classes)")
    if isinstance(axis, tuple) or axis is None:
        raise TypeError(f"fastact.{call}: axis must be an integer, got {axis!r}")
    (axis,) = row_axes(call, axis, x.ndim)
    if out is not None:
        check_out(call, out, x.shape, x.dtype)
    value, gradient = _compute(loss, x, _checked_rows(loss, x, targets, axis, weights), axis, reduction)
    if out is None:
        return value, gradient
    store(out, gradient)
    return value, out


def _checked_rows(loss: RowLoss, x: Array, targets: npt.ArrayLike, axis: int, weights: _Weights) -> _Rows:
    call = loss.name
    of_rows, classes = x.shape[:axis] + x.shape[axis + 1 :], x.shape[axis]
    labels = probabilities = left_out = None
    divisor: float = product(of_rows)
    of_classes = row_weights = None
    if weights.of_classes is not None:
        of_classes = _numbers(call, "class_weight", weights.of_classes, (classes,))
    if loss.labels is not None and _are_labels(targets, x, axis):
        labels, left_out = _checked_labels(loss, targets, of_rows, classes, weights.ignored)
        if of_classes is not None and classes:
            row_weights = of_classes[labels]
        if left_out is not None:
            divisor -= np.count_nonzero(left_out)
            row_weights = None if row_weights is None else np.where(left_out, 0, row_weights)
        divisor = divisor if row_weights is None else float(row_weights.sum())
    else:
        if weights.ignored is not None:
            raise ValueError(f"fastact.{call}: ignore_index is {weights.ignored}; accepted is None for probabilities")
        probabilities = as_numbers(call, loss.argument, targets)
        if probabilities.shape != x.shape:
            accepted = f"{x.shape}" + (f", or {of_rows} for labels" if loss.labels is not None else "")
            raise ValueError(f"fastact.{call}: {loss.argument} has the shape {probabilities.shape}; accepted is "
                             f"{accepted}")
        if of_classes is not None:
            of_classes = of_classes.reshape((classes,) + (1,) * (x.ndim - 1 - axis))
            probabilities = probabilities * of_classes  # in float64: rounded once, to the dtype of the computation
    if weights.of_rows is not None:
        of_samples = _numbers(call, "sample_weight", weights.of_rows, of_rows)
        row_weights = of_samples if row_weights is None else row_weights * of_samples
    if row_weights is not None and not row_weights.all():
        left_out = (row_weights == 0) if left_out is None else left_out | (row_weights == 0)
    return _Rows(labels, probabilities, row_weights, left_out, divisor)


def _numbers(call: str, name: str, weights: npt.ArrayLike, shape: tuple[int, ...]) -> Array:
    """Return weights as float64 in that shape."""
    array = as_numbers(call, name, weights).astype(np.float64)
    try:
        return np.broadcast_to(array, shape)
    except ValueError:
        raise ValueError(f"fastact.{call}: {name} has the shape {array.shape}; accepted is what broadcasts to "
                         f"{shape}") from None


@_with_retry
def _compute(loss: RowLoss, x: Array, rows: _Rows, axis: int, reduction: str) -> tuple[Loss, Array]:
    layout = Layout(x, (axis,))
    order = tuple(k - (k > axis) for k in layout.order if k != axis)
    dtype, operation, y, labels = x.dtype, loss.probabilities, None, None
    if rows.labels is not None and loss.labels is not None:
        operation, labels = loss.labels, np.ascontiguousarray(rows.labels.transpose(order))
    elif rows.probabilities is not None:
        y = rows.probabilities
        dtype = np.dtype(np.float32) if has_16_bits(x.dtype) and y.dtype != x.dtype else x.dtype
        y = layout.matrix(rounded(y, dtype))
    mean = reduction == "mean"
    scale = 1 / rows.divisor if mean and rows.divisor else 1.0
    weights = None if rows.weights is None else np.ascontiguousarray(rows.weights.transpose(order))
    left_out = None if rows.left_out is None else rows.left_out.transpose(order)
    gradient = np.empty(layout.shape, dtype)
    kept = layout.shape[:layout.first] + layout.shape[layout.first + 1:]
    losses = np.zeros(kept if layout.n or reduction == "none" else 0)  # empty rows may be too many to allocate
    if layout.n:
        operation.apply(layout.matrix(x.astype(dtype, copy=False)), (layout.outer, layout.n, layout.inner), y=y,
                        out=gradient, results=losses, labels=labels, scale=scale,
                        scales=None if weights is None else weights * scale)
        losses = losses if weights is None else losses * weights
        if left_out is not None:
            losses[left_out] = 0
            np.copyto(gradient, 0, where=np.expand_dims(left_out, layout.first))
        if mean and not rows.divisor:
            gradient[...] = 0
    gradient = layout.restore(rounded(gradient, x.dtype) if dtype != x.dtype else gradient, x.ndim)
    as_loss = np.dtype(np.float32) if has_16_bits(x.dtype) else x.dtype
    if reduction == "none":
        return rounded(reorder(losses, order), as_loss)[()], gradient
    return rounded(_reduced(losses, rows, mean), as_loss)[()], gradient


def _reduced(losses: Array, rows: _Rows, mean: bool) -> Any:
    """Add the losses exactly; the mean is rounded once if its divisor is a number of rows."""
    axes = tuple(range(losses.ndim))
    if mean and not rows.divisor:
        return np.nan  # NumPy's mean gives NaN too, with a warning
    if not mean or isinstance(rows.divisor, float):
        return sum_over(losses, axes) / (rows.divisor if mean else 1)
    return sum_over(losses, axes, rows.divisor)


def _are_labels(targets: npt.ArrayLike, x: Array, axis: int) -> bool:
    """Tell labels from probabilities: one entry for each row, along the axis too where there are several classes."""
    shape = np.shape(targets)
    if len(shape) == x.ndim - 1:
        return True
    one_each = (*x.shape[:axis], 1, *x.shape[axis + 1 :])
    return shape == one_each != x.shape and np.asarray(targets).dtype.kind in "iu"


def _checked_labels(
    loss: RowLoss, labels: npt.ArrayLike, shape: tuple[int, ...], classes: int, ignored: int | None
) -> tuple[Array, Array | None]:
    """Return a checked copy of the labels, and which are ignored: another thread could change the original afterwards.
    """
    call, argument = loss.name, loss.argument
    if isinstance(labels, np.ma.MaskedArray):
        raise TypeError(f"fastact.{call}: {argument} is a masked array; accepted is an array")
    if ignored is not None and (isinstance(ignored, bool) or not hasattr(ignored, "__index__")):
        raise TypeError(f"fastact.{call}: ignore_index must be an integer, got {ignored!r}")
    array = np.asarray(labels)
    array = array.reshape(shape) if array.ndim > len(shape) else array
    if array.shape != shape:
        raise ValueError(f"fastact.{call}: {argument} has the shape {array.shape}; accepted is {shape} for labels")
    if array.size == 0:
        return np.zeros(shape, np.intp), None  # the array of an empty list is float64
    if array.dtype.kind not in "iu":
        raise TypeError(f"fastact.{call}: {argument} has the shape of labels and the dtype {array.dtype}; accepted are "
                        f"integers")
    left_out = None if ignored is None else np.asarray(array == ignored)
    array = array if left_out is None else np.where(left_out, array.dtype.type(0), array)
    if classes == 0 and (left_out is None or not left_out.all()):
        raise IndexError(f"fastact.{call}: {argument} holds labels, but logits has no classes; accepted are no rows, "
                         f"or logits with classes")
    wide = array.dtype.kind == "u" and array.dtype.itemsize > 4  # int64 cannot hold all of these
    copied = array.astype(np.uint64 if wide else np.int64)
    if copied.view(np.uint64).max() >= max(classes, 1):  # of which negative numbers are the largest
        wrong = copied.min() if copied.min() < 0 else copied.max()
        raise IndexError(f"fastact.{call}: {argument} holds {wrong}; accepted are 0 to {classes - 1}")
    return copied.astype(np.intp, copy=False), left_out
