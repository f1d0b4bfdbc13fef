"""Losses on rows: loss and gradient against exact values, difference quotients and the founding notes."""

import functools
import inspect
import itertools
import math

import mpmath
import numpy as np
import pytest
from common import DTYPES, INF, LOSSES, LOSSES_OF_LABELS, NAN, WIDE, each, in_turn, normal, same_bits
from facts import FACTS_OF_LOSSES
from logits import KINDS as KINDS_OF_ROWS
from logits import with_ties
from processes import run
from row_helpers import exact

import fastact
from fastact import reference

LENGTHS = [*range(1, 20), 33, 255, 256, 257, 1000, 4097]

every_loss = each("loss", LOSSES)
every_dtype = in_turn("dtype", WIDE)


def probabilities(shape, dtype=np.float64, seed=1):
    return fastact.softmax(normal(shape, np.float64, seed)).astype(dtype)


def labels_for(logits, seed=2):
    return np.random.default_rng(seed).integers(logits.shape[-1], size=logits.shape[:-1])


def one_hot(labels, classes, dtype=np.float64):
    return (np.asarray(labels)[..., np.newaxis] == np.arange(classes)).astype(dtype)


KINDS = {name: KINDS_OF_ROWS[name] for name in ("uniform", "normal", "confident", "decided", "above_equals", "holes")}
KINDS |= {"ties": with_ties, "offset": lambda random, shape: random.standard_normal(shape) - 1e4}
every_kind = in_turn("kind", KINDS)


def logits_of(kind, dtype, length, rows=8):
    return KINDS[kind](np.random.default_rng(length), (rows, length)).astype(dtype)


# --------------------------------------------------------------------------------------------------------------- values


@every_dtype
@every_kind
def test_labels_within_4_ulp(kind, dtype):
    """Loss and every entry of the gradient, also where the answer is right and certain, or wrong and certain."""
    for length in LENGTHS:
        logits = logits_of(kind, dtype, length)
        for labels in (logits.argmax(axis=-1), logits.argmin(axis=-1), labels_for(logits), np.zeros(8, int)):
            losses, gradient = fastact.softmax_cross_entropy(logits, labels, reduction="none")
            assert losses.dtype == gradient.dtype == dtype
            name = "softmax_cross_entropy_labels"
            assert reference.ulp_error(losses, exact(name, "value", logits, labels)).max() <= 4, length
            assert reference.ulp_error(gradient, exact(name, "gradient", logits, labels)).max() <= 4, length


@in_turn("dtype, row, label", [
    (dtype, row, label)
    for dtype in WIDE
    for row in ([100, 0, 0], [20, 0, 0], [40, 1, -3], [0, 30, 0, 0], [5, 5], [0, 0, 0], [50, 49.9, 0], [300, 0, 290])
    for label in range(len(row))
])
def test_labels_against_mpmath(dtype, row, label):
    logits = np.array(row, dtype)
    context = mpmath.mp.clone()     # mpmath's own is everybody's, other threads' too
    context.dps = 400
    powers = [context.exp(float(z)) for z in logits]
    p = [power / sum(powers) for power in powers]
    right = [-sum(p[:j] + p[j + 1 :]) if j == label else p[j] for j in range(len(p))]
    right_loss = -context.log(p[label])
    loss, gradient = fastact.softmax_cross_entropy(logits, label)
    convert = reference.mpmath_namespace(50).asarray
    assert reference.ulp_error(loss, convert(right_loss)) <= 4
    assert reference.ulp_error(gradient, convert(right)).max() <= 4


@every_dtype
@in_turn("sure", [20, 40, 60, 80])
def test_gradient_of_a_confident_right_answer_is_not_0(sure, dtype):
    loss, gradient = fastact.softmax_cross_entropy(np.array([sure, 0, 0], dtype), 0)
    assert gradient[0] == pytest.approx(-2 * math.exp(-sure), rel=1e-6)
    assert gradient[0] == pytest.approx(-float(gradient[1]) - float(gradient[2]), rel=1e-6)
    assert loss == pytest.approx(2 * math.exp(-sure), rel=1e-6)


def targets_of(kind, shape, dtype):
    random = np.random.default_rng(shape[-1])
    if kind == "one_hot":
        return one_hot(random.integers(shape[-1], size=shape[0]), shape[-1], dtype)
    if kind == "probabilities":
        return probabilities(shape, dtype)
    if kind == "with zeros":
        return np.where(random.random(shape) < 0.5, 0, random.random(shape)).astype(dtype)
    return (random.random(shape) * 3).astype(dtype)


TARGETS = ("one_hot", "probabilities", "with zeros", "not summing to 1")


@functools.cache
def exact_of(activation, kind, dtype, length):
    """The rows of these logits, which are the same for all losses and targets."""
    return exact(activation, "value", logits_of(kind, dtype, length))


