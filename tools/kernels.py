"""Write fastact/_kernels/table.pxi: a kernel for each formula and for each step of a row operation.

A kernel is one call of a loop with a formula as a constant. The table has names only, no arithmetic. The functions of
one number of fastact.capi are written from the same formulas, to ``capi_declarations.pxi`` and
``capi_definitions.pxi``. This module is the one parser of the declarations in ``_math/formulas.pxd`` and in the pages
of `PAGES_OF_ROWS`: setup.py calls `write_files`, the tests use `read_formulas`, `read_rows`, `read_steps`,
`read_operations` and `scalars`.
"""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

WRITTEN = "# Written by tools/kernels.py."
DTYPES = "float", "double"
BOUNDS = "bounded", "bounded_square"
PAGES_OF_ROWS = (  # operations on rows
    "_math/softmax", "_math/softmax_losses", "_math/divergences", "_math/entmax", "_math/entmax_alpha",
    "_loops/sampling")


class Formula(NamedTuple):
    """A function of formulas.pxd: ``cdef inline floating name(floating x, floating parameter, bint bounded)``."""

    name: str
    argument: str  # x, or y for a formula of the output
    parameters: tuple[str, ...]
    bound: str  # the flag that is the last argument, one of `BOUNDS`; "" without a flag


class Gated(NamedTuple):
    """A line of formulas.pxd: the activation of one input times another input."""

    name: str
    activation: str
    limited: bool  # it has the parameters `LIMITS` too


class Mode(NamedTuple):
    """A mode of an activation: the formula of each output, and whether the outputs are multiplied by dy."""

    name: str
    suffixes: tuple[str, ...]
    multiplied: bool = False


MODES = (
    Mode("value", ("",)),
    Mode("derivative", ("_derivative",)),
    Mode("backward", ("_derivative",), multiplied=True),
    Mode("value_and_derivative", ("", "_derivative")),
    Mode("backward_from_output", ("_derivative_from_output",), multiplied=True),
)
MODES_OF_GATED = (
    Mode("value", ("",)),
    Mode("backward", ("", "_derivative"), multiplied=True),
)
LIMITS = "limit", "offset"
ANYWHERE = "anywhere"  # the version of a formula for any x
KINDS = {"maximum": "extreme", "minimum": "extreme", "prepare": "constants", "flag": "constants", "finish": "constants",
         "accumulate": "accumulate", "recover": "recover", "search": "search", "patch": "patch", "emit": "emit"}


class Step(NamedTuple):
    """A function of one entry of a row: ``accumulate_*`` or ``emit_*``."""

    kind: str
    name: str
    sums: int  # sums that one pass accumulates
    moved: bool  # it has a version for rows whose maximum is subtracted first
    light: bool  # it returns an expression without a call
    constants: tuple[str, ...]  # names of row_state.pxd that it reads


class Steps(NamedTuple):
    """The functions of rows: for all entries, for constants of a row, for single entries, for one row as a whole."""

    entries: tuple[Step, ...]
    constants: tuple[str, ...]
    patches: tuple[str, ...]
    searches: tuple[str, ...]


class OperationStep(NamedTuple):
    """One line of an operation: the key of a kernel, the arrays that it reads, the condition on rows."""

    kind: str
    kernel: str
    reads: tuple[str, ...]
    condition: str  # "" or "if ...", as the head of softmax.pxd explains them
    target: str  # the array that it writes to, y or out


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


def entries(kernels: list[Kernel]) -> list[str]:
    """Enter the kernels into the table: a loop, since a statement for each would be a twentieth of the module."""
    return [
        f"cdef size_t ADDRESSES[{len(kernels)}]",
        "ADDRESSES[:] = [",
        *(f"    <size_t> &{kernel.name}," for kernel in kernels),
        "]",
        'KEYS = """',
        *(f"{kernel.key}.{kernel.dtype}" for kernel in kernels),
        '""".split()',
        f"KERNELS.update({{KEYS[k]: ADDRESSES[k] for k in range({len(kernels)})}})",
    ]


