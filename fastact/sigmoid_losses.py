"""Losses of sigmoid: the loss of each logit and its gradient, in one pass."""

import math
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fastact._activation import as_numbers, has_16_bits, keeps_kind, rounded, store
from fastact._buffers import with_retry
from fastact._costs import cost_of
from fastact._engine.elementwise import KernelSet
from fastact._engine.runtime import empty_like
from fastact._isa import elementwise_kernels
from fastact._loss_arguments import (
    Array,
    Part,
    Result,
    check_gradient,
    check_outs,
    check_reduction,
    in_dtype,
    loss_dtype,
    number_within,
    reduced,
    sum_in_two_parts,
    with_hessian,
)

Number = Array | float
NO_OUT = (None, None)


class ElementwiseLoss(NamedTuple):
    """A loss of single logits: its kernels with the first result alone, and with both."""

    name: str
    first: KernelSet
    both: KernelSet


def _loss(name: str) -> ElementwiseLoss:
    """Make the kernels of a function of _math/sigmoid_losses.pxd."""
    cost = cost_of(name)
    first, both = (
        KernelSet(elementwise_kernels(f"{name}.{key}"), name, f"{name} of logits, targets and four numbers", 2, 4,
                  outputs, cost, (math.nan,) * 4)
        for key, outputs in (("first", 1), ("both", 2)))
    return ElementwiseLoss(name, first, both)


LOSSES = {loss.name: loss for loss in (_loss("sigmoid_cross_entropy"), _loss("sigmoid_focal"))}
HESSIAN = _loss("sigmoid_cross_entropy_hessian")


def _gradient_and_hessian(
    logits: npt.ArrayLike,
    targets: npt.ArrayLike,
    *,
    pos_weight: npt.ArrayLike | None = None,
    sample_weight: npt.ArrayLike | None = None,
    out: tuple[Array | None, Array | None] = NO_OUT,
) -> tuple[Array, Array]:
    r"""Compute the first and the second derivative of the sigmoid cross-entropy of each logit.

    .. math:: g = s \left((1 - y) \sigma(x) - q y \, \sigma(-x)\right), \qquad
        h = s \, \sigma(x) \sigma(-x) (1 - y + q y)

    These are what gradient boosting asks of an objective. The losses are not reduced.

    Parameters
    ----------
    logits : array_like
        Logits of float16, bfloat16, float32 or float64 (bool and integers are computed in float64).
    targets : array_like
        Numbers from 0 to 1, bool or integers, which broadcast to the logits.
    pos_weight : array_like, optional
        The weight q of y, which broadcasts to the logits. Default: 1.
    sample_weight : array_like, optional
        The weight s, which broadcasts to the logits. Where it is 0 both results are 0. Default: 1.
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
    ValueError
        If an argument does not broadcast to the logits.
    """
    call = "sigmoid_cross_entropy.gradient_and_hessian"
    x = as_numbers(call, "logits", logits)
    check_outs(call, out, x)
    inputs = _inputs(call, x, targets, {"pos_weight": pos_weight, "smoothing": 0.0, "sample_weight": sample_weight})
    gradient, hessian = _run(HESSIAN.both, x, (*inputs, 1.0), (x.dtype, x.dtype), out=out)
    return gradient, hessian


