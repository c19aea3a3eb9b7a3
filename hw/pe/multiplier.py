"""An activation times a whole weight, and the recoder of PEs that take whole weights."""

from amaranth import Const, Module, Mux, Signal, Value

from hw.booth import tree_sum
from hw.config import ArrayConfig, Multiplier
from hw.pe.recoder import Recoder
from hw.precision import WeightMode


def product_bits(config: ArrayConfig) -> int:
    """Bits of a product."""
    return config.act_bits + WeightMode.W8.bits


def rows_of(config: ArrayConfig, act: Value, weight: Value) -> tuple[list[Value], int]:
    """Partial products of an activation and a weight by Baugh and Wooley, and their excess.

    Returns
    -------
    rows : list of Value
        Unsigned, each at its place.
    constant : int
        What is to be added to their sum for the product.
    """
    act, weight = act.as_unsigned(), weight.as_unsigned()
    bits, top = config.act_bits, WeightMode.W8.bits - 1
    rows: list[Value] = []
    constant = 0
    for i in range(top + 1):
        inverted = 0
        if i == top:  # the sign row counts negative: -r = ~r - (2**bits - 1)
            inverted ^= (1 << bits) - 1
            constant -= ((1 << bits) - 1) << i
        if config.act_signed:  # the sign column counts negative: -b = ~b - 1
            inverted ^= 1 << (bits - 1)
            sign = 1 << (bits - 1 + i)
            constant += sign if i == top else -sign
        rows.append(((act & weight[i].replicate(bits)) ^ inverted)[:bits] << i)
    return rows, constant


def multiplied(config: ArrayConfig, act: Value, weight: Value, *, offset: int = 0) -> Value:
    """Product plus a constant, modulo its width, as an unsigned number.

    By default one compressor tree over Baugh-Wooley rows, without sign extension; how that
    compares with what synthesis makes of a product is in docs/compare.json.
    """
    width = product_bits(config)
    if config.multiplier is Multiplier.OPERATOR:
        signed = act.as_signed() if config.act_signed else act.as_unsigned()
        return (signed * weight.as_signed() + offset)[:width]
    rows, constant = rows_of(config, act, weight)
    return (tree_sum(rows) + Const((constant + offset) % (1 << width), width))[:width]


class WholeWeights(Recoder):
    """Whole weights, registered; a cycle without a step must add nothing: its weights are 0."""

    def elaborate(self, platform: object) -> Module:
        m = Module()
        weight = Signal(self.out.shape(), reset_less=True)
        m.d.sync += weight.eq(Mux(self.step, self.word.as_value(), 0))
        m.d.comb += self.out.eq(weight)
        return m
