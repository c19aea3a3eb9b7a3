"""A look-up table in the way of HAQ (Wang et al., CVPR 2019): layer and weight bits -> cost.

HAQ's own is a bare pickled array. This one is JSON or NumPy without pickle, and every figure has
its name and unit. Activations have the width that the table is for.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from hw.precision import WeightMode
from hw.schedule import GemmShape
from synth.table import CostTable, LayerCost

UNITS = {
    "latency_ns": "ns",
    "energy_pj": "pJ",
    "size_bits": "bit",
    "cycles": "cycle",
    "scratchpad_energy_pj": "pJ",
    "dram_energy_pj": "pJ",
}
"""Costs of `LayerCost` in the look-up, with their units."""

Costs = dict[str, dict[WeightMode, LayerCost]]


def look_up(table: CostTable, layers: Mapping[str, GemmShape]) -> Costs:
    """Cost of each layer at each weight mode of the hardware.

    Raises
    ------
    ValueError
        If a layer does not fit the array; names the layer.
    """
    costs: Costs = {}
    for name, shape in layers.items():
        try:
            costs[name] = {mode: table.layer_cost(shape, mode) for mode in table.modes}
        except ValueError as error:
            raise ValueError(f"layer {name}: {error}") from error
    return costs


def json_bytes(table: CostTable, layers: Mapping[str, GemmShape]) -> bytes:
    """Return the look-up as JSON; null is what the table cannot give."""
    document: dict[str, Any] = {
        "table": table.name,
        "units": UNITS,
        "methods": _methods(table),
        "weight_bits": [mode.bits for mode in table.modes],
        "layers": {
            layer: {
                str(mode.bits): {name: getattr(cost, name) for name in UNITS}
                for mode, cost in costs.items()
            }
            for layer, costs in look_up(table, layers).items()
        },
    }
    return (json.dumps(document, indent=1, allow_nan=False) + "\n").encode()


def npz_bytes(table: CostTable, layers: Mapping[str, GemmShape]) -> bytes:
    """Return the look-up as an ``.npz`` file.

    Its arrays: ``layers`` str [L], ``weight_bits`` int64 [B], and float64 [L, B] for each name of
    `UNITS`, NaN where the table cannot give it; ``table``, ``units`` and ``methods`` are str [].
    """
    costs = look_up(table, layers)
    arrays: dict[str, Any] = {
        name: np.array(
            [[_number(cost, name) for cost in by_mode.values()] for by_mode in costs.values()],
            dtype=np.float64,
        )
        for name in UNITS
    }
    content = io.BytesIO()
    np.savez(
        content,
        layers=np.array(list(costs)),
        weight_bits=np.array([mode.bits for mode in table.modes], dtype=np.int64),
        table=np.array(table.name),
        units=np.array(json.dumps(UNITS)),
        methods=np.array(json.dumps(_methods(table))),
        **arrays,
    )
    return content.getvalue()


def _number(cost: LayerCost, name: str) -> float:
    value = getattr(cost, name)
    return float("nan") if value is None else float(value)


def _methods(table: CostTable) -> dict[str, str]:
    array = table.array
    return {
        "energy": array.energy_method,
        "leakage": array.area_method,
        "memory": "cited",
        "source": array.source,
    }
