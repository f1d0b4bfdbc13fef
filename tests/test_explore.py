"""The server of ``fastact explore``: what it computes, and what it refuses. tests/browser looks at the page."""

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from urllib.parse import urlencode

import numpy as np
import pytest
from facts import FACTS

import fastact
from fastact import _isa, cli
from fastact.commands import explore


@pytest.fixture(scope="module")
def server():
    with explore.Server() as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        yield server
        server.shutdown()


def request(server, path, method="GET", **headers):
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=60)
    connection.request(method, path, headers={name.replace("_", "-"): value for name, value in headers.items()})
    response = connection.getresponse()
    content = response.read()
    connection.close()
    return response, content


def curve(server, **fields):
    response, content = request(server, f"/curve.json?{urlencode(fields)}")
    assert response.status == 200, content
    return json.loads(content)


def refused(server, status=400, path="/curve.json", method="GET", headers=(), **fields):
    response, content = request(server, f"{path}?{urlencode(fields)}" if fields else path, method, **dict(headers))
    assert response.status == status, content
    assert response.headers["Content-Type"] == "application/json"
    return json.loads(content)["error"]


def numbers(words):
    return np.array([float(word) for word in words])


@pytest.mark.parametrize("isa", [_isa.SUPPORTED[0], _isa.SUPPORTED[-1]])
def test_values_are_those_of_the_formula(server, isa):
    answer = curve(server, function="silu", dtype="float64", isa=isa, low=-8, high="1e1", points=201, beta=3)
    x = numbers(answer["x"])
    assert (answer["isa"], answer["function"], answer["dtype"]) == (isa, "silu", "float64")
    np.testing.assert_allclose(x, np.linspace(-8, 10, 201), rtol=1e-15)
    s = 1 / (1 + np.exp(-3 * x))
    own = answer["libraries"]["fastact"]
    np.testing.assert_allclose(numbers(own["value"]["y"]), x * s, rtol=1e-14)
    np.testing.assert_allclose(numbers(own["derivative"]["y"]), s * (1 + 3 * x * (1 - s)), rtol=1e-12, atol=1e-16)
    assert answer["promised"] == {"value": None, "derivative": None}
    assert 0 < numbers(own["value"]["ulp"]).max() < 8


def test_errors_and_bounds_beside_numpy(server):
    answer = curve(server, function="sigmoid", low=-110, high=20, points=4001, libraries="NumPy")
    own, other = (numbers(answer["libraries"][name]["value"]["ulp"]) for name in ("fastact", "NumPy"))
    assert 0.5 <= own.max() <= answer["promised"]["value"] < 1000 < other.max()
    assert numbers(answer["libraries"]["NumPy"]["value"]["y"])[-1] == pytest.approx(1)
    answer = curve(server, function="silu", libraries="NumPy,SciPy", beta=2)
    assert list(answer["libraries"]) == ["fastact"]
    assert answer["notes"] == ["Other libraries are shown where all parameters have their defaults."]


def test_numbers_that_json_lacks(server):
    answer = curve(server, function="logit", low=-1, high=1, points=3)
    assert answer["libraries"]["fastact"]["value"]["y"] == ["NaN", "-Infinity", "Infinity"]
    same, limited = (curve(server, function="swiglu", limit=limit, points=3)["libraries"]["fastact"]["value"]["y"]
                     for limit in ("inf", 3))  # fmt: skip
    assert limited[:2] == same[:2]
    assert limited[2] < 3 < same[2]


def test_rows_and_gated_activations(server):
    answer = curve(server, function="softmax", dtype="float64", temperature=2, points=3, low=-1, high=1)
    values = numbers(answer["libraries"]["fastact"]["value"]["y"])
    np.testing.assert_allclose(values, 1 / (1 + np.exp([0.5, 0, -0.5])), rtol=1e-15)
    assert answer["libraries"]["fastact"]["derivative"]["ulp"] is None
    gated, plain = (curve(server, function=name)["libraries"]["fastact"] for name in ("swiglu", "silu"))
    np.testing.assert_allclose(numbers(gated["derivative"]["y"]), numbers(plain["derivative"]["y"]), atol=1e-6)


def test_the_catalogue(server):
    response, content = request(server, "/catalogue.json")
    catalogue = json.loads(content)
    assert response.status == 200
    assert [one["name"] for one in catalogue["functions"]] == list(fastact.activations)
    for one in catalogue["functions"]:
        parameters = fastact.get(one["name"]).parameters
        assert {given["name"]: float(given["default"]) for given in one["parameters"]} == parameters
        assert all(given["low"] < given["high"] for given in one["parameters"])
        assert all(one["low"] < kink < one["high"] for kink in getattr(FACTS.get(one["name"]), "kinks", ()))
    assert [one["name"] for one in catalogue["sets"] if one["supported"]] == list(_isa.SUPPORTED)


