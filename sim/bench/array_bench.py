"""Cocotb bench of the MAC array, for every kind of PE. Run by `sim.bench.runner`."""

from __future__ import annotations

import json
import os
from itertools import product
from pathlib import Path
from typing import Any

import cocotb
import numpy as np
from cocotb.clock import Clock
from cocotb.triggers import Combine, RisingEdge
from cocotb_coverage.coverage import coverage_db

from hw.config import ArrayConfig
from hw.precision import WeightMode
from hw.schedule import GemmShape, layer_schedule, steps_of_weights
from sim.bench.coverage import STALLS, ArrayCoverage
from sim.bench.drivers import RoomDriver, StreamDriver
from sim.bench.job import ArrayJob
from sim.bench.monitor import Monitor
from sim.bench.tiles import Tile, extreme_tiles, random_tiles
from sim.golden import Ints

CYCLE_DEPTHS = (1, 23)
"""Depths of the layers whose cycles are compared with the schedule."""

CYCLE_TILES = 4
"""Tiles of each of these layers."""


class ArrayBench:
    """The array with drivers, monitor and scoreboard; tiles go through it in order."""

    def __init__(self, dut: Any, config: ArrayConfig, *, seed: int) -> None:
        self.dut, self.config = dut, config
        self.coverage = ArrayCoverage(config)
        self.monitor = Monitor(dut, config, self.coverage)
        self.room = RoomDriver(dut, seed=seed)
        self.streams = {
            name: StreamDriver(dut, name, seed=seed) for name in ("tiles", "acts", "weights")
        }
        self.compared = 0

    async def start(self) -> None:
        """Reset the array and start watching."""
        dut = self.dut
        Clock(dut.clk, 2, unit="ns").start()
        dut.rst.value = 1
        await RisingEdge(dut.clk)
        await RisingEdge(dut.clk)
        dut.rst.value = 0
        cocotb.start_soon(self.monitor.run())
        cocotb.start_soon(self.room.run())

    async def compare(self, tiles: list[Tile], *, idle: float = 0.0, busy: float = 0.0) -> None:
        """Send tiles and compare every result with the golden model."""
        config, monitor = self.config, self.monitor
        self.room.busy = busy
        monitor.modes += [tile.mode.name for tile in tiles]
        monitor.restart()
        items = {
            "tiles": [tile.command(config) for tile in tiles],
            "acts": [item for tile in tiles for item in tile.act_items(config)],
            "weights": [item for tile in tiles for item in tile.weight_items(config)],
        }
        sent = [
            cocotb.start_soon(self.streams[name].send(values, idle=idle))
            for name, values in items.items()
        ]
        for tile in tiles:
            while len(monitor.tiles) <= self.compared:
                monitor.received.clear()
                await monitor.received.wait()
            self._check(tile, monitor.tiles[self.compared])
            self.compared += 1
        await Combine(*sent)
        for _ in range(2 * config.rows + 8):
            await RisingEdge(self.dut.clk)
        assert len(monitor.tiles) == self.compared, "more results than tiles"

    def _check(self, tile: Tile, result: Ints) -> None:
        expected = tile.expected()
        if not np.array_equal(result, expected):
            row, col = np.argwhere(result != expected)[0]
            raise AssertionError(
                f"tile {self.compared} ({tile.mode.name}, depth {tile.act.shape[1]}), row {row}, "
                f"column {col}: {expected[row, col]} expected, got {result[row, col]}"
            )
        self.coverage.tile(tile, expected)


@cocotb.test()
async def array_equals_golden_model_and_schedule(dut: Any) -> None:
    """Random tiles under every pair of stalls, extreme ones, and layers whose cycles are known.

    The report is written last: a bench that failed leaves none.
    """
    job = ArrayJob.from_json(os.environ["BENCH_JOB"])
    bench = ArrayBench(dut, job.config, seed=job.seed)
    await bench.start()
    for index, (idle, room) in enumerate(product(STALLS, repeat=2)):
        tiles = list(random_tiles(job.config, count=job.tiles, seed=job.seed + index))
        await bench.compare(tiles, idle=STALLS[idle], busy=STALLS[room])
        bench.coverage.stall(idle, room)
    if job.deepest:
        await bench.compare(extreme_tiles(job.config))
    for mode, depth in product(WeightMode, CYCLE_DEPTHS):
        await _compare_cycles(bench, mode, depth, seed=job.seed)
    path = Path(os.environ["BENCH_REPORT"])
    coverage_db.export_to_xml(str(path.with_suffix(".coverage.xml")))
    report = {"compared": bench.compared, "seed": job.seed, "coverage": bench.coverage.hits()}
    path.write_text(json.dumps(report), encoding="utf-8")


async def _compare_cycles(bench: ArrayBench, mode: WeightMode, depth: int, *, seed: int) -> None:
    """Tiles of one mode back to back take the schedule's cycles, exactly."""
    config, rng = bench.config, np.random.default_rng(seed)
    tiles = [
        Tile(
            mode=mode,
            act=rng.integers(config.act_min, config.act_max + 1, (config.rows, depth)),
            weight=rng.integers(mode.min, mode.max + 1, (depth, config.cols)),
        )
        for _ in range(CYCLE_TILES)
    ]
    shape = GemmShape(pixels=config.rows * CYCLE_TILES, depth=depth, outputs=config.cols)
    steps = [steps_of_weights(tile.weight.tolist(), mode, config) for tile in tiles]
    expected = layer_schedule(shape, mode, config, steps=steps).cycles
    await bench.compare(tiles)
    assert bench.monitor.first_cycle is not None
    taken = bench.monitor.last_cycle - bench.monitor.first_cycle + 1
    assert taken == expected, (
        f"{mode.name}, depth {depth}: schedule says {expected} cycles, the RTL took {taken}"
    )
