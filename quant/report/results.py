"""What `result.json` of a search and `front.json` of a walked front hold.

Only what the page shows is read; other fields are left alone, so that a later version may add some.
"""

from __future__ import annotations

from typing import Final

from pydantic import BaseModel, ConfigDict, Field

from quant.resources import Resource

VERSION: Final = 1
"""Of result.json and front.json; those without a version are read as 1."""


class Record(BaseModel):
    """A part of a run's files."""

    model_config = ConfigDict(frozen=True, allow_inf_nan=False)


class Cost(Record):
    """Cost of one inference; None is what the cost table cannot give."""

    size_bits: int
    cycles: int | None
    latency_ns: float | None
    energy_pj: float | None
    array_energy_pj: float | None
    leakage_energy_pj: float | None
    scratchpad_energy_pj: float | None
    dram_energy_pj: float | None


class LayerResult(Cost):
    """A layer as the search left it."""

    name: str
    bits: int
    sigma: float
    kl: float
    macs: int
    sensitivity: float | None = None


class Costs(Record):
    """Costs of the network: as found, at uniform bits, on INT8 multipliers."""

    searched: Cost
    uniform: dict[str, Cost]
    int8_mac: Cost | None = None
    int8_mac_same_weights: Cost | None = None


class Accuracy(Record):
    """Top-1 accuracies, fractions; those of uniform bits by the number of bits."""

    floating: float = Field(alias="float")
    searched: float
    uniform: dict[str, float]


class BudgetEntry(Record):
    """A limited resource."""

    resource: Resource
    unit: str
    limit: float
    value: float
    smallest_reachable: float
    met: bool


class Visit(Record):
    """An allocation that the search has looked at."""

    label: str
    bits: tuple[int, ...]
    validation_accuracy: float
    relative_size: float
    energy_pj: float | None
    latency_ns: float | None
    cycles: int | None
    chosen: bool


class TableName(Record):
    """The cost table's file."""

    name: str
    file: str
    sha256: str


class Origin(Record):
    """What made a run of any kind."""

    command: str
    versions: dict[str, str]
    weights: dict[str, str]
    data_sha256: dict[str, str]


class Provenance(Origin):
    """What made a search or a front."""

    qat: dict[str, int | str]
    cost_table: TableName


class Images(Record):
    """Numbers of images."""

    train: int
    validation: int
    test: int


class Data(Record):
    """The images of a run."""

    folder: str
    images: Images


class HardwareName(Record):
    """The hardware of a run."""

    table: str
    configuration: str | None
    area_um2: float | None


class IntegerEntry(Record):
    """Where the integer network is, or why there is none."""

    folder: str | None
    packed_bytes: int | None = None
    reason: str = ""


class Unavailable(Record):
    """A cost that the table cannot give."""

    cost: str
    needs: str


class Gap(Record):
    """A part of the network that has no integer form."""

    gap: str
    place: str
    text: str


class Result(Record):
    """What result.json says."""

    version: int = VERSION
    model: str
    seed: int
    method: str
    data: Data
    targets: dict[str, float | str]
    targets_met: dict[str, bool]
    smallest_validation_drop: float
    budgets: list[BudgetEntry]
    hardware: HardwareName
    relative_size: float
    accuracy: Accuracy
    validation_accuracy: Accuracy
    objective: str
    cost: Costs
    unavailable_costs: list[Unavailable]
    layers: list[LayerResult] = Field(min_length=1)
    visits: list[Visit]
    gaps: list[Gap]
    provenance: Provenance
    integer_network: IntegerEntry | None = None


class FloatAccuracy(Record):
    """Of the float network."""

    validation_accuracy: float
    test_accuracy: float


class Point(Record):
    """An allocation of a front."""

    model_config = ConfigDict(extra="allow")

    validation_accuracy: float
    test_accuracy: float
    on_front: bool
    bits: str

    def use(self, resource: Resource) -> float | None:
        """Return what it takes of a resource, in the resource's unit."""
        value = (self.model_extra or {}).get(f"{resource.value}_{resource.unit}")
        return float(value) if isinstance(value, int | float) else None


class Front(Record):
    """What front.json says."""

    version: int = VERSION
    model: str
    seed: int
    resource: Resource
    table: str
    qat_steps: int
    floating: FloatAccuracy = Field(alias="float")
    layers: list[str]
    points: list[Point]
    command: str
    provenance: Provenance | None = None
