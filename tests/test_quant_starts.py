"""Weights that layers start from: whose integers, how often computed, what they leave behind."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from hw.precision import WeightMode
from quant import starts as module
from quant.batches import inputs_of
from quant.calibrate import fit_activations
from quant.data import ImageSet
from quant.graph import Network, trace
from quant.probes import logit_divergence
from quant.ptq.network import layer_solutions
from quant.quant_layer import QuantLayer, Start
from quant.quant_network import QuantNetwork, uniform_bits
from quant.scales import Scales
from quant.starts import Starts

torch.set_num_threads(1)

W2, W4, W8 = WeightMode.W2, WeightMode.W4, WeightMode.W8
NAMES = ("conv", "fc")


class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 8, 3, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(8)
        self.relu = nn.ReLU()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.fc = nn.Linear(8, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.relu(self.bn(self.conv(x)))
        return self.fc(self.flatten(self.pool(y)))  # type: ignore[no-any-return]


@pytest.fixture
def network() -> Network:
    torch.manual_seed(0)
    model = Small().eval()
    with torch.no_grad():
        model.bn.weight[3] = -0.7  # its sign moves into the weights before they are optimised
        model.fc.weight.mul_(10)  # so that the outputs are not all alike
    return trace(model, torch.zeros(1, 1, 9, 9))


@pytest.fixture(scope="module")
def data() -> ImageSet:
    random = np.random.default_rng(1)
    pixels = random.integers(0, 256, (40, 9, 9)).astype(np.uint8)
    return ImageSet(images=pixels, labels=random.integers(0, 3, 40))


@pytest.fixture
def starts(network: Network, data: ImageSet) -> Starts:
    return Starts(network=network, images=inputs_of(data, np.arange(20)))


def integers(layer: QuantLayer) -> np.ndarray[tuple[int, ...], np.dtype[np.int8]]:
    return layer.integers().weight


def test_layers_start_from_the_integers_of_their_precision(
    network: Network, starts: Starts
) -> None:
    bits = {"conv": W2, "fc": W4}
    expected = dict(layer_solutions(network, starts.images, {n: (m,) for n, m in bits.items()}))
    quantised = QuantNetwork(network, bits)
    rounded = {name: integers(layer) for name, layer in quantised.quant_layers()}
    starts.put(quantised, ["conv"])
    assert (integers(quantised.layer("fc")) == rounded["fc"]).all()
    assert (integers(quantised.layer("conv")) != rounded["conv"]).any()
    starts.put(quantised, ["fc"])
    for name, mode in bits.items():
        solution = expected[name][mode]
        assert (integers(quantised.layer(name)) == solution.integers.numpy()).all()
        scale = quantised.layer(name).scale
        assert scale is not None
        assert (scale.detach().numpy() == solution.grid.scale.astype(np.float32)).all()


def test_a_precision_is_optimised_once(
    network: Network, starts: Starts, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def watched(network: Network, images: torch.Tensor, choices: dict[str, list[WeightMode]]):  # type: ignore[no-untyped-def]
        asked.append({name: list(modes) for name, modes in choices.items()})
        return layer_solutions(network, images, choices)

    monkeypatch.setattr(module, "layer_solutions", watched)
    starts.prepare({"conv": (W2, W4), "fc": (W2,)})
    starts.prepare({"conv": (W2, W8), "fc": (W2,)})
    starts.put(QuantNetwork(network, uniform_bits(network, W2)), NAMES)
    wanted = [{"conv": [W2, W4], "fc": [W2]}, {"conv": [W8]}]
    assert [one for one in asked if one] == wanted
    assert set(starts.of("conv")) == {W2, W4, W8}
    assert set(starts.of("fc")) == {W2}


@pytest.mark.parametrize("scales", Scales, ids=lambda scales: scales.name)
@pytest.mark.parametrize("own", [False, True], ids=["by the rule", "own scales"])
def test_a_layer_has_a_start_for_a_while_only(
    scales: Scales, own: bool, network: Network, starts: Starts
) -> None:
    quantised = QuantNetwork(network, uniform_bits(network, W8), scales=scales)
    layer = quantised.layer("conv")
    if own:
        layer.set_scale(torch.full((8,), 0.01))
    before, scale, mode = layer.layer.weight.detach().clone(), layer.scale, layer.mode
    starts.prepare({"conv": (W2,)})
    start = starts.of("conv")[W2]
    expected = QuantNetwork(network, uniform_bits(network, W2))
    starts.put(expected, ["conv"])

    def stop_inside() -> None:
        with layer.at(W2, start):
            assert layer.mode is W2
            assert (integers(layer) == integers(expected.layer("conv"))).all()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stop_inside()
    assert torch.equal(layer.layer.weight, before)
    assert layer.scale is scale
    assert layer.mode is mode


def test_a_start_of_another_shape_is_refused(network: Network) -> None:
    layer = QuantNetwork(network, uniform_bits(network, W8)).layer("conv")
    before = layer.layer.weight.detach().clone()
    wrong = Start(weight=torch.zeros(8, 1, 5, 5), scale=torch.ones(8))
    with pytest.raises(ValueError, match="weight must have shape"), layer.at(W2, wrong):
        pass
    assert layer.mode is W8
    assert torch.equal(layer.layer.weight, before)


def test_probes_measure_what_a_start_gives(
    network: Network, starts: Starts, data: ImageSet
) -> None:
    quantised = QuantNetwork(network, uniform_bits(network, W8))
    fit_activations(quantised, data, batches=1)
    images = inputs_of(data, np.arange(20, 40))
    before = quantised.snapshot()
    starts.prepare(dict.fromkeys(NAMES, (W2, W8)))
    choices = dict.fromkeys(NAMES, (W2, W8))
    rounded = logit_divergence(quantised, choices, images)
    found = logit_divergence(quantised, choices, images, starts.of)
    after = quantised.snapshot()
    assert all(after.state[name].equal(before.state[name]) for name in before.state)
    assert found["fc"][W2] != rounded["fc"][W2]
    assert found["fc"][W8] == 0
    # no norm lies behind the last layer, so its probe is the plain definition on these images
    with torch.no_grad():
        for norm in (m for m in quantised.modules() if isinstance(m, nn.BatchNorm2d)):
            norm.train()
        p = functional.softmax(quantised(images), dim=1)
        quantised.layer("fc").mode = W2
        starts.put(quantised, ["fc"])
        q = functional.softmax(quantised(images), dim=1)
    expected = float((p * (p / q).log()).sum(dim=1).mean())
    assert found["fc"][W2] == pytest.approx(expected, rel=1e-4)
