"""What the softmax family refuses: each error names the argument, and nothing has been written."""

import inspect

import numpy as np
import pytest
from common import INF, NAN, REDUCTIONS, ROWWISE, in_turn, normal
from row_helpers import SCALED, every_call, every_function, every_rowwise, raises


@in_turn("name", ["scale", "temperature"])
@every_rowwise
def test_bad_factors(f, name):
    x, out = normal((3, 4)), np.full((3, 4), 7.0)
    wrong = [(0, ValueError), (-1.0, ValueError), (NAN, ValueError), (INF, ValueError), (10**400, ValueError),
             ("1", TypeError), (None, TypeError), (np.ones(2), TypeError), (1j, TypeError)]
    for number, error in wrong:
        text = f"{name} " if f in SCALED else f"unknown parameter {name}"
        error = error if f in SCALED else TypeError
        raises(error, f.name, text, lambda number=number: f(x, out=out, **{name: number}))
        raises(error, f"{f.name}.backward", text, lambda number=number: f.backward(x, x, out=out, **{name: number}))
        with pytest.raises(error, match=rf"fastact\.{f.name}: {text}"):
            f.jacobian(x, **{name: number})
    if f in SCALED:
        for scale, temperature in ((1e20, 1e-20), (1, 1e31), (1e200, 1e-200)):
            raises(ValueError, f.name, "scale / temperature is",
                   lambda scale=scale, temperature=temperature: f(x, scale=scale, temperature=temperature, out=out))
    assert (out == 7).all()


BAD_KEYWORDS = [
    ({"axis": 3}, np.exceptions.AxisError, "axis 3 is out of bounds for an array of 2 dimensions"),
    ({"axis": -3}, np.exceptions.AxisError, "axis -3 is out of bounds for an array of 2 dimensions"),
    ({"axis": (0, 2)}, np.exceptions.AxisError, "axis 2 is out of bounds for an array of 2 dimensions"),
    ({"axis": (0, 0)}, ValueError, "axis names a dimension twice: (0, 0)"),
    ({"axis": (1, -1)}, ValueError, "axis names a dimension twice: (1, -1)"),
    ({"axis": True}, TypeError, "axis must be an integer, a tuple of integers or None, got True"),
    ({"axis": (0, False)}, TypeError, "axis must be an integer, a tuple of integers or None, got (0, False)"),
    ({"axis": np.True_}, TypeError, "axis must be an integer, a tuple of integers or None"),
    ({"axis": 1.0}, TypeError, "axis must be an integer, a tuple of integers or None, got 1.0"),
    ({"axis": "1"}, TypeError, "axis must be an integer, a tuple of integers or None, got '1'"),
    ({"axis": [0]}, TypeError, "axis must be an integer, a tuple of integers or None, got [0]"),
]
BAD_MASKS = [
    (np.ones((3, 4), int), TypeError, "where has the dtype int64; accepted is bool"),
    (np.ones((3, 4)), TypeError, "where has the dtype float64; accepted is bool"),
    (np.ones(5, bool), ValueError, "where has the shape (5,); accepted is what broadcasts to (3, 4)"),
    (np.ones((2, 3, 4), bool), ValueError, "where has the shape (2, 3, 4); accepted is what broadcasts to (3, 4)"),
]


@in_turn("keywords, error, text", BAD_KEYWORDS)
@every_function
def test_bad_axes(f, keywords, error, text):
    x = normal((3, 4))
    out = np.full((3,) if f in REDUCTIONS else (3, 4), 7.0)
    raises(error, f.name, text, lambda: f(x, out=out, **keywords))
    raises(error, f.name, text, lambda: f(x, where=np.ones((3, 4), bool), out=out, **keywords))
    gradient = np.full((3, 4), 7.0)
    if f in REDUCTIONS:
        raises(error, f"{f.name}.backward", text, lambda: f.backward(x[:, 0], x, out=gradient, **keywords))
    else:
        raises(error, f"{f.name}.backward", text, lambda: f.backward(x, output=x, out=gradient, **keywords))
    assert (out == 7).all()
    assert (gradient == 7).all()


@in_turn("mask, error, text", BAD_MASKS)
@every_function
def test_bad_masks(f, mask, error, text):
    out = np.full((3,) if f in REDUCTIONS else (3, 4), 7.0)
    raises(error, f.name, text, lambda: f(normal((3, 4)), where=mask, out=out))
    assert (out == 7).all()


@every_function
def test_bad_out(f):
    x = normal((3, 4))
    for label, call in every_call(f, x):
        shape = call(x).shape
        for wrong in ((2, *shape), (*shape, 1), tuple(n + 1 for n in shape), ()):
            out = np.full(wrong, 7.0)
            with pytest.raises(ValueError, match=rf"fastact\.{f.name}.*: out has the shape "):
                call(x, out=out)
            assert (out == 7).all(), label
        out = np.full(shape, 7.0)
        out.flags.writeable = False
        with pytest.raises(ValueError, match=rf"fastact\.{f.name}.*: out is read-only"):
            call(x, out=out)
        assert (out == 7).all(), label
        with pytest.raises(TypeError, match=rf"fastact\.{f.name}.*: out must be an ndarray, got list"):
            call(x, out=out.tolist())


