"""Tiles of operands for the array, and the results that they must give."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from hw.config import ArrayConfig
from hw.precision import WeightMode
from sim import golden, packing
from sim.golden import Ints


@dataclass(frozen=True, kw_only=True)
class Tile:
    """Operands of one tile.

    Parameters
    ----------
    mode : WeightMode
        Precision of the weights.
    act : int [rows, K]
        Activations.
    weight : int [K, cols]
        Weights.
    """

    mode: WeightMode
    act: Ints
    weight: Ints

    def expected(self) -> Ints:
        """Results by the golden model, int64 [rows, cols]."""
        return golden.matmul(self.act, self.weight, self.mode)

    def command(self, config: ArrayConfig) -> int:
        """Return the tile's descriptor as the array takes it (hw.control.TILE)."""
        chunks: int = -(-self.act.shape[1] // config.chunk_depth(self.mode))
        return (self.mode.digits - 1) | (chunks - 1) << 2

    def act_items(self, config: ArrayConfig) -> list[int]:
        """One item of the activation stream a chunk."""
        chunks = packing.act_fields(self.act, self.mode, config)
        return [_item(fields, config.act_bits) for fields in chunks]

    def weight_items(self, config: ArrayConfig) -> list[int]:
        """`ArrayConfig.weight_items` items of the weight stream a chunk."""
        words = packing.weight_words(self.weight, self.mode, config)
        return [_item(fields, config.weight_field_bits) for chunk in words for fields in chunk]


def _item(fields: Ints, bits: int) -> int:
    return int.from_bytes(packing.pack(fields, bits), "little")


def random_tiles(
    config: ArrayConfig, *, count: int, seed: int, max_chunks: int = 3
) -> Iterator[Tile]:
    """Tiles of random depth, mode and distribution.

    A third each has uniform operands, sparse small ones, and extremes only (the most negative
    and the most positive weight and activation), so that neither zeros nor overflows stay
    untested.
    """
    rng = np.random.default_rng(seed)
    modes = list(WeightMode)
    for index in range(count):
        mode = modes[rng.integers(len(modes))]
        depth = int(rng.integers(1, max_chunks * config.lanes + 1))
        shapes = (config.rows, depth), (depth, config.cols)
        kind = index % 3
        if kind == 0:
            act = rng.integers(config.act_min, config.act_max + 1, shapes[0])
            weight = rng.integers(mode.min, mode.max + 1, shapes[1])
        elif kind == 1:
            act = rng.integers(config.act_min, config.act_max + 1, shapes[0])
            act *= rng.random(shapes[0]) < 0.4
            weight = np.clip(rng.normal(0, mode.max / 2, shapes[1]).round(), mode.min, mode.max)
            weight = weight.astype(np.int64)
        else:
            act = rng.choice([config.act_min, config.act_max], shapes[0])
            weight = rng.choice([mode.min, mode.max], shapes[1])
        yield Tile(mode=mode, act=act, weight=weight)


def deepest_tile(config: ArrayConfig, mode: WeightMode, *, negative: bool) -> Tile:
    """Longest dot product of extreme operands: what the accumulator's width was proven for."""
    weight = mode.min if negative else mode.max
    return Tile(
        mode=mode,
        act=np.full((config.rows, config.max_depth), config.act_max),
        weight=np.full((config.max_depth, config.cols), weight),
    )
