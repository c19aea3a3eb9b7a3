"""How fast a bench's drivers and receivers go: idle cycles and back-pressure, from a seed."""

from __future__ import annotations

import random
from collections.abc import Iterator
from enum import Enum


class Pace(Enum):
    """Chance of a pause in a cycle, and the longest pause in cycles."""

    NONE = (0.0, 0)
    """Always there."""

    RANDOM = (0.3, 3)
    """Short pauses, as a shared bus makes them."""

    HEAVY = (0.5, 40)
    """Mostly absent, as behind a slow memory."""


def pauses(pace: Pace, *, seed: int, name: str) -> Iterator[bool]:
    """Whether to pause in each cycle, for ever; `name` keeps channels of one seed apart."""
    chance, longest = pace.value
    rng = random.Random(f"{name}-{seed}")
    while True:
        if rng.random() < chance:
            for _ in range(rng.randint(1, longest)):
                yield True
        yield False
