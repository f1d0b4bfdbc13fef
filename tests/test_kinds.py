"""Arrays of pandas, xarray and dask: every row operation and loss gives back what it was given, with the same numbers.

Each case says of every argument and result where it lies; the arrays of a library are made of that, and what comes back
is compared with the call of plain arrays, bit by bit.
"""

import inspect
import operator
import pickle
import subprocess
import sys
import types
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np
import pytest
from common import ELEMENTWISE, GATED, LOSSES, LOSSES_OF_LABELS, REDUCTIONS, ROWWISE, each, in_turn, normal, same

import fastact
from fastact import sigmoid_losses
from fastact._activation import KINDS, Function
from fastact._kinds import OF_CHUNKED_ROWS

pd = pytest.importorskip("pandas")
xr = pytest.importorskip("xarray")
dask = pytest.importorskip("dask")
da = pytest.importorskip("dask.array")

DIMS = "batch", "row", "class"
ENTRIES, ROWS, CLASSES, KEPT, HALF, ONE, NONE = "entries", "rows", "classes", "kept", "half", "one", "none"
SIGMOID = [getattr(fastact, name) for name in sigmoid_losses.LOSSES]
DIVERGENCES = [fastact.softmax_entropy, fastact.softmax_kl]
WITH_HESSIAN = [fastact.softmax_cross_entropy, fastact.sigmoid_cross_entropy]


class Case(NamedTuple):
    name: str
    call: Any
    arguments: dict[str, tuple[str, np.ndarray]]  # where each lies, and the array
    others: dict[str, Any]
    results: tuple[str, ...]


def cases(shape=(4, 6), axis=-1, dtype=np.float32):
    """Every operation that takes rows, packed arrays or logits, with its options."""
    x, dy = normal(shape, dtype), normal(shape, dtype, 1)
    p = fastact.softmax(x, axis)
    of_rows = tuple(np.delete(shape, axis))
    rows, labels = normal(of_rows, dtype, 2), np.random.default_rng(3).integers(0, shape[axis], of_rows)
    mask, lengths = dy < 1.5, np.full(of_rows, 2)
    along = {"axis": axis}

    def case(name, call, results, others=along, **arguments):
        pairs = {one: value if isinstance(value, tuple) else (ENTRIES, value) for one, value in arguments.items()}
        return Case(f"{name}, {', '.join([*arguments, *others])}", call, pairs, dict(others), tuple(results))

    for f in ROWWISE:
        scaled = {**along, "temperature": 0.5} if f.parameters else along
        yield case(f.name, f, [ENTRIES], scaled, x=x)
        yield case(f.name, f, [ENTRIES], x=x, where=mask)
        yield case(f.name, f, [ENTRIES], x=x, lengths=(ROWS, lengths))
        yield case(f"{f.name}.backward", f.backward, [ENTRIES], dy=dy, output=p)
        yield case(f"{f.name}.backward", f.backward, [ENTRIES], scaled, dy=dy, x=x)
        yield case(f"{f.name}.backward", f.backward, [ENTRIES], dy=dy, x=x, where=mask)
        if f.name in ("softmax", "log_softmax"):
            yield case(f.name, f, [ENTRIES, ROWS], {**along, "return_lse": True}, x=x, bias=dy, sink=(ROWS, rows))
        if axis == -1:
            yield case(f.name, f, [ENTRIES], {"causal": True}, x=x)
            yield case(f.name, f, [ENTRIES], {"window": (1, 2), "offset": 1}, x=x)
    yield case("entmax", fastact.entmax, [ENTRIES], {**along, "alpha": 1.3}, x=x)
    for f in REDUCTIONS:
        yield case(f.name, f, [ROWS], {**along, "temperature": 2.0}, x=x)
        yield case(f.name, f, [KEPT], {**along, "keepdims": True}, x=x)
        yield case(f"{f.name}.backward", f.backward, [ENTRIES], dy=(ROWS, rows), x=x)
        yield case(f"{f.name}.backward", f.backward, [ENTRIES], {**along, "keepdims": True},
                   dy=(KEPT, np.expand_dims(rows, axis)), x=x)
    for f in GATED:
        half = fastact.swiglu(x, axis=axis)
        yield case(f.name, f, [HALF], a=x)
        beta = {"beta": 2.0} if "beta" in f.parameters else {}
        yield case(f.name, f, [HALF], {**along, "layout": "interleaved", **beta}, a=x)
        yield case(f"{f.name}.backward", f.backward, [ENTRIES], dy=(HALF, half), a=x)
        yield case(f.name, f, [ENTRIES], {}, a=x, b=dy)
        yield case(f"{f.name}.backward", f.backward, [ENTRIES, ENTRIES], {}, dy=dy, a=x, b=p)
    for loss in LOSSES:
        targets = "targets" if loss not in LOSSES_OF_LABELS else "labels_or_probabilities"
        for reduction, where in (("mean", ONE), ("sum", ONE), ("none", ROWS)):
            others = {**along, "reduction": reduction}
            yield case(loss.__name__, loss, [where, ENTRIES], others, logits=x, **{targets: p})
            if loss not in LOSSES_OF_LABELS:
                continue
            yield case(loss.__name__, loss, [where, ENTRIES], others, logits=x, **{targets: (ROWS, labels)})
            yield case(loss.__name__, loss, [where, ENTRIES], {**others, "ignore_index": 2}, logits=x,
                       **{targets: (ROWS, labels)})
    for others in ({"label_smoothing": 0.1, "z_loss": 0.01}, {"temperature": 0.5}, {"reduction": "none"}):
        yield case("softmax_cross_entropy", fastact.softmax_cross_entropy,
                   [ROWS if "reduction" in others else ONE, ENTRIES], {**along, **others}, logits=x, where=mask,
                   labels_or_probabilities=(ROWS, labels), sample_weight=(ROWS, rows))
    yield case("softmax_cross_entropy", fastact.softmax_cross_entropy, [ONE], {**along, "gradient": False}, logits=x,
               labels_or_probabilities=(ROWS, labels))
    for f in DIVERGENCES:
        target = {} if f is fastact.softmax_entropy else {"target_logits": dy}
        for reduction, where in (("mean", ONE), ("sum", ONE), ("none", ROWS)):
            yield case(f.__name__, f, [where, ENTRIES], {**along, "reduction": reduction}, logits=x, **target,
                       sample_weight=(ROWS, rows))
    for f in SIGMOID:
        for reduction, where in (("mean", ONE), ("sum", ONE), ("none", ENTRIES)):
            yield case(f.__name__, f, [where, ENTRIES], {"reduction": reduction}, logits=x, targets=p, sample_weight=dy)
    yield case("softmax hessian", fastact.softmax_cross_entropy.gradient_and_hessian, [ENTRIES, ENTRIES], logits=x,
               labels=(ROWS, labels), sample_weight=(ROWS, rows))
    yield case("sigmoid hessian", fastact.sigmoid_cross_entropy.gradient_and_hessian, [ENTRIES, ENTRIES], {}, logits=x,
               targets=mask)
    uniforms = np.random.default_rng(0).random(of_rows)
    yield case("sample", fastact.sample, [ROWS], {**along, "top_k": 3}, logits=x, rng=(ROWS, uniforms))
    if axis == -1:
        yield case("merge_softmax", fastact.merge_softmax, [ENTRIES, ROWS], {}, o1=x, lse1=(ROWS, rows), o2=dy,
                   lse2=(ROWS, -rows))


