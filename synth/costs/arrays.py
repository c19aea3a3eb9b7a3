"""Costs of an array of `hw.config.ArrayConfig`, module by module; any figure may be left out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import TYPE_CHECKING

from pydantic import Field, model_validator

from hw.config import ArrayConfig, Multiplier, PEKind, Stage
from hw.precision import WeightMode
from hw.schedule import GemmShape, LayerSchedule, layer_schedule
from synth.costs.activity import EnergyModel
from synth.costs.figures import (
    Count,
    Method,
    NonNegative,
    PerMode,
    Positive,
    Record,
    Unavailable,
    added,
    divided,
    modes_of,
    multiplied,
)
from synth.costs.hardware import HardwareRecord
from synth.costs.layer import LayerCost
from synth.features import Features


class PartFigures(Record):
    """A part of a module (`synth.breakdown`)."""

    area_um2: NonNegative
    """Cell area, um2."""
    energy_pj: PerMode = Field(default_factory=dict)
    """By weight mode: its share of a step's energy, pJ; that of clock pins is a part of its own."""


class ModuleFigures(Record):
    """A module of an array, as far as its costs are known."""

    count: Count = 1
    """How many of them the array has."""
    area_um2: NonNegative | None = None
    """Cell area of one, um2."""
    sequential_area_um2: NonNegative | None = None
    """Of that the area of flip-flops, um2."""
    min_period_ns: Positive | None = None
    """Slowest path, setup included, ns."""
    leakage_nw: NonNegative | None = None
    """Leakage of one, mean over the cells' states, nW."""
    energy_pj: PerMode = Field(default_factory=dict)
    """By weight mode: energy of a cycle in which the module takes a step, pJ; clock and glitches
    included, leakage not."""
    idle_energy_pj: NonNegative | None = None
    """Energy of a cycle in which it waits, pJ, leakage not included."""
    parts: dict[str, PartFigures] | None = None
    """The module by part; areas and energies sum up to the module's."""
    model: EnergyModel | None = None
    """Energy of a step by what the operands do; without it, `energy_pj` holds for all operands."""

    def energy_in(
        self, mode: WeightMode, share: float, features: Features | None = None
    ) -> float | None:
        """Energy of a cycle in pJ, if a share of the module takes a step and the rest waits."""
        step = self.energy_pj.get(mode.name)
        if features is not None and self.model is not None:
            step = self.model.step_pj(features)
        if step is None or self.idle_energy_pj is None:
            return step if share == 1 else None
        return self.idle_energy_pj + share * (step - self.idle_energy_pj)


class ModuleCost(ModuleFigures):
    """A synthesised module: all figures are there, energies for every mode."""

    count: Count
    area_um2: NonNegative
    sequential_area_um2: NonNegative
    min_period_ns: Positive
    leakage_nw: NonNegative
    energy_pj: PerMode
    idle_energy_pj: NonNegative

    @model_validator(mode="after")
    def _every_mode(self) -> ModuleCost:
        missing = [mode.name for mode in WeightMode if mode.name not in self.energy_pj]
        if missing:
            raise ValueError(f"energy_pj must have {', '.join(missing)}")
        return self


class ArrayParameters(Record):
    """The fields of `hw.config.ArrayConfig`; they give cycles and traffic by `hw.schedule`."""

    rows: int
    """PE rows; one output pixel each."""
    cols: int
    """PE columns; one output channel each."""
    lanes: int
    """Products per PE and cycle."""
    pe: PEKind
    """Microarchitecture of every PE."""
    act_bits: int
    """Bits of an activation."""
    act_signed: bool
    """Whether activations are two's complement."""
    acc_bits: int
    """Bits of an accumulator."""
    max_depth: int
    """Longest dot product."""
    group: int
    """Lanes summed before a register."""
    double_buffered: bool
    """Whether results leave while the next tile is computed."""
    drain_rows: int
    """Rows of results that leave in a cycle."""
    registers: tuple[Stage, ...] | None = None
    """Pipeline registers of a PE; the kind's own choice if not given."""
    max_shift: int = 3
    """Widest shift of a serial shift-add MAC in a cycle."""
    multiplier: Multiplier = Multiplier.ROWS
    """How INT8 PEs multiply."""

    @classmethod
    def of(cls, config: ArrayConfig) -> ArrayParameters:
        """Parameters of a configuration."""
        return cls(**{f.name: getattr(config, f.name) for f in fields(config)})

    def config(self) -> ArrayConfig:
        """Return the configuration of these parameters."""
        return ArrayConfig(**{f.name: getattr(self, f.name) for f in fields(ArrayConfig)})


