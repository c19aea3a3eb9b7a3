"""Networks of inverted residual blocks for photographs: MobileNet-v2 and EfficientNet-Lite0."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True, kw_only=True)
class Stage:
    """Blocks of one width; the first of them has the stride.

    Parameters
    ----------
    expansion : int
        Channels inside a block over those that it reads; 1 leaves the expansion out.
    outputs : int
        Channels that a block gives.
    repeats : int
        Blocks.
    stride : int
    kernel : int
        Width of the depthwise convolution.
    """

    expansion: int
    outputs: int
    repeats: int
    stride: int
    kernel: int = 3


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """A network of inverted residual blocks.

    Parameters
    ----------
    stages : sequence of Stage
    mean, deviation : (float, float, float)
        Of red, green, blue as pixel / 255: inputs are normalised with them.
    norm_eps : float
        Of the batch norms.
    same : bool
        Whether convolutions with a stride of 2 are padded as TensorFlow does (at the right and
        below more than at the left and above) instead of evenly.
    stem, head : int
        Channels of the first and the last convolution.
    classes : int
    """

    stages: Sequence[Stage]
    mean: tuple[float, float, float]
    deviation: tuple[float, float, float]
    norm_eps: float
    same: bool
    stem: int = 32
    head: int = 1280
    classes: int = 1000


MOBILENET_V2 = Architecture(
    stages=(
        Stage(expansion=1, outputs=16, repeats=1, stride=1),
        Stage(expansion=6, outputs=24, repeats=2, stride=2),
        Stage(expansion=6, outputs=32, repeats=3, stride=2),
        Stage(expansion=6, outputs=64, repeats=4, stride=2),
        Stage(expansion=6, outputs=96, repeats=3, stride=1),
        Stage(expansion=6, outputs=160, repeats=3, stride=2),
        Stage(expansion=6, outputs=320, repeats=1, stride=1),
    ),
    mean=(0.485, 0.456, 0.406),
    deviation=(0.229, 0.224, 0.225),
    norm_eps=1e-5,
    same=False,
)
"""Sandler et al. (arXiv 1801.04381), table 2; normalisation and padding as in torchvision."""

EFFICIENTNET_LITE0 = Architecture(
    stages=(
        Stage(expansion=1, outputs=16, repeats=1, stride=1),
        Stage(expansion=6, outputs=24, repeats=2, stride=2),
        Stage(expansion=6, outputs=40, repeats=2, stride=2, kernel=5),
        Stage(expansion=6, outputs=80, repeats=3, stride=2),
        Stage(expansion=6, outputs=112, repeats=3, stride=1, kernel=5),
        Stage(expansion=6, outputs=192, repeats=4, stride=2, kernel=5),
        Stage(expansion=6, outputs=320, repeats=1, stride=1),
    ),
    mean=(127 / 255,) * 3,
    deviation=(128 / 255,) * 3,
    norm_eps=1e-3,
    same=True,
)
"""Tan and Le (arXiv 1905.11946), table 1, without squeeze-and-excitation and with ReLU6, as the
lite networks of TensorFlow's model garden are; pixels are normalised as (p - 127) / 128."""


class Normalise(nn.Module):
    """Subtract each channel's mean and divide by its deviation, in float."""

    gain: Tensor
    offset: Tensor

    def __init__(self, mean: Sequence[float], deviation: Sequence[float]) -> None:
        super().__init__()
        gain = 1 / torch.tensor(deviation).reshape(-1, 1, 1)
        self.register_buffer("gain", gain, persistent=False)
        offset = torch.tensor(mean).reshape(-1, 1, 1) * gain
        self.register_buffer("offset", offset, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map float [N, C, H, W] to float of the same shape."""
        return x * self.gain - self.offset


class ConvNorm(nn.Module):
    """A convolution without bias, batch norm and, if `active`, ReLU6; sides are padded to keep."""

    def __init__(
        self,
        architecture: Architecture,
        inputs: int,
        outputs: int,
        *,
        kernel: int = 1,
        stride: int = 1,
        groups: int = 1,
        active: bool = True,
    ) -> None:
        super().__init__()
        uneven = architecture.same and stride == 2
        before = (kernel - stride) // 2  # of an even number of pixels
        sides = (before, kernel - stride - before) * 2
        self.pad: nn.Module = nn.ZeroPad2d(sides) if uneven else nn.Identity()
        padding = 0 if uneven else kernel // 2
        self.conv = nn.Conv2d(
            inputs, outputs, kernel, stride, padding=padding, groups=groups, bias=False
        )
        self.norm = nn.BatchNorm2d(outputs, eps=architecture.norm_eps)
        self.act: nn.Module = nn.ReLU6() if active else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Map float [N, C, H, W] to float [N, C', H / stride, W / stride]."""
        return self.act(self.norm(self.conv(self.pad(x))))  # type: ignore[no-any-return]


class InvertedResidual(nn.Module):
    """Expansion, depthwise convolution and linear projection, beside a shortcut where it fits."""

    def __init__(self, architecture: Architecture, inputs: int, stage: Stage, stride: int) -> None:
        super().__init__()
        width = inputs * stage.expansion
        self.expand: nn.Module = (
            ConvNorm(architecture, inputs, width) if stage.expansion != 1 else nn.Identity()
        )
        self.depthwise = ConvNorm(
            architecture, width, width, kernel=stage.kernel, stride=stride, groups=width
        )
        self.project = ConvNorm(architecture, width, stage.outputs, active=False)
        self.shortcut = stride == 1 and inputs == stage.outputs

    def forward(self, x: Tensor) -> Tensor:
        """Map float [N, C, H, W] to float [N, C', H / stride, W / stride]."""
        y: Tensor = self.project(self.depthwise(self.expand(x)))
        return x + y if self.shortcut else y


class MobileNetwork(nn.Module):
    """A network of inverted residual blocks on photographs, pixel / 255.

    Parameters
    ----------
    architecture : Architecture
    """

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.normalise = Normalise(architecture.mean, architecture.deviation)
        self.stem = ConvNorm(architecture, 3, architecture.stem, kernel=3, stride=2)
        blocks: list[nn.Module] = []
        width = architecture.stem
        for stage in architecture.stages:
            for index in range(stage.repeats):
                stride = stage.stride if index == 0 else 1
                blocks.append(InvertedResidual(architecture, width, stage, stride))
                width = stage.outputs
        self.blocks = nn.Sequential(*blocks)
        self.head = ConvNorm(architecture, width, architecture.head)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.classifier = nn.Linear(architecture.head, architecture.classes)

    def forward(self, x: Tensor) -> Tensor:
        """Map float [N, 3, H, W], H and W multiples of 32, to logits, float [N, classes]."""
        y = self.head(self.blocks(self.stem(self.normalise(x))))
        return self.classifier(self.flatten(self.pool(y)))  # type: ignore[no-any-return]


def mobilenet_v2() -> MobileNetwork:
    """MobileNet-v2 of width 1: 3,504,872 parameters."""
    return MobileNetwork(MOBILENET_V2)


def efficientnet_lite0() -> MobileNetwork:
    """EfficientNet-Lite0: 4,652,008 parameters."""
    return MobileNetwork(EFFICIENTNET_LITE0)