def read_formulas(text: str) -> dict[str, Formula]:
    """Parse the declarations in the text of formulas.pxd, in order."""
    found = {}
    for name, arguments in re.findall(r"^cdef inline floating (\w+)\(([^)]*)\)", text, re.MULTILINE):
        declared = [argument.split() for argument in arguments.split(",")]
        numbers = [one for kind, one in declared if kind == "floating"]
        flags = [one for kind, one in declared if kind == "bint"]
        found[name] = Formula(name, numbers[0], tuple(numbers[1:]), *(flags or [""]))
    return found


def read_gated(text: str, formulas: dict[str, Formula]) -> dict[str, Gated]:
    """Parse the list of gated activations in the comments of formulas.pxd.

    Raises
    ------
    ValueError
        If a line names no activation, or one with other parameters than the loops take.
    """
    found = {}
    for lines in re.findall(r"^# Gated activations[^\n]*:\n#\n((?:#   .*\n)+)", text, re.MULTILINE):
        for line in lines.splitlines():
            parts = re.fullmatch(r"#\s+(\w+)\s+(\w+)(, limited)?", line)
            activation = formulas.get(parts[2]) if parts else None
            if (not parts or not activation or f"{parts[2]}_derivative" not in formulas
                    or len(activation.parameters) > 1 or (parts[3] and not activation.parameters)):
                raise ValueError(f"formulas.pxd: {line!r} is not a gated activation; accepted is a name and an "
                                 f"activation with at most one parameter, or with one parameter and `, limited`")
            found[parts[1]] = Gated(parts[1], parts[2], bool(parts[3]))
    return found


def read_lanes(text: str) -> list[str]:
    """Find the float functions of tables.h that compute a vector at a time."""
    return re.findall(r"^static inline void fastact_(\w+)_lanes\(", text, re.MULTILINE)


def read_rows(folder: Path) -> str:
    """Return the text of the pages of rows in the folder of the package."""
    return "\n".join((folder / f"{page}.pxd").read_text() for page in PAGES_OF_ROWS)


def read_steps(text: str) -> Steps:
    """Parse the declarations in the text of the pages of rows, in order."""
    entries = re.findall(r"^cdef inline floating (accumulate|emit)_(\w+)\(floating x, floating y, "
                         r"const floating\* c(.*?)\) noexcept nogil:\n((?:    [^\n]*\n)+)", text,
                         re.MULTILINE | re.DOTALL)
    bodies = dict(re.findall(r"^cdef inline \w+ (\w+)\([^)]*const floating\* c\b[^)]*\) noexcept nogil:\n"
                             r"((?:    [^\n]*\n)+)", text, re.MULTILINE))
    return Steps(
        tuple(Step(kind, name, max(rest.count("floating*"), 1), f"{kind}_{name}_moved" in bodies,
                   re.fullmatch(r" +return [^(\n]+\n", body) is not None,
                   tuple(sorted(constants_read(f"{kind}_{name}", bodies))))
              for kind, name, rest, body in entries if not name.endswith("_moved")),
        tuple(re.findall(r"^cdef inline void (\w+)\(StripState\* state, Py_ssize_t i, floating unused\)", text,
                         re.MULTILINE)),
        tuple(re.findall(r"^cdef inline void (patch_\w+)\(", text, re.MULTILINE)),
        tuple(re.findall(r"^cdef inline void (search_\w+)\(const floating\* x, ", text, re.MULTILINE)),
    )


def constants_read(name: str, bodies: dict[str, str]) -> set[str]:
    """Find the constants that a formula reads, also in its version for moved rows and in the formulas that it calls."""
    body = bodies[name] + bodies.get(f"{name}_moved", "")
    called = {word for word in re.findall(r"\w+", body) if word in bodies} - {name}
    return set(re.findall(r"\bc\[(\w+)\]", body)).union(*(constants_read(one, bodies) for one in called))


def read_operations(text: str) -> dict[str, tuple[OperationStep, ...]]:
    """Parse the lists of steps in the comments of the pages of rows.

    Raises
    ------
    ValueError
        If a line is not a step.
    """
    found = {}
    for name, lines in re.findall(r"^# Steps of (\w+):\n((?:#   .*\n)+)", text, re.MULTILINE):
        found[name] = tuple(operation_step(line[1:].strip()) for line in lines.splitlines())
    return found


