"""Phase 2 on a made-up network whose accuracy and cost are simple functions of the bits."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
import torch

from hw.precision import WeightMode
from quant.budget import Budget
from quant.decisions import Decisions
from quant.divergence import divergence, scores
from quant.objective import Objective, best_known
from quant.refine import Problem, refine
from quant.resources import Resource
from quant.visits import OutOfStepsError, Visit, best_visit
from synth.table import LayerCost

torch.set_num_threads(1)

Bits = Mapping[str, WeightMode]


def sized(max_drop: float, max_size: float) -> Budget:
    """Limit the size, relative to 8 bit."""
    return Budget(max_drop=max_drop, limits={Resource.SIZE: max_size})


NAMES = "abcd"
SCORE = {"a": 8.0, "b": 4.0, "c": 2.0, "d": 1.0}
"""Layer a is the most sensitive; each step down raises a score by half."""


def problem(budget: Budget, **decisions: Any) -> Problem:
    return Problem(
        budget=budget,
        scores={n: {m: SCORE[n] * 1.5 ** (4 - m.value) for m in WeightMode} for n in NAMES},
        price={n: {m: 10.0 * m.bits for m in WeightMode} for n in NAMES},
        decisions=Decisions(**{"margin": 0.0, "recovery": 0.0, **decisions}),
    )


class Laboratory:
    """Each step below 8 bit costs a layer its share of accuracy; counts what it is asked."""

    def __init__(self, loss: dict[str, float], steps: int = 100) -> None:
        self.loss = loss
        self.steps = steps

    def __call__(self, bits: Bits, label: str, start: Visit | None) -> Visit:
        if self.steps == 0:
            raise OutOfStepsError
        self.steps -= 1
        drop = sum(self.loss[n] * (4 - mode.value) for n, mode in bits.items())
        total = sum(mode.bits for mode in bits.values())
        cost = LayerCost(size_bits=total, array_energy_pj=10.0 * total)
        return Visit(
            label=label, bits=dict(bits), drop=drop, use={Resource.SIZE: total / 32}, cost=cost
        )


def bits_of(text: str) -> Bits:
    return {n: WeightMode.from_bits(int(c)) for n, c in zip(NAMES, text, strict=True)}


def path(visits: list[Visit]) -> list[str]:
    return ["".join(str(mode.bits) for mode in visit.bits.values()) for visit in visits]


def searched(
    start: str, budget: Budget, loss: dict[str, float], *, steps: int = 100, **settings: Any
) -> list[Visit]:
    laboratory = Laboratory(loss, steps)
    visits = [laboratory(bits_of(start), "start", None)]
    refine(visits, problem(budget, **settings), laboratory)
    return visits


HARMLESS = dict.fromkeys(NAMES, 0.0)


def test_over_size_takes_two_bits_from_the_two_layers_of_lowest_score() -> None:
    visits = searched("8888", sized(0.5, 0.5), HARMLESS, steps=2)
    assert path(visits) == ["8888", "8866"]
    assert visits[1].label == "phase 2: size"


def test_inaccurate_adds_two_bits_to_the_two_layers_of_highest_score() -> None:
    loss = dict.fromkeys(NAMES, 0.1)
    visits = searched("2222", sized(0.0, 1), loss, steps=2)
    assert path(visits) == ["2222", "4422"]
    assert visits[1].label == "phase 2: accuracy"


def test_a_narrow_miss_moves_one_layer() -> None:
    visits = searched("6644", sized(0.5, 0.6), HARMLESS, steps=2)
    assert path(visits) == ["6644", "6642"]


def test_both_targets_are_reached_where_they_can_be() -> None:
    loss = {"a": 0.02, "b": 0.0, "c": 0.0, "d": 0.0}
    visits = searched("8888", sized(0.01, 0.5), loss)
    best = best_visit(visits, sized(0.01, 0.5), margin=0)
    assert path([best]) == ["8222"]


def test_slack_is_spent_on_energy_until_a_target_breaks() -> None:
    loss = {"a": 0.1, "b": 0.1, "c": 0.0, "d": 0.0}
    visits = searched("8866", sized(0.01, 1), loss)
    boldest = problem(sized(0.01, 1)).boldest(visits)
    assert boldest is not None
    assert path([boldest]) == ["8822"]
    assert {visit.label for visit in visits[1:]} == {"phase 2: energy"}


def test_recovery_lets_slack_go_beyond_the_target_and_no_further() -> None:
    loss = dict.fromkeys(NAMES, 0.004)
    budget = sized(0.01, 1)
    strict = searched("8888", budget, loss)
    lenient = searched("8888", budget, loss, recovery=0.01)
    drops = [
        visit.drop
        for visit in (
            problem(budget).boldest(strict),
            problem(budget, recovery=0.01).boldest(lenient),
        )
        if visit is not None
    ]
    assert drops == pytest.approx([0.008, 0.02])


def test_no_allocation_is_visited_twice() -> None:
    loss = {"a": 0.01, "b": 0.01, "c": 0.01, "d": 0.01}
    visits = searched("8642", sized(0.012, 0.45), loss)
    assert len(set(path(visits))) == len(visits)


def test_an_unreachable_target_ends_by_patience() -> None:
    loss = dict.fromkeys(NAMES, 0.2)
    visits = searched("8888", sized(0.0, 0.25), loss, patience=2)
    assert len(visits) < 12


def test_steps_that_run_out_end_the_phase_quietly() -> None:
    visits = searched("8888", sized(0.5, 0.25), HARMLESS, steps=3)
    assert len(visits) == 3


def test_the_cap_on_steps_holds() -> None:
    visits = searched("8888", sized(0.5, 0.25), HARMLESS, max_steps=4)
    assert len(visits) == 5


def visit(drop: float, size: float, energy: float) -> Visit:
    return Visit(
        label="",
        bits={},
        drop=drop,
        use={Resource.SIZE: size},
        cost=LayerCost(array_energy_pj=energy),
    )


def test_best_visit_prefers_a_margin_then_targets_then_the_smaller_miss() -> None:
    budget = sized(0.01, 0.4)
    spare, dear = visit(0.005, 0.4, 2.0), visit(0.001, 0.4, 3.0)
    met, missed, far = visit(0.009, 0.3, 1.0), visit(0.011, 0.3, 1.0), visit(0.0, 0.8, 1.0)
    assert best_visit([far, missed, met, dear, spare], budget, margin=0.003) is spare
    assert best_visit([far, missed, met], budget, margin=0.003) is met
    assert best_visit([far, missed], budget, margin=0.003) is missed


def test_divergence_of_8_bit_is_the_unit_of_the_scores() -> None:
    weight = torch.randn(8, 200, generator=torch.Generator().manual_seed(0))
    found = scores(weight)
    assert found[WeightMode.W8] == 1
    assert found[WeightMode.W2] > found[WeightMode.W4] > found[WeightMode.W6] > 1


def test_divergence_does_not_depend_on_the_scale_of_a_channel() -> None:
    weight = torch.randn(4, 100, generator=torch.Generator().manual_seed(0))
    gains = torch.tensor([[1.0], [0.5], [4.0], [2.0]])
    for mode in WeightMode:
        assert divergence(weight * gains, mode) == pytest.approx(divergence(weight, mode), abs=1e-6)


def test_divergence_is_near_zero_where_the_grid_holds_the_weights_evenly() -> None:
    # weights that fill the 8-bit grid evenly, four to a step: nothing is lost by spreading
    weight = (torch.arange(-127 * 4, 127 * 4 + 1) / 4 + 1e-4).reshape(1, -1)
    assert divergence(weight, WeightMode.W8) < 1e-2 < divergence(weight, WeightMode.W2)


def test_steps_skip_precisions_that_the_hardware_lacks() -> None:
    laboratory = Laboratory(HARMLESS, 2)
    visits = [laboratory(bits_of("8888"), "start", None)]
    modes = (WeightMode.W2, WeightMode.W4, WeightMode.W8)
    refine(visits, replace(problem(sized(0.5, 0.3)), modes=modes), laboratory)
    assert path(visits) == ["8888", "8844"]


def test_the_objective_is_the_first_cost_that_every_layer_knows() -> None:
    known = LayerCost(size_bits=8, cycles=4, latency_ns=None, array_energy_pj=1.0)
    unknown = LayerCost(size_bits=8, cycles=4, latency_ns=None, array_energy_pj=None)
    assert best_known([known, known]) is Objective.ENERGY
    assert best_known([known, unknown]) is Objective.CYCLES
    assert Objective.CYCLES.of(unknown) == 4
    with pytest.raises(ValueError, match=r"^energy_pj must be known, but the cost table does not"):
        Objective.ENERGY.of(unknown)
