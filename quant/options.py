"""Options of `python -m quant.search`, and the request that they make."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from hw.precision import WeightMode
from quant.allocation import ACT_BITS, LEAST_ACT_BITS
from quant.catalogue import check_model, file_name
from quant.data import default_folder
from quant.decisions import Decisions
from quant.device import check_device
from quant.errors import QuantError
from quant.map_file import read_map
from quant.menu import Policy
from quant.request import Aim, Method, Plan, Request
from quant.resources import Limit, Resource, parse_limit
from quant.rounding import Rounding
from quant.scales import Scales
from quant.wishes import Wishes
from synth.table import CostTable

DEFAULT_TABLE = Path(__file__).parent.parent / "synth" / "tables" / "nangate45-default.json"
DEFAULT_SIZE = "0.4"
"""Limit of the size where no other resource is limited."""
POINTS = 8
"""Of a front, by default."""
MOST_SEED = (1 << 32) - 1
DEFAULT_SCALES = Scales.MIN_MAX
DEFAULT_ROUNDING = Rounding.SENSITIVITY
SENSITIVITIES = ("kl", "logit-kl", "hessian", "fisher")
FRONTS = (Resource.ENERGY, Resource.SIZE, Resource.LATENCY)


class Options(BaseModel):
    """Options as they were given; None stands for what was not."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str = "resnet8"
    max_drop: float = 0.01
    max_size: str | None = None
    max_energy: str | None = None
    max_latency: str | None = None
    max_bops: str | None = None
    max_area: str | None = None
    cost_table: tuple[Path, ...] = (DEFAULT_TABLE,)
    method: str | None = None
    aim: str | None = None
    sensitivity: str | None = None
    buffer: str | None = None
    decisions: Decisions = Decisions()
    map: Path | None = None
    ptq_only: bool = False
    pareto: str | None = None
    points: int | None = None
    modes: str | None = None
    first_last: str = "free"
    act_bits: str | None = None
    out: Path | None = None
    seed: int = 0
    data: Path | None = None
    weights: Path | None = None
    qat_steps: int = 400
    uniform: bool = True
    scales: str | None = None
    rounding: str = DEFAULT_ROUNDING.value
    workers: int = 2
    cluster: str = ""
    device: str = "cpu"

    @property
    def folder(self) -> Path:
        """Folder to write into."""
        kind = "" if self.pareto is None else "-front"
        return self.out or Path("runs") / f"{file_name(self.model)}{kind}-seed{self.seed}"

    def given(self) -> dict[str, Any]:
        """Return all that a command line can say."""
        return self.model_dump(exclude={"decisions"})

    def implied(self) -> dict[str, Any]:
        """Return what follows from options that were not given, except from a cost table."""
        found: dict[str, Any] = {}
        if self.data is None:
            found["data"] = default_folder()
        if self.pareto is not None:
            found["points"] = self.points or POINTS
        elif self.method is None and self.map is None:
            found["method"] = self._method().value
        if self.pareto is None and self._method() is Method.SIGMAQUANT:
            found["buffer"] = self.decisions.buffer
        if self.method == Method.AUTO.value:
            found["aim"] = Aim.COST.value
        if self.method == Method.MILP.value:
            found["sensitivity"] = self._sensitivity()
        if not self.ptq_only:
            found["scales"] = self.scales or DEFAULT_SCALES.value
        if self.max_size is None and Resource.SIZE in self._limits():
            found["max_size"] = DEFAULT_SIZE
        return {name: value for name, value in found.items() if getattr(self, name) is None}

    def request(self, *, command: str) -> Request:
        """Check all options.

        Parameters
        ----------
        command : str
            The command line, for result.json.

        Raises
        ------
        ValueError, QuantError, CostTableError
            One line on the first option that is wrong.
        """
        check_model(self.model)
        check_seed(self.seed)
        if self.weights is not None and not self.weights.is_file():
            raise QuantError(
                f"{self.weights}: weights must be a file, and there is none of this name"
            )
        tables = tuple((path, CostTable.load(path)) for path in self.cost_table)
        bits, acts = (None, {}) if self.map is None else read_map(self.map)
        policy = Policy(
            modes=_modes(self.modes),
            first_last=_first_last(self.first_last),
            act_bits=_act_bits(self.act_bits),
        )
        wishes = Wishes(max_drop=self.max_drop, limits=self._limits())
        self._check_act_bits(policy, wishes)
        if acts:  # those of the map need a price, whatever else is allowed
            known = policy.act_bits or (ACT_BITS,)
            policy = replace(policy, act_bits=tuple(sorted({*known, *acts.values()})))
        for _, table in tables:
            used = policy.on(table).used
            wishes.check_priced(table, used)
            if len(tables) > 1 and table.array.area_um2 is None:
                raise QuantError(
                    f"{table.name}: several cost tables must tell their area, not leave it out"
                )
        return Request(
            model=self.model,
            wishes=wishes,
            tables=tables,
            data=self.data or default_folder(),
            out=self.folder,
            command=command,
            policy=policy,
            method=self._method(),
            aim=self._aim(),
            sensitivity=self._sensitivity(),
            bits=bits,
            acts=acts,
            pareto=self._pareto(),
            points=self.points or POINTS,
            weights=self.weights,
            seed=self.seed,
            uniform=self.uniform,
            workers=self.workers,
            cluster=self.cluster,
            plan=self._plan(),
            device=check_device(self.device),
            rounding=self._rounding(),
            decisions=self._decisions(),
        )

    def _rounding(self) -> Rounding:
        known = [rounding.value for rounding in Rounding]
        if self.rounding not in known:
            raise QuantError(f"rounding must be one of {', '.join(known)}, not {self.rounding}")
        return Rounding(self.rounding)

    def _plan(self) -> Plan:
        if self.ptq_only and self.scales is not None:
            raise QuantError("scales must come without ptq-only, which trains nothing")
        if self.ptq_only:
            return Plan.untrained()
        known = [scales.value for scales in Scales]
        name = self.scales or DEFAULT_SCALES.value
        if name not in known:
            raise QuantError(f"scales must be one of {', '.join(known)}, not {name}")
        return Plan.of_steps(self.qat_steps, Scales(name))

    def _check_act_bits(self, policy: Policy, wishes: Wishes) -> None:
        """Refuse a choice of activation bits that nothing could make."""
        if len(policy.act_bits) < 2:
            return
        priced = {Resource.BOPS, Resource.ENERGY} & wishes.limits.keys()
        if not priced and self.pareto != Resource.ENERGY.value and self.map is None:
            raise QuantError(
                "act_bits must be one number, or come with max_bops, max_energy or --pareto "
                f"energy, which fewer bits serve, not {self.act_bits} alone"
            )
        if self._sensitivity() != "logit-kl":
            raise QuantError(
                "act_bits must be one number with this sensitivity, which activations have not; "
                f"take logit-kl, not {self.sensitivity}"
            )

    def _limits(self) -> dict[Resource, Limit]:
        given = {
            Resource.SIZE: self.max_size,
            Resource.ENERGY: self.max_energy,
            Resource.LATENCY: self.max_latency,
            Resource.BOPS: self.max_bops,
            Resource.AREA: self.max_area,
        }
        if all(text is None for text in given.values()):
            given[Resource.SIZE] = DEFAULT_SIZE
        return {r: parse_limit(text, r) for r, text in given.items() if text is not None}

    def _method(self) -> Method:
        if self.map is not None:
            if self.method is not None:
                raise QuantError(f"method must be left out with a map, not {self.method}")
            return Method.MAP
        known = [method.value for method in Method if method is not Method.MAP]
        name = self.method or Method.SIGMAQUANT.value
        if name not in known:
            raise QuantError(f"method must be one of {', '.join(known)}, not {name}")
        return Method(name)

    def _sensitivity(self) -> str:
        name = self.sensitivity or "logit-kl"
        if name not in SENSITIVITIES:
            raise QuantError(f"sensitivity must be one of {', '.join(SENSITIVITIES)}, not {name}")
        if self.sensitivity is not None and self._method() is not Method.MILP:
            raise QuantError("sensitivity must come with --method milp, not with another method")
        return name

    def _aim(self) -> Aim:
        known = [aim.value for aim in Aim]
        name = self.aim or Aim.COST.value
        if name not in known:
            raise QuantError(f"aim must be one of {', '.join(known)}, not {name}")
        if self.aim is not None and (self.pareto or self._method() is not Method.AUTO):
            raise QuantError("aim must come with --method auto, or be left out")
        return Aim(name)

    def _decisions(self) -> Decisions:
        if self.buffer is None:
            return self.decisions
        if self.pareto is not None or self._method() is not Method.SIGMAQUANT:
            raise QuantError("buffer must come with --method sigmaquant, or be left out")
        return replace(self.decisions, buffer=self.buffer)

    def _pareto(self) -> Resource | None:
        if self.pareto is None:
            if self.points is not None:
                raise QuantError(f"points must come with pareto, not {self.points} alone")
            return None
        known = [resource.value for resource in FRONTS]
        if self.pareto not in known:
            raise QuantError(f"pareto must be one of {', '.join(known)}, not {self.pareto}")
        if self.method is not None or self.map is not None:
            raise QuantError("pareto must come without --method and --map: it is a method itself")
        if self.points is not None and self.points < 2:
            raise QuantError(f"points must be at least 2, not {self.points}")
        return Resource(self.pareto)


