"""One list of functions: formulas, registry, `__all__`, stubs, reference, benchmarks and README name the same."""

import ast
import importlib
import inspect
import pickle
from pathlib import Path

import common
import costs
import kernels
import numpy as np
import pytest
from common import SOURCES
from facts import FACTS, FACTS_OF_GATED, FACTS_OF_LOSSES, FACTS_OF_ROWS, FACTS_OF_SIGMOID_LOSSES, ROW_TO_WRITE

import fastact
from fastact import Elementwise, _costs, divergences, losses, reference, sigmoid_losses
from fastact._engine.rows import RowOperation
from fastact._kernels import baseline
from fastact.comparison import peers

PACKAGE = Path(fastact.__file__).parent
ELEMENTWISE = {f.name: f for f in common.ELEMENTWISE}
GATED = {f.name: f for f in common.GATED}
ROWS = {f.name: f for f in common.ROWS}
BUILD = "run python setup.py build_ext --inplace"


def test_every_elementwise_activation_has_a_row_of_facts():
    """No other test asks for the row: without it the activation is left out of those that read it."""
    missing = [name for name in ELEMENTWISE if name not in FACTS]
    rows = "\n".join(ROW_TO_WRITE.format(name=name) for name in missing)
    assert not missing, f"{', '.join(missing)} has no row in tests/facts.py: write into FACTS\n{rows}"
    assert set(FACTS) == set(ELEMENTWISE), "tests/facts.py has rows of what fastact/catalogue.py does not name"


def test_formulas_and_registry_agree():
    written = kernels.read_formulas((SOURCES / "_math" / "formulas.pxd").read_text())
    values = {name for name in written if "_derivative" not in name}
    for name in values:
        assert f"{name}_derivative" in written, (
            f"{name} has no derivative: write {name}_derivative into fastact/_math/formulas.pxd")
    for name in values - set(ELEMENTWISE):
        pytest.fail(f"{name} is in fastact/_math/formulas.pxd alone: write its statement into fastact/catalogue.py")
    for name in set(ELEMENTWISE) - values:
        pytest.fail(f"{name} is in fastact/catalogue.py alone: write its formula into fastact/_math/formulas.pxd")
    for name, f in ELEMENTWISE.items():
        modes = kernels.modes_of(name, written)
        assert {mode.name for mode in modes} == set(f.ufuncs), (
            f"{name} was compiled from other formulas: {BUILD}")
        for suffix in {suffix for mode in modes for suffix in mode.suffixes}:
            formula = written[name + suffix]
            first = "y" if suffix.endswith("from_output") else "x"
            assert formula.argument == first, (
                f"{formula.name} takes {formula.argument}: write {first} into fastact/_math/formulas.pxd")
            assert formula.parameters == tuple(f.parameters), (
                f"{formula.name} has the parameters {formula.parameters} in fastact/_math/formulas.pxd and "
                f"{tuple(f.parameters)} in fastact/catalogue.py: write the same into both")
    suffixes = {suffix for mode in kernels.MODES for suffix in mode.suffixes}
    used = {name + suffix for name in values for mode in kernels.modes_of(name, written) for suffix in mode.suffixes}
    for name in set(written) - used:
        pytest.fail(f"no mode uses {name} in fastact/_math/formulas.pxd: its name is that of a value and one of "
                    f"{', '.join(sorted(suffixes - {''}))}, or _derivative_in_ and one of its parameters")


def test_costs_and_registry_agree():
    """A function without a measured cost has a default; no cost belongs to nothing, nor to another function."""
    others = {*losses.LOSSES, *sigmoid_losses.LOSSES, *reference.DIVERGENCES, "softmax_hessian",
              "sigmoid_cross_entropy_hessian", "sample"}
    assert set(costs.OTHERS) == others, (
        f"{', '.join(others ^ set(costs.OTHERS))}: write the calls that are measured into OTHERS of "
        f"benchmarks/costs.py, of each function that is no activation")
    assert set(_costs.COSTS) <= {*fastact.activations, *others, "mask"}, (
        "fastact/_costs.py has a function that there is not: run python benchmarks/costs.py --update")
    for call in ast.walk(ast.parse((PACKAGE / "catalogue.py").read_text())):
        for keyword in getattr(call, "keywords", ()):
            if keyword.arg == "cost":
                assert ast.unparse(keyword.value) == f"_cost({ast.unparse(call.args[0])})", ast.unparse(call.args[0])


