"""Layer descriptors: what the sequencer is told of a layer, and what it answers if that is wrong.

A layer is a packet of the input stream, its last beat marked: the descriptor, the output channels'
parameters, the weights, the activations. See docs/accelerator.md for the order of each.
"""

from dataclasses import dataclass, fields
from enum import IntEnum

from hw.precision import WeightMode

VERSION = 1
DESCRIPTOR_BYTES = 32


class ErrorCode(IntEnum):
    """Why a run ended."""

    NONE = 0
    """No error."""

    VERSION = 1
    """Unknown descriptor version, or a reserved field or flag that is not 0."""

    MODE = 2
    """Weight mode beyond 3, or a tile's planes beyond its layer's."""

    SHAPE = 3
    """A size of 0, groups x group_channels is not in_channels, or outputs beyond the map."""

    DEPTH = 4
    """Dot product longer than the array's `max_depth`."""

    ACT_SPACE = 5
    """The feature map does not fit the activation scratchpad."""

    WEIGHT_SPACE = 6
    """The weights do not fit the weight scratchpad."""

    CHANNEL_SPACE = 7
    """More output tiles than the parameter store holds."""

    SHORT = 8
    """The packet ended before its payload was complete."""

    LONG = 9
    """The packet went on behind its payload."""

    RESIDENT = 10
    """Kept activations or weights do not have the size that this layer needs."""


FIELDS: tuple[tuple[str, int], ...] = (
    ("version", 8),
    ("flags", 8),
    ("mode", 8),
    ("kernel_h", 8),
    ("kernel_w", 8),
    ("stride", 8),
    ("pad_top", 8),
    ("pad_left", 8),
    ("in_h", 16),
    ("in_w", 16),
    ("out_h", 16),
    ("out_w", 16),
    ("in_channels", 16),
    ("group_channels", 16),
    ("groups", 16),
    ("out_tiles", 16),
    ("in_zero_point", 8),
    ("out_zero_point", 8),
    ("low", 8),
    ("high", 8),
    ("tag", 16),
    ("reserved", 16),
)
"""Name and bits of each field, lowest first; gateware and packer use the same list."""

FLAGS = ("keep_acts", "keep_weights", "last", "wrap")
"""Flags by bit, lowest first."""


@dataclass(frozen=True, kw_only=True)
class LayerDescriptor:
    """One convolution, or one matrix product as a 1 x 1 convolution of one row of pixels.

    Parameters
    ----------
    mode : WeightMode
        Precision of the weights.
    in_h, in_w, in_channels : int
        Feature map. What lies outside of it reads as `in_zero_point`, on all sides.
    out_h, out_w : int
        Output positions.
    kernel_h, kernel_w, stride, pad_top, pad_left : int
        Of the convolution; padding below and to the right follows from the output's size.
    group_channels, groups : int
        Input channels of a group, and groups; one group of all channels unless grouped.
    out_tiles : int
        Tiles of `cols` output channels per group.
    in_zero_point, out_zero_point, low, high : int
        Of activations; two's complement if they are signed.
    keep_acts : bool
        Work on the feature map that is loaded already; the packet has no activations.
    keep_weights : bool
        Work with the weights and parameters that are loaded already.
    last : bool
        The run ends with this layer.
    wrap : bool
        Give the low bits of the scaled sum instead of saturating: wide results leave in pieces.
    tag : int
        Free for the user; returned with an error.
    """

    mode: WeightMode
    in_h: int
    in_w: int
    in_channels: int
    out_h: int
    out_w: int
    kernel_h: int = 1
    kernel_w: int = 1
    stride: int = 1
    pad_top: int = 0
    pad_left: int = 0
    group_channels: int
    groups: int = 1
    out_tiles: int
    in_zero_point: int = 0
    out_zero_point: int = 0
    low: int
    high: int
    keep_acts: bool = False
    keep_weights: bool = False
    last: bool = False
    wrap: bool = False
    tag: int = 0

    def to_bytes(self) -> bytes:
        """Serialise as the sequencer takes it: `FIELDS` from the lowest bit on.

        Raises
        ------
        ValueError
            If a value does not fit its field.
        """
        values = {f.name: int(getattr(self, f.name)) for f in fields(self) if f.name != "mode"}
        values["mode"] = self.mode.digits - 1
        values["version"] = VERSION
        values["flags"] = sum(values[name] << bit for bit, name in enumerate(FLAGS))
        values["reserved"] = 0
        word, offset = 0, 0
        for name, bits in FIELDS:
            signed = name in ("in_zero_point", "out_zero_point", "low", "high")
            low = -(1 << (bits - 1)) if signed else 0
            if not low <= values[name] < 1 << bits:
                raise ValueError(
                    f"{name} must be from {low} to {(1 << bits) - 1}, not {values[name]}"
                )
            word |= (values[name] & ((1 << bits) - 1)) << offset
            offset += bits
        return word.to_bytes(DESCRIPTOR_BYTES, "little")
