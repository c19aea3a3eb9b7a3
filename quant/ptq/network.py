"""A whole network's weights, optimised layer by layer on calibration images."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from hw.precision import WeightMode
from quant.allocation import Bits
from quant.batches import to_input
from quant.calibrate import fit_activations, reestimate_norms
from quant.data import ImageSet
from quant.graph import Network, WeightLayer
from quant.layers import QuantLayer, QuantNetwork, uniform_bits
from quant.ptq.grid import IntegerRange, WeightGrid
from quant.ptq.optimise import Method, OptimisedWeights, matrix, optimise
from quant.ptq.statistics import LayerStatistics, output_moments

CALIBRATION_IMAGES = 512
BATCH = 64
STATISTICS_BYTES = 256 << 20
"""Statistics that are taken at the same time."""

Solutions = Mapping[str, Mapping[WeightMode, OptimisedWeights]]
"""Optimised weights of every layer at some of its precisions."""


class _Reached(Exception):  # noqa: N818  control flow, not an error
    """The layer that was asked for has been reached; what follows need not run."""


def layer_statistics(
    network: Network, images: Tensor, names: Sequence[str]
) -> Iterator[tuple[str, LayerStatistics]]:
    """Take the statistics of some layers of the float network, several at a time.

    Parameters
    ----------
    network : Network
        In float.
    images : float [N, C, H, W]
        `BATCH` of them at a time.
    names : sequence of str
        Layers, in order of execution.

    Yields
    ------
    str, LayerStatistics
        Layer after layer; `STATISTICS_BYTES` of statistics, or one layer's, are in memory at a
        time.
    """
    waiting = list(names)
    while waiting:
        together: dict[str, LayerStatistics] = {}
        room = STATISTICS_BYTES
        while waiting:
            layer = network.module.get_submodule(waiting[0])
            assert isinstance(layer, WeightLayer)
            room -= LayerStatistics.bytes_of(layer)
            if together and room < 0:
                break
            name = waiting.pop(0)
            together[name] = LayerStatistics(layer, name)
        _collect_together(network.module, together, images)
        while together:
            name = next(iter(together))
            yield name, together.pop(name)


def _collect_together(
    module: nn.Module, statistics: Mapping[str, LayerStatistics], images: Tensor
) -> None:
    handles = [
        module.get_submodule(name).register_forward_pre_hook(
            lambda _, inputs, found=found: found.add(inputs[0])
        )
        for name, found in statistics.items()
    ]
    try:
        with torch.no_grad():
            for batch in torch.split(images, BATCH):
                module(batch)
    finally:
        for handle in handles:
            handle.remove()


def collect(module: nn.Module, layer: nn.Module, statistics: LayerStatistics, x: Tensor) -> None:
    """Run a network as far as one layer, and add what that reads to its statistics.

    Parameters
    ----------
    module : module
        Float or quantised network, in evaluation mode.
    layer : module
        One of its layers, called once.
    statistics : LayerStatistics
        Changed in place.
    x : float [N, C, H, W]
        Images; `BATCH` of them at a time.
    """

    def hook(_: nn.Module, inputs: tuple[Any, ...]) -> None:
        statistics.add(inputs[0])
        raise _Reached

    handle = layer.register_forward_pre_hook(hook)
    try:
        with torch.no_grad():
            for batch in torch.split(x, BATCH):
                try:
                    module(batch)
                except _Reached:
                    continue
    finally:
        handle.remove()


def calibration_images(data: ImageSet, count: int, *, seed: int) -> Tensor:
    """Choose images: float32 [min(count, len(data)), 1, H, W]."""
    random = np.random.default_rng(seed)
    chosen = random.choice(len(data), min(count, len(data)), replace=False)
    return to_input(torch.from_numpy(data.images[chosen]))


def layer_solutions(
    network: Network,
    images: Tensor,
    choices: Mapping[str, Sequence[WeightMode]],
    *,
    method: Method = Method.SENSITIVITY,
    narrow: bool = False,
) -> Iterator[tuple[str, dict[WeightMode, OptimisedWeights]]]:
    """Optimise every layer at each of its precisions, on the activations of the float network.

    Layers do not depend on each other then, so one run serves all allocations of a search.

    Parameters
    ----------
    network : Network
        In float.
    images : float [N, C, H, W]
        Calibration images.
    choices : mapping of str to sequence of WeightMode
        Precisions of each layer; those left out are not optimised.
    method : Method
        How to choose integers.
    narrow : bool
        Whether the most negative integer stays unused.

    Yields
    ------
    str, dict of WeightMode to OptimisedWeights
        Layer after layer.
    """
    quantised = QuantNetwork(network, uniform_bits(network, WeightMode.W8), narrow=narrow)
    names = [name for name, _ in quantised.quant_layers() if name in choices]
    for name, statistics in layer_statistics(network, images, names):
        weight = quantised.layer(name).layer.weight.detach()
        found = {}
        for mode in choices[name]:
            integers = IntegerRange(bits=mode.bits, narrow=narrow)
            grid = WeightGrid.symmetric(matrix(weight), integers)
            found[mode] = optimise(weight, statistics, grid, method)
        yield name, found


def sequential_solutions(
    network: Network,
    images: Tensor,
    bits: Bits,
    *,
    method: Method = Method.SENSITIVITY,
    narrow: bool = False,
) -> Iterator[tuple[str, dict[WeightMode, OptimisedWeights]]]:
    """Optimise layer after layer, each on what the layers before it, quantised, really give.

    The batch norm behind each layer is set to the statistics that the layer now has; they follow
    from those of its inputs. Activations are in float.

    Parameters
    ----------
    network, images, method, narrow
        As for `layer_solutions`.
    bits : mapping of str to WeightMode
        Precision of every layer.

    Yields
    ------
    str, dict of WeightMode to OptimisedWeights
        Layer after layer, in order of execution.
    """
    quantised = QuantNetwork(network, bits, narrow=narrow).eval()
    for name, layer in quantised.quant_layers():
        statistics = LayerStatistics(layer.layer, name)
        collect(quantised, layer, statistics, images)
        weight = layer.layer.weight.detach()
        integers = IntegerRange(bits=layer.mode.bits, narrow=narrow)
        grid = WeightGrid.symmetric(matrix(weight), integers)
        found = optimise(weight, statistics, grid, method)
        _start(layer, found)
        match_norm(layer, statistics)
        yield name, {layer.mode: found}


@torch.no_grad()
def match_norm(layer: QuantLayer, statistics: LayerStatistics) -> None:
    """Set a batch norm's running statistics to those of the layer's present weights.

    Parameters
    ----------
    layer : QuantLayer
        Changed in place, if it has a batch norm.
    statistics : LayerStatistics
        Of the layer's inputs.
    """
    norm = layer.norm
    if norm is None:
        return
    assert norm.running_mean is not None
    assert norm.running_var is not None
    mean, variance = output_moments(layer.layer.weight.double(), statistics)
    norm.running_var.copy_(variance)
    norm.running_mean.copy_(mean if layer.layer.bias is None else mean + layer.layer.bias)


def put(quantised: QuantNetwork, solutions: Solutions) -> None:
    """Start every layer from its optimised weights at the precision it has, scales fixed."""
    for name, layer in quantised.quant_layers():
        _start(layer, solutions[name][layer.mode])


def _start(layer: QuantLayer, found: OptimisedWeights) -> None:
    layer.start_from(found.values(), torch.from_numpy(found.grid.scale).float())


def optimised(
    network: Network,
    data: ImageSet,
    bits: Bits,
    *,
    method: Method = Method.SENSITIVITY,
    images: int = CALIBRATION_IMAGES,
    sequential: bool = False,
    narrow: bool = False,
    seed: int = 0,
) -> QuantNetwork:
    """Return a network of optimised weights, batch norms and activation ranges calibrated.

    Parameters
    ----------
    network : Network
        In float; left as it is.
    data : ImageSet
        Training images.
    bits : mapping of str to WeightMode
        Precision of every layer.
    method : Method
        How to choose integers.
    images : int
        Calibration images for the statistics.
    sequential : bool
        Whether each layer's statistics are those behind the quantised layers before it, instead of
        the float network's.
    narrow : bool
        Whether the most negative integer stays unused.
    seed : int
        Of the choice of images.
    """
    chosen = calibration_images(data, images, seed=seed)
    if sequential:
        found = sequential_solutions(network, chosen, bits, method=method, narrow=narrow)
    else:
        choices = {name: (mode,) for name, mode in bits.items()}
        found = layer_solutions(network, chosen, choices, method=method, narrow=narrow)
    solutions = dict(found)
    quantised = QuantNetwork(network, bits, narrow=narrow)
    put(quantised, solutions)
    reestimate_norms(quantised, data, seed=seed)
    fit_activations(quantised, data, seed=seed)
    return quantised
