"""`fastact demo`: train a network with the activations, derivatives and losses of fastact on real images.

1. A worked example: the gradient of the squared error of softmax, computed in four ways.
2. Training: a network, 64 pixels → hidden layer → 10 digits, learns the 1,797 handwritten digits of scikit-learn.
3. Inference: the network classifies a large batch of those images, once with fastact's activations and once with the
   usual NumPy expressions. Everything else is the same code, and the probabilities must agree.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from sklearn.datasets import load_digits

import fastact
from fastact.commands import whole_number

HIDDEN_UNITS = 512
HELD_OUT = 450  # images, a quarter of all
MINI_BATCH = 32
LEARNING_RATE = 5e-3  # with NOISE, reaches 97 % for every --hidden and --loss
NOISE = 0.7  # added to each training image, in standard deviations of the pixels: there are few images for the weights
INFERENCE_BATCH = 1024  # rows; the hidden units of a batch are 2 MiB, which the cache holds
ROUNDS = 7  # timings of each network, interleaved; the best one is reported
TOLERANCE = 1e-5  # between the probabilities of the two networks

Floats = NDArray[Any]  # float32; in NumPy's type stubs a matrix product loses the dtype
InPlace = Callable[..., Any]
"""A function `f(x, out=x)`: fastact's activations and the NumPy expressions are called the same way."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `fastact demo`."""
    parser.add_argument(
        "--hidden",
        choices=list(NUMPY_HIDDEN),
        default="relu",
        help="activation of the hidden layer (default: %(default)s)",
    )
    parser.add_argument("--loss", choices=list(LOSSES), default="cross_entropy", help="default: %(default)s")
    parser.add_argument(
        "--epochs", type=whole_number(), default=50, help="passes over the training images (default: %(default)s)"
    )
    parser.add_argument(
        "--seed", type=whole_number(0, 2**63 - 1), default=0, help="seed of split, weights and noise (default: 0)"
    )
    parser.add_argument("--rows", type=whole_number(), default=131_072, help="images to infer (default: %(default)s)")


def run(arguments: argparse.Namespace) -> int:
    """Run the demo; the status is 1 if the gradients or the two networks disagree."""
    console = Console(highlight=False)
    example_agrees = show_worked_example(console)
    hidden, loss = fastact.activations[arguments.hidden], LOSSES[arguments.loss]
    generator = np.random.default_rng(arguments.seed)
    digits = split_digits(generator)

    console.print(
        f"\n[bold]{len(digits.training_images):,} handwritten digits to learn, {HELD_OUT} held out[/]: "
        f"64 pixels → {HIDDEN_UNITS} {hidden.name} → 10 softmax, loss {arguments.loss}, float32"
    )
    weights = train(digits, hidden, loss, arguments.epochs, generator, console)

    images = np.resize(np.concatenate([digits.held_out_images, digits.training_images]), (arguments.rows, 64))
    ours, theirs = compare(weights, images, (hidden, fastact.softmax), (NUMPY_HIDDEN[hidden.name], numpy_softmax))
    held_out_now = min(HELD_OUT, arguments.rows)  # the held-out images come first in `images`
    labels = digits.held_out_labels[:held_out_now]
    difference = float(np.abs(ours.probabilities - theirs.probabilities).max())
    networks_agree = difference <= TOLERANCE  # False for NaN too

    table = Table(title=f"\n{arguments.rows:,} images through the trained network", title_style="bold", box=None)
    for header in ("", "fastact", "NumPy expressions", "fastact is"):
        table.add_column(header, justify="right" if header else "left")
    table.add_row(
        f"right on the {held_out_now} held-out images",
        *(f"{(result.probabilities[:held_out_now].argmax(axis=1) == labels).mean():.1%}" for result in (ours, theirs)),
    )
    table.add_row("inference, everything", *_times(ours.seconds, theirs.seconds), style="bold")
    table.add_row("    activations", *_times(ours.activation_seconds, theirs.activation_seconds))
    table.add_row("    the rest (matrix products)", *(_milliseconds(result.rest_seconds) for result in (ours, theirs)))
    table.add_row("activations' share", *(f"{r.activation_seconds / r.seconds:.0%}" for r in (ours, theirs)))
    console.print(table)
    console.print(
        f"Best of {ROUNDS} interleaved rounds; fastact may use {fastact.get_num_threads()} threads, NumPy's functions "
        "use one, the matrix products are NumPy's in both."
    )
    console.print(
        f"Largest difference between two probabilities: {difference:.1e}; "
        + (f"[green]the results agree[/] (to {TOLERANCE:.0e})" if networks_agree else "[red]THE RESULTS DISAGREE[/]")
    )
    return 0 if example_agrees and networks_agree else 1


