"""How much each layer really loses, and what measures of sensitivity say about it.

Every layer alone goes to 2 and to 4 bit, all others stay at 8; batch norms and activation ranges
are calibrated anew, nothing is trained. The loss is the rise of the cross-entropy on the validation
images over that of uniform 8 bit, and the fall of the accuracy.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from rich.console import Console
from torch import Tensor
from torch.nn import functional

from hw.precision import WeightMode
from quant.batches import eval_batches, inputs_of
from quant.curvature import perturbation
from quant.data import Images
from quant.journal import Journal
from quant.progress import SearchProgress
from quant.quant_network import QuantNetwork
from quant.request import Request
from quant.run import open_session
from quant.sensitivity import PROBE_IMAGES, Measure
from quant.session import Session
from quant.workbench import Workbench

PROBED = (WeightMode.W2, WeightMode.W4)

PerLayer = dict[str, float]


def measure_order(bench: Workbench, request: Request) -> dict[str, Any]:
    """Measure losses and all measures of sensitivity.

    Parameters
    ----------
    bench : Workbench
        The network and its images.
    request : Request
        Its seed chooses the images; its folder takes what is passing.

    Returns
    -------
    dict
        ``loss[bits]`` with ``cross_entropy`` and ``accuracy``, and ``measures[bits][name]``, each
        with a number for every layer; more of a measure is to mean more loss. ``eight_bit`` tells
        cross-entropy and accuracy of uniform 8 bit.
    """
    with SearchProgress(Console(stderr=True), request) as progress:
        session = open_session(request, bench, Journal(request.state), progress)
        additive = {measure: session.sensitivity(measure) for measure in Measure}
    eight = session.menu.uniform(WeightMode.W8)
    reference = bench.calibrated(eight, seed=request.seed)
    before = cross_entropy_and_accuracy(reference, bench.images.validation)
    images = _probe_images(bench, request.seed)
    expected = _logits(reference, images)
    losses, measures = {}, {}
    for mode in PROBED:
        found: dict[str, PerLayer] = {"cross_entropy": {}, "accuracy": {}}
        noise: PerLayer = {}
        for name in session.menu.names:
            probed = bench.calibrated({**eight, name: mode}, seed=request.seed)
            after = cross_entropy_and_accuracy(probed, bench.images.validation)
            found["cross_entropy"][name] = after[0] - before[0]
            found["accuracy"][name] = before[1] - after[1]
            noise[name] = noise_to_signal_db(expected, _logits(probed, images))
        losses[str(mode.bits)] = found
        measures[str(mode.bits)] = {
            **_of_weights(session, mode),
            **{m.value: {n: by[mode] for n, by in additive[m].items()} for m in Measure},
            "logit noise": noise,
        }
    return {
        "eight_bit": {"cross_entropy": before[0], "accuracy": before[1]},
        "loss": losses,
        "measures": measures,
    }


@torch.no_grad()
def cross_entropy_and_accuracy(network: QuantNetwork, data: Images) -> tuple[float, float]:
    """Mean cross-entropy in nats and top-1 accuracy, a fraction."""
    network.eval()
    total, correct = 0.0, 0
    for images, labels in eval_batches(data, size=100):
        logits = network(images)  # [n, classes]
        total += float(functional.cross_entropy(logits, labels, reduction="sum"))
        correct += int((logits.argmax(dim=1) == labels).sum())
    return total / len(data), correct / len(data)


def noise_to_signal_db(expected: Tensor, found: Tensor) -> float:
    """Minus the signal-to-quantisation-noise ratio (SQNR), in dB, of tensors of equal shape."""
    noise = float((found - expected).double().square().sum())
    signal = float(expected.double().square().sum())
    return 10 * math.log10(max(noise, 1e-30) / signal)


def _of_weights(session: Session, mode: WeightMode) -> Mapping[str, PerLayer]:
    """Measures that look at a layer's weights alone."""
    network = session.bench.network
    folded = {name: weight for name, (weight, _) in network.folded().items()}
    return {
        "sigma": dict(session.sigma),
        "sigma folded": {name: float(weight.std()) for name, weight in folded.items()},
        "weight noise": {
            name: noise_to_signal_db(weight, weight + perturbation(weight, mode))
            for name, weight in folded.items()
        },
    }


def _probe_images(bench: Workbench, seed: int) -> Tensor:
    random = np.random.default_rng(seed)
    chosen = random.choice(len(bench.train_set), min(PROBE_IMAGES, len(bench.train_set)), False)
    return inputs_of(bench.train_set, chosen)


@torch.no_grad()
def _logits(network: QuantNetwork, images: Tensor) -> Tensor:
    network.eval()
    found: Tensor = network(images)
    return found
