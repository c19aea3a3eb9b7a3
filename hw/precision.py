"""Widths of the integers: weight precisions, the digits they cost, requantisation."""

from enum import Enum

MULTIPLIER_BITS = 16
"""A requantisation multiplier is an unsigned number of this many bits, its top bit set."""

SHIFT_MAX = 47
"""A requantisation shift is from 1 to this many bits."""

BIAS_BITS = 32
"""Bits of a bias, and of a sum with its bias."""

CHANNEL_BITS = BIAS_BITS + MULTIPLIER_BITS + SHIFT_MAX.bit_length()
"""Bits of an output channel's parameters."""


class WeightMode(Enum):
    """Weight precision of a layer; the value is the number of radix-4 digits of a weight."""

    W2 = 1
    W4 = 2
    W6 = 3
    W8 = 4

    @property
    def digits(self) -> int:
        """Radix-4 digits per weight, which is also cycles per product on a digit-serial PE."""
        return self.value

    @property
    def bits(self) -> int:
        """Bits per weight, sign included."""
        return 2 * self.value

    @property
    def min(self) -> int:
        """Most negative weight, two's complement."""
        return -(1 << (self.bits - 1))

    @property
    def max(self) -> int:
        """Most positive weight, two's complement."""
        return (1 << (self.bits - 1)) - 1

    @classmethod
    def from_bits(cls, bits: int) -> "WeightMode":
        """Return the mode of a weight width in bits.

        Raises
        ------
        ValueError
            If no mode has this width.
        """
        for mode in cls:
            if mode.bits == bits:
                return mode
        known = ", ".join(str(mode.bits) for mode in cls)
        raise ValueError(f"weight bits must be one of {known}, not {bits}")
