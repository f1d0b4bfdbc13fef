"""The imports between the modules of the package: no circles, and one direction.

Everything is read from the source files: `import` and `cimport` statements, the files that `include` names, and the
headers of `cdef extern from` and `#include`. A Cython module and its .pxd are one module.
"""

import ast
import re
from typing import NamedTuple

import pytest
from common import SOURCES as PACKAGE

MAY_IMPORT = {
    "_math": (),
    "_loops": ("_math",),
    "_kernels": ("_math", "_loops"),
    "_engine": ("_math", "_loops"),
    "the Python half": ("_math", "_engine"),
    "reference.py": (),
    "the adapters": ("the Python half",),
    "comparison": ("the Python half", "reference.py"),
    "torch": ("the Python half", "_engine"),
    "the command line": ("_engine", "the Python half", "reference.py", "comparison"),
}
"""The parts of the package, and which other parts each may import."""

OTHER_NAMES = {"reference": "reference.py", "cli": "the command line", "__main__": "the command line",
               "commands": "the command line",
               **dict.fromkeys(("numba", "sklearn", "thinc"), "the adapters")}
"""The part of a module or folder of the package, unless it is the folder's name or, of a module, the Python half."""

WRITTEN = "table.pxi", "capi_declarations.pxi", "capi_definitions.pxi"
"""What tools/kernels.py writes."""

LATER: set[tuple[str, str]] = set()
"""The imports of modules of the package inside functions: importer and imported. They are in no circle."""


class Import(NamedTuple):
    """Two modules of the package, of which the first imports the second; `later`, when one of its functions runs."""

    importer: str
    imported: str
    later: bool


def module_of(file, package):
    """The name of the module that a file belongs to, or of what another file includes: package.folder.name."""
    parts = file.relative_to(package.parent).with_suffix("").parts
    name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
    return f"{name}.h" if file.suffix in (".h", ".c") else name


def sources(package):
    """The source files, without what tools write from them."""
    files = [file for suffix in ("py", "pyx", "pxd", "pxi", "h", "c") for file in package.rglob(f"*.{suffix}")]
    return [file for file in sorted(files) if file.name not in WRITTEN
            and (file.suffix != ".c" or not file.with_suffix(".pyx").exists())]


def imports_of_python(text):
    """Pairs: an import statement as an ast node, and whether it is inside a function."""

    def walk(node, later):
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Import | ast.ImportFrom):
                yield child, later
            yield from walk(child, later or isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef))

    return list(walk(ast.parse(text), False))


def imports_of_cython(text):
    """The same; an indented statement is inside a function. A cimport is an import."""
    text = re.sub(r"#.*", "", re.sub(r'""".*?"""', "", text, flags=re.DOTALL)).replace("\\\n", " ")
    found = []
    for indent, start, rest in re.findall(
        r"^([ \t]*)(from[ \t]+[\w.]+[ \t]+c?import|c?import)[ \t]+([^(\n]+|\([^)]*\))", text, re.MULTILINE
    ):
        statement = f"{start.replace('cimport', 'import')} {' '.join(rest.split())}"
        found.append((ast.parse(statement.replace(", )", ")")).body[0], bool(indent)))
    return found


def imported_files(file, package):
    """The files of the package that a Cython or C file includes."""
    pattern = r'^\s*#include "([^"]+)"' if file.suffix in (".h", ".c") else r'^(?:include|cdef extern from) "([^"]+)"'
    for name in re.findall(pattern, file.read_text(encoding="utf-8"), re.MULTILINE):
        for path in (file.parent / name, package / name):
            if path.exists() and path.name not in WRITTEN:
                yield path
                break


def read_imports(package):
    """The modules of a package, and every import between two of them."""
    files = sources(package)
    modules = {module_of(file, package) for file in files}
    imports = set()
    for file in files:
        importer = module_of(file, package)
        imports |= {Import(importer, module_of(other, package), False) for other in imported_files(file, package)}
        if file.suffix in (".h", ".c"):
            continue
        read = imports_of_python if file.suffix == ".py" else imports_of_cython
        for statement, later in read(file.read_text(encoding="utf-8")):
            if isinstance(statement, ast.Import):
                names = [alias.name for alias in statement.names]
            else:
                assert not statement.level, f"{file}: write {ast.unparse(statement)} with the name of the package"
                names = [f"{statement.module}.{alias.name}" for alias in statement.names]
                names = [name if name in modules else statement.module for name in names]
            imports |= {Import(importer, name, later) for name in names if name in modules}
    return modules, {one for one in imports if one.importer != one.imported}


