"""Losses of rows of logits: their targets and options, checked, and the operation that computes them."""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fastact._activation import as_numbers, has_16_bits, rounded, store
from fastact._buffers import with_retry
from fastact._costs import cost_of
from fastact._engine.rows import RowOperation
from fastact._engine.runtime import empty_like
from fastact._isa import KERNELS
from fastact._layout import Layout, masked, product, reorder, row_axes
from fastact._loss_arguments import (
    Array,
    Factor,
    Part,
    Result,
    check_gradient,
    check_reduction,
    in_dtype,
    is_direct,
    loss_dtype,
    numbers_in_shape,
    reduced,
    sum_in_two_parts,
)

FORMS = ("", "_alone", "_scaled", "_scaled_alone", "_smoothed", "_smoothed_alone")


class RowLoss(NamedTuple):
    """A loss over rows of logits: the name of its targets, and the operations that compute it.

    The operations are those of the forms that it has: "_alone" writes no gradient, "_scaled" takes a factor of the
    logits, "_smoothed" a smoothing of labels and a z-loss.
    """

    name: str
    argument: str  # name of the targets
    probabilities: dict[str, RowOperation]  # for targets of the shape of the logits
    labels: dict[str, RowOperation] | None  # for labels; None if it accepts none


def operations(name: str) -> dict[str, RowOperation]:
    """Make the operations of every form that has steps."""
    cost = cost_of(name.removesuffix("_labels"))
    return {form: RowOperation(name + form, KERNELS, cost) for form in FORMS
            if not form or name + form in KERNELS.OPERATIONS}


class Options(NamedTuple):
    """The options of a call, with numbers checked and arrays as they were given."""

    class_weight: npt.ArrayLike | None = None
    sample_weight: npt.ArrayLike | None = None
    ignore_index: int | None = None
    smoothing: float = 0.0
    z_loss: float = 0.0
    factor: Factor = (1.0, 0.0)
    where: npt.ArrayLike | None = None
    gradient: bool = True
    dtype: npt.DTypeLike | None = None
    alpha: float = 1.0


NO_OPTIONS = Options()


class Rows(NamedTuple):
    """The checked targets and weights of the rows, in the order of the axes of the logits."""

    labels: Array | None
    targets: Array | None  # where there are no labels, or labels are not enough
    weights: Array | None  # float64, of the loss and the gradient; None: 1
    left_out: Array | None  # the rows that take no part; None: there are none
    divisor: float  # of a mean
    mask: Array | None  # the classes that take part; None: all


def loss_and_gradient(
    loss: RowLoss,
    logits: npt.ArrayLike,
    targets: npt.ArrayLike,
    axis: int,
    reduction: str,
    options: Options = NO_OPTIONS,
    out: Array | None = None,
) -> Result:
    """Check the arguments of a call, and compute it."""
    call = loss.name
    x = as_numbers(call, "logits", logits)
    check_reduction(call, reduction)
    axis = axis_of_classes(call, x, axis)
    x = in_dtype(call, x, options.dtype)
    check_gradient(call, options.gradient, out, x)
    mask = None
    if options.where is not None:
        x, mask = masked(call, x, options.where, -np.inf)
    rows = _checked_rows(loss, x, targets, axis, options, mask)
    value, gradient = compute_rows(loss, x, rows, axis, reduction, options, out=out)
    return value if gradient is None else (value, gradient)


def axis_of_classes(call: str, x: Array, axis: int) -> int:
    """Return the axis as an index that is not negative."""
    if x.ndim == 0:
        raise np.exceptions.AxisError(f"fastact.{call}: logits has no dimension; accepted are (..., classes)")
    if isinstance(axis, tuple) or axis is None:
        raise TypeError(f"fastact.{call}: axis must be an integer, got {axis!r}")
    return row_axes(call, axis, x.ndim)[0]


