"""Whether a network takes the images of a data set, and has an output for each of its classes."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from quant.data import Data
from quant.errors import QuantError
from quant.tracing import run

_FIX = "take other --data or another --model"


def check_fit(model: nn.Module, data: Data, example: Tensor) -> None:
    """Run a network on some images of a data set.

    Parameters
    ----------
    model : nn.Module
        In evaluation mode.
    data : Data
        May have an attribute ``classes``: the network must have so many outputs. Without, more
        than its training images have classes are allowed.
    example : float32 [n, C, H, W]
        Some of its images.

    Raises
    ------
    QuantError
        If the network takes images of other channels or another size, or gives something else than
        logits of the classes.
    """
    if any(p.is_floating_point() and p.dtype != example.dtype for p in model.parameters()):
        return  # `quant.capture` names the parameter
    with torch.no_grad():
        try:
            logits = run(model, example)
        except QuantError as error:
            raise _misfit(model, data, example, error) from error
    classes: int | None = getattr(data, "classes", None)
    least = classes or int(data.train.labels.max()) + 1
    found = tuple(logits.shape)
    fits = len(found) == 2 and found[0] == len(example) and found[1] >= least
    if not fits or (classes and found[1] != classes):
        wanted = f"{least}" if classes else f"{least} or more"
        raise QuantError(
            f"network must map {tuple(example.shape)} to logits ({len(example)}, {wanted}), not "
            f"{found}: {data.folder} has {least} classes; {_FIX}"
        )


def _misfit(model: nn.Module, data: Data, example: Tensor, error: QuantError) -> QuantError:
    """Return one line on a network that does not run: channels, if it is those."""
    channels, *size = example.shape[1:]
    first = next((m for m in model.modules() if isinstance(m, nn.Conv2d) and m.groups == 1), None)
    if first is not None and first.in_channels != channels:
        return QuantError(
            f"network must take images of {channels} x {size[0]} x {size[1]} (channels, height, "
            f"width), as {data.folder} has, not of {first.in_channels} channels; {_FIX}"
        )
    return QuantError(f"{error}; {_FIX}")
