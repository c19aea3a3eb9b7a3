"""Operands of an integer network as the energy measurement takes them, and its sums."""

from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from hw.config import ArrayConfig
from hw.precision import WeightMode
from hw.schedule import GemmShape, layer_schedule
from sim import network as golden_network
from sim.folder import Conv, Graph, IntegerNetwork, LayerArrays, TensorSpec
from synth import operands
from synth.mapping import Measured, RunEnergy
from synth.network import app, energy_pj, gemm_shape, sampled, written
from synth.operands import sample_tiles
from synth.table import ArrayCost, ArrayParameters, ModuleCost

SIZE, CHANNELS = 6, 16


def small() -> IntegerNetwork:
    """A convolution, a depthwise one of 16 channels, and a dense layer over the map."""
    rng = np.random.default_rng(5)
    tensors = {
        "image": TensorSpec(height=SIZE, width=SIZE, channels=2, scale=0.1, zero_point=9),
        "a": TensorSpec(height=SIZE, width=SIZE, channels=CHANNELS, scale=0.1),
        "b": TensorSpec(height=SIZE, width=SIZE, channels=CHANNELS, scale=0.1),
        "logits": TensorSpec(height=1, width=1, channels=3, scale=0.1, bits=22, signed=True),
    }
    window = {"kernel_h": 3, "kernel_w": 3, "stride": 1, "low": 0, "high": 255}
    window |= dict.fromkeys(("pad_top", "pad_left", "pad_bottom", "pad_right"), 1)
    last = {"kernel_h": SIZE, "kernel_w": SIZE, "stride": 1, "low": -(1 << 20), "high": 1 << 20}
    steps = [
        Conv.model_validate(
            {"name": "full", "input": "image", "output": "a", "weight_bits": 4} | window
        ),
        Conv.model_validate(
            {"name": "depthwise", "input": "a", "output": "b", "weight_bits": 8, "groups": CHANNELS}
            | window
        ),
        Conv.model_validate(
            {"name": "dense", "input": "b", "output": "logits", "weight_bits": 2} | last
        ),
    ]

    def arrays(shape: tuple[int, ...], bits: int) -> LayerArrays:
        half = 1 << (bits - 1)
        outputs = shape[-1]
        return LayerArrays(
            weight=rng.integers(-half, half, shape, np.int8),
            bias=np.zeros(outputs, np.int32),
            multiplier=np.full(outputs, 40000, np.uint16),
            shift=np.full(outputs, 20, np.uint8),
            scale=np.ones(outputs, np.float32),
        )

    layers = {
        "full": arrays((3, 3, 2, CHANNELS), 4),
        "depthwise": arrays((3, 3, 1, CHANNELS), 8),
        "dense": arrays((SIZE, SIZE, CHANNELS, 3), 2),
    }
    graph = Graph(name="small", input="image", output="logits", tensors=tensors, steps=[*steps])
    return IntegerNetwork(graph=graph, layers=layers)


IMAGES = np.random.default_rng(0).integers(0, 256, (8, SIZE, SIZE, 2), np.uint8)


def test_sampled_operands_give_the_sums_of_the_layers(tmp_path: Path) -> None:
    net = small()
    own = written(sampled(net, IMAGES, seed=1), tmp_path / "own.npz")
    maps = dict(golden_network.tensors(net, IMAGES))
    assert list(own.layers) == ["full", "depthwise", "dense", "full, thinned"]
    # a dense layer's K is its whole map, its channel fastest
    dense = own.layers["dense"]
    assert list(dense.weight) == [WeightMode.W2]
    np.testing.assert_array_equal(dense.act, maps["b"].reshape(8, -1))
    shifted = (dense.act.astype(int) @ dense.weight[WeightMode.W2] * 40000 + (1 << 19)) >> 20
    np.testing.assert_array_equal(shifted.clip(-(1 << 20), 1 << 20), maps["logits"][:, 0, 0])
    # every sampled row of a convolution is one of its pixels
    full = own.layers["full"]
    found = (full.act.astype(int) @ full.weight[WeightMode.W4] * 40000 + (1 << 19)) >> 20
    pixels = {tuple(row) for row in maps["a"].reshape(-1, CHANNELS).tolist()}
    assert {tuple(row) for row in found.clip(0, 255).tolist()} <= pixels


