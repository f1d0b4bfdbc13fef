"""Configuration of the site: `nox -s docs`, or `sphinx-build docs docs/_build/html` with the extra `docs`.

Built without a network, the pages name what is in the documentation of NumPy, SciPy and PyTorch instead of linking it.
"""

import sys
import urllib.request
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_extensions"))

import fastact


def answers(url: str) -> bool:
    """Whether there is a network, and this inventory."""
    try:
        with urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=5):
            return True
    except OSError:
        return False


project = "fastact"
author = copyright = "the fastact developers"
version = release = fastact.__version__
exclude_patterns = ["_build", "_extensions"]
extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.doctest",
    "sphinx.ext.intersphinx",
    "sphinx.ext.mathjax",
    "sphinx.ext.napoleon",
    "sphinx-mathjax-offline",
    "sphinx_design",
    "activation_pages",
]

nitpicky = True
nitpick_ignore_regex = [
    ("py:exc", r".*"),  # of Python and NumPy: named in every docstring, and linked where there is a network
]
toc_object_entries_show_parents = "hide"
default_role = "code"  # as numpydoc has it for names in docstrings

autodoc_typehints = "none"  # the docstrings have the types
autodoc_member_order = "bysource"
napoleon_google_docstring = False
napoleon_use_param = napoleon_use_rtype = False  # types are prose
napoleon_custom_sections = [("Attributes", "params_style"), "See Also"]

myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3

doctest_global_setup = "import fastact\nimport numpy as np\nfrom activation_pages import missing"

inventories = {
    "python": "https://docs.python.org/3/",
    "numpy": "https://numpy.org/doc/stable/",
    "scipy": "https://docs.scipy.org/doc/scipy/",
    "torch": "https://docs.pytorch.org/docs/stable/",
}
intersphinx_mapping = {name: (url, None) for name, url in inventories.items() if answers(f"{url}objects.inv")}

html_theme = "pydata_sphinx_theme"
html_title = "fastact"
html_favicon = "_static/favicon.svg"  # else browsers ask for one, and log that there is none
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sourcelink = False
html_sidebars = {page: [] for page in ("index", "changelog")}
html_context = {"default_mode": "auto"}  # else the theme logs an error at the first visit
html_theme_options = {
    "navbar_align": "left",
    "header_links_before_dropdown": 6,
    "secondary_sidebar_items": ["page-toc"],
    "show_toc_level": 2,
    "footer_start": ["copyright"],
    "footer_end": ["theme-version"],
}
