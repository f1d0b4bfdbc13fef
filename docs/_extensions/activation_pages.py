"""Sphinx extension: a page for each activation, each loss and each adapter, made of the registry.

The pages and their pictures are written into docs/activations and docs/modules, which git ignores, before Sphinx reads
its sources. A picture is drawn again if the package or the figures are newer.
"""

import ast
import contextlib
import importlib
import importlib.util
import inspect
import io
import json
import math
import re
import sys
import tomllib
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path
from textwrap import indent
from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

import fastact
from fastact import Activation, Elementwise, Gated, RowReduction, Rowwise
from fastact.cli import COMMANDS, main
from fastact.commands import plot
from fastact.comparison.curves import JUDGED, family
from fastact.comparison.ulp import ELEMENTWISE, LOGITS, MODES, ROWWISE, ULP_OF_16_BITS
from fastact.comparison.work import ALL_DTYPES, FUNCTIONS, WITHOUT_TARGETS
from fastact.lookup import not_offered, spelt
from fastact.names import CONVENTIONS, NOT_OFFERED
from fastact.sigmoid_losses import LOSSES as SIGMOID_LOSSES

if TYPE_CHECKING:
    from sphinx.application import Sphinx

DOCS = Path(__file__).parent.parent
ROOT = DOCS.parent
sys.path += [str(ROOT / folder) for folder in ("benchmarks", "tests") if str(ROOT / folder) not in sys.path]

from facts import FACTS  # noqa: E402
from grid_results import File, Result, libraries  # noqa: E402

SPEEDS = DOCS / "speed.json"
ERRORS = ROOT / "benchmarks/accuracy.json"
INCLUDED = {"README": "index", "CONTRIBUTING": "contributing", "CHANGELOG": "changelog"}
"""Files beside docs/ that a page shows, and that page."""

KINDS: dict[str, type | tuple[type, ...]] = {
    "Elementwise": Elementwise, "Gated": Gated, "Of rows": (Rowwise, RowReduction),
}
OTHERS = "Losses and sampling"

WIDE, SMALL, SQUARE = (5.0, 3.0), (2.4, 1.6), (5.0, 4.4)  # inches: what a narrow screen has
OTHER_BARS = "#9aa5b1"
LONGEST = 12  # bars, in bars of fastact; longer ones are cut
BREAK = "\u200b"  # a space of no width, at which a browser may break the line


class Picture(NamedTuple):
    """What draws a picture, its size in inches, and the projection of its axes."""

    draw: Callable[[Any], None]
    size: tuple[float, float] = WIDE
    projection: str | None = None


class Page(NamedTuple):
    """The text of a page in reStructuredText, and its pictures by the names of their files."""

    text: str
    pictures: dict[str, Picture]


# ------------------------------------------------------------------------------------------------------ parts of a page


def heading(text: str, line: str = "-") -> str:
    return f"{text}\n{line * len(text)}"


def equation(formula: str) -> str:
    """A formula, each equation of which has a line: a narrow page has no room for two."""
    return gathered(re.split(r"(?<=[,;]) \\; (?=[^,;]*=)", formula))


def gathered(lines: list[str]) -> str:
    formula = r"\begin{gathered} " + r" \\ ".join(lines) + r" \end{gathered}" if lines[1:] else lines[0]
    return f".. math:: {formula}"


def image(name: str, description: str) -> str:
    return f".. image:: {name}.svg\n   :alt: {description}\n   :class: dark-light drawn"


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [".. list-table::", "   :header-rows: 1", "   :align: left", ""]
    for row in (header, *rows):
        lines += [f"   {'* -' if k == 0 else '  -'} {cell}".rstrip() for k, cell in enumerate(row)]
    return "\n".join(lines)


def code(words: object) -> str:
    return f"``{words}``"


def number(value: Any) -> str:
    return f"{float(value):.6g}".replace("inf", "∞").replace("nan", "NaN").replace("-", "−")