def test_cases_are_of_every_function():
    """A new function needs a case here, and `keeps_kind` at its definition."""
    functions = [value for name, value in vars(fastact).items() if name in fastact.__all__ and callable(value)
                 and getattr(value, "__module__", "").startswith("fastact") and not isinstance(value, type)]
    of_rows = [one for one in functions if getattr(one, "name", None) not in {f.name for f in ELEMENTWISE}]
    settings = {"get", "threads", "clear_buffers", "get_buffer_limit", "get_num_threads", "set_buffer_limit",
                "set_num_threads"}
    names = {case.name.split(",")[0].split(".")[0] for case in cases()}
    for one in of_rows:
        if one.__name__ not in settings:
            assert one.__name__ in names, f"{one.__name__}: write a case into tests/test_kinds.py"
            assert hasattr(one, "source") or isinstance(one, Function), f"{one.__name__} lacks keeps_kind"
    for one in WITH_HESSIAN:
        assert isinstance(one.gradient_and_hessian, Function)
    assert {one for one in functions if hasattr(one, "gradient_and_hessian")} == set(WITH_HESSIAN)


def plain(case):
    results = case.call(**{name: array for name, (_, array) in case.arguments.items()}, **case.others)
    return results if isinstance(results, tuple) else (results,)


def called(case, **replaced):
    results = case.call(**{**case.others, **replaced})
    results = results if isinstance(results, tuple) else (results,)
    assert len(results) == len(case.results), case.name
    return results


# ------------------------------------------------------------------------------------------------------------- pandas

INDEX, COLUMNS = pd.Index(["u", "v", "w", "x"], name="customer"), pd.Index([10, 20, 30, 40, 50, 60], name="choice")
LABELS = INDEX, COLUMNS


