"""``fastact explore``: a page in the browser that draws functions from what the kernels compute.

This process serves the page and what it asks for, to this machine alone. It computes nothing itself: each instruction
set has a process of its own, started with the first request for it. One that takes too long is ended, and started again
with the next request. Nothing is written.
"""

import argparse
import base64
import contextlib
import hashlib
import importlib.resources
import importlib.util
import json
import math
import os
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.parse
import webbrowser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import IO, Any

import numpy as np

import fastact
from fastact import Activation, Elementwise, Gated, _isa
from fastact.commands import SHOWN, Failed, shown, unknown, whole_number
from fastact.comparison import peers
from fastact.comparison.curves import PEERS, Line, limits
from fastact.comparison.work import ALL_DTYPES, Array, named_dtype

POINTS = 4001  # at most
SECONDS = 30  # of a request, in which PyTorch or JAX may be imported
LENGTH = 2000  # characters of an address
MODES = ("value", "derivative")
FIELDS = ("function", "dtype", "isa", "low", "high", "points", "libraries")  # others are parameters


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    parser.add_argument("--port", type=whole_number(1024, 65535), default=0, metavar="N",
                        help="of the server (default: a free one)")  # fmt: skip
    parser.add_argument("--no-browser", action="store_true", help="print the address alone")


def run(arguments: argparse.Namespace) -> int:
    """Serve the page until Ctrl-C."""
    try:
        server = Server(arguments.port)
    except OSError as error:
        raise Failed(f"port {arguments.port}: {error.strerror}") from None
    with server:
        address = f"http://127.0.0.1:{server.server_port}/"
        print(f"{address} (Ctrl-C ends it)", flush=True)
        if not arguments.no_browser:
            threading.Thread(target=webbrowser.open, args=[address], daemon=True).start()
        server.serve_forever()
    return 0


class Declined(Exception):
    """A request that is not answered: the status of HTTP and one sentence."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


# The server -----------------------------------------------------------------------------------------------------------


class Server(ThreadingHTTPServer):
    """The server of the page, on the loopback interface."""

    allow_reuse_address = os.name != "nt"  # where it would let another process take the port

    def __init__(self, port: int = 0) -> None:
        self.computers = {isa: Computer(isa) for isa in _isa.SUPPORTED}
        super().__init__(("127.0.0.1", port), Handler)
        self.hosts = {f"{name}:{self.server_port}" for name in ("127.0.0.1", "localhost")}
        page = importlib.resources.files("fastact.commands").joinpath("explore.html").read_text(encoding="utf-8")
        self.page = page.encode()
        # The page may use what stands in it, and ask this server: nothing else.
        script, style = (_digests(page, tag) for tag in ("script", "style"))
        self.policy = (f"default-src 'none'; script-src {script}; style-src {style}; connect-src 'self'; img-src data:;"
                       " base-uri 'none'; form-action 'none'; frame-ancestors 'none'")  # fmt: skip
        self.catalogue = _encoded(catalogue())

    def server_close(self) -> None:
        """Close the socket, and end the processes that compute."""
        super().server_close()
        for computer in self.computers.values():
            computer.close()


def _digests(page: str, tag: str) -> str:
    contents = re.findall(f"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
    digests = [base64.b64encode(hashlib.sha256(one.encode()).digest()).decode() for one in contents]
    return " ".join(f"'sha256-{digest}'" for digest in digests)


def _encoded(content: Any) -> bytes:
    return json.dumps(content, allow_nan=False).encode()


class Handler(BaseHTTPRequestHandler):
    """One request: the page, what there is to choose, or a curve."""

    server: Server
    timeout = 10  # seconds that a client may be silent

    def do_GET(self) -> None:
        try:
            self._check()
            path, _, query = self.path.partition("?")
            if path == "/":
                self._send(200, "text/html; charset=utf-8", self.server.page)
            elif path == "/catalogue.json":
                self._send(200, "application/json", self.server.catalogue)
            elif path == "/curve.json":
                self._send(200, "application/json", self._curve(query))
            else:
                raise Declined(404, f"unknown path {shown(path)}; accepted are /, /catalogue.json and /curve.json")
        except Declined as error:
            self.send_error(error.status, str(error))

    def _check(self) -> None:
        """Refuse pages of other origins, and names of other hosts that lead to this machine (DNS rebinding)."""
        hosts, origin = self.headers.get_all("Host", []), self.headers.get("Origin")
        accepted = f"accepted is {min(self.server.hosts)}"
        if len(hosts) != 1 or hosts[0].lower() not in self.server.hosts:
            raise Declined(403, f"the host is {shown(', '.join(hosts))}; {accepted}")
        if origin is not None and origin.lower() not in {f"http://{host}" for host in self.server.hosts}:
            raise Declined(403, f"the origin is {shown(origin)}; {accepted}")
        if self.headers.get("Sec-Fetch-Site", "none") not in ("none", "same-origin"):
            raise Declined(403, f"the request comes from a page of another origin; {accepted}")
        if len(self.path) > LENGTH:
            raise Declined(414, f"the address has {len(self.path):,} characters; accepted are {LENGTH:,}")

    def _curve(self, query: str) -> bytes:
        try:
            pairs = urllib.parse.parse_qsl(query, keep_blank_values=True, strict_parsing=True, max_num_fields=32)
        except ValueError:
            raise Declined(400, f"the query is {shown(query)}; accepted are pairs, as function=silu&beta=2") from None
        given = dict(pairs)
        if len(given) < len(pairs):
            raise Declined(400, "a name is given twice; accepted is one number or word of each")
        isa = given.get("isa", _isa.CHOSEN)
        if isa not in self.server.computers:
            raise Declined(400, unknown("instruction set", isa, self.server.computers))
        return self.server.computers[isa].ask(given)

    def _send(self, status: int, kind: str, content: bytes) -> None:
        self.send_response(status)
        if status == 405:
            self.send_header("Allow", "GET")
        for name, value in {
            "Content-Type": kind, "Content-Length": str(len(content)), "Cache-Control": "no-store",
            "Content-Security-Policy": self.server.policy, "X-Content-Type-Options": "nosniff",
            "X-Frame-Options": "DENY", "Referrer-Policy": "no-referrer",
            "Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Resource-Policy": "same-origin",
        }.items():  # fmt: skip
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Answer with a sentence, as JSON: also what the base class refuses."""
        self.close_connection = True
        if code == 501:  # it has no method for what is asked
            code, message = 405, f"the method is {shown(self.command)}; accepted is GET"
        with contextlib.suppress(OSError):  # the client has gone
            self._send(code, "application/json", _encoded({"error": message or self.responses[code][0]}))

    def log_message(self, format: str, *arguments: Any) -> None:
        """Write nothing."""


