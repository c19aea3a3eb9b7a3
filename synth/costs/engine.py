"""Costs of hardware that is not an array of ours: totals from a datasheet, any of them."""

from __future__ import annotations

import math

from pydantic import ConfigDict, Field

from hw.precision import WeightMode
from hw.schedule import GemmShape
from synth.costs.figures import (
    Count,
    NonNegative,
    PerMode,
    Positive,
    PositivePerMode,
    Unavailable,
    divided,
    modes_of,
    multiplied,
)
from synth.costs.hardware import HardwareRecord
from synth.costs.layer import LayerCost
from synth.features import Features


class EngineFigures(HardwareRecord):
    """Hardware that is known by totals only, whatever it looks like inside."""

    model_config = ConfigDict(populate_by_name=True, serialize_by_alias=True)

    name: str = Field(min_length=1)
    """What it is."""
    throughput: PositivePerMode = Field(default_factory=dict, alias="macs_per_cycle")
    """By weight mode: multiply-accumulates per cycle, all of it at work."""
    mac_energy_pj: PerMode = Field(default_factory=dict, alias="energy_per_mac_pj")
    """By weight mode: energy of all of it per multiply-accumulate, pJ, leakage included."""
    area_um2: NonNegative | None = None
    """Area in all, um2."""
    min_period_ns: Positive | None = None
    """Shortest clock period, ns."""
    act_bits: Count | None = None
    """Bits of an activation."""

    def _modes_of_figures(self) -> tuple[WeightMode, ...]:
        return modes_of(self.throughput, self.mac_energy_pj)

    @property
    def label(self) -> str:
        """Its name."""
        return self.name

    @property
    def activation_bits(self) -> int | None:
        """Bits of an activation."""
        return self.act_bits

    def macs_per_cycle(self, mode: WeightMode) -> float | None:
        """Multiply-accumulates per cycle, all of it at work."""
        return self.throughput.get(mode.name)

    def energy_per_mac_pj(self, mode: WeightMode) -> float | None:
        """Energy per multiply-accumulate, leakage included."""
        return self.mac_energy_pj.get(mode.name)

    def area_per_throughput_um2(self, mode: WeightMode) -> float | None:
        """Area per multiply-accumulate a cycle."""
        return divided(self.area_um2, self.macs_per_cycle(mode))

    def layer_cost(
        self,
        shape: GemmShape,
        mode: WeightMode,
        clock_ns: float | None,
        features: Features | None = None,
    ) -> LayerCost:
        """Cost of one inference of a layer, as if all of the hardware were always at work.

        So cycles are the fewest possible. What is dynamic energy and what leakage, and the
        traffic of scratchpads, cannot be known of hardware that is known by totals.
        """
        per_cycle = self.macs_per_cycle(mode)
        cycles = None if per_cycle is None else math.ceil(shape.macs / per_cycle)
        return LayerCost(
            size_bits=shape.weights * mode.bits,
            cycles=cycles,
            latency_ns=multiplied(cycles, clock_ns),
            array_energy_pj=None,
            leakage_energy_pj=None,
            energy_pj=multiplied(shape.macs, self.energy_per_mac_pj(mode)),
            scratchpad_read_bits=None,
            scratchpad_write_bits=None,
        )

    def unavailable(self) -> list[Unavailable]:
        """Costs that cannot be given, each with the field of this record that it needs."""
        gaps = [
            Unavailable(cost=name, needs=name)
            for name in ("area_um2", "min_period_ns")
            if getattr(self, name) is None
        ]
        for cost, figures, key in (
            ("cycles, latency_ns", self.throughput, "macs_per_cycle"),
            ("energy_pj", self.mac_energy_pj, "energy_per_mac_pj"),
        ):
            gaps += [
                Unavailable(cost=f"{cost} at {mode.name}", needs=f"{key}.{mode.name}")
                for mode in self.weight_modes
                if mode.name not in figures
            ]
        return [
            *gaps,
            Unavailable(cost="array_energy_pj, leakage_energy_pj apart", needs="modules"),
            Unavailable(
                cost="scratchpad_read_bits, scratchpad_write_bits, scratchpad_energy_pj",
                needs="parameters",
            ),
        ]
