"""A network on its data: calibrate, train shortly, measure. What every job loads for itself."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from hw.precision import WeightMode
from quant import cifar
from quant.allocation import Acts, Bits
from quant.batches import inputs_of
from quant.calibrate import fit_activations, reestimate_norms
from quant.capture import capture
from quant.data import Data, Images
from quant.device import prepare
from quant.errors import QuantError
from quant.evaluate import accuracy
from quant.exact import ExactNetwork
from quant.fit import check_fit
from quant.launch import local_index
from quant.models import load
from quant.network import InPlaceNetwork
from quant.operands import GROUPS, LayerSample, layer_samples
from quant.ptq.network import calibration_images
from quant.ptq.norms import FloatMoments, follow_float
from quant.qat import QatSettings, train_quantised
from quant.quant_network import QuantNetwork, Snapshot, uniform_bits
from quant.quantizer import ActRange
from quant.rounding import Rounding
from quant.scales import Scales
from quant.sources import open_data
from quant.starts import START_IMAGES, Starts
from quant.team import ALONE, Team
from quant.threads import one_thread

EXAMPLES = 8
"""Training images that show what the network does with an input (`quant.capture`)."""


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
        What `quant.sources.open_data` takes.
    device : str
        Where quantised networks are trained and measured: ``cpu`` or ``cuda``.
    rounding : Rounding
        How weights become integers before any training.
    """

    model: str
    weights: Path | None
    data: Path
    device: str = "cpu"
    rounding: Rounding = Rounding.NEAREST

    def anywhere(self) -> Source:
        """Return the same with absolute paths, for processes that work in other folders."""
        files = Path(self.model).is_file()  # an ONNX file
        on_disk = cifar.without_coarse(self.data).exists()
        return replace(
            self,
            model=str(Path(self.model).absolute()) if files else self.model,
            weights=None if self.weights is None else self.weights.absolute(),
            data=self.data.absolute() if on_disk else self.data,
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Work:
    """A training that all processes of a team take part in.

    Parameters
    ----------
    snapshot : Snapshot
        The network before it.
    settings : QatSettings
        The recipe.
    """

    snapshot: Snapshot
    settings: QatSettings


class Workbench:
    """A loaded network, its traced form and its images.

    Parameters
    ----------
    source : Source
        What to load.
    team : Team
        Processes that train together; the others follow (`quant.follower`).
    images : Data, optional
        Those of the source, if they have been opened.

    Raises
    ------
    QuantError
        If network or images cannot be loaded.
    """

    def __init__(self, source: Source, *, team: Team = ALONE, images: Data | None = None) -> None:
        self.source = source
        self.team = team
        self.device = prepare(source.device, index=local_index())
        team.train_on(self.device)
        self.images = open_data(source.data, source.model) if images is None else images
        self.train_set = self.images.train
        first = np.arange(min(EXAMPLES, len(self.train_set)))
        self.example = inputs_of(self.train_set, first)
        self.teacher, self.metadata = load(source.model, source.weights)
        check_fit(self.teacher, self.images, self.example)
        self.network = capture(self.teacher, self.example)
        self.teacher.to(self.device)
        self._starts: dict[int, Starts] = {}
        self._moments: dict[int, FloatMoments] = {}

    def calibrated(
        self,
        bits: Bits,
        *,
        seed: int,
        scales: Scales = Scales.MIN_MAX,
        acts: Acts | None = None,
    ) -> QuantNetwork:
        """Return the float network, quantised and calibrated, not trained."""
        quantised = self.quantised(bits, scales=scales, acts=acts)
        self.start(quantised, bits, seed=seed)
        self._calibrate(quantised, seed=seed)
        return quantised

    def rounded(self, bits: Bits, *, seed: int) -> QuantNetwork:
        """Return the float network, calibrated, weights rounded to nearest whatever the source."""
        quantised = self.quantised(bits)
        self._calibrate(quantised, seed=seed)
        return quantised

    def _calibrate(self, quantised: QuantNetwork, *, seed: int) -> None:
        if isinstance(self.network, InPlaceNetwork):
            self.recalibrate(quantised, seed=seed)
        else:
            follow_float(quantised, self._float_moments(seed))
            fit_activations(quantised, self.train_set, seed=seed)

    def quantised(
        self, bits: Bits, *, scales: Scales = Scales.MIN_MAX, acts: Acts | None = None
    ) -> QuantNetwork:
        """Return the float network, quantised, weights by the rule, not calibrated."""
        return QuantNetwork(self.network, bits, scales=scales, acts=acts).to(self.device)

    def start(self, quantised: QuantNetwork, names: Iterable[str], *, seed: int) -> None:
        """Give some layers the weights that they start from; none where weights are rounded."""
        starts = self.starts(seed)
        if starts is not None:
            starts.put(quantised, names)

    def starts(self, seed: int) -> Starts | None:
        """Return the optimised weights of all layers; None where weights are rounded to nearest."""
        if self.source.rounding is Rounding.NEAREST or isinstance(self.network, InPlaceNetwork):
            return None
        if seed not in self._starts:
            self._starts = {seed: Starts(network=self.network, images=self._start_images(seed))}
        return self._starts[seed]

    def _float_moments(self, seed: int) -> FloatMoments:
        if seed not in self._moments:
            self._moments = {seed: FloatMoments(self.network, self._start_images(seed))}
        return self._moments[seed]

    def _start_images(self, seed: int) -> Tensor:
        """Choose the images that untrained networks are optimised and corrected on."""
        return calibration_images(self.train_set, START_IMAGES, seed=seed)

    def recalibrate(self, quantised: QuantNetwork, *, seed: int) -> None:
        """Set batch-norm statistics and activation ranges of a trained network anew."""
        reestimate_norms(quantised, self.train_set, seed=seed)
        fit_activations(quantised, self.train_set, seed=seed)

    def act_ranges(self, quantised: QuantNetwork, bits: int, *, seed: int) -> dict[str, ActRange]:
        """Return the ranges that activations would have, by tensor, all but the image at `bits`."""
        probe = copy.deepcopy(quantised)
        fixed = {t: n for t, n in probe.acts.items() if probe.act_quantizer(t).fixed}
        probe.set_acts(dict.fromkeys(probe.act_quantizers, bits) | fixed)
        fit_activations(probe, self.train_set, seed=seed)
        ranges = {tensor: probe.act_quantizer(tensor).range for tensor in probe.act_quantizers}
        return {tensor: found for tensor, found in ranges.items() if found is not None}

    def operands(
        self, quantised: QuantNetwork, *, seed: int, act_bits: Sequence[int] = ()
    ) -> dict[str, LayerSample]:
        """Sample every layer's operands, from training images; `act_bits` as in `layer_samples`."""
        random = np.random.default_rng(seed)
        chosen = random.choice(len(self.train_set), GROUPS, replace=False)
        images = inputs_of(self.train_set, chosen)
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
        if self.team.size > 1:
            self.team.tell(Work(snapshot=quantised.snapshot(), settings=settings))
        self.train_along(quantised, settings, on_step)
        reestimate_norms(quantised, self.train_set, seed=settings.seed)

    def train_along(
        self,
        quantised: QuantNetwork,
        settings: QatSettings,
        on_step: Callable[[], None] = lambda: None,
    ) -> None:
        """Train with all processes of the team; batch norms keep the statistics of training."""
        train_quantised(
            quantised,
            self.train_set,
            settings,
            teacher=self.teacher,
            team=self.team,
            on_step=on_step,
        )

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


def reported(quantised: QuantNetwork, example: torch.Tensor) -> torch.nn.Module:
    """Return the network whose accuracy is reported: in integers, if all operations have some."""
    try:
        exact = ExactNetwork(quantised.eval())
        exact(example)
    except QuantError:
        return quantised
    return exact


def train_uniform(
    source: Source, mode: WeightMode, settings: QatSettings, acts: Acts | None = None
) -> tuple[Snapshot, float]:
    """Job: train one uniform precision; returns its state and its validation accuracy."""
    one_thread()
    bench = Workbench(source)
    return _trained(bench, uniform_bits(bench.network, mode), settings, acts)


def train_bits(
    source: Source, bits: Bits, settings: QatSettings, acts: Acts | None = None
) -> tuple[Snapshot, float]:
    """Job: train one allocation; returns its state and its validation accuracy."""
    one_thread()
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
    one_thread()
    bench = Workbench(source)
    quantised = bench.calibrated(uniform_bits(bench.network, mode), seed=seed, acts=acts)
    return quantised.snapshot(), bench.validation_accuracy(quantised)


def measure(source: Source, example: Tensor, snapshot: Snapshot | None, images: Images) -> float:
    """Job: top-1 accuracy of a quantised network, or of the float one, on some images.

    Of the integers (`quant.exact`), or of the fake-quantised floats where there are none. `example`
    is that of the workbench that made the snapshot.
    """
    one_thread()
    device = prepare(source.device, index=local_index())
    teacher, _ = load(source.model, source.weights)
    if snapshot is None:
        return accuracy(teacher.to(device), images)
    quantised = QuantNetwork(capture(teacher, example), snapshot.bits)
    quantised.restore(snapshot)
    shown = reported(quantised, example)
    # integers stay on the CPU, where float32 convolutions are sums and nothing else
    return accuracy(shown if isinstance(shown, ExactNetwork) else shown.to(device), images)
