"""Where the digits of a chunk's products lie on digit planes.

With lanes split into four planes of ``lanes / 4``, product ``k`` of a chunk takes lane
``k % (lanes / 4)`` of one plane per digit: planes ``slot * digits`` onwards, lowest digit first,
its slot being ``k // (lanes / 4)``. A 6-bit weight has three digits, so one plane stays empty.
"""

from hw.precision import WeightMode

PLANES = WeightMode.W8.digits


def slots(mode: WeightMode) -> int:
    """Products side by side in one lane of all planes."""
    return PLANES // mode.digits


def place(plane: int, mode: WeightMode) -> tuple[int, int] | None:
    """Slot and digit that a plane holds, or None for an empty plane."""
    slot, digit = divmod(plane, mode.digits)
    return (slot, digit) if slot < slots(mode) else None
