"""The `fastact` command line: one entry point for all commands.

Each command is a module of `fastact.commands` with `add_arguments(parser)` and `run(arguments) -> int`. Only the module
of the given command is imported: `fastact --help` is fast and needs none of the extras.

`main` turns every failure into one sentence on stderr and an exit status:

* 2: an argument is refused, before anything is computed or written;
* 1: the work could not be done, for instance on a full disk, or needs an extra that is not installed;
* 1, without a sentence: the reader of a pipe has closed it (``| head -1``);
* 130: Ctrl-C, as a shell reports it.

Only an error in the program itself prints a traceback.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NoReturn

import fastact
from fastact.commands import Failed, Refused, unknown

COMMANDS = {
    "info": "version, instruction sets, threads and dtypes of this installation",
    "demo": "train a network on handwritten digits, then time its inference against NumPy",
    "bench": "time every function against NumPy, SciPy, PyTorch, JAX, ONNX Runtime, numexpr and Numba",
    "accuracy": "measure the error of every function, in ulp, against a reference",
    "plot": "draw functions: value and derivative, families of curves, errors, surfaces",
    "explore": "show functions in the browser, with sliders for range and parameters",
}

EXTRAS = dict.fromkeys(("rich", "matplotlib", "sklearn", "mpmath"), "'fastact[demo]'") | {"ml_dtypes": "ml_dtypes"}
"""What to install for the modules that commands need; `import fastact` needs only NumPy."""


STATUSES = "exit status: 0 done; 1 not done; 2 refused, with the reason on stderr; 130 interrupted"


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one sentence, without the usage, and suggest similar words."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {' '.join(message.split())}\n")

    def _print_message(self, message: str, file: Any = None) -> None:
        if file is sys.stdout:
            file.write(message)  # argparse would ignore a failed write of the help
        else:
            _complain(message)

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is not None and value not in action.choices:
            raise argparse.ArgumentError(action, unknown("word", str(value), map(str, action.choices)))


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command named by `argv` (default: the process's own arguments) and return its exit status."""
    argv = sys.argv[1:] if argv is None else list(argv)
    name = f"fastact {argv[0]}" if argv and argv[0] in COMMANDS else "fastact"
    return exit_status(name, lambda: _run(argv))


def exit_status(name: str, run: Callable[[], int]) -> int:
    """The status that `run` returns or, after one sentence on stderr, the status of what it raises."""
    with _forgiving_streams():
        try:
            try:
                return run()
            finally:
                sys.stdout.flush()
        except Refused as error:
            return _end(name, str(error), 2)
        except Failed as error:
            return _end(name, str(error), 1)
        except ModuleNotFoundError as error:
            module = (error.name or "").partition(".")[0]
            if module not in EXTRAS:
                raise
            return _end(name, f"{module} is not installed; run: pip install {EXTRAS[module]}", 1)
        except MemoryError as error:
            return _end(name, f"not enough memory: {error}" if str(error) else "not enough memory", 1)
        except BrokenPipeError:
            return _end(name, "", 1)
        except OSError as error:
            return _end(name, f"{error.filename or 'standard output'}: {error.strerror or error}", 1)
        except KeyboardInterrupt:
            return _end(name, "interrupted", 130)  # 128 + SIGINT, what a shell reports


def _end(name: str, sentence: str, status: int) -> int:
    """Print the reason, and return the status."""
    _flush(sys.stdout)
    if sentence:
        _complain(f"{name}: {' '.join(sentence.split())}\n")
    return status


def _complain(text: str) -> None:
    with contextlib.suppress(OSError):
        sys.stderr.write(text)
    _flush(sys.stderr)


def _flush(stream: Any) -> None:
    """Flush; drop output that the stream refuses, or Python would retry at exit and change the exit status."""
    try:
        stream.flush()
    except OSError:
        with contextlib.suppress(OSError, ValueError):
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, stream.fileno())
            os.close(null)


@contextlib.contextmanager
def _forgiving_streams() -> Iterator[None]:
    """Make the streams replace characters that their encoding lacks, and replace a closed stream by the null device."""
    errors = []
    for which in ("stdout", "stderr"):
        stream = getattr(sys, which)
        if stream is None:
            setattr(sys, which, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115
        elif hasattr(stream, "reconfigure") and stream.errors in ("strict", "surrogateescape"):
            errors.append((stream, stream.errors))
            stream.reconfigure(errors="replace")
    try:
        yield
    finally:
        for stream, which in errors:
            with contextlib.suppress(OSError, ValueError):
                stream.reconfigure(errors=which)


def _run(argv: list[str]) -> int:
    parser = Parser(
        prog="fastact",
        description="Fast activation functions for NumPy arrays: value, derivative and backward.",
        epilog=STATUSES,
    )
    parser.add_argument("--version", action="version", version=f"fastact {fastact.__version__}")
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, summary in COMMANDS.items():
        subparser = subparsers.add_parser(
            name, help=summary, description=f"{summary[0].upper()}{summary[1:]}.", epilog=STATUSES
        )
        if argv[:1] == [name]:
            command = importlib.import_module(f"fastact.commands.{name}")
            command.add_arguments(subparser)
            subparser.set_defaults(run=command.run)
    arguments = parser.parse_args(argv)
    status: int = arguments.run(arguments)
    return status


if __name__ == "__main__":
    sys.exit(main())