@every_dtype
@in_turn("targets_kind", TARGETS)
@every_kind
@every_loss
def test_rows_of_probabilities(loss, kind, targets_kind, dtype):
    """As exact as softmax itself and the operations on it, which tests/facts.py counts for each loss."""
    name, limits = loss.__name__, np.finfo(dtype)
    eps, least = 8 * float(limits.eps), float(limits.smallest_subnormal)
    for length in LENGTHS:
        logits = logits_of(kind, dtype, length)
        targets = targets_of(targets_kind, logits.shape, dtype)
        losses, gradient = loss(logits, targets, reduction="none")
        assert losses.dtype == gradient.dtype == dtype
        exact_losses, exact_gradient = (exact(name, mode, logits, targets) for mode in ("value", "gradient"))
        facts = FACTS_OF_LOSSES[name]
        p = exact_of(facts.activation, kind, dtype, length)
        others = exact_of("log_softmax", kind, dtype, length) if facts.alpha == 1 else logits.astype(p.dtype)
        numbers = p, others, targets.astype(np.float64), eps, least
        loss_error, gradient_error = facts.value_error(*numbers), facts.gradient_error(*numbers)
        finite = np.isfinite(exact_losses.astype(np.float64))
        assert (losses[~finite] == INF).all()
        assert (abs(losses[finite] - exact_losses[finite]) <= loss_error[finite]).all(), length
        assert (abs(gradient - exact_gradient) <= gradient_error).all(), length


@in_turn("axis", [0, 1, 2])
@in_turn("reduction", ["mean", "sum"])
def test_gradient_is_the_difference_quotient(reduction, axis):
    logits, step = normal((2, 3, 4), spread=2), 1e-5
    for loss, of_rows in every_loss_with_targets(np.moveaxis(logits, axis, -1)):
        targets = np.moveaxis(of_rows, -1, axis) if of_rows.ndim == 3 else of_rows
        _, gradient = loss(logits, targets, axis, reduction)
        for index in np.ndindex(logits.shape):
            change = np.zeros_like(logits)
            change[index] = step
            above, _ = loss(logits + change, targets, axis, reduction)
            below, _ = loss(logits - change, targets, axis, reduction)
            assert gradient[index] == pytest.approx((above - below) / (2 * step), rel=1e-6, abs=1e-9), loss.__name__


@every_dtype
def test_worked_example_of_the_founding_notes(dtype):
    """Three output nodes, squared error: the loss, and the gradient as the sum of three terms."""
    z = np.array([0.3, -1.2, 2.0], dtype)
    y = np.array([0, 0, 1], dtype)
    s1, s2, s3 = p = [math.exp(float(a)) / sum(math.exp(float(b)) for b in z) for a in z]
    by_hand = ((s1 - 0) ** 2 + (s2 - 0) ** 2 + (s3 - 1) ** 2) / 2
    d1 = (s1 - 0) * s1 * (1 - s1) + (s2 - 0) * (-s1 * s2) + (s3 - 1) * (-s1 * s3)
    d2 = (s1 - 0) * (-s2 * s1) + (s2 - 0) * s2 * (1 - s2) + (s3 - 1) * (-s2 * s3)
    d3 = (s1 - 0) * (-s3 * s1) + (s2 - 0) * (-s3 * s2) + (s3 - 1) * s3 * (1 - s3)
    loss, gradient = fastact.softmax_mse(z, y)
    tolerance = 8 * float(np.finfo(dtype).eps)
    assert loss == pytest.approx(by_hand, rel=tolerance)
    np.testing.assert_allclose(gradient, [d1, d2, d3], rtol=0, atol=tolerance)
    residual = np.array(p, dtype) - y
    np.testing.assert_allclose(gradient, fastact.softmax.backward(residual, z), rtol=0, atol=tolerance)
    np.testing.assert_allclose(gradient, fastact.softmax.jacobian(z).T @ residual, rtol=0, atol=tolerance)


@every_dtype
@every_kind
def test_labels_agree_with_one_hot_probabilities(kind, dtype):
    for length in LENGTHS:
        logits = logits_of(kind, dtype, length)
        labels = labels_for(logits)
        for reduction in ("none", "mean", "sum"):
            loss, gradient = fastact.softmax_cross_entropy(logits, labels, reduction=reduction)
            same, close_by = fastact.softmax_cross_entropy(logits, one_hot(labels, length, dtype), reduction=reduction)
            np.testing.assert_allclose(loss, same, rtol=8 * np.finfo(dtype).eps, atol=0)
            np.testing.assert_allclose(gradient, close_by, rtol=0, atol=4 * np.finfo(dtype).eps)


@every_dtype
def test_logits_of_minus_infinity(dtype):
    row = np.array([-INF, 0.0, 0.0], dtype)
    for targets in (1, [0.0, 1.0, 0.0]):
        loss, gradient = fastact.softmax_cross_entropy(row, targets)
        assert loss == pytest.approx(math.log(2), rel=1e-6)
        np.testing.assert_allclose(gradient, [0, -0.5, 0.5], rtol=1e-6)
    for targets in (0, [1.0, 0.0, 0.0]):
        loss, gradient = fastact.softmax_cross_entropy(row, targets)
        assert loss == INF
        np.testing.assert_allclose(gradient, [-1, 0.5, 0.5], rtol=1e-6)