def test_a_depthwise_layer_is_a_block_of_channels(tmp_path: Path) -> None:
    net = small()
    layer = written(sampled(net, IMAGES, seed=1), tmp_path / "own.npz").layers["depthwise"]
    weight = layer.weight[WeightMode.W8]
    assert weight.shape == (9 * 8, 8)
    off = ~np.tile(np.eye(8, dtype=bool), (9, 1))
    assert not weight[off].any()
    maps = dict(golden_network.tensors(net, IMAGES))
    found = ((layer.act.astype(int) @ weight * 40000 + (1 << 19)) >> 20).clip(0, 255)
    blocks = [maps["b"][..., first : first + 8].reshape(-1, 8).tolist() for first in (0, 8)]
    assert any({*map(tuple, found.tolist())} <= {*map(tuple, block)} for block in blocks)


def test_tiles_of_a_mode_are_of_the_layers_that_have_it(tmp_path: Path) -> None:
    own = written(sampled(small(), IMAGES, seed=1), tmp_path / "own.npz")
    config = ArrayConfig(rows=2, cols=2, lanes=4)
    for mode, names in ((WeightMode.W2, ["dense"]), (WeightMode.W6, [])):
        assert list(sample_tiles(own, mode, config, products=100)) == names


def test_a_file_without_weights_is_refused(tmp_path: Path) -> None:
    arrays = sampled(small(), IMAGES, seed=1)
    del arrays["weight/dense/W2"]
    with pytest.raises(operands.OperandError, match="weight/dense/W8"):
        written(arrays, tmp_path / "own.npz")


def test_energy_of_a_layer_is_its_steps_and_its_idle_cycles() -> None:
    config = ArrayConfig(rows=4, cols=2, lanes=4, drain_rows=1)
    shape = GemmShape(pixels=6, depth=10, outputs=2)  # the second tile has 2 of 4 rows
    module = ModuleCost(
        count=1, area_um2=1.0, sequential_area_um2=1.0, min_period_ns=1.0, leakage_nw=0.0,
        energy_pj={mode.name: 1.0 for mode in WeightMode}, idle_energy_pj=0.0,
    )  # fmt: skip
    array = ArrayCost(
        parameters=ArrayParameters.of(config),
        modules={"pe": module.model_copy(update={"count": 8}), "control": module},
    )
    spent = {
        "pe": Measured(
            runs=[
                RunEnergy(steps=1, step_fj=0.0, parts_fj={}),
                RunEnergy(steps=1, step_fj=2000.0, parts_fj={}),
            ],
            idle_fj=500.0,
            parts_um2={},
        ),
        "control": Measured(
            runs=[
                RunEnergy(steps=1, step_fj=0.0, parts_fj={}),
                RunEnergy(steps=1, step_fj=300.0, parts_fj={}),
            ],
            idle_fj=100.0,
            parts_um2={},
        ),
    }
    plan = layer_schedule(shape, WeightMode.W4, config)
    assert plan.pe_utilisation == 0.75
    step = 8 * (0.75 * 2.0 + 0.25 * 0.5) + 0.3
    idle = 8 * 0.5 + 0.1
    expected = plan.active_cycles * step + plan.idle_cycles * idle
    assert energy_pj(shape, WeightMode.W4, array, spent, 1) == pytest.approx(expected)


def test_groups_of_a_convolution_are_groups_of_its_products() -> None:
    net = small()
    shapes = [gemm_shape(net.graph.conv_shape(step)) for step in net.graph.convs]
    assert shapes[1] == GemmShape(pixels=36, depth=9, outputs=1, groups=CHANNELS)
    assert shapes[2] == GemmShape(pixels=1, depth=SIZE * SIZE * CHANNELS, outputs=3)


def test_bad_input_is_one_line(tmp_path: Path) -> None:
    found = CliRunner().invoke(app, [str(tmp_path)])
    assert found.exit_code == 2
    assert found.stderr.startswith(f"synth.network: {tmp_path}/network.json: must be a file, but")
    assert found.stderr.count("\n") == 1
