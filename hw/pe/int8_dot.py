"""INT8 dot product: `lanes` multipliers, one tree, one accumulator: the strong baseline."""

from amaranth import Module

from hw.component import Component
from hw.config import ArrayConfig, Multiplier
from hw.pe.accumulator import accumulate
from hw.pe.multiplier import multiplied, product_bits, rows_of
from hw.pe.pipeline import group_sum, lane_sum, summand
from hw.pe.signature import PESignature


class Int8DotPE(Component):
    """`lanes` activations times `lanes` 8-bit weights a cycle, whatever the weights' precision.

    Products go through the tree as unsigned numbers, each too large by half its range, which one
    constant behind the tree takes off: no sign bits in the tree. Latency is 2 edges and one for
    each pipeline register; by default 4: edge registers (outside), products, sum, accumulator.
    Throughput is one step a cycle. A step that must add nothing has weights 0.
    """

    def __init__(self, config: ArrayConfig) -> None:
        self.config = config
        super().__init__(PESignature(config))

    def elaborate(self, platform: object) -> Module:
        m = Module()
        config = self.config
        half = 1 << (product_bits(config) - 1)
        width = (2 * config.lanes * half - 1).bit_length()
        if config.multiplier is Multiplier.FUSED:
            lanes = [rows_of(config, self.act[i], self.weight[i]) for i in range(config.lanes)]
            rows = [row for lane, _ in lanes for row in lane]
            constant = sum(constant for _, constant in lanes)
            per_lane = len(rows) // config.lanes
            total = group_sum(m, rows, config, name="lane", per_lane=per_lane) + constant
        else:
            products = [
                multiplied(config, self.act[i], self.weight[i], offset=half)
                for i in range(config.lanes)
            ]
            total = lane_sum(m, products, config) - config.lanes * half
        accumulate(
            m,
            config=config,
            addend=summand(m, total[:width].as_signed(), config),
            control=self.control,
            chain_in=self.chain_in,
            chain_out=self.chain_out,
        )
        return m
