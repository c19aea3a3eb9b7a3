"""A proof: a harness with assertions, and how a solver is to treat it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from hw.component import Component


class Method(Enum):
    """How a property is checked."""

    BMC = "bmc"
    """Bounded: every run of `depth` cycles from reset."""

    INDUCTION = "prove"
    """Unbounded: k-induction with k = `depth`."""


@dataclass(frozen=True, kw_only=True)
class Proof:
    """One property of the gateware, for every input.

    Parameters
    ----------
    name : str
        Short, unique, in words joined by dashes.
    claim : str
        What holds if the proof passes.
    method : Method
        Bounded or unbounded.
    depth : int
        Cycles of a bounded proof, k of an induction.
    build : callable
        Makes the harness: a component whose inputs are free and whose assertions are to hold.
    """

    name: str
    claim: str
    method: Method
    depth: int
    build: Callable[[], Component]

    @property
    def how(self) -> str:
        """Method and depth in words."""
        if self.method is Method.BMC:
            return f"bmc to {self.depth} cycles"
        return f"{self.depth}-induction"
