"""Losses of softmax and of the entmax family: the loss and its gradient in one fused pass over each row of logits."""

import math
from collections.abc import Callable
from inspect import cleandoc, signature
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from fastact._activation import as_numbers, keeps_kind, store
from fastact._buffers import with_retry
from fastact._engine.runtime import empty_like
from fastact._layout import Layout
from fastact._loss_arguments import (
    Array,
    Loss,
    Result,
    check_outs,
    factor_of,
    is_direct,
    number_within,
    numbers_in_shape,
    with_hessian,
)
from fastact._row_calls import mean_of_labels
from fastact._row_losses import Options, RowLoss, axis_of_classes, checked_labels, loss_and_gradient, operations
from fastact.rowwise import alpha_of

LABELS = operations("softmax_cross_entropy_labels")
LOSSES = {
    loss.name: loss for loss in (
        RowLoss("softmax_mse", "targets", operations("softmax_mse"), None),
        RowLoss("softmax_cross_entropy", "labels_or_probabilities", operations("softmax_cross_entropy"), LABELS),
        *(RowLoss(name, "labels_or_probabilities", operations(name), operations(f"{name}_labels"))
          for name in ("sparsemax_loss", "entmax15_loss", "entmax_loss")),
    )
}
ABOVE_ONE = math.nextafter(1, 2)  # the alpha for which targets of probabilities are computed in place of 1
ENTMAX_LOSSES = {  # of the alpha that have operations of their own
    1.0: LOSSES["entmax_loss"]._replace(labels=LABELS),
    1.5: LOSSES["entmax15_loss"]._replace(name="entmax_loss"),
    2.0: LOSSES["sparsemax_loss"]._replace(name="entmax_loss"),
}
HESSIAN = operations("softmax_hessian")[""]
F = TypeVar("F", bound=Callable[..., Any])
NO_OUT = (None, None)
ZERO, ONE = 0.0, 1.0  # the defaults: a call with them takes the fast path
fast_mean = with_retry(mean_of_labels)


@keeps_kind
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
    return loss_and_gradient(LOSSES["softmax_mse"], logits, targets, axis, reduction)


def _gradient_and_hessian(
    logits: npt.ArrayLike,
    labels: npt.ArrayLike,
    *,
    axis: int = -1,
    sample_weight: npt.ArrayLike | None = None,
    factor: float = 1.0,
    out: tuple[Array | None, Array | None] = NO_OUT,
) -> tuple[Array, Array]:
    r"""Compute the gradient of the cross-entropy of each row and the diagonal of its Hessian.

    .. math:: g_j = s (p_j - y_j), \qquad h_j = f s \, p_j (1 - p_j)

    These are what gradient boosting asks of an objective. 1 - p is the sum of the other probabilities where p is the
    largest one, so that it keeps its digits. The rows are not reduced.

    Parameters
    ----------
    logits : array_like
        Logits of float16, bfloat16, float32 or float64 (bool and integers are computed in float64). The classes lie
        along `axis`.
    labels : array_like
        Integers of the shape of `logits` without `axis` or with one entry along it.
    axis : int, optional
        Axis of the classes. Default: the last.
    sample_weight : array_like, optional
        The weight s of each row, which broadcasts to the rows. Rows whose weight is 0 are 0. Default: 1.
    factor : float, optional
        The factor f of the Hessian: K / (K - 1) of K classes in LightGBM, 2 in XGBoost. Default: 1.
    out : tuple of ndarray, optional
        Where to write the gradient and the Hessian; either may be None, or the logits.

    Returns
    -------
    gradient, hessian : ndarray
        Of the shape and dtype of the logits.

    Raises
    ------
    TypeError
        If a dtype is not supported, or `out` is not a tuple of two.
    AxisError
        If `axis` is out of bounds.
    IndexError
        If a label is not the index of a class.
    ValueError
        If the shapes differ, or `factor` is not a positive number.
    """
    call = "softmax_cross_entropy.gradient_and_hessian"
    x = as_numbers(call, "logits", logits)
    axis = axis_of_classes(call, x, axis)
    shape = x.shape[:axis] + x.shape[axis + 1 :]
    factor = number_within(call, "factor", factor, 5e-324, math.inf, "a positive number")
    check_outs(call, out, x)
    right, _ = checked_labels(call, "labels", labels, shape, x.shape[axis], None)
    weights = None if sample_weight is None else numbers_in_shape(call, "sample_weight", sample_weight, shape)
    return _in_one_pass(x, axis, right, weights, factor, out)


