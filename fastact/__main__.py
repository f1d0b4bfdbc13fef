"""`python -m fastact`: the same as the `fastact` command."""

import sys

from fastact.cli import main

sys.exit(main())