def missing(*modules: str) -> bool:
    """Whether examples that need these modules cannot be run here."""
    return any(importlib.util.find_spec(module) is None for module in modules)


def with_literals(text: str) -> str:
    """The docstring of a module, its indented paragraphs being code."""
    return re.sub(r"(?<!:):\n\n(?=    \S)", "::\n\n", text)


def stacked(text: str) -> str:
    """The text, a formula of several parts having a line for each, since a page is narrower than a terminal."""
    def lines(found: re.Match[str]) -> str:
        parts = re.split(r"\\q?quad\s", " ".join(found[1].split()))
        return gathered(parts) if parts[1:] else found[0]

    return re.sub(r"(?m)^\.\. math:: (.+(?:\n +.+)*)", lines, text)


def not_run(text: str) -> str:
    """The text, its examples being code that is not run."""
    return re.sub(r"(?m)^>>> (?:.+\n?)+", lambda lines: f".. code-block:: pycon\n\n{indent(lines[0], '   ')}", text)


def example(*lines: str) -> str:
    """The lines as a doctest, with what they print."""
    namespace = {"fastact": fastact, "np": np}
    shown = []
    for line in lines:
        shown.append(f">>> {line}")
        if re.match(r"[\w, ]+ = ", line):
            exec(line, namespace)
        else:
            shown.append(repr(eval(line, namespace)))
    return "\n".join(shown)


# ------------------------------------------------------------------------------------------------- pages of activations


def pages() -> dict[str, Page]:
    """Every generated page, by its path without a suffix."""
    found = {f"activations/{name}": page_of(name) for name in FUNCTIONS}
    found["activations/index"] = Page(_gallery(), {})
    found["activations/names"] = Page(names_elsewhere(), {})
    found["modules/capi"] = Page(_c_interface(), {})
    found["modules/command_line"] = Page(_command_line(), {})
    return found | {f"modules/{name}": Page(_module(name), {}) for name in adapters()}


def groups() -> dict[str, list[str]]:
    """The functions with a page, by kind."""
    found = {title: [name for name, f in fastact.activations.items() if isinstance(f, kind)]
             for title, kind in KINDS.items()}  # fmt: skip
    return found | {OTHERS: [name for name in FUNCTIONS if name not in fastact.activations]}


def _gallery() -> str:
    blocks = [heading("Activations and losses", "="),
              "Each has a page with its formula, pictures, special values, errors, speed, and its names elsewhere. "
              "The blue curve is the value, the orange one the derivative; of a loss, the loss and its gradient."]
    for title, names in groups().items():
        blocks.append(f".. toctree::\n   :hidden:\n   :caption: {title}\n\n" + "".join(f"   {n}\n" for n in names))
        cards = [".. grid:: 2 3 3 4", "   :gutter: 2", "   :class-container: gallery", ""]
        for name in names:
            cards += [f"   .. grid-item-card:: {name.replace('_', f'_{BREAK}')}", f"      :link: {name}",
                      "      :link-type: doc", "      :text-align: center", ""]  # fmt: skip
            if f"{name}-small" in page_of(name).pictures:
                cards += [f"      {line}" for line in image(f"{name}-small", f"curve of {name}").splitlines()] + [""]
            else:
                cards += [f"      {(inspect.getdoc(getattr(fastact, name)) or '').splitlines()[0]}", ""]
        blocks += [heading(title), "\n".join(cards)]
    return "\n\n".join(blocks) + "\n"


@cache
def page_of(name: str) -> Page:
    f = fastact.activations.get(name)
    blocks, pictures = _of_function(name) if f is None else _of_activation(f)
    text = "\n\n".join([heading(name, "="), ".. currentmodule:: fastact", *blocks])
    return Page(f"{text}\n", pictures)