def test_costs_are_those_of_the_operations(monkeypatch):
    """What benchmarks/costs.py writes under a name reaches the kernels of that name, and no others."""
    seen = {}
    monkeypatch.setattr(_costs, "COSTS", {name: 1000.0 + k for k, name in enumerate(costs.OTHERS)})
    monkeypatch.setattr("fastact._engine.rows.RowOperation", lambda name, kernels, cost: seen.setdefault(name, cost))
    monkeypatch.setattr("fastact._engine.elementwise.KernelSet", lambda *arguments: seen.setdefault(
        arguments[1], arguments[6]))
    for module in ("_row_losses", "losses", "divergences", "sigmoid_losses", "sampling"):
        run_anew(f"fastact.{module}", monkeypatch)
    for name, cost in _costs.COSTS.items():
        forms = [one for one in seen if one == name or one.startswith((f"{name}_labels", f"{name}_alone"))]
        assert {seen[form] for form in forms} == {cost}, name


def run_anew(name, monkeypatch):
    """Import a module a second time, from its source."""
    path = PACKAGE / f"{name.removeprefix('fastact.')}.py"
    description = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(description)
    monkeypatch.setitem(importlib.sys.modules, name, module)
    description.loader.exec_module(module)


def test_kernels_and_registry_agree():
    built = {tuple(key.split(".")) for key in baseline.KERNELS if not key.startswith(("rows.", "columns.", "row."))}
    named = {(name, mode, dtype) for name, f in (ELEMENTWISE | GATED).items() for mode in f.ufuncs
             for dtype in ("float", "double")}
    of_losses = kernels.read_losses((SOURCES / "_math" / "sigmoid_losses.pxd").read_text())
    named |= {(name, key, dtype) for name in of_losses for key in ("first", "both") for dtype in ("float", "double")}
    assert built == named, f"the compiled kernels are not those of fastact/catalogue.py: {BUILD}"
    assert {name: len(f.parameters) for name, f in ELEMENTWISE.items()} == baseline.PARAMETERS, (
        f"the compiled kernels have other parameters than fastact/catalogue.py: {BUILD}")


def test_gated_activations_of_formulas_and_registry_agree():
    text = (SOURCES / "_math" / "formulas.pxd").read_text()
    written = kernels.read_gated(text, kernels.read_formulas(text))
    for name in set(written) - set(GATED):
        pytest.fail(f"{name} is in fastact/_math/formulas.pxd alone: write its statement into fastact/catalogue.py")
    for name, f in GATED.items():
        assert name in written, (
            f"{name} is in fastact/catalogue.py alone: write its line into fastact/_math/formulas.pxd")
        limited = "limit" in f.parameters
        assert baseline.GATED[name] == (f.activation.name, limited), f"{name} was compiled otherwise: {BUILD}"
        assert written[name] == (name, f.activation.name, limited)
        assert FACTS_OF_GATED[name]
    assert set(FACTS_OF_GATED) == set(GATED), "tests/facts.py has rows of what fastact/catalogue.py does not name"


@pytest.mark.parametrize("line", ["one nothing", "one xielu", "one relu, limited", "one silu, unlimited", "one"])
def test_a_gated_activation_without_formulas_is_refused(line):
    formulas = kernels.read_formulas((SOURCES / "_math" / "formulas.pxd").read_text())
    text = "# Gated activations:\n#\n#   two  silu, limited\n"
    assert kernels.read_gated(text, formulas) == {"two": ("two", "silu", True)}
    with pytest.raises(ValueError, match=rf"formulas.pxd: '#   {line}' is not a gated activation; accepted is a name"):
        kernels.read_gated(f"{text}#   {line}\n", formulas)


