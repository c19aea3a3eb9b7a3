"""Area and energy of arrays by part: ``python -m synth.parts -o docs/parts.json``.

The modules are those of the cost tables, chosen and measured in the same flow; a run takes what
`python -m synth` has left in its store. A picture goes beside the JSON.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import fsum
from pathlib import Path
from typing import Annotated, Any

import typer

from hw.cli.command import beside, command_app
from hw.config import ArrayConfig
from hw.files import write_json
from hw.precision import WeightMode
from synth.breakdown import Part
from synth.characterise import characterise
from synth.command import BenchOptions, document_header, listed, one_line, takes_bench_options
from synth.kinds import kinds
from synth.report import MODES
from synth.table import ArrayCost

DEFAULT_KINDS = "bit_pair,int8_dot"


def break_down(array: ArrayCost, macs_per_step: Mapping[WeightMode, float]) -> dict[str, Any]:
    """Parts of an array: um2, and fJ per multiply-accumulate by weight mode, modules times count.

    Parameters
    ----------
    array : ArrayCost
        With parts in its modules.
    macs_per_step : mapping of WeightMode to float
        Multiply-accumulates of the array in a cycle with a step.
    """
    modules = array.modules.values()
    parts: dict[str, dict[str, Any]] = {}
    for part in Part:
        found = [
            (m.count, m.parts[part.value]) for m in modules if m.parts and part.value in m.parts
        ]
        if found:
            parts[part.value] = {
                "area_um2": fsum(count * figures.area_um2 for count, figures in found),
                "fj_per_mac": {
                    mode.name: fsum(
                        count * 1000 * figures.energy_pj.get(mode.name, 0.0)
                        for count, figures in found
                    )
                    / macs
                    for mode, macs in macs_per_step.items()
                },
            }
    return {
        "macs_per_step": {mode.name: macs for mode, macs in macs_per_step.items()},
        "parts": parts,
    }


def macs_per_step(config: ArrayConfig, mode: WeightMode) -> float:
    """Multiply-accumulates of an array in a cycle with a step."""
    return config.rows * config.cols * config.chunk_depth(mode) / config.steps(mode)


def lines(name: str, entry: dict[str, Any]) -> list[str]:
    """Return the breakdown of an array as lines of text."""
    text = [f"{name:26}{'um2':>10}  %  " + "".join(f"{f'fJ/MAC {m.name}':>13}" for m in MODES)]
    for part, cost in entry["parts"].items():
        figures = "".join(f"{cost['fj_per_mac'][mode.name]:13.1f}" for mode in MODES)
        share = 100 * cost["area_um2"] / entry["area_um2"]
        text.append(f"  {part:24}{cost['area_um2']:10.0f} {share:3.0f} {figures}")
    total = "".join(
        f"{fsum(cost['fj_per_mac'][mode.name] for cost in entry['parts'].values()):13.1f}"
        for mode in MODES
    )
    return [*text, f"  {'all':24}{entry['area_um2']:10.0f} 100 {total}"]


@takes_bench_options("clock_ns", "liberty_file", "operand_file", "products", "cache", "workers")
def main(
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="JSON file to write, and a PNG of the same name."),
    ] = None,
    names: Annotated[
        str, typer.Option("--kinds", help="Kinds of PE, comma-separated.")
    ] = DEFAULT_KINDS,
    *,
    options: BenchOptions,
) -> None:
    """Break down area and energy of arrays by part: lanes, tree, shifter, registers and so on."""
    with one_line("synth.parts"):
        # steps of the others depend on the weights
        known = [name for name, config in kinds().items() if not config.pe.traits.skips_zeros]
        given = listed(names, known, what="kinds")
        if output is not None:
            output.parent.mkdir(parents=True, exist_ok=True)
        bench = options.bench()
        document = document_header("synth.parts", bench.library, bench.operands) | {
            "clock_period_ns": bench.period_ns,
            "kinds": {},
        }
        for name in given:
            config = kinds()[name]
            array = characterise(config, bench).cost
            entry = document["kinds"][name] = {
                "array": config.name,
                "area_um2": array.area_um2,
                **break_down(
                    array,
                    {
                        mode: macs_per_step(config, mode) * array.sampled_utilisation[mode.name]
                        for mode in MODES
                    },
                ),
            }
            typer.echo("\n".join(lines(name, entry)))
        if output is not None:
            write_json(output, rounded(document), indent=1)
            # here, so that a breakdown needs no matplotlib
            from synth.plot_parts import plot_parts

            plot_parts(document["kinds"], output.with_suffix(".png"))


def rounded(value: Any) -> Any:
    """Return a document with all its floats to three decimals."""
    if isinstance(value, dict):
        return {key: rounded(item) for key, item in value.items()}
    return round(value, 3) if isinstance(value, float) else value


app = command_app(main, name="synth.parts", place=beside("output"))

if __name__ == "__main__":
    app()
