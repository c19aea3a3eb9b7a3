"""Weights in ONNX's own low-bit types, packed, and the operator set that each needs."""

from __future__ import annotations

from enum import Enum
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto

from sim.folder import IntegerNetwork, pack


class Storage(Enum):
    """An integer type of ONNX: its name there, bits, and the first operator set that has it."""

    INT2 = (2, 25)
    INT4 = (4, 21)
    INT8 = (8, 10)

    def __init__(self, bits: int, opset: int) -> None:
        self.bits = bits
        self.opset = opset

    @property
    def type(self) -> int:
        """Element type of a TensorProto."""
        return int(TensorProto.DataType.Value(self.name))


BASE_OPSET = 21
"""Of networks without 2-bit weights; INT4 came with it."""


def stored(bits: int, opset: int) -> Storage:
    """Return the narrowest type that holds `bits` bits; of 6 bits, INT8."""
    return next(s for s in Storage if s.bits >= bits and s.opset <= opset)


def needed_opset(network: IntegerNetwork) -> int:
    """Return the lowest operator set that has all the types that a network needs."""
    narrowest = min((step.weight_bits for step in network.graph.convs), default=8)
    return max(BASE_OPSET, next(s for s in Storage if s.bits >= narrowest).opset)


def packed_tensor(name: str, values: NDArray[np.int8], storage: Storage) -> TensorProto:
    """Return an initialiser of packed fields, the first in the lowest bits of the first byte."""
    tensor = TensorProto(name=name, data_type=storage.type, dims=values.shape)
    tensor.raw_data = pack(np.ascontiguousarray(values), storage.bits).tobytes()
    return tensor


def in_onnx_order(weight: NDArray[Any]) -> NDArray[Any]:
    """Turn weights [KH, KW, C / groups, M] to [M, C / groups, KH, KW]."""
    return np.ascontiguousarray(weight.transpose(3, 2, 0, 1))
