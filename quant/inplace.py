"""A network whose layers were replaced where they are: its own forward() runs, nothing is moved."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from quant.errors import QuantError


class FoldedNorm(nn.Module):
    """Stands where a batch norm was that now runs in its layer; passes on what the layer gave.

    Parameters
    ----------
    name, layer : str
        Module paths of the batch norm and of its layer, for errors.

    Raises
    ------
    QuantError
        When called, if the input is not what the layer gave last.
    """

    def __init__(self, name: str, layer: str) -> None:
        super().__init__()
        self.name = name
        self.layer = layer
        self.waiting: list[Tensor] = []

    def forward(self, input: Tensor) -> Tensor:
        """Return the input as it is."""
        if not any(input is x for x in self.waiting):
            raise self.error("something else")
        self.waiting = [x for x in self.waiting if x is not input]
        return input

    def error(self, found: str) -> QuantError:
        """Return what to say if the batch norm does not run right after its layer."""
        return QuantError(
            f"{self.name}: must read what {self.layer} gives, on every image as on the samples, "
            f"not {found}; take control flow that depends on data out of forward()"
        )


class InPlace(nn.Module):
    """What a network becomes whose layers were replaced: the same, checked and half in evaluation.

    Only its batch norms switch to training, so dropout and auxiliary outputs stay off, as in a
    traced network.
    """

    def forward(self, x: Tensor) -> Any:
        """Map images, float [N, C, H, W], to what the network gives."""
        folded = [m for m in self.modules() if isinstance(m, FoldedNorm)]
        for norm in folded:
            norm.waiting = []
        result = super().forward(x)  # the network's own
        for norm in folded:
            if norm.waiting:
                raise norm.error("nothing")
        return result

    def train(self, mode: bool = True) -> InPlace:
        """Switch the batch norms."""
        nn.Module.train(self, False)
        for module in self.modules():
            if isinstance(module, _BatchNorm):
                module.training = mode
        return self


def in_place(network: nn.Module) -> nn.Module:
    """Make a network an `InPlace` one; its modules keep their paths."""
    kind = type(network)
    network.__class__ = type(kind.__name__, (InPlace, kind), {})
    return network


def replace_everywhere(root: nn.Module, old: nn.Module, new: nn.Module) -> None:
    """Put one module where another one is, under all of its names."""
    for parent in list(root.modules()):
        for name, child in list(parent._modules.items()):
            if child is old:
                parent._modules[name] = new
