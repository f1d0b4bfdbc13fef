"""Every mode of every elementwise activation as a NumPy ufunc, under the ufunc's own name: pickle finds them here."""

from fastact.catalogue import activations
from fastact.elementwise import Elementwise

globals().update(
    (ufunc.__name__, ufunc)
    for activation in activations.values()
    if isinstance(activation, Elementwise)
    for ufunc in activation.ufuncs.values()
)
