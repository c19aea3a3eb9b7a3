"""The benchmark of whole networks as Markdown, and how its target is met."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

LOSS = 0.3
"""Points that the sensitivity-aware method may lose on average at 4-bit weights."""
NAMES = {
    "nearest": "nearest",
    "gptq": "GPTQ",
    "act-order": "act-order",
    "sensitivity": "**sensitivity-aware**",
    "obq": "OBQ",
    "adaround": "AdaRound",
    "brevitas": "Brevitas GPTQ",
    "onnxruntime": "ONNX Runtime",
}

Cells = Sequence[Mapping[str, Any]]


def chosen(cells: Cells, **keys: Any) -> list[Mapping[str, Any]]:
    """Return the cells that have these values."""
    return [cell for cell in cells if all(cell[key] == value for key, value in keys.items())]


def targets(cells: Cells, floats: Mapping[str, float]) -> dict[str, Any]:
    """Judge the sensitivity-aware method at 4 bit: points lost on average, by network."""
    lost = {}
    for model, before in floats.items():
        found = chosen(cells, model=model, bits=4, method="sensitivity")
        lost[model] = 100 * (before - float(np.mean([cell["accuracy"] for cell in found])))
    return {
        "mean_loss_w4a8": lost,
        "limit": LOSS,
        "met": all(loss < LOSS for loss in lost.values()),
    }


def markdown(document: Mapping[str, Any]) -> str:
    """Write the tables of `docs/ptq-networks.md`."""
    cells, floats = document["cells"], document["float"]
    versions = {
        name: version
        for cell in cells
        if "versions" in cell
        for name, version in cell["versions"].items()
        if name != "torch"
    }
    tools = ", ".join(f"{name} {version}" for name, version in versions.items())
    lines = [
        "# Whole networks after post-training quantisation",
        "",
        f"Written by `{document['command']}`; {document['machine']}, one thread{_and(tools)}.",
        f"Activations of 8 bit, {document['calibration_images']} calibration images, the same for "
        "all; top-1 on the 10,000 test images, mean over seeds "
        f"{', '.join(map(str, document['seeds']))} (half of the spread); the standard error of one "
        "accuracy is 0.27 points.",
        "s: processor seconds of the whole quantisation, statistics included, test images apart.",
        *_left_out(document["peers_left_out"]),
        "",
        *_accuracies(cells, floats),
        "",
        *_seconds(cells),
        "",
        "What parts of the recipe are worth, seed 0:",
        "",
        *_parts(cells),
        "",
        *_target(document["targets"]),
    ]
    recipes = dict.fromkeys(
        (cell["method"], cell["model"], cell["recipe"]) for cell in cells if "recipe" in cell
    )
    lines += [f"{NAMES[name]}, {model}: {recipe}." for name, model, recipe in recipes]
    if any(name == "onnxruntime" for name, _, _ in recipes):
        lines.append(
            "ONNX Runtime's quantiser offers 8 and 4 bit; its graph runs without fusion, since the "
            "fused 8-bit kernels saturate on processors without VNNI."
        )
    return "\n".join(lines) + "\n"


def _and(tools: str) -> str:
    return f"; {tools}" if tools else ""


def _left_out(peers: Sequence[str]) -> list[str]:
    if not peers:
        return []
    names = ", ".join(NAMES[peer] for peer in peers)
    return [f"Peers left out, wholly or in part: {names} (`make bench-ptq PEERS=...` has them)."]


def _head(names: Sequence[str]) -> list[str]:
    return [
        f"| network | bits | {' | '.join(names)} |",
        f"|---|---:|{'---:|' * len(names)}",
    ]


def _widths(cells: Cells) -> list[tuple[str, int]]:
    return list(dict.fromkeys((cell["model"], cell["bits"]) for cell in cells))


def _accuracies(cells: Cells, floats: Mapping[str, float]) -> list[str]:
    lines = _head(["float", *NAMES.values()])
    for model, bits in sorted(_widths(cells), key=lambda pair: (pair[0], -pair[1])):
        shown = [f"{100 * floats[model]:.2f}"]
        for method in NAMES:
            found = chosen(cells, model=model, bits=bits, method=method)
            values = [100 * cell["accuracy"] for cell in found]
            half = (max(values) - min(values)) / 2 if values else 0.0
            shown.append(f"{np.mean(values):.2f} ({half:.2f})" if values else "-")
        lines.append(f"| {model} | {bits} | {' | '.join(shown)} |")
    return lines


def _seconds(cells: Cells) -> list[str]:
    lines = _head([f"{name}, s" for name in NAMES.values()])
    for model, bits in sorted(_widths(cells), key=lambda pair: (pair[0], -pair[1])):
        shown = []
        for method in NAMES:
            found = chosen(cells, model=model, bits=bits, method=method)
            values = [cell["seconds"] for cell in found]
            shown.append(f"{np.mean(values):.1f}" if values else "-")
        lines.append(f"| {model} | {bits} | {' | '.join(shown)} |")
    return lines


def _parts(cells: Cells) -> list[str]:
    methods = dict.fromkeys(cell["method"] for cell in cells if cell["method"] not in NAMES)
    methods = dict.fromkeys(["sensitivity", *methods])
    lines = _head(list(methods))
    for model, bits in sorted(_widths(cells), key=lambda pair: (pair[0], -pair[1])):
        shown = []
        for method in methods:
            found = chosen(cells, model=model, bits=bits, method=method, seed=0)
            shown.append(f"{100 * found[0]['accuracy']:.2f}" if found else "-")
        lines.append(f"| {model} | {bits} | {' | '.join(shown)} |")
    return lines


def _target(targets: Mapping[str, Any]) -> list[str]:
    lost = ", ".join(f"{name} {loss:.2f}" for name, loss in targets["mean_loss_w4a8"].items())
    verdict = "met" if targets["met"] else "missed"
    return [
        f"Sensitivity-aware at 4-bit weights loses on average: {lost} points "
        f"(limit {targets['limit']}: {verdict}).",
        "",
    ]
