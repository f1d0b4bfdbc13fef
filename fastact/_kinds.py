"""The kinds of arrays of other libraries: a call gives back what it was given.

A DataFrame or Series of pandas, a DataArray of xarray, an array of dask or a tensor of PyTorch becomes an array that
the call takes, and the results become that kind again, with the labels that belong to them.  Elementwise activations
need little of this, since NumPy's ufuncs ask the kind.

A call comes here if an argument has `__array__` and is not of NumPy (`in_kind` in _activation.pyx).  Nothing is
imported but fastact.torch and fastact.dask: a library whose arrays are given has been imported.
"""

import importlib
import math
import sys
from collections.abc import Callable, Collection
from functools import lru_cache, partial
from inspect import Parameter, signature
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fastact._activation import rounded, use_kinds
from fastact._layout import row_axes
from fastact._loss_arguments import Part, reduced
from fastact.elementwise import Elementwise, Kinked
from fastact.gated import Gated

Array = npt.NDArray[Any]

# The arguments that may be arrays.  Of the shape of the logits: the first of them that has a kind decides.
OF_ENTRIES = ("dy", "x", "output", "a", "b", "logits", "o1", "o2")
OF_ROWS = ("lse", "sink", "lengths", "offset", "labels", "sample_weight", "lse1", "lse2", "rng", "temperature", "top_k",
           "top_p", "min_p")
OF_CLASSES = ("class_weight",)
OTHERS = ("where", "bias", "targets", "labels_or_probabilities", "target_logits", "pos_weight")
WITHIN_ROWS = ("labels", "labels_or_probabilities", "lengths")  # whose numbers the length of a row limits
ARRAYS = {*OF_ENTRIES, *OF_ROWS, *OF_CLASSES, *OTHERS}

OF_KINKS = ("derivative", "value_and_derivative", "backward")  # which no ufunc computes at kinks
OF_CHUNKED_ROWS = ("softmax", "log_softmax", "logsumexp")  # functions of fastact.dask

AXES_OF_PANDAS = {"index": 0, "rows": 0, "columns": 1}
IN_CPU_MEMORY = (1, 3, 11, 13)  # devices of DLPack; the last three are memory that CUDA and ROCm use too


def is_one_of(value: object, module: str, *names: str) -> bool:
    """Tell whether a value is of one of these classes of a library, which may not have been imported."""
    found = sys.modules.get(module)
    return isinstance(value, tuple(getattr(found, name) for name in names if hasattr(found, name)))


def is_frame(value: object) -> bool:
    return is_one_of(value, "pandas", "DataFrame", "Series")


def is_labelled(value: object) -> bool:
    return is_one_of(value, "xarray", "DataArray")


def is_dask(value: object) -> bool:
    return is_one_of(value, "dask.array", "Array")


def is_tensor(value: object) -> bool:
    return is_one_of(value, "torch", "Tensor")


def is_lazy(value: Any) -> bool:
    return is_dask(value) or (is_labelled(value) and is_dask(value.data))


# ---------------------------------------------------------------------------------------------------------- the call

class New(NamedTuple):
    """An axis of an array that stands for one of the logits, but has another length and none of its labels."""

    axis: int
    length: int


Place = tuple[int | New, ...]  # what each axis of an array is among those of the logits


