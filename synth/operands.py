"""Real operands of a network, and the tiles made of them that energy is measured on."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hw.config import ArrayConfig
from hw.precision import WeightMode
from sim.bench.tiles import Tile
from sim.golden import Ints


class OperandError(Exception):
    """The operand file is missing or malformed."""


@dataclass(frozen=True, kw_only=True)
class LayerOperands:
    """Sampled operands of one layer.

    Parameters
    ----------
    act : uint8 [pixels, K]
        Activations after im2col.
    weight : dict of WeightMode to int8 [K, M]
        Its weights at every precision.
    share : float
        Share of the network's multiply-accumulates that the layer stands for.
    """

    act: Ints
    weight: dict[WeightMode, Ints]
    share: float


@dataclass(frozen=True, kw_only=True)
class Operands:
    """Operands of a network, by layer."""

    name: str
    sha256: str
    layers: dict[str, LayerOperands]


def load(path: Path) -> Operands:
    """Read a file of `python -m quant.operands`.

    Raises
    ------
    OperandError
        If it is missing or lacks an array; one line.
    """
    try:
        raw = path.read_bytes()
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        names = [name.removeprefix("macs/") for name in arrays if name.startswith("macs/")]
        layers = {
            name: LayerOperands(
                act=arrays[f"act/{name}"],
                weight={mode: arrays[f"weight/{name}/{mode.name}"] for mode in WeightMode},
                share=float(arrays[f"macs/{name}"]),
            )
            for name in names
        }
    except (OSError, ValueError, KeyError) as error:
        raise OperandError(
            f"{path}: must be an operand file ({type(error).__name__}: {error}); make one with "
            "`python -m quant.operands`"
        ) from error
    if not layers:
        raise OperandError(f"{path}: must have at least one layer, found none")
    return Operands(name=path.stem, sha256=hashlib.sha256(raw).hexdigest(), layers=layers)


def sample_tiles(
    operands: Operands, mode: WeightMode, config: ArrayConfig, *, steps: int
) -> list[Tile]:
    """Tiles of one column, about `steps` steps in all, each layer by its share of the work.

    Parameters
    ----------
    operands : Operands
        Of a network.
    mode : WeightMode
        Precision of the weights.
    config : ArrayConfig
        The array; its rows take successive pixels.
    steps : int
        Steps to fill.

    Returns
    -------
    list of Tile
        Act [rows, K] and weight [K, 1]; layers one after the other, at least one tile each.
    """
    tiles: list[Tile] = []
    for layer in operands.layers.values():
        pixels, depth = layer.act.shape
        weights = layer.weight[mode]
        each = -(-depth // config.lanes) * config.steps(mode)
        starts = list(range(0, max(pixels - config.rows, 0) + 1, config.rows))
        for index in range(max(1, round(steps * layer.share / each))):
            start = starts[index % len(starts)]
            column = index % weights.shape[1]
            rows = np.resize(layer.act[start : start + config.rows], (config.rows, depth))
            tiles.append(
                Tile(
                    mode=mode,
                    act=rows.astype(np.int64),
                    weight=weights[:, column : column + 1].astype(np.int64),
                )
            )
    return tiles
