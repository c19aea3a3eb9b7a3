"""Networks of the user's own: ``module:factory``, anything importable that returns an nn.Module."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor, nn

from quant.catalogue import is_collected, is_onnx
from quant.collected import build_collected, fitting
from quant.errors import QuantError
from quant.tracing import first_line, line_of

SEED = 0
"""Of what a factory draws, so that every process builds the same network."""
_NESTED = ("state_dict", "model", "model_state_dict")
"""Where checkpoints keep the weights, beside other things."""


def build_own(name: str, *, seed: int = SEED) -> nn.Module:
    """Call ``module:factory``; the module is looked for where the command was started, too.

    Parameters
    ----------
    name : str
    seed : int
        Of the weights that the factory draws.

    Raises
    ------
    QuantError
        If it cannot be imported, fails or returns something else than a network.
    """
    module, _, factory = name.partition(":")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        make = getattr(importlib.import_module(module), factory)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = make()
    except Exception as error:  # of the user's code
        raise QuantError(
            f"model {name} must be importable and callable, not: {type(error).__name__}: "
            f"{first_line(error)} ({line_of(error)})"
        ) from error
    if not isinstance(model, nn.Module):
        raise QuantError(f"model {name} must return an nn.Module, not a {type(model).__name__}")
    return model


def load_own(name: str, path: Path | None) -> tuple[nn.Module, dict[str, str]]:
    """Return a network of the user's own, in evaluation mode, and its weight file's metadata.

    Parameters
    ----------
    name : str
        ``module:factory``, ``FILE.onnx``, or a collection's (`quant.collected`).
    path : Path, optional
        A safetensors file, or a checkpoint of torch that has nothing but weights in it; what the
        factory or the ONNX file gives is used as it is by default; a collection's network needs
        one.

    Raises
    ------
    QuantError
        If it cannot be built, or the file is missing, malformed or of another network.
    """
    if is_collected(name):
        return load_collected(name, path)
    model, about = load_imported(Path(name)) if is_onnx(name) else (build_own(name), {})
    if path is None:
        return model.eval(), about
    state, metadata = read_weights(path)
    put_weights(model, state, name=name, path=path)
    return model.eval(), metadata


def load_collected(name: str, path: Path | None) -> tuple[nn.Module, dict[str, str]]:
    """Return a network of a collection with the weights of a file; as `load_own`."""
    model = build_collected(name, seed=SEED)
    if path is None:
        raise QuantError(
            f"model {name} must come with --weights FILE, since nothing is downloaded, not without;"
            f" save its state_dict(), or train it: python -m quant.train --model {name} --out FILE"
        )
    state, metadata = read_weights(path)
    put_weights(model, fitting(state), name=name, path=path)
    return model.eval(), metadata


def put_weights(model: nn.Module, state: dict[str, Tensor], *, name: str, path: Path) -> None:
    """Put weights into a network.

    Raises
    ------
    QuantError
        If they are another's; tells the first difference.
    """
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        lines = str(error).splitlines()
        reason = lines[1].strip() if len(lines) > 1 else lines[0]
        raise QuantError(f"{path}: weights must fit {name}, not: {reason[:200]}") from error


def load_imported(path: Path) -> tuple[nn.Module, dict[str, str]]:
    """Return the network of an ONNX file, and what is known of the file.

    Raises
    ------
    QuantError
        If the package is missing, or the file is none that can be imported.
    """
    try:
        from quant.onnx_import.network import load_onnx
    except ImportError as error:
        raise QuantError(
            f"{path}: an ONNX file must come with the packages of the extra onnx, but: {error}; "
            "pip install 'sigmaquant[onnx]'"
        ) from error
    return load_onnx(path)


def read_weights(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read a safetensors file or a checkpoint with weights only, and its metadata.

    Raises
    ------
    QuantError
        If the file is missing, or has something else in it.
    """
    try:
        if path.suffix == ".safetensors":
            with safe_open(path, framework="pt") as file:
                tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
                return tensors, dict(sorted((file.metadata() or {}).items()))
        found: Any = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch.load raises whatever the file makes it
        raise QuantError(
            f"{path}: weights must be a safetensors file or a checkpoint with weights only, not: "
            f"{first_line(error)[:200]}"
        ) from error
    for key in _NESTED:
        if isinstance(found, dict) and isinstance(found.get(key), dict):
            found = found[key]
    if not isinstance(found, dict) or not all(isinstance(v, Tensor) for v in found.values()):
        raise QuantError(f"{path}: weights must be a dict of tensors, not {type(found).__name__}")
    return found, {}
