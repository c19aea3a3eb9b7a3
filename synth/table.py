"""Cost tables: what an array costs per cycle and mode, and what a layer costs on it.

A table is one JSON file (docs/cost-table.md). Every group of figures names the method that made
it: *synthesised*, *static timing*, *gate-level activity* or *cited*.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from hw.config import ArrayConfig, Multiplier, PEKind, Stage
from hw.precision import WeightMode
from hw.schedule import GemmShape, layer_schedule

NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class CostTableError(Exception):
    """A cost table is missing, malformed, or lacks what was asked of it."""


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Library(_Record):
    """Standard-cell library behind the figures."""

    name: str
    node_nm: Positive
    voltage_v: Positive
    temperature_c: float
    corner: str
    sha256: str = ""
    note: str = ""


class ModuleCost(_Record):
    """One synthesised module.

    `energy_pj` is per clock cycle in which the module takes a step, by weight mode (clock and
    glitches included, leakage not); `idle_energy_pj` is per cycle in which it waits.
    """

    count: Annotated[int, Field(ge=1)]
    area_um2: NonNegative
    sequential_area_um2: NonNegative
    min_period_ns: Positive
    leakage_nw: NonNegative
    energy_pj: dict[str, NonNegative]
    idle_energy_pj: NonNegative

    @model_validator(mode="after")
    def _every_mode(self) -> ModuleCost:
        missing = [mode.name for mode in WeightMode if mode.name not in self.energy_pj]
        if missing:
            raise ValueError(f"energy_pj must have {', '.join(missing)}")
        return self


class ArrayParameters(_Record):
    """The fields of `hw.config.ArrayConfig`."""

    rows: int
    cols: int
    lanes: int
    pe: PEKind
    act_bits: int
    act_signed: bool
    acc_bits: int
    max_depth: int
    group: int
    double_buffered: bool
    drain_rows: int
    registers: tuple[Stage, ...] | None = None
    max_shift: int = 3
    multiplier: Multiplier = Multiplier.ROWS

    @classmethod
    def of(cls, config: ArrayConfig) -> ArrayParameters:
        """Parameters of a configuration."""
        return cls(**{f.name: getattr(config, f.name) for f in fields(config)})

    def config(self) -> ArrayConfig:
        """Return the configuration of these parameters."""
        return ArrayConfig(**{f.name: getattr(self, f.name) for f in fields(ArrayConfig)})


class ArrayCost(_Record):
    """An array, module by module."""

    parameters: ArrayParameters
    modules: dict[str, ModuleCost]
    area_method: Literal["synthesised", "cited"] = "synthesised"
    period_method: Literal["static timing", "cited"] = "static timing"
    energy_method: Literal["gate-level activity", "cited"] = "gate-level activity"

    @model_validator(mode="after")
    def _valid_config(self) -> ArrayCost:
        self.parameters.config()
        if not self.modules:
            raise ValueError("modules must not be empty")
        return self

    @property
    def config(self) -> ArrayConfig:
        """Configuration of the array."""
        return self.parameters.config()

    @property
    def area_um2(self) -> float:
        """Area of all modules."""
        return sum(m.count * m.area_um2 for m in self.modules.values())

    @property
    def min_period_ns(self) -> float:
        """Shortest clock period of the slowest module."""
        return max(m.min_period_ns for m in self.modules.values())

    @property
    def leakage_nw(self) -> float:
        """Leakage power of all modules."""
        return sum(m.count * m.leakage_nw for m in self.modules.values())

    def energy_pj(self, mode: WeightMode, *, utilisation: float = 1.0) -> float:
        """Energy of one cycle in which the array takes a step, leakage not included.

        Parameters
        ----------
        mode : WeightMode
            Precision of the weights.
        utilisation : float
            Share of the lanes that have work; idle ones cost their module's idle energy (ours).
        """
        total = 0.0
        for name, module in self.modules.items():
            share = utilisation if name == "pe" else 1.0
            step, idle = module.energy_pj[mode.name], module.idle_energy_pj
            total += module.count * (idle + share * (step - idle))
        return total

    @property
    def idle_energy_pj(self) -> float:
        """Energy of one cycle in which every module waits, leakage not included."""
        return sum(m.count * m.idle_energy_pj for m in self.modules.values())

    def macs_per_cycle(self, mode: WeightMode) -> float:
        """Multiply-accumulates per cycle of a full tile."""
        config = self.config
        return config.rows * config.cols * config.chunk_depth(mode) / config.steps(mode)

    def energy_per_mac_pj(self, mode: WeightMode) -> float:
        """Energy per multiply-accumulate of a full tile, leakage not included."""
        return self.energy_pj(mode) / self.macs_per_cycle(mode)

    def area_per_throughput_um2(self, mode: WeightMode) -> float:
        """Area per multiply-accumulate a cycle of a full tile."""
        return self.area_um2 / self.macs_per_cycle(mode)


class MemoryCost(_Record):
    """Scratchpad access energy: a cited term, not a result of this project."""

    method: Literal["cited"] = "cited"
    source: str
    read_pj_per_bit: NonNegative
    write_pj_per_bit: NonNegative


class Provenance(_Record):
    """What made the table; no timestamps, so that a rerun diffs clean."""

    command: str
    tools: dict[str, str] = {}
    operands: str = ""
    operands_sha256: str = ""
    design_sha256: str = ""
    notes: list[str] = []


@dataclass(frozen=True, kw_only=True)
class LayerCost:
    """Cost of layers for one inference; costs of layers that follow each other add up.

    Parameters
    ----------
    size_bits : int
        Bits of the weights.
    cycles : int
        Clock cycles.
    latency_ns : float
        Cycles at the table's clock.
    array_energy_pj : float
        Dynamic energy of the array.
    leakage_energy_pj : float
        Leakage of the array over the latency.
    memory_energy_pj : float
        Scratchpad reads and writes, a cited term; 0 where the table has no memory.
    """

    size_bits: int = 0
    cycles: int = 0
    latency_ns: float = 0.0
    array_energy_pj: float = 0.0
    leakage_energy_pj: float = 0.0
    memory_energy_pj: float = 0.0

    @property
    def energy_pj(self) -> float:
        """Energy of the array, leakage included, memories not."""
        return self.array_energy_pj + self.leakage_energy_pj

    def __add__(self, other: LayerCost) -> LayerCost:
        """Cost of both, one after the other."""
        return LayerCost(
            **{f.name: getattr(self, f.name) + getattr(other, f.name) for f in fields(self)}
        )


class CostTable(_Record):
    """Costs of an array and of the baselines that it is compared with, at one clock."""

    schema_version: Literal[1] = 1
    name: str
    library: Library
    clock_period_ns: Positive
    array: ArrayCost
    baselines: dict[str, ArrayCost] = {}
    memory: MemoryCost | None = None
    provenance: Provenance

    @model_validator(mode="after")
    def _meets_clock(self) -> CostTable:
        for name, array in {"array": self.array, **self.baselines}.items():
            if array.min_period_ns > self.clock_period_ns * (1 + 1e-9):
                raise ValueError(
                    f"clock_period_ns must be at least the {array.min_period_ns} ns that "
                    f"{name} takes, not {self.clock_period_ns}"
                )
        return self

    def baseline(self, name: str) -> ArrayCost:
        """Return a baseline by name.

        Raises
        ------
        CostTableError
            If the table has no such baseline.
        """
        if name not in self.baselines:
            known = ", ".join(self.baselines) or "none"
            raise CostTableError(f"{self.name}: baseline must be one of {known}, not {name}")
        return self.baselines[name]

    def layer_cost(
        self, shape: GemmShape, mode: WeightMode, *, array: ArrayCost | None = None
    ) -> LayerCost:
        """Cost of one inference of a layer.

        Parameters
        ----------
        shape : GemmShape
            The layer.
        mode : WeightMode
            Precision of its weights.
        array : ArrayCost, optional
            A baseline of this table instead of its array.

        Returns
        -------
        LayerCost
            In an active cycle, edges and control cost their step energy, and PEs a mean of step
            and idle energy, weighted by the share of their lanes that have work.

        Raises
        ------
        ValueError
            If the layer does not fit the array.
        """
        chosen = array or self.array
        plan = layer_schedule(shape, mode, chosen.config)
        latency_ns = plan.cycles * self.clock_period_ns
        memory_energy_pj = 0.0
        if self.memory is not None:
            read_bits = plan.weight_bits + plan.act_bits
            memory_energy_pj = (
                read_bits * self.memory.read_pj_per_bit
                + plan.output_bits * self.memory.write_pj_per_bit
            )
        return LayerCost(
            size_bits=shape.weights * mode.bits,
            cycles=plan.cycles,
            latency_ns=latency_ns,
            array_energy_pj=plan.active_cycles
            * chosen.energy_pj(mode, utilisation=plan.utilisation)
            + plan.idle_cycles * chosen.idle_energy_pj,
            leakage_energy_pj=chosen.leakage_nw * latency_ns * 1e-6,
            memory_energy_pj=memory_energy_pj,
        )

    @classmethod
    def load(cls, path: Path) -> CostTable:
        """Read and check a table.

        Raises
        ------
        CostTableError
            If the file is missing, no JSON, or breaks the schema; one line, with the path.
        """
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "not a text file"
            raise CostTableError(
                f"{path}: cannot read the cost table ({reason}); run `make synth` or name one "
                "with --cost-table"
            ) from error
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"]) or "file"
            raise CostTableError(
                f"{path}: {where}: {first['msg']}; see docs/cost-table.md"
            ) from error

    def save(self, path: Path) -> None:
        """Write the table, whole or not at all, floats to six significant digits."""
        path.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps(_rounded(self.model_dump(mode="json")), indent=2) + "\n"
        temporary = path.with_suffix(".tmp")
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)


def _rounded(value: object) -> object:
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_rounded(item) for item in value]
    if isinstance(value, float) and math.isfinite(value):
        return float(f"{value:.6g}")
    return value
