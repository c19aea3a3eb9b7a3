"""Tiles, cycles and operand traffic of a layer on an array: the one source of both.

A tile is ``rows`` pixels x ``cols`` output channels. Its dot products run in chunks of ``lanes``
products; a chunk takes one cycle per digit of the weight mode, or what `ArrayConfig.steps` says.
Results leave the array `drain_rows` rows a cycle. `layer_schedule` equals what the RTL takes; the
co-simulation asserts it. On a shift-add array the cycles depend on the weights: it is exact with
the `steps_of_weights` of the layer's tiles, and an upper bound without.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from hw.config import ArrayConfig
from hw.csd import shift_add_cycles
from hw.precision import WeightMode


@dataclass(frozen=True, kw_only=True)
class GemmShape:
    """A layer as `groups` matrix products of [pixels, depth] by [depth, outputs].

    Parameters
    ----------
    pixels : int
        Output positions of one inference (1 for a dense layer).
    depth : int
        Products per output, for a convolution kernel height x width x input channels / groups.
    outputs : int
        Output channels of one group.
    groups : int
        Independent groups; the channels of a depthwise convolution.
    """

    pixels: int
    depth: int
    outputs: int
    groups: int = 1

    def __post_init__(self) -> None:
        """Refuse empty layers."""
        for name in ("pixels", "depth", "outputs", "groups"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}")

    @property
    def weights(self) -> int:
        """Number of weights."""
        return self.depth * self.outputs * self.groups

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one inference."""
        return self.weights * self.pixels


@dataclass(frozen=True, kw_only=True)
class LayerSchedule:
    """What one inference of a layer takes on an array.

    Parameters
    ----------
    tiles : int
        Tiles of the layer.
    active_cycles : int
        Cycles in which the PEs take a step.
    utilisation : float
        Share of the products of all chunks that are the layer's, 0 to 1; the others are beyond
        one of its borders.
    pe_utilisation : float
        Share of the PEs that have a pixel and a channel to work on.
    cycles : int
        Cycles from the first step to the last result, idle ones included.
    weight_bits : int
        Bits read from the weight memory.
    act_bits : int
        Bits read from the activation memory.
    output_bits : int
        Bits of requantised activations written back.
    """

    tiles: int
    active_cycles: int
    utilisation: float
    pe_utilisation: float
    cycles: int
    weight_bits: int
    act_bits: int
    output_bits: int

    @property
    def idle_cycles(self) -> int:
        """Cycles in which the PEs wait: draining, filling and emptying the pipeline."""
        return self.cycles - self.active_cycles


def pipeline_latency(config: ArrayConfig) -> int:
    """Clock edges from the operands of a step to their sum in the accumulator."""
    return 2 + len(config.stages)  # edge register and accumulator


def groups_per_tile(*, groups: int, outputs: int, config: ArrayConfig) -> int:
    """Count the groups of a grouped convolution that share a tile.

    Neighbouring groups of `outputs` channels each stand side by side in the columns and run as one
    whose weights are block-diagonal (ADR 0008); one at a time where that does not come out even.
    """
    fitting = range(1, min(groups, config.cols // outputs) + 1)
    return max((n for n in fitting if groups % n == 0), default=1)


def steps_of_weights(
    weights: Sequence[Sequence[int]], mode: WeightMode, config: ArrayConfig
) -> int:
    """Cycles that the PEs take for a tile of given weights.

    Parameters
    ----------
    weights : sequence of sequence of int, [K][cols]
        Within `mode`; they count only where the kind skips zeros. Columns wait for the slowest.
    mode : WeightMode
        Their precision.
    config : ArrayConfig
        The array.
    """
    if config.pe.traits.skips_zeros:
        return sum(max(shift_add_cycles(w, config.max_shift) for w in row) for row in weights)
    return _ceil(len(weights), config.chunk_depth(mode)) * config.steps(mode)


def tile_interval(*, steps: int, config: ArrayConfig) -> int:
    """Cycles from the last step of a tile to that of the next one, which takes `steps` steps."""
    if config.double_buffered:
        return max(steps, config.drain_cycles)
    return steps + config.drain_cycles - 1


def layer_schedule(
    shape: GemmShape,
    mode: WeightMode,
    config: ArrayConfig,
    *,
    steps: Sequence[int] | None = None,
) -> LayerSchedule:
    """Tiles, cycles and traffic of one inference of a layer.

    Parameters
    ----------
    shape : GemmShape
        The layer.
    mode : WeightMode
        Precision of its weights.
    config : ArrayConfig
        The array.
    steps : sequence of int, optional
        Cycles of each tile in their order, from `steps_of_weights`, for an array that skips zeros;
        without them each weight takes the most cycles of its mode.

    Returns
    -------
    LayerSchedule
        Exact for the array in `hw.array`.

    Raises
    ------
    ValueError
        If a dot product is longer than the accumulator was proven for, or `steps` are not one
        number a tile.
    """
    if shape.depth > config.max_depth:
        raise ValueError(f"depth must be at most max_depth = {config.max_depth}, not {shape.depth}")
    packed = groups_per_tile(groups=shape.groups, outputs=shape.outputs, config=config)
    group_sets = _ceil(shape.groups, packed)
    chunks = _ceil(shape.depth * packed, config.chunk_depth(mode))
    pixel_tiles = _ceil(shape.pixels, config.rows)
    output_tiles = _ceil(shape.outputs * packed, config.cols)
    tiles = group_sets * pixel_tiles * output_tiles
    most = chunks * config.steps(mode)
    if steps is None:
        active = tiles * most
        waits = (tiles - 1) * tile_interval(steps=most, config=config) + most
    elif len(steps) != tiles:
        raise ValueError(f"steps must be one number for each of {tiles} tiles, not {len(steps)}")
    else:
        active = sum(steps)
        waits = steps[0] + sum(tile_interval(steps=s, config=config) for s in steps[1:])
    weight_words = tiles * chunks * config.weight_items(mode)
    return LayerSchedule(
        tiles=tiles,
        active_cycles=active,
        utilisation=shape.macs
        / (tiles * chunks * config.rows * config.cols * config.chunk_depth(mode)),
        pe_utilisation=shape.pixels
        * shape.outputs
        * shape.groups
        / (tiles * config.rows * config.cols),
        cycles=waits + pipeline_latency(config) + config.double_buffered + config.drain_cycles - 1,
        weight_bits=weight_words * config.cols * config.lanes * config.weight_field_bits,
        act_bits=tiles * chunks * config.rows * config.chunk_depth(mode) * config.act_bits,
        output_bits=shape.pixels * shape.outputs * shape.groups * config.act_bits,
    )


def _ceil(dividend: int, divisor: int) -> int:
    return -(-dividend // divisor)
