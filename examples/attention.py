"""Causal attention in plain NumPy, for chunks of the keys one after the other: equal to attention over all at once.

    python examples/attention.py

A model reads a prompt and then one token after the other. The keys and values of all tokens so far are kept; the
queries are the last ones. Each query sees the keys up to its own, at most WINDOW of them, and a sink: a learned number
in the denominator of the softmax. No array of all scores exists: each chunk of keys gives a weighted mean and the
logarithm of its denominator, and ``fastact.merge_softmax`` merges the chunks.
"""

import numpy as np
import numpy.typing as npt

import fastact

Array = npt.NDArray[np.float32]

HEADS, WIDTH = 4, 32
PROMPT, TOKENS, CHUNK, WINDOW = 150, 5, 64, 100
SCALE = WIDTH**-0.5
TOLERANCE = 1e-6


def whole_attention(queries: Array, keys: Array, values: Array, sink: Array) -> Array:
    """Compute the attention of the last queries to all keys at once."""
    scores = queries @ keys.swapaxes(-1, -2)
    weights = fastact.softmax(scores, scale=SCALE, causal=True, window=(WINDOW - 1, None), sink=sink)
    return weights @ values


def attention_in_chunks(queries: Array, keys: Array, values: Array, sink: Array) -> Array:
    """Compute the same for one chunk of keys after the other."""
    count, length = queries.shape[-2], keys.shape[-2]
    mean = np.zeros_like(queries)
    lse = np.broadcast_to(sink, queries.shape[:-1]).astype(np.float32)  # of the sink alone
    for start in range(0, length, CHUNK):
        part = slice(start, start + CHUNK)
        scores = queries @ keys[:, part].swapaxes(-1, -2)
        weights, lse_of_chunk = fastact.softmax(
            scores, scale=SCALE, causal=True, window=(WINDOW - 1, None), offset=length - count - start, return_lse=True,
            out=scores)
        mean, lse = fastact.merge_softmax(mean, lse, weights @ values[:, part], lse_of_chunk)
    return mean


def main() -> None:
    random = np.random.default_rng(0)
    queries, keys, values = random.normal(size=(3, HEADS, PROMPT + TOKENS, WIDTH)).astype(np.float32)
    sink = random.normal(size=(HEADS, 1)).astype(np.float32)
    worst = 0.0
    for length in range(PROMPT, PROMPT + TOKENS + 1):
        new = slice(0 if length == PROMPT else length - 1, length)  # the prompt, then token by token
        arguments = queries[:, new], keys[:, :length], values[:, :length], sink
        whole, in_chunks = whole_attention(*arguments), attention_in_chunks(*arguments)
        difference = float(abs(whole - in_chunks).max())
        print(f"{new.stop - new.start:4} queries, {length} keys, {-(-length // CHUNK)} chunks: {difference:.1e} apart")
        worst = max(worst, difference)
    if worst > TOLERANCE:
        raise SystemExit(f"the outputs differ by {worst:.1e}; allowed is {TOLERANCE:.0e}")
    print(f"the outputs are the same: they differ by {worst:.1e} at most, allowed is {TOLERANCE:.0e}")


if __name__ == "__main__":
    main()