@every_dtype
def test_rows_without_a_softmax_are_nan_alone(dtype):
    rows = np.array([[1, 2, 3], [NAN, 1, 2], [1, INF, 0], [-INF] * 3, [3, 2, 1]], dtype)
    labels, targets = np.array([0, 1, 2, 0, 1]), one_hot([0, 1, 2, 0, 1], 3, dtype)
    for loss, right in (*((loss, targets) for loss in LOSSES), *((loss, labels) for loss in LOSSES_OF_LABELS)):
        for axis, turn in ((1, np.asarray), (0, np.transpose)):
            losses, gradient = loss(turn(rows), turn(right), axis, "none")
            np.testing.assert_array_equal(np.isnan(losses), [False, True, True, True, False])
            np.testing.assert_array_equal(np.isnan(turn(gradient)).all(axis=1), [False, True, True, True, False])
            good, good_gradient = loss(rows[[0, 4]], right[[0, 4]], reduction="none")
            assert same_bits(losses[[0, 4]], good)
            assert same_bits(turn(gradient)[[0, 4]], good_gradient)


# ----------------------------------------------------------------------------------------------------------- reductions


def every_loss_with_targets(logits):
    for loss in LOSSES:
        yield loss, probabilities(logits.shape, logits.dtype)
    for loss in LOSSES_OF_LABELS:
        yield loss, labels_for(logits)


@every_dtype
@in_turn("shape", [(5,), (7, 5), (2, 3, 5), (300, 5)])
def test_reductions(shape, dtype):
    logits = normal(shape, dtype)
    rows = math.prod(shape[:-1])
    tolerance = 2 * float(np.finfo(dtype).eps)
    for loss, targets in every_loss_with_targets(logits):
        losses, gradient = loss(logits, targets, reduction="none")
        total, total_gradient = loss(logits, targets, reduction="sum")
        mean, mean_gradient = loss(logits, targets, reduction="mean")
        assert losses.shape == shape[:-1]
        assert np.shape(total) == np.shape(mean) == ()
        assert losses.dtype == total.dtype == mean.dtype == dtype
        assert same_bits(total_gradient, gradient)
        assert mean_gradient.shape == gradient.shape == shape
        assert mean_gradient.dtype == gradient.dtype == dtype
        exact_total = math.fsum(np.ravel(losses).tolist())
        assert total == pytest.approx(exact_total, rel=tolerance)
        assert mean == pytest.approx(exact_total / rows, rel=tolerance)
        np.testing.assert_allclose(mean_gradient, gradient / float(rows), rtol=2 * tolerance, atol=tolerance / rows)
        assert all(map(same_bits, loss(logits, targets), (mean, mean_gradient)))


@every_dtype
def test_mean_over_many_rows_adds_in_double(dtype):
    """A float32 sum of 200,000 equal losses would be wrong in the third digit or so."""
    logits = np.tile(np.array([0.1, 0.2], dtype), (200_000, 1))
    single, _ = fastact.softmax_cross_entropy(logits[0], 0)
    mean, _ = fastact.softmax_cross_entropy(logits, np.zeros(200_000, int))
    assert mean == pytest.approx(float(single), rel=2 * float(np.finfo(dtype).eps))


@every_dtype
def test_no_rows(dtype):
    for shape, axis in (((0, 3), -1), ((3, 0), 0), ((2, 0, 3), 2)):
        logits = np.empty(shape, dtype)
        labels = np.empty(tuple(n for k, n in enumerate(shape) if k != axis % len(shape)), int)
        for loss, targets in (*((loss, logits) for loss in LOSSES), *((loss, labels) for loss in LOSSES_OF_LABELS)):
            for reduction, expected in (("mean", NAN), ("sum", 0.0)):
                value, gradient = loss(logits, targets, axis, reduction)
                np.testing.assert_array_equal(value, expected)
                assert value.dtype == gradient.dtype == dtype
                assert gradient.shape == shape
            losses, gradient = loss(logits, targets, axis, "none")
            assert losses.shape == labels.shape
            assert losses.dtype == gradient.dtype == dtype
            assert gradient.shape == shape


# -------------------------------------------------------------------------------------------------------------- layouts


@every_dtype
@in_turn("length", [1, 3, 16, 37, 300])
def test_rows_have_the_same_bits_in_any_layout(length, dtype):
    logits = normal((6, length), dtype)
    cube = logits.reshape(2, 3, length)
    strided = np.full((12, 3 * length), NAN, dtype)
    strided[::2, ::3] = logits
    swapped = np.dtype(dtype).newbyteorder()
    for loss, targets in every_loss_with_targets(logits):
        labelled = targets.ndim == 1
        losses, gradient = loss(logits, targets, reduction="none")

        def moved(axis, order="C", labelled=labelled, targets=targets):
            shaped = targets.reshape(2, 3) if labelled else np.moveaxis(targets.reshape(2, 3, length), -1, axis)
            return np.asarray(np.moveaxis(cube, -1, axis), order=order), np.asarray(shaped, order=order)

        for axis, order in itertools.product((0, 1, 2, -1, -2, -3), "CF"):
            x, y = moved(axis, order)
            other_losses, other_gradient = loss(x, y, axis, "none")
            assert same_bits(other_losses.reshape(6), losses), (axis, order)
            assert same_bits(np.moveaxis(other_gradient, axis, -1).reshape(6, length), gradient), (axis, order)
        turned = targets if labelled else targets.T
        reversed_targets = targets[::-1]
        for x, y, axis, back in ((logits.T, turned, 0, np.transpose), (strided[::2, ::3], targets, 1, np.asarray),
                                 (np.asfortranarray(logits), targets, 1, np.asarray),
                                 (logits.astype(swapped), targets.astype(targets.dtype.newbyteorder()), 1, np.asarray),
                                 (logits[::-1], reversed_targets, 1, lambda result: result[::-1])):
            before = x.copy()
            other_losses, other_gradient = loss(x, y, axis, "none")
            assert same_bits(back(other_losses) if back is not np.transpose else other_losses, losses)
            assert same_bits(back(other_gradient), gradient)
            assert same_bits(x, before)


