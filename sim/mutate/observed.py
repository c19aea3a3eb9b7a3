"""The array with more to see than its streams."""

from __future__ import annotations

from amaranth import Module, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import Out

from hw.array import MacArray
from hw.component import Component
from hw.config import ArrayConfig


class ObservedArray(Component):
    """An array that can show what its first column's PEs get of the weights.

    Parameters
    ----------
    config : ArrayConfig
        The array.
    digits : bool
        Whether there are outputs `digits`, too, which is `WeightEdge.out` of the first column, and
        `digits_new`: there was a step in the cycle before.
    """

    def __init__(self, config: ArrayConfig, *, digits: bool) -> None:
        self.config = config
        self.array = MacArray(config)
        self._seen = Value.cast(self.array.weight_edges[0].out) if digits else None
        members = dict(self.array.signature.members)
        if self._seen is not None:
            members |= {"digits": Out(len(self._seen)), "digits_new": Out(1)}
        super().__init__(members)

    def elaborate(self, platform: object) -> Module:
        """Build it."""
        m = Module()
        m.submodules.array = self.array
        outside = {path: Value.cast(v) for path, _, v in self.signature.flatten(self)}
        for path, member, value in self.array.signature.flatten(self.array):
            inside = Value.cast(value)
            if member.flow is wiring.In:
                m.d.comb += inside.eq(outside[path])
            else:
                m.d.comb += outside[path].eq(inside)
        if self._seen is not None:
            m.d.comb += self.digits.eq(self._seen)
            m.d.sync += self.digits_new.eq(self.array.control.step)
        return m
