"""Which of our own sources a module's results depend on: the closure of its imports."""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path

OURS = ("hw", "sim", "synth", "quant")


@cache
def sources_sha256(module: str, *, but: tuple[str, ...] = ()) -> str:
    """Hash of a module and of all modules of ours that it imports, directly or not.

    Parameters
    ----------
    module : str
        Its name.
    but : tuple of str
        Modules and packages that count for nothing, nor what only they import.
    """
    texts = [
        name.encode() + b"\0" + path.read_bytes()
        for name, path in sorted(sources(module, but=but).items())
    ]
    return hashlib.sha256(b"\0".join(texts)).hexdigest()


def sources(module: str, *, but: tuple[str, ...] = ()) -> dict[str, Path]:
    """Return the files by module; imports within functions and packages above count, too."""
    found: dict[str, Path] = {}
    waiting = [module]
    while waiting:
        name = waiting.pop()
        if name in found or any(f"{name}.".startswith(f"{one}.") for one in but):
            continue
        path = _path(name)
        if path is None:
            continue
        found[name] = path
        waiting += _imports(path.read_bytes())
        waiting += [name.rpartition(".")[0]]
    return found


def _path(module: str) -> Path | None:
    """File of a module of ours; None for a name within one."""
    if module.split(".")[0] not in OURS:
        return None
    try:
        spec = find_spec(module)
    except ModuleNotFoundError:
        return None
    return Path(spec.origin) if spec is not None and spec.origin else None


def _imports(source: bytes) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            # a name may be a module of its own
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
