"""The options of the softmax cross-entropy, against its definition in float64 and mpmath, and its Hessian."""

import inspect
import itertools
import math
import pickle

import mpmath
import numpy as np
import pytest
from common import DTYPES, HALF, INF, NAN, WIDE, in_turn, normal, same_bits

import fastact
from fastact import reference, softmax_cross_entropy

IGNORED = -100
every_dtype = in_turn("dtype", WIDE)


def one_hot(labels, classes):
    return (np.asarray(labels)[..., np.newaxis] == np.arange(classes)).astype(float)


def defined(logits, targets, options, reduction="none"):
    """The loss of rows along the last axis and its gradient, in float64, from the definition."""
    ignored, weights = options.get("ignore_index"), options.get("class_weight")
    x = logits.astype(np.float64)
    factor = options.get("scale", 1) / options.get("temperature", 1)
    mask = np.broadcast_to(options.get("where", True), x.shape)
    smoothing, z = options.get("label_smoothing", 0), options.get("z_loss", 0)
    w = np.ones(x.shape[-1]) if weights is None else np.asarray(weights, float)
    s = np.broadcast_to(options.get("sample_weight", 1.0), x.shape[:-1])
    taken = np.ones(x.shape[:-1], bool)
    if targets.ndim < x.ndim:
        taken = targets != ignored
        targets = one_hot(np.where(taken, targets, 0), x.shape[-1])
        divisor = (targets * w * taken[..., None]).sum() if weights is not None else taken.sum()
    else:
        divisor = taken.size
    y = ((1 - smoothing) * targets + smoothing * mask / mask.sum(-1, keepdims=True)) * w
    x = np.where(mask, factor * x, -INF)
    lse = reference.evaluate("logsumexp", "value", x)[..., None]
    with np.errstate(invalid="ignore"):
        losses = np.where(y == 0, 0, y * (lse - x)).sum(-1) + z * lse[..., 0] ** 2
    p = reference.evaluate("softmax", "value", x)
    gradient = np.where(mask, factor * (p * y.sum(-1, keepdims=True) - y + 2 * z * lse * p), 0)
    losses, gradient = np.where(taken, s * losses, 0), np.where(taken[..., None], s[..., None] * gradient, 0)
    if reduction == "none":
        return losses, gradient
    return losses.sum() / (divisor if reduction == "mean" else 1), gradient / (divisor if reduction == "mean" else 1)


def cases(shape, dtype):
    """Logits, targets and options in all their combinations."""
    random = np.random.default_rng(shape[-1])
    logits, labels = (random.standard_normal(shape) * 4).astype(dtype), random.integers(shape[-1], size=shape[:-1])
    probabilities = reference.evaluate("softmax", "value", random.standard_normal(shape)).astype(dtype)
    mask = random.random(shape) < 0.7
    np.put_along_axis(mask, labels[..., None], True, -1)
    some = labels.copy()
    some.reshape(-1)[::3] = IGNORED
    choices = {
        "class_weight": random.random(shape[-1]) + 0.1, "sample_weight": random.standard_normal(shape[:-1]),
        "label_smoothing": 0.1, "z_loss": 0.01, "temperature": 2.7, "where": mask, "ignore_index": IGNORED}
    for chosen in itertools.product((False, True), repeat=len(choices)):
        options = {name: value for (name, value), one in zip(choices.items(), chosen, strict=True) if one}
        yield logits, some if "ignore_index" in options else labels, options
        if "ignore_index" not in options:
            yield logits, probabilities * mask if "where" in options else probabilities, options


@every_dtype
@in_turn("shape", [(4, 5), (2, 3, 40), (3, 300)])
def test_all_combinations_of_options(shape, dtype):
    tolerance = 40 * float(np.finfo(dtype).eps)
    step = 1 if shape == (4, 5) else 7
    for k, (logits, targets, options) in enumerate(itertools.islice(cases(shape, dtype), 0, None, step)):
        reduction = ("mean", "sum", "none")[k % 3]
        loss, gradient = softmax_cross_entropy(logits, targets, reduction=reduction, **options)
        right, right_gradient = defined(logits, targets, options, reduction)
        text = f"{sorted(options)}, {reduction}, {targets.ndim} axes"
        terms = abs(defined(logits, targets, options)[0]).sum()
        np.testing.assert_allclose(loss, right, rtol=tolerance, atol=tolerance * terms, err_msg=text)
        np.testing.assert_allclose(gradient, right_gradient, rtol=tolerance,
                                   atol=tolerance * abs(right_gradient).max(), err_msg=text)
        assert gradient.dtype == np.asarray(loss).dtype == dtype
        alone = softmax_cross_entropy(logits, targets, reduction=reduction, gradient=False, **options)
        np.testing.assert_allclose(alone, loss, rtol=2 * np.finfo(dtype).eps, err_msg=text)
        over = logits.copy()
        assert softmax_cross_entropy(over, targets, reduction=reduction, out=over, **options)[1] is over
        assert same_bits(over, gradient), text


