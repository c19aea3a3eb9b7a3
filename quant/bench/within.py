"""Who finds the cheapest within a drop of accuracy and a size: ours, or the paper's search."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from statistics import mean
from typing import Any

from quant.bench.cells import Cell
from quant.bench.summary import figures

Record = Mapping[str, Any]
OURS, PAPERS = "auto 1pt", "sigmaquant 1pt"


def within_a_point(records: Mapping[Cell, Record]) -> list[dict[str, Any]]:
    """Compare the two over all networks, budgets and seeds that both have.

    Returns
    -------
    list of dict
        Untrained and trained: number of searches of each; how many keep all targets on test
        images, of ours and of the paper's (``kept``), and of both (``both``); mean processor
        seconds of a search; of those that both keep our array energy over the paper's: mean,
        least, most, None without any.
    """
    rows = []
    for trains in (False, True):
        pairs = [
            (record, records[rival])
            for cell, record in records.items()
            if (cell.way, cell.trains) == (OURS, trains)
            and (rival := replace(cell, way=PAPERS)) in records
        ]
        if not pairs:
            continue
        kept = [[record["targets_met"]["all"] for record in pair] for pair in pairs]
        ratios = [
            figures(ours)["energy_pj"] / figures(papers)["energy_pj"]
            for (ours, papers), met in zip(pairs, kept, strict=True)
            if all(met) and "energy_pj" in figures(ours)
        ]
        rows.append(
            {
                "trains": trains,
                "searches": len(pairs),
                "kept": {OURS: sum(m[0] for m in kept), PAPERS: sum(m[1] for m in kept)},
                "both": sum(all(met) for met in kept),
                "cpu_seconds": {
                    name: mean(pair[place]["cpu_seconds"] for pair in pairs)
                    for place, name in enumerate((OURS, PAPERS))
                },
                "energy": {"mean": mean(ratios), "least": min(ratios), "most": max(ratios)}
                if ratios
                else None,
            }
        )
    return rows
