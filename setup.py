"""Build the extension modules.

Three things happen here and nowhere else:

* the compiler flags and the Cython directives are chosen.  Directives in the head of a .pyx do not reach the .pxd files
  that it cimports, and without ``cdivision`` every division of a formula would get a test that keeps the loop scalar;
* the kernels are compiled once per instruction set, from one source: ``_kernels_<set>.pyx`` is an include of
  ``_kernels.pxi``;
* ``_kernel_table.pxi`` is written: for every formula of ``_formulas.pxd`` and every step of ``_rows.pxd`` the few lines
  that hand it to a loop.  It is made of names alone, never of arithmetic.

Environment: ``FASTACT_OPENMP=0`` builds without threads; ``FASTACT_INSTRUCTION_SETS=baseline`` builds one generic set;
``FASTACT_SANITIZE=address,undefined`` builds with these sanitizers of the compiler, slowly, for tests alone.
"""

import os
import re
import shlex
import subprocess
import sysconfig
import tempfile
from pathlib import Path

import numpy
from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

PACKAGE = Path(__file__).parent / "fastact"

# No -ffast-math nor any part of it that drops compensation or NaN, also where CFLAGS or CC have it, which come before;
# _bits.h refuses what is left.  Linked with it (CFLAGS and LDFLAGS do both), gcc up to 12 and clang would switch the
# whole process to flush-to-zero at import.  -fno-math-errno and -fno-trapping-math are what lets ternaries become
# selects; contraction stays off because multiply-add is written out (_bits.h).
EXACT = ["-O3", "-fno-fast-math", "-fno-unsafe-math-optimizations", "-fno-finite-math-only", "-fno-associative-math",
         "-fno-reciprocal-math", "-fsigned-zeros", "-fno-rounding-math", "-fno-single-precision-constant"]
KNOWN_TO_SOME = ["-mno-daz-ftz", "-fdenormal-fp-math=ieee", "-mfpmath=sse"]     # gcc 13, clang, x86
FLAGS = ["-g0", "-fno-math-errno", "-fno-trapping-math", "-ffp-contract=off"]
SANITIZE = []
if "FASTACT_SANITIZE" in os.environ:
    SANITIZE = [f"-fsanitize={os.environ['FASTACT_SANITIZE']}", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer"]
    FLAGS += [*SANITIZE, "-O1", "-g1"]
X86_64 = sysconfig.get_platform().lower().endswith(("x86_64", "amd64"))  # of what is built, not of this machine
INSTRUCTION_SETS = {"baseline": ["-march=x86-64-v2"] if X86_64 else []}
if X86_64 and os.environ.get("FASTACT_INSTRUCTION_SETS") != "baseline":
    INSTRUCTION_SETS["v3"] = ["-march=x86-64-v3"]
    INSTRUCTION_SETS["v4"] = ["-march=x86-64-v4", "-mprefer-vector-width=512", "-mtune=skylake-avx512"]

DTYPES = "float", "double"
DIRECTIVES = {
    "language_level": 3,
    "boundscheck": False,
    "wraparound": False,
    "initializedcheck": False,
    "cdivision": True,
    "freethreading_compatible": True,
}


def compiles(flags, source="int main(void) { return 0; }", link=False):
    """Whether the C compiler takes these flags."""
    compiler = shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "probe.c")
        path.write_text(source)
        command = [*compiler, *flags, str(path), "-o", str(Path(folder, "probe"))] + ([] if link else ["-c"])
        try:
            return subprocess.run(command, capture_output=True).returncode == 0
        except OSError:
            return False


def exact_flags():
    """Flags that undo whatever the user's flags do to arithmetic."""
    known = [flag for flag in KNOWN_TO_SOME if compiles(["-Werror", flag])]
    return EXACT + known if compiles(EXACT) else [flag for flag in EXACT if compiles([flag])] + known


def openmp_flags():
    if os.environ.get("FASTACT_OPENMP") == "0":
        return []
    source = "#include <omp.h>\nint main(void) { return omp_get_max_threads() < 1; }"
    return ["-fopenmp"] if compiles(["-fopenmp"], source, link=True) else []


