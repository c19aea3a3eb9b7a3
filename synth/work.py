"""How much of a network's work sampled operands stand for, and how much of them is work."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hw.config import ArrayConfig
from hw.precision import WeightMode
from hw.schedule import steps_of_weights
from sim.bench.tiles import Tile
from synth.mapping import Measured
from synth.operands import LayerOperands, Operands, sample_tiles


def working_share(layer: LayerOperands) -> float:
    """Share of K that an output channel has weights for: 1, of a depthwise layer one in its block.

    A depthwise layer is sampled as a block of M channels whose weights are block-diagonal (ADR 8):
    K runs over the pixels of all M, and channel m has weights for every M-th of them, from the
    m-th on.
    """
    weight = next(iter(layer.weight.values()))  # [K, M], of any precision
    depth, outputs = weight.shape
    others = np.arange(depth)[:, None] % outputs != np.arange(outputs)
    return 1.0 if depth % outputs or weight[others].any() else 1 / outputs


def layer_shares(
    operands: Operands, mode: WeightMode, config: ArrayConfig, *, products: int
) -> list[float]:
    """Share of each sampled layer in the steps that the network's work takes.

    Parameters
    ----------
    operands : Operands
        Of the network.
    mode : WeightMode
        Precision of the weights.
    config : ArrayConfig
        The array.
    products : int
        As many as `synth.operands.sample_tiles` samples.

    Returns
    -------
    list of float
        In the order of the layers; they add up to 1.
    """
    steps = _steps_per_product(operands, mode, config, products)
    return [step / sum(steps) for step in steps]


def utilisation(
    operands: Operands, mode: WeightMode, config: ArrayConfig, *, products: int
) -> float:
    """Share of a PE's lanes with work, mean over the network's steps; 1 if steps are not fixed.

    Parameters as in `layer_shares`.
    """
    if config.pe.traits.skips_zeros:
        return 1.0
    steps = sum(_steps_per_product(operands, mode, config, products))
    shares = sum(layer.share for layer in operands.layers.values())
    return shares / steps * config.steps(mode) / config.chunk_depth(mode)


def step_fj(energy: Measured, shares: Sequence[float]) -> float:
    """Energy of a step, mean over the network: each layer by its share of the steps."""
    return sum(share * run.step_fj for share, run in zip(shares, energy.runs, strict=True))


def _steps_per_product(
    operands: Operands, mode: WeightMode, config: ArrayConfig, products: int
) -> list[float]:
    """Return steps per product of the network, each layer's part of them."""
    tiles = sample_tiles(operands, mode, config, products=products)
    return [
        operands.layers[name].share
        * _steps(run, config)
        / (working_share(operands.layers[name]) * _depth(run))
        for name, run in tiles.items()
    ]


def _steps(run: Sequence[Tile], config: ArrayConfig) -> int:
    return sum(steps_of_weights(tile.weight.tolist(), tile.mode, config) for tile in run)


def _depth(run: Sequence[Tile]) -> int:
    return sum(tile.act.shape[1] for tile in run)
