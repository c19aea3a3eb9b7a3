"""Kinds of processing elements (PEs), and what the memory and the schedule see of each."""

from dataclasses import dataclass
from enum import Enum

from hw.precision import WeightMode


class PEKind(Enum):
    """Microarchitecture of a processing element (PE)."""

    BOOTH_DIGIT = "booth_digit"
    """`lanes` activations times one radix-4 Booth digit of `lanes` weights a cycle."""

    BIT_PLANE = "bit_plane"
    """`lanes` activations and one bit of `lanes` weights a cycle."""

    BIT_PAIR = "bit_pair"
    """`lanes` activations and two bits of `lanes` weights a cycle, a tree for each of the bits."""

    RADIX4_DIGIT = "radix4_digit"
    """`lanes` activations times one digit 0 to 3 of `lanes` offset weights a cycle."""

    DIGIT_PLANES = "digit_planes"
    """All Booth digits at once on four planes of ``lanes / 4`` lanes: 1, 2 or 4 products each."""

    SHIFT_ADD = "shift_add"
    """One shifted activation added or subtracted a cycle, zero digits skipped: the paper's MAC."""

    INT8_MAC = "int8_mac"
    """One 8 x 8 bit multiplier with a private accumulator: the baseline."""

    INT8_DOT = "int8_dot"
    """`lanes` 8 x 8 bit multipliers, one tree, one accumulator: the strong baseline."""

    @property
    def traits(self) -> "Traits":
        """What memory and schedule see."""
        return _TRAITS[self]


class Stage(Enum):
    """A place for a pipeline register in a PE, in the order of the data."""

    PRODUCT = "product"
    """Behind the lanes' products."""

    GROUP = "group"
    """Behind the sums of `group` lanes each."""

    SUM = "sum"
    """Before the accumulator, behind the shifter where there is one."""


class Multiplier(Enum):
    """How a PE that takes whole weights multiplies."""

    ROWS = "rows"
    """Rows of partial products by Baugh and Wooley, summed in one compressor tree."""

    FUSED = "fused"
    """The same rows of all lanes summed at once, up to the next register, without products between;
    so there is no register behind the products."""

    OPERATOR = "operator"
    """A product in the RTL, left to synthesis."""


@dataclass(frozen=True, kw_only=True)
class Traits:
    """A kind as memory, schedule and configuration see it.

    Parameters
    ----------
    field_bits : int
        Bits of a weight in a word of the weight memory.
    stages : tuple of Stage
        Registers that the kind can have.
    default_stages : tuple of Stage
        Those that it has if the configuration does not say.
    serial : bool
        Whether a chunk takes a word per `field_bits` bits of its weights, lowest first.
    planes : int
        Parts of equal size that the lanes are split into; one holds a digit of a product.
    skips_zeros : bool
        Whether the steps of a chunk depend on its weights.
    one_lane : bool
        Whether the kind is a single multiply-accumulate.
    signed_acts : bool
        Whether activations may be two's complement.
    """

    field_bits: int
    stages: tuple[Stage, ...]
    default_stages: tuple[Stage, ...]
    serial: bool = False
    planes: int = 1
    skips_zeros: bool = False
    one_lane: bool = False
    signed_acts: bool = True

    @property
    def shift_positions(self) -> int:
        """Ways in which sums are shifted: positions of a digit, or modes on planes; or 0."""
        if self.planes > 1:
            return len(WeightMode)
        return WeightMode.W8.bits // self.field_bits if self.serial else 0


_ALL = (Stage.PRODUCT, Stage.GROUP, Stage.SUM)
_WHOLE = WeightMode.W8.bits

_TRAITS = {
    PEKind.BOOTH_DIGIT: Traits(
        field_bits=2, serial=True, stages=_ALL, default_stages=(Stage.GROUP, Stage.SUM)
    ),
    PEKind.BIT_PLANE: Traits(
        field_bits=1, serial=True, stages=_ALL, default_stages=(Stage.GROUP, Stage.SUM)
    ),
    PEKind.BIT_PAIR: Traits(
        field_bits=2, serial=True, stages=_ALL, default_stages=(Stage.GROUP, Stage.SUM)
    ),
    PEKind.RADIX4_DIGIT: Traits(
        field_bits=2,
        serial=True,
        signed_acts=False,
        stages=_ALL,
        default_stages=(Stage.GROUP, Stage.SUM),
    ),
    PEKind.DIGIT_PLANES: Traits(
        field_bits=2, planes=4, stages=_ALL, default_stages=(Stage.GROUP, Stage.SUM)
    ),
    PEKind.SHIFT_ADD: Traits(
        field_bits=_WHOLE,
        skips_zeros=True,
        one_lane=True,
        stages=(Stage.PRODUCT,),
        default_stages=(Stage.PRODUCT,),
    ),
    PEKind.INT8_MAC: Traits(
        field_bits=_WHOLE,
        one_lane=True,
        stages=(Stage.PRODUCT,),
        default_stages=(Stage.PRODUCT,),
    ),
    PEKind.INT8_DOT: Traits(
        field_bits=_WHOLE, stages=_ALL, default_stages=(Stage.GROUP, Stage.SUM)
    ),
}
