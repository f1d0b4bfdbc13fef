"""Patched models: the same loss and gradients, the same state_dict, and back."""

import io
import pickle

import pytest

torch = pytest.importorskip("torch")

import fastact.torch as ft  # noqa: E402
from fastact.torch.nn import MODULES  # noqa: E402


@pytest.mark.parametrize("kind", MODULES, ids=lambda kind: kind.__name__)
def test_a_patched_module_computes_the_same(kind):
    arguments = {"dim": -1} if "oftmax" in kind.__name__ else {}
    model = torch.nn.Sequential(torch.nn.Linear(6, 8), kind(**arguments), torch.nn.Linear(8, 2)).double()
    x, found = torch.randn(5, 6, dtype=torch.float64), []
    keys = list(model.state_dict())
    for only in (None, [kind.__name__]):
        if only:
            assert ft.patch(model, only).replaced == (("1", kind.__name__),)
        model.zero_grad()
        loss = model(x).square().sum()
        loss.backward()
        found.append([loss.detach(), *[one.grad.clone() for one in model.parameters()]])
    for mine, right in zip(*found, strict=True):
        torch.testing.assert_close(mine, right, rtol=1e-8, atol=1e-8)
    assert list(model.state_dict()) == keys
    ft.unpatch(model)
    assert type(model[1]) is kind


def test_in_place_counts_as_a_version():
    module, x = ft.nn.SiLU(inplace=True), torch.randn(4)
    right = torch.nn.functional.silu(x)
    assert module(x) is x
    assert x._version == 1
    torch.testing.assert_close(x, right)


def test_unknown_class():
    with pytest.raises(ValueError, match="only names Dropout; accepted are GELU"):
        ft.patch(torch.nn.Sequential(), only=["Dropout"])


def test_a_block_restores():
    model = torch.nn.Sequential(torch.nn.GELU(), torch.nn.Mish())
    with ft.patched(model) as report:
        assert report.replaced == (("1", "Mish"),)
        assert report.left[0][:2] == ("0", "GELU")
        assert type(model[1]) is ft.nn.Mish
    assert type(model[1]) is torch.nn.Mish


def test_in_place_modules_under_autograd():
    """The gradient is right, and PyTorch sees that a tensor which it saved was changed."""
    for kind in (ft.nn.SiLU, ft.nn.Mish, ft.nn.ELU):
        x = torch.randn(4, dtype=torch.float64, requires_grad=True)
        (found,) = torch.autograd.grad(kind(inplace=True)(x * 1.0).sum(), x)
        (right,) = torch.autograd.grad(kind()(x).sum(), x)
        torch.testing.assert_close(found, right)
        saved = torch.nn.functional.gelu(x)
        y = saved.square()  # keeps `saved`
        kind(inplace=True)(saved)
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            y.sum().backward()
        with pytest.raises(RuntimeError, match="leaf Variable that requires grad"):
            kind(inplace=True)(x)


def model_and_input():
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(6, 8), torch.nn.Mish(), torch.nn.PReLU(8), torch.nn.Softmax(-1))
    return model, torch.randn(5, 6)


def test_hooks_stay():
    model, x = model_and_input()
    seen = []
    model[1].register_forward_hook(lambda module, arguments, result: seen.append(type(module)))
    model[1].register_full_backward_hook(lambda module, slopes, of_result: seen.append("backward"))
    with ft.patched(model):
        model(x).square().sum().backward()
    assert seen == [ft.nn.Mish, "backward"]


def test_pickle_save_and_load():
    model, x = model_and_input()
    plain = {name: value.clone() for name, value in model.state_dict().items()}
    ft.patch(model, only=["Mish", "PReLU", "Softmax"])
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    for copy in (pickle.loads(pickle.dumps(model)), torch.load(file, weights_only=False)):
        assert [type(one) for one in copy[1:]] == [ft.nn.Mish, ft.nn.PReLU, ft.nn.Softmax]
        assert torch.equal(copy(x), model(x))
    weights = io.BytesIO()
    torch.save(model.state_dict(), weights)
    weights.seek(0)
    other = torch.nn.Sequential(torch.nn.Linear(6, 8), torch.nn.Mish(), torch.nn.PReLU(8), torch.nn.Softmax(-1))
    other.load_state_dict(torch.load(weights, weights_only=True), strict=True)
    assert all(torch.equal(other.state_dict()[name], value) for name, value in plain.items())
    torch.testing.assert_close(other(x), model(x))
