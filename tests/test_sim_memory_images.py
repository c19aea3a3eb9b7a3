"""Memory images: read back, and loaded by a Verilog simulator that runs a layer from them."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from hw.accelerator import Accelerator
from hw.catalog import named
from hw.verilog import to_verilog
from sim import folder, network
from sim.folder import FolderError
from sim.lower import lower
from sim.memory_check import check
from sim.memory_images import (
    INDEX_NAME,
    MemoryFile,
    layer_bytes,
    read_index,
    read_words,
    write,
    write_words,
)

ROOT = Path(__file__).parents[1]
SHIPPED = ROOT / "sim" / "networks"
BENCH = ROOT / "docs" / "examples" / "memory_images_tb.v"


@pytest.mark.parametrize("name", ["resnet8", "dscnn"])
@pytest.mark.parametrize("config", ["edge", "large"])
def test_images_are_what_the_accelerator_is_sent(name: str, config: str, tmp_path: Path) -> None:
    net = folder.load(SHIPPED / name)
    write(net, config, tmp_path)
    index, accelerator = read_index(tmp_path), named(config)
    assert index.bus_bits == 8 * accelerator.bus_bytes
    assert index.arrays_sha256 == net.graph.arrays_sha256
    assert sorted(layer.layer for layer in index.layers) == sorted(s.name for s in net.graph.convs)
    known = {step.name: step for step in net.graph.steps}
    assert {known[host].kind for host in index.host} <= {"add", "average", "max"}
    rng = np.random.default_rng(0)
    for layer in index.layers:
        step = known[layer.layer]
        assert step.kind == "conv"
        spec = net.graph.tensors[step.input]
        act = rng.integers(0, 256, (spec.height, spec.width, spec.channels), np.uint8)
        packet = lower(net, step, act, accelerator).packet(accelerator)
        assert list(layer.files) == ["descriptor", "parameters", "weights"]
        sent = b"".join(read_words(tmp_path, file) for file in layer.files.values())
        assert packet.startswith(sent)
        beats = np.frombuffer(packet[len(sent) :], np.uint8)  # what is left is activations
        assert np.isin(np.unique(act), beats).all()
        assert len(sent) % accelerator.bus_bytes == 0
    files = {file.file for layer in index.layers for file in layer.files.values()}
    assert files | {INDEX_NAME} == {path.name for path in tmp_path.iterdir()}


def test_a_line_is_a_word_with_its_highest_digit_first(tmp_path: Path) -> None:
    file = write_words(tmp_path / "a.memh", bytes(range(1, 9)), 4)
    assert (tmp_path / "a.memh").read_text() == "// 2 words of 32 bits\n04030201\n08070605\n"
    assert (file.depth, file.width) == (2, 32)
    assert read_words(tmp_path, file) == bytes(range(1, 9))


def test_damaged_files_are_told(tmp_path: Path) -> None:
    write(folder.load(SHIPPED / "resnet8"), "edge", tmp_path)
    file = read_index(tmp_path).layers[0].files["weights"]
    path = tmp_path / file.file
    path.write_text("\n".join(path.read_text().splitlines()[:-1]))
    with pytest.raises(FolderError) as raised:
        read_words(tmp_path, file)
    assert str(raised.value) == (
        f"{path}: must be 8 words of 128 hexadecimal digits, as memory.json says; export anew"
    )
    index = tmp_path / INDEX_NAME
    index.write_text(json.dumps(json.loads(index.read_text()) | {"version": 2}))
    with pytest.raises(FolderError, match=r"memory\.json: version: Input should be 1$"):
        read_index(tmp_path)


@pytest.mark.parametrize(("name", "config"), [("resnet8", "edge"), ("dscnn", "large")])
def test_written_images_hold_every_integer_of_the_network(
    name: str, config: str, tmp_path: Path
) -> None:
    net = folder.load(SHIPPED / name)
    write(net, config, tmp_path)
    own = sum(layer.weight.size + 3 * layer.bias.size for layer in net.layers.values())
    assert check(net, config, tmp_path) > own


def flip(path: Path, line: int, digit: int) -> None:
    """Flip the lowest bit of a hexadecimal digit, counted from the lowest."""
    lines = path.read_text().splitlines()
    word = list(lines[line])
    word[-1 - digit] = f"{int(word[-1 - digit], 16) ^ 1:x}"
    lines[line] = "".join(word)
    path.write_text("\n".join([*lines, ""]))


def test_a_flipped_digit_is_found_wherever_it_is(tmp_path: Path) -> None:
    net = folder.load(SHIPPED / "dscnn")
    index = write(net, "edge", tmp_path)
    rng = np.random.default_rng(7)
    for layer in index.layers:
        for file in layer.files.values():
            path = tmp_path / file.file
            whole = path.read_text()
            for _ in range(3):
                flip(path, int(rng.integers(1, file.depth + 1)), int(rng.integers(file.width // 4)))
                with pytest.raises(FolderError, match=f"^{path}: "):
                    check(net, "edge", tmp_path)
                path.write_text(whole)
    check(net, "edge", tmp_path)


@pytest.mark.parametrize(
    ("part", "line", "digit", "text"),
    [
        ("descriptor", 1, 10, "stem.stride must be 1, as in the integer network, not 0"),
        ("parameters", 1, 0, "stem.bias[0] must be {bias}, as in the integer network, not {bad}"),
        ("weights", 1, 0,
         "stem.weight[0, 0, 0, 0] must be {weight}, as in the integer network, not {worse}"),
        ("parameters", 1, 14, "bits of stem that hold no integer of the network must be as "
         "docs/accelerator.md says, but differ"),
    ],
)  # fmt: skip
def test_what_was_flipped_is_told(
    part: Literal["descriptor", "parameters", "weights"],
    line: int,
    digit: int,
    text: str,
    tmp_path: Path,
) -> None:
    net = folder.load(SHIPPED / "dscnn")
    layer = write(net, "edge", tmp_path).layers[0]
    path = tmp_path / layer.files[part].file
    flip(path, line, digit)
    bias, weight = int(net.layers["stem"].bias[0]), int(net.layers["stem"].weight[0, 0, 0, 0])
    expected = text.format(bias=bias, bad=bias ^ 1, weight=weight, worse=weight ^ 1)
    with pytest.raises(FolderError) as raised:
        check(net, "edge", tmp_path)
    assert str(raised.value) == f"{path}: {expected}"


def test_images_of_another_network_or_accelerator_are_told(tmp_path: Path) -> None:
    write(folder.load(SHIPPED / "dscnn"), "edge", tmp_path)
    with pytest.raises(FolderError, match=r"memory\.json: network must be resnet8, as of"):
        check(folder.load(SHIPPED / "resnet8"), "edge", tmp_path)
    with pytest.raises(FolderError, match=r"memory\.json: config must be large, as of"):
        check(folder.load(SHIPPED / "dscnn"), "large", tmp_path)


def test_gateware_is_not_needed() -> None:
    code = (
        "import sys, sim.memory_images, sim.memory_check;"
        "assert not {'amaranth', 'cocotb', 'torch'} & set(sys.modules), sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the tiny accelerator's Verilog."""
    path = tmp_path_factory.mktemp("rtl") / "accelerator.v"
    path.write_text(to_verilog(Accelerator(named("tiny")), name="accelerator"))
    return path


