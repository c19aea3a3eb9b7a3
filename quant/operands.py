"""Real operands for energy measurement: `python -m quant.operands --model resnet8 --out FILE`.

The file (npz) holds, for four layers of a network:

- ``act/<layer>``: uint8 [64, K], activations, im2col'd: eight groups of eight pixels that follow
  each other in raster order, each group from another validation image and starting at a multiple
  of eight, as the array's tiles do;
- ``weight/<layer>/W2`` .. ``W8``: int8 [K, M], at most 16 output channels; of a depthwise layer
  eight neighbouring channels, as an array of eight columns takes them (ADR 8): K runs over the
  pixels of all eight, and a channel's weights for those of the others are 0;
- ``macs/<layer>``: float64, share of the network's multiply-accumulates for which the layer
  stands: its own and those of the unsampled layers that are nearest in depth.

K runs over (ky, kx, input channel), the channel fastest.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hw.cli.command import beside, command_app, complain
from hw.precision import WeightMode
from quant.allocation import ACT_BITS, LEAST_ACT_BITS
from quant.data import ImageData, default_folder
from quant.device import device_of
from quant.errors import QuantError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor, nn

    from quant.graph import Network
    from quant.quant_network import QuantNetwork

GROUPS = 8
GROUP_PIXELS = 8
OUTPUTS = 16
BLOCK = 8
"""Channels of a depthwise layer that are sampled, the one of median mean activation among them."""

LAYERS = {
    "resnet8": ("stem", "block1.conv1", "block2.conv2", "block3.conv2"),
    "dscnn": ("stem", "blocks.1.depthwise", "blocks.1.pointwise", "blocks.5.pointwise"),
}


Pair = int | tuple[int, ...]


def im2col(
    act: Tensor, *, kernel: tuple[int, ...], stride: Pair, padding: Pair = 0, dilation: Pair = 1
) -> Tensor:
    """Lay out the products of each output pixel.

    Parameters
    ----------
    act : [N, C, H, W]
        Activations; 0 stands for 0 in the padding.
    kernel, stride, padding, dilation
        Of the convolution.

    Returns
    -------
    [N, pixels, kernel height * kernel width * C], (ky, kx, channel) with the channel fastest
    """
    from torch.nn import functional

    columns = functional.unfold(
        act.float(), kernel, stride=stride, padding=padding, dilation=dilation
    )  # [N, C*ky*kx, P]
    count, _, pixels = columns.shape
    taps = kernel[0] * kernel[1]
    by_tap = columns.reshape(count, act.shape[1], taps, pixels).permute(0, 3, 2, 1)
    return by_tap.reshape(count, pixels, taps * act.shape[1]).to(act.dtype)


def weight_matrix(weight: NDArray[np.int8]) -> NDArray[np.int8]:
    """Turn int8 [M, C, ky, kx] into int8 [K, M], K as in `im2col`."""
    return weight.transpose(2, 3, 1, 0).reshape(-1, weight.shape[0])


def block_diagonal(weight: NDArray[np.int8]) -> NDArray[np.int8]:
    """Turn a depthwise layer's int8 [M, 1, ky, kx] into int8 [K, M], K over (ky, kx, M)."""
    import numpy as np

    by_tap = weight.reshape(len(weight), -1).T  # [taps, M]
    return (by_tap[:, :, None] * np.eye(len(weight), dtype=np.int8)).reshape(-1, len(weight))


def macs_shares(network: Network, names: tuple[str, ...]) -> dict[str, float]:
    """Share of the multiply-accumulates for which each sampled layer stands; they add up to 1."""
    sampled = {name: network.layer(name).shape for name in names}
    total = sum(layer.shape.macs for layer in network.layers)
    shares = dict.fromkeys(names, 0.0)
    for layer in network.layers:
        shape = layer.shape

        def distance(name: str, shape: Any = shape) -> tuple[bool, float]:
            other = sampled[name]
            kind_differs = (other.groups > 1) != (shape.groups > 1)
            return kind_differs, max(other.depth, shape.depth) / min(other.depth, shape.depth)

        nearest = layer.name if layer.name in sampled else min(sampled, key=distance)
        shares[nearest] += shape.macs / total
    return shares


