"""Layers as bytes: packed and taken apart, and the golden results of a whole layer."""

import numpy as np
import pytest

from hw.accelerator_config import AcceleratorConfig
from hw.config import ArrayConfig
from hw.mapping import ConvShape
from hw.precision import WeightMode
from sim import program
from sim.bench.layers import make_layers, random_specs
from sim.program import Layer

CONFIG = AcceleratorConfig(
    array=ArrayConfig(rows=4, cols=4, lanes=8, drain_rows=2, max_depth=288),
    bank_channels=8,
    act_words=256,
    weight_words=512,
    channel_tiles=32,
)


@pytest.mark.parametrize(("pixels", "channels"), [(1, 1), (9, 6), (8, 4)])
def test_activations_come_back(pixels: int, channels: int) -> None:
    act = np.random.default_rng(1).integers(0, 256, (pixels, channels))
    data = program.act_bytes(act, CONFIG)
    tiles = -(-channels // 4)
    assert len(data) == -(-pixels // 4) * 4 * tiles * 4
    back = program.acts_from_bytes(data, pixels=pixels, channel_tiles=tiles, config=CONFIG)
    np.testing.assert_array_equal(back[:, :channels], act)
    with pytest.raises(ValueError, match=r"^data must be \d+ bytes, not \d+$"):
        program.acts_from_bytes(data[1:], pixels=pixels, channel_tiles=tiles, config=CONFIG)


def test_beats_hold_the_rows_that_drain_together() -> None:
    act = np.arange(4)[:, None] * 16 + np.arange(4)
    beats = np.frombuffer(program.act_bytes(act, CONFIG), np.uint8).reshape(2, 2, 4)
    assert (beats[:, :, 0] >> 4).tolist() == [[0, 2], [1, 3]]


def test_layer_equals_plain_loops() -> None:
    rng = np.random.default_rng(2)
    shape = ConvShape(
        in_h=5, in_w=4, in_channels=4, out_channels=6, kernel_h=3, kernel_w=2, stride=2,
        pad_top=1, pad_right=1, groups=2,
    )  # fmt: skip
    act = rng.integers(0, 256, (5, 4, 4))
    weight = rng.integers(-8, 8, (3, 2, 2, 6))
    bias, multiplier = rng.integers(-500, 500, 6), rng.integers(1 << 15, 1 << 16, 6)
    shift = np.full(6, 21)
    layer = Layer(
        shape=shape, mode=WeightMode.W4, act=act, weight=weight, bias=bias,
        multiplier=multiplier, shift=shift, in_zero_point=9, out_zero_point=100, low=3, high=250,
    )  # fmt: skip
    got = layer.expected(CONFIG)
    assert got.shape == (shape.out_h * shape.out_w, 6)
    for pixel, m in np.ndindex(got.shape):
        y, x = divmod(pixel, shape.out_w)
        total = int(bias[m])
        for ky, kx, c in np.ndindex(3, 2, 2):
            row, col = 2 * y + ky - 1, 2 * x + kx
            inside = 0 <= row < 5 and 0 <= col < 4
            value = int(act[row, col, c + 2 * (m // 3)]) if inside else 9
            total += value * int(weight[ky, kx, c, m])
        scaled = (total * int(multiplier[m]) + (1 << 20)) >> 21
        assert got[pixel, m] == min(max(scaled + 100, 3), 250)


def test_wide_sums_leave_in_four_wrapped_pieces() -> None:
    rng = np.random.default_rng(3)
    weight = rng.integers(-128, 128, (1, 1, 200, 1))
    act = rng.integers(0, 256, (1, 7, 200))
    bias = 12345
    # floor division by 2**(8 j): the rounding of the shift is taken off by the bias
    layer = Layer(
        shape=ConvShape.gemm(pixels=7, depth=200, outputs=4),
        mode=WeightMode.W8,
        act=act,
        weight=np.repeat(weight, 4, axis=3),
        bias=np.array([bias] + [bias - (1 << 8 * j - 1) for j in (1, 2, 3)]),
        multiplier=np.array([2, 1, 1, 1]),
        shift=np.array([1, 8, 16, 24]),
        wrap=True,
    )
    pieces = layer.expected(CONFIG).astype(np.uint8)
    sums = pieces.view("<i4")[:, 0]
    assert sums.tolist() == (act[0] @ weight[0, 0, :, 0] + bias).tolist()


def test_packets_are_as_long_as_the_timeline_says() -> None:
    from hw.timeline import payload_beats

    specs = random_specs(CONFIG, count=30, seed=4)
    for layer in make_layers(specs, CONFIG):
        beats = payload_beats(layer.descriptor(CONFIG), layer.tile_steps(CONFIG), CONFIG)
        assert len(layer.packet(CONFIG)) == 32 + beats * CONFIG.bus_bytes
