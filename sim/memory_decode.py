"""Memory images of a layer back as the integers of an integer network.

The way back of `sim.program`, from docs/accelerator.md: fields of the descriptor, records of the
channels, words of the weight scratchpad. Nothing here needs gateware.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hw.accelerator_config import AcceleratorConfig
from hw.descriptor import DESCRIPTOR_BYTES, FIELDS, FLAGS, LayerDescriptor
from hw.mapping import ConvShape, shared_groups
from hw.precision import WeightMode
from sim import packing
from sim.golden import Ints

RECORD = np.dtype([("bias", "<i4"), ("multiplier", "<u2"), ("shift", "u1"), ("planes", "u1")])
"""A channel's 8 bytes; `shift` has 6 bits, `planes` the highest two, what is between is spare."""
PLANES_AT, SHIFT_BITS = 6, 6


def descriptor_fields(data: bytes) -> dict[str, int]:
    """Return the fields of a descriptor by name, unsigned, the flags one by one."""
    word, fields = int.from_bytes(data[:DESCRIPTOR_BYTES], "little"), {}
    for name, bits in FIELDS:
        fields[name] = word & (1 << bits) - 1
        word >>= bits
    flags = fields.pop("flags")
    rest = {"flags": flags >> len(FLAGS)}
    return fields | {name: flags >> bit & 1 for bit, name in enumerate(FLAGS)} | rest


def parameters(data: bytes, layer: LayerDescriptor, shape: ConvShape) -> dict[str, Ints]:
    """Return bias, multiplier and shift, int64 [M], and planes, digits less one, int64 [tiles].

    Parameters
    ----------
    data : bytes
        As they are sent.
    layer : LayerDescriptor
        Says how many groups and tiles there are.
    shape : ConvShape
        Says how many channels are real.
    """
    records = np.frombuffer(data, RECORD)
    outputs = shape.out_channels // layer.groups
    real = records.reshape(layer.groups, -1)[:, :outputs].reshape(-1)
    cols = len(records) // (layer.groups * layer.out_tiles)
    return {
        "bias": real["bias"].astype(np.int64),
        "multiplier": real["multiplier"].astype(np.int64),
        "shift": real["shift"].astype(np.int64) & (1 << SHIFT_BITS) - 1,
        "planes": records["planes"][::cols].astype(np.int64) >> PLANES_AT,
    }


def weights(
    data: bytes,
    planes: Ints,
    layer: LayerDescriptor,
    shape: ConvShape,
    config: AcceleratorConfig,
) -> NDArray[np.int64]:
    """Return a layer's weights, int64 [KH, KW, C / groups, M].

    Parameters
    ----------
    data : bytes
        Words of the weight scratchpad of all tiles, as they are sent.
    planes : int [tiles]
        Digits of each tile's weights, less one.
    layer, shape : LayerDescriptor, ConvShape
        The layer on the accelerator, and as the network has it.
    config : AcceleratorConfig

    Raises
    ------
    ValueError
        If the bytes are not as many as the tiles take.
    """
    array, depth = config.array, shape.taps * layer.group_channels
    tiles, first = [], 0
    for digits in planes:
        mode = WeightMode(int(digits) + 1)
        size = (
            -(-depth // array.chunk_depth(mode)), array.weight_items(mode), array.cols, array.lanes
        )  # fmt: skip
        count = int(np.prod(size))
        taken = count * array.weight_field_bits // 8
        fields = packing.unpack(data[first : first + taken], array.weight_field_bits, count)
        words = fields.astype(np.uint8).reshape(size)
        tiles.append(packing.weights_from_words(words, mode, array, depth))
        first += taken
    if first != len(data):
        raise ValueError(f"weights must be {first} bytes, as their planes say, not {len(data)}")
    return _ungrouped(np.stack(tiles), layer, shape, config)


def _ungrouped(
    tiles: Ints, layer: LayerDescriptor, shape: ConvShape, config: AcceleratorConfig
) -> NDArray[np.int64]:
    """Weights [KH, KW, C / groups, M] from tiles [groups * out_tiles, K, cols].

    Groups that run as one lie on the diagonal of their tile.
    """
    blocks = shared_groups(shape, config.array)
    inputs, outputs = shape.in_channels // shape.groups, shape.out_channels // shape.groups
    flat = tiles.reshape(layer.groups, layer.out_tiles, tiles.shape[1], -1).transpose(0, 2, 1, 3)
    block = flat.reshape(layer.groups, shape.kernel_h, shape.kernel_w, layer.group_channels, -1)
    parts = [
        block[
            group,
            :,
            :,
            index * inputs : (index + 1) * inputs,
            index * outputs : (index + 1) * outputs,
        ]
        for group in range(layer.groups)
        for index in range(blocks)
    ]
    return np.concatenate(parts, axis=-1)
