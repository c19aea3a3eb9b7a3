"""Means and spreads over seeds, ours against others, and the paper's findings, from records."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from statistics import mean, stdev
from typing import Any

from scipy.stats import kendalltau

from quant.bench.catalogue import WAYS, Kind, way
from quant.bench.cells import Cell
from quant.budget import Budget
from quant.decisions import Decisions
from quant.resources import Resource
from quant.visits import Visit, best_visit
from synth.table import LayerCost

Record = Mapping[str, Any]
Records = Mapping[Cell, Record]
NOISE = 0.003
"""Accuracies that differ by no more are equal: standard error of 10,000 test images."""
OURS = "auto"
MARGIN = Decisions().margin
"""By which sigmaquant judges its visits (`quant.decisions`)."""


def figures(record: Record) -> dict[str, float]:
    """Return the figures of a search that are averaged; energy and latency are of one inference."""
    accuracy, cost = record["accuracy"], record["cost"]
    found = {
        "accuracy": accuracy["searched"],
        "drop": accuracy["float"] - accuracy["searched"],
        "average_bits": record["average_bits"],
        "size_bits": cost["searched"]["size_bits"],
        "energy_pj": cost["searched"]["energy_pj"],
        "latency_ns": cost["searched"]["latency_ns"],
        "seconds": record["seconds"],
    }
    return {name: value for name, value in found.items() if value is not None}


def mean_and_spread(values: Sequence[float]) -> dict[str, float | None]:
    """Mean and sample standard deviation; the latter is None for one value."""
    return {"mean": mean(values), "spread": stdev(values) if len(values) > 1 else None}


def summarise(records: Records) -> list[dict[str, Any]]:
    """Return a row for every way, budget, network and training, over the seeds that there are."""
    groups: dict[tuple[Any, ...], list[Record]] = {}
    for cell, record in records.items():
        if way(cell.way).kind is not Kind.ORDER:
            groups.setdefault(_group(cell), []).append(record)
    rows = []
    for (model, trains, place, bits), members in sorted(groups.items(), key=_place):
        found = [figures(record) for record in members]
        known = [name for name in found[0] if all(name in one for one in found)]
        rows.append(
            {
                "model": model,
                "trains": trains,
                "way": WAYS[place].name,
                "budget_bits": bits,
                "seeds": len(members),
                **{name: mean_and_spread([one[name] for one in found]) for name in known},
            }
        )
    return rows


def _group(cell: Cell) -> tuple[Any, ...]:
    return cell.model, cell.trains, WAYS.index(way(cell.way)), cell.average_bits


def _place(item: tuple[tuple[Any, ...], Any]) -> tuple[Any, ...]:
    model, trains, place, bits = item[0]
    return model, trains, place, bits or 0.0


def against(records: Records, ours: str = OURS) -> list[dict[str, Any]]:
    """Compare our accuracy with every other way's within the same budget, seed by seed.

    Returns
    -------
    list of dict
        Mean and spread of our accuracy minus the other's, and of our array energy over the
        other's where both are known; ``verdict`` is win, tie (within `NOISE`) or loss of accuracy.
    """
    pairs: dict[tuple[Any, ...], list[float]] = {}
    ratios: dict[tuple[Any, ...], list[float]] = {}
    for cell, record in records.items():
        choice = way(cell.way)
        if cell.way == ours or choice.max_drop > 0 or cell.average_bits is None:
            continue
        mine = next((r for c, r in records.items() if _rival(c, cell, ours)), None)
        if mine is not None:
            gain = mine["accuracy"]["searched"] - record["accuracy"]["searched"]
            pairs.setdefault(_group(cell), []).append(gain)
            ours_pj, others_pj = (figures(r).get("energy_pj") for r in (mine, record))
            if ours_pj and others_pj:
                ratios.setdefault(_group(cell), []).append(ours_pj / others_pj)
    return [
        {
            "model": model,
            "trains": trains,
            "way": WAYS[place].name,
            "budget_bits": bits,
            "seeds": len(gains),
            "gain": mean_and_spread(gains),
            "energy": mean_and_spread(ratios[group]) if group in ratios else None,
            "verdict": verdict(mean(gains)),
        }
        for group, gains in sorted(pairs.items(), key=_place)
        for model, trains, place, bits in [group]
    ]


def overall(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Put together what `against` found of every way over networks and budgets, by training.

    Returns
    -------
    list of dict
        Places (network and budget), how many are won, tied and lost; least and most of the mean
        gains; least, most and mean of the energy ratios, None where none is known.
    """
    groups: dict[tuple[str, bool], list[Mapping[str, Any]]] = {}
    for row in rows:
        groups.setdefault((row["way"], row["trains"]), []).append(row)
    found = []
    for (name, trains), members in sorted(groups.items(), key=_way_and_training):
        gains = [row["gain"]["mean"] for row in members]
        ratios = [row["energy"]["mean"] for row in members if row["energy"] is not None]
        verdicts = [row["verdict"] for row in members]
        found.append(
            {
                "way": name,
                "trains": trains,
                "places": len(members),
                **{kind: verdicts.count(kind) for kind in ("win", "tie", "loss")},
                "gain": {"least": min(gains), "most": max(gains)},
                "energy": {"least": min(ratios), "most": max(ratios), "mean": mean(ratios)}
                if ratios
                else None,
            }
        )
    return found


