"""Functional coverage of the array's bench, by cocotb-coverage.

What must have happened at least once on a kind of PE: every weight mode with every class of weight
and of activation, sums near both ends of their range, every switch of modes from one step to the
next, every pair of stalls, and a wait for each stream.
"""

from __future__ import annotations

from itertools import product

import numpy as np
from cocotb_coverage.coverage import CoverCross, CoverPoint, coverage_db, coverage_section
from numpy.typing import NDArray

from hw.config import ArrayConfig
from hw.precision import WeightMode
from sim.bench.coverage_report import Hits
from sim.bench.tiles import Tile
from sim.golden import Ints

STALLS = {"none": 0.0, "random": 0.25, "heavy": 0.6}
"""Chance of an idle cycle, or of a cycle without room, by name."""

WAITS = ("tile", "acts", "weights", "room")
"""What the array may wait for alone."""

_MODES = [mode.name for mode in WeightMode]
_WEIGHTS = ["min", "negative", "zero", "positive", "max"]


class ArrayCoverage:
    """Cover points of one run.

    Parameters
    ----------
    config : ArrayConfig
        The array.
    """

    def __init__(self, config: ArrayConfig) -> None:
        self._config = config
        acts = ["min", "zero", "middle", "max"] if config.act_signed else ["zero", "middle", "max"]
        self._sample_operands = coverage_section(
            CoverPoint("array.mode", xf=lambda mode, weight, act: mode, bins=_MODES),
            CoverPoint("array.weight", xf=lambda mode, weight, act: weight, bins=_WEIGHTS),
            CoverPoint("array.act", xf=lambda mode, weight, act: act, bins=acts),
            CoverCross(
                "array.operands",
                items=["array.mode", "array.weight", "array.act"],
                ign_bins=[("W2", "positive", None)],  # 1, the largest, is the only one
            ),
        )(lambda mode, weight, act: None)
        self._sample_sum = CoverPoint("array.sum", bins=["lowest", "between", "highest"])(
            lambda place: None
        )
        self._sample_switch = CoverPoint(
            "array.switch", bins=[f"{a} to {b}" for a, b in product(_MODES, repeat=2)]
        )(lambda pair: None)
        self._sample_stall = CoverPoint(
            "array.stall", bins=[f"idle {a}, room {b}" for a, b in product(STALLS, repeat=2)]
        )(lambda pair: None)
        self.wait = CoverPoint("array.wait", bins=list(WAITS))(lambda stream: None)

    def tile(self, tile: Tile, sums: Ints) -> None:
        """Sample the operands of a tile and its results."""
        weights = _weight_classes(tile.weight, tile.mode)  # [K, cols]
        acts = _act_classes(tile.act, self._config)  # [rows, K]
        pairs = {
            (weight, act)
            for k in range(tile.act.shape[1])
            for weight in set(weights[k].tolist())
            for act in set(acts[:, k].tolist())
        }
        for weight, act in pairs:
            self._sample_operands(tile.mode.name, weight, act)
        low, high = _extreme_sums(self._config)
        margin = (high - low) // 32
        for place, there in (
            ("lowest", sums < low + margin),
            ("highest", sums > high - margin),
            ("between", (sums >= low + margin) & (sums <= high - margin)),
        ):
            if there.any():
                self._sample_sum(place)

    def switch(self, before: str, after: str) -> None:
        """Sample a switch of modes without a cycle between the steps."""
        self._sample_switch(f"{before} to {after}")

    def stall(self, idle: str, room: str) -> None:
        """Sample a pair of stalls under which tiles were compared."""
        self._sample_stall(f"idle {idle}, room {room}")

    def hits(self) -> Hits:
        """Hits of all bins so far."""
        points = ("operands", "sum", "switch", "stall", "wait")
        return {
            point: {
                " ".join(key) if isinstance(key, tuple) else key: count
                for key, count in coverage_db[f"array.{point}"].detailed_coverage.items()
            }
            for point in points
        }


def _weight_classes(weight: Ints, mode: WeightMode) -> NDArray[np.str_]:
    conditions = [weight == mode.min, weight == mode.max, weight < 0, weight == 0]
    return np.select(conditions, ["min", "max", "negative", "zero"], "positive")


def _act_classes(act: Ints, config: ArrayConfig) -> NDArray[np.str_]:
    conditions = [act == 0, act == config.act_max, act == config.act_min]
    return np.select(conditions, ["zero", "max", "min"], "middle")


def _extreme_sums(config: ArrayConfig) -> tuple[int, int]:
    """Return the sums that the accumulator's width was derived from."""
    weight = WeightMode.W8
    corners = [
        config.max_depth * act * w
        for act in (config.act_min, config.act_max)
        for w in (weight.min, weight.max)
    ]
    return min(corners), max(corners)