def _of_activation(f: Activation) -> tuple[list[str], dict[str, Picture]]:
    pictures = _pictures(f)
    blocks = [f.summary, equation(f.formula), equation(f.derivative_formula),
              image(f.name, f"value and derivative of {f.name}")]  # fmt: skip
    if f"{f.name}-surface" in pictures:
        blocks += ["Over two inputs, the surface is the value, and the wires are the derivative in the first.",
                   image(f"{f.name}-surface", f"value and derivative of {f.name} over two inputs")]  # fmt: skip
    blocks += [heading("Example"), _example(f)]
    if f"{f.name}-family" in pictures:
        blocks += [heading("Parameters"), image(f"{f.name}-family", f"{f.name} with several parameters"),
                   *_learnt(f)]  # fmt: skip
    blocks += [*_special_values(f), *_errors(f)]
    if f"{f.name}-error" in pictures:
        blocks.append(image(f"{f.name}-error", f"error of {f.name} in ulp, beside other libraries"))
    if f"{f.name}-speed" in pictures:
        blocks += [heading("Speed"), _speed_in_words(), image(f"{f.name}-speed", f"time of {f.name} in each library")]
    blocks += [heading("In other libraries"), _names_of(f.name), heading("Reference"),
               f"The methods are those of :class:`fastact.{type(f).__name__}`.",
               f".. autofunction:: fastact.{f.name}"]  # fmt: skip
    return blocks, pictures


def _pictures(f: Activation) -> dict[str, Picture]:
    name = f.name
    found = {name: Picture(lambda axes: _untitled(axes, plot.draw_curves, f)),
             f"{name}-small": Picture(lambda axes: _small(axes, plot.draw_curves, f), SMALL)}  # fmt: skip
    if not isinstance(f, Elementwise):
        found[f"{name}-surface"] = Picture(lambda axes: _untitled(axes, plot.draw_surfaces, f), SQUARE, "3d")
    if family(f):
        found[f"{name}-family"] = Picture(lambda axes: _untitled(axes, plot.draw_family, f))
    if name in JUDGED:
        found[f"{name}-error"] = Picture(lambda axes: _untitled(axes, plot.draw_error, f))
    if measured := [result for result in speeds().results if result.work.function == name]:
        lines = sum(1 + len(result.nanoseconds) for result in measured)
        found[f"{name}-speed"] = Picture(lambda axes: _draw_speed(axes, measured), (WIDE[0], 0.5 + 0.22 * lines))
    return found


def _untitled(axes: Any, draw: Callable[[Any, Any], None], f: Activation) -> None:
    """Draw without the name and the formulas, which the page has."""
    draw(axes, f)
    axes.set_title("")
    if f.derivative_formula in axes.get_xlabel():
        axes.set_xlabel("$x$")
    _place_legend(axes)


def _place_legend(axes: Any) -> None:
    """Move the legend above the curves: inside it would cover those of a family."""
    if legend := axes.get_legend():
        axes.legend(legend.legend_handles, [text.get_text() for text in legend.get_texts()], frameon=False, fontsize=8,
                    ncols=3, loc="lower center", bbox_to_anchor=(0.5, 1))  # fmt: skip


