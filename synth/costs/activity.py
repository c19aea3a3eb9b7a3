"""Energy of a module's step as a function of what its operands do."""

from __future__ import annotations

from dataclasses import asdict

from pydantic import Field, model_validator

from synth.costs.figures import NonNegative, Record
from synth.features import FEATURES, Features


class EnergyModel(Record):
    """A sum over `synth.features.Features`, fitted on gate-level runs of sampled layers."""

    base_pj: NonNegative
    """Energy of a step in which nothing changes, clock included, pJ."""
    per_change_pj: dict[str, NonNegative] = Field(default_factory=dict)
    """By feature: energy of one change, pJ; features that are not named cost nothing."""
    fit_error: NonNegative
    """Mean relative error on the layers and modes that it was fitted on."""
    largest_fit_error: NonNegative
    """Largest relative error among them."""

    @model_validator(mode="after")
    def _known_features(self) -> EnergyModel:
        unknown = [name for name in self.per_change_pj if name not in FEATURES]
        if unknown:
            known = ", ".join(FEATURES)
            raise ValueError(f"per_change_pj must name some of {known}, not {unknown[0]}")
        return self

    def step_pj(self, features: Features) -> float:
        """Energy of a step of these features, pJ."""
        changes = asdict(features)
        return self.base_pj + sum(
            energy * float(changes[name]) for name, energy in self.per_change_pj.items()
        )
