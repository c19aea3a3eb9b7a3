"""Cycles of an accelerator's run, layer by layer: exactly those of the RTL.

The sequencer's walkers are followed from event to event: loading, im2col reading, feeding,
stepping, draining. Exact while the input stream always has a beat and the output stream always
takes one; the co-simulation asserts it. Standard library only.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from hw.accelerator_config import RECORD_BYTES, AcceleratorConfig
from hw.descriptor import DESCRIPTOR_BYTES, ErrorCode, LayerDescriptor
from hw.mapping import first_error
from hw.precision import WeightMode
from hw.schedule import pipeline_latency

CHECK_CYCLES = 15
"""From a descriptor's last beat to its acceptance."""

WRITE_CYCLES = 3
"""From the last request of a patch to its first possible read."""

EXIT_CYCLES = 7
"""From the last sum to the end of the run: requantiser, queue, last beat."""


@dataclass(frozen=True, kw_only=True)
class TileSteps:
    """Steps of an output tile, chunk by chunk.

    Parameters
    ----------
    words : int
        Weight words.
    chunks : tuple of int
        Cycles of each chunk.
    """

    words: int
    chunks: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class LayerTimes:
    """When a layer passes the stages of the accelerator, in cycles from the run's start.

    Parameters
    ----------
    loaded : int
        The layer is handed to the walkers.
    first_step, last_step : int
        Of the array.
    last_sum : int
        Its last sums leave the array.
    steps : int
        Cycles in which the array works.
    """

    loaded: int
    first_step: int
    last_step: int
    last_sum: int
    steps: int

    @property
    def cycles(self) -> int:
        """Cycles from the first step to the last sum."""
        return self.last_sum - self.first_step + 1


@dataclass(frozen=True, kw_only=True)
class RunTimes:
    """A whole run, as the performance counters show it.

    Parameters
    ----------
    layers : list of LayerTimes
        In order.
    busy : int
        Cycles from the start to the end.
    steps : int
        Cycles in which the array works.
    stalls : int
        Cycles in which a loaded layer waits.
    skipped : int
        Steps saved by empty digit planes.
    """

    layers: list[LayerTimes]
    busy: int
    steps: int
    stalls: int
    skipped: int


