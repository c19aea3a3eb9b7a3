"""Networks by name; the shipped ones are a ResNet-8 and a depthwise-separable CNN for 28 x 28."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from quant.catalogue import (
    PRETRAINED,
    check_model,
    is_collected,
    is_factory,
    is_foreign,
    is_onnx,
)
from quant.collected import build_collected
from quant.errors import QuantError
from quant.factory import build_own, load_own
from quant.mobile import efficientnet_lite0, mobilenet_v2
from quant.pretrained import load_pretrained, weights_file

WEIGHTS_FOLDER = Path(__file__).parent / "weights"
IMAGE_SIZE = 28


class ResidualBlock(nn.Module):
    """Two 3 x 3 convolutions beside a shortcut, a 1 x 1 convolution where shapes change."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = _conv(inputs, outputs, 3, stride)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = _conv(outputs, outputs, 3, 1)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.relu1 = nn.ReLU()
        self.relu2 = nn.ReLU()
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(
                _conv(inputs, outputs, 1, stride), nn.BatchNorm2d(outputs)
            )

    def forward(self, x: Tensor) -> Tensor:
        """Map float [N, C, H, W] to float [N, C', H / stride, W / stride]."""
        y = self.relu1(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        return self.relu2(y + self.shortcut(x))  # type: ignore[no-any-return]


class ResNet8(nn.Module):
    """ResNet-8 after MLPerf Tiny v1.0 (image classification), for one input channel.

    77,754 parameters at the default widths.

    Parameters
    ----------
    widths : sequence of int
        Channels of the three stages.
    classes : int
        Outputs.
    """

    def __init__(self, *, widths: Sequence[int] = (16, 32, 64), classes: int = 10) -> None:
        super().__init__()
        self.stem = _conv(1, widths[0], 3, 1)
        self.bn = nn.BatchNorm2d(widths[0])
        self.relu = nn.ReLU()
        self.block1 = ResidualBlock(widths[0], widths[0], 1)
        self.block2 = ResidualBlock(widths[0], widths[1], 2)
        self.block3 = ResidualBlock(widths[1], widths[2], 2)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.fc = nn.Linear(widths[2], classes)

    def forward(self, x: Tensor) -> Tensor:
        """Map float [N, 1, H, W] to logits, float [N, classes]."""
        y = self.relu(self.bn(self.stem(x)))
        y = self.block3(self.block2(self.block1(y)))
        return self.fc(self.flatten(self.pool(y)))  # type: ignore[no-any-return]


class DepthwiseSeparable(nn.Module):
    """A 3 x 3 depthwise and a 1 x 1 pointwise convolution, each with batch norm and ReLU."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.depthwise = _conv(inputs, inputs, 3, stride, groups=inputs)
        self.bn1 = nn.BatchNorm2d(inputs)
        self.relu1 = nn.ReLU()
        self.pointwise = _conv(inputs, outputs, 1, 1)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.relu2 = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """Map float [N, C, H, W] to float [N, C', H / stride, W / stride]."""
        y = self.relu1(self.bn1(self.depthwise(x)))
        return self.relu2(self.bn2(self.pointwise(y)))  # type: ignore[no-any-return]


class DSCNN(nn.Module):
    """Depthwise-separable CNN in the manner of MobileNet-v1 (arXiv 1704.04861), widths ours.

    54,922 parameters at the default widths.

    Parameters
    ----------
    stem : int
        Channels after the first convolution.
    blocks : sequence of (int, int)
        Output channels and stride of each depthwise-separable block.
    classes : int
        Outputs.
    """

    def __init__(
        self,
        *,
        stem: int = 16,
        blocks: Sequence[tuple[int, int]] = (
            (32, 1),
            (64, 2),
            (64, 1),
            (128, 2),
            (128, 1),
            (128, 1),
        ),
        classes: int = 10,
    ) -> None:
        super().__init__()
        self.stem = _conv(1, stem, 3, 1)
        self.bn = nn.BatchNorm2d(stem)
        self.relu = nn.ReLU()
        widths = [stem, *(width for width, _ in blocks)]
        self.blocks = nn.Sequential(
            *(
                DepthwiseSeparable(inputs, outputs, stride)
                for inputs, (outputs, stride) in zip(widths, blocks, strict=False)
            )
        )
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.fc = nn.Linear(widths[-1], classes)

    def forward(self, x: Tensor) -> Tensor:
        """Map float [N, 1, H, W] to logits, float [N, classes]."""
        y = self.blocks(self.relu(self.bn(self.stem(x))))
        return self.fc(self.flatten(self.pool(y)))  # type: ignore[no-any-return]


def _conv(inputs: int, outputs: int, kernel: int, stride: int, *, groups: int = 1) -> nn.Conv2d:
    padding = kernel // 2
    return nn.Conv2d(inputs, outputs, kernel, stride, padding=padding, groups=groups, bias=False)


REGISTRY: dict[str, Callable[[], nn.Module]] = {
    "resnet8": ResNet8,
    "dscnn": DSCNN,
    "efficientnet-lite0": efficientnet_lite0,
    "mobilenet-v2": mobilenet_v2,
}


def build(name: str, *, seed: int = 0) -> nn.Module:
    """Build a network with seeded random weights, or what a factory of the user's gives it.

    Raises
    ------
    QuantError
        If no network has this name, or it is an ONNX file's, which has weights already.
    """
    check_model(name)
    if is_collected(name):
        return build_collected(name, seed=seed)
    if is_factory(name):
        return build_own(name, seed=seed)
    if is_onnx(name):
        raise QuantError(f"{name}: network must be of Python code to be trained, not of a file")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = REGISTRY[name]()
    return model.to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]


def weights_path(name: str) -> Path:
    """Return the file of a named network's weights.

    Raises
    ------
    QuantError
        If it is a package's, which is not installed.
    """
    return weights_file(name) if name in PRETRAINED else WEIGHTS_FOLDER / f"{name}.safetensors"


def load(name: str, path: Path | None = None) -> tuple[nn.Module, dict[str, str]]:
    """Return a trained network, in evaluation mode, and the metadata of its weight file.

    Parameters
    ----------
    name : str
        Name in the registry or of a collection (`quant.collected`), ``module:factory``
        (`quant.factory`) or ``FILE.onnx``.
    path : Path, optional
        A safetensors file; the shipped weights, or those of a package (`quant.pretrained`), by
        default.

    Raises
    ------
    QuantError
        If the name is unknown, a package is not installed, or the file is missing, malformed or
        of another network.
    """
    if is_foreign(name) or is_onnx(name):
        return load_own(name, path)
    model = build(name)
    if name in PRETRAINED:
        return load_pretrained(name, model, path)
    path = path or weights_path(name)
    try:
        with safe_open(path, framework="pt") as file:
            metadata = dict(sorted((file.metadata() or {}).items()))  # it comes in any order
            state = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise QuantError(
            f"{path}: weights must be a safetensors file, not: {_first_line(error)}; make one with "
            f"`python -m quant.train --model {name} --out FILE`"
        ) from error
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        raise QuantError(
            f"{path}: weights must fit {name}, not another network; make them with "
            f"`python -m quant.train --model {name} --out FILE`"
        ) from error
    return model.eval(), metadata


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or ["unreadable"])[0]
