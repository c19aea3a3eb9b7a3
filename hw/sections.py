"""The three parts of a packet's payload, each written to its scratchpad as it comes."""

from amaranth import Cat, Module, Mux, Signal, Value
from amaranth.lib import data
from amaranth.lib.wiring import In, Out

from hw.accelerator_config import RECORD_BYTES, AcceleratorConfig
from hw.component import Component
from hw.layer import layer_layout
from hw.precision import MULTIPLIER_BITS, WeightMode
from hw.requant import CHANNEL

RECORD = data.StructLayout(
    {"bias": 32, "multiplier": MULTIPLIER_BITS, "shift": 6, "spare": 8, "planes": 2}
)
"""Parameters of an output channel in the stream. `planes` counts in a tile's first channel: digits
of the tile's weights, less one, at most those of the layer's mode."""


class Section(Component):
    """What the sections have in common.

    Members
    -------
    clear : In(1)
        Begin.
    take : In(1)
        `beat` is the next beat.
    beat : In(8 * bus_bytes)
    layer : In(layer_layout(config))
        From `clear` on.
    last : Out(1)
        With this beat the section is complete.
    """

    def __init__(self, config: AcceleratorConfig, members: dict[str, object]) -> None:
        self.config = config
        super().__init__(
            {
                "clear": In(1),
                "take": In(1),
                "beat": In(8 * config.bus_bytes),
                "layer": In(layer_layout(config)),
                "last": Out(1),
                **members,
            }
        )

    def counted(self, m: Module, beats: int, *, name: str) -> tuple[Signal, Value]:
        """Count the beats of a unit; return the count, and whether this beat completes it."""
        count = Signal(range(beats), name=name)
        full = count == beats - 1
        with m.If(self.clear):
            m.d.sync += count.eq(0)
        with m.Elif(self.take):
            m.d.sync += count.eq(Mux(full, 0, count + 1))
        return count, self.take & full

    def assembled(self, m: Module, bits: int, *, name: str) -> Value:
        """Collect the last beats to a word that ends with this beat."""
        earlier = Signal(bits, name=name, reset_less=True)
        word = Cat(earlier, self.beat)[-bits:]
        with m.If(self.take):
            m.d.sync += earlier.eq(word)
        return word


