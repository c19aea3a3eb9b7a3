"""Standard cells as timing and energy need them: small immutable records in fF, ns, fJ, nW, um2."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray


class LibertyError(Exception):
    """A Liberty file is missing, malformed, or lacks what synthesis needs."""


@dataclass(frozen=True, kw_only=True)
class LookUp:
    """A one- or two-dimensional Liberty table.

    Parameters
    ----------
    slew_ns : float64 [S]
        Input transition times; one entry for a scalar table.
    load_ff : float64 [C]
        Output loads; one entry for a one-dimensional table.
    values : float64 [S, C]
        In the caller's unit.
    """

    slew_ns: NDArray[np.float64]
    load_ff: NDArray[np.float64]
    values: NDArray[np.float64]

    def __call__(self, slew_ns: float, load_ff: float) -> float:
        """Interpolate bilinearly; extrapolate linearly beyond the table's edges."""
        slews, loads, values = self._lists
        i, u = _bracket(slews, slew_ns)
        j, v = _bracket(loads, load_ff)
        i1, j1 = min(i + 1, len(slews) - 1), min(j + 1, len(loads) - 1)
        a, b = values[i][j], values[i1][j]
        c, d = values[i][j1], values[i1][j1]
        return a + u * (b - a) + v * (c - a) + u * v * (a - b - c + d)

    @cached_property
    def _lists(self) -> tuple[list[float], list[float], list[list[float]]]:
        """The table as lists, which single look-ups are ten times faster in."""
        return self.slew_ns.tolist(), self.load_ff.tolist(), self.values.tolist()


@dataclass(frozen=True, kw_only=True)
class Arc:
    """Delay from an input to an output pin.

    Parameters
    ----------
    source : str
        The related pin.
    inverting, non_inverting : bool
        Which input edges can cause an output edge; both for `non_unate`.
    rise_ns, fall_ns : LookUp
        Delay to the rising and falling output.
    rise_slew_ns, fall_slew_ns : LookUp
        Transition time of the output.
    clocked : bool
        Whether the source is a clock edge.
    """

    source: str
    inverting: bool
    non_inverting: bool
    rise_ns: LookUp
    fall_ns: LookUp
    rise_slew_ns: LookUp
    fall_slew_ns: LookUp
    clocked: bool


@dataclass(frozen=True, kw_only=True)
class Power:
    """Internal energy of an edge of a pin, under a condition.

    Parameters
    ----------
    related : str
        Input that causes the edge of an output pin; empty for the hidden power of an input.
    when : str
        Liberty condition, empty if none.
    rise_fj, fall_fj : LookUp
        Energy of a rising and a falling edge.
    """

    related: str
    when: str
    rise_fj: LookUp
    fall_fj: LookUp


@dataclass(frozen=True, kw_only=True)
class Pin:
    """A signal pin of a cell; capacitance 0 for outputs, `function` empty for inputs.

    `setup_rise_ns` and `setup_fall_ns` are the setup times of its rising and falling edge.
    """

    name: str
    output: bool
    clock: bool
    capacitance_ff: float
    function: str
    arcs: tuple[Arc, ...]
    setup_rise_ns: tuple[LookUp, ...]
    setup_fall_ns: tuple[LookUp, ...]
    powers: tuple[Power, ...]


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A standard cell; `next_state` and `clocked_on` are empty unless it is a flip-flop."""

    name: str
    area_um2: float
    leakage_nw: float
    pins: dict[str, Pin]
    state: str
    next_state: str
    clocked_on: str

    @property
    def sequential(self) -> bool:
        """Whether the cell is a flip-flop."""
        return bool(self.next_state)

    @cached_property
    def outputs(self) -> tuple[Pin, ...]:
        """Output pins."""
        return tuple(pin for pin in self.pins.values() if pin.output)


@dataclass(frozen=True, kw_only=True)
class Library:
    """Cells and the wire-load model of one Liberty file."""

    path: Path
    sha256: str
    name: str
    voltage_v: float
    temperature_c: float
    corner: str
    cells: dict[str, Cell] = field(repr=False)
    wire_ff_per_length: float
    wire_slope: float
    wire_length: tuple[tuple[int, float], ...]

    def wire_ff(self, fanout: int) -> float:
        """Wire capacitance of a net by the default wire-load model; 0 without one."""
        if not self.wire_length or fanout < 1:
            return 0.0
        last, length = self.wire_length[-1]
        if fanout > last:
            return self.wire_ff_per_length * (length + self.wire_slope * (fanout - last))
        counts, lengths = zip(*self.wire_length, strict=True)
        return self.wire_ff_per_length * float(np.interp(fanout, counts, lengths))


def _bracket(axis: list[float], x: float) -> tuple[int, float]:
    """Index of the cell that holds `x`, and its place within (beyond 0..1 outside)."""
    if len(axis) == 1:
        return 0, 0.0
    i = min(max(bisect_left(axis, x) - 1, 0), len(axis) - 2)
    return i, (x - axis[i]) / (axis[i + 1] - axis[i])