@every_dtype
def test_rows_have_the_same_bits_beside_any_others(dtype):
    logits = normal((70, 37), dtype)
    for loss, targets in every_loss_with_targets(logits):
        alone = [loss(x, y, reduction="none") for x, y in zip(logits, targets, strict=True)]
        losses = np.array([value for value, _ in alone])
        gradients = np.array([gradient for _, gradient in alone])
        for count in range(1, 71):
            turned = targets[:count] if targets.ndim == 1 else np.ascontiguousarray(targets[:count].T)
            columns = np.ascontiguousarray(logits[:count].T)
            for x, y, axis in ((logits[:count], targets[:count], 1), (columns, turned, 0)):
                some, gradient = loss(x, y, axis, "none")
                assert same_bits(some, losses[:count]), (count, axis)
                assert same_bits(gradient if axis else gradient.T, gradients[:count]), (count, axis)


@every_dtype
@in_turn("shape", [(4000, 67), (30, 9001), (2, 200_000)])
def test_large_batches_are_their_rows_with_any_number_of_threads(shape, dtype):
    logits = normal(shape, dtype)
    for loss, targets in every_loss_with_targets(logits):
        with fastact.threads(1):
            alone = [loss(x, y) for x, y in zip(logits, targets, strict=True)]
            mean, mean_gradient = loss(logits, targets)
        columns = np.ascontiguousarray(logits.T), targets if targets.ndim == 1 else np.ascontiguousarray(targets.T)
        for threads in (1, 2, 3):
            with fastact.threads(threads):
                losses, gradient = loss(logits, targets, reduction="none")
                of_columns, gradient_of_columns = loss(*columns, 0, "none")
                same_mean, same_gradient = loss(logits, targets)
            assert same_bits(losses, np.array([value for value, _ in alone]))
            assert same_bits(gradient, np.array([gradient for _, gradient in alone]))
            assert same_bits(of_columns, losses)
            assert same_bits(gradient_of_columns.T, gradient)
            assert same_bits(same_mean, mean)
            assert same_bits(same_gradient, mean_gradient)


# ------------------------------------------------------------------------------------------------------------ arguments


def test_scalar_label_of_one_row():
    row = normal(5)
    for label in (3, np.int8(3), np.array(3)):
        for reduction in ("mean", "sum", "none"):
            loss, gradient = fastact.softmax_cross_entropy(row, label, reduction=reduction)
            assert isinstance(loss, np.float64)
            assert gradient.shape == (5,)
            assert same_bits(loss, fastact.softmax_cross_entropy(row[np.newaxis], [3])[0])


@in_turn("code", [*"bBhHiIlLqQ", ">i4", ">u8"])
def test_labels_of_any_integer_dtype(code):
    logits, labels = normal((9, 6)), np.array([0, 1, 2, 3, 4, 5, 0, 5, 3])
    for axis, x in ((1, logits), (0, logits.T)):
        for left, right in zip(fastact.softmax_cross_entropy(x, labels.astype(code), axis),
                               fastact.softmax_cross_entropy(x, labels.tolist(), axis), strict=True):
            assert same_bits(left, right)


@every_loss
def test_lists_integers_and_mixed_dtypes(loss):
    """The logits decide the dtype; integers are computed in float64."""
    logits, targets = [[1, 0, 2], [0, 3, 1]], [[1, 0, 0], [0, 0.5, 0.5]]
    expected = loss(np.array(logits, float), np.array(targets))
    for x in (logits, np.array(logits), np.array(logits, np.int8), tuple(map(tuple, logits))):
        assert all(map(same_bits, loss(x, targets), expected))
    single = loss(np.array(logits, np.float32), np.array(targets, np.float32))
    assert all(map(same_bits, loss(np.array(logits, np.float32), targets), single))
    assert single[0].dtype == single[1].dtype == np.float32
    boolean = np.array([[True, False, False], [False, True, False]])
    assert all(map(same_bits, loss(logits, boolean), loss(logits, boolean.astype(float))))


def raises(error, loss, text, *arguments, **keywords):
    with pytest.raises(error) as caught:
        loss(*arguments, **keywords)
    assert type(caught.value) is error
    assert str(caught.value).startswith(f"fastact.{loss.__name__}: {text}")


@in_turn("labels, wrong", [
    ([0, -1], -1), ([3, 0], 3), ([100, 1], 100), (np.array([0, 255], np.uint8), 255),
    (np.array([-128, 0], np.int8), -128), (np.array([2**63, 0], np.uint64), 2**63),
    (np.array([2**64 - 1, 0], np.uint64), 2**64 - 1)])
def test_labels_out_of_range(labels, wrong):
    text = f"labels_or_probabilities holds {wrong}; accepted are 0 to 2"
    for x, axis in ((normal((2, 3)), 1), (normal((3, 2)), 0)):
        raises(IndexError, fastact.softmax_cross_entropy, text, x, labels, axis)


