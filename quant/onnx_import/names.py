"""What imported layers are called: as their weights are, or their nodes."""

from __future__ import annotations

import re

from torch import nn

_PATH = re.compile(r"\w+(\.\w+)*")


class Names:
    """Paths of modules, each given once, none within another."""

    def __init__(self) -> None:
        self._given: set[str] = set()

    def path(self, node: str, kind: str, weight: str = "") -> str:
        """Return a path for a node.

        Parameters
        ----------
        node : str
            Its name, of any characters; may be empty.
        kind : str
            Its operator.
        weight : str
            Name of its weight: ``block1.conv1.weight`` gives ``block1.conv1``.
        """
        path = _of_weight(weight) or _of_node(node, kind) or kind.lower()
        if hasattr(nn.Module, path.partition(".")[0]):
            path = f"{kind.lower()}_{path}"
        if self._taken(path):
            path = path.replace(".", "_")
        first, count = path, 1
        while self._taken(path):
            count += 1
            path = f"{first}_{count}"
        self._given.add(path)
        return path

    def _taken(self, path: str) -> bool:
        return any(
            f"{path}.".startswith(f"{other}.") or f"{other}.".startswith(f"{path}.")
            for other in self._given
        )


def _of_weight(weight: str) -> str:
    stem = weight.removesuffix(".weight") if weight.endswith(".weight") else ""
    return stem if _PATH.fullmatch(stem) else ""


def _of_node(node: str, kind: str) -> str:
    """Turn ``/block2/shortcut/shortcut.0/Conv`` to ``block2.shortcut.0``."""
    parts = [part for part in node.split("/") if part]
    if len(parts) > 1 and re.fullmatch(rf"{kind}(_\d+)?", parts[-1]):
        parts = parts[:-1]
    following = [*parts[1:], ""][: len(parts)]
    kept = [p for p, after in zip(parts, following, strict=True) if not after.startswith(f"{p}.")]
    words = [re.sub(r"\W", "_", word) for word in ".".join(kept).split(".") if word]
    return ".".join(words)
