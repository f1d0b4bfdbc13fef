"""``fastact bench``: the table of peers is whole, everybody does the same work, and the figures are what they say."""

import argparse
import collections
import functools
import json
import math
from pathlib import Path

import numpy as np
import pytest

import fastact
from fastact import _isa
from fastact.commands import Refused, bench, grid, peers
from fastact.names import SPELLINGS

SMALL = peers.works((*fastact.activations, *peers.LOSSES), peers.MODES, ("float32", "float64"), (96,), row_shapes=False)
SMALL += [work._replace(shape=(5, 7), axis=0) for work in SMALL if work.is_rowwise and work.mode != "loss"]

NOT_IN_DOUBLE = ("celu", "gelu", "erf", "hardmax")
"""For which ONNX Runtime has no kernel in float64."""


@pytest.mark.parametrize("name", fastact.activations)
def test_every_mode_of_every_activation_is_measured(name: str) -> None:
    if not peers.is_rowwise(name):
        expected = {"value", "derivative", "value_and_derivative", "backward"}
    elif name == "logsumexp":
        expected = {"value", "backward"}
    else:
        expected = {"value", "backward_from_output"}
    measured = {mode for function, mode in peers.libraries()["fastact"].spellings if function == name}
    assert expected <= measured


def test_whatever_fastact_does_numpy_does_too() -> None:
    measured = {key for key in peers.libraries()["fastact"].spellings if key[1] != "backward_from_output"}
    assert measured <= set(peers.libraries()["NumPy"].spellings)


@pytest.mark.parametrize(("convention", "library"), [("torch", "PyTorch"), ("jax", "JAX"), ("onnx", "ONNX Runtime")])
def test_whoever_has_a_name_for_an_activation_is_its_peer(convention: str, library: str) -> None:
    if library not in peers.libraries():
        pytest.skip(f"{library} is not installed")
    named = {name for name, spellings in SPELLINGS.items() if convention in spellings}
    assert {(name, "value") for name in named} <= set(peers.libraries()[library].spellings)


def test_an_activation_without_an_entry_stands_against_its_reference(monkeypatch: pytest.MonkeyPatch) -> None:
    for table in (peers.NUMPY, peers.FORMULAS):
        for key in [key for key in table if key[0] == "sigmoid"]:
            monkeypatch.delitem(table, key)
    numpy = peers._numpy()
    for mode in ("value", "derivative", "value_and_derivative", "backward"):
        inputs = peers.Inputs(peers.Work("sigmoid", mode, "float32", (96,)))
        call = numpy.build(numpy.spellings["sigmoid", mode], inputs, None)
        assert peers.Contestant("NumPy", "fresh", call, inputs).agrees()


@pytest.mark.parametrize("library", peers.libraries())
def test_everybody_does_the_same_work(library: str) -> None:
    with peers.threads(1):
        for work in SMALL:
            inputs = peers.Inputs(work)
            for form in peers.libraries()[library].forms(work.function, work.mode):
                if (library, work.dtype) != ("ONNX Runtime", "float64") or work.function not in NOT_IN_DOUBLE:
                    assert peers.contestant(library, form, inputs).agrees(), (work, form)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_16_bits_are_the_same_work(dtype: str) -> None:
    compared = set()
    for work in (work._replace(dtype=dtype) for work in SMALL if work.dtype == "float32"):
        inputs = peers.Inputs(work)
        assert inputs.x.dtype == dtype
        for library in {"fastact", "PyTorch"} & set(peers.libraries()):
            for form in peers.libraries()[library].forms(work.function, work.mode):
                compared.add(library)
                assert peers.contestant(library, form, inputs).agrees(), (library, work, form)
    assert "fastact" in compared


def test_an_output_is_fresh_or_the_given_one() -> None:
    inputs = peers.Inputs(peers.Work("sigmoid", "value", "float32", (96,)))
    for library, form in peers.entrants(inputs.work):
        contestant = peers.contestant(library, form, inputs)
        inputs.out.fill(np.nan)
        contestant.call()
        assert np.isnan(inputs.out).all() == (form == "fresh"), (library, form)


def test_other_work_is_refused() -> None:
    inputs = peers.Inputs(peers.Work("sigmoid", "value", "float32", (96,)))
    assert peers.Contestant("exact", "fresh", lambda: inputs.expected[0], inputs).agrees()
    one_off = inputs.y.copy()
    one_off[7] += 0.01
    assert not peers.Contestant("one entry off", "fresh", lambda: one_off, inputs).agrees()
    assert not peers.Contestant("another function", "fresh", lambda: np.tanh(inputs.x), inputs).agrees()
    assert not peers.Contestant("another shape", "fresh", lambda: inputs.expected[0][None], inputs).agrees()


