"""An ONNX graph that is written node by node."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

Batch = int | str
"""Images of a run: a number, or the name of a size that is free."""

PRODUCER = "sigmaquant"


class GraphWriter:
    """Nodes, initialisers and what is known of tensors, until `model` puts them together."""

    def __init__(self) -> None:
        self._nodes: list[NodeProto] = []
        self._tensors: dict[str, TensorProto] = {}
        self._known: list[ValueInfoProto] = []

    def constant(self, name: str, value: NDArray[Any]) -> str:
        """Add an initialiser; the same name stands for the same value. Returns the name."""
        if name not in self._tensors:
            self.tensor(numpy_helper.from_array(np.asarray(value, order="C"), name))
        return name

    def tensor(self, tensor: TensorProto) -> str:
        """Add an initialiser as it is. Returns its name."""
        self._tensors[tensor.name] = tensor
        return tensor.name

    def node(
        self, kind: str, inputs: Sequence[str], output: str, *, domain: str = "", **attributes: Any
    ) -> str:
        """Add a node, called as its output. Returns the output."""
        self._nodes.append(
            helper.make_node(kind, inputs, [output], name=output, domain=domain, **attributes)
        )
        return output

    def known(self, name: str, kind: int, shape: Sequence[Batch]) -> None:
        """Tell a tensor's type and shape, where no tool would infer them."""
        self._known.append(helper.make_tensor_value_info(name, kind, list(shape)))

    def model(
        self,
        name: str,
        inputs: Sequence[ValueInfoProto],
        outputs: Sequence[ValueInfoProto],
        *,
        opsets: dict[str, int],
        notes: dict[str, str],
    ) -> onnx.ModelProto:
        """Return the model, checked where it has no domain but ONNX's own."""
        graph = helper.make_graph(
            self._nodes,
            name,
            list(inputs),
            list(outputs),
            list(self._tensors.values()),
            value_info=self._known,
        )
        imports = [helper.make_opsetid(domain, version) for domain, version in opsets.items()]
        model = helper.make_model(graph, opset_imports=imports, producer_name=PRODUCER)
        model.ir_version = helper.find_min_ir_version_for(imports, ignore_unknown=True)
        helper.set_model_props(model, notes)
        if set(opsets) == {""}:
            onnx.checker.check_model(model, full_check=True)
        return model
