"""Real operands of a network, and the tiles made of them that energy is measured on."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from hw.config import ArrayConfig
from hw.precision import WeightMode
from sim.bench.tiles import Tile
from sim.golden import Ints

_SPREAD = 23
"""Step between sampled pixels and channels; has no divisor in common with their usual counts."""


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
    except (
        OSError,
        EOFError,
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        BadZipFile,
    ) as error:
        raise OperandError(
            f"{path}: must be an operand file ({type(error).__name__}: {error}); make one with "
            "`python -m quant.operands`"
        ) from error
    for name, layer in layers.items():
        shapes = {weight.shape[0] for weight in layer.weight.values()}
        if layer.act.ndim != 2 or shapes != {layer.act.shape[1]}:
            raise OperandError(
                f"{path}: act/{name} [pixels, K] and weight/{name} [K, M] must share K, not "
                f"{layer.act.shape} and {sorted(shapes)}"
            )
    if not layers:
        raise OperandError(f"{path}: must have at least one layer, found none")
    return Operands(name=path.stem, sha256=hashlib.sha256(raw).hexdigest(), layers=layers)


def sample_tiles(
    operands: Operands, mode: WeightMode, config: ArrayConfig, *, products: int, cols: int = 1
) -> list[Tile]:
    """Tiles, of one column if not told otherwise, whose first PE works on `products` products.

    The first row's dot products are the same for every array and mode: pixels and channels of each
    layer in an even spread, each layer by its share of the work. Other rows take the next pixels,
    other columns the next channels.

    Parameters
    ----------
    operands : Operands
        Of a network.
    mode : WeightMode
        Precision of the weights.
    config : ArrayConfig
        The array.
    products : int
        Multiply-accumulates of the first row and column, about.
    cols : int
        Columns.

    Returns
    -------
    list of Tile
        Act [rows, K] and weight [K, cols]; layers one after the other, at least one tile each.
    """
    tiles: list[Tile] = []
    for layer in operands.layers.values():
        pixels, depth = layer.act.shape
        weights = layer.weight[mode]
        for index in range(max(1, round(products * layer.share / depth))):
            first, column = _SPREAD * index % pixels, _SPREAD * index % weights.shape[1]
            rows = (first + np.arange(config.rows)) % pixels
            channels = (column + np.arange(cols)) % weights.shape[1]
            tiles.append(
                Tile(
                    mode=mode,
                    act=layer.act[rows].astype(np.int64),
                    weight=weights[:, channels].astype(np.int64),
                )
            )
    return tiles
