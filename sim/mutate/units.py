"""What is mutated: PEs and edges of every kind in a small array, and the requantiser."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from hw.component import Component
from hw.config import ArrayConfig, PEKind
from hw.pe import GATEWARE
from hw.precision import WeightMode
from hw.requant import Requantiser
from sim.bench.tiles import Tile, extreme_tiles, random_tiles
from sim.mutate.equivalence import Contract
from sim.mutate.observed import ObservedArray
from sim.mutate.vectors import Vectors, array_vectors, requantiser_vectors

TILES = 150
SUMS = 1500
LONGEST = 12
"""Chunks of the longest tiles."""


@dataclass(frozen=True, kw_only=True)
class Unit:
    """A module to mutate, in a design that can be simulated.

    Parameters
    ----------
    name : str
        Kind and part.
    module : str or None
        Its path in the design; None for the whole.
    build : callable
        Makes the design.
    vectors : callable
        Makes the design's vectors from a seed.
    contracts : list of Contract
        What the design's surroundings keep.
    """

    name: str
    module: str | None
    build: Callable[[], Component]
    vectors: Callable[[int], Vectors]
    contracts: list[Contract] = field(default_factory=list)


def units() -> list[Unit]:
    """Every unit; a new kind of PE brings its own."""
    found = []
    for kind in PEKind:
        config = small(kind)
        parts = {"pe": "pe_0_0", "weight_edge": "weight_edge_0"}
        if GATEWARE[kind].act_lines or GATEWARE[kind].row_excess:
            parts["act_edge"] = "act_edge_0"
        for part, module in parts.items():
            edge = None if part == "pe" else part
            found.append(
                Unit(
                    name=f"{kind.value}-{part}",
                    module=f"array.{module}",
                    build=partial(ObservedArray, config, edge=edge),
                    vectors=partial(_array_vectors, config, edge=edge),
                    contracts=[Contract(stream="tiles")],
                )
            )
    requantiser = Unit(
        name="requantiser",
        module=None,
        build=partial(Requantiser, ArrayConfig()),
        vectors=lambda seed: requantiser_vectors(ArrayConfig(), count=SUMS, seed=seed),
    )
    return [*found, requantiser]


def small(kind: PEKind) -> ArrayConfig:
    """Return a 2 x 1 array of a kind, its accumulators as narrow as its longest tiles allow."""
    traits = kind.traits
    lanes = 1 if traits.one_lane else 4 if traits.planes > 1 else 2
    return ArrayConfig(
        rows=2,
        cols=1,
        lanes=lanes,
        group=1,
        pe=kind,
        acc_bits=None,
        max_depth=LONGEST * lanes,
        drain_rows=1,
    )


def _array_vectors(config: ArrayConfig, seed: int, *, edge: str | None) -> Vectors:
    """Record the bench's tiles: random ones, and the deepest, so that every bit of a sum moves."""
    tiles = list(random_tiles(config, count=TILES, seed=seed))
    middle = len(tiles) // 2
    everything = [
        *tiles[:middle],
        *extreme_tiles(config),
        *_corrected(config, seed),
        *tiles[middle:],
    ]
    return array_vectors(ObservedArray(config, edge=edge), everything, seed=seed)


def _corrected(config: ArrayConfig, seed: int) -> list[Tile]:
    """Tiles whose corrections run through all their values.

    All Booth digits of -85 are negative; corrections that depend on nothing but the number of
    chunks need all numbers of them.
    """
    rng = np.random.default_rng(seed)

    def tile(mode: WeightMode, chunks: int, weight: int | None) -> Tile:
        depth = min(chunks * config.chunk_depth(mode), config.max_depth)
        weights = rng.integers(mode.min, mode.max + 1, (depth, config.cols))
        if weight is not None:
            weights[:] = weight
        acts = rng.integers(config.act_min, config.act_max + 1, (config.rows, depth))
        return Tile(mode=mode, act=acts, weight=weights)

    negative = [tile(WeightMode.W8, LONGEST, -0b1010101) for _ in range(3)]
    counts = [tile(mode, n, None) for n in range(4, LONGEST) for mode in WeightMode]
    return [*negative, *counts]
