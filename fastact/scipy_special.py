"""Functions of `scipy.special` by their names there, with SciPy's signatures and defaults.

``from fastact import scipy_special as special`` replaces ``from scipy import special``. SciPy itself is not needed.

Dtypes are those of fastact: float16 and bfloat16 stay as they are, booleans and integers are computed in float64,
longdouble and complex numbers are refused.
"""

from typing import Any, Literal, Protocol, overload

import numpy as np
import numpy.typing as npt

from fastact import catalogue
from fastact._activation import ACCEPTED, as_numbers, make_signature, rounded
from fastact._layout import product, row_axes, sum_over
from fastact._types import Array, Axis, F, Out
from fastact._ufunc_calls import UFUNC_KEYWORDS
from fastact.elementwise import Elementwise
from fastact.merging import common_dtype
from fastact.rowwise import Rowwise

__all__ = ["erf", "expit", "log_expit", "log_softmax", "logit", "logsumexp", "softmax"]


class Ufunc(Protocol):
    """A function that is called as a NumPy ufunc of one input."""

    @overload
    def __call__(self, x: npt.NDArray[F], /, out: None = None) -> npt.NDArray[F]: ...
    @overload
    def __call__(self, x: npt.ArrayLike, /, out: Out, **keywords: Any) -> Out: ...
    @overload
    def __call__(self, x: float, /) -> np.float64: ...
    @overload
    def __call__(self, x: npt.ArrayLike, /, out: Any = None, **keywords: Any) -> Any: ...


def _ufunc(name: str, activation: Elementwise, example: str) -> Ufunc:
    def call(x: npt.ArrayLike, /, out: Any = None, **keywords: Any) -> Any:
        if not keywords:
            return activation(x) if out is None else activation(x, out=out)
        unknown = [keyword for keyword in keywords if keyword not in UFUNC_KEYWORDS]
        if unknown:  # a parameter of the activation, for instance
            raise TypeError(f"fastact.scipy_special.{name}: unknown argument {unknown[0]}; accepted are x, "
                            f"{', '.join(UFUNC_KEYWORDS)}")
        if keywords.get("signature") is not None:  # parameters have the dtype of x
            types = keywords["signature"]
            keywords["signature"] = types[:1] * len(activation.parameters) + types
        return activation(x, out=out, **keywords)

    call.__name__ = call.__qualname__ = name
    signature = make_signature(["x", ("out", None)], [one for one in UFUNC_KEYWORDS.items() if one[0] != "out"])
    x, *others = signature.parameters.values()
    call.__signature__ = signature.replace(  # type: ignore[attr-defined]
        parameters=[x.replace(kind=x.POSITIONAL_ONLY), *others])
    call.__doc__ = f"""{activation.summary}

.. math:: {activation.formula}

Parameters
----------
x : array_like
    Numbers of any shape: {ACCEPTED}.
out : ndarray or tuple of one ndarray, optional
    Where to write the result; `x` itself is allowed.
where, casting, order, dtype, subok, signature : optional
    As for every NumPy ufunc.

Returns
-------
ndarray or scalar
    Of the shape and dtype of `x`.

Raises
------
TypeError
    If a dtype is not supported, or an argument is unknown.
ValueError
    If `out` has another shape or is read-only.

See Also
--------
fastact.{activation.name} : the same function, with derivative and backward

Examples
--------
>>> from fastact import scipy_special
>>> scipy_special.{name}([0.25, 0.5])
{example}
"""
    return call


expit = _ufunc("expit", catalogue.sigmoid, "array([0.5621765 , 0.62245933])")
log_expit = _ufunc("log_expit", catalogue.log_sigmoid, "array([-0.57593942, -0.47407698])")
logit = _ufunc("logit", catalogue.logit, "array([-1.09861229,  0.        ])")
erf = _ufunc("erf", catalogue.erf, "array([0.27632639, 0.52049988])")


@overload
def softmax(x: npt.NDArray[F], axis: Axis = None) -> npt.NDArray[F]: ...
@overload
def softmax(x: npt.ArrayLike, axis: Axis = None) -> Any: ...
def softmax(x: npt.ArrayLike, axis: Axis = None) -> Any:
    r"""Compute the exponentials of logits, divided by their sum.

    .. math:: y_j = e^{x_j} / \sum_k e^{x_k}

    Parameters
    ----------
    x : array_like
        Logits of any shape.
    axis : int, tuple of int or None, optional
        Along which the rows lie; None: all entries are one row. Default: None.

    Returns
    -------
    ndarray or scalar
        Of the shape and dtype of `x`. A row that holds NaN or +inf, or nothing but -inf, is NaN.

    Raises
    ------
    TypeError
        If the dtype of `x` is not supported or `axis` is no integer.
    AxisError
        If `axis` is out of bounds.
    ValueError
        If the rows have no entries.

    See Also
    --------
    fastact.softmax : the same function, with masks and backward

    Examples
    --------
    >>> from fastact import scipy_special
    >>> scipy_special.softmax([[1.0, 2.0], [3.0, 4.0]])
    array([[0.0320586 , 0.08714432],
           [0.23688282, 0.64391426]])
    """
    return _rows("softmax", catalogue.softmax, x, axis)


