"""Radix-4 Booth recoding of weights, least significant digit first.

Bits ``2d + 1`` and ``2d`` of a weight and bit ``2d - 1`` below them give digit ``d`` in
{-2, -1, 0, 1, 2}; the weight is the sum of ``digit[d] * 4**d``.
"""

from amaranth import Module, Value
from amaranth.lib import data
from amaranth.lib.wiring import In, Out

from hw.component import Component
from hw.precision import WeightMode

DIGIT = data.StructLayout({"one": 1, "two": 1, "neg": 1})
"""A digit as a PE takes it: its magnitude is 1, 2 or neither; `neg` is 0 for the digit 0."""


def digits(weight: int, mode: WeightMode) -> list[int]:
    """Booth digits of a weight, least significant first.

    Parameters
    ----------
    weight : int
        Within ``mode``.
    mode : WeightMode
        Its precision.

    Returns
    -------
    list of int [mode.digits]
        Each from -2 to 2.

    Raises
    ------
    ValueError
        If the weight does not fit the mode.
    """
    if not mode.min <= weight <= mode.max:
        raise ValueError(
            f"weight must be from {mode.min} to {mode.max} at {mode.name}, not {weight}"
        )
    below = [0] + [weight >> bit & 1 for bit in range(mode.bits)]
    return [below[2 * d] + below[2 * d + 1] - 2 * below[2 * d + 2] for d in range(mode.digits)]


class DigitRecoder(Component):
    """Two weight bits and the bit below them to one digit; combinational.

    Members
    -------
    pair : In(2)
        Bits ``2d + 1`` and ``2d``.
    below : In(1)
        Bit ``2d - 1``, 0 for the lowest digit.
    digit : Out(DIGIT)
    """

    def __init__(self) -> None:
        super().__init__({"pair": In(2), "below": In(1), "digit": Out(DIGIT)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        low, high = self.pair[0], self.pair[1]
        m.d.comb += [
            self.digit.one.eq(low ^ self.below),
            self.digit.two.eq((low == self.below) & (high != low)),
            self.digit.neg.eq(high & ~(low & self.below)),
        ]
        return m


def tree_sum(terms: list[Value]) -> Value:
    """Sum as a balanced tree of adders, each as wide as its sum."""
    while len(terms) > 1:
        pairs = [a + b for a, b in zip(terms[::2], terms[1::2], strict=False)]
        terms = pairs + terms[len(pairs) * 2 :]
    return terms[0]
