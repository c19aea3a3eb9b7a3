"""What an export reads of a run's result.json."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from quant import cifar
from quant.catalogue import is_factory
from quant.data import default_folder
from quant.errors import QuantError

RESULT_NAME = "result.json"
FRONT_NAME = "front.json"
Kind = TypeVar("Kind", bound=BaseModel)


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, allow_inf_nan=False)


class IntegerEntry(_Record):
    """Where the integer network is, or why there is none."""

    folder: str | None
    reason: str = ""


class RunFolder(_Record):
    """What reading the integers of a run takes; None is of an earlier version."""

    integer_network: IntegerEntry | None = None


class Data(_Record):
    """The images of a run, as `quant.sources.open_data` takes them."""

    folder: Annotated[str, Field(min_length=1)]


class Accuracy(_Record):
    """Top-1 accuracy on the test images, a fraction."""

    searched: float


class Checked(_Record):
    """What holding an export to its run takes."""

    model: Annotated[str, Field(min_length=1)]
    data: Data
    accuracy: Accuracy


def read_result(run: Path, kind: type[Kind]) -> Kind:
    """Read a part of a run's result.json.

    Raises
    ------
    QuantError
        If there is none, it is a front's folder, or the part is not there or not of its form.
    """
    path = run / RESULT_NAME
    try:
        return kind.model_validate_json(path.read_bytes())
    except OSError as error:
        if (run / FRONT_NAME).is_file():
            raise QuantError(
                f"{run}: run must have an integer network, but a front ({FRONT_NAME}) has none; "
                'write bits of one of its points as {"layer": bits, ...} and search with '
                "`python -m quant.search --map FILE`"
            ) from error
        raise QuantError(
            f"{path}: run must be the folder of a finished search, but: {error.strerror}"
        ) from error
    except ValidationError as error:
        first = error.errors()[0]
        if first["type"] == "json_invalid":
            raise QuantError(f"{path}: must be JSON, not: {first['ctx']['error']}") from error
        place = ".".join(str(part) for part in first["loc"]) or "result"
        if first["type"] == "missing":
            raise QuantError(f"{path}: {place} must be there, but is not; search anew") from error
        raise QuantError(
            f"{path}: {place}: {first['msg']}, not {str(first['input'])[:60]!r}; search anew"
        ) from error


def data_folder(run: Path, recorded: str, given: Path | None) -> Path:
    """Return where a run's images are: as given, else as its result.json says.

    Raises
    ------
    QuantError
        If there is nothing of that name, seen from the working folder.
    """
    folder = given or Path(recorded)
    if (
        cifar.without_coarse(folder).exists()
        or is_factory(str(folder))
        or folder == default_folder()
    ):
        return folder
    if given is not None:
        raise QuantError(f"{folder}: data must be those of {run}, but there is nothing there")
    raise QuantError(
        f"{folder}: data of the run must be found from here, but are not ({run / RESULT_NAME} says "
        "where they were); name them with --data"
    )
