"""Sample text from a model of bigrams: each letter is drawn from those that followed the last one in a text.

    python examples/sampling.py [--length 60] [--seed 0]

The model is a matrix of logits, with one row for each letter. All requests are one batch: `fastact.sample` draws the
next letter of each in one call, with a temperature and filters of its own.
"""

import argparse

import numpy as np

import fastact

TEXT = """
an activation function takes the sum of a neuron and gives its output. without it a network of many layers is no more
than one layer, since a product of matrices is a matrix. the sigmoid maps any number to one between nought and one, the
hyperbolic tangent to one between minus one and one. the rectifier keeps what is positive and drops the rest, so that
its derivative is one or nought. the softmax turns the numbers of the last layer into probabilities: all are positive,
their sum is one, and the larger ones stand out. a language model ends with a softmax over its vocabulary, and the next
word is drawn from it. a low temperature prefers what is likely, a high one gives the others a chance.
"""

REQUESTS = (  # of temperature, top_k, top_p and min_p; a number that is not given leaves every letter
    {"temperature": 1.0},
    {"temperature": 0.5},
    {"temperature": 0.0},
    {"temperature": 1.5, "top_k": 4},
    {"temperature": 1.5, "top_p": 0.6},
    {"temperature": 1.5, "min_p": 0.3},
)
DEFAULTS = {"temperature": 1.0, "top_k": 1000, "top_p": 1.0, "min_p": 0.0}


def bigrams(text: str) -> tuple[str, np.ndarray]:
    """Return the letters of the text, and the logits of the letter after each: -inf for those that never follow."""
    letters = "".join(sorted(set(text)))
    numbers = np.array([letters.index(letter) for letter in text])
    counts = np.zeros((len(letters), len(letters)), np.float32)
    np.add.at(counts, (numbers, np.roll(numbers, -1)), 1)
    with np.errstate(divide="ignore"):
        return letters, np.log(counts)


def generate(logits: np.ndarray, start: int, length: int, generator: np.random.Generator) -> np.ndarray:
    """Return the numbers of the letters of each request."""
    arguments = {name: np.array([{**DEFAULTS, **one}[name] for one in REQUESTS]) for name in DEFAULTS}
    drawn = np.full((len(REQUESTS), length + 1), start)
    for step in range(length):
        drawn[:, step + 1] = fastact.sample(logits[drawn[:, step]], generator, **arguments)
    return drawn[:, 1:]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--length", type=int, default=60, help="letters of each request (default: 60)")
    parser.add_argument("--seed", type=int, default=0, help="of the generator (default: 0)")
    options = parser.parse_args()
    letters, logits = bigrams(" ".join(TEXT.split()) + " ")
    drawn = generate(logits, letters.index(" "), options.length, np.random.default_rng(options.seed))
    for request, numbers in zip(REQUESTS, drawn, strict=True):
        name = " ".join(f"{key}={value}" for key, value in request.items())
        print(f"{name:28}", "".join(letters[number] for number in numbers))


if __name__ == "__main__":
    main()
