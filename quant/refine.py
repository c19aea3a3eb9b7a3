"""Phase 2 of SigmaQuant (arXiv 2602.22136): bits moved by divergence until all targets are met.

From the paper: inaccurate, +2 bits on the two layers of highest score (`quant.divergence`); over
the size, -2 bits on the two of lowest score; clamped to {2, 4, 6, 8}; then recalibration and a
short training; after several steps without improvement, roll back to the best and stop.

Ours, where the paper is silent:

- a layer's score is looked up at the precision that it has (inaccurate) or would get (over size);
- the zone (`quant.zones`) decides: BIT_INCREASE adds bits to two layers, BIT_DECREASE takes bits
  from two, ITERATION moves one layer (towards accuracy where both are missed), ABANDON goes back
  to the best visit and takes bits from one layer there;
- no allocation is visited twice: a layer that would repeat one is passed over;
- accuracy counts as met only with a margin, since validation images are a sample, and the drop
  of a visit may exceed its target by `recovery`, which the final training, longer than all visits
  together, is expected to win back; should it not, the best visit that met the targets as it was
  is returned;
- "over the size" is over any of the limited resources: load l > 1 (`quant.budget`), l <= 1 / b
  being a narrow miss; the two layers of lowest score lose bits whichever resource it is;
- once the targets are met, the slack is spent on energy: -2 bits on the layers of least increase
  of score per energy saved, two at a time and, from the first failure on, one at a time. A step
  that goes too far is undone, and a layer that failed alone is left as it is;
- a step of 2 bits is one to the next precision of the hardware, should it lack some of the four;
  where its cost table knows no energy, time or size takes its place (`quant.objective`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from hw.precision import WeightMode
from quant.budget import Budget
from quant.decisions import Decisions
from quant.objective import Objective
from quant.visits import Evaluate, OutOfStepsError, Visit, best_visit
from quant.zones import Zone, classify

Bits = Mapping[str, WeightMode]
PerMode = Mapping[str, Mapping[WeightMode, float]]
"""A figure for each layer at each precision."""


@dataclass(frozen=True, kw_only=True)
class Problem:
    """What phase 2 moves within.

    Parameters
    ----------
    budget : Budget
        The targets.
    scores : mapping
        Normalised divergence of each layer at each precision.
    price : mapping
        Cost of one inference of each layer at each precision, by the objective.
    decisions : Decisions
        Caps, margins and the buffer.
    modes : tuple of WeightMode
        Precisions that the hardware has, fewest bits first.
    objective : Objective
        The cost that is made small.
    fixed : frozenset of str
        Layers whose precision the user has set.
    """

    budget: Budget
    scores: PerMode
    price: PerMode
    decisions: Decisions
    modes: tuple[WeightMode, ...] = tuple(WeightMode)
    objective: Objective = Objective.ENERGY
    fixed: frozenset[str] = frozenset()

    def step(self, name: str, mode: WeightMode, step: int) -> WeightMode:
        """One precision of a layer up or down, clamped to those that it may have."""
        if name in self.fixed:
            return mode
        place = self.modes.index(mode) + step
        return self.modes[min(max(place, 0), len(self.modes) - 1)]

    def met(self, visit: Visit) -> bool:
        """Whether a visit meets all targets, the accuracy with the margin."""
        return self.budget.met(drop=visit.drop + self.decisions.margin, use=visit.use)

    def expected_drop(self, visit: Visit, recovery: float | None = None) -> float:
        """Drop after the final training, with the margin on top; see `promising`."""
        won = self.decisions.recovery if recovery is None else recovery
        return visit.drop + self.decisions.margin - won

    def promising(self, visit: Visit, recovery: float | None = None) -> bool:
        """Whether the final training can be expected to bring a visit within the targets.

        Parameters
        ----------
        visit : Visit
        recovery : float, optional
            Drop that the training is expected to win back, a fraction; that of the decisions.
        """
        return self.budget.met(drop=self.expected_drop(visit, recovery), use=visit.use)

    def boldest(self, visits: Iterable[Visit], recovery: float | None = None) -> Visit | None:
        """Return the promising visit of the lowest price, or none; `recovery` as in `promising`."""
        promising = [visit for visit in visits if self.promising(visit, recovery)]
        return min(promising, key=lambda visit: visit.price, default=None)

    def best(self, visits: Iterable[Visit]) -> Visit:
        """Return the best visit."""
        return best_visit(visits, self.budget, margin=self.decisions.margin)


def refine(visits: list[Visit], problem: Problem, evaluate: Evaluate) -> None:
    """Run phase 2 from the best visit so far, until it is done or out of steps.

    Parameters
    ----------
    visits : list of Visit
        Those of phase 1; the new ones are appended.
    problem : Problem
        Targets, scores and caps.
    evaluate : callable
        Measures an allocation.
    """
    cap = len(visits) + problem.decisions.max_steps
    try:
        _reach_targets(visits, problem, evaluate, cap)
        if problem.boldest(visits) is not None:
            _spend_slack(visits, problem, evaluate, cap)
    except OutOfStepsError:
        return


def _reach_targets(visits: list[Visit], problem: Problem, evaluate: Evaluate, cap: int) -> None:
    decisions = problem.decisions
    current, stale = problem.best(visits), 0
    while not problem.promising(current) and stale < decisions.patience and len(visits) < cap:
        zone = classify(
            drop=problem.expected_drop(current),
            load=problem.budget.load(current.use),
            budget=problem.budget,
            buffer=decisions.narrow,
        )
        if zone is Zone.ABANDON:
            current = problem.best(visits)
        count = decisions.layers_per_step
        if zone in (Zone.ITERATION, Zone.ABANDON):
            count = 1
        inaccurate = problem.expected_drop(current) > problem.budget.max_drop
        increase = zone is Zone.BIT_INCREASE or (zone is Zone.ITERATION and inaccurate)
        seen = [visit.bits for visit in visits]
        move = _increase if increase else _decrease
        bits = move(current.bits, problem, count=count, seen=seen)
        if bits is None:
            return
        worst = "accuracy" if increase else problem.budget.worst(current.use).value
        label = f"phase 2: {worst}"
        current = evaluate(bits, label, current)
        visits.append(current)
        stale = 0 if problem.best(visits) is current else stale + 1


def _spend_slack(visits: list[Visit], problem: Problem, evaluate: Evaluate, cap: int) -> None:
    current, count = problem.boldest(visits), problem.decisions.layers_per_step
    assert current is not None
    settled: set[str] = set()
    while len(visits) < cap:
        order = [name for name in _by_saving(current.bits, problem) if name not in settled]
        if not order:
            return
        chosen = order[:count]
        bits = {
            name: problem.step(name, mode, -1) if name in chosen else mode
            for name, mode in current.bits.items()
        }
        if any(bits == visit.bits for visit in visits):
            count, settled = 1, settled | ({chosen[0]} if len(chosen) == 1 else set())
            continue
        visit = evaluate(bits, f"phase 2: {problem.objective.label}", current)
        visits.append(visit)
        if problem.promising(visit):
            current = visit
        elif len(chosen) > 1:
            count = 1
        else:
            settled.add(chosen[0])


def _by_saving(bits: Bits, problem: Problem) -> list[str]:
    """Layers that can save something, least increase of score per unit saved first."""
    price = {}
    for name, mode in bits.items():
        lower = problem.step(name, mode, -1)
        saved = problem.price[name][mode] - problem.price[name][lower]
        if lower is not mode and saved > 0:
            price[name] = (problem.scores[name][lower] - problem.scores[name][mode]) / saved
    return sorted(price, key=lambda name: (price[name], name))


def _increase(bits: Bits, problem: Problem, *, count: int, seen: list[Bits]) -> Bits | None:
    scores = problem.scores
    order = sorted(bits, key=lambda name: (-scores[name][bits[name]], name))
    return _unseen(bits, order, problem, step=1, count=count, seen=seen)


def _decrease(bits: Bits, problem: Problem, *, count: int, seen: list[Bits]) -> Bits | None:
    scores = problem.scores
    order = sorted(bits, key=lambda name: (scores[name][problem.step(name, bits[name], -1)], name))
    return _unseen(bits, order, problem, step=-1, count=count, seen=seen)


def _unseen(
    bits: Bits, order: list[str], problem: Problem, *, step: int, count: int, seen: list[Bits]
) -> Bits | None:
    """Move the first `count` layers of `order` that lead to an allocation not yet seen."""
    order = [name for name in order if problem.step(name, bits[name], step) is not bits[name]]
    for first in range(len(order)):
        moved = order[first : first + count]
        candidate = {n: problem.step(n, m, step) if n in moved else m for n, m in bits.items()}
        if candidate not in seen:
            return candidate
    return None