def check_seed(seed: int) -> None:
    """Refuse a seed that not every generator takes; one line."""
    if not 0 <= seed <= MOST_SEED:
        raise QuantError(f"seed must be from 0 to {MOST_SEED}, not {seed}")


def _modes(text: str | None) -> tuple[WeightMode, ...]:
    if text is None:
        return ()
    known = {str(mode.bits): mode for mode in WeightMode}
    asked = [part.strip() for part in text.split(",")]
    wrong = [part for part in asked if part not in known]
    if wrong:
        raise QuantError(f"modes must be some of 2,4,6,8 with commas between, not {text}")
    return tuple(mode for mode in WeightMode if str(mode.bits) in asked)


def _act_bits(text: str | None) -> tuple[int, ...]:
    if text is None:
        return ()
    known = {str(bits): bits for bits in range(LEAST_ACT_BITS, ACT_BITS + 1)}
    asked = [part.strip() for part in text.split(",")]
    if any(part not in known for part in asked):
        raise QuantError(f"act_bits must be some of {','.join(known)}, such as 8,4, not {text}")
    return tuple(sorted({known[part] for part in asked}))


def _first_last(text: str) -> WeightMode | None:
    if text == "free":
        return None
    known = {str(mode.bits): mode for mode in WeightMode}
    if text not in known:
        raise QuantError(f"first-last must be free or one of 2, 4, 6, 8, not {text}")
    return known[text]
