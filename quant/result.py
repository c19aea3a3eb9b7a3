"""The content of result.json, and all files that a search leaves behind."""

from __future__ import annotations

import platform
import shutil
from collections.abc import Mapping
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from torch import Tensor

from hw.precision import WeightMode
from quant.allocation import act_bits_of
from quant.budget import ROUNDING
from quant.catalogue import is_foreign, is_onnx
from quant.cost import INT8_BASELINE, relative_size
from quant.data import Images
from quant.errors import QuantError
from quant.files import save_tensors, sha256, write_json
from quant.hardware import Candidate
from quant.integer import integer_network
from quant.journal import Entry, Journal
from quant.models import weights_path
from quant.outcome import Outcome
from quant.plot import plot_pareto
from quant.quant_network import QuantNetwork, uniform_bits
from quant.report.results import VERSION
from quant.request import Request
from quant.resources import Resource
from quant.run_folder import INTEGER_FOLDER
from quant.visits import Visit
from quant.workbench import Workbench
from sim.folder import save_examples
from synth.table import LayerCost

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
EXAMPLES = 16
"""Test images that go with an integer network, for the co-simulation."""
NETWORK = "network"
"""The trained network as torch has it, in a run's folder."""
PACKAGES = ("sigmaquant", "numpy", "torch", "scipy", "safetensors", "pydantic")


def targets_met(outcome: Outcome) -> dict[str, bool]:
    """Judge the targets, the accuracy on the test images."""
    drop = outcome.float_test - outcome.searched.test
    met = {"accuracy": outcome.budget.drop_met(drop)}
    met |= {entry["resource"]: entry["met"] for entry in budget_entries(outcome)}
    return {**met, "all": all(met.values())}


def budget_entries(outcome: Outcome) -> list[dict[str, Any]]:
    """Return every limited resource for JSON, in the order of `Resource`.

    `value` and `smallest_reachable` are in `unit`; the latter is the least that any allocation
    takes on this hardware (of area: the least of the given tables).
    """
    hardware, budget = outcome.hardware, outcome.budget
    entries = []
    for resource in Resource:
        if resource is Resource.AREA:
            if outcome.max_area_um2 is None:
                continue
            limit, value = outcome.max_area_um2, hardware.area_um2 or 0.0
            smallest = outcome.smallest_area_um2 or 0.0
        elif resource in budget.limits:
            limit, value = budget.limits[resource], outcome.chosen.use[resource]
            smallest = hardware.menu.smallest(resource)
        else:
            continue
        entries.append(
            {
                "resource": resource.value,
                "unit": resource.unit,
                "limit": limit,
                "value": value,
                "smallest_reachable": smallest,
                "met": value <= limit * (1 + ROUNDING),
            }
        )
    return entries


def targets(request: Request) -> dict[str, float | str]:
    """Return the targets as they were given: shares as numbers, others with their unit."""
    return {
        "max_drop": request.wishes.max_drop,
        **{
            resource.option: limit.value if limit.relative else f"{limit.value:g}{resource.unit}"
            for resource, limit in request.wishes.limits.items()
        },
    }


def write_results(request: Request, bench: Workbench, outcome: Outcome) -> bool:
    """Write all files of a search; returns whether all targets are met."""
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
    result["integer_network"] = write_integers(
        request, quantised, bench.example, result, test=bench.images.test
    )
    Journal(out).write(NETWORK, {"model": request.model}, Entry(snapshot=quantised.snapshot()))
    save_tensors(dict(bench.teacher.state_dict()), out / "float.safetensors", metadata=about)
    save_tensors(folded, out / "folded.safetensors", metadata=about)
    save_tensors(quantised.tensors(), out / "quantised.safetensors", metadata=about)
    plot_pareto(request, outcome, result, out / "pareto.png")
    write_json(out / "result.json", result)
    return bool(result["targets_met"]["all"])


class Run(Protocol):
    """A run that writes an integer network."""

    @property
    def model(self) -> str:
        """Name of the network."""

    @property
    def seed(self) -> int:
        """Of calibration, and of training."""

    @property
    def out(self) -> Path:
        """Folder to write into."""


def write_integers(
    request: Run,
    quantised: QuantNetwork,
    example: Tensor,
    result: Mapping[str, Any],
    *,
    test: Images,
) -> dict[str, Any]:
    """Write the integer network; returns its folder and bytes, or why there is none."""
    folder = request.out / INTEGER_FOLDER
    shutil.rmtree(folder, ignore_errors=True)
    try:
        network = integer_network(
            quantised.eval(),
            example,
            name=request.model,
            provenance={
                "seed": request.seed,
                "accuracy": result["accuracy"]["searched"],
                "test_images": len(test),
                **result["provenance"],
            },
        )
    except QuantError as error:
        return {"folder": None, "reason": str(error)}
    network.save(folder)
    first = np.arange(min(EXAMPLES, len(test)))
    height, width, *colours = test.shape
    pixels = test.pixels(first).reshape(-1, height, width, *(colours or [1]))
    save_examples(folder, pixels, test.labels[first])
    return {"folder": INTEGER_FOLDER, "packed_bytes": sum(network.packed_bytes.values())}