def find_circle(imports):
    """The modules of one circle of imports, the first of them at the end again; none, if there is no circle."""
    edges = {}
    for one in imports:
        edges.setdefault(one.importer, set()).add(one.imported)
    while ends := {module for module, imported in edges.items() if not imported & edges.keys()}:
        edges = {module: imported for module, imported in edges.items() if module not in ends}
    path = sorted(edges)[:1]  # what is left imports something else that is left
    while path and path[-1] not in path[:-1]:
        path.append(min(edges[path[-1]] & edges.keys()))
    return path[path.index(path[-1]):] if path else []


def part_of(module):
    """The part of the package that a module belongs to."""
    name = module.removesuffix(".h").split(".")[1:2]
    if not name:
        return "the Python half"  # fastact/__init__.py
    return OTHER_NAMES.get(name[0], name[0] if (PACKAGE / name[0]).is_dir() else "the Python half")


MODULES, IMPORTS = read_imports(PACKAGE)


def test_no_circle_of_imports():
    circle = find_circle([one for one in IMPORTS if not one.later])
    assert not circle, f"a circle of imports: {' imports '.join(circle)}"


def test_imports_inside_functions_are_listed():
    """Such an import hides a circle; where one is needed, it is written into LATER."""
    later = {(one.importer, one.imported) for one in IMPORTS if one.later}
    for importer, imported in later - LATER:
        pytest.fail(f"a function of {importer} imports {imported}: import it at the head of the module")
    assert later == LATER, "tests/test_imports.py lists imports inside functions that are not there"


def test_every_part_imports_in_one_direction():
    parts = {part_of(module) for module in MODULES}
    for part in parts - set(MAY_IMPORT):
        pytest.fail(f"fastact/{part} is new: write into MAY_IMPORT of tests/test_imports.py which parts it may import")
    assert parts == set(MAY_IMPORT), "tests/test_imports.py names parts of the package that are not there"
    for one in sorted(IMPORTS):
        part, other = part_of(one.importer), part_of(one.imported)
        allowed = (part, *MAY_IMPORT[part])
        assert other in allowed, (f"{one.importer} imports {one.imported}, but {part} may import from "
                                  f"{' and '.join(allowed)} alone, and not from {other}")


def test_no_command_imports_another_one():
    for one in sorted(IMPORTS):
        if one.importer.startswith("fastact.commands."):
            assert not one.imported.startswith("fastact.commands."), (
                f"{one.importer} imports {one.imported}: move what both need to fastact/commands/__init__.py or "
                "fastact/comparison/")


@pytest.fixture
def package(tmp_path):
    """A package with a circle of four modules, of four kinds."""
    folder = tmp_path / "pack"
    (folder / "inner").mkdir(parents=True)
    for name, text in {
        "__init__.py": "from pack import outside\n",
        "outside.py": "import pack.a\n",
        "a.py": "from collections import abc\n\nfrom pack import b\n\n\ndef late():\n    from pack import outside\n",
        "b.pyx": '"""Text:\n\nimport pack\n"""\n# import pack\n'
                 "from pack.inner.c cimport (\n    one,  # first\n    two,\n)\n",
        "b.pxd": "cimport numpy as cnp\n",
        "inner/__init__.py": "",
        "inner/c.pxd": 'cdef extern from "inner/c.h" nogil:\n    int one\ncdef extern from "stdio.h":\n    pass\n'
                       "from pack.inner cimport d\n",
        "inner/c.h": "",
        "inner/d.pyx": 'include "text.pxi"\n',
        "inner/text.pxi": "from pack.a import *\n",
        "inner/d.c": '#include "c.h"\n',
    }.items():
        (folder / name).write_text(text)
    return folder


def test_imports_are_read_from_every_kind_of_file(package):
    _, imports = read_imports(package)
    assert imports == {
        Import("pack", "pack.outside", False),
        Import("pack.outside", "pack.a", False),
        Import("pack.a", "pack.b", False),
        Import("pack.a", "pack.outside", True),
        Import("pack.b", "pack.inner.c", False),
        Import("pack.inner.c", "pack.inner.c.h", False),
        Import("pack.inner.c", "pack.inner.d", False),
        Import("pack.inner.d", "pack.inner.text", False),
        Import("pack.inner.text", "pack.a", False),
    }
    circle = ["pack.a", "pack.b", "pack.inner.c", "pack.inner.d", "pack.inner.text", "pack.a"]
    assert find_circle(imports - {Import("pack.a", "pack.outside", True)}) == circle
    assert find_circle(imports - {Import("pack.inner.text", "pack.a", False)}) == [
        "pack.outside", "pack.a", "pack.outside"]
    assert find_circle({one for one in imports if one.imported not in ("pack.a", "pack.outside")}) == []
