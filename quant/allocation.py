"""Bits of a network: those of every layer's weights, and those of the activations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hw.precision import WeightMode

if TYPE_CHECKING:
    from quant.graph import Layer

ACT_BITS = 8
"""Most bits of an activation, and those of one of which nothing else is said."""

LEAST_ACT_BITS = 4
"""Fewest bits of an activation, as `hw.config.ArrayConfig` has them."""

Bits = Mapping[str, WeightMode]
"""Precision of each layer's weights, by layer."""

Acts = Mapping[str, int]
"""Bits of activations, by tensor; those that are left out have `ACT_BITS`.

A tensor has one quantiser, so all layers and residual sums that read it see the same integers.
"""


def act_bits_of(layers: Sequence[Layer], acts: Acts) -> dict[str, int]:
    """Return the bits of every activation that some layer reads, by tensor."""
    return {layer.source: acts.get(layer.source, ACT_BITS) for layer in layers}


@dataclass(frozen=True, kw_only=True)
class Allocation:
    """What a method chooses.

    Parameters
    ----------
    bits : mapping of str to WeightMode
        Precision of each layer's weights.
    acts : mapping of str to int
        Bits of activations, by tensor.
    """

    bits: Bits
    acts: Acts = field(default_factory=dict)
