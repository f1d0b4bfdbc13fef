"""Calls that go to the kernels directly, and those that must not."""

import copy
import inspect
import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import fastact  # noqa: E402
import fastact.torch as ft  # noqa: E402

if not hasattr(torch.Tensor, "__dlpack_c_exchange_api__"):
    pytest.skip("PyTorch has no table of C functions", allow_module_level=True)

pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")  # PyTorch's own, in forward mode
F = torch.nn.functional
DTYPES = [torch.float16, torch.bfloat16, torch.float32, torch.float64]
DIRECT = {name: one for name, one in ft._operations.VALUES.items()
          if isinstance(getattr(ft, name), ft._exchange.DirectFunction)}
silu, softmax = DIRECT["silu"].direct, DIRECT["softmax"].direct


class Named(torch.Tensor):
    """A subclass that PyTorch keeps."""


class Hidden(torch.Tensor):
    """A subclass without torch functions, as those have that see operators."""

    __torch_function__ = torch._C._disabled_torch_function_impl


def misaligned(count):
    return torch.frombuffer(bytearray(1 + 4 * count), dtype=torch.float32, offset=1, count=count).copy_(
        torch.linspace(-2, 2, count))


OTHERS = {
    "a gradient": lambda: torch.randn(6).requires_grad_(),
    "a gradient of another tensor": lambda: torch.randn(6).requires_grad_() * 2,
    "a parameter": lambda: torch.nn.Parameter(torch.randn(6)),
    "negative bit": lambda: torch._neg_view(torch.randn(6)),
    "conjugate": lambda: torch.randn(6, dtype=torch.complex64).conj().imag,
    "zeros without memory": lambda: torch._efficientzerotensor((6,)),
    "every second entry": lambda: torch.randn(12)[::2],
    "expanded": lambda: torch.randn(1).expand(6),
    "a gap between rows": lambda: torch.randn(3, 4)[:, :2],
    "misaligned": lambda: misaligned(6),
    "subclass": lambda: torch.randn(6).as_subclass(Named),
    "subclass without torch functions": lambda: torch.randn(6).as_subclass(Hidden),
}


@pytest.mark.parametrize("make", OTHERS.values(), ids=OTHERS)
def test_tensors_that_are_not_taken_directly(make):
    x = make()
    assert silu.run(x) is None
    y = ft.silu(x)
    torch.testing.assert_close(y, F.silu(x), rtol=1e-6, atol=1e-6)
    assert y.requires_grad == x.requires_grad


@pytest.mark.parametrize("x", [
    torch.ones(3, device="meta"), torch.ones(3, dtype=torch.int64), torch.ones(3, dtype=torch.complex64),
    torch.ones(3).to(torch.float8_e5m2), torch.ones(3, dtype=torch.bool), torch.ones(3).to_sparse(), [1.0], None, 1.0,
    np.ones(3)], ids=lambda x: f"{getattr(x, 'dtype', x)}")
def test_what_has_no_numbers_of_fastact(x):
    assert silu.run(x) is None
    if isinstance(x, torch.Tensor) and x.device.type == "meta":
        assert ft.silu(x).device.type == "meta"
    else:
        with pytest.raises(TypeError, match=r"fastact\.torch\.silu: x"):
            ft.silu(x)


def test_a_gradient_that_is_not_recorded():
    x = torch.randn(6, requires_grad=True)
    for guard in (torch.no_grad(), torch.inference_mode()):
        with guard:
            for leaf in (x, torch.nn.Parameter(x)):
                y = silu.run(leaf)
                assert type(y) is torch.Tensor
                assert not y.requires_grad
                torch.testing.assert_close(y, F.silu(leaf))
    assert DIRECT["silu"].backward.direct.run(torch.ones(6), x) is None
    assert DIRECT["silu"].backward.direct.run(x, torch.ones(6)) is None


class SeesFunctions(torch.overrides.TorchFunctionMode):
    def __torch_function__(self, function, types, arguments=(), named=None):
        if isinstance(function, torch._ops.OpOverload):
            seen.append(str(function))
        return function(*arguments, **(named or {}))


class SeesOperators(torch.utils._python_dispatch.TorchDispatchMode):
    def __torch_dispatch__(self, function, types, arguments=(), named=None):
        seen.append(str(function))
        return function(*arguments, **(named or {}))


seen = []


