"""What the tests of rows and of the losses on them share."""

import math

import numpy as np


def same_bits(a, b):
    a, b = np.ascontiguousarray(a), np.ascontiguousarray(b)
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


def normal(shape, dtype=np.float64, seed=0, spread=3.0):
    return (np.random.default_rng(seed).standard_normal(shape) * spread).astype(dtype)


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
    """One entry far above many equal ones, so that the errors of a sum all go one way.

    Adding one of the others to the largest is rounded by half an ulp each time; or their exponentials are subnormal,
    each with the same error.
    """
    others = random.uniform(-3, 3, shape[0])
    above = random.choice([math.log(2) * 24, math.log(2) * 53, 91], shape[0]) + random.uniform(-0.1, 6, shape[0])
    rows = np.repeat(others, shape[1]).reshape(shape)
    rows[:, 0] += above
    return rows
