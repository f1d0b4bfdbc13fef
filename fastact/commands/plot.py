"""``fastact plot NAME... -o FILE``: draw the value and the derivative of activations.

An elementwise activation is drawn as two curves.  An activation of rows is drawn for rows of two inputs, as surfaces:
its first (or only) output, and the derivative of that with respect to the first input.
"""

import argparse
import io
from pathlib import Path
from typing import Any

import numpy as np

import fastact
from fastact import Activation, Elementwise, Gated, Rowwise
from fastact.commands import Failed, output_file, shown, write_whole

LIMIT = 6.0  # inputs from -LIMIT to LIMIT
PER_LINE = 4  # activations side by side
VALUE, DERIVATIVE = "#1f5fa8", "#d1622b"
SUFFIXES = (".png", ".svg", ".pdf", ".eps", ".jpg", ".jpeg", ".webp")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    names = ", ".join(fastact.activations)
    parser.add_argument("names", nargs="+", metavar="NAME", type=_known, help=f"activations: {names}")
    parser.add_argument(
        "-o", "--output", required=True, type=_picture, metavar="FILE", help=f"file to write: {', '.join(SUFFIXES)}"
    )


def _picture(text: str) -> Path:
    path = output_file(text)
    if path.suffix.lower() not in SUFFIXES:
        found = f"the unknown suffix {path.suffix}" if path.suffix else "no suffix"
        raise argparse.ArgumentTypeError(f"{shown(text)} has {found}; accepted are {', '.join(SUFFIXES)}")
    return path


def _known(name: str) -> str:
    try:
        fastact.get(name)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return name


def run(arguments: argparse.Namespace) -> int:
    """Draw the picture and return the exit status."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    activations = [fastact.get(name) for name in arguments.names]
    columns = min(len(activations), PER_LINE)
    lines = -(-len(activations) // columns)
    figure = Figure(figsize=(3.6 * columns, 3.4 * lines), layout="constrained")
    FigureCanvasAgg(figure)
    for index, activation in enumerate(activations, start=1):
        if isinstance(activation, Elementwise):
            draw_curves(figure.add_subplot(lines, columns, index), activation)
        else:
            draw_surfaces(figure.add_subplot(lines, columns, index, projection="3d"), activation)
    content = io.BytesIO()
    try:
        figure.savefig(content, format=arguments.output.suffix[1:].lower(), dpi=150)
    except ValueError as error:  # too many activations for one picture
        raise Failed(f"{arguments.output}: {error}") from None
    write_whole(arguments.output, content.getvalue())
    print(f"{arguments.output}: {', '.join(arguments.names)}")
    return 0


def draw_curves(axes: Any, activation: Elementwise) -> None:
    """Draw the value and the derivative of an elementwise activation."""
    x = np.linspace(-LIMIT, LIMIT, 1201)
    value, derivative = activation.value_and_derivative(x)
    axes.axhline(0, color="0.85", linewidth=0.8)
    axes.axvline(0, color="0.85", linewidth=0.8)
    # A jump of the derivative is drawn as a gap.
    jumps = np.flatnonzero(abs(np.diff(derivative)) > 0.25) + 1
    axes.plot(x, value, color=VALUE, linewidth=2, label="value")
    axes.plot(np.insert(x, jumps, np.nan), np.insert(derivative, jumps, np.nan), color=DERIVATIVE, label="derivative")
    axes.set_title(f"{activation.name}\n${activation.formula}$", fontsize=10)
    axes.set_xlabel(f"${activation.derivative_formula}$", fontsize=9)
    axes.set_ylim(-1.25, 3.25 if value.max() > 1.5 else 1.25)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=8, loc="upper left")


def draw_surfaces(axes: Any, activation: Activation) -> None:
    """Draw an activation of rows, or a gated one, over two inputs: its first output, and its derivative by the first.
    """
    line = np.linspace(-LIMIT, LIMIT, 49)
    first, second = np.meshgrid(line, line)
    rows = np.stack([first, second], axis=-1)
    value = activation(rows)
    if isinstance(activation, Gated):
        value, derivative = activation(first, second), activation.backward(np.ones(first.shape), first, second)[0]
    elif isinstance(activation, Rowwise):
        derivative = activation.jacobian(rows)[..., 0, 0]
        value = value[..., 0]
    else:
        derivative = activation.backward(np.ones(first.shape), rows)[..., 0]
    axes.plot_surface(first, second, value, cmap="Blues", vmin=value.min() - np.ptp(value) / 2, linewidth=0)
    axes.plot_wireframe(first, second, derivative, color=DERIVATIVE, linewidth=0.5, rstride=4, cstride=4)
    axes.set_title(f"{activation.name}\n${activation.formula}$", fontsize=10)
    names = ("$g$", "$u$") if isinstance(activation, Gated) else ("$x_1$", "$x_2$")
    axes.set_xlabel(names[0], fontsize=9)
    axes.set_ylabel(names[1], fontsize=9)
    axes.tick_params(labelsize=7)
    axes.view_init(elev=24, azim=-120)
