"""A cost table as a person reads it: ``python -m synth.report TABLE``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from hw.precision import WeightMode
from synth.table import ArrayCost, CostTable, CostTableError

MODES = (WeightMode.W8, WeightMode.W6, WeightMode.W4, WeightMode.W2)


def rows(table: CostTable) -> list[list[str]]:
    """Lines of the comparison: header first, then the array, each baseline, and the ratios."""
    header = ["", "area um2", "min period ns"]
    header += [f"um2 per MAC/cycle W{mode.bits}" for mode in MODES]
    header += [f"fJ per MAC W{mode.bits}" for mode in MODES]
    lines = [header, _line(table.array)]
    for name, baseline in table.baselines.items():
        lines.append(_line(baseline))
        ratio = [
            f"ratio to {name}",
            "",
            f"{table.array.min_period_ns / baseline.min_period_ns:.2f}",
        ]
        ratio += [
            f"{table.array.area_per_throughput_um2(m) / baseline.area_per_throughput_um2(m):.2f}"
            for m in MODES
        ]
        ratio += [
            f"{table.array.energy_per_mac_pj(m) / baseline.energy_per_mac_pj(m):.2f}" for m in MODES
        ]
        lines.append(ratio)
        eight = baseline.energy_per_mac_pj(WeightMode.W8)
        against = [f"ratio to {name} on W8 weights", "", "", "", "", "", ""]
        against += [f"{table.array.energy_per_mac_pj(m) / eight:.2f}" for m in MODES]
        lines.append(against)
    return lines


def _line(array: ArrayCost) -> list[str]:
    line = [array.config.name, f"{array.area_um2:.0f}", f"{array.min_period_ns:.2f}"]
    line += [f"{array.area_per_throughput_um2(mode):.0f}" for mode in MODES]
    line += [f"{1000 * array.energy_per_mac_pj(mode):.0f}" for mode in MODES]
    return line


def methods(table: CostTable) -> str:
    """Say how each group of figures was made."""
    array = table.array
    text = (
        f"Area and leakage {array.area_method}, period by {array.period_method}, energy by "
        f"{array.energy_method}"
    )
    if table.memory is None:
        return text + "; no memory."
    return (
        f"{text}; scratchpads *{table.memory.method}*: read {table.memory.read_pj_per_bit:g}, "
        f"write {table.memory.write_pj_per_bit:g} pJ/bit ({table.memory.source})."
    )


def show(table: CostTable, console: Console) -> None:
    """Print module by module, then the comparison."""
    for array in (table.array, *table.baselines.values()):
        modules = Table(title=f"{array.config.name} at {table.clock_period_ns} ns")
        for name in ("module", "count", "area um2", "sequential", "min period ns", "leakage nW"):
            modules.add_column(name, justify="left" if name == "module" else "right")
        for mode in MODES:
            modules.add_column(f"pJ/step W{mode.bits}", justify="right")
        modules.add_column("pJ idle", justify="right")
        for name, cost in array.modules.items():
            modules.add_row(
                name,
                str(cost.count),
                f"{cost.area_um2:.0f}",
                f"{cost.sequential_area_um2:.0f}",
                f"{cost.min_period_ns:.2f}",
                f"{cost.leakage_nw:.0f}",
                *(f"{cost.energy_pj[mode.name]:.3f}" for mode in MODES),
                f"{cost.idle_energy_pj:.3f}",
            )
        console.print(modules)
    lines = rows(table)
    comparison = Table(title=f"{table.library.name}, {table.library.node_nm:g} nm")
    for name in lines[0]:
        comparison.add_column(name, justify="left" if not name else "right")
    for line in lines[1:]:
        comparison.add_row(*line)
    console.print(comparison)
    console.print(methods(table))


def markdown(table: CostTable) -> str:
    """Return the comparison as a Markdown table."""
    lines = rows(table)
    text = ["| " + " | ".join(lines[0]) + " |", "|---" + "|---:" * (len(lines[0]) - 1) + "|"]
    text += ["| " + " | ".join(line) + " |" for line in lines[1:]]
    return "\n".join([*text, "", methods(table)])


def main(
    path: Annotated[Path, typer.Argument(help="Cost table.")] = Path(__file__).parent
    / "tables"
    / "nangate45-default.json",
    as_markdown: Annotated[
        bool, typer.Option("--markdown", help="Print the comparison as Markdown.")
    ] = False,
) -> None:
    """Print a cost table."""
    try:
        table = CostTable.load(path)
    except CostTableError as error:
        typer.echo(f"synth.report: {error}", err=True)
        raise typer.Exit(2) from error
    if as_markdown:
        typer.echo(markdown(table))
    else:
        show(table, Console())


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
app.command()(main)

if __name__ == "__main__":
    app()
