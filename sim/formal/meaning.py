"""What the words of one step add to a dot product, in ordinary signed arithmetic."""

from __future__ import annotations

from dataclasses import dataclass

from amaranth import Const, Mux, Value

from hw.booth import tree_sum
from hw.config import ArrayConfig, PEKind
from hw.planes import PLANES, place
from hw.precision import WeightMode


@dataclass(frozen=True, kw_only=True)
class Step:
    """One step of a column, as the ghost sees it.

    Parameters
    ----------
    config : ArrayConfig
        The array.
    act : list of Value [lanes]
        Activations of the chunk, as they came.
    word : list of Value [lanes]
        What came from the weight memory.
    position : Value
        How many steps of the chunk came before.
    top : Value
        It is the last step of the chunk.
    below : list of Value [lanes]
        Top bit of the lane's previous word; 0 in the first step.
    mode : Value
        Digits of a weight, less one.
    """

    config: ArrayConfig
    act: list[Value]
    word: list[Value]
    position: Value
    top: Value
    below: list[Value]
    mode: Value

    def gain(self) -> Value:
        """Return what the step adds to the dot product.

        What the digits of a weight add up to is the weight: of two's complement bits by position,
        of Booth digits by the recoder's proof.
        """
        traits = self.config.pe.traits
        if traits.planes > 1:
            return self._planes()
        if not traits.serial:
            pairs = zip(self.act, self.word, strict=True)
            return tree_sum([act * word.as_signed() for act, word in pairs])
        booth = self.config.pe is PEKind.BOOTH_DIGIT
        products = [
            times_booth_digit(act, word, below) if booth else _times_field(act, word, self.top)
            for act, word, below in zip(self.act, self.word, self.below, strict=True)
        ]
        bits = self.config.weight_field_bits
        return tree_sum(products) << (bits * self.position).as_unsigned()[:3]

    def _planes(self) -> Value:
        """Sum of the digit products that lie side by side at each mode."""
        size = self.config.lanes // PLANES
        total: Value = Const(0, 1)
        for mode in WeightMode:
            products: list[Value] = []
            for plane in range(PLANES):
                slot, digit = place(plane, mode) or (0, None)
                for lane in range(size) if digit is not None else ():
                    pair = self.word[plane * size + lane]
                    below = self.word[(plane - 1) * size + lane][1] if digit else Const(0, 1)
                    act = self.act[slot * size + lane]
                    products.append(times_booth_digit(act, pair, below) << (2 * (digit or 0)))
            total = Mux(self.mode == mode.digits - 1, tree_sum(products), total)
        return total


def times_booth_digit(act: Value, pair: Value, below: Value) -> Value:
    """Return an activation times ``below + pair[0] - 2 * pair[1]``."""
    low, high = pair[0], pair[1]
    magnitude = Mux(low ^ below, act, Mux(low == high, 0, act << 1))
    return Mux(high & ~(low & below), -magnitude, magnitude)


def _times_field(act: Value, field: Value, top: Value) -> Value:
    """Return an activation times bits of a weight, the highest bit of the `top` ones a sign."""
    bits = len(field)
    multiples: Value = Const(0, 1)
    for value in range(1, 1 << bits):
        multiples = Mux(field == value, act * value, multiples)
    return multiples - Mux(top & field[bits - 1], act << bits, 0)
