"""Activation functions for NumPy arrays: value, derivative and backward, fast and accurate."""

from fastact import ufuncs
from fastact._threads import get_num_threads, set_num_threads, threads
from fastact.catalogue import *  # noqa: F403
from fastact.losses import softmax_cross_entropy, softmax_mse

__version__ = "0.1.0"

__all__ = [  # noqa: PLE0604
    *activations,  # noqa: F405
    "activations",
    "get",
    "get_num_threads",
    "set_num_threads",
    "softmax_cross_entropy",
    "softmax_mse",
    "threads",
    "ufuncs",
]
