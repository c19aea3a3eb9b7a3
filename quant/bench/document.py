"""What the files of the benchmark have in common: where it ran, what is done, the cells."""

from __future__ import annotations

from collections.abc import Mapping
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
VISITED = ("label", "validation_accuracy", "relative_size", "energy_pj")


def document(records: Records, wanted: int, command: str, **found: Any) -> dict[str, Any]:
    """Return the content of a file: what ran where, what was found, and every cell."""
    machines = [record["machine"] for record in records.values()]
    return {
        "command": command,
        "machines": [m for i, m in enumerate(machines) if m not in machines[:i]],
        "cells_wanted": wanted,
        "cells_done": len(records),
        **found,
        "cells": [_compact(cell, record) for cell, record in records.items()],
    }


def write_document(content: Mapping[str, Any], text: str, report: Path) -> None:
    """Write a document and its page, with `.json` and `.md` behind the report's name."""
    write_json(report.with_name(report.name + ".json"), dict(content))
    write_bytes(report.with_name(report.name + ".md"), text.encode())


def _compact(cell: Cell, record: Record) -> dict[str, Any]:
    """Return what is kept of a record; targets and visits where a drop was allowed."""
    head = {"cell": cell.name, **{name: record[name] for name in MEASURED if name in record}}
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


def _joined(bits: Any) -> str:
    return " ".join(str(one) for one in bits)