def operation_step(line: str) -> OperationStep:
    parts = re.fullmatch(r"([a-z]+)(_\w+)?(?: of (x|y|out)(?: and (y))?)?(, stored)?(?:, to (y))?"
                         r"(?:, (if (?:long|short|dominant|long and dominant)))?", line)
    if not parts or parts[1] not in KINDS:
        raise ValueError(f"fastact/_math: {line!r} is not a step; accepted is: function of x|y|out [and y][, stored]"
                         f"[, to y][, if long|, if short|, if dominant|, if long and dominant], with a function that "
                         f"begins with {', '.join(KINDS)}")
    prefix, name, *reads, stored, target, condition = parts.groups(default="")
    return OperationStep(KINDS[prefix], prefix + name + (".store" if stored else ""), tuple(filter(None, reads)),
                         condition, target or "out")


def modes_of(name: str, formulas: dict[str, Formula]) -> list[Mode]:
    """List the modes for which an activation has formulas; none if the name is not an activation."""
    if f"{name}_derivative" not in formulas:
        return []
    of_parameters = [Mode(f"backward_{parameter}", (f"_derivative_in_{parameter}",), multiplied=True)
                     for parameter in formulas[name].parameters]
    return [mode for mode in (*MODES, *of_parameters) if all(name + suffix in formulas for suffix in mode.suffixes)]


def versions(formula: Formula) -> Iterator[str]:
    """Write a bounded formula as two functions without its flag: for any x, and for |x| within the bound."""
    x, declared = formula.argument, "".join(f", floating {name}" for name in formula.parameters)
    for version, arguments in (
        (ANYWHERE, (x, *formula.parameters, "False")),
        (formula.bound, (x, *["<floating> 1"] * len(formula.parameters), "True")),
    ):
        yield (f"cdef inline floating {formula.name}_{version}(floating {x}{declared}) noexcept nogil:\n"
               f"    return {formula.name}({', '.join(arguments)})\n")


def elementwise_kernels(formulas: dict[str, Formula], lanes: Iterable[str]) -> Iterator[Kernel]:
    """Write a kernel for each mode and dtype of each activation."""
    for name in formulas:
        for mode in modes_of(name, formulas):
            for dtype in DTYPES:
                vector = dtype == "float" and mode.suffixes[0] == "" and name in lanes
                yield block_kernel(name, mode, dtype, [formulas[name + suffix] for suffix in mode.suffixes],
                                   lanes=f"<void*> fastact_{name}_lanes" if vector else "NULL")


def gated_kernels(gated: dict[str, Gated], formulas: dict[str, Formula]) -> Iterator[Kernel]:
    """Write a kernel for each mode and dtype of each gated activation."""
    for one in gated.values():
        for mode in MODES_OF_GATED:
            for dtype in DTYPES:
                used = [formulas[one.activation + suffix] for suffix in mode.suffixes]
                yield block_kernel(one.name, mode, dtype, used, one)


def block_kernel(name: str, mode: Mode, dtype: str, used: list[Formula], gated: Gated | None = None,
                 lanes: str = "NULL") -> Kernel:
    """Write a kernel, which is one call with the fields of ``Formulas`` (_loops/elementwise.pxd)."""
    bound = next((one.bound for one in used if one.bound), "")
    addresses = []
    for version in ANYWHERE, bound:
        names = [f"{one.name}_{version}" if one.bound else one.name for one in used] if version else []
        addresses += [*(f"<void*> &{one}[{dtype}]" for one in names), *["NULL"] * (2 - len(names))]
    limited = gated is not None and gated.limited
    parameters = len(used[0].parameters) + (len(LIMITS) if limited else 0)
    constants = [*addresses, lanes, bound == BOUNDS[1], mode.multiplied, gated is not None, limited, parameters,
                 len(used)]
    return Kernel(f"{name}.{mode.name}", dtype, "void** operands, Py_ssize_t n, int form",
                  f"compute_block[{dtype}](Formulas({', '.join(map(str, constants))}), <{dtype}**> operands, n, form)")


def read_losses(text: str) -> list[str]:
    """Find the losses of sigmoid_losses.pxd: functions of x, y and four numbers with two results."""
    return re.findall(r"^cdef inline void (\w+)\(floating x, floating y(?:,\s+floating \w+){4}"
                      r"(?:,\s+floating\* \w+){2}\)", text, re.MULTILINE)


