"""PEs without arithmetic, for runs in which only cycles count."""

from __future__ import annotations

from amaranth import Module

from hw.component import Component
from hw.config import ArrayConfig
from hw.pe.signature import PESignature


class HollowPE(Component):
    """Passes results down the chain and computes nothing; simulates much faster."""

    def __init__(self, config: ArrayConfig) -> None:
        super().__init__(PESignature(config))

    def elaborate(self, platform: object) -> Module:
        """Wire the chain through."""
        m = Module()
        m.d.comb += self.chain_out.eq(self.chain_in)
        return m
