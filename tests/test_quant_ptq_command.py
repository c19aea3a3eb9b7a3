"""`python -m quant.ptq`: files, resumption, refusals."""

import gzip
import importlib
import json
import struct
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import typer
from rich.console import Console
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from quant.catalogue import MODELS
from quant.errors import QuantError
from quant.factory import build_own
from quant.graph import trace
from quant.integer_check import check, read_integers
from quant.journal import Entry, Journal
from quant.models import build
from quant.ptq.__main__ import main
from quant.ptq.folded import FoldedNetwork
from quant.ptq.options import Options
from quant.ptq.report import summary
from quant.ptq.result import weights_of
from quant.ptq.run import Outcome, quantised
from quant.ptq.stored import rebuilt

torch.set_num_threads(1)

NETWORK = """
import torch
from torch import nn

class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 8, 3, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(8)
        self.relu = nn.ReLU()
        self.depthwise = nn.Conv2d(8, 8, 3, stride=2, padding=1, groups=8, bias=False)
        self.bn2 = nn.BatchNorm2d(8)
        self.relu2 = nn.ReLU()
        self.flatten = nn.Flatten()
        self.fc = nn.Linear(128, 10)

    def forward(self, x):
        y = self.relu(self.bn(self.conv(x)))
        return self.fc(self.flatten(self.relu2(self.bn2(self.depthwise(y)))))

def small():
    model = Small()
    with torch.no_grad():
        model.bn.weight[3] = -0.7
        model.bn2.weight[5] = -1.2
    return model
"""


LAYERS = ("conv", "depthwise", "fc")


app = typer.Typer()


app.command()(main)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Digits, and a network of the user's own, in the folder that the command is started in."""
    from sklearn.datasets import load_digits

    (tmp_path / "data").mkdir()
    bunch = load_digits()
    images = np.asarray(bunch.images * 255 / 16, dtype=np.uint8)
    labels = np.asarray(bunch.target, dtype=np.uint8)
    for part, chosen in (("train", slice(0, 300)), ("t10k", slice(300, 400))):
        for kind, array in (("images-idx3", images[chosen]), ("labels-idx1", labels[chosen])):
            head = struct.pack(f">I{array.ndim}I", 0x0800 + array.ndim, *array.shape)
            (tmp_path / "data" / f"{part}-{kind}-ubyte.gz").write_bytes(
                gzip.compress(head + array.tobytes())
            )
    (tmp_path / "small_net.py").write_text(NETWORK)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["ptq"])
    return tmp_path


def start(*options: str) -> tuple[int, str]:
    """Run the command; returns its exit status and what it printed on stderr."""
    found = CliRunner().invoke(app, options)
    if found.exception is not None and not isinstance(found.exception, SystemExit):
        raise found.exception
    return found.exit_code, found.stderr


def run(*options: str) -> dict[str, Any]:
    given = ["--model", "small_net:small", "--data", "data", "--out", "run", "--calibration", "64"]
    status, told = start(*given, *options)
    assert status == 0, told
    return dict(json.loads(Path("run/result.json").read_text()))


def test_a_run_tells_every_layer_and_its_integers_are_those_of_the_array(folder: Path) -> None:
    result = run("--bits", "4")
    assert result["allocation"] == dict.fromkeys(LAYERS, 4)
    assert [layer["name"] for layer in result["layers"]] == list(LAYERS)
    assert all(layer["error"] <= layer["nearest_error"] for layer in result["layers"])
    assert result["data"]["images"] == {"train": 250, "calibration": 64, "test": 100}
    assert result["accuracy_of_integers"]
    assert result["packed_bytes"] == (72 + 72 + 1280) // 2 + 8 * (8 + 8 + 10)
    assert result["integer_network"]["packed_bytes"] == result["packed_bytes"]
    assert result["array_packed_bytes"] == result["packed_bytes"]
    assert result["relative_size"] == 0.5
    check(Path("run"), None, Console(quiet=True))  # golden model = torch, and the accuracy
    assert not Path("run/state").exists()
    stored = load_file("run/quantised.safetensors")
    assert sorted(stored) == sorted(
        f"{name}.{kind}" for name in LAYERS for kind in ("weight", "scale", "zero_point", "bits")
    )


