"""One image through an integer network, number by number: ``python -m sim.one_image DIR``.

Writes a page and its picture: pixels, im2col, bit pairs, partial sums, requantisation, class. All
numbers are computed here from the folder, and the sums held to the golden model.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from hw.cli.command import beside, command_app, complain
from hw.files import write_text
from sim import folder, golden, network
from sim.folder import Conv, FolderError, IntegerNetwork

PAIR_BITS = 2


def pairs(weight: int, bits: int) -> list[int]:
    """Bit pairs of a weight, lowest first; the highest is two's complement, the others 0 to 3."""
    values = [(weight >> place) & 3 for place in range(0, bits, PAIR_BITS)]
    values[-1] -= 4 * (values[-1] >> 1)
    return values


class Walk:
    """One output of the first layer, and everything that it is made of.

    Parameters
    ----------
    net : IntegerNetwork
        The network.
    image : uint8 [H, W, C]
        The image.
    """

    def __init__(self, net: IntegerNetwork, image: Any) -> None:
        self.net, self.image = net, image
        self.maps = {name: found[0] for name, found in network.tensors(net, image[None])}
        self.step: Conv = net.graph.convs[0]
        self.arrays = net.layers[self.step.name]
        zero_point = net.graph.tensors[self.step.input].zero_point
        self.rows = golden.im2col(
            network.padded_map(self.step, image[None], zero_point),
            kernel=(self.step.kernel_h, self.step.kernel_w),
            stride=self.step.stride,
        )
        result = self.maps[self.step.output]
        inner = np.where((result > 0) & (result < self.step.high), result, 0)
        spread = inner * (self.rows.reshape(*result.shape[:2], -1) > 0).sum(axis=2)[..., None]
        y, x, channel = np.unravel_index(int(spread.argmax()), result.shape)
        self.place = int(y), int(x), int(channel)
        self.acts = self.rows[self.place[0] * result.shape[1] + self.place[1]].astype(int)
        self.weights = self.arrays.weight[..., self.place[2]].reshape(-1).astype(int)
        self.pairs = np.array([pairs(int(w), self.step.weight_bits) for w in self.weights])
        by_pair = (self.acts @ self.pairs) * 4 ** np.arange(self.pairs.shape[1])
        self.partial: list[int] = np.cumsum(by_pair).tolist()
        self.sum = int(self.acts @ self.weights)
        assert self.partial[-1] == self.sum, "pairs must make the weights"

    @property
    def requantised(self) -> tuple[int, int, int, int]:
        """Bias, multiplier, shift and the scaled sum before the clamp, of the channel."""
        channel = self.place[2]
        bias, multiplier, shift = (
            int(values[channel])
            for values in (self.arrays.bias, self.arrays.multiplier, self.arrays.shift)
        )
        scaled = ((self.sum + bias) * multiplier + (1 << (shift - 1))) >> shift
        return bias, multiplier, shift, scaled

    @property
    def logits(self) -> Any:
        """Logits in units of their scale."""
        return self.maps[self.net.graph.output].reshape(-1)


def page(walk: Walk, label: int, picture: str, command: str) -> str:
    """Return the page as Markdown."""
    net, step = walk.net, walk.step
    y, x, channel = walk.place
    bias, multiplier, shift, scaled = walk.requantised
    target = net.graph.tensors[step.output]
    value = int(walk.maps[step.output][y, x, channel])
    assert value == min(max(scaled + target.zero_point, step.low), step.high)
    cells = [
        [str(number) for number in column] for column in (walk.acts, walk.weights, *walk.pairs.T)
    ]
    names = ["activation", f"weight ({step.weight_bits} bit)"]
    names += [f"pair {i} (x {4**i})" for i in range(walk.pairs.shape[1])]
    taps = range(len(walk.acts))
    lines = [
        f"# One image through {net.graph.name}",
        "",
        f"Written by `{command}`; every number is from that folder.",
        "",
        f"![the image, its maps and its logits]({picture})",
        "",
        "## Pixels",
        f"Example 0, class {label}: {walk.image.shape[0]} x {walk.image.shape[1]} integers from 0 "
        f"to {int(walk.image.max())}. They are the network's input as they are: scale 1/255, zero "
        "point 0.",
        "",
        f"## im2col: layer {step.name}",
        f"Output ({y}, {x}) sees {len(walk.acts)} pixels, in the order kernel row, kernel column, "
        f"channel. Channel {channel} multiplies each by a weight, of which the array takes two "
        "bits a cycle, the lowest first; the highest pair counts as two's complement:",
        "",
        "| | " + " | ".join(str(tap) for tap in taps) + " |",
        "|---|" + "---:|" * len(taps),
        *(
            f"| {name} | " + " | ".join(cell) + " |"
            for name, cell in zip(names, cells, strict=True)
        ),
        "",
        "## Partial sums",
        f"A PE adds {len(walk.acts)} products of a pair in a tree, and the tree's sum, shifted, to "
        "its accumulator:",
        "",
        "| after pair | accumulator |",
        "|---:|---:|",
        *(f"| {i} | {number} |" for i, number in enumerate(walk.partial)),
        "",
        "## Requantisation",
        f"The sum {walk.sum} meets the channel's record, bias {bias}, multiplier {multiplier}, "
        f"shift {shift}:",
        "",
        f"    (({walk.sum} + {bias}) * {multiplier} + 2^{shift - 1}) >> {shift} = {scaled}",
        "",
        f"clamped to {step.low} .. {step.high} (that is the ReLU): **{value}**, which stands for "
        f"{target.scale * (value - target.zero_point):.4f}.",
        "",
        "## The other layers",
        "",
        "| tensor | size | zeros | largest |",
        "|---|---|---:|---:|",
        *(
            f"| {name} | {found.shape[0]} x {found.shape[1]} x {found.shape[2]} | "
            f"{100 * float((found == net.graph.tensors[name].zero_point).mean()):.0f} % | "
            f"{int(found.max())} |"
            for name, found in walk.maps.items()
            if name != net.graph.output
        ),
        "",
        "## Class",
        f"The last layer gives integers of 22 bits, all of scale "
        f"{net.graph.tensors[net.graph.output].scale:.3e}:",
        "",
        "| class | " + " | ".join(str(i) for i in range(len(walk.logits))) + " |",
        "|---|" + "---:|" * len(walk.logits),
        "| logit | " + " | ".join(str(int(v)) for v in walk.logits) + " |",
        "",
        f"The largest is class **{int(walk.logits.argmax())}**"
        + (", as labelled." if int(walk.logits.argmax()) == label else f", labelled {label}."),
        "",
    ]
    return "\n".join(lines)


def main(
    network_folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="Integer network: `python -m quant.export`.")
    ],
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Markdown file; a .png of its name beside it.")
    ] = Path("docs") / "one-image.md",
) -> None:
    """Write a page that follows an image through the network."""
    try:
        net = folder.load(network_folder)
        images, labels = folder.load_examples(network_folder, net.graph)
    except FolderError as error:
        complain(f"sim.one_image: {error}")
        raise typer.Exit(2) from error
    walk = Walk(net, images[0])
    picture = out.with_suffix(".png")
    command = f"python -m sim.one_image {network_folder}"
    write_text(out, page(walk, int(labels[0]), picture.name, command))
    # here, so that the rest of the package needs no matplotlib
    from sim.plot_image import plot_image

    plot_image(walk, picture)
    typer.echo(f"{out}")


app = command_app(main, name="sim.one_image", place=beside("out"))

if __name__ == "__main__":
    app()
