"""What a run's folder says: `result.json` of a search, `front.json` of a walked front.

Only what the page shows is read; other fields are left alone, so that a later version may add some.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from quant.errors import QuantError
from quant.resources import Resource

VERSION: Final = 1
"""Of result.json and front.json; those without a version are read as 1."""
RESULT_NAME = "result.json"
FRONT_NAME = "front.json"


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


class Provenance(Record):
    """What made a run."""

    command: str
    versions: dict[str, str]
    qat: dict[str, int | str]
    weights: dict[str, str]
    data_sha256: dict[str, str]
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


@dataclass(frozen=True, kw_only=True, eq=False)
class Run:
    """A run's folder: a search, a walked front, or both.

    Parameters
    ----------
    folder : Path
        Where it is.
    result, front : optional
        What its files say.
    """

    folder: Path
    result: Result | None
    front: Front | None

    @property
    def model(self) -> str:
        """Name of the network."""
        return self.result.model if self.result else self._front.model

    @property
    def seed(self) -> int:
        """Of calibration and training."""
        return self.result.seed if self.result else self._front.seed

    @property
    def provenance(self) -> Provenance | None:
        """What made the run; fronts of earlier versions have none."""
        return self.result.provenance if self.result else self._front.provenance

    @property
    def command(self) -> str:
        """The command line."""
        return self.result.provenance.command if self.result else self._front.command

    @property
    def _front(self) -> Front:
        assert self.front is not None
        return self.front


def read_run(folder: Path) -> Run:
    """Read a run's folder.

    Raises
    ------
    QuantError
        If it is no finished run, or a file is damaged or of another version; one line.
    """
    if not folder.is_dir():
        found = "a file" if folder.exists() else "missing"
        raise QuantError(f"{folder}: run must be the folder of a finished search, not {found}")
    result, front = folder / RESULT_NAME, folder / FRONT_NAME
    if not result.exists() and not front.exists():
        raise QuantError(
            f"{folder}: run must be the folder of a finished search, with {RESULT_NAME} or "
            f"{FRONT_NAME}, but has neither"
        )
    return Run(
        folder=folder,
        result=_read(result, Result) if result.exists() else None,
        front=_read(front, Front) if front.exists() else None,
    )


Document = TypeVar("Document", Result, Front)


def _read(path: Path, kind: type[Document]) -> Document:
    try:
        document: Any = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise QuantError(f"{path}: must be readable, but: {error.strerror}") from error
    except ValueError as error:
        raise QuantError(
            f"{path}: must be JSON as a search wrote it, not: {error}; run the search again"
        ) from error
    if not isinstance(document, dict):
        raise QuantError(f"{path}: must be a JSON object, not {type(document).__name__}")
    version = document.get("version", VERSION)
    if version != VERSION:
        raise QuantError(
            f"{path}: version must be {VERSION}, not {version}; take a sigmaquant that knows it, "
            "or run the search again"
        )
    try:
        return kind.model_validate(document)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        if first["type"] == "missing":
            raise QuantError(
                f"{path}: {place} must be there, but is missing; the file is of another version: "
                "run the search again"
            ) from error
        raise QuantError(
            f"{path}: {place}: {first['msg']}, not {str(first['input'])[:60]!r}"
        ) from error