def frame_of(array, where, axis):
    array = np.asarray(array)
    if where == ROWS:
        return pd.Series(array, index=LABELS[1 - axis % 2])
    new = range(array.shape[axis])
    labels = [new if k == axis % 2 and where != ENTRIES else LABELS[k] for k in range(2)]
    return pd.DataFrame(array, index=labels[0], columns=labels[1])


@in_turn("dtype", [np.float32, np.float64, np.float16])
@in_turn("axis", [-1, 0])
def test_pandas(axis, dtype):
    for case in cases(axis=axis, dtype=dtype):
        given = {name: frame_of(array, where, axis) for name, (where, array) in case.arguments.items()}
        for result, right, where in zip(called(case, **given), plain(case), case.results, strict=True):
            if where == ONE:
                assert type(result) is type(right), case.name
                same(result, right, case.name)
            else:
                expected = frame_of(right, where, axis)
                assert type(result) is type(expected), case.name
                same(result.to_numpy(), right, case.name)
                for labels, wanted in zip(result.axes, expected.axes, strict=True):
                    assert labels.identical(wanted), case.name


@each("f", [*ROWWISE, *REDUCTIONS])
def test_axes_of_pandas_have_names(f):
    x = normal((4, 6))
    frame = frame_of(x, ENTRIES, -1)
    for axis, number in (("index", 0), ("rows", 0), ("columns", 1), (-2, 0)):
        same(np.asarray(f(frame, axis=axis)), f(x, axis=number))
        same(np.asarray(f(frame, axis)), f(x, number))
    with pytest.raises(ValueError, match=f"fastact.{f.name}: axis is 'class'; accepted are index, rows, columns"):
        f(frame, axis="class")
    everything = f(frame, axis=None)
    same(np.asarray(everything), f(x, axis=None))
    assert isinstance(everything, np.float64 if f in REDUCTIONS else pd.DataFrame)


@each("f", [*ROWWISE, *REDUCTIONS])
def test_a_series_is_a_row(f):
    x = normal(4, np.float32)
    series = pd.Series(x, INDEX, name="score")
    series.attrs["unit"] = "nat"
    result, right = f(series), f(x)
    same(np.asarray(result), right)
    if f in REDUCTIONS:
        assert type(result) is np.float32
        return
    assert result.index.identical(INDEX)
    assert (result.name, result.attrs) == ("score", series.attrs)
    same(f.backward(series, output=result).to_numpy(), f.backward(x, output=right))


def test_groups_of_pandas():
    frame = pd.DataFrame({"query": [1, 1, 2, 2, 2], "score": normal(5)})
    shares = frame.groupby("query")["score"].transform(fastact.softmax)
    same(shares.to_numpy(), np.concatenate([fastact.softmax(frame.score.to_numpy()[k]) for k in
                                            (slice(2), slice(2, None))]))
    rows = frame_of(normal((4, 6)), ENTRIES, -1)
    assert rows.apply(fastact.softmax, axis=1).equals(fastact.softmax(rows))


def test_columns_of_several_dtypes_have_their_common_one():
    frame = pd.DataFrame({"a": np.float32([1, 2]), "b": [True, False], "c": np.float16([0, 1])})
    right = fastact.softmax(np.float32([[1, 1, 0], [2, 0, 1]]))
    same(fastact.softmax(frame).to_numpy(), right)
    frame["d"] = [3, -1]
    same(fastact.softmax(frame).to_numpy(), fastact.softmax([[1.0, 1, 0, 3], [2, 0, 1, -1]]))
    same(fastact.softmax(pd.DataFrame({"a": [1, 2], "b": [3, 4]}, dtype=np.int8)).to_numpy(),
         fastact.softmax([[1, 3], [2, 4]]))


def test_missing_values_make_a_row_missing():
    frame = pd.DataFrame({"a": [1.0, None], "b": [2.0, 3.0]}, dtype="Float32")
    result = fastact.softmax(frame)
    assert (result.dtypes == "Float32").all()
    assert result.isna().to_numpy().tolist() == [[False, False], [True, True]]
    same(result.iloc[0].to_numpy(np.float32), fastact.softmax(np.float32([1, 2])))
    same(fastact.softmax(pd.DataFrame({"a": [1, None], "b": [2, 3]}, dtype="Int8"), axis=0)["b"].to_numpy(np.float64),
         fastact.softmax([2.0, 3.0]))
    labels = pd.Series([0, 1], dtype="Int64")
    x = normal((2, 3))
    same(fastact.softmax_cross_entropy(pd.DataFrame(x), labels)[0], fastact.softmax_cross_entropy(x, [0, 1])[0])


