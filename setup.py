"""Build the extension modules.

This file

* sets the compiler flags and the Cython directives.  Directives in the head of a .pyx do not apply to the .pxd files
  that it cimports, and without ``cdivision`` every division of a formula gets a test that keeps the loop scalar;
* compiles the kernels once per instruction set (fastact/_sets.py), from one source: ``_kernels/<set>.pyx`` includes
  ``kernels.pxi``;
* writes ``_kernels/table.pxi`` and ``capi_*.pxi`` (tools/kernels.py).

Environment: ``FASTACT_OPENMP=0`` builds without threads; ``FASTACT_INSTRUCTION_SETS=baseline`` builds one instruction
set; ``FASTACT_SANITIZE=address,undefined`` builds with these sanitizers of the compiler, for tests only.
With ``SOURCE_DATE_EPOCH`` the same files give the same source distribution.
"""

import gzip
import hashlib
import os
import runpy
import shlex
import subprocess
import sysconfig
import tarfile
import tempfile
from pathlib import Path

import numpy
from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.command.sdist import sdist

ROOT = Path(__file__).parent
PACKAGE = ROOT / "fastact"

# These flags come after those of CFLAGS and CC, and undo -ffast-math and the parts of it that drop compensation or NaN;
# bits.h refuses the rest.  They are passed to the linker too: a library linked with -ffast-math by gcc up to 12 or
# clang switches the whole process to flush-to-zero at import.  -fno-math-errno and -fno-trapping-math let ternaries
# become selects.  Contraction is off because multiply-add is written out (bits.h).
EXACT = ["-O3", "-fno-fast-math", "-fno-unsafe-math-optimizations", "-fno-finite-math-only", "-fno-associative-math",
         "-fno-reciprocal-math", "-fsigned-zeros", "-fno-rounding-math", "-fno-single-precision-constant"]
