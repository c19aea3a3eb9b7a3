"""Cocotb bench of the MAC array: drivers, monitor, scoreboard. Run by `sim.bench.runner`."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import cocotb
import numpy as np
from cocotb.clock import Clock
from cocotb.triggers import Event, RisingEdge

from hw.config import ArrayConfig
from hw.precision import WeightMode
from hw.schedule import GemmShape, layer_schedule, tile_steps
from sim.bench.job import ArrayJob
from sim.bench.tiles import Tile, deepest_tile, random_tiles
from sim.golden import Ints


class StreamDriver:
    """Offers items on a valid/ready stream, with random idle cycles."""

    def __init__(self, dut: Any, name: str, *, idle: float, seed: int) -> None:
        self._clk = dut.clk
        self._valid = getattr(dut, f"{name}__valid")
        self._payload = getattr(dut, f"{name}__payload")
        self._ready = getattr(dut, f"{name}__ready")
        self._idle = idle
        self._random = random.Random(f"{name}-{seed}")
        self._valid.value = 0

    async def send(self, items: Iterable[int]) -> None:
        """Offer items until the last one is taken."""
        edge = RisingEdge(self._clk)
        for item in items:
            while self._random.random() < self._idle:
                self._valid.value = 0
                await edge
            self._payload.value = item
            self._valid.value = 1
            await edge
            while not int(self._ready.value):
                await edge
        self._valid.value = 0


class RoomDriver:
    """Says at random whether the consumer has room for another tile."""

    def __init__(self, dut: Any, *, busy: float, seed: int) -> None:
        self._dut = dut
        self._busy = busy
        self._random = random.Random(f"room-{seed}")
        dut.room.value = 1

    async def run(self) -> None:
        """Toggle for ever."""
        while self._busy:
            await RisingEdge(self._dut.clk)
            self._dut.room.value = int(self._random.random() >= self._busy)


class Monitor:
    """Collects rows of results into tiles, and counts cycles."""

    def __init__(self, dut: Any, config: ArrayConfig) -> None:
        self._dut = dut
        self._config = config
        self._row_bits = (config.drain_cycles - 1).bit_length()
        self.tiles: list[Ints] = []
        self.first_cycle: int | None = None
        self.last_cycle = 0
        self.received = Event()

    async def run(self) -> None:
        """Watch for ever."""
        config, dut = self._config, self._dut
        edge = RisingEdge(dut.clk)
        cycle = 0
        rows: list[Ints] = []
        while True:
            await edge
            cycle += 1
            taken = int(dut.tiles__valid.value) and int(dut.tiles__ready.value)
            assert int(dut.room.value) or not taken, "tile taken without room for its results"
            if self.first_cycle is None and int(dut.weights__ready.value):
                self.first_cycle = cycle
            if not int(dut.psums__valid.value):
                continue
            word = int(dut.psums__payload.value)
            row = word & ((1 << self._row_bits) - 1)
            assert row == len(rows), f"row {len(rows)} expected, got {row}"
            rows.append(self._sums(word >> self._row_bits))
            self.last_cycle = cycle
            if len(rows) == config.drain_cycles:
                # [drain_cycles, cols, drain_rows] to [rows, cols]
                self.tiles.append(np.array(rows).transpose(2, 0, 1).reshape(config.rows, -1))
                rows = []
                self.received.set()

    def _sums(self, word: int) -> Ints:
        """Return the sums of one cycle, int64 [cols, drain_rows]."""
        bits, shape = self._config.acc_bits, (self._config.cols, self._config.drain_rows)
        fields = [word >> bits * i & (1 << bits) - 1 for i in range(shape[0] * shape[1])]
        return np.array([f - (f >> bits - 1 << bits) for f in fields]).reshape(shape)


class Scoreboard:
    """Compares results with the golden model, tile by tile."""

    def __init__(self) -> None:
        self.compared = 0

    def check(self, tile: Tile, result: Ints) -> None:
        """Compare one tile, in the order they were sent."""
        expected = tile.expected()
        if not np.array_equal(result, expected):
            row, col = np.argwhere(result != expected)[0]
            raise AssertionError(
                f"tile {self.compared} ({tile.mode.name}, depth {tile.act.shape[1]}), row {row}, "
                f"column {col}: {expected[row, col]} expected, got {result[row, col]}"
            )
        self.compared += 1


async def run_tiles(dut: Any, job: ArrayJob, tiles: list[Tile]) -> Monitor:
    """Send tiles through the array and compare every result."""
    config = job.config
    drivers = {
        name: StreamDriver(dut, name, idle=job.idle, seed=job.seed)
        for name in ("tiles", "acts", "weights")
    }
    room = RoomDriver(dut, busy=job.busy, seed=job.seed)
    Clock(dut.clk, 2, unit="ns").start()
    dut.rst.value = 1
    await RisingEdge(dut.clk)
    await RisingEdge(dut.clk)
    dut.rst.value = 0
    monitor, scoreboard = Monitor(dut, config), Scoreboard()
    cocotb.start_soon(monitor.run())
    cocotb.start_soon(room.run())
    cocotb.start_soon(drivers["tiles"].send(t.command(config) for t in tiles))
    cocotb.start_soon(drivers["acts"].send(i for t in tiles for i in t.act_items(config)))
    cocotb.start_soon(drivers["weights"].send(i for t in tiles for i in t.weight_items(config)))
    for index, tile in enumerate(tiles):
        while len(monitor.tiles) <= index:
            monitor.received.clear()
            await monitor.received.wait()
        scoreboard.check(tile, monitor.tiles[index])
    for _ in range(2 * config.rows + 8):
        await RisingEdge(dut.clk)
    assert len(monitor.tiles) == len(tiles), "more results than tiles"
    return monitor


@cocotb.test()
async def array_equals_golden_model(dut: Any) -> None:
    """Random and extreme tiles, or a layer without stalls whose cycles are known.

    The report is written last: a bench that failed leaves none.
    """
    job = ArrayJob.from_json(os.environ["BENCH_JOB"])
    tiles = _tiles(job)
    monitor = await run_tiles(dut, job, tiles)
    if job.kind in WeightMode.__members__:
        _check_cycles(job, tiles, monitor)
    report = json.dumps({"compared": len(tiles), "seed": job.seed})
    Path(os.environ["BENCH_REPORT"]).write_text(report, encoding="utf-8")


def _tiles(job: ArrayJob) -> list[Tile]:
    config = job.config
    if job.kind == "random":
        return list(random_tiles(config, count=job.tiles, seed=job.seed))
    if job.kind == "deepest":
        return [
            deepest_tile(config, mode, negative=negative)
            for mode in (WeightMode.W8, WeightMode.W2)
            for negative in (True, False)
        ]
    mode, rng = WeightMode[job.kind], np.random.default_rng(job.seed)
    return [
        Tile(
            mode=mode,
            act=rng.integers(config.act_min, config.act_max + 1, (config.rows, job.depth)),
            weight=rng.integers(mode.min, mode.max + 1, (job.depth, config.cols)),
        )
        for _ in range(job.tiles)
    ]


def _check_cycles(job: ArrayJob, tiles: list[Tile], monitor: Monitor) -> None:
    """Tiles of one mode back to back take the schedule's cycles, exactly."""
    config = job.config
    shape = GemmShape(pixels=config.rows * job.tiles, depth=job.depth, outputs=config.cols)
    mode = WeightMode[job.kind]
    steps = [tile_steps(tile.weight.tolist(), mode, config) for tile in tiles]
    expected = layer_schedule(shape, mode, config, steps=steps).cycles
    assert monitor.first_cycle is not None
    taken = monitor.last_cycle - monitor.first_cycle + 1
    assert taken == expected, f"schedule says {expected} cycles, the RTL took {taken}"
