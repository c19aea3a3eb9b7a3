"""Processing elements: one file per microarchitecture, one Signature for all."""

from hw.component import Component
from hw.config import ArrayConfig, PEKind
from hw.pe.booth_digit import BoothDigitPE
from hw.pe.int8_mac import Int8MacPE


def make_pe(config: ArrayConfig) -> Component:
    """Build the PE of a configuration."""
    kinds = {PEKind.BOOTH_DIGIT: BoothDigitPE, PEKind.INT8_MAC: Int8MacPE}
    return kinds[config.pe](config)
