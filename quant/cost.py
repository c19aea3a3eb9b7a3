"""Cost of a network on the hardware of a cost table: the sum of its layers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from hw.precision import WeightMode
from quant.graph import Layer
from synth.table import CostTable, Hardware, LayerCost

INT8_BASELINE = "int8_mac"
"""Name of the INT8 multiplier array among a table's baselines."""


def layer_costs(
    layers: Sequence[Layer],
    bits: Mapping[str, WeightMode],
    table: CostTable,
    *,
    array: Hardware | None = None,
) -> dict[str, LayerCost]:
    """Cost of one inference of each layer.

    Parameters
    ----------
    layers : sequence of Layer
        Of the network.
    bits : mapping of str to WeightMode
        Precision of every layer.
    table : CostTable
        The hardware.
    array : Hardware, optional
        A baseline of the table instead of its array.

    Raises
    ------
    CostTableError
        If the hardware lacks a layer's precision.
    """
    return {
        layer.name: table.layer_cost(layer.shape, bits[layer.name], array=array) for layer in layers
    }


def network_cost(
    layers: Sequence[Layer],
    bits: Mapping[str, WeightMode],
    table: CostTable,
    *,
    array: Hardware | None = None,
) -> LayerCost:
    """Cost of one inference, layer after layer; parameters as in `layer_costs`."""
    return sum(layer_costs(layers, bits, table, array=array).values(), LayerCost())


def relative_size(layers: Sequence[Layer], bits: Mapping[str, WeightMode]) -> float:
    """Bits of all weights relative to uniform 8 bit; biases and scales not counted."""
    packed = sum(layer.shape.weights * bits[layer.name].bits for layer in layers)
    return packed / sum(layer.shape.weights * WeightMode.W8.bits for layer in layers)
