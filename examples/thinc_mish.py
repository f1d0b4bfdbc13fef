"""A network of thinc with mish, on thinc's own backend and on fastact's.

    pip install -e '.[thinc]' && python examples/thinc_mish.py

The backend of the layers is chosen by its name alone. The networks start with the same weights and see the same
batches: their losses are the same, which the example checks.
"""

import time

import numpy as np

try:
    from thinc.api import Adam, CategoricalCrossentropy, Mish, Softmax, chain, fix_random_seed, use_ops
except ModuleNotFoundError:
    raise SystemExit("this example needs thinc, which is not installed: pip install -e '.[thinc]'") from None

ROUNDS, STEPS, BATCH = 2, 40, 256
TOLERANCE = 1e-3


def train(ops: str, x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """Return the loss after the last step, and the seconds that all steps take."""
    fix_random_seed(0)
    with use_ops(ops):
        model = chain(Mish(256), Mish(256), Softmax()).initialize(x, y)
    optimizer, loss = Adam(0.005), CategoricalCrossentropy()
    start = time.perf_counter()
    for step in range(STEPS):
        batch = slice(step * BATCH, (step + 1) * BATCH)
        guesses, backprop = model.begin_update(x[batch])
        backprop(loss.get_grad(guesses, y[batch]))
        model.finish_update(optimizer)
    seconds = time.perf_counter() - start
    return float(-np.log(model.predict(x)[y == 1]).mean()), seconds


def main() -> None:
    random = np.random.default_rng(0)
    x = random.normal(size=(STEPS * BATCH, 16)).astype(np.float32)
    y = np.eye(3, dtype=np.float32)[np.abs(x[:, :3]).argmax(axis=1)]  # which of three numbers is the largest
    best: dict[str, tuple[float, float]] = {}
    for _ in range(ROUNDS):
        for ops in ("numpy", "fastact"):
            loss, seconds = train(ops, x, y)
            best[ops] = (loss, min(seconds, best.get(ops, (loss, seconds))[1]))
    for ops, (loss, seconds) in best.items():
        print(f"{ops:8}: {STEPS} steps in {seconds:.3f} s, loss {loss:.4f}")
    losses = [loss for loss, _ in best.values()]
    if abs(losses[0] - losses[1]) > TOLERANCE:
        raise SystemExit(f"the losses differ by more than {TOLERANCE:g}")


if __name__ == "__main__":
    main()
