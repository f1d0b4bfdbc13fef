"""Sampling an index from the softmax of each row of logits."""

from typing import Any

import numpy as np
import numpy.typing as npt

from fastact._activation import as_numbers, check_out, keeps_kind, store
from fastact._buffers import with_retry
from fastact._costs import cost_of
from fastact._engine.rows import RowOperation
from fastact._isa import KERNELS
from fastact._layout import Layout, masked, reorder, row_axes

Array = npt.NDArray[Any]

NAME = "sample"
OPERATION = RowOperation("sample", KERNELS, cost_of("sample"))
REQUEST = 5  # numbers of a row, as fastact/_math/sampling.pxd has them: uniform, temperature, top_k, top_p, log min_p
FAULTS = {-1: "holds NaN", -2: "holds +inf", -3: "has nothing above -inf that takes part"}  # results that are no index


@keeps_kind
def sample(
    logits: npt.ArrayLike,
    rng: np.random.Generator | npt.ArrayLike,
    axis: int = -1,
    *,
    temperature: npt.ArrayLike = 1.0,
    top_k: npt.ArrayLike | None = None,
    top_p: npt.ArrayLike | None = None,
    min_p: npt.ArrayLike | None = None,
    where: npt.ArrayLike | None = None,
    out: Array | None = None,
) -> Any:
    r"""Draw an index from the softmax of each row.

    .. math:: i = \min \Big\{ j : \sum_{k \le j} w_k > u \sum_k w_k \Big\}, \quad
        w_k = \exp \frac{x_k - \max x}{T} \; \text{for the entries that stay, else} \; 0

    The filters leave the largest entries, one filter after the other: `top_k`, then `top_p`, then `min_p`. Equal
    entries stay or go together.

    Parameters
    ----------
    logits : array_like
        Logits of float16, bfloat16, float32 or float64 (bool and integers are computed in float64). The rows lie along
        `axis`.
    rng : numpy.random.Generator or array_like of float
        A generator, from which one uniform number a row is drawn, ``rng.random(rows)``, whatever the logits are; or the
        uniform numbers u themselves, from 0 to below 1, one for each row.
    axis : int, optional
        Axis of the rows. Default: the last.
    temperature : array_like, optional
        T, a finite number from 0 on. 0 takes the first of the largest entries. Default: 1.
    top_k : array_like of int, optional
        The entries stay that are not less than the k-th largest. Default: all.
    top_p : array_like, optional
        Of those, an entry stays if all larger ones together have less than this probability: the smallest set of the
        largest entries with at least this probability. At least one stays. From 0 to 1. Default: all.
    min_p : array_like, optional
        Of those, the entries stay that have at least this multiple of the largest probability. From 0 to 1. Default:
        all.
    where : array_like of bool, optional
        The entries that take part, whatever the others hold.
    out : ndarray of int, optional
        Where to write the result; `logits` itself is allowed.

    Returns
    -------
    ndarray of intp, or a scalar
        One index for each row, of the shape of the logits without `axis`. `temperature`, `top_k`, `top_p` and `min_p`
        broadcast to that shape: each row may have its own.

    Raises
    ------
    TypeError
        If a dtype is not supported, or `axis` is not an integer.
    AxisError
        If `axis` is out of bounds.
    ValueError
        If a row holds NaN or +inf, or has nothing that can be drawn; if a number is out of range, or a shape is wrong.
        Then nothing has been written.

    Notes
    -----
    The index depends on the row, its numbers and the instruction set alone: not on other rows, the layout or the number
    of threads. Weights are exponentials in the dtype of the computation, float32 or float64; they are added in double,
    so that an index changes with another dtype or instruction set only where u is within rounding errors of the limit
    between two entries. An entry whose probability is 0 in float64 is never drawn.

    The order of the filters is that of Hugging Face transformers, which splits ties of `top_p` where this function
    keeps them. vLLM applies `min_p` before `top_k` and `top_p`, and llama.cpp the temperature last: their results
    differ if these are combined. Without filters this is ``torch.multinomial(softmax(logits), 1)``,
    ``jax.random.categorical`` and ONNX's ``Multinomial``, with other random numbers.

    Sources: A. Fan et al., Hierarchical neural story generation (2018), for top-k; A. Holtzman et al., The curious case
    of neural text degeneration (2020), for top-p; M. Nguyen et al., Turning up the heat (2025), for min-p.

    Examples
    --------
    >>> fastact.sample([[0.0, 1.0, 2.0, -1.0]] * 4, [0.05, 0.2, 0.5, 0.98])
    array([0, 1, 2, 3])
    >>> fastact.sample(np.zeros((2, 8)), np.random.default_rng(0), temperature=[1.0, 0.0])
    array([5, 0])
    """
    x = as_numbers(NAME, "logits", logits)
    if x.ndim == 0:
        raise np.exceptions.AxisError(f"fastact.{NAME}: logits has no dimension; accepted are (..., n)")
    if isinstance(axis, tuple) or axis is None:
        raise TypeError(f"fastact.{NAME}: axis must be an integer, got {axis!r}")
    (axis,) = row_axes(NAME, axis, x.ndim)
    rows, n = x.shape[:axis] + x.shape[axis + 1 :], x.shape[axis]
    if out is not None:
        _check_out(out, rows, n)
    if where is not None:
        x, _ = masked(NAME, x, where, -np.inf)
    if n == 0 and 0 not in rows:
        raise ValueError(f"fastact.{NAME}: logits has the shape {x.shape}; accepted are rows with entries")
    requests = np.empty((*rows, REQUEST))
    requests[..., 1] = _numbers("temperature", temperature, rows, np.finfo(np.float64).max, "finite numbers from 0 on")
    requests[..., 2] = _counts(top_k, rows, n)
    requests[..., 3] = _numbers("top_p", 1.0 if top_p is None else top_p, rows, 1, "numbers from 0 to 1")
    with np.errstate(divide="ignore"):
        requests[..., 4] = np.log(_numbers("min_p", 0.0 if min_p is None else min_p, rows, 1, "numbers from 0 to 1"))
    requests[..., 0] = _uniforms(rng, rows)
    indices = _draw(x, axis, requests)
    if out is None:
        return indices[()]
    store(out, indices.astype(out.dtype))
    return out


