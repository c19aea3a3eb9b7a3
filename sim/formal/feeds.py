"""The feeds read every item of a layer once, in order, and offer each until it is taken."""

from __future__ import annotations

from amaranth import Module, Mux, Signal, Value
from amaranth.hdl import ResetSignal
from amaranth.lib.wiring import In

from hw.accelerator_config import AcceleratorConfig
from hw.feed import ActFeed, TileFeed, WeightFeed
from hw.im2col import PATCHES
from hw.layer import COUNT_BITS, layer_layout
from sim.formal.harness import Harness, claim, given
from sim.formal.streams import keep_offer
from sim.formal.walk import steady_layer, walks


class _Feed(Harness):
    """A feed with free layers of any sizes that the loader lets pass, and a free consumer."""

    def __init__(
        self, config: AcceleratorConfig, dut: ActFeed | WeightFeed | TileFeed, **counters: int
    ) -> None:
        self.config, self.dut = config, dut
        super().__init__(
            {
                "layer_valid": In(1),
                "layer": In(layer_layout(config)),
                "ready": In(1),
                "patch_done": In(1),
                "planes": In(2),
            },
            probes={name: (f"dut.{name}", bits) for name, bits in counters.items()},
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.dut = dut = self.dut
        m.d.comb += [
            given(~ResetSignal()),
            dut.layer_valid.eq(self.layer_valid),
            dut.layer.eq(self.layer),
        ]
        steady_layer(m, valid=self.layer_valid, layer=self.layer, finish=dut.finish)
        digits = self._digits(m)
        for _, count in digits:
            m.d.comb += given(~self.layer_valid | (count != 0))
        walks(m, digits, active=self.layer_valid, step=dut.read, finish=dut.finish)
        self._offers(m)
        return m

    def _digits(self, m: Module) -> list[tuple[Value, Value]]:
        raise NotImplementedError

    def _have(self) -> Value:
        """Return whether there is something to read."""
        have: Value = self.layer_valid
        return have

    def _valid(self) -> Value:
        valid: Value = self.dut.valid
        return valid

    def _offers(self, m: Module) -> None:
        """Claim that what was read is on offer from then on until it is taken, and only once.

        The memory's output register holds it: nothing else is read meanwhile.
        """
        offered, valid = Signal(name="offered"), self._valid()
        m.d.sync += offered.eq(self.dut.read | (offered & ~self.ready))
        m.d.comb += [
            claim(valid == offered),
            claim(~(self.dut.read & valid) | self.ready),
            claim(self.dut.read | ~self._have() | (valid & ~self.ready)),
        ]

    def _half(self, low: Value, size: int, half: Value) -> Value:
        """Return whether the address is that of `low` in a half."""
        test: Value = self.dut.address == Mux(half, size, 0) + low
        return test


class ActWalk(_Feed):
    """Every patch once for each output tile of its group, while there is one."""

    def __init__(self, config: AcceleratorConfig) -> None:
        chunk_bits = (config.patch_chunks - 1).bit_length()
        super().__init__(
            config,
            ActFeed(config),
            chunk=chunk_bits,
            tile=16,
            group=16,
            pixel_tile=COUNT_BITS,
            patches=PATCHES.bit_length(),
            half=1,
        )

    def _digits(self, m: Module) -> list[tuple[Value, Value]]:
        dut, layer = self.dut, self.layer
        patches, half = Signal(range(PATCHES + 1)), Signal()
        m.d.comb += [
            dut.ready.eq(self.ready),
            dut.patch_done.eq(self.patch_done),
            # the im2col reader begins a patch only where one is free
            given((patches != PATCHES) | ~self.patch_done),
            claim(self.patches == patches),
            claim((patches != 0) | ~dut.read),
            claim(dut.patch_freed == (dut.read & self._patch_ends())),
            claim(self.half == half),
            claim(self._half(self.chunk, self.config.patch_chunks, half)),
        ]
        m.d.sync += [
            patches.eq(patches + self.patch_done - dut.patch_freed),
            half.eq(half ^ dut.patch_freed),
        ]
        return [
            (self.chunk, layer.chunks + 1),
            (self.tile, layer.out_tiles),
            (self.group, layer.groups),
            (self.pixel_tile, layer.pixel_tiles),
        ]

    def _patch_ends(self) -> Value:
        layer = self.layer
        test: Value = (self.chunk == layer.chunks) & (self.tile + 1 == layer.out_tiles)
        return test

    def _have(self) -> Value:
        have: Value = self.layer_valid & (self.patches != 0)
        return have


class WeightWalk(_Feed):
    """All weight words once for every tile of pixels."""

    def __init__(self, config: AcceleratorConfig) -> None:
        bits = (config.weight_words - 1).bit_length()
        super().__init__(config, WeightFeed(config), word=bits, pixel_tile=COUNT_BITS)

    def _digits(self, m: Module) -> list[tuple[Value, Value]]:
        layer, words = self.layer, self.config.weight_words
        m.d.comb += [
            self.dut.ready.eq(self.ready),
            given(layer.words <= words),
            claim(self._half(self.word, words, layer.weight_half)),
        ]
        return [(self.word, layer.words), (self.pixel_tile, layer.pixel_tiles)]


class TileWalk(_Feed):
    """All tiles once for every tile of pixels, each with the planes that the store holds for it."""

    def __init__(self, config: AcceleratorConfig) -> None:
        bits = (config.channel_tiles - 1).bit_length()
        super().__init__(config, TileFeed(config), tile=bits, pixel_tile=COUNT_BITS)

    def _valid(self) -> Value:
        valid: Value = self.dut.tiles.valid
        return valid

    def _digits(self, m: Module) -> list[tuple[Value, Value]]:
        dut, layer, tiles = self.dut, self.layer, self.config.channel_tiles
        reads, planes, chunks = Signal(), Signal(2), Signal.like(layer.chunks)
        m.d.sync += [reads.eq(dut.read), planes.eq(self.planes)]
        with m.If(dut.read):
            m.d.sync += chunks.eq(layer.chunks)
        m.d.comb += [
            dut.tiles.ready.eq(self.ready),
            dut.planes.eq(self.planes),
            given(layer.tiles <= tiles),
            given(reads | (self.planes == planes)),
            claim(self._half(self.tile, tiles, layer.weight_half)),
            claim(dut.tiles.payload.mode == self.planes),
            claim(~dut.tiles.valid | (dut.tiles.payload.chunks == chunks)),
        ]
        keep_offer(m, dut.tiles, name="tiles", assume=False)
        return [(self.tile, layer.tiles), (self.pixel_tile, layer.pixel_tiles)]
