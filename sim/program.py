"""Layers as the accelerator takes and gives them: packets of bytes, and what must come back."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from hw.accelerator_config import RECORD_BYTES, AcceleratorConfig
from hw.csd import shift_add_cycles
from hw.descriptor import LayerDescriptor
from hw.mapping import ConvShape, describe, shared_groups
from hw.precision import WeightMode
from hw.timeline import TileSteps, tile_steps
from sim import golden, packing
from sim.golden import Ints


@dataclass(frozen=True, kw_only=True, eq=False)
class Layer:
    """A quantised convolution with its operands.

    Parameters
    ----------
    shape : ConvShape
        Its sizes.
    mode : WeightMode
        Precision of the weights.
    act : int [H, W, C]
        Feature map.
    weight : int [KH, KW, C / groups, M]
        Weights, each within `mode`.
    bias, multiplier, shift : int [M]
        See docs/numerics.md; the input's zero point is in `bias`.
    in_zero_point, out_zero_point, low, high : int
        Of activations; bounds that are not given are those of activations.
    keep_acts, keep_weights, last, wrap : bool
        See `hw.descriptor.LayerDescriptor`.
    tag : int
        Free.
    """

    shape: ConvShape
    mode: WeightMode
    act: Ints
    weight: Ints
    bias: Ints
    multiplier: Ints
    shift: Ints
    in_zero_point: int = 0
    out_zero_point: int = 0
    low: int | None = None
    high: int | None = None
    keep_acts: bool = False
    keep_weights: bool = False
    last: bool = False
    wrap: bool = False
    tag: int = 0

    def expected(self, config: AcceleratorConfig) -> NDArray[np.int64]:
        """Results by the golden model, int64 [OH * OW, M]."""
        shape = self.shape
        padded = np.pad(
            self.act,
            ((shape.pad_top, shape.pad_bottom), (shape.pad_left, shape.pad_right), (0, 0)),
            constant_values=self.in_zero_point,
        )
        inputs = shape.in_channels // shape.groups
        outputs = shape.out_channels // shape.groups
        sums = []
        for group in range(shape.groups):
            patches = golden.im2col(
                padded[None, :, :, group * inputs : (group + 1) * inputs],
                kernel=(shape.kernel_h, shape.kernel_w),
                stride=shape.stride,
            )
            weight = self.weight[..., group * outputs : (group + 1) * outputs]
            sums.append(golden.matmul(patches, weight.reshape(-1, outputs), self.mode))
        array = config.array
        low = array.act_min if self.low is None else self.low
        high = array.act_max if self.high is None else self.high
        bounds = (-(1 << 40), 1 << 40) if self.wrap else (low, high)
        result = golden.requantise(
            np.concatenate(sums, axis=1),
            bias=self.bias,
            multiplier=self.multiplier,
            shift=self.shift,
            zero_point=self.out_zero_point,
            low=bounds[0],
            high=bounds[1],
        )
        if not self.wrap:
            return result
        return (result - array.act_min) % (1 << array.act_bits) + array.act_min

    def descriptor(self, config: AcceleratorConfig) -> LayerDescriptor:
        """Return the layer's descriptor."""
        return describe(
            self.shape,
            self.mode,
            config,
            in_zero_point=self.in_zero_point,
            out_zero_point=self.out_zero_point,
            low=self.low,
            high=self.high,
            keep_acts=self.keep_acts,
            keep_weights=self.keep_weights,
            last=self.last,
            wrap=self.wrap,
            tag=self.tag,
        )

    def packet(self, config: AcceleratorConfig) -> bytes:
        """Everything the accelerator is sent for this layer, in order."""
        descriptor = self.descriptor(config)
        parts = [descriptor.to_bytes()]
        if not self.keep_weights:
            parts += [self.parameter_bytes(config), self.weight_bytes(config)]
        if not self.keep_acts:
            pixels = self.act.reshape(-1, self.shape.in_channels)
            short = descriptor.in_channels - pixels.shape[1]
            parts += [act_bytes(np.pad(pixels, ((0, 0), (0, short))), config)]
        return b"".join(parts)

    def parameter_bytes(self, config: AcceleratorConfig) -> bytes:
        """Return the records of all output channels, as they are sent."""
        return self._records(self.descriptor(config), config, self.planes(config))

    def weight_bytes(self, config: AcceleratorConfig) -> bytes:
        """Return the words of the weight scratchpad of all tiles, as they are sent."""
        tiles = self._tiles(self.descriptor(config), config)
        planes = [used_planes(tile, self.mode, config) for tile in tiles]
        return b"".join(weight_bytes(t, p, config) for t, p in zip(tiles, planes, strict=True))

    def planes(self, config: AcceleratorConfig) -> list[WeightMode]:
        """Digit planes of every output tile."""
        tiles = self._tiles(self.descriptor(config), config)
        return [used_planes(tile, self.mode, config) for tile in tiles]

    def tile_steps(self, config: AcceleratorConfig) -> list[TileSteps]:
        """Count the steps of every output tile, as its weights take them."""
        array, descriptor = config.array, self.descriptor(config)
        if not array.pe.traits.skips_zeros:
            return tile_steps(descriptor, config, planes=self.planes(config))
        return [
            TileSteps(
                words=len(tile),
                chunks=tuple(
                    max(shift_add_cycles(int(w), array.max_shift) for w in row) for row in tile
                ),
            )
            for tile in self._tiles(descriptor, config)
        ]

    def results(self, data: bytes, config: AcceleratorConfig) -> NDArray[np.int64]:
        """Take the layer's results from the bytes that came back.

        Returns
        -------
        int64 [OH * OW, M]

        Raises
        ------
        ValueError
            If the number of bytes is not the layer's.
        """
        descriptor = self.descriptor(config)
        cols = config.array.cols
        tiles = descriptor.groups * descriptor.out_tiles
        pixels = self.shape.out_h * self.shape.out_w
        values = acts_from_bytes(data, pixels=pixels, channel_tiles=tiles, config=config)
        outputs = self.shape.out_channels // descriptor.groups
        by_group = values.reshape(pixels, descriptor.groups, descriptor.out_tiles * cols)
        return by_group[:, :, :outputs].reshape(pixels, -1)

    def _tiles(self, descriptor: LayerDescriptor, config: AcceleratorConfig) -> list[Ints]:
        """Weights of each output tile, int [K, cols], zeros where there are none."""
        shape, cols = self.shape, config.array.cols
        blocks = shared_groups(shape, config.array)
        inputs = shape.in_channels // shape.groups
        outputs = shape.out_channels // shape.groups
        tiles: list[Ints] = []
        for group in range(descriptor.groups):
            depth = (shape.kernel_h, shape.kernel_w, descriptor.group_channels)
            block = np.zeros((*depth, descriptor.out_tiles * cols), np.int64)
            for index in range(blocks):
                first = (group * blocks + index) * outputs
                block[
                    :,
                    :,
                    index * inputs : (index + 1) * inputs,
                    index * outputs : (index + 1) * outputs,
                ] = self.weight[..., first : first + outputs]
            flat = block.reshape(-1, descriptor.out_tiles * cols)
            tiles += [flat[:, i : i + cols] for i in range(0, flat.shape[1], cols)]
        return tiles

    def _records(
        self, descriptor: LayerDescriptor, config: AcceleratorConfig, planes: list[WeightMode]
    ) -> bytes:
        """Parameters of all channels of all tiles (hw.sections.RECORD)."""
        cols = config.array.cols
        outputs = self.shape.out_channels // descriptor.groups

        def spread(values: Ints, fill: int) -> Ints:
            by_group = values.astype(np.int64).reshape(descriptor.groups, outputs)
            short = descriptor.out_tiles * cols - outputs
            filled = np.pad(by_group, ((0, 0), (0, short)), constant_values=fill)
            return filled.reshape(-1)

        bias, multiplier = spread(self.bias, 0), spread(self.multiplier, 0)
        digits = np.repeat([mode.digits - 1 for mode in planes], cols).astype(np.uint64)
        words = (bias & 0xFFFFFFFF).astype(np.uint64)
        words |= multiplier.astype(np.uint64) << np.uint64(32)
        words |= spread(self.shift, 1).astype(np.uint64) << np.uint64(48)
        words |= digits << np.uint64(8 * RECORD_BYTES - 2)
        return words.astype("<u8").tobytes()


