"""A comparison of kinds of PE as a person reads it: ratios to the baselines, goals, Markdown.

A document is the content of docs/compare.json, as `synth.compare` makes it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hw.catalog import named
from hw.config import PEKind
from synth.report import MODES

PAPER: dict[str, Any] = {
    "source": "SigmaQuant, arXiv 2602.22136: one MAC each, TSMC 28 nm, 0.9 V, 600 MHz, "
    "post-synthesis; relative to its INT8 MAC",
    "area": 0.777,
    "cycles": {"W8": 4.2, "W4": 2.0, "W2": 1.0},
    "um2_per_mac_per_cycle": {"W8": 3.3, "W4": 1.55, "W2": 0.78},
    "fj_per_mac": {"W4": 0.862, "W2": 0.75},
}
"""The paper's own figures of its shift-add MAC; ratios to its INT8 MAC."""

GOALS = {
    "int8_mac": {
        "fj_per_mac": {"W8": 0.80, "W4": 0.47, "W2": 0.25},
        "fj_per_mac_on_8_bit": {"W8": 0.80, "W4": 0.42, "W2": 0.19},
        "um2_per_mac_per_cycle": {"W8": 0.75, "W4": 0.38, "W2": 0.19},
        "min_period_ns": 1.0,
        "fastest_pe_ns": 1.0,
    },
    "int8_dot": {
        "fj_per_mac": {"W8": 0.95, "W4": 0.55, "W2": 0.32},
        "um2_per_mac_per_cycle": {"W8": 1.15, "W4": 0.58, "W2": 0.29},
        "min_period_ns": 1.0,
        "fastest_pe_ns": 1.0,
    },
}
"""Largest ratios to the baselines that the design allows its default kind."""


NOT_TRIED = (
    "Not tried: INT8 multipliers with registers inside, sums left in carry-save form across "
    "registers, other widest shifts of the shift-add MAC than 3. Variants are chosen by four "
    "recipes each, twelve (24 with a product) are tried on the chosen one."
)


def ratios(document: Mapping[str, Any], kind: str, baseline: str) -> dict[str, Any]:
    """Ratios of a kind's figures to a baseline's, at each mode."""
    ours, theirs = document["kinds"][kind], document["kinds"][baseline]
    by_mode = {
        figure: {
            mode.name: round(ours[figure][mode.name] / theirs[figure][mode.name], 3)
            for mode in MODES
        }
        for figure in ("um2_per_mac_per_cycle", "fj_per_mac")
    }
    eight = theirs["fj_per_mac"]["W8"]
    return by_mode | {
        "fj_per_mac_on_8_bit": {
            mode.name: round(ours["fj_per_mac"][mode.name] / eight, 3) for mode in MODES
        },
        "min_period_ns": round(ours["min_period_ns"] / theirs["min_period_ns"], 3),
        "fastest_pe_ns": round(_fastest(document, kind) / _fastest(document, baseline), 3),
    }


def _fastest(document: Mapping[str, Any], kind: str) -> float:
    """Shortest period of any netlist of any variant of a kind's PE, ns."""
    return float(min(row["min_period_ns"] for row in document["fronts"][kind]))


def goals(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Each goal of the design, what the default kind has, and whether it is met."""
    rows = []
    for baseline, wanted in GOALS.items():
        have = ratios(document, named("edge").array.pe.value, baseline)
        for figure, limit in wanted.items():
            limits = limit if isinstance(limit, dict) else {"": limit}
            for mode, most in limits.items():
                value = have[figure][mode] if mode else have[figure]
                rows.append(
                    {
                        "baseline": baseline,
                        "figure": figure,
                        "mode": mode,
                        "at_most": most,
                        "found": value,
                        "met": value <= most,
                    }
                )
    return rows


def markdown(document: Mapping[str, Any]) -> str:
    """Return the comparison as Markdown: all kinds, ratios to the baselines, the paper, goals."""
    modes = [mode.name for mode in MODES]
    header = ["kind", "array", "registers", "min period ns", "fastest PE ns"]
    header += [f"um2 per MAC/cycle {mode}" for mode in modes]
    header += [f"fJ per MAC {mode}" for mode in modes]
    lines = [
        f"{document['library']['name']}, {document['clock_period_ns']} ns, operands of "
        f"{document['operands']['name']}; {document['methods']}.",
        "",
        _row(header),
        "|---|---|---" + "|---:" * (len(header) - 3) + "|",
    ]
    for name, kind in document["kinds"].items():
        line = [name, "{rows}x{cols}x{lanes}".format(**kind["parameters"]), kind["registers"]]
        line += [f"{kind['min_period_ns']:.2f}", f"{_fastest(document, name):.2f}"]
        line += [f"{kind['um2_per_mac_per_cycle'][mode]:.0f}" for mode in modes]
        line += [f"{kind['fj_per_mac'][mode]:.0f}" for mode in modes]
        lines.append(_row(line))
    lines += [
        "",
        "Ratios to the baselines; energy on the same low-bit weights (on 8-bit ones):",
    ]
    header = ["kind", "to", *(f"area {mode}" for mode in modes), *(f"energy {m}" for m in modes)]
    header.append("**as the paper says** (its MAC to its INT8 MAC)")
    lines += ["", _row(header), "|---|---" + "|---:" * (len(header) - 2) + "|"]
    for name in document["kinds"]:
        kind_of_paper = document["kinds"][name]["parameters"]["pe"] == PEKind.SHIFT_ADD.value
        for baseline in GOALS:
            if name != baseline:
                have = ratios(document, name, baseline)
                line = [name, baseline]
                line += [f"{have['um2_per_mac_per_cycle'][mode]:.2f}" for mode in modes]
                line += [
                    f"{have['fj_per_mac'][mode]:.2f} ({have['fj_per_mac_on_8_bit'][mode]:.2f})"
                    for mode in modes
                ]
                paper = kind_of_paper and baseline == "int8_mac"
                lines.append(_row([*line, _paper(document["paper"]) if paper else ""]))
    lines += ["", f"The paper: {document['paper']['source']}.", "", "Goals of the design:", ""]
    lines.append(_row(["against", "figure", "mode", "at most", "found", ""]))
    lines.append("|---|---|---|---:|---:|---|")
    lines += [
        _row(
            [
                goal["baseline"],
                goal["figure"],
                goal["mode"],
                f"{goal['at_most']:.2f}",
                f"{goal['found']:.3f}",
                "met" if goal["met"] else "**missed**",
            ]
        )
        for goal in document["goals"]
    ]
    if not all(goal["met"] for goal in document["goals"]):
        tried = len(document["fronts"][named("edge").array.pe.value])
        lines += [
            "",
            f"Tried for what is missed: {tried} netlists of the PE in all places of registers "
            "(`fronts` in the JSON, the picture), and what ADR 9 lists as rejected.",
        ]
    lines += ["", NOT_TRIED]
    return "\n".join(lines)


def _paper(figures: Mapping[str, Any]) -> str:
    """Return the paper's ratios, W8 to W2; energies on 8-bit weights."""

    def each(name: str) -> str:
        found = (figures[name].get(mode.name) for mode in MODES)
        return " / ".join("-" if ratio is None else f"{ratio:.2f}" for ratio in found)

    return (
        f"area {each('um2_per_mac_per_cycle')}, energy ({each('fj_per_mac')}), cycles "
        f"{each('cycles')}"
    )


def _row(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"
