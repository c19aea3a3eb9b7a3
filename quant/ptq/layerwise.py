"""All layers of a network, quantised one after the other; each is written once it is done."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from quant.errors import QuantError
from quant.journal import Entry, Journal
from quant.network import Network
from quant.ptq.frames import Frame
from quant.ptq.grid import IntegerRange, WeightGrid
from quant.ptq.network import collect, collected, in_one_run, plain_layer
from quant.ptq.optimise import OptimisedWeights
from quant.ptq.recipe import BitsByLayer, Norms, Recipe
from quant.ptq.solve import Solution, solve
from quant.ptq.statistics import LayerStatistics
from quant.quant_network import Snapshot

Statistics = Mapping[str, LayerStatistics]


class Layerwise:
    """Quantises the layers of a frame in order of execution.

    Parameters
    ----------
    network : Network
        In float.
    frame : Frame
        Takes the layers.
    bits : mapping of str to int
        Of each layer's weights.
    recipe : Recipe
    images : float [N, C, H, W]
        Calibration images.
    journal : Journal
        Layers that are done.
    asked : mapping
        JSON values that all layers depend on, beside the recipe: images, weights.
    """

    def __init__(
        self,
        network: Network,
        frame: Frame,
        bits: BitsByLayer,
        recipe: Recipe,
        images: Tensor,
        journal: Journal,
        asked: Mapping[str, Any],
    ) -> None:
        self.network, self.frame, self.recipe = network, frame, recipe
        self.bits, self.images, self.journal = bits, images, journal
        self.asked = dict(asked) | {"recipe": recipe.json(), "bits": dict(bits)}
        self.names = [layer.name for layer in network.layers]

    def run(self) -> Iterator[tuple[str, Solution]]:
        """Yield layers as they are put into the frame.

        Statistics of at most `STATISTICS_BYTES`, or of one layer, are in memory at a time.

        Raises
        ------
        QuantError
            If a weight is not finite or a layer is not reached.
        """
        if self.recipe.sequential:
            yield from self._sequentially()
            return
        done = [name for name in self.names if self._known(name) is not None]
        left = [name for name in self.names if name not in done]
        for name in done:
            yield name, self._put(name, None)
        for part in in_one_run(self.network, left):
            statistics = collected(self.network, part, self.images)
            for name in part:
                yield name, self._put(name, statistics.pop(name))

    def _sequentially(self) -> Iterator[tuple[str, Solution]]:
        for name in self.names:
            known = self._known(name)
            now = None
            if known is None:
                now = LayerStatistics(plain_layer(self.network, name), name)
                collect(self.frame.module, self.frame.layer(name), now, self.images)
            solution = self._put(name, now)
            if self.recipe.norms is Norms.MATCHED:
                self._settle(name, now)
            yield name, solution

    def _settle(self, name: str, now: LayerStatistics | None) -> None:
        asked = self.asked | {"layer": name}

        def compute() -> Entry:
            behind = now or LayerStatistics(plain_layer(self.network, name), name)
            if now is None:
                collect(self.frame.module, self.frame.layer(name), behind, self.images)
            before = collected(self.network, [name], self.images)[name]
            self.frame.settle(name, before, behind)
            return _tensors({}, self.frame.state(name))

        entry = self.journal.step(f"norm-{name}", asked, compute)
        self.frame.restore(name, _state(entry))

    def _known(self, name: str) -> Entry | None:
        return self.journal.read(f"layer-{name}", self.asked | {"layer": name})

    def _put(self, name: str, statistics: LayerStatistics | None) -> Solution:
        def compute() -> Entry:
            assert statistics is not None
            weight, grid = self.frame.weight(name), self.frame.grid(name)
            return packed(solve(weight, statistics, grid, self.recipe))

        # what was just computed takes the same way as what is read, so that both are the same
        entry = self.journal.step(f"layer-{name}", self.asked | {"layer": name}, compute)
        solution = unpacked(entry, self.bits[name])
        self.frame.put(name, solution.weights, solution.shift)
        return solution


def packed(solution: Solution) -> Entry:
    """Return a solution as a step of a journal."""
    grid = solution.weights.grid
    values = {
        "nearest": solution.nearest,
        "error": solution.error,
        "seconds": solution.seconds,
        "narrow": grid.range.narrow,
    }
    if not all(np.isfinite([solution.nearest, solution.error])):
        raise QuantError("output error must be finite, not infinite or NaN; check the weights")
    return _tensors(
        values,
        {
            "integers": solution.weights.integers,
            "scale": torch.from_numpy(grid.scale),
            "zero_point": torch.from_numpy(grid.zero_point),
            "shift": solution.shift,
        },
    )


def unpacked(entry: Entry, bits: int) -> Solution:
    """Return the solution of a step; `bits` are those of its weights."""
    state, values = _state(entry), entry.values
    grid = WeightGrid(
        range=IntegerRange(bits=bits, narrow=values["narrow"]),
        scale=state["scale"].numpy(),
        zero_point=state["zero_point"].numpy(),
    )
    return Solution(
        weights=OptimisedWeights(integers=state["integers"], grid=grid),
        shift=state["shift"],
        nearest=values["nearest"],
        error=values["error"],
        seconds=values["seconds"],
    )


def _tensors(values: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Entry:
    return Entry(values=values, snapshot=Snapshot(state=tensors, ranges={}, bits={}))


def _state(entry: Entry) -> Mapping[str, Tensor]:
    return entry.snapshot.state if entry.snapshot is not None else {}
