"""Images of a ``.npz`` file: ``x_train``, ``y_train``, ``x_test`` and ``y_test``.

==========  ============================================  ========================
``x_...``   [N, H, W], [N, H, W, 1] or [N, H, W, C <= 4]  uint8, or float in [0, 1]
``y_...``   [N] or [N, 1]                                 integer, classes from 0
==========  ============================================  ========================

`numpy.savez` and `numpy.savez_compressed` write it; other arrays in the file are not read. Arrays
of Python objects are refused, since reading them would run code.
"""

from __future__ import annotations

import zipfile
import zlib
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quant.arrays import check_classes, check_parts, check_shape, classes, image_set
from quant.data import ImageSet, split
from quant.errors import QuantError
from quant.files import sha256

NAMES = ("x_train", "y_train", "x_test", "y_test")
_HELP = "write it with numpy.savez(FILE, x_train=..., y_train=..., x_test=..., y_test=...)"


class NpzData:
    """Images of a ``.npz`` file; each array is read when first asked for.

    Parameters
    ----------
    path : Path
        As the module says.

    Raises
    ------
    QuantError
        If the file is missing, no such file or has no such arrays; when read, if their shapes,
        types or values are others.
    """

    def __init__(self, path: Path) -> None:
        self.folder = path
        try:
            with zipfile.ZipFile(path) as file:
                found = {Path(name).stem for name in file.namelist()}
        except (OSError, zipfile.BadZipFile) as error:
            what = "missing" if isinstance(error, FileNotFoundError) else str(error).lower()
            raise QuantError(
                f"{path}: must be a whole .npz file, not: {what} (truncated?); {_HELP}"
            ) from error
        missing = [name for name in NAMES if name not in found]
        if missing:
            raise QuantError(
                f"{path}: must have {', '.join(NAMES)}, not leave out {', '.join(missing)}; {_HELP}"
            )
        self.sha256 = {path.name: sha256(path)}

    @cached_property
    def _whole(self) -> ImageSet:
        whole = self._set("train")
        if len(whole) < 2:
            raise QuantError(f"{self._of('train')}: images must be at least 2, not {len(whole)}")
        return whole

    @cached_property
    def _train_and_validation(self) -> tuple[ImageSet, ImageSet]:
        return split(self._whole)

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
        test = self._set("test")
        check_parts(self._whole, test, place=str(self.folder))
        return test

    def check_test_length(self) -> None:
        """See that the test arrays go with those of training; of uint8 no image is looked at.

        Raises
        ------
        QuantError
            If not, or if float images have values that are no pixels; all of it would otherwise
            show at the end of a search only.
        """
        shape, dtype = self._header("x_test")
        if dtype != np.uint8:
            _ = self.test
            return
        place = self._of("test")
        one = check_shape(shape, place=place)
        labels = classes(self._array("y_test"), place=place)
        if len(labels) != shape[0]:
            raise QuantError(
                f"{place}: labels must be as many as the {shape[0]} images, not {len(labels)}; "
                f"{_HELP}"
            )
        if one != self._whole.shape:
            raise QuantError(
                f"{self.folder}: test images must be {self._whole.shape}, as those of training, "
                f"not {one}; resize them alike"
            )
        check_classes(self._whole.labels, labels, place=str(self.folder))

    def _of(self, part: str) -> str:
        return f"{self.folder}: x_{part}, y_{part}"

    def _set(self, part: str) -> ImageSet:
        images, labels = self._array(f"x_{part}"), self._array(f"y_{part}")
        return image_set(images, labels, place=self._of(part))

    def _array(self, name: str) -> NDArray[Any]:
        try:
            with np.load(self.folder, allow_pickle=False) as file:
                return np.asarray(file[name])
        except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
            raise self._broken(name, error) from error

    def _header(self, name: str) -> tuple[tuple[int, ...], np.dtype[Any]]:
        """Shape and type of an array that is not read."""
        try:
            with zipfile.ZipFile(self.folder) as file, file.open(f"{name}.npy") as entry:
                version = np.lib.format.read_magic(entry)
                read = (
                    np.lib.format.read_array_header_1_0
                    if version == (1, 0)
                    else np.lib.format.read_array_header_2_0
                )
                shape, _, dtype = read(entry)
        except (OSError, KeyError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
            raise self._broken(name, error) from error
        return shape, dtype

    def _broken(self, name: str, error: Exception) -> QuantError:
        reason = str(error).splitlines()[0].rstrip(".")
        return QuantError(f"{self.folder}: {name} must be an array of numbers, not: {reason}")
