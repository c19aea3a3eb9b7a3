"""A float network made ready for quantisation: its layers, what they read, what is left out.

`quant.graph` makes one by tracing, `quant.hooks` one by watching it run; `quant.capture` picks.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from types import MappingProxyType
from typing import TypeGuard

import torch
from torch import Tensor, fx, nn
from torch.nn.modules.batchnorm import _BatchNorm

from hw.schedule import GemmShape

WeightLayer = nn.Conv2d | nn.Linear
Norm = nn.BatchNorm1d | nn.BatchNorm2d


class Gap(Enum):
    """What a network misses of the integer form that the array runs; the value is its name."""

    UNTRACED = "not traced"
    UNFOLDED = "batch norm not folded"
    UNSHARED = "no common quantiser"
    IN_FLOAT = "in float"
    OFF_ARRAY = "off the array"


@dataclass(frozen=True, kw_only=True)
class Note:
    """One gap of a network.

    Parameters
    ----------
    gap : Gap
        Its kind.
    place : str
        Module path, node or operation.
    text : str
        What was found and what is done instead.
    """

    gap: Gap
    place: str
    text: str

    def __str__(self) -> str:
        """Return one line."""
        return f"{self.place}: {self.text}"


@dataclass(frozen=True, kw_only=True)
class Layer:
    """One quantisable layer.

    Parameters
    ----------
    name : str
        Module path.
    shape : GemmShape
        Matrix products of one inference; those of several calls count as one with all pixels.
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
    module : nn.Module
        The float network, a copy, in evaluation mode; an `fx.GraphModule` where it was traced.
    layers : tuple of Layer
        In order of execution.
    sites : mapping of fx node name to tensor name
        Nodes whose value is quantised: what leaves the array or is read by it, after its batch
        norm and ReLU, and the image, but not the logits. Nodes of one tensor share a quantiser.
    rectified : mapping of str to float
        Tensors that a ReLU made, by name, and their largest value: infinite, or 6 of a ReLU6.
    notes : tuple of Note
        What stays in float, cannot be folded or shared, or is no operation of the array; empty if
        every operation has an integer form.
    plain : bool
        Whether, moreover, it has nothing but layers called once, folded batch norms, ReLU, ReLU6,
        sums, pooling modules and flattening, which an integer network can be written of.
    """

    module: nn.Module
    layers: tuple[Layer, ...]
    sites: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    rectified: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    notes: tuple[Note, ...] = ()
    plain: bool = False

    @property
    def tensors(self) -> tuple[str, ...]:
        """Names of the tensors that are quantised, in order of execution."""
        return tuple(self.sites.values())

    @property
    def images(self) -> frozenset[str]:
        """Names of the tensors that are the network's input as it is."""
        graph = self.module.graph
        assert isinstance(graph, fx.Graph)
        inputs = {node.name for node in graph.nodes if node.op == "placeholder"}
        return frozenset(tensor for node, tensor in self.sites.items() if node in inputs)

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


@dataclass(frozen=True, kw_only=True, eq=False)
class InPlaceNetwork(Network):
    """A network that was not traced: its layers are replaced where they are, no operation moves.

    Each layer quantises its own input; `sites` and `rectified` are empty.

    Parameters
    ----------
    image_layers : frozenset of str
        Layers that read the image as it is.
    """

    image_layers: frozenset[str] = frozenset()

    @property
    def tensors(self) -> tuple[str, ...]:
        """Names of the tensors that are quantised, in order of execution."""
        return tuple(layer.source for layer in self.layers)

    @property
    def images(self) -> frozenset[str]:
        """Names of the tensors that are the network's input as it is."""
        return frozenset(layer.source for layer in self.layers if layer.name in self.image_layers)


def quantisable(module: nn.Module) -> TypeGuard[WeightLayer]:
    """Whether a module is a convolution or dense layer and nothing more.

    Subclasses count unless they change `forward`. Computed weights (weight norm and other
    parametrisations) and forward hooks would be lost, so they do not.
    """
    return isinstance(module, WeightLayer) and obstacle(module) is None


def obstacle(layer: WeightLayer) -> str | None:
    """Return what keeps a Conv2d or Linear from being quantised, or None."""
    base = nn.Conv2d if isinstance(layer, nn.Conv2d) else nn.Linear
    changed = type(layer).forward is not base.forward
    if isinstance(layer, nn.Conv2d):
        changed |= type(layer)._conv_forward is not nn.Conv2d._conv_forward
    if changed:
        return f"{type(layer).__name__} has a forward() of its own"
    if "weight" not in layer._parameters:
        return "its weight is computed (remove the parametrisation first)"
    if layer._forward_hooks or layer._forward_pre_hooks:
        return "it has forward hooks"
    return None


