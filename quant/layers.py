"""The fake-quantised network: what the array computes, in torch, and trainable."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, fx, nn
from torch.nn import functional

from hw.precision import WeightMode
from quant.graph import Network, Norm, WeightLayer, norm_affine
from quant.quantizer import (
    IMAGE_RANGE,
    ActQuantizer,
    ActRange,
    fake_quantise_weight,
    quantise_weight,
    weight_scale,
)

Bits = Mapping[str, WeightMode]
"""Precision of each layer, by name."""

_LEAST_GAIN = 1e-4


@dataclass(frozen=True, kw_only=True, eq=False)
class LayerIntegers:
    """A layer as the array runs it.

    Parameters
    ----------
    weight : int8 [M, ...]
        Weights within the layer's mode, output channels first.
    scale : float32 [M]
        Positive; a weight of the folded layer is ``scale * weight``.
    bias : float32 [M]
        Bias of the folded layer.
    """

    weight: NDArray[np.int8]
    scale: NDArray[np.float32]
    bias: NDArray[np.float32]

    def bias_integers(self, act_scale: float) -> NDArray[np.int32]:
        """Biases in units of the accumulator, int32 [M]; `act_scale` is that of the input."""
        unit = self.scale.astype(np.float64) * act_scale
        limits = np.iinfo(np.int32)
        rounded = np.floor(self.bias.astype(np.float64) / unit + 0.5)
        return rounded.clip(limits.min, limits.max).astype(np.int32)


@dataclass(frozen=True, kw_only=True, eq=False)
class Snapshot:
    """State of a `QuantNetwork`: parameters and statistics, activation ranges, precisions."""

    state: Mapping[str, Tensor]
    ranges: Mapping[str, ActRange | None]
    bits: Bits


class QuantLayer(nn.Module):
    """A convolution or dense layer with fake-quantised weights and its batch norm.

    Folding a batch norm multiplies a channel by its gain; per-channel scales take the gain up, so
    the integers are the same before and after folding. The norm therefore stays while training
    and folds exactly afterwards. Gains are kept positive (a negative one is moved into the
    weights), so that full-range integers keep their sign.

    Parameters
    ----------
    layer : Conv2d or Linear
        Copied.
    norm : batch norm, optional
        That of the layer's output; copied.
    mode : WeightMode
        Precision; may be changed at any time.
    narrow : bool
        Whether the most negative integer stays unused.
    """

    fixed_scale: Tensor | None
    """Scale that stays while the precision does, float [M], if there is one."""

    def __init__(
        self,
        layer: WeightLayer,
        norm: Norm | None,
        *,
        mode: WeightMode = WeightMode.W8,
        narrow: bool = False,
    ) -> None:
        super().__init__()
        self.layer = copy.deepcopy(layer)
        self.norm = copy.deepcopy(norm)
        self.mode = mode
        self.narrow = narrow
        self.fixed_mode = mode
        self.register_buffer("fixed_scale", None)
        if self.norm is not None:
            self._make_gains_positive(self.norm)

    @torch.no_grad()
    def _make_gains_positive(self, norm: Norm) -> None:
        sign = torch.where(norm.weight < 0, -1.0, 1.0)
        assert norm.running_mean is not None
        self.layer.weight.mul_(sign.reshape(-1, *[1] * (self.layer.weight.ndim - 1)))
        for values in (self.layer.bias, norm.weight, norm.running_mean):
            if values is not None:
                values.mul_(sign)
        self.clamp_gains()

    @property
    def scale(self) -> Tensor:
        """Scale per output channel, float [M]: the fixed one at its precision, else by the rule."""
        if self.fixed_scale is not None and self.mode is self.fixed_mode:
            return self.fixed_scale
        return weight_scale(self.layer.weight, self.mode, narrow=self.narrow)

    @torch.no_grad()
    def start_from(self, weight: Tensor, scale: Tensor) -> None:
        """Take weights, float [M, ...], whose scale, float [M], stays while the precision does.

        The rule of `quant.quantizer.weight_scale` would find another scale for weights that are
        already rounded.
        """
        self.layer.weight.copy_(weight)
        self.fixed_scale, self.fixed_mode = scale.clone(), self.mode

    def _load_from_state_dict(self, state: Any, prefix: str, *args: Any) -> None:
        """Take the fixed scale or its absence from the state; it is that of the present mode."""
        self.fixed_scale, self.fixed_mode = state.get(f"{prefix}fixed_scale"), self.mode
        if self.fixed_scale is not None:
            self.fixed_scale = self.fixed_scale.clone()
        super()._load_from_state_dict(state, prefix, *args)

    @torch.no_grad()
    def clamp_gains(self) -> None:
        """Keep the gains of the batch norm positive; called after each training step."""
        if self.norm is not None:
            self.norm.weight.clamp_(min=_LEAST_GAIN)

    def forward(self, x: Tensor) -> Tensor:
        """Map float activations to float sums, batch norm included."""
        weight = fake_quantise_weight(
            self.layer.weight, self.mode, narrow=self.narrow, scale=self.scale
        )
        if isinstance(self.layer, nn.Conv2d):
            c = self.layer
            y = functional.conv2d(x, weight, c.bias, c.stride, c.padding, c.dilation, c.groups)
        else:
            y = functional.linear(x, weight, self.layer.bias)
        return y if self.norm is None else self.norm(y)

    @torch.no_grad()
    def integers(self) -> LayerIntegers:
        """Return the layer's integers, scales and biases with the batch norm folded in."""
        scale = self.scale
        weight = quantise_weight(self.layer.weight, scale, self.mode, narrow=self.narrow)
        bias = torch.zeros_like(scale) if self.layer.bias is None else self.layer.bias
        if self.norm is not None:
            gain, offset = norm_affine(self.norm)
            scale, bias = scale * gain, bias * gain + offset
        return LayerIntegers(
            weight=weight.to(torch.int8).numpy(), scale=scale.numpy(), bias=bias.detach().numpy()
        )


