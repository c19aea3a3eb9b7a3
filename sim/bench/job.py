"""What a bench is to do: passed from pytest to the simulator's process as JSON."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

from hw.config import ArrayConfig, PEKind, Stage
from sim.bench.pace import Pace


@dataclass(frozen=True, kw_only=True)
class ArrayJob:
    """A run of the array's bench.

    Parameters
    ----------
    config : ArrayConfig
        The array.
    seed : int
        Of operands and stalls.
    tiles : int
        Random tiles under each pair of stalls.
    deepest : bool
        Whether the longest dot products of extreme operands are run, too.
    """

    config: ArrayConfig
    seed: int
    tiles: int
    deepest: bool = True

    def to_json(self) -> str:
        """Serialise."""
        return json.dumps(asdict(self), default=lambda member: member.value)

    @classmethod
    def from_json(cls, text: str) -> ArrayJob:
        """Parse what `to_json` wrote."""
        fields = json.loads(text)
        config = fields.pop("config")
        config["pe"] = PEKind(config["pe"])
        if config["registers"] is not None:
            config["registers"] = tuple(Stage(stage) for stage in config["registers"])
        return cls(config=ArrayConfig(**config), **fields)


@dataclass(frozen=True, kw_only=True)
class RegisterJob:
    """A run of the bench of the accelerator's shell.

    Parameters
    ----------
    config : str
        Name in `hw.catalog`.
    idle, back_pressure : Pace
        Of what the host offers and takes.
    seed : int
        Of data and pauses.
    """

    config: str
    idle: Pace
    back_pressure: Pace
    seed: int

    def to_json(self) -> str:
        """Serialise."""
        return json.dumps(asdict(self), default=lambda pace: pace.name)

    @classmethod
    def from_json(cls, text: str) -> RegisterJob:
        """Parse what `to_json` wrote."""
        fields = json.loads(text)
        for name in ("idle", "back_pressure"):
            fields[name] = Pace[fields[name]]
        return cls(**fields)
