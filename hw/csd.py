"""Canonical signed digits (CSD) of weights, and the moves of a serial shift-add MAC.

A weight is a sum of ``digit[i] * 2**i`` with digits -1, 0 and 1, no two neighbours of which are
nonzero: the fewest nonzero digits there are (Reitwiesner, 1960).
"""

from functools import cache

from hw.precision import WeightMode

MAX_SHIFT = WeightMode.W8.bits - 1
"""Position of the highest digit: a wider shift in one cycle is never needed."""


def csd_digits(weight: int) -> list[int]:
    """Canonical signed digits of an 8-bit weight, least significant first.

    Returns
    -------
    list of int [8]
        Each -1, 0 or 1.

    Raises
    ------
    ValueError
        If the weight does not fit 8 bits.
    """
    mode = WeightMode.W8
    if not mode.min <= weight <= mode.max:
        raise ValueError(f"weight must be from {mode.min} to {mode.max}, not {weight}")
    digits = []
    for _ in range(mode.bits):
        digit = 2 - weight % 4 if weight % 2 else 0
        digits.append(digit)
        weight = (weight - digit) // 2
    return digits


def shift_add_moves(weight: int, max_shift: int) -> list[tuple[int, int]]:
    """Cycles of a shift-add MAC on one weight: by how much it shifts, and what it adds then.

    Parameters
    ----------
    weight : int
        Eight bits.
    max_shift : int
        Widest shift in one cycle, 1 to 7.

    Returns
    -------
    list of (shift, digit)
        One entry a cycle; digit 0 adds nothing: a run of zeros that is longer than the shift, or
        the weight 0, which takes one cycle.
    """
    moves, at = [], 0
    for position, digit in enumerate(csd_digits(weight)):
        if digit:
            while position - at > max_shift:
                moves.append((max_shift, 0))
                at += max_shift
            moves.append((position - at, digit))
            at = position
    return moves or [(0, 0)]


@cache
def shift_add_cycles(weight: int, max_shift: int) -> int:
    """Count the cycles of a shift-add MAC on one weight; see `shift_add_moves`."""
    return len(shift_add_moves(weight, max_shift))


@cache
def most_shift_add_cycles(mode: WeightMode, max_shift: int) -> int:
    """Most cycles that a weight of a mode takes."""
    return max(shift_add_cycles(w, max_shift) for w in range(mode.min, mode.max + 1))
