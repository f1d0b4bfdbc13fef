"""The functions of `scipy.special`: what SciPy's give, where SciPy is right; weighted sums against mpmath."""

import doctest
import importlib
import inspect
import pickle

import ml_dtypes
import mpmath
import numpy as np
import pytest
from common import INF, NAN, each, in_turn, normal, same

import fastact
from fastact import scipy_special

UFUNCS = {"expit": fastact.sigmoid, "log_expit": fastact.log_sigmoid, "logit": fastact.logit, "erf": fastact.erf}
ROWS = {"softmax": fastact.softmax, "log_softmax": fastact.log_softmax}
FLOATS = np.float16, ml_dtypes.bfloat16, np.float32, np.float64


@pytest.fixture
def special():
    return pytest.importorskip("scipy.special")


def result_of(function, *arguments, **keywords):
    """What a call returns, or whether it raises TypeError or ValueError."""
    with np.errstate(all="ignore"):
        try:
            return function(*arguments, **keywords)
        except (TypeError, ValueError) as error:
            return TypeError if isinstance(error, TypeError) else ValueError


def assert_alike(ours, theirs, rtol=1e-13):
    if isinstance(theirs, type):
        assert ours is theirs
    elif isinstance(theirs, tuple):
        for one, other in zip(ours, theirs, strict=True):
            assert_alike(one, other, rtol)
    else:
        assert type(ours) is type(theirs)
        assert ours.dtype == theirs.dtype
        assert ours.shape == theirs.shape
        np.testing.assert_allclose(ours, theirs, rtol=max(rtol, 8 * np.finfo(ours.dtype).eps), atol=1e-15)


# ---------------------------------------------------------------------------------------------------------- signatures

@pytest.mark.parametrize("name", scipy_special.__all__)
def test_signatures_are_those_of_scipy(name, special):
    if np.lib.NumpyVersion(np.__version__) < "2.4.0" and name in UFUNCS:
        pytest.skip("this NumPy's ufuncs have no signature")
    ours = inspect.signature(getattr(scipy_special, name))
    unannotated = [one.replace(annotation=one.empty) for one in ours.parameters.values()]
    theirs = inspect.signature(getattr(special, name))
    assert ours.replace(parameters=unannotated, return_annotation=ours.empty) == theirs


@pytest.mark.parametrize("name", scipy_special.__all__)
def test_functions_are_documented_and_pickle(name):
    function = getattr(scipy_special, name)
    assert pickle.loads(pickle.dumps(function)) is function
    assert function.__name__ == name
    for section in ("Parameters", "Returns", "Raises", "See Also", "Examples"):
        assert f"\n{section}\n{'-' * len(section)}\n" in inspect.getdoc(function)
    session = doctest.DocTestParser().get_doctest(inspect.getdoc(function), {}, name, None, 0)
    assert doctest.DocTestRunner(verbose=False).run(session) == (0, len(session.examples))
    assert session.examples


# -------------------------------------------------------------------------------------------------------------- ufuncs

@each("dtype", FLOATS)
@pytest.mark.parametrize("name", UFUNCS)
def test_ufuncs_are_the_activations(name, dtype):
    function, activation = getattr(scipy_special, name), UFUNCS[name]
    x = np.linspace(0, 1, 60).astype(dtype).reshape(4, 15)
    right = activation(x)
    same(function(x), right)
    for out in (np.empty_like(x), x.copy()):
        assert function(out if np.array_equal(out, x) else x, out) is out
        same(out, right)
    out, mask = np.full_like(x, 7), np.arange(15) % 3 == 0
    assert function(x, out=(out,), where=mask) is out
    same(out, np.where(mask, right, np.full_like(x, 7)))
    same(function(x[:, ::-2].T), right[:, ::-2].T)
    wider = np.float64 if dtype != np.float64 else np.float32
    same(function(x, dtype=wider, casting="unsafe"), activation(x, dtype=wider, casting="unsafe"))
    assert function(x, order="F").flags.f_contiguous
    assert type(function(dtype(0.5))) is dtype


