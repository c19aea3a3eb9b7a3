"""Exact torch and the golden model agree to the last bit, on networks of many shapes."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from hw.precision import WeightMode
from quant.calibrate import fit_activations
from quant.data import ImageSet
from quant.errors import QuantError
from quant.exact import ExactNetwork
from quant.graph import trace
from quant.integer import integer_network
from quant.integer_check import compare
from quant.models import DSCNN, ResNet8
from quant.quant_layer import LayerIntegers
from quant.quant_network import QuantNetwork
from quant.quantizer import ActRange
from quant.requant import requantiser, summand_multipliers
from sim.folder import LOGIT_MOST, IntegerNetwork

torch.set_num_threads(1)

SIZE = 12


class Odd(nn.Module):
    """Sums without a ReLU, padded pooling of both kinds, a dense layer over a map of 3 x 3."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 6, 5, stride=2, padding=2)
        self.left = nn.Conv2d(6, 6, 3, padding=1, groups=3)
        self.right = nn.Conv2d(6, 6, 1, bias=False)
        self.norm = nn.BatchNorm2d(6)
        self.mean = nn.AvgPool2d(3, stride=1, padding=1)
        self.most = nn.MaxPool2d(3, stride=2, padding=1)
        self.flatten = nn.Flatten()
        self.hidden = nn.Linear(54, 8)
        self.relu = nn.ReLU()
        self.last = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        y = self.first(x)
        y = self.left(y) + self.norm(self.right(y))
        y = self.most(self.mean(y))
        return self.last(self.relu(self.hidden(self.flatten(y))))  # type: ignore[no-any-return]


