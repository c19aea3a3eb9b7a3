"""INT8 multiply-accumulate with a private accumulator: the baseline, at its best.

The 8 x 8 product is one compressor tree over Baugh-Wooley rows (no sign extension) with a register
behind it, which took less energy than Yosys' own signed multiplier and its Booth form.
"""

from amaranth import Const, Module, Shape, Signal, Value

from hw.booth import tree_sum
from hw.component import Component
from hw.config import ArrayConfig
from hw.pe.accumulator import accumulate
from hw.pe.signature import PESignature
from hw.precision import WeightMode


class Int8MacPE(Component):
    """One activation times one 8-bit weight a cycle, whatever the weight's precision.

    Latency is 3 edges from operands at the edge registers' inputs to the sum in the accumulator:
    edge registers (outside), product, accumulator. Throughput is one product a cycle. A step that
    must add nothing has weight 0.
    """

    def __init__(self, config: ArrayConfig) -> None:
        self.config = config
        super().__init__(PESignature(config))

    def elaborate(self, platform: object) -> Module:
        m = Module()
        config = self.config
        product = Signal(Shape(config.act_bits + WeightMode.W8.bits, signed=True), reset_less=True)
        m.d.sync += product.eq(self._product(m))
        accumulate(
            m,
            config=config,
            addend=product,
            control=self.control,
            chain_in=self.chain_in,
            chain_out=self.chain_out,
        )
        return m

    def _product(self, m: Module) -> Value:
        """Sum of the weight's rows, modulo the product's width."""
        config = self.config
        act, weight = self.act[0].as_unsigned(), self.weight[0].as_unsigned()
        bits, top = config.act_bits, WeightMode.W8.bits - 1
        constant = 0
        rows: list[Value] = []
        for i in range(top + 1):
            row = Signal(bits, name=f"row_{i}")
            value = act & weight[i].replicate(bits)
            inverted = 0
            if i == top:  # the sign row counts negative: -r = ~r - (2**bits - 1)
                inverted ^= (1 << bits) - 1
                constant -= ((1 << bits) - 1) << i
            if config.act_signed:  # the sign column counts negative: -b = ~b - 1
                inverted ^= 1 << (bits - 1)
                sign = 1 << (bits - 1 + i)
                constant += sign if i == top else -sign
            m.d.comb += row.eq(value ^ inverted)
            rows.append(row << i)
        width = bits + WeightMode.W8.bits
        return (tree_sum(rows) + Const(constant % (1 << width), width))[:width]
