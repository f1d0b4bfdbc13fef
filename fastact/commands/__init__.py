"""The commands of the `fastact` command line, one module each: `add_arguments(parser)` and `run(arguments) -> int`.

This module has what they share: the types of their options, which refuse a wrong value with one sentence before
anything is computed, and the functions that read and write files. A file is written whole, or not at all.
"""

import argparse
import contextlib
import decimal
import difflib
import json
import math
import os
import platform
import re
import secrets
import signal
import stat
import subprocess
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import fastact

SHOWN = 60  # characters of a word in an error


class Refused(Exception):
    """The user gave something that is not accepted: one sentence, exit status 2."""


class Failed(Exception):
    """The command could not do what it was asked for: one sentence, exit status 1."""


def cpu() -> str:
    """The name of the processor."""
    with contextlib.suppress(OSError):
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            name = re.search(r"^model name\s*:\s*(.+)$", file.read(), re.MULTILINE)
        if name:
            return name[1]
    return platform.processor() or platform.machine()


# Types of options, for `type=` of argparse, which puts the option's name before the message ---------------------------


def shown(word: str) -> str:
    """A word in quotation marks, shortened if it is long."""
    return repr(word) if len(word) <= SHOWN else f"{word[:SHOWN]!r}... ({len(word):,} characters)"


def unknown(what: str, word: str, known: Iterable[str]) -> str:
    """The message that refuses a word that is not a known one."""
    known = list(known)
    similar = difflib.get_close_matches(word[:SHOWN], known)
    hint = f"did you mean {' or '.join(similar)}? " if similar else ""
    return f"unknown {what} {shown(word)}; {hint}accepted are {', '.join(known)}"


def whole_number(least: int = 1, most: int = 10**9) -> Callable[[str], int]:
    """A type of argument: a whole number within limits, in any notation of Python, such as 1e6 and 1_000_000."""

    def convert(text: str) -> int:
        number = None
        if len(text) <= SHOWN and re.fullmatch(r"[+-]?\d+(_\d+)*(\.\d*)?([eE][+-]?\d+)?", text, re.ASCII):
            with contextlib.suppress(decimal.InvalidOperation):
                number = decimal.Decimal(text)
        # The limits come before int(): 1e999999 would be an integer of a million digits.
        if number is None or not least <= number <= most or number != int(number):
            raise argparse.ArgumentTypeError(f"{shown(text)} is not accepted; accepted is a whole number from {least} "
                                             f"to {most}")  # fmt: skip
        return int(number)

    return convert


def duration(text: str) -> float:
    """A type of argument: a number above 0."""
    try:
        number = float(text) if text.isascii() else math.nan  # as `whole_number`: no digits of other scripts
    except ValueError:
        number = math.nan
    if not 0 < number < math.inf:
        raise argparse.ArgumentTypeError(f"{shown(text)} is not accepted; accepted is a number above 0")
    return number


def thread_count(text: str) -> int:
    """A type of argument: a number of threads that the library can start."""
    number = whole_number(1, 10**9)(text)
    try:
        with fastact.threads(number):
            return number
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def output_file(text: str) -> Path:
    """A type of argument: a file that `write_whole` can write. Nothing is written yet."""
    path = Path(text)
    try:
        if not text or text.endswith(("/", os.sep)) or path.is_dir():
            raise argparse.ArgumentTypeError(f"{shown(text)} is a folder; accepted is a file" if text else
                                             "'' is not accepted; accepted is the name of a file")  # fmt: skip
        target = _target(path)
        if not _is_special(target):
            if not target.parent.exists():
                raise argparse.ArgumentTypeError(f"{text}: the folder {target.parent} does not exist")
            if not target.parent.is_dir():
                raise argparse.ArgumentTypeError(f"{text}: {target.parent} is not a folder")
            if not os.access(target.parent, os.W_OK | os.X_OK):
                raise argparse.ArgumentTypeError(f"{text}: the folder {target.parent} is not writable")
        with contextlib.suppress(FileNotFoundError):  # a new file
            os.lstat(target)
            if not os.access(target, os.W_OK):
                raise argparse.ArgumentTypeError(f"{text}: the file is not writable")
    except (OSError, ValueError, RuntimeError) as error:  # too long a name, a null byte, links in a circle
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise argparse.ArgumentTypeError(f"{shown(text)}: {reason}") from None
    return path


