"""The loader comes to the end of every packet, and hands on only layers that fit.

By induction over cycles, so for any descriptor, payload, length of packet and waiting. What ends a
packet is shown by a measure: the state and, in it, what is left of the counters, as one number. It
falls in every cycle in which the loader does not wait for its surroundings, so these cycles are
finitely many from a descriptor's first beat to its layer or its error.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property

from amaranth import Cat, Const, Module, Mux, Signal, Value
from amaranth.hdl import ResetSignal
from amaranth.lib import data
from amaranth.lib.wiring import In

from hw.accelerator_config import RECORD_BYTES, AcceleratorConfig
from hw.check import DESCRIPTOR
from hw.check import LATENCY as CHECK_LATENCY
from hw.descriptor import DESCRIPTOR_BYTES, FLAGS, ErrorCode
from hw.loader import Loader
from sim.formal.harness import Harness, claim, given

STATES = (
    "idle",
    "descriptor",
    "begin check",
    "drain",
    "check",
    "checked",
    "push",
    "acts",
    "parameters",
    "weights",
    "complete",
)
"""States of the loader as Amaranth numbers them: in the order in which the gateware names them."""

ORDER = (
    "complete",
    "drain",
    "push",
    "acts",
    "weights",
    "parameters",
    "checked",
    "check",
    "begin check",
    "descriptor",
)
"""States from the last one of a packet to the first."""

LOADED = ("checked", "parameters", "weights", "acts", "push")
"""States in which the check's results are there."""

OUTPUTS, KERNEL, INPUTS, ACT_WORDS, TILES = 2, 3, 4, 6, 8
"""Steps of the check at which these products are there; see `hw.check.Check`."""


