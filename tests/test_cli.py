"""The `fastact` command: what it prints, what it writes, and what it says when something is missing."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import fastact
from fastact import _isa, cli

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
    assert f"| gelu | {_isa.CHOSEN} | {measured[0]:.3f} | 3 |" in written
    assert f"| softmax, normal | {_isa.CHOSEN} | 123.000 | 4 |" in written
    assert "--stride 65537 --function gelu softmax --mode value" in written


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
    ([], "COMMAND"), (["fly"], "invalid choice"), (["plot", "sigmoyd", "-o", "x.png"], "sigmoyd"),
    (["accuracy", "--isa", "v9"], "v9"), (["accuracy", "--stride", "0"], "stride"),
    (["bench", "--rounds", "-1"], "rounds"), (["demo", "--hidden", "softmax"], "softmax"),
])
def test_wrong_arguments(argv, words, capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main(argv)
    assert stop.value.code == 2
    assert words in capsys.readouterr().err


@pytest.mark.parametrize(("argv", "module"), [(["info"], "rich"), (["plot", "relu", "-o", "x.png"], "matplotlib"),
                                              (["demo"], "sklearn")])
def test_a_missing_extra_names_its_command(argv, module, tmp_path):
    code = f"import sys; sys.modules[{module!r}] = None; from fastact import cli; sys.exit(cli.main({argv!r}))"
    environment = {**os.environ, "PYTHONPATH": str(Path(fastact.__file__).parents[1])}
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, cwd=tmp_path,
                            env=environment)
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
    text = fastact_command(capsys, "demo", "--hidden", hidden, "--loss", loss, "--rows", "4096")
    assert min(held_out(text)) >= 96
    assert "the results agree (to 1e-05)" in text