def test_the_page_may_use_nothing_else(server):
    response, content = request(server, "/")
    policy = response.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe" not in policy
    assert not re.search(rb"(src|href)=\"(?!data:)|https?://(?!www\.w3\.org)", content)
    assert response.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize("headers", [
    {"Host": "example.org"}, {"Host": "127.0.0.1"}, {"Host": "127.0.0.1.example.org:PORT"}, {"Host": ""},
    {"Origin": "http://example.org"}, {"Origin": "null"}, {"Origin": "https://127.0.0.1:PORT"},
    {"Origin": "http://127.0.0.1:1"}, {"Sec_Fetch_Site": "cross-site"}, {"Sec_Fetch_Site": "same-site"}], ids=str)
def test_pages_of_other_origins_are_refused(server, headers):
    headers = {name: value.replace("PORT", str(server.server_port)) for name, value in headers.items()}
    for path in ("/", "/catalogue.json", "/curve.json?function=relu"):
        assert f"accepted is 127.0.0.1:{server.server_port}" in refused(server, 403, path, headers=headers)


def test_this_machine_is_accepted_under_both_names(server):
    for name in ("127.0.0.1", "localhost", "LOCALHOST"):
        host = f"{name}:{server.server_port}"
        response, _ = request(server, "/", Host=host, Origin=f"http://{host}", Sec_Fetch_Site="same-origin")
        assert response.status == 200


@pytest.mark.parametrize("method", ["HEAD", "POST", "PUT", "DELETE", "OPTIONS", "TRACE", "GETT"])
def test_get_is_the_only_method(server, method):
    response, _ = request(server, "/", method)
    assert (response.status, response.headers["Allow"]) == (405, "GET")


@pytest.mark.parametrize(("fields", "words"), [
    ({"function": "gelo"}, "fastact.get: unknown activation 'gelo'; did you mean"),
    ({}, "fastact.get: unknown activation ''"),
    ({"function": "relu", "beta": 2}, "unknown parameter 'beta'; relu has none"),
    ({"function": "silu", "out": 2}, "unknown parameter 'out'; accepted are beta"),
    ({"function": "silu", "beta": "many"}, "beta is 'many'; accepted is a number"),
    ({"function": "softplus", "beta": 0}, "fastact.softplus: beta is 0; accepted is"),
    ({"function": "silu", "dtype": "int8"}, "unknown dtype 'int8'; accepted are float32"),
    ({"function": "silu", "isa": "v9"}, "unknown instruction set 'v9'; accepted are"),
    ({"function": "silu", "libraries": "os"}, "unknown library 'os'; accepted are NumPy"),
    ({"function": "silu", "points": 4002}, "accepted is a whole number from 2 to 4001"),
    ({"function": "silu", "points": "9" * 999}, "accepted is a whole number from 2 to 4001"),
    ({"function": "silu", "low": 1, "high": 1}, "accepted is a low that is less than high"),
    ({"function": "silu", "low": "nan"}, "accepted is a low that is less than high"),
    ({"function": "silu", "high": 1e39}, "accepted are numbers of float32"),
    ({"function": "silu", "high": "1" * 70}, "accepted is a number"),
], ids=str)
def test_what_makes_no_sense_is_refused(server, fields, words):
    assert words in refused(server, **fields)


def test_other_requests_are_refused(server):
    assert "given twice" in refused(server, path="/curve.json?low=1&low=2")
    assert "accepted are pairs" in refused(server, path="/curve.json?relu")
    assert "accepted are 2,000" in refused(server, 414, path="/" + "x" * 2000)
    assert refused(server, 404, path="/../explore.py").startswith("unknown path '/../explore.py'; accepted are /,")
    with socket.create_connection(("127.0.0.1", server.server_port), timeout=60) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n")
        assert connection.makefile("rb").readline() == b"HTTP/1.0 403 Forbidden\r\n"


def test_a_request_that_takes_too_long_is_ended(server, monkeypatch):
    server.computers["slow"] = explore.Computer(_isa.CHOSEN)
    with monkeypatch.context() as patch:
        patch.setattr(explore, "SECONDS", 0.05)  # a process does not start in that time
        assert "not done after 0.05 seconds" in refused(server, 503, function="relu", isa="slow")
    assert curve(server, function="relu", isa="slow", points=2)["libraries"]["fastact"]["value"]["y"] == [0, 6]
    server.computers["slow"].process.kill()
    server.computers["slow"].process.wait()
    assert curve(server, function="relu", isa="slow", points=2)["x"] == [-6, 6]
    server.computers.pop("slow").close()


def test_a_port_in_use_is_told(server, capsys):
    assert cli.main(["explore", "--no-browser", "--port", str(server.server_port)]) == 1
    assert capsys.readouterr().err == f"fastact explore: port {server.server_port}: Address already in use\n"


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_ctrl_c_ends_the_server_and_its_processes():
    with subprocess.Popen([sys.executable, "-m", "fastact", "explore", "--no-browser"], stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, start_new_session=True, text=True,
                          preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)) as process:  # fmt: skip
        port = int(re.fullmatch(r"http://127\.0\.0\.1:(\d+)/ \(Ctrl-C ends it\)\n", process.stdout.readline())[1])
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        connection.request("GET", "/curve.json?function=relu&points=2")
        assert connection.getresponse().status == 200
        connection.close()
        os.killpg(process.pid, signal.SIGINT)
        _, error = process.communicate(timeout=60)  # to the end of stderr, which its processes have too
    assert (process.returncode, error) == (130, "fastact explore: interrupted\n")