@with_retry
def _in_one_pass(
    x: Array, axis: int, labels: Array, weights: Array | None, factor: float, out: tuple[Array | None, Array | None]
) -> tuple[Array, Array]:
    layout = Layout(x, (axis,))
    order = tuple(k - (k > axis) for k in layout.order if k != axis)
    first = layout.matrix(x)
    given = [None if one is None else one.transpose(layout.order) for one in out]
    targets = [one if one is not None and is_direct(one, x.dtype, (first,)) else
               empty_like(first).reshape(layout.shape) for one in given]
    if x.size:
        scales = None if weights is None else np.ascontiguousarray(weights.transpose(order))
        HESSIAN.apply(first, (layout.outer, layout.n, layout.inner), out=targets[0], y=targets[1],
                      labels=np.ascontiguousarray(labels.transpose(order)), scales=scales,
                      numbers=(factor, 0, 0, 0, 1))
        for target in targets if scales is not None else ():
            np.copyto(target, 0, where=np.expand_dims(scales == 0, layout.first))
    results = []
    for one, ordered, target in zip(out, given, targets, strict=True):
        if one is not None and ordered is not target:
            store(one, layout.restore(target, x.ndim))
        results.append(layout.restore(target, x.ndim) if one is None else one)
    return results[0], results[1]


@with_hessian(_gradient_and_hessian)
def softmax_cross_entropy(
    logits: npt.ArrayLike,
    labels_or_probabilities: npt.ArrayLike,
    axis: int = -1,
    reduction: str = "mean",
    *,
    class_weight: npt.ArrayLike | None = None,
    sample_weight: npt.ArrayLike | None = None,
    ignore_index: int | None = None,
    label_smoothing: float = ZERO,
    z_loss: float = ZERO,
    scale: float = ONE,
    temperature: float = ONE,
    where: npt.ArrayLike | None = None,
    gradient: bool = True,
    dtype: npt.DTypeLike | None = None,
    out: Array | None = None,
) -> Result:
    r"""Compute the cross-entropy of softmax and its gradient.

    .. math:: L = s \left(-\sum_i y_i \log p_i + z \log^2 \sum_i e^{x_i}\right), \quad
        p = \mathrm{softmax}(x), \qquad
        \frac{\partial L}{\partial x_j} = s \left(p_j \sum_i y_i - y_j + 2 z p_j \log \sum_i e^{x_i}\right)

    with the targets :math:`y_i = w_i \left((1 - \epsilon) t_i + \epsilon / C\right)` of C classes; with labels, t is 1
    for the right class and 0 for the others. The gradient at a label is computed from the sum of the other
    probabilities. That keeps its digits where p - 1 cancels to 0.

    Parameters
    ----------
    logits : array_like
        Logits of float16, bfloat16, float32 or float64 (bool and integers are computed in float64). The classes lie
        along `axis`.
    labels_or_probabilities : array_like
        Either labels, integers of the shape of `logits` without `axis` or with one entry along it, each the index of
        the right class; or probabilities t, of the shape of `logits`.
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
    label_smoothing : float, optional
        The part of each target that is distributed evenly among the classes, from 0 to 1. The loss of a class whose
        logit is -inf is then infinite, unless `where` leaves it out. Default: 0.
    z_loss : float, optional
        The weight z of the squared logarithm of the sum of exponentials, which keeps that near 0. It is not multiplied
        by `class_weight`. Default: 0.
    scale : float, optional
        The logits are multiplied by it. Default: 1.
    temperature : float, optional
        The logits are divided by it; scale / temperature is from 1e-30 to 1e30. The gradient is that in the logits as
        given. Default: 1.
    where : array_like of bool, optional
        The classes that take part; it broadcasts to the logits. The gradient of the others is 0. The loss of a row
        whose label is left out is infinite, and its gradient that of the others, p.
    gradient : bool, optional
        Whether to compute the gradient. Default: True.
    dtype : dtype, optional
        The dtype of the computation: with float32, the gradient of 16-bit logits is not rounded to 16 bits. Default:
        that of `logits`.
    out : ndarray, optional
        Where to write the gradient; `logits` itself is allowed.

    Returns
    -------
    loss : scalar or ndarray
        One number; with "none" one number per row. Of the dtype of `logits`, but float32 for 16 bits. A mean that is
        divided by 0 is NaN, and its gradient 0.
    gradient : ndarray
        Gradient with respect to the logits, of their shape and dtype. With ``gradient=False`` the loss alone is
        returned.

    Raises
    ------
    TypeError
        If a dtype is not supported, `axis` is not an integer, or an option is of a wrong type.
    AxisError
        If `axis` is out of bounds.
    IndexError
        If a label is not the index of a class.
    ValueError
        If the shapes differ, the reduction is unknown, `ignore_index` is given with probabilities, `out` is given with
        ``gradient=False``, or a number is out of range.

    Notes
    -----
    ``softmax_cross_entropy.gradient_and_hessian(logits, labels)`` gives the second derivatives too.

    Sources: J. S. Bridle, Probabilistic interpretation of feedforward classification network outputs (1990); label
    smoothing: C. Szegedy et al., Rethinking the inception architecture (2016); z-loss: A. Chowdhery et al., PaLM
    (2022).
    """
    call = "softmax_cross_entropy"
    if (class_weight is sample_weight is ignore_index is where is dtype is out is None and gradient is True
            and label_smoothing is ZERO and z_loss is ZERO and scale is ONE and temperature is ONE
            and type(axis) is int and axis == -1 and type(reduction) is str and reduction == "mean"):
        result = fast_mean(LABELS[""], logits, labels_or_probabilities)
        if result is not None:
            return result
    options = Options(class_weight, sample_weight, ignore_index,
                      number_within(call, "label_smoothing", label_smoothing, 0, 1, "0 to 1"),
                      number_within(call, "z_loss", z_loss, 0, math.inf, "a finite number from 0 on"),
                      factor_of(call, scale, temperature), where, gradient, dtype)
    return loss_and_gradient(LOSSES[call], logits, labels_or_probabilities, axis, reduction, options, out)


