"""Losses on softmax: the loss and its gradient with respect to the logits, from one fused pass over each row."""

from typing import Any

import numpy as np
import numpy.typing as npt

from fastact.activation import loss_rows

Loss = Any  # a scalar, or with reduction="none" an array
Gradient = npt.NDArray[Any]


def softmax_mse(
    logits: npt.ArrayLike, targets: npt.ArrayLike, axis: int = -1, reduction: str = "mean"
) -> tuple[Loss, Gradient]:
    r"""Squared error of softmax, and its gradient.

    .. math:: L = \frac{1}{2} \sum_i (p_i - y_i)^2, \quad p = \mathrm{softmax}(x), \qquad
        \frac{\partial L}{\partial x_j} = p_j \left((p_j - y_j) - \sum_i p_i (p_i - y_i)\right)

    Parameters
    ----------
    logits : array_like
        float16, bfloat16, float32 and float64 (bool and integers are computed in float64). The classes lie along
        `axis`.
    targets : array_like
        Of the same shape, for instance one-hot rows.
    axis : int, optional
        Of the classes. Default: the last.
    reduction : {"mean", "sum", "none"}, optional
        Over the rows: the loss, and the gradient of that loss. With "none" each row has its own.

    Returns
    -------
    loss : scalar or ndarray
        A number, or with "none" one for each row.
    gradient : ndarray
        With respect to the logits, of their shape.

    Raises
    ------
    TypeError
        If a dtype is not supported or `axis` is no integer.
    AxisError
        If `axis` is out of bounds.
    ValueError
        If the shapes differ or the reduction is unknown.

    Notes
    -----
    Source: the worked example of the project's founding notes, softmax at the output with the squared error.
    """
    return loss_rows("softmax_mse", logits, "targets", targets, axis, reduction)


def softmax_cross_entropy(
    logits: npt.ArrayLike, labels_or_probabilities: npt.ArrayLike, axis: int = -1, reduction: str = "mean"
) -> tuple[Loss, Gradient]:
    r"""Cross-entropy of softmax, and its gradient.

    .. math:: L = -\sum_i y_i \log p_i, \quad p = \mathrm{softmax}(x), \qquad
        \frac{\partial L}{\partial x_j} = p_j \sum_i y_i - y_j

    With labels, the gradient at the right class is minus the sum of the other probabilities, which keeps its digits
    where p - 1 would round to 0.

    Parameters
    ----------
    logits : array_like
        float16, bfloat16, float32 and float64 (bool and integers are computed in float64). The classes lie along
        `axis`.
    labels_or_probabilities : array_like
        Either labels, integers of the shape of `logits` without `axis`, each the index of the right class; or
        probabilities, of the shape of `logits`.
    axis : int, optional
        Of the classes. Default: the last.
    reduction : {"mean", "sum", "none"}, optional
        Over the rows: the loss, and the gradient of that loss. With "none" each row has its own.

    Returns
    -------
    loss : scalar or ndarray
        A number, or with "none" one for each row.
    gradient : ndarray
        With respect to the logits, of their shape.

    Raises
    ------
    TypeError
        If a dtype is not supported or `axis` is no integer.
    AxisError
        If `axis` is out of bounds.
    IndexError
        If a label is no class.
    ValueError
        If the shapes differ or the reduction is unknown.

    Notes
    -----
    Source: J. S. Bridle, Probabilistic interpretation of feedforward classification network outputs (1990).
    """
    shape = np.shape(labels_or_probabilities)
    labels = len(shape) == np.ndim(logits) - 1
    operation = "softmax_cross_entropy_labels" if labels else "softmax_cross_entropy"
    argument = "labels_or_probabilities"
    return loss_rows(operation, logits, argument, labels_or_probabilities, axis, reduction)