class Inverted(nn.Module):
    """MobileNet-v2's block, which cuts values off at 6; as modules and as a function."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU6())
        self.expand = nn.Sequential(nn.Conv2d(8, 16, 1), nn.BatchNorm2d(16), nn.ReLU6())
        self.depthwise = nn.Conv2d(16, 16, 3, padding=1, groups=16)
        self.norm = nn.BatchNorm2d(16)
        self.project = nn.Sequential(nn.Conv2d(16, 8, 1), nn.BatchNorm2d(8))
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.last = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        y = functional.relu6(self.norm(self.depthwise(self.expand(x))))
        return self.last(torch.flatten(self.pool(x + self.project(y)), 1))  # type: ignore[no-any-return]


MODELS = {
    "inverted": Inverted,
    "resnet": lambda: ResNet8(widths=(4, 6, 8)),
    "dscnn": lambda: DSCNN(stem=4, blocks=((6, 1), (8, 2))),
    "odd": Odd,
}


def calibrated(
    name: str, images: Tensor, modes: tuple[WeightMode, ...], act_bits: tuple[int, ...] = (8,)
) -> QuantNetwork:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        model = MODELS[name]().eval()
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                nn.init.normal_(module.weight)
                nn.init.normal_(module.bias)
                module.running_mean = torch.randn(module.num_features)
    network = trace(model, images[:1])
    bits = {layer.name: modes[i % len(modes)] for i, layer in enumerate(network.layers)}
    quantised = QuantNetwork(network, bits).eval()
    quantizers = [quantised.act_quantizer(tensor) for tensor in quantised.act_quantizers]
    for quantizer in quantizers:
        quantizer.observing = True
    quantised(images)
    for quantizer in quantizers:
        quantizer.observing = False
        quantizer.fit(99.0)
    free = [tensor for tensor in network.tensors if tensor not in network.images]
    quantised.set_acts({t: act_bits[i % len(act_bits)] for i, t in enumerate(free)})
    return quantised


@pytest.fixture(scope="module")
def pixels() -> ImageSet:
    rng = np.random.default_rng(4)
    images = rng.integers(0, 256, (60, SIZE, SIZE), np.uint8)
    return ImageSet(images=images, labels=rng.integers(0, 3, 60, np.int64))


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("modes", [tuple(WeightMode), (WeightMode.W2,)], ids=["mixed", "W2"])
@pytest.mark.parametrize("act_bits", [(8,), (4, 8, 5)], ids=["A8", "A4 to A8"])
def test_golden_model_equals_torch_in_every_tensor(
    name: str, modes: tuple[WeightMode, ...], act_bits: tuple[int, ...], pixels: ImageSet
) -> None:
    inputs = torch.from_numpy(pixels.images)[:, None] / 255
    quantised = calibrated(name, inputs, modes, act_bits)
    network = integer_network(quantised, torch.zeros(1, 1, SIZE, SIZE), name=name)
    exact = ExactNetwork(quantised)
    right = sum(compare(network, exact, pixels, batch=25))
    assert right == int((exact(inputs).argmax(1).numpy() == pixels.labels).sum())
    # and both are the fake-quantised network but for rounding: a few units in each tensor
    seen = exact.tensors(inputs)
    fake = quantised(inputs).detach()
    spread = float(fake.std())
    assert float((exact(inputs) - fake).abs().mean()) < 0.07 * spread
    assert len(seen) == len(quantised.act_quantizers) + 1


@pytest.mark.parametrize("field", ["weight", "multiplier", "bias"])
def test_a_flipped_bit_is_found_and_named_by_its_layer(field: str, pixels: ImageSet) -> None:
    quantised = calibrated(
        "resnet", torch.from_numpy(pixels.images)[:, None] / 255, (WeightMode.W4,)
    )
    network = integer_network(quantised, torch.zeros(1, 1, SIZE, SIZE), name="resnet")
    arrays = network.layers["block2.conv1"]
    values = getattr(arrays, field)
    values[(1,) * values.ndim] ^= 1 << {"weight": 1, "multiplier": 13, "bias": 9}[field]
    with pytest.raises(
        QuantError, match=r"^block2.relu1: golden model must equal torch, but image"
    ):
        sum(compare(network, ExactNetwork(quantised), pixels))


def test_a_changed_descriptor_is_found(pixels: ImageSet) -> None:
    quantised = calibrated(
        "resnet", torch.from_numpy(pixels.images)[:, None] / 255, (WeightMode.W4,)
    )
    network = integer_network(quantised, torch.zeros(1, 1, SIZE, SIZE), name="resnet")
    steps = [
        s.model_copy(update={"low": 3}) if s.name == "block1.conv1" else s
        for s in network.graph.steps
    ]
    other = IntegerNetwork(
        graph=network.graph.model_copy(update={"steps": steps}), layers=network.layers
    )
    with pytest.raises(QuantError, match=r"^block1.relu1: golden model must equal torch"):
        sum(compare(other, ExactNetwork(quantised), pixels))


def layer(weight: list[list[int]], scale: list[float], bias: list[float]) -> LayerIntegers:
    return LayerIntegers(
        weight=np.array(weight, np.int8),
        scale=np.array(scale, np.float32),
        bias=np.array(bias, np.float32),
    )


def test_the_input_zero_point_goes_into_the_bias() -> None:
    found = requantiser(
        layer([[3, -1]], [0.5], [4.0]), ActRange(scale=0.25, zero_point=10), scale=1.0
    )
    assert found.bias.tolist() == [4.0 / (0.5 * 0.25) - 10 * 2]
    assert found.multiplier[0] * 2.0 ** -found.shift[0].astype(int) == 0.125


@pytest.mark.parametrize(("scale", "weight"), [(1e-12, 0), (2e-8, 1), (5e-9, 1)])
@pytest.mark.parametrize("output", [0.5, None])
def test_a_channel_of_next_to_nothing_is_its_bias(
    scale: float, weight: int, output: float | None
) -> None:
    values = layer([[weight, weight], [1, 1]], [scale, 1.0], [100.0, 0.0])
    found = requantiser(values, ActRange(scale=1.0, zero_point=0), output)
    value = int(found.bias[0]) * int(found.multiplier[0]) * 2.0 ** -int(found.shift[0])
    assert value * found.scale == pytest.approx(100.0, rel=1e-4)


def test_logits_take_the_smallest_scale_that_holds_every_sum() -> None:
    found = requantiser(
        layer([[1, -2], [1, 1]], [0.5, 0.1], [3.0, 0.0]), ActRange(scale=0.1, zero_point=0), None
    )
    most = (3 * 255 * 0.05 + 3.0) / found.scale
    assert 0.9999 * LOGIT_MOST < most <= (1 - 2.0**-15) * LOGIT_MOST + 1


@pytest.mark.parametrize(
    ("left", "right"), [(1.0, 1.0), (0.01, 3.0), (2.0, 1e-6), (0.7 * (1 - 1e-9), 0.1)]
)
def test_multipliers_of_summands_stand_for_their_scales(left: float, right: float) -> None:
    a, b, shift = summand_multipliers(left, right, 0.7)
    assert max(a, b) < 1 << 16
    assert max(a, b) >= 1 << 15
    assert a * 2.0**-shift == pytest.approx(left / 0.7, rel=2**-14, abs=2.0**-shift)
    assert b * 2.0**-shift == pytest.approx(right / 0.7, rel=2**-14, abs=2.0**-shift)


class EndsInPooling(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 3, 3)
        self.pool = nn.AdaptiveAvgPool2d(1)

    def forward(self, x: Tensor) -> Tensor:
        return torch.flatten(self.pool(self.conv(x)), 1)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (EndsInPooling(), "output: must come from a layer to be exported, not "),
        (
            nn.Sequential(nn.Conv2d(1, 2, 3, dilation=2), nn.Flatten(), nn.Linear(128, 2)),
            "network must have only operations with an integer form; see its gaps",
        ),
        (
            nn.Sequential(nn.AvgPool2d(3, ceil_mode=True), nn.Flatten(), nn.Linear(16, 2)),
            "0: pooling must have one stride, no ceil_mode",
        ),
    ],
)
def test_what_has_no_integer_counterpart_is_named(model: nn.Module, message: str) -> None:
    example = torch.rand(4, 1, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    network = trace(model.eval(), example)
    quantised = QuantNetwork(network, {layer.name: WeightMode.W8 for layer in network.layers})
    for tensor in quantised.act_quantizers:
        quantizer = quantised.act_quantizer(tensor)
        quantizer.range = quantizer.range or ActRange.of(-1.0, 1.0)
    with pytest.raises(QuantError, match="^" + re.escape(message)):
        integer_network(quantised.eval(), example[:1], name="odd")


def test_a_relu6_is_the_end_of_its_range(pixels: ImageSet) -> None:
    inputs = torch.from_numpy(pixels.images)[:, None] / 255
    torch.manual_seed(0)
    model = Inverted().eval()
    with torch.no_grad():
        for norm in (model.stem[1], model.expand[1], model.norm):
            assert isinstance(norm, nn.BatchNorm2d)
            norm.weight.fill_(40.0)  # so that many values are cut off
    network = trace(model, inputs[:1])
    assert network.plain
    assert sorted(network.rectified.values()) == [6, 6, 6]
    quantised = QuantNetwork(network, {layer.name: WeightMode.W8 for layer in network.layers})
    fit_activations(quantised.eval(), pixels, batches=1)
    for tensor in network.rectified:
        found = quantised.act_quantizer(tensor).range
        assert found is not None
        assert found.scale * 255 == pytest.approx(6)
    cut: dict[str, float] = {}
    model.expand.register_forward_hook(
        lambda _, __, y: cut.update(share=float((y == 6).float().mean()))
    )
    expected = model(inputs).detach()
    assert 0.05 < cut["share"] < 0.95
    found = ExactNetwork(quantised)(inputs)
    assert float((found - expected).abs().max()) < 0.1


class CutOff(nn.Module):
    """Values cut off where no quantiser stands."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3)
        self.relu = nn.ReLU6()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.last = nn.Linear(4, 3)
        self.end = nn.ReLU6()

    def forward(self, x: Tensor) -> Tensor:
        y = self.flatten(self.pool(self.relu(self.conv(x))))
        return self.end(self.last(y))  # type: ignore[no-any-return]


def test_a_relu6_that_no_range_stands_for_has_no_integer_form() -> None:
    network = trace(CutOff().eval(), torch.zeros(1, 1, SIZE, SIZE))
    assert not network.plain


def test_a_dead_tensor_is_named_as_such() -> None:
    with pytest.raises(QuantError, match=r"^scale of an input must be .* 0 on all calibration"):
        summand_multipliers(0.1, 0.2, ActRange.of(0.0, 0.0).scale)
    with pytest.raises(QuantError, match=r"^scale of an input must be"):
        requantiser(layer([[1]], [1.0], [0.0]), ActRange(scale=1.0, zero_point=0), 1e-12)


def test_export_of_no_run_is_one_line(tmp_path: Path) -> None:
    from quant.integer_check import read_integers

    with pytest.raises(
        QuantError, match=r"result.json: run must be the folder of a finished search"
    ):
        read_integers(tmp_path)
