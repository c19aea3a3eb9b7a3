"""An allocation given as a file: bits of layers, and of activations, read and checked."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from hw.precision import WeightMode
from quant.allocation import ACT_BITS, LEAST_ACT_BITS
from quant.errors import QuantError
from quant.menu import most_act_bits
from synth.table import CostTable


def read_bits(path: Path, allowed: Sequence[int]) -> tuple[dict[str, int], Any]:
    """Read bits by name: ``{"layer": bits, ...}``, or a result.json with its ``allocation``.

    Parameters
    ----------
    path : Path
    allowed : sequence of int
        Bits that a layer's weights may have.

    Returns
    -------
    dict of str to int, object
        Bits of weights by layer, and what the file has for activations (``activations`` beside
        ``allocation``), not checked; an empty dict if it has nothing.

    Raises
    ------
    QuantError
        If the file is missing, no JSON, or no such object; one line with the path.
    """
    rule = f'{path}: map must be JSON such as {{"stem": 8, "fc": 4}} or a result.json'
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise QuantError(f"{path}: map must be readable, not: {error.strerror}") from error
    except ValueError as error:
        raise QuantError(f"{rule}, not: {error}") from error
    acts: Any = {}
    if isinstance(value, dict) and "allocation" in value:
        value, acts = value["allocation"], value.get("activations", {})
    if not isinstance(value, dict) or not value:
        raise QuantError(f"{rule}, not {type(value).__name__}")
    for name, bits in value.items():
        if isinstance(bits, bool) or not isinstance(bits, int) or bits not in allowed:
            known = ", ".join(map(str, allowed))
            raise QuantError(f"{path}: bits of {name} must be one of {known}, not {bits}")
    return value, acts


def read_map(path: Path) -> tuple[dict[str, WeightMode], dict[str, int]]:
    """Read an allocation for the array (`read_bits`).

    Returns
    -------
    dict of str to WeightMode, dict of str to int
        Bits of weights by layer, and those of activations by tensor, none of them if there are
        none.

    Raises
    ------
    QuantError
        If the file is missing, no JSON, no such object, or has other bits; one line with the path.
    """
    known = {mode.bits: mode for mode in WeightMode}
    found, acts = read_bits(path, sorted(known))
    if not isinstance(acts, dict):
        raise QuantError(
            f"{path}: activations of a map must be an object, not {type(acts).__name__}"
        )
    for tensor, bits in acts.items():
        whole = isinstance(bits, int) and not isinstance(bits, bool)
        if not whole or not LEAST_ACT_BITS <= bits <= ACT_BITS:
            raise QuantError(
                f"{path}: bits of activation {tensor} must be from {LEAST_ACT_BITS} to {ACT_BITS}, "
                f"not {bits}"
            )
    return {name: known[bits] for name, bits in found.items()}, acts


def check_acts(acts: dict[str, int], tensors: set[str], table: CostTable) -> None:
    """Refuse bits of activations that no layer reads, of the image, or beyond the hardware's.

    Raises
    ------
    QuantError
        One line.
    """
    most = most_act_bits(table)
    for tensor, bits in acts.items():
        if tensor not in tensors and bits != most:
            raise QuantError(
                f"map: activations must be those that layers read, the image left out, not {tensor}"
            )
        if bits > most:
            raise QuantError(
                f"map: bits of activation {tensor} must be at most {most} ({table.name}), "
                f"not {bits}"
            )


def check_names(
    bits: Mapping[str, object], names: Collection[str], *, path: Path | None = None
) -> None:
    """Refuse an allocation of other layers; the line has the path, if given.

    Raises
    ------
    QuantError
        One line.
    """
    for wrong, text in (
        ([name for name in names if name not in bits], "have every layer"),
        ([name for name in bits if name not in names], "have the network's layers only"),
    ):
        if wrong:
            head = "" if path is None else f"{path}: "
            raise QuantError(f"{head}map must {text}, not leave out or add {', '.join(wrong)}")


def check_map(bits: dict[str, WeightMode], table: CostTable) -> None:
    """Refuse an allocation of precisions that the hardware has not.

    Raises
    ------
    QuantError
        One line.
    """
    for name, mode in bits.items():
        if mode not in table.modes:
            known = ", ".join(str(m.bits) for m in table.modes)
            raise QuantError(
                f"map: bits of {name} must be one of {known} ({table.name}), not {mode.bits}"
            )
