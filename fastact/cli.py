"""The `fastact` command: one door, five commands.

Each command is a module of `fastact.commands` with `add_arguments(parser)` and `run(arguments) -> int`. Only the module
of the command that was asked for is imported: `fastact --help` is fast and needs none of the extras.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence

import fastact

COMMANDS = {
    "info": "version, instruction sets, threads and dtypes of this installation",
    "demo": "train a network on handwritten digits, then time its inference against NumPy",
    "bench": "time every function against NumPy, SciPy, PyTorch, JAX, ONNX Runtime, numexpr and Numba",
    "accuracy": "measure the error of every function, in ulp, against a reference",
    "plot": "draw the value and the derivative of functions into a picture",
}

EXTRAS = dict.fromkeys(("rich", "matplotlib", "sklearn", "mpmath"), "'fastact[demo]'") | {"ml_dtypes": "ml_dtypes"}
"""What brings the modules that commands need; `import fastact` itself needs NumPy alone."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command named by `argv` (default: the process's own arguments) and return its exit status."""
    argv = sys.argv[1:] if argv is None else list(argv)
    try:
        return _run(argv)
    except ModuleNotFoundError as error:
        module = (error.name or "").partition(".")[0]
        if module not in EXTRAS:
            raise
        print(f"fastact {argv[0]}: {module} is not installed; run: pip install {EXTRAS[module]}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"\nfastact {argv[0]}: interrupted", file=sys.stderr)
        return 130  # 128 + SIGINT, what a shell reports


def _run(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="fastact", description="Fast activation functions for NumPy arrays: value, derivative and backward."
    )
    parser.add_argument("--version", action="version", version=f"fastact {fastact.__version__}")
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, summary in COMMANDS.items():
        subparser = subparsers.add_parser(name, help=summary, description=f"{summary[0].upper()}{summary[1:]}.")
        if argv[:1] == [name]:
            command = importlib.import_module(f"fastact.commands.{name}")
            command.add_arguments(subparser)
            subparser.set_defaults(run=command.run)
    arguments = parser.parse_args(argv)
    status: int = arguments.run(arguments)
    return status


if __name__ == "__main__":
    sys.exit(main())
