"""Gradient boosting of decision stumps in NumPy: the gradient and the Hessian of each round come from fastact.

    python examples/boosting.py

Three classes of points in the plane, of which no straight line separates one from the others. Each round fits one stump
to each class by Newton's step, -sum of g / sum of h in each half, as XGBoost and LightGBM do.
"""

import numpy as np

import fastact

ROUNDS, RATE, BINS, PENALTY = 60, 0.3, 24, 1.0


def points(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Three rings around the origin, which overlap a little."""
    random = np.random.default_rng(seed)
    labels = random.integers(3, size=count)
    radius, angle = labels + random.normal(0.5, 0.25, count), random.uniform(0, 2 * np.pi, count)
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1).astype(np.float32), labels


def best_stump(x: np.ndarray, g: np.ndarray, h: np.ndarray) -> tuple[int, float, float, float]:
    """The feature and the threshold that gain most, and Newton's step on either side."""
    found = (-1.0, 0, 0.0, 0.0, 0.0)
    for feature in range(x.shape[1]):
        for threshold in np.quantile(x[:, feature], np.linspace(0, 1, BINS + 2)[1:-1]):
            left = x[:, feature] <= threshold
            sums = [(g[side].sum(), h[side].sum() + PENALTY) for side in (left, ~left)]
            gain = sum(slope**2 / curvature for slope, curvature in sums)
            if gain > found[0]:
                found = (gain, feature, threshold, *(-slope / curvature for slope, curvature in sums))
    return found[1:]


def main() -> None:
    x, labels = points(600, 0)
    new_x, new_labels = points(600, 1)
    scores, new_scores = (np.zeros((len(one), 3), np.float32) for one in (x, new_x))
    before = fastact.softmax_cross_entropy(new_scores, new_labels, gradient=False)
    for _ in range(ROUNDS):
        g, h = fastact.softmax_cross_entropy.gradient_and_hessian(scores, labels, factor=3 / 2)
        for k in range(3):
            feature, threshold, left, right = best_stump(x, g[:, k], h[:, k])
            scores[:, k] += RATE * np.where(x[:, feature] <= threshold, left, right)
            new_scores[:, k] += RATE * np.where(new_x[:, feature] <= threshold, left, right)
    after = fastact.softmax_cross_entropy(new_scores, new_labels, gradient=False)
    print(f"cross-entropy of new points: {before:.3f} before, {after:.3f} after {ROUNDS} rounds")
    print(f"right: {np.mean(new_scores.argmax(axis=1) == new_labels):.0%}")


if __name__ == "__main__":
    main()
