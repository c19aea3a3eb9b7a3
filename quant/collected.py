"""Networks of timm and torchvision, where these are installed: ``torchvision:resnet18``.

``torchvision:NAME`` or ``timm:NAME``, with ``:CLASSES`` behind it for another number of outputs
than the 1000 of ImageNet. Weights come from a file, nothing is downloaded. These networks read
normalised images, so that one module goes before each: ImageNet's mean and deviation, or those
that timm has for the network. A network of other images is better given as ``module:factory``.
"""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from quant.errors import QuantError
from quant.mobile import MOBILENET_V2, Normalise

CLASSES = 1000
_INNER = "network."


class Collected(nn.Module):
    """A network of a collection on pixel / 255.

    Parameters
    ----------
    network : nn.Module
    mean, deviation : sequence of float
        Of each channel: inputs are normalised with them.
    """

    def __init__(
        self, network: nn.Module, *, mean: Sequence[float], deviation: Sequence[float]
    ) -> None:
        super().__init__()
        self.normalise = Normalise(mean, deviation)
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        """Map float [N, C, H, W] to logits, float [N, classes]."""
        return self.network(self.normalise(x))  # type: ignore[no-any-return]


def build_collected(name: str, *, seed: int) -> nn.Module:
    """Build a network of a collection with random weights.

    Parameters
    ----------
    name : str
        ``timm:NAME``, ``torchvision:NAME``, either with ``:CLASSES`` behind it.
    seed : int
        Of the weights.

    Raises
    ------
    QuantError
        If the collection is not installed, or has no network of this name for classes; tells the
        nearest one.
    """
    package, _, rest = name.partition(":")
    network, colon, count = rest.partition(":")
    if colon and not (count.isascii() and count.isdecimal() and int(count) > 0):
        raise QuantError(f"model {name} must end with its number of classes, not {count!r}")
    build = _torchvision if package == "torchvision" else _timm
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build(name, network, int(count) if colon else CLASSES)


def fitting(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return weights under the names of `Collected`, be they ours or those of the collection."""
    if any(key.startswith(_INNER) for key in state):
        return dict(state)
    return {_INNER + key: tensor for key, tensor in state.items()}


def _torchvision(name: str, network: str, classes: int) -> nn.Module:
    models = _module("torchvision.models", name)
    # those of `torchvision.models` itself: no detection, segmentation, video or quantised ones
    _check_known(network, models.list_models(module=models), name=name)
    made = _made(name, lambda: models.get_model(network, weights=None, num_classes=classes))
    return Collected(made, mean=MOBILENET_V2.mean, deviation=MOBILENET_V2.deviation)


def _timm(name: str, network: str, classes: int) -> nn.Module:
    timm = _module("timm", name)
    architecture = network.partition(".")[0]  # behind the dot: which weights, of which mean
    _check_known(architecture, timm.list_models(), name=name)
    made = _made(name, lambda: timm.create_model(network, pretrained=False, num_classes=classes))
    about: Mapping[str, Any] = getattr(made, "pretrained_cfg", None) or {}
    mean, deviation = about.get("mean", MOBILENET_V2.mean), about.get("std", MOBILENET_V2.deviation)
    return Collected(made, mean=mean, deviation=deviation)


def _module(path: str, name: str) -> Any:
    try:
        return importlib.import_module(path)
    except ImportError as error:
        package = path.partition(".")[0]
        raise QuantError(
            f"model {name} must come with {package} installed, but: {error}; run "
            f"`pip install {package}`, or give module:factory"
        ) from error


def _check_known(network: str, known: Sequence[str], *, name: str) -> None:
    if network in known:
        return
    near = difflib.get_close_matches(network, known, n=1, cutoff=0.0)
    package = name.partition(":")[0]
    raise QuantError(
        f"model {name} must be a classifier of {package}, and there is no {network}"
        + (f"; the nearest is {package}:{near[0]}" if near else "")
    )


def _made(name: str, make: Any) -> nn.Module:
    try:
        made = make()
    except Exception as error:  # whatever the collection raises
        raise QuantError(
            f"model {name} must be built without weights, not: {type(error).__name__}: {error}"
        ) from error
    if not isinstance(made, nn.Module):
        raise QuantError(f"model {name} must be an nn.Module, not a {type(made).__name__}")
    return made
