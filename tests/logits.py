"""Random rows of several kinds, each of which is hard for one part of the arithmetic of rows."""

import math

import numpy as np
from common import INF


def uniform(random, shape):
    return random.uniform(-100, 100, shape)


def standard_normal(random, shape):
    return random.standard_normal(shape)


def confident(random, shape):
    rows = random.standard_normal(shape)
    rows[..., random.integers(shape[-1])] += random.uniform(5, 95)
    return rows


def decided(random, shape):
    """The maximum is from about as much as all others together to ten million times as much."""
    rows = random.standard_normal(shape)
    others = np.log(np.exp(rows).sum(axis=-1))
    rows[np.arange(len(rows)), random.integers(shape[-1], size=len(rows))] = others + random.uniform(-1, 17, len(rows))
    return rows


def above_equals(random, shape):
    """One entry is far above many equal ones, so that the errors of a sum all have one sign.

    Adding one of the others to the largest is rounded by half an ulp each time; or their exponentials are subnormal,
    each with the same error.
    """
    others = random.uniform(-3, 3, shape[0])
    above = random.choice([math.log(2) * 24, math.log(2) * 53, 91], shape[0]) + random.uniform(-0.1, 6, shape[0])
    rows = np.repeat(others, shape[1]).reshape(shape)
    rows[:, 0] += above
    return rows


def with_holes(random, shape):
    """A third of the entries is -inf, but not all."""
    rows = np.where(random.random(shape) < 0.3, -INF, uniform(random, shape))
    rows[..., random.integers(shape[-1])] = uniform(random, None)
    return rows


def every_binade(random, shape):
    return random.choice([-1.0, 1.0], shape) * 2.0 ** random.uniform(-140, 6.5, shape)


def with_ties(random, shape):
    return random.integers(-3, 1, shape) * random.choice([1.0, 20.0])


KINDS = {
    "uniform": uniform,
    "normal": standard_normal,
    "confident": confident,
    "decided": decided,
    "above_equals": above_equals,
    "every_binade": every_binade,
    "offset_1e4": lambda random, shape: 1e4 + random.standard_normal(shape),
    "offset_-1e4": lambda random, shape: -1e4 + 30 * random.standard_normal(shape),
    "offset_1e30": lambda random, shape: 1e30 * (1 + random.standard_normal(shape) * random.choice([0, 1e-6], shape)),
    "largest": lambda random, shape: random.choice([-1.0, 1.0, 1.0], shape) * float(np.finfo(np.float32).max),
    "constant": lambda random, shape: np.full(shape, random.uniform(-100, 100)),
    "holes": with_holes,
}


def logits_of(kind, dtype, length, rows=None):
    random = np.random.default_rng(length)
    count = rows or (20 if length <= 1000 else 4 if length < 10_000 else 1)
    return KINDS[kind](random, (count, length)).astype(dtype)
