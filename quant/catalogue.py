"""Names of networks, apart from `quant.models` so that a wrong name needs no torch."""

from __future__ import annotations

from pathlib import Path

from quant.errors import QuantError

MODELS = ("resnet8", "dscnn")
"""Shipped networks."""


def is_factory(name: str) -> bool:
    """Whether a name is ``module:factory``, a network of the user's own."""
    module, colon, factory = name.partition(":")
    return bool(colon) and factory.isidentifier() and all(map(str.isidentifier, module.split(".")))


def is_onnx(name: str) -> bool:
    """Whether a name is that of an ONNX file."""
    return name.endswith(".onnx")


def check_model(name: str) -> None:
    """Refuse an unknown name.

    Raises
    ------
    QuantError
        If no network has this name, and it is neither ``module:factory`` nor an ONNX file.
    """
    if name in MODELS or is_factory(name):
        return
    if not is_onnx(name):
        known = ", ".join(MODELS)
        raise QuantError(
            f"model must be one of {known}, or module:factory, or FILE.onnx, not {name}"
        )
    if not Path(name).is_file():
        raise QuantError(f"{name}: model must be a file, and there is none of this name")


def file_name(name: str) -> str:
    """Return a network's name as it stands in names of folders."""
    return Path(name).stem if is_onnx(name) else name.replace(":", "-")
