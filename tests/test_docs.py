"""The site: each function has a page, and each name elsewhere is in the list."""

import activation_pages
import pytest

from fastact.comparison.work import FUNCTIONS
from fastact.lookup import spelt
from fastact.names import CONVENTIONS


def test_every_function_is_in_the_gallery_once():
    assert sorted(name for names in activation_pages.groups().values() for name in names) == sorted(FUNCTIONS)


@pytest.mark.parametrize("name", ["softplus", "swiglu", "logsumexp", "softmax_kl", "sample"])
def test_a_page_has_its_reference_and_an_example(name):
    text = activation_pages.page_of(name).text
    assert f".. autofunction:: fastact.{name}\n" in text
    assert f">>> fastact.{name}(" in text or f"= fastact.{name}(" in text


def test_the_names_elsewhere_are_listed():
    text = activation_pages.names_elsewhere()
    for library in CONVENTIONS:
        for word, (name, _) in spelt(library).items():
            assert f"``{word}``\n     - :doc:`{name}`" in text


def test_links_of_the_repository_become_those_of_the_site():
    text = "[a](docs/speed.md) [b](../CONTRIBUTING.md#add-an-activation) [c](README.md) ![d](docs/activations.png)"
    assert activation_pages.relink(text) == (
        "[a](speed.md) [b](contributing.md#add-an-activation) [c](index.md) ![d](activations.png)")
