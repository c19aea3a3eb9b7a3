"""The sequencer with its scratchpads around the array: packets of layers in, activations out."""

from typing import Any

from amaranth import Cat, Module, Mux, Signal
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from hw.accelerator_config import AcceleratorConfig
from hw.array import MacArray
from hw.component import Component
from hw.feed import ActFeed, TileFeed, WeightFeed
from hw.im2col import PATCHES, Im2col
from hw.layer import LayerQueue
from hw.loader import Loader
from hw.requant import CHANNEL
from hw.results import Results


class Engine(Component):
    """Runs layers from a stream of packets (docs/accelerator.md), one while the next one loads.

    Members
    -------
    start : In(1)
        Begin a run; ignored while busy.
    busy : Out(1)
    done : Out(1)
        The run ends in this cycle: all results were sent.
    error, error_tag : Out(4), Out(16)
        See `hw.descriptor.ErrorCode`; they hold until the next start.
    layers : Out(16)
        Layers finished since the start.
    stepping : Out(1)
        The array takes a step.
    stalled : Out(1)
        A loaded layer has steps left, and the array takes none.
    skipped : Out
        Steps saved in this cycle by empty digit planes.
    in_valid, in_ready, in_data, in_last
        Stream of packets.
    out_valid, out_ready, out_data, out_last
        Stream of results, the last beat of each layer marked.

    `hw.timeline` gives the exact cycles.
    """

    def __init__(self, config: AcceleratorConfig) -> None:
        self.config = config
        self.tile_feed = TileFeed(config)
        super().__init__(
            {
                "start": In(1),
                "busy": Out(1),
                "done": Out(1),
                "error": Out(4),
                "error_tag": Out(16),
                "layers": Out(16),
                "stepping": Out(1),
                "stalled": Out(1),
                "skipped": Out(self.tile_feed.skipped.shape()),
                "in_valid": In(1),
                "in_ready": Out(1),
                "in_data": In(8 * config.bus_bytes),
                "in_last": In(1),
                "out_valid": Out(1),
                "out_ready": In(1),
                "out_data": Out(8 * config.bus_bytes),
                "out_last": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        config = self.config
        m.submodules.loader = loader = Loader(config)
        m.submodules.im2col = im2col = Im2col(config)
        m.submodules.act_feed = act_feed = ActFeed(config)
        m.submodules.weight_feed = weight_feed = WeightFeed(config)
        m.submodules.tile_feed = tile_feed = self.tile_feed
        m.submodules.results = results = Results(config)
        m.submodules.array = array = MacArray(config.array)
        walkers = (im2col, act_feed, weight_feed, tile_feed, results)
        m.submodules.layers = layers = LayerQueue(config, walkers=len(walkers))
        m.d.comb += [layers.push.eq(loader.push), layers.layer.eq(loader.layer)]
        for index, walker in enumerate(walkers):
            m.d.comb += [
                walker.layer_valid.eq(layers.valid[index]),
                walker.layer.eq(layers.layers[index]),
                layers.finish[index].eq(walker.finish),
            ]
        m.d.comb += [
            results.more.eq(layers.more[len(walkers) - 1]),
            results.following.eq(layers.following[len(walkers) - 1]),
        ]
        self._activations(m, loader, im2col, act_feed, array)
        self._weights(m, loader, weight_feed, array)
        self._parameters(m, loader, tile_feed, results)
        m.d.comb += [
            array.tiles.payload.eq(tile_feed.tiles.payload),
            array.tiles.valid.eq(tile_feed.tiles.valid),
            tile_feed.tiles.ready.eq(array.tiles.ready),
            results.taken.eq(array.tiles.valid & array.tiles.ready),
            array.room.eq(results.room),
            results.psum_valid.eq(array.psums.valid),
            results.psum.eq(array.psums.payload),
            loader.start.eq(self.start),
            self.busy.eq(loader.busy),
            self.error.eq(loader.error),
            self.error_tag.eq(loader.tag),
            loader.in_valid.eq(self.in_valid),
            self.in_ready.eq(loader.in_ready),
            loader.in_data.eq(self.in_data),
            loader.in_last.eq(self.in_last),
            self.out_valid.eq(results.out_valid),
            results.out_ready.eq(self.out_ready),
            self.out_data.eq(results.out_data),
            self.out_last.eq(results.out_last),
        ]
        under_way = Signal(range(3))
        m.d.sync += under_way.eq(under_way + loader.push - results.finish)
        m.d.comb += [
            loader.room.eq(under_way != 2),
            loader.ended.eq((under_way == 0) & results.empty),
            self.done.eq(loader.complete & loader.ended),
            self.stepping.eq(array.control.step),
            self.stalled.eq((tile_feed.layer_valid | tile_feed.tiles.valid) & ~array.control.step),
            self.skipped.eq(tile_feed.skipped),
        ]
        with m.If(self.start & ~self.busy):
            m.d.sync += self.layers.eq(0)
        with m.Elif(results.finish):
            m.d.sync += self.layers.eq(self.layers + 1)
        return m

    def _activations(
        self, m: Module, loader: Loader, im2col: Im2col, feed: ActFeed, array: MacArray
    ) -> None:
        """Connect the banks of the feature map and the patch buffer."""
        config, acts = self.config, loader.acts
        cols, width = config.array.cols, config.array.act_bits
        slots = config.bank_channels // cols
        chunks: list[Signal] = []
        for row in range(config.array.rows):
            bank: Memory[Any, Any] = Memory(
                shape=cols * width * slots, depth=2 * config.act_words, init=[]
            )
            m.submodules[f"bank_{row}"] = bank
            write, read = bank.write_port(granularity=cols * width), bank.read_port()
            m.d.comb += [
                write.addr.eq(acts.address),
                write.en.eq(Mux(acts.rows[row], acts.slots, 0)),
                write.data.eq(acts.words[row // config.array.drain_cycles].replicate(slots)),
                read.en.eq(im2col.bank_enable[row]),
                read.addr.eq(im2col.bank_address[row]),
                im2col.bank_data[row].eq(read.data),
            ]
            patch: Memory[Any, Any] = Memory(
                shape=width * config.array.lanes, depth=PATCHES * config.patch_chunks, init=[]
            )
            m.submodules[f"patch_{row}"] = patch
            patch_write, patch_read = patch.write_port(granularity=width), patch.read_port()
            m.d.comb += [
                patch_write.addr.eq(im2col.address),
                patch_write.en.eq(Mux(im2col.rows[row], im2col.lanes, 0)),
                patch_write.data.eq(im2col.words[row]),
                patch_read.en.eq(feed.read),
                patch_read.addr.eq(feed.address),
            ]
            chunks.append(patch_read.data)
        m.d.comb += [
            feed.patch_done.eq(im2col.patch_done),
            im2col.patch_freed.eq(feed.patch_freed),
            array.acts.payload.eq(Cat(*chunks)),
            array.acts.valid.eq(feed.valid),
            feed.ready.eq(array.acts.ready),
        ]

    def _weights(self, m: Module, loader: Loader, feed: WeightFeed, array: MacArray) -> None:
        """Connect the weight scratchpad."""
        config, weights = self.config, loader.weights
        memory: Memory[Any, Any] = Memory(
            shape=8 * config.weight_word_bytes, depth=2 * config.weight_words, init=[]
        )
        m.submodules.weights = memory
        write, read = memory.write_port(), memory.read_port()
        m.d.comb += [
            write.addr.eq(weights.address),
            write.en.eq(weights.write),
            write.data.eq(weights.word),
            read.addr.eq(feed.address),
            read.en.eq(feed.read),
            array.weights.payload.eq(read.data),
            array.weights.valid.eq(feed.valid),
            feed.ready.eq(array.weights.ready),
        ]

    def _parameters(self, m: Module, loader: Loader, feed: TileFeed, results: Results) -> None:
        """Connect the store of output channels' parameters."""
        config, parameters = self.config, loader.parameters
        depth = 2 * config.channel_tiles
        channels: Memory[Any, Any] = Memory(
            shape=CHANNEL.size * config.array.cols, depth=depth, init=[]
        )
        planes: Memory[Any, Any] = Memory(shape=2, depth=depth, init=[])
        m.submodules.channels = channels
        m.submodules.planes = planes
        for memory, value in ((channels, parameters.channels), (planes, parameters.planes)):
            write = memory.write_port()
            m.d.comb += [
                write.addr.eq(parameters.address),
                write.en.eq(parameters.write),
                write.data.eq(value),
            ]
        channel_read, planes_read = channels.read_port(), planes.read_port()
        m.d.comb += [
            channel_read.en.eq(results.read),
            channel_read.addr.eq(results.address),
            results.channels.eq(channel_read.data),
            planes_read.en.eq(feed.read),
            planes_read.addr.eq(feed.address),
            feed.planes.eq(planes_read.data),
        ]