@overload
def log_softmax(x: npt.NDArray[F], axis: Axis = None) -> npt.NDArray[F]: ...
@overload
def log_softmax(x: npt.ArrayLike, axis: Axis = None) -> Any: ...
def log_softmax(x: npt.ArrayLike, axis: Axis = None) -> Any:
    r"""Compute the logarithm of softmax.

    .. math:: y_j = x_j - \log \sum_k e^{x_k}

    Parameters
    ----------
    x : array_like
        Logits of any shape.
    axis : int, tuple of int or None, optional
        Along which the rows lie; None: all entries are one row. Default: None.

    Returns
    -------
    ndarray or scalar
        Of the shape and dtype of `x`. A row that holds NaN or +inf, or nothing but -inf, is NaN; of a row with +inf,
        SciPy's is -inf where the logit is finite.

    Raises
    ------
    TypeError
        If the dtype of `x` is not supported or `axis` is no integer.
    AxisError
        If `axis` is out of bounds.
    ValueError
        If the rows have no entries.

    See Also
    --------
    fastact.log_softmax : the same function, with masks and backward

    Examples
    --------
    >>> from fastact import scipy_special
    >>> scipy_special.log_softmax([[1.0, 2.0], [1000.0, 1000.0]], axis=1)
    array([[-1.31326169, -0.31326169],
           [-0.69314718, -0.69314718]])
    """
    return _rows("log_softmax", catalogue.log_softmax, x, axis)


def _rows(name: str, activation: Rowwise, x: npt.ArrayLike, axis: Axis) -> Any:
    result = activation(x, axis)
    if not result.size and not product(tuple(result.shape[k] for k in row_axes(name, axis, result.ndim))):
        raise ValueError(f"fastact.scipy_special.{name}: x has the shape {result.shape}; accepted are rows that have "
                         f"entries")
    return result


@overload
def logsumexp(
    a: npt.ArrayLike, axis: Axis = None, b: npt.ArrayLike | None = None, keepdims: bool = False,
    return_sign: Literal[False] = False,
) -> Any: ...
@overload
def logsumexp(
    a: npt.ArrayLike, axis: Axis = None, b: npt.ArrayLike | None = None, keepdims: bool = False, *,
    return_sign: Literal[True],
) -> tuple[Any, Any]: ...
@overload
def logsumexp(
    a: npt.ArrayLike, axis: Axis = None, b: npt.ArrayLike | None = None, keepdims: bool = False,
    return_sign: bool = False,
) -> Any: ...
def logsumexp(
    a: npt.ArrayLike, axis: Axis = None, b: npt.ArrayLike | None = None, keepdims: bool = False,
    return_sign: bool = False,
) -> Any:
    r"""Compute the logarithm of a weighted sum of exponentials.

    .. math:: y = \log \sum_k b_k e^{a_k}

    Parameters
    ----------
    a : array_like
        Exponents of any shape.
    axis : int, tuple of int or None, optional
        Along which the rows lie; None: all entries are one row. Default: None.
    b : array_like, optional
        Weights of any sign, of a shape that broadcasts with that of `a`. What belongs to a weight of 0 does not matter.
        Default: 1.
    keepdims : bool, optional
        Keep the axes of the rows, with length 1. Default: drop them.
    return_sign : bool, optional
        Return the logarithm of the absolute value of the sum, and its sign. Default: the logarithm alone, which of a
        negative sum is NaN.

    Returns
    -------
    ndarray or scalar
        One number for each row, of the common dtype of `a` and `b`, in which a boolean or Python number takes part with
        the dtype of the other; -inf where the sum is 0. With `return_sign`, a tuple with the signs, of the same dtype:
        1, 0 or -1, or NaN. The sign of an empty sum is 0, of which SciPy's is -1.

    Raises
    ------
    TypeError
        If a dtype is not supported or `axis` is no integer.
    AxisError
        If `axis` is out of bounds.
    ValueError
        If the shapes do not broadcast.

    See Also
    --------
    fastact.logsumexp : the same function without weights, with masks and backward

    Notes
    -----
    With weights the terms are computed and summed in float64, also of narrower dtypes. Terms of equal exponents that
    cancel leave nothing behind: ``logsumexp([1000, 1000, 0], b=[1, -1, 1])`` is 0.

    Examples
    --------
    >>> from fastact import scipy_special
    >>> scipy_special.logsumexp([[1.0, 2.0], [1000.0, 1000.0]], axis=1)
    array([   2.31326169, 1000.69314718])
    >>> log, sign = scipy_special.logsumexp([1.0, 2.0], b=[1, -1], return_sign=True)
    >>> print(log.round(8), sign)
    1.54132485 -1.0
    """
    call = "scipy_special.logsumexp"
    exponents = np.atleast_1d(as_numbers(call, "a", a))
    if b is None:
        result = catalogue.logsumexp(exponents, axis, keepdims=keepdims)
        if not return_sign:
            return result
        sign = np.where(np.isnan(result), result, np.asarray(result > -np.inf, result.dtype))
    else:
        weights = np.atleast_1d(as_numbers(call, "b", b))
        numbers = [(a, exponents), (b, weights)]
        dtype = common_dtype([array for given, array in numbers if not _is_weak(given)] or [exponents])
        try:
            exponents, weights = np.broadcast_arrays(exponents, weights)
        except ValueError:
            raise ValueError(f"fastact.{call}: b has the shape {weights.shape}; accepted is what broadcasts with that "
                             f"of a, {exponents.shape}") from None
        axes = row_axes(call, axis, exponents.ndim)
        kept = tuple(k for k in range(exponents.ndim) if k not in axes)
        of_rows = tuple(exponents.shape[k] for k in kept)
        matrix = product(of_rows), product(tuple(exponents.shape[k] for k in axes))
        rows = [one.transpose(kept + axes).reshape(matrix).astype(np.float64, copy=False)
                for one in (exponents, weights)]
        with np.errstate(all="ignore"):
            result, sign = (rounded(one, dtype).reshape(of_rows) for one in _weighted(*rows))
        if keepdims:
            result, sign = (np.expand_dims(one, axes) for one in (result, sign))
        if not return_sign:
            result[sign < 0] = np.nan
            return result[()]
    return result[()], sign[()]