def test_a_step_without_a_formula_is_refused():
    steps = kernels.read_operations("# Steps of one:\n#   maximum of x\n#   finish_one\n")
    with pytest.raises(ValueError, match="finish_one in the steps of one has no formula"):
        kernels.check_operations(steps, {"rows.maximum"})
    kernels.check_operations(steps, {"rows.maximum", "rows.finish_one"})


def test_reference_and_registry_agree():
    for name in set(ELEMENTWISE) - set(reference.ELEMENTWISE):
        pytest.fail(f"{name} has no reference: write its value and derivative into ELEMENTWISE of fastact/reference.py")
    for name in set(ROWS) - set(reference.ROWWISE):
        pytest.fail(f"{name} has no reference: write its value and backward into ROWWISE of fastact/reference.py")
    for name in set(GATED) - set(reference.GATED):
        pytest.fail(f"{name} has no reference: write it into GATED of fastact/reference.py")
    for name in {*reference.ELEMENTWISE, *reference.GATED, *reference.ROWWISE} - {*ELEMENTWISE, *GATED, *ROWS}:
        pytest.fail(f"{name} is in fastact/reference.py alone: write its statement into fastact/catalogue.py")
    for name, f in ELEMENTWISE.items():
        for formula in (reference.ELEMENTWISE[name].value, reference.ELEMENTWISE[name].derivative):
            signature = inspect.signature(formula).parameters.values()
            defaults = {p.name: p.default for p in signature if p.default is not p.empty}
            assert defaults == dict(f.parameters), (
                f"{name} has other parameters in fastact/catalogue.py: write the same into fastact/reference.py")


def test_every_activation_of_rows_has_a_row_of_facts():
    for f in common.ROWWISE:
        assert FACTS_OF_ROWS[f.name]
    assert set(FACTS_OF_ROWS) == {f.name for f in common.ROWWISE}, (
        "tests/facts.py has rows of what fastact/catalogue.py does not name")


def test_every_loss_has_a_function_a_name_a_reference_and_a_row_of_facts():
    for name, loss in losses.LOSSES.items():
        assert hasattr(losses, name), f"{name} has no function: write it into fastact/losses.py"
        assert name in fastact.__all__, f"{name} is in fastact/losses.py alone: write it into fastact/__init__.py"
        for key in (name, *([f"{name}_labels"] if loss.labels is not None else [])):
            assert key in reference.LOSSES, (
                f"{key} has no reference: write its value and gradient into LOSSES of fastact/reference.py")
        assert FACTS_OF_LOSSES[name]
    assert set(FACTS_OF_LOSSES) == set(losses.LOSSES), (
        "tests/facts.py has rows of what LOSSES in fastact/losses.py does not name")
    assert {key.removesuffix("_labels") for key in reference.LOSSES} == set(losses.LOSSES), (
        "fastact/reference.py has losses that LOSSES in fastact/losses.py does not name")


def test_losses_of_sigmoid_and_divergences_have_a_function_a_name_and_a_reference():
    for name in sigmoid_losses.LOSSES:
        assert hasattr(sigmoid_losses, name), f"{name} has no function: write it into fastact/sigmoid_losses.py"
        assert FACTS_OF_SIGMOID_LOSSES[name]
    assert set(FACTS_OF_SIGMOID_LOSSES) == set(reference.SIGMOID_LOSSES) == set(sigmoid_losses.LOSSES), (
        "fastact/reference.py or tests/facts.py has losses that fastact/sigmoid_losses.py does not name, or lacks one")
    names = {divergences.ENTROPY.name, divergences.DIVERGENCE.name}
    assert names == set(reference.DIVERGENCES)
    for name in (*sigmoid_losses.LOSSES, *names):
        assert name in fastact.__all__, f"{name} is not in fastact/__init__.py"
    written = kernels.read_losses((SOURCES / "_math" / "sigmoid_losses.pxd").read_text())
    assert {name.removesuffix("_hessian") for name in written} == set(sigmoid_losses.LOSSES), (
        "fastact/_math/sigmoid_losses.pxd has a loss that fastact/sigmoid_losses.py does not name, or lacks one")