@in_turn("targets, error, text", [
    (np.zeros((3, 2)), ValueError, "{} has the shape (3, 2); accepted is (2, 3)"),
    (np.zeros((2, 1)), ValueError, "{} has the shape (2, 1); accepted is (2, 3)"),
    (np.zeros((1, 2, 3)), ValueError, "{} has the shape (1, 2, 3); accepted is (2, 3)"),
    (1.0, ValueError, "{} has the shape (); accepted is (2, 3)"),
    (np.zeros((2, 3), "V2"), TypeError, "{} has the dtype |V2; accepted are float16, bfloat16, "),
    (np.zeros((2, 3), complex), TypeError, "{} has the dtype complex128; accepted are float16, bfloat16, "),
    (np.zeros((2, 3), object), TypeError, "{} has the dtype object; accepted are float16, bfloat16, "),
    ([["a"] * 3] * 2, TypeError, "{} has the dtype <U1; accepted are float16, bfloat16, "),
    (np.ma.array(np.zeros((2, 3)), mask=True), TypeError, "{} is a masked array"),
])
@every_loss
def test_bad_targets(loss, targets, error, text):
    name = list(inspect.signature(loss).parameters)[1]
    raises(error, loss, text.format(name), normal((2, 3)), targets)


@in_turn("labels, error, text", [
    (np.zeros(3, int), ValueError, "has the shape (3,); accepted is (2,) for labels"),
    (np.zeros(1, int), ValueError, "has the shape (1,); accepted is (2,) for labels"),
    (np.zeros(2), TypeError, "has the shape of labels and the dtype float64; accepted are integers"),
    (np.zeros(2, bool), TypeError, "has the shape of labels and the dtype bool; accepted are integers"),
    (np.zeros(2, object), TypeError, "has the shape of labels and the dtype object; accepted are integers"),
    (["a", "b"], TypeError, "has the shape of labels and the dtype <U1; accepted are integers"),
    (np.ma.array([0, 1], mask=[False, True]), TypeError, "is a masked array"),
])
def test_bad_labels(labels, error, text):
    raises(error, fastact.softmax_cross_entropy, f"labels_or_probabilities {text}", normal((2, 3)), labels)


@in_turn("logits, error, text", [
    (np.zeros((2, 3), "V2"), TypeError, "logits has the dtype |V2; accepted are float16, bfloat16, "),
    (np.zeros((2, 3), np.longdouble), TypeError, "logits has the dtype"),
    (np.zeros((2, 3), object), TypeError, "logits has the dtype object"),
    (np.ma.zeros((2, 3)), TypeError, "logits is a masked array"),
    (1.0, np.exceptions.AxisError, "logits has no dimension; accepted are (..., classes)"),
])
@every_loss
def test_bad_logits(loss, logits, error, text):
    raises(error, loss, text, logits, np.zeros(np.shape(logits)))


@in_turn("axis, error, text", [
    (2, np.exceptions.AxisError, "axis 2 is out of bounds for an array of 2 dimensions"),
    (-3, np.exceptions.AxisError, "axis -3 is out of bounds for an array of 2 dimensions"),
    ((1,), TypeError, "axis must be an integer, got (1,)"),
    ((0, 1), TypeError, "axis must be an integer, got (0, 1)"),
    (None, TypeError, "axis must be an integer, got None"),
    (True, TypeError, "axis must be an integer"),
    (1.0, TypeError, "axis must be an integer"),
])
@every_loss
def test_bad_axes(loss, axis, error, text):
    raises(error, loss, text, normal((2, 3)), probabilities((2, 3)), axis)


@in_turn("reduction", ["average", "", None, 1, "MEAN"])
@every_loss
def test_unknown_reductions(loss, reduction):
    text = f"unknown reduction {reduction!r}; accepted are mean, sum, none"
    raises(ValueError, loss, text, normal((2, 3)), probabilities((2, 3)), reduction=reduction)


@every_loss
def test_docstrings_have_the_sections_of_numpydoc(loss):
    lines = [line.strip() for line in loss.__doc__.splitlines()]
    sections = ("Parameters", "Returns", "Raises", "Notes")
    places = [lines.index(section) for section in sections]
    assert places == sorted(places)
    assert all(lines[place + 1] == "-" * len(section) for place, section in zip(places, sections, strict=True))
    for argument in inspect.signature(loss).parameters:
        assert any(line.startswith(f"{argument} : ") for line in lines), argument


# ---------------------------------------------------------------------------------------------------------- environment


@every_dtype
@every_kind
def test_no_floating_point_warning(kind, dtype):
    """Not even where every one of them is an error; losses that underflow included."""
    for length in (1, 2, 17, 300):
        logits = logits_of(kind, dtype, length)
        best, worst = logits.argmax(axis=-1), logits.argmin(axis=-1)
        targets = probabilities(logits.shape, dtype)
        with np.errstate(all="raise"):
            for reduction in ("mean", "sum", "none"):
                for loss in LOSSES:
                    loss(logits, targets, reduction=reduction)
                for loss in LOSSES_OF_LABELS:
                    loss(logits, best, reduction=reduction)
                    loss(logits, worst, reduction=reduction)


@in_turn("reduction", ["mean", "sum", "none"])
@every_dtype
def test_loss_that_overflows_or_vanishes_is_no_warning(dtype, reduction):
    largest = np.finfo(dtype).max
    vanishing = 100 if dtype == np.float32 else 740
    with np.errstate(all="raise"):
        loss, gradient = fastact.softmax_cross_entropy(np.array([largest, -largest]), 1, reduction=reduction)
        assert loss == INF
        assert gradient.tolist() == [1, -1]
        loss, gradient = fastact.softmax_cross_entropy(np.array([vanishing, 0], dtype), 0, reduction=reduction)
        assert loss == gradient[1] == -gradient[0]
        assert 0 < loss < np.finfo(dtype).tiny


