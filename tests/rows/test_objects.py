"""The functions of the softmax family as Python objects."""

import copy
import pickle

import pytest
from common import REDUCTIONS, ROWS
from row_helpers import SCALED, every_function

import fastact


@every_function
def test_pickle_copy_and_hash(f):
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        assert pickle.loads(pickle.dumps(f, protocol)) is f
    assert copy.copy(f) is f
    assert copy.deepcopy([f])[0] is f
    assert {f: 1}[fastact.get(f.name)] == 1
    assert getattr(fastact, f.name) is f
    assert len({*ROWS}) == len(ROWS)


@every_function
def test_repr_and_attributes(f):
    parameters = {"scale": 1.0, "temperature": 1.0} if f in SCALED or f in REDUCTIONS else {}
    parameters = {"alpha": 1.5, **parameters} if f.name == "entmax" else parameters
    text = "".join(f", {name}={default:g}" for name, default in parameters.items())
    assert repr(f) == f"<fastact.{f.name}(x{text}): {f.summary}>"
    assert f.__name__ == f.__qualname__ == f.name
    assert f.__module__ == "fastact"
    assert f.formula in f._repr_latex_()
    assert f.derivative_formula in f._repr_latex_()
    assert dict(f.parameters) == parameters
    with pytest.raises(AttributeError):
        f.name = "another"


@pytest.mark.parametrize("method, sections, arguments", [
    ("", ("Parameters", "Returns", "Raises", "See Also", "Notes"), ("x", "axis", "where", "out")),
    ("backward", ("Parameters", "Returns", "Raises"), ("dy", "x", "out")),
    ("jacobian", ("Parameters", "Returns", "Raises"), ("x",)),
])
@every_function
def test_docstrings_have_the_sections_of_numpydoc(f, method, sections, arguments):
    if method == "jacobian" and f in REDUCTIONS:
        pytest.skip("a reduction has no Jacobian matrix")
    lines = (getattr(f, method) if method else f).__doc__.splitlines()
    stripped = [line.strip() for line in lines]
    places = []
    for section in sections:
        places.append(stripped.index(section))
        assert stripped[places[-1] + 1] == "-" * len(section)
    assert places == sorted(places)
    described = stripped[places[0] : places[1]]
    for argument in (*arguments, *(("keepdims",) if f in REDUCTIONS and not method else ())):
        assert any(line.startswith((f"{argument} : ", f"{argument}, ")) for line in described), argument
    if not method:
        assert lines[0].startswith(f"{f.name}(x, axis=-1, *, ")
        assert f.summary in stripped