@pytest.mark.parametrize("name", UFUNCS)
def test_ufuncs_take_what_those_of_scipy_take(name, special):
    ours, theirs = getattr(scipy_special, name), getattr(special, name)
    x = np.linspace(0.01, 0.99, 30).reshape(3, 10)
    cases = [((x,), {}), ((0.5,), {}), ((1,), {}), ((True,), {}), ((x.tolist(),), {}), (([],), {}),
             ((np.float32(0.5),), {}), ((x.astype(">f4"),), {}), ((x, None), {}), ((), {}), ((x, x, x), {}),
             ((x, np.empty(4)), {}), ((x, "out"), {}), (("x",), {}), ((x,), {"eps": 0.1}), ((x,), {"nothing": 1}),
             ((x, np.empty((3, 10), int)), {}), ((None,), {}), ((x.astype(complex), np.empty_like(x)), {}),
             ((x.T,), {"order": "C"}), ((x,), {"signature": "f->f", "casting": "same_kind"})]
    for arguments, keywords in cases:
        assert_alike(result_of(ours, *arguments, **keywords), result_of(theirs, *arguments, **keywords), 1e-6)


@pytest.mark.parametrize("name", UFUNCS)
def test_special_values_of_ufuncs(name, special):
    x = np.array([0.0, -0.0, INF, -INF, NAN, 1.0, 2.0, -1.0, 5e-324, 1e308, -1e308, 40.0, -750.0])
    with np.errstate(all="ignore"):
        np.testing.assert_allclose(getattr(scipy_special, name)(x), getattr(special, name)(x), rtol=1e-14, atol=1e-320)


@pytest.mark.parametrize("name", [*UFUNCS, *ROWS])
@pytest.mark.parametrize("dtype", [np.longdouble, np.complex64, np.complex128, object, "U3"])
def test_other_dtypes_are_refused_by_name(name, dtype):
    with pytest.raises(TypeError, match=r"x has the dtype .*; accepted are float16, bfloat16, float32 and float64"):
        getattr(scipy_special, name)(np.ones(3, dtype))


@in_turn("dtype", [np.longdouble, np.complex64, np.complex128, object, "U3"])
def test_logsumexp_refuses_other_dtypes_by_name(dtype):
    for name, arguments in {"a": {"a": np.ones(3, dtype)}, "b": {"a": np.ones(3), "b": np.ones(3, dtype)}}.items():
        with pytest.raises(TypeError, match=rf"fastact.scipy_special.logsumexp: {name} has the dtype .*; accepted are"):
            scipy_special.logsumexp(**arguments)
    masked = np.ma.array([1.0, 2.0], mask=[True, False])
    with pytest.raises(TypeError, match="logsumexp: a is a masked array"):
        scipy_special.logsumexp(masked)
    with pytest.raises(TypeError, match="logsumexp: b is a masked array"):
        scipy_special.logsumexp([1.0, 2.0], b=masked)


# ---------------------------------------------------------------------------------------------------------------- rows

SHAPES = [(), (1,), (7,), (0,), (0, 3), (3, 0), (0, 0), (3, 5), (2, 3, 4), (2, 0, 4)]
AXES = [None, 0, -1, 1, 2, (0, 1), (-1, 0), (0, 0), (), np.int64(0), True, 1.0, "0", [0]]


@each("shape", SHAPES)
@pytest.mark.parametrize("name", ROWS)
def test_softmax_of_any_axes(name, shape, special):
    x = normal(shape)
    for axis in AXES:
        theirs = result_of(getattr(special, name), x, axis)
        assert_alike(result_of(getattr(scipy_special, name), x, axis), theirs)
        assert_alike(result_of(getattr(scipy_special, name), x, axis=axis), theirs)
    assert_alike(result_of(getattr(scipy_special, name), x.tolist()), result_of(getattr(special, name), x.tolist()))


