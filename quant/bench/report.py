"""bench-search.md: the tables of the benchmark."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from quant.bench.catalogue import AVERAGE_BITS, WAYS, Kind, way
from quant.bench.summary import NOISE, OURS
from quant.bench.within import OURS as OURS_WITHIN
from quant.bench.within import PAPERS

Rows = Sequence[Mapping[str, Any]]
_MISSING = ""


def markdown(document: Mapping[str, Any]) -> str:
    """Return all tables.

    Parameters
    ----------
    document : mapping
        The content of bench-search.json.
    """
    parts = [f"{origin(document)} {_WAYS}"]
    groups = sorted({(row["model"], row["trains"]) for row in document["summary"]}, reverse=True)
    for model, trains in groups:
        rows = [r for r in document["summary"] if (r["model"], r["trains"]) == (model, trains)]
        training = "with QAT" if trains else "PTQ only"
        parts.append(f"## {model}, {training}")
        parts += [text for text in (_accuracies(rows), _uniforms(rows), _costs(rows)) if text]
        compared = [r for r in document["against"] if (r["model"], r["trains"]) == (model, trains)]
        if compared:
            parts.append(
                f"{OURS} minus the other, points (bold beyond {100 * NOISE:g}), and its array "
                f"energy over the other's:\n\n{_compared(compared)}"
            )
    if document["overall"]:
        parts.append(f"## Over all places\n\n{_OVERALL}\n\n{_overall(document['overall'])}")
    if document["within_a_point"]:
        parts.append(f"## Within a point\n\n{_WITHIN}\n\n{_within(document['within_a_point'])}")
    if document["taus"]:
        parts.append(f"## What orders the layers\n\n{_TAUS}\n\n{_taus(document['taus'])}")
    if document["phases"]:
        parts.append(f"## The two phases of sigmaquant\n\n{_phases(document)}")
    return "\n\n".join(parts) + "\n"


_WAYS = (
    "Budgets are mean bits of a weight. All ways end in the same backend; `mct`, `modelopt` and "
    "`by hand` are maps that it replays (Sony MCT, NVIDIA ModelOpt, and what one would write down "
    "for Brevitas)."
)

_OVERALL = (
    f"{OURS} beside every other way with a budget, over networks and budgets: means over seeds of "
    "its accuracy minus the other's, points, and of its array energy over the other's."
)

_WITHIN = (
    f"{OURS_WITHIN} and {PAPERS} ask for the cheapest within a drop of a point and each budget of "
    "size, on both networks with each seed. Targets are kept if test images and size say so; "
    f"energy: of {OURS_WITHIN} over that of {PAPERS} where both keep them, mean, least and most."
)

_TAUS = (
    "Kendall's tau of each measure, more of which is to mean more loss, with the loss measured "
    "when a layer alone goes to 2 or 4 bit (others 8, calibrated, not trained). `kl`: of weights; "
    "noise: minus SQNR; `hessian`, `fisher`: times the squared perturbation."
)


def origin(document: Mapping[str, Any]) -> str:
    """Return what ran where, and how much of it is done."""
    done, wanted = document["cells_done"], document["cells_wanted"]
    machines = "; ".join(
        f"{m['processor']}, {m['cores']} cores, Python {m['python']}, torch {m['torch']}"
        for m in document["machines"]
    )
    missing = "" if done == wanted else f" **{wanted - done} cells are missing.**"
    commits = Counter(c["measured_at"] for c in document["cells"] if "measured_at" in c)
    taken = "".join(f" {count} are taken over from {name}." for name, count in commits.items())
    return (
        f"`{document['command']}` on {machines}. {done} of {wanted} cells.{missing}{taken} "
        "Mean and sample standard deviation over seeds; test images."
    )


def _accuracies(rows: Rows) -> str:
    def shown(row: Mapping[str, Any]) -> str:
        return f"{percent(row['accuracy'])} at {row['average_bits']['mean']:.2f}"

    return _by_budget(rows, "top-1 % at mean bits", shown)


def _costs(rows: Rows) -> str:
    def shown(row: Mapping[str, Any]) -> str:
        figures = [row[name]["mean"] / 1e3 for name in ("energy_pj", "latency_ns") if name in row]
        return " / ".join(f"{value:.4g}" for value in figures)

    return _by_budget(rows, "array energy nJ / latency us at mean bits", shown)


def _compared(rows: Rows) -> str:
    def shown(row: Mapping[str, Any]) -> str:
        text = f"{100 * row['gain']['mean']:+.2f}{_spread(row['gain'])}"
        text = text if row["verdict"] == "tie" else f"**{text}**"
        return text if row["energy"] is None else f"{text}, {row['energy']['mean']:.2f}"

    return _by_budget(rows, "points, energy", shown)


def _overall(rows: Rows) -> str:
    lines = [["", "places", "win", "tie", "loss", "accuracy", "energy (mean)"]]
    for row in rows:
        gain, energy = row["gain"], row["energy"]
        lines.append(
            [
                f"{row['way']}, {'QAT' if row['trains'] else 'PTQ'}",
                *(str(row[name]) for name in ("places", "win", "tie", "loss")),
                f"{100 * gain['least']:+.2f} to {100 * gain['most']:+.2f}",
                f"{energy['least']:.2f} to {energy['most']:.2f} ({energy['mean']:.2f})"
                if energy
                else _MISSING,
            ]
        )
    return table(lines)


def _by_budget(rows: Rows, title: str, shown: Any) -> str:
    found = {(row["way"], row["budget_bits"]): shown(row) for row in rows}
    lines = [[title, *(f"{bits:g}" for bits in AVERAGE_BITS)]]
    for choice in WAYS:
        cells = [found.get((choice.name, bits), _MISSING) for bits in AVERAGE_BITS]
        if any(cells):
            lines.append([choice.name, *cells])
    return table(lines) if len(lines) > 1 else ""


def _uniforms(rows: Rows) -> str:
    lines = [["", "top-1 %", "array energy nJ / latency us"]]
    for row in rows:
        if way(row["way"]).kind is Kind.UNIFORM:
            costs = [row[n]["mean"] / 1e3 for n in ("energy_pj", "latency_ns") if n in row]
            shown = " / ".join(f"{value:.4g}" for value in costs)
            lines.append([row["way"], percent(row["accuracy"]), shown])
    return table(lines) if len(lines) > 1 else ""


def _taus(rows: Rows) -> str:
    columns = sorted({(row["model"], row["bits"], row["loss"]) for row in rows})
    names = list(dict.fromkeys(row["measure"] for row in rows))
    lines = [["measure", *(f"{m}, {b} bit, {loss.replace('_', '-')}" for m, b, loss in columns)]]
    by_place = {(r["measure"], r["model"], r["bits"], r["loss"]): r["tau"] for r in rows}
    for name in names:
        taus = [by_place.get((name, *column)) for column in columns]
        texts = [_MISSING if t is None else f"{t['mean']:.2f}{_spread(t, 1)}" for t in taus]
        lines.append([name, *texts])
    return table(lines)


def _within(rows: Rows) -> str:
    names = (OURS_WITHIN, PAPERS)
    lines = [
        [
            "",
            "searches",
            *(f"{name} keeps both" for name in names),
            "both do",
            "energy there",
            *(f"{name}: processor s" for name in names),
        ]
    ]
    for row in rows:
        found = row["energy"]
        energy = found and f"{found['mean']:.2f} ({found['least']:.2f} to {found['most']:.2f})"
        lines.append(
            [
                "QAT" if row["trains"] else "PTQ",
                str(row["searches"]),
                *(str(row["kept"][name]) for name in names),
                str(row["both"]),
                energy or _MISSING,
                *(f"{row['cpu_seconds'][name]:.0f}" for name in names),
            ]
        )
    return table(lines)


def _phases(document: Mapping[str, Any]) -> str:
    counts = document["mended"]
    names = [name for name in counts[0] if name not in ("way", "trains")]
    lines = [["", *names]]
    for row in counts:
        lines.append([_training(row), *(str(row[name]) for name in names)])
    groups: dict[tuple[str, ...], list[Mapping[str, Any]]] = {}
    for row in document["phases"]:
        place: tuple[str, ...] = (row["model"], _training(row), f"{row['budget_bits']:g}")
        groups.setdefault(place, []).append(row)
    states = [["network", "search", "mean bits", "after phase 1", "after phase 2", "end"]]
    for place, rows in groups.items():
        states.append([*place, *(_state(rows, name) for name in ("phase 1", "phase 2", "end"))])
    return (
        f"{table(lines)}\n\nDrop on validation images, points, and size over its limit, means "
        f"over seeds. Phase 2 starts from the best visit of phase 1; both are shortly trained, the "
        f"end fully.\n\n{table(states)}"
    )


def _training(row: Mapping[str, Any]) -> str:
    return f"{row['way']}, {'QAT' if row['trains'] else 'PTQ'}"


def _state(rows: Rows, name: str) -> str:
    drop = fmean(100 * row[name]["drop"] for row in rows)
    return f"{drop:.2f}, load {fmean(row[name]['load'] for row in rows):.2f}"


def percent(figure: Mapping[str, Any]) -> str:
    """Return a mean and its spread, fractions, in per cent."""
    return f"{100 * figure['mean']:.2f}{_spread(figure)}"


def mean_text(figure: Mapping[str, Any], factor: float = 1.0) -> str:
    """Return a mean and its spread, each times a factor."""
    return f"{factor * figure['mean']:.2f}{_spread(figure, factor)}"


def _spread(figure: Mapping[str, Any], factor: float = 100) -> str:
    return "" if figure["spread"] is None else f" ± {factor * figure['spread']:.2f}"


def table(lines: Sequence[Sequence[str]]) -> str:
    """Return a table in Markdown, the first line its head."""
    head, *rows = lines
    rule = ["---", *["---:"] * (len(head) - 1)]
    return "\n".join("| " + " | ".join(line) + " |" for line in (head, rule, *rows))