class ArrayFigures(HardwareRecord):
    """An array of ours, as far as its costs are known."""

    parameters: ArrayParameters
    """Its configuration."""
    sampled_utilisation: PerMode = Field(default_factory=dict)
    """By weight mode: share of the lanes that had work in the steps that `energy_pj` is of; 1 where
    it is not given."""
    modules: Mapping[str, ModuleFigures]
    """Its modules by name. `pe` is what idle lanes spare; a table by hand may have that one only,
    with the figures of a whole PE."""

    @model_validator(mode="after")
    def _valid_config(self) -> ArrayFigures:
        self.parameters.config()
        if not self.modules:
            raise ValueError("modules must not be empty")
        return self

    def _modes_of_figures(self) -> tuple[WeightMode, ...]:
        return modes_of(*(module.energy_pj for module in self.modules.values()))

    @property
    def config(self) -> ArrayConfig:
        """Configuration of the array."""
        return self.parameters.config()

    @property
    def label(self) -> str:
        """Name of the configuration."""
        return self.config.name

    @property
    def activation_bits(self) -> int:
        """Bits of an activation."""
        return self.parameters.act_bits

    @property
    def area_um2(self) -> float | None:
        """Area of all modules."""
        return added(*(multiplied(m.count, m.area_um2) for m in self.modules.values()))

    @property
    def min_period_ns(self) -> float | None:
        """Shortest clock period of the slowest module."""
        known = [m.min_period_ns for m in self.modules.values() if m.min_period_ns is not None]
        return max(known) if len(known) == len(self.modules) else None

    @property
    def leakage_nw(self) -> float | None:
        """Leakage power of all modules."""
        return added(*(multiplied(m.count, m.leakage_nw) for m in self.modules.values()))

    def energy_pj(
        self, mode: WeightMode, *, utilisation: float = 1.0, features: Features | None = None
    ) -> float | None:
        """Energy of one cycle in which the array takes a step, leakage not included.

        Parameters
        ----------
        mode : WeightMode
            Precision of the weights.
        utilisation : float
            Share of the lanes that have work; where the PEs' energy is taken by their `features`,
            which know of idle lanes, of the PEs. The others cost their module's idle energy (ours).
        features : Features, optional
            What the operands do; else the energy of the operands that the table was made with.
        """
        return added(
            *(
                multiplied(m.count, m.energy_in(mode, share, features))
                for name, m in self.modules.items()
                for share in [1.0 if name != "pe" else self._busy(mode, utilisation, m, features)]
            )
        )

    def _busy(
        self,
        mode: WeightMode,
        utilisation: float,
        module: ModuleFigures,
        features: Features | None,
    ) -> float:
        """Share of a step's energy that PEs take, relative to the operands it was measured with."""
        if features is not None and module.model is not None:
            return utilisation
        return utilisation / self.sampled_utilisation.get(mode.name, 1.0)

    @property
    def idle_energy_pj(self) -> float | None:
        """Energy of one cycle in which every module waits, leakage not included."""
        return added(*(multiplied(m.count, m.idle_energy_pj) for m in self.modules.values()))

    def macs_per_cycle(self, mode: WeightMode) -> float:
        """Multiply-accumulates per cycle of a full tile."""
        config = self.config
        return config.rows * config.cols * config.chunk_depth(mode) / config.steps(mode)

    def energy_per_mac_pj(self, mode: WeightMode) -> float | None:
        """Energy per multiply-accumulate of the sampled operands, leakage not included.

        As measured: in steps of which some lanes had no work, as layers leave them.
        """
        used = self.sampled_utilisation.get(mode.name, 1.0)
        return divided(self.energy_pj(mode, utilisation=used), used * self.macs_per_cycle(mode))

    def area_per_throughput_um2(self, mode: WeightMode) -> float | None:
        """Area per multiply-accumulate a cycle of a full tile."""
        return divided(self.area_um2, self.macs_per_cycle(mode))

    def active_energy_pj(
        self, plan: LayerSchedule, mode: WeightMode, features: Features | None = None
    ) -> float | None:
        """Energy of an active cycle of a layer, mean over its tiles, leakage not included.

        Edges and control cost their step energy, and PEs a mean of step and idle energy, weighted
        by the share of their lanes that have work; with features, by the share of the PEs, since
        features know of idle lanes.

        Parameters
        ----------
        plan : LayerSchedule
            Of the layer on this array, at `mode`.
        mode : WeightMode
            Precision of the weights.
        features : Features, optional
            What the operands do; else the energy of the operands that the table was made with.
        """
        pe = self.modules.get("pe")
        modelled = features is not None and pe is not None and pe.model is not None
        busy = plan.pe_utilisation if modelled else plan.utilisation
        return self.energy_pj(mode, utilisation=busy, features=features)

    def layer_cost(
        self,
        shape: GemmShape,
        mode: WeightMode,
        clock_ns: float | None,
        features: Features | None = None,
    ) -> LayerCost:
        """Cost of one inference of a layer, its energy in memories not filled in."""
        plan = layer_schedule(shape, mode, self.config)
        latency_ns = multiplied(plan.cycles, clock_ns)
        return LayerCost(
            size_bits=shape.weights * mode.bits,
            cycles=plan.cycles,
            latency_ns=latency_ns,
            array_energy_pj=added(
                multiplied(plan.active_cycles, self.active_energy_pj(plan, mode, features)),
                multiplied(plan.idle_cycles, self.idle_energy_pj),
            ),
            # nW x ns is 1e-6 pJ
            leakage_energy_pj=multiplied(self.leakage_nw, latency_ns, 1e-6),
            scratchpad_read_bits=plan.weight_bits + plan.act_bits,
            scratchpad_write_bits=plan.output_bits,
        )

    def unavailable(self) -> list[Unavailable]:
        """Costs that cannot be given, each with the field of this record that it needs."""
        gaps = []
        for name, module in self.modules.items():
            for cost, figure in (
                ("area_um2", "area_um2"),
                ("min_period_ns", "min_period_ns"),
                ("leakage_energy_pj, energy_pj", "leakage_nw"),
                ("array_energy_pj, energy_pj", "idle_energy_pj"),
            ):
                if getattr(module, figure) is None:
                    gaps.append(Unavailable(cost=cost, needs=f"modules.{name}.{figure}"))
            gaps += [
                Unavailable(
                    cost=f"array_energy_pj, energy_pj at {mode.name}",
                    needs=f"modules.{name}.energy_pj.{mode.name}",
                )
                for mode in self.weight_modes
                if mode.name not in module.energy_pj
            ]
        return gaps


class ArrayCost(ArrayFigures):
    """A synthesised array: every figure of every module is there, so no cost is None."""

    modules: Mapping[str, ModuleCost]
    area_method: Method = "synthesised"
    period_method: Method = "static timing"
    energy_method: Method = "gate-level activity"

    if TYPE_CHECKING:  # the same properties, of complete modules

        @property
        def area_um2(self) -> float: ...  # noqa: D102
        @property
        def min_period_ns(self) -> float: ...  # noqa: D102
        @property
        def leakage_nw(self) -> float: ...  # noqa: D102
        @property
        def idle_energy_pj(self) -> float: ...  # noqa: D102
        def energy_pj(  # noqa: D102
            self, mode: WeightMode, *, utilisation: float = 1.0, features: Features | None = None
        ) -> float: ...
        def active_energy_pj(  # noqa: D102
            self, plan: LayerSchedule, mode: WeightMode, features: Features | None = None
        ) -> float: ...
        def energy_per_mac_pj(self, mode: WeightMode) -> float: ...  # noqa: D102
        def area_per_throughput_um2(self, mode: WeightMode) -> float: ...  # noqa: D102
