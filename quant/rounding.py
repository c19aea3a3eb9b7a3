"""Where the integers of a layer come from before any training."""

from __future__ import annotations

from enum import Enum


class Rounding(Enum):
    """How weights become integers; the value is its name on the command line."""

    NEAREST = "nearest"
    """To the nearest, at the scale of the rule (ADR 4)."""
    SENSITIVITY = "sensitivity"
    """So that the layer's outputs change least (ADR 15, `quant.ptq.sensitivity`)."""
