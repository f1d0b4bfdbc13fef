"""Every mode of every activation that is a NumPy ufunc, under the ufunc's own name: pickle finds them here."""

from fastact.catalogue import activations

globals().update(
    (ufunc.__name__, ufunc)
    for activation in activations.values()
    for ufunc in getattr(activation, "ufuncs", {}).values()
)
