"""Files of a search, written whole or not at all (`hw.files`), tensors among them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from hw.files import write_bytes, write_json

if TYPE_CHECKING:
    from torch import Tensor


__all__ = ["save_tensors", "sha256", "tensors_sha256", "write_bytes", "write_json"]


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


def tensors_sha256(tensors: Mapping[str, Tensor]) -> str:
    """Return the SHA-256 of tensors: names in order, data types, shapes and values."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        values = tensors[name].detach().cpu().contiguous().numpy()
        digest.update(f"{name} {values.dtype.str} {values.shape}\n".encode())
        digest.update(values.tobytes())
    return digest.hexdigest()