def _checked_rows(
    loss: RowLoss, x: Array, given: npt.ArrayLike, axis: int, options: Options, mask: Array | None
) -> Rows:
    call = loss.name
    of_rows, classes = x.shape[:axis] + x.shape[axis + 1 :], x.shape[axis]
    labels = targets = left_out = of_classes = weights = None
    divisor: float = product(of_rows)
    if options.class_weight is not None:
        of_classes = numbers_in_shape(call, "class_weight", options.class_weight, (classes,))
    if loss.labels is not None and _are_labels(given, x, axis):
        labels, left_out = checked_labels(call, loss.argument, given, of_rows, classes, options.ignore_index)
        if left_out is not None:
            divisor -= np.count_nonzero(left_out)
        if of_classes is not None and classes:
            weights = of_classes[labels]
            weights = weights if left_out is None else np.where(left_out, 0, weights)
            divisor = float(weights.sum())
        uneven = weights is not None or mask is not None
        if (options.smoothing and uneven) or (options.z_loss and weights is not None):
            targets = _smoothed_labels(x, labels, axis, of_classes, options.smoothing, mask)
            labels = weights = None
    else:
        if options.ignore_index is not None:
            raise ValueError(f"fastact.{call}: ignore_index is {options.ignore_index}; accepted is None for "
                             f"probabilities")
        targets = as_numbers(call, loss.argument, given)
        if targets.shape != x.shape:
            accepted = f"{x.shape}" + (f", or {of_rows} for labels" if loss.labels is not None else "")
            raise ValueError(f"fastact.{call}: {loss.argument} has the shape {targets.shape}; accepted is {accepted}")
        if options.smoothing:
            targets = (targets.astype(np.float64) * (1 - options.smoothing)
                       + _uniform(x, axis, options.smoothing, mask) * (1 if mask is None else mask))
        if of_classes is not None:  # in float64: rounded once, to the dtype of the computation
            targets = targets * of_classes.reshape((classes,) + (1,) * (x.ndim - 1 - axis))
    return weighted_rows(call, Rows(labels, targets, weights, left_out, divisor, mask), of_rows, options.sample_weight)


def weighted_rows(call: str, rows: Rows, shape: tuple[int, ...], sample_weight: npt.ArrayLike | None) -> Rows:
    """Weight the rows, and leave out those whose weight is 0."""
    weights, left_out = rows.weights, rows.left_out
    if sample_weight is weights is None:
        return rows
    if sample_weight is not None:
        of_samples = numbers_in_shape(call, "sample_weight", sample_weight, shape)
        weights = of_samples if weights is None else weights * of_samples
    if weights is not None and not weights.all():
        left_out = (weights == 0) if left_out is None else left_out | (weights == 0)
    return rows._replace(weights=weights, left_out=left_out)


def _uniform(x: Array, axis: int, smoothing: float, mask: Array | None) -> Any:
    """The smoothing of one class of each row."""
    if mask is None:
        return smoothing / max(x.shape[axis], 1)
    return smoothing / np.maximum(np.count_nonzero(mask, axis=axis, keepdims=True), 1)


def _smoothed_labels(
    x: Array, labels: Array, axis: int, of_classes: Array | None, smoothing: float, mask: Array | None
) -> Array:
    """The weighted, smoothed targets of labels, in the dtype of the computation."""
    targets = np.empty(x.shape, loss_dtype(x.dtype))
    uniform, places = _uniform(x, axis, smoothing, mask), np.expand_dims(labels, axis)
    weights = np.ones(x.shape[axis]) if of_classes is None else of_classes
    with np.errstate(all="ignore"):
        np.multiply(uniform, weights.reshape((-1,) + (1,) * (x.ndim - 1 - axis)), out=targets, casting="same_kind")
        if mask is not None:
            np.copyto(targets, 0, where=~mask)
        if targets.size:
            left = 1 if mask is None else np.take_along_axis(mask, places, axis)
            np.put_along_axis(targets, places, weights[places] * ((1 - smoothing) + uniform * left), axis)
    return targets


