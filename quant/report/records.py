"""Records of checks that other commands have written, read as they are.

Each is a JSON file that names its command; proofs (`sim.formal`) are a list without one.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from quant.errors import QuantError

ROOT = Path(__file__).parents[2]
DEFAULT_FOLDERS = (ROOT / "build", ROOT / "docs") if (ROOT / "pyproject.toml").is_file() else ()
"""Records that this checkout has made, which come first, and those that are kept; an installed
package has neither."""


class Record(BaseModel):
    """A record, or a part of one."""

    model_config = ConfigDict(frozen=True)


class Golden(Record):
    """`quant.export RUN --check`: the golden model equals torch in every tensor."""

    command: str
    arrays_sha256: str
    tensors: int
    images: int
    accuracy: float


class CosimLayer(Record):
    """A layer of an image on the RTL."""

    layer: str
    cycles: int
    timeline_cycles: int


class CosimImage(Record):
    """An image on the RTL."""

    layers: list[CosimLayer]


class Cosim(Record):
    """`sim.cosim`: whole images on the RTL; written only if every result is equal."""

    command: str
    arrays_sha256: str
    network: str
    config: str
    images: list[CosimImage] = Field(min_length=1)


class Total(Record):
    """Energy of all layers."""

    measured_pj: float
    predicted_pj: float
    error: float


class NetworkEnergy(Record):
    """`synth.network`: energy of a network gate by gate, beside the cost table."""

    command: str
    arrays_sha256: str = ""
    network: str
    cost_table: str
    all: Total


class Mutants(Record):
    """Mutants of a module."""

    name: str
    mutants: int
    killed: int
    equivalent: int


class Mutation(Record):
    """`sim.mutate`: broken gateware that the benches find."""

    command: str
    units: list[Mutants]


class LibraryName(Record):
    """Cells that a record was made with."""

    name: str
    sha256: str


class ModulePeriod(Record):
    """A module's minimum period, over OpenSTA's."""

    ratio: float


class Sta(Record):
    """`synth.sta`: static timing against OpenSTA, by kind of PE and module."""

    command: str
    library: LibraryName
    kinds: dict[str, dict[str, ModulePeriod]]


class Ratio(Record):
    """The sum of the modules over the whole array."""

    ratio: float


class Composed(Record):
    """A small array mapped flat, beside the sum of its modules."""

    array: str
    area_um2: Ratio
    energy_fj: dict[str, Ratio]


class Compose(Record):
    """`synth.compose`: the sum of modules against whole small arrays, by kind of PE."""

    command: str
    library: LibraryName
    arrays: dict[str, Composed]


class Blinded(Record):
    """Errors of predicted layers' energies, relative."""

    layers: dict[str, float]


class Blind(Record):
    """`synth.blind`: energy of layers that the table has not seen, by array."""

    command: str
    library: LibraryName
    arrays: dict[str, Blinded]


class Proof(Record):
    """`sim.formal`: a proof."""

    name: str
    claim: str
    method: str
    passed: bool


KINDS: dict[str, type[Record]] = {
    "quant.export": Golden,
    "sim.cosim": Cosim,
    "synth.network": NetworkEnergy,
    "sim.mutate": Mutation,
    "synth.sta": Sta,
    "synth.compose": Compose,
    "synth.blind": Blind,
}
"""By the module that the record's command runs."""


@dataclass(frozen=True, kw_only=True)
class Filed:
    """A record with the file that it is from.

    Parameters
    ----------
    path : Path
        The file.
    record : Record or tuple of Proof
        What it says.
    """

    path: Path
    record: Record | tuple[Proof, ...]


@dataclass(frozen=True, kw_only=True)
class Records:
    """All records that were found.

    Parameters
    ----------
    filed : tuple of Filed
        In the order of the folders, then of the files' names.
    """

    filed: tuple[Filed, ...] = field(default=())

    def of(self, kind: type[Record]) -> list[Filed]:
        """Return those of a kind."""
        return [filed for filed in self.filed if isinstance(filed.record, kind)]

    def proofs(self) -> list[tuple[Path, Proof]]:
        """Return every proof once, as the first file says that has it."""
        found: dict[str, tuple[Path, Proof]] = {}
        for filed in self.filed:
            if isinstance(filed.record, tuple):
                for proof in filed.record:
                    found.setdefault(proof.name, (filed.path, proof))
        return [*found.values()]


def read_records(folders: Iterable[Path]) -> Records:
    """Read the records in some folders; files of other kinds are passed over.

    Raises
    ------
    QuantError
        If a record is damaged; one line.
    """
    paths = [path for folder in folders for path in sorted(folder.glob("*.json"))]
    found = [(path, _record(path)) for path in paths]
    return Records(
        filed=tuple(Filed(path=path, record=record) for path, record in found if record is not None)
    )


def _record(path: Path) -> Record | tuple[Proof, ...] | None:
    try:
        document: Any = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise QuantError(f"{path}: must be readable, but: {error.strerror}") from error
    except ValueError as error:
        raise QuantError(f"{path}: must be JSON, not: {error}; make it anew") from error
    try:
        if isinstance(document, list):
            is_proofs = bool(document) and isinstance(document[0], dict) and "claim" in document[0]
            return TypeAdapter(tuple[Proof, ...]).validate_python(document) if is_proofs else None
        command = document.get("command") if isinstance(document, dict) else None
        words = command.split() if isinstance(command, str) else []
        kind = next((KINDS[word] for word in words if word in KINDS), None)
        return None if kind is None else kind.model_validate(document)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise QuantError(f"{path}: {place}: {first['msg']}; make the record anew") from error
