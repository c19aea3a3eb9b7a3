"""Large networks, quantised within 4 GB: `python -m quant.ptq.bench.large`, resumed if stopped."""

from __future__ import annotations

import multiprocessing
import resource
import sys
import time
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hw.cli.command import beside, command_app, complain
from quant.catalogue import PRETRAINED, preprocessing
from quant.errors import QuantError
from quant.files import write_bytes, write_json
from quant.ptq.bench.about import about, code_sha256
from quant.ptq.bench.photographs import Photographs, default_roots, photographs
from quant.ptq.ranges import Calibration

if TYPE_CHECKING:
    from torch import Tensor, nn

    from quant.data import ImageSet
    from quant.graph import Network
    from quant.journal import Entry
    from quant.ptq.frames import Frame

MODULE = "quant.ptq.bench.large"
MIN_MAX = Calibration.MIN_MAX.value

Cell = tuple[str, int, str]
"""Method, bits of all weights, and how ranges of the 8-bit activations are chosen."""

CELLS: tuple[Cell, ...] = (
    *((method, bits, MIN_MAX) for bits in (8, 4) for method in ("nearest", "act-order")),
    *(("sensitivity", bits, way.value) for bits in (8, 4) for way in Calibration),
)

LIMIT_BYTES = 4 * 1000**3
PACKAGES = ("numpy", "pillow", "scipy", "torch")
KIB = 1024


@dataclass(frozen=True, kw_only=True)
class Task:
    """What is measured of one network.

    Parameters
    ----------
    model : str
        One of `quant.catalogue.PRETRAINED`.
    weights : Path, optional
        Its file; the package's by default.
    data : Path, optional
        ImageNet-style folder; the photographs of packages by default.
    roots : tuple of Path
        Where these are.
    calibration, held_out : int
        Photographs.
    folder : Path
        Where finished steps are kept.
    """

    model: str
    weights: Path | None
    data: Path | None
    roots: tuple[Path, ...] = field(default_factory=lambda: tuple(default_roots()))
    calibration: int
    held_out: int
    folder: Path

    @property
    def asked(self) -> dict[str, Any]:
        """What a step depends on, JSON values."""
        asked = {"model": self.model, "calibration": self.calibration, "held_out": self.held_out}
        code = code_sha256(MODULE)
        return asked | {"weights": str(self.weights), "data": str(self.data), "code": code}