def kernel_table():
    """The text of _kernel_table.pxi: each formula handed to its loops, each address entered in the table KERNELS."""
    functions, rows = [], []

    def kernel(key, dtype, signature, body):
        name = f"{key.replace('.', '_')}_{dtype}"
        functions.append(f"cdef {signature.format(name=name)} noexcept nogil:\n    {body}\n")
        rows.append(f'KERNELS["{key}.{dtype}"] = <size_t> &{name}')

    formulas = dict(re.findall(r"^cdef inline floating (\w+)\(floating \w+([^)]*)\)",
                               (PACKAGE / "_formulas.pxd").read_text(), re.MULTILINE))
    tables = re.findall(r"^static inline void fastact_(\w+)_lanes\(", (PACKAGE / "_tables.h").read_text(), re.MULTILINE)
    reaches = {name: reach for name, rest in formulas.items() for reach in re.findall(r"bint (near|close)", rest)}
    for name, reach in reaches.items():
        parameters = re.findall(r"floating (\w+)", formulas[name])
        signature = "".join(f", floating {parameter}" for parameter in parameters)
        anywhere = ", ".join(["x", *parameters, "False"])
        within = ", ".join(["x", *["<floating> 1"] * len(parameters), "True"])
        for version, arguments in (("anywhere", anywhere), (reach, within)):
            functions.append(f"cdef inline floating {name}_{version}(floating x{signature}) noexcept nogil:\n"
                             f"    return {name}({arguments})\n")
    for name, rest in formulas.items():
        derivative, from_output = name + "_derivative", name + "_derivative_from_output"
        if derivative not in formulas:
            continue
        kernels = {"value": ("map", name), "derivative": ("map", derivative), "backward": ("backward", derivative),
                   "value_and_derivative": ("both", name, derivative)}
        if from_output in formulas:
            kernels["backward_from_output"] = "backward", from_output
        if derivative + "_in_parameter" in formulas:
            kernels["backward_parameter"] = "backward", derivative + "_in_parameter"
        parameters = rest.count("floating")
        rows.append(f'PARAMETERS["{name}"] = {parameters}')
        for mode, (loop, *arguments) in kernels.items():
            reach = next((reaches[formula] for formula in arguments if formula in reaches), None)
            versions = [f"{formula}_anywhere" if formula in reaches else formula for formula in arguments]
            within = [f"{formula}_{reach}" if formula in reaches else formula for formula in arguments] if reach else []
            for dtype in DTYPES:
                pointers = [f"<void*> &{formula}[{dtype}]" for formula in versions + within]
                pointers += [] if reach else ["NULL"] * len(arguments)
                if loop != "backward":
                    of_value = dtype == "float" and name in tables and arguments[0] == name
                    pointers.append(f"<void*> fastact_{name}_lanes" if of_value else "NULL")
                kernel(f"{name}.{mode}", dtype, "void {name}(void** operands, Py_ssize_t n, int form)",
                       f"{loop}_block[{dtype}]({', '.join(pointers)}, {reach == 'close'}, {parameters}, "
                       f"<{dtype}**> operands, n, form)")

    text = (PACKAGE / "_rows.pxd").read_text()
    steps = re.findall(r"^cdef inline floating (accumulate|emit)_(\w+)\(floating x, floating y(.*?)\)", text,
                       re.MULTILINE | re.DOTALL)
    constants = re.findall(r"^cdef inline void (\w+)\(Rows\* rows, Py_ssize_t i, floating unused\)", text, re.MULTILINE)
    settling = re.findall(r"^cdef inline void (settle_\w+)\(", text, re.MULTILINE)
    pointers = "const void* x, const void* y, void* out, Py_ssize_t n, Py_ssize_t stride, Py_ssize_t width"
    strip = "n, stride, width, rows"
    for dtype in DTYPES:
        for kind, name, rest in steps:
            if name.endswith("_moved"):
                continue
            arrays = f"<const {dtype}*> x, <const {dtype}*> y, <{dtype}*> out"
            forms, const, sums = {"": ""}, "const ", ""
            if kind == "accumulate":
                moved = f"<void*> &{kind}_{name}_moved[{dtype}]" if f"{kind}_{name}_moved(" in text else "NULL"
                forms, const = {".store": "True, ", "": "False, "}, ""
                sums = f"{moved}, {max(rest.count('floating*'), 1)}, "
            formula = f"<void*> &{kind}_{name}[{dtype}], {sums}{arrays}"
            for suffix, store in forms.items():
                for layout in "rows", "columns":
                    kernel(f"{layout}.{kind}_{name}{suffix}", dtype, f"void {{name}}({pointers}, {const}Rows* rows)",
                           f"{kind}_{layout}[{dtype}]({formula}, {store}{strip})")
        for name in constants:
            kernel(f"rows.{name}", dtype, "void {name}(Rows* rows, Py_ssize_t width)",
                   f"cdef Py_ssize_t i\n    for i in range(width):\n        {name}[{dtype}](rows, i, 0)")
        for name in settling:
            kernel(f"rows.{name}", dtype,
                   "void {name}(const void* x, void* entry, Py_ssize_t n, Py_ssize_t distance, Rows* rows, "
                   "Py_ssize_t i)",
                   f"{name}[{dtype}](<const {dtype}*> x, <{dtype}*> entry, n, distance, rows, i)")
        for layout in "rows", "columns":
            for name, negated in ("maximum", False), ("minimum", True):
                kernel(f"{layout}.{name}", dtype,
                       "void {name}(const void* x, Py_ssize_t n, Py_ssize_t stride, Py_ssize_t width, Rows* rows)",
                       f"extreme_of_{layout}[{dtype}]({negated}, <const {dtype}*> x, {strip})")
            kernel(f"{layout}.mend_pairs", dtype,
                   "void {name}(const void* x, Py_ssize_t n, Py_ssize_t stride, Py_ssize_t width, Rows* rows)",
                   f"mend_{layout}[{dtype}](<const {dtype}*> x, {strip})")
    imports = [f"from fastact._formulas cimport {', '.join(formulas)}", "from fastact._rows cimport *",
               'cdef extern from "_tables.h" nogil:', *(f"    void* fastact_{name}_lanes" for name in tables)]
    return "\n".join(["# Written by setup.py.", *imports, "", *functions, *rows, ""])


