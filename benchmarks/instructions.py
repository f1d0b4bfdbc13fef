"""Instructions per element and per call, counted by valgrind: figures that know nothing of the machine's moods.

    python benchmarks/instructions.py             compare with instructions.json; fails where more than 3 % were added
    python benchmarks/instructions.py --update    write instructions.json anew

One run under callgrind puts float32 and float64 arrays through every function; of each kernel its instructions are
divided by the elements. What a call costs is the difference between runs that make many calls and one that makes none.
All on one thread with the instruction set v3, which valgrind knows.

The figures are of one compiler, and those of calls of one interpreter and NumPy as well: elsewhere there is nothing to
compare with, and the script says so.
"""

import argparse
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

FIGURES = Path(__file__).with_suffix(".json")
TOLERANCE = 0.03
ROWS, COLUMNS = 64, 256  # of the arrays
CALLS = 30_000  # the start of the interpreter varies by a quarter of a million instructions
SETUP = """
import numpy as np
import fastact
x = np.linspace(-6, 6, 16, dtype=np.float32)
dy, out, y, p = x[::-1].copy(), np.empty_like(x), fastact.tanh(x), fastact.softmax(x)
tanh, softmax, logsumexp = fastact.tanh, fastact.softmax, fastact.logsumexp
for _ in range({calls}):
    {call}
"""
CALLED = {
    "tanh(x)": "tanh(x)",
    "tanh(x, out=out)": "tanh(x, out=out)",
    "tanh.backward(dy, x)": "tanh.backward(dy, x)",
    "tanh.backward(dy, output=y)": "tanh.backward(dy, output=y)",
    "softmax(x)": "softmax(x)",
    "softmax.backward(dy, output=p)": "softmax.backward(dy, output=p)",
    "logsumexp(x)": "logsumexp(x)",
}
WORK = """
import numpy as np
import fastact
from fastact import Elementwise, Gated, RowReduction
for dtype in np.float32, np.float64:
    x = np.random.default_rng(0).standard_normal(({rows}, {columns})).astype(dtype)
    dy = x[::-1].copy()
    for f in fastact.activations.values():
        if isinstance(f, Gated):
            f(x, dy), f.backward(dy, x, dy)
            continue
        for axis in (-1, 0) if not isinstance(f, Elementwise) else (None,):
            along = () if axis is None else (axis,)
            y = f(x, *along)
            if isinstance(f, RowReduction):
                f.backward(y, x, *along)
            else:
                f.backward(dy, x, *along)
            if isinstance(f, Elementwise):
                f.derivative(x)
                f.value_and_derivative(x)
                if "backward_from_output" in f.ufuncs:
                    f.backward(dy, output=y)
    fastact.softmax_mse(x, fastact.softmax(dy))
    fastact.softmax_cross_entropy(x, fastact.softmax(dy))
    fastact.softmax_cross_entropy(x, np.arange({rows}))
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--update", action="store_true", help="write the figures instead of comparing with them")
    update = parser.parse_args().update
    if shutil.which("valgrind") is None:
        print("instructions: left out, valgrind is not installed")
        return 0
    from fastact import _isa

    if "v3" not in _isa.SUPPORTED:
        print("instructions: left out, this processor or this build has no v3")
        return 0
    found = {"compiler": compiler(), "interpreter": interpreter(), "kernels": kernels(), "calls": calls()}
    if update:
        FIGURES.write_text(json.dumps(found, indent=1) + "\n")
        print(f"instructions: {len(found['kernels'])} kernels and {len(found['calls'])} calls in {FIGURES.name}")
        return 0
    kept = json.loads(FIGURES.read_text())
    worse = []
    for kind, condition in (("kernels", "compiler"), ("calls", "interpreter")):
        if found[condition] != kept[condition]:
            print(f"instructions: {kind} not compared, figures are of {kept[condition]}, here is {found[condition]}")
            continue
        changes = {name: found[kind][name] / figure - 1 for name, figure in kept[kind].items() if name in found[kind]}
        worse += [name for name, change in changes.items() if change > TOLERANCE]
        print(f"instructions: {len(changes)} {kind} compared")
        for name, change in changes.items():
            if abs(change) > TOLERANCE:
                print(f"    {name}: {kept[kind][name]:.2f}, now {found[kind][name]:.2f} ({change:+.1%})")
        if new := sorted(found[kind].keys() - kept[kind].keys()):
            print(f"    without a figure: {', '.join(new)}")
        if gone := sorted(kept[kind].keys() - found[kind].keys()):
            print(f"    no longer there: {', '.join(gone)}")
        if new or gone:
            print("    to bring benchmarks/instructions.json up to date run python benchmarks/instructions.py --update")
    return 1 if worse else 0


def compiler() -> str:
    command = shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc")
    return subprocess.run([*command, "--version"], capture_output=True, text=True).stdout.partition("\n")[0]


def interpreter() -> str:
    import numpy as np

    return f"{' '.join(sys.version.split())}, NumPy {np.__version__}"


def run(tool: str, code: str, *options: str) -> str:
    """Run the code under a tool of valgrind, on one thread, and return what the tool says."""
    environment = {**os.environ, "FASTACT_ISA": "v3", "FASTACT_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    command = ["valgrind", f"--tool={tool}", *options, sys.executable, "-c", code]
    finished = subprocess.run(command, env={**environment, "PYTHONHASHSEED": "0"}, capture_output=True, text=True)
    if finished.returncode:
        raise SystemExit(f"instructions: {' '.join(command[:2])} failed\n{finished.stderr}")
    return finished.stderr


def kernels() -> dict[str, float]:
    """Instructions of each kernel, per element of the array that is worked in its dtype."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "callgrind.out")
        run("callgrind", WORK.format(rows=ROWS, columns=COLUMNS), f"--callgrind-out-file={file}")
        command = ["callgrind_annotate", "--threshold=100", str(file)]
        text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found: dict[str, float] = {}
    symbol = r"__pyx_f_7fastact_8_kernels_2v3_(\w+?_(?:float|double))(?:\.\w+)*(?:'\d+)? "
    for count, name in re.findall(rf"^\s*([\d,]+) .*:{symbol}", text, re.MULTILINE):
        found[name] = found.get(name, 0) + int(count.replace(",", "")) / (ROWS * COLUMNS)
    return {name: round(found[name], 4) for name in sorted(found)}


def calls() -> dict[str, float]:
    """Instructions of one call on 16 elements."""

    def count(call: str, number: int) -> int:
        code = SETUP.format(calls=number, call=call)
        text = run("cachegrind", code, "--cache-sim=no", "--cachegrind-out-file=/dev/null")
        match = re.search(r"I\s+refs:\s+([\d,]+)", text)
        assert match, text
        return int(match[1].replace(",", ""))

    nothing = count("pass", 0)
    return {name: round((count(call, CALLS) - nothing) / CALLS, 1) for name, call in CALLED.items()}


if __name__ == "__main__":
    sys.exit(main())
