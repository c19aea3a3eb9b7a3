"""Optimised weights that layers start from, computed once for each layer and precision."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from hw.precision import WeightMode
from quant.graph import Network
from quant.ptq.network import layer_solutions
from quant.quant_layer import Start
from quant.quant_network import QuantNetwork

START_IMAGES = 256
"""Calibration images; twice as many take twice the time and give little more (ADR 17)."""


@dataclass(kw_only=True, eq=False)
class Starts:
    """Weights of a network's layers, optimised on the activations of the float network.

    Parameters
    ----------
    network : Network
        In float.
    images : float [N, C, H, W]
        Calibration images.
    """

    network: Network
    images: Tensor
    _known: dict[tuple[str, WeightMode], Start] = field(default_factory=dict)

    def prepare(self, choices: Mapping[str, Iterable[WeightMode]]) -> None:
        """Optimise what is not known yet; statistics of a layer are taken once per call."""
        missing = {
            name: [mode for mode in modes if (name, mode) not in self._known]
            for name, modes in choices.items()
        }
        missing = {name: modes for name, modes in missing.items() if modes}
        for name, found in layer_solutions(self.network, self.images, missing):
            for mode, solution in found.items():
                scale = torch.from_numpy(solution.grid.scale).float()
                self._known[name, mode] = Start(weight=solution.values(), scale=scale)

    def of(self, name: str) -> Mapping[WeightMode, Start]:
        """Return what is known of a layer, by precision."""
        return {mode: start for (layer, mode), start in self._known.items() if layer == name}

    def put(self, quantised: QuantNetwork, names: Iterable[str]) -> None:
        """Start some layers of a network from their optimised weights at the precision they have.

        Parameters
        ----------
        quantised : QuantNetwork
            Changed in place.
        names : iterable of str
            Layers.
        """
        chosen = list(names)
        self.prepare({name: (quantised.layer(name).mode,) for name in chosen})
        for name in chosen:
            layer = quantised.layer(name)
            start = self._known[name, layer.mode]
            layer.start_from(start.weight, start.scale)