class QuantNetwork(nn.Module):
    """A traced network with fake-quantised weights and activations.

    Parameters
    ----------
    network : Network
        The float network; left as it is.
    bits : mapping of str to WeightMode
        Precision of every layer.
    narrow : bool
        Whether the most negative weight integer stays unused.
    """

    def __init__(self, network: Network, bits: Bits, *, narrow: bool = False) -> None:
        super().__init__()
        self.module, self.act_quantizers = _quantised(network, narrow=narrow)
        self.layer_names = tuple(layer.name for layer in network.layers)
        self.sources = {layer.name: layer.source for layer in network.layers}
        self.set_bits(bits)

    def forward(self, x: Tensor) -> Tensor:
        """Map images, float [N, C, H, W], to logits, float [N, classes]."""
        return self.module(x)  # type: ignore[no-any-return]

    def layer(self, name: str) -> QuantLayer:
        """Return a layer by name."""
        layer = self.module.get_submodule(name)
        assert isinstance(layer, QuantLayer)
        return layer

    def quant_layers(self) -> Iterator[tuple[str, QuantLayer]]:
        """Yield names and layers in order of execution."""
        for name in self.layer_names:
            yield name, self.layer(name)

    def act_quantizer(self, tensor: str) -> ActQuantizer:
        """Return the activation quantiser of a tensor."""
        quantizer = self.module.get_submodule(self.act_quantizers[tensor])
        assert isinstance(quantizer, ActQuantizer)
        return quantizer

    @property
    def bits(self) -> dict[str, WeightMode]:
        """Precision of every layer."""
        return {name: layer.mode for name, layer in self.quant_layers()}

    def set_bits(self, bits: Bits) -> None:
        """Set the precision of every layer; a scale fixed at another precision is dropped."""
        for name, layer in self.quant_layers():
            if layer.mode is not bits[name]:
                layer.mode, layer.fixed_scale = bits[name], None

    def snapshot(self) -> Snapshot:
        """Copy what training and calibration change, and the precisions."""
        return Snapshot(
            state={name: value.clone() for name, value in self.state_dict().items()},
            ranges={name: self.act_quantizer(name).range for name in self.act_quantizers},
            bits=self.bits,
        )

    def restore(self, snapshot: Snapshot) -> None:
        """Go back to a snapshot."""
        self.set_bits(snapshot.bits)
        self.load_state_dict(snapshot.state)
        for name, act_range in snapshot.ranges.items():
            self.act_quantizer(name).range = act_range

    def tensors(self) -> dict[str, Tensor]:
        """Integers, scales, biases and activation ranges, for a safetensors file.

        Returns
        -------
        dict
            ``<layer>.weight`` int8, ``<layer>.scale`` and ``<layer>.bias`` float32 [M],
            ``<layer>.bias_integer`` int32 [M], ``<layer>.bits`` int32 [1], and for each activation
            ``act.<tensor>.scale`` float64 [1] and ``act.<tensor>.zero_point`` int32 [1].
        """
        result: dict[str, Tensor] = {}
        for name, layer in self.quant_layers():
            values = layer.integers()
            act_range = self.act_quantizer(self.sources[name]).range
            assert act_range is not None
            result[f"{name}.weight"] = torch.from_numpy(values.weight)
            result[f"{name}.scale"] = torch.from_numpy(values.scale)
            result[f"{name}.bias"] = torch.from_numpy(values.bias)
            bias = values.bias_integers(act_range.scale)
            result[f"{name}.bias_integer"] = torch.from_numpy(bias)
            result[f"{name}.bits"] = torch.tensor([layer.mode.bits], dtype=torch.int32)
        for tensor in self.act_quantizers:
            act_range = self.act_quantizer(tensor).range
            assert act_range is not None
            scale = torch.tensor([act_range.scale], dtype=torch.float64)
            result[f"act.{tensor}.scale"] = scale
            zero_point = torch.tensor([act_range.zero_point], dtype=torch.int32)
            result[f"act.{tensor}.zero_point"] = zero_point
        return result


