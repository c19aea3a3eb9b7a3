"""Pictures of arrays: area and energy by part."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from hw.files import write_bytes
from hw.precision import WeightMode
from synth.breakdown import Part
from synth.report import MODES

COLOURS = {
    Part.LANES: "#2a6fbb",
    Part.TREE: "#7fb2e5",
    Part.SHIFTER: "#d1495b",
    Part.ACCUMULATOR: "#edae49",
    Part.RESULTS: "#f5d491",
    Part.REGISTERS: "#5b8c5a",
    Part.RECODER: "#a44a8c",
    Part.EXCESS: "#cf9fc1",
    Part.CONTROL: "#3a3a3a",
    Part.DRIVERS: "#8a94a6",
    Part.CLOCK: "#cbd2dc",
}
DPI = 150
_MANY = 6


def plot_parts(kinds: Mapping[str, Any], path: Path, modes: Sequence[WeightMode] = MODES) -> None:
    """Draw the area, and the energy of a multiply-accumulate, of arrays as stacked bars of parts.

    Parameters
    ----------
    kinds : mapping of str to mapping
        `area_um2` and what `synth.parts.break_down` returns, by the arrays' names.
    path : Path
        PNG file to write.
    modes : sequence of WeightMode
        Whose energies are drawn.
    """
    bars = len(kinds) * (1 + len(modes))
    figure = Figure(figsize=(max(11, 0.75 * bars), 4.6), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2, width_ratios=(1, 0.6 * len(modes)))
    labels = list(kinds)
    per_mac = MODES[0].name
    _stack(
        left,
        labels,
        [
            {p: c["area_um2"] / e["macs_per_step"][per_mac] for p, c in e["parts"].items()}
            for e in kinds.values()
        ],
    )
    left.set(ylabel=f"area, um2 per MAC/cycle at {per_mac}")
    _stack(
        right,
        [f"{name}\n{mode.name}" for mode in modes for name in labels],
        [
            {p: c["fj_per_mac"][mode.name] for p, c in entry["parts"].items()}
            for mode in modes
            for entry in kinds.values()
        ],
    )
    right.set(ylabel="array energy per MAC, fJ")
    right.margins(x=0.02)
    handles, names = right.get_legend_handles_labels()
    figure.legend(handles[::-1], names[::-1], loc="outside right center", frameon=False, fontsize=8)
    save(figure, path)


def save(figure: Figure, path: Path) -> None:
    """Write a picture as PNG, the same for the same figure."""
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=DPI, metadata={"Software": None})
    write_bytes(path, content.getvalue())


def _stack(axes: Axes, labels: list[str], bars: list[dict[str, float]]) -> None:
    below = [0.0] * len(bars)
    for part, colour in COLOURS.items():
        heights = [bar.get(part.value, 0.0) for bar in bars]
        if any(heights):
            axes.bar(range(len(bars)), heights, 0.7, bottom=below, color=colour, label=part.value)
        below = [b + h for b, h in zip(below, heights, strict=True)]
    for index, total in enumerate(below):
        axes.annotate(
            f"{total:.0f}",
            (index, total),
            xytext=(0, 2),
            textcoords="offset points",
            ha="center",
            fontsize=8,
        )
    many = len(bars) > _MANY
    axes.set_xticks(
        range(len(bars)),
        [label.replace("\n", " ") if many else label for label in labels],
        fontsize=8,
        rotation=40 if many else 0,
        ha="right" if many else "center",
    )
    axes.grid(axis="y", alpha=0.25)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
