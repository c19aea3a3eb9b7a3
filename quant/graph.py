"""Tracing a network: its quantisable layers, batch-norm pairs and shared activation tensors.

Tracing is `torch.fx`; a network that it cannot follow is refused by the name of the place.
"""

from __future__ import annotations

import copy
import math
import operator
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn import functional

from hw.schedule import GemmShape
from quant.errors import QuantError

WeightLayer = nn.Conv2d | nn.Linear
Norm = nn.BatchNorm1d | nn.BatchNorm2d

_ADDS: set[Any] = {operator.add, operator.iadd, torch.add, "add", "add_"}
_RELUS: set[Any] = {functional.relu, torch.relu, "relu", "relu_"}
_FLATTENS: set[Any] = {torch.flatten, "flatten"}
_KINDS: tuple[tuple[str, type[nn.Module] | tuple[type[nn.Module], ...]], ...] = (
    ("layer", (nn.Conv2d, nn.Linear)),
    ("norm", (nn.BatchNorm1d, nn.BatchNorm2d)),
    ("relu", nn.ReLU),
    ("pool", (nn.AvgPool2d, nn.AdaptiveAvgPool2d)),
    ("pass", (nn.MaxPool2d, nn.Flatten)),
    ("nothing", (nn.Identity, nn.Dropout)),
)
_PASS_ON = ("pass", "nothing")


@dataclass(frozen=True, kw_only=True)
class Layer:
    """One quantisable layer.

    Parameters
    ----------
    name : str
        Module path.
    shape : GemmShape
        Matrix products of one inference.
    source : str
        Tensor that the layer reads; layers of equal source share its activation quantiser.
    norm : str, optional
        Module path of the batch norm that follows, and that is folded into the layer.
    """

    name: str
    shape: GemmShape
    source: str
    norm: str | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Network:
    """A traced network.

    Parameters
    ----------
    module : fx.GraphModule
        The float network, a copy, in evaluation mode.
    layers : tuple of Layer
        In order of execution.
    sites : mapping of fx node name to tensor name
        Nodes whose value is quantised: what leaves the array or another operation, after its
        batch norm and ReLU, and the image, but not the logits.
    rectified : frozenset of str
        Names of the tensors that a ReLU made.
    """

    module: fx.GraphModule
    layers: tuple[Layer, ...]
    sites: Mapping[str, str]
    rectified: frozenset[str]

    @property
    def tensors(self) -> tuple[str, ...]:
        """Names of the tensors that are quantised, in order of execution."""
        return tuple(self.sites.values())

    @property
    def image(self) -> str:
        """Name of the tensor that goes in."""
        (placeholder,) = (n.name for n in self.module.graph.nodes if n.op == "placeholder")
        return self.sites[placeholder]

    def layer(self, name: str) -> Layer:
        """Return a layer by name."""
        return next(layer for layer in self.layers if layer.name == name)

    def weight(self, name: str) -> Tensor:
        """Weights of a layer before folding, float [M, ...]."""
        layer = self.module.get_submodule(name)
        assert isinstance(layer, WeightLayer)
        return layer.weight.detach()

    def folded(self) -> dict[str, tuple[Tensor, Tensor]]:
        """Weights float [M, ...] and biases float [M] of all layers, batch norms folded in."""
        result = {}
        for layer in self.layers:
            norm = self.module.get_submodule(layer.norm) if layer.norm else None
            weight_layer = self.module.get_submodule(layer.name)
            assert isinstance(weight_layer, WeightLayer)
            assert norm is None or isinstance(norm, Norm)
            result[layer.name] = folded(weight_layer, norm)
        return result


def trace(model: nn.Module, example: Tensor) -> Network:
    """Trace a network and find its layers.

    Parameters
    ----------
    model : nn.Module
        Maps one tensor to logits; left as it is.
    example : float [N, C, H, W]
        An input, for the shapes.

    Returns
    -------
    Network

    Raises
    ------
    QuantError
        If tracing fails or an operation is not supported; names the module or node.
    """
    model = copy.deepcopy(model).eval()
    module = _symbolic(model)
    kinds = {node: _kind(node, module) for node in module.graph.nodes}
    for node in list(module.graph.nodes):
        if kinds[node] == "nothing":
            node.replace_all_uses_with(node.all_input_nodes[0])
            module.graph.erase_node(node)
    module.recompile()
    nodes = list(module.graph.nodes)
    _check_single_use(nodes, kinds)
    shapes = _shapes(module, example)
    sites = {node.name: _tensor_name(node) for node in nodes if _is_site(node, kinds)}
    norms = _norms(nodes, kinds)
    layers = tuple(
        Layer(
            name=str(node.target),
            shape=gemm_shape(module.get_submodule(str(node.target)), shapes[node.name]),
            source=_source(node, sites, kinds),
            norm=norms.get(node),
        )
        for node in nodes
        if kinds[node] == "layer"
    )
    if not layers:
        raise QuantError("network must have a Conv2d or Linear layer, not none")
    rectified = {sites[n.name] for n in nodes if n.name in sites and kinds[n] == "relu"}
    return Network(
        module=module,
        layers=layers,
        sites=MappingProxyType(sites),
        rectified=frozenset(rectified),
    )


def gemm_shape(layer: nn.Module, output: tuple[int, ...]) -> GemmShape:
    """Matrix products of a layer that gives an output of shape [N, M, H, W] or [N, M]."""
    if isinstance(layer, nn.Conv2d):
        return GemmShape(
            pixels=math.prod(output[2:]),
            depth=layer.in_channels // layer.groups * math.prod(layer.kernel_size),
            outputs=layer.out_channels // layer.groups,
            groups=layer.groups,
        )
    if isinstance(layer, nn.Linear):
        return GemmShape(
            pixels=math.prod(output[1:-1]), depth=layer.in_features, outputs=layer.out_features
        )
    raise TypeError(f"layer must be Conv2d or Linear, not {type(layer).__name__}")


