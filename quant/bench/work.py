"""What a cell does: the options of a search, a key of all that its result depends on, a record.

A record is a JSON file of its own, written when the cell is done; a cell whose key has a record is
not run again. The key covers the options, the bits that are replayed, and the contents of the code
that makes a record, weights, cost table and training images. Versions of
Python and of packages are in the record, not in the key. Cells that come down to the same, such as
two tools that give the same bits, share a record.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import platform
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

from hw.closure import sources_sha256
from quant.bench.catalogue import Kind, way
from quant.bench.cells import Cell
from quant.bench.maps import FOLDER, bits_of, entries
from quant.files import sha256, write_json
from quant.models import WEIGHTS_FOLDER
from quant.options import DEFAULT_TABLE, Options

SHOWS = (
    "hw.cli",
    "hw.closure",
    "quant.console",
    "quant.plot",
    "quant.progress",
    "quant.report",
    "quant.bench.catalogue",
    "quant.bench.cells",
    "quant.bench.maps",
)
"""Modules and packages that show a result, or choose the options and bits that are in a cell's key;
they change no record."""
PACKAGES = ("numpy", "torch", "scipy", "safetensors", "pydantic")
RECORD = "{slug}-{key}.json"


@dataclass(frozen=True, kw_only=True)
class Setup:
    """Where everything comes from.

    Parameters
    ----------
    data : Path
        Folder of IDX files.
    table : Path
        Cost table.
    out : Path
        Folder of records and of what is running.
    maps : Path
        Folder of maps of other tools.
    weights : mapping of str to Path
        Of networks that are not to have the shipped ones.
    qat_steps : int
        Training steps of a cell that trains.
    """

    data: Path
    out: Path
    table: Path = DEFAULT_TABLE
    maps: Path = FOLDER
    weights: Mapping[str, Path] = field(default_factory=dict)
    qat_steps: int = 400

    def weights_of(self, model: str) -> Path:
        """File of a network's weights."""
        return self.weights.get(model, WEIGHTS_FOLDER / f"{model}.safetensors")

    def sizes(self, model: str) -> dict[str, int]:
        """Weights of every layer of a network, in order of execution."""
        import torch

        from quant.graph import trace
        from quant.models import IMAGE_SIZE, load

        network, _ = load(model, self.weights_of(model))
        layers = trace(network, torch.zeros(1, 1, IMAGE_SIZE, IMAGE_SIZE)).layers
        return {layer.name: layer.shape.weights for layer in layers}


@dataclass(frozen=True, kw_only=True)
class Work:
    """What is to be done for a cell.

    Parameters
    ----------
    cell : Cell
        The first cell that needs it.
    options : Options
        Of the search.
    bits : mapping, optional
        To be replayed.
    key : str
        Of all that the record depends on, 16 hexadecimal digits.
    out : Path
        Folder of records.
    """

    cell: Cell
    options: Options
    bits: Mapping[str, int] | None
    key: str
    out: Path

    @property
    def slug(self) -> str:
        """Name without characters that a file must not have."""
        return self.cell.name.replace("/", "-").replace(" ", "-")

    @property
    def path(self) -> Path:
        """File of the record."""
        return self.out / "cells" / RECORD.format(slug=self.slug, key=self.key)

    @property
    def folder(self) -> Path:
        """Where the search writes while it runs; its log stays there if it fails."""
        return self.out / "running" / f"{self.slug}-{self.key}"

    def known(self) -> dict[str, Any] | None:
        """Return the record, whatever cell it was first made for; None if there is none."""
        for path in (self.out / "cells").glob(RECORD.format(slug="*", key=self.key)):
            found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            return found
        return None


def digests(setup: Setup) -> dict[str, str]:
    """SHA-256 of everything but the cells themselves that results depend on."""
    from quant.data import ImageData

    images = ImageData(setup.data)
    _ = images.train
    code = sources_sha256(__name__, but=SHOWS)
    return {"code": code, "table": sha256(setup.table), **images.sha256}


