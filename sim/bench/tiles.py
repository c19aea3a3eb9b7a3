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


def random_tiles(config: ArrayConfig, *, count: int, seed: int) -> Iterator[Tile]:
    """Tiles of random depth, mode and distribution.

    Modes run through all pairs, one after the other, in a random order. A quarter each has uniform
    operands, sparse small ones, extremes only (the most negative and the most positive weight and
    activation), and what lies at borders (extremes, zero, one and minus one), so that neither
    zeros nor overflows stay untested.
    """
    rng = np.random.default_rng(seed)
    modes = _mode_pairs(rng)
    for index in range(count):
        mode = next(modes)
        depth = int(rng.integers(1, max(2 * config.lanes, 6) + 1))
        shapes = (config.rows, depth), (depth, config.cols)
        act = rng.integers(config.act_min, config.act_max + 1, shapes[0])
        kind = index % 4
        if kind == 0:
            weight = rng.integers(mode.min, mode.max + 1, shapes[1])
        elif kind == 1:
            act *= rng.random(shapes[0]) < 0.4
            weight = np.clip(rng.normal(0, mode.max / 2, shapes[1]).round(), mode.min, mode.max)
            weight = weight.astype(np.int64)
        elif kind == 2:
            act = rng.choice([config.act_min, config.act_max], shapes[0])
            weight = rng.choice([mode.min, mode.max], shapes[1])
        else:
            act = rng.choice([config.act_min, 0, 1, config.act_max], shapes[0])
            weight = rng.choice([mode.min, -1, 0, 1, mode.max], shapes[1])
        yield Tile(mode=mode, act=act, weight=weight)


def _mode_pairs(rng: np.random.Generator) -> Iterator[WeightMode]:
    """Modes for ever; every 17 of them follow each other in all 16 pairs (de Bruijn)."""
    order = (0, 0, 1, 0, 2, 0, 3, 1, 1, 2, 1, 3, 2, 2, 3, 3, 0)
    while True:
        modes = list(WeightMode)
        named = rng.permutation(len(modes))
        yield from (modes[named[index]] for index in order)


def extreme_tiles(config: ArrayConfig) -> list[Tile]:
    """Longest dot products of extreme operands: what the accumulator's width was proven for."""
    return [
        Tile(
            mode=mode,
            act=np.full((config.rows, config.max_depth), act),
            weight=np.full((config.max_depth, config.cols), weight),
        )
        for mode in (WeightMode.W8, WeightMode.W2)
        for act in (config.act_min, config.act_max)
        for weight in (mode.min, mode.max)
    ]
