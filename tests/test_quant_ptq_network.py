"""Whole networks: optimised weights keep their scales through calibration, states and training."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from hw.precision import WeightMode
from quant.allocation import Bits
from quant.calibrate import fit_activations
from quant.data import ImageSet
from quant.graph import Network, trace
from quant.journal import Journal
from quant.ptq.frames import frame_of
from quant.ptq.layerwise import Layerwise
from quant.ptq.network import Solutions, calibration_images, collect, collected, layer_solutions
from quant.ptq.optimise import Method
from quant.ptq.recipe import Recipe
from quant.ptq.solve import solve
from quant.ptq.statistics import LayerStatistics
from quant.quant_network import QuantNetwork, uniform_bits

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


@pytest.fixture(scope="module")
def solutions(network: Network, data: ImageSet) -> Solutions:
    modes = dict.fromkeys(("conv", "depthwise", "fc"), tuple(WeightMode))
    return dict(layer_solutions(network, calibration_images(data, 16, seed=0), modes))


def put(quantised: QuantNetwork, solutions: Solutions) -> None:
    for name, layer in quantised.quant_layers():
        found = solutions[name][layer.mode]
        layer.start_from(found.values(), torch.from_numpy(found.grid.scale).float())


def optimised(
    network: Network, data: ImageSet, bits: Bits, method: Method = Method.SENSITIVITY
) -> QuantNetwork:
    choices = {name: (mode,) for name, mode in bits.items()}
    images = calibration_images(data, 16, seed=0)
    quantised = QuantNetwork(network, bits)
    put(quantised, dict(layer_solutions(network, images, choices, method=method)))
    fit_activations(quantised, data)
    return quantised


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
    quantised = optimised(network, data, bits)
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


SEQUENTIAL = Recipe(method=Method.ACT_ORDER, act_bits=None, sequential=True)


def test_sequential_statistics_are_those_behind_the_quantised_layers(
    network: Network, data: ImageSet, tmp_path: Path
) -> None:
    images = calibration_images(data, 32, seed=0)
    bits = dict.fromkeys(("conv", "depthwise", "fc"), 2)
    frame = frame_of(network, bits, SEQUENTIAL)
    found = dict(Layerwise(network, frame, bits, SEQUENTIAL, images, Journal(tmp_path), {}).run())
    assert list(found) == list(bits)
    other = frame_of(network, bits, SEQUENTIAL)
    plain = collected(network, list(bits), images)
    alike = []
    for name, solution in found.items():
        layer = network.module.get_submodule(name)
        assert isinstance(layer, nn.Conv2d | nn.Linear)
        behind = LayerStatistics(layer, name)
        collect(other.module, other.layer(name), behind, images)
        again = solve(other.weight(name), behind, other.grid(name), SEQUENTIAL)
        assert torch.equal(again.weights.integers, solution.weights.integers), name
        assert again.error == solution.error
        in_float = solve(other.weight(name), plain[name], other.grid(name), SEQUENTIAL)
        alike.append(in_float.error == pytest.approx(solution.error, rel=1e-6))
        other.put(name, again.weights, again.shift)
        other.settle(name, plain[name], behind)
    assert alike == [True, False, False]


def test_a_settled_norm_gives_the_moments_that_float_weights_gave(
    data: ImageSet, tmp_path: Path
) -> None:
    images = calibration_images(data, 32, seed=0)
    torch.manual_seed(0)
    model = Small()
    model.bn.momentum = 1.0
    model.train()(images)  # the statistics are those of the images, as after training
    network = trace(model.eval(), images[:1])
    bits = dict.fromkeys(("conv", "depthwise", "fc"), 2)
    frame = frame_of(network, bits, SEQUENTIAL)
    layers = Layerwise(network, frame, bits, SEQUENTIAL, images, Journal(tmp_path), {})
    assert next(iter(layers.run()))[0] == "conv"
    with torch.no_grad():
        found = frame.layer("conv")(images)
        expected = network.module.get_submodule("conv")(images)
        expected = network.module.get_submodule("bn")(expected)
    channels = (0, 2, 3)
    torch.testing.assert_close(found.mean(channels), expected.mean(channels), atol=1e-4, rtol=0)
    torch.testing.assert_close(found.std(channels), expected.std(channels), atol=1e-3, rtol=0)


@pytest.mark.parametrize("method", [Method.GPTQ, Method.SENSITIVITY, Method.OBQ])
def test_same_seed_gives_the_same_network(method: Method, network: Network, data: ImageSet) -> None:
    bits = uniform_bits(network, WeightMode.W4)
    first, second = (optimised(network, data, bits, method) for _ in range(2))
    for (name, a), (_, b) in zip(first.quant_layers(), second.quant_layers(), strict=True):
        assert (a.integers().weight == b.integers().weight).all(), name
