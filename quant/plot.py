"""pareto.png: accuracy against size and what was saved, of visited and uniform allocations."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from quant.files import write_bytes
from quant.objective import Objective
from quant.resources import Resource

if TYPE_CHECKING:
    from quant.outcome import Outcome
    from quant.request import Request

VISITED, UNIFORM, SEARCHED, LIMIT = "#8a94a6", "#2a6fbb", "#d1495b", "#3a3a3a"
DPI = 150
AXES = {
    Objective.ENERGY: (1e3, "array energy of one inference, nJ"),
    Objective.LATENCY: (1e3, "time of one inference, us"),
    Objective.CYCLES: (1, "cycles of one inference"),
}
"""Unit and name of the second axis; size has the first one already."""
LIMITED = {Objective.ENERGY: Resource.ENERGY, Objective.LATENCY: Resource.LATENCY}
"""What a limit on the second axis is one of."""


def plot_pareto(request: Request, outcome: Outcome, result: Mapping[str, Any], path: Path) -> None:
    """Draw validation accuracy, in percent, against relative size and against the objective.

    The objective is array energy, or the next cost that the table knows. Validation images serve
    for all points, so that visited and trained ones compare.

    Parameters
    ----------
    request : Request
        The targets.
    outcome : Outcome
        Visits and trained allocations.
    result : mapping
        The content of result.json, for the costs.
    path : Path
        PNG file to write.
    """
    objective = outcome.hardware.menu.objective
    panels = 2 if objective in AXES else 1
    figure = Figure(figsize=(5.5 * panels, 4.6), layout="constrained")
    FigureCanvasAgg(figure)
    drawn = figure.subplots(1, panels, sharey=True, squeeze=False)[0]
    left, last = drawn[0], drawn[-1]
    eight = _eight_bit_size(result)
    _panel(left, outcome, result, lambda cost: cost["size_bits"] / eight)
    if objective in AXES:
        unit, name = AXES[objective]
        _panel(last, outcome, result, lambda cost: cost[objective.value] / unit)
        last.set(xlabel=f"{name} ({outcome.hardware.table.name})")
    least = 100 * (outcome.float_validation - outcome.budget.max_drop)
    for axes in drawn:
        axes.axhline(least, color=LIMIT, linestyle="--", linewidth=1)
        axes.axhline(100 * outcome.float_validation, color=LIMIT, linestyle=":", linewidth=1)
        axes.grid(alpha=0.25)
        axes.margins(x=0.12)
        axes.spines[["top", "right"]].set_visible(False)
    limits = outcome.budget.limits
    if Resource.SIZE in limits:
        left.axvline(limits[Resource.SIZE] / eight, color=LIMIT, linestyle="--", linewidth=1)
    other = LIMITED.get(objective)
    if objective in AXES and other is not None and other in limits:
        last.axvline(limits[other] / AXES[objective][0], color=LIMIT, linestyle="--", linewidth=1)
    _note(left, 100 * outcome.float_validation, "float")
    _note(left, least, "accuracy target")
    left.set(
        xlabel="size of the weights, relative to 8 bit (dashed: limits)",
        ylabel="top-1 accuracy on validation images, %",
    )
    last.legend(loc="lower right", frameon=True)
    figure.suptitle(f"{request.model}, seed {request.seed}")
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=DPI, metadata={"Software": None})
    write_bytes(path, content.getvalue())


def _panel(axes: Axes, outcome: Outcome, result: Mapping[str, Any], place: Any) -> None:
    eight = _eight_bit_size(result)
    visited = [
        (
            place({**v, "size_bits": v["relative_size"] * eight}),
            100 * v["validation_accuracy"],
        )
        for v in result["visits"]
        if v["label"] != "final training"
    ]
    xs, ys = [x for x, _ in visited], [y for _, y in visited]
    axes.plot(xs, ys, color=VISITED, linewidth=0.8, alpha=0.6)
    axes.scatter(xs, ys, s=22, color=VISITED, label="visited, short training")
    uniform = [
        (place(result["cost"]["uniform"][bits]), 100 * top_1, bits)
        for bits, top_1 in result["validation_accuracy"]["uniform"].items()
    ]
    axes.scatter(
        [x for x, _, _ in uniform],
        [y for _, y, _ in uniform],
        s=48,
        marker="s",
        color=UNIFORM,
        label="uniform, full training",
        zorder=3,
    )
    for x, y, bits in uniform:
        axes.annotate(
            f"{bits} bit",
            (x, y),
            xytext=(-7, -3),
            textcoords="offset points",
            ha="right",
            fontsize=9,
            color=UNIFORM,
        )
    axes.scatter(
        [place(result["cost"]["searched"])],
        [100 * outcome.searched.validation],
        s=130,
        marker="*",
        color=SEARCHED,
        label="searched, full training",
        zorder=4,
    )


def _eight_bit_size(result: Mapping[str, Any]) -> float:
    """Bits of all weights at uniform 8 bit, which the hardware need not have."""
    return float(result["cost"]["searched"]["size_bits"] / result["relative_size"])


def _note(axes: Axes, y: float, text: str) -> None:
    """Write above a horizontal line, at the right border whatever the axis spans."""
    axes.annotate(
        text,
        (1, y),
        xycoords=axes.get_yaxis_transform(),
        xytext=(-4, 3),
        textcoords="offset points",
        ha="right",
        fontsize=8,
        color=LIMIT,
    )


def plot_front(
    points: Sequence[tuple[float, float]],
    resource: Resource,
    title: str,
    float_validation: float,
    path: Path,
) -> None:
    """Draw a front.

    Parameters
    ----------
    points : sequence of (float, float)
        Use of the resource, in its unit, and validation accuracy, a fraction.
    resource : Resource
        What the points are spread over.
    title : str
        Network, seed and hardware.
    float_validation : float
        Accuracy of the float network.
    path : Path
        PNG file to write.
    """
    figure = Figure(figsize=(5.5, 4.6), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    xs, ys = [x for x, _ in points], [100 * y for _, y in points]
    axes.plot(xs, ys, color=SEARCHED, marker="o", markersize=5, linewidth=1)
    axes.axhline(100 * float_validation, color=LIMIT, linestyle=":", linewidth=1)
    _note(axes, 100 * float_validation, "float")
    axes.set(
        xlabel=f"{resource.value}, {resource.unit}",
        ylabel="top-1 accuracy on validation images, %",
        title=title,
    )
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=DPI, metadata={"Software": None})
    write_bytes(path, content.getvalue())
