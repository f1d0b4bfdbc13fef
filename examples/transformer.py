"""A transformer block in NumPy, forward and backward; its gradients are checked, and it learns to repeat a text.

    python examples/transformer.py [--steps 60] [--seed 0]

The block is causal attention and a gated layer, each with a residual connection and a normalisation before it.
`fastact.softmax` masks the keys that a query must not see and multiplies by the scale, `fastact.swiglu` gates, and
`fastact.softmax_cross_entropy` gives the loss with its gradient. The matrix products are NumPy's. Every text is a few
random letters, twice: from the second half on the next letter is known to those who look back.
"""

import argparse

import numpy as np
import numpy.typing as npt

import fastact

Array = npt.NDArray[np.floating]
Labels = npt.NDArray[np.int64]
Weights = dict[str, Array]

LETTERS, REPEATED, WIDTH, HIDDEN, BATCH = 8, 5, 12, 16, 32
LENGTH = 2 * REPEATED - 1  # of the input: the last letter is only predicted
SCALE = WIDTH**-0.5
UNKNOWN = -1  # the label where the next letter is a random one
RATE, REPORTED = 0.01, 10
STEP, TOLERANCE = 1e-5, 1e-7  # of the finite differences

SHAPES = {
    "letters": (LETTERS, WIDTH), "positions": (LENGTH, WIDTH),
    "query": (WIDTH, WIDTH), "key": (WIDTH, WIDTH), "value": (WIDTH, WIDTH), "mix": (WIDTH, WIDTH),
    "gate and up": (WIDTH, 2 * HIDDEN), "down": (HIDDEN, WIDTH), "output": (WIDTH, LETTERS),
}


def initial_weights(random: np.random.Generator, dtype: npt.DTypeLike) -> Weights:
    """Return normal weights that keep the variance."""
    return {name: (random.normal(size=shape) * shape[0]**-0.5).astype(dtype) for name, shape in SHAPES.items()}


def texts(random: np.random.Generator, count: int) -> tuple[Labels, Labels]:
    """Return the letters of that many texts, and for each the letter after it."""
    whole = np.tile(random.integers(LETTERS, size=(count, REPEATED)), 2)
    following = whole[:, 1:].copy()
    following[:, : REPEATED - 1] = UNKNOWN
    return whole[:, :-1], following


def root_mean_square(x: Array) -> Array:
    return np.sqrt(np.square(x).mean(axis=-1, keepdims=True) + 1e-5)


def normalised_backward(dy: Array, x: Array) -> Array:
    """Return the gradient in x of x / root_mean_square(x)."""
    root = root_mean_square(x)
    return (dy - x * (dy * x).mean(axis=-1, keepdims=True) / root**2) / root


def in_weight(x: Array, dy: Array) -> Array:
    """Return the gradient in w of x @ w, summed over all letters of all texts."""
    return x.reshape(-1, x.shape[-1]).T @ dy.reshape(-1, dy.shape[-1])


def loss_and_gradients(w: Weights, letters: Labels, following: Labels) -> tuple[float, Weights, Array]:
    """Return the mean loss, its gradients in the weights, and the logits of the next letters."""
    x = w["letters"][letters] + w["positions"]
    seen = x / root_mean_square(x)
    query, key, value = (seen @ w[name] for name in ("query", "key", "value"))
    weight = fastact.softmax(query @ key.swapaxes(-1, -2), scale=SCALE, causal=True)
    mean = weight @ value
    y = x + mean @ w["mix"]
    entering = y / root_mean_square(y)
    packed = entering @ w["gate and up"]
    gated = fastact.swiglu(packed)  # of one array: its halves are the gate and the other factor
    z = y + gated @ w["down"]
    logits = z @ w["output"]
    loss, d_logits = fastact.softmax_cross_entropy(logits, following, ignore_index=UNKNOWN)

    d_z = d_logits @ w["output"].T
    d_packed = fastact.swiglu.backward(d_z @ w["down"].T, packed)
    d_y = d_z + normalised_backward(d_packed @ w["gate and up"].T, y)
    d_mean = d_y @ w["mix"].T
    d_weight, d_value = d_mean @ value.swapaxes(-1, -2), weight.swapaxes(-1, -2) @ d_mean
    d_scores = fastact.softmax.backward(d_weight, output=weight, scale=SCALE, causal=True)
    d_query, d_key = d_scores @ key, d_scores.swapaxes(-1, -2) @ query
    d_seen = d_query @ w["query"].T + d_key @ w["key"].T + d_value @ w["value"].T
    d_x = d_y + normalised_backward(d_seen, x)
    d_letters = np.zeros_like(w["letters"])
    np.add.at(d_letters, letters, d_x)
    return float(loss), {
        "letters": d_letters, "positions": d_x.sum(axis=0),
        "query": in_weight(seen, d_query), "key": in_weight(seen, d_key), "value": in_weight(seen, d_value),
        "mix": in_weight(mean, d_y), "gate and up": in_weight(entering, d_packed), "down": in_weight(gated, d_z),
        "output": in_weight(z, d_logits),
    }, logits


