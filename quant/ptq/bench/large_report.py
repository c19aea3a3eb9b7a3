"""The large networks' result as Markdown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def markdown(document: Mapping[str, Any]) -> str:
    """Write the tables of `docs/ptq-large.md`."""
    lines = [
        "# Large networks, post-training quantisation",
        "",
        f"Written by `{document['command']}`; {document['machine']}, one thread a network.",
        "Recipe of `python -m quant.ptq`: all weights W bit per channel, full range, steps fitted; "
        "activations 8 bit per tensor, their ranges as the column says; batch norms take up what "
        "quantisation changed.",
        "Agreement: share of held-out photographs on which the quantised network's first answer is "
        "the float network's; in brackets its standard error.",
        "SQNR: energy of the float logits over that of the error. Seconds: processor time; the "
        "statistics serve all methods.",
        "Peak: largest resident memory of the process that loads, quantises and judges.",
        "",
    ]
    for network in document["networks"]:
        lines += _network(network, document["limit_bytes"])
    return "\n".join(lines)


def _network(network: Mapping[str, Any], limit: int) -> list[str]:
    kinds = network["held_out"]
    labelled = network["cells"][0]["labelled"]
    judged = ", ".join(f"{count} {kind}" for kind, count in kinds.items())
    statistics = max(cell["statistics_seconds"] for cell in network["cells"])
    lines = [
        f"## {network['model']}",
        "",
        f"{network['layers']} layers, {network['parameters']:,} parameters. Calibrated on "
        f"{network['calibration']} photographs, judged on {judged}. "
        f"Peak {network['peak_bytes'] / 1e9:.2f} GB (limit {limit / 1e9:.0f}). Statistics "
        f"{statistics:.0f} s.",
        "",
    ]
    head = ["weights", "method", "ranges", *(f"agreement, {kind}" for kind in kinds), "SQNR dB"]
    lines += [
        _line([*head, f"right of {labelled}", "solve s", "norms and ranges s"]),
        "|---|---|---|" + "---:|" * (len(kinds) + 4),
    ]
    if labelled:
        best = str(network["cells"][0]["float_right"])
        lines.append(_line(["float", "", "", *("" for _ in kinds), "", best, "", ""]))
    lines += [_row(cell, list(kinds)) for cell in network["cells"]]
    sources = [
        f"{s['package']} ({s['registry']}): {s['files']} {s['kind']}"
        if "package" in s
        else f"folder {s['folder']}"
        for s in network["sources"]
    ]
    return [*lines, "", f"Found: {'; '.join(sources)}.", ""]


def _row(cell: Mapping[str, Any], kinds: list[str]) -> str:
    shares = []
    for kind in kinds:
        share, images = cell["kinds"][kind]["agreement"], cell["kinds"][kind]["images"]
        error = (share * (1 - share) / images) ** 0.5
        shares.append(f"{100 * share:.1f} % ({100 * error:.1f})")
    return _line(
        [
            f"W{cell['bits']}A8",
            cell["method"],
            cell["calibration"],
            *shares,
            f"{cell['sqnr_db']:.1f}",
            str(cell["right"]) if cell["labelled"] else "-",
            f"{cell['solve_seconds']:.1f}",
            f"{cell['calibrate_seconds']:.1f}",
        ]
    )


def _line(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"
