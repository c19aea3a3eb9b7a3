"""Networks that take optimised weights layer by layer: on the array's arithmetic, or any scheme."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

import torch
from torch import Tensor, nn

from hw.precision import WeightMode
from quant.errors import QuantError
from quant.network import InPlaceNetwork, Network
from quant.ptq.folded import FoldedLayer, FoldedNetwork
from quant.ptq.grid import IntegerRange, WeightGrid
from quant.ptq.norms import FloatMoments, absorb, follow_float, parts
from quant.ptq.optimise import OptimisedWeights, matrix
from quant.ptq.ranges import SAMPLE, RangeQuantizer, act_range
from quant.ptq.recipe import ACT_BITS, BitsByLayer, Norms, Recipe
from quant.ptq.schemes import Scheme, weight_grid
from quant.ptq.statistics import LayerStatistics, output_moments
from quant.quant_layer import QuantLayer
from quant.quant_network import QuantNetwork
from quant.quantizer import ActQuantizer, ActRange

OBSERVED = 32
"""Images of a batch that activation ranges are chosen from: 512 make a moving average of 16."""

FULL_SAMPLES = 16
"""Batches of which quantisers keep a sample of the usual size; of more they keep less each."""

MODES = {2: WeightMode.W2, 3: WeightMode.W4, 4: WeightMode.W4, 6: WeightMode.W6, 8: WeightMode.W8}
"""Precision at which the array runs integers of so many bits: it has none of 3 bit."""


class Frame(Protocol):
    """A network into which quantised layers are put one by one."""

    @property
    def module(self) -> nn.Module:
        """The network as it is by now."""

    def layer(self, name: str) -> nn.Module:
        """Return the module that stands where a layer was."""

    def weight(self, name: str) -> Tensor:
        """Return the weights to be quantised, float [M, ...]."""

    def grid(self, name: str) -> WeightGrid:
        """Return the grid that spans them."""

    def put(self, name: str, weights: OptimisedWeights, shift: Tensor) -> None:
        """Let a layer have its integers; `shift` as in `quant.ptq.solve.Solution`."""

    def settle(self, name: str, before: LayerStatistics, now: LayerStatistics) -> None:
        """Give a layer's outputs the float network's moments back, before later layers are done."""

    def state(self, name: str) -> dict[str, Tensor]:
        """Return what `settle` changes in a layer."""

    def restore(self, name: str, state: Mapping[str, Tensor]) -> None:
        """Go back to what `state` returned."""

    def finish(self, images: Tensor) -> None:
        """Correct statistics and choose the ranges of activations, all layers being in place."""


def frame_of(network: Network, bits: BitsByLayer, recipe: Recipe) -> Frame:
    """Return the frame that a recipe needs.

    Raises
    ------
    QuantError
        If there is none for a network that could not be traced.
    """
    if recipe.on_array:
        return ArrayFrame(network, bits, recipe)
    if isinstance(network, InPlaceNetwork):
        raise QuantError(
            "scheme must be per-channel symmetric with activations of 8 bit, or in float, for a "
            "network that torch.fx cannot trace, not another"
        )
    return FoldedFrame(network, bits, recipe)


class ArrayFrame:
    """What the array computes: weights symmetric per channel, activations of 8 bit or in float.

    Parameters
    ----------
    network : Network
        In float; left as it is.
    bits : mapping of str to int
        Of each layer's weights.
    recipe : Recipe
    """

    def __init__(self, network: Network, bits: BitsByLayer, recipe: Recipe) -> None:
        self.network, self.bits, self.recipe = network, bits, recipe
        modes = {name: MODES[b] for name, b in bits.items()}
        self.module = QuantNetwork(network, modes, narrow=recipe.narrow).eval()
        self._weights = {n: q.layer.weight.detach().clone() for n, q in self.module.quant_layers()}
        self._start = {name: self.state(name) for name in self._weights}

    def layer(self, name: str) -> QuantLayer:
        """Return a layer; see `Frame`."""
        return self.module.layer(name)

    def weight(self, name: str) -> Tensor:
        """Return weights before folding, with the signs that positive gains make."""
        return self._weights[name]

    def grid(self, name: str) -> WeightGrid:
        """Return the grid by the rule of `quant.quantizer.weight_scale`."""
        integers = IntegerRange(bits=self.bits[name], narrow=self.recipe.narrow)
        return WeightGrid.symmetric(matrix(self._weights[name]), integers)

    @torch.no_grad()
    def put(self, name: str, weights: OptimisedWeights, shift: Tensor) -> None:
        """See `Frame`."""
        layer = self.layer(name)
        layer.start_from(weights.values(), torch.from_numpy(weights.grid.scale).float())
        if not self.recipe.bias_correction:
            return
        if layer.norm is None:
            bias = layer.layer.bias
            start = torch.zeros(len(shift)) if bias is None else bias.detach()
            layer.layer.bias = nn.Parameter((start - shift).float())
        elif self.recipe.norms is Norms.KEPT:
            assert layer.norm.running_mean is not None
            layer.norm.running_mean += shift

    @torch.no_grad()
    def settle(self, name: str, before: LayerStatistics, now: LayerStatistics) -> None:
        """Move the statistics of a batch norm by what quantisation changed so far."""
        layer = self.layer(name)
        if layer.norm is None:
            return
        self.restore(name, self._start[name])
        bias = 0.0 if layer.layer.bias is None else layer.layer.bias.double()
        wanted, wanted_variance = output_moments(self._weights[name].double(), before)
        found, variance = output_moments(layer.layer.weight.double(), now)
        absorb(layer.norm, (wanted + bias, wanted_variance), (found + bias, variance))

    def state(self, name: str) -> dict[str, Tensor]:
        """See `Frame`."""
        norm = self.layer(name).norm
        if norm is None:
            return {}
        assert norm.running_mean is not None
        assert norm.running_var is not None
        return {"mean": norm.running_mean.clone(), "variance": norm.running_var.clone()}

    def restore(self, name: str, state: Mapping[str, Tensor]) -> None:
        """See `Frame`."""
        norm = self.layer(name).norm
        if norm is not None and norm.running_mean is not None and norm.running_var is not None:
            norm.running_mean.copy_(state["mean"])
            norm.running_var.copy_(state["variance"])

    def finish(self, images: Tensor) -> None:
        """See `Frame`."""
        if self.recipe.norms is Norms.MATCHED:
            for name, state in self._start.items():
                self.restore(name, state)
            follow_float(self.module, FloatMoments(self.network, images))
        if self.recipe.act_bits is None:
            return
        quantizers = [self.module.act_quantizer(tensor) for tensor in self.module.act_quantizers]
        _observe(self.module, quantizers, images)
        for tensor, quantizer in zip(self.module.act_quantizers, quantizers, strict=True):
            if quantizer.fixed:
                continue
            if not quantizer.samples:
                raise QuantError(
                    f"{tensor}: must be computed for some image of calibration, not for none; give "
                    "other images"
                )
            samples = [sample.numpy() for sample in quantizer.samples]
            grid = act_range(samples, self.recipe.calibration, ACT_BITS, ends=quantizer.ends)
            quantizer.forget()
            quantizer.range = ActRange(scale=grid.step, zero_point=grid.zero_point)


class FoldedFrame:
    """Any scheme of the whitepaper, batch norms folded; evaluated in floats only.

    Parameters
    ----------
    network : Network
        Traced, in float; left as it is.
    bits : mapping of str to int
        Of each layer's weights.
    recipe : Recipe
    """

    def __init__(self, network: Network, bits: BitsByLayer, recipe: Recipe) -> None:
        self.bits, self.recipe = bits, recipe
        scheme = Scheme(
            weights=recipe.scheme,
            integers=IntegerRange(bits=max(bits.values()), narrow=recipe.narrow),
            act_bits=recipe.act_bits,
            calibration=recipe.calibration,
            bias_correction=recipe.bias_correction,
            reestimate_norms=recipe.norms is Norms.MATCHED,
        )
        self.module = FoldedNetwork(network, scheme)
        self._layers = dict(self.module.layers())

    def layer(self, name: str) -> FoldedLayer:
        """Return a layer; see `Frame`."""
        return self._layers[name]

    def weight(self, name: str) -> Tensor:
        """Return weights with the batch norm folded in."""
        return self._layers[name].folded()[0].detach()

    def grid(self, name: str) -> WeightGrid:
        """Return the grid of the scheme."""
        integers = IntegerRange(bits=self.bits[name], narrow=self.recipe.narrow)
        return weight_grid(matrix(self.weight(name)), self.recipe.scheme, integers)

    def put(self, name: str, weights: OptimisedWeights, shift: Tensor) -> None:
        """See `Frame`."""
        self._layers[name].fixed = weights.values()

    def settle(self, name: str, before: LayerStatistics, now: LayerStatistics) -> None:
        """See `Frame`."""
        self._layers[name].correct(before, now)

    def state(self, name: str) -> dict[str, Tensor]:
        """See `Frame`."""
        layer = self._layers[name]
        return {"gain": layer.gain.clone(), "offset": layer.offset.clone()}

    def restore(self, name: str, state: Mapping[str, Tensor]) -> None:
        """See `Frame`."""
        layer = self._layers[name]
        layer.gain.copy_(state["gain"])
        layer.offset.copy_(state["offset"])

    def finish(self, images: Tensor) -> None:
        """See `Frame`."""
        self.module.correct(images)
        if self.recipe.act_bits is None:
            return
        quantizers = [m for m in self.module.modules() if isinstance(m, RangeQuantizer)]
        _observe(self.module, quantizers, images)
        for quantizer in quantizers:
            if not quantizer.fixed:
                quantizer.fit(self.recipe.calibration, self.recipe.act_bits)


@torch.no_grad()
def _observe(
    module: nn.Module, quantizers: Iterable[ActQuantizer | RangeQuantizer], images: Tensor
) -> None:
    """Let quantisers see what a network, weights quantised, computes in float of all images."""
    run: Callable[[Tensor], object] = module.eval()
    chosen, batches = list(quantizers), parts(images, OBSERVED)
    for quantizer in chosen:
        quantizer.observing = True
        quantizer.sample = min(SAMPLE, SAMPLE * FULL_SAMPLES // len(batches))
    for batch in batches:
        run(batch)
    for quantizer in chosen:
        quantizer.observing = False
        quantizer.sample = SAMPLE