def loss_kernels(names: Iterable[str]) -> Iterator[Kernel]:
    """Write two kernels for each loss and dtype: with both results, and with the first one alone."""
    for name in names:
        for key, both in ("first", False), ("both", True):
            for dtype in DTYPES:
                first = f"<void*> &{name}[{dtype}], {both}"
                yield Kernel(f"{name}.{key}", dtype, "void** operands, Py_ssize_t n, int form",
                             f"compute_losses[{dtype}]({first}, <{dtype}**> operands, n, form)")


STRIP = "const void* x, {y}Py_ssize_t n, Py_ssize_t stride, Py_ssize_t width, {const}StripState* state"


def row_kernels(steps: Steps) -> Iterator[Kernel]:
    """Write a kernel for each step, dtype and layout."""
    for dtype in DTYPES:
        for step in steps.entries:
            yield from entry_kernels(step, dtype)
        for name in steps.constants:
            yield Kernel(f"rows.{name}", dtype, "StripState* state, Py_ssize_t width",
                         f"cdef Py_ssize_t i\n    for i in range(width):\n        {name}[{dtype}](state, i, 0)")
        for name in steps.patches:
            yield Kernel(f"rows.{name}", dtype,
                         "const void* x, void* entry, Py_ssize_t n, Py_ssize_t distance, StripState* state, "
                         "Py_ssize_t i",
                         f"{name}[{dtype}](<const {dtype}*> x, <{dtype}*> entry, n, distance, state, i)")
        for layout in "rows", "columns":
            for name, call in (
                ("maximum", f"extreme_of_{layout}[{dtype}](False, "),
                ("minimum", f"extreme_of_{layout}[{dtype}](True, "),
                ("recover_pairs", f"recover_{layout}[{dtype}](False, "),
                ("recover_stored", f"recover_{layout}[{dtype}](True, "),
            ):
                yield Kernel(f"{layout}.{name}", dtype, STRIP.format(y="", const=""),
                             f"{call}<const {dtype}*> x, n, stride, width, state)")
            for name in steps.searches:     # of one function, since a search is long
                each = "x + i * stride, n, 1" if layout == "rows" else "x + i, n, stride"
                yield Kernel(f"{layout}.{name}", dtype, STRIP.format(y="", const=""),
                             f"cdef Py_ssize_t i\n    for i in range(width):\n"
                             f"        row_{name}_{dtype}(<const {dtype}*> {each}, state, i)")
        for name in steps.searches:
            yield Kernel(f"row.{name}", dtype,
                         "const void* x, Py_ssize_t n, Py_ssize_t distance, StripState* state, Py_ssize_t i",
                         f"{name}[{dtype}](<const {dtype}*> x, n, distance, state, i)")


def entry_kernels(step: Step, dtype: str) -> Iterator[Kernel]:
    """Write the kernels of one step for rows and for columns; an accumulation also with its terms stored."""
    name = f"{step.kind}_{step.name}"
    formula, arrays = f"<void*> &{name}[{dtype}]", f"<const {dtype}*> x, <const {dtype}*> y, <{dtype}*> out"
    constants = " | ".join(f"1 << {one} // STRIP" for one in step.constants) or "0"
    if step.kind == "accumulate":
        moved = f"<void*> &{name}_moved[{dtype}]" if step.moved else "NULL"
        forms = {suffix: f"Terms({formula}, {moved}, {step.sums}, {suffix != ''}, {step.light}, {constants})"
                 for suffix in (".store", "")}
        const = ""
    else:
        forms, const = {"": f"{formula}, {constants}"}, "const "
    for suffix, first in forms.items():
        for layout in "rows", "columns":
            yield Kernel(f"{layout}.{name}{suffix}", dtype, STRIP.format(y="const void* y, void* out, ", const=const),
                         f"{step.kind}_{layout}[{dtype}]({first}, {arrays}, n, stride, width, state)")


