"""Make a cost table: ``python -m synth``."""

from __future__ import annotations

import math
import os
import shlex
import sys
import tempfile
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from hw.config import ArrayConfig
from hw.yosys import YosysError
from synth import cells, liberty, operands, report
from synth.activity import SimulationError
from synth.cache import CACHE, characterised, tools
from synth.characterise import (
    INPUT_ARRIVAL_NS,
    PRODUCTS,
    Bench,
    ClockError,
    baselines,
    design_sha256,
)
from synth.memory import MEMORY_45_NM
from synth.table import ArrayCost, CostTable, Library, Provenance

FOLDER = Path(__file__).parent
NANGATE_NM = 45


def make_table(
    *,
    config: ArrayConfig,
    name: str,
    bench: Bench,
    node_nm: float,
    command: str,
    cache: Path,
) -> CostTable:
    """Characterise an array and its INT8 baselines at one clock."""
    array, recipes = characterised(config, bench, cache)
    notes = [f"{config.name} {module}: {recipe}" for module, recipe in recipes.items()]
    costs: dict[str, ArrayCost] = {}
    for key, baseline in baselines(config).items():
        costs[key], recipes = characterised(baseline, bench, cache)
        notes += [f"{baseline.name} {module}: {recipe}" for module, recipe in recipes.items()]
    return CostTable(
        name=name,
        library=library_entry(bench.library, node_nm),
        clock_period_ns=bench.period_ns,
        array=array,
        baselines=costs,
        memory=MEMORY_45_NM if node_nm == NANGATE_NM else None,
        provenance=Provenance(
            command=command,
            tools=tools(),
            operands=bench.operands.name,
            operands_sha256=bench.operands.sha256,
            design_sha256=design_sha256(config),
            notes=[
                *notes,
                f"energy of about {bench.products} sampled products a mode, the same for all",
                f"inputs of the array change {INPUT_ARRIVAL_NS} ns after the clock edge",
                "wire-load model of the library; ideal clock, its pins counted, its wires not",
            ],
        ),
    )


def library_entry(library: cells.Library, node_nm: float) -> Library:
    """Describe a library as cost tables do."""
    nangate = library.name.startswith("Nangate")
    return Library(
        name=library.name,
        node_nm=node_nm,
        voltage_v=library.voltage_v,
        temperature_c=library.temperature_c,
        corner=library.corner,
        sha256=library.sha256,
        note="FreePDK45 is a predictive process, not a foundry's" if nangate else "",
    )


def main(
    name: Annotated[
        str, typer.Option(help="Name of the table; by default of library and configuration.")
    ] = "",
    out: Annotated[Path, typer.Option(help="Folder of the table.")] = FOLDER / "tables",
    liberty_file: Annotated[
        Path | None, typer.Option("--liberty", help="Liberty file; NanGate 45 nm if not given.")
    ] = None,
    operand_file: Annotated[
        Path, typer.Option("--operands", help="Sampled operands of a network.")
    ] = FOLDER / "operands" / "resnet8.npz",
    clock_ns: Annotated[float, typer.Option(help="Clock period in ns.")] = 1.65,
    node_nm: Annotated[
        float | None, typer.Option(help="Node of the library in nm; needed with --liberty.")
    ] = None,
    products: Annotated[
        int, typer.Option(min=1, help="Products a mode that energy is measured on; fewer, faster.")
    ] = PRODUCTS,
    rows: int = ArrayConfig.rows,
    cols: int = ArrayConfig.cols,
    lanes: int = ArrayConfig.lanes,
    cache: Annotated[
        Path, typer.Option(help="Where finished arrays are kept; a rerun takes them from there.")
    ] = CACHE,
) -> None:
    """Map the array and its INT8 baselines to standard cells; write their costs as a table."""
    console = Console(stderr=True)
    try:
        if not (math.isfinite(clock_ns) and clock_ns > 0):
            raise ValueError(f"clock_ns must be positive, not {clock_ns}")
        if liberty_file is not None and node_nm is None:
            raise ValueError("node_nm must be given with another library; add --node-nm")
        drain_rows = ArrayConfig.drain_rows if rows % ArrayConfig.drain_rows == 0 else 1
        config = ArrayConfig(rows=rows, cols=cols, lanes=lanes, drain_rows=drain_rows)
        library = liberty.load(liberty_file or liberty.nangate45())
        shown = "default" if config == ArrayConfig() else config.name
        name = name or f"{'nangate45' if liberty_file is None else library.name}-{shown}"
        sampled = operands.load(operand_file)
        with tempfile.TemporaryDirectory(prefix="sigmaquant-synth-") as folder:
            bench = Bench(
                library=library,
                operands=sampled,
                period_ns=clock_ns,
                folder=Path(folder),
                workers=os.cpu_count() or 1,
                report=lambda line: console.print(f"[dim]{line}[/dim]"),
                products=products,
            )
            table = make_table(
                config=config,
                name=name,
                bench=bench,
                node_nm=node_nm or NANGATE_NM,
                command=shlex.join(["python", "-m", "synth", *sys.argv[1:]]),
                cache=cache,
            )
        path = out / f"{name}.json"
        table.save(path)
    except (
        ValueError,
        OSError,
        ClockError,
        SimulationError,
        YosysError,
        cells.LibertyError,
        operands.OperandError,
    ) as error:
        typer.echo(f"synth: {error}", err=True)
        raise typer.Exit(2) from error
    report.show(table, Console())
    typer.echo(f"{path}")


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
app.command()(main)

if __name__ == "__main__":
    app()
