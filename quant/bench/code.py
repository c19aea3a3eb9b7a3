"""Which code a cell's record depends on: all that its modules import, and these in turn."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
PACKAGES = ("hw", "sim", "synth", "quant")
CELLS = ("quant.run", "quant.options", "quant.bench.order", "quant.bench.work")
"""Modules that make a record."""
SHOWS = (
    "hw.cli",
    "quant.console",
    "quant.plot",
    "quant.progress",
    "quant.report",
    *(f"quant.bench.{name}" for name in ("catalogue", "cells", "code", "maps")),
)
"""Modules and packages that show a result or choose what is run, which is in a cell's key anyway;
what only they import is left out, too."""


def code() -> list[Path]:
    """Return the files of the modules that can change a record, sorted.

    Imports within functions count; those that are made up at run time (a user's own network or
    data) do not, as no cell has any.
    """
    import grimp  # a process that only runs cells need not have it

    graph = grimp.build_graph(*PACKAGES, cache_dir=None)
    for module in list(graph.modules):
        if any(module == name or module.startswith(f"{name}.") for name in SHOWS):
            graph.remove_module(module)
    found = set(CELLS)
    for module in CELLS:
        found |= graph.find_upstream_modules(module)
    files = {_file(module) for module in found}
    files |= {folder / "__init__.py" for file in files for folder in file.parents}
    return sorted(file for file in files if file.is_file() and file.is_relative_to(ROOT))


def _file(module: str) -> Path:
    path = ROOT.joinpath(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
