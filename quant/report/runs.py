"""The folder of a run, read: a search, a walked front, or both."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from quant.errors import QuantError
from quant.report.results import VERSION, Front, Provenance, Result

RESULT_NAME = "result.json"
FRONT_NAME = "front.json"


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
