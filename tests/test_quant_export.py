"""The command `quant.export`: what it refuses, what it leaves behind, what it tells."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner, Result

import quant.export
from quant.data import default_folder
from quant.errors import QuantError
from quant.export import app
from sim import memory_images

torch.set_num_threads(1)
SHIPPED = Path(__file__).parents[1] / "sim" / "networks" / "resnet8"
IMAGES = Path(__file__).parent / "data" / "fashion-mnist-test-100.npz"
RESULT: dict[str, Any] = {
    "model": "resnet8",
    "data": {"folder": str(default_folder())},
    "accuracy": {"searched": 0.9},
    "integer_network": {"folder": "integer"},
}
FORMATS = ("integer", "onnx", "qonnx", "verilog-memh")


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Return a run's folder: a shipped integer network and a result.json."""
    shutil.copytree(SHIPPED, tmp_path / "run" / "integer")
    (tmp_path / "run" / "result.json").write_text(json.dumps(RESULT))
    return tmp_path / "run"


@pytest.fixture
def three_images(monkeypatch: pytest.MonkeyPatch) -> None:
    """Check ONNX files on three images."""
    with np.load(IMAGES) as file:
        images = file["images"][:3, ..., None]
    monkeypatch.setattr(quant.export, "checked_images", lambda run, data: images)


def invoke(*options: object) -> Result:
    return CliRunner().invoke(app, [str(option) for option in options], catch_exceptions=False)


def refused(*options: object) -> str:
    """Return the one line that a command with wrong input prints."""
    found = invoke(*options)
    assert found.exit_code == 2, found.output
    assert found.stderr.count("\n") == 1
    return found.stderr.removeprefix("quant.export: ").rstrip()


def test_memory_images_are_checked(run: Path, tmp_path: Path) -> None:
    options = (run, "--format", "verilog-memh", "--out", tmp_path / "out", "--check")
    found = invoke(*options, "--quiet")
    assert found.exit_code == 0
    assert found.stdout == (
        f"{tmp_path / 'out'}: all 79,756 integers of 30 memory images are the network's\n"
    )


def test_a_wrong_memory_image_is_found_and_not_left_behind(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_words = memory_images.write_words

    def flipped(path: Path, data: bytes, size: int) -> memory_images.MemoryFile:
        wrong = bytes([data[0] ^ 1]) + data[1:] if ".weights" in path.name else data
        return write_words(path, wrong, size)

    monkeypatch.setattr(memory_images, "write_words", flipped)
    out = tmp_path / "out"
    line = refused(run, "--format", "verilog-memh", "--out", out, "--check")
    assert line.startswith(f"{out}/00-stem.weights.memh: stem.weight[0, 0, 0, 0] must be ")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run"]
    assert invoke(run, "--format", "verilog-memh", "--out", out).exit_code == 0


@pytest.mark.parametrize("form", ["integer", "onnx"])
@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"integer_network": 3},
         "integer_network: Input should be an object, not '3'; search anew"),
        ({"integer_network": {}}, "integer_network.folder must be there, but is not; search anew"),
        ({"model": None}, "model must be there, but is not; search anew"),
        ({"data": None}, "data must be there, but is not; search anew"),
        ({"accuracy": {}}, "accuracy.searched must be there, but is not; search anew"),
    ],
)  # fmt: skip
def test_a_damaged_result_is_one_line(
    change: dict[str, Any], line: str, form: str, run: Path, tmp_path: Path
) -> None:
    result = {key: value for key, value in (RESULT | change).items() if value is not None}
    (run / "result.json").write_text(json.dumps(result))
    found = refused(run, "--format", form, "--out", tmp_path / "out", "--check")
    assert found == f"{run / 'result.json'}: {line}"
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("text", ["{", "[1]", ""])
def test_a_result_that_is_no_json_object_is_one_line(text: str, run: Path, tmp_path: Path) -> None:
    (run / "result.json").write_text(text)
    assert refused(run, "--out", tmp_path / "out").startswith(f"{run / 'result.json'}: ")


@pytest.mark.parametrize("form", ["integer", "onnx"])
def test_an_unknown_model_in_a_result_is_one_line(form: str, run: Path, tmp_path: Path) -> None:
    (run / "result.json").write_text(json.dumps(RESULT | {"model": "resnet9"}))
    line = refused(run, "--format", form, "--out", tmp_path / "out", "--check")
    assert line.startswith("model must be one of resnet8, dscnn, ")
    assert line.endswith(", not resnet9")


