"""Networks of ONNX files: as torch exports them, operator by operator, and on the command line."""

import gzip
import json
import struct
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper, numpy_helper
from sklearn.datasets import load_digits
from torch import nn
from typer import Typer
from typer.testing import CliRunner, Result

from quant.begun import check_files, read_begun
from quant.catalogue import file_name
from quant.errors import QuantError
from quant.journal import Journal
from quant.models import load
from quant.onnx_import.names import Names
from quant.onnx_import.network import OPERATORS, load_onnx
from quant.options import Options
from quant.search import main

torch.set_num_threads(1)

ROOT = Path(__file__).parents[1]
UNPU = ROOT / "docs" / "examples" / "unpu.json"
Arrays = dict[str, NDArray[Any]]


def exported(model: nn.Module, path: Path, *, size: tuple[int, ...], dynamo: bool) -> Path:
    """Let torch export a network, for any number of images."""
    example = torch.rand(2, *size)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if dynamo:
            free = ({0: torch.export.Dim("n")},)
            torch.onnx.export(
                model, (example,), path, dynamo=True, dynamic_shapes=free, verbose=False
            )
        else:
            torch.onnx.export(
                model, (example,), path, dynamo=False, input_names=["x"],
                dynamic_axes={"x": {0: "n"}},
            )  # fmt: skip
    return path


def close(imported: nn.Module, model: nn.Module, *size: int) -> None:
    """Compare logits of random images."""
    images = torch.rand(5, *size, generator=torch.Generator().manual_seed(4))
    with torch.no_grad():
        torch.testing.assert_close(imported(images), model(images), atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", ["resnet8", "dscnn"])
def test_a_shipped_network_comes_back_from_onnx(name: str, tmp_path: Path) -> None:
    model = load(name)[0].to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    path = exported(model, tmp_path / "net.onnx", size=(1, 28, 28), dynamo=False)
    imported, about = load_onnx(path)
    close(imported, model, 1, 28, 28)
    kinds = (nn.Conv2d, nn.Linear)
    names = [name for name, module in imported.named_modules() if isinstance(module, kinds)]
    assert names == [name for name, module in model.named_modules() if isinstance(module, kinds)]
    assert about["producer"].startswith("pytorch 2.")


def file(
    path: Path,
    nodes: Sequence[NodeProto],
    constants: Arrays,
    *,
    shape: Sequence[int | str] = ("n", 4, 7, 9),
    output: Sequence[int | str] | None = None,
    opset: int = 17,
) -> Path:
    """Write a network of nodes from `x` to `y`."""
    rank = [f"y{i}" for i in range(2)] if output is None else list(output)
    graph = helper.make_graph(
        list(nodes),
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, list(shape))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, rank)],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    imports = [helper.make_opsetid("", opset), helper.make_opsetid("ours", 1)]
    model = helper.make_model(graph, opset_imports=imports)
    model.ir_version = 9
    onnx.save(model, path)
    return path


def node(kind: str, inputs: str, output: str = "y", **attributes: Any) -> NodeProto:
    return helper.make_node(kind, inputs.split(), [output], **attributes)


def real(*shape: int) -> NDArray[np.float32]:
    return np.random.default_rng(sum(shape)).normal(size=shape).astype(np.float32)


def number(value: float) -> NDArray[np.float32]:
    return np.array(value, np.float32)


def ints(*values: int) -> NDArray[np.int64]:
    return np.array(values, np.int64)


