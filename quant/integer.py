"""A quantised network as integers: the graph and arrays of `sim.folder`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx, nn

from quant.errors import QuantError
from quant.exact import integer_form, pool_window
from quant.quant_layer import QuantLayer
from quant.quant_network import QuantNetwork
from quant.quantizer import ActQuantizer, ActRange
from quant.requant import average_multiplier, requantiser, summand_multipliers
from sim.folder import (
    LOGIT_BITS,
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
)

LOGITS = "logits"
_LAST = "output: must come from a layer to be exported, not {}"


def integer_network(
    quantised: QuantNetwork,
    example: Tensor,
    *,
    name: str,
    provenance: Mapping[str, Any] | None = None,
) -> IntegerNetwork:
    """Turn a calibrated network into integers.

    Parameters
    ----------
    quantised : QuantNetwork
        With all activation ranges.
    example : float [1, C, H, W]
        An input, for the sizes.
    name : str
        Of the network.
    provenance : mapping, optional
        Where it comes from; JSON.

    Raises
    ------
    QuantError
        If an operation has no integer counterpart; names the node.
    """
    builder = _Builder(quantised, example)
    graph = Graph(
        name=name,
        input=builder.input,
        output=LOGITS,
        tensors=builder.tensors,
        steps=builder.steps,
        provenance=dict(provenance or {}),
    )
    return IntegerNetwork(graph=graph, layers=builder.arrays)


class _Builder:
    """Walks through the graph in order and writes steps."""

    def __init__(self, quantised: QuantNetwork, example: Tensor) -> None:
        self.module = integer_form(quantised)
        self.names = {path: tensor for tensor, path in quantised.act_quantizers.items()}
        self.sizes = _sizes(self.module, example)
        self.tensors: dict[str, TensorSpec] = {}
        self.ranges: dict[str, ActRange] = {}
        self.steps: list[Step] = []
        self.arrays: dict[str, LayerArrays] = {}
        self.made: dict[fx.Node, str] = {}
        """Tensor that a node's value is."""
        self.input = ""
        for node in self.module.graph.nodes:
            self._visit(node)

    def _visit(self, node: fx.Node) -> None:
        if node.op == "placeholder":
            return
        if node.op == "output":
            last = node.all_input_nodes[0]
            if not isinstance(self._module(last), QuantLayer):
                raise QuantError(_LAST.format(last.name))
            self._layer(last, None)
            return
        module = self._module(node)
        if isinstance(module, ActQuantizer):
            self._quantiser(node, module)
        elif isinstance(module, nn.MaxPool2d):
            self._maximum(node, module)
        elif not self._is_pending(node):
            source = node.all_input_nodes[0]
            if source not in self.made:
                raise QuantError(_LAST.format(source.name))
            self.made[node] = self.made[source]  # flatten: see `_as_kernel`

    def _module(self, node: fx.Node) -> nn.Module | None:
        return self.module.get_submodule(str(node.target)) if node.op == "call_module" else None

    def _is_pending(self, node: fx.Node) -> bool:
        """Whether a node's value waits for the quantiser behind it."""
        kinds = (QuantLayer, nn.AvgPool2d, nn.AdaptiveAvgPool2d)
        return isinstance(self._module(node), kinds) or len(node.all_input_nodes) == 2

    def _quantiser(self, node: fx.Node, module: ActQuantizer) -> None:
        name, source = self.names[str(node.target)], node.all_input_nodes[0]
        assert module.range is not None
        height, width, channels = _size(self.sizes[node])
        self.tensors[name] = TensorSpec(
            height=height,
            width=width,
            channels=channels,
            scale=module.range.scale,
            zero_point=module.range.zero_point,
            bits=module.range.bits,
        )
        self.ranges[name] = module.range
        self.made[node] = name
        before = self._module(source)
        if source.op == "placeholder":
            self.input = name
        elif isinstance(before, QuantLayer):
            self._layer(source, name)
        elif isinstance(before, nn.AvgPool2d | nn.AdaptiveAvgPool2d):
            self._average(source, before, name)
        elif len(source.all_input_nodes) == 2:
            self._add(source, name)
        else:
            raise QuantError(
                f"{source.name}: must be a layer, a sum or a pooling to be exported, not "
                f"{source.op} {source.target}"
            )

    def _layer(self, node: fx.Node, output: str | None) -> None:
        layer, source = self._module(node), self.made[node.all_input_nodes[0]]
        assert isinstance(layer, QuantLayer)
        how = requantiser(
            layer.integers(), self.ranges[source], self.ranges[output].scale if output else None
        )
        name = str(node.target)
        if output is None:
            height, width, channels = _size(self.sizes[node])
            self.tensors[LOGITS] = TensorSpec(
                height=height,
                width=width,
                channels=channels,
                scale=how.scale,
                bits=LOGIT_BITS,
                signed=True,
            )
        target = self.tensors[output or LOGITS]
        weight, geometry = _as_kernel(layer.layer, how.weight, self.tensors[source], name)
        self.arrays[name] = LayerArrays(
            weight=np.ascontiguousarray(weight),
            bias=how.bias,
            multiplier=how.multiplier,
            shift=how.shift,
            scale=layer.integers().scale,
        )
        self.steps.append(
            Conv(
                name=name,
                input=source,
                output=output or LOGITS,
                low=target.low if output else -LOGIT_MOST,
                high=target.high if output else LOGIT_MOST,
                **geometry | {"weight_bits": layer.mode.bits},
            )
        )

    def _add(self, node: fx.Node, output: str) -> None:
        left, right = (self.made[argument] for argument in node.all_input_nodes)
        target = self.tensors[output]
        a, b, shift = summand_multipliers(
            self.ranges[left].scale, self.ranges[right].scale, target.scale
        )
        self.steps.append(
            Add(
                name=node.name,
                left=left,
                right=right,
                output=output,
                left_multiplier=a,
                right_multiplier=b,
                shift=shift,
                low=target.low,
                high=target.high,
            )
        )

    def _average(self, node: fx.Node, pool: nn.Module, output: str) -> None:
        source, target = self.made[node.all_input_nodes[0]], self.tensors[output]
        geometry = self._pooled(node, pool, source)
        count = geometry["kernel_h"] * geometry["kernel_w"]
        multiplier, shift = average_multiplier(self.ranges[source].scale, target.scale, count)
        self.steps.append(
            Average(
                name=str(node.target),
                input=source,
                output=output,
                multiplier=multiplier,
                shift=shift,
                low=target.low,
                high=target.high,
                **geometry,
            )
        )

    def _maximum(self, node: fx.Node, pool: nn.Module) -> None:
        source, output = self.made[node.all_input_nodes[0]], str(node.target)
        height, width, channels = _size(self.sizes[node])
        self.tensors[output] = self.tensors[source].model_copy(
            update={"height": height, "width": width, "channels": channels}
        )
        self.ranges[output] = self.ranges[source]
        self.made[node] = output
        self.steps.append(
            Maximum(name=output, input=source, output=output, **self._pooled(node, pool, source))
        )

    def _pooled(self, node: fx.Node, pool: nn.Module, source: str) -> dict[str, Any]:
        spec = self.tensors[source]
        window = pool_window(pool, (spec.height, spec.width), str(node.target))
        high, wide = window.padding
        return {
            "kernel_h": window.kernel[0],
            "kernel_w": window.kernel[1],
            "stride": window.stride,
            **{"pad_top": high, "pad_bottom": high, "pad_left": wide, "pad_right": wide},
        }


