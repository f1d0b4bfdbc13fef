"""Sampling: indices against sorting, exact counts over a grid of uniforms, filters of other libraries, arguments."""

import doctest
import inspect
import itertools

import ml_dtypes
import numpy as np
import pytest
from common import DTYPES, HALF, INF, NAN, WIDE, each, in_turn, normal

import fastact
from fastact import reference, sample

LAST = np.nextafter(1, 0)  # the largest uniform number
FILTERS = (
    {}, {"temperature": 0.7}, {"temperature": 3.0}, {"top_k": 1}, {"top_k": 5}, {"top_k": 60}, {"top_p": 0.9},
    {"top_p": 0.2}, {"top_p": 0.9999}, {"min_p": 0.05}, {"min_p": 0.9}, {"top_k": 50, "top_p": 0.9},
    {"temperature": 0.5, "top_k": 50, "top_p": 0.95, "min_p": 0.02}, {"temperature": 2.0, "top_k": 700, "top_p": 0.8},
)
KINDS = {
    "normal": lambda x: x,
    "peaked": lambda x: 5 * x,
    "flat": lambda x: x / 100,
    "ties": lambda x: np.round(2 * x) / 2,
    "holes": lambda x: np.where(x > 0.5, -INF, x),
    "moved": lambda x: x - 1e4,
    "far apart": lambda x: x * 1e3,
    "equal": np.zeros_like,
    "confident": lambda x: np.where(x == x.max(axis=-1, keepdims=True), x + 20, x),
}


def uniforms(shape, seed=1):
    return np.random.default_rng(seed).random(shape)


def drawn(logits, **filters):
    """The indices that a fine grid of uniform numbers draws from one row."""
    grid = (np.arange(4000) + 0.5) / 4000
    return sample(np.tile(logits, (4000, 1)), grid, **filters)


def kept(logits, **filters):
    """The entries that the filters leave."""
    return sorted(set(drawn(np.asarray(logits, float), **filters).tolist()))


# -------------------------------------------------------------------------------------------------------------- draws


def test_the_index_is_the_first_whose_cumulative_sum_exceeds_the_uniform_number():
    row = [0.0, 1.0, 2.0, -1.0]  # cumulative probabilities .0871, .3240, .9679, 1
    assert np.array_equal(sample([row] * 4, [0.05, 0.2, 0.5, 0.98]), [0, 1, 2, 3])
    assert np.array_equal(sample([[0.0] * 4] * 5, [0.0, 0.25, 0.5, 0.75, LAST]), [0, 1, 2, 3, 3])


@each("dtype", DTYPES)
def test_a_grid_of_uniform_numbers_counts_the_probabilities(dtype):
    for n in (1, 2, 3, 7, 10, 16, 100, 128, 129, 250, 1000):
        grid = (np.arange(20 * n) + 0.5) / (20 * n)
        equal = np.full((20 * n, n), 1.5, dtype)
        assert (np.bincount(sample(equal, grid), minlength=n) == 20).all(), n
    weights = np.array([1, 2, 4, 0, 8, 16, 1])
    with np.errstate(divide="ignore"):
        logits = (np.log2(weights) * np.log(2)).astype(dtype)
    counts = np.bincount(sample(np.tile(logits, (3200, 1)), (np.arange(3200) + 0.5) / 3200), minlength=7)
    assert (counts[weights == 0] == 0).all()
    assert abs(counts - 100 * weights).max() <= (1 if dtype in WIDE else 12)