@each("dtype", [*FLOATS, bool, np.int8, np.uint64, np.dtype(">f4")])
@pytest.mark.parametrize("name", ROWS)
def test_softmax_is_that_of_the_activation(name, dtype):
    function, activation = getattr(scipy_special, name), ROWS[name]
    x = normal((4, 6)).astype(dtype)
    same(function(x), activation(x, axis=None))
    same(function(x, 0), activation(x, axis=0))
    same(function(x=x, axis=(1,)), activation(x))


def test_softmax_of_no_entries_is_refused_by_name():
    with pytest.raises(ValueError, match=r"softmax: x has the shape \(3, 0\); accepted are rows that have entries"):
        scipy_special.softmax(np.empty((3, 0)), axis=1)


@in_turn("row", [[INF, 0.0], [-INF, -INF], [NAN, 0.0], [INF, INF], [-INF, 0.0], [1e308, -1e308]])
def test_special_values_of_rows(row, special):
    with np.errstate(all="ignore"):
        np.testing.assert_allclose(scipy_special.softmax(row), special.softmax(row))
        right = special.log_softmax(row)
    np.testing.assert_allclose(scipy_special.log_softmax(row), np.full(2, NAN) if INF in row else right)


# ----------------------------------------------------------------------------------------------------------- logsumexp

def exact_logsumexp(a, b):
    """The logarithm of the absolute value of the sum, its sign, and by how much digits cancel in the sum."""
    m = mpmath.MPContext()
    m.dps = 60
    terms = [m.mpf(float(weight)) * m.exp(m.mpf(float(x))) for x, weight in zip(a, b, strict=True) if weight]
    total = m.fsum(terms)
    if not total:
        return -INF, 0.0, 1.0
    return m.log(abs(total)), float(m.sign(total)), float(m.fsum(terms, absolute=True) / abs(total))


def error_of(found, right, cancellation, a, b):
    """The error of a logarithm, over the roundings of the largest number that occurs and of the terms of the sum."""
    if right == -INF:
        return 0.0 if found == -INF else INF
    taking_part = [abs(float(x)) for x, weight in zip(a, b, strict=True) if weight and x > -INF]
    scale = max(1.0, abs(float(right)), *taking_part, *(abs(np.log(np.abs(b[b != 0])))))
    return float(abs(found - right)) / (np.finfo(np.float64).eps * (scale + cancellation))


def weighted_rows(seed):
    """Rows of exponents and weights: ranges of both, ties, zeros, absent entries, sums that almost cancel."""
    random = np.random.default_rng(seed)
    for spread in (0.1, 3, 40, 700, 1e5):
        for n in (1, 2, 5, 40):
            a = random.standard_normal(n) * spread
            for b in (random.standard_normal(n), np.exp(20 * random.standard_normal(n)),
                      random.integers(-1, 2, n), random.integers(0, 2, n), np.where(random.random(n) < 0.5, 1, -1)):
                yield a, b.astype(np.float64)
                yield np.where(random.random(n) < 0.3, -INF, a), b.astype(np.float64)
                yield np.concatenate([a, a + 1e-9 * spread]), np.concatenate([b, -b]).astype(np.float64)
                yield np.round(a, 0), b.astype(np.float64)


def test_weighted_sums_are_exact_enough():
    """A few roundings of the largest exponent, or as many digits as cancel in the sum; no worse than SciPy."""
    special = importlib.import_module("scipy.special") if importlib.util.find_spec("scipy") else None
    errors = []
    for a, b in weighted_rows(0):
        right, exact_sign, cancellation = exact_logsumexp(a, b)
        if cancellation > 1e12:
            continue
        found, sign = scipy_special.logsumexp(a, b=b, return_sign=True)
        assert sign == exact_sign, (a, b)
        np.testing.assert_equal(scipy_special.logsumexp(a, b=b), NAN if sign < 0 else found)
        ours = error_of(found, right, cancellation, a, b)
        assert ours <= 1, (a, b, found, right)
        if special is not None:
            with np.errstate(all="ignore"):
                other = special.logsumexp(a, b=b, return_sign=True)[0]
            errors.append((ours, error_of(other, right, cancellation, a, b)))
    if errors:
        ours, theirs = np.transpose(errors)
        assert ours.max() <= np.nanmax(theirs)
        assert ours.mean() <= np.nanmean(theirs)


