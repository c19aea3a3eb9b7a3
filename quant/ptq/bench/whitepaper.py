"""The whitepaper's findings on the depthwise network: `python -m quant.ptq.bench.whitepaper`.

Its schemes at 8 and 4 bit, ranges by its advice, rounding to nearest: per layer against per
channel, what corrections give, and what training with folded batch norms recovers (arXiv
1806.08342).
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from hw.cli.command import beside, command_app, complain
from quant.data import default_folder
from quant.errors import QuantError
from quant.evaluate import accuracy
from quant.files import sha256, write_bytes, write_json
from quant.journal import Entry, Journal
from quant.models import WEIGHTS_FOLDER
from quant.ptq.bench.about import about, code_sha256
from quant.ptq.folded import FoldedNetwork, train_folded
from quant.ptq.grid import IntegerRange
from quant.ptq.network import CALIBRATION_IMAGES, calibration_images
from quant.ptq.ranges import Calibration
from quant.ptq.schemes import Scheme, WeightScheme
from quant.qat import QatSettings
from quant.threads import one_thread
from quant.workbench import Source, Workbench

MODULE = "quant.ptq.bench.whitepaper"
MODEL = "dscnn"
SEED = 0
BITS = (8, 4)
STEPS = 300
SETTINGS = QatSettings(steps=STEPS, batch=64, seed=SEED)
PLAIN, BIAS, NORMS, TRAINED = "as it is", "bias correction", "batch norms", "trained"
CORRECTIONS = {PLAIN: (False, False), BIAS: (True, False), NORMS: (False, True)}
"""Bias correction and new norms of the schemes, by column."""

COLUMNS = (*CORRECTIONS, TRAINED)


def scheme_of(weights: WeightScheme, bits: int, column: str) -> Scheme:
    """Return a scheme of the table."""
    bias, norms = CORRECTIONS.get(column, (False, False))
    return Scheme(
        weights=weights,
        integers=IntegerRange(bits=bits, narrow=False),
        calibration=Calibration.MOVING_AVERAGE,
        bias_correction=bias,
        reestimate_norms=norms,
    )


def cell(bench: Workbench, weights: WeightScheme, bits: int, column: str) -> Entry:
    """Quantise, correct or train, and measure on the test images."""
    network = FoldedNetwork(bench.network, scheme_of(weights, bits, column))
    network.correct(calibration_images(bench.train_set, CALIBRATION_IMAGES, seed=SEED))
    network.calibrate(bench.train_set, seed=SEED)
    if column == TRAINED:
        train_folded(network, bench.train_set, SETTINGS)
    return Entry(values={"accuracy": accuracy(network, bench.images.test)})


def measured(bench: Workbench, journal: Journal) -> Iterator[dict[str, Any]]:
    """Yield every cell; those in the journal are read."""
    digest = sha256(WEIGHTS_FOLDER / f"{MODEL}.safetensors")
    code = code_sha256(MODULE)
    asked = {"weights": digest, "steps": STEPS, "settings": repr(SETTINGS), "code": code}
    for bits in BITS:
        for weights in WeightScheme:
            for column in COLUMNS:
                name = f"{bits}-{weights.value}-{column}".replace(" ", "-")
                known = journal.read(name, asked)
                if known is None:
                    known = cell(bench, weights, bits, column)
                    journal.write(name, asked, known)
                    print(f"{name}: done", file=sys.stderr, flush=True)
                kind = {"bits": bits, "weights": weights.value, "column": column}
                yield {**kind, **known.values}


def markdown(document: Mapping[str, Any]) -> str:
    """Write the table of `docs/ptq-whitepaper.md`."""
    found = {(c["bits"], c["weights"], c["column"]): c["accuracy"] for c in document["cells"]}
    lines = [
        "# The whitepaper's schemes on the depthwise network",
        "",
        f"Written by `{document['command']}`; {document['machine']}. {MODEL}, float "
        f"{100 * document['float']:.2f} %, activations of 8 bit per tensor (moving average), "
        "weights rounded to nearest in the full range, batch norms folded (arXiv 1806.08342).",
        "Top-1 on the 10,000 test images, standard error 0.27 points, seed 0. *bias correction* "
        "and *batch norms* (means and variances of outputs set back to the float network's): on "
        f"{CALIBRATION_IMAGES} images. *trained*: {STEPS} steps of {SETTINGS.batch} images with "
        "the fold correction, the statistics frozen after half of them.",
        "",
        f"| bits | weights | {' | '.join(COLUMNS)} |",
        f"|---:|---|{'---:|' * len(COLUMNS)}",
    ]
    for bits in BITS:
        for weights in WeightScheme:
            shown = [f"{100 * found[bits, weights.value, column]:.2f}" for column in COLUMNS]
            lines.append(f"| {bits} | {weights.value} | {' | '.join(shown)} |")
    return "\n".join(lines) + "\n"


def main(
    out: Annotated[Path, typer.Option(help="JSON file; the table goes beside it, .md")] = Path(
        "docs/ptq-whitepaper.json"
    ),
    folder: Annotated[Path, typer.Option(help="where finished cells are kept")] = Path(
        "runs/ptq-whitepaper"
    ),
    data: Annotated[Path | None, typer.Option(help="folder of IDX files")] = None,
) -> None:
    """Measure the whitepaper's schemes on the depthwise network."""
    one_thread()
    try:
        bench = Workbench(Source(model=MODEL, weights=None, data=data or default_folder()))
        cells = list(measured(bench, Journal(folder)))
        before = accuracy(bench.teacher, bench.images.test)
    except (QuantError, OSError) as error:
        complain(str(error))
        raise typer.Exit(2) from None
    document = {
        **about(MODULE, sys.argv[1:]),
        "model": MODEL,
        "seed": SEED,
        "training": repr(SETTINGS),
        "float": before,
        "cells": cells,
    }
    write_json(out, document)
    write_bytes(out.with_suffix(".md"), markdown(document).encode())
    print(f"{out}, {out.with_suffix('.md')}")


app = command_app(main, name=MODULE, place=beside("out"))

if __name__ == "__main__":
    app()
