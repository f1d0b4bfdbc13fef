"""Build the loop: `python setup.py build_ext --inplace`."""

from pathlib import Path

from Cython.Build import cythonize
from setuptools import setup

import fastact

INCLUDED = str(Path(fastact.__file__).parents[1])  # Cython finds an installed capi.pxd there, and in a checkout too
setup(name="loop", ext_modules=cythonize("loop.pyx", include_path=[INCLUDED], language_level=3))
