"""The state of rows that are given in parts: softmax of rows that are never whole in memory."""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from fastact._activation import as_numbers, check_out, store
from fastact._buffers import with_retry
from fastact._costs import cost_of
from fastact._engine.rows import RowOperation
from fastact._isa import KERNELS
from fastact._layout import Layout, reorder, row_axes

Array = npt.NDArray[Any]

REST = RowOperation("row_rest", KERNELS, cost_of("logsumexp"))
SOFTMAX = RowOperation("softmax_part", KERNELS, cost_of("softmax"))
LOG_SOFTMAX = RowOperation("log_softmax_part", KERNELS, cost_of("log_softmax"))

CONVERTED = 2**16  # numbers that are float64 at a time, of whole rows: half a MiB, which stays in the cache


@dataclass(frozen=True, eq=False, slots=True)
class RowState:
    r"""The maximum of each row, and the sum of the exponentials of its other entries.

    .. math:: m = \max_i x_i, \qquad r = \sum_i e^{x_i - m} - 1, \qquad \log \sum_i e^{x_i} = m + \log(1 + r)

    States of parts of the rows are merged to the state of the whole rows, from which each part of their softmax is
    computed: ``RowState.of(part)``, `merge`, ``state.softmax(part)``. The parts may be in other processes, since a
    state pickles.

    Sums are added in float64, in two parts, so that float32 results do not depend on how the rows are divided, unless
    the number before it is rounded lies within the rounding errors of float64 of the middle between two float32
    numbers. A merge that raises the maximum multiplies the sums, which are rounded: float64 results of 1,000 parts in
    ascending order are within 8 ulp instead of 4.

    Attributes
    ----------
    axes : tuple of int
        Axes of the rows.
    maximum : ndarray of float64
        m, of the shape of the parts with the length 1 along the axes of the rows. -inf of no entries.
    rest, rest_low : ndarray of float64
        r in two parts, of the same shape. NaN where `maximum` is NaN or +inf.

    Notes
    -----
    Source: M. Milakov and N. Gimelshein, Online normalizer calculation for softmax (2018).

    Examples
    --------
    >>> x = np.array([[1.0, 2.0, 3.0, 0.5]])
    >>> state = fastact.RowState.of(x[:, :3]).merge(fastact.RowState.of(x[:, 3:]))
    >>> state.softmax(x[:, 3:])
    array([[0.05177885]])
    >>> fastact.softmax(x)[:, 3:]
    array([[0.05177885]])
    """

    axes: tuple[int, ...]
    maximum: Array
    rest: Array
    rest_low: Array

    @classmethod
    def of(cls, x: npt.ArrayLike, axis: int | tuple[int, ...] | None = -1) -> Self:
        """Compute the state of rows, or of a part of them.

        Parameters
        ----------
        x : array_like
            Numbers of float16, bfloat16, float32 or float64 (bool and integers are computed in float64).
        axis : int, tuple of int or None, optional
            Axes of the rows; None: all. Default: the last.

        Returns
        -------
        RowState
            Along the axes of the rows, the arrays have the length 1.

        Raises
        ------
        TypeError
            If the dtype is not supported, or `axis` is not an integer.
        AxisError
            If `axis` is out of bounds.
        ValueError
            If `x` has no dimension.
        """
        call = "RowState.of"
        numbers = as_numbers(call, "x", x)
        if numbers.ndim == 0:
            raise ValueError(f"fastact.{call}: x has no dimension; accepted are (..., n)")
        axes = row_axes(call, axis, numbers.ndim)
        layout = Layout(numbers, axes)
        shape = tuple(1 if k in axes else numbers.shape[k] for k in layout.order)
        maximum, rest = np.full(shape, -np.inf), np.zeros(shape)
        if numbers.size:
            rows = layout.matrix(numbers).reshape(layout.outer, layout.n, layout.inner)
            maxima, rests = maximum.reshape(layout.outer, layout.inner), rest.reshape(layout.outer, layout.inner)
            step = max(1, CONVERTED // (layout.n * layout.inner))
            memory = np.empty((min(step, layout.outer) if rows.dtype != np.float64 else 0, *rows.shape[1:]))
            for start in range(0, layout.outer, step):
                these = slice(start, start + step)
                part = rows[these]
                if part.dtype != np.float64:
                    memory[: len(part)], part = part, memory[: len(part)]
                part.max(axis=1, out=maxima[these])
                REST.apply(part, part.shape, results=rests[these])
            rest[maximum == -np.inf] = 0
            rest[~(maximum < np.inf)] = np.nan
        maximum, rest = reorder(maximum, layout.order), reorder(rest, layout.order)
        return cls(axes, maximum, rest, np.zeros(maximum.shape))

    def merge(self, other: Self) -> Self:
        """Return the state of the entries of both.

        Parameters
        ----------
        other : RowState
            The state of other entries of the same rows.

        Returns
        -------
        RowState
            Merging is commutative.

        Raises
        ------
        ValueError
            If the shapes or the axes differ.
        """
        if self.axes != other.axes or self.maximum.shape != other.maximum.shape:
            raise ValueError(f"fastact.RowState.merge: other has the axes {other.axes} and the shape "
                             f"{other.maximum.shape}; accepted are {self.axes} and {self.maximum.shape}")
        maximum, smaller = np.maximum(self.maximum, other.maximum), np.minimum(self.maximum, other.maximum)
        is_smaller = self.maximum < other.maximum
        with np.errstate(invalid="ignore", over="ignore"):
            difference, rounding = _sum_in_two(smaller, -maximum)
            weight = np.where(smaller == -np.inf, 0, np.exp(difference) * (1 + rounding))
            added = weight * (1 + np.where(is_smaller, self.rest, other.rest))
            of_maximum = np.where(is_smaller, other.rest, self.rest)
            rest, lost = _sum_in_two(of_maximum, added)
            low = np.where(is_smaller, other.rest_low, self.rest_low) + lost
            low += weight * np.where(is_smaller, self.rest_low, other.rest_low)
        return type(self)(self.axes, maximum, rest, low)

    def logsumexp(self) -> Any:
        r"""Compute :math:`\log \sum_i e^{x_i}` of the entries.

        Returns
        -------
        ndarray of float64, or a scalar
            Without the axes of the rows.
        """
        with np.errstate(invalid="ignore"):
            whole = self.maximum + np.log1p(self.rest + self.rest_low)
        logarithm = np.where(np.isinf(self.maximum), self.maximum, whole)
        return np.squeeze(logarithm, self.axes)[()]

    def softmax(self, x: npt.ArrayLike, out: Array | None = None) -> Array:
        r"""Compute the part of the softmax that belongs to a part of the rows.

        .. math:: p_i = \frac{e^{x_i - m}}{1 + r}

        Parameters
        ----------
        x : array_like
            Entries whose state is a part of this one.
        out : ndarray, optional
            Where to write the result; `x` itself is allowed.

        Returns
        -------
        ndarray
            Of the shape and dtype of `x`, within the accuracy of `fastact.softmax`.

        Raises
        ------
        TypeError
            If the dtype is not supported.
        ValueError
            If the shape of `x` is not that of the state, but for the axes of the rows.
        """
        return self._part(SOFTMAX, "softmax", x, out)

    def log_softmax(self, x: npt.ArrayLike, out: Array | None = None) -> Array:
        r"""Compute the part of the logarithm of the softmax that belongs to a part of the rows.

        .. math:: \log p_i = (x_i - m) - \log(1 + r)

        Parameters, results and errors are those of `softmax`.
        """
        return self._part(LOG_SOFTMAX, "log_softmax", x, out)

    @with_retry
    def _part(self, operation: RowOperation, name: str, part: npt.ArrayLike, out: Array | None) -> Array:
        call = f"RowState.{name}"
        x = as_numbers(call, "x", part)
        if x.ndim != self.maximum.ndim or self.maximum.shape != tuple(
                1 if k in self.axes else x.shape[k] for k in range(x.ndim)):
            raise ValueError(f"fastact.{call}: x has the shape {x.shape}; accepted is {self.maximum.shape} with any "
                             f"length along the axes {self.axes}")
        if out is not None:
            check_out(call, out, x.shape, x.dtype)
        layout = Layout(x, self.axes)
        result = np.empty(layout.shape, x.dtype)
        if x.size:
            inputs = np.stack([self.maximum, self.rest + self.rest_low], -1).transpose(*layout.order, x.ndim)
            operation.apply(layout.matrix(x), (layout.outer, layout.n, layout.inner), out=result,
                            inputs=np.ascontiguousarray(inputs))
        restored: Array = layout.restore(result, x.ndim)
        if out is None:
            return restored
        store(out, restored)
        return out


def _sum_in_two(a: Array, b: Array) -> tuple[Array, Array]:
    """Return the sum and what rounding it lost."""
    total = a + b
    back = total - a
    return total, (a - (total - back)) + (b - back)
