"""Stream items as functions of symbolic operands, wired exactly as `sim.packing` packs numbers.

Packing only moves and copies bits: an item is the exclusive or of what its operands' single bits
give. So packing the single bits tells the wires, for every PE kind, without a second description
of the memory format.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce
from operator import xor

import numpy as np
from amaranth import Cat, Const, Value

from hw.config import ArrayConfig
from hw.precision import WeightMode
from sim.bench.tiles import Tile
from sim.golden import Ints


@dataclass(frozen=True, kw_only=True)
class TileShape:
    """What a tile's stream items are packed from.

    Parameters
    ----------
    config : ArrayConfig
        The array.
    mode : WeightMode
        Precision of the weights.
    chunks : int
        Chunks of `config.chunk_depth(mode)` products.
    """

    config: ArrayConfig
    mode: WeightMode
    chunks: int

    @property
    def depth(self) -> int:
        """Products of a dot product."""
        return self.chunks * self.config.chunk_depth(self.mode)

    def tile(self, act: Ints, weight: Ints) -> Tile:
        """Return the bench's tile of these operands, [rows, depth] and [depth, cols]."""
        return Tile(mode=self.mode, act=act, weight=weight)

    def command(self) -> int:
        """Descriptor of the tile."""
        zeros = np.zeros((self.depth, self.config.cols), np.int64)
        return self.tile(self._no_acts(), zeros).command(self.config)

    def act_items(self, act: list[list[Value]]) -> list[Value]:
        """Items of the activation stream for symbolic activations, [rows][depth]."""
        zeros = np.zeros((self.depth, self.config.cols), np.int64)

        def pack(values: Ints) -> list[int]:
            return self.tile(values, zeros).act_items(self.config)

        return _wired(pack, act, bits=self.config.act_bits, signed=self.config.act_signed)

    def weight_items(self, weight: list[list[Value]]) -> list[Value]:
        """Items of the weight stream for symbolic weights, [depth][cols]."""

        def pack(values: Ints) -> list[int]:
            return self.tile(self._no_acts(), values).weight_items(self.config)

        return _wired(pack, weight, bits=self.mode.bits, signed=True)

    def _no_acts(self) -> Ints:
        return np.zeros((self.config.rows, self.depth), np.int64)


def _wired(
    pack: Callable[[Ints], list[int]], operands: list[list[Value]], *, bits: int, signed: bool
) -> list[Value]:
    """Items as wires from the operands' bits."""
    shape = len(operands), len(operands[0])
    values = [1 << bit for bit in range(bits)]
    if signed:
        values[-1] = -values[-1]
    images = {}
    for index in np.ndindex(shape):
        for bit, value in enumerate(values):
            single = np.zeros(shape, np.int64)
            single[index] = value
            images[index, bit] = pack(single)
    _check(pack, images, shape, bits=bits, signed=signed)
    items: list[Value] = []
    for number in range(len(pack(np.zeros(shape, np.int64)))):
        sources: dict[int, list[Value]] = {}
        for (index, bit), image in images.items():
            for place in range(image[number].bit_length()):
                if image[number] >> place & 1:
                    sources.setdefault(place, []).append(operands[index[0]][index[1]][bit])
        top = max(sources, default=-1) + 1
        items.append(
            Cat(*(reduce(xor, sources[i]) if i in sources else Const(0, 1) for i in range(top)))
        )
    return items


def _check(
    pack: Callable[[Ints], list[int]],
    images: dict[tuple[tuple[int, ...], int], list[int]],
    shape: tuple[int, int],
    *,
    bits: int,
    signed: bool,
) -> None:
    """Refuse a packing that is more than wires, by random operands."""
    rng = np.random.default_rng(1)
    for _ in range(20):
        unsigned = rng.integers(0, 1 << bits, shape)
        wired = [0] * len(pack(np.zeros(shape, np.int64)))
        for (index, bit), image in images.items():
            if unsigned[index] >> bit & 1:
                wired = [a ^ b for a, b in zip(wired, image, strict=True)]
        values = unsigned - ((unsigned >> (bits - 1)) << bits) if signed else unsigned
        if pack(values) != wired:
            raise ValueError("packing must only move and copy bits, and does more")
