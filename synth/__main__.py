"""Make a cost table: ``python -m synth``."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from hw.catalog import named
from hw.cli.command import CONFIG_NAME, command_app
from hw.cli.config_file import write_config
from hw.cli.keys import keys_of
from hw.config import ArrayConfig, PEKind
from synth import cells, report
from synth.bench import Bench
from synth.characterise import characterise
from synth.command import BenchOptions, command_line, one_line, takes_bench_options
from synth.designs import baselines, design_sha256
from synth.jobs import tools
from synth.libraries import NAMED, Source, find
from synth.memory import MEMORY_45_NM
from synth.surroundings import INPUT_ARRIVAL_NS
from synth.table import ArrayCost, CostTable, Library, Provenance

FOLDER = Path(__file__).parent
MEMORY_NM = 45
"""Node of the memories that are cited; tables of another node have none."""


ARRAY = "Array"
"""Group of options in --help."""
EXAMPLES = (
    "sigmaquant synth --hardware tiny --products 2000",
    "sigmaquant synth --pe booth_digit --clock-ns 2 --liberty cells.lib --node-nm 28",
    "sigmaquant search --cost-table synth/tables/nangate45-tiny.json   (to search with it)",
)


def make_table(
    *, config: ArrayConfig, name: str, bench: Bench, source: Source, command: str
) -> CostTable:
    """Characterise an array and its INT8 baselines at one clock."""
    found = characterise(config, bench)
    notes = [f"{config.name} {module}: {recipe}" for module, recipe in found.recipes.items()]
    costs: dict[str, ArrayCost] = {}
    for key, baseline in baselines(config).items():
        other = characterise(baseline, bench)
        costs[key] = other.cost
        notes += [f"{baseline.name} {module}: {recipe}" for module, recipe in other.recipes.items()]
    return CostTable(
        name=name,
        library=library_entry(bench.library, source),
        clock_period_ns=bench.period_ns,
        array=found.cost,
        baselines=costs,
        memory=MEMORY_45_NM if source.node_nm == MEMORY_NM else None,
        provenance=Provenance(
            command=command,
            tools=tools(),
            operands=bench.operands.name,
            operands_sha256=bench.operands.sha256,
            design_sha256=design_sha256(config),
            notes=[
                *notes,
                f"mapped by {bench.engine.value} {bench.engine.version}",
                f"energy of about {bench.products} sampled products a mode, the same for all",
                f"inputs of the array change {INPUT_ARRIVAL_NS} ns after the clock edge",
                "wire-load model of the library; ideal clock, its pins counted, its wires not",
            ],
        ),
    )


def library_entry(library: cells.Library, source: Source) -> Library:
    """Describe a library as cost tables do."""
    return Library(
        name=library.name,
        node_nm=source.node_nm,
        voltage_v=library.voltage_v,
        temperature_c=library.temperature_c,
        corner=library.corner,
        sha256=library.sha256,
        note=source.note,
    )


def chosen_config(
    config: str, pe: str, rows: int | None, cols: int | None, lanes: int | None
) -> ArrayConfig:
    """Array of a named configuration, with what else is given.

    Raises
    ------
    ValueError
        If there is no such configuration or kind, or the array cannot be.
    """
    array = named(config).array
    if pe:
        known = [kind.value for kind in PEKind]
        if pe not in known:
            raise ValueError(f"pe must be one of {', '.join(known)}, not {pe!r}")
        array = replace(array, pe=PEKind(pe))
    given = {"rows": rows, "cols": cols, "lanes": lanes}
    fields: dict[str, int] = {key: value for key, value in given.items() if value is not None}
    if rows is not None and rows % array.drain_rows:
        fields["drain_rows"] = 1
    return replace(array, **fields)  # type: ignore[arg-type]  # all of them are numbers


@takes_bench_options(
    *("clock_ns", "liberty_file", "node_nm", "operand_file", "products", "thorough"),
    *("cache", "workers", "cluster", "engine"),
)
def main(
    context: typer.Context,
    name: Annotated[
        str, typer.Option(help="Name of the table; by default of library and configuration.")
    ] = "",
    out: Annotated[Path, typer.Option(help="Folder of the table.")] = FOLDER / "tables",
    config: Annotated[
        str,
        typer.Option(
            "--hardware", help="Array of hw.catalog: tiny, edge or large.", rich_help_panel=ARRAY
        ),
    ] = "edge",
    pe: Annotated[
        str, typer.Option(help="Another kind of PE than that array's.", rich_help_panel=ARRAY)
    ] = "",
    rows: Annotated[
        int | None, typer.Option(help="Other rows of PEs.", rich_help_panel=ARRAY)
    ] = None,
    cols: Annotated[
        int | None, typer.Option(help="Other columns of PEs.", rich_help_panel=ARRAY)
    ] = None,
    lanes: Annotated[
        int | None, typer.Option(help="Other lanes of a PE.", rich_help_panel=ARRAY)
    ] = None,
    node_nm: Annotated[
        float | None, typer.Option(help="Node in nm, if the library is not a named one.")
    ] = None,
    *,
    options: BenchOptions,
) -> None:
    """Map the array and its INT8 baselines to standard cells; write their costs as a table."""
    with one_line("synth"):
        source = find(options.liberty_file)
        source = source if node_nm is None else replace(source, node_nm=node_nm)
        array = chosen_config(config, pe, rows, cols, lanes)
        bench = options.bench()
        shown = "default" if array == named("edge").array else array.name
        given = options.liberty_file
        library = given if given in NAMED else bench.library.name
        name = name or f"{library}-{shown}"
        table = make_table(
            config=array,
            name=name,
            bench=bench,
            source=source,
            command=command_line("synth"),
        )
        path = out / f"{name}.json"
        table.save(path)
        write_config(
            path.with_suffix(f".{CONFIG_NAME}"),
            command="synth",
            values={key.name: context.params[key.parameter] for key in keys_of(main)},
        )
    report.show(table, Console())
    typer.echo(f"{path}")


app = command_app(main, name="synth", examples=EXAMPLES)

if __name__ == "__main__":
    app()
