"""Exports to ONNX and QONNX: executed by their own runtimes, equal to our integers."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto
from typer.testing import CliRunner, Result

from quant.errors import QuantError
from quant.export import app
from quant.formats.compare import compare
from quant.formats.dialect import LOGITS, Dialect
from quant.formats.execute import run
from quant.formats.files import ONNX, QONNX, RECORD_NAMES, export
from quant.formats.integer_ops import IntegerOps
from quant.formats.qdq import QuantiseDequantise
from quant.formats.quant_nodes import OPSET, QuantNodes
from quant.formats.storage import Storage, in_onnx_order, needed_opset, packed_tensor
from sim import network as golden
from sim.folder import (
    LOGIT_MOST,
    Add,
    Average,
    Conv,
    Graph,
    IntegerNetwork,
    LayerArrays,
    Maximum,
    Step,
    TensorSpec,
    load,
)

ROOT = Path(__file__).parents[1]
SHIPPED = ROOT / "sim" / "networks"
IMAGES = Path(__file__).parent / "data" / "fashion-mnist-test-100.npz"
"""The first hundred test images of Fashion-MNIST (MIT licence), uint8 [100, 28, 28]."""


@pytest.fixture(scope="module")
def images() -> NDArray[np.uint8]:
    with np.load(IMAGES) as file:
        found: NDArray[np.uint8] = file["images"][..., None]
    return found


def arrays(shape: tuple[int, ...], bits: int, shift: int) -> LayerArrays:
    rng = np.random.default_rng(bits)
    half = 1 << (bits - 1)
    return LayerArrays(
        weight=rng.integers(-half, half, shape, np.int8),
        bias=rng.integers(-900, 900, shape[-1], np.int32),
        multiplier=rng.integers(1 << 15, 1 << 16, shape[-1]).astype(np.uint16),
        shift=np.full(shape[-1], shift, np.uint8),
        scale=np.full(shape[-1], 0.1, np.float32),
    )


def crooked() -> IntegerNetwork:
    """All kinds of steps, zero points, bounds within the range, one-sided padding, ties."""
    sizes = {
        "image": (9, 3),
        "a": (5, 4),
        "b": (5, 4),
        "sum": (5, 4),
        "top": (3, 4),
        "mean": (2, 4),
    }
    scales = {"image": 0.02, "a": 0.04, "b": 0.1, "sum": 0.08, "top": 0.08, "mean": 0.08}
    zeros = {"image": 17, "a": 30, "b": 99, "sum": 5, "top": 5, "mean": 3}
    tensors = {
        name: TensorSpec(
            height=size, width=size, channels=channels, scale=scales[name], zero_point=zeros[name]
        )
        for name, (size, channels) in sizes.items()
    }
    tensors["logits"] = TensorSpec(height=1, width=1, channels=5, scale=1e-4, bits=22, signed=True)
    pads: dict[str, Any] = dict.fromkeys(("pad_top", "pad_left", "pad_bottom", "pad_right"), 1)
    steps: list[Step] = [
        Conv(name="one", input="image", output="a", kernel_h=3, kernel_w=3, stride=2, weight_bits=8,
             low=30, high=200, **pads),
        Conv(name="two", input="a", output="b", kernel_h=3, kernel_w=3, stride=1, weight_bits=6,
             groups=4, low=0, high=255, **pads),
        Add(name="add", left="a", right="b", output="sum", left_multiplier=1 << 14,
            right_multiplier=40961, shift=15, low=5, high=255),
        Maximum(name="max", input="sum", output="top", kernel_h=3, kernel_w=3, stride=2,
                pad_top=1, pad_left=1, pad_bottom=1, pad_right=1),
        Average(name="mean", input="top", output="mean", kernel_h=2, kernel_w=2, stride=1,
                multiplier=1 << 14, shift=16, low=0, high=255),
        Conv(name="dense", input="mean", output="logits", kernel_h=2, kernel_w=2, stride=1,
             weight_bits=2, low=-LOGIT_MOST, high=LOGIT_MOST),
    ]  # fmt: skip
    layers = {
        "one": arrays((3, 3, 3, 4), 8, 26),
        "two": arrays((3, 3, 1, 4), 6, 24),
        # a factor of 1/4: every other sum and a half lies between two integers
        "dense": replace(arrays((2, 2, 4, 5), 2, 17), multiplier=np.full(5, 1 << 15, np.uint16)),
    }
    graph = Graph(name="crooked", input="image", output="logits", tensors=tensors, steps=steps)
    return IntegerNetwork(graph=graph, layers=layers)


def noise(count: int = 7) -> NDArray[np.uint8]:
    return np.random.default_rng(3).integers(0, 256, (count, 9, 9, 3), np.uint8)


def differing(
    network: IntegerNetwork, dialect: type[Dialect], acts: NDArray[np.uint8], opset: int
) -> dict[str, int]:
    """How many integers of each tensor differ from the golden model's."""
    by_qonnx = dialect is QuantNodes
    model = dialect(network, opset=opset, batch=1 if by_qonnx else "batch").model()
    names = tuple(step.output for step in network.graph.steps)
    found = run(model, acts, outputs=names, by_qonnx=by_qonnx)
    counts = {}
    for name, expected in golden.tensors(network, acts):
        if name in names:
            zero = network.graph.tensors[name].zero_point if by_qonnx else 0
            got = found[name].astype(np.int64).transpose(0, 2, 3, 1) + zero
            counts[name] = int((got != expected).sum())
            assert got.shape == expected.shape
    return counts