@pytest.mark.parametrize(
    ("name", "layer"), [("resnet8", "fc"), ("dscnn", "fc"), ("resnet8", "block3.shortcut.0")]
)
def test_a_layer_runs_from_its_images_in_icarus(
    name: str, layer: str, tiny: Path, tmp_path: Path
) -> None:
    config, net = named("tiny"), folder.load(SHIPPED / name)
    images, _ = folder.load_examples(SHIPPED / name, net.graph)
    step = next(step for step in net.graph.convs if step.name == layer)
    act = dict(network.tensors(net, images[:1]))[step.input][0]
    lowered = lower(net, step, act, config)
    parts = layer_bytes(net, step, config)
    sizes = {"descriptor": 32, "parameters": 8, "weights": config.weight_word_bytes}
    files = {
        part: write_words(tmp_path / f"{part}.memh", data, sizes[part])
        for part, data in parts.items()
    }
    acts = lowered.packet(config)[sum(map(len, parts.values())) :]
    beats = write_words(tmp_path / "acts.memh", acts, config.bus_bytes).depth
    descriptor = lowered.descriptor(config)
    tiles = descriptor.groups * descriptor.out_tiles
    pixel_tiles = -(-lowered.shape.out_h * lowered.shape.out_w // config.array.rows)
    results = pixel_tiles * tiles * config.array.drain_cycles
    values = {
        "BUS": 8 * config.bus_bytes, "PARAMETERS": files["parameters"].depth,
        "WEIGHTS": files["weights"].depth, "WORD": files["weights"].width, "ACTS": beats,
        "RESULTS": results,
    }  # fmt: skip
    options = [f"-Ptb.{key}={value}" for key, value in values.items()]
    design = tmp_path / "tb"
    subprocess.run(
        ["iverilog", "-g2012", "-s", "tb", "-o", design, *options, BENCH, tiny], check=True
    )
    subprocess.run(["vvp", "-n", design], check=True, cwd=tmp_path, timeout=120)
    back = MemoryFile(file="results.memh", depth=results, width=8 * config.bus_bytes)
    data = read_words(tmp_path, back)
    np.testing.assert_array_equal(lowered.results(data, config), lowered.expected(config))