def test_three_bits_run_on_the_array_as_four(folder: Path) -> None:
    Path("bits.json").write_text('{"conv": 8, "depthwise": 3, "fc": 2}')
    result = run("--map", "bits.json")
    assert result["allocation"] == {"conv": 8, "depthwise": 3, "fc": 2}
    assert result["packed_bytes"] == 72 + 27 + 320 + 8 * 26
    assert result["array_packed_bytes"] == 72 + 36 + 320 + 8 * 26
    assert result["integer_network"]["packed_bytes"] == result["array_packed_bytes"]
    assert summary(result, Path("run"))[2] == (
        "636 bytes as the array packs them, weights of 3 bit as 4"
    )
    network = read_integers(Path("run"))
    assert {c.name: c.weight_bits for c in network.graph.convs} == {
        "conv": 8,
        "depthwise": 4,
        "fc": 2,
    }
    assert abs(network.layers["depthwise"].weight).max() <= 4
    check(Path("run"), None, Console(quiet=True))
    again = run("--map", "run/result.json")
    assert again["accuracy"] == result["accuracy"]


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (
            ("--scheme", "per-layer-asymmetric"),
            "weights are per-layer asymmetric; the array takes per-channel symmetric ones",
        ),
        (("--act-bits", "float", "--bits", "3"), "activations are in float"),
        (("--act-bits", "5", "--bias-correction"), "activations have 5 bit"),
    ],
    ids=["asymmetric", "weights-only", "five-bit"],
)
def test_what_the_array_cannot_run_is_told(
    folder: Path, options: tuple[str, ...], reason: str
) -> None:
    result = run(*options)
    assert result["integer_network"] == {"folder": None, "reason": reason}
    assert not result["accuracy_of_integers"]
    assert not Path("run/integer").exists()


