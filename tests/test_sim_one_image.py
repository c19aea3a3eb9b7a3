"""The page that follows an image: its numbers are those of the golden model."""

import re
from pathlib import Path

import numpy as np
import pytest

from hw.precision import WeightMode
from sim import network
from sim.folder import LOGIT_BITS, Conv, Graph, IntegerNetwork, LayerArrays, TensorSpec
from sim.one_image import Walk, page, pairs


@pytest.mark.parametrize("mode", WeightMode)
def test_pairs_make_the_weight(mode: WeightMode) -> None:
    for weight in range(mode.min, mode.max + 1):
        found = pairs(weight, mode.bits)
        assert len(found) == mode.bits // 2
        assert sum(pair * 4**i for i, pair in enumerate(found)) == weight
        assert all(0 <= pair <= 3 for pair in found[:-1])
        assert -2 <= found[-1] <= 1


def two_layers() -> IntegerNetwork:
    rng = np.random.default_rng(3)
    tensors = {
        "image": TensorSpec(height=6, width=6, channels=1, scale=1 / 255),
        "map": TensorSpec(height=6, width=6, channels=4, scale=0.02),
        "logits": TensorSpec(
            height=1, width=1, channels=3, scale=0.1, bits=LOGIT_BITS, signed=True
        ),
    }
    pads = dict.fromkeys(("pad_top", "pad_left", "pad_bottom", "pad_right"), 1)
    first = {"name": "first", "input": "image", "output": "map", "kernel_h": 3, "kernel_w": 3}
    last = {"name": "last", "input": "map", "output": "logits", "kernel_h": 6, "kernel_w": 6}
    steps = [
        Conv.model_validate(first | pads | {"stride": 1, "weight_bits": 6, "low": 0, "high": 255}),
        Conv.model_validate(last | {"stride": 1, "weight_bits": 4, "low": -99999, "high": 99999}),
    ]

    def arrays(shape: tuple[int, ...], bits: int) -> LayerArrays:
        half, outputs = 1 << (bits - 1), shape[-1]
        return LayerArrays(
            weight=rng.integers(-half, half, shape, np.int8),
            bias=rng.integers(-99, 99, outputs, np.int32),
            multiplier=np.full(outputs, 50000, np.uint16),
            shift=np.full(outputs, 21, np.uint8),
            scale=np.ones(outputs, np.float32),
        )

    return IntegerNetwork(
        graph=Graph(name="two", input="image", output="logits", tensors=tensors, steps=[*steps]),
        layers={"first": arrays((3, 3, 1, 4), 6), "last": arrays((6, 6, 4, 3), 4)},
    )


def test_the_page_shows_the_golden_models_numbers() -> None:
    net = two_layers()
    image = np.random.default_rng(1).integers(0, 256, (6, 6, 1), np.uint8)
    walk = Walk(net, image)
    maps = dict(network.tensors(net, image[None]))
    text = page(walk, 2, "picture.png", "command")
    y, x, channel = walk.place
    assert f"**{maps['map'][0, y, x, channel]}**, which stands for" in text
    accumulators = [int(n) for n in re.findall(r"^\| \d \| (-?\d+) \|$", text, re.MULTILINE)]
    assert len(accumulators) == 3
    patch = np.pad(image[..., 0], 1)[y : y + 3, x : x + 3].reshape(-1).astype(int)
    weight = net.layers["first"].weight[..., channel].reshape(-1).astype(int)
    assert accumulators[-1] == patch @ weight
    assert accumulators[0] == patch @ (weight & 3)
    logits = maps["logits"].reshape(-1)
    assert "| logit | " + " | ".join(map(str, logits.tolist())) + " |" in text
    assert f"class **{logits.argmax()}**" in text


def test_a_picture_is_drawn(tmp_path: Path) -> None:
    from sim.plot_image import plot_image

    image = np.random.default_rng(1).integers(0, 256, (6, 6, 1), np.uint8)
    plot_image(Walk(two_layers(), image), tmp_path / "one.png")
    assert (tmp_path / "one.png").stat().st_size > 5_000
