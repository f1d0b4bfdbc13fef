"""fastact.dask on a cluster of two processes: a killed worker, rows longer than the memory of a worker.

`pytest tests/dask_cluster.py`, which is part of the session `dask` of nox: half a minute.
"""

import os
import re
import signal
import time
import uuid
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from common import same_bits
from processes import run

da = pytest.importorskip("dask.array")
distributed = pytest.importorskip("distributed")

import dask  # noqa: E402

import fastact.dask  # noqa: E402

MIB = 1 << 20


@contextmanager
def workers(**options):
    with (distributed.LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None,
                                   **options) as cluster, distributed.Client(cluster) as client):
        yield client


def numbers(seconds, folder, block_info=None):
    """A chunk, `seconds` late, that depends on its place alone; a file in the folder for each time it is made."""
    place = block_info[None]
    time.sleep(seconds)
    if folder is not None:
        Path(folder, uuid.uuid4().hex).touch()
    random = np.random.default_rng(place["chunk-location"])
    return 3 * random.standard_normal(place["chunk-shape"], dtype=np.float32)


def logits(shape, chunk, seconds=0.0, folder=None):
    chunks = tuple((one,) * (length // one) for length, one in zip(shape, chunk, strict=True))
    return da.map_blocks(numbers, seconds, folder, chunks=chunks, dtype=np.float32, meta=np.empty((0, 0), np.float32))


def results_of(x):
    labels = np.arange(x.shape[0]) * 7 % x.shape[1]
    return [fastact.dask.softmax(x), fastact.dask.log_softmax(x), fastact.dask.logsumexp(x),
            *fastact.dask.softmax_cross_entropy(x, labels)]


def computed_here(x):
    with dask.config.set(scheduler="synchronous"):
        return dask.compute(*results_of(x))


def test_the_bits_are_those_of_one_process():
    x = logits((64, 4096), (16, 512))
    right = computed_here(x)
    with workers() as client:
        assert len(client.run(os.getpid)) == 2
        found = client.gather(client.compute(results_of(x)))
    assert all(same_bits(np.asarray(mine), np.asarray(one)) for mine, one in zip(found, right, strict=True))


def chunks_held(dask_worker):
    return len(dask_worker.data)


def test_a_worker_that_is_killed(tmp_path):
    """What it held is computed again, and the result has the same bits."""
    shape, chunk = (64, 4096), (8, 256)
    right = computed_here(logits(shape, chunk))[0]
    x = logits(shape, chunk, 0.03, tmp_path)
    with workers() as client:
        future = client.compute(fastact.dask.softmax(x))
        deadline = time.monotonic() + 30
        while min(client.run(chunks_held).values()) < 8 and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not future.done()
        victim = next(iter(client.run(os.getpid).values()))
        os.kill(victim, signal.SIGKILL)
        found = future.result(timeout=60)
        client.wait_for_workers(2, timeout=60)
        assert victim not in client.run(os.getpid).values()
    assert same_bits(found, right)
    assert len(list(tmp_path.iterdir())) > x.npartitions


def peak():
    """The largest resident memory of this process until now, in bytes."""
    return int(re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())[1]) << 10


def test_a_row_longer_than_the_memory_of_a_worker(tmp_path):
    limit, length, width = 400 * MIB, 1 << 27, 1 << 22
    x = logits((1, length), (1, width))
    assert x.nbytes > limit
    with workers(memory_limit=limit, local_directory=tmp_path) as client:
        before = client.run(os.getpid)
        p = fastact.dask.softmax(x)
        total, largest, last = client.gather(client.compute([p.sum(dtype=np.float64), p.max(), p[0, -5:]]))
        peaks = client.run(peak)
        assert client.run(os.getpid) == before
    assert max(peaks.values()) < limit
    blocks = [x.blocks[0, k] for k in range(x.numblocks[1])]
    with dask.config.set(scheduler="synchronous"):
        state = fastact.RowState.of(blocks[0].compute())
        for one in blocks[1:]:
            state = state.merge(fastact.RowState.of(one.compute()))
        right = state.softmax(blocks[-1].compute())
    assert float(total) == pytest.approx(1, abs=1e-6)
    assert float(largest) == pytest.approx(float(np.exp(state.maximum.item() - state.logsumexp().item())), rel=1e-6)
    assert same_bits(last, right[0, -5:])


@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_a_task_takes_three_chunks_at_most(name):
    """A chunk of float32, and its copy in float64 for the state, or its result."""
    code = f"""
import re
from pathlib import Path
import numpy as np, fastact
def peak():
    return int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) << 10
x = np.ones((8, 1 << 21), np.float32)
fastact.RowState.of(x[:, :64]).{name}(x[:, :64])
before = peak()
fastact.RowState.of(x).{name}(x)
print((peak() - before) / x.nbytes)
"""
    assert float(run(code)) < 2.1
