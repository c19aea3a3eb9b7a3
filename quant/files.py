"""Files written whole or not at all: a temporary file, then a rename."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file, whole or not at all; its folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_bytes(content)
    temporary.replace(path)


def write_json(path: Path, value: Any) -> None:
    """Write JSON, indented, with a final newline; NaN is refused."""
    text = json.dumps(value, indent=2, allow_nan=False) + "\n"
    write_bytes(path, text.encode())


def save_tensors(tensors: Mapping[str, Tensor], path: Path, *, metadata: Mapping[str, str]) -> None:
    """Write tensors as safetensors with text metadata."""
    from safetensors.torch import save

    contiguous = {}
    seen = set()
    for name, tensor in tensors.items():  # tensors of one memory are refused: copy the others
        place = tensor.untyped_storage().data_ptr()
        kept = tensor.detach().contiguous()
        contiguous[name] = kept.clone() if place in seen else kept
        seen.add(place)
    write_bytes(path, save(contiguous, metadata=dict(metadata)))


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file's bytes."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