def test_of_long_results_a_part_is_judged() -> None:
    inputs = peers.Inputs(peers.Work("sigmoid", "value", "float32", (8 * peers.JUDGED,)))
    result = inputs.y.copy()
    assert peers.Contestant("exact", "fresh", lambda: result, inputs).agrees()
    result[1000:1016] = 0
    assert not peers.Contestant("sixteen off", "fresh", lambda: result, inputs).agrees()


def test_calls_are_timed_as_a_user_writes_them() -> None:
    def function(*arguments: int, **keywords: int) -> None:
        calls.append((arguments, keywords))

    calls: list[tuple[tuple[int, ...], dict[str, int]]] = []
    timer = bench.timer_of(functools.partial(function, 1, 2, out=3, function=4))
    assert "functools" not in repr(timer.inner.__globals__["function"])
    timer.timeit(2)
    assert calls == 2 * [((1, 2), {"out": 3, "function": 4})]
    bench.timer_of(lambda: calls.append(((), {}))).timeit(1)
    assert calls[-1] == ((), {})


def test_a_peer_that_differs_or_fails_is_named_and_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    def unavailable(x: object) -> None:
        raise NotImplementedError("not in this release")

    for function, obstacle in ((np.tanh, "its result differs"), (unavailable, "not in this release")):
        monkeypatch.setitem(peers.libraries()["NumPy"].spellings, ("sigmoid", "value"), peers.Spelling(function, "x"))
        rows, left_out = bench.measure(peers.Work("sigmoid", "value", "float32", (96,)), threads=1, rounds=1)
        assert all("NumPy" not in row.nanoseconds and "fastact" in row.nanoseconds for row in rows)
        (line,) = (line for line in left_out if line.startswith("NumPy (fresh)"))
        assert "sigmoid(x)" in line
        assert obstacle in line


def test_a_wrong_result_of_fastact_ends_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(peers.libraries()["fastact"].spellings, ("sigmoid", "value"), peers.Spelling(np.tanh, "x"))
    with pytest.raises(SystemExit, match="its result differs"):
        bench.measure(peers.Work("sigmoid", "value", "float32", (96,)), threads=1, rounds=1)


class ScriptedTimer:
    """Takes the next of the given times per call at each turn, and writes down whose turn it was."""

    def __init__(self, name: str, turns: list[str], *seconds: float) -> None:
        self.name, self.turns, self.seconds = name, turns, list(seconds)

    def timeit(self, number: int) -> float:
        self.turns.append(self.name)
        return number * (self.seconds.pop(0) if len(self.seconds) > 1 else self.seconds[0])


def test_the_race_is_run_in_turns_and_keeps_the_best() -> None:
    turns: list[str] = []
    times = {"steady": (1.0, 1.0), "moody": (4.0, 2.0, 0.5, 2.0), "slow": (9.0,)}
    timers = {("fresh", name): ScriptedTimer(name, turns, *seconds) for name, seconds in times.items()}
    best = bench.race(timers, rounds=4)  # type: ignore[arg-type]
    assert best == {("fresh", "steady"): 1.0, ("fresh", "moody"): 0.5, ("fresh", "slow"): 9.0}
    after_calibration = turns[3:]
    assert after_calibration.count("steady") == after_calibration.count("moody") == 4
    assert after_calibration.count("slow") == 1
    assert set(after_calibration[:3]) == set(times)


def test_the_summary_counts_rows_with_a_peer() -> None:
    work = peers.Work("sigmoid", "value", "float32", (96,))
    rows = [
        bench.Row(work, "fresh", {"fastact": 1.0, "NumPy": 2.0, "SciPy": 8.0}),
        bench.Row(work, "out", {"fastact": 4.0, "NumPy": 2.0}),
        bench.Row(work, "out", {"fastact": 4.0}),
    ]
    summary = bench.summarise(rows)
    assert (summary["ahead"], summary["rows"], summary["worst"]) == (1, 2, 2.0)
    assert math.isclose(summary["geometric_mean"], 1.0)
    assert "sigmoid(x), 96 float32, out" in summary["text"]


def test_the_command_prints_a_table_and_writes_its_figures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("rich")
    parser = argparse.ArgumentParser()
    bench.add_arguments(parser)
    file = tmp_path / "figures.json"
    options = f"--function sigmoid softmax --size 16 64 --rounds 1 --json {file} --dtype {' '.join(bench.DTYPES)}"
    threads = fastact.get_num_threads()

    assert bench.run(parser.parse_args(options.split())) == 0

    assert fastact.get_num_threads() == threads
    printed = capsys.readouterr().out
    assert "sigmoid.backward(dy, x)" in printed
    assert "np.tanh(x)" in printed
    document = json.loads(file.read_text())
    assert {(row["function"], row["dtype"], row["mode"], *row["shape"]) for row in document["rows"]} >= {
        ("sigmoid", "float32", "value", 16),
        ("sigmoid", "float64", "derivative", 64),
        ("sigmoid", "bfloat16", "value", 64),
        ("softmax", "float16", "value", 1, 16),
        ("softmax", "float32", "backward_from_output", 1, 64),
    }
    for row in document["rows"]:
        figures = dict(row["nanoseconds_per_element"])
        ours = figures.pop("fastact")
        assert ours > 0
        assert row["ratio"] == pytest.approx(ours / min(figures.values()))
    assert document["nanoseconds_per_call"].keys() == {"np.tanh", "fastact.sigmoid"}
    assert f"{document['summary']['ahead']} of {len(document['rows'])} rows" in " ".join(printed.split())