@pytest.mark.parametrize("dialect", [IntegerOps, QuantNodes])
@pytest.mark.parametrize("name", ["resnet8", "dscnn"])
def test_every_integer_of_a_shipped_network_is_ours_on_a_hundred_real_images(
    name: str, dialect: type[Dialect], images: NDArray[np.uint8]
) -> None:
    network = load(SHIPPED / name)
    opset = OPSET if dialect is QuantNodes else needed_opset(network)
    assert set(differing(network, dialect, images, opset).values()) == {0}


@pytest.mark.parametrize("opset", [13, 21, 25])
@pytest.mark.parametrize("dialect", [IntegerOps, QuantNodes])
def test_every_kind_of_step_is_ours(dialect: type[Dialect], opset: int) -> None:
    assert set(differing(crooked(), dialect, noise(), opset).values()) == {0}


def test_the_small_network_has_halves_to_round() -> None:
    network = crooked()
    step = network.graph.convs[-1]
    maps = dict(golden.tensors(network, noise()))
    arrays = network.layers["dense"]
    twice = replace(arrays, shift=arrays.shift - np.uint8(1))
    halves = golden.conv(network.graph, step, twice, maps["mean"]) % 2
    assert halves.sum() > 3
    assert (maps["logits"] < 0).any()


@pytest.mark.parametrize("name", ["resnet8", "dscnn"])
def test_qdq_gives_the_same_classes_and_nearly_the_same_integers(
    name: str, images: NDArray[np.uint8]
) -> None:
    network = load(SHIPPED / name)
    model = QuantiseDequantise(network, opset=25).model()
    names = tuple(s.output for s in network.graph.steps if s.output != network.graph.output)
    found = run(model, images, outputs=(*names, LOGITS), by_qonnx=False)
    wrong = total = 0
    for tensor, expected in golden.tensors(network, images):
        if tensor in names:
            got = found[tensor].astype(int).transpose(0, 2, 3, 1)
            wrong, total = wrong + int((got != expected).sum()), total + got.size
    assert total > 8_000_000
    assert 0 < wrong < 0.003 * total
    classes = golden.run(network, images).argmax(axis=1)
    assert np.array_equal(found[LOGITS].argmax(axis=1), classes)


@pytest.mark.parametrize(
    ("opset", "types"),
    [
        (13, {2: "INT8", 4: "INT8", 6: "INT8", 8: "INT8"}),
        (21, {2: "INT4", 4: "INT4", 6: "INT8", 8: "INT8"}),
        (25, {2: "INT2", 4: "INT4", 6: "INT8", 8: "INT8"}),
    ],
)
def test_weights_take_the_bytes_that_the_report_says(
    opset: int, types: dict[int, str], tmp_path: Path
) -> None:
    network = load(SHIPPED / "dscnn")
    export(network, ONNX, tmp_path, opset=opset)
    record = json.loads((tmp_path / RECORD_NAMES[ONNX]).read_text())
    assert record["packed_bytes"] == sum(network.packed_bytes.values()) == 26920
    for file in record["files"]:
        model = onnx.load(tmp_path / file["file"])
        assert file["file_bytes"] == (tmp_path / file["file"]).stat().st_size
        held = {tensor.name: tensor for tensor in model.graph.initializer}
        for name, layer in file["layers"].items():
            bits, arrays = layer["weight_bits"], network.layers[name]
            assert layer["stored_as"] == types[bits]
            tensor = held[f"{name}.weight"]
            assert len(tensor.raw_data) == layer["initialiser_bytes"]
            assert layer["packed_bytes"] == network.packed_bytes[name] - 8 * len(arrays.bias)
            if types[bits] == f"INT{bits}":
                assert layer["initialiser_bytes"] == layer["packed_bytes"]
            values = onnx.numpy_helper.to_array(tensor).astype(np.int8)
            np.testing.assert_array_equal(values, in_onnx_order(arrays.weight))


def test_all_that_the_exact_file_holds_is_weights_eight_bytes_a_channel_and_few_constants(
    tmp_path: Path,
) -> None:
    network = load(SHIPPED / "resnet8")
    files = export(network, ONNX, tmp_path)["files"]
    packed = sum(network.packed_bytes.values())
    assert files[0]["file"] == "network-exact.onnx"
    assert packed <= files[0]["initialiser_bytes"] < packed + 200