@with_retry
def _draw(x: Array, axis: int, requests: Array) -> Array:
    layout = Layout(x, (axis,))
    order = tuple(k - (k > axis) for k in layout.order if k != axis)
    results = np.zeros(layout.shape[: layout.first] + layout.shape[layout.first + 1 :])
    inputs = np.ascontiguousarray(requests.transpose(*order, requests.ndim - 1))
    OPERATION.apply(layout.matrix(x), (layout.outer, layout.n, layout.inner), results=results, inputs=inputs)
    indices = reorder(results, order).astype(np.intp)
    if indices.size and indices.min() < 0:
        place = np.unravel_index(np.argmax(indices < 0), indices.shape)
        row = ", ".join([str(k) for k in place[:axis]] + [":"] + [str(k) for k in place[axis:]])
        raise ValueError(f"fastact.{NAME}: logits[{row}] {FAULTS[int(indices[place])]}; accepted are finite numbers "
                         f"and -inf, not all -inf")
    return indices


def _numbers(name: str, given: npt.ArrayLike, rows: tuple[int, ...], most: float, accepted: str) -> Array:
    """Return numbers from 0 to `most` as float64, broadcast to the rows."""
    numbers = as_numbers(NAME, name, given).astype(np.float64)
    wrong = ~((numbers >= 0) & (numbers <= most))
    if wrong.any():
        raise ValueError(f"fastact.{NAME}: {name} holds {numbers[wrong].flat[0]:g}; accepted are {accepted}")
    return _broadcast(name, numbers, rows)


def _broadcast(name: str, numbers: Array, rows: tuple[int, ...]) -> Array:
    try:
        return np.broadcast_to(numbers, rows)
    except ValueError:
        raise ValueError(f"fastact.{NAME}: {name} has the shape {numbers.shape}; accepted is what broadcasts to "
                         f"{rows}") from None


def _counts(top_k: npt.ArrayLike | None, rows: tuple[int, ...], n: int) -> Array | float:
    """Return top_k as float64, inf where it leaves all n entries."""
    if top_k is None:
        return np.inf
    if isinstance(top_k, np.ma.MaskedArray):
        raise TypeError(f"fastact.{NAME}: top_k is a masked array; accepted is an array")
    if isinstance(top_k, int) and not isinstance(top_k, bool):
        top_k = min(max(top_k, -1), n)  # of any size
    counts = np.asarray(top_k)
    if counts.dtype.kind not in "iu":
        raise TypeError(f"fastact.{NAME}: top_k has the dtype {counts.dtype}; accepted are integers")
    if (counts < 1).any() and not (n == 0):
        raise ValueError(f"fastact.{NAME}: top_k holds {counts.min()}; accepted are integers from 1 on")
    return _broadcast("top_k", np.where(counts < n, counts, np.inf), rows)


def _uniforms(rng: Any, rows: tuple[int, ...]) -> Array:
    """Draw one number for each row, or check those given."""
    if isinstance(rng, np.random.Generator):
        return np.asarray(rng.random(rows))
    kind = None if isinstance(rng, np.ma.MaskedArray) else np.asarray(rng).dtype.kind
    if kind != "f" and not (kind == "V" and np.asarray(rng).dtype.itemsize == 2):  # that of bfloat16
        raise TypeError(f"fastact.{NAME}: rng is of the type {type(rng).__name__}; accepted is a "
                        f"numpy.random.Generator, or uniform numbers as floats")
    uniforms = as_numbers(NAME, "rng", rng).astype(np.float64)
    if uniforms.shape != rows:
        raise ValueError(f"fastact.{NAME}: rng has the shape {uniforms.shape}; accepted is one number for each row, "
                         f"{rows}")
    wrong = ~((uniforms >= 0) & (uniforms < 1))
    if wrong.any():
        raise ValueError(f"fastact.{NAME}: rng holds {uniforms[wrong].flat[0]:g}; accepted are numbers from 0 to below "
                         f"1")
    return uniforms


def _check_out(out: Any, rows: tuple[int, ...], n: int) -> None:
    integers = isinstance(out, np.ndarray) and out.dtype.kind in "iu"
    check_out(NAME, out, rows, out.dtype if integers else np.dtype(np.intp))
    if not integers:
        raise TypeError(f"fastact.{NAME}: out has the dtype {out.dtype}; accepted are integers")
    if np.iinfo(out.dtype).max < n - 1:
        raise TypeError(f"fastact.{NAME}: out has the dtype {out.dtype}; accepted are integers that hold {n - 1}")