@in_turn("column, dtype", [(["u", "v"], "str"), ([1.0, "v"], "object"), ([1j, 2j], "complex128"),
                           (pd.Categorical([1, 2]), "category"), (pd.to_datetime([0, 1]), "datetime64")])
def test_columns_that_hold_no_numbers_are_refused(column, dtype):
    frame = pd.DataFrame({"a": [1.0, 2.0], "b": column})
    for call in (fastact.softmax, fastact.logsumexp, lambda x: fastact.softmax_mse(x, x)):
        with pytest.raises(TypeError, match=rf"has the column 'b' of the dtype {dtype}.*; accepted are numbers"):
            call(frame)
    with pytest.raises(TypeError, match=rf"fastact.softmax: x has the dtype {dtype}.*; accepted are numbers"):
        fastact.softmax(frame["b"])


def test_another_index_is_refused():
    frame, other = frame_of(normal((4, 6)), ENTRIES, -1), frame_of(normal((4, 6)), ENTRIES, -1)
    labels = pd.Series([0, 1, 2, 3])
    with pytest.raises(ValueError, match=r"fastact.softmax_cross_entropy: labels_or_probabilities has another index "
                                         r"than logits; accepted .* labels_or_probabilities.to_numpy\(\)"):
        fastact.softmax_cross_entropy(frame, labels)
    same(fastact.softmax_cross_entropy(frame, labels.to_numpy())[0],
         fastact.softmax_cross_entropy(frame.to_numpy(), labels)[0])
    with pytest.raises(ValueError, match=r"fastact.softmax.backward: output has another index than dy"):
        fastact.softmax.backward(frame, output=other.iloc[::-1])
    with pytest.raises(ValueError, match=r"fastact.softmax.backward: output has another columns than dy"):
        fastact.softmax.backward(frame, output=other.iloc[:, ::-1])
    with pytest.raises(ValueError, match=r"class_weight has another columns than logits"):
        fastact.softmax_cross_entropy(frame, labels.to_numpy(), class_weight=pd.Series(np.ones(6)))
    weight = pd.Series(np.arange(6.0), COLUMNS)
    same(fastact.softmax_cross_entropy(frame, labels.to_numpy(), class_weight=weight)[1].to_numpy(),
         fastact.softmax_cross_entropy(frame.to_numpy(), labels.to_numpy(), class_weight=np.arange(6.0))[1])


@each("f", [f for f in ELEMENTWISE if f.parameters])
def test_frames_of_float32_stay_so_with_parameters(f):
    x = np.abs(normal((4, 6), np.float32)) / 8
    for dtype in (np.float32, np.float16):
        frame = frame_of(x.astype(dtype), ENTRIES, -1)
        for method in ("__call__", "derivative"):
            same(getattr(f, method)(frame).to_numpy(), getattr(f, method)(x.astype(dtype)))
        same(f.backward(frame, frame).to_numpy(), f.backward(x.astype(dtype), x.astype(dtype)))
    mixed = frame.assign(wide=x[:, 0].astype(np.float64))
    assert f(mixed)["wide"].dtype == np.float64
    same(f(mixed)["wide"].to_numpy(), f(x[:, 0].astype(np.float64)))


# ------------------------------------------------------------------------------------------------------------- xarray

def labelled(array, where, axis, dims, data=lambda array: array):
    """A DataArray with coordinates, one of them along the rows and the classes together."""
    axis %= len(dims)
    if where == CLASSES:
        return xr.DataArray(array, {dims[axis]: 10 * np.arange(len(array))}, [dims[axis]])
    kept = [dim for k, dim in enumerate(dims) if where != ROWS or k != axis]
    coords = {dim: 10 * np.arange(size) for dim, size in zip(kept, array.shape, strict=True)
              if where not in (KEPT, HALF) or dim != dims[axis]}
    coords["time"] = 7
    if dims[-2] in coords:
        coords["name"] = dims[-2], [f"n{k}" for k in range(len(coords[dims[-2]]))]
    if dims[-1] in coords and dims[-2] in coords:
        coords["both"] = dims[-2:], np.zeros((len(coords[dims[-2]]), len(coords[dims[-1]])))
    return xr.DataArray(data(np.asarray(array)), coords, kept, "scores", {"unit": "nat"})


