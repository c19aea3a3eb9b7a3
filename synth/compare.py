"""All kinds of PE in one flow at one clock, each at its best: ``python -m synth.compare``.

Every array makes 512 products a cycle at 8-bit weights, except that of serial shift-add MACs, whose
products depend on the weights and on how long columns wait for each other. Of each kind all places
of pipeline registers are timed, those that meet the clock measured, and the one whose PE has the
least energy x area at 8-bit weights is characterised as an array with all recipes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from hw.catalog import named
from hw.config import ArrayConfig, PEKind
from hw.csd import shift_add_cycles
from hw.files import write_json, write_text
from hw.precision import WeightMode
from synth.characterise import (
    Bench,
    Candidate,
    Characterised,
    characterise,
    designs_sha256,
    pe_front,
    step_fj,
    utilisation,
)
from synth.command import BenchOptions, document_header, one_line, takes_bench_options
from synth.kinds import described, kinds, variants
from synth.operands import Operands
from synth.parts import break_down
from synth.report import MODES
from synth.table import ArrayParameters

PAPER: dict[str, Any] = {
    "source": "SigmaQuant, arXiv 2602.22136: one MAC each, TSMC 28 nm, 0.9 V, 600 MHz, "
    "post-synthesis; relative to its INT8 MAC",
    "area": 0.777,
    "cycles": {"W8": 4.2, "W4": 2.0, "W2": 1.0},
    "um2_per_mac_per_cycle": {"W8": 3.3, "W4": 1.55, "W2": 0.78},
    "fj_per_mac": {"W4": 0.862, "W2": 0.75},
}
"""The paper's own figures of its shift-add MAC; ratios to its INT8 MAC."""

OUT = Path("docs") / "compare.json"

GOALS = {
    "int8_mac": {
        "fj_per_mac": {"W8": 0.80, "W4": 0.47, "W2": 0.25},
        "fj_per_mac_on_8_bit": {"W8": 0.80, "W4": 0.42, "W2": 0.19},
        "um2_per_mac_per_cycle": {"W8": 0.75, "W4": 0.38, "W2": 0.19},
        "min_period_ns": 1.0,
        "fastest_pe_ns": 1.0,
    },
    "int8_dot": {
        "fj_per_mac": {"W8": 0.95, "W4": 0.55, "W2": 0.32},
        "um2_per_mac_per_cycle": {"W8": 1.15, "W4": 0.58, "W2": 0.29},
        "min_period_ns": 1.0,
        "fastest_pe_ns": 1.0,
    },
}
"""Largest ratios to the baselines that the design allows its default kind."""


NOT_TRIED = (
    "Not tried: INT8 multipliers with registers inside, sums left in carry-save form across "
    "registers, other widest shifts of the shift-add MAC than 3. Variants are chosen by four "
    "recipes each, twelve (24 with a product) are tried on the chosen one."
)


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
        spent = step_fj(candidate.energy, mode, config, bench)
        used = utilisation(mode, config, bench)
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


def ratios(document: Mapping[str, Any], kind: str, baseline: str) -> dict[str, Any]:
    """Ratios of a kind's figures to a baseline's, at each mode."""
    ours, theirs = document["kinds"][kind], document["kinds"][baseline]
    by_mode = {
        figure: {
            mode.name: round(ours[figure][mode.name] / theirs[figure][mode.name], 3)
            for mode in MODES
        }
        for figure in ("um2_per_mac_per_cycle", "fj_per_mac")
    }
    eight = theirs["fj_per_mac"]["W8"]
    return by_mode | {
        "fj_per_mac_on_8_bit": {
            mode.name: round(ours["fj_per_mac"][mode.name] / eight, 3) for mode in MODES
        },
        "min_period_ns": round(ours["min_period_ns"] / theirs["min_period_ns"], 3),
        "fastest_pe_ns": round(_fastest(document, kind) / _fastest(document, baseline), 3),
    }


def _fastest(document: Mapping[str, Any], kind: str) -> float:
    """Shortest period of any netlist of any variant of a kind's PE, ns."""
    return float(min(row["min_period_ns"] for row in document["fronts"][kind]))


