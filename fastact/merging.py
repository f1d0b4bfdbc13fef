"""Attention in parts: the outputs for parts of the keys, merged to the output for all of them."""

from typing import Any

import numpy as np
import numpy.typing as npt

from fastact._activation import as_numbers, check_out, has_16_bits, keeps_kind, rounded, store

Array = npt.NDArray[Any]


@keeps_kind
def merge_softmax(
    o1: npt.ArrayLike, lse1: npt.ArrayLike, o2: npt.ArrayLike, lse2: npt.ArrayLike, out: Array | None = None
) -> tuple[Array, Array]:
    r"""Merge two means that are weighted by softmax over two parts of the same rows.

    .. math:: l = \log(e^{l_1} + e^{l_2}), \qquad o = e^{l_1 - l} o_1 + e^{l_2 - l} o_2

    Parameters
    ----------
    o1, o2 : array_like
        The means, of one shape (..., d): the probabilities of each part times its values, and what `merge_softmax` has
        merged of them.
    lse1, lse2 : array_like
        The logarithms of their denominators, of the shape (...): what `softmax` returns with `return_lse`. A part whose
        lse is -inf is left out, whatever its mean holds.
    out : ndarray, optional
        Where to write the merged mean; `o1` and `o2` are allowed.

    Returns
    -------
    o : ndarray
        The mean over both parts, of the common dtype of `o1` and `o2`; 0 if both are left out. 16-bit numbers are
        rounded once.
    lse : ndarray
        The logarithm of its denominator, of the common dtype of `lse1` and `lse2` and of float32 at least.

    Raises
    ------
    TypeError
        If a dtype is not supported.
    ValueError
        If the shapes differ, or `out` is read-only.

    Notes
    -----
    Source: T. Dao et al., FlashAttention: fast and memory-efficient exact attention with IO-awareness (2022).
    """
    call = "merge_softmax"
    means = [as_numbers(call, name, o) for name, o in (("o1", o1), ("o2", o2))]
    logs = [as_numbers(call, name, lse) for name, lse in (("lse1", lse1), ("lse2", lse2))]
    shape = means[0].shape
    if not shape:
        raise ValueError(f"fastact.{call}: o1 has no dimension; accepted are (..., d)")
    rows = shape[:-1]
    for name, array, accepted in (("o2", means[1], shape), ("lse1", logs[0], rows), ("lse2", logs[1], rows)):
        if array.shape != accepted:
            raise ValueError(f"fastact.{call}: {name} has the shape {array.shape}; accepted is {accepted}")
    dtype, of_lse = common_dtype(means), _at_least_float32(common_dtype(logs))
    if out is not None:
        check_out(call, out, shape, dtype)
    wide = _at_least_float32(dtype)
    parts = [lse.astype(np.float64) for lse in logs]
    with np.errstate(all="ignore"):
        lse = np.logaddexp(*parts)
        merged = np.zeros(shape, wide)
        for mean, part in zip(means, parts, strict=True):
            weight = np.exp(part - lse).astype(wide)[..., np.newaxis]
            takes_part = np.asarray(part != -np.inf)[..., np.newaxis]
            np.add(merged, mean.astype(wide, copy=False) * weight, out=merged, where=takes_part)
    if out is None:
        return rounded(merged, dtype), rounded(lse, of_lse)[()]
    store(out, merged)
    return out, rounded(lse, of_lse)[()]


def common_dtype(arrays: list[Array]) -> Any:
    """Return the common dtype of two arrays; NumPy has none for float16 and bfloat16."""
    dtypes = {array.dtype for array in arrays}
    if len(dtypes) == 2 and all(has_16_bits(dtype) for dtype in dtypes):
        return np.dtype(np.float32)
    return np.result_type(*dtypes)


def _at_least_float32(dtype: Any) -> Any:
    return np.dtype(np.float32) if has_16_bits(dtype) else dtype
