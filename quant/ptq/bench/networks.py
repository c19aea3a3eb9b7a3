"""Whole networks, every method and two other tools: `python -m quant.ptq.bench.networks`.

Cell by cell (network, width, seed, method); what is done is kept and read.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache
from itertools import product
from pathlib import Path
from typing import Annotated, Any

import typer
from torch import Tensor

from hw.cli.command import beside, command_app, complain
from quant.data import default_folder
from quant.errors import QuantError
from quant.evaluate import accuracy
from quant.files import sha256, write_bytes, write_json
from quant.journal import Entry, Journal
from quant.models import WEIGHTS_FOLDER
from quant.ptq.bench.about import about, code_sha256
from quant.ptq.frames import frame_of
from quant.ptq.layerwise import Layerwise
from quant.ptq.network import CALIBRATION_IMAGES, calibration_images, collected
from quant.ptq.optimise import Method
from quant.ptq.recipe import Norms, Recipe, Steps
from quant.ptq.solve import solve
from quant.ptq.statistics import LayerStatistics
from quant.threads import one_thread
from quant.workbench import Source, Workbench

MODULE = "quant.ptq.bench.networks"
MODELS = ("resnet8", "dscnn")
BITS = (8, 4, 3, 2)
SEEDS = (0, 1, 2)
OURS = {method.value: Recipe(method=method) for method in Method}
PARTS = {
    "sensitivity, steps min-max": replace(OURS["sensitivity"], steps=Steps.MIN_MAX),
    "sensitivity, norms kept": replace(OURS["sensitivity"], norms=Norms.KEPT),
    "sensitivity, sequential": replace(OURS["sensitivity"], sequential=True),
    "nearest, steps min-max, norms kept": Recipe(
        method=Method.NEAREST, steps=Steps.MIN_MAX, norms=Norms.KEPT
    ),
}
"""What parts of the recipe are worth; at the first seed only."""

PEERS = {
    "brevitas": ("quant.ptq.bench.peer_brevitas", BITS),
    "onnxruntime": ("quant.ptq.bench.peer_ort", (8, 4)),
}
"""Other tools: the module that runs one, and the widths that it offers."""

ROOT = Path(__file__).parents[3]


class Networks:
    """Networks, images and statistics, each loaded when a cell needs it.

    Parameters
    ----------
    data : Path
        Folder of IDX files.
    """

    def __init__(self, data: Path) -> None:
        self.data = data
        self.bench = cache(self._bench)
        self._seeded: tuple[tuple[str, int], Tensor, dict[str, LayerStatistics], float] | None
        self._seeded = None

    def _bench(self, model: str) -> Workbench:
        return Workbench(Source(model=model, weights=None, data=self.data))

    def statistics(self, model: str, seed: int) -> tuple[Tensor, dict[str, LayerStatistics], float]:
        """Return calibration images, the statistics of all layers, and their processor seconds."""
        if self._seeded is None or self._seeded[0] != (model, seed):
            bench = self.bench(model)
            images = calibration_images(bench.train_set, CALIBRATION_IMAGES, seed=seed)
            began = time.process_time()
            names = [layer.name for layer in bench.network.layers]
            found = collected(bench.network, names, images)
            self._seeded = (model, seed), images, found, time.process_time() - began
        return self._seeded[1:]

    def cell(self, model: str, seed: int, bits: int, recipe: Recipe) -> Entry:
        """Quantise and measure on the test images."""
        bench = self.bench(model)
        images, statistics, collecting = self.statistics(model, seed)
        if recipe.sequential:
            return self._sequential(bench, images, bits, recipe)
        began = time.process_time()
        frame = frame_of(bench.network, dict.fromkeys(statistics, bits), recipe)
        solving = 0.0
        for name, known in statistics.items():
            solution = solve(frame.weight(name), known, frame.grid(name), recipe)
            frame.put(name, solution.weights, solution.shift)
            solving += solution.seconds
        frame.finish(images)
        seconds = collecting + time.process_time() - began
        found = accuracy(frame.module, bench.images.test)
        return Entry(values={"accuracy": found, "seconds": seconds, "solving_seconds": solving})

    def _sequential(self, bench: Workbench, images: Tensor, bits: int, recipe: Recipe) -> Entry:
        began = time.process_time()
        every = {layer.name: bits for layer in bench.network.layers}
        frame = frame_of(bench.network, every, recipe)
        with tempfile.TemporaryDirectory() as folder:
            journal = Journal(Path(folder))
            layers = Layerwise(bench.network, frame, every, recipe, images, journal, {})
            solving = sum(solution.seconds for _, solution in layers.run())
        frame.finish(images)
        seconds = time.process_time() - began
        found = accuracy(frame.module, bench.images.test)
        return Entry(values={"accuracy": found, "seconds": seconds, "solving_seconds": solving})


def measured(
    networks: Networks,
    journal: Journal,
    *,
    peers: Path | None,
    models: Sequence[str] = MODELS,
    note: Callable[[str], None] = lambda _: None,
) -> list[dict[str, Any]]:
    """Measure every cell that the journal has not got; returns all of them.

    Parameters
    ----------
    networks : Networks
    journal : Journal
    peers : Path, optional
        The interpreter where other tools are installed; without, their cells that are not in the
        journal are left out.
    models : sequence of str
    note : callable
        Told of every cell that was measured.
    """
    common = {"images": CALIBRATION_IMAGES, "code": code_sha256(MODULE)}
    cells = []
    for seed in SEEDS:
        for model in models:
            weights = sha256(WEIGHTS_FOLDER / f"{model}.safetensors")
            known_by = {**common, "weights": weights, "data": str(networks.data)}
            for method, bits, recipe in _ours(seed):
                name = f"{model}-{seed}-{bits}-{method}".replace(", ", "-").replace(" ", "-")
                asked = {**known_by, "recipe": recipe.json()}
                known = journal.read(name, asked)
                if known is None:
                    known = networks.cell(model, seed, bits, recipe)
                    journal.write(name, asked, known)
                    note(name)
                cells.append(_cell(model, seed, bits, method, known))
            for peer, bits, entry in _peers(journal, model, seed, known_by, peers, note):
                cells.append(_cell(model, seed, bits, peer, entry))
    return cells


def _ours(seed: int) -> Iterator[tuple[str, int, Recipe]]:
    recipes = OURS | (PARTS if seed == SEEDS[0] else {})
    for bits in BITS:
        for method, recipe in recipes.items():
            yield method, bits, recipe


def _cell(model: str, seed: int, bits: int, method: str, entry: Entry) -> dict[str, Any]:
    return {"model": model, "seed": seed, "bits": bits, "method": method, **entry.values}


def _peers(
    journal: Journal,
    model: str,
    seed: int,
    asked: Mapping[str, Any],
    python: Path | None,
    note: Callable[[str], None],
) -> Iterator[tuple[str, int, Entry]]:
    for peer, (module, widths) in PEERS.items():
        wanted = {**asked, "code": code_sha256(module)}
        names = {bits: f"{model}-{seed}-{bits}-{peer}" for bits in widths}
        left = [bits for bits, name in names.items() if journal.read(name, wanted) is None]
        if left and python is not None:
            for found in _asked(python, module, model, seed, asked["data"], left):
                journal.write(names[found["bits"]], wanted, Entry(values=found))
                note(names[found["bits"]])
        for bits, name in names.items():
            known = journal.read(name, wanted)
            if known is not None:
                yield peer, bits, known


def left_out(cells: Sequence[Mapping[str, Any]], models: Sequence[str] = MODELS) -> list[str]:
    """Return the other tools of which some cell is missing, in the order of `PEERS`."""
    known = {(cell["method"], cell["model"], cell["seed"], cell["bits"]) for cell in cells}
    return [
        peer
        for peer, (_, widths) in PEERS.items()
        if not known.issuperset(product([peer], models, SEEDS, widths))
    ]


def _asked(
    python: Path, module: str, model: str, seed: int, data: str, widths: Sequence[int]
) -> Iterator[dict[str, Any]]:
    """Run another tool's script; yields what it tells, width after width."""
    part = "test"
    command = [str(python), "-m", module, model, str(seed), part, data, *map(str, widths)]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    with tempfile.TemporaryFile("w+") as told:
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=told, text=True, env=environment
        )
        with process:
            assert process.stdout is not None
            for line in process.stdout:
                yield json.loads(line)
        told.seek(0)
        last = (told.read().strip().splitlines() or ["no reason"])[-1]
    if process.returncode:
        raise QuantError(f"{shlex.join(command)} must end well, not with: {last}")