@every_dtype
@in_turn("shape", [(40, 3), (70, 19), (9, 300), (2, 9001)])
def test_options_give_the_same_bits_in_any_layout(shape, dtype):
    for logits, targets, options in itertools.islice(cases(shape, dtype), 0, None, 17):
        losses, gradient = softmax_cross_entropy(logits, targets, reduction="none", **options)
        turned = options | ({"where": options["where"].T} if "where" in options else {})
        columns, of_columns = np.ascontiguousarray(logits.T), targets if targets.ndim == 1 else targets.T
        for threads in (1, 3):
            with fastact.threads(threads):
                found, turned_gradient = softmax_cross_entropy(columns, of_columns, 0, "none", **turned)
            assert same_bits(found, losses), sorted(options)
            assert same_bits(turned_gradient.T, gradient), sorted(options)
        spread = np.full((shape[0], 2 * shape[1]), NAN, dtype)
        spread[:, ::2] = logits
        found, found_gradient = softmax_cross_entropy(spread[:, ::2], targets, reduction="none", out=spread[:, 1::2],
                                                      **options)
        assert same_bits(found, losses)
        assert same_bits(found_gradient, gradient)
        one, one_gradient = softmax_cross_entropy(
            logits[1], targets[1], **{name: value[1] if name in ("where", "sample_weight") else value
                                      for name, value in options.items()}, reduction="none")
        assert same_bits(one, losses[1])
        assert same_bits(one_gradient, gradient[1])


def test_examples():
    """Values of PyTorch 2.13, and of its autograd for the z-loss."""
    logits, p = np.array([[1.0, 2, 3], [0, 0, 0]]), np.array([[0.2, 0.3, 0.5], [1, 0, 0]])
    for targets, options, right, gradient in (
        ([2, 0], {}, 0.7531091266, [[0.0450153, 0.1223642, -0.1673795], [-0.3333333, 0.1666667, 0.1666667]]),
        ([2, 0], {"label_smoothing": 0.1}, 0.8031090498,
         [[0.0283486, 0.1056976, -0.1340462], [-0.3, 0.15, 0.15]]),
        ([2, 0], {"label_smoothing": 0.1, "z_loss": 0.01}, 0.8672028,
         [[0.0314165, 0.114037, -0.1113774], [-0.296338, 0.153662, 0.153662]]),
        ([2, 1], {"class_weight": [0, 1, 2]}, 0.6379414, None),
        ([2, 0], {"class_weight": [1, 2, 3], "label_smoothing": 0.1}, 0.6309660, None),
        (p, {}, 1.1031091, None),
        (p, {"class_weight": [1, 2, 3]}, 1.5180531, None),
    ):
        loss, found = softmax_cross_entropy(logits, targets, **options)
        assert loss == pytest.approx(right, abs=1e-7)
        if gradient is not None:
            np.testing.assert_allclose(found, gradient, atol=1e-7)
    losses = softmax_cross_entropy(logits, [2, 0], class_weight=[1, 2, 3], label_smoothing=0.1, reduction="none",
                                   gradient=False)
    np.testing.assert_allclose(losses, [1.3153906, 1.2084736], atol=1e-7)