@with_hessian(_gradient_and_hessian)
def sigmoid_cross_entropy(
    logits: npt.ArrayLike,
    targets: npt.ArrayLike,
    reduction: str = "mean",
    *,
    pos_weight: npt.ArrayLike | None = None,
    sample_weight: npt.ArrayLike | None = None,
    label_smoothing: float = 0.0,
    gradient: bool = True,
    dtype: npt.DTypeLike | None = None,
    out: Array | None = None,
) -> Result:
    r"""Compute the cross-entropy of sigmoid and its gradient.

    .. math:: L = s \left(q y \log(1 + e^{-x}) + (1 - y) \log(1 + e^x)\right), \qquad
        \frac{dL}{dx} = s \left((1 - y) \sigma(x) - q y \, \sigma(-x)\right)

    No term cancels for targets of 0 and 1, so that the loss and the gradient of a confident right answer keep their
    digits.

    Parameters
    ----------
    logits : array_like
        Logits of float16, bfloat16, float32 or float64 (bool and integers are computed in float64).
    targets : array_like
        Numbers y, usually from 0 to 1, bool or integers, which broadcast to the logits.
    reduction : {"mean", "sum", "none"}, optional
        Reduction of the loss over all logits; the gradient is that of the reduced loss. With "none" each logit has its
        own loss and gradient.
    pos_weight : array_like, optional
        The weight q of y, which broadcasts to the logits. Default: 1.
    sample_weight : array_like, optional
        The weight s, which broadcasts to the logits. The mean is not divided by it. Where it is 0 the loss and the
        gradient are 0, whatever the logit is. Default: 1.
    label_smoothing : float, optional
        From 0 to 1; with e it is y (1 - e) + e / 2 in place of y. Default: 0.
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
        One number; with "none" one number per logit. Of the dtype of `logits`, but float32 for 16 bits.
    gradient : scalar or ndarray
        Gradient with respect to the logits, of their shape and dtype. With ``gradient=False`` the loss alone is
        returned.

    Raises
    ------
    TypeError
        If a dtype is not supported, or an option is of a wrong type.
    ValueError
        If an argument does not broadcast to the logits, the reduction is unknown, `label_smoothing` is out of range, or
        `out` is given with ``gradient=False``.

    Notes
    -----
    ``sigmoid_cross_entropy.gradient_and_hessian(logits, targets)`` gives the second derivatives too.

    Source: D. R. Cox, The regression analysis of binary sequences (1958).
    """
    call = "sigmoid_cross_entropy"
    smoothing = number_within(call, "label_smoothing", label_smoothing, 0, 1, "0 to 1")
    x = in_dtype(call, as_numbers(call, "logits", logits), dtype)
    check_reduction(call, reduction)
    check_gradient(call, gradient, out, x)
    inputs = _inputs(call, x, targets,
                     {"pos_weight": pos_weight, "smoothing": smoothing, "sample_weight": sample_weight})
    return _reduced(LOSSES[call], x, inputs, reduction, gradient, out)


@keeps_kind
def sigmoid_focal(
    logits: npt.ArrayLike,
    targets: npt.ArrayLike,
    reduction: str = "mean",
    *,
    alpha: float = 0.25,
    gamma: float = 2.0,
    sample_weight: npt.ArrayLike | None = None,
    gradient: bool = True,
    dtype: npt.DTypeLike | None = None,
    out: Array | None = None,
) -> Result:
    r"""Compute the focal loss and its gradient.

    .. math:: L = s \left(\alpha y f(x) + (1 - \alpha) (1 - y) f(-x)\right), \quad
        f(z) = \sigma(-z)^\gamma \log(1 + e^{-z}), \qquad
        f'(z) = -\sigma(-z)^\gamma \left(\gamma \sigma(z) \log(1 + e^{-z}) + \sigma(-z)\right)

    All terms have one sign for targets of 0 and 1, so that confident right answers keep their digits.

    Parameters
    ----------
    logits : array_like
        Logits of float16, bfloat16, float32 or float64 (bool and integers are computed in float64).
    targets : array_like
        Numbers y from 0 to 1, bool or integers, which broadcast to the logits.
    reduction : {"mean", "sum", "none"}, optional
        Reduction of the loss over all logits; the gradient is that of the reduced loss. With "none" each logit has its
        own loss and gradient.
    alpha : float, optional
        The weight of y, from 0 to 1; that of 1 - y is 1 - alpha. Default: 0.25.
    gamma : float, optional
        The power, from 0 to 1000: the larger, the less count the logits that are right. Default: 2.
    sample_weight : array_like, optional
        The weight s, which broadcasts to the logits. The mean is not divided by it. Where it is 0 the loss and the
        gradient are 0, whatever the logit is. Default: 1.
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
        One number; with "none" one number per logit. Of the dtype of `logits`, but float32 for 16 bits.
    gradient : scalar or ndarray
        Gradient with respect to the logits, of their shape and dtype. With ``gradient=False`` the loss alone is
        returned.

    Raises
    ------
    TypeError
        If a dtype is not supported, or an option is of a wrong type.
    ValueError
        If an argument does not broadcast to the logits, the reduction is unknown, a number is out of range, or `out` is
        given with ``gradient=False``.

    Notes
    -----
    Source: T.-Y. Lin et al., Focal loss for dense object detection (2017).
    """
    call = "sigmoid_focal"
    alpha = number_within(call, "alpha", alpha, 0, 1, "0 to 1")
    gamma = number_within(call, "gamma", gamma, 0, 1000, "0 to 1000")
    x = in_dtype(call, as_numbers(call, "logits", logits), dtype)
    check_reduction(call, reduction)
    check_gradient(call, gradient, out, x)
    inputs = _inputs(call, x, targets, {"alpha": alpha, "gamma": gamma, "sample_weight": sample_weight})
    return _reduced(LOSSES[call], x, inputs, reduction, gradient, out)


