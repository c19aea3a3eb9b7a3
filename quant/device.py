"""Where networks are trained, calibrated and evaluated."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from quant.errors import QuantError

if TYPE_CHECKING:
    import torch
    from torch import nn

DEVICES = ("cpu", "cuda", "auto")


def check_device(name: str) -> str:
    """Return ``cpu`` or ``cuda``; ``auto`` is ``cuda`` where there is one.

    Raises
    ------
    QuantError
        If it is unknown or not there.
    """
    if name not in DEVICES:
        raise QuantError(f"device must be one of {', '.join(DEVICES)}, not {name}")
    if name == "cpu":
        return name
    import torch

    if torch.cuda.is_available():
        return "cuda"
    if name == "cuda":
        build = "" if torch.version.cuda else " (it was built for the CPU)"
        raise QuantError(f"device must be there, but torch finds no cuda{build}; take --device cpu")
    return "cpu"


def device_of(module: nn.Module) -> torch.device:
    """Return where a network's parameters are."""
    return next(module.parameters()).device


def prepare(name: str, *, index: int = 0) -> torch.device:
    """Return a device that gives the same result each time, as far as torch can.

    Parameters
    ----------
    name : str
        ``cpu`` or ``cuda``.
    index : int
        Which of several.
    """
    import torch

    if name == "cpu":
        return torch.device("cpu")
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when CUDA starts
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.allow_tf32 = False
    device = torch.device("cuda", index)
    torch.cuda.set_device(device)
    return device