UNSUPPORTED = ("V2", "longdouble", "complex64", "complex128", "O", "U3", "S3", "M8[s]", "m8[s]")


@in_turn("code", UNSUPPORTED)
@every_function
def test_unsupported_dtypes(f, code):
    good, x = normal((2, 3)), np.zeros((2, 3), code)
    text = f"has the dtype {x.dtype}; accepted are float16, bfloat16, float32 and float64"
    out = np.full((2,) if f in REDUCTIONS else (2, 3), 7.0)
    raises(TypeError, f.name, f"x {text}", lambda: f(x, out=out))
    raises(TypeError, f.name, f"x {text}", lambda: f(x, where=True, out=out))
    assert (out == 7).all()
    if f in REDUCTIONS:
        raises(TypeError, f"{f.name}.backward", f"x {text}", lambda: f.backward(good[:, 0], x))
        raises(TypeError, f"{f.name}.backward", f"dy {text}", lambda: f.backward(x[:, 0], good))
    else:
        raises(TypeError, f"{f.name}.backward", f"output {text}", lambda: f.backward(good, output=x))
        raises(TypeError, f"{f.name}.backward", f"dy {text}", lambda: f.backward(x, output=good))
        raises(TypeError, f"{f.name}.jacobian", f"x {text}", lambda: f.jacobian(x))


@every_function
def test_masked_arrays(f):
    x = np.ma.array(normal((2, 3)), mask=[[0, 1, 0], [0, 0, 0]])
    raises(TypeError, f.name, "x is a masked array", lambda: f(x))
    good, one = normal((2, 3)), "x" if f in REDUCTIONS else "output"
    upstream = good[:, 0] if f in REDUCTIONS else good
    raises(TypeError, f"{f.name}.backward", f"{one} is a masked array", lambda: f.backward(upstream, **{one: x}))
    masked = x[:, 0] if f in REDUCTIONS else x
    raises(TypeError, f"{f.name}.backward", "dy is a masked array", lambda: f.backward(masked, **{one: good}))


@every_function
def test_backward_of_shapes_that_differ(f):
    x = normal((3, 4))
    out = np.full((3, 4), 7.0)
    keywords = {"x" if f in REDUCTIONS else "output": x, "out": out}
    accepted = (3,) if f in REDUCTIONS else (3, 4)
    for shape in ((4,), (4, 3), (1, 4), (3, 1), (2, 3, 4), ()):
        text = f"dy has the shape {shape}; accepted is that of the value, {accepted}"
        raises(ValueError, f"{f.name}.backward", text, lambda shape=shape: f.backward(np.zeros(shape), **keywords))
    assert (out == 7).all()


@every_function
def test_unknown_arguments(f):
    calls = [lambda: f(), lambda: f(1.0, beta=1), lambda: f(1.0, -1, 2), lambda: f.backward(),
             lambda: f.backward(1.0, 1.0, beta=1)]
    if f in ROWWISE:
        calls.append(lambda: f(1.0, keepdims=True))
    for call in calls:
        with pytest.raises(TypeError):
            call()


@pytest.mark.parametrize("method", ["backward", "jacobian", "__call__"])
@every_function
def test_wrong_masks_are_refused(f, method):
    if not hasattr(f, method):
        pytest.skip("a reduction has no Jacobian matrix")
    x = np.ones((2, 3))
    dy = [np.ones(2) if f in REDUCTIONS else x] * (method == "backward")
    out = {} if method == "jacobian" else {"out": np.full((2,) if f.name == "logsumexp" and not dy else (2, 3), 7.0)}
    for where, error in ((np.ones((2, 3)), TypeError), (np.ones(2, bool), ValueError)):
        with pytest.raises(error, match=rf"^fastact.{f.name}.*: where has the"):
            getattr(f, method)(*dy, x, where=where, **out)
    for written in out.values():
        assert (written == 7).all()


@every_function
def test_unknown_arguments_are_named(f):
    x = np.ones((2, 3))
    dy = np.ones(2) if f in REDUCTIONS else x
    calls = [(f, (x,)), (f.backward, (dy, x))]
    if hasattr(f, "jacobian"):
        calls.append((f.jacobian, (x,)))
    for call, arguments in calls:
        accepted = ", ".join(inspect.signature(call).parameters)
        for name, hint in (("dim", r"; did you mean axis\?"), ("mask", r"; did you mean where\?"), ("zzz", ";")):
            if hint[-5:-2] in accepted or name != "dim":
                with pytest.raises(TypeError, match=rf"^fastact.{f.name}.*: unknown argument {name}{hint} accepted are "
                                                    rf"{accepted}$"):
                    call(*arguments, **{name: 1})
