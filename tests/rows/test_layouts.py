"""A row has the same bits in any memory layout, beside any other rows, with any number of threads."""

import numpy as np
import pytest
from common import NAN, REDUCTIONS, ROWS, in_turn, normal, same, same_bits
from logits import logits_of
from row_helpers import SCALED, every_dtype

import fastact
from fastact._engine import runtime


class Calls:
    """Value and backward of a function along an axis, as functions of one array of rows."""

    def __init__(self, f, **parameters):
        self.f, self.parameters = f, parameters
        self.names = [f"{f.name}-{'-'.join([*parameters, mode])}" for mode in ("value", "backward")]

    def __call__(self, x, axis=-1):
        return self.f(x, axis, **self.parameters)

    def backward(self, x, axis=-1):
        if self.f in REDUCTIONS:
            return self.f.backward(self.f(x, axis), x, axis)
        return self.f.backward(x, x, axis, **self.parameters)


CALLS = [*(Calls(f) for f in ROWS), *(Calls(f, temperature=0.7) for f in SCALED)]
@pytest.fixture(scope="module", autouse=True)
def _more_threads():
    """Several threads begin with less work than they are worth, so that arrays need not be large."""
    before = runtime.set_parallel_nanoseconds(2000)
    yield
    runtime.set_parallel_nanoseconds(before)


every_mode = pytest.mark.parametrize("call", [mode for calls in CALLS for mode in (calls.__call__, calls.backward)],
                                     ids=[name for calls in CALLS for name in calls.names])


def layouts(rows):
    """The same rows lying in other ways: an array, the axis of its rows, and what takes the result back."""
    count, length = rows.shape

    def unchanged(result):
        return result

    def of_columns(result):
        return result.T

    wide = np.full((count, 3 * length), NAN, rows.dtype)
    wide[:, ::3] = rows
    padded = np.full((count + 2, length + 3), NAN, rows.dtype)
    padded[1:-1, 2:-1] = rows
    bytes_apart = np.zeros(rows.nbytes + 1, np.uint8)
    unaligned = bytes_apart[1:].view(rows.dtype).reshape(rows.shape)
    unaligned[...] = rows
    read_only = rows.copy()
    read_only.flags.writeable = False
    yield "rows, counted from the front", rows, 1, unchanged
    yield "columns", np.ascontiguousarray(rows.T), 0, of_columns
    yield "transposed", rows.T, 0, of_columns
    yield "Fortran order", np.asfortranarray(rows), -1, unchanged
    yield "every third", wide[:, ::3], -1, unchanged
    yield "every third, columns", wide[:, ::3].T, -2, of_columns
    yield "inside", padded[1:-1, 2:-1], -1, unchanged
    yield "inside, columns", padded[1:-1, 2:-1].T, 0, of_columns
    yield "rows backwards", rows[::-1].copy()[::-1], -1, unchanged
    yield "entries backwards", rows[:, ::-1].copy()[:, ::-1], -1, unchanged
    yield "byte-swapped", rows.astype(rows.dtype.newbyteorder()), -1, unchanged
    yield "byte-swapped columns", rows.T.astype(rows.dtype.newbyteorder()), 0, of_columns
    yield "unaligned", unaligned, -1, unchanged
    yield "read-only", read_only, -1, unchanged
    yield "middle", np.ascontiguousarray(np.moveaxis(rows.reshape(2, -1, length), -1, 1)), 1, (
        lambda result: np.moveaxis(result, 1, -1).reshape(rows.shape) if result.ndim == 3 else result.reshape(-1))
    yield "first of three", np.ascontiguousarray(np.moveaxis(rows.reshape(2, -1, length), -1, 0)), -3, (
        lambda result: np.moveaxis(result, 0, -1).reshape(rows.shape) if result.ndim == 3 else result.reshape(-1))
    yield "Fortran order of three", np.asfortranarray(rows.reshape(2, -1, length)), 2, (
        lambda result: result.reshape(rows.shape) if result.ndim == 3 else result.reshape(-1))
    yield "broadcast", np.broadcast_to(rows, (2, *rows.shape)), -1, lambda result: result[1]


