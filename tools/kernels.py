"""Write fastact/_kernel_table.pxi: every formula and every step of a row, handed to its loops.

The table is made of names alone, never of arithmetic. This module is the one reader of the declarations in
``_formulas.pxd`` and ``_rows.pxd``: setup.py calls `write_table`, the tests use `read_formulas` and `read_steps`.
"""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

DTYPES = "float", "double"


class Formula(NamedTuple):
    """A function of ``_formulas.pxd``: ``cdef inline floating name(floating x, floating parameter, bint near)``."""

    name: str
    variable: str
    parameters: tuple[str, ...]
    bound: str  # "near" or "close": the promise about |x| that its last argument makes; "" without one


class Mode(NamedTuple):
    """What is computed of an activation: by which block loop of ``_loops.pxd``, from which formulas."""

    name: str
    loop: str
    suffixes: tuple[str, ...]


MODES = (
    Mode("value", "map", ("",)),
    Mode("derivative", "map", ("_derivative",)),
    Mode("backward", "backward", ("_derivative",)),
    Mode("value_and_derivative", "both", ("", "_derivative")),
    Mode("backward_from_output", "backward", ("_derivative_from_output",)),
    Mode("backward_parameter", "backward", ("_derivative_in_parameter",)),
)
ANYWHERE = "anywhere"  # the version of a formula for any x


class Step(NamedTuple):
    """A function of ``_rows.pxd`` on the entries of a row: ``accumulate_*`` or ``emit_*``."""

    kind: str
    name: str
    sums: int  # that one pass accumulates
    moved: bool  # whether there is a version for rows whose maximum is subtracted first


class Steps(NamedTuple):
    """What ``_rows.pxd`` declares: steps, functions that set constants of a row, functions that correct one entry."""

    entries: tuple[Step, ...]
    constants: tuple[str, ...]
    settling: tuple[str, ...]


class Kernel(NamedTuple):
    """One function of the table, and its key."""

    key: str
    dtype: str
    arguments: str
    body: str

    def __str__(self) -> str:
        return f"cdef void {self.name}({self.arguments}) noexcept nogil:\n    {self.body}\n"

    @property
    def name(self) -> str:
        return f"{self.key.replace('.', '_')}_{self.dtype}"

    @property
    def entry(self) -> str:
        return f'KERNELS["{self.key}.{self.dtype}"] = <size_t> &{self.name}'


def read_formulas(text: str) -> dict[str, Formula]:
    """The declarations in the text of ``_formulas.pxd``, in their order."""
    found = {}
    for name, arguments in re.findall(r"^cdef inline floating (\w+)\(([^)]*)\)", text, re.MULTILINE):
        types, names = zip(*(argument.split() for argument in arguments.split(",")), strict=True)
        numbers = [name for kind, name in zip(types, names, strict=True) if kind == "floating"]
        flags = [name for kind, name in zip(types, names, strict=True) if kind == "bint"]
        variable, *parameters = numbers
        found[name] = Formula(name, variable, tuple(parameters), *(flags or [""]))
    return found


def read_lanes(text: str) -> list[str]:
    """The float functions of ``_tables.h`` that compute a vector at a time."""
    return re.findall(r"^static inline void fastact_(\w+)_lanes\(", text, re.MULTILINE)


def read_steps(text: str) -> Steps:
    """The declarations in the text of ``_rows.pxd``, in their order."""
    entries = re.findall(r"^cdef inline floating (accumulate|emit)_(\w+)\(floating x, floating y(.*?)\)", text,
                         re.MULTILINE | re.DOTALL)
    names = {name for _, name, _ in entries}
    return Steps(
        tuple(Step(kind, name, max(rest.count("floating*"), 1), f"{name}_moved" in names)
              for kind, name, rest in entries if not name.endswith("_moved")),
        tuple(re.findall(r"^cdef inline void (\w+)\(Rows\* rows, Py_ssize_t i, floating unused\)", text, re.MULTILINE)),
        tuple(re.findall(r"^cdef inline void (settle_\w+)\(", text, re.MULTILINE)),
    )


def modes_of(name: str, formulas: dict[str, Formula]) -> list[Mode]:
    """The modes for which an activation has formulas; none if it is no activation."""
    if f"{name}_derivative" not in formulas:
        return []
    return [mode for mode in MODES if all(name + suffix in formulas for suffix in mode.suffixes)]


def versions(formula: Formula) -> Iterator[str]:
    """A bounded formula as two functions without its flag, for any x and for those within the bound."""
    declared = "".join(f", floating {parameter}" for parameter in formula.parameters)
    for version, arguments in (
        (ANYWHERE, ("x", *formula.parameters, "False")),
        (formula.bound, ("x", *["<floating> 1"] * len(formula.parameters), "True")),
    ):
        yield (f"cdef inline floating {formula.name}_{version}(floating x{declared}) noexcept nogil:\n"
               f"    return {formula.name}({', '.join(arguments)})\n")


