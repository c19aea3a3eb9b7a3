"""A network in the manner of MobileNet-v2 for the 32 x 32 images of CIFAR-10: docs/own-network.md.

`python mobile_cifar.py FOLDER` writes images of CIFAR's binary form that can be told apart, for
trying the commands without the data set.
"""

import sys
from pathlib import Path

import numpy as np
from torch import Tensor, nn


class Inverted(nn.Module):
    """Widened, filtered channel by channel, narrowed; added to its input where the sizes allow."""

    def __init__(self, inputs: int, outputs: int, *, expansion: int, stride: int) -> None:
        super().__init__()
        inner = inputs * expansion
        self.adds = stride == 1 and inputs == outputs
        self.body = nn.Sequential(
            nn.Conv2d(inputs, inner, 1, bias=False),
            nn.BatchNorm2d(inner),
            nn.ReLU6(),
            nn.Conv2d(inner, inner, 3, stride, 1, groups=inner, bias=False),
            nn.BatchNorm2d(inner),
            nn.ReLU6(),
            nn.Conv2d(inner, outputs, 1, bias=False),
            nn.BatchNorm2d(outputs),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, inputs, H, W] to [N, outputs, H / stride, W / stride]."""
        y: Tensor = self.body(x)
        return x + y if self.adds else y


def mobile() -> nn.Module:
    """Return the network: 3 x 32 x 32 to 10 logits, 14 layers, 27,000 numbers."""
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, 2, 1, bias=False),
        nn.BatchNorm2d(16),
        nn.ReLU6(),
        Inverted(16, 24, expansion=4, stride=2),
        Inverted(24, 24, expansion=4, stride=1),
        Inverted(24, 32, expansion=4, stride=2),
        Inverted(32, 32, expansion=4, stride=1),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(32, 10),
    )


def write(folder: Path, *, train: int = 1000, test: int = 500) -> None:
    """Write five files of training records and one of test: a colour and a place a class."""
    folder.mkdir(parents=True, exist_ok=True)
    colours = np.random.default_rng(1).integers(-60, 60, (10, 3))
    for number in range(6):
        random = np.random.default_rng(number)
        labels = random.integers(0, 10, train if number else test)
        pixels = random.normal(128, 40, (len(labels), 3, 32, 32))
        for i, label in enumerate(labels):
            row, column = 3 * label, 29 - 3 * label
            pixels[i, :, row : row + 5, column : column + 5] += colours[label][:, None, None]
        records = np.concatenate([labels[:, None], pixels.clip(0, 255).reshape(len(labels), -1)], 1)
        name = f"data_batch_{number}.bin" if number else "test_batch.bin"
        (folder / name).write_bytes(records.astype(np.uint8).tobytes())


if __name__ == "__main__":
    write(Path(sys.argv[1]))
