"""What operands do to a PE, in numbers that its energy is a linear function of.

Only numpy: a search can find the features of a layer without gateware. They follow the order in
which the array works: the lanes of a PE hold activations while the digits of their weights pass.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hw.config import ArrayConfig, PEKind
from hw.precision import WeightMode

Ints = NDArray[np.int64]

FEATURES = ("acts", "weights", "products")
"""Names of the features: the fields of `Features`."""


@dataclass(frozen=True, kw_only=True)
class Features:
    """Bits that change from one step to the next in a PE, mean over the steps, all lanes together.

    Parameters
    ----------
    acts : float
        Of the activations.
    weights : float
        Of the digits of the weights.
    products : float
        Of the products of activations and digits, as two's complement numbers.
    """

    acts: float
    weights: float
    products: float


def digits(weight: Ints, mode: WeightMode, kind: PEKind) -> Ints:
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
    int [..., steps, parts]
        By cycle, and by what is multiplied at once for a lane. A shift-add MAC's nonzero digits are
        taken in their order; a step without one is no step here.
    """
    bits = weight[..., None] >> np.arange(mode.bits) & 1  # two's complement, lowest first
    if kind is PEKind.BIT_PLANE:
        return bits[..., None]
    if kind is PEKind.BIT_PAIR:
        return bits.reshape(*weight.shape, mode.bits // 2, 2)
    if kind is PEKind.RADIX4_DIGIT:
        offset = weight + (1 << (mode.bits - 1))
        return (offset[..., None] >> np.arange(0, mode.bits, 2) & 3)[..., None]
    if kind in (PEKind.BOOTH_DIGIT, PEKind.DIGIT_PLANES):
        below = np.concatenate([np.zeros_like(bits[..., :1]), bits[..., 1:-1:2]], axis=-1)
        booth = below + bits[..., 0::2] - 2 * bits[..., 1::2]
        return booth[..., None] if kind is PEKind.BOOTH_DIGIT else booth[..., None, :]
    return weight[..., None, None]


def features(
    dots: Iterable[tuple[Ints, Ints]], mode: WeightMode, config: ArrayConfig
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
    acts: list[Ints] = []
    parts: list[Ints] = []
    depth = config.chunk_depth(mode)
    for act, weight in dots:
        chunks = -(-len(act) // depth)
        room = chunks * depth - len(act)
        lanes = np.pad(act.astype(np.int64), (0, room)).reshape(chunks, depth)
        by_step = digits(np.pad(weight.astype(np.int64), (0, room)), mode, config.pe)
        steps, count = by_step.shape[1:]
        by_step = by_step.reshape(chunks, depth, steps, count).transpose(0, 2, 1, 3)
        acts.append(np.repeat(lanes, steps, axis=0))
        parts.append(by_step.reshape(chunks * steps, depth, count))
    if not acts:
        raise ValueError("features need at least one dot product")
    act, digit = np.concatenate(acts), np.concatenate(parts)
    return Features(
        acts=_changes(act),
        weights=_changes(digit),
        products=_changes(act[..., None] * digit),
    )


def _changes(values: Ints) -> float:
    """Bits of two's complement that change along the first axis, mean a step."""
    if len(values) < 2:
        return 0.0
    changed = (values[1:] ^ values[:-1]).astype(np.uint64) & np.uint64(0xFFFF)
    return float(np.bitwise_count(changed).sum() / (len(values) - 1))
