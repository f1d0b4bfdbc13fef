"""What type checkers are told: it is true, and the generated files have every name."""

import inspect
import typing
from types import GenericAlias

import numpy as np
import pytest
import stubs
import typing_examples
from common import each

import fastact
from fastact.lookup import spelt
from fastact.names import CONVENTIONS

NAMES = stubs.names_of_classes()
GROUPS = [typing_examples.names, typing_examples.elementwise, typing_examples.gated, typing_examples.rows,
          typing_examples.of_scipy]


def check_type(value, expected):
    """Assert at run time what `typing.assert_type` asserts of a type checker."""
    if expected is typing.Any:
        return value
    if typing.get_origin(expected) is tuple:
        assert type(value) is tuple
        for one, of_one in zip(value, typing.get_args(expected), strict=True):
            check_type(one, of_one)
    elif isinstance(expected, GenericAlias):  # NDArray[dtype]
        assert type(value) is np.ndarray
        (dtype,) = typing.get_args(typing.get_args(expected)[1])
        assert value.dtype == dtype
    else:
        assert isinstance(value, expected)
        assert not isinstance(value, np.generic) or type(value) is expected
    return value


@each("group", GROUPS)
def test_types_are_those_of_the_results(group, monkeypatch):
    monkeypatch.setattr(typing_examples, "assert_type", check_type)
    group()


def test_every_group_of_examples_is_run():
    assert [one for one in vars(typing_examples).values() if inspect.isfunction(one) and one.__module__ ==
            typing_examples.__name__] == GROUPS


@pytest.mark.parametrize("value, expected", [
    (1.0, np.float64), (np.float32(1), np.float64), (np.ones(2), np.typing.NDArray[np.float32]),
    (np.float64(1), np.typing.NDArray[np.float64]), (fastact.softmax, fastact.Elementwise),
    ((np.ones(2), 1.0), tuple[np.typing.NDArray[np.float64], np.float64]),
])
def test_a_wrong_type_is_found(value, expected):
    with pytest.raises(AssertionError):
        check_type(value, expected)


@pytest.mark.parametrize("path", stubs.FILES, ids=lambda path: path.name)
def test_generated_files_are_up_to_date(path):
    assert path.read_text(encoding="utf-8") == stubs.FILES[path](), (
        f"fastact/{path.name} is not what the registry says: python tools/stubs.py writes it")


@pytest.mark.parametrize("kind", NAMES)
def test_names_have_the_class_that_is_written(kind):
    for name in NAMES[kind]:
        libraries = [library for library in CONVENTIONS if name in spelt(library)]
        for convention in libraries or [None]:
            f = fastact.get(name, convention)
            f = f.with_defaults(kinks="right") if kind == "Elementwise" else f
            assert type(f) is getattr(fastact, kind)


def test_get_has_an_overload_for_each_class():
    types = [one.__annotations__ for one in typing.get_overloads(fastact.get)]
    assert {one["name"]: one["return"] for one in types} == {
        **{f"{kind}Name": getattr(fastact, kind) for kind in NAMES}, str: fastact.Activation}
