"""Plain formulas as text, over the names of NumPy and erf: numexpr, Numba and, without erf, NumPy compute them."""

import re
from collections.abc import Callable
from typing import Any

import numpy as np

import fastact
from fastact.comparison.work import Array, Inputs

_GELU_TANH = "tanh(0.7978845608028654 * (x + 0.044715 * x * x * x))"
_SILU = "(1 / (1 + exp(-{0} * x)))"

FORMULAS = {
    ("relu", "value"): "where(x > 0, x, 0)",
    ("relu", "derivative"): "where(x >= 0, 1, 0)",
    ("relu", "backward"): "where(x >= 0, dy, 0)",
    ("relu", "backward_from_output"): "where(y > 0, dy, 0)",
    ("softplus", "value"): "where(x > 0, x, 0) + log1p(exp(-abs(x)))",
    ("softplus", "derivative"): "1 / (1 + exp(-x))",
    ("softplus", "backward"): "dy / (1 + exp(-x))",
    ("softplus", "backward_from_output"): "-dy * expm1(-y)",
    ("sigmoid", "value"): "1 / (1 + exp(-x))",
    ("sigmoid", "derivative"): "exp(-abs(x)) / ((1 + exp(-abs(x))) * (1 + exp(-abs(x))))",
    ("sigmoid", "backward_from_output"): "dy * y * (1 - y)",
    ("tanh", "value"): "tanh(x)",
    ("tanh", "derivative"): "1 - tanh(x) * tanh(x)",
    ("tanh", "backward_from_output"): "dy * (1 - y * y)",
    ("relu6", "value"): "where(x < 0, 0, where(x > 6, 6, x))",
    ("relu6", "derivative"): "where((x >= 0) & (x < 6), 1, 0)",
    ("relu2", "value"): "where(x > 0, x * x, 0)",
    ("relu2", "derivative"): "where(x > 0, 2 * x, 0)",
    ("leaky_relu", "value"): "where(x > 0, x, 0.01 * x)",
    ("leaky_relu", "derivative"): "where(x >= 0, 1, 0.01)",
    ("leaky_relu", "backward_from_output"): "where(y >= 0, dy, 0.01 * dy)",
    ("prelu", "value"): "where(x > 0, x, 0.25 * x)",
    ("prelu", "derivative"): "where(x >= 0, 1, 0.25)",
    ("threshold", "value"): "where(x > 1, x, 0)",
    ("threshold", "derivative"): "where(x >= 1, 1, 0)",
    ("elu", "value"): "where(x > 0, x, expm1(x))",
    ("elu", "derivative"): "where(x > 0, 1, exp(x))",
    ("elu", "backward_from_output"): "where(y > 0, dy, dy * (y + 1))",
    ("celu", "value"): "where(x > 0, x, expm1(x))",
    ("celu", "derivative"): "where(x > 0, 1, exp(x))",
    ("celu", "backward_from_output"): "where(y > 0, dy, dy * (y + 1))",
    ("selu", "value"): "where(x > 0, 1.0507009873554805 * x, 1.7580993408473766 * expm1(x))",
    ("selu", "derivative"): "where(x > 0, 1.0507009873554805, 1.7580993408473766 * exp(x))",
    ("selu", "backward_from_output"): "where(y > 0, 1.0507009873554805 * dy, dy * (y + 1.7580993408473766))",
    ("gelu", "value"): "0.5 * x * (1 + erf(0.7071067811865476 * x))",
    ("gelu", "derivative"): ("0.5 * (1 + erf(0.7071067811865476 * x)) + 0.3989422804014327 * x * exp(-0.5 * x * x)"),
    ("gelu_tanh", "value"): f"0.5 * x * (1 + {_GELU_TANH})",
    ("gelu_tanh", "derivative"): (
        f"0.5 * (1 + {_GELU_TANH})"
        f" + 0.3989422804014327 * x * (1 - {_GELU_TANH} * {_GELU_TANH}) * (1 + 0.134145 * x * x)"
    ),
    ("gelu_quick", "value"): "x / (1 + exp(-1.702 * x))",
    ("gelu_quick", "derivative"): f"{_SILU} * (1 + 1.702 * x * (1 - {_SILU}))".format(1.702),
    ("silu", "value"): "x / (1 + exp(-x))",
    ("silu", "derivative"): f"{_SILU} * (1 + x * (1 - {_SILU}))".format(1),
    ("mish", "value"): "x * tanh(log1p(exp(x)))",
    ("mish", "derivative"): (
        "tanh(log1p(exp(x))) + x * (1 - tanh(log1p(exp(x))) * tanh(log1p(exp(x)))) / (1 + exp(-x))"
    ),
    ("squareplus", "value"): "0.5 * (x + sqrt(x * x + 4))",
    ("squareplus", "derivative"): "0.5 * (1 + x / sqrt(x * x + 4))",
    ("log_sigmoid", "value"): "where(x < 0, x, 0) - log1p(exp(-abs(x)))",
    ("log_sigmoid", "derivative"): "1 / (1 + exp(x))",
    ("log_sigmoid", "backward_from_output"): "-dy * expm1(y)",
    ("logit", "value"): "log(x / (1 - x))",
    ("logit", "derivative"): "1 / (x * (1 - x))",
    ("hard_sigmoid", "value"): "where(x < -3, 0, where(x > 3, 1, x / 6 + 0.5))",
    ("hard_sigmoid", "derivative"): "where((x >= -3) & (x < 3), 1 / 6, 0)",
    ("hard_swish", "value"): "where(x < -3, 0, where(x > 3, x, x * (x + 3) / 6))",
    ("hard_swish", "derivative"): "where(x < -3, 0, where(x < 3, (2 * x + 3) / 6, 1))",
    ("hard_tanh", "value"): "where(x < -1, -1, where(x > 1, 1, x))",
    ("hard_tanh", "derivative"): "where((x >= -1) & (x < 1), 1, 0)",
    ("softsign", "value"): "x / (1 + abs(x))",
    ("softsign", "derivative"): "1 / ((1 + abs(x)) * (1 + abs(x)))",
    ("hard_shrink", "value"): "where(abs(x) > 0.5, x, 0)",
    ("hard_shrink", "derivative"): "where((x >= -0.5) & (x < 0.5), 0, 1)",
    ("soft_shrink", "value"): "where(x > 0.5, x - 0.5, where(x < -0.5, x + 0.5, 0))",
    ("soft_shrink", "derivative"): "where((x >= -0.5) & (x < 0.5), 0, 1)",
    ("tanh_shrink", "value"): "x - tanh(x)",
    ("tanh_shrink", "derivative"): "tanh(x) * tanh(x)",
    ("sparse_plus", "value"): "where(x < -1, 0, where(x < 1, 0.25 * (x + 1) * (x + 1), x))",
    ("sparse_plus", "derivative"): "where(x < -1, 0, where(x < 1, 0.5 * (x + 1), 1))",
    ("sparse_sigmoid", "value"): "where(x < -1, 0, where(x < 1, 0.5 * (x + 1), 1))",
    ("sparse_sigmoid", "derivative"): "where((x >= -1) & (x < 1), 0.5, 0)",
    ("dish", "value"): "0.5 * x * (1 + x / sqrt(1 + x * x))",
    ("dish", "derivative"): "0.5 + 0.5 * x * (2 + x * x) / ((1 + x * x) * sqrt(1 + x * x))",
    ("xielu", "value"): "where(x > 0, 0.8 * x * x + 0.5 * x, 0.8 * (expm1(x) - x) + 0.5 * x)",
    ("xielu", "derivative"): "where(x > 0, 1.6 * x + 0.5, 0.8 * expm1(x) + 0.5)",
    ("erf", "value"): "erf(x)",
    ("erf", "derivative"): "1.1283791670955126 * exp(-x * x)",
    ("exp", "value"): "exp(x)",
    ("exp", "derivative"): "exp(x)",
    ("exp", "backward_from_output"): "dy * y",
}