@pytest.mark.parametrize("mode", [SeesFunctions, SeesOperators])
@pytest.mark.parametrize("name", ["gelu", "softmax", "prelu"])
def test_modes_see_the_call(name, mode):
    f, x = getattr(ft, name), torch.randn(6)
    right = f(x)
    seen.clear()
    with mode():
        assert DIRECT[name].direct.run(x) is None
        y = f(x)
    assert f"fastact.{name}.default" in seen
    assert torch.equal(y, right)


def test_a_default_device_is_a_mode():
    x = torch.randn(6)
    right = ft.silu(x), ft.prelu(x), ft.softmax(x)
    with torch.device("meta"):
        found = ft.silu(x), ft.prelu(x), ft.softmax(x)
    assert all(map(torch.equal, found, right))


def test_transforms_and_tangents():
    x, t = torch.randn(2, 6)
    def of_direct(v):
        assert silu.run(v) is None
        return ft.silu(v)
    torch.testing.assert_close(torch.func.vmap(of_direct)(x), F.silu(x))
    torch.testing.assert_close(torch.func.jvp(of_direct, (x,), (t,)), torch.func.jvp(F.silu, (x,), (t,)))
    torch.testing.assert_close(torch.func.grad(lambda v: of_direct(v).sum())(x),
                               torch.func.grad(lambda v: F.silu(v).sum())(x))
    with torch.autograd.forward_ad.dual_level():
        of_direct(torch.autograd.forward_ad.make_dual(x, t))
    assert silu.run(x) is not None


def test_a_trace_has_the_call():
    x = torch.randn(6)
    traced = torch.jit.trace(lambda v: ft.silu(v) + 1, x)
    torch.testing.assert_close(traced(2 * x), F.silu(2 * x) + 1)


LAYOUTS = {
    "rows": torch.randn(5, 7), "transposed": torch.randn(5, 7).T, "one number": torch.tensor(0.3),
    "nothing": torch.empty(0), "no rows": torch.empty(0, 3), "no columns": torch.empty(3, 0),
    "channels_last": torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last),
    "channels_last_3d": torch.randn(2, 3, 4, 5, 2).to(memory_format=torch.channels_last_3d),
    "permuted": torch.randn(2, 3, 4).permute(2, 0, 1), "offset": torch.randn(40)[3:],
    "axes of length 1": torch.randn(1, 5, 1).as_strided((1, 5, 1), (77, 1, 99)),
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts(layout, dtype):
    """The layout is that of `torch.empty_like`, and the bits are those of fastact on the numbers in order."""
    x, view = LAYOUTS[layout].to(dtype), ft._exchange.view
    y, peer = silu.run(x), torch.empty_like(x)
    assert (y.shape, y.stride(), y.dtype) == (peer.shape, peer.stride(), dtype)
    assert torch.equal(y, ft.silu(x))
    ordered = view(x.contiguous())
    assert np.array_equal(view(y.contiguous()), fastact.silu(ordered))
    dy = torch.randn_like(x)
    dx = DIRECT["silu"].backward.direct.run(dy, x)
    assert dx.stride() == peer.stride()
    assert np.array_equal(view(dx.contiguous()), fastact.silu.backward(view(dy.contiguous()), ordered))
    rows = softmax.run(x)
    assert (rows is not None) == x.is_contiguous() or x.numel() == 0
    assert np.array_equal(view(ft.softmax(x)), fastact.softmax(ordered)) or x.ndim == 0


def test_tensors_of_two_layouts_or_dtypes():
    dy, x = torch.randn(3, 4), torch.randn(4, 3).T
    backward = DIRECT["silu"].backward
    for other in (x, x.double(), x[:2], x[:, :1]):
        assert backward.direct.run(dy, other) is None
    assert torch.equal(backward.value(dy, x), backward.value(dy, x.contiguous()))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", DIRECT)
def test_the_bits_are_those_of_arrays(name, dtype):
    """Of every length about that of a vector, and of a call that takes threads."""
    f, generator = fastact.activations[name], torch.Generator().manual_seed(5)
    for n in (1, 15, 16, 17, 33, 10_000):
        x = (torch.randn(n, generator=generator) / 3).to(dtype)
        y = DIRECT[name].direct.run(x)
        assert ft._exchange.view(y).tobytes() == f(ft._exchange.view(x)).tobytes()