class build(build_ext):
    def finalize_options(self):
        if os.name == "nt":
            self.compiler = self.compiler or "mingw32"      # MSVC knows none of the flags, nor GNU's vectors
        super().finalize_options()
        self.parallel = self.parallel or os.cpu_count()


def extensions():
    openmp, exact = openmp_flags(), exact_flags()
    # MS_WIN64, which Windows' own headers of Python 3.11 define for MSVC alone
    windows = [("MS_WIN64", "")] if sysconfig.get_platform().startswith("win-") else []
    macros = [("NPY_NO_DEPRECATED_API", "NPY_1_7_API_VERSION"), *windows]
    inline = [("CYTHON_INLINE", "inline __attribute__((always_inline))"), *windows]
    headers = [str(path) for path in PACKAGE.glob("_*.h")]
    for name, flags in INSTRUCTION_SETS.items():
        yield Extension(f"fastact._kernels_{name}", [f"fastact/_kernels_{name}.pyx"], define_macros=inline,
                        extra_compile_args=[*exact, *FLAGS, *flags], extra_link_args=[*exact, *SANITIZE],
                        depends=[*headers, *(str(path) for path in PACKAGE.glob("_*.p?[di]"))])
    for name in "_engine", "activation":
        yield Extension(f"fastact.{name}", [f"fastact/{name}.pyx"], define_macros=macros,
                        include_dirs=[numpy.get_include()], extra_compile_args=[*exact, *FLAGS, *openmp],
                        extra_link_args=[*exact, *openmp, *SANITIZE], depends=headers)


def main():
    table = PACKAGE / "_kernel_table.pxi"
    text = kernel_table()
    if not table.exists() or table.read_text() != text:
        table.write_text(text)
    setup(ext_modules=cythonize(list(extensions()), compiler_directives=DIRECTIVES, nthreads=os.cpu_count() or 1),
          cmdclass={"build_ext": build})


if __name__ == "__main__":
    main()
