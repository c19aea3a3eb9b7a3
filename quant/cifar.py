"""CIFAR-10 and CIFAR-100 in their binary form, in a folder or still in the archive.

Format: the CIFAR page (Krizhevsky, 2009, "Learning Multiple Layers of Features from Tiny Images"):
records of one label byte (CIFAR-100: coarse, then fine) and 3072 bytes of pixels, the red, the
green and the blue 32 x 32 plane one after the other, each row by row; no header.
"""

from __future__ import annotations

import hashlib
import os
import tarfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from functools import cached_property
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from quant.data import ImageSet, split
from quant.errors import QuantError

SIDE = 32
PIXELS = 3 * SIDE * SIDE
COARSE = "#coarse"
"""Behind the folder's name: CIFAR-100's 20 coarse classes instead of its 100 fine ones."""
_HELP = (
    "give the folder or the archive of cifar-10-binary.tar.gz or cifar-100-binary.tar.gz with "
    "--data, downloaded whole"
)


def without_coarse(folder: Path) -> Path:
    """Return the folder or archive itself, without `COARSE` behind its name."""
    name = folder.name.removesuffix(COARSE)
    return folder.with_name(name) if name else folder


class Kind(Enum):
    """Which of the two; the value is what messages call it."""

    CIFAR10 = "CIFAR-10"
    CIFAR100 = "CIFAR-100"

    @property
    def train(self) -> tuple[str, ...]:
        """Names of the training files."""
        if self is Kind.CIFAR10:
            return tuple(f"data_batch_{number}.bin" for number in range(1, 6))
        return ("train.bin",)

    @property
    def test(self) -> str:
        """Name of the test file."""
        return "test_batch.bin" if self is Kind.CIFAR10 else "test.bin"

    @property
    def folder(self) -> str:
        """Name of the folder in the archive."""
        return "cifar-10-batches-bin" if self is Kind.CIFAR10 else "cifar-100-binary"

    @property
    def archive(self) -> str:
        """Name of the archive."""
        return "cifar-10-binary.tar.gz" if self is Kind.CIFAR10 else "cifar-100-binary.tar.gz"

    @property
    def classes(self) -> tuple[int, ...]:
        """Number of classes of each label byte of a record."""
        return (10,) if self is Kind.CIFAR10 else (20, 100)


Read = Callable[[], bytes]


@dataclass(frozen=True, kw_only=True)
class Found:
    """Where the files of a set are.

    Parameters
    ----------
    kind : Kind
    place : Path
        Folder or archive.
    files : mapping of str to callable
        Each file's content by its name.
    """

    kind: Kind
    place: Path
    files: Mapping[str, Read] = field(repr=False)


class CifarData:
    """CIFAR-10 or CIFAR-100; each file is read when first asked for.

    Parameters
    ----------
    found : Found
        Of `find`.
    coarse : bool
        Whether CIFAR-100 has its 20 coarse classes instead of the 100 fine ones.

    Raises
    ------
    QuantError
        If a file is missing, or, when read, is no whole number of records or has other labels; if
        CIFAR-10 is asked for coarse classes.
    """

    def __init__(self, found: Found, *, coarse: bool = False) -> None:
        self.kind = found.kind
        if coarse and self.kind is Kind.CIFAR10:
            raise QuantError(
                f"{found.place}: {COARSE} must come with CIFAR-100, not CIFAR-10; leave it out"
            )
        self.folder = Path(f"{found.place}{COARSE}") if coarse else found.place
        self.place = found.place
        self.sha256: dict[str, str] = {}
        self._files = found.files
        self._label = 0 if coarse else len(self.kind.classes) - 1
        for name in (*self.kind.train, self.kind.test):
            if name not in self._files:
                raise QuantError(
                    f"{self.place / name}: {self.kind.value} must have it, and it is missing; "
                    f"{_HELP}"
                )

    @property
    def classes(self) -> int:
        """Number of classes, whether or not each has an image."""
        return self.kind.classes[self._label]

    @cached_property
    def _train_and_validation(self) -> tuple[ImageSet, ImageSet]:
        parts = [self._read(name) for name in self.kind.train]
        whole = ImageSet(
            images=np.concatenate([part.images for part in parts]),
            labels=np.concatenate([part.labels for part in parts]),
        )
        return split(whole)

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
        return self._read(self.kind.test)

    def check_test_length(self) -> None:
        """See that the test file is whole and its labels are known; no image is looked at.

        Raises
        ------
        QuantError
            If not, which would otherwise show at the end of a search only.
        """
        self._labels(self._records(self.kind.test), self.kind.test)

    def _read(self, name: str) -> ImageSet:
        """Read one file: images uint8 [N, 32, 32, 3]."""
        records = self._records(name)
        labels = self._labels(records, name)
        planes = records[:, -PIXELS:].reshape(-1, 3, SIDE, SIDE)
        return ImageSet(images=np.ascontiguousarray(planes.transpose(0, 2, 3, 1)), labels=labels)

    def _records(self, name: str) -> NDArray[np.uint8]:
        """Return a file's records, uint8 [N, labels + 3072]."""
        content = self._files[name]()
        length = len(self.kind.classes) + PIXELS
        if not content or len(content) % length:
            raise QuantError(
                f"{self.place / name}: length must be a multiple of {length} bytes, one record an "
                f"image, not {len(content)} (truncated?); {_HELP}"
            )
        self.sha256[name] = hashlib.sha256(content).hexdigest()
        return np.frombuffer(content, np.uint8).reshape(-1, length)

    def _labels(self, records: NDArray[np.uint8], name: str) -> NDArray[np.int64]:
        labels = records[:, self._label].astype(np.int64)
        if labels.max() >= self.classes:
            image = int((labels >= self.classes).argmax())
            raise QuantError(
                f"{self.place / name}: labels must be below {self.classes}, but that of image "
                f"{image} is {labels[image]} (another format?); {_HELP}"
            )
        return labels