def uniform_bits(network: Network, mode: WeightMode) -> dict[str, WeightMode]:
    """Return the same precision for every layer."""
    return {layer.name: mode for layer in network.layers}


def _quantised(network: Network, *, narrow: bool) -> tuple[fx.GraphModule, dict[str, str]]:
    """Put quantisers into a copy of the graph; returns their module paths by tensor."""
    module = copy.deepcopy(network.module)
    nodes = {node.name: node for node in module.graph.nodes}
    quantizers: dict[str, str] = {}
    for index, (node_name, tensor) in enumerate(network.sites.items()):
        node = nodes[node_name]
        is_image = node.op == "placeholder"
        rectified = tensor in network.rectified
        path = f"act_quantizer_{index}"
        fixed = IMAGE_RANGE if is_image else None
        module.add_submodule(path, ActQuantizer(rectified=rectified, fixed=fixed))
        quantizers[tensor] = path
        with module.graph.inserting_after(node):
            quantised = module.graph.call_module(path, (node,))
        node.replace_all_uses_with(
            quantised, delete_user_cb=lambda user, q=quantised: user is not q
        )
        if rectified:  # the quantiser clamps at 0 itself
            quantised.replace_input_with(node, node.all_input_nodes[0])
            module.graph.erase_node(node)
    for layer in network.layers:
        float_layer = module.get_submodule(layer.name)
        norm = module.get_submodule(layer.norm) if layer.norm else None
        assert isinstance(float_layer, WeightLayer)
        assert norm is None or isinstance(norm, Norm)
        module.set_submodule(layer.name, QuantLayer(float_layer, norm, narrow=narrow))
    norms = {layer.norm for layer in network.layers}
    for node in list(module.graph.nodes):
        if node.op == "call_module" and node.target in norms:
            node.replace_all_uses_with(node.all_input_nodes[0])
            module.graph.erase_node(node)
    module.graph.lint()
    module.recompile()
    return module, quantizers
