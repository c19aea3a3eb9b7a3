"""INT8 multiply-accumulate with a private accumulator: the baseline, at its best."""

from amaranth import Module

from hw.booth import tree_sum
from hw.component import Component
from hw.config import ArrayConfig, Multiplier, Stage
from hw.pe.accumulator import accumulate
from hw.pe.multiplier import multiplied, rows_of
from hw.pe.pipeline import delayed
from hw.pe.signature import PESignature


class Int8MacPE(Component):
    """One activation times one 8-bit weight a cycle, whatever the weight's precision.

    Latency from operands at the edge registers' inputs to the sum in the accumulator is 3 edges
    (edge registers outside, product, accumulator), 2 without the product's register. Throughput is
    one product a cycle. A step that must add nothing has weight 0.
    """

    def __init__(self, config: ArrayConfig) -> None:
        self.config = config
        super().__init__(PESignature(config))

    def elaborate(self, platform: object) -> Module:
        m = Module()
        config = self.config
        if config.multiplier is Multiplier.FUSED:
            rows, constant = rows_of(config, self.act[0], self.weight[0])
            product = tree_sum(rows) + constant
        else:
            product = multiplied(config, self.act[0], self.weight[0]).as_signed()
        registers = int(Stage.PRODUCT in config.stages)
        accumulate(
            m,
            config=config,
            addend=delayed(m, product, registers, name="product"),
            control=self.control,
            chain_in=self.chain_in,
            chain_out=self.chain_out,
        )
        return m