def elementwise_kernels(formulas: dict[str, Formula], lanes: Iterable[str]) -> Iterator[Kernel]:
    """A kernel for each mode and dtype of each activation."""
    for name, formula in formulas.items():
        for mode in modes_of(name, formulas):
            used = [formulas[name + suffix] for suffix in mode.suffixes]
            bound = next((one.bound for one in used if one.bound), "")
            functions = [f"{one.name}_{ANYWHERE}" if one.bound else one.name for one in used]
            if bound:
                functions += [f"{one.name}_{bound}" if one.bound else one.name for one in used]
            for dtype in DTYPES:
                pointers = [f"<void*> &{function}[{dtype}]" for function in functions]
                pointers += [] if bound else ["NULL"] * len(used)
                if mode.loop != "backward":
                    vector = dtype == "float" and mode.suffixes[0] == "" and name in lanes
                    pointers.append(f"<void*> fastact_{name}_lanes" if vector else "NULL")
                yield Kernel(
                    f"{name}.{mode.name}", dtype, "void** operands, Py_ssize_t n, int form",
                    f"{mode.loop}_block[{dtype}]({', '.join(pointers)}, {bound == 'close'}, {len(formula.parameters)}, "
                    f"<{dtype}**> operands, n, form)")


STRIP = "const void* x, {y}Py_ssize_t n, Py_ssize_t stride, Py_ssize_t width, {const}Rows* rows"


def row_kernels(steps: Steps) -> Iterator[Kernel]:
    """A kernel for each step, dtype and layout."""
    for dtype in DTYPES:
        for step in steps.entries:
            yield from entry_kernels(step, dtype)
        for name in steps.constants:
            yield Kernel(f"rows.{name}", dtype, "Rows* rows, Py_ssize_t width",
                         f"cdef Py_ssize_t i\n    for i in range(width):\n        {name}[{dtype}](rows, i, 0)")
        for name in steps.settling:
            yield Kernel(f"rows.{name}", dtype,
                         "const void* x, void* entry, Py_ssize_t n, Py_ssize_t distance, Rows* rows, Py_ssize_t i",
                         f"{name}[{dtype}](<const {dtype}*> x, <{dtype}*> entry, n, distance, rows, i)")
        for layout in "rows", "columns":
            for name, call in (
                ("maximum", f"extreme_of_{layout}[{dtype}](False, "),
                ("minimum", f"extreme_of_{layout}[{dtype}](True, "),
                ("mend_pairs", f"mend_{layout}[{dtype}]("),
            ):
                yield Kernel(f"{layout}.{name}", dtype, STRIP.format(y="", const=""),
                             f"{call}<const {dtype}*> x, n, stride, width, rows)")


def entry_kernels(step: Step, dtype: str) -> Iterator[Kernel]:
    """A step over the entries of rows and of columns; one that accumulates may store its terms."""
    formula = f"{step.kind}_{step.name}"
    arguments, forms, const = f"<void*> &{formula}[{dtype}], ", {"": ""}, "const "
    if step.kind == "accumulate":
        moved = f"<void*> &{formula}_moved[{dtype}]" if step.moved else "NULL"
        arguments += f"{moved}, {step.sums}, "
        forms, const = {".store": "True, ", "": "False, "}, ""
    arguments += f"<const {dtype}*> x, <const {dtype}*> y, <{dtype}*> out, "
    for suffix, store in forms.items():
        for layout in "rows", "columns":
            yield Kernel(f"{layout}.{formula}{suffix}", dtype,
                         STRIP.format(y="const void* y, void* out, ", const=const),
                         f"{step.kind}_{layout}[{dtype}]({arguments}{store}n, stride, width, rows)")


def table(folder: Path) -> str:
    """The text of ``_kernel_table.pxi``, from the sources in the folder of the package."""
    formulas = read_formulas((folder / "_formulas.pxd").read_text())
    lanes = read_lanes((folder / "_tables.h").read_text())
    kernels = [*elementwise_kernels(formulas, lanes), *row_kernels(read_steps((folder / "_rows.pxd").read_text()))]
    parameters = [f'PARAMETERS["{name}"] = {len(formula.parameters)}'
                  for name, formula in formulas.items() if modes_of(name, formulas)]
    return "\n".join([
        "# Written by tools/kernels.py.",
        f"from fastact._formulas cimport {', '.join(formulas)}",
        "from fastact._rows cimport *",
        'cdef extern from "_tables.h" nogil:',
        *(f"    void* fastact_{name}_lanes" for name in lanes),
        "",
        *(text for formula in formulas.values() if formula.bound for text in versions(formula)),
        *map(str, kernels),
        *parameters,
        *(kernel.entry for kernel in kernels),
        "",
    ])


def write_table(folder: Path) -> None:
    """Write the table, unless it is there already: what was compiled of it then stays."""
    path, text = folder / "_kernel_table.pxi", table(folder)
    if not path.exists() or path.read_text() != text:
        path.write_text(text)


if __name__ == "__main__":
    write_table(Path(__file__).parents[1] / "fastact")
