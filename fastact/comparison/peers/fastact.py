"""fastact itself: every method that its objects have, found by calling it."""

import contextlib

import fastact
from fastact import losses, sigmoid_losses
from fastact.comparison.work import Inputs, Library, Spelling, Work, build, is_gated, is_rowwise


def load() -> Library:
    spellings = {
        (name, "loss"): Spelling(getattr(losses, name), "x labels" if loss.labels else "x targets", has_out=False)
        for name, loss in losses.LOSSES.items()
        if hasattr(losses, name)
    }
    spellings |= {(name, "loss"): Spelling(getattr(sigmoid_losses, name), "x targets", has_out=False)
                  for name in sigmoid_losses.LOSSES}
    for name, function in fastact.activations.items():
        axis = " axis=axis" if is_rowwise(name) else ""
        inputs = Inputs(Work(name, "value", "float32", (2, 3)))
        for mode, method, arguments in (
            ("value", "__call__", "x" + axis),
            ("derivative", "derivative", "x"),
            ("value_and_derivative", "value_and_derivative", "x"),
            ("backward", "backward", "dy x" + axis),
            ("backward_from_output", "backward", "dy output=y" + axis),
        ):
            with contextlib.suppress(AttributeError, TypeError, ValueError):
                arguments += " u" if is_gated(name) else ""
                spelling = Spelling(function if mode == "value" else getattr(function, method), arguments)
                build(spelling, inputs, None)()
                spellings[name, mode] = spelling
        if is_rowwise(name) and (name, "backward_from_output") in spellings:
            del spellings[name, "backward"]  # it computes the value again, and then does the same
    return Library(fastact.__version__, spellings, build, fastact.threads)
