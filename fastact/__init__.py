"""Activation functions for NumPy arrays: value, derivative and backward, fast and accurate."""

from fastact._threads import get_num_threads, set_num_threads, threads  # first: it loads OpenMP

# isort: split

from fastact import _kinds, ufuncs  # noqa: F401  (it registers itself)
from fastact._activation import Activation
from fastact._buffers import clear_buffers, get_buffer_limit, set_buffer_limit
from fastact.catalogue import *  # noqa: F403
from fastact.catalogue import activations
from fastact.divergences import softmax_entropy, softmax_kl
from fastact.elementwise import Elementwise
from fastact.gated import Gated
from fastact.lookup import get
from fastact.losses import entmax15_loss, entmax_loss, softmax_cross_entropy, softmax_mse, sparsemax_loss
from fastact.merging import merge_softmax
from fastact.reduction import RowReduction
from fastact.row_state import RowState
from fastact.rowwise import Entmax, Rowwise
from fastact.sampling import sample
from fastact.sigmoid_losses import sigmoid_cross_entropy, sigmoid_focal

__version__ = "0.2.0"

__all__ = [
    *activations,
    "Activation",
    "Elementwise",
    "Entmax",
    "Gated",
    "RowReduction",
    "RowState",
    "Rowwise",
    "activations",
    "clear_buffers",
    "entmax15_loss",
    "entmax_loss",
    "get",
    "get_buffer_limit",
    "get_num_threads",
    "merge_softmax",
    "sample",
    "set_buffer_limit",
    "set_num_threads",
    "sigmoid_cross_entropy",
    "sigmoid_focal",
    "softmax_cross_entropy",
    "softmax_entropy",
    "softmax_kl",
    "softmax_mse",
    "sparsemax_loss",
    "threads",
    "ufuncs",
]
