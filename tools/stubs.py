"""Write what type checkers read about names, from the registry: `python tools/stubs.py`.

* fastact/_spellings.py: for each class of activations, the names that `fastact.get` finds one under;
* fastact/ufuncs.pyi: the ufuncs.
"""

import textwrap
from pathlib import Path

import numpy as np

import fastact
from fastact.lookup import spelt
from fastact.names import CONVENTIONS

PACKAGE = Path(__file__).parent.parent / "fastact"
HEAD = "# Written by tools/stubs.py.\n"


def names_of_classes() -> dict[str, list[str]]:
    """The name of each class, and the names of its activations in fastact and in other libraries."""
    activations = {name: name for name in fastact.activations}
    for library in CONVENTIONS:
        for spelling, (name, _) in spelt(library).items():
            activations.setdefault(spelling, name)
    names: dict[str, list[str]] = {}
    for spelling, name in activations.items():
        names.setdefault(type(fastact.activations[name]).__name__, []).append(spelling)
    return names


def spellings() -> str:
    text = f'"""Names of activations, for type checkers."""\n\n{HEAD}\nfrom typing import Literal\n'
    for kind, names in names_of_classes().items():
        listed = textwrap.fill(", ".join(f'"{name}"' for name in names), 116)
        text += f"\n{kind}Name = Literal[\n{textwrap.indent(listed, '    ')},\n]\n"
    return text


def ufuncs() -> str:
    found = [name for name, one in vars(fastact.ufuncs).items() if isinstance(one, np.ufunc)]
    return f"{HEAD}\nimport numpy as np\n\n" + "".join(f"{name}: np.ufunc\n" for name in found)


FILES = {PACKAGE / "_spellings.py": spellings, PACKAGE / "ufuncs.pyi": ufuncs}


if __name__ == "__main__":
    for path, write in FILES.items():
        path.write_text(write())