def is_norm(module: nn.Module) -> TypeGuard[Norm]:
    """Whether a module is a batch norm with running statistics and nothing more."""
    return (
        isinstance(module, Norm)
        and type(module).forward is _BatchNorm.forward
        and module.running_mean is not None
        and not module._forward_hooks
        and not module._forward_pre_hooks
    )


def array_gap(layer: WeightLayer) -> str | None:
    """Return what of a layer the array's accelerator cannot run (`hw.mapping`), or None."""
    if isinstance(layer, nn.Conv2d):
        if set(layer.dilation) != {1}:
            return f"dilation must be 1, not {layer.dilation}"
        if len(set(layer.stride)) > 1:
            return f"stride must be the same in both directions, not {layer.stride}"
        if layer.padding_mode != "zeros":
            return f"padding must be with zeros, not {layer.padding_mode}"
    return None


def pads(layer: nn.Conv2d) -> tuple[int, int, int, int]:
    """Return columns left and right and rows above and below, of ``same`` and ``valid``, too."""
    left, right, top, bottom = layer._reversed_padding_repeated_twice
    return left, right, top, bottom


def gemm_shape(
    layer: nn.Module, output: tuple[int, ...], *, images: int | None = None
) -> GemmShape:
    """Matrix products of a layer.

    Parameters
    ----------
    layer : Conv2d or Linear
    output : tuple of int
        Shape of its output, [N, M, H, W] or [N, ..., M]; N may be a multiple of the images.
    images : int, optional
        Inferences that the output is of; N by default.

    Raises
    ------
    TypeError
        If it is another module.
    """
    images = images or output[0]
    if isinstance(layer, nn.Conv2d):
        return GemmShape(
            pixels=-(-math.prod(output) // (layer.out_channels * images)),
            depth=layer.in_channels // layer.groups * math.prod(layer.kernel_size),
            outputs=layer.out_channels // layer.groups,
            groups=layer.groups,
        )
    if isinstance(layer, nn.Linear):
        return GemmShape(
            pixels=-(-math.prod(output) // (layer.out_features * images)),
            depth=layer.in_features,
            outputs=layer.out_features,
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
    bias = weight.new_zeros(weight.shape[0]) if layer.bias is None else layer.bias.detach()
    if norm is None:
        return weight.clone(), bias.clone()
    gain, offset = norm_affine(norm)
    return weight * gain.reshape(-1, *[1] * (weight.ndim - 1)), bias * gain + offset


def norm_affine(norm: Norm) -> tuple[Tensor, Tensor]:
    """Gain and offset, float [M] each, that a batch norm applies in evaluation mode."""
    mean, variance = norm.running_mean, norm.running_var
    assert mean is not None
    assert variance is not None
    deviation = torch.sqrt(variance + norm.eps)
    if not norm.affine:
        return 1 / deviation, -mean / deviation
    gain = norm.weight.detach() / deviation
    return gain, norm.bias.detach() - mean * gain


def float_notes(model: nn.Module, layers: Mapping[str, str | None]) -> Iterator[Note]:
    """Yield a note for each module that has parameters and stays in float, norms apart.

    Parameters
    ----------
    model : nn.Module
        The network.
    layers : mapping of str to optional str
        Conv2d and Linear modules by path: None if quantised, else why not.
    """
    for name, module in model.named_modules():
        if name in layers:
            reason = layers[name]
            if reason is None:
                continue
        elif isinstance(module, WeightLayer):
            reason = "it is not called"
        elif isinstance(module, _BatchNorm) or type(module).__name__.endswith("Norm"):
            continue
        else:
            reason = f"{type(module).__name__} is no Conv2d or Linear"
        count = sum(parameter.numel() for parameter in module.parameters(recurse=False))
        if count:
            text = f"its {count} parameters stay in float and have no cost: {reason}"
            yield Note(gap=Gap.IN_FLOAT, place=name or "network", text=text)


def array_notes(model: nn.Module, layers: tuple[Layer, ...]) -> Iterator[Note]:
    """Yield a note for each quantised layer that the accelerator cannot run as it is."""
    for layer in layers:
        module = model.get_submodule(layer.name)
        assert isinstance(module, WeightLayer)
        found = array_gap(module)
        if found is not None:
            text = f"quantised and priced as a matrix product, but {found} on the accelerator"
            yield Note(gap=Gap.OFF_ARRAY, place=layer.name, text=text)