SECTIONS = """\
Parameters
----------
logits : array_like
    Logits of float16, bfloat16, float32 or float64 (bool and integers are computed in float64). The classes lie
    along `axis`.
labels_or_probabilities : array_like
    Either labels, integers of the shape of `logits` without `axis` or with one entry along it, each the index of
    the right class; or probabilities y, of the shape of `logits`.
axis : int, optional
    Axis of the classes. Default: the last.
reduction : {"mean", "sum", "none"}, optional
    Reduction of the loss over the rows; the gradient is that of the reduced loss. With "none" each row has its
    own loss and gradient. Rows with the label `ignore_index` are not counted.
ignore_index : int, optional
    The label of rows that take no part, whatever their logits hold. Their loss and their gradient are 0.

Returns
-------
loss : scalar or ndarray
    One number; with "none" one number per row. Of the dtype of `logits`, but float32 for 16 bits.
gradient : ndarray
    Gradient with respect to the logits, of their shape and dtype.

Raises
------
TypeError
    If a dtype is not supported, or another argument is of a wrong type.
AxisError
    If `axis` is out of bounds.
IndexError
    If a label is not the index of a class.
ValueError
    If the shapes differ, the reduction is unknown, `ignore_index` is given with probabilities, or a parameter is
    out of range.

"""  # of the docstrings of the losses of the entmax family, before their notes


ALPHA = """\
alpha : float, optional
    From 1 to 1e30. With 1.5 and 2 the loss is that of entmax15 and sparsemax, to the bit. With 1 it is, of labels,
    the cross-entropy of softmax to the bit, and of probabilities that less their entropy. Default: 1.5.
"""