@every_dtype
@in_turn("kind", ["uniform", "decided"])
@in_turn("length", [1, 5, 16, 37, 300, 4100])
@every_mode
def test_rows_have_the_same_bits_in_any_layout(call, length, kind, dtype):
    rows = logits_of(kind, dtype, length, rows=6)
    expected = call(rows)
    for layout, array, axis, back in layouts(rows):
        before = array.copy()
        assert same_bits(back(call(array, axis)), expected), layout
        assert same_bits(array, before), layout


@every_dtype
@in_turn("length, counts", [
    (37, range(1, 71)),
    *((length, (2, 3, 4, 5, 31, 32, 33, 36, 127, 128, 130)) for length in (1, 2, 3, 4, 5, 10, 15, 16, 17, 31, 32, 33)),
])
@every_mode
def test_rows_have_the_same_bits_beside_any_others(call, length, counts, dtype):
    rows = logits_of("uniform", dtype, length, rows=max(counts))
    alone = np.concatenate([call(rows[k : k + 1]) for k in range(len(rows))])
    for count in counts:
        assert same_bits(call(rows[:count]), alone[:count]), count
        columns = call(np.ascontiguousarray(rows[:count].T), 0)
        assert same_bits(columns.T, alone[:count]), count


@every_dtype
@in_turn("length", [2, 3, 10, 16, 19, 40, 150])
@every_mode
def test_rows_that_are_not_finite_have_the_same_bits_in_columns(call, length, dtype):
    """Some sums of a strip are infinite or NaN, and those beside them are not."""
    rows = normal((45, length), dtype)
    random = np.random.default_rng(length)
    places = random.random(rows.shape) < 1 / length / 2
    rows[places] = random.choice(np.array([np.inf, -np.inf, NAN, -0.0, 0]), np.count_nonzero(places))
    alone = np.concatenate([call(row[None]) for row in rows])
    with np.errstate(all="ignore"):
        same(call(rows), alone)
        same(call(np.ascontiguousarray(rows.T), 0).T, alone)


@every_dtype
@in_turn("kind", ["normal", "decided"])
@every_mode
def test_long_rows_have_the_same_bits_alone_and_among_others(call, kind, dtype):
    rows = logits_of(kind, dtype, 100_003, rows=3)
    expected = call(rows)
    columns = np.ascontiguousarray(rows.T)
    for threads in (1, 2, 3):
        with fastact.threads(threads):
            for k, row in enumerate(rows):
                assert same_bits(call(row), expected[k]), (threads, k)
            assert same_bits(call(columns, 0).T, expected), threads


@every_dtype
@in_turn(
    "shape, axis", [((5, 20_001), -1), ((3000, 67), -1), ((67, 3000), 0), ((2, 9000, 33), 1), ((1, 10_001, 40), 1)])
@every_mode
def test_threads_give_the_same_bits(call, shape, axis, dtype):
    x = normal(shape, dtype)
    with fastact.threads(1):
        expected = call(x, axis)
    for threads in (2, 3):
        with fastact.threads(threads):
            assert same_bits(call(x, axis), expected)


@every_dtype
@every_mode
def test_columns_that_collide_in_the_cache_have_the_bits_of_rows(call, dtype):
    """Lines whose distance is a multiple of 4096 bytes are copied before they are computed."""
    for shape in ((2048, 20), (4096, 3), (2064, 150)):
        rows = normal(shape, dtype)
        assert same_bits(call(np.ascontiguousarray(rows.T), 0).T, call(rows)), shape


@in_turn("dtype", [np.float32, np.float16])
@every_mode
def test_prefetching_changes_no_bits(call, dtype, prefetching):
    for shape, axis in (((280, 1024), -1), ((1024, 280), 0), ((1, 280_001), -1)):
        x = normal(shape, dtype)
        prefetching(False)
        expected = call(x, axis)
        prefetching(True)
        assert same_bits(call(x, axis), expected), shape
