"""Networks of torchvision and timm by name, with packages that stand in for both."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from quant.capture import capture
from quant.catalogue import check_model, file_name
from quant.errors import QuantError
from quant.files import save_tensors
from quant.models import build, load

torch.set_num_threads(1)

NETWORK = """
from torch import nn

class Tiny(nn.Sequential):
    def __init__(self, classes):
        super().__init__(
            nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4), nn.ReLU(),
            nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, classes),
        )
"""
TORCHVISION = """
import sys
from standin import Tiny

def list_models(module=None):
    assert module is sys.modules[__name__]
    return ["mobilenet_v2", "resnet18", "resnet50"]

def get_model(name, weights="DEFAULT", num_classes=1000):
    assert weights is None, "would download"
    if name == "resnet50":
        raise ValueError("too large")
    return Tiny(num_classes)
"""
TIMM = """
from standin import Tiny

def list_models():
    return ["mobilenetv3_small_100", "resnet18"]

def create_model(name, pretrained=True, num_classes=1000):
    assert not pretrained, "would download"
    made = Tiny(num_classes)
    made.pretrained_cfg = {"mean": (0.5, 0.5, 0.5), "std": (0.25, 0.25, 0.25)}
    return made
"""


@pytest.fixture
def collections(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Packages in the place of the real ones, even where these are installed."""
    names = ("torchvision", "torchvision.models", "timm", "standin")
    for name in names:
        monkeypatch.delitem(sys.modules, name, raising=False)
    for package, files in {
        "torchvision": {"__init__.py": "", "models.py": TORCHVISION},
        "timm": {"__init__.py": TIMM},
    }.items():
        (tmp_path / package).mkdir()
        for file, text in files.items():
            (tmp_path / package / file).write_text(text)
    (tmp_path / "standin.py").write_text(NETWORK)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    for name in names:
        sys.modules.pop(name, None)


def error_of(action: Callable[[], object]) -> str:
    with pytest.raises(QuantError) as caught:
        action()
    return str(caught.value)


@pytest.mark.parametrize(
    ("name", "classes", "mean", "deviation"),
    [
        ("torchvision:resnet18", 1000, 0.485, 0.229),
        ("torchvision:resnet18:7", 7, 0.485, 0.229),
        ("timm:mobilenetv3_small_100.lamb_in1k:5", 5, 0.5, 0.25),
    ],
)
def test_weights_of_the_collection_behind_its_normalisation(
    name: str, classes: int, mean: float, deviation: float, collections: Path
) -> None:
    check_model(name)
    model = build(name, seed=1).eval()
    state = model.state_dict()
    assert all(key.startswith("network.") for key in state)
    theirs = {key.removeprefix("network."): tensor + 1 for key, tensor in state.items()}
    path = collections / "theirs.pt"
    torch.save(theirs, path)
    loaded, _ = load(name, path)
    red = torch.full((1, 3, 8, 8), 0.75)
    assert loaded(red).shape == (1, classes)
    normalised = loaded.normalise(red)  # type: ignore[operator]
    assert float(normalised[0, 0, 0, 0]) == pytest.approx((0.75 - mean) / deviation)
    torch.testing.assert_close(loaded(red), loaded.network(normalised))  # type: ignore[operator]
    ours = collections / "ours.safetensors"
    save_tensors(loaded.state_dict(), ours, metadata={})
    assert torch.equal(load(name, ours)[0](red), loaded(red))
    layers = [layer.name for layer in capture(loaded, red).layers]
    assert layers == ["network.0", "network.5"]
    assert ":" not in file_name(name)


def test_the_seed_draws_the_weights(collections: Path) -> None:
    assert collections
    first, again, other = (build("torchvision:resnet18", seed=seed) for seed in (0, 0, 1))
    a, b, c = (m.state_dict()["network.0.weight"] for m in (first, again, other))
    assert torch.equal(a, b)
    assert not torch.equal(a, c)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (
            "torchvision:resnet81",
            "model torchvision:resnet81 must be a classifier of torchvision, and there is no "
            "resnet81; the nearest is torchvision:resnet18",
        ),
        (
            "timm:mobilenet_v3_small",
            "model timm:mobilenet_v3_small must be a classifier of timm, and there is no "
            "mobilenet_v3_small; the nearest is timm:mobilenetv3_small_100",
        ),
        (
            "torchvision:resnet18:ten",
            "model torchvision:resnet18:ten must end with its number of classes, not 'ten'",
        ),
        (
            "torchvision:resnet50",
            "model torchvision:resnet50 must be built without weights, not: ValueError: too large",
        ),
        (
            "torchvision:resnet18",
            "model torchvision:resnet18 must come with --weights FILE, since nothing is "
            "downloaded, not without; save its state_dict(), or train it: python -m quant.train "
            "--model torchvision:resnet18 --out FILE",
        ),
    ],
)
def test_names_that_are_none(name: str, text: str, collections: Path) -> None:
    assert collections
    assert error_of(lambda: load(name)) == text


def test_weights_of_other_classes(collections: Path) -> None:
    path = collections / "w.safetensors"
    save_tensors(build("torchvision:resnet18:10").state_dict(), path, metadata={})
    assert error_of(lambda: load("torchvision:resnet18", path)) == (
        f"{path}: weights must fit torchvision:resnet18, not: size mismatch for network.5.weight: "
        "copying a param with shape torch.Size([10, 4]) from checkpoint, the shape in current "
        "model is torch.Size([1000, 4])."
    )


@pytest.mark.parametrize("package", ["timm", "torchvision"])
def test_a_collection_that_is_not_installed(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    name = f"{package}:resnet18"
    assert error_of(lambda: check_model(name)) == (
        f"model {name} must come with {package} installed, and it is not; run `pip install "
        f"{package}`, or give module:factory"
    )


def test_a_search_takes_such_a_name(collections: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from typer import Typer
    from typer.testing import CliRunner

    from quant.search import main

    monkeypatch.chdir(collections)
    name = "torchvision:resnet18:4"
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (144, 12, 12, 3), dtype=np.uint8)
    labels = np.arange(144) % 4
    parts = {"x_train": images, "y_train": labels, "x_test": images[:20], "y_test": labels[:20]}
    np.savez("data.npz", **parts)  # type: ignore[arg-type]
    save_tensors(build(name).state_dict(), Path("w.safetensors"), metadata={})
    table = Path(__file__).parent.parent / "docs" / "examples" / "unpu.json"
    limits = "--max-drop 0.9 --max-size 0.9 --workers 0 --ptq-only --method uniform --out run"
    options = f"--model {name} --data data.npz --weights w.safetensors {limits}".split()
    app = Typer()
    app.command()(main)
    found = CliRunner().invoke(app, [*options, "--cost-table", str(table)], catch_exceptions=False)
    assert found.exit_code == 0, found.output
    assert Path("run/result.json").is_file()
