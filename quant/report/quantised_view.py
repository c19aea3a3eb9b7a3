"""A network quantised without a search (`quant.ptq`): recipe, figures, errors of the layers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from quant.report import quantities as units
from quant.report.bars import Bar, BarChart, Segment, bar_chart
from quant.report.quantised import Quantised, QuantisedLayer
from quant.report.quantities import one, percent, points, ratio
from quant.report.summary import KeyFigure
from quant.report.table import Cell, Table, words

NEAREST = "nearest"
"""Of the methods, the one that optimises nothing."""
RECIPE = {
    "method": "integers of weights",
    "scheme": "steps of weights, shared",
    "narrow": "most negative integer left out",
    "steps": "steps of weights, chosen",
    "act_bits": "bits of activations",
    "calibration": "ranges of activations",
    "norms": "batch norms",
    "bias_correction": "bias correction",
    "sequential": "statistics behind quantised layers",
}
"""Choices of `quant.ptq.recipe.Recipe`, in words; others are shown by their own names."""
FLOAT = "float"


@dataclass(frozen=True, kw_only=True)
class QuantisedView:
    """What the page shows of a run of `quant.ptq`.

    Parameters
    ----------
    figures : sequence of KeyFigure
        Accuracy, sizes, time.
    recipe : sequence of (str, str)
        Every choice and its value.
    size_charts, error_charts : sequence of BarChart
        By layer.
    layers : Table
        All figures of the layers.
    """

    figures: Sequence[KeyFigure]
    recipe: Sequence[tuple[str, str]]
    size_charts: Sequence[BarChart]
    error_charts: Sequence[BarChart]
    layers: Table


def quantised_view(run: Quantised) -> QuantisedView:
    """Return all that the page shows of a run of `quant.ptq`."""
    return QuantisedView(
        figures=key_figures(run),
        recipe=recipe_facts(run),
        size_charts=size_charts(run),
        error_charts=error_charts(run),
        layers=layer_table(run),
    )


def key_figures(run: Quantised) -> list[KeyFigure]:
    """Return accuracy, sizes and time."""
    before, after = run.accuracy.floating, run.accuracy.searched
    lost = f"{points(abs(before - after))} {'below' if after <= before else 'above'} float"
    packed = "weights, and 8 bytes a channel for bias, multiplier, shift"
    if run.array_packed_bytes != run.packed_bytes:
        packed += f"; {run.array_packed_bytes:,} bytes as the array packs weights of 3 bit"
    kind = "integers" if run.accuracy_of_integers else "fake quantisation"
    mean = run.size_bits / sum(layer.weights for layer in run.layers)
    return [
        KeyFigure(
            name="Top-1, test images",
            value=percent(after),
            note=f"{lost} {percent(before)}; of the {kind}",
        ),
        KeyFigure(
            name="Weights",
            value=one(run.size_bits, units.SIZE),
            note=f"{run.relative_size:.2f} of 8 bit; {mean:.2f} bit a weight",
        ),
        KeyFigure(name="Packed", value=f"{run.packed_bytes:,} bytes", note=packed),
        KeyFigure(
            name="Time of all layers",
            value=f"{run.seconds:.2f} s",
            note=f"of the processor; {run.data.images.calibration:,} calibration images",
        ),
    ]


def recipe_facts(run: Quantised) -> list[tuple[str, str]]:
    """Return every choice of the recipe, and the calibration images."""
    facts = [
        (RECIPE.get(name, name.replace("_", " ")), _said(value))
        for name, value in run.recipe.items()
    ]
    return [*facts, ("calibration images", f"{run.data.images.calibration:,}")]


def _said(value: bool | int | str | None) -> str:
    if value is None:
        return FLOAT
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)


def size_charts(run: Quantised) -> list[BarChart]:
    """Draw bits, packed sizes and seconds, layer under layer."""
    layers = run.layers
    return [
        _chart(layers, "Bits of a weight", lambda la: la.bits, lambda la: str(la.bits), most=8.0),
        _chart(
            layers,
            "Packed size of a layer, bytes",
            lambda la: la.packed_bytes,
            lambda la: f"{la.packed_bytes:,}",
        ),
        _chart(
            layers,
            "Processor time of a layer, s",
            lambda la: la.seconds,
            lambda la: f"{la.seconds:.2f}",
        ),
    ]


def error_charts(run: Quantised) -> list[BarChart]:
    """Draw the errors before and after on one scale; one picture where nothing was optimised."""
    layers = run.layers
    most = max(max(layer.nearest_error, layer.error) for layer in layers)
    nearest = _chart(
        layers,
        "Error of a layer's output, rounded to nearest",
        lambda la: la.nearest_error,
        lambda la: f"{la.nearest_error:.1e}",
        most=most,
        note="Squared, relative to the output, on the calibration images; steps span the weights.",
    )
    if all(layer.error == layer.nearest_error for layer in layers):
        return [nearest]
    chosen = "steps fitted" if run.optimiser == NEAREST else f"by {run.optimiser}"
    after = _chart(
        layers,
        f"Error of a layer's output, {chosen}",
        lambda la: la.error,
        lambda la: f"{la.error:.1e}",
        most=most,
        note="Drawn on the same scale.",
    )
    return [nearest, after]


def _chart(
    layers: Sequence[QuantisedLayer],
    title: str,
    value: Callable[[QuantisedLayer], float],
    shown: Callable[[QuantisedLayer], str],
    *,
    most: float | None = None,
    note: str = "",
) -> BarChart:
    bars = [
        Bar(
            label=layer.name,
            segments=[Segment(value=value(layer), series=1, tip=_tip(layer))],
            shown=shown(layer),
        )
        for layer in layers
    ]
    return bar_chart(bars, title=title, most=most, note=note)


def _tip(layer: QuantisedLayer) -> str:
    return (
        f"{layer.name}, {layer.bits} bit\n{layer.packed_bytes:,} bytes, {layer.seconds:.2f} s\n"
        f"error {layer.nearest_error:.3g} nearest, {layer.error:.3g} after"
    )


def layer_table(run: Quantised) -> Table:
    """Return all figures of every layer."""
    rows = [
        [
            words(layer.name),
            Cell(text=str(layer.bits), exact=repr(layer.bits)),
            Cell(text=f"{layer.weights:,}", exact=repr(layer.weights)),
            Cell(text=f"{layer.packed_bytes:,}", exact=repr(layer.packed_bytes)),
            Cell(text=f"{layer.nearest_error:.3g}", exact=repr(layer.nearest_error)),
            Cell(text=f"{layer.error:.3g}", exact=repr(layer.error)),
            Cell(text=ratio(layer.error, layer.nearest_error)),
            Cell(text=f"{layer.seconds:.2f}", exact=repr(layer.seconds)),
        ]
        for layer in run.layers
    ]
    return Table(
        caption=f"Layers: size, and relative error of the output before and after {run.optimiser}",
        columns=("layer", "bits", "weights", "packed, bytes", "error, nearest",
                 "error, after", "after / nearest", "s"),
        rows=rows,
    )  # fmt: skip
