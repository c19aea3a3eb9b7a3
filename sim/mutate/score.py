"""Mutants of a unit: made, simulated, and those that live proven equivalent or not."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from sim.mutate.bench import run_mutants
from sim.mutate.equivalence import equivalent
from sim.mutate.mutants import build, choose
from sim.mutate.units import Unit

BATCH = 50
"""Mutants of a netlist: each slows all of them down."""


@dataclass(frozen=True, kw_only=True)
class Score:
    """What became of a unit's mutants.

    Parameters
    ----------
    unit : str
        Its name.
    mutants, killed, equivalent : int
        Counts; equivalent ones are proven to be.
    survivors : list of str
        What all others change.
    cycles : int
        Length of the vectors.
    seconds : float
        Wall-clock time.
    """

    unit: str
    mutants: int
    killed: int
    equivalent: int
    survivors: list[str]
    cycles: int
    seconds: float

    @property
    def killed_share(self) -> float:
        """Killed share of those not proven equivalent."""
        return self.killed / max(1, self.mutants - self.equivalent)


def score(unit: Unit, *, count: int, seed: int, folder: Path) -> Score:
    """Mutate, simulate, prove.

    Raises
    ------
    GoldenError, BenchError, SolverError, YosysError
        If a step cannot be done.
    """
    started = time.monotonic()
    vectors = unit.vectors(seed)
    changes = choose(unit.build(), module=unit.module, count=count, seed=seed, folder=folder)
    killed = same = 0
    survivors: list[str] = []
    for first in range(0, len(changes), BATCH):
        batch = folder / f"batch_{first // BATCH}"
        mutated = build(changes[first : first + BATCH], source=folder, folder=batch)
        dead = run_mutants(mutated, vectors)
        alive = [number for number in mutated.numbers if number not in dead]
        proven = equivalent(mutated, alive, vectors, contracts=unit.contracts)
        killed += len(dead)
        same += len(proven)
        survivors += [mutated.changes[n - 1] for n in alive if n not in proven]
    return Score(
        unit=unit.name,
        mutants=len(changes),
        killed=killed,
        equivalent=same,
        survivors=survivors,
        cycles=vectors.cycles,
        seconds=time.monotonic() - started,
    )
