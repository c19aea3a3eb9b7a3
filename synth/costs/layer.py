"""What layers cost for one inference, part by part."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from synth.costs.figures import added


@dataclass(frozen=True, kw_only=True)
class LayerCost:
    """Cost of layers for one inference; costs of layers that follow each other add up.

    None is a cost that the table cannot give (`CostTable.unavailable` says why).

    Parameters
    ----------
    size_bits : int
        Bits of the weights.
    cycles : int or None
        Clock cycles.
    latency_ns : float or None
        Cycles at the table's clock.
    array_energy_pj : float or None
        Dynamic energy of the array: compute, edges and control.
    leakage_energy_pj : float or None
        Leakage of the array over the latency.
    energy_pj : float or None
        Energy of the array, leakage included, memories not. The sum of the two above, unless the
        table knows the whole only.
    scratchpad_read_bits, scratchpad_write_bits : int or None
        Traffic of the scratchpads: weights at their width and activations; results.
    scratchpad_read_energy_pj, scratchpad_write_energy_pj : float or None
        Energy of that traffic, a cited term.
    dram_read_bits, dram_write_bits : int or None
        Traffic of the DRAM: packed weights once; feature maps that do not fit on the chip.
    dram_read_energy_pj, dram_write_energy_pj : float or None
        Energy of that traffic, a cited term.
    """

    size_bits: int = 0
    cycles: int | None = 0
    latency_ns: float | None = 0.0
    array_energy_pj: float | None = 0.0
    leakage_energy_pj: float | None = 0.0
    energy_pj: float | None = None
    scratchpad_read_bits: int | None = 0
    scratchpad_write_bits: int | None = 0
    scratchpad_read_energy_pj: float | None = 0.0
    scratchpad_write_energy_pj: float | None = 0.0
    dram_read_bits: int | None = 0
    dram_write_bits: int | None = 0
    dram_read_energy_pj: float | None = 0.0
    dram_write_energy_pj: float | None = 0.0

    def __post_init__(self) -> None:
        """Add up the array's energy where the whole is not given."""
        if self.energy_pj is None:
            whole = added(self.array_energy_pj, self.leakage_energy_pj)
            object.__setattr__(self, "energy_pj", whole)

    @property
    def scratchpad_energy_pj(self) -> float | None:
        """Energy of the scratchpads."""
        return added(self.scratchpad_read_energy_pj, self.scratchpad_write_energy_pj)

    @property
    def dram_energy_pj(self) -> float | None:
        """Energy of the DRAM."""
        return added(self.dram_read_energy_pj, self.dram_write_energy_pj)

    @property
    def memory_energy_pj(self) -> float | None:
        """Energy of scratchpads and DRAM."""
        return added(self.scratchpad_energy_pj, self.dram_energy_pj)

    def __add__(self, other: LayerCost) -> LayerCost:
        """Cost of both, one after the other; None where one of the two is."""
        sums: dict[str, Any] = {
            f.name: added(getattr(self, f.name), getattr(other, f.name)) for f in fields(self)
        }
        return LayerCost(**sums)