def works(cells: list[Cell], setup: Setup) -> dict[Cell, Work]:
    """Return what is to be done for each cell."""
    common = digests(setup)
    models, maps = {cell.model for cell in cells}, entries(setup.maps)
    sizes = {model: setup.sizes(model) for model in models}
    weights = {model: sha256(setup.weights_of(model)) for model in models}
    return {
        cell: _work(
            cell,
            setup,
            bits_of(cell, sizes[cell.model], maps),
            {**common, "weights": weights[cell.model]},
        )
        for cell in cells
    }


def _work(cell: Cell, setup: Setup, bits: dict[str, int] | None, inputs: Mapping[str, str]) -> Work:
    choice = way(cell.way)
    budget = 1.0 if bits is not None or cell.average_bits is None else cell.average_bits / 8
    training: dict[str, Any] = {"qat_steps": setup.qat_steps} if cell.trains else {}
    options = Options(
        model=cell.model,
        max_drop=choice.max_drop,
        max_size=repr(budget),
        cost_table=(setup.table,),
        ptq_only=not cell.trains,
        seed=cell.seed,
        data=setup.data,
        weights=setup.weights.get(cell.model),
        uniform=False,
        workers=0,
        **training,
        **dict(choice.options),
    )
    places = {"data", "weights", "cost_table", "out"}
    asked = {
        "order": choice.kind is Kind.ORDER,
        "options": options.model_dump(mode="json", exclude=places),
        "bits": bits,
        "inputs": dict(inputs),
    }
    key = hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:16]
    return Work(cell=cell, options=options, bits=bits, key=key, out=setup.out)


def do(work: Work) -> dict[str, Any]:
    """Job: run a cell, write its record and return it; what the search says goes into a log."""
    shutil.rmtree(work.folder, ignore_errors=True)
    work.folder.mkdir(parents=True)
    began, computed = time.perf_counter(), time.process_time()
    with (
        (work.folder / "log.txt").open("w") as log,
        contextlib.redirect_stdout(log),
        contextlib.redirect_stderr(log),
    ):
        found = _ordered(work) if way(work.cell.way).kind is Kind.ORDER else _searched(work)
    record = {
        "cell": work.cell.name,
        "key": work.key,
        "seconds": round(time.perf_counter() - began, 1),
        "cpu_seconds": round(time.process_time() - computed, 1),
        "machine": machine(),
        **found,
    }
    write_json(work.path, record)
    shutil.rmtree(work.folder)
    return record


def machine() -> dict[str, Any]:
    """Return processor, cores and versions."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return {
        "processor": models[0] if models else platform.processor(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        **{name: metadata.version(name) for name in PACKAGES},
    }


def _ordered(work: Work) -> dict[str, Any]:
    from quant.bench.order import measure_order
    from quant.threads import one_thread
    from quant.workbench import Source, Workbench

    one_thread()
    request = work.options.request(command=work.cell.name)
    source = Source(
        model=request.model,
        weights=request.weights,
        data=request.data,
        rounding=request.rounding,
    )
    return {"order": measure_order(Workbench(source), request)}


def _searched(work: Work) -> dict[str, Any]:
    from quant.run import run
    from quant.sources import open_data

    changes: dict[str, Any] = {"out": work.folder}
    if work.bits is not None:
        changes["map"] = work.folder / "bits.json"
        write_json(changes["map"], dict(work.bits))
    request = work.options.model_copy(update=changes).request(command=work.cell.name)
    run(request, open_data(request.data, request.model))
    result = json.loads((work.folder / "result.json").read_text(encoding="utf-8"))
    costs = {name: result["cost"].get(name) for name in ("searched", "int8_mac")}
    return {
        "method": result["method"],
        "targets": result["targets"],
        "targets_met": result["targets_met"],
        "table": result["hardware"]["table"],
        "accuracy": result["accuracy"],
        "validation_accuracy": result["validation_accuracy"],
        "allocation": result["allocation"],
        "average_bits": 8 * result["relative_size"],
        "cost": costs,
        "visits": result["visits"],
        "decisions": result["provenance"]["decisions"],
        "data_sha256": result["provenance"]["data_sha256"],
    }