@each("dtype", WIDE)
@in_turn("kind", KINDS)
def test_indices_are_those_of_sorting(kind, dtype):
    for n in (1, 2, 5, 16, 100, 130, 1500):
        logits = KINDS[kind](normal((3, n), np.float64, n)).astype(dtype)
        logits[:, n // 2] = np.where(logits[:, n // 2] == -INF, 0, logits[:, n // 2])
        u = uniforms(3, n)
        for filters in FILTERS:
            right = reference.sample(logits, u, **filters)
            assert np.array_equal(sample(logits, u, **filters), right), (n, filters)


@each("dtype", WIDE)
def test_long_rows(dtype):
    """Blocks of more than one chunk, more candidates than there is room for, and many equal entries."""
    logits = normal((4, 70_000), dtype, 3, spread=1.5)
    logits[1] = logits[1].astype(ml_dtypes.bfloat16).astype(dtype)
    logits[2] = np.where(logits[2] > 1, 1, np.round(logits[2]))
    logits[3] = np.geomspace(1e-30, 4, 70_000)
    for filters in ({}, {"top_k": 50}, {"top_k": 9000}, {"top_p": 0.9}, {"top_k": 3000, "top_p": 0.5},
                    {"top_p": 0.99999}):
        u = uniforms(4, 5)
        assert np.array_equal(sample(logits, u, **filters), reference.sample(logits, u, **filters)), filters


def test_frequencies_are_the_probabilities():
    """Chi-square of 200,000 draws: 37 is exceeded once in 100,000 times with 8 degrees of freedom."""
    logits = np.array([0.0, -1.0, 2.0, 0.5, -3.0, 1.0, 0.1, -0.2, 1.7])
    counts = np.bincount(sample(np.tile(logits, (200_000, 1)), np.random.default_rng(7)), minlength=9)
    expected = 200_000 * fastact.softmax(logits)
    assert ((counts - expected) ** 2 / expected).sum() < 37


# ------------------------------------------------------------------------------------------------------------ filters


def warped(logits, temperature, top_k, top_p, min_p):
    """The logits that the warpers of Hugging Face transformers leave, one after the other, else -inf."""
    scores = logits / temperature
    scores = np.where(scores < np.sort(scores, axis=-1)[..., -min(top_k, scores.shape[-1])][..., None], -INF, scores)
    ascending = np.sort(scores, axis=-1)
    order = np.argsort(scores, axis=-1)
    removed = fastact_free_softmax(ascending).cumsum(axis=-1) <= 1 - top_p
    removed[..., -1] = False
    mask = np.zeros_like(removed)
    np.put_along_axis(mask, order, removed, axis=-1)
    scores = np.where(mask, -INF, scores)
    p = fastact_free_softmax(scores)
    return np.where(p < min_p * p.max(axis=-1, keepdims=True), -INF, scores)


def fastact_free_softmax(x):
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def test_filters_are_those_of_transformers_in_the_same_order():
    random = np.random.default_rng(11)
    for temperature, top_k, top_p, min_p in itertools.product((0.6, 1.0, 1.8), (3, 20, 100), (0.5, 0.9, 1.0),
                                                              (0.0, 0.03, 0.2)):
        logits, u = 2 * random.standard_normal((60, 80)), random.random(60)
        cumulative = fastact_free_softmax(warped(logits, temperature, top_k, top_p, min_p)).cumsum(axis=-1)
        right = (cumulative <= u[:, None] * cumulative[:, -1:]).sum(axis=-1)
        computed = sample(logits, u, temperature=temperature, top_k=top_k, top_p=top_p, min_p=min_p)
        assert np.array_equal(computed, right)


def test_the_order_of_the_filters_matters():
    """p = .5, .25, .15, .1: of the first three, the first two have 5/6; of all, 3/4."""
    logits = np.log([0.5, 0.25, 0.15, 0.1])
    assert kept(logits, top_p=0.8) == [0, 1, 2]
    assert kept(logits, top_k=3, top_p=0.8) == [0, 1]
    assert kept(logits, top_p=0.8, min_p=0.4) == [0, 1]
    assert kept(logits, temperature=0.5, top_p=0.8) == [0, 1]


def test_ties_stay_together():
    assert kept([1, 3, 2, 2, 0], top_k=2) == [1, 2, 3]
    assert kept([1, 1, 1, 0], top_k=1) == [0, 1, 2]
    assert kept([0, 0, 0, 0], top_p=0.1) == [0, 1, 2, 3]
    assert kept(np.log([4, 2, 2, 1]), top_p=0.5) == [0, 1, 2]
    assert kept([2, 0, 2, 1], min_p=1) == [0, 2]
    assert kept([-0.0, 0.0, -1], top_k=1) == [0, 1]


@each("dtype", WIDE)
def test_many_ties_and_ranges_of_any_size(dtype):
    """More ties than candidates that are copied; differences that are subnormal, or that overflow."""
    signs = np.where(normal((3, 1500)) < 0, -0.0, 0.0).astype(dtype)
    limits = np.finfo(dtype)
    tiny = np.abs(normal((3, 1500), dtype)) * limits.smallest_subnormal * dtype(100)
    huge = np.clip(normal((3, 1500)), -2, 2).astype(dtype) * (limits.max / dtype(2))
    for logits, temperature in ((signs, 1.0), (signs - dtype(3), 2.0), (tiny, 1.0), (tiny, 1e-45), (tiny, 5e-324),
                                (tiny, 1e-40), (huge, 1.0), (huge, float(limits.max) / 20)):
        for filters in ({"top_p": 0.9}, {"top_k": 50, "top_p": 0.9}, {"top_k": 700, "top_p": 0.5}, {"top_p": 0.01}):
            u = uniforms(3)
            right = reference.sample(logits, u, temperature, **filters)
            assert np.array_equal(sample(logits, u, temperature=temperature, **filters), right), (temperature, filters)


def test_one_entry_stays_at_least():
    assert kept([0, 3, 1], top_p=0) == kept([0, 3, 1], top_p=1e-300) == kept([0, 3, 1], top_k=1) == [1]


def test_filters_that_leave_everything():
    logits, u = normal((50, 40)), uniforms(50)
    plain = sample(logits, u)
    for filters in ({"top_k": 40}, {"top_k": 10**30}, {"top_p": 1}, {"min_p": 0}, {"top_k": None, "top_p": None}):
        assert np.array_equal(sample(logits, u, **filters), plain), filters
    holes = np.where(logits > 1, -INF, logits)  # fewer than k entries are left
    assert np.array_equal(sample(holes, u, top_k=39), sample(holes, u))


@each("dtype", WIDE)
def test_each_row_has_numbers_of_its_own(dtype):
    logits, u = normal((4, 6, 50), dtype), uniforms((4, 6))
    random = np.random.default_rng(2)
    filters = {"temperature": random.choice([0.0, 0.5, 1.0, 2.0], (4, 6)), "top_k": random.integers(1, 60, (4, 1)),
               "top_p": random.uniform(0.1, 1, 6), "min_p": random.uniform(0, 0.3, (4, 6))}
    computed = sample(logits, u, **filters)
    for place in np.ndindex(4, 6):
        own = {name: np.broadcast_to(values, (4, 6))[place].item() for name, values in filters.items()}
        assert computed[place] == sample(logits[place], u[place], **own) == reference.sample(logits[place], u[place],
                                                                                            **own)


# ---------------------------------------------------------------------------------------------------------- extremes


@each("dtype", DTYPES)
def test_an_entry_without_probability_is_never_drawn(dtype):
    for n in (4, 17, 300):
        row = np.full(n, -INF, dtype)
        row[[1, n - 2]] = 1, 2
        assert np.array_equal(sample([row, row, row], [0.0, 0.5, LAST]), [1, n - 2, n - 2])
        assert sample(row, 0.0, where=np.arange(n) != 1) == n - 2


def test_probabilities_down_to_the_last_subnormal_number_are_positive_in_any_dtype():
    for dtype in WIDE:
        assert sample(np.array([-745, 0], dtype), 0.0) == 0
        assert sample(np.array([-745.2, 0], dtype), 0.0) == 1
        assert sample(np.array([0, -745], dtype), LAST) == 0  # too little for a cumulative sum


@each("dtype", WIDE)
def test_extreme_temperatures(dtype):
    logits = normal((30, 200), dtype)
    u, largest = uniforms(30), np.finfo(dtype).max
    for temperature in (0, 5e-324, 1e-300, 1e-45, 1e-30, 1e-9):
        for moved in (logits, logits - logits.max(axis=-1, keepdims=True), logits * dtype(1e-30), logits * dtype(1e30)):
            assert np.array_equal(sample(moved, u, temperature=temperature * abs(moved).max(), top_p=0.5, top_k=3),
                                  logits.argmax(axis=-1))
            assert np.array_equal(sample(moved, u, temperature=min(temperature, 1e-44)), logits.argmax(axis=-1))
    for temperature in (1e30, 1e300):
        assert np.array_equal(sample(logits, u, temperature=temperature), np.floor(200 * u))
    assert sample(np.array([1, 3, 3, 2], dtype), LAST, temperature=0) == 1
    assert sample(np.array([1, 3, 3, 2], dtype), LAST, temperature=1e-200) == 2
    assert sample(np.array([-largest, largest], dtype), 0.0) == 1
    assert sample(np.array([-largest, largest], dtype), 0.3, temperature=1e308) == (0 if dtype == np.float32 else 1)
    tiny = np.array([0, 1, 2], dtype) * np.finfo(dtype).smallest_subnormal
    unit = float(np.finfo(dtype).smallest_subnormal)
    assert np.array_equal(sample([tiny] * 3, [0.05, 0.2, 0.5], temperature=unit), [0, 1, 2])  # .0900, .3347, 1


@each("dtype", WIDE)
def test_temperature_divides_without_losing_digits(dtype):
    logits, u = normal((200, 30), dtype) + dtype(100), uniforms(200)
    for temperature in (0.3, 1.7):
        right = reference.sample(logits, u, temperature)
        assert np.array_equal(sample(logits, u, temperature=temperature), right)


def test_where_leaves_entries_out_whatever_they_hold():
    logits = np.array([[1.0, NAN, 2.0, 3.0], [INF, 0.0, 1.0, NAN], [5.0, 1.0, 0.0, -INF]])
    mask = np.array([[1, 0, 1, 1], [0, 1, 1, 0], [0, 1, 1, 1]], bool)
    for u in (0.0, 0.3, 0.6, 0.9, LAST):
        computed = sample(logits, np.full(3, u), where=mask, top_p=0.95)
        for row, use, index in zip(logits, mask, computed, strict=True):
            places = np.flatnonzero(use)
            assert index == places[sample(row[use], u, top_p=0.95)]


# ------------------------------------------------------------------------------------------- layouts, threads, dtypes


@each("dtype", DTYPES)
@in_turn("filters", [{}, {"top_k": 20, "top_p": 0.9}, {"temperature": 0.7, "top_p": 0.95, "min_p": 0.01}])
def test_any_layout_and_any_number_of_threads_gives_the_same_indices(filters, dtype):
    for shape in ((3, 5, 10), (2, 40, 100), (3, 2, 2500), (2, 1, 9000)):
        logits, u = normal(shape, dtype, 4), uniforms(shape[:2])
        right = sample(logits, u, **filters)
        assert right.dtype == np.intp
        assert right.shape == shape[:2]
        for axis in (0, 1):
            moved = np.ascontiguousarray(np.moveaxis(logits, -1, axis))
            assert np.array_equal(sample(moved, u, axis, **filters), right)
            assert np.array_equal(sample(np.asfortranarray(moved), u, axis - 3, **filters), right)
        spread = np.zeros((*shape[:2], 2 * shape[2] + 1), dtype)[..., 1::2]
        spread[...] = logits
        spread.flags.writeable = False
        assert np.array_equal(sample(spread, np.asfortranarray(u), **filters), right)
        assert np.array_equal([[sample(logits[i, j], u[i, j], **filters) for j in range(shape[1])]
                               for i in range(shape[0])], right)
        for threads in (1, 2, 4):
            with fastact.threads(threads):
                assert np.array_equal(sample(logits, u, **filters), right)
                assert np.array_equal(sample(np.moveaxis(logits, -1, 0), u, 0, **filters), right)


@each("dtype", HALF)
def test_16_bits_are_computed_as_float32(dtype):
    logits, u = normal((40, 300), dtype), uniforms(40)
    for filters in FILTERS:
        assert np.array_equal(sample(logits, u, **filters), sample(logits.astype(np.float32), u, **filters))


def test_integers_and_bool_are_computed_as_float64():
    logits, u = np.arange(12).reshape(3, 4) % 5, uniforms(3)
    assert np.array_equal(sample(logits, u), sample(logits.astype(float), u))
    assert np.array_equal(sample(logits > 2, u), sample((logits > 2).astype(float), u))
    assert np.array_equal(sample(logits.astype(">f4"), u.astype(">f8")), sample(logits.astype(np.float32), u))


# ---------------------------------------------------------------------------------------------------------- arguments


def test_a_generator_gives_one_number_for_each_row():
    logits = normal((3, 4, 5))
    for values in (logits, np.zeros_like(logits)):
        for filters in ({}, {"temperature": 0}, {"top_k": 1}):
            one, other = np.random.default_rng(5), np.random.default_rng(5)
            assert np.array_equal(sample(values, one, 1, **filters), sample(values, other.random((3, 5)), 1, **filters))
            assert one.bit_generator.state == other.bit_generator.state
    one, other = np.random.default_rng(5), np.random.default_rng(5)
    with pytest.raises(ValueError, match="top_p"):
        sample(logits, one, top_p=2)
    assert one.bit_generator.state == other.bit_generator.state


def test_out():
    logits, u = normal((6, 6)), uniforms(6)
    right = sample(logits, u)
    for dtype in (np.intp, np.int32, np.uint64, np.int8, ">i4"):
        out = np.full(6, 99, dtype)
        assert sample(logits, u, out=out) is out
        assert np.array_equal(out, right)
    out = np.array(9)
    assert sample(logits[0], u[0], out=out) is out
    assert out == right[0]
    memory = logits.copy()
    assert np.array_equal(sample(memory, u, out=memory[::-1, 2].view(np.int64)), right)
    memory = u.copy()
    assert np.array_equal(sample(logits, memory, out=memory.view(np.int64)), right)
    strided = np.zeros((6, 3), np.int16)[:, 1]
    assert np.array_equal(sample(logits, u, out=strided), right)


def test_scalars_and_empty_arrays():
    assert isinstance(sample([0.0, 1.0], 0.5), np.intp)
    for shape, axis, rows in (((0, 5), -1, (0,)), ((0, 0), 1, (0,)), ((3, 0, 4), 0, (0, 4))):
        assert sample(np.zeros(shape), np.zeros(rows), axis).shape == rows
    assert sample(np.zeros((0, 5)), np.random.default_rng(), top_k=3).shape == (0,)


@pytest.mark.parametrize("logits, message", [
    ([[0, 1], [NAN, 2]], r"logits\[1, :\] holds NaN; accepted are finite numbers and -inf"),
    ([[0, 1], [2, INF]], r"logits\[1, :\] holds \+inf"),
    ([[-INF, -INF], [0, 1]], r"logits\[0, :\] has nothing above -inf"),
    ([[NAN, INF], [0, 1]], r"logits\[0, :\] holds NaN"),
    ([[0] * 300, [0] * 299 + [-NAN]], r"logits\[1, :\] holds NaN"),
])
def test_a_row_that_has_no_softmax_raises_before_anything_is_written(logits, message):
    for dtype, filters in itertools.product(DTYPES, ({}, {"temperature": 0}, {"top_k": 1, "top_p": 0.5})):
        out = np.full(2, 7)
        with pytest.raises(ValueError, match=message):
            sample(np.array(logits, dtype), [0.1, 0.2], out=out, **filters)
        assert (out == 7).all()


def test_the_row_of_an_error_is_named_in_the_axes_of_the_caller():
    logits = np.zeros((2, 5, 3))
    logits[1, 4, 2] = NAN
    with pytest.raises(ValueError, match=r"logits\[1, :, 2\] holds NaN"):
        sample(logits, uniforms((2, 3)), 1)
    with pytest.raises(ValueError, match=r"logits\[:, 4, 2\] holds NaN"):
        sample(np.asfortranarray(logits), uniforms((5, 3)), 0)
    with pytest.raises(ValueError, match=r"logits\[:\] has nothing above -inf that takes part"):
        sample([1.0, 2.0], 0.5, where=False)


@pytest.mark.parametrize("error, message, arguments", [
    (TypeError, "logits has the dtype complex128; accepted are", {"logits": [[1j, 2]] * 2}),
    (np.exceptions.AxisError, "logits has no dimension", {"logits": 1.0}),
    (np.exceptions.AxisError, "axis 2 is out of bounds", {"axis": 2}),
    (TypeError, "axis must be an integer", {"axis": (0, 1)}),
    (TypeError, "axis must be an integer", {"axis": None}),
    (TypeError, "axis must be an integer", {"axis": 1.0}),
    (ValueError, "logits has the shape .2, 0.; accepted are rows with entries", {"logits": np.zeros((2, 0))}),
    (TypeError, "rng is of the type int; accepted is a numpy.random.Generator", {"rng": 0}),
    (TypeError, "rng is of the type RandomState", {"rng": np.random.RandomState(0)}),
    (TypeError, "rng is of the type NoneType", {"rng": None}),
    (ValueError, r"rng has the shape \(\); accepted is one number for each row, \(2,\)", {"rng": 0.5}),
    (ValueError, r"rng has the shape \(3,\)", {"rng": [0.5] * 3}),
    (ValueError, "rng holds 1; accepted are numbers from 0 to below 1", {"rng": [0.5, 1.0]}),
    (ValueError, "rng holds -0.1", {"rng": [0.5, -0.1]}),
    (ValueError, "rng holds nan", {"rng": [0.5, NAN]}),
    (ValueError, "temperature holds -1; accepted are finite numbers from 0 on", {"temperature": -1}),
    (ValueError, "temperature holds inf", {"temperature": INF}),
    (ValueError, "temperature holds nan", {"temperature": [1, NAN]}),
    (ValueError, r"temperature has the shape \(3,\); accepted is what broadcasts to \(2,\)", {"temperature": [1] * 3}),
    (TypeError, "temperature has the dtype <U1", {"temperature": "1"}),
    (ValueError, "top_k holds 0; accepted are integers from 1 on", {"top_k": 0}),
    (ValueError, "top_k holds -1", {"top_k": -(10**30)}),
    (TypeError, "top_k has the dtype float64; accepted are integers", {"top_k": 2.0}),
    (TypeError, "top_k has the dtype bool", {"top_k": True}),
    (ValueError, r"top_k has the shape \(3,\)", {"top_k": [1, 2, 3]}),
    (TypeError, "top_k is a masked array", {"top_k": np.ma.masked_array([1, 2])}),
    (ValueError, "top_p holds 1.5; accepted are numbers from 0 to 1", {"top_p": 1.5}),
    (ValueError, "top_p holds -0.1", {"top_p": [0.5, -0.1]}),
    (ValueError, "min_p holds nan; accepted are numbers from 0 to 1", {"min_p": NAN}),
    (TypeError, "where has the dtype int64; accepted is bool", {"where": [1, 0, 1]}),
    (ValueError, r"where has the shape \(2,\); accepted is what broadcasts to \(2, 3\)", {"where": [True, False]}),
    (TypeError, "out must be an ndarray, got list", {"out": [0, 0]}),
    (ValueError, r"out has the shape \(3,\); accepted is \(2,\)", {"out": np.zeros(3, int)}),
    (TypeError, "out has the dtype float64; accepted are integers", {"out": np.zeros(2)}),
    (TypeError, "out has the dtype int8; accepted are integers that hold 199",
     {"logits": np.zeros((2, 200)), "out": np.zeros(2, np.int8)}),
    (ValueError, "out is read-only", {"out": np.broadcast_to(0, 2)}),
])
def test_errors(error, message, arguments):
    with pytest.raises(error, match=rf"^fastact\.sample: {message}"):
        sample(**({"logits": np.zeros((2, 3)), "rng": [0.1, 0.2]} | arguments))


def test_the_docstring_has_the_sections_of_numpydoc():
    text = inspect.getdoc(sample)
    for section in ("Parameters", "Returns", "Raises", "Notes", "Examples"):
        assert f"\n{section}\n{'-' * len(section)}\n" in text
    for name in inspect.signature(sample).parameters:
        assert f"\n{name} : " in text
    session = doctest.DocTestParser().get_doctest(text, {"fastact": fastact, "np": np}, "sample", None, 0)
    assert session.examples
    assert doctest.DocTestRunner(verbose=False).run(session).failed == 0