class Bench:
    """One network with its photographs; what takes long is done when it is needed first.

    Parameters
    ----------
    task : Task
    cells : list of Cell
        Those that are to be measured, of `CELLS`.
    """

    def __init__(self, task: Task, cells: list[Cell]) -> None:
        from quant.models import load
        from quant.threads import one_thread

        one_thread()
        self.cells = cells
        self.photographs = _photographs(task)
        self.calibration = self.photographs.calibration.loaded()
        self.held_out = {k: s.loaded() for k, s in self.photographs.held_out.items() if len(s)}
        self.teacher, _ = load(task.model, task.weights)

    @cached_property
    def network(self) -> Network:
        """The network, traced."""
        import numpy as np

        from quant.batches import inputs_of
        from quant.capture import capture

        return capture(self.teacher, inputs_of(self.calibration, np.arange(2)))

    @cached_property
    def float_logits(self) -> dict[str, Tensor]:
        """What the network gives in float, by kind of photograph: float32 [N, classes]."""
        return {kind: logits(self.teacher, data) for kind, data in self.held_out.items()}

    @cached_property
    def images(self) -> Tensor:
        """Photographs to calibrate on, float32 [N, 3, H, W]."""
        import numpy as np

        from quant.batches import inputs_of

        return inputs_of(self.calibration, np.arange(len(self.calibration)))

    @cached_property
    def frames(self) -> tuple[dict[Cell, Frame], dict[Cell, float], float]:
        """Networks of all cells, layers in place, and seconds: of each method, of statistics.

        What `python -m quant.ptq` does by default, all cells reading the same statistics.
        """
        from quant.ptq.frames import frame_of
        from quant.ptq.network import collected, in_one_run
        from quant.ptq.optimise import Method
        from quant.ptq.recipe import Recipe
        from quant.ptq.solve import solve

        names = [layer.name for layer in self.network.layers]
        recipes = {
            cell: Recipe(method=Method(cell[0]), calibration=Calibration(cell[2]))
            for cell in self.cells
        }
        frames = {
            cell: frame_of(self.network, dict.fromkeys(names, cell[1]), recipe)
            for cell, recipe in recipes.items()
        }
        seconds, collecting = dict.fromkeys(self.cells, 0.0), 0.0
        for part in in_one_run(self.network, names):
            start = time.process_time()
            statistics = collected(self.network, part, self.images)
            collecting += time.process_time() - start
            for name in part:
                read = statistics.pop(name)
                for cell, frame in frames.items():
                    found = solve(frame.weight(name), read, frame.grid(name), recipes[cell])
                    frame.put(name, found.weights, found.shift)
                    seconds[cell] += found.seconds
        return frames, seconds, collecting

    def measure(self, cell: Cell) -> Entry:
        """Quantise and judge one cell; JSON values.

        ``solve_seconds`` is the method's own processor time, ``statistics_seconds`` what all share,
        ``calibrate_seconds`` that of batch norms and ranges; ``peak_bytes`` is the largest resident
        memory of the process so far.
        """
        from quant.journal import Entry

        frames, seconds, collecting = self.frames
        frame = frames[cell]
        start = time.process_time()
        frame.finish(self.images)
        calibrated = time.process_time() - start
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * KIB
        values = {
            **dict(zip(("method", "bits", "calibration"), cell, strict=True)),
            "solve_seconds": seconds[cell],
            "statistics_seconds": collecting,
            "calibrate_seconds": calibrated,
            "peak_bytes": peak,
            **self._judged(frame.module),
        }
        return Entry(values=values)

    def _judged(self, quantised: nn.Module) -> dict[str, Any]:
        """Agreement with float by kind, dB of the logits, right answers where there are labels."""
        import torch

        kinds: dict[str, Any] = {}
        noise = signal = 0.0
        right = {"labelled": 0, "float_right": 0, "right": 0}
        for kind, data in self.held_out.items():
            expected, found = self.float_logits[kind], logits(quantised, data)
            same = found.argmax(dim=1) == expected.argmax(dim=1)
            kinds[kind] = {"images": len(data), "agreement": float(same.double().mean())}
            noise += float((found - expected).double().square().sum())
            signal += float(expected.double().square().sum())
            labels = torch.from_numpy(data.labels)
            right["labelled"] += int((labels >= 0).sum())
            right["float_right"] += int((expected.argmax(dim=1) == labels).sum())
            right["right"] += int((found.argmax(dim=1) == labels).sum())
        decibels = 10 * float(torch.log10(torch.tensor(signal / noise)))
        return {"kinds": kinds, "sqnr_db": decibels, **right}


def logits(model: Any, data: ImageSet) -> Tensor:
    """Return what a network gives for images: float32 [N, classes]."""
    import torch

    from quant.batches import eval_batches

    model.eval()
    with torch.no_grad():
        return torch.cat([model(images) for images, _ in eval_batches(data)])


def _photographs(task: Task) -> Photographs:
    import numpy as np

    from quant.imagefolder import PhotoData

    how = preprocessing(task.model)
    if task.data is None:
        return photographs(
            list(task.roots), how, calibration=task.calibration, held_out=task.held_out
        )
    data = PhotoData(task.data, how, classes=PRETRAINED[task.model].classes)
    random = np.random.default_rng(0)
    parts = []
    for part, count in ((data.train, task.calibration), (data.test, task.held_out)):
        chosen = random.choice(len(part), min(count, len(part)), replace=False)
        parts.append(part.take(np.sort(chosen)))
    sources: list[dict[str, object]] = [{"folder": str(task.data), "sha256": data.sha256}]
    return Photographs(calibration=parts[0], held_out={"test": parts[1]}, sources=sources)


