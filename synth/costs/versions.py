"""Older files of cost tables, brought to the form of today."""

from __future__ import annotations

from typing import Any

_OLD_METHODS = {
    "area_method": "synthesised",
    "period_method": "static timing",
    "energy_method": "gate-level activity",
}
"""What version 1 took for granted where an array named no method."""

_NO_SOURCE = "not stated (schema_version 1 had no field for it)"


def upgraded(document: Any) -> Any:
    """Return a table's document with `schema_version` 1 as one of version 2; others as they are.

    Parameters
    ----------
    document : object
        What the JSON file holds.

    Returns
    -------
    object
        No figure changes. A malformed document stays malformed, for the checks to refuse.
    """
    if not isinstance(document, dict) or document.get("schema_version") != 1:
        return document
    new = document | {"schema_version": 2}
    if isinstance(new.get("array"), dict):
        new["array"] = _array(new["array"])
    if isinstance(new.get("baselines"), dict):
        new["baselines"] = {name: _array(entry) for name, entry in new["baselines"].items()}
    memory = new.get("memory")
    if isinstance(memory, dict):
        cited = {"source": memory.get("source")}
        new["memory"] = {
            "scratchpad": {
                "method": memory.get("method", "cited"),
                **{
                    name: {"value": memory.get(name)} | cited
                    for name in ("read_pj_per_bit", "write_pj_per_bit")
                },
            }
        }
    return new


def _array(array: Any) -> Any:
    if not isinstance(array, dict):
        return array
    new = {**_OLD_METHODS, **array}
    return new | {"source": _NO_SOURCE} if "cited" in new.values() else new
