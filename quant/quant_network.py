"""The fake-quantised network: what the array computes, in torch, and trainable."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, fx, nn

from hw.precision import WeightMode
from quant.allocation import ACT_BITS, Acts, Bits
from quant.inplace import FoldedNorm, in_place, replace_everywhere
from quant.network import InPlaceNetwork, Network, Norm, WeightLayer
from quant.quant_layer import InPlaceLayer, QuantLayer
from quant.quantizer import (
    IMAGE_RANGE,
    ActQuantizer,
    ActRange,
)
from quant.scales import Scales


@dataclass(frozen=True, kw_only=True, eq=False)
class Snapshot:
    """State of a `QuantNetwork`: parameters and statistics, activation ranges, precisions.

    A range tells the bits of its activation.
    """

    state: Mapping[str, Tensor]
    ranges: Mapping[str, ActRange | None]
    bits: Bits


class QuantNetwork(nn.Module):
    """A network with fake-quantised weights and activations.

    Parameters
    ----------
    network : Network
        The float network; left as it is.
    bits : mapping of str to WeightMode
        Precision of every layer.
    narrow : bool
        Whether the most negative weight integer stays unused.
    scales : Scales
        Where the scales of weights come from.
    acts : mapping of str to int, optional
        Bits of activations, by tensor; 8 of those left out.

    Attributes
    ----------
    plain : bool
        As of the network.
    """

    def __init__(
        self,
        network: Network,
        bits: Bits,
        *,
        narrow: bool = False,
        scales: Scales = Scales.MIN_MAX,
        acts: Acts | None = None,
    ) -> None:
        super().__init__()
        self.module, self.act_quantizers = _quantised(network, narrow=narrow, scales=scales)
        self.plain = network.plain
        self.layer_names = tuple(layer.name for layer in network.layers)
        self.sources = {layer.name: layer.source for layer in network.layers}
        self.set_bits(bits)
        self.set_acts(acts or {})

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
        """Set the precision of every layer."""
        for name, layer in self.quant_layers():
            layer.mode = bits[name]

    @property
    def acts(self) -> dict[str, int]:
        """Bits of every activation, by tensor."""
        return {tensor: self.act_quantizer(tensor).bits for tensor in self.act_quantizers}

    def set_acts(self, acts: Acts) -> None:
        """Set the bits of every activation; a range that is known covers the same interval."""
        for tensor in self.act_quantizers:
            self.act_quantizer(tensor).set_bits(acts.get(tensor, ACT_BITS))

    def snapshot(self) -> Snapshot:
        """Copy what training and calibration change, and the precisions."""
        return Snapshot(
            state={n: value.to("cpu", copy=True) for n, value in self.state_dict().items()},
            ranges={name: self.act_quantizer(name).range for name in self.act_quantizers},
            bits=self.bits,
        )

    def restore(self, snapshot: Snapshot) -> None:
        """Go back to a snapshot; layers have scales of their own where they had them then."""
        self.set_bits(snapshot.bits)
        for name, layer in self.quant_layers():
            scale = snapshot.state.get(f"module.{name}.scale")
            if scale is None:
                layer.scale = None
            else:
                layer.set_scale(scale)
        self.load_state_dict(snapshot.state)
        for _, layer in self.quant_layers():
            if layer.scale is None:
                layer.derive_scale()
        for name, act_range in snapshot.ranges.items():
            quantizer = self.act_quantizer(name)
            quantizer.range = act_range
            quantizer.bits = quantizer.bits if act_range is None else act_range.bits

    def tensors(self) -> dict[str, Tensor]:
        """Integers, scales, biases and activation ranges, for a safetensors file.

        Returns
        -------
        dict
            ``<layer>.weight`` int8, ``<layer>.scale`` and ``<layer>.bias`` float32 [M],
            ``<layer>.bias_integer`` int32 [M], ``<layer>.bits`` int32 [1], and for each activation
            ``act.<tensor>.scale`` float64 [1], and ``act.<tensor>.zero_point`` and
            ``act.<tensor>.bits`` int32 [1].
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
            result[f"act.{tensor}.bits"] = torch.tensor([act_range.bits], dtype=torch.int32)
        return result