class LoaderEnds(Harness):
    """A loader with free streams, `room` and `ended`.

    The check's multiplier is cut out. Given instead is what the proof needs of its products: that
    those of sizes other than 0 are not 0, that outputs fit 32 bits, kernel height x width, and
    plane x channel words.

    Parameters
    ----------
    config : AcceleratorConfig
        Small, but with registers for all counts: none of its sizes 1.
    loader : type, optional
        The loader, or one with a fault that is to be found.
    """

    def __init__(self, config: AcceleratorConfig, *, loader: type[Loader] = Loader) -> None:
        self.config = config
        array = config.array
        self.dut = loader(config)
        self.beats = {
            "descriptor": DESCRIPTOR_BYTES // config.bus_bytes,
            "parameters": RECORD_BYTES * array.cols // config.bus_bytes,
            "weights": config.weight_word_bytes // config.bus_bytes,
            "acts": array.drain_cycles,
        }
        slots = config.bank_channels // array.cols
        super().__init__(
            {
                "start": In(1),
                "in_valid": In(1),
                "in_data": In(8 * config.bus_bytes),
                "in_last": In(1),
                "room": In(1),
                "ended": In(1),
            },
            probes={
                "state": ("dut.fsm_state", 4),
                "beat": ("dut.beat", range(DESCRIPTOR_BYTES)),
                "cut": ("dut.cut", 1),
                "have": ("dut.have", 1),
                "held": ("dut.held", self._held_layout()),
                "descriptor": ("dut.descriptor", DESCRIPTOR),
                "step": ("dut.check.step", range(CHECK_LATENCY)),
                "error": ("dut.check.error", 4),
                "channel_tiles": ("dut.check.channel_tiles", 16),
                "taps": ("dut.check.taps", 16),
                "product": ("dut.check.product", 48),
                "parameter_beats": ("dut.parameters.beats", range(self.beats["parameters"])),
                "parameter_tile": ("dut.parameters.tile", range(config.channel_tiles)),
                "weight_beats": ("dut.weights.beats", range(self.beats["weights"])),
                "weight_index": ("dut.weights.index", range(config.weight_words)),
                "act_beats": ("dut.acts.beats", range(self.beats["acts"])),
                "act_tile": ("dut.acts.tile", range(config.act_words)),
                "act_channel_tile": ("dut.acts.channel_tile", 16),
                "act_slot": ("dut.acts.slot", range(slots)),
                "act_base": ("dut.acts.base", range(config.act_words)),
            },
            cuts=("dut.check.product",),
        )

    def _held_layout(self) -> data.StructLayout:
        members = self.dut.layer.shape().members
        names = ("in_h", "in_w", "mode", "chunks", "tiles")
        return data.StructLayout({name: members[name] for name in names})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.dut = dut = self.dut
        m.d.comb += given(~ResetSignal())
        for name in ("start", "in_valid", "in_data", "in_last", "room", "ended"):
            m.d.comb += getattr(dut, name).eq(getattr(self, name))
        m.d.comb += [given(test) for test in self._products()]
        for test in (*self._control(), *self._checks(), *self._sections(), *self._kept()):
            m.d.comb += claim(test)
        self._packets(m)
        self._writes(m)
        self._progress(m)
        return m

    def _in(self, *states: str) -> Value:
        return Cat(*[self.state == STATES.index(state) for state in states]).any()

    @cached_property
    def _channel_words(self) -> Value:
        channels = self.config.bank_channels
        words: Value = self.descriptor.in_channels + channels - 1
        return words >> (channels - 1).bit_length()

    def _products(self) -> Iterator[Value]:
        """Name what is true of the product at each step of the check that the proof needs."""
        d, product = self.descriptor, self.product
        for step, factors in (
            (OUTPUTS, (d.out_h, d.out_w)),
            (INPUTS, (d.in_h, d.in_w)),
            (INPUTS + 1, (self.taps, d.group_channels)),
            (TILES, (d.groups, d.out_tiles)),
        ):
            zero = ~Cat(*[factor.any() for factor in factors]).all()
            yield (self.step != step) | (product.any() | zero)
        yield (self.step != OUTPUTS) | (product <= ((1 << 16) - 1) ** 2)
        yield (self.step != KERNEL) | (product == d.kernel_h * d.kernel_w)
        yield (self.step != ACT_WORDS) | (product == self.dut.layer.plane * self._channel_words)

    def _control(self) -> Iterator[Value]:
        """Name what the states imply."""
        dut, none = self.dut, ErrorCode.NONE
        yield self.state < len(STATES)
        yield dut.busy == ~self._in("idle")
        yield (dut.error == none) | self._in("drain", "complete", "idle")
        yield (dut.error != none) | ~self._in("drain")
        yield (dut.error != none) | ~self._in("complete") | dut.layer.last
        yield self.beat < self.beats["descriptor"]
        yield (self.beat == 0) | self._in("descriptor")
        yield self._in("check") == (self.step != 0)
        yield self.step < CHECK_LATENCY
        yield (self.error == none) | ~self._in(*LOADED[1:])

    def _checks(self) -> Iterator[Value]:
        """Name what the check has found so far, unless it found an error."""
        config, layer, d = self.config, self.dut.layer, self.descriptor
        cols = config.array.cols
        fine = self.error == ErrorCode.NONE
        counts = [layer.kernel_h, layer.kernel_w, layer.groups, layer.out_tiles]
        counts += [layer.group_channels]
        beyond_piece = Const(1, 16) << layer.piece_log2
        sizes = [d.in_h, d.in_w, d.kernel_h, d.kernel_w, d.stride, d.out_h, d.out_w]
        sizes += [d.in_channels, d.group_channels, d.groups, d.out_tiles]
        for step, found in (
            (1, Cat(*[size.any() for size in sizes]).all()),
            (1, self.channel_tiles == (d.in_channels + cols - 1) >> (cols - 1).bit_length()),
            (1, layer.mode == d.mode),
            (1, Cat(*[count.any() for count in counts]).all()),
            (1, (layer.group_channels & (beyond_piece - 1)[:16]) == 0),
            (1, beyond_piece <= config.largest_piece),
            (OUTPUTS, layer.pixel_tiles != 0),
            (KERNEL, self.taps != 0),
            (INPUTS, (layer.plane != 0) & (layer.plane <= config.act_words)),
            (INPUTS + 1, layer.chunks < config.patch_chunks),
            (ACT_WORDS, layer.plane * self._channel_words <= config.act_words),
            (TILES, (layer.tiles != 0) & (layer.tiles <= config.channel_tiles)),
        ):
            there = self._in(*LOADED) | (self.step > step)
            yield ~(there & fine) | found

    def _sections(self) -> Iterator[Value]:
        """Counters stay below what they count to, and are 0 before their section."""
        config, layer = self.config, self.dut.layer
        words = self.dut.parameters.words
        parameters, weights = self._in("parameters"), self._in("weights")
        acts = self._in("acts")
        yield self.parameter_beats < self.beats["parameters"]
        yield self.weight_beats < self.beats["weights"]
        yield self.act_beats < self.beats["acts"]
        yield ~parameters | (self.parameter_tile < layer.tiles)
        yield ~parameters | (words.any() == self.parameter_tile.any())
        yield words <= config.weight_words + config.deepest_tile_words
        yield ~weights | words.any()
        yield ~weights | (words > config.weight_words) | (self.weight_index < words)
        yield ~parameters | ~Cat(self.weight_index, self.weight_beats).any()
        counts = Cat(self.act_beats, self.act_tile, self.act_channel_tile)
        places = Cat(self.act_slot, self.act_base)
        keeps_acts = self.descriptor.flags[FLAGS.index("keep_acts")]
        yield ~(parameters | weights) | keeps_acts | ~Cat(counts, places).any()
        yield ~acts | (self.act_tile < layer.plane)
        yield ~acts | (self.act_channel_tile < self.channel_tiles)
        slot_bits = (config.bank_channels // config.array.cols - 1).bit_length()
        whole = self.act_channel_tile[slot_bits:]
        yield ~acts | (self.act_slot == self.act_channel_tile[:slot_bits])
        yield ~acts | (self.act_base == whole * layer.plane)

    def _kept(self) -> Iterator[Value]:
        """Weights that a layer may keep are as many as fit."""
        words = self.dut.parameters.words
        fits = (words != 0) & (words <= self.config.weight_words)
        replaced = self._in("parameters", "weights", "drain")
        yield ~self.have | replaced | fits
        yield ~self._in("acts", "push") | fits
        yield ~self.have | (self.dut.error == ErrorCode.NONE) | self._in("drain")

    def _packets(self, m: Module) -> None:
        """Claim that a packet is taken to its end, and no beat more, before its layer or error."""
        dut, config = self.dut, self.config
        inside = Signal()
        layer = dut.layer
        with m.If(self.in_valid & dut.in_ready):
            m.d.sync += inside.eq(~self.in_last)
        behind = self._in(
            "begin check", "check", "checked", "push", "acts", "parameters", "weights"
        )
        m.d.comb += [
            claim(~(behind | self._in("drain")) | (inside == ~self.cut)),
            claim(~self._in("complete", "idle") | ~inside),
            claim(~self._in("descriptor") | (inside == (self.beat != 0))),
            claim(~dut.push | (dut.error == ErrorCode.NONE)),
            claim(~dut.push | ~inside),
            claim(~dut.complete | ~inside),
            claim(~dut.push | ((layer.plane != 0) & (layer.plane <= config.act_words))),
            claim(~dut.push | (layer.plane * self._channel_words <= config.act_words)),
            claim(~dut.push | (layer.chunks < config.patch_chunks)),
            claim(~dut.push | ((layer.words != 0) & (layer.words <= config.weight_words))),
            claim(~dut.push | ((layer.tiles != 0) & (layer.tiles <= config.channel_tiles))),
        ]

    def _writes(self, m: Module) -> None:
        """Claim that what is written lies in the half of its scratchpad that the layer gets."""
        dut, config = self.dut, self.config
        for write, address, half, size in (
            (
                dut.parameters.write,
                dut.parameters.address,
                dut.layer.weight_half,
                config.channel_tiles,
            ),
            (dut.weights.write, dut.weights.address, dut.layer.weight_half, config.weight_words),
            (dut.acts.rows.any(), dut.acts.address, dut.layer.act_half, config.act_words),
        ):
            low = Mux(half, size, 0)
            m.d.comb += claim(~write | ((address >= low) & (address < low + size)))

    def _progress(self, m: Module) -> None:
        """Claim that the measure falls, or the loader waits, or a packet has just ended."""
        dut = self.dut
        take = self.in_valid & dut.in_ready
        left = {
            "descriptor": ~self.beat,
            "check": ~self.step,
            "parameters": Cat(~self.parameter_beats, ~self.parameter_tile),
            "weights": Cat(~self.weight_beats, ~self.weight_index),
            "acts": Cat(~self.act_beats, ~self.act_channel_tile, ~self.act_tile),
            "drain": ~self.cut,
        }
        width = max(len(value) for value in left.values())
        low, rank = Signal(width), Signal(range(len(ORDER)))
        for index, state in enumerate(ORDER):
            with m.If(self._in(state)):
                m.d.comb += [rank.eq(index), low.eq(left.get(state, Const(0, 1)))]
        measure, before = Signal(width + len(rank)), Signal(width + len(rank))
        waits = Mux(self._in("drain"), ~self.cut & ~(take & self.in_last), dut.in_ready & ~take)
        waits |= self._in("checked") & ~self.room
        waits |= self._in("complete") & ~self.ended
        ends = dut.push | self._in("idle") | (self._in("complete") & self.ended)
        falls, home = Signal(), Signal()
        m.d.comb += measure.eq(Cat(low, rank))
        m.d.sync += [
            before.eq(measure),
            falls.eq(~waits & ~ends),
            home.eq(self._in("complete") & self.ended),
        ]
        m.d.comb += [claim(~falls | (measure < before)), claim(~home | ~dut.busy)]
