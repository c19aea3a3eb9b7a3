"""The state of a running search on disk: one file for each finished step, so nothing is lost.

A search is a sequence of steps, each of which follows from the request and the steps before it.
A step that has been done before is read instead of computed, so a search that is started again
with the same request takes the same way and ends with the same result. Ours.

A file is written whole or not at all. It is a safetensors file: tensors of a network's snapshot,
if the step has one, and the rest as JSON in the metadata; nothing in it is executed.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from hw.precision import WeightMode
from quant.errors import QuantError
from quant.files import save_tensors
from quant.quant_network import Snapshot
from quant.quantizer import ActRange


@dataclass(frozen=True, kw_only=True, eq=False)
class Entry:
    """What a step gave.

    Parameters
    ----------
    values : mapping
        JSON values; floats come back exactly.
    snapshot : Snapshot, optional
        A network after the step.
    """

    values: Mapping[str, Any] = field(default_factory=dict)
    snapshot: Snapshot | None = None


class Journal:
    """Steps that are done.

    Parameters
    ----------
    folder : Path
        Where their files are.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def step(self, name: str, asked: Mapping[str, Any], compute: Callable[[], Entry]) -> Entry:
        """Return a step from its file, or do it and write the file.

        Parameters
        ----------
        name : str
            Of the step, unique in a search.
        asked : mapping
            JSON values that the step depends on; checked against the file's.
        compute : callable
            Does the step.

        Raises
        ------
        QuantError
            If the file is broken or is of a step that was asked something else.
        """
        known = self.read(name, asked)
        if known is not None:
            return known
        entry = compute()
        self.write(name, asked, entry)
        return entry

    def read(self, name: str, asked: Mapping[str, Any]) -> Entry | None:
        """Return a step that is done, or None; errors as in `step`."""
        path = self._path(name)
        if not path.exists():
            return None
        try:
            with safe_open(str(path), framework="pt") as file:
                head = json.loads(file.metadata()["step"])
                tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
            reason = " ".join(str(error).split())
            raise QuantError(
                f"{path}: must be a step of a search, not: {reason}; delete it and resume"
            ) from error
        if head["asked"] != json.loads(json.dumps(dict(asked))):
            raise QuantError(
                f"{path}: must be a step of this very search, not of another one or of another "
                "version; delete the folder and start anew"
            )
        return Entry(values=head["values"], snapshot=_snapshot(head["network"], tensors))

    def write(self, name: str, asked: Mapping[str, Any], entry: Entry) -> None:
        """Write a step's file, whole or not at all."""
        snapshot = entry.snapshot
        head = {"asked": dict(asked), "values": dict(entry.values), "network": _head(snapshot)}
        tensors = {} if snapshot is None else snapshot.state
        text = json.dumps(head, allow_nan=False)
        save_tensors(tensors, self._path(name), metadata={"step": text})

    def _path(self, name: str) -> Path:
        return self.folder / f"{name}.safetensors"


def _head(snapshot: Snapshot | None) -> dict[str, Any] | None:
    if snapshot is None:
        return None
    ranges = {name: None if r is None else asdict(r) for name, r in snapshot.ranges.items()}
    return {"bits": {n: m.bits for n, m in snapshot.bits.items()}, "ranges": ranges}


def _snapshot(head: Mapping[str, Any] | None, tensors: Mapping[str, Any]) -> Snapshot | None:
    if head is None:
        return None
    return Snapshot(
        state=tensors,
        ranges={n: None if r is None else ActRange(**r) for n, r in head["ranges"].items()},
        bits={n: WeightMode.from_bits(bits) for n, bits in head["bits"].items()},
    )
