"""``benchmarks/grid.py``: it measures what is missing, keeps what it has, and its page says where a peer leads."""

import argparse
import collections
import json
import math
import os
import runpy
import subprocess
import sys
from pathlib import Path

import grid
import grid_reasons
import numpy as np
import peer_errors
import pytest
from grid_reasons import by_reason
from test_cli import hostile

import fastact
from fastact import _isa, reference
from fastact.comparison import ulp
from fastact.comparison.curves import Line
from fastact.comparison.race import Rounds, Timing
from fastact.comparison.work import Work

FULL, QUICK = grid.FULL, grid.QUICK  # before `small_grid` replaces them
SHAPES = (((4, 16), -1), ((6, 5), 0))


def measure(file: Path, *more: str) -> None:
    words = f"--json {file} --function relu softmax --size 16 64 --dtype float32 --threads 1".split()
    assert grid.main([*words, "--isa", _isa.CHOSEN, *more]) == 0


@pytest.fixture
def small_grid(monkeypatch: pytest.MonkeyPatch) -> None:
    """One round of small work, in this process."""
    monkeypatch.setattr(grid, "FULL", grid.FULL._replace(shapes=SHAPES))
    monkeypatch.setattr(grid, "QUICK", grid.QUICK._replace(sizes=(16, 64), shapes=SHAPES[:1]))
    monkeypatch.setattr(grid, "ROUNDS", Rounds(1))
    monkeypatch.setattr(grid, "_environment", lambda isa, threads: {})