def test_public_names():
    assert len(set(fastact.__all__)) == len(fastact.__all__)
    assert set(fastact.activations) < set(fastact.__all__)
    for name in fastact.__all__:
        assert getattr(fastact, name) is not None
    public = {name for name, thing in vars(fastact).items() if not name.startswith("_") and not inspect.ismodule(thing)}
    assert public == set(fastact.__all__) - {"ufuncs"}


def test_ufuncs():
    found = {name: thing for name, thing in vars(fastact.ufuncs).items() if isinstance(thing, np.ufunc)}
    assert set(found.values()) == {ufunc for f in (ELEMENTWISE | GATED).values() for ufunc in f.ufuncs.values()}
    for name, ufunc in found.items():
        assert ufunc.__name__ == name
        assert pickle.loads(pickle.dumps(ufunc)) is ufunc
        for types, kind in zip(ufunc.types[:3], "efd", strict=True):
            inputs, outputs = types.split("->")
            assert (len(inputs), outputs) == (ufunc.nin, kind * ufunc.nout)
            assert inputs[0] == kind


def test_get():
    for name, f in fastact.activations.items():
        assert fastact.get(name) is f is getattr(fastact, name)
    with pytest.raises(ValueError, match="unknown activation 'sigmoyd'; did you mean sigmoid"):
        fastact.get("sigmoyd")
    with pytest.raises(TypeError, match="must be a string"):
        fastact.get(fastact.relu)


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.pyi")), ids=lambda path: path.stem)
def test_stubs_and_modules_agree(path):
    stub = ast.parse(path.read_text())
    module = ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)
    if path.parent.name == "torch":
        pytest.importorskip("torch")
    thing = importlib.import_module(module)
    declared = {}
    for node in stub.body:
        if isinstance(node, ast.ClassDef):
            declared[node.name] = {one.name for one in node.body if isinstance(one, ast.FunctionDef)} | {
                one.target.id for one in node.body if isinstance(one, ast.AnnAssign)}
        elif isinstance(node, ast.FunctionDef):
            declared[node.name] = set()
        elif isinstance(node, ast.AnnAssign):
            declared[node.target.id] = set()
    for name, members in declared.items():
        assert hasattr(thing, name), f"{module}.pyi declares {name}"
        for member in members - {"__call__", "backward", "__init__"}:
            assert hasattr(getattr(thing, name), member), f"{module}.pyi declares {name}.{member}"
        if members:
            defined = {member for member in vars(getattr(thing, name)) if not member.startswith("_")}
            assert defined <= members, f"{module}.pyi lacks members of {name}"
    public = {name for name, one in vars(thing).items()
              if inspect.isclass(one) and issubclass(one, fastact.Activation) and one.__module__ == module}
    assert public <= set(declared)


def test_every_function_is_measured_and_described():
    measured = {function for function, _ in peers.libraries()["fastact"].spellings}
    assert set(fastact.activations) <= measured
    readme = SOURCES.parent / "README.md"
    if readme.exists():
        text = readme.read_text()
        losses_too = *losses.LOSSES, *sigmoid_losses.LOSSES, *reference.DIVERGENCES
        for name in (*fastact.activations, *losses_too, "sample"):
            assert f"`{name}" in text, f"README.md does not name {name}: write `{name}` into its table of functions"


@pytest.mark.parametrize("f", fastact.activations.values(), ids=lambda f: f.name)
def test_docstrings_have_the_sections_of_numpydoc(f):
    assert f.__doc__.startswith(f"{f.name}(")
    for part in (f.summary, f.formula, f.derivative_formula, f.source):
        assert part in f.__doc__
    for section in ("Parameters", "Returns", "Raises"):
        assert f"\n{section}\n{'-' * len(section)}\n" in f.__doc__
    for method in ("derivative", "backward", "value_and_derivative", "jacobian"):
        if hasattr(f, method):
            assert "Returns" in inspect.getdoc(getattr(type(f), method)), method
    for parameter in f.parameters:
        assert f"\n{parameter} : " in f.__doc__


