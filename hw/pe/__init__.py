"""Processing elements: one file per microarchitecture, one Signature for all."""

from hw.component import Component
from hw.config import ArrayConfig, PEKind
from hw.pe import bit_pair, bit_plane, booth_digit, digit_planes, radix4_digit
from hw.pe.int8_dot import Int8DotPE
from hw.pe.int8_mac import Int8MacPE
from hw.pe.kind import Gateware
from hw.pe.multiplier import WholeWeights
from hw.pe.shift_add import MoveRecoder, ShiftAddPE

GATEWARE = {
    PEKind.BOOTH_DIGIT: Gateware(
        pe=booth_digit.BoothDigitPE,
        recoder=booth_digit.BoothRecoder,
        column_excess=booth_digit.column_excess,
    ),
    PEKind.BIT_PLANE: Gateware(
        pe=bit_plane.BitPlanePE,
        recoder=bit_plane.BitRecoder,
        column_excess=bit_plane.column_excess,
    ),
    PEKind.BIT_PAIR: Gateware(
        pe=bit_pair.BitPairPE,
        recoder=bit_pair.PairRecoder,
        column_excess=bit_pair.column_excess,
    ),
    PEKind.RADIX4_DIGIT: Gateware(
        pe=radix4_digit.Radix4DigitPE,
        recoder=radix4_digit.PlainRecoder,
        act_lines=radix4_digit.tripled,
        row_excess=radix4_digit.RowExcess,
    ),
    PEKind.DIGIT_PLANES: Gateware(
        pe=digit_planes.DigitPlanesPE,
        recoder=digit_planes.PlaneRecoder,
        column_excess=digit_planes.column_excess,
        act_lines=digit_planes.spread,
    ),
    PEKind.SHIFT_ADD: Gateware(pe=ShiftAddPE, recoder=MoveRecoder),
    PEKind.INT8_MAC: Gateware(pe=Int8MacPE, recoder=WholeWeights),
    PEKind.INT8_DOT: Gateware(pe=Int8DotPE, recoder=WholeWeights),
}
"""All kinds."""


def make_pe(config: ArrayConfig) -> Component:
    """Build the PE of a configuration."""
    return GATEWARE[config.pe].pe(config)
