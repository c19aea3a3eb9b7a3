"""What every piece of hardware in a cost table has, an array of ours or not."""

from __future__ import annotations

from pydantic import model_validator

from hw.precision import WeightMode
from synth.costs.figures import Method, ModeName, Record


class HardwareRecord(Record):
    """Modes of a piece of hardware, and how its figures were made."""

    modes: tuple[ModeName, ...] | None = None
    """Weight modes of the hardware; if not given, those that its figures name, or else all."""
    area_method: Method = "cited"
    """How areas and leakage were made."""
    period_method: Method = "cited"
    """How periods were made."""
    energy_method: Method = "cited"
    """How energies were made."""
    source: str = ""
    """Where the cited figures are from; must be given if a method is *cited*."""

    @model_validator(mode="after")
    def _names_its_source(self) -> HardwareRecord:
        methods = (self.area_method, self.period_method, self.energy_method)
        if "cited" in methods and not self.source.strip():
            raise ValueError("source must say where the cited figures are from, not be empty")
        if self.modes == ():
            raise ValueError("modes must be at least one of W2, W4, W6, W8, not none")
        return self

    @property
    def weight_modes(self) -> tuple[WeightMode, ...]:
        """Modes of the hardware, fewest bits first."""
        if self.modes is None:
            return self._modes_of_figures()
        return tuple(mode for mode in WeightMode if mode.name in self.modes)

    def _modes_of_figures(self) -> tuple[WeightMode, ...]:
        raise NotImplementedError
