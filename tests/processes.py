"""Code in a process of its own, which ends with all its children when it takes too long: a test never hangs."""

import json
import os
import signal
import subprocess
import sys
import textwrap


def run(code, *options, timeout=60, without=(), **variables):
    """What `code` prints, in the environment of this process but for the names `without` and the `variables`."""
    return _start([*options, "-c", textwrap.dedent(code)], timeout, without, variables).strip()


def _start(arguments, timeout, without, variables):
    environment = {name: value for name, value in os.environ.items() if name not in without} | variables
    process = subprocess.Popen([sys.executable, *arguments], env=environment, text=True, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, start_new_session=os.name == "posix")
    try:
        output, errors = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        if os.name == "posix":
            os.killpg(process.pid, signal.SIGKILL)
        process.kill()
        output, errors = process.communicate()
        raise AssertionError(f"not done after {timeout} seconds; until then it wrote\n{output}{errors}") from None
    assert process.returncode == 0, errors
    return output


FORKED = """
import json, os, sys
import numpy
for variables, code in json.loads(sys.argv[1]):
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        os.environ.update(variables)
        status = 1
        try:
            exec(code, {"__name__": "__main__"})
            sys.stdout.flush()
            status = 0
        except BaseException:
            sys.excepthook(*sys.exc_info())
        finally:
            sys.stderr.flush()
            os._exit(status)
    if os.waitpid(child, 0)[1]:
        sys.exit(f"failed: {variables} {code}")
    print("--next", flush=True)
"""


def run_each(cases, *options, timeout=60, without=()):
    """What each of the codes prints, in a process of its own which finds NumPy imported and fastact not.

    They are forked from one process, because to import NumPy takes longer than all else that a short code does.

    Parameters
    ----------
    cases : iterable of tuple
        Variables of the environment, as a dict, and the code.
    *options, timeout, without
        As `run` has them; the time is that of all cases.

    Returns
    -------
    list of str
    """
    cases = [(dict(variables), textwrap.dedent(code)) for variables, code in cases]
    if not hasattr(os, "fork"):
        return [run(code, *options, timeout=timeout, without=without, **variables) for variables, code in cases]
    alone = {"OPENBLAS_NUM_THREADS": "1"}       # Python 3.12 warns of forks beside other threads
    printed = _start([*options, "-c", FORKED, json.dumps(cases)], timeout, without, alone).split("--next\n")
    assert len(printed) == len(cases) + 1
    return [one.strip() for one in printed[:-1]]
