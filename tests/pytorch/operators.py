"""Every operator under torch.library.opcheck, and a model through torch.export and inductor: half a minute and more.

`pytest tests/pytorch/operators.py`; the tests of each day take a few of the operators.
"""

import pytest

torch = pytest.importorskip("torch")

import fastact  # noqa: E402
import fastact.torch as ft  # noqa: E402

OPERATORS = {one.name: one for one in ft.OPERATIONS}


def arguments_of(operation):
    """Arguments of the schema, of rows of 4 numbers; those that have a derivative require it."""
    x = torch.linspace(0.1, 0.9, 12, dtype=torch.float64).reshape(3, 4)
    is_derivative = operation.schema[0] == "Tensor dy"
    tensors = {"x": x, "a": x, "b": x.flip(0), "kept": x, "gradient": x, "logits": x, "output": torch.softmax(x, -1),
               "labels_or_probabilities": torch.tensor([0, 3, 1]), "target_logits": x.flip(0),
               "targets": torch.softmax(x.flip(0), -1)}
    shapes = {"gradient": (), "keepdim": (3,), "layout": (3, 2)}
    names = {one.split()[1] for one in operation.schema}
    tensors["dy"] = x.new_ones(next((shape for name, shape in shapes.items() if name in names), x.shape))
    others = {"dim": [-1], "keepdim": False, "layout": "halves", "gate": "first"}
    if hasattr(operation, "options"):
        others = {ft._operations.spelling(name): one.default for name, one in operation.options.items()}
    elif operation.public in fastact.activations:
        others |= fastact.activations[operation.public].parameters
    if getattr(operation, "masks", ()):
        others |= {"bias": x[0].clone().requires_grad_(not is_derivative), "where": x > 0.2, "causal": False,
                   "lengths": torch.tensor([4, 3, 1]), "offset": None, "window": None}
    found = []
    for kind, name in map(str.split, operation.schema):
        if kind == "Tensor" and name in tensors:
            value = tensors[name]
            needed = name in ("x", "a", "b", "logits") and not is_derivative
            found.append(value.clone().requires_grad_(needed))
        elif kind == "Tensor":
            found.append(torch.tensor(others[name], dtype=torch.float64))
        elif name == "dim":
            found.append({"int[]": [-1], "int": -1, "int?": None}[kind])
        else:
            found.append(others[name])
    return found


@pytest.mark.parametrize("name", OPERATORS)
def test_every_operator(name):
    torch.library.opcheck(OPERATORS[name].operator, arguments_of(OPERATORS[name]))


@pytest.fixture
def model_and_input():
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(6, 8), torch.nn.Mish(), torch.nn.Linear(8, 8), torch.nn.GELU(),
                                torch.nn.PReLU(8), torch.nn.Linear(8, 3), torch.nn.LogSoftmax(-1))
    return model, torch.randn(5, 6)


ALL = ["Mish", "GELU", "PReLU", "LogSoftmax"]


def test_export(model_and_input):
    model, x = model_and_input
    right = model(x)
    ft.patch(model, only=ALL)
    exported = torch.export.export(model, (x,))
    assert "fastact.mish" in str(exported.graph)
    torch.testing.assert_close(exported.module()(x), right)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
def test_inductor(model_and_input):
    model, x = model_and_input
    found = []
    for compiled in (False, True):
        if compiled:
            ft.patch(model, only=ALL)
        model.zero_grad()
        loss = (torch.compile(model, fullgraph=True) if compiled else model)(x).square().sum()
        loss.backward()
        found.append([loss.detach(), *[one.grad.clone() for one in model.parameters()]])
    for right, mine in zip(*found, strict=True):
        torch.testing.assert_close(mine, right)
