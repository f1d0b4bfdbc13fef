"""Check that an installation built with flags that change arithmetic has infinities, NaN and subnormal numbers."""

import math
import os
import sys

import numpy as np

tiny = float("1e-323")
import fastact  # noqa: E402

assert fastact.__file__.startswith(os.environ["PYTHONPATH"]), fastact.__file__
assert tiny * float(len(sys.argv)) != 0, "the import has switched the process to flush-to-zero"
for dtype, small in (np.float32, 1e-42), (np.float64, 1e-320):
    x = np.array([np.inf, -np.inf, np.nan, small, -small, -0.0], dtype)
    assert x[3] * dtype(1) == x[3] > 0
    y = fastact.sigmoid(x)
    assert y[0] == 1 and y[1] == 0 and np.isnan(y[2]), y
    for f in fastact.identity, fastact.tanh, fastact.softsign:
        y = f(x)
        assert (y[3:] == x[3:]).all() and np.signbit(y[5]) and np.isnan(y[2]), (f, y)
    assert (fastact.relu(x)[:2] == [np.inf, 0]).all()
    y = fastact.softmax(np.array([[0, -np.inf], [0, np.nan], [0, -100 if dtype is np.float32 else -740]], dtype))
    assert (y[0] == [1, 0]).all() and np.isnan(y[1]).all(), y
    assert y[2, 1] > 0 and math.isclose(y[2, 1], math.exp(-100 if dtype is np.float32 else -740), rel_tol=0.3), y
print("infinities, NaN and subnormal numbers are right")
