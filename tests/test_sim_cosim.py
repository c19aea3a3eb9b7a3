"""Logits in pieces, the order of layers, and a small network on the RTL."""

import json
import os
import shutil
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from hw.catalog import named
from sim import cosim, folder, network
from sim.bench.network_job import Fault, NetworkJob
from sim.folder import (
    LOGIT_BITS,
    LOGIT_MOST,
    Add,
    Average,
    Conv,
    FolderError,
    Graph,
    IntegerNetwork,
    LayerArrays,
    Step,
    TensorSpec,
    save_examples,
)
from sim.lower import joined, lower, order


def arrays(
    rng: np.random.Generator, kernel: int, inputs: int, outputs: int, bits: int, shift: int
) -> LayerArrays:
    half = 1 << (bits - 1)
    return LayerArrays(
        weight=rng.integers(-half, half, (kernel, kernel, inputs, outputs), np.int8),
        bias=rng.integers(-500, 500, outputs, np.int32),
        multiplier=rng.integers(1 << 15, 1 << 16, outputs).astype(np.uint16),
        shift=np.full(outputs, shift, np.uint8),
        scale=np.full(outputs, 0.1, np.float32),
    )


def residual() -> IntegerNetwork:
    """A block with a shortcut of its own, so that two layers read one map, then logits."""
    rng = np.random.default_rng(11)
    specs = {"image": (8, 1), "a": (8, 4), "b": (4, 6), "c": (4, 6), "sum": (4, 6), "mean": (1, 6)}
    tensors = {
        name: TensorSpec(height=size, width=size, channels=channels, scale=0.1)
        for name, (size, channels) in specs.items()
    }
    tensors["logits"] = TensorSpec(
        height=1, width=1, channels=3, scale=0.1, bits=LOGIT_BITS, signed=True
    )

    def conv(name: str, source: str, target: str, kernel: int, stride: int, bits: int) -> Conv:
        pad = kernel // 2
        most = LOGIT_MOST if target == "logits" else 255
        return Conv.model_validate(
            {
                "name": name,
                "input": source,
                "output": target,
                "kernel_h": kernel,
                "kernel_w": kernel,
                "stride": stride,
                **dict.fromkeys(("pad_top", "pad_left", "pad_bottom", "pad_right"), pad),
                "weight_bits": bits,
                "low": -most if target == "logits" else 0,
                "high": most,
            }
        )

    steps: list[Step] = [
        conv("stem", "image", "a", 3, 1, 8),
        conv("left", "a", "b", 3, 2, 4),
        Average(name="unused", input="b", output="d", kernel_h=1, kernel_w=1, stride=1,
                multiplier=1 << 15, shift=15, low=0, high=255),
        conv("right", "a", "c", 1, 2, 2),
        Add(name="add", left="d", right="c", output="sum", left_multiplier=20000,
            right_multiplier=30000, shift=15, low=0, high=255),
        Average(name="mean", input="sum", output="mean", kernel_h=4, kernel_w=4, stride=1,
                multiplier=1 << 15, shift=19, low=0, high=255),
        conv("dense", "mean", "logits", 1, 1, 6),
    ]  # fmt: skip
    tensors["d"] = tensors["b"]
    layers = {
        "stem": arrays(rng, 3, 1, 4, 8, 24),
        "left": arrays(rng, 3, 4, 6, 4, 22),
        "right": arrays(rng, 1, 4, 6, 2, 18),
        "dense": arrays(rng, 1, 6, 3, 6, 12),
    }
    graph = Graph(name="residual", input="image", output="logits", tensors=tensors, steps=steps)
    return IntegerNetwork(graph=graph, layers=layers)


def written(path: Path, count: int = 2) -> Path:
    residual().save(path)
    images = np.random.default_rng(2).integers(0, 256, (count, 8, 8, 1), np.uint8)
    save_examples(path, images, np.zeros(count, np.int64))
    return path


def test_logits_come_back_from_their_pieces() -> None:
    exact = np.concatenate(
        [
            np.arange(-LOGIT_MOST, LOGIT_MOST + 1, 997) * 256,
            np.arange(-70000, 70000),
            np.array([-LOGIT_MOST, LOGIT_MOST]) * 256,
        ]
    )  # in units of 2^-8 of a logit, so that all ways to round are met
    pieces = [(exact + (1 << (s - 1)) >> s) % 256 for s in (8, 15, 22)]
    found = joined(np.stack(pieces, axis=-1).reshape(len(exact), 3))
    np.testing.assert_array_equal(found[:, 0], (exact + 128) >> 8)


