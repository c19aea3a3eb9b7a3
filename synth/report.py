"""A cost table as a person reads it: ``python -m synth.report TABLE``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from hw.cli.command import command_app, complain
from hw.cli.tables import figures, print_table
from hw.precision import WeightMode
from synth.table import (
    ArrayFigures,
    Cited,
    CostTable,
    CostTableError,
    Hardware,
    MemoryLevel,
)

MODES = (WeightMode.W8, WeightMode.W6, WeightMode.W4, WeightMode.W2)
UNKNOWN = "-"
"""Stands for a figure that the table has not."""


def rows(table: CostTable) -> list[list[str]]:
    """Lines of the comparison: header first, then the array, each baseline, and the ratios."""
    array = table.array
    header = ["", "area um2", "min period ns"]
    header += [f"um2 per MAC/cycle W{mode.bits}" for mode in MODES]
    header += [f"fJ per MAC W{mode.bits}" for mode in MODES]
    lines = [header, _line(array)]
    for name, baseline in table.baselines.items():
        lines.append(_line(baseline))
        period = _ratio(array.min_period_ns, baseline.min_period_ns)
        ratio = [f"ratio to {name}", "", period]
        ratio += [
            _ratio(array.area_per_throughput_um2(m), baseline.area_per_throughput_um2(m))
            for m in MODES
        ]
        ratio += [_ratio(array.energy_per_mac_pj(m), baseline.energy_per_mac_pj(m)) for m in MODES]
        lines.append(ratio)
        eight = baseline.energy_per_mac_pj(WeightMode.W8)
        against = [f"ratio to {name} on W8 weights", "", "", "", "", "", ""]
        against += [_ratio(array.energy_per_mac_pj(m), eight) for m in MODES]
        lines.append(against)
    return lines


def _line(hardware: Hardware) -> list[str]:
    line = [hardware.label, _shown(hardware.area_um2), _shown(hardware.min_period_ns, ".2f")]
    line += [_shown(hardware.area_per_throughput_um2(mode)) for mode in MODES]
    line += [_shown(hardware.energy_per_mac_pj(mode), factor=1000) for mode in MODES]
    return line


def _shown(value: float | None, form: str = ".0f", *, factor: float = 1) -> str:
    return UNKNOWN if value is None else format(factor * value, form)


def _ratio(value: float | None, reference: float | None) -> str:
    return UNKNOWN if value is None or not reference else f"{value / reference:.2f}"


def methods(table: CostTable) -> str:
    """Say how each group of figures was made, and who published the cited ones."""
    array = table.array
    text = (
        f"Area and leakage {array.area_method}, period by {array.period_method}, energy by "
        f"{array.energy_method}"
    )
    if array.source:
        text += f" ({array.source})"
    for name, baseline in table.baselines.items():
        if baseline.source:
            text += f"; {name} *cited*: {baseline.source}"
    if table.memory is None:
        return text + "; no memory."
    scratchpad = f"scratchpads *cited*: {_level(table.memory.scratchpad)}"
    return f"{text}; {scratchpad}; DRAM *cited*: {_level(table.memory.dram)}."


def _level(level: MemoryLevel) -> str:
    figures: list[tuple[str, str, Cited | None]] = [
        ("read", f"pJ/bit{_access(level.read_pj_per_access, level)}", level.read_pj_per_bit),
        ("write", f"pJ/bit{_access(level.write_pj_per_access, level)}", level.write_pj_per_bit),
        ("area", "um2/bit", level.area_um2_per_bit),
    ]
    by_source: dict[str, list[str]] = {}
    for name, unit, cited in figures:
        if cited is not None:
            node = "node not stated" if cited.node_nm is None else f"{cited.node_nm:g} nm"
            source = f"({cited.source}; {node})"
            by_source.setdefault(source, []).append(f"{name} {cited.value:g} {unit}")
    known = [f"{', '.join(entries)} {source}" for source, entries in by_source.items()]
    return "; ".join(known) or "not given"


def _access(energy_pj: float | None, level: MemoryLevel) -> str:
    return "" if energy_pj is None else f" ({energy_pj:g} pJ per {level.access_bits}-bit access)"


def gaps(table: CostTable) -> list[str]:
    """Lines of the costs that the table cannot give."""
    return [f"unavailable: {gap}" for gap in table.unavailable]


def show(table: CostTable, console: Console) -> None:
    """Print module by module, then the comparison, the methods, and what is unavailable."""
    for hardware in table.hardware.values():
        if isinstance(hardware, ArrayFigures):
            print_table(_modules(hardware, table.clock_period_ns), console)
    print_table(_comparison(table), console)
    for text in (methods(table), *gaps(table)):
        console.print(text, markup=False)


def _comparison(table: CostTable) -> Table:
    """Lines of the comparison as columns, each ratio at the right of the baseline it is to."""
    node = table.library.node_nm
    title = table.library.name if node is None else f"{table.library.name}, {node:g} nm"
    (_, *names), *lines = rows(table)
    headers = [table.array.label]
    for baseline in table.baselines.values():
        headers += [baseline.label, "ratio", "ratio on W8 weights"]
    comparison = figures(title, "", *(header.replace("-", "-\n") for header in headers))
    for place, name in enumerate(names, start=1):
        comparison.add_row(name, *(line[place] for line in lines))
    return comparison


def _modules(array: ArrayFigures, clock_period_ns: float | None) -> Table:
    clock = "no clock given" if clock_period_ns is None else f"{clock_period_ns} ns"
    columns = ["count", "area um2", "seq. um2", "min period ns", "leakage nW"]
    columns += [f"pJ/step W{mode.bits}" for mode in MODES]
    modules = figures(f"{array.label} at {clock}", "module", *columns, "pJ idle")
    for name, cost in array.modules.items():
        modules.add_row(
            name,
            str(cost.count),
            _shown(cost.area_um2),
            _shown(cost.sequential_area_um2),
            _shown(cost.min_period_ns, ".2f"),
            _shown(cost.leakage_nw),
            *(_shown(cost.energy_pj.get(mode.name), ".3f") for mode in MODES),
            _shown(cost.idle_energy_pj, ".3f"),
        )
    return modules


def markdown(table: CostTable) -> str:
    """Return the comparison as a Markdown table."""
    lines = rows(table)
    text = ["| " + " | ".join(lines[0]) + " |", "|---" + "|---:" * (len(lines[0]) - 1) + "|"]
    text += ["| " + " | ".join(line) + " |" for line in lines[1:]]
    return "\n".join([*text, "", methods(table), *gaps(table)])


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
        complain(f"synth.report: {error}")
        raise typer.Exit(2) from error
    if as_markdown:
        typer.echo(markdown(table))
    else:
        show(table, Console())


app = command_app(main, name="synth.report")

if __name__ == "__main__":
    app()
