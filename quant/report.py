"""What a search leaves behind: result.json, weights, pareto.png, and a table on the terminal."""

from __future__ import annotations

import hashlib
import platform
import shlex
import sys
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from hw.precision import WeightMode
from quant.cost import INT8_BASELINE
from quant.files import save_tensors, write_json
from quant.layers import QuantNetwork, uniform_bits
from quant.models import WEIGHTS_FOLDER
from quant.plot import plot_pareto
from quant.visits import Visit
from quant.workbench import Workbench
from synth.table import LayerCost

if TYPE_CHECKING:
    from quant.search import Request
    from quant.session import Outcome

COSTS = (
    "size_bits",
    "cycles",
    "latency_ns",
    "energy_pj",
    "array_energy_pj",
    "leakage_energy_pj",
    "scratchpad_energy_pj",
    "dram_energy_pj",
    "memory_energy_pj",
    "scratchpad_read_bits",
    "scratchpad_write_bits",
    "dram_read_bits",
    "dram_write_bits",
)
UNKNOWN = "-"
"""Stands for a cost that the cost table cannot give."""
PACKAGES = ("numpy", "torch", "safetensors", "pydantic")


def targets_met(request: Request, outcome: Outcome) -> dict[str, bool]:
    """Judge the targets on the test images."""
    drop = outcome.float_test - outcome.searched.test
    accuracy = request.budget.met(drop=drop, size=0)
    size = request.budget.met(drop=0, size=outcome.chosen.size)
    return {"accuracy": accuracy, "size": size, "all": accuracy and size}


def write_results(request: Request, bench: Workbench, outcome: Outcome) -> bool:
    """Write all files of a search; returns whether both targets are met."""
    result = result_of(request, bench, outcome)
    quantised = QuantNetwork(bench.network, outcome.chosen.bits)
    quantised.restore(outcome.searched.snapshot)
    about = {"model": request.model, "seed": str(request.seed)}
    folded = {
        f"{name}.{kind}": tensor
        for name, pair in bench.network.folded().items()
        for kind, tensor in zip(("weight", "bias"), pair, strict=True)
    }
    out = request.out
    save_tensors(dict(bench.teacher.state_dict()), out / "float.safetensors", metadata=about)
    save_tensors(folded, out / "folded.safetensors", metadata=about)
    save_tensors(quantised.tensors(), out / "quantised.safetensors", metadata=about)
    plot_pareto(request, outcome, result, out / "pareto.png")
    write_json(out / "result.json", result)
    return bool(result["targets_met"]["all"])


def result_of(request: Request, bench: Workbench, outcome: Outcome) -> dict[str, Any]:
    """Return the content of result.json."""
    layers, table, bits = bench.network.layers, request.table, outcome.chosen.bits
    prices = outcome.prices
    w8 = uniform_bits(bench.network, WeightMode.W8)
    costs = prices.layer_costs(bits)
    used = {*bits.values()}
    cost: dict[str, Any] = {
        "searched": cost_entry(prices.network_cost(bits)),
        "uniform": {
            str(mode.bits): cost_entry(prices.network_cost(uniform_bits(bench.network, mode)))
            for mode in outcome.uniform
        },
    }
    if INT8_BASELINE in table.baselines:
        baseline = table.baseline(INT8_BASELINE)
        if WeightMode.W8 in baseline.weight_modes:
            cost["int8_mac"] = cost_entry(prices.network_cost(w8, array=baseline))
        if used <= {*baseline.weight_modes}:
            same_weights = prices.network_cost(bits, array=baseline)
            cost["int8_mac_same_weights"] = cost_entry(same_weights)
    return {
        "model": request.model,
        "data": {
            "folder": str(request.data),
            "images": {
                "train": len(bench.train_set),
                "validation": len(bench.images.validation),
                "test": len(bench.images.test),
            },
        },
        "seed": request.seed,
        "targets": {"max_drop": request.budget.max_drop, "max_size": request.budget.max_size},
        "targets_met": targets_met(request, outcome),
        "allocation": {name: mode.bits for name, mode in bits.items()},
        "relative_size": outcome.chosen.size,
        "accuracy": {
            "float": outcome.float_test,
            "searched": outcome.searched.test,
            "uniform": {str(mode.bits): t.test for mode, t in outcome.uniform.items()},
        },
        "validation_accuracy": {
            "float": outcome.float_validation,
            "searched": outcome.searched.validation,
            "uniform": {str(mode.bits): t.validation for mode, t in outcome.uniform.items()},
        },
        "objective": outcome.objective.value,
        "cost": cost,
        "unavailable_costs": [{"cost": g.cost, "needs": g.needs} for g in table.unavailable],
        "layers": [
            {
                "name": layer.name,
                "bits": bits[layer.name].bits,
                "sigma": outcome.sigma[layer.name],
                "kl": outcome.scores[layer.name][bits[layer.name]],
                "macs": layer.shape.macs,
                **cost_entry(costs[layer.name]),
            }
            for layer in layers
        ],
        "visits": [visit_entry(visit, outcome) for visit in outcome.visits],
        "provenance": provenance(request, bench),
    }


