"""How a network is quantised after training: every choice in one place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import Enum
from typing import Any

from quant.ptq.optimise import Method
from quant.ptq.ranges import Calibration
from quant.ptq.schemes import WeightScheme

ACT_BITS = 8

BitsByLayer = Mapping[str, int]
"""Bits of each layer's weights, each one of `quant.ptq.grid.BITS`."""


class Norms(Enum):
    """What happens to batch norms behind quantised weights; the value is its name."""

    KEPT = "kept"
    MATCHED = "matched"


class Steps(Enum):
    """Where the steps of weights come from; the value is its name on the command line."""

    MIN_MAX = "min-max"
    FITTED = "fitted"


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How weights and activations are quantised.

    Parameters
    ----------
    method : Method
        How integers are chosen.
    scheme : WeightScheme
        Where weights share a step, and whether 0 is in the middle.
    narrow : bool
        Whether weights leave their most negative integer unused.
    steps : Steps
        Whether each channel's step, or that of the layer, spans its weights or is fitted to the
        inputs (`quant.ptq.fit`).
    act_bits : int, optional
        Width of activations; none leaves them in float.
    calibration : Calibration
        How ranges of activations are chosen.
    norms : Norms
        Whether batch norms get what quantisation changed of the statistics that they see.
    bias_correction : bool
        Whether biases, and the means of batch norms that are kept, make up for what the error of
        the weights adds to the mean of each output.
    sequential : bool
        Whether a layer's statistics are those behind the quantised layers before it.
    """

    method: Method = Method.SENSITIVITY
    scheme: WeightScheme = WeightScheme.CHANNEL_SYMMETRIC
    narrow: bool = False
    steps: Steps = Steps.FITTED
    act_bits: int | None = ACT_BITS
    calibration: Calibration = Calibration.MIN_MAX
    norms: Norms = Norms.MATCHED
    bias_correction: bool = False
    sequential: bool = False

    def __post_init__(self) -> None:
        """Check the width of activations."""
        if self.act_bits is not None and not 2 <= self.act_bits <= 8:
            raise ValueError(f"act-bits must be from 2 to 8, not {self.act_bits}")

    @property
    def on_array(self) -> bool:
        """Whether the array's arithmetic covers it: symmetric per channel, activations of 8 bit."""
        symmetric = self.scheme is WeightScheme.CHANNEL_SYMMETRIC
        return symmetric and self.act_bits in (None, ACT_BITS)

    def json(self) -> dict[str, Any]:
        """Return the recipe as JSON values."""
        return {k: v.value if isinstance(v, Enum) else v for k, v in asdict(self).items()}