def measured(task: Task) -> dict[str, Any]:
    """Measure one network, what its folder has not got yet; in a process of its own."""
    from quant.journal import Journal

    journal = Journal(task.folder)
    names = {cell: f"large-{task.model}-w{cell[1]}-{cell[0]}-{cell[2]}" for cell in CELLS}
    asked = task.asked
    rows = {cell: journal.read(name, asked) for cell, name in names.items()}
    missing = [cell for cell, entry in rows.items() if entry is None]
    about = journal.read(f"large-{task.model}", asked)
    if missing or about is None:
        from quant.journal import Entry

        bench = Bench(task, missing)
        about = Entry(
            values={
                "sources": bench.photographs.sources,
                "calibration": len(bench.calibration),
                "held_out": {kind: len(data) for kind, data in bench.held_out.items()},
                "layers": len(bench.network.layers),
                "parameters": sum(p.numel() for p in bench.teacher.parameters()),
            }
        )
        journal.write(f"large-{task.model}", asked, about)
        for cell in missing:
            rows[cell] = found = bench.measure(cell)
            journal.write(names[cell], asked, found)
            print(f"{names[cell]}: done", file=sys.stderr, flush=True)
    cells = [dict(entry.values) for entry in rows.values() if entry is not None]
    peak = max(cell["peak_bytes"] for cell in cells)
    return {"model": task.model, **about.values, "peak_bytes": peak, "cells": cells}


def main(
    out: Annotated[Path, typer.Option(help="JSON file; the table goes beside it, .md")] = Path(
        "docs/ptq-large.json"
    ),
    folder: Annotated[Path, typer.Option(help="where finished steps are kept")] = Path(
        "runs/ptq-large"
    ),
    model: Annotated[str, typer.Option(help="one network only")] = "",
    weights: Annotated[Path | None, typer.Option(help="of that network; the package's")] = None,
    data: Annotated[Path | None, typer.Option(help="ImageNet-style folder of photographs")] = None,
    photos: Annotated[
        Path | None, typer.Option(help="where packages with photographs are unpacked")
    ] = None,
    calibration: Annotated[int, typer.Option(help="photographs to calibrate on")] = 64,
    held_out: Annotated[int, typer.Option(help="photographs to judge on, at most")] = 200,
) -> None:
    """Quantise large networks by several methods; agreement with float, seconds and memory."""
    from quant.ptq.bench.large_report import markdown

    try:
        chosen = [name for name in PRETRAINED if model in ("", name)]
        if not chosen:
            raise QuantError(f"--model must be one of {', '.join(PRETRAINED)}, not {model}")
        if weights is not None and len(chosen) > 1:
            raise QuantError("--weights must come with --model")
        if calibration < 2 or held_out < 1:
            raise QuantError(
                f"--calibration must be at least 2 and --held-out at least 1, not {calibration} "
                f"and {held_out}"
            )
        roots = tuple(([photos] if photos else []) + default_roots())
        tasks = [
            Task(
                model=name,
                weights=weights,
                data=data,
                roots=roots,
                calibration=calibration,
                held_out=held_out,
                folder=folder,
            )
            for name in chosen
        ]
        document = document_of(tasks)
    except (QuantError, OSError) as error:
        complain(str(error))
        raise typer.Exit(2) from None
    write_json(out, document)
    write_bytes(out.with_suffix(".md"), markdown(document).encode())
    print(f"{out}, {out.with_suffix('.md')}")


def document_of(tasks: list[Task]) -> Mapping[str, Any]:
    """Measure networks, each in a process of its own, one after the other."""
    networks = []
    for task in tasks:
        spawn = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(max_workers=1, mp_context=spawn) as pool:
            networks.append(pool.submit(measured, task).result())
    return {
        **about(MODULE, sys.argv[1:], packages=PACKAGES),
        "limit_bytes": LIMIT_BYTES,
        "networks": networks,
    }


app = command_app(main, name=MODULE, place=beside("out"))

if __name__ == "__main__":
    app()