@in_turn("smoothing, z, factor", [(0.1, 0, 1), (1e-4, 0, 1), (0, 0, 2.0), (0, 1e-4, 1), (0.1, 1e-4, 0.5), (1, 0, 1)])
@in_turn("gap", [10, 20, 30, 60])
def test_sure_rows_keep_their_digits_in_float32(gap, smoothing, z, factor):
    row = np.array([gap, 1.5, 0, -2], np.float32)
    context = mpmath.mp.clone()
    context.dps = 60
    x = [context.mpf(float(one)) * factor for one in row]
    lse = context.log(sum(map(context.exp, x)))
    p = [context.exp(one - lse) for one in x]
    for label in range(4):
        y = [(k == label) * (1 - context.mpf(smoothing)) + context.mpf(smoothing) / 4 for k in range(4)]
        right = sum(a * (lse - b) for a, b in zip(y, x, strict=True)) + context.mpf(z) * lse**2
        terms = [(factor * (a - b + 2 * z * lse * a), factor * (abs(a - (k == label)) + abs(b - (k == label))
                                                                 + 2 * z * lse * a))
                 for k, (a, b) in enumerate(zip(p, y, strict=True))]
        options = {"label_smoothing": smoothing, "z_loss": z, "scale": factor}
        for targets, weights in ((label, None), (label, np.ones(4)), (np.array(y, np.float64), None)):
            if weights is None and np.ndim(targets) and smoothing:
                continue        # they would be smoothed again
            loss, gradient = softmax_cross_entropy(row, targets, class_weight=weights, **options)
            assert loss == pytest.approx(float(right), rel=1e-6)
            for found, (exact, size) in zip(gradient, terms, strict=True):
                assert abs(float(found) - float(exact)) <= 1e-6 * float(size) + 1e-45, (label, options)


@every_dtype
def test_a_class_at_minus_infinity(dtype):
    row = np.array([-INF, 0.0, 0.0], dtype)
    loss, gradient = softmax_cross_entropy(row, 1, label_smoothing=0.3)
    assert loss == INF
    np.testing.assert_allclose(gradient, [-0.1, -0.3, 0.4], rtol=1e-6)
    for options in {"z_loss": 0.5}, {"scale": 2.0}, {"scale": 2.0, "z_loss": 0.5}:
        loss, gradient = softmax_cross_entropy(row, 1, **options)
        right, right_gradient = softmax_cross_entropy(row[1:], 0, **options)
        assert loss == pytest.approx(right, rel=1e-6)
        np.testing.assert_allclose(gradient, [0, *right_gradient], rtol=1e-6)
    mask = np.array([False, True, True])
    loss, gradient = softmax_cross_entropy(np.array([NAN, 0.0, 0.0], dtype), 1, where=mask, label_smoothing=0.3)
    assert loss == pytest.approx(math.log(2), rel=1e-6)
    np.testing.assert_allclose(gradient, [0, -0.35, 0.35], rtol=1e-6)


@every_dtype
def test_what_where_leaves_out(dtype):
    logits, mask = np.array([[1, 2, 3], [4, 5, 6], [1, 1, 1]], dtype), np.array([[1, 1, 0], [0, 0, 0], [0, 1, 1]], bool)
    given = softmax_cross_entropy(logits, [2, 0, 1], where=mask, reduction="none")
    probabilities = softmax_cross_entropy(logits, one_hot([2, 0, 1], 3), where=mask, reduction="none")
    smoothed = softmax_cross_entropy(logits, [2, 0, 1], where=mask, reduction="none", label_smoothing=0.1)
    e = math.exp(1)
    for losses, gradient in (given, probabilities, smoothed):
        assert losses[:2].tolist() == [INF, INF]
        np.testing.assert_allclose(losses[2], math.log(2), rtol=1e-6)
        assert not gradient[1].any()
        assert not gradient[~mask].any()
    for _, gradient in (given, probabilities):
        np.testing.assert_allclose(gradient[[0, 2]], [[1 / (1 + e), e / (1 + e), 0], [0, -0.5, 0.5]], rtol=1e-6)
    losses, gradient = softmax_cross_entropy(logits, [2, IGNORED, 1], where=mask, reduction="none",
                                             ignore_index=IGNORED)
    assert losses[1] == 0
    assert not gradient[1].any()
    nothing = softmax_cross_entropy(np.full((1, 3), -INF, dtype), [0])
    assert np.isnan(nothing[0])
    assert np.isnan(nothing[1]).all()