def _way_and_training(item: tuple[tuple[str, bool], Any]) -> tuple[int, bool]:
    name, trains = item[0]
    return WAYS.index(way(name)), trains


def _rival(cell: Cell, other: Cell, ours: str) -> bool:
    same = (cell.model, cell.trains, cell.average_bits, cell.seed)
    return cell.way == ours and same == (
        other.model,
        other.trains,
        other.average_bits,
        other.seed,
    )


def verdict(gain: float) -> str:
    """Return win, tie or loss."""
    if abs(gain) <= NOISE + 1e-12:
        return "tie"
    return "win" if gain > 0 else "loss"


def taus(records: Records) -> list[dict[str, Any]]:
    """Return how measures of sensitivity order the layers: Kendall's tau with the measured loss.

    1 is the same order, 0 none, -1 the reverse; ``p`` is the largest over seeds of the probability
    that layers without any order look as much in order.
    """
    groups: dict[tuple[str, str, str, str], list[tuple[float, float]]] = {}
    layers: dict[str, int] = {}
    for cell, record in records.items():
        if way(cell.way).kind is not Kind.ORDER:
            continue
        order = record["order"]
        for bits, measures in order["measures"].items():
            for loss, measured in order["loss"][bits].items():
                layers[cell.model] = len(measured)
                for name, values in measures.items():
                    found = kendalltau([values[n] for n in measured], list(measured.values()))
                    pair = float(found.statistic), float(found.pvalue)
                    if not math.isnan(pair[0]):
                        groups.setdefault((cell.model, bits, name, loss), []).append(pair)
    return [
        {
            "model": model,
            "bits": int(bits),
            "measure": name,
            "loss": loss,
            "layers": layers[model],
            "seeds": len(found),
            "tau": mean_and_spread([tau for tau, _ in found]),
            "p": max(p for _, p in found),
        }
        for (model, bits, name, loss), found in sorted(groups.items())
    ]


def phases(records: Records) -> list[dict[str, Any]]:
    """Return what the two phases of sigmaquant reach: drop (validation) and load (size).

    After phase 1 is the visit that phase 2 starts from, after phase 2 the best visit of all, both
    after the same short training; the end is after the final training.
    """
    rows = []
    for cell, record in records.items():
        if not cell.way.startswith("sigmaquant"):
            continue
        targets = record["targets"]
        budget = Budget(max_drop=targets["max_drop"], limits={Resource.SIZE: targets["max_size"]})
        float_accuracy = record["validation_accuracy"]["float"]
        visits = [_visit(entry, float_accuracy) for entry in record["visits"]]
        searched = [v for v in visits if v.label != "final training"]
        first = [v for v in searched if not v.label.startswith("phase 2")]
        start = best_visit(first, budget, margin=MARGIN)
        end = best_visit(searched, budget, margin=MARGIN)
        final_drop = float_accuracy - record["validation_accuracy"]["searched"]
        rows.append(
            {
                "model": cell.model,
                "trains": cell.trains,
                "way": cell.way,
                "budget_bits": cell.average_bits,
                "seed": cell.seed,
                "max_drop": targets["max_drop"],
                "visits": {"phase 1": len(first), "phase 2": len(searched) - len(first)},
                "phase 1": _state(start, budget),
                "phase 2": _state(end, budget),
                "end": {
                    "drop": final_drop,
                    "load": record["average_bits"] / 8 / targets["max_size"],
                },
            }
        )
    return rows


def _visit(entry: Mapping[str, Any], float_accuracy: float) -> Visit:
    return Visit(
        label=entry["label"],
        bits={},
        drop=float_accuracy - entry["validation_accuracy"],
        use={Resource.SIZE: entry["relative_size"]},
        cost=LayerCost(energy_pj=entry["energy_pj"] or 0.0),
    )


def _state(visit: Visit, budget: Budget) -> dict[str, Any]:
    return {
        "drop": visit.drop,
        "load": budget.load(visit.use),
        "size_met": budget.uses_met(visit.use),
        "met": budget.met(drop=visit.drop, use=visit.use),
    }


def mended(rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Count, way by way, the searches that miss targets after phase 1, and what becomes of them."""
    groups: dict[tuple[str, bool], list[Mapping[str, Any]]] = {}
    for row in rows:
        groups.setdefault((row["way"], row["trains"]), []).append(row)
    return [
        {"way": name, "trains": trains, "searches": len(found), **_counts(found)}
        for (name, trains), found in sorted(groups.items())
    ]


def _counts(rows: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    missed = [row for row in rows if not row["phase 1"]["met"]]
    over = [row for row in missed if not row["phase 1"]["size_met"]]
    return {
        "missed after phase 1": len(missed),
        "of these met after phase 2": sum(row["phase 2"]["met"] for row in missed),
        "over the size after phase 1": len(over),
        "of these within it after phase 2": sum(row["phase 2"]["size_met"] for row in over),
    }
