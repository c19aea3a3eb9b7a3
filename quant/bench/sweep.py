"""What the decisions that the paper leaves open do: sigmaquant with one changed at a time."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from quant.bench.catalogue import MODELS, SEEDS, SWEEP, SWEEP_BITS, way
from quant.bench.cells import Cell
from quant.bench.document import document, write_document
from quant.bench.report import mean_text, origin, percent, table
from quant.bench.summary import NOISE, figures, mean_and_spread

Record = Mapping[str, Any]
Row = dict[str, Any]
DEFAULT = SWEEP[0].name
FIGURES = ("accuracy", "average_bits", "energy_pj", "visits")


def sweep_cells() -> list[Cell]:
    """Return every cell of the sweep."""
    return [
        Cell(model=model, trains=True, way=choice.name, average_bits=SWEEP_BITS, seed=seed)
        for model in MODELS
        for choice in SWEEP
        for seed in SEEDS
    ]


def rows_of(records: Mapping[Cell, Record]) -> list[Row]:
    """Return a row for every decision and network, over the seeds that there are.

    ``gain`` is the accuracy over that of the defaults, mean over the seeds that both have.
    """
    rows = []
    for model in MODELS:
        for choice in SWEEP:
            found = {
                c.seed: r for c, r in records.items() if (c.model, c.way) == (model, choice.name)
            }
            if not found:
                continue
            plain = {c.seed: r for c, r in records.items() if (c.model, c.way) == (model, DEFAULT)}
            gains = [
                record["accuracy"]["searched"] - plain[seed]["accuracy"]["searched"]
                for seed, record in found.items()
                if seed in plain
            ]
            each = [{**figures(r), "visits": len(r["visits"])} for r in found.values()]
            rows.append(
                {
                    "model": model,
                    "way": choice.name,
                    "seeds": len(found),
                    "met": sum(r["targets_met"]["all"] for r in found.values()),
                    "gain": mean_and_spread(gains) if gains else None,
                    **{
                        name: mean_and_spread([float(one[name]) for one in each])
                        for name in FIGURES
                    },
                }
            )
    return rows


def write_sweep(records: dict[Cell, Any], wanted: int, *, report: Path, command: str) -> str:
    """Write bench-sweep.json and .md; returns what was written."""
    content = document(records, wanted, command, rows=rows_of(records))
    write_document(content, markdown(content), report)
    return f"{report}.json, .md"


def markdown(content: Mapping[str, Any]) -> str:
    """Return the table of a sweep's content."""
    places = {(row["model"], row["way"]): row for row in content["rows"]}
    models = [model for model in MODELS if any(row["model"] == model for row in content["rows"])]
    columns = ("top-1 %", "mean bits", "array energy uJ", "visits", "met")
    lines = [["", *(f"{model}: {column}" for model in models for column in columns)]]
    for choice in SWEEP:
        found = [places.get((model, choice.name)) for model in models]
        if any(found):
            lines.append([choice.name, *(text for row in found for text in _shown(row))])
    drop, size = 100 * way(DEFAULT).max_drop, SWEEP_BITS / 8
    about = (
        f"sigmaquant with QAT within a drop of {drop:g} point and {size:g} of the size, one "
        "decision (`quant.decisions.Decisions`) at a time other than by default. Bold: accuracies "
        f"more than {100 * NOISE:g} points from those of the defaults. *Met*: searches whose test "
        "accuracy and size keep both targets."
    )
    parts = [origin(content), about, *([table(lines)] if models else [])]
    return "\n\n".join(parts) + "\n"


def _shown(row: Row | None) -> list[str]:
    if row is None:
        return [""] * 5
    gain = row["gain"]
    top_1 = percent(row["accuracy"])
    far = gain is not None and abs(gain["mean"]) > NOISE
    return [
        f"**{top_1}**" if far else top_1,
        mean_text(row["average_bits"]),
        mean_text(row["energy_pj"], 1e-6),
        mean_text(row["visits"]),
        f"{row['met']} of {row['seeds']}",
    ]
