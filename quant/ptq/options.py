"""Options of `python -m quant.ptq`, checked."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict

from quant.catalogue import check_model, file_name
from quant.data import default_folder
from quant.errors import QuantError
from quant.map_file import check_names, read_bits
from quant.options import check_seed
from quant.ptq.grid import BITS
from quant.ptq.optimise import Method
from quant.ptq.ranges import Calibration
from quant.ptq.recipe import ACT_BITS, Norms, Recipe, Steps
from quant.ptq.schemes import WeightScheme

Choice = TypeVar("Choice", bound=Enum)

LEAST_IMAGES = 2
"""Calibration images: of a single one no variance can be told."""

DEFAULT_BITS = 4

FULL, NARROW = "full", "narrow"
"""Ranges of weights: with the most negative integer, and without."""

IN_FLOAT = "float"
"""Stands for activations that are not quantised."""


class Options(BaseModel):
    """Options as they were given; None stands for what was not."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str = "resnet8"
    bits: int | None = None
    method: str = Method.SENSITIVITY.value
    calibration: int = 512
    act_calibration: str = Calibration.MIN_MAX.value
    act_bits: str = str(ACT_BITS)
    scheme: str = "per-channel-symmetric"
    range: str = FULL
    steps: str = Steps.FITTED.value
    norms: str = Norms.MATCHED.value
    bias_correction: bool = False
    sequential: bool = False
    map: Path | None = None
    out: Path | None = None
    seed: int = 0
    data: Path | None = None
    weights: Path | None = None

    @property
    def folder(self) -> Path:
        """Folder to write into."""
        return self.out or Path("runs") / f"{file_name(self.model)}-ptq-seed{self.seed}"

    @property
    def data_folder(self) -> Path:
        """Folder of images."""
        return self.data or default_folder()

    def implied(self) -> dict[str, Any]:
        """Return what follows from options that were not given."""
        found: dict[str, Any] = {} if self.data else {"data": default_folder()}
        if self.bits is None and self.map is None:
            found["bits"] = DEFAULT_BITS
        return found

    def check(self) -> Recipe:
        """Check all options; returns the recipe that they make.

        Raises
        ------
        ValueError, QuantError
            One line on the first option that is wrong.
        """
        check_model(self.model)
        if self.weights is not None and not self.weights.is_file():
            raise QuantError(
                f"{self.weights}: weights must be a file, and there is none of this name"
            )
        check_seed(self.seed)
        if self.bits is not None and self.map is not None:
            raise QuantError("bits must be left out with a map, not given beside it")
        if self.bits is not None and self.bits not in BITS:
            raise QuantError(f"bits must be one of {', '.join(map(str, BITS))}, not {self.bits}")
        if self.map is not None:
            read_bits(self.map, BITS)
        if self.calibration < LEAST_IMAGES:
            raise QuantError(
                f"calibration must be at least {LEAST_IMAGES} images, not {self.calibration}: no "
                "variance can be told from one; 512 are usual"
            )
        if self.range not in (FULL, NARROW):
            raise QuantError(f"range must be one of {FULL}, {NARROW}, not {self.range}")
        return Recipe(
            method=choice(Method, "method", self.method),
            scheme=choice(WeightScheme, "scheme", self.scheme),
            narrow=self.range == NARROW,
            steps=choice(Steps, "steps", self.steps),
            act_bits=self._act_bits(),
            calibration=choice(Calibration, "act-calibration", self.act_calibration),
            norms=choice(Norms, "norms", self.norms),
            bias_correction=self.bias_correction,
            sequential=self.sequential,
        )

    def _act_bits(self) -> int | None:
        if self.act_bits == IN_FLOAT:
            return None
        if not self.act_bits.isdecimal() or not 2 <= int(self.act_bits) <= 8:
            raise QuantError(f"act-bits must be from 2 to 8, or {IN_FLOAT}, not {self.act_bits}")
        return int(self.act_bits)

    def bits_of(self, names: tuple[str, ...]) -> dict[str, int]:
        """Return the bits of every layer: those of the map, or the same.

        Raises
        ------
        QuantError
            If the map is none, or of other layers.
        """
        if self.map is None:
            return dict.fromkeys(names, self.bits or DEFAULT_BITS)
        found, _ = read_bits(self.map, BITS)
        check_names(found, names, path=self.map)
        return {name: found[name] for name in names}


def choice(kind: type[Choice], option: str, text: str) -> Choice:
    """Return what an option's text names; spaces of values are hyphens on the command line.

    Raises
    ------
    QuantError
        If there is no such choice.
    """
    known = {str(one.value).replace(" ", "-"): one for one in kind}
    found = known.get(text.replace(" ", "-"))
    if found is None:
        raise QuantError(f"{option} must be one of {', '.join(known)}, not {text}")
    return found
