"""The whole surface of arguments, drawn by hypothesis: whatever is passed, a call gives what it gives for copies, or
raises and has written nothing.

All arrays of an example are views of one piece of memory, so that outputs overlap inputs in every way.
tests/fuzz_arguments.py lets a coverage-guided fuzzer draw the examples instead.
"""

import math
import warnings
from fractions import Fraction

import ml_dtypes
import numpy as np
from common import FUNCTIONS, LOSSES
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from numpy.lib.stride_tricks import as_strided

from fastact import Elementwise, Gated, RowReduction, entmax
from fastact.losses import entmax_loss, softmax_cross_entropy

DTYPES = [*(np.dtype(name) for name in ("<f4", "<f8", "<f2", ">f4", ">f8", ">f2", "?", "i1", "<i4", ">i8", "u8")),
          np.dtype(ml_dtypes.bfloat16)]
FLOATS = [dtype for dtype in DTYPES if dtype.kind not in "?iu"]
OTHER_DTYPES = [np.dtype(name) for name in ("c8", "S4", "U2", "M8[s]", "g", "V3", "i4,f4")]
SHAPES = [(), (1,), (5,), (16,), (17,), (300,), (1100,), (0,), (3, 0), (3, 5), (4, 16), (5, 3), (2, 3, 5), (1, 5),
          (5, 1), (40, 33), (1, 1, 1, 3)]
REFUSALS = TypeError, ValueError, IndexError, OverflowError, MemoryError


class Tagged(np.ndarray):
    pass


def views(memory):
    """Arrays in `memory`: any dtype, shape, strides, alignment, some of them read-only or of a subclass."""

    @st.composite
    def view(draw, dtypes=DTYPES, shape=None):
        dtype = draw(st.sampled_from(dtypes))
        shape = shape if shape is not None else draw(st.sampled_from(SHAPES))
        strides, low, high = [], 0, 0
        contiguous = draw(st.booleans())
        step = dtype.itemsize
        for length in reversed(shape):
            stride = step if contiguous else draw(st.sampled_from([1, 2, -1, -2, 0, 3])) * step
            strides.insert(0, stride)
            low, high = low + min(stride * (length - 1), 0), high + max(stride * (length - 1), 0)
            step *= max(length, 1)
        room = memory.nbytes - dtype.itemsize - (high - low)
        if room < 0 or min(shape, default=1) == 0:
            return np.empty(shape, dtype)
        offset = draw(st.sampled_from([0, 0, 0, dtype.itemsize, 1, 64, 4 * dtype.itemsize])) % (room + 1)
        array = as_strided(memory[offset - low:][:dtype.itemsize].view(dtype), shape, strides)
        if dtype.kind == "b":
            array.view(np.uint8)[...] &= np.uint8(1)  # no other byte is a bool
        if draw(st.integers(0, 9)) == 0:
            array = array.view(Tagged)
        if draw(st.integers(0, 9)) == 0:
            array.flags.writeable = False
        return array

    return view


THINGS = st.one_of(
    st.floats(), st.integers(-3, 3), st.booleans(), st.sampled_from([10**400, -1, 2**63]),
    st.sampled_from([None, "text", b"bytes", 1j, (), [], {}, [[1], [2, 3]], [1.0, 2.0], ((1, 2), (3, 4)), object, ...,
                     Fraction(1, 3), range(5), math, np.float32(0.5), np.float64(2), np.float16(1), np.bool_(True),
                     np.array(None), np.array(["a"]), np.ma.masked, memoryview(b"ab")]),
)


def fresh(thing, copies):
    """`thing` in memory of its own, the same object for the same object."""
    if isinstance(thing, tuple):
        return tuple(fresh(one, copies) for one in thing)
    if not isinstance(thing, np.ndarray) or isinstance(thing, np.ma.MaskedArray) or thing.dtype == object:
        return thing
    if id(thing) not in copies:
        copy = np.empty(thing.shape, thing.dtype)
        copy[...] = thing
        copies[id(thing)] = copy.view(type(thing))
        copies[id(thing)].flags.writeable = thing.flags.writeable
    return copies[id(thing)]