@with_retry
def compute_rows(
    loss: RowLoss, x: Array, rows: Rows, axis: int, reduction: str | Part, options: Options, *, out: Array | None
) -> tuple[Any, Array | None]:
    layout = Layout(x, (axis,))
    order = tuple(k - (k > axis) for k in layout.order if k != axis)
    dtype, y, labels = x.dtype, None, None
    forms = loss.probabilities
    part = isinstance(reduction, Part)
    if isinstance(reduction, Part):
        rows, reduction = rows._replace(divisor=reduction.divisor), reduction.reduction
    form = "_scaled" if options.factor != (1, 0) else ""
    if rows.labels is not None and loss.labels is not None:
        forms, labels = loss.labels, np.ascontiguousarray(rows.labels.transpose(order))
        form = form or ("_smoothed" if options.smoothing or options.z_loss else "")
    elif rows.targets is not None:
        y = rows.targets
        dtype = np.dtype(np.float32) if has_16_bits(x.dtype) and y.dtype != x.dtype else x.dtype
        y = layout.matrix(y if y.dtype == dtype else rounded(y, dtype))
    first = layout.matrix(x.astype(dtype, copy=False))
    mean = reduction == "mean"
    scale = (1 / rows.divisor if mean and rows.divisor else 1.0) * options.factor[0]
    weights = None if rows.weights is None else np.ascontiguousarray(rows.weights.transpose(order))
    target = gradient = None
    if options.gradient:
        ordered = None if out is None else out.transpose(layout.order)
        direct = is_direct(ordered, dtype, (first,)) and (y is None or not np.may_share_memory(out, y))
        target = ordered if direct else empty_like(first).reshape(layout.shape)
    kept = layout.shape[:layout.first] + layout.shape[layout.first + 1:]
    losses = np.zeros(kept if layout.n or reduction == "none" else 0)  # empty rows may be too many to allocate
    if layout.n:
        operation = forms[form if target is not None else f"{form}_alone"]
        operation.apply(first, (layout.outer, layout.n, layout.inner), y=y, out=target, results=losses, labels=labels,
                        scale=scale, scales=None if weights is None else weights * scale,
                        numbers=(*options.factor, options.smoothing, options.z_loss, options.alpha))
        losses = _special_rows(rows, layout, order, losses, target, y)
        if target is not None and mean and not rows.divisor:
            target[...] = 0
    value: Any
    if part:
        value = sum_in_two_parts(losses)
    else:
        value = rounded(reorder(losses, order) if reduction == "none" else reduced(losses, reduction, rows.divisor),
                        loss_dtype(x.dtype))[()]
    if target is None:
        return value, None
    if out is not None:
        if not direct:
            store(out, layout.restore(target, x.ndim))
        return value, out
    gradient = layout.restore(rounded(target, x.dtype) if dtype != x.dtype else target, x.ndim)
    return value, gradient


def _special_rows(
    rows: Rows, layout: Layout, order: tuple[int, ...], losses: Array, gradient: Array | None, y: Array | None
) -> Array:
    """Weight the losses, and overwrite what belongs to classes and rows that take no part."""
    if rows.mask is not None:
        mask = rows.mask.transpose(layout.order)
        nothing_left = ~mask.any(axis=layout.first)
        losses[nothing_left] = np.inf if y is None else np.where((y != 0).any(axis=layout.first), np.inf,
                                                                 0)[nothing_left]
        if gradient is not None:
            np.copyto(gradient, 0, where=~mask)
    if rows.weights is not None:
        with np.errstate(invalid="ignore"):  # infinity times 0, of rows that are left out
            losses = np.asarray(losses * rows.weights.transpose(order))  # of a single row it is a scalar
    if rows.left_out is not None:
        left_out = rows.left_out.transpose(order)
        losses[left_out] = 0
        if gradient is not None:
            np.copyto(gradient, 0, where=np.expand_dims(left_out, layout.first))
    return losses


def _are_labels(targets: npt.ArrayLike, x: Array, axis: int) -> bool:
    """Tell labels from probabilities: one entry for each row, along the axis too where there are several classes."""
    shape = np.shape(targets)
    if len(shape) == x.ndim - 1:
        return True
    one_each = (*x.shape[:axis], 1, *x.shape[axis + 1 :])
    return shape == one_each != x.shape and np.asarray(targets).dtype.kind in "iu"


def checked_labels(
    call: str, argument: str, labels: npt.ArrayLike, shape: tuple[int, ...], classes: int, ignored: int | None
) -> tuple[Array, Array | None]:
    """Return a checked copy of the labels, and which are ignored: another thread could change the original afterwards.
    """
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
