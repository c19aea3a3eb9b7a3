"""The im2col reader takes every tap of every patch once, in order, and never stops on its own."""

from __future__ import annotations

from typing import Any

from amaranth import Cat, Const, Module, Mux, Signal, Value
from amaranth.hdl import ResetSignal
from amaranth.lib import data
from amaranth.lib.wiring import In

from hw.accelerator_config import AcceleratorConfig
from hw.im2col import PATCHES, Im2col
from hw.layer import COUNT_BITS, layer_layout, pixel_bits
from sim.formal.harness import Harness, claim, given, later
from sim.formal.walk import steady_layer, walks

WRITE_LATENCY = 2
"""Cycles from the last request of a patch to its last write."""


class GatherWalk(Harness):
    """A reader with free layers of any sizes that the loader lets pass, and a free patch feed.

    Parameters
    ----------
    config : AcceleratorConfig
        The accelerator.
    """

    def __init__(self, config: AcceleratorConfig) -> None:
        self.config = config
        rows = config.array.rows
        layer = layer_layout(config)
        kept = ("piece_log2", "in_zero_point", "act_half", "plane", "mode", "group_channels")
        tap = {"first": 1, "first_group": 1, "last": 1, "inside": rows}
        shapes: dict[str, Any] = {
            "accept": 1,
            "tap_done": 1,
            "tile": COUNT_BITS,
            "group": 16,
            "tap_y": 8,
            "tap_x": 8,
            "free": range(PATCHES + 1),
            "placed": 1,
            "walk": range(rows + 1),
            "busy": 1,
            "piece": 16,
            "pending": rows,
            "held": data.StructLayout(tap | {"pixels": rows * pixel_bits(config)}),
            "mine": data.StructLayout({name: layer.members[name] for name in kept}),
        }
        super().__init__(
            {"layer_valid": In(1), "layer": In(layer), "patch_freed": In(1)},
            probes={name: (f"dut.{name}", shape) for name, shape in shapes.items()},
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.dut = dut = Im2col(self.config)
        layer = self.layer
        m.d.comb += [
            given(~ResetSignal()),
            dut.layer_valid.eq(self.layer_valid),
            dut.layer.eq(layer),
            dut.patch_freed.eq(self.patch_freed),
        ]
        steady_layer(m, valid=self.layer_valid, layer=layer, finish=dut.finish)
        digits = [
            (self.tap_x, layer.kernel_w),
            (self.tap_y, layer.kernel_h),
            (self.group, layer.groups),
            (self.tile, layer.pixel_tiles),
        ]
        for _, count in digits:
            m.d.comb += given(~self.layer_valid | (count != 0))
        walks(m, digits, active=self.layer_valid, step=self.accept, finish=dut.finish)
        self._pieces(m)
        self._patches(m, dut)
        return m

    def _pieces(self, m: Module) -> None:
        """Claim that each tap's pieces are read one by one, and the next tap is taken then.

        A tap takes at most rows x pieces cycles: within a piece, rows wait (`pending`) and each
        cycle serves one of them at least.
        """
        rows = self.config.array.rows
        first = (self.tap_x == 0) & (self.tap_y == 0)
        ready = ~self.busy | self.tap_done
        may = self.layer_valid & self.placed & ready & (~first | (self.free != 0))
        pieces = Signal(16)
        with m.Switch(self.mine.piece_log2):
            for log2 in range(self.config.largest_piece.bit_length()):
                with m.Case(log2):
                    m.d.comb += pieces.eq(self.mine.group_channels[log2:])
        left, before = Signal(16 + rows), Signal(16 + rows)
        goes_on, walked, placing = Signal(), Signal.like(self.walk), Signal()
        m.d.comb += left.eq(Cat(self.pending, ~self.piece))
        m.d.sync += [
            before.eq(left),
            goes_on.eq(self.busy & ~self.tap_done),
            walked.eq(self.walk),
            placing.eq(self.layer_valid & ~self.placed),
        ]
        m.d.comb += [
            given(~self.layer_valid | self._whole(self.layer)),
            claim(~self.busy | self._whole(self.mine)),
            claim(~self.busy | (self.piece < pieces)),
            claim(~self.tap_done | (self.busy & (self.piece + 1 == pieces))),
            claim(~goes_on | (self.busy & (left < before))),
            claim(self.accept == may),
            # the rows are placed within rows + 1 cycles of a layer's coming
            claim(self.walk <= rows),
            claim(~self.placed | (self.layer_valid & (self.walk == 0))),
            claim(~placing | Mux(walked == rows, self.placed, self.walk == walked + 1)),
        ]

    def _whole(self, layer: Any) -> Value:
        """Return whether a group's channels are whole pieces, of a size that there is."""
        beyond = (Const(1, 8) << layer.piece_log2)[:8]
        test: Value = layer.group_channels != 0
        test &= (layer.group_channels & (beyond - 1)[:8]) == 0
        test &= beyond <= self.config.largest_piece
        return test

    def _patches(self, m: Module, dut: Im2col) -> None:
        """Claim that patches begun and not yet freed are never more than there are.

        `open` is one whose requests go on; `gathered` are complete and not yet freed.
        """
        first = (self.tap_x == 0) & (self.tap_y == 0)
        last_tap = self.busy & self.held.last
        requested = self.tap_done & self.held.last
        written = later(m, requested, WRITE_LATENCY, "requested")
        one = later(m, requested, 1, "request")
        opened, gathered = Signal(), Signal(range(PATCHES + 1))
        m.d.comb += [
            opened.eq(~first | last_tap),
            given((gathered != 0) | ~self.patch_freed),
            claim(first | ~last_tap),
            claim(dut.patch_done == written),
            claim(self.free + opened + one + written + gathered == PATCHES),
            claim((gathered != PATCHES) | ~dut.patch_done),
        ]
        m.d.sync += gathered.eq(gathered + dut.patch_done - self.patch_freed)
