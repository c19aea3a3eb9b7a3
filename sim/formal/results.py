"""Every tile's results leave the array once, complete, in order, and only where there is room."""

from __future__ import annotations

from amaranth import Module, Mux, Signal, Value
from amaranth.hdl import ResetSignal
from amaranth.lib.wiring import In

from hw.array import MacArray
from hw.config import ArrayConfig
from hw.pe import GATEWARE
from hw.schedule import pipeline_latency
from sim.formal.harness import Harness, claim, given, later
from sim.formal.streams import keep_offer


class ResultsLeave(Harness):
    """An array with free streams whose accumulators hold anything, too.

    A ghost counts rows: those of a tile start `pipeline_latency` (and one, with output registers)
    cycles after the tile was taken. With output registers it also notes what the accumulators and
    the columns' excesses held when the tile was finished, and compares. Without them the
    accumulators are what moves, so only the count is compared.

    Parameters
    ----------
    config : ArrayConfig
        Any rows, columns and `drain_rows`.
    """

    def __init__(self, config: ArrayConfig) -> None:
        self.config = config
        acc = config.acc_bits
        probes = {}
        if config.double_buffered:
            for col in range(config.cols):
                for row in range(config.rows):
                    probes[f"acc_{row}_{col}"] = (f"dut.pe_{row}_{col}.acc", acc)
                if GATEWARE[config.pe].column_excess:
                    probes[f"column_{col}"] = (f"dut.weight_edge_{col}.total", acc)
            for row in range(config.rows):
                if GATEWARE[config.pe].row_excess:
                    probes[f"row_{row}"] = (f"dut.act_edge_{row}.excess.acc", acc)
        self._dut = MacArray(config)
        super().__init__(
            {"flow": In(3), "room": In(1), "tile": In(self._dut.tiles.payload.shape())},
            probes=probes,
            cuts=tuple(path for path, _ in probes.values()),
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        config, dut = self.config, self._dut
        m.submodules.dut = dut
        m.d.comb += [
            given(~ResetSignal()),
            dut.tiles.valid.eq(self.flow[0]),
            dut.acts.valid.eq(self.flow[1]),
            dut.weights.valid.eq(self.flow[2]),
            dut.tiles.payload.eq(self.tile),
            dut.room.eq(self.room),
        ]
        keep_offer(m, dut.tiles, name="tiles", assume=True)
        taken = Signal()
        m.d.comb += [
            taken.eq(dut.tiles.valid & dut.tiles.ready),
            claim(self.room | ~taken),
        ]
        finished = later(m, taken, pipeline_latency(config), "finished")
        starts = later(m, finished, 1, "starts") if config.double_buffered else finished
        row, last = Signal(range(config.drain_cycles)), config.drain_cycles - 1
        m.d.comb += [
            claim(~starts | (row == 0)),
            claim(dut.psums.valid == (starts | (row != 0))),
        ]
        with m.If(dut.psums.valid):
            m.d.sync += row.eq(Mux(row == last, 0, row + 1))
            m.d.comb += claim(dut.psums.payload.row == row)
        if config.double_buffered:
            self._compare(m, finished, row)
        return m

    def _compare(self, m: Module, finished: Value, row: Value) -> None:
        """Each row is what its accumulators held, less their excesses."""
        config, sums = self.config, self._dut.psums.payload.sums
        for r in range(config.rows):
            part, index = divmod(r, config.drain_cycles)
            for col in range(config.cols):
                expected = getattr(self, f"acc_{r}_{col}")
                for excess in (f"column_{col}", f"row_{r}"):
                    if excess in self.probes:
                        expected = (expected - getattr(self, excess))[: config.acc_bits]
                noted = Signal(config.acc_bits, name=f"noted_{r}_{col}")
                with m.If(finished):
                    m.d.sync += noted.eq(expected)
                with m.If(self._dut.psums.valid & (row == index)):
                    m.d.comb += claim(sums[col][part].as_unsigned() == noted)
