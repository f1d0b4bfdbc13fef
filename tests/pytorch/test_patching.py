"""Patched models: the same loss and gradients, the same state_dict, and back."""

import io
import pickle

import pytest

torch = pytest.importorskip("torch")

import fastact.torch as ft  # noqa: E402
from fastact.torch.nn import HUGGING_FACE, MODULES  # noqa: E402


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


def stand_in(name, function):
    """A class that looks like one of transformers."""
    return type(name, (torch.nn.Module,), {"__module__": "transformers.activations",
                                           "forward": lambda self, input: function(input)})


gelu = torch.nn.functional.gelu
PEERS = {
    "GELUActivation": gelu, "QuickGELUActivation": lambda x: x * torch.sigmoid(1.702 * x),
    "SiLUActivation": torch.nn.functional.silu, "MishActivation": torch.nn.functional.mish,
    **dict.fromkeys(("NewGELUActivation", "FastGELUActivation", "GELUTanh", "PytorchGELUTanh",
                     "AccurateGELUActivation"), lambda x: gelu(x, approximate="tanh")),
}


@pytest.mark.parametrize("name", HUGGING_FACE)
def test_activations_of_transformers(name):
    kind, x = stand_in(name, PEERS[name]), torch.randn(50, dtype=torch.float64)
    model = torch.nn.Sequential(kind())
    right = model(x)
    with ft.patched(model, only=[name]) as report:
        assert report == ft.Report((("0", name),), ())
        torch.testing.assert_close(model(x), right)
        assert "fastact" in type(model[0]).__module__
        assert pickle.loads(pickle.dumps(type(model[0]))) is type(model[0])
    assert type(model[0]) is kind
    assert not [one for one in vars(model[0]) if "fastact" in one]
    other = type(name, (torch.nn.Module,), {"__module__": "elsewhere"})
    assert ft.patch(torch.nn.Sequential(other())).left == (("0", name, "no counterpart"),)


def test_the_report_has_every_module_without_children():
    own = type("Own", (torch.nn.GELU,), {})
    model = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Sequential(torch.nn.Mish(), torch.nn.ReLU()), own(),
                                torch.nn.GELU(), torch.nn.GELU("tanh"), ft.nn.SiLU())
    report = ft.patch(model)
    assert report.replaced == (("1.0", "Mish"), ("4", "GELU"))
    assert report.left == (
        ("0", "Linear", "no counterpart"), ("1.1", "ReLU", "no counterpart"), ("2", "Own", "no counterpart"),
        ("3", "GELU", "PyTorch is as fast; name it in only= to replace it"),
        ("5", "SiLU", "it computes with fastact already"))
    assert ft.patch(model, only=["Mish"]).left[5] == ("4", "GELU", "it computes with fastact already")


def test_what_was_not_patched_stays():
    model = torch.nn.Sequential(ft.nn.SiLU(), torch.nn.Mish(), torch.nn.Tanh())
    ft.patch(model, only=["Tanh"])
    with ft.patched(model, only=["Mish"]):
        assert type(model[1]) is ft.nn.Mish
    assert [type(one) for one in model] == [ft.nn.SiLU, torch.nn.Mish, ft.nn.Tanh]
    ft.unpatch(model)
    assert [type(one) for one in model] == [ft.nn.SiLU, torch.nn.Mish, torch.nn.Tanh]
