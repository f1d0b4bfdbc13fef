"""fastact itself: every method that its objects have, found by calling it."""

import contextlib

import fastact
from fastact import losses, reference, sigmoid_losses
from fastact.comparison.work import (
    MASKS,
    PACKED,
    WITHOUT_TARGETS,
    Inputs,
    Library,
    Spelling,
    Work,
    build,
    is_gated,
    is_rowwise,
)


def load() -> Library:
    spellings = {("sample", "sample"): Spelling(fastact.sample, "x rng", has_out=False)}
    for name in (*losses.LOSSES, *sigmoid_losses.LOSSES, *reference.DIVERGENCES):
        labels = name in losses.LOSSES and losses.LOSSES[name].labels
        arguments = "x" if name in WITHOUT_TARGETS else "x labels" if labels else "x targets"
        if (loss := getattr(fastact, name, None)) is None:
            continue
        spellings[name, "loss"] = Spelling(loss, arguments, has_out=False)
        if hasattr(loss, "gradient_and_hessian"):
            spellings[name, "hessian"] = Spelling(loss.gradient_and_hessian, arguments)
    for mask in MASKS:
        spellings["softmax", mask] = Spelling(fastact.softmax, f"x {mask}={'True' if mask == 'causal' else mask}")
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
        for mode in PACKED if isinstance(function, fastact.Gated) else ():
            arguments = "dy packed" if "backward" in mode else "packed"
            arguments += " layout='interleaved'" if "interleaved" in mode else ""
            spellings[name, mode] = Spelling(function.backward if "backward" in mode else function, arguments)
    return Library(fastact.__version__, spellings, build, fastact.threads)