FORMULAS |= {
    (name, "backward"): f"dy * ({formula})"
    for (name, mode), formula in FORMULAS.items()
    if mode == "derivative" and (name, "backward") not in FORMULAS
}

FORMULAS |= {
    (name, "value"): f"({FORMULAS[f.activation.name, 'value']}) * u"
    for name, f in fastact.activations.items()
    if isinstance(f, fastact.Gated) and (f.activation.name, "value") in FORMULAS
}


def in_dtype(formula: str, dtype: str) -> tuple[str, dict[str, Any]]:
    """The formula with names in place of its numbers, and these in the dtype: as they stand they would be doubles."""
    numbers = dict.fromkeys(re.findall(r"\b\d+(?:\.\d+)?\b", formula))
    names = {number: f"k{index}" for index, number in enumerate(numbers)}
    named = re.sub(r"\b\d+(?:\.\d+)?\b", lambda match: names[match[0]], formula)
    return named, {name: np.dtype(dtype).type(number) for number, name in names.items()}


def function_of(formula: str, namespace: dict[str, Any]) -> Callable[..., Any]:
    """The function of the arrays that the formula names, in the order of `names_in`, whose body it is."""
    return eval(f"lambda {', '.join(names_in(formula))}: {formula}", namespace)  # type: ignore[no-any-return]


def names_in(formula: str) -> list[str]:
    """The arrays that a formula names."""
    return [name for name in ("dy", "x", "u", "y", "additive") if re.search(rf"\b{name}\b", formula)]


def arrays_in(formula: str, inputs: Inputs) -> dict[str, Array]:
    """These arrays, of the inputs."""
    return {name: inputs.named(name) for name in names_in(formula)}
