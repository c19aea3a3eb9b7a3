r"""What the scripts of other tools share: the same float network, images and judge as ours.

They run in a virtual environment of their own, since Brevitas asks for an older setuptools than the
tested one, and write a JSON line per width to stdout. To make it (versions that were used are in
docs/ptq-networks.json; on Linux the CPU build of torch):

    python3 -m venv PEERS
    PEERS/bin/pip install torch==2.13.0 brevitas==0.13.4 'onnx<1.22' onnxruntime==1.31.1 tqdm \
        numpy scipy threadpoolctl safetensors pydantic pyyaml typer rich

`make bench-ptq PEERS=PEERS/bin/python` starts them.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from quant.data import Images
from quant.evaluate import accuracy
from quant.ptq.network import CALIBRATION_IMAGES, calibration_images
from quant.threads import one_thread
from quant.workbench import Source, Workbench

BATCH = 64


@dataclass(frozen=True, kw_only=True, eq=False)
class Task:
    """A network to be quantised.

    Parameters
    ----------
    model : str
        Its name.
    network : nn.Module
        In float and evaluation mode; tools fold its batch norms themselves.
    images : float32 [N, C, H, W]
        Calibration images, those of our methods at the same seed.
    judged : Images
        Images that accuracies are told on.
    """

    model: str
    network: nn.Module
    images: Tensor
    judged: Images

    def batches(self) -> Iterator[Tensor]:
        """Yield calibration images, `BATCH` at a time."""
        for batch in torch.split(self.images, BATCH):
            yield batch.contiguous()

    def accuracy(self, model: nn.Module) -> float:
        """Return top-1."""
        return accuracy(model, self.judged)


Quantise = Callable[[Task, int], tuple[nn.Module, str]]
"""A tool: returns what runs its network at a number of weight bits, and how it was asked."""


def main(packages: tuple[str, ...], quantise: Quantise) -> None:
    """Run ``MODEL SEED PART DATA BITS...`` of the command line, PART being test or validation."""
    one_thread()
    model, seed, part, data, *widths = sys.argv[1:]
    stdout, sys.stdout = sys.stdout, sys.stderr  # tools print what they like
    bench = Workbench(Source(model=model, weights=None, data=Path(data)))
    task = Task(
        model=model,
        network=bench.teacher,
        images=calibration_images(bench.train_set, CALIBRATION_IMAGES, seed=int(seed)),
        judged=bench.images.validation if part == "validation" else bench.images.test,
    )
    versions = {name: metadata.version(name) for name in (*packages, "torch")}
    for bits in map(int, widths):
        torch.manual_seed(int(seed))
        began = time.process_time()
        network, recipe = quantise(task, bits)
        seconds = time.process_time() - began
        found: dict[str, Any] = {"bits": bits, "seconds": seconds, "recipe": recipe}
        found |= {"accuracy": task.accuracy(network), "versions": versions}
        print(json.dumps(found), file=stdout, flush=True)
    stdout.flush()
    os._exit(0)  # some tools leave threads behind
