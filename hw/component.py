"""The base of all gateware components."""

from typing import TYPE_CHECKING, Any

from amaranth.lib import wiring

if TYPE_CHECKING:

    class Component(wiring.Component[Any]):
        """`wiring.Component` for type checkers: its signature names its attributes."""

        def __getattr__(self, name: str) -> Any:
            """Return a port."""
else:
    Component = wiring.Component