@pytest.mark.parametrize(
    "options",
    [
        ("--scheme", "per-channel-asymmetric"),
        ("--scheme", "per-layer-asymmetric", "--bits", "8", "--act-bits", "6"),
        ("--act-bits", "5", "--norms", "kept", "--bias-correction"),
    ],
    ids=["per-channel", "per-layer", "five-bit"],
)
def test_a_stored_network_of_any_scheme_gives_the_logits_of_the_run(
    folder: Path, options: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    outcomes: list[Outcome] = []

    def noted(*given: Any) -> Outcome:
        outcomes.append(quantised(*given))
        return outcomes[-1]

    monkeypatch.setattr("quant.ptq.run.quantised", noted)
    run(*options)
    module = outcomes[0].frame.module
    assert isinstance(module, FoldedNetwork)
    stored = load_file("run/quantised.safetensors")
    torch.manual_seed(1)
    images = torch.randint(0, 256, (20, 1, 8, 8)) / 255
    plain = build_own("small_net:small")
    for parameter in plain.parameters():
        parameter.data.normal_()  # only the operations are taken from it
    found = rebuilt(trace(plain.eval(), images[:1]), stored)
    with torch.no_grad():
        assert torch.equal(found(images), module(images))
    del stored["fc.gain"]
    with pytest.raises(QuantError) as error:
        rebuilt(trace(plain, images[:1]), stored)
    assert str(error.value) == (
        "tensors must be those of a scheme that the array does not run, not without 'fc.gain'"
    )


@pytest.mark.parametrize(
    ("options", "path"),
    [
        (Options(model="net.onnx"), Path("net.onnx")),
        (Options(model="net:make"), None),
        (Options(model="net:make", weights=Path("a.pt")), Path("a.pt")),
    ],
    ids=["onnx", "factory", "file"],
)
def test_the_file_of_the_weights_is_told(options: Options, path: Path | None) -> None:
    assert weights_of(options) == path


def test_no_integer_network_of_an_earlier_run_is_left(folder: Path) -> None:
    run()
    assert Path("run/integer").is_dir()
    assert Path("run/network.safetensors").is_file()
    run("--scheme", "per-channel-asymmetric")
    assert not Path("run/integer").exists()
    assert not Path("run/network.safetensors").exists()


@pytest.mark.parametrize(
    "options",
    [(), ("--sequential",), ("--sequential", "--scheme", "per-channel-asymmetric")],
    ids=["together", "sequential", "sequential-asymmetric"],
)
def test_a_stopped_run_goes_on_to_the_identical_result(
    folder: Path, options: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = run("--bits", "2", *options)
    tensors = load_file("run/quantised.safetensors")
    write, count = Journal.write, 0

    def stopping(self: Journal, name: str, asked: Mapping[str, Any], entry: Entry) -> None:
        nonlocal count
        count += 1
        if count % 3 == 0:
            raise KeyboardInterrupt
        write(self, name, asked, entry)

    monkeypatch.setattr(Journal, "write", stopping)
    given = [
        "--model",
        "small_net:small",
        "--data",
        "data",
        "--out",
        "other",
        "--calibration",
        "64",
    ]
    status, told = start(*given, "--bits", "2", *options)
    stops = 0
    while status == 130:
        stops += 1
        assert told.endswith(
            "stopped; layers that are done are kept: go on with "
            "`python -m quant.ptq --resume other`\n"
        )
        status, told = start("--resume", "other")
    assert status == 0, told
    assert stops >= 1
    found = json.loads(Path("other/result.json").read_text())
    for result in (found, expected):
        for layer in result["layers"]:
            del layer["seconds"]
    assert found == expected
    others = load_file("other/quantised.safetensors")
    assert all(others[name].equal(tensors[name]) for name in tensors)


def stop_at(step: str, monkeypatch: pytest.MonkeyPatch, *options: str) -> None:
    """Start a run that Ctrl-C stops before it writes a step, in the folder `other`."""
    write = Journal.write

    def stopping(self: Journal, name: str, asked: Mapping[str, Any], entry: Entry) -> None:
        if name == step:
            raise KeyboardInterrupt
        write(self, name, asked, entry)

    with monkeypatch.context() as patched:
        patched.setattr(Journal, "write", stopping)
        given = ("--model", "small_net:small", "--data", "data", "--out", "other")
        assert start(*given, "--calibration", "64", *options)[0] == 130


OTHER_STEP = (
    "other/state/{}.safetensors: must be a step of this very search, not of another one or of "
    "another version; delete the folder and start anew\n"
)


def test_a_run_does_not_go_on_with_other_weights(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop_at("layer-fc", monkeypatch)
    sys.modules.pop("small_net")
    Path("small_net.py").write_text(NETWORK.replace("-1.2", "-1.25"))
    importlib.invalidate_caches()
    assert start("--resume", "other") == (2, OTHER_STEP.format("layer-conv"))
    sys.modules.pop("small_net")


def test_a_run_does_not_end_with_the_accuracy_of_other_test_images(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("quant.ptq.result.write_results", stopped)
    given = ("--model", "small_net:small", "--data", "data", "--out", "other")
    assert start(*given, "--calibration", "64")[0] == 130
    path = Path("data/t10k-labels-idx1-ubyte.gz")
    content = bytearray(gzip.decompress(path.read_bytes()))
    content[-1] = (content[-1] + 1) % 10
    path.write_bytes(gzip.compress(bytes(content)))
    assert start("--resume", "other") == (2, "test images\n" + OTHER_STEP.format("test"))


def stopped(*_: Any, **__: Any) -> None:
    raise KeyboardInterrupt


def test_a_run_does_not_go_on_without_its_map(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("bits.json").write_text(json.dumps(dict.fromkeys(LAYERS, 4)))
    stop_at("layer-conv", monkeypatch, "--map", "bits.json")
    Path("bits.json").unlink()
    line = (
        "bits.json: must be there, as when the run began, not missing; resume in the same folder "
        "as then\n"
    )
    assert start("--resume", "other") == (2, line)


def test_help_names_every_network() -> None:
    shown = CliRunner().invoke(app, ["--help"], env={"COLUMNS": "200"}, color=False).stdout
    text = " ".join(shown.replace("│", " ").split())
    assert f"{', '.join(MODELS)}, module:factory of your own, or FILE.onnx" in text


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (("--bits", "5"), "bits must be one of 2, 3, 4, 6, 8, not 5"),
        (
            ("--calibration", "1"),
            "calibration must be at least 2 images, not 1: no variance can be told from one; "
            "512 are usual",
        ),
        (
            ("--method", "best"),
            "method must be one of nearest, gptq, act-order, sensitivity, obq, adaround, not best",
        ),
        (("--seed", "-1"), "seed must be from 0 to 4294967295, not -1"),
        (
            ("--weights", "none.pt"),
            "none.pt: weights must be a file, and there is none of this name",
        ),
        (("--act-bits", "9"), "act-bits must be from 2 to 8, or float, not 9"),
        (
            ("--scheme", "odd"),
            "scheme must be one of per-layer-asymmetric, per-channel-symmetric, "
            "per-channel-asymmetric, not odd",
        ),
        (
            ("--model", "vgg:"),
            "model must be one of {known}, or module:factory, or FILE.onnx, not vgg:",
        ),
        (
            ("--map", "none.json"),
            "none.json: map must be readable, not: No such file or directory",
        ),
        (
            ("--resume", "none"),
            "none/state/request.json: must be there to resume a run, not missing; a finished one "
            "has no state",
        ),
        (
            ("--resume", "none", "--bits", "4"),
            "resume must come alone, since it takes all options of the run, not with --bits",
        ),
    ],
    ids=lambda value: "-".join(value).strip("-") if isinstance(value, tuple) else "",
)
def test_a_wrong_option_is_refused_in_one_line(
    folder: Path, options: tuple[str, ...], line: str
) -> None:
    fixed = () if "--resume" in options else ("--data", "data")
    status, told = start(*fixed, *options)
    assert (status, told) == (2, line.replace("{known}", ", ".join(MODELS)) + "\n")


def test_a_map_of_other_layers_is_refused(folder: Path) -> None:
    given = ("--model", "small_net:small", "--data", "data", "--out", "run", "--map", "bits.json")
    for content, line in (
        ('{"conv": 4}', "map must have every layer, not leave out or add depthwise, fc"),
        ('{"conv": 5}', "bits of conv must be one of 2, 3, 4, 6, 8, not 5"),
        (
            '{"conv": 4, "depthwise": 4, "fc": 4, "more": 4}',
            "map must have the network's layers only, not leave out or add more",
        ),
    ):
        Path("bits.json").write_text(content)
        assert start(*given) == (2, f"bits.json: {line}\n")


def test_weights_that_are_nan_are_refused(folder: Path) -> None:
    sys.modules.pop("small_net", None)
    state = {k: v.contiguous() for k, v in build("resnet8").state_dict().items()}
    state["block1.conv1.weight"][0, 0, 0, 0] = float("nan")
    save_file(state, "nan.safetensors")
    status, told = start("--data", "data", "--weights", "nan.safetensors", "--out", "run")
    assert status == 2
    assert told == (
        "block1.conv1.weight: weights must be finite, not infinite or NaN; take a network whose "
        "training did not diverge\n"
    )


@pytest.mark.parametrize("scheme", ["per-channel-symmetric", "per-channel-asymmetric"])
def test_the_narrow_range_leaves_the_most_negative_integer_out(folder: Path, scheme: str) -> None:
    result = run("--bits", "2", "--scheme", scheme, "--range", "narrow")
    assert result["recipe"]["narrow"] is True
    tensors = load_file("run/quantised.safetensors")
    assert min(int(tensors[f"{name}.weight"].min()) for name in LAYERS) == -1


def test_a_layer_of_one_step_has_one_step_and_one_zero_point(folder: Path) -> None:
    run("--bits", "3", "--scheme", "per-layer-asymmetric")
    tensors = load_file("run/quantised.safetensors")
    for name in LAYERS:
        assert len(set(tensors[f"{name}.scale"].tolist())) == 1
        assert len(set(tensors[f"{name}.zero_point"].tolist())) == 1
