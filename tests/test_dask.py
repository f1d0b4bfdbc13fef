"""fastact.dask: rows of chunked arrays against the functions of whole arrays, lazily."""

import numpy as np
import pytest
from common import DTYPES, HALF, INF, NAN, WIDE, each, in_turn, normal, same, same_bits
from logits import KINDS, logits_of
from row_helpers import exact, raises, value_errors

import fastact

da = pytest.importorskip("dask.array")
dask = pytest.importorskip("dask")
ours = pytest.importorskip("fastact.dask")

CHUNKS = ((5, 40), (3, 7), (20, (1, 38, 1)), (20, 1), ((1, 19), (16, 24)))
every_function = each("function", (fastact.softmax, fastact.log_softmax))


@pytest.fixture(autouse=True)
def computed_here():
    with dask.config.set(scheduler="synchronous"):
        yield


def chunked(x, chunks):
    return da.from_array(x, chunks=chunks)


def lazily(function, *arguments, **keywords):
    """Call a function of fastact.dask and check that it computes nothing before it is asked to."""
    def refuse(*_, **__):
        raise AssertionError("computed before it was asked for")

    with dask.config.set(scheduler=refuse):
        return getattr(ours, function)(*arguments, **keywords)


@in_turn("kind", KINDS)
@in_turn("dtype", WIDE)
@every_function
def test_the_accuracy_is_that_of_whole_rows(function, dtype, kind):
    x = logits_of(kind, dtype, 40)
    right = exact(function.name, "value", x)
    for chunks in CHUNKS:
        lazy = lazily(function.name, chunked(x, chunks))
        assert (lazy.dtype, lazy.shape, lazy.chunks) == (x.dtype, x.shape, chunked(x, chunks).chunks)
        assert value_errors(function, lazy.compute(), right).max() <= function.ulp["value"], chunks


@in_turn("dtype", [dtype for dtype in DTYPES if dtype is not np.float64])
@every_function
def test_chunks_and_trees_give_the_same_bits(function, dtype):
    x = normal((20, 40), dtype)
    first = lazily(function.name, chunked(x, CHUNKS[1])).compute()
    for chunks in CHUNKS[1:]:
        for split_every in (2, 3, 8):
            lazy = lazily(function.name, chunked(x, chunks), split_every=split_every)
            assert same_bits(lazy.compute(), first), (chunks, split_every)


@in_turn("axis", [0, 1, 2, (0, 2), None])
@in_turn("chunks", [(4, 5, 6), (2, 5, 6), (3, 2, 4)])
def test_axes(axis, chunks):
    x = normal((4, 5, 6))
    for name in ("softmax", "log_softmax", "logsumexp"):
        computed = lazily(name, chunked(x, chunks), axis).compute()
        np.testing.assert_allclose(computed, getattr(fastact, name)(x, axis=axis), rtol=2e-15)
    kept = lazily("logsumexp", chunked(x, chunks), axis, keepdims=True)
    np.testing.assert_allclose(kept.compute(), fastact.logsumexp(x, axis=axis, keepdims=True), rtol=2e-15)


@in_turn("dtype", DTYPES)
def test_logsumexp(dtype):
    x = normal((20, 40), dtype)
    for chunks in CHUNKS:
        lazy = lazily("logsumexp", chunked(x, chunks))
        assert (lazy.dtype, lazy.shape) == (x.dtype, (20,))
        assert same_bits(lazy.compute(), fastact.logsumexp(x)) or dtype is np.float64
        np.testing.assert_allclose(lazy.compute().astype(float), fastact.logsumexp(x).astype(float), rtol=1e-15)


@in_turn("chunks", CHUNKS)
@in_turn("dtype", DTYPES)
@every_function
def test_backward(function, dtype, chunks):
    dy = normal((20, 40), dtype, seed=1)
    output = function(normal((20, 40), dtype))
    lazy = lazily(f"{function.name}_backward", chunked(dy, 40), chunked(output, chunks))
    assert (lazy.dtype, lazy.chunks) == (output.dtype, chunked(output, chunks).chunks)
    right = function.backward(dy.astype(np.longdouble).astype(float), output=output.astype(float))
    eps = float(fastact.reference.ulp(np.ones(1), output.dtype)[0])
    smallest = float(fastact.reference.ulp(np.zeros(1), output.dtype)[0])
    np.testing.assert_allclose(lazy.compute().astype(float), right, rtol=max(eps, 1e-15), atol=max(smallest, 1e-14))