@in_turn("shape, axis, lazy", [((4, 6), -1, False), ((4, 6), 0, True), ((2, 4, 6), -1, False), ((2, 4, 6), 1, False)])
def test_xarray(shape, axis, lazy):
    dims = DIMS[-len(shape):]
    # The lazy ones are those of dask arrays, which have a test of their own: here one of each function.
    every = cases(shape, axis) if not lazy else {case.name.split(",")[0]: case for case in cases(shape, axis)}.values()
    for case in every:
        chunk = (lambda array: da.from_array(array, chunks=(-1, 2)[-array.ndim:])) if lazy else lambda array: array
        given = {name: labelled(array, where, axis, dims, chunk) for name, (where, array) in case.arguments.items()}
        replaced = {"axis": dims[axis]} if "axis" in case.others else {}
        for result, right, where in zip(called(case, **given, **replaced), plain(case), case.results, strict=True):
            if where == ONE:
                expected = xr.DataArray(right, {"time": 7}, (), "scores", {"unit": "nat"})
            else:
                expected = labelled(right, where, axis, dims)
            assert isinstance(result.data, da.Array) == lazy, case.name
            computed = result.compute()
            xr.testing.assert_identical(computed, expected)
            same(computed.to_numpy(), right, case.name)


def test_a_chunked_dimension():
    x = normal((4, 6))
    array = labelled(x, ENTRIES, -1, DIMS[-2:], lambda array: da.from_array(array, chunks=2))
    result = fastact.softmax(array, dim="class")
    assert result.data.chunks == array.data.chunks
    xr.testing.assert_allclose(result.compute(), labelled(fastact.softmax(x), ENTRIES, -1, DIMS[-2:]), rtol=1e-15)


@in_turn("axis", [0, 1, 2])
def test_dimensions_by_name(axis):
    x, dy = normal((2, 4, 6)), normal((2, 4, 6), seed=1)
    array, upstream = labelled(x, ENTRIES, -1, DIMS), labelled(dy, ENTRIES, -1, DIMS)
    right = fastact.softmax(x, axis)
    for given in ({"axis": DIMS[axis]}, {"dim": DIMS[axis]}, {"axis": axis - 3}):
        result = fastact.softmax(array, **given)
        assert result.dims == DIMS
        same(result.to_numpy(), right)
    # The other array may have its dimensions in another order.
    turned = upstream.transpose("class", "batch", "row")
    assert turned.shape != array.shape
    gradient = fastact.softmax.backward(turned, output=result, dim=DIMS[axis])
    assert gradient.dims == turned.dims
    same(gradient.transpose(*DIMS).to_numpy(), fastact.softmax.backward(dy, output=right, axis=axis))
    # A mask has the dimensions that it depends on.
    mask = xr.DataArray(x[:, 0] > 0, dims=["batch", "class"])
    same(fastact.softmax(array, where=mask, dim=DIMS[axis]).to_numpy(),
         fastact.softmax(x, axis, where=(x[:, 0] > 0)[:, None]))
    both = fastact.logsumexp(array, dim=("class", "batch"))
    assert both.dims == ("row",)
    same(both.to_numpy(), fastact.logsumexp(x, (0, 2)))


def test_dimensions_that_are_refused():
    array = labelled(normal((4, 6)), ENTRIES, -1, DIMS[1:])
    with pytest.raises(ValueError, match="axis is 'time'; accepted are the dimensions 'row', 'class', and integers"):
        fastact.softmax(array, dim="time")
    with pytest.raises(TypeError, match="softmax: got both axis and dim; accepted is one"):
        fastact.softmax(array, axis=0, dim="row")
    for plain_array in (array.to_numpy(), frame_of(array.to_numpy(), ENTRIES, -1), da.from_array(array.to_numpy())):
        with pytest.raises(TypeError, match=r"fastact.softmax: unknown argument dim; did you mean axis\?"):
            fastact.softmax(plain_array, dim=0)
    with pytest.raises(ValueError, match="output has other coordinates 'row' than the first argument"):
        fastact.softmax.backward(array, output=array[::-1])
    with pytest.raises(ValueError, match=r"labels_or_probabilities has the dimension 'class'; accepted are 'row'"):
        fastact.softmax_cross_entropy(array, xr.DataArray([0] * 6, dims=["class"]))
    data = array.to_dataset(name="scores")
    with pytest.raises(TypeError, match=r"fastact.softmax: x is a Dataset; accepted are arrays: write x.map\(fastact"):
        fastact.softmax(data)
    assert data.map(fastact.softmax, dim="class")["scores"].equals(fastact.softmax(array))


def test_an_index_of_several_levels_is_kept():
    index = pd.MultiIndex.from_product([["a", "b"], [0, 1]], names=["letter", "digit"])
    array = xr.DataArray(normal((4, 6)), dims=["row", "class"]).assign_coords(
        xr.Coordinates.from_pandas_multiindex(index, "row"))
    assert fastact.softmax(array).indexes["row"].equals(index)
    assert fastact.logsumexp(array).indexes["row"].equals(index)
    assert fastact.logsumexp(array, dim="row").dims == ("class",)


# --------------------------------------------------------------------------------------------------------------- dask

