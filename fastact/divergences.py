"""The entropy of softmax and the divergence of two of them, each with its gradient with respect to the logits."""

import numpy as np
import numpy.typing as npt

from fastact._activation import as_numbers, keeps_kind, rounded
from fastact._layout import product
from fastact._loss_arguments import (
    Array,
    Part,
    Result,
    check_gradient,
    check_reduction,
    factor_of,
    in_dtype,
    loss_dtype,
    number_within,
)
from fastact._row_losses import Options, RowLoss, Rows, axis_of_classes, compute_rows, operations, weighted_rows

ENTROPY = RowLoss("softmax_entropy", "logits", operations("softmax_entropy"), None)
DIVERGENCE = RowLoss("softmax_kl", "target_logits", operations("softmax_kl"), None)


@keeps_kind
def softmax_entropy(
    logits: npt.ArrayLike,
    axis: int = -1,
    reduction: str = "mean",
    *,
    sample_weight: npt.ArrayLike | None = None,
    gradient: bool = True,
    dtype: npt.DTypeLike | None = None,
    out: Array | None = None,
) -> Result:
    r"""Compute the entropy of softmax and its gradient.

    .. math:: H = -\sum_i p_i \log p_i, \quad p = \mathrm{softmax}(x), \qquad
        \frac{\partial H}{\partial x_j} = -p_j (\log p_j + H)

    Classes whose probability is 0 add nothing. With the maximum m, the entropy is computed as
    :math:`\sum_i p_i (m - x_i) + \log \sum_i e^{x_i - m}`, so that a row with one sure class keeps its digits.

    Parameters
    ----------
    logits : array_like
        Logits of float16, bfloat16, float32 or float64 (bool and integers are computed in float64). The classes lie
        along `axis`.
    axis : int, optional
        Axis of the classes. Default: the last.
    reduction : {"mean", "sum", "none"}, optional
        Reduction of the entropies of the rows; the gradient is that of the reduced entropy.
    sample_weight : array_like, optional
        The weight of each row, which broadcasts to the rows and may be negative. The mean is not divided by it. Rows
        whose weight is 0 are 0. Default: 1.
    gradient : bool, optional
        Whether to compute the gradient. Default: True.
    dtype : dtype, optional
        The dtype of the computation: with float32, the gradient of 16-bit logits is not rounded to 16 bits. Default:
        that of `logits`.
    out : ndarray, optional
        Where to write the gradient; `logits` itself is allowed.

    Returns
    -------
    entropy : scalar or ndarray
        In nats. One number; with "none" one number per row. Of the dtype of `logits`, but float32 for 16 bits.
    gradient : ndarray
        Gradient with respect to the logits, of their shape and dtype. With ``gradient=False`` the entropy alone is
        returned.

    Raises
    ------
    TypeError
        If a dtype is not supported, `axis` is not an integer, or an option is of a wrong type.
    AxisError
        If `axis` is out of bounds.
    ValueError
        If a shape differs, the reduction is unknown, or `out` is given with ``gradient=False``.

    Notes
    -----
    Source: C. E. Shannon, A mathematical theory of communication (1948).
    """
    call = ENTROPY.name
    x = as_numbers(call, "logits", logits)
    check_reduction(call, reduction)
    axis = axis_of_classes(call, x, axis)
    x = in_dtype(call, x, dtype)
    check_gradient(call, gradient, out, x)
    of_rows = x.shape[:axis] + x.shape[axis + 1 :]
    rows = weighted_rows(call, Rows(None, None, None, None, product(of_rows), None), of_rows, sample_weight)
    value, slopes = compute_rows(ENTROPY, x, rows, axis, reduction, Options(gradient=gradient), out=out)
    return value if slopes is None else (value, slopes)


