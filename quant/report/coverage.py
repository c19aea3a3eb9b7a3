"""What proofs of a kind of PE are about: widths and lanes, read from their claims."""

from __future__ import annotations

import re
from collections.abc import Sequence

from quant.report.records import Proof

ACTIVATIONS = re.compile(r"(\d+)-bit activation")
LANES = re.compile(r"(\d+) lanes?\b")
GROUPS = {"product": "products", "sums": "sums of a step's products"}
"""Of `sim.formal`, by the first word of a proof's name, in words."""
HOW = {"prove": "by induction", "bmc": "to a bounded depth"}


def covered(proofs: Sequence[Proof], *, lanes: int, act_bits: int) -> str:
    """Say what some proofs of a kind of PE cover, beside the array of a run.

    Parameters
    ----------
    proofs : sequence of Proof
        Those of the kind that hold.
    lanes, act_bits : int
        Of the run's array.

    Returns
    -------
    str
        Sentences, with a blank before them; empty if the claims tell no widths.
    """
    groups: dict[str, list[Proof]] = {}
    for proof in proofs:
        if ACTIVATIONS.search(proof.claim):
            groups.setdefault(proof.name.split("-")[0], []).append(proof)
    if not groups:
        return ""
    parts = [_said(name, found) for name, found in groups.items()]
    wide = "" if lanes == 1 else "s"
    return (
        f" They cover {'; '.join(parts)}. The array of this run has {lanes} lane{wide} and "
        f"{act_bits}-bit activations."
    )


def _said(name: str, proofs: Sequence[Proof]) -> str:
    widths, lanes = (
        sorted({int(found) for proof in proofs for found in pattern.findall(proof.claim)})
        for pattern in (ACTIVATIONS, LANES)
    )
    how = " and ".join(HOW.get(method, method) for method in sorted({p.method for p in proofs}))
    text = f"{GROUPS.get(name, name)} of {_listed(widths)}-bit activations"
    if lanes:
        text += f" on {_listed(lanes)} lane{'' if lanes == [1] else 's'}"
    return f"{text} ({how})"


def _listed(values: Sequence[int]) -> str:
    return " and ".join(map(str, values))
