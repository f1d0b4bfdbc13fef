"""A plugin of pytest for SciPy's own tests: functions of `scipy.special` are those of `fastact.scipy_special`.

`nox -s scipy` uses it. Tests of what fastact refuses are deselected, by their names. A name that no test has fails the
run, as does a function that no test has called.
"""

import functools
import re

import scipy.special
from scipy._lib._array_api import xp_capabilities_table

from fastact import scipy_special

COMPLEX = "complex numbers, which are refused"
DESELECTED = {
    r"test_logsumexp::TestLogSumExp::test_logsumexp_complex_sign": COMPLEX,
    r"test_logsumexp::TestLogSumExp::test_dtypes_ab?\[.*complex": COMPLEX,
    r"test_logsumexp::TestLogSumExp::test_gh21610": COMPLEX,
    r"test_logsumexp::TestLogSumExp::test_gh21709": COMPLEX,
    r"test_logsumexp::TestLogSumExp::test_gh22601_infinite_elements\[.*\(": COMPLEX,
    r"test_logsumexp::TestLogSumExp::test_device\[.*1j": COMPLEX,
    r"test_data::test_boost\[<Data for erf \(complex\)": COMPLEX,
    r"test_mpmath::(TestSystematic::)?test_erf_complex": COMPLEX,
    r"test_logit::TestExpit::test_large": "longdouble, which is refused, beside float32 and float64",
}
"""Patterns of the names of tests, and what the tests use."""

calls = dict.fromkeys(scipy_special.__all__, 0)


def replaced(name):
    theirs, ours = getattr(scipy.special, name), getattr(scipy_special, name)

    @functools.wraps(ours)
    def call(*arguments, **keywords):
        calls[name] += 1
        return ours(*arguments, **keywords)

    xp_capabilities_table[call] = xp_capabilities_table.get(theirs, {})
    return call


for name in scipy_special.__all__:
    setattr(scipy.special, name, replaced(name))


def pytest_collection_modifyitems(config, items):
    names = {item: item.path.stem + item.nodeid[item.nodeid.index("::"):] for item in items}
    left_out = {pattern: [item for item in items if re.match(pattern, names[item])] for pattern in DESELECTED}
    unknown = [pattern for pattern, tests in left_out.items() if not tests]
    assert not unknown, f"no test has these names: {unknown}"
    deselected = [item for tests in left_out.values() for item in tests]
    config.hook.pytest_deselected(items=deselected)
    items[:] = [item for item in items if item not in deselected]


def pytest_sessionfinish(session):
    if not all(calls.values()):
        session.exitstatus = 1


def pytest_terminal_summary(terminalreporter):
    for name, count in calls.items():
        terminalreporter.write_line(f"{name}: {count} calls")
    for pattern, reason in DESELECTED.items():
        terminalreporter.write_line(f"deselected: {pattern}: {reason}")
