"""Mutants of a unit: made, simulated, and those that live proven equivalent or not."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from sim.mutate.bench import run_mutants
from sim.mutate.equivalence import equivalent
from sim.mutate.mutants import Mutant, mutate
from sim.mutate.units import Unit


@dataclass(frozen=True, kw_only=True)
class Score:
    """What became of a unit's mutants.

    Parameters
    ----------
    unit : str
        Its name.
    mutants, killed, equivalent : int
        Counts; equivalent ones are proven to be.
    survivors : list of Mutant
        All others.
    cycles : int
        Length of the vectors.
    seconds : float
        Wall-clock time.
    """

    unit: str
    mutants: int
    killed: int
    equivalent: int
    survivors: list[Mutant]
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
    mutated = mutate(unit.build(), module=unit.module, count=count, seed=seed, folder=folder)
    killed = run_mutants(mutated, vectors)
    alive = [mutant for mutant in mutated.mutants if mutant.number not in killed]
    same = equivalent(
        mutated, [mutant.number for mutant in alive], vectors, contracts=unit.contracts
    )
    return Score(
        unit=unit.name,
        mutants=len(mutated.mutants),
        killed=len(killed),
        equivalent=len(same),
        survivors=[mutant for mutant in alive if mutant.number not in same],
        cycles=vectors.cycles,
        seconds=time.monotonic() - started,
    )