def uniform_bits(network: Network, mode: WeightMode) -> dict[str, WeightMode]:
    """Return the same precision for every layer."""
    return {layer.name: mode for layer in network.layers}


def _quantised(
    network: Network, *, narrow: bool, scales: Scales
) -> tuple[nn.Module, dict[str, str]]:
    """Return a quantised copy of a network and its quantisers' module paths by tensor."""
    if isinstance(network, InPlaceNetwork):
        return _replaced(network, narrow=narrow, scales=scales)
    return _inserted(network, narrow=narrow, scales=scales)


def _replaced(
    network: InPlaceNetwork, *, narrow: bool, scales: Scales
) -> tuple[nn.Module, dict[str, str]]:
    """Put quantised layers into a copy of the network; returns quantiser paths by tensor."""
    module = copy.deepcopy(network.module)
    quantizers: dict[str, str] = {}
    for layer in network.layers:
        old = module.get_submodule(layer.name)
        norm = module.get_submodule(layer.norm) if layer.norm else None
        assert isinstance(old, WeightLayer)
        assert norm is None or isinstance(norm, Norm)
        fixed = IMAGE_RANGE if layer.name in network.image_layers else None
        follower = None
        if norm is not None:
            follower = FoldedNorm(str(layer.norm), layer.name)
            replace_everywhere(module, norm, follower)
        new = InPlaceLayer(
            old,
            norm,
            quantizer=ActQuantizer(rectified=False, fixed=fixed),
            follower=follower,
            narrow=narrow,
            scales=scales,
        )
        replace_everywhere(module, old, new)
        quantizers[layer.source] = f"{layer.name}.quantizer"
    return in_place(module), quantizers


def _inserted(
    network: Network, *, narrow: bool, scales: Scales
) -> tuple[fx.GraphModule, dict[str, str]]:
    """Put quantisers into a copy of the graph; returns their module paths by tensor."""
    module = copy.deepcopy(network.module)
    assert isinstance(module, fx.GraphModule)
    nodes = {node.name: node for node in module.graph.nodes}
    quantizers: dict[str, str] = {}
    for node_name, tensor in network.sites.items():
        node = nodes[node_name]
        most = network.rectified.get(tensor)
        if tensor not in quantizers:
            made_by = {nodes[n].op for n, name in network.sites.items() if name == tensor}
            fixed = IMAGE_RANGE if made_by == {"placeholder"} else None
            quantizers[tensor] = f"act_quantizer_{len(quantizers)}"
            quantizer = (
                ActQuantizer(rectified=False, fixed=fixed)
                if most is None
                else ActQuantizer(rectified=True, most=most)
            )
            module.add_submodule(quantizers[tensor], quantizer)
        with module.graph.inserting_after(node):
            quantised = module.graph.call_module(quantizers[tensor], (node,))
        node.replace_all_uses_with(
            quantised, delete_user_cb=lambda user, q=quantised: user is not q
        )
        if most is not None:  # the quantiser clamps itself
            quantised.replace_input_with(node, node.all_input_nodes[0])
            module.graph.erase_node(node)
    for layer in network.layers:
        float_layer = module.get_submodule(layer.name)
        norm = module.get_submodule(layer.norm) if layer.norm else None
        assert isinstance(float_layer, WeightLayer)
        assert norm is None or isinstance(norm, Norm)
        quantised_layer = QuantLayer(float_layer, norm, narrow=narrow, scales=scales)
        module.set_submodule(layer.name, quantised_layer)
    norms = {layer.norm for layer in network.layers}
    for node in list(module.graph.nodes):
        if node.op == "call_module" and node.target in norms:
            node.replace_all_uses_with(node.all_input_nodes[0])
            module.graph.erase_node(node)
    module.graph.lint()
    module.recompile()
    return module, quantizers
