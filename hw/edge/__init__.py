"""Operand registers at the array's edges: shared by a whole row or column of PEs."""

from hw.edge.act import ActEdge
from hw.edge.weight import WeightEdge
from hw.pe.signature import weight_word

__all__ = ["ActEdge", "WeightEdge", "weight_word"]
