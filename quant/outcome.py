"""All that a search found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from hw.precision import WeightMode
from quant.budget import Budget
from quant.hardware import Candidate
from quant.quant_network import Snapshot
from quant.resources import Resource
from quant.visits import Visit


@dataclass(frozen=True, kw_only=True, eq=False)
class Trained:
    """A trained allocation.

    Parameters
    ----------
    snapshot : Snapshot
        Its state.
    validation : float
        Top-1 accuracy on the validation images.
    test : float
        Top-1 accuracy on the test images.
    """

    snapshot: Snapshot
    validation: float
    test: float


@dataclass(frozen=True, kw_only=True, eq=False)
class Outcome:
    """All that a search found.

    Parameters
    ----------
    visits : list of Visit
        In order, the final trainings last.
    chosen : Visit
        The best of them.
    float_validation, float_test : float
        Top-1 accuracies of the float network.
    searched : Trained
        The chosen allocation as it is returned.
    uniform : mapping of WeightMode to Trained
        The uniform allocations after as many steps.
    sigma : mapping of str to float
        Of each layer's weights.
    scores : mapping
        Normalised divergence of each layer at each precision.
    hardware : Candidate
        The hardware, with the network's layers priced on it.
    budget : Budget
        The targets.
    unreachable : mapping of Resource to float
        Limits that no allocation keeps, each with the least that one takes.
    max_area_um2 : float, optional
        Limit of the array's area.
    smallest_area_um2 : float, optional
        Least area among the tables to choose from.
    sensitivity : mapping, optional
        Of each layer at each precision, if the method has measured it.
    """

    visits: list[Visit]
    chosen: Visit
    float_validation: float
    float_test: float
    searched: Trained
    uniform: Mapping[WeightMode, Trained]
    sigma: Mapping[str, float]
    scores: Mapping[str, Mapping[WeightMode, float]]
    hardware: Candidate
    budget: Budget
    unreachable: Mapping[Resource, float]
    max_area_um2: float | None = None
    smallest_area_um2: float | None = None
    sensitivity: Mapping[str, Mapping[WeightMode, float]] | None = None