class Call:
    """A call of rows, of a packed array or of a loss: its arguments by name, and where they and its results lie."""

    def __init__(self, owner: Any, method: str, given: dict[str, Any], parameters: Collection[str]) -> None:
        self.owner, self.method, self.given, self.parameters = owner, method, given, parameters
        self.operation = owner if method == "__call__" else getattr(owner, method)
        self.name = owner.__qualname__ + ("" if method == "__call__" else f".{method}")
        self.is_packed = isinstance(owner, Gated) and given.get("b") is None
        self.entries = {name: given[name] for name in OF_ENTRIES if given.get(name) is not None}
        if self.is_packed or "keepdims" in parameters:
            self.entries.pop("dy", None)
        out = given.get("out")
        self.outs = out if isinstance(out, tuple) else (out,)

    def set_shape(self, shape: tuple[int, ...]) -> None:
        """Set the shape of the logits, by which the axes of the rows are checked."""
        self.shape, self.all = shape, tuple(range(len(shape)))
        self.axes: tuple[int, ...] = ()  # each entry by itself
        if isinstance(self.owner, Elementwise) or (isinstance(self.owner, Gated) and not self.is_packed):
            pass
        elif "axis" in self.parameters:
            self.axes = row_axes(self.name, self.given.get("axis", -1), len(shape))
        elif "logits" not in self.parameters:
            self.axes = self.all[-1:]
        self.rows = tuple([k for k in self.all if k not in self.axes])
        self.half = tuple([New(k, shape[k] // 2) if k in self.axes else k for k in self.all])
        self.kept = tuple([New(k, 1) if k in self.axes else k for k in self.all])
        # Then the entries of a row that take part depend on how many queries there are.
        self.has_queries = bool(self.given.get("causal")) or self.given.get("window") is not None

    def place_of(self, name: str, ndim: int) -> Place:
        """Return what the axes of an argument are, or would be, if it had all those to which it broadcasts."""
        if name == "dy" and name not in self.entries:
            return self.half if self.is_packed else self.kept if self.given.get("keepdims") else self.rows
        if name in ("labels", "labels_or_probabilities"):
            return self.rows if ndim < len(self.all) else self.all
        if name in ("lengths", "offset") and self.has_queries:
            return self.rows[:-1]
        if name in OF_ROWS or name in OF_CLASSES:
            return self.rows if name in OF_ROWS else self.axes
        return self.half if self.is_packed and name not in OF_ENTRIES else self.all

    def places_of_results(self) -> list[Place | None]:
        """Return the same of the results; None for those that are not of the shape of the logits or of the rows."""
        given = self.given
        if self.method == "value_and_derivative":
            return [self.all, self.all]
        if self.method == "jacobian":
            return [(*self.all, New(self.all[-1], self.shape[-1]))]
        if self.method == "backward_parameter":
            return [None]
        if self.method == "backward":
            if isinstance(self.owner, Gated) and not self.is_packed:
                return [self.all, self.all]
            return [self.all] if given.get("sink") is None else [self.all, None]
        if self.name.endswith("gradient_and_hessian"):
            return [self.all, self.all]
        if "reduction" in self.parameters:
            loss = self.rows if given.get("reduction") == "none" else ()
            return [loss, self.all] if given.get("gradient", True) else [loss]
        if "lse1" in self.parameters:
            return [self.all, self.rows]
        if "rng" in self.parameters or "keepdims" in self.parameters:
            return [self.kept if given.get("keepdims") else self.rows]
        if self.is_packed:
            return [self.half]
        return [self.all, self.rows] if given.get("return_lse") else [self.all]

    def compute(self, label: Callable[[Any, Place], Any]) -> Any:
        """Make the call, and label its results, but for arrays that the caller has given."""
        results = self.operation(**self.given)
        several = isinstance(results, tuple)
        labelled = tuple([
            label(one, place) if place is not None and len(place) <= len(self.all)
            and not any(one is out for out in self.outs) else one
            for one, place in zip(results if several else (results,), self.places_of_results(), strict=True)])
        return labelled if several else labelled[0]


def call_in_kind(owner: Any, method: str, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
    """Make a call in the kind of its arguments; NotImplemented, if it is that of NumPy or NumPy asks for it."""
    parameters, names = arguments_of(owner, method)
    given = {**dict(zip(names, arguments, strict=False)), **keywords}
    if len(given) < len(arguments) + len(keywords):
        return NotImplemented  # too many arguments, or two of one name: an error
    call = Call(owner, method, given, parameters)
    for name, value in given.items():
        check_memory(call.name, name, value)
    kinds = (is_frame, is_labelled, is_dask, is_tensor)
    leader = next((name for name, value in call.entries.items() if any(is_kind(value) for is_kind in kinds)), None)
    if leader is not None and is_tensor(given[leader]):
        return of_torch(call, arguments, keywords)
    lazy = [name for name, value in given.items() if is_lazy(value)]
    if isinstance(owner, Elementwise) and not (isinstance(owner, Kinked) and method in OF_KINKS):
        return of_elementwise(call, lazy)
    if isinstance(owner, Gated) and not call.is_packed and not (lazy and method == "backward"):
        return NotImplemented
    for name, value in given.items():
        check_collection(call.name, name, value)
    if leader is not None and is_labelled(given[leader]):
        return of_xarray(call, leader)
    if lazy and leader is not None and is_frame(given[leader]):
        raise TypeError(f"fastact.{call.name}: {leader} is a {type(given[leader]).__name__} and {lazy[0]} a dask "
                        f"array; accepted are arguments of one kind")
    if lazy:
        return of_dask(call)
    return NotImplemented if leader is None else of_pandas(call, leader)


@lru_cache
def arguments_of(owner: Any, method: str) -> tuple[Collection[str], list[str]]:
    """Return the names of all arguments, and of those that may be given by position."""
    parameters = signature(owner if method == "__call__" else getattr(owner, method)).parameters
    names = [name for name, one in parameters.items() if one.kind is Parameter.POSITIONAL_OR_KEYWORD]
    if any(one.kind is Parameter.VAR_POSITIONAL for one in parameters.values()):
        names += owner.parameters
    return set(parameters), names


def check_memory(call: str, name: str, value: Any) -> None:
    """Refuse an array that is not in CPU memory."""
    if is_tensor(value):
        in_memory = value.device.type == "cpu"
    elif isinstance(value, np.ndarray | np.generic) or not hasattr(value, "__dlpack_device__"):
        return
    else:
        try:
            in_memory = value.__dlpack_device__()[0] in IN_CPU_MEMORY
        except Exception:  # on several devices, or while it is traced
            return
    if not in_memory:
        device = getattr(value, "device", "a device")
        raise TypeError(f"fastact.{call}: {name} is a {type(value).__name__} on {device}; accepted are "
                        f"arrays in CPU memory")


def check_collection(call: str, name: str, value: Any) -> None:
    """Refuse what holds several arrays, or would be computed at once."""
    if is_one_of(value, "xarray", "Dataset"):
        raise TypeError(f"fastact.{call}: {name} is a Dataset; accepted are arrays: write {name}.map(fastact.{call})")
    if hasattr(value, "__dask_graph__") and not (is_dask(value) or is_one_of(value, "xarray", "DataArray", "Variable")):
        raise TypeError(f"fastact.{call}: {name} is a {type(value).__name__} of dask; accepted are dask arrays: write "
                        f"{name}.to_dask_array(lengths=True), or {name}.map_partitions(fastact.{call})")


def of_torch(call: Call, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
    """Call the function of fastact.torch of this name, where there is one."""
    try:
        module = importlib.import_module("fastact.torch")
    except ImportError:
        return NotImplemented
    function = getattr(module, call.name, None)
    if function is None or call.method != "__call__":
        return NotImplemented
    if "axis" not in call.parameters:
        return function(*arguments, **keywords)
    spelling = {"axis": "dim", "keepdims": "keepdim"}
    return function(**{spelling.get(name, name): value for name, value in call.given.items()})


def of_elementwise(call: Call, lazy: list[str]) -> Any:
    """Do what the ufunc would not do of dask arrays: dask has no ufuncs with two results and no exact sums."""
    if not lazy:
        return NotImplemented
    if call.method == "backward_parameter":
        raise TypeError(f"fastact.{call.name}: {lazy[0]} is a dask array; accepted are arrays in memory: call it of "
                        f"each block, and add the results")
    if call.method != "value_and_derivative":
        return NotImplemented
    outs = call.given.pop("out", None) or (None, None)
    return tuple([function(**call.given, out=out) for function, out in
                  zip((call.owner, call.owner.derivative), outs, strict=True)])


# ------------------------------------------------------------------------------------------------------------- pandas

def of_pandas(call: Call, leader: str) -> Any:
    """Take the values; label results by index and columns."""
    frame = call.given[leader]
    axis = call.given.get("axis")
    if isinstance(axis, str):
        if axis not in AXES_OF_PANDAS:
            raise ValueError(f"fastact.{call.name}: axis is {axis!r}; accepted are {', '.join(AXES_OF_PANDAS)}, an "
                             f"integer, a tuple of integers or None")
        call.given["axis"] = AXES_OF_PANDAS[axis]
    call.set_shape(frame.shape)
    for name, value in call.given.items():
        if is_frame(value):
            place = call.place_of(name, value.ndim)
            for own, axis in zip(reversed(value.axes), reversed(place), strict=False):
                labels = None if isinstance(axis, New) else frame.axes[axis]
                if labels is not None and len(own) != 1 < len(labels) and not own.equals(labels):
                    raise ValueError(
                        f"fastact.{call.name}: {name} has another {'columns' if axis == 1 else 'index'} than {leader}; "
                        f"accepted is the same in the same order, or {name}.to_numpy()")
            call.given[name] = numbers_of_frame(call.name, name, value)
    nullable = all(hasattr(dtype, "numpy_dtype") for dtype in dtypes_of(frame).values())

    def label(values: Any, place: Place) -> Any:
        index = [None if isinstance(axis, New) else frame.axes[axis] for axis in place]
        if not place:
            return values
        if len(place) == 2:
            labelled = frame._constructor(values, index=index[0], columns=index[1])
        elif frame.ndim == 2:
            labelled = frame._constructor_sliced(values, index=index[0])
        else:
            labelled = frame._constructor(values, index=index[0], name=frame.name)
        if nullable and values.dtype.kind == "f" and values.dtype.itemsize > 2:  # as Float32, which may lack values
            labelled = labelled.astype(values.dtype.name.capitalize())
        return labelled.__finalize__(frame)

    return call.compute(label)


def dtypes_of(frame: Any) -> dict[Any, Any]:
    return dict(enumerate(frame.dtypes)) if frame.ndim == 2 else {0: frame.dtype}


def numbers_of_frame(call: str, name: str, frame: Any) -> Array:
    """Return the values in the common dtype of the columns; a missing value is NaN."""
    dtypes = []
    for column, dtype in dtypes_of(frame).items():
        try:
            own = np.dtype(getattr(dtype, "numpy_dtype", dtype.type))
        except TypeError:
            own = np.dtype(object)
        if own.kind not in "biufV":
            where = f"has the column {frame.columns[column]!r} of" if frame.ndim == 2 else "has"
            raise TypeError(f"fastact.{call}: {name} {where} the dtype {dtype}; accepted are numbers")
        dtypes.append(own)
    if not dtypes:
        return np.asarray(frame, np.float64)
    common = np.result_type(*dtypes)
    if common.kind in "biu" and frame.isna().to_numpy().any():
        common = np.dtype(np.float64)
    if common.kind == "f":
        return np.asarray(frame.to_numpy(dtype=common, na_value=np.nan))
    return np.asarray(frame.to_numpy(dtype=common))


# ------------------------------------------------------------------------------------------------------------- xarray

def of_xarray(call: Call, leader: str) -> Any:
    """Take the data, with the dimensions in one order; label results by dimensions and coordinates.

    The data may be a dask array: then the call comes here again.
    """
    x = call.given[leader]
    if "dim" in call.given and "axis" in call.parameters:
        if "axis" in call.given:
            raise TypeError(f"fastact.{call.name}: got both axis and dim; accepted is one of them")
        call.given["axis"] = call.given.pop("dim")
    axis = call.given.get("axis")
    if axis is not None:
        axes = tuple([axis_of_name(call.name, one, x.dims) for one in (axis if isinstance(axis, tuple) else (axis,))])
        call.given["axis"] = axes if isinstance(axis, tuple) else axes[0]
    call.set_shape(x.shape)
    for name, value in call.given.items():
        if is_labelled(value):
            call.given[name] = in_order_of(call, name, value, x)

    def label(values: Any, place: Place) -> Any:
        if place == call.all:
            return x.copy(data=values)
        dropped = [x.dims[k] for k in call.all if k not in place]
        coordinates = x.coords.to_dataset().drop_dims(dropped, errors="ignore").coords
        dims = [x.dims[k.axis if isinstance(k, New) else k] for k in place]
        return type(x)(values, coordinates, dims, name=x.name, attrs=x.attrs)

    return call.compute(label)


def axis_of_name(call: str, axis: Any, dims: tuple[Any, ...]) -> Any:
    """Return the number of a dimension; a number is taken as it is."""
    if hasattr(axis, "__index__"):
        return axis
    if axis not in dims:
        raise ValueError(f"fastact.{call}: axis is {axis!r}; accepted are the dimensions {', '.join(map(repr, dims))}, "
                         f"and integers")
    return dims.index(axis)


def in_order_of(call: Call, name: str, value: Any, x: Any) -> Any:
    """Return the data of an argument, its dimensions in the order of those of `x`; what it lacks has the length 1."""
    dims = [x.dims[k.axis if isinstance(k, New) else k] for k in call.place_of(name, value.ndim)]
    for dim in value.dims:
        if dim not in dims:
            raise ValueError(f"fastact.{call.name}: {name} has the dimension {dim!r}; accepted are "
                             f"{', '.join(map(repr, dims)) or 'none'}")
        both = dim in value.indexes and dim in x.indexes and value.sizes[dim] == x.sizes[dim]
        if both and not value.indexes[dim].equals(x.indexes[dim]):
            raise ValueError(f"fastact.{call.name}: {name} has other coordinates {dim!r} than the first argument; "
                             f"accepted are the same in the same order, or {name}.data")
    data = value.transpose(*[dim for dim in dims if dim in value.dims]).data
    return data[tuple([slice(None) if dim in value.dims else None for dim in dims])]


# --------------------------------------------------------------------------------------------------------------- dask

def of_dask(call: Call) -> Any:
    """Make the call of blocks, lazily.

    A block has whole rows: where they are in several chunks, they are put into one, lazily too, unless fastact.dask has
    the function for rows in chunks.
    """
    da = sys.modules["dask.array"]
    if any(out is not None for out in call.outs):
        raise TypeError(f"fastact.{call.name}: out is given beside a dask array; accepted is None")
    call.set_shape(np.shape(next(iter(call.entries.values()))))
    if (call.method == "__call__" and call.name in OF_CHUNKED_ROWS and set(call.given) <= {"x", "axis", "keepdims"}
            and call.given["x"].dtype.kind != "c" and any(call.given["x"].numblocks[k] > 1 for k in call.axes)):
        return getattr(importlib.import_module("fastact.dask"), call.name)(**call.given)
    places = call.places_of_results()
    if None in places:
        raise TypeError(f"fastact.{call.name}: an argument is a dask array, and a result a sum over all rows; accepted "
                        f"are arrays in memory: call it of each block, and add the results")
    if call.is_packed and call.shape[call.axes[0]] % 2:
        raise ValueError(f"fastact.{call.name}: axis {call.axes[0]} has the length {call.shape[call.axes[0]]}; "
                         f"accepted is an even one, of two halves")
    if isinstance(call.given.get("rng"), np.random.Generator):
        call.given["rng"] = call.given["rng"].random([call.shape[k] for k in call.rows])
    arrays, places_of_arrays = arrays_of(call, da)
    constants = {name: value for name, value in call.given.items() if name not in arrays}
    tiny = call.operation(**constants, **{name: tiny_like(array, places_of_arrays[name])
                                          for name, array in arrays.items()})
    dtypes = [one.dtype for one in (tiny if isinstance(tiny, tuple) else (tiny,))]
    is_reduced = constants.setdefault("reduction", "mean") != "none" if "reduction" in call.parameters else False
    if is_reduced:
        divisor = divisor_of(call, da, arrays) if constants["reduction"] == "mean" else 1
        arrays["divisor"] = divisor if is_dask(divisor) else da.from_array(np.asarray(divisor))
        places_of_arrays["divisor"] = ()
    operands = chain.from_iterable((arrays[name], letters(call, places_of_arrays[name])) for name in arrays)
    blocks = da.blockwise(
        partial(compute_block, partial(call.operation, **constants), tuple(arrays)), call.all, *operands,
        meta=np.empty((0,) * len(call.all), object))
    results = [result_of(call, da, blocks, k, place, dtype)
               for k, (place, dtype) in enumerate(zip(places, dtypes, strict=True)) if k or not is_reduced]
    if is_reduced:
        ones = [(1,) * count for count in blocks.numblocks]
        sums = blocks.map_blocks(partial(sum_of_block, blocks.ndim), chunks=ones,
                                 meta=np.empty((0,) * blocks.ndim, np.complex128))
        results.insert(0, da.blockwise(
            partial(reduced_sums, constants["reduction"], dtypes[0]), (), sums, call.all, arrays["divisor"], (),
            concatenate=True, meta=np.empty((), dtypes[0])))
    return tuple(results) if isinstance(tiny, tuple) else results[0]


def arrays_of(call: Call, da: Any) -> tuple[dict[str, Any], dict[str, Place]]:
    """Return the arguments that are arrays, as dask arrays with whole rows, and where they lie."""
    arrays, places = {}, {}
    # A row of one query depends on how many there are, so that a block has all of them.
    whole = {*call.axes, *(call.rows[-1:] if call.has_queries else ())}
    for name, value in call.given.items():
        is_array = name in ARRAYS or (isinstance(call.owner, Gated) and name in call.owner.parameters)
        if value is None or not is_array or not (is_dask(value) or np.ndim(value) or name in WITHIN_ROWS):
            continue
        array = value if is_dask(value) else da.from_array(np.asarray(value), chunks=-1)
        full = call.place_of(name, array.ndim)
        place = full[max(len(full) - array.ndim, 0):]
        lengths = tuple([axis.length if isinstance(axis, New) else call.shape[axis] for axis in place])
        if array.ndim > len(full) or any(size not in (1, length) and not math.isnan(size + length)
                                         for size, length in zip(array.shape, lengths, strict=True)):
            raise ValueError(f"fastact.{call.name}: {name} has the shape {array.shape}; accepted is what broadcasts to "
                             f"{lengths}")
        split = {k: -1 for k, axis in enumerate(place)
                 if array.numblocks[k] > 1 and (isinstance(axis, New) or axis in whole)}
        arrays[name] = array.rechunk(split) if split else array
        places[name] = place
    return arrays, places


def letters(call: Call, place: Place) -> tuple[int, ...]:
    """Return a place in the form in which `blockwise` takes it; a new axis has a letter of its own."""
    return tuple([len(call.all) + axis.axis if isinstance(axis, New) else axis for axis in place])


def tiny_like(array: Any, place: Place) -> Array:
    """Return an array of the same dtype and as many axes, of at most two entries each."""
    shape = [1 if size == 1 or isinstance(axis, New) else 2 for size, axis in zip(array.shape, place, strict=True)]
    return np.full(shape, 1 if array.dtype.kind in "biu" else 0.5).astype(array.dtype)


def unpacked(block: Any) -> Any:
    """Return the only block along axes that the result has not, which comes in lists."""
    while isinstance(block, list):
        (block,) = block
    return block


def compute_block(operation: "partial[Any]", names: tuple[str, ...], *blocks: Any) -> tuple[Any, ...]:
    given = dict(zip(names, map(unpacked, blocks), strict=True))
    if "divisor" in given:
        given["reduction"] = Part(operation.keywords["reduction"], given.pop("divisor").item())
    results = operation(**given)
    return results if isinstance(results, tuple) else (results,)


def result_of(call: Call, da: Any, blocks: Any, k: int, place: Place | None, dtype: Any) -> Any:
    """Return one result of the blocks as an array."""
    assert place is not None
    return da.blockwise(
        partial(pick, k), letters(call, place), blocks, call.all, meta=np.empty((0,) * len(place), dtype),
        new_axes={len(call.all) + axis.axis: axis.length for axis in place if isinstance(axis, New)})


def pick(k: int, block: Any) -> Array:
    return np.asarray(unpacked(block)[k])


def sum_of_block(ndim: int, block: tuple[Any, ...]) -> Array:
    """Return the sum of the losses of a block, which is one complex number, as an array with all axes."""
    return np.full((1,) * ndim, block[0])


def reduced_sums(reduction: str, dtype: Any, sums: Array, divisor: Any) -> Any:
    return rounded(reduced(np.atleast_1d(sums).view(np.float64), reduction, divisor.item()), dtype)[()]


def divisor_of(call: Call, da: Any, arrays: dict[str, Any]) -> Any:
    """Return by what the mean of a loss is divided: a number, or an array of dask if it depends on the labels."""
    count = math.prod([call.shape[k] for k in call.rows])
    if math.isnan(count):
        raise ValueError(f"fastact.{call.name}: the chunks have unknown sizes; accepted is a shape that is known, as "
                         f"after compute_chunk_sizes(), or another reduction than the mean")
    labels, weights = arrays.get("labels_or_probabilities"), arrays.get("class_weight")
    ignored = call.given.get("ignore_index")
    if labels is None or (ignored is None and weights is None):
        return count
    if labels.ndim == len(call.all):
        if labels.shape == call.shape:  # probabilities
            return count
        labels = labels.reshape([call.shape[k] for k in call.rows])
    if weights is None:
        return (labels != ignored).sum()
    counted = da.blockwise(partial(weights_of_labels, ignored), call.rows, labels, call.rows, weights, call.axes,
                           meta=np.empty((0,) * labels.ndim))
    return counted.sum()


def weights_of_labels(ignored: int | None, labels: Array, weights: Any) -> Array:
    counts = np.ones(labels.shape, bool) if ignored is None else labels != ignored
    return np.asarray(np.where(counts, unpacked(weights)[np.where(counts, labels, 0)], 0.0))


use_kinds(call_in_kind)
