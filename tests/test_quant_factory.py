"""Networks of one's own on the command line: any factory, traced or not, its weights, bad input."""

import gzip
import json
import struct
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from sklearn.datasets import load_digits
from typer import Typer
from typer.testing import CliRunner, Result

from quant.catalogue import is_factory
from quant.factory import build_own
from quant.files import save_tensors
from quant.search import main

torch.set_num_threads(1)

UNPU = Path(__file__).parent.parent / "docs" / "examples" / "unpu.json"
CODE = """
import torch
from torch import nn
from torch.nn import functional as F

class Traced(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 8, 3, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(8)
        self.a, self.b = nn.Linear(8, 16), nn.Linear(16, 10)

    def forward(self, x):
        y = F.relu6(self.bn(self.conv(x)))
        return self.b(F.silu(self.a(y.mean((2, 3)))))

class Branching(Traced):
    def forward(self, x):
        return super().forward(x * 2 if x.mean() > 2 else x)

class Maps(Traced):
    def forward(self, x):
        return self.conv(x)

class Deep(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Flatten(), nn.Linear(64, 20000), nn.Linear(20000, 10))

def nothing():
    return 5

def broken():
    return Traced().missing
"""


def idx(array: NDArray[np.uint8]) -> bytes:
    head = struct.pack(">I", 0x0800 + array.ndim) + struct.pack(f">{array.ndim}I", *array.shape)
    return head + array.tobytes()


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("digits")
    bunch = load_digits()
    images = np.asarray(bunch.images * 255 / 16, dtype=np.uint8)
    labels = np.asarray(bunch.target, dtype=np.uint8)
    for part, chosen in (("train", slice(0, 600)), ("t10k", slice(600, 900))):
        (folder / f"{part}-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(images[chosen])))
        (folder / f"{part}-labels-idx1-ubyte").write_bytes(idx(labels[chosen]))
    return folder


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Work in a folder that has the user's code, and forget it afterwards."""
    (tmp_path / "ownnets.py").write_text(CODE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield tmp_path
    sys.modules.pop("ownnets", None)


def search(*options: str) -> Result:
    app = Typer()
    app.command()(main)
    return CliRunner().invoke(app, options, catch_exceptions=False)


def asked(data: Path, model: str, out: Path, *more: str) -> list[str]:
    values = {"--model": model, "--data": data, "--cost-table": UNPU, "--out": out}
    limits = ["--max-drop", "0.9", "--max-size", "0.9", "--workers", "0", "--qat-steps", "4"]
    return [*(str(part) for pair in values.items() for part in pair), *limits, *more]


@pytest.mark.parametrize("name", ["Traced", "Branching"])
def test_a_search_of_ones_own_network(name: str, here: Path, data: Path) -> None:
    found = search(*asked(data, f"ownnets:{name}", here / "out", "--method", "auto"))
    assert found.exit_code == 0, found.output
    result = json.loads((here / "out" / "result.json").read_text())
    assert list(result["allocation"]) == ["conv", "a", "b"]
    assert result["provenance"]["weights"] == {}
    gaps = [gap["gap"] for gap in result["gaps"]]
    if name == "Traced":
        assert gaps == ["off the array"]
        assert result["gaps"][0]["place"] == "silu"
    else:
        assert gaps == ["not traced", "off the array"]
        assert "ownnets.py, line 19: return super().forward(x * 2" in result["gaps"][0]["text"]
    assert "not traced: network: " in found.output or name == "Traced"
    tensors = load_file(here / "out" / "quantised.safetensors")
    assert tensors["conv.weight"].shape == (8, 1, 3, 3)
    assert tensors["conv.bias_integer"].shape == (8,)


def test_every_process_builds_the_same_network(here: Path) -> None:
    first, second = build_own("ownnets:Traced"), build_own("ownnets:Traced")
    pairs = zip(first.parameters(), second.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("suffix", ["safetensors", "pt"])
def test_weights_come_from_a_file(suffix: str, nested: bool, here: Path, data: Path) -> None:
    state = build_own("ownnets:Traced").state_dict()
    state = {name: value + 1 for name, value in state.items()}
    path = here / f"weights.{suffix}"
    if suffix == "safetensors":
        save_tensors(state, path, metadata={"who": "me"})
    else:
        torch.save({"state_dict": state} if nested else state, path)
    more = ["--ptq-only", "--method", "uniform", "--weights", str(path)]
    assert search(*asked(data, "ownnets:Traced", here / "out", *more)).exit_code == 0
    kept = load_file(here / "out" / "float.safetensors")
    assert torch.equal(kept["a.weight"], state["a.weight"])
    about = json.loads((here / "out" / "result.json").read_text())["provenance"]["weights"]
    assert len(about["sha256"]) == 64
    assert about.get("who") == ("me" if suffix == "safetensors" else None)


class Code:
    """Would run when unpickled."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return print, ("ran",)


def test_a_checkpoint_that_would_run_code_is_refused(here: Path, data: Path) -> None:
    path = here / "weights.pt"
    torch.save({"state_dict": Code()}, path)
    found = search(*asked(data, "ownnets:Traced", here / "out", "--weights", str(path)))
    assert found.exit_code == 2
    assert "ran" not in found.stdout
    assert found.stderr.startswith(f"{path}: weights must be a safetensors file or a checkpoint")
    assert found.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("model", "text"),
    [
        (
            "ownnets",
            "model must be one of resnet8, dscnn, efficientnet-lite0, mobilenet-v2, "
            "or module:factory, not ownnets",
        ),
        (
            "own nets:x",
            "model must be one of resnet8, dscnn, efficientnet-lite0, mobilenet-v2, "
            "or module:factory, not own nets:x",
        ),
        (
            "nowhere:Net",
            "model nowhere:Net must be importable and callable, not: ModuleNotFoundError: No "
            "module named 'nowhere' (",
        ),
        (
            "ownnets:Absent",
            "model ownnets:Absent must be importable and callable, not: AttributeError: module "
            "'ownnets' has no attribute 'Absent' (",
        ),
        (
            "ownnets:broken",
            "model ownnets:broken must be importable and callable, not: AttributeError: 'Traced' "
            "object has no attribute 'missing' (ownnets.py, line 33: return Traced().missing)",
        ),
        ("ownnets:nothing", "model ownnets:nothing must return an nn.Module, not a int"),
        (
            "ownnets:Maps",
            "network must map (8, 1, 8, 8) to logits (8, 10 or more), not (8, 8, 8, 8)",
        ),
    ],
)
def test_a_wrong_network_is_told_in_one_line(model: str, text: str, here: Path, data: Path) -> None:
    found = search(*asked(data, model, here / "out"))
    assert found.exit_code == 2
    assert found.stderr.startswith(text)
    assert found.stderr.count("\n") == 1


def test_a_layer_that_does_not_fit_the_array_is_named(here: Path, data: Path) -> None:
    default = UNPU.parent.parent.parent / "synth" / "tables" / "nangate45-default.json"
    options = asked(data, "ownnets:Deep", here / "out")
    options[options.index(str(UNPU))] = str(default)
    found = search(*options)
    assert found.exit_code == 2
    assert found.stderr.startswith("2: depth must be at most max_depth = ")
    assert found.stderr.endswith("; take the cost table of an array made for it\n")


def test_what_a_factory_is_called() -> None:
    assert is_factory("a.b:c")
    assert not any(map(is_factory, ["resnet8", ":c", "a:", "a:b:c", "a b:c", "a..b:c"]))
