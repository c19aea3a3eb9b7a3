"""Batches of images as tensors: seeded order, flips and shifts."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from quant.data import Images

MAX_SHIFT = 2
MOST_VALUES = 1 << 21
"""Pixels, all colours, of the images that go through a network together: 13 of 224 x 224 x 3."""


def to_input(images: Tensor) -> Tensor:
    """Turn pixels into network inputs, pixel / 255.

    Parameters
    ----------
    images : uint8 [N, H, W] or [N, H, W, C]

    Returns
    -------
    float32 [N, 1, H, W] or [N, C, H, W]
        In the memory format channels_last.
    """
    channels = images[:, None] if images.ndim == 3 else images.permute(0, 3, 1, 2)
    return channels.float().div_(255.0).contiguous(memory_format=torch.channels_last)


def inputs_of(data: Images, index: NDArray[np.int64]) -> Tensor:
    """Return some images as network inputs, float32 [n, C, H, W]."""
    return to_input(torch.from_numpy(data.pixels(index)))


def at_once(shape: tuple[int, ...], most: int) -> int:
    """How many images, each of a shape, go through a network together; `most` or fewer."""
    return max(1, min(most, MOST_VALUES // math.prod(shape)))


def eval_batches(data: Images, *, size: int = 500) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield (float32 [n, C, H, W], int64 [n]) in order, the last batch possibly smaller.

    Parameters
    ----------
    data : Images
    size : int
        Images a batch, or as many as `at_once` allows.
    """
    size = at_once(data.shape, size)
    labels = torch.from_numpy(data.labels)
    for start in range(0, len(data), size):
        index = np.arange(start, min(start + size, len(data)))
        yield inputs_of(data, index), labels[start : start + size]


def train_batches(
    data: Images, *, steps: int, size: int = 128, seed: int, augment: bool = True
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield `steps` batches of shuffled training images, epoch after epoch.

    Parameters
    ----------
    data : Images
        Training images.
    steps : int
        Batches in all.
    size : int
        Images per batch, fewer if there are fewer images.
    seed : int
        Seed of order, flips and shifts.
    augment : bool
        Whether to mirror half of the images and to shift by up to 2 pixels in x and y.

    Yields
    ------
    float32 [size, C, H, W], int64 [size]
    """
    generator = torch.Generator().manual_seed(seed)
    labels = torch.from_numpy(data.labels)
    size = min(size, len(data))
    per_epoch = len(data) // size
    order = torch.empty(0, dtype=torch.int64)
    for step in range(steps):
        position = step % per_epoch
        if position == 0:
            order = torch.randperm(len(data), generator=generator)
        index = order[position * size : (position + 1) * size]
        batch = torch.from_numpy(data.pixels(index.numpy()))
        if augment:
            batch = flip_and_shift(batch, generator=generator)
        yield to_input(batch), labels[index]


def flip_and_shift(images: Tensor, *, generator: torch.Generator) -> Tensor:
    """Mirror half of the images and shift each by up to 2 pixels, zeros moving in.

    Parameters
    ----------
    images : uint8 [N, H, W] or [N, H, W, C]
    generator : torch.Generator

    Returns
    -------
    uint8, same shape
    """
    count, height, width = images.shape[:3]
    flip = torch.rand(count, generator=generator) < 0.5
    shift = torch.randint(0, 2 * MAX_SHIFT + 1, (2, count), generator=generator)
    inner = (0, 0) * (images.ndim - 3)  # not of the colours
    padded = functional.pad(images, inner + (MAX_SHIFT,) * 4)
    rows = shift[0, :, None] + torch.arange(height)  # [N, H]
    forward = torch.arange(width).expand(count, width)
    columns = shift[1, :, None] + torch.where(flip[:, None], width - 1 - forward, forward)
    return padded[torch.arange(count)[:, None, None], rows[:, :, None], columns[:, None, :]]
