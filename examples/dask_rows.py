"""Softmax and cross-entropy of rows that are longer than a chunk, from one file to another, by dask.

    pip install -e '.[dask]' && python examples/dask_rows.py

The file has the logits of a vocabulary for some texts. No task reads more of it than a chunk, a twentieth of a row; the
chunks of the probabilities are written as they are computed. The example checks both results against whole rows.
"""

import tempfile
from pathlib import Path

try:
    import dask
    import dask.array as da
except ModuleNotFoundError:
    raise SystemExit("this example needs dask, which is not installed: pip install -e '.[dask]'") from None

import numpy as np

import fastact.dask

TEXTS, WORDS = 12, 400_000
CHUNKS = (4, 20_000)
TOLERANCE = 1e-6


def main() -> None:
    random = np.random.default_rng(0)
    right = random.integers(WORDS, size=TEXTS)
    with tempfile.TemporaryDirectory() as folder:
        files = [np.lib.format.open_memmap(Path(folder, name), "w+", np.float32, (TEXTS, WORDS))
                 for name in ("logits.npy", "probabilities.npy")]
        for logits, word in zip(files[0], right, strict=True):
            logits[:] = random.normal(scale=3, size=WORDS)
            logits[word] += 12

        x = da.from_array(files[0], chunks=CHUNKS)
        loss, _ = fastact.dask.softmax_cross_entropy(x, right)
        stored = da.store(fastact.dask.softmax(x), files[1], compute=False)
        loss, _ = dask.compute(loss, stored)
        print(f"{files[0].nbytes / 2**20:.1f} MiB of logits, in {x.npartitions} chunks of "
              f"{np.prod(x.chunksize) * x.itemsize / 2**20:.1f} MiB; a row has {x.numblocks[1]}")

        differ = 0.0
        for logits, probabilities in zip(*files, strict=True):
            whole = fastact.softmax(logits)
            differ = max(differ, float(np.abs(probabilities / whole - 1).max()))
        print(f"probabilities: they differ from those of whole rows by {differ:.1e} at most, allowed is {TOLERANCE:g}")
        of_whole, _ = fastact.softmax_cross_entropy(files[0], right)
        print(f"cross-entropy: {loss:.6f}, of whole rows {of_whole:.6f}")
        if differ > TOLERANCE or abs(loss - of_whole) > TOLERANCE * of_whole:
            raise SystemExit("the results differ by more than is allowed")
        del files, x, stored, logits, probabilities


if __name__ == "__main__":
    main()
