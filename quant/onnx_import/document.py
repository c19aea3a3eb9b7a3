"""An ONNX file: its nodes, what is constant in it, and the shapes of everything else."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from numpy.typing import NDArray
from onnx import helper, numpy_helper, shape_inference
from onnx.reference import ReferenceEvaluator

from quant.errors import QuantError

Shape = tuple[int | None, ...]
"""Sizes of a tensor; None where a size is free."""

OLDEST_OPSET = 7
"""Before it, arithmetic broadcast by an attribute."""
_OWN_DOMAINS = ("", "ai.onnx")


@dataclass(frozen=True, kw_only=True, eq=False)
class Document:
    """A file's network, every name resolved.

    Parameters
    ----------
    path : Path
        The file.
    opset : int
        Version of ONNX's operators.
    nodes : tuple of NodeProto
        In an order in which they can run, without those of constants alone.
    constants : dict of name to array
        Initialisers, and what follows from them.
    shapes : dict of name to Shape
        As far as they can be inferred.
    image, output : str
        Tensors that come in and go out.
    producer : str
        What wrote the file.
    """

    path: Path
    opset: int
    nodes: tuple[onnx.NodeProto, ...]
    constants: dict[str, NDArray[Any]]
    shapes: dict[str, Shape]
    image: str
    output: str
    producer: str


class Node:
    """A node, with what a builder asks of it.

    Parameters
    ----------
    proto : NodeProto
        The node.
    document : Document
        Where it is from.
    """

    def __init__(self, proto: onnx.NodeProto, document: Document) -> None:
        self.proto, self.document = proto, document
        self.kind = proto.op_type
        self.inputs, self.output = tuple(proto.input), proto.output[0]
        self._attributes = {a.name: helper.get_attribute_value(a) for a in proto.attribute}

    def attribute(self, name: str, default: Any) -> Any:
        """Return an attribute; text as str."""
        value = self._attributes.get(name, default)
        return value.decode() if isinstance(value, bytes) else value

    def has(self, index: int) -> bool:
        """Whether an input is there."""
        return index < len(self.inputs) and self.inputs[index] != ""

    def is_constant(self, index: int) -> bool:
        """Whether an input is there and known."""
        return self.has(index) and self.inputs[index] in self.document.constants

    def constant(self, index: int, what: str) -> NDArray[Any]:
        """Return an input that must be known.

        Raises
        ------
        QuantError
            If it is not.
        """
        if not self.is_constant(index):
            self.refuse(f"{what} must be constant, but is computed")
        return self.document.constants[self.inputs[index]]

    def shape(self, name: str) -> Shape:
        """Return a tensor's shape.

        Raises
        ------
        QuantError
            If it cannot be inferred.
        """
        found = self.document.shapes.get(name)
        if found is None:
            self.refuse(f"shape of {name} must follow from the input's, but does not")
        return found

    def refuse(self, reason: str) -> NoReturn:
        """Say why the node cannot be imported.

        Raises
        ------
        QuantError
            One line with the file, the operator, the node and the reason.
        """
        raise QuantError(f"{self.document.path}: {_called(self.proto)}: {reason}")


def read(path: Path) -> Document:
    """Read a file, check it, and infer its shapes.

    Raises
    ------
    QuantError
        If it is no ONNX file, or not of one image to one tensor; one line.
    """
    model = _load(path)
    opset = next((e.version for e in model.opset_import if e.domain in _OWN_DOMAINS), 0)
    if opset < OLDEST_OPSET:
        raise QuantError(
            f"{path}: opset must be at least {OLDEST_OPSET}, not {opset}; convert it with "
            "onnx.version_converter"
        )
    graph = model.graph
    constants = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
    inputs = [value for value in graph.input if value.name not in constants]
    if len(inputs) != 1 or len(graph.output) != 1:
        raise QuantError(
            f"{path}: network must have one input and one output, not {len(inputs)} and "
            f"{len(graph.output)}"
        )
    sizes = _shape(inputs[0])
    if sizes is None or len(sizes) != 4 or any(size is None for size in sizes[1:]):
        raise QuantError(
            f"{path}: input {inputs[0].name} must be [N, C, H, W] with C, H and W told, not "
            f"{_shown(sizes)}"
        )
    nodes = _fold(path, graph, constants, opset)
    return Document(
        path=path,
        opset=opset,
        nodes=nodes,
        constants=constants,
        shapes={inputs[0].name: sizes} | _shapes(path, model),
        image=inputs[0].name,
        output=graph.output[0].name,
        producer=f"{model.producer_name} {model.producer_version}".strip(),
    )


def _load(path: Path) -> onnx.ModelProto:
    try:
        model = onnx.load(path)
        onnx.checker.check_model(model)
    except OSError as error:
        raise QuantError(f"{path}: model must be a file, but: {error.strerror}") from error
    except (DecodeError, onnx.checker.ValidationError) as error:
        reason = (str(error).splitlines() or ["no model"])[0][:200]
        raise QuantError(f"{path}: model must be an ONNX file, not: {reason}") from error
    return model


def _fold(
    path: Path, graph: onnx.GraphProto, constants: dict[str, NDArray[Any]], opset: int
) -> tuple[onnx.NodeProto, ...]:
    """Compute what depends on constants alone; return the other nodes."""
    left = []
    for proto in graph.node:
        if proto.domain in _OWN_DOMAINS and all(n in constants or not n for n in proto.input):
            try:
                constants.update(_computed(proto, constants, opset))
            except Exception as error:  # of the reference's code for the operator
                raise QuantError(
                    f"{path}: {_called(proto)}: must be computable from its constants, but: {error}"
                ) from error
        else:
            left.append(proto)
    return tuple(left)


def _computed(
    proto: onnx.NodeProto, constants: dict[str, NDArray[Any]], opset: int
) -> dict[str, NDArray[Any]]:
    outputs = [name for name in proto.output if name]
    empty = onnx.TypeProto()
    graph = helper.make_graph(
        [proto], "constants", [], [helper.make_value_info(name, empty) for name in outputs],
        [numpy_helper.from_array(constants[name], name) for name in set(proto.input) if name],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    values = ReferenceEvaluator(model).run(None, {})
    return {name: np.asarray(value) for name, value in zip(outputs, values, strict=True)}


def _shapes(path: Path, model: onnx.ModelProto) -> dict[str, Shape]:
    try:
        # data_prop: shapes that are computed from shapes, as exporters write view(n, -1)
        inferred = shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)
    except Exception as error:  # its exceptions have no common class
        reason = (str(error).splitlines() or ["unknown"])[0][:200]
        raise QuantError(f"{path}: shapes must fit each other, but: {reason}") from error
    values = (*inferred.graph.value_info, *inferred.graph.output)
    found = {value.name: _shape(value) for value in values}
    return {name: shape for name, shape in found.items() if shape is not None}


def _shape(value: onnx.ValueInfoProto) -> Shape | None:
    tensor = value.type.tensor_type
    if not tensor.HasField("shape"):
        return None
    return tuple(d.dim_value if d.HasField("dim_value") else None for d in tensor.shape.dim)


def _shown(shape: Shape | None) -> str:
    if shape is None:
        return "of unknown shape"
    return f"[{', '.join('?' if size is None else str(size) for size in shape)}]"


def _called(proto: onnx.NodeProto) -> str:
    """Name a node in errors: its operator, and its name or what it makes."""
    domain = "" if proto.domain in _OWN_DOMAINS else f"{proto.domain}."
    return f"operator {domain}{proto.op_type} ({proto.name or f'makes {proto.output[0]}'})"
