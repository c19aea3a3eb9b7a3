"""Bits, spread and divergence of every layer, and what each costs."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from quant.report import quantities as units
from quant.report.bars import Bar, BarChart, Segment, bar_chart
from quant.report.energy import energy_chart
from quant.report.quantities import MISSING, Unit, percent, unit_for
from quant.report.results import LayerResult, Result
from quant.report.table import Cell, Table, figure, heading, words

KL_NOTE = "Divergence of the layer's quantised weights, relative to that at 8 bit."


def bit_charts(result: Result) -> list[BarChart]:
    """Draw bits, sigma and KL, layer under layer."""
    layers = result.layers
    bits = _chart(layers, "Bits of a weight", lambda la: la.bits, lambda la: f"{la.bits}", most=8.0)
    sigma = _chart(
        layers,
        "Sigma: standard deviation of the weights",
        lambda la: la.sigma,
        lambda la: f"{la.sigma:.4f}",
    )
    divergence = _chart(
        layers, "KL / KL8", lambda la: la.kl, lambda la: f"{la.kl:.2f}", note=KL_NOTE
    )
    return [bits, sigma, divergence]


def cost_charts(result: Result) -> list[BarChart]:
    """Draw energy, latency and size of every layer, as far as they are known."""
    layers = result.layers
    energy = energy_chart(((layer.name, layer) for layer in layers), "Energy of a layer")
    charts = [] if energy is None else [energy]
    for title, field, scale in (
        ("Latency of a layer", "latency_ns", units.LATENCY),
        ("Cycles of a layer", "cycles", units.COUNT),
        ("Size of a layer's weights", "size_bits", units.SIZE),
    ):
        values = [getattr(layer, field) for layer in layers]
        if any(value is None for value in values):
            continue
        if field == "cycles" and any("Latency" in chart.title for chart in charts):
            continue
        charts.append(_cost_chart(layers, title, field, unit_for(values, scale)))
    return charts


def _cost_chart(layers: Sequence[LayerResult], title: str, field: str, unit: Unit) -> BarChart:
    total = sum(getattr(layer, field) for layer in layers)

    def tip(layer: LayerResult) -> str:
        value = getattr(layer, field)
        part = percent(value / total if total else 0, 1)
        return f"{unit.shown(value)}, {part} of {unit.shown(total)}"

    return _chart(
        layers,
        heading(title, unit),
        lambda layer: getattr(layer, field),
        lambda layer: unit.bare(getattr(layer, field)),
        say=tip,
    )


def _chart(
    layers: Sequence[LayerResult],
    title: str,
    value: Callable[[LayerResult], float],
    shown: Callable[[LayerResult], str],
    *,
    say: Callable[[LayerResult], str] | None = None,
    most: float | None = None,
    note: str = "",
) -> BarChart:
    say = say or (
        lambda layer: f"{layer.bits} bit, sigma {layer.sigma:.4f}, KL / KL8 {layer.kl:.2f}"
    )
    bars = [
        Bar(
            label=layer.name,
            segments=[
                Segment(
                    value=value(layer),
                    series=1,
                    tip=f"{layer.name}, {layer.bits} bit\n{say(layer)}",
                )
            ],
            shown=shown(layer),
        )
        for layer in layers
    ]
    return bar_chart(bars, title=title, most=most, note=note)


def layer_table(result: Result) -> Table:
    """Return all figures of every layer, and their sums."""
    layers = result.layers
    fields = [
        ("MACs", "macs", units.COUNT),
        ("weights", "size_bits", units.SIZE),
        ("cycles", "cycles", units.COUNT),
        ("latency", "latency_ns", units.LATENCY),
        ("array", "energy_pj", units.ENERGY),
        ("of it leakage", "leakage_energy_pj", units.ENERGY),
        ("scratchpads (cited)", "scratchpad_energy_pj", units.ENERGY),
        ("DRAM (cited)", "dram_energy_pj", units.ENERGY),
    ]
    shown = [
        (name, field, unit_for((getattr(layer, field) for layer in layers), scale))
        for name, field, scale in fields
    ]
    measured = any(layer.sensitivity is not None for layer in layers)
    rows = [
        [
            words(layer.name),
            Cell(text=str(layer.bits), exact=str(layer.bits)),
            Cell(text=f"{layer.sigma:.4f}", exact=repr(layer.sigma)),
            Cell(text=f"{layer.kl:.2f}", exact=repr(layer.kl)),
            *([_sensitivity(layer)] if measured else []),
            *(figure(getattr(layer, field), unit) for _, field, unit in shown),
        ]
        for layer in layers
    ]
    return Table(
        caption="Layers: bits, spread, divergence and cost of one inference",
        columns=(
            "layer",
            "bits",
            "sigma",
            "KL / KL8",
            *(["sensitivity"] if measured else []),
            *(heading(name, unit) for name, _, unit in shown),
        ),
        rows=rows,
    )


def _sensitivity(layer: LayerResult) -> Cell:
    value = layer.sensitivity
    return words(MISSING) if value is None else Cell(text=f"{value:.3g}", exact=repr(value))