@dataclass(frozen=True, kw_only=True, eq=False)
class LayerSample:
    """Operands of a layer as an array sees them.

    Parameters
    ----------
    act : uint8 [64, K], of a dense layer [8, K]
        Activations, 8 bit: `GROUPS` groups of `GROUP_PIXELS` pixels, or the images.
    weight : mapping of WeightMode to int8 [K, M]
        Weights at each precision.
    fewer : mapping of int to uint8, as `act`
        The same activations at fewer bits.
    """

    act: NDArray[np.uint8]
    weight: Mapping[WeightMode, NDArray[np.int8]]
    fewer: Mapping[int, NDArray[np.uint8]] = field(default_factory=dict)

    def act_at(self, bits: int) -> NDArray[np.uint8]:
        """Return the activations at some number of bits."""
        return self.act if bits == ACT_BITS else self.fewer[bits]


def layer_samples(
    quantised: QuantNetwork,
    images: Tensor,
    names: Sequence[str],
    *,
    seed: int,
    act_bits: Sequence[int] = (),
) -> dict[str, LayerSample]:
    """Sample the operands of some layers, as the network's weights and ranges are now.

    Parameters
    ----------
    quantised : QuantNetwork
        Calibrated; its precisions are as before afterwards.
    images : float32 [8, 1, H, W]
        One per group of pixels.
    names : sequence of str
        Layers; grouped convolutions that are not depthwise are left out of the result, and layers
        that these images do not call.
    seed : int
        Of the places of the groups.
    act_bits : sequence of int
        Bits below 8 at which activations are wanted, too.
    """
    import numpy as np
    import torch
    from torch import nn

    from quant.quantizer import quantise_activation

    inputs: dict[str, Tensor] = {}
    hooks = [
        quantised.layer(name).register_forward_pre_hook(
            lambda _, args, kwargs, name=name: inputs.update({name: (*args, *kwargs.values())[0]}),
            with_kwargs=True,
        )
        for name in names
    ]
    with torch.no_grad():
        quantised(images.to(device_of(quantised)))
    for hook in hooks:
        hook.remove()

    random = np.random.default_rng(seed)
    found: dict[str, LayerSample] = {}
    for name in names:
        if name not in inputs:
            continue
        layer = quantised.layer(name)
        act_range = quantised.act_quantizer(quantised.sources[name]).range
        assert act_range is not None
        # [8, C, H, W], dense [8, ..., C], at 8 bit and at fewer
        acts = {
            bits: quantise_activation(inputs[name], act_range.at(bits)).cpu()
            for bits in (ACT_BITS, *act_bits)
        }
        columns: dict[int, Tensor] = {}
        chosen, matrix = slice(0, OUTPUTS), weight_matrix
        if isinstance(layer.layer, nn.Conv2d):
            conv: Any = layer.layer
            if conv.groups > 1 and (conv.in_channels, conv.out_channels) != (conv.groups,) * 2:
                continue
            if conv.groups > 1:
                means = acts[ACT_BITS].float().mean(dim=(0, 2, 3))
                first = int(means.argsort()[len(means) // 2]) // BLOCK * BLOCK
                chosen, matrix = slice(first, first + BLOCK), block_diagonal
                acts = {bits: act[:, chosen] for bits, act in acts.items()}
            columns = {
                bits: im2col(
                    _padded(act, conv, act_range.at(bits).zero_point),
                    kernel=conv.kernel_size,
                    stride=conv.stride,
                    dilation=conv.dilation,
                )
                for bits, act in acts.items()
            }
        elif acts[ACT_BITS].ndim > 2:
            columns = {b: act.reshape(GROUPS, -1, act.shape[-1]) for b, act in acts.items()}
        if columns:
            tiles = max(1, columns[ACT_BITS].shape[1] // GROUP_PIXELS)
            starts = random.integers(0, tiles, size=GROUPS) * GROUP_PIXELS
            acts = {
                bits: torch.cat([c[i, s : s + GROUP_PIXELS] for i, s in enumerate(starts)])
                for bits, c in columns.items()
            }
        weight = {}
        for mode in WeightMode:
            with layer.at(mode):
                integers = layer.integers().weight[chosen]
            weight[mode] = matrix(integers) if integers.ndim == 4 else integers.T
        found[name] = LayerSample(
            act=acts[ACT_BITS].numpy(),
            weight=weight,
            fewer={bits: acts[bits].numpy() for bits in act_bits},
        )
    return found


def _padded(act: Tensor, conv: nn.Conv2d, zero_point: int) -> Tensor:
    """Activations [N, C, H, W] with the convolution's borders around them."""
    from torch.nn import functional

    from quant.network import pads

    if conv.padding_mode == "zeros":
        return functional.pad(act, pads(conv), value=zero_point)
    return functional.pad(act.float(), pads(conv), mode=conv.padding_mode).to(act.dtype)


def sample(
    network: Network,
    quantised: QuantNetwork,
    images: Tensor,
    names: tuple[str, ...],
    *,
    seed: int,
    act_bits: int = ACT_BITS,
) -> dict[str, NDArray[Any]]:
    """Return the arrays that the module's docstring lists; parameters as in `layer_samples`.

    All activations but the image have `act_bits`.
    """
    import numpy as np

    result: dict[str, NDArray[Any]] = {}
    fewer = () if act_bits == ACT_BITS else (act_bits,)
    samples = layer_samples(quantised, images, names, seed=seed, act_bits=fewer)
    for name, found in samples.items():
        is_image = network.layer(name).source in network.images
        result[f"act/{name}"] = found.act_at(ACT_BITS if is_image else act_bits)
        for mode, weight in found.weight.items():
            result[f"weight/{name}/{mode.name}"] = weight
    for name, share in macs_shares(network, names).items():
        result[f"macs/{name}"] = np.array(share)
    return result


def main(
    model: Annotated[str, typer.Option(help="resnet8 or dscnn")] = "resnet8",
    out: Annotated[Path, typer.Option(help="npz file to write")] = Path("operands.npz"),
    data: Annotated[Path | None, typer.Option(help="folder of IDX files")] = None,
    weights: Annotated[Path | None, typer.Option(help="safetensors; the shipped ones")] = None,
    seed: Annotated[int, typer.Option(help="of images and pixels")] = 0,
    act_bits: Annotated[
        int, typer.Option(min=LEAST_ACT_BITS, max=ACT_BITS, help="of activations but the image")
    ] = ACT_BITS,
) -> None:
    """Sample operands of a trained network."""
    import numpy as np
    import torch

    from quant.batches import to_input
    from quant.calibrate import PERCENTILE, fit_activations, reestimate_norms
    from quant.files import write_bytes
    from quant.graph import trace
    from quant.models import IMAGE_SIZE, load
    from quant.quant_network import QuantNetwork, uniform_bits
    from quant.threads import one_thread

    one_thread()
    try:
        images = ImageData(data or default_folder())
        network = trace(load(model, weights)[0], torch.zeros(1, 1, IMAGE_SIZE, IMAGE_SIZE))
        quantised = QuantNetwork(network, uniform_bits(network, WeightMode.W8))
        reestimate_norms(quantised, images.train)
        fit_activations(quantised, images.train, percentile=PERCENTILE)
        chosen = np.random.default_rng(seed).choice(len(images.validation), GROUPS, replace=False)
        picked = to_input(torch.from_numpy(images.validation.images[chosen]))
        arrays = sample(network, quantised, picked, LAYERS[model], seed=seed, act_bits=act_bits)
        content = io.BytesIO()
        np.savez_compressed(content, allow_pickle=False, **arrays)
        write_bytes(out, content.getvalue())
    except (QuantError, OSError) as error:
        complain(str(error))
        raise typer.Exit(2) from None
    for name in LAYERS[model]:
        act = arrays[f"act/{name}"]
        zeros = ", ".join(
            f"{mode.name} {np.mean(arrays[f'weight/{name}/{mode.name}'] == 0):.2f}"
            for mode in WeightMode
        )
        share = float(arrays[f"macs/{name}"])
        size = f"{name}: K {act.shape[1]}, MACs {share:.2f}"
        print(f"{size}, zeros: act {np.mean(act == 0):.2f}, {zeros}")


app = command_app(main, name="quant.operands", place=beside("out"))

if __name__ == "__main__":
    app()
