"""The array's sums, step by step, for tiles of any length, any modes and any stalls.

A ghost beside the array adds up what each step's words mean. By induction over cycles the array's
results are the ghost's, and come in the cycle that they should. `sim.formal.product` closes the
gap between steps and whole weights.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from amaranth import Module, Mux, Shape, Signal, Value, signed
from amaranth.hdl import ResetSignal
from amaranth.lib import data
from amaranth.lib.wiring import In

from hw.array import MacArray
from hw.config import ArrayConfig, PEKind, Stage
from hw.control import TILE
from hw.pe import GATEWARE
from hw.pe.signature import act_layout, weight_word
from hw.planes import PLANES, place
from hw.precision import WeightMode
from hw.schedule import pipeline_latency
from sim.formal.harness import Harness, claim, given, later
from sim.formal.meaning import Step
from sim.formal.probes import register_shapes


@dataclass(frozen=True, kw_only=True)
class _Seen:
    """What the streams of a 1 x 1 array show in a cycle."""

    step: Value
    first: Value
    top: Value
    last: Value
    fresh: Value
    """The next step is the first of its tile."""


class StepSums(Harness):
    """A 1 x 1 array with free streams beside a ghost that adds up its steps.

    Parameters
    ----------
    config : ArrayConfig
        The array, 1 x 1; a kind that does not skip zeros.
    """

    def __init__(self, config: ArrayConfig) -> None:
        self.config = config
        acts = data.ArrayLayout(act_layout(config), 1)
        words = data.ArrayLayout(weight_word(config), 1)
        super().__init__(
            {
                "tile_valid": In(1),
                "tile": In(TILE),
                "act_valid": In(1),
                "act": In(acts),
                "weight_valid": In(1),
                "word": In(words),
                "room": In(1),
            },
            probes=_probes(config),
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        config = self.config
        m.submodules.dut = dut = MacArray(config)
        m.d.comb += [
            given(~ResetSignal()),
            dut.tiles.valid.eq(self.tile_valid),
            dut.tiles.payload.eq(self.tile),
            dut.acts.valid.eq(self.act_valid),
            dut.acts.payload.eq(self.act),
            dut.weights.valid.eq(self.weight_valid),
            dut.weights.payload.eq(self.word),
            dut.room.eq(self.room),
        ]
        seen = self._watch(m, dut)
        self._assume_empty_planes(m)
        gain = self._gain(m, dut, seen)
        latency = pipeline_latency(config)
        # what the accumulator holds before its first tile does not matter
        stepped, started = Signal(), Signal()
        m.d.comb += [started.eq(stepped | seen.step), claim(seen.fresh | stepped)]
        m.d.sync += stepped.eq(started)
        here = Signal(signed(config.acc_bits))
        m.d.comb += here.eq(Mux(seen.step, gain, 0))
        arrived = later(m, here, latency - 1, "gain")
        begins = later(m, seen.step & seen.fresh, latency - 1, "begins")
        if "summand" in self.probes:
            ready = later(m, started, latency - 1, "ready")
            m.d.comb += claim(~ready | (self._true("summand") == arrived))
        total = Signal(signed(config.acc_bits))
        m.d.sync += total.eq(Mux(begins, 0, total) + arrived)
        begun = later(m, started, latency, "begun")
        finished = later(m, seen.last, latency, "finished")
        if not config.double_buffered:
            m.d.comb += [
                claim(dut.psums.valid == finished),
                claim(~finished | begun),
                claim(~begun | (dut.psums.payload.sums[0][0] == total)),
            ]
            return m
        result = Signal(signed(config.acc_bits))
        with m.If(finished):
            m.d.sync += result.eq(total)
        m.d.comb += [
            claim(~begun | (self._true("acc")[: config.acc_bits] == total.as_unsigned())),
            claim(~finished | begun),
            claim(dut.psums.valid == later(m, finished, 1, "left")),
        ]
        with m.If(dut.psums.valid):
            m.d.comb += claim(dut.psums.payload.sums[0][0] == result)
        return m

    def _watch(self, m: Module, dut: MacArray) -> _Seen:
        """Follow the streams; an offered tile stays until it is taken, with its last step."""
        offered, offer = Signal(), Signal(TILE)
        m.d.sync += [offered.eq(self.tile_valid & ~dut.tiles.ready), offer.eq(self.tile)]
        with m.If(offered):
            m.d.comb += given(self.tile_valid & (self.tile == offer))
        fresh = Signal(init=1)
        seen = _Seen(
            step=dut.weights.ready & self.weight_valid,
            first=dut.control.first,
            top=dut.control.last,
            last=dut.tiles.ready & self.tile_valid,
            fresh=fresh,
        )
        with m.If(seen.step):
            m.d.sync += fresh.eq(seen.last)
        m.d.comb += [
            claim(dut.control.step == seen.step),
            claim(seen.step | ~seen.last),
            claim((self.act_valid & dut.acts.ready) == (seen.step & seen.first)),
            claim(fresh == (seen.first & (self.chunk == 0))),
            claim(fresh | (offered & (self.chunk <= self.tile.chunks))),
        ]
        return seen

    def _gain(self, m: Module, dut: MacArray, seen: _Seen) -> Value:
        """Meaning of the present step; ties the ghost's memory of the chunk to the array's."""
        config = self.config
        lanes, bits = config.lanes, config.weight_field_bits
        held, act = Signal(act_layout(config)), Signal(act_layout(config))
        position, here = Signal(3), Signal(3)
        m.d.comb += [
            act.eq(Mux(seen.first, self.act[0], held)),
            here.eq(Mux(seen.first, 0, position)),
        ]
        previous = Signal(lanes)
        with m.If(seen.step):
            m.d.sync += [held.eq(act), position.eq(here + 1)]
            m.d.sync += [previous[i].eq(self.word[0][i][bits - 1]) for i in range(lanes)]
        if config.pe.traits.serial:
            steps = Signal(4)
            m.d.comb += steps.eq((2 * self.tile.mode + 2) if bits == 1 else (self.tile.mode + 1))
            m.d.comb += [
                claim(seen.first == (self.digit == 0)),
                claim(seen.first | (self.digit == position)),
                claim(seen.first | (self.digit < steps)),
                claim(seen.top == (here + 1 == steps)),
                *(claim(e) for e in self._held_equal(dut, held)),
            ]
        else:
            m.d.comb += [claim(seen.first), claim(seen.top)]
        if "below" in self.probes:
            m.d.comb += claim(self.below == previous)
        step = Step(
            config=config,
            act=[act[i] for i in range(lanes)],
            word=[self.word[0][i] for i in range(lanes)],
            position=here,
            top=seen.top,
            below=[previous[i] & ~seen.first for i in range(lanes)],
            mode=self.tile.mode,
        )
        return step.gain()

    def _assume_empty_planes(self, m: Module) -> None:
        """Fields of the memory words that no digit uses are 0, as `sim.packing` makes them."""
        config = self.config
        if config.pe.traits.planes == 1:
            return
        size = config.lanes // PLANES
        for mode in WeightMode:
            empty = [plane for plane in range(PLANES) if place(plane, mode) is None]
            for lane in (plane * size + i for plane in empty for i in range(size)):
                with m.If(self.tile.mode == mode.digits - 1):
                    m.d.comb += given(self.word[0][lane] == 0)

    def _held_equal(self, dut: MacArray, held: Any) -> list[Value]:
        """Activations at the edge are those that came with the chunk."""
        lines = dut.act_edges[0].out
        if self.config.pe is not PEKind.RADIX4_DIGIT:
            return [lines.as_value() == held.as_value()]
        lanes = range(self.config.lanes)
        singles = [lines[i].single == held[i] for i in lanes]
        return singles + [lines[i].triple == 3 * held[i] for i in lanes]

    def _true(self, register: str) -> Value:
        """Value of a register of the PE, less those of its excesses."""
        value: Value = getattr(self, register)
        for excess in (f"column_{register}", f"row_{register}"):
            if excess in self.probes:
                value = value - getattr(self, excess)
        return value


def _probes(config: ArrayConfig) -> dict[str, tuple[str, Shape]]:
    """Name the registers that an induction must see, and those that make it quick."""
    gateware = GATEWARE[config.pe]
    places = {"": "pe_0_0"}
    if gateware.column_excess:
        places["column_"] = "weight_edge_0"
    if gateware.row_excess:
        places["row_"] = "act_edge_0.excess"
    paths = {"chunk": "control.chunk"}
    if config.pe.traits.serial:
        paths["digit"] = "control.digit"
    if config.pe is PEKind.BOOTH_DIGIT:
        paths["below"] = "weight_edge_0.recoder.below"
    if Stage.SUM in config.stages:
        paths |= {f"{kind}summand": f"{place}.summand_0" for kind, place in places.items()}
    if config.double_buffered:
        for kind, place in places.items():
            paths[f"{kind}acc"] = f"{place}.{'total' if kind == 'column_' else 'acc'}"
    return register_shapes(config, paths)
