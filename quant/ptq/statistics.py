"""Second moments of a layer's inputs, streamed over batches of images."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from quant.errors import QuantError
from quant.network import WeightLayer, pads

CHUNK_BYTES = 32 << 20
"""Largest unfolded piece of a batch."""


class LayerStatistics:
    """Mean and second moment of the columns that a layer multiplies its weights with.

    With the columns x of all images and output pixels (convolutions unfolded, zeros in the padding)
    the Hessian is the mean of x x^T, in float64. It is half of the Hessian that OBC (arXiv
    2208.11580) and GPTQ (arXiv 2210.17323) take, 2 X X^T / N; no method depends on that factor.
    So ``e @ hessian @ e`` is the mean square that a weight error e adds to an output.

    Holds ``groups * K * (K + 1)`` numbers, and while a batch is added `CHUNK_BYTES` more.

    Parameters
    ----------
    layer : Conv2d or Linear
        Gives kernel, stride, padding, dilation and groups; K runs over (channel of the group, ky,
        kx), as in its weight.
    name : str
        Of the layer, for errors.
    """

    def __init__(self, layer: WeightLayer, name: str = "layer") -> None:
        self.name = name
        self.layer = layer
        self.groups = _groups(layer)
        depth = layer.weight[0].numel()
        self.count = 0
        """Columns seen."""
        self._sum = torch.zeros(self.groups, depth, dtype=torch.float64)
        self._squares = torch.zeros(self.groups, depth, depth, dtype=torch.float64)

    @staticmethod
    def size_bytes(layer: WeightLayer) -> int:
        """Return what the statistics of a layer take."""
        depth = layer.weight[0].numel()
        return 8 * _groups(layer) * depth * (depth + 1)

    @torch.no_grad()
    def add(self, inputs: Tensor) -> None:
        """Add a batch.

        Parameters
        ----------
        inputs : float [N, C, H, W], of a linear layer [N, ..., C]
            What the layer reads.

        Raises
        ------
        QuantError
            If a value is not finite.
        """
        if not bool(torch.isfinite(inputs).all()):
            raise QuantError(
                f"{self.name}: inputs must be finite, not infinite or NaN; check the network's "
                "weights and the images"
            )
        for part in torch.split(inputs, self._images_at_once(inputs)):
            columns = self._columns(part)  # [groups, K, n]
            self.count += columns.shape[2]
            self._sum += columns.sum(dim=2)
            with np.errstate(over="ignore", invalid="ignore"):  # found by who asks for the Hessian
                for squares, of_group in zip(self._squares, columns.numpy(), strict=True):
                    squares += torch.from_numpy(of_group @ of_group.T)  # numpy does one triangle

    def _images_at_once(self, inputs: Tensor) -> int:
        if isinstance(self.layer, nn.Linear):
            return max(1, CHUNK_BYTES // (inputs[0].numel() * 8))
        kernel = self.layer.kernel_size[0] * self.layer.kernel_size[1]
        stride = self.layer.stride[0] * self.layer.stride[1]
        return max(1, CHUNK_BYTES * stride // (inputs[0].numel() * kernel * 8))

    def _columns(self, inputs: Tensor) -> Tensor:
        if isinstance(self.layer, nn.Linear):
            return inputs.reshape(1, -1, inputs.shape[-1]).double().transpose(1, 2)
        conv = self.layer
        mode = "constant" if conv.padding_mode == "zeros" else conv.padding_mode
        unfolded = functional.unfold(
            functional.pad(inputs.double(), pads(conv), mode=mode),
            conv.kernel_size,
            conv.dilation,
            0,
            conv.stride,
        )  # [N, C * ky * kx, pixels]
        depth = self._sum.shape[1]
        images, pixels = unfolded.shape[0], unfolded.shape[2]
        by_group = unfolded.reshape(images, self.groups, depth, pixels).permute(1, 2, 0, 3)
        return by_group.reshape(self.groups, depth, images * pixels)

    @property
    def hessian(self) -> Tensor:
        """Mean of x x^T, float64 [groups, K, K].

        Raises
        ------
        QuantError
            If no input was seen.
        """
        self._check()
        return self._squares / self.count

    @property
    def mean(self) -> Tensor:
        """Mean of x, float64 [groups, K]; errors as `hessian`."""
        self._check()
        return self._sum / self.count

    def _check(self) -> None:
        if self.count == 0:
            raise QuantError(
                f"{self.name}: layer must be reached by a calibration image, not by none; give "
                "other images, or take the layer out of the network"
            )


def _groups(layer: WeightLayer) -> int:
    return layer.groups if isinstance(layer, nn.Conv2d) else 1


def output_moments(weight: Tensor, statistics: LayerStatistics) -> tuple[Tensor, Tensor]:
    """Mean and variance, float64 [M] each, of a layer's outputs without bias.

    Parameters
    ----------
    weight : float64 [M, ...]
    statistics : LayerStatistics
        Of the inputs.
    """
    hessian, mean = statistics.hessian, statistics.mean
    rows = weight.reshape(len(hessian), -1, mean.shape[1])  # [groups, M / groups, K]
    means = (rows @ mean[:, :, None]).flatten()
    squares = ((rows @ hessian) * rows).sum(dim=2).flatten()
    return means, (squares - means.square()).clamp_min(0)
