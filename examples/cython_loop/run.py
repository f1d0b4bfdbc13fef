"""Activations inside a loop that Cython compiles, beside the same loop in Python.

    pip install Cython setuptools -e . && cd examples/cython_loop
    python setup.py build_ext --inplace && python run.py
"""

import time

import numpy as np

try:
    from loop import advance
except ModuleNotFoundError:
    raise SystemExit("the loop is not compiled: python setup.py build_ext --inplace") from None

import fastact

SEQUENCES, STEPS, WIDTH = 64, 200, 64
TOLERANCE = 1e-6  # a compiler may join a product and a sum


def advance_in_python(states, inputs, decay):
    for k in range(len(states)):
        for step in range(inputs.shape[1]):
            fastact.softmax(fastact.gelu(states[k] * decay + inputs[k, step]), out=states[k])


def main():
    inputs = np.random.default_rng(0).normal(size=(SEQUENCES, STEPS, WIDTH)).astype(np.float32)
    seconds, results = [], []
    for function in advance_in_python, advance:
        states = np.zeros((SEQUENCES, WIDTH), np.float32)
        start = time.perf_counter()
        function(states, inputs, np.float32(0.9))
        seconds.append(time.perf_counter() - start)
        results.append(states)
    print(f"in Python {1e3 * seconds[0]:.0f} ms, compiled {1e3 * seconds[1]:.0f} ms")
    worst = abs(results[0] - results[1]).max()
    if worst > TOLERANCE:
        raise SystemExit(f"the states differ by {worst:.1e}; allowed is {TOLERANCE:.0e}")
    print(f"the states are the same: they differ by {worst:.1e} at most, allowed is {TOLERANCE:.0e}")


if __name__ == "__main__":
    main()
