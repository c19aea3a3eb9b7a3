"""The array's RTL in Icarus against the golden model and the schedule, through cocotb.

One bench for every kind of PE. Each run takes random tiles under every pair of idle operands and
back-pressure, the deepest tiles of extreme operands, and layers whose cycles the schedule must
give; together they compare more than 10,000 tiles over all modes. Functional coverage of a kind's
runs is merged into build/coverage and must be complete.
"""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from amaranth import Module

from hw.array import MacArray
from hw.booth import DigitRecoder
from hw.config import ArrayConfig, Multiplier, PEKind, Stage
from hw.verilog import to_verilog
from sim.bench import coverage_report
from sim.bench.job import ArrayJob
from sim.bench.runner import run_array_bench, run_bench

COVERAGE = Path(__file__).parents[1] / "build" / "coverage"
STALL_PAIRS = 9


def small(pe: PEKind, lanes: int = 4, **fields: Any) -> ArrayConfig:
    """Return an array whose accumulators just hold the deepest tiles."""
    given = {"rows": 2, "cols": 3, "group": 2, "max_depth": 64, "acc_bits": None} | fields
    return ArrayConfig(pe=pe, lanes=lanes, **given)


SMALL = small(PEKind.BOOTH_DIGIT)
IN_PLACE = {"rows": 3, "cols": 2, "drain_rows": 1, "double_buffered": False}
ALL_STAGES = tuple(Stage)
CONFIGS = {
    "booth": SMALL,
    "booth-in-place": small(
        PEKind.BOOTH_DIGIT, 5, group=3, act_signed=True, registers=(), **IN_PLACE
    ),
    "booth-one-lane": small(PEKind.BOOTH_DIGIT, 1, cols=1, drain_rows=1),
    "booth-wide": small(
        PEKind.BOOTH_DIGIT, 16, rows=4, cols=4, group=8, acc_bits=32, registers=ALL_STAGES
    ),
    "bits": small(PEKind.BIT_PLANE),
    "bits-in-place": small(PEKind.BIT_PLANE, 5, act_signed=True, registers=(), **IN_PLACE),
    "pairs": small(PEKind.BIT_PAIR),
    "pairs-in-place": small(PEKind.BIT_PAIR, 5, group=3, act_signed=True, registers=(), **IN_PLACE),
    "pairs-one-lane": small(PEKind.BIT_PAIR, 1, cols=1, drain_rows=1, registers=ALL_STAGES),
    "radix4": small(PEKind.RADIX4_DIGIT),
    "radix4-in-place": small(PEKind.RADIX4_DIGIT, 5, act_bits=4, registers=(), **IN_PLACE),
    "radix4-slow-drain": small(PEKind.RADIX4_DIGIT, rows=4, registers=ALL_STAGES),
    "planes": small(PEKind.DIGIT_PLANES, 8),
    "planes-in-place": small(
        PEKind.DIGIT_PLANES, act_signed=True, act_bits=6, registers=ALL_STAGES, **IN_PLACE
    ),
    "shift-add": small(PEKind.SHIFT_ADD, 1),
    "shift-add-in-place": small(
        PEKind.SHIFT_ADD, 1, max_shift=1, act_signed=True, registers=(), **IN_PLACE
    ),
    "shift-add-far": small(PEKind.SHIFT_ADD, 1, cols=1, max_shift=7, act_bits=5),
    "int8": small(PEKind.INT8_MAC, 1),
    "int8-in-place": small(PEKind.INT8_MAC, 1, act_signed=True, registers=(), **IN_PLACE),
    "int8-by-operator": small(PEKind.INT8_MAC, 1, multiplier=Multiplier.OPERATOR),
    "int8-fused": small(
        PEKind.INT8_MAC, 1, act_signed=True, registers=(), multiplier=Multiplier.FUSED
    ),
    "dot": small(PEKind.INT8_DOT),
    "dot-by-operator": small(
        PEKind.INT8_DOT, act_signed=True, multiplier=Multiplier.OPERATOR, registers=ALL_STAGES
    ),
    "dot-fused": small(PEKind.INT8_DOT, multiplier=Multiplier.FUSED),
    "dot-fused-in-place": small(
        PEKind.INT8_DOT, 3, act_signed=True, multiplier=Multiplier.FUSED, registers=(), **IN_PLACE
    ),
    "dot-in-place": small(
        PEKind.INT8_DOT, 3, act_signed=True, act_bits=7, registers=ALL_STAGES, **IN_PLACE
    ),
}

TILES = {name: {"booth-wide": 20}.get(name, 66) for name in CONFIGS}
"""Random tiles under each pair of stalls."""

Report = dict[str, Any]


@functools.cache
def _verilog(config: ArrayConfig) -> str:
    return to_verilog(MacArray(config), name="mac_array")


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Report]:
    """Return the report of a configuration's run, which happens once."""
    build = tmp_path_factory.mktemp("rtl")

    @functools.cache
    def run(name: str) -> Report:
        job = ArrayJob(config=CONFIGS[name], seed=2026, tiles=TILES[name])
        return run_bench(
            _verilog(job.config),
            top="mac_array",
            bench="sim.bench.array_bench",
            job=job.to_json(),
            build=build,
        )

    return run


@pytest.mark.parametrize("name", CONFIGS)
def test_all_tiles_equal_the_golden_model_and_layers_take_the_cycles_of_the_schedule(
    name: str, report: Callable[[str], Report]
) -> None:
    extremes, layers = 8, 4 * 2 * 4
    assert report(name)["compared"] == STALL_PAIRS * TILES[name] + extremes + layers


def test_random_tiles_are_more_than_ten_thousand() -> None:
    assert STALL_PAIRS * sum(TILES.values()) >= 10_000


@pytest.mark.parametrize("pe", PEKind, ids=lambda pe: pe.value)
def test_every_bin_of_the_functional_coverage_is_hit(
    pe: PEKind, report: Callable[[str], Report]
) -> None:
    names = [name for name, config in CONFIGS.items() if config.pe is pe]
    hits = coverage_report.merged(report(name)["coverage"] for name in names)
    coverage_report.write(COVERAGE, pe.value, hits)
    assert coverage_report.missing(hits) == []


def test_a_kinds_accumulators_are_at_their_bounds() -> None:
    # 64 products of 255 and -128 take 99.6 % of 22 bits: the coverage's extreme sums are bounds
    assert SMALL.acc_bits == 22
    assert 64 * 255 * 128 > 0.99 * 2**21


def test_one_broken_digit_of_the_recoder_is_found(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def elaborate(self: DigitRecoder, platform: object) -> Module:
        m = Module()
        low, high = self.pair[0], self.pair[1]
        m.d.comb += [
            self.digit.one.eq(low ^ self.below),
            # the digit +2 (pair 01, below 1) becomes 0
            self.digit.two.eq(high & ~low & ~self.below),
            self.digit.neg.eq(high & ~(low & self.below)),
        ]
        return m

    monkeypatch.setattr(DigitRecoder, "elaborate", elaborate)
    broken = to_verilog(MacArray(SMALL), name="mac_array")
    job = ArrayJob(config=SMALL, seed=1, tiles=50)
    with pytest.raises(AssertionError, match=r"row \d, column \d: -?\d+ expected, got -?\d+"):
        run_array_bench(broken, job, build=tmp_path)
