"""The `fastact` command: what it prints, what it writes, and what it says when something is missing or wrong."""

import argparse
import contextlib
import importlib
import json
import os
import re
import signal
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import fastact
from fastact import _isa, cli
from fastact.commands import Failed, info, output_file, whole_number, write_whole

PNG = b"\x89PNG\r\n\x1a\n"
HIDDEN = ("relu", "softplus", "sigmoid", "tanh")
LOSSES = ("mse", "cross_entropy")


def fastact_command(capsys, *argv):
    assert cli.main(argv) == 0
    return capsys.readouterr().out


@pytest.fixture(autouse=True)
def wide_terminal(monkeypatch):
    monkeypatch.setenv("COLUMNS", "160")


def test_info(capsys):
    text = fastact_command(capsys, "info")
    assert fastact.__version__ in text
    assert re.search(rf"in use\s+{_isa.CHOSEN}", text)
    assert re.search(rf"threads\s+{fastact.get_num_threads()}: ", text)
    assert "float32, float64" in text
    for name in fastact.activations:
        assert name in text


@pytest.mark.parametrize("names", [[name] for name in fastact.activations] + [["relu", "softplus", "sigmoid", "tanh"]])
def test_plot(names, tmp_path, capsys):
    file = tmp_path / "picture.png"
    fastact_command(capsys, "plot", *names, "-o", str(file))
    content = file.read_bytes()
    assert content.startswith(PNG)
    assert len(content) > 5000


@pytest.mark.parametrize("words", [
    ["silu", "softmax", "--family"], ["sigmoid", "softmax", "swiglu", "--error"],
    ["logit", "--error", "--dtype", "float16"], ["softmax", "swiglu", "logsumexp", "--surface"]], ids=" ".join)
def test_plot_of_other_kinds(words, tmp_path, capsys):
    file = tmp_path / "picture.png"
    fastact_command(capsys, "plot", *words, "-o", str(file))
    assert file.read_bytes().startswith(PNG)


def test_accuracy(tmp_path, capsys):
    file = tmp_path / "figures.json"
    text = fastact_command(capsys, "accuracy", "--function", "sigmoid", "relu", "--dtype", "float32",
                           "--stride", "65537", "--json", str(file))
    figures = {(one["function"], one["mode"]): one for one in json.loads(file.read_text())["figures"]}
    assert set(figures) == {(name, mode) for name in ("sigmoid", "relu") for mode in ("value", "derivative")}
    assert all(one["results"] == 65536 for one in figures.values())
    assert figures["relu", "value"]["max_ulp"] == 0
    assert 0.5 < figures["sigmoid", "value"]["max_ulp"] < 3
    assert f"{figures['sigmoid', 'value']['max_ulp']:.3f}" in text


def test_accuracy_keeps_figures_of_the_same_results(tmp_path, capsys):
    """Whatever the kept figures say: only results that are others are judged."""
    file, page = tmp_path / "figures.json", tmp_path / "accuracy.md"
    words = ["accuracy", "--function", "gelu", "softmax", "--dtype", "float32", "--mode", "value", "--stride", "65537",
             "--json", str(file), "--markdown", str(page)]
    fastact_command(capsys, *words)
    kept = json.loads(file.read_text())
    measured = [one["max_ulp"] for one in kept["figures"]]
    for one in kept["figures"]:
        one["max_ulp"] = 123.0
    kept["figures"][0]["digest"] = "0" * 16
    file.write_text(json.dumps(kept))
    text = fastact_command(capsys, *words)
    found = [one["max_ulp"] for one in json.loads(file.read_text())["figures"]]
    assert sorted(found) == sorted([measured[0], 123.0, 123.0, 123.0])
    assert text.count("123.000") == 3
    written = page.read_text()
    assert f"| gelu | {_isa.CHOSEN} | {measured[0]:.3f} | {fastact.gelu.ulp['value']:g} |" in written
    assert f"| softmax, normal | {_isa.CHOSEN} | 123.000 | 4 |" in written
    assert "--stride 65537 --function gelu softmax --mode value" in written
    assert f"Measured with fastact {fastact.__version__} and NumPy " in written


