"""Errors of predicted energies: with features, and by the lanes that have work alone."""

import numpy as np
import pytest

from hw.config import ArrayConfig
from hw.precision import WeightMode
from hw.schedule import GemmShape
from synth.blind import by_layer, compared, sampled_schedule
from synth.costs.activity import EnergyModel
from synth.features import Features
from synth.operands import LayerOperands
from synth.table import ArrayCost, ArrayParameters, CostTable, ModuleCost

CONFIG = ArrayConfig(rows=2, cols=8, lanes=4, group=4)
SEEN = Features(acts=1.0, weights=0.0, products=0.0, sums=0.0, tiles=0.0)


def _module(count: int, *, step_pj: float, idle_pj: float) -> ModuleCost:
    model = EnergyModel(
        base_pj=step_pj / 2, per_change_pj={"acts": 0.5}, fit_error=0, largest_fit_error=0
    )
    return ModuleCost(
        count=count,
        area_um2=1.0,
        sequential_area_um2=1.0,
        min_period_ns=1.0,
        leakage_nw=0.0,
        energy_pj={mode.name: step_pj for mode in WeightMode},
        idle_energy_pj=idle_pj,
        model=model,
    )


COST = ArrayCost(
    parameters=ArrayParameters.of(CONFIG),
    # energies were measured in steps of which four lanes in five had work
    sampled_utilisation={mode.name: 0.8 for mode in WeightMode},
    modules={
        "pe": _module(16, step_pj=2.0, idle_pj=0.4),
        "control": _module(1, step_pj=3.0, idle_pj=1.0),
    },
)


def _layer(weight: np.ndarray) -> LayerOperands:
    act = np.zeros((4, len(weight)), dtype=np.uint8)
    return LayerOperands(act=act, weight=dict.fromkeys(WeightMode, weight), share=1.0)


def _depthwise(taps: int) -> LayerOperands:
    """Eight channels of a depthwise layer; each has weights for every eighth pixel of K."""
    return _layer(np.tile(np.eye(8, dtype=np.int8), (taps, 1)))


@pytest.mark.parametrize("mode", list(WeightMode))
def test_energy_without_features_is_that_of_the_lanes_with_work(mode: WeightMode) -> None:
    # 5 of 8 lanes of two chunks: (0.4 + 5/8/0.8 (2.0 - 0.4)) pJ a PE, 3 of the control
    step = 16 * (0.4 + 5 / 8 / 0.8 * 1.6) + 3.0
    found = compared(
        _layer(np.ones((5, 8), dtype=np.int8)), mode, SEEN, cost=COST, measured_pj=20.0
    )
    assert found["error_without_features"] == round(step / 20.0 - 1, 4)
    # with features: half the step and half a pJ for the bit that changes, of every module
    assert found["predicted_pj"] == 16 * (1.0 + 0.5) + 1.5 + 0.5
    assert found["error"] == 0.3
    assert found["measured_pj"] == 20.0


def test_energy_of_a_depthwise_layer_without_features_is_that_of_an_eighth_of_its_lanes() -> None:
    found = compared(_depthwise(2), WeightMode.W4, SEEN, cost=COST, measured_pj=10.0)
    step = 16 * (0.4 + 1 / 8 / 0.8 * 1.6) + 3.0
    assert found["error_without_features"] == round(step / 10.0 - 1, 4)


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (_layer(np.ones((5, 8), dtype=np.int8)), GemmShape(pixels=2, depth=5, outputs=8)),
        (_depthwise(9), GemmShape(pixels=2, depth=9, outputs=1, groups=8)),
    ],
    ids=["dense", "depthwise"],
)
def test_it_is_what_the_table_says_of_such_a_layer(layer: LayerOperands, shape: GemmShape) -> None:
    mode = WeightMode.W2
    plan = sampled_schedule(layer, mode, CONFIG)
    active = plan.active_cycles * COST.active_energy_pj(plan, mode)
    idle = plan.idle_cycles * COST.idle_energy_pj
    said = CostTable(name="by hand", array=COST).layer_cost(shape, mode)
    assert said.array_energy_pj == pytest.approx(active + idle)


def test_error_of_a_layer_is_that_of_its_sum_over_the_modes() -> None:
    row = {"layer": "a", "mode": "W8", "measured_pj": 10.0, "predicted_pj": 11.0}
    other = row | {"mode": "W2", "measured_pj": 20.0, "predicted_pj": 16.0}
    # 8 steps for 2: (88 + 32) / (80 + 40)
    assert by_layer([row, other]) == {"a": 0.0}
