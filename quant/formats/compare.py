"""Exported files beside the golden model, on real images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from quant.errors import QuantError
from quant.formats.execute import logits
from quant.formats.files import Form
from sim import network as golden
from sim.folder import IntegerNetwork


def compare(network: IntegerNetwork, form: Form, out: Path, images: NDArray[np.uint8]) -> str:
    """Hold a written file to the integer network on images, uint8 [N, H, W, C].

    Returns
    -------
    str
        What was found, one line.

    Raises
    ------
    QuantError
        If a logit of a form that is exact differs; names the image and the class.
    """
    path = out / form.name
    expected, found = golden.run(network, images), logits(path, images)
    same_class = int((expected.argmax(axis=1) == found.argmax(axis=1)).sum())
    if not form.is_exact:
        return f"{path}: same class for {same_class} of {len(images)} images"
    wrong = np.argwhere(expected != found)
    if len(wrong):
        image, index = (int(part) for part in wrong[0])
        raise QuantError(
            f"{path}: logits must equal the golden model's, but image {image}, class {index} is "
            f"{found[image, index]}, not {expected[image, index]}"
        )
    return f"{path}: all {expected.size:,} logits of {len(images)} images equal the golden model's"
