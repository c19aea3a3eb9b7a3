"""What the bench of a whole network is to do: passed to the simulator's process as JSON."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

FAULTS = ("weight", "multiplier", "descriptor")


@dataclass(frozen=True, kw_only=True)
class Fault:
    """A bit that is flipped on the way to the array.

    Parameters
    ----------
    layer : str
        Its layer.
    field : str
        weight or multiplier, of the output channel that varies most, or descriptor.
    """

    layer: str
    field: str

    @classmethod
    def parse(cls, text: str) -> Fault:
        """Parse ``LAYER:FIELD``.

        Raises
        ------
        ValueError
            If it is not of this form.
        """
        layer, _, field = text.rpartition(":")
        if not layer or field not in FAULTS:
            raise ValueError(f"fault must be LAYER:{'|'.join(FAULTS)}, not {text!r}")
        return cls(layer=layer, field=field)


@dataclass(frozen=True, kw_only=True)
class NetworkJob:
    """Images through an integer network.

    Parameters
    ----------
    folder : Path
        Of the integer network, with its examples.
    config : str
        Name of the accelerator in `hw.catalog`.
    images : int
        The first so many examples.
    fault : Fault, optional
        To see that the comparison finds it.
    """

    folder: Path
    config: str
    images: int
    fault: Fault | None = None

    def to_json(self) -> str:
        """Serialise."""
        return json.dumps(asdict(self) | {"folder": str(self.folder)})

    @classmethod
    def from_json(cls, text: str) -> NetworkJob:
        """Parse what `to_json` wrote."""
        fields = json.loads(text)
        fault = fields["fault"]
        typed = {"folder": Path(fields["folder"]), "fault": Fault(**fault) if fault else None}
        return cls(**fields | typed)