@every_loss
def test_float64_targets_that_vanish_in_float32(loss):
    logits = np.array([1, 0, 0], np.float32)
    with np.errstate(all="raise"):
        value, gradient = loss(logits, np.array([1, 1e-60, 1e-42]))
    right, right_gradient = loss(logits, np.array([1, 0, 1e-42], np.float32))
    assert same_bits(value, right)
    assert same_bits(gradient, right_gradient)


# ---------------------------------------------------------------------------------------------- sums, labels, emptiness


@in_turn("dtype", [np.float16, *WIDE])
@every_loss
def test_sums_and_means_are_the_same_for_any_layout(loss, dtype):
    """They are exact sums of the rows' losses, rounded once."""
    x = normal((31, 17, 10), dtype)
    targets = probabilities((31, 17, 10), dtype)
    each, _ = loss(x.astype(float), targets.astype(float), reduction="none")
    rows = math.fsum(each.ravel()), math.fsum(each.ravel()) / each.size
    order = np.random.default_rng(0).permutation(31)
    for k, reduction in enumerate(("sum", "mean")):
        expected, _ = loss(x, targets, reduction=reduction)
        if dtype == np.float64:
            assert abs(float(expected) - rows[k]) <= math.ulp(rows[k])
        for one, other, axis in [
            (np.asfortranarray(x), np.asfortranarray(targets), -1),
            (np.moveaxis(x, -1, 0).copy(), np.moveaxis(targets, -1, 0).copy(), 0),
            (np.moveaxis(x, -1, 1).copy(), np.moveaxis(targets, -1, 1).copy(), 1),
            (x.transpose(1, 0, 2).copy(), targets.transpose(1, 0, 2).copy(), 2),
            (x[order], targets[order], 2),
        ]:
            for count in (1, 2, 3):
                with fastact.threads(count):
                    assert same_bits(loss(one, other, axis, reduction)[0], expected)
        labels = labels_for(x)
        expected, _ = fastact.softmax_cross_entropy(x, labels, reduction=reduction)
        assert same_bits(fastact.softmax_cross_entropy(x[order], labels[order], reduction=reduction)[0], expected)
        assert same_bits(fastact.softmax_cross_entropy(
            np.moveaxis(x, -1, 0).copy(), labels, 0, reduction)[0], expected)


@in_turn("dtype", WIDE)
def test_means_are_right_where_the_sum_is_beyond_the_range(dtype):
    large = np.finfo(dtype).max
    x = np.array([[0, -large]] * 3, dtype)
    for labels in ([1, 1, 1], one_hot([1, 1, 1], 2, dtype)):
        assert fastact.softmax_cross_entropy(x, labels)[0] == large
        assert fastact.softmax_cross_entropy(x, labels, reduction="sum")[0] == INF


def test_labels_of_no_rows_and_of_no_classes():
    for labels in ([], np.array([]), np.zeros(0, np.int8)):
        loss, gradient = fastact.softmax_cross_entropy(np.zeros((0, 3)), labels)
        assert math.isnan(loss)
        assert gradient.shape == (0, 3)
        loss, _ = fastact.softmax_cross_entropy(np.zeros((0, 3)), labels, reduction="sum")
        assert loss == 0
        assert fastact.softmax_cross_entropy(np.zeros((3, 0)), labels, axis=0, reduction="sum")[0] == 0
    with pytest.raises(IndexError, match="holds labels, but logits has no classes; accepted are no rows, or logits"):
        fastact.softmax_cross_entropy(np.zeros((2, 0)), [0, 0])
    many = 2**40
    with pytest.raises(IndexError, match="logits has no classes"):
        fastact.softmax_cross_entropy(np.zeros((many, 0)), np.broadcast_to(0, (many,)))
    for loss in LOSSES:
        for axis, shape in ((1, (many, 0)), (0, (0, many))):
            value, gradient = loss(np.empty(shape), np.empty(shape), axis, "sum")
            assert value == 0
            assert gradient.shape == shape


@in_turn(
    "wrong", [3, -1, 2**31, 2**62, -(2**63), np.uint64(2**64 - 1), np.uint64(2**63), np.int8(-128)])
def test_labels_that_are_no_class_are_refused(wrong):
    """As the number that they are: none becomes a class by a conversion."""
    with pytest.raises(IndexError, match=rf"labels_or_probabilities holds {wrong}; accepted are 0 to 2$"):
        fastact.softmax_cross_entropy(np.zeros((2, 3)), np.array([0, wrong], getattr(wrong, "dtype", np.int64)))


