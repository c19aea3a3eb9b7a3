"""A MobileNet-like network that the project has never seen, on the layout of CIFAR-10."""

import json
import shutil
import sys
from collections.abc import Iterator
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from typer import Typer
from typer.testing import CliRunner, Result

import quant.export
import quant.report.__main__
import quant.search
import quant.train
from quant.data import ImageSet
from quant.evaluate import accuracy
from quant.factory import load_own
from quant.sources import open_data

torch.set_num_threads(1)

EXAMPLES = Path(__file__).parent.parent / "docs" / "examples"
UNPU = EXAMPLES / "unpu.json"
EXAMPLE = EXAMPLES / "mobile_cifar.py"
CODE = """
from torch import nn

def block(inputs, outputs, stride):
    return nn.Sequential(
        nn.Conv2d(inputs, inputs, 3, stride, 1, groups=inputs, bias=False),
        nn.BatchNorm2d(inputs), nn.ReLU(),
        nn.Conv2d(inputs, outputs, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(),
    )

class Mobile(nn.Module):
    def __init__(self, classes=10, channels=3):
        super().__init__()
        stem = nn.Conv2d(channels, 8, 3, 2, 1, bias=False)
        self.stem = nn.Sequential(stem, nn.BatchNorm2d(8), nn.ReLU())
        self.down, self.stay = block(8, 16, 2), block(16, 16, 1)
        self.pool, self.flatten = nn.AdaptiveAvgPool2d(1), nn.Flatten()
        self.fc = nn.Linear(16, classes)

    def forward(self, x):
        y = self.down(self.stem(x))
        return self.fc(self.flatten(self.pool(y + self.stay(y))))

def five():
    return Mobile(classes=5)

def grey():
    return Mobile(channels=1)

def tall():
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * 28 * 28, 10))
"""


def learnable(count: int, seed: int) -> bytes:
    """Records of CIFAR-10: noise around one colour a class."""
    random = np.random.default_rng(seed)
    colours = np.random.default_rng(1).integers(40, 216, (10, 3))
    labels = random.integers(0, 10, count)
    pixels = colours[labels][:, :, None] + random.normal(0, 12, (count, 3, 1024))
    records = np.concatenate([labels[:, None], pixels.clip(0, 255).reshape(count, -1)], axis=1)
    return records.astype(np.uint8).tobytes()


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cifar") / "cifar-10-batches-bin"
    folder.mkdir()
    for number in range(1, 6):
        (folder / f"data_batch_{number}.bin").write_bytes(learnable(192, number))
    (folder / "test_batch.bin").write_bytes(learnable(100, 9))
    return folder


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    (tmp_path / "mynets.py").write_text(CODE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield tmp_path
    sys.modules.pop("mynets", None)
    sys.modules.pop("mobile_cifar", None)


def call(module: object, *options: object) -> Result:
    app = Typer()
    app.command()(module.main)  # type: ignore[attr-defined]
    return CliRunner().invoke(app, [str(option) for option in options], catch_exceptions=False)


def example() -> ModuleType:
    """The module that docs/own-network.md tells of."""
    spec = spec_from_file_location("mobile_cifar", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    found = module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


def test_the_documented_commands_end_in_integers(here: Path) -> None:
    shutil.copy(EXAMPLE, here)
    data = here / "cifar-10-batches-bin"
    example().write(data, train=192, test=100)
    name = "mobile_cifar:mobile"
    model, weights = ["--model", name, "--data", data], here / "mobile.safetensors"
    found = call(quant.train, *model, "--epochs", 8, "--out", weights)
    assert found.exit_code == 0, found.output
    network, about = load_own(name, weights)
    test = open_data(data, name).test
    assert isinstance(test, ImageSet)
    before = accuracy(network, test)
    assert before > 0.5  # chance is 0.1
    assert f"{before:.4f}" == about["test_accuracy"]
    assert about["command"].endswith(f"--data {data}")

    limits = ["--max-drop", 0.2, "--max-size", 0.8, "--workers", 0, "--cost-table", UNPU]
    options = ["--weights", weights, "--ptq-only", "--no-uniform", "--out", here / "run"]
    found = call(quant.search, *model, *limits, *options)
    assert found.exit_code == 0, found.output
    result = json.loads((here / "run" / "result.json").read_text())
    assert len(result["allocation"]) == 14
    assert result["accuracy"]["float"] == before
    assert result["accuracy"]["searched"] >= before - 0.2
    assert result["data"]["folder"] == str(data)
    assert len(result["provenance"]["data_sha256"]) == 6
    kept = load_file(here / "run" / "float.safetensors")
    assert torch.equal(kept["0.weight"], network.state_dict()["0.weight"])

    found = call(quant.report.__main__, here / "run")
    assert found.exit_code == 0, found.output
    assert name in (here / "run" / "report.html").read_text()

    found = call(quant.export, here / "run", "--format", "onnx", "--out", here / "onnx", "--check")
    assert found.exit_code == 0, found.output
    told = " ".join(found.output.split())
    assert "all 1,000 logits of 100 images equal the golden model's" in told

    found = call(quant.export, here / "run", "--out", here / "integers", "--check")
    assert found.exit_code == 0, found.output
    golden = json.loads((here / "run" / "golden.json").read_text())
    assert golden["images"] == 100
    assert golden["accuracy"] == result["accuracy"]["searched"]


@pytest.mark.parametrize(
    ("model", "text"),
    [
        (
            "resnet8",
            "network must take images of 3 x 32 x 32 (channels, height, width), as DATA has, not "
            "of 1 channels; take other --data or another --model",
        ),
        (
            "mynets:grey",
            "network must take images of 3 x 32 x 32 (channels, height, width), as DATA has, not "
            "of 1 channels; take other --data or another --model",
        ),
        (
            "mynets:five",
            "network must map (EXAMPLES, 3, 32, 32) to logits (EXAMPLES, 10), not (EXAMPLES, 5): "
            "DATA has 10 classes; take other --data or another --model",
        ),
        (
            "mynets:tall",
            "network must accept an input of shape (EXAMPLES, 3, 32, 32), not: mat1 and mat2 "
            "shapes cannot be multiplied (EXAMPLESx3072 and 2352x10) (line unknown); take other "
            "--data or another --model",
        ),
    ],
)
@pytest.mark.parametrize("command", ["search", "train"])
def test_networks_that_do_not_fit(
    command: str, model: str, text: str, here: Path, data: Path
) -> None:
    module, examples = (quant.search, 8) if command == "search" else (quant.train, 2)
    options = ["--model", model, "--data", data, "--out", here / "out"]
    found = call(module, *options)
    assert found.exit_code == 2
    assert found.stderr == text.replace("DATA", str(data)).replace("EXAMPLES", str(examples)) + "\n"


def test_truncated_data_is_refused_by_the_commands(here: Path, data: Path) -> None:
    copy = here / "copy"
    copy.mkdir()
    for path in data.iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    (copy / "test_batch.bin").write_bytes(b"123")
    for module in (quant.search, quant.train):
        found = call(module, "--model", "mynets:Mobile", "--data", copy, "--out", here / "out")
        assert found.exit_code == 2
        assert found.stderr.startswith(f"{copy / 'test_batch.bin'}: length must be a multiple of")
        assert found.stderr.count("\n") == 1
