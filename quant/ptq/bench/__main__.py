"""Command line: `python -m quant.ptq.bench`, resumed where it was stopped."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hw.cli.command import beside, command_app, complain
from quant.data import ImageData, default_folder
from quant.errors import QuantError
from quant.files import write_bytes, write_json
from quant.ptq.bench.about import about, code_sha256

if TYPE_CHECKING:
    from quant.ptq.bench.layers import Case

MODULE = "quant.ptq.bench.__main__"
BITS = (4, 3, 2)


def main(
    out: Annotated[Path, typer.Option(help="JSON file; the table goes beside it, .md")] = Path(
        "docs/ptq-bench.json"
    ),
    folder: Annotated[Path, typer.Option(help="where finished rows are kept")] = Path(
        "runs/ptq-bench"
    ),
    data: Annotated[Path | None, typer.Option(help="folder of IDX files")] = None,
    only: Annotated[str, typer.Option(help="layers whose name has this in it")] = "",
    most_minutes: Annotated[float, typer.Option(min=0, help="of OBQ on one layer")] = 10.0,
) -> None:
    """Measure error and seconds of all weight optimisers on layers of three sizes."""
    try:
        if os.environ.get("OMP_NUM_THREADS") != "1":
            raise QuantError(
                "OMP_NUM_THREADS must be 1, so that all methods run on one thread, not "
                f"{os.environ.get('OMP_NUM_THREADS', 'unset')}; run `make bench-ptq`"
            )
        cases = named(only)
        images = ImageData(data or default_folder())
        document = measure_all(
            cases, images, folder, most_seconds=most_minutes * 60, options=sys.argv[1:]
        )
    except (QuantError, OSError) as error:
        complain(str(error))
        raise typer.Exit(2) from None
    from quant.ptq.bench.report import markdown

    write_json(out, document)
    write_bytes(out.with_suffix(".md"), markdown(document).encode())
    print(f"{out}, {out.with_suffix('.md')}")


def named(only: str) -> list[Case]:
    """Return the layers with `only` in their name; `QuantError` if there are none."""
    from quant.ptq.bench.layers import CASES

    chosen = [case for case in CASES if only in case.title]
    if not chosen:
        known = ", ".join(case.title for case in CASES)
        raise QuantError(f"--only must be part of one of {known}, not {only!r}")
    return chosen


def measure_all(
    chosen: Sequence[Case],
    images: ImageData,
    folder: Path,
    *,
    most_seconds: float,
    options: Sequence[str],
) -> dict[str, Any]:
    """Measure every cell of layers, what `folder` has not got yet.

    `options` are those of the command, for the document.
    """
    from quant.journal import Journal
    from quant.ptq.bench.layers import SETTINGS, TRAIN_IMAGES, Layers
    from quant.ptq.bench.measure import REPEATS, measured
    from quant.ptq.bench.report import targets
    from quant.threads import one_thread

    one_thread()
    layers, journal = Layers(images, folder), Journal(folder)
    code = code_sha256(MODULE)
    load = lru_cache(maxsize=1)(layers.load)
    cells = []
    for case in chosen:
        for bits in BITS:
            cells.append(
                measured(
                    case,
                    bits,
                    partial(load, case),
                    journal,
                    most_seconds=most_seconds,
                    asked={"code": code, "weights": layers.weights(case)},
                )
            )
            print(f"{case.title}, {bits} bit: done", file=sys.stderr, flush=True)
    return {
        **about(MODULE, options),
        "repeats": REPEATS,
        "most_minutes": most_seconds / 60,
        "wide_network": f"{SETTINGS}, {TRAIN_IMAGES} images",
        "targets": targets(cells),
        "cells": cells,
    }


app = command_app(main, name="bench ptq", place=beside("out"))

if __name__ == "__main__":
    app()
