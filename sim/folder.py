"""The integer network: a folder of JSON and arrays that says what runs on the array, bit for bit.

The format is described in docs/integer-network.md. Nothing here needs torch or gateware.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from safetensors import SafetensorError
from safetensors.numpy import load as load_arrays
from safetensors.numpy import save as save_arrays

from hw.files import write_bytes, write_json
from hw.mapping import ConvShape
from hw.precision import MULTIPLIER_BITS, SHIFT_MAX, WeightMode

FORMAT: Final = "sigmaquant-integer-network"
VERSION: Final = 1
GRAPH_NAME = "network.json"
ARRAYS_NAME = "arrays.safetensors"
ACT_BITS = 8
LOGIT_BITS = 22
"""Bits of a result of the last layer, signed: three bytes of the array, seven bits apart."""

LOGIT_MOST = 127 << 14
"""Largest magnitude of such a result that the three bytes can say."""

EXAMPLES_NAME = "examples.safetensors"

Name = Annotated[str, Field(min_length=1)]
Positive = Annotated[int, Field(ge=1, le=65535)]
Padding = Annotated[int, Field(ge=0, le=255)]
Multiplier = Annotated[int, Field(ge=0, lt=1 << MULTIPLIER_BITS)]
Shift = Annotated[int, Field(ge=1, le=SHIFT_MAX)]


class FolderError(Exception):
    """An integer network that cannot be read, or does not hold together; says what and where."""


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class TensorSpec(_Record):
    """A feature map: its size, and what its integers stand for, scale * (q - zero_point)."""

    height: Positive
    width: Positive
    channels: Positive
    scale: Annotated[float, Field(gt=0)]
    zero_point: int = 0
    bits: Annotated[int, Field(ge=2, le=LOGIT_BITS)] = ACT_BITS
    signed: bool = False

    @property
    def low(self) -> int:
        """Smallest integer."""
        return -(1 << (self.bits - 1)) if self.signed else 0

    @property
    def high(self) -> int:
        """Largest integer."""
        return (1 << (self.bits - self.signed)) - 1


class _Step(_Record):
    name: Name
    output: Name


class _Window(_Step):
    input: Name
    kernel_h: Positive
    kernel_w: Positive
    stride: Positive
    pad_top: Padding = 0
    pad_left: Padding = 0
    pad_bottom: Padding = 0
    pad_right: Padding = 0

    @property
    def inputs(self) -> tuple[str, ...]:
        """Tensors that the step reads."""
        return (self.input,)

    def shape(self, source: TensorSpec, channels: int, groups: int) -> ConvShape:
        """Sizes of the step as a convolution."""
        return ConvShape(
            in_h=source.height,
            in_w=source.width,
            in_channels=source.channels,
            out_channels=channels,
            kernel_h=self.kernel_h,
            kernel_w=self.kernel_w,
            stride=self.stride,
            pad_top=self.pad_top,
            pad_left=self.pad_left,
            pad_bottom=self.pad_bottom,
            pad_right=self.pad_right,
            groups=groups,
        )


class Conv(_Window):
    """A convolution or dense layer, requantised per channel and clamped to `low` .. `high`.

    Its arrays are ``<name>.weight``, ``.bias``, ``.multiplier``, ``.shift`` and ``.scale``.
    """

    kind: Literal["conv"] = "conv"
    weight_bits: Literal[2, 4, 6, 8]
    groups: Positive = 1
    low: int
    high: int

    @property
    def mode(self) -> WeightMode:
        """Precision of the weights."""
        return WeightMode.from_bits(self.weight_bits)


class Add(_Step):
    """A residual sum: both summands brought to the scale of the result and clamped."""

    kind: Literal["add"] = "add"
    left: Name
    right: Name
    left_multiplier: Multiplier
    right_multiplier: Multiplier
    shift: Shift
    low: int
    high: int

    @property
    def inputs(self) -> tuple[str, ...]:
        """Tensors that the step reads."""
        return (self.left, self.right)


class Average(_Window):
    """An average pooling: the sum of a window, scaled and clamped."""

    kind: Literal["average"] = "average"
    multiplier: Multiplier
    shift: Shift
    low: int
    high: int


class Maximum(_Window):
    """A maximum pooling: integers pass on as they are."""

    kind: Literal["max"] = "max"


Step = Annotated[Conv | Add | Average | Maximum, Field(discriminator="kind")]


class Graph(_Record):
    """What network.json holds.

    `steps` run in their order; each writes one tensor, `output` of the last is the logits.
    """

    format: Literal["sigmaquant-integer-network"] = FORMAT
    version: Literal[1] = VERSION
    name: Name
    input: Name
    output: Name
    tensors: dict[str, TensorSpec]
    steps: list[Step]
    arrays_sha256: str = ""
    provenance: dict[str, Any] = {}

    @property
    def convs(self) -> tuple[Conv, ...]:
        """Layers that run on the array, in order."""
        return tuple(step for step in self.steps if isinstance(step, Conv))

    def conv_shape(self, step: Conv) -> ConvShape:
        """Sizes of a layer."""
        return step.shape(self.tensors[step.input], self.tensors[step.output].channels, step.groups)


@dataclass(frozen=True, kw_only=True, eq=False)
class LayerArrays:
    """Operands of a layer.

    Parameters
    ----------
    weight : int8 [KH, KW, C / groups, M]
        Weights, each within the layer's precision.
    bias : int32 [M]
        In units of the sums; the zero point of the input is folded in.
    multiplier : uint16 [M]
        See `sim.golden.requantise`.
    shift : uint8 [M]
        The same.
    scale : float32 [M]
        A weight stands for ``scale * weight``; not needed to run.
    """

    weight: NDArray[np.int8]
    bias: NDArray[np.int32]
    multiplier: NDArray[np.uint16]
    shift: NDArray[np.uint8]
    scale: NDArray[np.float32]


@dataclass(frozen=True, kw_only=True, eq=False)
class IntegerNetwork:
    """A network of integers: its graph, and the operands of its layers by name.

    Raises
    ------
    FolderError
        If the parts do not fit each other.
    """

    graph: Graph
    layers: Mapping[str, LayerArrays]

    def __post_init__(self) -> None:
        """Check that shapes, bounds and operands fit."""
        _check(self.graph)
        for step in self.graph.convs:
            if step.name not in self.layers:
                raise FolderError(f"{step.name}: layer must have arrays, not none")
            _check_layer(self.graph, step, self.layers[step.name])

    @property
    def packed_bytes(self) -> dict[str, int]:
        """Bytes of every layer's packed weights and of its records of 8 bytes a channel."""
        return {
            step.name: -(-self.layers[step.name].weight.size * step.weight_bits // 8)
            + 8 * len(self.layers[step.name].bias)
            for step in self.graph.convs
        }

    def save(self, folder: Path) -> None:
        """Write the folder: the arrays first, then the graph, each whole or not at all."""
        arrays: dict[str, NDArray[Any]] = {}
        for step in self.graph.convs:
            layer = self.layers[step.name]
            arrays[f"{step.name}.weight"] = pack(layer.weight, step.weight_bits)
            for field in ("bias", "multiplier", "shift", "scale"):
                arrays[f"{step.name}.{field}"] = np.ascontiguousarray(getattr(layer, field))
        content = save_arrays(arrays)
        graph = self.graph.model_copy(update={"arrays_sha256": hashlib.sha256(content).hexdigest()})
        write_bytes(folder / ARRAYS_NAME, content)
        write_json(folder / GRAPH_NAME, graph.model_dump(mode="json"), indent=1)


def load(folder: Path) -> IntegerNetwork:
    """Read and check a folder.

    Raises
    ------
    FolderError
        If a file is missing, damaged, of a newer version, or does not fit the other.
    """
    graph = _load_graph(folder / GRAPH_NAME)
    path = folder / ARRAYS_NAME
    try:
        content = path.read_bytes()
    except OSError as error:
        raise FolderError(f"{path}: must be a file, but: {error.strerror}; export anew") from error
    found = hashlib.sha256(content).hexdigest()
    if found != graph.arrays_sha256:
        raise FolderError(
            f"{path}: SHA-256 must be {graph.arrays_sha256[:16]}..., as {GRAPH_NAME} says, not "
            f"{found[:16]}...; the file is damaged or of another export"
        )
    try:
        arrays = load_arrays(content)
    except SafetensorError as error:
        raise FolderError(f"{path}: must be a safetensors file, not: {error}") from error
    return IntegerNetwork(
        graph=graph, layers={step.name: _layer(graph, step, arrays) for step in graph.convs}
    )


def save_examples(
    folder: Path, images: NDArray[np.uint8], labels: NDArray[np.integer[Any]]
) -> None:
    """Write some images, uint8 [N, H, W, C], and their classes beside a network."""
    arrays: dict[str, NDArray[Any]] = {
        "images": np.ascontiguousarray(images),
        "labels": labels.astype(np.int64),
    }
    write_bytes(folder / EXAMPLES_NAME, save_arrays(arrays))


def load_examples(folder: Path, graph: Graph) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Read what `save_examples` wrote, for a network.

    Raises
    ------
    FolderError
        If there is no such file, it is damaged, or the images are not the network's.
    """
    path, spec = folder / EXAMPLES_NAME, graph.tensors[graph.input]
    try:
        arrays = load_arrays(path.read_bytes())
        images, labels = arrays["images"], arrays["labels"]
    except (OSError, SafetensorError, KeyError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise FolderError(
            f"{path}: must be a safetensors file of images and labels, but: {reason}; export anew"
        ) from error
    size = (len(labels), spec.height, spec.width, spec.channels)
    if images.dtype != np.uint8 or images.shape != size or not len(labels):
        raise FolderError(
            f"{path}: images must be uint8 {list(size)}, at least one, not {images.dtype} "
            f"{list(images.shape)}"
        )
    return images, labels


def _load_graph(path: Path) -> Graph:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise FolderError(
            f"{path}: must be a file, but: {error.strerror}; write one with "
            "`python -m quant.export RUN --out DIR`"
        ) from error
    except ValueError as error:
        raise FolderError(f"{path}: must be JSON, not: {error}") from error
    known = isinstance(document, dict) and document.get("format") == FORMAT
    if not known:
        raise FolderError(f"{path}: format must be {FORMAT}, not another")
    if document.get("version") != VERSION:
        raise FolderError(
            f"{path}: version must be {VERSION}, not {document.get('version')}; take a program "
            "that knows it, or export anew"
        )
    try:
        return Graph.model_validate(document)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        found = "" if first["type"] == "missing" else f", not {str(first['input'])[:60]!r}"
        raise FolderError(f"{path}: {place}: {first['msg']}{found}") from error


def pack(values: NDArray[np.int8], bits: int) -> NDArray[np.uint8]:
    """Pack two's complement fields of `bits` bits, the first in the lowest bits of byte 0.

    Parameters
    ----------
    values : int8, any shape
        In C order.
    bits : int
        1 to 8.

    Returns
    -------
    uint8 [ceil(size * bits / 8)]
    """
    fields = np.unpackbits(values.reshape(-1, 1).view(np.uint8), axis=1, bitorder="little")
    return np.packbits(fields[:, :bits].reshape(-1), bitorder="little")


def unpack(data: NDArray[np.uint8], bits: int, count: int) -> NDArray[np.int8]:
    """Inverse of `pack`: int8 [count]."""
    fields = np.unpackbits(data, bitorder="little")[: count * bits].reshape(count, bits)
    top = 8 - bits
    full = np.concatenate([np.zeros((count, top), np.uint8), fields], axis=1)
    values: NDArray[np.int8] = (
        np.packbits(full, axis=1, bitorder="little").reshape(-1).view(np.int8)
    )
    return values >> np.int8(top)  # arithmetic: fills with the sign


def _layer(graph: Graph, step: Conv, arrays: Mapping[str, NDArray[Any]]) -> LayerArrays:
    shape = graph.conv_shape(step)
    outputs = shape.out_channels
    full = (shape.kernel_h, shape.kernel_w, shape.in_channels // shape.groups, outputs)
    count = int(np.prod(full))
    wanted = {
        "weight": (np.uint8, (-(-count * step.weight_bits // 8),)),
        "bias": (np.int32, (outputs,)),
        "multiplier": (np.uint16, (outputs,)),
        "shift": (np.uint8, (outputs,)),
        "scale": (np.float32, (outputs,)),
    }
    found = {}
    for field, (dtype, size) in wanted.items():
        name = f"{step.name}.{field}"
        array = arrays.get(name)
        if array is None:
            raise FolderError(f"{name}: must be in {ARRAYS_NAME}, but is not")
        if array.dtype != dtype or array.shape != size:
            raise FolderError(
                f"{name}: must be {np.dtype(dtype)} {list(size)}, not {array.dtype} "
                f"{list(array.shape)}"
            )
        found[field] = array
    packed = found.pop("weight")
    return LayerArrays(weight=unpack(packed, step.weight_bits, count).reshape(full), **found)


def _check(graph: Graph) -> None:
    """Check that every tensor is made once, before it is read, in the size that its step gives."""
    for name in (graph.input, graph.output):
        if name not in graph.tensors:
            raise FolderError(f"{name}: must be one of the tensors")
    made = {graph.input}
    for step in graph.steps:
        for name in step.inputs:
            if name not in made:
                raise FolderError(f"{step.name}: {name} must be made by a step before")
        if step.output in made or step.output not in graph.tensors:
            raise FolderError(
                f"{step.name}: {step.output} must be a tensor that no step before made"
            )
        made.add(step.output)
        _check_step(graph, step)
    if not graph.steps or graph.steps[-1].output != graph.output:
        raise FolderError(f"{graph.output}: output must be made by the last step")
    for name, spec in graph.tensors.items():
        is_output = name == graph.output
        if (spec.bits, spec.signed) != ((LOGIT_BITS, True) if is_output else (ACT_BITS, False)):
            wanted = f"{LOGIT_BITS} bits, signed" if is_output else f"{ACT_BITS} bits, unsigned"
            raise FolderError(f"{name}: tensor must have {wanted}, not {spec.bits}")
        if not spec.low <= spec.zero_point <= spec.high:
            raise FolderError(
                f"{name}: zero_point must be within {spec.low} .. {spec.high}, "
                f"not {spec.zero_point}"
            )


def _check_step(graph: Graph, step: Step) -> None:
    sources = [graph.tensors[name] for name in step.inputs]
    result = graph.tensors[step.output]
    size = (result.height, result.width, result.channels)
    if isinstance(step, Add):
        wanted = {(s.height, s.width, s.channels) for s in sources}
    else:
        channels = result.channels if isinstance(step, Conv) else sources[0].channels
        groups = step.groups if isinstance(step, Conv) else channels
        try:
            shape = step.shape(sources[0], channels, groups)
        except ValueError as error:
            raise FolderError(f"{step.name}: {error}") from error
        wanted = {(shape.out_h, shape.out_w, channels)}
    if wanted != {size}:
        raise FolderError(
            f"{step.name}: {step.output} must be of the size that the step gives, "
            f"{' or '.join(map(str, sorted(wanted)))}, not {size}"
        )
    if isinstance(step, Maximum):
        return
    most = (-LOGIT_MOST, LOGIT_MOST) if result.signed else (result.low, result.high)
    if not most[0] <= step.low <= step.high <= most[1]:
        raise FolderError(
            f"{step.name}: low and high must be within {most[0]} .. {most[1]}, not "
            f"{step.low} .. {step.high}"
        )


def _check_layer(graph: Graph, step: Conv, layer: LayerArrays) -> None:
    most = graph.tensors[step.input].high
    if layer.shift.min() < 1 or layer.shift.max() > SHIFT_MAX:
        raise FolderError(f"{step.name}.shift: must be from 1 to {SHIFT_MAX}")
    sums = np.abs(layer.weight.astype(np.int64)).sum(axis=(0, 1, 2)) * most
    if (sums + np.abs(layer.bias.astype(np.int64))).max() >= 1 << 31:
        raise FolderError(f"{step.name}.bias: sums and biases must fit 32 bits")