def test_the_grid_measures_what_is_missing(tmp_path: Path, small_grid: None, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("rich")
    file = tmp_path / "grid.json"
    measure(file)
    results = grid.File(file).results
    works = {result.work for result in results}
    assert {(work.function, work.mode, work.shape, work.axis) for work in works} == {
        *(("relu", mode, (size,), -1) for mode in grid.GRID_MODES for size in (16, 64)),
        *(("softmax", mode, *shape) for mode in ("value", "backward_from_output") for shape in SHAPES),
    }
    assert all(result.isa == _isa.CHOSEN and result.nanoseconds["fastact"] > 0 for result in results)

    measured: list[Work] = []
    measure_work = grid._measure_work

    def watched(work: Work, *rest: object) -> object:
        measured.append(work)
        return measure_work(work, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(grid, "_measure_work", watched)
    content = json.loads(file.read_text())
    content["results"] = [record for record in content["results"] if record["function"] != "relu"]
    file.write_text(json.dumps(content))
    measure(file)
    assert {work.function for work in measured} == {"relu"}
    assert {result.work for result in grid.File(file).results} == works


def test_the_grid_stops_in_time_and_keeps_what_it_has(tmp_path: Path, small_grid: None) -> None:
    pytest.importorskip("rich")
    file = tmp_path / "grid.json"
    measure(file, "--minutes", "1e-9")
    assert grid.File(file).results == []


def test_the_report_says_where_a_peer_leads(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    file, page = grid.File(tmp_path / "grid.json"), tmp_path / "performance.md"
    file.about = {"CPU": "a processor", "processors": 2, "Python": "3", "libraries": {"fastact": "0", "NumPy": "2"}}
    rows = Work("softmax", "value", "float32", (1024, 1024))
    for size, ours in ((16, 1.0), (4096, 6.0)):
        for form in ("fresh", "out"):
            work = Work("tanh", "value", "float32", (size,))
            file.results.append(grid.Result("v4", 1, work, form, {"fastact": ours, "NumPy": 3.0, "SciPy": 9.0}))
    file.results.append(grid.Result("v4", 1, rows, "out", {"fastact": 0.5, "NumPy": 1.0}))
    file.results.append(grid.Result("v4", 1, rows, "fresh", {"fastact": 0.5}))
    file.save(now=True)

    grid.report(file.path, page)

    text = page.read_text()
    assert "5 cells" in text.replace("\n", " ")
    assert "2.00 times NumPy" in text.replace("\n", " ")
    assert "| v4 | 1 | float32 | 5 | 60.0 % | 60.0 % |" in text
    assert "| `tanh(x)` | 2, 4 | 2.00 |" in text
    assert "* 2.00 times NumPy: `tanh(x)` of 4,096 float32, fresh, 1 thread, v4" in text
    assert "| softmax | v4 | 1 | 0.500 (0.50) |" in text
    for picture in ("heat-v4-float32-1", "tanh"):
        assert f"(performance/{picture}.png)" in text
        assert (tmp_path / "performance" / f"{picture}.png").read_bytes().startswith(b"\x89PNG")


def test_a_slow_cell_has_the_reason_whose_condition_holds() -> None:
    def result(call: Work, isa: str = "v4", **nanoseconds: float) -> grid.Result:
        return grid.Result(isa, 1, call, "out", {name.replace("_", " "): one for name, one in nanoseconds.items()})

    tanh, sigmoid, relu = (Work(name, "value", "float32", (2**20,)) for name in ("tanh", "sigmoid", "relu"))
    cases = {
        "another contract": result(tanh, fastact=1, Numba_fastmath=0.5, Numba=2),
        "cannot be held to less": result(tanh, "v3", fastact=1, ONNX_Runtime=0.5, NumPy=2),
        "wrong in the tails": result(sigmoid, fastact=1, ONNX_Runtime=0.5),
        "move the same bytes": result(relu, fastact=1, PyTorch=0.5),
    }
    in_cache = result(relu._replace(shape=(16384,)), fastact=1, PyTorch=1)
    unexplained = result(tanh, fastact=1, NumPy=0.5)
    groups = by_reason([*cases.values(), in_cache, unexplained, result(tanh, fastact=1, NumPy=0.95)])
    assert groups.pop("") == [unexplained]
    assert len(groups) == len(cases)
    for words, slow in cases.items():
        assert [found for reason, found in groups.items() if words in reason] == [[slow]]


def test_reasons_name_the_errors_that_were_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """A sentence about errors takes all of its figures from the file, and fastact keeps its promises there."""
    monkeypatch.setattr(peer_errors, "named", lambda *key, **points: "one figure")
    others = runpy.run_path(grid_reasons.__file__)["REASONS"]
    for reason, other in zip(grid_reasons.REASONS, others, strict=True):
        assert ("one figure" in other.text) == (" ulp" in reason.text), reason.text
    kept = peer_errors.kept().values()
    assert {(one.function, one.mode) for one in kept} == set(peer_errors.NAMED)
    for one in kept:
        assert one.library != "fastact" or one.ulp <= ulp.promised(one.function, one.mode, "float32"), one


@pytest.mark.parametrize(("function", "mode"), [one for one in peer_errors.NAMED if one[0] not in ulp.ROWWISE])
def test_errors_of_peers_are_measured_again(function: str, mode: str) -> None:
    """At fewer points, with the NumPy that is here, and at some of them by mpmath."""
    found = peer_errors.judged("NumPy", function, mode, peer_errors.points(5001))
    assert found is not None
    x, errors = found
    recorded = peer_errors.kept()["NumPy", function, mode, "all"].ulp
    assert recorded / 4 < errors.max() < 2 * recorded  # another NumPy rounds otherwise
    some = np.append(x[::2500], x[errors.argmax()])
    line = Line(fastact.activations[function], some)
    exact = reference.evaluate(function, mode, some, *line.parameters.values(), m=reference.mpmath_namespace(50))
    by_mpmath = reference.ulp_error(line.of_peer("NumPy", mode), exact)
    np.testing.assert_allclose(errors[np.isin(x, some)].max(), by_mpmath.max(), rtol=1e-3)


@pytest.mark.parametrize("error", [2.5, math.inf])
def test_the_file_of_errors_is_strict_json(error: float) -> None:
    figure = peer_errors.Figure("NumPy", "tanh", "value", "all", error, 1.0)
    record = json.loads(peer_errors.line_of(figure), parse_constant=pytest.fail)
    assert peer_errors.Figure(**{**record, "ulp": float(record["ulp"])}) == figure
    json.loads(peer_errors.FIGURES.read_text(), parse_constant=pytest.fail)


@pytest.mark.parametrize(("error", "text"), [(0.52, "0.52"), (4.92, "4.9"), (9.96, "10"), (41.7, "42"), (4430, "4,400"),
                                             (1.62e6, "1.6 million"), (1.68e7, "17 million")])  # fmt: skip
def test_errors_are_written_with_two_digits(error: float, text: str) -> None:
    assert peer_errors.written(error) == text


def test_libraries_that_are_too_slow_twice_are_counted() -> None:
    work = Work("tanh", "value", "float32", (16,))
    counted: dict[str, int] = collections.defaultdict(int)
    for times in ({"fastact": 9.0, "NumPy": 1.0, "SciPy": 3.5}, {"fastact": 9.0, "NumPy": 1.0, "SciPy": 3.5}):
        grid._count_too_slow([Timing(work, "fresh", times)], counted)
    assert counted == {"fastact": 0, "NumPy": 0, "SciPy": 2}
    grid._count_too_slow([Timing(work, "fresh", {"NumPy": 1.0, "SciPy": 2.0})], counted)
    assert counted["SciPy"] == 0


def test_libraries_that_were_too_slow_twice_are_not_timed(small_grid: None) -> None:
    work = Work("tanh", "value", "float32", (96,))
    for times, expected in ((1, True), (2, False)):
        results = grid._measure_work(work, 1, {"NumPy": times})
        assert all(("NumPy" in result.nanoseconds) == expected for result in results)


@pytest.mark.parametrize(("words", "reason"), [
    ("--json a.json --report a.json", "name the same file"),
    ("--json a.json --report page", "--report: page has no suffix"),
    ("--json new.json --report a.md --skip-measuring", "holds no figures"),
    ("--json a.json --skip-measuring", "needs --report FILE"),
    ("--minutes 3", "required: --json"),
    ("--report a.md", "required: --json"),
    ("--quick --skip-measuring", "needs --report FILE"),
    ("--json a.json --minutes 0", "accepted is a number above 0"),
    ("--json a.json --isa v9", "unknown word 'v9'; accepted are"),
    ("--json a.json --function relux", "did you mean relu"),
    ("--json missing/a.json", "missing does not exist"),
])  # fmt: skip
def test_a_refusal_says_what_is_accepted(
    words: str, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("matplotlib")
    monkeypatch.chdir(tmp_path)
    assert reason in refused(words.split(), capsys)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("action", [one for one in grid._parser()._actions if one.nargs != 0], ids=lambda one: one.dest)
def test_every_option_refuses_what_makes_no_sense(
    action: argparse.Action, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    (tmp_path / "file.json").write_text("{}")
    (option,) = action.option_strings
    for value in hostile(action):
        if value != "circle.png":  # test_cli.py makes that link
            error = refused(["--json", "grid.json", option, value, "--minutes", "1e-9"], capsys)
            assert option in error
    assert sorted(os.listdir(tmp_path)) == ["file.json", "folder"]
    assert (tmp_path / "file.json").read_text() == "{}"


def refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """The one sentence on stderr with which this is refused, with status 2."""
    try:
        status = grid.main(words)
    except SystemExit as stop:
        status = stop.code  # type: ignore[assignment]
    printed, error = capsys.readouterr()
    assert (status, printed, error.count("\n")) == (2, "", 1)
    assert error.startswith("grid.py: ")
    return error


def test_quick_prints_where_fastact_is_behind(
    tmp_path: Path, small_grid: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The worst cell first, and the geometric mean of all."""
    pytest.importorskip("rich")
    times = {16: 3.0, 64: 0.5}

    def measured(work: Work, *rest: object) -> list[Timing]:
        ours = 9.0 if work.is_rowwise else times[work.size]
        compared = {"fastact": ours, "NumPy": 1.0, "SciPy": 1.5}
        return [Timing(work, "out", compared), Timing(work, "fresh", {"fastact": 1.0})]

    monkeypatch.setattr(grid, "_measure_work", measured)
    words = f"--quick --function relu softmax --threads 1 --isa {_isa.CHOSEN}".split()
    assert grid.main(words) == 0
    printed = capsys.readouterr().out
    found = [line.split() for line in printed.splitlines() if " NumPy  " in line]
    ratios = [float(ratio) for ratio, *_ in found]
    assert ratios == [9.0] * 2 + [3.0] * 3
    assert "`relu(x)` of 16 float32, out, 1 thread" in printed
    mean = (9.0**2 * 3.0**3 * 0.5**3) ** (1 / 8)
    assert f"behind by more than 5 % in 5 of 8 cells; geometric mean of all {mean:.3f}" in printed


def test_quick_is_a_part_of_the_grid(tmp_path: Path, small_grid: None, capsys: pytest.CaptureFixture[str]) -> None:
    """The whole grid takes its figures over."""
    pytest.importorskip("rich")
    file = tmp_path / "grid.json"
    measure(file, "--quick")
    assert "geometric mean of all" in capsys.readouterr().out
    quick = grid.File(file).results
    measure(file)
    whole = grid.File(file).results
    assert whole[: len(quick)] == quick
    assert len(whole) > len(quick)
    assert set(QUICK.sizes) <= set(FULL.sizes)
    assert set(QUICK.shapes) <= set(FULL.shapes)
    assert set(QUICK.dtypes) <= set(FULL.dtypes)


@pytest.mark.parametrize("text", ["{}", "null", "{", '{"figures": []}', '{"about": {}, "results": [3]}',
                                  '{"about": 3, "results": []}', "[" * 100_000])  # fmt: skip
def test_a_file_of_another_program_is_left_as_it_is(
    text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "file.json"
    file.write_text(text)
    error = refused(["--json", str(file), "--function", "relu", "--size", "16", "--minutes", "1e-9"], capsys)
    assert "is not a file of `python benchmarks/grid.py`, and is left as it is" in error
    assert file.read_text() == text
    assert list(tmp_path.iterdir()) == [file]


def test_the_script_runs_in_processes_of_its_own(tmp_path: Path) -> None:
    """One for each number of threads; each of them writes what it has."""
    pytest.importorskip("rich")
    file = tmp_path / "grid.json"
    words = f"--json {file} --isa {_isa.CHOSEN} --function hardmax --dtype float32 --minutes 1e-9"
    environment = os.environ | {"PYTHONPATH": str(Path(fastact.__file__).parents[1])}
    result = subprocess.run([sys.executable, grid.__file__, *words.split()], capture_output=True, text=True,
                            timeout=300, env=environment)  # fmt: skip
    assert (result.returncode, result.stdout) == (0, ""), result.stderr
    assert "fastact" in grid.File(file).about["libraries"]


def test_the_extract_has_what_the_pages_of_the_functions_show(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    record = {"isa": "v3", "threads": 1, "form": "fresh", "nanoseconds": {"fastact": 0.123456}, "function": "relu",
              "mode": "value", "dtype": "float32", "shape": [16384], "axis": -1}  # fmt: skip
    others = [record | other for other in ({"threads": 2}, {"dtype": "float64"}, {"form": "out"}, {"shape": [16]})]
    full, target = tmp_path / "grid.json", tmp_path / "speed.json"
    command = ["--json", str(full), "--skip-measuring", "--extract", str(target)]
    full.write_text(json.dumps({"about": {"CPU": "one"}, "results": [*others, record]}))
    assert grid.main(command) == 0
    (result,) = grid.File(target).results
    assert (result.work.shape, result.threads, result.nanoseconds) == ((16384,), 1, {"fastact": 0.1235})
    assert grid.File(target).about == {"CPU": "one"}
    full.write_text(json.dumps({"about": {}, "results": others}))
    assert grid.main(command) == 1
    assert "holds no figures" in capsys.readouterr().err
