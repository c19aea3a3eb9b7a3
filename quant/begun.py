"""What a run was asked for, written down when it begins, so that it can go on after a stop."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from pydantic import BaseModel, ValidationError

from quant.errors import QuantError
from quant.files import sha256, write_json
from quant.run_folder import STATE

REQUEST = "request.json"
"""In the folder of steps that are done."""

Options = TypeVar("Options", bound=BaseModel)


@dataclass(frozen=True, kw_only=True)
class Begun(Generic[Options]):
    """What a run was asked for.

    Parameters
    ----------
    command : str
        The command line.
    options : Options
        As they were given.
    read : dict of str to str
        SHA-256 of files that the run reads besides images, by path, as far as options name them.
    processes : int
        Of torchrun; 1 without it.
    """

    command: str
    options: Options
    read: dict[str, str]
    processes: int = 1


def digests(paths: Iterable[Path | None]) -> dict[str, str]:
    """SHA-256 of files by path; None stands for one that was not given."""
    return {str(path): sha256(path) for path in paths if path is not None}


def write_begun(begun: Begun[Options], out: Path) -> None:
    """Begin anew in a run's folder: forget the steps of another run, and write this one down."""
    shutil.rmtree(out / STATE, ignore_errors=True)
    document = {
        "command": begun.command,
        "processes": begun.processes,
        "options": begun.options.model_dump(mode="json"),
        "read": begun.read,
    }
    write_json(out / STATE / REQUEST, document)


def read_begun(out: Path, kind: type[Options]) -> Begun[Options]:
    """Read what a run in a folder was asked for.

    Parameters
    ----------
    out : Path
        The run's folder.
    kind : type
        Of its options.

    Raises
    ------
    QuantError
        If there is nothing to resume; one line.
    """
    path = out / STATE / REQUEST
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        return Begun(
            command=str(document["command"]),
            options=kind.model_validate(document["options"]),
            read=dict(document["read"]),
            processes=int(document.get("processes", 1)),
        )
    except OSError as error:
        raise QuantError(
            f"{path}: must be there to resume a run, not missing; a finished one has no state"
        ) from error
    except ValidationError as error:
        raise QuantError(
            f"{path}: must have the options of this command, not of another; resume with the one "
            "that began the run"
        ) from error
    except (ValueError, KeyError, TypeError) as error:
        raise QuantError(
            f"{path}: must be as a run wrote it; delete the folder and start anew"
        ) from error


def check_files(begun: Begun[Options]) -> None:
    """See that the files that a run reads are still the same.

    Raises
    ------
    QuantError
        On the first that is not, or is not there; one line.
    """
    for name, digest in begun.read.items():
        if not Path(name).is_file():
            raise QuantError(
                f"{name}: must be there, as when the run began, not missing; resume in the same "
                "folder as then"
            )
        if sha256(Path(name)) != digest:
            raise QuantError(
                f"{name}: must be as it was when the run began, not changed; start anew"
            )
