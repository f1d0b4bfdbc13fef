"""Let atheris, a coverage-guided fuzzer, draw the examples of test_arguments.py.

    pip install atheris && python tests/fuzz_arguments.py -max_total_time=600
"""

import sys

import atheris

with atheris.instrument_imports(include=["fastact"]):
    import fastact  # noqa: F401
from test_arguments import test_a_call_gives_what_it_gives_for_copies_or_has_written_nothing as property_

if __name__ == "__main__":
    atheris.Setup(sys.argv, property_.hypothesis.fuzz_one_input)
    atheris.Fuzz()
