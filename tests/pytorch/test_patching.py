"""Patched models: the same loss and gradients, the same state_dict, and back."""

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
