"""What the user allows: loss of accuracy and size of the weights."""

from __future__ import annotations

from dataclasses import dataclass

from hw.precision import WeightMode


@dataclass(frozen=True, kw_only=True)
class Budget:
    """Targets of a search.

    Parameters
    ----------
    max_drop : float
        Largest loss of top-1 accuracy against the float network, a fraction.
    max_size : float
        Largest size of the weights relative to uniform 8 bit.
    fewest : WeightMode
        Precision of fewest bits that the hardware has; no network is smaller than all layers at it.

    Raises
    ------
    ValueError
        If a target is outside its range or not a number, which no allocation could change.
    """

    max_drop: float = 0.01
    max_size: float = 0.4
    fewest: WeightMode = WeightMode.W2

    def __post_init__(self) -> None:
        """Refuse what can never be met and what asks for nothing."""
        if not 0 <= self.max_drop < 1:
            raise ValueError(
                f"max_drop must be from 0 (no loss, the smallest that can be asked) to below 1, "
                f"not {self.max_drop:g}"
            )
        smallest = self.fewest.bits / WeightMode.W8.bits
        if not smallest <= self.max_size <= 1:
            raise ValueError(
                f"max_size must be from {smallest:g} (every layer at {self.fewest.bits} bit, the "
                f"smallest reachable) to 1, not {self.max_size:g}"
            )

    def met(self, *, drop: float, size: float) -> bool:
        """Whether both targets are met."""
        return drop <= self.max_drop + 1e-9 and size <= self.max_size + 1e-9
