"""Sampling from rows of logits, with and without filters, beside its expression in NumPy and torch.multinomial."""

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


def _composed(x: Any, u: Any) -> Any:
    cumulative = fastact.softmax(x).cumsum(axis=-1)
    return [np.searchsorted(row, limit * row[-1], side="right") for row, limit in zip(cumulative, u, strict=True)]


def _rows(shape: tuple[int, int], dtype: str) -> tuple[Any, Any]:
    generator = np.random.default_rng(0)
    return aligned(generator.standard_normal(shape).astype(dtype)), generator.random(shape[0])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: "x".join(map(str, shape)))
@pytest.mark.parametrize("filters", FILTERS)
def test_sample(benchmark: Callable[..., Any], filters: str, shape: tuple[int, int], dtype: str) -> None:
    x, u = _rows(shape, dtype)
    benchmark(lambda: fastact.sample(x, u, **FILTERS[filters]))


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: "x".join(map(str, shape)))
@pytest.mark.parametrize("library", ["NumPy", "PyTorch"])
def test_others(benchmark: Callable[..., Any], library: str, shape: tuple[int, int]) -> None:
    x, u = _rows(shape, "float32")
    if library == "NumPy":
        benchmark(lambda: _composed(x, u))
        return
    torch = pytest.importorskip("torch")
    logits = torch.from_numpy(x)
    benchmark(lambda: torch.multinomial(torch.softmax(logits, -1), 1))
