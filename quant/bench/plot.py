"""bench-search-MODEL.png: accuracy against size, energy and latency, untrained and trained."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from quant.bench.catalogue import HAND
from quant.files import write_bytes

Rows = Sequence[Mapping[str, Any]]
AXES = (
    ("size_bits", 8e3, "size of the weights, kB"),
    ("energy_pj", 1e3, "array energy of one inference, nJ"),
    ("latency_ns", 1e3, "time of one inference, us"),
)
UNIFORM = "uniform"
STYLES = {
    "auto": ("#d1495b", "*", "-"),
    "auto 1pt": ("#d1495b", "*", ":"),
    "sigmaquant 1pt": ("#edae49", "o", "-"),
    "milp kl": ("#00798c", "v", ":"),
    "milp hessian": ("#30638e", "<", ":"),
    "milp fisher": ("#30638e", ">", ":"),
    "greedy": ("#5f8a3c", "^", "-"),
    "mct": ("#7b4b94", "D", "--"),
    "mct-hessian": ("#7b4b94", "d", ":"),
    "modelopt": ("#3a3a3a", "P", "--"),
    "modelopt-kl": ("#3a3a3a", "X", ":"),
    HAND: ("#a0673a", "h", "--"),
    UNIFORM: ("#8a94a6", "s", "-"),
}
"""Colour, marker and line of what is drawn; other rows are in the tables only."""
LEAST_SHOWN = 10.0
"""Points below the best that the axis of accuracy spans at most."""
DPI = 150


def plot(rows: Rows, model: str, path: Path) -> None:
    """Draw the means of a network's rows, spreads as bars.

    Parameters
    ----------
    rows : sequence of mapping
        As from `quant.bench.summary.summarise`.
    model : str
        The network.
    path : Path
        PNG file to write.
    """
    mine = [row for row in rows if row["model"] == model]
    figure = Figure(figsize=(15, 9), layout="constrained")
    FigureCanvasAgg(figure)
    drawn = figure.subplots(2, len(AXES), squeeze=False)
    for line, trains in zip(drawn, (False, True), strict=True):
        part = [row for row in mine if row["trains"] is trains]
        for axes, (name, unit, label) in zip(line, AXES, strict=True):
            _panel(axes, part, name, unit)
            axes.set(xlabel=label, title="QAT" if trains else "PTQ only")
        line[0].set_ylabel("top-1 accuracy on test images, %")
    entries = [axes.get_legend_handles_labels() for axes in drawn[:, 0]]
    named = {
        label: h for handles, labels in entries for h, label in zip(handles, labels, strict=True)
    }
    shown = {style: named[style] for style in STYLES if style in named}
    figure.legend(shown.values(), shown.keys(), loc="outside right upper", frameon=False)
    figure.suptitle(model)
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=DPI, metadata={"Software": None})
    write_bytes(path, content.getvalue())


def _panel(axes: Axes, rows: Rows, name: str, unit: float) -> None:
    best = 0.0
    for style, (colour, marker, dashes) in STYLES.items():
        points = sorted(
            (row[name]["mean"] / unit, 100 * row["accuracy"]["mean"], _bar(row))
            for row in rows
            if name in row and style == _style(row["way"])
        )
        if not points:
            continue
        best = max(best, *(y for _, y, _ in points))
        axes.errorbar(
            [x for x, _, _ in points],
            [y for _, y, _ in points],
            yerr=[bar for _, _, bar in points],
            color=colour,
            marker=marker,
            linestyle=dashes,
            linewidth=1,
            markersize=8 if style == "auto" else 5,
            capsize=2,
            label=style,
            zorder=3 if style == "auto" else 2,
        )
    if best:
        axes.set_ylim(max(axes.get_ylim()[0], best - LEAST_SHOWN), best + 0.5)
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)


def _style(name: str) -> str:
    """Name of a way's style: one for all uniforms."""
    return UNIFORM if name.startswith(UNIFORM) else name


def _bar(row: Mapping[str, Any]) -> float:
    spread = row["accuracy"]["spread"]
    return 0.0 if spread is None else 100 * spread