def _inputs(
    call: str, x: Array, targets: npt.ArrayLike, numbers: dict[str, npt.ArrayLike | float | None]
) -> tuple[Number, ...]:
    """Return the targets and the numbers of a kernel, in the dtype of the computation; None is 1."""
    dtype = loss_dtype(x.dtype)
    inputs: list[Number] = []
    for name, given in {"targets": targets, **numbers}.items():
        if given is None or (isinstance(given, float) and name != "targets"):
            inputs.append(1.0 if given is None else given)
            continue
        array = as_numbers(call, name, given)
        array = array if array.dtype == dtype else rounded(array, dtype)
        try:
            np.broadcast_to(array, x.shape)
        except ValueError:
            raise ValueError(f"fastact.{call}: {name} has the shape {array.shape}; accepted is what broadcasts to "
                             f"{x.shape}") from None
        inputs.append(array)
    return tuple(inputs)


def _reduced(
    loss: ElementwiseLoss, x: Array, inputs: tuple[Number, ...], reduction: str, gradient: bool, out: Array | None
) -> Result:
    of, divisor = reduction if isinstance(reduction, Part) else (reduction, x.size)
    scale = 1 / divisor if of == "mean" and divisor else 1.0
    dtypes = (loss_dtype(x.dtype), x.dtype)
    if gradient:
        losses, slopes = _run(loss.both, x, (*inputs, scale), dtypes, out=None if out is None else (None, out))
    else:
        (losses,) = _run(loss.first, x, (*inputs, scale), dtypes[:1], out=None)
    value = losses
    if isinstance(reduction, Part):
        value = sum_in_two_parts(losses)
    elif reduction != "none":
        value = rounded(reduced(losses.ravel("K"), reduction, x.size), losses.dtype)[()]
    return (value, slopes) if gradient else value


@with_retry
def _run(
    kernels: KernelSet, x: Array, inputs: tuple[Number, ...], dtypes: tuple[np.dtype[Any], ...], *,
    out: tuple[Array | None, ...] | None
) -> list[Array]:
    """Compute the results of these dtypes, and write those to `out` for which there is one."""
    dtype = loss_dtype(x.dtype)
    logits = rounded(x, dtype) if has_16_bits(x.dtype) else x
    given = out or (None,) * len(dtypes)
    targets = tuple(one if one is not None and one.dtype == dtype and type(one) is np.ndarray else
                    empty_like(logits) if logits.flags.c_contiguous else np.empty_like(logits) for one in given)
    kernels.ufunc(logits, *inputs, out=targets)
    results = []
    for target, wanted, one in zip(targets, dtypes, given, strict=True):
        if one is None:
            results.append((target if target.dtype == wanted else rounded(target, wanted))[()])
            continue
        if one is not target:
            store(one, target)
        results.append(one)
    return results
