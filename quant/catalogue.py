"""Names of the shipped networks, apart from `quant.models` so that a wrong name needs no torch."""

from __future__ import annotations

from quant.errors import QuantError

MODELS = ("resnet8", "dscnn")


def check_model(name: str) -> None:
    """Refuse an unknown name.

    Raises
    ------
    QuantError
        If no network has this name.
    """
    if name not in MODELS:
        raise QuantError(f"model must be one of {', '.join(MODELS)}, not {name}")
