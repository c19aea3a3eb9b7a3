"""``python -m sim.formal``: prove what `sim.formal.catalog` lists, or what is named."""

from __future__ import annotations

from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated

import typer

from hw.cli.command import command_app, complain, inside
from sim.formal.catalog import proofs
from sim.formal.report import line, write
from sim.formal.sby import FormalError, Outcome, check_tools, run_proof


def main(
    names: Annotated[
        list[str] | None, typer.Argument(help="Proofs; * and ? stand for any text. All if none.")
    ] = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder to write to.")] = Path(
        "build"
    ),
    timeout_s: Annotated[int, typer.Option(help="Longest time of one proof.")] = 300,
    only_list: Annotated[bool, typer.Option("--list", help="List the proofs.")] = False,
) -> None:
    """Prove properties of the gateware. Exit status 1: one does not hold; 2: no answer."""
    wanted = names or ["*"]
    chosen = [p for p in proofs() if any(fnmatchcase(p.name, name) for name in wanted)]
    if only_list:
        for proof in chosen:
            typer.echo(f"{proof.name:38} {proof.how:18} {proof.claim}")
        return
    outcomes: list[Outcome] = []
    try:
        check_tools()
        if not chosen:
            raise FormalError(
                f"names must be of proofs (--list shows them), not {' '.join(wanted)}"
            )
        for proof in chosen:
            folder = output / "formal" / proof.name
            outcomes.append(run_proof(proof, folder=folder, timeout_s=timeout_s))
            typer.echo(line(outcomes[-1]))
            write(outcomes, output)
    except (FormalError, OSError, ValueError) as error:
        complain(f"sim.formal: {error}")
        raise typer.Exit(2) from error
    proven = sum(outcome.passed for outcome in outcomes)
    seconds = sum(outcome.seconds for outcome in outcomes)
    typer.echo(f"{proven} of {len(outcomes)} proven in {seconds:.0f} s: {output / 'formal.md'}")
    if proven < len(outcomes):
        raise typer.Exit(1)


app = command_app(main, name="sim.formal", place=inside("output"))

if __name__ == "__main__":
    app()
