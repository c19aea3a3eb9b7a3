"""What was proven, as JSON and as a table."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hw.files import write_json, write_text
from sim.formal.sby import Outcome


def line(outcome: Outcome) -> str:
    """One line: name, result, method, seconds, claim; what failed in its place if it failed."""
    proof = outcome.proof
    result = "proven" if outcome.passed else "FAILED"
    text = proof.claim if outcome.passed else outcome.reason
    return f"{proof.name:38} {result} {proof.how:18} {outcome.seconds:6.1f} s  {text}"


def write(outcomes: Sequence[Outcome], folder: Path) -> None:
    """Write `formal.json` and `formal.md`, whole or not at all."""
    rows = [
        {
            "name": o.proof.name,
            "claim": o.proof.claim,
            "method": o.proof.method.value,
            "depth": o.proof.depth,
            "passed": o.passed,
            "reason": o.reason,
            "seconds": round(o.seconds, 1),
        }
        for o in outcomes
    ]
    table = ["| proof | claim | how | result | seconds |", "|---|---|---|---|---|"]
    table += [
        f"| {o.proof.name} | {o.proof.claim} | {o.proof.how} | "
        f"{'proven' if o.passed else 'FAILED: ' + o.reason} | {o.seconds:.1f} |"
        for o in outcomes
    ]
    write_json(folder / "formal.json", rows, indent=1)
    write_text(folder / "formal.md", "\n".join(table) + "\n")