def _as_kernel(
    layer: nn.Module, weight: Any, source: TensorSpec, name: str
) -> tuple[Any, dict[str, Any]]:
    """Weights as [KH, KW, C / groups, M], and the geometry; a dense layer covers its whole map."""
    if isinstance(layer, nn.Linear):
        by_map = weight.reshape(len(weight), source.channels, source.height, source.width)
        size = {"kernel_h": source.height, "kernel_w": source.width, "stride": 1}
        return by_map.transpose(2, 3, 1, 0), size
    assert isinstance(layer, nn.Conv2d)
    if set(layer.dilation) != {1} or len(set(layer.stride)) > 1 or layer.padding_mode != "zeros":
        raise QuantError(
            f"{name}: convolution must have dilation 1, one stride and zeros as padding to be "
            f"exported, not {layer}"
        )
    if isinstance(layer.padding, str):
        raise QuantError(f"{name}: padding must be numbers to be exported, not {layer.padding!r}")
    high, wide = layer.padding
    return weight.transpose(2, 3, 1, 0), {
        "kernel_h": layer.kernel_size[0],
        "kernel_w": layer.kernel_size[1],
        "stride": layer.stride[0],
        **{"pad_top": high, "pad_bottom": high, "pad_left": wide, "pad_right": wide},
        "groups": layer.groups,
    }


def _size(shape: tuple[int, ...]) -> tuple[int, int, int]:
    """Height, width and channels of [N, C, H, W] or [N, C]."""
    if len(shape) == 2:
        return 1, 1, shape[1]
    return shape[2], shape[3], shape[1]


class _Sizes(fx.Interpreter):
    def __init__(self, module: fx.GraphModule) -> None:
        super().__init__(module)
        self.sizes: dict[fx.Node, tuple[int, ...]] = {}

    def run_node(self, n: fx.Node) -> Any:
        value = super().run_node(n)
        if isinstance(value, Tensor):
            self.sizes[n] = tuple(value.shape)
        return value


@torch.no_grad()
def _sizes(module: fx.GraphModule, example: Tensor) -> dict[fx.Node, tuple[int, ...]]:
    sizes = _Sizes(module.eval())
    sizes.run(example)
    return sizes.sizes
