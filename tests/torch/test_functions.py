"""fastact.torch against PyTorch: values, gradients at kinks and elsewhere, transforms, layouts, refusals."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import fastact  # noqa: E402
import fastact.torch as ft  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")  # PyTorch's own, in forward mode
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


def test_cross_entropy():
    x, labels = torch.randn(5, 7, dtype=torch.float64), torch.tensor([0, 6, 3, 2, 2])
    for mine, right in zip(gradient(lambda v: ft.softmax_cross_entropy(v, labels, label_smoothing=0.1), x),
                           gradient(lambda v: F.cross_entropy(v, labels, label_smoothing=0.1), x), strict=True):
        torch.testing.assert_close(mine, right)


@pytest.mark.parametrize("name", ["gelu", "softmax", "silu", "glu_packed"])
def test_operators(name):
    operation = next(one for one in ft.OPERATIONS if one.name == name)
    x = torch.randn(3, 4, requires_grad=True)
    others = {"softmax": ([-1], 1.0, 1.0), "silu": (torch.tensor(1.0),), "glu_packed": (-1, "halves", "second")}
    torch.library.opcheck(operation.operator, (x, *others.get(name, ())))


@pytest.mark.parametrize("name", ["gelu", "silu", "softmax", "glu"])
def test_compiled_whole(name):
    x = torch.randn(3, 4)
    compiled = torch.compile(getattr(ft, name), fullgraph=True, backend="aot_eager")
    for mine, right in zip(gradient(compiled, x), gradient(getattr(ft, name), x), strict=True):
        torch.testing.assert_close(mine, right)
