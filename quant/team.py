"""Training on several processes (torchrun): each takes a part of every batch, all stay the same.

Process 0 searches; the others wait for networks to train with it (`quant.follower`). Each draws the
same images in the same order, takes the same share of each batch every time, and gradients are
summed over the processes, as are the sums from which batch norms take mean and variance. So n
processes compute what one does, but for the order of float sums. One process is not a team: nothing
of this runs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from quant.device import device_of
from quant.launch import LostProcessError, launched

IDLE = timedelta(days=7)
"""How long the others wait for work."""
STUCK = timedelta(minutes=10)
"""How long a sum waits for a process that is late."""


class Team:
    """Processes that train together; by default this one alone.

    Parameters
    ----------
    rank, size : int
        This process, from 0, and how many there are.
    """

    def __init__(self, *, rank: int = 0, size: int = 1) -> None:
        self.rank = rank
        self.size = size
        self._sums: Any = None

    @classmethod
    @contextmanager
    def of_environment(cls) -> Iterator[Team]:
        """Join the processes that torchrun started, if there are several."""
        rank, size = launched()
        if size > 1:
            dist.init_process_group("gloo", timeout=IDLE)
        try:
            yield cls(rank=rank, size=size)
        finally:
            if size > 1:
                dist.destroy_process_group()

    def train_on(self, device: torch.device) -> None:
        """Choose how sums go from process to process: by gloo or, from GPU to GPU, by nccl."""
        if self.size > 1:
            backend = "nccl" if device.type == "cuda" else "gloo"
            self._sums = dist.new_group(backend=backend, timeout=STUCK)

    def tell(self, work: Any) -> None:
        """Send the others something, from process 0; None tells them to end."""
        if self.size > 1:
            with _loss_told():
                dist.broadcast_object_list([work], src=0)

    def hear(self) -> Any:
        """Wait for what process 0 tells; None also if it has ended."""
        heard = [None]
        try:
            with _loss_told():
                dist.broadcast_object_list(heard, src=0)
        except LostProcessError:
            return None
        return heard[0]

    def parts(
        self, batches: Iterable[tuple[Tensor, Tensor]], network: nn.Module
    ) -> Iterator[tuple[Tensor, Tensor, float]]:
        """Yield this process's part of each batch, and the share of the batch that it is.

        Meanwhile the network's batch norms see whole batches.

        Parameters
        ----------
        batches : iterable of [N, ...], [N]
            Images and labels, at least one for each process.
        network : nn.Module
            What is trained on them.

        Yields
        ------
        [n, ...], [n], float
            On the network's device.
        """
        device = device_of(network)
        with self._whole_batches(network):
            for images, labels in batches:
                mine = images.tensor_split(self.size)[self.rank]
                share = len(mine) / len(images)
                wanted = labels.tensor_split(self.size)[self.rank]
                yield mine.to(device), wanted.to(device), share

    def sum_gradients(self, module: nn.Module) -> None:
        """Sum the gradients of all processes; a parameter that none has used gets none."""
        if self.size == 1:
            return
        parameters = [p for p in module.parameters() if p.requires_grad]
        used = parameters[0].new_tensor([float(p.grad is not None) for p in parameters])
        self.sum(used)
        wanted = [p for p, times in zip(parameters, used.tolist(), strict=True) if times]
        flat = torch.cat(
            [(torch.zeros_like(p) if p.grad is None else p.grad).flatten() for p in wanted]
        )
        self.sum(flat)
        parts = flat.split([p.numel() for p in wanted])  # type: ignore[no-untyped-call]
        for parameter, part in zip(wanted, parts, strict=True):
            parameter.grad = part.view_as(parameter)

    def sum(self, values: Tensor) -> None:
        """Sum a tensor over all processes, in place.

        Raises
        ------
        LostProcessError
            If one of them has ended or is stuck.
        """
        with _loss_told():
            dist.all_reduce(values, group=self._sums)

    @contextmanager
    def _whole_batches(self, module: nn.Module) -> Iterator[None]:
        """Let the batch norms of a network see the whole batch while they train."""
        norms = [m for m in module.modules() if isinstance(m, _BatchNorm)] * (self.size > 1)
        for norm in norms:
            norm.forward = _OfWholeBatch(norm, self)  # type: ignore[method-assign, assignment]
        try:
            yield
        finally:
            for norm in norms:
                del norm.forward


ALONE = Team()


@contextmanager
def _loss_told() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:  # what torch.distributed raises when a connection ends
        raise LostProcessError(str(error)) from error


class _Sum(torch.autograd.Function):
    """Sum over processes; so is its gradient, since each process's loss depends on all."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, team: Team) -> Tensor:
        ctx.team = team
        total = values.clone()
        team.sum(total)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        total = gradients[0].clone()
        ctx.team.sum(total)
        return total, None


class _OfWholeBatch:
    """A batch norm's forward() with mean and variance of the batch of all processes."""

    def __init__(self, norm: _BatchNorm, team: Team) -> None:
        self.norm = norm
        self.team = team

    def __call__(self, x: Tensor) -> Tensor:
        norm = self.norm
        if not norm.training:
            return type(norm).forward(norm, x)
        over = [axis for axis in range(x.ndim) if axis != 1]
        wide = [1, -1, *[1] * (x.ndim - 2)]
        here = x.new_tensor([x.numel() / x.shape[1]])
        sums: Tensor = _Sum.apply(torch.cat([x.sum(over), here]), self.team)  # type: ignore[no-untyped-call]
        count = float(sums[-1].detach())
        mean = sums[:-1] / count
        centred = x - mean.reshape(wide)
        squares: Tensor = _Sum.apply(centred.square().sum(over), self.team)  # type: ignore[no-untyped-call]
        variance = squares / count
        self._follow(mean.detach(), variance.detach() * count / (count - 1))
        y = centred * torch.rsqrt(variance + norm.eps).reshape(wide)
        if not norm.affine:
            return y
        return y * norm.weight.reshape(wide) + norm.bias.reshape(wide)

    def _follow(self, mean: Tensor, variance: Tensor) -> None:
        """Move the running statistics as torch does."""
        norm = self.norm
        if norm.running_mean is None or norm.running_var is None:
            return
        assert norm.num_batches_tracked is not None
        norm.num_batches_tracked += 1
        share = norm.momentum
        if share is None:
            share = 1 / float(norm.num_batches_tracked)
        norm.running_mean.lerp_(mean, share)
        norm.running_var.lerp_(variance, share)
