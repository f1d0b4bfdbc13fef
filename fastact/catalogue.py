"""The activations: one statement each.

The mathematics stands in _formulas.pxd (elementwise) and _rows.pxd (rows) under the same name; here are the formulas as
they are printed, the parameters with their defaults, and `cost`: nanoseconds per float32 element on one thread, from
which the engine knows when a second thread pays.
"""

from fastact.activation import Activation, Elementwise, RowReduction, Rowwise

relu = Elementwise(
    "relu",
    summary="The rectifier: negative numbers become 0.",
    formula=r"y = \max(0, x)",
    derivative_formula=r"y' = 1 \;\mathrm{for}\; x \geq 0, \; 0 \;\mathrm{for}\; x < 0",
    source="K. Fukushima, Visual feature extraction by a multilayered network (1969)",
    cost=0.15,
)
softplus = Elementwise(
    "softplus",
    summary="The softened rectifier.",
    formula=r"y = \log(1 + e^{\beta x}) / \beta",
    derivative_formula=r"y' = 1 - 1 / (e^{\beta x} + 1)",
    parameters={"beta": 1.0},
    source="C. Dugas et al., Incorporating second-order functional knowledge for better option pricing (2001)",
    cost=1.2,
)
sigmoid = Elementwise(
    "sigmoid",
    summary="The logistic function: maps the line into (0, 1), symmetrically.",
    formula=r"y = 1 / (1 + e^{-x})",
    derivative_formula=r"y' = y (1 - y)",
    source="P.-F. Verhulst, Recherches mathématiques sur la loi d'accroissement de la population (1845)",
    cost=0.6,
)
tanh = Elementwise(
    "tanh",
    summary="The hyperbolic tangent: maps the line into (-1, 1).",
    formula=r"y = (e^{x} - e^{-x}) / (e^{x} + e^{-x})",
    derivative_formula=r"y' = 1 - y^2",
    source="Y. LeCun et al., Efficient BackProp (1998)",
    cost=0.8,
)
softmax = Rowwise(
    "softmax",
    summary="Probabilities from logits: all positive, their sum 1, the larger ones stand out.",
    formula=r"y_i = e^{x_i} / \sum_j e^{x_j}",
    derivative_formula=r"\partial y_i / \partial x_j = y_i (\delta_{ij} - y_j)",
    source="J. S. Bridle, Probabilistic interpretation of feedforward classification network outputs (1990)",
    cost=0.9,
    masked_row=0.0,
)
log_softmax = Rowwise(
    "log_softmax",
    summary="The logarithm of softmax, right where softmax rounds to 0 or to 1.",
    formula=r"y_i = x_i - \log \sum_j e^{x_j}",
    derivative_formula=r"\partial y_i / \partial x_j = \delta_{ij} - e^{y_j}",
    source="J. S. Bridle, Probabilistic interpretation of feedforward classification network outputs (1990)",
    cost=0.9,
    masked_row=float("-inf"),
)
logsumexp = RowReduction(
    "logsumexp",
    summary="The logarithm of a sum of exponentials, a smooth maximum.",
    formula=r"y = \log \sum_j e^{x_j}",
    derivative_formula=r"\partial y / \partial x_j = \mathrm{softmax}(x)_j",
    source="J. W. Gibbs, Elementary principles in statistical mechanics (1902)",
    cost=0.9,
    derivative="softmax",
)

activations: dict[str, Activation] = {
    name: thing for name, thing in list(vars().items()) if isinstance(thing, Activation)
}


def get(name: str) -> Activation:
    """Look an activation up by its name.

    Parameters
    ----------
    name : str
        A key of `fastact.activations`.

    Returns
    -------
    Activation
        The object itself: ``fastact.get("relu") is fastact.relu``.

    Raises
    ------
    TypeError
        If `name` is no string.
    ValueError
        If there is no activation of this name.
    """
    if not isinstance(name, str):
        raise TypeError(f"fastact.get: name must be a string, got {type(name).__name__}")
    if name not in activations:
        import difflib

        similar = difflib.get_close_matches(name, activations)
        hint = f"did you mean {' or '.join(similar)}? " if similar else ""
        raise ValueError(f"fastact.get: unknown activation {name!r}; {hint}accepted are {', '.join(activations)}")
    return activations[name]