@in_turn("reduction", ["mean", "sum", "none"])
@in_turn("dtype", DTYPES)
@in_turn("kind", ["normal", "confident", "decided"])
def test_cross_entropy(kind, dtype, reduction):
    x = logits_of(kind, dtype, 40)
    labels = np.random.default_rng(3).integers(40, size=20)
    labels[:10] = x[:10].argmax(axis=-1)
    wide = x.astype(np.float64)
    right, slopes = fastact.softmax_cross_entropy(wide, labels, reduction=reduction)
    digits = 1e-6 if dtype is not np.float64 else 1e-14
    eps = float(fastact.reference.ulp(np.ones(1), x.dtype)[0])
    smallest = float(fastact.reference.ulp(np.zeros(1), x.dtype)[0])
    ways = (labels, labels.astype(np.uint8).tolist(), chunked(labels, 7), labels, labels)
    for chunks, given in zip(CHUNKS, ways, strict=True):
        lazy = lazily("softmax_cross_entropy", chunked(x, chunks), given, reduction=reduction)
        assert lazy[0].dtype == (np.float32 if dtype in HALF else dtype)
        assert (lazy[1].dtype, lazy[1].chunks) == (x.dtype, chunked(x, chunks).chunks)
        loss, gradient = dask.compute(*lazy)
        np.testing.assert_allclose(loss, right, rtol=digits)
        np.testing.assert_allclose(gradient.astype(float), slopes, rtol=4 * eps, atol=smallest)


def test_cross_entropy_along_other_axes():
    x = normal((4, 30, 3))
    labels = np.random.default_rng(3).integers(30, size=(4, 3))
    right, slopes = fastact.softmax_cross_entropy(x, labels, axis=1)
    loss, gradient = lazily("softmax_cross_entropy", chunked(x, (2, 7, 2)), labels, axis=1)
    assert float(loss.compute()) == pytest.approx(right, rel=1e-14)
    np.testing.assert_allclose(gradient.compute(), slopes, rtol=1e-14, atol=1e-17)


def test_special_rows():
    x = np.array([[NAN, 1, 2], [INF, 1, 2], [-INF, -INF, -INF], [-INF, 1, 2]], np.float32)
    for name in ("softmax", "log_softmax"):
        same(lazily(name, chunked(x, (2, 1))).compute(), getattr(fastact, name)(x))
    same(lazily("logsumexp", chunked(x, (2, 1))).compute(), fastact.logsumexp(x))


def test_integers_become_float64():
    for dtype in (bool, np.int8, np.uint64):
        x = np.arange(6).reshape(2, 3).astype(dtype)
        lazy = lazily("softmax", chunked(x, (1, 2)))
        assert lazy.dtype == np.float64
        np.testing.assert_allclose(lazy.compute(), fastact.softmax(x), rtol=1e-15)


def test_unknown_lengths():
    x = normal((20, 40))
    lazy = chunked(x, (20, 10))
    unknown = lazy[:, da.from_array(np.arange(40) % 3 > 0, chunks=40)]
    np.testing.assert_allclose(lazily("softmax", unknown).compute(), fastact.softmax(x[:, np.arange(40) % 3 > 0]),
                               rtol=2e-15)
    raises(ValueError, "dask.softmax_cross_entropy", "logits has chunks of unknown lengths",
           lambda: ours.softmax_cross_entropy(unknown, np.zeros(20, int)))


def test_a_task_needs_a_chunk_and_not_a_row():
    """The longest array that a task is given is one chunk."""
    x = da.zeros((4, 10_000), chunks=(2, 100), dtype=np.float32)
    seen = []
    recorded = ours.RowState.of.__func__

    class Recording(ours.RowState):
        @classmethod
        def of(cls, part, axis):
            seen.append(part.shape)
            return recorded(ours.RowState, part, axis)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ours, "RowState", Recording)
        ours.softmax(x).compute()
    assert set(seen) == {(2, 100)}
    assert len(seen) == 200


def test_refusals():
    x = chunked(normal((4, 6)), (2, 3))
    raises(TypeError, "dask.softmax", "x is of type ndarray", lambda: ours.softmax(np.ones(3)))
    raises(TypeError, "dask.softmax", "x has the dtype complex128", lambda: ours.softmax(x.astype(complex)))
    raises(np.exceptions.AxisError, "dask.logsumexp", "axis 2 is out of bounds", lambda: ours.logsumexp(x, 2))
    raises(ValueError, "dask.softmax", "x has no dimension", lambda: ours.softmax(x.sum()))
    raises(ValueError, "dask", "split_every is 1", lambda: ours.softmax(x, split_every=1))
    raises(ValueError, "dask.softmax_backward", "dy has the shape (6,)", lambda: ours.softmax_backward(x[0], x))
    raises(TypeError, "dask.softmax_cross_entropy", "labels has the dtype float64",
           lambda: ours.softmax_cross_entropy(x, np.ones(4)))
    raises(ValueError, "dask.softmax_cross_entropy", "labels has the shape (3,)",
           lambda: ours.softmax_cross_entropy(x, [0, 1, 2]))
    raises(ValueError, "dask.softmax_cross_entropy", "unknown reduction",
           lambda: ours.softmax_cross_entropy(x, [0, 1, 2, 3], reduction="max"))
    raises(TypeError, "dask.softmax_cross_entropy", "axis must be an integer",
           lambda: ours.softmax_cross_entropy(x, [0, 1, 2, 3], axis=(0, 1)))
    for label in (-1, 6):
        loss, _ = ours.softmax_cross_entropy(x, [0, 1, 2, label])
        raises(IndexError, "dask.softmax_cross_entropy", f"a label is {label}; accepted are 0 to 5", loss.compute)