def test_labels_that_another_thread_changes():
    """They are copied and then checked, so that no gradient is written beside its row."""
    run("""
        import threading
        import numpy as np
        import fastact

        rows, classes = 64, 40_000
        logits = np.random.default_rng(0).standard_normal((rows, classes)).astype(np.float32)
        labels, done = np.zeros(rows, np.int64), False
        expected = {k: fastact.softmax_cross_entropy(logits, np.full(rows, k))[1] for k in (0, 7)}

        def change():
            while not done:
                labels[:] = 2**38
                labels[:] = 7
                labels[:] = -2**38
                labels[:] = 0

        thread = threading.Thread(target=change)
        thread.start()
        results = 0
        try:
            for _ in range(300):
                try:
                    _, gradient = fastact.softmax_cross_entropy(logits, labels)
                except IndexError:
                    continue
                results += 1
                for row, one in enumerate(gradient):
                    assert any((one == gradients[row]).all() for gradients in expected.values())
                if results == 3:
                    break
        finally:
            done = True
            thread.join()
    """)


# ------------------------------------------------------------------------------------------- weights, ignored rows, out

IGNORED = -100


def weighted(logits, targets, reduction, class_weight, sample_weight, ignored):
    """The cross-entropy of rows along the last axis and its gradient, in float64, from the definition."""
    x = logits.astype(np.float64)
    w = np.ones(x.shape[-1]) if class_weight is None else np.asarray(class_weight, np.float64)
    s = np.ones(x.shape[:-1]) if sample_weight is None else np.broadcast_to(sample_weight, x.shape[:-1])
    left_out = np.zeros(x.shape[:-1], bool)
    if targets.ndim < x.ndim:
        left_out = targets == ignored
        targets = np.where(left_out[..., None], 0, one_hot(targets, x.shape[-1]))
        divisor = (targets * w).sum() if class_weight is not None else (~left_out).sum()
    else:
        divisor = math.prod(x.shape[:-1])
    y, x = targets * w, np.where(left_out[..., None], 0, x)
    p, log_p = (reference.evaluate(name, "value", x) for name in ("softmax", "log_softmax"))
    losses = s * -(y * log_p).sum(-1)
    gradient = s[..., None] * (p * y.sum(-1, keepdims=True) - y)
    if reduction == "none":
        return losses, gradient
    factor = 1 if reduction == "sum" else 1 / divisor
    return losses.sum() * factor, gradient * factor


OPTIONS = list(itertools.product((False, True), repeat=3))


@every_dtype
@in_turn("shape, axis", [((7, 5), -1), ((4, 6, 3), 1), ((300, 10), 1), ((10, 300), 0), ((2, 9001), -1)])
def test_weights_and_ignored_rows(shape, axis, dtype):
    random = np.random.default_rng(shape[0])
    logits = (random.standard_normal(shape) * 4).astype(dtype)
    rows = np.moveaxis(logits, axis, -1)
    of_rows, classes = rows.shape[:-1], rows.shape[-1]
    labels = random.integers(classes, size=of_rows)
    labels.reshape(-1)[::3] = IGNORED
    of_probabilities = probabilities(rows.shape, dtype)
    for (by_class, by_row, some), reduction in itertools.product(OPTIONS, ("mean", "sum", "none")):
        class_weight = random.random(classes) + 0.1 if by_class else None
        sample_weight = random.standard_normal(of_rows[-1]) if by_row else None
        ignored = IGNORED if some else None
        for targets in (labels if some else abs(labels) % classes), *([] if some else [of_probabilities]):
            given = np.moveaxis(targets, -1, axis) if targets.ndim == logits.ndim else targets
            loss, gradient = fastact.softmax_cross_entropy(
                logits, given, axis, reduction, class_weight=class_weight, sample_weight=sample_weight,
                ignore_index=ignored)
            right, right_gradient = weighted(rows, targets, reduction, class_weight, sample_weight, ignored)
            rtol, terms = 30 * np.finfo(dtype).eps, np.finfo(dtype).eps * 30 * abs(right_gradient).max()
            np.testing.assert_allclose(loss, right, rtol=rtol, atol=rtol * np.abs(right).max())
            np.testing.assert_allclose(np.moveaxis(gradient, axis, -1), right_gradient, rtol=rtol, atol=terms)
            assert gradient.dtype == np.asarray(loss).dtype == dtype


def test_weights_of_the_documentation_of_other_libraries():
    logits, p = np.array([[1.0, 2, 3], [0, 0, 0]]), np.array([[0.2, 0.3, 0.5], [1, 0, 0]])
    for targets, weights, right in (([2, 1], [0, 1, 2], 0.6379414), (p, None, 1.1031091), (p, [1, 2, 3], 1.5180531)):
        assert fastact.softmax_cross_entropy(logits, targets, class_weight=weights)[0] == pytest.approx(right, abs=1e-7)


@in_turn("dtype, of_probabilities", itertools.product(DTYPES, DTYPES))
def test_class_weights_of_probabilities_are_not_rounded_to_their_dtype(dtype, of_probabilities):
    logits, p = normal((8, 50), np.float64).astype(dtype), probabilities((8, 50)).astype(of_probabilities)
    weights = np.random.default_rng(1).random(50) + 1 / 3
    loss, _ = fastact.softmax_cross_entropy(logits, p, class_weight=weights, reduction="none")
    right, _ = weighted(logits, p.astype(np.float64), "none", weights, None, None)
    np.testing.assert_allclose(loss, right, rtol=1e-12 if dtype == np.float64 else 2e-6)


