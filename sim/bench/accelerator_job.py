"""What the accelerator's bench is to do: passed from pytest to the simulator's process as JSON."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from enum import Enum
from typing import Any

from hw.accelerator_config import AcceleratorConfig
from hw.config import ArrayConfig, PEKind, Stage
from hw.mapping import ConvShape
from hw.precision import WeightMode
from sim.bench.layers import LayerSpec
from sim.bench.pace import Pace


@dataclass(frozen=True, kw_only=True)
class AcceleratorJob:
    """A run of layers, or of packets that must be refused.

    Parameters
    ----------
    config : AcceleratorConfig
        The accelerator.
    specs : tuple of LayerSpec
        Layers of one run.
    idle, back_pressure : Pace
        Of what the host offers and takes; cycles are compared where both are `Pace.NONE`.
    seed : int
        Of pauses and of malformed packets.
    malformed : bool
        Send malformed packets instead, one kind of error after the other, each before a good
        run of the layers.
    compare : bool
        Whether results are compared; not where the PEs are hollow.
    """

    config: AcceleratorConfig
    specs: tuple[LayerSpec, ...]
    idle: Pace = Pace.NONE
    back_pressure: Pace = Pace.NONE
    seed: int = 0
    malformed: bool = False
    compare: bool = True

    def to_json(self) -> str:
        """Serialise; enums by name."""
        return json.dumps(asdict(self), default=_name)

    @classmethod
    def from_json(cls, text: str) -> AcceleratorJob:
        """Parse what `to_json` wrote."""
        fields = json.loads(text)
        config = fields.pop("config")
        return cls(
            config=AcceleratorConfig(**config | {"array": _array(config["array"])}),
            specs=tuple(_spec(spec) for spec in fields.pop("specs")),
            idle=Pace[fields.pop("idle")],
            back_pressure=Pace[fields.pop("back_pressure")],
            **fields,
        )


def _name(value: object) -> str:
    assert isinstance(value, Enum)
    return value.name


def _array(fields: dict[str, Any]) -> ArrayConfig:
    registers = fields["registers"]
    if registers is not None:
        registers = tuple(Stage[name] for name in registers)
    return ArrayConfig(**fields | {"pe": PEKind[fields["pe"]], "registers": registers})


def _spec(fields: dict[str, Any]) -> LayerSpec:
    modes = {name: WeightMode[fields[name]] for name in ("mode", "narrow")}
    return LayerSpec(**fields | modes | {"shape": ConvShape(**fields["shape"])})
