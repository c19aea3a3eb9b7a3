"""Scratchpads and DRAM: cited figures, each with its source and node."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from synth.costs.figures import Count, NonNegative, Positive, Record, Unavailable, multiplied


class Cited(Record):
    """A figure that somebody else published."""

    value: NonNegative
    """The figure, in the unit that the field's name says."""
    source: str = Field(min_length=1)
    """Who says so; if it was scaled from another node, how."""
    node_nm: Positive | None = None
    """Process of the figure, nm; null where the source states none."""


class MemoryLevel(Record):
    """One kind of memory, as far as its costs are known."""

    method: Literal["cited"] = "cited"
    """Never measured here."""
    read_pj_per_bit: Cited | None = None
    """Energy of reading a bit, pJ."""
    write_pj_per_bit: Cited | None = None
    """Energy of writing a bit, pJ."""
    access_bits: Count | None = None
    """Bits of the access that the energies are of."""
    area_um2_per_bit: Cited | None = None
    """Area of a bit, um2."""

    @property
    def read_pj_per_access(self) -> float | None:
        """Energy of a read access, pJ."""
        return multiplied(_value(self.read_pj_per_bit), self.access_bits)

    @property
    def write_pj_per_access(self) -> float | None:
        """Energy of a write access, pJ."""
        return multiplied(_value(self.write_pj_per_bit), self.access_bits)

    def read_pj(self, bits: int | None) -> float | None:
        """Energy of reading some bits, pJ; 0 for no bits."""
        return _energy(self.read_pj_per_bit, bits)

    def write_pj(self, bits: int | None) -> float | None:
        """Energy of writing some bits, pJ; 0 for no bits."""
        return _energy(self.write_pj_per_bit, bits)


class MemoryCost(Record):
    """The memories around the array; what is not given costs an unknown amount, not nothing."""

    scratchpad: MemoryLevel = MemoryLevel()
    """On-chip memories that feed the array."""
    dram: MemoryLevel = MemoryLevel()
    """Off-chip memory: weights once per inference, and feature maps that do not fit."""
    activation_buffer_bits: Count | None = None
    """Largest feature map that stays on the chip, bits; null: all do."""

    def spilled_bits(self, map_bits: int | None) -> int | None:
        """Bits of a feature map that go to the DRAM: all of them or none."""
        if self.activation_buffer_bits is None:
            return 0
        if map_bits is None:
            return None
        return map_bits if map_bits > self.activation_buffer_bits else 0

    def unavailable(self) -> list[Unavailable]:
        """Costs that cannot be given, each with the field of this record that it needs."""
        gaps = []
        for level in ("scratchpad", "dram"):
            memory: MemoryLevel = getattr(self, level)
            for cost, figure in (
                (f"{level}_read_energy_pj, memory_energy_pj", "read_pj_per_bit"),
                (f"{level}_write_energy_pj, memory_energy_pj", "write_pj_per_bit"),
            ):
                if getattr(memory, figure) is None:
                    gaps.append(Unavailable(cost=cost, needs=f"{level}.{figure}"))
        if self.scratchpad.area_um2_per_bit is None:
            needs = "scratchpad.area_um2_per_bit"
            gaps.append(Unavailable(cost="area of scratchpads", needs=needs))
        return gaps


def _value(cited: Cited | None) -> float | None:
    return None if cited is None else cited.value


def _energy(per_bit: Cited | None, bits: int | None) -> float | None:
    return 0.0 if bits == 0 else multiplied(_value(per_bit), bits)