def test_what_takes_no_part_may_hold_anything():
    logits = np.array([[1.0, 2, 3], [NAN, INF, -INF], [0, 0, 1], [INF, 0, 0]])
    good, labels = logits[[0, 2]], np.array([2, IGNORED, 1, IGNORED])
    expected, right = fastact.softmax_cross_entropy(good, [2, 1], reduction="none")
    for keywords, given in (({"ignore_index": IGNORED}, labels), ({"sample_weight": [1, 0, 1, 0]}, [2, 0, 1, 0]),
                            ({"ignore_index": 0}, [2, 0, 1, 0]), ({"class_weight": [0, 1, 1]}, [2, 0, 1, 0])):
        loss, gradient = fastact.softmax_cross_entropy(logits, given, reduction="none", **keywords)
        assert loss.tolist() == [expected[0], 0, expected[1], 0]
        assert gradient.tolist() == [right[0].tolist(), [0, 0, 0], right[1].tolist(), [0, 0, 0]]
        assert not np.signbit(gradient[1]).any()
    for keywords in {"ignore_index": 1}, {"class_weight": [1, 0, 1]}:
        loss, gradient = fastact.softmax_cross_entropy(good, [1, 1], **keywords)
        assert np.isnan(loss)
        assert gradient.tolist() == [[0] * 3] * 2
        assert fastact.softmax_cross_entropy(good, [1, 1], reduction="sum", **keywords)[0] == 0
    losses, _ = fastact.softmax_cross_entropy(np.empty((2, 0)), [5, 5], reduction="none", ignore_index=5)
    assert losses.tolist() == [0, 0]


@in_turn("dtype", DTYPES)
def test_losses_of_16_bits_are_float32(dtype):
    logits = normal((64, 1000), np.float64).astype(dtype)
    wider = np.float64 if dtype == np.float64 else np.float32
    for loss, targets in ((fastact.softmax_cross_entropy, labels_for(logits)),
                          (fastact.softmax_cross_entropy, probabilities(logits.shape, wider)),
                          (fastact.softmax_mse, probabilities(logits.shape, wider))):
        for reduction in ("mean", "sum", "none"):
            found, gradient = loss(logits, targets, reduction=reduction)
            right, _ = loss(logits.astype(wider), targets, reduction=reduction)
            assert found.dtype == wider
            assert gradient.dtype == dtype
            np.testing.assert_allclose(found, right, rtol=1e-6)


def test_labels_with_one_entry_along_the_axis():
    logits = normal((4, 5, 6))
    for axis in (0, 1, -1):
        labels = np.random.default_rng(1).integers(logits.shape[axis], size=np.delete(logits.shape, axis))
        expected = fastact.softmax_cross_entropy(logits, labels, axis)
        found = fastact.softmax_cross_entropy(logits, np.expand_dims(labels, axis), axis)
        assert found[0] == expected[0]
        assert same_bits(found[1], expected[1])
    with pytest.raises(ValueError, match=r"has the shape \(4, 5, 1\); accepted is \(4, 5, 6\), or \(4, 5\) for labels"):
        fastact.softmax_cross_entropy(logits, np.ones((4, 5, 1)))
    one = np.ones((3, 1))
    assert fastact.softmax_cross_entropy(one, np.zeros((3, 1), int), reduction="none")[0].tolist() == [0, 0, 0]


@every_dtype
def test_the_gradient_is_written_where_it_is_wanted(dtype):
    logits = normal((40, 300), dtype)
    labels = labels_for(logits)
    loss, gradient = fastact.softmax_cross_entropy(logits, labels)
    spread = np.zeros((40, 600), dtype)
    for out in (np.empty_like(logits), np.asfortranarray(logits), spread[:, ::2], logits.astype(np.float64), logits):
        found, written = fastact.softmax_cross_entropy(logits, labels, out=out)
        assert written is out
        assert found == loss
        assert same_bits(out.astype(dtype), gradient)


@in_turn("keywords, error, text", [
    ({"class_weight": [1, 2]}, ValueError, r"class_weight has the shape \(2,\); accepted is what broadcasts to \(3,\)"),
    ({"sample_weight": np.ones((2, 3))}, ValueError, r"sample_weight has the shape \(2, 3\); accepted is .* \(2,\)"),
    ({"class_weight": ["a"] * 3}, TypeError, r"class_weight has the dtype"),
    ({"ignore_index": 1.5}, TypeError, r"ignore_index must be an integer, got 1.5"),
    ({"ignore_index": True}, TypeError, r"ignore_index must be an integer, got True"),
    ({"ignore_index": 7}, IndexError, r"holds -5; accepted are 0 to 2"),
    ({"out": np.empty((2, 2))}, ValueError, r"out has the shape \(2, 2\); accepted is \(2, 3\)"),
    ({"out": np.empty((2, 3), int)}, TypeError, r"out has the dtype int64"),
    ({"out": [[0.0] * 3] * 2}, TypeError, r"out must be an ndarray"),
])
def test_bad_weights(keywords, error, text):
    out, labels = np.zeros((2, 3)), [2, -5] if error is IndexError else [2, 1]
    with pytest.raises(error, match=f"^fastact.softmax_cross_entropy: .*{text}"):
        fastact.softmax_cross_entropy(np.ones((2, 3)), labels, **{"out": out, **keywords})
    assert not out.any()


def test_probabilities_have_no_index_to_ignore():
    with pytest.raises(ValueError, match=r"ignore_index is 1; accepted is None for probabilities"):
        fastact.softmax_cross_entropy(np.ones((2, 3)), np.ones((2, 3)), ignore_index=1)
