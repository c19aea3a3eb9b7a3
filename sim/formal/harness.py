"""A design among assertions: what all harnesses share."""

from __future__ import annotations

from typing import Any

from amaranth import Module, Signal, Value
from amaranth.hdl import Assert, Assume, ShapeLike
from amaranth.hdl._ast import AnyConst, Statement
from amaranth.lib.wiring import In

from hw.component import Component


class Harness(Component):
    """A component whose inputs are free and whose assertions are to hold.

    Parameters
    ----------
    ports : dict
        Free inputs.
    probes : dict of name to (path, shape), optional
        Registers inside the design, by their path below the harness, that are to be seen as
        members of these names; see `sim.formal.probes`.
    cuts : tuple of str, optional
        Paths of registers that are to hold anything in every cycle: what is proven then, is
        proven for whatever drives them.
    """

    def __init__(
        self,
        ports: dict[str, Any],
        *,
        probes: dict[str, tuple[str, ShapeLike]] | None = None,
        cuts: tuple[str, ...] = (),
    ) -> None:
        probes = probes or {}
        self.probes = {name: path for name, (path, _) in probes.items()}
        self.cuts = cuts
        super().__init__(ports | {name: In(shape) for name, (_, shape) in probes.items()})


def later(m: Module, value: Value, cycles: int, name: str) -> Value:
    """Return a value some cycles later. Not to be called inside ``m.If``."""
    for cycle in range(cycles):
        register = Signal.like(value, name=f"{name}_{cycle + 1}")
        m.d.sync += register.eq(value)
        value = register
    return value


def claim(test: Value) -> Statement:
    """Return the statement that something holds, which is to be proven."""
    return Assert(test, None, src_loc_at=1)


def given(test: Value) -> Statement:
    """Return the statement that something holds of the surroundings."""
    return Assume(test, None, src_loc_at=1)


def unknown(width: int) -> Value:
    """Return a number that may be any, and stays."""
    return AnyConst(width)