@pytest.fixture(autouse=True)
def no_threads_of_dask():
    with dask.config.set(scheduler="synchronous"):
        yield


def chunked(array, where, axis, sizes):
    kept = [size for k, size in enumerate(sizes) if where != ROWS or k != axis % len(sizes)]
    return da.from_array(array, chunks=[-1] if where == CLASSES else kept)


@in_turn("shape, axis, sizes, dtype", [
    ((4, 6), -1, (2, -1), np.float32), ((5, 6), -1, (2, 4), np.float64), ((4, 6), 0, (3, 4), np.float16),
    ((2, 4, 6), 1, (1, 3, 5), np.float32)])
def test_dask(shape, axis, sizes, dtype, monkeypatch):
    for case in cases(shape, axis, dtype):
        given = {name: chunked(array, where, axis, sizes) for name, (where, array) in case.arguments.items()}
        with monkeypatch.context() as patched:
            patched.setattr("dask.base.get_scheduler", None)  # what computes now, fails
            results = called(case, **given)
        for result, computed, right in zip(results, dask.compute(*results), plain(case), strict=True):
            assert isinstance(result, da.Array), case.name
            assert (result.shape, result.dtype) == (np.shape(right), right.dtype), case.name
            assert computed.shape == result.shape, case.name
            assert computed.dtype == result.dtype, case.name
            if result.name.startswith(OF_CHUNKED_ROWS):  # of fastact.dask, which has tests of its own
                wide = computed.astype(float), np.asarray(right).astype(float)
                np.testing.assert_allclose(*wide, rtol=4 * float(ml_dtypes.finfo(right.dtype).eps))
            else:
                same(computed, right, case.name)


def test_chunks_across_the_rows_are_kept():
    x = da.zeros((8, 6), chunks=(3, 2))
    assert fastact.softmax(x).chunks == x.chunks
    assert fastact.softmax(x, causal=True).chunks == ((8,), (6,))
    assert fastact.softmax(x, temperature=2).chunks == ((3, 3, 2), (6,))
    assert fastact.logsumexp(x).chunks == ((3, 3, 2),)
    assert fastact.softmax(x, axis=0).chunks == x.chunks
    assert fastact.softmin(x, axis=0).chunks == ((8,), (2, 2, 2))
    assert fastact.swiglu(x).chunks == ((3, 3, 2), (3,))


def test_mixed_arrays_are_lazy():
    x, labels = normal((5, 6)), np.array([0, 1, 2, 3, 4])
    for logits, targets in ((da.from_array(x, chunks=2), labels), (x, da.from_array(labels, chunks=2)),
                            (da.from_array(x, chunks=2), labels.tolist()),
                            (da.from_array(x, chunks=2), labels[:, None])):
        loss, gradient = fastact.softmax_cross_entropy(logits, targets)
        assert isinstance(loss, da.Array)
        same(loss.compute(), fastact.softmax_cross_entropy(x, labels)[0])
        same(gradient.compute(), fastact.softmax_cross_entropy(x, labels)[1])
    mask = x > 0
    same(fastact.softmax(da.from_array(x, chunks=2), where=mask[0]).compute(), fastact.softmax(x, where=mask[0]))


@in_turn("options", [{}, {"ignore_index": 3}, {"label_smoothing": 0.1}])
def test_a_mean_with_class_weights(options):
    x, labels, weights = normal((50, 6)), np.arange(50) % 6, np.arange(6) + 0.5
    right = fastact.softmax_cross_entropy(x, labels, class_weight=weights, **options)
    for given in (weights, da.from_array(weights, chunks=4)):
        loss, gradient = fastact.softmax_cross_entropy(
            da.from_array(x, chunks=(7, 4)), da.from_array(labels, chunks=9), class_weight=given, **options)
        # The sum of the weights is that of a sum in each chunk.
        np.testing.assert_allclose(loss.compute(), right[0], rtol=2**-51)
        np.testing.assert_allclose(gradient.compute(), right[1], rtol=2**-51)


def test_generators_draw_what_they_draw_for_arrays():
    x = normal((50, 6))
    indices = fastact.sample(da.from_array(x, chunks=(7, 4)), np.random.default_rng(1))
    same(indices.compute(), fastact.sample(x, np.random.default_rng(1)))


def test_unknown_sizes_of_chunks():
    x = normal((50, 6))
    positive = da.from_array(x, chunks=(7, 6))
    positive = positive[positive[:, 0] > 0]
    same(fastact.softmax(positive).compute(), fastact.softmax(x[x[:, 0] > 0]))
    loss, _ = fastact.softmax_entropy(positive, reduction="sum")
    same(loss.compute(), fastact.softmax_entropy(x[x[:, 0] > 0], reduction="sum")[0])
    with pytest.raises(ValueError, match=r"fastact.softmax_entropy: the chunks have unknown sizes; accepted"):
        fastact.softmax_entropy(positive)


