"""Domains of parameters: the numbers that are accepted.

A domain is a tuple: the least number, the greatest one, and any numbers between them that are excluded.
"""

from libc.math cimport INFINITY, isfinite

from numbers import Real

import numpy as np

WHOLE_LINE = (-INFINITY, INFINITY)


# A domain widened to the float32 values of its ends: as float32 1e-6 is less.
cdef tuple with_float32_ends(tuple domain):
    cdef float low = domain[0], high = domain[1]
    return min(domain[0], low if isfinite(low) else domain[0]), max(domain[1], high if isfinite(high) else domain[1]), \
        *domain[2:]


# A domain in words: its ends, and the excluded numbers
cdef str in_words(tuple domain):
    numbers = [f"{number:.2g}".replace("e+", "e") for number in domain]
    words = f"{numbers[0]} to {numbers[1]}" if domain[:2] != WHOLE_LINE else "any number"
    return ", but not ".join([words, *numbers[2:]])


# Raises ValueError if a number, or one of an array, is outside of a domain; NaN is not.  Other objects may be lazy, and
# are not inspected.  `shown` is the number before it was rounded.
cdef int check_domain(str call, str name, tuple domain, object value, object shown=None, str advice="") except -1:
    if domain == WHOLE_LINE:
        return 0
    if isinstance(value, np.ma.MaskedArray):
        value = value.compressed()
    if isinstance(value, (np.ndarray, np.generic)):
        numbers = np.asarray(value).astype(np.float64, copy=False)
        wrong = (numbers < domain[0]) | (numbers > domain[1])
        for excluded in domain[2:]:
            wrong |= numbers == excluded
        if not wrong.any():
            return 0
        value = float(numbers[wrong].flat[0])
    elif not isinstance(value, Real) or not (value < domain[0] or value > domain[1] or value in domain[2:]):
        return 0
    try:
        value = float(value)
    except OverflowError:               # an integer that no float can hold
        value = INFINITY if value > 0 else -INFINITY
    rounded_to = "" if shown is None or shown == value else f"{shown:g}, in float32 "
    raise ValueError(f"fastact.{call}: {name} is {rounded_to}{value:g}; accepted is {in_words(domain)}{advice}")
