"""Softmax regression on the irises, in DataFrames of pandas, and its probabilities in a DataArray of xarray.

    pip install -e '.[test]' && python examples/iris_frames.py

The logits are a DataFrame, with a row for each flower and a column for each species. So are their gradient and the
probabilities: pandas matches the weights by the names of features and species. The gradient of the weights is checked
by finite differences.
"""

import numpy as np

try:
    import pandas as pd
    import xarray as xr
    from sklearn.datasets import load_iris
except ModuleNotFoundError as error:
    raise SystemExit(f"this example needs {error.name}, which is not installed: pip install -e '.[test]'") from None

import fastact

STEPS, RATE = 150, 1.0
WIDTH, TOLERANCE = 1e-5, 1e-8  # of the finite differences


def loss_and_gradient(weights: pd.DataFrame, x: pd.DataFrame, labels: pd.Series) -> tuple[float, pd.DataFrame]:
    loss, gradient = fastact.softmax_cross_entropy(x @ weights, labels)
    return float(loss), x.T @ gradient


def largest_error(weights: pd.DataFrame, x: pd.DataFrame, labels: pd.Series) -> float:
    """How far the gradient is from finite differences."""
    _, gradient = loss_and_gradient(weights, x, labels)
    errors = []
    for feature in weights.index:
        for species in weights.columns:
            step = pd.DataFrame(0.0, index=weights.index, columns=weights.columns)
            step.loc[feature, species] = WIDTH
            above, below = (loss_and_gradient(weights + side * step, x, labels)[0] for side in (1, -1))
            errors.append(abs((above - below) / (2 * WIDTH) - gradient.loc[feature, species]))
    return max(errors)


def main() -> None:
    iris = load_iris(as_frame=True)
    x = (iris.data - iris.data.mean()) / iris.data.std()
    x.columns = x.columns.str.removesuffix(" (cm)")
    x["constant"] = 1.0
    species = pd.Series(iris.target_names[iris.target], name="species")

    weights = pd.DataFrame(0.0, index=x.columns, columns=iris.target_names)
    for _ in range(STEPS):
        loss, gradient = loss_and_gradient(weights, x, iris.target)
        weights -= RATE * gradient
    print(weights.round(2))
    error = largest_error(weights, x, iris.target)
    print(f"loss {loss:.4f}; the gradient is {error:.0e} from finite differences at most, allowed is {TOLERANCE:g}")

    probabilities = fastact.softmax(x @ weights, axis="columns")
    print(f"{(probabilities.idxmax(axis='columns') == species).mean():.1%} right")

    logits = xr.DataArray(x @ weights, dims=("flower", "guess")).assign_coords(species=("flower", species))
    labelled = fastact.softmax(logits, dim="guess")
    print(labelled.groupby("species").mean().round(3).to_pandas())
    if error > TOLERANCE or not np.array_equal(labelled, probabilities):
        raise SystemExit("the results differ by more than is allowed")


if __name__ == "__main__":
    main()
