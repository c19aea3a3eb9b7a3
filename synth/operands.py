"""Real operands of a network, and the tiles made of them that energy is measured on."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator, Mapping
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


_THIN = 8


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
        Its weights at every precision, or at that which it has.
    share : float
        Share of the network's multiply-accumulates that the layer stands for.
    """

    act: Ints
    weight: dict[WeightMode, Ints]
    share: float


@dataclass(frozen=True, kw_only=True)
class Operands:
    """Operands of a network, by layer; `path` is the file that they were read from."""

    name: str
    sha256: str
    layers: dict[str, LayerOperands]
    path: Path = Path()


def load(path: Path) -> Operands:
    """Read a file of `python -m quant.operands`.

    Raises
    ------
    OperandError
        If it is missing or lacks an array; one line.
    """
    try:
        raw = path.read_bytes()
        with np.load(io.BytesIO(raw), allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        names = [name.removeprefix("macs/") for name in arrays if name.startswith("macs/")]
        layers = {
            name: LayerOperands(
                act=arrays[f"act/{name}"],
                weight=_weights(arrays, name),
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
    if layers:
        name = max(layers, key=lambda name: layers[name].share)
        layers[f"{name}, thinned"] = _thinned(layers[name])
    if not layers:
        raise OperandError(f"{path}: must have at least one layer, found none")
    digest = hashlib.sha256(raw).hexdigest()
    return Operands(name=path.stem, sha256=digest, layers=layers, path=path.resolve())


def _weights(arrays: Mapping[str, Ints], name: str) -> dict[WeightMode, Ints]:
    """Weights of a layer at the precisions that the file has, at least one."""
    found = {
        mode: arrays[key] for mode in WeightMode if (key := f"weight/{name}/{mode.name}") in arrays
    }
    if not found:
        raise KeyError(f"weight/{name}/W8")
    return found


def _thinned(layer: LayerOperands) -> LayerOperands:
    """Leave a layer every eighth weight of a column; no part of the network.

    Depthwise layers look like that to an array (ADR 8): activations change, products do not. An
    energy model tells the two apart only if it has seen such a layer.
    """
    kept = np.arange(layer.act.shape[1])[:, None] % _THIN == np.arange(_THIN)
    return LayerOperands(
        act=layer.act,
        weight={
            mode: weight * kept[:, np.arange(weight.shape[1]) % _THIN]
            for mode, weight in layer.weight.items()
        },
        share=0.0,
    )


def sample_tiles(
    operands: Operands, mode: WeightMode, config: ArrayConfig, *, products: int, cols: int = 1
) -> dict[str, list[Tile]]:
    """Tiles, of one column if not told otherwise, whose first PE works on `products` products.

    The first row's dot products are the same for every array and mode: pixels and channels of each
    layer in an even spread, as many products of each layer. Other rows take the next pixels, other
    columns the next channels.

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
    dict of str to list of Tile
        Act [rows, K] and weight [K, cols]; at least one tile of every layer that has weights at
        this precision.
    """
    return {
        name: list(_tiles(layer, mode, config, products=products / len(operands.layers), cols=cols))
        for name, layer in operands.layers.items()
        if mode in layer.weight
    }


def _tiles(
    layer: LayerOperands, mode: WeightMode, config: ArrayConfig, *, products: float, cols: int
) -> Iterator[Tile]:
    pixels, depth = layer.act.shape
    weights = layer.weight[mode]
    for index in range(max(1, round(products / depth))):
        first, column = _SPREAD * index % pixels, _SPREAD * index % weights.shape[1]
        rows = (first + np.arange(config.rows)) % pixels
        channels = (column + np.arange(cols)) % weights.shape[1]
        yield Tile(
            mode=mode,
            act=layer.act[rows].astype(np.int64),
            weight=weights[:, channels].astype(np.int64),
        )
