"""Data sets of the user's own: ``--data module:factory``, three parts of images with labels.

The factory takes nothing and returns ``(train, validation, test)``, or ``(train, test)``, of which
the validation part is cut off as everywhere; or an object or dict with these names. A part is

- a tuple ``(images, labels)`` of arrays as `quant.arrays` takes them (numpy: [N, H, W] or
  [N, H, W, C]; a torch tensor of four dimensions: [N, C, H, W]),
- a Dataset, anything with ``len()`` whose items are ``(image, label)``: numpy [H, W] or [H, W, C],
  a torch tensor [H, W] or [C, H, W], or a Pillow image; it is read into memory, or
- a `quant.data.Images`, which may read from disk whenever it is asked.

Every process calls it, so that it must give the same each time: without random transforms
(`quant.train` mirrors and shifts by itself) and without normalisation (the network's first module).
"""

from __future__ import annotations

import hashlib
import importlib
import sys
from functools import cached_property
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np
from numpy.typing import NDArray

from quant.arrays import check_classes, image_set
from quant.data import Images, ImageSet, split
from quant.errors import QuantError

PARTS = ("train", "validation", "test")
PROBED = 4
"""Items of a Dataset that are read twice, to see whether they stay the same."""
SEED = 0
_RULE = (
    "must return (train, validation, test) or (train, test), each a tuple (images, labels), a "
    "Dataset or a quant.data.Images"
)


class OwnData:
    """What a factory of the user's returns, as `quant.data.Data`.

    Parameters
    ----------
    name : str
        ``module:factory``; the module is looked for where the command was started, too.

    Raises
    ------
    QuantError
        If it cannot be imported, fails, or returns something else than the module says.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.folder = Path(name)
        made = _call(name)
        self._parts = _parts(made, name)
        self._check = getattr(made, "check_test_length", None)
        self.sha256: dict[str, str] = dict(getattr(made, "sha256", {}))

    @cached_property
    def _train_and_validation(self) -> tuple[Images, Images]:
        whole = self._read("train")
        if "validation" in self._parts:
            validation = self._read("validation")
            self._check_alike(whole, validation, "validation")
            return whole, validation
        if len(whole) < 2:
            raise QuantError(
                f"data {self.name}: training images must be 2 or more, not 1; add some"
            )
        if isinstance(whole, ImageSet):
            return split(whole)
        raise QuantError(
            f"data {self.name}: a train part that is a quant.data.Images must come with a "
            "validation part, not without; return (train, validation, test)"
        )

    @property
    def train(self) -> Images:
        """Training images, the validation part cut off."""
        return self._train_and_validation[0]

    @property
    def validation(self) -> Images:
        """Images that no network was trained on: the factory's, or a sixth of its training."""
        return self._train_and_validation[1]

    @cached_property
    def test(self) -> Images:
        """Test images; a search measures on them once, at its end."""
        test = self._read("test")
        self._check_alike(self.train, test, "test")
        return test

    def check_test_length(self) -> None:
        """See that the test part is one, so that it does not show at the end of a search only.

        Raises
        ------
        QuantError
            If not.
        """
        if self._check is None:
            _ = self.test
        else:
            self._check()

    def _check_alike(self, train: Images, other: Images, part: str) -> None:
        if tuple(train.shape) != tuple(other.shape):
            raise QuantError(
                f"data {self.name}: {part} images must be {tuple(train.shape)}, as those of "
                f"training, not {tuple(other.shape)}; resize them alike"
            )
        if part == "test":
            known = np.concatenate([train.labels, self.validation.labels])
            check_classes(known, other.labels, place=f"data {self.name}")

    def _read(self, part: str) -> Images:
        place = f"data {self.name}, {part}"
        found = as_images(self._parts[part], place=place)
        if isinstance(found, ImageSet) and part not in self.sha256:
            digest = hashlib.sha256(np.ascontiguousarray(found.images).data)
            digest.update(np.ascontiguousarray(found.labels).data)
            self.sha256[part] = digest.hexdigest()
        return found