def _is_weak(given: npt.ArrayLike) -> bool:
    """Whether a number or boolean takes the dtype of what it is combined with."""
    return type(given) in (int, float) or np.asarray(given).dtype == bool


def _weighted(a: Array, b: Array) -> tuple[Array, Array]:
    """The logarithm of the absolute value of each row's sum of b e^a, and its sign."""
    if not a.shape[1]:
        return np.full(len(a), -np.inf), np.zeros(len(a))
    if not b.all():
        a = np.where(b == 0, -np.inf, a)
    place = a.argmax(axis=1)[:, np.newaxis]
    shift = np.take_along_axis(a, place, axis=1)
    terms = _terms(a, b, shift)
    shift, first = shift[:, 0], np.take_along_axis(terms, place, axis=1)[:, 0]
    np.put_along_axis(terms, place, 0, axis=1)  # log(1 + x) of a small x needs the digits of x
    others = terms.sum(axis=1)
    total = first + others
    doubtful = ~(np.abs(total) > 1e-3 * np.abs(first)) | np.isinf(total)
    if doubtful.any():
        shift[doubtful], first[doubtful], others[doubtful] = _careful_sums(a[doubtful], b[doubtful])
        total = first + others
    ratio = others / first
    log = np.where(np.abs(ratio) <= 0.5, np.log(np.abs(first)) + np.log1p(ratio), np.log(np.abs(total)))
    return shift + log, np.sign(total)


def _terms(a: Array, b: Array, shift: Array) -> Array:
    terms = np.subtract(a, shift, order="C")  # so that the order of a sum depends on no layout
    catalogue.exp(terms, out=terms)
    terms *= b
    return terms


def _careful_sums(a: Array, b: Array) -> tuple[Array, Array, Array]:
    """Of rows that cancel or that have infinite entries: by how much exponents are shifted, and the sums of the terms
    with the largest exponent and of the others.

    Equal exponents whose weights add up to 0 are left out, since the others may underflow beside them.
    """
    a = np.where(np.isfinite(b), a, np.where(a > -np.inf, np.abs(b), np.nan))  # an infinite weight is an infinite term
    order = a.argsort(axis=1)
    a, b = (np.take_along_axis(one, order, axis=1) for one in (a, b))
    starts = np.flatnonzero(np.diff(a, axis=1, prepend=np.nan))  # of runs of equal exponents
    cancelled = np.add.reduceat(b.ravel(), starts) == 0
    a[np.repeat(cancelled, np.diff(starts, append=a.size)).reshape(a.shape)] = -np.inf
    largest = a.max(axis=1, keepdims=True)
    shift = np.where(np.isfinite(largest), largest, 0.0)
    terms = _terms(a, b, shift)
    are_first = a == largest
    first = sum_over(np.where(are_first, terms, 0.0), (1,))
    terms[are_first | (largest == np.inf)] = 0.0
    return shift[:, 0], first, sum_over(terms, (1,))
