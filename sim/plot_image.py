"""Picture of an image's way through a network: pixels, maps, logits."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

import matplotlib as mpl
from matplotlib.patches import Rectangle

from hw.files import write_bytes

if TYPE_CHECKING:
    from sim.one_image import Walk

MAPS = 4
"""Feature maps beside the image: the first, and others in an even spread."""


def plot_image(walk: Walk, path: Path) -> None:
    """Draw the image, some feature maps (their strongest channel) and the logits.

    Parameters
    ----------
    walk : sim.one_image.Walk
        The image on its way.
    path : Path
        PNG file.
    """
    mpl.use("Agg")
    from matplotlib import pyplot

    graph = walk.net.graph
    names = [
        name
        for name, found in walk.maps.items()
        if name not in (graph.input, graph.output) and found.shape[0] > 1
    ]
    chosen = [names[i * (len(names) - 1) // (MAPS - 1)] for i in range(MAPS)]
    figure, axes = pyplot.subplots(1, MAPS + 2, figsize=(13, 2.9), layout="constrained")
    axes[0].imshow(walk.image[..., 0], cmap="gray", vmin=0, vmax=255)
    y, x, channel = walk.place
    stride, step = walk.step.stride, walk.step
    corner = (x * stride - step.pad_left - 0.5, y * stride - step.pad_top - 0.5)
    patch = Rectangle(corner, step.kernel_w, step.kernel_h, fill=False, color="tab:orange", lw=2)
    axes[0].add_patch(patch)
    axes[0].set_title("pixels, and the patch below", fontsize=9)
    for axis, name in zip(axes[1:-1], chosen, strict=True):
        found = walk.maps[name]
        spec = graph.tensors[name]
        first = name == walk.step.output
        strongest = channel if first else int((found - spec.zero_point).std(axis=(0, 1)).argmax())
        axis.imshow(found[..., strongest], cmap="viridis", vmin=0, vmax=255)
        axis.set_title(
            f"{name}\n{found.shape[0]} x {found.shape[1]}, channel {strongest}", fontsize=9
        )
        if first:
            axis.plot(x, y, "s", color="tab:orange", ms=5, mfc="none")
    for axis in axes[:-1]:
        axis.set_xticks([])
        axis.set_yticks([])
    logits = walk.logits
    colors = ["tab:orange" if i == logits.argmax() else "tab:gray" for i in range(len(logits))]
    axes[-1].barh(range(len(logits)), logits / 1000, color=colors)
    axes[-1].invert_yaxis()
    axes[-1].set_yticks(range(len(logits)))
    axes[-1].set_title("logits / 1000, by class", fontsize=9)
    content = io.BytesIO()
    figure.savefig(content, dpi=110, format="png")
    pyplot.close(figure)
    write_bytes(path, content.getvalue())
