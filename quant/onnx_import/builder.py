"""Building a network of an ONNX file: a graph of `torch.fx` that calls torch's own modules."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, fx, nn

from quant.onnx_import.document import Document, Node
from quant.onnx_import.names import Names


class Builder:
    """A graph that grows node by node.

    Parameters
    ----------
    document : Document
        What it is of.
    """

    def __init__(self, document: Document) -> None:
        self.document = document
        self._root = fx.GraphModule(nn.Module(), fx.Graph())
        self._graph = fx.Graph()
        self._names = Names()
        self._known: dict[str, fx.Node] = {document.image: self._graph.placeholder("image")}
        self._readers: dict[str, int] = {}
        for proto in document.nodes:
            for name in proto.input:
                self._readers[name] = self._readers.get(name, 0) + 1

    def value(self, name: str) -> fx.Node:
        """Return what makes a tensor."""
        return self._known[name]

    def set(self, name: str, value: fx.Node) -> None:
        """Say what makes a tensor."""
        self._known[name] = value

    def module(
        self, node: Node, module: nn.Module, source: fx.Node, *, weight: str = ""
    ) -> fx.Node:
        """Call a module, named as the node or its weight."""
        path = self._names.path(node.proto.name, node.kind, weight)
        self._root.add_submodule(path, module)
        return self._graph.call_module(path, (source,))

    def call(self, function: Callable[..., Any], *arguments: Any, **named: Any) -> fx.Node:
        """Call a function."""
        return self._graph.call_function(function, arguments, named)

    def buffer(self, node: Node, value: NDArray[Any]) -> fx.Node:
        """Read a constant that does not train."""
        name = self._names.path(node.proto.name, node.kind).replace(".", "_") + "_constant"
        self._root.register_buffer(name, as_tensor(value))
        return self._graph.get_attr(name)

    def layer_without_bias(self, name: str) -> nn.Conv2d | nn.Linear | None:
        """Return the layer that makes a tensor, if only one node reads it and it has no bias."""
        maker = self._known[name]
        if maker.op != "call_module" or self._readers[name] != 1:
            return None
        module = self._root.get_submodule(str(maker.target))
        if isinstance(module, nn.Conv2d | nn.Linear) and module.bias is None:
            return module
        return None

    def finish(self, output: str) -> fx.GraphModule:
        """Return the network."""
        self._graph.output(self._known[output])
        self._graph.lint()
        return fx.GraphModule(self._root, self._graph, class_name="ImportedNetwork")


def as_tensor(value: NDArray[Any]) -> Tensor:
    """Copy an array, float64 as float32."""
    copied = np.array(value, np.float32) if value.dtype.kind == "f" else np.array(value)
    return torch.from_numpy(copied)


def parameter(value: NDArray[Any]) -> nn.Parameter:
    """Copy an array as a float32 parameter."""
    return nn.Parameter(torch.from_numpy(np.array(value, np.float32)))