def test_the_result_is_a_tensor_of_its_own():
    x = torch.randn(16)
    y = ft.silu(x)
    assert y._version == 0
    assert y.is_leaf
    assert y.untyped_storage().data_ptr() != x.untyped_storage().data_ptr()
    assert y.resize_(40).shape == (40,)


WITH_PARAMETERS = [name for name in DIRECT
                   if fastact.activations[name].parameters and name not in ft._operations.MASKED]


@pytest.mark.parametrize("name", WITH_PARAMETERS)
def test_parameters_by_position(name):
    x, f, direct = torch.linspace(0.1, 0.9, 16), getattr(ft, name), DIRECT[name].direct
    defaults = fastact.activations[name].parameters
    numbers = tuple(0.75 * one if one else 0.25 for one in defaults.values())
    for given in (numbers, numbers[:1]):
        y = direct.run(x, None, given)
        assert torch.equal(y, f(x, *given))
        assert torch.equal(y, f(x, **dict(zip(defaults, given, strict=False))))
        assert np.array_equal(y, fastact.activations[name](x.numpy(), *given))
    assert direct.run(x, None, (*numbers, 1.0)) is None
    with pytest.raises(TypeError, match=f"fastact.torch.{name}: got {len(numbers) + 1} parameters by position"):
        f(x, *numbers, 1.0)
    assert direct.run(x, None, (1,)) is None  # integers and tensors are checked in Python
    assert direct.run(x, None, (torch.tensor(0.5),)) is None


def test_zeros_of_both_signs_are_two_parameters():
    x = torch.zeros(3)
    for value in (0.0, -0.0, 0.0):
        for y in (ft.threshold(x, 1.0, value), ft.threshold(x, value=value, threshold=1.0)):
            assert torch.equal(torch.signbit(y), torch.signbit(torch.full((3,), value)))


def test_a_parameter_that_is_not_accepted():
    x = torch.ones(3)
    assert DIRECT["softplus"].direct.run(x, None, (0.0,)) is None
    for beta in (0.0, 1e300):
        with pytest.raises(ValueError, match="beta is "):
            ft.softplus(x, beta)


def test_what_a_function_of_rows_takes():
    x = torch.randn(3, 4)
    right = softmax.run(x)
    for y in (ft.softmax(x), ft.softmax(x, -1), ft.softmax(x, dim=-1), ft.softmax(x, 1), ft.softmax(dim=-1, x=x),
              ft.softmax(x, (-1,))):
        assert torch.equal(y, right)
    assert torch.equal(ft.softmax(x, 0), ft.softmax(x.T.contiguous()).T)
    for wrong in ({"dim": True}, {"dim": -1.0}, {"axis": -1}, {"scale": "1"}):
        with pytest.raises(TypeError, match=r"fastact\.torch\.softmax"):
            ft.softmax(x, **wrong)
    with pytest.raises(TypeError, match=r"fastact\.torch\.softmax: dim must be an integer"):
        ft.softmax(x, -1.0)


def test_arguments_of_no_function():
    for f in (ft.silu, ft.softmax):
        with pytest.raises(TypeError, match="missing 1 required positional argument: 'x'"):
            f()
    with pytest.raises(TypeError, match=r"fastact\.torch\.silu: unknown argument slope; accepted are x, beta"):
        ft.silu(torch.ones(3), slope=1.0)
    assert torch.equal(ft.silu(x=torch.ones(3)), ft.silu(torch.ones(3)))


@pytest.mark.parametrize("name", ["silu", "softmax"])
def test_a_function_is_named_copied_and_pickled_as_one(name):
    f = getattr(ft, name)
    assert pickle.loads(pickle.dumps(f)) is copy.deepcopy(f) is copy.copy(f) is f
    assert (f.__name__, f.__module__, repr(f)) == (name, "fastact.torch", f"<fastact.torch.{name}>")
    assert inspect.signature(f) == ft._functions.signature_of(fastact.activations[name])
    assert f.__doc__.startswith(f"{name}(x, ")
    assert torch.equal(f.__call__(torch.ones(2, 3)), f(torch.ones(2, 3)))


def test_many_threads_at_once():
    inputs = [torch.randn(n) for n in (1, 16, 100, 5_000, 20_000)] * 8
    right = [F.silu(x) for x in inputs]
    with ThreadPoolExecutor(8) as pool:
        for found, expected in zip(pool.map(ft.silu, inputs), right, strict=True):
            torch.testing.assert_close(found, expected)
