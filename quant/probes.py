"""Forward-only probes: what quantising one layer, or one activation, alone does to the outputs.

The divergence KL(p || q) of the softmax outputs, in nats, mean over images; p with every layer at
the reference precision, q with one layer at another one, or one activation at fewer bits. Ours:
batch norms take the statistics of the probe's own images, as a recalibration would give them, in
the reference, too; else a 2-bit layer would be blamed for a shift of mean and variance that
calibration removes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional

from hw.precision import WeightMode
from quant.batches import at_once
from quant.device import device_of
from quant.quant_layer import Start
from quant.quant_network import QuantNetwork
from quant.quantizer import ActRange
from quant.threads import in_threads, threads_for


def logit_divergence(
    quantised: QuantNetwork,
    choices: Mapping[str, tuple[WeightMode, ...]],
    images: Tensor,
    starts: Callable[[str], Mapping[WeightMode, Start]] = lambda _: {},
) -> dict[str, dict[WeightMode, float]]:
    """Probe every layer at each of its choices.

    Parameters
    ----------
    quantised : QuantNetwork
        Calibrated at the reference precision; as before afterwards, in evaluation mode.
    choices : mapping of str to tuple of WeightMode
        Precisions to probe.
    images : float32 [N, C, H, W]
        At least two.
    starts : callable
        Maps a layer to the weights that it takes at its precisions, where these are not rounded by
        the rule.
    """
    before = quantised.bits

    def probe(network: QuantNetwork, names: Sequence[str]) -> dict[str, dict[WeightMode, float]]:
        found: dict[str, dict[WeightMode, float]] = {}
        with _probing(network, images) as divergence:
            for name in names:
                layer, start = network.layer(name), starts(name)
                found[name] = {
                    m: 0.0 if m is before[name] else divergence(layer.at(m, start.get(m)))
                    for m in choices[name]
                }
        return found

    large = at_once(tuple(images.shape[1:]), len(images)) < len(images)  # memory for one run
    threads = 1 if large else threads_for(quantised)
    found = in_threads(probe, quantised, [list(choices)[i::threads] for i in range(threads)])
    return {name: found[i % threads][name] for i, name in enumerate(choices)}


def act_divergence(
    quantised: QuantNetwork,
    choices: Mapping[str, tuple[int, ...]],
    images: Tensor,
    ranges: Mapping[int, Mapping[str, ActRange]],
) -> dict[str, dict[int, float]]:
    """Probe every activation at each of its bits; parameters as in `logit_divergence`.

    Parameters
    ----------
    quantised : QuantNetwork
    choices : mapping of str to tuple of int
        Bits to probe, by tensor.
    images : float32 [N, C, H, W]
    ranges : mapping of int to mapping of str to ActRange
        What tensors are clipped to, by their bits; the same interval where there is none.
    """
    before = quantised.acts
    with _probing(quantised, images) as divergence:
        found: dict[str, dict[int, float]] = {}
        for tensor, options in choices.items():
            quantizer = quantised.act_quantizer(tensor)
            found[tensor] = {
                bits: 0.0
                if bits == before[tensor]
                else divergence(quantizer.at(bits, ranges.get(bits, {}).get(tensor)))
                for bits in options
            }
    return found


@contextmanager
def _probing(
    quantised: QuantNetwork, images: Tensor
) -> Iterator[Callable[[AbstractContextManager[None]], float]]:
    """Yield what measures the divergence within a change; the network is as before afterwards."""
    snapshot = quantised.snapshot()
    norms = [m for m in quantised.modules() if isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d)]
    images = images.to(device_of(quantised))
    quantised.eval()
    for norm in norms:
        norm.train()
    with torch.no_grad():
        reference = functional.log_softmax(quantised(images), dim=1)  # [N, classes]

    @torch.no_grad()
    def divergence(change: AbstractContextManager[None]) -> float:
        with change:
            probed = functional.log_softmax(quantised(images), dim=1)
        found = functional.kl_div(probed, reference, reduction="batchmean", log_target=True)
        return max(0.0, float(found))

    try:
        yield divergence
    finally:
        quantised.restore(snapshot)  # the norms' running statistics have moved
        quantised.eval()
