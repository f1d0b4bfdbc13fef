"""Patched models: the same loss and gradients, the same state_dict, and back."""

import io
import pickle

import pytest

torch = pytest.importorskip("torch")

from torch.nn.modules import activation as activation_modules  # noqa: E402
from torch.nn.modules import loss as loss_modules  # noqa: E402

import fastact.torch as ft  # noqa: E402
from fastact.torch.nn import HUGGING_FACE, MODULES, WITHOUT  # noqa: E402

ARGUMENTS = {  # other than the defaults
    "Threshold": (0.1, -0.5), "LeakyReLU": (0.2,), "PReLU": (3, 0.4), "Hardtanh": (-0.3, 0.7), "Hardshrink": (0.2,),
    "Softshrink": (0.3,), "GELU": ("tanh",), "ELU": (0.7,), "CELU": (2.0,), "Softplus": (2.0, 1.5), "GLU": (-2,),
    "Softmax": (1,), "Softmin": (-1,), "LogSoftmax": (2,),
}
LOSSES = [kind for kind in MODULES if kind.__name__ in loss_modules.__all__]
ACTIVATIONS = [kind for kind in MODULES if kind not in LOSSES]


def test_every_module_of_pytorch_has_a_counterpart_or_a_reason():
    ours = [kind.__name__ for kind in MODULES]
    without = " ".join(WITHOUT.values()).split()
    assert sorted(ours + without) == sorted(activation_modules.__all__ + loss_modules.__all__)
    for kind, counterpart in MODULES.items():
        assert (counterpart.__name__, getattr(ft.nn, kind.__name__)) == (kind.__name__, counterpart)
    assert ft.patch(torch.nn.Sequential(torch.nn.RReLU())).left == (
        ("0", "RReLU", "no counterpart: its slopes are random"),)


@pytest.mark.parametrize("own", [False, True], ids=["defaults", "arguments"])
@pytest.mark.parametrize("kind", ACTIVATIONS, ids=lambda kind: kind.__name__)
def test_a_patched_module_computes_the_same(kind, own):
    needed = {"Threshold": (0.0, 0.0), "Softmax": (-1,), "Softmin": (-1,), "LogSoftmax": (-1,)}
    activation = kind(*(ARGUMENTS if own else needed).get(kind.__name__, ()))
    halved = {"GLU": 4}.get(kind.__name__, 8) if not own else 8
    model = torch.nn.Sequential(torch.nn.Linear(6, 8), activation, torch.nn.Linear(halved, 2)).double()
    x, found = torch.randn(2, 3, 4, 6, dtype=torch.float64), []
    keys, text = list(model.state_dict()), repr(model)
    for only in (None, [kind.__name__]):
        if only:
            assert ft.patch(model, only).replaced == (("1", kind.__name__),)
            assert type(model[1]) is MODULES[kind]
        model.zero_grad()
        y = model(x)
        y.square().sum().backward()
        found.append([y.detach(), *[one.grad.clone() for one in model.parameters()]])
    for mine, right in zip(*found, strict=True):
        torch.testing.assert_close(mine, right, rtol=1e-8, atol=1e-8)
    assert (list(model.state_dict()), repr(model)) == (keys, text)
    copy = pickle.loads(pickle.dumps(model))
    assert type(copy[1]) is MODULES[kind]
    assert torch.equal(copy(x), model(x))
    ft.unpatch(model)
    assert type(model[1]) is kind


def test_without_a_dim_pytorch_chooses_and_warns():
    x = torch.randn(3, 4)
    for kind in (ft.nn.Softmax, ft.nn.Softmin, ft.nn.LogSoftmax):
        with pytest.warns(UserWarning, match="Implicit dimension choice"):
            torch.testing.assert_close(kind()(x), kind(1)(x))
    with pytest.raises(ValueError, match="expected input to be 3D or 4D"):
        ft.nn.Softmax2d()(x)


def options_of_losses():
    """Constructor arguments, and the shapes of an input and a target of labels; None: of numbers."""
    weight = torch.tensor([0.5, 2.0, 0.0, 1.0], dtype=torch.float64)
    for reduction in ("mean", "sum", "none"):
        common = {"reduction": reduction}
        for options in ({}, {"weight": weight}, {"label_smoothing": 0.2}, {"ignore_index": 1},
                        {"weight": weight, "label_smoothing": 0.2, "ignore_index": 1}):
            yield torch.nn.CrossEntropyLoss, options | common, (5, 4), (5,)
        yield torch.nn.CrossEntropyLoss, {"weight": weight} | common, (2, 4, 3), (2, 3)
        yield torch.nn.CrossEntropyLoss, common, (4,), ()
        for options in ({}, {"weight": weight}, {"label_smoothing": 0.2}):
            yield torch.nn.CrossEntropyLoss, options | common, (5, 4), None
        for options in ({}, {"weight": weight}, {"pos_weight": weight}, {"weight": weight, "pos_weight": weight + 1}):
            yield torch.nn.BCEWithLogitsLoss, options | common, (5, 4), None


@pytest.mark.parametrize("kind, options, shape, labels", list(options_of_losses()))
def test_losses_are_those_of_pytorch(kind, options, shape, labels):
    generator = torch.Generator().manual_seed(0)
    x = 3 * torch.randn(shape, dtype=torch.float64, generator=generator)
    target = (torch.rand(shape, dtype=torch.float64, generator=generator) if labels is None
              else torch.randint(4, labels, generator=generator))
    theirs, ours = kind(**options), MODULES[kind](**options)
    assert repr(ours) == repr(theirs)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    copy = pickle.loads(pickle.dumps(ours))
    found = []
    for loss in (theirs, ours, copy):
        leaf = x.clone().requires_grad_()
        value = loss(leaf, target)
        found.append((value.detach(), torch.autograd.grad(value.sum(), leaf)[0]))
    for value, slopes in found[1:]:
        torch.testing.assert_close(value, found[0][0])
        torch.testing.assert_close(slopes, found[0][1])
    half = loss(x.bfloat16(), target if labels is not None else target.bfloat16())
    assert half.dtype == torch.bfloat16


def test_refusals_of_losses():
    x = torch.zeros(3, 4)
    with pytest.raises(ValueError, match=r"target has the shape \(3, 1\); accepted is that of input, \(3, 4\)"):
        ft.nn.BCEWithLogitsLoss()(x, torch.zeros(3, 1))
    with pytest.raises(ValueError, match="ignore_index is 2; accepted is None for probabilities"):
        ft.nn.CrossEntropyLoss(ignore_index=2)(x, x)
    with pytest.raises(TypeError, match="labels_or_probabilities requires a gradient"):
        ft.nn.CrossEntropyLoss()(x, x.clone().requires_grad_())


def test_in_place_counts_as_a_version():
    module, x = ft.nn.SiLU(inplace=True), torch.randn(4)
    right = torch.nn.functional.silu(x)
    assert module(x) is x
    assert x._version == 1
    torch.testing.assert_close(x, right)


def test_unknown_class():
    with pytest.raises(ValueError, match="only names Dropout; accepted are Threshold"):
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
        ("0", "Linear", "no counterpart"),
        ("1.1", "ReLU", "it was not measured to be faster; name it in only= to replace it"),
        ("2", "Own", "no counterpart"),
        ("3", "GELU", "it was not measured to be faster; name it in only= to replace it"),
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