def test_a_matrix_of_derivatives_of_dask():
    x = normal((5, 6))
    jacobian = fastact.softmax.jacobian(da.from_array(x, chunks=2))
    assert jacobian.shape == (5, 6, 6)
    same(jacobian.compute(), fastact.softmax.jacobian(x))
    for other in (frame_of(x[:4], ENTRIES, -1), labelled(x, ENTRIES, -1, DIMS[1:])):
        assert type(fastact.softmax.jacobian(other)) is np.ndarray


def test_errors_come_before_anything_is_computed():
    x = da.ones((4, 6), chunks=2).map_blocks(operator.truediv, 0)
    for call, error, text in (
        (lambda: fastact.softmax(x, temperature=-1), ValueError, "fastact.softmax: temperature is -1"),
        (lambda: fastact.softmax(x, axis=2), np.exceptions.AxisError, "fastact.softmax: axis 2 is out of bounds"),
        (lambda: fastact.softmax(x, out=np.ones((4, 6))), TypeError, "fastact.softmax: out is given beside a dask"),
        (lambda: fastact.softmax(x.astype(complex)), TypeError, "fastact.softmax: x has the dtype complex128"),
        (lambda: fastact.softmax_mse(x, x[:2]), ValueError, r"fastact.softmax_mse: targets has the shape \(2, 6\)"),
        (lambda: fastact.softmax_mse(x, x, reduction="avg"), ValueError, "fastact.softmax_mse: unknown reduction"),
        (lambda: fastact.swiglu(x[:, :5]), ValueError, "fastact.swiglu: axis 1 has the length 5; accepted is an even"),
        (lambda: fastact.entmax.backward_parameter(x, output=x), TypeError, "fastact.entmax.backward_parameter: an"),
        (lambda: fastact.prelu.backward_parameter(x, x), TypeError, "fastact.prelu.backward_parameter: dy is a dask"),
        (lambda: fastact.softmax.backward(x, output=x, sink=np.ones(4), lse=np.ones(4)), TypeError,
         "fastact.softmax.backward: an argument is a dask array, and a result a sum"),
        (lambda: fastact.softmax_mse(frame_of(np.ones((4, 6)), ENTRIES, -1), x), TypeError,
         "fastact.softmax_mse: logits is a DataFrame and targets a dask array"),
    ):
        with pytest.raises(error, match=text):
            call()


def test_a_label_that_is_no_class_is_refused_when_it_is_computed():
    loss, _ = fastact.softmax_cross_entropy(da.zeros((4, 6), chunks=2), da.from_array([0, 1, 2, 6], chunks=2))
    with pytest.raises(IndexError, match=r"labels_or_probabilities holds 6; accepted are 0 to 5"):
        loss.compute()


@each("f", ELEMENTWISE)
def test_both_of_dask_arrays(f):
    x = np.abs(normal((4, 6), np.float32)) / 8
    array = da.from_array(x, chunks=2)
    for given in (array, xr.DataArray(array, dims=["row", "class"])):
        for result, right in zip(f.value_and_derivative(given), (f(x), f.derivative(x)), strict=True):
            assert type(result) is type(given)
            same(np.asarray(result), right)


def test_lazy_calls_pickle():
    x = normal((4, 6))
    array = da.from_array(x, chunks=2)
    loss, gradient = pickle.loads(pickle.dumps(fastact.softmax_cross_entropy(array, [0, 1, 2, 3])))
    same(loss.compute(), fastact.softmax_cross_entropy(x, [0, 1, 2, 3])[0])
    same(gradient.compute(), fastact.softmax_cross_entropy(x, [0, 1, 2, 3])[1])
    same(pickle.loads(pickle.dumps(fastact.softmax.backward(array, output=array))).compute(),
         fastact.softmax.backward(x, output=x))


# ------------------------------------------------------------------------------------------------- other places, names

class Tensor:
    """What the tests need of a tensor of PyTorch, which may not be installed."""

    def __init__(self, array, device="cpu"):
        self.array, self.device = array, types.SimpleNamespace(type=device)

    def __array__(self, dtype=None, copy=None):
        return self.array


@pytest.fixture
def torch(monkeypatch):
    """A library of that name, and fastact.torch with some functions."""
    functions = types.SimpleNamespace(**{
        name: lambda *given, name=name, **named: (name, given, named)
        for name in ("softmax", "gelu", "logsumexp", "swiglu", "softmax_cross_entropy")})
    monkeypatch.setitem(sys.modules, "torch", types.SimpleNamespace(Tensor=Tensor))
    monkeypatch.setitem(sys.modules, "fastact.torch", functions)


