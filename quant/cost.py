"""Cost of a network on the hardware of a cost table: the sum of its layers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from hw.config import ArrayConfig
from hw.precision import WeightMode
from quant.errors import QuantError
from quant.graph import Layer
from quant.operands import LayerSample
from synth.features import Features, features
from synth.table import ArrayFigures, CostTable, Hardware, LayerCost

INT8_BASELINE = "int8_mac"
"""Name of the INT8 multiplier array among a table's baselines."""

PRODUCTS = 4000
"""Products of each layer whose operands are looked at."""

_SPREAD = 23
"""Step between pixels and channels, as in the table's own samples (synth.operands)."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Prices:
    """What the layers of a network cost, at any precision.

    Parameters
    ----------
    table : CostTable
        The hardware.
    layers : sequence of Layer
        Of the network.
    samples : mapping of str to LayerSample
        Operands by layer, for hardware with energy models; a layer that is not there costs the
        energy of the table's own operands.
    """

    table: CostTable
    layers: Sequence[Layer]
    samples: Mapping[str, LayerSample] = field(default_factory=dict)
    _known: dict[tuple[str, WeightMode, ArrayConfig], Features] = field(default_factory=dict)

    def layer_costs(
        self, bits: Mapping[str, WeightMode], *, array: Hardware | None = None
    ) -> dict[str, LayerCost]:
        """Cost of one inference of each layer.

        Parameters
        ----------
        bits : mapping of str to WeightMode
            Precision of every layer.
        array : Hardware, optional
            A baseline of the table instead of its array.

        Raises
        ------
        CostTableError
            If the hardware lacks a layer's precision.
        QuantError
            If a layer does not fit the array; names it.
        """
        return {layer.name: self._cost(layer, bits[layer.name], array) for layer in self.layers}

    def _cost(self, layer: Layer, mode: WeightMode, array: Hardware | None) -> LayerCost:
        features = self._features(layer.name, mode, array or self.table.array)
        try:
            return self.table.layer_cost(layer.shape, mode, array=array, features=features)
        except ValueError as error:
            raise QuantError(
                f"{layer.name}: {error}; take the cost table of an array made for it"
            ) from error

    def network_cost(
        self, bits: Mapping[str, WeightMode], *, array: Hardware | None = None
    ) -> LayerCost:
        """Cost of one inference, layer after layer; parameters as in `layer_costs`."""
        return sum(self.layer_costs(bits, array=array).values(), LayerCost())

    def _features(self, name: str, mode: WeightMode, hardware: Hardware) -> Features | None:
        if not isinstance(hardware, ArrayFigures) or name not in self.samples:
            return None
        if all(module.model is None for module in hardware.modules.values()):
            return None
        key = name, mode, hardware.config
        if key not in self._known:
            self._known[key] = _of_sample(self.samples[name], mode, hardware.config)
        return self._known[key]


def _of_sample(sample: LayerSample, mode: WeightMode, config: ArrayConfig) -> Features:
    pixels, depth = sample.act.shape
    weight = sample.weight[mode]
    spread = _SPREAD * np.arange(max(2, round(PRODUCTS / depth)))
    dots = [(sample.act[i % pixels], weight[:, i % weight.shape[1]]) for i in spread]
    return features(dots, mode, config)


def relative_size(layers: Sequence[Layer], bits: Mapping[str, WeightMode]) -> float:
    """Bits of all weights relative to uniform 8 bit; biases and scales not counted."""
    packed = sum(layer.shape.weights * bits[layer.name].bits for layer in layers)
    return packed / sum(layer.shape.weights * WeightMode.W8.bits for layer in layers)
