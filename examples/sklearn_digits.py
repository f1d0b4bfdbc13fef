"""A network of scikit-learn on handwritten digits, with its own activations and with those of fastact.

    pip install -e '.[sklearn]' && python examples/sklearn_digits.py

Nothing but `fastact.sklearn.patched` differs between the two: the data, the first weights and the order of the batches
are the same. So are the predictions, which the example checks.
"""

import time
import warnings
from contextlib import nullcontext

from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier

import fastact.sklearn

ROUNDS, EPOCHS = 3, 20


def main() -> None:
    digits = load_digits()
    x, new_x, y, new_y = train_test_split(digits.data / 16, digits.target, random_state=0)
    warnings.simplefilter("ignore", ConvergenceWarning)     # a few epochs are enough here
    for activation in ("relu", "tanh", "logistic"):
        network = MLPClassifier((100,), activation=activation, learning_rate_init=0.01, max_iter=EPOCHS, random_state=0)
        best, predictions = {}, {}
        for _ in range(ROUNDS):
            for name, context in (("scikit-learn", nullcontext()), ("fastact", fastact.sklearn.patched())):
                with context:
                    start = time.perf_counter()
                    network.fit(x, y)
                    seconds = time.perf_counter() - start
                    predictions[name] = network.predict(new_x)
                best[name] = min(seconds, best.get(name, seconds))
        theirs, ours = predictions.values()
        print(f"{activation:8}: {' '.join(f'{name} {seconds:.3f} s,' for name, seconds in best.items())} "
              f"{(theirs == ours).sum()} of {len(new_y)} predictions the same, {(ours == new_y).mean():.1%} right")
        if (theirs != ours).any():
            raise SystemExit(f"the predictions of {activation} differ")


if __name__ == "__main__":
    main()
