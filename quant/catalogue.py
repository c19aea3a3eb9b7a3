"""Names of networks, apart from `quant.models` so that a wrong name needs no torch."""

from __future__ import annotations

from quant.errors import QuantError

MODELS = ("resnet8", "dscnn")
"""Shipped networks."""


def is_factory(name: str) -> bool:
    """Whether a name is ``module:factory``, a network of the user's own."""
    module, colon, factory = name.partition(":")
    return bool(colon) and factory.isidentifier() and all(map(str.isidentifier, module.split(".")))


def check_model(name: str) -> None:
    """Refuse an unknown name.

    Raises
    ------
    QuantError
        If no network has this name, and it is no ``module:factory`` either.
    """
    if name not in MODELS and not is_factory(name):
        known = ", ".join(MODELS)
        raise QuantError(f"model must be one of {known}, or module:factory, not {name}")


def file_name(name: str) -> str:
    """Return a network's name as it stands in names of folders."""
    return name.replace(":", "-")