def test_layers_that_read_one_map_follow_each_other() -> None:
    names = [step.name for step in order(residual().graph)]
    assert names == ["stem", "left", "right", "unused", "add", "mean", "dense"]


def test_a_layer_too_large_is_named() -> None:
    net = residual()
    small = replace(named("tiny"), act_words=2)
    with pytest.raises(FolderError, match=r"^stem: layer must fit .* ACT_SPACE \(its feature map"):
        lower(net, net.graph.convs[0], np.zeros((8, 8, 1), np.uint8), small)


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cosim")


def test_images_on_the_rtl_equal_the_golden_model(tmp_path: Path, build: Path) -> None:
    path = written(tmp_path / "net")
    job = NetworkJob(folder=path, config="tiny", images=2)
    report = cosim.cosimulate(job, simulator="icarus", build=build)
    images, _ = folder.load_examples(path, residual().graph)
    logits = network.run(residual(), images)
    assert [image["class"] for image in report["images"]] == logits.argmax(axis=1).tolist()
    layers = report["images"][0]["layers"]
    assert [layer["layer"] for layer in layers] == ["stem", "left", "right", "dense"]
    assert [layer["kept_acts"] for layer in layers] == [False, False, True, False]
    assert all(layer["cycles"] == layer["timeline_cycles"] > layer["steps"] for layer in layers)
    table = cosim.summary(report)
    assert table.row_count == len(layers) + 1


PLACES, FIELDS = ("stem", "left", "dense"), ("weight", "multiplier", "descriptor")
FAULTS = (
    list(product(PLACES, FIELDS))
    if os.environ.get("SIGMAQUANT_FAULTS") == "all"
    else [*zip(PLACES, FIELDS, strict=True), ("dense", "weight")]
)
"""Each place and each kind; every pair by ``SIGMAQUANT_FAULTS=all pytest tests/test_sim_cosim.py``.

The logits' weights are always among them: these results come in pieces.
"""


@pytest.mark.parametrize(("layer", "field"), FAULTS)
def test_a_flipped_bit_is_found_and_named(
    tmp_path: Path, build: Path, layer: str, field: str
) -> None:
    fault = Fault(layer=layer, field=field)
    path = written(tmp_path / "net")
    job = NetworkJob(folder=path, config="tiny", images=1, fault=fault)
    with pytest.raises(
        AssertionError, match=rf"{layer}: \d+ of \d+ results differ, the first at \(y"
    ):
        cosim.cosimulate(job, simulator="icarus", build=build)


def run(*arguments: str) -> tuple[int, str]:
    found = CliRunner().invoke(cosim.app, list(arguments))
    return found.exit_code, found.stderr


def test_bad_input_is_one_line(tmp_path: Path) -> None:
    status, line = run(str(tmp_path / "none"))
    assert status == 2
    assert line.startswith(f"sim.cosim: {tmp_path}/none/network.json: must be a file")
    path = written(tmp_path / "net")
    status, line = run(str(path), "--config", "huge")
    assert (status, line) == (
        2,
        "sim.cosim: config must be one of tiny, edge, large, not 'huge'\n",
    )
    status, line = run(str(path), "--images", "3")
    assert status == 2
    assert line == "sim.cosim: images must be from 1 to 2, the examples, not 3\n"
    status, line = run(str(path), "--fault", "left")
    assert status == 2
    assert line == "sim.cosim: fault must be LAYER:weight|multiplier|descriptor, not 'left'\n"
    status, line = run(str(path), "--images", "1", "--fault", "top:weight")
    assert status == 2
    assert line == "sim.cosim: fault must be in one of stem, left, right, dense, not 'top'\n"
    document = json.loads((path / "network.json").read_text())
    (path / "network.json").write_text(json.dumps(document | {"version": 7}))
    status, line = run(str(path))
    assert status == 2
    assert "version must be 1, not 7; take a program that knows it" in line
    shutil.copy(path / "arrays.safetensors", path / "examples.safetensors")
    (path / "network.json").write_text(json.dumps(document))
    status, line = run(str(path))
    assert status == 2
    assert "examples.safetensors: must be a safetensors file of images and labels" in line
