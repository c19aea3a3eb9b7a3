"""Maps of bits that are replayed: those of other tools, uniform ones, and one by hand."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from quant.bench.catalogue import HAND, Kind, way
from quant.bench.cells import Cell
from quant.errors import QuantError

Bits = dict[str, int]
FOLDER = Path(__file__).parent / "maps"


def bits_of(
    cell: Cell, weights: Mapping[str, int], maps: Sequence[Mapping[str, Any]]
) -> Bits | None:
    """Return the bits that a cell replays, or None where it searches.

    A tool that was not asked with the cell's seed gives what it chose with its first one.

    Parameters
    ----------
    cell : Cell
    weights : mapping of str to int
        Weights of every layer, in order of execution.
    maps : sequence of mapping
        As from `entries`.

    Raises
    ------
    QuantError
        If its map is not there; one line.
    """
    kind = way(cell.way).kind
    if kind is Kind.UNIFORM:
        return dict.fromkeys(weights, int(cell.way.split()[-1]))
    if kind is not Kind.MAP:
        return None
    assert cell.average_bits is not None
    if cell.way == HAND:
        return by_hand(weights, cell.average_bits)
    wanted = (cell.way, cell.model, cell.average_bits)
    found = {
        entry["seed"]: entry["bits"]
        for entry in maps
        if (entry["name"], entry["model"], entry["average_bits"]) == wanted
    }
    if found:
        bits = found.get(cell.seed, found[min(found)])
        return {name: bits[name] for name in weights}
    raise QuantError(f"maps must have {cell.name}, but do not; see quant/bench/peers.py")


def entries(folder: Path) -> list[dict[str, Any]]:
    """Return all maps of a folder's files, as `quant.bench.peers` wrote them."""
    documents = [
        json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))
    ]
    return [entry for document in documents for entry in document["maps"]]


def by_hand(weights: Mapping[str, int], average_bits: float) -> Bits:
    """Return the bits that one would write down for a tool without a search, such as Brevitas.

    First and last layer 8 bit, the others 4; then the largest others go to 2 bit, one by one,
    until the size is within the budget, and if that does not do, the ends to 4 and 2. Ours;
    that ends get more bits is custom.

    Parameters
    ----------
    weights : mapping of str to int
        Weights of every layer, in order of execution.
    average_bits : float
        Mean bits of a weight, at most.

    Raises
    ------
    QuantError
        If 2 bit everywhere is too much.
    """
    names = list(weights)
    ends = {names[0], names[-1]}
    bits = {name: 8 if name in ends else 4 for name in names}
    middle = sorted((n for n in names if n not in ends), key=lambda n: -weights[n])
    steps = [(name, 2) for name in middle]
    steps += [(name, fewer) for fewer in (4, 2) for name in sorted(ends, key=names.index)]
    allowed = average_bits * sum(weights.values())
    for name, fewer in steps:
        if sum(weights[n] * bits[n] for n in names) <= allowed:
            return bits
        bits[name] = fewer
    if sum(weights[n] * bits[n] for n in names) > allowed:
        raise QuantError(f"average bits must be at least 2, not {average_bits:g}")
    return bits
