"""Weights as they lie in the array's memory: binary, packed at the mode's width.

A memory word feeds one step of one column. On a digit-serial array the word of digit ``d`` holds
bits ``2d + 1`` and ``2d`` of `lanes` weights, so a layer of b-bit weights takes exactly b bits a
weight (up to the filling of its last chunk) and every mode reads the same number of bits a cycle.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hw.config import ArrayConfig
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
    uint8 [chunks, steps, M, lanes]
        Two bits a field on a digit-serial array, else the weight as eight bits.

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
    chunks = chunk(weight.T, config.lanes).transpose(1, 0, 2)  # [chunks, M, lanes]
    if config.steps(WeightMode.W8) == 1:
        return (chunks[:, None] & 0xFF).astype(np.uint8)
    shifts = 2 * np.arange(mode.digits)[None, :, None, None]
    return (chunks[:, None] >> shifts & 3).astype(np.uint8)


def weights_from_words(
    words: NDArray[np.uint8], mode: WeightMode, config: ArrayConfig, depth: int
) -> NDArray[np.int64]:
    """Inverse of `weight_words`.

    Parameters
    ----------
    words : uint8 [chunks, steps, M, lanes]
    mode : WeightMode
    config : ArrayConfig
    depth : int
        K, to drop what filled the last chunk.

    Returns
    -------
    int64 [K, M]
    """
    chunks, steps, columns, lanes = words.shape
    bits = mode.bits if config.steps(WeightMode.W8) > 1 else WeightMode.W8.bits
    shifts = 2 * np.arange(steps)[None, :, None, None]
    unsigned = (words.astype(np.int64) << shifts).sum(axis=1)
    signed: NDArray[np.int64] = unsigned - ((unsigned >> (bits - 1) & 1) << bits)
    by_depth: NDArray[np.int64] = signed.transpose(0, 2, 1).reshape(chunks * lanes, columns)
    return by_depth[:depth]


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