def finite_differences(w: Weights, name: str, letters: Labels, following: Labels) -> Array:
    """Return the gradient in one parameter from two losses for each of its numbers."""
    slopes, numbers = np.empty_like(w[name]), w[name].reshape(-1)  # a view: the weights change with it
    for k, number in enumerate(numbers.copy()):
        losses = []
        for numbers[k] in (number + STEP, number - STEP):
            losses.append(loss_and_gradients(w, letters, following)[0])
        numbers[k] = number
        slopes.flat[k] = (losses[0] - losses[1]) / (2 * STEP)
    return slopes


def check(random: np.random.Generator) -> float:
    """Print how far each gradient is from finite differences, relative to its largest entry; return the worst."""
    w, inputs = initial_weights(random, np.float64), texts(random, 2)
    _, gradients, _ = loss_and_gradients(w, *inputs)
    print("parameter     norm of the gradient   largest relative difference from finite differences")
    worst = 0.0
    for name, gradient in gradients.items():
        difference = abs(gradient - finite_differences(w, name, *inputs)).max() / abs(gradient).max()
        print(f"{name:12} {np.linalg.norm(gradient):21.6f}   {difference:.1e}")
        worst = max(worst, difference)
    return worst


def train(random: np.random.Generator, steps: int) -> Weights:
    """Train by Adam, each step on new texts, and print the loss."""
    w = initial_weights(random, np.float32)
    means, squares = ({name: np.zeros_like(one) for name, one in w.items()} for _ in range(2))
    for step in range(steps + 1):
        loss, gradients, _ = loss_and_gradients(w, *texts(random, BATCH))
        if step % REPORTED == 0 or step == steps:
            print(f"step {step:4}: loss {loss:.3f}")
        for name, gradient in gradients.items():
            means[name] += 0.1 * (gradient - means[name])
            squares[name] += 0.01 * (gradient**2 - squares[name])
            mean, square = means[name] / (1 - 0.9**(step + 1)), squares[name] / (1 - 0.99**(step + 1))
            w[name] -= RATE * mean / (np.sqrt(square) + 1e-8)
    return w


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=60, help="of the training (default: 60)")
    parser.add_argument("--seed", type=int, default=0, help="of the generator (default: 0)")
    options = parser.parse_args()
    random = np.random.default_rng(options.seed)
    worst = check(random)
    if not worst <= TOLERANCE:
        raise SystemExit(f"a gradient is off by {worst:.1e}; allowed is {TOLERANCE:.0e}")
    print(f"the gradients are right: they differ by {worst:.1e} at most, allowed is {TOLERANCE:.0e}\n")
    w = train(random, options.steps)
    letters, following = texts(random, 500)
    known = following != UNKNOWN
    guesses = loss_and_gradients(w, letters, following)[2].argmax(axis=-1)
    print(f"right letters in new texts: {np.mean(guesses[known] == following[known]):.1%}, by chance {1 / LETTERS:.1%}")


if __name__ == "__main__":
    main()
