"""The benchmark's result as Markdown, and how its targets are met."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

GPTQ_SHARE = 1.5
OBQ_TIMES = 200.0
NAMES = (
    "nearest",
    "gptq",
    "act-order",
    "sensitivity",
    "obq",
    "adaround",
    "sensitivity, order only",
    "sensitivity, no repair",
    "sensitivity, no alternatives",
)


def targets(cells: list[dict[str, Any]]) -> dict[str, Any]:
    """Judge the sensitivity-aware method in every cell.

    Returns
    -------
    dict
        JSON values: the worst ratios and their limits, and in how many cells its error is at most
        another's; OBQ's on the rows that OBQ did. OBQ runs once: its seconds are held against the
        median of ours, not the least.
    """
    methods = [cell["methods"] for cell in cells]
    share = [m["sensitivity"]["seconds"] / m["gptq"]["seconds"] for m in methods]
    times = [obq_seconds(m["obq"]) / m["sensitivity"]["median_seconds"] for m in methods]
    naive = [
        m["obq, out of place"]["extrapolated_seconds"] / m["sensitivity"]["median_seconds"]
        for m in methods
        if "obq, out of place" in m
    ]
    rows = "error_of_rows_of_obq"
    return {
        "seconds_over_gptq": {"worst": max(share), "limit": GPTQ_SHARE},
        "obq_seconds_over_ours": {
            "worst": min(times),
            "limit": OBQ_TIMES,
            "missed": sum(ratio < OBQ_TIMES for ratio in times),
        },
        "obq_out_of_place_seconds_over_ours": {"worst": min(naive)} if naive else None,
        "cells": len(cells),
        "error_at_most_act_order": sum(
            m["sensitivity"]["error"] <= m["act-order"]["error"] for m in methods
        ),
        "error_at_most_obq": sum(m["sensitivity"][rows] <= m["obq"][rows] for m in methods),
    }


def obq_seconds(found: Mapping[str, Any]) -> float:
    """Seconds of all rows, extrapolated where some were not done."""
    return float(found.get("extrapolated_seconds", found["seconds"]))


def markdown(document: Mapping[str, Any]) -> str:
    """Write the tables of `docs/ptq-bench.md`."""
    cells = document["cells"]
    return "\n".join(
        [
            "# Weight optimisers on layers of three sizes",
            "",
            f"Written by `{document['command']}`; {document['machine']}, one thread. Full range, "
            "scales by the rule of ADR 4.",
            "Error: mean square of the change of the layer's outputs over that of the outputs, on "
            "the calibration images (on held-out ones).",
            f"Seconds: processor time, the least of {document['repeats']} runs taken in turn "
            "(OBQ, AdaRound: one run); the median is in the JSON file.",
            "~: OBQ would have taken over "
            f"{document['most_minutes']:g} min; seconds are extrapolated from the rows done, "
            "the error is that of these rows, and the last column has ours on the same rows.",
            "",
            *_table(cells),
            "",
            "Steps of the sensitivity-aware method left out:",
            "",
            *_parts(cells),
            "",
            *_verdict(document["targets"]),
            "",
        ]
    )


def _table(cells: list[dict[str, Any]]) -> list[str]:
    head = "layer", "bits", "nearest", "GPTQ", "act-order", "**sensitivity-aware**"
    lines = [
        _line([*head, "s", "GPTQ s", "exact OBQ", "s", "AdaRound", "s", "ours, rows of OBQ"]),
        "|---|" + "---:|" * 12,
    ]
    for cell in cells:
        by = cell["methods"]
        obq, ours, learned = by["obq"], by["sensitivity"], by.get("adaround")
        part = "extrapolated_seconds" in obq
        lines.append(
            _line(
                [
                    cell["layer"],
                    str(cell["bits"]),
                    *(_error(by[name]) for name in ("nearest", "gptq", "act-order")),
                    f"**{_error(ours)}**",
                    _seconds(ours["seconds"]),
                    _seconds(by["gptq"]["seconds"]),
                    f"{obq['error_of_rows_of_obq']:.3g}" if part else _error(obq),
                    f"~{obq_seconds(obq):.0f} ({obq['rows']} rows)"
                    if part
                    else _seconds(obq["seconds"]),
                    _error(learned) if learned else "-",
                    _seconds(learned["seconds"]) if learned else "-",
                    f"{ours['error_of_rows_of_obq']:.3g}" if part else "",
                ]
            )
        )
    return lines


def _parts(cells: list[dict[str, Any]]) -> list[str]:
    names = [name for name in NAMES if name.startswith("sensitivity")]
    lines = [
        _line(["layer", "bits", *(f"{name} | s" for name in ["act-order", *names])]),
        "|---|" + "---:|" * (1 + 2 * (1 + len(names))),
    ]
    for cell in cells:
        by = cell["methods"]
        pairs = [
            f"{by[name]['error']:.3g} | {_seconds(by[name]['seconds'])}"
            for name in ["act-order", *names]
        ]
        lines.append(_line([cell["layer"], str(cell["bits"]), *pairs]))
    return lines


def _verdict(found: Mapping[str, Any]) -> list[str]:
    share, times = found["seconds_over_gptq"], found["obq_seconds_over_ours"]
    return [
        f"Sensitivity-aware against GPTQ's seconds: {share['worst']:.2f} at worst (limit "
        f"{share['limit']}: {'met' if share['worst'] <= share['limit'] else 'missed'}).",
        f"At least {times['limit']:.0f} times faster than OBQ (median of ours): "
        f"{_missed(times['missed'], found['cells'])}, {times['worst']:.0f} times at worst; "
        "with OBQ's update out of place, as in the authors' code, "
        f"{_worst(found['obq_out_of_place_seconds_over_ours'])} at least (64x576, 8 rows, "
        "extrapolated).",
        f"Error at most act-order's in {found['error_at_most_act_order']} of {found['cells']} "
        f"cells, at most OBQ's in {found['error_at_most_obq']}.",
    ]


def _missed(missed: int, cells: int) -> str:
    return f"missed in {missed} of {cells} cells" if missed else f"met in all {cells} cells"


def _worst(found: Mapping[str, Any] | None) -> str:
    return "-" if found is None else f"{found['worst']:.0f}"


def _error(found: Mapping[str, Any]) -> str:
    return f"{found['error']:.3g} ({found['held_out']:.3g})"


def _seconds(value: float) -> str:
    return f"{value:.4f}" if value < 1 else f"{value:.1f}"


def _line(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"
