"""Top-1 accuracy of a network on a set of images."""

from __future__ import annotations

import threading

import torch
from torch import nn

from quant.batches import at_once, eval_batches
from quant.data import Images
from quant.device import device_of
from quant.threads import in_threads, threads_for


def accuracy(model: nn.Module, data: Images, *, batch: int = 100) -> float:
    """Return the top-1 accuracy, a fraction; the network is left in evaluation mode.

    Threads share the batches of small images (`quant.threads`).
    """
    model.eval()
    device = device_of(model)
    batches, lock = eval_batches(data, size=batch), threading.Lock()

    @torch.no_grad()
    def count(network: nn.Module, _: None) -> int:
        correct = 0
        while True:
            with lock:
                images, labels = next(batches, (None, None))
            if images is None or labels is None:
                return correct
            logits = network(images.to(device))
            correct += int((logits.argmax(dim=1) == labels.to(device)).sum())

    large = at_once(data.shape, batch) < batch  # memory for one batch at a time
    threads = 1 if large else min(threads_for(model), -(-len(data) // batch))
    return sum(in_threads(count, model, [None] * threads)) / len(data)
