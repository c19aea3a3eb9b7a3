"""Sets of images, and folders of IDX files (the MNIST family), split so that tests stay unread.

`quant.sources` tells which reader a folder or file needs.

Format: the IDX description on the MNIST page (LeCun, Cortes, Burges, 1998): a big-endian magic
number 0x00000801 (labels) or 0x00000803 (images), one 32-bit size per dimension, then bytes.
"""

from __future__ import annotations

import gzip
import hashlib
import math
import os
import struct
import zlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from quant.errors import QuantError

PREFIXES = (Path("/usr"), Path("/usr/local"))
SUBFOLDER = Path("share/datasets/fashion-mnist")
IMAGE_DIMENSIONS = 3
LABEL_DIMENSIONS = 1
VALIDATION_IMAGES = 5000
HEAD = 16
"""Bytes that hold the longest header."""

SPLIT_SEED = 0
"""Seed of the split, a constant: the shipped networks never saw the validation images, whatever
the seed of a search."""

_HELP = (
    "run `apt-get install dataset-fashion-mnist` or name a folder with --data FOLDER "
    "(`make search DATA=folder`)"
)


class Images(Protocol):
    """Images with labels, in memory (`ImageSet`) or on disk (`quant.photographs.PhotoSet`)."""

    @property
    def labels(self) -> NDArray[np.int64]:
        """Classes, from 0, int64 [N]."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one image: (H, W), or (H, W, 3) for red, green, blue."""

    def __len__(self) -> int:
        """Return the number of images."""

    def pixels(self, index: NDArray[np.int64], /) -> NDArray[np.uint8]:
        """Return some images, a copy: uint8 [n, H, W] or [n, H, W, 3]."""

    def take(self, index: NDArray[np.int64], /) -> Images:
        """Return the images of an index array as a set."""


class Data(Protocol):
    """A folder's images, in three parts."""

    folder: Path
    sha256: dict[str, str]

    @property
    def train(self) -> Images:
        """Training images, the validation part cut off."""

    @property
    def validation(self) -> Images:
        """Training images that no network was trained on."""

    @property
    def test(self) -> Images:
        """Test images; a search reads them once, at its end."""

    def check_test_length(self) -> None:
        """See that no test image is missing, without looking at one."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ImageSet:
    """Images with labels, in memory.

    Parameters
    ----------
    images : uint8 [N, H, W] or [N, H, W, 3]
        Pixels; the network's input is pixel / 255.
    labels : int64 [N]
        Classes, from 0.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.labels)

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one image: (H, W), or (H, W, 3) for red, green, blue."""
        return self.images.shape[1:]

    def pixels(self, index: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Return some images, a copy: uint8 [n, H, W] or [n, H, W, 3]."""
        return self.images[index]

    def take(self, index: NDArray[np.int64]) -> ImageSet:
        """Return the images of an index array."""
        return ImageSet(images=self.images[index], labels=self.labels[index])


class ImageData:
    """Training, validation and test images of a folder; each file is read when first asked for.

    Parameters
    ----------
    folder : Path
        Holds ``train-images-idx3-ubyte``, ``train-labels-idx1-ubyte`` and the two ``t10k`` files,
        each plain or with ``.gz``.

    Raises
    ------
    QuantError
        If the folder or one of the files is missing, or, when read, breaks the format.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.sha256: dict[str, str] = {}
        self._files = {
            (part, kind): _find(folder, f"{part}-{kind}-ubyte")
            for part in ("train", "t10k")
            for kind in ("images-idx3", "labels-idx1")
        }

    @cached_property
    def _train_and_validation(self) -> tuple[ImageSet, ImageSet]:
        return split(self._read("train"))

    @property
    def train(self) -> ImageSet:
        """Training images, the validation part cut off."""
        return self._train_and_validation[0]

    @property
    def validation(self) -> ImageSet:
        """The 5,000 (at most a sixth) training images that no network was trained on."""
        return self._train_and_validation[1]

    @cached_property
    def test(self) -> ImageSet:
        """Test images; a search reads them once, at its end."""
        return self._read("t10k")

    def check_test_length(self) -> None:
        """Compare the length of the test files with their headers; no image is looked at.

        Raises
        ------
        QuantError
            If a file was cut off, which would otherwise show at the end of a search only.
        """
        for kind, dimensions in (("images-idx3", IMAGE_DIMENSIONS), ("labels-idx1", 1)):
            path = self._files["t10k", kind]
            head, length = _head_and_length(path)
            _check_header(head, length, dimensions=dimensions, path=path)

    def _read(self, part: str) -> ImageSet:
        paths = self._files[part, "images-idx3"], self._files[part, "labels-idx1"]
        images = self._read_file(paths[0], IMAGE_DIMENSIONS)
        labels = self._read_file(paths[1], LABEL_DIMENSIONS)
        if len(images) != len(labels):
            raise QuantError(
                f"{paths[1]}: labels must be as many as the {len(images)} images, "
                f"not {len(labels)}; {_HELP}"
            )
        return ImageSet(images=images, labels=labels.astype(np.int64))

    def _read_file(self, path: Path, dimensions: int) -> NDArray[np.uint8]:
        content = _decompressed(path)
        self.sha256[path.name.removesuffix(".gz")] = hashlib.sha256(content).hexdigest()
        return parse_idx(content, dimensions=dimensions, path=path)


def split(whole: ImageSet) -> tuple[ImageSet, ImageSet]:
    """Return training and validation images: the latter 5,000, at most a sixth, at random.

    Parameters
    ----------
    whole : ImageSet
        What may be trained on, 2 images or more.
    """
    order = np.random.default_rng(SPLIT_SEED).permutation(len(whole))
    cut = min(VALIDATION_IMAGES, math.ceil(len(whole) / 6))
    return whole.take(np.sort(order[cut:])), whole.take(np.sort(order[:cut]))


def default_folder() -> Path:
    """Return the folder of Debian's ``dataset-fashion-mnist``, whether or not it exists."""
    found = (prefix / SUBFOLDER for prefix in PREFIXES)
    return next((path for path in found if path.is_dir()), PREFIXES[0] / SUBFOLDER)