# Files ----------------------------------------------------------------------------------------------------------------


def _target(path: Path) -> Path:
    """The file that is written: the one that a link points to, so that the link remains."""
    target = Path(os.path.realpath(path))
    if target.is_symlink():
        raise OSError(f"{path} is a link that points to itself")
    return target


def _is_special(path: Path) -> bool:
    """Whether it is a device or a pipe, which can be written to but not replaced."""
    return path.exists() and not path.is_file()


def write_whole(path: Path, content: str | bytes) -> None:
    """Write a file so that at any time it has either its old content or all of the new one.

    Raises
    ------
    Failed
        If that is not possible: nothing was changed.
    """
    data = content.encode() if isinstance(content, str) else content
    unfinished = before = None
    try:
        target = _target(path)
        if _is_special(target):
            with open(path, "wb") as file:
                file.write(data)
            return
        with contextlib.suppress(FileNotFoundError):
            before = target.stat()
        unfinished = target.parent / f".fastact-{secrets.token_hex(8)}"
        with open(unfinished, "xb") as file:  # tempfile would not apply the umask of the user
            file.write(data)
        if before is not None:
            with contextlib.suppress(OSError, AttributeError):  # only root may give a file to its former owner
                os.chown(unfinished, before.st_uid, before.st_gid)
            os.chmod(unfinished, stat.S_IMODE(before.st_mode))
        os.replace(unfinished, target)
    except BaseException as error:
        if unfinished is not None:
            with contextlib.suppress(OSError):
                os.unlink(unfinished)
        if isinstance(error, OSError):
            raise Failed(f"{path}: {error.strerror or error}") from None
        raise


def read_json(path: Path, command: str, check: Callable[[Any], Any]) -> Any:
    """What `check` returns for the content of a JSON file; None if there is no file, or an empty one.

    Raises
    ------
    Refused
        If it is not JSON, or `check` raises: it is a file of another program or command, which is not overwritten.
    """
    try:
        if not path.exists():
            return None
        if not path.is_file():
            raise Refused(f"{path} is not a regular file; accepted is one, in which figures can be kept")
        text = path.read_text(encoding="utf-8")
        return check(json.loads(text)) if text.strip() else None
    except OSError as error:
        raise Refused(f"{path}: {error.strerror}") from None
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise Refused(f"{path} is not a file of `{command}`, and is left as it is; accepted are those, and new "
                      "files") from None  # fmt: skip


def different(**paths: Path | None) -> None:
    """Refuse outputs that would be written over each other."""
    seen: dict[str, str] = {}
    for option, path in paths.items():
        if path is not None:
            other = seen.setdefault(os.path.realpath(path), option)
            if other != option:
                raise Refused(f"--{other} and --{option} name the same file, {path}")


def run_process(words: list[str], environment: Mapping[str, str]) -> int:
    """Run a program, and return its exit status; after Ctrl-C 130.

    The terminal sends Ctrl-C to every process. The program ends by itself, after the processes that it started; if it
    were killed, those would run on.
    """
    with subprocess.Popen(words, env=environment) as process:
        try:
            returncode = process.wait()
        except KeyboardInterrupt:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(5)
            if process.poll() is None:  # Ctrl-C reached this process only
                process.terminate() if os.name == "nt" else process.send_signal(signal.SIGINT)
            return 130
    return returncode if returncode >= 0 else 128 - returncode  # negative: ended by a signal