def check_operations(operations: dict[str, tuple[OperationStep, ...]], kernels: set[str]) -> None:
    """Check that each step has a kernel.

    Raises
    ------
    ValueError
        If a step has none.
    """
    for name, steps in operations.items():
        for step in steps:
            if f"rows.{step.kernel}" not in kernels:
                raise ValueError(f"fastact/_math: {step.kernel} in the steps of {name} has no formula; write one with "
                                 f"the arguments that the other functions of its kind have")


def table(folder: Path) -> str:
    """Make the text of the table from the sources in the folder of the package."""
    elementwise = (folder / "_math" / "formulas.pxd").read_text()
    formulas = read_formulas(elementwise)
    gated = read_gated(elementwise, formulas)
    lanes = read_lanes((folder / "_math" / "tables.h").read_text())
    rows = read_rows(folder)
    losses = read_losses((folder / "_math" / "sigmoid_losses.pxd").read_text())
    operations = read_operations(rows)
    used = {step.kernel for steps in operations.values() for step in steps}
    kernels = [*elementwise_kernels(formulas, lanes), *gated_kernels(gated, formulas), *loss_kernels(losses),
               *(kernel for kernel in row_kernels(read_steps(rows)) if kernel.key.partition(".")[2] in used)]
    check_operations(operations, {kernel.key for kernel in kernels})
    return "\n".join([
        WRITTEN,
        f"from fastact._math.formulas cimport {', '.join(formulas)}",
        f"from fastact._math.sigmoid_losses cimport {', '.join(losses)}",
        "from fastact._math.row_state cimport *",
        *(f"from fastact.{page.replace('/', '.')} cimport *" for page in PAGES_OF_ROWS),
        'cdef extern from "_math/tables.h" nogil:',
        *(f"    void* fastact_{name}_lanes" for name in lanes),
        "",
        *(text for formula in formulas.values() if formula.bound for text in versions(formula)),
        *map(str, kernels),
        *(f'PARAMETERS["{name}"] = {len(formula.parameters)}'
          for name, formula in formulas.items() if modes_of(name, formulas)),
        *(f'GATED["{one.name}"] = "{one.activation}", {one.limited}' for one in gated.values()),
        *(f'OPERATIONS["{name}"] = {tuple(map(tuple, steps))!r}' for name, steps in operations.items()),
        *entries(kernels),
        "",
    ])


class Scalar(NamedTuple):
    """A C function of one number, and of the parameters: a mode of an activation."""

    name: str
    activation: str
    mode: str
    parameters: tuple[str, ...]

    @property
    def head(self) -> str:
        arguments = ", ".join(f"floating {one}" for one in ("x", *self.parameters))
        return f"cdef floating {self.name}({arguments}) noexcept nogil"

    def define(self, index: int) -> str:
        """Write the function, which is the operation with this index in `SCALARS`."""
        lines = [f"{self.head}:"]
        if self.parameters:
            lines += [f"cdef double parameters[{len(self.parameters)}]",
                      *(f"parameters[{k}] = {one}" for k, one in enumerate(self.parameters))]
        lines.append(f"return compute_number[floating]({index}, x, {'parameters' if self.parameters else 'NULL'})")
        return "\n    ".join(lines) + "\n"


def scalars(formulas: dict[str, Formula]) -> list[Scalar]:
    """List the functions of one number: the value and the derivative of each activation."""
    return [Scalar(name + suffix, name, mode, formulas[name].parameters)
            for name in formulas if modes_of(name, formulas)
            for mode, suffix in (("value", ""), ("derivative", "_derivative"))]


def write_files(folder: Path) -> None:
    """Write the files that have changed; an unchanged one keeps its date, and is not compiled again."""
    listed = scalars(read_formulas((folder / "_math" / "formulas.pxd").read_text()))
    for name, text in {
        "_kernels/table.pxi": table(folder),
        "capi_declarations.pxi": "\n".join([WRITTEN, *(one.head for one in listed), ""]),
        "capi_definitions.pxi": "\n".join([
            WRITTEN, *(one.define(k) for k, one in enumerate(listed)),
            f"cdef list SCALARS = {[(one.activation, one.mode) for one in listed]}", ""]),
    }.items():
        path = folder / name
        if not path.exists() or path.read_text() != text:
            path.write_text(text)


if __name__ == "__main__":
    write_files(Path(__file__).parents[1] / "fastact")