@in_turn("dtype", DTYPES)
def test_the_dtype_of_the_computation(dtype):
    logits = normal((8, 100)).astype(dtype)
    labels = np.arange(8)
    for wanted in (np.float32, np.float64):
        if wanted == np.float32 and dtype == np.float64:
            continue
        for options in {}, {"label_smoothing": 0.1}, {"z_loss": 0.1, "class_weight": np.ones(100)}:
            loss, gradient = softmax_cross_entropy(logits, labels, dtype=wanted, **options)
            right, right_gradient = softmax_cross_entropy(logits.astype(wanted), labels, **options)
            assert loss == right
            assert same_bits(gradient, right_gradient)
            out = np.empty((8, 100), wanted)
            assert same_bits(softmax_cross_entropy(logits, labels, dtype=wanted, out=out, **options)[1], gradient)
    if dtype in HALF:
        loss, gradient = softmax_cross_entropy(logits, labels, label_smoothing=0.1)
        right, right_gradient = softmax_cross_entropy(logits.astype(np.float32), labels, label_smoothing=0.1)
        assert loss == right
        assert same_bits(gradient, right_gradient.astype(dtype))


@in_turn("options, error, text", [
    ({"label_smoothing": 1.5}, ValueError, "label_smoothing is 1.5; accepted is 0 to 1"),
    ({"label_smoothing": NAN}, ValueError, "label_smoothing is nan; accepted is 0 to 1"),
    ({"label_smoothing": "a"}, TypeError, "label_smoothing must be a number, got 'a'"),
    ({"label_smoothing": True}, TypeError, "label_smoothing must be a number, got True"),
    ({"z_loss": -1}, ValueError, "z_loss is -1; accepted is a finite number from 0 on"),
    ({"z_loss": INF}, ValueError, "z_loss is inf; accepted is a finite number from 0 on"),
    ({"z_loss": [1.0]}, TypeError, r"z_loss must be a number, got \[1.0\]"),
    ({"scale": 0}, ValueError, "scale is 0; accepted is a positive number"),
    ({"scale": 10**400}, ValueError, "scale is 1.*; accepted is a positive number"),
    ({"temperature": -1}, ValueError, "temperature is -1; accepted is a positive number"),
    ({"scale": 1e31}, ValueError, r"scale / temperature is 1e\+31; accepted is 1e-30 to 1e30"),
    ({"where": np.ones(3)}, TypeError, "where has the dtype float64; accepted is bool"),
    ({"where": np.ones(4, bool)}, ValueError, r"where has the shape \(4,\); accepted is what broadcasts to \(2, 3\)"),
    ({"gradient": 1}, TypeError, "gradient must be True or False, got 1"),
    ({"gradient": False}, ValueError, "out takes the gradient; accepted is None with gradient=False"),
    ({"dtype": int}, TypeError, "dtype is int64; accepted is a dtype of floats"),
    ({"dtype": np.longdouble}, TypeError, "dtype has the dtype"),
])
def test_bad_options(options, error, text):
    out = np.zeros((2, 3))
    with pytest.raises(error, match=f"^fastact.softmax_cross_entropy: {text}"):
        softmax_cross_entropy(np.ones((2, 3)), [0, 1], out=out, **options)
    assert not out.any()


# --------------------------------------------------------------------------------------------------- second derivatives


@every_dtype
@in_turn("shape, axis", [((6, 2), -1), ((200, 10), -1), ((10, 200), 0), ((4, 3, 40), 1), ((5, 300), -1), ((3, 0), 1),
                         ((0, 3), 1)])