def addresses(array):
    """The bytes that an array has, as offsets from its first element, and whether two elements share one."""
    offsets = np.zeros(1, np.intp)
    for length, stride in zip(array.shape, array.strides, strict=True):
        offsets = (offsets[:, None] + np.arange(length) * stride).ravel()
    offsets = (offsets[:, None] + np.arange(array.itemsize)).ravel()
    return offsets, len(np.unique(offsets)) < len(offsets)


def bits(result):
    """The bytes of a result; which NaN stands in it is no part of it, nor is what fills up a longdouble."""
    array = np.array(result)
    if array.dtype.kind in "fV":
        with np.errstate(invalid="ignore"):
            array[array != array] = np.nan  # NumPy has no isnan for bfloat16
    return repr(array.tolist()) if array.dtype.char == "g" else array.tobytes()


def attempt(call, arguments, keywords):
    """What a call gives or which refusal; anything else - another exception, a crash - is a failure."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # NumPy's, of casts that a test asks for
        try:
            return call(*arguments, **keywords), None
        except REFUSALS as error:
            return None, error


def half_of(shape):
    """The shape of one half of a packed array, along the last axis."""
    return (*shape[:-1], *(length // 2 for length in shape[-1:]))


@st.composite
def calls(draw):
    """A method, its arguments, its keywords and the memory that they share: in half of the examples all fit."""
    memory = np.frombuffer(bytearray(draw(st.sampled_from([SMOOTH, BITS]))), np.uint8)
    view, fits = views(memory), draw(st.booleans())
    anything = st.one_of(view(), view(OTHER_DTYPES), THINGS)
    f = draw(st.sampled_from(FUNCTIONS * 3 + LOSSES))
    packed = isinstance(f, Gated) and draw(st.booleans())
    if f in LOSSES:
        call, count, names = f, 2, ["axis", "reduction"]
        if f is entmax_loss:
            names += ["alpha", "ignore_index"]
        if f is softmax_cross_entropy:
            names += ["class_weight", "sample_weight", "ignore_index", "label_smoothing", "z_loss", "scale", "out"]
    else:
        method = draw(st.sampled_from([name for name in (
            "__call__", "__call__", "backward", "backward", "derivative", "value_and_derivative", "backward_parameter",
            "jacobian", "with_defaults") if hasattr(f, name)]))
        call = getattr(f, method)
        count = {"backward": 2, "backward_parameter": 2, "with_defaults": 0}.get(method, 1)
        if isinstance(f, Elementwise):
            names = ["out", "where", *f.parameters]
        elif isinstance(f, Gated):
            count += not packed
            names = ["out", "gate", *(["axis", "layout"] if packed else []), *f.parameters]
        else:
            names = ["out", "axis", "where", "keepdims" if isinstance(f, RowReduction) else "scale"]
            names += ["bias", "lengths", "causal", "window", "sink", *(["alpha"] if f is entmax else [])]
        names = {"backward_parameter": ["name", *f.parameters] if getattr(f, "learnt", ()) else [],
                 "jacobian": ["where"], "with_defaults": list(f.parameters)}.get(method, names)
        if not fits:
            names += ["out", "where", "output", "dtype", "order", "casting", "temperature", "unknown"]
    first = draw(view(FLOATS))
    shape, dtype = first.shape, first.dtype
    reduced = fits and isinstance(getattr(call, "__self__", None), RowReduction) and call.__name__ == "backward"
    if reduced:         # dy has the shape of the results, and may share its memory with all else
        arguments = draw(view([np.dtype(float), *FLOATS], shape[:-1])), first
        names = ["out", "where"]
    elif fits and packed and call.__name__ == "backward":
        arguments = draw(view(FLOATS, half_of(shape))), first
    elif fits:
        arguments = (first, *(draw(st.one_of(st.just(first), view(FLOATS, shape))) for _ in range(count - 1)))
    else:
        count = max(count + draw(st.sampled_from([0, 0, 0, 1, -1])), 0)
        arguments = tuple(draw(st.one_of(st.just(first), view(FLOATS, shape), anything)) for _ in range(count))
    keywords = {}
    for name in draw(st.lists(st.sampled_from(names), max_size=3, unique=True)) if names else ():
        wanted = {
            "out": st.one_of(st.just(first), view([dtype], shape), view(FLOATS, shape), view([dtype], shape[:-1])),
            "where": view([np.dtype(bool)], shape),
            "axis": st.one_of(st.integers(-len(shape), len(shape) - 1), st.none()) if shape else st.none(),
            "reduction": st.sampled_from(["mean", "sum", "none"]),
            "keepdims": st.booleans(),
            "bias": view(FLOATS, shape),
            "lengths": st.integers(0, 3),
            "causal": st.booleans(),
            "window": st.integers(0, 3),
            "sink": view(FLOATS, shape[:-1]),
            "layout": st.sampled_from(["halves", "interleaved"]),
            "gate": st.sampled_from(["first", "second"]),
            "class_weight": view(FLOATS, shape[-1:]),
            "sample_weight": view(FLOATS, shape[:-1]),
            "ignore_index": st.none(),
            "name": st.sampled_from(getattr(f, "learnt", ()) or ("relu",)),
            "label_smoothing": st.floats(0, 1),
        }.get(name, st.floats(0.1 if f not in (entmax, entmax_loss) else 1, 3))
        if name == "out" and call == getattr(f, "value_and_derivative", None):
            wanted = st.tuples(wanted, st.one_of(st.none(), view([dtype], shape)))
        if name == "out" and isinstance(f, Gated):
            one = st.one_of(st.just(first), view([dtype], shape), view(FLOATS, shape))
            wanted = one if call is not f else view([dtype], half_of(shape)) if packed else one
            wanted = st.tuples(one, st.one_of(st.none(), one)) if call is not f and not packed else wanted
        keywords[name] = draw(wanted if fits else st.one_of(wanted, anything, st.tuples(wanted, st.integers(-3, 3))))
    return call, arguments, keywords, memory


SMOOTH = np.linspace(-4, 4, 1500, dtype=np.float32).tobytes()
BITS = np.random.default_rng(0).bytes(6000)


@settings(deadline=None, max_examples=1000, derandomize=True, suppress_health_check=list(HealthCheck))
@given(calls())
def test_a_call_gives_what_it_gives_for_copies_or_has_written_nothing(drawn):
    call, arguments, keywords, memory = drawn
    copies: dict[int, np.ndarray] = {}
    apart = tuple(fresh(one, copies) for one in arguments)
    apart_keywords = {name: fresh(one, {} if name == "out" else copies) for name, one in keywords.items()}
    before = memory.copy()

    result, error = attempt(call, arguments, keywords)
    outs = keywords.get("out", ())
    outs = [out for out in (outs if isinstance(outs, tuple) else (outs,)) if isinstance(out, np.ndarray)]
    if error is not None:
        assert str(error), type(error)
        assert (memory == before).all(), f"written, and then {error!r}"
    written = np.zeros(memory.nbytes, bool)
    undetermined = False
    for out in outs:
        start = out.__array_interface__["data"][0] - memory.__array_interface__["data"][0]
        if 0 <= start < memory.nbytes:
            offsets, twice = addresses(out)
            undetermined |= twice or bool(written[start + offsets].any())
            written[start + offsets] = True
    assert (memory == before)[~written].all(), "written beside out"

    event(f"{'a result' if error is None else 'refused'}{', with out' * bool(outs)}")
    if "where" in keywords and isinstance(getattr(call, "__self__", call), Elementwise):
        undetermined |= len(outs) < 1 + (call.__name__ == "value_and_derivative")
    expected, expected_error = attempt(call, apart, apart_keywords)
    if undetermined:
        return  # which of two results stays where out overlaps itself, and what stands where nothing was asked for
    assert type(error) is type(expected_error), (error, expected_error)
    if error is None:
        results = result if isinstance(result, tuple) else (result,)
        others = expected if isinstance(expected, tuple) else (expected,)
        for one, other in zip(results, others, strict=True):
            assert type(one) is type(other)
            if isinstance(one, np.ndarray | np.generic) and one.dtype != object:
                assert (one.shape, one.dtype) == (other.shape, other.dtype)
                assert bits(one) == bits(other)
