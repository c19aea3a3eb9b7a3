"""What the gateware of a kind of PE consists of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from amaranth import Module, Value

from hw.component import Component
from hw.config import ArrayConfig
from hw.pe.recoder import Recoder
from hw.pe.signature import Lines, Record


@dataclass(frozen=True, kw_only=True)
class Gateware:
    """A kind of PE: the PE itself, and its share of the array's edges.

    Parameters
    ----------
    pe : callable
        Builds the PE of a configuration.
    recoder : callable
        Builds what is between the words of a column and its PEs.
    column_excess : callable, optional
        By how much a step's sum exceeds the true one in all PEs of a column, from the column's
        lines and the control that its PEs see; weighed as the PEs weigh their sums.
    act_lines : callable, optional
        Activation lines of a row's PEs from a chunk and the weight mode; the chunk as
        it is if None.
    row_excess : callable, optional
        Builds what sums up by how much the results of a row's PEs exceed the true ones.
    """

    pe: Callable[[ArrayConfig], Component]
    recoder: Callable[[ArrayConfig], Recoder]
    column_excess: Callable[[Module, ArrayConfig, Lines, Record], Value] | None = None
    act_lines: Callable[[ArrayConfig, Lines, Value], list[Value]] | None = None
    row_excess: Callable[[ArrayConfig], Component] | None = None