def test_gradient_and_hessian(shape, axis, dtype):
    logits = normal(shape, dtype)
    rows = np.moveaxis(logits, axis, -1)
    labels = np.random.default_rng(1).integers(max(shape[axis], 1), size=rows.shape[:-1]) if logits.size else np.zeros(
        rows.shape[:-1], int)
    if shape == (3, 0):
        with pytest.raises(IndexError, match="labels holds labels, but logits has no classes"):
            softmax_cross_entropy.gradient_and_hessian(logits, labels, axis=axis)
        return
    p = reference.evaluate("softmax", "value", rows) if logits.size else rows
    weights = np.random.default_rng(2).random(rows.shape[:-1])
    weights.reshape(-1)[::4] = 0
    for s, factor in ((None, 1), (weights, 2.0)):
        gradient, hessian = softmax_cross_entropy.gradient_and_hessian(logits, labels, axis=axis, sample_weight=s,
                                                                       factor=factor)
        each = np.ones(rows.shape[:-1]) if s is None else s
        tolerance = 16 * np.finfo(dtype).eps
        right = factor * each[..., None] * p * (p @ (1 - np.eye(shape[axis])))
        np.testing.assert_allclose(np.moveaxis(hessian, axis, -1), right, rtol=tolerance, atol=1e-30)
        _, one = softmax_cross_entropy(logits, labels, axis, "none", sample_weight=s)
        assert same_bits(gradient, one)
        assert hessian.dtype == dtype
        fortran = np.asfortranarray(logits)
        assert all(map(same_bits, softmax_cross_entropy.gradient_and_hessian(
            fortran, labels, axis=axis, sample_weight=s, factor=factor), (gradient, hessian)))
        for outs in ((None, np.empty_like(logits)), (np.empty_like(logits), None), (logits.copy(), np.empty_like(
                logits)), (np.empty_like(logits, np.float64), np.asfortranarray(logits))):
            found = softmax_cross_entropy.gradient_and_hessian(logits, labels, axis=axis, sample_weight=s,
                                                               factor=factor, out=outs)
            assert all(out is None or out is one for out, one in zip(outs, found, strict=True))
            assert same_bits(found[0].astype(dtype), gradient)
            assert same_bits(found[1], hessian)
        for place in (0, 1):
            over = logits.copy()
            outs = (over, None) if place == 0 else (None, over)
            found = softmax_cross_entropy.gradient_and_hessian(over, labels, axis=axis, sample_weight=s, factor=factor,
                                                               out=outs)
            assert found[place] is over
            assert all(map(same_bits, found, (gradient, hessian)))


def test_the_hessian_of_a_sure_row_keeps_its_digits():
    _, hessian = softmax_cross_entropy.gradient_and_hessian(np.array([[40, 0, 0], [0, 0, 0]], np.float32), [0, 1])
    np.testing.assert_allclose(hessian, [[2 * math.exp(-40), math.exp(-40), math.exp(-40)], [2 / 9] * 3], rtol=1e-6)
    _, hessian = softmax_cross_entropy.gradient_and_hessian(np.eye(1, 300, 7, np.float32) * 40, [7])
    np.testing.assert_allclose(hessian, [np.where(np.arange(300) == 7, 299, 1) * math.exp(-40)], rtol=1e-6)


@in_turn("arguments, options, error, text", [
    (([[1.0, 2]], [0]), {"factor": 0}, ValueError, "factor is 0; accepted is a positive number"),
    (([[1.0, 2]], [2]), {}, IndexError, "labels holds 2; accepted are 0 to 1"),
    (([[1.0, 2]], [0, 1]), {}, ValueError, r"labels has the shape \(2,\); accepted is \(1,\) for labels"),
    (([[1.0, 2]], [0]), {"out": np.zeros((1, 2))}, TypeError, "out must be a tuple of two"),
    (([[1.0, 2]], [0]), {"out": (np.zeros(2), None)}, ValueError, r"out has the shape \(2,\); accepted is \(1, 2\)"),
    (([[1.0, 2]], [0]), {"out": (np.broadcast_to(0.0, (1, 2)), None)}, ValueError, "out is read-only"),
    (([[1.0, 2]], [0]), {"out": (ONE := np.zeros((1, 2)), ONE)}, ValueError, "both arrays of out share memory"),
    ((1.0, 0), {}, np.exceptions.AxisError, "logits has no dimension"),
])
def test_bad_calls_of_the_hessian(arguments, options, error, text):
    with pytest.raises(error, match=text) as caught:
        softmax_cross_entropy.gradient_and_hessian(*arguments, **options)
    assert str(caught.value).startswith("fastact.softmax_cross_entropy.gradient_and_hessian: ")


@in_turn("loss", [softmax_cross_entropy, fastact.sigmoid_cross_entropy])
def test_losses_with_a_hessian_are_described_and_pickle(loss):
    for thing in loss, loss.gradient_and_hessian:
        assert pickle.loads(pickle.dumps(thing)) is thing
        assert "out" in inspect.signature(thing).parameters
        for section in ("Parameters", "Returns", "Raises"):
            assert f"\n{section}\n{'-' * len(section)}\n" in inspect.getdoc(thing)
        for argument in inspect.signature(thing).parameters:
            assert f"\n{argument} : " in inspect.getdoc(thing), argument
    assert repr(loss) == f"<fastact.{loss.__name__}>"
