"""Activations inside a loop that Numba compiles: a recurrent cell for many sequences at once, one thread a sequence.

    pip install -e '.[numba]' && python examples/numba_loop.py

Each step needs the one before it, so the steps cannot be one call on an array. In Python the calls on small arrays cost
more than their numbers; compiled, a call of 64 numbers costs less than a microsecond, and `prange` shares the sequences
among threads. Both loops compute the same bits.
"""

import time

import numpy as np

try:
    import numba
except ModuleNotFoundError:
    raise SystemExit("this example needs Numba, which is not installed: pip install -e '.[numba]'") from None

import fastact
import fastact.numba

SEQUENCES, STEPS, WIDTH = 64, 200, 64


def last_states(inputs, decay):
    """Compute the last states: each one is the decayed state before it and the input, through gelu, then softmax."""
    states = np.empty((len(inputs), WIDTH), np.float32)
    for k in numba.prange(len(inputs)):
        state = np.zeros(WIDTH, np.float32)
        for step in range(inputs.shape[1]):
            fastact.softmax(fastact.gelu(state * decay + inputs[k, step]), out=state)
        states[k] = state
    return states


def main():
    fastact.numba.init()        # of an installed fastact Numba does this itself
    compiled = numba.njit(parallel=True)(last_states)
    inputs = np.random.default_rng(0).normal(size=(SEQUENCES, STEPS, WIDTH)).astype(np.float32)
    decay = np.float32(0.9)
    compiled(inputs[:1], decay)         # compiles
    seconds, results = [], []
    for function in last_states, compiled:
        start = time.perf_counter()
        results.append(function(inputs, decay))
        seconds.append(time.perf_counter() - start)
    print(f"in Python {1e3 * seconds[0]:.0f} ms, compiled {1e3 * seconds[1]:.0f} ms")
    if results[0].tobytes() != results[1].tobytes():
        raise SystemExit("the results differ")
    print("the results have the same bits")


if __name__ == "__main__":
    main()