def main(
    out: Annotated[Path, typer.Option(help="JSON file; the table goes beside it, .md")] = Path(
        "docs/ptq-networks.json"
    ),
    folder: Annotated[Path, typer.Option(help="where finished cells are kept")] = Path(
        "runs/ptq-networks"
    ),
    data: Annotated[Path | None, typer.Option(help="folder of IDX files")] = None,
    peers: Annotated[
        Path | None, typer.Option(help="python of the environment where the other tools are")
    ] = None,
    model: Annotated[str, typer.Option(help="one network only, nothing is written")] = "",
) -> None:
    """Measure accuracy and seconds of every method on both shipped networks."""
    from quant.ptq.bench.networks_report import markdown, targets

    one_thread()
    try:
        if model not in ("", *MODELS):
            raise QuantError(f"--model must be one of {', '.join(MODELS)}, not {model}")
        if peers is not None and not os.access(peers, os.X_OK):
            raise QuantError(f"--peers must be a Python interpreter that can be run, not {peers}")
        networks = Networks(data or default_folder())
        cells = measured(
            networks,
            Journal(folder),
            peers=peers,
            models=(model,) if model else MODELS,
            note=lambda name: print(f"{name}: done", file=sys.stderr, flush=True),
        )
        if model:
            return
        floats = {name: _float(networks, Journal(folder), name) for name in MODELS}
    except (QuantError, OSError) as error:
        complain(str(error))
        raise typer.Exit(2) from None
    document = {
        **about(MODULE, sys.argv[1:]),
        "calibration_images": CALIBRATION_IMAGES,
        "seeds": SEEDS,
        "float": floats,
        "recipes": {name: recipe.json() for name, recipe in (OURS | PARTS).items()},
        "peers_left_out": left_out(cells),
        "targets": targets(cells, floats),
        "cells": cells,
    }
    write_json(out, document)
    write_bytes(out.with_suffix(".md"), markdown(document).encode())
    print(f"{out}, {out.with_suffix('.md')}")


def _float(networks: Networks, journal: Journal, model: str) -> float:
    weights = sha256(WEIGHTS_FOLDER / f"{model}.safetensors")
    code = code_sha256(MODULE)
    asked = {"weights": weights, "data": str(networks.data), "code": code}

    def compute() -> Entry:
        bench = networks.bench(model)
        return Entry(values={"accuracy": accuracy(bench.teacher, bench.images.test)})

    return float(journal.step(f"{model}-float", asked, compute).values["accuracy"])


app = command_app(main, name=MODULE, place=beside("out"))

if __name__ == "__main__":
    app()