def used_planes(weight: Ints, mode: WeightMode, config: AcceleratorConfig) -> WeightMode:
    """Narrowest mode that holds all weights of a tile, if the array can make use of it."""
    if not config.skips_planes:
        return mode
    fitting = [m for m in WeightMode if weight.min() >= m.min and weight.max() <= m.max]
    return min([*fitting, mode], key=lambda m: m.digits)


def weight_bytes(weight: Ints, mode: WeightMode, config: AcceleratorConfig) -> bytes:
    """Words of the weight scratchpad of a tile.

    Parameters
    ----------
    weight : int [K, cols]
    mode : WeightMode
        Digit planes of the tile.
    config : AcceleratorConfig
    """
    words = packing.weight_words(weight, mode, config.array)
    return packing.pack(words, config.array.weight_field_bits)


def act_bytes(act: Ints, config: AcceleratorConfig) -> bytes:
    """Activations in the order of the stream: tiles of pixels, of channels, beats of rows.

    Parameters
    ----------
    act : int [P, C]
        Pixels in raster order.
    config : AcceleratorConfig
    """
    array = config.array
    short = (-act.shape[0] % array.rows, -act.shape[1] % array.cols)
    full = np.pad(act, ((0, short[0]), (0, short[1])))
    tiles = full.reshape(
        -1, array.drain_rows, array.drain_cycles, full.shape[1] // array.cols, array.cols
    )
    ordered = tiles.transpose(0, 3, 2, 1, 4)
    return (ordered & 0xFF).astype(np.uint8).tobytes()


def acts_from_bytes(
    data: bytes, *, pixels: int, channel_tiles: int, config: AcceleratorConfig
) -> NDArray[np.int64]:
    """Inverse of `act_bytes`, without the pixels that fill the last tile.

    Returns
    -------
    int64 [pixels, channel_tiles * cols]

    Raises
    ------
    ValueError
        If the number of bytes does not fit.
    """
    array = config.array
    tiles = -(-pixels // array.rows)
    size = tiles * channel_tiles * array.rows * array.cols
    if len(data) != size:
        raise ValueError(f"data must be {size} bytes, not {len(data)}")
    values = np.frombuffer(data, np.int8 if array.act_signed else np.uint8).astype(np.int64)
    ordered = values.reshape(
        tiles, channel_tiles, array.drain_cycles, array.drain_rows, array.cols
    ).transpose(0, 3, 2, 1, 4)
    return ordered.reshape(tiles * array.rows, -1)[:pixels]


def program(layers: list[Layer]) -> list[Layer]:
    """Mark the last layer of a run."""
    return [replace(layer, last=index == len(layers) - 1) for index, layer in enumerate(layers)]