def grid_arguments(file: Path, *more: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    bench.add_arguments(parser)
    words = f"--grid --json {file} --function relu softmax --size 16 64 --dtype float32 --threads 1".split()
    return parser.parse_args([*words, "--isa", _isa.CHOSEN, *more])


@pytest.fixture
def small_grid(monkeypatch: pytest.MonkeyPatch) -> None:
    """One round of small work, in this process."""
    monkeypatch.setattr(grid, "SHAPES", (((4, 16), -1), ((6, 5), 0)))
    monkeypatch.setattr(grid, "ROUNDS", (1, 1))
    monkeypatch.setattr(grid, "_environment", lambda isa, threads: {})


def test_the_grid_measures_what_is_missing(tmp_path: Path, small_grid: None, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("rich")
    file = tmp_path / "grid.json"
    assert bench.run(grid_arguments(file)) == 0
    results = grid.File(file).results
    works = {result.work for result in results}
    assert {(work.function, work.mode, work.shape, work.axis) for work in works} == {
        *(("relu", mode, (size,), -1) for mode in grid.MODES for size in (16, 64)),
        *(("softmax", mode, shape, axis) for mode in ("value", "backward_from_output") for shape, axis in grid.SHAPES),
    }
    assert all(result.isa == _isa.CHOSEN and result.nanoseconds["fastact"] > 0 for result in results)

    measured: list[peers.Work] = []
    measure = grid._measure_work

    def watched(work: peers.Work, *rest: object) -> object:
        measured.append(work)
        return measure(work, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(grid, "_measure_work", watched)
    content = json.loads(file.read_text())
    content["results"] = [record for record in content["results"] if record["function"] != "relu"]
    file.write_text(json.dumps(content))
    assert bench.run(grid_arguments(file)) == 0
    assert {work.function for work in measured} == {"relu"}
    assert {result.work for result in grid.File(file).results} == works


def test_the_grid_stops_in_time_and_keeps_what_it_has(tmp_path: Path, small_grid: None) -> None:
    pytest.importorskip("rich")
    file = tmp_path / "grid.json"
    assert bench.run(grid_arguments(file, "--minutes", "1e-9")) == 0
    assert grid.File(file).results == []


def test_the_report_says_where_a_peer_leads(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    file, page = grid.File(tmp_path / "grid.json"), tmp_path / "performance.md"
    file.about = {"CPU": "a processor", "processors": 2, "Python": "3", "libraries": {"fastact": "0", "NumPy": "2"}}
    rows = peers.Work("softmax", "value", "float32", (1024, 1024))
    for size, ours in ((16, 1.0), (4096, 6.0)):
        for form in ("fresh", "out"):
            work = peers.Work("tanh", "value", "float32", (size,))
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
    assert "| softmax | v4 | 1 | 0.500 (0.50) |" in text
    for picture in ("heat-v4-float32-1", "tanh"):
        assert f"(performance/{picture}.png)" in text
        assert (tmp_path / "performance" / f"{picture}.png").read_bytes().startswith(b"\x89PNG")


def test_libraries_that_are_hopeless_twice_are_dropped() -> None:
    work = peers.Work("tanh", "value", "float32", (16,))
    dropped: dict[str, int] = collections.defaultdict(int)
    for times in ({"fastact": 9.0, "NumPy": 1.0, "SciPy": 3.5}, {"fastact": 9.0, "NumPy": 1.0, "SciPy": 3.5}):
        grid._find_hopeless([grid.Result("v4", 1, work, "fresh", times)], dropped)
    assert dropped == {"fastact": 0, "NumPy": 0, "SciPy": 2}
    grid._find_hopeless([grid.Result("v4", 1, work, "fresh", {"NumPy": 1.0, "SciPy": 2.0})], dropped)
    assert dropped["SciPy"] == 0


@pytest.mark.parametrize("options", ["--grid", "--report page.md", "--isa v4", "--minutes 3"])
def test_options_of_the_grid_need_it(options: str) -> None:
    if "v4" in options and "v4" not in _isa.SUPPORTED:
        pytest.skip("this processor does not run v4")
    parser = argparse.ArgumentParser()
    bench.add_arguments(parser)
    with pytest.raises(Refused, match=options.split()[0]):
        bench.run(parser.parse_args(options.split()))