@pytest.mark.parametrize("name, call", [
    ("tanh", lambda f, x, y, **out: f(x, **out)),
    ("tanh", lambda f, x, y, **out: f.derivative(x, **out)),
    ("tanh", lambda f, x, y, **out: f.backward(x, y, **out)),
    ("tanh", lambda f, x, y, **out: f.backward(x, output=y, **out)),
    ("tanh", lambda f, x, y, **out: f.backward(x, **{"".join(["out", "put"]): y}, **out)),
    ("softmax", lambda f, x, y, **out: f(x, **out)),
    ("softmax", lambda f, x, y, **out: f.backward(x, output=y, **out)),
])
def test_plain_calls_have_the_results_and_the_documentation_of_all_others(name, call):
    """The fast paths hand on what they do not take: here, a list and another byte order."""
    f = getattr(fastact, name)
    x, y = np.linspace(-2, 2, 16), np.linspace(0, 1, 16)
    right = call(f, x, y)
    out = np.empty_like(x)
    assert call(f, x, y, out=out) is out
    for result in (out, call(f, x.tolist(), y), call(f, x.astype(">f8"), y)):
        assert result.tobytes() == right.tobytes()
    for method in (f.backward, *([f.derivative, f.value_and_derivative] if name == "tanh" else [])):
        assert "Parameters" in method.__doc__
    with pytest.raises(TypeError, match=rf"fastact\.{name}"):
        call(f, "x", y)


@pytest.mark.parametrize("name", fastact.activations)
def test_signatures(name):
    """What `inspect.signature`, and by it Sphinx, IPython and dask, see is what is accepted."""
    f = fastact.activations[name]
    signature = inspect.signature(f)
    assert f.__doc__.startswith(f"{name}{signature}\n")
    first = next(iter(signature.parameters))
    assert first == ("a" if name in GATED else "x")
    defaults = {p.name: p.default for p in signature.parameters.values() if p.default is not inspect.Parameter.empty}
    assert f.parameters.items() <= defaults.items()
    x = np.ones((2, 4))
    assert np.array_equal(f(**{**defaults, first: x}), f(x))
    for method in ("derivative", "value_and_derivative", "backward", "jacobian", "with_defaults", "backward_parameter"):
        if not hasattr(f, method):
            continue
        parameters = inspect.signature(getattr(f, method)).parameters
        assert "self" not in parameters
        assert "unknown" not in parameters
        accepted = list(parameters)[: 2 if method.startswith("backward") else 1]
        dy = np.ones_like(f(x))
        arguments = dict(zip(accepted, (dy, x) if len(accepted) == 2 else (x,), strict=True))
        if method == "with_defaults":
            arguments = dict(f.parameters)
        if method == "backward_parameter":
            arguments["name"] = f.learnt[0] if f.learnt else None
        if method != "backward_parameter" or f.learnt:
            getattr(f, method)(**arguments)
    if name in ELEMENTWISE:
        assert "out" in inspect.signature(f.derivative).parameters
        assert "output" in inspect.signature(f.backward).parameters


def test_nothing_exists_that_was_not_initialised():
    for kind in (fastact.Activation, Elementwise, fastact.Rowwise, fastact.RowReduction):
        with pytest.raises(TypeError):
            kind.__new__(kind)
        with pytest.raises(TypeError):
            object.__new__(kind)
    with pytest.raises(ValueError, match=r"name is 'unheard_of' with 0 parameters; accepted are .*pxd, and build"):
        Elementwise("unheard_of", cost=1, summary="", formula="", derivative_formula="", source="")
    with pytest.raises(ValueError, match=r"unheard_of has no compiled steps; write .*pxd, and build"):
        RowOperation("unheard_of", baseline, 1)

    class Silent(Elementwise):
        def __init__(self, *arguments, **keywords):
            pass

    f = Silent("relu", cost=1, summary="", formula="", derivative_formula="", source="")
    assert np.array_equal(f(np.array([-1.0, 2.0])), [0, 2])
