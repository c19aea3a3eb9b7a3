"""Picture of a comparison: the netlists of every kind's PE, and energy against weight bits."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from synth.plot_parts import save
from synth.report import MODES

COLOURS = {
    "booth_digit": "#5b8c5a",
    "bit_pair": "#d1495b",
    "radix4_digit": "#a44a8c",
    "bit_plane": "#edae49",
    "digit_planes": "#00798c",
    "shift_add": "#8a94a6",
    "int8_mac": "#3a3a3a",
    "int8_dot": "#2a6fbb",
}
_TICKS = (200, 300, 400, 500, 700, 1000, 2000, 4000)


def plot_front(document: Mapping[str, Any], path: Path) -> None:
    """Draw area against energy and period of PEs, and energy per MAC against weight bits.

    Parameters
    ----------
    document : mapping
        The content of compare.json.
    path : Path
        PNG file to write.
    """
    figure = Figure(figsize=(13, 4.6), layout="constrained")
    FigureCanvasAgg(figure)
    energy, period, bits = figure.subplots(1, 3)
    for kind, rows in document["fronts"].items():
        colour = COLOURS[kind]
        measured = [row for row in rows if "fj_per_product" in row]
        areas = [row["um2_per_product"] for row in measured]
        energy.scatter(areas, [row["fj_per_product"] for row in measured], s=14, color=colour)
        period.scatter(
            [row["um2_per_product"] for row in rows],
            [row["min_period_ns"] for row in rows],
            s=14,
            color=colour,
            label=kind,
        )
        figures = document["kinds"][kind]["fj_per_mac"]
        bits.plot(
            [mode.bits for mode in MODES],
            [figures[mode.name] for mode in MODES],
            marker="o",
            markersize=4,
            color=colour,
        )
    period.axhline(document["clock_period_ns"], color="#3a3a3a", linestyle="--", linewidth=1)
    energy.set(
        xlabel="PE area, um2 per product a cycle at 8 bit", ylabel="PE energy, fJ per product"
    )
    period.set(xlabel="PE area, um2 per product a cycle at 8 bit", ylabel="minimum period, ns")
    bits.set(
        xlabel="weight bits", ylabel="array energy, fJ per MAC", xticks=[m.bits for m in MODES]
    )
    for axes in (energy, period):
        axes.set_xscale("log")
        axes.set_xticks(_TICKS[3:7], [str(tick) for tick in _TICKS[3:7]])
        axes.xaxis.set_minor_formatter(NullFormatter())
    for axes in (energy, bits):
        axes.set_yscale("log")
        axes.set_yticks(_TICKS, [str(tick) for tick in _TICKS])
        axes.yaxis.set_minor_formatter(NullFormatter())
    period.annotate(
        "clock",
        (1, document["clock_period_ns"]),
        xycoords=("axes fraction", "data"),
        xytext=(-2, 3),
        textcoords="offset points",
        ha="right",
        fontsize=8,
    )
    for axes in (energy, period, bits):
        axes.grid(alpha=0.25, which="both")
        axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside right center", frameon=False, fontsize=8)
    save(figure, path)