@in_turn("a, b, log, sign", [
    ([1000, 1000, 0], [1, -1, 1], 0.0, 1.0),                    # beside the terms that cancel, it underflows
    ([40, 0, 40], [1, 1, -1], 0.0, 1.0),
    ([1000, 1000, 0, 0, -3], [1, -1, 2, -2, -1], -3.0, -1.0),
    ([1000, 999, 1000, 999], [1, 3, -1, -3], -INF, 0.0),
    ([1, 1], [1, -1], -INF, 0.0),
    ([5.0], [0], -INF, 0.0),
    ([-INF, -INF], [1, 2], -INF, 0.0),
    ([NAN, 2.0], [0, 1], 2.0, 1.0),                             # what belongs to a weight of 0 does not matter
    ([INF, 2.0], [0, -1], 2.0, -1.0),
    ([INF, 2.0], [-1, 1], INF, -1.0),
    ([INF, 800.0], [-1, 1], INF, -1.0),
    ([INF, INF], [1, -1], NAN, NAN),
    ([NAN, 2.0], [1, 1], NAN, NAN),
    ([1.0, 2.0], [NAN, 1], NAN, NAN),
    ([INF, 2.0], [1, NAN], NAN, NAN),
    ([0.0, 800.0], [INF, 1], INF, 1.0),
    ([0.0, 800.0], [-INF, 1], INF, -1.0),
    ([-INF, 0.0], [INF, 1], NAN, NAN),
    ([0.0, 1.0], [INF, -INF], NAN, NAN),
    ([0.0, -1e-20], [1, 0], 0.0, 1.0),
    ([0.0, -50.0], [1, 1], 1.9287498479639178e-22, 1.0),
    ([0.0, -50.0], [-1, 1], -1.9287498479639178e-22, -1.0),
])
def test_weighted_sums_of_special_rows(a, b, log, sign):
    found = scipy_special.logsumexp(a, b=b, return_sign=True)
    np.testing.assert_allclose(found, (log, sign), rtol=1e-15)
    np.testing.assert_equal(scipy_special.logsumexp(a, b=b), NAN if sign < 0 else found[0])
    rows, signs = scipy_special.logsumexp(np.array([a, a, [0.0] * len(a)]).T, 0, np.array([b, b, [1] * len(b)]).T,
                                          return_sign=True)
    np.testing.assert_equal((rows[:2], signs[:2]), ([found[0]] * 2, [found[1]] * 2))
    np.testing.assert_allclose(rows[2], np.log(len(a)))


@each("shape", SHAPES)
def test_logsumexp_of_any_axes(shape, special):
    """Of empty rows SciPy 1.17 raises IndexError where there are several axes, and gives the sign -1."""
    a, b = normal(shape), normal(shape, seed=1)
    for axis in AXES:
        for keepdims in (False, True):
            for weights in (None, b, np.ones(shape[-1:]), 2.0):
                ours = result_of(scipy_special.logsumexp, a, axis, weights, keepdims, True)
                if 0 in shape:
                    if not isinstance(ours, type):
                        right = np.full(np.sum(np.atleast_1d(a), axis=axis, keepdims=keepdims).shape, -INF)
                        same(np.asarray(ours[0]), right)
                        same(np.asarray(ours[1]), np.zeros_like(right))
                    continue
                theirs = result_of(special.logsumexp, a, axis, weights, keepdims, True)
                assert_alike(ours, theirs, 1e-12)
                assert_alike(result_of(scipy_special.logsumexp, a, axis=axis, b=weights, keepdims=keepdims),
                             result_of(special.logsumexp, a, axis=axis, b=weights, keepdims=keepdims), 1e-12)


