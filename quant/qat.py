"""Quantisation-aware training (QAT): short, seeded, with the batch norms kept and folded after."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from quant.batches import train_batches
from quant.data import Images
from quant.errors import QuantError
from quant.quant_network import QuantNetwork
from quant.scales import Scales
from quant.team import ALONE, Team


@dataclass(frozen=True, kw_only=True)
class QatSettings:
    """Recipe: Adam, learning rate warmed up over a tenth of the steps, then cosine decay to 0.

    Parameters
    ----------
    steps : int
        Training steps.
    batch : int
        Images per step.
    peak_lr : float
        Highest learning rate.
    scale_lr : float
        Highest learning rate of learned scales, relative to the mean scale of their layer at the
        start: Adam's steps are about as large as the learning rate, whatever the gradient, and
        scales are not all of one size. Ours.
    distil : float
        Share of the loss that is cross-entropy to the float network's softened outputs
        (Hinton et al., arXiv 1503.02531); 0 to 1.
    temperature : float
        Of the softening.
    seed : int
        Of the order of the images.
    scales : Scales
        Where the scales of weights come from.
    """

    steps: int
    batch: int = 64
    peak_lr: float = 2e-3
    scale_lr: float = 1e-2
    distil: float = 0.5
    temperature: float = 4.0
    seed: int = 0
    scales: Scales = Scales.MIN_MAX

    def __post_init__(self) -> None:
        """Check the ranges."""
        if self.steps < 1:
            raise ValueError(f"steps must be at least 1, not {self.steps}")
        if not 0 <= self.distil <= 1:
            raise ValueError(f"distil must be from 0 to 1, not {self.distil:g}")


def lr_share(step: int, steps: int) -> float:
    """Share of the peak learning rate at a step, from 0, of a run of `steps`."""
    warm_up = max(1, steps // 10)
    if step < warm_up:
        return (step + 1) / warm_up
    return 0.5 * (1 + math.cos(math.pi * (step - warm_up + 1) / (steps - warm_up + 1)))


def _groups(network: QuantNetwork, settings: QatSettings) -> list[dict[str, Any]]:
    """Parameters with their learning rates: learned scales by layer, all others together."""
    layers = [layer for _, layer in network.quant_layers()]
    scales = [layer.scale for layer in layers if layer.scale is not None]
    own = {id(scale) for scale in scales}
    others = [parameter for parameter in network.parameters() if id(parameter) not in own]
    return [
        {"params": others, "lr": settings.peak_lr},
        *(
            {
                "params": [scale],
                "lr": settings.scale_lr * float(scale.detach().mean()),
                "weight_decay": 0.0,
            }
            for scale in scales
            if scale.requires_grad
        ),
    ]


def train_quantised(
    network: QuantNetwork,
    data: Images,
    settings: QatSettings,
    *,
    teacher: nn.Module | None = None,
    team: Team = ALONE,
    on_step: Callable[[], None] = lambda: None,
) -> None:
    """Train a fake-quantised network in place; activation ranges stay as they are.

    Parameters
    ----------
    network : QuantNetwork
        Calibrated; left in evaluation mode.
    data : Images
        Training images.
    settings : QatSettings
        The recipe.
    teacher : nn.Module, optional
        The float network, in evaluation mode; none means no distillation.
    team : Team
        Processes that train the same network with the same arguments, each on its part of the
        batches; the gradients are those of whole batches.
    on_step : callable
        Called after each step.

    Raises
    ------
    QuantError
        If a batch has fewer images than there are processes.
    """
    most = min(settings.batch, len(data))
    if team.size > most:
        raise QuantError(
            f"processes must be at most {most}, the images of a batch, not {team.size}"
        )
    optimiser = torch.optim.Adam(_groups(network, settings))
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda step: lr_share(step, settings.steps)
    )
    layers = [layer for _, layer in network.quant_layers()]
    network.train()
    batches = train_batches(
        data, steps=settings.steps, size=settings.batch, seed=settings.seed, augment=False
    )
    for images, labels, share in team.parts(batches, network):
        logits = network(images)  # [N, classes]
        loss = functional.cross_entropy(logits, labels)
        if teacher is not None and settings.distil > 0:
            with torch.no_grad():
                soft = functional.softmax(teacher(images) / settings.temperature, dim=1)
            softened = functional.cross_entropy(logits / settings.temperature, soft)
            gain = settings.temperature**2  # keeps the gradients of both terms comparable
            loss = (1 - settings.distil) * loss + settings.distil * gain * softened
        optimiser.zero_grad(set_to_none=True)
        (share * loss).backward()  # type: ignore[no-untyped-call]
        team.sum_gradients(network)
        optimiser.step()
        schedule.step()
        for layer in layers:
            layer.clamp_gains()
        on_step()
    network.eval()
