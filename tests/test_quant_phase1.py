"""Sigma clustering against exhaustive search; zones, budgets and their edges."""

import itertools
from typing import Any

import numpy as np
import pytest

from hw.precision import WeightMode
from quant.budget import Budget
from quant.resources import Resource
from quant.sigma import _cluster_sizes, assign_bits, objective
from quant.zones import BUFFERS, Buffer, Zone, classify, inside_a_buffer

BUDGET = Budget(max_drop=0.01, limits={Resource.SIZE: 0.4, Resource.ENERGY: 100.0})
BUFFER = Buffer(size=0.8, accuracy=0.005)


def test_clusters_that_stand_apart_are_found() -> None:
    sigma = {"a": 0.9, "b": 0.1, "c": 0.11, "d": 0.5, "e": 0.3, "f": 0.91}
    bits = {name: mode.bits for name, mode in assign_bits(sigma, balance=0.0).items()}
    assert bits == {"a": 8, "b": 2, "c": 2, "d": 6, "e": 4, "f": 8}


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("balance", [0.0, 0.1, 0.3])
def test_clusters_are_optimal(seed: int, balance: float) -> None:
    x = np.sort(np.random.default_rng(seed).normal(size=9))
    options = (s for s in itertools.product(range(10), repeat=4) if sum(s) == 9)
    best = min(objective(x, sizes, balance=balance) for sizes in options)
    found = objective(x, _cluster_sizes(x, clusters=4, balance=balance), balance=balance)
    assert found == pytest.approx(best, abs=1e-9)


def test_objective_is_the_papers() -> None:
    x = np.array([0.0, 2.0, 5.0])
    # clusters {0, 2} and {5}: spread 2 and 0; sizes miss 1.5 by 0.5 each
    assert objective(x, (2, 1), balance=0.4) == pytest.approx(2 + 0.4 * 0.5)


def test_enough_balance_pressure_makes_equal_clusters() -> None:
    sigma = {str(i): value for i, value in enumerate([1, 2, 3, 4, 5, 6, 7, 100])}
    modes = list(assign_bits(sigma, balance=100.0).values())
    assert [modes.count(mode) for mode in WeightMode] == [2, 2, 2, 2]


def test_larger_sigma_never_gets_fewer_bits() -> None:
    values = np.random.default_rng(1).uniform(size=20)
    bits = assign_bits({str(i): v for i, v in enumerate(values)}, balance=0.1)
    ordered = [bits[str(i)].bits for i in np.argsort(values)]
    assert ordered == sorted(ordered)


def test_equal_sigmas_are_balanced() -> None:
    modes = list(assign_bits(dict.fromkeys("abcd", 0.5), balance=0.1).values())
    assert sorted(mode.bits for mode in modes) == [2, 4, 6, 8]


def energy_of(size: float) -> dict[Resource, float]:
    """Miss the energy's limit by as much as a size misses its own, and keep the size's."""
    return {Resource.SIZE: 0.1, Resource.ENERGY: 100 * size / 0.4}


@pytest.mark.parametrize(
    ("drop", "size", "zone"),
    [
        (0.010, 0.40, Zone.TARGET),
        (-0.02, 0.25, Zone.TARGET),
        (0.010, 0.45, Zone.ITERATION),
        (0.012, 0.40, Zone.ITERATION),
        (0.015, 0.50, Zone.ITERATION),
        (0.016, 0.40, Zone.BIT_INCREASE),
        (0.016, 0.50, Zone.BIT_INCREASE),
        (0.010, 0.51, Zone.BIT_DECREASE),
        (0.015, 0.51, Zone.BIT_DECREASE),
        (0.016, 0.51, Zone.ABANDON),
    ],
)
def test_zones_and_their_edges(drop: float, size: float, zone: Zone) -> None:
    for use in ({Resource.SIZE: size, Resource.ENERGY: 0.0}, energy_of(size)):
        load = BUDGET.load(use)
        assert classify(drop=drop, load=load, budget=BUDGET, buffer=BUFFER) is zone


@pytest.mark.parametrize(
    ("drop", "size", "inside"),
    [(0.015, 0.9, True), (0.2, 0.5, True), (0.016, 0.51, False)],
)
def test_phase_1_ends_inside_either_buffer(drop: float, size: float, inside: bool) -> None:
    load = BUDGET.load(energy_of(size))
    assert inside_a_buffer(drop=drop, load=load, budget=BUDGET, buffer=BUFFER) is inside


def test_the_papers_size_buffers_are_kept() -> None:
    sizes = {name: buffer.size for name, buffer in BUFFERS.items()}
    assert sizes == {"conservative": 0.85, "balanced": 0.75, "aggressive": 0.5}


DROP = "max_drop must be from 0 (no loss, the smallest that can be asked) to below 1, not "


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"max_drop": -0.01}, f"{DROP}-0.01"),
        ({"max_drop": float("nan")}, f"{DROP}nan"),
        ({"max_drop": 1.0}, f"{DROP}1"),
        ({"limits": {Resource.SIZE: 0.0}}, "max_size must be above 0, not 0"),
        ({"limits": {Resource.ENERGY: -1.0}}, "max_energy must be above 0, not -1"),
        ({"limits": {Resource.BOPS: float("nan")}}, "max_bops must be above 0, not nan"),
    ],
)
def test_impossible_budgets_are_refused(values: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the whole text is compared
        Budget(**values)
    assert str(caught.value) == text


def test_the_load_is_that_of_the_tightest_limit() -> None:
    budget = Budget(max_drop=0, limits={Resource.SIZE: 10.0, Resource.LATENCY: 4.0})
    use = {Resource.SIZE: 10.0, Resource.LATENCY: 5.0, Resource.ENERGY: 1e9}
    assert budget.load(use) == 1.25
    assert budget.worst(use) is Resource.LATENCY
    assert not budget.met(drop=0, use=use)
    assert budget.met(drop=0, use={**use, Resource.LATENCY: 4.0})
    assert Budget(max_drop=0).load(use) == 0
