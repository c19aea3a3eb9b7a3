"""The integer network's folder and its run on the golden model, against plain definitions."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from hw.precision import WeightMode
from sim import golden, network
from sim.folder import (
    ARRAYS_NAME,
    GRAPH_NAME,
    LOGIT_MOST,
    Add,
    Average,
    Conv,
    FolderError,
    Graph,
    IntegerNetwork,
    LayerArrays,
    Maximum,
    Step,
    TensorSpec,
    load,
    pack,
    unpack,
)

SCALES = {"image": 0.02, "a": 0.03, "b": 0.05, "sum": 0.04, "pooled": 0.04, "mean": 0.01}


def layer(
    rng: np.random.Generator, kernel: int, inputs: int, outputs: int, bits: int
) -> LayerArrays:
    mode = WeightMode.from_bits(bits)
    return LayerArrays(
        weight=rng.integers(
            mode.min, mode.max, (kernel, kernel, inputs, outputs), np.int8, endpoint=True
        ),
        bias=rng.integers(-3000, 3000, outputs, np.int32),
        multiplier=rng.integers(1 << 15, 1 << 16, outputs).astype(np.uint16),
        shift=rng.integers(22, 26, outputs).astype(np.uint8),
        scale=np.full(outputs, 0.1, np.float32),
    )


def small() -> IntegerNetwork:
    """Convolution, depthwise convolution, sum, both poolings, a dense layer over a map."""
    rng = np.random.default_rng(7)
    sizes = {"image": 8, "a": 4, "b": 4, "sum": 4, "pooled": 2, "mean": 1}
    tensors = {
        name: TensorSpec(
            height=size,
            width=size,
            channels=3 if name == "image" else 4,
            scale=SCALES[name],
            zero_point=17 if name in ("image", "b") else 0,
        )
        for name, size in sizes.items()
    }
    tensors["logits"] = TensorSpec(height=1, width=1, channels=5, scale=1e-4, bits=22, signed=True)
    pads: dict[str, Any] = dict.fromkeys(("pad_top", "pad_left", "pad_bottom", "pad_right"), 1)
    acts: dict[str, Any] = {"low": 0, "high": 255}
    steps: list[Step] = [
        Conv(name="one", input="image", output="a", kernel_h=3, kernel_w=3, stride=2, weight_bits=4,
             **pads, **acts),
        Conv(name="two", input="a", output="b", kernel_h=3, kernel_w=3, stride=1, weight_bits=6,
             groups=4, low=17, high=200, **pads),
        Add(name="add", left="a", right="b", output="sum", left_multiplier=24576,
            right_multiplier=40960, shift=15, **acts),
        Maximum(name="max", input="sum", output="pooled", kernel_h=3, kernel_w=3, stride=2,
                pad_top=1, pad_left=1),
        Average(name="mean", input="pooled", output="mean", kernel_h=2, kernel_w=2, stride=1,
                multiplier=1 << 15, shift=15, **acts),
        Conv(name="dense", input="mean", output="logits", kernel_h=1, kernel_w=1, stride=1,
             weight_bits=2, low=-LOGIT_MOST, high=LOGIT_MOST),
    ]  # fmt: skip
    layers = {
        "one": layer(rng, 3, 3, 4, 4),
        "two": replace(layer(rng, 3, 1, 4, 6), shift=np.full(4, 21, np.uint8)),
        "dense": replace(layer(rng, 1, 4, 5, 2), shift=np.full(5, 8, np.uint8)),
    }
    graph = Graph(name="small", input="image", output="logits", tensors=tensors, steps=steps)
    return IntegerNetwork(graph=graph, layers=layers)


def images(count: int = 3) -> NDArray[np.uint8]:
    return np.random.default_rng(1).integers(0, 256, (count, 8, 8, 3), np.uint8)


def plainly(net: IntegerNetwork, name: str, act: NDArray[Any]) -> NDArray[np.int64]:
    """Run a layer by `sim.golden`, group by group."""
    graph = net.graph
    step = next(step for step in graph.convs if step.name == name)
    arrays, shape = net.layers[name], graph.conv_shape(step)
    inputs, outputs = shape.in_channels // shape.groups, shape.out_channels // shape.groups
    sums = []
    for group in range(shape.groups):
        rows = golden.im2col(
            act[..., group * inputs : (group + 1) * inputs],
            kernel=(step.kernel_h, step.kernel_w),
            stride=step.stride,
            padding=step.pad_top,
            zero_point=graph.tensors[step.input].zero_point,
        )
        weight = arrays.weight[..., group * outputs : (group + 1) * outputs]
        sums.append(golden.matmul(rows, weight.reshape(-1, outputs), step.mode))
    found = golden.requantise(
        np.concatenate(sums, axis=1),
        bias=arrays.bias,
        multiplier=arrays.multiplier,
        shift=arrays.shift,
        zero_point=graph.tensors[step.output].zero_point,
        low=step.low,
        high=step.high,
    )
    return found.reshape(len(act), shape.out_h, shape.out_w, -1)


def test_layers_equal_the_golden_model() -> None:
    net = small()
    found = dict(network.tensors(net, images()))
    for step in net.graph.convs:
        expected = plainly(net, step.name, found[step.input])
        np.testing.assert_array_equal(found[step.output], expected)
        assert len(np.unique(expected)) > 10  # not all at a bound


def test_sums_and_poolings_equal_rational_arithmetic() -> None:
    net = small()
    found = dict(network.tensors(net, images()))
    real = {n: SCALES[n] * (found[n].astype(int) - net.graph.tensors[n].zero_point) for n in SCALES}
    total = (real["a"] + real["b"]) / SCALES["sum"]
    np.testing.assert_array_equal(
        found["sum"], np.clip(np.floor(total + 0.5 + 1e-9), 0, 255).astype(int)
    )
    for y in range(2):
        for x in range(2):
            window = found["sum"][:, max(0, 2 * y - 1) : 2 * y + 2, max(0, 2 * x - 1) : 2 * x + 2]
            np.testing.assert_array_equal(found["pooled"][:, y, x], window.max(axis=(1, 2)))
    mean = found["pooled"].astype(int).sum(axis=(1, 2), keepdims=True)
    np.testing.assert_array_equal(found["mean"], np.minimum(mean, 255))


def test_logits_do_not_depend_on_the_batch() -> None:
    net = small()
    together = network.run(net, images(5))
    assert together.shape == (5, 5)
    assert together.dtype == np.int32
    np.testing.assert_array_equal(network.run(net, images(5), batch=2), together)


@pytest.mark.parametrize("bits", [2, 4, 6, 8])
def test_packed_fields_come_back(bits: int) -> None:
    mode = WeightMode.from_bits(bits)
    values = np.random.default_rng(bits).integers(mode.min, mode.max, 101, np.int8, endpoint=True)
    packed = pack(values, bits)
    assert len(packed) == -(-101 * bits // 8)
    np.testing.assert_array_equal(unpack(packed, bits, 101), values)


def test_first_field_is_in_the_lowest_bits() -> None:
    assert pack(np.array([1, -2, 0, -1], np.int8), 2).tolist() == [0b11_00_10_01]


def test_a_folder_comes_back_and_gives_the_same(tmp_path: Path) -> None:
    net = small()
    net.save(tmp_path)
    again = load(tmp_path)
    np.testing.assert_array_equal(network.run(again, images()), network.run(net, images()))
    assert again.packed_bytes["two"] == 4 * 9 * 6 // 8 + 8 * 4
    assert sorted(path.name for path in tmp_path.iterdir()) == [ARRAYS_NAME, GRAPH_NAME]


def changed(folder: Path, **fields: Any) -> None:
    path = folder / GRAPH_NAME
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


def test_a_missing_folder_says_how_to_write_one(tmp_path: Path) -> None:
    with pytest.raises(
        FolderError, match=r"network.json: must be a file, but: No such .*export RUN"
    ):
        load(tmp_path / "none")


def test_a_newer_version_is_refused(tmp_path: Path) -> None:
    small().save(tmp_path)
    changed(tmp_path, version=2)
    with pytest.raises(
        FolderError, match=r"network.json: version must be 1, not 2; take a program"
    ):
        load(tmp_path)


def test_a_flipped_bit_of_the_arrays_is_found(tmp_path: Path) -> None:
    small().save(tmp_path)
    path = tmp_path / ARRAYS_NAME
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(FolderError, match=r"arrays.safetensors: SHA-256 must be \w+\.\.\., as"):
        load(tmp_path)


def test_truncated_json_is_one_line(tmp_path: Path) -> None:
    small().save(tmp_path)
    path = tmp_path / GRAPH_NAME
    path.write_text(path.read_text()[:500])
    with pytest.raises(FolderError, match=r"^[^\n]*network.json: must be JSON, not: [^\n]*$"):
        load(tmp_path)


def test_an_unknown_field_is_named(tmp_path: Path) -> None:
    small().save(tmp_path)
    document = json.loads((tmp_path / GRAPH_NAME).read_text())
    document["steps"][0]["dilation"] = 2
    changed(tmp_path, steps=document["steps"])
    with pytest.raises(FolderError, match=r"steps.0.conv.dilation: Extra inputs are not permitted"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"input": "x"}, "one: x must be made by a step before"),
        ({"output": "image"}, "one: image must be a tensor that no step before made"),
        ({"stride": 1}, r"one: a must be of the size that the step gives, \(8, 8, 4\), not"),
        ({"kernel_h": 11}, "one: the kernel must fit the padded map"),
        ({"high": 256}, r"one: low and high must be within 0 .. 255, not 0 .. 256"),
    ],
)
def test_steps_that_do_not_fit_are_named(change: dict[str, Any], message: str) -> None:
    net = small()
    first = net.graph.steps[0].model_copy(update=change)
    graph = net.graph.model_copy(update={"steps": [first, *net.graph.steps[1:]]})
    with pytest.raises(FolderError, match=f"^{message}"):
        IntegerNetwork(graph=graph, layers=net.layers)


def test_biases_beyond_32_bits_beside_the_sums_are_refused() -> None:
    net = small()
    wide = replace(net.layers["one"], bias=np.full(4, (1 << 31) - 1, np.int32))
    with pytest.raises(FolderError, match=r"^one.bias: sums and biases must fit 32 bits$"):
        IntegerNetwork(graph=net.graph, layers={**net.layers, "one": wide})


def test_images_of_another_size_are_refused() -> None:
    with pytest.raises(ValueError, match=r"^images must be uint8 \[N, 8, 8, 3\], not uint8 "):
        network.run(small(), images()[:, :4])
