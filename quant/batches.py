"""Batches of images as tensors: seeded order, flips and shifts."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional

from quant.data import ImageSet

MAX_SHIFT = 2


def to_input(images: Tensor) -> Tensor:
    """Turn uint8 [N, H, W] pixels into float32 [N, 1, H, W] inputs, pixel / 255."""
    return images[:, None].float().div_(255.0).contiguous(memory_format=torch.channels_last)


def eval_batches(data: ImageSet, *, size: int = 500) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield (float32 [n, 1, H, W], int64 [n]) in order, the last batch possibly smaller."""
    images, labels = torch.from_numpy(data.images.copy()), torch.from_numpy(data.labels)
    for start in range(0, len(data), size):
        yield to_input(images[start : start + size]), labels[start : start + size]


def train_batches(
    data: ImageSet, *, steps: int, size: int = 128, seed: int, augment: bool = True
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield `steps` batches of shuffled training images, epoch after epoch.

    Parameters
    ----------
    data : ImageSet
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
    float32 [size, 1, H, W], int64 [size]
    """
    generator = torch.Generator().manual_seed(seed)
    images, labels = torch.from_numpy(data.images.copy()), torch.from_numpy(data.labels)
    size = min(size, len(data))
    per_epoch = len(data) // size
    order = torch.empty(0, dtype=torch.int64)
    for step in range(steps):
        position = step % per_epoch
        if position == 0:
            order = torch.randperm(len(data), generator=generator)
        index = order[position * size : (position + 1) * size]
        batch = images[index]
        if augment:
            batch = flip_and_shift(batch, generator=generator)
        yield to_input(batch), labels[index]


def flip_and_shift(images: Tensor, *, generator: torch.Generator) -> Tensor:
    """Mirror half of the images and shift each by up to 2 pixels, zeros moving in.

    Parameters
    ----------
    images : uint8 [N, H, W]
    generator : torch.Generator

    Returns
    -------
    uint8 [N, H, W]
    """
    count, height, width = images.shape
    flip = torch.rand(count, generator=generator) < 0.5
    shift = torch.randint(0, 2 * MAX_SHIFT + 1, (2, count), generator=generator)
    padded = functional.pad(images, (MAX_SHIFT,) * 4)
    rows = shift[0, :, None] + torch.arange(height)  # [N, H]
    forward = torch.arange(width).expand(count, width)
    columns = shift[1, :, None] + torch.where(flip[:, None], width - 1 - forward, forward)
    return padded[torch.arange(count)[:, None, None], rows[:, :, None], columns[:, None, :]]
