"""fastact.torch against PyTorch: values, gradients at kinks and elsewhere, transforms, layouts, refusals."""

import functools
import subprocess
import sys

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from operators import OPERATORS, arguments_of  # noqa: E402

import fastact  # noqa: E402
import fastact.torch as ft  # noqa: E402

pytestmark = [  # PyTorch's own, in forward mode and in Dynamo
    pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")]
F = torch.nn.functional
DTYPES = [torch.float16, torch.bfloat16, torch.float32, torch.float64]
PEERS = {
    "relu": (F.relu, [0]), "relu6": (F.relu6, [0, 6]), "leaky_relu": (F.leaky_relu, [0]),
    "threshold": (lambda x: F.threshold(x, 1.0, 0.0), [1]), "hard_tanh": (F.hardtanh, [-1, 1]),
    "hard_shrink": (F.hardshrink, [-0.5, 0.5]), "soft_shrink": (F.softshrink, [-0.5, 0.5]),
    "hard_sigmoid": (F.hardsigmoid, [-3, 3]), "hard_swish": (F.hardswish, [-3, 3]), "elu": (F.elu, [0]),
    "selu": (F.selu, [0]), "celu": (F.celu, [0]), "softsign": (F.softsign, [0]), "gelu": (F.gelu, [0]),
    "gelu_tanh": (lambda x: F.gelu(x, approximate="tanh"), [0]), "silu": (F.silu, [0]), "mish": (F.mish, [0]),
    "softplus": (F.softplus, [0]), "sigmoid": (torch.sigmoid, [0]), "tanh": (torch.tanh, [0]),
    "log_sigmoid": (F.logsigmoid, [0]), "tanh_shrink": (F.tanhshrink, [0]), "exp": (torch.exp, [0]),
    "erf": (torch.erf, [0]), "gelu_clipped": (lambda x: torch.clip(F.gelu(x), -10, 10), [10]),
    "softmax": (lambda x: F.softmax(x, -1), []), "softmin": (lambda x: F.softmin(x, -1), []),
    "log_softmax": (lambda x: F.log_softmax(x, -1), []), "logsumexp": (lambda x: torch.logsumexp(x, -1), []),
    "glu": (lambda x: F.glu(x, -1), []), "prelu": (lambda x: F.prelu(x, x.new_tensor([0.25])), [0]),
    "reglu": (lambda x: F.relu(x[..., : x.shape[-1] // 2]) * x[..., x.shape[-1] // 2 :], [0]),
}


def gradient(f, x):
    x = x.clone().requires_grad_()
    y = f(x)
    return y.detach(), torch.autograd.grad((y * torch.arange(1, y.numel() + 1, dtype=y.dtype).view_as(y)).sum(), x)[0]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", PEERS)
def test_value_and_gradient_are_those_of_pytorch(name, dtype):
    peer, kinks = PEERS[name]
    points = [one for kink in kinks for one in (kink, np.nextafter(kink, -99), np.nextafter(kink, 99))]
    x = torch.tensor([*points, -0.0, *np.linspace(-7, 7, 31)], dtype=dtype)
    x = x[: x.numel() // 2 * 2]
    for mine, right in zip(gradient(getattr(ft, name), x), gradient(peer, x), strict=True):
        torch.testing.assert_close(mine, right, rtol=2e-5 if dtype == torch.float32 else 1e-11, atol=3e-5)


@pytest.mark.parametrize("name", fastact.activations)
def test_gradcheck_and_second_derivatives(name):
    x = torch.tensor([[0.21, 0.37, 0.83, 0.58], [0.11, 0.63, 0.72, 0.93]], dtype=torch.float64, requires_grad=True)
    f = getattr(ft, name)
    if name != "hardmax":
        assert torch.autograd.gradcheck(f, (x,), check_forward_ad=True)
    smooth = name not in (*ft._operations.PIECEWISE, "reglu")
    (slopes,) = torch.autograd.grad(f(x).sum(), x, create_graph=True)
    if smooth:
        with pytest.raises(NotImplementedError, match=f"fastact.torch.{name}: it has no second derivative"):
            torch.autograd.grad(slopes.sum(), x)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", fastact.activations)
def test_the_bits_are_those_of_fastact(name, dtype):
    x = torch.linspace(0.1, 0.9, 24, dtype=torch.float64).reshape(4, 6).to(dtype)
    array = ft._exchange.view(x)
    y = getattr(ft, name)(x)
    assert y.dtype == dtype
    assert ft._exchange.view(y).tobytes() == np.asarray(fastact.activations[name](array)).tobytes()


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_gradient_of_elu_and_selu_at_zero(dtype):
    """Of elu, of a number for alpha, and of tensors of one and of several."""
    x = torch.tensor([[-0.0, 0.0, 1e-3], [-1e-3, 2.0, -torch.inf]], dtype=dtype)
    alphas = 0.5, torch.tensor(0.5, dtype=dtype), torch.full((3,), 0.5, dtype=dtype)
    pairs = [(ft.selu, F.selu), (ft.elu, F.elu),
             *((functools.partial(ft.elu, alpha=alpha), lambda v: F.elu(v, 0.5)) for alpha in alphas)]
    for mine, right in pairs:
        assert torch.equal(gradient(mine, x)[1] != 0, gradient(right, x)[1] != 0)
        torch.testing.assert_close(gradient(mine, x)[1], gradient(right, x)[1])


@pytest.mark.parametrize("name", ["selu", "elu", "logit", "gelu_clipped"])
def test_the_layout_of_a_gradient_that_is_pytorchs(name):
    x = torch.rand(2, 3, 4, 5).to(memory_format=torch.channels_last)
    numbers = [0.25 for _ in fastact.activations[name].parameters]
    dx = ft._operations.VALUES[name].backward.value(torch.ones(2, 3, 4, 5), x, *numbers)
    assert dx.stride() == x.stride()


def test_layouts_and_negative_bits():
    x = torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last)
    assert ft.silu(x).stride() == x.stride()
    torch.testing.assert_close(ft.silu(x), F.silu(x))
    torch.testing.assert_close(ft.silu(x[..., ::2]), F.silu(x[..., ::2]))
    negative = torch.tensor([1 + 2j, 3 - 4j]).conj().imag
    assert negative.is_neg()
    torch.testing.assert_close(ft.silu(negative), F.silu(negative))


def test_refusals():
    with pytest.raises(TypeError, match=r"x has the dtype torch.int64; accepted are torch.float16"):
        ft.gelu(torch.ones(3, dtype=torch.int64))
    with pytest.raises(TypeError, match="x is a list"):
        ft.gelu([1.0])
    with pytest.raises(IndexError, match="dim is 2; accepted are -2 to 1"):
        ft.softmax(torch.ones(2, 2), dim=2)


def test_transforms():
    x = torch.randn(3, 4, dtype=torch.float64)
    torch.testing.assert_close(torch.func.vmap(torch.func.grad(lambda v: ft.gelu(v).sum()))(x),
                               torch.func.vmap(torch.func.grad(lambda v: F.gelu(v).sum()))(x))
    mine, right = (torch.func.jvp(f, (x,), (x,))[1] for f in (ft.log_softmax, lambda v: F.log_softmax(v, -1)))
    torch.testing.assert_close(mine, right)


MASKED_ROWS = {name: one.masks for name, one in ft._operations.MASKED.items()}


def masks_and_what_takes_part(names, queries, keys):
    """Arguments of masks, and the mask of bool that says the same; a bias besides."""
    where = torch.arange(queries * keys).reshape(queries, keys) % 5 != 3
    row, column = torch.arange(queries)[:, None], torch.arange(keys)
    lengths = torch.tensor([keys, 3, 2, keys - 1, 1])[:queries]
    middle = row + 1
    cases = [({"where": where}, where), ({"lengths": lengths}, column < lengths[:, None]),
             ({"causal": True}, column <= row + keys - queries), ({"lengths": 3}, (column < 3).expand(queries, keys)),
             ({"window": (2, None), "offset": 1, "where": where}, where & (column >= middle - 2)),
             ({"window": 1, "offset": torch.tensor(1)}, (column >= middle - 1) & (column <= middle + 1))]
    for given, right in cases:
        yield given, right
        if "bias" in names:
            yield given | {"bias": torch.linspace(-1, 1, keys, dtype=torch.float64)}, right


@pytest.mark.parametrize("name", MASKED_ROWS)
def test_masked_rows(name):
    """Values and gradients are those of fastact, and of rows of PyTorch whose other entries are -inf."""
    x = torch.randn(4, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    f, of_arrays = getattr(ft, name), fastact.activations[name]
    peer = {"softmax": lambda v: F.softmax(v, -1), "log_softmax": lambda v: F.log_softmax(v, -1),
            "logsumexp": lambda v: torch.logsumexp(v, -1), "softmin": lambda v: F.softmax(v, -1)}.get(name)
    for given, takes_part in masks_and_what_takes_part(MASKED_ROWS[name], *x.shape):
        arrays = {one: value.numpy() if isinstance(value, torch.Tensor) else value for one, value in given.items()}
        y = f(torch.where(takes_part, x, torch.nan), **given)
        assert np.array_equal(y.numpy(), np.asarray(of_arrays(x.numpy(), **arrays)), equal_nan=True)
        if peer is None:
            continue
        leaves = [x.clone().requires_grad_(), *[given[one].clone().requires_grad_() for one in given if one == "bias"]]
        named = given | ({"bias": leaves[1]} if len(leaves) > 1 else {})
        mine = f(leaves[0], scale=0.5, temperature=2.0, **named)
        others = [one.detach().clone().requires_grad_() for one in leaves]
        logits = others[0] / (-4 if name == "softmin" else 4) + (others[1] if len(others) > 1 else 0)
        right = peer(logits.masked_fill(~takes_part, -torch.inf))
        torch.testing.assert_close(mine, right)
        dy = torch.linspace(-1, 2, mine.numel(), dtype=torch.float64).view_as(mine)
        finite = dy if name != "log_softmax" else dy.masked_fill(~takes_part, 0)
        for ours, theirs in zip(torch.autograd.grad(mine, leaves, dy), torch.autograd.grad(right, others, finite),
                                strict=True):
            torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("name", MASKED_ROWS)
def test_gradcheck_of_masked_rows(name):
    if name == "hardmax":
        return  # its derivative is 0
    x = torch.tensor([[0.21, 0.37, 0.83, 0.58], [0.11, 0.63, 0.72, 0.93]], dtype=torch.float64, requires_grad=True)
    where, f = torch.tensor([True, True, False, True]), getattr(ft, name)
    inputs = [x]
    if "bias" in MASKED_ROWS[name]:
        inputs.append(torch.tensor([0.1, -0.2, 0.3, 0.2], dtype=torch.float64, requires_grad=True))

    def masked(v, bias=None):
        y = f(v, where=where, scale=2.0, **({} if bias is None else {"bias": bias}))
        return torch.where(y == -torch.inf, 0, y)
    assert torch.autograd.gradcheck(masked, inputs, check_forward_ad=True)
    (slopes,) = torch.autograd.grad(f(x, where=where).sum(), x, create_graph=True)
    with pytest.raises(NotImplementedError, match=f"fastact.torch.{name}: it has no second derivative"):
        torch.autograd.grad(slopes.sum(), x)


def test_masks_under_transforms():
    x, where = torch.randn(3, 4, 5), torch.rand(3, 4, 5) < 0.7
    f = functools.partial(ft.softmax, scale=0.5)
    slopes = torch.func.vmap(torch.func.grad(lambda v, w: f(v, where=w).square().sum()))
    whole = x.clone().requires_grad_()
    (right,) = torch.autograd.grad(f(whole, where=where).square().sum(), whole)
    torch.testing.assert_close(slopes(x, where), right)
    for given, dims in (({"where": where}, (0, 0)), ({"where": where[0]}, (0, None))):
        mine = torch.func.vmap(lambda v, w: f(v, where=w), in_dims=dims)(x, given["where"])
        torch.testing.assert_close(mine, f(x, **given))
    torch.testing.assert_close(torch.func.vmap(lambda v: f(v, causal=True))(x), f(x, causal=True))
    torch._dynamo.reset()
    compiled = torch.compile(lambda v, w: f(v, where=w, window=(1, None)), fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(x, where), f(x, where=where, window=(1, None)))


@pytest.mark.parametrize("half", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("name", [name for name, masks in MASKED_ROWS.items() if "bias" in masks])
def test_the_gradient_of_a_float32_bias_is_not_rounded_to_16_bits(name, half):
    """Only the row that is kept has 16 bits: the gradient is that of float64 on the same numbers."""
    operation = ft._operations.MASKED[name]
    generator = torch.Generator().manual_seed(2)
    x = torch.randn(300, 5, generator=generator).to(half)
    bias = torch.randn(5, generator=generator).requires_grad_()
    y = getattr(ft, name)(x, bias=bias)
    dy = torch.rand(y.shape, generator=generator).to(y.dtype)
    (mine,) = torch.autograd.grad(y, bias, dy)
    kept = (y if operation.f.keeps == "output" else x).detach().double()
    named = [] if name != "logsumexp" else [False]
    others = [*fastact.activations[name].parameters.values(),
              *({"causal": False, "bias": bias.detach().double()}.get(one) for one in MASKED_ROWS[name])]
    right = operation.backward.value(dy.double(), kept, [-1], *named, *others).sum(0)
    if name == "softmax":
        torch.testing.assert_close((kept * (dy.double() - (kept * dy.double()).sum(-1, keepdim=True))).sum(0), right)
    if name == "logsumexp":
        leaf = bias.detach().double().requires_grad_()
        of_peer = torch.autograd.grad(torch.logsumexp(x.double() + leaf, -1), leaf, dy.double())[0]
        torch.testing.assert_close(right, of_peer)
    torch.testing.assert_close(mine, right.float(), rtol=2e-6, atol=2e-5)


def test_the_gradient_of_a_float32_parameter_is_not_rounded_to_16_bits():
    x = torch.randn(4, 50, generator=torch.Generator().manual_seed(3)).bfloat16()
    slope = torch.tensor(0.25, requires_grad=True)
    (mine,) = torch.autograd.grad(ft.prelu(x, slope).sum(), slope)
    leaf = slope.detach().double().requires_grad_()
    (right,) = torch.autograd.grad(F.prelu(x.double(), leaf.reshape(1)).sum(), leaf)
    torch.testing.assert_close(mine, right.float(), rtol=1e-6, atol=1e-6)


def test_refusals_of_masks():
    x = torch.ones(2, 3)
    for given, message in (({"where": [True]}, "softmax: where is a list; accepted are tensors"),
                           ({"causal": 1}, "softmax: causal must be True or False, got 1"),
                           ({"where": torch.ones(3)}, "where has the dtype float32; accepted is bool"),
                           ({"window": 1.5}, "window must be an integer"),
                           ({"sink": torch.ones(2)}, "softmax: unknown argument sink; accepted are x, dim, scale")):
        with pytest.raises(TypeError, match=message):
            ft.softmax(x, **given)
    with pytest.raises(TypeError, match="softmin: unknown argument bias"):
        ft.softmin(x, bias=x)
    with pytest.raises(ValueError, match=r"where has the shape \(2,\); accepted is what broadcasts to \(2, 3\)"):
        ft.softmax(x, where=torch.tensor([True, False]))


def test_cross_entropy():
    x, labels = torch.randn(5, 7, dtype=torch.float64), torch.tensor([0, 6, 3, 2, 2])
    for mine, right in zip(gradient(lambda v: ft.softmax_cross_entropy(v, labels, label_smoothing=0.1), x),
                           gradient(lambda v: F.cross_entropy(v, labels, label_smoothing=0.1), x), strict=True):
        torch.testing.assert_close(mine, right)


@pytest.mark.parametrize("name", ["gelu", "silu_backward", "softmax", "logsumexp_backward", "glu_packed",
                                  "softmax_masked", "logsumexp_masked_backward", "softmax_cross_entropy"])
def test_operators(name):
    torch.library.opcheck(OPERATORS[name].operator, arguments_of(OPERATORS[name]))


@pytest.mark.parametrize("name", ["gelu", "silu", "softmax", "glu"])
def test_compiled_whole(name):
    x = torch.randn(3, 4)
    compiled = torch.compile(getattr(ft, name), fullgraph=True, backend="aot_eager")
    for mine, right in zip(gradient(compiled, x), gradient(getattr(ft, name), x), strict=True):
        torch.testing.assert_close(mine, right)


def tangent_of(f, x, t):
    with torch.autograd.forward_ad.dual_level():
        dual = torch.autograd.forward_ad.make_dual(x, t)
        return torch.autograd.forward_ad.unpack_dual(f(dual)).tangent


JVP = {"torch.func": lambda f, x, t: torch.func.jvp(f, (x,), (t,))[1], "dual level": tangent_of}


@pytest.mark.parametrize("jvp", JVP.values(), ids=JVP)
@pytest.mark.parametrize("name", ["gelu", "softmax", "softmax_cross_entropy"])
def test_forward_mode_of_an_operator_is_refused(name, jvp):
    """A tangent that is lost would be a derivative of zero."""
    operation = ft._operations.VALUES[name]
    x, t = torch.rand(3, 4, dtype=torch.float64), torch.rand(3, 4, dtype=torch.float64)
    if name == "softmax_cross_entropy":
        others = [torch.tensor([1, 2, 0]), *[one.default for one in list(operation.options.values())[2:]]]
        others = [-1 if kind.endswith(" dim") else one for kind, one in zip(operation.schema[1:], others, strict=True)]
    else:
        others = {"gelu": [], "softmax": [[-1], 1.0, 1.0]}[name]

    def f(v):
        result = operation.operator(v, *others)
        return result if operation.results == 1 else result[0]
    with pytest.raises(NotImplementedError, match=f"fastact.torch.{name}: its operator.*has no forward-mode"):
        jvp(f, x, t)
    with pytest.raises(NotImplementedError, match=f"fastact.torch.{name}: its operator.*no derivatives of torch.func"):
        torch.func.grad(lambda v: f(v).sum())(x)
    leaf = x.clone().requires_grad_()
    (slopes,) = torch.autograd.grad(f(leaf).sum(), leaf, create_graph=True)
    with pytest.raises((NotImplementedError, RuntimeError), match=r"no second derivative|does not require grad"):
        torch.autograd.grad(slopes.sum(), leaf)


@pytest.mark.parametrize("way", ["inside", "around"])
@pytest.mark.parametrize("jvp", JVP.values(), ids=JVP)
def test_forward_mode_and_compile(jvp, way):
    """Right by a graph break, refused where none is allowed."""
    x, t, f = torch.randn(3, 4), torch.randn(3, 4), ft.softmax
    right = jvp(f, x, t)
    for fullgraph in (False, True):
        torch._dynamo.reset()
        compiled = functools.partial(torch.compile, backend="eager", fullgraph=fullgraph)
        g = compiled(lambda x, t: jvp(f, x, t)) if way == "inside" else lambda x, t, c=compiled: jvp(c(f), x, t)
        if fullgraph:
            with pytest.raises(torch._dynamo.exc.Unsupported):
                g(x, t)
        else:
            torch.testing.assert_close(g(x, t), right)


def test_grad_and_vmap_of_torch_func_inside_compile():
    x = torch.randn(3, 4)
    torch._dynamo.reset()
    compiled = torch.compile(torch.func.vmap(ft.gelu), backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(x), ft.gelu(x))
    slopes = torch.func.grad(lambda v: ft.gelu(v).sum())
    with pytest.raises(torch._dynamo.exc.Unsupported, match=r"no derivatives of torch\.func"):
        torch.compile(slopes, backend="aot_eager", fullgraph=True)(x)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["gelu", "softmax", "logsumexp", "swiglu", "relu"])
def test_autocast_does_not_change_the_dtype(name, dtype):
    """The dtype is that of the argument, of any activation, as PyTorch's own gelu has it."""
    x = torch.randn(3, 4, dtype=dtype)
    right = getattr(ft, name)(x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        for leaf in (x, x.clone().requires_grad_()):
            y = getattr(ft, name)(leaf)
            assert y.dtype == dtype
            assert torch.equal(y, right)


def test_bfloat16_needs_ml_dtypes():
    """Where it is missing, each way to a kernel says what to install; other dtypes are not touched."""
    code = """
import sys
sys.modules["ml_dtypes"] = None
import torch, fastact.torch as ft
x = torch.ones(2, 4, dtype=torch.bfloat16)
calls = {"gelu": lambda: ft.gelu(x), "gelu with a gradient": lambda: ft.gelu(x.clone().requires_grad_()),
         "softmax": lambda: ft.softmax(x, 0), "swiglu": lambda: ft.swiglu(x), "logsumexp": lambda: ft.logsumexp(x),
         "loss": lambda: ft.softmax_cross_entropy(x, torch.tensor([0, 1])),
         "operator": lambda: torch.ops.fastact.gelu(x),
         "module": lambda: ft.nn.GELU()(x), "transposed": lambda: ft.gelu(x.T[::2])}
for name, call in calls.items():
    try:
        call()
    except TypeError as error:
        assert "bfloat16" in str(error) and "pip install ml_dtypes" in str(error), (name, error)
    else:
        raise AssertionError(name)
assert ft.gelu(x.float()).dtype == torch.float32 and ft.gelu(x.half()).dtype == torch.float16
print("refused")
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert result.stdout == "refused\n", result.stderr


LEARNT = [(name, parameter) for name, f in fastact.activations.items() for parameter in getattr(f, "learnt", ())]


@pytest.mark.parametrize("name, parameter", LEARNT)
def test_gradients_in_a_parameter(name, parameter):
    x = torch.tensor([[-1.3, 0.37, 0.83], [2.11, -0.63, 0.72]], dtype=torch.float64, requires_grad=True)
    f, default = getattr(ft, name), fastact.activations[name].parameters[parameter]
    value = torch.tensor(default + 0.125, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x, value: f(x, **{parameter: value}), (x, value))
    if isinstance(fastact.activations[name], fastact.elementwise.Elementwise):
        each = torch.tensor(default + np.array([0.125, 0.25, 0.375]), requires_grad=True)
        assert torch.autograd.gradcheck(lambda x, value: f(x, **{parameter: value}), (x, each))
        with pytest.raises(ValueError, match=f"{parameter} has the shape"):
            f(x, **{parameter: each[:2]})


@pytest.mark.parametrize("name", fastact.activations)
def test_a_tensor_for_a_number_is_refused(name):
    f = fastact.activations[name]
    for parameter in f.parameters.keys() - set(getattr(f, "learnt", ())):
        with pytest.raises(TypeError, match=f"fastact.torch.{name}: {parameter} is a tensor; accepted is a number"):
            getattr(ft, name)(torch.ones(2, 2), **{parameter: torch.tensor(0.5, requires_grad=True)})


LOSSES = [one.__name__ for one in ft._operations.LOSSES]


def others_of(name, x):
    """The other arguments of a loss that have no default."""
    options = ft._operations.options_of(getattr(fastact, name))
    needed = [one for one in list(options)[1:] if options[one].default is options[one].empty]
    examples = {"labels": torch.arange(x.shape[0]) % x.shape[1],
                "targets": torch.softmax(torch.arange(x.numel(), dtype=x.dtype).view_as(x) / 7, -1)}
    if name.startswith(("sigmoid", "binary")):
        examples["labels"] = (torch.arange(x.numel()).view_as(x) % 2).to(x.dtype)
    return [examples.get(one, examples["targets"]) for one in needed]


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("name", LOSSES)
def test_losses_under_autograd(name, reduction):
    x = torch.tensor(np.random.default_rng(3).normal(size=(3, 5)), requires_grad=True)
    others, f = others_of(name, x), getattr(ft, name)
    if "reduction" not in f.__signature__.parameters:
        pytest.skip("it has no reduction")
    loss = f(x, *others, reduction=reduction)
    assert torch.equal(loss, f(x.detach(), *others, reduction=reduction))
    assert torch.autograd.gradcheck(lambda v: f(v, *others, reduction=reduction), (x,), check_forward_ad=True)
    slopes = torch.autograd.grad(loss.sum(), x, create_graph=True)[0]
    if slopes.requires_grad:
        with pytest.raises((NotImplementedError, RuntimeError), match=r"no second derivative|not require grad"):
            torch.autograd.grad(slopes.sum(), x)


@pytest.mark.parametrize("name", LOSSES)
def test_targets_have_no_gradient(name):
    x = torch.randn(3, 5, dtype=torch.float64)
    others = others_of(name, x)
    if others and others[0].is_floating_point():
        with pytest.raises(TypeError, match=f"fastact.torch.{name}: .* requires a gradient, and there is none"):
            getattr(ft, name)(x, others[0].requires_grad_(), *others[1:])
