"""Random layers for the accelerator: shapes that fit, and operands that reach every bound."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hw.accelerator_config import AcceleratorConfig
from hw.descriptor import ErrorCode
from hw.mapping import ConvShape, describe, first_error
from hw.precision import WeightMode
from sim import golden
from sim.program import Layer


@dataclass(frozen=True, kw_only=True)
class LayerSpec:
    """A layer without its operands, which follow from the seed.

    Parameters
    ----------
    shape : ConvShape
        Sizes.
    mode : WeightMode
        Precision.
    seed : int
        Of the operands.
    keep_acts : bool
        Work on the feature map of the layer before.
    keep_weights : bool
        Work with the weights of the layer before.
    wrap : bool
        Give low bits instead of saturating.
    narrow : WeightMode
        Weights stay within this mode, so that upper planes are empty.
    """

    shape: ConvShape
    mode: WeightMode
    seed: int
    keep_acts: bool = False
    keep_weights: bool = False
    wrap: bool = False
    narrow: WeightMode = WeightMode.W8


def fits(shape: ConvShape, mode: WeightMode, config: AcceleratorConfig) -> bool:
    """Whether an accelerator takes the layer."""
    return first_error(describe(shape, mode, config), config) is ErrorCode.NONE


def random_specs(
    config: AcceleratorConfig, *, count: int, seed: int, most_pixels: int = 144
) -> list[LayerSpec]:
    """Matrix products, convolutions and depthwise layers of random sizes that fit.

    Some keep the feature map or the weights of the layer before; none has more than `most_pixels`
    pixels.
    """
    rng = np.random.default_rng(seed)
    specs: list[LayerSpec] = []
    while len(specs) < count:
        kept = float(rng.random())
        mode = list(WeightMode)[rng.integers(4)]
        shape = _random_shape(rng, config)
        keep_acts = keep_weights = False
        if specs and kept < 0.4:
            before = specs[-1]
            if kept < 0.15:
                keep_weights, shape, mode = True, before.shape, before.mode
            elif before.shape.groups == 1:
                keep_acts = True
                shape = _same_map(before, int(rng.integers(1, 30)))
        if shape.in_h * shape.in_w > most_pixels or not fits(shape, mode, config):
            continue
        if keep_acts and not _same_channels(specs[-1], shape, mode, config):
            continue
        specs.append(
            LayerSpec(
                shape=shape,
                mode=mode,
                seed=int(rng.integers(1 << 30)),
                keep_acts=keep_acts,
                keep_weights=keep_weights,
                wrap=bool(rng.random() < 0.15),
                narrow=list(WeightMode)[rng.integers(4)],
            )
        )
    return specs


def _random_shape(rng: np.random.Generator, config: AcceleratorConfig) -> ConvShape:
    def upto(most: int) -> int:
        return int(rng.integers(1, most + 1))

    while True:
        kind = rng.integers(4)
        if kind == 0:
            depth = upto(config.array.max_depth)
            return ConvShape.gemm(pixels=upto(40), depth=depth, outputs=upto(30))
        inputs, outputs, groups = upto(20), upto(20), 1
        if kind == 3:
            inputs = outputs = groups = int(rng.choice([3, 4, 8, 12, 16]))
        pads = [int(pad) for pad in rng.integers(0, 3, 4)]
        try:
            return ConvShape(
                in_h=upto(12),
                in_w=upto(12),
                in_channels=inputs,
                out_channels=outputs,
                kernel_h=upto(3),
                kernel_w=upto(3),
                stride=upto(3),
                pad_top=pads[0],
                pad_left=pads[1],
                pad_bottom=pads[2],
                pad_right=pads[3],
                groups=groups,
            )
        except ValueError:  # the kernel is larger than the map
            continue


def _same_map(before: LayerSpec, outputs: int) -> ConvShape:
    shape = before.shape
    return ConvShape(
        in_h=shape.in_h, in_w=shape.in_w, in_channels=shape.in_channels, out_channels=outputs
    )


def _same_channels(
    before: LayerSpec, shape: ConvShape, mode: WeightMode, config: AcceleratorConfig
) -> bool:
    """Whether both layers store the map's channels alike."""
    stored = [
        describe(s, m, config).in_channels for s, m in ((before.shape, before.mode), (shape, mode))
    ]
    return stored[0] == stored[1]


def make_layers(specs: list[LayerSpec], config: AcceleratorConfig) -> list[Layer]:
    """Operands for a run; the last layer is marked."""
    layers: list[Layer] = []
    for index, spec in enumerate(specs):
        before = layers[-1] if layers else None
        layers.append(_make(spec, config, before=before, last=index == len(specs) - 1))
    return layers


def _make(spec: LayerSpec, config: AcceleratorConfig, *, before: Layer | None, last: bool) -> Layer:
    rng, array, shape = np.random.default_rng(spec.seed), config.array, spec.shape
    mode = min(spec.mode, spec.narrow, key=lambda m: m.digits)
    size = (shape.kernel_h, shape.kernel_w, shape.in_channels // shape.groups, shape.out_channels)
    map_size = (shape.in_h, shape.in_w, shape.in_channels)
    act: golden.Ints = rng.integers(array.act_min, array.act_max + 1, map_size)
    weight = rng.integers(mode.min, mode.max + 1, size)
    if rng.random() < 0.3:
        act = rng.choice([array.act_min, array.act_max], act.shape)
        weight = rng.choice([mode.min, mode.max], size)
    zero_point = int(rng.integers(array.act_min, array.act_max + 1))
    if before is not None and spec.keep_acts:
        act, zero_point = before.act, before.in_zero_point
    if before is not None and spec.keep_weights:
        kept = {name: getattr(before, name) for name in ("weight", "bias", "multiplier", "shift")}
        zero_point = before.in_zero_point
    else:
        kept = {"weight": weight} | _scales(rng, weight, zero_point, array.act_max)
    low, high = sorted(int(v) for v in rng.integers(array.act_min, array.act_max + 1, 2))
    return Layer(
        shape=shape,
        mode=spec.mode,
        act=act,
        in_zero_point=zero_point,
        out_zero_point=int(rng.integers(array.act_min, array.act_max + 1)),
        low=min(low, array.act_min + 20),
        high=max(high, array.act_max - 20),
        keep_acts=spec.keep_acts,
        keep_weights=spec.keep_weights,
        wrap=spec.wrap,
        last=last,
        tag=spec.seed & 0xFFFF,
        **kept,
    )


def _scales(
    rng: np.random.Generator, weight: golden.Ints, zero_point: int, act_max: int
) -> dict[str, golden.Ints]:
    """Biases and factors that spread a layer's results over the range of activations."""
    outputs = weight.shape[-1]
    spread = np.abs(weight).reshape(-1, outputs).astype(float)
    deviation = act_max / 2 * np.sqrt((spread**2).sum(axis=0)) + 1
    factors = [golden.fixed_point(float(act_max / 3 / d * rng.uniform(0.5, 2))) for d in deviation]
    bias = np.round(rng.normal(size=outputs) * deviation).astype(np.int64)
    return {
        "bias": bias - zero_point * weight.reshape(-1, outputs).sum(axis=0),
        "multiplier": np.array([multiplier for multiplier, _ in factors]),
        "shift": np.array([shift for _, shift in factors]),
    }
