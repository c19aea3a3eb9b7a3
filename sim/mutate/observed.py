"""The array with more to see than its streams."""

from __future__ import annotations

from amaranth import Module, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import Out

from hw.array import MacArray
from hw.component import Component
from hw.config import ArrayConfig


class ObservedArray(Component):
    """An array that can show what an edge gives to its PEs.

    Sums alone do not tell whether an edge keeps its contract: a digit 0 that is marked negative
    cancels out, and operands that do not hold still between steps only cost energy.

    Parameters
    ----------
    config : ArrayConfig
        The array.
    edge : str or None
        ``weight_edge`` or ``act_edge`` for outputs `lines`, which is the `out` of the first edge
        of this sort, and `lines_known`: there was a step since the last reset.
    """

    def __init__(self, config: ArrayConfig, *, edge: str | None = None) -> None:
        self.config = config
        self.array = MacArray(config)
        array = self.array
        firsts = {"weight_edge": array.weight_edges[0].out, "act_edge": array.act_edges[0].out}
        self._seen = Value.cast(firsts[edge]) if edge else None
        members = dict(self.array.signature.members)
        if self._seen is not None:
            members |= {"lines": Out(len(self._seen)), "lines_known": Out(1)}
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
            m.d.comb += self.lines.eq(self._seen)
            with m.If(self.array.control.step):
                m.d.sync += self.lines_known.eq(1)
        return m
