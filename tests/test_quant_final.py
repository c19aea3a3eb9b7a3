"""The final training: of the boldest visit, and of a safer one if that fails."""

from dataclasses import dataclass, field, replace

import pytest

from quant.budget import Budget
from quant.decisions import Decisions
from quant.methods import final
from quant.refine import Problem
from quant.request import Plan
from quant.resources import Resource
from quant.visits import Visit
from synth.table import LayerCost

PROBLEM = Problem(
    budget=Budget(max_drop=0.01, limits={Resource.SIZE: 1.0}),
    scores={},
    price={},
    decisions=Decisions(margin=0.003, recovery=0.006),
)


def visit(label: str, *, drop: float, energy: float, size: float = 0.5) -> Visit:
    cost = LayerCost(size_bits=1, array_energy_pj=energy)
    return Visit(label=label, bits={}, drop=drop, use={Resource.SIZE: size}, cost=cost)


@dataclass
class Asked:
    """Part of a request."""

    plan: Plan = field(default_factory=Plan)


@dataclass
class Session:
    """Training wins so much of the drop back, and tells who got how many steps."""

    visits: list[Visit]
    wins: float
    steps_left: int = 100
    request: Asked = field(default_factory=Asked)
    told: list[tuple[str, int]] = field(default_factory=list)

    def finally_trained(self, start: Visit, steps: int) -> Visit:
        self.told.append((start.label, steps))
        self.steps_left -= steps
        return replace(start, drop=start.drop - self.wins)


VISITS = [
    visit("cheap", drop=0.0125, energy=1.0),
    visit("middle", drop=0.0085, energy=2.0),
    visit("dear", drop=0.006, energy=3.0),
    visit("too large", drop=0.0, energy=0.5, size=1.5),
]


@pytest.mark.parametrize(
    ("wins", "told", "found", "drop"),
    [
        # within 0.7 points after its first share: it gets the rest
        (0.006, [("cheap", 75), ("cheap", 25)], "cheap", 0.0005),
        # not within, but training won so much that the next dearer one will be
        (0.002, [("cheap", 75), ("middle", 25)], "middle", 0.0065),
        # training won hardly anything: the one that is within without it
        (0.0005, [("cheap", 75), ("dear", 25)], "dear", 0.0055),
    ],
)
def test_what_training_won_back_tells_who_gets_the_rest(
    wins: float, told: list[tuple[str, int]], found: str, drop: float
) -> None:
    session = Session(visits=list(VISITS), wins=wins)
    best = final(session, PROBLEM)  # type: ignore[arg-type]
    assert session.told == told
    assert best.label == found
    assert best.drop == pytest.approx(drop)


def test_the_best_one_gets_the_rest_where_none_can_be_expected_to_do() -> None:
    few = [visit("cheap", drop=0.0125, energy=1.0), visit("dear", drop=0.012, energy=3.0)]
    session = Session(visits=few, wins=0.001)
    assert final(session, PROBLEM).label == "dear"  # type: ignore[arg-type]
    assert session.told == [("cheap", 75), ("dear", 25)]


def test_nothing_is_trained_without_steps() -> None:
    session = Session(visits=list(VISITS), wins=0.006, request=Asked(plan=Plan.untrained()))
    assert final(session, PROBLEM).label == "dear"  # type: ignore[arg-type]
    assert session.told == []
