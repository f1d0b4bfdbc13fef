"""Which instruction set runs, and what an impossible wish says."""

import os
import subprocess
import sys

import pytest

from fastact import _isa, _widths

SAY = "from fastact import _isa; print(_isa.CHOSEN, _isa.FORCED)"


def say(code=SAY, **variables):
    environment = {name: value for name, value in os.environ.items() if name != "FASTACT_ISA"} | variables
    return subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=60)


def test_the_newest_that_runs_is_chosen():
    assert set(_isa.SUPPORTED) <= set(_isa.BUILT)
    assert _isa.SETS[_isa.SUPPORTED[0]].module == "baseline"
    assert say().stdout.split() == [_isa.SUPPORTED[-1], "None"]
    assert say(FASTACT_ISA="").stdout.split() == [_isa.SUPPORTED[-1], "None"]


@pytest.mark.parametrize("isa", _isa.SUPPORTED)
def test_each_can_be_forced(isa):
    assert say(FASTACT_ISA=isa).stdout.split() == [isa, isa]


@pytest.mark.parametrize("wish", ["v5", "AVX2", " v3", "V3", *sorted(set(_isa.BUILT) - set(_isa.SUPPORTED))])
def test_an_impossible_wish_is_an_error_never_an_illegal_instruction(wish):
    result = say(FASTACT_ISA=wish)
    assert result.returncode == 1
    reason = "this processor does not run it" if wish in _isa.BUILT else "it is not in this build"
    assert f"ValueError: FASTACT_ISA={wish}: {reason}; accepted here: {', '.join(_isa.SUPPORTED)}" in result.stderr


def test_a_long_wish_makes_a_short_error():
    result = say(FASTACT_ISA="v" * 5000)
    assert f"ValueError: FASTACT_ISA={'v' * 40}... (5000 characters): it is not in this build" in result.stderr


def test_a_set_above_the_processor_is_refused(monkeypatch):
    monkeypatch.setattr(_isa, "BUILT", ("v2", "v3", "v4"))
    monkeypatch.setattr(_isa, "SUPPORTED", ("v2",))
    assert _isa.choose(None) == "v2"
    with pytest.raises(ValueError, match=r"FASTACT_ISA=v4: this processor does not run it; accepted here: v2"):
        _isa.choose("v4")


LIGHT = """
import importlib
from fastact import _isa
from fastact._engine import runtime
runtime.wide_loads_wait = lambda: True
importlib.reload(_isa)
v3 = _isa.load("v3").KERNELS
for mode in ("relu.backward", "sigmoid.value", "geglu.backward"):
    kernels = _isa.elementwise_kernels(mode)
    print(mode, *(dtype for dtype, number in _isa.DTYPES.items() if kernels[dtype] == v3[f"{mode}.{number}"]))
"""


@pytest.mark.skipif(not {"v3", "v4"} <= set(_isa.SUPPORTED), reason="this processor does not run both v3 and v4")
def test_light_kernels_have_256_bits_where_loads_of_512_are_slow():
    """With a set that is forced all kernels are of that set; those of 16-bit numbers always are of the newest."""
    modes = ["relu.backward", "sigmoid.value", "geglu.backward"]
    mixed, forced = (say(LIGHT, **one).stdout.splitlines() for one in ({}, {"FASTACT_ISA": "v4"}))
    assert mixed == [f"{modes[0]} float32 float64", *modes[1:]]
    assert forced == modes


def test_the_light_kernels_exist():
    names = {key.rpartition(".")[0] for key in _isa.KERNELS.KERNELS}
    assert names >= _widths.NARROW
    assert {"relu.backward", "tanh.backward_from_output", "reglu.value"} <= _widths.NARROW
    assert not {"tanh.value", "gelu.backward", "exp.value"} & _widths.NARROW


def test_the_processor_is_asked():
    """As the operating system sees it, where it says so in words."""
    try:
        with open("/proc/cpuinfo") as file:
            flags = next((set(line.split(":")[1].split()) for line in file if line.startswith("flags")), set())
    except OSError:
        flags = set()
    if not flags or not _isa.X86_64:
        pytest.skip("the operating system does not list the processor's instructions")
    wanted = {"v3": {"avx2", "fma", "bmi2", "f16c", "movbe"},
              "v4": {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"}}
    for isa, needed in wanted.items():
        if isa in _isa.BUILT:
            assert (isa in _isa.SUPPORTED) == (needed <= flags and wanted["v3"] <= flags), isa