def result_of(request: Request, bench: Workbench, outcome: Outcome) -> dict[str, Any]:
    """Return the content of result.json."""
    layers, bits, acts = bench.network.layers, outcome.chosen.bits, outcome.chosen.acts
    table, prices = outcome.hardware.table, outcome.hardware.prices
    w8 = uniform_bits(bench.network, WeightMode.W8)
    costs = prices.layer_costs(bits, acts=acts)
    most_acts, act_bits = outcome.hardware.menu.most_acts, act_bits_of(layers, acts)
    used = {*bits.values()}
    cost: dict[str, Any] = {
        "searched": cost_entry(prices.network_cost(bits, acts=acts)),
        "uniform": {
            str(mode.bits): cost_entry(
                prices.network_cost(uniform_bits(bench.network, mode), acts=most_acts)
            )
            for mode in outcome.uniform
        },
    }
    if INT8_BASELINE in table.baselines:
        baseline = table.baseline(INT8_BASELINE)
        if WeightMode.W8 in baseline.weight_modes:
            cost["int8_mac"] = cost_entry(prices.network_cost(w8, array=baseline))
        if used <= {*baseline.weight_modes}:
            same_weights = prices.network_cost(bits, acts=acts, array=baseline)
            cost["int8_mac_same_weights"] = cost_entry(same_weights)
    return {
        "version": VERSION,
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
        "method": request.method.value,
        "targets": targets(request),
        "targets_met": targets_met(outcome),
        "smallest_validation_drop": min(visit.drop for visit in outcome.visits),
        "budgets": budget_entries(outcome),
        "hardware": {
            "table": table.name,
            "configuration": outcome.hardware.configuration,
            "area_um2": outcome.hardware.area_um2,
        },
        "allocation": {name: mode.bits for name, mode in bits.items()},
        "activations": act_bits,
        "relative_size": relative_size(layers, bits),
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
        "objective": outcome.hardware.menu.objective.value,
        "cost": cost,
        "unavailable_costs": [{"cost": g.cost, "needs": g.needs} for g in table.unavailable],
        "layers": [
            {
                "name": layer.name,
                "bits": bits[layer.name].bits,
                "act_bits": act_bits[layer.source],
                "sigma": outcome.sigma[layer.name],
                "kl": outcome.scores[layer.name][bits[layer.name]],
                **(
                    {}
                    if outcome.sensitivity is None
                    else {"sensitivity": outcome.sensitivity[layer.name].get(bits[layer.name])}
                ),
                "macs": layer.shape.macs,
                "bops": outcome.hardware.menu.use_of(layer.name, bits[layer.name], acts)[
                    Resource.BOPS
                ],
                **cost_entry(costs[layer.name]),
            }
            for layer in layers
        ],
        "visits": [visit_entry(visit, bench, outcome) for visit in outcome.visits],
        "gaps": [
            {"gap": note.gap.value, "place": note.place, "text": note.text}
            for note in bench.network.notes
        ],
        "provenance": provenance(request, bench, outcome.hardware),
    }


def cost_entry(cost: LayerCost) -> dict[str, float | None]:
    """Return a cost for JSON; `energy_pj` is the array's, leakage included, memories apart.

    None is what the cost table cannot give.
    """
    return {name: getattr(cost, name) for name in COSTS}


def visit_entry(visit: Visit, bench: Workbench, outcome: Outcome) -> dict[str, Any]:
    """Return a visit for JSON."""
    return {
        "label": visit.label,
        "bits": [mode.bits for mode in visit.bits.values()],
        "activations": act_bits_of(bench.network.layers, visit.acts),
        "validation_accuracy": outcome.float_validation - visit.drop,
        "relative_size": relative_size(bench.network.layers, visit.bits),
        "energy_pj": visit.cost.energy_pj,
        "latency_ns": visit.cost.latency_ns,
        "cycles": visit.cost.cycles,
        "chosen": visit is outcome.chosen,
    }


def provenance(request: Request, bench: Workbench, hardware: Candidate) -> dict[str, Any]:
    """Return what made a result on some hardware."""
    weights = request.weights
    if weights is None and is_onnx(request.model):
        weights = Path(request.model)
    elif weights is None and not is_foreign(request.model):
        weights = weights_path(request.model)
    plan = request.plan
    return {
        "command": request.command,
        "versions": {
            "python": platform.python_version(),
            **{name: metadata.version(name) for name in PACKAGES},
        },
        "rounding": bench.source.rounding.value,
        "decisions": asdict(request.decisions),
        "qat": {
            "total_steps": plan.total_steps,
            "steps_per_visit": plan.probe_steps,
            "batch": plan.batch,
            "scales": plan.scales.value,
        },
        "weights": {**({} if weights is None else {"sha256": sha256(weights)}), **bench.metadata},
        "data_sha256": dict(sorted(bench.images.sha256.items())),
        "cost_table": {
            "name": hardware.table.name,
            "file": hardware.path.name,
            "sha256": sha256(hardware.path),
        },
    }
