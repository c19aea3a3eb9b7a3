"""The folder of a run, read: a search or a quantisation without one, a walked front, or both."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from quant.errors import QuantError
from quant.report.quantised import METHOD_PREFIX, Quantised
from quant.report.results import VERSION, Front, IntegerEntry, Origin, Provenance, Result

RESULT_NAME = "result.json"
FRONT_NAME = "front.json"


@dataclass(frozen=True, kw_only=True, eq=False)
class Run:
    """A run's folder: a search or a quantisation without one, a walked front, or both.

    Parameters
    ----------
    folder : Path
        Where it is.
    result, quantised : optional
        What result.json says, of a search or of `quant.ptq`.
    front : optional
        What front.json says.
    """

    folder: Path
    result: Result | None
    quantised: Quantised | None = None
    front: Front | None

    @property
    def model(self) -> str:
        """Name of the network."""
        return self._main.model

    @property
    def seed(self) -> int:
        """Of calibration and training."""
        return self._main.seed

    @property
    def provenance(self) -> Provenance | None:
        """What priced the run; fronts of earlier versions have none, nor has `quant.ptq`."""
        if self.result is not None:
            return self.result.provenance
        return self.front.provenance if self.front else None

    @property
    def origin(self) -> Origin | None:
        """What made the run; fronts of earlier versions have none."""
        return self._main.provenance

    @property
    def priced(self) -> bool:
        """Whether the run names hardware."""
        return self.result is not None or self.front is not None

    @property
    def integer_network(self) -> IntegerEntry | None:
        """Where its integers are, or why there are none."""
        found = self.result or self.quantised
        return found.integer_network if found else None

    @property
    def command(self) -> str:
        """The command line."""
        main = self._main
        return main.command if isinstance(main, Front) else main.provenance.command

    @property
    def _main(self) -> Result | Quantised | Front:
        found = self.result or self.quantised or self.front
        assert found is not None
        return found


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
    document = _load(result) if result.exists() else None
    is_quantised = document is not None and _is_quantised(document)
    searched = document is not None and not is_quantised
    return Run(
        folder=folder,
        result=_checked(result, document, Result) if searched else None,
        quantised=_checked(result, document, Quantised) if is_quantised else None,
        front=_checked(front, _load(front), Front) if front.exists() else None,
    )


Document = TypeVar("Document", Result, Quantised, Front)


def _is_quantised(document: Any) -> bool:
    method = document.get("method")
    return isinstance(method, str) and method.startswith(METHOD_PREFIX)


def _load(path: Path) -> Any:
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
    return document


def _checked(path: Path, document: Any, kind: type[Document]) -> Document:
    again = "run quant.ptq again" if kind is Quantised else "run the search again"
    try:
        return kind.model_validate(document)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        if first["type"] == "missing":
            raise QuantError(
                f"{path}: {place} must be there, but is missing; the file is of another version: "
                f"{again}"
            ) from error
        raise QuantError(
            f"{path}: {place}: {first['msg']}, not {str(first['input'])[:60]!r}"
        ) from error
