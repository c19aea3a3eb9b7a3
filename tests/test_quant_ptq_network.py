"""Whole networks: optimised weights keep their scales through calibration, states and training."""

from collections.abc import Mapping

import numpy as np
import pytest
import torch
from torch import nn

from hw.precision import WeightMode
from quant.data import ImageSet
from quant.graph import Network, trace
from quant.layers import QuantNetwork, uniform_bits
from quant.ptq.network import (
    calibration_images,
    collect,
    layer_solutions,
    match_norm,
    optimised,
    put,
    sequential_solutions,
)
from quant.ptq.optimise import Method, OptimisedWeights, optimise
from quant.ptq.statistics import LayerStatistics

torch.set_num_threads(1)


class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 8, 3, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(8)
        self.relu = nn.ReLU()
        self.depthwise = nn.Conv2d(8, 8, 3, stride=2, groups=8)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.fc = nn.Linear(8, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.depthwise(self.relu(self.bn(self.conv(x))))
        return self.fc(self.flatten(self.pool(y)))  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def data() -> ImageSet:
    random = np.random.default_rng(1)
    images = random.integers(0, 256, (40, 9, 9)).astype(np.uint8)
    return ImageSet(images=images, labels=random.integers(0, 3, 40))


@pytest.fixture(scope="module")
def network() -> Network:
    torch.manual_seed(0)
    model = Small()
    with torch.no_grad():
        model.bn.weight[3] = -0.7  # its sign moves into the weights before they are optimised
    return trace(model, torch.zeros(1, 1, 9, 9))


Solutions = Mapping[str, Mapping[WeightMode, OptimisedWeights]]


@pytest.fixture(scope="module")
def solutions(network: Network, data: ImageSet) -> Solutions:
    modes = dict.fromkeys(("conv", "depthwise", "fc"), tuple(WeightMode))
    return dict(layer_solutions(network, calibration_images(data, 16, seed=0), modes))


@pytest.mark.parametrize("mode", WeightMode, ids=lambda mode: mode.name)
def test_layers_run_the_optimised_integers_at_their_scale(
    mode: WeightMode, network: Network, solutions: Solutions
) -> None:
    quantised = QuantNetwork(network, uniform_bits(network, mode))
    put(quantised, solutions)
    for name, layer in quantised.quant_layers():
        norm, layer.norm = layer.norm, None
        found = layer.integers()
        layer.norm = norm
        assert (found.weight == solutions[name][mode].integers.numpy()).all()
        assert (found.scale == solutions[name][mode].grid.scale.astype(np.float32)).all()


def test_a_snapshot_carries_the_scales(network: Network, data: ImageSet) -> None:
    bits = {"conv": WeightMode.W2, "depthwise": WeightMode.W4, "fc": WeightMode.W8}
    quantised = optimised(network, data, bits, images=16)
    images = calibration_images(data, 8, seed=1)
    expected = quantised(images)
    other = QuantNetwork(network, uniform_bits(network, WeightMode.W6))
    other.restore(quantised.snapshot())
    assert torch.equal(other(images), expected)
    plain = QuantNetwork(network, bits)
    quantised.restore(plain.snapshot())
    assert all(layer.scale is None for _, layer in quantised.quant_layers())


def test_another_precision_drops_the_scale(network: Network, solutions: Solutions) -> None:
    quantised = QuantNetwork(network, uniform_bits(network, WeightMode.W2))
    put(quantised, solutions)
    layer = quantised.layer("conv")
    fixed = layer.scale
    assert fixed is not None
    with layer.at(WeightMode.W4):  # a probe's visit
        assert layer.scale is None
    assert layer.scale is fixed
    quantised.set_bits(uniform_bits(network, WeightMode.W4))
    quantised.set_bits(uniform_bits(network, WeightMode.W2))
    assert layer.scale is None


def test_sequential_statistics_are_those_behind_the_quantised_layers(
    network: Network, data: ImageSet
) -> None:
    images = calibration_images(data, 32, seed=0)
    bits = uniform_bits(network, WeightMode.W2)
    solutions = dict(sequential_solutions(network, images, bits))
    float_ones = dict(layer_solutions(network, images, {n: (m,) for n, m in bits.items()}))
    first, *others = solutions
    assert torch.equal(
        solutions[first][WeightMode.W2].integers, float_ones[first][WeightMode.W2].integers
    )
    quantised = QuantNetwork(network, bits).eval()
    for name, layer in quantised.quant_layers():
        statistics = LayerStatistics(layer.layer, name)
        collect(quantised, layer, statistics, images)
        grid = solutions[name][WeightMode.W2].grid
        again = optimise(layer.layer.weight, statistics, grid, Method.SENSITIVITY)
        assert torch.equal(again.integers, solutions[name][WeightMode.W2].integers), name
        layer.start_from(again.values(), torch.from_numpy(grid.scale).float())
        match_norm(layer, statistics)
    assert others


def test_matched_norm_standardises_what_the_layer_gives(network: Network, data: ImageSet) -> None:
    images = calibration_images(data, 32, seed=0)
    quantised = QuantNetwork(network, uniform_bits(network, WeightMode.W2)).eval()
    layer = quantised.layer("conv")
    statistics = LayerStatistics(layer.layer)
    statistics.add(images)
    with torch.no_grad():
        layer.start_from(layer.layer.weight.round(decimals=1), torch.full((8,), 0.1))
    match_norm(layer, statistics)
    assert layer.norm is not None
    layer.norm.weight.data.fill_(1)
    layer.norm.bias.data.fill_(0)
    layer.mode, layer.scale = WeightMode.W8, None
    y = layer(images)
    torch.testing.assert_close(y.mean(dim=(0, 2, 3)), torch.zeros(8), atol=0.02, rtol=0)
    torch.testing.assert_close(y.std(dim=(0, 2, 3)), torch.ones(8), atol=0.02, rtol=0)


@pytest.mark.parametrize("method", Method, ids=lambda method: method.value)
def test_same_seed_gives_the_same_network(method: Method, network: Network, data: ImageSet) -> None:
    bits = uniform_bits(network, WeightMode.W4)
    first, second = (optimised(network, data, bits, method=method, images=16) for _ in range(2))
    for (name, a), (_, b) in zip(first.quant_layers(), second.quant_layers(), strict=True):
        assert (a.integers().weight == b.integers().weight).all(), name
