"""Parameters of an accelerator: an array, its scratchpads and its bus."""

from dataclasses import dataclass, field

from hw.config import ArrayConfig
from hw.precision import BIAS_BITS, WeightMode

RECORD_BYTES = 8
"""Bytes of an output channel's parameters in the input stream: bias, multiplier, shift, planes."""


@dataclass(frozen=True, kw_only=True)
class AcceleratorConfig:
    """An array with double-buffered scratchpads, a sequencer and AXI streams.

    The bus is as wide as the results that leave the array in a cycle, so that a layer's output is
    the next layer's input without reordering.

    Parameters
    ----------
    array : ArrayConfig
        The MAC array; its `max_depth` is the longest dot product of a layer. Rows, columns and
        lanes must be powers of two.
    bank_channels : int
        Channels of one pixel in a word of the activation scratchpad, a power of two and at least
        the array's columns; `rows` words are read in a cycle.
    act_words : int
        Words per row of the array in one half of the activation scratchpad.
    weight_words : int
        Words in one half of the weight scratchpad; a word is one item of the array's weight stream.
    channel_tiles : int
        Tiles of `cols` output channels whose parameters one half of the parameter store holds.

    Raises
    ------
    ValueError
        If a parameter is out of range, or the parts do not fit each other.
    """

    array: ArrayConfig = field(default_factory=lambda: ArrayConfig(max_depth=2304))
    bank_channels: int = 16
    act_words: int = 640
    weight_words: int = 1280
    channel_tiles: int = 128

    def __post_init__(self) -> None:
        """Check ranges and fits."""
        array = self.array
        for name, value in (
            ("rows", array.rows),
            ("cols", array.cols),
            ("lanes", array.lanes),
            ("drain_rows", array.drain_rows),
            ("bank_channels", self.bank_channels),
        ):
            if value & (value - 1):
                raise ValueError(f"{name} of an accelerator must be a power of two, not {value}")
        if not array.cols <= self.bank_channels <= 64:
            raise ValueError(
                f"bank_channels must be from cols = {array.cols} to 64, not {self.bank_channels}"
            )
        if not 1 <= self.bus_bytes <= 32:
            raise ValueError(
                f"cols x drain_rows must be at most 32, the bus in bytes, not {self.bus_bytes}"
            )
        word_bits = array.cols * array.lanes * array.weight_field_bits
        if word_bits % (8 * self.bus_bytes):
            raise ValueError(
                f"a weight word of {word_bits} bits must be whole beats of {self.bus_bytes} "
                "bytes: give lanes or drain_rows another value"
            )
        if array.required_acc_bits > BIAS_BITS:
            raise ValueError(
                f"sums must fit {BIAS_BITS} bits, not {array.required_acc_bits}: lower max_depth"
            )
        if array.drain_rows > RECORD_BYTES:
            raise ValueError(f"drain_rows must be at most {RECORD_BYTES}, not {array.drain_rows}")
        for name, low in (
            ("act_words", 2),
            ("weight_words", self.deepest_tile_words),
            ("channel_tiles", 1),
        ):
            value = getattr(self, name)
            if not low <= value <= 1 << 16:
                raise ValueError(f"{name} must be from {low} to {1 << 16}, not {value}")

    @property
    def bus_bytes(self) -> int:
        """Bytes of a beat of either stream."""
        return self.array.cols * self.array.drain_rows

    @property
    def weight_word_bytes(self) -> int:
        """Bytes of a word of the weight scratchpad."""
        return self.array.cols * self.array.lanes * self.array.weight_field_bits // 8

    @property
    def patch_chunks(self) -> int:
        """Chunks of the deepest dot product: words in one half of the patch buffer."""
        return max(-(-self.array.max_depth // self.array.chunk_depth(mode)) for mode in WeightMode)

    @property
    def deepest_tile_words(self) -> int:
        """Weight words of an output tile of the deepest dot product at its widest mode."""
        return max(
            -(-self.array.max_depth // self.array.chunk_depth(mode)) * self.array.weight_items(mode)
            for mode in WeightMode
        )

    @property
    def skips_planes(self) -> bool:
        """Whether a tile whose upper digit planes are empty is stored and run without them."""
        items = {self.array.weight_items(mode) for mode in WeightMode}
        depths = {self.array.chunk_depth(mode) for mode in WeightMode}
        return len(items) == len(WeightMode) and len(depths) == 1

    @property
    def largest_piece(self) -> int:
        """Channels of a pixel that the im2col reader takes at a time, at most."""
        return min(self.bank_channels, *(self.array.chunk_depth(mode) for mode in WeightMode))

    @property
    def result_words(self) -> int:
        """Words of the result FIFO: tiles leave at full rate while results are under way."""
        return 1 << (2 * self.array.drain_cycles + 16).bit_length()
