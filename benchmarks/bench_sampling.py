"""Sampling from rows of logits with filters. (bench_rows.py has it without them, beside other libraries.)"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fastact
from fastact.comparison.work import aligned

SHAPES = ((4096, 10), (4096, 100), (256, 8192), (32, 50257))
FILTERS: dict[str, dict[str, Any]] = {
    "plain": {},
    "temperature": {"temperature": 0.7},
    "top_k": {"top_k": 50},
    "top_p": {"top_p": 0.9},
    "top_k-top_p": {"top_k": 50, "top_p": 0.9},
    "min_p": {"min_p": 0.05},
}


def _rows(shape: tuple[int, int], dtype: str) -> tuple[Any, Any]:
    generator = np.random.default_rng(0)
    return aligned(generator.standard_normal(shape).astype(dtype)), generator.random(shape[0])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: "x".join(map(str, shape)))
@pytest.mark.parametrize("filters", FILTERS)
def test_sample(benchmark: Callable[..., Any], filters: str, shape: tuple[int, int], dtype: str) -> None:
    x, u = _rows(shape, dtype)
    benchmark(lambda: fastact.sample(x, u, **FILTERS[filters]))
