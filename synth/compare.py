"""All kinds of PE in one flow at one clock, each at its best: ``python -m synth.compare``.

Every array makes 512 products a cycle at 8-bit weights, except that of serial shift-add MACs, whose
products depend on the weights and on how long columns wait for each other. Of each kind all places
of pipeline registers are timed, those that meet the clock measured, and the one whose PE has the
least energy x area at 8-bit weights is characterised as an array with all recipes.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from hw.catalog import named
from hw.cli.command import beside, command_app
from hw.config import ArrayConfig
from hw.csd import shift_add_cycles
from hw.files import write_json, write_text
from hw.precision import WeightMode
from synth.bench import Bench
from synth.candidates import Candidate, pe_front
from synth.characterise import Characterised, characterise
from synth.command import BenchOptions, document_header, one_line, takes_bench_options
from synth.compare_report import GOALS, PAPER, goals, markdown
from synth.designs import designs_sha256
from synth.kinds import described, kinds, variants
from synth.operands import Operands
from synth.parts import break_down
from synth.report import MODES
from synth.table import ArrayParameters
from synth.work import layer_shares, step_fj, utilisation

OUT = Path("docs") / "compare.json"


def best_variant(config: ArrayConfig, bench: Bench) -> tuple[ArrayConfig, list[dict[str, Any]]]:
    """Variant of a kind whose PE has the least energy x area, and what else was measured."""
    rows: list[dict[str, Any]] = []
    least: tuple[float, ArrayConfig] | None = None
    for variant in variants(config):
        candidates = pe_front(variant, bench)
        for candidate in candidates:
            row = pe_row(variant, candidate, bench)
            rows.append(row)
            if "fj_per_product" in row:
                product = row["fj_per_product"] * row["um2_per_product"]
                if least is None or product < least[0]:
                    least = product, variant
    if least is None:
        shortest = min(row["min_period_ns"] for row in rows)
        raise ValueError(
            f"clock_ns must be at least {shortest} for {config.pe.value}, not {bench.period_ns}"
        )
    return least[1], rows


def pe_row(config: ArrayConfig, candidate: Candidate, bench: Bench) -> dict[str, Any]:
    """Figures of one netlist of a PE at 8-bit weights, per product that it makes in a cycle."""
    mode = WeightMode.W8
    per_cycle = config.chunk_depth(mode) / config.steps(mode)
    row: dict[str, Any] = {
        "registers": described(config),
        "recipe": candidate.recipe.name,
        "min_period_ns": round(candidate.summary.min_period_ns, 3),
        "um2_per_product": round(candidate.summary.area_um2 / per_cycle, 1),
    }
    if candidate.energy is not None:
        shares = layer_shares(bench.operands, mode, config, products=bench.products)
        spent = step_fj(candidate.energy, shares)
        used = utilisation(bench.operands, mode, config, products=bench.products)
        row["fj_per_product"] = round(spent / per_cycle / used, 1)
    return row


def entry(found: Characterised, sampled: Operands) -> dict[str, Any]:
    """Return the figures of an array, by weight mode where they depend on it.

    `utilisation` is the share of the lanes that have work in the sampled layers: energies per MAC
    are of those, areas of full tiles. `steps` are cycles per product of a lane, and `waiting` those
    of them in which it waits for other columns. A waiting column costs what an idle one costs.
    """
    array = found.cost
    config = array.config
    steps, waiting, used = {}, {}, {}
    for mode in MODES:
        if config.pe.traits.skips_zeros:
            steps[mode], waiting[mode] = _shift_add_steps(sampled, mode, config)
        else:
            steps[mode] = config.rows * config.cols * config.lanes / array.macs_per_cycle(mode)
            waiting[mode] = 0.0
        used[mode] = array.sampled_utilisation.get(mode.name, 1.0)
    lanes = config.rows * config.cols * config.lanes
    energy_pj = {
        mode: (
            (steps[mode] - waiting[mode]) * array.energy_pj(mode, utilisation=used[mode])
            + waiting[mode] * array.idle_energy_pj
        )
        / used[mode]
        for mode in MODES
    }
    return {
        "parameters": ArrayParameters.of(config).model_dump(mode="json"),
        "registers": described(config),
        "recipes": found.recipes,
        "design_sha256": designs_sha256([config]),
        "area_um2": round(array.area_um2),
        "min_period_ns": round(array.min_period_ns, 3),
        "steps": {mode.name: round(steps[mode], 3) for mode in MODES},
        "utilisation": {mode.name: round(used[mode], 4) for mode in MODES},
        "waiting": {mode.name: round(waiting[mode], 3) for mode in MODES},
        "um2_per_mac_per_cycle": {
            mode.name: round(array.area_um2 * steps[mode] / lanes, 1) for mode in MODES
        },
        "fj_per_mac": {mode.name: round(1000 * energy_pj[mode] / lanes, 1) for mode in MODES},
        # a waiting column's idle energy is in no part
        **break_down(
            array, {mode: used[mode] * lanes / (steps[mode] - waiting[mode]) for mode in MODES}
        ),
        "macs_per_step": {mode.name: lanes / steps[mode] for mode in MODES},
    }


def _shift_add_steps(
    sampled: Operands, mode: WeightMode, config: ArrayConfig
) -> tuple[float, float]:
    """Mean cycles of a weight, waiting included, and those of them in which its column waits."""
    cycles = np.vectorize(lambda weight: shift_add_cycles(int(weight), config.max_shift))
    total = sum(layer.share for layer in sampled.layers.values())
    own = slowest = 0.0
    for layer in sampled.layers.values():
        taken = cycles(layer.weight[mode][:, : config.cols])
        own += layer.share / total * taken.mean()
        slowest += layer.share / total * taken.max(axis=1).mean()
    return float(slowest), float(slowest - own)


@takes_bench_options(
    "clock_ns", "liberty_file", "operand_file", "products", "cache", "workers", "cluster"
)
def main(
    out: Annotated[
        Path, typer.Option("--out", "-o", help="JSON file; .md and two .png are written beside it.")
    ] = OUT,
    only: Annotated[
        list[str] | None, typer.Option("--kind", help="Only these kinds (and the baselines).")
    ] = None,
    *,
    options: BenchOptions,
) -> None:
    """Map an array of every kind of PE at its best; write and print what they cost."""
    with one_line("synth.compare"):
        arrays = kinds()
        unknown = set(only or ()) - arrays.keys()
        if unknown:
            known = ", ".join(arrays)
            raise ValueError(f"kind must be one of {known}, not {sorted(unknown)[0]!r}")
        if only and out == OUT:
            raise ValueError(
                f"out must be another file than {OUT} for some kinds only; add -o FILE"
            )
        out.parent.mkdir(parents=True, exist_ok=True)
        bench = options.bench()
        document = document_header("synth.compare", bench.library, bench.operands) | {
            "clock_period_ns": bench.period_ns,
            "methods": "area synthesised, period static timing, energy gate-level activity",
            "paper": PAPER,
            "kinds": {},
            "fronts": {},
        }
        for name, config in arrays.items():
            if only and name not in (*only, named("edge").array.pe.value, *GOALS):
                continue
            best, tried = best_variant(config, bench)
            found = characterise(best, replace(bench, thorough=True))
            rows = [pe_row(best, candidate, bench) for candidate in found.tried["pe"]]
            document["kinds"][name] = entry(found, bench.operands)
            document["fronts"][name] = tried + [row for row in rows if row not in tried]
        document["goals"] = goals(document)
        write_json(out, document, indent=1)
        write_text(out.with_suffix(".md"), markdown(document) + "\n")
        # here, so that the kinds can be had without matplotlib
        from synth.plot_front import plot_front
        from synth.plot_parts import plot_parts

        plot_front(document, out.with_suffix(".png"))
        plot_parts(document["kinds"], out.with_name(f"{out.stem}-parts.png"), (MODES[0], MODES[-1]))
    typer.echo(markdown(document))


app = command_app(main, name="synth.compare", place=beside("out"))

if __name__ == "__main__":
    app()
