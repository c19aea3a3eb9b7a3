"""Cells of the benchmark: one search, or one measurement, each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from quant.bench.catalogue import AVERAGE_BITS, HAND, MODELS, SEEDS, SWEEP, WAYS, Kind, way
from quant.errors import QuantError

ORDERS = ("way", "seed", "training", "bits", "model")
"""What cells can be sorted by, in the order that is the default."""


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One cell.

    Parameters
    ----------
    model : str
        Name of the network.
    trains : bool
        Whether the steps of QAT are spent.
    way : str
        Name of a `Way`.
    average_bits : float, optional
        Budget of size; none for ways that have no choice.
    seed : int
        Of calibration and training.
    """

    model: str
    trains: bool
    way: str
    average_bits: float | None
    seed: int

    @property
    def name(self) -> str:
        """Parts with slashes between, such as ``resnet8/qat/auto/2.5/seed0``."""
        training = "qat" if self.trains else "ptq"
        bits = "-" if self.average_bits is None else f"{self.average_bits:g}"
        return "/".join((self.model, training, self.way, bits, f"seed{self.seed}"))


def all_cells(maps: Sequence[Mapping[str, Any]]) -> list[Cell]:
    """Return every cell; of other tools as far as there are maps (`quant.bench.maps.entries`)."""
    there = {(m["name"], m["model"], m["average_bits"]) for m in maps}
    cells = [
        Cell(model=model, trains=trains, way=choice.name, average_bits=bits, seed=seed)
        for model in MODELS
        for choice in WAYS
        for trains in choice.modes
        for bits in (AVERAGE_BITS if choice.kind in (Kind.SEARCH, Kind.MAP) else (None,))
        for seed in SEEDS
    ]
    return [
        cell
        for cell in cells
        if way(cell.way).kind is not Kind.MAP
        or cell.way == HAND
        or (cell.way, cell.model, cell.average_bits) in there
    ]


def chosen(cells: Sequence[Cell], only: str) -> list[Cell]:
    """Return the cells whose name fits one of some patterns.

    Parameters
    ----------
    cells : sequence of Cell
    only : str
        Patterns of `fnmatch` with commas between: ``resnet8/*/auto/*,*/uniform*``; all if empty.

    Raises
    ------
    QuantError
        If a pattern fits none; one line.
    """
    patterns = [part.strip() for part in only.split(",") if part.strip()]
    for pattern in patterns:
        if not any(fnmatchcase(cell.name, pattern) for cell in cells):
            raise QuantError(
                f"only must fit names of cells such as {cells[0].name} (* for anything), "
                f"not {pattern}"
            )
    fits = [c for c in cells if any(fnmatchcase(c.name, pattern) for pattern in patterns)]
    return fits if patterns else list(cells)


def ordered(cells: Sequence[Cell], order: str) -> list[Cell]:
    """Sort cells.

    Parameters
    ----------
    cells : sequence of Cell
    order : str
        Parts of a cell with commas between, the one that varies least first; see `ORDERS`. Ways go
        by importance (`quant.bench.catalogue.WAYS`), training after none.

    Raises
    ------
    QuantError
        If a part is unknown.
    """
    parts = [part.strip() for part in order.split(",")]
    wrong = [part for part in parts if part not in ORDERS]
    if wrong:
        raise QuantError(f"order must be some of {', '.join(ORDERS)}, not {wrong[0]}")

    def place(cell: Cell) -> tuple[float, ...]:
        values = {
            "seed": cell.seed,
            "training": cell.trains,
            "way": (*WAYS, *SWEEP).index(way(cell.way)),
            "bits": cell.average_bits or 0.0,
            "model": MODELS.index(cell.model),
        }
        return tuple(values[part] for part in parts)

    return sorted(cells, key=place)
