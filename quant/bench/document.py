"""What the files of the benchmark have in common: where it ran, what is done, the cells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from quant.bench.catalogue import way
from quant.bench.cells import Cell
from quant.bench.summary import figures
from quant.files import write_bytes, write_json

Record = Mapping[str, Any]
Records = Mapping[Cell, Record]
MEASURED = ("key", "seconds", "cpu_seconds", "measured_at")
"""`measured_at`: name of another commit, where a record was taken over from there."""
COSTS = ("size_bits", "energy_pj", "latency_ns")
VISITED = ("label", "validation_accuracy", "relative_size", "energy_pj")


def document(records: Records, wanted: int, command: str, **found: Any) -> dict[str, Any]:
    """Return the content of a file: what ran where, what was found, and every cell."""
    machines: list[Any] = []
    for record in records.values():
        if record["machine"] not in machines:
            machines.append(record["machine"])
    return {
        "command": command,
        "machines": machines,
        "cells_wanted": wanted,
        "cells_done": len(records),
        **found,
        "cells": [compact(cell, record, machines) for cell, record in records.items()],
    }


def write_document(content: Mapping[str, Any], text: str, report: Path) -> None:
    """Write a document and its page, with `.json` and `.md` behind the report's name."""
    write_json(report.with_name(report.name + ".json"), dict(content))
    write_bytes(report.with_name(report.name + ".md"), text.encode())


def compact(cell: Cell, record: Record, machines: Sequence[Any]) -> dict[str, Any]:
    """Return what is kept of a record; targets and visits where a drop was allowed."""
    head = {"cell": cell.name, **{name: record[name] for name in MEASURED if name in record}}
    head["machine"] = machines.index(record["machine"])
    if "order" in record:
        return {**head, "order": record["order"]}
    kept: dict[str, Any] = {
        **head,
        **figures(record),
        "float": record["accuracy"]["float"],
        "validation": record["validation_accuracy"]["searched"],
        "bits": _joined(record["allocation"].values()),
    }
    if way(cell.way).max_drop > 0:
        kept["float_validation"] = record["validation_accuracy"]["float"]
        kept["targets"] = record["targets"]
        kept["targets_met"] = record["targets_met"]["all"]
        kept["visits"] = [
            {**{name: visit[name] for name in VISITED}, "bits": _joined(visit["bits"])}
            for visit in record["visits"]
        ]
    return kept


def expanded(entry: Record, machines: Sequence[Any], layers: Sequence[str]) -> dict[str, Any]:
    """Return a record of what a document keeps of it; all that documents are made of is there.

    Parameters
    ----------
    entry : mapping
        One of a document's cells.
    machines : sequence
        The document's.
    layers : sequence of str
        Of the cell's network, in order of execution.

    Raises
    ------
    LookupError, TypeError, ValueError, AttributeError
        If the entry is of another form.
    """
    head = {name: entry[name] for name in ("cell", *MEASURED) if name in entry}
    head["machine"] = machines[entry["machine"]]
    if "order" in entry:
        return {**head, "order": entry["order"]}
    record: dict[str, Any] = {
        **head,
        "accuracy": {"float": entry["float"], "searched": entry["accuracy"]},
        "validation_accuracy": {"searched": entry["validation"]},
        "average_bits": entry["average_bits"],
        "cost": {"searched": {name: entry.get(name) for name in COSTS}},
        "allocation": dict(zip(layers, _split(entry["bits"]), strict=True)),
    }
    if "visits" in entry:
        record["validation_accuracy"]["float"] = entry["float_validation"]
        record["targets"] = entry["targets"]
        record["targets_met"] = {"all": entry["targets_met"]}
        record["visits"] = [{**visit, "bits": _split(visit["bits"])} for visit in entry["visits"]]
    return record


def _joined(bits: Any) -> str:
    return " ".join(str(one) for one in bits)


def _split(bits: str) -> list[int]:
    return [int(one) for one in bits.split()]
