"""The files around the package agree on the version and the interpreters, and actions are pinned."""

import re
import tomllib
from pathlib import Path

import pytest

import fastact

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
WORKFLOWS = sorted((ROOT / ".github").glob("workflows/*.yml"))
needs_workflows = pytest.mark.skipif(not WORKFLOWS, reason="a source distribution has no workflows")


def read(*names):
    return ROOT.joinpath(*names).read_text(encoding="utf-8")


def test_the_version_is_that_of_the_changelog_and_of_the_citation():
    version, date = re.search(r"^## \[(\d[^]]*)\] - (\S+)$", read("CHANGELOG.md"), re.MULTILINE).groups()
    citation = dict(re.findall(r'^([\w-]+): "?([^"\n]+)"?$', read("CITATION.cff"), re.MULTILINE))
    assert fastact.__version__ == version == citation["version"]
    assert date == citation["date-released"]
    assert citation["license"] == PROJECT["project"]["license"]
    assert citation["abstract"] == PROJECT["project"]["description"]


def test_the_interpreters_are_the_same_everywhere():
    named = re.findall(r"Programming Language :: Python :: (3\.\d+)", "\n".join(PROJECT["project"]["classifiers"]))
    oldest = PROJECT["project"]["requires-python"].removeprefix(">=")
    sessions = re.search(r"@nox.session\(python=\[(.*)\]\)\ndef interpreters", read("noxfile.py"))[1]
    assert re.findall(r"3\.\d+", sessions) == named
    assert named[0] == oldest
    assert PROJECT["tool"]["ruff"]["target-version"] == f"py{oldest.replace('.', '')}"
    wheels = PROJECT["tool"]["cibuildwheel"]["build"].split()
    assert {f"cp{version.replace('.', '')}-*" for version in named} <= set(wheels)


@needs_workflows
def test_continuous_integration_has_every_interpreter():
    named = re.search(r"^ +python: \[(.*)\]$", read(".github", "workflows", "ci.yml"), re.MULTILINE)[1]
    assert [f"Programming Language :: Python :: {version}" for version in re.findall(r"3\.\d+", named)] == [
        one for one in PROJECT["project"]["classifiers"] if re.search(r":: 3\.\d", one)]


@needs_workflows
def test_every_action_is_pinned_by_its_commit():
    pins = {}
    for file in WORKFLOWS:
        for action, reference in re.findall(r"uses: ([^@\s]+)@(.+)$", file.read_text(encoding="utf-8"), re.MULTILINE):
            assert re.fullmatch(r"[0-9a-f]{40} # v[\d.]+", reference), f"{file.name}: {action}@{reference}"
            assert pins.setdefault(action, reference) == reference, f"{file.name}: {action} has two versions"
    assert "actions/checkout" in pins