@pytest.mark.parametrize("form", ["integer", "verilog-memh"])
def test_an_opset_is_refused_where_there_is_none(form: str, run: Path, tmp_path: Path) -> None:
    line = refused(run, "--format", form, "--opset", 99, "--out", tmp_path / "out")
    assert line == f"opset must come with --format onnx or qonnx, not {form}"


@pytest.mark.parametrize("form", ["integer", "onnx"])
@pytest.mark.parametrize("folder", ["cifar-10-batches-bin", "cifar-100-binary#coarse", "own.npz"])
def test_data_that_are_not_here_are_asked_for(
    folder: str, form: str, run: Path, tmp_path: Path
) -> None:
    (run / "result.json").write_text(json.dumps(RESULT | {"data": {"folder": folder}}))
    options = (run, "--format", form, "--out", tmp_path / "out", "--check")
    assert refused(*options) == (
        f"{folder}: data of the run must be found from here, but are not ({run / 'result.json'} "
        "says where they were); name them with --data"
    )
    assert refused(*options, "--data", tmp_path / "none") == (
        f"{tmp_path / 'none'}: data must be those of {run}, but there is nothing there"
    )


def test_a_front_has_no_integer_network(run: Path, tmp_path: Path) -> None:
    (run / "result.json").rename(run / "front.json")
    assert refused(run, "--out", tmp_path / "out") == (
        f"{run}: run must have an integer network, but a front (front.json) has none; write bits "
        'of one of its points as {"layer": bits, ...} and search with `python -m quant.search '
        "--map FILE`"
    )


def test_all_formats_share_a_folder(run: Path, tmp_path: Path) -> None:
    out, kept = tmp_path / "out", dict[str, bytes]()
    for form in FORMATS:
        assert invoke(run, "--format", form, "--out", out).exit_code == 0
        assert {name: (out / name).read_bytes() for name in kept} == kept
        kept = {path.name: path.read_bytes() for path in out.iterdir()}
    assert {f"export-{form}.config.yaml" for form in FORMATS} <= set(kept)
    assert [file["file"] for file in json.loads(kept["export-onnx.json"])["files"]] == [
        "network-exact.onnx", "network-qdq.onnx",
    ]  # fmt: skip
    assert [file["file"] for file in json.loads(kept["export-qonnx.json"])["files"]] == [
        "network-qonnx.onnx"
    ]


@pytest.mark.usefixtures("three_images")
@pytest.mark.parametrize("there", [True, False])
@pytest.mark.parametrize("error", [QuantError("logits must be equal"), KeyboardInterrupt()])
def test_a_failed_or_stopped_check_leaves_nothing(
    error: BaseException, there: bool, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*given: object) -> str:
        raise error

    monkeypatch.setattr("quant.formats.compare.compare", fail)
    out = tmp_path / "new" / "out"
    if there:
        out.mkdir(parents=True)
    found = invoke(run, "--format", "onnx", "--out", out, "--check")
    if isinstance(error, QuantError):
        assert (found.exit_code, found.stderr) == (2, "quant.export: logits must be equal\n")
    else:
        assert found.exit_code == 130
        assert found.stderr == f"quant.export: stopped; nothing was written to {out}\n"
    assert list(out.iterdir()) == [] if there else not out.parent.exists()
    assert not list(tmp_path.rglob(".export-*"))


def test_a_file_where_the_folder_should_be_is_one_line(run: Path, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("")
    line = refused(run, "--out", tmp_path / "out")
    assert line == f"{tmp_path / 'out'}: out must be a folder, not a file"


@pytest.mark.usefixtures("three_images")
def test_quiet_tells_of_every_check_in_one_line(run: Path, tmp_path: Path) -> None:
    found = invoke(run, "--format", "onnx", "--out", tmp_path / "out", "--check", "--quiet")
    assert found.stdout == (
        f"{tmp_path / 'out/network-exact.onnx'}: all 30 logits of 3 images equal the golden "
        f"model's; {tmp_path / 'out/network-qdq.onnx'}: same class for 3 of 3 images\n"
    )


def test_quiet_tells_of_the_check_against_torch(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quant.export, "check", lambda run, data, console: "golden model = torch")
    found = invoke(run, "--out", tmp_path / "out", "--check", "--quiet")
    assert found.stdout == "golden model = torch\n"


def test_images_that_are_not_the_network_s_are_one_line(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = np.zeros((1, 32, 32, 3), np.uint8)
    monkeypatch.setattr(quant.export, "checked_images", lambda run, data: wrong)
    line = refused(run, "--format", "onnx", "--out", tmp_path / "out", "--check")
    assert line == (
        "images must be 28 x 28 x 1, as the network takes, not 32 x 32 x 3; name their data with "
        "--data"
    )
