"""Softmax, its relatives and the cross-entropy of dask arrays, lazily, also along an axis that is chunked.

Needs dask: ``pip install 'fastact[dask]'``.

Where the rows are whole in each chunk, every chunk is computed by itself. Elsewhere each chunk gives its
`fastact.RowState`, the states of a row of chunks are merged in a tree, and every chunk is computed from the state of
its rows. So each chunk is read twice and no worker needs a whole row: a worker holds a chunk, the result, and the
state, which has three numbers a row.
"""

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import dask.array as da
import numpy as np
import numpy.typing as npt
from dask.base import tokenize
from dask.highlevelgraph import HighLevelGraph

import fastact
from fastact._activation import as_numbers
from fastact._layout import row_axes
from fastact._loss_arguments import check_reduction, loss_dtype
from fastact.row_state import RowState

Axis = int | tuple[int, ...] | None
SPLIT_EVERY = 8  # states merged by one task


def softmax(x: Any, axis: Axis = -1, *, split_every: int = SPLIT_EVERY) -> Any:
    """Compute `fastact.softmax` of a dask array, lazily.

    Parameters
    ----------
    x : dask.array.Array
        Numbers of float16, bfloat16, float32 or float64 (bool and integers are computed in float64).
    axis : int, tuple of int or None, optional
        Axes of the rows, chunked or not; None: all. Default: the last.
    split_every : int, optional
        Number of states that one task merges. Default: 8.

    Returns
    -------
    dask.array.Array
        Of the shape, the chunks and the dtype of `x`.

    Raises
    ------
    TypeError
        If `x` is no dask array, its dtype is not supported, or `axis` is not an integer.
    AxisError
        If `axis` is out of bounds.
    ValueError
        If `x` has no dimension, or `split_every` is below 2.

    Examples
    --------
    >>> import dask.array as da, fastact.dask
    >>> fastact.dask.softmax(da.array([[1.0, 2.0, 3.0]]).rechunk((1, 2))).compute()
    array([[0.09003057, 0.24472847, 0.66524096]])
    """
    return _of_rows("softmax", x, axis, split_every)


def log_softmax(x: Any, axis: Axis = -1, *, split_every: int = SPLIT_EVERY) -> Any:
    """Compute `fastact.log_softmax` of a dask array, lazily. Parameters, results and errors are those of `softmax`."""
    return _of_rows("log_softmax", x, axis, split_every)


def logsumexp(x: Any, axis: Axis = -1, keepdims: bool = False, *, split_every: int = SPLIT_EVERY) -> Any:
    """Compute `fastact.logsumexp` of a dask array, lazily.

    Parameters and errors are those of `softmax`; with `keepdims` the axes of the rows stay, with the length 1.
    """
    x, axes, dtype = _checked("logsumexp", x, axis)
    token = tokenize("logsumexp", x, axes, keepdims, split_every)
    states, layer = _merged_states(x, axes, split_every, token)
    name = f"logsumexp-{token}"
    chunks = tuple((1,) if k in axes else chunk for k, chunk in enumerate(x.chunks) if keepdims or k not in axes)
    for index in _indices(x, axes):
        place = index if keepdims else tuple(block for k, block in enumerate(index) if k not in axes)
        layer[(name, *place)] = (_logsumexp, states[index], dtype, keepdims)
    return _array(name, layer, [x], chunks, dtype)


def softmax_backward(dy: Any, output: Any, axis: Axis = -1) -> Any:
    r"""Compute the gradient of softmax, :math:`p_i (dy_i - \sum_j p_j dy_j)`, lazily.

    Parameters
    ----------
    dy, output : dask.array.Array
        The gradient with respect to the softmax, and the softmax, of one shape.
    axis : int, tuple of int or None, optional
        Axes of the rows, chunked or not. Default: the last.

    Returns
    -------
    dask.array.Array
        Of the chunks and the dtype of `output`.

    Raises
    ------
    TypeError
        If an array is no dask array, its dtype is not supported, or `axis` is not an integer.
    AxisError
        If `axis` is out of bounds.
    ValueError
        If the shapes differ.
    """
    dy, output, axes, dtype = _checked_pair("softmax_backward", dy, output, axis)
    total = (_wide(dy) * _wide(output)).sum(axis=axes, keepdims=True)
    return da.map_blocks(_softmax_backward, dy, output, total, dtype=dtype, meta=_meta(output.ndim, dtype))


def log_softmax_backward(dy: Any, output: Any, axis: Axis = -1) -> Any:
    r"""Compute the gradient of log_softmax, :math:`dy_i - e^{y_i} \sum_j dy_j`, lazily.

    Parameters, results and errors are those of `softmax_backward`; `output` is y, the log_softmax.
    """
    dy, output, axes, dtype = _checked_pair("log_softmax_backward", dy, output, axis)
    total = _wide(dy).sum(axis=axes, keepdims=True)
    return da.map_blocks(_log_softmax_backward, dy, output, total, dtype=dtype, meta=_meta(output.ndim, dtype))


