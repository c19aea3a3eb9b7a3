"""The fake-quantised network: what the array computes, in torch, and trainable."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, fx, nn
from torch.nn import functional

from hw.precision import WeightMode
from quant.allocation import ACT_BITS, Acts, Bits
from quant.inplace import FoldedNorm, in_place, replace_everywhere
from quant.lsq import fake_quantise_at
from quant.network import InPlaceNetwork, Network, Norm, WeightLayer, norm_affine
from quant.quantizer import (
    IMAGE_RANGE,
    LEAST_SCALE,
    ActQuantizer,
    ActRange,
    fake_quantise_weight,
    quantise_weight,
    weight_scale,
)
from quant.scales import Scales

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
    """State of a `QuantNetwork`: parameters and statistics, activation ranges, precisions.

    A range tells the bits of its activation.
    """

    state: Mapping[str, Tensor]
    ranges: Mapping[str, ActRange | None]
    bits: Bits


@dataclass(frozen=True, kw_only=True, eq=False)
class Start:
    """Weights to start a layer from, made elsewhere for one precision.

    Parameters
    ----------
    weight : float [M, ...]
        As for `QuantLayer.start_from`.
    scale : float [M]
        The same.
    """

    weight: Tensor
    scale: Tensor


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
        Precision; may be changed at any time, which derives the scales anew.
    narrow : bool
        Whether the most negative integer stays unused.
    scales : Scales
        Where the scales come from.

    Attributes
    ----------
    scale : Parameter, float [M], optional
        Scales of their own; None where they follow the weights (`Scales.MIN_MAX`, nothing set).
    """

    def __init__(
        self,
        layer: WeightLayer,
        norm: Norm | None,
        *,
        mode: WeightMode = WeightMode.W8,
        narrow: bool = False,
        scales: Scales = Scales.MIN_MAX,
    ) -> None:
        super().__init__()
        self.layer = copy.deepcopy(layer)
        self.norm = copy.deepcopy(norm)
        self.narrow = narrow
        self.scales = scales
        self.scale: nn.Parameter | None
        self.register_parameter("scale", None)
        if self.norm is not None:
            self._make_gains_positive(self.norm)
        self._mode = mode
        self.derive_scale()

    @property
    def mode(self) -> WeightMode:
        """Precision of the weights."""
        return self._mode

    @mode.setter
    def mode(self, mode: WeightMode) -> None:
        if mode is not self._mode:
            self._mode = mode
            self.derive_scale()

    @contextmanager
    def at(self, mode: WeightMode, start: Start | None = None) -> Iterator[None]:
        """Have another precision for a while, by the rule or from a start; then all as before."""
        mode_before, scale_before = self._mode, self.scale
        weight_before = None if start is None else self.layer.weight.detach().clone()
        try:
            self.mode = mode
            if start is not None:
                self.start_from(start.weight, start.scale)
            yield
        finally:
            self._mode, self.scale = mode_before, scale_before
            if weight_before is not None:
                with torch.no_grad():
                    self.layer.weight.copy_(weight_before)

    def derive_scale(self) -> None:
        """Go back to the scales that the rule gives to the weights as they are."""
        if self.scales is Scales.MIN_MAX:
            self.scale = None
        else:
            self.set_scale(self._rule())

    def set_scale(self, scale: Tensor) -> None:
        """Give the layer scales of its own; they are trained where scales are learned.

        Parameters
        ----------
        scale : float [M]
            Of the weights as they are in `self.layer`; positive. Copied.

        Raises
        ------
        ValueError
            If its shape is another one or a scale is not positive and finite.
        """
        outputs = self.layer.weight.shape[0]
        if scale.shape != (outputs,):
            raise ValueError(f"scale must have shape ({outputs},), not {tuple(scale.shape)}")
        if not bool((scale.isfinite() & (scale > 0)).all()):
            raise ValueError("scale must be positive and finite in every channel")
        learned = self.scales is Scales.LEARNED
        self.scale = nn.Parameter(scale.detach().clone(), requires_grad=learned)

    def start_from(self, weight: Tensor, scale: Tensor) -> None:
        """Take weights and their scales from elsewhere, for example from GPTQ.

        Parameters
        ----------
        weight : float [M, ...]
            In place of `self.layer.weight`: before folding, and with the signs that a batch norm
            of positive gains makes; copied.
        scale : float [M]
            As in `set_scale`.

        Raises
        ------
        ValueError
            If a shape is another one or a scale is not positive and finite.
        """
        if weight.shape != self.layer.weight.shape:
            raise ValueError(
                f"weight must have shape {tuple(self.layer.weight.shape)}, "
                f"not {tuple(weight.shape)}"
            )
        self.set_scale(scale)
        with torch.no_grad():
            self.layer.weight.copy_(weight)

    def _rule(self) -> Tensor:
        return weight_scale(self.layer.weight, self.mode, narrow=self.narrow)

    @torch.no_grad()
    def _make_gains_positive(self, norm: Norm) -> None:
        sign = torch.where(norm.weight < 0, -1.0, 1.0)
        assert norm.running_mean is not None
        self.layer.weight.mul_(sign.reshape(-1, *[1] * (self.layer.weight.ndim - 1)))
        for values in (self.layer.bias, norm.weight, norm.running_mean):
            if values is not None:
                values.mul_(sign)
        self.clamp_gains()

    @torch.no_grad()
    def clamp_gains(self) -> None:
        """Keep the batch norm's gains and own scales positive; called after each training step."""
        if self.norm is not None:
            self.norm.weight.clamp_(min=_LEAST_GAIN)
        if self.scale is not None:
            self.scale.clamp_(min=LEAST_SCALE)

    def forward(self, x: Tensor) -> Tensor:
        """Map float activations to float sums, batch norm included."""
        weight, scale = self.layer.weight, self.scale
        if scale is None:
            weight = fake_quantise_weight(weight, self.mode, narrow=self.narrow)
        else:
            weight = fake_quantise_at(weight, scale, self.mode, narrow=self.narrow)
        if isinstance(self.layer, nn.Conv2d):
            y: Tensor = self.layer._conv_forward(x, weight, self.layer.bias)  # any padding
        else:
            y = functional.linear(x, weight, self.layer.bias)
        return y if self.norm is None else self.norm(y)

    @torch.no_grad()
    def integers(self) -> LayerIntegers:
        """Return the layer's integers, scales and biases with the batch norm folded in."""
        scale = self._rule() if self.scale is None else self.scale.detach().clone()
        weight = quantise_weight(self.layer.weight, scale, self.mode, narrow=self.narrow)
        bias = torch.zeros_like(scale) if self.layer.bias is None else self.layer.bias
        if self.norm is not None:
            gain, offset = norm_affine(self.norm)
            scale, bias = scale * gain, bias * gain + offset
        return LayerIntegers(
            weight=weight.to(torch.int8).cpu().numpy(),
            scale=scale.cpu().numpy(),
            bias=bias.detach().cpu().numpy(),
        )


