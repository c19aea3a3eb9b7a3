"""How well a table predicts the energy of layers it was not made with: ``python -m synth.blind``.

The array's netlists, as the table chose them, run real operands of another network gate by gate;
the table predicts the same steps from what the operands do (`synth.features`), and as it would
without that knowledge: by the lanes that have work. Nothing of the other network was used in the
fit; its first errors did decide that coefficients are not negative and that a thinned layer is
sampled (ADR 10).
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from hw.catalog import named
from hw.cli.command import beside, command_app
from hw.config import ArrayConfig
from hw.files import write_json
from hw.precision import WeightMode
from hw.schedule import GemmShape, LayerSchedule, layer_schedule
from synth import operands
from synth.bench import Bench
from synth.candidates import energies
from synth.characterise import Characterised, characterise
from synth.command import (
    OPERANDS,
    BenchOptions,
    document_header,
    identity,
    one_line,
    refuse,
    takes_bench_options,
)
from synth.features import Features
from synth.model import run_features
from synth.operands import LayerOperands, Operands
from synth.recording import record_job
from synth.report import MODES
from synth.table import ArrayCost
from synth.work import working_share

OTHER = OPERANDS.with_name("dscnn.npz")

LIMIT = 0.07
"""Largest error of a layer's energy over its modes."""


def predict(
    found: Characterised, config: ArrayConfig, other: Operands, bench: Bench
) -> list[dict[str, Any]]:
    """Energy of a step of the whole array, measured and predicted, by layer and mode."""
    recordings = {mode: record_job(config, mode, other, products=bench.products) for mode in MODES}
    bench.runner.run(list(recordings.values()), label=f"{config.name}: simulate {other.name}")
    label = f"{config.name}: energy on {other.name}"
    spent = energies(found.chosen, recordings, config, bench, label=label)
    rows = []
    for mode in MODES:
        seen = run_features(other, mode, config, products=bench.products)
        for index, (layer, what) in enumerate(seen.items()):
            if not other.layers[layer].share:  # no layer of the network
                continue
            pj = sum(
                found.cost.modules[module].count * spent[module, mode].runs[index].step_fj / 1000
                for module in found.chosen
            )
            errors = compared(other.layers[layer], mode, what, cost=found.cost, measured_pj=pj)
            rows.append({"layer": layer, "mode": mode.name} | errors)
    return rows


def compared(
    layer: LayerOperands, mode: WeightMode, what: Features, *, cost: ArrayCost, measured_pj: float
) -> dict[str, float]:
    """Energy of a step of a layer as measured and predicted, pJ, and the relative errors.

    `error_without_features` is of what `CostTable.layer_cost` says of an active cycle without
    features, which knows only how many lanes have work.
    """
    plan = sampled_schedule(layer, mode, cost.config)
    predicted, without = (cost.active_energy_pj(plan, mode, known) for known in (what, None))
    return {
        "measured_pj": round(measured_pj, 2),
        "predicted_pj": round(predicted, 2),
        "error": round(predicted / measured_pj - 1, 4),
        "error_without_features": round(without / measured_pj - 1, 4),
    }


def sampled_schedule(layer: LayerOperands, mode: WeightMode, config: ArrayConfig) -> LayerSchedule:
    """Schedule of what is measured of a layer: a tile in which every PE has a dot product."""
    depth = layer.weight[mode].shape[0]
    tile = GemmShape(pixels=config.rows, depth=depth, outputs=config.cols)
    plan = layer_schedule(tile, mode, config)
    return replace(plan, utilisation=plan.utilisation * working_share(layer))


def by_layer(rows: list[dict[str, Any]]) -> dict[str, float]:
    """Relative error of each layer's energy, its work done once in every mode."""
    totals: dict[str, list[float]] = {}
    for row in rows:
        steps = WeightMode[row["mode"]].bits
        total = totals.setdefault(row["layer"], [0.0, 0.0])
        total[0] += steps * row["measured_pj"]
        total[1] += steps * row["predicted_pj"]
    return {layer: round(p / m - 1, 4) for layer, (m, p) in totals.items()}


@takes_bench_options(
    "operand_file", "clock_ns", "liberty_file", "products", "cache", "workers", "cluster"
)
def main(
    out: Annotated[Path, typer.Option("--out", "-o", help="File to write.")] = Path("docs")
    / "blind.json",
    config: Annotated[
        str, typer.Option("--hardware", help="Configuration of hw.catalog.")
    ] = "edge",
    other_file: Annotated[
        Path, typer.Option("--other", help="Operands to predict; those of the DS-CNN by default.")
    ] = OTHER,
    *,
    options: BenchOptions,
) -> None:
    """Predict the energy of another network's layers, and measure it; exit 1 beyond 7 %."""
    with one_line("synth.blind"):
        out.parent.mkdir(parents=True, exist_ok=True)
        array, other = named(config).array, operands.load(other_file)
        bench = options.bench()
        document = document_header("synth.blind", bench.library, bench.operands) | {
            "predicted": identity(other),
            "clock_period_ns": bench.period_ns,
            "arrays": {},
        }
        for found_config in (array, array.int8_equivalent(), array.int8_dot_equivalent()):
            found = characterise(found_config, bench)
            rows = predict(found, found_config, other, bench)
            document["arrays"][found_config.name] = {"layers": by_layer(rows), "runs": rows}
        write_json(out, document, indent=1)
    for name, figures in document["arrays"].items():
        for layer, error in figures["layers"].items():
            worst = max((r["error"] for r in figures["runs"] if r["layer"] == layer), key=abs)
            typer.echo(
                f"{name:22} {layer:22} {100 * error:+6.1f} %, at one precision at most "
                f"{100 * worst:+.1f} %"
            )
    ours = document["arrays"][array.name]["layers"]
    if max(map(abs, ours.values())) > LIMIT:
        refuse("synth.blind", [f"errors must be at most {100 * LIMIT:g} %"])


app = command_app(main, name="synth.blind", place=beside("out"))

if __name__ == "__main__":
    app()
