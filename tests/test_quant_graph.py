"""Tracing and folding on small networks, against torch's own arithmetic."""

import inspect
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from hw.precision import WeightMode
from hw.schedule import GemmShape
from quant.errors import QuantError
from quant.graph import trace
from quant.models import DSCNN, ResNet8, build
from quant.quant_network import QuantNetwork, uniform_bits
from quant.quantizer import ActRange

torch.set_num_threads(1)


def randomised(model: ResNet8) -> ResNet8:
    """Give batch norms statistics and gains, some of them negative, as training would."""
    generator = torch.Generator().manual_seed(5)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            count = (module.num_features,)
            state = {
                "weight": torch.randn(count, generator=generator),
                "bias": torch.randn(count, generator=generator),
                "running_mean": torch.randn(count, generator=generator),
                "running_var": torch.rand(count, generator=generator) + 0.5,
            }
            module.load_state_dict(state, strict=False)
    return model.eval()


@pytest.fixture
def resnet() -> ResNet8:
    return randomised(ResNet8(widths=(2, 3, 4)))


@pytest.fixture
def image() -> Tensor:
    return torch.rand(3, 1, 8, 8, generator=torch.Generator().manual_seed(1))


def test_parameters_are_as_documented() -> None:
    count = {
        name: sum(p.numel() for p in build(name).parameters()) for name in ("resnet8", "dscnn")
    }
    assert count == {"resnet8": 77_754, "dscnn": 54_922}


def test_layers_and_shapes_of_a_resnet(resnet: ResNet8, image: Tensor) -> None:
    layers = {layer.name: layer for layer in trace(resnet, image).layers}
    assert list(layers) == [
        "stem",
        "block1.conv1",
        "block1.conv2",
        "block2.conv1",
        "block2.conv2",
        "block2.shortcut.0",
        "block3.conv1",
        "block3.conv2",
        "block3.shortcut.0",
        "fc",
    ]
    assert layers["stem"].shape == GemmShape(pixels=64, depth=9, outputs=2)
    assert layers["block2.conv1"].shape == GemmShape(pixels=16, depth=18, outputs=3)
    assert layers["block3.shortcut.0"].shape == GemmShape(pixels=4, depth=3, outputs=4)
    assert layers["fc"].shape == GemmShape(pixels=1, depth=4, outputs=10)


def test_depthwise_layers_are_groups(image: Tensor) -> None:
    network = trace(DSCNN(stem=4, blocks=((6, 2),)).eval(), image)
    assert network.layer("blocks.0.depthwise").shape == GemmShape(
        pixels=16, depth=9, outputs=1, groups=4
    )
    assert network.layer("blocks.0.pointwise").shape == GemmShape(pixels=16, depth=4, outputs=6)


def test_layers_that_read_the_same_tensor_share_its_quantizer(
    resnet: ResNet8, image: Tensor
) -> None:
    network = trace(resnet, image)
    assert network.layer("block2.conv1").source == network.layer("block2.shortcut.0").source
    assert network.layer("block2.conv1").source == "block1.relu2"
    assert network.layer("fc").source == "pool"
    assert network.layer("stem").source == "x"


def test_sums_are_signed_and_rectified_tensors_are_not(resnet: ResNet8, image: Tensor) -> None:
    network = trace(resnet, image)
    assert "block1.bn2" in network.sites.values()
    assert "block1.bn2" not in network.rectified
    assert "block1.relu2" in network.rectified


def test_folded_convolution_equals_convolution_and_norm(resnet: ResNet8, image: Tensor) -> None:
    network = trace(resnet, image)
    weight, bias = network.folded()["stem"]
    expected = resnet.bn(resnet.stem(image))
    torch.testing.assert_close(nn.functional.conv2d(image, weight, bias, padding=1), expected)


def test_quantised_network_without_ranges_at_8_bit_is_nearly_the_float_one(
    resnet: ResNet8, image: Tensor
) -> None:
    network = trace(resnet, image)
    quantised = QuantNetwork(network, uniform_bits(network, WeightMode.W8)).eval()
    torch.testing.assert_close(quantised(image), resnet(image), rtol=0.1, atol=0.1)


def test_integers_with_their_scale_and_bias_give_what_the_layer_computes(
    resnet: ResNet8, image: Tensor
) -> None:
    network = trace(resnet, image)
    quantised = QuantNetwork(network, uniform_bits(network, WeightMode.W2)).eval()
    stem = quantised.layer("stem")
    values = stem.integers()
    assert values.weight.min() >= WeightMode.W2.min
    assert values.weight.max() <= WeightMode.W2.max
    assert (values.scale > 0).all()
    sums = nn.functional.conv2d(image, torch.from_numpy(values.weight).float(), padding=1)
    scale, bias = torch.from_numpy(values.scale), torch.from_numpy(values.bias)
    rebuilt = sums * scale[:, None, None] + bias[:, None, None]
    torch.testing.assert_close(rebuilt, stem(image), rtol=1e-4, atol=1e-4)


def test_bias_integers_are_in_units_of_the_accumulator(resnet: ResNet8, image: Tensor) -> None:
    network = trace(resnet, image)
    values = QuantNetwork(network, uniform_bits(network, WeightMode.W4)).layer("fc").integers()
    expected = [int((b / (s * 0.25)) // 1) for b, s in zip(values.bias, values.scale, strict=True)]
    found = values.bias_integers(0.25).tolist()
    assert all(f - e in (0, 1) for f, e in zip(found, expected, strict=True))


def test_snapshot_brings_back_weights_ranges_and_bits(resnet: ResNet8, image: Tensor) -> None:
    network = trace(resnet, image)
    quantised = QuantNetwork(network, uniform_bits(network, WeightMode.W4)).eval()
    for name in quantised.act_quantizers:
        quantised.act_quantizer(name).range = ActRange.of(-2.0, 2.0)
    before, snapshot = quantised(image), quantised.snapshot()
    quantised.set_bits(uniform_bits(network, WeightMode.W2))
    quantised.act_quantizer("pool").range = ActRange.of(-0.1, 0.1)
    with torch.no_grad():
        quantised.layer("stem").layer.weight.zero_()
    assert not torch.equal(quantised(image), before)
    quantised.restore(snapshot)
    assert torch.equal(quantised(image), before)


class Inner(nn.Module):
    def forward(self, x: Tensor) -> Any:
        return x if x.sum() > 0 else -x


class Branching(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = Inner()

    def forward(self, x: Tensor) -> Any:
        return self.inner(x)


LINE = inspect.getsourcelines(Inner.forward)[1] + 1


@pytest.mark.parametrize(
    ("model", "text"),
    [
        (
            Branching(),
            "inner: must be traceable by torch.fx, not: symbolically traced variables cannot be "
            f"used as inputs to control flow (test_quant_graph.py, line {LINE}: return x if "
            "x.sum() > 0 else -x, after node gt); take control flow that depends on data out of "
            "forward()",
        ),
        (nn.Sequential(nn.ReLU()), "network must have a Conv2d or Linear layer, not none"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_networks_that_cannot_be_traced_are_refused_by_module_line_and_node(
    model: nn.Module, text: str, image: Tensor
) -> None:
    with pytest.raises(QuantError) as caught:
        trace(model, image)
    assert str(caught.value) == text