W: Arrays = {"w": real(6, 4, 3, 3)}
MAP: Sequence[int | str] = ("n", "c", "h", "w")
CASES: dict[str, tuple[list[NodeProto], Arrays, dict[str, Any]]] = {
    "strides, one-sided padding, bias": (
        [node("Conv", "x w b", strides=[2, 1], pads=[1, 0, 2, 1])],
        W | {"b": real(6)}, {"output": MAP},
    ),
    "dilation": ([node("Conv", "x w", dilations=[2, 3])], W, {"output": MAP}),
    "same upper": (
        [node("Conv", "x w", strides=[2, 2], auto_pad="SAME_UPPER")], W, {"output": MAP}
    ),
    "same lower": (
        [node("Conv", "x w", strides=[2, 2], auto_pad="SAME_LOWER")], W,
        {"output": MAP, "shape": ("n", 4, 8, 10)},
    ),
    "valid": ([node("Conv", "x w", auto_pad="VALID")], W, {"output": MAP}),
    "groups": ([node("Conv", "x w", group=2)], {"w": real(6, 2, 3, 3)}, {"output": MAP}),
    "bias as an addition": (
        [node("Conv", "x w", "c"), node("Add", "c b")], W | {"b": real(1, 6, 1, 1)},
        {"output": MAP},
    ),
    "batch norm": (
        [node("BatchNormalization", "x s b m v", epsilon=0.01)],
        {"s": real(4), "b": real(4) + 1, "m": real(4) - 1, "v": real(4) ** 2},
        {"output": MAP},
    ),
    "gemm": (
        [node("Flatten", "x", "f"), node("Gemm", "f w b", alpha=0.5, beta=2.0)],
        {"w": real(252, 5), "b": real(5)}, {},
    ),
    "gemm transposed, one bias": (
        [node("Flatten", "x", "f"), node("Gemm", "f w b", transB=1)],
        {"w": real(5, 252), "b": real(1)}, {},
    ),
    "matmul and addition": (
        [node("Flatten", "x", "f"), node("MatMul", "f w", "m"), node("Add", "b m")],
        {"w": real(252, 5), "b": real(5)}, {},
    ),
    "clip to six": ([node("Clip", "x l h")], {"l": number(0), "h": number(6)},
                    {"output": MAP}),
    "clip below": ([node("Clip", "x l")], {"l": number(0)}, {"output": MAP}),
    "clip elsewhere": ([node("Clip", "x l h")], {"l": number(-1), "h": number(0.5)},
                       {"output": MAP}),
    "clip by attributes": ([node("Clip", "x", min=0.0, max=6.0)], {}, {"output": MAP, "opset": 9}),
    "activations": (
        [node("Relu", "x", "a"), node("LeakyRelu", "a", "b", alpha=0.3), node("Sigmoid", "b", "c"),
         node("Tanh", "c", "d"), node("HardSigmoid", "d", "e", alpha=1 / 6, beta=0.5),
         node("HardSwish", "e")], {}, {"output": MAP},
    ),
    "arithmetic": (
        [node("Sub", "x m", "a"), node("Div", "a s", "b"), node("Mul", "b x", "c"),
         node("Sub", "one c", "d"), node("Add", "d x")],
        {"m": real(1, 4, 1, 1), "s": np.array([2], np.float32), "one": number(1)}, {"output": MAP},
    ),
    "softmax in the middle": (
        [node("Softmax", "x", "a", axis=1), node("Mul", "a x")], {}, {"output": MAP},
    ),
    "average pool, padding counted": (
        [node("AveragePool", "x", kernel_shape=[3, 2], strides=[2, 2], pads=[1, 0, 1, 1],
              count_include_pad=1)], {}, {"output": MAP},
    ),
    "average pool, padding not counted": (
        [node("AveragePool", "x", kernel_shape=[3, 3], pads=[1, 1, 1, 1])], {}, {"output": MAP},
    ),
    "max pool, one-sided padding": (
        [node("MaxPool", "x", kernel_shape=[3, 3], strides=[2, 2], pads=[0, 0, 1, 1])], {},
        {"output": MAP},
    ),
    "max pool, rounded up": (
        [node("MaxPool", "x", kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1)], {},
        {"output": MAP},
    ),
    "global pools": (
        [node("GlobalAveragePool", "x", "a"), node("GlobalMaxPool", "x", "b"),
         node("Concat", "a b", "c", axis=1), node("Squeeze", "c axes", "d"),
         node("Unsqueeze", "d axes", "e"), node("Flatten", "e")],
        {"axes": ints(2, 3)}, {},
    ),
    "mean": ([node("ReduceMean", "x", axes=[-1, -2], keepdims=0)], {}, {}),
    "mean, axes as an input": (
        [node("ReduceMean", "x axes", "m"), node("Flatten", "m")], {"axes": ints(2, 3)},
        {"opset": 18},
    ),
    "view(x.size(0), -1)": (
        [node("Shape", "x", "s"), node("Gather", "s zero", "g", axis=0),
         node("Unsqueeze", "g axes", "u"), node("Concat", "u rest", "t", axis=0),
         node("Reshape", "x t")],
        {"zero": np.array(0), "axes": ints(0), "rest": ints(-1)}, {"output": ("n", 252)},
    ),
    "channel shuffle": (
        [node("Reshape", "x five", "a"), node("Transpose", "a", "b", perm=[0, 2, 1, 3, 4]),
         node("Reshape", "b four")],
        {"five": ints(0, 2, 2, 7, 9), "four": ints(-1, 4, 7, 9)}, {"output": MAP},
    ),
    "channels last at the input": (
        [node("Transpose", "x", "t", perm=[0, 3, 1, 2]), node("Conv", "t w")], W,
        {"output": MAP, "shape": ("n", 7, 9, 4)},
    ),
    "padding": (
        [node("Pad", "x p", "a"), node("Pad", "a p v")],
        {"p": ints(0, 0, 1, 0, 0, 0, 2, 3), "v": number(1.5)}, {"output": MAP},
    ),
    "nothing": (
        [node("Identity", "x", "a"), node("Dropout", "a", "b"), node("Relu", "b")], {},
        {"output": MAP},
    ),
    "constants that are computed": (
        [node("Constant", "", "k", value=numpy_helper.from_array(real(6, 4, 3, 3))),
         node("Mul", "k k", "w"), node("Identity", "w", "v"), node("Conv", "x v")], {},
        {"output": MAP},
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_operators_give_what_onnx_runtime_gives(case: str, tmp_path: Path) -> None:
    nodes, constants, options = CASES[case]
    path = file(tmp_path / "net.onnx", nodes, constants, **options)
    shape = options.get("shape", ("n", 4, 7, 9))
    images = np.random.default_rng(5).normal(size=(3, *shape[1:])).astype(np.float32)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    expected = session.run(None, {"x": images})[0]
    imported, _ = load_onnx(path)
    with torch.no_grad():
        found = imported(torch.from_numpy(images)).numpy()
    np.testing.assert_allclose(found, expected, atol=2e-5, rtol=1e-5)
    assert np.ptp(expected) > 0.01


def test_every_operator_is_among_the_cases() -> None:
    used = {proto.op_type for nodes, _, _ in CASES.values() for proto in nodes}
    assert set(OPERATORS) - used == {"LogSoftmax"}  # which the next test has


@pytest.mark.parametrize("kind", ["Softmax", "LogSoftmax"])
def test_a_softmax_at_the_end_is_left_out(kind: str, tmp_path: Path) -> None:
    nodes = [node("Flatten", "x", "f"), node("Gemm", "f w", "g"), node(kind, "g")]
    imported, _ = load_onnx(file(tmp_path / "net.onnx", nodes, {"w": real(252, 5)}))
    images = torch.rand(2, 4, 7, 9)
    with torch.no_grad():
        expected = images.flatten(1) @ torch.from_numpy(real(252, 5))
        torch.testing.assert_close(imported(images), expected)


def test_static_batches_are_freed(tmp_path: Path) -> None:
    nodes = [node("Reshape", "x shape", "f"), node("Gemm", "f w")]
    constants: Arrays = {"shape": ints(1, 252), "w": real(252, 5)}
    path = file(tmp_path / "net.onnx", nodes, constants, shape=(1, 4, 7, 9), output=(1, 5))
    assert load_onnx(path)[0](torch.rand(3, 4, 7, 9)).shape == (3, 5)


REFUSED: dict[str, tuple[list[NodeProto], Arrays, dict[str, Any], str]] = {
    "unknown": (
        [node("Erf", "x", "e", name="gelu/Erf"), node("Relu", "e")], {}, {},
        "operator Erf (gelu/Erf): must be an operator that can be imported; take it out of the "
        "network, or give that as module:factory",
    ),
    "another's": (
        [helper.make_node("Fancy", ["x"], ["e"], domain="ours"), node("Relu", "e")], {}, {},
        "operator ours.Fancy (makes e): must be an operator that can be imported; take it out of "
        "the network, or give that as module:factory",
    ),
    "computed weight": (
        [node("Relu", "x", "r"), node("Conv", "x r")], {}, {"shape": ("n", 4, 7, 9)},
        "operator Conv (makes y): weight must be constant, but is computed",
    ),
    "one dimension": (
        [node("Reshape", "x s", "r"), node("Conv", "r w")],
        {"s": ints(0, 4, 63), "w": real(6, 4, 3)}, {"output": ("n", "c", "l")},
        "operator Conv (makes y): weight must have 4 dimensions, a convolution of maps, not 3",
    ),
    "training": (
        [helper.make_node(
            "BatchNormalization", list("xsbmv"), ["y", "mean", "var"], training_mode=1
        )],
        {name: real(4) ** 2 for name in "sbmv"}, {},
        "operator BatchNormalization (makes y): training_mode must be 0, not 1: export the network "
        "in evaluation mode",
    ),
    "images mixed": (
        [node("Reshape", "x s")], {"s": ints(-1, 2)}, {"output": ("n", 2)},
        "operator Reshape (makes y): images must stay apart, but [4, 7, 9] becomes [2] of each",
    ),
    "images moved": (
        [node("Transpose", "x", perm=[1, 0, 2, 3])], {}, {},
        "operator Transpose (makes y): perm must leave the images first, not [1, 0, 2, 3]",
    ),
    "mean of channels": (
        [node("ReduceMean", "x", axes=[1])], {}, {},
        "operator ReduceMean (makes y): axes must be those of a map's rows and columns, 2 and 3",
    ),
    "reflected": (
        [node("Pad", "x p", mode="reflect")], {"p": ints(0, 0, 1, 1, 0, 0, 1, 1)}, {},
        "operator Pad (makes y): mode must be constant, not reflect",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_imported_is_named_by_operator_and_node(case: str, tmp_path: Path) -> None:
    nodes, constants, options, text = REFUSED[case]
    named: dict[str, Any] = {"output": MAP} | options
    path = file(tmp_path / "net.onnx", nodes, constants, **named)
    with pytest.raises(QuantError) as raised:
        load_onnx(path)
    assert str(raised.value) == f"{path}: {text}"


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


class Small(nn.Sequential):
    def __init__(self) -> None:
        super().__init__(
            nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(8, 16, 3, bias=False), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
            nn.Linear(16, 10),
        )  # fmt: skip


def test_torch_s_newer_exporter_is_understood_too(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = Small().eval()
    path = exported(model, tmp_path / "net.onnx", size=(1, 8, 8), dynamo=True)
    close(load_onnx(path)[0], model, 1, 8, 8)


def search(data: Path, model: str | Path, out: Path, *more: str) -> Result:
    app = Typer()
    app.command()(main)
    values = {"--model": model, "--data": data, "--cost-table": UNPU, "--out": out}
    options = [*(str(part) for pair in values.items() for part in pair), "--max-drop", "0.9"]
    options += ["--max-size", "0.9", "--workers", "0", "--ptq-only", *more]
    return CliRunner().invoke(app, options, catch_exceptions=False)


def test_a_search_of_an_onnx_file(data: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    path = exported(Small().eval(), tmp_path / "my net.onnx", size=(1, 8, 8), dynamo=False)
    found = search(data, path, tmp_path / "out")
    assert found.exit_code == 0, found.output
    result = json.loads((tmp_path / "out" / "result.json").read_text())
    assert list(result["allocation"]) == ["0", "4", "8"]
    assert result["integer_network"]["folder"] == "integer"
    assert result["model"] == str(path)
    about = result["provenance"]["weights"]
    assert about["producer"].startswith("pytorch")
    assert len(about["sha256"]) == 64
    again = search(
        data, path, tmp_path / "again", "--weights", str(tmp_path / "out" / "float.safetensors")
    )
    assert again.exit_code == 0, again.output
    assert (
        json.loads((tmp_path / "again" / "result.json").read_text())["accuracy"]
        == (result["accuracy"])
    )


def test_a_search_does_not_go_on_with_another_onnx_file(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopping(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    path = exported(Small().eval(), tmp_path / "net.onnx", size=(1, 8, 8), dynamo=False)
    monkeypatch.setattr(Journal, "write", stopping)
    assert search(data, path, tmp_path / "out").exit_code == 130
    exported(Small().eval(), path, size=(1, 8, 8), dynamo=False)
    with pytest.raises(QuantError) as caught:
        check_files(read_begun(tmp_path / "out", Options))
    assert str(caught.value) == (
        f"{path}: must be as it was when the run began, not changed; start anew"
    )


def test_an_operator_that_is_not_known_ends_a_search_in_one_line(
    data: Path, tmp_path: Path
) -> None:
    nodes, constants, _, text = REFUSED["unknown"]
    path = file(tmp_path / "net.onnx", nodes, constants, output=MAP)
    found = search(data, path, tmp_path / "out")
    assert found.exit_code == 2
    assert found.stderr == f"{path}: {text}\n"


def test_files_that_are_no_networks_are_told_in_one_line(data: Path, tmp_path: Path) -> None:
    missing, broken = tmp_path / "none.onnx", tmp_path / "text.onnx"
    broken.write_text("no network")
    old = file(tmp_path / "old.onnx", [node("Relu", "x")], {}, output=MAP, opset=6)
    free = file(tmp_path / "free.onnx", [node("Relu", "x")], {}, output=MAP, shape=("n", 4, "h", 9))
    unfit = file(
        tmp_path / "unfit.onnx", [node("Conv", "x w")], {"w": real(6, 5, 3, 3)}, output=MAP
    )
    torn = file(
        tmp_path / "torn.onnx", [node("Flatten", "x", "f"), node("Gemm", "f w")], {"w": real(9, 5)}
    )
    for path, text in (
        (missing, "model must be a file, and there is none of this name"),
        (broken, "model must be an ONNX file, not: "),
        (old, "opset must be at least 7, not 6; convert it with onnx.version_converter"),
        (free, "input x must be [N, C, H, W] with C, H and W told, not [?, 4, ?, 9]"),
        (unfit, "operator Conv (makes y): weight [6, 5, 3, 3] of 1 groups must fit the input's 4"),
        (torn, "shapes must fit each other, but: "),
    ):
        found = search(data, path, tmp_path / "out")
        assert found.exit_code == 2
        assert found.stderr.startswith(f"{path}: {text}"), found.stderr
        assert found.stderr.count("\n") == 1


def test_names_are_those_of_weights_or_nodes_and_never_within_another() -> None:
    names = Names()
    given = [
        names.path("", "Conv", "block1.conv1.weight"),
        names.path("/block2/shortcut/shortcut.0/Conv", "Conv", "onnx::Conv_95"),
        names.path("/block2/relu/Relu_1", "Relu"),
        names.path("", "Relu"),
        names.path("", "Relu"),
        names.path("a b-c", "Conv"),
        names.path("7", "Conv"),
        names.path("forward", "Conv"),
        names.path("block1", "Conv"),
        names.path("", "Conv", "block1.conv1.weight"),
    ]
    assert given == [
        "block1.conv1", "block2.shortcut.0", "block2.relu", "relu", "relu_2", "a_b_c", "7",
        "conv_forward", "block1_2", "block1_conv1",
    ]  # fmt: skip


def test_a_folder_is_named_after_the_file() -> None:
    assert file_name("nets/my-net.onnx") == "my-net"