# The processes --------------------------------------------------------------------------------------------------------


class Computer:
    """A process that computes with one instruction set."""

    def __init__(self, isa: str) -> None:
        self.isa, self.turn = isa, threading.Lock()
        self.process: subprocess.Popen[str] | None = None

    def ask(self, given: dict[str, str]) -> bytes:
        """The answer to one request, as JSON."""
        started = time.monotonic()
        if not self.turn.acquire(timeout=SECONDS):
            raise Declined(503, f"other requests have taken {SECONDS} seconds")
        try:
            line = self._exchange(json.dumps(given))
            if not line:
                self.close()
        finally:
            self.turn.release()
        if not line:
            if time.monotonic() - started >= SECONDS:
                raise Declined(503, f"not done after {SECONDS} seconds; accepted are fewer points")
            raise Declined(500, f"the process that computes with {self.isa} has ended")
        status, _, content = line.partition(" ")
        if status != "200":
            raise Declined(int(status), json.loads(content))
        return content.encode()

    def _exchange(self, line: str) -> str:
        """The line that answers another one; the empty one if the process ends."""
        process = self.process
        if process is None or process.poll() is not None:
            self.close()
            self.process = process = subprocess.Popen(
                [sys.executable, "-m", "fastact.commands.explore"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                encoding="utf-8", env={**os.environ, "FASTACT_ISA": self.isa, "FASTACT_NUM_THREADS": "1"})  # fmt: skip
        assert process.stdin and process.stdout
        timer = threading.Timer(SECONDS, process.kill)
        timer.start()
        try:
            process.stdin.write(f"{line}\n")
            process.stdin.flush()
            return process.stdout.readline()
        except OSError:
            return ""
        finally:
            timer.cancel()

    def close(self) -> None:
        """End the process."""
        if self.process is not None:
            self.process.kill()
            with contextlib.suppress(OSError), self.process:
                pass
            self.process = None


def compute(questions: IO[str], answers: IO[str]) -> None:
    """Answer each line, a request as JSON, by a line: the status and the content, as JSON."""
    for line in questions:
        content: Any
        try:
            status, content = 200, curve(json.loads(line))
        except (Declined, TypeError, ValueError) as error:  # of the library, whose words are passed on
            status, content = 400, str(error)
        except ModuleNotFoundError as error:  # ml_dtypes
            status, content = 400, f"{error.name} is not installed"
        except MemoryError:
            status, content = 500, "not enough memory"
        answers.write(f"{status} {json.dumps(content, allow_nan=False)}\n")
        answers.flush()


# What they compute ----------------------------------------------------------------------------------------------------


def catalogue() -> dict[str, Any]:
    """What there is to choose."""
    dtypes = [name for name in ALL_DTYPES if name != "bfloat16" or importlib.util.find_spec("ml_dtypes")]
    return {
        "version": fastact.__version__,
        "functions": [_description(one) for one in fastact.activations.values()],
        "dtypes": dtypes,
        "sets": [{"name": name, "supported": name in _isa.SUPPORTED} for name in _isa.BUILT],
        "chosen": _isa.CHOSEN,
        "libraries": [{"name": name, "installed": importlib.util.find_spec(peers.MODULES[name]) is not None}
                      for name in PEERS],
        "points": POINTS,
    }  # fmt: skip


def _description(activation: Activation) -> dict[str, Any]:
    low, high = limits(activation)
    along = "" if isinstance(activation, Elementwise) else "the row (x, 0), its first entry"
    along = "the gate x and the other input 1" if isinstance(activation, Gated) else along
    return {
        "name": activation.name, "summary": activation.summary, "along": along, "low": low, "high": high,
        "parameters": [{"name": name, "default": _number(default), **_slider(activation, name)}
                       for name, default in activation.parameters.items()],
    }  # fmt: skip


def _slider(activation: Activation, name: str) -> dict[str, float]:
    """The ends of the slider of a parameter, within its domain: around the default, or up to 8 if that is infinite."""
    default = activation.parameters[name]
    low, high = (0.0, 8.0) if math.isinf(default) else (default - max(3 * abs(default), 1), default + max(
        4 * abs(default), 1))  # fmt: skip
    domain = getattr(activation, "parameter_domain", {}).get(name)
    if domain is None:  # scale, temperature and alpha of rows
        domain = (min(default, 1) / 16, math.inf)
    return {"low": max(low, domain[0]), "high": min(high, domain[1])}


def _number(number: float) -> float | str:
    """As JSON has it, or the word for it that JavaScript converts."""
    if math.isfinite(number):
        return number
    return "NaN" if math.isnan(number) else "Infinity" if number > 0 else "-Infinity"


def _numbers(array: Array) -> list[float | str]:
    wide = array.astype(np.float64)
    numbers: list[float | str] = wide.tolist()
    for k in np.flatnonzero(~np.isfinite(wide)):
        numbers[k] = _number(float(wide[k]))
    return numbers


def curve(given: dict[str, str]) -> dict[str, Any]:
    """The curves that a request asks for, as JSON has them.

    Raises
    ------
    Declined, TypeError, ValueError
        If something in it is not accepted.
    """
    activation = fastact.get(given.get("function", ""))
    dtype, count = given.get("dtype", "float32"), given.get("points", "801")
    if dtype not in ALL_DTYPES:
        raise Declined(400, unknown("dtype", dtype, ALL_DTYPES))
    try:
        points = whole_number(2, POINTS)(count)
    except argparse.ArgumentTypeError as error:
        raise Declined(400, f"points: {error}") from None
    names = [name for name in given.get("libraries", "").split(",") if name]
    for name in names:
        if name not in PEERS:
            raise Declined(400, unknown("library", name, PEERS))
    parameters = {name: _float(name, text) for name, text in given.items() if name not in FIELDS}
    for name in parameters:
        if not activation.parameters:
            raise Declined(400, f"unknown parameter {shown(name)}; {activation.name} has none")
        if name not in activation.parameters:
            raise Declined(400, unknown("parameter", name, activation.parameters))
    line = Line(activation, _inputs(given, named_dtype(dtype), points), parameters)
    answer: dict[str, Any] = {
        "function": activation.name, "dtype": dtype, "isa": _isa.CHOSEN, "x": _numbers(line.x),
        "promised": {mode: line.promised(mode) for mode in MODES},
        "libraries": {"fastact": {mode: _judged(line, mode, line.computed(mode)) for mode in MODES}}, "notes": [],
    }  # fmt: skip
    if names and not line.has_defaults:
        answer["notes"].append("Other libraries are shown where all parameters have their defaults.")
        names = []
    for name in names:
        found = {mode: line.of_peer(name, mode) for mode in MODES}
        if any(result is not None for result in found.values()):
            answer["libraries"][name] = {
                mode: result if result is None else _judged(line, mode, result) for mode, result in found.items()}
        else:
            answer["notes"].append(f"{name} has no {activation.name} in {dtype}.")
    if line.is_judged("value") and answer["libraries"]["fastact"]["value"]["ulp"] is None:
        answer["notes"].append("Errors of float64 need mpmath, which is not installed: pip install mpmath.")
    return answer


def _inputs(given: dict[str, str], dtype: Any, points: int) -> Array:
    low, high = _float("low", given.get("low", "-6")), _float("high", given.get("high", "6"))
    if not low < high:
        raise Declined(400, f"low is {low:g} and high is {high:g}; accepted is a low that is less than high")
    with np.errstate(all="ignore"):
        x = np.linspace(low, high, points).astype(dtype)
    if not np.isfinite(x).all():
        raise Declined(400, f"low is {low:g} and high is {high:g}; accepted are numbers of {dtype.name}")
    return x


def _float(name: str, text: str) -> float:
    with contextlib.suppress(ValueError):
        if text.isascii() and len(text) <= SHOWN:
            return float(text)
    raise Declined(400, f"{name} is {shown(text)}; accepted is a number")


def _judged(line: Line, mode: str, computed: Array) -> dict[str, Any]:
    """Numbers, and their errors in ulp where these say something."""
    errors = None
    if line.is_judged(mode):
        with contextlib.suppress(ModuleNotFoundError):  # mpmath
            errors = _numbers(line.errors(mode, computed))
    return {"y": _numbers(computed), "ulp": errors}


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C ends the server, and that this process
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as answers:
        os.dup2(2, 1)  # a library may print
        compute(sys.stdin, answers)
