"""``fastact bench``: no peer is missing, all libraries do the same work, and the figures are what they say."""

import argparse
import functools
import hashlib
import json
import math
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

import fastact
from fastact import reference
from fastact.commands import Failed, bench, cpu
from fastact.comparison import peers, pictures, race
from fastact.comparison.peers import formulas, numpy
from fastact.comparison.race import Rounds, Timing
from fastact.comparison.work import (
    ALL_DTYPES,
    ANY_AXIS,
    CALLS,
    CHECKED,
    FUNCTIONS,
    MASKS,
    PACKED,
    SHAPES,
    Candidate,
    Inputs,
    Spelling,
    Work,
    has_rows,
    is_gated,
    is_rowwise,
)
from fastact.names import SPELLINGS

LOSSES = [name for name in FUNCTIONS if name not in fastact.activations and name != "sample"]

SMALL = peers.works(FUNCTIONS, CALLS, ("float32", "float64"), (96,), row_shapes=False)
SMALL += [
    work._replace(shape=(5, 7), axis=0 if work.mode in ANY_AXIS else -1)
    for work in SMALL
    if has_rows(work.function, work.mode)
]

NO_CELL = {
    "activations", "ufuncs", "get", "threads", "get_num_threads", "set_num_threads", "clear_buffers",
    "get_buffer_limit", "set_buffer_limit",
    "merge_softmax",  # a product and a sum of matrices, and a few numbers a row
}
"""Public names that compute nothing, or nothing that decides a time."""

SORTED = ("sparsemax", "sparsemax_loss", "entmax15", "entmax15_loss")
"""Functions that PyTorch and JAX do not have, and of which NumPy's expression, which sorts, stands for theirs."""

NOT_IN_DOUBLE = ("celu", "gelu", "erf", "hardmax")
"""For which ONNX Runtime has no kernel in float64."""


@pytest.mark.parametrize("name", sorted({*fastact.__all__} - NO_CELL))
def test_every_public_function_is_measured(name: str) -> None:
    function = getattr(fastact, name)
    if isinstance(function, type):
        return
    expected = {"hessian"} if hasattr(function, "gradient_and_hessian") else set()
    measured = {mode for spelled, mode in peers.libraries()["fastact"].spellings if spelled == name}
    assert measured, (
        f"{name} is not measured: write it into FUNCTIONS, and its call into CALLS, of fastact/comparison/work.py, and "
        f"its spelling into load() of fastact/comparison/peers/fastact.py")
    assert expected <= measured
    assert name in FUNCTIONS, f"{name} is not in FUNCTIONS of fastact/comparison/work.py: write it there"


@pytest.mark.parametrize("name", fastact.activations)
def test_every_mode_of_every_activation_is_measured(name: str) -> None:
    if is_gated(name):
        expected = {"value", "backward", *PACKED}
    elif not is_rowwise(name):
        expected = {"value", "derivative", "value_and_derivative", "backward"}
    elif name == "logsumexp":
        expected = {"value", "backward"}
    else:
        expected = {"value", "backward_from_output", *(MASKS if name == "softmax" else ())}
    measured = {mode for function, mode in peers.libraries()["fastact"].spellings if function == name}
    assert expected <= measured


def test_whatever_fastact_does_numpy_does_too() -> None:
    measured = {key for key in peers.libraries()["fastact"].spellings if key[1] != "backward_from_output"}
    missing = measured - set(peers.libraries()["NumPy"].spellings)
    assert not missing, f"{missing} have no peer: write their expressions into fastact/comparison/peers/numpy.py"


@pytest.mark.parametrize("library", ["PyTorch", "JAX"])
def test_what_is_no_method_of_an_activation_has_peers(library: str) -> None:
    if library not in peers.libraries():
        pytest.skip(f"{library} is not installed")
    modes = {"loss", "hessian", "sample", *MASKS, *PACKED}
    measured = {key for key in peers.libraries()["fastact"].spellings if key[1] in modes and key[0] not in SORTED}
    missing = measured - set(peers.libraries()[library].spellings)
    assert not missing, (
        f"{missing} have no expression for {library}: write them into the module of {library} in "
        f"fastact/comparison/peers/, or name the function in SORTED of tests/test_bench.py")


@pytest.mark.parametrize(("convention", "library"), [("torch", "PyTorch"), ("jax", "JAX"), ("onnx", "ONNX Runtime")])
def test_a_library_with_a_name_for_an_activation_is_a_peer(convention: str, library: str) -> None:
    if library not in peers.libraries():
        pytest.skip(f"{library} is not installed")
    named = {name for name, spellings in SPELLINGS.items() if convention in spellings}
    assert {(name, "value") for name in named} <= set(peers.libraries()[library].spellings)


