"""Derivatives at kinks other than the right-hand one, which the kernels have: where they belong in a result."""

cimport numpy as cnp

import numpy as np

from fastact._activation cimport rounded

cnp.import_array()

RIGHT = "right"
SIDES = {RIGHT: lambda left, right: right, "left": lambda left, right: left,
         "mean": lambda left, right: (left + right) / 2}


# The side of each kink; `kinks` is one for all, or a sequence.
cdef tuple sides_of(str call, object kinks, int count):
    try:
        sides = (kinks,) * count if isinstance(kinks, str) else tuple(kinks)
        unknown = [side for side in ((kinks,) if isinstance(kinks, str) else sides) if side not in SIDES]
    except TypeError:               # no sequence, or of what has no hash
        raise TypeError(f"fastact.{call}: kinks is {kinks!r:.60}; accepted are {', '.join(SIDES)}, or a sequence of "
                        f"these words") from None
    if unknown:
        raise ValueError(f"fastact.{call}: kinks has {unknown[0]!r}; accepted are {', '.join(SIDES)}")
    if len(sides) != count:
        raise ValueError(f"fastact.{call}: kinks has {len(sides)} words; accepted is one word, or one for each of the "
                         f"{count} kinks")
    return sides


# The results of a call, a derivative or a value and a derivative, with the derivatives of `found` written into them
cdef object corrected(object results, list found):
    if not found:
        return results
    result = results[1] if isinstance(results, tuple) else results
    array = np.asarray(result)
    for at, slopes in found:
        slopes = rounded(slopes, array.dtype)
        if isinstance(result, np.generic):
            result = slopes[0]
        else:
            array[np.broadcast_to(at, array.shape)] = slopes
    return (results[0], result) if isinstance(results, tuple) else result


cdef class Kinks:
    """The kinks of an activation, with a side for each.

    `parameters` are the defaults; `jumps` takes parameters, and returns of each kink x and the derivatives on its left
    and right. `value` is the ufunc of the value, if the derivative may be computed from it, else None.
    """

    def __cinit__(self, object parameters, tuple sides, object jumps, object value):
        self.parameters, self.sides, self.jumps, self.value = parameters, sides, jumps, value
        self.defaults = {}
        for dtype in np.float32, np.float64:
            with np.errstate(over="ignore"):
                numbers = {name: dtype(default) for name, default in parameters.items()}
            self.defaults[np.dtype(dtype)] = self.slopes(numbers)
        self.from_output = any([y == y for _, _, y in self.defaults[np.dtype(np.float64)]])

    # Of each kink x and the derivative, for the defaults
    cdef tuple pairs(self):
        return tuple([(float(x), float(slope)) for x, slope, _ in self.slopes(self.parameters) if np.isfinite(x)])

    # Of each kink x, the derivative, and the value if it has no other argument, else NaN; in float64.  Where parameters
    # let a kink vanish, x is NaN.
    cdef list slopes(self, object parameters):
        found = []
        with np.errstate(all="ignore"):
            parameters = {name: np.asarray(value, np.float64)[()] for name, value in parameters.items()}
            for side, (x, left, right) in zip(self.sides, self.jumps(**parameters)):
                y = np.nan
                if self.value is not None:
                    y = self.value(np.float64(x), *parameters.values())
                    y = np.where((left == 0) | (right == 0), np.nan, y)
                found.append((x, SIDES[side](left, right), y))
        return found

    # Where the arguments of a call are at kinks, with the results there.  This comes before the call, which may write
    # over its arguments.
    cdef list find(self, tuple arrays, tuple arguments, dict keywords):
        cdef str last = arrays[len(arrays) - 1]
        names = arrays[:1] if last == "output" else (*arrays, *self.parameters)
        given = {**dict(zip(names, arguments)), **keywords}
        own = {name: given[name] for name in self.parameters if given.get(name) is not None}
        inputs = [given[name] for name in arrays if name in given]
        if len(arguments) > len(names) or len(inputs) < len(arrays):
            raise TypeError
        others = [one for one in (*inputs, *own.values()) if type(one) not in (int, float)]
        others = [np.asarray(one) for one in others]
        loop = given.get("dtype")
        loop = (given.get("signature") or (None,))[0] if loop is None else loop
        narrow = is_float32(np.dtype(loop)) if loop is not None else (
            others and all([is_float32(one.dtype) for one in others]))
        dtype = np.dtype(np.float32 if narrow else np.float64)
        *_, x = inputs
        if type(x) in (int, float) and others:
            x = rounded(x, others[0].dtype if others[0].dtype.kind not in "biu" else dtype)
        x = np.asarray(x)
        if x.dtype.kind in "biu" or loop is not None:
            x = rounded(x, dtype)
        if x.dtype.kind not in "fV":
            raise TypeError
        kinks = self.defaults[dtype]
        if own:
            kinks = self.slopes({**self.parameters, **own} if dtype == np.float64 else {
                name: rounded(value, dtype) for name, value in {**self.parameters, **own}.items()})
        found = []
        for side, (kink, slope, y) in zip(self.sides, kinks):
            if side == RIGHT:
                continue
            at = where_equal(x, rounded(y if last == "output" else kink, dtype))
            if at is None:
                continue
            outs = given.get("out")
            outs = [one for one in (outs if isinstance(outs, tuple) else (outs,)) if one is not None]
            where = np.asarray(given.get("where", True))
            shape = np.broadcast_shapes(at.shape, where.shape, *[np.shape(one) for one in others],
                                        *[np.shape(one) for one in outs])
            at = np.logical_and(np.broadcast_to(at, shape), where)
            slopes = np.broadcast_to(rounded(slope, dtype), shape)[at]
            if len(inputs) > 1:
                slopes = rounded(np.broadcast_to(np.asarray(inputs[0]), shape)[at], dtype) * slopes
            found.append((at, slopes))
        return found


cdef bint is_float32(object dtype):
    return dtype.itemsize <= 4 and dtype.kind in "fV"


# Where `x` is exactly `kink`, a number or an array of the dtype in which the kernels compute; None if nowhere
cdef object where_equal(cnp.ndarray x, object kink):
    here = rounded(kink, x.dtype)
    here = np.where(here == kink, here, np.array(np.nan, x.dtype))      # what the dtype of x cannot hold, is not there
    if not here.ndim and here != here:
        return None
    at = x == here
    return at if at.any() else None
