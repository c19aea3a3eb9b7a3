"""A loaded layer as the sequencer's walkers see it, and the queue that hands layers to them.

At most two layers are under way: one being worked on, one loading or loaded. Every walker (im2col
reader, activations, weights, tiles, results) goes through the layers at its own pace, so that none
waits for another at a change of layer.
"""

from amaranth import Module, Mux, Signal
from amaranth.lib import data
from amaranth.lib.wiring import In, Out

from hw.accelerator_config import AcceleratorConfig
from hw.component import Component, structured

COUNT_BITS = 32
"""Bits of counts of pixels and their tiles."""


def pixel_bits(config: AcceleratorConfig) -> int:
    """Bits of the index of a pixel that the scratchpad can hold; indices wrap beyond."""
    return (config.act_words * config.array.rows - 1).bit_length()


def layer_layout(config: AcceleratorConfig) -> data.StructLayout:
    """Everything that is known of a layer once its descriptor was checked.

    origin
        Index of the pixel under the kernel's first tap at the first output, modulo 2**pixel_bits.
    row_step, row_span
        Stride x input width, and stride x output width.
    plane
        Words of the activation scratchpad per channel word: pixels / rows, rounded up.
    pixel_tiles, tail
        Tiles of `rows` output pixels, and pixels of the last one (0 if it is full).
    tiles
        Output tiles of all groups.
    chunks
        Chunks of a dot product, less one.
    piece_log2
        Channels that the im2col reader takes at a time: the largest power of two that divides
        the channels of a group and fits a word and a chunk.
    words
        Weight words of all tiles.
    act_half, weight_half
        Halves of the scratchpads that hold the layer.
    """
    array = config.array
    return data.StructLayout(
        {
            "mode": 2,
            "kernel_h": 8,
            "kernel_w": 8,
            "stride": 8,
            "pad_top": 8,
            "pad_left": 8,
            "in_h": 16,
            "in_w": 16,
            "out_w": 16,
            "origin": pixel_bits(config),
            "row_step": 24,
            "row_span": 24,
            "plane": range(config.act_words + 1),
            "pixel_tiles": COUNT_BITS,
            "tail": range(array.rows),
            "groups": 16,
            "group_channels": 16,
            "out_tiles": 16,
            "tiles": range(config.channel_tiles + 1),
            "chunks": range(config.patch_chunks),
            "piece_log2": 3,
            "words": range(config.weight_words + 1),
            "in_zero_point": array.act_bits,
            "out_zero_point": array.act_bits,
            "low": array.act_bits,
            "high": array.act_bits,
            "wrap": 1,
            "last": 1,
            "act_half": 1,
            "weight_half": 1,
        }
    )


class LayerQueue(Component):
    """Two slots of layers, and a cursor for each of `walkers` walkers.

    Members
    -------
    push : In(1)
        `layer` is loaded; there must be a free slot.
    layer : In(layer_layout(config))
    valid : Out(1), an array of them
        By walker: `layers` of the walker is one that it has not finished.
    layers : Out(layer_layout(config)), an array of them
    more, following : Out(1), Out(layer_layout(config)), arrays of them
        By walker: another layer is loaded behind that one.
    finish : In(1), an array of them
        By walker: go on to the next layer.
    """

    def __init__(self, config: AcceleratorConfig, *, walkers: int) -> None:
        self.walkers = walkers
        self.layout = layer_layout(config)
        super().__init__(
            {
                "push": In(1),
                "layer": In(self.layout),
                "valid": Out(1).array(walkers),
                "layers": Out(self.layout).array(walkers),
                "more": Out(1).array(walkers),
                "following": Out(self.layout).array(walkers),
                "finish": In(1).array(walkers),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        slots = [structured(self.layout, name=f"slot_{i}", reset_less=True) for i in range(2)]
        tail = Signal()
        with m.If(self.push):
            m.d.sync += tail.eq(~tail)
            for index, slot in enumerate(slots):
                with m.If(tail == index):
                    m.d.sync += slot.eq(self.layer)
        for walker in range(self.walkers):
            head = Signal(name=f"head_{walker}")
            pending = Signal(range(3), name=f"pending_{walker}")
            with m.If(self.finish[walker]):
                m.d.sync += head.eq(~head)
            m.d.sync += pending.eq(pending + self.push - self.finish[walker])
            first, second = slots[0].as_value(), slots[1].as_value()
            m.d.comb += [
                self.valid[walker].eq(pending != 0),
                self.more[walker].eq(pending == 2),
                self.layers[walker].as_value().eq(Mux(head, second, first)),
                self.following[walker].as_value().eq(Mux(head, first, second)),
            ]
        return m
