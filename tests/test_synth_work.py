"""What layers weigh in the network's steps, and how many lanes have work; by hand."""

from pathlib import Path

import numpy as np
import pytest

from hw.config import ArrayConfig, PEKind
from hw.precision import WeightMode
from synth.mapping import Measured, RunEnergy
from synth.operands import LayerOperands, Operands, load
from synth.work import layer_shares, step_fj, utilisation, working_share

OPERANDS = Path(__file__).parents[1] / "synth" / "operands"
CONFIG = ArrayConfig(rows=2, cols=2, lanes=4, group=4)


def _layer(weight: np.ndarray, share: float = 1.0) -> LayerOperands:
    act = np.zeros((4, len(weight)), dtype=np.uint8)
    return LayerOperands(act=act, weight=dict.fromkeys(WeightMode, weight), share=share)


def _dense(depth: int, share: float = 1.0) -> LayerOperands:
    return _layer(np.ones((depth, 8), dtype=np.int8), share)


def _depthwise(taps: int, share: float = 1.0) -> LayerOperands:
    """Eight channels of a depthwise layer; each has weights for every eighth pixel of K."""
    return _layer(np.tile(np.eye(8, dtype=np.int8), (taps, 1)), share)


def _operands(**layers: LayerOperands) -> Operands:
    return Operands(name="by hand", sha256="", layers=layers)


def test_a_dense_layer_has_weights_for_all_of_k_and_a_depthwise_one_for_an_eighth() -> None:
    assert working_share(_dense(16)) == 1.0
    assert working_share(_dense(9)) == 1.0
    assert working_share(_depthwise(2)) == 1 / 8
    one_off = _depthwise(2)
    one_off.weight[WeightMode.W8][3, 5] = 1
    assert working_share(one_off) == 1.0


def test_the_shipped_operands_have_one_depthwise_layer() -> None:
    layers = load(OPERANDS / "dscnn.npz").layers
    shares = {name: working_share(layer) for name, layer in layers.items()}
    assert shares.pop("blocks.1.depthwise") == 1 / 8
    assert set(shares.values()) == {1.0}


@pytest.mark.parametrize("mode", list(WeightMode))
def test_layers_weigh_by_their_steps_and_idle_lanes_are_counted(mode: WeightMode) -> None:
    # of ten products each: two tiles of 5 in two chunks of 4 lanes, one tile of 8 in two; a chunk
    # takes a step a digit, so a product of the first takes 4 / 10, of the second 2 / 8 of those
    operands = _operands(first=_dense(5, 0.25), second=_dense(8, 0.75))
    first, second = 0.25 * 4 / 10, 0.75 * 2 / 8
    wanted = [first / (first + second), second / (first + second)]
    assert layer_shares(operands, mode, CONFIG, products=20) == pytest.approx(wanted)
    # four lanes: with all of them at work, a product would take a quarter
    found = utilisation(operands, mode, CONFIG, products=20)
    assert found == pytest.approx(0.25 / (first + second))
    alone = _operands(first=_dense(5))
    assert utilisation(alone, mode, CONFIG, products=20) == pytest.approx(5 / 8)


def test_a_depthwise_layer_takes_steps_for_zeros_that_are_no_products() -> None:
    # two chunks for 8 products, and four chunks for the 2 of 16 that have weights
    operands = _operands(dense=_dense(8, 0.5), depthwise=_depthwise(2, 0.5))
    shares = layer_shares(operands, WeightMode.W4, CONFIG, products=1)
    assert shares == pytest.approx([1 / 9, 8 / 9])
    found = utilisation(operands, WeightMode.W4, CONFIG, products=1)
    assert found == pytest.approx(1 / (0.5 * 1 + 0.5 * 8))


def test_a_layer_that_is_no_part_of_the_network_weighs_nothing() -> None:
    operands = _operands(layer=_dense(5), thinned=_dense(8, 0.0))
    assert layer_shares(operands, WeightMode.W8, CONFIG, products=1) == [1.0, 0.0]
    assert utilisation(operands, WeightMode.W8, CONFIG, products=1) == pytest.approx(5 / 8)


def test_digit_planes_do_more_products_a_step_at_fewer_bits() -> None:
    planes = ArrayConfig(rows=2, cols=2, lanes=4, group=4, pe=PEKind.DIGIT_PLANES)
    alone = _operands(layer=_dense(5))
    # a lane of 8 bit is two of 4 and four of 2: chunks of 1, 2 and 4 products
    for mode, used in ((WeightMode.W8, 1.0), (WeightMode.W4, 5 / 6), (WeightMode.W2, 5 / 8)):
        assert utilisation(alone, mode, planes, products=1) == pytest.approx(used)


def test_steps_of_shift_add_are_those_of_its_weights_and_no_lane_is_idle() -> None:
    config = ArrayConfig(
        pe=PEKind.SHIFT_ADD, rows=2, cols=2, lanes=1, drain_rows=1, double_buffered=False
    )
    # 1 takes a cycle; 5 = 4 + 1 two
    operands = _operands(
        ones=_layer(np.array([[1], [1]], dtype=np.int8), 0.5),
        fives=_layer(np.array([[5], [5]], dtype=np.int8), 0.5),
    )
    shares = layer_shares(operands, WeightMode.W8, config, products=1)
    assert shares == pytest.approx([1 / 3, 2 / 3])
    assert utilisation(operands, WeightMode.W8, config, products=1) == 1.0


def test_energy_of_a_step_is_the_mean_over_the_runs_by_their_shares() -> None:
    runs = [RunEnergy(step_fj=fj, steps=1, parts_fj={}) for fj in (10.0, 20.0)]
    measured = Measured(runs=runs, idle_fj=0.0, parts_um2={})
    assert step_fj(measured, [0.25, 0.75]) == 17.5
