"""Layers of an integer network as the accelerator runs them, one after the other.

Convolutions and dense layers run on the array, one run each. Sums, poolings and the final argmax
are the host's. A layer that reads the feature map which the layer before it has read works on what
is loaded (`keep_acts`); to make that happen, layers that read the same tensor follow each other.

Logits have 22 bits. They leave as three channels of shifts 7 apart, low bits each: the highest is
the sign and tells which multiple of 128 is nearest, the next ones correct it.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from hw.accelerator_config import AcceleratorConfig
from hw.descriptor import ErrorCode
from hw.mapping import first_error
from hw.precision import SHIFT_MAX
from sim.folder import Conv, FolderError, Graph, IntegerNetwork, Step
from sim.golden import Ints
from sim.program import Layer

PIECES = 3
APART = 7
"""Bits between the pieces of a logit; a piece has eight."""


def order(graph: Graph) -> list[Step]:
    """Return the steps in an order in which layers that read the same tensor follow each other."""
    waiting = list(graph.steps)
    known, last, ordered = {graph.input}, "", list[Step]()
    while waiting:
        ready = [step for step in waiting if known.issuperset(step.inputs)]
        same = [step for step in ready if isinstance(step, Conv) and step.input == last]
        step = (same or ready)[0]
        waiting.remove(step)
        ordered.append(step)
        known.add(step.output)
        last = step.input if isinstance(step, Conv) else last
    return ordered


def lower(network: IntegerNetwork, step: Conv, act: Ints, config: AcceleratorConfig) -> Layer:
    """Turn a layer and its input into what the accelerator takes.

    Parameters
    ----------
    network : IntegerNetwork
        The network.
    step : Conv
        One of its layers.
    act : uint8 [H, W, C]
        Its input.
    config : AcceleratorConfig
        The accelerator.

    Raises
    ------
    FolderError
        If the layer does not fit the accelerator; says how.
    """
    graph, arrays = network.graph, network.layers[step.name]
    target = graph.tensors[step.output]
    layer = Layer(
        shape=graph.conv_shape(step),
        mode=step.mode,
        act=act,
        weight=arrays.weight.astype(np.int64),
        bias=arrays.bias.astype(np.int64),
        multiplier=arrays.multiplier.astype(np.int64),
        shift=arrays.shift.astype(np.int64),
        in_zero_point=graph.tensors[step.input].zero_point,
        out_zero_point=target.zero_point,
        low=None if target.signed else step.low,
        high=None if target.signed else step.high,
        last=True,
    )
    if target.signed:
        layer = _in_pieces(layer, step.name)
    _check(layer, step.name, config)
    return layer


def _in_pieces(layer: Layer, name: str) -> Layer:
    """Three channels for each of a layer's, the lowest bits first."""
    if layer.shape.groups > 1:
        raise FolderError(f"{name}: logits must come from a layer of one group")
    shift = np.concatenate([layer.shift + APART * piece for piece in range(PIECES)])
    if shift.max() > SHIFT_MAX:
        raise FolderError(f"{name}.shift: must be at most {SHIFT_MAX - APART * (PIECES - 1)}")
    return replace(
        layer,
        shape=replace(layer.shape, out_channels=PIECES * layer.shape.out_channels),
        weight=np.tile(layer.weight, PIECES),
        bias=np.tile(layer.bias, PIECES),
        multiplier=np.tile(layer.multiplier, PIECES),
        shift=shift,
        wrap=True,
    )


def joined(pieces: Ints) -> NDArray[np.int64]:
    """Logits from the results of a layer in pieces.

    Parameters
    ----------
    pieces : int [..., 3 M]
        Low eight bits of x / 2^s, x / 2^(s + 7) and x / 2^(s + 14), each rounded.

    Returns
    -------
    int64 [..., M]
        x / 2^s, rounded, if that is from -127 * 2^14 to 127 * 2^14.
    """
    low, middle, high = np.split(pieces.astype(np.int64), PIECES, axis=-1)
    value = _signed(high)
    for piece in (middle, low):
        near = value << APART
        value = near + _signed(piece - near)
    return value


def _signed(values: NDArray[np.int64]) -> NDArray[np.int64]:
    """Low eight bits as two's complement."""
    return (values + 128) % 256 - 128


def _check(layer: Layer, name: str, config: AcceleratorConfig) -> None:
    try:
        descriptor = layer.descriptor(config)
    except ValueError as error:
        raise FolderError(f"{name}: {error}") from error
    refused = first_error(
        descriptor, config, words=sum(tile.words for tile in layer.tile_steps(config))
    )
    if refused is not ErrorCode.NONE:
        raise FolderError(
            f"{name}: layer must fit the accelerator, but gives {refused.name} "
            f"({_WHY.get(refused, 'see docs/accelerator.md')}); take a larger configuration"
        )


_WHY = {
    ErrorCode.ACT_SPACE: "its feature map is larger than half of the activation scratchpad",
    ErrorCode.WEIGHT_SPACE: "its weights are larger than half of their scratchpad",
    ErrorCode.CHANNEL_SPACE: "it has more output tiles than the parameter store holds",
    ErrorCode.DEPTH: "its dot product is longer than max_depth",
}
