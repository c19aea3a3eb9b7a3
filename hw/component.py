"""The base of all gateware components, and signals with fields."""

from typing import TYPE_CHECKING, Any

from amaranth import Signal
from amaranth.lib import data, wiring

if TYPE_CHECKING:

    class Component(wiring.Component[Any]):
        """`wiring.Component` for type checkers: its signature names its attributes."""

        def __getattr__(self, name: str) -> Any:
            """Return a port."""
else:
    Component = wiring.Component


def structured(
    layout: data.StructLayout, *, name: str, reset_less: bool = False
) -> "data.View[data.StructLayout]":
    """Signal of a structure, seen as its fields."""
    return data.View(layout, Signal(layout.size, name=name, reset_less=reset_less))