# --- the worked example -----------------------------------------------------------------------------------------------


def worked_example(z: NDArray[np.float64], y: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    """Gradient of L = ½ Σ (σ_i(z) − y_i)² with respect to three logits z, computed in four ways."""
    p = fastact.softmax(z)
    by_hand = [
        sum((p[i] - y[i]) * (p[i] * (1 - p[i]) if i == j else -p[i] * p[j]) for i in range(3)) for j in range(3)
    ]
    return {
        "softmax.backward(p - y, output=p)": fastact.softmax.backward(p - y, output=p),
        "softmax.jacobian(z) @ (p - y)": fastact.softmax.jacobian(z) @ (p - y),
        "the three terms, written out": np.array(by_hand),
        "softmax_mse(z, y), one pass": fastact.softmax_mse(z, y)[1],
    }


def show_worked_example(console: Console) -> bool:
    """Print the example as a table, and return whether all gradients agree to rounding."""
    z, y = np.array([1.0, 2.0, 0.5]), np.array([0.0, 1.0, 0.0])
    gradients = worked_example(z, y)
    table = Table(
        title="The gradient of L = ½ Σ (softmax(z) − y)² at z = (1, 2, 0.5), y = (0, 1, 0)",
        title_style="bold",
        title_justify="left",
        box=None,
    )
    table.add_column("")
    for index in "₁₂₃":
        table.add_column(f"∂L/∂z{index}", justify="right")
    for way, gradient in gradients.items():
        table.add_row(way, *(f"{slope:+.10f}" for slope in gradient))
    console.print(table)
    spread = float(np.ptp(np.array(list(gradients.values())), axis=0).max())
    agree = bool(spread <= 4 * np.finfo(np.float64).eps)  # of gradients below 1
    console.print(
        f"Largest difference: {spread:.1e}; "
        + ("[green]the four agree[/] to rounding" if agree else "[red]THE FOUR DISAGREE[/]")
    )
    return agree


# --- training ---------------------------------------------------------------------------------------------------------


class Digits(NamedTuple):
    """The 8 × 8 images as rows of 64 pixels, shifted and scaled by the training part's mean image and deviation."""

    training_images: Floats
    training_labels: NDArray[np.int64]
    held_out_images: Floats
    held_out_labels: NDArray[np.int64]


class Weights(NamedTuple):
    """The network's parameters: pixels @ hidden + hidden_bias, then units @ output + output_bias."""

    hidden: Floats
    hidden_bias: Floats
    output: Floats
    output_bias: Floats


def split_digits(generator: np.random.Generator) -> Digits:
    """Split scikit-learn's digits at random into a training part and a held-out part."""
    digits = load_digits()
    images = digits.data.astype(np.float32)
    order = generator.permutation(len(images))
    held_out, training = order[:HELD_OUT], order[HELD_OUT:]
    images -= images[training].mean(axis=0)
    images /= images[training].std()
    return Digits(images[training], digits.target[training], images[held_out], digits.target[held_out])


def mean_squared_error(logits: Floats, labels: NDArray[np.int64]) -> tuple[float, Floats]:
    """Loss and gradient of the squared error against the labels as one-hot rows."""
    one_hot = np.eye(10, dtype=np.float32)
    loss, gradient = fastact.softmax_mse(logits, one_hot[labels])
    return float(loss), gradient


def cross_entropy(logits: Floats, labels: NDArray[np.int64]) -> tuple[float, Floats]:
    """Loss and gradient of the cross entropy against the labels."""
    loss, gradient = fastact.softmax_cross_entropy(logits, labels)
    return float(loss), gradient


Loss = Callable[[Floats, NDArray[np.int64]], tuple[float, Floats]]
LOSSES: dict[str, Loss] = {"cross_entropy": cross_entropy, "mse": mean_squared_error}


def initial_weights(hidden: Any, generator: np.random.Generator) -> Weights:
    """Return normal weights whose sums have unit variance; twice that before relu, which drops half (He 2015)."""

    def normal(inputs: int, outputs: int, variance: float) -> Floats:
        scale = np.float32((variance / inputs) ** 0.5)
        return scale * generator.standard_normal((inputs, outputs), dtype=np.float32)

    return Weights(
        normal(64, HIDDEN_UNITS, 2.0 if hidden.name == "relu" else 1.0),
        np.zeros(HIDDEN_UNITS, np.float32),
        normal(HIDDEN_UNITS, 10, 1.0),
        np.zeros(10, np.float32),
    )


def loss_and_gradients(
    weights: Weights, images: Floats, labels: NDArray[np.int64], hidden: Any, loss: Loss
) -> tuple[float, Weights]:
    """Forward and backward through the network; the hidden units and their gradient are computed in place."""
    units = images @ weights.hidden + weights.hidden_bias
    hidden(units, out=units)
    mean_loss, d_logits = loss(units @ weights.output + weights.output_bias, labels)
    d_units = d_logits @ weights.output.T
    hidden.backward(d_units, output=units, out=d_units)
    return mean_loss, Weights(images.T @ d_units, d_units.sum(axis=0), units.T @ d_logits, d_logits.sum(axis=0))


def train(
    digits: Digits, hidden: Any, loss: Loss, epochs: int, generator: np.random.Generator, console: Console
) -> Weights:
    """Train by mini-batches with Adam (Kingma and Ba 2014). The rate rises for a tenth of the steps, then falls."""
    weights = initial_weights(hidden, generator)
    means = [np.zeros_like(parameter) for parameter in weights]
    squares = [np.zeros_like(parameter) for parameter in weights]
    count = len(digits.training_images)
    steps = epochs * -(-count // MINI_BATCH)
    step = 0
    columns = (
        TextColumn("training"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("epochs, loss {task.fields[loss]:.4f}, held-out accuracy {task.fields[accuracy]:.1%},"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("", total=epochs, loss=float("nan"), accuracy=0.0)
        for _ in range(epochs):
            order = generator.permutation(count)
            losses = []
            for first in range(0, count, MINI_BATCH):
                chosen = order[first : first + MINI_BATCH]
                images = digits.training_images[chosen]
                images += np.float32(NOISE) * generator.standard_normal(images.shape, dtype=np.float32)
                batch_loss, gradients = loss_and_gradients(
                    weights, images, digits.training_labels[chosen], hidden, loss
                )
                losses.append(batch_loss)
                step += 1
                rate = LEARNING_RATE * min(10 * step / steps, (1 - (step - 1) / steps) / 0.9)
                rate *= (1 - 0.999**step) ** 0.5 / (1 - 0.9**step)
                for parameter, gradient, mean, square in zip(weights, gradients, means, squares, strict=True):
                    mean += 0.1 * (gradient - mean)
                    square += 0.001 * (gradient * gradient - square)
                    parameter -= rate * mean / (np.sqrt(square) + 1e-8)
            progress.update(
                task,
                advance=1,
                loss=float(np.mean(losses)),
                accuracy=accuracy(weights, digits.held_out_images, digits.held_out_labels, hidden),
            )
    return weights


def accuracy(weights: Weights, images: Floats, labels: NDArray[np.int64], hidden: Any) -> float:
    """Return the share of the images whose most probable digit is correct."""
    probabilities = infer(weights, images, hidden, fastact.softmax).probabilities
    return float((probabilities.argmax(axis=1) == labels).mean())


# --- inference --------------------------------------------------------------------------------------------------------


def numpy_relu(z: Floats, out: Floats) -> Floats:
    """max(0, z)."""
    return np.maximum(z, 0, out=out)


def numpy_softplus(z: Floats, out: Floats) -> Floats:
    """log(1 + e^z)."""
    return np.logaddexp(0, z, out=out)


def numpy_sigmoid(z: Floats, out: Floats) -> Floats:
    """1 / (1 + e^−z), without a temporary array."""
    np.negative(z, out=out)
    np.exp(out, out=out)
    out += 1
    return np.divide(1, out, out=out)


def numpy_tanh(z: Floats, out: Floats) -> Floats:
    """tanh(z)."""
    return np.tanh(z, out=out)


def numpy_softmax(z: Floats, out: Floats) -> Floats:
    """e^(z − max) / Σ e^(z − max) of each row, without a temporary of the full size."""
    np.subtract(z, z.max(axis=-1, keepdims=True), out=out)
    np.exp(out, out=out)
    out /= out.sum(axis=-1, keepdims=True)
    return out


NUMPY_HIDDEN: dict[str, InPlace] = {
    "relu": numpy_relu,
    "softplus": numpy_softplus,
    "sigmoid": numpy_sigmoid,
    "tanh": numpy_tanh,
}


class Inference(NamedTuple):
    """The probabilities of one network, and its time."""

    probabilities: Floats
    seconds: float
    activation_seconds: float

    @property
    def rest_seconds(self) -> float:
        """Time outside the activations."""
        return self.seconds - self.activation_seconds


def infer(weights: Weights, images: Floats, hidden: InPlace, softmax: InPlace) -> Inference:
    """Run the images through the network batch by batch, everything in place, with the two activations given."""
    probabilities = np.empty((len(images), 10), np.float32)
    buffer = np.empty((min(INFERENCE_BATCH, len(images)), HIDDEN_UNITS), np.float32)
    activation_seconds = 0.0
    start = perf_counter()
    for first in range(0, len(images), INFERENCE_BATCH):
        batch = images[first : first + INFERENCE_BATCH]
        units, outputs = buffer[: len(batch)], probabilities[first : first + INFERENCE_BATCH]
        np.matmul(batch, weights.hidden, out=units)
        units += weights.hidden_bias
        before = perf_counter()
        hidden(units, out=units)
        activation_seconds += perf_counter() - before
        np.matmul(units, weights.output, out=outputs)
        outputs += weights.output_bias
        before = perf_counter()
        softmax(outputs, out=outputs)
        activation_seconds += perf_counter() - before
    return Inference(probabilities, perf_counter() - start, activation_seconds)


def compare(
    weights: Weights, images: Floats, ours: tuple[InPlace, InPlace], theirs: tuple[InPlace, InPlace]
) -> tuple[Inference, Inference]:
    """Time the network with each pair of activations, interleaved; return the best round of each."""
    rounds = [(infer(weights, images, *ours), infer(weights, images, *theirs)) for _ in range(ROUNDS)]
    first, second = (min(results, key=lambda result: result.seconds) for results in zip(*rounds, strict=True))
    return first, second


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1e3:.3g} ms"


def _times(ours: float, theirs: float) -> tuple[str, str, str]:
    ratio = theirs / ours
    verdict = f"{ratio:.1f} × faster" if ratio >= 1 else f"{1 / ratio:.1f} × slower"
    return _milliseconds(ours), _milliseconds(theirs), verdict
