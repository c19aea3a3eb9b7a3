"""Photographs on disk: decoded when they are asked for, resized and cut for a network."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from quant.catalogue import Preprocessing, Resampling
from quant.data import ImageSet
from quant.errors import QuantError

if TYPE_CHECKING:
    import PIL.Image

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".ppm"})
"""Of photographs, in any case."""


@dataclass(frozen=True, kw_only=True, eq=False)
class PhotoSet:
    """Photographs with labels, decoded when asked for and not kept; as an `ImageSet` else.

    Parameters
    ----------
    paths : tuple of Path
        Files.
    labels : int64 [N]
        Classes, from 0; -1 where none is known.
    preprocessing : Preprocessing
        How each becomes an input.
    """

    paths: tuple[Path, ...]
    labels: NDArray[np.int64]
    preprocessing: Preprocessing

    def __len__(self) -> int:
        """Return the number of photographs."""
        return len(self.paths)

    @property
    def shape(self) -> tuple[int, ...]:
        """Height, width and channels of an input."""
        return (self.preprocessing.crop, self.preprocessing.crop, 3)

    def pixels(self, index: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Decode some of them: uint8 [n, H, W, 3].

        Raises
        ------
        QuantError
            If a file is missing or no photograph; names it.
        """
        found = np.empty((len(index), *self.shape), np.uint8)
        for pixels, i in zip(found, index, strict=True):
            pixels[...] = decode(self.paths[i], self.preprocessing)
        return found

    def take(self, index: NDArray[np.int64]) -> PhotoSet:
        """Return the photographs of an index array."""
        return PhotoSet(
            paths=tuple(self.paths[i] for i in index),
            labels=self.labels[index],
            preprocessing=self.preprocessing,
        )

    def loaded(self) -> ImageSet:
        """Decode all of them, to be kept in memory."""
        return ImageSet(images=self.pixels(np.arange(len(self))), labels=self.labels)


def is_photograph(path: Path) -> bool:
    """Whether a file's name is that of a photograph."""
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".")


def decode(path: Path, how: Preprocessing) -> NDArray[np.uint8]:
    """Decode a photograph and make an input of it.

    Parameters
    ----------
    path : Path
        JPEG, PNG or another format of `SUFFIXES`; what is transparent becomes white.
    how : Preprocessing

    Returns
    -------
    uint8 [crop, crop, 3]
        Red, green, blue.

    Raises
    ------
    QuantError
        If the file is missing or no photograph; names it.
    """
    from PIL import Image

    filters = {
        Resampling.BILINEAR: Image.Resampling.BILINEAR,
        Resampling.BICUBIC: Image.Resampling.BICUBIC,
    }
    try:
        with Image.open(path) as file:
            image = _opaque(file)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise unreadable(path, error) from error
    width, height = image.size
    scale = how.resize / min(width, height)
    size = max(how.resize, round(width * scale)), max(how.resize, round(height * scale))
    resized = image.resize(size, filters[how.resampling])
    left, top = ((side - how.crop) // 2 for side in size)
    return np.asarray(resized.crop((left, top, left + how.crop, top + how.crop)))


def check_header(path: Path) -> None:
    """Read as much of a file as tells its format and size.

    Raises
    ------
    QuantError
        As `decode`.
    """
    from PIL import Image

    try:
        with Image.open(path):
            return
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise unreadable(path, error) from error


def unreadable(path: Path, error: Exception) -> QuantError:
    """Return one line on a file that could not be decoded."""
    reason = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else str(error)
    reason = reason.replace(f" {str(path)!r}", "").rstrip(".")
    return QuantError(f"{path}: must be a photograph, not: {reason}; replace or remove it")


def _opaque(image: PIL.Image.Image) -> PIL.Image.Image:
    from PIL import Image

    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        front = image.convert("RGBA")
        back = Image.new("RGBA", front.size, "white")
        back.alpha_composite(front)
        return back.convert("RGB")
    return image.convert("RGB")
