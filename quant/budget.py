"""What the user allows: loss of accuracy and size of the weights."""

from __future__ import annotations

from dataclasses import dataclass

from hw.precision import WeightMode

SMALLEST_SIZE = WeightMode.W2.bits / WeightMode.W8.bits
"""Size of an all-2-bit network relative to all-8-bit; no allocation is smaller."""


@dataclass(frozen=True, kw_only=True)
class Budget:
    """Targets of a search.

    Parameters
    ----------
    max_drop : float
        Largest loss of top-1 accuracy against the float network, a fraction.
    max_size : float
        Largest size of the weights relative to uniform 8 bit.

    Raises
    ------
    ValueError
        If a target is outside its range or not a number, which no allocation could change.
    """

    max_drop: float = 0.01
    max_size: float = 0.4

    def __post_init__(self) -> None:
        """Refuse what can never be met and what asks for nothing."""
        if not 0 <= self.max_drop < 1:
            raise ValueError(
                f"max_drop must be from 0 (no loss, the smallest that can be asked) to below 1, "
                f"not {self.max_drop:g}"
            )
        if not SMALLEST_SIZE <= self.max_size <= 1:
            raise ValueError(
                f"max_size must be from {SMALLEST_SIZE:g} (every layer at 2 bit, the smallest "
                f"reachable) to 1, not {self.max_size:g}"
            )

    def met(self, *, drop: float, size: float) -> bool:
        """Whether both targets are met."""
        return drop <= self.max_drop + 1e-9 and size <= self.max_size + 1e-9
