"""Activation functions for NumPy arrays: value, derivative and backward, fast and accurate."""

from fastact._threads import get_num_threads, set_num_threads, threads
from fastact.catalogue import activations, get
from fastact.losses import softmax_cross_entropy, softmax_mse

from fastact import ufuncs  # isort: skip

__version__ = "0.1.0"

globals().update(activations)

__all__ = [  # noqa: PLE0604
    *activations,
    "activations",
    "get",
    "get_num_threads",
    "set_num_threads",
    "softmax_cross_entropy",
    "softmax_mse",
    "threads",
    "ufuncs",
]
