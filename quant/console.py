"""What a search shows on the terminal at its end."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table

from hw.cli.tables import figures, print_table
from quant.outcome import Outcome
from quant.request import Request
from quant.resources import Resource, shown
from quant.result import result_of
from quant.workbench import Workbench

UNKNOWN = "-"
"""Stands for a cost that the cost table cannot give."""


def print_report(request: Request, bench: Workbench, outcome: Outcome, met: bool) -> None:
    """Print the layers, and the result beside the uniform allocations."""
    console = Console()
    result = result_of(request, bench, outcome)
    for table in (_layer_table(result), _summary_table(result)):
        print_table(table)
    drop = outcome.float_test - outcome.searched.test
    parts = [f"drop {100 * drop:.2f} points (at most {100 * outcome.budget.max_drop:g})"]
    parts.append(f"size {result['relative_size']:.3f} of 8 bit")
    for entry in result["budgets"]:
        resource = Resource(entry["resource"])
        value, limit = shown(entry["value"], resource), shown(entry["limit"], resource)
        parts.append(f"{resource.value} {value} (at most {limit})")
    lines = [f"targets {'met' if met else 'NOT met'}: {', '.join(parts)} -> {request.out}"]
    lines += failures(result, outcome)
    costs = outcome.hardware.table
    lines += [f"unavailable in {costs.name}: {gap}" for gap in costs.unavailable]
    for line in lines:
        console.print(line, markup=False, soft_wrap=True)


def failures(result: Mapping[str, Any], outcome: Outcome) -> list[str]:
    """Return a line for each target that was missed, with the smallest reachable value."""
    lines = []
    if not result["targets_met"]["accuracy"]:
        least = min(100 * visit.drop for visit in outcome.visits)
        lines.append(
            f"max_drop missed; smallest drop reached on validation images: {least:.2f} points"
        )
    for entry in result["budgets"]:
        if not entry["met"]:
            resource = Resource(entry["resource"])
            smallest = shown(entry["smallest_reachable"], resource)
            lines.append(f"{resource.option} missed; smallest reachable: {smallest}")
    return lines


def _shown(value: float | None, form: str, *, unit: float = 1) -> str:
    """Return a cost as text, in a unit of so many of its own; counts stay whole."""
    return UNKNOWN if value is None else format(value if unit == 1 else value / unit, form)


def _layer_table(result: Mapping[str, Any]) -> Table:
    columns = ("sigma", "KL/KL8", "bits", "act bits", "kbit", "energy/nJ", "cycles")
    table = figures(f"{result['model']}: layers", "layer", *columns)
    for layer in result["layers"]:
        table.add_row(
            layer["name"],
            f"{layer['sigma']:.4f}",
            f"{layer['kl']:.2f}",
            str(layer["bits"]),
            str(layer["act_bits"]),
            f"{layer['size_bits'] / 1e3:.1f}",
            _shown(layer["energy_pj"], ".2f", unit=1e3),
            _shown(layer["cycles"], ","),
        )
    return table


def _summary_table(result: Mapping[str, Any]) -> Table:
    columns = ("top-1/%", "kbit", "array/nJ", "scratchpads", "DRAM", "cycles", "us")
    table = figures("test accuracy and cost of one inference; equal training", "", *columns)
    accuracy, cost = result["accuracy"], result["cost"]
    rows = [("searched", accuracy["searched"], cost["searched"])]
    for bits, entry in cost["uniform"].items():
        rows.append((f"uniform {bits} bit", accuracy["uniform"][bits], entry))
    for name, label in (
        ("int8_mac", "INT8 MACs, 8 bit"),
        ("int8_mac_same_weights", "INT8 MACs, searched"),
    ):
        if name in cost:
            rows.append((label, None, cost[name]))
    table.add_row("float", f"{100 * accuracy['float']:.2f}", *[""] * (len(columns) - 1))
    for label, top_1, entry in rows:
        table.add_row(
            label,
            "" if top_1 is None else f"{100 * top_1:.2f}",
            f"{entry['size_bits'] / 1e3:.1f}",
            _shown(entry["energy_pj"], ".1f", unit=1e3),
            _shown(entry["scratchpad_energy_pj"], ".1f", unit=1e3),
            _shown(entry["dram_energy_pj"], ".1f", unit=1e3),
            _shown(entry["cycles"], ","),
            _shown(entry["latency_ns"], ".1f", unit=1e3),
        )
    return table