def parse_idx(content: bytes, *, dimensions: int, path: Path) -> NDArray[np.uint8]:
    """Decode one IDX file of bytes.

    Parameters
    ----------
    content : bytes
        The file, decompressed.
    dimensions : int
        Dimensions that the magic number must tell.
    path : Path
        Named in errors.

    Returns
    -------
    uint8 array of `dimensions` dimensions

    Raises
    ------
    QuantError
        If magic number, sizes or length are wrong.
    """
    shape = _check_header(content[:HEAD], len(content), dimensions=dimensions, path=path)
    header = 4 * (1 + dimensions)
    return np.frombuffer(content, dtype=np.uint8, offset=header).reshape(shape)


def _check_header(head: bytes, length: int, *, dimensions: int, path: Path) -> tuple[int, ...]:
    """Return the sizes in a header, after a check of the file's length in bytes."""
    magic = 0x0800 + dimensions
    header = 4 * (1 + dimensions)
    found = int.from_bytes(head[:4], "big")
    if found != magic:
        raise QuantError(f"{path}: magic number must be 0x{magic:08x}, not 0x{found:08x}; {_HELP}")
    if length < header:
        raise QuantError(
            f"{path}: header must be {header} bytes long, not {length} (truncated?); {_HELP}"
        )
    shape = struct.unpack(f">{dimensions}I", head[4:header])
    if 0 in shape:
        raise QuantError(f"{path}: sizes must be at least 1, not {shape}; {_HELP}")
    expected = math.prod(shape)
    if length - header != expected:
        raise QuantError(
            f"{path}: data must be {expected} bytes long, not {length - header} "
            f"(truncated?); {_HELP}"
        )
    return shape


def _find(folder: Path, name: str) -> Path:
    if not folder.is_dir():
        raise QuantError(f"{folder}: must be a folder of IDX files, not missing; {_HELP}")
    for path in (folder / name, folder / f"{name}.gz"):
        if path.is_file():
            return path
    raise QuantError(f"{folder / name}: must be there, plain or as .gz, not missing; {_HELP}")


def _head_and_length(path: Path) -> tuple[bytes, int]:
    """First bytes of a file's content, and its length; of .gz by the trailer (RFC 1952)."""
    try:
        if path.suffix != ".gz":
            with path.open("rb") as file:
                return file.read(HEAD), path.stat().st_size
        with gzip.open(path) as file:
            head = file.read(HEAD)
        with path.open("rb") as file:
            file.seek(-4, os.SEEK_END)
            return head, int.from_bytes(file.read(4), "little")
    except (EOFError, zlib.error, OSError) as error:
        raise _unreadable(path, error) from error


def _decompressed(path: Path) -> bytes:
    try:
        content = path.read_bytes()
        return gzip.decompress(content) if path.suffix == ".gz" else content
    except (EOFError, zlib.error, OSError) as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> QuantError:
    reason = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else str(error)
    what = "readable" if isinstance(error, PermissionError) else "a whole file"
    return QuantError(f"{path}: must be {what}, not: {reason.rstrip('.')}; {_HELP}")