def test_weights_broadcast(special):
    a, b = normal((4, 1, 2, 1)), normal((3, 1, 5), seed=2)
    for axis in (None, 0, (1, 2), -1):
        assert_alike(scipy_special.logsumexp(a, axis, b, return_sign=True),
                     special.logsumexp(a, axis, b, return_sign=True), 1e-12)
    with pytest.raises(ValueError, match=r"b has the shape \(4,\); accepted is what broadcasts with that of a, \(3,\)"):
        scipy_special.logsumexp(np.ones(3), b=np.ones(4))


@pytest.mark.parametrize("of_a", [np.float32, np.float64, np.int32, np.int64, float])
@pytest.mark.parametrize("of_b", [np.float32, np.float64, np.int32, np.int64, bool, int, float])
def test_dtypes_of_weighted_sums_are_those_of_scipy(of_a, of_b, special):
    a = 2.0 if of_a is float else np.array([2, 1], of_a)
    b = of_b(3) if of_b in (int, float) else np.array([1, 2], of_b)
    assert_alike(scipy_special.logsumexp(a, b=b, return_sign=True), special.logsumexp(a, b=b, return_sign=True), 1e-6)


@in_turn("of_a, of_b, right", [
    (np.float16, np.float16, np.float16), (np.float16, bool, np.float16), (np.float16, int, np.float64),
    (np.float16, np.float32, np.float32), (ml_dtypes.bfloat16, np.float16, np.float32),
    (ml_dtypes.bfloat16, ml_dtypes.bfloat16, ml_dtypes.bfloat16), (ml_dtypes.bfloat16, np.int64, np.float64),
    (bool, bool, np.float64), (np.uint8, np.int8, np.float64),
])
def test_dtypes_of_other_weighted_sums(of_a, of_b, right):
    a, b = np.array([1, 0], of_a), np.array([1, 1], of_b)
    log, sign = scipy_special.logsumexp(a, b=b, return_sign=True)
    assert log.dtype == sign.dtype == right
    same(log, np.logaddexp(1.0, 0.0).astype(right))
    assert scipy_special.logsumexp(a, b=3).dtype == (np.float64 if np.dtype(of_a).kind in "biu" else of_a)


def test_without_weights_it_is_that_of_the_activation():
    for dtype in (*FLOATS, np.int16):
        a = normal((5, 7)).astype(dtype)
        same(scipy_special.logsumexp(a), fastact.logsumexp(a, None))
        same(scipy_special.logsumexp(a, 0, keepdims=True), fastact.logsumexp(a, 0, keepdims=True))
        log, sign = scipy_special.logsumexp(a, 1, return_sign=True)
        same(log, fastact.logsumexp(a))
        same(sign, np.ones_like(log))
    rows = [[INF, 0], [-INF, -INF], [NAN, 0], [INF, -INF]]
    log, sign = scipy_special.logsumexp(rows, axis=1, return_sign=True)
    np.testing.assert_equal((log, sign), ([INF, -INF, NAN, INF], [1, 0, NAN, 1]))


def test_logsumexp_writes_nothing_and_does_not_depend_on_the_layout_or_threads():
    a, b = np.round(normal((40, 300)), 1), normal((40, 300), seed=1)
    a.flags.writeable = b.flags.writeable = False
    right = scipy_special.logsumexp(a, 1, b, return_sign=True)
    for ours in (scipy_special.logsumexp(a.T, 0, b.T, return_sign=True),
                 scipy_special.logsumexp(np.asfortranarray(a), 1, b[:, ::-1][:, ::-1], return_sign=True)):
        for one, other in zip(ours, right, strict=True):
            same(one, other)
    with fastact.threads(1):
        same(scipy_special.logsumexp(a, 1, b, return_sign=True)[0], right[0])
