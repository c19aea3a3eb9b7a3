"""A whole network's weights, optimised layer by layer on calibration images."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from hw.precision import WeightMode
from quant.batches import at_once, inputs_of
from quant.data import Images
from quant.graph import Network
from quant.network import WeightLayer
from quant.ptq.grid import IntegerRange, WeightGrid
from quant.ptq.optimise import Method, OptimisedWeights, matrix, optimise
from quant.ptq.statistics import LayerStatistics
from quant.quant_network import QuantNetwork, uniform_bits
from quant.threads import pool_of, worth

CALIBRATION_IMAGES = 512
BATCH = 64
STATISTICS_BYTES = 256 << 20
"""Of the layers that are collected in one run of the images, if they are more than one."""

Solutions = Mapping[str, Mapping[WeightMode, OptimisedWeights]]
"""Optimised weights of every layer at some of its precisions."""


class _Reached(Exception):  # noqa: N818  control flow, not an error
    """The layer that was asked for has been reached; what follows need not run."""


def collect(module: nn.Module, layer: nn.Module, statistics: LayerStatistics, x: Tensor) -> None:
    """Run a network as far as one layer, and add what that reads to its statistics.

    Parameters
    ----------
    module, x
        As for `collect_all`.
    layer : module
        One of the network's layers, called once.
    statistics : LayerStatistics
        Changed in place.
    """
    collect_all(module, [(layer, statistics)], x)


@torch.no_grad()
def collect_all(
    module: nn.Module, layers: Sequence[tuple[nn.Module, LayerStatistics]], x: Tensor
) -> None:
    """Run a network as far as the last of some layers, and add what they read to their statistics.

    Threads share the layers of small images, each with a copy of what its layer reads; large ones,
    of which not even a batch is run at once, have the memory for themselves.

    Parameters
    ----------
    module : module
        Float or quantised network, in evaluation mode.
    layers : sequence of (module, LayerStatistics)
        Some of its layers, each called once, with their statistics, changed in place.
    x : float [N, C, H, W]
        Images; `BATCH` of them at a time, or as many as `quant.batches.at_once` allows.
    """
    waiting: set[nn.Module] = set()
    adding: deque[Future[None]] = deque()
    size = at_once(tuple(x.shape[1:]), BATCH)
    threads = 1 if size < BATCH else worth(len(layers))

    def hook(layer: nn.Module, inputs: tuple[Any, ...]) -> None:
        if layer not in waiting:
            return
        waiting.remove(layer)
        if threads == 1:
            statistics[layer].add(inputs[0])
        else:  # a copy, since what follows may change the tensor in place
            adding.append(pool.submit(statistics[layer].add, inputs[0].clone()))
        if len(adding) > threads:
            adding.popleft().result()
        if not waiting:
            raise _Reached

    statistics = dict(layers)
    pool = pool_of(threads)  # starts none before it is given something
    handles = [layer.register_forward_pre_hook(hook) for layer in statistics]
    try:
        for batch in torch.split(x, size):
            waiting |= set(statistics)
            with suppress(_Reached):
                module(batch)
            waiting.clear()
            while adding:  # batches of a layer are added in their order
                adding.popleft().result()
    finally:
        for handle in handles:
            handle.remove()
        pool.shutdown(cancel_futures=True)


def in_one_run(network: Network, names: Iterable[str]) -> Iterator[list[str]]:
    """Parts of layers whose statistics fit in `STATISTICS_BYTES`, or one layer each."""
    part: list[str] = []
    size = 0
    for name in names:
        more = LayerStatistics.size_bytes(plain_layer(network, name))
        if part and size + more > STATISTICS_BYTES:
            yield part
            part, size = [], 0
        part.append(name)
        size += more
    if part:
        yield part


def collected(network: Network, names: Sequence[str], images: Tensor) -> dict[str, LayerStatistics]:
    """Run images through the float network once; returns the statistics of some of its layers."""
    found = {name: LayerStatistics(plain_layer(network, name), name) for name in names}
    layers = [(network.module.get_submodule(name), found[name]) for name in names]
    collect_all(network.module, layers, images)
    return found


def plain_layer(network: Network, name: str) -> WeightLayer:
    """Return a layer of the float network."""
    layer = network.module.get_submodule(name)
    assert isinstance(layer, WeightLayer)
    return layer


def calibration_images(data: Images, count: int, *, seed: int) -> Tensor:
    """Choose images: float32 [min(count, len(data)), C, H, W]."""
    random = np.random.default_rng(seed)
    chosen = random.choice(len(data), min(count, len(data)), replace=False)
    return inputs_of(data, chosen)


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
    for part in in_one_run(network, choices):
        statistics = collected(network, part, images)
        for name in part:
            weight, seen = quantised.layer(name).layer.weight.detach(), statistics.pop(name)
            found = {}
            for mode in choices[name]:
                integers = IntegerRange(bits=mode.bits, narrow=narrow)
                grid = WeightGrid.symmetric(matrix(weight), integers)
                found[mode] = optimise(weight, seen, grid, method)
            yield name, found