def test_tensors_go_to_their_own_functions(torch):
    x = Tensor(normal((4, 6)))
    assert fastact.softmax(x) == ("softmax", (), {"x": x})
    assert fastact.softmax(x, 0, temperature=2.0) == ("softmax", (), {"x": x, "dim": 0, "temperature": 2.0})
    assert fastact.logsumexp(x, keepdims=True) == ("logsumexp", (), {"x": x, "keepdim": True})
    assert fastact.swiglu(x, axis=0) == ("swiglu", (), {"a": x, "dim": 0})
    assert fastact.softmax_cross_entropy(x, [1], axis=0) == (
        "softmax_cross_entropy", (), {"logits": x, "labels_or_probabilities": [1], "dim": 0})
    assert fastact.gelu(x) == ("gelu", (x,), {})
    same(fastact.sparsemax(x), fastact.sparsemax(x.array))  # which has no function there


def test_tensors_without_such_functions_become_arrays(torch, monkeypatch):
    monkeypatch.setitem(sys.modules, "fastact.torch", None)  # its import fails
    x = Tensor(normal((4, 6)))
    same(fastact.softmax(x), fastact.softmax(x.array))
    same(fastact.softmax_mse(x, x.array)[1], fastact.softmax_mse(x.array, x.array)[1])


class OnDevice(Tensor):
    def __dlpack_device__(self):
        return (1 if self.device.type == "cpu" else 2), 0


@in_turn("call", [fastact.softmax, fastact.gelu, fastact.logsumexp, fastact.swiglu, fastact.softmax_entropy,
                  lambda x: fastact.softmax.backward(np.ones((4, 6)), output=x),
                  lambda x: fastact.softmax_mse(np.ones((4, 6)), x)])
@each("kind", [Tensor, OnDevice])
def test_what_is_not_in_cpu_memory_is_refused(kind, call, torch):
    with pytest.raises(TypeError, match=rf"\w+ is a {kind.__name__} on .*cuda.*; accepted are arrays in CPU memory"):
        call(kind(normal((4, 6)), "cuda"))


def test_arrays_of_a_device_that_is_the_cpu_are_taken():
    x = OnDevice(normal((4, 6)))
    same(fastact.softmax(x), fastact.softmax(x.array))


def test_ufuncs_pickle_beside_another_thing_of_their_name():
    code = ("import pickle, fastact; gelu = fastact.gelu.ufunc; text = pickle.dumps(gelu); "
            "assert pickle.loads(text) is gelu; print(b'fastact.ufuncs' in text)")
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    assert found == str(hasattr(np.tanh, "__module__"))


def test_importing_fastact_imports_no_other_library():
    code = "import sys, fastact; print({'pandas', 'xarray', 'dask', 'torch', 'jax'} & set(sys.modules))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    assert found == "set()"


def test_functions_are_described_as_what_they_wrap():
    for f in (fastact.sample, fastact.softmax_mse, fastact.softmax_cross_entropy.gradient_and_hessian):
        assert pickle.loads(pickle.dumps(f)) is f
        assert f.__doc__.replace(f"{KINDS}\n\n", "") == inspect.cleandoc(f.__wrapped__.__doc__)
        assert KINDS in f.__doc__
        assert repr(f) == f"<fastact.{f.__qualname__}>"
    same(fastact.sample.__call__([[0.0, 1.0]], [0.5]), fastact.sample([[0.0, 1.0]], [0.5]))


def test_small_shapes_of_dask():
    x = normal(6, np.float32)
    row = da.from_array(x, chunks=4)
    np.testing.assert_allclose(fastact.softmax(row).compute(), fastact.softmax(x), rtol=5e-7)
    np.testing.assert_allclose(fastact.logsumexp(row).compute(), fastact.logsumexp(x), rtol=5e-7)
    same(np.asarray(fastact.softmax_cross_entropy(row, 2)[0].compute()),
         np.asarray(fastact.softmax_cross_entropy(x, 2)[0]))
    same(np.asarray(fastact.softmax(row, lengths=5).compute()), fastact.softmax(x, lengths=5))
    number = np.float32(0.5)
    same(np.asarray(fastact.sigmoid_focal(da.from_array(number), 1)[0].compute()),
         np.asarray(fastact.sigmoid_focal(number, 1)[0]))
    for size in (0, 1):
        empty = np.zeros((size, 3))
        same(fastact.softmax(da.from_array(empty, chunks=2)).compute(), fastact.softmax(empty))
