"""The array's RTL in Icarus against the golden model and the schedule, through cocotb.

Together the random jobs compare more than 10,000 tiles over all modes.
"""

import functools
from collections.abc import Callable
from pathlib import Path

import pytest
from amaranth import Module

from hw.array import MacArray
from hw.booth import DigitRecoder
from hw.config import ArrayConfig, PEKind
from hw.precision import WeightMode
from hw.verilog import to_verilog
from sim.bench.job import ArrayJob
from sim.bench.runner import run_array_bench

SMALL = ArrayConfig(rows=2, cols=3, lanes=4, group=2)
CONFIGS = {
    "small": SMALL,
    "uneven-groups": ArrayConfig(rows=3, cols=2, lanes=5, group=2, drain_rows=1),
    "one-lane": ArrayConfig(rows=2, cols=1, lanes=1, drain_rows=1),
    "signed": ArrayConfig(rows=2, cols=2, lanes=4, act_signed=True),
    "four-bit": ArrayConfig(rows=2, cols=2, lanes=3, act_bits=4, acc_bits=20, max_depth=200),
    "in-place": ArrayConfig(rows=4, cols=2, lanes=4, double_buffered=False),
    "wide": ArrayConfig(rows=4, cols=4, lanes=16, max_depth=600, acc_bits=26),
    "int8": ArrayConfig(rows=4, cols=3, lanes=1, pe=PEKind.INT8_MAC, double_buffered=False),
    "int8-signed": ArrayConfig(rows=2, cols=2, lanes=1, pe=PEKind.INT8_MAC, act_signed=True),
}

TILES = {name: {"small": 2000, "wide": 150}.get(name, 430) for name in CONFIGS}


@functools.cache
def _verilog(config: ArrayConfig) -> str:
    return to_verilog(MacArray(config), name="mac_array")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Callable[[ArrayJob], int]:
    build = tmp_path_factory.mktemp("rtl")

    def run_job(job: ArrayJob) -> int:
        return run_array_bench(_verilog(job.config), job, build=build)

    return run_job


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize(("idle", "busy"), [(0.0, 0.0), (0.2, 0.3)], ids=["flowing", "stalled"])
def test_random_and_extreme_tiles_equal_the_golden_model(
    name: str, idle: float, busy: float, run: Callable[[ArrayJob], int]
) -> None:
    seed = 2026 + bool(busy)  # other tiles than without stalls
    job = ArrayJob(
        config=CONFIGS[name], kind="random", seed=seed, tiles=TILES[name], idle=idle, busy=busy
    )
    assert run(job) == TILES[name]


def test_random_jobs_are_more_than_ten_thousand_tiles() -> None:
    assert 2 * sum(TILES.values()) >= 10_000


@pytest.mark.parametrize("name", ["wide", "four-bit"])
def test_longest_dot_of_extreme_operands_does_not_overflow(
    name: str, run: Callable[[ArrayJob], int]
) -> None:
    assert CONFIGS[name].acc_bits - CONFIGS[name].required_acc_bits <= 1
    assert run(ArrayJob(config=CONFIGS[name], kind="deepest", seed=1)) == 4


@pytest.mark.parametrize("name", ["small", "uneven-groups", "in-place", "int8"])
@pytest.mark.parametrize("mode", WeightMode, ids=lambda mode: mode.name)
@pytest.mark.parametrize("depth", [1, 23])
def test_cycles_of_a_layer_equal_the_schedule(
    name: str, mode: WeightMode, depth: int, run: Callable[[ArrayJob], int]
) -> None:
    job = ArrayJob(config=CONFIGS[name], kind=mode.name, seed=7, tiles=5, depth=depth)
    assert run(job) == 5


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
    job = ArrayJob(config=SMALL, kind="random", seed=1, tiles=50)
    with pytest.raises(AssertionError, match=r"row \d, column \d: -?\d+ expected, got -?\d+"):
        run_array_bench(broken, job, build=tmp_path)
