"""Monitor of the array's bench: results by tile, cycles, and what happens at the streams."""

from __future__ import annotations

from typing import Any

import numpy as np
from cocotb.triggers import Event, RisingEdge

from hw.config import ArrayConfig
from sim.bench.coverage import WAITS, ArrayCoverage
from sim.golden import Ints


class Monitor:
    """Collects rows of results into tiles, counts cycles, samples coverage of the streams.

    Members
    -------
    modes : list of str
        Modes of all tiles that are sent, in their order; the bench fills it in.
    tiles : list of int [rows, cols]
        Results so far.
    first_cycle, last_cycle : int
        Of the first step since `restart`, and of the last results.
    received : Event
        Set with each tile's last results.
    """

    def __init__(self, dut: Any, config: ArrayConfig, coverage: ArrayCoverage) -> None:
        self._dut = dut
        self._config = config
        self._coverage = coverage
        self._row_bits = (config.drain_cycles - 1).bit_length()
        self._unseen = set(WAITS)
        self._taken = 0
        self.modes: list[str] = []
        self.tiles: list[Ints] = []
        self.first_cycle: int | None = None
        self.last_cycle = 0
        self.received = Event()

    def restart(self) -> None:
        """Take the next step as the first one."""
        self.first_cycle = None

    async def run(self) -> None:
        """Watch for ever."""
        dut, edge, cycle = self._dut, RisingEdge(self._dut.clk), 0
        after_tile = False
        rows: list[Ints] = []
        while True:
            await edge
            cycle += 1
            if self.first_cycle is None and int(dut.weights__ready.value):
                self.first_cycle = cycle
            if self._unseen:
                self._watch_waits()
            if after_tile and self._taken < len(self.modes) and int(dut.weights__ready.value):
                self._coverage.switch(self.modes[self._taken - 1], self.modes[self._taken])
            after_tile = bool(int(dut.tiles__valid.value) and int(dut.tiles__ready.value))
            if after_tile:
                assert int(dut.room.value), "tile taken without room for its results"
                self._taken += 1
            if int(dut.psums__valid.value):
                self.last_cycle = cycle
                rows = self._collect(rows)

    def _collect(self, rows: list[Ints]) -> list[Ints]:
        """Add a cycle's results to the rows of a tile; return those of an unfinished tile."""
        config, word = self._config, int(self._dut.psums__payload.value)
        row = word & ((1 << self._row_bits) - 1)
        assert row == len(rows), f"row {len(rows)} expected, got {row}"
        rows = [*rows, self._sums(word >> self._row_bits)]
        if len(rows) < config.drain_cycles:
            return rows
        # [drain_cycles, cols, drain_rows] to [rows, cols]
        self.tiles.append(np.array(rows).transpose(2, 0, 1).reshape(config.rows, -1))
        self.received.set()
        return []

    def _sums(self, word: int) -> Ints:
        """Return the sums of one cycle, int64 [cols, drain_rows]."""
        bits, shape = self._config.acc_bits, (self._config.cols, self._config.drain_rows)
        fields = [word >> bits * i & (1 << bits) - 1 for i in range(shape[0] * shape[1])]
        return np.array([f - (f >> bits - 1 << bits) for f in fields]).reshape(shape)

    def _watch_waits(self) -> None:
        """Sample what alone the array waits for in this cycle, until each was seen."""
        dut = self._dut
        missing = [
            wait
            for wait, signal in zip(
                WAITS,
                (dut.tiles__valid, dut.acts__valid, dut.weights__valid, dut.room),
                strict=True,
            )
            if not int(signal.value)
        ]
        if len(missing) == 1 and not int(dut.weights__ready.value):
            self._coverage.wait(missing[0])
            self._unseen.discard(missing[0])
