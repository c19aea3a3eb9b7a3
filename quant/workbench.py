"""A network on its data: calibrate, train shortly, measure. What every job loads for itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from hw.precision import WeightMode
from quant.allocation import Acts, Bits
from quant.batches import to_input
from quant.calibrate import fit_activations, reestimate_norms
from quant.data import ImageData, ImageSet
from quant.evaluate import accuracy
from quant.graph import trace
from quant.layers import QuantNetwork, Snapshot, uniform_bits
from quant.models import load
from quant.operands import GROUPS, LayerSample, layer_samples
from quant.qat import QatSettings, train_quantised
from quant.scales import Scales


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where a job finds its network and images.

    Parameters
    ----------
    model : str
        Name of the network.
    weights : Path, optional
        Its safetensors file; the shipped one by default.
    data : Path
        Folder of IDX files.
    """

    model: str
    weights: Path | None
    data: Path


class Workbench:
    """A loaded network, its traced form and its images.

    Parameters
    ----------
    source : Source
        What to load.

    Raises
    ------
    QuantError
        If network or images cannot be loaded.
    """

    def __init__(self, source: Source) -> None:
        self.source = source
        self.images = ImageData(source.data)
        self.train_set = self.images.train
        height, width = self.train_set.images.shape[1:]
        self.teacher, self.metadata = load(source.model, source.weights)
        self.network = trace(self.teacher, torch.zeros(1, 1, height, width))

    def calibrated(
        self,
        bits: Bits,
        *,
        seed: int,
        scales: Scales = Scales.MIN_MAX,
        acts: Acts | None = None,
    ) -> QuantNetwork:
        """Return the float network, quantised and calibrated, not trained."""
        quantised = QuantNetwork(self.network, bits, scales=scales, acts=acts)
        self.recalibrate(quantised, seed=seed)
        return quantised

    def recalibrate(self, quantised: QuantNetwork, *, seed: int) -> None:
        """Set batch-norm statistics and activation ranges anew."""
        reestimate_norms(quantised, self.train_set, seed=seed)
        fit_activations(quantised, self.train_set, seed=seed)

    def operands(
        self, quantised: QuantNetwork, *, seed: int, act_bits: Sequence[int] = ()
    ) -> dict[str, LayerSample]:
        """Sample every layer's operands, from training images; `act_bits` as in `layer_samples`."""
        random = np.random.default_rng(seed)
        chosen = random.choice(len(self.train_set), GROUPS, replace=False)
        images = to_input(torch.from_numpy(self.train_set.images[chosen]))
        names = [layer.name for layer in self.network.layers]
        return layer_samples(quantised, images, names, seed=seed, act_bits=act_bits)

    def validation_accuracy(self, quantised: QuantNetwork) -> float:
        """Return the top-1 accuracy on the validation images."""
        return accuracy(quantised, self.images.validation)

    def train(
        self,
        quantised: QuantNetwork,
        settings: QatSettings,
        on_step: Callable[[], None] = lambda: None,
    ) -> None:
        """Train, then set batch-norm statistics anew; activation ranges stay."""
        train_quantised(quantised, self.train_set, settings, teacher=self.teacher, on_step=on_step)
        reestimate_norms(quantised, self.train_set, seed=settings.seed)

    def train_keeping_best(
        self,
        quantised: QuantNetwork,
        settings: QatSettings,
        on_step: Callable[[], None] = lambda: None,
    ) -> float:
        """Train, unless that loses validation accuracy; returns the accuracy of what is kept."""
        before, start = self.validation_accuracy(quantised), quantised.snapshot()
        self.train(quantised, settings, on_step)
        after = self.validation_accuracy(quantised)
        if after < before:
            quantised.restore(start)
        return max(before, after)


def train_uniform(
    source: Source, mode: WeightMode, settings: QatSettings, acts: Acts | None = None
) -> tuple[Snapshot, float]:
    """Job: train one uniform precision; returns its state and its validation accuracy."""
    torch.set_num_threads(1)
    bench = Workbench(source)
    return _trained(bench, uniform_bits(bench.network, mode), settings, acts)


def train_bits(
    source: Source, bits: Bits, settings: QatSettings, acts: Acts | None = None
) -> tuple[Snapshot, float]:
    """Job: train one allocation; returns its state and its validation accuracy."""
    torch.set_num_threads(1)
    return _trained(Workbench(source), bits, settings, acts)


def _trained(
    bench: Workbench, bits: Bits, settings: QatSettings, acts: Acts | None
) -> tuple[Snapshot, float]:
    quantised = bench.calibrated(bits, seed=settings.seed, scales=settings.scales, acts=acts)
    validation = bench.train_keeping_best(quantised, settings)
    return quantised.snapshot(), validation


def calibrate_uniform(
    source: Source, mode: WeightMode, seed: int, acts: Acts | None = None
) -> tuple[Snapshot, float]:
    """Job: calibrate one uniform precision; returns its state and its validation accuracy."""
    torch.set_num_threads(1)
    bench = Workbench(source)
    quantised = bench.calibrated(uniform_bits(bench.network, mode), seed=seed, acts=acts)
    return quantised.snapshot(), bench.validation_accuracy(quantised)


def measure(source: Source, snapshot: Snapshot | None, images: ImageSet) -> float:
    """Job: top-1 accuracy of a quantised network, or of the float one, on some images."""
    torch.set_num_threads(1)
    teacher, _ = load(source.model, source.weights)
    if snapshot is None:
        return accuracy(teacher, images)
    height, width = images.images.shape[1:]
    quantised = QuantNetwork(trace(teacher, torch.zeros(1, 1, height, width)), snapshot.bits)
    quantised.restore(snapshot)
    return accuracy(quantised, images)