def tile_steps(
    descriptor: LayerDescriptor,
    config: AcceleratorConfig,
    *,
    planes: Sequence[WeightMode] | None = None,
) -> list[TileSteps]:
    """Count the steps of every output tile of a layer.

    Parameters
    ----------
    descriptor : LayerDescriptor
        The layer.
    config : AcceleratorConfig
        The accelerator.
    planes : sequence of WeightMode, optional
        Digit planes of each tile, as `sim.program.used_planes` finds them; without it none are
        empty.
    """
    array = config.array
    depth = descriptor.kernel_h * descriptor.kernel_w * descriptor.group_channels
    chunks = -(-depth // array.chunk_depth(descriptor.mode))
    count = descriptor.groups * descriptor.out_tiles
    modes = planes or [descriptor.mode] * count
    return [
        TileSteps(words=chunks * array.weight_items(mode), chunks=(array.steps(mode),) * chunks)
        for mode in modes
    ]


def run_times(
    layers: Sequence[tuple[LayerDescriptor, Sequence[TileSteps]]], config: AcceleratorConfig
) -> RunTimes:
    """Follow a run of layers.

    Parameters
    ----------
    layers : sequence of (LayerDescriptor, tile steps)
        In order, the steps as `tile_steps` gives them.
    config : AcceleratorConfig
        The accelerator.

    Raises
    ------
    ValueError
        If the accelerator would refuse a layer.
    """
    for index, (descriptor, tiles) in enumerate(layers):
        error = first_error(descriptor, config, words=sum(tile.words for tile in tiles))
        if error is not ErrorCode.NONE:
            raise ValueError(f"layer {index} must fit the accelerator, but gives {error.name}")
    state = _State()
    times: list[LayerTimes] = []
    skipped = stalls = 0
    descriptor_end = 0
    for index, (descriptor, tiles) in enumerate(layers):
        before = times[index - 2].last_sum + 1 if index > 1 else 0
        checked = descriptor_end + DESCRIPTOR_BYTES // config.bus_bytes + CHECK_CYCLES
        loaded = max(checked, before) + 1 + payload_beats(descriptor, tiles, config)
        descriptor_end = loaded
        idle_until = max(loaded + 1, state.step + 1)
        layer = _layer(state, descriptor, tiles, config, loaded)
        times.append(layer)
        stalls += layer.last_step - idle_until + 1 - layer.steps
        pixel_tiles = -(-descriptor.out_h * descriptor.out_w // config.array.rows)
        full = tile_steps(descriptor, config)
        if config.skips_planes:
            saved = sum(sum(f.chunks) - sum(t.chunks) for f, t in zip(full, tiles, strict=True))
            skipped += pixel_tiles * saved
    return RunTimes(
        layers=times,
        busy=times[-1].last_sum + EXIT_CYCLES,
        steps=sum(layer.steps for layer in times),
        stalls=stalls,
        skipped=skipped,
    )


def payload_beats(
    descriptor: LayerDescriptor, tiles: Sequence[TileSteps], config: AcceleratorConfig
) -> int:
    """Beats of a packet behind its descriptor."""
    array = config.array
    beats = 0
    if not descriptor.keep_weights:
        beats += len(tiles) * RECORD_BYTES * array.cols // config.bus_bytes
        words = sum(tile.words for tile in tiles)
        beats += words * config.weight_word_bytes // config.bus_bytes
    if not descriptor.keep_acts:
        pixel_tiles = -(-descriptor.in_h * descriptor.in_w // array.rows)
        beats += pixel_tiles * -(-descriptor.in_channels // array.cols) * array.drain_cycles
    return beats


@dataclass
class _State:
    """Where the walkers are, behind the layers so far; -1 is before the start.

    placed_from
        The im2col reader is free for another layer.
    request
        It may take another tap.
    freed
        When each patch was read for the last time.
    read, taken
        Last read of an activation item, and when the array took it.
    step, last_step
        Last step of the array, and last step that ended a tile.
    """

    placed_from: int = 0
    request: int = 0
    freed: list[int] = field(default_factory=list)
    read: int = -1
    taken: int = -1
    step: int = -1
    last_step: int = -(1 << 30)


def _layer(
    state: _State,
    descriptor: LayerDescriptor,
    tiles: Sequence[TileSteps],
    config: AcceleratorConfig,
    loaded: int,
) -> LayerTimes:
    array = config.array
    group_tiles = [
        tiles[first : first + descriptor.out_tiles]
        for first in range(0, len(tiles), descriptor.out_tiles)
    ]
    placed = max(loaded + 1, state.placed_from) + array.rows + 1
    request = max(placed, state.request)
    offered = max(loaded + 1, state.step) + 1
    first_step = None
    steps = 0
    state.read = max(state.read, loaded)
    for taps in tap_cycles(descriptor, config):
        for group in group_tiles:
            if len(state.freed) > 1:
                request = max(request, state.freed[-2] + 1)
            state.placed_from = request + sum(taps[:-1]) + 1
            request += sum(taps)
            readable = request + WRITE_CYCLES
            for index, tile in enumerate(group):
                began = _tile(state, tile, config, readable if index == 0 else 0, offered)
                steps += sum(tile.chunks)
                first_step = began if first_step is None else first_step
            state.freed.append(state.read)
            del state.freed[:-2]
    state.request = request
    assert first_step is not None
    last_sum = state.step + pipeline_latency(array) + array.double_buffered + array.drain_cycles - 1
    return LayerTimes(
        loaded=loaded,
        first_step=first_step,
        last_step=state.step,
        last_sum=last_sum,
        steps=steps,
    )


def _tile(
    state: _State, tile: TileSteps, config: AcceleratorConfig, readable: int, offered: int
) -> int:
    """Follow the array through a tile; return its first step."""
    array = config.array
    drained = state.last_step + array.drain_cycles
    began = 0
    for index, cycles in enumerate(tile.chunks):
        state.read = max(state.read + 1, state.taken, readable if index == 0 else 0)
        first = max(state.step + 1, state.read + 1, offered)
        if index == 0 and not array.double_buffered:
            first = max(first, drained)
        last = first + cycles - 1
        if index == len(tile.chunks) - 1:
            last = max(last, drained) if array.double_buffered else last
            first = last if cycles == 1 else first
            state.last_step = last
        began = first if index == 0 else began
        state.taken, state.step = first, last
    return began


def tap_cycles(descriptor: LayerDescriptor, config: AcceleratorConfig) -> list[list[int]]:
    """Cycles of each tap of the kernel for each tile of pixels.

    Rows whose pixels lie in the same bank are read one after the other, for every piece of the
    channels.
    """
    rows = config.array.rows
    channels = descriptor.group_channels
    pieces = channels // min(channels & -channels, config.largest_piece)
    outputs = descriptor.out_h * descriptor.out_w
    tiles = []
    for first in range(0, outputs, rows):
        corners = [
            (
                output // descriptor.out_w * descriptor.stride - descriptor.pad_top,
                output % descriptor.out_w * descriptor.stride - descriptor.pad_left,
            )
            for output in range(first, min(first + rows, outputs))
        ]
        taps = []
        for tap_y in range(descriptor.kernel_h):
            for tap_x in range(descriptor.kernel_w):
                loads = [0] * rows
                for corner_y, corner_x in corners:
                    y, x = corner_y + tap_y, corner_x + tap_x
                    if 0 <= y < descriptor.in_h and 0 <= x < descriptor.in_w:
                        loads[(y * descriptor.in_w + x) % rows] += 1
                taps.append(pieces * max(1, *loads))
        tiles.append(taps)
    return tiles
