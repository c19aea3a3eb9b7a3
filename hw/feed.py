"""Walkers that feed the array: activations from patches, weight words, tiles.

Each goes through all layers on its own and reads its memory ahead of the array by one item.
"""

from amaranth import Module, Mux, Signal, Value
from amaranth.lib import data, stream
from amaranth.lib.wiring import In, Out

from hw.accelerator_config import AcceleratorConfig
from hw.component import Component, structured
from hw.control import TILE
from hw.im2col import PATCHES
from hw.layer import COUNT_BITS, layer_layout
from hw.precision import WeightMode


def stream_reads(m: Module, *, have: Value, ready: Value, valid: Signal) -> Signal:
    """Offer what a synchronous memory reads as a stream: its output register is the stream's.

    Parameters
    ----------
    m : Module
        Where the logic goes.
    have : Value
        There is an address to read.
    ready : Value
        The stream's consumer takes the item on offer.
    valid : Signal
        Of the stream; driven here.

    Returns
    -------
    Signal
        Read enable: the address is taken in this cycle; its data is on offer from the next one on,
        until it is taken, since the memory is not read meanwhile.
    """
    read = Signal()
    m.d.comb += read.eq(have & (~valid | ready))
    with m.If(read):
        m.d.sync += valid.eq(1)
    with m.Elif(ready):
        m.d.sync += valid.eq(0)
    return read


def stepped(m: Module, counter: Signal, *, enable: Value, last: Value) -> None:
    """Count up where `enable`, back to 0 behind the `last`."""
    with m.If(enable):
        m.d.sync += counter.eq(Mux(last, 0, counter + 1))


class ActFeed(Component):
    """Reads every patch once for each of its output tiles.

    Members
    -------
    layer_valid, layer, finish
        See `hw.layer.LayerQueue`.
    patch_done : In(1)
        The next patch was written.
    patch_freed : Out(1)
        A patch is read for the last time.
    read, address : Out(1), Out(range(2 * patch_chunks))
        Read port of the patch buffer.
    valid, ready : Out(1), In(1)
        Of the stream whose payload is the buffer's output.
    """

    def __init__(self, config: AcceleratorConfig) -> None:
        self.config = config
        super().__init__(
            {
                "layer_valid": In(1),
                "layer": In(layer_layout(config)),
                "finish": Out(1),
                "patch_done": In(1),
                "patch_freed": Out(1),
                "read": Out(1),
                "address": Out(range(PATCHES * config.patch_chunks)),
                "valid": Out(1),
                "ready": In(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        config, layer = self.config, self.layer
        patches = Signal(range(PATCHES + 1))
        half = Signal()
        chunk = Signal(range(config.patch_chunks))
        tile = Signal(16)
        group = Signal(16)
        pixel_tile = Signal(COUNT_BITS)
        last_chunk = chunk == layer.chunks
        last_tile = last_chunk & (tile == layer.out_tiles - 1)
        last_group = last_tile & (group == layer.groups - 1)
        last = last_group & (pixel_tile == layer.pixel_tiles - 1)
        read = stream_reads(
            m, have=self.layer_valid & (patches != 0), ready=self.ready, valid=self.valid
        )
        stepped(m, chunk, enable=read, last=last_chunk)
        stepped(m, tile, enable=read & last_chunk, last=last_tile)
        stepped(m, group, enable=read & last_tile, last=last_group)
        stepped(m, pixel_tile, enable=read & last_group, last=last)
        m.d.comb += [
            self.read.eq(read),
            self.address.eq(Mux(half, config.patch_chunks, 0) + chunk),
            self.patch_freed.eq(read & last_tile),
            self.finish.eq(read & last),
        ]
        m.d.sync += [
            patches.eq(patches + self.patch_done - self.patch_freed),
            half.eq(half ^ self.patch_freed),
        ]
        return m


class WeightFeed(Component):
    """Reads all weight words of a layer once for every tile of pixels.

    Members
    -------
    layer_valid, layer, finish
        See `hw.layer.LayerQueue`.
    read, address : Out(1), Out(range(2 * weight_words))
        Read port of the weight scratchpad.
    valid, ready : Out(1), In(1)
        Of the stream whose payload is the scratchpad's output.
    """

    def __init__(self, config: AcceleratorConfig) -> None:
        self.config = config
        super().__init__(
            {
                "layer_valid": In(1),
                "layer": In(layer_layout(config)),
                "finish": Out(1),
                "read": Out(1),
                "address": Out(range(2 * config.weight_words)),
                "valid": Out(1),
                "ready": In(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        config, layer = self.config, self.layer
        word = Signal(range(config.weight_words))
        pixel_tile = Signal(COUNT_BITS)
        last_word = word == layer.words - 1
        last = last_word & (pixel_tile == layer.pixel_tiles - 1)
        read = stream_reads(m, have=self.layer_valid, ready=self.ready, valid=self.valid)
        stepped(m, word, enable=read, last=last_word)
        stepped(m, pixel_tile, enable=read & last_word, last=last)
        m.d.comb += [
            self.read.eq(read),
            self.address.eq(Mux(layer.weight_half, config.weight_words, 0) + word),
            self.finish.eq(read & last),
        ]
        return m


class TileFeed(Component):
    """Gives the array its tiles, each with as many digit planes as it has.

    Members
    -------
    layer_valid, layer, finish
        See `hw.layer.LayerQueue`.
    read, address, planes : Out(1), Out(range(2 * channel_tiles)), In(2)
        Read port of the parameter store; planes a cycle after the address.
    tiles : Out(stream of hw.control.TILE)
    skipped : Out
        Steps that the tile which is taken in this cycle saves by its empty planes.
    """

    def __init__(self, config: AcceleratorConfig) -> None:
        self.config = config
        array = config.array
        most = config.patch_chunks * array.steps(WeightMode.W8)
        super().__init__(
            {
                "layer_valid": In(1),
                "layer": In(layer_layout(config)),
                "finish": Out(1),
                "read": Out(1),
                "address": Out(range(2 * config.channel_tiles)),
                "planes": In(2),
                "tiles": Out(stream.Signature(TILE)),
                "skipped": Out(range(most + 1)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        config, layer = self.config, self.layer
        tile = Signal(range(config.channel_tiles))
        pixel_tile = Signal(COUNT_BITS)
        held = structured(
            data.StructLayout({"mode": 2, "chunks": range(config.patch_chunks)}), name="held"
        )
        last_tile = tile == layer.tiles - 1
        last = last_tile & (pixel_tile == layer.pixel_tiles - 1)
        read = stream_reads(
            m, have=self.layer_valid, ready=self.tiles.ready, valid=self.tiles.valid
        )
        stepped(m, tile, enable=read, last=last_tile)
        stepped(m, pixel_tile, enable=read & last_tile, last=last)
        with m.If(read):
            m.d.sync += [held.mode.eq(layer.mode), held.chunks.eq(layer.chunks)]
        m.d.comb += [
            self.read.eq(read),
            self.address.eq(Mux(layer.weight_half, config.channel_tiles, 0) + tile),
            self.finish.eq(read & last),
            self.tiles.payload.mode.eq(self.planes),
            self.tiles.payload.chunks.eq(held.chunks),
        ]
        if config.skips_planes:
            steps = config.array.steps(WeightMode.W2)
            with m.If(self.tiles.valid & self.tiles.ready):
                saved = (held.mode - self.planes)[:2] * ((held.chunks + 1) * steps)
                m.d.comb += self.skipped.eq(saved)
        return m
