"""What `result.json` of `quant.ptq` holds: a network quantised without a search.

It has neither hardware nor targets, so no cost, sigma or divergence either.
"""

from __future__ import annotations

from typing import Final

from pydantic import Field

from quant.report.results import VERSION, Gap, IntegerEntry, Origin, Record

METHOD_PREFIX: Final = "ptq-"
"""Of `method`; no search has it."""


class Accuracy(Record):
    """Top-1 accuracies on the test images, fractions."""

    floating: float = Field(alias="float")
    searched: float


class Images(Record):
    """Numbers of images."""

    train: int
    calibration: int
    test: int


class Data(Record):
    """The images of a run."""

    folder: str
    images: Images


class QuantisedLayer(Record):
    """A layer with its errors, relative to the output's power, and its seconds."""

    name: str
    bits: int
    weights: int
    packed_bytes: int
    nearest_error: float
    error: float
    seconds: float


class Quantised(Record):
    """What result.json says."""

    version: int = VERSION
    model: str
    seed: int
    method: str = Field(pattern=f"^{METHOD_PREFIX}")
    data: Data
    recipe: dict[str, bool | int | str | None]
    relative_size: float
    size_bits: int
    packed_bytes: int
    array_packed_bytes: int
    accuracy: Accuracy
    accuracy_of_integers: bool
    layers: list[QuantisedLayer] = Field(min_length=1)
    gaps: list[Gap]
    provenance: Origin
    integer_network: IntegerEntry | None = None

    @property
    def seconds(self) -> float:
        """Of all layers."""
        return sum(layer.seconds for layer in self.layers)

    @property
    def optimiser(self) -> str:
        """How integers were chosen, without the prefix."""
        return self.method.removeprefix(METHOD_PREFIX)
