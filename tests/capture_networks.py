"""Networks that are traced and watched in tests: shared layers, branches, sums, gates."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from hw.precision import WeightMode
from quant.hooks import watched
from quant.network import Gap, InPlaceNetwork, Network
from quant.quant_network import QuantNetwork, uniform_bits


def normed(inputs: int, outputs: int, kernel: int, **more: Any) -> list[nn.Module]:
    """Give a convolution and its batch norm, with statistics that training would leave."""
    norm = nn.BatchNorm2d(outputs)
    generator = torch.Generator().manual_seed(outputs)
    for values in (norm.weight, norm.bias, norm.running_mean):
        assert values is not None
        values.data.copy_(torch.randn(outputs, generator=generator))
    conv = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=False, **more)
    return [conv, norm]


class Branching(nn.Module):
    """Takes a way that depends on the image."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.bn = normed(1, 4, 3)
        self.extra = nn.Conv2d(4, 4, 1)
        self.drop = nn.Dropout(0.5)
        self.fc = nn.Linear(4, 10)

    def forward(self, x: Tensor) -> Any:
        y = functional.relu(self.bn(self.conv(x)))
        if x.mean() > 0.9:
            y = self.extra(y)
        return self.fc(self.drop(y.mean((2, 3))))


class Shared(nn.Module):
    """Calls one convolution and its batch norm twice."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 4, 3, padding=1)
        self.conv, self.bn = normed(4, 4, 3)
        self.fc = nn.Linear(4, 10)

    def forward(self, x: Tensor) -> Any:
        y = self.bn(self.conv(self.stem(x)))
        y = functional.relu(self.bn(self.conv(y)))
        return self.fc(functional.adaptive_avg_pool2d(y, 1).flatten(1))


class Inception(nn.Module):
    """Concatenates branches; every ReLU is a function."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 4, 3, padding=1)
        self.a, self.bn_a = normed(4, 3, 1)
        self.b, self.bn_b = normed(4, 5, 3)
        self.out = nn.Conv2d(12, 4, 1)
        nn.init.ones_(self.out.bias)  # type: ignore[arg-type]
        self.fc = nn.Linear(4, 10)

    def forward(self, x: Tensor) -> Any:
        y = functional.relu(self.stem(x))
        a, b = functional.relu(self.bn_a(self.a(y))), functional.relu(self.bn_b(self.b(y)))
        y = torch.cat([a, b, functional.max_pool2d(y, 3, 1, 1)], 1)
        return self.fc(functional.avg_pool2d(functional.relu(self.out(y)), 8).flatten(1))


class Residual(nn.Module):
    """Adds without a ReLU behind it, then normalises by groups."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 4, 3, padding=1)
        self.conv, self.bn = normed(4, 4, 3)
        self.last = nn.Conv2d(4, 4, 3)
        self.group_norm = nn.GroupNorm(2, 4)
        self.fc = nn.Linear(4, 10)

    def forward(self, x: Tensor) -> Any:
        y = self.stem(x)
        y = y + self.bn(self.conv(y))
        return self.fc(self.group_norm(self.last(y)).mean([2, 3]))


class Inverted(nn.Module):
    """MobileNet-v2's block with ReLU6 in place, and a squeeze-excite gate."""

    def __init__(self) -> None:
        super().__init__()
        self.expand = nn.Sequential(*normed(1, 8, 1), nn.ReLU6(inplace=True))
        self.depthwise = nn.Sequential(*normed(8, 8, 3, groups=8), nn.ReLU6(inplace=True))
        self.squeeze = nn.Conv2d(8, 2, 1)
        self.excite = nn.Conv2d(2, 8, 1)
        self.project, self.bn = normed(8, 8, 1)
        self.fc = nn.Linear(8, 10)

    def forward(self, x: Tensor) -> Any:
        y = self.expand(x)
        z = self.depthwise(y)
        gate = functional.relu(self.squeeze(functional.adaptive_avg_pool2d(z, 1)))
        y = y + self.bn(self.project(z * torch.sigmoid(self.excite(gate))))
        return self.fc(y.mean((-1, -2)))


NETWORKS = [Shared, Inception, Residual, Inverted]


def images(count: int = 4) -> Tensor:
    return torch.rand(count, 1, 8, 8, generator=torch.Generator().manual_seed(2))


def made(kind: type[nn.Module]) -> nn.Module:
    torch.manual_seed(0)
    return kind().eval()


def watch(model: nn.Module) -> InPlaceNetwork:
    return watched(model, [images()], reason="asked")


def w8(network: Network) -> QuantNetwork:
    return QuantNetwork(network, uniform_bits(network, WeightMode.W8)).eval()


def said(network: Network, gap: Gap) -> list[str]:
    return [str(note) for note in network.notes if note.gap is gap]