def test_an_activation_without_a_spelling_is_compared_with_its_reference(monkeypatch: pytest.MonkeyPatch) -> None:
    for table in (numpy.SPELLINGS, formulas.FORMULAS):
        for key in [key for key in table if key[0] == "sigmoid"]:
            monkeypatch.delitem(table, key)
    library = numpy.load()
    for mode in ("value", "derivative", "value_and_derivative", "backward"):
        inputs = Inputs(Work("sigmoid", mode, "float32", (96,)))
        call = library.build(library.spellings["sigmoid", mode], inputs, None)
        assert Candidate("NumPy", "fresh", call, inputs).agrees()


def test_every_function_of_the_command_can_be_measured(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("rich")
    parser = argparse.ArgumentParser()
    bench.add_arguments(parser)
    for options, calls in (
        ("--mode loss hessian --function softmax_entropy sigmoid_cross_entropy relu",
         ("softmax_entropy(x)", "sigmoid_cross_entropy(x, targets)", "sigmoid_cross_entropy.gradient_and_hessian",
          "relu(x)")),  # relu of the table of calls, which has no losses
        ("--mode masked packed --function softmax swiglu", ("softmax(x, causal=True)", "swiglu.backward(dy, packed)")),
        ("--function sample softmax_kl", ("sample(x, rng)", "softmax_kl(x, targets)")),  # all modes that they have
    ):
        assert bench.run(parser.parse_args([*options.split(), "--size", "16", "--rounds", "1"])) == 0
        printed = capsys.readouterr().out
        assert all(call in printed for call in calls)


@pytest.mark.parametrize("name", LOSSES)
def test_a_loss_without_a_spelling_is_compared_with_its_reference(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(numpy.SPELLINGS, (name, "loss"), raising=False)
    inputs = Inputs(Work(name, "loss", "float32", (5, 7)))
    for library in (numpy.load(), peers.libraries()["fastact"]):
        call = library.build(library.spellings[name, "loss"], inputs, None)
        assert Candidate("", "fresh", call, inputs).agrees()


@pytest.mark.parametrize("library", peers.libraries())
def test_all_libraries_do_the_same_work(library: str) -> None:
    with peers.threads(1):
        for work in SMALL:
            inputs = Inputs(work)
            for form in peers.libraries()[library].forms(work.function, work.mode):
                if (library, work.dtype) != ("ONNX Runtime", "float64") or work.function not in NOT_IN_DOUBLE:
                    assert peers.candidate(library, form, inputs).agrees(), (work, form)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_16_bits_are_the_same_work(dtype: str) -> None:
    compared = set()
    for work in (work._replace(dtype=dtype) for work in SMALL if work.dtype == "float32"):
        inputs = Inputs(work)
        assert inputs.x.dtype == dtype
        for library in {"fastact", "PyTorch"} & set(peers.libraries()):
            for form in peers.libraries()[library].forms(work.function, work.mode):
                compared.add(library)
                assert peers.candidate(library, form, inputs).agrees(), (library, work, form)
    assert "fastact" in compared


def test_an_output_is_fresh_or_the_given_one() -> None:
    inputs = Inputs(Work("sigmoid", "value", "float32", (96,)))
    for library, form in peers.candidates(inputs.work):
        candidate = peers.candidate(library, form, inputs)
        inputs.out.fill(np.nan)
        candidate.call()
        assert np.isnan(inputs.out).all() == (form == "fresh"), (library, form)


@pytest.mark.parametrize("mode", MASKS)
def test_masks_leave_out_what_they_say(mode: str) -> None:
    """The expected result is that of the reference for the argument that fastact is given."""
    inputs = Inputs(Work("softmax", mode, "float32", (2, 4, 7)))
    part = reference.part_of_rows((2, 4, 7), **{mode: True if mode == "causal" else inputs.named(mode)})
    bias = inputs.bias if mode == "bias" else 0
    np.testing.assert_allclose(*inputs.expected, reference.masked_rows(inputs.x, part, bias=bias)[0], rtol=1e-12)
    assert part.all() == (mode == "bias")


def test_drawn_indices_are_held_against_the_distribution() -> None:
    inputs = Inputs(Work("sample", "sample", "float32", (2000, 10)))
    random, x = np.random.default_rng(5), inputs.x
    rights = reference.sample(x, random.random(2000))
    assert Candidate("right", "fresh", lambda: rights, inputs).agrees()
    for wrong in (
        x.argmax(axis=-1),
        random.integers(10, size=2000),
        reference.sample(x, random.random(2000), temperature=1.3),
        reference.sample(x, random.random(2000) ** 2),
        9 - rights,
        rights[:-1],
        rights + 1,
        rights.astype(float),
    ):
        assert not Candidate("wrong", "fresh", lambda wrong=wrong: wrong, inputs).agrees()  # type: ignore[misc]


def test_modes_of_few_shapes_are_not_timed_by_size() -> None:
    found = peers.works(FUNCTIONS, CALLS, ("float32",), (16384,), row_shapes=True)
    for mode, shapes in SHAPES.items():
        rows = [work.shape for work in found if work.mode == mode and has_rows(work.function, mode)]
        assert set(rows) == set(shapes)
        assert len(shapes) <= 3
    by_size = peers.works(("softmax", "swiglu"), ("causal", "halves"), ("float32",), (16384,), row_shapes=False)
    assert {work.shape for work in by_size} == {(16, 1024)}


def test_other_work_is_refused() -> None:
    inputs = Inputs(Work("sigmoid", "value", "float32", (96,)))
    assert Candidate("exact", "fresh", lambda: inputs.expected[0], inputs).agrees()
    one_off = inputs.y.copy()
    one_off[7] += 0.01
    assert not Candidate("one entry off", "fresh", lambda: one_off, inputs).agrees()
    assert not Candidate("another function", "fresh", lambda: np.tanh(inputs.x), inputs).agrees()
    assert not Candidate("another shape", "fresh", lambda: inputs.expected[0][None], inputs).agrees()


def test_of_long_results_a_part_is_compared() -> None:
    inputs = Inputs(Work("sigmoid", "value", "float32", (8 * CHECKED,)))
    result = inputs.y.copy()
    assert Candidate("exact", "fresh", lambda: result, inputs).agrees()
    result[1000:1016] = 0
    assert not Candidate("sixteen off", "fresh", lambda: result, inputs).agrees()


def test_calls_are_timed_as_a_user_writes_them() -> None:
    def function(*arguments: int, **keywords: int) -> None:
        calls.append((arguments, keywords))

    calls: list[tuple[tuple[int, ...], dict[str, int]]] = []
    timer = race.timer_of(functools.partial(function, 1, 2, out=3, function=4))
    assert "functools" not in repr(timer.inner.__globals__["function"])
    timer.timeit(2)
    assert calls == 2 * [((1, 2), {"out": 3, "function": 4})]
    race.timer_of(lambda: calls.append(((), {}))).timeit(1)
    assert calls[-1] == ((), {})


def test_a_peer_that_differs_or_fails_is_named_and_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    def unavailable(x: object) -> None:
        raise NotImplementedError("not in this release")

    for function, obstacle in ((np.tanh, "its result differs"), (unavailable, "not in this release")):
        monkeypatch.setitem(peers.libraries()["NumPy"].spellings, ("sigmoid", "value"), Spelling(function, "x"))
        timings, left_out = race.measure(Work("sigmoid", "value", "float32", (96,)), threads=1, rounds=Rounds(1))
        assert all("NumPy" not in one.nanoseconds and "fastact" in one.nanoseconds for one in timings)
        (line,) = (line for line in left_out if line.startswith("NumPy (fresh)"))
        assert "sigmoid(x)" in line
        assert obstacle in line


def test_a_wrong_result_of_fastact_ends_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(peers.libraries()["fastact"].spellings, ("sigmoid", "value"), Spelling(np.tanh, "x"))
    parser = argparse.ArgumentParser()
    bench.add_arguments(parser)
    arguments = parser.parse_args(["--function", "sigmoid", "--mode", "value", "--size", "96", "--rounds", "1"])
    with pytest.raises(Failed, match=r"sigmoid\(x\), 96 float32, fresh: its result differs"):
        bench.run(arguments)


class ScriptedTimer:
    """Takes the next of the given times per call at each turn, and records the turn."""

    def __init__(self, name: str, turns: list[str], *seconds: float) -> None:
        self.name, self.turns, self.seconds = name, turns, list(seconds)

    def timeit(self, number: int) -> float:
        self.turns.append(self.name)
        return number * (self.seconds.pop(0) if len(self.seconds) > 1 else self.seconds[0])


def test_calls_are_timed_in_turns_and_the_best_time_counts() -> None:
    turns: list[str] = []
    times = {"steady": (1.0, 1.0), "varying": (4.0, 2.0, 0.5, 2.0), "slow": (9.0,)}
    timers = {("fresh", name): ScriptedTimer(name, turns, *seconds) for name, seconds in times.items()}
    best = race.best_times(timers, Rounds(4))  # type: ignore[arg-type]
    assert best == {("fresh", "steady"): 1.0, ("fresh", "varying"): 0.5, ("fresh", "slow"): 9.0}
    after_calibration = turns[3:]
    assert after_calibration.count("steady") == after_calibration.count("varying") == 4
    assert after_calibration.count("slow") == 1
    assert set(after_calibration[:3]) == set(times)


def test_with_several_threads_each_call_is_timed_after_one_of_its_own() -> None:
    turns: list[str] = []
    timers = {("fresh", name): ScriptedTimer(name, turns, 1.0) for name in ("one", "other")}
    race.best_times(timers, Rounds(2), alone=True)  # type: ignore[arg-type]
    calibration, rounds = turns[:4], turns[4:]
    assert calibration == ["one"] * 2 + ["other"] * 2
    assert rounds == ["other"] * 2 + ["one"] * 4 + ["other"] * 2


@pytest.mark.skipif(sys.platform != "linux", reason="it reads /proc")
def test_a_call_is_timed_once_the_threads_before_it_sleep() -> None:
    spinning = threading.Thread(target=hashlib.pbkdf2_hmac, args=("sha256", b"", b"", 20_000))  # without the GIL
    spinning.start()
    race._wait_for_other_threads()
    assert not spinning.is_alive()


def test_the_summary_counts_rows_with_a_peer() -> None:
    work = Work("sigmoid", "value", "float32", (96,))
    rows = [
        Timing(work, "fresh", {"fastact": 1.0, "NumPy": 2.0, "SciPy": 8.0}),
        Timing(work, "out", {"fastact": 4.0, "NumPy": 2.0}),
        Timing(work, "out", {"fastact": 4.0}),
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
    options = f"--function sigmoid softmax --size 16 64 --rounds 1 --json {file} --dtype {' '.join(ALL_DTYPES)}"
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


def test_the_page_has_the_figures_the_machine_and_a_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("rich")
    pytest.importorskip("matplotlib")
    parser = argparse.ArgumentParser()
    bench.add_arguments(parser)
    page, figures = tmp_path / "bench.md", tmp_path / "figures.json"
    options = f"--function tanh softmax --mode value --size 64 --rounds 1 --markdown {page} --json {figures}"

    assert bench.run(parser.parse_args(options.split())) == 0

    text = page.read_text(encoding="utf-8")
    assert text.startswith(f"# Speed of fastact on {cpu()}\n")
    assert f"fastact {fastact.__version__}, NumPy {np.__version__}" in text
    document = json.loads(figures.read_text())
    assert f"{document['summary']['text']}." in text
    for row in document["rows"]:
        title = f"## {' x '.join(map(str, row['shape']))} float32\n"
        (line,) = (
            line
            for line in text.partition(title)[2].partition("\n## ")[0].splitlines()
            if line.startswith(f"| `{row['call']}` | {row['form']} |")
        )
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        assert float(cells[2]) == pytest.approx(row["nanoseconds_per_element"]["fastact"], rel=0.01, abs=5e-4)
        assert cells[-1] == f"{row['ratio']:.2f}"
        assert line.count("**") == 2
    assert "| np.tanh(x) |" in text
    assert "](bench.png)" in text
    assert (tmp_path / "bench.png").read_bytes().startswith(b"\x89PNG")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bench.md", "bench.png", "figures.json"]


def test_the_picture_has_a_panel_a_dtype_and_a_line_a_call() -> None:
    pytest.importorskip("matplotlib")
    timings = [
        Timing(Work("tanh", mode, "float32", (size,)), "out", {"fastact": ours, "NumPy": 2.0})
        for mode, size, ours in (("value", 16, 1.0), ("value", 64, 4.0), ("backward", 16, 3.0))
    ]
    timings += [
        Timing(Work("softmax", "value", "float32", (4, 16)), "out", {"fastact": 0.5, "NumPy": 1.0}),
        Timing(Work("tanh", "value", "float64", (16,)), "out", {"fastact": 0.5, "NumPy": 1.0}),
        Timing(Work("gelu", "value", "float64", (16,)), "out", {"fastact": 0.5}),
    ]
    panels = bench._panels(bench.Found(1, 1, timings, {}, []))
    assert [len(panel) for panel in panels.values()] == [3, 1, 2]
    *places, _bar = pictures.heat_map(panels).axes
    assert [[label.get_text() for label in axes.get_yticklabels()] for axes in places] == [
        ["tanh(x)", "tanh.backward(dy, x)"], ["softmax(x)"], ["tanh(x)"]]
    assert [sorted(text.get_text() for text in axes.texts) for axes in places] == [
        ["0.50", "1.50", "2.00"], ["0.50"], ["0.50"]]
    assert [label.get_text() for label in places[1].get_xticklabels()] == ["4\n× 16\nout"]
