"""Code in a process of its own, which ends with all its children when it takes too long: a test never hangs."""

import os
import signal
import subprocess
import sys
import textwrap


def run(code, *options, timeout=60, without=(), **variables):
    """What `code` prints, in the environment of this process but for the names `without` and the `variables`."""
    environment = {name: value for name, value in os.environ.items() if name not in without} | variables
    process = subprocess.Popen([sys.executable, *options, "-c", textwrap.dedent(code)], env=environment, text=True,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=os.name == "posix")
    try:
        output, errors = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        if os.name == "posix":
            os.killpg(process.pid, signal.SIGKILL)
        process.kill()
        output, errors = process.communicate()
        raise AssertionError(f"not done after {timeout} seconds; until then it wrote\n{output}{errors}") from None
    assert process.returncode == 0, errors
    return output.strip()
