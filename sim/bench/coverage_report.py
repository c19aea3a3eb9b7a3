"""Coverage of several runs on one kind of PE: merged, told, judged. No simulator needed."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

Hits = dict[str, dict[str, int]]
"""Hits by cover point and bin."""


def merged(runs: Iterable[Hits]) -> Hits:
    """Add up hits of runs, whose bins may differ."""
    total: Hits = {}
    for run in runs:
        for point, bins in run.items():
            sums = total.setdefault(point, {})
            for name, count in bins.items():
                sums[name] = sums.get(name, 0) + count
    return total


def missing(hits: Hits) -> list[str]:
    """Bins without a hit, as ``point: bin``."""
    return [
        f"{point}: {name}"
        for point, bins in hits.items()
        for name, count in bins.items()
        if not count
    ]


def summary(hits: Hits) -> str:
    """Tell hit bins of all bins, by cover point, in one line."""
    parts = [f"{point} {sum(map(bool, bins.values()))}/{len(bins)}" for point, bins in hits.items()]
    bins = sum(len(bins) for bins in hits.values())
    share = 100 * (bins - len(missing(hits))) / bins
    return f"{share:.1f} % ({', '.join(parts)})"


def write(folder: Path, kind: str, hits: Hits) -> None:
    """Write a kind's hits as JSON, and the summary of all kinds whose hits are there."""
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(hits, indent=2) + "\n"
    (folder / f"{kind}.json").write_text(text, encoding="utf-8")
    lines = [
        f"{path.stem}: {summary(json.loads(path.read_text(encoding='utf-8')))}"
        for path in sorted(folder.glob("*.json"))
    ]
    (folder / "summary.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