def with_sections(loss: F) -> F:
    """Complete a docstring, where there is one."""
    sections = SECTIONS
    if "alpha" in signature(loss).parameters:
        sections = sections.replace("ignore_index : int", f"{ALPHA}ignore_index : int")
    if loss.__doc__:
        loss.__doc__ = cleandoc(loss.__doc__).replace("Notes\n", f"{sections}Notes\n")  # Python 3.13 has cleaned it
    return loss


@keeps_kind
@with_sections
def sparsemax_loss(
    logits: npt.ArrayLike,
    labels_or_probabilities: npt.ArrayLike,
    axis: int = -1,
    reduction: str = "mean",
    *,
    ignore_index: int | None = None,
) -> Result:
    r"""Compute the Fenchel-Young loss of sparsemax and its gradient.

    .. math:: L = (p - y) \cdot x + H(p) - H(y), \quad p = \mathrm{sparsemax}(x), \quad
        H(p) = \tfrac{1}{2} \sum_i p_i (1 - p_i), \qquad
        \frac{\partial L}{\partial x_j} = p_j - y_j

    The loss is 0 where p = y, and with labels where the right class leads by 1 or more. It is added up from
    terms that are not negative, so that it keeps its digits where it is almost 0.

    Notes
    -----
    Source: M. Blondel, A. F. T. Martins and V. Niculae, Learning with Fenchel-Young losses (2020).
    """
    return loss_and_gradient(LOSSES["sparsemax_loss"], logits, labels_or_probabilities, axis, reduction,
                             Options(ignore_index=ignore_index))


@keeps_kind
@with_sections
def entmax15_loss(
    logits: npt.ArrayLike,
    labels_or_probabilities: npt.ArrayLike,
    axis: int = -1,
    reduction: str = "mean",
    *,
    ignore_index: int | None = None,
) -> Result:
    r"""Compute the Fenchel-Young loss of entmax15 and its gradient.

    .. math:: L = (p - y) \cdot x + H(p) - H(y), \quad p = \mathrm{entmax15}(x), \quad
        H(p) = \tfrac{4}{3} \sum_i (p_i - p_i^{3/2}), \qquad
        \frac{\partial L}{\partial x_j} = p_j - y_j

    The loss is 0 where p = y, and with labels where the right class leads by 2 or more. It is added up from
    terms that are not negative, so that it keeps its digits where it is almost 0.

    Notes
    -----
    Source: B. Peters, V. Niculae and A. F. T. Martins, Sparse sequence-to-sequence models (2019).
    """
    return loss_and_gradient(LOSSES["entmax15_loss"], logits, labels_or_probabilities, axis, reduction,
                             Options(ignore_index=ignore_index))


@keeps_kind
@with_sections
def entmax_loss(
    logits: npt.ArrayLike,
    labels_or_probabilities: npt.ArrayLike,
    axis: int = -1,
    reduction: str = "mean",
    *,
    alpha: float = 1.5,
    ignore_index: int | None = None,
) -> Result:
    r"""Compute the Fenchel-Young loss of entmax and its gradient.

    .. math:: L = (p - y) \cdot x + H(p) - H(y), \quad p = \mathrm{entmax}_\alpha(x), \quad
        H(p) = \frac{\sum_i (p_i - p_i^\alpha)}{\alpha (\alpha - 1)}, \qquad
        \frac{\partial L}{\partial x_j} = p_j - y_j

    The loss is 0 where p = y, and with labels where the right class leads by 1 / (alpha - 1) or more. It is added up
    from terms that are not negative; with alpha up to 2 it keeps its digits where it is almost 0.

    Notes
    -----
    Sources: B. Peters, V. Niculae and A. F. T. Martins, Sparse sequence-to-sequence models (2019); M. Blondel, A. F. T.
    Martins and V. Niculae, Learning with Fenchel-Young losses (2020).
    """
    alpha = alpha_of("entmax_loss", alpha)
    loss = ENTMAX_LOSSES.get(alpha, LOSSES["entmax_loss"])
    return loss_and_gradient(loss, logits, labels_or_probabilities, axis, reduction,
                             Options(ignore_index=ignore_index, alpha=max(alpha, ABOVE_ONE)))
