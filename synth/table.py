"""Cost tables: what a piece of hardware costs per cycle and mode, and what a layer costs on it.

A table is one JSON file (docs/cost-table.md; docs/cost-table.schema.json). Every group of figures
names the method that made it: *synthesised*, *static timing*, *gate-level activity* or *cited*. A
table by hand may leave figures out: costs that need them are None, and `CostTable.unavailable`
lists them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, ValidationError, model_validator

from hw.files import write_json
from hw.precision import WeightMode
from hw.schedule import GemmShape
from synth.costs.arrays import (
    ArrayCost,
    ArrayFigures,
    ArrayParameters,
    ModuleCost,
    ModuleFigures,
    PartFigures,
)
from synth.costs.check import first_breach
from synth.costs.engine import EngineFigures
from synth.costs.figures import CostTableError, Positive, Record, Unavailable, added, multiplied
from synth.costs.layer import LayerCost
from synth.costs.memory import Cited, MemoryCost, MemoryLevel
from synth.costs.versions import upgraded
from synth.features import Features

__all__ = [
    "ArrayCost",
    "ArrayFigures",
    "ArrayParameters",
    "Cited",
    "CostTable",
    "CostTableError",
    "EngineFigures",
    "Hardware",
    "LayerCost",
    "Library",
    "MemoryCost",
    "MemoryLevel",
    "ModuleCost",
    "ModuleFigures",
    "PartFigures",
    "Provenance",
    "Unavailable",
    "complete",
]


class Library(Record):
    """Standard-cell library or process behind the figures."""

    name: str
    """Name of the library, or of the process."""
    node_nm: Positive | None = None
    """Node, nm."""
    voltage_v: Positive | None = None
    """Supply, V."""
    temperature_c: float | None = None
    """Temperature, degrees Celsius."""
    corner: str = ""
    """Corner, for example typical."""
    sha256: str = ""
    """Of the Liberty file."""
    note: str = ""
    """What else to know."""


class Provenance(Record):
    """What made the table; no timestamps, so that a rerun diffs clean."""

    command: str
    """The command, or how it was made by hand."""
    tools: dict[str, str] = Field(default_factory=dict)
    """Versions of the tools."""
    operands: str = ""
    """Operands that energy was measured with."""
    operands_sha256: str = ""
    """Of their file."""
    design_sha256: str = ""
    """Of the RTL."""
    notes: list[str] = Field(default_factory=list)
    """Recipes and assumptions."""


def _kind(value: Any) -> str:
    ours = isinstance(value, ArrayFigures) or (
        isinstance(value, dict) and ("parameters" in value or "modules" in value)
    )
    return "<array>" if ours else "<engine>"


Hardware = Annotated[
    Annotated[ArrayFigures, Tag("<array>")] | Annotated[EngineFigures, Tag("<engine>")],
    Discriminator(_kind),
]
"""An array of ours, which has `parameters` and `modules`, or other hardware, known by totals."""


def complete(hardware: Hardware) -> ArrayCost:
    """Return hardware as an array of ours of which every figure is known.

    Raises
    ------
    CostTableError
        If it is other hardware, or lacks a figure; names the first.
    """
    try:
        return ArrayCost.model_validate(hardware.model_dump())
    except ValidationError as error:
        raise CostTableError(f"{hardware.label}: {first_breach(error)}") from error


class CostTable(Record):
    """Costs of a piece of hardware and of the baselines that it is compared with, at one clock."""

    schema_version: Literal[2] = 2
    """2; files of version 1 are read as well."""
    name: str
    """Of the table."""
    library: Library = Library(name="not stated")
    """Cells or process behind the figures."""
    clock_period_ns: Positive | None = None
    """Clock of all hardware of the table, ns; not below any `min_period_ns`."""
    array: Hardware
    """The hardware."""
    baselines: Mapping[str, Hardware] = Field(default_factory=dict)
    """Hardware to compare with, by name."""
    memory: MemoryCost | None = None
    """Scratchpads and DRAM."""
    provenance: Provenance = Provenance(command="by hand")
    """What made the table."""

    @model_validator(mode="before")
    @classmethod
    def _of_today(cls, document: Any) -> Any:
        return upgraded(document)

    @model_validator(mode="after")
    def _meets_clock(self) -> CostTable:
        for name, hardware in self.hardware.items():
            if self.clock_period_ns is None or hardware.min_period_ns is None:
                continue
            if hardware.min_period_ns > self.clock_period_ns * (1 + 1e-9):
                raise ValueError(
                    f"clock_period_ns must be at least the {hardware.min_period_ns} ns that "
                    f"{name} takes, not {self.clock_period_ns}"
                )
        return self

    @property
    def hardware(self) -> dict[str, Hardware]:
        """The array and the baselines by their place in the file."""
        return {"array": self.array} | {
            f"baselines.{name}": hardware for name, hardware in self.baselines.items()
        }

    @property
    def modes(self) -> tuple[WeightMode, ...]:
        """Weight modes that layers can have, fewest bits first."""
        return self.array.weight_modes

    @property
    def unavailable(self) -> tuple[Unavailable, ...]:
        """Costs that the table cannot give, each with the field that would make it available."""
        gaps = [
            Unavailable(cost=gap.cost, needs=f"{place}.{gap.needs}")
            for place, hardware in self.hardware.items()
            for gap in hardware.unavailable()
        ]
        if self.clock_period_ns is None:
            leaks = isinstance(self.array, ArrayFigures)  # others' energy has leakage in it
            cost = "latency_ns, leakage_energy_pj, energy_pj" if leaks else "latency_ns"
            gaps.append(Unavailable(cost=cost, needs="clock_period_ns"))
        memory = self.memory or MemoryCost()
        gaps += [
            Unavailable(cost=gap.cost, needs=f"memory.{gap.needs}") for gap in memory.unavailable()
        ]
        if memory.activation_buffer_bits is not None and self.array.activation_bits is None:
            cost = "dram_read_bits, dram_write_bits, dram_energy_pj"
            gaps.append(Unavailable(cost=cost, needs="array.act_bits"))
        return tuple(gaps)

    def baseline(self, name: str) -> Hardware:
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
        self,
        shape: GemmShape,
        mode: WeightMode,
        *,
        array: Hardware | None = None,
        features: Features | None = None,
    ) -> LayerCost:
        """Cost of one inference of a layer, part by part.

        Parameters
        ----------
        shape : GemmShape
            The layer.
        mode : WeightMode
            Precision of its weights.
        array : Hardware, optional
            A baseline of this table instead of its array.
        features : Features, optional
            What the layer's operands do at this precision (`synth.features`), for hardware whose
            modules have an energy model; else it takes the energy of the table's own operands.

        Returns
        -------
        LayerCost
            Cycles and scratchpad traffic by `hw.schedule` at the weights' real width. Weights come
            from the DRAM once per inference, packed. A feature map that does not fit the stated
            buffer goes to the DRAM and comes back once, both charged to the layer that makes it
            (ours); the network's input is not counted. Parts that need a figure that the table
            has not are None.

        Raises
        ------
        CostTableError
            If the hardware has no such mode.
        ValueError
            If the layer does not fit the array.
        """
        chosen = self.array if array is None else array
        if mode not in chosen.weight_modes:
            known = ", ".join(mode.name for mode in chosen.weight_modes)
            raise CostTableError(
                f"{self.name}: mode of {chosen.label} must be one of {known}, not {mode.name}"
            )
        cost = chosen.layer_cost(shape, mode, self.clock_period_ns, features)
        memory = self.memory or MemoryCost()
        map_values = shape.pixels * shape.outputs * shape.groups
        spilled = memory.spilled_bits(multiplied(map_values, chosen.activation_bits))
        dram_read_bits = added(cost.size_bits, spilled)
        return replace(
            cost,
            scratchpad_read_energy_pj=memory.scratchpad.read_pj(cost.scratchpad_read_bits),
            scratchpad_write_energy_pj=memory.scratchpad.write_pj(cost.scratchpad_write_bits),
            dram_read_bits=dram_read_bits,
            dram_write_bits=spilled,
            dram_read_energy_pj=memory.dram.read_pj(dram_read_bits),
            dram_write_energy_pj=memory.dram.write_pj(spilled),
        )

    @classmethod
    def load(cls, path: Path) -> CostTable:
        """Read and check a table.

        Raises
        ------
        CostTableError
            If the file is missing, no JSON, or breaks the schema; one line, with the path, the
            place, what must hold and what was found.
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
            raise CostTableError(
                f"{path}: {first_breach(error)}; see docs/cost-table.md"
            ) from error

    def save(self, path: Path) -> None:
        """Write the table, whole or not at all, floats to six significant digits."""
        write_json(path, _rounded(self.model_dump(mode="json", exclude_none=True)))


def _rounded(value: object) -> object:
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_rounded(item) for item in value]
    if isinstance(value, float) and math.isfinite(value):
        return float(f"{value:.6g}")
    return value
