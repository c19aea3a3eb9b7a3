"""What the benchmark runs over: networks, ways to choose bits, budgets, seeds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from quant.decisions import Decisions

MODELS = ("resnet8", "dscnn")
SEEDS = (0, 1, 2)
AVERAGE_BITS = (2.1, 2.5, 3.0, 4.0)
"""Budgets of size: mean bits of a weight."""
UNIFORM_BITS = (2, 4, 6, 8)
POINT = 0.01
"""A drop of accuracy by one point."""


class Kind(Enum):
    """What a way to choose bits is."""

    SEARCH = "a method of python -m quant.search"
    UNIFORM = "the same bits for every layer"
    MAP = "a map of another tool or by hand, replayed"
    ORDER = "no bits: how measures order the layers"


@dataclass(frozen=True, kw_only=True)
class Way:
    """A way to choose bits.

    Parameters
    ----------
    name : str
        In tables and files.
    kind : Kind
        What it is.
    options : tuple of (str, value)
        Of the search (`quant.options.Options`).
    max_drop : float
        Its target of accuracy: 0 asks for the best accuracy within the size.
    modes : tuple of bool
        Whether to run it untrained (False) and trained (True).
    """

    name: str
    kind: Kind
    options: tuple[tuple[str, Any], ...] = ()
    max_drop: float = 0.0
    modes: tuple[bool, ...] = (False, True)


def _search(
    name: str,
    method: str,
    *,
    aim: str | None = None,
    sensitivity: str | None = None,
    max_drop: float = 0.0,
) -> Way:
    options = {"method": method, "aim": aim, "sensitivity": sensitivity}
    given = tuple((key, value) for key, value in options.items() if value is not None)
    return Way(name=name, kind=Kind.SEARCH, options=given, max_drop=max_drop)


HAND = "by hand"
_UNIFORMS = tuple(Way(name=f"uniform {bits}", kind=Kind.UNIFORM) for bits in UNIFORM_BITS)

WAYS = (
    _search("auto", "auto", aim="accuracy"),
    Way(name="mct", kind=Kind.MAP),
    Way(name="modelopt", kind=Kind.MAP),
    Way(name=HAND, kind=Kind.MAP),
    *_UNIFORMS,
    _search("auto 1pt", "auto", max_drop=POINT),
    _search("sigmaquant 1pt", "sigmaquant", max_drop=POINT),
    Way(name="order", kind=Kind.ORDER, modes=(False,)),
    _search("greedy", "greedy"),
    _search("milp kl", "milp", sensitivity="kl"),
    _search("milp hessian", "milp", sensitivity="hessian"),
    _search("milp fisher", "milp", sensitivity="fisher"),
    Way(name="modelopt-kl", kind=Kind.MAP),
    Way(name="mct-hessian", kind=Kind.MAP),
    Way(name="modelopt-248", kind=Kind.MAP),
    Way(name="mct-248", kind=Kind.MAP),
)
"""The most important ones first. ``1pt``: the cheapest within a drop of a point, as the paper asks;
all others: the best accuracy within the size."""


SWEEP_BITS = 3.0
"""Budget of the sweep."""

SWEPT: Mapping[str, tuple[Any, Any]] = {
    "buffer": ("conservative", "aggressive"),
    "first_lambda": (0.0, 1.0),
    "layers_per_step": (1, 4),
    "patience": (2, 8),
    "margin": (0.0, 0.006),
    "recovery": (0.0, 0.012),
}
"""Values of `quant.decisions.Decisions` below and above what they are by default."""


def _decided(name: str, **changed: Any) -> Way:
    options = (("method", "sigmaquant"), ("decisions", Decisions(**changed)))
    return Way(name=name, kind=Kind.SEARCH, options=options, max_drop=POINT, modes=(True,))


SWEEP = (
    _decided("default"),
    *(
        _decided(f"{decision}={value}", **{decision: value})
        for decision, values in SWEPT.items()
        for value in values
    ),
)
"""sigmaquant with one decision other than by default."""


def way(name: str) -> Way:
    """Return a way by name."""
    return next(known for known in (*WAYS, *SWEEP) if known.name == name)