@pytest.mark.skipif("v4" not in _isa.SUPPORTED, reason="this processor has not both sets with multiply-add")
def test_accuracy_of_sets_with_the_same_bits(tmp_path, capfd):
    file, page = tmp_path / "figures.json", tmp_path / "accuracy.md"
    assert cli.main(["accuracy", "--function", "sigmoid", "--mode", "value", "--dtype", "float32", "--stride", "65537",
                     "--isa", "v4", "v3", "--json", str(file), "--markdown", str(page)]) == 0
    v4, v3 = json.loads(file.read_text())["figures"]
    assert (v4.pop("isa"), v3.pop("isa")) == ("v4", "v3")
    assert v4 == v3
    assert "| sigmoid | v4 v3 |" in page.read_text()
    assert re.search(r"sigmoid\s+v3", capfd.readouterr().out)


def test_accuracy_of_16_bits(tmp_path, capsys):
    file = tmp_path / "figures.json"
    fastact_command(capsys, "accuracy", "--function", "sigmoid", "softmax", "--dtype", "float16", "bfloat16",
                    "--json", str(file))
    figures = json.loads(file.read_text())["figures"]
    found = [(one["dtype"], one["mode"]) for one in figures if one["function"] == "sigmoid"]
    assert found == [(dtype, mode) for dtype in ("float16", "bfloat16") for mode in ("value", "derivative")]
    assert all(one["results"] == 65536 for one in figures if one["function"] == "sigmoid")
    assert all(0.49 < one["max_ulp"] <= 0.501 for one in figures)


def test_bench(capsys):
    text = fastact_command(capsys, "bench", "--function", "tanh", "--size", "96", "--rounds", "2")
    assert "tanh" in text
    assert "NumPy" in text