def test_qonnx_counts_the_bits_that_we_count(tmp_path: Path) -> None:
    from qonnx.util.inference_cost import inference_cost

    network = load(SHIPPED / "resnet8")
    export(network, QONNX, tmp_path)
    cost = inference_cost(str(tmp_path / QONNX[0].name), discount_sparsity=False)
    weights = {step.name: network.layers[step.name].weight.size for step in network.graph.convs}
    bits = sum(weights[step.name] * step.weight_bits for step in network.graph.convs)
    assert cost["total_cost"]["total_mem_w_bits"] == bits


def test_a_flipped_weight_is_found(tmp_path: Path) -> None:
    network = crooked()
    export(network, ONNX, tmp_path)
    path = tmp_path / ONNX[0].name
    model = onnx.load(path)
    weight = next(t for t in model.graph.initializer if t.name == "dense.weight")
    weight.raw_data = bytes([weight.raw_data[0] ^ 1]) + weight.raw_data[1:]
    onnx.save(model, path)
    with pytest.raises(QuantError) as raised:
        compare(network, ONNX[0], tmp_path, noise())
    assert str(raised.value).startswith(
        f"{path}: logits must equal the golden model's, but image 0, class 0 is "
    )


def test_packed_fields_are_onnx_s_own() -> None:
    values = np.array([[-2, 1, 0, -1, 1], [1, -1, -2, 0, 0]], np.int8)
    for storage in Storage:
        tensor = packed_tensor("w", values, storage)
        assert TensorProto.DataType.Name(tensor.data_type) == storage.name
        np.testing.assert_array_equal(onnx.numpy_helper.to_array(tensor).astype(np.int8), values)


def test_sums_that_float32_does_not_hold_are_refused_by_qonnx() -> None:
    network = crooked()
    tensors = network.graph.tensors | {
        name: network.graph.tensors[name].model_copy(update={"channels": 400, "zero_point": 0})
        for name in ("image",)
    }
    layers = dict(network.layers) | {
        "one": replace(network.layers["one"], weight=np.full((3, 3, 400, 4), -128, np.int8))
    }
    graph = network.graph.model_copy(update={"tensors": tensors})
    wide = IntegerNetwork(graph=graph, layers=layers)
    acts = np.random.default_rng(1).integers(0, 256, (2, 9, 9, 400), np.uint8)
    with pytest.raises(QuantError) as raised:
        QuantNodes(wide, opset=OPSET, batch=1).model()
    assert str(raised.value) == (
        "one: sums must be below 2^24 to be exact in QONNX's float32, but reach 117504000; export "
        "with --format onnx"
    )
    assert set(differing(wide, IntegerOps, acts, 25).values()) == {0}


def invoke(*options: str | Path) -> Result:
    return CliRunner().invoke(app, [str(option) for option in options], catch_exceptions=False)


@pytest.mark.parametrize(
    ("form", "name"), [("onnx", "network-exact.onnx"), ("qonnx", "network-qonnx.onnx")]
)
def test_the_command_writes_and_checks(
    form: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    images: NDArray[np.uint8],
) -> None:  # fmt: skip
    monkeypatch.setattr("quant.export.checked_images", lambda run, data: images[:3])
    found = invoke(SHIPPED / "resnet8", "--format", form, "--out", tmp_path, "--check")
    assert found.exit_code == 0, found.output
    assert f"{tmp_path / name}: all 30 logits of 3 images equal the golden model's" in found.output
    assert "26,592 bytes packed" in found.output


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (("--format", "onnx", "--opset", "9"), "opset must be from 13 to 25, not 9"),
        (("--format", "verilog-memh", "--config", "huge"),
         "config must be one of tiny, edge, large, not 'huge'"),
        (("--format", "verilog-memh", "--config", "tiny"),
         "block2.conv2: layer must fit the accelerator, but gives WEIGHT_SPACE (its weights are "
         "larger than half of their scratchpad); take a larger configuration"),
    ],
)  # fmt: skip
def test_wrong_options_are_told_in_one_line(
    options: tuple[str, ...], text: str, tmp_path: Path
) -> None:
    found = invoke(SHIPPED / "resnet8", "--out", tmp_path / "out", *options)
    assert found.exit_code == 2
    assert found.stderr == f"quant.export: {text}\n"
    assert not (tmp_path / "out").exists()


def test_without_the_packages_the_extra_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "quant.formats.compare", None)
    found = invoke(SHIPPED / "resnet8", "--format", "onnx", "--out", tmp_path)
    assert found.exit_code == 2
    assert found.stderr.startswith("quant.export: format onnx must have the packages of the extra")
    assert found.stderr.endswith("pip install 'sigmaquant[onnx]'\n")
    assert found.stderr.count("\n") == 1


def test_qdq_of_every_kind_of_step_is_within_two() -> None:
    network = crooked()
    names = tuple(s.output for s in network.graph.steps if s.output != network.graph.output)
    model = QuantiseDequantise(network, opset=25).model()
    found = run(model, noise(), outputs=names, by_qonnx=False)
    for name, expected in golden.tensors(network, noise()):
        if name in names:
            got = found[name].astype(int).transpose(0, 2, 3, 1)
            assert np.abs(got - expected).max() <= 2, name
            assert len(np.unique(expected)) > 10