def folded(layer: WeightLayer, norm: Norm | None) -> tuple[Tensor, Tensor]:
    """Fold a batch norm into the layer before it (arXiv 1806.08342, section 3.2.2).

    Parameters
    ----------
    layer : Conv2d or Linear
    norm : BatchNorm1d or BatchNorm2d, optional

    Returns
    -------
    float [M, ...], float [M]
        Weight and bias that give what both gave with the running statistics.
    """
    weight = layer.weight.detach()
    bias = torch.zeros(weight.shape[0]) if layer.bias is None else layer.bias.detach()
    if norm is None:
        return weight.clone(), bias.clone()
    gain, offset = norm_affine(norm)
    return weight * gain.reshape(-1, *[1] * (weight.ndim - 1)), bias * gain + offset


def norm_affine(norm: Norm) -> tuple[Tensor, Tensor]:
    """Gain and offset, float [M] each, that a batch norm applies in evaluation mode."""
    mean, variance = norm.running_mean, norm.running_var
    assert mean is not None
    assert variance is not None
    gain = norm.weight.detach() / torch.sqrt(variance + norm.eps)
    return gain, norm.bias.detach() - mean * gain


class _NamingTracer(fx.Tracer):
    """Remembers the module that is being traced, for errors."""

    place = "network"

    def call_module(self, m: nn.Module, forward: Any, args: Any, kwargs: Any) -> Any:
        before, self.place = self.place, self.path_of_module(m)
        result = super().call_module(m, forward, args, kwargs)
        self.place = before
        return result


def _symbolic(model: nn.Module) -> fx.GraphModule:
    tracer = _NamingTracer()
    try:
        graph = tracer.trace(model)
    except Exception as error:  # forward() may raise anything when it meets a symbolic value
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise QuantError(
            f"{tracer.place}: must be traceable by torch.fx, not: {reason}; take control flow that "
            "depends on data out of forward()"
        ) from error
    return fx.GraphModule(model, graph)


def _kind(node: fx.Node, module: fx.GraphModule) -> str:
    """Return what a node does: image, output, add, or one of the kinds above."""
    if node.op == "placeholder":
        return "image"
    if node.op == "output":
        return "output"
    if node.op == "call_module":
        called = module.get_submodule(str(node.target))
        for kind, classes in _KINDS:
            if isinstance(called, classes):
                return kind
        what = type(called).__name__
    else:
        for kind, targets in (("add", _ADDS), ("relu", _RELUS), ("pass", _FLATTENS)):
            if node.target in targets and len(node.all_input_nodes) == 1 + (kind == "add"):
                return kind
        what = f"{node.op} {getattr(node.target, '__name__', node.target)}"
    known = "Conv2d, Linear, batch norm, ReLU, addition, pooling, flatten, dropout"
    raise QuantError(f"{node.name}: operation must be one of {known}, not {what}")


def _check_single_use(nodes: list[fx.Node], kinds: Mapping[fx.Node, str]) -> None:
    seen: set[str] = set()
    for node in nodes:
        if kinds[node] in ("layer", "norm"):
            if str(node.target) in seen:
                raise QuantError(f"{node.target}: layer must be called once, not several times")
            seen.add(str(node.target))


def _norms(nodes: list[fx.Node], kinds: Mapping[fx.Node, str]) -> dict[fx.Node, str]:
    result = {}
    for node in nodes:
        if kinds[node] == "norm":
            before = node.all_input_nodes[0]
            if kinds[before] != "layer" or len(before.users) != 1:
                raise QuantError(
                    f"{node.target}: batch norm must follow a layer of its own to be folded, "
                    f"not {before.name}"
                )
            result[before] = str(node.target)
    return result


def _is_site(node: fx.Node, kinds: Mapping[fx.Node, str]) -> bool:
    """Whether a node's value is quantised: the last of layer, batch norm and ReLU."""
    if kinds[node] in (*_PASS_ON, "output"):
        return False
    users = [kinds[user] for user in node.users]
    return users not in (["norm"], ["relu"]) and set(users) != {"output"}


def _source(node: fx.Node, sites: Mapping[str, str], kinds: Mapping[fx.Node, str]) -> str:
    before = node.all_input_nodes[0]
    while kinds[before] in _PASS_ON:
        before = before.all_input_nodes[0]
    return sites[before.name]


def _tensor_name(node: fx.Node) -> str:
    return str(node.target) if node.op in ("call_module", "placeholder") else node.name


class _ShapeRecorder(fx.Interpreter):
    def __init__(self, module: fx.GraphModule) -> None:
        super().__init__(module)
        self.shapes: dict[str, tuple[int, ...]] = {}

    def run_node(self, n: fx.Node) -> Any:
        value = super().run_node(n)
        if isinstance(value, Tensor):
            self.shapes[n.name] = tuple(value.shape)
        return value


@torch.no_grad()
def _shapes(module: fx.GraphModule, example: Tensor) -> dict[str, tuple[int, ...]]:
    recorder = _ShapeRecorder(module)
    try:
        recorder.run(example)
    except RuntimeError as error:
        reason = str(error).splitlines()[0]
        raise QuantError(
            f"network must accept an input of shape {tuple(example.shape)}, not: {reason}"
        ) from error
    return recorder.shapes
