"""An integer network on the golden model: batched, with integers only.

Products go through BLAS in the narrowest float that holds every sum exactly; `sim.golden` is the
slow and plain definition that tests hold this to.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from sim.folder import Add, Average, Conv, Graph, IntegerNetwork, LayerArrays, Maximum, TensorSpec
from sim.golden import requantise, rounded_shift

Maps = NDArray[Any]
"""Integers [N, H, W, C]: uint8, or int32 where they are signed."""

_EXACT_IN_FLOAT32 = 1 << 24
_EXACT_IN_FLOAT64 = 1 << 53


def run(network: IntegerNetwork, images: Maps, *, batch: int = 50) -> NDArray[np.int32]:
    """Give the logits of images.

    Parameters
    ----------
    network : IntegerNetwork
        From `sim.folder.load`.
    images : uint8 [N, H, W, C]
        Integers of the network's input.
    batch : int
        Images at a time.

    Returns
    -------
    int32 [N, classes]
        In units of the output tensor's scale.

    Raises
    ------
    ValueError
        If the images do not fit the input.
    """
    chunks = []
    for first in range(0, len(images), batch):
        *_, (_, logits) = tensors(network, images[first : first + batch])
        chunks.append(logits.reshape(len(logits), -1))
    return np.concatenate(chunks)


def tensors(network: IntegerNetwork, images: Maps) -> Iterator[tuple[str, Maps]]:
    """Yield every tensor's name and integers [N, H, W, C], the input first, the logits last.

    A tensor is forgotten when the last step that reads it is done.

    Raises
    ------
    ValueError
        If the images do not fit the input.
    """
    graph = network.graph
    spec = graph.tensors[graph.input]
    wanted = (spec.height, spec.width, spec.channels)
    if images.ndim != 4 or images.shape[1:] != wanted or images.dtype != np.uint8:
        raise ValueError(
            f"images must be uint8 [N, {', '.join(map(str, wanted))}], not {images.dtype} "
            f"{list(images.shape)}"
        )
    last_use = {name: index for index, step in enumerate(graph.steps) for name in step.inputs}
    known: dict[str, Maps] = {graph.input: images}
    yield graph.input, images
    for index, step in enumerate(graph.steps):
        values = [known[name] for name in step.inputs]
        for name in step.inputs:
            if last_use[name] == index:
                known.pop(name, None)
        if isinstance(step, Conv):
            result = conv(graph, step, network.layers[step.name], values[0])
        elif isinstance(step, Add):
            result = add(graph, step, values[0], values[1])
        elif isinstance(step, Average):
            result = average(graph, step, values[0])
        else:
            result = maximum(graph, step, values[0])
        known[step.output] = result
        yield step.output, result


def conv(graph: Graph, step: Conv, layer: LayerArrays, act: Maps) -> Maps:
    """Run a layer on maps [N, H, W, C]."""
    source, target = graph.tensors[step.input], graph.tensors[step.output]
    shape = graph.conv_shape(step)
    padded = padded_map(step, act, source.zero_point)
    largest = int(np.abs(layer.weight.astype(np.int64)).sum(axis=(0, 1, 2)).max()) * source.high
    dtype = np.float32 if largest < _EXACT_IN_FLOAT32 else np.float64
    assert largest < _EXACT_IN_FLOAT64
    if shape.groups == shape.in_channels == shape.out_channels:
        sums = _depthwise(step, padded, layer.weight[:, :, 0])
    else:
        inputs, outputs = shape.in_channels // shape.groups, shape.out_channels // shape.groups
        sums = np.concatenate(
            [
                _product(
                    step,
                    padded[..., group * inputs : (group + 1) * inputs],
                    layer.weight[..., group * outputs : (group + 1) * outputs],
                    dtype,
                )
                for group in range(shape.groups)
            ],
            axis=-1,
        )
    result = requantise(
        sums,
        bias=layer.bias,
        multiplier=layer.multiplier,
        shift=layer.shift,
        zero_point=target.zero_point,
        low=step.low,
        high=step.high,
    )
    return result.astype(_dtype(target))


def add(graph: Graph, step: Add, left: Maps, right: Maps) -> Maps:
    """Add maps of two scales."""
    target = graph.tensors[step.output]
    total = (left.astype(np.int64) - graph.tensors[step.left].zero_point) * step.left_multiplier
    total += (right.astype(np.int64) - graph.tensors[step.right].zero_point) * step.right_multiplier
    return _clamped(rounded_shift(total, step.shift), step, target)


def average(graph: Graph, step: Average, act: Maps) -> Maps:
    """Average windows; the multiplier holds the number of values."""
    source, target = graph.tensors[step.input], graph.tensors[step.output]
    windows = _windows(step, padded_map(step, act, source.zero_point))
    total = windows.sum(axis=(-2, -1), dtype=np.int64)
    total -= source.zero_point * step.kernel_h * step.kernel_w
    return _clamped(rounded_shift(total * step.multiplier, step.shift), step, target)


def maximum(graph: Graph, step: Maximum, act: Maps) -> Maps:
    """Take the largest of each window; padding is below everything."""
    result: Maps = _windows(step, padded_map(step, act, 0)).max(axis=(-2, -1))
    return result


def _clamped(values: NDArray[np.int64], step: Add | Average, target: TensorSpec) -> Maps:
    return np.clip(values + target.zero_point, step.low, step.high).astype(_dtype(target))


def _dtype(spec: TensorSpec) -> type[np.integer]:
    return np.int32 if spec.signed else np.uint8


def padded_map(step: Conv | Average | Maximum, act: Maps, value: int) -> Maps:
    """Put the padding of a step around maps [N, H, W, C]."""
    pads = ((step.pad_top, step.pad_bottom), (step.pad_left, step.pad_right))
    if not any(map(any, pads)):
        return act
    return np.pad(act, ((0, 0), *pads, (0, 0)), constant_values=value)


def _windows(step: Conv | Average | Maximum, padded: Maps) -> Maps:
    """Windows as a view, [N, OH, OW, C, KH, KW]."""
    windows = sliding_window_view(padded, (step.kernel_h, step.kernel_w), axis=(1, 2))
    return windows[:, :: step.stride, :: step.stride]


def _product(step: Conv, padded: Maps, weight: NDArray[np.int8], dtype: Any) -> NDArray[np.int64]:
    """Return the sums of a dense group, int64 [N, OH, OW, M]."""
    patches = _windows(step, padded).transpose(0, 1, 2, 4, 5, 3)  # [N, OH, OW, KH, KW, C]
    rows: NDArray[Any] = patches.reshape(-1, weight[..., 0].size).astype(dtype)
    sums = rows @ weight.reshape(-1, weight.shape[-1]).astype(dtype)
    exact: NDArray[np.int64] = sums.reshape(*patches.shape[:3], -1).astype(np.int64)
    return exact


def _depthwise(step: Conv, padded: Maps, weight: NDArray[np.int8]) -> NDArray[np.int64]:
    """Return the sums of a layer of one channel a group, int64 [N, OH, OW, C]."""
    high = padded.shape[1] - step.kernel_h + 1
    wide = padded.shape[2] - step.kernel_w + 1
    total: Any = 0
    for y in range(step.kernel_h):
        for x in range(step.kernel_w):
            taken = padded[:, y : y + high : step.stride, x : x + wide : step.stride]
            total = total + taken.astype(np.int32) * weight[y, x].astype(np.int32)
    exact: NDArray[np.int64] = total.astype(np.int64)
    return exact
