"""Checkers of valid/ready streams: the contract of one, and the order from one to another."""

from __future__ import annotations

from typing import Any

from amaranth import Module, Mux, Signal, Value
from amaranth.lib.wiring import In, Out

from hw.component import Component
from sim.formal.harness import claim, given, unknown


def keep_offer(m: Module, stream: Any, *, name: str, assume: bool) -> None:
    """Have an item that is offered stay, unchanged, until it is taken.

    Parameters
    ----------
    m : Module
        Of the harness; not inside ``m.If``.
    stream : stream interface
        With `valid`, `ready` and `payload`.
    name : str
        For the registers.
    assume : bool
        Whether the surroundings keep this (an input), or the design has to (an output).
    """
    payload = _bits(stream.payload)
    waits, offer = Signal(name=f"{name}_waits"), Signal(len(payload), name=f"{name}_offer")
    m.d.sync += [waits.eq(stream.valid & ~stream.ready), offer.eq(payload)]
    rule = given if assume else claim
    with m.If(waits):
        m.d.comb += rule(stream.valid & (payload == offer))


class OrderChecker(Component):
    """What comes out is what went in: nothing lost, repeated, reordered or made up.

    The solver picks one item by its number. When the item with that number goes in it is noted;
    what comes out under the same number must equal it, and must not come before.

    Parameters
    ----------
    width : int
        Bits of an item.
    count_bits : int
        Bits of the counters; items beyond ``2**count_bits`` are not followed.

    Members
    -------
    put, get : In(1)
        An item goes in or comes out in this cycle.
    put_item, get_item : In(width)
    puts, gets : Out(count_bits)
        Items so far.
    chosen, noted : Out(count_bits), Out(width)
        The number of the item that is followed, and the item once it went in. With these an
        induction says where in the design it is.
    """

    def __init__(self, width: int, count_bits: int = 4) -> None:
        self.width = width
        self.count_bits = count_bits
        super().__init__(
            {
                "put": In(1),
                "get": In(1),
                "put_item": In(width),
                "get_item": In(width),
                "puts": Out(count_bits),
                "gets": Out(count_bits),
                "chosen": Out(count_bits),
                "noted": Out(width),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        puts, gets, chosen, noted = self.puts, self.gets, self.chosen, self.noted
        seen = Signal()
        m.d.comb += chosen.eq(unknown(self.count_bits))
        full = (1 << self.count_bits) - 1
        m.d.comb += [given((puts != full) | ~self.put), claim(gets <= puts)]
        with m.If(self.put):
            m.d.sync += puts.eq(puts + 1)
            with m.If(puts == chosen):
                m.d.sync += [noted.eq(self.put_item), seen.eq(1)]
        m.d.comb += claim(seen == (puts > chosen))
        now = self.put & (puts == chosen)
        with m.If(self.get):
            m.d.sync += gets.eq(gets + 1)
            m.d.comb += claim((gets != puts) | self.put)
            with m.If(gets == chosen):
                m.d.comb += claim(self.get_item == Mux(now, self.put_item, noted))
        return m


def _bits(payload: Any) -> Value:
    return payload if isinstance(payload, Value) else Value.cast(payload)
