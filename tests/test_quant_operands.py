"""Sampled operands are those with which the layer really computes."""

from pathlib import Path

import numpy as np
import pytest
import torch

from hw.precision import WeightMode
from quant.graph import trace
from quant.models import build
from quant.operands import LAYERS, block_diagonal, im2col, macs_shares, sample, weight_matrix
from quant.quant_network import QuantNetwork, uniform_bits
from quant.quantizer import ActRange

torch.set_num_threads(1)

FOLDER = Path(__file__).parent.parent / "synth" / "operands"


@pytest.mark.parametrize(("stride", "padding", "kernel"), [(1, 1, 3), (2, 1, 3), (2, 0, 1)])
def test_im2col_times_weight_matrix_is_the_convolution(
    stride: int, padding: int, kernel: int
) -> None:
    random = np.random.default_rng(0)
    act = torch.from_numpy(random.integers(0, 256, (2, 3, 6, 6), dtype=np.uint8))
    weight = random.integers(-128, 128, (4, 3, kernel, kernel)).astype(np.int8)
    columns = im2col(act, kernel=(kernel, kernel), stride=stride, padding=padding)
    found = columns.long().numpy() @ weight_matrix(weight).astype(np.int64)
    expected = torch.nn.functional.conv2d(
        act.double(), torch.from_numpy(weight).double(), stride=stride, padding=padding
    )
    np.testing.assert_array_equal(found, expected.flatten(2).permute(0, 2, 1).numpy())


def test_im2col_times_the_block_diagonal_is_the_depthwise_convolution() -> None:
    random = np.random.default_rng(0)
    act = torch.from_numpy(random.integers(0, 256, (2, 4, 6, 6), dtype=np.uint8))
    weight = random.integers(-128, 128, (4, 1, 3, 3)).astype(np.int8)
    columns = im2col(act, kernel=(3, 3), stride=1, padding=1)
    found = columns.long().numpy() @ block_diagonal(weight).astype(np.int64)
    expected = torch.nn.functional.conv2d(
        act.double(), torch.from_numpy(weight).double(), padding=1, groups=4
    )
    np.testing.assert_array_equal(found, expected.flatten(2).permute(0, 2, 1).numpy())


def test_depth_runs_over_rows_columns_and_then_channels() -> None:
    weight = np.arange(2 * 2 * 2).reshape(1, 2, 2, 2).astype(np.int8)  # [M, C, ky, kx]
    assert weight_matrix(weight)[:, 0].tolist() == [0, 4, 1, 5, 2, 6, 3, 7]


@pytest.mark.parametrize("model", ["resnet8", "dscnn"])
def test_shares_add_up_to_one(model: str) -> None:
    network = trace(build(model), torch.zeros(1, 1, 28, 28))
    shares = macs_shares(network, LAYERS[model])
    assert sum(shares.values()) == pytest.approx(1)
    total = sum(layer.shape.macs for layer in network.layers)
    for name, share in shares.items():
        assert share >= network.layer(name).shape.macs / total


@pytest.mark.parametrize("model", ["resnet8", "dscnn"])
def test_sampling_is_the_same_each_time_and_of_the_promised_shapes(model: str) -> None:
    network = trace(build(model), torch.zeros(1, 1, 28, 28))
    quantised = QuantNetwork(network, uniform_bits(network, WeightMode.W8)).eval()
    for name in quantised.act_quantizers:
        quantised.act_quantizer(name).range = ActRange.of(0.0, 1.0)
    images = torch.rand(8, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    first = sample(network, quantised, images, LAYERS[model], seed=1)
    again = sample(network, quantised, images, LAYERS[model], seed=1)
    assert all(np.array_equal(first[key], again[key]) for key in first)
    for name in LAYERS[model]:
        shape = network.layer(name).shape
        depth = shape.depth * (8 if shape.groups > 1 else 1)
        outputs = 8 if shape.groups > 1 else min(16, shape.outputs)
        assert first[f"act/{name}"].shape == (64, depth)
        assert first[f"act/{name}"].dtype == np.uint8
        for mode in WeightMode:
            weight = first[f"weight/{name}/{mode.name}"]
            assert weight.shape == (depth, outputs)
            assert weight.dtype == np.int8
            assert mode.min <= weight.min() <= weight.max() <= mode.max


def test_activations_of_4_bits_are_the_same_ones_but_for_the_image() -> None:
    network = trace(build("resnet8"), torch.zeros(1, 1, 28, 28))
    quantised = QuantNetwork(network, uniform_bits(network, WeightMode.W8)).eval()
    for name in quantised.act_quantizers:
        quantised.act_quantizer(name).range = ActRange.of(0.0, 1.0)
    images = torch.rand(8, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    names = LAYERS["resnet8"]
    eight, four = (
        sample(network, quantised, images, names, seed=1, act_bits=bits) for bits in (8, 4)
    )
    assert np.array_equal(eight["act/stem"], four["act/stem"])
    for name in names[1:]:
        expected = np.floor(eight[f"act/{name}"] / 17 + 0.5)
        assert np.array_equal(four[f"act/{name}"], expected)
        assert 1 < four[f"act/{name}"].max() <= 15


@pytest.mark.parametrize("model", ["resnet8", "dscnn"])
def test_committed_operands_are_small_and_complete(model: str) -> None:
    path = FOLDER / f"{model}.npz"
    assert path.stat().st_size < 300_000
    with np.load(path, allow_pickle=False) as file:
        keys = {
            key
            for name in LAYERS[model]
            for key in (
                f"act/{name}",
                f"macs/{name}",
                *(f"weight/{name}/{mode.name}" for mode in WeightMode),
            )
        }
        assert set(file.files) == keys
