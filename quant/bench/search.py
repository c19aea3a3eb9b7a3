"""Benchmark of all ways to choose bits: `python -m quant.bench.search`.

Every cell (network, training, way, budget, seed) is one search through the code of
`python -m quant.search`, so with one reading of the test images at its end. Cells that are done are
kept in `--out` and not run again, nor are those that the summary has that will be replaced, if all
that they depend on is the same. The summary goes to `--report`, with `.json`, `.md` and, for each
network, `-NETWORK.png` behind the name. `--sweep` runs sigmaquant with other decisions instead
(`quant.bench.sweep`), and draws nothing.

Exit status: 0 all cells are there, 1 some failed, 3 some were not started for want of time, 2 bad
input (one line on stderr), 130 stopped by Ctrl-C.
"""

from __future__ import annotations

import os
import shlex
import sys
from functools import partial
from pathlib import Path
from typing import Annotated, Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # every process runs one cell on one core

import typer

from hw.cli.command import command_app, complain, inside
from quant.bench.catalogue import MODELS
from quant.bench.cells import ORDERS, Cell, all_cells, chosen, ordered
from quant.bench.document import document, write_document
from quant.bench.maps import entries
from quant.bench.report import markdown
from quant.bench.runner import bench
from quant.bench.summary import against, mended, overall, phases, summarise, taus
from quant.bench.sweep import sweep_cells, write_sweep
from quant.bench.within import within_a_point
from quant.bench.work import Setup
from quant.data import default_folder
from quant.errors import QuantError
from quant.options import DEFAULT_TABLE
from quant.stopping import INTERRUPTED
from synth.table import CostTable, CostTableError

BAD_INPUT = 2

Record = dict[str, Any]


def main(
    only: Annotated[
        str, typer.Option(help="patterns of cells: 'resnet8/qat/auto/2.5/seed0,*/uniform*'")
    ] = "",
    order: Annotated[
        str, typer.Option(help="parts of a cell, the one that varies least first")
    ] = ",".join(ORDERS),
    workers: Annotated[int, typer.Option(min=0, help="processes; 0 runs all in this one")] = 2,
    cluster: Annotated[str, typer.Option(help="address of a Dask scheduler, instead")] = "",
    minutes: Annotated[
        float, typer.Option(min=0, help="start no cell that would end later; 0: no limit")
    ] = 0.0,
    out: Annotated[
        Path,
        typer.Option(
            help="folder of the cells' records, of the sweep's, too, and of the summary's"
        ),
    ] = Path("runs/bench-search"),
    report: Annotated[
        Path | None,
        typer.Option(
            help="summary, without suffix; what it has need not run; docs/bench-search, -sweep"
        ),
    ] = None,
    data: Annotated[Path | None, typer.Option(help="folder of IDX files")] = None,
    cost_table: Annotated[Path, typer.Option(help="costs of the array")] = DEFAULT_TABLE,
    qat_steps: Annotated[int, typer.Option(min=2, help="of a cell that trains")] = 400,
    sweep: Annotated[
        bool, typer.Option("--sweep", help="of the decisions that the paper leaves open, instead")
    ] = False,
    dry: Annotated[bool, typer.Option("--dry", help="list the cells, run nothing")] = False,
    report_only: Annotated[
        bool, typer.Option("--report-only", help="write the summary of what is done")
    ] = False,
) -> None:
    """Run what is not yet done of the benchmark, and write its summary."""
    try:
        CostTable.load(cost_table)  # every cell reads it; what is wrong with it is said once
        setup = Setup(data=data or default_folder(), out=out, table=cost_table, qat_steps=qat_steps)
        cells = sweep_cells() if sweep else all_cells(entries(setup.maps))
        files = report or Path("docs") / ("bench-sweep" if sweep else "bench-search")
        write = write_sweep if sweep else write_summary
        command = shlex.join(["python", "-m", "quant.bench.search", *sys.argv[1:]])
        status = bench(
            ordered(chosen(cells, only), order),
            setup,
            whole=cells,
            write=partial(write, report=files, command=command),
            workers=workers,
            cluster=cluster,
            seconds=60 * minutes or None,
            earlier=files.with_name(f"{files.name}.json"),
            dry=dry,
            run=not report_only,
        )
    except (ValueError, QuantError, CostTableError, OSError) as error:
        complain(str(error))
        raise typer.Exit(BAD_INPUT) from None
    except KeyboardInterrupt:
        print("stopped; cells that are done are kept, the same command goes on", file=sys.stderr)
        raise typer.Exit(INTERRUPTED) from None
    if status:
        raise typer.Exit(status)


def write_summary(records: dict[Cell, Record], wanted: int, *, report: Path, command: str) -> str:
    """Write bench-search.json, .md and the pictures; returns what was written."""
    from quant.bench.plot import plot

    found, rivals = phases(records), against(records)
    content = document(
        records,
        wanted,
        command,
        summary=summarise(records),
        against=rivals,
        overall=overall(rivals),
        taus=taus(records),
        phases=found,
        mended=mended(found),
        within_a_point=within_a_point(records),
    )
    write_document(content, markdown(content), report)
    for model in MODELS:
        if any(row["model"] == model for row in content["summary"]):
            plot(content["summary"], model, report.with_name(f"{report.name}-{model}.png"))
    return f"{report}.json, .md, .png"


app = command_app(main, name="bench search", place=inside("out"))

if __name__ == "__main__":
    app()
