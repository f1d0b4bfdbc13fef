"""Timings as pictures."""

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fastact.comparison.race import Timing


def heat_map(panels: Mapping[str, Sequence[Timing]]) -> Any:
    """Draw the time of fastact over that of the fastest peer, for each title and the timings under it.

    A line is a call, a column a shape and a form, in the order of the timings. Timings without a peer are left out.

    Returns
    -------
    matplotlib.figure.Figure
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    compared = {title: [one for one in timings if one.ratio is not None] for title, timings in panels.items()}
    heights = [1 + 0.19 * len({one.work.call for one in timings}) for timings in compared.values()]
    figure = Figure(figsize=(9, 0.2 + sum(heights)), layout="constrained")
    places = figure.subplots(len(heights), squeeze=False, height_ratios=heights)[:, 0]
    for axes, (title, timings) in zip(places, compared.items(), strict=True):
        calls = list(dict.fromkeys(one.work.call for one in timings))
        columns = list(dict.fromkeys((one.work.shape, one.form) for one in timings))
        ratios = np.full((len(calls), len(columns)), np.nan)
        for one in timings:
            ratios[calls.index(one.work.call), columns.index((one.work.shape, one.form))] = one.ratio
        image = axes.imshow(np.log2(ratios), cmap=mpl.colormaps["RdBu_r"], vmin=-2, vmax=2, aspect="auto")
        for (line, column), ratio in np.ndenumerate(ratios):
            if not np.isnan(ratio):
                color = "black" if 0.4 < ratio < 2.5 else "white"
                axes.text(column, line, f"{ratio:.2f}", ha="center", va="center", fontsize=6, color=color)
        labels = ["\n× ".join(f"{n:,}" for n in shape) + f"\n{form}" for shape, form in columns]
        axes.set_yticks(range(len(calls)), calls, fontsize=6)
        axes.set_xticks(range(len(columns)), labels, fontsize=6)
        axes.set_title(title, fontsize=9)
    bar = figure.colorbar(image, ax=places, shrink=0.3, ticks=range(-2, 3))
    bar.ax.set_yticklabels(["¼", "½", "1", "2", "4"])
    return figure


def encoded(figure: Any, suffix: str, dpi: int = 100) -> bytes:
    """The content of a picture file with this suffix."""
    content = io.BytesIO()
    figure.savefig(content, format=suffix.removeprefix("."), dpi=dpi)
    return content.getvalue()