def cost_entry(cost: LayerCost) -> dict[str, float | None]:
    """Return a cost for JSON; `energy_pj` is the array's, leakage included, memories apart.

    None is what the cost table cannot give.
    """
    return {name: getattr(cost, name) for name in COSTS}


def visit_entry(visit: Visit, outcome: Outcome) -> dict[str, Any]:
    """Return a visit for JSON."""
    return {
        "label": visit.label,
        "bits": [mode.bits for mode in visit.bits.values()],
        "validation_accuracy": outcome.float_validation - visit.drop,
        "relative_size": visit.size,
        "energy_pj": visit.cost.energy_pj,
        "latency_ns": visit.cost.latency_ns,
        "cycles": visit.cost.cycles,
        "chosen": visit is outcome.chosen,
    }


def provenance(request: Request, bench: Workbench) -> dict[str, Any]:
    """Return what made the result."""
    weights = request.weights or WEIGHTS_FOLDER / f"{request.model}.safetensors"
    plan = request.plan
    return {
        "command": shlex.join(["python", "-m", "quant.search", *sys.argv[1:]]),
        "versions": {
            "python": platform.python_version(),
            **{name: metadata.version(name) for name in PACKAGES},
        },
        "qat": {
            "total_steps": plan.total_steps,
            "steps_per_visit": plan.probe_steps,
            "batch": plan.batch,
        },
        "weights": {"sha256": _sha256(weights), **bench.metadata},
        "data_sha256": dict(sorted(bench.images.sha256.items())),
        "cost_table": {
            "name": request.table.name,
            "file": request.table_path.name,
            "sha256": _sha256(request.table_path),
        },
    }


def print_report(request: Request, bench: Workbench, outcome: Outcome, met: bool) -> None:
    """Print the layers, and the result beside the uniform allocations."""
    console = Console()
    result = result_of(request, bench, outcome)
    console.print(_layer_table(result))
    console.print(_summary_table(result))
    drop = outcome.float_test - outcome.searched.test
    console.print(
        f"targets {'met' if met else 'NOT met'}: drop {100 * drop:.2f} points "
        f"(at most {100 * request.budget.max_drop:g}), size {outcome.chosen.size:.3f} of 8 bit "
        f"(at most {request.budget.max_size:g}) -> {request.out}"
    )
    for gap in request.table.unavailable:
        console.print(f"unavailable in {request.table.name}: {gap}", markup=False)


def _shown(value: float | None, form: str, *, unit: float = 1) -> str:
    """Return a cost as text, in a unit of so many of its own; counts stay whole."""
    return UNKNOWN if value is None else format(value if unit == 1 else value / unit, form)


def _layer_table(result: Mapping[str, Any]) -> Table:
    table = Table(title=f"{result['model']}: layers")
    table.add_column("layer", no_wrap=True)
    for column in ("sigma", "KL/KL8", "bits", "kbit", "energy/nJ", "cycles"):
        table.add_column(column, justify="right")
    for layer in result["layers"]:
        table.add_row(
            layer["name"],
            f"{layer['sigma']:.4f}",
            f"{layer['kl']:.2f}",
            str(layer["bits"]),
            f"{layer['size_bits'] / 1e3:.1f}",
            _shown(layer["energy_pj"], ".2f", unit=1e3),
            _shown(layer["cycles"], ","),
        )
    return table


def _summary_table(result: Mapping[str, Any]) -> Table:
    table = Table(title="test accuracy and cost of one inference; equal training")
    table.add_column("", no_wrap=True)
    columns = ("top-1/%", "kbit", "array/nJ", "scratchpads", "DRAM", "cycles", "us")
    for column in columns:
        table.add_column(column, justify="right")
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


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
