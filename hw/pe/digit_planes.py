"""Spatial digit planes: all Booth digits of a weight at once, on four planes side by side.

Each plane sums its digit products; then the sums are shifted as the weight mode says, and added.
Where weights have fewer digits the planes hold more products; see `hw.planes`. Products and the
excess of negative ones are those of the Booth-digit-serial PE.
"""

from collections.abc import Sequence

from amaranth import Module, Mux, Signal, Value
from amaranth.lib import data

from hw.booth import DigitRecoder
from hw.component import Component
from hw.config import ArrayConfig
from hw.pe.accumulator import accumulate
from hw.pe.booth_digit import booth_products, counted_excess
from hw.pe.pipeline import lane_sum, summand
from hw.pe.recoder import Recoder
from hw.pe.signature import Lines, PESignature, Record, weight_layout
from hw.planes import PLANES, place
from hw.precision import WeightMode


class DigitPlanesPE(Component):
    """All digits of ``lanes / 4``, ``lanes / 2`` or `lanes` weights times activations a cycle.

    Latency from operands at the edge registers' inputs to the sum in the accumulator is 2 edges
    and one for each pipeline register; by default 4: edge registers (outside), group sums, sum of
    the shifted planes, accumulator. Throughput is one step a cycle.
    """

    def __init__(self, config: ArrayConfig) -> None:
        self.config = config
        super().__init__(PESignature(config))

    def elaborate(self, platform: object) -> Module:
        m = Module()
        config = self.config
        products = booth_products(m, config, act=self.act, digits=self.weight)
        sums = [
            lane_sum(m, plane, config, name=f"plane_{index}")
            for index, plane in enumerate(by_plane(products))
        ]
        accumulate(
            m,
            config=config,
            addend=summand(m, joined(sums, self.control.shift), config),
            control=self.control,
            chain_in=self.chain_in,
            chain_out=self.chain_out,
        )
        return m


def by_plane(lanes: Sequence[Value]) -> list[list[Value]]:
    """Split what there is for each lane into planes."""
    size = len(lanes) // PLANES
    return [list(lanes[first : first + size]) for first in range(0, len(lanes), size)]


def joined(sums: Sequence[Value], mode: Value) -> Value:
    """Sum of the planes, each shifted to its digit at a mode (one-hot; 0 where there is no step).

    Pairs of planes first, the upper one shifted by a digit, then both pairs, the upper one shifted
    by two; so a plane has one choice less than modes. The empty plane of 6-bit weights has digits
    0 and lies where the fourth digit would.
    """
    w2, w4, w6, w8 = (mode[m.digits - 1] for m in WeightMode)
    lowest = sums[0] & mode.any().replicate(len(sums[0]))
    lower = lowest + _apart(sums[1], digits=1, where=w4 | w6 | w8, beside=w2)
    upper = sums[2] + _apart(sums[3], digits=1, where=w4 | w6 | w8, beside=w2)
    return lower + _apart(upper, digits=2, where=w6 | w8, beside=w2 | w4)


def _apart(value: Value, *, digits: int, where: Value, beside: Value) -> Value:
    """Shift by some digits where these follow, not at all `beside`, else 0."""
    width = len(value) + 2 * digits
    far = (value << (2 * digits))[:width] & where.replicate(width)
    return far | (value & beside.replicate(len(value)))


class PlaneRecoder(Recoder):
    """All Booth digits of a chunk's weights at once."""

    def elaborate(self, platform: object) -> Module:
        m = Module()
        lanes = self.config.lanes
        size = lanes // PLANES
        layout = weight_layout(self.config)
        digits = data.View(layout, Signal(layout.size, name="digits", reset_less=True))
        for plane in range(PLANES):
            # whether the plane below holds the next lower digit of the same products
            continues = Signal(name=f"continues_{plane}")
            modes = [mode for mode in WeightMode if (place(plane, mode) or (0, 0))[1]]
            for mode in modes:
                with m.If(self.mode == mode.digits - 1):
                    m.d.comb += continues.eq(1)
            for lane in range(plane * size, (plane + 1) * size):
                m.submodules[f"recoder_{lane}"] = recoder = DigitRecoder()
                m.d.comb += recoder.pair.eq(self.word[lane])
                if plane:
                    m.d.comb += recoder.below.eq(self.word[lane - size][1] & continues)
                with m.If(self.step):
                    m.d.sync += digits[lane].eq(recoder.digit)
        m.d.comb += self.out.eq(digits)
        return m


def column_excess(
    m: Module,
    config: ArrayConfig,
    digits: Lines,
    control: Record,
) -> Value:
    """Excess of a step of a column's PEs, joined as they join their sums."""
    size = config.lanes // PLANES
    amounts = [
        counted_excess(
            m,
            config,
            [digits[lane] for lane in range(plane * size, (plane + 1) * size)],
            name=f"negatives_{plane}",
        )
        for plane in range(PLANES)
    ]
    return joined(amounts, control.shift)


def spread(config: ArrayConfig, act: Lines, mode: Value) -> list[Value]:
    """Activations of all planes' lanes: those of the slot that a plane holds at a mode."""
    size = config.lanes // PLANES
    lines: list[Value] = []
    for plane in range(PLANES):
        for lane in range(size):
            line: Value = act[lane]
            for m in WeightMode:
                slot = (place(plane, m) or (0, 0))[0]
                if slot:
                    line = Mux(mode == m.digits - 1, act[slot * size + lane], line)
            lines.append(line)
    return lines