@pytest.mark.parametrize("argv", [["--help"], ["--version"], *([name, "--help"] for name in cli.COMMANDS)])
def test_help(argv, capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main(argv)
    assert stop.value.code == 0
    assert "fastact" in capsys.readouterr().out


@pytest.mark.parametrize(("argv", "words"), [
    ([], "COMMAND"), (["fly"], "unknown word 'fly'"), (["plot", "sigmoyd", "-o", "x.png"], "sigmoyd"),
    (["accuracy", "--isa", "v9"], "v9"), (["accuracy", "--stride", "0"], "stride"),
    (["bench", "--rounds", "-1"], "rounds"), (["demo", "--hidden", "softmax"], "softmax"),
])
def test_wrong_arguments(argv, words, capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main(argv)
    assert stop.value.code == 2
    assert words in capsys.readouterr().err


# ------------------------------------------------------------------------------------ what the user gives wrongly

ROOT = str(Path(fastact.__file__).parents[1])
COMMAND = [sys.executable, "-m", "fastact"]
REQUIRED = {"plot": ["relu"], "info": [], "demo": [], "bench": [], "accuracy": [], "explore": []}
ACTIONS = []
for command in cli.COMMANDS:
    parser = argparse.ArgumentParser()
    with contextlib.suppress(ModuleNotFoundError):  # an extra is not installed
        importlib.import_module(f"fastact.commands.{command}").add_arguments(parser)
    ACTIONS += [(command, action) for action in parser._actions if action.nargs != 0]

WORDS = ["", "nosuch", "x" * 5000, "\udcff", "a\nb"]
NUMBERS = [*WORDS, "nan", "inf", "-1", "-1e3", "1e400", "9" * 5000, "0x10", "1,000", "\u0663", "1__0", "1e", "_1"]
FILES = ["", ".", "folder", "folder/", "nosuch/file.png", "file.json/x.png", "a" * 300 + ".png", "a\0b.png",
         "circle.png"]


def hostile(action):
    if action.choices or not action.option_strings:
        return WORDS
    return FILES if action.metavar == "FILE" else NUMBERS


def refused(argv, capsys):
    """The one sentence on stderr with which this is refused, with status 2."""
    try:
        status = cli.main(argv)
    except SystemExit as stop:
        status = stop.code
    printed, error = capsys.readouterr()
    assert (status, printed) == (2, ""), (argv, status, error)
    assert error.count("\n") == 1, error
    assert error.endswith("\n")
    assert error.startswith("fastact"), error
    assert len(error) < 3000
    return error


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    (tmp_path / "file.json").write_text("{}")
    if os.name != "nt":
        (tmp_path / "circle.png").symlink_to("circle.png")
    return tmp_path


@pytest.mark.parametrize(("command", "action"), ACTIONS, ids=lambda one: getattr(one, "dest", one))
def test_every_option_refuses_what_makes_no_sense(command, action, folder, capsys):
    before = sorted(os.listdir(folder))
    option = action.option_strings[-1:]
    for value in hostile(action):
        if value == "circle.png" and os.name == "nt":
            continue
        error = refused([command, *(REQUIRED[command] if option else []), *option, value], capsys)
        assert (option or [action.metavar])[0] in error
    assert sorted(os.listdir(folder)) == before
    assert (folder / "file.json").read_text() == "{}"


def test_whole_numbers_are_written_in_many_ways():
    convert = whole_number(1, 10**9)
    for text, number in (("1e6", 10**6), ("1_000_000", 10**6), ("2.5e3", 2500), ("7.0", 7), ("+3", 3), ("1E+2", 100)):
        assert convert(text) == number
    for text in ("1.5", "1e-2", "0", "1e10", "1e999999", "1000000001"):
        with pytest.raises(argparse.ArgumentTypeError, match="accepted is a whole number from 1 to 1000000000"):
            convert(text)


def test_size_and_rounds_in_scientific_notation(capsys):
    text = fastact_command(capsys, "bench", "--function", "tanh", "--size", "1e2", "--rounds", "1_0")
    assert "100 float32" in text
    assert "best of 10 rounds" in text


def test_a_refusal_of_the_library_names_the_option(monkeypatch, capsys):
    def threads(n):
        raise ValueError(f"fastact.threads: {n} threads cannot be started")

    monkeypatch.setattr(fastact, "threads", threads)
    for number in ("3", "40000"):
        error = refused(["bench", "--threads", number], capsys)
        assert error == f"fastact bench: argument --threads: fastact.threads: {number} threads cannot be started\n"


@pytest.mark.parametrize(("argv", "words"), [
    (["plot", "relu", "-o", "NAME"], "'NAME' has no suffix; accepted are .png, .svg, .pdf"),
    (["plot", "relu", "-o", "NAME.xyz"], "unknown suffix .xyz; accepted are"),
    (["plot", "relu", "-o", "folder"], "'folder' is a folder"), (["plot", "relu", "-o", "no/x.png"], "does not exist"),
    (["plot", "sigmoyd", "-o", "x.png"], "did you mean sigmoid"),
    (["plot", "silu", "relu", "--family", "-o", "x.png"], "relu has no parameters; accepted are softplus, "),
    (["plot", "sparsemax", "--error", "-o", "x.png"], "sparsemax has no bound of its error in ulp of the result"),
    (["plot", "relu", "--surface", "-o", "x.png"], "relu is a function of one input; accepted are glu, "),
    (["plot", "relu", "--dtype", "float64", "-o", "x.png"], "--dtype: accepted with --error alone"),
    (["plot", "relu", "--error", "--family", "-o", "x.png"], "not allowed with argument"),
    (["bench", "--function", "relux"], "did you mean relu"), (["bench", "--threads", "0"], "from 1 to"),
    (["acuracy"], "did you mean accuracy"), (["accuracy", "--isa", "v9"], "accepted are"),
    (["accuracy", "--json", "a.json", "--markdown", "./a.json"], "name the same file"),
    (["bench", "--json", "a.png", "--markdown", "a.md"], "name the same file"),
    (["bench", "--markdown", "a.html"], "accepted is a name like bench.md"),
])
def test_a_refusal_says_what_is_accepted(argv, words, folder, capsys):
    before = sorted(os.listdir(folder))
    assert words in refused(argv, capsys)
    assert sorted(os.listdir(folder)) == before


FIGURES = {"function": "relu", "mode": "value", "dtype": "float32", "logits": "", "isa": "v3", "results": 3,
           "digest": "00", "correctly_rounded": 3, "sum_ulp": 0.0, "max_ulp": 0.0, "worst": "nan", "worst_length": 1}
FOREIGN = ["{}", "[]", "3", "null", '"figures"', "{", '{"figures": [{}]}', '{"figures": [', "not JSON", "[" * 100_000,
           '{"figures": 3}', '{"about": {}, "results": [3]}', '{"about": 3, "results": []}', "\xff",
           *(json.dumps({"figures": [FIGURES | wrong]}) for wrong in (
               {"function": "another"}, {"mode": 3}, {"dtype": "int8"}, {"results": "3"}, {"results": 0},
               {"digest": None}, {"max_ulp": "many"}, {"logits": "of another kind"}))]


@pytest.mark.parametrize("words", [
    ["accuracy", "--function", "relu", "--dtype", "float32", "--stride", "1e7"],
    ["bench", "--function", "relu", "--size", "16", "--rounds", "1"]], ids=lambda words: words[0])
def test_json_of_another_program_is_left_as_it_is(words, tmp_path, capsys):
    file = tmp_path / "file.json"
    for text in FOREIGN:
        file.write_text(text, encoding="latin-1")
        error = refused([*words, "--json", str(file)], capsys)
        assert "is left as it is" in error
        assert file.read_text(encoding="latin-1") == text
    assert os.listdir(tmp_path) == ["file.json"]


def test_json_of_the_commands_is_continued(tmp_path, capsys):
    accuracy = ["accuracy", "--function", "relu", "--dtype", "float32", "--stride", "1e7", "--json"]
    bench = ["bench", "--function", "relu", "--size", "16", "--rounds", "1", "--json"]
    one, other = str(tmp_path / "one.json"), str(tmp_path / "other.json")
    (tmp_path / "one.json").touch()  # an empty file has nothing to lose
    for _ in range(2):
        fastact_command(capsys, *accuracy, one)
        fastact_command(capsys, *bench, other)
    assert len(json.loads(Path(one).read_text())["figures"]) == 2
    assert "of `fastact bench`" in refused([*bench, one], capsys)
    assert "of `fastact accuracy`" in refused([*accuracy, other], capsys)


# ------------------------------------------------------------------------------------------------ how files are written


@pytest.mark.skipif(os.name == "nt", reason="permissions and links of POSIX")
def test_files_are_replaced_whole_with_their_permissions_and_links(tmp_path):
    target, link = tmp_path / "folder" / "target", tmp_path / "link"
    target.parent.mkdir()
    link.symlink_to(target)
    mask = os.umask(0o027)
    try:
        write_whole(link, "new")
        assert stat.S_IMODE(target.stat().st_mode) == 0o640
    finally:
        os.umask(mask)
    target.chmod(0o604)
    write_whole(link, b"newer")
    assert (target.read_text(), link.is_symlink()) == ("newer", True)
    assert stat.S_IMODE(target.stat().st_mode) == 0o604
    assert os.listdir(tmp_path / "folder") == ["target"]


@pytest.mark.skipif(os.name == "nt", reason="limits of POSIX")
def test_a_file_that_cannot_be_written_keeps_its_content(tmp_path):
    resource = pytest.importorskip("resource")
    file = tmp_path / "file"
    file.write_text("old")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        with pytest.raises(Failed, match="file: File too large"):
            write_whole(file, "x" * 5000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert file.read_text() == "old"
    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
def test_what_is_not_writable_is_refused(tmp_path):
    file = tmp_path / "file"
    file.touch(0o444)
    with pytest.raises(argparse.ArgumentTypeError, match="the file is not writable"):
        output_file(str(file))
    tmp_path.chmod(0o555)
    try:
        with pytest.raises(argparse.ArgumentTypeError, match=r"the folder .* is not writable"):
            output_file(str(tmp_path / "new"))
    finally:
        tmp_path.chmod(0o755)


# -------------------------------------------------------------------------------------------------------------- streams


def run_command(*argv, cwd=None, shell="", **environment):
    """The command in a process of its own, with redirections of a shell."""
    words = ["sh", "-c", f'exec "$@" {shell}', "sh", *COMMAND, *argv] if shell else [*COMMAND, *argv]
    return subprocess.run(words, capture_output=True, timeout=300, cwd=cwd,
                          env={**os.environ, "PYTHONPATH": ROOT, **environment})  # fmt: skip


QUICK = [["info"], ["--version"], ["accuracy", "--help"], ["plot", "relu", "-o", "x.png"]]
every_quick_command = pytest.mark.parametrize("argv", QUICK, ids=" ".join)
posix = pytest.mark.skipif(os.name == "nt", reason="redirections of a POSIX shell")


@posix
@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no device that is always full")
@pytest.mark.parametrize("unbuffered", ["", "1"])
@every_quick_command
def test_a_full_disk_is_told(argv, unbuffered, tmp_path):
    result = run_command(*argv, cwd=tmp_path, shell=">/dev/full", PYTHONUNBUFFERED=unbuffered)
    assert result.returncode == 1
    assert re.fullmatch(rb"fastact[ a-z]*: standard output: No space left on device\n", result.stderr)


@posix
@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no device that is always full")
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_refusal_that_cannot_be_written_keeps_its_status(unbuffered):
    wrong = run_command("fly", shell="2>/dev/full", PYTHONUNBUFFERED=unbuffered)
    assert (wrong.returncode, wrong.stdout) == (2, b"")


@posix
@every_quick_command
def test_closed_streams_change_nothing_else(argv, tmp_path):
    shells = (">&-", "2>&-", "<&- >&- 2>&-")
    folders = [tmp_path / str(k) for k in range(len(shells))]
    for folder in folders:
        folder.mkdir()
    with ThreadPoolExecutor() as pool:
        results = pool.map(lambda shell, folder: run_command(*argv, cwd=folder, shell=shell), shells, folders)
    for shell, folder, result in zip(shells, folders, results, strict=True):
        assert (result.returncode, result.stderr) == (0, b""), shell
        assert argv[0] != "plot" or (folder / "x.png").read_bytes().startswith(PNG)


@posix
@pytest.mark.parametrize("unbuffered", ["", "1"])
@every_quick_command
def test_a_reader_that_goes_away_is_no_traceback(argv, unbuffered, tmp_path):
    reader, writer = os.pipe()
    os.close(reader)
    try:
        result = subprocess.run([*COMMAND, *argv], stdout=writer, stderr=subprocess.PIPE, timeout=300, cwd=tmp_path,
                                env={**os.environ, "PYTHONPATH": ROOT, "PYTHONUNBUFFERED": unbuffered})  # fmt: skip
    finally:
        os.close(writer)
    assert (result.returncode, result.stderr) == (1, b"")


ONE_AFTER_THE_OTHER = """
import sys
from fastact import cli

words = sys.argv[1:]
while words:
    end = words.index("--then")
    argv, words = words[:end], words[end + 1 :]
    try:
        status = cli.main(argv)
    except SystemExit as stop:
        status = stop.code
    print(f"--status {status}")
"""


IN_ASCII = {"ascii": {"PYTHONIOENCODING": "ascii"},
            "C": {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}}
COMMANDS = [
    *QUICK, ["plot", "relu", "-o", "\u03b1.svg"], ["demo", "--epochs", "1", "--rows", "64"],
    ["bench", "--function", "relu", "--size", "16", "--rounds", "1"],
    ["accuracy", "--function", "relu", "--dtype", "float32", "--stride", "1e7"]]


@pytest.fixture(scope="module")
def results_in_ascii(tmp_path_factory):
    """Of the processes of all environments, which run beside each other."""
    words = [sys.executable, "-c", ONE_AFTER_THE_OTHER, *(word for argv in COMMANDS for word in (*argv, "--then"))]

    def run(name):
        return subprocess.run(words, capture_output=True, timeout=300, cwd=tmp_path_factory.mktemp(name),
                              env={**os.environ, "PYTHONPATH": ROOT, **IN_ASCII[name]})  # fmt: skip

    with ThreadPoolExecutor() as pool:
        return dict(zip(IN_ASCII, pool.map(run, IN_ASCII), strict=True))


@pytest.mark.parametrize("environment", IN_ASCII)
def test_output_in_ascii(environment, results_in_ascii):
    result = results_in_ascii[environment]
    assert (result.returncode, result.stderr) == (0, b"")
    assert result.stdout.isascii()
    *printed, rest = re.split(r"^--status (.*)\n", result.stdout.decode(), flags=re.MULTILINE)
    assert rest == ""
    for argv, text, status in zip(COMMANDS, printed[::2], printed[1::2], strict=True):
        assert status == "0", (argv, text)
        assert "+---" in text or argv[0] not in ("bench", "accuracy") or "--help" in argv, (argv, text)


@posix
@pytest.mark.parametrize("isa", _isa.SUPPORTED[-2:])
def test_an_interruption_is_status_130(isa):
    """Of a process that measures, and of one that has another measure; also if the tests run with SIGINT ignored."""
    words = [*COMMAND, "accuracy", "--isa", isa, "--function", "gelu", "--dtype", "float32", "--stride", "3"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
                          preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
                          env={**os.environ, "PYTHONPATH": ROOT}) as process:  # fmt: skip
        assert b"instruction set" in process.stdout.readline()
        os.killpg(process.pid, signal.SIGINT)
        printed, error = process.communicate(timeout=120)
    assert process.returncode == 130
    assert b"nterrupted" in printed + error
    assert b"Traceback" not in printed + error


def test_too_little_memory_is_told(monkeypatch, capsys):
    def exhausted(arguments):
        raise MemoryError("Unable to allocate 1. EiB")

    monkeypatch.setattr("fastact.commands.info.run", exhausted)
    assert cli.main(["info"]) == 1
    assert capsys.readouterr() == ("", "fastact info: not enough memory: Unable to allocate 1. EiB\n")


def run_without(modules, argv, folder):
    code = (f"import sys; sys.modules |= dict.fromkeys({modules!r}); from fastact import cli; "
            f"sys.exit(cli.main({argv!r}))")
    environment = {**os.environ, "PYTHONPATH": ROOT}
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, cwd=folder,
                          env=environment)


def test_info_needs_numpy_alone(tmp_path):
    result = run_without([*cli.EXTRAS], ["info"], tmp_path)
    assert (result.returncode, result.stderr) == (0, "")
    assert f"fastact {fastact.__version__}" == " ".join(result.stdout.splitlines()[0].split())


@pytest.mark.parametrize("columns", [30, 60, 160])
def test_info_fits_the_terminal(columns, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", str(columns))
    lines = fastact_command(capsys, "info").splitlines()
    headings = [line.split("  ")[0] for line in lines if line[0] != " "]
    assert headings == list(info.facts())
    assert max(map(len, lines)) <= max(columns, max(map(len, headings)) + 22 + len(sys.executable))


@pytest.mark.parametrize(("argv", "module"), [(["bench", "--function", "relu"], "rich"), (["demo"], "sklearn"),
                                              (["plot", "relu", "-o", "x.png"], "matplotlib")])
def test_a_missing_extra_names_its_command(argv, module, tmp_path):
    result = run_without([module], argv, tmp_path)
    assert result.returncode == 1
    assert result.stderr == f"fastact {argv[0]}: {module} is not installed; run: pip install 'fastact[demo]'\n"
    assert os.listdir(tmp_path) == []


def test_the_module_runs():
    result = subprocess.run([sys.executable, "-m", "fastact", "--version"], capture_output=True, text=True, timeout=60)
    assert result.stdout.strip() == f"fastact {fastact.__version__}"


def held_out(text):
    """Per cent right in the last table: fastact's, and those of the same network in NumPy."""
    row = re.search(r"right on the 450 held-out images\s+(\S+)%\s+(\S+)%", text)
    return float(row[1]), float(row[2])


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("hidden", HIDDEN)
def test_demo_learns_with_every_activation_and_loss(hidden, loss, capsys):
    text = fastact_command(capsys, "demo", "--hidden", hidden, "--loss", loss, "--rows", "4096", "--epochs", "25")
    assert min(held_out(text)) >= 96
    assert "the results agree (to 1e-05)" in text