def goals(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Each goal of the design, what the default kind has, and whether it is met."""
    rows = []
    for baseline, wanted in GOALS.items():
        have = ratios(document, named("edge").array.pe.value, baseline)
        for figure, limit in wanted.items():
            limits = limit if isinstance(limit, dict) else {"": limit}
            for mode, most in limits.items():
                value = have[figure][mode] if mode else have[figure]
                rows.append(
                    {
                        "baseline": baseline,
                        "figure": figure,
                        "mode": mode,
                        "at_most": most,
                        "found": value,
                        "met": value <= most,
                    }
                )
    return rows


def markdown(document: Mapping[str, Any]) -> str:
    """Return the comparison as Markdown: all kinds, ratios to the baselines, the paper, goals."""
    modes = [mode.name for mode in MODES]
    header = ["kind", "array", "registers", "min period ns", "fastest PE ns"]
    header += [f"um2 per MAC/cycle {mode}" for mode in modes]
    header += [f"fJ per MAC {mode}" for mode in modes]
    lines = [
        f"{document['library']['name']}, {document['clock_period_ns']} ns, operands of "
        f"{document['operands']['name']}; {document['methods']}.",
        "",
        _row(header),
        "|---|---|---" + "|---:" * (len(header) - 3) + "|",
    ]
    for name, kind in document["kinds"].items():
        line = [name, "{rows}x{cols}x{lanes}".format(**kind["parameters"]), kind["registers"]]
        line += [f"{kind['min_period_ns']:.2f}", f"{_fastest(document, name):.2f}"]
        line += [f"{kind['um2_per_mac_per_cycle'][mode]:.0f}" for mode in modes]
        line += [f"{kind['fj_per_mac'][mode]:.0f}" for mode in modes]
        lines.append(_row(line))
    lines += [
        "",
        "Ratios to the baselines; energy on the same low-bit weights (on 8-bit ones):",
    ]
    header = ["kind", "to", *(f"area {mode}" for mode in modes), *(f"energy {m}" for m in modes)]
    header.append("**as the paper says** (its MAC to its INT8 MAC)")
    lines += ["", _row(header), "|---|---" + "|---:" * (len(header) - 2) + "|"]
    for name in document["kinds"]:
        kind_of_paper = document["kinds"][name]["parameters"]["pe"] == PEKind.SHIFT_ADD.value
        for baseline in GOALS:
            if name != baseline:
                have = ratios(document, name, baseline)
                line = [name, baseline]
                line += [f"{have['um2_per_mac_per_cycle'][mode]:.2f}" for mode in modes]
                line += [
                    f"{have['fj_per_mac'][mode]:.2f} ({have['fj_per_mac_on_8_bit'][mode]:.2f})"
                    for mode in modes
                ]
                paper = kind_of_paper and baseline == "int8_mac"
                lines.append(_row([*line, _paper(document["paper"]) if paper else ""]))
    lines += ["", f"The paper: {document['paper']['source']}.", "", "Goals of the design:", ""]
    lines.append(_row(["against", "figure", "mode", "at most", "found", ""]))
    lines.append("|---|---|---|---:|---:|---|")
    lines += [
        _row(
            [
                goal["baseline"],
                goal["figure"],
                goal["mode"],
                f"{goal['at_most']:.2f}",
                f"{goal['found']:.3f}",
                "met" if goal["met"] else "**missed**",
            ]
        )
        for goal in document["goals"]
    ]
    if not all(goal["met"] for goal in document["goals"]):
        tried = len(document["fronts"][named("edge").array.pe.value])
        lines += [
            "",
            f"Tried for what is missed: {tried} netlists of the PE in all places of registers "
            "(`fronts` in the JSON, the picture), and what ADR 9 lists as rejected.",
        ]
    lines += ["", NOT_TRIED]
    return "\n".join(lines)


def _paper(figures: Mapping[str, Any]) -> str:
    """Return the paper's ratios, W8 to W2; energies on 8-bit weights."""

    def each(name: str) -> str:
        found = (figures[name].get(mode.name) for mode in MODES)
        return " / ".join("-" if ratio is None else f"{ratio:.2f}" for ratio in found)

    return (
        f"area {each('um2_per_mac_per_cycle')}, energy ({each('fj_per_mac')}), cycles "
        f"{each('cycles')}"
    )


def _row(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"


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


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
app.command()(main)

if __name__ == "__main__":
    app()