OPTIONAL = ["-mno-daz-ftz", "-fdenormal-fp-math=ieee", "-mfpmath=sse"]  # of gcc 13, of clang, of x86
FLAGS = ["-g0", "-fno-math-errno", "-fno-trapping-math", "-ffp-contract=off"]
SANITIZE = []
if "FASTACT_SANITIZE" in os.environ:
    SANITIZE = [f"-fsanitize={os.environ['FASTACT_SANITIZE']}", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer"]
    FLAGS += [*SANITIZE, "-O1", "-g1"]
X86_64 = sysconfig.get_platform().lower().endswith(("x86_64", "amd64"))  # the target, not this machine
SETS = runpy.run_path(str(PACKAGE / "_sets.py"))["X86_64" if X86_64 else "OTHERS"]
if os.environ.get("FASTACT_INSTRUCTION_SETS") == "baseline":
    SETS = SETS[:1]

LINKED = {"runtime": ("process", "buffers")}  # C files with state, each linked into one module

DIRECTIVES = {
    "language_level": 3,
    "boundscheck": False,
    "wraparound": False,
    "initializedcheck": False,
    "cdivision": True,
    "freethreading_compatible": True,
}


def compiles(flags, source="int main(void) { return 0; }", link=False):
    """Whether the C compiler accepts these flags."""
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
    """The flags of `EXACT` and `OPTIONAL` that the compiler accepts."""
    known = [flag for flag in OPTIONAL if compiles(["-Werror", flag])]
    return EXACT + known if compiles(EXACT) else [flag for flag in EXACT if compiles([flag])] + known


def openmp_flags():
    if os.environ.get("FASTACT_OPENMP") == "0":
        return []
    source = "#include <omp.h>\nint main(void) { return omp_get_max_threads() < 1; }"
    return ["-fopenmp"] if compiles(["-fopenmp"], source, link=True) else []


def build_folder(modules):
    """The folder in which a checkout keeps what it has compiled: one for each interpreter and each choice of flags."""
    flags = [(one.define_macros, one.extra_compile_args, one.extra_link_args) for one in modules]
    given = [os.environ.get(name) for name in ("CC", "CFLAGS", "CPPFLAGS", "LDFLAGS", "LDSHARED")]
    choice = hashlib.sha256(repr([numpy.__version__, flags, given]).encode()).hexdigest()[:8]
    return ROOT / "build" / f"{sysconfig.get_config_var('SOABI')}-{choice}"


class build(build_ext):
    def finalize_options(self):
        if os.name == "nt":
            self.compiler = self.compiler or "mingw32"  # MSVC accepts neither the flags nor GNU's vector extensions
        if self.inplace or self.editable_mode:  # an editable install of pip has new folders each time
            folder = build_folder(self.distribution.ext_modules)
            self.build_lib, self.build_temp = str(folder / "lib"), str(folder / "temp")
        super().finalize_options()
        self.parallel = self.parallel or os.cpu_count()


class reproducible_sdist(sdist):
    def make_archive(self, base_name, format, root_dir=None, base_dir=None, owner=None, group=None):
        date = os.environ.get("SOURCE_DATE_EPOCH")
        if date is None or format != "gztar":
            return super().make_archive(base_name, format, root_dir, base_dir, owner, group)

        def plain(entry):
            entry.mtime, entry.uid, entry.gid, entry.uname, entry.gname = int(date), 0, 0, "", ""
            entry.mode = 0o755 if entry.isdir() or entry.mode & 0o100 else 0o644
            return entry

        path = f"{base_name}.tar.gz"
        self.mkpath(os.path.dirname(path))
        with gzip.GzipFile(path, "wb", mtime=int(date)) as file, tarfile.open(fileobj=file, mode="w") as archive:
            archive.add(base_dir, filter=plain)  # in the order of the names
        return path


def extensions():
    openmp, exact = openmp_flags(), exact_flags()
    # The headers of Python 3.11 define MS_WIN64 for MSVC only.
    windows = [("MS_WIN64", "")] if sysconfig.get_platform().startswith("win-") else []
    macros = [("NPY_NO_DEPRECATED_API", "NPY_1_7_API_VERSION"), ("PY_ARRAY_UNIQUE_SYMBOL", "fastact_array_api"),
              *windows]
    inline = [("CYTHON_INLINE", "inline __attribute__((always_inline))"), *windows]
    headers = [str(path) for path in PACKAGE.rglob("*.h")]
    inlined = [str(path) for folder in ("_math", "_loops", "_kernels") for path in PACKAGE.glob(f"{folder}/*.px[di]")]
    for one in SETS:
        yield Extension(f"fastact._kernels.{one.module}", [f"fastact/_kernels/{one.module}.pyx"], define_macros=inline,
                        include_dirs=["fastact"], extra_compile_args=[*exact, *FLAGS, *one.flags],
                        extra_link_args=[*exact, *SANITIZE], depends=[*headers, *inlined])
    for path in sorted([*PACKAGE.glob("*.pyx"), *PACKAGE.glob("_engine/*.pyx"), *PACKAGE.glob("torch/*.pyx")]):
        source = path.relative_to(ROOT)
        more = [f"fastact/_engine/{name}.c" for name in LINKED.get(path.stem, ())]
        yield Extension(".".join(source.with_suffix("").parts), [str(source), *more], define_macros=macros,
                        include_dirs=["fastact", numpy.get_include()], extra_compile_args=[*exact, *FLAGS, *openmp],
                        extra_link_args=[*exact, *openmp, *SANITIZE], depends=headers)


def translate(modules):
    """Translate Cython to C. A file that is the same as before keeps its date, and is not compiled again.

    In pip's new environments Cython's and NumPy's declarations are newer than what was translated from them.
    """
    before = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in PACKAGE.rglob("*.c")}
    modules = cythonize(modules, compiler_directives=DIRECTIVES, nthreads=os.cpu_count() or 1)
    for path, (date, text) in before.items():
        if path.read_bytes() == text:
            os.utime(path, ns=(date, date))
    return modules


def main():
    runpy.run_path(str(ROOT / "tools" / "kernels.py"))["write_files"](PACKAGE)
    setup(ext_modules=translate(list(extensions())), cmdclass={"build_ext": build, "sdist": reproducible_sdist})


if __name__ == "__main__":
    main()
