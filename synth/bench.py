"""What measuring takes besides a configuration: cells, operands, a clock, a runner."""

from __future__ import annotations

from dataclasses import dataclass

from synth.cells import Library
from synth.jobs import Runner
from synth.operands import Operands
from synth.yosys import Engine

PRODUCTS = 12_000
"""Products per mode on which commands measure energy if not told otherwise."""


@dataclass(frozen=True, kw_only=True)
class Bench:
    """What characterisation needs besides the configuration.

    Parameters
    ----------
    library : Library
        Standard cells.
    operands : Operands
        Real operands for the energy.
    period_ns : float
        Clock.
    runner : Runner
        Of the jobs.
    products : int
        Multiply-accumulates of a PE on which energy is measured, per mode.
    thorough : bool
        Whether all recipes are tried on PEs, or four only.
    engine : Engine
        Which build of Yosys maps.
    """

    library: Library
    operands: Operands
    period_ns: float
    runner: Runner
    products: int = PRODUCTS
    thorough: bool = False
    engine: Engine = Engine.YOWASP