class ParameterSection(Section):
    """Parameters of the output channels, tile by tile; counts the layer's weight words.

    Members (besides those of `Section`)
    -------
    half : In(1)
        Half of the store that is written.
    words : Out(range(2 * weight_words + 1))
        Weight words of the tiles so far; above `weight_words` once they do not fit.
    bad_planes : Out(1)
        A tile has more digit planes than its layer's mode.
    write, address, channels, planes : Out
        Write port of the parameter store.
    """

    def __init__(self, config: AcceleratorConfig) -> None:
        super().__init__(
            config,
            {
                "half": In(1),
                "words": Out(range(2 * config.weight_words + 1)),
                "bad_planes": Out(1),
                "write": Out(1),
                "address": Out(range(2 * config.channel_tiles)),
                "channels": Out(data.ArrayLayout(CHANNEL, config.array.cols)),
                "planes": Out(2),
            },
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        config, array, layer = self.config, self.config.array, self.layer
        size = RECORD_BYTES * array.cols
        tile = Signal(range(config.channel_tiles))
        _, full = self.counted(m, size // config.bus_bytes, name="beats")
        word = self.assembled(m, 8 * size, name="records")
        records = data.View(data.ArrayLayout(RECORD, array.cols), word)
        planes = records[0].planes if config.skips_planes else layer.mode
        items = Signal(range(array.weight_items(WeightMode.W8) + 1))
        with m.Switch(planes):
            for mode in WeightMode:
                with m.Case(mode.digits - 1):
                    m.d.comb += items.eq(array.weight_items(mode))
        m.d.comb += [
            self.write.eq(full),
            self.last.eq(full & (tile == layer.tiles - 1)),
            self.bad_planes.eq(full & (planes > layer.mode)),
            self.address.eq(Mux(self.half, config.channel_tiles, 0) + tile),
            self.planes.eq(planes),
        ]
        for column in range(array.cols):
            for name in CHANNEL.members:
                m.d.comb += self.channels[column][name].eq(records[column][name])
        with m.If(self.clear):
            m.d.sync += [tile.eq(0), self.words.eq(0)]
        with m.Elif(full):
            m.d.sync += tile.eq(tile + 1)
            with m.If(self.words <= config.weight_words):
                m.d.sync += self.words.eq(self.words + (layer.chunks + 1) * items)
        return m


class WeightSection(Section):
    """Words of the weight scratchpad.

    Members (besides those of `Section`)
    -------
    half : In(1)
    words : In(range(2 * weight_words + 1))
        How many there are.
    write, address, word : Out
        Write port of the scratchpad.
    """

    def __init__(self, config: AcceleratorConfig) -> None:
        super().__init__(
            config,
            {
                "half": In(1),
                "words": In(range(2 * config.weight_words + 1)),
                "write": Out(1),
                "address": Out(range(2 * config.weight_words)),
                "word": Out(8 * config.weight_word_bytes),
            },
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        config = self.config
        index = Signal(range(config.weight_words))
        _, full = self.counted(m, config.weight_word_bytes // config.bus_bytes, name="beats")
        m.d.comb += [
            self.word.eq(self.assembled(m, 8 * config.weight_word_bytes, name="earlier")),
            self.write.eq(full),
            self.address.eq(Mux(self.half, config.weight_words, 0) + index),
            self.last.eq(full & (index == self.words - 1)),
        ]
        with m.If(self.clear):
            m.d.sync += index.eq(0)
        with m.Elif(full):
            m.d.sync += index.eq(index + 1)
        return m


class ActSection(Section):
    """Activations in the order in which a layer's results leave, into the banks.

    By tiles of `rows` pixels, of `cols` channels, and `drain_rows` rows a beat.

    Members (besides those of `Section`)
    -------
    half : In(1)
    channel_tiles : In(16)
        Tiles of `cols` input channels.
    rows : Out(rows)
        Banks that are written.
    address : Out(range(2 * act_words))
    slots : Out(bank_channels // cols)
        Channels of the word that are written, by `cols`.
    words : Out(cols activations), drain_rows of them
        Bank ``row + i * drain_cycles`` takes word ``i``.
    """

    def __init__(self, config: AcceleratorConfig) -> None:
        array = config.array
        super().__init__(
            config,
            {
                "half": In(1),
                "channel_tiles": In(16),
                "rows": Out(array.rows),
                "address": Out(range(2 * config.act_words)),
                "slots": Out(config.bank_channels // array.cols),
                "words": Out(array.cols * array.act_bits).array(array.drain_rows),
            },
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        config, array, layer = self.config, self.config.array, self.layer
        slots = config.bank_channels // array.cols
        tile = Signal(range(config.act_words))
        channel_tile = Signal(16)
        slot = Signal(range(slots))
        base = Signal(range(config.act_words))
        beats, full = self.counted(m, array.drain_cycles, name="beats")
        last_channels = channel_tile == self.channel_tiles - 1
        m.d.comb += [
            self.address.eq(Mux(self.half, config.act_words, 0) + base + tile),
            self.slots.eq(1 << slot),
            self.last.eq(full & last_channels & (tile == layer.plane - 1)),
        ]
        for index in range(array.drain_rows):
            for channel in range(array.cols):
                byte = self.beat.word_select(index * array.cols + channel, 8)
                act = self.words[index].word_select(channel, array.act_bits)
                m.d.comb += act.eq(byte)
            for row in range(array.drain_cycles):
                target = self.rows[index * array.drain_cycles + row]
                m.d.comb += target.eq(self.take & (beats == row))
        word_full = slot == slots - 1
        with m.If(self.clear):
            m.d.sync += [slot.eq(0), base.eq(0), channel_tile.eq(0), tile.eq(0)]
        with m.Elif(full & last_channels):
            m.d.sync += [slot.eq(0), base.eq(0), channel_tile.eq(0), tile.eq(tile + 1)]
        with m.Elif(full):
            m.d.sync += [
                slot.eq(Mux(word_full, 0, slot + 1)),
                base.eq(base + Mux(word_full, layer.plane, 0)),
                channel_tile.eq(channel_tile + 1),
            ]
        return m
