"""The integers of a run held to torch: every tensor of every test image."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from quant.catalogue import check_model
from quant.errors import QuantError
from quant.files import write_json
from quant.formats.run_record import RESULT_NAME, Checked, RunFolder, data_folder, read_result
from quant.sources import open_data
from sim import folder as integers
from sim import network as golden

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from quant.data import Images
    from quant.exact import ExactNetwork

GOLDEN_NAME = "golden.json"
"""What a check has found, in the run's folder; `quant.report` shows it."""


def read_integers(run: Path) -> integers.IntegerNetwork:
    """Read the integer network of a run, or of the folder of one.

    Raises
    ------
    QuantError
        If the run has none; says why.
    sim.folder.FolderError
        If its folder is damaged.
    """
    if (run / integers.GRAPH_NAME).is_file():
        return integers.load(run)
    entry = read_result(run, RunFolder).integer_network
    if entry is None:
        raise QuantError(f"{run}: run must have an integer network, but is of an earlier version")
    if entry.folder is None:
        raise QuantError(f"{run}: network must have an integer counterpart, but: {entry.reason}")
    return integers.load(run / entry.folder)


def exact_network(run: Path, data: Path) -> ExactNetwork:
    """Rebuild a run's network in torch, with the arithmetic of the integers."""
    from quant.exact import ExactNetwork
    from quant.journal import Journal
    from quant.quant_network import QuantNetwork
    from quant.workbench import Source, Workbench

    model = read_result(run, Checked).model
    check_model(model)
    entry = Journal(run).read("network", {"model": model})
    if entry is None or entry.snapshot is None:
        raise QuantError(f"{run}: run must hold network.safetensors, but does not")
    source = Source(model=model, weights=run / "float.safetensors", data=data)
    quantised = QuantNetwork(Workbench(source).network, entry.snapshot.bits)
    quantised.restore(entry.snapshot)
    return ExactNetwork(quantised.eval())


def compare(
    network: integers.IntegerNetwork, exact: ExactNetwork, images: Images, *, batch: int = 100
) -> Iterator[int]:
    """Compare every tensor of the integer network with torch's; yields correct answers a batch.

    Raises
    ------
    QuantError
        If a value differs; names the layer, the image and the place.
    """
    import numpy as np
    import torch

    from quant.batches import to_input

    for first in range(0, len(images), batch):
        chosen = images.pixels(np.arange(first, min(first + batch, len(images))))
        expected = exact.tensors(to_input(torch.from_numpy(chosen)))
        for name, found in golden.tensors(network, with_channels(chosen)):
            if name not in expected:  # max pooling, of which torch keeps no integers
                continue
            values = expected[name].numpy()
            values = values.transpose(0, 2, 3, 1) if values.ndim == 4 else values[:, None, None]
            if not np.array_equal(values, found):
                place = [int(index) for index in np.argwhere(values != found)[0]]
                raise QuantError(
                    f"{name}: golden model must equal torch, but image {first + place[0]} at "
                    f"(y, x, channel) {tuple(place[1:])} is {found[tuple(place)]}, not "
                    f"{values[tuple(place)]:.0f}"
                )
        logits = found.reshape(len(chosen), -1)
        yield int((logits.argmax(axis=1) == images.labels[first : first + batch]).sum())


def check(run: Path, data: Path | None, console: Console) -> str:
    """Hold the integer network to torch at every layer boundary, on all test images.

    If all is equal, the run's `golden.json` says so, with the digest of the integers.

    Returns
    -------
    str
        What was found, one line.

    Raises
    ------
    QuantError
        If a value, or the accuracy in result.json, differs.
    """
    from rich.progress import Progress

    result = read_result(run, Checked)
    folder = data_folder(run, result.data.folder, data)
    network, exact = read_integers(run), exact_network(run, folder)
    images = open_data(folder, result.model).test
    correct = 0
    with Progress(console=console) as progress:
        task = progress.add_task("test images", total=len(images))
        for right in compare(network, exact, images):
            correct += right
            progress.advance(task, 100)
    accuracy, reported = correct / len(images), result.accuracy.searched
    if accuracy != reported:
        raise QuantError(
            f"accuracy of the golden model must be {reported}, as in {RESULT_NAME}, not {accuracy}"
        )
    record = {
        "command": f"python -m quant.export {run} --check",
        "arrays_sha256": network.graph.arrays_sha256,
        "tensors": len(network.graph.tensors),
        "images": len(images),
        "accuracy": accuracy,
    }
    write_json(run / GOLDEN_NAME, record)
    return (
        f"golden model = torch in all {len(network.graph.tensors)} tensors of {len(images)} test "
        f"images; accuracy {100 * accuracy:.2f} %, as in {RESULT_NAME}"
    )


def with_channels(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return images [N, H, W] or [N, H, W, C] as [N, H, W, C]."""
    return images if images.ndim == 4 else images[..., None]