def softmax_cross_entropy(
    logits: Any, labels: Any, axis: int = -1, reduction: str = "mean", *, split_every: int = SPLIT_EVERY
) -> tuple[Any, Any]:
    """Compute `fastact.softmax_cross_entropy` of labels, lazily.

    Parameters
    ----------
    logits : dask.array.Array
        The classes lie along `axis`, which may be chunked.
    labels : array_like of int or dask.array.Array
        Of the shape of `logits` without `axis`, in any chunks.
    axis : int, optional
        Axis of the classes. Default: the last.
    reduction : {"mean", "sum", "none"}, optional
        Reduction of the losses of the rows; the gradient is that of the reduced loss.
    split_every : int, optional
        Number of states that one task merges. Default: 8.

    Returns
    -------
    loss : dask.array.Array
        Without a dimension; with "none" one number a row. Of the dtype of `logits`, but float32 for 16 bits.
    gradient : dask.array.Array
        Of the shape, the chunks and the dtype of `logits`.

    Raises
    ------
    TypeError
        If `logits` is no dask array, or a dtype is not supported.
    ValueError
        If the shapes differ, the reduction is unknown, or the chunks along `axis` have unknown lengths.
    IndexError
        If a label is not the index of a class: at the time of the computation.
    """
    call = "dask.softmax_cross_entropy"
    check_reduction(call, reduction)
    x, axes, dtype = _checked("softmax_cross_entropy", logits, axis)
    if len(axes) != 1:
        raise TypeError(f"fastact.{call}: axis must be an integer, got {axis!r}")
    (axis,) = axes
    if np.isnan(x.shape).any():
        raise ValueError(f"fastact.{call}: logits has chunks of unknown lengths; accepted are known ones: "
                         f"logits.compute_chunk_sizes()")
    rows = x.shape[:axis] + x.shape[axis + 1 :]
    right = da.asarray(labels)
    if right.dtype.kind not in "iu":
        raise TypeError(f"fastact.{call}: labels has the dtype {right.dtype}; accepted are integers")
    if right.shape != rows:
        raise ValueError(f"fastact.{call}: labels has the shape {right.shape}; accepted is {rows}")
    right = da.expand_dims(right.rechunk(x.chunks[:axis] + x.chunks[axis + 1 :]), axis)
    scale = 1 / max(int(np.prod(rows)), 1) if reduction == "mean" else 1.0

    token = tokenize(call, x, right, axis, reduction, split_every)
    states, layer = _merged_states(x, axes, split_every, token)
    starts = np.concatenate([[0], np.cumsum(x.chunks[axis])])
    at_labels, losses, gradient = f"logit-{token}", f"loss-{token}", f"gradient-{token}"
    for index in _indices(x, axes):
        label, parts = (right.name, *index), []
        for k in range(x.numblocks[axis]):
            block = (*index[:axis], k, *index[axis + 1 :])
            parts.append((at_labels, *block))
            layer[parts[-1]] = (_at_label, (x.name, *block), label, axis, int(starts[k]), x.shape[axis])
            layer[(gradient, *block)] = (_gradient, (x.name, *block), label, states[index], axis, int(starts[k]), scale)
        layer[(losses, *index)] = (_loss, states[index], parts)
    chunks = tuple((1,) if k == axis else chunk for k, chunk in enumerate(x.chunks))
    of_rows = _array(losses, layer, [x, right], chunks, np.dtype(np.float64)).squeeze(axis)
    if reduction == "mean":
        of_rows = of_rows.mean() if of_rows.size else of_rows.sum() * np.nan
    elif reduction == "sum":
        of_rows = of_rows.sum()
    return of_rows.astype(loss_dtype(dtype)), _array(gradient, layer, [x, right], x.chunks, dtype)


def _checked(function: str, x: Any, axis: Axis) -> tuple[Any, tuple[int, ...], np.dtype[Any]]:
    """Return a dask array of a dtype of floats, the axes of its rows and that dtype."""
    call = f"dask.{function}"
    if not isinstance(x, da.Array):
        raise TypeError(f"fastact.{call}: x is of type {type(x).__name__}; accepted is a dask array")
    if x.ndim == 0:
        raise ValueError(f"fastact.{call}: x has no dimension; accepted are (..., n)")
    dtype = as_numbers(call, "x", np.empty(0, x.dtype)).dtype
    return x.astype(dtype), row_axes(call, axis, x.ndim), dtype


def _checked_pair(function: str, dy: Any, output: Any, axis: Axis) -> tuple[Any, Any, tuple[int, ...], np.dtype[Any]]:
    output, axes, dtype = _checked(function, output, axis)
    dy, _, _ = _checked(function, dy, axis)
    if dy.shape != output.shape:
        raise ValueError(f"fastact.dask.{function}: dy has the shape {dy.shape}; accepted is {output.shape}")
    return dy.rechunk(output.chunks), output, axes, dtype


