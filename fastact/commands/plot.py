"""``fastact plot NAME... -o FILE``: draw activations: value and derivative, families of curves, errors, surfaces.

An activation of several inputs is drawn along a line of them, rows as (x, 0), or with --surface over two inputs.
"""

import argparse
import io
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import fastact
from fastact import Activation, Elementwise, Gated, RowReduction, Rowwise
from fastact.commands import Failed, Refused, output_file, shown, write_whole
from fastact.comparison.curves import JUDGED, LEAST, PEERS, Line, family, jumps, limits, tail
from fastact.comparison.work import ALL_DTYPES, Array, named_dtype

PER_LINE = 4  # activations side by side
POINTS = 1201  # of a curve
BINS = 300  # of inputs, of whose errors the largest is drawn
PER_BIN = 256  # inputs
PER_BIN_OF_FLOAT64 = 8  # which mpmath may judge
WIDTH = 220  # points of a title
VALUE, DERIVATIVE = "#1f5fa8", "#d1622b"
OF_PEERS = dict(zip(PEERS, ("#d1622b", "#2f8f5b", "#8a5bb5", "#b58900", "#6b7480"), strict=True))
SUFFIXES = (".png", ".svg", ".pdf", ".eps", ".jpg", ".jpeg", ".webp")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    names = ", ".join(fastact.activations)
    parser.add_argument("names", nargs="+", metavar="NAME", type=_known, help=f"activations: {names}")
    parser.add_argument(
        "-o", "--output", required=True, type=_picture, metavar="FILE", help=f"file to write: {', '.join(SUFFIXES)}"
    )
    kinds = parser.add_mutually_exclusive_group()
    kinds.add_argument("--family", action="store_true", help="curves for several numbers of a parameter")
    kinds.add_argument("--error", action="store_true", help="the error of the value in ulp, beside those of the "
                       "libraries that are installed")  # fmt: skip
    kinds.add_argument("--surface", action="store_true", help="a function of several inputs over two of them")
    parser.add_argument("--dtype", choices=ALL_DTYPES, help="of --error (default: float32)")


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
    draw = _drawing(arguments, activations)
    columns = min(len(activations), PER_LINE)
    lines = -(-len(activations) // columns)
    figure = Figure(figsize=((4.6 if arguments.error else 3.6) * columns, 3.4 * lines), layout="constrained")
    FigureCanvasAgg(figure)
    projection = "3d" if arguments.surface else None
    for index, activation in enumerate(activations, start=1):
        draw(figure.add_subplot(lines, columns, index, projection=projection), activation)
    content = io.BytesIO()
    try:
        figure.savefig(content, format=arguments.output.suffix[1:].lower(), dpi=150)
    except ValueError as error:  # too many activations for one picture
        raise Failed(f"{arguments.output}: {error}") from None
    write_whole(arguments.output, content.getvalue())
    print(f"{arguments.output}: {', '.join(arguments.names)}")
    return 0


def _drawing(arguments: argparse.Namespace, activations: list[Activation]) -> Callable[[Any, Any], None]:
    """The function that draws the kind of picture, if all of the activations have it."""
    if arguments.dtype and not arguments.error:
        raise Refused("argument --dtype: accepted with --error alone")
    known = fastact.activations.items()
    draw: Callable[[Any, Any], None] = draw_curves
    if arguments.family:
        option, lack, draw = "family", "has no parameters", draw_family
        accepted = [name for name, one in known if one.parameters]
    elif arguments.error:
        dtype = arguments.dtype or "float32"
        named_dtype(dtype)  # ml_dtypes may be missing
        option, lack = "error", "has no bound of its error in ulp of the result"
        draw, accepted = partial(draw_error, dtype=dtype), list(JUDGED)
    elif arguments.surface:
        option, lack, draw = "surface", "is a function of one input", draw_surfaces
        accepted = [name for name, one in known if not isinstance(one, Elementwise)]
    else:
        return draw
    for activation in activations:
        if activation.name not in accepted:
            raise Refused(f"argument --{option}: {activation.name} {lack}; accepted are {', '.join(accepted)}")
    return draw


def draw_curves(axes: Any, activation: Activation) -> None:
    """Draw the value and the derivative of an activation."""
    _draw(axes, activation, [({}, VALUE, DERIVATIVE, _labels(activation))])
    axes.legend(frameon=False, fontsize=8, loc="best")


def draw_family(axes: Any, activation: Activation) -> None:
    """Draw the value and the derivative of an activation for several numbers of a parameter."""
    from matplotlib import colormaps

    name, numbers = family(activation) or next((name, [number]) for name, number in activation.parameters.items())
    colors = colormaps["viridis"](np.linspace(0, 0.7, len(numbers)))
    _draw(axes, activation, [
        ({name: number}, color, color, (f"{name} = {number:.3g}", None))
        for number, color in zip(numbers, colors, strict=True)])  # fmt: skip
    axes.plot([], [], color="0.4", linewidth=1, linestyle=(0, (4, 2)), label="derivative")
    axes.legend(frameon=False, fontsize=8, loc="best")


def _labels(activation: Activation) -> tuple[str, str]:
    if isinstance(activation, Elementwise):
        return "value", "derivative"
    if isinstance(activation, Gated):
        return "$y$ for $g = x, u = 1$", r"$\partial y / \partial g$"
    if isinstance(activation, RowReduction):
        return "$y$ of the row $(x, 0)$", r"$\partial y / \partial x_1$"
    return "$y_1$ of the row $(x, 0)$", r"$\partial y_1 / \partial x_1$"


def _draw(axes: Any, activation: Activation, curves: list[tuple[dict[str, float], Any, Any, tuple[Any, Any]]]) -> None:
    """Draw value and derivative for each of the parameters, with their colours and labels.

    The derivatives of several are dashed.
    """
    low, high = limits(activation)
    if high - low >= 2 * LEAST:  # else it has values between these ends alone
        ends = [limits(activation, parameters) for parameters, *_ in curves]
        low, high = min(low for low, _ in ends), max(high for _, high in ends)
    x = np.linspace(low, high, POINTS)
    axes.axhline(0, color="0.85", linewidth=0.8)
    axes.axvline(0, color="0.85", linewidth=0.8)
    lowest, highest, most = 0.0, 0.0, LEAST + 0.25
    dashed = {"linestyle": (0, (4, 2)), "linewidth": 1} if len(curves) > 1 else {"linewidth": 1.5}
    for parameters, of_value, of_derivative, (value_label, derivative_label) in curves:
        line = Line(activation, x, parameters)
        value, derivative = line.computed("value"), line.computed("derivative")
        # The derivatives beside the default may have high peaks.
        counting = (value, derivative) if line.parameters == dict(activation.parameters) else (value,)
        finite = np.concatenate([one[np.isfinite(one)] for one in counting])
        lowest, highest = min(lowest, finite.min()), max(highest, finite.max())
        at_kinks = value[np.concatenate([jumps(value), jumps(derivative)])]
        most = max(most, 1.1 * abs(at_kinks).max(initial=0))
        axes.plot(*_with_gaps(x, value), color=of_value, linewidth=2, label=value_label)
        axes.plot(*_with_gaps(x, derivative), color=of_derivative, label=derivative_label, **dashed)
    lowest, highest = max(lowest, -most), min(highest, most)
    room = 0.06 * (highest - lowest)
    axes.set_xlim(x[0], x[-1])
    axes.set_ylim(lowest - room, highest + room)
    _set_title(axes, activation)
    axes.set_xlabel(formula := f"${activation.derivative_formula}$", fontsize=_fitting(formula, 9))
    axes.spines[["top", "right"]].set_visible(False)


def _set_title(axes: Any, activation: Activation) -> None:
    formula = f"${activation.formula}$"
    axes.set_title(f"{activation.name}\n{formula}", fontsize=_fitting(formula, 10))


def _fitting(text: str, size: float) -> float:
    """The size of the font, or a smaller one, with which a line fits its place."""
    from matplotlib.textpath import TextPath

    return float(min(size, size * WIDTH / TextPath((0, 0), text, size=size).get_extents().width))


def _with_gaps(x: Array, y: Array) -> tuple[Array, Array]:
    """The points of a curve, with a gap at each jump."""
    gaps = jumps(y)
    return np.insert(x, gaps, np.nan), np.insert(y, gaps, np.nan)


def draw_error(axes: Any, activation: Activation, dtype: str = "float32") -> None:
    """Draw the error of the value in ulp, for fastact and the libraries that are installed: the largest in each bin.

    The inputs go as far as exponentials do in the dtype, or as the domain.
    """
    per_bin = PER_BIN_OF_FLOAT64 if dtype == "float64" else PER_BIN
    low, high = limits(activation)
    if is_bounded := high - low < 2 * LEAST:
        edges = np.linspace(low, high, BINS + 1)
    else:
        edges = np.linspace(np.arcsinh(-tail(dtype)), np.arcsinh(tail(dtype)), BINS + 1)
    places = edges[:-1, None] + np.random.default_rng(0).random((BINS, per_bin)) * (edges[1] - edges[0])
    x = (places if is_bounded else np.sinh(places)).ravel()
    line = Line(activation, x.astype(named_dtype(dtype)))
    results = {"fastact": line.computed("value")} | {
        name: result for name in PEERS if (result := line.of_peer(name, "value")) is not None}  # fmt: skip
    errors = {name: line.errors("value", result) for name, result in results.items()}
    inside = ~np.isnan(results["fastact"])  # outside of its domain there is no error
    middles = x.reshape(BINS, per_bin).mean(axis=1)
    finite = [one[inside & np.isfinite(one)].max(initial=0) for one in errors.values()]
    bound = line.promised("value")
    is_wide = max(finite) > 16
    least, most = 0.1, 10 ** np.ceil(np.log10(max(*finite, 1)) + 0.3)
    for name, error in reversed(errors.items()):
        worst = error[inside].max(initial=0)
        drawn = np.where(inside, np.minimum(error, most), np.nan).reshape(BINS, per_bin)
        largest = np.fmax.reduce(drawn, axis=1)
        axes.plot(middles, np.maximum(largest, least) if is_wide else largest, color=OF_PEERS.get(name, VALUE),
                  linewidth=1.8 if name == "fastact" else 1, label=f"{name}: {_ulp(worst)}")  # fmt: skip
    if bound is not None:
        axes.axhline(bound, color="0.4", linewidth=0.8, linestyle=(0, (4, 2)), label=f"promised: {_ulp(bound)}")
    axes.set_xlim(middles[0], middles[-1])
    if not is_bounded:
        axes.set_xscale("asinh", linear_width=1)
        ticks = sorted([0, *(sign * tick for tick in (1, 10, 100) if tick < middles[-1] for sign in (-1, 1))])
        axes.set_xticks(ticks, [f"{tick}".replace("-", "−") for tick in ticks])
        axes.minorticks_off()
    if is_wide:
        axes.set_yscale("log")
        axes.set_ylim(least, most)
    else:
        axes.set_ylim(0, 1.6 * max(*finite, bound or 0, 0.5))
    axes.set_xlabel("$x$", fontsize=9)
    axes.set_ylabel("error of the value in ulp", fontsize=9)
    axes.spines[["top", "right"]].set_visible(False)
    *peers, own = axes.get_lines()[: len(results)]
    handles = [own, *reversed(peers), *axes.get_lines()[len(results) :]]
    axes.legend(handles=handles, frameon=False, fontsize=8, ncols=3, loc="lower center", bbox_to_anchor=(0.5, 1))
    axes.set_title(f"{activation.name}, {dtype}: the largest errors", fontsize=10, pad=10 + 13 * -(-len(handles) // 3))


def _ulp(error: float) -> str:
    if error < 10**4:
        return f"{error:.3g}" if error < 100 else f"{error:,.0f}"
    return f"{error:.1e}".replace("e+0", "e")


def draw_surfaces(axes: Any, activation: Activation) -> None:
    """Draw an activation of rows, or a gated one, over two inputs: its first output, and its derivative by the first.
    """
    line = np.linspace(-6, 6, 49)
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
    _set_title(axes, activation)
    names = ("$g$", "$u$") if isinstance(activation, Gated) else ("$x_1$", "$x_2$")
    axes.set_xlabel(names[0], fontsize=9)
    axes.set_ylabel(names[1], fontsize=9)
    axes.tick_params(labelsize=7)
    axes.view_init(elev=24, azim=-120)