@keeps_kind
def softmax_kl(
    logits: npt.ArrayLike,
    target_logits: npt.ArrayLike,
    axis: int = -1,
    reduction: str = "mean",
    *,
    temperature: float = 1.0,
    sample_weight: npt.ArrayLike | None = None,
    gradient: bool = True,
    dtype: npt.DTypeLike | None = None,
    out: Array | None = None,
) -> Result:
    r"""Compute the Kullback-Leibler divergence of softmax from the softmax of other logits, and its gradient.

    .. math:: D = \sum_i t_i (\log t_i - \log p_i), \quad p = \mathrm{softmax}(x / T), \quad
        t = \mathrm{softmax}(x' / T), \qquad \frac{\partial D}{\partial x_j} = \frac{p_j - t_j}{T}

    With :math:`d_i = \log t_i - \log p_i` the terms are computed as :math:`t_i (d_i + e^{-d_i} - 1)`, none of which is
    negative. The divergence of logits that are almost equal keeps its digits, and so do the larger entries of its
    gradient.

    Parameters
    ----------
    logits : array_like
        Logits of float16, bfloat16, float32 or float64 (bool and integers are computed in float64). The classes lie
        along `axis`.
    target_logits : array_like
        The logits of the target, an array of the same shape. They have no gradient.
    axis : int, optional
        Axis of the classes. Default: the last.
    reduction : {"mean", "sum", "none"}, optional
        Reduction of the divergences of the rows; the gradient is that of the reduced divergence. The mean is that over
        the rows.
    temperature : float, optional
        Both logits are divided by it, from 1e-30 to 1e30. The divergence is not multiplied by its square. Default: 1.
    sample_weight : array_like, optional
        The weight of each row, which broadcasts to the rows and may be negative. The mean is not divided by it. Rows
        whose weight is 0 are 0. Default: 1.
    gradient : bool, optional
        Whether to compute the gradient. Default: True.
    dtype : dtype, optional
        The dtype of the results. Default: that of `logits`; of the divergence float32 for 16 bits.
    out : ndarray, optional
        Where to write the gradient; `logits` itself is allowed.

    Returns
    -------
    divergence : scalar or ndarray
        In nats. One number; with "none" one number per row.
    gradient : ndarray
        Gradient with respect to the logits, of their shape and dtype. With ``gradient=False`` the divergence alone is
        returned.

    Raises
    ------
    TypeError
        If a dtype is not supported, `axis` is not an integer, or an option is of a wrong type.
    AxisError
        If `axis` is out of bounds.
    ValueError
        If the shapes differ, the reduction is unknown, `temperature` is out of range, or `out` is given with
        ``gradient=False``.

    Notes
    -----
    Sources: S. Kullback and R. A. Leibler, On information and sufficiency (1951); G. Hinton et al., Distilling the
    knowledge in a neural network (2015).
    """
    call = DIVERGENCE.name
    x, target = as_numbers(call, "logits", logits), as_numbers(call, "target_logits", target_logits)
    check_reduction(call, reduction)
    axis = axis_of_classes(call, x, axis)
    number_within(call, "temperature", temperature, 1e-30, 1e30, "1e-30 to 1e30")
    x = in_dtype(call, x, dtype)
    check_gradient(call, gradient, out, x)
    if target.shape != x.shape:
        raise ValueError(f"fastact.{call}: target_logits has the shape {target.shape}; accepted is {x.shape}")
    of_rows = x.shape[:axis] + x.shape[axis + 1 :]
    rows = weighted_rows(call, Rows(None, target, None, None, product(of_rows), None), of_rows, sample_weight)
    options = Options(gradient=gradient, factor=factor_of(call, 1.0, temperature))
    wide = x if target.dtype != np.float64 else x.astype(np.float64, copy=False)
    value, slopes = compute_rows(DIVERGENCE, wide, rows, axis, reduction, options, out=out)
    if wide.dtype != x.dtype and not isinstance(reduction, Part):
        value = rounded(value, loss_dtype(x.dtype))[()]
    if slopes is None:
        return value
    return value, slopes if out is not None or slopes.dtype == x.dtype else rounded(slopes, x.dtype)