def find(place: Path) -> Found | None:
    """Look for the files of CIFAR-10 or CIFAR-100 in a folder or an archive.

    Parameters
    ----------
    place : Path
        A folder with the files, with the folder that is in the archive, or with the archive; or
        the archive itself.

    Returns
    -------
    Found or None
        None if there are none.

    Raises
    ------
    QuantError
        If both are there, an archive is broken, or the files are those of the pickled form.
    """
    if place.name.endswith((".tar.gz", ".tgz", ".tar")):
        return _in_archive(place)
    if not place.is_dir():
        return None
    found = [kind for kind in Kind if _folder(place, kind) or (place / kind.archive).is_file()]
    if len(found) > 1:
        raise QuantError(
            f"{place}: must have one of CIFAR-10 and CIFAR-100, not both; name the folder or the "
            "archive of one with --data"
        )
    if not found:
        _refuse_pickled({path.name for path in place.iterdir()}, place)
        return None
    (kind,) = found
    folder = _folder(place, kind)
    if folder is None:
        return _in_archive(place / kind.archive)
    names = (*kind.train, kind.test)
    files = {name: _reader(folder / name) for name in names if (folder / name).is_file()}
    return Found(kind=kind, place=folder, files=files)


def _folder(place: Path, kind: Kind) -> Path | None:
    names = (*kind.train, kind.test)
    folders = [place, place / kind.folder]
    return next((f for f in folders if any((f / name).is_file() for name in names)), None)


def _reader(path: Path) -> Read:
    def read() -> bytes:
        try:
            return path.read_bytes()
        except OSError as error:
            raise _unreadable(path, error) from error

    return read


def _in_archive(path: Path) -> Found:
    """Read an archive; what is in it is kept in memory, since it cannot be entered in the middle.

    Nothing is unpacked, so names in the archive lead nowhere.
    """
    names = {name: kind for kind in Kind for name in (*kind.train, kind.test)}
    contents: dict[str, bytes] = {}
    others: set[str] = set()
    try:
        with tarfile.open(path) as archive:
            for member in archive:
                name = PurePosixPath(member.name).name
                others.add(name)
                file = archive.extractfile(member) if name in names and member.isfile() else None
                if file is not None:
                    contents[name] = file.read()
    except (OSError, EOFError, tarfile.TarError, zlib.error) as error:
        raise _unreadable(path, error) from error
    kinds = {names[name] for name in contents}
    if not kinds:
        _refuse_pickled(others, path)
    if len(kinds) != 1:
        raise QuantError(
            f"{path}: archive must have the files of CIFAR-10 or of CIFAR-100, not of "
            f"{'both' if kinds else 'neither'}; {_HELP}"
        )
    files = {name: _kept(content) for name, content in contents.items()}
    return Found(kind=kinds.pop(), place=path, files=files)


def _kept(content: bytes) -> Read:
    return lambda: content


def _refuse_pickled(names: set[str], place: Path) -> None:
    if "data_batch_1" in names or {"train", "test", "meta"} <= names:
        raise QuantError(
            f"{place}: CIFAR must be in its binary form, not in the pickled one, which would run "
            f"code; {_HELP}"
        )


def _unreadable(path: Path, error: Exception) -> QuantError:
    reason = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else str(error)
    return QuantError(f"{path}: must be a whole file, not: {reason.rstrip('.')}; {_HELP}")