class InPlaceLayer(QuantLayer):
    """A layer that stands where the float one was, and quantises its own input.

    It has the attributes of the float layer, for code that asks for them.

    Parameters
    ----------
    layer, norm, narrow, scales
        As of `QuantLayer`.
    quantizer : ActQuantizer
        Of the input.
    follower : FoldedNorm, optional
        What stands where `norm` was.
    """

    def __init__(
        self,
        layer: WeightLayer,
        norm: Norm | None,
        *,
        quantizer: ActQuantizer,
        follower: FoldedNorm | None,
        narrow: bool,
        scales: Scales = Scales.MIN_MAX,
    ) -> None:
        super().__init__(layer, norm, narrow=narrow, scales=scales)
        self.quantizer = quantizer
        self.follower = follower

    def forward(self, input: Tensor) -> Tensor:
        """Map float activations, not yet quantised, to float sums, batch norm included."""
        y = super().forward(self.quantizer(input))
        if self.follower is not None:
            self.follower.waiting.append(y)
        return y

    def __getattr__(self, name: str) -> Any:
        """Return an own attribute, or else the float layer's."""
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("layer"), name)


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
        rectified = tensor in network.rectified
        if tensor not in quantizers:
            made_by = {nodes[n].op for n, name in network.sites.items() if name == tensor}
            fixed = IMAGE_RANGE if made_by == {"placeholder"} else None
            quantizers[tensor] = f"act_quantizer_{len(quantizers)}"
            quantizer = ActQuantizer(rectified=rectified, fixed=fixed)
            module.add_submodule(quantizers[tensor], quantizer)
        with module.graph.inserting_after(node):
            quantised = module.graph.call_module(quantizers[tensor], (node,))
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
