"""An activation times a whole weight, and the recoder of PEs that take whole weights."""

from amaranth import Const, Module, Mux, Signal, Value

from hw.booth import tree_sum
from hw.config import ArrayConfig, Multiplier
from hw.pe.recoder import Recoder
from hw.precision import WeightMode


def product_bits(config: ArrayConfig) -> int:
    """Bits of a product."""
    return config.act_bits + WeightMode.W8.bits


def multiplied(
    m: Module, config: ArrayConfig, act: Value, weight: Value, *, offset: int = 0, name: str = ""
) -> Value:
    """Product plus a constant, modulo its width, as an unsigned number.

    By default one compressor tree over Baugh-Wooley rows, without sign extension; how that
    compares with what synthesis makes of a product is in docs/compare.json.
    """
    if config.multiplier is Multiplier.OPERATOR:
        signed = act.as_signed() if config.act_signed else act.as_unsigned()
        return (signed * weight.as_signed() + offset)[: product_bits(config)]
    act, weight = act.as_unsigned(), weight.as_unsigned()
    bits, top = config.act_bits, WeightMode.W8.bits - 1
    rows: list[Value] = []
    for i in range(top + 1):
        row = Signal(bits, name=f"row{name}_{i}")
        value = act & weight[i].replicate(bits)
        inverted = 0
        if i == top:  # the sign row counts negative: -r = ~r - (2**bits - 1)
            inverted ^= (1 << bits) - 1
            offset -= ((1 << bits) - 1) << i
        if config.act_signed:  # the sign column counts negative: -b = ~b - 1
            inverted ^= 1 << (bits - 1)
            sign = 1 << (bits - 1 + i)
            offset += sign if i == top else -sign
        m.d.comb += row.eq(value ^ inverted)
        rows.append(row << i)
    width = product_bits(config)
    return (tree_sum(rows) + Const(offset % (1 << width), width))[:width]


class WholeWeights(Recoder):
    """Whole weights, registered; a cycle without a step must add nothing: its weights are 0."""

    def elaborate(self, platform: object) -> Module:
        m = Module()
        weight = Signal(self.out.shape(), reset_less=True)
        m.d.sync += weight.eq(Mux(self.step, self.word.as_value(), 0))
        m.d.comb += self.out.eq(weight)
        return m
