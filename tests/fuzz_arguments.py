"""Let atheris, a coverage-guided fuzzer, draw the examples of test_arguments.py.

    pip install atheris && python tests/fuzz_arguments.py -max_total_time=600
"""

import random
import sys

import atheris

with atheris.instrument_imports(include=["fastact"]):
    import fastact  # noqa: F401
from test_arguments import test_a_call_gives_what_it_gives_for_copies_or_has_written_nothing as property_

ENOUGH = 300                            # bytes, of which nearly all make a whole call


def try_call(data: bytes) -> None:
    """A fuzzer prefers short inputs; what they lack follows from them."""
    property_.hypothesis.fuzz_one_input(data + random.Random(data).randbytes(ENOUGH))


if __name__ == "__main__":
    atheris.Setup(sys.argv, try_call)
    atheris.Fuzz()
