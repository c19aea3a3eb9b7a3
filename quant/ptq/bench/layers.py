"""Layers to measure on: trained weights and the inputs that real images give them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import nn

from quant.data import ImageData, ImageSet
from quant.files import save_tensors, sha256
from quant.graph import Network, trace
from quant.models import IMAGE_SIZE, ResNet8, load, weights_path
from quant.ptq.network import calibration_images, collect
from quant.ptq.optimise import matrix
from quant.ptq.statistics import LayerStatistics
from quant.train import TrainSettings, train

Matrix = NDArray[np.float64]

WIDTHS = (64, 128, 256)
"""Stages of the wide ResNet-8: its second convolutions have the sizes of ResNet-18's."""

TRAIN_IMAGES = 12_800
SETTINGS = TrainSettings(epochs=1, batch=64, peak_lr=0.1)
CALIBRATION_IMAGES = 512
SEED = 0


@dataclass(frozen=True, kw_only=True)
class Case:
    """A layer of the benchmark.

    Parameters
    ----------
    network : str
        ``resnet8``, as shipped, or ``wide``, the same of `WIDTHS`, trained here for one short
        epoch.
    name : str
        Of the layer.
    rows, depth : int
        Size of its weights, M x K.
    images : int
        Calibration images, and as many held-out ones.
    """

    network: str
    name: str
    rows: int
    depth: int
    images: int

    @property
    def title(self) -> str:
        """What the layer is called in tables and files."""
        return f"{self.network}.{self.name} {self.rows}x{self.depth}"


CASES = (
    Case(network="resnet8", name="block3.conv2", rows=64, depth=576, images=512),
    Case(network="wide", name="block1.conv2", rows=64, depth=576, images=128),
    Case(network="wide", name="block2.conv2", rows=128, depth=1152, images=512),
    Case(network="wide", name="block3.conv2", rows=256, depth=2304, images=512),
)


@dataclass(frozen=True, kw_only=True, eq=False)
class LayerData:
    """What the optimisers work on, and what judges them.

    Parameters
    ----------
    weight : float64 [M, K]
    hessian : float64 [K, K]
        Mean outer product of inputs from training images.
    held_out : float64 [K, K]
        The same of validation images, which no optimiser sees.
    """

    weight: Matrix
    hessian: Matrix
    held_out: Matrix


class Layers:
    """The networks of the benchmark and their images.

    Parameters
    ----------
    data : ImageData
    folder : Path
        Where the weights of the wide network are kept.
    """

    def __init__(self, data: ImageData, folder: Path) -> None:
        self.data = data
        self.folder = folder
        self._networks: dict[str, Network] = {}

    def load(self, case: Case) -> LayerData:
        """Run the images through the float network, as far as the layer."""
        network = self._network(case.network)
        layer = network.module.get_submodule(case.name)
        assert isinstance(layer, nn.Conv2d)

        def hessian(images: ImageSet) -> Matrix:
            statistics = LayerStatistics(layer, case.name)
            chosen = calibration_images(images, case.images, seed=SEED)
            collect(network.module, layer, statistics, chosen)
            found: Matrix = statistics.hessian[0].numpy()
            return found

        return LayerData(
            weight=matrix(layer.weight),
            hessian=hessian(self.data.train),
            held_out=hessian(self.data.validation),
        )

    def weights(self, case: Case) -> str:
        """Return what a network's weights follow from: their SHA-256, or how they are trained."""
        if case.network == "resnet8":
            return sha256(weights_path("resnet8"))
        return f"{WIDTHS}, {SETTINGS}, {TRAIN_IMAGES} images, seed {SEED}"

    def _network(self, name: str) -> Network:
        if name not in self._networks:
            model = load("resnet8")[0] if name == "resnet8" else self._wide()
            example = torch.zeros(1, 1, IMAGE_SIZE, IMAGE_SIZE)
            self._networks[name] = trace(model, example)
        return self._networks[name]

    def _wide(self) -> nn.Module:
        torch.manual_seed(SEED)
        model = ResNet8(widths=WIDTHS).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        path = self.folder / f"wide-{TRAIN_IMAGES}.safetensors"
        if not path.exists():
            part = self.data.train.take(np.arange(min(TRAIN_IMAGES, len(self.data.train))))
            train(model, part, SETTINGS)
            save_tensors(dict(model.state_dict()), path, metadata={"settings": repr(SETTINGS)})
        model.load_state_dict(load_file(path))
        return model.eval()  # type: ignore[no-any-return]
