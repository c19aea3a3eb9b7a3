"""Which of our own sources a module's results depend on: the closure of its imports."""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path

OURS = ("hw", "sim", "synth")


@cache
def sources_sha256(module: str) -> str:
    """Hash of a module and of all modules of ours that it imports, directly or not."""
    found: dict[str, bytes] = {}
    waiting = [module]
    while waiting:
        name = waiting.pop()
        path = _path(name)
        if name in found or path is None:
            continue
        found[name] = path.read_bytes()
        waiting += _imports(found[name])
    texts = [name.encode() + b"\0" + text for name, text in sorted(found.items())]
    return hashlib.sha256(b"\0".join(texts)).hexdigest()


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
