"""Top-1 accuracy of a network on a set of images."""

from __future__ import annotations

import torch
from torch import nn

from quant.batches import eval_batches
from quant.data import Images
from quant.device import device_of


@torch.no_grad()
def accuracy(model: nn.Module, data: Images, *, batch: int = 100) -> float:
    """Return the top-1 accuracy, a fraction; the network is left in evaluation mode."""
    model.eval()
    device = device_of(model)
    correct = 0
    for images, labels in eval_batches(data, size=batch):
        logits = model(images.to(device))
        correct += int((logits.argmax(dim=1) == labels.to(device)).sum())
    return correct / len(data)
