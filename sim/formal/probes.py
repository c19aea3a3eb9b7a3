"""Registers and wires inside a design, seen by a proof: where they are once Amaranth named them."""

from __future__ import annotations

import re
from functools import cache

from amaranth import Shape
from amaranth.back import rtlil  # type: ignore[attr-defined]  # missing in amaranth-stubs

from hw.array import MacArray
from hw.config import ArrayConfig


def flat_name(source: str, path: str) -> str:
    """Name of a register, or of a wire if there is no such register, after flattening.

    Amaranth adds ``$`` and a number to a name that a module already has.

    Parameters
    ----------
    source : str
        The design, top module `top`.
    path : str
        Instances below the top and a signal, joined by dots, as the gateware names them.

    Raises
    ------
    ValueError
        If there is no such instance or signal.
    """
    return _found(source, path)[0]


def register_shapes(config: ArrayConfig, paths: dict[str, str]) -> dict[str, tuple[str, Shape]]:
    """Add to paths below an array the shapes of their registers, and ``dut.`` to the paths."""
    return {name: (f"dut.{path}", _found(_array(config), path)[1]) for name, path in paths.items()}


@cache
def _array(config: ArrayConfig) -> str:
    return str(rtlil.convert(MacArray(config), name="top", emit_src=False))


def _found(source: str, path: str) -> tuple[str, Shape]:
    """Flat name and shape of a register."""
    *instances, wire = path.split(".")
    body = _module(source, "top")
    flat = []
    for instance in instances:
        cell = re.search(rf"^  cell \\(\S+) \\({re.escape(instance)}(?:\$\d+)?)$", body, re.M)
        if cell is None:
            raise ValueError(f"probe must be in the design, not {path}: no instance {instance}")
        body = _module(source, cell[1])
        flat.append(cell[2])
    name = rf"\\({re.escape(wire)}(?:\$\d+)?)$"
    kind = r"^  wire width (\d+) (?:(?:in|out)put \d+ )?(signed )? *"
    found = re.search(rf"^    connect \\Q {name}", body, re.M)
    found = found or re.search(rf"^  wire width \d+ (?:(?:in|out)put \d+ )? *{name}", body, re.M)
    if found is None:
        raise ValueError(f"probe must be in the design, not {path}: no register or wire {wire}")
    shape = re.search(rf"{kind}\\{re.escape(found[1])}$", body, re.M)
    assert shape is not None
    return ".".join([*flat, found[1]]), Shape(int(shape[1]), bool(shape[2]))


def _module(source: str, name: str) -> str:
    start = source.index(f"\nmodule \\{name}\n") + 1
    return source[start : source.index("\nend\n", start)]
