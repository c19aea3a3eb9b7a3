"""The five zones of (accuracy, resources) against the targets, and their buffers.

SigmaQuant (arXiv 2602.22136) names the zones; the inequalities are ours. With the drop d of
accuracy against float, its target D, the load l (`quant.budget`: the largest of use / limit over
the limited resources: size, energy, latency, BOPs), and the buffers a (accuracy, absolute) and b
(resources, a factor below 1):

    accuracy met:  d <= D        narrow: D < d <= D + a       far: d > D + a
    resources met: l <= 1        narrow: 1 < l <= 1 / b       far: l > 1 / b

So with several limits the one that is missed most decides, and with the size alone l = s / S.

| accuracy, load | met          | narrow       | far          |
|----------------|--------------|--------------|--------------|
| met            | TARGET       | ITERATION    | BIT_DECREASE |
| narrow         | ITERATION    | ITERATION    | BIT_DECREASE |
| far            | BIT_INCREASE | BIT_INCREASE | ABANDON      |

Phase 1 ends at the first allocation with d <= D + a or l <= 1 / b. The paper's names for the size
buffer are kept, and hold for every resource: conservative 85 %, balanced 75 %, aggressive 50 %;
the accuracy buffers beside them are ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from quant.budget import ROUNDING, Budget


class Zone(Enum):
    """Where an allocation stands against the targets."""

    TARGET = "target"
    BIT_INCREASE = "bit increase"
    BIT_DECREASE = "bit decrease"
    ITERATION = "iteration"
    ABANDON = "abandon"


@dataclass(frozen=True, kw_only=True)
class Buffer:
    """How narrowly a target may be missed.

    Parameters
    ----------
    size : float
        Factor: uses up to limit / size are narrow; named after the paper's size buffer.
    accuracy : float
        Top-1 fraction: drops up to target + accuracy are narrow.
    """

    size: float
    accuracy: float

    def __post_init__(self) -> None:
        """Check the ranges."""
        if not 0 < self.size <= 1:
            raise ValueError(f"size buffer must be above 0 and at most 1, not {self.size:g}")
        if not 0 <= self.accuracy < 1:
            raise ValueError(f"accuracy buffer must be from 0 to below 1, not {self.accuracy:g}")


BUFFERS = {
    "conservative": Buffer(size=0.85, accuracy=0.005),
    "balanced": Buffer(size=0.75, accuracy=0.01),
    "aggressive": Buffer(size=0.50, accuracy=0.02),
}


class _Miss(Enum):
    MET = 0
    NARROW = 1
    FAR = 2


_ZONES = {
    (_Miss.MET, _Miss.MET): Zone.TARGET,
    (_Miss.MET, _Miss.NARROW): Zone.ITERATION,
    (_Miss.MET, _Miss.FAR): Zone.BIT_DECREASE,
    (_Miss.NARROW, _Miss.MET): Zone.ITERATION,
    (_Miss.NARROW, _Miss.NARROW): Zone.ITERATION,
    (_Miss.NARROW, _Miss.FAR): Zone.BIT_DECREASE,
    (_Miss.FAR, _Miss.MET): Zone.BIT_INCREASE,
    (_Miss.FAR, _Miss.NARROW): Zone.BIT_INCREASE,
    (_Miss.FAR, _Miss.FAR): Zone.ABANDON,
}


def classify(*, drop: float, load: float, budget: Budget, buffer: Buffer) -> Zone:
    """Zone of an allocation.

    Parameters
    ----------
    drop : float
        Float accuracy minus the allocation's, fractions; negative if it gained.
    load : float
        Largest use of a resource over its limit.
    budget : Budget
        The targets.
    buffer : Buffer
        What counts as a narrow miss.
    """
    accuracy_miss = _miss(drop, budget.max_drop, budget.max_drop + buffer.accuracy)
    return _ZONES[accuracy_miss, _miss(load, 1.0, 1 / buffer.size)]


def inside_a_buffer(*, drop: float, load: float, budget: Budget, buffer: Buffer) -> bool:
    """Whether accuracy or resources are met or narrowly missed, which ends phase 1."""
    return (
        drop <= budget.max_drop + buffer.accuracy + ROUNDING or load <= 1 / buffer.size + ROUNDING
    )


def _miss(value: float, target: float, narrow: float) -> _Miss:
    if value <= target + ROUNDING:
        return _Miss.MET
    return _Miss.NARROW if value <= narrow + ROUNDING else _Miss.FAR