def _small(axes: Any, draw: Callable[[Any, Any], None], f: Activation) -> None:
    draw(axes, f)
    axes.set(title="", xlabel="", ylabel="", xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
    if legend := axes.get_legend():
        legend.remove()


def _example(f: Activation) -> str:
    name = f"fastact.{f.name}"
    if isinstance(f, Elementwise):
        low, high = FACTS[f.name].domain
        x = [-2.0, -0.5, 0.0, 1.5] if low == -math.inf else [low + (high - low) * t for t in (0.1, 0.3, 0.5, 0.9)]
        lines = [f"x = np.array({x})", "dy = np.array([1.0, 2.0, 3.0, 4.0])", f"{name}(x)", f"{name}.derivative(x)",
                 f"{name}.backward(dy, x)"]  # fmt: skip
        if "backward_from_output" in f.ufuncs:
            lines.append(f"{name}.backward(dy, output={name}(x))")
        lines += [f"{name}(x, {one}={_another(f, one):g})" for one in list(f.parameters)[:1]]
        lines += [f"{name}.backward_parameter(dy, x, name={one!r})" for one in f.learnt[:1]]
    elif isinstance(f, Gated):
        lines = ["a = np.array([-1.0, 0.5, 2.0])", "b = np.array([3.0, -1.0, 0.25])", f"{name}(a, b)",
                 f"da, db = {name}.backward(np.ones(3), a, b)", "da", "db",
                 f"{name}(np.concatenate([a, b]))"]  # fmt: skip
    elif isinstance(f, Rowwise):
        lines = ["x = np.array([[1.0, 2.0, 0.5]])", "dy = np.array([[1.0, 0.0, -1.0]])", f"y = {name}(x)", "y",
                 f"{name}.backward(dy, output=y)", f"{name}.jacobian(x[0])", f"{name}(x, lengths=[2])"]  # fmt: skip
    else:
        lines = ["x = np.array([[1.0, 2.0, 0.5], [1000.0, 0.0, 0.0]])", f"{name}(x)",
                 f"{name}.backward(np.ones(2), x)", f"{name}(x, axis=None)"]  # fmt: skip
    return example(*lines)


def _another(f: Elementwise, name: str) -> float:
    """Another number than the default, of the parameter's domain."""
    default = f.parameters[name]
    return default + 0.5 if default + 0.5 <= f.parameter_domain[name][1] else default - 0.75


def _learnt(f: Activation) -> Iterator[str]:
    if learnt := getattr(f, "learnt", ()):
        names = ", ".join(map(code, learnt))
        yield f"The gradient in {names} is that of :meth:`fastact.{type(f).__name__}.backward_parameter`."


def _special_values(f: Activation) -> Iterator[str]:
    if isinstance(f, Elementwise):
        points = np.array([-np.inf, -0.0, 0.0, np.inf, np.nan])
        rows = zip(points, f(points), f.derivative(points), strict=True)
        yield heading("Special values")
        yield table(["x", "value", "derivative"], [list(map(number, row)) for row in rows])
        if kinks := sorted(FACTS[f.name].kinks):
            yield heading("At kinks")
            yield ("The derivative at a kink is the right-hand one. ``fastact.get`` with ``convention=`` has that of "
                   "another library, as ``fastact.torch`` has PyTorch's.")
            header = ["x", "derivative below", "derivative at x", "from the output"]
            rows_at = [list(_at_kink(f, kink)) for kink in kinks]
            yield table(header[: len(rows_at[0])], rows_at)
    elif isinstance(f, Rowwise | RowReduction):
        rows_of = [[0, 0], [1000, 0], [-math.inf, 0], [-math.inf, -math.inf], [math.inf, 0], [math.nan, 0]]
        yield heading("Special values")
        yield table(["row", "value"], [
            [", ".join(map(number, row)), ", ".join(map(number, np.atleast_1d(f(np.array(row, float)))))]
            for row in rows_of])  # fmt: skip


def _at_kink(f: Elementwise, kink: float) -> Iterator[str]:
    yield number(kink)
    yield number(f.derivative(math.nextafter(kink, -math.inf)))
    yield number(f.derivative(kink))
    if "backward_from_output" in f.ufuncs:
        yield number(f.backward(1.0, output=f(kink)))


def _errors(f: Activation) -> Iterator[str]:
    if not (promised := getattr(f, "ulp", None)):
        return
    yield heading("Accuracy")
    yield (f"The largest errors in units in the last place (ulp): those promised of float32 and float64, where float16 "
           f"and bfloat16 have {ULP_OF_16_BITS}, and those measured (:doc:`/accuracy`)."
           if f.name in (*ELEMENTWISE, *ROWWISE) else
           "The largest error that is promised of float32 and float64, in units in the last place (ulp)"
           f"{' of the largest entry of the row' * isinstance(f, Rowwise)}.")  # fmt: skip
    if f.name in ELEMENTWISE:
        yield table(["", "promised", *ALL_DTYPES],
                    [[mode.replace("_", " "), number(bound), *_measured(f.name, mode)]
                     for mode, bound in promised.items()])  # fmt: skip
    elif f.name in ROWWISE:
        yield table(["logits", "promised", *ALL_DTYPES],
                    [[logits, number(promised["value"]), *_measured(f.name, "value", logits)]
                     for logits in LOGITS])  # fmt: skip
    else:
        yield table(["", "promised"], [[mode.replace("_", " "), number(bound)] for mode, bound in promised.items()])
    for mode in MODES:
        if interval := getattr(f, f"{mode}_zero", None):
            low, high = map(number, interval)
            yield f"Between {low} and {high}, where the {mode} crosses 0, the unit is that of 1/4."


def _measured(*task: str) -> list[str]:
    function, mode, logits = (*task, "")[:3]
    found = (largest_errors().get((function, mode, dtype, logits)) for dtype in ALL_DTYPES)
    return ["" if error is None else f"{error:.3f}" for error in found]


@cache
def largest_errors() -> dict[tuple[str, ...], float]:
    """The largest error of each function, mode, dtype and kind of logits, over the instruction sets."""
    found: dict[tuple[str, ...], float] = {}
    for record in json.loads(ERRORS.read_text(encoding="utf-8"))["figures"]:
        key = tuple(record[name] for name in ("function", "mode", "dtype", "logits"))
        found[key] = max(found.get(key, 0.0), float(record["max_ulp"]))
    return found


# ---------------------------------------------------------------------------------------------------------------- speed


@cache
def speeds() -> File:
    return File(SPEEDS)


def _speed_in_words() -> str:
    results = speeds().results
    elements, rows = ({r.work.shape for r in results if r.work.is_rowwise is kind} for kind in (False, True))
    shapes = [f"{n:,} numbers" for (n,) in sorted(elements)] + [f"{n:,} rows of {m:,}" for n, m in sorted(rows)]
    return (f"Nanoseconds per element, the best of many interleaved rounds: {results[0].work.dtype}, "
            f"{' or '.join(shapes)}, a new array for each result, one thread, {speeds().about['CPU']}, "
            f"{results[0].isa}; {libraries(speeds())}. :doc:`/performance` has other sizes and dtypes.")  # fmt: skip


def _draw_speed(axes: Any, measured: Sequence[Result]) -> None:
    """A bar for each library, the fastest first, under each call."""
    lines: list[tuple[str, float | None]] = []
    for result in measured:
        lines.append((result.work.call, None))
        lines += sorted(result.nanoseconds.items(), key=lambda item: item[1])
    longest = LONGEST * max(result.nanoseconds["fastact"] for result in measured)
    for line, (label, time) in enumerate(lines):
        if time is not None:
            end = min(time, longest)
            axes.barh(line, end, color=plot.VALUE if label == "fastact" else OTHER_BARS, height=0.7)
            axes.annotate(f"{'→ ' * (end < time)}{time:.{1 if time >= 10 else 2}f}", (end, line), (3, 0),
                          textcoords="offset points", va="center", fontsize=8)  # fmt: skip
    axes.set_yticks(range(len(lines)), [label for label, _ in lines], fontsize=8)
    for text, (_, time) in zip(axes.get_yticklabels(), lines, strict=True):
        text.set_fontweight("bold" if time is None else "normal")
    axes.tick_params(left=False, labelsize=8)
    axes.set_ylim(len(lines) - 0.4, -0.6)
    axes.margins(x=0.1)
    axes.set_xlabel("ns per element", fontsize=8)
    axes.spines[["top", "right", "left"]].set_visible(False)


# ------------------------------------------------------------------------------------------------------ other libraries


def _names_of(name: str) -> str:
    rows = []
    for library in CONVENTIONS:
        by_options: dict[str, list[str]] = {}
        for word, (ours, options) in spelt(library).items():
            if ours == name:
                by_options.setdefault(_in_words(options), []).append(word)
        rows += [[library, ", ".join(map(code, words)), options] for options, words in by_options.items()]
    if not rows:
        return "None of the libraries of :doc:`names` has it."
    if not any(options for *_, options in rows):
        rows = [row[:2] for row in rows]
    return table(["library", "names", "with"][: len(rows[0])], rows) + "\n\n``fastact.get`` accepts them: :doc:`names`."


def _in_words(options: Any) -> str:
    return ", ".join(code(f"{key}={value:.4g}" if isinstance(value, float) else f"{key}={value!r}")
                     for key, value in options.items())  # fmt: skip


def names_elsewhere() -> str:
    blocks = [heading("Names in other libraries", "="),
              "``fastact.get`` accepts the names below. With ``convention=`` the defaults of that library apply, and a "
              "name that has several meanings has the one of that library.",
              example("fastact.get('gelu_new') is fastact.gelu_tanh",
                      "fastact.get('leaky_relu', convention='keras').parameters['negative_slope']"),
              "With ``convention=`` derivatives at kinks are the library's, else the right-hand ones."]  # fmt: skip
    for library, what in CONVENTIONS.items():
        rows = [[code(word), f":doc:`{name}`", _in_words(options)] for word, (name, options) in spelt(library).items()]
        blocks += [heading(library), f"{what[0].upper()}{what[1:]}.", table(["name", "here", "with"], rows)]
        by_reason: dict[str, list[str]] = {}
        for word, reason in not_offered(library).items():
            by_reason.setdefault(reason, []).append(code(word))
        if by_reason:
            blocks += ["What ``get`` refuses:",
                       table(["names", "reason"], [[", ".join(words), _with_code(reason)]
                                                   for reason, words in by_reason.items()])]  # fmt: skip
    return "\n\n".join(blocks) + "\n"


def _with_code(reason: str) -> str:
    """A reason of `NOT_OFFERED`, what it accepts being code."""
    return re.sub(r"accepted (is|are) ((?:fastact|np)\..*\))", r"accepted \1 ``\2``", reason)


# -------------------------------------------------------------------------------------------------- losses and sampling


def _of_function(name: str) -> tuple[list[str], dict[str, Picture]]:
    f = getattr(fastact, name)
    summary, _, _ = (inspect.getdoc(f) or "").partition("\n\nParameters\n")
    blocks, pictures = [stacked(summary)], {}
    if name != "sample":
        pictures = {name: Picture(lambda axes: _draw_loss(axes, f)),
                    f"{name}-small": Picture(lambda axes: _small(axes, _draw_loss, f), SMALL)}  # fmt: skip
        what = "the logit" if name in SIGMOID_LOSSES else "the first of two logits; the other is 0"
        blocks += [image(name, f"{name} and its gradient"), f"In the picture, x is {what}."]
    blocks += [heading("Example"), _example_of_function(name)]
    rows = []
    for reason, row in NOT_OFFERED.items():
        if f"fastact.{name}(" in reason:
            rows += [[library, ", ".join(map(code, words.split()))] for library, words in row.items()]
    if rows:
        blocks += [heading("In other libraries"), table(["library", "names"], rows)]
    blocks += [heading("Reference"), f".. autofunction:: fastact.{name}"]
    if hasattr(f, "gradient_and_hessian"):
        blocks.append(f".. autofunction:: fastact::{name}.gradient_and_hessian")
    return blocks, pictures


def _arguments(name: str) -> tuple[str, ...]:
    """The arguments of an example."""
    second = list(inspect.signature(getattr(fastact, name)).parameters)[1]
    if name in SIGMOID_LOSSES:
        return "[-1.0, 0.5, 3.0]", "[0, 1, 1]"
    others = {"rng": "np.random.default_rng(0)", "labels_or_probabilities": "[1]", "targets": "[[0.0, 1.0, 0.0]]",
              "target_logits": "[[0.0, 2.0, 1.0]]"}  # fmt: skip
    return ("[[1.0, 2.0, 0.5]]", *([others[second]] if second in others else []))


def _example_of_function(name: str) -> str:
    call = f"fastact.{name}({', '.join(_arguments(name))})"
    return example(call) if name == "sample" else example(f"loss, gradient = {call}", "float(loss)", "gradient")


def _draw_loss(axes: Any, f: Any) -> None:
    """The loss and its gradient over a logit."""
    x = np.linspace(-6, 6, 601)
    axes.axhline(0, color="0.85", linewidth=0.8)
    axes.axvline(0, color="0.85", linewidth=0.8)
    for (target, (loss, gradient)), style in zip(_along_a_logit(f, x).items(), ("-", "--"), strict=False):
        axes.plot(x, loss, style, color=plot.VALUE, linewidth=2, label=f"loss{target}")
        axes.plot(x, gradient, style, color=plot.DERIVATIVE, label=f"gradient{target}")
    axes.set_xlabel("$x$", fontsize=9)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend()
    _place_legend(axes)


def _along_a_logit(f: Any, x: Any) -> dict[str, tuple[Any, Any]]:
    if f.__name__ in SIGMOID_LOSSES:
        return {f", target {target:g}": f(x, np.full_like(x, target), "none") for target in (1.0, 0.0)}
    rows = np.stack([x, np.zeros_like(x)], axis=-1)
    right = np.broadcast_to([1.0, 0.0], rows.shape)
    targets = () if f.__name__ in WITHOUT_TARGETS else (
        np.zeros_like(rows) if "target_logits" in inspect.signature(f).parameters else right,)  # fmt: skip
    loss, gradient = f(rows, *targets, reduction="none")
    return {"": (loss, gradient[:, 0])}


# ------------------------------------------------------------------------------------------------------------- adapters


def adapters() -> list[str]:
    """The modules for other libraries: scipy_special, and those that have an extra of their name."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    return ["scipy_special", *(name for name in extras if importlib.util.find_spec(f"fastact.{name}"))]


def _module(name: str) -> str:
    full = f"fastact.{name}"
    try:
        blocks = [f".. automodule:: {full}", *_members(importlib.import_module(full))]
    except ImportError as error:
        spec = importlib.util.find_spec(full)
        assert spec and spec.origin
        described = ast.get_docstring(ast.parse(Path(spec.origin).read_text(encoding="utf-8"))) or ""
        blocks = [not_run(with_literals(described)),
                  f"This page was built without {error.name}; ``help({full})`` shows the reference."]  # fmt: skip
    return "\n\n".join([heading(full, "="), *blocks]) + "\n"


def _members(module: ModuleType) -> Iterator[str]:
    own = [name for name, thing in vars(module).items()
           if not name.startswith("_") and getattr(thing, "__module__", "") == module.__name__]  # fmt: skip
    for name in getattr(module, "__all__", own):
        thing, full = getattr(module, name), f"{module.__name__}.{name}"
        if isinstance(thing, ModuleType):
            yield heading(full)
            yield f".. automodule:: {full}"
            yield from _members(thing)
        elif inspect.isclass(thing):
            yield f".. autoclass:: {full}"
        elif callable(thing):
            yield f".. autofunction:: {full}"


def _c_interface() -> str:
    return "\n\n".join([
        heading("fastact.capi", "="),
        "The functions on contiguous memory, without the GIL, for Cython and C. This is ``capi.pxd``, which is "
        "installed with the package; ``examples/cython_loop`` is a package that uses it.",
        ".. literalinclude:: ../../fastact/capi.pxd\n   :language: cython",
    ]) + "\n"  # fmt: skip


def _command_line() -> str:
    blocks = [heading("Command line", "="), table(["command", "what it does"], [
        [code(f"fastact {name}"), what] for name, what in COMMANDS.items()])]  # fmt: skip
    for name in COMMANDS:
        with contextlib.redirect_stdout(io.StringIO()) as printed, contextlib.suppress(SystemExit):
            main([name, "--help"])
        blocks += [heading(f"fastact {name}"), ".. code-block:: none",
                   "\n".join(f"   {line}".rstrip() for line in printed.getvalue().splitlines())]  # fmt: skip
    return "\n\n".join(blocks) + "\n"


# --------------------------------------------------------------------------------------------------------------- Sphinx


def write_pages(app: "Sphinx") -> None:
    """Write the pages and their pictures, and remove those of functions that are no more."""
    written: set[Path] = set()
    for path, page in pages().items():
        file = DOCS / f"{path}.rst"
        file.parent.mkdir(exist_ok=True)
        if not file.exists() or file.read_text(encoding="utf-8") != page.text:
            file.write_text(page.text, encoding="utf-8")
        written.add(file)
        for name, picture in page.pictures.items():
            written.add(target := file.with_name(f"{name}.svg"))
            if not target.exists() or target.stat().st_mtime < newest():
                _draw(picture, target)
    for folder in {file.parent for file in written}:
        for left in set(folder.iterdir()) - written:
            left.unlink()


@cache
def newest() -> float:
    """When what the pictures show was last changed."""
    package = Path(fastact.__file__).parent
    files = [Path(__file__), SPEEDS, *package.rglob("*.py"), *package.rglob("*.so"), *package.rglob("*.pyd")]
    return max(file.stat().st_mtime for file in files)


def _draw(picture: Picture, target: Path) -> None:
    import matplotlib as mpl
    from matplotlib.figure import Figure

    figure = Figure(figsize=picture.size, layout="constrained")
    axes = figure.add_subplot(projection=picture.projection)
    picture.draw(axes)
    if picture.projection == "3d":  # thousands of facets
        for artist in axes.collections:
            artist.set_rasterized(True)
    with mpl.rc_context({"svg.hashsalt": target.stem}):
        figure.savefig(target, dpi=150, transparent=True, metadata={"Date": None})


def relink(text: str) -> str:
    """Turn the links of a page as the repository has it into those of the site."""
    text = re.sub(rf"\]\((?:\.\./|docs/)?({'|'.join(INCLUDED)})\.md", lambda m: f"]({INCLUDED[m[1]]}.md", text)
    return text.replace("](docs/", "](").replace("](fastact/capi.pxd)", "](modules/capi.rst)")


def link_functions(text: str) -> str:
    """Link the functions that a table names in its second column to their pages."""
    def linked(name: re.Match[str]) -> str:
        return f"[{name[0]}](activations/{name[1]}.rst)" if name[1] in FUNCTIONS else name[0]

    return re.sub(r"(?m)^\|[^|]*\|[^|]*\|", lambda cells: re.sub(r"`(\w+)`", linked, cells[0]), text)


def on_source(app: "Sphinx", page: str, source: list[str]) -> None:
    if app.env.doc2path(page).suffix == ".md":
        source[0] = relink(source[0])


def on_include(app: "Sphinx", path: Path, page: str, source: list[str]) -> None:
    source[0] = relink(source[0])
    if page == INCLUDED["README"]:
        source[0] = link_functions(source[0])


def on_docstring(app: "Sphinx", what: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
    """Leave out of a docstring what the page or the signature says; make a list of the calls under See Also."""
    if name.removeprefix("fastact.") in FUNCTIONS and "Parameters" in lines:
        del lines[: lines.index("Parameters")]
    if what == "module":
        lines[:] = with_literals("\n".join(lines)).splitlines()
    lines[:] = stacked("\n".join(lines)).splitlines()
    if described := re.fullmatch(r"\w+\(.*\): (.*)", lines[0] if lines else ""):
        lines[0] = described[1].capitalize()
    lines[:] = [re.sub(r"^(\w\S*\(.*\)) : (.+)$", r"* ``\1``: \2", line) for line in lines]


def setup(app: "Sphinx") -> dict[str, Any]:
    """Connect the events."""
    app.connect("builder-inited", write_pages)
    app.connect("source-read", on_source)
    app.connect("include-read", on_include)
    app.connect("autodoc-process-docstring", on_docstring, priority=400)  # before napoleon
    return {"parallel_read_safe": True, "parallel_write_safe": True}
