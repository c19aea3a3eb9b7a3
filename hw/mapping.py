"""How a convolution or matrix product is laid on an accelerator: its descriptor.

Standard library only.
"""

from dataclasses import dataclass

from hw.accelerator_config import AcceleratorConfig
from hw.config import ArrayConfig
from hw.descriptor import ErrorCode, LayerDescriptor
from hw.precision import WeightMode
from hw.schedule import groups_per_tile


@dataclass(frozen=True, kw_only=True)
class ConvShape:
    """A convolution; a matrix product [N, K] x [K, M] is one of 1 x 1 on a line of N pixels.

    Parameters
    ----------
    in_h, in_w, in_channels : int
        Feature map.
    out_channels : int
        Of all groups.
    kernel_h, kernel_w : int
        Kernel.
    stride : int
        The same in both directions.
    pad_top, pad_left, pad_bottom, pad_right : int
        Rows and columns of zero points around the map.
    groups : int
        Divides the channels; as many as channels in a depthwise convolution.
    """

    in_h: int
    in_w: int
    in_channels: int
    out_channels: int
    kernel_h: int = 1
    kernel_w: int = 1
    stride: int = 1
    pad_top: int = 0
    pad_left: int = 0
    pad_bottom: int = 0
    pad_right: int = 0
    groups: int = 1

    def __post_init__(self) -> None:
        """Refuse what no descriptor can say, or gives no output."""
        for name, low, high in (
            ("in_h", 1, 65535),
            ("in_w", 1, 65535),
            ("kernel_h", 1, 255),
            ("kernel_w", 1, 255),
            ("stride", 1, 255),
            ("pad_top", 0, 255),
            ("pad_left", 0, 255),
            ("pad_bottom", 0, 255),
            ("pad_right", 0, 255),
            ("groups", 1, 65535),
        ):
            value = getattr(self, name)
            if not low <= value <= high:
                raise ValueError(f"{name} must be from {low} to {high}, not {value}")
        for name in ("in_channels", "out_channels"):
            value = getattr(self, name)
            if value < 1 or value % self.groups:
                raise ValueError(f"{name} must be a multiple of {self.groups} groups, not {value}")
        if self.out_h < 1 or self.out_w < 1:
            raise ValueError(
                f"the kernel must fit the padded map, but the output is {self.out_h} x {self.out_w}"
            )

    @classmethod
    def gemm(cls, *, pixels: int, depth: int, outputs: int) -> "ConvShape":
        """Shape of a matrix product."""
        return cls(in_h=1, in_w=pixels, in_channels=depth, out_channels=outputs)

    @property
    def out_h(self) -> int:
        """Output rows."""
        return (self.in_h + self.pad_top + self.pad_bottom - self.kernel_h) // self.stride + 1

    @property
    def out_w(self) -> int:
        """Output columns."""
        return (self.in_w + self.pad_left + self.pad_right - self.kernel_w) // self.stride + 1

    @property
    def taps(self) -> int:
        """Positions of the kernel."""
        return self.kernel_h * self.kernel_w

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one inference."""
        pixels = self.out_h * self.out_w
        return pixels * self.out_channels * self.taps * (self.in_channels // self.groups)


def shared_groups(shape: ConvShape, array: ArrayConfig) -> int:
    """Count the groups that are run as one; see `hw.schedule.groups_per_tile`."""
    outputs = shape.out_channels // shape.groups
    return groups_per_tile(groups=shape.groups, outputs=outputs, config=array)


def padded_channels(shape: ConvShape, mode: WeightMode, config: AcceleratorConfig) -> int:
    """Input channels of a group as they are stored, zero weights behind the real ones.

    A power of two times a small number lets the im2col reader take larger pieces; more channels
    make dot products longer. The choice is the smallest that makes the slower of the two fastest.
    """
    array = config.array
    blocks = shared_groups(shape, array)
    real = shape.in_channels // shape.groups * blocks
    if shape.groups // blocks > 1:
        return real  # groups lie side by side in memory

    def slower(channels: int) -> int:
        piece = min(channels & -channels, config.largest_piece)
        chunks = -(-shape.taps * channels // array.chunk_depth(mode))
        tiles = -(-shape.out_channels // array.cols)
        return max(shape.taps * channels // piece, tiles * chunks * array.steps(mode))

    # as many tiles of channels as the real ones have, so that layers still follow each other
    most = -(-real // array.cols) * array.cols
    candidates = [-(-real // unit) * unit for unit in (1, 2, 4, 8, 16, 32, 64)]
    fitting = [c for c in candidates if c <= most and shape.taps * c <= array.max_depth] or [real]
    return min(fitting, key=lambda channels: (slower(channels), channels))


def first_error(
    descriptor: LayerDescriptor, config: AcceleratorConfig, *, words: int | None = None
) -> ErrorCode:
    """Find what the accelerator would refuse a layer for, in the order in which it looks.

    Parameters
    ----------
    descriptor : LayerDescriptor
        The layer.
    config : AcceleratorConfig
        The accelerator.
    words : int, optional
        Weight words of all tiles; as many as the mode takes if they are not given.
    """
    array, d = config.array, descriptor
    sizes = [d.kernel_h, d.kernel_w, d.stride, d.in_h, d.in_w, d.out_h, d.out_w]
    if not all([*sizes, d.in_channels, d.group_channels, d.groups, d.out_tiles]):
        return ErrorCode.SHAPE
    plane = -(-d.in_h * d.in_w // array.rows)
    if plane > config.act_words:
        return ErrorCode.ACT_SPACE
    depth = d.kernel_h * d.kernel_w * d.group_channels
    if depth > array.max_depth:
        return ErrorCode.DEPTH
    if plane * -(-d.in_channels // config.bank_channels) > config.act_words:
        return ErrorCode.ACT_SPACE
    if d.groups * d.group_channels != d.in_channels:
        return ErrorCode.SHAPE
    tiles = d.groups * d.out_tiles
    if tiles > config.channel_tiles:
        return ErrorCode.CHANNEL_SPACE
    if (d.out_w - 1) * d.stride >= d.in_w + d.pad_left:
        return ErrorCode.SHAPE
    if (d.out_h - 1) * d.stride >= d.in_h + d.pad_top:
        return ErrorCode.SHAPE
    if words is None:
        words = tiles * -(-depth // array.chunk_depth(d.mode)) * array.weight_items(d.mode)
    return ErrorCode.WEIGHT_SPACE if words > config.weight_words else ErrorCode.NONE


def describe(
    shape: ConvShape,
    mode: WeightMode,
    config: AcceleratorConfig,
    *,
    in_zero_point: int = 0,
    out_zero_point: int = 0,
    low: int | None = None,
    high: int | None = None,
    keep_acts: bool = False,
    keep_weights: bool = False,
    last: bool = False,
    wrap: bool = False,
    tag: int = 0,
) -> LayerDescriptor:
    """Describe a layer; see `hw.descriptor.LayerDescriptor` for the parameters.

    Bounds that are not given are those of activations.

    Raises
    ------
    ValueError
        If a zero point or bound is no activation.
    """
    array = config.array
    low = array.act_min if low is None else low
    high = array.act_max if high is None else high
    for name, value in (
        ("in_zero_point", in_zero_point),
        ("out_zero_point", out_zero_point),
        ("low", low),
        ("high", high),
    ):
        if not array.act_min <= value <= array.act_max:
            raise ValueError(f"{name} must be from {array.act_min} to {array.act_max}, not {value}")
    groups = shape.groups // shared_groups(shape, config.array)
    channels = padded_channels(shape, mode, config)
    return LayerDescriptor(
        mode=mode,
        in_h=shape.in_h,
        in_w=shape.in_w,
        in_channels=channels * groups,
        out_h=shape.out_h,
        out_w=shape.out_w,
        kernel_h=shape.kernel_h,
        kernel_w=shape.kernel_w,
        stride=shape.stride,
        pad_top=shape.pad_top,
        pad_left=shape.pad_left,
        group_channels=channels,
        groups=groups,
        out_tiles=-(-shape.out_channels // (groups * config.array.cols)),
        in_zero_point=in_zero_point,
        out_zero_point=out_zero_point,
        low=low,
        high=high,
        keep_acts=keep_acts,
        keep_weights=keep_weights,
        last=last,
        wrap=wrap,
        tag=tag,
    )
