"""What SigmaQuant (arXiv 2602.22136) leaves open in its two phases, as numbers to choose.

Where the paper names a value it is the default. `make bench-sweep` measures what others give.
"""

from __future__ import annotations

from dataclasses import dataclass

from quant.zones import BUFFERS, Buffer


@dataclass(frozen=True, kw_only=True)
class Decisions:
    """Choices in `quant.sigma`, `quant.zones` and `quant.refine`.

    Parameters
    ----------
    buffer : str
        How narrow a miss is, by name (`quant.zones.BUFFERS`): the names and shares are the
        paper's, which of them is ours.
    first_lambda : float
        Price of unequal clusters in the first iteration of phase 1; 0.1 in the paper.
    max_steps : int
        Allocations that phase 2 visits at most; 40 in the paper.
    layers_per_step : int
        Layers that phase 2 moves at once; 2 in the paper.
    patience : int
        Steps without a better visit after which phase 2 goes back to the best; ours.
    margin : float
        Accuracy that must be to spare on the validation images; a fraction, ours.
    recovery : float
        Drop beyond the target that visits may show, since the final training is expected to win
        it back; a fraction, ours.
    """

    buffer: str = "balanced"
    first_lambda: float = 0.1
    max_steps: int = 40
    layers_per_step: int = 2
    patience: int = 4
    margin: float = 0.003
    recovery: float = 0.006

    def __post_init__(self) -> None:
        """Check the ranges."""
        if self.buffer not in BUFFERS:
            raise ValueError(f"buffer must be one of {', '.join(BUFFERS)}, not {self.buffer}")
        for name in ("first_lambda", "margin", "recovery"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise ValueError(f"{name} must be at least 0, not {getattr(self, name)}")
        for name in ("max_steps", "layers_per_step", "patience"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}")

    @property
    def narrow(self) -> Buffer:
        """The buffer of that name."""
        return BUFFERS[self.buffer]
