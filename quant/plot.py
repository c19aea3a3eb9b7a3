"""pareto.png: accuracy against size and energy, of visited and uniform allocations."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from quant.files import write_bytes

if TYPE_CHECKING:
    from quant.search import Request
    from quant.session import Outcome

VISITED, UNIFORM, SEARCHED, LIMIT = "#8a94a6", "#2a6fbb", "#d1495b", "#3a3a3a"
DPI = 150


def plot_pareto(request: Request, outcome: Outcome, result: Mapping[str, Any], path: Path) -> None:
    """Draw validation accuracy, in percent, against relative size and against array energy.

    Validation images serve for all points, so that visited and trained ones compare.

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
    figure = Figure(figsize=(11, 4.6), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2, sharey=True)
    eight = result["cost"]["uniform"]["8"]["size_bits"]
    _panel(left, outcome, result, lambda cost: cost["size_bits"] / eight)
    _panel(right, outcome, result, lambda cost: cost["energy_pj"] / 1e3)
    least = 100 * (outcome.float_validation - request.budget.max_drop)
    for axes in (left, right):
        axes.axhline(least, color=LIMIT, linestyle="--", linewidth=1)
        axes.axhline(100 * outcome.float_validation, color=LIMIT, linestyle=":", linewidth=1)
        axes.grid(alpha=0.25)
        axes.margins(x=0.12)
        axes.spines[["top", "right"]].set_visible(False)
    left.axvline(request.budget.max_size, color=LIMIT, linestyle="--", linewidth=1)
    _note(left, 1, 100 * outcome.float_validation, "float", "right")
    _note(left, 1, least, "accuracy target", "right")
    left.set(
        xlabel="size of the weights, relative to 8 bit (dashed: target)",
        ylabel="top-1 accuracy on validation images, %",
    )
    right.set(xlabel=f"array energy of one inference, nJ ({request.table.name})")
    right.legend(loc="lower right", frameon=True)
    figure.suptitle(f"{request.model}, seed {request.seed}")
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=DPI, metadata={"Software": None})
    write_bytes(path, content.getvalue())


def _panel(axes: Axes, outcome: Outcome, result: Mapping[str, Any], place: Any) -> None:
    eight = result["cost"]["uniform"]["8"]["size_bits"]
    visited = [
        (
            place({"size_bits": v["relative_size"] * eight, "energy_pj": v["energy_pj"]}),
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


def _note(axes: Axes, x: float, y: float, text: str, align: Any) -> None:
    axes.annotate(
        text, (x, y), xytext=(0, 3), textcoords="offset points", ha=align, fontsize=8, color=LIMIT
    )
