"""Arrays of others as sets of images: which shapes and types are taken, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from quant.data import ImageSet
from quant.errors import QuantError

MOST_CHANNELS = 4
FLOAT_STEP = 255.0
"""Floats from 0 to 1 become pixels of 8 bits, which is what the array reads."""


def image_set(images: NDArray[Any], labels: NDArray[Any], *, place: str) -> ImageSet:
    """Check images with their labels, and make a set of them.

    Parameters
    ----------
    images : uint8, or float from 0 to 1, [N, H, W] or [N, H, W, C]
        Floats are rounded to 1 / 255. C is 1 to 4; a C of 1 is left out of the set's shape.
    labels : integer [N] or [N, 1]
        Classes, from 0.
    place : str
        File or factory and part, named in errors.

    Raises
    ------
    QuantError
        If shape, type or a value is another.
    """
    if len(images) != len(labels):
        raise QuantError(
            f"{place}: labels must be as many as the {len(images)} images, not {len(labels)}; "
            "write both from the same list"
        )
    return ImageSet(images=pixels(images, place=place), labels=classes(labels, place=place))


def check_shape(shape: tuple[int, ...], *, place: str) -> tuple[int, ...]:
    """Return the shape of one image, (H, W) or (H, W, C), from that of all.

    Raises
    ------
    QuantError
        If they are no images, or none.
    """
    rule = f"{place}: images must be [N, H, W] or [N, H, W, C]"
    if len(shape) not in (3, 4):
        raise QuantError(f"{rule}, not {list(shape)}; reshape them")
    if 0 in shape:
        raise QuantError(f"{rule} with at least one image, not {list(shape)}")
    if len(shape) == 3:
        return shape[1:]
    if shape[3] > MOST_CHANNELS:
        first = shape[1] <= MOST_CHANNELS
        fix = "channels must come last: transpose(0, 2, 3, 1)" if first else "select channels"
        raise QuantError(f"{rule} with C from 1 to {MOST_CHANNELS}, not {list(shape)}; {fix}")
    return shape[1:3] if shape[3] == 1 else shape[1:]


def pixels(images: NDArray[Any], *, place: str) -> NDArray[np.uint8]:
    """Return images as pixels, uint8 [N, H, W] or [N, H, W, C]; arguments as of `image_set`.

    Raises
    ------
    QuantError
        If they are neither uint8 nor floats from 0 to 1.
    """
    shape = check_shape(images.shape, place=place)
    found = images.reshape(len(images), *shape)
    if found.dtype == np.uint8:
        return found
    if not np.issubdtype(found.dtype, np.floating):
        raise QuantError(
            f"{place}: images must be uint8, or floats from 0 to 1, not {found.dtype}; convert "
            "them with astype(numpy.uint8)"
        )
    broken = np.flatnonzero(~np.isfinite(found).all(axis=tuple(range(1, found.ndim))))
    if len(broken):
        raise QuantError(
            f"{place}: images must be finite, but {len(broken)} of them, the first number "
            f"{broken[0]}, are not (NaN or infinite); repair or remove them"
        )
    least, most = float(found.min()), float(found.max())
    if least < 0 or most > 1:
        raise QuantError(
            f"{place}: images of floats must be from 0 to 1, not {least:.3g} to {most:.3g}; save "
            "uint8 pixels, and make normalisation the network's first module"
        )
    return np.rint(found * FLOAT_STEP).astype(np.uint8)


def classes(labels: NDArray[Any], *, place: str) -> NDArray[np.int64]:
    """Return labels as int64 [N]; arguments as of `image_set`.

    Raises
    ------
    QuantError
        If they are no integers from 0, or not one an image.
    """
    rule = f"{place}: labels must be integers from 0, one an image"
    if labels.ndim == 2 and labels.shape[1] > 1:
        raise QuantError(
            f"{rule}, not {list(labels.shape)}; of one-hot rows take labels.argmax(axis=1)"
        )
    if labels.ndim not in (1, 2):
        raise QuantError(f"{rule}, not {list(labels.shape)}; reshape them to [N]")
    if not np.issubdtype(labels.dtype, np.integer):
        raise QuantError(f"{rule}, not {labels.dtype}; convert them with astype(numpy.int64)")
    flat = labels.reshape(-1).astype(np.int64)
    if len(flat) and flat.min() < 0:
        raise QuantError(f"{rule}, not {flat.min()}; number the classes from 0")
    return flat


def check_parts(train: ImageSet, test: ImageSet, *, place: str) -> None:
    """See that training and test images go together.

    Raises
    ------
    QuantError
        If their shapes differ, or the test has classes that training has not.
    """
    if train.shape != test.shape:
        raise QuantError(
            f"{place}: test images must be {train.shape}, as those of training, not {test.shape}; "
            "resize them alike"
        )
    check_classes(train.labels, test.labels, place=place)


def check_classes(train: NDArray[np.int64], test: NDArray[np.int64], *, place: str) -> None:
    """See that no test image is of a class past those of training.

    Raises
    ------
    QuantError
        If one is.
    """
    known = int(train.max()) + 1
    if len(test) and test.max() >= known:
        raise QuantError(
            f"{place}: test labels must be below {known}, the classes of training, not "
            f"{test.max()}; number the classes of both alike"
        )
