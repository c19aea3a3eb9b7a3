"""A small benchmark of few digits and an untrained network, for the tests."""

import gzip
import json
import struct
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.datasets import load_digits

from quant.bench.cells import Cell
from quant.bench.runner import bench
from quant.bench.search import write_summary
from quant.bench.work import Setup
from quant.files import save_tensors
from quant.models import build


def fill(folder: Path) -> Path:
    """Write 300 digits to train, 100 to test, and weights that are not trained."""
    bunch = load_digits()
    images = np.asarray(bunch.images * 255 / 16, dtype=np.uint8)
    labels = np.asarray(bunch.target, dtype=np.uint8)
    for part, place in (("train", slice(0, 300)), ("t10k", slice(300, 400))):
        for kind, array in (("images-idx3", images[place]), ("labels-idx1", labels[place])):
            head = struct.pack(f">I{array.ndim}I", 0x0800 + array.ndim, *array.shape)
            (folder / f"{part}-{kind}-ubyte.gz").write_bytes(gzip.compress(head + array.tobytes()))
    model = build("resnet8", seed=0)
    save_tensors(dict(model.state_dict()), folder / "weights.safetensors", metadata={"seed": "0"})
    return folder


def setup_of(folder: Path, out: Path) -> Setup:
    """Return where a benchmark of such a folder has everything from."""
    weights = {"resnet8": folder / "weights.safetensors"}
    return Setup(data=folder, out=out, weights=weights, qat_steps=4)


def cell(way: str, *, bits: float | None = 2.5, seed: int = 0, trains: bool = False) -> Cell:
    """Return a cell of that network."""
    return Cell(model="resnet8", trains=trains, way=way, average_bits=bits, seed=seed)


def run(cells: list[Cell], setup: Setup, **more: Any) -> tuple[int, dict[str, Any]]:
    """Run cells; returns the exit status and the report's JSON."""
    write = partial(more.pop("write", write_summary), report=setup.out / "report", command="a")
    status = bench(cells, setup, whole=cells, write=write, **more)
    document: dict[str, Any] = json.loads((setup.out / "report.json").read_text())
    return status, document
