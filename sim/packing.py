"""Weights as they lie in the array's memory: binary, packed at the mode's width.

On a digit-serial array a memory word feeds one step of one column: the word of digit ``d`` holds
bits ``2d + 1`` and ``2d`` of `lanes` weights (bit ``d`` on bit planes), so a layer of b-bit weights
takes exactly b bits a weight (up to the filling of its last chunk) and every mode reads the same
number of bits a cycle. On spatial digit planes a word holds all digits of a chunk, plane by plane
(`hw.planes`); on the other kinds whole weights of eight bits.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hw.config import ArrayConfig
from hw.planes import PLANES, place
from hw.precision import WeightMode
from sim.golden import Ints


def chunk(values: Ints, lanes: int) -> Ints:
    """Split the last axis into chunks of `lanes`, the last one filled with zeros.

    Parameters
    ----------
    values : int [..., K]
    lanes : int

    Returns
    -------
    int [..., ceil(K / lanes), lanes]
    """
    short = -values.shape[-1] % lanes
    filled = np.pad(values, [(0, 0)] * (values.ndim - 1) + [(0, short)])
    return filled.reshape(*values.shape[:-1], -1, lanes)


def weight_words(weight: Ints, mode: WeightMode, config: ArrayConfig) -> NDArray[np.uint8]:
    """Fields of the memory words of one tile's columns.

    Parameters
    ----------
    weight : int [K, M]
        Within `mode`.
    mode : WeightMode
        Precision.
    config : ArrayConfig
        The array.

    Returns
    -------
    uint8 [chunks, items, M, lanes]
        `weight_field_bits` of the configuration a field.

    Raises
    ------
    ValueError
        If a weight does not fit the mode.
    """
    if weight.size and not (weight.min() >= mode.min and weight.max() <= mode.max):
        raise ValueError(
            f"weight must be from {mode.min} to {mode.max} at {mode.name}, "
            f"not {weight.min()} to {weight.max()}"
        )
    depth, bits = config.chunk_depth(mode), config.weight_field_bits
    chunks = chunk(weight.T, depth).transpose(1, 0, 2)  # [chunks, M, depth]
    if config.pe.traits.planes > 1:
        size = config.lanes // PLANES
        words = np.zeros((*chunks.shape[:2], config.lanes), np.uint8)
        for plane, slot, digit in _places(mode):
            part = chunks[..., slot * size : (slot + 1) * size] >> bits * digit & 3
            words[..., plane * size : (plane + 1) * size] = part
        return words[:, None]
    shifts = bits * np.arange(config.weight_items(mode))[None, :, None, None]
    return (chunks[:, None] >> shifts & (1 << bits) - 1).astype(np.uint8)


def weights_from_words(
    words: NDArray[np.uint8], mode: WeightMode, config: ArrayConfig, depth: int
) -> NDArray[np.int64]:
    """Inverse of `weight_words`.

    Parameters
    ----------
    words : uint8 [chunks, items, M, lanes]
    mode : WeightMode
    config : ArrayConfig
    depth : int
        K, to drop what filled the last chunk.

    Returns
    -------
    int64 [K, M]
    """
    chunks, items, columns, lanes = words.shape
    bits = config.weight_field_bits
    if config.pe.traits.planes > 1:
        size = lanes // PLANES
        unsigned = np.zeros((chunks, columns, config.chunk_depth(mode)), np.int64)
        for plane, slot, digit in _places(mode):
            part = words[:, 0, :, plane * size : (plane + 1) * size].astype(np.int64)
            unsigned[..., slot * size : (slot + 1) * size] += part << bits * digit
    else:
        shifts = bits * np.arange(items)[None, :, None, None]
        unsigned = (words.astype(np.int64) << shifts).sum(axis=1)
    top = mode.bits - 1 if bits < WeightMode.W8.bits else bits - 1
    signed: NDArray[np.int64] = unsigned - ((unsigned >> top & 1) << top + 1)
    by_depth: NDArray[np.int64] = signed.transpose(0, 2, 1).reshape(-1, columns)
    return by_depth[:depth]


def act_fields(act: Ints, mode: WeightMode, config: ArrayConfig) -> Ints:
    """Fields of the items of the activation stream of one tile.

    Parameters
    ----------
    act : int [rows, K]
    mode : WeightMode
        Of the weights.
    config : ArrayConfig
        The array.

    Returns
    -------
    int [chunks, rows, lanes]
        Fields beyond the chunk's depth are 0.
    """
    depth = config.chunk_depth(mode)
    chunks = chunk(act, depth).transpose(1, 0, 2)
    return np.pad(chunks, [(0, 0), (0, 0), (0, config.lanes - depth)])


def _places(mode: WeightMode) -> list[tuple[int, int, int]]:
    """Plane, slot and digit of each plane that holds one."""
    places = [(plane, place(plane, mode)) for plane in range(PLANES)]
    return [(plane, *held) for plane, held in places if held is not None]


def pack(fields: Ints, bits: int) -> bytes:
    """Pack unsigned fields, first field in the lowest bits of the first byte.

    Parameters
    ----------
    fields : int [...]
        In order of their flattening; only the low `bits` of each count.
    bits : int
        Bits a field.

    Returns
    -------
    bytes
        ``ceil(count * bits / 8)`` of them.
    """
    flat = fields.reshape(-1).astype(np.int64)
    planes = (flat[:, None] >> np.arange(bits) & 1).astype(np.uint8)
    return np.packbits(planes.reshape(-1), bitorder="little").tobytes()


def unpack(data: bytes, bits: int, count: int) -> NDArray[np.int64]:
    """Inverse of `pack`: `count` unsigned fields.

    Raises
    ------
    ValueError
        If the bytes are too few.
    """
    if 8 * len(data) < bits * count:
        raise ValueError(f"data must be at least {-(-bits * count // 8)} bytes, not {len(data)}")
    planes = np.unpackbits(np.frombuffer(data, np.uint8), bitorder="little")[: bits * count]
    fields: NDArray[np.int64] = planes.reshape(count, bits).astype(np.int64) << np.arange(bits)
    totals: NDArray[np.int64] = fields.sum(axis=1)
    return totals
