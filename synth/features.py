"""What operands do to a PE, in numbers that its energy is a linear function of.

Only numpy: a search can find the features of a layer without gateware. They follow the order in
which the array works: the lanes of a PE hold activations while the digits of their weights pass.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hw.config import ArrayConfig, PEKind
from hw.precision import WeightMode

Ints = NDArray[np.int64]
AnyInts = NDArray[np.integer[Any]]

FEATURES = ("acts", "weights", "products", "sums", "tiles")
"""Names of the features: the fields of `Features`."""


@dataclass(frozen=True, kw_only=True)
class Features:
    """What happens in a step of a PE, mean over the steps, all lanes together.

    Parameters
    ----------
    acts : float
        Bits of the activations that change from one step to the next.
    weights : float
        Bits of the weights' digits that change.
    products : float
        Bits of the products of activations and digits that change, in two's complement.
    sums : float
        Bits of the accumulated sum that change.
    tiles : float
        Sums that begin.
    """

    acts: float
    weights: float
    products: float
    sums: float
    tiles: float


def digits(weight: Ints, mode: WeightMode, kind: PEKind) -> tuple[Ints, Ints]:
    """Digits of weights as a kind of PE multiplies them.

    Parameters
    ----------
    weight : int [...]
        Within `mode`.
    mode : WeightMode
        Their precision.
    kind : PEKind
        Of the PE.

    Returns
    -------
    digits : int [..., steps, parts]
        By step, and by what is multiplied at once for a lane. A shift-add MAC's weight is one digit
        here, as if it took one step.
    places : int [steps, parts]
        What each is worth: the weight is the sum of digits times places, for plain radix-4 digits
        with half the range added.
    """
    bits = weight[..., None] >> np.arange(mode.bits) & 1  # two's complement, lowest first
    worth = np.left_shift(1, np.arange(mode.bits))
    worth[-1] *= -1
    fours = np.left_shift(1, np.arange(0, mode.bits, 2))
    if kind is PEKind.BIT_PLANE:
        return bits[..., None], worth[:, None]
    if kind is PEKind.BIT_PAIR:
        return bits.reshape(*weight.shape, mode.bits // 2, 2), worth.reshape(-1, 2)
    if kind is PEKind.RADIX4_DIGIT:
        offset = weight + (1 << (mode.bits - 1))
        return (offset[..., None] >> np.arange(0, mode.bits, 2) & 3)[..., None], fours[:, None]
    if kind in (PEKind.BOOTH_DIGIT, PEKind.DIGIT_PLANES):
        below = np.concatenate([np.zeros_like(bits[..., :1]), bits[..., 1:-1:2]], axis=-1)
        booth = below + bits[..., 0::2] - 2 * bits[..., 1::2]
        if kind is PEKind.BOOTH_DIGIT:
            return booth[..., None], fours[:, None]
        return booth[..., None, :], fours[None]
    return weight[..., None, None], np.ones((1, 1), dtype=np.int64)


def features(
    dots: Iterable[tuple[AnyInts, AnyInts]], mode: WeightMode, config: ArrayConfig
) -> Features:
    """Features of a PE that works on dot products, one after the other.

    Parameters
    ----------
    dots : iterable of (int [K], int [K])
        Activations and weights of each.
    mode : WeightMode
        Precision of the weights.
    config : ArrayConfig
        The array.

    Raises
    ------
    ValueError
        If there are none.
    """
    lanes: list[Ints] = []
    weights: list[Ints] = []
    depth = config.chunk_depth(mode)
    for act, weight in dots:
        chunks = -(-len(act) // depth)
        room = chunks * depth - len(act)
        lanes.append(np.pad(act.astype(np.int64), (0, room)).reshape(chunks, depth))
        weights.append(np.pad(weight.astype(np.int64), (0, room)).reshape(chunks, depth))
    if not lanes:
        raise ValueError("features need at least one dot product")
    of_lanes = np.concatenate(lanes)
    by_lane, places = digits(np.concatenate(weights), mode, config.pe)
    by_step = by_lane.transpose(0, 2, 1, 3)  # [chunks, steps, lanes, parts]
    worth = np.einsum("cslp,sp->csl", by_step, places)
    amounts = np.einsum("cl,csl->cs", of_lanes, worth)
    begins = np.cumsum([len(chunks) for chunks in lanes])[:-1]
    sums = [np.cumsum(of_dot) for of_dot in np.split(amounts, begins)]
    act = np.repeat(of_lanes, by_step.shape[1], axis=0)
    digit = by_step.reshape(-1, *by_step.shape[2:])
    return Features(
        acts=_changes(act),
        weights=_changes(digit),
        products=_changes(act[..., None] * digit),
        sums=_changes(np.concatenate(sums)),
        tiles=len(lanes) / len(act),
    )


def _changes(values: AnyInts) -> float:
    """Bits of two's complement, 32 at most, that change along the first axis, mean a step."""
    if len(values) < 2:
        return 0.0
    changed = (values[1:] ^ values[:-1]).astype(np.int64).view(np.uint64) & np.uint64(0xFFFFFFFF)
    return float(np.bitwise_count(changed).sum() / (len(values) - 1))
