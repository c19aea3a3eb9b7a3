"""ImageNet-style folders of photographs, checked, and split so that the test set stays unread.

::

    folder/train/n01440764/*.JPEG   folder/val/n01440764/*.JPEG
    folder/train/n01440764/*.JPEG   folder/val/*.JPEG   folder/val/labels.txt (or folder/val.txt)
    folder/n01440764/*.JPEG                             one set only, split here

A line of the labels file is a file's name and its class: the class's name or its number, from 0.
Classes are numbered in the order of their names, or as they stand in folder/synsets.txt, a name a
line; with that file some of the classes may have no photographs.
"""

from __future__ import annotations

import hashlib
import importlib.util
import math
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from quant.catalogue import Preprocessing
from quant.data import SPLIT_SEED, VALIDATION_IMAGES
from quant.errors import QuantError
from quant.listing import HELP, Listed, class_names, listed
from quant.photographs import PhotoSet, check_header

TEST_SHARE = 0.5
"""Of a folder with one set only."""


class PhotoData:
    """Training, validation and test photographs of a folder; each is decoded when asked for.

    Parameters
    ----------
    folder : Path
        As the module says.
    preprocessing : Preprocessing
        How photographs become inputs.
    classes : int, optional
        Outputs of the network, where they are known.

    Raises
    ------
    QuantError
        If the folder is missing or no such folder, has another number of classes, or Pillow is not
        installed.
    """

    def __init__(
        self, folder: Path, preprocessing: Preprocessing, *, classes: int | None = None
    ) -> None:
        if importlib.util.find_spec("PIL") is None:
            raise QuantError("photographs need Pillow: run `pip install 'sigmaquant[large]'`")
        if not folder.is_dir():
            raise QuantError(f"{folder}: must be a folder of photographs, not missing; {HELP}")
        self.folder = folder
        self.preprocessing = preprocessing
        parts = [path for path in (folder / "train", folder / "val") if path.is_dir()]
        found = {path.name: listed(path) for path in parts or [folder]}
        self.names = class_names(folder, found, classes)
        """Of the classes, in the order of their numbers."""
        self._sets = {name: self._photographs(pairs) for name, pairs in found.items()}
        self.sha256 = {"names and labels": self._digest(self._sets)}

    @cached_property
    def _split(self) -> tuple[PhotoSet, PhotoSet, PhotoSet]:
        """Training, validation and test photographs."""
        if len(self._sets) == 2:
            train, test = self._sets["train"], self._sets["val"]
        else:
            (whole,) = self._sets.values()
            test, train = _cut(whole, math.ceil(len(whole) * TEST_SHARE))
        validation, rest = _cut(train, min(VALIDATION_IMAGES, math.ceil(len(train) / 6)))
        if not len(rest):
            count = sum(map(len, self._sets.values()))
            raise QuantError(f"{self.folder}: must have more photographs than {count}; {HELP}")
        return rest, validation, test

    @property
    def train(self) -> PhotoSet:
        """Training photographs, the validation part cut off."""
        return self._split[0]

    @property
    def validation(self) -> PhotoSet:
        """At most 5,000, or a sixth, of the training photographs."""
        return self._split[1]

    @property
    def test(self) -> PhotoSet:
        """Those of val/, or half of the one set that is there."""
        return self._split[2]

    def check_test_length(self) -> None:
        """Read the headers of the test photographs, so that a broken one shows at once.

        Raises
        ------
        QuantError
            If one is no photograph; names it.
        """
        for path in self.test.paths:
            check_header(path)

    def _photographs(self, found: Listed) -> PhotoSet:
        numbers = {name: index for index, name in enumerate(self.names)}
        labels = [numbers[kind] if isinstance(kind, str) else kind for _, kind in found]
        return PhotoSet(
            paths=tuple(path for path, _ in found),
            labels=np.array(labels, np.int64),
            preprocessing=self.preprocessing,
        )

    def _digest(self, sets: Mapping[str, PhotoSet]) -> str:
        digest = hashlib.sha256()
        for photographs in sets.values():
            for path, label in zip(photographs.paths, photographs.labels, strict=True):
                digest.update(f"{path.relative_to(self.folder).as_posix()} {label}\n".encode())
        return digest.hexdigest()


def _cut(whole: PhotoSet, count: int) -> tuple[PhotoSet, PhotoSet]:
    """Return `count` photographs at random and the others, each in order."""
    order: NDArray[np.int64] = np.random.default_rng(SPLIT_SEED).permutation(len(whole))
    return whole.take(np.sort(order[:count])), whole.take(np.sort(order[count:]))