def _meta(ndim: int, dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    return np.empty((0,) * ndim, dtype)


def _array(name: str, layer: dict[Any, Any], inputs: Sequence[Any], chunks: Any, dtype: np.dtype[Any]) -> Any:
    graph = HighLevelGraph.from_collections(name, layer, dependencies=inputs)
    return da.Array(graph, name, chunks, meta=_meta(len(chunks), dtype))


def _indices(x: Any, axes: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
    """Give the index of the first chunk of each row of chunks."""
    return itertools.product(*(range(1 if k in axes else count) for k, count in enumerate(x.numblocks)))


def _merged_states(
    x: Any, axes: tuple[int, ...], split_every: int, token: str
) -> tuple[dict[tuple[int, ...], Any], dict[Any, Any]]:
    """Return the key of the state of each row of chunks, by the index of its first chunk, and the tasks."""
    if isinstance(split_every, bool) or not isinstance(split_every, int) or split_every < 2:
        raise ValueError(f"fastact.dask: split_every is {split_every!r}; accepted are integers from 2 on")
    keys, layer = {}, {}
    for first in _indices(x, axes):
        level: list[Any] = []
        for index in itertools.product(*(range(count) if k in axes else (first[k],)
                                         for k, count in enumerate(x.numblocks))):
            level.append((f"row-state-part-{token}", *index))
            layer[level[-1]] = (RowState.of, (x.name, *index), axes)
        depth = 0
        while len(level) > 1:
            depth += 1
            groups = [level[k : k + split_every] for k in range(0, len(level), split_every)]
            level = [(f"row-state-{depth}-{token}", *first, k) for k in range(len(groups))]
            layer |= {key: (_merge, group) for key, group in zip(level, groups, strict=True)}
        keys[first] = level[0]
    return keys, layer


def _of_rows(function: str, x: Any, axis: Axis, split_every: int) -> Any:
    x, axes, dtype = _checked(function, x, axis)
    if all(x.numblocks[k] == 1 for k in axes):
        return x.map_blocks(getattr(fastact, function), axis=axes, dtype=dtype, meta=_meta(x.ndim, dtype))
    token = tokenize(function, x, axes, split_every)
    states, layer = _merged_states(x, axes, split_every, token)
    name, compute = f"{function}-{token}", getattr(RowState, function)
    for index in itertools.product(*map(range, x.numblocks)):
        state = states[tuple(0 if k in axes else block for k, block in enumerate(index))]
        layer[(name, *index)] = (compute, state, (x.name, *index))
    return _array(name, layer, [x], x.chunks, dtype)


def _wide(x: Any) -> Any:
    return x.astype(np.float64)


# ------------------------------------------------------------------------------ what the tasks compute of their chunks


def _merge(states: Sequence[RowState]) -> RowState:
    merged = states[0]
    for state in states[1:]:
        merged = merged.merge(state)
    return merged


def _logsumexp(state: RowState, dtype: np.dtype[Any], keepdims: bool) -> Any:
    result = np.asarray(state.logsumexp())
    return (result.reshape(state.maximum.shape) if keepdims else result).astype(dtype)


def _softmax_backward(dy: Any, p: Any, total: Any) -> Any:
    return (p.astype(np.float64) * (dy - total)).astype(p.dtype)


def _log_softmax_backward(dy: Any, y: Any, total: Any) -> Any:
    return (dy - fastact.exp(y.astype(np.float64)) * total).astype(y.dtype)


def _local(labels: Any, start: int, x: Any, axis: int) -> tuple[Any, Any]:
    """Return the labels relative to a chunk, within it, and which of them are in it."""
    local = labels.astype(np.intp) - start
    return np.clip(local, 0, max(x.shape[axis] - 1, 0)), (local >= 0) & (local < x.shape[axis])


def _at_label(x: Any, labels: Any, axis: int, start: int, classes: int) -> Any:
    """The logits at the labels that are in this chunk, elsewhere 0."""
    wrong = (labels < 0) | (labels >= classes)
    if wrong.any():
        raise IndexError(f"fastact.dask.softmax_cross_entropy: a label is {labels[wrong][0]}; accepted are 0 to "
                         f"{classes - 1}")
    local, inside = _local(labels, start, x, axis)
    return np.where(inside, np.take_along_axis(x, local, axis) if x.shape[axis] else 0, 0).astype(np.float64)


def _loss(state: RowState, parts: Sequence[Any]) -> Any:
    """(m - x) + log(1 + rest), of which neither part is negative."""
    logit = parts[0]
    for part in parts[1:]:
        logit = logit + part
    return (state.maximum - logit) + np.log1p(state.rest + state.rest_low)


def _gradient(x: Any, labels: Any, state: RowState, axis: int, start: int, scale: float) -> Any:
    """p, and p - 1 at the label, which keeps its digits where p is nearly 1."""
    gradient = state.softmax(x).astype(np.float64)
    local, inside = _local(labels, start, x, axis)
    if x.shape[axis]:
        rest = state.rest + state.rest_low
        logit = np.take_along_axis(x, local, axis).astype(np.float64)
        p = np.take_along_axis(gradient, local, axis)
        at_label = np.where(logit == state.maximum, -rest / (1 + rest), p - 1)
        np.put_along_axis(gradient, local, np.where(inside, at_label, p), axis)
    return (gradient * scale).astype(x.dtype)
