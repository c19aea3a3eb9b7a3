"""What a search was asked for, checked."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from hw.precision import WeightMode
from quant.decisions import Decisions
from quant.menu import Policy
from quant.resources import Resource
from quant.rounding import Rounding
from quant.run_folder import STATE
from quant.scales import Scales
from quant.wishes import Wishes
from synth.table import CostTable


class Method(Enum):
    """How bits are chosen (`quant.methods`); the value is its name on the command line."""

    SIGMAQUANT = "sigmaquant"
    MILP = "milp"
    GREEDY = "greedy"
    UNIFORM = "uniform"
    AUTO = "auto"
    MAP = "map"


class Aim(Enum):
    """What `Method.AUTO` makes as good as it can within all targets."""

    COST = "cost"
    ACCURACY = "accuracy"


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Training steps of a search; each uniform allocation gets `total_steps`, too.

    Parameters
    ----------
    total_steps : int
        Steps of the searched network in all; 0 trains nothing (`--ptq-only`).
    probe_steps : int
        Steps of each visited allocation.
    search_share : float
        Share of the steps that visits may take; the final training gets the rest.
    batch : int
        Images per step.
    free_visits : int
        Visits at most where nothing is trained.
    scales : Scales
        Where the scales of weights come from in training.
    """

    total_steps: int = 400
    probe_steps: int = 20
    search_share: float = 0.4
    batch: int = 64
    free_visits: int = 40
    scales: Scales = Scales.MIN_MAX

    def __post_init__(self) -> None:
        """Check the ranges."""
        if self.total_steps < 2 and self.total_steps != 0:
            raise ValueError(f"qat_steps must be at least 2, not {self.total_steps}")

    @classmethod
    def of_steps(cls, steps: int, scales: Scales = Scales.MIN_MAX) -> Plan:
        """Return the plan of so many steps, at least 2.

        Raises
        ------
        ValueError
            If they are fewer.
        """
        if steps < 2:
            raise ValueError(f"qat_steps must be at least 2, not {steps}")
        probe_steps = max(1, min(20, steps // 20))
        return cls(total_steps=steps, probe_steps=probe_steps, scales=scales)

    @classmethod
    def untrained(cls) -> Plan:
        """Return the plan of post-training quantisation: calibration only."""
        return cls(total_steps=0, probe_steps=0)

    @property
    def trains(self) -> bool:
        """Whether anything is trained."""
        return self.total_steps > 0

    @property
    def probes(self) -> int:
        """Visits that may be made."""
        if not self.trains:
            return self.free_visits
        return int(self.total_steps * self.search_share / self.probe_steps)


@dataclass(frozen=True, kw_only=True)
class Request:
    """What was asked for, checked.

    Parameters
    ----------
    model : str
        Name of the network.
    wishes : Wishes
        The budgets.
    tables : tuple of (Path, CostTable)
        The hardware to choose from, each with its file.
    data : Path
        What `quant.sources.open_data` takes.
    out : Path
        Folder to write into.
    command : str
        The command line, for result.json.
    policy : Policy
        Precisions that layers may have.
    method : Method
        How bits are chosen.
    aim : Aim
        Of `Method.AUTO`.
    sensitivity : str
        Value of a `quant.sensitivity.Measure`, for `Method.MILP`.
    bits : mapping of str to WeightMode, optional
        The allocation of `Method.MAP`.
    acts : mapping of str to int
        Bits of activations of `Method.MAP`, by tensor.
    pareto : Resource, optional
        Walk the front of accuracy against this instead of one search.
    points : int
        Of that front.
    weights : Path, optional
        Weights other than the shipped ones.
    seed : int
        Of calibration and training.
    uniform : bool
        Whether uniform allocations are measured beside the result.
    workers : int
        Processes beside this one; 0 runs everything here.
    cluster : str
        Address of a Dask scheduler whose workers are used instead, if given.
    device : str
        ``cpu`` or ``cuda``: where networks are trained, calibrated and measured.
    plan : Plan
        Training steps.
    rounding : Rounding
        How weights become integers before any training.
    decisions : Decisions
        Of `Method.SIGMAQUANT`; margins hold for all.
    """

    model: str
    wishes: Wishes
    tables: tuple[tuple[Path, CostTable], ...]
    data: Path
    out: Path
    command: str
    policy: Policy
    method: Method = Method.SIGMAQUANT
    aim: Aim = Aim.COST
    sensitivity: str = "logit-kl"
    bits: dict[str, WeightMode] | None = None
    acts: dict[str, int] = field(default_factory=dict)
    pareto: Resource | None = None
    points: int = 8
    weights: Path | None = None
    seed: int = 0
    uniform: bool = True
    workers: int = 2
    cluster: str = ""
    device: str = "cpu"
    rounding: Rounding = Rounding.SENSITIVITY
    plan: Plan = field(default_factory=Plan)
    decisions: Decisions = field(default_factory=Decisions)

    @property
    def state(self) -> Path:
        """Folder of the steps that are done; gone once the result is written."""
        return self.out / STATE
