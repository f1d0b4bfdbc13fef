"""For valgrind (see noxfile.py): every entry of test_memory.py, and every function on arrays of several lengths,
layouts and dtypes, most of them no multiple of a vector.
"""

import numpy as np
from common import DTYPES
from test_memory import ENTRIES

import fastact
from fastact import Elementwise, Gated, _isa

calls = 0


def count(*results: object) -> None:
    global calls
    calls += len(results)


for entry in ENTRIES.values():
    count(entry())
for dtype in DTYPES:
    for length in (0, 1, 15, 16, 17, 300, 1100):
        x = np.linspace(-100, 100, 2 * length).astype(dtype)
        for f in fastact.activations.values():
            count(f(x), f(x[::-1]))
            if isinstance(f, Elementwise):
                count(f.derivative(x), f.backward(x, x), f.value_and_derivative(x))
            elif isinstance(f, Gated):
                count(f(x, x), f(x, layout="interleaved"), f.backward(f(x), x), f.backward(x, x, x[::-1]))
            elif length:
                for rows in (x.reshape(-1, 1), x.reshape(1, -1)):
                    for axis in (0, 1):
                        count(f.backward(f(rows, axis=axis), rows, axis=axis))
print(f"{calls} calls of the instruction set {_isa.CHOSEN}")