def as_images(part: Any, *, place: str) -> Images:
    """Return a part of a data set as `quant.data.Images`.

    Parameters
    ----------
    part : tuple, Dataset or Images
        As the module says.
    place : str
        Named in errors.

    Raises
    ------
    QuantError
        If it is none of these, or an image or label is no such thing.
    """
    if _is_images(part):
        if len(part) == 0 or np.asarray(part.labels).shape != (len(part),):
            raise QuantError(
                f"{place}: labels must be [{len(part)}], one an image and at least one, not "
                f"{list(np.asarray(part.labels).shape)}; repair the factory"
            )
        return part
    if isinstance(part, tuple) and len(part) == 2:
        images, labels = (_array(value, place=place) for value in part)
        if _is_tensor(part[0]) and images.ndim == 4:
            images = images.transpose(0, 2, 3, 1)
        if images.ndim == 0 or labels.ndim == 0:
            raise QuantError(f"{place}: {_RULE}, not a pair of single numbers")
        return image_set(images, labels, place=place)
    if not hasattr(part, "__len__") or not hasattr(part, "__getitem__") or hasattr(part, "shape"):
        raise QuantError(f"{place}: {_RULE}, not a {type(part).__name__}")
    return _of_dataset(part, place=place)


def _of_dataset(items: Any, *, place: str) -> ImageSet:
    count = len(items)
    if not count:
        raise QuantError(f"{place}: Dataset must have at least one image, not none; check its path")
    images: list[NDArray[Any]] = []
    labels: list[Any] = []
    for index in range(count):
        image, label = _item(items, index, place=place)
        if index < PROBED and not np.array_equal(image, _item(items, index, place=place)[0]):
            raise QuantError(
                f"{place}: items must be the same each time, but number {index} is not; take "
                "random transforms out of the Dataset"
            )
        if images and image.shape != images[0].shape:
            raise QuantError(
                f"{place}: images must have one shape, {images[0].shape}, but number {index} is "
                f"{image.shape}; resize them alike"
            )
        images.append(image)
        labels.append(label)
    return image_set(np.stack(images), np.asarray(labels), place=place)


def _item(items: Any, index: int, *, place: str) -> tuple[NDArray[Any], Any]:
    """Return one item: its image [H, W] or [H, W, C], and its label."""
    try:
        item = items[index]
    except Exception as error:  # of the user's code
        raise QuantError(
            f"{place}: item {index} must be readable, not: {type(error).__name__}: {error}"
        ) from error
    if not isinstance(item, tuple | list) or len(item) != 2:
        raise QuantError(
            f"{place}: items must be (image, label), but number {index} is a {type(item).__name__}"
        )
    image = _array(item[0], place=place)
    if _is_tensor(item[0]) and image.ndim == 3:
        image = image.transpose(1, 2, 0)
    return image, np.asarray(item[1]).item() if np.ndim(item[1]) == 0 else np.asarray(item[1])


def _array(value: Any, *, place: str) -> NDArray[Any]:
    try:
        return np.asarray(value.detach().cpu() if _is_tensor(value) else value)
    except Exception as error:  # whatever an object's conversion makes
        raise QuantError(
            f"{place}: images and labels must be arrays, not a {type(value).__name__}"
        ) from error


def _is_tensor(value: Any) -> bool:
    """Whether it is a tensor of torch, whose channels come first."""
    return hasattr(value, "detach")


def _is_images(value: Any) -> TypeGuard[Images]:
    names = ("labels", "shape", "pixels", "take", "__len__")
    return all(hasattr(value, name) for name in names)


def _parts(made: Any, name: str) -> dict[str, Any]:
    """Return the parts by their names."""
    if isinstance(made, tuple | list) and len(made) in (2, 3):
        names = PARTS if len(made) == 3 else ("train", "test")
        return dict(zip(names, made, strict=True))
    if isinstance(made, dict):
        parts = {part: made[part] for part in PARTS if part in made}
    else:
        parts = {part: getattr(made, part) for part in PARTS if hasattr(made, part)}
    missing = [part for part in ("train", "test") if part not in parts]
    if missing:
        raise QuantError(
            f"data {name} {_RULE}, not a {type(made).__name__} without {', '.join(missing)}"
        )
    return parts


def _call(name: str) -> Any:
    """Call the factory with fixed seeds, so that every process gets the same."""
    import torch

    from quant.tracing import first_line, line_of

    module, _, factory = name.partition(":")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    state = np.random.get_state()  # noqa: NPY002 - the user's code may draw from it
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(SEED)
            np.random.seed(SEED)  # noqa: NPY002
            return getattr(importlib.import_module(module), factory)()
    except Exception as error:  # of the user's code
        raise QuantError(
            f"data {name} must be importable and callable, not: {type(error).__name__}: "
            f"{first_line(error)} ({line_of(error)})"
        ) from error
    finally:
        np.random.set_state(state)  # noqa: NPY002
