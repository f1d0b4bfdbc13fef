"""SciPy: the functions of scipy.special."""

from collections.abc import Callable
from typing import Any

import numpy as np
import scipy
from scipy import special

from fastact.comparison.work import Array, Library, Spelling, build


def times_x(function: Callable[..., Any]) -> Callable[..., Any]:
    """x f(x)"""

    def product(x: Array, out: Array | None = None) -> Any:
        t = function(x, out=out)
        return np.multiply(t, x, out=t)

    return product


def load() -> Library:
    spellings = {
        ("sigmoid", "value"): Spelling(special.expit, "x"),
        ("log_sigmoid", "value"): Spelling(special.log_expit, "x"),
        ("softplus", "derivative"): Spelling(special.expit, "x"),
        ("logit", "value"): Spelling(special.logit, "x"),
        ("erf", "value"): Spelling(special.erf, "x"),
        ("silu", "value"): Spelling(times_x(special.expit), "x"),
        ("gelu", "value"): Spelling(times_x(special.ndtr), "x"),
        ("softmax", "value"): Spelling(special.softmax, "x axis", has_out=False),
        ("log_softmax", "value"): Spelling(special.log_softmax, "x axis", has_out=False),
        ("logsumexp", "value"): Spelling(special.logsumexp, "x axis", has_out=False),
    }
    if hasattr(special, "softplus"):  # since 1.17
        spellings["softplus", "value"] = Spelling(special.softplus, "x")
    return Library(scipy.__version__, spellings, build)
